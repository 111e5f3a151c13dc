"""Numbers in one of seven value forms (codecs.md 3)."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from .conventions import packed_exactly, u32
from .failure import corrupt, require
from .frame import decompress
from .parameters import F16, F32, F64
from .schema import FLOATS, SIGNED, WIDTH

VALUES, PLANES, TURNED, PACKED, STEPS, PLANES_APART, TURNED_APART = range(7)
APART = (PLANES_APART, TURNED_APART)
RULE = "codecs.md 3"


def _plain(dtype: int, n: int) -> tuple[int, int]:
    return WIDTH[dtype] * n, WIDTH[dtype] * n


def _apart(dtype: int, n: int) -> tuple[int, int]:
    return 5 * WIDTH[dtype], 4 * WIDTH[dtype] + WIDTH[dtype] * n


NUMBER_FORMS: dict[int, Callable[[int, int], tuple[int, int]]] = {
    VALUES: _plain,
    PLANES: _plain,
    TURNED: _plain,
    PACKED: lambda _, n: (10, 10 + 8 * n),
    STEPS: lambda _, n: (18, 18 + 8 * n),
    PLANES_APART: _apart,
    TURNED_APART: _apart,
}
"""The smallest and the largest number of coded bytes of n values."""


def decode_numbers(value_form: int, coded: bytes, n: int, dtype: int, m: int) -> list[int]:
    """Give n values as bit patterns.

    Args:
        value_form: How they became bytes.
        coded: The coded bytes.
        n: How many there are.
        dtype: What they are.
        m: Values of a row, or of an item of a ragged column.
    """
    require(n % m == 0, f"{n} values do not fill rows of {m}", RULE)
    width = WIDTH[dtype]
    if value_form == PACKED:
        return _packed(coded, n, dtype)
    if value_form == STEPS:
        return _steps(coded, n, dtype)
    if value_form == VALUES:
        return [int.from_bytes(coded[i * width : (i + 1) * width], "little") for i in range(n)]
    if value_form in APART:
        coded = _join_planes(coded, n, width)
    values = [int.from_bytes(coded[i::n], "little") for i in range(n)]
    if value_form in (TURNED, TURNED_APART):
        rows = n // m
        values = [values[j * rows + i] for i in range(rows) for j in range(m)]
    return values


def _packed(coded: bytes, n: int, dtype: int) -> list[int]:
    """Read packed integers (value form 3)."""
    require(dtype not in FLOATS, "packed integers in a column of floats", RULE)
    bits = 8 * WIDTH[dtype]
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dtype in SIGNED or bits == 64 else (0, 2**bits - 1)
    return [value % 2**bits for value in packed_exactly(coded, n, low, high)]


def _steps(coded: bytes, n: int, dtype: int) -> list[int]:
    """Read multiples of a step (value form 4)."""
    require(dtype in (F16, F32, F64), f"steps in a column of dtype {dtype}", RULE)
    (step,) = struct.unpack("<d", coded[:8])
    require(0 < step < math.inf, f"a step is {step}", RULE)
    letter = {F16: "<e", F32: "<f", F64: "<d"}[dtype]
    found = []
    for k in packed_exactly(coded[8:], n, -(2**63), 2**63 - 1):
        number = float(k) * step
        try:
            raw = struct.pack(letter, number)
        except OverflowError:
            raw = struct.pack(letter, math.copysign(math.inf, number))
        found.append(int.from_bytes(raw, "little"))
    return found


def _join_planes(coded: bytes, n: int, width: int) -> bytes:
    """Read planes that are packed each on its own (3.1), and put them one behind the other."""
    lengths = [u32(coded, 4 * plane) for plane in range(width)]
    at = 4 * width
    if any(length > n for length in lengths) or at + sum(lengths) != len(coded):
        raise corrupt("the planes of a block do not fill it", "codecs.md 3.1")
    planes = []
    for length in lengths:
        plane = coded[at : at + length]
        planes.append(plane if length == n else decompress(plane, n, n))
        at += length
    return b"".join(planes)
