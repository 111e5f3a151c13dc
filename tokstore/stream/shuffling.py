"""How well rows are shuffled, told from where their pieces come from alone; the yardstick is a full permutation.

Two things can be left of the order of a view. Samples that stood side by side may come at about the same time, and
samples of one batch may come from the same place. Both are measured on positions; nothing is decoded.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

__all__ = ["OrderQuality", "measure_order", "stretches_of"]

I64 = NDArray[np.int64]
_STRETCH, _FEWEST, _MOST = 1 << 18, 64, 1 << 20


class OrderQuality(TypedDict):
    """What `measure_order` finds; None where there is too little to tell.

    Keys:
        pieces: How many pieces of samples were looked at.
        stretches: In how many stretches of one length the view was divided to tell where a piece comes from.
        same_stretch: Share of the pairs of pieces of a global batch that come from the same stretch.
        same_stretch_if_permuted: The same share if all pieces were permuted at random.
        effective_samples: Share of the pieces of a global batch that would tell as much if they were independent, when
            all pieces of a stretch tell the same: the worst case. It is one over the design effect of cluster sampling
            (Kish, *Survey Sampling*, 1965, 5.4), with what a permutation repeats taken out.
        step: Mean distance in the view of pieces that follow each other, as a share of what a permutation has.
        spread: Mean distance in time of pieces that follow each other in the view, likewise; None unless the whole
            epoch was looked at.
        rank_correlation: Of place in time and position in the view (Spearman); a permutation of n pieces has 0 ± 1/√n.
    """

    pieces: int
    stretches: int
    same_stretch: float | None
    same_stretch_if_permuted: float | None
    effective_samples: float | None
    step: float | None
    spread: float | None
    rank_correlation: float | None


def stretches_of(samples: int, values: int) -> int:
    """Return in how many stretches a view is divided: about 2**18 values each, as stored spans have.

    Example:
        >>> stretches_of(10_000, 1 << 28), stretches_of(10_000, 1 << 20), stretches_of(20, 1 << 20)
        (1024, 64, 20)
    """
    return min(max(values // _STRETCH, _FEWEST), _MOST, max(samples, 1))


def measure_order(positions: I64, batch: I64, samples: int, stretches: int, *, whole: bool) -> OrderQuality:
    """Measure how far an order is from a full permutation.

    Args:
        positions: int64, position in the view of every piece, in the order of rows.
        batch: int64, the global batch of every piece, ascending.
        samples: Samples of the view.
        stretches: Stretches of one length in which the view is divided.
        whole: Whether these are the pieces of a whole epoch.

    Example:
        >>> in_order = measure_order(np.arange(100), np.arange(100) // 10, 100, 10, whole=True)
        >>> in_order["same_stretch"], in_order["step"], round(in_order["rank_correlation"], 6)
        (1.0, 0.03, 1.0)
    """
    n = len(positions)
    stretch = positions * stretches // max(samples, 1)
    found = OrderQuality(
        pieces=n,
        stretches=stretches,
        same_stretch=None,
        same_stretch_if_permuted=None,
        effective_samples=None,
        step=None,
        spread=None,
        rank_correlation=None,
    )
    if n < 2:
        return found
    sizes = np.bincount(batch - batch[0])
    together = _pairs(sizes)
    if together:
        _, counts = np.unique((batch - batch[0]) * stretches + stretch, return_counts=True)
        same = _pairs(counts) / together
        # Of part of an epoch the whole is not known, and each stretch is as likely as another.
        permuted = _pairs(np.bincount(stretch)) / _pairs(np.array([n])) if whole else 1 / stretches
        excess = 0.0 if permuted >= 1 else max(0.0, (same - permuted) / (1 - permuted))
        # Of a random piece, the mean number of others in its batch.
        others = 2 * together / n
        found["same_stretch"], found["same_stretch_if_permuted"] = same, permuted
        found["effective_samples"] = 1 / (1 + others * excess)
    if samples > 1:
        found["step"] = float(np.abs(np.diff(positions)).mean() / (samples / 3))
    by_position = np.argsort(positions, kind="stable")
    if whole:
        found["spread"] = float(np.abs(np.diff(by_position)).mean() / (n / 3))
    rank = np.empty(n)
    rank[by_position] = np.arange(n)
    centre = (n - 1) / 2
    found["rank_correlation"] = float(
        np.dot(rank - centre, np.arange(n) - centre) / np.square(np.arange(n) - centre).sum()
    )
    return found


def _pairs(counts: I64) -> int:
    """Return how many pairs there are in groups of so many."""
    return int((counts * (counts - 1) // 2).sum())
