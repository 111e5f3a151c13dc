"""True Jaccard similarity of pairs of rows: of their sets of n-grams, all pairs of a batch at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.grams import gram_sets
from tokstore.dedup.mixing import U64
from tokstore.packed import Ints
from tokstore.ragged import ragged_index

__all__ = ["pair_similarity"]

_PAIRS = 4096
_STEPS = 1024


def pair_similarity(values: NDArray[Any], lengths: Ints, a: Ints, b: Ints, n: int, seed: int = 0) -> NDArray[Any]:
    """Return the Jaccard similarity of pairs of rows, rounded down to multiples of 1/1024.

    Args:
        values: Integers of all rows, one row after another.
        lengths: Values per row.
        a, b: The rows of each pair.
        n: Values of a gram.
        seed: What the hashes of grams follow from.

    Returns:
        float32, one per pair.

    Example:
        >>> pair_similarity(np.array([1, 2, 3, 1, 2, 4]), np.array([3, 3]), np.array([0]), np.array([1]), 1).tolist()
        [0.5]
    """
    hashes, counts = gram_sets(values, lengths, n, seed)
    starts = np.cumsum(counts) - counts
    found = np.zeros(len(a), np.float32)
    for first in range(0, len(a), _PAIRS):
        x, y = a[first : first + _PAIRS], b[first : first + _PAIRS]
        pair = np.arange(len(x)).astype(U64) << U64(52)
        keys = [
            (hashes[ragged_index(starts[side], counts[side])] >> U64(12)) | np.repeat(pair, counts[side])
            for side in (x, y)
        ]
        joined = np.sort(np.concatenate(keys))
        both = joined[:-1][joined[1:] == joined[:-1]] >> U64(52)
        common = np.bincount(both.view(np.int64), minlength=len(x))
        share = common / np.maximum(counts[x] + counts[y] - common, 1)
        found[first : first + _PAIRS] = np.floor(share * _STEPS) / _STEPS
    return found
