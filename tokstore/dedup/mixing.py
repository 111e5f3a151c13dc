"""64-bit mixing and seeded constants: what digests and signatures of samples are made of.

All arithmetic is modulo 2**64 on unsigned numbers. The constants and the sequence are those of SplitMix64 (Steele, Lea,
Flood: Fast Splittable Pseudorandom Number Generators, 2014), so that no value depends on a version of numpy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["U64", "Hashes", "constants", "mix", "stir"]

Hashes = NDArray[np.uint64]
U64 = np.uint64
_GOLDEN, _MASK = 0x9E3779B97F4A7C15, 2**64 - 1
_FIRST, _SECOND = U64(0xBF58476D1CE4E5B9), U64(0x94D049BB133111EB)
_30, _27, _31, _32 = U64(30), U64(27), U64(31), U64(32)


def mix(values: NDArray[Any]) -> Hashes:
    """Return well-mixed 64-bit numbers, different ones for different values.

    Example:
        >>> len(set(mix(np.arange(1000)).tolist()))
        1000
    """
    x = values.astype(U64)
    x ^= x >> _30
    x *= _FIRST
    x ^= x >> _27
    x *= _SECOND
    x ^= x >> _31
    return x


def stir(x: Hashes, spare: Hashes) -> None:
    """Mix numbers in place, in one multiplication: enough for what is a sum of products already.

    Args:
        x: The numbers.
        spare: Room of the same size.
    """
    np.right_shift(x, _32, out=spare)
    np.bitwise_xor(x, spare, out=x)
    np.multiply(x, U64(_GOLDEN), out=x)


def constants(seed: int, count: int, purpose: int) -> Hashes:
    """Return odd 64-bit constants.

    Args:
        seed: 0 to 2**64 - 1.
        count: How many.
        purpose: Another number for every use, so that no two uses share constants.

    Example:
        >>> constants(0, 2, 1).tolist() == constants(0, 3, 1)[:2].tolist()
        True
    """
    start = (seed ^ (purpose * 0xD1342543DE82EF95)) & _MASK
    steps = np.array([(start + (i + 1) * _GOLDEN) & _MASK for i in range(count)], U64)
    return mix(steps) | U64(1)
