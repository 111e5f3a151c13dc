"""LEB128 over whole arrays (codecs.md 2.2): at most five passes of numpy, no Python per value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.errors import CorruptError

__all__ = ["decode_leb128", "encode_leb128"]

_MAX_BYTES = 5


def encode_leb128(codes: NDArray[np.integer[Any]]) -> bytes:
    """Encode non-negative integers below 2**35 in the shortest form."""
    widest = int(codes.max()) if codes.size else 0
    steps = [1 << (7 * k) for k in range(1, _MAX_BYTES) if widest >= 1 << (7 * k)]
    if not steps:
        return codes.astype(np.uint8).tobytes()
    if len(steps) == 1:
        # Almost all blocks of text have ranks below 2**14: two bytes side by side and one selection.
        two = codes.astype(np.uint16)
        long = two >= 128
        pairs = ((two & 127) | (long.astype(np.uint16) << 7) | ((two >> 7) << 8)).astype("<u2").view(np.uint8)
        keep = np.ones(pairs.size, bool)
        keep[1::2] = long
        return pairs[keep].tobytes()
    wide = codes.astype(np.uint64)
    counts = np.ones(codes.size, np.int64)
    for step in steps:
        counts += wide >= step
    ends = np.cumsum(counts)
    starts = ends - counts
    out = np.empty(int(ends[-1]), np.uint8)
    for k in range(len(steps) + 1):
        has = np.flatnonzero(counts > k)
        more = (counts[has] > k + 1).astype(np.uint64) << np.uint64(7)
        out[starts[has] + k] = ((wide[has] >> np.uint64(7 * k)) & np.uint64(127)) | more
    return out.tobytes()


def decode_leb128(coded: bytes | memoryview, count: int) -> NDArray[np.int64]:
    """Decode exactly `count` integers that take exactly the bytes given.

    Raises:
        CorruptError: Another number of codes, a code of more than five bytes, or one that is not in its shortest form.
    """
    raw = np.frombuffer(coded, np.uint8)
    last = raw < 128
    ends = np.flatnonzero(last)
    if ends.size != count or (raw.size and not last[-1]):
        raise CorruptError(f"LEB128 bytes hold {ends.size} codes, not {count}", rule="codecs.md 2.2")
    out = raw.take(ends).astype(np.int64)
    if count == raw.size:
        return out
    # Backwards from the last byte of every code: each step adds the byte before it to those codes that have one. A
    # zero in front lets the first code look back; it is below 128, so that it ends the code like any other last byte.
    padded = np.concatenate([np.zeros(_MAX_BYTES, np.uint8), raw])
    before = padded[_MAX_BYTES - 1 :].take(ends)
    longer = before >= 128
    if bool((longer & (out == 0)).any()):
        raise CorruptError("a LEB128 code is not in its shortest form", rule="codecs.md 2.2")
    # Almost all codes of text have one or two bytes, so the first step is made for all of them at once.
    out = np.where(longer, out << 7 | before & 127, out)
    where = np.flatnonzero(longer)
    for back in range(2, _MAX_BYTES + 1):
        before = padded[_MAX_BYTES - back :].take(ends[where])
        where = where[before >= 128]
        if not where.size:
            return out
        if back == _MAX_BYTES:
            raise CorruptError(f"a LEB128 code has more than {_MAX_BYTES} bytes", rule="codecs.md 2.2")
        out[where] = out[where] << 7 | before[before >= 128] & 127
    return out
