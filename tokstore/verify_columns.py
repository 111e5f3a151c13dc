"""Decode one column of one data file, block by block: is it what its table says, and what do shards hold of it
(format.md 4.3 to 4.5, 10)?

One block is in memory at a time. Text that has ranges keeps the first bytes of every sample beside it.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.block import first_rows, pack_bits, range_dtype, range_of
from tokstore.codecs.contract import BlockDecoder
from tokstore.column_types import ColumnType, Text
from tokstore.column_writer import ColumnFacts
from tokstore.errors import ChecksumError, CorruptError
from tokstore.format import FLAG_OPTIONAL
from tokstore.packed import Ints
from tokstore.placement import join_ranges
from tokstore.reading import result_dtype
from tokstore.schema import Column
from tokstore.shard import DataFile
from tokstore.storage import Storage

__all__ = ["check_column", "same_range"]

_HEAD_BYTES = 33
_RANGE_BYTES = 32
Range = tuple[Any, Any] | None


def check_column(
    storage: Storage,
    file: DataFile,
    column: Column,
    decoder: BlockDecoder,
    shards: Sequence[tuple[int, int]],
    *,
    ranged: bool = False,
) -> list[ColumnFacts]:
    """Decode all blocks of a column, check what the file says of them, and return the facts of shards.

    Args:
        storage: Where the file is.
        file: The open file.
        column: The column.
        decoder: Its decoder.
        shards: First row and number of rows of each shard in the file.
        ranged: The manifest has ranges of the column, so that those of the shards are wanted whatever the type.

    Raises:
        CorruptError, ChecksumError: Something is not as it should be; the first such thing.
    """
    check = _Check(file, column, shards, ranged)
    table = check.table
    for block, (offset, nbytes) in enumerate(zip(table.offsets.tolist(), table.stored_bytes.tolist(), strict=True)):
        (data,) = storage.read_ranges([(file.place.path, offset, nbytes)])
        values = np.empty(int(table.values[block]), result_dtype(column))
        stored = data if data is not None else memoryview(b"")
        file.decode_blocks(column.column_id, table, decoder, [(block, stored, values)])
        check.block(block, values)
    check.end()
    return check.facts()


class _Check:
    """The blocks of a column as they come."""

    def __init__(self, file: DataFile, column: Column, shards: Sequence[tuple[int, int]], ranged: bool) -> None:
        self.file, self.column, self.kind, self.shards = file, column, column.type, shards
        column_id = column.column_id
        self.entry = file.entry(column_id)
        self.table, self.rows = file.table(column_id, self.kind), file.rows(column_id)
        self._made = hashlib.blake2b(digest_size=32)
        first = np.array([row for row, _ in shards], np.int64)
        last = np.array([row + count for row, count in shards], np.int64)
        starts = self.rows.starts
        self._v0, self._v1 = (first, last) if starts is None else (starts[first], starts[last])
        self._nans = [0] * len(shards)
        self._spans: list[Range] = [None] * len(shards)
        # The type of a column alone tells whether plain numbers have ranges; only text makes them costly.
        keep = ranged or self.table.ranges is not None
        self._heads = _Heads(starts, keep) if isinstance(self.kind, Text) and starts is not None else None

    def block(self, block: int, values: NDArray[Any]) -> None:
        """Take in one decoded block."""
        table, a = self.table, int(self.table.value_starts[block])
        self._made.update(values.astype(self.kind.dtype, copy=False).tobytes())
        if self._heads is not None:
            self._heads.feed(a, values, self._fail)
            return
        valid = None if self.rows.valid is None or self.kind.ragged else self.rows.valid[a : a + len(values)]
        if valid is not None and values.view(np.uint8).reshape(len(values), -1)[~valid].any():
            self._fail("the value of a missing row is not zero", "format.md 4.4", block)
        if table.nans is not None and int(np.count_nonzero(np.isnan(values))) != int(table.nans[block]):
            self._fail("a NaN count is wrong", "format.md 4.5", block)
        if table.ranges is not None:
            present, low, high = (one[block] for one in table.ranges)
            made = range_of(values if valid is None else values[valid])
            if not same_range((low, high) if present else None, made, self.kind):
                self._fail("a range is wrong", "format.md 4.5", block)
        for shard in np.flatnonzero((self._v0 < a + len(values)) & (self._v1 > a)).tolist():
            part = slice(max(0, int(self._v0[shard]) - a), int(self._v1[shard]) - a)
            here = values[part] if valid is None else values[part][valid[part]]
            self._spans[shard] = join_ranges([self._spans[shard], range_of(here)])
            if here.dtype.kind == "f":
                self._nans[shard] += int(np.count_nonzero(np.isnan(here)))

    def end(self) -> None:
        """Check what all blocks together give."""
        table, rows = self.table, self.rows
        lengths = None if rows.starts is None else np.diff(rows.starts)
        if not np.array_equal(first_rows(table.value_starts.tolist(), lengths), table.first_row):
            self._fail("first rows of blocks are wrong", "format.md 4.5")
        if lengths is not None:
            self._made.update(lengths.astype("<u8").tobytes())
        if int(self.entry["flags"]) & FLAG_OPTIONAL and rows.valid is not None:
            self._made.update(pack_bits(rows.valid))
            gone = np.zeros(0, np.int64)
            if len(table.values):
                gone = np.bincount(self._block_of_row()[~rows.valid], minlength=len(table.values))
            if table.missing is not None and not np.array_equal(gone, table.missing):
                self._fail("missing counts are wrong", "format.md 4.5")
        if self._made.digest() != self.entry["values_digest"].tobytes():
            raise ChecksumError(
                f"column {self.column.name!r}: the values digest differs",
                path=self.file.place.path,
                rule="format.md 10",
            )
        if self._heads is not None:
            self._heads.end(self._fail)
            if self._heads.keep:
                self._check_text(self._heads.heads)

    def _check_text(self, heads: list[bytes]) -> None:
        """Compare the ranges of text blocks, and compute those of shards."""
        valid = self.rows.valid
        if self.table.ranges is not None and len(self.table.values):
            groups: list[list[bytes]] = [[] for _ in range(len(self.table.values))]
            for row, block in enumerate(self._block_of_row().tolist()):
                if valid is None or valid[row]:
                    groups[block].append(heads[row])
            for block, group in enumerate(groups):
                present, low, high = (one[block] for one in self.table.ranges)
                if not same_range((low, high) if present else None, _text_range(group), self.kind):
                    self._fail("a range is wrong", "format.md 4.5", block)
        for shard, (first, count) in enumerate(self.shards):
            there = range(first, first + count)
            self._spans[shard] = _text_range([heads[row] for row in there if valid is None or valid[row]])

    def _block_of_row(self) -> Ints:
        """Return the block in which each row begins (format.md 4.5)."""
        begin = np.arange(self.file.rows_count) if self.rows.starts is None else self.rows.starts[:-1]
        ends = self.table.value_starts[1:]
        return np.minimum(np.searchsorted(ends, begin, side="right"), len(ends) - 1)

    def facts(self) -> list[ColumnFacts]:
        """Return what each shard has of the column."""
        valid, table = self.rows.valid, self.table
        made = []
        for shard, (first, count) in enumerate(self.shards):
            inside = (table.first_row >= first) & (table.first_row < first + count)
            made.append(
                ColumnFacts(
                    values=int(self._v1[shard] - self._v0[shard]),
                    stored_bytes=int(table.stored_bytes[inside].sum()),
                    missing=0 if valid is None else int(np.count_nonzero(~valid[first : first + count])),
                    nans=self._nans[shard],
                    span=self._spans[shard],
                )
            )
        return made

    def _fail(self, what: str, rule: str, block: int | None = None) -> None:
        """Raise what is wrong with the column."""
        raise CorruptError(
            f"column {self.column.name!r}: {what}",
            path=self.file.place.path,
            offset=None if block is None else int(self.table.offsets[block]),
            rule=rule,
        )


class _Heads:
    """Samples of text from blocks: each is UTF-8, and how each begins.

    All bytes together are UTF-8, and no sample begins inside a character: so each sample is.
    """

    def __init__(self, starts: Ints, keep: bool) -> None:
        self._starts, self.keep = starts, keep
        self.heads: list[bytes] = []
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def feed(self, a: int, values: NDArray[Any], fail: Any) -> None:
        """Take in the values from number `a` on."""
        data, b = values.tobytes(), a + len(values)
        try:
            self._decoder.decode(data)
        except UnicodeDecodeError:
            fail("a text is not UTF-8", "codecs.md 4")
        first, stop = np.searchsorted(self._starts[:-1], [a, b]).tolist()
        begin, end = self._starts[first:stop], self._starts[first + 1 : stop + 1]
        if ((values[(begin - a)[end > begin]] & 0xC0) == 0x80).any():
            fail("a text begins inside a character", "codecs.md 4")
        if not self.keep:
            return
        if self.heads and len(self.heads[-1]) < _HEAD_BYTES:
            left = int(self._starts[first]) - a
            self.heads[-1] += data[: max(0, min(_HEAD_BYTES - len(self.heads[-1]), left))]
        low, high = (begin - a).tolist(), (np.minimum(end, begin + _HEAD_BYTES) - a).tolist()
        self.heads += [data[x:y] for x, y in zip(low, high, strict=True)]

    def end(self, fail: Any) -> None:
        """Check that the last character ended, and take in the samples after the last value."""
        try:
            self._decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            fail("a text is not UTF-8", "codecs.md 4")
        if self.keep:
            self.heads += [b""] * (len(self._starts) - 1 - len(self.heads))


def _text_range(heads: list[bytes]) -> Range:
    """Return the range of samples from their first 33 bytes (format.md 4.5)."""
    if not heads:
        return None
    low, high = min(heads)[:_RANGE_BYTES], max(heads)
    if len(high) > _RANGE_BYTES:
        high = high[:_RANGE_BYTES].rstrip(b"\xff")
        if not high:
            return None
        high = high[:-1] + bytes([high[-1] + 1])
    return low, high


def same_range(said: Range, made: Range, kind: ColumnType) -> bool:
    """Tell whether two ranges are the same, bit for bit in the dtype in which they are stored."""
    if said is None or made is None or isinstance(kind, Text):
        return said == made
    wide = range_dtype(kind.dtype)
    return np.array(said, wide).tobytes() == np.array(made, wide).tobytes()
