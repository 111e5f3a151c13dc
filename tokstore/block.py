"""Rows of one column and their blocks: where blocks end, and what their table says (format.md 4.3-4.5).

Everything here is a pure function of arrays; files begin in `tokstore.shard`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.column_types import MAX_ROW_VALUES, Category, ColumnType, Score, UnknownType, Vector
from tokstore.errors import CorruptError, UnsupportedError
from tokstore.format import (
    FLAG_GROUPS,
    FLAG_OPTIONAL,
    FLAG_RAGGED,
    FLAG_RANGES,
    MAX_BLOCK_VALUES,
    MAX_BLOCKS,
    MAX_RUN_VALUES,
    SPAN_VALUES,
    check_feature_bits,
)
from tokstore.packed import Ints, PackedReader, encode_packed
from tokstore.ranges import decode_ranges

__all__ = [
    "BlockTable",
    "ColumnRows",
    "Spans",
    "block_values",
    "check_entry",
    "check_layout",
    "cut_fixed",
    "cut_ragged",
    "find_spans",
    "first_rows",
    "part_bounds",
    "spans_of",
]


_FAR = 1 << 62  # beyond any file, and two of them make no more than an i64 holds


@dataclass
class ColumnRows:
    """The rows of one column: values one after another, lengths if it is ragged, presence if it is optional.

    Attributes:
        values: Flat array of the column's dtype; missing rows of fixed shape hold zero.
        lengths: int64 values per row, or ``None`` where every row has `width` of them.
        valid: bool per row, or ``None`` where nothing may be missing.
        width: Values of a row of fixed shape.
    """

    values: NDArray[Any]
    lengths: Ints | None
    valid: NDArray[np.bool_] | None
    width: int = 1

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.values) // self.width if self.lengths is None else len(self.lengths)


def block_values(kind: ColumnType) -> int:
    """Return how many values a block should have, whole rows or items of the first axis (registry.md 5)."""
    if kind.block_rows is not None:
        return kind.width * max(1, min(kind.block_rows, MAX_ROW_VALUES // kind.width))
    return max(kind.width, kind.block_target - kind.block_target % kind.width)


def cut_ragged(lengths: Ints, target: int) -> list[int]:
    """Return block boundaries in values, from 0 to the end, for a ragged column (format.md 4.3).

    One step of Python per block, none per sample.
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if ends.size else 0
    long = np.flatnonzero(lengths > 2 * target).tolist()
    bounds, position, next_long = [0], 0, 0
    while position < total:
        row = int(np.searchsorted(ends, position + target))
        end = int(ends[row]) if row < len(ends) else total
        if next_long < len(long) and long[next_long] <= row:
            cut = long[next_long]
            end = int(ends[cut])
            start = end - int(lengths[cut])
            if start > position:
                bounds.append(start)
            while end - start > 2 * target:
                start += target
                bounds.append(start)
            next_long += 1
        bounds.append(end)
        position = end
    return bounds


def cut_fixed(rows: int, target: int, span_ends: Ints, width: int = 1) -> list[int]:
    """Return block boundaries in rows for a column of fixed shape (format.md 4.3).

    Args:
        rows: Rows of the file.
        target: Rows a block should have.
        span_ends: Rows at which spans end, ascending; the last is `rows` unless there are none.
        width: Values of a row.
    """
    most = min(4 * target, MAX_BLOCK_VALUES // width)
    bounds, position = [0], 0
    while position < rows:
        at = int(np.searchsorted(span_ends, position + target))
        end = int(span_ends[at]) if at < len(span_ends) else rows
        if end - position > most:
            end = position + target  # spans of very many rows: a block need not hold them all
        bounds.append(end)
        position = end
    return bounds


def find_spans(values_per_block: Ints) -> list[int]:
    """Return the block numbers at which spans begin, with the number of blocks at the end (format.md 7.3)."""
    starts, held = [0], 0
    for block, count in enumerate(values_per_block.tolist()):
        if held >= SPAN_VALUES:
            starts.append(block)
            held = 0
        held += count
    if len(values_per_block):
        starts.append(len(values_per_block))
    return starts


@dataclass(frozen=True)
class Spans:
    """Spans of shards (format.md 8.4): arrays of equal length.

    Attributes:
        blocks: Blocks of the primary column.
        samples: Samples that begin in the span.
        values: Values of the primary column.
        lead: Values at its start that belong to a sample that began earlier.
    """

    blocks: Ints
    samples: Ints
    values: Ints
    lead: Ints


def _steps(edges: Sequence[int] | Ints) -> Ints:
    """Return the differences of ascending numbers."""
    array = np.asarray(edges, np.int64)
    return array[1:] - array[:-1]


def spans_of(bounds: Sequence[int], lengths: Ints | None, rows: int) -> Spans:
    """Return the spans of one shard from the blocks and lengths of its primary column (format.md 7.3)."""
    starts = find_spans(_steps(bounds))
    if len(starts) < 2:
        one = np.ones(min(rows, 1), np.int64)
        return Spans(0 * one, rows * one, 0 * one, 0 * one)
    edges = np.asarray(bounds, np.int64)[starts]
    if lengths is None:
        begins, lead = edges[:-1].copy(), np.zeros(len(edges) - 1, np.int64)
    else:
        row_starts = np.concatenate([[0], np.cumsum(lengths)])
        # A sample begins in the span that holds its first value, or the value after it if it has none.
        begins = np.searchsorted(row_starts[:-1], edges[:-1], side="left").astype(np.int64)
        lead = np.minimum(row_starts[begins], edges[1:]) - edges[:-1]
    samples = _steps(np.append(begins, rows))
    return Spans(_steps(starts), samples, _steps(edges), lead)


def part_bounds(kind: ColumnType, table: BlockTable, rows: int) -> list[int]:
    """Return where the parts of a column begin: in values of a ragged column, in rows of one of fixed shape; with the
    end of the last."""
    if kind.ragged:
        return [int(start) for start in table.value_starts]
    starts = table.first_row[:: len(kind.groups)].tolist()
    return [*starts, rows] if starts else [0]


def first_rows(bounds: Sequence[int], lengths: Ints | None, width: int = 1) -> Ints:
    """Return for every block the row that holds its first value."""
    starts = np.asarray(bounds[:-1], np.int64)
    if lengths is None:
        return starts // width
    return np.searchsorted(np.cumsum(lengths), starts, side="right").astype(np.int64)


@dataclass(frozen=True)
class BlockTable:
    """The table of one column in one file (format.md 4.5). All arrays have one item per block.

    Attributes:
        value_starts: First value of every block, with the number of values at the end (one item more).
        ranges: Presence, minima, maxima; ``None`` where the column has none.
    """

    offsets: Ints
    stored_bytes: Ints
    values: Ints
    first_row: Ints
    forms: Ints
    checksums: NDArray[np.uint64]
    missing: Ints | None
    nans: Ints | None
    ranges: tuple[NDArray[np.bool_], NDArray[Any], NDArray[Any]] | None
    value_starts: Ints

    def whole_range(self) -> tuple[Any, Any] | None:
        """Return the range over all blocks, or ``None`` if there is none."""
        if self.ranges is None or not self.ranges[0].any():
            return None
        present, low, high = self.ranges
        return low[present].min(), high[present].max()

    @staticmethod
    def encode(
        offsets: Ints,
        stored_bytes: Ints,
        values: Ints,
        first_row: Ints,
        forms: Ints,
        checksums: Sequence[int],
        missing: Ints | None,
        nans: Ints | None,
        ranges: bytes,
    ) -> bytes:
        """Return the bytes of a table, before compression."""
        parts: list[Ints] = [offsets, stored_bytes, values, first_row, forms]
        counts = [part for part in (missing, nans) if part is not None]
        return b"".join(
            [
                *(encode_packed(part) for part in parts),
                np.asarray(checksums, "<u8").tobytes(),
                *(encode_packed(part) for part in counts),
                ranges,
            ]
        )

    @classmethod
    def decode(cls, content: bytes | memoryview, entry: Any, kind: ColumnType) -> BlockTable:
        """Parse and check the table of a column entry."""
        blocks, flags = int(entry["blocks"]), int(entry["flags"])
        if blocks > MAX_BLOCKS:
            raise CorruptError(f"a column of {blocks} blocks", rule="format.md 11")
        if len(content) < 8 * blocks:  # checksums alone take that much: no array is made for a count that lies
            raise CorruptError(f"a table of {len(content)} bytes for {blocks} blocks", rule="format.md 4.5")
        reader = PackedReader(content, "table", "format.md 4.5")
        offsets = reader.packed(blocks, "offset", 0, _FAR)
        stored = reader.packed(blocks, "stored_bytes", 0, _FAR)
        values = reader.packed(blocks, "values", 1, MAX_BLOCK_VALUES)
        first_row = reader.packed(blocks, "first_row", 0, max(0, int(entry["rows"]) - 1))
        forms = reader.packed(blocks, "form", 0, 255)
        checksums = np.frombuffer(reader.raw(8 * blocks, "checksum"), "<u8")
        missing = reader.packed(blocks, "missing") if flags & FLAG_OPTIONAL else None
        nans = ranges = None
        if not isinstance(kind, UnknownType):  # what else the table of another type has is not known
            nans = reader.packed(blocks, "nan") if kind.has_nan else None
            if isinstance(kind, Score) and nans is not None and not kind.optional and nans.any():
                raise CorruptError("a score that is not optional has NaN", rule="registry.md 1")
            ranges = decode_ranges(reader, blocks, kind) if flags & FLAG_RANGES else None
            reader.end()
        starts = np.zeros(blocks + 1, np.int64)
        np.cumsum(values, out=starts[1:])
        if int(starts[-1]) != int(entry["values"]) or int(stored.sum()) != int(entry["stored_bytes"]):
            raise CorruptError("values or bytes of the blocks do not add up", rule="format.md 4.5")
        if blocks and (np.diff(first_row) < 0).any():
            raise CorruptError("first rows of blocks descend", rule="format.md 4.5")
        if not isinstance(kind, UnknownType):
            _check_rows_of_blocks(kind, int(entry["rows"]), values, first_row)
        return cls(offsets, stored, values, first_row, forms, checksums, missing, nans, ranges, starts)


def _check_rows_of_blocks(kind: ColumnType, rows: int, values: Ints, first_row: Ints) -> None:
    """Check that blocks hold whole rows or items, and that those of groups come in runs (format.md 4.3)."""
    groups = len(kind.groups)
    if groups == 1:
        if kind.width > 1 and (values % kind.width).any():
            raise CorruptError("a block ends inside a row", rule="format.md 4.3")
        if not kind.ragged and ((np.cumsum(values) - values) // kind.width != first_row).any():
            raise CorruptError("first rows of blocks are not where their values begin", rule="format.md 4.5")
        return
    if len(values) % groups:
        raise CorruptError(f"{len(values)} blocks are no whole runs of {groups} groups", rule="format.md 4.3")
    if len(values) and int(values.reshape(-1, groups).sum(axis=1).max()) > MAX_RUN_VALUES:
        raise CorruptError(f"the blocks of a run have more than {MAX_RUN_VALUES} values", rule="format.md 11")
    runs = first_row.reshape(-1, groups)
    edges = np.append(runs[:, 0], rows)
    expected = np.diff(edges)[:, None] * np.diff((0, *kind.groups))
    is_right = (runs == runs[:, :1]).all() and (values.reshape(-1, groups) == expected).all()
    if not is_right or (len(runs) and int(runs[0, 0])):
        raise CorruptError("blocks of groups do not hold the same whole rows", rule="format.md 4.3")


def check_layout(kind: ColumnType, entry: Any) -> None:
    """Refuse a column entry that does not fit the schema, or whose features this version does not know; what passes has
    a table and a rows section that can be read, whatever its codec.

    Args:
        kind: The column's type in the schema.
        entry: Its column entry (`COLUMN_ENTRY`).
    """
    check_feature_bits(int(entry["features"][2]), "the column")
    flags = int(entry["flags"])
    if flags & FLAG_OPTIONAL and not kind.optional:
        raise CorruptError("a column that is not optional has validity bits", rule="format.md 4.7")
    if flags & FLAG_RANGES and isinstance(kind, (Category, Vector)):
        raise CorruptError("a column has ranges that its type cannot have", rule="format.md 4.5")
    if isinstance(kind, UnknownType):
        if int(entry["type"]) != kind.type_number:
            raise CorruptError("the file and the schema disagree on the type of a column", rule="format.md 4.7")
        return
    if int(entry["type"]) != kind.number or int(entry["dtype"]) != kind.dtype_number:
        raise CorruptError("the file and the schema disagree on the type of a column", rule="format.md 4.7")
    if bool(flags & FLAG_RAGGED) != kind.ragged:
        raise CorruptError("the ragged flag does not fit the type of a column", rule="format.md 4.7")
    if bool(flags & FLAG_GROUPS) != (len(kind.groups) > 1):
        raise CorruptError("the groups flag does not fit the type of a column", rule="format.md 4.7")
    values, rows, width = int(entry["values"]), int(entry["rows"]), kind.width
    if not kind.ragged and values != rows * width:
        raise CorruptError(f"{values} values in {rows} rows of {width}", rule="format.md 4.7")
    if kind.ragged and values % width:
        raise CorruptError(f"{values} values are no whole items of {width}", rule="format.md 4.7")


def check_entry(kind: ColumnType, entry: Any) -> None:
    """Refuse a column entry whose values this version cannot read; see `check_layout` for the arguments."""
    check_layout(kind, entry)
    if isinstance(kind, UnknownType):
        raise UnsupportedError(
            f"the column has type {kind.type_number}, which this version does not know",
            rule="registry.md 1",
            hint="use a newer tokstore",
        )
    codec = int(entry["codec"])
    if codec not in kind.codecs:
        raise UnsupportedError(
            f"the column has codec {codec}, which this version does not know for its type",
            rule="registry.md 2",
            hint="use a newer tokstore",
        )
