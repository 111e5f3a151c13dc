"""The loader measured: rates against np.memmap with `DataLoader`, resume, first batches, packing, memory.

python -m benchmarks.loader                  # the standard library's own sources
python -m benchmarks.loader --data FOLDER    # <name>.jsonl[.zst] and bpe-<vocab>.json[.zst]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

import tokstore as ts
from benchmarks.corpora import load_corpora
from benchmarks.measure import machine, peak_rss, table
from benchmarks.weights import HEAD, measure_draws, measure_stream

_SEQ_LEN = 2048
_RUNS = 5
_RESUMES = 1000
_LARGE_VALUES = 5 << 25
"""Values of a source of five times the default buffer."""


class Chunks(Dataset[Any]):
    """What people do today: rows of a memory-mapped file."""

    def __init__(self, path: str) -> None:
        self._rows = np.memmap(path, np.uint16, "r").reshape(-1, _SEQ_LEN)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self._rows[index].astype(np.int64))


class Ragged(Dataset[Any]):
    """The same for samples of different lengths, by an index of their ends."""

    def __init__(self, path: str, lengths: NDArray[np.int64]) -> None:
        self._values = np.memmap(path, np.uint16, "r")
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - lengths

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self._values[self._starts[index] : self._ends[index]].astype(np.int64))


def corpus(folder: str | None) -> tuple[NDArray[Any], int]:
    """Return the ids of all documents, shuffled with seed 0 and joined, and their vocabulary."""
    found = [one for one in load_corpora(folder) if one.vocab_size <= 1 << 16]
    documents: list[NDArray[Any]] = []
    for one in found:
        documents += np.split(one.values, np.cumsum(one.lengths)[:-1])
    order = np.random.default_rng(0).permutation(len(documents))
    return np.concatenate([documents[i] for i in order]).astype(np.uint16), found[0].vocab_size


def ragged_lengths(total: int) -> NDArray[np.int64]:
    """Return lengths of samples as fine-tuning has them: lognormal(ln 120, 1), 4 to 2,048."""
    drawn = np.random.default_rng(0).lognormal(np.log(120), 1.0, total // 50)
    lengths = np.clip(drawn, 4, _SEQ_LEN).astype(np.int64)
    return lengths[: int(np.searchsorted(np.cumsum(lengths), total))]


def write(path: str, values: NDArray[Any], lengths: NDArray[np.int64], vocab: int) -> None:
    """Write samples as a store and as a raw file."""
    values = values[: int(lengths.sum())]
    with ts.create(path, ts.Schema(tokens=ts.Tokens(vocab))) as writer:
        writer.extend(tokens=ts.Ragged(values, lengths))
    values.tofile(path + ".bin")


def values_of(batch: Any) -> int:
    """Count the values of a batch of any form."""
    if isinstance(batch, list):
        return sum(one.numel() for one in batch)
    return int((batch if torch.is_tensor(batch) else batch["input_ids"]).numel())


def consume(batches: Iterable[Any], most: int | None = None, first: int = 1) -> float:
    """Return the rate of all batches but the first ones, in M tokens/s."""
    iterator = iter(batches)
    for _ in range(first):
        next(iterator)
    start, count = time.perf_counter(), 0
    for batch in iterator:
        count += values_of(batch)
        if most is not None and count >= most:
            break
    return count / (time.perf_counter() - start) / 1e6


def median(job: Callable[[], float], runs: int = _RUNS) -> float:
    """Return the median of several runs."""
    return statistics.median(job() for _ in range(runs))


def chunk_stream(path: str, **options: Any) -> ts.StreamingDataset:
    """Return rows of 2,048 ids."""
    given: dict[str, Any] = {"seq_len": _SEQ_LEN, "packing": "concat", "batch_size": 8, "emit": ("input_ids",)}
    given |= options
    return ts.StreamingDataset(ts.open(path), **given)


def ragged_stream(path: str, **options: Any) -> ts.StreamingDataset:
    """Return 8 samples end to end, with their lengths."""
    given: dict[str, Any] = {"batch_size": 8, "flat": True, "emit": ("input_ids", "seq_lengths")} | options
    return ts.StreamingDataset(ts.open(path), **given)


def measure_rates(name: str, make: Callable[..., ts.StreamingDataset], peer: Callable[[int], Any]) -> list[list[str]]:
    """Return rows of rates: later epochs, the first one, iterated directly, with a worker, and np.memmap's."""
    mapped = median(lambda: consume(peer(0)))
    data = make(epochs=1)
    first = median(lambda: consume(make(epochs=1).loader()))
    consume(data.loader())
    cases = {
        "later epochs": median(lambda: consume(data.loader())),
        "later epochs, iterated directly": median(lambda: consume(data)),
        "first epoch": first,
    }
    # A new worker decodes in its first epoch, as the process itself did. How long it takes to end is not a rate.
    first_batches, later = len(data), 4 * data._plan.values
    with_worker = make(epochs=None)
    cases["later epochs, loader(num_workers=1)"] = median(
        lambda: consume(with_worker.loader(num_workers=1), later, first=first_batches), 3
    )
    rows = [[name, "np.memmap + DataLoader", f"{mapped:.0f}", "1.00"]]
    rows += [[name, f"tokstore, {case}", f"{rate:.0f}", f"{rate / mapped:.2f}"] for case, rate in cases.items()]
    slow = median(lambda: consume(peer(2), 4_000_000), 1)
    rows.insert(1, [name, "np.memmap + DataLoader, 2 workers", f"{slow:.1f}", f"{slow / mapped:.2f}"])
    return rows


def measure_large(folder: str, values: NDArray[Any], vocab: int, say: Callable[[str], None]) -> list[list[str]]:
    """Return rates of a source of more than four times the default buffer, shuffled by spans and windows.

    The corpus is smaller than that, so it comes several times, its rows in another order each time.
    """
    say("large")
    path = os.path.join(folder, "large")
    rows_of_corpus = values[: len(values) // _SEQ_LEN * _SEQ_LEN].reshape(-1, _SEQ_LEN)
    times = -(-_LARGE_VALUES // rows_of_corpus.size)
    orders = [np.random.default_rng(seed).permutation(len(rows_of_corpus)) for seed in range(times)]
    rows_of_large = rows_of_corpus[np.concatenate(orders)]
    write(path, rows_of_large.reshape(-1), np.full(len(rows_of_large), _SEQ_LEN), vocab)
    peer = DataLoader(Chunks(path + ".bin"), batch_size=8, shuffle=True)
    mapped = median(lambda: consume(peer, _LARGE_VALUES // 2))
    rows = []
    for lanes in (None, 12):
        # A whole epoch: of a part of it the windows that are decoded ahead, and not used any more, would count too.
        rate = median(lambda n=lanes: consume(chunk_stream(path, lanes=n).loader()))  # type: ignore[misc]
        name = f"{rows_of_large.size / 1e6:.0f} M tokens, {lanes or 48} lanes"
        rows.append([name, f"{rate:.0f}", f"{rate / mapped:.2f}"])
    return rows


def measure_starts(folder: str, say: Callable[[str], None]) -> list[list[str]]:
    """Return how long first batches take, and resuming at random positions."""
    say("first batches and resumes")
    rows = []
    generator = np.random.default_rng(1)
    packings: tuple[Any, ...] = ("concat", "fit", "whole")
    for name, packing in product(("ragged", "large"), packings):
        path = os.path.join(folder, name)
        firsts = []
        for _ in range(9):
            store = ts.open(path)
            start = time.perf_counter()
            data = ts.StreamingDataset(store, seq_len=_SEQ_LEN, packing=packing, batch_size=8, epochs=None)
            stream = iter(data)
            next(stream)
            firsts.append(time.perf_counter() - start)
            stream.close()  # type: ignore[attr-defined]
        data = ts.StreamingDataset(ts.open(path), seq_len=_SEQ_LEN, packing=packing, batch_size=8, epochs=None)
        states = [data.state_at(batches=int(one)) for one in generator.integers(0, 4000, _RESUMES)]
        times = []
        for state in states if packing == "concat" else states[:100]:
            data.load_state_dict(state)
            start = time.perf_counter()
            stream = iter(data)
            next(stream)
            times.append(time.perf_counter() - start)
            stream.close()  # type: ignore[attr-defined]
        rows.append(
            [
                f"{name}, {len(ts.open(path)):,} samples",
                packing,
                f"{1e3 * statistics.median(firsts):.1f} ms",
                f"{1e3 * statistics.median(times):.1f} ms",
                f"{statistics.median(times) / statistics.median(firsts):.2f}",
                f"{len(times):,}",
            ]
        )
    return rows


def placing_seconds(data: ts.StreamingDataset) -> float:
    """Return how long it takes to say where all rows of an epoch lie, without reading any."""
    start = time.perf_counter()
    reader, count = data._reader(None), data.rows_per_epoch
    for first in range(0, count, 512):
        reader.segments(np.arange(data._next_row + first, data._next_row + min(first + 512, count)))
    return time.perf_counter() - start


def measure_packing(folder: str, say: Callable[[str], None]) -> list[list[str]]:
    """Return fill, cut samples and the cost of planning for packed rows."""
    rows = []
    for name in ("documents", "ragged"):
        path = os.path.join(folder, name)
        plain = 0.0
        for packing in ("concat", "fit", "whole"):
            say(f"{packing} of {name}")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data = ts.StreamingDataset(
                    ts.open(path), seq_len=_SEQ_LEN, packing=packing, batch_size=8, emit=("input_ids",)
                )
            count = data.rows_per_epoch
            found = data._reader(None).segments(np.arange(count))
            lengths = ts.open(path).lengths()
            held = np.bincount(found.position, minlength=len(lengths))
            short = (lengths < _SEQ_LEN) & (lengths > 0)
            consume(data.loader())
            rate = median(lambda d=data: consume(d.loader()), 3)  # type: ignore[misc]
            placing = median(lambda d=data: placing_seconds(d), 5)  # type: ignore[misc]
            plain = plain if packing != "concat" else placing
            streaming = count * _SEQ_LEN / rate / 1e6
            rows.append(
                [
                    name,
                    packing,
                    f"{100 * int(found.length.sum()) / (count * _SEQ_LEN):.2f} %",
                    f"{100 * np.count_nonzero(held[short] > 1) / np.count_nonzero(short):.2f} %",
                    f"{rate:.0f}",
                    f"{100 * placing / streaming:.0f} %",
                    f"{100 * (placing - plain) / streaming:.0f} %",
                ]
            )
    return rows


_MEMORY = """
import torch
path, buffer, lanes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
before = rss()
data = ts.StreamingDataset(ts.open(path), seq_len=2048, batch_size=8, buffer=buffer, lanes=lanes or None, epochs=2)
for batch in data.loader():
    pass
print(json.dumps({"mb": rss() - before}))
"""


def main(arguments: list[str] | None = None) -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", help="texts and tokenizers; by default the standard library")
    options = parser.parse_args(arguments)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        say("tokenizing")
        values, vocab = corpus(options.data)
        chunks, ragged = (os.path.join(folder, name) for name in ("chunks", "ragged"))
        write(chunks, values, np.full(len(values) // _SEQ_LEN, _SEQ_LEN), vocab)
        lengths = ragged_lengths(len(values))
        write(ragged, values, lengths, vocab)
        first = load_corpora(options.data)[-1]
        write(os.path.join(folder, "documents"), first.values, first.lengths, first.vocab_size)
        print(f"{machine()}, torch {torch.__version__}; {len(values):,} tokens\n")
        say("chunks")
        rows = measure_rates(
            "chunks",
            lambda **more: chunk_stream(chunks, **more),
            lambda n: DataLoader(Chunks(chunks + ".bin"), batch_size=8, shuffle=True, num_workers=n),
        )
        say("ragged")
        rows += measure_rates(
            "ragged",
            lambda **more: ragged_stream(ragged, **more),
            lambda n: DataLoader(
                Ragged(ragged + ".bin", lengths), batch_size=8, shuffle=True, collate_fn=list, num_workers=n
            ),
        )
        print(table("Shuffled batches of 8, M tokens/s", ["workload", "loader", "M tokens/s", "of np.memmap"], rows))
        rows = measure_large(folder, values, vocab, say)
        print(table("Sources larger than the buffer", ["source", "M tokens/s", "of np.memmap"], rows))
        head = ["source", "packing", "first batch after open", "resumed batch", "of a first batch", "resumes"]
        print(table("Starts", head, measure_starts(folder, say)))
        head = [
            "corpus",
            "packing",
            "filled",
            "short samples cut",
            "M tokens/s",
            "placing rows, of the time",
            "packing alone",
        ]
        print(table("Packing into rows of 2,048", head, measure_packing(folder, say)))
        rows = measure_stream(os.path.join(folder, "ragged"), say)
        print(table("Streaming by weights, later epochs", HEAD, rows))
        print(table("Copies by weights", ["what", "figure"], measure_draws(10**8, say)))
        say("memory")
        cases = [("pool", 64 << 20, 0), ("12 lanes, windows", 2 * len(values) // 5, 12), ("192 lanes", 1 << 20, 192)]
        rows = [
            [name, f"{peak_rss(_MEMORY, chunks, str(buffer), str(lanes))['mb']:.0f} MB"]
            for name, buffer, lanes in cases
        ]
        print(table("Memory over import torch", ["stream", "peak"], rows))


if __name__ == "__main__":
    main()
