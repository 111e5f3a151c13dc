"""`verify` beyond the vectors: what the package writes is sound for both readers, and lies of a manifest are found."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from tokstore.errors import CorruptError
from tokstore.format import PAGE_RECORD
from tokstore.frames import compress, decompress
from tokstore.growth import append_shards
from tokstore.manifest import read_root, root_path
from tokstore.root import Root

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "spec" / "readers" / "python"))

from tokread.store import open_path

SCHEMA = {
    "tokens": ts.Tokens(300),
    "quality": ts.Score("float16", optional=True),
    "kind": ts.Label(3, optional=True),
    "url": ts.Text(optional=True),
}


def batch(count: int, *, missing: bool = False) -> dict[str, Any]:
    """Make samples; with `missing` all that may be missing is."""
    rng = np.random.default_rng(count)
    if missing:
        return {"tokens": [[1]] * count}
    return {
        "tokens": [rng.integers(0, 300, rng.integers(0, 90)) for _ in range(count)],
        "quality": [None if x < 0.2 else float("nan") if x < 0.4 else float(x - 0.5) for x in rng.random(count)],
        "kind": [None if x < 0.2 else int(3 * x) for x in rng.random(count)],
        "url": ["ü" * int(x * 40) for x in rng.random(count)],
    }


@pytest.mark.parametrize("name", ["s", "s.tok"])
def test_empty_stores_are_sound(name: str, tmp_path: Path) -> None:
    """A store without samples has its sections where both readers look for them; equal attachments both stay."""
    path = tmp_path / name
    attachments = {"a": b"same", "b": b"same"}
    with ts.create(path, ts.Schema(SCHEMA), attachments=attachments):
        pass
    assert ts.verify(path).problems == []
    assert open_path(path).attachments == dict(ts.open(path).attachments) == attachments


def test_grown_stores_are_sound(tmp_path: Path) -> None:
    """Appends and staged parts, with columns missing at first, leave numbers that both readers find again."""
    path = tmp_path / "s"
    with ts.create(path, ts.Schema(SCHEMA)) as writer:
        writer.extend(batch(30, missing=True))
    for count in (50, 2_000):
        with ts.open(path).writer(shard_tokens=30_000) as writer:
            writer.extend(batch(count))
        with ts.open(path).writer(part=f"part-{count}", shard_tokens=70_000) as writer:
            writer.extend(batch(count))
    assert ts.verify(path).problems == []
    ts.open(path).commit()
    for version in (1, 2, 4):
        assert ts.verify(path, version).problems == []
        assert len(open_path(path, version).sample_ids) == len(ts.open(path, version))
    labels = ts.open(path)["kind"]
    totals = read_root(ts.open(path).storage, 4).columns[2]
    assert totals.span == (int(labels.min()), int(labels.max()))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A store of two versions."""
    path = tmp_path / "s"
    with ts.create(path, ts.Schema(SCHEMA)) as writer:
        writer.extend(batch(20))
    with ts.open(path).writer() as writer:
        writer.extend(batch(10))
    return path


def rewrite(path: Path, change: Any) -> None:
    """Replace the newest root by a changed one."""
    root = read_root(ts.open(path).storage, 2)
    (path / root_path(2)).write_bytes(change(root).encode()[0])


LIES = {
    "the totals are": lambda r: replace(r, totals=replace(r.totals, object_bytes=r.totals.object_bytes + 1)),
    "range": lambda r: replace(r, columns=r.columns | {2: replace(r.columns[2], span=(0, 1))}),
    "missing": lambda r: replace(r, columns=r.columns | {1: replace(r.columns[1], missing=0)}),
    "other columns": lambda r: replace(r, columns={0: r.columns[0]}),
    "sample ids of a page record": lambda r: replace(r, pages=changed(r, "last_sample_id")),
    "not below next_sample_id": lambda r: replace(r, next_sample_id=29),
}


def changed(root: Root, name: str) -> Any:
    """Return page records with one number raised."""
    pages = np.array(root.pages, PAGE_RECORD)
    pages[name] += 1
    return pages


@pytest.mark.parametrize("what", LIES)
def test_lies_of_a_root_are_found(what: str, small: Path) -> None:
    """A number of the root that is not what the pages add up to is corrupt, and does not hinder reading."""
    rewrite(small, LIES[what])
    assert len(list(ts.open(small))) == 30
    (problem,) = ts.verify(small).problems
    assert type(problem) is ts.CorruptError
    assert what in str(problem)


def test_range_stays_unknown(small: Path) -> None:
    """Where old shards have values and no range, an append gives the whole no range either."""
    root = read_root(ts.open(small).storage, 2)
    bare = replace(root, columns=root.columns | {2: replace(root.columns[2], span=None, ranged=False)})
    store = ts.open(small)
    new: list[Any] = []
    writer = store.writer()
    writer._finish = new.append
    writer.extend(batch(5))
    writer.close()
    grown = append_shards(bare, new[0], store._version.part_of_record)
    assert (grown.columns[2].span, grown.columns[2].ranged) == (None, False)
    assert append_shards(root, new[0], store._version.part_of_record).columns[2].ranged


def test_frame_without_content_ends_where_it_ends() -> None:
    """Bytes after a frame of nothing are seen, though there is nothing to decompress."""
    empty = compress(b"")
    assert decompress(empty, least=0, most=0) == b""
    for data in (empty + b"\0", empty + empty, empty[:-1]):
        with pytest.raises(CorruptError):
            decompress(data, least=0, most=0)
