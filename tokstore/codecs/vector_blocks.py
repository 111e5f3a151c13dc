"""The stored integers of vectors <-> blocks: planes for zstd, or lanes of the entropy coder (codecs.md 6.3, 6.4).

A lane is one dimension over the rows of a block, so that its table is fixed and a step of the coder gives one row.
What no table can code is an exception: the lane holds its cheapest symbol there, and a list overrides it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.contract import PLAIN, ZSTD, EncodedBlock, pack, split_form, unpack_coded
from tokstore.codecs.rans import LaneShape, LaneTables, decode_lanes, encode_lanes
from tokstore.codecs.vector_tables import SymbolTables
from tokstore.codecs.vector_transform import planes_of, values_of_planes, width_of
from tokstore.errors import CorruptError
from tokstore.format import MAX_BLOCK_BYTES
from tokstore.packed import decode_packed, encode_packed
from tokstore.wire import unpack

__all__ = ["LANES", "PLANES", "Block", "decode_blocks", "encode_lanes_of", "encode_planes"]

PLANES, LANES = 0, 1
_FORMS = frozenset({PLANES, LANES})
_PACKINGS = frozenset({PLAIN, ZSTD})
_WIDTHS = (1, 2, 4)
_MOST_ROWS = (1 << 16) - 1
_TOGETHER = 1 << 23
_COUNT = struct.Struct("<I")
_RULE = "codecs.md 6.4"
Stored = NDArray[np.int32]


class Block(NamedTuple):
    """A block to decode.

    Attributes:
        data: Its bytes.
        form: Its form byte.
        dims: Its dimensions, first and end.
        out: int32 [rows, dimensions], where its integers go.
    """

    data: memoryview
    form: int
    dims: tuple[int, int]
    out: Stored


def encode_planes(integers: Stored, zstd_level: int) -> EncodedBlock:
    """Encode one block as planes, dimension by dimension (codecs.md 6.3)."""
    turned = np.ascontiguousarray(integers.T)
    width = width_of(turned, _WIDTHS)
    coded = bytes([width]) + planes_of(turned, width)
    # Bytes with little to match are often smaller at level 1, which hardly looks for matches.
    tried = [pack(coded, PLANES, level, None) for level in sorted({1, zstd_level})]
    return min(tried, key=lambda one: len(one.data))


class _Plan(NamedTuple):
    """How the dimensions of a block are coded."""

    lanes: NDArray[np.int64]  # places in the block of the dimensions that have a lane
    numbers: NDArray[np.int64]  # the class of each
    shifts: NDArray[np.int32]
    firsts: NDArray[np.int32]

    @classmethod
    def of(cls, tables: SymbolTables, dims: tuple[int, int]) -> _Plan:
        """Look up the dimensions of a block."""
        classes = tables.class_of[dims[0] : dims[1]]
        lanes = np.flatnonzero(classes)
        numbers = classes[lanes] - 1
        return cls(lanes, numbers, tables.shifts[numbers].astype(np.int32), tables.firsts[numbers].astype(np.int32))

    def low_bytes(self, rows: int) -> int:
        """Return how many bytes the low bits take."""
        return int(self.shifts.sum()) * ((rows + 7) // 8)


def encode_lanes_of(
    tables: SymbolTables, blocks: Sequence[tuple[Stored, tuple[int, int]]]
) -> list[EncodedBlock | None]:
    """Encode blocks as lanes, jointly (codecs.md 6.4).

    Args:
        tables: Those of the model.
        blocks: Integers [rows, dimensions] of each, and its dimensions, first and end.

    Returns:
        The blocks; ``None`` for one that has too many rows for lanes.
    """
    heads: list[bytes | None] = []
    lanes: list[tuple[NDArray[np.uint16], LaneShape]] = []
    numbers = []
    for integers, dims in blocks:
        plan = _Plan.of(tables, dims)
        rows = len(integers)
        if rows > _MOST_ROWS:
            heads.append(None)
            continue
        symbols, before = _symbols(tables, plan, integers)
        heads.append(before)
        if len(plan.lanes):
            lanes.append((symbols, LaneShape(len(plan.lanes), rows, rows)))
            numbers.append(plan.numbers)
    coded: list[bytes | None] = []
    if lanes:
        coded = encode_lanes(tables.coder, lanes, LaneTables(np.concatenate(numbers)))
    rest = iter(coded)
    made: list[EncodedBlock | None] = []
    for (_, (first, end)), head in zip(blocks, heads, strict=True):
        tail = next(rest) if head is not None and tables.class_of[first:end].any() else b""
        made.append(None if head is None or tail is None else EncodedBlock(head + tail, LANES))
    return made


def _symbols(tables: SymbolTables, plan: _Plan, integers: Stored) -> tuple[NDArray[np.uint16], bytes]:
    """Return the symbols of the lanes of a block, [rows, lanes], and what stands before the lanes."""
    every = len(plan.lanes) == integers.shape[1]
    mine = integers if every else integers[:, plan.lanes]
    has_low = bool(plan.shifts.any())
    found = (mine >> plan.shifts if has_low else mine).astype(np.int64) - plan.firsts
    is_outside = (found < 0) | (found >= tables.sizes[plan.numbers])
    low = _encode_low(mine, plan.shifts) if has_low else b""
    if is_outside.any():
        found = np.where(is_outside, tables.modes[plan.numbers], found)
    if every:
        is_exception = is_outside
    else:
        is_exception = integers != 0
        is_exception[:, plan.lanes] = is_outside
    places = np.flatnonzero(is_exception)
    head = _COUNT.pack(len(places))
    if len(places):
        head += encode_packed(places) + encode_packed(integers.reshape(-1)[places])
    return found.astype(np.uint16), head + low


def _encode_low(mine: Stored, shifts: NDArray[np.int32]) -> bytes:
    """Lay out the low bits of lanes, lane by lane, plane by plane."""
    rows = len(mine)
    per = (rows + 7) // 8
    starts = (np.cumsum(shifts) - shifts).astype(np.int64)
    out = np.zeros((int(shifts.sum()), per), np.uint8)
    for bit in range(int(shifts.max())):
        has = np.flatnonzero(shifts > bit)
        planes = (mine[:, has].T >> bit & 1).astype(np.uint8)
        out[starts[has] + bit] = np.packbits(planes, axis=1, bitorder="little")
    return out.tobytes()


def _decode_low(data: memoryview, rows: int, shifts: NDArray[np.int32]) -> Stored:
    """Return the low bits of lanes, [rows, lanes]."""
    per = (rows + 7) // 8
    planes = np.frombuffer(data, np.uint8).reshape(-1, per)
    if rows % 8 and (planes[:, -1] >> (rows % 8)).any():
        raise CorruptError("low bits past the last row are set", rule=_RULE)
    starts = (np.cumsum(shifts) - shifts).astype(np.int64)
    low = np.zeros((len(shifts), rows), np.int32)
    for bit in range(int(shifts.max())):
        has = np.flatnonzero(shifts > bit)
        bits = np.unpackbits(planes[starts[has] + bit], axis=1, count=rows, bitorder="little")
        low[has] |= bits.astype(np.int32) << bit
    return low.T


class _Parsed(NamedTuple):
    """A block of lanes before they are decoded."""

    block: Block
    plan: _Plan
    places: NDArray[np.int64]
    values: NDArray[np.int64]
    low: memoryview
    lanes: memoryview


def decode_blocks(tables: SymbolTables | None, blocks: Sequence[Block]) -> None:
    """Decode blocks into their `out`, those of lanes jointly.

    Args:
        tables: Those of the model, if it has any.
        blocks: Blocks of any groups and runs.

    Raises:
        CorruptError: A block breaks codecs.md 6.3 or 6.4.
    """
    parsed = []
    for block in blocks:
        form, packing = split_form(block.form, _FORMS, _PACKINGS)
        if form == PLANES:
            _decode_planes(block, packing)
            continue
        if packing or tables is None:
            raise CorruptError("a block has lanes but is packed, or its column has no tables", rule=_RULE)
        parsed.append(_parse(tables, block))
    for batch in _batches(parsed):
        symbols = _decode_lanes(tables, batch)
        for one, lanes in zip(batch, symbols, strict=True):
            _fill(one, lanes)


def _batches(parsed: Sequence[_Parsed]) -> list[list[_Parsed]]:
    """Put blocks together that are decoded jointly: of similar length, since all become as long as the longest."""
    batches: list[list[_Parsed]] = []
    most = lanes = 0
    for one in sorted(parsed, key=lambda one: -len(one.block.out)):
        rows = len(one.block.out)
        lanes += len(one.plan.lanes)
        if not batches or 2 * rows < most or lanes * most > _TOGETHER:
            batches.append([])
            most, lanes = rows, len(one.plan.lanes)
        batches[-1].append(one)
    return batches


def _decode_lanes(tables: SymbolTables | None, batch: Sequence[_Parsed]) -> list[NDArray[np.uint16] | None]:
    """Return the symbols of blocks, [rows, lanes]; ``None`` for one without lanes."""
    given, numbers = [], []
    for one in batch:
        if len(one.plan.lanes):
            rows = len(one.block.out)
            given.append((one.lanes, LaneShape(len(one.plan.lanes), rows, rows)))
            numbers.append(one.plan.numbers)
    if tables is None or not given:
        return [None] * len(batch)
    found = iter(decode_lanes(tables.coder, given, LaneTables(np.concatenate(numbers))))
    return [next(found) if len(one.plan.lanes) else None for one in batch]


def _decode_planes(block: Block, packing: int) -> None:
    """Decode a block of planes."""
    n = block.out.size
    coded = memoryview(unpack_coded(block.data, packing, n + 1, 4 * n + 1))
    width = coded[0]
    if width not in _WIDTHS or len(coded) != width * n + 1:
        raise CorruptError(f"{n} integers of width {width} in {len(coded)} bytes", rule="codecs.md 6.3")
    block.out[...] = values_of_planes(coded[1:], width).reshape(block.out.shape[::-1]).T


def _parse(tables: SymbolTables, block: Block) -> _Parsed:
    """Check what stands before the lanes of a block."""
    rows, n = len(block.out), block.out.size
    plan = _Plan.of(tables, block.dims)
    if rows > _MOST_ROWS or len(block.data) > MAX_BLOCK_BYTES:
        raise CorruptError(f"lanes of {rows} rows in {len(block.data)} bytes", rule=_RULE)
    count = int(unpack(_COUNT, block.data)[0])
    if count > n:
        raise CorruptError(f"{count} exceptions in {n} integers", rule=_RULE)
    at = _COUNT.size
    places, used = decode_packed(block.data[at:], count)
    at += used
    values, used = decode_packed(block.data[at:], count)
    at += used
    if count and (int(places[0]) < 0 or int(places[-1]) >= n or (places[1:] <= places[:-1]).any()):
        raise CorruptError(f"the places of exceptions do not ascend from 0 to {n - 1}", rule=_RULE)
    if count and (int(values.min()) < -(1 << 31) or int(values.max()) >= 1 << 31):
        raise CorruptError("an exception is no i32", rule=_RULE)
    low_end = at + plan.low_bytes(rows)
    low, lanes = block.data[at:low_end], block.data[low_end:]
    if len(block.data) < low_end or (len(lanes) and not len(plan.lanes)):
        raise CorruptError(f"a block of lanes has {len(block.data)} bytes, which cannot be", rule=_RULE)
    return _Parsed(block, plan, places, values, low, lanes)


def _fill(one: _Parsed, symbols: NDArray[Any] | None) -> None:
    """Turn symbols into integers, and put the exceptions in."""
    out, plan = one.block.out, one.plan
    rows, dims = out.shape
    if symbols is None:
        out[...] = 0
    else:
        found = symbols + plan.firsts
        if plan.shifts.any():
            found = (found << plan.shifts) | _decode_low(one.low, rows, plan.shifts)
        if len(plan.lanes) == dims:
            out[...] = found
        else:
            out[...] = 0
            out[:, plan.lanes] = found
    if len(one.places):
        out[one.places // dims, one.places % dims] = one.values
