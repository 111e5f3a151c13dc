"""Weights of a source: what they make of a plan, and which copies an epoch draws in a span (order.md 11.1 and 11.2).

Weights and lengths are read in stretches of samples, at plan time all of them once or twice; an epoch reads those of
the spans of a window when it makes the window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokstore.order import Cuts, Resampling, draw_offset, joined_spans, whole_numbers
from tokstore.stream.source import Source
from tokstore.stream.whole import rows_of_samples, too_long

__all__ = ["Drawing", "count_drawn_rows", "drawing", "expected_copies", "weighted_spans"]

I64 = NDArray[np.int64]
U32 = NDArray[np.uint32]
_SAMPLES_AT_ONCE = 1 << 20
_EXPECTED = 1 << 15
"""The offset of the drawing whose rows `whole` packing takes for those of all epochs (order.md 11.4)."""


def _stretches(edges: I64) -> Iterator[tuple[int, int]]:
    """Yield runs of samples, as few as are read at once."""
    for first in range(int(edges[0]), int(edges[-1]), _SAMPLES_AT_ONCE):
        yield first, min(first + _SAMPLES_AT_ONCE, int(edges[-1]))


def expected_copies(source: Source) -> int:
    """Return how many copies an epoch has, rounded up.

    Raises:
        ValueError: There are none.
    """
    edges = np.array([0, len(source)])
    total = sum(int(source.fixed_weights(a, b).sum(dtype=np.int64)) for a, b in _stretches(edges))
    if not total:
        raise ValueError("all weights are 0: there is nothing to draw (order.md 11.1)")
    return -(-total // (1 << 16))


def _sums(source: Source, edges: I64, factor: Callable[[I64], I64]) -> tuple[I64, I64]:
    """Return two sums over the samples before every edge: of weights, and of weights by a number of each sample.

    Args:
        source: Where weights and lengths are.
        edges: int64, ascending positions from 0 to the end.
        factor: Returns the number from the stored lengths.

    Returns:
        Copies in steps of 2**-16, and the other sum as a whole number; both int64.
    """
    sums = np.zeros((3, len(edges)), np.int64)
    before = np.zeros((3, 1), np.int64)
    for first, stop in _stretches(edges):
        weights = source.fixed_weights(first, stop).astype(np.int64)
        by = factor(source.lengths(first, stop))
        ends = np.cumsum([weights, (weights >> 16) * by, (weights & 0xFFFF) * by], axis=1)
        a, b = np.searchsorted(edges, (first, stop), side="right")
        sums[:, a:b] = before + ends[:, edges[a:b] - first - 1]
        before = before + ends[:, -1:]
    return sums[0], whole_numbers(sums[1], sums[2])


def weighted_spans(source: Source, cuts: Cuts, inserted: int, pooled: bool, most: int) -> tuple[Cuts, I64]:
    """Join plan spans until enough copies are expected in each (order.md 11.1).

    Args:
        source: Where weights and lengths are.
        cuts: Bounds of the spans, all between samples.
        inserted: Ids that are inserted into every sample.
        pooled: The source is one span, and its cuts stay as they are.
        most: Values from which a span is long enough.

    Returns:
        The cuts that are left, and the values that every span, or the pool, has on the line.
    """
    edges = np.array([0, cuts.first[-1]]) if pooled else cuts.first
    draws, values = _sums(source, edges, lambda lengths: lengths + inserted)
    if pooled:
        return cuts, np.diff(values)
    kept = joined_spans(draws, values, most)
    return cuts.take(kept), np.diff(values[kept])


def count_drawn_rows(
    source: Source, edges: I64, packing: str, overlong: str, seq_len: int | None, inserted: int
) -> tuple[I64, int]:
    """Return the rows of every span, the same in all epochs, and how many samples with a weight are longer than a row.

    The arguments are those of `tokstore.stream.whole.count_rows`.

    Raises:
        ValueError: There are such samples, and `overlong` is ``"error"``.
    """
    overlong_samples = 0
    if seq_len is not None:
        for first, stop in _stretches(edges):
            sizes = (source.lengths(first, stop) + inserted)[source.fixed_weights(first, stop) > 0]
            longer = sizes[sizes > seq_len]
            if len(longer) and overlong == "error":
                raise too_long(int(longer.max()), seq_len)
            overlong_samples += len(longer)
    if packing == "single":

        def rows(lengths: I64) -> I64:
            sizes = lengths + inserted
            if seq_len is None or overlong not in ("split", "drop"):
                return (sizes > 0).astype(np.int64)
            parts = -(-sizes // seq_len)
            return parts if overlong == "split" else np.where(parts > 1, 0, parts)

        return np.diff(_sums(source, edges, rows)[1]), overlong_samples
    found = np.zeros(len(edges) - 1, np.int64)
    at = 0
    while at < len(found):
        stop = max(at + 1, int(np.searchsorted(edges, edges[at] + _SAMPLES_AT_ONCE, side="right")) - 1)
        lengths = source.lengths(int(edges[at]), int(edges[stop]))
        weights = source.fixed_weights(int(edges[at]), int(edges[stop]))
        for span in range(at, stop):
            part = slice(int(edges[span] - edges[at]), int(edges[span + 1] - edges[at]))
            copies = Resampling.of(weights[part], lengths[part]).copies(_EXPECTED)
            sizes = np.repeat(lengths[part] + inserted, copies)
            row = rows_of_samples(sizes, packing, overlong, seq_len, None).row
            found[span] = int(row[-1]) + 1 if len(row) else 0
        at = stop
    return found, overlong_samples


class Drawing(NamedTuple):
    """What an epoch draws in a span; arrays of one length.

    Args:
        positions: int64, the samples that have a copy and a value, ascending.
        sizes: int64, their effective values.
        copies: int64, how often each comes.
    """

    positions: I64
    sizes: I64
    copies: I64


def drawing(weights: Resampling, sizes: I64, first: int, key: tuple[int, int, int, int]) -> Drawing:
    """Draw the copies of one epoch in a span.

    Args:
        weights: Those of the samples of the span.
        sizes: int64, their effective values.
        first: Position of the first of them.
        key: Seed, epoch, numbers of the span and of the source.
    """
    seed, epoch, span, number = key
    copies = weights.copies(draw_offset(seed, epoch, span, number))
    there = np.flatnonzero((copies > 0) & (sizes > 0))
    return Drawing(there + first, sizes[there], copies[there])
