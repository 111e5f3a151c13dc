"""Token stores measured: bytes, rates, memory, round trips, very large manifests.

python -m benchmarks.tokens                  # the standard library's own sources
python -m benchmarks.tokens --data FOLDER    # <name>.jsonl[.zst] and bpe-<vocab>.json[.zst]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import zstandard

import tokstore as ts
from benchmarks.corpora import Corpus, load_corpora
from benchmarks.measure import machine, peak_rss, rates, table
from benchmarks.synthetic import make_synthetic_store

_LEVELS = ("plain", "fast", "default", "small")


def disk_bytes(path: str) -> int:
    """Return the bytes of all files below a folder."""
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)


def write(path: str, corpus: Corpus, level: str) -> None:
    """Write a corpus as one store."""
    with ts.create(path, ts.Schema(tokens=ts.Tokens(corpus.vocab_size)), level=level) as writer:
        writer.extend(tokens=ts.Ragged(corpus.values, corpus.lengths))


def scan(store: ts.Store, threads: int) -> int:
    """Decode all tokens of a store to int32."""
    return sum(len(b["tokens"].values) for b in store.scan(["tokens"], threads=threads))


def write_again(path: str, corpus: Corpus, level: str) -> float:
    """Write a corpus three times, or once where that takes seconds; return the median rate in M tokens/s."""
    times: list[float] = []
    while not times or (len(times) < 3 and max(times) < 3):
        shutil.rmtree(path, ignore_errors=True)
        start = time.perf_counter()
        write(path, corpus, level)
        times.append(time.perf_counter() - start)
    return len(corpus.values) / statistics.median(times) / 1e6


def measure_corpus(corpus: Corpus, folder: str, say: Callable[[str], None]) -> list[list[str]]:
    """Return one row for each level, and one for what others ship."""
    count = len(corpus.values)
    raw = corpus.values.tobytes()
    whole = 8 * len(zstandard.ZstdCompressor(level=3).compress(raw)) / count
    name = f"{corpus.name} {corpus.vocab_size:,}"
    rows = [[name, "raw ids", f"{8 * len(raw) / count:.2f}", "", "", "", "", ""]]
    rows.append([name, "raw ids, whole-file zstd-3", f"{whole:.2f}", "1.00", "", "", "", ""])
    for level in _LEVELS:
        say(f"{name} {level}")
        path = os.path.join(folder, "store")
        written = write_again(path, corpus, level)
        bits = 8 * disk_bytes(path) / count
        store = ts.open(path)
        one, best = rates(partial(scan, store, 1), count, 11)
        anew, _ = rates(lambda p=path: scan(ts.open(p), 1), count, 11)  # type: ignore[misc]
        two, _ = rates(partial(scan, store, 2), count, 11)
        scans = [f"{one:.0f} ({best:.0f})", f"{anew:.0f}", f"{two:.0f}"]
        rows.append([name, level, f"{bits:.2f}", f"{bits / whole:.2f}", *scans, f"{written:.1f}"])
        shutil.rmtree(path)
    return rows


_WRITE = """
level, path, source, lengths = sys.argv[1:5]
values = np.load(source, mmap_mode="r"); counts = np.load(lengths)
import time
total, at, start = 0, 0, time.perf_counter()
ends = np.concatenate([[0], np.cumsum(counts)])
with ts.create(path, ts.Schema(tokens=ts.Tokens(int(sys.argv[5]))), level=level) as w:
    while total < 100_000_000:
        stop = min(at + 200, len(counts))
        part = np.array(values[ends[at]:ends[stop]])
        w.extend(tokens=ts.Ragged(part, counts[at:stop]))
        total += len(part); at = stop if stop < len(counts) else 0
seconds = time.perf_counter() - start
print(json.dumps({"mb": rss() - before, "tokens": total, "rate": total / seconds / 1e6}))
"""

_SCAN = """
store = ts.open(sys.argv[1]); total = 0
for batch in store.scan(["tokens"]): total += len(batch["tokens"].values)
print(json.dumps({"mb": rss() - before, "tokens": total}))
"""

_OPEN = """
import time
times = []
for _ in range(5):
    start = time.perf_counter(); store = ts.open(sys.argv[1]); n = len(store); times.append(time.perf_counter() - start)
print(json.dumps({"mb": rss() - before, "ms": 1000 * sorted(times)[2], "samples": n, "trips": store.storage.trips}))
"""


def measure_memory(corpus: Corpus, folder: str, say: Callable[[str], None]) -> list[list[str]]:
    """Return rows on memory and sustained writing of 10**8 tokens."""
    source, lengths = os.path.join(folder, "values.npy"), os.path.join(folder, "lengths.npy")
    np.save(source, corpus.values)
    np.save(lengths, corpus.lengths)
    rows = []
    for level in ("fast", "default"):
        say(f"10**8 tokens {level}")
        path = os.path.join(folder, "large")
        facts = peak_rss(_WRITE, level, path, source, lengths, str(corpus.vocab_size))
        peak = f"{facts['mb']:.0f} MB over import"
        rows.append([f"write 10^8 tokens, {level}", f"{facts['rate']:.1f} M tokens/s", peak])
        if level == "default":
            facts = peak_rss(_SCAN, path)
            peak = f"{facts['mb']:.0f} MB over import"
            rows.append(["scan 10^8 tokens, default", f"{facts['tokens']:,} tokens", peak])
        shutil.rmtree(path)
    return rows


def measure_trips(corpus: Corpus, folder: str, say: Callable[[str], None]) -> list[list[str]]:
    """Return rows on round trips and on very large manifests."""
    say("round trips")
    path = os.path.join(folder, "trips")
    part = int(np.searchsorted(np.cumsum(corpus.lengths), 1_000_000)) + 1
    values = corpus.values[: int(corpus.lengths[:part].sum())]
    with ts.create(path, ts.Schema(tokens=ts.Tokens(corpus.vocab_size)), shard_tokens=len(values) // 90) as writer:
        writer.extend(tokens=ts.Ragged(values, corpus.lengths[:part]))
    store = ts.open(path)
    before_first = store.storage.trips
    store[0]
    cold = store.storage.trips
    store.take(np.linspace(0, len(store) - 1, 50).astype(int))
    take = store.storage.trips - cold
    shards = store.describe()["shards"]
    rows = [
        [f"cold open to first sample, {shards} shards", f"{cold} trips", f"{before_first} for the open"],
        ["take of 50 samples on it", f"{take} trips", ""],
    ]
    say("10**5 shards")
    big = os.path.join(folder, "big")
    make_synthetic_store(big, 100_000, 10_000)
    facts = peak_rss(_OPEN, big)
    peak = f"{facts['mb']:.1f} MB over import"
    rows.append([f"open 10^5 shards, {facts['samples']:,} samples", f"{facts['ms']:.1f} ms", peak])
    had = {name: os.path.getsize(name) for name in _files(big)}
    store = ts.open(big)
    with store.writer() as writer:
        writer.extend(tokens=[[1, 2, 3]], quality=[0.5])
    new = sum(os.path.getsize(name) for name in _files(big) if name not in had)
    store = ts.open(big)
    start = store.storage.trips
    store.take([len(store) - 1])
    rows.append(["commit of one sample to it", f"{new / 1000:.0f} kB written", ""])
    rows.append(["cold open to first sample, 10^5 shards", f"{store.storage.trips} trips", f"{start} for the open"])
    shutil.rmtree(big)
    shutil.rmtree(path)
    return rows


def _files(folder: str) -> list[str]:
    """Return all files below a folder."""
    return [os.path.join(where, name) for where, _, names in os.walk(folder) for name in names]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print everything as Markdown tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tokens", description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", help="texts and tokenizers; without it the standard library")
    parser.add_argument("--only", choices=("sizes", "memory", "trips"), help="one of the tables")
    chosen = parser.parse_args(arguments)

    def say(text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{text} …", end="", file=sys.stderr)

    corpora = load_corpora(chosen.data)
    print(f"{machine()}; tokstore {ts.__version__}, zstandard {zstandard.__version__}, numpy {np.__version__}\n")
    head: list[Any] = [
        "corpus",
        "store",
        "bits/token",
        "of zstd-3",
        "scan, 1 thread (best)",
        "opened anew",
        "2 threads",
        "write",
    ]
    with tempfile.TemporaryDirectory(prefix="tokstore-bench-") as folder:
        if chosen.only in (None, "sizes"):
            rows = [row for corpus in corpora for row in measure_corpus(corpus, folder, say)]
            print(table("Bytes of the whole store; rates in M tokens/s, medians", head, rows))
        if chosen.only in (None, "memory"):
            print(table("Memory", ["job", "result", "peak"], measure_memory(corpora[0], folder, say)))
        if chosen.only in (None, "trips"):
            print(table("Round trips", ["job", "result", ""], measure_trips(corpora[0], folder, say)))


if __name__ == "__main__":
    main()
