"""Semantic duplicates, against comparing every vector with every earlier one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from tokstore.dedup import cosine, kmeans, mark, semantic, vector_rows
from tokstore.dedup.cosine import best_earlier


@pytest.fixture(autouse=True)
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: no power is cut here."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


def planted(count: int = 600, dim: int = 24) -> Any:
    """Return vectors of all lengths; two thirds of them are near an earlier one, in steps of similarity."""
    rng = np.random.default_rng(0)
    made = rng.standard_normal((count, dim))
    for row in range(count // 3, count):
        made[row] = made[int(rng.integers(0, row))] + rng.uniform(0.0, 1.2) * rng.standard_normal(dim)
    return (made * rng.uniform(0.5, 2.0, (count, 1))).astype(np.float32)


def brute(vectors: Any) -> tuple[Any, Any]:
    """Return the most similar earlier row of every row, and the similarity."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    similarity[np.triu_indices(len(unit))] = -2
    return similarity.argmax(axis=1), similarity.max(axis=1)


@pytest.mark.parametrize("threshold", [0.7, 0.9, 0.97])
def test_agrees_with_brute_force(threshold: float) -> None:
    """Which rows are duplicates, of what and how similar is as if all had been compared, for 99 of 100."""
    vectors = planted()
    link, best = brute(vectors)
    found = semantic(vectors, threshold=threshold)
    assert found.link is not None
    assert found.similarity is not None
    lost = best >= threshold
    assert 50 < lost.sum() < 550
    assert ((found.of >= 0) == lost).mean() >= 0.99
    assert (found.link[lost] == link[lost]).mean() >= 0.99
    there = found.link >= 0
    assert (found.link[there] < np.flatnonzero(there)).all()
    assert np.abs(found.similarity[there] - best[there]).max() < 0.5
    assert (found.similarity[there] <= best[there] + 1e-6).all()
    again = semantic(vectors, threshold=threshold)
    assert np.array_equal(found.of, again.of)


def test_one_group_is_exact() -> None:
    """With one group all rows are compared; representatives are the ends of links, and sizes count."""
    vectors = planted(200)
    link, best = brute(vectors)
    found = semantic(vectors, threshold=0.8, groups=1)
    root = np.arange(200)
    for row in range(1, 200):
        if best[row] >= 0.8:
            root[row] = root[link[row]]
    assert found.of.tolist() == [-1 if r == i else r for i, r in enumerate(root.tolist())]
    assert found.size.tolist() == np.bincount(root, minlength=200)[root].tolist()


def test_vectors_without_a_direction() -> None:
    """Zero vectors and such as are not finite are duplicates of nothing; equal ones are of the first."""
    vectors = [[0, 0], [0, 0], [np.nan, 1], [1, 1], [np.inf, 0], [2, 2], [1, 1]]
    found = semantic(vectors)
    assert found.of.tolist() == [-1, -1, -1, -1, -1, 3, 3]
    assert found.link is not None
    assert found.link.tolist() == [-1, -1, -1, -1, -1, 3, 3]
    assert semantic(np.zeros((0, 3))).of.tolist() == []
    assert semantic(np.ones((1, 3))).of.tolist() == [-1]
    for options in ({"threshold": 0.0}, {"threshold": 1.1}, {"groups": 0}):
        with pytest.raises(ValueError, match="is a similarity above 0|is an integer from 1"):
            semantic(vectors, **options)  # type: ignore[arg-type]


def test_centroids_leave_no_group_empty_for_long() -> None:
    """With more groups than directions k-means ends, and every row has distinct groups."""
    vectors = kmeans.unit(np.repeat(np.eye(4), 30, axis=0))
    made = kmeans.centroids_of(vectors, 9, 0)
    found = kmeans.nearest(vectors, made, 3)
    assert all(len(set(row)) == 3 for row in found.tolist())
    assert np.allclose((vectors * made[found[:, 0]]).sum(axis=1), 1)


def test_groups_without_rows(tmp_path: Path) -> None:
    """More groups than directions leave groups empty: rows of one direction are found, at once and after an append."""
    rng = np.random.default_rng(0)
    vectors = (np.eye(4)[rng.integers(0, 4, 90)] * rng.uniform(0.5, 2, (90, 1))).astype(np.float32)
    kinds = vectors.argmax(axis=1).tolist()
    expected = [kinds.index(kind) if kinds.index(kind) < i else -1 for i, kind in enumerate(kinds)]
    assert semantic(vectors, groups=20).of.tolist() == expected
    store = written(tmp_path / "s", vectors[:70])
    mark(store, "semantic", groups=20, keep_signatures=True)
    used = np.unique(np.asarray(store["dup_semantic_signature"])[:, 0])
    assert len(used) < 20
    append(store, vectors[70:])
    assert mark(store, "semantic", groups=20).note["compared"] == 20
    assert np.asarray(store["dup_semantic_of"].filled(-1)).tolist() == expected


def written(path: Path, vectors: Any) -> ts.Store:
    """Write vectors as a store."""
    with ts.create(path, ts.Schema(tokens=ts.Tokens(9), v=ts.Vector(vectors.shape[1]))) as writer:
        writer.extend(tokens=[[1]] * len(vectors), v=vectors)
    return ts.open(path)


def append(store: ts.Store, vectors: Any) -> None:
    """Append vectors."""
    with store.writer() as writer:
        writer.extend(tokens=[[1]] * len(vectors), v=vectors)


def columns(store: ts.Store) -> list[Any]:
    """Return what was found, by sample."""
    parts = [np.ma.filled(store[f"dup_semantic_{part}"], -1) for part in ("of", "size", "similarity", "link")]
    return [np.nan_to_num(np.asarray(part), nan=-1).tolist() for part in parts]


def test_new_vectors_against_old_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an append, new samples and such whose link is gone are compared alone; the result is that of all."""
    monkeypatch.setattr(cosine, "PROBES", 99)  # all groups, so that both ways are exact
    vectors = planted(400)
    store = written(tmp_path / "s", vectors[:380])
    mark(store, "semantic", keep_signatures=True, threshold=0.8)
    append(store, vectors[380:])
    found = mark(store, "semantic")
    assert (found.note["compared"], found.note["read"], found.note["groups"]) == (20, 400, 19)
    anew = written(tmp_path / "t", vectors)
    mark(anew, "semantic")
    assert columns(store)[0] == columns(anew)[0]
    assert np.allclose(columns(store)[2], columns(anew)[2], atol=1e-5)
    assert columns(store)[3] == columns(anew)[3]
    assert not store.missing("dup_semantic_signature").any()
    assert mark(store, "semantic").note["compared"] == 0
    # A link that is gone is looked for anew; other links stay.
    gone = int(np.bincount(np.array(columns(store)[3])[np.array(columns(store)[3]) >= 0]).argmax())
    lost = int((np.array(columns(store)[3]) == gone).sum())
    for one in (store, anew):
        one.delete(ids=[gone])
    assert mark(store, "semantic").note["compared"] == lost > 1
    mark(anew, "semantic")
    assert columns(store)[3] == columns(anew)[3]
    # A vector that was changed makes all links doubtful, and other parameters do.
    store.fill_column("v", vectors[5:6], ids=[300])
    anew.fill_column("v", vectors[5:6], ids=[300])
    assert mark(store, "semantic").note["compared"] == 399
    mark(anew, "semantic")
    assert columns(store)[3] == columns(anew)[3]
    assert mark(store, "semantic", seed=1, keep_signatures=True).note["compared"] == 399
    append(store, vectors[:20])
    assert mark(store, "semantic", seed=1, groups=7).note["compared"] == 419
    assert ts.verify(tmp_path / "s").ok


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Centroids and groups that were done are not done again, and the columns are the same."""
    vectors = planted(300)
    store, whole = written(tmp_path / "s", vectors), written(tmp_path / "t", vectors)
    mark(whole, "semantic")
    compare, turns = cosine._compare, list[int]()

    def failing(*args: Any) -> None:
        turns.append(1)
        if len(turns) == 10:
            raise KeyboardInterrupt
        compare(*args)

    monkeypatch.setattr(cosine, "_compare", failing)
    with pytest.raises(KeyboardInterrupt):
        mark(store, "semantic", memory=1 << 24)
    assert (tmp_path / "s.dedup-semantic" / "centroids.npy").is_file()
    monkeypatch.setattr(cosine, "centroids_of", lambda *args: pytest.fail("centroids again"))
    mark(store, "semantic", memory=1 << 24)
    assert len(turns) == 10 + 17 - 9
    assert columns(store) == columns(whole)
    assert not (tmp_path / "s.dedup-semantic").exists()


@pytest.mark.parametrize("in_file", [False, True])
def test_columns_of_a_store(in_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns are those of the arrays, also with vectors on disk; thresholds are chosen later, up and down."""
    if in_file:  # as a store does whose vectors are more than the budget
        there = {"in_files": True}
        monkeypatch.setattr(vector_rows, "best_earlier", lambda *args, **named: best_earlier(*args, **(named | there)))
    vectors = planted(300)
    schema = ts.Schema(tokens=ts.Tokens(9), v=ts.Vector(24, optional=True), c=ts.Category())
    with ts.create(tmp_path / "s", schema) as writer:
        given: list[Any] = [None if i == 5 else one for i, one in enumerate(vectors)]
        writer.extend(tokens=[[1]] * 300, v=given, c=["a", "b", "b"] * 100)
    store = ts.open(tmp_path / "s")
    mark(store, "semantic")
    rows = np.delete(np.arange(300), 5)
    model = semantic(vectors[rows], threshold=0.9)
    assert model.link is not None
    expected = np.where(model.of < 0, -1, rows[model.of])
    of = np.where(store.missing("dup_semantic_of"), -1, np.asarray(store["dup_semantic_of"]))
    assert of[rows].tolist() == expected.tolist()
    assert np.flatnonzero(store.missing("dup_semantic_size")).tolist() == [5]
    similarity = np.asarray(store["dup_semantic_similarity"])[rows]
    assert np.array_equal(similarity, model.similarity, equal_nan=True)
    for threshold in (0.6, 0.9, 0.95):
        kept = store.where("not v is missing").dedup("semantic", threshold=threshold)
        lost = semantic(vectors[rows], threshold=threshold).of >= 0
        assert kept["sample_id"].tolist() == rows[~lost].tolist()
    note = store.metadata["dedup"]["semantic"]
    assert (note["groups"], note["samples"], note["threshold"], note["seed"]) == (17, 299, 0.9, 0)
    mark(store, "semantic", name="within", within=["c"], threshold=0.7)
    of = np.asarray(store["dup_within_of"].filled(-1))
    kinds = np.arange(300) % 3 > 0
    assert (kinds[of[of >= 0]] == kinds[of >= 0]).all()
    assert (of >= 0).sum() > 20


def test_what_is_refused(tmp_path: Path) -> None:
    """A store without vectors or with several, and another column, are told."""
    with ts.create(tmp_path / "s", ts.Schema(tokens=ts.Tokens(9))) as writer:
        writer.append(tokens=[1])
    with pytest.raises(ValueError, match="say which column of vectors is compared; there are: none"):
        mark(ts.open(tmp_path / "s"), "semantic")
    with pytest.raises(TypeError, match=r"semantic duplicates are of vectors, and column 'tokens' is Tokens\(9\)"):
        mark(ts.open(tmp_path / "s"), "semantic", column="tokens")
    with pytest.raises(ValueError, match="method is one of exact, near, semantic, not 'fuzzy'"):
        mark(ts.open(tmp_path / "s"), "fuzzy")
