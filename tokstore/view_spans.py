"""Spans of a view: what a loader plans by (format.md 7.3, order.md 4.1).

A whole version has its spans stored. For some of its samples they are counted anew from lengths, span by span, and
spans of which every sample is taken keep their stored counts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tokstore.block import Spans
from tokstore.format import SPAN_VALUES
from tokstore.packed import Ints
from tokstore.ragged import ragged_index
from tokstore.selection import Selection
from tokstore.version import Version

__all__ = ["ViewSpans", "ordered_spans", "selected_spans", "stored_spans"]

_ROWS_AT_ONCE = 1 << 20


class ViewSpans(Spans):
    """Spans of a view, with the position of the first sample that begins in each; ``blocks`` is 0 where samples are
    left out."""

    first: Ints

    def __init__(self, first: Ints, spans: Spans) -> None:
        super().__init__(spans.blocks, spans.samples, spans.values, spans.lead)
        object.__setattr__(self, "first", first)


def stored_spans(version: Version) -> ViewSpans:
    """Return the spans of a whole version; opens no data file."""
    numbers = list(range(len(version.root.pages)))
    columns: list[list[Ints]] = [[np.zeros(0, np.int64)] for _ in range(4)]
    for number, plan in zip(numbers, version.plans(numbers), strict=True):
        s, gone = plan.spans, version.deletions(number)
        samples, values, lead = s.samples, s.values, s.lead
        if gone is not None:
            (page,) = version.pages([number])
            lead = gone.lead_left(lead, samples, plan.shard_spans, page.samples)
            samples, values = gone.span_samples, gone.span_values
        for held, one in zip(columns, (s.blocks, samples, values, lead), strict=True):
            held.append(one)
    blocks, samples, values, lead = (np.concatenate(held) for held in columns)
    return ViewSpans(np.cumsum(samples) - samples, Spans(blocks, samples, values, lead))


def selected_spans(
    stored: ViewSpans, chosen: Selection | None, is_primary: bool, lengths: Callable[[Ints], Ints]
) -> ViewSpans:
    """Return the spans of some samples of a version in their order; each sample counts where it begins.

    Args:
        stored: The spans of the version.
        chosen: The samples; ``None`` for all.
        is_primary: Whether the stored values are those of the column that is counted.
        lengths: Returns the values of samples at ascending places of the selection.
    """
    full = np.flatnonzero(stored.samples > 0)
    first, samples = stored.first[full], stored.samples[full]
    # A span's samples own the values from where the first of them begins to where that of the next span does.
    begins = (np.cumsum(stored.values) - stored.values + stored.lead)[full]
    values = np.diff(begins, append=stored.values.sum())
    counts = samples if chosen is None else np.diff(chosen.count_below(np.append(first, first[-1:] + samples[-1:])))
    starts = np.cumsum(counts) - counts
    read = np.flatnonzero((counts > 0) & ~((counts == samples) & is_primary))
    ends = np.cumsum(counts[read])
    at = 0
    while at < len(read):
        before = int(ends[at - 1]) if at else 0
        stop = max(at + 1, int(np.searchsorted(ends, before + _ROWS_AT_ONCE, side="right")))
        part = read[at:stop]
        some = counts[part]
        values[part] = np.add.reduceat(lengths(ragged_index(starts[part], some)), np.cumsum(some) - some)
        at = stop
    kept = counts > 0
    return _without_leads(starts[kept], counts[kept], values[kept])


def ordered_spans(lengths: Ints) -> ViewSpans:
    """Return spans of about 2**18 values for samples in an order of their own.

    Args:
        lengths: Values of all samples, in view order.
    """
    cells = (np.cumsum(lengths) - lengths) // SPAN_VALUES
    first = np.flatnonzero(np.diff(cells, prepend=-1))
    values = np.add.reduceat(lengths, first) if len(first) else lengths
    return _without_leads(first, np.diff(first, append=len(lengths)), values)


def _without_leads(first: Ints, samples: Ints, values: Ints) -> ViewSpans:
    """Return spans that begin where samples begin."""
    nothing = np.zeros(len(first), np.int64)
    return ViewSpans(first, Spans(nothing, samples, values, nothing))
