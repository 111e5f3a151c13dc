"""Write one data file, front to back (format.md 4.1).

Blocks are encoded on threads, a bounded number ahead, and written in order; tables, rows sections and index follow
twice, before and after the embedded objects. Memory is the rows that are given plus a few blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np

from tokstore.block import (
    Spans,
    block_values,
    cut_fixed,
    cut_ragged,
    spans_of,
)
from tokstore.column_writer import ColumnFacts, HashedSink, NewColumn, Sink, WrittenColumn, write_column
from tokstore.format import (
    COLUMN_ENTRY,
    EMBEDDED,
    FLAG_OBJECT,
    FLAG_OPTIONAL,
    FLAG_RAGGED,
    FOOTER_BYTES,
    MAX_SHARD_SAMPLES,
    OBJECT_ENTRY,
    Footer,
    Header,
    IndexHeader,
)
from tokstore.objects import StoredObject
from tokstore.packed import Ints
from tokstore.wire import INDEX_PLACE, checksum, encode_metadata, place_seed

__all__ = ["FileFacts", "write_data_file"]


@dataclass(frozen=True)
class FileFacts:
    """What a page says of a data file (format.md 8.3)."""

    file_id: bytes
    digest: bytes
    index_checksum: int
    file_bytes: int
    tail_offset: int
    index_offset: int
    rows: int
    columns: dict[int, ColumnFacts] = field(default_factory=dict)
    objects: tuple[tuple[bytes, int], ...] = ()
    spans: Spans | None = None


def write_data_file(
    sink: Sink,
    file_id: bytes,
    columns: Sequence[NewColumn],
    primary_id: int | None,
    pool: Executor,
    *,
    embed: bool = False,
    attachments: dict[str, StoredObject] | None = None,
    metadata: str | None = None,
    writer: str = "tokstore",
    progress: Callable[[int], None] | None = None,
    span_ends: Ints | None = None,
) -> FileFacts:
    """Write a data file and return what a page has to know of it.

    Args:
        sink: Where the bytes go.
        file_id: 16 random bytes.
        columns: The columns, all with equally many rows.
        primary_id: The column whose blocks define the spans, or ``None`` for a file without spans of its own.
        pool: Threads that encode blocks.
        embed: Embed objects, so that the file can be opened alone.
        attachments: Attachments to embed, by name.
        metadata: JSON of the store's metadata, for a file that is opened alone.
        writer: Name and version of the writing program.
        progress: Called with the number of values that were written since the last call.
        span_ends: For a file without spans of its own: rows at which blocks had better end.

    Raises:
        ValueError: More rows than a file may have, or columns of different length.
    """
    ordered = sorted(columns, key=lambda one: one.column.column_id)
    rows = ordered[0].rows.rows
    if rows > MAX_SHARD_SAMPLES or any(one.rows.rows != rows for one in ordered):
        raise ValueError(f"columns of one file have equally many rows, at most {MAX_SHARD_SAMPLES} (format.md 11)")
    with HashedSink(sink) as out:
        out.write(Header(file_id).encode())
        spans, ends = _cut(ordered, primary_id, rows)
        ends = ends if span_ends is None else span_ends

        objects: list[StoredObject] = []
        numbers: dict[bytes, int] = {}
        names: dict[int, str] = {}
        for name, one in sorted((attachments or {}).items()):
            names[len(objects)] = name  # each has an object of its own, even where two have the same content
            objects.append(one)
        parts, facts = [], {}
        for new in ordered:
            bounds = new.bounds if new.bounds is not None else _fixed_bounds(new, rows, ends)
            part = write_column(out, new, bounds, file_id, pool, progress)
            if new.needs is not None:
                part.entry["object"] = _number(new.needs(), objects, numbers)
                part.entry["flags"] |= FLAG_OBJECT
            parts.append(part)
            facts[new.column.column_id] = part.facts

        copy_offset = out.offset
        embedded_bytes = sum(len(one.data) for one in objects) if embed else 0
        sections_bytes = sum(len(part.table) + len(part.rows_section) for part in parts)
        description: dict[int, object] = {1: [one.column.record() for one in ordered], 2: writer}
        if names:
            description[3] = names
        if metadata is not None:
            description[4] = metadata
        measured = {one.column.column_id: one.quality for one in ordered if one.quality is not None}
        levels = {one.column.column_id: one.column.level for one in ordered if one.column.level is not None}
        if levels:
            description[5] = levels
        if measured:
            description[6] = measured
        meta = encode_metadata(description)
        index_bytes = (
            IndexHeader.BYTES + len(parts) * COLUMN_ENTRY.itemsize + len(objects) * OBJECT_ENTRY.itemsize + len(meta)
        )
        tail_offset = copy_offset + sections_bytes + index_bytes
        tables_offset = tail_offset + embedded_bytes
        _place_sections(parts, tables_offset)
        index = b"".join(
            [
                IndexHeader(rows, len(parts), len(objects), len(meta)).encode(),
                *(part.entry.tobytes() for part in parts),
                _object_entries(objects, tail_offset, embed),
                meta,
            ]
        )
        sections = [part.table for part in parts] + [part.rows_section for part in parts]
        for data in [*sections, index, *([one.data for one in objects] if embed else []), *sections, index]:
            out.write(data)
        index_offset = tables_offset + sections_bytes
        index_checksum = checksum(index, place_seed(file_id, *INDEX_PLACE))
        footer = Footer(copy_offset, tail_offset, index_offset, index_bytes, index_checksum, out.offset + FOOTER_BYTES)
        out.write(footer.encode())
        kept = () if embed else tuple((one.digest, len(one.data)) for one in objects)
        return FileFacts(
            file_id, out.digest(), index_checksum, out.offset, tail_offset, index_offset, rows, facts, kept, spans
        )


def _cut(columns: Sequence[NewColumn], primary_id: int | None, rows: int) -> tuple[Spans | None, Ints]:
    """Cut ragged columns into blocks and the primary one into spans; return the spans and their ends in rows."""
    for one in columns:
        if one.bounds is None and one.rows.lengths is not None:
            one.bounds = cut_ragged(one.rows.lengths, block_values(one.column.type))
    primary = next((one for one in columns if one.column.column_id == primary_id), None)
    if primary is None:
        return None, np.zeros(0, np.int64)
    if primary.bounds is None:
        primary.bounds = _fixed_bounds(primary, rows, np.zeros(0, np.int64))
    # For a column of fixed shape the values of a span are rows (format.md 7.3).
    unit = 1 if primary.rows.lengths is not None else primary.column.type.width
    spans = spans_of([bound // unit for bound in primary.bounds], primary.rows.lengths, rows)
    return spans, np.cumsum(spans.samples)


def _fixed_bounds(one: NewColumn, rows: int, span_ends: Ints) -> list[int]:
    """Cut a column of fixed shape into parts, and return where they begin in values."""
    width = one.column.type.width
    target = block_values(one.column.type) // width
    return [bound * width for bound in cut_fixed(rows, target, span_ends, width)]


def _number(one: StoredObject, objects: list[StoredObject], numbers: dict[bytes, int]) -> int:
    """Return the number of an object in the file, adding it if it is new."""
    if one.digest not in numbers:
        numbers[one.digest] = len(objects)
        objects.append(one)
    return numbers[one.digest]


def _place_sections(parts: Sequence[WrittenColumn], offset: int) -> None:
    """Give tables and then rows sections their offsets."""
    for part in parts:
        part.entry["table_offset"] = offset
        offset += len(part.table)
    for part in parts:
        if int(part.entry["flags"]) & (FLAG_RAGGED | FLAG_OPTIONAL):
            part.entry["rows_offset"] = offset
            offset += len(part.rows_section)


def _object_entries(objects: Sequence[StoredObject], offset: int, embed: bool) -> bytes:
    """Return the object entries of the index (format.md 4.8)."""
    entries = np.zeros(len(objects), OBJECT_ENTRY)
    for entry, one in zip(entries, objects, strict=True):
        entry["digest"] = np.void(one.digest)
        entry["stored_bytes"], entry["content_bytes"], entry["kind"] = len(one.data), one.content_bytes, one.kind
        if embed:
            entry["offset"], entry["flags"] = offset, EMBEDDED
            offset += len(one.data)
    return entries.tobytes()
