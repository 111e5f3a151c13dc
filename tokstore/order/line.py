"""The token line of an epoch, and where each row of training lies on it (order.md 6 and 7).

The shuffled windows of all lanes, laid end to end, are a line of T values. The line is cut into groups of
`group_rows` rows and `group_values` values; a lane owns the groups that start in its stretch. Rows of training take
one row from each lane in turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tokstore.order.lanes import Lending

__all__ = ["Line", "epoch_rows", "even_lane_starts", "split_epochs"]

I64 = NDArray[np.int64]


def epoch_rows(values: int, group_values: int, group_rows: int = 1) -> int:
    """Return the rows of an epoch, the same number in every epoch (order.md 6.2).

    Args:
        values: Values of the line, with inserted ids.
        group_values: Values of a group; with `concat` the length of a row.
        group_rows: Rows of a group; 1 with `concat`.

    Example:
        >>> epoch_rows(10, 4), epoch_rows(100, 30, 8)
        (3, 27)
    """
    left = values % group_values
    return group_rows * (values // group_values) + min(group_rows, -(-left * group_rows // group_values))


def even_lane_starts(values: int, lanes: int) -> I64:
    """Return where the lanes of a pool begin on its line, ``lanes + 1`` numbers (order.md 5.5)."""
    return np.array([values * lane // lanes for lane in range(lanes + 1)], np.int64)


def split_epochs(start: int, stop: int, rows: int) -> list[tuple[int, int, int]]:
    """Split rows counted over all epochs into (epoch, first row, last row + 1) with `rows` rows each (order.md 7.3).

    Example:
        >>> split_epochs(5, 21, 10)
        [(0, 5, 10), (1, 0, 10), (2, 0, 1)]
    """
    found = []
    while start < stop:
        epoch, row = divmod(start, rows)
        end = min(rows, row + stop - start)
        found.append((epoch, row, end))
        start += end - row
    return found


@dataclass(frozen=True, slots=True)
class Line:
    """Find the rows of one epoch on its token line.

    Args:
        lane_starts: int64, where every lane's stretch begins on the line, and the end of the line: C + 1 numbers.
        group_values: Values of a group.
        group_rows: Rows of a group.

    Example:
        >>> line = Line(np.array([0, 9, 12]), group_values=4)
        >>> line.rows, line.line_rows(np.arange(3)).tolist()
        (3, [0, 2, 1])
    """

    lane_starts: I64
    group_values: int
    group_rows: int = 1
    rows: int = field(init=False)
    _begins: I64 = field(init=False)
    _lending: Lending = field(init=False)

    def __post_init__(self) -> None:
        rows = epoch_rows(int(self.lane_starts[-1]), self.group_values, self.group_rows)
        groups = -(-self.lane_starts // self.group_values)
        begins = np.minimum(groups * self.group_rows, rows)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "_begins", begins)
        object.__setattr__(self, "_lending", Lending(np.diff(begins)))

    @property
    def values(self) -> int:
        """Values of the line."""
        return int(self.lane_starts[-1])

    @property
    def owned(self) -> I64:
        """Rows that every lane owns."""
        return self._lending.owned

    def line_rows(self, rows: I64) -> I64:
        """Return the place on the line, counted in rows, of rows of the epoch (order.md 7.2). Any order, int64 both."""
        lane, number = self._lending.place(rows)
        return self._begins[lane] + number
