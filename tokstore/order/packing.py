"""Which items share a row: packing from lengths alone (order.md 6.4 and 6.5).

Rows are filled in rounds. In a round every row, the emptiest first, takes the longest item that is left and fits; so
a round is a few calls of numpy whatever the number of items, and short items close the gaps that long ones leave. It
fills as well as best-fit decreasing (Johnson 1974), which has to look at the items one by one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import neg
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Parts", "fit_rows", "group_rows", "group_values", "pack_rows", "split_long", "stable_order", "whole_rows"]

I64 = NDArray[np.int64]

_MOST_ROWS, _LEAST_ROWS = 512, 8
_SLACK = 256
_SHORT = 8


_NARROW = 1 << 15
"""Numbers below it are sorted as int16, for which numpy has a radix sort."""


def stable_order(numbers: I64, limit: int) -> I64:
    """Return the stable ascending order of numbers whose magnitude is below `limit`.

    Example:
        >>> stable_order(np.array([3, 1, 3, 0]), 4).tolist()
        [3, 1, 0, 2]
    """
    return np.argsort(numbers.astype(np.int16) if limit <= _NARROW else numbers, kind="stable")


class Parts(NamedTuple):
    """Parts of items in rows; int64 arrays of one length, ascending by row and then by start.

    Args:
        row: Row that the part lies in.
        start: First value of the part, in whatever the items were told in.
        length: Values of the part.
        item: Number of the item that it is of.
    """

    row: I64
    start: I64
    length: I64
    item: I64


def group_rows(seq_len: int, window: int) -> int:
    """Return the rows of a group that is packed by `fit` (order.md 6.4).

    Example:
        >>> group_rows(2048, 1 << 22), group_rows(2048, 1 << 16), group_rows(1 << 20, 1 << 16)
        (512, 32, 8)
    """
    rows = _MOST_ROWS
    while rows > _LEAST_ROWS and rows * seq_len > window:
        rows //= 2
    return rows


def group_values(rows: int, seq_len: int) -> int:
    """Return the values of a group that is packed by `fit`: a 256th less than its rows hold (order.md 6.4)."""
    return rows * seq_len - -(-rows * seq_len // _SLACK)


def pack_rows(lengths: I64, capacity: int, rows: int) -> I64:
    """Return the row of every item, -1 for those that fit nowhere any more (order.md 6.4).

    Args:
        lengths: int64, 1 to `capacity` each; of equal ones the first comes first.
        capacity: Values of a row.
        rows: Number of rows.

    Example:
        >>> pack_rows(np.array([3, 5, 2, 5, 4]), capacity=7, rows=2).tolist()
        [-1, 0, 0, 1, -1]
    """
    found = np.full(len(lengths), -1, np.int64)
    order = stable_order(-lengths, capacity + 1)
    left = -lengths[order]  # ascending, so that it can be searched
    long = int(left.searchsorted(-(capacity // _SHORT)))
    # What is searched for is as negative as what it is searched in: the room of rows, below zero.
    room = np.full(rows, -capacity, np.int64)
    found[order[:long]] = _best_fit((-left[:long]).tolist(), room)
    left, order = left[long:], order[long:]
    if capacity < _NARROW:  # for its radix sort
        left, room = left.astype(np.int16), room.astype(np.int16)
    turn = np.arange(rows)
    while len(left):
        open_rows = (room <= left[-1]).nonzero()[0]
        if not len(open_rows):
            break
        gaps = room[open_rows]
        # Most rounds: the longest item that is left fits in every gap, so the rows take the next items in order.
        used = 0
        while used < len(left) and gaps.max() <= left[used]:
            by_gap = gaps.argsort(kind="stable")[: len(left) - used]
            part = slice(used, used + len(by_gap))
            found[order[part]] = open_rows[by_gap]
            gaps[by_gap] -= left[part]
            used = part.stop
        if used:
            room[open_rows] = gaps
            left, order = left[used:], order[used:]
            continue
        by_gap = gaps.argsort(kind="stable")
        taking, places = open_rows[by_gap], turn[: len(by_gap)]
        # The longest item that fits, or the one after that which the row before takes.
        item = np.maximum.accumulate(left.searchsorted(gaps[by_gap]) - places)
        item += places
        count = int(item.searchsorted(len(left)))
        if not count:
            break
        item, taking = item[:count], taking[:count]
        found[order[item]] = taking
        room[taking] -= left[item]
        stays = np.ones(len(left), bool)
        stays[item] = False
        left, order = left[stays], order[stays]
    return found


def _best_fit(lengths: list[int], room: I64) -> list[int]:
    """Give every item, longest first, to the row with the smallest gap that it fits in; -1 where there is none.

    Puts the room that is left, below zero, into `room`, which is the same for all rows at the start.
    """
    rows, capacity = len(room), -int(room[0]) if len(room) else 0
    # An item of more than half a row begins one, as long as there are any.
    begun = min(bisect_left(lengths, -(capacity // 2), key=neg), rows)
    found = list(range(begun))
    # The gaps of the rows begun, ascending, of equal ones the oldest first, and with them their rows.
    first = sorted((capacity - length, row) for row, length in enumerate(lengths[:begun]) if length < capacity)
    sizes, names = [gap for gap, _ in first], [row for _, row in first]
    put, take_size, take_name = found.append, sizes.pop, names.pop
    for length in lengths[begun:]:
        at = bisect_left(sizes, length)
        if at < len(sizes):
            row, gap = take_name(at), take_size(at) - length
        elif begun < rows:
            row, gap = begun, capacity - length
            begun += 1
        else:
            put(-1)
            continue
        put(row)
        if gap:
            at = bisect_right(sizes, gap)
            sizes.insert(at, gap)
            names.insert(at, row)
    room[:begun] = 0
    room[names] = [-gap for gap in sizes]
    return found


def split_long(starts: I64, lengths: I64, capacity: int) -> tuple[I64, I64, I64]:
    """Cut items longer than a row into full rows and what is left, in the order of the items; tell also whose they are.

    Example:
        >>> [part.tolist() for part in split_long(np.array([0, 9]), np.array([9, 2]), 4)]
        [[0, 4, 8, 9], [4, 4, 1, 2], [0, 0, 0, 1]]
    """
    if not len(lengths) or int(lengths.max()) <= capacity:
        return starts, lengths, np.arange(len(lengths))
    count = -(-lengths // capacity)
    which = np.repeat(np.arange(len(lengths)), count)
    number = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    return starts[which] + number * capacity, np.minimum(lengths[which] - number * capacity, capacity), which


def fit_rows(starts: I64, lengths: I64, capacity: int, rows: int, places: I64 | None = None) -> Parts:
    """Pack items into exactly so many rows; what fits nowhere is cut to fill the gaps (order.md 6.4).

    Args:
        starts: int64, where every item begins, ascending.
        lengths: int64, 1 or more; together no more than the rows hold.
        capacity: Values of a row.
        rows: Number of rows.
        places: int64, the place of every row among all of them; None for the order in which they are packed.
    """
    starts, lengths, items = split_long(starts, lengths, capacity)
    row = pack_rows(lengths, capacity, rows)
    over = np.flatnonzero(row < 0)
    if len(over):
        used = np.bincount(row[row >= 0], lengths[row >= 0], rows).astype(np.int64)
        over = over[stable_order(-lengths[over], capacity + 1)]
        gaps = capacity - used
        by_gap = stable_order(-gaps, capacity + 1)
        ends, limits = np.cumsum(lengths[over]), np.cumsum(gaps[by_gap])
        # Both are laid end to end; every border of either one is a cut.
        borders = np.unique(np.concatenate([ends, limits[limits < ends[-1]]]))
        begins = np.concatenate([[0], borders[:-1]])
        whose = np.searchsorted(ends, begins, side="right")
        cut_starts = starts[over][whose] + begins - (ends - lengths[over])[whose]
        kept = row >= 0
        starts = np.concatenate([starts[kept], cut_starts])
        lengths = np.concatenate([lengths[kept], borders - begins])
        items = np.concatenate([items[kept], items[over][whose]])
        row = np.concatenate([row[kept], by_gap[np.searchsorted(limits, begins, side="right")]])
        by_start = np.argsort(starts, kind="stable")
        starts, lengths, items, row = starts[by_start], lengths[by_start], items[by_start], row[by_start]
    if len(np.bincount(row, minlength=rows).nonzero()[0]) == rows:
        row = row if places is None else places[row]
        order = stable_order(row, rows)
        return Parts(row[order], starts[order], lengths[order], items[order])
    order = stable_order(row, rows)
    row, starts, lengths, items = _without_empty(Parts(row[order], starts[order], lengths[order], items[order]), rows)
    if places is None:
        return Parts(row, starts, lengths, items)
    order = stable_order(places[row], rows)
    return Parts(places[row[order]], starts[order], lengths[order], items[order])


def _without_empty(parts: Parts, rows: int) -> Parts:
    """Let every row without a value have half of the fullest one (order.md 6.4, step 4)."""
    used = np.bincount(parts.row, parts.length, rows).astype(np.int64)
    for empty in np.flatnonzero(used == 0).tolist():
        row, start, length, item = parts
        fullest = int(np.argmax(used))
        share = int(used[fullest]) // 2
        if not share:
            break
        own = np.flatnonzero(row == fullest)
        # Values of the row before the end of each of its parts; those past `stays` move.
        ends = np.cumsum(length[own])
        stays = int(used[fullest]) - share
        moved = np.minimum(length[own], np.maximum(ends - stays, 0))
        cut = own[moved > 0]
        moved = moved[moved > 0]
        row = np.concatenate([row, np.full(len(cut), empty)])
        start = np.concatenate([start, start[cut] + length[cut] - moved])
        length = np.concatenate([length, moved])
        item = np.concatenate([item, item[cut]])
        length[cut] -= moved
        order = np.lexsort((start, row))
        order = order[length[order] > 0]
        parts = Parts(row[order], start[order], length[order], item[order])
        used[fullest], used[empty] = stays, share
    return parts


def whole_rows(lengths: I64, capacity: int) -> I64:
    """Return the row of every item, as many rows as it takes: none is cut (order.md 6.5).

    Args:
        lengths: int64, 1 to `capacity` each.
        capacity: Values of a row.

    Example:
        >>> whole_rows(np.array([3, 5, 2, 5, 4]), capacity=7).tolist()
        [2, 0, 0, 1, 2]
    """
    row = np.full(len(lengths), -1, np.int64)
    left, used = np.arange(len(lengths)), 0
    while len(left):
        more = -(-int(lengths[left].sum()) // capacity)
        found = pack_rows(lengths[left], capacity, more)
        row[left[found >= 0]] = found[found >= 0] + used
        left, used = left[found < 0], used + more
    return row
