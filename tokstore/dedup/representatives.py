"""Links of clusters -> links by which every row is similar to the row that stays for it.

Single linkage joins rows through others: of a chain, only neighbours need be alike, and the first row, which is the one
that stays, may have little in common with the last. Here every row is compared with the first row of its cluster. Where
one is not similar to it, the branch leaves that it is on: all rows that were joined with each other before they were
joined with the first row, so that the most similar pairs stay together. The first branch that leaves is a cluster of
its own, with which the others are compared in the next turn.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.forest import Floats, clusters_at
from tokstore.packed import Ints

__all__ = ["confirm_representatives"]

_TURNS = 16


def confirm_representatives(
    link: Ints, level: Floats, score: Callable[[Ints, Ints], NDArray[np.float32]], known: Ints | None = None
) -> tuple[Ints, Floats, int]:
    """Return links by which every row is similar to the first row of its cluster, their levels, and rows that left.

    Args:
        link: An earlier row for every row, -1 for none.
        level: Their similarity.
        score: Returns the similarity of pairs of rows, negative for those that are not similar.
        known: First rows of clusters that rows are known to be similar to, -1 for none.

    Example:
        >>> link, level = np.array([-1, 0, 0]), np.array([np.nan, 0.9, 0.9], np.float32)
        >>> found = confirm_representatives(link, level, lambda a, b: np.where(b == 2, -1, 1).astype(np.float32))
        >>> found[0].tolist(), found[2]
        ([-1, 0, -1], 1)
    """
    link, level = link.copy(), level.copy()
    before = link.copy()
    similar_to = np.full(len(link), -1, np.int64) if known is None else known.copy()
    moved = np.zeros(len(link), bool)
    turn = 0
    while True:
        of = clusters_at(link, level, -np.inf).of
        todo = np.flatnonzero((of >= 0) & (similar_to != of))
        if not len(todo):
            return link, level, int(np.count_nonzero((before >= 0) & (link != before)))
        todo = todo[np.argsort(of[todo], kind="stable")]  # a first row is read once for all of its cluster
        found = score(of[todo], todo)
        good = found >= 0
        similar_to[todo[good]] = of[todo[good]]
        fresh = good & moved[todo]
        level[todo[fresh]] = found[fresh]
        moved[todo] = False
        leaves = np.unique(_below_the_first(link)[todo[~good]])
        turn += 1
        link[leaves], level[leaves] = -1, np.nan
        if turn < _TURNS:
            _, place, group = np.unique(of[leaves], return_index=True, return_inverse=True)
            center = leaves[place][group]
            others = center != leaves
            link[leaves[others]], level[leaves[others]] = center[others], 0
            moved[leaves[others]] = True


def _below_the_first(link: Ints) -> Ints:
    """Return for every row what it hangs on that is linked to the first row of its cluster."""
    rows = np.arange(len(link))
    above = np.where((link >= 0) & (link[np.maximum(link, 0)] >= 0), link, rows)
    while True:  # every turn halves the way
        further = above[above]
        if np.array_equal(further, above):
            return further
        above = further
