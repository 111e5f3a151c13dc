"""Permutations of 0 to n-1 from a key (order.md 3): one that knows single places, one that gives all of them at once.

`permute` is a Feistel network over unequal halves of the next power of two, walked until it lands below n: any place
can be asked alone and nothing is kept. `shuffled` sorts keyed hashes, which is faster where all places are needed
anyway.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokstore.order.keys import GOLDEN, mix

__all__ = ["MAX_ITEMS", "ROUNDS", "permute", "shuffled"]

ROUNDS = 6
MAX_ITEMS = 1 << 40
_MASK = (1 << 64) - 1
_AT_ONCE = 1 << 13
"""Items that are hashed at once: their arrays stay in a core's cache, and take no fresh memory for every step."""


def permute(places: NDArray[np.int64], n: int, key: int) -> NDArray[np.int64]:
    """Return which of 0 to n-1 stands at each place.

    Args:
        places: int64, each from 0 to n-1, any number of them.
        n: Size of the permuted range, 1 to 2**40.
        key: 64 bits, from `derive_key`.

    Raises:
        ValueError: n or a place is outside its range.

    Example:
        >>> sorted(permute(np.arange(5), 5, 7).tolist())
        [0, 1, 2, 3, 4]
    """
    if not 1 <= n <= MAX_ITEMS:
        raise ValueError(f"a permutation has 1 to 2**40 items, not {n} (order.md 3.1)")
    if places.size and (int(places.min()) < 0 or int(places.max()) >= n):
        raise ValueError(f"places go from 0 to {n - 1} (order.md 3.1)")
    if n == 1:
        return places.copy()
    bits = max(2, (n - 1).bit_length())
    found = _feistel(places.astype(np.uint64), bits, key)
    outside = np.flatnonzero(found >= n)
    while outside.size:
        found[outside] = _feistel(found[outside], bits, key)
        outside = outside[found[outside] >= n]
    return found.astype(np.int64)


def _feistel(x: NDArray[np.uint64], bits: int, key: int) -> NDArray[np.uint64]:
    """Permute the integers of `bits` bits: six rounds, the halves take turns (order.md 3.1)."""
    high_bits = bits // 2
    low_bits = np.uint64(bits - high_bits)
    low_mask = np.uint64((1 << int(low_bits)) - 1)
    high_mask = np.uint64((1 << high_bits) - 1)
    high, low = x >> low_bits, x & low_mask
    round_keys = mix(np.array([(key + (r + 1) * GOLDEN) & _MASK for r in range(ROUNDS)], np.uint64))
    for r in range(ROUNDS):
        if r % 2 == 0:
            high ^= mix(low ^ round_keys[r]) & high_mask
        else:
            low ^= mix(high ^ round_keys[r]) & low_mask
    return (high << low_bits) | low


def shuffled(n: int, key: int) -> NDArray[np.int64]:
    """Return 0 to n-1 in the order of their keyed hashes.

    The low bits of every hash are replaced by the item's own number, so that no two are equal and every sorting
    algorithm gives the same order (order.md 3.2).

    Args:
        n: Number of items, 0 to 2**40.
        key: 64 bits, from `derive_key`.

    Raises:
        ValueError: n is outside its range.

    Example:
        >>> sorted(shuffled(5, 7).tolist())
        [0, 1, 2, 3, 4]
    """
    if not 0 <= n <= MAX_ITEMS:
        raise ValueError(f"a permutation has 0 to 2**40 items, not {n} (order.md 3.2)")
    mask = np.uint64((1 << max(n - 1, 0).bit_length()) - 1)
    golden, first = np.uint64(GOLDEN), np.uint64((key + GOLDEN) & _MASK)
    hashes = np.empty(n, np.uint64)
    for at in range(0, n, _AT_ONCE):
        items = np.arange(at, min(at + _AT_ONCE, n), dtype=np.uint64)
        part = items * golden
        part += first
        part = mix(part)
        part &= ~mask
        np.bitwise_or(part, items, out=hashes[at : at + len(items)])
    hashes.sort()
    hashes &= mask
    return hashes.view(np.int64)
