"""Packed arrays of integers (format.md 2.3): a base, a width, byte planes; one cumulative sum to decode.

Planes keep the low, noisy bytes apart from the high, almost constant ones, which is what a later zstd pass needs; any
width from 0 to 8 costs the same few numpy calls.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from tokstore.errors import CorruptError

__all__ = ["PackedReader", "decode_packed", "encode_packed"]

_HEADER = struct.Struct("<BBq")
_OFFSETS, _DELTAS = 0, 1
Ints = NDArray[np.int64]


def encode_packed(values: NDArray[np.integer] | list[int]) -> bytes:
    """Encode integers of the i64 range, in the smaller of the two forms.

    Example:
        >>> encode_packed([5, 5, 7, 4]).hex(" ")
        '01 01 05 00 00 00 00 00 00 00 00 04 05'
    """
    array = np.ascontiguousarray(values, dtype=np.int64)
    if array.size == 0:
        return b""
    low = int(array.min())
    offsets = array.view(np.uint64) - np.uint64(low & (2**64 - 1))
    width = _bytes_for(int(offsets.max()))
    # Deltas are taken modulo 2**64, as the reader's sum is.
    raw = np.diff(array.view(np.uint64)).view(np.int64)
    deltas = ((raw << 1) ^ (raw >> 63)).view(np.uint64)
    delta_width = _bytes_for(int(deltas.max())) if deltas.size else 0
    if delta_width * deltas.size < width * array.size:
        return _HEADER.pack(_DELTAS, delta_width, int(array[0])) + _planes(deltas, delta_width)
    return _HEADER.pack(_OFFSETS, width, low) + _planes(offsets, width)


def _bytes_for(largest: int) -> int:
    """Return how many bytes hold an unsigned integer; none for zero."""
    return (largest.bit_length() + 7) // 8


def _planes(items: NDArray[np.uint64], width: int) -> bytes:
    """Lay out the lowest `width` bytes of the items plane by plane."""
    if sys_is_big_endian():
        items = items.byteswap()
    return items.view(np.uint8).reshape(-1, 8)[:, :width].T.tobytes()


def sys_is_big_endian() -> bool:
    """Tell whether this machine stores the highest byte first."""
    return np.little_endian is False


def decode_packed(data: bytes | memoryview, count: int) -> tuple[Ints, int]:
    """Decode a packed array of `count` integers from the start of `data`.

    Returns:
        The values (int64) and the number of bytes they took.

    Raises:
        CorruptError: The header breaks format.md 2.3, or `data` ends too early. Nothing is allocated before that is
            known.
    """
    if count == 0:
        return np.zeros(0, np.int64), 0
    if len(data) < _HEADER.size:
        raise CorruptError("a packed array has no room for its header", rule="format.md 2.3")
    form, width, base = _HEADER.unpack_from(data)
    if form not in (_OFFSETS, _DELTAS) or width > 8:
        raise CorruptError(f"a packed array has form {form} and width {width}", rule="format.md 2.3")
    items = count - form
    end = _HEADER.size + items * width
    if len(data) < end:
        raise CorruptError(f"a packed array needs {end} bytes, {len(data)} are there", rule="format.md 2.3")
    if not width or not items:
        return np.full(count, base, np.int64), end
    planes = np.frombuffer(data, np.uint8, items * width, _HEADER.size).reshape(width, items)
    # The narrowest integers that hold the items: lengths of samples have two bytes, and fresh memory is dear.
    narrow = next(size for size in (1, 2, 4, 8) if size >= width)
    wide = (np.empty if narrow == width else np.zeros)((items, narrow), np.uint8)
    for k in range(width):  # plane by plane: a transposed copy is five times as slow
        wide[:, k] = planes[k]
    unsigned = wide.view(f"<u{narrow}").reshape(items)
    if form == _OFFSETS:
        out = unsigned.astype(np.int64)
        out += base
        return out, end
    steps = unsigned.astype(np.uint64)
    out = np.empty(count, np.int64)
    out[0] = base
    np.cumsum((steps >> np.uint64(1)).view(np.int64) ^ -(steps & np.uint64(1)).view(np.int64), out=out[1:])
    out[1:] += base
    return out, end


class PackedReader:
    """Read packed arrays one after another from a section, and insist that all of it is used.

    Args:
        data: The section.
        what: Its name for messages.
        rule: The section of the spec.
    """

    def __init__(self, data: bytes | memoryview, what: str, rule: str) -> None:
        self._data, self._offset, self._what, self._rule = memoryview(data), 0, what, rule

    def packed(self, count: int, field: str, low: int = 0, high: int = 2**63 - 1) -> Ints:
        """Read one packed array of `count` values from `low` to `high`."""
        try:
            values, used = decode_packed(self._data[self._offset :], count)
        except CorruptError as error:
            raise CorruptError(f"{self._what}, {field}: {error.message}", rule=error.rule) from error
        self._offset += used
        if count and (int(values.min()) < low or int(values.max()) > high):
            raise CorruptError(f"{self._what}: {field} is outside {low} to {high}", rule=self._rule)
        return values

    def raw(self, nbytes: int, field: str) -> memoryview:
        """Take plain bytes."""
        end = self._offset + nbytes
        if end > len(self._data):
            raise CorruptError(f"{self._what}: {field} needs {nbytes} bytes", rule=self._rule)
        taken = self._data[self._offset : end]
        self._offset = end
        return taken

    def end(self) -> None:
        """Refuse bytes that nothing has used."""
        if self._offset != len(self._data):
            raise CorruptError(f"{self._what}: {len(self._data) - self._offset} bytes too many", rule=self._rule)
