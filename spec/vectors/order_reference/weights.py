"""Section 11 of order.md: copies by weights, one sample and one window at a time."""

from __future__ import annotations

from itertools import pairwise

from spec.vectors.order_reference.line import (
    Epoch,
    Place,
    Segment,
    View,
    key,
    permute,
    plan,
    size,
    target,
    window_values,
)
from spec.vectors.order_reference.packing import group_rows, group_values, whole_rows
from spec.vectors.order_reference.rows import Options, Row, cut_line, fit_rows, line_rows, turns, whole_items

Span = tuple[Place, Place]
PADDING = -1
"""Stands for the sample of padding."""


def weights_of(view: View) -> list[int]:
    """The weights, which there are."""
    if view.weights is None:
        raise ValueError("the view has no weights")
    return view.weights


# 11.1
def draws_before(view: View, sample: int) -> int:
    """D"""
    return sum(weights_of(view)[:sample])


def values_before(view: View, sample: int) -> int:
    """Y"""
    return (sum(weights_of(view)[s] * view.effective(s) for s in range(sample)) + (1 << 15)) // (1 << 16)


def is_weighted_pool(view: View, options: Options) -> bool:
    """Whether a view with weights is a pool."""
    samples = len(view.lengths)
    most = max(samples, -(-draws_before(view, samples) // (1 << 16)))
    return options.shuffle and 2 * sum(view.lengths) + 8 * most <= options.buffer


def weighted_spans(view: View, options: Options) -> list[Span]:
    """The plan spans; a pool is one."""
    end = (len(view.lengths), 0)
    if is_weighted_pool(view, options):
        return [((0, 0), end)]
    if options.shuffle:
        places = plan(view, target(sum(view.lengths), options.count(view)), whole=True)
        most = window_values(options.buffer, options.count(view))
    else:
        places = plan(view, 1 << 18, whole=True, split_long=False)
        most = 1 << 22
    kept = [places[0]]
    for place in places[1:]:
        enough = draws_before(view, place[0]) - draws_before(view, kept[-1][0]) >= 1 << 23
        long = values_before(view, place[0]) - values_before(view, kept[-1][0]) >= most
        if enough or long:
            kept.append(place)
    if kept[-1] != end:
        kept = [*kept[:-1], end] if len(kept) > 1 else [kept[0], end]
    return list(pairwise(kept))


def span_values(view: View, span: Span) -> int:
    """V(k)"""
    return values_before(view, span[1][0]) - values_before(view, span[0][0])


# 11.2
def copies(weights: list[int], lengths: list[int], offset: int) -> list[int]:
    """c(s) of the samples of one span"""
    found = [0] * len(weights)
    before = 0
    for sample in sorted(range(len(weights)), key=lambda s: lengths[s]):
        found[sample] = (before + weights[sample] + offset) // (1 << 16) - (before + offset) // (1 << 16)
        before += weights[sample]
    return found


def offset_of(seed: int, epoch: int, span: int, source: int = 0) -> int:
    """o"""
    return (key(seed, 6, 0, window=span, source=source) + 40501 * epoch) % (1 << 16)


def drawn_view(view: View, span: Span, offset: int) -> tuple[View, list[int]]:
    """The copies of a span as a view of their own, and the sample that each is of."""
    first, stop = span[0][0], span[1][0]
    counts = copies(weights_of(view)[first:stop], view.lengths[first:stop], offset)
    samples = [first + s for s, count in enumerate(counts) for _ in range(count)]
    return View([view.lengths[s] for s in samples], [], view.bos, view.eos), samples


def span_copies(view: View, span: Span, k: int, options: Options) -> list[Segment]:
    """The items of span k in an epoch (11.3)."""
    _, samples = drawn_view(view, span, offset_of(options.seed, options.epoch, k, options.source))
    return [(s, 0, view.effective(s)) for s in samples if view.effective(s)]


# 11.3
def weighted_windows(view: View, spans: list[Span], mine: list[int], lane: int, options: Options) -> list[list[int]]:
    """The numbers of the spans of every window of a lane that has the spans `mine`, in this order."""
    if not options.shuffle:
        return [[k] for k in mine]
    count = options.count(view)
    w = window_values(options.buffer, count)
    starts = [0]
    for k in mine:
        starts.append(starts[-1] + span_values(view, spans[k]))
    begins = [0]
    while (t := (lane + 1) * w // count + (len(begins) - 1) * w) < starts[-1]:
        begins.append(next((place for place in range(len(mine)) if starts[place] >= t), len(mine)))
    return [mine[a:b] for a, b in pairwise([*begins, len(mine)])]


def dealt_windows(view: View, spans: list[Span], options: Options) -> list[list[list[int]]]:
    """The windows of every lane."""
    n, count = len(spans), options.count(view)
    dealt = [
        permute(k, n, key(options.seed, 1, options.epoch, source=options.source)) if options.shuffle else k
        for k in range(n)
    ]
    return [weighted_windows(view, spans, dealt[lane::count], lane, options) for lane in range(count)]


def budgeted(items: list[Segment], budget: int) -> list[Segment]:
    """Items end to end, cut off or filled up to a number of values."""
    found, left = [], budget
    for sample, first, last in items:
        if left:
            found.append((sample, first, min(last, first + left)))
            left -= size(found[-1:])
    return [*found, (PADDING, 0, left)] if left else found


def weighted_line(view: View, options: Options) -> Epoch:
    """The token line of an epoch, with its padding."""
    spans, count = weighted_spans(view, options), options.count(view)
    if is_weighted_pool(view, options):
        items = span_copies(view, spans[0], 0, options)
        line = budgeted([items[i] for i in options.order(len(items), 3)], span_values(view, spans[0]))
        return Epoch(line, [size(line) * lane // count for lane in range(count + 1)])
    line, starts = [], [0]
    for lane, windows in enumerate(dealt_windows(view, spans, options)):
        for j, window in enumerate(windows):
            items = [item for k in window for item in span_copies(view, spans[k], k, options)]
            ordered = [items[i] for i in options.order(len(items), 2, lane, j)]
            line += budgeted(ordered, sum(span_values(view, spans[k]) for k in window))
        starts.append(size(line))
    return Epoch(line, starts)


# 11.4
def drawn_rows(view: View, span: Span, k: int, offset: int, seq_len: int, options: Options) -> list[Row]:
    """The rows of the copies of span k that an offset gives."""
    drawn, samples = drawn_view(view, span, offset)
    items = whole_items(drawn, ((0, 0), (len(samples), 0)), seq_len, options)
    named = [(samples[copy], first, last) for copy, first, last in items]
    if options.packing == "single":
        return [[item] for item in named]
    ordered = [named[i] for i in options.order(len(named), 5, window=k)]
    return [[ordered[i] for i in row] for row in whole_rows([size([item]) for item in ordered], seq_len)]


def rows_before(view: View, sample: int, seq_len: int, options: Options) -> int:
    """Z"""
    weights, total = weights_of(view), 0
    for s in range(sample):
        if weights[s]:
            total += weights[s] * len(whole_items(view, ((s, 0), (s + 1, 0)), seq_len, options))
    return (total + (1 << 15)) // (1 << 16)


def row_budget(view: View, span: Span, k: int, seq_len: int, options: Options) -> int:
    """R(k)"""
    if options.packing == "single":
        before = rows_before(view, span[0][0], seq_len, options)
        return rows_before(view, span[1][0], seq_len, options) - before
    return len(drawn_rows(view, span, k, 1 << 15, seq_len, options))


def weighted_sample_rows(view: View, seq_len: int, options: Options) -> list[Row]:
    """The rows of an epoch of whole samples."""
    spans, count = weighted_spans(view, options), options.count(view)

    def rows_of(window: list[int], purpose: int, lane: int, j: int) -> list[Row]:
        rows: list[Row] = []
        for k in window:
            offset = offset_of(options.seed, options.epoch, k, options.source)
            rows += drawn_rows(view, spans[k], k, offset, seq_len, options)
        budget = sum(row_budget(view, spans[k], k, seq_len, options) for k in window)
        ordered = [rows[i] for i in options.order(len(rows), purpose, lane, j)][:budget]
        return ordered + [[] for _ in range(budget - len(ordered))]

    if is_weighted_pool(view, options):
        line = rows_of([0], 3, 0, 0)
        begins = [lane * len(line) // count for lane in range(count + 1)]
    else:
        line, begins = [], [0]
        for lane, windows in enumerate(dealt_windows(view, spans, options)):
            for j, window in enumerate(windows):
                line += rows_of(window, 2, lane, j)
            begins.append(len(line))
    return [line[row] for row in turns(begins)]


def weighted_rows(
    view: View,
    seq_len: int,
    *,
    epoch: int,
    seed: int,
    shuffle: bool,
    lanes: int | None,
    buffer: int,
    packing: str = "concat",
    overlong: str = "error",
    source: int = 0,
) -> list[Row]:
    """The segments of every row of an epoch of a view with weights, in order; padding is left out."""
    options = Options(epoch, seed, shuffle, lanes, buffer, packing, overlong, source)
    if packing in ("whole", "single"):
        return weighted_sample_rows(view, seq_len, options)
    made = weighted_line(view, options)
    if packing == "fit":
        g = group_rows(seq_len, window_values(buffer, options.count(view)))
        rows = fit_rows(made, seq_len, g, options)
        order = line_rows(made.lane_starts, group_values(g, seq_len), g)
    else:
        order = line_rows(made.lane_starts, seq_len)
        rows = [cut_line(made.line, row * seq_len, (row + 1) * seq_len) for row in range(len(order))]
    return [[segment for segment in rows[row] if segment[0] != PADDING] for row in order]
