"""Rewrite shards without their deleted samples, and small neighbours as one (format.md 7.2, 9).

Groups of neighbouring shards are read and written anew, one version each; order and sample ids stay. Blocks, rank
tables and dictionaries are made again from the samples that are left, so that nothing of the others is in them. What
others do to the same shards meanwhile is a conflict, except that their deletions are applied to the new shards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tokstore.deleting import value_starts
from tokstore.deletions import Deletions, ShardLoss
from tokstore.errors import ConflictError
from tokstore.growth import NewShards
from tokstore.packed import Ints
from tokstore.page_parts import PageParts, PageSum, with_pages
from tokstore.reading import read_lengths, read_rows
from tokstore.root import Root
from tokstore.rounded import Rounded, rounded_segments
from tokstore.shard import file_path
from tokstore.version import ShardRows, Version
from tokstore.writing import Writer

__all__ = ["Group", "PageFacts", "find_shards", "replace_group", "rewrite_group", "stays_apart"]

_CHUNK_ROWS, _CHUNK_VALUES = 1 << 16, 1 << 22
_SHARD_RUNS = 1 << 16  # runs of sample ids in one shard, so that a page of it keeps its limit of bytes
Shards = list[tuple[int, int]]
"""Numbers of pages, and of shards in them."""


class PageFacts:
    """What is asked of every page for every group, kept by the digest of the page."""

    def __init__(self) -> None:
        self._keys: dict[bytes, list[bytes]] = {}
        self._sums: dict[bytes, PageSum] = {}

    def keys(self, version: Version, number: int) -> list[bytes]:
        """Return the keys of the shards of a page."""
        name = version.root.pages["page_digest"][number].tobytes()
        if name not in self._keys:
            self._keys[name] = version.pages([number])[0].shard_keys()
        return self._keys[name]

    def sum(self, version: Version, number: int) -> PageSum:
        """Return what a page adds to the totals."""
        name = version.root.pages["page_digest"][number].tobytes()
        if name not in self._sums:
            self._sums[name] = PageSum.of(version.pages([number])[0])
        return self._sums[name]


@dataclass(frozen=True)
class Group:
    """Shards that were written anew and are in no version yet.

    Attributes:
        keys: What tells the old shards from others (`Page.shard_keys`).
        is_gone: Which of their rows were deleted when they were read.
        holders: What held each column of each of them then, by column id (`Page.holder`).
        new: The new shards, with the sample ids of the old ones; ``None`` if no sample is left.
    """

    keys: list[bytes]
    is_gone: list[NDArray[np.bool_]]
    holders: dict[int, list[tuple[bytes, int] | None]]
    new: NewShards | None

    @property
    def paths(self) -> list[str]:
        """Paths of the new data files."""
        return [] if self.new is None else [file_path(one) for one in self.new.page.file_ids]


def find_shards(version: Version, keys: Sequence[bytes], facts: PageFacts) -> Shards | None:
    """Return where shards lie, or ``None`` if they are not there any more, one after another."""
    pages = range(len(version.root.pages))
    start = next(((p, facts.keys(version, p)) for p in pages if keys[0] in facts.keys(version, p)), None)
    if start is None:
        return None
    number, shard = start[0], start[1].index(keys[0])
    found: Shards = []
    while len(found) < len(keys) and number < len(pages):
        here = facts.keys(version, number)
        for at in range(shard, len(here)):
            if here[at] and len(found) < len(keys):  # shards without samples have no keys, and go with their neighbours
                if here[at] != keys[len(found)]:
                    return None
                found.append((number, at))
        number, shard = number + 1, 0
    return found if len(found) == len(keys) else None


def stays_apart(version: Version, keys: Sequence[bytes], facts: PageFacts) -> bool:
    """Tell whether rewriting shards would change nothing: none has deleted samples, and no two fit into one file."""
    shards = find_shards(version, keys, facts)
    if shards is None or any(_gone_rows(version, *one).any() for one in shards):
        return False
    return len(rounded_segments(version, shards, [1] * len(shards))) == len(shards)


def rewrite_group(
    version: Version,
    keys: Sequence[bytes],
    facts: PageFacts,
    open_writer: Callable[[Callable[[NewShards], None], dict[int, Rounded]], Writer],
    report: Callable[[int], None],
) -> Group | None:
    """Write the samples that are left of shards to new ones; ``None`` if the shards are not there any more.

    Args:
        version: The version that is read.
        keys: What tells the shards from others.
        facts: What is known of pages.
        open_writer: Makes a writer, given what takes its shards, and a dict that says what rounded the next ones.
        report: Called with samples done.
    """
    shards = find_shards(version, keys, facts)
    if shards is None:
        return None
    is_gone = [_gone_rows(version, *one) for one in shards]
    holders = _holders(version, shards)
    live = [
        ShardRows(*one, np.flatnonzero(~gone), np.zeros(0, np.int64)) for one, gone in zip(shards, is_gone, strict=True)
    ]
    first, count = _runs_of(version, live)
    if not len(first):
        return Group(list(keys), is_gone, holders, None)
    written: list[NewShards] = []
    rounded: dict[int, Rounded] = {}
    writer = open_writer(written.append, rounded)
    # Where a shard has to end: its ids are in so many runs, or other vectors follow than one file can hold.
    ends = np.cumsum(count)
    segments = rounded_segments(version, shards, [len(one.rows) for one in live])
    cuts = sorted({*ends[_SHARD_RUNS - 1 :: _SHARD_RUNS].tolist(), *(end for end, _ in segments)})
    try:
        begin = int(version.page_starts[shards[0][0]] + version.shard_starts(shards[0][0])[shards[0][1]])
        for low, high in pairwise([0, *cuts]):
            rounded.clear()
            rounded.update(next(found for end, found in segments if low < end))
            for a, b in _chunks(version, begin + low, begin + high):
                groups = version.locate(np.arange(a, b))
                found = read_rows(version, version.root.schema.columns, groups)
                writer.extend_rows({c.column_id: found[c.name] for c in version.root.schema.columns}, b - a)
                report(b - a)
            writer.end_shard()
        writer.close()
    except BaseException:
        writer.abort()
        raise
    new = written[0]
    page = new.page.with_ids(first, count)
    return Group(list(keys), is_gone, holders, replace(new, page=page))


def replace_group(root: Root, verb: str, group: Group, version: Version, facts: PageFacts) -> Root:
    """Return the draft of the version in which new shards stand for old ones.

    Args:
        root: The newest root.
        verb: ``"compact"`` or ``"merge"``.
        group: Old and new shards.
        version: The version of `root`.
        facts: What is known of pages.

    Raises:
        ConflictError: The old shards were rewritten, or got other columns, meanwhile.
    """
    shards = find_shards(version, group.keys, facts)
    if shards is None:
        raise ConflictError("the shards were rewritten meanwhile", rule="format.md 9")
    held = _holders(version, shards)
    absent: list[tuple[bytes, int] | None] = [None] * len(shards)
    for column in root.schema.columns:
        one = column.column_id
        if held[one] != group.holders.get(one, absent):
            raise ConflictError(f"column {column.name!r} of the shards was changed meanwhile", rule="format.md 9")
    (first_page, first), (last_page, last) = shards[0], shards[-1]
    joined = _parts(version, first_page).slice(0, first)
    after = _parts(version, last_page)
    rest = after.slice(last + 1, after.page.shards)
    current = root.current_objects
    if group.new is not None:
        joined = joined.join(_replayed(version, shards, group, group.new), root.schema)
        current = current | (group.new.current or {})
    joined = joined.join(rest, root.schema)
    pages = [*range(first_page), joined, *range(last_page + 1, len(root.pages))]
    return with_pages(
        root, verb, pages, root.schema, lambda number: facts.sum(version, number), current_objects=current
    )


def _parts(version: Version, number: int) -> PageParts:
    """Return the parts of a page."""
    (page,), (plan,) = version.pages([number]), version.plans([number])
    return PageParts(page, plan, version.deletions(number))


def _gone_rows(version: Version, number: int, shard: int) -> NDArray[np.bool_]:
    """Return which rows of a shard are deleted."""
    (page,), gone = version.pages([number]), version.deletions(number)
    samples = int(page.samples[shard])
    return np.zeros(samples, bool) if gone is None else gone.is_gone(shard, samples)


def _holders(version: Version, shards: Shards) -> dict[int, list[tuple[bytes, int] | None]]:
    """Return what holds each column of each shard."""
    pages = [(version.pages([number])[0], shard) for number, shard in shards]
    return {
        column.column_id: [page.holder(column.column_id, shard) for page, shard in pages]
        for column in version.root.schema.columns
    }


def _runs_of(version: Version, live: Sequence[ShardRows]) -> tuple[Ints, Ints]:
    """Return the sample ids of rows of shards, in order, as runs: first id and number of samples."""
    firsts, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for rows in live:
        ids = version.sample_ids(rows)
        starts = np.flatnonzero(np.diff(ids, prepend=-2) != 1)
        firsts.append(ids[starts])
        counts.append(np.diff(starts, append=len(ids)))
    first, count = np.concatenate(firsts), np.concatenate(counts)
    begins = np.flatnonzero(np.append(True, first[1:] != (first + count)[:-1])) if len(first) else np.zeros(0, np.int64)
    return first[begins], np.add.reduceat(count, begins) if len(begins) else count


def _chunks(version: Version, first: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield runs of positions whose rows are read at once, bounded in rows and in values."""
    columns = version.root.schema.columns
    ragged = [column for column in columns if column.type.ragged]
    fixed = sum(column.type.width for column in columns if column.type.shape and not column.type.ragged)
    for low in range(first, stop, _CHUNK_ROWS):
        high = min(low + _CHUNK_ROWS, stop)
        groups = version.locate(np.arange(low, high))
        each = np.full(high - low, fixed, np.int64)
        ends = np.cumsum(sum((read_lengths(version, one, groups) for one in ragged), each))
        at = 0
        while at < len(ends):
            done = int(ends[at - 1]) if at else 0
            upto = max(at + 1, int(np.searchsorted(ends, done + _CHUNK_VALUES, side="right")))
            yield low + at, low + upto
            at = upto


def _replayed(version: Version, shards: Shards, group: Group, new: NewShards) -> PageParts:
    """Return new shards without the samples that were deleted since the old ones were read."""
    lost, lengths, any_lost = [], [], False
    for one, before in zip(shards, group.is_gone, strict=True):
        here = _gone_rows(version, *one)[~before]
        lost.append(here)
        any_lost |= bool(here.any())
    if not any_lost:
        return PageParts(new.page, new.plan)
    primary = version.root.schema.primary
    version.open_files(shards, [primary])
    for (number, shard), before in zip(shards, group.is_gone, strict=True):
        lengths.append(np.diff(value_starts(version, primary, number, shard, len(before)))[~before])
    edges = np.concatenate([[0], np.cumsum(new.page.samples)]).tolist()
    is_gone, length = np.concatenate(lost), np.concatenate(lengths)
    losses = {
        shard: ShardLoss(is_gone[a:b], np.concatenate([[0], np.cumsum(length[a:b])]))
        for shard, (a, b) in enumerate(pairwise(edges))
        if is_gone[a:b].any()
    }
    return PageParts(new.page, new.plan, Deletions.none(new.plan).with_losses(new.plan, losses))
