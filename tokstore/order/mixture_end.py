"""Sources that end, and mixtures that end with them (order.md 10.6 to 10.8).

A source that may give so many epochs has a quota of draws in every lane. The lane passes over its slots once it is
used up, which needs no new slots: the last draw of a source lies at a known step of the lane, whatever becomes of the
others, so where sources end in a lane is arithmetic on counts of slots. Between two ends a lane reads the slots of a
fixed set of sources, and a row is a table look-up as before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.order.lanes import Lending, quotas
from tokstore.order.mixture import Mixing, Slots

__all__ = ["STOPS", "EndingMixing"]

I64 = NDArray[np.int64]
STOPS = ("first_exhausted", "all_exhausted", "all_exhausted_without_replacement")
"""Rules by which a mixture ends; the names are those of Hugging Face Datasets."""
_NEVER = 1 << 62
_TABLES = 64
"""Sets of sources whose slots are kept in order; there are rarely more than a few."""


@dataclass(frozen=True)
class _Stretch:
    """One stage with sources that end in it. All arrays have lanes last.

    Args:
        slots: Of the stage.
        first: Position at which it begins.
        base: Draws of each source before it.
        left: Draws that each source has left then; `_NEVER` for no end.
        begins: Positions at which a set of sources is new: [ends + 1, lanes].
        ranks: Slots of that set before the step that the lane has come to.
        alive: Which set it is, as an index into `sets`.
        sets: [sets, sources], bool: sources that have slots and have not ended.
        last: Position after the last one, `_NEVER` for no end: [lanes].
    """

    slots: Slots
    first: int
    base: I64
    left: I64
    begins: I64
    ranks: I64
    alive: I64
    sets: NDArray[np.bool_]
    last: I64

    def steps(self, source: int, draw: I64) -> I64:
        """Return the step of the lanes' sequence of slots at which a source gives a draw, counted over all stages."""
        count = draw - self.base[source] + self.slots._before[source]
        turn, number = np.divmod(count, self.slots.counts[source])
        return np.asarray(turn * self.slots.slots + self.slots._times[source][number])

    def given(self, step: I64) -> I64:
        """Return how many draws each source has given in this stage before a step of every lane."""
        return np.asarray(np.minimum(self.slots.counted(step) - self.slots._before, self.left))


def _stretch(slots: Slots, first: int, base: I64, quota: I64) -> _Stretch:
    """Work out where sources end in every lane of a stage.

    Args:
        slots: Of the stage.
        first: Position at which it begins.
        base: Draws of each source in each lane before it.
        quota: Draws of each source in each lane at most; `_NEVER` for no end.
    """
    sources, lanes = base.shape
    left = np.where(quota < _NEVER, quota - base, _NEVER)
    plain = _Stretch(slots, first, base, left, *(np.zeros((0, 0), np.int64),) * 3, np.zeros((0, 0), bool), base[0])
    ending = [s for s in range(sources) if slots.counts[s] and left[s, 0] < _NEVER]
    # The step after the last draw of every source that ends.
    after = [np.where(left[s] > 0, plain.steps(s, quota[s] - 1) + 1, slots._shift) for s in ending]
    steps = np.stack([slots._shift, *after])
    order = np.argsort(steps[1:], axis=0, kind="stable")
    steps[1:] = np.take_along_axis(steps[1:], order, axis=0)
    alive = np.broadcast_to(np.array(slots.counts)[:, None] > 0, (len(steps), sources, lanes)).copy()
    gone = np.array(ending, np.int64)[order]
    for number in range(len(ending)):
        for later in range(number + 1, len(steps)):
            alive[later, gone[number], np.arange(lanes)] = False
    begins, ranks = np.zeros_like(steps), np.zeros_like(steps)
    for number, step in enumerate(steps):
        begins[number] = first + plain.given(step).sum(axis=0)
        ranks[number] = np.where(alive[number], slots.counted(step), 0).sum(axis=0)
    flat = alive.transpose(0, 2, 1).reshape(-1, sources)
    # As numbers where they fit, because to sort the rows of an array takes much longer.
    bits = np.ascontiguousarray(np.packbits(flat, axis=1))
    if bits.shape[1] <= 8:
        wide = np.zeros((len(bits), 8), np.uint8)
        wide[:, : bits.shape[1]] = bits
        _, at, which = np.unique(wide.view(np.uint64).ravel(), return_index=True, return_inverse=True)
    else:
        _, at, which = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    sets = flat[at]
    endless = any(count and s not in ending for s, count in enumerate(slots.counts))
    last = np.full(lanes, _NEVER) if endless else begins[-1]
    return _Stretch(slots, first, base, left, begins, ranks, which.reshape(steps.shape), sets, last)


class EndingMixing(Mixing):
    """A mixture with sources that end: which rows of which sources its rows are, and how many there are.

    Args:
        stages: As of `Mixing`.
        rows: Rows of an epoch of each source.
        max_epochs: Epochs that each source gives at most; None for no limit.
        stop: One of `STOPS`, or None: the mixture ends where no source is left.

    Attributes:
        end: Row after the last one; None for no end.
        limits: Rows that each source gives at most; None for no limit.

    Raises:
        ValueError: No source is left before a stage begins, or a source has no share any more before it has given
            what the rule asks of it.

    Example:
        >>> from tokstore.order.mixture import spread
        >>> mixing = EndingMixing([(0, spread((1536, 1536), 1))], [2, 3], [1, 1], None)
        >>> mixing.end, [one.tolist() for one in mixing.place(np.arange(5))]
        (5, [[0, 1, 0, 1, 1], [0, 0, 1, 1, 2]])
    """

    def __init__(
        self,
        stages: Sequence[tuple[int, Slots]],
        rows: Sequence[int],
        max_epochs: Sequence[int | None],
        stop: str | None,
    ) -> None:
        if stop is not None and stop not in STOPS:
            raise ValueError(f"a mixture ends by one of {', '.join(STOPS)}, not by {stop!r}")
        super().__init__(stages)
        once = 1 if stop in ("first_exhausted", "all_exhausted_without_replacement") else None
        caps = [one or once for one in max_epochs]
        self.limits[:] = [None if cap is None else cap * n for cap, n in zip(caps, rows, strict=True)]
        goals = list(rows) if stop == "all_exhausted" else [one or 0 for one in self.limits]
        self._tables: dict[tuple[int, int], NDArray[np.int32]] = {}
        self._lending: Lending | None = None
        self._lent: tuple[I64, I64, I64] = (np.zeros(0, np.int64),) * 3
        missing = self._lay_out(stop)
        self._end(stop, goals, missing)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_tables": {}}  # made anew at first use, and larger than all the rest

    def _lay_out(self, stop: str | None) -> int | None:
        """Work all stages out; return the row of one that begins after a lane has no source left."""
        never = np.full(self.lanes, _NEVER)
        quota = np.stack([never if limit is None else quotas(limit, self.lanes) for limit in self.limits])
        self._stretches: list[_Stretch] = []
        base = np.zeros_like(quota)
        for (start, slots), (following, _) in pairwise([*self.stages, (-1, self.stages[-1][1])]):
            self._stretches.append(_stretch(slots, start // self.lanes, base, quota))
            if following < 0:
                return None
            if int(self._stretches[-1].last.min()) < following // self.lanes:
                return following
            base = self._drawn_at(len(self._stretches) - 1, np.full(self.lanes, following // self.lanes))
        return None

    def _end(self, stop: str | None, goals: Sequence[int], missing: int | None) -> None:
        """Find the row after the last one."""
        last = self._stretches[-1].last
        if int(last.max()) < _NEVER:
            self.end = int(last.sum())
            self._lend(last)
        if stop is not None:
            found = [self._reached(source, goal) for source, goal in enumerate(goals)]
            if stop == "first_exhausted":
                self.end = min((one for one in found if one is not None), default=None)
            elif missing is None and None in found:
                raise ValueError(
                    f"source {found.index(None)} has no share in the last stage, from row {self.stages[-1][0]:,} on, "
                    f"and has not given what stop={stop!r} asks of it: the mixture would not end by it (order.md "
                    "10.8); give it a share, or let that stage begin later"
                )
            else:
                self.end = None if None in found else max(one for one in found if one is not None)
        if missing is not None and (stop is None or self.end is None or self.end > missing):
            raise ValueError(
                f"sources with a share have given all that max_epochs allows from row {int(last.min()) * self.lanes:,} "
                f"on, before the stage at row {missing:,} (order.md 10.6): let it begin earlier, or give a share to a "
                "source that has not ended"
            )

    def _lend(self, last: I64) -> None:
        """Let lanes that have more positions than turns give them to the others (order.md 7.2)."""
        self._lending = Lending(last)
        turns = quotas(int(last.sum()), self.lanes)
        lane = np.repeat(np.arange(self.lanes), np.maximum(turns - last, 0))
        position = np.concatenate([np.arange(a, b) for a, b in zip(last.tolist(), turns.tolist(), strict=True)])
        asked = position * self.lanes + lane
        self._lent = (asked, *self._lending.place(asked))

    def _reached(self, source: int, rows: int) -> int | None:
        """Return the row of the mixture after which a source has given so many rows, None if it never has."""
        quota = quotas(rows, self.lanes)
        asked, lane, position = self._lent
        latest = -1
        if len(asked):
            of, number = self._place(lane, position)
            mine = (of == source) & (number < rows)
            # The draws that a lane gives at its own turns are the first ones; those that it lends are looked at here.
            latest = int(asked[mine].max(initial=-1))
            quota -= np.bincount(lane[mine], minlength=self.lanes)
        at = np.full(self.lanes, -1)
        for number_of, one in enumerate(self._stretches):
            here = (quota > one.base[source]) & (at < 0) & (one.slots.counts[source] > 0)
            if number_of + 1 < len(self._stretches):
                here &= quota <= self._stretches[number_of + 1].base[source]
            if here.any():
                step = one.steps(source, np.maximum(quota - 1, one.base[source]))
                at = np.where(here, one.first + one.given(step).sum(axis=0), at)
        if bool(((at < 0) & (quota > 0)).any()):
            return None
        row = at * self.lanes + np.arange(self.lanes)
        return max(latest, int(row[at >= 0].max(initial=-1))) + 1

    def place(self, rows: I64) -> tuple[I64, I64]:
        """Return the source of rows, and which of its rows they are, counted over all its epochs."""
        if self.end is not None and len(rows) and int(rows.max()) >= self.end:
            raise ValueError(f"the mixture ends with row {self.end - 1:,}, before row {int(rows.max()):,}")
        lane, position = rows % self.lanes, rows // self.lanes
        if self._lending is not None:
            lane, position = self._lending.place(rows)
        return self._place(lane, position)

    def _place(self, lane: I64, position: I64) -> tuple[I64, I64]:
        """Return source and row of positions of lanes."""
        source, draw = np.empty_like(position), np.empty_like(position)
        firsts = np.array([one.first for one in self._stretches])
        stage_of = np.searchsorted(firsts, position, side="right") - 1
        for stage in np.unique(stage_of).tolist():
            at = np.flatnonzero(stage_of == stage)
            stretch, own = self._stretches[stage], lane[at]
            piece, which = self._piece(stage, own, position[at])
            for number in np.unique(which).tolist():
                some = np.flatnonzero(which == number)
                turn, time = self._step(stage, number, own[some], piece[some], position[at[some]])
                whose = stretch.slots._owner[time].astype(np.int64)
                count = turn * np.array(stretch.slots.counts)[whose] + stretch.slots._rank[time]
                source[at[some]] = whose
                draw[at[some]] = count + (stretch.base - stretch.slots._before)[whose, own[some]]
        return source, draw * self.lanes + lane

    def _piece(self, stage: int, lane: I64, position: I64) -> tuple[I64, I64]:
        """Return how many sources have ended at positions of lanes in a stage, and which set is left."""
        stretch = self._stretches[stage]
        piece = np.full(len(position), -1)
        for begin in stretch.begins:
            piece += begin[lane] <= position
        return piece, stretch.alive[piece, lane]

    def _step(self, stage: int, number: int, lane: I64, piece: I64, position: I64) -> tuple[I64, I64]:
        """Return the steps at positions of lanes where one set of sources is left: whole turns, and steps in a turn."""
        stretch = self._stretches[stage]
        times = self._times(stage, number)
        turn, index = np.divmod(stretch.ranks[piece, lane] + position - stretch.begins[piece, lane], len(times))
        return turn, times[index].astype(np.int64)

    def _times(self, stage: int, number: int) -> NDArray[np.int32]:
        """Return the steps of a turn whose slots belong to a set of sources."""
        key = stage, number
        found = self._tables.get(key)
        if found is None:
            if len(self._tables) >= _TABLES:
                self._tables.clear()
            stretch = self._stretches[stage]
            found = np.flatnonzero(stretch.sets[number][stretch.slots._owner]).astype(np.int32)
            self._tables[key] = found
        return found

    def _drawn_at(self, stage: int, position: I64) -> I64:
        """Return the draws of each source before a position of every lane, in or at the end of a stage."""
        stretch, lane = self._stretches[stage], np.arange(self.lanes)
        step = np.zeros(self.lanes, np.int64)
        over = position >= stretch.last
        piece, which = self._piece(stage, lane, position)
        for number in np.unique(which[~over]).tolist():
            some = np.flatnonzero((which == number) & ~over)
            turn, time = self._step(stage, number, some, piece[some], position[some])
            step[some] = turn * stretch.slots.slots + time
        given = stretch.given(step)
        shares = np.array(stretch.slots.counts)[:, None] > 0
        return stretch.base + np.where(over, np.where(shares, stretch.left, 0), given)

    def drawn(self, row: int) -> I64:
        """Return how many rows of each source come before a row: [sources, lanes].

        Behind the end the counts are those of the end.
        """
        row = row if self.end is None else min(row, self.end)
        turns = np.minimum(quotas(row, self.lanes), self._stretches[-1].last)
        stage = int(np.searchsorted([one.first for one in self._stretches], row // self.lanes, side="right")) - 1
        found = self._drawn_at(stage, np.maximum(turns, self._stretches[stage].first))
        asked, lane, position = (one[self._lent[0] < row] for one in self._lent)
        if len(asked):
            source, _ = self._place(lane, position)
            np.add.at(found, (source, lane), 1)
        return found
