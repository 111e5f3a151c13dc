"""Rows of training in order, many at a time, from windows that threads decode ahead (order.md 7).

A *slab* is a run of consecutive rows of the global row sequence as flat arrays. Its rows lie on the token line in a
few runs, one per lane, and each run is one gather. Before a slab is cut, the windows that the rows after it need are
handed to the decoding threads, about one window's worth of rows ahead; windows that neither needs are dropped. So
memory is that of `lanes` windows and a few more.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.order import Line, split_epochs
from tokstore.order.spans import BLOCK
from tokstore.stream.lines import Key, Pool, PoolLine, SpanLine
from tokstore.stream.plan import Plan, Source
from tokstore.stream.windows import Stretch, Window, decode

__all__ = ["RowReader", "Slab"]

I64 = NDArray[np.int64]


@dataclass(slots=True)
class Slab:
    """Consecutive rows.

    Args:
        ids: Token ids, [rows, seq_len], of a narrow dtype; padding after `used`.
        used: int64 per row, values of the row; less than `seq_len` at the end of an epoch, 0 in rows that fill up a
            batch.
        fresh: Where documents begin or go on from another row, [rows, seq_len]; None when nobody asked.
        following: int64 per row, the id after the last one of the row on the line, -100 where there is none or (if
            documents are told apart) it begins another document; None when nobody asked.
    """

    ids: NDArray[Any]
    used: I64
    fresh: NDArray[np.bool_] | None
    following: I64 | None


@dataclass(slots=True)
class _Run:
    """Rows that follow each other on the line: `places` are their numbers in the slab."""

    epoch: int
    start: int
    stop: int
    places: I64


class RowReader:
    """Cut slabs of rows. One thread at a time may call `slab`; decoding runs on `threads`."""

    def __init__(
        self,
        source: Source,
        plan: Plan,
        pool: Pool | None,
        threads: Executor,
        *,
        dtype: np.dtype[Any],
        pad: int,
        documents: bool,
        following: bool,
        end: int | None,
    ) -> None:
        self._source, self._plan, self._pool, self._threads = source, plan, pool, threads
        self._dtype, self._pad, self._documents, self._following, self._end = dtype, pad, documents, following, end
        self._epochs: dict[int, tuple[SpanLine | PoolLine, Line]] = {}
        self._windows: dict[tuple[int, Key], Window] = {}
        self._pending: dict[Stretch, Future[None]] = {}
        self._stopped = False
        self._ahead = 0 if pool is not None else min(max(plan.lanes, plan.window // plan.seq_len), plan.rows)

    def slab(self, start: int, stop: int, *, quick: bool = False) -> Slab:
        """Return the rows from `start` to `stop`, counted over all epochs; rows past the end of the stream are filled.

        Args:
            start: First row.
            stop: Last row + 1.
            quick: Wait only for what these rows need, if that is less than the windows they lie in.
        """
        if self._stopped:
            raise CancelledError
        end = stop if self._end is None else min(stop, self._end)
        runs = self._runs(start, end)
        wanted = [(run, self._hold(run)) for run in runs]
        if quick and self._read_parts(wanted):
            self._request(self._stretches(wanted))
            return self._cut(stop - start, wanted)
        ahead = end + self._ahead if self._end is None else min(end + self._ahead, self._end)
        later = [(run, self._hold(run)) for run in self._runs(end, ahead)]
        kept = {(run.epoch, key) for run, keys in wanted + later for key in keys}
        for name in self._windows.keys() - kept:
            del self._windows[name]
        self._request(self._stretches(wanted))
        self._request(self._stretches(later))
        self._wait(self._stretches(wanted))
        return self._cut(stop - start, wanted)

    def stop(self) -> None:
        """Let everything that is queued end at once. Takes no lock: it may run inside garbage collection."""
        self._stopped = True

    def clear(self) -> None:
        """Let go of windows and plans of epochs."""
        self._windows.clear()
        self._epochs.clear()
        self._pending.clear()

    def _decode(self, stretch: Stretch, window: Window) -> None:
        """Decode a stretch, unless nobody waits for it any more."""
        if not self._stopped:
            decode(self._source, self._plan, stretch, window.values)

    def _runs(self, start: int, stop: int) -> list[_Run]:
        """Sort rows into runs that follow each other on the line."""
        found = []
        for epoch, first, last in split_epochs(start, stop, self._plan.rows):
            line_rows = self._line(epoch)[1].line_rows(np.arange(first, last, dtype=np.int64))
            order = np.argsort(line_rows, kind="stable")
            ordered = line_rows[order]
            breaks = [0, *(np.flatnonzero(np.diff(ordered) != 1) + 1).tolist(), len(order)]
            places = order + (epoch * self._plan.rows + first - start)
            for a, b in pairwise(breaks):
                line_start = int(ordered[a]) * self._plan.seq_len
                line_stop = min((int(ordered[b - 1]) + 1) * self._plan.seq_len, self._plan.values)
                found.append(_Run(epoch, line_start, line_stop, places[a:b]))
        return found

    def _line(self, epoch: int) -> tuple[SpanLine | PoolLine, Line]:
        """Return the line of an epoch; the last two are kept."""
        found = self._epochs.get(epoch)
        if found is None:
            for old in [number for number in self._epochs if number < epoch - 1]:
                del self._epochs[old]
            line: SpanLine | PoolLine
            if self._pool is not None:
                line = PoolLine(self._plan, self._pool, epoch)
            else:
                line = SpanLine(self._source, self._plan, self._dtype, epoch)
            found = self._epochs[epoch] = line, Line(line.lane_starts, self._plan.seq_len)
        return found

    def _hold(self, run: _Run) -> list[Key]:
        """Make the windows that a run lies in, with one more value for following ids, and return their keys."""
        line = self._line(run.epoch)[0]
        keys = line.keys(run.start, min(run.stop + self._following, self._plan.values))
        for key in keys:
            if (run.epoch, key) not in self._windows:
                self._windows[run.epoch, key] = line.make(key)
        return keys

    def _stretches(self, wanted: list[tuple[_Run, list[Key]]]) -> list[tuple[Window, Stretch]]:
        """List what is not decoded yet of the windows of some runs, every window once."""
        names = dict.fromkeys((run.epoch, key) for run, keys in wanted for key in keys)
        windows = {id(self._windows[name].values): self._windows[name] for name in names}
        return [(window, stretch) for window in windows.values() for stretch in window.stretches if not stretch.done]

    def _request(self, stretches: Iterable[tuple[Window, Stretch]]) -> None:
        """Hand stretches to the threads, those that are not there already."""
        for window, stretch in stretches:
            if stretch not in self._pending:
                self._pending[stretch] = self._threads.submit(self._decode, stretch, window)

    def _wait(self, stretches: Iterable[tuple[Window, Stretch]]) -> None:
        """Wait until stretches are decoded; what went wrong in a thread is raised here."""
        for _, stretch in stretches:
            self._pending[stretch].result()
        self._pending = {stretch: task for stretch, task in self._pending.items() if not stretch.done}

    def _read_parts(self, wanted: list[tuple[_Run, list[Key]]]) -> bool:
        """Decode single items where that is less work than whole windows; tell whether it was."""
        whole = sum(stretch.size for _, stretch in self._stretches(wanted))
        pieces = []
        for run, keys in wanted:
            end = min(run.stop + self._following, self._plan.values)
            for key in keys:
                window = self._windows[run.epoch, key]
                pieces.append((window, max(run.start, window.start), min(end, window.stop)))
        items = sum(j - i for i, j, _ in (window.items(start, stop) for window, start, stop in pieces))
        if items * BLOCK >= whole:
            return False
        tasks = [
            self._threads.submit(self._decode, part, window)
            for window, start, stop in pieces
            for part in window.parts(self._source, self._plan, start, stop)
        ]
        for task in tasks:
            task.result()
        return True

    def _cut(self, rows: int, wanted: list[tuple[_Run, list[Key]]]) -> Slab:
        """Copy decoded values into rows."""
        length = self._plan.seq_len
        ids = np.empty((rows, length), self._dtype)
        used = np.zeros(rows, np.int64)
        fresh = np.zeros((rows, length), bool) if self._documents else None
        following = np.full(rows, -100, np.int64) if self._following else None
        for run, keys in wanted:
            count = len(run.places)
            flat = np.empty(count * length + 1, self._dtype)
            begins = np.zeros(count * length + 1, bool) if self._documents else None
            end = min(run.stop + self._following, self._plan.values)
            for key in keys:
                window = self._windows[run.epoch, key]
                start, stop = max(run.start, window.start), min(end, window.stop)
                part = slice(start - run.start, stop - run.start)
                window.read(start, stop, flat[part], None if begins is None else begins[part])
            size = run.stop - run.start
            flat[end - run.start :] = self._pad
            ids[run.places] = flat[:-1].reshape(count, length)
            used[run.places] = np.minimum(size - np.arange(count) * length, length)
            if fresh is not None and begins is not None:
                fresh[run.places] = begins[:-1].reshape(count, length)
            if following is not None:
                places = np.arange(1, count + 1) * length
                last = np.minimum(places, end - run.start - 1)
                after = flat[last].astype(np.int64)
                missing = places > last
                if begins is not None:
                    missing |= begins[last]
                following[run.places] = np.where(missing, -100, after)
        ids[used == 0] = self._pad
        if fresh is not None:
            fresh[:, 0] = True
        return Slab(ids, used, fresh, following)
