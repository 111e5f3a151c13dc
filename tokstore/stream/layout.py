"""Where the values of rows stand: in which pieces of which windows, in one epoch (order.md 6 and 7).

A layout knows the line of its epoch and the windows of it that are held. It says which windows some rows need, and,
once those are made, which pieces of them the rows are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokstore.order import GROUP, Line, derive_key, fit_rows, shuffled
from tokstore.ragged import ragged_index
from tokstore.stream.lines import Key, Pool, PoolLine, SpanLine
from tokstore.stream.plan import Plan
from tokstore.stream.row_lines import RowPoolLine, RowSpanLine
from tokstore.stream.source import Source
from tokstore.stream.tally import Tally
from tokstore.stream.weighted_lines import WeightedLine, WeightedPoolLine, WeightedRowLine, WeightedRowPoolLine
from tokstore.stream.windows import LineWindow, Pieces, RowWindow, Window

__all__ = ["Layout", "Placed", "RowLayout", "ValueLayout", "make_layout"]

I64 = NDArray[np.int64]
Hold = Callable[[Key, int | None], Window]
"""Returns a window, given how far on the line it is wanted; None for all of it."""
ValueLine = PoolLine | SpanLine | WeightedLine | WeightedPoolLine


class Placed(NamedTuple):
    """Pieces of rows, those of a row one after another, and the window of each.

    Args:
        pieces: Numbers of rows count as those that were asked for.
        window: int64 per piece, index into `windows`.
        windows: The windows.
        ends: int64 per piece, where on the line the part of a sample ends that ends with it, else -1; only for `fit`
            in view order, where ids that follow are wanted.
    """

    pieces: Pieces
    window: I64
    windows: list[Window]
    ends: I64 | None = None


class _Group(NamedTuple):
    """The rows of a group that was packed.

    Args:
        row_starts: int64, first piece of every row, and the end of the last.
        pieces: Their pieces; numbers of rows count from the first row of the group.
        window: int64 per piece, index into `keys`.
        keys: The windows. They are not kept, so that they can be let go of before the group is.
        ends: As of `Placed`.
    """

    row_starts: I64
    pieces: Pieces
    window: I64
    keys: list[Key]
    ends: I64 | None


class ValueLayout:
    """Rows of a line that is counted in values: `concat` and `fit`."""

    def __init__(self, plan: Plan, line: ValueLine, epoch: int, following: bool) -> None:
        self._plan, self.line, self._epoch = plan, line, epoch
        # In view order a sample may go on in the window after a part of it.
        self._following = following and (plan.packing == "concat" or not plan.shuffle)
        self.turns = Line(line.lane_starts, plan.group_values, plan.group_rows)
        self._groups: dict[int, _Group] = {}

    def keys(self, line_rows: I64) -> dict[Key, int | None]:
        """Return the windows that rows of the line need, and how far on the line; rows ascend."""
        starts, stops = self._bounds(line_rows)
        if self._following:
            stops = np.minimum(stops + 1, self._plan.values)
        return {key: int(ends[-1]) for key, _, _, ends in self._windows(starts, stops)}

    def reach(self, lane: int) -> int:
        """Return how far on the line the rows of the lane before need values of a lane, in a row by itself."""
        plan = self._plan
        if not lane or plan.packing != "concat":  # a group stays as it was packed, with the windows that it had then
            return 0
        begin = int(self.line.lane_starts[lane])
        return min(-(-begin // plan.group_values) * plan.group_values + self._following, plan.values)

    def _bounds(self, line_rows: I64) -> tuple[I64, I64]:
        """Return the values of the line that rows, or the groups of rows, are made of."""
        plan = self._plan
        groups = line_rows if plan.group_rows == 1 else np.unique(line_rows // plan.group_rows)
        starts = groups * plan.group_values
        return starts, np.minimum(starts + plan.group_values, plan.values)

    def _windows(self, starts: I64, stops: I64) -> Iterator[tuple[Key, slice, I64, I64]]:
        """Yield every window that intervals of the line lie in, and the intervals, cut where a window ends."""
        starts, at = starts.copy(), 0
        while at < len(starts):
            key = self.line.key(int(starts[at]))
            end = self.line.end(key)
            upto = int(np.searchsorted(starts, end))
            yield key, slice(at, upto), starts[at:upto].copy(), np.minimum(stops[at:upto], end)
            if int(stops[upto - 1]) > end:
                starts[upto - 1] = end
                upto -= 1
            at = upto

    def _pieces(self, starts: I64, stops: I64, hold: Hold) -> Placed:
        """Return what lies on the line in intervals that do not overlap and ascend."""
        found: list[Pieces] = []
        windows: list[Window] = []
        for key, part, a, b in self._windows(starts, stops):
            window = hold(key, int(b[-1]))
            if not isinstance(window, LineWindow):
                raise TypeError("a line of values has windows of values")
            pieces = window.pieces(a, b)
            found.append(pieces._replace(row=pieces.row + part.start))
            windows.append(window)
        return _joined(found, windows)

    def place(self, line_rows: I64, hold: Hold) -> Placed:
        """Return the pieces of rows of the line; rows ascend."""
        if self._plan.packing == "concat":
            return self._without_padding(self._pieces(*self._bounds(line_rows), hold))
        rows_of = self._plan.group_rows
        groups = line_rows // rows_of
        first_rows = np.flatnonzero(np.diff(groups, prepend=-1))  # rows ascend
        groups = groups[first_rows]
        for group in groups.tolist():
            if group not in self._groups:
                self._groups[group] = self._pack(group, hold)
        while len(self._groups) > 4 * self._plan.lanes + len(line_rows):
            self._groups.pop(next(iter(self._groups)))
        held = [self._groups[group] for group in groups.tolist()]
        names = list(dict.fromkeys(key for one in held for key in one.keys))
        numbers = [np.array([names.index(key) for key in one.keys]) for one in held]
        found, owners, ends = [], [], []
        starts, stops = first_rows.tolist(), [*first_rows[1:].tolist(), len(line_rows)]
        lows, highs = (line_rows[first_rows] % rows_of).tolist(), (line_rows[np.array(stops) - 1] % rows_of).tolist()
        for number, one, a, b, first, last in zip(numbers, held, starts, stops, lows, highs, strict=True):
            index: I64 | slice
            if last - first == b - 1 - a:  # rows one after another, as a lane has them
                index = slice(int(one.row_starts[first]), int(one.row_starts[last + 1]))
                row = one.pieces.row[index] + (a - first)
            else:
                rows = line_rows[a:b] % rows_of
                count = one.row_starts[rows + 1] - one.row_starts[rows]
                index, row = ragged_index(one.row_starts[rows], count), np.repeat(np.arange(a, b), count)
            _, *others = one.pieces
            found.append(Pieces(row, *(field[index] for field in others)))
            owners.append(number[one.window[index]] if len(names) > 1 else np.zeros(len(row), np.int64))
            ends += [] if one.ends is None else [one.ends[index]]
        windows = [hold(key, None) for key in names]
        return Placed(_merged(found), np.concatenate(owners), windows, np.concatenate(ends) if ends else None)

    def _without_padding(self, placed: Placed) -> Placed:
        """Leave out the padding of weighted lines, so that it comes at the end of a row (order.md 11.3)."""
        if not self._plan.is_weighted:
            return placed
        real = np.flatnonzero(placed.pieces.position >= 0)
        return Placed(placed.pieces.at(real), placed.window[real], placed.windows)

    def _pack(self, group: int, hold: Hold) -> _Group:
        """Pack the items in one group into its rows (order.md 6.4)."""
        plan = self._plan
        start = group * plan.group_values
        stop = min(start + plan.group_values, plan.values)
        keys = [key for key, *_ in self._windows(np.array([start]), np.array([stop]))]
        placed = self._pieces(np.array([start]), np.array([stop]), hold)
        lengths = placed.pieces.length
        ends = start + np.cumsum(lengths)
        begins, sizes = ends - lengths, lengths
        if not plan.shuffle:  # items are whole samples there, wherever spans and windows end
            first = np.flatnonzero(placed.pieces.begins | (np.arange(len(lengths)) == 0))
            begins, sizes = begins[first], np.add.reduceat(lengths, first)
        rows = min(plan.group_rows, -(-(stop - start) * plan.group_rows // plan.group_values))
        place = None
        if plan.shuffle:
            key = derive_key(plan.seed, GROUP, self._epoch, window=group, source=plan.source)
            place = np.empty(rows, np.int64)
            place[shuffled(rows, key)] = np.arange(rows)
        row, part_start, part_length, item = fit_rows(begins, sizes, plan.seq_len or 1, rows, place)
        part_end = part_start + part_length
        if plan.shuffle:  # a part is of one piece
            piece, begin = item, np.ones(len(row), bool)
        else:
            piece = np.searchsorted(ends, part_start, side="right")
            count = np.searchsorted(ends, part_end) + 1 - piece
            piece, part = ragged_index(piece, count), np.repeat(np.arange(len(row)), count)
            row, part_start, part_end = row[part], part_start[part], part_end[part]
            begin = np.diff(part, prepend=-1) != 0
        piece_end = ends[piece]
        piece_start = piece_end - lengths[piece]
        first_value, last_value = part_start, part_end
        if not plan.shuffle:
            first_value, last_value = np.maximum(piece_start, part_start), np.minimum(piece_end, part_end)
        skipped = first_value - piece_start
        found = placed.pieces
        pieces = Pieces(
            row=row,
            source=found.source[piece] + skipped,
            length=last_value - first_value,
            position=found.position[piece],
            begins=begin,
            left=found.left[piece] + (piece_end - last_value),
            first=found.first[piece] + skipped,
        )
        ends_part = np.where(last_value == part_end, part_end, -1) if self._following else None
        window = placed.window[piece]
        if plan.is_weighted:  # padding comes at the end of a row
            real = np.flatnonzero(pieces.position >= 0)
            pieces, window = pieces.at(real), window[real]
            ends_part = None if ends_part is None else ends_part[real]
        starts = np.zeros(rows + 1, np.int64)
        np.cumsum(np.bincount(pieces.row, minlength=rows), out=starts[1:])
        return _Group(starts, pieces, window, keys, ends_part)

    def after(self, line_rows: I64, hold: Hold) -> tuple[I64, Placed]:
        """Return the value after each row on the line, and the numbers of the rows that have one."""
        _, stops = self._bounds(line_rows)
        has = np.flatnonzero(stops < self._plan.values)
        placed = self._without_padding(self._pieces(stops[has], stops[has] + 1, hold))
        return has[placed.pieces.row], placed

    def after_parts(self, placed: Placed, hold: Hold) -> tuple[I64, Placed]:
        """Return the values after parts of samples in view order, and the numbers of the pieces that end such a part.

        Whether a value is of the same sample, `Pieces.begins` tells.
        """
        ends = np.zeros(0, np.int64) if placed.ends is None else placed.ends
        has = np.flatnonzero((ends >= 0) & (ends < self._plan.values))
        has = has[np.argsort(ends[has])]
        return has, self._pieces(ends[has], ends[has] + 1, hold)


class RowLayout:
    """Rows of a line that is counted in rows: `whole` and `single`."""

    def __init__(self, line: RowPoolLine | RowSpanLine | WeightedRowPoolLine) -> None:
        self.line = line
        self.turns = Line(line.lane_starts, 1)

    def keys(self, line_rows: I64) -> dict[Key, int | None]:
        """Return the windows that rows of the line need, all of each; rows ascend."""
        return dict.fromkeys(key for key, _ in self._windows(line_rows))

    def reach(self, lane: int) -> int:
        """Return 0: no row goes on in another lane."""
        return 0

    def _windows(self, line_rows: I64) -> Iterator[tuple[Key, slice]]:
        """Yield every window that rows lie in, and the rows."""
        at = 0
        while at < len(line_rows):
            key = self.line.key(int(line_rows[at]))
            upto = int(np.searchsorted(line_rows, self.line.end(key)))
            yield key, slice(at, upto)
            at = upto

    def place(self, line_rows: I64, hold: Hold) -> Placed:
        """Return the pieces of rows of the line; rows ascend."""
        found: list[Pieces] = []
        windows: list[Window] = []
        for key, part in self._windows(line_rows):
            window = hold(key, None)
            if not isinstance(window, RowWindow):
                raise TypeError("a line of rows has windows of rows")
            pieces = window.pieces(line_rows[part])
            found.append(pieces._replace(row=pieces.row + part.start))
            windows.append(window)
        return _joined(found, windows)


Layout = ValueLayout | RowLayout


def make_layout(
    source: Source,
    plan: Plan,
    pool: Pool | None,
    dtype: np.dtype[Any],
    pad: int,
    epoch: int,
    following: bool,
    tally: Tally | None,
) -> Layout:
    """Make the layout of an epoch.

    Args:
        source, plan, pool, dtype, pad, tally: As of `RowReader`.
        epoch: The epoch.
        following: Ids after the end of a row, or of a piece that is cut, are wanted.
    """
    line: ValueLine
    if plan.is_weighted and plan.span_rows is not None:
        if pool is not None:
            return RowLayout(WeightedRowPoolLine(plan, pool, epoch, tally))
        return RowLayout(WeightedRowLine(source, plan, dtype, pad, epoch, tally))
    if plan.span_rows is not None:
        return RowLayout(
            RowSpanLine(source, plan, dtype, pad, epoch) if pool is None else RowPoolLine(plan, pool, epoch)
        )
    if plan.is_weighted and pool is not None:
        line = WeightedPoolLine(plan, pool, epoch, tally)
    elif plan.is_weighted:
        line = WeightedLine(source, plan, dtype, pad, epoch, tally)
    else:
        line = SpanLine(source, plan, dtype, pad, epoch) if pool is None else PoolLine(plan, pool, epoch)
    return ValueLayout(plan, line, epoch, following)


def _joined(found: list[Pieces], windows: list[Window]) -> Placed:
    """Return the pieces of several windows as one."""
    if not found:
        none = np.zeros(0, np.int64)
        return Placed(Pieces(none, none, none, none, np.zeros(0, bool), none, none), none, [])
    pieces = _merged(found)
    return Placed(pieces, np.repeat(np.arange(len(found)), [len(one.row) for one in found]), windows)


def _merged(found: list[Pieces]) -> Pieces:
    """Return pieces one after another."""
    return found[0] if len(found) == 1 else Pieces(*(np.concatenate(field) for field in zip(*found, strict=True)))
