"""Roots, pages, plans and deletions from bytes to values (format.md 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import jsontext
from .conventions import (
    check_digest,
    check_required,
    check_sum,
    check_version,
    check_zero,
    fail_short,
    packed_exactly,
    u16,
    u32,
    u64,
    u64s,
)
from .failure import ReadError, require
from .frame import content
from .metadata import fields, parse
from .schema import Column, parse_schema


@dataclass(frozen=True)
class PageRecord:
    """A page record (8.2), with the inline bytes of page and plan if there are any."""

    page_digest: bytes
    plan_digest: bytes
    deletion_digest: bytes
    page_bytes: int
    plan_bytes: int
    deletion_bytes: int
    flags: int
    samples: int
    deleted: int
    values: int
    first_sample_id: int
    last_sample_id: int
    shards: int
    spans: int
    page: bytes | None
    plan: bytes | None


@dataclass(frozen=True)
class Root:
    """A manifest root (8.1)."""

    body: dict[int, Any]
    columns: list[Column]
    pages: list[PageRecord]


BODY: dict[int, type] = {
    1: bytes, 2: int, 3: int, 4: bytes, 5: int, 6: list, 7: int, 8: int, 9: list, 10: bytes, 11: dict, 12: dict,
    13: str, 14: dict, 15: dict, 16: list, 17: bytes,
}  # fmt: skip


def parse_root(data: bytes) -> Root:
    """Read a root from all bytes of its file."""
    rule = "format.md 8.1"
    require(len(data) <= 65536, f"a root has {len(data)} bytes", "format.md 11")
    require(data[:8] == b"TOKSROOT"[: len(data)], "this is no root", rule, 0)
    fail_short(data, 40, "a root", rule)
    body_bytes, inline_bytes = u32(data, 24), u32(data, 28)
    fail_short(data, 40 + body_bytes + inline_bytes, "a root", rule)
    check_sum(data[:-8], 0, u64(data, len(data) - 8), "root", rule, len(data) - 8)
    require(len(data) == 40 + body_bytes + inline_bytes, "bytes follow the root", rule)
    check_version(u16(data, 8), rule)
    check_required(u32(data, 20), "the version")
    body = fields(parse(data[32 : 32 + body_bytes]), BODY, (3, 12, 13, 14, 15, 17), "the body of a root", rule)
    _check_body(body)
    columns = parse_schema(body[6], "the schema")
    require(body[8] < 2**32, f"next_column_id is {body[8]}", rule)
    require(all(column.id < body[8] for column in columns), "a column id is not below next_column_id", rule)
    records = body[10]
    require(len(records) % 160 == 0, "the page records are cut", "format.md 8.2")
    inline = data[32 + body_bytes : -8]
    pages = []
    for at in range(0, len(records), 160):
        record, used = _page_record(records[at : at + 160], inline)
        inline = inline[used:]
        pages.append(record)
    require(not inline, "inline bytes belong to no page record", rule)
    return Root(body, columns, pages)


def _check_body(body: dict[int, Any]) -> None:
    """Check what the type of a key does not say."""
    rule = "format.md 8.1"
    require(len(body[1]) == 16 and len(body[4]) == 16, "store id and commit nonce have 16 bytes", rule)
    require(body[2] >= 1 and body.get(3, 0) < body[2], "a version is numbered wrongly", rule)
    require((3 in body) == (body[2] > 1), "version 1 alone has no parent", rule)
    require(body[7] <= 2**53, "next_sample_id is above 2^53", "format.md 7.2")
    require(len(body[9]) == 5 and all(type(n) is int for n in body[9]), "totals are five integers", rule)
    require(len(body[16]) == 2 and [type(x) for x in body[16]] == [str, int], "what made the version is not said", rule)
    require(len(body.get(17, b"")) % 16 == 0, "a part nonce is cut", rule)
    if 13 in body:
        jsontext.check(body[13])
    for key, types in ((12, [str, bytes, int, int]), (14, [str, int])):
        table = body.get(key, {})
        require(list(table) == list(range(len(table))), f"the keys in key {key} do not count from 0", rule)
        require(
            all(type(x) is list and [type(y) for y in x] == types for x in table.values()),
            f"key {key} is malformed",
            rule,
        )
    digests = [item[1] for item in body.get(12, {}).values()]
    names = [tag[0].encode() for tag in body.get(14, {}).values()]
    require(names == sorted(set(names)), "tags do not ascend", rule)
    for pair in body.get(15, {}).values():
        require(type(pair) is list and [type(x) for x in pair] == [bytes, int], "key 15 is malformed", rule)
        digests.append(pair[0])
    require(all(len(digest) == 32 for digest in digests), "the digest of an object has not 32 bytes", rule)


def _page_record(raw: bytes, inline: bytes) -> tuple[PageRecord, int]:
    rule = "format.md 8.2"
    flags, page_bytes, plan_bytes = u32(raw, 108), u32(raw, 96), u32(raw, 100)
    require(flags >> 3 == 0, f"a page record has flags {flags:#010x}", rule)
    require(page_bytes <= 512 * 2**10, f"a page has {page_bytes} bytes", "format.md 11")
    require(1 <= u32(raw, 152) <= 1024, f"a page has {u32(raw, 152)} shards", "format.md 11")
    require(bool(flags & 4) or not any(raw[64:96] + raw[104:108]), "a page record has half a deletion", rule)
    page = plan = None
    used = 0
    if flags & 1:
        page = inline[:page_bytes]
        used = page_bytes
    if flags & 2:
        plan = inline[used : used + plan_bytes]
        used += plan_bytes
    require(used <= len(inline), "inline bytes are too short", rule)
    record = PageRecord(
        page_digest=raw[:32],
        plan_digest=raw[32:64],
        deletion_digest=raw[64:96],
        page_bytes=page_bytes,
        plan_bytes=plan_bytes,
        deletion_bytes=u32(raw, 104),
        flags=flags,
        samples=u64(raw, 112),
        deleted=u64(raw, 120),
        values=u64(raw, 128),
        first_sample_id=u64(raw, 136),
        last_sample_id=u64(raw, 144),
        shards=u32(raw, 152),
        spans=u32(raw, 156),
        page=page,
        plan=plan,
    )
    return record, used


def unwrap(data: bytes, magic: bytes, digest: bytes, stored_bytes: int) -> bytes:
    """Read the content of a page, plan or deletions whose digest is known (8.3)."""
    rule, what = "format.md 8.3", magic.decode()
    fail_short(data, stored_bytes, what, rule)
    require(len(data) == stored_bytes, f"{what} has {len(data)} bytes, its record says {stored_bytes}", rule)
    check_digest(data, digest, what, rule)
    return unwrap_bare(data, magic)


def unwrap_bare(data: bytes, magic: bytes, most: int = 64 * 2**20) -> bytes:
    """Read the content of wrapped bytes, at most so many (8.3, 8.6, 8.7)."""
    rule, what = "format.md 8.3", magic.decode()
    require(len(data) >= 24 and data[:8] == magic, f"this is no {what}", rule)
    check_version(u16(data, 8), rule)
    require(data[12] <= 1, f"{what} has encoding {data[12]}", rule)
    check_zero(data[13:16], what, rule, 13)
    size = u64(data, 16)
    require(size <= most, f"{what} has {size} bytes of content, at most {most} are allowed", "format.md 11")
    return content(data[24:], data[12] == 1, size, what)


def unwrap_sealed(data: bytes, magic: bytes, rule: str, most: int = 64 * 2**20) -> bytes:
    """Read the content of wrapped bytes that end in their own checksum (8.6, 8.7)."""
    what = magic.decode()
    fail_short(data, 32, what, rule)
    check_sum(data[:-8], 0, u64(data, len(data) - 8), what, rule, len(data) - 8)
    return unwrap_bare(data[:-8], magic, most)


@dataclass(frozen=True)
class Placement:
    """Where one column of every shard of a page is (8.3)."""

    where: list[int]
    row: list[int]
    values: list[int]
    stored_bytes: list[int]
    ranges: bytes | None
    missing: list[int] | None
    nan: list[int] | None
    constants: bytes


@dataclass(frozen=True)
class Page:
    """The content of a page (8.3)."""

    file_ids: list[bytes]
    digests: list[bytes]
    index_checksums: list[int]
    file_bytes: list[int]
    tail_offsets: list[int]
    index_offsets: list[int]
    samples: list[int]
    ids: list[list[int]]
    objects: dict[bytes, int]
    objects_of_file: list[set[bytes]]
    placements: dict[int, Placement]


def _cut(data: bytes, n: int, width: int, what: str) -> list[bytes]:
    require(len(data) == n * width, f"{what}: {len(data)} bytes for {n} items of {width}", "format.md 8.3")
    return [data[i * width : (i + 1) * width] for i in range(n)]


PAGE: dict[int, type] = {
    1: int, 2: bytes, 3: bytes, 4: bytes, 5: bytes, 6: bytes, 7: bytes, 10: int, 11: bytes, 12: bytes, 13: bytes,
    14: bytes, 20: bytes, 21: bytes, 22: bytes, 23: bytes, 30: dict,
}  # fmt: skip


def parse_page(data: bytes, shards: int | None = None) -> Page:
    """Read the content of a page; `shards` is the number that its record says, if it has one."""
    rule = "format.md 8.3"
    m = fields(parse(data), PAGE, (), "a page", rule)
    f, n = m[1], m[10]
    require(shards in (None, n), f"a page has {n} shards, its record says {shards}", rule)
    samples = packed_exactly(m[11], n, 0, 2**24)
    runs = packed_exactly(m[12], n)
    # First ids differ: none takes less than a byte, apart from the first (11).
    require(sum(runs) <= max(1, len(m[13])), f"a page says that it has {sum(runs)} id runs", rule)
    firsts, counts = packed_exactly(m[13], sum(runs)), packed_exactly(m[14], sum(runs), 1)
    ids: list[list[int]] = []
    for size, number in zip(samples, runs, strict=True):
        require(sum(counts[:number]) == size, "the id runs of a shard do not add up to its samples", rule)
        ids.append(
            [first + i for first, count in zip(firsts[:number], counts[:number], strict=True) for i in range(count)]
        )
        firsts, counts = firsts[number:], counts[number:]
    digests = _cut(m[20], len(m[20]) // 32, 32, "object digests")
    sizes = packed_exactly(m[21], len(digests))
    per_file = packed_exactly(m[22], f, 0, 65535)
    which = packed_exactly(m[23], sum(per_file), 0, len(digests) - 1)
    objects_of_file = []
    for number in per_file:
        objects_of_file.append({digests[i] for i in which[:number]})
        which = which[number:]
    return Page(
        file_ids=_cut(m[2], f, 16, "file ids"),
        digests=_cut(m[3], f, 32, "file digests"),
        index_checksums=u64s(b"".join(_cut(m[4], f, 8, "index checksums"))),
        file_bytes=packed_exactly(m[5], f),
        tail_offsets=packed_exactly(m[6], f),
        index_offsets=packed_exactly(m[7], f),
        samples=samples,
        ids=ids,
        objects=dict(zip(digests, sizes, strict=True)),
        objects_of_file=objects_of_file,
        placements={column: _placement(value, n, f) for column, value in m[30].items()},
    )


def _placement(value: Any, n: int, f: int) -> Placement:
    known: dict[int, type] = {1: bytes, 2: bytes, 3: bytes, 4: bytes, 5: bytes, 6: bytes, 7: bytes, 8: bytes}
    m = fields(value, known, (5, 6, 7, 8), "a placement", "format.md 8.3")
    return Placement(
        where=packed_exactly(m[1], n, 0, 1 + f),
        row=packed_exactly(m[2], n),
        values=packed_exactly(m[3], n),
        stored_bytes=packed_exactly(m[4], n),
        ranges=m.get(5),
        missing=packed_exactly(m[6], n) if 6 in m else None,
        nan=packed_exactly(m[7], n) if 7 in m else None,
        constants=m.get(8, b""),
    )


@dataclass(frozen=True)
class Plan:
    """The content of a plan (8.4)."""

    primary: int
    spans: list[int]
    blocks: list[int]
    samples: list[int]
    values: list[int]
    lead: list[int]


def parse_plan(data: bytes, shards: int, spans: int | None = None) -> Plan:
    """Read the content of a plan; `spans` is the number that its page record says, if it has one."""
    rule = "format.md 8.4"
    m = fields(parse(data), {1: int, 2: bytes, 3: bytes, 4: bytes, 5: bytes, 6: bytes}, (), "a plan", rule)
    per_shard = packed_exactly(m[2], shards)
    require(sum(per_shard) <= 2**22, f"a plan has {sum(per_shard)} spans", "format.md 11")
    require(spans in (None, sum(per_shard)), f"a plan has {sum(per_shard)} spans, its record says {spans}", rule)
    blocks, samples, values, lead = (packed_exactly(m[key], sum(per_shard)) for key in (3, 4, 5, 6))
    return Plan(m[1], per_shard, blocks, samples, values, lead)


@dataclass(frozen=True)
class Deletions:
    """The content of a deletions part (8.5)."""

    deleted: list[set[int]]
    values: list[int]
    samples_left: list[int]
    values_left: list[int]


def parse_deletions(data: bytes, samples: list[int], spans: int) -> Deletions:
    """Read the content of deletions for shards with so many samples."""
    rule = "format.md 8.5"
    m = fields(parse(data), dict.fromkeys(range(1, 7), bytes), (), "deletions", rule)
    runs = packed_exactly(m[1], len(samples))
    most = max(len(samples), len(m[2]))  # runs of one shard begin at different samples (11)
    require(sum(runs) <= most, f"deletions say that they have {sum(runs)} runs", rule)
    firsts, counts = packed_exactly(m[2], sum(runs)), packed_exactly(m[3], sum(runs), 1)
    deleted: list[set[int]] = []
    for size, number in zip(samples, runs, strict=True):
        end = -1
        gone: set[int] = set()
        for first, count in zip(firsts[:number], counts[:number], strict=True):
            require(first > end, "runs of deletions touch or do not ascend", rule)
            end = first + count
            require(end <= size, "a run of deletions ends outside its shard", rule)
            gone |= set(range(first, end))
        deleted.append(gone)
        firsts, counts = firsts[number:], counts[number:]
    return Deletions(deleted, *(packed_exactly(m[key], n) for key, n in ((4, len(samples)), (5, spans), (6, spans))))


def missing_file(path: str, rule: str) -> ReadError:
    """Build the error for a file that a store names and that is not there."""
    return ReadError("missing", f"{path} is not there", rule, path=path)
