"""Beginnings of lanes, kept for the rows of the lane before that reach into them (order.md 7.1).

The last row of a lane goes on where the next lane begins. It comes at the end of an epoch, and the window that it
reaches into was done with near the start. So the few values that it needs are kept when that window is let go of;
otherwise the whole window, up to a half of the buffer for all lanes, would be fetched and decoded once more.
"""

from __future__ import annotations

import numpy as np

from tokstore.stream.windows import LineWindow, gather

__all__ = ["head_of"]


def head_of(window: LineWindow, upto: int) -> LineWindow | None:
    """Return the beginning of a decoded window as one of its own; None if something in the window is lost.

    Args:
        window: The window. Its values are copied.
        upto: End of what can be asked of the result, a place of the line above the start of the window.
    """
    if window.damage.mask(window.values) is not None:
        return None
    upto = min(upto, window.stop)
    items = int(window.ends.searchsorted(window.ends.dtype.type(upto - window.start))) + 1
    ends, sources, positions = window.ends[:items], window.sources[:items], window.positions[:items]
    # Of the last item only what is asked for; of the padding of weighted lines nothing, since rows have none of it.
    lengths = np.diff(np.minimum(ends.astype(np.int64), upto - window.start), prepend=0)
    lengths[positions < 0] = 0
    size = int(lengths.sum())
    room = len(window.values) - window.padding
    values = np.empty(size + room, window.values.dtype)
    values[size:] = window.values[window.padding :]
    gather(window.values, sources.astype(np.int64), lengths, values[:size])
    return LineWindow(
        window.start,
        upto,
        [],
        values,
        size,
        None,
        ends.copy(),
        (np.cumsum(lengths) - lengths).astype(sources.dtype),
        positions.copy(),
        None if window.fresh is None else window.fresh[:items].copy(),
        None if window.firsts is None else window.firsts[:items].copy(),
    )
