"""Which ranges of far files are asked for by one request.

Requests of a trip are under way together, so that one more costs no time as long as there are few, while a gap between
two ranges that is fetched along takes bandwidth from what is wanted. A reader in shuffled order comes back for what
lies in the gap, and fetches it a second time. So gaps are fetched along only where they are a small share of the trip,
or where there are more requests than can be under way.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from tokstore.storage import Range

__all__ = ["merged"]

_HEADERS = 1 << 10
"""A gap that is no longer than what goes along with every request: fetched along in any case."""
_SHARE = 128
"""Of the bytes that are wanted, one in so many may be of gaps."""
_MANY, _GAP = 32, 32 << 10
"""Requests from which each one more waits for another, and the gap that is worth one: 20 ms shared by 32 requests, at
50 MB/s."""
_LONGEST = 4 << 20
"""Bytes of a request that others are put to; what is longer in all goes over several connections."""


def merged(ranges: Sequence[Range]) -> list[list[int]]:
    """Return which ranges are read by one request: their numbers, ascending by place.

    Args:
        ranges: In any order; they may overlap.

    Example:
        >>> merged([("a", 0, 1000), ("a", 90_000, 1000), ("a", 1500, 10), ("b", 0, None)])
        [[0, 2], [1], [3]]
    """
    order = sorted(range(len(ranges)), key=lambda one: (ranges[one][0], ranges[one][1]))
    gaps = _gaps(ranges, order)
    requests = 1 + sum(gap is None or gap > 0 for gap in gaps)
    left = sum(ranges[one][2] or 0 for one in order) // _SHARE
    joined = [gap is not None and gap <= _HEADERS for gap in gaps]
    requests -= sum(gap is not None and 0 < gap <= _HEADERS for gap in gaps)
    for gap, at in sorted((gap, at) for at, gap in enumerate(gaps) if gap is not None and _HEADERS < gap <= _GAP):
        if gap > left and requests <= _MANY:
            break
        joined[at] = True
        left -= gap
        requests -= 1
    found: list[list[int]] = []
    begin = end = 0
    for at, one in enumerate(order):
        _, start, length = ranges[one]
        upto = start + (length or 0)
        if at and joined[at - 1] and max(end, upto) - begin <= _LONGEST:
            found[-1].append(one)
            end = max(end, upto)
        else:
            found.append([one])
            begin, end = start, upto
    return found


def _gaps(ranges: Sequence[Range], order: Sequence[int]) -> list[int | None]:
    """Return the bytes between every range and the next one, 0 where they touch; None where they cannot be joined."""
    gaps: list[int | None] = []
    end = 0
    for before, after in pairwise(order):
        path, start, length = ranges[before]
        next_path, next_start, next_length = ranges[after]
        if not gaps or gaps[-1] is None:
            end = start
        end = max(end, start + (length or 0))
        is_one = path == next_path and length is not None and next_length is not None
        gaps.append(max(0, next_start - end) if is_one else None)
    return gaps
