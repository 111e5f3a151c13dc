"""Shards rewritten without deleted samples: order and ids stay, what was erased is gone, others go on meanwhile."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from files import data_files
from tokstore.codecs.ranked import RankTable
from tokstore.column_types import UnknownType
from tokstore.objects import decode_object
from tokstore.schema import Schema
from tokstore.wire import digest

SCHEMA = ts.Schema(t=ts.Tokens(300), s=ts.Score(optional=True), x=ts.Text(optional=True))
COUNT = 60


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


def write(path: Path, count: int = COUNT, **options: Any) -> ts.Store:
    """Create a store of shards of ten samples."""
    with ts.create(path, SCHEMA, **({"shard_tokens": 100, "threads": 1} | options)) as w:
        w.extend(
            t=[[i % 300] * 10 for i in range(count)],
            s=[None if i % 7 == 0 else i / 8 for i in range(count)],
            x=[None if i % 5 == 0 else f"text {i}" for i in range(count)],
        )
    return ts.open(path)


@pytest.fixture
def store(tmp_path: Path) -> ts.Store:
    """A store of six shards, with columns that were added later."""
    opened = write(tmp_path / "s")
    opened.add_column("later", np.arange(COUNT), ts.Label())
    opened.add_column("some", ["a", "b"], ts.Text(), ids=[1, 55])
    with opened.writer() as w:
        w.append(t=[5] * 10)
    return opened


def content(store: ts.Store) -> list[str]:
    """Return all samples, as text."""
    return [repr(sample) for sample in store]


def shards(store: ts.Store) -> list[int]:
    """Return the samples per shard, deleted ones included."""
    version = store._version
    return [n for number in range(len(version.root.pages)) for n in version.pages([number])[0].samples.tolist()]


def test_only_shards_with_many_deletions_are_rewritten(store: ts.Store) -> None:
    """The share decides; small neighbours come along; all columns do; nothing that can be seen changes."""
    store.delete([0, 1, 20, 59, 58, 57])
    before, files = content(store), set(data_files(Path(store.path)))
    done = store.compact(min_deleted=0.2, shard_tokens=100, threads=1)
    assert (done.replaced, done.made, done.left_out, done.versions, done.conflicts) == (3, 2, 5, 2, 0)
    assert shards(store) == [8, 10, 10, 10, 10, 8]
    assert content(store) == before
    assert repr(done) == "<Compacted: 3 shards became 2, 5 deleted samples left out>"
    assert len(set(data_files(Path(store.path))) - files) == 2
    assert [one.verb for one in store.versions()[:2]] == ["compact", "compact"]
    assert store.compact(min_deleted=0.2, shard_tokens=100).replaced == 0
    assert store.compact(min_deleted=0.0, shard_tokens=100).left_out == 1
    assert store.describe()["deleted"]["samples"] == 0
    assert content(store) == before
    assert ts.verify(store.path).problems == []
    assert content(ts.open(store.path, version=5))[:1] == before[:1]
    for version in range(1, store.version + 1):
        assert ts.verify(store.path, version).problems == []


def test_groups_are_versions(store: ts.Store) -> None:
    """At most `max_shards` are replaced by one commit; a group of deleted samples alone leaves no shard."""
    store.delete(slice(0, 30))
    store.delete([0, 11, 22])
    version, before = store.version, content(store)
    done = store.compact(min_deleted=0.05, max_shards=2, shard_tokens=100, threads=1)
    assert done.versions == store.version - version == 4
    assert done.left_out == 33
    assert content(store) == before
    assert shards(store) == [9, 9, 10]
    assert ts.verify(store.path).problems == []
    for wrong in ({"max_shards": 0}, {"max_shards": 65}, {"shard_tokens": 0}, {"min_deleted": -0.1}):
        with pytest.raises(ValueError, match="max_shards is|min_deleted is"):
            store.compact(**wrong)


def test_merge_joins_small_shards(tmp_path: Path) -> None:
    """A hundred appends become one shard, over page borders; shards that are large already are left alone."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("growth", "page_parts"):
            patch.setattr(f"tokstore.{module}.MAX_PAGE_SHARDS", 8)
        store = write(tmp_path / "s", 20)
        with ts.open(store.path).writer(shard_tokens=1000, threads=1) as w:
            w.extend(t=[[7] * 90] * 11, x=["big"] * 11)
        for i in range(20):
            with ts.open(store.path).writer(threads=1) as w:
                w.append(t=[i] * 10)
        before = content(store.refresh())
        assert len(store._version.root.pages) == 3
        store.delete([25])
        done = store.merge(shard_tokens=1000, max_shards=6, threads=1)
    assert content(store) == before[:25] + before[26:]
    assert shards(store) == [20, 11, 6, 6, 6, 2]
    assert done.left_out == 0
    assert store.merge(shard_tokens=1000).made == 1
    assert shards(store) == [20, 11, 20]
    assert store.merge(shard_tokens=1000).replaced == 0
    assert [one.verb for one in store.versions()[:1]] == ["merge"]
    assert ts.verify(store.path).problems == []


def test_ids_in_many_runs(tmp_path: Path) -> None:
    """Every second sample gone: the ids that are left are as many runs, and are found again by id and by position."""
    store = write(tmp_path / "s", 500, shard_tokens=2000)
    store.delete(slice(1, None, 2))
    store.compact(shard_tokens=2000, threads=1)
    assert store.take(slice(None), [])["sample_id"].tolist() == list(range(0, 500, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tokstore.compaction._SHARD_RUNS", 40)
        store.delete([0, 100])
        store.compact(min_deleted=0, shard_tokens=1 << 20, threads=1)
    assert max(store._version.pages([0])[0].id_runs.tolist()) <= 40
    left = [i for i in range(0, 500, 2) if i not in (0, 200)]
    assert store.take(slice(None), [])["sample_id"].tolist() == left
    store.add_column("n", left, ts.Label(), ids=left)
    assert store["n"].tolist() == left
    assert store.delete(ids=[200, 202]) == 1
    assert ts.verify(store.path).problems == []


def holds(store: ts.Store, needle: bytes) -> bool:
    """Tell whether any file of the store has some bytes."""
    return any(needle in path.read_bytes() for path in Path(store.path).rglob("*") if path.is_file())


def ids_in_tables(store: ts.Store) -> set[int]:
    """Return all token ids that rank tables of the store know, whatever version they are of."""
    found: set[int] = set()
    for path in Path(store.path).glob("objects/*/*"):
        raw = path.read_bytes()
        found |= set(RankTable.decode(decode_object(raw, digest(raw), len(raw)), 60_000).ids.tolist())
    return found


def test_erased_content_is_nowhere(tmp_path: Path) -> None:
    """After compact(erase=True) and prune nothing has a deleted sample: not its shard, not a rank table or a column
    file that others share, not the table that later shards would have taken. Without erase these stay."""
    rng = np.random.default_rng(0)
    common = rng.integers(0, 2000, 4000)
    secret = rng.integers(2000, 60_000, 3000)
    with ts.create(tmp_path / "s", ts.Schema(t=ts.Tokens(60_000)), shard_tokens=90_000, threads=1) as w:
        w.extend(t=[secret, *[np.concatenate([common, rng.integers(0, 2000, 200)]) for _ in range(60)]])
    store = ts.open(tmp_path / "s")
    store.add_column("x", ["SECRET", *["open"] * 60], ts.Text(), level="plain")
    store.delete([0])
    before, files = content(store), set(data_files(tmp_path / "s"))
    twin = shutil.copytree(tmp_path / "s", tmp_path / "twin")
    ts.open(twin).compact(min_deleted=0, shard_tokens=90_000, threads=1)
    ts.open(twin).prune(dry_run=False, grace=0)
    assert holds(ts.open(twin), b"SECRET"), "the column file is still that of other shards"
    assert ids_in_tables(ts.open(twin)) & set(secret.tolist()), "so is the table"
    done = store.compact(erase=True, shard_tokens=90_000, threads=1)
    assert done.replaced == len(files) - 1
    store.prune(dry_run=False, grace=0)
    assert not files & set(data_files(tmp_path / "s"))
    assert not holds(store, b"SECRET")
    assert ids_in_tables(store)
    assert not ids_in_tables(store) & (set(secret.tolist()) - set(range(2000)))
    assert content(store) == before
    with store.writer(threads=1) as w:
        w.extend(t=[np.concatenate([common, rng.integers(0, 2000, 200)]) for _ in range(30)])
    assert not ids_in_tables(store) & set(secret.tolist())
    assert ts.verify(tmp_path / "s").problems == []


MEANWHILE: dict[str, Callable[[ts.Store], Any]] = {
    "delete": lambda s: s.delete(ids=[12, 13, 55, 3]),
    "append": lambda s: s.writer().__enter__().extend(t=[[1]]),
    "rename": lambda s: s.rename_column("x", "y"),
    "drop": lambda s: s.drop_column("later"),
    "tag": lambda s: s.tag("v"),
    "add": lambda s: s.add_column("new", np.arange(len(s)), ts.Label()),
    "fill": lambda s: s.fill_column("s", [9.0], ids=[12]),
    "compact": lambda s: s.compact(min_deleted=0, shard_tokens=100),
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_others_change_the_store_meanwhile(what: str, store: ts.Store) -> None:
    """Deletions are applied to the new shards, other columns and values are kept, and nothing is lost."""
    store.delete(slice(0, 2))
    store.delete(ids=[10, 11, 50, 51])
    twin, done = ts.open(store.path), list[int]()

    def interfere(progress: ts.Progress) -> None:
        if not done:
            done.append(1)
            if what == "append":
                with twin.writer(threads=1) as w:
                    w.append(t=[1])
            else:
                MEANWHILE[what](twin)

    report = store.compact(min_deleted=0.1, shard_tokens=100, threads=1, progress=interfere)
    assert done
    assert content(store) == content(twin.refresh())
    ids = store.take(slice(None), [])["sample_id"].tolist()
    gone = {0, 1, 10, 11, 50, 51} | ({12, 13, 55, 3} if what == "delete" else set())
    assert ids == [i for i in range(61 + (what == "append")) if i not in gone]
    assert report.conflicts == (2 if what == "compact" else 0)
    if what == "delete":
        assert store.describe()["deleted"]["samples"] == 4 - 1, "one group began after the deletion"
    if what == "add":
        assert store["new"].tolist() == list(range(len(ids)))
    if what == "fill":
        assert store["s"][ids.index(12)] == 9.0
    assert ts.verify(store.path).problems == []
    named = {path for one in store.versions() for path in files_of(ts.open(store.path, version=one.version))}
    assert set(data_files(Path(store.path))) == named, "new shards of a lost race are removed"


def files_of(store: ts.Store) -> set[Path]:
    """Return the data files that a version names."""
    version = store._version
    pages = version.pages(range(len(version.root.pages)))
    return {Path(store.path, "data", one.hex()[:2], f"{one.hex()}.tok") for page in pages for one in page.file_ids}


def test_unknown_types_are_left_alone(store: ts.Store) -> None:
    """Shards with values that this version cannot read are not rewritten."""
    root = store._version.root
    columns = [
        replace(one, type=UnknownType(type_number=99, optional=True)) if one.name == "x" else one
        for one in root.schema.columns
    ]
    store._version.root = replace(root, schema=Schema.from_columns(columns))
    store._pinned = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "_take_newest", lambda: None)
        with pytest.raises(ts.UnsupportedError, match="column 'x' has a type that this version does not know"):
            store.compact(min_deleted=0)
