"""Saved views: what comes back in the same version and in later ones, and what damage does."""

from __future__ import annotations

import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tokstore as ts
from contracts import check_reader
from files import tree
from tokstore.format import VIEW_MAGIC, wrap
from tokstore.saved_view import SavedView, decode_saved
from tokstore.wire import checksum, encode_metadata
from view_models import SCHEMA, ids, scattered, write


@pytest.fixture
def store(tmp_path: Path) -> ts.Store:
    """Return a store of 60 samples in three shards."""
    return write(tmp_path / "s", scattered(60), 3)


def same(view: ts.View, other: ts.View) -> bool:
    """Tell whether two views hold the same samples in the same order with the same weights and columns."""
    mine, its = ((one.fingerprint, one.schema, one.is_weighted, one.weights.tolist()) for one in (view, other))
    return mine == its


def append(store: ts.Store, count: int) -> None:
    """Append samples."""
    with store.writer() as writer:
        writer.extend({name: [one[name] for one in scattered(count)] for name in SCHEMA.names})


@settings(
    max_examples=settings.default.max_examples * 3 // 10,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_views_come_back(store: ts.Store, data: st.DataObject) -> None:
    """Samples, order, weights, columns and recipe are those that were saved."""
    view: ts.View = store.where(ids=data.draw(st.lists(st.integers(0, 59))))
    if data.draw(st.booleans()):
        view = view.weigh(lambda b: (b["sample_id"] * 7 % 5).astype(float), columns=["h"])
    if data.draw(st.booleans()):
        view = view.sort("url", descending=True)
    if data.draw(st.booleans()):
        view = view.select(["h", "url"])
    view.save("v", exist="replace")
    again = store.load("v")
    assert same(again, view)
    assert again.recipe == view.recipe
    (info,) = store.views()
    assert (info.name, info.samples, info.version, info.recipe) == ("v", len(view), store.version, view.recipe)
    assert (info.is_ordered, info.is_weighted) == (ids(view) != sorted(ids(view)), view.is_weighted)


def test_names_are_not_overwritten(store: ts.Store, tmp_path: Path) -> None:
    """A name is taken once, replaced only on demand, and free again when it is dropped."""
    store.where("n == 1").save("a")
    files = tree(tmp_path / "s")
    with pytest.raises(ts.ExistsError, match=r"views/a/view\.tsw: a view of that name is saved"):
        store.save("a")
    assert tree(tmp_path / "s") == files
    store.where("n == 2").save("a", exist="replace")
    assert ids(store.load("a")) == ids(store.where("n == 2"))
    store.save("b.1")
    assert [one.name for one in store.views()] == ["a", "b.1"]
    store.drop_view("a")
    assert [one.name for one in store.views()] == ["b.1"]
    for missing in (store.load, store.drop_view):
        with pytest.raises(ts.MissingFileError, match=r"no view 'b\.2' is saved.*did you mean 'b\.1'"):
            missing("b.2")
    store.where("n == 1").save("a")
    for name in ("", ".x", "a/b", "..", "x" * 129, "ü", 7):
        with pytest.raises(ValueError, match=r"a view is named by letters.*\(format\.md 3\)"):
            store.save(name)
    with pytest.raises(ValueError, match='exist is "error" or "replace"'):
        store.save("c", exist="append")
    assert ts.verify(tmp_path / "s").ok


def test_files_of_others_are_no_views(store: ts.Store, tmp_path: Path) -> None:
    """Whatever else lies in the folder is passed over."""
    assert store.views() == []
    for path in ("views/x", "views/y/other", "views/.z/view.tsw", "views/a/.123.tmp"):
        (tmp_path / "s" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "s" / path).write_bytes(b"?")
    store.save("good")
    assert [one.name for one in store.views()] == ["good"]


def test_later_versions(store: ts.Store) -> None:
    """A view means its samples: after appends the same, after deletions what is left, and that is said."""
    view = store.where("n == 1").sort("url", descending=True).weigh(np.arange(15.0))
    view.save("v")
    before, weights = ids(view), dict(zip(ids(view), view.weights.tolist(), strict=True))
    append(store, 7)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ids(store.load("v")) == before
    store.delete(ids=[before[2], before[7], 0])
    with pytest.warns(UserWarning, match=r"view 'v': 2 of 15 samples are not in version 6, and are left out"):
        again = store.load("v")
    left = [i for i in before if i not in (before[2], before[7])]
    assert ids(again) == left
    assert again.weights.tolist() == [weights[i] for i in left]
    store.compact(min_deleted=0.0)
    with pytest.warns(UserWarning, match="2 of 15"):
        assert ids(store.load("v")) == left


def test_earlier_versions(store: ts.Store, tmp_path: Path) -> None:
    """In a version from before its samples were there, they are missing, and a pinned store can save."""
    append(store, 5)
    store.save("all")
    old = ts.open(tmp_path / "s", version=4)
    assert len(old) == 60
    with pytest.warns(UserWarning, match="5 of 65 samples are not in version 4"):
        assert ids(old.load("all")) == list(range(60))
    old.where("n == 3").save("old")
    assert ids(store.load("old")) == [i for i in range(60) if i % 4 == 3]
    store.sort("sample_id", descending=True).save("back")
    with pytest.warns(UserWarning, match="5 of 65"):
        assert ids(old.load("back")) == list(range(60))[::-1]


def test_columns_of_a_saved_view(store: ts.Store) -> None:
    """Columns are kept by id: a renamed one stays, a dropped one is left out and said."""
    store.select(["h", "c"]).save("two")
    store.rename_column("h", "height")
    assert store.load("two").schema.names == ("height", "c")
    store.drop_column("c")
    with pytest.warns(UserWarning, match="1 of its columns are not in version"):
        assert store.load("two").schema.names == ("height",)
    store.drop_column("height")
    with pytest.raises(ts.ColumnError, match="no column of the view 'two' is in version"):
        store.load("two")


def test_a_view_of_another_store(store: ts.Store, tmp_path: Path) -> None:
    """A file that was copied from another store is refused."""
    store.save("v")
    write(tmp_path / "t", scattered(60))
    shutil.copytree(tmp_path / "s" / "views", tmp_path / "t" / "views")
    with pytest.raises(ts.CorruptError, match=r"views/v/view\.tsw: the view is of the store [0-9a-f]{32}, not of this"):
        ts.open(tmp_path / "t").load("v")
    assert ["not of this one" in str(one) for one in ts.verify(tmp_path / "t").problems] == [True]


def test_single_files_save_nothing(tmp_path: Path) -> None:
    """Beside a single file there is no place for views; it says what to do."""
    with ts.create(tmp_path / "x.tok", ts.Schema(q=ts.Score())) as writer:
        writer.extend(q=[0.1])
    store = ts.open(tmp_path / "x.tok")
    with pytest.raises(ts.UnsupportedError, match="materialize it"):
        store.save("v")
    assert store.views() == []
    assert [path.name for path in tmp_path.iterdir()] == ["x.tok"]


def test_runs_are_small(tmp_path: Path) -> None:
    """A view of runs takes bytes for its runs, one of single samples about a byte each."""
    with ts.create(tmp_path / "s", ts.Schema(n=ts.Label())) as writer:
        writer.extend(n=np.arange(200_000) * 2654435761 % 2**32 // 7)
    store = ts.open(tmp_path / "s")
    store.where("sample_id < 50000 or sample_id >= 150000").save("runs")
    store.sample(20_000).save("single")
    sizes = {path.parent.name: path.stat().st_size for path in (tmp_path / "s" / "views").rglob("*.tsw")}
    assert sizes["runs"] < 400
    assert sizes["single"] < 20_000 * 1.2
    assert ids(store.load("single")) == ids(store.sample(20_000))


def content(saved: SavedView) -> Any:
    """Return what a saved view holds, to be compared."""
    arrays = (saved.first, saved.count, saved.order, saved.weights)
    lists = [None if one is None else one.tolist() for one in arrays]
    return (*lists, saved.store_id, saved.version, saved.created_ms, saved.columns, saved.recipe)


@pytest.mark.hostile
def test_damaged_views(store: ts.Store, tmp_path: Path) -> None:
    """Cut files and flipped bits are errors of the right kind with the file's name, never other samples."""
    store.sort("h").weigh("h").select(["h"]).save("v")
    store.where("n == 1").save("w")
    for name in ("v", "w"):
        whole = (tmp_path / "s" / "views" / name / "view.tsw").read_bytes()
        check_reader(lambda data: content(SavedView.decode(data)), whole, is_checked=True, flips=400)
    path = tmp_path / "s" / "views" / "v" / "view.tsw"
    whole = path.read_bytes()
    for damaged, kind in (
        (whole[:20], ts.TruncatedError),
        (whole[:-3], ts.ChecksumError),
        (whole[:40] + bytes([whole[40] ^ 1]) + whole[41:], ts.ChecksumError),
    ):
        path.write_bytes(damaged)
        for read in (lambda: store.load("v"), store.views):
            with pytest.raises(kind, match=r"views/v/view\.tsw"):
                read()
        assert ["views/v/view.tsw" in str(one) for one in ts.verify(tmp_path / "s").problems] == [True]


def sealed(fields: dict[int, object]) -> bytes:
    """Return the bytes of a saved view with any fields."""
    framed = wrap(VIEW_MAGIC, encode_metadata(fields))
    return framed + checksum(framed).to_bytes(8, "little")


def packed(form: int, width: int, base: int, items: bytes = b"") -> bytes:
    """Return a packed array."""
    return bytes([form, width]) + base.to_bytes(8, "little", signed=True) + items


GOOD: dict[int, object] = {
    1: bytes(16),
    2: 1,
    3: 0,
    4: 3,
    5: 2,
    6: packed(0, 1, 0, b"\x00\x05"),
    7: packed(0, 1, 1, b"\x00\x01"),
    8: packed(0, 1, 0, b"\x02\x00\x01"),
    9: bytes(12),
    10: [0, 4],
    11: ["x"],
}

BAD: dict[str, tuple[dict[int, object], str]] = {
    "no store id": ({1: bytes(15)}, "counts more runs"),
    "a negative number": ({2: -1}, "another kind"),
    "another sum": ({4: 4, 8: packed(0, 1, 0, b"\x02\x00\x01\x03"), 9: bytes(16)}, "do not add up"),
    "runs that touch": ({6: packed(0, 1, 0, b"\x00\x01")}, "touch, descend"),
    "runs that descend": ({6: packed(0, 1, 0, b"\x05\x00")}, "touch, descend"),
    "an empty run": ({7: packed(0, 1, 0, b"\x00\x03")}, "outside 1 to"),
    "an id too large": ({6: packed(0, 7, 0, b"\0\0\0\0\0\0\0\0\0\0\0\0\0\x20")}, "outside 0 to"),
    "a run past the last id": ({6: packed(0, 0, 2**53 - 1), 5: 1, 7: packed(0, 0, 3)}, "touch, descend"),
    "a million runs in nothing": ({5: 1 << 40, 6: packed(0, 0, 7)}, "counts more runs"),
    "samples out of nothing": ({4: 1 << 40, 8: packed(0, 0, 0)}, "counts more runs or samples"),
    "bytes behind": ({7: packed(0, 1, 1, b"\x00\x01\x00")}, "bytes too many"),
    "a sample twice": ({8: packed(0, 1, 0, b"\x02\x00\x02")}, "comes twice"),
    "an order past the end": ({8: packed(0, 1, 0, b"\x03\x00\x01")}, "outside 0 to 2"),
    "few weights": ({9: bytes(8)}, "8 bytes of weights for 3 samples"),
    "columns that descend": ({10: [4, 0]}, "column ids of a view"),
    "no columns": ({10: []}, "column ids of a view"),
    "columns that are none": ({10: ["q"]}, "column ids of a view"),
    "a recipe of numbers": ({11: [1]}, "recipe"),
    "a new key": ({12: 1}, "unknown key 12"),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_content(name: str) -> None:
    """Every rule of the format is checked, and nothing is allocated for numbers that lie."""
    changed, message = BAD[name]
    with pytest.raises(ts.CorruptError, match=message) as caught:
        decode_saved(sealed(GOOD | changed), "views/x/view.tsw")
    assert str(caught.value).startswith("views/x/view.tsw: ")
    assert re.search(r"\(format\.md (8\.7|2\.[34])\)", str(caught.value))


def test_good_content() -> None:
    """The plain example is read, with keys that are not known and may be ignored, and optional ones left out."""
    saved = SavedView.decode(sealed(GOOD | {128: "later"}))
    assert (saved.first.tolist(), saved.count.tolist(), saved.samples) == ([0, 5], [1, 2], 3)
    assert (saved.order.tolist() if saved.order is not None else None, saved.columns) == ([2, 0, 1], (0, 4))
    bare = SavedView.decode(sealed({key: value for key, value in GOOD.items() if key not in (8, 9, 10)}))
    assert (bare.order, bare.weights, bare.columns, bare.recipe) == (None, None, None, ("x",))
    nothing = SavedView.decode(sealed({1: bytes(16), 2: 1, 3: 0, 4: 0, 5: 0, 6: b"", 7: b"", 8: b"", 9: b"", 11: []}))
    assert nothing.samples == 0
    with pytest.raises(ts.CorruptError, match="magic"):
        SavedView.decode(wrap(b"TOKSPART", b"\x80") + checksum(wrap(b"TOKSPART", b"\x80")).to_bytes(8, "little"))
