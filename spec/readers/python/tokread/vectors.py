"""Vectors: their model, the integers of one block, and the numbers these stand for (codecs.md 6)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from itertools import pairwise

from .conventions import check_zero, packed, u16, u32
from .failure import corrupt, require
from .frame import decompress

SCALES, STEP, ROTATION = 1, 2, 3
MOST = 16 * 2**20
MODEL = "codecs.md 6.2"
PLANES = "codecs.md 6.3"
LANES = "codecs.md 6.4"
CODER = "codecs.md 5.2"


@dataclass
class Class:
    """How the integers of some dimensions become symbols, and how often each symbol occurs."""

    shift: int
    first: int
    frequencies: list[int]


@dataclass
class VectorModel:
    """The object of a column of vectors."""

    transform: int
    dim: int
    step: float
    bits: int = 0
    scale: list[float] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    rotation: list[int] = field(default_factory=list)
    log: int = 0
    class_of: list[int] = field(default_factory=list)
    classes: list[Class] = field(default_factory=list)


def parse_model(data: bytes, dim: int) -> VectorModel:
    """Read the content of an object of kind 4 (6.2)."""
    require(len(data) >= 16, "a vector model ends in its header", MODEL)
    transform, width, bits = data[0], data[1], data[2]
    require(transform in (SCALES, STEP, ROTATION), f"there is no transform {transform}", MODEL)
    check_zero(data[3:4], "a vector model", MODEL)
    require(u32(data, 4) == dim, f"a vector model of {u32(data, 4)} dimensions for a column of {dim}", MODEL)
    require(dim <= (8192 if transform == ROTATION else 65535), f"a vector has {dim} dimensions", MODEL)
    (step,) = struct.unpack("<d", data[8:16])
    require(2.0**-126 <= step <= 2.0**127, "the step is out of bounds", MODEL)
    require(transform != SCALES or step == 1.0, "there are scales and a step", MODEL)
    require(width in ((1, 2) if transform == ROTATION else (0,)), f"a rotation of width {width}", MODEL)
    require(bits <= (14 if transform == ROTATION else 0), f"a rotation of {bits} bits", MODEL)
    model = VectorModel(transform, dim, step, bits)
    at = 16
    if transform != STEP:
        require(at + 4 * dim <= len(data), "scales or mean do not fit", MODEL)
        numbers = list(struct.unpack(f"<{dim}f", data[at : at + 4 * dim]))
        require(all(map(math.isfinite, numbers)), "a scale or mean is not finite", MODEL)
        at += 4 * dim
        if transform == SCALES:
            require(min(numbers) > 0, "a scale is not above zero", MODEL)
            model.scale = numbers
        else:
            model.mean = numbers
            require(at + width * dim * dim <= len(data), "the rotation does not fit", MODEL)
            model.rotation = planes(data[at : at + width * dim * dim], width)
            at += width * dim * dim
    _parse_tables(model, data, at)
    return model


def _parse_tables(model: VectorModel, data: bytes, at: int) -> None:
    """Read classes and frequencies, from `at` to the end."""
    require(at + 4 <= len(data), "a vector model ends before its tables", MODEL)
    log, k = data[at], u16(data, at + 2)
    check_zero(data[at + 1 : at + 2], "the tables", MODEL)
    at += 4
    require(log == 0 or 8 <= log <= 15, f"tables of log {log}", MODEL)
    require(k <= (min(1024, model.dim) if log else 0), f"there are {k} classes", MODEL)
    require(k << log <= 2**22, f"tables of {k << log} slots", "format.md 11")
    model.log = log
    if log:
        model.class_of, at = packed(data, at, model.dim, 0, k)
        shifts, at = packed(data, at, k, 0, 24)
        firsts, at = packed(data, at, k, -(2**31), 2**31 - 1)
        sizes, at = packed(data, at, k, 1, 256)
        frequencies, at = packed(data, at, sum(sizes), 1, 2**log)
        for shift, first, size in zip(shifts, firsts, sizes, strict=True):
            mine, frequencies = frequencies[:size], frequencies[size:]
            require(sum(mine) == 2**log, "frequencies of a class have another sum", MODEL)
            require(first * 2**shift >= -(2**31), "a class begins below what an i32 holds", MODEL)
            require((first + size) * 2**shift <= 2**31, "a class ends above what an i32 holds", MODEL)
            model.classes.append(Class(shift, first, mine))
    require(at == len(data), "bytes follow a vector model", MODEL)


def planes(data: bytes, width: int) -> list[int]:
    """Give the integers of planes (6.3)."""
    n = len(data) // width
    zigzag = [int.from_bytes(data[i::n], "little") for i in range(n)]
    return [u // 2 if u % 2 == 0 else -(u + 1) // 2 for u in zigzag]


def decode_vectors(model: VectorModel, first: int, end: int, form: int, n: int, stored: bytes) -> list[list[int]]:
    """Give the integers of a block, row by row.

    Args:
        model: The object of the column.
        first: The first dimension of the group.
        end: The dimension after its last.
        form: The form byte of the block.
        n: How many values the block has.
        stored: The bytes of the block.
    """
    m = end - first
    require(n % m == 0, f"{n} values do not fill rows of {m}", "codecs.md 6")
    rows = n // m
    require(form in (0x00, 0x10, 0x01), f"vectors have no form {form:#04x}", "codecs.md 1")
    if form & 15 == 0:
        if form >> 4:
            coded = decompress(stored, n + 1, min(4 * n + 1, MOST))
        else:
            require(n + 1 <= len(stored) <= min(4 * n + 1, MOST), f"{n} integers in {len(stored)} bytes", PLANES)
            coded = stored
        width = coded[0]
        require(width in (1, 2, 4), f"planes of width {width}", PLANES)
        require(len(coded) == width * n + 1, f"{n} integers of width {width} in {len(coded)} bytes", PLANES)
        values = planes(coded[1:], width)
        return [[values[j * rows + i] for j in range(m)] for i in range(rows)]
    return _decode_lanes(model, model.class_of[first:end], rows, stored)


def _decode_lanes(model: VectorModel, class_of: list[int], rows: int, data: bytes) -> list[list[int]]:
    """Read a block of value form 1 (6.4)."""
    m = len(class_of)
    n = rows * m
    require(model.log > 0, "a block has lanes, and the model no tables", LANES)
    require(rows <= 65535, f"lanes of {rows} rows", LANES)
    require(4 <= len(data) <= MOST, f"lanes in {len(data)} bytes", LANES)
    e = u32(data, 0)
    require(e <= n, f"{e} exceptions in {n} integers", LANES)
    places, at = packed(data, 4, e, 0, n - 1)
    values, at = packed(data, at, e, -(2**31), 2**31 - 1)
    for one, other in pairwise(places):
        require(one < other, "the places of exceptions do not ascend", LANES)
    with_lane = [j for j in range(m) if class_of[j]]
    classes = [model.classes[class_of[j] - 1] for j in with_lane]
    low = []
    for each in classes:
        mine = [0] * rows
        for bit in range(each.shift):
            size = (rows + 7) // 8
            require(at + size <= len(data), "the low bits do not fit", LANES)
            plane = int.from_bytes(data[at : at + size], "little")
            require(plane >> rows == 0, "low bits past the last row are set", LANES)
            for i in range(rows):
                mine[i] |= (plane >> i & 1) << bit
            at += size
        low.append(mine)
    out = [[0] * m for _ in range(rows)]
    if with_lane:
        tables = [each.frequencies for each in classes]
        symbols = lanes(data[at:], tables, rows, model.log)
        for lane, j in enumerate(with_lane):
            each = classes[lane]
            for i in range(rows):
                out[i][j] = ((each.first + symbols[lane][i]) << each.shift) + low[lane][i]
    else:
        require(at == len(data), "bytes follow a block without lanes", LANES)
    for place, value in zip(places, values, strict=True):
        out[place // m][place % m] = value
    return out


def lanes(data: bytes, tables: list[list[int]], length: int, log: int) -> list[list[int]]:
    """Decode lanes of equal length, each with one table for all of its symbols (5.2)."""
    count = len(tables)
    require(len(data) >= 2 + 4 * count and len(data) % 2 == 0, f"lanes in {len(data)} bytes", CODER)
    tail = u16(data, 0)
    require(tail <= length, f"a tail of {tail} symbols in lanes of {length}", CODER)
    states = [u32(data, 2 + 4 * lane) for lane in range(count)]
    at = 2 + 4 * count
    if tail < length:
        for state in states:
            require(state >= 2**16, "a state is below 2^16", CODER)
    symbols: list[list[int]] = [[] for _ in tables]
    for left in range(length, -1, -1):
        if left == tail and tail < length:
            states = [state - 2**16 for state in states]
        if left == 0:
            break
        for lane, table in enumerate(tables):
            state = states[lane]
            slot = state % 2**log
            symbol = start = 0
            while slot >= start + table[symbol]:
                start += table[symbol]
                symbol += 1
            symbols[lane].append(symbol)
            state = table[symbol] * (state >> log) + slot - start
            if state < 2**16 and left > tail:
                require(at + 2 <= len(data), "the words of lanes end too early", CODER)
                state = state << 16 | u16(data, at)
                at += 2
            states[lane] = state
    if any(states) or at != len(data):
        raise corrupt("the lanes of a block do not end where its words do", CODER)
    return symbols


def vectors(model: VectorModel, rows: list[list[int]]) -> list[list[float]]:
    """Give the numbers that all integers of rows stand for (6.1)."""
    if model.transform != ROTATION:
        return coordinates(model, rows)
    d = range(model.dim)
    unit = model.step * 2.0**-model.bits
    return [[model.mean[i] + unit * sum(q[j] * model.rotation[i * model.dim + j] for j in d) for i in d] for q in rows]


def coordinates(model: VectorModel, rows: list[list[int]]) -> list[list[float]]:
    """Give the coordinates that the first integers of rows stand for (6.1)."""
    if model.transform == SCALES:
        return [[q * scale for q, scale in zip(row, model.scale, strict=False)] for row in rows]
    return [[q * model.step for q in row] for row in rows]
