"""Sets of positions of a version: ascending runs where they are smaller, else one number per position.

A set never changes. Whatever it takes to join, cut or look into one is a few numpy calls over its runs, so that a set
of ten million positions is as quick to handle as a column of numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tokstore.packed import Ints
from tokstore.ragged import ragged_index
from tokstore.wire import checksum

__all__ = ["Selection", "runs_of"]

Bools = NDArray[np.bool_]


class Selection:
    """Distinct positions, ascending.

    The *place* of a position is its number in the set, from 0. Make one with `from_runs`, `from_positions` or
    `from_mask`; equal sets are stored alike, whatever they were made of.

    Example:
        >>> some = Selection.from_positions(np.array([3, 4, 5, 9]))
        >>> some.at(np.array([0, 3])).tolist(), len(some)
        ([3, 9], 4)
    """

    __slots__ = ("_count", "_first", "_starts")

    def __init__(self, first: Ints, count: Ints | None) -> None:
        self._first, self._count = first, count  # without counts every position stands for itself
        self._starts: Ints = np.zeros(0, np.int64) if count is None else np.cumsum(count) - count

    @classmethod
    def from_runs(cls, first: Ints, count: Ints) -> Selection:
        """Make a set of ascending runs that do not overlap; they may touch or be empty."""
        full = count > 0
        if not full.all():
            first, count = first[full], count[full]
        ends = first + count
        apart = np.ones(len(first), bool)
        apart[1:] = first[1:] != ends[:-1]
        if not apart.all():
            last = np.append(apart[1:], True)
            first, ends = first[apart], ends[last]
            count = ends - first
        if 2 * len(first) < int(count.sum()):
            return cls(first, count)
        return cls(first if len(first) == int(count.sum()) else ragged_index(first, count), None)

    @classmethod
    def from_positions(cls, positions: Ints) -> Selection:
        """Make a set of ascending distinct positions."""
        breaks = int(np.count_nonzero(np.diff(positions) != 1))
        if 2 * (breaks + 1) >= len(positions):
            return cls(positions, None)
        return cls(*runs_of(positions))

    @classmethod
    def from_mask(cls, mask: Bools) -> Selection:
        """Make the set of the places at which a mask is true."""
        differs = mask[1:] != mask[:-1]
        if 2 * int(np.count_nonzero(differs)) >= int(np.count_nonzero(mask)):
            return cls.from_positions(np.flatnonzero(mask))
        changes = np.flatnonzero(differs) + 1
        ends = [np.zeros(int(mask[:1].all()), np.int64), changes, np.full(int(mask[-1:].all()), len(mask))]
        edges = np.concatenate(ends) if len(mask) else changes
        return cls.from_runs(edges[0::2], edges[1::2] - edges[0::2])

    def __len__(self) -> int:
        if self._count is None:
            return len(self._first)
        return int(self._starts[-1] + self._count[-1]) if len(self._count) else 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Selection):
            return NotImplemented
        return all(np.array_equal(a, b) for a, b in zip(self.runs(), other.runs(), strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Selection({len(self)} positions in {len(self.runs()[0])} runs)"

    def runs(self) -> tuple[Ints, Ints]:
        """Return the first position and the length of every run."""
        return runs_of(self._first) if self._count is None else (self._first, self._count)

    def at(self, places: Ints) -> Ints:
        """Return the positions at places."""
        if self._count is None:
            return self._first[places]
        run = np.searchsorted(self._starts, places, side="right") - 1
        found: Ints = places + (self._first - self._starts)[run]
        return found

    def positions(self) -> Ints:
        """Return all positions."""
        return self._first if self._count is None else ragged_index(self._first, self._count)

    def count_below(self, bounds: Ints) -> Ints:
        """Return for every bound how many positions of the set are below it."""
        if self._count is None:
            return np.searchsorted(self._first, bounds, side="left")
        run = np.searchsorted(self._first, bounds, side="left") - 1
        inside = np.minimum(bounds - self._first[run], self._count[run]) if len(self._first) else bounds
        found: Ints = np.where(run >= 0, (self._starts[run] if len(self._first) else 0) + inside, 0)
        return found

    def holds(self, positions: Ints) -> Bools:
        """Return for every position whether it is in the set."""
        found: Bools = self.count_below(positions + 1) > self.count_below(positions)
        return found

    def __or__(self, other: Selection) -> Selection:
        return _combine(self, other, np.logical_or)

    def __and__(self, other: Selection) -> Selection:
        return _combine(self, other, np.logical_and)

    def __sub__(self, other: Selection) -> Selection:
        return _combine(self, other, np.greater)

    def shift(self, by: int) -> Selection:
        """Return the positions moved on by a number."""
        return Selection(self._first + by, self._count)

    @classmethod
    def join(cls, parts: Sequence[Selection]) -> Selection:
        """Make a set of ascending pieces."""
        flat = sum(len(part) for part in parts if part._count is None)
        if 2 * flat >= sum(len(part) for part in parts):
            return cls.from_positions(np.concatenate([np.zeros(0, np.int64), *(part.positions() for part in parts)]))
        runs = [part.runs() for part in parts]
        return cls.from_runs(np.concatenate([first for first, _ in runs]), np.concatenate([count for _, count in runs]))

    def digest(self, seed: int = 0) -> int:
        """Return 64 bits that differ for different sets."""
        first, count = self.runs()
        return checksum(count.astype("<i8").tobytes(), checksum(first.astype("<i8").tobytes(), seed))


def runs_of(positions: Ints) -> tuple[Ints, Ints]:
    """Return the first position and the length of every run of consecutive positions.

    Example:
        >>> [part.tolist() for part in runs_of(np.array([1, 2, 3, 7]))]
        [[1, 7], [3, 1]]
    """
    if not len(positions):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    edges = np.flatnonzero(np.diff(positions) != 1) + 1
    starts = np.concatenate([np.zeros(1, np.int64), edges])
    return positions[starts], np.diff(starts, append=len(positions))


def _combine(a: Selection, b: Selection, keep: Callable[[Bools, Bools], Bools]) -> Selection:
    """Return the positions that a rule keeps, from whether each is in one set and in the other."""
    (first_a, count_a), (first_b, count_b) = a.runs(), b.runs()
    sizes = [len(first_a), len(first_a), len(first_b), len(first_b)]
    edges = np.concatenate([first_a, first_a + count_a, first_b, first_b + count_b])
    order = np.argsort(edges, kind="stable")
    edges = edges[order]
    last = np.append(edges[1:] != edges[:-1], True)[: len(edges)]
    inside = [
        np.cumsum(np.repeat(np.array(steps, np.int8), sizes)[order], dtype=np.int64)[last] > 0
        for steps in ((1, -1, 0, 0), (0, 0, 1, -1))
    ]
    kept = keep(*inside)
    edges, changes = edges[last], np.diff(kept, prepend=False)
    bounds = edges[changes]
    return Selection.from_runs(bounds[0::2], bounds[1::2] - bounds[0::2])
