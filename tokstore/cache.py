"""A thread-safe cache that is bounded in items and in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from tokstore.forking import renew_after_fork

__all__ = ["Cache"]

_Key = TypeVar("_Key", bound=Hashable)
_Item = TypeVar("_Item")


class Cache(Generic[_Key, _Item]):
    """A thread-safe cache that drops the items used longest ago, by number and by bytes."""

    def __init__(self, count: int, nbytes: int | None = None, weigh: Callable[[_Item], int] | None = None) -> None:
        self._count, self._nbytes, self._weigh = count, nbytes, weigh
        self._items: OrderedDict[_Key, _Item] = OrderedDict()
        self._held = 0
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        self._lock = threading.Lock()

    def get(self, key: _Key) -> _Item | None:
        with self._lock:
            found = self._items.get(key)
            if found is not None:
                self._items.move_to_end(key)
            return found

    def put(self, key: _Key, item: _Item) -> None:
        with self._lock:
            if key in self._items:
                return
            self._items[key] = item
            self._held += self._weigh(item) if self._weigh else 0
            while len(self._items) > 1 and (
                len(self._items) > self._count or (self._nbytes is not None and self._held > self._nbytes)
            ):
                _, dropped = self._items.popitem(last=False)
                self._held -= self._weigh(dropped) if self._weigh else 0
