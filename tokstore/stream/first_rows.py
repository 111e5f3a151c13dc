"""The first rows of a stream, read by themselves: what they consist of lies in an array of its own.

A first batch has some hundreds of samples, from everywhere in its windows. Decoding these alone takes a fraction of the
time of the windows. They do not go to their places there, because memory of the size of a window has to be cleared by
the system before it is touched for the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.order.spans import BLOCK
from tokstore.stream.layout import Placed
from tokstore.stream.lines import room
from tokstore.stream.plan import Plan
from tokstore.stream.source import Source
from tokstore.stream.stretches import DrawnStretch, Stretch
from tokstore.stream.windows import Place, Window

__all__ = ["is_less", "read_apart"]

I64 = NDArray[np.int64]


def is_less(placed: Sequence[Placed]) -> bool:
    """Tell whether decoding the pieces of rows by themselves is less work than decoding the windows they lie in."""
    windows = {id(window): window for one in placed for window in one.windows}
    whole = sum(stretch.size for window in windows.values() for stretch in window.stretches if not stretch.done)
    return sum(len(one.window) for one in placed) * BLOCK < whole


def read_apart(
    source: Source,
    plan: Plan,
    placed: Sequence[Placed],
    decode: Callable[[Sequence[Place]], None],
    dtype: np.dtype[Any],
    pad: int,
) -> list[Placed]:
    """Decode what pieces of rows lie in, and nothing else, into one array; return the pieces as they lie there.

    Args:
        source: Where the samples are.
        plan: The plan of the stream.
        placed: Pieces of rows, which lie in windows that need not be decoded.
        decode: Decodes stretches into their places, and returns when it is done.
        dtype: Of ids.
        pad: Padding id.
    """
    windows = {id(window): window for one in placed for window in one.windows}
    sources = {
        name: np.concatenate([
            one.pieces.source[one.window == index]
            for one in placed
            for index, other in enumerate(one.windows)
            if other is window
        ])
        for name, window in windows.items()
    }  # fmt: skip
    stretches, moved = _apart(source, plan, windows, sources)
    size = sum(stretch.size for stretch in stretches)
    window = Window(0, size, stretches, room(size, dtype, plan, pad), size, None)
    decode([(stretch, window) for stretch in stretches])
    found = []
    for one in placed:
        at = np.empty(len(one.window), np.int64)
        for index, other in enumerate(one.windows):
            own = one.window == index
            old = one.pieces.source[own]
            if not len(old):
                continue
            begins, now = moved[id(other)]
            item = begins.searchsorted(old, side="right") - 1
            at[own] = now[item] + (old - begins[item])
        found.append(Placed(one.pieces._replace(source=at), np.zeros(len(at), np.int64), [window], one.ends))
    return found


def _apart(
    source: Source, plan: Plan, windows: dict[int, Window], sources: dict[int, I64]
) -> tuple[list[Stretch], dict[int, tuple[I64, I64]]]:
    """Return stretches, end to end, of what pieces lie in, and where of each window it begins there and now."""
    stretches: list[Stretch] = []
    moved = {}
    size = 0
    samples = {
        name: window.samples.holding(sources[name])
        for name, window in windows.items()
        if window.samples is not None and len(sources[name])
    }
    if samples:
        # The windows of two epochs may want the same sample; a stretch has it once.
        positions, first = np.unique(np.concatenate([one.positions for one in samples.values()]), return_index=True)
        sizes = np.concatenate([one.sizes for one in samples.values()])[first].astype(np.int64)
        inserted = (plan.bos is not None) + (plan.eos is not None)
        stretches.append(DrawnStretch(positions, sizes, inserted, 0))
        size = stretches[0].size
        begins = np.cumsum(sizes) - sizes
        for name, one in samples.items():
            moved[name] = one.begins.astype(np.int64), begins[positions.searchsorted(one.positions)]
    parts = {
        name: window.parts(source, plan, sources[name]) for name, window in windows.items() if window.samples is None
    }
    before = {name: np.array([part.at for part in own], np.int64) for name, own in parts.items()}
    # In view order, so that one read can decode many of them into place.
    for part in sorted((part for own in parts.values() for part in own), key=lambda part: part.start.offset):
        part.at = size
        size += part.size
        stretches.append(part)
    moved |= {name: (before[name], np.array([part.at for part in own], np.int64)) for name, own in parts.items()}
    return stretches, moved
