"""Objects that stores share in memory: made once in a process, verified in every store."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import tokstore as ts
from tokstore.codecs.ranked import RankTable


def make(path: Path) -> np.ndarray:
    """Write a store that has a rank table, and return its ids."""
    values = np.random.default_rng(0).zipf(1.3, 200_000).clip(max=4999).astype(np.uint16)
    with ts.create(path, ts.Schema(tokens=ts.Tokens(5_000)), level="fast") as writer:
        writer.extend(tokens=ts.Ragged(values, np.full(200, 1000)))
    return values


def test_a_table_is_decoded_once_for_all_stores_that_have_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = make(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    decoded = []
    decode = RankTable.decode

    def counted(content: bytes, vocab_size: int) -> RankTable:
        decoded.append(len(content))
        return decode(content, vocab_size)

    monkeypatch.setattr(RankTable, "decode", counted)
    for name in ("a", "b", "a"):
        assert np.array_equal(ts.open(tmp_path / name).take(np.arange(200))["tokens"].values, values)
    assert len(decoded) <= 1  # none if another test has read such a table before


def test_a_damaged_object_is_found_though_a_good_one_was_read(tmp_path: Path) -> None:
    make(tmp_path / "a")
    assert len(ts.open(tmp_path / "a")[0]["tokens"])
    (path,) = (one for one in (tmp_path / "a" / "objects").rglob("*") if one.is_file())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ts.CorruptError, match=path.name[:16]):
        ts.open(tmp_path / "a")[0]
