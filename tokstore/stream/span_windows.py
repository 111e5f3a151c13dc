"""Windows that begin where spans begin: which dealt spans each has (order.md 6.5 and 11.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tokstore.order import window_target
from tokstore.stream.lines import Key, dealt_spans
from tokstore.stream.plan import Plan

__all__ = ["SpanWindows", "before"]

I64 = NDArray[np.int64]


class SpanWindows:
    """The windows of an epoch. A *hand* is the number of a span in the order of dealing, lane by lane.

    Args:
        plan: The plan of the stream.
        epoch: The epoch.
    """

    spans: I64
    """int64, the span of every hand."""
    hands: I64
    """int64, the first hand of every lane, and the end."""

    def __init__(self, plan: Plan, epoch: int) -> None:
        self.spans, self.hands = dealt_spans(plan, epoch)
        values = before(plan.line_values()[self.spans])
        firsts: list[int] = []
        self._keys: list[Key] = []
        if plan.is_weighted and not plan.shuffle:
            firsts = list(range(plan.spans))
            self._keys = [(0, number) for number in firsts]
        for lane in range(plan.lanes if not firsts else 0):
            a, b = int(self.hands[lane]), int(self.hands[lane + 1])
            within = values[a:b] - values[a]
            number = 0
            while a < b:
                target = window_target(number, lane, plan.lanes, plan.window)
                first = a + int(np.searchsorted(within, target))
                if first >= b:
                    break
                firsts.append(first)
                self._keys.append((lane, number))
                number += 1
        self._firsts = np.array([*firsts, plan.spans], np.int64)
        self._numbers = {key: index for index, key in enumerate(self._keys)}

    def key(self, hand: int) -> Key:
        """Return the window that has a span."""
        return self._keys[int(np.searchsorted(self._firsts, hand, side="right")) - 1]

    def count(self, counts: I64) -> int:
        """Return how many windows have something on the line.

        Args:
            counts: int64, values, or rows, of every span in view order.
        """
        return int(np.count_nonzero(np.diff(before(counts[self.spans])[self._firsts])))

    def bounds(self, key: Key) -> tuple[int, int]:
        """Return the first hand of a window, and the end of its hands."""
        index = self._numbers[key]
        return int(self._firsts[index]), int(self._firsts[index + 1])


def before(counts: I64) -> I64:
    """Return the sums before every item and, at the end, of all."""
    sums = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=sums[1:])
    return sums
