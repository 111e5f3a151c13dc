"""Peak memory of reading and writing, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import tokstore

PRELUDE = """
import resource, sys
import numpy as np
import tokstore as ts
def peak():
    # VmHWM is the peak of this program alone; ru_maxrss would begin with that of the process it was forked from.
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))
path = sys.argv[1]
schema = ts.Schema(t=ts.Tokens(50_000))
rng = np.random.default_rng(0)
start = peak()
"""
MIB = 1 << 20


def run(code: str, path: Path) -> int:
    """Run code in a new interpreter and return the bytes that it says it took over its start."""
    environment = os.environ | {"PYTHONPATH": str(Path(tokstore.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code + "\nprint(peak() - start)", str(path)],
        capture_output=True, text=True, env=environment, cwd=path.parent, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[-1])


WRITE = """
batch = (rng.zipf(1.2, 1_000_000) % 50_000).astype(np.uint16)
with ts.create(path, schema, level="fast", shard_tokens={shard}, threads=2) as w:
    for i in range(16):
        w.extend(t=ts.Ragged(batch, [1000] * 1000))
"""


def test_writing_is_bounded_by_the_shard_and_scanning_by_the_batch(tmp_path: Path) -> None:
    """16 M tokens: shards of 2 M take little, one shard of 16 M takes its ids; scanning takes less than 200 MB."""
    small = run(WRITE.format(shard=1 << 21), tmp_path / "a")
    large = run(WRITE.format(shard=1 << 24), tmp_path / "b")
    assert small < 90 * MIB
    assert large < small + 2 * (1 << 24) + 60 * MIB
    scan = "total = sum(len(b['t'].values) for b in ts.open(path).scan())\nassert total == 16_000_000"
    assert run(scan, tmp_path / "b") < 100 * MIB
    # Without bounds the whole column would be 64 MB, and its blocks beside it.
    part = "s = ts.open(path)\nfor _ in range(300): s.take(rng.integers(0, 16_000, 20), stop=50)"
    assert run(part, tmp_path / "b") < 100 * MIB


def test_one_huge_sample(tmp_path: Path) -> None:
    """A sample of 20 M tokens is written and read in parts without many copies of it."""
    code = """
ids = np.tile(np.arange(50_000, dtype=np.uint16), 400)
with ts.create(path, schema, level="plain") as w:
    w.extend(t=ts.Ragged(ids, [len(ids)]))
del ids
"""
    assert run(code, tmp_path / "s") < 5 * 40 * MIB
    code = (
        "s = ts.open(path)\nassert s.take([0], start=10_000_000, stop=10_000_100)['t'].values[0] == 10_000_000 % 50_000"
    )
    assert run(code, tmp_path / "s") < 30 * MIB


def test_iterating_over_many_small_samples(tmp_path: Path) -> None:
    """A million samples, one by one, without holding them all."""
    code = """
with ts.create(path, schema, level="fast") as w:
    w.extend(t=ts.Ragged(np.ones(1_000_000, np.uint16), np.ones(1_000_000, np.int64)))
"""
    run(code, tmp_path / "s")
    code = "n = 0\nfor sample in ts.open(path):\n    n += 1\n    if n == 300_000: break"
    assert run(code, tmp_path / "s") < 150 * MIB


def test_each_further_source_of_a_mixture(tmp_path: Path) -> None:
    """Eight more sources add at most the smallest windows, about 2 MB a source at 12 lanes, and not a buffer each."""
    code = """
import warnings
import torch
from tokstore.loader import StreamingDataset
ids = (rng.zipf(1.3, 3_000_000) % 50_000).astype(np.uint16)
sources = []
for number in range(10):
    with ts.create(f"{path}{number}", schema, level="plain", threads=1) as w:
        w.extend(t=ts.Ragged(ids, [500] * 6000))
    sources.append(ts.open(f"{path}{number}"))
def use(count):
    mix = ts.Mixture({str(i): one for i, one in enumerate(sources[:count])}, shares={str(i): 1 for i in range(count)})
    data = StreamingDataset(mix, seq_len=2048, packing="concat", batch_size=8, epochs=None, buffer=8 << 20, lanes=12)
    for number, _ in zip(range(400), data):
        pass
use(2)
start = peak()
use(10)
"""
    assert run(code, tmp_path / "s") < 8 * 3 * MIB
