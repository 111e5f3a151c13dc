"""n-grams of one set of rows in another: decontamination, and spans that are repeated within a store.

Grams are looked for by 64-bit hashes of the values at every position, sorted once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.grams import gram_pieces
from tokstore.dedup.mixing import Hashes
from tokstore.packed import Ints

__all__ = ["GramIndex", "mask_of_grams"]

_SEED, _TABLE_BITS = 0, 24


class GramIndex:
    """All n-grams of a set of rows.

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
        self._parts: list[Hashes] = []
        self._sorted: Hashes | None = None

    def add(self, values: NDArray[Any], lengths: Ints) -> None:
        """Take in the grams of rows.

        Args:
            values: Integers of all rows, one row after another.
            lengths: Values per row.
        """
        for piece in gram_pieces(values, lengths, self.n, _SEED):
            self._parts.append(np.unique(np.delete(piece.hashes, piece.wrong)))
        self._sorted = None

    def __len__(self) -> int:
        return len(self._grams())

    def _grams(self) -> Hashes:
        if self._sorted is None:
            self._sorted = np.unique(np.concatenate([np.zeros(0, np.uint64), *self._parts]))
            self._parts = [self._sorted]
        return self._sorted

    def found(self, values: NDArray[Any], lengths: Ints) -> NDArray[np.bool_]:
        """Return for every value whether a gram that is in the index begins there."""
        grams, table = self._grams(), self._table()
        made = np.zeros(len(values), bool)
        for piece in gram_pieces(values, lengths, self.n, _SEED):
            # Nearly no gram is in the index: a table of bits decides for all but a few.
            some = table[(piece.hashes >> np.uint64(64 - _TABLE_BITS)).view(np.int64)]
            some[piece.wrong] = False
            at = np.flatnonzero(some)
            if len(at) and len(grams):
                wanted = piece.hashes[at]
                place = np.minimum(np.searchsorted(grams, wanted), len(grams) - 1)
                made[piece.start + at[grams[place] == wanted]] = True
        return made

    def counts(self, values: NDArray[Any], lengths: Ints) -> Ints:
        """Return how many grams of every row are in the index."""
        found = self.found(values, lengths)
        sums = np.concatenate([[0], np.cumsum(found)])
        ends = np.cumsum(lengths)
        made: Ints = sums[ends] - sums[ends - lengths]
        return made

    def _table(self) -> NDArray[np.bool_]:
        table = np.zeros(1 << _TABLE_BITS, bool)
        table[(self._grams() >> np.uint64(64 - _TABLE_BITS)).view(np.int64)] = True
        return table


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
