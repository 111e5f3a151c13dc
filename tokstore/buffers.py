"""Rows that wait for their shard: one growing array per column, in the dtype they have at rest.

Room is reserved for a whole shard at once; the operating system gives memory only to what is touched, so that nothing
is copied when an array grows to the size that was asked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.block import ColumnRows
from tokstore.column_types import Category
from tokstore.schema import Column

__all__ = ["ColumnBuffer"]

_FIRST_ROWS = 4096


class _Growing:
    """A flat array that grows at its end."""

    def __init__(self, dtype: np.dtype[Any], room: int) -> None:
        self._array: NDArray[Any] = np.empty(room, dtype)
        self.used = 0

    def add(self, values: NDArray[Any]) -> None:
        """Append values."""
        end = self.used + len(values)
        if end > len(self._array):
            larger = np.empty(max(end, 2 * len(self._array)), self._array.dtype)
            larger[: self.used] = self._array[: self.used]
            self._array = larger
        self._array[self.used : end] = values
        self.used = end

    def view(self) -> NDArray[Any]:
        """Return what was added, without a copy."""
        return self._array[: self.used]


class ColumnBuffer:
    """Rows of one column that wait for their shard.

    Args:
        column: Name and type.
        room: Values to reserve room for.
    """

    def __init__(self, column: Column, room: int = _FIRST_ROWS) -> None:
        self.column = column
        kind = column.type
        # Categories wait as the strings that they are.
        self._values = _Growing(np.dtype(object) if isinstance(kind, Category) else kind.dtype, room)
        self._lengths = _Growing(np.dtype(np.int64), _FIRST_ROWS) if kind.ragged else None
        self._valid = _Growing(np.dtype(bool), _FIRST_ROWS) if kind.optional else None

    @property
    def values(self) -> int:
        """Number of values held."""
        return self._values.used

    @property
    def nbytes(self) -> int:
        """Bytes of values held."""
        return self._values.used * self.column.type.dtype.itemsize

    def add(self, rows: ColumnRows, start: int, stop: int) -> None:
        """Append some of the rows of a batch."""
        if rows.lengths is not None and self._lengths is not None:
            low = int(rows.lengths[:start].sum())
            chosen = rows.lengths[start:stop]
            self._values.add(rows.values[low : low + int(chosen.sum())])
            self._lengths.add(chosen)
        else:
            width = self.column.type.width
            self._values.add(rows.values[start * width : stop * width])
        if self._valid is not None:
            self._valid.add(np.ones(stop - start, bool) if rows.valid is None else rows.valid[start:stop])

    def rows(self) -> ColumnRows:
        """Return all rows held, without a copy."""
        lengths = None if self._lengths is None else self._lengths.view()
        valid = None if self._valid is None else self._valid.view()
        return ColumnRows(self._values.view(), lengths, valid, 1 if lengths is not None else self.column.type.width)
