"""Windows are decoded on threads; what comes from afar is fetched before, on threads of its own.

A thread that decodes and fetches in turn leaves the line idle while it decodes, and waits for every trip. So a task of
a far source is two: a fetch, of which several are under way together, and a decoding that waits for it. Both are taken
up in the order in which they were asked for. Stored bytes are held from one to the other: of what was asked for and is
not decoded yet, at most, which is never more than the windows that are held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from tokstore.stream.damage import Report
from tokstore.stream.plan import Plan
from tokstore.stream.source import Source
from tokstore.stream.stretches import Stretch
from tokstore.stream.windows import Place, Window, decode_together, extent

__all__ = ["Decoding"]

_TASK_VALUES = 1 << 20
_FETCHES = 8
"""Fetches under way together, of about a megabyte each: 200 MB/s at a latency of 40 ms."""

Stored = Mapping[Any, Any]


class Decoding:
    """Decode windows on threads.

    Args:
        source: Where values are.
        plan: Their order.
        threads: Decode.
        report: Is told blocks that cannot be read, whose ids are lost then; without it they are an error.
    """

    def __init__(self, source: Source, plan: Plan, threads: Executor, report: Report | None) -> None:
        self._source, self._plan, self._threads, self._report = source, plan, threads, report
        self._is_far = source.is_far
        self._fetchers: ThreadPoolExecutor | None = None
        self._pending: dict[Stretch, Future[None]] = {}
        self._first: Stored | None = None
        self._stopped = False

    def request(self, windows: Iterable[Window]) -> None:
        """Hand what is not decoded yet of windows to the threads, unless it is there already."""
        for window in windows:
            waiting: list[Stretch] = []
            size = 0
            for stretch in window.stretches:
                if not stretch.done and stretch not in self._pending:
                    waiting.append(stretch)
                    size += stretch.size
                    if size >= _TASK_VALUES:
                        self._submit(waiting, window)
                        waiting, size = [], 0
            if waiting:
                self._submit(waiting, window)

    def wait(self, windows: Iterable[Window]) -> None:
        """Wait until windows are decoded; what went wrong in a thread is raised here."""
        for window in windows:
            for stretch in window.stretches:
                if not stretch.done:
                    self._pending[stretch].result()
        self._pending = {stretch: task for stretch, task in self._pending.items() if not stretch.done}
        self._first = None

    def decode_now(self, places: Sequence[Place]) -> None:
        """Decode stretches that are no tasks, on the threads, and wait for them."""
        # Kept until the windows of the same blocks are decoded, so that they are not fetched again.
        self._first = self._fetch([stretch for stretch, _ in places]) if self._is_far else None
        decode_together(self._source, self._plan, places, self._threads, self._report, self._first)

    def stop(self) -> None:
        """Let everything that is queued end at once. Takes no lock: it may run inside garbage collection."""
        self._stopped = True

    def clear(self) -> None:
        """Let go of what is queued, and end the threads that fetch."""
        self._pending.clear()
        self._first = None
        if self._fetchers is not None:
            self._fetchers.shutdown(wait=True, cancel_futures=True)
            self._fetchers = None

    def _submit(self, stretches: list[Stretch], window: Window) -> None:
        fetched = None
        if self._is_far:
            if self._fetchers is None:
                self._fetchers = ThreadPoolExecutor(_FETCHES, thread_name_prefix="tokstore-ahead")
            fetched = self._fetchers.submit(self._fetch, stretches)
        task = self._threads.submit(self._decode, stretches, window, fetched)
        self._pending |= dict.fromkeys(stretches, task)

    def _fetch(self, stretches: Sequence[Stretch]) -> Stored:
        """Fetch the stored bytes of stretches in one trip, unless nobody waits for them any more."""
        if self._stopped:
            return {}
        return self._source.fetch([extent(self._source, stretch) for stretch in stretches])

    def _decode(self, stretches: list[Stretch], window: Window, fetched: Future[Stored] | None) -> None:
        """Decode stretches of a window, unless nobody waits for them any more."""
        if self._stopped:
            return
        stored = None if fetched is None else fetched.result()
        places = [(one, window) for one in stretches]
        decode_together(self._source, self._plan, places, report=self._report, stored=stored)
