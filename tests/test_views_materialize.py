"""`View.materialize`: a new store with the samples of a view, and all that travels with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tokstore as ts
from strategies import same_sample
from view_models import SCHEMA, ids, scattered, write


def same_samples(one: ts.View, other: ts.View) -> bool:
    """Tell whether two views hold the same values, whatever their ids."""
    pairs = zip(list(one), list(other), strict=True)
    return all(same_sample(one.schema, a, b) for a, b in pairs)


@pytest.mark.parametrize("name", ["t", "t.tok"])
def test_samples_are_the_same(tmp_path: Path, name: str) -> None:
    """Missing stays apart from NaN and from empty, order is kept, ids count anew, and deleted samples are gone."""
    store = write(tmp_path / "s", scattered(80), 3)
    store.delete([0, 33, 79])
    for i, view in enumerate(
        (store, store.where("n != 2").sort("q"), store.where("q is missing"), store.where("false"))
    ):
        target = tmp_path / f"{i}{name}"
        view.materialize(target)
        made = ts.open(target)
        assert [(c.name, c.type) for c in made.schema.columns] == [(c.name, c.type) for c in view.schema.columns]
        assert same_samples(view, made)
        assert ids(made) == list(range(len(view)))
        assert all(made.missing(one).tolist() == view.missing(one).tolist() for one in SCHEMA.names)
        assert ts.verify(target).ok


def test_every_column_type(tmp_path: Path) -> None:
    """Values of all types, some of them missing, come through."""
    rng = np.random.default_rng(0)
    some = [i % 3 == 0 for i in range(20)]
    schema = ts.Schema(
        t=ts.Tokens(5),
        vec=ts.Vector(4, optional=True),
        codes=ts.Codes(16, shape=(None, 2), optional=True),
        soft=ts.SoftLabel(6, top=2, optional=True),
        raw=ts.Bytes(optional=True),
        arr=ts.Array("int16", (2, 2), optional=True),
        labels=ts.Label(5, shape=(None,), optional=True),
    )

    def given(make: object) -> list[object]:
        return [None if gone else make(i) for i, gone in enumerate(some)]  # type: ignore[operator]

    with ts.create(tmp_path / "s", schema) as writer:
        writer.extend(
            t=[[i % 5] * i for i in range(20)],
            vec=given(lambda i: rng.random(4, np.float32)),
            codes=given(lambda i: rng.integers(0, 16, (i, 2))),
            soft=given(lambda i: [0.5, 0.25, 0, 0, 0, 0.25 * (i % 2)]),
            raw=given(lambda i: bytes([i, 0])),
            arr=given(lambda i: np.full((2, 2), i, np.int16)),
            labels=given(lambda i: [i % 5] * (i % 4)),
        )
    view = ts.open(tmp_path / "s").where("sample_id != 4")
    view.materialize(tmp_path / "t")
    made = ts.open(tmp_path / "t")
    for name in schema.names:
        assert made.missing(name).tolist() == view.missing(name).tolist()
        for one, other in zip(list(view), list(made), strict=True):
            assert repr(one[name]) == repr(other[name]), name


def test_what_travels_with_it(tmp_path: Path) -> None:
    """Attachments and metadata come along unless others are given; columns can be left out, levels changed."""
    with ts.create(tmp_path / "s", SCHEMA, level="plain", attachments={"a": b"123"}, metadata={"k": [1]}) as writer:
        writer.extend({name: [one[name] for one in scattered(30)] for name in SCHEMA.names})
    store = ts.open(tmp_path / "s")
    seen = []
    store.where("n == 1").select(["tokens", "h"]).materialize(tmp_path / "t", progress=seen.append)
    made = ts.open(tmp_path / "t")
    assert (dict(made.attachments), made.metadata, made.schema.names) == ({"a": b"123"}, {"k": [1]}, ("tokens", "h"))
    assert {column.level for column in made.schema.columns} == {"plain"}
    assert [(one.done, one.total, one.unit, one.what) for one in seen][-1] == (8, 8, "samples", "materialize")
    store.materialize(tmp_path / "u", level="small", attachments={}, metadata={}, shard_tokens=50)
    other = ts.open(tmp_path / "u")
    assert (dict(other.attachments), other.metadata) == ({}, {})
    assert {column.level for column in other.schema.columns} == {"small"}
    assert other.describe()["shards"] > 3
    assert same_samples(store, other)


def test_a_target_that_is_there(tmp_path: Path) -> None:
    """Nothing is written over, and a failure leaves nothing behind."""
    store = write(tmp_path / "s", scattered(5))
    with pytest.raises(ts.ExistsError):
        store.materialize(tmp_path / "s")
    path = next((tmp_path / "s" / "data").rglob("*.tok"))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ts.TokstoreError):
        ts.open(tmp_path / "s").materialize(tmp_path / "t")
    assert not (tmp_path / "t").exists()
