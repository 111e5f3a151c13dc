"""Held signatures -> scored pairs of rows, in bounded memory.

One band after another is sorted; where its keys do not fit the budget, one range of keys after another, so that every
pass reads the keys from disk and sorts a part of them. Pairs are scored once, however many bands they share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.forest import Forest
from tokstore.dedup.held import Held
from tokstore.dedup.mixing import Hashes
from tokstore.dedup.pairs import key_pairs, pack_pairs, unpack_pairs
from tokstore.packed import Ints

__all__ = ["MEMORY", "Score", "estimated", "search"]

MEMORY = 2 << 30
"""Bytes that a search takes at most, beside what a scan of the store takes."""
Score = Callable[[Ints, Ints], NDArray[np.float32]]
"""Returns the similarity of pairs of rows, negative for those that are not similar."""
_SORTED_BYTES, _PAIR_BYTES = 40, 80
_SCORED = 1 << 16
_MOST_ROWS = 1 << 32


def search(
    held: Held,
    bands: int,
    forest: Forest,
    score: Score,
    *,
    fresh: NDArray[np.bool_] | None = None,
    neighbours: bool = True,
    memory: int = MEMORY,
    report: Callable[[int], None] | None = None,
) -> int:
    """Find similar pairs of rows and join them.

    Args:
        held: The keys of all rows.
        bands: How many each has.
        forest: Where similar pairs go.
        score: Tells how similar pairs are.
        fresh: Rows of which a pair has at least one; ``None`` for all.
        neighbours: Pair neighbours of a run with each other too, beside the first row with all others.
        memory: Bytes to take at most.
        report: Called with bands done.

    Returns:
        How many pairs were scored.
    """
    rows = len(held)
    if rows >= _MOST_ROWS:
        raise ValueError(
            f"{rows:,} samples are too many for one search, which takes 2**32 - 1: mark a part with where="
        )
    seen, scored = np.zeros(0, np.uint64), 0
    for band in range(bands):
        made = [np.zeros(0, np.uint64)]
        for pairs in _passes(held, band, fresh, neighbours, memory):
            at = np.searchsorted(seen, pairs)
            known = seen[np.minimum(at, len(seen) - 1)] == pairs if len(seen) else np.zeros(len(pairs), bool)
            pairs = pairs[~known]
            scored += len(pairs)
            made.append(pairs)
            for first in range(0, len(pairs), _SCORED):
                a, b = unpack_pairs(pairs[first : first + _SCORED])
                found = score(a, b)
                similar = found >= 0
                forest.add(a[similar], b[similar], found[similar])
        if len(seen) + sum(map(len, made)) > memory // _PAIR_BYTES:
            seen = np.zeros(0, np.uint64)  # to score a pair again costs time, and nothing else
        else:
            seen = np.sort(np.concatenate([seen, *made]))
        if report is not None:
            report(1)
    return scored


def _passes(held: Held, band: int, fresh: NDArray[np.bool_] | None, neighbours: bool, memory: int) -> Iterator[Hashes]:
    """Yield the pairs of one band, one range of keys after another."""
    passes = max(1, -(-len(held) * _SORTED_BYTES // max(1, memory // 2)))
    if passes == 1:
        yield key_pairs(held.keys(band), fresh, neighbours)
        return
    edges = [(i << 64) // passes for i in range(passes + 1)]
    for low, high in pairwise(edges):
        keys, rows = held.keys_between(band, low, high - 1)
        a, b = unpack_pairs(key_pairs(keys, None if fresh is None else fresh[rows], neighbours))
        yield pack_pairs(rows[a], rows[b])


def estimated(held: Held, similarity: Callable[[Any, Any], NDArray[np.float32]], least: float) -> Score:
    """Return a score by signatures: the estimate, where it is not below the least."""

    def score(a: Ints, b: Ints) -> NDArray[np.float32]:
        found = similarity(held.signatures(a), held.signatures(b))
        return np.where(found >= np.float32(least), found, np.float32(-1))

    return score
