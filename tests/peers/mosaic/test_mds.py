"""MDS with the real package: what `mosaicml-streaming` writes comes in, what we write it reads back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streaming import MDSWriter, StreamingDataset
from streaming.base.util import clean_stale_shared_memory

import tokstore as ts

RNG = np.random.default_rng(0)
ROWS = [RNG.integers(0, 60_000, int(n)).astype(np.uint16) for n in RNG.integers(1, 300, 500)]
COLUMNS = {
    "tokens": "ndarray:uint16", "score": "float32", "n": "int", "url": "str", "raw": "bytes",
    "fixed": "ndarray:float32:3", "small": "int16", "digits": "str_int", "obj": "json", "any": "pkl",
}  # fmt: skip


def sample(i: int) -> dict[str, Any]:
    """Return one sample."""
    return {
        "tokens": ROWS[i], "score": np.float32(i / 7), "n": i, "url": f"ü{i}", "raw": bytes([i % 256]),
        "fixed": np.arange(3, dtype=np.float32) + i, "small": -i, "digits": i * 10**12, "obj": {"i": i}, "any": {i},
    }  # fmt: skip


@pytest.mark.parametrize(("compression", "hashes"), [(None, None), ("zstd:7", ["sha1", "xxh3_64"]), ("gz", ["xxh64"])])
def test_what_mosaic_writes(tmp_path: Path, compression: str | None, hashes: list[str] | None) -> None:
    """Shards of every compression and hash come in bit for bit; pickles are named as lost."""
    with MDSWriter(
        out=str(tmp_path / "m"), columns=COLUMNS, compression=compression, hashes=hashes, size_limit=1 << 15
    ) as out:
        for i in range(len(ROWS)):
            out.write(sample(i))
    report = ts.pack(tmp_path / "m", tmp_path / "s")
    store = ts.open(tmp_path / "s")
    assert report.format == "mds"
    assert any("'any'" in line for line in report.lost)
    assert store["tokens"] == ts.Ragged.from_rows(ROWS, np.int32)
    assert store["score"].tobytes() == (np.arange(500) / 7).astype(np.float32).tobytes()
    assert store["n"].tolist() == list(range(500))
    assert store["url"] == [f"ü{i}" for i in range(500)]
    assert store["raw"] == [bytes([i % 256]) for i in range(500)]
    assert np.array_equal(store["fixed"], np.arange(3, dtype=np.float32) + np.arange(500)[:, None])
    assert store["small"].tolist() == [-i for i in range(500)]
    assert store["digits"].tolist() == [i * 10**12 for i in range(500)]
    assert store["obj"][3] == '{"i": 3}'


def test_what_mosaic_reads(tmp_path: Path) -> None:
    """`StreamingDataset` reads our folder, checks its hashes, and gives the same values."""
    schema = ts.Schema(tokens=ts.Tokens(100_000), score=ts.Score(), n=ts.Label(), url=ts.Text(), vector=ts.Vector(3))
    rows = [row.astype(np.int64) + 30_000 for row in ROWS]
    with ts.create(tmp_path / "s", schema) as w:
        w.extend(
            tokens=ts.Ragged.from_rows(rows), score=np.arange(500) / 7, n=range(500), url=[f"ü{i}" for i in range(500)],
            vector=np.arange(1500).reshape(500, 3),
        )  # fmt: skip
    ts.open(tmp_path / "s").export(tmp_path / "m", format="mds", shard_rows=130)
    clean_stale_shared_memory()
    found = StreamingDataset(local=str(tmp_path / "m"), shuffle=False, batch_size=1, validate_hash="xxh64")
    assert len(found) == 500
    for i in (0, 129, 130, 499):
        one = found[i]
        assert np.array_equal(one["tokens"], rows[i])
        assert (one["score"], one["n"], one["url"]) == (np.float32(i / 7), i, f"ü{i}")
        assert np.array_equal(one["vector"], np.arange(3 * i, 3 * i + 3, dtype=np.float32))


def test_empty_samples(tmp_path: Path) -> None:
    """Samples without tokens, which its writer refuses, can still be read by it from our folders."""
    with ts.create(tmp_path / "s", ts.Schema(tokens=ts.Tokens(9))) as w:
        w.extend(tokens=[[1], [], [2, 3]])
    ts.open(tmp_path / "s").export(tmp_path / "m", format="mds")
    clean_stale_shared_memory()
    found = StreamingDataset(local=str(tmp_path / "m"), shuffle=False, batch_size=1)
    assert [found[i]["tokens"].tolist() for i in range(3)] == [[1], [], [2, 3]]
