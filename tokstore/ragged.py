"""`Ragged`: rows of different lengths as one array of values and one of lengths.

The class is a thin pair of arrays, so that everything which moves tokens works on whole arrays; rows are views of
`values`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Ragged"]


class Ragged:
    """Rows of different lengths.

    Args:
        values: All rows one after another; any shape, the first axis is cut into rows.
        lengths: Rows' lengths, integers that add up to ``len(values)``.

    Raises:
        ValueError: The lengths are negative or do not add up.
        TypeError: The lengths are not integers.

    Example:
        >>> r = Ragged([1, 2, 3], [2, 0, 1])
        >>> r.to_list()
        [[1, 2], [], [3]]
        >>> r.pad(0)
        array([[1, 2],
               [0, 0],
               [3, 0]])
    """

    __slots__ = ("_offsets", "lengths", "values")

    def __init__(self, values: ArrayLike, lengths: ArrayLike) -> None:
        array = np.asarray(values)
        counts = np.asarray(lengths)
        if counts.size == 0:
            counts = counts.astype(np.int64)
        if counts.ndim != 1 or counts.dtype.kind not in "iu":
            raise TypeError(f"lengths are a flat array of integers, not {counts.dtype} of shape {counts.shape}")
        counts = counts.astype(np.int64, copy=False)
        if counts.size and int(counts.min()) < 0:
            raise ValueError(f"length {int(counts.min())} of row {int(counts.argmin())} is negative")
        if array.ndim == 0:
            raise TypeError("values are an array, not one number")
        # A single length that is too long is seen apart, so that the sum cannot wrap around.
        total = int(counts.sum()) if not counts.size or int(counts.max()) <= len(array) else sum(counts.tolist())
        if total != len(array):
            raise ValueError(f"lengths add up to {total}, but there are {len(array)} values")
        self.values: NDArray[Any] = array
        self.lengths: NDArray[np.int64] = counts
        self._offsets: NDArray[np.int64] | None = None

    @classmethod
    def from_rows(cls, rows: Iterable[ArrayLike], dtype: Any = None) -> Ragged:
        """Join rows (lists or arrays) into one `Ragged`."""
        arrays = [np.asarray(row, dtype=dtype) if len(row) else np.zeros(0, dtype or np.int64) for row in rows]  # type: ignore[arg-type]
        lengths = np.fromiter((len(row) for row in arrays), np.int64, len(arrays))
        full = [row for row in arrays if len(row)]
        return cls(np.concatenate(full) if full else np.zeros(0, dtype or np.int64), lengths)

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Where rows begin in `values`, with the end of the last one: ``len(self) + 1`` items."""
        if self._offsets is None:
            self._offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths)])
        return self._offsets

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, key: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, key: slice | Sequence[int] | NDArray[Any]) -> Ragged: ...
    def __getitem__(self, key: int | slice | Sequence[int] | NDArray[Any]) -> NDArray[Any] | Ragged:
        offsets = self.offsets
        if isinstance(key, (int, np.integer)):
            row = int(key) + (len(self) if key < 0 else 0)
            if not 0 <= row < len(self):
                raise IndexError(f"row {key} of {len(self)}")
            return self.values[offsets[row] : offsets[row + 1]]
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                stop = max(start, stop)
                return Ragged(self.values[offsets[start] : offsets[stop]], self.lengths[start:stop])
            key = np.arange(start, stop, step)
        rows = np.asarray(key)
        if rows.dtype == bool and rows.shape != (len(self),):
            raise IndexError(f"a boolean selection has one item per row: {len(self)}, not {rows.shape}")
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        rows = np.where(rows < 0, rows + len(self), rows)
        if rows.size and (int(rows.min()) < 0 or int(rows.max()) >= len(self)):
            raise IndexError(f"rows outside 0 to {len(self) - 1}")
        lengths = self.lengths[rows]
        return Ragged(self.values[ragged_index(offsets[rows], lengths)], lengths)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        offsets = self.offsets.tolist()
        return (self.values[a:b] for a, b in pairwise(offsets))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ragged):
            return NotImplemented
        return np.array_equal(self.lengths, other.lengths) and np.array_equal(self.values, other.values)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(str(row) for row in self[:3]) + (", …" if len(self) > 3 else "")
        return f"Ragged({len(self)} rows, {len(self.values)} values, {self.values.dtype}: {shown})"

    def to_list(self) -> list[list[Any]]:
        """Return the rows as lists."""
        return [row.tolist() for row in self]

    def pad(self, value: Any) -> NDArray[Any]:
        """Return a rectangular array, as wide as the longest row, filled up with `value`."""
        width = int(self.lengths.max()) if len(self) else 0
        out = np.full((len(self), width, *self.values.shape[1:]), value, self.values.dtype)
        out[np.arange(width) < self.lengths[:, None]] = self.values
        return out


def ragged_index(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices start, start+1, … of every row, all rows one after another."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if ends.size else 0
    index = np.repeat(starts - (ends - lengths), lengths)
    index += np.arange(total)
    return index
