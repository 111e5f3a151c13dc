"""Stretches: the runs of values that a window decodes, each with its place in the window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.order import Cut, Units, units_between
from tokstore.stream.plan import Plan
from tokstore.stream.source import Source

__all__ = ["DrawnStretch", "Stretch", "stretch_between"]

I64 = NDArray[np.int64]


class Stretch:
    """A run of values between two cuts and its place in a window; the unit of decoding."""

    __slots__ = ("at", "done", "size", "start", "stop")

    def __init__(self, start: Cut, stop: Cut, at: int, size: int) -> None:
        self.start, self.stop, self.at, self.size = start, stop, at, size
        self.done = False

    def positions(self) -> I64:
        """Return the samples of a stretch that cuts none."""
        return np.arange(self.start.first, self.stop.first)

    def lengths(self, source: Source) -> I64:
        """Return the stored values of the samples that start in it."""
        return source.lengths(self.start.first, self.stop.first)


class DrawnStretch(Stretch):
    """A stretch of some of the samples between two places, each of them whole.

    Args:
        positions: int64, the samples, ascending.
        sizes: Their effective values.
        inserted: Ids that are inserted into each.
        at: Its place in the window.
    """

    __slots__ = ("_inserted", "_positions", "_sizes")

    def __init__(self, positions: I64, sizes: NDArray[Any], inserted: int, at: int) -> None:
        self._positions, self._sizes, self._inserted = positions, sizes, inserted
        size = int(sizes.sum(dtype=np.int64))
        stop = Cut(int(positions[-1]) + 1, 0, size - inserted * len(positions))
        super().__init__(Cut(int(positions[0]), 0, 0), stop, at, size)

    def positions(self) -> I64:
        """Return the samples."""
        return self._positions

    def lengths(self, source: Source) -> I64:
        """Return their stored values."""
        return self._sizes.astype(np.int64) - self._inserted


def stretch_between(source: Source, plan: Plan, start: Cut, stop: Cut, at: int) -> tuple[Stretch, Units]:
    """Make the stretch between two cuts, with its units."""
    units = units_between(start, stop, source.lengths(start.first, stop.first))
    size = int(units.effective(plan.bos is not None, plan.eos is not None).sum())
    return Stretch(start, stop, at, size), units
