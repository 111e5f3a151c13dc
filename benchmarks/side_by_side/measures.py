"""What is measured of one peer, inside its process.

A job returns ``{"values": {measure: figure}, "cannot": {measure: why}}``; a measure with positions has ``{position:
figure}``. Rates of shuffled epochs leave out the first batch, which is measured by itself; one in order counts it, as
readers of columns decode a million values for it. A slow epoch is broken off after `cap` seconds: a rate needs no more.
"""

from __future__ import annotations

import gc
import os
import time
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.side_by_side.peers.contract import BATCH, Cannot, Peer, values_of

__all__ = ["Bench", "memory_mb"]

_TAKEN = 3000
_POSITIONS = (0.1, 0.5, 0.9)
_LONGEST = 15.0
_QUERIES = 800
_CHECKED = 3


def memory_mb() -> tuple[float, float]:
    """Return the peak of this process's memory and what it holds now, in MB; zeros where the system does not say."""
    if not os.path.exists("/proc/self/status"):
        return 0.0, 0.0
    with open("/proc/self/status") as file:
        found = {line.split(":")[0]: line.split()[1] for line in file if line.startswith("Vm")}
    return int(found["VmHWM"]) / 1024, int(found["VmRSS"]) / 1024


def folder_bytes(folder: Path) -> int:
    """Return the bytes of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def consume(batches: Iterable[Any], most: float, skip: int = 1) -> tuple[int, float, float]:
    """Read batches for at most so many seconds; return the values behind the skipped batches, seconds, CPU seconds."""
    iterator = iter(batches)
    for _ in range(skip):
        next(iterator)
    values, cpu, start = 0, time.process_time(), time.perf_counter()
    end = start + most
    now = start
    for batch in iterator:
        values += values_of(batch)
        now = time.perf_counter()
        if now > end:
            break
    # Where the last batch came is the end of the rate; closing comes behind it.
    spent = time.process_time() - cpu
    if hasattr(iterator, "close"):
        iterator.close()
    return values, now - start, spent


def drop_from_page_cache(folder: Path) -> None:
    """Let the system forget the pages of all files of a folder, as far as it follows."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


class Bench:
    """One peer with what its measures share.

    Args:
        peer: The peer.
        cap: Seconds that a rate is taken for at most.
        base: Memory of the process after `import torch` and before the peer's package, as `memory_mb` returns it.
    """

    def __init__(self, peer: Peer, cap: float, base: tuple[float, float]) -> None:
        self.peer, self.work, self.cap, self.base = peer, peer.work, cap, base
        self._random = np.random.default_rng(0)
        self._open = False

    def end(self) -> None:
        """Let go of everything, at the end of the process."""
        self._close()

    def _close(self) -> None:
        if self._open:
            self.peer.close()
            self._open = False
            gc.collect()

    def _reopen(self) -> float:
        """Open the peer anew and return the seconds that opening took."""
        self._close()
        start = time.perf_counter()
        self.peer.open()
        self._open = True
        return time.perf_counter() - start

    def _ensure_open(self) -> None:
        if not self._open:
            self._reopen()

    def _first_cap(self) -> float:
        return _LONGEST if self.peer.whole_first_epoch else self.cap

    def write(self) -> dict[str, Any]:
        """Write the samples."""
        self._close()
        # What the source costs to read is not the peer's.
        np.asarray(self.work.values).sum()
        start = time.perf_counter()
        self.peer.write()
        seconds = time.perf_counter() - start
        amount = int(self.work.lengths.sum())
        found = {
            "write_rate": amount / seconds / 1e6,
            "bits_per_token": 8 * folder_bytes(self.peer.folder) / amount,
        }
        return {"values": found, "seconds": seconds}

    def start(self) -> dict[str, Any]:
        """Stream a few epochs in a process that has done nothing else: memory, and bytes on local disk."""
        self._reopen()
        consume(self._epoch(), self._first_cap())
        after_first = memory_mb()[1]
        for _ in range(3):
            consume(self._epoch(), self.cap)
        peak, now = memory_mb()
        values = {"rss_mb": peak - self.base[0], "rss_growth_mb": now - after_first}
        # The folder has everything: caches are inside it too.
        local = folder_bytes(self.peer.folder) / int(self.work.lengths.sum())
        return {"values": values | {"bytes_local_while_reading": local}}

    def _epoch(self) -> Iterable[Any]:
        """Return a shuffled epoch, or an ordered one where there is no other."""
        try:
            return self.peer.shuffled()
        except Cannot:
            return self.peer.ordered()

    def first(self) -> dict[str, Any]:
        """Take the time until it is open, and from there to the first shuffled batch."""
        values = {"open_ms": 1e3 * self._reopen()}
        start = time.perf_counter()
        try:
            iterator = iter(self.peer.shuffled())
            next(iterator)
        except Cannot as why:
            return {"values": values, "cannot": {"first_batch_ms": str(why)}}
        values["first_batch_ms"] = 1e3 * (time.perf_counter() - start)
        if hasattr(iterator, "close"):
            iterator.close()
        return {"values": values}

    def shuffled(self) -> dict[str, Any]:
        """Take the rates of a first shuffled epoch and of those behind it, and the CPU time of the first."""
        self._reopen()
        first = consume(self.peer.shuffled(), self._first_cap())
        values, seconds = 0, 0.0
        for _ in range(4):
            more = consume(self.peer.shuffled(), self.cap - seconds)
            values, seconds = values + more[0], seconds + more[1]
            if seconds > self.cap / 2:
                break
        rates = {"shuffled_rate_first": _rate(first), "shuffled_rate": values / seconds / 1e6}
        return {"values": rates | {"cpu_seconds_per_1e9": 1e9 * first[2] / first[0]}}

    def ordered(self) -> dict[str, Any]:
        """Take the rate of an epoch in order."""
        self._ensure_open()
        return {"values": {"ordered_rate": _rate(consume(self.peer.ordered(), self.cap, skip=0))}}

    def get(self) -> dict[str, Any]:
        """Take the rate of single samples at random positions."""
        self._ensure_open()
        count = len(self.work.lengths)
        self.peer.get(0)
        values, start = 0, time.perf_counter()
        end, now = start + self.cap / 2, start
        for index in self._random.integers(0, count, 5000).tolist():
            values += self.peer.get(index).size
            now = time.perf_counter()
            if now > end:
                break
        return {"values": {"get_rate": values / (now - start) / 1e6}}

    def take(self) -> dict[str, Any]:
        """Take the rate of many samples at random positions by one call."""
        self._ensure_open()
        count = len(self.work.lengths)
        chosen = self._random.permutation(count)[:_TAKEN]
        start = time.perf_counter()
        self.peer.take(chosen)
        return {"values": {"take_rate": int(self.work.lengths[chosen].sum()) / (time.perf_counter() - start) / 1e6}}

    def resume(self) -> dict[str, Any]:
        """Take the time from a state to the next batch, at three positions of an epoch."""
        batches = len(self.work.lengths) // BATCH
        found = {}
        for share in _POSITIONS:
            at = int(batches * share)
            # As after a restart: nothing is decoded or cached yet.
            self._reopen()
            start = time.perf_counter()
            iterator = iter(self.peer.resume(at))
            next(iterator)
            found[str(at)] = 1e3 * (time.perf_counter() - start)
            if hasattr(iterator, "close"):
                iterator.close()
            del iterator
        return {"values": {"resume_ms": found}}

    def workers1(self) -> dict[str, Any]:
        """Take the rate with one worker process."""
        return self._workers(1)

    def workers2(self) -> dict[str, Any]:
        """Take the rate with two worker processes."""
        return self._workers(2)

    def _workers(self, count: int) -> dict[str, Any]:
        self._reopen()
        batches, skip = self.peer.with_workers(count)
        return {"values": {f"workers{count}_rate": _rate(consume(batches, self.cap, skip))}}

    def cold(self) -> dict[str, Any]:
        """Take the rate of a first epoch whose files the system has forgotten, its first batch included."""
        if not hasattr(os, "posix_fadvise"):
            return {"cannot": {"cold_rate": "this system cannot be told to forget pages"}}
        self._close()
        inflated = self.peer.forget()
        drop_from_page_cache(self.peer.folder)
        self._reopen()
        values, seconds, _ = consume(self._epoch(), 2 * self.cap, skip=0)
        if inflated:
            # What comes next meets what later epochs have: files are few, and inflated when they are first touched.
            consume(self._epoch(), 10 * self.cap, skip=0)
        return {"values": {"cold_rate": values / seconds / 1e6}}

    def check(self) -> dict[str, Any]:
        """Compare what comes back with what was given: in order, by position, and shuffled."""
        self._reopen()
        if not self.peer.exact:
            return {"check": {"lossy": True}}
        wrong: list[str] = []
        shares = {}
        for name, job in {
            "ordered": self._check_ordered,
            "single": self._check_single,
            "shuffled": self._check_epoch,
        }.items():
            try:
                shares[name] = job(wrong)
            except Cannot:
                shares[name] = None
        return {"check": {"lossy": False, "wrong": wrong, "shares": shares}}

    def _check_ordered(self, wrong: list[str]) -> float:
        position, end = 0, time.perf_counter() + _CHECKED * self.cap
        for batch in self.peer.ordered():
            for row in _rows(batch):
                if position == len(self.work.lengths):
                    # A last batch may be filled up.
                    return 1.0
                if not _same(row, self.work.sample(position)):
                    wrong.append(f"ordered: sample {position} came back with other values")
                    return 0.0
                position += 1
            if time.perf_counter() > end:
                return position / len(self.work.lengths)
        if position < len(self.work.lengths):
            # Loaders of batches may keep a last short one to themselves.
            if len(self.work.lengths) - position >= BATCH:
                wrong.append(f"ordered: {position} samples came of {len(self.work.lengths)}")
            return position / len(self.work.lengths)
        return 1.0

    def _check_single(self, wrong: list[str]) -> float:
        chosen = self._random.permutation(len(self.work.lengths))[:50]
        for index in chosen.tolist():
            if not _same(np.asarray(self.peer.get(index)), self.work.sample(index)):
                wrong.append(f"get({index}) returned other values")
                return 0.0
        taken = np.concatenate([np.asarray(one).reshape(-1) for one in self.peer.take(chosen)])
        if not _same(taken, np.concatenate([self.work.sample(i) for i in chosen.tolist()])):
            wrong.append("take returned other values")
        return len(chosen) / len(self.work.lengths)

    def _check_epoch(self, wrong: list[str]) -> float | None:
        batches = self.peer.shuffled()
        if not self.peer.whole_samples:
            return None
        wide = np.int64 if self.work.values.dtype.kind in "ui" else np.float32
        given = Counter(zlib.crc32(one.astype(wide).tobytes()) for one in self.work.samples())
        count, end = 0, time.perf_counter() + _CHECKED * self.cap
        for batch in batches:
            for row in _rows(batch):
                if count == len(self.work.lengths):
                    return 1.0
                found = zlib.crc32(row.tobytes())
                if given[found] == 0:
                    wrong.append("shuffled: a sample came that was not given, or more often than it was given")
                    return 0.0
                given[found] -= 1
                count += 1
            if time.perf_counter() > end:
                return count / len(self.work.lengths)
        if len(self.work.lengths) - count >= BATCH:
            wrong.append(f"shuffled: an epoch has {count} samples of {len(self.work.lengths)}")
        return count / len(self.work.lengths)

    def vectors(self) -> dict[str, Any]:
        """Return bytes per vector, and recall@10 by inner product of exact queries against what is stored."""
        self._ensure_open()
        given = np.asarray(self.work.values).reshape(-1, self.work.size)
        batches = self.peer.ordered()
        stored = torch.cat([torch.as_tensor(batch) for batch in batches]).numpy()[: len(given)]
        queries = given[: min(_QUERIES, len(given) // 4)]
        true, found = (np.argsort(-(queries @ one[len(queries) :].T), axis=1)[:, :10] for one in (given, stored))
        hits = [len(set(a) & set(b)) for a, b in zip(true.tolist(), found.tolist(), strict=True)]
        nbytes = self.peer.bytes_per_vector()
        if nbytes is None:
            nbytes = folder_bytes(self.peer.folder) / len(given)
        return {"values": {"recall_at_10": float(np.mean(hits)) / 10, "bytes_per_vector": nbytes}}


def _rate(found: tuple[int, float, float]) -> float:
    """Return millions of values a second."""
    return found[0] / found[1] / 1e6


def _same(found: NDArray[Any], given: NDArray[Any]) -> bool:
    """Say whether values are equal, whatever their dtypes and shape."""
    flat = found.reshape(-1)
    return len(flat) == len(given) and bool(np.array_equal(flat, given.astype(flat.dtype)))


def _rows(batch: Any) -> Iterable[NDArray[Any]]:
    """Return the samples of a batch: a list, a tensor of rows, or a dict of flat values with their lengths."""
    if isinstance(batch, dict):
        values = next(iter(batch.values()))
        if "seq_lengths" in batch:
            ends = np.cumsum(batch["seq_lengths"].numpy()).tolist()
            flat = values.reshape(-1).numpy()
            return [flat[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        batch = values
    return [np.ascontiguousarray(one.numpy()).reshape(-1) for one in batch]
