"""The lines of epochs whose rows are whole samples: which window a row lies in, and how it is made (order.md 6.5)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.order import POOL, WINDOW, cut_at, derive_key, even_lane_starts, shuffled
from tokstore.ragged import ragged_index
from tokstore.stream.lines import Key, OneWindow, Pool, room
from tokstore.stream.plan import Plan
from tokstore.stream.source import Source
from tokstore.stream.span_windows import SpanWindows, before
from tokstore.stream.stretches import Stretch
from tokstore.stream.whole import RowParts, rows_of_samples
from tokstore.stream.windows import Pieces, RowWindow, Samples, counting

__all__ = ["RowPoolLine", "RowSpanLine", "row_window"]

I64 = NDArray[np.int64]


def row_window(
    place: int,
    parts: RowParts,
    order: I64 | None,
    stretches: list[Stretch],
    values: NDArray[Any],
    padding: int,
    samples: Samples,
    begins: I64,
    positions: I64,
    budget: int | None = None,
) -> RowWindow:
    """Make a window of rows in an order.

    Args:
        parts: Rows of its samples, in the order in which the samples stand in `values`.
        order: Which row comes where; None as they are.
        begins, positions: Of all samples, also of empty ones: where each begins in `values`, and which it is.
        budget: How many rows the window has; what is left over in the order stays out, and what it lacks has no values.
    """
    rows = int(parts.row[-1]) + 1 if len(parts.row) else 0
    bounds = np.searchsorted(parts.row, np.arange(rows + 1))
    row_of, sample, offset, length = parts
    left = np.zeros(len(length), np.int64)
    left[:-1] = np.where((sample[1:] == sample[:-1]) & (offset[1:] > offset[:-1]), 1, 0)
    source = begins[sample] + offset
    fields = [row_of, source, length, positions[sample], np.ones(len(length), bool), left, offset]
    counts = np.diff(bounds)
    if budget is not None:
        order = (counting(rows) if order is None else order)[:budget]
    if order is not None:
        index = ragged_index(bounds[:-1][order], counts[order])
        fields = [one[index] for one in fields]
        counts = counts[order]
    if budget is not None:
        counts = np.append(counts, np.zeros(budget - len(counts), np.int64))
    starts, rows = before(counts), len(counts)
    return RowWindow(place, place + rows, stretches, values, padding, samples, starts, Pieces(*fields))


class RowPoolLine(OneWindow[RowWindow]):
    """The line of a pool: all its rows in one permutation."""

    def __init__(self, plan: Plan, pool: Pool, epoch: int) -> None:
        self.lane_starts = even_lane_starts(plan.rows, plan.lanes)
        parts = rows_of_samples(
            pool.sizes, plan.packing, plan.overlong, plan.seq_len, (plan.seed, epoch, 0, plan.source)
        )
        order = shuffled(plan.rows, derive_key(plan.seed, POOL, epoch, source=plan.source))
        self._window = row_window(
            0, parts, order, pool.stretches, pool.values, pool.held, pool.samples,
            pool.begins,
            np.arange(len(pool.sizes)),
        )  # fmt: skip
        self._window.damage = pool.damage


class RowSpanLine:
    """The line of a source that is shuffled by spans and windows, or read in view order."""

    def __init__(self, source: Source, plan: Plan, dtype: np.dtype[Any], pad: int, epoch: int) -> None:
        self._source, self._plan, self._dtype, self._pad, self._epoch = source, plan, dtype, pad, epoch
        self._hands = SpanWindows(plan, epoch)
        counts = np.zeros(0, np.int64) if plan.span_rows is None else plan.span_rows
        self._rows = before(counts[self._hands.spans])
        self.lane_starts: I64 = self._rows[self._hands.hands]

    def key(self, place: int) -> Key:
        """Return the window that holds a row of the line."""
        return self._hands.key(int(np.searchsorted(self._rows, place, side="right")) - 1)

    def end(self, key: Key) -> int:
        """Return where a window ends on the line."""
        return int(self._rows[self._hands.bounds(key)[1]])

    def make(self, key: Key) -> RowWindow:
        """Make a window, not decoded yet: its rows in their order."""
        plan = self._plan
        first, stop = self._hands.bounds(key)
        inserted = (plan.bos is not None) + (plan.eos is not None)
        spans = self._hands.spans[first:stop]
        stretches, sizes, positions = [], [], []
        parts: list[RowParts] = []
        rows = samples = 0
        for span in spans.tolist():
            begin, end = cut_at(plan.cuts, span), cut_at(plan.cuts, span + 1)
            size = self._source.lengths(begin.first, end.first) + inserted
            key_of = (plan.seed, self._epoch, span, plan.source) if plan.shuffle else None
            found = rows_of_samples(size, plan.packing, plan.overlong, plan.seq_len, key_of)
            parts.append(found._replace(row=found.row + rows, sample=found.sample + samples))
            rows += int(found.row[-1]) + 1 if len(found.row) else 0
            samples += len(size)
            stretches.append(Stretch(begin, end, 0, int(size.sum())))
            sizes.append(size)
            positions.append(np.arange(begin.first, end.first))
        # In memory the spans stand in view order, so that one read can decode many of them into place.
        at, begins_of = 0, [np.zeros(0, np.int64)] * len(spans)
        for number in np.argsort(spans).tolist():
            stretches[number].at = at
            begins_of[number] = np.cumsum(sizes[number]) - sizes[number] + at
            at += stretches[number].size
        lengths, names, begins = np.concatenate(sizes), np.concatenate(positions), np.concatenate(begins_of)
        full = np.flatnonzero(lengths)
        full = full[np.argsort(begins[full])]
        stretches.sort(key=lambda one: one.at)
        order = None
        if plan.shuffle:
            order = shuffled(rows, derive_key(plan.seed, WINDOW, self._epoch, *key, source=plan.source))
        joined = RowParts(*(np.concatenate(field) for field in zip(*parts, strict=True)))
        return row_window(
            int(self._rows[first]), joined, order, stretches, room(at, self._dtype, plan, self._pad), at,
            Samples(begins[full], names[full], lengths[full]), begins, names,
        )  # fmt: skip
