"""Rows of one column, shard by shard -> column files, each for shards of one page (format.md 8.3).

A column file is a data file like any other; its rows are those of several shards, one after another. Memory is the rows
of one file, whatever the number of shards. What a file says of its shards is taken from the file as it was written.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore._version import __version__
from tokstore.block import ColumnRows
from tokstore.buffers import ColumnBuffer
from tokstore.encoders import Encoders, LoadObject
from tokstore.errors import CorruptError
from tokstore.format import MAX_SHARD_SAMPLES
from tokstore.objects import object_path
from tokstore.packed import Ints
from tokstore.pages import Page
from tokstore.placement import ABSENT, FIRST_FILE, Placement, has_nan, keeps_ranges, may_have_values
from tokstore.ranges import find_nans, range_of, range_of_texts
from tokstore.rounded import Rounded
from tokstore.schema import Column
from tokstore.shard import DataFile, FilePlace, file_path
from tokstore.shard_writer import FileFacts, write_data_file
from tokstore.storage import Storage

__all__ = ["FILE_BYTES", "ColumnFiles", "Cover"]

FILE_BYTES = 64 << 20
"""Bytes of values that a column file should hold; a single shard may have more."""
_RAGGED_ROWS = 1 << 21
"""Rows of a file of a ragged column: whoever reads one row of it reads the lengths of all of them."""


@dataclass
class Cover:
    """Which rows of which files hold a column of shards.

    Attributes:
        keys: What tells each shard from any other (`Page.shard_keys`), in order.
        where: `ABSENT`, or `FIRST_FILE` plus the number of the file in `files`, per shard; the other arrays likewise.
        current: The object of the column that later files may share: digest and bytes at rest.
    """

    keys: list[bytes] = field(default_factory=list)
    where: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    first_row: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    values: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    stored_bytes: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    missing: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    nans: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    ranges: list[tuple[Any, Any] | None] = field(default_factory=list)
    files: list[FileFacts] = field(default_factory=list)
    current: dict[int, tuple[bytes, int]] = field(default_factory=dict)

    def place(self, page: Page, column: Column, shards: Ints, covered: Ints) -> Page:
        """Return a page in which shards have the column from these files.

        Args:
            page: The page.
            column: The column; what the page has of it in other shards stays.
            shards: Numbers of shards of the page.
            covered: The number of each of them in this cover.
        """
        where = self.where[covered]
        used = np.unique(where[where >= FIRST_FILE]) - FIRST_FILE
        page, numbers = page.with_files([self.files[i] for i in used.tolist()])
        inside = where >= FIRST_FILE
        where[inside] = FIRST_FILE + numbers[np.searchsorted(used, where[inside] - FIRST_FILE)]
        kind, n = column.type, page.shards
        old = page.columns.get(column.column_id) or Placement.absent(page.samples, kind)
        new = Placement.absent(page.samples, kind)

        def merged(name: str, values: Ints) -> Ints:
            result: Ints = getattr(old, name).copy()
            result[shards] = values
            return result

        ranges = None
        if keeps_ranges(kind):
            known = list(old.ranges if old.ranges is not None else (None,) * n)
            for shard, i in zip(shards.tolist(), covered.tolist(), strict=True):
                known[shard] = self.ranges[i]
            # No range means no value: where others have values and no range, the page has none at all.
            others = np.setdiff1d(np.arange(n), shards)
            ranges = None if old.ranges is None and may_have_values(old, kind)[others].any() else tuple(known)
        constants = None
        if old.constants is not None:
            constants = old.take(np.setdiff1d(np.arange(n), shards)).constants
        made = Placement(
            merged("where", where),
            merged("first_row", self.first_row[covered]),
            merged("values", self.values[covered]),
            merged("stored_bytes", self.stored_bytes[covered]),
            None if new.missing is None else merged("missing", self.missing[covered]),
            None if new.nans is None else merged("nans", self.nans[covered]),
            ranges,
            constants,
        )
        columns = page.columns | {column.column_id: made}
        if not (made.where != ABSENT).any() and kind.optional:
            del columns[column.column_id]
        return replace(page, columns=columns)


class ColumnFiles:
    """Write column files. Nothing that is written is in any version yet; `abort` removes it.

    Args:
        storage: The store.
        column: The column; its level is that of the new blocks.
        threads: Threads that encode; the number of processors by default.
        load: Returns the object of the column that new files may share.
        target: Bytes of values at which a file is full; `FILE_BYTES` by default.
    """

    def __init__(
        self,
        storage: Storage,
        column: Column,
        *,
        threads: int | None = None,
        load: LoadObject | None = None,
        target: int | None = None,
    ) -> None:
        self._storage, self._column, self._target = storage, column, target or FILE_BYTES
        self._rounded: dict[int, Rounded] = {}  # what rounded the vectors of the file in the making
        self._fresh: list[NDArray[np.bool_]] = []
        self._encoders = Encoders(column.level or "default", load, self._rounded)
        self._pool = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="tokstore-column")
        self._most_rows = _RAGGED_ROWS if column.type.ragged else MAX_SHARD_SAMPLES
        self._buffer = ColumnBuffer(column)
        self._buffered = 0
        self._waiting: list[int] = []  # shards of the file in the making
        self._spans: list[Ints] = []
        self._counts: list[int] = []
        self._facts: list[tuple[int, ...]] = []
        self._cover = Cover()

    def add(
        self,
        keys: Sequence[bytes],
        counts: Ints,
        rows: ColumnRows,
        spans: Sequence[Ints],
        rounded: Rounded | None = None,
    ) -> None:
        """Take in the next shards of a page.

        Args:
            keys: What tells the shards from others.
            counts: Rows of each.
            rows: The rows of all of them; a shard of which all rows are missing becomes absent.
            spans: Samples in each span of each shard, so that blocks end where spans end.
            rounded: What rounded some of the rows before, and which it did not; ``None`` if nothing did.
        """
        held = self._rounded.get(self._column.column_id)
        if self._waiting and (held and held.transform) != (rounded and rounded.transform):
            self._write()  # one file cannot hold both
        edges = np.concatenate([[0], np.cumsum(counts)])
        byte_edges = rows.values.itemsize * _value_starts(rows)[edges]
        is_absent = counts == 0
        if self._column.type.optional:
            present = np.ones(rows.rows, bool) if rows.valid is None else rows.valid
            is_absent = np.diff(np.concatenate([[0], np.cumsum(present)])[edges]) == 0
        first = len(self._facts)
        self._cover.keys += keys
        self._counts += counts.tolist()
        self._facts += [(ABSENT, 0, 0, 0, count, 0) for count in counts.tolist()]
        self._cover.ranges += [None] * len(keys)
        at = 0
        while at < len(keys):
            if is_absent[at]:
                at += 1
                continue
            gap = int(np.argmax(is_absent[at:])) if is_absent[at:].any() else len(keys) - at
            fits = (
                np.searchsorted(edges, edges[at] + self._most_rows - self._buffered, side="right") - 1,
                np.searchsorted(byte_edges, byte_edges[at] + self._target - self._buffer.nbytes, side="right") - 1,
            )
            stop = min(at + gap, *map(int, fits))
            if stop <= at:
                if self._waiting:
                    self._write()
                    continue
                stop = at + 1
            self._buffer.add(rows, int(edges[at]), int(edges[stop]))
            if rounded is not None and rounded.fresh is not None:
                held = self._rounded.get(self._column.column_id)
                self._rounded[self._column.column_id] = rounded if held is None else held.joined(rounded)
                self._fresh.append(rounded.fresh[int(edges[at]) : int(edges[stop])])
            self._buffered += int(edges[stop] - edges[at])
            self._waiting += range(first + at, first + stop)
            self._spans += spans[at:stop]
            at = stop

    def end_page(self) -> None:
        """Write what waits: shards of another page follow, and a file holds those of one."""
        if self._waiting:
            self._write()

    def finish(self) -> Cover:
        """Write what waits, and what the files need beside them; return where everything lies."""
        self.end_page()
        self._pool.shutdown()
        for one in self._encoders.waiting.values():
            self._storage.put(object_path(one.digest), one.data)
        made = self._cover
        table = np.array(self._facts, np.int64).reshape(len(self._facts), 6).T
        made.where, made.first_row, made.values, made.stored_bytes, made.missing, made.nans = table
        made.current = self._encoders.current()
        return made

    def abort(self) -> None:
        """Remove the files."""
        self._pool.shutdown(cancel_futures=True)
        for one in self._cover.files:
            self._storage.delete(file_path(one.file_id))

    def _write(self) -> None:
        """Write the rows that wait as one file, and note what it holds of its shards."""
        one = self._column.column_id
        if one in self._rounded:
            self._rounded[one] = replace(self._rounded[one], fresh=np.concatenate(self._fresh))
        new = self._encoders.prepare(self._column, self._buffer.rows(), self._pool)
        file_id, number = secrets.token_bytes(16), FIRST_FILE + len(self._cover.files)
        sink = self._storage.sink(file_path(file_id))
        try:
            facts = write_data_file(
                sink,
                file_id,
                [new],
                None,
                self._pool,
                writer=f"tokstore {__version__}",
                span_ends=np.cumsum(np.concatenate(self._spans)),
            )
            sink.commit()
        finally:
            sink.abort()
        self._cover.files.append(facts)
        edges = np.concatenate([[0], np.cumsum([self._counts[i] for i in self._waiting])])
        table = self._facts_of_shards(facts, new.rows, edges)
        for k, i in enumerate(self._waiting):
            self._facts[i] = (number, int(edges[k]), *(int(one[k]) for one in table))
        if keeps_ranges(self._column.type):
            starts = _value_starts(new.rows)
            for k, i in enumerate(self._waiting):
                self._cover.ranges[i] = _range(new.rows, starts, int(edges[k]), int(edges[k + 1]))
        self._buffer, self._buffered = ColumnBuffer(self._column), 0
        self._waiting, self._spans, self._fresh = [], [], []
        self._rounded.clear()

    def _facts_of_shards(self, facts: FileFacts, rows: ColumnRows, edges: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """Return values, stored bytes, missing and NaN counts of the shards of a file."""
        kind, column_id = self._column.type, self._column.column_id
        starts = _value_starts(rows)[edges]
        place = FilePlace(
            file_path(facts.file_id),
            facts.file_id,
            facts.file_bytes,
            facts.tail_offset,
            facts.index_offset,
            facts.index_checksum,
        )
        header, tail = self._storage.read_ranges(DataFile.ranges(place))
        if header is None or tail is None:
            raise CorruptError("a file vanished while it was read", path=place.path)
        blocks = DataFile(place, header, tail).table(column_id, kind)
        shard_of = np.searchsorted(edges, blocks.first_row, side="right") - 1
        # A shard without rows ends where it begins: the search finds the last of those that begin at a row.
        stored = np.bincount(shard_of, weights=blocks.stored_bytes, minlength=len(edges) - 1).astype(np.int64)
        missing, nans = np.zeros(len(edges) - 1, np.int64), np.zeros(len(edges) - 1, np.int64)
        if rows.valid is not None:
            missing = np.diff(np.concatenate([[0], np.cumsum(~rows.valid)])[edges])
        if has_nan(kind):
            nans = np.diff(np.concatenate([[0], np.cumsum(find_nans(kind, rows.values))])[starts])
        return np.diff(starts), stored, missing, nans


def _value_starts(rows: ColumnRows) -> Ints:
    """Return the first value of every row, with the number of values at the end."""
    if rows.lengths is not None:
        return np.concatenate([[0], np.cumsum(rows.lengths)])
    width = rows.values.size // rows.rows if rows.rows else 1
    return width * np.arange(rows.rows + 1)


def _range(rows: ColumnRows, starts: Ints, start: int, stop: int) -> tuple[Any, Any] | None:
    """Return the range of the present values of some rows of fixed shape, or of texts.

    Args:
        rows: All rows.
        starts: The first value of each, with the number of values at the end.
        start, stop: Which of them.
    """
    valid = None if rows.valid is None else rows.valid[start:stop]
    if rows.lengths is not None:
        texts = np.stack([starts[start:stop], starts[start + 1 : stop + 1]], axis=1)
        return range_of_texts(rows.values, texts if valid is None else texts[valid])
    values = rows.values[starts[start] : starts[stop]]
    if valid is not None and not valid.all():
        values = values[np.repeat(valid, len(values) // len(valid))]
    return range_of(values)
