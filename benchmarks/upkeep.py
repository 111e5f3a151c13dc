"""Stores that change measured: columns added, samples deleted, shards compacted.

python -m benchmarks.upkeep            # 10**7 rows, and the manifests of 10**5 shards
python -m benchmarks.upkeep --rows N
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

import tokstore as ts
from benchmarks.measure import machine, table
from benchmarks.synthetic import make_synthetic_store

_SHARDS, _PER_SHARD, _SCORES = 100_000, 100, 10


def seconds(job: Callable[[], object]) -> float:
    """Return how long a job takes."""
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def count_files(path: str) -> int:
    """Return the number of files below a folder."""
    return sum(len(names) for _, _, names in os.walk(path))


def digests(path: str) -> dict[str, bytes]:
    """Return the digest of every data file."""
    return {one.name: hashlib.blake2b(one.read_bytes()).digest() for one in Path(path).glob("data/*/*.tok")}


def measure_rows(folder: str, rows: int) -> list[list[str]]:
    """Return what it takes to add scores to a store of many rows, to delete some of them, and to compact it."""
    path, rng = os.path.join(folder, "rows"), np.random.default_rng(0)
    with ts.create(path, ts.Schema(tokens=ts.Tokens(300)), level="fast", shard_tokens=1 << 22) as writer:
        for _ in range(10):
            lengths = rng.integers(1, 4, rows // 10)
            writer.extend(tokens=ts.Ragged(rng.integers(0, 300, int(lengths.sum())), lengths))
    store, scores = ts.open(path), rng.random(rows // 10 * 10).astype(np.float32)
    before, made = digests(path), []
    for level in ("fast", "default"):
        add = partial(store.add_column, values=scores, type=ts.Score(), level=level)
        times = [seconds(partial(add, f"{level}_{i}")) for i in range(3)]
        made.append([f"add a score, {level}", f"{statistics.median(times):.2f} s", f"{len(scores):,} rows"])
    after = digests(path)
    untouched = sum(after[name] == digest for name, digest in before.items())
    made.append(["shard files untouched", f"{untouched} of {len(before)}", "digests compared"])
    took = seconds(lambda: store.add_column("n", lambda b: b["tokens"].lengths, ts.Label(), inputs=["tokens"]))
    made.append(["add lengths by a function", f"{took:.2f} s", f"{len(scores):,} rows"])
    some = rng.permutation(len(store))[: rows // 4]
    made.append(
        ["delete a quarter at random", f"{seconds(lambda: store.delete(ids=some)):.2f} s", f"{len(some):,} rows"]
    )
    left = len(store)
    took = seconds(lambda: store.compact(shard_tokens=1 << 22))
    made.append(["compact all of it", f"{took:.2f} s", f"{left:,} rows, {len(store.schema)} columns"])
    return made


def measure_shards(folder: str) -> list[list[str]]:
    """Return what it takes to add scores to a store of very many shards."""
    path, rng = os.path.join(folder, "shards"), np.random.default_rng(0)
    make_synthetic_store(path, _SHARDS, _PER_SHARD)
    store = ts.open(path)
    files, times = count_files(path), []
    for i in range(_SCORES):
        scores = rng.random(len(store)).astype(np.float32)
        times.append(seconds(partial(store.add_column, f"s{i}", scores, ts.Score(), level="fast")))
    added = count_files(path) - files
    return [
        [f"{_SCORES} scores added to {_SHARDS:,} shards", f"{added:,} files", f"{statistics.median(times):.2f} s each"]
    ]


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=10**7)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure_rows(folder, given.rows) + measure_shards(folder)
    print(machine() + "\n")
    print(table("Stores that change", ["job", "result", ""], rows))


if __name__ == "__main__":
    main()
