"""Rows of several sources as one sequence: a plan and a reader for each, and slabs that are merged (order.md 10)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokstore.errors import UnsupportedError
from tokstore.losses import TokensLost
from tokstore.order import EndingMixing, Mixing, spread
from tokstore.ragged import Ragged, ragged_index
from tokstore.recycling import recycling
from tokstore.stream.plan import Plan
from tokstore.stream.rows import RowReader
from tokstore.stream.slab import NOTHING, Segments, Slab
from tokstore.stream.source import Source

__all__ = ["Ends", "Joined", "MixPlan", "MixReader", "goes_on", "mixing_of"]

I64 = NDArray[np.int64]
_SLAB_EPOCHS = 32
Stages = Sequence[tuple[int, Sequence[int]]]
"""First row of every stage, and the slots of every source in it."""


class Ends(NamedTuple):
    """Epochs that each source gives at most, None for no limit; and the rule by which the mixture ends."""

    max_epochs: tuple[int | None, ...]
    stop: str | None


def mixing_of(stages: Stages, lanes: int, rows: Sequence[int], ends: Ends) -> Mixing:
    """Return the order of the rows of a mixture.

    Args:
        stages: As of the mixture.
        lanes: Number of lanes.
        rows: Rows of an epoch of each source.
        ends: What ends.
    """
    chosen = [(start, spread(tuple(counts), lanes)) for start, counts in stages]
    if ends.stop is None and not any(ends.max_epochs):
        return Mixing(chosen)
    return EndingMixing(chosen, rows, ends.max_epochs, ends.stop)


def goes_on(before: Stages, stages: Stages, row: int, lanes: int, *, changed: bool) -> Stages | None:
    """Return the stages of a stream that goes on from a state, or None if they contradict what was read.

    Args:
        before: The stages of the state.
        stages: Those of the stream.
        row: The row of the state.
        lanes: Number of lanes.
        changed: Take what was read from the state, and the stages of the stream from the next round of lanes on.
    """
    read = [(start, list(counts)) for start, counts in before if start < row]
    if [(start, list(counts)) for start, counts in stages if start < row] == read:
        return stages
    if not changed:
        return None
    turn = -(-row // lanes) * lanes
    now = [counts for start, counts in stages if start <= turn][-1]
    later = [(start, counts) for start, counts in stages if start > turn]
    return [*read, (turn, now), *later]


@dataclass(frozen=True, slots=True)
class MixPlan:
    """What the order of a mixture depends on: a plan for each source, and whose turn it is.

    Args:
        names: Of the sources.
        plans: Their plans, with as many lanes each.
        mixing: Which row is whose.
        window: Values of a window if one source had the whole buffer; how far to decode ahead.
        ends: Which sources end, and by which rule the mixture does.
    """

    names: tuple[str, ...]
    plans: tuple[Plan, ...]
    mixing: Mixing
    window: int
    ends: Ends

    @property
    def lanes(self) -> int:
        """Number of lanes."""
        return self.mixing.lanes

    @property
    def seq_len(self) -> int | None:
        """Values of a row."""
        return self.plans[0].seq_len

    @property
    def packing(self) -> str:
        """How samples share rows."""
        return self.plans[0].packing

    @property
    def seed(self) -> int:
        """Seed of all keys."""
        return self.plans[0].seed

    @property
    def shuffle(self) -> bool:
        """Whether there is any."""
        return self.plans[0].shuffle

    @property
    def pooled(self) -> bool:
        """Whether all sources are pools."""
        return all(plan.pooled for plan in self.plans)

    @property
    def values(self) -> int:
        """Values of an epoch of each source."""
        return sum(plan.values for plan in self.plans)

    @property
    def rows(self) -> int:
        """Rows of an epoch of each source."""
        return sum(plan.rows for plan in self.plans)

    @property
    def overlong_samples(self) -> int:
        """Samples longer than a row."""
        return sum(plan.overlong_samples for plan in self.plans)

    @property
    def slab_rows(self) -> int:
        """Rows that a slab may have, so that it has few epochs of every source: each is planned anew."""
        found = []
        for _, slots in self.mixing.stages:
            counts = slots.counts
            # Those that end soon have few epochs in all, and leave their slots to the others.
            lasting = [not epochs or epochs > _SLAB_EPOCHS for epochs in self.ends.max_epochs]
            total = sum(count for count, lasts in zip(counts, lasting, strict=True) if lasts)
            for plan, count, lasts in zip(self.plans, counts, lasting, strict=True):
                if count and lasts:
                    found.append(_SLAB_EPOCHS * plan.rows * total // count)
        return min(found, default=_SLAB_EPOCHS * self.rows)

    @property
    def end(self) -> int | None:
        """Rows of the whole mixture; None for no end."""
        return self.mixing.end

    def stages(self) -> list[tuple[int, tuple[int, ...]]]:
        """Return the first row of every stage and the slots in it."""
        return [(start, slots.counts) for start, slots in self.mixing.stages]

    def identity(self, fingerprints: Sequence[str]) -> dict[str, int | str]:
        """Return what a state carries; what sources have of their own, as ``"window/name"``."""
        own = ("window", "pooled", "bos_id", "eos_id")
        found = {name: value for name, value in self.plans[0].identity().items() if name not in own}
        found |= {"sources": json.dumps(self.names), "stages": json.dumps(self.stages())}
        found |= {"max_epochs": json.dumps(self.ends.max_epochs), "stop": self.ends.stop or "none"}
        for name, plan, fingerprint in zip(self.names, self.plans, fingerprints, strict=True):
            identity = plan.identity()
            found |= {f"source/{name}": fingerprint} | {f"{key}/{name}": identity[key] for key in own}
        return found

    def progress(self, row: int) -> dict[str, int]:
        """Return how far each source has been read before a row."""
        found: dict[str, int] = {}
        drawn = self.mixing.drawn(row).sum(axis=1).tolist()
        for name, plan, rows in zip(self.names, self.plans, drawn, strict=True):
            epoch, left = divmod(rows, plan.rows)
            tokens = epoch * plan.values + plan.values * left // plan.rows
            found |= {f"epochs/{name}": epoch, f"rows/{name}": rows, f"tokens/{name}": tokens}
        return found


class Joined:
    """Several sources as one whose samples stand one source after another.

    Args:
        sources: The sources.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = tuple(sources)
        self.before = np.zeros(len(sources) + 1, np.int64)
        np.cumsum([len(source) for source in sources], out=self.before[1:])
        self.token_column = sources[0].token_column
        tokens = {source.token_column for source in sources}
        common = [name for name in sources[0].schema if all(name in source.schema for source in sources)]
        self.schema: dict[str, Any] = {name: sources[0].schema[name] for name in common if name not in tokens}

    def __len__(self) -> int:
        return int(self.before[-1])

    def locate(self, positions: I64) -> tuple[I64, I64]:
        """Return source and position in it."""
        source = np.searchsorted(self.before, positions, side="right") - 1
        return source, positions - self.before[source]

    def take(self, positions: I64, columns: Sequence[str]) -> Mapping[str, Any]:
        """Return columns of samples, and their ``"sample_id"`` in their own sources."""
        return self._taken(positions, columns, lambda source, own: source.take(own, columns))

    def take_lossy(self, positions: I64, columns: Sequence[str], lost: TokensLost) -> Mapping[str, Any]:
        """Return columns of samples, what cannot be read as missing."""
        return self._taken(positions, columns, lambda source, own: source.take_lossy(own, columns, lost))

    def _taken(
        self, positions: I64, columns: Sequence[str], take: Callable[[Source, I64], Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        """Return what is taken of every source, in the order of the positions."""
        source, own = self.locate(positions)
        numbers = np.unique(source).tolist()
        if len(numbers) < 2:
            return take(self.sources[numbers[0] if numbers else 0], own)
        at = [np.flatnonzero(source == number) for number in numbers]
        parts = [take(self.sources[number], own[one]) for number, one in zip(numbers, at, strict=True)]
        back = np.argsort(np.concatenate(at), kind="stable")
        return {name: _together(name, [part[name] for part in parts], back) for name in ("sample_id", *columns)}


def _together(name: str, parts: list[Any], back: I64) -> Any:
    """Return what sources gave of one column as one, in the order of the samples."""
    if all(isinstance(part, Ragged) for part in parts):
        values = np.concatenate([part.values for part in parts])
        return Ragged(values, np.concatenate([part.lengths for part in parts]))[back]
    if all(isinstance(part, np.ndarray) for part in parts):
        if len({part.shape[1:] for part in parts}) > 1:
            shapes = ", ".join(str(part.shape[1:]) for part in parts)
            raise ValueError(f"column {name!r} has items of other shapes in other sources: {shapes}")
        masked = any(isinstance(part, np.ma.MaskedArray) for part in parts)
        joined = np.ma.concatenate(parts) if masked else np.concatenate(parts)  # type: ignore[no-untyped-call]
        return joined[back]
    if all(isinstance(part, list) for part in parts):
        flat = [item for part in parts for item in part]
        return [flat[index] for index in back.tolist()]
    raise UnsupportedError(
        f"column {name!r} cannot be joined over sources", hint="take() it from each source, by sample_ids and source"
    )


class MixReader:
    """Cut slabs of a mixture: those of its sources, merged. The same calls as those of a `RowReader`.

    Args:
        plan: Plan of the mixture.
        readers: A reader for every source, all with the same decoding threads.
        joined: The sources as one; segments have positions in it.
        dtype: Of ids.
        pad: Padding id.
    """

    def __init__(
        self, plan: MixPlan, readers: Sequence[RowReader], joined: Joined, dtype: np.dtype[Any], pad: int
    ) -> None:
        self._plan, self._readers, self._joined, self._dtype, self._pad = plan, readers, joined, dtype, pad
        self._stopped = False

    @property
    def is_far(self) -> bool:
        """Whether what is read ahead is fetched from afar, of one source at least."""
        return any(one.is_far for one in self._readers)

    def slab(self, rows: I64, later: I64, *, quick: bool = False) -> Slab:
        """Return rows, counted from the first of the mixture; see `RowReader.slab`."""
        if self._stopped:
            raise CancelledError
        source, row = self._split(rows)
        source_later, row_later = self._split(later)
        kept = self._kept(rows, later)
        parts = []
        for number, reader in enumerate(self._readers):
            at = np.flatnonzero(source == number)
            if len(at) or not quick:
                ahead = np.concatenate([row_later[source_later == number], kept[number]])
                parts.append((number, at, reader.slab(row[at], ahead, quick=quick)))
        return self._merged(source, parts)

    def read_ahead(self) -> None:
        """Let the threads go on; see `RowReader.read_ahead`."""
        for reader in self._readers:
            reader.read_ahead()

    def segments(self, rows: I64) -> Segments:
        """Return what rows consist of; nothing is decoded."""
        source, row = self._split(rows)
        places = [np.flatnonzero(source == number) for number in range(len(self._readers))]
        found = [(i, at, self._readers[i].segments(row[at])) for i, at in enumerate(places) if len(at)]
        return self._by_row(found)

    def stop(self) -> None:
        """Let everything that is queued end at once. Takes no lock."""
        self._stopped = True
        for one in self._readers:
            one.stop()

    def clear(self) -> None:
        """Let go of windows and plans of epochs."""
        for one in self._readers:
            one.clear()

    def _split(self, rows: I64) -> tuple[I64, I64]:
        """Return source and row in it; -1 for rows that only fill up."""
        if not len(rows) or int(rows.min()) >= 0:
            return self._plan.mixing.place(rows)
        source, row = np.full(len(rows), -1), np.full(len(rows), -1)
        real = np.flatnonzero(rows >= 0)
        source[real], row[real] = self._plan.mixing.place(rows[real])
        return source, row

    def _kept(self, rows: I64, later: I64) -> list[I64]:
        """Return, for every source, the next row in every lane that is read here.

        A source with a small share has no row in most slabs. Its windows stay as long as their lane is in them.
        """
        plan, none = self._plan, np.zeros(0, np.int64)
        seen = np.concatenate([rows, later])
        lanes = np.unique(seen[seen >= 0] % plan.lanes)
        if plan.pooled or not len(lanes):
            return [none] * len(plan.plans)
        drawn = plan.mixing.drawn(int(rows.max()) + 1)[:, lanes]
        found = []
        for one, number, limit in zip(plan.plans, drawn, plan.mixing.limits, strict=True):
            row = none if one.pooled else number * plan.lanes + lanes
            found.append(row if limit is None else row[row < limit])
        return found

    def _merged(self, source: I64, parts: list[tuple[int, I64, Slab]]) -> Slab:
        """Return slabs of sources as one."""
        rows, seq_len = len(source), self._plan.seq_len
        used = np.zeros(rows, np.int64)
        following = follower = None
        for number, at, slab in parts:
            used[at] = slab.used
            if slab.following is not None and slab.follower is not None:
                if following is None or follower is None:
                    following, follower = (
                        np.full(rows, NOTHING, np.int64),
                        (np.full(rows, -1), np.zeros(rows, np.int64)),
                    )
                following[at] = slab.following
                sample, first = slab.follower
                follower[0][at] = np.where(sample < 0, -1, sample + self._joined.before[number])
                follower[1][at] = first
        if seq_len is None:
            order = np.concatenate([np.zeros(0, np.int64), *(at for _, at, _ in parts)])
            flat = np.concatenate([np.zeros(0, self._dtype), *(slab.ids for _, _, slab in parts)])
            ids: NDArray[Any] = Ragged(flat, used[order])[np.argsort(order, kind="stable")].values
        else:
            ids = recycling().empty(rows * seq_len, self._dtype).reshape(rows, seq_len)
            for _, at, slab in parts:
                ids[at] = slab.ids
            if int(source.min()) < 0:
                ids[source < 0] = self._pad
        segments = self._by_row([(number, at, slab.segments) for number, at, slab in parts])
        made = Slab(ids, used, segments, following, source, follower)
        made.lost = self._lost(parts, made)
        return made

    def _lost(self, parts: list[tuple[int, I64, Slab]], made: Slab) -> NDArray[np.bool_] | None:
        """Return which ids of slabs are lost, in the layout of one made of them."""
        if all(slab.lost is None for *_, slab in parts):
            return None
        lost = np.zeros(made.ids.shape, bool)
        ends = made.ends()
        for _, at, slab in parts:
            if slab.lost is not None:
                index = at if lost.ndim == 2 else ragged_index(ends[at], slab.used)
                lost[index] = slab.lost
        return lost

    def _by_row(self, parts: list[tuple[int, I64, Segments]]) -> Segments:
        """Return segments of sources as one, by row, with positions among all samples."""
        none = np.zeros(0, np.int64)
        row = np.concatenate([none, *(at[one.row] for _, at, one in parts)])
        order = np.argsort(row, kind="stable")

        def joined(arrays: list[NDArray[Any]], dtype: Any = np.int64) -> NDArray[Any]:
            found: NDArray[Any] = np.concatenate([np.zeros(0, dtype), *arrays])[order]
            return found

        before = self._joined.before
        return Segments(
            row[order],
            joined([one.offset for *_, one in parts]),
            joined([one.length for *_, one in parts]),
            joined([one.position + before[number] for number, _, one in parts]),
            joined([one.begins for *_, one in parts], bool),
            joined([one.after for *_, one in parts]),
            joined([one.first for *_, one in parts]),
        )
