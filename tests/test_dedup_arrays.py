"""Duplicates among arrays, against brute force: digests, n-grams, signatures, pairs, forests, clusters."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokstore import Ragged
from tokstore.dedup import MinHash, arrays, digests, exact, grams, near, representatives
from tokstore.dedup.forest import Forest, clusters_at
from tokstore.dedup.grams import gram_sets
from tokstore.dedup.held import Held
from tokstore.dedup.jaccard import pair_similarity
from tokstore.dedup.pairs import key_pairs, unpack_pairs
from tokstore.dedup.representatives import confirm_representatives
from tokstore.dedup.search import estimated, search

PINNED = [
    [43354806, 2086595764, 1701050422, 626238001, 1594829588, 1140323394],
    [1990084622, 1990084622, 1990084622, 1990084622, 1990084622, 1990084622],
]
PINNED_KEYS = [9584234925887109838, 6654674407881049393]
PINNED_DIGESTS = [2654910617904822790, 10222208490668213412]
ROWS = st.lists(st.lists(st.integers(0, 2), max_size=9), max_size=12)


def first_of_equal(rows: list[list[int]]) -> list[int]:
    """Return the first equal row before every row, -1 for none."""
    return [rows.index(row) if rows.index(row) < i else -1 for i, row in enumerate(rows)]


def brute_grams(row: list[int], n: int) -> set[tuple[int, ...]]:
    """Return the n-grams of a row; a shorter row has one, which is the row."""
    if len(row) < n:
        return {(*row, -1 - len(row))}
    return {tuple(row[i : i + n]) for i in range(len(row) - n + 1)}


def edited(rng: np.random.Generator, row: Any, share: float) -> Any:
    """Return a row in which some values are others."""
    made = row.copy()
    at = rng.random(len(row)) < share
    made[at] = rng.integers(0, 50_000, int(at.sum()))
    return made


def small_pieces(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Work on pieces so small that rows reach over several of them."""
    monkeypatch.setattr(grams, "_PIECE", size)
    monkeypatch.setattr(digests, "_PIECE", size)
    digests._powers.cache_clear()


@given(ROWS)
@settings(max_examples=60)
def test_exact_finds_the_first_of_equal_rows(rows: list[list[int]]) -> None:
    """Representatives and sizes are those of plain comparison, with empty rows and rows that begin alike."""
    found = exact(rows)
    expected = first_of_equal(rows)
    assert found.of.tolist() == expected
    assert found.size.tolist() == [rows.count(row) for row in rows]
    assert found.link is None
    assert found.similarity is None


def test_digests_that_collide_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of one digest that differ are no duplicates."""
    monkeypatch.setattr(arrays, "row_digests", lambda values, lengths: np.zeros((len(lengths), 2), np.uint64))
    assert exact([[1, 2], [2, 1], [1], [1, 2]]).of.tolist() == [-1, -1, -1, 0]


@pytest.mark.parametrize("size", [7, 64, 1 << 14])
def test_rows_do_not_depend_on_what_stands_beside_them(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests, signatures and grams of a row are the same alone, in a batch, and across pieces of any length."""
    rng = np.random.default_rng(0)
    rows = Ragged.from_rows([rng.integers(0, 4, n) for n in (0, 3, 100, 1, 5, 0, 700, 4, 64, 9)])
    hashing = MinHash(ngram=4, bands=3, width=5, seed=9)
    signatures = hashing.signatures(rows.values, rows.lengths)
    one_by_one = [np.asarray(row) for row in rows]
    small_pieces(monkeypatch, size)
    monkeypatch.setattr(grams, "_SET_ROWS", 3)
    made = digests.row_digests(rows.values, rows.lengths)
    hashes, counts = gram_sets(rows.values, rows.lengths, 4)
    assert (hashing.signatures(rows.values, rows.lengths) == signatures).all()
    starts = np.cumsum(counts) - counts
    for i, row in enumerate(one_by_one):
        length = np.array([len(row)])
        assert (digests.row_digests(row, length)[0] == made[i]).all()
        assert (hashing.signatures(row, length)[0] == signatures[i]).all()
        assert gram_sets(row, length, 4)[0].tolist() == hashes[starts[i] : starts[i] + counts[i]].tolist()
        assert counts[i] == len(brute_grams(row.tolist(), 4))
    digests._powers.cache_clear()


def test_digests_see_order_length_and_zeros() -> None:
    """Swapped values, another length, zeros at either end: all have digests of their own, in both halves."""
    rows = [[], [0], [0, 0], [1, 2], [2, 1], [1, 2, 0], [0, 1, 2], [1], [3, 0], [0, 3]]
    ragged = Ragged.from_rows(rows)
    made = digests.row_digests(ragged.values, ragged.lengths)
    for half in (0, 1):
        assert len(set(made[:, half].tolist())) == len(rows)


@given(ROWS, st.integers(1, 4))
@settings(max_examples=15)
def test_jaccard(rows: list[list[int]], n: int) -> None:
    """The similarity of every pair is that of its sets of n-grams, down to 1/1024."""
    ragged = Ragged.from_rows(rows, dtype=np.int64)
    a, b = (one.reshape(-1) for one in np.indices((len(rows), len(rows))))
    found = pair_similarity(ragged.values, ragged.lengths, a, b, n)
    sets = [brute_grams(row, n) for row in rows]
    for x, y, similarity in zip(a.tolist(), b.tolist(), found.tolist(), strict=True):
        true = len(sets[x] & sets[y]) / len(sets[x] | sets[y])
        assert similarity == math.floor(true * 1024) / 1024


@pytest.mark.parametrize("length", [12, 60, 400])
def test_estimates_have_no_bias(length: int) -> None:
    """Signatures estimate the Jaccard similarity on average, with the promised error, of short rows too."""
    rng = np.random.default_rng(length)
    a = rng.integers(0, 50_000, (300, length))
    b = np.stack([edited(rng, row, 0.02) for row in a])
    hashing, lengths = MinHash(), np.full(300, length)
    estimate = hashing.similarity(
        hashing.signatures(a.reshape(-1), lengths), hashing.signatures(b.reshape(-1), lengths)
    )
    both = np.concatenate([a, b]).reshape(-1)
    true = pair_similarity(both, np.full(600, length), np.arange(300), np.arange(300, 600), 5)
    assert abs(float((estimate - true).mean())) < 0.01
    assert float((estimate - true).std()) < 0.05


def test_signatures_are_pinned() -> None:
    """Kept signatures are compared with those of later releases: a change needs another `ALGORITHM`."""
    made = MinHash(bands=2, width=3, seed=7).signatures(np.arange(40), np.array([38, 2]))
    assert made.tolist() == PINNED
    keys = MinHash(bands=2, width=3, seed=7).band_keys(made)
    assert keys[:, 0].tolist() == PINNED_KEYS
    assert digests.row_digests(np.arange(40), np.array([38, 2]))[:, 0].tolist() == PINNED_DIGESTS


@given(st.lists(st.integers(0, 6), max_size=30), st.data())
@settings(max_examples=60)
def test_pairs_connect_equal_keys(keys: list[int], data: st.DataObject) -> None:
    """Pairs have equal keys, connect all rows that share one, and with `fresh` are those with a new row."""
    top = np.array(keys, np.uint64) << np.uint64(60)
    a, b = unpack_pairs(key_pairs(top))
    assert all(keys[x] == keys[y] and x < y for x, y in zip(a.tolist(), b.tolist(), strict=True))
    forest = Forest(len(keys))
    forest.add(a, b, np.ones(len(a), np.float32))
    assert forest.clusters().of.tolist() == [keys.index(k) if keys.index(k) < i else -1 for i, k in enumerate(keys)]
    fresh = np.array(data.draw(st.lists(st.booleans(), min_size=len(keys), max_size=len(keys))), bool)
    x, y = unpack_pairs(key_pairs(top, fresh))
    assert (fresh[x] | fresh[y]).all()
    for i in np.flatnonzero(fresh).tolist():  # a new row meets every run that it belongs to
        others = [j for j, key in enumerate(keys) if key == keys[i] and j != i]
        assert bool(others) == bool(((x == i) | (y == i)).any())


@given(st.integers(1, 14), st.data())
@settings(max_examples=80)
def test_forest_is_single_linkage_at_every_threshold(count: int, data: st.DataObject) -> None:
    """Following links gives the connected components of the pairs at that similarity, their first row first."""
    edge = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1), st.sampled_from([0.5, 0.75, 0.875, 1.0]))
    edges = [(a, b, s) for a, b, s in data.draw(st.lists(edge, max_size=30)) if a != b]
    forest = Forest(count)
    for part in (edges[::2], edges[1::2]):
        a, b, s = (np.array([one[i] for one in part]) for i in range(3))
        forest.add(a.astype(np.int64), b.astype(np.int64), s.astype(np.float32))
    link, level = forest.links()
    for threshold in (0.5, 0.6, 0.75, 0.875, 1.0):
        component = list(range(count))
        for _ in range(count):
            for x, y, similarity in edges:
                if similarity >= threshold:
                    component[x] = component[y] = min(component[x], component[y])
        found = clusters_at(link, level, threshold)
        assert found.of.tolist() == [-1 if c == i else c for i, c in enumerate(component)]
        assert found.size.tolist() == [component.count(c) for c in component]


def test_forest_forgets_pairs_that_join_nothing() -> None:
    """Many more pairs than rows stay few in memory, and the clusters are the same."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 50, (2, 20_000))
    similarity = rng.integers(60, 100, 20_000).astype(np.float32) / 100
    whole, parts = Forest(50), Forest(50)
    whole.add(a, b, similarity)
    for some in np.array_split(np.arange(20_000), 9):
        parts.add(a[some], b[some], similarity[some])
    assert len(parts._a) < 5_000
    for one, other in zip(whole.links(), parts.links(), strict=True):
        assert np.array_equal(one, other, equal_nan=True)


@given(st.integers(1, 12), st.data())
@settings(max_examples=80)
def test_rows_are_similar_to_the_first_of_their_cluster(count: int, data: st.DataObject) -> None:
    """All rows end in a cluster whose first row they are similar to, and clusters that were good are left alone."""
    link = np.array([data.draw(st.integers(-1, row - 1)) for row in range(count)])
    level = np.where(link < 0, np.nan, 0.9).astype(np.float32)
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    unlike = {(min(pair), max(pair)) for pair in data.draw(st.lists(pairs, max_size=count * 2))}

    def score(a: Any, b: Any) -> Any:
        pairs = zip(np.minimum(a, b).tolist(), np.maximum(a, b).tolist(), strict=True)
        return np.array([-1 if pair in unlike else 0.85 for pair in pairs], np.float32)

    patch = pytest.MonkeyPatch()
    patch.setattr(representatives, "_TURNS", data.draw(st.sampled_from([1, 3, 16])))
    found, made, left = confirm_representatives(link, level, score)
    patch.undo()
    before, of = clusters_at(link, level, -np.inf).of, clusters_at(found, made, -np.inf).of
    rows = np.arange(count)
    assert (found < rows).all()
    assert np.array_equal(np.isnan(made), found < 0)
    lost = np.flatnonzero(of >= 0)
    assert (score(of[lost], lost) >= 0).all()
    first, now = np.where(before < 0, rows, before), np.where(of < 0, rows, of)
    assert (first[now] == first).all()  # clusters are split, and never joined
    assert left == int(((link >= 0) & (found != link)).sum())
    moved = (found >= 0) & (found != link)
    assert (made[moved] == np.float32(0.85)).all()
    for one in set(first.tolist()):
        members = np.flatnonzero(first == one)
        if (score(np.full(len(members), one), members)[members != one] >= 0).all():
            assert np.array_equal(found[members], link[members])


def planted(count: int = 150) -> tuple[list[Any], list[int]]:
    """Return rows, of which the second half are copies of the first with 0.2 % to 4 % edits, and their originals."""
    rng = np.random.default_rng(3)
    rows = [rng.integers(0, 50_000, int(rng.integers(80, 900))) for _ in range(count)]
    return rows + [edited(rng, row, rng.uniform(0.002, 0.04)) for row in rows], list(range(count))


@pytest.mark.parametrize("confirm", [False, True])
def test_near_finds_planted_copies(confirm: bool) -> None:
    """Of pairs of true similarity from 0.8 on hardly one is lost; confirmed ones are all true."""
    rows, originals = planted()
    ragged, count = Ragged.from_rows(rows), len(originals)
    true = pair_similarity(ragged.values, ragged.lengths, np.arange(count), np.arange(count, 2 * count), 5)
    found = near(ragged, confirm=confirm)
    hit = found.of[count:] == np.arange(count)
    assert hit[true >= 0.8].mean() >= 0.97
    assert (found.of[:count] == -1).all()
    assert found.link is not None
    assert found.similarity is not None
    if confirm:
        assert (true[hit] >= 0.8).all()
        assert (found.similarity[count:][hit] == true[hit]).all()
    assert not hit[true < 0.6].any()


def test_near_refuses_wrong_numbers() -> None:
    """Thresholds and shapes out of range are told before any work."""
    for threshold in (0.0, 1.01, -1.0, math.nan):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            near([[1]], threshold=threshold)
    with pytest.raises(ValueError, match="ngram is an integer from 1 to 1024, not 0"):
        near([[1]], ngram=0)
    with pytest.raises(TypeError, match="rows are of integers, not of float64"):
        exact([[0.5]])
    assert near([]).of.tolist() == exact([]).of.tolist() == []
    assert near([[], [], [1], [1]]).of.tolist() == [-1, 0, -1, 2]


@pytest.mark.parametrize("in_files", [False, True])
def test_search_in_little_memory(in_files: bool, tmp_path: Path) -> None:
    """With units in files and a budget of a few rows a pass, clusters are the same."""
    rows, _ = planted(40)
    ragged, hashing = Ragged.from_rows(rows), MinHash()
    signatures = hashing.signatures(ragged.values, ragged.lengths)
    held = Held(tmp_path if in_files else None)
    for number, some in enumerate(np.array_split(np.arange(len(rows)), 5)):
        held.add(f"{number}", signatures[some], hashing.band_keys(signatures[some]))
    assert (held.signatures(np.array([79, 3, 3, 40])) == signatures[[79, 3, 3, 40]]).all()
    forest = Forest(len(rows))
    bands: list[int] = []
    search(held, 14, forest, estimated(held, hashing.similarity, 0.7), memory=640, report=bands.append)
    whole = Forest(len(rows))
    memory = Held()
    memory.add("all", signatures, hashing.band_keys(signatures))
    search(memory, 14, whole, estimated(memory, hashing.similarity, 0.7))
    assert len(bands) == 14
    assert forest.clusters().of.tolist() == whole.clusters().of.tolist()
    assert (forest.clusters().of >= 0).sum() > 30
