"""Windows: stretches of a view in memory, whose samples stand in shuffled order on the token line (order.md 5).

A window holds its values as decoded, in view order and in the narrowest dtype, and a table that says where each item
of the shuffled order begins. Rows are cut from it by one gather over many items; nothing is done per sample. A source
that fits the buffer is one window, the pool, whose values are decoded once and serve all epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.errors import TokstoreError
from tokstore.order import Cut, Units, cut_at, inner_cuts, units_between
from tokstore.stream.plan import Plan, Source

__all__ = ["Stretch", "Window", "compact_dtype", "counting", "decode", "gather", "stretch_between"]

I64 = NDArray[np.int64]
_LONG_ITEMS = 1024
"""Mean item length from which slices beat one gather by index (at 2,048: 4,000 M against 600 M values/s)."""


class Stretch:
    """A run of values between two cuts and its place in a window; the unit of decoding."""

    __slots__ = ("at", "done", "size", "start", "stop")

    def __init__(self, start: Cut, stop: Cut, at: int, size: int) -> None:
        self.start, self.stop, self.at, self.size = start, stop, at, size
        self.done = False


def stretch_between(source: Source, plan: Plan, start: Cut, stop: Cut, at: int) -> tuple[Stretch, Units]:
    """Make the stretch between two cuts, with its units."""
    units = units_between(start, stop, source.lengths(start.first, stop.first))
    size = int(units.effective(plan.bos is not None, plan.eos is not None).sum())
    return Stretch(start, stop, at, size), units


@dataclass(slots=True)
class Window:
    """Part of the token line in memory.

    Args:
        start: Where it begins on the line.
        ends: Where each item ends, from the start of the window.
        sources: Where each item begins in `values`.
        fresh: Which items begin a document; None for all.
        stretches: What is decoded into `values`, in the order of `Stretch.at`.
        values: The ids; of the dtype of `compact_dtype`.
        samples: For a window of whole samples: where each begins in `values`, ascending, and its position.
    """

    start: int
    ends: NDArray[Any]
    sources: NDArray[Any]
    fresh: NDArray[np.bool_] | None
    stretches: list[Stretch]
    values: NDArray[Any]
    samples: tuple[NDArray[Any], I64] | None = None

    @property
    def stop(self) -> int:
        """Where the window ends on the line."""
        return self.start + (int(self.ends[-1]) if len(self.ends) else 0)

    def items(self, start: int, stop: int) -> tuple[int, int, I64]:
        """Return the items that have values from `start` to `stop` on the line: first, last + 1, and their bounds."""
        a, b = start - self.start, stop - self.start
        # Numbers of the dtype of `ends`: any other kind makes numpy copy the whole table first.
        i = int(self.ends.searchsorted(self.ends.dtype.type(a), side="right"))
        j = int(self.ends.searchsorted(self.ends.dtype.type(b))) + 1
        bounds = np.empty(j - i + 1, np.int64)
        bounds[0] = self.ends[i - 1] if i else 0
        bounds[1:] = self.ends[i:j]
        return i, j, bounds

    def read(self, start: int, stop: int, out: NDArray[Any], fresh: NDArray[np.bool_] | None) -> None:
        """Copy the values from `start` to `stop` of the line, and mark in `fresh` where documents begin."""
        i, j, bounds = self.items(start, stop)
        a = start - self.start
        if fresh is not None:
            begins = bounds[:-1] if self.fresh is None else bounds[:-1][self.fresh[i:j]]
            fresh[begins[begins >= a] - a] = True
        sources = self.sources[i:j].astype(np.int64)
        sources[0] += a - bounds[0]
        bounds[0], bounds[-1] = a, stop - self.start
        gather(self.values, sources, np.diff(bounds), out)

    def parts(self, source: Source, plan: Plan, start: int, stop: int) -> list[Stretch]:
        """Return the items from `start` to `stop` of the line as stretches, without those decoded already."""
        i, j, bounds = self.items(start, stop)
        begins = self.sources[i:j].astype(np.int64)
        if self.samples is not None:
            if all(stretch.done for stretch in self.stretches):
                return []
            positions = self.samples[1][self.samples[0].searchsorted(self.sources[i:j])].tolist()
            inserted = (plan.bos is not None) + (plan.eos is not None)
            runs = zip(positions, begins.tolist(), np.diff(bounds).tolist(), strict=True)
            return [Stretch(Cut(p, 0, 0), Cut(p + 1, 0, n - inserted), at, n) for p, at, n in runs]
        starts = np.array([stretch.at for stretch in self.stretches], np.int64)
        # A sample that was cut between stretches takes part with the begin of every stretch that it reaches into.
        crossed = (starts[None, :] > begins[:, None]) & (starts[None, :] < (begins + np.diff(bounds))[:, None])
        places = np.unique(np.concatenate([begins, starts[crossed.any(axis=0)]]))
        owner = np.searchsorted(starts, places, side="right") - 1
        found = []
        for index in np.unique(owner).tolist():
            stretch = self.stretches[index]
            if stretch.done:
                continue
            _, units = stretch_between(source, plan, stretch.start, stretch.stop, stretch.at)
            sizes = units.effective(plan.bos is not None, plan.eos is not None)
            before = np.cumsum(sizes) - sizes + stretch.at
            full = np.flatnonzero(sizes)
            unit = full[np.searchsorted(before[full], places[owner == index], side="right") - 1]
            pairs = np.stack([unit, unit + 1], axis=1).ravel()
            cuts = inner_cuts(stretch.start, stretch.stop, units, pairs, np.zeros_like(pairs))
            found += [
                Stretch(cut_at(cuts, 2 * k), cut_at(cuts, 2 * k + 1), int(before[u]), int(sizes[u]))
                for k, u in enumerate(unit.tolist())
            ]
        return found


def compact_dtype(vocab_size: int) -> np.dtype[Any]:
    """Return the narrowest dtype that windows hold ids in.

    Example:
        >>> compact_dtype(50_257), compact_dtype(128_256)
        (dtype('uint16'), dtype('int32'))
    """
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.int32 if vocab_size <= 1 << 31 else np.int64)


def decode(source: Source, plan: Plan, stretch: Stretch, values: NDArray[Any]) -> None:
    """Decode a stretch into its place in `values`, with the inserted ids. Safe to call on any thread, and twice."""
    start, stop = stretch.start, stretch.stop
    first, skip = start.first, 0
    if start.rest:
        first -= 1
        skip = int(source.lengths(first, start.first)[0]) - start.rest
    stored = stop.offset - start.offset
    limit = stored if start.rest or stop.rest else None
    ids = source.read_range(first, stop.first, skip=skip, limit=limit) if stored else np.zeros(0, values.dtype)
    if len(ids) != stored:
        raise TokstoreError(
            f"samples {first} to {stop.first} gave {len(ids)} values instead of {stored}", rule="order.md 4.1"
        )
    out = values[stretch.at : stretch.at + stretch.size]
    if stretch.size == stored:
        out[:] = ids
    else:
        units = units_between(start, stop, source.lengths(start.first, stop.first))
        ends = np.cumsum(units.effective(plan.bos is not None, plan.eos is not None))
        kept = np.ones(stretch.size, bool)
        if plan.bos is not None:
            begins = (ends - units.values - 1 - (units.ends & (plan.eos is not None)))[units.begins]
            kept[begins] = False
            out[begins] = plan.bos
        if plan.eos is not None:
            last = ends[units.ends] - 1
            kept[last] = False
            out[last] = plan.eos
        out[kept] = ids
    stretch.done = True


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
