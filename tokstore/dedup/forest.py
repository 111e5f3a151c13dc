"""Pairs of similar rows -> clusters at every similarity, as a forest (single linkage).

Rows are joined from the most similar pair to the least (Kruskal), a whole level of similarity at a time. Where two
clusters join, the later of their first rows is linked to the earlier one, at the similarity of that level. The cluster
of a row at any similarity is then found by following links as long as they are that similar; it ends at the first row
of the cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.packed import Ints

__all__ = ["Clusters", "Forest", "clusters_at"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Clusters:
    """Which rows are duplicates of which.

    Attributes:
        of: The representative of every row (int64): the first row of its cluster, -1 for a row that is the first of
            its cluster or alone in it.
        size: Rows in its cluster (int64), 1 for a row that is alone.
        similarity: That of the pair that joined it to the cluster of its link (float32), NaN where there is none;
            ``None`` for exact duplicates.
        link: The first row of the cluster that it was joined to (int64), -1 for none; ``None`` for exact duplicates.
    """

    of: Ints
    size: Ints
    similarity: Floats | None = None
    link: Ints | None = None

    def __repr__(self) -> str:
        lost = int(np.count_nonzero(self.of >= 0))
        return f"<Clusters: {len(self.of):,} rows, {lost:,} of them duplicates of {len(self.of) - lost:,} others>"


class Forest:
    """Rows that are joined by pairs, which come in any order and number.

    Args:
        count: Rows.

    Example:
        >>> forest = Forest(4)
        >>> forest.add(np.array([2, 0]), np.array([3, 2]), np.array([0.9, 0.8], np.float32))
        >>> forest.clusters().of.tolist()
        [-1, -1, 0, 0]
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._a, self._b, self._similarity = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)

    def add(self, a: Ints, b: Ints, similarity: Floats) -> None:
        """Take in pairs of rows.

        Args:
            a, b: The rows of each pair.
            similarity: How similar they are. Fewer different values are faster: every one is a level.
        """
        self._a, self._b = np.concatenate([self._a, a]), np.concatenate([self._b, b])
        self._similarity = np.concatenate([self._similarity, similarity.astype(np.float32)])
        if len(self._a) > 4 * self._count + 1024:
            # Of any pairs, those that join something are enough: at most one less than there are rows.
            link, level = self.links()
            rows = np.flatnonzero(link >= 0)
            self._a, self._b, self._similarity = link[rows], rows, level[rows]

    def links(self) -> tuple[Ints, Floats]:
        """Return the link of every row, -1 for none, and its similarity."""
        root = np.arange(self._count)
        link, level = np.full(self._count, -1, np.int64), np.full(self._count, np.nan, np.float32)
        order = np.argsort(-self._similarity, kind="stable")
        values = self._similarity[order]
        edges = np.concatenate([np.flatnonzero(np.diff(values, prepend=np.inf)), [len(values)]])
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            some = order[start:stop]
            joined = _join(root, self._a[some], self._b[some])
            if len(joined):
                link[joined], level[joined] = _find(root, joined), values[start]
        return link, level

    def clusters(self) -> Clusters:
        """Return the clusters of all pairs."""
        link, level = self.links()
        return clusters_at(link, level, -np.inf)


def clusters_at(link: Ints, level: Floats, threshold: float) -> Clusters:
    """Return the clusters that links of some similarity make.

    Args:
        link: An earlier row for every row, -1 for none.
        level: Their similarity.
        threshold: The least similarity of a link that counts.
    """
    count = len(link)
    rows = np.arange(count)
    counts = (link >= 0) & (level >= threshold)
    root = np.where(counts, link, rows)
    while True:  # every turn halves the way to the root
        further = root[root]
        if np.array_equal(further, root):
            break
        root = further
    size = np.bincount(root, minlength=count).astype(np.int64)[root]
    return Clusters(np.where(root == rows, -1, root), size, level, link)


def _find(root: Ints, rows: Ints) -> Ints:
    """Return the first rows of clusters, and shorten the ways to them."""
    found = root[rows]
    while True:
        further = root[found]
        if np.array_equal(further, found):
            break
        found = further
    root[rows] = found
    return found


def _join(root: Ints, a: Ints, b: Ints) -> Ints:
    """Join clusters by pairs of rows, in place; return the rows that are the first of a cluster no longer."""
    joined: list[Any] = [np.zeros(0, np.int64)]
    while True:
        x, y = _find(root, a), _find(root, b)
        apart = x != y
        if not apart.any():
            return np.unique(np.concatenate(joined))
        a, b, x, y = a[apart], b[apart], x[apart], y[apart]
        low, high = np.minimum(x, y), np.maximum(x, y)
        np.minimum.at(root, high, low)  # a later first row hangs itself on the earliest of those it is paired with
        joined.append(high)
