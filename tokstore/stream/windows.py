"""Windows: stretches of a view in memory, whose samples stand in shuffled order on the line (order.md 5 and 6).

A window holds its values as decoded, in view order and in the narrowest dtype, and tables that say where each item or
row of the shuffled order begins. Rows are cut from it by one gather over many pieces; nothing is done per sample. A
source that fits the buffer is one window, the pool, whose values are decoded once and serve all epochs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokstore.errors import TokstoreError
from tokstore.losses import TokensLost
from tokstore.order import Cut, cut_at, inner_cuts, units_between
from tokstore.ragged import ragged_index
from tokstore.stream.damage import Damage, Report, told
from tokstore.stream.plan import Plan
from tokstore.stream.source import Extent, Source
from tokstore.stream.stretches import DrawnStretch, Stretch, stretch_between

__all__ = [
    "LineWindow",
    "Pieces",
    "RowWindow",
    "Samples",
    "Window",
    "compact_dtype",
    "counting",
    "decode",
    "decode_together",
    "extent",
    "gather",
]

I64 = NDArray[np.int64]
_LONG_ITEMS = 128
"""Mean item length from which slices beat one gather by index (at 2,048: 4,000 M against 600 M values/s)."""


Place = tuple[Stretch, "Window"]
"""A stretch, and the window that it is decoded into."""


class Pieces(NamedTuple):
    """Pieces of items in rows, the pieces of a row one after another; arrays of one length.

    Args:
        row: int64, number of the row among those asked for.
        source: int64, where the piece begins in the values of its window.
        length: int64, its values.
        position: int64, the sample it is of.
        begins: bool, whether a document begins with it.
        left: int64, values of the item that come after it.
        first: int64, values of the sample that come before it.
    """

    row: I64
    source: I64
    length: I64
    position: I64
    begins: NDArray[np.bool_]
    left: I64
    first: I64

    def at(self, index: I64 | slice) -> Pieces:
        """Return some of the pieces, in another order; those of a slice without a copy."""
        return Pieces(
            self.row[index],
            self.source[index],
            self.length[index],
            self.position[index],
            self.begins[index],
            self.left[index],
            self.first[index],
        )


class Samples(NamedTuple):
    """Whole samples in a window: where each begins in its values, ascending; its position; its effective values."""

    begins: NDArray[Any]
    positions: I64
    sizes: NDArray[Any]

    def holding(self, sources: I64) -> Samples:
        """Return those that hold some values, each once."""
        which = np.unique(self.begins.searchsorted(sources, side="right") - 1)
        return Samples(self.begins[which], self.positions[which], self.sizes[which])


@dataclass(slots=True)
class Window:
    """Part of a line in memory.

    Args:
        start, stop: Where it begins and ends on the line.
        stretches: What is decoded into `values`, in the order of `Stretch.at`.
        values: The ids, of the dtype of `compact_dtype`, and after them as many padding ids as a row has values.
        padding: Where the padding begins.
        samples: For a window of whole samples only.
        damage: Which values are lost.
    """

    start: int
    stop: int
    stretches: list[Stretch]
    values: NDArray[Any]
    padding: int
    samples: Samples | None
    damage: Damage = field(default_factory=Damage, kw_only=True)

    def parts(self, source: Source, plan: Plan, sources: I64) -> list[Stretch]:
        """Return what has to be decoded for pieces alone: their samples, or the stretches of units that they lie in.

        Args:
            source: Where the samples are.
            plan, sources: The plan of the stream; where the pieces begin in `values`.
        """
        if self.samples is not None:
            some = self.samples.holding(sources)
            more = (plan.bos is not None) + (plan.eos is not None)
            runs = zip(some.positions.tolist(), some.begins.tolist(), some.sizes.tolist(), strict=True)
            return [Stretch(Cut(p, 0, 0), Cut(p + 1, 0, n - more), at, n) for p, at, n in runs]
        starts = np.array([stretch.at for stretch in self.stretches], np.int64)
        owner = np.searchsorted(starts, sources, side="right") - 1
        found = []
        for index in np.unique(owner).tolist():
            stretch = self.stretches[index]
            _, units = stretch_between(source, plan, stretch.start, stretch.stop, stretch.at)
            sizes = units.effective(plan.bos is not None, plan.eos is not None)
            before = np.cumsum(sizes) - sizes + stretch.at
            full = np.flatnonzero(sizes)
            unit = full[np.unique(np.searchsorted(before[full], sources[owner == index], side="right") - 1)]
            pairs = np.stack([unit, unit + 1], axis=1).ravel()
            cuts = inner_cuts(stretch.start, stretch.stop, units, pairs, np.zeros_like(pairs))
            found += [
                Stretch(cut_at(cuts, 2 * k), cut_at(cuts, 2 * k + 1), int(before[u]), int(sizes[u]))
                for k, u in enumerate(unit.tolist())
            ]
        return found


@dataclass(slots=True)
class LineWindow(Window):
    """A window of a line that is counted in values.

    Args:
        ends: Where each item ends, from the start of the window.
        sources: Where each item begins in `values`.
        positions: The sample of each item.
        fresh: Which items begin a document; None for all.
        firsts: Values of its sample before each item; None where all items begin one.
    """

    ends: NDArray[Any]
    sources: NDArray[Any]
    positions: NDArray[Any]
    fresh: NDArray[np.bool_] | None
    firsts: I64 | None

    def pieces(self, starts: I64, stops: I64) -> Pieces:
        """Return what lies on the line between each start and its stop, inside the window; starts ascend."""
        # Numbers of the dtype of `ends`: any other kind makes numpy copy the whole table first.
        low, high = starts - self.start, stops - self.start
        i = self.ends.searchsorted(low.astype(self.ends.dtype), side="right")
        count = self.ends.searchsorted(high.astype(self.ends.dtype)) + 1 - i
        row = np.repeat(np.arange(len(starts)), count)
        # One interval is a run of items, which needs no index.
        item = ragged_index(i, count) if len(i) != 1 else slice(int(i[0]), int(i[0] + count[0]))
        end = self.ends[item].astype(np.int64)
        begin = np.empty(len(end), np.int64)
        if isinstance(item, slice):
            begin[1:], begin[:1] = end[:-1], self.ends[item.start - 1] if item.start else 0
        else:
            begin[:] = np.where(item > 0, self.ends[item - 1], 0)
        first, last = np.maximum(begin, low[row]), np.minimum(end, high[row])
        begins = first == begin
        if self.fresh is not None:
            begins &= self.fresh[item]
        within = first - begin
        source = self.sources[item] + within
        if self.firsts is not None:
            within = within + self.firsts[item]
        return Pieces(row, source, last - first, self.positions[item].astype(np.int64), begins, end - last, within)


@dataclass(slots=True)
class RowWindow(Window):
    """A window of a line that is counted in rows.

    Args:
        row_starts: First piece of every row, and the end of the last.
        pieces_of: The pieces of all rows.
    """

    row_starts: I64
    pieces_of: Pieces

    def pieces(self, rows: I64) -> Pieces:
        """Return the pieces of rows of the line."""
        first = self.row_starts[rows - self.start]
        count = self.row_starts[rows - self.start + 1] - first
        found = self.pieces_of.at(ragged_index(first, count))
        return found._replace(row=np.repeat(np.arange(len(rows)), count))


def compact_dtype(vocab_size: int) -> np.dtype[Any]:
    """Return the narrowest dtype that windows hold ids in.

    Example:
        >>> compact_dtype(50_257), compact_dtype(128_256)
        (dtype('uint16'), dtype('int32'))
    """
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.int32 if vocab_size <= 1 << 31 else np.int64)


def extent(source: Source, stretch: Stretch) -> Extent:
    """Return which stored values a stretch has: all of samples, or a part of consecutive ones."""
    start, stop = stretch.start, stretch.stop
    if isinstance(stretch, DrawnStretch):
        return stretch.positions(), 0, None
    first, skip = start.first, 0
    if start.rest:
        first -= 1
        skip = int(source.lengths(first, start.first)[0]) - start.rest
    return (first, stop.first), skip, stop.offset - start.offset if start.rest or stop.rest else None


def decode(
    source: Source,
    plan: Plan,
    stretch: Stretch,
    window: Window,
    report: Report | None = None,
    stored: Mapping[Any, Any] | None = None,
) -> None:
    """Decode a stretch into its place in a window, with the inserted ids. Safe to call on any thread, and twice."""
    values, lost = window.values, None if report is None else TokensLost()
    count = stretch.stop.offset - stretch.start.offset
    out = values[stretch.at : stretch.at + stretch.size]
    ids = np.zeros(0, values.dtype)
    places, skip, limit = extent(source, stretch)
    if count and not isinstance(places, tuple):
        ids = source.read_samples(places, lost=lost, stored=stored)
    elif count and isinstance(places, tuple):
        room = out if stretch.size == count else None
        ids = source.read_range(*places, skip=skip, limit=limit, out=room, lost=lost, stored=stored)
    if len(ids) != count:
        raise TokstoreError(
            f"samples {stretch.start.first} to {stretch.stop.first} gave {len(ids)} values instead of {count}",
            rule="order.md 4.1",
        )
    mask = told(lost, report)
    if mask is not None:
        window.damage.add(stretch.at, _lost_of(source, plan, stretch, mask))
    _put(source, plan, stretch, ids, values)


def decode_together(
    source: Source,
    plan: Plan,
    places: Sequence[Place],
    pool: Executor | None = None,
    report: Report | None = None,
    stored: Mapping[Any, Any] | None = None,
) -> None:
    """Decode stretches into their places, those of whole samples by one read.

    Args:
        source: Where the samples are.
        plan: The plan of the stream.
        places: Stretches, each with its window.
        pool: Threads to decode on, for a caller that is none of them.
        report: Is told blocks that cannot be read, whose values are lost then; without it they are an error.
        stored: What the source fetched ahead of it.
    """
    lost = None if report is None else TokensLost()
    whole: list[Place] = []
    read = 0
    for stretch, window in sorted(places, key=lambda place: place[0].start.first):
        start, stop = stretch.start, stretch.stop
        # The windows of two epochs may want the same sample.
        if not start.rest and not stop.rest and stop.offset > start.offset and start.first >= read:
            whole.append((stretch, window))
            read = stop.first
        else:
            decode(source, plan, stretch, window, report, stored)
    if not whole:
        return
    counts = [one.stop.offset - one.start.offset for one, _ in whole]
    positions = np.concatenate([one.positions() for one, _ in whole])
    total = sum(counts)
    room = _one_place(whole, counts)
    ids = source.read_samples(positions, out=room, pool=pool, lost=lost, stored=stored)
    if len(ids) != total:
        raise TokstoreError(f"{len(positions)} samples gave {len(ids)} values instead of {total}", rule="order.md 4.1")
    mask = told(lost, report)
    if mask is not None:
        for (stretch, window), part in zip(whole, np.split(mask, np.cumsum(counts)[:-1]), strict=True):
            window.damage.add(stretch.at, _lost_of(source, plan, stretch, part))
    if ids is room:
        for stretch, _ in whole:
            stretch.done = True
        return
    before = 0
    for (stretch, window), n in zip(whole, counts, strict=True):
        _put(source, plan, stretch, ids[before : before + n], window.values)
        before += n


def _one_place(places: Sequence[Place], stored: Sequence[int]) -> NDArray[Any] | None:
    """Return where all stored values go, if that is one place without inserted ids between them."""
    first, values = places[0][0], places[0][1].values
    at = first.at
    for (stretch, window), n in zip(places, stored, strict=True):
        if window.values is not values or stretch.at != at or stretch.size != n:
            return None
        at += n
    return values[first.at : at]


def _put(source: Source, plan: Plan, stretch: Stretch, ids: NDArray[Any], values: NDArray[Any]) -> None:
    """Put the stored values of a stretch into their place, with the inserted ids between them."""
    out = values[stretch.at : stretch.at + stretch.size]
    if stretch.size == len(ids):
        if ids.base is not out.base or ids.ctypes.data != out.ctypes.data:
            out[:] = ids
    else:
        kept, bos, eos, _ = _inserted(source, plan, stretch, len(ids))
        out[bos], out[eos] = plan.bos or 0, plan.eos or 0
        out[kept] = ids
    stretch.done = True


def _inserted(
    source: Source, plan: Plan, stretch: Stretch, stored: int
) -> tuple[NDArray[np.bool_], I64, I64, NDArray[np.bool_]]:
    """Return which values of a stretch are stored, where bos and eos stand, and which eos follow a stored value."""
    start, stop = stretch.start, stretch.stop
    single = stop.first - start.first == 1 and not start.rest and not stop.rest
    lengths = np.array([stored]) if single else stretch.lengths(source)
    units = units_between(start, stop, lengths)
    ends = np.cumsum(units.effective(plan.bos is not None, plan.eos is not None))
    kept = np.ones(stretch.size, bool)
    begins = last = np.zeros(0, np.int64)
    if plan.bos is not None:
        begins = (ends - units.values - 1 - (units.ends & (plan.eos is not None)))[units.begins]
    if plan.eos is not None:
        last = ends[units.ends] - 1
    kept[begins], kept[last] = False, False
    return kept, begins, last, units.values[units.ends] > 0


def _lost_of(source: Source, plan: Plan, stretch: Stretch, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which values of a stretch are lost, given which stored ones are: an eos is with the token before it."""
    if stretch.size == len(mask):
        return mask
    kept, _, eos, follows = _inserted(source, plan, stretch, len(mask))
    found = np.zeros(stretch.size, bool)
    found[kept] = mask
    if plan.eos is not None:
        eos = eos[follows]
        found[eos] = found[eos - 1]
    return found


def counting(n: int) -> I64:
    """Return 0 to n - 1, from a table that is made once; not to be written to."""
    global _counted
    if len(_counted) < n:
        _counted = np.arange(max(n, 2 * len(_counted)))
    return _counted[:n]


_counted = np.arange(1 << 16)


def gather(values: NDArray[Any], sources: I64, lengths: I64, out: NDArray[Any]) -> None:
    """Copy runs of `values` one after another into `out`; the lengths add up to its length.

    Example:
        >>> out = np.zeros(4, np.uint16)
        >>> gather(np.arange(9, dtype=np.uint16), np.array([6, 1]), np.array([3, 1]), out)
        >>> out.tolist()
        [6, 7, 8, 1]
    """
    if len(lengths) * _LONG_ITEMS <= len(out):
        runs = zip(sources.tolist(), (sources + lengths).tolist(), strict=True)
        np.concatenate([values[a:b] for a, b in runs], out=out)
        return
    ends = np.cumsum(lengths)
    index = np.repeat(sources - (ends - lengths), lengths)
    index += counting(len(out))
    np.take(values, index, out=out, mode="clip")
