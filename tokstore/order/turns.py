"""Which rows of the row sequence a worker of a rank makes (order.md 7.4)."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

__all__ = ["Turns"]

I64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Turns:
    """The part that one worker of one rank has in every run of batches.

    Args:
        batch_rows: Rows of a batch of this rank.
        ranks, rank: Number of ranks, and which one.
        workers, worker: Number of workers of a rank, and which one.
        chunk: Batches that a worker makes in one go, before it is the next one's turn.

    Example:
        >>> turns = Turns(batch_rows=2, ranks=3, rank=1)
        >>> turns.rows(100, np.arange(2)).tolist()
        [101, 104, 107, 110]
        >>> Turns(2, workers=2, worker=1, chunk=2).batches(0, 7, most=9).tolist()
        [2, 3, 6]
    """

    batch_rows: int
    ranks: int = 1
    rank: int = 0
    workers: int = 1
    worker: int = 0
    chunk: int = 1

    @property
    def global_rows(self) -> int:
        """Rows of a global batch."""
        return self.batch_rows * self.ranks

    def lanes_read(self, lanes: int) -> int:
        """Return in how many of so many lanes the rows of this worker lie, epoch after epoch.

        Each lane of a source that is shuffled by windows is decoded once by every worker that reads it, so this over
        all workers of all ranks is how often a block is decoded: R / gcd(R, C) times, and times the workers of a rank
        once what a worker makes in one go covers the rank's lanes.

        Example:
            >>> [Turns(batch_rows=8, ranks=ranks).lanes_read(12) for ranks in (1, 2, 8, 12)]
            [12, 6, 3, 1]
            >>> Turns(batch_rows=2, workers=3).lanes_read(12), Turns(batch_rows=16, workers=3).lanes_read(12)
            (4, 12)
        """
        # Its runs of rows r, r + R, ... begin a multiple of this apart, so only rests by it tell lanes apart.
        step = gcd(self.workers * self.chunk * self.global_rows, lanes)
        return min(self.chunk * self.batch_rows, step // gcd(self.ranks, step)) * (lanes // step)

    def rows(self, start: int, batches: I64) -> I64:
        """Return the rows of batches, which are counted from the row `start` on; flat."""
        first = start + self.rank + batches * self.global_rows
        return np.asarray((first[:, None] + np.arange(self.batch_rows) * self.ranks).ravel())

    def batches(self, done: int, end: int | None, most: int) -> I64:
        """Return the next batches of this worker.

        Args:
            done: How many it has made.
            end: Number of batches of the rank; None for no end.
            most: How many are wanted.
        """
        own = np.arange(done, done + most)
        found = (own // self.chunk * self.workers + self.worker) * self.chunk + own % self.chunk
        return found if end is None else found[found < end]
