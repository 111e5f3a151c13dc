"""Run the C reader on stores that the package writes, and compare it with the readable reader.

    python compare.py PROGRAM [LEVEL...]

The stores have a column of every type, several shards and versions, deletions, added columns, staged parts and saved
views. Both readers read everything and check it; they must print the same JSON.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import tokstore as ts

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from tokread.printing import as_json
from tokread.store import open_path

LEVELS = ("plain", "fast", "default", "small")
SCHEMA = {
    "tokens": ts.Tokens(70_000, eos_id=0),
    "mask": ts.Mask(of="tokens"),
    "vector": ts.Vector(10, groups=(4, 10)),
    "half": ts.Vector(6, "float16", optional=True),
    "step": ts.Vector(12, codec="pca", max_error=0.01, rotate=False),
    "axes": ts.Vector(12, codec="pca", max_error=0.01, groups=(4, 12)),
    "scales": ts.Vector(12, codec="int8", optional=True),
    "score": ts.Score("float32", max_error=0.001),
    "nan": ts.Score("float16", optional=True),
    "kind": ts.Label(names=["a", "b", "c"]),
    "number": ts.Label(),
    "kinds": ts.Label(5, shape=(None,)),
    "soft": ts.SoftLabel(7, top=2),
    "dense": ts.SoftLabel(3, dtype="uint8", optional=True),
    "source": ts.Category(optional=True),
    "never": ts.Category(optional=True),
    "url": ts.Text(optional=True),
    "raw": ts.Bytes(),
    "frames": ts.Array("bfloat16", (None, 2)),
    "grid": ts.Array("int32", (2, 3)),
    "codes": ts.Codes(50, (3, 4)),
    "stream": ts.Codes(4000, (None, 4)),
    "flags": ts.Array(bool, (5,)),
    "wide": ts.Array("uint64"),
}


def columns(rng: np.random.Generator, count: int) -> dict[str, Any]:
    """Make values for every column."""
    lengths = rng.integers(0, 20, count)
    lengths[3] = 300
    order = np.argsort(rng.random((count, 7)), axis=1)[:, :2]
    chance = rng.random(count)
    return {
        "tokens": [(rng.zipf(1.3, n) - 1) % 70_000 for n in lengths],
        "mask": [rng.random(n) < 0.1 for n in lengths],
        "vector": rng.normal(size=(count, 10)).astype(np.float32),
        "half": [None if x < 0.2 else rng.normal(size=6).astype(np.float16).astype(np.float32) for x in chance],
        "step": rng.normal(size=(count, 12)).astype(np.float32),
        "axes": (rng.normal(size=(count, 12)) * np.arange(1, 13)).astype(np.float32),
        "scales": [None if x < 0.1 else rng.normal(size=12).astype(np.float32) for x in chance],
        "score": rng.random(count),
        "nan": [None if x < 0.2 else float("nan") if x < 0.3 else float(x) for x in chance],
        "kind": rng.integers(0, 3, count),
        "number": rng.integers(-(2**63), 2**63 - 1, count),
        "kinds": [rng.integers(0, 5, n) for n in lengths],
        "soft": (order, rng.random((count, 2)).astype(np.float16).astype(np.float32)),
        "dense": [None if x < 0.2 else np.array([51, 102, 102], np.float32) / np.float32(255) for x in chance],
        "source": [None if x < 0.2 else f"größe {int(x * 5)}" for x in chance],
        "never": [None] * count,
        "url": [None if x < 0.3 else "ü\U0001f600\n" * int(x * 100) for x in chance],
        "raw": [rng.bytes(n) for n in lengths],
        "frames": [
            (rng.normal(size=(n, 2)).astype(np.float32).view(np.uint32) >> 16 << 16).view(np.float32) for n in lengths
        ],
        "grid": rng.integers(-(2**31), 2**31, (count, 2, 3)),
        "codes": rng.zipf(1.5, (count, 3, 4)) % 50,
        "stream": [rng.zipf(1.2, (n, 4)) % 4000 for n in lengths],
        "flags": rng.random((count, 5)) < 0.5,
        "wide": rng.integers(0, 2**64, count, dtype=np.uint64),
    }


def write(path: Path, level: str) -> None:
    """Write a store with a history."""
    rng = np.random.default_rng(5)
    with ts.create(
        path, ts.Schema(**SCHEMA), level=level, shard_tokens=700, attachments={"tokenizer.json": b"{}"}
    ) as writer:
        writer.extend(**columns(rng, 150))
    store = ts.open(path)
    with store.writer(shard_tokens=700) as writer:
        writer.extend(**columns(rng, 60))
    store.refresh()
    store.delete([0, 7, 8, 9, 160])
    store.add_column("added", np.arange(len(store), dtype=np.float32), ts.Score())
    store.drop_column("codes")
    store.tag("tagged")
    store.where("score >= 0.5").save("good")
    store.sample(30, seed=1).weigh("score").save("weighed")
    staged = columns(rng, 12)
    del staged["codes"]
    with ts.writer(path, part="00017") as writer:
        writer.extend(**staged, added=rng.random(12))


def problem(program: str, path: Path, version: list[str]) -> str | None:
    """Compare the two readers."""
    wanted = as_json(open_path(path, int(version[0]) if version else None))
    done = subprocess.run([program, str(path), *version], capture_output=True, timeout=60)
    if done.returncode:
        return done.stderr.decode()
    return None if done.stdout.decode() == wanted else "prints another JSON"


def main(arguments: list[str]) -> int:
    """Run the script."""
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    failed = 0
    for level in arguments[1:] or LEVELS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "store"
            write(path, level)
            files = sorted(path.glob("data/*/*.tok"))
            versions = [[str(number)] for number in (1, 3)] + [[]]
            problems = [(f"version {''.join(v) or 'newest'}", problem(arguments[0], path, v)) for v in versions]
            print(f"{level}: {len(files)} data files, versions 1, 3 and the newest, compared with the readable reader")
            for what, found in problems:
                if found:
                    failed += 1
                    print(f"  but {what}: {found}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
