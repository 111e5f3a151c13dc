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
from tokstore.stream.batches import slab_values, values_from_afar
from tokstore.stream.lines import dealt_spans
from tokstore.stream.mixing import MixPlan
from tokstore.stream.plan import Plan
from tokstore.stream.shuffling import OrderQuality, measure_order, stretches_of
from tokstore.stream.slab import Segments, join_segments
from tokstore.stream.source import Source
from tokstore.stream.span_windows import SpanWindows, before

__all__ = ["SourceForecast", "batch_bytes", "count_windows", "forecast", "stored_range"]

I64 = NDArray[np.int64]
_ROWS_AT_ONCE = 1 << 14
_SAMPLES_COUNTED, _RUNS = 1 << 22, 64
_SAMPLES_AT_ONCE = 1 << 20
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
    pooled: int,
    width: int,
    most: int,
) -> SourceForecast:
    """Say what an epoch of one source costs and how its rows are made.

    Args:
        source: Where lengths are.
        plan: Its order.
        segments: Returns the pieces of rows of the source.
        turns: Ranks, workers, and rows of a batch.
        pooled: Values that a pool holds: with weights, those of the samples that can be drawn.
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
        held_bytes=_held(
            plan, len(source), windows, held + -(-values_from_afar(plan) // plan.window) * source.is_far, pooled, width
        ),
        examined_rows=examined,
        filled=values / (examined * plan.seq_len) if plan.seq_len else None,
        cut_samples=cut,
        overlong_samples=overlong,
        order=measure_order(
            pieces.position, pieces.row // turns.global_rows, len(source), stretches, whole=whole
        ),
    )  # fmt: skip


def count_windows(plan: Plan) -> int:
    """Return the windows of an epoch: 1 for a pool, else those of all lanes in the first epoch.

    They are counted exactly where they begin with spans (order.md 6.5 and 11.3). Else windows begin at the next piece
    of about 2**15 values (5.4), which only lengths tell, and one that would begin in the last piece of a lane is none:
    half of those are counted.
    """
    if plan.pooled:
        return 1
    if plan.is_weighted or plan.span_rows is not None:
        return SpanWindows(plan, 0).count(plan.line_values() if plan.span_rows is None else plan.span_rows)
    spans, hands = dealt_spans(plan, 0)
    begins = before(plan.line_values()[spans])
    found = 0
    for lane, values in enumerate(np.diff(begins[hands]).tolist()):
        if values:
            targets = np.arange(window_target(1, lane, plan.lanes, plan.window), values, plan.window)
            found += 1 + int(np.count_nonzero(targets < values - BLOCK // 2))
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
    """Return the share of the samples that fit a row and are cut all the same, and of those longer than a row.

    A sample is counted where it begins, and, with weights, each of its copies by itself.
    """
    begins = np.flatnonzero(pieces.first == 0)
    if plan.seq_len is None or not len(begins):
        return 0.0, 0.0
    samples, which = np.unique(pieces.position[begins], return_inverse=True)
    lengths = (_lengths_at(source, samples) + (plan.bos is not None) + (plan.eos is not None))[which]
    short = lengths <= plan.seq_len
    fitting = int(short.sum())
    overlong = 1 - fitting / len(short)
    if plan.span_rows is not None:  # some of them may be dropped
        overlong = _overlong_copies(source, plan) if plan.is_weighted else plan.overlong_samples / len(source)
    cut = int((short & (pieces.length[begins] < lengths)).sum())
    return (cut / fitting if fitting else 0.0), overlong


def _overlong_copies(source: Source, plan: Plan) -> float:
    """Return the share of the copies that weights lead to expect whose samples are longer than a row."""
    total, longer = 0, 0
    inserted = (plan.bos is not None) + (plan.eos is not None)
    for first in range(0, len(source), _SAMPLES_AT_ONCE):
        stop = min(first + _SAMPLES_AT_ONCE, len(source))
        sizes, weights = source.lengths(first, stop) + inserted, source.fixed_weights(first, stop).astype(np.int64)
        total += int(weights[sizes > 0].sum())
        longer += int(weights[sizes > (plan.seq_len or 0)].sum())
    return longer / max(1, total)


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


def _held(plan: Plan, samples: int, windows: int, lanes: int, pooled: int, width: int) -> int:
    """Estimate the bytes of the decoded tokens that a process holds of a source, and of the tables of their items."""
    if plan.pooled:
        return pooled * width + samples * _POOL_ITEM_BYTES
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
