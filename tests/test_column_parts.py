"""Parts of a column: many writers by sample id, one version; overlaps, mixtures and repeats (format.md 8.6)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import tokstore as ts
from contracts import check_reader
from files import data_files, tree
from tokstore.growth import Part
from tokstore.parts import part_path
from tokstore.storage import LocalStorage

COUNT = 50
SCHEMA = ts.Schema(t=ts.Tokens(300), s=ts.Score(optional=True))


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture
def store(tmp_path: Path) -> ts.Store:
    """A store of several shards."""
    with ts.create(tmp_path / "s", SCHEMA, shard_tokens=40, threads=1) as w:
        w.extend(t=[[i] * (i % 5) for i in range(COUNT)], s=np.arange(COUNT) / 2)
    return ts.open(tmp_path / "s")


def stage(store: ts.Store, part: str, ids: Any, values: Any, kind: Any = None, column: str = "q") -> None:
    """Stage values in several calls."""
    with ts.writer(store.path, part, column=column, type=kind or ts.Score(), threads=1) as w:
        for i in range(0, len(ids), 3):
            w.extend(ids[i : i + 3], values[i : i + 3])


def by_id(store: ts.Store, column: str = "q") -> dict[int, Any]:
    """Return the values that are there, by sample id."""
    batch = store.take(slice(None), [column])
    found = batch[column].to_list() if isinstance(batch[column], ts.Ragged) else list(batch[column])
    here = ~store.missing(column)
    return {
        one: value for one, value, there in zip(batch["sample_id"].tolist(), found, here.tolist(), strict=True) if there
    }


def test_parts_become_a_column(store: ts.Store) -> None:
    """Ids in any order, over any shards, staged by several writers: one version, in which each has its value."""
    order = np.random.default_rng(0).permutation(COUNT)
    version, before = store.version, set(data_files(Path(store.path)))
    with mock.patch("tokstore.column_parts.FILE_BYTES", 40):
        for number, some in enumerate(np.array_split(order[:45], 4)):
            stage(store, f"{number}", some, some / 4)
    assert len(list((Path(store.path) / "parts").iterdir())) == 4
    assert "q" not in ts.open(store.path).schema
    assert ts.verify(store.path).problems == []
    assert store.commit() == version + 1
    assert by_id(store) == {int(one): one / 4 for one in order[:45]}
    assert store.schema["q"] == ts.Score(optional=True)
    assert list((Path(store.path) / "parts").iterdir()) == []
    assert len(set(data_files(Path(store.path))) - before) == 1, "the files of the parts are gone"
    assert store.commit() == version + 1
    assert ts.verify(store.path).problems == []


def test_more_parts_fill_the_column(store: ts.Store) -> None:
    """Parts that come later fill what is there; samples that were deleted meanwhile are passed over."""
    stage(store, "a", [1, 2, 49], ["one", "two", None], ts.Text())
    store.commit(["a"])
    stage(store, "b", [0, 2, 48, 49], ["nought", "again", "48", "49"], ts.Text(optional=True))
    store.delete(ids=[48, 1])
    with store.writer() as w:
        w.append(t=[1])
    store.commit()
    assert by_id(store) == {0: "nought", 2: "again", 49: "49"}
    assert [one.verb for one in store.versions()[:1]] == ["fill_column"]
    assert ts.verify(store.path).problems == []


@pytest.mark.parametrize("kind", [ts.Tokens(70_000), ts.Text(), ts.Label(9), ts.Score("float16")])
def test_any_type(kind: Any, store: ts.Store) -> None:
    """Ragged and fixed values alike."""
    values: dict[type, Callable[[int], Any]] = {
        ts.Tokens: lambda i: [i] * (i % 3), ts.Text: lambda i: f"é{i}", ts.Label: lambda i: i % 9, ts.Score: float
    }  # fmt: skip
    make = values[type(kind)]
    ids = list(range(0, COUNT, 2))
    stage(store, "x", ids[::-1], [make(i) for i in ids[::-1]], kind)
    stage(store, "y", [1], [make(1)], kind)
    store.commit()
    found = by_id(store)
    assert set(found) == {*ids, 1}
    assert all((list(found[i]) if isinstance(kind, ts.Tokens) else found[i]) == make(i) for i in found)
    assert ts.verify(store.path).problems == []


def test_vectors_are_rounded_once(store: ts.Store) -> None:
    """Parts wait as they were given: what the commit makes of them is no further from it than `add_column` gets."""
    vectors = np.random.default_rng(0).normal(size=(COUNT, 8)).astype(np.float32)
    kind = ts.Vector(8, codec="pca", max_error=0.2)
    for part, ids in (("a", np.arange(0, COUNT, 2)), ("b", np.arange(1, COUNT, 2))):
        stage(store, part, ids, vectors[ids], kind, "parts")
    store.commit()
    store.add_column("direct", vectors, kind)
    assert np.array_equal(store["parts"], store["direct"])
    assert not np.array_equal(store["parts"], vectors)
    assert ts.verify(store.path).problems == []


def test_a_column_for_every_sample(store: ts.Store) -> None:
    """A column that is not optional needs a value of each sample in some part."""
    for part, ids in (("a", range(30)), ("b", range(30, COUNT - 1))):
        with ts.writer(store.path, part, column="n", type=ts.Label(), optional=False) as w:
            w.extend(list(ids), list(ids))
    before = tree(Path(store.path))
    with pytest.raises(ValueError, match="column 'n' is not optional, and some samples are in no part"):
        store.commit()
    assert tree(Path(store.path)) == before
    store.delete([COUNT - 1])
    store.commit()
    assert store.schema["n"] == ts.Label()
    assert store["n"].tolist() == list(range(COUNT - 1))
    assert ts.verify(store.path).problems == []


def both(store: ts.Store, *parts: tuple[Any, ...]) -> None:
    """Stage parts and commit them."""
    for number, part in enumerate(parts):
        stage(store, f"{number}", *part)
    store.commit()


REFUSED: dict[str, tuple[Callable[[ts.Store], Any], type[Exception], str]] = {
    "an id in two parts": (
        lambda s: both(s, ([1, 5], [0.0, 0.5]), ([7, 5, 8], [0.0] * 3)), ts.ConflictError, "the sample with id 5"
    ),
    "an id twice": (lambda s: stage(s, "a", [4, 2, 4], [0.0] * 3), ValueError, "id 4 is given twice"),
    "an id twice, far apart": (
        lambda s: stage(s, "a", [4, *range(20, 40), 4], [0.0] * 22), ValueError, "id 4 is given twice"
    ),
    "an id to come": (lambda s: stage(s, "a", [COUNT], [0.0]), ValueError, "no sample has id 50"),
    "negative": (lambda s: stage(s, "a", [-1], [0.0]), ValueError, "no sample has id -1"),
    "other length": (lambda s: stage(s, "a", [1, 2], [0.0]), ValueError, "1 values for 2 ids"),
    "wrong values": (lambda s: stage(s, "a", [1], ["x"]), TypeError, "takes floating-point numbers"),
    "float ids": (lambda s: stage(s, "a", [1.0], [0.0]), TypeError, "ids are a flat list"),
    "no part": (lambda s: s.writer(column="q", type=ts.Score()), TypeError, "need column=, type= and part="),
    "no type": (lambda s: s.writer(column="q", part="a"), TypeError, "need column=, type= and part="),
    "sample_id": (lambda s: stage(s, "a", [1], [0.0], column="sample_id"), ValueError, "no column is named"),
    "another type": (
        lambda s: stage(s, "a", [1], ["x"], ts.Text(), "s"), ts.ConflictError, "column 's' is there, and it is Score"
    ),
    "primary": (lambda s: both(s, ([1], [[1]], ts.Tokens(300), "t")), ValueError, "column 't' is the primary one"),
    "two columns": (
        lambda s: both(s, ([1], [0.0]), ([2], [0.0], None, "r")), ts.ConflictError, "for column 'q' and column 'r'"
    ),
    "two types": (
        lambda s: both(s, ([1], [0.0]), ([2], [0], ts.Label())), ts.ConflictError, "column 'q' of different types"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str, store: ts.Store) -> None:
    """Wrong values, ids and mixtures: a clear error, no version, and no data file of a part that was not staged."""
    call, kind, message = REFUSED[what]
    with pytest.raises(kind) as caught, mock.patch("tokstore.column_parts.FILE_BYTES", 40):
        call(store)
    assert message in str(caught.value)
    assert ts.open(store.path).version == 1
    assert ts.verify(store.path).problems == []
    if not list((Path(store.path)).glob("parts/*")):
        page = store._version.pages([0])[0]
        assert len(data_files(Path(store.path))) == len(page.file_ids)


def test_parts_of_samples_and_of_columns_apart(store: ts.Store) -> None:
    """Mixed parts are refused, and either kind goes when it is named."""
    stage(store, "c", [1], [0.5])
    with ts.writer(store.path, "s") as w:
        w.append(t=[1])
    with pytest.raises(ts.ConflictError, match=r"for column 'q' and new samples .*commit\(parts=\[…\]\) takes some"):
        store.commit()
    store.commit(["c"])
    store.commit()
    assert by_id(store) == {1: 0.5}
    assert len(store) == COUNT + 1


def test_an_open_writer_can_be_given_up(store: ts.Store) -> None:
    """An exception leaves no part and no file; a part of nothing is none; a taken name is refused."""
    before = tree(Path(store.path))
    with mock.patch("tokstore.column_parts.FILE_BYTES", 4):
        w = ts.writer(store.path, "a", column="q", type=ts.Score())
        w.extend([1, 2], [0.5, 0.25])
        assert repr(w) == "<ColumnWriter q: 2 values, 0 wait>"
        assert tree(Path(store.path)) != before
        w.__exit__(RuntimeError, RuntimeError(), None)
    with ts.writer(store.path, "a", column="q", type=ts.Score()):
        pass
    assert tree(Path(store.path)) == before
    stage(store, "a", [1], [0.5])
    with pytest.raises(ts.ExistsError, match="a part of that name is staged"):
        stage(store, "a", [2], [0.5])


def test_a_part_that_is_in_already(store: ts.Store) -> None:
    """A process that died after its commit left the parts: the next commit removes them and adds nothing."""
    stage(store, "a", [1, 2], [0.5, 0.25])
    kept = tree(Path(store.path))
    store.commit()
    for name, data in kept.items():
        path = Path(store.path) / name
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
    version = store.version
    assert ts.open(store.path).commit() == version
    assert list((Path(store.path) / "parts").iterdir()) == []
    assert by_id(store) == {1: 0.5, 2: 0.25}
    assert ts.verify(store.path).problems == []


@pytest.mark.hostile
def test_damaged_parts(store: ts.Store) -> None:
    """Every truncation and many flipped bits of a part are noticed; a part with a value twice breaks the format."""
    stage(store, "a", [1, 2, 9], [0.5, 0.25, 1.0])
    path = Path(store.path) / part_path("a")
    whole = path.read_bytes()
    check_reader(lambda data: repr(Part.decode(data)), whole, is_checked=True, flips=300, allowed=80 << 20)
    part = Part.decode(whole)
    page = part.shards.page
    for changes in ({"id_first": page.id_first[[0, 0]]}, {"id_first": page.id_first * 0}):
        object.__setattr__(part.shards, "page", type(page)(**(page.__dict__ | changes)))
        path.write_bytes(part.encode())
        with pytest.raises(ts.CorruptError, match="two values of one sample"):
            store.commit()
        assert ts.verify(store.path).problems
    path.write_bytes(whole)
    (new,) = {LocalStorage(store.path).describe(f"data/{one.hex()[:2]}/{one.hex()}.tok") for one in page.file_ids}
    Path(new).write_bytes(Path(new).read_bytes()[:-70])
    assert ts.verify(store.path).problems
    with pytest.raises(ts.CorruptError):
        store.commit()
    assert ts.open(store.path).version == 1
