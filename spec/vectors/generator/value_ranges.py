"""Ranges over groups of samples (format.md 4.5)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from .columns import FLOAT_FORMAT, WIDTH, Column, Sample
from .primitives import packed

Group = Sequence[Sample]


def ranges(column: Column, groups: Sequence[Group]) -> bytes:
    """Write the ranges of groups of samples of a column."""
    found = [_text(group) if column.type == 9 else _numbers(column, group) for group in groups]
    k = len(found)
    presence = bytearray((k + 7) // 8)
    for i, pair in enumerate(found):
        presence[i // 8] |= (pair is not None) << i % 8
    zero = b"" if column.type == 9 else bytes(8 if column.dtype in (1, 2, 3, 4, 5, 6, 7, 8, 12) else 4)
    lows = [pair[0] if pair else zero for pair in found]
    highs = [pair[1] if pair else zero for pair in found]
    lengths = b"".join(packed(list(map(len, part))) for part in (lows, highs)) if column.type == 9 else b""
    return bytes(presence) + lengths + b"".join(lows + highs)


def _numbers(column: Column, group: Group) -> tuple[bytes, bytes] | None:
    raw = [v.to_bytes(WIDTH[column.dtype], "little") for s in group for v in s or [] if not column.is_nan(v)]
    if not raw:
        return None
    if column.dtype in FLOAT_FORMAT:
        floats = [struct.unpack(FLOAT_FORMAT[column.dtype], x)[0] for x in raw]
        out = "<d" if column.dtype == 12 else "<f"
        return struct.pack(out, min(floats) or -0.0), struct.pack(out, max(floats) or 0.0)
    signed = 5 <= column.dtype <= 8
    whole = [int.from_bytes(x, "little", signed=signed) for x in raw]
    return min(whole).to_bytes(8, "little", signed=signed), max(whole).to_bytes(8, "little", signed=signed)


def _text(group: Group) -> tuple[bytes, bytes] | None:
    samples = sorted(bytes(s) for s in group if s is not None)
    if not samples:
        return None
    high = samples[-1]
    if len(high) > 32:
        at = next((i for i in range(31, -1, -1) if high[i] != 255), None)
        if at is None:
            return None
        high = high[:at] + bytes([high[at] + 1])
    return samples[0][:32], high
