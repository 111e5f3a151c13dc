"""Tags, and what `prune` takes: exactly what no kept version, tag or staged part names, and nothing of the living."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import tokstore as ts
from files import data_files, tree, write_samples
from tokstore.manifest import LATEST_FILE, root_path, write_json
from tokstore.storage import LocalStorage

SCHEMA = ts.Schema(t=ts.Tokens(300), s=ts.Score(optional=True))


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture
def store(tmp_path: Path) -> ts.Store:
    """A store of six versions: create, append, add_column, delete, compact, append."""
    with ts.create(tmp_path / "s", SCHEMA, attachments={"a": b"kept" * 50}, shard_tokens=30) as w:
        w.extend(t=[[i] * 5 for i in range(20)])
    opened = ts.open(tmp_path / "s")
    with opened.writer() as w:
        w.append(t=[1, 2, 3], s=0.5)
    opened.add_column("x", ["text"] * 21, ts.Text())
    opened.delete(slice(0, 10))
    opened.compact(shard_tokens=30)
    with opened.writer() as w:
        w.append(t=[4], x="last")
    assert opened.version == 6
    return opened


def folder(store: ts.Store) -> Path:
    """Return where a store is."""
    return Path(store.path)


def content(store: ts.Store) -> list[str]:
    """Return all samples, as text."""
    return [repr(sample) for sample in store]


def named(store: ts.Store) -> set[Path]:
    """Return the data files that a version names."""
    version = store._version
    pages = version.pages(range(len(version.root.pages)))
    return {folder(store) / "data" / one.hex()[:2] / f"{one.hex()}.tok" for page in pages for one in page.file_ids}


def test_a_dry_run_changes_nothing(store: ts.Store) -> None:
    """By default it is only told what would go."""
    before = tree(folder(store))
    found = store.prune()
    assert tree(folder(store)) == before
    assert found.versions == [1, 2, 3, 4, 5]
    assert found.kept == [6]
    assert found.dry_run
    assert found.files > 5
    assert repr(found).startswith(f"<Pruned: would remove 5 versions, {found.files} files of {found.nbytes:,} bytes")
    assert "orphans" not in repr(found)


@pytest.mark.parametrize("keep", [1, 2, 4, 6, 99])
def test_exactly_what_nobody_needs(keep: int, store: ts.Store) -> None:
    """Kept versions are whole, others are gone, and no file is left that none of them names."""
    contents = {one: content(ts.open(store.path, version=one)) for one in range(1, 7)}
    before = sum(len(data) for data in tree(folder(store)).values())
    done = store.prune(keep=keep, dry_run=False)
    kept = list(range(max(1, 7 - keep), 7))
    assert done.kept == kept == [one.version for one in store.versions()][::-1]
    assert done.versions == list(range(1, kept[0]))
    assert before - sum(len(data) for data in tree(folder(store)).values()) == done.nbytes
    for version in kept:
        assert ts.verify(store.path, version).problems == []
        assert content(ts.open(store.path, version=version)) == contents[version]
    assert set(data_files(folder(store))) == set.union(*(named(ts.open(store.path, version=v)) for v in kept))
    assert store.attachments["a"] == b"kept" * 50
    for version in done.versions:
        with pytest.raises(ts.VersionError, match=f"there is no version {version} any more: it was pruned"):
            ts.open(store.path, version=version)
    with pytest.raises(ts.VersionError, match="there is no version 7; see"):
        ts.open(store.path, version=7)
    again = store.prune(keep=keep, dry_run=False)
    assert (again.files, again.nbytes, again.versions) == (0, 0, [])
    with store.writer() as w:
        w.append(t=[9])
    assert ts.open(store.path).version == 7
    assert ts.verify(store.path).problems == []


def test_tags_keep_versions(store: ts.Store) -> None:
    """A tag names a version, is listed, opens it, keeps it, moves only when told, and lets it go."""
    store.tag("v1", 2)
    store.tag("now")
    assert store.tags() == {"now": 7, "v1": 2}
    assert len(ts.open(store.path, version="v1")) == 21
    version = store.version
    store.tag("v1", 2)
    assert store.version == version, "it is so already"
    with pytest.raises(ts.ExistsError, match="version 2 has the tag 'v1'"):
        store.tag("v1")
    assert [one.tags for one in store.versions() if one.tags] == [("now",), ("v1",)]
    assert store.prune(dry_run=False).kept == [2, 7, 8]
    assert content(ts.open(store.path, version="v1"))
    assert ts.verify(store.path, "v1").problems == []
    store.tag("v1", 7, exist="replace")
    assert store.prune(dry_run=False).kept == [7, 9]
    store.untag("v1")
    with pytest.raises(ts.VersionError, match="no tag 'v1'; There are: now"):
        store.untag("v1")
    with pytest.raises(ts.VersionError, match="no tag 'v1'"):
        ts.open(store.path, version="v1")
    assert [one.verb for one in store.versions()[:1]] == ["untag"]


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "ü", "x" * 129, 5, "a b"])
def test_names_of_tags(name: Any, store: ts.Store) -> None:
    """A tag is a word that fits into a file name."""
    with pytest.raises(ValueError, match="a tag is made of"):
        store.tag(name)


def test_wrong_calls(store: ts.Store) -> None:
    """Wrong calls change nothing."""
    before = tree(folder(store))
    for call, kind, message in (
        (lambda: store.tag("v", 99), ts.VersionError, "there is no version 99"),
        (lambda: store.tag("v", exist="keep"), ValueError, 'exist is "error" or "replace"'),
        (lambda: store.prune(keep=0), ValueError, "keep is 1 or more"),
        (lambda: store.prune(older_than=-1), ValueError, "older_than is a number of seconds"),
        (lambda: store.prune(grace=timedelta(-1)), ValueError, "grace is a number of seconds"),
        (lambda: ts.open(store.path, version=1).prune(), ts.UnsupportedError, "read-only"),
        (lambda: ts.open(store.path, version=1).tag("v"), ts.UnsupportedError, "read-only"),
    ):
        with pytest.raises(kind, match=message):
            call()
    assert tree(folder(store)) == before


def test_older_than_keeps_what_is_young(store: ts.Store) -> None:
    """A version goes only if it is old enough, as seconds or as a timedelta."""
    assert store.prune(older_than=3600).versions == []
    assert store.prune(older_than=timedelta(hours=1)).kept == [1, 2, 3, 4, 5, 6]
    with mock.patch("time.time", return_value=time.time() + 7200):
        assert store.prune(older_than=3600).versions == [1, 2, 3, 4, 5]
        assert store.prune(older_than=timedelta(hours=3)).versions == []


def strew(path: Path) -> tuple[list[Path], list[Path]]:
    """Leave in a store what dead writers leave, and what is somebody else's."""
    dead = [
        path / "data/00" / ("00" * 16 + ".tok"), path / "data/00/.0123456789abcdef.tmp",
        path / "objects/ab" / ("ab" * 32), path / "pages" / ("00" * 32), path / "plans" / ("00" * 32),
        path / "deletions" / ("00" * 32), path / "columns/0000000007", path / ".00112233445566aa.tmp",
        path / "manifests/.00112233445566aa.tmp", path / "parts/.00112233445566aa.tmp",
    ]  # fmt: skip
    foreign = [
        path / "notes.txt", path / "data/00/x.tok", path / "data/01" / ("00" * 16 + ".tok"), path / "pages/y",
        path / "data/zz" / ("00" * 16 + ".tok"), path / "manifests/9.tsm", path / ".bashrc.tmp", path / "columns/7",
        path / "objects/00" / ("ab" * 32), path / "views/v/x",
    ]  # fmt: skip
    for one in [*dead, *foreign]:
        one.parent.mkdir(parents=True, exist_ok=True)
        one.write_bytes(b"left")
    return dead, foreign


def test_orphans_go_when_they_are_old(store: ts.Store) -> None:
    """What no version names goes after the grace period; what the format does not name is somebody else's."""
    dead, foreign = strew(folder(store))
    assert store.prune(keep=99, dry_run=False).files == 0
    old = time.time() - 90_000
    for one in [*dead, *foreign]:
        os.utime(one, (old, old))
    assert store.prune(keep=99, grace=timedelta(days=2)).files == 0
    done = store.prune(keep=99, dry_run=False)
    assert done.files == done.orphans == len(dead)
    assert done.versions == []
    assert "left by dead writers" in repr(done)
    assert not [one for one in dead if one.exists()]
    assert [one for one in foreign if not one.exists()] == []
    assert ts.verify(store.path).problems == []


def test_a_writer_at_work_loses_nothing(store: ts.Store) -> None:
    """Files of an open writer, of an added column in the making and of staged parts are left alone."""
    with ts.writer(store.path, "later") as w:
        w.append(t=[7] * 40)
    with ts.writer(store.path, "scores", column="q", type=ts.Score()) as w:
        w.extend([15, 16], [0.25, 0.5])
    pruned: list[Any] = []

    def values() -> Any:
        yield [0.5] * 6
        pruned.append(ts.open(store.path).prune(dry_run=False))
        yield [0.5] * 6

    writer = store.writer(shard_tokens=5)
    writer.extend(t=[[8] * 5, [9] * 5, [10]])
    assert len(data_files(folder(store))) > len(named(store)) + 2
    with mock.patch("tokstore.column_files.FILE_BYTES", 8):
        ts.open(store.path).add_column("z", values(), ts.Score())
    assert pruned[0].orphans == 0
    writer.close()
    old = time.time() - 10**6
    for one in data_files(folder(store)):
        os.utime(one, (old, old))
    store.prune(dry_run=False)
    store.commit(["later"])
    store.commit(["scores"])
    assert store["t"].to_list()[-1] == [7] * 40
    assert np.nansum(store["q"]) == 0.75
    assert ts.verify(store.path).problems == []
    assert len(store) == 16


def test_versions_that_tell_of_parts_stay(store: ts.Store) -> None:
    """Whether a staged part is committed is seen in the versions since it was begun (format.md 8.6)."""
    with ts.writer(store.path, "p") as w:
        w.append(t=[1])
    for i in range(3):
        with store.refresh().writer() as w:
            w.append(t=[i])
    assert store.prune(dry_run=False).kept == [7, 8, 9]
    store.commit()
    assert store.prune(dry_run=False).kept == [10]


def test_a_stale_writer_is_not_lost(store: ts.Store) -> None:
    """A writer that opened a version which is gone by now commits on top of the newest one, not in a gap before it."""
    stale, stale_store = store.writer(), ts.open(store.path)
    for i in range(3):
        with store.writer() as w:
            w.append(t=[i])
        assert store.prune(dry_run=False, grace=0).kept == [7 + i]
    stale.append(t=[99])
    stale.close()
    assert ts.open(store.path).version == 10
    assert ts.open(store.path)[-1]["t"].tolist() == [99]
    stale_store.delete(ids=[15])
    assert ts.open(store.path).version == 11
    assert len(ts.open(store.path)) == 15
    assert ts.verify(store.path).problems == []


def test_the_hint_is_put_right_before_roots_go(store: ts.Store) -> None:
    """A hint that is late must not name a root that goes for good."""
    (folder(store) / LATEST_FILE).write_bytes(write_json({"version": 2}))
    store.prune(dry_run=False, grace=0)
    with mock.patch("time.time", return_value=time.time() + 90_000):
        store.prune(dry_run=False, grace=0)
    assert sorted(path.name for path in (folder(store) / "manifests").iterdir()) == [Path(root_path(6)).name]
    assert ts.open(store.path).version == 6
    assert (folder(store) / LATEST_FILE).read_bytes() == write_json({"version": 6})


def test_markers_go_after_the_grace_period(store: ts.Store) -> None:
    """The empty files that stand for removed roots hold their numbers for a while, and then go."""
    store.prune(dry_run=False)
    empty = [path for path in (folder(store) / "manifests").iterdir() if not path.stat().st_size]
    assert len(empty) == 5
    assert store.prune().files == 0
    (folder(store) / LATEST_FILE).unlink()
    assert ts.open(store.path).version == 6
    with mock.patch("time.time", return_value=time.time() + 90_000):
        done = store.prune(dry_run=False)
    assert (done.files, done.orphans) == (5, 0)
    assert ts.open(store.path).version == 6


def test_a_view_of_a_pruned_version_says_so(store: ts.Store) -> None:
    """Whoever still has the old version open is told why its files are gone."""
    view = ts.open(store.path, version=3)
    again = ts.open(store.path, version=4)
    assert view[0]["sample_id"] == 0
    store.prune(dry_run=False)
    for one in (view, again):
        with pytest.raises(ts.MissingFileError, match=r"since version [34] was pruned .*; open the store again"):
            list(ts.Store(LocalStorage(store.path), one._version.root))
    assert store.refresh()[0]["sample_id"] == 10


def test_a_current_table_stays_for_writers_that_share_it(tmp_path: Path) -> None:
    """A rank table that compaction has replaced may still be named by a writer that began before."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 2000, 4000) for _ in range(40)]
    with ts.create(tmp_path / "s", ts.Schema(t=ts.Tokens(60_000)), threads=1) as w:
        w.extend(t=rows)
    store = ts.open(tmp_path / "s")
    writer = store.writer(threads=1)
    writer.extend(t=rows[:20])
    twin = ts.open(tmp_path / "s")
    twin.delete(slice(0, 20))
    twin.compact(threads=1)
    twin.prune(dry_run=False)
    writer.close()
    assert ts.verify(tmp_path / "s").problems == []
    assert len(store) == 40


class Stopped(Exception):
    """Stands for a process that dies."""


@pytest.mark.parametrize("fatal", range(1, 30, 3))
def test_dying_while_pruning(fatal: int, store: ts.Store) -> None:
    """Whichever removal is the last: every version that can be opened is whole, and the next run takes the rest."""
    before, count = content(store), 0
    real: dict[str, Callable[..., Any]] = {"delete": LocalStorage.delete, "replace": LocalStorage.replace}

    def dying(name: str) -> Callable[..., Any]:
        def operation(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count >= fatal:
                raise Stopped
            return real[name](*arguments)

        return operation

    with mock.patch.multiple(LocalStorage, delete=dying("delete"), replace=dying("replace")), suppress(Stopped):
        store.prune(dry_run=False, grace=0)
    for one in ts.open(store.path).versions():
        assert ts.verify(store.path, one.version).problems == []
    store.refresh().prune(dry_run=False, grace=0)
    store.prune(dry_run=False, grace=0)
    assert content(store) == before
    assert set(data_files(folder(store))) == named(store)
    left = {name.split("/")[0] for name in tree(folder(store))}
    assert left == {"tokstore.json", "latest", "manifests", "data", "objects"}
    assert ts.verify(store.path).problems == []


def test_a_torn_newest_root_stops_everything(store: ts.Store) -> None:
    """Nothing is removed from a store whose newest version cannot be read."""
    path = folder(store) / root_path(6)
    for damaged in (b"", path.read_bytes()[:-1]):
        path.write_bytes(damaged)
        before = tree(folder(store))
        with pytest.raises(ts.CorruptError):
            store.prune(dry_run=False, grace=0)
        assert tree(folder(store)) == before


def test_a_damaged_kept_page_stops_everything(tmp_path: Path) -> None:
    """Where it cannot be told what a kept version names, nothing goes."""
    from test_manifest import write_crowded

    path = write_crowded(tmp_path, [{"t": [i]} for i in range(4)])
    store = ts.open(path)
    with store.writer() as w:
        w.append(t=[1])
    write_samples(tmp_path / "o", SCHEMA, [])
    for page in (path / "pages").iterdir():
        page.write_bytes(b"?" * 100)
    before = tree(path)
    with pytest.raises(ts.CorruptError):
        ts.open(path).prune(dry_run=False, grace=0)
    assert tree(path) == before
