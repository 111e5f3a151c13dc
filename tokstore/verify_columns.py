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

from tokstore.block import first_rows
from tokstore.codecs.contract import BlockDecoder
from tokstore.column_types import Category, ColumnType, SoftLabel, Text
from tokstore.column_writer import ColumnFacts
from tokstore.decoders import VECTORS, VectorBlocks
from tokstore.deliver import result_dtype
from tokstore.errors import ChecksumError, CorruptError
from tokstore.format import FLAG_OPTIONAL
from tokstore.packed import Ints
from tokstore.placement import join_ranges
from tokstore.ranges import find_nans, pack_bits, range_dtype, range_of
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
    table, kind = check.table, column.type
    groups = len(kind.groups)
    dtype = kind.dtype if isinstance(kind, Category) else result_dtype(column)
    if isinstance(decoder, VectorBlocks):
        dtype = decoder.stored_dtype
    for first in range(0, len(table.values), groups):
        parts = []
        for block in range(first, first + groups):
            place = (file.place.path, int(table.offsets[block]), int(table.stored_bytes[block]))
            (data,) = storage.read_ranges([place])
            values = np.empty(int(table.values[block]), dtype)
            stored = data if data is not None else memoryview(b"")
            chosen = decoder.of_group(block - first) if isinstance(decoder, VectorBlocks) else decoder
            file.decode_blocks(column.column_id, table, chosen, [(block, stored, values)])
            parts.append(values)
        check.run(first, parts)
    check.end()
    return check.facts()


class _Check:
    """The blocks of a column as they come."""

    def __init__(self, file: DataFile, column: Column, shards: Sequence[tuple[int, int]], ranged: bool) -> None:
        self.file, self.column, self.kind, self.shards = file, column, column.type, shards
        column_id = column.column_id
        self.entry = file.entry(column_id)
        self.is_turned = int(self.entry["codec"]) == VECTORS
        self.table, self.rows = file.table(column_id, self.kind), file.rows(column_id)
        self._made = hashlib.blake2b(digest_size=32)
        first = np.array([row for row, _ in shards], np.int64)
        last = np.array([row + count for row, count in shards], np.int64)
        starts = self.rows.starts
        width = self.kind.width
        self._v0, self._v1 = (first * width, last * width) if starts is None else (starts[first], starts[last])
        self._nans = [0] * len(shards)
        self._spans: list[Range] = [None] * len(shards)
        # The type of a column alone tells whether plain numbers have ranges; only text makes them costly.
        keep = ranged or self.table.ranges is not None
        self._heads = _Heads(starts, keep) if isinstance(self.kind, Text) and starts is not None else None

    def run(self, block: int, parts: Sequence[NDArray[Any]]) -> None:
        """Take in decoded blocks: one, or those of all groups of a run of rows.

        Args:
            block: Number of the first.
            parts: Their values.
        """
        table, kind, width = self.table, self.kind, self.kind.width
        a = int(table.value_starts[block])
        values = parts[0]
        if len(parts) > 1:
            rows = len(values) // kind.groups[0]
            values = np.concatenate([part.reshape(rows, -1) for part in parts], axis=1).reshape(-1)
        # What the blocks of a transform hold is digested as it is; all else in the dtype at rest.
        is_stored = not self.is_turned
        self._made.update((values.astype(kind.dtype, copy=False) if is_stored else values).tobytes())
        if self._heads is not None:
            self._heads.feed(a, values, self._fail)
            return
        count = len(values) // width
        at = a // width
        valid = None if self.rows.valid is None or kind.ragged else self.rows.valid[at : at + count]
        if valid is not None and is_stored and values.view(np.uint8).reshape(count, -1)[~valid].any():
            self._fail("the value of a missing row is not zero", "format.md 4.4", block)
        if isinstance(kind, SoftLabel) and (kind.top or 0) > 1:
            there = values.reshape(count, -1) if valid is None else values.reshape(count, -1)[valid]
            if not there.any(axis=1).all():
                self._fail("a row has a class twice", "registry.md 1", block)
        if kind.has_nan and table.nans is not None:
            for number, part in enumerate(parts):
                found = int(np.count_nonzero(find_nans(kind, part))) if is_stored else 0
                if found != int(table.nans[block + number]):
                    self._fail("a NaN count is wrong", "format.md 4.5", block + number)
        if table.ranges is not None:
            present, low, high = (one[block] for one in table.ranges)
            made = range_of(values if valid is None else values[valid])
            if not same_range((low, high) if present else None, made, kind):
                self._fail("a range is wrong", "format.md 4.5", block)
        for shard in np.flatnonzero((self._v0 < a + len(values)) & (self._v1 > a)).tolist():
            inside = slice(max(0, int(self._v0[shard]) - a), int(self._v1[shard]) - a)
            here = values[inside] if valid is None else values[inside][np.repeat(valid, width)[inside]]
            if kind.ranged:
                self._spans[shard] = join_ranges([self._spans[shard], range_of(here)])
            if kind.has_nan and is_stored:
                self._nans[shard] += int(np.count_nonzero(find_nans(kind, here)))

    def end(self) -> None:
        """Check what all blocks together give."""
        table, rows = self.table, self.rows
        lengths = None if rows.starts is None else np.diff(rows.starts)
        groups, width = len(self.kind.groups), self.kind.width
        starts = table.value_starts.tolist()
        if groups == 1 and not np.array_equal(first_rows(starts, lengths, width), table.first_row):
            self._fail("first rows of blocks are wrong", "format.md 4.5")
        if lengths is not None and (lengths % width).any():
            self._fail("a row ends inside an item", "format.md 4.4")
        if lengths is not None:
            self._made.update(lengths.astype("<u8").tobytes())
        if int(self.entry["flags"]) & FLAG_OPTIONAL and rows.valid is not None:
            self._made.update(pack_bits(rows.valid))
            gone = np.zeros(0, np.int64)
            if len(table.values):
                runs = len(table.values) // groups
                gone = np.repeat(np.bincount(self._block_of_row()[~rows.valid], minlength=runs), groups)
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
        groups = len(self.kind.groups)
        starts = self.rows.starts
        begin = np.arange(self.file.rows_count) * self.kind.width if starts is None else starts[:-1]
        ends = self.table.value_starts[groups::groups]
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
