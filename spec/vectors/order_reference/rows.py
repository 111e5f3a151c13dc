"""Sections 6 and 7 of order.md: the rows of an epoch in every packing, and which rank gets them."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import NamedTuple

from spec.vectors.order_reference.line import (
    Epoch,
    Place,
    Segment,
    View,
    epoch_line,
    is_pool,
    key,
    lane_count,
    permute,
    plan,
    shuffled,
    size,
    target,
    window_values,
)
from spec.vectors.order_reference.packing import fit_parts, group_rows, group_values, long_parts, whole_rows

Row = list[Segment]


class Options(NamedTuple):
    """What the order depends on besides the view and the length of a row."""

    epoch: int
    seed: int
    shuffle: bool
    lanes: int | None
    buffer: int
    packing: str
    overlong: str
    source: int = 0

    def count(self, view: View) -> int:
        """The number of lanes (5.1)."""
        return (self.lanes or lane_count(sum(view.lengths))) if self.shuffle else 1

    def order(self, n: int, purpose: int, lane: int = 0, window: int = 0) -> list[int]:
        """0 to n - 1 as 3.2 puts them, or as they are without shuffling."""
        return (
            shuffled(n, key(self.seed, purpose, self.epoch, lane, window, self.source))
            if self.shuffle
            else list(range(n))
        )


# 6.1 to 6.3, 7.1 and 7.2
def rows_of(values: int, q: int, g: int = 1) -> int:
    """6.2"""
    return g * (values // q) + min(g, -(-(values % q) * g // q))


def turns(begins: list[int]) -> list[int]:
    """7.2: the row of the line that each row of the epoch is; lane l owns those from begins[l] on"""
    lanes, rows = len(begins) - 1, begins[-1]
    owned = [list(range(a, b)) for a, b in pairwise(begins)]
    quota = [-(-max(rows - lane, 0) // lanes) for lane in range(lanes)]
    hands = list(zip(owned, quota, strict=True))
    spare = iter([row for mine, count in hands for row in mine[count:]])
    dealt = [mine[:count] + [next(spare) for _ in range(count - len(mine))] for mine, count in hands]
    return [dealt[i % lanes][i // lanes] for i in range(rows)]


def line_rows(lane_starts: list[int], q: int, g: int = 1) -> list[int]:
    """6.3 and 7.2: the row of the line that each row of the epoch is"""
    rows = rows_of(lane_starts[-1], q, g)
    return turns([min(-(-start // q) * g, rows) for start in lane_starts])


# 6.1 and 6.4: rows of the line
def cut_line(line: Row, start: int, stop: int) -> Row:
    """The segments between two places on the line."""
    ends: list[int] = []
    for segment in line:
        ends.append((ends[-1] if ends else 0) + segment[2] - segment[1])
    return _between(line, ends, start, stop)


def _between(line: Row, ends: list[int], start: int, stop: int) -> Row:
    found = []
    for item in range(bisect_right(ends, start), len(line)):
        sample, first, last = line[item]
        begin = ends[item] - (last - first)
        if begin >= stop:
            break
        found.append((sample, first + max(begin, start) - begin, first + min(ends[item], stop) - begin))
    return [segment for segment in found if segment[1] < segment[2]]


def fit_rows(made: Epoch, seq_len: int, g: int, options: Options) -> list[Row]:
    """6.4: the rows of the line"""
    q, total = group_values(g, seq_len), made.lane_starts[-1]
    found = []
    for group in range(-(-total // q)):
        start, stop = group * q, min((group + 1) * q, total)
        r = min(g, -(-(stop - start) * g // q))
        inside = cut_line(made.line, start, stop)
        at, items = 0, []
        for segment in inside:
            items.append((at, at + size([segment])))
            at += size([segment])
        ends = [end for _, end in items]
        rows = [[_between(inside, ends, a, b)[0] for a, b in row] for row in fit_parts(items, seq_len, r)]
        found += [rows[k] for k in options.order(r, 4, window=group)]
    return found


# 6.5: rows of whole samples
def row_spans(view: View, lanes: int, buffer: int, *, shuffle: bool = True) -> list[tuple[Place, Place]]:
    """The plan spans of whole samples; a pool is one."""
    if not shuffle:
        return list(pairwise(plan(view, 1 << 18, whole=True, split_long=False)))
    if is_pool(view, buffer):
        return [((0, 0), (len(view.lengths), 0))]
    return list(pairwise(plan(view, target(sum(view.lengths), lanes), whole=True)))


def whole_items(view: View, span: tuple[Place, Place], seq_len: int, options: Options) -> list[Segment]:
    """The items of a plan span."""
    found: list[Segment] = []
    for unit in view.units(*span):
        sample, first, last = view.segment(unit)
        if first == last:
            continue
        if last <= seq_len:
            found.append((sample, 0, last))
        elif options.overlong == "truncate":
            found.append((sample, 0, seq_len))
        elif options.overlong == "split" and options.packing == "single":
            found += [(sample, a, b) for a, b in long_parts([(0, last)], seq_len)]
        elif options.overlong != "drop":
            raise ValueError(f"sample {sample} has {last} values, and a row {seq_len} (order.md 6.5)")
    return found


def span_rows(view: View, span: tuple[Place, Place], k: int, seq_len: int, options: Options) -> list[Row]:
    """The R(k) rows of plan span k."""
    items = whole_items(view, span, seq_len, options)
    if options.packing == "single":
        return [[item] for item in items]
    ordered = [items[i] for i in options.order(len(items), 5, window=k)]
    return [[ordered[i] for i in row] for row in whole_rows([size([item]) for item in ordered], seq_len)]


def sample_rows(view: View, seq_len: int, options: Options) -> tuple[list[Row], list[int]]:
    """The rows of the line, and B(l) for every lane and the end."""
    count = options.count(view)
    spans = row_spans(view, count, options.buffer, shuffle=options.shuffle)
    if options.shuffle and is_pool(view, options.buffer):
        rows = span_rows(view, spans[0], 0, seq_len, options)
        line = [rows[i] for i in options.order(len(rows), 3)]
        return line, [lane * len(line) // count for lane in range(count + 1)]
    n = len(spans)
    dealt = [
        permute(k, n, key(options.seed, 1, options.epoch, source=options.source)) if options.shuffle else k
        for k in range(n)
    ]
    line, begins = [], [0]
    for lane in range(count):
        for j, window in enumerate(whole_windows(view, spans, dealt[lane::count], lane, count, options.buffer)):
            rows = [row for k in window for row in span_rows(view, spans[k], k, seq_len, options)]
            line += [rows[i] for i in options.order(len(rows), 2, lane, j)]
        begins.append(len(line))
    return line, begins


def whole_windows(
    view: View, spans: list[tuple[Place, Place]], mine: list[int], lane: int, lanes: int, buffer: int
) -> list[list[int]]:
    """The numbers of the spans of every window of a lane that has the spans `mine`, in this order."""
    w = window_values(buffer, lanes)
    starts = [0]  # of every span in the stretch of the lane, and its end; in effective values
    for k in mine:
        starts.append(starts[-1] + sum(view.effective(unit[0]) for unit in view.units(*spans[k])))
    begins = [0]  # of windows, as places in `mine`
    while (t := (lane + 1) * w // lanes + (len(begins) - 1) * w) < starts[-1]:
        begins.append(next((place for place in range(len(mine)) if starts[place] >= t), len(mine)))
    return [mine[a:b] for a, b in pairwise([*begins, len(mine)])]


def epoch_rows(
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
    """The segments of every row of an epoch, in order."""
    options = Options(epoch, seed, shuffle, lanes, buffer, packing, overlong, source)
    if packing in ("whole", "single"):
        rows, begins = sample_rows(view, seq_len, options)
        return [rows[row] for row in turns(begins)]
    made = epoch_line(view, seed=seed, epoch=epoch, shuffle=shuffle, lanes=lanes, buffer=buffer, source=source)
    if packing == "fit":
        g = group_rows(seq_len, window_values(buffer, options.count(view)))
        rows = fit_rows(made, seq_len, g, options)
        return [rows[row] for row in line_rows(made.lane_starts, group_values(g, seq_len), g)]
    return [cut_line(made.line, row * seq_len, (row + 1) * seq_len) for row in line_rows(made.lane_starts, seq_len)]


# 7.3 and 7.4: streams and ranks
def epoch_of(row: int, rows: int) -> tuple[int, int]:
    """7.3: the epoch, and the row in it, of a row of a stream with so many rows an epoch"""
    return row // rows, row % rows


def rank_batches(total: int, batch_rows: int, ranks: int, rank: int) -> list[list[int | None]]:
    """7.4 and 7.5: the rows of a finite stream that a rank has of every global batch; None is a fill row"""
    batches = -(-total // batch_rows)
    return [
        [row if row < total else None for row in range(s * batch_rows + rank, (s + 1) * batch_rows, ranks)]
        for s in range(batches)
    ]


def worker_batches(batches: int, workers: int, worker: int) -> list[int]:
    """7.4: the batches that a worker of a rank makes"""
    return list(range(worker, batches, workers))
