"""Compare every number of a manifest that can be computed again with what the data files hold (format.md 8).

A page is compared with the facts of its shards, a plan and deletions with the blocks and lengths of the primary column,
page records with their pages, and the root with the sums of all pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from tokstore.block import Spans, part_bounds, spans_of
from tokstore.column_types import Score, UnknownType
from tokstore.column_writer import ColumnFacts
from tokstore.deletions import Deletions
from tokstore.errors import CorruptError
from tokstore.packed import Ints
from tokstore.pages import Page
from tokstore.placement import CONSTANT, FIRST_FILE, Placement, join_ranges
from tokstore.plan import Plan
from tokstore.ranges import range_of
from tokstore.root import ColumnTotals, Root
from tokstore.schema import Column, Schema
from tokstore.verify_columns import Range, same_range
from tokstore.version import Version

__all__ = [
    "RowsOfFiles",
    "ShardFacts",
    "Sums",
    "check_deletions",
    "check_page",
    "check_plan",
    "check_record",
    "check_root",
]

ShardFacts = Mapping[tuple[int, int], ColumnFacts]
"""Facts of a column in a shard that has a file, by column id and number of the shard, where they are known."""


class RowsOfFiles:
    """Which rows of which files hold a column of shards."""

    def __init__(self) -> None:
        self._runs: dict[tuple[int, bytes], list[tuple[int, int]]] = {}

    def add(self, column_id: int, page: Page) -> None:
        """Add the shards of a page."""
        p = page.columns[column_id]
        for shard in np.flatnonzero((p.where >= FIRST_FILE) & (page.samples > 0)).tolist():
            file, first = page.file_ids[int(p.where[shard]) - FIRST_FILE], int(p.first_row[shard])
            self._runs.setdefault((column_id, file), []).append((first, first + int(page.samples[shard])))

    def check(self, path: str) -> None:
        """Refuse a row that two shards have (format.md 8.3)."""
        for (column_id, file), runs in self._runs.items():
            runs.sort()
            if any(after < end for (_, end), (after, _) in pairwise(runs)):
                raise CorruptError(
                    f"two shards have the same rows of column {column_id} in file {file.hex()}",
                    path=path,
                    rule="format.md 8.3",
                )


@dataclass
class Sums:
    """What the pages of a version add up to.

    Attributes:
        is_whole: All pages could be read and had nothing wrong, so that the sums are those of the version.
        ids: Runs of sample ids: first id and number of samples.
        spans: Ranges of columns over all shards; ``None`` where there is no value.
        unknown: Columns whose ranges are not known, since values could not be read.
    """

    is_whole: bool = True
    samples: int = 0
    shards: int = 0
    values: int = 0
    data_bytes: dict[bytes, int] = field(default_factory=dict)
    object_bytes: dict[bytes, int] = field(default_factory=dict)
    ids: list[tuple[Ints, Ints]] = field(default_factory=list)
    columns: dict[int, ColumnTotals] = field(default_factory=dict)
    spans: dict[int, Range] = field(default_factory=dict)
    unknown: set[int] = field(default_factory=set)
    rows: RowsOfFiles = field(default_factory=RowsOfFiles)

    def add(self, root: Root, number: int, page: Page, gone: Deletions | None, facts: ShardFacts) -> None:
        """Add a page."""
        record = root.pages[number]
        self.samples += int(record["samples"]) - int(record["deleted"])
        self.values += int(record["values"]) - (0 if gone is None else int(gone.deleted_values.sum()))
        self.shards += page.shards
        for one in (column.column_id for column in root.schema.columns if column.column_id in page.columns):
            self.rows.add(one, page)
        self.data_bytes.update(zip(page.file_ids, page.file_bytes.tolist(), strict=True))
        self.object_bytes.update(zip(page.objects, page.object_bytes.tolist(), strict=True))
        self.ids.append((page.id_first, page.id_samples))
        for column in root.schema.columns:
            one, before = column.column_id, self.columns.get(column.column_id, ColumnTotals())
            p = page.columns.get(one)
            if p is None:
                self.columns[one] = replace(before, missing=before.missing + int(page.samples.sum()))
                continue
            self.columns[one] = ColumnTotals(
                before.values + int(p.values.sum()),
                before.stored_bytes + int(p.stored_bytes.sum()),
                None,
                before.missing + (0 if p.missing is None else int(p.missing.sum())),
                before.nans + (0 if p.nans is None else int(p.nans.sum())),
            )
            each = [_facts_of(column, page, p, shard, facts) for shard in range(page.shards)]
            if any(made is None for made in each):
                self.unknown.add(one)
            self.spans[one] = join_ranges([self.spans.get(one), *(made.span for made in each if made is not None)])


def _facts_of(column: Column, page: Page, p: Placement, shard: int, facts: ShardFacts) -> ColumnFacts | None:
    """Return what a shard has of a column, or ``None`` where that is not known."""
    where, samples = int(p.where[shard]), int(page.samples[shard])
    if where >= FIRST_FILE:
        return facts.get((column.column_id, shard))
    if where != CONSTANT:
        return ColumnFacts(0, 0, samples, 0, None)
    if isinstance(column.type, UnknownType):
        return None
    dtype = column.type.dtype
    number = int(np.count_nonzero(p.where[:shard] == CONSTANT))
    value = np.frombuffer(p.constants or b"", dtype, 1, number * dtype.itemsize)
    nans = samples if dtype.kind == "f" and np.isnan(value[0]) else 0
    return ColumnFacts(samples, 0, 0, nans, range_of(value) if samples and column.type.ranged else None)


def check_page(page: Page, schema: Schema, facts: ShardFacts, path: str) -> None:
    """Check that a page says of its shards what they hold (format.md 8.3)."""
    for column in schema.columns:
        p = page.columns.get(column.column_id)
        for shard in range(page.shards if p is not None else 0):
            made = None if p is None else _facts_of(column, page, p, shard, facts)
            if p is None or made is None:
                continue
            wrong = [
                name
                for name in ("values", "stored_bytes", "missing", "nans")
                if getattr(p, name) is not None and int(getattr(p, name)[shard]) != getattr(made, name)
            ]
            if p.ranges is not None and not same_range(p.ranges[shard], made.span, column.type):
                wrong.append("range")
            if wrong:
                raise CorruptError(
                    f"the page has other {wrong[0].replace('_', ' ')} of column {column.name!r} in shard {shard}",
                    path=path,
                    rule="format.md 8.3",
                )
            if made.nans and not column.type.optional and isinstance(column.type, Score):
                raise CorruptError(
                    f"column {column.name!r} is not optional and has NaN", path=path, rule="registry.md 1"
                )


def check_record(root: Root, number: int, page: Page, path: str) -> None:
    """Check that a page record says what its page holds (format.md 8.2)."""
    record = root.pages[number]
    primary = root.schema.primary
    placement = page.columns.get(primary.column_id)
    values = 0 if placement is None else int(placement.values.sum()) // _unit(primary)
    first = int(page.id_first.min()) if len(page.id_first) else 0
    last = int((page.id_first + page.id_samples).max()) - 1 if len(page.id_first) else 0
    said = tuple(int(record[name]) for name in ("values", "first_sample_id", "last_sample_id"))
    if said != (values, first, last):
        raise CorruptError(
            f"values and sample ids of a page record are {said}, those of its page {(values, first, last)}",
            path=path,
            rule="format.md 8.2",
        )
    if len(page.id_first) and last >= root.next_sample_id:
        raise CorruptError(f"sample id {last} is not below next_sample_id", path=path, rule="format.md 7.2")


def _unit(primary: Column) -> int:
    """Return how many values count as one in spans: a row of fixed shape (format.md 7.3)."""
    kind = primary.type
    return 1 if isinstance(kind, UnknownType) or kind.ragged else kind.width


def check_plan(version: Version, schema: Schema, page: Page, plan: Plan, path: str) -> None:
    """Check that a plan has the spans that the blocks of the primary column define (format.md 7.3, 8.4)."""
    primary = schema.primary
    if plan.primary_id != primary.column_id:
        raise CorruptError("a plan is for another column than the primary one", path=path, rule="format.md 8.4")
    p = page.columns.get(primary.column_id)
    edges = np.concatenate([[0], np.cumsum(plan.shard_spans)])
    for shard in range(page.shards):
        part = slice(int(edges[shard]), int(edges[shard + 1]))
        said = [getattr(plan.spans, name)[part] for name in ("blocks", "samples", "values", "lead")]
        expected = _spans_of_shard(version, primary, page, p, shard)
        if expected is None:
            # Its blocks cannot be read: sums have to do.
            is_right = int(said[1].sum()) == int(page.samples[shard]) and (said[3] <= said[2]).all()
            is_right &= p is None or int(said[2].sum()) == int(p.values[shard]) // _unit(primary)
        else:
            made = [getattr(expected, name) for name in ("blocks", "samples", "values", "lead")]
            is_right = all(np.array_equal(a, b) for a, b in zip(said, made, strict=True))
        if not is_right:
            raise CorruptError(f"the plan of shard {shard} differs from its blocks", path=path, rule="format.md 8.4")


def _spans_of_shard(version: Version, primary: Column, page: Page, p: Placement | None, shard: int) -> Spans | None:
    """Return the spans that the blocks of a shard define, or ``None`` where they cannot be told."""
    where, rows = 0 if p is None else int(p.where[shard]), int(page.samples[shard])
    if p is None or where < FIRST_FILE:
        return spans_of([0], None, rows)
    file = version.file_by_number(page, where - FIRST_FILE)
    if int(p.first_row[shard]) or file.rows_count != rows:
        raise CorruptError(
            f"shard {shard} has some rows of the file of its primary column, and not all of them",
            path=file.place.path,
            rule="format.md 8.3",
        )
    if isinstance(primary.type, UnknownType) or file.entry(primary.column_id)["features"][2]:
        return None
    starts = file.rows(primary.column_id).starts
    table = file.table(primary.column_id, primary.type)
    bounds = part_bounds(primary.type, table, rows)
    return spans_of(bounds, None if starts is None else np.diff(starts), rows)


def check_deletions(version: Version, schema: Schema, page: Page, plan: Plan, gone: Deletions, path: str) -> None:
    """Check what deletions say that they take and leave (format.md 8.5)."""
    primary = schema.primary
    p = page.columns.get(primary.column_id)
    edges = np.concatenate([[0], np.cumsum(plan.shard_spans)])
    for shard in range(page.shards):
        rows = int(page.samples[shard])
        starts = _value_starts(version, primary, page, p, shard)
        if starts is None:
            continue
        runs = slice(int(gone.edges[shard]), int(gone.edges[shard + 1]))
        marks = np.zeros(rows + 1, np.int64)
        marks[gone.first[runs]] = 1
        marks[gone.first[runs] + gone.samples[runs]] -= 1
        is_gone = np.cumsum(marks)[:-1] > 0
        lost = np.concatenate([[0], np.cumsum(np.where(is_gone, np.diff(starts), 0))])
        part = slice(int(edges[shard]), int(edges[shard + 1]))
        row_ends = np.concatenate([[0], np.cumsum(plan.spans.samples[part])])
        value_ends = np.minimum(np.concatenate([[0], np.cumsum(plan.spans.values[part])]), starts[-1])
        samples_left = np.diff(np.concatenate([[0], np.cumsum(~is_gone)])[row_ends])
        # A value lies in the last row that begins at or before it; of that row the values before it may be lost too.
        at = np.maximum(np.searchsorted(starts, value_ends, side="right") - 1, 0)
        inside = np.where(np.append(is_gone, False)[at], value_ends - starts[at], 0)
        values_left = np.diff(value_ends) - np.diff(lost[at] + inside)
        if int(lost[-1]) != int(gone.deleted_values[shard]):
            raise CorruptError(f"deletions count other values in shard {shard}", path=path, rule="format.md 8.5")
        if not np.array_equal(samples_left, gone.span_samples[part]):
            raise CorruptError(f"deletions leave other samples in shard {shard}", path=path, rule="format.md 8.5")
        if not np.array_equal(values_left, gone.span_values[part]):
            raise CorruptError(f"deletions leave other values in shard {shard}", path=path, rule="format.md 8.5")


def _value_starts(version: Version, primary: Column, page: Page, p: Placement | None, shard: int) -> Ints | None:
    """Return the first value of every row of a shard, with their number at the end; ``None`` if it cannot be told."""
    where, rows = 0 if p is None else int(p.where[shard]), int(page.samples[shard])
    if p is None or (where < FIRST_FILE and where != CONSTANT):
        return np.zeros(rows + 1, np.int64)
    if isinstance(primary.type, UnknownType):
        return None
    if where == CONSTANT:
        return np.arange(rows + 1, dtype=np.int64)
    file = version.file_by_number(page, where - FIRST_FILE)
    if file.entry(primary.column_id)["features"][2]:
        return None
    first, starts = int(p.first_row[shard]), file.rows(primary.column_id).starts
    if first + rows > file.rows_count:
        raise CorruptError("a file has fewer rows than its page says", path=file.place.path, rule="format.md 8.3")
    if starts is None:
        return np.arange(rows + 1, dtype=np.int64)
    return np.asarray(starts[first : first + rows + 1] - starts[first], np.int64)


def check_root(root: Root, sums: Sums, path: str) -> None:
    """Check that a root says what its pages add up to (format.md 8.1)."""
    t = root.totals
    said = (t.samples, t.shards, t.values, t.data_bytes, t.object_bytes)
    for digest, nbytes, _ in root.attachments.values():
        sums.object_bytes[digest] = nbytes
    made = (sums.samples, sums.shards, sums.values, sum(sums.data_bytes.values()), sum(sums.object_bytes.values()))
    if said != made:
        raise CorruptError(f"the totals are {said}, the pages add up to {made}", path=path, rule="format.md 8.1")
    if set(root.columns) != {column.column_id for column in root.schema.columns}:
        raise CorruptError("the root has totals of other columns than its schema", path=path, rule="format.md 8.1")
    for column in root.schema.columns:
        one, wrong = root.columns[column.column_id], None
        total = sums.columns.get(column.column_id, ColumnTotals())
        for name in ("values", "stored_bytes", "missing", "nans"):
            if getattr(one, name) != getattr(total, name):
                wrong = f"{getattr(one, name)} {name.replace('_', ' ')}, the pages add up to {getattr(total, name)}"
        is_known = column.column_id not in sums.unknown and not isinstance(column.type, UnknownType)
        span = sums.spans.get(column.column_id)
        if one.ranged and is_known and not same_range(one.span, span, column.type):
            wrong = "a range that is not that of its values"
        if wrong is not None:
            raise CorruptError(f"the totals of column {column.name!r} say {wrong}", path=path, rule="format.md 8.1")
    _check_ids(sums, path)
    sums.rows.check(path)


def _check_ids(sums: Sums, path: str) -> None:
    """Check that no two samples have one id (format.md 7.2)."""
    first = np.concatenate([np.zeros(0, np.int64), *(one for one, _ in sums.ids)])
    count = np.concatenate([np.zeros(0, np.int64), *(one for _, one in sums.ids)])
    order = np.argsort(first, kind="stable")
    if (first[order][1:] < (first + count)[order][:-1]).any():
        raise CorruptError("two samples have one id", path=path, rule="format.md 7.2")
