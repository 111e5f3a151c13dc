"""Pairs of rows with their values, some megabytes at a time; whether the two of a pair are equal.

Whoever confirms a pair reads what it is made of. Pairs come in the order of their first rows, and a row that many pairs
share is read once for all of those in a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.jaccard import pair_similarity
from tokstore.dedup.search import Score
from tokstore.packed import Ints
from tokstore.ragged import ragged_index

__all__ = ["ReadRows", "confirmed", "equal_pairs", "identical", "true_similarity"]

ReadRows = Callable[[Ints], tuple[NDArray[Any], Ints]]
"""Returns the flat values and the lengths of ascending rows."""
_VALUES = 1 << 21


def confirmed(read: ReadRows, lengths: Ints, first: Score, n: int, least: float) -> Score:
    """Return a score by the true Jaccard similarity of those pairs that another score does not refuse.

    Args:
        read: Reads rows.
        lengths: Values of every row.
        first: The score that comes first.
        n: Values of a gram.
        least: The least similarity.
    """

    def score(a: Ints, b: Ints) -> NDArray[np.float32]:
        found = first(a, b)
        left = np.flatnonzero(found >= 0)
        for some, values, counts, x, y in _batches(read, lengths, a[left], b[left]):
            true = pair_similarity(values, counts, x, y, n)
            found[left[some]] = np.where(true >= np.float32(least), true, np.float32(-1))
        return found

    return score


def true_similarity(read: ReadRows, lengths: Ints, n: int, least: float) -> Score:
    """Return a score by the true Jaccard similarity of all pairs; see `confirmed`."""
    return confirmed(read, lengths, lambda a, b: np.zeros(len(a), np.float32), n, least)


def identical(read: ReadRows, lengths: Ints) -> Score:
    """Return a score that is 1 for pairs of equal rows, value by value."""

    def score(a: Ints, b: Ints) -> NDArray[np.float32]:
        found = np.where(lengths[a] == lengths[b], np.float32(1), np.float32(-1))
        left = np.flatnonzero(found >= 0)
        for some, values, counts, x, y in _batches(read, lengths, a[left], b[left]):
            found[left[some]] = np.where(equal_pairs(values, counts, x, y), np.float32(1), np.float32(-1))
        return found

    return score


def equal_pairs(values: NDArray[Any], lengths: Ints, a: Ints, b: Ints) -> NDArray[np.bool_]:
    """Return which pairs of rows are equal, bit for bit.

    Args:
        values: Values of all rows, one row after another.
        lengths: Values per row; equal ones for the rows of a pair.
        a, b: The rows of each pair.

    Example:
        >>> equal_pairs(np.array([1, 2, 1, 2]), np.array([2, 2]), np.array([0]), np.array([1]))
        array([ True])
    """
    if values.dtype.kind == "f":
        values = values.view(f"<u{values.dtype.itemsize}")
    starts, counts = np.cumsum(lengths) - lengths, lengths[a]
    differs = values[ragged_index(starts[a], counts)] != values[ragged_index(starts[b], counts)]
    equal = np.ones(len(a), bool)
    equal[np.repeat(np.arange(len(a)), counts)[differs]] = False
    return equal


def _batches(read: ReadRows, lengths: Ints, a: Ints, b: Ints) -> Iterator[tuple[Ints, NDArray[Any], Ints, Ints, Ints]]:
    """Yield which pairs, the values and lengths of their rows, and the rows of each pair among these."""
    ends = np.cumsum(lengths[a] + lengths[b])
    at = 0
    while at < len(a):
        before = int(ends[at - 1]) if at else 0
        stop = max(at + 1, int(np.searchsorted(ends, before + _VALUES, side="right")))
        some = np.arange(at, stop)
        rows = np.unique(np.concatenate([a[some], b[some]]))
        values, counts = read(rows)
        yield some, values, counts, np.searchsorted(rows, a[some]), np.searchsorted(rows, b[some])
        at = stop
