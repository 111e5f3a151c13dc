"""Views: every way to read one gives what the list of its samples has, whatever verbs made it."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tokstore as ts
from strategies import batch_rows, delivered, plain, same_sample, small_blocks
from view_models import SCHEMA, ids, rows, scattered, write

SOME = settings(
    max_examples=settings.default.max_examples * 3 // 10,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def check_view(view: ts.View, model: list[dict[str, Any]], names: tuple[str, ...] = SCHEMA.names) -> None:
    """Check every way to read a view against a list of samples."""
    schema = ts.Schema({name: SCHEMA[name] for name in names})
    wanted, count = [one["sample_id"] for one in model], len(model)
    assert len(view) == count
    assert view.schema.names == names
    assert ids(view) == wanted
    found = list(view)
    assert [one["sample_id"] for one in found] == wanted
    assert all(set(one) == {*names, "sample_id"} for one in found)
    assert all(same_sample(schema, one, other) for one, other in zip(found, model, strict=True))
    for part in (slice(None), slice(1, None, 2), slice(None, None, -1)):
        batch, expected = view[part], model[part]
        assert batch["sample_id"].tolist() == [one["sample_id"] for one in expected]
        got = batch_rows(schema, batch)
        assert all(same_sample(schema, a, delivered(schema, b)) for a, b in zip(got, expected, strict=True))
    if count:
        assert [one["sample_id"] for one in view.__getitems__([count - 1, 0, 0, -1])] == [
            wanted[i] for i in (-1, 0, 0, -1)
        ]
        with pytest.raises(IndexError):
            view[count]
    seen = [i for part in range(3) for b in view.scan(["h"], batch_size=5, part=(part, 3)) for i in b["sample_id"]]
    assert seen == wanted
    for name in names:
        assert view.missing(name).tolist() == [one[name] is None for one in model]
        whole = batch_rows(ts.Schema({name: SCHEMA[name]}), {name: view[name], "sample_id": range(count)})
        assert [plain(one[name]) for one in whole] == [plain(delivered(schema, one)[name]) for one in model]
    if "tokens" in names:
        check_tokens(view, [[] if one["tokens"] is None else one["tokens"] for one in model])


def check_tokens(view: ts.View, tokens: list[Any]) -> None:
    """Check what a loader asks for."""
    lengths = [len(one) for one in tokens]
    flat = [int(token) for one in tokens for token in one]
    assert view.token_count == len(flat)
    assert view.lengths().tolist() == lengths
    assert view.lengths(1, -1).tolist() == lengths[1:-1]
    assert view.read_range(0, len(tokens)).tolist() == flat
    assert view.read_range(0, len(tokens), skip=3, limit=17).tolist() == flat[3:20]
    middle = [int(token) for one in tokens[1:4] for token in one]
    if len(tokens) >= 4:
        assert view.read_range(1, 4, skip=2).tolist() == middle[2:]
    spans = view.spans()
    assert int(spans.samples.sum()) == len(tokens)
    assert int(spans.values.sum()) == len(flat)
    assert spans.first.tolist() == (np.cumsum(spans.samples) - spans.samples).tolist()


def apply(data: st.DataObject, view: ts.View, model: list[dict[str, Any]]) -> tuple[ts.View, list[dict[str, Any]]]:
    """Apply some verb to a view and to its model."""
    verb = data.draw(st.sampled_from(["where", "sort", "top", "ids", "half", "missing"]))
    if verb == "where":
        return view.where("n >= 0 or n is missing"), [one for one in model if one["n"] is None or one["n"] >= 0]
    if verb == "sort":
        down = data.draw(st.booleans())
        order = sorted(range(len(model)), key=lambda i: (-model[i]["h"] if down else model[i]["h"], i))
        return view.sort("h", descending=down), [model[i] for i in order]
    if verb == "top":
        n = data.draw(st.integers(0, len(model)))
        best = sorted(range(len(model)), key=lambda i: (-model[i]["h"], i))[:n]
        return view.top("h", n), [model[i] for i in sorted(best)]
    if verb == "half":
        return view.where(lambda batch: batch["sample_id"] % 2 == 0), [m for m in model if m["sample_id"] % 2 == 0]
    if verb == "missing":
        return view.where("url is not missing"), [one for one in model if one["url"] is not None]
    some = data.draw(st.lists(st.sampled_from([one["sample_id"] for one in model]))) if model else []
    return view.where(ids=some), [one for one in model if one["sample_id"] in some]


@SOME
@given(data=st.data())
def test_chains_of_verbs(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    """Every verb works on what the one before it holds, and all of the result can be read, also after pickling."""
    small_blocks(monkeypatch)
    store = write(tmp_path_factory.mktemp("s") / "s", data.draw(rows()), data.draw(st.integers(1, 3)))
    if len(store) and data.draw(st.booleans()):
        store.delete(data.draw(st.lists(st.integers(0, len(store) - 1), min_size=1, max_size=5)))
    model: list[dict[str, Any]] = list(store)
    view: ts.View = store
    for _ in range(data.draw(st.integers(1, 4))):
        view, model = apply(data, view, model)
    check_view(view, model)
    names = ("tokens", "h") if data.draw(st.booleans()) else ("h", "c")
    check_view(view.select(names[::-1]), model, names)
    again = pickle.loads(pickle.dumps(view))
    assert (ids(again), again.fingerprint, repr(again)) == (ids(view), view.fingerprint, repr(view))
    check_view(copy.copy(view), model)


@pytest.fixture(scope="module")
def store24(tmp_path_factory: pytest.TempPathFactory) -> ts.Store:
    """Return a store of 22 samples, whose ids are not their positions."""
    store = write(tmp_path_factory.mktemp("s") / "s", scattered(24), 3)
    store.delete([3, 4])
    return store


@SOME
@given(data=st.data())
def test_laws_of_sets(store24: ts.Store, data: st.DataObject) -> None:
    """Union, intersection and difference are those of sets, in the order of the left view; equal sets look equal."""
    store, every = store24, ids(store24)

    def draw_view() -> ts.View:
        view = store.where(ids=data.draw(st.lists(st.sampled_from(every))))
        return view.sort("q", descending=True) if data.draw(st.booleans()) else view

    a, b, c = (draw_view() for _ in range(3))
    left, right = ids(a), ids(b)
    assert ids(a & b) == [i for i in left if i in right]
    assert ids(a - b) == [i for i in left if i not in right]
    joined = left + [i for i in right if i not in left]
    ordered = left != sorted(left) or right != sorted(right)
    assert ids(a | b) == (joined if ordered else sorted(joined))
    assert sorted(ids((a | b) & c)) == sorted(ids((a & c) | (b & c)))
    assert sorted(ids(store - (a | b))) == sorted(ids((store - a) & (store - b)))
    assert (a | store).where("true").sort("sample_id").fingerprint == store.fingerprint
    assert ((a - b) | (a & b)).sort("sample_id").fingerprint == a.sort("sample_id").fingerprint
    with pytest.raises(TypeError):
        a | [1]  # type: ignore[operator]


def test_views_of_other_versions_do_not_mix(tmp_path: Path) -> None:
    """A view stays at its version while its store moves on, and does not join views of another one."""
    store = write(tmp_path / "s", scattered(10))
    view = store.where("n == 1")
    before = ids(view)
    with store.writer() as writer:
        writer.extend({name: [one[name] for one in scattered(5)] for name in SCHEMA.names})
    assert (len(store), ids(view), view.version) == (15, before, store.version - 1)
    with pytest.raises(ValueError, match="views of different versions cannot be joined: version 4 of .* and version 3"):
        store & view
    assert len(store.where("n == 1")) == len(before) + 1
    other = write(tmp_path / "t", scattered(10))
    with pytest.raises(ValueError, match="different versions"):
        view | other


def test_fingerprints(tmp_path: Path) -> None:
    """A fingerprint names the samples, their order, weights and token column, not the way to them."""
    store = write(tmp_path / "s", scattered(20))
    one = store.where("n == 1")
    assert store.where("true").fingerprint == store.fingerprint == store.select(["tokens", "h"]).fingerprint
    assert one.fingerprint == store.where([("n", "==", 1)]).fingerprint == store.where(ids=ids(one)).fingerprint
    others = [store, one, store.where("n == 2"), one.sort("h", descending=True), store.sort("h"), one.weigh("n")]
    assert len({view.fingerprint for view in others}) == len(others)
    two = ts.Schema(a=ts.Tokens(9), b=ts.Tokens(9))
    with ts.create(tmp_path / "t", two) as writer:
        writer.extend(a=[[1], [2, 3]], b=[[4, 5, 6], []])
    pair = ts.open(tmp_path / "t")
    second = pair.select(["b"])
    assert (second.token_column, second.token_count, second.spans().values.tolist()) == ("b", 3, [3])
    assert second.read_range(0, 2).tolist() == [4, 5, 6]
    assert second.fingerprint != pair.fingerprint


def test_select(tmp_path: Path) -> None:
    """A view of some columns reads, chooses and shows those alone."""
    store = write(tmp_path / "s", scattered(6))
    view = store.select(["h", "tokens"])
    assert view.schema.names == ("tokens", "h")
    with pytest.raises(ts.ColumnError, match="no column 'n'"):
        view.where("n == 1")
    with pytest.raises(ts.ColumnError, match="no column 'qq'.*did you mean 'q'"):
        store.select(["qq"])
    with pytest.raises(ValueError, match="at least one"):
        store.select([])
    with pytest.raises(ts.ColumnError, match="no token column"):
        store.select(["h"]).token_count  # noqa: B018


def test_what_people_see(tmp_path: Path) -> None:
    """A view shows its version, its size, its verbs and its columns; a store still shows its table."""
    store = write(tmp_path / "s", scattered(8))
    view = store.where("h >= 0.25").sort("h", descending=True).weigh("h", mean=2).select(["tokens", "h"])
    assert repr(view).splitlines() == [
        f"{tmp_path / 's'}: version 3 · 4 of 8 samples (50 %) · in an order of its own · weights of mean 2",
        "  .where('h >= 0.25')",
        "  .sort(by='h', descending=True)",
        "  .weigh(by=\"column 'h'\", mean=2)",
        "  .select(['tokens', 'h'])",
        "  columns tokens, h",
    ]
    assert view.recipe.startswith("where('h >= 0.25').sort(by='h', descending=True).weigh(")
    both = (store.where("n == 1") | store).sort("h")
    assert both.recipe == "(where('n == 1') | all).sort(by='h')"
    assert "&#x27;h &gt;= 0.25&#x27;" in view._repr_html_()
    assert "<table>" in store._repr_html_()
    assert len(repr(store.where(" or ".join(["n == 1"] * 100))).splitlines()[1]) < 110


def test_a_view_of_everything_is_as_cheap_as_the_store(tmp_path: Path) -> None:
    """Where nothing is left out no positions are kept, and spans need no data file."""
    store = write(tmp_path / "s", scattered(30), 3)
    for view in (store.where("h >= 0"), store & store, store.where("n == 1") | store, store.sort("sample_id")):
        assert len(pickle.dumps(view)) < len(pickle.dumps(store)) + 400
        trips = store.storage.trips
        assert view.spans().values.tolist() == store.spans().values.tolist()
        assert store.storage.trips == trips


def test_large_views_stay_compact(tmp_path: Path) -> None:
    """A view of runs pickles in a few bytes a run, whatever its samples."""
    with ts.create(tmp_path / "s", ts.Schema(n=ts.Label())) as writer:
        writer.extend(n=np.arange(300_000) // 1000)
    store = ts.open(tmp_path / "s")
    view = store.where("100 <= n < 200 or n == 250")
    assert len(view) == 101_000
    assert len(pickle.dumps(view)) < len(pickle.dumps(store)) + 1000
    assert view["n"].tolist() == [i for i in range(300) if 100 <= i < 200 or i == 250 for _ in range(1000)]
