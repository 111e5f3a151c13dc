"""The lines of epochs that draw copies by weights (order.md 11.3 and 11.4).

A window holds the samples that were drawn in its spans, each once, however many copies it has; the others are not
decoded. Its copies are shuffled, and then cut or filled up to what the plan says that the window has.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokstore.order import POOL, WINDOW, Resampling, derive_key, even_lane_starts, shuffled
from tokstore.stream.lines import Key, OneWindow, Pool, room
from tokstore.stream.plan import Plan
from tokstore.stream.row_lines import RowSpanLine, row_window
from tokstore.stream.source import Source
from tokstore.stream.span_windows import SpanWindows, before
from tokstore.stream.stretches import DrawnStretch, Stretch
from tokstore.stream.tally import Tally
from tokstore.stream.weighted import Drawing, drawing
from tokstore.stream.whole import RowParts, rows_of_samples
from tokstore.stream.windows import LineWindow, RowWindow, Samples

__all__ = ["WeightedLine", "WeightedPoolLine", "WeightedRowLine", "WeightedRowPoolLine"]

I64 = NDArray[np.int64]


class _Held(NamedTuple):
    """Where the drawn samples of some spans are in memory.

    Args:
        stretches: What is decoded, in the order of memory.
        begins: int64 per span, in the order of the spans: where each of its samples begins.
        size: Values of all of them.
        samples: The samples in the order of memory.
    """

    stretches: list[Stretch]
    begins: list[I64]
    size: int
    samples: Samples


def _held(drawings: Sequence[Drawing], spans: I64, inserted: int) -> _Held:
    """Lay the samples of spans end to end in view order, so that one read can decode many of them into place."""
    by_place = np.argsort(spans).tolist()
    edges = before(np.array([len(drawings[number].positions) for number in by_place], np.int64)).tolist()
    none = np.zeros(0, np.int64)
    positions = np.concatenate([none, *(drawings[number].positions for number in by_place)])
    sizes = np.concatenate([none, *(drawings[number].sizes for number in by_place)])
    ends = np.cumsum(sizes)
    starts, size = ends - sizes, int(sizes.sum())
    kind = np.int32 if size < 1 << 31 else np.int64
    samples = Samples(starts.astype(kind), positions, sizes.astype(kind))
    begins = [none] * len(drawings)
    stretches: list[Stretch] = []
    for number, (a, b) in zip(by_place, pairwise(edges), strict=True):
        begins[number] = starts[a:b]
        if a < b:
            stretches.append(DrawnStretch(positions[a:b], samples.sizes[a:b], inserted, int(starts[a])))
    return _Held(stretches, begins, size, samples)


def _line_window(
    place: int, budget: int, stretches: list[Stretch], values: NDArray[Any], padding: int, samples: Samples,
    items: tuple[I64, I64, I64],
) -> tuple[LineWindow, int]:  # fmt: skip
    """Make a window of a line that is counted in values.

    Args:
        place: Where it begins on the line.
        budget: Values that it has there.
        stretches, values, padding, samples: As of `Window`.
        items: Position, size and place in `values` of every copy, in the order of the line.

    Returns:
        The window, and how many values the copies have more than it.
    """
    positions, sizes, begins = items
    ends = np.cumsum(sizes)
    drawn = int(ends[-1]) if len(ends) else 0
    if drawn > budget:
        count = int(np.searchsorted(ends, budget)) + 1 if budget else 0
        ends, positions, begins = ends[:count], positions[:count], begins[:count]
        ends[-1:] = budget
    elif drawn < budget:
        ends, positions, begins = np.append(ends, budget), np.append(positions, -1), np.append(begins, padding)
    kind = np.int32 if budget < 1 << 31 else np.int64
    window = LineWindow(
        start=place,
        stop=place + budget,
        stretches=stretches,
        values=values,
        padding=padding,
        samples=samples,
        ends=ends.astype(kind),
        sources=begins.astype(np.int32 if padding < 1 << 31 else np.int64),
        positions=positions,
        fresh=None,
        firsts=None,
    )
    return window, drawn - budget


def _copies(drawings: Sequence[Drawing], begins: Sequence[I64]) -> tuple[I64, I64, I64]:
    """Return position, size and place in memory of all copies, span by span, those of a sample one after another."""
    fields = [
        [np.repeat(field, one.copies) for field in (one.positions, one.sizes, start)]
        for one, start in zip(drawings, begins, strict=True)
    ]
    positions, sizes, places = (
        np.concatenate([np.zeros(0, np.int64), *column]) for column in zip(*fields, strict=True)
    )
    return positions, sizes, places


class _SpanDrawings:
    """Draws the copies of spans of one epoch."""

    def __init__(self, source: Source, plan: Plan, epoch: int) -> None:
        self._source, self._plan, self._epoch = source, plan, epoch
        self.inserted = (plan.bos is not None) + (plan.eos is not None)

    def of(self, spans: I64) -> list[Drawing]:
        """Return what is drawn in each of some spans."""
        plan, found = self._plan, []
        for span in spans.tolist():
            first, stop = int(plan.cuts.first[span]), int(plan.cuts.first[span + 1])
            sizes = self._source.lengths(first, stop) + self.inserted
            weights = Resampling.of(self._source.fixed_weights(first, stop), sizes)
            found.append(drawing(weights, sizes, first, (plan.seed, self._epoch, span, plan.source)))
        return found

    def held(self, spans: I64) -> tuple[list[Drawing], _Held, tuple[I64, I64, I64]]:
        """Return what is drawn in each of some spans, where it is in memory, and all copies as `_copies` gives them."""
        drawings = self.of(spans)
        held = _held(drawings, spans, self.inserted)
        return drawings, held, _copies(drawings, held.begins)


class WeightedLine:
    """The line of a source that is shuffled by spans and windows, or read in view order, counted in values."""

    def __init__(
        self, source: Source, plan: Plan, dtype: np.dtype[Any], pad: int, epoch: int, tally: Tally | None
    ) -> None:
        self._plan, self._dtype, self._pad, self._epoch, self._tally = plan, dtype, pad, epoch, tally
        self._hands = SpanWindows(plan, epoch)
        self._draw = _SpanDrawings(source, plan, epoch)
        self._begins = before(plan.line_values()[self._hands.spans])
        self.lane_starts: I64 = self._begins[self._hands.hands]

    def key(self, place: int) -> Key:
        """Return the window that holds one place of the line."""
        return self._hands.key(int(np.searchsorted(self._begins, place, side="right")) - 1)

    def end(self, key: Key) -> int:
        """Return where a window ends on the line."""
        return int(self._begins[self._hands.bounds(key)[1]])

    def make(self, key: Key) -> LineWindow:
        """Make a window, not decoded yet: its copies in their order."""
        plan = self._plan
        first, stop = self._hands.bounds(key)
        spans = self._hands.spans[first:stop]
        _, held, (positions, sizes, begins) = self._draw.held(spans)
        if plan.shuffle:
            order = shuffled(len(sizes), derive_key(plan.seed, WINDOW, self._epoch, *key, source=plan.source))
            positions, sizes, begins = positions[order], sizes[order], begins[order]
        place, end = int(self._begins[first]), int(self._begins[stop])
        window, surplus = _line_window(
            place, end - place, held.stretches, room(held.size, self._dtype, plan, self._pad), held.size, held.samples,
            (positions, sizes, begins),
        )  # fmt: skip
        if self._tally is not None:
            self._tally.count(plan.source, self._epoch, key, surplus)
        return window


class WeightedPoolLine(OneWindow[LineWindow]):
    """The line of a pool, counted in values: one window, all copies in one permutation."""

    def __init__(self, plan: Plan, pool: Pool, epoch: int, tally: Tally | None) -> None:
        self.lane_starts = even_lane_starts(plan.values, plan.lanes)
        positions, sizes, begins = _pool_copies(plan, pool, epoch)
        order = shuffled(len(sizes), derive_key(plan.seed, POOL, epoch, source=plan.source))
        self._window, surplus = _line_window(
            0, plan.values, pool.stretches, pool.values, pool.held, pool.samples,
            (positions[order], sizes[order], begins[order]),
        )  # fmt: skip
        self._window.damage = pool.damage
        if tally is not None:
            tally.count(plan.source, epoch, (0, 0), surplus)


def _pool_copies(plan: Plan, pool: Pool, epoch: int) -> tuple[I64, I64, I64]:
    """Return position, size and place in memory of all copies that an epoch draws in a pool."""
    if pool.weights is None:
        raise TypeError("a pool without weights draws no copies")
    drawn = drawing(pool.weights, pool.sizes, 0, (plan.seed, epoch, 0, plan.source))
    return _copies([drawn], [pool.begins[drawn.positions]])


class WeightedRowLine(RowSpanLine):
    """The line of a source that is shuffled by spans and windows, or read in view order, counted in rows."""

    def __init__(
        self, source: Source, plan: Plan, dtype: np.dtype[Any], pad: int, epoch: int, tally: Tally | None
    ) -> None:
        super().__init__(source, plan, dtype, pad, epoch)
        self._draw, self._tally = _SpanDrawings(source, plan, epoch), tally

    def make(self, key: Key) -> RowWindow:
        """Make a window, not decoded yet: its rows in their order."""
        plan = self._plan
        first, stop = self._hands.bounds(key)
        spans = self._hands.spans[first:stop]
        drawings, held, (positions, _, begins) = self._draw.held(spans)
        parts: list[RowParts] = []
        rows = copies = 0
        for span, one in zip(spans.tolist(), drawings, strict=True):
            sizes = np.repeat(one.sizes, one.copies)
            key_of = (plan.seed, self._epoch, span, plan.source) if plan.shuffle else None
            found = rows_of_samples(sizes, plan.packing, plan.overlong, plan.seq_len, key_of)
            parts.append(found._replace(row=found.row + rows, sample=found.sample + copies))
            rows += int(found.row[-1]) + 1 if len(found.row) else 0
            copies += len(sizes)
        order = None
        if plan.shuffle:
            order = shuffled(rows, derive_key(plan.seed, WINDOW, self._epoch, *key, source=plan.source))
        place, end = int(self._rows[first]), int(self._rows[stop])
        if self._tally is not None:
            self._tally.count(plan.source, self._epoch, key, rows - (end - place))
        joined = RowParts(*(np.concatenate(field) for field in zip(*parts, strict=True)))
        return row_window(
            place, joined, order, held.stretches, room(held.size, self._dtype, plan, self._pad), held.size,
            held.samples, begins, positions, end - place,
        )  # fmt: skip


class WeightedRowPoolLine(OneWindow[RowWindow]):
    """The line of a pool, counted in rows: all of them in one permutation."""

    def __init__(self, plan: Plan, pool: Pool, epoch: int, tally: Tally | None) -> None:
        self.lane_starts = even_lane_starts(plan.rows, plan.lanes)
        positions, sizes, begins = _pool_copies(plan, pool, epoch)
        parts = rows_of_samples(sizes, plan.packing, plan.overlong, plan.seq_len, (plan.seed, epoch, 0, plan.source))
        rows = int(parts.row[-1]) + 1 if len(parts.row) else 0
        order = shuffled(rows, derive_key(plan.seed, POOL, epoch, source=plan.source))
        if tally is not None:
            tally.count(plan.source, epoch, (0, 0), rows - plan.rows)
        self._window = row_window(
            0, parts, order, pool.stretches, pool.values, pool.held, pool.samples, begins, positions, plan.rows
        )
        self._window.damage = pool.damage
