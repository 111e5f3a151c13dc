"""Rows of one column <-> encoded blocks: where blocks end, what their table says, which codec does the work
(format.md 4.3-4.5).

Everything here is a pure function of arrays; files begin in `tokstore.shard`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.contract import BlockDecoder
from tokstore.codecs.numbers import NumberDecoder
from tokstore.codecs.ranked import RankTable, TokenDecoder
from tokstore.codecs.text import TextDecoder
from tokstore.column_types import DTYPES, ColumnType, Label, Text, Tokens, UnknownType
from tokstore.errors import CorruptError, UnsupportedError
from tokstore.format import (
    FLAG_OPTIONAL,
    FLAG_RAGGED,
    FLAG_RANGES,
    MAX_BLOCK_VALUES,
    MAX_BLOCKS,
    SPAN_VALUES,
    check_feature_bits,
)
from tokstore.frames import Dictionary
from tokstore.packed import Ints, PackedReader, encode_packed

__all__ = [
    "BlockTable",
    "ColumnRows",
    "Spans",
    "check_entry",
    "check_layout",
    "cut_fixed",
    "cut_ragged",
    "decoder_for",
    "find_spans",
    "first_rows",
    "range_of",
    "spans_of",
]


_TEXT_RANGE_BYTES = 32
_FAR = 1 << 62  # beyond any file, and two of them make no more than an i64 holds


@dataclass
class ColumnRows:
    """The rows of one column: values one after another, lengths if it is ragged, presence if it is optional.

    Attributes:
        values: Flat array of the column's dtype; missing rows of fixed shape hold zero.
        lengths: int64 values per row, or ``None`` where every row has one value.
        valid: bool per row, or ``None`` where nothing may be missing.
    """

    values: NDArray[Any]
    lengths: Ints | None
    valid: NDArray[np.bool_] | None

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.values) if self.lengths is None else len(self.lengths)


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


def cut_fixed(rows: int, target: int, span_ends: Ints) -> list[int]:
    """Return block boundaries in rows for a column with one value per row (format.md 4.3).

    Args:
        rows: Rows of the file.
        target: Rows a block should have.
        span_ends: Rows at which spans end, ascending; the last is `rows` unless there are none.
    """
    bounds, position = [0], 0
    while position < rows:
        at = int(np.searchsorted(span_ends, position + target))
        end = int(span_ends[at]) if at < len(span_ends) else rows
        if end - position > min(4 * target, MAX_BLOCK_VALUES):
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


def first_rows(bounds: Sequence[int], lengths: Ints | None) -> Ints:
    """Return for every block the row that holds its first value."""
    starts = np.asarray(bounds[:-1], np.int64)
    return starts if lengths is None else np.searchsorted(np.cumsum(lengths), starts, side="right").astype(np.int64)


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
        bounds: Sequence[int],
        first_row: Ints,
        forms: Ints,
        checksums: Sequence[int],
        missing: Ints | None,
        nans: Ints | None,
        ranges: bytes,
    ) -> bytes:
        """Return the bytes of a table, before compression."""
        parts: list[Ints] = [offsets, stored_bytes, _steps(bounds), first_row, forms]
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
            nans = reader.packed(blocks, "nan") if kind.dtype.kind == "f" else None
            if nans is not None and not kind.optional and nans.any():
                raise CorruptError("a score that is not optional has NaN", rule="registry.md 1")
            ranges = decode_ranges(reader, blocks, kind) if flags & FLAG_RANGES else None
            reader.end()
        starts = np.zeros(blocks + 1, np.int64)
        np.cumsum(values, out=starts[1:])
        if int(starts[-1]) != int(entry["values"]) or int(stored.sum()) != int(entry["stored_bytes"]):
            raise CorruptError("values or bytes of the blocks do not add up", rule="format.md 4.5")
        if blocks and (np.diff(first_row) < 0).any():
            raise CorruptError("first rows of blocks descend", rule="format.md 4.5")
        return cls(offsets, stored, values, first_row, forms, checksums, missing, nans, ranges, starts)


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
    if isinstance(kind, UnknownType):
        if int(entry["type"]) != kind.type_number:
            raise CorruptError("the file and the schema disagree on the type of a column", rule="format.md 4.7")
        return
    if int(entry["type"]) != kind.number or int(entry["dtype"]) != kind.dtype_number:
        raise CorruptError("the file and the schema disagree on the type of a column", rule="format.md 4.7")
    if bool(flags & FLAG_RAGGED) != kind.ragged:
        raise CorruptError("the ragged flag does not fit the type of a column", rule="format.md 4.7")
    if not kind.ragged and int(entry["values"]) != int(entry["rows"]):
        raise CorruptError(f"{entry['values']} values in {entry['rows']} rows of one", rule="format.md 4.7")


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
    if codec != kind.codec:
        raise UnsupportedError(
            f"the column has codec {codec}, which this version does not know for its type",
            rule="registry.md 2",
            hint="use a newer tokstore",
        )


def decoder_for(kind: ColumnType, content: bytes | None) -> BlockDecoder:
    """Return the decoder of a column from the content of its object, or ``None`` where it has none."""
    if isinstance(kind, Tokens):
        return TokenDecoder(kind.vocab_size, None if content is None else RankTable.decode(content, kind.vocab_size))
    if isinstance(kind, Text):
        return TextDecoder(None if content is None else Dictionary(content))
    return NumberDecoder(kind.dtype, kind.classes if isinstance(kind, Label) else None)
