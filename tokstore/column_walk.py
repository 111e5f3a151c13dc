"""Go through the shards of a version and write the rows of one column: of all shards, or of those that get values.

What is held is one shard, or some tens of megabytes of smaller ones, beside the file that is being filled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from tokstore.block import ColumnRows
from tokstore.column_files import ColumnFiles
from tokstore.column_types import Mask
from tokstore.column_values import InOrder, RowSource, SomeRows, overlay, rows_at_once
from tokstore.intake import missing_rows
from tokstore.packed import Ints
from tokstore.placement import Placement
from tokstore.reading import read_lengths, read_rows
from tokstore.rounded import RoundedBy
from tokstore.schema import Column
from tokstore.version import ShardRows, Version

__all__ = ["Held", "write_all", "write_some"]

Held = list[tuple[bytes, int] | None]
"""What held shards before they were filled, one item per shard."""


def write_all(
    version: Version, column: Column, source: RowSource, files: ColumnFiles, report: Callable[[int], None]
) -> None:
    """Write a column of all shards. Rows of deleted samples are missing, or zero where they must not be."""
    most, done = rows_at_once(column), 0
    for number in range(len(version.root.pages)):
        (page,), (plan,), gone = version.pages([number]), version.plans([number]), version.deletions(number)
        keys, spans = page.shard_keys(), plan.samples_per_span()
        for first, stop in _stretches(page.samples, most):
            counts = page.samples[first:stop]
            rows = int(counts.sum())
            at = np.arange(rows)
            if gone is None or not gone.deleted[first:stop].any():
                taken, live = source.take(rows), rows
            else:
                is_gone = [gone.is_gone(shard, int(page.samples[shard])) for shard in range(first, stop)]
                at = np.flatnonzero(~np.concatenate(is_gone))
                taken, live = overlay(missing_rows(column, rows), at, source.take(len(at))), len(at)
            if isinstance(column.type, Mask):
                _check_mask(version, column, _groups(number, first, counts), taken, at, np.arange(done, done + live))
            done += live
            files.add(keys[first:stop], counts, taken, spans[first:stop])
            report(live)
        files.end_page()
    source.end()


def write_some(
    version: Version,
    column: Column,
    source: SomeRows | Callable[[Ints], Iterator[ColumnRows]],
    files: ColumnFiles,
    before: Held,
    report: Callable[[int], None],
) -> None:
    """Write a column of the shards that get values, with the values that they keep."""
    finder = RoundedBy(version)
    for number, start in enumerate(version.page_starts[:-1].tolist()):
        (page,), (plan,), gone = version.pages([number]), version.plans([number]), version.deletions(number)
        starts = version.shard_starts(number) + start
        keys, spans = page.shard_keys(), plan.samples_per_span()
        if not callable(source):
            wanted = source.counts(starts) > 0
        else:
            placement = page.columns.get(column.column_id) or Placement.absent(page.samples, column.type)
            wanted = (page.samples if placement.missing is None else placement.missing) > 0
        for shard in np.flatnonzero(wanted).tolist():
            samples = int(page.samples[shard])
            every = np.arange(samples)
            rows = read_rows(version, [column], [ShardRows(number, shard, every, every)])[column.name]
            live = every if gone is None else every[~gone.is_gone(shard, samples)]
            if callable(source):
                at = live if rows.valid is None else live[~rows.valid[live]]
                if rows.valid is None or not len(at):
                    continue
                calls = source(np.searchsorted(live, at) + int(starts[shard]))
                new = InOrder(column, _reported(calls, report), len(at)).take(len(at))
            else:
                inside, new = source.among(int(starts[shard]), int(starts[shard + 1]))
                at = live[inside]
                report(new.rows)
            if isinstance(column.type, Mask):
                places, some = int(starts[shard]) + np.searchsorted(live, at), np.arange(len(at))
                _check_mask(version, column, [ShardRows(number, shard, at, some)], new, some, places)
            fresh = np.zeros(samples, bool)
            fresh[at] = True
            is_kept = ~fresh if rows.valid is None else rows.valid & ~fresh
            before_now = finder.of(number, shard, column) if is_kept.any() else None
            rounded = None if before_now is None else replace(before_now, fresh=fresh)
            files.add([keys[shard]], np.array([samples]), overlay(rows, at, new), [spans[shard]], rounded)
            before.append(page.holder(column.column_id, shard))
        files.end_page()


def _groups(number: int, first: int, counts: Ints) -> list[ShardRows]:
    """Return all rows of a run of shards."""
    edges = np.concatenate([[0], np.cumsum(counts)]).tolist()
    return [
        ShardRows(number, first + i, np.arange(stop - start), np.arange(start, stop))
        for i, (start, stop) in enumerate(pairwise(edges))
    ]


def _check_mask(
    version: Version, column: Column, groups: Sequence[ShardRows], rows: ColumnRows, live: Ints, position: Ints
) -> None:
    """Refuse a mask that is not as long as what it masks, which only writers check (registry.md 1).

    Args:
        version: The version.
        column: The column.
        groups: The samples that the rows are of.
        rows: Its rows.
        live: Which of them are there.
        position: Their positions in the version.
    """
    kind = column.type
    if not isinstance(kind, Mask) or kind.of is None or rows.lengths is None:
        return
    wanted = read_lengths(version, version.root.schema.column(kind.of), groups)[live]
    wrong = rows.lengths[live] != wanted
    if rows.valid is not None:
        wrong &= rows.valid[live]
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"column {column.name!r}: the sample at position {int(position[row])} has "
            f"{int(rows.lengths[live][row])} bits for {int(wanted[row])} values of {kind.of!r}"
        )


def _reported(batches: Iterator[ColumnRows], report: Callable[[int], None]) -> Iterator[ColumnRows]:
    """Pass batches on and count their rows."""
    for rows in batches:
        report(rows.rows)
        yield rows


def _stretches(samples: Ints, most: int) -> Iterator[tuple[int, int]]:
    """Yield runs of shards with at most so many samples together, or of one shard."""
    edges, first = np.concatenate([[0], np.cumsum(samples)]), 0
    while first < len(samples):
        stop = max(first + 1, int(np.searchsorted(edges, edges[first] + most, side="right")) - 1)
        yield first, stop
        first = stop
