"""A data file from columns (format.md 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .columns import WIDTH, Block, Column
from .primitives import Edits, checksum, digest, edited, metadata, packed, u16, u32, u64, u64s
from .value_ranges import ranges
from .zframe import frame

WRITER = "vectors 1"
FILE_ID = bytes(range(0xA0, 0xB0))


@dataclass
class Stored:
    """An object, embedded in a file or in `objects/` (5)."""

    kind: int
    content: bytes
    embedded: bool = True
    zstd: bool = False
    edits: Edits = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        """Give its stored bytes."""
        body = frame(self.content) if self.zstd else self.content
        head = b"TOKO" + u16(self.kind) + bytes([self.zstd, 0]) + u64(len(self.content))
        return edited(self.edits, "object", head + body)


@dataclass
class Written:
    """A data file with what a page says about it."""

    data: bytes
    file_id: bytes
    columns: list[Column]
    objects: list[Stored]
    rows: int
    tail_offset: int
    index_offset: int
    index_checksum: int

    @property
    def name(self) -> str:
        """Give the path of the file in a store."""
        return f"data/{self.file_id.hex()[:2]}/{self.file_id.hex()}.tok"


def write_file(
    columns: Sequence[Column],
    objects: Sequence[Stored] = (),
    *,
    rows: int | None = None,
    file_id: bytes = FILE_ID,
    minor: int = 0,
    major: int = 1,
    features: tuple[int, int, int] = (0, 0, 0),
    more: dict[int, Any] | None = None,
    interleaved: bool = False,
    edits: Edits | None = None,
) -> Written:
    """Write a data file.

    Stages of `edits`: `header`, `header+` (after its checksum); `block:ID:B`, `block+:ID:B`; `pad` and `blocks` (all
    bytes up to the copy); `table:ID` (content), `table=:ID` (as stored), `table+:ID`; `rows:ID`, `rows=:ID`,
    `rows+:ID`;
    `metadata`, `index`, `index+`, `copy`, `footer`, `footer+`, `file`.
    """
    nonce = int.from_bytes(file_id[:8], "little")

    def seed(column_id: int, block: int) -> int:
        return (nonce + column_id * 2**32 + block) % 2**64

    rows = (len(columns[0].samples) if columns else 0) if rows is None else rows
    head = b"TOKSDATA" + u16(major) + u16(minor) + b"".join(map(u32, features)) + file_id + bytes(16)
    head = edited(edits, "header", head)
    out = bytearray(edited(edits, "header+", head + u64(checksum(head))))
    places: dict[int, list[tuple[int, bytes, int]]] = {column.id: [] for column in columns}
    for column, number, block in _in_order(columns, interleaved):
        multiple = 64 if column.codec in (1, 2) and block.form >> 4 & 3 == 0 else 8
        pad = bytes(-len(out) % multiple)
        out += edited(edits, f"pad:{column.id}:{number}", pad)
        stored = edited(edits, f"block:{column.id}:{number}", block.stored)
        places[column.id].append((len(out), stored, checksum(stored, seed(column.id, number))))
        out += edited(edits, f"block+:{column.id}:{number}", stored)
    out = bytearray(edited(edits, "blocks", bytes(out)))

    embedded = [x.data for x in objects if x.embedded]
    tables = [_table(column, places[column.id], edits) for column in columns]
    sections = [_rows_section(column, edits) for column in columns]
    stored_tables = [
        edited(edits, f"table=:{c.id}", frame(t) if c.table_zstd else t) for c, t in zip(columns, tables, strict=True)
    ]
    stored_rows = [
        edited(edits, f"rows=:{c.id}", frame(s) if c.rows_zstd else s) if s is not None else None
        for c, s in zip(columns, sections, strict=True)
    ]
    meta: dict[int, Any] = {1: [column.record() for column in columns], 2: WRITER}
    raw_meta = edited(edits, "metadata", metadata(meta | (more or {})))
    body_bytes = sum(map(len, stored_tables)) + sum(len(s) for s in stored_rows if s is not None)
    index_bytes = 32 + 160 * len(columns) + 64 * len(objects) + len(raw_meta)
    copy_offset = len(out)
    tail_offset = copy_offset + body_bytes + index_bytes
    at = tail_offset
    entries_of_objects = b""
    for item in objects:
        data = item.data
        entry = digest(data) + u64(at if item.embedded else 0) + u64(len(data)) + u64(len(item.content))
        entry += u16(item.kind) + u16(item.embedded) + u32(0)
        entries_of_objects += edited(edits, f"object_entry:{objects.index(item)}", entry)
        at += len(data) if item.embedded else 0
    table_places, row_places = [], []
    for stored in stored_tables:
        table_places.append(at)
        at += len(stored)
    for part in stored_rows:
        row_places.append(at if part is not None else 0)
        at += len(part or b"")
    entries = b""
    for i, column in enumerate(columns):
        table = (
            table_places[i],
            len(stored_tables[i]),
            len(tables[i]),
            checksum(stored_tables[i], seed(column.id, 2**32 - 1)),
        )
        section = sections[i]
        part = stored_rows[i]
        rows_part = (0, 0, 0, 0)
        if section is not None and part is not None:
            rows_part = (row_places[i], len(part), len(section), checksum(part, seed(column.id, 2**32 - 2)))
        entry = _entry(column, rows, table, rows_part, sum(len(stored) for _, stored, _ in places[column.id]))
        entries += edited(edits, f"entry:{column.id}", entry)
    index = u64(rows) + u32(len(columns)) + u32(len(objects)) + u32(len(raw_meta)) + bytes(12)
    index = edited(edits, "index", index + entries + entries_of_objects + raw_meta)
    index_checksum = checksum(index, seed(2**32 - 1, 2**32 - 1))
    tail = b"".join(
        [edited(edits, f"table+:{c.id}", t) for c, t in zip(columns, stored_tables, strict=True)]
        + [edited(edits, f"rows+:{c.id}", s) for c, s in zip(columns, stored_rows, strict=True) if s is not None]
    )
    index_offset = at
    tail += edited(edits, "index+", index)
    out += edited(edits, "copy", tail) + b"".join(embedded) + tail
    foot = u64(copy_offset) + u64(tail_offset) + u64(index_offset) + u64(len(index)) + u64(index_checksum)
    foot = edited(edits, "footer", foot + u64(len(out) + 64) + b"TOKSTAIL")
    out += edited(edits, "footer+", foot + u64(checksum(foot)))
    data = edited(edits, "file", bytes(out))
    return Written(data, file_id, list(columns), list(objects), rows, tail_offset, index_offset, index_checksum)


def _in_order(columns: Sequence[Column], interleaved: bool) -> list[tuple[Column, int, Block]]:
    """Put the blocks in their order in the file: column by column, or by turns."""
    found = [(column, number, block) for column in columns for number, block in enumerate(column.blocks)]
    return sorted(found, key=lambda x: (x[1], x[0].id)) if interleaved else found


def _table(column: Column, places: list[tuple[int, bytes, int]], edits: Edits | None) -> bytes:
    """Write the content of a table (4.5)."""
    n = len(column.blocks)
    begins = column.begins()
    missing, nan, at = [0] * n, [0] * n, 0
    if n:
        for sample, b in zip(column.samples, begins, strict=True):
            for block_ in range(b * column.groups, min(n, (b + 1) * column.groups)):
                missing[block_] += sample is None
    for b, block in enumerate(column.blocks):
        found = sum(map(column.is_nan, column.values[at : at + block.values]))
        nan[b] = found if block.nan is None else block.nan
        at += block.values
    lists: dict[str, Sequence[int]] = {
        "offset": [place[0] for place in places],
        "stored_bytes": [len(place[1]) for place in places],
        "values": [block.values for block in column.blocks],
        "first_row": column.first_rows(),
        "form": [block.form for block in column.blocks],
    }
    raw = b"".join(
        edited(edits, f"{name}:{column.id}", packed(values, *column.widths.get(name, (None, None))))
        for name, values in lists.items()
    )
    raw += edited(edits, f"checksums:{column.id}", u64s([place[2] for place in places]))
    if column.has_validity:
        raw += edited(edits, f"missing:{column.id}", packed(missing))
    if column.dtype in (9, 10, 11, 12):
        raw += edited(edits, f"nan:{column.id}", packed(nan))
    if column.ranges:
        groups: list[list[list[int] | None]] = [[] for _ in range(n)]
        if column.type == 1:
            at = 0
            for b, block in enumerate(column.blocks):
                groups[b] = [column.values[at : at + block.values]]
                at += block.values
        else:
            for sample, b in zip(column.samples, begins, strict=True):
                if n:
                    groups[b].append(sample)
        raw += edited(edits, f"ranges:{column.id}", ranges(column, groups))
    return edited(edits, f"table:{column.id}", raw)


def validity(column: Column) -> bytes:
    """Write the validity bits of a column (4.4)."""
    out = bytearray((len(column.samples) + 7) // 8)
    for row, sample in enumerate(column.samples):
        out[row // 8] |= (sample is not None) << row % 8
    return bytes(out)


def _rows_section(column: Column, edits: Edits | None) -> bytes | None:
    """Write the content of a rows section (4.4), or None where there is none."""
    if not (column.ragged or column.has_validity):
        return None
    raw = packed(column.lengths, *column.widths.get("lengths", (None, None))) if column.ragged else b""
    raw = edited(edits, f"lengths:{column.id}", raw)
    if column.has_validity:
        raw += edited(edits, f"validity:{column.id}", validity(column))
    return edited(edits, f"rows:{column.id}", raw)


def values_digest(column: Column) -> bytes:
    """Compute the values digest (10)."""
    if column.codec == 5:
        raw = b"".join(value.to_bytes(4, "little", signed=True) for value in column.values)
    else:
        raw = b"".join(value.to_bytes(WIDTH[column.dtype], "little") for value in column.values)
    if column.ragged:
        raw += u64s(column.lengths)
    return digest(raw + (validity(column) if column.has_validity else b""))


def _entry(
    column: Column, rows: int, table: tuple[int, int, int, int], section: tuple[int, int, int, int], stored_bytes: int
) -> bytes:
    """Write a column entry (4.7)."""
    bits = (
        column.ragged,
        column.has_validity,
        column.object is not None,
        column.ranges,
        column.table_zstd,
        column.rows_zstd,
        column.groups > 1,
    )
    flags = sum(bit << i for i, bit in enumerate(bits))
    raw = u32(column.id) + u16(column.type) + u16(column.codec) + u32(flags)
    raw += (
        u32(column.entry.get("ignorable", 0))
        + u32(column.entry.get("read_only", 0))
        + u32(column.entry.get("required", 0))
    )
    raw += u64(rows) + u64(len(column.values)) + u32(len(column.blocks)) + u32(column.object or 0)
    raw += b"".join(map(u64, table + section)) + u64(stored_bytes)
    return raw + values_digest(column) + bytes([column.dtype]) + bytes(7)
