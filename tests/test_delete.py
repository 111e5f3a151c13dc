"""Deleted samples: which they are, what is left of spans, how appends, races and descriptions go on (format.md 8.5)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokstore as ts
from files import tree
from tokstore.block import spans_of
from tokstore.deletions import Deletions, ShardLoss
from tokstore.plan import Plan

COUNT = 40
SCHEMA = ts.Schema(t=ts.Tokens(300, optional=True), s=ts.Score())


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


def write(path: Path, **options: Any) -> ts.Store:
    """Create a store of several shards."""
    with ts.create(path, SCHEMA, shard_tokens=60, threads=1, **options) as w:
        w.extend(t=[[i] * (i % 7) if i % 5 else None for i in range(COUNT)], s=np.arange(COUNT) / 4)
    return ts.open(path)


@pytest.fixture
def store(tmp_path: Path) -> ts.Store:
    """A store of several shards."""
    return write(tmp_path / "s")


WAYS: dict[str, Callable[[ts.Store], int]] = {
    "positions": lambda s: s.delete([7, 3, 3, -1]),
    "an array": lambda s: s.delete(np.array([3, 7, 39], np.uint8)),
    "booleans": lambda s: s.delete(np.isin(np.arange(COUNT), [3, 7, 39])),
    "ids": lambda s: s.delete(ids=[39, 3, 7, 7]),
    "slices": lambda s: s.delete(slice(3, 8, 4)) + s.delete(slice(-1, None)),
    "one by one": lambda s: s.delete([3]) + s.delete([6]) + s.delete([37]),
    "a view": lambda s: s.delete(s.where(ids=[39, 3, 7])),
    "a view of an older version": lambda s: s.delete(ts.open(s.path, version=1).where(ids=[3, 7, 39])),
    "a condition": lambda s: s.delete(where="s == 0.75 or s == 1.75 or s > 9.5"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_name_samples(way: str, store: ts.Store) -> None:
    """The same three samples go, whichever way they are named; all others keep ids, order and values."""
    rows, size = store["t"].to_list(), store.token_count
    data = {name for name in tree(Path(store.path)) if name.startswith("data/")}
    assert WAYS[way](store) == 3
    left = [i for i in range(COUNT) if i not in (3, 7, 39)]
    assert store.take(slice(None), [])["sample_id"].tolist() == left
    assert store["t"].to_list() == [rows[i] for i in left]
    assert store["s"].tolist() == [i / 4 for i in left]
    assert store.token_count == size - 3 - 0 - 4 == sum(map(len, store["t"]))
    assert int(store.spans().values.sum()) == store.token_count
    assert len(ts.open(store.path, version=1)) == COUNT
    assert {name for name in tree(Path(store.path)) if name.startswith("data/")} == data
    assert ts.verify(store.path).problems == []


def test_deleting_nothing_or_again(store: ts.Store) -> None:
    """What is deleted already, or names nobody, makes no version."""
    assert store.delete(ids=[5, 6]) == 2
    version = store.version
    assert store.delete(ids=[5, 6, 5]) == 0
    assert store.delete([]) == store.delete(ids=[]) == store.delete(np.zeros(len(store), bool)) == 0
    assert store.version == version
    assert store.delete(ids=[5, 6, 7]) == 1
    assert store.delete(slice(None)) == COUNT - 3
    assert len(store) == 0
    assert store.token_count == 0
    assert store["t"].to_list() == []
    assert ts.verify(store.path).problems == []
    with store.writer() as w:
        w.append(t=[1, 2], s=0.5)
    assert store[0]["sample_id"] == COUNT
    assert ts.verify(store.path).problems == []


REFUSED: dict[str, tuple[Callable[[ts.Store], Any], type[Exception], str]] = {
    "nothing": (lambda s: s.delete(), TypeError, "give one of positions, ids= and where="),
    "two": (lambda s: s.delete([1], ids=[1]), TypeError, "give one of"),
    "position": (lambda s: s.delete([COUNT]), IndexError, "position 40 of 40 samples"),
    "floats": (lambda s: s.delete([0.5]), TypeError, "positions are a flat list of integers"),
    "few booleans": (lambda s: s.delete([True]), IndexError, "one item per sample"),
    "an id to come": (lambda s: s.delete(ids=[1, COUNT]), ValueError, "no sample has ever had id 40"),
    "negative id": (lambda s: s.delete(ids=[-1]), ValueError, "no sample has ever had id -1"),
    "ids in rows": (lambda s: s.delete(ids=[[1]]), TypeError, "ids are a flat list"),
    "old version": (lambda s: ts.open(s.path, version=1).delete([1]), ts.UnsupportedError, "read-only"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str, store: ts.Store) -> None:
    """Wrong calls change nothing."""
    before = tree(Path(store.path))
    call, kind, message = REFUSED[what]
    with pytest.raises(kind, match=message):
        call(store)
    assert tree(Path(store.path)) == before


def test_a_view_of_another_store_is_refused(store: ts.Store, tmp_path: Path) -> None:
    """Ids mean nothing in another store."""
    with pytest.raises(ValueError, match="of another store"):
        store.delete(write(tmp_path / "o"))


def test_positions_are_those_of_the_version_at_hand(store: ts.Store) -> None:
    """Whoever deletes by position means what he sees, though others have deleted and appended meanwhile."""
    other = ts.open(store.path)
    assert other.delete([0, 1, 2]) == 3
    with other.writer() as w:
        w.append(t=[1], s=0.0)
    assert store.delete([2, 5]) == 1
    assert store.take(slice(None), [])["sample_id"].tolist() == [3, 4, *range(6, COUNT + 1)]
    assert len(store) == store._version.root.totals.samples == COUNT - 3
    assert ts.verify(store.path).problems == []


def test_appends_go_on_in_the_same_page(store: ts.Store) -> None:
    """Deleting and appending in turns does not make a page each time."""
    for i in range(6):
        store.delete([i])
        with store.writer() as w:
            w.append(t=[i] * 9, s=float(i))
    assert len(store._version.root.pages) == 1
    assert store["s"].tolist()[-6:] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert len(store) == COUNT
    assert ts.verify(store.path).problems == []


def test_describe_proposes_to_compact(store: ts.Store) -> None:
    """Above a fifth of all samples, and only then, people are told what to do."""
    store.delete(slice(0, 8))
    assert store.describe()["deleted"] == {"samples": 8, "share": 0.2, "compact": False}
    assert "compact and then prune" not in repr(store)
    store.delete([0])
    assert store.describe()["deleted"]["compact"]
    assert " ".join(repr(store).split()).endswith(
        "9 samples are deleted, 22% of all: compact and then prune give their bytes back"
    )
    assert "compact" in store._repr_html_()


def test_damaged_deletions_are_found(store: ts.Store) -> None:
    """Deletions that were cut, changed, or are gone: reading and verifying say so, and appending does not go on."""
    store.delete([1, 2, 30])
    (path,) = (Path(store.path) / "deletions").iterdir()
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:40] + bytes([whole[40] ^ 1]) + whole[41:], b"", None):
        path.unlink() if damaged is None else path.write_bytes(damaged)
        opened = ts.open(store.path)
        with pytest.raises((ts.CorruptError, ts.MissingFileError), match=path.name):
            opened[5]
        assert any(path.name in str(one) for one in ts.verify(store.path).problems)
        with pytest.raises((ts.CorruptError, ts.MissingFileError)), opened.writer() as w:
            w.append(t=[1], s=0.0)


@given(st.lists(st.integers(0, 70), min_size=1, max_size=30), st.data())
def test_spans_count_what_is_left(lengths: list[int], data: st.DataObject) -> None:
    """Samples and values left per span are those of a count sample by sample, also of samples cut between spans."""
    rows, total = len(lengths), sum(lengths)
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, total - 1)), max_size=8)) if total > 1 else [])
    is_gone = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)))
    bounds = [0, *cuts, total] if total else [0]
    import tokstore.block

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokstore.block, "SPAN_VALUES", 20)
        spans = spans_of(bounds, np.array(lengths), rows)
    plan = Plan(0, np.array([0, len(spans.values)]), spans)  # a shard without samples before it
    starts = np.concatenate([[0], np.cumsum(lengths)])
    gone = Deletions.none(plan).with_losses(plan, {1: ShardLoss(is_gone, starts)})
    owner = np.repeat(np.arange(rows), lengths)  # the sample of every value
    span_of = np.repeat(np.arange(len(spans.values)), spans.values)
    begins = np.repeat(np.arange(len(spans.samples)), spans.samples)
    expected = [int((~is_gone[owner] & (span_of == i)).sum()) for i in range(len(spans.values))]
    assert gone.span_values.tolist() == expected
    assert gone.span_samples.tolist() == [int((~is_gone & (begins == i)).sum()) for i in range(len(spans.samples))]
    assert gone.deleted.tolist() == [0, int(is_gone.sum())]
    assert gone.deleted_values.tolist() == [0, int(np.array(lengths)[is_gone].sum())]
    again = Deletions.decode(gone.encode(), np.array([0, rows]), len(spans.values))
    assert all(np.array_equal(getattr(again, name), getattr(gone, name)) for name in gone.__dict__)
    assert np.array_equal(again.is_gone(1, rows), is_gone)
    joined = again.slice(1, 2, plan).join(again.slice(0, 2, plan))
    assert joined.deleted.tolist() == [int(is_gone.sum()), 0, int(is_gone.sum())]
    assert np.array_equal(joined.is_gone(2, rows), is_gone)
    assert np.array_equal(joined.is_gone(0, rows), is_gone)
