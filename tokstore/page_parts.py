"""The parts of a page (page, plan, deletions) as one: joined, cut, kept within the limits, turned into a page record,
and added up to a version (format.md 8.1 to 8.5)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tokstore.deletions import Deletions
from tokstore.errors import ConflictError
from tokstore.format import HAS_DELETIONS, MAX_PAGE_BYTES, MAX_PAGE_SHARDS, PAGE_RECORD
from tokstore.pages import Page
from tokstore.placement import ABSENT, join_ranges
from tokstore.plan import Plan
from tokstore.root import ColumnTotals, Root
from tokstore.schema import Schema
from tokstore.wire import digest

__all__ = ["PageParts", "PageSum", "ReadPart", "add_up", "read_parts", "with_pages"]

ReadPart = Callable[[Any, str], bytes]
"""Returns the bytes of a page, plan or deletions that are not in the root, from their record and their name."""


@dataclass(frozen=True)
class PageParts:
    """A page with its plan and its deletions."""

    page: Page
    plan: Plan
    gone: Deletions | None = None

    def __post_init__(self) -> None:
        if self.gone is not None and self.gone.is_empty:
            object.__setattr__(self, "gone", None)

    def deletions(self) -> Deletions:
        """Return the deletions, empty ones where nothing is deleted."""
        return self.gone if self.gone is not None else Deletions.none(self.plan)

    def join(self, other: PageParts, schema: Schema) -> PageParts:
        """Return the shards of both."""
        gone = None
        if self.gone is not None or other.gone is not None:
            gone = self.deletions().join(other.deletions())
        return PageParts(self.page.join(other.page, schema), self.plan.join(other.plan), gone)

    def slice(self, start: int, stop: int) -> PageParts:
        """Return some of the shards."""
        gone = None if self.gone is None else self.gone.slice(start, stop, self.plan)
        return PageParts(self.page.slice(start, stop), self.plan.slice(start, stop), gone)

    def split(self, schema: Schema) -> list[PageParts]:
        """Cut the page until every part keeps the limits; nothing is left of one without shards."""
        shards = self.page.shards
        if shards <= MAX_PAGE_SHARDS and len(self.page.encode(schema)) <= MAX_PAGE_BYTES:
            return [self] if shards else []
        half = min(MAX_PAGE_SHARDS, (shards + 1) // 2)
        if half == shards:
            raise ConflictError("one shard has too many columns for a page", rule="format.md 11")
        return [one for a, b in ((0, half), (half, shards)) for one in self.slice(a, b).split(schema)]

    def record(self, schema: Schema) -> tuple[Any, dict[bytes, bytes]]:
        """Return the page record, and the bytes of the parts by digest."""
        page, plan, gone = self.page, self.plan, self.gone
        record, parts = np.zeros((), PAGE_RECORD), {}
        encoded = {"page": page.encode(schema), "plan": plan.encode()}
        if gone is not None:
            encoded["deletion"] = gone.encode()
            record["flags"], record["deleted"] = HAS_DELETIONS, int(gone.deleted.sum())
        for name, data in encoded.items():
            record[f"{name}_digest"], record[f"{name}_bytes"] = np.void(digest(data)), len(data)
            parts[digest(data)] = data
        record["samples"], record["values"] = int(page.samples.sum()), int(plan.spans.values.sum())
        if len(page.id_first):
            record["first_sample_id"] = int(page.id_first.min())
            record["last_sample_id"] = int((page.id_first + page.id_samples).max()) - 1
        record["shards"], record["spans"] = page.shards, len(plan.spans.values)
        return record, parts


def read_parts(record: Any, schema: Schema, read: ReadPart) -> PageParts:
    """Read what belongs to a page record."""
    page = Page.decode(read(record, "page"), schema)
    plan = Plan.decode(read(record, "plan"), page.shards)
    gone = None
    if int(record["flags"]) & HAS_DELETIONS:
        gone = Deletions.decode(read(record, "deletion"), page.samples, int(record["spans"]))
    return PageParts(page, plan, gone)


@dataclass(frozen=True)
class PageSum:
    """What one page adds to the totals of a version.

    Attributes:
        samples: Samples of its shards, deleted ones included.
        columns: What it has of every column; of those that are not there all samples are missing.
        files: Bytes of its data files, by file id.
        objects: Bytes of the objects that they name, by digest.
    """

    samples: int
    columns: dict[int, ColumnTotals] = field(default_factory=dict)
    files: dict[bytes, int] = field(default_factory=dict)
    objects: dict[bytes, int] = field(default_factory=dict)

    @classmethod
    def of(cls, page: Page) -> PageSum:
        """Add up a page."""
        columns = {}
        for one, p in page.columns.items():
            columns[one] = ColumnTotals(
                int(p.values.sum()),
                int(p.stored_bytes.sum()),
                None if p.ranges is None else join_ranges(p.ranges),
                0 if p.missing is None else int(p.missing.sum()),
                0 if p.nans is None else int(p.nans.sum()),
                p.ranges is not None or bool((p.where == ABSENT).all()),
            )
        files = dict(zip(page.file_ids, page.file_bytes.tolist(), strict=True))
        objects = dict(zip(page.objects, page.object_bytes.tolist(), strict=True))
        return cls(int(page.samples.sum()), columns, files, objects)


def add_up(schema: Schema, sums: Sequence[PageSum]) -> dict[int, ColumnTotals]:
    """Return the totals of every column over pages."""
    totals = {}
    for column in schema.columns:
        each = [one.columns.get(column.column_id, ColumnTotals(missing=one.samples, ranged=True)) for one in sums]
        # A range over shards of which one has values but no range would promise too much.
        ranged = all(one.ranged for one in each) and any(one.values or one.span is not None for one in each)
        totals[column.column_id] = ColumnTotals(
            sum(one.values for one in each),
            sum(one.stored_bytes for one in each),
            join_ranges([one.span for one in each]) if ranged else None,
            sum(one.missing for one in each),
            sum(one.nans for one in each),
            ranged,
        )
    return totals


def with_pages(
    root: Root,
    verb: str,
    pages: Iterable[int | PageParts],
    schema: Schema,
    sum_of: Callable[[int], PageSum],
    **changes: Any,
) -> Root:
    """Return the draft of a version with other pages that hold the same samples.

    Args:
        root: The version before.
        verb: What makes the new one.
        pages: The pages in order: the number of one that stays as it is, or a new one.
        schema: The columns of the new version. New pages lose what is not in it.
        sum_of: Returns the sum of a page that stays, by number.
        **changes: Other fields of the root.
    """
    records, sums, inline = [], [], dict(root.inline)
    in_files = {
        record[f"{name}_digest"].tobytes()
        for record in root.pages
        for name in ("page", "plan", "deletion")
        if record[f"{name}_digest"].tobytes() not in inline
    }
    for one in pages:
        if isinstance(one, PageParts):
            for part in PageParts(one.page.kept(schema), one.plan, one.gone).split(schema):
                record, parts = part.record(schema)
                records.append(record)
                sums.append(PageSum.of(part.page))
                inline.update({name: data for name, data in parts.items() if name not in in_files})
        else:
            records.append(root.pages[one])
            sums.append(sum_of(one))
    files = {name: nbytes for one in sums for name, nbytes in one.files.items()}
    objects = {name: nbytes for one in sums for name, nbytes in one.objects.items()}
    objects |= {name: nbytes for name, nbytes, _ in root.attachments.values()}
    totals = {
        "shards": sum(int(record["shards"]) for record in records),
        "data_bytes": sum(files.values()),
        "object_bytes": sum(objects.values()),
    }
    current = changes.pop("current_objects", root.current_objects)
    return root.next(
        verb,
        schema=schema,
        pages=np.array(records, PAGE_RECORD) if records else np.zeros(0, PAGE_RECORD),
        inline=named_only(inline, records),
        totals=root.totals.with_counts(**totals),
        columns=add_up(schema, sums),
        current_objects={one: pair for one, pair in current.items() if pair[0] in objects},
        **changes,
    )


def named_only(inline: dict[bytes, bytes], records: Sequence[Any]) -> dict[bytes, bytes]:
    """Return the parts that page records name: those of equal shape share a plan, so that a part leaves the root only
    when no page names it any more."""
    named = {record[f"{name}_digest"].tobytes() for record in records for name in ("page", "plan", "deletion")}
    return {name: data for name, data in inline.items() if name in named}
