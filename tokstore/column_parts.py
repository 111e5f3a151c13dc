"""Parts of a column: values by sample id that many jobs stage, and that one commit puts where they belong
(format.md 8.6).

A part is shards of one column, sorted by sample id; the runs of ids in its page say whose values they are. The commit
reads them shard by shard of the store, so that it holds no more than one column file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np

from tokstore.block import ColumnRows
from tokstore.buffers import ColumnBuffer
from tokstore.column_files import FILE_BYTES
from tokstore.column_types import exact_type
from tokstore.column_values import as_whole, overlay
from tokstore.deliver import reorder
from tokstore.errors import ConflictError
from tokstore.growth import NewShards, Part, append_shards
from tokstore.intake import missing_rows, take_in
from tokstore.packed import Ints
from tokstore.reading import read_rows
from tokstore.root import empty_root
from tokstore.schema import Column, Schema
from tokstore.storage import Storage
from tokstore.version import Version
from tokstore.writing import Progress, Writer

__all__ = ["ColumnWriter", "PartRows", "column_of"]

_MOST_ROWS = 1 << 22
_NO_IDS: Ints = np.zeros(0, np.int64)


class ColumnWriter:
    """Stage values of one column. Get one from `Store.writer` or `tokstore.writer` with ``column=``, and use it in a
    ``with`` block.

    Leaving the block stages the part; leaving it by an exception leaves nothing.

    Args:
        storage: Where the store is.
        column: The column.
        next_sample_id: Ids from here on belong to no sample.
        finish: Called at `commit` with the shards; stages them.
        threads: Threads that encode; the number of processors by default.
        progress: Called with a `Progress` of values taken.
    """

    def __init__(
        self,
        storage: Storage,
        column: Column,
        next_sample_id: int,
        finish: Callable[[NewShards], None],
        *,
        threads: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._column, self._next_id, self._finish, self._progress = column, next_sample_id, finish, progress
        self._made: list[NewShards] = []
        self._staged = replace(column, type=exact_type(column.type))
        self._writer = Writer(storage, Schema.from_columns([self._staged]), self._made.append, threads=threads)
        self._buffer, self._ids = ColumnBuffer(self._staged), list[Ints]()
        self._first, self._count = [_NO_IDS], [_NO_IDS]
        self._held = self._done = 0

    def extend(self, ids: Any, values: Any) -> None:
        """Write values of many samples.

        Args:
            ids: Their sample ids, in any order; one comes once in all parts of the column.
            values: One item per id: an array, `Ragged` or list.

        Raises:
            TypeError, ValueError: Values that the type does not take, or ids that no sample has. Nothing of the batch
                is written then.
        """
        wanted = np.asarray(ids)
        if wanted.ndim != 1 or (wanted.size and wanted.dtype.kind not in "iu"):
            raise TypeError("ids are a flat list of sample ids, which are integers")
        wrong = (wanted < 0) | (wanted >= self._next_id)
        if wrong.any():
            raise ValueError(f"no sample has id {int(wanted[int(np.argmax(wrong))])}")
        whole = as_whole(values)
        rows = take_in(self._column, values if whole is None else whole)
        if rows.rows != len(wanted):
            raise ValueError(f"column {self._column.name!r}: {rows.rows} values for {len(wanted)} ids")
        self._buffer.add(rows, 0, rows.rows)
        self._ids.append(wanted.astype(np.int64))
        self._held += len(wanted)
        self._done += len(wanted)
        if self._progress is not None:
            self._progress(Progress(self._done, None, "values", f"stage {self._column.name}"))
        if self._buffer.nbytes >= FILE_BYTES or self._held >= _MOST_ROWS:
            self._write()

    def _write(self) -> None:
        """Write what is held, sorted by id."""
        if not self._held:
            return
        ids = np.concatenate(self._ids)
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        if (ids[1:] == ids[:-1]).any():
            raise ValueError(f"id {int(ids[1:][ids[1:] == ids[:-1]][0])} is given twice")
        self._writer.extend_rows({self._column.column_id: reorder(self._buffer.rows(), order)}, len(ids))
        self._writer.end_shard()
        begins = np.flatnonzero(np.diff(ids, prepend=-2) != 1)
        self._first.append(ids[begins])
        self._count.append(np.diff(begins, append=len(ids)))
        self._buffer, self._ids, self._held = ColumnBuffer(self._staged), [], 0

    def commit(self) -> None:
        """Stage everything written as the part, and close."""
        self._write()
        first, count = np.concatenate(self._first), np.concatenate(self._count)
        order = np.argsort(first, kind="stable")
        twice = first[order][1:] < (first + count)[order][:-1]
        if twice.any():
            raise ValueError(f"id {int(first[order][1:][twice][0])} is given twice")
        self._writer.commit()
        new = self._made[0]
        if new.page.shards:
            page = new.page.with_ids(first, count)
            self._finish(NewShards(page, new.plan, new.schema, new.objects))
        self._writer.close()

    def abort(self) -> None:
        """Leave nothing."""
        self._writer.abort()

    def close(self) -> None:
        """Stage and close."""
        if not self._made:
            self.commit()

    def __enter__(self) -> ColumnWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
            return
        try:
            self.close()
        except BaseException:
            self.abort()
            raise

    def __repr__(self) -> str:
        return f"<ColumnWriter {self._column.name}: {self._done} values, {self._held} wait>"


def column_of(parts: Sequence[Part]) -> Column | None:
    """Return the column that parts are for, or ``None`` if they are parts of new samples.

    Raises:
        ConflictError: They are for different things.
    """
    columns = [part.column for part in parts]
    kinds = {None if one is None else (one.name, one.type) for one in columns}
    if len(kinds) > 1:
        names = sorted({"new samples" if one is None else f"column {one.name!r}" for one in columns})
        what = " and ".join(names) if len(names) > 1 else f"{names[0]} of different types"
        raise ConflictError(
            f"the staged parts are for {what}", rule="format.md 8.6", hint="commit(parts=[…]) takes some of them"
        )
    return columns[0]


class PartRows:
    """Rows of the samples of a version, from the parts of a column; those of samples in no part are missing.

    Args:
        storage: Where the parts lie.
        parts: The parts.
        column: The column that they become.
        version: The version whose samples they belong to.

    Raises:
        ConflictError: Two parts have a value of one sample.
        ValueError: An id that no sample has ever had.
    """

    def __init__(self, storage: Storage, parts: Sequence[Part], column: Column, version: Version) -> None:
        self._column, self._version, self._at = column, version, 0
        self._parts, firsts, counts, owners, rows = [], [_NO_IDS], [_NO_IDS], [_NO_IDS], [_NO_IDS]
        for number, part in enumerate(parts):
            page = part.shards.page
            root = append_shards(empty_root(bytes(16), part.shards.schema, {}, None, 0), part.shards, _read_nothing)
            self._parts.append((Version(storage, root), part.shards.schema.columns[0]))
            firsts.append(page.id_first)
            counts.append(page.id_samples)
            owners.append(np.full(len(page.id_first), number))
            rows.append(np.cumsum(page.id_samples) - page.id_samples)
        first, count = np.concatenate(firsts), np.concatenate(counts)
        order = np.argsort(first, kind="stable")
        self._first, self._count = first[order], count[order]
        self._owner, self._row = np.concatenate(owners)[order], np.concatenate(rows)[order]
        ends = self._first + self._count
        twice = self._first[1:] < ends[:-1]
        if twice.any():
            one = int(self._first[1:][twice][0])
            raise ConflictError(
                f"two parts of column {column.name!r} have a value of the sample with id {one}",
                rule="format.md 8.6",
                hint="remove one of them, or commit(parts=[…]) without it",
            )
        if len(ends) and int(ends.max()) > version.root.next_sample_id:
            raise ValueError(f"column {column.name!r}: no sample has ever had id {int(ends.max()) - 1}")

    @property
    def samples(self) -> int:
        """Values in all parts."""
        return int(self._count.sum())

    def take(self, count: int) -> ColumnRows:
        """Return the rows of the next samples; see `RowSource`."""
        at, rows = self.among(self._at, self._at + count)
        if not self._column.type.optional and len(at) < count:
            raise ValueError(f"column {self._column.name!r} is not optional, and some samples are in no part")
        self._at += count
        return overlay(missing_rows(self._column, count), at, rows)

    def end(self) -> None:
        """Values of samples that were deleted meanwhile are left; see `RowSource`."""

    def counts(self, starts: Ints) -> Ints:
        """Return how many samples have a value, of runs of positions that begin at `starts` and end at the next."""
        is_there, _ = self._found(int(starts[0]), int(starts[-1]))
        counts: Ints = np.diff(np.concatenate([[0], np.cumsum(is_there)])[starts - starts[0]])
        return counts

    def among(self, first: int, stop: int) -> tuple[Ints, ColumnRows]:
        """Return which samples between two positions have a row, counted from the first, and these rows."""
        is_there, ids = self._found(first, stop)
        at = np.flatnonzero(is_there)
        run = np.searchsorted(self._first, ids[at], side="right") - 1
        owner, row = self._owner[run], self._row[run] + ids[at] - self._first[run]
        made = missing_rows(self._column, len(at))
        for number in np.unique(owner).tolist():
            here = np.flatnonzero(owner == number)
            here = here[np.argsort(row[here], kind="stable")]
            version, column = self._parts[number]
            found = read_rows(version, [column], version.locate(row[here]))[column.name]
            if not self._column.type.optional and found.valid is not None and not found.valid.all():
                raise ValueError(f"column {self._column.name!r} is not optional, and a part has missing values")
            made = overlay(made, here, found)
        return at, made

    def _found(self, first: int, stop: int) -> tuple[Any, Ints]:
        """Return which samples between two positions have a value, and all their ids."""
        ids = np.concatenate([_NO_IDS, *map(self._version.sample_ids, self._version.locate(np.arange(first, stop)))])
        run = np.searchsorted(self._first, ids, side="right") - 1
        if not len(self._first):
            return np.zeros(len(ids), bool), ids
        return (run >= 0) & (ids < (self._first + self._count)[run]), ids


def _read_nothing(record: Any, name: str) -> bytes:
    """Stand for reading what is in no file yet."""
    raise ConflictError(f"a part has no {name}")
