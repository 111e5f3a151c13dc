"""Columns at any time: added, filled, dropped and renamed without rewriting a shard (format.md 8.3, 9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from tokstore.block import ColumnRows
from tokstore.codecs.ranking import LEVELS
from tokstore.column_changes import (
    add_to,
    drop_from,
    fill_in,
    release_column_id,
    rename_in,
    reserve_column_id,
    schema_with,
    with_optional,
)
from tokstore.column_files import ColumnFiles, Cover
from tokstore.column_types import ColumnType, Score
from tokstore.column_values import (
    ByPosition,
    InOrder,
    RowSource,
    SomeRows,
    apply_function,
    as_whole,
    rows_of,
)
from tokstore.column_walk import Held, write_all, write_some
from tokstore.editing import Editable, counted
from tokstore.errors import ExistsError, TokstoreError
from tokstore.packed import Ints
from tokstore.root import Root
from tokstore.sample_ids import positions_of
from tokstore.schema import Column, Schema
from tokstore.version import Version
from tokstore.writing import Progress

__all__ = ["ColumnEdits"]

Calls = Callable[[Ints], Iterator[ColumnRows]]
"""Gives the rows of samples at ascending positions, batch by batch."""


class ColumnEdits(Editable):
    """A store whose columns can be changed. `Store` is what users see."""

    def add_column(
        self,
        name: str,
        values: Any,
        type: ColumnType,
        *,
        inputs: Sequence[str] | None = None,
        ids: Any = None,
        optional: bool = True,
        exist: str = "error",
        level: str | None = None,
        batch_size: int = 65_536,
        progress: Callable[[Progress], None] | None = None,
        threads: int | None = None,
    ) -> None:
        """Add a column to all samples, as one version. No shard is rewritten; memory does not grow with the store.

        Args:
            name: Its name.
            values: One item per sample, in order: an array, `Ragged` or list, or an iterator of batches of them. Or a
                function that makes a batch of values from a batch of the columns in `inputs`, such as `View.scan` gives
                it.
            type: Its type, such as ``Score()``.
            inputs: Columns that the function is given; no others are read.
            ids: Sample ids that the values belong to, in the same order; all other samples have none.
            optional: Samples appended later may come without it. ``False`` needs a value for every sample.
            exist: ``"fill"`` fills a column of that name and type if there is one, see `fill_column`.
            level: ``"plain"``, ``"fast"``, ``"default"`` or ``"small"``; by default that of the primary column.
            batch_size: Samples that the function is given at once, at most.
            progress: Called with a `Progress` of samples done.
            threads: Threads that encode; the number of processors by default.

        Raises:
            ExistsError: There is a column of that name.
            ConflictError: Meanwhile a column of that name was added, or shards were compacted.
            ValueError, TypeError: Values that do not fit the samples or the type, or ids that no sample has. The store
                is as it was.

        Example:
            >>> store.add_column("length", lambda b: b["tokens"].lengths, ts.Label(), inputs=["tokens"])
            ... # doctest: +SKIP
        """
        self._check_writable()
        if exist not in ("error", "fill"):
            raise ValueError(f'exist is "error" or "fill", not {exist!r}')
        if name in self.schema:
            if exist == "error":
                raise ExistsError(
                    f"there is a column {name!r}", path=self.path, hint='fill_column fills it, or exist="fill" here'
                )
            if with_optional(self.schema[name], optional=True) != with_optional(type, optional=True):
                raise ValueError(f"column {name!r} is {self.schema[name]!r}, not {type!r}")
            return self.fill_column(
                name, values, inputs=inputs, ids=ids, batch_size=batch_size, progress=progress, threads=threads
            )
        column = self._new_column(name, type, optional, level)
        source = self._source(column, values, inputs, ids, batch_size)
        self._add(column, source, counted(progress, len(self), f"add {name}"), threads)

    def fill_column(
        self,
        name: str,
        values: Any,
        *,
        inputs: Sequence[str] | None = None,
        ids: Any = None,
        batch_size: int = 65_536,
        progress: Callable[[Progress], None] | None = None,
        threads: int | None = None,
    ) -> None:
        """Give samples values of a column that is there, as one version: those appended after it was added, or any.

        Args:
            name: The column; not the primary one.
            values: One item per sample id, or a function, which is given the samples that have no value yet.
            inputs: Columns that the function is given.
            ids: Sample ids that the values belong to. Values that they have are replaced.
            batch_size: Samples that the function is given at once, at most.
            progress: Called with a `Progress` of samples done.
            threads: Threads that encode; the number of processors by default.

        Raises:
            ColumnError: No such column.
            ConflictError: Meanwhile the column was dropped, renamed or filled in the same shards, or shards were
                compacted.
            ValueError, TypeError: Values that do not fit the type, or ids that no sample has. The store is as it was.

        Example:
            >>> store.fill_column("quality", [0.5, 0.75], ids=[17, 18])  # doctest: +SKIP
        """
        self._check_writable()
        column = self.schema.column(name)
        if column.column_id == self.schema.primary.column_id:
            raise ValueError(f"column {name!r} is the primary one, which cannot be filled (format.md 6.2)")
        if callable(values):
            source: SomeRows | Calls = self._calls(column, values, inputs, ids, batch_size)
            total = self._version.root.columns[column.column_id].missing
        else:
            if ids is None or inputs is not None:
                raise TypeError("fill_column takes values with ids=, or a function with inputs=")
            source = by_ids = self._by_ids(column, values, ids)
            total = len(by_ids.positions)
        self._fill(column, source, counted(progress, total, f"fill {name}"), threads)

    def drop_column(self, name: str) -> None:
        """Drop a column, as one version; earlier versions keep it. Its bytes go when files are compacted and pruned.

        Args:
            name: The column; neither the primary one nor the last.

        Raises:
            ColumnError: No such column.
            ConflictError: It was dropped or renamed meanwhile.
            ValueError: The store cannot do without it.
        """
        self._check_writable()
        column = self.schema.column(name)
        self._change(lambda root, version: drop_from(root, column))

    def rename_column(self, name: str, new_name: str) -> None:
        """Give a column another name, as one version; nothing but the root is written.

        Args:
            name: The column.
            new_name: Its new name.

        Raises:
            ColumnError: No such column.
            ExistsError: There is a column of the new name.
            ConflictError: It was dropped or renamed meanwhile, or the new name was taken.
            ValueError: The new name breaks the rules.
        """
        self._check_writable()
        column = self.schema.column(name)
        Schema({new_name: Score()})  # refuses a name that no column may have
        if new_name == name:
            return
        if new_name in self.schema:
            raise ExistsError(f"there is a column {new_name!r}", path=self.path)
        self._change(lambda root, version: rename_in(root, column, new_name))

    # How it is done -------------------------------------------------------------------------------------------

    def _add(
        self,
        column: Column,
        source: RowSource,
        report: Callable[[int], None],
        threads: int | None,
        sign: Callable[[Root, Root], Root | None] | None = None,
    ) -> None:
        """Write a new column and commit it.

        Args:
            column: The column; it gets its id here.
            source: Its rows.
            report: Called with samples done.
            threads: Threads that encode.
            sign: Changes the draft, given the newest root; ``None`` means that nothing is to be done.
        """
        column = replace(column, column_id=reserve_column_id(self.storage))
        files = ColumnFiles(self.storage, column, threads=threads)

        def change(root: Root, version: Version) -> Root | None:
            draft = add_to(root, column, cover, version)
            return draft if sign is None else sign(root, draft)

        try:
            cover = self._written(files, partial(write_all, self._version, column, source, files, report))
            self._commit_files(files, change)
        finally:
            release_column_id(self.storage, column.column_id)

    def _fill(
        self,
        column: Column,
        source: SomeRows | Calls,
        report: Callable[[int], None],
        threads: int | None,
        sign: Callable[[Root, Root], Root | None] | None = None,
    ) -> None:
        """Write a column of some shards anew and commit it; see `_add` for the arguments."""
        files = ColumnFiles(self.storage, column, threads=threads, load=self._current_object)
        before: Held = []

        def change(root: Root, version: Version) -> Root | None:
            draft = fill_in(root, column, cover, before, version)
            return draft if sign is None else sign(root, draft)

        cover = self._written(files, partial(write_some, self._version, column, source, files, before, report))
        if cover.files or any(before) or sign is not None:
            self._commit_files(files, change)

    def _new_column(self, name: str, kind: ColumnType, optional: bool, level: str | None) -> Column:
        """Check and describe a column that has no id yet."""
        if level is not None and level not in LEVELS:
            raise ValueError(f"level is one of {', '.join(LEVELS)}, not {level!r}")
        Schema({one.name: one.type for one in self.schema.columns} | {name: kind})
        column = Column(
            self._version.root.next_column_id,
            name,
            with_optional(kind, optional),
            level or self.schema.primary.level or "default",
        )
        schema_with(self.schema, column)
        return column

    def _source(
        self, column: Column, values: Any, inputs: Sequence[str] | None, ids: Any, batch_size: int
    ) -> RowSource:
        """Return the rows of all samples, from values in any form."""
        if callable(values):
            if ids is not None or inputs is None:
                raise TypeError("a function takes inputs=, the columns that it is given, and no ids=")
            batches = self.scan(inputs, batch_size=batch_size)
            return InOrder(column, apply_function(column, values, batches), len(self))
        if inputs is not None:
            raise TypeError("inputs= are for a function; values that are there need none")
        if ids is not None:
            source = self._by_ids(column, values, ids)
            if not column.type.optional and len(source.positions) != len(self):
                raise ValueError(
                    f"column {column.name!r} is not optional, and {len(source.positions)} of {len(self)} samples have "
                    "a value"
                )
            return source
        whole = as_whole(values)
        if whole is not None and len(whole) != len(self):
            raise ValueError(f"column {column.name!r}: {len(whole)} values for {len(self)} samples")
        return InOrder(column, rows_of(column, values), len(self))

    def _by_ids(self, column: Column, values: Any, ids: Any) -> ByPosition:
        """Return values that belong to sample ids."""
        whole, wanted = as_whole(values), np.asarray(ids)
        if whole is None:
            raise TypeError(f"column {column.name!r}: with ids= the values are an array, Ragged or list")
        if wanted.ndim != 1 or (wanted.size and wanted.dtype.kind not in "iu"):
            raise TypeError("ids are a flat list of sample ids, which are integers")
        if len(whole) != len(wanted):
            raise ValueError(f"column {column.name!r}: {len(whole)} values for {len(wanted)} ids")
        positions = positions_of(self._version, wanted.astype(np.int64))
        if (positions < 0).any():
            raise ValueError(f"no sample has id {int(wanted[int(np.argmax(positions < 0))])}, or it is deleted")
        source = ByPosition(column, whole, positions)
        if (np.diff(source.positions) == 0).any():
            ordered = np.sort(wanted)
            raise ValueError(f"id {int(ordered[1:][ordered[1:] == ordered[:-1]][0])} is given twice")
        return source

    def _calls(
        self,
        column: Column,
        function: Callable[[dict[str, Any]], Any],
        inputs: Sequence[str] | None,
        ids: Any,
        batch_size: int,
    ) -> Calls:
        """Return what gives the rows of samples by a function."""
        if ids is not None or inputs is None:
            raise TypeError("a function takes inputs=, the columns that it is given, and no ids=")
        if batch_size < 1:
            raise ValueError(f"batch_size is 1 or more, not {batch_size}")
        names = [one.name for one in self._columns(inputs)]

        def call(positions: Ints) -> Iterator[ColumnRows]:
            edges = [*range(0, len(positions), batch_size), len(positions)]
            batches = (self.take(positions[a:b], names) for a, b in pairwise(edges))
            return apply_function(column, function, batches)

        return call

    def _written(self, files: ColumnFiles, write: Callable[[], None]) -> Cover:
        """Write column files, or leave nothing."""
        try:
            write()
            return files.finish()
        except BaseException:
            files.abort()
            raise

    def _commit_files(self, files: ColumnFiles, change: Callable[[Root, Version], Root | None]) -> None:
        """Commit column files. Only a refusal says for sure that no root names them."""
        try:
            self._change(change)
        except TokstoreError:
            files.abort()
            raise
