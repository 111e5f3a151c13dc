"""n-grams of one set of rows in another: decontamination, and spans that are repeated within a store.

Grams are looked for by 64-bit hashes of the values at every position, sorted once, and compared value by value where
hashes are equal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.grams import gram_pieces
from tokstore.dedup.mixing import Hashes
from tokstore.packed import Ints
from tokstore.ragged import ragged_index

__all__ = ["GramIndex", "equal_grams", "mask_of_grams"]

_SEED, _TABLE_BITS = 0, 24
_VALUES = 1 << 21


class GramIndex:
    """All n-grams of a set of rows, and the values that they are of: 16 bytes a gram beside the values.

    Rows that are shorter than n have none.

    Args:
        n: Values of a gram, 2 or more.

    Example:
        >>> index = GramIndex(3)
        >>> index.add(np.array([1, 2, 3, 4]), np.array([4]))
        >>> index.counts(np.array([9, 2, 3, 4, 1, 2, 3, 9]), np.array([4, 4])).tolist()
        [1, 1]
    """

    def __init__(self, n: int) -> None:
        if not 2 <= n <= 1024:
            raise ValueError(f"ngram is an integer from 2 to 1024, not {n}")
        self.n = n
        self._values: list[NDArray[Any]] = []
        self._parts: list[tuple[Hashes, Ints]] = []
        self._sorted: tuple[Hashes, Ints, NDArray[Any]] | None = None

    def add(self, values: NDArray[Any], lengths: Ints) -> None:
        """Take in the grams of rows.

        Args:
            values: Integers of all rows, one row after another.
            lengths: Values per row.
        """
        start = sum(map(len, self._values))
        for piece in gram_pieces(values, lengths, self.n, _SEED):
            at = np.delete(np.arange(len(piece.hashes)), piece.wrong)
            hashes, first = np.unique(piece.hashes[at], return_index=True)
            # Two grams of one hash may differ, so that only equal ones are left out here.
            same = piece.hashes[at]
            place = at + piece.start
            head = place[first[np.searchsorted(hashes, same)]]
            again = (head != place) & equal_grams(values, head, values, place, self.n)
            self._parts.append((same[~again], place[~again] + start))
        self._values.append(np.array(values))
        self._sorted = None

    def __len__(self) -> int:
        return len(self._grams()[0])

    def _grams(self) -> tuple[Hashes, Ints, NDArray[Any]]:
        """Return the hashes of all grams, ascending, where each is, and the values; equal grams once."""
        if self._sorted is None:
            values = np.concatenate([np.zeros(0, np.int64) if not self._values else self._values[0][:0], *self._values])
            hashes = np.concatenate([np.zeros(0, np.uint64), *(one[0] for one in self._parts)])
            places = np.concatenate([np.zeros(0, np.int64), *(one[1] for one in self._parts)])
            order = np.argsort(hashes, kind="stable")
            hashes, places = hashes[order], places[order]
            keep = np.zeros(len(hashes), bool)
            left = np.arange(len(hashes))
            while len(left):  # once, but for hashes that collide
                fresh = np.ones(len(left), bool)
                fresh[1:] = hashes[left[1:]] != hashes[left[:-1]]
                keep[left[fresh]] = True
                head = left[np.flatnonzero(fresh)][np.cumsum(fresh) - 1]
                left = left[~equal_grams(values, places[head], values, places[left], self.n)]
            self._values, self._parts = [values], [(hashes[keep], places[keep])]
            self._sorted = hashes[keep], places[keep], values
        return self._sorted

    def found(self, values: NDArray[Any], lengths: Ints) -> NDArray[np.bool_]:
        """Return for every value whether a gram that is in the index begins there."""
        made = np.zeros(len(values), bool)
        made[self.matches(values, lengths)[0]] = True
        return made

    def matches(self, values: NDArray[Any], lengths: Ints) -> tuple[Ints, Ints]:
        """Return where grams begin that are in the index, and where in the rows that were added each of them is."""
        (grams, places, known), table = self._grams(), self._table()
        hashes, at = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for piece in gram_pieces(values, lengths, self.n, _SEED):
            # Nearly no gram is in the index: a table of bits decides for all but a few.
            some = table[(piece.hashes >> np.uint64(64 - _TABLE_BITS)).view(np.int64)]
            some[piece.wrong] = False
            inside = np.flatnonzero(some)
            hashes.append(piece.hashes[inside])
            at.append(inside + piece.start)
        wanted, where = np.concatenate(hashes), np.concatenate(at)
        entry = np.searchsorted(grams, wanted)
        made = [(np.zeros(0, np.int64), np.zeros(0, np.int64))]
        while len(where):  # once, but for hashes that collide
            there = np.flatnonzero(entry < len(grams))
            there = there[grams[entry[there]] == wanted[there]]
            wanted, where, entry = wanted[there], where[there], entry[there]
            equal = equal_grams(values, where, known, places[entry], self.n)
            made.append((where[equal], places[entry[equal]]))
            wanted, where, entry = wanted[~equal], where[~equal], entry[~equal] + 1
        return np.concatenate([one[0] for one in made]), np.concatenate([one[1] for one in made])

    def counts(self, values: NDArray[Any], lengths: Ints) -> Ints:
        """Return how many grams of every row are in the index."""
        found = self.found(values, lengths)
        sums = np.concatenate([[0], np.cumsum(found)])
        ends = np.cumsum(lengths)
        made: Ints = sums[ends] - sums[ends - lengths]
        return made

    def _table(self) -> NDArray[np.bool_]:
        table = np.zeros(1 << _TABLE_BITS, bool)
        table[(self._grams()[0] >> np.uint64(64 - _TABLE_BITS)).view(np.int64)] = True
        return table


def equal_grams(a: NDArray[Any], at_a: Ints, b: NDArray[Any], at_b: Ints, n: int) -> NDArray[np.bool_]:
    """Return which pairs of grams are equal, value by value.

    Places that follow each other on both sides are one run, whose values are compared once.

    Args:
        a, b: Values.
        at_a, at_b: Where the grams of each pair begin.
        n: Values of a gram.

    Example:
        >>> values = np.array([1, 2, 3, 1, 2, 4])
        >>> equal_grams(values, np.array([0, 1]), values, np.array([3, 4]), 2).tolist()
        [True, False]
    """
    equal = np.zeros(len(at_a), bool)
    joined = (np.diff(at_a) == 1) & (np.diff(at_b) == 1)
    head = np.flatnonzero(np.concatenate([np.ones(min(len(at_a), 1), bool), ~joined]))
    counts = np.diff(head, append=len(at_a))
    ends = np.cumsum(counts + n - 1)
    first = 0
    while first < len(head):
        before = int(ends[first - 1]) if first else 0
        stop = max(first + 1, int(np.searchsorted(ends, before + _VALUES, side="right")))
        some, length = head[first:stop], counts[first:stop] + n - 1
        wrong = a[ragged_index(at_a[some], length)] != b[ragged_index(at_b[some], length)]
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(wrong)])
        begin = ragged_index(np.cumsum(length) - length, counts[first:stop])
        equal[some[0] : some[0] + len(begin)] = sums[begin + n] == sums[begin]
        first = stop
    return equal


def mask_of_grams(begins: NDArray[np.bool_], n: int) -> NDArray[np.bool_]:
    """Return which values lie in a gram, from where grams begin; no gram reaches over the end of a row.

    Example:
        >>> mask_of_grams(np.array([False, True, False, False, False]), 3).tolist()
        [False, True, True, True, False]
    """
    steps = np.zeros(len(begins) + n, np.int8)
    at = np.flatnonzero(begins)
    steps[at] += 1
    np.subtract.at(steps, at + n, 1)
    inside: NDArray[np.bool_] = np.cumsum(steps[: len(begins)], dtype=np.int64) > 0
    return inside
