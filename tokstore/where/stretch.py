"""Consecutive rows of one shard for `evaluate`: which blocks they need, and their values once the bytes are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.categories import CategoryDecoder
from tokstore.packed import Ints
from tokstore.reading import read_rows
from tokstore.schema import Column
from tokstore.storage import Range
from tokstore.version import ColumnPlace, ShardRows, Version
from tokstore.where.fields import CATEGORY, ID, LENGTH, NUMBERS, TEXT, Field
from tokstore.where.nodes import Node
from tokstore.where.prune import Stats, stats_of_blocks, stats_of_ids, stats_of_shards, stats_of_texts

__all__ = ["ShardPlaces", "Stretch"]

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class ShardPlaces:
    """One shard, and where the columns of a condition lie in it; files are open."""

    version: Version
    page: int
    shard: int
    samples: int
    places: dict[int, ColumnPlace]

    @classmethod
    def of(cls, version: Version, page: int, shard: int, columns: Sequence[Column]) -> ShardPlaces:
        """Find the columns of a shard, and refuse those that cannot be read."""
        places = {column.column_id: version.place_of(page, shard, column) for column in columns}
        samples = int(version.pages([page])[0].samples[shard])
        return cls(version, page, shard, samples, places)

    def edges(self, numbers: Sequence[Column], most: int, texts: Sequence[Column] = ()) -> Ints:
        """Return rows at which blocks of columns begin, and at which stretches may begin and end.

        Args:
            numbers: Columns with one number per row.
            most: Rows between two edges, where there are no blocks that say better.
            texts: Columns of texts, of which blocks begin with the first text in them.
        """
        parts = [np.zeros(1, np.int64), np.full(1, self.samples)]
        for column in numbers:
            place = self.places[column.column_id]
            if place.file is not None:
                starts = place.file.table(column.column_id, column.type).value_starts - place.first_row
                parts.append(starts[(starts > 0) & (starts < self.samples)])
        # Where both kinds of columns are asked for, blocks of numbers alone say where to cut: they hold more rows and
        # are best read once. `stats` then joins the ranges of all text blocks in such a stretch, which may decide less
        # than each of them alone, but never wrongly; shards are skipped by both kinds all the same.
        if len(parts) == 2:
            parts += [np.flatnonzero(np.diff(self.text_blocks(column))) + 1 for column in texts]
            parts.append(np.arange(0, self.samples, most))
        return np.unique(np.concatenate(parts))

    def stats(self, edges: Ints, field: Field) -> Stats:
        """Return what is known of a field in the rows between edges."""
        groups = len(edges) - 1
        (page,) = self.version.pages([self.page])
        if field.column is None:
            ids = self.version.sample_ids(ShardRows(self.page, self.shard, np.append(edges[:-1], edges[1:] - 1), edges))
            if int(page.id_runs[self.shard]) == 1:
                return stats_of_ids(ids[:groups], ids[groups:], np.ones(groups, bool))
        elif field.kind in NUMBERS:
            place = self.places[field.column.column_id]
            if place.file is not None:
                table = place.file.table(field.column.column_id, field.column.type)
                blocks = np.searchsorted(table.value_starts, edges[:-1] + place.first_row, side="right") - 1
                found = stats_of_blocks(table, table.values, field).take(blocks)
                return replace(found, names=self.names(field)) if field.kind == CATEGORY else found
        known = stats_of_shards(page, field).take(np.full(groups, self.shard))
        if field.kind == TEXT and field.column is not None:
            begin = self.text_blocks(field.column)
            if len(begin):
                place = self.places[field.column.column_id]
                table = place.file.table(field.column.column_id, field.column.type)  # type: ignore[union-attr]
                return stats_of_texts(known, table, begin[edges[:-1]], begin[edges[1:] - 1])
        return known

    def text_blocks(self, column: Column) -> Ints:
        """Return the block of its file in which each row of a text column begins (format.md 4.5); empty if none."""
        place = self.places[column.column_id]
        starts = None if place.file is None else place.file.rows(column.column_id).starts
        if place.file is None or starts is None:
            return np.zeros(0, np.int64)
        ends = place.file.table(column.column_id, column.type).value_starts[1:]
        rows = starts[place.first_row : place.first_row + self.samples]
        blocks: Ints = np.minimum(np.searchsorted(ends, rows, side="right"), len(ends) - 1)
        return blocks if len(ends) else np.zeros(0, np.int64)

    def names(self, field: Field) -> Sequence[str]:
        """Return the list of categories of the shard's file."""
        place = None if field.column is None else self.places[field.column.column_id]
        if field.column is None or place is None or place.file is None:
            return ()
        decoder = self.version.decoder(place.file, field.column)
        return decoder.names if isinstance(decoder, CategoryDecoder) else ()


@dataclass
class Stretch:
    """Rows of a shard, from `start` to `stop` - 1.

    Attributes:
        node: The condition that has to be decided for them.
        ranges: The blocks that have to be read.
        blocks: Of which they are, per column: first block, end of the blocks.
        data: Their stored bytes, once they are read.
    """

    at: ShardPlaces
    start: int
    stop: int
    node: Node
    ranges: list[Range] = field(default_factory=list)
    blocks: dict[int, tuple[int, int]] = field(default_factory=dict)
    data: dict[int, list[memoryview]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.stop - self.start

    @property
    def nbytes(self) -> int:
        """Stored bytes to read."""
        return sum(nbytes or 0 for _, _, nbytes in self.ranges)

    def plan(self, columns: Sequence[Column]) -> Stretch:
        """Note the blocks that are needed of columns with one number per row."""
        for column in columns:
            place = self.at.places[column.column_id]
            if place.file is None:
                continue
            table = place.file.table(column.column_id, column.type)
            rows = np.array([self.start, self.stop - 1]) + place.first_row
            first, last = (np.searchsorted(table.value_starts, rows, side="right") - 1).tolist()
            self.blocks[column.column_id] = first, last + 1
            part = slice(first, last + 1)
            offsets, sizes = table.offsets[part].tolist(), table.stored_bytes[part].tolist()
            self.ranges += [(place.file.place.path, *one) for one in zip(offsets, sizes, strict=True)]
        return self

    def give(self, data: Sequence[memoryview]) -> None:
        """Take the bytes of the ranges."""
        at = 0
        for column_id, (first, end) in self.blocks.items():
            self.data[column_id] = list(data[at : at + end - first])
            at += end - first

    # What `evaluate` asks for -----------------------------------------------------------------------------------

    def present(self, field: Field) -> Bools | None:
        if field.column is None:
            return None
        place = self.at.places[field.column.column_id]
        if place.file is None:
            return None if place.constant is not None else np.zeros(self.count, bool)
        place.file.check_layout(field.column.column_id, field.column.type)
        valid = place.file.rows(field.column.column_id).valid
        return None if valid is None else valid[self.start + place.first_row : self.stop + place.first_row]

    def numbers(self, field: Field) -> NDArray[Any]:
        if field.kind == ID or field.column is None:
            return self.at.version.sample_ids(self._rows(np.arange(self.count)))
        if field.kind == LENGTH:
            return self.text_lengths(field) // field.column.type.width
        place = self.at.places[field.column.column_id]
        if place.file is None:
            values = np.zeros(self.count, field.column.type.dtype)
            if place.constant is not None:
                values[:] = np.frombuffer(place.constant, values.dtype)[0]
            return values
        return self._decoded(field.column, place)

    def _decoded(self, column: Column, place: ColumnPlace) -> NDArray[Any]:
        """Decode the blocks of a column that hold the rows."""
        one, file = column.column_id, place.file
        if file is None:
            raise TypeError("a column without a file has no blocks")
        table, decoder = file.table(one, column.type), self.at.version.decoder(file, column)
        first, end = self.blocks[one]
        starts = (table.value_starts[first : end + 1] - table.value_starts[first]).tolist()
        values = np.empty(starts[-1], column.type.dtype)  # numbers of categories, not their strings
        outs = [values[a:b] for a, b in pairwise(starts)]
        file.decode_blocks(one, table, decoder, list(zip(range(first, end), self.data[one], outs, strict=True)))
        skipped = self.start + place.first_row - int(table.value_starts[first])
        return values[skipped : skipped + self.count]

    def names(self, field: Field) -> Sequence[str]:
        return self.at.names(field)

    def text(self, field: Field, rows: Ints, most: int) -> tuple[NDArray[np.uint8], Ints]:
        if field.column is None or field.kind != TEXT:
            raise TypeError(f"{field.name} is no text")
        found = read_rows(self.at.version, [field.column], [self._rows(rows)], stop=most)[field.column.name]
        return found.values, np.zeros(0, np.int64) if found.lengths is None else found.lengths

    def text_lengths(self, field: Field) -> Ints:
        if field.column is None:
            raise TypeError("sample ids have no lengths")
        one, place = field.column.column_id, self.at.places[field.column.column_id]
        if place.file is None:
            return np.zeros(self.count, np.int64)
        place.file.check_layout(one, field.column.type)
        starts = place.file.rows(one).starts
        if starts is None:
            raise TypeError(f"{field.name} has no lengths")
        return np.diff(starts[self.start + place.first_row : self.stop + place.first_row + 1])

    def pick(self, rows: Ints) -> _Picked:
        return _Picked(self, rows)

    def _rows(self, rows: Ints) -> ShardRows:
        """Return rows as reading knows them."""
        return ShardRows(self.at.page, self.at.shard, rows + self.start, np.arange(len(rows)))


@dataclass(frozen=True)
class _Picked:
    """Some rows of a stretch."""

    of: Stretch
    rows: Ints

    @property
    def count(self) -> int:
        return len(self.rows)

    def present(self, field: Field) -> Bools | None:
        found = self.of.present(field)
        return None if found is None else found[self.rows]

    def numbers(self, field: Field) -> NDArray[Any]:
        return self.of.numbers(field)[self.rows]

    def names(self, field: Field) -> Sequence[str]:
        return self.of.names(field)

    def text(self, field: Field, rows: Ints, most: int) -> tuple[NDArray[np.uint8], Ints]:
        return self.of.text(field, self.rows[rows], most)

    def text_lengths(self, field: Field) -> Ints:
        return self.of.text_lengths(field)[self.rows]

    def pick(self, rows: Ints) -> _Picked:
        return _Picked(self.of, self.rows[rows])
