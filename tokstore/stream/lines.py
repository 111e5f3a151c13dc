"""The token lines of epochs as they are read: which windows part of the line needs, and how each is made (order.md 5).

A line knows its lanes from the plan alone. Lengths are read only where a window begins inside a span, and when a window
is made.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from tokstore.order import (
    POOL,
    SPANS,
    WINDOW,
    Cut,
    Resampling,
    cut_at,
    deal,
    derive_key,
    even_lane_starts,
    permute,
    shuffled,
    units_between,
    window_cut,
    window_target,
)
from tokstore.order.spans import BLOCK
from tokstore.stream.damage import Damage
from tokstore.stream.plan import Plan
from tokstore.stream.source import Source
from tokstore.stream.stretches import DrawnStretch, Stretch, stretch_between
from tokstore.stream.windows import LineWindow, Samples, Window

__all__ = ["Key", "OneWindow", "Pool", "PoolLine", "SpanLine", "dealt_spans", "room"]

I64 = NDArray[np.int64]
AnyWindow = TypeVar("AnyWindow", bound=Window)
Key = tuple[int, int]
"""A window of an epoch: its lane and its number there."""
_KEPT_CUTS = 64
"""Window begins that a line remembers, per lane; a bound on memory, not on what can be asked."""


class Pool:
    """A source that is held whole: its values, decoded once, and the lengths of its items."""

    def __init__(self, source: Source, plan: Plan, dtype: np.dtype[Any], pad: int) -> None:
        inserted = (plan.bos is not None) + (plan.eos is not None)
        self.sizes: I64 = source.lengths(0, len(source))
        if inserted:
            self.sizes += inserted
        self.weights: Resampling | None = None
        held = self.sizes
        if plan.is_weighted:
            weights = source.fixed_weights(0, len(source))
            self.weights = Resampling.of(weights, self.sizes)
            held = np.where(weights > 0, held, 0)
        ends = np.cumsum(held)
        self.begins: I64 = ends - held
        self.held = int(ends[-1])
        self.values = room(self.held, dtype, plan, pad)
        kind = np.dtype(np.int32 if self.held < 1 << 31 else np.int64)
        positions = held.nonzero()[0]
        begins, sizes = self.begins.astype(kind), held.astype(kind)
        if len(positions) < len(held):
            begins, sizes = begins[positions], sizes[positions]
        self.samples = Samples(begins, positions, sizes)
        self.stretches: list[Stretch] = []
        self.damage = Damage()
        places = plan.effective().tolist()
        for span in range(plan.spans):
            start, stop = cut_at(plan.cuts, span), cut_at(plan.cuts, span + 1)
            if self.weights is None:
                self.stretches.append(Stretch(start, stop, places[span], places[span + 1] - places[span]))
                continue
            a, b = np.searchsorted(positions, (start.first, stop.first)).tolist()
            if a < b:
                at = int(self.samples.begins[a])
                self.stretches.append(DrawnStretch(positions[a:b], self.samples.sizes[a:b], inserted, at))


def room(values: int, dtype: np.dtype[Any], plan: Plan, pad: int) -> NDArray[Any]:
    """Return an array for values, with as much padding after them as a row may need."""
    made: NDArray[Any] = np.empty(values + (plan.seq_len or 0), dtype)
    made[values:] = pad
    return made


def _places(plan: Plan) -> np.dtype[Any]:
    """Return the dtype that can count the values of a pool."""
    return np.dtype(np.int32 if plan.values < 1 << 31 else np.int64)


class OneWindow(Generic[AnyWindow]):
    """A line that is one window."""

    _window: AnyWindow

    def key(self, place: int) -> Key:
        """Return the window that holds a place of the line."""
        return 0, 0

    def end(self, key: Key) -> int:
        """Return where a window ends on the line."""
        return self._window.stop

    def make(self, key: Key) -> AnyWindow:
        """Return the window, which may be decoded already."""
        return self._window


def dealt_spans(plan: Plan, epoch: int) -> tuple[I64, I64]:
    """Return the spans of an epoch, lane by lane in the order of dealing, and where each lane begins (order.md 5.2)."""
    places = np.arange(plan.spans, dtype=np.int64)
    if plan.shuffle:
        places = permute(places, plan.spans, derive_key(plan.seed, SPANS, epoch, source=plan.source))
    return deal(places, plan.lanes)


class PoolLine(OneWindow[LineWindow]):
    """The line of a pool: one window, all samples in one permutation."""

    def __init__(self, plan: Plan, pool: Pool, epoch: int) -> None:
        samples = pool.samples
        order = shuffled(len(samples.sizes), derive_key(plan.seed, POOL, epoch, source=plan.source))
        ends = np.cumsum(samples.sizes[order], dtype=_places(plan))
        self.lane_starts = even_lane_starts(plan.values, plan.lanes)
        self._window = LineWindow(
            0,
            plan.values,
            pool.stretches,
            pool.values,
            plan.values,
            samples,
            ends,
            samples.begins[order],
            order,
            None,
            None,
            damage=pool.damage,
        )
        self._window.positions = samples.positions[order]


class SpanLine:
    """The line of a source that is shuffled by spans and windows, or read in view order."""

    def __init__(self, source: Source, plan: Plan, dtype: np.dtype[Any], pad: int, epoch: int) -> None:
        self._source, self._plan, self._dtype, self._pad, self._epoch = source, plan, dtype, pad, epoch
        self._spans, self._hands = dealt_spans(plan, epoch)
        self._begins = np.zeros(plan.spans + 1, np.int64)
        np.cumsum(np.diff(plan.effective())[self._spans], out=self._begins[1:])
        self.lane_starts: I64 = self._begins[self._hands]
        self._long = plan.window // BLOCK * BLOCK
        self._cuts: dict[Key, tuple[int, int, Cut | None]] = {}

    def end(self, key: Key) -> int:
        """Return where a window ends on the line."""
        return self._begin((key[0], key[1] + 1))[0]

    def key(self, place: int) -> Key:
        """Return the window that holds one place of the line."""
        lane = int(np.searchsorted(self.lane_starts, place, side="right")) - 1
        within = place - int(self.lane_starts[lane])
        first = window_target(1, lane, self._plan.lanes, self._plan.window)
        number = 0 if within < first else 1 + (within - first) // self._plan.window
        while number and self._begin((lane, number))[0] > place:
            number -= 1
        return lane, number

    def _begin(self, key: Key) -> tuple[int, int, Cut | None]:
        """Return where a window begins: on the line, in which dealt span, and at which cut inside it, if any."""
        found = self._cuts.get(key)
        if found is None:
            if len(self._cuts) >= _KEPT_CUTS * self._plan.lanes:
                self._cuts.clear()
            found = self._cuts[key] = self._find(key)
        return found

    def _find(self, key: Key) -> tuple[int, int, Cut | None]:
        """Find where a window begins (order.md 5.4)."""
        lane, plan = key[0], self._plan
        wanted = int(self.lane_starts[lane]) + window_target(key[1], lane, plan.lanes, plan.window)
        if wanted >= self.lane_starts[lane + 1]:
            return int(self.lane_starts[lane + 1]), int(self._hands[lane + 1]), None
        hand = int(np.searchsorted(self._begins, wanted, side="right")) - 1
        begin = int(self._begins[hand])
        if begin == wanted:
            return begin, hand, None
        start, stop = self._span(hand)
        units = units_between(start, stop, self._source.lengths(start.first, stop.first))
        bos, eos = plan.bos is not None, plan.eos is not None
        cut = window_cut(start, stop, units, wanted - begin, self._long, bos, eos)
        if cut == stop:
            return int(self._begins[hand + 1]), hand + 1, None
        inserted = bos * (cut.first - start.first)
        inserted += eos * (cut.first - (cut.rest > 0) - start.first + (start.rest > 0))
        return begin + cut.offset - start.offset + inserted, hand, cut

    def _span(self, hand: int) -> tuple[Cut, Cut]:
        """Return the bounds of a dealt span."""
        span = int(self._spans[hand])
        return cut_at(self._plan.cuts, span), cut_at(self._plan.cuts, span + 1)

    def make(self, key: Key) -> LineWindow:
        """Make a window, not decoded yet: its stretches and its items in their order."""
        plan = self._plan
        place, hand, inner = self._begin(key)
        _, last_hand, last_inner = self._begin((key[0], key[1] + 1))
        bounds = []
        while hand < last_hand or (hand == last_hand and last_inner is not None):
            start, stop = self._span(hand)
            start = inner or start
            stop = last_inner if hand == last_hand and last_inner is not None else stop
            bounds.append((start, stop))
            hand, inner = hand + 1, None
        stretches, sizes, fresh, positions, starts, firsts = [], [], [], [], [], []
        at = 0
        # In memory the spans stand in view order, so that one read can decode many of them into place.
        for number in sorted(range(len(bounds)), key=lambda one: bounds[one][0].offset):
            start, stop = bounds[number]
            stretch, units = stretch_between(self._source, plan, start, stop, at)
            size = units.effective(plan.bos is not None, plan.eos is not None)
            full = size > 0
            sizes.append(size[full])
            starts.append((np.cumsum(size) - size + at)[full])
            fresh.append(units.begins[full])
            positions.append(np.flatnonzero(full) + (start.first - (start.rest > 0)))
            firsts.append(np.zeros(int(full.sum()), np.int64))
            if start.rest:  # the first unit is the rest of a sample
                length = int(self._source.lengths(start.first - 1, start.first)[0])
                firsts[-1][0] = length - start.rest + (plan.bos is not None)
            stretches.append(stretch)
            at += stretch.size
        dealt = np.argsort(np.argsort([start.offset for start, _ in bounds], kind="stable"), kind="stable").tolist()
        sizes, starts, fresh, positions, firsts = (
            [one[i] for i in dealt] for one in (sizes, starts, fresh, positions, firsts)
        )
        lengths = np.concatenate(sizes).astype(np.int32)
        begins = np.concatenate(starts).astype(np.int32)
        documents, samples = None, np.concatenate(positions)
        before = np.concatenate(firsts) if any(start.rest for start, _ in bounds) else None
        if plan.shuffle:
            order = shuffled(len(lengths), derive_key(plan.seed, WINDOW, self._epoch, *key, source=plan.source))
            lengths, begins, samples = lengths[order], begins[order], samples[order]
            before = None if before is None else before[order]
        else:
            documents = np.concatenate(fresh)
        ends = np.cumsum(lengths, dtype=np.int32)
        values = room(at, self._dtype, plan, self._pad)
        end = place + int(ends[-1]) if len(ends) else place
        return LineWindow(place, end, stretches, values, at, None, ends, begins, samples, documents, before)
