"""Semantic duplicates among vectors: for every row the most similar earlier one (SemDeDup; Abbas et al., 2023).

Rows are grouped by spherical k-means. A row is compared, by one matrix product a group, with the earlier rows of its
own group and of the few next nearest, since two rows that are very similar lie in groups that are next to each other.
That similarity is kept whatever it is, so that any threshold can be chosen later.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.digests import row_digests
from tokstore.dedup.forest import Clusters, Floats, clusters_at
from tokstore.dedup.kmeans import Vectors, centroids_of, drawn, nearest, unit
from tokstore.dedup.mixing import Hashes
from tokstore.packed import Ints

__all__ = ["PROBES", "Best", "Known", "best_earlier", "check_semantic", "groups_for", "semantic"]

PROBES = 8
"""Groups that a row is looked for in."""
_TRAINED, _NOTES = 128, 16
_CELLS = 1 << 24
ReadVectors = Callable[[Ints], NDArray[Any]]
"""Returns the vectors of ascending rows."""


@dataclass(frozen=True)
class Known:
    """What an earlier run has found of rows.

    Attributes:
        group: Their groups, -1 for a row that it has not seen.
        digest: 64 bits of their vectors then.
        link: Their most similar earlier row, -1 for none.
        best: How similar it is.
        lost: Rows whose most similar earlier row is gone.
        groups: How many groups there are.
    """

    group: Ints
    digest: Hashes
    link: Ints
    best: Floats
    lost: NDArray[np.bool_]
    groups: int


@dataclass(frozen=True)
class Best:
    """The most similar earlier row of every row.

    Attributes:
        link: That row, -1 for none.
        similarity: How similar it is, NaN where there is none.
        group: The group of every row.
        digest: 64 bits of its vector.
        groups: How many groups there are.
        compared: Rows that were compared with earlier ones.
    """

    link: Ints
    similarity: Floats
    group: Ints
    digest: Hashes
    groups: int
    compared: NDArray[np.bool_]


def semantic(vectors: Any, *, threshold: float = 0.9, groups: int | None = None, seed: int = 0) -> Clusters:
    """Find rows whose vectors point the same way.

    Args:
        vectors: ``[rows, dim]``, of any length; vectors of length 0 are duplicates of nothing.
        threshold: The cosine similarity from which on a row is a duplicate of an earlier one.
        groups: Groups of k-means; by default as many as the square root of the number of rows.
        seed: What k-means begins with.

    Returns:
        `Clusters`; `similarity` is that to the most similar earlier row, which is in `link`, for every row that has
        one.

    Example:
        >>> semantic([[1, 0], [0, 1], [0.99, 0.05]]).of.tolist()
        [-1, -1, 0]
    """
    array = np.asarray(vectors, np.float32)
    if array.ndim != 2:
        raise TypeError(f"vectors are an array of two dimensions, not of {array.ndim}")
    check_semantic(threshold, groups)
    found = best_earlier(lambda rows: array[rows], len(array), array.shape[1], groups=groups, seed=seed)
    return clusters_at(found.link, found.similarity, threshold)


def check_semantic(threshold: float, groups: int | None) -> None:
    """Refuse numbers out of range."""
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is a similarity above 0 and at most 1, not {threshold}")
    if groups is not None and not 1 <= groups <= 1 << 20:
        raise ValueError(f"groups is an integer from 1 to 2**20, not {groups}")


def groups_for(count: int, groups: int | None) -> int:
    """Return how many groups so many rows have."""
    return max(1, min(count, groups or math.isqrt(count)))


def best_earlier(
    read: ReadVectors,
    count: int,
    dim: int,
    *,
    groups: int | None = None,
    seed: int = 0,
    apart: Hashes | None = None,
    known: Known | None = None,
    folder: Path | None = None,
    in_files: bool = False,
    report: Callable[[int], None] | None = None,
) -> Best:
    """Return the most similar earlier row of every row.

    Args:
        read: Reads vectors.
        count: Rows.
        dim: Dimensions.
        groups, seed: As of `semantic`.
        apart: One number per row: only rows of equal ones are compared.
        known: What an earlier run has found: rows from the first new one on are compared, and no others.
        folder: Where a run keeps what is done, and goes on if it was stopped; ``None`` for nowhere.
        in_files: Keep vectors in that folder meanwhile, not in memory.
        report: Called with rows that were read, and then with rows that were compared.
    """
    wanted = groups_for(count, groups) if known is None else known.groups
    centroids = None
    if known is None:
        path = None if folder is None else folder / "centroids.npy"
        if path is not None and path.is_file():
            centroids = np.load(path, allow_pickle=False)
        elif count:
            centroids = centroids_of(unit(read(drawn(count, min(count, _TRAINED * wanted), seed))), wanted, seed)
            if path is not None:
                _save(path, lambda file: np.save(file, centroids, allow_pickle=False))
    probes = min(PROBES, wanted)
    near, vectors, digest = _read_all(read, count, dim, centroids, probes, folder if in_files else None, report)
    compared = np.ones(count, bool)
    group = near[:, 0].copy()
    state = _State(np.full(count, -1, np.int64), np.full(count, -2, np.float32), 0)
    if known is not None:
        seen = known.group >= 0
        if (digest[seen] != known.digest[seen]).any():  # vectors were changed, and links to them are void
            return best_earlier(
                read, count, dim, groups=groups, seed=seed, apart=apart, folder=folder, in_files=in_files, report=report
            )
        compared = known.lost | ~seen
        compared[int(np.argmax(~seen)) if not seen.all() else count :] = True
        state.link[:], state.best[:] = known.link, np.where(known.link < 0, np.float32(-2), known.best)
        state.link[compared], state.best[compared] = -1, -2
        some = np.flatnonzero(compared)
        near[some] = nearest(np.asarray(vectors[some]), _means(vectors, known.group, wanted), probes)
        group = np.where(seen, known.group, near[:, 0])
    _search(vectors, near, group, np.flatnonzero(compared), wanted, apart, state, folder, report)
    similarity = np.where(state.link < 0, np.float32(np.nan), np.minimum(state.best, np.float32(1)))
    return Best(state.link, similarity, group, digest, wanted, compared)


@dataclass
class _State:
    """How far a search is: what was found, and the group that comes next."""

    link: Ints
    best: Floats
    group: int


def _search(
    vectors: Vectors,
    near: Ints,
    group: Ints,
    compared: Ints,
    groups: int,
    apart: Hashes | None,
    state: _State,
    folder: Path | None,
    report: Callable[[int], None] | None,
) -> None:
    """Compare rows with the members of their groups, group by group; note now and then how far that is."""
    path = None if folder is None else folder / "compared.npz"
    if path is not None and path.is_file():
        with np.load(path, allow_pickle=False) as kept:
            state.link, state.best, state.group = kept["link"], kept["best"], int(kept["group"])
    order = np.argsort(group, kind="stable")
    edges = np.searchsorted(group[order], np.arange(groups + 1))
    asked = near[compared]
    asking = np.argsort(asked.reshape(-1), kind="stable")
    bounds = np.searchsorted(asked.reshape(-1)[asking], np.arange(groups + 1))
    every = max(1, groups // _NOTES)
    for number in range(state.group, groups):
        members = order[edges[number] : edges[number + 1]]
        queries = np.sort(compared[asking[bounds[number] : bounds[number + 1]] // max(1, near.shape[1])])
        if len(members) and len(queries):
            _compare(vectors, members, queries, apart, state.link, state.best)
        if path is not None and (number + 1) % every == 0:
            done = {"link": state.link, "best": state.best, "group": np.array(number + 1)}
            _save(path, lambda file, done=done: np.savez(file, **done))  # type: ignore[misc]
        if report is not None:
            report(len(members))


def _means(vectors: Vectors, group: Ints, groups: int) -> Vectors:
    """Return the directions of the means of groups; rows of group -1 count for none, and empty groups have none."""
    sums = np.zeros((groups, vectors.shape[1]), np.float64)
    step = max(1, (1 << 22) // max(1, vectors.shape[1]))
    for first in range(0, len(vectors), step):
        part, which = np.asarray(vectors[first : first + step]), group[first : first + step]
        order = np.argsort(which, kind="stable")
        order = order[which[order] >= 0]
        if len(order):
            found, starts = np.unique(which[order], return_index=True)
            sums[found] += np.add.reduceat(part[order], starts, axis=0)
    return unit(sums)


def _save(path: Path, write: Callable[[Any], None]) -> None:
    """Write a file whole or not at all."""
    part = path.with_suffix(".part")
    with open(part, "wb") as file:
        write(file)
    os.replace(part, path)


def _read_all(
    read: ReadVectors,
    count: int,
    dim: int,
    centroids: Vectors | None,
    probes: int,
    folder: Path | None,
    report: Callable[[int], None] | None,
) -> tuple[Ints, Vectors, Hashes]:
    """Return the nearest groups of all rows where there are centroids, their unit vectors, and digests of vectors."""
    near, digest = np.zeros((count, probes), np.int64), np.zeros(count, np.uint64)
    vectors: Vectors
    if folder is None:
        vectors = np.empty((count, dim), np.float32)
    else:
        vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (count, dim))
    step = max(1, (1 << 22) // max(1, dim))
    for first in range(0, count, step):
        stop = min(first + step, count)
        given = np.ascontiguousarray(read(np.arange(first, stop)), np.float32)
        part = unit(given)
        digest[first:stop] = row_digests(given.reshape(-1), np.full(stop - first, dim))[:, 0]
        vectors[first:stop] = part
        if centroids is not None:
            near[first:stop] = nearest(part, centroids, probes)
        if report is not None:
            report(stop - first)
    return near, vectors, digest


def _compare(vectors: Vectors, members: Ints, queries: Ints, apart: Hashes | None, link: Ints, best: Floats) -> None:
    """Look for the best earlier row of queries among the members of a group, both ascending."""
    theirs = np.asarray(vectors[members])
    step = max(1, _CELLS // len(members))
    for first in range(0, len(queries), step):
        some = queries[first : first + step]
        similarity = np.asarray(vectors[some]) @ theirs.T
        later = members[None, :] >= some[:, None]
        if apart is not None:
            later |= apart[members][None, :] != apart[some][:, None]
        similarity[later] = -2
        at = similarity.argmax(axis=1)  # of equal ones the first
        found = similarity[np.arange(len(some)), at]
        better = (found > best[some]) | ((found == best[some]) & (members[at] < link[some]))
        better &= found > 0
        best[some[better]], link[some[better]] = found[better], members[at[better]]
