"""What groups of values hold: ranges, presence bits, NaN (format.md 4.4, 4.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.column_types import BFLOAT16, DTYPES, ColumnType, Text
from tokstore.errors import CorruptError
from tokstore.packed import PackedReader, encode_packed

__all__ = [
    "decode_ranges",
    "encode_ranges",
    "encode_ranges_of",
    "find_nans",
    "pack_bits",
    "range_dtype",
    "range_of",
    "range_of_texts",
    "unpack_bits",
]

_TEXT_RANGE_BYTES = 32


def find_nans(kind: ColumnType, values: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which values of a float type at rest are NaN; bf16 comes as its bits."""
    if kind.dtype_number == BFLOAT16:
        return np.asarray((values & 0x7FFF) > 0x7F80, bool)
    return np.asarray(np.isnan(values), bool)


def range_of(values: NDArray[Any]) -> tuple[Any, Any] | None:
    """Return the range of present, non-NaN numbers, or ``None`` if there are none (format.md 4.5)."""
    if values.dtype.kind == "f":
        values = values[~np.isnan(values)]
    if not values.size:
        return None
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        # Comparison cannot tell the zeros apart, so a range always takes the wider one.
        low = low if low != 0 else -abs(low)
        high = high if high != 0 else abs(high)
    return low, high


def range_of_texts(values: NDArray[np.uint8], starts: NDArray[np.int64]) -> tuple[bytes, bytes] | None:
    """Return the range of present texts (format.md 4.5): at most 32 bytes, of which the last were rounded outwards.

    Args:
        values: Bytes that the texts lie in.
        starts: First byte of each and the one after its last, in pairs: ``[[0, 3], [5, 5]]``.
    """
    if not len(starts):
        return None
    first, size = starts[:, 0], np.minimum(starts[:, 1] - starts[:, 0], _TEXT_RANGE_BYTES + 1)
    low, high = (_outermost(values, first, size, side) for side in (min, max))
    if len(high) > _TEXT_RANGE_BYTES:
        high = high[:_TEXT_RANGE_BYTES].rstrip(b"\xff")
        if not high:
            return None
        high = high[:-1] + bytes([high[-1] + 1])
    return low[:_TEXT_RANGE_BYTES], high


def _outermost(values: NDArray[np.uint8], first: NDArray[np.int64], size: NDArray[np.int64], side: Any) -> bytes:
    """Return the smallest or largest of texts that are cut, byte by byte, and few texts are left after some."""
    found = bytearray()
    rows = np.arange(len(first))
    while True:
        ended = size[rows] == len(found)
        if ended.all() or (side is min and ended.any()):
            return bytes(found)
        rows = rows[~ended]
        here = values[first[rows] + len(found)]
        wanted = here.min() if side is min else here.max()
        found.append(int(wanted))
        rows = rows[here == wanted]


def range_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which ranges of a value dtype are stored (registry.md 3)."""
    if dtype.kind == "f":
        return DTYPES[12] if dtype.itemsize == 8 else DTYPES[11]
    return DTYPES[4] if dtype.kind == "u" else DTYPES[8]


def encode_ranges(ranges: Sequence[tuple[Any, Any] | None], dtype: np.dtype[Any]) -> bytes:
    """Encode ranges of numbers over groups (format.md 4.5)."""
    wide = range_dtype(dtype)
    present = pack_bits(np.array([r is not None for r in ranges], bool))
    low = np.array([0 if r is None else r[0] for r in ranges], wide)
    high = np.array([0 if r is None else r[1] for r in ranges], wide)
    return present + low.tobytes() + high.tobytes()


def encode_ranges_of(kind: ColumnType, ranges: Sequence[tuple[Any, Any] | None]) -> bytes:
    """Encode ranges of a column of a type over groups (format.md 4.5)."""
    return _encode_texts(ranges) if isinstance(kind, Text) else encode_ranges(ranges, kind.dtype)


def _encode_texts(ranges: Sequence[tuple[bytes, bytes] | None]) -> bytes:
    """Encode ranges of texts over groups (format.md 4.5)."""
    sides = [[b"" if r is None else r[side] for r in ranges] for side in (0, 1)]
    lengths = [encode_packed(np.array([len(one) for one in side], np.int64)) for side in sides]
    return pack_bits(np.array([r is not None for r in ranges], bool)) + b"".join(lengths + sides[0] + sides[1])


def decode_ranges(
    reader: PackedReader, groups: int, kind: ColumnType
) -> tuple[NDArray[np.bool_], NDArray[Any], NDArray[Any]]:
    """Decode ranges: presence, minima, maxima; of text as arrays of bytes objects."""
    bits = np.frombuffer(reader.raw((groups + 7) // 8, "ranges"), np.uint8)
    if isinstance(kind, Text):
        lengths = [reader.packed(groups, "ranges", 0, _TEXT_RANGE_BYTES).tolist() for _ in range(2)]
        low, high = (np.array([bytes(reader.raw(n, "ranges")) for n in side] + [b""], object)[:-1] for side in lengths)
        present = unpack_bits(bits, groups)
        is_used = low.astype(bool) | high.astype(bool)
    else:
        wide = range_dtype(kind.dtype)
        raw = [reader.raw(groups * wide.itemsize, "ranges") for _ in range(2)]
        low, high = (np.frombuffer(side, wide) for side in raw)
        present = unpack_bits(bits, groups)
        whole = np.dtype(f"<u{wide.itemsize}")  # all bits count: the zero of an absent range is not -0.0
        is_used = (low.view(whole) | high.view(whole)) != 0
    if (is_used & ~present).any():
        raise CorruptError("a group without a range has bytes of one", rule="format.md 4.5")
    return present, low, high


def pack_bits(flags: NDArray[np.bool_]) -> bytes:
    """Encode presence bits (format.md 4.4)."""
    return np.packbits(flags, bitorder="little").tobytes()


def unpack_bits(data: NDArray[np.uint8], count: int) -> NDArray[np.bool_]:
    """Decode presence bits and check that the bits past the last one are zero."""
    bits = np.unpackbits(data, bitorder="little").astype(bool)
    if bits[count:].any():
        raise CorruptError("presence bits past the last row are set", rule="format.md 4.4")
    return bits[:count]
