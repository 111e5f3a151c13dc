"""Header, footer and index of a data file, record by record (format.md 4.2, 4.6 to 4.9, 4.11)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from . import jsontext
from .conventions import (
    INDEX_PART,
    check_required,
    check_sum,
    check_version,
    check_zero,
    fail_short,
    seed,
    u16,
    u32,
    u64,
)
from .failure import ReadError, require
from .metadata import fields, parse
from .schema import Column, parse_schema

RAGGED, OPTIONAL, HAS_OBJECT, RANGES, TABLE_ZSTD, ROWS_ZSTD, GROUPS = (1 << bit for bit in range(7))


@dataclass(frozen=True)
class Footer:
    """Where the parts of the tail are (4.11)."""

    copy_offset: int
    tail_offset: int
    index_offset: int
    index_bytes: int
    index_checksum: int
    footer_offset: int


@dataclass(frozen=True)
class Entry:
    """A column entry (4.7)."""

    column_id: int
    type: int
    codec: int
    flags: int
    required: int
    rows: int
    values: int
    blocks: int
    object: int
    table: tuple[int, int, int, int]
    rows_section: tuple[int, int, int, int]
    stored_bytes: int
    values_digest: bytes
    dtype: int


@dataclass(frozen=True)
class ObjectEntry:
    """An object entry (4.8)."""

    digest: bytes
    offset: int
    stored_bytes: int
    content_bytes: int
    kind: int
    is_embedded: bool


@dataclass(frozen=True)
class Index:
    """The index and its metadata (4.6, 4.9)."""

    rows: int
    entries: list[Entry]
    objects: list[ObjectEntry]
    columns: list[Column]
    attachments: dict[int, str]
    metadata: str | None


def parse_header(data: bytes) -> bytes:
    """Check the header and return the file id."""
    rule = "format.md 4.2"
    require(data[:8] == b"TOKSDATA"[: len(data)], "this is no data file", rule, 0)
    fail_short(data, 128, "a data file", "format.md 4.1")
    check_sum(data[:56], 0, u64(data, 56), "header", rule, 56)
    check_version(u16(data, 8), rule)
    check_required(u32(data, 20), "the file")
    check_zero(data[40:56], "the header", rule, 40)
    return data[24:40]


def parse_footer(data: bytes) -> Footer:
    """Check the footer; a file that does not end in one is truncated."""
    rule = "format.md 4.11"
    at = len(data) - 64
    raw = data[at:]
    if raw[48:56] != b"TOKSTAIL":
        raise ReadError("truncated", "the file does not end in a footer", rule, offset=at)
    check_sum(raw[:56], 0, u64(raw, 56), "footer", rule, at + 56)
    footer = Footer(u64(raw, 0), u64(raw, 8), u64(raw, 16), u64(raw, 24), u64(raw, 32), at)
    require(u64(raw, 40) == len(data), f"the file has {len(data)} bytes, its footer says {u64(raw, 40)}", rule, at + 40)
    require(footer.index_bytes <= 64 * 2**20, "the index is larger than 64 MiB", "format.md 11", at + 24)
    require(
        footer.index_offset + footer.index_bytes == at, "the index does not end where the footer begins", rule, at + 16
    )
    require(
        64 <= footer.copy_offset <= footer.tail_offset <= footer.index_offset, "the parts are out of order", rule, at
    )
    return footer


def parse_index(data: bytes, footer: Footer, nonce: int) -> Index:
    """Check the index and read all its entries."""
    rule = "format.md 4.6"
    start = footer.index_offset
    raw = data[start : start + footer.index_bytes]
    check_sum(raw, seed(nonce, *INDEX_PART), footer.index_checksum, "index", rule, start)
    require(len(raw) >= 32, "the index is shorter than 32 bytes", rule, start)
    rows, c, o, m = u64(raw, 0), u32(raw, 8), u32(raw, 12), u32(raw, 16)
    check_zero(raw[20:32], "the index", rule, start + 20)
    require(rows <= 2**24, f"the file has {rows} rows", "format.md 11", start)
    require(1 <= c <= 65535 and o <= 65535, f"the file has {c} columns and {o} objects", "format.md 11", start)
    require(len(raw) == 32 + 160 * c + 64 * o + m, "the parts of the index do not fill it", rule, start)
    entries = [_entry(raw[32 + 160 * i : 192 + 160 * i], rows, o) for i in range(c)]
    for before, after in pairwise(entries):
        require(before.column_id < after.column_id, "the column ids of the index do not ascend", rule)
    at = 32 + 160 * c
    objects = [_object_entry(raw[at + 64 * i : at + 64 * i + 64]) for i in range(o)]
    known: dict[int, type] = {1: list, 2: str, 3: dict, 4: str, 5: dict, 6: dict}
    meta = fields(parse(raw[at + 64 * o :]), known, (3, 4, 5, 6), "the metadata of the file", "format.md 4.9")
    columns = parse_schema(meta[1], "the columns of the file")
    require([x.id for x in columns] == [x.column_id for x in entries], "records and entries differ", "format.md 4.9")
    for entry, column in zip(entries, columns, strict=True):
        require(entry.type == column.type, f"record and entry of {column.name} differ in type", "format.md 4.9")
    names = meta.get(3, {})
    for number, name in names.items():
        require(type(name) is str, "the name of an attachment is no string", "format.md 4.9")
        require(number < o and objects[number].is_embedded, "an attachment is not embedded", "format.md 4.9")
    if 4 in meta:
        jsontext.check(meta[4])
    levels = meta.get(5, {})
    require(all(type(level) is str for level in levels.values()), "a level is no string", "format.md 4.9")
    for measured in meta.get(6, {}).values():
        fields(
            measured, {1: float, 2: float, 3: float, 4: int}, (3,), "the measured error of a column", "format.md 4.9"
        )
    return Index(rows, entries, objects, columns, names, meta.get(4))


def _entry(raw: bytes, rows: int, objects: int) -> Entry:
    rule = "format.md 4.7"
    flags = u32(raw, 8)
    require(flags >> 7 == 0, f"a column entry has flags {flags:#010x}", rule)
    check_zero(raw[153:160], "a column entry", rule)
    entry = Entry(
        column_id=u32(raw, 0),
        type=u16(raw, 4),
        codec=u16(raw, 6),
        flags=flags,
        required=u32(raw, 20),
        rows=u64(raw, 24),
        values=u64(raw, 32),
        blocks=u32(raw, 40),
        object=u32(raw, 44),
        table=(u64(raw, 48), u64(raw, 56), u64(raw, 64), u64(raw, 72)),
        rows_section=(u64(raw, 80), u64(raw, 88), u64(raw, 96), u64(raw, 104)),
        stored_bytes=u64(raw, 112),
        values_digest=raw[120:152],
        dtype=raw[152],
    )
    require(entry.column_id <= 2**32 - 2, "a column id is too large", rule)
    require(entry.rows == rows, f"a column has {entry.rows} rows, the file {rows}", rule)
    require(entry.blocks <= 2**24, f"a column has {entry.blocks} blocks", "format.md 11")
    require(entry.table[2] <= 256 * 2**20, "a table is larger than 256 MiB", "format.md 11")
    require(entry.rows_section[2] <= 256 * 2**20, "a rows section is larger than 256 MiB", "format.md 11")
    if flags & HAS_OBJECT:
        require(entry.object < objects, f"a column has object {entry.object} of {objects}", rule)
    else:
        require(entry.object == 0, "a column without an object has the number of one", rule)
    if not flags & (RAGGED | OPTIONAL):
        require(
            entry.rows_section == (0, 0, 0, 0) and not flags & ROWS_ZSTD, "a column has a rows section too many", rule
        )
    return entry


def _object_entry(raw: bytes) -> ObjectEntry:
    rule = "format.md 4.8"
    flags = u16(raw, 58)
    require(flags <= 1, f"an object entry has flags {flags:#06x}", rule)
    check_zero(raw[60:64], "an object entry", rule)
    entry = ObjectEntry(raw[:32], u64(raw, 32), u64(raw, 40), u64(raw, 48), u16(raw, 56), flags == 1)
    require(entry.content_bytes <= 2**30, "the content of an object is larger than 2^30 bytes", "format.md 11")
    require(entry.is_embedded or entry.offset == 0, "an object that is not embedded has an offset", rule)
    return entry
