"""`ViewReader`: samples of a version, and every way to read them (format.md 7.1).

Reading is by position in the view, batch by batch; what a call decodes is bounded by what it returns plus a block. A
view of everything keeps no list of samples; one of some keeps a `Selection`, and positions in their order if that is
not the one of the version.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from tokstore.block import ColumnRows
from tokstore.column_types import Tokens, Vector
from tokstore.deliver import deliver_batch, deliver_sample
from tokstore.forking import renew_after_fork
from tokstore.packed import Ints
from tokstore.reading import block_edges, read_lengths, read_rows
from tokstore.recycling import Given, Recycling, recycling
from tokstore.schema import Column, Schema
from tokstore.selection import Selection
from tokstore.version import ShardRows, Version
from tokstore.view_values import missing_rows

__all__ = ["ViewReader"]

_BATCH_VALUES = 1 << 20
_ROWS_AT_ONCE = 1 << 20
_AHEAD = 2  # batches that a scan decodes while the caller has one


class ViewReader:
    """Samples of one version, by position.

    Use ``len(view)``, ``view[17]`` (one sample as a dict), ``view[5:9]`` and ``view[[5, 1, 9]]`` (batches),
    ``view["quality"]`` (a whole column), `take`, `scan`, or iterate. Safe for threads.

    Args:
        version: Where the samples are.
        chosen: Which of them; ``None`` for all.
        order: Their positions in the version, in view order; ``None`` where that is ascending.
        schema: The columns; ``None`` for all.
    """

    def __init__(
        self,
        version: Version,
        chosen: Selection | None = None,
        order: Ints | None = None,
        schema: Schema | None = None,
    ) -> None:
        self._version = version
        self._chosen, self._order, self._schema = chosen, order, schema
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make a new lock, and forget threads."""
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    # What it is -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._version) if self._chosen is None else len(self._chosen)

    @property
    def path(self) -> str:
        """Where the store is."""
        return self._version.path

    @property
    def version(self) -> int:
        """Number of the version."""
        return self._version.root.version

    @property
    def schema(self) -> Schema:
        """The columns."""
        return self._version.root.schema if self._schema is None else self._schema

    def _columns(self, names: Sequence[str] | None) -> list[Column]:
        """Return columns by name, all that can be read by default."""
        if isinstance(names, str):
            raise TypeError(f"columns is a list of names, such as [{names!r}]")
        return list(self.schema.columns) if names is None else [self.schema.column(name) for name in names]

    # Reading by position --------------------------------------------------------------------------------------

    def _positions(self, key: Any) -> Ints:
        """Return positions from a slice, a list, or an array of integers or booleans."""
        count = len(self)
        if isinstance(key, slice):
            return np.arange(*key.indices(count))
        array = np.asarray(key)
        if array.dtype == bool:
            if array.shape != (count,):
                raise IndexError(f"a boolean selection has one item per sample: {count}, not {array.shape}")
            return np.flatnonzero(array)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise TypeError("positions are a flat list of integers")
        positions = array.astype(np.int64)
        positions = np.where(positions < 0, positions + count, positions)
        if positions.size and (int(positions.min()) < 0 or int(positions.max()) >= count):
            wrong = int(array[int(np.argmax((positions < 0) | (positions >= count)))])
            raise IndexError(f"position {wrong} of {count} samples")
        return positions

    def _at(self, places: Ints) -> Ints:
        """Return the positions in the version of places of the view."""
        if self._order is not None:
            return self._order[places]
        return places if self._chosen is None else self._chosen.at(places)

    def _located(self, places: Ints, *, ascending: bool = True) -> tuple[list[ShardRows], Ints | None]:
        """Return the rows that hold samples, and how to bring them to the order asked for, if that is another one.

        Args:
            places: Places of the view.
            ascending: Whether the places are known to ascend.
        """
        positions = self._at(places)
        if (self._order is None and ascending) or len(positions) < 2 or (np.diff(positions) > 0).all():
            return self._version.locate(positions), None
        positions, order = np.unique(positions, return_inverse=True)  # sorted, with repeats taken out
        return self._version.locate(positions), order

    def _rows(
        self,
        places: Ints,
        columns: list[Column],
        start: int,
        stop: int | None,
        pooled: bool = True,
        dims: int | None = None,
        arrays: Recycling | Given | None = None,
    ) -> tuple[dict[str, ColumnRows], Ints]:
        """Return rows of columns and the sample ids, in the order asked for."""
        groups, order = self._located(places, ascending=False)
        pool = self._threads() if pooled and len(places) > 1 else None
        rows = read_rows(
            self._version, columns, groups, start=start, stop=stop, dims=dims, pool=pool, arrays=arrays, order=order
        )
        ids = self._ids(groups)
        return rows, ids if order is None else ids[order]

    def _ids(self, groups: Sequence[ShardRows]) -> Ints:
        """Return the sample ids of rows of shards."""
        return np.concatenate([np.zeros(0, np.int64), *(self._version.sample_ids(group) for group in groups)])

    def _threads(self) -> ThreadPoolExecutor | None:
        """Return threads for large scattered reads; none on a machine with one core."""
        workers = min(4, os.cpu_count() or 1)
        with self._lock:
            if self._pool is None and workers > 1:
                self._pool = ThreadPoolExecutor(workers, thread_name_prefix="tokstore-read")
            return self._pool

    def take(
        self,
        positions: Any,
        columns: Sequence[str] | None = None,
        *,
        start: int = 0,
        stop: int | None = None,
        dims: int | None = None,
    ) -> dict[str, Any]:
        """Return samples at positions as one batch, in the order asked for.

        Args:
            positions: Integers, a slice, or booleans for all samples. Repeats are allowed, negative ones count from
                the end.
            columns: Names; all by default.
            start: First value of every sample to take, of ragged columns of tokens.
            stop: End of the values to take of every sample; ``None`` for its end. Only blocks in between are read.
            dims: Of columns of vectors only so many of the first dimensions: only their bytes are read. With
                ``codec="pca"`` these are coordinates along the first principal axes.

        Returns:
            A dict: `Ragged` of int32 for tokens (int64 above 2**31 ids), arrays for numbers, lists of strings for text,
            and ``"sample_id"`` (int64).

        Raises:
            IndexError: A position is outside the view.
            ColumnError: No such column.

        Example:
            >>> store.take([5, 1, 9], ["tokens"], stop=128)["tokens"].lengths  # doctest: +SKIP
            array([128, 77, 128])
        """
        if start < 0 or (stop is not None and stop < start):
            raise ValueError(f"start={start} and stop={stop} do not name a part of a sample")
        chosen = self._columns(columns)
        if start or stop is not None:
            chosen = [c for c in chosen if columns is not None or isinstance(c.type, Tokens)]
            other = next((c.name for c in chosen if not isinstance(c.type, Tokens)), None)
            if other is not None:
                raise ValueError(f"start= and stop= are for token columns, and {other!r} is none")
        if dims is not None and not any(isinstance(c.type, Vector) for c in chosen):
            raise ValueError("dims= is for columns of vectors, and none is asked for")
        rows, ids = self._rows(self._positions(positions), chosen, start, stop, dims=dims)
        batch = {column.name: deliver_batch(column, rows[column.name]) for column in chosen}
        return batch | {"sample_id": ids}

    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, key: slice | Sequence[int] | NDArray[Any]) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._sample_ids() if key == "sample_id" else self._whole_column(self.schema.column(key))
        if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
            return self.__getitems__([int(key)])[0]
        return self.take(key)

    def __getitems__(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Return samples one by one, read together: what a map-style `DataLoader` calls."""
        columns = self._columns(None)
        rows, ids = self._rows(self._positions(list(positions)), columns, 0, None)
        return _samples(columns, rows, ids)

    def _whole_column(self, column: Column) -> Any:
        """Return all rows of one column."""
        rows, _ = self._rows(np.arange(len(self)), [column], 0, None)
        return deliver_batch(column, rows[column.name])

    def _sample_ids(self) -> Ints:
        """Return the ids of all samples."""
        parts = [np.zeros(0, np.int64)]
        for first in range(0, len(self), _ROWS_AT_ONCE):
            groups, order = self._located(np.arange(first, min(first + _ROWS_AT_ONCE, len(self))))
            parts.append(self._ids(groups) if order is None else self._ids(groups)[order])
        return np.concatenate(parts)

    def missing(self, name: str) -> NDArray[np.bool_]:
        """Return for every sample whether a column is missing; nothing is decoded.

        Args:
            name: A column.
        """
        column = self.schema.column(name)
        groups, order = self._located(np.arange(len(self)))
        found = missing_rows(self._version, column, groups)
        return found if order is None else found[order]

    # Reading in order -----------------------------------------------------------------------------------------

    def scan(
        self,
        columns: Sequence[str] | None = None,
        *,
        batch_size: int = 65_536,
        part: tuple[int, int] | None = None,
        threads: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Read all samples in order, in batches that are bounded in samples and in values.

        Args:
            columns: Names; all by default.
            batch_size: Samples in a batch, at most. A batch also ends near 2**20 values, so that memory stays small
                whatever the samples' length; a single longer sample comes alone.
            part: ``(i, n)``: only the i-th of n parts of nearly equal numbers of samples, for n processes side by side.
            threads: 1 to read and decode on the caller's thread, batch by batch as they are asked for; by default
                threads decode two batches ahead of the caller, which are then held beside his own.

        Yields:
            Batches as from `take`.

        Example:
            >>> sum(len(b["tokens"].values) for b in store.scan(["tokens"]))  # doctest: +SKIP
            8600020
        """
        if batch_size < 1:
            raise ValueError(f"batch_size is 1 or more, not {batch_size}")
        first, stop = 0, len(self)
        if part is not None:
            index, of = part
            if not 0 <= index < of:
                raise ValueError(f"part is (i, n) with 0 <= i < n, not {part}")
            first, stop = len(self) * index // of, len(self) * (index + 1) // of
        chosen = self._columns(columns)
        if threads is not None and threads < 1:
            raise ValueError(f"threads is 1 or more, not {threads}")
        return self._scan(chosen, first, stop, batch_size, pooled=threads != 1)

    def _scan(
        self, columns: list[Column], first: int, stop: int, batch_size: int, pooled: bool
    ) -> Iterator[dict[str, Any]]:
        """Yield batches of columns between two positions."""

        def batch(a: int, b: int) -> dict[str, Any]:
            rows, ids = self._rows(np.arange(a, b), columns, 0, None, pooled=False, arrays=recycling())
            return {c.name: deliver_batch(c, rows[c.name]) for c in columns} | {"sample_id": ids}

        batches = self._batches(columns, first, stop, batch_size)
        pool = self._threads() if pooled else None
        if pool is None:
            yield from (batch(a, b) for a, b in batches)
            return
        # Every thread reads and decodes a batch of its own, ahead of the caller.
        ahead: deque[tuple[int, int, Future[dict[str, Any]]]] = deque()
        process = os.getpid()

        def first_of() -> dict[str, Any]:
            a, b, future = ahead.popleft()
            # A process that was forked meanwhile has none of the threads.
            return future.result() if os.getpid() == process else batch(a, b)

        try:
            for a, b in batches:
                ahead.append((a, b, (self._threads() or pool).submit(batch, a, b)))
                if len(ahead) > _AHEAD:
                    yield first_of()
            while ahead:
                yield first_of()
        finally:
            for *_, future in ahead:
                future.cancel()

    def _batches(
        self, columns: list[Column], first: int, stop: int, batch_size: int, values: int = _BATCH_VALUES
    ) -> Iterator[tuple[int, int]]:
        """Yield positions at which batches begin and end, near a number of values or before."""
        ragged = [column for column in columns if column.type.ragged]
        # Arrays of one shape count a quarter: they decode well in large runs, and 2**22 values are still not much.
        fixed = sum(column.type.width for column in columns if column.type.shape and not column.type.ragged) // 4
        for begin in range(first, stop, _ROWS_AT_ONCE):
            end = min(begin + _ROWS_AT_ONCE, stop)
            groups, order = self._located(np.arange(begin, end))
            ends = np.full(end - begin, fixed, np.int64)
            for column in ragged:
                found = read_lengths(self._version, column, groups)
                ends += found if order is None else found[order]
            np.cumsum(ends, out=ends)
            # Blocks end where samples end, so that a batch which ends there decodes no block that the next one needs
            # too.
            known = ragged and order is None
            edges = block_edges(self._version, ragged[0], groups) if known else np.zeros(0, np.int64)
            at, done = 0, 0
            while at < len(ends):
                full = int(np.searchsorted(ends, done + values, side="right"))
                upto = min(max(full, at + 1), at + batch_size, len(ends))
                edge = int(np.searchsorted(edges, upto, side="right")) - 1
                if upto < len(ends) and edge >= 0 and edges[edge] > at + (upto - at) // 2:
                    upto = int(edges[edge])
                yield begin + at, begin + upto
                at, done = upto, int(ends[upto - 1])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield samples one by one, read in batches."""
        columns = self._columns(None)
        for a, b in self._batches(columns, 0, len(self), 4096):
            rows, ids = self._rows(np.arange(a, b), columns, 0, None, pooled=False)
            yield from _samples(columns, rows, ids)

    @property
    def can_fork(self) -> bool:
        """Whether a forked process can go on reading; the clients of object stores cannot."""
        return self._version.storage.can_fork

    def __getstate__(self) -> dict[str, Any]:
        # Threads and locks stay behind; the version pickles as root and storage and opens its files again.
        return {name: one for name, one in self.__dict__.items() if name not in ("_pool", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.renew()
        renew_after_fork(self)


def _samples(columns: list[Column], rows: dict[str, ColumnRows], ids: Ints) -> list[dict[str, Any]]:
    """Return rows as one dict per sample."""
    valid = {column.name: rows[column.name].valid for column in columns}
    batches = {column.name: deliver_batch(column, rows[column.name]) for column in columns}
    return [
        {c.name: deliver_sample(c, batches[c.name], row, valid[c.name]) for c in columns} | {"sample_id": sample_id}
        for row, sample_id in enumerate(ids.tolist())
    ]
