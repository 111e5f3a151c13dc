"""Lanes: how many, which spans each is dealt, how large its windows are, which rows it lends (order.md 5 and 7)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_LANES", "Lending", "deal", "is_pool", "lane_count", "quotas", "window_target", "window_values"]

I64 = NDArray[np.int64]

MAX_LANES = 1 << 16
_LIMITS = ((1 << 27, 12), (1 << 32, 48), (1 << 37, 192))
_MOST_LANES = 768
_LEAST_WINDOW, _LARGEST_WINDOW = 1 << 16, 1 << 22


def lane_count(total: int) -> int:
    """Return the number of lanes for so many values of all sources together (order.md 5.1).

    Example:
        >>> [lane_count(10**k) for k in (6, 9, 10, 12)]
        [12, 48, 192, 768]
    """
    return next((lanes for limit, lanes in _LIMITS if total < limit), _MOST_LANES)


def window_values(buffer: int, lanes: int) -> int:
    """Return the values that a window should have (order.md 5.3). `buffer` is in bytes, 2 a value.

    Example:
        >>> [window_values(2**26, lanes) for lanes in (1, 12, 48, 192, 768)]
        [4194304, 2796202, 699050, 174762, 65536]
    """
    return min(max(buffer // (2 * lanes), _LEAST_WINDOW), _LARGEST_WINDOW)


def window_target(window: int, lane: int, lanes: int, values: int) -> int:
    """Return where a window of a lane should begin, in values from the start of the lane's stretch (order.md 5.4)."""
    return 0 if window == 0 else (lane + 1) * values // lanes + (window - 1) * values


def is_pool(values: int, samples: int, buffer: int) -> bool:
    """Tell whether a source fits `buffer` bytes and is shuffled whole (order.md 5.5)."""
    return 2 * values + 8 * samples <= buffer


def deal(permuted: I64, lanes: int) -> tuple[I64, I64]:
    """Deal permuted spans to lanes like cards (order.md 5.2).

    Args:
        permuted: int64, the span at every permuted place.
        lanes: Number of lanes.

    Returns:
        The spans of lane 0, then of lane 1, and so on; and where every lane begins among them, ``lanes + 1`` numbers.
    """
    n = len(permuted)
    begins = np.zeros(lanes + 1, np.int64)
    np.cumsum((n - np.arange(lanes, dtype=np.int64) + lanes - 1) // lanes, out=begins[1:])
    hands = -(-n // lanes)
    table = np.full(hands * lanes, -1, np.int64)
    table[:n] = permuted
    dealt = table.reshape(hands, lanes).T.ravel()
    return dealt[dealt >= 0], begins


def quotas(rows: int, lanes: int) -> I64:
    """Return how many of `rows` rows, taken from the lanes in turn, fall to each lane (order.md 7.1)."""
    return (rows - np.arange(lanes, dtype=np.int64) + lanes - 1) // lanes


@dataclass(frozen=True, slots=True)
class Lending:
    """Who reads which row when lanes own more or fewer rows than their turns (order.md 7.2).

    Args:
        owned: int64 per lane, rows that the lane owns. Their sum is the rows of an epoch.

    Example:
        >>> lending = Lending(np.array([3, 0, 1]))
        >>> [tuple(int(x) for x in pair) for pair in zip(*lending.place(np.arange(4)))]
        [(0, 0), (0, 2), (2, 0), (0, 1)]
    """

    owned: I64
    _quota: I64 = field(init=False)
    _asked: I64 = field(init=False)
    _lent: I64 = field(init=False)

    def __post_init__(self) -> None:
        quota = quotas(int(self.owned.sum()), len(self.owned))
        object.__setattr__(self, "_quota", quota)
        object.__setattr__(self, "_asked", _before(np.maximum(quota - self.owned, 0)))
        object.__setattr__(self, "_lent", _before(np.maximum(self.owned - quota, 0)))

    def place(self, rows: I64) -> tuple[I64, I64]:
        """Return the lane that owns each row of the epoch and the row's number in that lane."""
        lane, number = rows % len(self.owned), rows // len(self.owned)
        short = np.flatnonzero(number >= self.owned[lane])
        if short.size:
            asked = self._asked[lane[short]] + number[short] - self.owned[lane[short]]
            owner = np.searchsorted(self._lent, asked, side="right") - 1
            number[short] = self._quota[owner] + asked - self._lent[owner]
            lane[short] = owner
        return lane, number


def _before(counts: I64) -> I64:
    """Return the sums before every item and, at the end, of all."""
    sums = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=sums[1:])
    return sums
