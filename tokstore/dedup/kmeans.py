"""Spherical k-means: unit vectors -> centroids, and the nearest of them (Dhillon and Modha, 2001)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.mixing import constants, mix
from tokstore.packed import Ints

__all__ = ["Vectors", "centroids_of", "drawn", "nearest", "unit"]

Vectors = NDArray[np.float32]
_DRAW, _TURNS = 6, 10
_CELLS = 1 << 24


def unit(vectors: NDArray[Any]) -> Vectors:
    """Return vectors of length 1; those without a direction, and those that are not finite, become zero."""
    made = np.array(vectors, np.float32)
    made[~np.isfinite(made).all(axis=1)] = 0
    length = np.sqrt(np.einsum("ij,ij->i", made, made, dtype=np.float64))
    made /= np.where(length > 0, length, 1)[:, None].astype(np.float32)
    return made


def drawn(count: int, some: int, seed: int) -> Ints:
    """Return so many of the numbers below a count, at random and ascending."""
    keys = mix(np.arange(count, dtype=np.uint64) * constants(seed, 1, _DRAW)[0])
    return np.sort(np.argsort(keys, kind="stable")[:some])


def centroids_of(vectors: Vectors, count: int, seed: int) -> Vectors:
    """Return centroids of unit vectors.

    Args:
        vectors: float32 ``[rows, dim]``, as many rows as centroids or more.
        count: How many centroids.
        seed: What the first ones are drawn by.
    """
    centroids = vectors[drawn(len(vectors), count, seed)].copy()
    for turn in range(_TURNS):
        found = nearest(vectors, centroids, 1)[:, 0]
        order = np.argsort(found, kind="stable")
        sizes = np.bincount(found, minlength=count)
        starts = (np.cumsum(sizes) - sizes)[sizes > 0]
        centroids[sizes > 0] = unit(np.add.reduceat(vectors[order], starts, axis=0))
        lonely = np.flatnonzero(sizes == 0)
        if len(lonely):  # a centroid that nothing is near begins anew
            centroids[lonely] = vectors[drawn(len(vectors), len(lonely), seed + turn + 1)]
    return centroids


def nearest(vectors: Vectors, centroids: Vectors, some: int) -> Ints:
    """Return the centroids that are most similar to every vector, ``[rows, some]``, the nearest first."""
    made = np.empty((len(vectors), some), np.int64)
    step = max(1, _CELLS // max(1, len(centroids)))
    for first in range(0, len(vectors), step):
        similarity = vectors[first : first + step] @ centroids.T
        if some < similarity.shape[1]:
            found = np.argpartition(-similarity, some - 1, axis=1)[:, :some]
        else:
            found = np.tile(np.arange(some), (len(similarity), 1))
        order = np.argsort(-np.take_along_axis(similarity, found, axis=1), axis=1, kind="stable")
        made[first : first + step] = np.take_along_axis(found, order, axis=1)
    return made
