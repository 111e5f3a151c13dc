"""Slabs: some rows of training as flat arrays, with what they consist of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.order.packing import stable_order

__all__ = ["NOTHING", "UNLEARNED", "Segments", "Slab", "join_segments"]

I64 = NDArray[np.int64]
NOTHING = -100
"""The label of what is not to be learned."""
UNLEARNED = -1
"""Stands in `Segments.after` for an id that follows and is not to be learned."""


@dataclass(slots=True)
class Segments:
    """Pieces of samples in the rows of a slab, ascending by row and place; arrays of one length.

    Args:
        row: int64, row of the slab.
        offset: int64, first place in the row.
        length: int64.
        position: int64, the sample, as a position of its source.
        begins: bool, a document begins here; a piece that does not begin one goes on with the piece before it, or, at
            the start of a row, with another row.
        after: int64, the id that follows in the same document where the piece is cut, else -100.
        first: int64, values of the sample, inserted ids counted, that come before the piece.
    """

    row: I64
    offset: I64
    length: I64
    position: I64
    begins: NDArray[np.bool_]
    after: I64
    first: I64


@dataclass(slots=True)
class Slab:
    """Rows.

    Args:
        ids: Token ids of a narrow dtype, [rows, seq_len] with padding after `used`; or flat, one row after another,
            where rows are as long as their sample.
        used: int64 per row, values of the row; 0 in rows that fill up a batch.
        segments: What the rows consist of.
        following: int64 per row, the id after the last one of the row on the line, -100 where there is none or (if
            documents are told apart) it begins another document; None when nobody asked or rows are no cuts of a line.
        source: int64 per row, number of the source, -1 in rows that fill up a batch; None for a stream of one source.
        follower: Of each id in `following`, its sample, -1 for none, and the values of the sample before it; two int64
            arrays. None where `following` is.
        lost: Which ids could not be read, in the layout of `ids`; None for none.
    """

    ids: NDArray[Any]
    used: I64
    segments: Segments
    following: I64 | None
    source: I64 | None = None
    follower: tuple[I64, I64] | None = None
    lost: NDArray[np.bool_] | None = None
    _ends: I64 | None = None

    def ends(self) -> I64:
        """Return the values before every row, and of all, where rows are laid end to end."""
        if self._ends is None:
            self._ends = np.zeros(len(self.used) + 1, np.int64)
            np.cumsum(self.used, out=self._ends[1:])
        return self._ends

    def count_lost(self, start: int, stop: int) -> int:
        """Return how many ids of some rows could not be read."""
        if self.lost is None:
            return 0
        if self.lost.ndim == 1:
            ends = self.ends()
            start, stop = int(ends[start]), int(ends[stop])
        return int(np.count_nonzero(self.lost[start:stop]))


def join_segments(parts: list[Segments]) -> Segments:
    """Return the segments of all rows of a slab in the order of its rows."""
    if not parts:
        none = np.zeros(0, np.int64)
        return Segments(none, none, none, none, np.zeros(0, bool), none, none)
    fields = ("row", "offset", "length", "position", "begins", "after", "first")
    every = [[getattr(part, name) for part in parts] for name in fields]
    joined = [one[0] if len(one) == 1 else np.concatenate(one) for one in every]
    row = joined[0]
    order = stable_order(row, int(row.max()) + 1 if len(row) else 1)
    return Segments(*(field[order] for field in joined))
