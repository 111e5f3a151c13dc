"""Batches as numpy arrays, in order, from slabs of rows.

The consumer's own thread cuts slabs, which is one gather per lane, because a thread that did it would fight for the
interpreter with the consumer (measured: it halves the rate). Decoding, which runs outside the interpreter, has its
own threads; they work ahead of what was handed out. When the iterator is closed or forgotten its executor ends and
the threads with it. Whatever fails in a thread is raised where its batch would have come.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokstore.stream.plan import Plan
from tokstore.stream.rows import RowReader, Slab
from tokstore.stream.windows import counting

__all__ = ["BatchIterator", "Rows", "collate", "labels_of", "position_ids_of"]

_SLAB_VALUES, _LARGEST_SLAB = 1 << 20, 1 << 22
_LANE_ROWS = 8
"""Rows that a slab should have of every lane, so that a gather is worth its call."""


class Rows(NamedTuple):
    """Part of a slab: its rows from `start` to `stop`, the first of which is row `first` of all epochs."""

    slab: Slab
    start: int
    stop: int
    first: int


class BatchIterator:
    """Hand out the rows of a stream, some at a time.

    Args:
        make_reader: Makes the reader, given the executor that decodes.
        plan: The plan of the stream.
        start: First row, counted over all epochs.
        batches: Number of batches; None for no end.
        batch_rows: Rows of a batch.
        threads: Decoding threads.
    """

    def __init__(
        self,
        make_reader: Callable[[ThreadPoolExecutor], RowReader],
        plan: Plan,
        *,
        start: int,
        batches: int | None,
        batch_rows: int,
        threads: int,
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="tokstore-decode")
        self._reader = make_reader(self._threads)
        # Also when the iterator is only forgotten: what is queued ends without work. No lock is taken here.
        weakref.finalize(self, self._reader.stop)
        self._batch_rows = batch_rows
        wanted = min(max(_SLAB_VALUES, _LANE_ROWS * plan.lanes * plan.seq_len), _LARGEST_SLAB)
        self._slab_batches = max(1, wanted // (batch_rows * plan.seq_len))
        self._next, self._left = start, batches
        self._slab: Slab | None = None
        self._first = self._at = self._stop = 0

    def __iter__(self) -> BatchIterator:
        return self

    def __next__(self) -> Rows:
        slab = self._slab
        if slab is None or self._at == self._stop:
            slab = self._advance(quick=slab is None)
        start = self._at
        self._at += self._batch_rows
        return Rows(slab, start, self._at, self._first + start)

    def _advance(self, *, quick: bool) -> Slab:
        """Cut the next slab; the first one is a single batch. At the end, or when it failed, end the threads."""
        count = 1 if quick else self._slab_batches
        if self._left is not None:
            count = min(count, self._left)
            self._left -= count
        if not count:
            self.close()
            raise StopIteration
        self._first, self._next = self._next, self._next + count * self._batch_rows
        self._slab = None
        try:
            self._slab = self._reader.slab(self._first, self._next, quick=quick)
        except BaseException:
            self.close()
            raise
        self._at, self._stop = 0, self._next - self._first
        return self._slab

    def close(self) -> None:
        """End the threads. What is being decoded is finished first, and no batch comes any more."""
        self._slab, self._left = None, 0
        self._reader.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._reader.clear()


def labels_of(rows: Rows, ids: NDArray[np.int64], *, following: bool) -> NDArray[np.int64]:
    """Return the labels of rows: the ids themselves, or each next one; -100 where nothing is to be learned.

    Args:
        rows: The rows.
        ids: Their ids, int64 [rows, seq_len].
        following: Labels are the next id of the row instead of the same.
    """
    slab, part = rows.slab, slice(rows.start, rows.stop)
    labels = np.empty_like(ids)
    if following and slab.following is not None:
        labels[:, :-1] = ids[:, 1:]
        labels[:, -1] = slab.following[part]
        if slab.fresh is not None:
            np.putmask(labels[:, :-1], slab.fresh[part, 1:], -100)
    else:
        labels[:] = ids
        if slab.fresh is not None:
            labels[slab.fresh[part]] = -100
    used = slab.used[part]
    if int(used.min()) < ids.shape[1]:
        known = used - (following & (used < ids.shape[1]))
        labels[counting(ids.shape[1]) >= known[:, None]] = -100
    return labels


def position_ids_of(rows: Rows, length: int) -> NDArray[np.int64]:
    """Return position ids, int64 [rows, seq_len]: from 0 at the start of every row and of every known document."""
    count, fresh = rows.stop - rows.start, rows.slab.fresh
    if fresh is None:
        return np.tile(counting(length), (count, 1))
    begins = np.flatnonzero(fresh[rows.start : rows.stop])
    places = counting(count * length) - np.repeat(begins, np.diff(begins, append=count * length))
    return places.reshape(count, length)


def collate(rows: Rows, emit: tuple[str, ...], labels: str | None) -> dict[str, NDArray[Any]]:
    """Return the arrays of a batch by name, each int64 [rows, seq_len] and its own memory."""
    ids = rows.slab.ids[rows.start : rows.stop].astype(np.int64)
    made: dict[str, NDArray[Any]] = {}
    for name in emit:
        if name == "input_ids":
            made[name] = ids
        elif name == "labels":
            made[name] = labels_of(rows, ids, following=labels == "next")
        else:
            made[name] = position_ids_of(rows, ids.shape[1])
    return made
