"""Semantic duplicates among vectors: for every row the most similar earlier one (SemDeDup; Abbas et al., 2023).

Rows are grouped by spherical k-means. A row is compared, by one matrix product a group, with the earlier rows of its
own group and of the few next nearest, since two rows that are very similar lie in groups that are next to each other.
That similarity is kept whatever it is, so that any threshold can be chosen later.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.forest import Clusters, Floats, clusters_at
from tokstore.dedup.kmeans import Vectors, centroids_of, drawn, nearest, unit
from tokstore.dedup.mixing import Hashes
from tokstore.packed import Ints

__all__ = ["PROBES", "best_earlier", "check_semantic", "groups_for", "semantic"]

PROBES = 8
"""Groups that a row is looked for in."""
_TRAINED = 128
_CELLS = 1 << 24
ReadVectors = Callable[[Ints], NDArray[Any]]
"""Returns the vectors of ascending rows."""


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
    link, similarity = best_earlier(lambda rows: array[rows], len(array), array.shape[1], groups=groups, seed=seed)
    return clusters_at(link, similarity, threshold)


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
    folder: Path | None = None,
    report: Callable[[int], None] | None = None,
) -> tuple[Ints, Floats]:
    """Return the most similar earlier row of every row, -1 for none, and how similar it is.

    Args:
        read: Reads vectors.
        count: Rows.
        dim: Dimensions.
        groups, seed: As of `semantic`.
        apart: One number per row: only rows of equal ones are compared.
        folder: Where vectors lie meanwhile; ``None`` for memory.
        report: Called with rows that were read, and then with rows that were compared.
    """
    link, best = np.full(count, -1, np.int64), np.full(count, np.nan, np.float32)
    if count < 2:
        return link, best
    wanted = groups_for(count, groups)
    centroids = centroids_of(unit(read(drawn(count, min(count, _TRAINED * wanted), seed))), wanted, seed)
    probes = min(PROBES, wanted)
    near, vectors = _read_all(read, count, dim, centroids, probes, folder, report)
    best[:] = -2
    order = np.argsort(near[:, 0], kind="stable")
    edges = np.searchsorted(near[order, 0], np.arange(wanted + 1))
    asking = np.argsort(near.reshape(-1), kind="stable")
    bounds = np.searchsorted(near.reshape(-1)[asking], np.arange(wanted + 1))
    for group in range(wanted):
        members = order[edges[group] : edges[group + 1]]
        queries = np.sort(asking[bounds[group] : bounds[group + 1]] // probes)
        if len(members):
            _compare(vectors, members, queries, apart, link, best)
        if report is not None:
            report(len(members))
    best[link < 0] = np.nan
    return link, np.minimum(best, np.float32(1))


def _read_all(
    read: ReadVectors,
    count: int,
    dim: int,
    centroids: Vectors,
    probes: int,
    folder: Path | None,
    report: Callable[[int], None] | None,
) -> tuple[Ints, Vectors]:
    """Return the nearest groups of all rows, and their unit vectors."""
    near = np.empty((count, probes), np.int64)
    vectors: Vectors
    if folder is None:
        vectors = np.empty((count, dim), np.float32)
    else:
        vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (count, dim))
    step = max(1, (1 << 22) // max(1, dim))
    for first in range(0, count, step):
        stop = min(first + step, count)
        part = unit(read(np.arange(first, stop)))
        vectors[first:stop] = part
        near[first:stop] = nearest(part, centroids, probes)
        if report is not None:
            report(stop - first)
    return near, vectors


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
