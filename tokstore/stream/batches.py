"""Batches in order, cut from slabs of rows.

The consumer's own thread cuts slabs, which is one gather per window, because a thread that did it would fight for the
interpreter with the consumer (measured: it halves the rate). Decoding, which runs outside the interpreter, has its
own threads; they work ahead of what was handed out. When the iterator is closed or forgotten its executor ends and
the threads with it. Whatever fails in a thread is raised where its batch would have come.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokstore.order.turns import Turns
from tokstore.stream.mixing import MixPlan, MixReader
from tokstore.stream.plan import Plan
from tokstore.stream.rows import RowReader
from tokstore.stream.slab import Slab

__all__ = ["BatchIterator", "Rows", "mean_row", "slab_values", "values_from_afar"]

I64 = NDArray[np.int64]
_SLAB_VALUES, _LARGEST_SLAB = 1 << 20, 1 << 23
_SLAB_EPOCHS = 32
_FAR_VALUES = 1 << 21
"""Values to read ahead from afar at least, whatever the buffer: two fetches."""
_LANE_ROWS, _POOL_ROWS = 128, 32
"""Rows that a slab should have of every lane, so that looking up a window is worth its calls; of a pool, which is one
window, fewer, so that a slab stays in the cache."""


def slab_values(plan: Plan | MixPlan, keys: int) -> int:
    """Return the values that a slab should have.

    Args:
        plan: The plan of the stream.
        keys: Arrays of int64 with an item for every value that are made of a slab whole. With several of them it is
            they that take the memory.
    """
    most = max(_SLAB_VALUES, _LARGEST_SLAB // (1 + 4 * keys))
    mean = mean_row(plan)
    if plan.pooled:
        return min(max(_SLAB_VALUES, _POOL_ROWS * plan.lanes * mean), most)
    # Not more than a third of what the windows hold.
    wanted = min(_LANE_ROWS * mean, plan.window // 3) * plan.lanes
    return min(max(_SLAB_VALUES, wanted), most)


def values_from_afar(plan: Plan | MixPlan) -> int:
    """Return the values that are read ahead from a source that is far: a quarter of the windows."""
    return max(plan.lanes * plan.window // 4, _FAR_VALUES)


def mean_row(plan: Plan | MixPlan) -> int:
    """Return the values of a row, on average."""
    return plan.seq_len or max(1, plan.values // plan.rows)


class Rows(NamedTuple):
    """The rows of one batch: those from `start` to `stop` of a slab, and which batch of the rank it is."""

    slab: Slab
    start: int
    stop: int
    batch: int


class BatchIterator:
    """Hand out the rows of a stream, a batch at a time.

    Args:
        make_reader: Makes the reader, given the executor that decodes.
        plan: The plan of the stream.
        turns: Which rows are this worker's.
        start, end: First row and last row + 1, counted over all epochs; `end` is None for no end.
        batches: Number of batches of the rank; None for no end.
        done: Batches that this worker has made before.
        threads: Decoding threads.
        keys: As of `slab_values`.
    """

    def __init__(
        self,
        make_reader: Callable[[ThreadPoolExecutor], RowReader | MixReader],
        plan: Plan | MixPlan,
        turns: Turns,
        *,
        start: int,
        end: int | None,
        batches: int | None,
        done: int,
        threads: int,
        keys: int,
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="tokstore-decode")
        self._reader = make_reader(self._threads)
        # Also when the iterator is only forgotten: what is queued ends without work. No lock is taken here.
        weakref.finalize(self, self._reader.stop)
        self._turns, self._start, self._end, self._batches = turns, start, end, batches
        mean, wanted = mean_row(plan), slab_values(plan, keys)
        # Tiny sources have many epochs in a slab, and each costs some calls.
        most = plan.slab_rows if isinstance(plan, MixPlan) else _SLAB_EPOCHS * plan.rows // turns.ranks
        wanted = min(wanted, max(1, most) * mean)
        self._slab_batches = max(1, wanted // (turns.batch_rows * mean))
        if turns.chunk > 1:
            self._slab_batches = turns.chunk
        # About one window's worth of rows, over all ranks and workers, is decoded ahead; the next slab, too, where that
        # adds little to the windows that are held anyway.
        ahead = 0
        if not plan.pooled:
            slab = self._slab_batches * turns.batch_rows * turns.ranks * turns.workers
            little = plan.lanes * plan.window // (4 * mean)
            if self._reader.is_far:
                # The line has to be busy until the slab after the next one is asked for, however fast this one is read.
                ahead = -(-values_from_afar(plan) // mean)
            else:
                ahead = min(slab, little)
            ahead = min(max(plan.lanes, plan.window // mean, ahead), plan.rows)
        self._ahead = -(-ahead // (turns.global_rows * turns.workers))
        self._done = done
        self._slab: Slab | None = None
        self._numbers: list[int] = []
        self._at = 0
        self.closed = False

    def __iter__(self) -> BatchIterator:
        return self

    def next_slab(self) -> tuple[Slab, list[int]]:
        """Return a whole slab, and which batches it has."""
        self._advance(quick=self._slab is None)
        if self._slab is None:
            raise StopIteration
        self._at = len(self._numbers)
        return self._slab, self._numbers

    def __next__(self) -> Rows:
        if self._slab is None or self._at == len(self._numbers):
            self._advance(quick=self._slab is None)
        slab, size, at = self._slab, self._turns.batch_rows, self._at
        if slab is None:
            raise StopIteration
        self._at += 1
        return Rows(slab, at * size, at * size + size, self._numbers[at])

    def _rows(self, batches: I64) -> I64:
        """Return the rows of batches, -1 past the end of the stream."""
        rows = self._turns.rows(self._start, batches)
        if self._end is not None and len(rows) and int(rows[-1]) >= self._end:
            rows[rows >= self._end] = -1
        return rows

    def _advance(self, *, quick: bool) -> None:
        """Cut the next slab; the first one is a single batch. At the end, or when it failed, end the threads."""
        count = 1 if quick and self._turns.chunk == 1 else self._slab_batches
        numbers = np.zeros(0, np.int64) if self.closed else self._turns.batches(self._done, self._batches, count)
        self._slab = None
        if not len(numbers):
            self.close()
            return
        self._done += len(numbers)
        later = self._turns.batches(self._done, self._batches, self._ahead)
        try:
            self._slab = self._reader.slab(self._rows(numbers), self._rows(later), quick=quick)
        except BaseException:
            self.close()
            raise
        self._numbers, self._at = numbers.tolist(), 0

    def read_ahead(self) -> None:
        """Let the threads decode what the first slab did without; its batches are best made before."""
        self._reader.read_ahead()

    def close(self) -> None:
        """End the threads. What is being decoded is finished first, and no batch comes any more."""
        self._slab, self.closed = None, True
        self._reader.stop()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._reader.clear()
