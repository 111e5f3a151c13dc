"""n-grams of ragged rows -> 64-bit hashes, one vectorised pass over the flat values.

The hash of n values is a sum of their products with n odd constants (multilinear hashing; Carter and Wegman 1979),
stirred once more. Work goes on in pieces that stay in the cache. A gram never crosses the end of a row. A row that is
shorter than n has one gram, which is the whole row with its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.mixing import U64, Hashes, constants, stir
from tokstore.packed import Ints
from tokstore.ragged import ragged_index

__all__ = ["Piece", "gram_counts", "gram_pieces", "gram_sets", "short_grams"]

_PIECE = 1 << 14
_GRAM, _SHORT = 1, 2
_SET_ROWS, _ROW_BITS, _HASH_BITS = 1 << 20, U64(20), U64(44)


@dataclass(frozen=True)
class Piece:
    """Hashes of the grams that begin at a run of positions.

    Attributes:
        start: The first position.
        hashes: One hash per position; those at `wrong` are of no gram. Belongs to the caller.
        wrong: Positions, counted from `start`, at which no gram begins.
        first, counts: The first row that has positions in the piece, and how many it and every next row have.
    """

    start: int
    hashes: Hashes
    wrong: Ints
    first: int
    counts: Ints


def gram_counts(lengths: Ints, n: int) -> Ints:
    """Return how many grams every row has: at least one.

    Example:
        >>> gram_counts(np.array([0, 3, 5, 9]), 5).tolist()
        [1, 1, 1, 5]
    """
    return np.maximum(lengths - (n - 1), 1)


def gram_pieces(values: NDArray[Any], lengths: Ints, n: int, seed: int) -> Iterator[Piece]:
    """Yield the hashes of the grams at all positions of the rows that are not shorter than n, piece by piece.

    Args:
        values: Integers of all rows, one row after another.
        lengths: Values per row.
        n: Values of a gram.
        seed: What the constants follow from.
    """
    factors = constants(seed, n, _GRAM)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    # The last n - 1 positions of every row begin no gram, and no position of a short one does.
    dead = np.minimum(lengths, n - 1)
    wrong = ragged_index(ends - dead, dead)
    total = len(values)
    for a in range(0, total, _PIECE):
        b = min(a + _PIECE, total)
        x = values[a : b + n - 1].astype(U64)
        size = len(x) - n + 1
        if size > 0:
            hashes, spare = x[:size] * factors[0], np.empty(size, U64)
            for j in range(1, n):
                np.multiply(x[j : j + size], factors[j], out=spare)
                hashes += spare
            stir(hashes, spare)
        else:
            hashes = np.zeros(0, U64)
        if size < b - a:  # the end of the values: its last positions begin no gram
            hashes = np.concatenate([hashes, np.zeros(b - a - max(size, 0), U64)])
        low, high = np.searchsorted(wrong, [a, b]).tolist()
        first = int(np.searchsorted(ends, a, side="right"))
        last = int(np.searchsorted(starts, b, side="left"))
        counts = np.minimum(ends[first:last], b) - np.maximum(starts[first:last], a)
        yield Piece(a, hashes, wrong[low:high] - a, first, counts)


def short_grams(values: NDArray[Any], lengths: Ints, n: int, seed: int) -> tuple[Ints, Hashes]:
    """Return which rows are shorter than n, and the hash of the one gram of each."""
    rows = np.flatnonzero(lengths < n)
    counts, starts = lengths[rows], (np.cumsum(lengths) - lengths)[rows]
    factors = constants(seed, n, _SHORT)
    hashes = (counts.astype(U64) + U64(1)) * factors[-1]
    for j in range(n - 1):
        there = np.flatnonzero(counts > j)
        hashes[there] += (values[starts[there] + j].astype(U64) + U64(1)) * factors[j]
    stir(hashes, np.empty_like(hashes))
    return rows, hashes


def gram_sets(values: NDArray[Any], lengths: Ints, n: int, seed: int = 0) -> tuple[Hashes, Ints]:
    """Return the set of grams of every row.

    Args:
        values: Integers of all rows, one row after another.
        lengths: Values per row.
        n: Values of a gram.
        seed: What the hashes follow from.

    Returns:
        The distinct hashes of all rows, of which the upper 44 bits count, ascending in every row, and how many every
        row has.

    Example:
        >>> hashes, counts = gram_sets(np.array([1, 2, 1, 2, 1, 7]), np.array([5, 1]), 2)
        >>> counts.tolist()
        [2, 1]
    """
    if len(lengths) > _SET_ROWS:
        half = len(lengths) // 2
        cut = int(lengths[:half].sum())
        a, b = (gram_sets(values[:cut], lengths[:half], n, seed), gram_sets(values[cut:], lengths[half:], n, seed))
        return np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]])
    # The row above the upper bits of the hash: one sort of numbers does for both.
    rows, short = short_grams(values, lengths, n, seed)
    parts = [(short >> _ROW_BITS) | (rows.astype(U64) << _HASH_BITS)]
    for piece in gram_pieces(values, lengths, n, seed):
        piece.hashes[:] >>= _ROW_BITS
        row = np.arange(piece.first, piece.first + len(piece.counts)).astype(U64) << _HASH_BITS
        piece.hashes[:] |= np.repeat(row, piece.counts)
        keep = np.ones(len(piece.hashes), bool)
        keep[piece.wrong] = False
        parts.append(piece.hashes[keep])
    keys = np.sort(np.concatenate(parts))
    fresh = np.ones(len(keys), bool)
    fresh[1:] = keys[1:] != keys[:-1]
    keys = keys[fresh]
    counts = np.bincount((keys >> _HASH_BITS).view(np.int64), minlength=len(lengths)).astype(np.int64)
    return keys << _ROW_BITS, counts
