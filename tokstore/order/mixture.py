"""Mixtures: which source a row comes from, and which row of that source it is (order.md 10).

Shares become slots once. A lane visits all slots in `slots` steps, and lanes begin evenly spaced, so that every lane
is exact and any run of rows is close. What is asked per row are table look-ups: a lane is somewhere in one cyclic
sequence of slots, and how often a source has come so far is a difference of two counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.order.lanes import quotas

__all__ = ["Mixing", "Slots", "coprimes", "part_of_buffer", "quantise", "slot_error", "spread"]

I64 = NDArray[np.int64]
_LEAST_SLOTS, _MOST_SLOTS = 3072, 1 << 20
_REACH = 32
"""How far from the golden section a candidate may be."""
_GOOD = 4
"""Candidates of either constant that are tried."""
_MEASURED_ROWS = 1 << 18
_FIRST_ROWS = 1 << 14
"""Rows that most bad pairs of constants betray themselves in."""
_LEAST_BUFFER = 1 << 16


def quantise(shares: Sequence[Fraction | int | float], lanes: int) -> list[int]:
    """Return how many slots each source has (order.md 10.1).

    Args:
        shares: Non-negative and not all zero; a float is taken as the exact number that it is.
        lanes: Number of lanes.

    Raises:
        ValueError: A share is so small that it would have no slot.

    Example:
        >>> quantise([0.7, 0.3], 12), quantise([1, 1, 0], 48)
        ([2150, 922], [1536, 1536, 0])
    """
    exact = [Fraction(share) for share in shares]
    total = sum(exact, Fraction(0))
    slots = lanes * -(-_LEAST_SLOTS // lanes)
    while True:
        found = _largest_remainder([share * slots / total for share in exact], slots)
        close = all(
            abs(n * total - share * slots) * 1000 <= share * slots for n, share in zip(found, exact, strict=True)
        )
        if close or 2 * slots > _MOST_SLOTS:
            break
        slots *= 2
    for number, (n, share) in enumerate(zip(found, exact, strict=True)):
        if share and not n:
            raise ValueError(
                f"source {number} has a share of {float(share / total):.3g}, which is none of {slots:,} slots "
                "(order.md 10.1); give it more, or leave it out"
            )
    return found


def _largest_remainder(wanted: list[Fraction], slots: int) -> list[int]:
    """Round numbers that add up to `slots`: down, and up those with the largest remainders, of equal ones the first."""
    found = [int(one) for one in wanted]
    order = sorted(range(len(wanted)), key=lambda number: (found[number] - wanted[number], number))
    for number in order[: slots - sum(found)]:
        found[number] += 1
    return found


def coprimes(n: int) -> list[int]:
    """Return numbers near 0.618 n that have no factor in common with n, the most even ones first (order.md 10.2).

    Example:
        >>> coprimes(48), coprimes(1)
        ([37, 31, 35, 17], [1])
    """
    ranked = []
    for h in range(max(1, (618 * n) // 1000 - _REACH), min(n, -(-618 * n // 1000) + _REACH) + 1):
        if gcd(h, n) == 1:
            a, b, quotients = n, h, []
            while b:
                quotients.append(a // b)
                a, b = b, a % b
            ranked.append((max(quotients), sum(quotients), abs(1000 * h - 618 * n), h))
    return [h for *_, h in sorted(ranked)[:_GOOD]]


def part_of_buffer(buffer: int, counts: Sequence[Sequence[int]], source: int) -> int:
    """Return the bytes of the buffer that a source has (order.md 10.5).

    Args:
        buffer: All bytes.
        counts: Slots of every source, for every stage.
        source: Which source.
    """
    return max(_LEAST_BUFFER, *(buffer * stage[source] // sum(stage) for stage in counts))


@dataclass(frozen=True)
class Slots:
    """The slots of one stage, in the order in which lanes visit them (order.md 10.2).

    Args:
        counts: Slots of each source.
        lanes: Number of lanes; divides the number of slots.
        step: G, by which a lane goes on.
        stride: H, by which lanes are apart.
    """

    counts: tuple[int, ...]
    lanes: int
    step: int
    stride: int
    slots: int = field(init=False)
    _owner: NDArray[np.int32] = field(init=False, repr=False, compare=False)
    _rank: NDArray[np.int32] = field(init=False, repr=False, compare=False)
    _shift: I64 = field(init=False, repr=False, compare=False)
    _before: I64 = field(init=False, repr=False, compare=False)
    _times: list[I64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        slots = sum(self.counts)
        visited = np.arange(slots, dtype=np.int64) * self.step % slots
        bounds = np.cumsum(np.array(self.counts, np.int64))
        owner = np.searchsorted(bounds, visited, side="right").astype(np.int32)
        order = np.argsort(owner, kind="stable")
        edges = [0, *bounds.tolist()]
        times = [order[a:b] for a, b in pairwise(edges)]
        rank = np.empty(slots, np.int32)
        for one in times:
            rank[one] = np.arange(len(one))
        lane = np.arange(self.lanes, dtype=np.int64)
        begin = lane * self.stride % self.lanes * (slots // self.lanes)
        shift = begin * pow(self.step, -1, slots) % slots
        before = np.stack([np.searchsorted(one, shift) for one in times]).astype(np.int64)
        for name, value in (
            ("slots", slots), ("_owner", owner), ("_rank", rank), ("_shift", shift), ("_before", before),
            ("_times", times),
        ):  # fmt: skip
            object.__setattr__(self, name, value)

    def place(self, lane: I64, position: I64) -> tuple[I64, I64]:
        """Return the source at positions of lanes, and how often it came before in that lane."""
        turn, time = np.divmod(position + self._shift[lane], self.slots)
        source = self._owner[time].astype(np.int64)
        return source, turn * np.array(self.counts)[source] + self._rank[time] - self._before[source, lane]

    def drawn(self, position: I64) -> I64:
        """Return how often each source comes before a position of every lane: [sources, lanes]."""
        return self.counted(position + self._shift) - self._before

    def counted(self, step: I64) -> I64:
        """Return how often each source comes before a step of the sequence of slots: [sources, steps]."""
        turn, time = np.divmod(step, self.slots)
        found = np.stack([np.searchsorted(one, time) for one in self._times]).astype(np.int64)
        return np.asarray(found + turn * np.array(self.counts, np.int64)[:, None])


def slot_error(slots: Slots, rows: int) -> int:
    """Return how far a source is off in the first `rows` rows at most, in units of 1 / M rows (order.md 10.2)."""
    return _error(_owners(slots.counts), slots.counts, slots.lanes, slots.step, slots.stride, rows)


def _owners(counts: Sequence[int]) -> NDArray[Any]:
    """Return the source of every slot, in a small type: sorting by it takes longest."""
    return np.repeat(np.arange(len(counts), dtype=np.min_scalar_type(len(counts))), counts)


def _error(owners: NDArray[Any], counts: Sequence[int], lanes: int, step: int, stride: int, rows: int) -> int:
    """Return what `slot_error` does, for constants whose slots are not in order yet."""
    slots = len(owners)
    begin = np.arange(lanes) * stride % lanes * (slots // lanes)
    turns = -(-rows // lanes)
    source = owners[((np.arange(turns) * step)[:, None] + begin) % slots].ravel()[:rows]
    order = np.argsort(source, kind="stable")
    ends = np.cumsum(np.bincount(source, minlength=len(counts)))
    worst = 0
    for number, (a, b) in enumerate(pairwise([0, *ends.tolist()])):
        if a < b:
            # How far ahead the source is before each of its rows; behind it is one row less its share further back.
            off = order[a:b] * counts[number] - np.arange(0, (b - a) * slots, slots)
            worst = max(worst, int(off.max()), slots - counts[number] - int(off.min()))
    return worst


@lru_cache(maxsize=1 << 12)
def _constants(counts: tuple[int, ...], lanes: int) -> tuple[int, int]:
    """Choose step and stride of a stage (order.md 10.2).

    The deviation of more rows is not smaller. So a pair that is off by as much as the best one within its first rows
    needs no more of them: of equal ones the first is taken.
    """
    slots, owners = sum(counts), _owners(counts)
    width, first = slots // lanes, 618 * lanes // 1000
    rows = max(slots, min(slots * lanes, _MEASURED_ROWS))
    best: tuple[int, int, int] | None = None
    for stride in coprimes(lanes):
        for near in coprimes(width):
            turns = ((first + k) % lanes for k in range(lanes))
            step = next(near + k * width for k in turns if gcd(near + k * width, lanes) == 1)
            for some in (min(rows, _FIRST_ROWS), min(rows, 8 * _FIRST_ROWS), rows):
                error = _error(owners, counts, lanes, step, stride, some)
                if best is not None and error >= best[0]:
                    break
            else:
                best = error, step, stride
                if 2 * error <= 7 * slots:
                    return step, stride
    if best is None:
        raise ValueError("there is always a number without a common factor (order.md 10.2)")
    return best[1:]


@lru_cache(maxsize=8)
def spread(counts: tuple[int, ...], lanes: int) -> Slots:
    """Choose the constants of a stage (order.md 10.2); they are looked for once in a process.

    Args:
        counts: Slots of each source; their sum is a multiple of `lanes`.
        lanes: Number of lanes.

    Example:
        >>> spread((2150, 922), 12).step
        1973
    """
    return Slots(counts, lanes, *_constants(counts, lanes))


class Mixing:
    """Say of rows of a mixture which rows of which sources they are (order.md 10.3 and 10.4).

    Args:
        stages: First row of each stage, ascending from 0 and multiples of the number of lanes, and its slots.

    Attributes:
        end: Row after the last one; None, because this one has no end (see `EndingMixing`).
        limits: Rows that each source gives at most; None for no limit.

    Example:
        >>> mixing = Mixing([(0, spread((1536, 1536), 1))])
        >>> [one.tolist() for one in mixing.place(np.arange(6))]
        [[0, 1, 0, 1, 0, 0], [0, 0, 1, 1, 2, 3]]
    """

    def __init__(self, stages: Sequence[tuple[int, Slots]]) -> None:
        self.stages = list(stages)
        self.end: int | None = None
        self.limits: list[int | None] = [None] * len(stages[0][1].counts)
        self.lanes = stages[0][1].lanes
        self.sources = len(stages[0][1].counts)
        starts = [start for start, _ in stages]
        if starts[0] != 0 or any(a >= b for a, b in pairwise(starts)) or any(start % self.lanes for start in starts):
            raise ValueError(f"stages begin at ascending multiples of {self.lanes} rows from 0 on, not at {starts}")
        self._starts = np.array(starts, np.int64)
        base = np.zeros((self.sources, self.lanes), np.int64)
        self._bases = [base]
        for (start, slots), (stop, _) in pairwise(stages):
            positions = np.full(self.lanes, (stop - start) // self.lanes, np.int64)
            base = base + slots.drawn(positions)
            self._bases.append(base)

    def place(self, rows: I64) -> tuple[I64, I64]:
        """Return the source of rows, and which of its rows they are, counted over all its epochs."""
        lane, position = rows % self.lanes, rows // self.lanes
        if len(self.stages) == 1:
            source, draw = self.stages[0][1].place(lane, position)
            return source, draw * self.lanes + lane
        source, draw = np.empty_like(rows), np.empty_like(rows)
        stage_of = np.searchsorted(self._starts, rows, side="right") - 1
        for stage in np.unique(stage_of).tolist():
            at = np.flatnonzero(stage_of == stage)
            start, slots = self.stages[stage]
            source[at], number = slots.place(lane[at], position[at] - start // self.lanes)
            draw[at] = number + self._bases[stage][source[at], lane[at]]
        return source, draw * self.lanes + lane

    def drawn(self, row: int) -> I64:
        """Return how many rows of each source come before a row: [sources, lanes]."""
        stage = int(np.searchsorted(self._starts, row, side="right")) - 1
        start, slots = self.stages[stage]
        return self._bases[stage] + slots.drawn(quotas(row - start, self.lanes))
