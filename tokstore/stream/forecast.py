"""What an epoch of a plan will be: counted from its tables and from the pieces of some of its rows, nothing decoded.

Counts are exact where the whole epoch is looked at, and otherwise taken from its first rows, which are as good as any
in a shuffled stream. How often blocks are decoded follows from lanes, ranks and workers (order.md 7.4 and 7.6).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from tokstore.order import window_target
from tokstore.order.spans import BLOCK
from tokstore.order.turns import Turns
from tokstore.stream.batches import slab_values
from tokstore.stream.lines import dealt_spans
from tokstore.stream.mixing import MixPlan
from tokstore.stream.plan import Plan
from tokstore.stream.shuffling import OrderQuality, measure_order, stretches_of
from tokstore.stream.slab import Segments, join_segments
from tokstore.stream.source import Source

__all__ = ["SourceForecast", "batch_bytes", "count_windows", "forecast", "stored_range"]

I64 = NDArray[np.int64]
_ROWS_AT_ONCE = 1 << 14
_SAMPLES_COUNTED, _RUNS = 1 << 22, 64
_LINE_ITEM_BYTES, _ROW_ITEM_BYTES, _POOL_ITEM_BYTES = 16, 80, 72
_DECODING_BYTES = 24 << 20
"""Threads, stored blocks, blocks that are wanted in part, by measurement."""


class SourceForecast(TypedDict):
    """What a source is in an epoch; see `StreamingDataset.plan`."""

    samples: int
    tokens: int
    rows: int
    shuffle: str
    group_rows: int
    windows: int
    window_tokens: int
    shuffled_together: float
    blocks: int | None
    block_bytes: int | None
    decodes: float
    bytes_read: int | None
    held_bytes: int
    examined_rows: int
    filled: float | None
    cut_samples: float
    overlong_samples: float
    order: OrderQuality


def forecast(
    source: Source,
    plan: Plan,
    segments: Callable[[I64], Segments],
    turns: Turns,
    *,
    width: int,
    most: int,
) -> SourceForecast:
    """Say what an epoch of one source costs and how its rows are made.

    Args:
        source: Where lengths are.
        plan: Its order.
        segments: Returns the pieces of rows of the source.
        turns: Ranks, workers, and rows of a batch.
        width: Bytes of an id in memory.
        most: Rows to look at.
    """
    windows = count_windows(plan)
    examined, whole = min(plan.rows, most), most >= plan.rows
    pieces = _pieces(segments, examined)
    values = int(pieces.length.sum())
    cut, overlong = _cut(source, plan, pieces)
    stretches = stretches_of(len(source), plan.values)
    held, processes = turns.lanes_read(plan.lanes), turns.ranks * turns.workers
    blocks, nbytes = _blocks(source)
    decodes: float = processes if plan.pooled else processes * held / plan.lanes
    return SourceForecast(
        samples=len(source),
        tokens=plan.values,
        rows=plan.rows,
        shuffle="none" if not plan.shuffle else "pool" if plan.pooled else "windows",
        group_rows=plan.group_rows,
        windows=windows,
        window_tokens=plan.values // windows,
        shuffled_together=_together(plan, windows),
        blocks=blocks,
        block_bytes=nbytes,
        decodes=decodes,
        bytes_read=None if nbytes is None else round(nbytes * decodes),
        held_bytes=_held(plan, len(source), windows, held, width),
        examined_rows=examined,
        filled=values / (examined * plan.seq_len) if plan.seq_len else None,
        cut_samples=cut,
        overlong_samples=overlong,
        order=measure_order(
            pieces.position, pieces.row // turns.global_rows, len(source), stretches, whole=whole
        ),
    )  # fmt: skip


def count_windows(plan: Plan) -> int:
    """Return the windows of an epoch: 1 for a pool, else those of all lanes in the first epoch (order.md 5.4).

    Where a line is counted in values, windows begin at the next piece of about 2**15 values, which only lengths tell,
    and one that would begin in the last piece of a lane is none: half of those are counted.
    """
    if plan.pooled:
        return 1
    spans, hands = dealt_spans(plan, 0)
    begins = np.zeros(plan.spans + 1, np.int64)
    np.cumsum(np.diff(plan.effective())[spans], out=begins[1:])
    found = 0
    for lane, (first, stop) in enumerate(zip(hands[:-1].tolist(), hands[1:].tolist(), strict=True)):
        values = int(begins[stop] - begins[first])
        if not values:
            continue
        second = window_target(1, lane, plan.lanes, plan.window)
        targets = np.arange(second, values, plan.window)
        if plan.span_rows is not None:  # windows begin with spans there, and a long span swallows several of them
            hand = np.unique(np.searchsorted(begins[first:stop] - begins[first], targets))
            targets = hand[(hand > 0) & (hand < stop - first)]
        else:
            targets = targets[targets < values - BLOCK // 2]
        found += 1 + len(targets)
    return max(found, 1)


def _pieces(segments: Callable[[I64], Segments], rows: int) -> Segments:
    """Return the pieces of the first rows, some rows at a time, so that few windows are planned at once."""

    held = []
    for first in range(0, rows, _ROWS_AT_ONCE):
        found = segments(np.arange(first, min(first + _ROWS_AT_ONCE, rows)))
        found.row = found.row + first
        held.append(found)
    return join_segments(held)


def _cut(source: Source, plan: Plan, pieces: Segments) -> tuple[float, float]:
    """Return the share of the samples that fit a row and are cut all the same, and of those longer than a row."""
    if plan.seq_len is None or not len(pieces.position):
        return 0.0, 0.0
    found, which = np.unique(pieces.position, return_inverse=True)
    lengths = _lengths_at(source, found) + (plan.bos is not None) + (plan.eos is not None)
    short = lengths <= plan.seq_len
    part = np.zeros(len(found), bool)
    part[which[pieces.length < lengths[which]]] = True
    fitting = int(short.sum())
    overlong = (len(short) - fitting) / len(short)
    if plan.span_rows is not None:  # some of them may be dropped
        overlong = plan.overlong_samples / len(source)
    return (int((part & short).sum()) / fitting if fitting else 0.0), overlong


def stored_range(source: Source, plan: Plan, positions: I64, first: I64, length: I64) -> tuple[I64, I64]:
    """Return where pieces of samples begin and end among the stored values of each, without what is inserted.

    Args:
        source: Where lengths are.
        plan: Says what is inserted.
        positions: The samples.
        first: Values of the sample before the piece, inserted ones counted.
        length: Values of the piece, likewise.
    """
    samples, which = np.unique(positions, return_inverse=True)
    lengths, bos = _lengths_at(source, samples)[which], plan.bos is not None
    return np.maximum(first - bos, 0), np.minimum(first + length - bos, lengths)


def _lengths_at(source: Source, positions: I64) -> I64:
    """Return lengths of samples at ascending positions, by runs of near ones."""
    found = np.empty(len(positions), np.int64)
    if not len(positions):
        return found
    edges = [0, *(np.flatnonzero(np.diff(positions) > 1 << 12) + 1).tolist(), len(positions)]
    for a, b in pairwise(edges):
        first = int(positions[a])
        found[a:b] = source.lengths(first, int(positions[b - 1]) + 1)[positions[a:b] - first]
    return found


def _blocks(source: Source) -> tuple[int | None, int | None]:
    """Return the blocks with tokens of the source and their bytes; of very many samples from runs of them."""
    count = getattr(source, "token_blocks", None)
    if count is None:
        return None, None
    samples = len(source)
    if samples <= _SAMPLES_COUNTED:
        blocks, nbytes, _ = count()
        return blocks, nbytes
    run = _SAMPLES_COUNTED // _RUNS
    found = np.array([count(first, first + run) for first in np.linspace(0, samples - run, _RUNS, dtype=np.int64)])
    blocks, nbytes, values = found.sum(axis=0).tolist()
    scale = source.token_count / max(1, values)
    return round(blocks * scale), round(nbytes * scale)


def _together(plan: Plan, windows: int) -> float:
    """Return the share of the epoch among which samples are shuffled at any time."""
    if not plan.shuffle:
        return 0.0
    return 1.0 if plan.pooled else min(1.0, plan.lanes / windows)


def _held(plan: Plan, samples: int, windows: int, lanes: int, width: int) -> int:
    """Estimate the bytes of the decoded tokens that a process holds of a source, and of the tables of their items."""
    if plan.pooled:
        return plan.values * width + samples * _POOL_ITEM_BYTES
    items = _ROW_ITEM_BYTES if plan.span_rows is not None else _LINE_ITEM_BYTES
    # Beside a window of every lane, one that comes next and one that is only just done with.
    return (plan.values * width + samples * items) // windows * min(windows, lanes + 2)


def batch_bytes(plan: Plan | MixPlan, width: int, keys: int) -> int:
    """Estimate the bytes that a process holds beside windows: two slabs of batches, and what decoding takes.

    Args:
        plan: The order.
        width: Bytes of an id in memory.
        keys: Tensors of a batch.
    """
    return _DECODING_BYTES + min(slab_values(plan, keys - 1), plan.values) * (2 * (width + 8 * keys) + 8)
