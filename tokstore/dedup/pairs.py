"""Keys -> candidate pairs: rows that share a key, by sorting one band after another.

A run of rows with one key gives pairs of its first row with every other, and of neighbours: linear in the run, and
enough to connect it even if one row of it is a stranger.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.mixing import U64, Hashes
from tokstore.packed import Ints

__all__ = ["key_pairs", "pack_pairs", "unpack_pairs"]

Bools = NDArray[np.bool_]
_TABLE_BITS = 24


def key_pairs(keys: Hashes, fresh: Bools | None = None, neighbours: bool = True) -> Hashes:
    """Return the pairs of rows with equal keys.

    Args:
        keys: One key per row, of fewer than 2**32 rows.
        fresh: Rows of which a pair has at least one; ``None`` for all.
        neighbours: Pair neighbours of a run too, not only its first row with every other.

    Returns:
        Pairs, each once and ascending, as `pack_pairs` packs them.

    Example:
        >>> [one.tolist() for one in unpack_pairs(key_pairs(np.array([7, 1, 7, 7], np.uint64)))]
        [[0, 0, 2], [2, 3, 3]]
    """
    rows = None
    if fresh is not None and not fresh.all():
        # Few rows are new: a table of bits of their keys passes over nearly all others before anything is sorted.
        shift = U64(64 - _TABLE_BITS)
        table = np.zeros(1 << _TABLE_BITS, bool)
        table[(keys[fresh] >> shift).view(np.int64)] = True
        rows = np.flatnonzero(table[(keys >> shift).view(np.int64)])
        keys = keys[rows]
    order = np.argsort(keys)
    ordered = keys[order]
    same = ordered[1:] == ordered[:-1]
    inside = np.zeros(len(keys), bool)
    inside[1:] = same
    inside[:-1] |= same
    order, ordered = order[inside], ordered[inside]
    if rows is not None:
        order = rows[order]
    run = np.zeros(len(ordered), np.int64)
    run[1:] = np.cumsum(ordered[1:] != ordered[:-1])
    again = np.lexsort((order, run))  # only rows that share a key: ascending in every run
    order = order[again]
    starts = np.flatnonzero(np.diff(run, prepend=-1))
    first = order[starts][run]
    others = np.ones(len(order), bool)
    others[starts] = False
    members = order[others]
    found = pack_pairs(first[others], members)
    if neighbours:
        found = np.concatenate([found, pack_pairs(order[np.flatnonzero(others) - 1], members)])
    found = np.unique(found)
    if fresh is not None and not fresh.all():
        a, b = unpack_pairs(found)
        found = found[fresh[a] | fresh[b]]
    return found


def pack_pairs(a: Ints, b: Ints) -> Hashes:
    """Return pairs of rows as one number each: the first above the second."""
    packed: Hashes = (a.astype(U64) << U64(32)) | b.astype(U64)
    return packed


def unpack_pairs(packed: NDArray[Any]) -> tuple[Ints, Ints]:
    """Return the rows of packed pairs."""
    return (packed >> U64(32)).astype(np.int64), (packed & U64(0xFFFFFFFF)).astype(np.int64)
