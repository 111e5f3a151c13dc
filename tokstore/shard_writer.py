"""Write one data file, front to back (format.md 4.1).

Blocks are encoded on threads, a bounded number ahead, and written in order; tables, rows sections and index follow twice, before and after
the embedded objects. Memory is the rows that are given plus a few blocks.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokstore import frames
from tokstore.block import (
    BlockTable,
    ColumnRows,
    Spans,
    cut_fixed,
    cut_ragged,
    encode_ranges,
    first_rows,
    pack_bits,
    range_of,
    spans_of,
)
from tokstore.codecs.contract import EncodedBlock
from tokstore.format import (
    COLUMN_ENTRY,
    EMBEDDED,
    FLAG_OBJECT,
    FLAG_OPTIONAL,
    FLAG_RAGGED,
    FLAG_RANGES,
    FLAG_ROWS_ZSTD,
    FLAG_TABLE_ZSTD,
    FOOTER_BYTES,
    MAX_SHARD_SAMPLES,
    OBJECT_ENTRY,
    Footer,
    Header,
    IndexHeader,
)
from tokstore.objects import StoredObject
from tokstore.packed import Ints, encode_packed
from tokstore.schema import Column, Text, Tokens
from tokstore.wire import INDEX_PLACE, ROWS_BLOCK, TABLE_BLOCK, checksum, encode_metadata, place_seed

__all__ = ["ColumnFacts", "FileFacts", "NewColumn", "Sink", "write_data_file"]

_ALIGNMENT = 8
_SECTION_LEVEL = 9
_RUN = 4  # blocks per task: enough that handing it over costs little


class Sink(Protocol):
    """Where a data file goes."""

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""


class BlockEncoder(Protocol):
    """Encode blocks of one column. Thread-safe."""

    def encode(self, values: NDArray[Any]) -> EncodedBlock:
        """Encode one block."""


@dataclass
class NewColumn:
    """One column of a file to be written: what it is, its rows, its encoder, and the object it needs."""

    column: Column
    rows: ColumnRows
    encoder: BlockEncoder
    needs: StoredObject | None = None
    bounds: list[int] | None = None


@dataclass(frozen=True)
class ColumnFacts:
    """What a page and a root say of one column of a file."""

    values: int
    stored_bytes: int
    missing: int
    nans: int
    span: tuple[Any, Any] | None


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


class _Writing:
    """A sink that counts and hashes what goes through."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self.offset, self._hash = sink, 0, hashlib.blake2b(digest_size=32)

    def write(self, data: bytes | memoryview) -> None:
        self._sink.write(data)
        self._hash.update(data)
        self.offset += len(data)

    def align(self, alignment: int) -> None:
        self.write(bytes(-self.offset % alignment))

    def digest(self) -> bytes:
        return self._hash.digest()


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

    Raises:
        ValueError: More rows than a file may have, or columns of different length.
    """
    ordered = sorted(columns, key=lambda one: one.column.column_id)
    rows = ordered[0].rows.rows
    if rows > MAX_SHARD_SAMPLES or any(one.rows.rows != rows for one in ordered):
        raise ValueError(f"columns of one file have equally many rows, at most {MAX_SHARD_SAMPLES} (format.md 11)")
    out = _Writing(sink)
    out.write(Header(file_id).encode())
    spans, span_ends = _cut(ordered, primary_id, rows)

    objects: list[StoredObject] = []
    numbers: dict[bytes, int] = {}
    names: dict[int, str] = {}
    for name, one in sorted((attachments or {}).items()):
        names[_number(one, objects, numbers)] = name
    parts, facts = [], {}
    for new in ordered:
        bounds = new.bounds if new.bounds is not None else cut_fixed(rows, new.column.type.block_target, span_ends)
        part = _write_column(out, new, bounds, file_id, pool, progress)
        if new.needs is not None:
            part.entry["object"] = _number(new.needs, objects, numbers)
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
    levels = {one.column.column_id: one.column.level for one in ordered if one.column.level is not None}
    if levels:
        description[5] = levels
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
        if one.rows.lengths is not None:
            one.bounds = cut_ragged(one.rows.lengths, one.column.type.block_target)
    primary = next((one for one in columns if one.column.column_id == primary_id), None)
    if primary is None:
        return None, np.zeros(0, np.int64)
    if primary.bounds is None:
        primary.bounds = cut_fixed(rows, primary.column.type.block_target, np.zeros(0, np.int64))
    spans = spans_of(primary.bounds, primary.rows.lengths, rows)
    return spans, np.cumsum(spans.samples)


def _number(one: StoredObject, objects: list[StoredObject], numbers: dict[bytes, int]) -> int:
    """Return the number of an object in the file, adding it if it is new."""
    if one.digest not in numbers:
        numbers[one.digest] = len(objects)
        objects.append(one)
    return numbers[one.digest]


@dataclass
class _Part:
    """A column that has been written: its entry, sections and facts."""

    entry: Any
    table: bytes
    rows_section: bytes
    facts: ColumnFacts


def _write_column(
    out: _Writing,
    new: NewColumn,
    bounds: list[int],
    file_id: bytes,
    pool: Executor,
    progress: Callable[[int], None] | None,
) -> _Part:
    """Write the blocks of one column and make its table, rows section and entry."""
    kind, rows, column_id = new.column.type, new.rows, new.column.column_id
    values_digest = pool.submit(_digest_values, rows)
    offsets, stored, forms, checksums = [], [], [], []
    for block, encoded in enumerate(_encode_ahead(pool, new.encoder, rows.values, bounds)):
        out.align(encoded.alignment if not isinstance(kind, Text) else _ALIGNMENT)
        offsets.append(out.offset)
        stored.append(len(encoded.data))
        forms.append(encoded.form)
        checksums.append(checksum(encoded.data, place_seed(file_id, column_id, block)))
        out.write(encoded.data)
        if progress is not None and isinstance(kind, Tokens):
            progress(bounds[block + 1] - bounds[block])
    starts = first_rows(bounds, rows.lengths)
    missing = nans = None
    if kind.optional:
        missing = _count_missing(rows, bounds, starts)
    if kind.dtype.kind == "f":
        nan_ends = np.concatenate([[0], np.cumsum(np.isnan(rows.values))])
        nans = np.diff(nan_ends[np.asarray(bounds)])
    ranged = not kind.ragged
    ranges = [_block_range(rows, a, b) for a, b in zip(bounds, bounds[1:], strict=False)] if ranged else []
    table = BlockTable.encode(
        np.asarray(offsets, np.int64),
        np.asarray(stored, np.int64),
        bounds,
        starts,
        np.asarray(forms, np.int64),
        checksums,
        missing,
        nans,
        encode_ranges(ranges, kind.dtype) if ranged else b"",
    )
    entry = np.zeros((), COLUMN_ENTRY)
    flags = FLAG_RAGGED * kind.ragged | FLAG_OPTIONAL * kind.optional | FLAG_RANGES * ranged
    stored_table, table_zstd = _section(table)
    section = _rows_content(rows)
    stored_rows, rows_zstd = _section(section)
    flags |= FLAG_TABLE_ZSTD * table_zstd | FLAG_ROWS_ZSTD * rows_zstd
    entry["column_id"], entry["type"], entry["codec"], entry["flags"] = column_id, kind.number, kind.codec, flags
    entry["rows"], entry["values"], entry["blocks"] = rows.rows, len(rows.values), len(offsets)
    entry["table_bytes"], entry["table_content_bytes"] = len(stored_table), len(table)
    entry["table_checksum"] = checksum(stored_table, place_seed(file_id, column_id, TABLE_BLOCK))
    if section:
        entry["rows_bytes"], entry["rows_content_bytes"] = len(stored_rows), len(section)
        entry["rows_checksum"] = checksum(stored_rows, place_seed(file_id, column_id, ROWS_BLOCK))
    entry["stored_bytes"], entry["dtype"] = sum(stored), kind.dtype_number
    entry["values_digest"] = np.void(values_digest.result())
    known = [r for r in ranges if r is not None]
    facts = ColumnFacts(
        values=len(rows.values),
        stored_bytes=sum(stored),
        missing=0 if rows.valid is None else int(np.count_nonzero(~rows.valid)),
        nans=0 if nans is None else int(nans.sum()),
        span=(min(r[0] for r in known), max(r[1] for r in known)) if known else None,
    )
    return _Part(entry, stored_table, stored_rows, facts)


def _encode_ahead(
    pool: Executor, encoder: BlockEncoder, values: NDArray[Any], bounds: list[int]
) -> Iterator[EncodedBlock]:
    """Encode blocks on threads, a few runs ahead, and yield them in order."""

    def run(first: int) -> list[EncodedBlock]:
        last = min(first + _RUN, len(bounds) - 1)
        return [encoder.encode(values[bounds[b] : bounds[b + 1]]) for b in range(first, last)]

    ahead: deque[Future[list[EncodedBlock]]] = deque()
    most = 2 * getattr(pool, "_max_workers", 2) + 2
    for first in range(0, len(bounds) - 1, _RUN):
        ahead.append(pool.submit(run, first))
        if len(ahead) >= most:
            yield from ahead.popleft().result()
    while ahead:
        yield from ahead.popleft().result()


def _digest_values(rows: ColumnRows) -> bytes:
    """Return the values digest of a column (format.md 10)."""
    made = hashlib.blake2b(digest_size=32)
    made.update(np.ascontiguousarray(rows.values).view(np.uint8).data)
    if rows.lengths is not None:
        made.update(rows.lengths.astype("<u8").tobytes())
    if rows.valid is not None:
        made.update(pack_bits(rows.valid))
    return made.digest()


def _count_missing(rows: ColumnRows, bounds: list[int], starts: Ints) -> Ints:
    """Return how many missing rows begin in each block."""
    blocks = len(bounds) - 1
    if rows.valid is None or not blocks:
        return np.zeros(blocks, np.int64)
    missing = np.flatnonzero(~rows.valid)
    if rows.lengths is None:
        at = np.searchsorted(np.asarray(bounds[1:]), missing, side="right")
    else:
        begin = (np.cumsum(rows.lengths) - rows.lengths)[missing]
        at = np.searchsorted(np.asarray(bounds[1:]), begin, side="right")
    return np.bincount(np.minimum(at, blocks - 1), minlength=blocks).astype(np.int64)


def _block_range(rows: ColumnRows, start: int, stop: int) -> tuple[Any, Any] | None:
    """Return the range of the present values of one block of a column with one value per row."""
    values = rows.values[start:stop]
    return range_of(values if rows.valid is None else values[rows.valid[start:stop]])


def _rows_content(rows: ColumnRows) -> bytes:
    """Return the rows section before compression (format.md 4.4)."""
    lengths = b"" if rows.lengths is None else encode_packed(rows.lengths)
    return lengths + (b"" if rows.valid is None else pack_bits(rows.valid))


def _section(content: bytes) -> tuple[bytes, bool]:
    """Compress a section where that is smaller."""
    packed = frames.compress(content, _SECTION_LEVEL) if content else content
    return (packed, True) if len(packed) < len(content) else (content, False)


def _place_sections(parts: Sequence[_Part], offset: int) -> None:
    """Give tables and then rows sections their offsets."""
    for part in parts:
        part.entry["table_offset"] = offset
        offset += len(part.table)
    for part in parts:
        if part.rows_section:
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


