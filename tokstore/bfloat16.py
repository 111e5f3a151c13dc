"""bfloat16 as numpy does not have it: float32 <-> the upper half of its bits (format.md 2.1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["bfloat16_bits", "from_bfloat16"]

_QUIET = 0x40


def bfloat16_bits(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Return the nearest bfloat16 of each float32, ties to even, as its bits; NaN stays NaN, with its sign.

    Example:
        >>> [hex(one) for one in bfloat16_bits(np.float32([1, -2.5, float("nan")]))]
        ['0x3f80', '0xc020', '0x7fc0']
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    kept = (bits >> np.uint32(16)) | np.uint32(_QUIET)
    is_nan = (bits & np.uint32(0x7FFFFFFF)) > 0x7F800000
    return np.where(is_nan, kept, rounded).astype(np.uint16)


def from_bfloat16(bits: NDArray[Any]) -> NDArray[np.float32]:
    """Return the float32 that each bfloat16 is."""
    wide: NDArray[np.float32] = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return wide
