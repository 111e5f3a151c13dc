"""Fit a model to the values of a shard: ranks, contexts, frequencies (codecs.md 5.3 says what a reader makes of it).

Contexts are found on a sample; what becomes frequencies is counted over all values, so every value of the shard has a
code wherever it stands. Frequencies may be rounded to few levels, and symbols are put in an order in which those that
occur in the same tables are neighbours: both only make the stored tables smaller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore import frames
from tokstore.codecs.code_clusters import find_contexts
from tokstore.codecs.code_contexts import COLUMN, UP, Contexts, ModelParts, cut, neighbours
from tokstore.codecs.rans_tables import quantise
from tokstore.packed import encode_packed

__all__ = ["fit_parts", "frames_per_lane"]

_PASS = 1 << 20  # values per pass over all
_WHOLE_SYMBOLS = 1 << 11  # more ranks than this are coded in two parts
_HIGH_BITS = 8
_LANES = 1 << 8, 1 << 9, 1 << 10  # short, usual, long, in symbols
_LOG, _LOG_FEW, _FEW_TABLES = 12, 14, 4
_QUICK_LEVEL = 9
Ints = NDArray[np.int64]


def frames_per_lane(size: int, width: int, rows: int | None) -> tuple[int, int]:
    """Return width and number of the frames of a lane: one sample where its size allows, else 256 to 1,024 symbols.

    Args:
        size: Codes are below it.
        width: Values in a frame of the column.
        rows: Frames in a sample of fixed shape, or ``None``.

    Example:
        >>> frames_per_lane(256, 16, 16), frames_per_lane(256, 8, None), frames_per_lane(256, 4, 4)
        ((16, 16), (8, 64), (4, 64))
    """
    short, usual, long = (each >> (size > _WHOLE_SYMBOLS) for each in _LANES)
    if width > long:
        return 1, usual
    if rows is not None and width * rows < short:
        return width, rows * -(-short // (width * rows))
    if rows is not None:
        fits = max(frames for frames in range(1, min(rows, long // width) + 1) if rows % frames == 0)
        if fits * width >= short:
            return width, fits
    return width, usual // width or 1


def fit_parts(
    values: NDArray[Any], size: int, width: int, lane: int, *, is_aligned: bool, use_contexts: bool
) -> ModelParts:
    """Fit a model.

    Args:
        values: All values of the shard, 1 or more.
        size: Values are below it.
        width: Values in a frame.
        lane: Frames in a lane.
        is_aligned: Whether lanes begin at the same values wherever blocks begin.
        use_contexts: Whether tables may depend on neighbours.
    """
    counts = np.zeros(size, np.int64)
    for start in range(0, len(values), _PASS):
        counts += np.bincount(values[start : start + _PASS], minlength=size)
    ids = np.flatnonzero(counts)
    low_bits = (len(ids) - 1).bit_length() - _HIGH_BITS if len(ids) > _WHOLE_SYMBOLS else 0
    symbols = ((len(ids) - 1) >> low_bits) + 1
    # What the model sees of a value: its rank, or the high bits of it.
    seen = np.zeros(size, np.uint16)
    seen[ids] = np.arange(len(ids)) >> low_bits
    highs = seen.take(values, mode="clip")
    contexts = find_contexts(highs, symbols, width, lane) if use_contexts else Contexts.none()
    counted = _count(highs, symbols, width, lane if is_aligned else None, contexts)
    if not low_bits:
        order = _order_symbols(counted)
        log, fitted = _fit([counted[:, order]])
        return ModelParts(ids[order], 0, _reorder(contexts, order), None, log, fitted[0], None)
    lows = np.zeros(symbols << low_bits, np.int64)
    lows[: len(ids)] = counts[ids]
    log, fitted = _fit([counted, lows.reshape(symbols, -1)])
    return ModelParts(ids, low_bits, contexts, np.arange(symbols), log, fitted[0], fitted[1])


def _count(symbols: NDArray[Any], many: int, width: int, lane: int | None, contexts: Contexts) -> Ints:
    """Count the symbols of all values by table: ``[tables, many]``.

    Where it is not known where lanes begin (`lane` is ``None``), any value may be the first of its column in a lane:
    then what it would be coded with there counts once, if it does not anyway.
    """
    made = np.zeros((int(contexts.tables.max()) + 1, many), np.int64)
    starts = np.zeros(made.shape, bool)
    for lanes, known in _lanes(symbols, width, lane):
        features = neighbours(lanes, many)
        for is_start in (False, True) if lane is None and UP in contexts.maps else (False,):
            if is_start:
                features[UP] = np.full_like(lanes, many)
            cells = contexts.tables.take(contexts.of(features)) * many + lanes
            counts = np.bincount(cells[:, known:].reshape(-1), minlength=made.size).reshape(made.shape)
            if is_start:
                starts |= counts > 0
            else:
                made += counts
    made += starts & (made == 0)
    return made


def _lanes(symbols: NDArray[Any], width: int, lane: int | None) -> Iterator[tuple[NDArray[Any], int]]:
    """Yield all values as ``[lanes, frames, width]``, with the number of frames that were there before."""
    if lane is not None:
        yield from ((lanes, 0) for lanes in cut(symbols, width, lane, _PASS))
        return
    step = -(-_PASS // width) * width
    for start in range(0, len(symbols), step):
        before = width if start else 0
        yield symbols[start - before : start + step].reshape(1, -1, width), before // width


def _order_symbols(counts: Ints) -> Ints:
    """Order symbols such that neighbours occur in the same tables, whose rows then have long runs of zeros."""
    if len(counts) == 1:
        return np.arange(counts.shape[1])
    shares = np.sqrt(counts / np.maximum(counts.sum(axis=0), 1)).astype(np.float32)
    likeness = shares.T @ shares
    order = [int(counts.sum(axis=0).argmax())]
    likeness[:, order[0]] = -1
    while len(order) < len(likeness):
        order.append(int(likeness[order[-1]].argmax()))
        likeness[:, order[-1]] = -1
    return np.array(order)


def _reorder(contexts: Contexts, order: Ints) -> Contexts:
    """Return the contexts of symbols that are put in another order."""
    place = np.append(order, len(order))
    maps = {one: found if one == COLUMN else found[place] for one, found in contexts.maps.items()}
    return Contexts(maps, contexts.classes, contexts.tables)


def _level_sets(log: int) -> Iterator[Ints | None]:
    """Yield what frequencies may be rounded to: nothing, or 8, 4 or 2 levels per octave."""
    yield None
    for bits in (3, 2, 1):
        steps = np.arange(1 << bits, 2 << bits)
        levels = np.concatenate([np.arange(1, 1 << bits), *(steps << octave for octave in range(log))])
        yield levels[levels <= 1 << log]


def _fit(sets: Sequence[Ints]) -> tuple[int, list[NDArray[np.uint32]]]:
    """Turn sets of counts into the log and frequencies that take the fewest bytes, data and stored tables together."""
    few = max(len(one) for one in sets) <= _FEW_TABLES
    widest = max(int(np.count_nonzero(one, axis=1).max()) for one in sets)
    lowest = max(_LOG, (widest - 1).bit_length() + 2)
    tried = []
    for log in {lowest, max(lowest, _LOG_FEW) if few else lowest}:
        best = [min(_fit_one(counts, log), key=lambda one: one[0]) for counts in sets]
        tried.append((sum(bits for bits, _ in best), log, [found for _, found in best]))
    _, log, found = min(tried, key=lambda one: one[:2])
    return log, found


def _fit_one(counts: Ints, log: int) -> Iterable[tuple[float, NDArray[np.uint32]]]:
    """Yield frequencies, and the bits of the data and of the tables with them."""
    occurs = counts > 0
    for levels in _level_sets(log):
        found = quantise(counts, log, levels)
        stored = len(frames.compress(encode_packed(found.reshape(-1)), _QUICK_LEVEL))
        yield float((counts[occurs] * (log - np.log2(found[occurs]))).sum()) + 8 * stored, found
