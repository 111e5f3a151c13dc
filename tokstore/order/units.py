"""Units: the samples, whole or in part, between two cuts of a view (order.md 4.4 to 4.6).

Where a stretch begins or ends inside a sample, that sample takes part with the values between the cuts only. Ids that
a loader inserts belong to the unit in which the sample begins or ends.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokstore.order.spans import Cuts, pieces

__all__ = ["Cut", "Units", "cut_at", "inner_cuts", "units_between", "window_cut"]

I64 = NDArray[np.int64]


class Cut(NamedTuple):
    """One cut of a view, as in `Cuts`."""

    first: int
    rest: int
    offset: int


class Units(NamedTuple):
    """What lies between two cuts.

    `values` is int64, stored values per unit; `begins` and `ends` tell whether the sample begins and ends in the unit.
    """

    values: I64
    begins: NDArray[np.bool_]
    ends: NDArray[np.bool_]

    def effective(self, bos: bool, eos: bool) -> I64:
        """Return the values per unit with the ids that are inserted (order.md 4.5)."""
        return self.values + (self.begins & bos) + (self.ends & eos)


def cut_at(cuts: Cuts, index: int) -> Cut:
    """Return one cut of a table."""
    return Cut(int(cuts.first[index]), int(cuts.rest[index]), int(cuts.offset[index]))


def units_between(start: Cut, stop: Cut, lengths: I64) -> Units:
    """Return the units between two cuts.

    Args:
        start: Where the stretch begins.
        stop: Where it ends.
        lengths: int64, stored values of the samples at positions ``start.first`` to ``stop.first - 1``.

    Example:
        >>> units_between(Cut(1, 3, 5), Cut(3, 2, 17), np.array([6, 5])).values.tolist()
        [3, 6, 3]
    """
    within = int(start.rest > 0)
    values = np.empty(within + len(lengths), np.int64)
    values[within:] = lengths
    if within:
        values[0] = start.rest
    begins, ends = np.ones(len(values), bool), np.ones(len(values), bool)
    begins[:within] = False
    if stop.rest:
        values[-1] -= stop.rest
        ends[-1] = False
    return Units(values, begins, ends)


def inner_cuts(start: Cut, stop: Cut, units: Units, unit: I64, offset: I64) -> Cuts:
    """Return cuts inside a stretch, told by unit and values of that unit before the cut.

    `unit` may be the number of units, with offset 0: the end of the stretch.
    """
    before = np.zeros(len(units.values) + 1, np.int64)
    np.cumsum(units.values, out=before[1:])
    left = np.append(units.values, 0)
    left[len(units.values) - 1] += stop.rest
    inside = offset > 0
    first = start.first - int(start.rest > 0) + unit + inside
    rest = np.where(inside, left[unit] - offset, 0)
    if start.rest:
        at_start = (unit == 0) & ~inside
        first, rest = np.where(at_start, start.first, first), np.where(at_start, left[0], rest)
    if stop.rest:
        at_stop = unit == len(units.values)
        first, rest = np.where(at_stop, stop.first, first), np.where(at_stop, stop.rest, rest)
    return Cuts(first, rest, start.offset + before[unit] + offset)


def window_cut(start: Cut, stop: Cut, units: Units, wanted: int, long: int, bos: bool, eos: bool) -> Cut:
    """Return the cut of a span at which a window begins (order.md 5.4).

    Args:
        start: Begin of the span.
        stop: End of the span.
        units: What lies between them.
        wanted: Where the window should begin, in effective values from the start of the span.
        long: Values of the pieces of very long units, a multiple of 2**15.
        bos: An id is inserted at the start of every sample.
        eos: An id is inserted at the end of every sample.
    """
    unit, offset = pieces(units.values, long)
    unit, offset = np.append(unit, len(units.values)), np.append(offset, 0)
    cuts = inner_cuts(start, stop, units, unit, offset)
    effective = cuts.effective(bos, eos)
    origin = start.offset + bos * start.first + eos * (start.first - (start.rest > 0))
    return cut_at(cuts, int(np.searchsorted(effective - origin, wanted)))
