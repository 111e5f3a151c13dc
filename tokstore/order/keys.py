"""Keys and the integer mixer that every random choice of the order is made of (order.md 2).

A key is XXH64 of six named integers, so that any two purposes, epochs, lanes or windows have unrelated keys; the
mixer turns a key and a counter into 64 bits that look random. Nothing here has state.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from tokstore.wire import checksum

__all__ = [
    "COPIES",
    "GOLDEN",
    "GROUP",
    "ORDER_VERSION",
    "PACKING",
    "POOL",
    "SPANS",
    "TRANSFORM",
    "WINDOW",
    "derive_key",
    "mix",
]

ORDER_VERSION = 1
"""The version of order.md that this package draws by; every state carries it."""

GOLDEN = 0x9E37_79B9_7F4A_7C15
_M1 = np.uint64(0xBF58_476D_1CE4_E5B9)
_M2 = np.uint64(0x94D0_49BB_1331_11EB)
_S30, _S27, _S31 = np.uint64(30), np.uint64(27), np.uint64(31)
_FIELDS = struct.Struct("<6Q")

SPANS, WINDOW, POOL, GROUP, PACKING, COPIES, TRANSFORM = 1, 2, 3, 4, 5, 6, 7
"""Purposes of a key (order.md 2.2)."""


def derive_key(seed: int, purpose: int, epoch: int, lane: int = 0, window: int = 0, source: int = 0) -> int:
    """Return the 64-bit key of one random choice (order.md 2.2).

    Raises:
        ValueError: A field is no unsigned 64-bit integer.

    Example:
        >>> derive_key(0, SPANS, 0) == derive_key(0, SPANS, 1)
        False
    """
    fields = (seed, purpose, source, epoch, lane, window)
    if any(not 0 <= field < 1 << 64 for field in fields):
        raise ValueError(f"fields of a key are unsigned 64-bit integers, not {fields} (order.md 2.2)")
    return checksum(_FIELDS.pack(*fields))


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit integers one by one, as a bijection (order.md 2.1). Returns a new array.

    Example:
        >>> [hex(x) for x in mix(np.array([0, 1], np.uint64)).tolist()]
        ['0x0', '0x5692161d100b05e5']
    """
    out = values >> _S30
    out ^= values
    out *= _M1
    out ^= out >> _S27
    out *= _M2
    out ^= out >> _S31
    return out
