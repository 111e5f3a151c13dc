"""How many copies of a sample an epoch has, from weights (order.md 11.1 and 11.2).

Systematic resampling (Kitagawa 1996): the weights of a span laid end to end are cut once every 2**16, and a sample has
as many copies as cuts fall into its weight. From epoch to epoch the cuts move on by the golden section, whose
multiples are spread as evenly as those of any number, so that what one epoch rounds up another one rounds down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokstore.order.keys import COPIES, derive_key

__all__ = ["MOST_JOINED", "Resampling", "draw_offset", "joined_spans", "whole_numbers"]

I64 = NDArray[np.int64]

_SHIFT = 16
_HALF = 1 << (_SHIFT - 1)
_ROTATION = 40_501
"""2**16 times the golden section to four digits: of the odd numbers around it the one whose first hundred multiples
are spread most evenly."""
_JOINED_DRAWS = 128 << _SHIFT
MOST_JOINED = 1 << 22
"""Values from which spans are joined no further where nothing is shuffled."""


def whole_numbers(large: I64, small: I64) -> I64:
    """Return sums of weights, or of weights by something, as whole numbers, rounded.

    A product of a weight and a length may have more than 64 bits, so that the two halves of weights are summed apart.

    Args:
        large: int64, sums of the upper 16 bits of the weights.
        small: int64, sums of the lower 16 bits.

    Example:
        >>> whole_numbers(np.array([2, 2]), np.array([32767, 32768])).tolist()
        [2, 3]
    """
    rounded: I64 = large + ((small + _HALF) >> _SHIFT)
    return rounded


def joined_spans(draws: I64, values: I64, most: int) -> I64:
    """Return which cuts are kept, so that spans have 128 expected copies where that is possible (order.md 11.1).

    Args:
        draws: int64, weights before every cut.
        values: int64, values of the line before every cut.
        most: Values from which a span is long enough however few copies it has.

    Example:
        >>> joined_spans(np.array([0, 100, 128, 300, 301]) << 16, np.arange(5), 2**16).tolist()
        [0, 2, 4]
    """
    last = len(draws) - 1
    following = np.minimum(
        np.searchsorted(draws, draws + _JOINED_DRAWS), np.searchsorted(values, values + most)
    ).tolist()
    kept, at = [0], following[0]
    while at <= last:
        kept.append(at)
        at = following[at]
    if kept[-1] != last:
        kept[max(1, len(kept) - 1) :] = [last]
    return np.array(kept, np.int64)


def draw_offset(seed: int, epoch: int, span: int, source: int = 0) -> int:
    """Return where the first cut of a span falls in an epoch, 0 to 2**16 - 1 (order.md 11.2).

    Example:
        >>> (draw_offset(0, 5, 3) - draw_offset(0, 4, 3)) % 2**16
        40501
    """
    return (derive_key(seed, COPIES, 0, window=span, source=source) + _ROTATION * epoch) % (1 << _SHIFT)


@dataclass(frozen=True, slots=True)
class Resampling:
    """The weights of one span, in the order in which copies are drawn.

    Args:
        order: int64, its samples by length.
        ends: int64, the sum of the weights up to each of them.
    """

    order: I64
    ends: I64

    @classmethod
    def of(cls, weights: NDArray[np.uint32], lengths: I64) -> Resampling:
        """Order the samples of a span.

        Args:
            weights: uint32, expected copies in steps of 2**-16.
            lengths: int64, their values.

        Example:
            >>> weights = np.array([32768, 65536, 147456, 0, 81920], np.uint32)
            >>> drawn = Resampling.of(weights, np.array([3, 1, 4, 1, 5]))
            >>> [drawn.copies(offset).tolist() for offset in (0, 40000)]
            [[0, 1, 2, 0, 2], [1, 1, 2, 0, 1]]
        """
        order = np.argsort(lengths, kind="stable")
        return cls(order, np.cumsum(weights[order], dtype=np.int64))

    def copies(self, offset: int) -> I64:
        """Return the copies of every sample, int64, for an offset as of `draw_offset`."""
        before = (self.ends + offset) >> _SHIFT
        found = np.empty(len(self.order), np.int64)
        found[self.order] = np.diff(before, prepend=0)
        return found
