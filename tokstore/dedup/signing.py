"""Samples -> held signatures, unit by unit: made, taken from an earlier run that was stopped, or kept in the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.earlier import Earlier
from tokstore.dedup.held import Held
from tokstore.dedup.method import Method
from tokstore.dedup.mixing import Hashes
from tokstore.dedup.sample_rows import SampleRows
from tokstore.wire import checksum

__all__ = ["sign_all"]


def sign_all(
    rows: SampleRows,
    how: Method,
    groups: Hashes | None,
    earlier: Earlier,
    held: Held,
    report: Callable[[int], None],
) -> tuple[Held, NDArray[np.bool_]]:
    """Return the signatures of all rows, and which of them have none that was kept."""
    stored, ids = earlier.stored(rows), rows.sample_ids()
    for number, (a, b) in enumerate(rows.units()):
        # A unit is named by what is in it: where samples came or went, units are made anew.
        content = checksum(ids[a:b].astype("<i8").tobytes(), 0)
        if groups is not None:
            content = checksum(groups[a:b].astype("<u8").tobytes(), content)
        name = f"{number:07d}-{content:016x}"
        if held.has(name):
            held.take(name, b - a)
            report(b - a)
            continue
        parts: list[NDArray[Any]] = []
        known = np.flatnonzero(stored[a:b]) + a
        new = np.flatnonzero(~stored[a:b]) + a
        at = 0
        ends = np.cumsum(rows.lengths[new])
        while at < len(new):
            before = int(ends[at - 1]) if at else 0
            stop = max(at + 1, int(np.searchsorted(ends, before + (1 << 20), side="right")))
            values, lengths = rows.read(new[at:stop])
            parts.append(how.signatures(values, lengths))
            report(stop - at)
            at = stop
        made = np.concatenate(parts) if parts else None
        if len(known):
            kept = earlier.read(rows, known)
            whole = np.empty((b - a, kept.shape[1]), kept.dtype)
            whole[known - a] = kept
            if made is not None:
                whole[new - a] = made
            made = whole
            report(len(known))
        if made is not None:
            keys = how.keys(made)
            if groups is not None:
                keys ^= groups[a:b]
            held.add(name, made, keys)
    return held, ~stored
