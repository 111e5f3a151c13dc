"""Write stores with the package for the tests of the JavaScript reader, and what is in them.

    python make_stores.py FOLDER

Stores of every level with a column of every type lie in `types_<level>`, with the JSON that the readable reader of
`spec/readers/python` finds in them beside them; `large` is one of some megabytes with text-like tokens, compressed with
a dictionary, and `large.json` says what some of its rows are.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

import tokstore as ts

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "python"))

from tokread.printing import as_json
from tokread.store import open_path

ROWS = 100


def bfloat16(values: Any) -> Any:
    """Leave as much of numbers as a bfloat16 holds."""
    return (np.asarray(values, np.float32).view(np.uint32) >> 16 << 16).view(np.float32)


def write_types(path: Path, level: str) -> None:
    """Write a store with a column of every type, two versions, deleted samples, a part of them, and a saved view."""
    rng = np.random.default_rng(7)
    lengths = rng.integers(0, 20, ROWS)
    schema = ts.Schema(
        tokens=ts.Tokens(300),
        wide_tokens=ts.Tokens(200_000, optional=True),
        mask=ts.Mask(of="tokens"),
        vector=ts.Vector(40, groups=(8, 40)),
        half=ts.Vector(6, "float16", optional=True),
        step=ts.Vector(12, codec="pca", max_error=0.01, rotate=False),
        axes=ts.Vector(12, codec="pca", max_error=0.01, groups=(4, 12)),
        scales=ts.Vector(12, codec="int8"),
        score=ts.Score("float32", max_error=0.001),
        kinds=ts.Label(5, shape=(None,)),
        soft=ts.SoftLabel(7, top=2),
        dense=ts.SoftLabel(3, dtype="uint8", optional=True),
        source=ts.Category(optional=True),
        text=ts.Text(optional=True),
        raw=ts.Bytes(),
        frames=ts.Array("bfloat16", (None, 2)),
        grid=ts.Array("int32", (2, 3)),
        codes=ts.Codes(50, (16, 4)),
        many_codes=ts.Codes(5000, (64,)),
        flags=ts.Array(bool, (5,)),
        wide=ts.Array("uint64"),
        __proto__=ts.Score("float64", optional=True),
    )
    order = np.argsort(rng.random((ROWS, 7)), axis=1)[:, :2]
    columns: dict[str, Any] = {
        "tokens": [rng.integers(0, 300, n) for n in lengths],
        "wide_tokens": [None if n == 3 else rng.zipf(1.3, n) % 200_000 for n in lengths],
        "mask": [rng.random(n) < 0.1 for n in lengths],
        "vector": rng.normal(size=(ROWS, 40)).astype(np.float32),
        "half": [None if x < 0.2 else np.full(6, x, np.float16).astype(np.float32) for x in rng.random(ROWS)],
        "step": rng.normal(size=(ROWS, 12)).astype(np.float32),
        "axes": (rng.normal(size=(ROWS, 12)) * np.arange(1, 13)).astype(np.float32),
        "scales": rng.normal(size=(ROWS, 12)).astype(np.float32),
        "score": rng.random(ROWS),
        "kinds": [rng.integers(0, 5, n) for n in lengths],
        "soft": (order, rng.random((ROWS, 2)).astype(np.float16).astype(np.float32)),
        "dense": [
            None if x < 0.2 else np.array([51, 102, 102], np.float32) / np.float32(255) for x in rng.random(ROWS)
        ],
        "source": [None if x < 0.2 else f"größe {int(x * 5)}" for x in rng.random(ROWS)],
        "text": [None if x < 0.3 else "ü" * int(x * 300) for x in rng.random(ROWS)],
        "raw": [rng.bytes(n) for n in lengths],
        "frames": [bfloat16(rng.normal(size=(n, 2))) for n in lengths],
        "grid": rng.integers(-(2**31), 2**31, (ROWS, 2, 3)),
        "codes": rng.zipf(1.5, (ROWS, 16, 4)) % 50,
        "many_codes": rng.zipf(1.2, (ROWS, 64)) % 5000,
        "flags": rng.random((ROWS, 5)) < 0.5,
        "wide": rng.integers(0, 2**64, ROWS, dtype=np.uint64),
        "__proto__": [None if x < 0.2 else x for x in rng.random(ROWS)],
    }
    attachments = {"tokenizer.json": b"{}"}
    with ts.create(path, schema, level=level, shard_tokens=500, attachments=attachments, metadata={"a": 1}) as writer:
        writer.extend(**columns)
    store = ts.open(path)
    store.delete([3, 4, 5, 71])
    ts.open(path).where("score > 0.5").save("good")
    ts.open(path).tag("final")
    path.with_suffix(".json").write_text(as_json(open_path(path)))


def write_large(path: Path) -> None:
    """Write two million tokens in several shards: phrases that a dictionary helps with, and noise."""
    rng = np.random.default_rng(11)
    phrases = [rng.integers(0, 50_000, n) for n in rng.integers(2, 9, 5000)]
    chosen = (rng.zipf(1.15, 200_000) - 1) % len(phrases)
    noise = (rng.zipf(1.2, 1_000_000) - 1) % 50_000
    ids = np.concatenate([*(phrases[i] for i in chosen), noise])
    lengths = rng.integers(100, 900, len(ids) // 550)
    lengths[-1] += len(ids) - lengths.sum()
    schema = ts.Schema(tokens=ts.Tokens(50_000), url=ts.Text(), quality=ts.Score("float32"), codes=ts.Codes(64, (8, 8)))
    rows = len(lengths)
    codes = rng.integers(0, 64, (rows, 1, 8)) + np.cumsum(rng.integers(-2, 3, (rows, 8, 8)), axis=1)  # near those above
    codes %= 64
    with ts.create(path, schema, level="default", shard_tokens=500_000) as writer:
        writer.extend(
            tokens=ts.Ragged(ids, lengths),
            url=[f"page {i}" for i in range(rows)],
            quality=np.arange(rows, dtype=np.float32) / 8,
            codes=codes,
        )
    store = ts.open(path)
    some = {}
    for i in (0, rows // 3, rows - 1):
        row = store[i]
        some[i] = {"tokens": row["tokens"].tolist(), "url": row["url"], "quality": float(row["quality"])}
        some[i]["codes"] = row["codes"].ravel().tolist()
    said = {"rows": rows, "tokens": len(ids), "sum": int(ids.sum()), "some": some}
    path.with_suffix(".json").write_text(json.dumps(said))


def main() -> int:
    """Run the script."""
    if len(sys.argv) != 2:
        print("usage: python make_stores.py FOLDER", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for level in ("plain", "fast", "default", "small"):
        write_types(folder / f"types_{level}", level)
    write_large(folder / "large")
    return 0


if __name__ == "__main__":
    sys.exit(main())
