"""Plan spans: the stretches of a view that are dealt to lanes, and the finer cuts inside them (order.md 4).

A *cut* is a place between two values of a view, told by three integers that need no lengths: how many samples start
before it, how many values of the sample before it still come after it, and how many values lie before it. Spans,
windows and reads are all stretches between two cuts. Everything below turns tables of counts into cuts; lengths are
needed only inside single spans.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BLOCK",
    "MAX_SPANS",
    "SPAN",
    "Cuts",
    "join_cuts",
    "oversized",
    "pieces",
    "span_target",
    "split_units",
    "stored_cuts",
    "thin_cuts",
]

I64 = NDArray[np.int64]

BLOCK = 1 << 15
SPAN = 1 << 18
MAX_SPANS = 1 << 20


@dataclass(frozen=True, slots=True)
class Cuts:
    """Cuts in view order; n + 1 of them bound n spans.

    Args:
        first: int64, number of samples that start before the cut, which is the position of the next one.
        rest: int64, values of sample ``first - 1`` that come after the cut; 0 where the cut is between two samples.
        offset: int64, stored values before the cut.
    """

    first: I64
    rest: I64
    offset: I64

    def __len__(self) -> int:
        return len(self.first)

    def effective(self, bos: bool, eos: bool) -> I64:
        """Return the values before every cut, with ids inserted around every sample (order.md 4.5)."""
        return self.offset + int(bos) * self.first + int(eos) * (self.first - (self.rest > 0))

    def take(self, index: I64 | NDArray[np.bool_]) -> Cuts:
        """Return some of the cuts."""
        return Cuts(self.first[index], self.rest[index], self.offset[index])


def span_target(total: int, lanes: int) -> int:
    """Return the values that a plan span should have (order.md 4.2).

    Example:
        >>> span_target(10**8, 12), span_target(10**12, 768), span_target(1000, 12)
        (262144, 953675, 32768)
    """
    return max(min(max(total // (16 * lanes), BLOCK), SPAN), -(-total // MAX_SPANS))


def stored_cuts(samples: I64, values: I64, lead: I64) -> Cuts:
    """Turn the table of stored spans into cuts (order.md 4.1).

    The lead of a span in which samples start moves to the span before it, so that only a sample that covers a whole
    stored span is cut.

    Args:
        samples: int64 per stored span, samples that start in it.
        values: int64 per stored span.
        lead: int64 per stored span, values at its start that belong to a sample that started earlier.

    Raises:
        ValueError: The table contradicts itself.
    """
    if np.any(lead < 0) or np.any(lead > values) or np.any((samples == 0) & (lead != values)) or lead[:1].any():
        raise ValueError("the table of spans contradicts itself: lead does not fit values and samples (order.md 4.1)")
    first, offset = _before(samples), _before(values)
    leads = _before(lead)
    starts = np.flatnonzero(samples > 0)
    following = np.append(starts, len(samples) - 1)[np.searchsorted(starts, np.arange(len(samples)))]
    whole = (samples == 0) & (lead > 0)
    rest = np.where(whole, leads[following + 1] - leads[:-1], 0)
    moved = np.where(whole, 0, lead)
    return Cuts(first, np.append(rest, 0), offset + np.append(moved, 0))


def _before(counts: I64) -> I64:
    """Return the sums before every item and, at the end, of all."""
    sums = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=sums[1:])
    return sums


def oversized(cuts: Cuts, target: int) -> I64:
    """Return which spans have at least two targets of values and are split by `split_units` (order.md 4.3)."""
    return np.flatnonzero(np.diff(cuts.offset) >= 2 * target)


def split_units(units: I64, target: int) -> tuple[I64, I64]:
    """Choose the inner cuts of an oversized span (order.md 4.3).

    Args:
        units: int64, values of every unit of the span: its samples, and before them what a sample has left.
        target: Values that a span should have.

    Returns:
        The unit and the offset in that unit of every inner cut, ascending.
    """
    unit, offset = pieces(units, target // BLOCK * BLOCK)
    starts = _before(units)[unit] + offset
    total = int(units.sum())
    parts = total // target
    wanted = np.arange(1, parts, dtype=np.int64) * total // parts
    chosen = np.unique(np.searchsorted(starts, wanted))
    chosen = chosen[chosen < len(starts)]
    return unit[chosen], offset[chosen]


def pieces(units: I64, long: int) -> tuple[I64, I64]:
    """Return where the pieces of a span start, as unit and offset in the unit (order.md 4.4).

    Pieces follow the rule by which writers close blocks, so that a cut at a piece rarely splits a block.

    Args:
        units: int64, values of every unit of the span.
        long: A multiple of 2**15; units of more than twice as many values are pieces of so many each.
    """
    ends = np.cumsum(units)
    big = np.flatnonzero(units > 2 * BLOCK)
    found: list[I64] = []
    inside: list[I64] = []
    at, count = 0, len(units)
    while at < count:
        after = int(np.searchsorted(big, at))
        if after < len(big) and big[after] == at:
            parts = int(units[at]) // long if units[at] > 2 * long else 1
            found.append(np.full(parts, at, np.int64))
            inside.append(np.arange(parts, dtype=np.int64) * long)
            at += 1
            continue
        found.append(np.array([at], np.int64))
        inside.append(np.zeros(1, np.int64))
        base = int(ends[at] - units[at])
        closed = int(np.searchsorted(ends, base + BLOCK)) + 1
        at = min(closed, int(big[after]) if after < len(big) else count, count)
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(found), np.concatenate(inside)


def join_cuts(cuts: Cuts, more: list[Cuts]) -> Cuts:
    """Merge further cuts into a table, in view order."""
    first = np.concatenate([cuts.first, *(c.first for c in more)])
    rest = np.concatenate([cuts.rest, *(c.rest for c in more)])
    offset = np.concatenate([cuts.offset, *(c.offset for c in more)])
    order = np.lexsort((-rest, first, offset))
    return Cuts(first[order], rest[order], offset[order])


def thin_cuts(cuts: Cuts, target: int) -> Cuts:
    """Drop the cuts that share a cell of `target` values with the cut before them (order.md 4.3)."""
    cells = cuts.offset // target
    keep = np.ones(len(cuts), bool)
    keep[1:-1] = cells[1:-1] != cells[:-2]
    return cuts.take(keep)
