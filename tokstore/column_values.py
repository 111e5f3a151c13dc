"""Values of one column in any form that a user has them -> rows by position (checked `ColumnRows`).

An array with one item per sample, batches, a function of other columns, or items for some sample ids: each becomes a
source that hands out the rows of one run of samples after another, so that nothing larger is held than was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from tokstore.block import ColumnRows
from tokstore.buffers import ColumnBuffer
from tokstore.intake import missing_rows, take_in
from tokstore.packed import Ints
from tokstore.ragged import Ragged, ragged_index
from tokstore.schema import Column

__all__ = [
    "ByPosition",
    "InOrder",
    "RowSource",
    "SomeRows",
    "apply_function",
    "as_whole",
    "overlay",
    "rows_at_once",
    "rows_of",
]

_PIECE_BYTES, _PIECE_ROWS, _LISTED_ROWS = 64 << 20, 1 << 20, 1 << 16


class RowSource(Protocol):
    """Rows of consecutive samples."""

    def take(self, count: int) -> ColumnRows:
        """Return the rows of the next samples."""

    def end(self) -> None:
        """Check that nothing is left."""


def rows_at_once(column: Column) -> int:
    """Return how many rows of a column are worked on at once: some tens of megabytes where their size is known."""
    if column.type.ragged:
        return _LISTED_ROWS
    return max(1, min(_PIECE_ROWS, _PIECE_BYTES // max(1, missing_rows(column, 1).values.nbytes)))


class SomeRows(Protocol):
    """Rows of some samples."""

    def counts(self, starts: Ints) -> Ints:
        """Return how many samples have a row, of runs of positions that begin at `starts` and end at the next."""

    def among(self, first: int, stop: int) -> tuple[Ints, ColumnRows]:
        """Return which samples between two positions have a row, counted from the first, and these rows."""


class InOrder:
    """Rows that come in batches of any size, in the order of the samples.

    Args:
        column: The column.
        batches: The rows.
        samples: How many there have to be.
    """

    def __init__(self, column: Column, batches: Iterator[ColumnRows], samples: int) -> None:
        self._column, self._batches, self._samples = column, batches, samples
        self._held: ColumnRows | None = None
        self._at = self._given = 0

    def take(self, count: int) -> ColumnRows:
        """Return the rows of the next samples; see `RowSource`."""
        made = ColumnBuffer(self._column)
        while count:
            if self._held is None or self._at == self._held.rows:
                self._held, self._at = self._next(), 0
            part = min(count, self._held.rows - self._at)
            made.add(self._held, self._at, self._at + part)
            self._at += part
            count -= part
        return made.rows()

    def _next(self) -> ColumnRows:
        """Return the next batch."""
        found = next(self._batches, None)
        if found is None:
            raise self._wrong(f"{self._given} values")
        self._given += found.rows
        return found

    def end(self) -> None:
        """Check that nothing is left; see `RowSource`."""
        if self._held is not None and self._at < self._held.rows:
            raise self._wrong(f"{self._given} values or more")
        if any(one.rows for one in self._batches):
            raise self._wrong(f"more than {self._given} values")

    def _wrong(self, given: str) -> ValueError:
        return ValueError(f"column {self._column.name!r}: {given} for {self._samples} samples, one is needed for each")


class ByPosition:
    """Rows of some samples; those of all others are missing.

    Args:
        column: The column.
        values: One item per sample that has one.
        positions: The positions of these samples, in any order.
    """

    def __init__(self, column: Column, values: Any, positions: Ints) -> None:
        self._column, self._values = column, values
        self._order = np.argsort(positions, kind="stable")
        self.positions = positions[self._order]
        self._at = 0

    def take(self, count: int) -> ColumnRows:
        """Return the rows of the next samples; see `RowSource`."""
        at, rows = self.among(self._at, self._at + count)
        self._at += count
        return overlay(missing_rows(self._column, count), at, rows)

    def counts(self, starts: Ints) -> Ints:
        """Return how many samples have a row; see `SomeRows`."""
        return np.diff(np.searchsorted(self.positions, starts))

    def among(self, first: int, stop: int) -> tuple[Ints, ColumnRows]:
        """Return which samples have a row, and these rows; see `SomeRows`."""
        a, b = np.searchsorted(self.positions, [first, stop]).tolist()
        chosen = self._order[a:b]
        if isinstance(self._values, (np.ndarray, Ragged)):
            items: Any = self._values[chosen]
        else:
            items = [self._values[i] for i in chosen.tolist()]
        return self.positions[a:b] - first, take_in(self._column, items)

    def end(self) -> None:
        """Nothing can be left; see `RowSource`."""


def as_whole(values: Any) -> Any | None:
    """Return values that are all there: an array, `Ragged` or sequence; ``None`` for anything else."""
    if isinstance(values, (Ragged, np.ndarray)):
        return values
    if isinstance(values, (str, bytes, dict)):
        return None
    if hasattr(values, "__array__"):
        return np.asarray(values)
    return values if isinstance(values, Sequence) else None


def rows_of(column: Column, values: Any) -> Iterator[ColumnRows]:
    """Check values with one item per sample, a piece at a time; batches of values are taken one by one.

    Raises:
        TypeError: It is neither.
    """
    whole = as_whole(values)
    if whole is not None:
        return _pieces(column, whole)
    if isinstance(values, (str, bytes, dict)) or not isinstance(values, Iterable):
        raise TypeError(
            f"column {column.name!r} takes an array, Ragged or list with one item per sample, an iterator of such "
            f"batches, or a function with inputs=, not {type(values).__name__}"
        )
    return (take_in(column, batch) for batch in values)


def _pieces(column: Column, whole: Any) -> Iterator[ColumnRows]:
    """Check an array or a list piece by piece."""
    step = rows_at_once(column)
    if not isinstance(whole, (np.ndarray, Ragged)) or (isinstance(whole, np.ndarray) and whole.dtype == object):
        step = min(step, _LISTED_ROWS)
    for start in range(0, len(whole), step):
        try:
            yield take_in(column, whole[start : start + step])
        except (TypeError, ValueError) as error:
            raise type(error)(f"{error}, counted from value {start}" if start else str(error)) from error


def apply_function(
    column: Column, function: Callable[[dict[str, Any]], Any], batches: Iterable[dict[str, Any]]
) -> Iterator[ColumnRows]:
    """Yield what a function makes of batches of other columns."""
    for batch in batches:
        count = len(batch["sample_id"])
        rows = take_in(column, function(batch))
        if rows.rows != count:
            raise ValueError(
                f"column {column.name!r}: the function returned {rows.rows} values for a batch of {count} samples"
            )
        yield rows


def overlay(rows: ColumnRows, at: Ints, new: ColumnRows) -> ColumnRows:
    """Return rows of which some are replaced.

    Args:
        rows: The rows.
        at: Which of them are replaced.
        new: What they are replaced by.
    """
    valid = None if rows.valid is None else rows.valid.copy()
    if valid is not None:
        valid[at] = True if new.valid is None else new.valid
    if rows.lengths is not None and new.lengths is not None:
        lengths, starts = rows.lengths.copy(), np.cumsum(rows.lengths) - rows.lengths
        lengths[at] = new.lengths
        starts[at] = len(rows.values) + np.cumsum(new.lengths) - new.lengths
        values = np.concatenate([rows.values, new.values])[ragged_index(starts, lengths)]
        return replace(rows, values=values, lengths=lengths, valid=valid)
    values = rows.values.copy()
    if rows.rows:
        values.reshape(rows.rows, -1)[at] = new.values.reshape(len(at), values.size // rows.rows)
    return replace(rows, values=values, valid=valid)
