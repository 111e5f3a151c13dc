"""Columns of a shape, of bits, of categories and of vectors (codecs.md 3, 6, 7)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .columns import FLOAT_FORMAT, WIDTH, Block, Column, Sample, store_bytes
from .datafile_writer import Stored
from .primitives import packed, u16, u32
from .zframe import frame

PLANES, TURNED, PACKED, STEPS, APART, TURNED_APART = range(1, 7)


def number_bytes(values: Sequence[int], dtype: int, form: int = 0, m: int = 1, step: float = 0.0) -> bytes:
    """Give the coded bytes of a block of bit patterns (codecs.md 3), of rows of m values."""
    width = WIDTH[dtype]
    raw = [value.to_bytes(width, "little") for value in values]
    if form == 0:
        return b"".join(raw)
    if form == PACKED:
        signed = dtype in (4, 5, 6, 7, 8)
        return packed([int.from_bytes(x, "little", signed=signed) for x in raw])
    if form == STEPS:
        numbers = [struct.unpack(FLOAT_FORMAT[dtype], x)[0] for x in raw]
        return struct.pack("<d", step) + packed([round(number / step) for number in numbers])
    if form in (TURNED, TURNED_APART):
        raw = [raw[at] for j in range(m) for at in range(j, len(raw), m)]
    planes = [bytes(x[plane] for x in raw) for plane in range(width)]
    if form in (PLANES, TURNED):
        return b"".join(planes)
    small = [min(frame(plane), plane, key=len) if len(frame(plane)) != len(plane) else plane for plane in planes]
    return b"".join(u32(len(plane)) for plane in small) + b"".join(small)


def bit_bytes(values: Sequence[int], form: int = 0) -> bytes:
    """Give the coded bytes of a block of bits (codecs.md 7)."""
    if form == 0:
        return sum(bit << i for i, bit in enumerate(values)).to_bytes((len(values) + 7) // 8, "little")
    runs = [0]
    for bit in values:
        if bit != (len(runs) - 1) % 2:
            runs.append(0)
        runs[-1] += 1
    return u32(len(runs)) + packed(runs)


def plane_bytes(rows: Sequence[Sequence[int]], width: int) -> bytes:
    """Give the coded bytes of a block of stored integers (codecs.md 6.3)."""
    zigzag = [2 * row[j] if row[j] >= 0 else -2 * row[j] - 1 for j in range(len(rows[0])) for row in rows]
    raw = [u.to_bytes(width, "little") for u in zigzag]
    return bytes([width]) + b"".join(bytes(x[plane] for x in raw) for plane in range(width))


def array(
    column_id: int,
    name: str,
    samples: Sequence[Sequence[int] | None],
    shape: Sequence[int],
    dtype: int,
    type_: int = 11,
    parameters: dict[int, Any] | None = None,
    form: int = 0,
    packing: int = 0,
    cuts: Sequence[int] | None = None,
    step: float = 0.0,
    **more: Any,
) -> Column:
    """Make a column of flat samples.

    Args:
        column_id: Its id.
        name: Its name.
        samples: Its samples, row by row.
        shape: The shape of a sample, with 0 for a ragged axis.
        dtype: The dtype of a value.
        type_: The number of its type.
        parameters: The parameters of its type; those of an `Array` if not given.
        form: The value form of its blocks.
        packing: Their packing.
        cuts: Their numbers of values; one block if not given.
        step: The step of value form 4.
        more: Further fields of `Column`.
    """
    rows: list[Sample] = [None if s is None else list(s) for s in samples]
    codec = 6 if dtype == 13 else 3 if type_ == 10 else 2
    parameters = {1: dtype, 2: list(shape)} if parameters is None else parameters
    options: dict[str, Any] = {"optional": False, "shape": list(shape)} | more
    column = Column(
        column_id, name, type_, parameters, codec, dtype, list(shape[:1]) == [0], samples=rows, blocks=[], **options
    )
    ends = column.ends or [column.width]
    at, values = 0, column.values
    for size in cuts or ([len(values)] if values else []):
        part = values[at : at + size]
        at += size
        for first, end in pairwise([0, *ends]):
            mine = [v for k in range(0, len(part), column.width) for v in part[k + first : k + end]]
            coded = bit_bytes(mine, form) if dtype == 13 else number_bytes(mine, dtype, form, end - first, step)
            nan = sum(map(column.is_nan, mine))
            column.blocks.append(Block(len(mine), form | packing, store_bytes(coded, packing), nan))
    return column


def exact_vectors(
    column_id: int, name: str, samples: Sequence[Sequence[int] | None], dtype: int, ends: list[int], **more: Any
) -> Column:
    """Make a column of vectors that are kept as they are."""
    parameters = {1: dtype, 2: ends[-1], 3: ends, 4: 0}
    return array(column_id, name, samples, [ends[-1]], dtype, 3, parameters, ends=ends, **more)


def turned_vectors(
    column_id: int,
    name: str,
    rows: list[list[int]],
    ends: list[int],
    method: dict[int, Any],
    width: int = 1,
    packing: int = 0,
    **more: Any,
) -> Column:
    """Make a column of stored integers in value form 0, with the first object of the file as its model."""
    parameters = {1: 11, 2: ends[-1], 3: ends} | method
    blocks = []
    for first, end in pairwise([0, *ends]):
        coded = plane_bytes([row[first:end] for row in rows], width)
        blocks.append(Block(len(rows) * (end - first), packing, store_bytes(coded, packing), 0))
    samples: list[Sample] = list(rows)
    options: dict[str, Any] = {"optional": False, "object": 0, "shape": [ends[-1]], "ends": ends} | more
    return Column(column_id, name, 3, parameters, 5, 11, False, samples=samples, blocks=blocks, **options)


def model(
    transform: int,
    dim: int,
    step: float = 1.0,
    numbers: Sequence[float] = (),
    rotation: Sequence[int] = (),
    width: int = 0,
    bits: int = 0,
) -> bytes:
    """Give the content of a vector model without tables (codecs.md 6.2)."""
    head = bytes([transform, width, bits, 0]) + u32(dim) + struct.pack("<d", step)
    axes = plane_bytes([list(rotation)], width)[1:] if rotation else b""
    return head + struct.pack(f"<{len(numbers)}f", *numbers) + axes + bytes(2) + u16(0)


def category_list(names: Sequence[str | bytes]) -> Stored:
    """Make a list of categories (codecs.md 3.3)."""
    raw = [name if isinstance(name, bytes) else name.encode() for name in names]
    return Stored(6, u32(len(raw)) + packed([len(x) for x in raw]) + b"".join(raw))


def category(column_id: int, name: str, values: Sequence[int | None], names: Sequence[str], **more: Any) -> Column:
    """Make a column of categories, with the first object of the file as its list."""
    rows = [None if value is None else [value] for value in values]
    options: dict[str, Any] = {"object": 0, "categories": list(names)} | more
    return array(column_id, name, rows, [], 2, 8, {}, **options)
