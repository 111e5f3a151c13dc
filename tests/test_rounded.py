"""Vectors that were rounded once: writing them anew changes no value, and what was promised of the first holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import tokstore as ts
from tokstore.rounded import RoundedBy

DIM, ROWS, STEP_ERROR = 24, 400, 0.05


def vectors(seed: int, spread: float = 1.0) -> NDArray[np.float32]:
    """Vectors along axes of their own."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0]
    scales = spread * np.logspace(0, -2, DIM)
    return np.asarray(rng.standard_normal((ROWS, DIM)) * scales @ axes, np.float32)


def write(path: Path, kind: ts.Vector, shards: list[NDArray[np.float32]]) -> ts.Store:
    """Write each array as a shard of its own; every shard gets the model of its vectors."""
    for rows in shards:
        writer = ts.open(path).writer(threads=1) if path.exists() else ts.create(path, ts.Schema(v=kind), threads=1)
        with writer as w:
            w.extend(v=rows)
    return ts.open(path)


def models(store: ts.Store) -> set[bytes]:
    """The objects that the files of the newest version name."""
    return {one for page in store._version.pages(range(len(store._version.root.pages))) for one in page.objects}


def worst(store: ts.Store, original: NDArray[np.float32]) -> float:
    """Return the largest error of a vector as a whole: no coordinate along any axes is further off than that."""
    found = store.take(slice(None), ["v"])
    return float(np.abs(np.linalg.norm(found["v"] - original[found["sample_id"]], axis=1)).max())


def is_same(found: NDArray[np.float32], expected: NDArray[np.float32]) -> bool:
    """Tell whether vectors come from the same integers: turning them back adds up in an order that may differ."""
    return bool(np.abs(found - expected).max() < 1e-5)


def qualities(store: ts.Store) -> dict[str, Any]:
    """What `describe` says of the vectors."""
    quality: dict[str, Any] = store.describe()["columns"][-1]["quality"]
    return quality


KINDS = {
    "pca": ts.Vector(DIM, codec="pca", max_error=STEP_ERROR),
    "own axes": ts.Vector(DIM, codec="pca", max_error=STEP_ERROR, rotate=False),
    "budget": ts.Vector(DIM, codec="pca", bytes_per_vector=14),
    "int8": ts.Vector(DIM, codec="int8"),
}
REWRITES: dict[str, Callable[[ts.Store], Any]] = {
    "compact": lambda s: s.compact(min_deleted=0, threads=1),
    "merge": lambda s: s.merge(threads=1),
    "erase": lambda s: s.compact(erase=True, threads=1),
}


@pytest.mark.parametrize("verb", REWRITES)
@pytest.mark.parametrize("name", KINDS)
def test_rewriting_changes_no_value(name: str, verb: str, tmp_path: Path) -> None:
    """Shards with models of their own, rewritten twice: the same values, the same measured error, all that is left."""
    shards = [vectors(seed, 1 + 3 * seed) for seed in range(3)]
    original = np.concatenate(shards)
    store = write(tmp_path / "s", KINDS[name], shards)
    store.delete(np.arange(0, 3 * ROWS, 3))
    before, measured, error = store["v"], qualities(store), worst(store, original)
    version = store.version
    for _ in range(2):
        REWRITES[verb](store)
        assert store.version > version or verb == "erase"
        assert is_same(store["v"], before)
        assert worst(store, original) == pytest.approx(error, abs=1e-5)
        assert qualities(store) == pytest.approx(measured)
        assert measured["rms"] > 0
        assert ts.verify(store.path).ok
        store.delete([1])
        before = np.delete(before, 1, axis=0)
        error = worst(store, original)


@pytest.mark.parametrize("name", ["pca", "own axes"])
def test_the_bound_holds_against_the_original(name: str, tmp_path: Path) -> None:
    """A bound that the first rounding uses up to a hair, along the axes that vectors were rounded on."""
    shards = [vectors(seed) for seed in range(3)]
    store = write(tmp_path / "s", KINDS[name], shards)
    finder, column = RoundedBy(store._version), store.schema.column("v")
    found = [finder.of(0, shard, column) for shard in range(3)]
    transforms = [one.model.transform for one in found if one is not None]
    store.delete([5, ROWS + 5, 2 * ROWS + 5])
    for _ in range(3):
        store.compact(min_deleted=0, threads=1)
        store.merge(threads=1)
        store.delete([0])
    kept = store.take(slice(None), ["v"])
    for shard, (transform, original) in enumerate(zip(transforms, shards, strict=True)):
        here = kept["sample_id"] // ROWS == shard
        now, given = (transform.coordinates(one) for one in (kept["v"][here], original[kept["sample_id"][here] % ROWS]))
        error = np.abs(now - given).max() * transform.step
        assert 0.98 * STEP_ERROR < error <= STEP_ERROR * (1 + 1e-5)


def test_equal_transforms_share_a_file(tmp_path: Path) -> None:
    """Shards that were rounded alike are joined by `merge`, with one object; others stay apart."""
    alike = write(tmp_path / "a", KINDS["own axes"], [vectors(seed) for seed in range(4)])
    alike.merge(threads=1)
    assert alike.describe()["shards"] == 1
    assert len(models(alike)) == 1
    apart = write(tmp_path / "b", KINDS["pca"], [vectors(0), vectors(0), vectors(7, 9.0), vectors(7, 9.0)])
    own = len(models(apart))
    apart.merge(threads=1)
    assert apart.describe()["shards"] == len(models(apart)) == own == 2
    version = apart.version
    assert apart.merge(threads=1).replaced == 0
    assert apart.version == version, "they would be written as they are"


@pytest.mark.parametrize("name", ["pca", "own axes", "int8"])
def test_filling_keeps_what_is_there(name: str, tmp_path: Path) -> None:
    """Other samples of shards get vectors of another kind: those that were there stay, the new ones keep the bound."""
    with ts.create(tmp_path / "s", ts.Schema(t=ts.Label()), threads=1) as w:
        w.extend(t=np.arange(ROWS))
    for i in range(2):
        with ts.open(tmp_path / "s").writer(threads=1) as w:
            w.extend(t=np.arange(ROWS) + i)
    store, rng = ts.open(tmp_path / "s"), np.random.default_rng(1)
    early = np.sort(rng.choice(3 * ROWS, ROWS, replace=False))
    store.add_column("v", vectors(1), KINDS[name], ids=early, threads=1)
    held = store.take(early, ["v"])["v"]
    late = np.setdiff1d(np.arange(3 * ROWS), early)[:ROWS]
    store.fill_column("v", 0.5 * vectors(2), ids=late, threads=1)
    assert is_same(store.take(early, ["v"])["v"], held)
    assert store.missing("v").sum() == ROWS
    if name == "own axes":
        new = store.take(late, ["v"])["v"].astype(np.float64)
        assert 0.9 * STEP_ERROR < np.abs(new - 0.5 * vectors(2)).max() <= STEP_ERROR * (1 + 1e-5)
    assert qualities(store)["max"] > 0
    store.fill_column("v", vectors(3), ids=early, threads=1)
    assert not is_same(store.take(early, ["v"])["v"], held)
    assert ts.verify(store.path).ok


def test_filling_keeps_a_budget(tmp_path: Path) -> None:
    """New vectors that need more bytes than the old model would spend: the budget is kept, and the errors add up."""
    with ts.create(tmp_path / "s", ts.Schema(t=ts.Label()), threads=1) as w:
        w.extend(t=np.arange(4 * ROWS))
    store = ts.open(tmp_path / "s")
    store.add_column("v", vectors(1), KINDS["budget"], ids=np.arange(ROWS), threads=1)
    first = qualities(store)
    wide = np.concatenate([vectors(seed, 60.0) for seed in (2, 3, 4)])
    store.fill_column("v", wide, ids=np.arange(ROWS, 4 * ROWS), threads=1)
    (column,) = (one for one in store.describe()["columns"] if one["name"] == "v")
    assert column["block_bytes"] / (4 * ROWS) <= 14
    assert column["quality"]["max"] > first["max"]
    assert column["quality"]["recall10"] is None
    assert ts.verify(store.path).ok
