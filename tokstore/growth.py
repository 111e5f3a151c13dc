"""New shards -> the next version: pages grow, totals add up, staged parts join (format.md 8.6, 9).

Functions from a root to the draft of the next one, so that a writer who lost a race applies the same function to the
winner's root.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tokstore.column_types import exact_type
from tokstore.errors import ConflictError, CorruptError
from tokstore.format import (
    MAX_PAGE_BYTES,
    MAX_PAGE_SHARDS,
    MAX_SAMPLE_ID,
    PAGE_RECORD,
    PART_MAGIC,
    check_whole,
    unwrap,
    verify_checksum,
    wrap,
)
from tokstore.page_parts import PageParts, ReadPart, named_only, read_parts
from tokstore.pages import Page
from tokstore.placement import join_ranges
from tokstore.plan import Plan
from tokstore.root import ColumnTotals, Root, Totals
from tokstore.schema import Column, Schema
from tokstore.wire import checksum, decode_metadata, encode_metadata, fields

__all__ = ["NewShards", "Part", "append_shards"]

_PART_KINDS = {1: bytes, 2: int, 3: bytes, 4: bytes, 5: dict, 6: list, 7: bytes, 8: dict}


@dataclass(frozen=True)
class NewShards:
    """Shards that were written and are in no version yet.

    Attributes:
        page: Their page; sample ids count from 0.
        plan: Their spans.
        schema: The schema they were written with.
        objects: Objects that came with them, by digest, with their bytes at rest.
        current: Rank tables that later shards may share, by column id.
    """

    page: Page
    plan: Plan
    schema: Schema
    objects: dict[bytes, int] = field(default_factory=dict)
    current: dict[int, tuple[bytes, int]] | None = None

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.page.samples.sum())


def append_shards(root: Root, new: NewShards, read: ReadPart) -> Root:
    """Return the draft of the version that has new shards after those of `root`.

    Raises:
        ConflictError: The schema changed in what was written, or the store has a new column that must not be missing.
    """
    _check_schema(root.schema, new)
    samples = new.samples
    next_id = root.next_sample_id + samples
    if next_id > MAX_SAMPLE_ID:
        raise ConflictError("the store has no sample ids left", rule="format.md 7.2")
    page = new.page.with_ids_from(root.next_sample_id)
    known = {column.column_id for column in root.schema.columns}
    page = replace(page, columns={one: p for one, p in page.columns.items() if one in known})
    added = PageParts(page, new.plan)
    records, inline = list(root.pages), dict(root.inline)
    if records and int(records[-1]["shards"]) + page.shards <= MAX_PAGE_SHARDS:
        joined = read_parts(records[-1], root.schema, read).join(added, root.schema)
        # A page at its limit of bytes stays as it is, and the new shards begin another one.
        if len(joined.page.encode(root.schema)) <= MAX_PAGE_BYTES:
            added = joined
            records.pop()
    for one in added.split(root.schema):
        record, parts = one.record(root.schema)
        records.append(record)
        inline.update(parts)
    pages = np.array(records, PAGE_RECORD) if records else np.zeros(0, PAGE_RECORD)
    t = root.totals
    totals = Totals(
        t.samples + samples,
        t.shards + new.page.shards,
        t.values + int(new.plan.spans.values.sum()),
        t.data_bytes + int(new.page.file_bytes.sum()),
        t.object_bytes + _more_object_bytes(root, new, read),
    )
    return root.next(
        "append",
        pages=pages,
        inline=named_only(inline, records),
        totals=totals,
        columns=_add_totals(root.columns, int(root.pages["samples"].sum()), new, known),
        next_sample_id=next_id,
        samples_added=samples,
        current_objects=root.current_objects | (new.current or {}),
    )


def _more_object_bytes(root: Root, new: NewShards, read: ReadPart) -> int:
    """Return the bytes of objects that new shards name and no shard of `root` does."""
    named = {digest for digest, _ in root.current_objects.values()}
    mine = dict(zip(new.page.objects, new.page.object_bytes.tolist(), strict=True))
    if any(one not in named and one not in new.objects for one in mine):
        # A table that the writer shared was replaced meanwhile: only the pages know whether others still have it.
        for record in root.pages:
            named.update(Page.decode(read(record, "page"), root.schema).objects)
    return sum(nbytes for one, nbytes in mine.items() if one not in named)


def _check_schema(schema: Schema, new: NewShards) -> None:
    """Refuse to append what the newest schema cannot take."""
    written = {column.column_id: column for column in new.schema.columns}
    for column in schema.columns:
        mine = written.get(column.column_id)
        if mine is None and not column.type.optional:
            raise ConflictError(
                f"column {column.name!r} was added meanwhile and must not be missing",
                rule="format.md 9",
                hint="open the store again and append once more",
            )
        if mine is not None and mine.type != column.type:
            raise ConflictError(f"column {column.name!r} changed its type meanwhile", rule="format.md 9")


def _add_totals(old: dict[int, ColumnTotals], samples: int, new: NewShards, known: set[int]) -> dict[int, ColumnTotals]:
    """Add what new shards have of every column to the totals.

    Args:
        old: The totals.
        samples: How many samples they are over, deleted ones included.
        new: The shards.
        known: Columns of the schema.
    """
    ragged = {column.column_id for column in new.schema.columns if column.type.ragged}
    result = dict(old)
    for one, p in new.page.columns.items():
        if one not in known:
            continue
        before = result.get(one, ColumnTotals())
        # A range over shards of which one has values but no range would promise too much.
        # An empty text is a value of no bytes.
        held = samples - before.missing if one in ragged and one in old else before.values
        ranged = (before.ranged or not held) and p.ranges is not None
        result[one] = ColumnTotals(
            before.values + int(p.values.sum()),
            before.stored_bytes + int(p.stored_bytes.sum()),
            join_ranges([before.span, *(p.ranges or ())]) if ranged else None,
            before.missing + (0 if p.missing is None else int(p.missing.sum())),
            before.nans + (0 if p.nans is None else int(p.nans.sum())),
            ranged,
        )
    for one in known - set(new.page.columns):
        before = result.get(one, ColumnTotals())
        result[one] = replace(before, missing=before.missing + new.samples)
    return result


@dataclass(frozen=True)
class Part:
    """A staged part (format.md 8.6).

    Attributes:
        nonce: 16 random bytes.
        base_version: The newest version when it was begun.
        shards: Its shards.
        column: The column that it is for, if its shards hold values of samples that the store has already; the sample
            ids of its page are then those of these samples. ``None`` for a part of new samples.
    """

    nonce: bytes
    base_version: int
    shards: NewShards
    column: Column | None = None

    @classmethod
    def of(cls, shards: NewShards, base_version: int, column: Column | None = None) -> Part:
        """Make a part of new shards."""
        return cls(os.urandom(16), base_version, shards, column)

    def encode(self) -> bytes:
        """Return the bytes of the file."""
        new = self.shards
        totals = _add_totals({}, 0, new, {column.column_id for column in new.schema.columns})
        content: dict[int, object] = {
            1: self.nonce,
            2: self.base_version,
            3: new.page.encode(new.schema),
            4: new.plan.encode(),
            5: {one: _counts(t) for one, t in sorted(totals.items())},
            6: new.schema.records(),
            7: b"".join(new.objects),
        }
        if self.column is not None:
            content[8] = self.column.record()
        framed = wrap(PART_MAGIC, encode_metadata(content))
        return framed + checksum(framed).to_bytes(8, "little")

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Part:
        """Parse and check a part."""
        check_whole(data, 32, "a part", "format.md 8.6")
        expected = int.from_bytes(data[-8:], "little")
        verify_checksum(data[:-8], expected, 0, "part", 0)
        raw = fields(decode_metadata(unwrap(PART_MAGIC, data[:-8])), _PART_KINDS, (8,), "a part", "format.md 8.6")
        if len(raw[1]) != 16 or len(raw[7]) % 32:
            raise CorruptError("the nonce or an object of a part is cut", rule="format.md 8.6")
        if raw[2] < 1:
            raise CorruptError(f"a part was begun in version {raw[2]}", rule="format.md 8.6")
        schema = Schema.from_records(raw[6])
        page = Page.decode(raw[3], schema)
        plan = Plan.decode(raw[4], page.shards)
        totals = _add_totals({}, 0, NewShards(page, plan, schema), {column.column_id for column in schema.columns})
        if {one: _counts(t) for one, t in totals.items()} != {one: _said(t) for one, t in raw[5].items()}:
            raise CorruptError("the totals of a part are not those of its page", rule="format.md 8.6")
        known = dict(zip(page.objects, page.object_bytes.tolist(), strict=True))
        names = [raw[7][i : i + 32] for i in range(0, len(raw[7]), 32)]
        if any(name not in known for name in names):
            raise CorruptError("a part brings an object that none of its files names", rule="format.md 8.6")
        column = None if 8 not in raw else _column_of_part(raw[8], schema, page)
        if column is None and (page.id_first != np.cumsum(page.id_samples) - page.id_samples).any():
            raise CorruptError("the sample ids of a part do not count from 0", rule="format.md 8.6")
        return cls(raw[1], raw[2], NewShards(page, plan, schema, {name: known[name] for name in names}), column)


def _column_of_part(record: Any, schema: Schema, page: Page) -> Column:
    """Return the column that a part is for, if the part can be one of a column."""
    (column,) = Schema.from_records([record]).columns
    if len(schema) != 1 or schema.columns[0].column_id or column.column_id:
        raise CorruptError("a part of a column has other columns, or one with an id", rule="format.md 8.6")
    held = schema.columns[0].type
    if held not in (column.type, exact_type(column.type)):
        raise CorruptError(f"a part for a column {column.type!r} holds values of {held!r}", rule="format.md 8.6")
    order = np.argsort(page.id_first, kind="stable")
    if (page.id_first[order][1:] < (page.id_first + page.id_samples)[order][:-1]).any():
        raise CorruptError("a part of a column has two values of one sample", rule="format.md 8.6")
    return column


def _counts(t: ColumnTotals) -> dict[int, int]:
    """Return the numbers of the totals of a column by their keys (format.md 8.1)."""
    return {1: t.values, 2: t.stored_bytes, 4: t.missing, 5: t.nans}


def _said(given: object) -> dict[int, int]:
    """Return the numbers of totals in a part."""
    return dict(fields(given, {1: int, 2: int, 4: int, 5: int}, (), "the totals of a column", "format.md 8.6"))


def join_new(each: Sequence[NewShards]) -> NewShards:
    """Return the shards of several writers, one after another."""
    joined = each[0]
    for one in each[1:]:
        if one.schema.columns != joined.schema.columns and not _same_columns(one.schema, joined.schema):
            raise ConflictError("parts were written with different schemas", rule="format.md 8.6")
        page = joined.page.join(one.page, joined.schema)
        joined = NewShards(
            page,
            joined.plan.join(one.plan),
            joined.schema,
            joined.objects | one.objects,
            (joined.current or {}) | (one.current or {}),
        )
    return joined


def _same_columns(a: Schema, b: Schema) -> bool:
    """Tell whether two schemas have the same columns, levels aside."""

    def bare(columns: Sequence[Column]) -> list[tuple[int, object]]:
        return [(column.column_id, column.type) for column in columns]

    return bare(a.columns) == bare(b.columns)
