"""Arrays whose memory is used again once nobody holds them any more.

Fresh memory is dear: the system clears it and maps it page by page, which takes longer than decoding tokens into it.
A scan that hands out batch after batch therefore lends memory, and lends it again when the batch is gone.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.forking import renew_after_fork

__all__ = ["LEAST_BYTES", "Given", "Recycling", "recycling"]

LEAST_BYTES = 1 << 16  # smaller arrays are served well by the allocator
_MOST_BYTES = 1 << 24  # larger ones are rare, and too much to keep
_KEPT = 8
_SPARE = 2  # an array is not put into memory of more than so many times its size


def _unused_count() -> int:
    """Return the reference count that an array has which only a list and a loop variable hold."""
    held = [np.empty(0, np.uint8)]
    return next(sys.getrefcount(one) for one in held)


class Recycling:
    """Make arrays in memory that is used again when nothing refers to the earlier array.

    Thread-safe. What is lent belongs to the caller for as long as he
    holds the array, a view of it, or a tensor or buffer that shares its memory, since each of them holds a reference.

    Example:
        >>> arrays = Recycling()
        >>> first = arrays.empty(1 << 20, np.dtype(np.int32))
        >>> address = first.ctypes.data
        >>> del first
        >>> arrays.empty(1 << 20, np.dtype(np.int32)).ctypes.data == address
        True
    """

    def __init__(self) -> None:
        self._memory: list[NDArray[np.uint8]] = []
        self._unused = _unused_count()
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make a new lock."""
        self._lock = threading.Lock()

    def empty(self, size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array of `size` undefined values."""
        nbytes = size * dtype.itemsize
        if not LEAST_BYTES <= nbytes <= _MOST_BYTES or dtype.hasobject:
            return np.empty(size, dtype)
        with self._lock:
            for memory in self._memory:
                if nbytes <= memory.nbytes <= _SPARE * nbytes and sys.getrefcount(memory) == self._unused:
                    return memory[:nbytes].view(dtype)
            if len(self._memory) == _KEPT:
                self._memory.pop(0)  # whoever holds it goes on holding it
            # Some room more, so that the next batch, a little longer, fits too.
            made = np.empty(nbytes + (nbytes >> 4), np.uint8)
            self._memory.append(made)
            return made[:nbytes].view(dtype)


class Given:
    """Hand out one array that is there already, to the first who asks for exactly it; others get new ones.

    Args:
        array: Flat.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._array: NDArray[Any] | None = array

    def empty(self, size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array of `size` undefined values."""
        given = self._array
        if given is not None and given.size == size and given.dtype == dtype:
            self._array = None
            return given
        return np.empty(size, dtype)


_SHARED = Recycling()


def recycling() -> Recycling:
    """Return what lends arrays to this process: memory that one thread, or one open store, has used serves the next."""
    return _SHARED
