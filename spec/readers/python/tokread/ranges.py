"""Ranges: what the smallest and largest values of a group of values are (format.md 4.5)."""

from __future__ import annotations

import struct

from .conventions import bits, packed
from .failure import require
from .parameters import BF16, F16, F32, F64, TEXT
from .schema import FLOATS, SIGNED, Column, number_of

RULE = "format.md 4.5"
Bound = bytes | int | float
Range = tuple[Bound, Bound] | None


def parse(data: bytes, at: int, k: int, column: Column) -> tuple[list[Range], int]:
    """Read the ranges of k groups of a column of a known type."""
    size = (k + 7) // 8
    require(at + size <= len(data), "ranges do not fit", RULE)
    there = bits(data[at : at + size], k, "ranges", RULE)
    at += size
    if column.type == TEXT:
        return _text(data, at, there)
    letter = {F16: "f", BF16: "f", F32: "f", F64: "d"}.get(column.dtype, "q" if column.dtype in SIGNED else "Q")
    width = struct.calcsize("<" + letter)
    require(at + 2 * k * width <= len(data), "ranges do not fit", RULE)
    found: list[Range] = []
    for i in range(k):
        low = data[at + i * width : at + (i + 1) * width]
        high = data[at + (k + i) * width : at + (k + i + 1) * width]
        require(there[i] or not any(low + high), "a group without a range has bytes in it", RULE)
        found.append((struct.unpack("<" + letter, low)[0], struct.unpack("<" + letter, high)[0]) if there[i] else None)
    return found, at + 2 * k * width


def _text(data: bytes, at: int, there: list[bool]) -> tuple[list[Range], int]:
    k = len(there)
    lows, at = packed(data, at, k, 0, 32)
    highs, at = packed(data, at, k, 0, 32)
    parts: list[bytes] = []
    for length in lows + highs:
        require(at + length <= len(data), "ranges do not fit", RULE)
        parts.append(data[at : at + length])
        at += length
    for i in range(k):
        require(there[i] or not parts[i] + parts[k + i], "a group without a range has bytes in it", RULE)
    return [(parts[i], parts[k + i]) if there[i] else None for i in range(k)], at


def exactly(data: bytes, k: int, column: Column) -> list[Range]:
    """Read ranges that fill their bytes."""
    found, end = parse(data, 0, k, column)
    require(end == len(data), "bytes follow the ranges", RULE)
    return found


def of_numbers(values: list[int], dtype: int) -> Range:
    """Compute the range of the present values of a group."""
    numbers = [number_of(value, dtype) for value in values]
    numbers = [number for number in numbers if number == number]
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    if dtype in FLOATS:
        return (-0.0 if low == 0 else low, 0.0 if high == 0 else high)
    return (low, high)


def of_text(samples: list[bytes]) -> Range:
    """Compute the range of the present samples of a group."""
    if not samples:
        return None
    low, high = min(samples)[:32], max(samples)
    if len(high) > 32:
        high = high[:32].rstrip(b"\xff")
        if not high:
            return None
        high = high[:-1] + bytes([high[-1] + 1])
    return (low, high)


def check(found: Range, expected: Range, what: str) -> None:
    """Compare two ranges bit for bit."""
    require(_bits(found) == _bits(expected), f"the range of {what} is not that of its values", RULE)


def _bits(pair: Range) -> object:
    return pair and tuple(struct.pack("<d", bound) if isinstance(bound, float) else bound for bound in pair)
