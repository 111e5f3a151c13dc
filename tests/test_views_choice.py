"""`sort`, `sample`, `top`, `split` and `weigh` against plain Python, and what appending changes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from view_models import SCHEMA, ids, scattered, write


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ts.Store:
    """Return a store of 200 samples in three shards."""
    return write(tmp_path_factory.mktemp("choice") / "s", scattered(200), 3)


def numbers(path: Path, count: int, **columns: Any) -> ts.Store:
    """Write a store of numbers in two shards."""
    schema = ts.Schema(v=ts.Score("float64", optional=True), g=ts.Label())
    given: dict[str, Any] = {"v": np.arange(count) / count, "g": np.arange(count) % 7} | columns
    with ts.create(path, schema, level="fast") as writer:
        for part in (slice(0, count // 3), slice(count // 3, None)):
            writer.extend({name: values[part] for name, values in given.items()})
            writer.commit()
    return ts.open(path)


@pytest.mark.parametrize("by", ["q", "label", "n", "c", "url", "length(tokens)", "sample_id", "d"])
@pytest.mark.parametrize("descending", [False, True])
def test_sort(store: ts.Store, by: str, descending: bool) -> None:
    """Equal values keep their order, NaN comes after numbers and missing after NaN, in both directions."""
    for view in (store, store.where("n != 2").sort("h")):
        model = list(view)

        def key(one: dict[str, Any]) -> Any:
            value = one["tokens"] if by == "length(tokens)" else one[by]
            return len(value) if by == "length(tokens)" and value is not None else value

        def is_nan(value: Any) -> bool:
            return isinstance(value, float) and math.isnan(value)

        there = [one for one in model if key(one) is not None and not is_nan(key(one))]
        there.sort(key=key, reverse=descending)
        rest = [one for one in model if is_nan(key(one))] + [one for one in model if key(one) is None]
        assert ids(view.sort(by, descending=descending)) == [one["sample_id"] for one in there + rest]


def test_sort_refuses_what_has_no_order(store: ts.Store) -> None:
    """Columns without an order, and unknown ones, are told."""
    with pytest.raises(TypeError, match="'tokens' cannot be compared"):
        store.sort("tokens")
    with pytest.raises(ts.ColumnError, match="did you mean 'label'"):
        store.sort("lable")


@pytest.mark.parametrize("lowest", [False, True])
def test_top(store: ts.Store, lowest: bool) -> None:
    """The best n in view order, the first of equal ones, never missing or NaN; by tokens as many as fit."""
    for view in (store, store.sort("url", descending=True)):
        model = list(view)
        able = [i for i, one in enumerate(model) if one["q"] is not None and not math.isnan(one["q"])]
        best = sorted(able, key=lambda i: (model[i]["q"] if lowest else -model[i]["q"], i))
        for n in (0, 1, 17, len(able)):
            assert ids(view.top("q", n, lowest=lowest)) == [model[i]["sample_id"] for i in sorted(best[:n])]
        assert ids(view.top("q", fraction=0.25, lowest=lowest)) == ids(view.top("q", 50, lowest=lowest))
        lengths = [len(model[i]["tokens"]) if model[i]["tokens"] is not None else 0 for i in best]
        fits = sum(sum(lengths[: i + 1]) <= 500 for i in range(len(best)))
        found = view.top("q", tokens=500, lowest=lowest)
        assert ids(found) == [model[i]["sample_id"] for i in sorted(best[:fits])]
        assert 450 < found.token_count <= 500
        with pytest.raises(ValueError, match=f"{len(able) + 1} samples are asked for, and there are {len(able)}"):
            view.top("q", len(able) + 1, lowest=lowest)
        with pytest.raises(ValueError, match="tokens are asked for"):
            view.top("q", tokens=10**9)
    lowest_first = store.top("n", 3, lowest=lowest)
    assert ids(lowest_first) == ([0, 4, 8] if lowest else [3, 7, 11])


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({}, TypeError, "exactly one of n, fraction and tokens, not none"),
        ({"n": 1, "tokens": 2}, TypeError, "exactly one of n, fraction and tokens, not n and tokens"),
        ({"fraction": 1.5}, ValueError, "fraction is from 0 to 1"),
        ({"fraction": math.nan}, ValueError, "fraction is from 0 to 1"),
        ({"n": -1}, ValueError, "n is 0 or more"),
        ({"n": 201}, ValueError, "201 samples are asked for, and there are 200"),
        ({"n": 1, "by": "q"}, ValueError, "column 'q': .* weights are missing"),
        ({"n": 1, "by": "url"}, TypeError, "is text"),
        ({"n": 1, "seed": -1}, ValueError, "unsigned 64-bit"),
    ],
)
def test_sample_refuses(store: ts.Store, options: dict[str, Any], kind: type[Exception], message: str) -> None:
    """Amounts that cannot be met and columns that are no weights are told."""
    with pytest.raises(kind, match=message):
        store.sample(**options)


def test_sample(store: ts.Store) -> None:
    """Samples come without repeats and in view order, follow the seed, and larger samples hold smaller ones."""
    some = store.sample(50, seed=3)
    assert len(some) == 50
    assert ids(some) == sorted(set(ids(some)))
    assert ids(store.sample(50, seed=3)) == ids(some)
    assert ids(store.sample(50, seed=4)) != ids(some)
    assert set(ids(store.sample(20, seed=3))) < set(ids(some)) < set(ids(store.sample(fraction=0.5, seed=3)))
    assert ids(store.sample(200)) == ids(store)
    shuffled = store.sort("url")
    assert ids(shuffled.sample(50, seed=3)) == [i for i in ids(shuffled) if i in ids(some)]
    budget = store.sample(tokens=700)
    assert 650 < budget.token_count <= 700
    # Which samples are drawn depends on their ids, not on the view they are drawn from.
    assert set(ids(store.where("sample_id < 100").sample(50, seed=3))) >= {i for i in ids(some) if i < 100}


def test_samples_survive_appends(tmp_path: Path) -> None:
    """After an append an old sample is in a draw only if it was before."""
    store = numbers(tmp_path / "s", 1000)
    before = set(ids(store.sample(100)))
    with store.writer() as writer:
        writer.extend(v=np.zeros(100), g=np.zeros(100, int))
    after = set(ids(store.sample(100)))
    assert {i for i in after if i < 1000} <= before
    assert len(after & before) >= 75


def test_sample_by_weights(tmp_path: Path) -> None:
    """Weights draw in proportion, and a weight of zero never; the draw of one is the exponential race."""
    weights = np.array([0.0, 1.0, 2.0, 5.0] * 500)
    store = numbers(tmp_path / "s", 2000, v=weights)
    drawn = store.sample(400, by="v")
    counts = np.bincount((np.array(ids(drawn)) % 4), minlength=4)
    assert counts[0] == 0
    # 400 of 1500 by a race: fractions 1 - exp(-w t) with the t that makes them add up to 400.
    assert np.abs(counts[1:] - [62.5, 117.2, 220.3]).max() < 30
    assert ids(store.sample(400, by="v")) == ids(drawn)
    with pytest.raises(ValueError, match="1501 samples are asked for, and there are 1500"):
        store.sample(1501, by="v")
    bad = numbers(tmp_path / "t", 3, v=np.array([1.0, -1.0, 2.0]))
    with pytest.raises(ValueError, match="the weight of sample 1 is negative"):
        bad.sample(1, by="v")


def test_split_covers_and_keeps(tmp_path: Path) -> None:
    """Every sample is in exactly one part, parts have their shares, and appending moves nobody."""
    store = numbers(tmp_path / "s", 20_000)
    shares = {"train": 0.9, "val": 0.07, "test": 0.03}
    parts = store.split(shares, seed=5)
    assert list(parts) == list(shares)
    assert sorted(i for part in parts.values() for i in ids(part)) == list(range(20_000))
    for name, part in parts.items():
        sigma = math.sqrt(20_000 * shares[name] * (1 - shares[name]))
        assert abs(len(part) - 20_000 * shares[name]) < 4 * sigma
    with store.writer() as writer:
        writer.extend(v=np.zeros(500), g=np.zeros(500, int))
    again = store.split(shares, seed=5)
    assert all(set(ids(parts[name])) <= set(ids(again[name])) for name in shares)
    assert ids(store.split(shares, seed=6)["val"]) != ids(again["val"])
    few = store.where("g == 3").split(shares, seed=5)
    assert all(set(ids(few[name])) <= set(ids(again[name])) for name in shares)
    assert again["val"].recipe == "split(shares={'train': 0.9, 'val': 0.07, 'test': 0.03}, seed=5)['val']"


def test_split_by_groups(store: ts.Store, tmp_path: Path) -> None:
    """Equal values stay together, whatever their type and sign; samples without one go their own ways."""
    shares = {"a": 0.5, "b": 0.3, "c": 0.2}
    for by in ("c", "url", "label", "n", "h"):
        where: dict[Any, set[str]] = {}
        seen = []
        for name, part in store.split(shares, by=by, seed=1).items():
            seen += ids(part)
            for one in part:
                where.setdefault(one[by], set()).add(name)
        assert sorted(seen) == ids(store)
        assert all(len(names) == 1 for value, names in where.items() if value is not None)
        assert {name for names in where.values() for name in names} >= {"a", "b"}
        assert len(where.get(None, shares)) > 1
    zeros = numbers(tmp_path / "s", 4, v=np.array([0.0, -0.0, math.nan, -math.nan]))
    for part in zeros.split({str(i): 0.125 for i in range(8)}, by="v").values():
        assert len(set(ids(part)) & {0, 1}) != 1
        assert len(set(ids(part)) & {2, 3}) != 1


@pytest.mark.parametrize(
    ("shares", "kind"),
    [
        ({}, TypeError),
        ([0.5, 0.5], TypeError),
        ({"a": 0.5, "b": 0.4}, ValueError),
        ({"a": 1.5, "b": -0.5}, ValueError),
        ({"a": 1.0, "b": 0.0}, ValueError),
        ({"a": math.nan}, ValueError),
    ],
)
def test_split_refuses(store: ts.Store, shares: Any, kind: type[Exception]) -> None:
    """Shares are positive and add up to one."""
    with pytest.raises(kind, match="share"):
        store.split(shares)
    assert [len(part) for part in store.split({"all": 1.0}).values()] == [200]


def test_weigh(store: ts.Store) -> None:
    """Weights are kept in steps of 2**-16, follow their samples through verbs, and change no reading."""
    view = store.weigh("h")
    assert view.is_weighted
    assert not store.is_weighted
    assert store.weights.tolist() == [1.0] * 200
    assert np.abs(view.weights - store["h"].astype(float)).max() <= 2.0**-17
    assert view.weights.dtype == np.float64
    assert (view.weights * 2**16 % 1 == 0).all()
    assert ids(view) == ids(store)
    by_id = dict(zip(ids(view), view.weights.tolist(), strict=True))
    for other in (
        view.where("n == 1"),
        view.sort("q"),
        view.sort("q").where("n == 1").top("h", 20),
        view.sample(30),
        view.split({"a": 0.5, "b": 0.5})["a"],
        view & store.where("n == 2"),
        view - store.where("n == 2"),
        view.select(["h"]),
    ):
        assert other.weights.tolist() == [by_id[i] for i in ids(other)]
    joined = store.where("n == 1").weigh([3.0] * 50) | store.where("n <= 1").sort("h").weigh([0.5] * 100)
    assert dict(zip(ids(joined), joined.weights.tolist(), strict=True)) == {
        i: 3.0 if i % 4 == 1 else 0.5 for i in range(200) if i % 4 <= 1
    }
    assert set((store.where("n == 1") | view.where("n == 2")).where("n == 1").weights.tolist()) == {1.0}


def test_weigh_by_arrays_and_functions(store: ts.Store) -> None:
    """Arrays and functions of batches give weights; the mean is met; what is missing counts as it is told."""
    given = np.arange(200) % 5
    assert store.weigh(given).weights.tolist() == given.tolist()
    scaled = store.weigh(given, mean=0.5).weights
    assert abs(scaled.mean() - 0.5) < 2.0**-16
    assert np.allclose(scaled, given / 4, atol=2.0**-16)
    assert store.sort("h").weigh(lambda b: b["h"] * 2, columns=["h"]).weights.tolist() == sorted(
        (store["h"] * 2).tolist()
    )
    with pytest.raises(ValueError, match=r"column 'd': 40 of 200 weights are missing, the first of sample 1;"):
        store.weigh("d")
    filled = store.weigh("d", missing=7).weights
    assert set(filled[store.missing("d")].tolist()) == {7.0}
    masked = np.ma.MaskedArray(np.ones(200), np.arange(200) == 9)
    assert store.weigh(masked, missing=0.25).weights[9] == 0.25
    with pytest.raises(ValueError, match="1 of 200 weights are missing, the first of sample 9"):
        store.weigh(masked)
    halves = store.where("q is missing").weigh(lambda b: b["q"], missing=0.5, columns=["q"])
    assert set(halves.weights.tolist()) == {0.5}
    assert store.weigh("length(url)", missing=0).weights.max() == 2


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        ([1.0, -0.1, 1.0], {}, "the weight of sample 1 is negative"),
        ([1.0, 1.0, math.inf], {}, "the weight of sample 2 is infinite"),
        ([1.0, math.nan, 1.0], {}, "1 of 3 weights are missing"),
        ([1.0, math.nan, 1.0], {"missing": math.nan}, "the weight of sample 1 is NaN"),
        ([1.0, math.nan, 1.0], {"missing": -1}, "the weight of sample 1 is negative"),
        ([1.0, 65536.0, 1.0], {}, "the weight of sample 1 is 65536, and less than 65,536"),
        ([0.0, 0.0, 0.0], {"mean": 1}, "add up to 0.0"),
        ([1.0, 2.0, 3.0], {"mean": -1}, "mean is a number above 0"),
        ([1.0, 2.0], {}, "one number per sample is needed, 3 in all"),
        ([[1.0], [2.0], [3.0]], {}, "one number per sample is needed"),
        (["a", "b", "c"], {}, "one number per sample is needed"),
    ],
)
def test_weigh_refuses(tmp_path: Path, weights: Any, options: dict[str, Any], message: str) -> None:
    """Weights that are none are refused, with the first sample that is wrong."""
    store = numbers(tmp_path / "s", 3)
    with pytest.raises(ValueError, match=message):
        store.weigh(np.array(weights), **options)


def test_nan_of_a_column_is_no_missing_weight(store: ts.Store) -> None:
    """In a column NaN is a value, and no weight, whatever missing ones count."""
    with pytest.raises(ValueError, match="is NaN"):
        store.weigh("q", missing=1)


def test_verbs_on_nothing(store: ts.Store) -> None:
    """A view without samples goes through every verb."""
    none = store.where("false")
    for view in (
        none.where("n == 1 and c == 'c1' and length(tokens) > 1"),
        none.where(lambda b: b["n"] > 1),
        none.sort("q"),
        none.sort("url"),
        none.sample(0),
        none.sample(fraction=1.0),
        none.top("q", 0),
        none.split({"a": 1.0}, by="c")["a"],
        none.weigh("h", mean=1),
        none | none,
        none - store,
        none.select(["h"]),
    ):
        assert (len(view), ids(view), list(view.scan()), view.weights.tolist()) == (0, [], [], [])
    assert none.token_count == 0
    assert none.spans().samples.tolist() == []
    assert none.schema.names == SCHEMA.names
