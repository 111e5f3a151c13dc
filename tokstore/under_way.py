"""Stored bytes under way from afar: who wants the same block as another waits for it, and does not ask again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakValueDictionary

from tokstore.forking import renew_after_fork
from tokstore.storage import Range

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Stored", "UnderWay"]

Stored: TypeAlias = "Mapping[Range, Future[memoryview | None]]"
"""Stored bytes of blocks, all there; None for what could not be read."""


class UnderWay:
    """Ranges that are being fetched, and those that were and are not let go of yet. Safe for threads."""

    def __init__(self) -> None:
        self._held: WeakValueDictionary[Range, Future[memoryview | None]] = WeakValueDictionary()
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make a new lock, and forget what other threads were fetching."""
        self._lock = threading.Lock()
        self._held.clear()

    def held(self, ranges: Sequence[Range]) -> dict[Range, Future[memoryview | None]]:
        """Return which of some ranges there are, to be kept until `fetch` has returned them."""
        with self._lock:
            found = {one: self._held.get(one) for one in ranges}
        return {one: held for one, held in found.items() if held is not None}

    def fetch(self, ranges: Sequence[Range], read: Callable[[Sequence[Range]], Sequence[memoryview | None]]) -> Stored:
        """Return ranges, each once; those that nobody else has are read in one trip.

        Args:
            ranges: What is wanted.
            read: Reads ranges. What it raises is raised here, and the ranges are ``None`` to others that wait.
        """
        from concurrent.futures import Future  # whoever only looks at a version needs no threads

        with self._lock:
            found = {one: self._held.get(one) for one in ranges}
            mine: dict[Range, Future[memoryview | None]] = {
                one: Future() for one, held in found.items() if held is None
            }
            self._held.update(mine)
        try:
            for future, data in zip(mine.values(), read(list(mine)) if mine else [], strict=True):
                future.set_result(data)
        finally:
            with self._lock:
                for one, future in mine.items():
                    if not future.done():
                        future.set_result(None)
                        self._held.pop(one, None)
        stored = {one: held for one, held in found.items() if held is not None} | mine
        for future in stored.values():
            future.result()
        return stored
