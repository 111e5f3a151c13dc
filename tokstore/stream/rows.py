"""Rows of training, many at a time, from windows that threads decode ahead (order.md 7).

A *slab* is some rows of the row sequence as flat arrays. Its rows lie in pieces of windows, and each window is one
gather. Before a slab is cut, the windows that the rows after it need are handed to the decoding threads; windows that
neither needs are dropped. So memory is that of `lanes` windows and a few more.
"""

from __future__ import annotations

from concurrent.futures import CancelledError, Executor
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokstore.order.spans import BLOCK
from tokstore.ragged import Ragged, ragged_index
from tokstore.recycling import recycling
from tokstore.stream.damage import Report
from tokstore.stream.decoding import Decoding
from tokstore.stream.first_rows import is_less, read_apart
from tokstore.stream.heads import head_of
from tokstore.stream.layout import Layout, Placed, ValueLayout, make_layout
from tokstore.stream.lines import Key, Pool
from tokstore.stream.plan import Plan
from tokstore.stream.slab import NOTHING, UNLEARNED, Segments, Slab, join_segments
from tokstore.stream.source import Source
from tokstore.stream.tally import Tally
from tokstore.stream.windows import LineWindow, Window, gather

__all__ = ["NOTHING", "RowReader", "Segments", "Slab"]

I64 = NDArray[np.int64]


class _Wanted(NamedTuple):
    """Rows of one epoch: their numbers in the slab, their pieces, and the values after rows or pieces that have one."""

    at: I64
    placed: Placed
    has_after: I64
    after: Placed | None


class RowReader:
    """Cut slabs of rows. One thread at a time may call `slab`; decoding runs on `threads`.

    Args:
        source: Where values are.
        plan: Their order.
        pool: The values of a source that is held whole.
        threads: Decode.
        dtype: Of ids.
        pad: Padding id.
        documents: Documents are told apart.
        following: Ids after the end of a row, or of a piece that is cut, are wanted.
        tally: Counts what is padded and cut by weights.
        report: Is told blocks that cannot be read, whose ids are lost then; without it they are an error.
    """

    def __init__(
        self,
        source: Source,
        plan: Plan,
        pool: Pool | None,
        threads: Executor,
        *,
        dtype: np.dtype[Any],
        pad: int,
        documents: bool,
        following: bool,
        report: Report | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._source, self._plan, self._pool = source, plan, pool
        self._dtype, self._pad, self._documents, self._following = dtype, pad, documents, following
        self._report, self._tally = report, tally
        self._epochs: dict[int, Layout] = {}
        self._windows: dict[tuple[int, Key], Window] = {}
        self._heads: dict[tuple[int, Key], tuple[int, LineWindow]] = {}
        self._decoding = Decoding(source, plan, threads, report)
        self._postponed: list[Window] = []
        self._stopped = False

    def slab(self, rows: I64, later: I64, *, quick: bool = False) -> Slab:
        """Return rows, counted over all epochs.

        Args:
            rows: Their numbers, ascending; -1 for rows that only fill up.
            later: Rows that come after them, to be decoded ahead, ascending.
            quick: Wait only for what these rows need, if that is less than the windows they lie in. What is decoded
                ahead then is decoded from `read_ahead` on.
        """
        if self._stopped:
            raise CancelledError
        wanted = [self._place(epoch, at, line_rows) for epoch, at, line_rows in self._line_rows(rows)]
        names = {id(window): window for one in wanted for window in one.placed.windows}
        names |= {id(window): window for one in wanted if one.after is not None for window in one.after.windows}
        held = list(names.values())
        apart = self._apart(wanted) if quick else None
        if apart is not None:
            self._postponed = held
            return self._cut(len(rows), apart)
        soon = [
            self._hold(epoch, key, upto)
            for epoch, _, line_rows in self._line_rows(later)
            for key, upto in self._layout(epoch).keys(line_rows).items()
        ]
        self._decoding.request(held)
        self._decoding.request(soon)
        self._decoding.wait(held)
        self._drop_all_but(set(names) | {id(window) for window in soon})
        return self._cut(len(rows), wanted)

    def read_ahead(self) -> None:
        """Let the threads decode the windows of rows that were cut without them: beside them, the first batch waits."""
        postponed, self._postponed = self._postponed, []
        if not self._stopped:
            self._decoding.request(postponed)

    def segments(self, rows: I64) -> Segments:
        """Return what rows consist of; nothing is decoded."""
        found = []
        for epoch, at, line_rows in self._line_rows(rows):
            found.append(_segments(at, self._layout(epoch).place(line_rows, partial(self._hold, epoch))))
        return join_segments(found)

    def stop(self) -> None:
        """Let everything that is queued end at once. Takes no lock: it may run inside garbage collection."""
        self._stopped = True
        self._decoding.stop()

    def clear(self) -> None:
        """Let go of windows and plans of epochs."""
        self._windows.clear()
        self._heads.clear()
        self._epochs.clear()
        self._decoding.clear()
        self._postponed = []

    # Where rows lie ---------------------------------------------------------------------------------------------

    def _line_rows(self, rows: I64) -> list[tuple[int, I64, I64]]:
        """Return, epoch by epoch, which of the rows are in it, and their places on the line, ascending."""
        found = []
        real = np.flatnonzero(rows >= 0)
        epochs = rows[real] // self._plan.rows
        for epoch in np.unique(epochs).tolist():
            at = real[epochs == epoch]
            line_rows = self._layout(epoch).turns.line_rows(rows[at] - epoch * self._plan.rows)
            order = np.argsort(line_rows, kind="stable")
            found.append((epoch, at[order], line_rows[order]))
        return found

    def _layout(self, epoch: int) -> Layout:
        """Return the layout of an epoch; the last two are kept."""
        found = self._epochs.get(epoch)
        if found is None:
            for old in [number for number in self._epochs if number < epoch - 1]:
                del self._epochs[old]
                self._heads = {name: head for name, head in self._heads.items() if name[0] != old}
            found = self._epochs[epoch] = make_layout(
                self._source, self._plan, self._pool, self._dtype, self._pad, epoch, self._following, self._tally
            )
        return found

    def _hold(self, epoch: int, key: Key, upto: int | None) -> Window:
        """Return a window, not necessarily decoded, or as much of it as is wanted."""
        found = self._windows.get((epoch, key))
        if found is None:
            limit, head = self._heads.get((epoch, key), (0, None))
            if head is not None and upto is not None and upto <= limit:
                return head
            layout = self._layout(epoch)
            found, reach = layout.line.make(key), layout.reach(key[0])
            if upto is not None and upto <= reach and isinstance(found, LineWindow):
                # Only the end of a row of the lane before, in a rank that does not have this lane, or after a resume.
                limit = min(reach, found.stop)
                stretches = found.parts(
                    self._source, self._plan, found.pieces(np.array([found.start]), np.array([limit])).source
                )
                if len(stretches) * BLOCK < found.padding:
                    found.stretches = stretches
                    self._heads[epoch, key] = limit, found
                    return found
            self._windows[epoch, key] = found
        return found

    def _drop_all_but(self, kept: set[int]) -> None:
        """Let go of windows, but for what rows of the lane before will want of them."""
        for name in [name for name, window in self._windows.items() if id(window) not in kept]:
            (epoch, key), window = name, self._windows.pop(name)
            layout = self._epochs.get(epoch)
            upto = 0 if layout is None else layout.reach(key[0])
            if isinstance(window, LineWindow) and window.start < upto:
                self._keep_head(name, window, min(upto, window.stop))
        for name, (limit, window) in list(self._heads.items()):
            if window.stretches and id(window) not in kept:
                del self._heads[name]
                self._keep_head(name, window, limit)

    def _keep_head(self, name: tuple[int, Key], window: LineWindow, limit: int) -> None:
        """Keep the beginning of a window, if it was decoded."""
        if all(one.done for one in window.stretches):
            head = head_of(window, limit)
            if head is not None:
                self._heads[name] = limit, head

    def _place(self, epoch: int, at: I64, line_rows: I64) -> _Wanted:
        """Return rows of the slab, their pieces, and the values after them."""
        layout, hold = self._layout(epoch), partial(self._hold, epoch)
        placed = layout.place(line_rows, hold)
        if self._following and isinstance(layout, ValueLayout):
            if self._plan.packing == "concat":
                return _Wanted(at, placed, *layout.after(line_rows, hold))
            if not self._plan.shuffle:
                return _Wanted(at, placed, *layout.after_parts(placed, hold))
        return _Wanted(at, placed, np.zeros(0, np.int64), None)

    @property
    def is_far(self) -> bool:
        """Whether what is read ahead is fetched from afar."""
        return self._source.is_far

    def _apart(self, wanted: list[_Wanted]) -> list[_Wanted] | None:
        """Read single items, where that is less work than whole windows; return the pieces as they lie then."""
        placed = [one.placed for one in wanted] + [one.after for one in wanted if one.after is not None]
        there = any(not window.stretches for one in placed for window in one.windows)
        if there or not is_less(placed):
            return None
        read = read_apart(self._source, self._plan, placed, self._decoding.decode_now, self._dtype, self._pad)
        after = iter(read[len(wanted) :])
        return [
            one._replace(placed=now, after=None if one.after is None else next(after))
            for one, now in zip(wanted, read, strict=False)
        ]

    # Cutting ----------------------------------------------------------------------------------------------------

    def _cut(self, rows: int, wanted: list[_Wanted]) -> Slab:
        """Copy decoded values into rows."""
        seq_len = self._plan.seq_len
        used = np.zeros(rows, np.int64)
        following = follower = None
        if self._plan.packing == "concat" and any(one.after is not None for one in wanted):
            following = np.full(rows, NOTHING, np.int64)
            follower = np.full(rows, -1), np.zeros(rows, np.int64)
        flats, orders, segments, hurts = [], [], [], []
        for at, placed, has_after, after in wanted:
            pieces = placed.pieces
            count = len(at)
            lengths = np.bincount(pieces.row, pieces.length, count).astype(np.int64)
            used[at] = lengths
            one = _segments(at, placed)
            one.after = self._after(placed, has_after, after)
            segments.append(one)
            if seq_len is not None:
                placed = _padded(placed, seq_len - lengths)
            order = at
            if len(placed.windows) == 1 and count > 1:
                # One window: a gather in the order of the slab costs no more than one in the order of the line.
                placed, order = _sortedjoin_segments(placed, at, count)
            size = int(placed.pieces.length.sum())
            flats.append(self._gather(placed, size))
            hurts.append(self._gather_lost(placed, size))
            orders.append(order)
            if after is not None and following is not None and follower is not None:
                first = self._gather(after, len(has_after)).astype(np.int64)
                first[after.pieces.begins & self._documents] = NOTHING
                hurt = self._gather_lost(after, len(has_after))
                if hurt is not None:
                    first[hurt] = NOTHING
                following[at[has_after]] = first
                follower[0][at[has_after]], follower[1][at[has_after]] = after.pieces.position, after.pieces.first
        ids = self._rows(rows, orders, flats, used, self._pad)
        lost = None
        if any(hurt is not None for hurt in hurts):
            masks = [np.zeros(len(f), bool) if h is None else h for f, h in zip(flats, hurts, strict=True)]
            lost = self._rows(rows, orders, masks, used, False)
        return Slab(ids, used, join_segments(segments), following, follower=follower, lost=lost)

    def _gather(self, placed: Placed, size: int) -> NDArray[Any]:
        """Return the values of pieces, one after another."""
        out = recycling().empty(size, self._dtype)
        source, length = placed.pieces.source, placed.pieces.length
        edges = [0, *(np.flatnonzero(np.diff(placed.window)) + 1).tolist(), len(source)]
        at = 0
        for a, b in pairwise(edges):
            if a < b:
                end = at + int(length[a:b].sum())
                gather(placed.windows[int(placed.window[a])].values, source[a:b], length[a:b], out[at:end])
                at = end
        return out

    def _gather_lost(self, placed: Placed, size: int) -> NDArray[np.bool_] | None:
        """Return which values of pieces are lost; None for none."""
        if self._report is None:
            return None
        masks = [window.damage.mask(window.values) for window in placed.windows]
        if all(mask is None for mask in masks):
            return None
        whole = [np.zeros(len(w.values), bool) if m is None else m for w, m in zip(placed.windows, masks, strict=True)]
        source, length = placed.pieces.source, placed.pieces.length
        out = np.zeros(size, bool)
        starts = np.cumsum(length) - length
        for index, mask in enumerate(whole):
            at = np.flatnonzero(placed.window == index)
            out[ragged_index(starts[at], length[at])] = mask[ragged_index(source[at], length[at])]
        return out

    def _after(self, placed: Placed, has_after: I64, after: Placed | None) -> I64:
        """Return the id after each piece of an item that goes on elsewhere."""
        found = np.full(len(placed.window), NOTHING, np.int64)
        if placed.ends is not None and after is not None:
            ids = self._gather(after, len(has_after)).astype(np.int64)
            hurt = self._gather_lost(after, len(has_after))
            if hurt is not None:
                ids[hurt] = UNLEARNED
            goes_on = ~after.pieces.begins
            found[has_after[goes_on]] = ids[goes_on]
        elif self._following and self._plan.packing != "concat":
            pieces = placed.pieces
            for one in np.flatnonzero(pieces.left).tolist():
                values = placed.windows[int(placed.window[one])].values
                next_one = int(pieces.source[one] + pieces.length[one])
                hurt = None if self._report is None else placed.windows[int(placed.window[one])].damage.mask(values)
                found[one] = values[next_one] if hurt is None or not hurt[next_one] else UNLEARNED
        return found

    def _rows(self, rows: int, orders: list[I64], flats: list[NDArray[Any]], used: I64, fill: Any) -> NDArray[Any]:
        """Bring rows into the order of the slab."""
        dtype = flats[0].dtype if flats else self._dtype
        seq_len = self._plan.seq_len
        if seq_len is None:
            at = np.concatenate([np.zeros(0, np.int64), *orders])
            found = flats[0] if len(flats) == 1 else np.concatenate([np.zeros(0, dtype), *flats])
            place = np.argsort(at, kind="stable")
            if len(flats) == 1 and bool((np.diff(at) > 0).all()):
                return found
            ordered: NDArray[Any] = Ragged(found, used[at])[place].values
            return ordered
        if len(flats) == 1 and len(flats[0]) == rows * seq_len and bool((np.diff(orders[0]) == 1).all()):
            ids: NDArray[Any] = flats[0].reshape(rows, seq_len)
            return ids
        ids = recycling().empty(rows * seq_len, dtype).reshape(rows, seq_len)
        for at, flat in zip(orders, flats, strict=True):
            if len(flat) == len(at) * seq_len:
                ids[at] = flat.reshape(len(at), seq_len)
            else:  # rows without pieces, which are filled below
                ids[at[used[at] > 0]] = flat.reshape(-1, seq_len)
        if not used.all():
            ids[used == 0] = fill
        return ids


def _sortedjoin_segments(placed: Placed, at: I64, count: int) -> tuple[Placed, I64]:
    """Bring pieces of one window into the order of the slab; return also its rows in that order."""
    order = np.argsort(at, kind="stable")
    counts = np.bincount(placed.pieces.row, minlength=count)
    starts = np.cumsum(counts) - counts
    index = ragged_index(starts[order], counts[order])
    pieces = placed.pieces
    sorted_pieces = pieces._replace(source=pieces.source[index], length=pieces.length[index])
    return Placed(sorted_pieces, placed.window, placed.windows), at[order]


def _segments(at: I64, placed: Placed) -> Segments:
    """Return pieces as segments of the rows `at` of a slab."""
    pieces = placed.pieces
    before = np.cumsum(pieces.length) - pieces.length
    # Rows ascend: the first piece of each begins it.
    opens = np.diff(pieces.row, prepend=-1) != 0
    offset = before - before[opens][np.cumsum(opens) - 1]
    nothing = np.full(len(before), NOTHING, np.int64)
    return Segments(at[pieces.row], offset, pieces.length, pieces.position, pieces.begins, nothing, pieces.first)


def _padded(placed: Placed, gaps: I64) -> Placed:
    """Return pieces with one of padding at the end of every row that has a gap."""
    short = np.flatnonzero(gaps)
    if not len(short) or not len(placed.window):
        return placed
    pieces, window = placed.pieces, placed.window
    ends = np.searchsorted(pieces.row, short, side="right")
    padding = np.array([one.padding for one in placed.windows])
    owner = window[ends - 1]
    padded = pieces._replace(
        row=np.insert(pieces.row, ends, short),
        source=np.insert(pieces.source, ends, padding[owner]),
        length=np.insert(pieces.length, ends, gaps[short]),
    )
    return Placed(padded, np.insert(window, ends, owner), placed.windows)
