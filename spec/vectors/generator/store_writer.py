"""A store from data files: roots, pages, plans, deletions and the small files beside them (format.md 3, 8)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .columns import Column, Sample
from .datafile_writer import Stored, Written
from .primitives import Edits, checksum, digest, edited, metadata, packed, u16, u32, u64, u64s
from .value_ranges import ranges
from .zframe import frame

STORE_ID = bytes(range(0x10, 0x20))
TIME = 1_700_000_000_000
Files = dict[str, bytes]
Keys = dict[int, Any]


@dataclass
class Shard:
    """A shard: how many samples, their ids as runs, and where its columns are.

    `place` maps a column id to a file and the row at which the shard begins in it, or to the bits of a constant.
    """

    samples: int
    ids: list[tuple[int, int]]
    place: dict[int, tuple[Written, int] | int]

    def rows(self, column: Column) -> list[Sample]:
        """Give the samples of a column."""
        where = self.place.get(column.id)
        if where is None:
            return [None] * self.samples
        if isinstance(where, int):
            return [[where]] * self.samples
        return self.part(column)[where[1] : where[1] + self.samples]

    def part(self, column: Column) -> list[Sample]:
        """Give all samples of the file that holds a column."""
        where = self.place[column.id]
        return [] if isinstance(where, int) else in_file(where[0], column).samples


def in_file(file: Written, column: Column) -> Column:
    """Find a column in a file."""
    return next(c for c in file.columns if c.id == column.id)


@dataclass
class Page:
    """A page of a version.

    `keys`, `plan_keys`, `deletion_keys` and `placement_keys` (by column id) replace keys of what is written, and None
    takes one away. With `one_span` a shard has one span, whatever its blocks.
    """

    shards: list[Shard]
    deleted: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    inline: bool = True
    zstd: bool = False
    placed: set[int] | None = None
    dropped: list[Column] = field(default_factory=list)
    edits: Edits = field(default_factory=dict)
    keys: Keys = field(default_factory=dict)
    plan_keys: Keys = field(default_factory=dict)
    deletion_keys: Keys = field(default_factory=dict)
    placement_keys: dict[int, Keys] = field(default_factory=dict)
    one_span: bool = False


@dataclass
class Version:
    """A version of a store."""

    number: int
    schema: list[Column]
    pages: list[Page]
    next_sample_id: int
    verb: str = "append"
    added: int = 0
    more: dict[int, Any] = field(default_factory=dict)
    attachments: list[tuple[str, Stored]] = field(default_factory=list)
    edits: Edits = field(default_factory=dict)
    minor: int = 0
    major: int = 1
    features: tuple[int, int, int] = (0, 0, 0)


def json_file(members: dict[str, Any]) -> bytes:
    """Write a JSON file with its checksum (2.6)."""
    lines = "".join(f"{key}={members[key]}\n" for key in sorted(members))
    return json.dumps(members | {"checksum": f"{checksum(lines.encode()):016x}"}, sort_keys=True).encode() + b"\n"


def wrap(magic: bytes, content: bytes, zstd: bool = False, edits: Edits | None = None, stage: str = "") -> bytes:
    """Wrap the content of a page, plan or deletions (8.3)."""
    body = edited(edits, f"{stage}=", frame(content) if zstd else content)
    head = magic + u16(1) + u16(0) + bytes([zstd, 0, 0, 0]) + u64(len(content))
    return edited(edits, stage, head + body)


def primary(schema: Sequence[Column]) -> Column | None:
    """Find the primary column (6.2)."""
    kinds = ([c for c in schema if c.primary], [c for c in schema if c.type == 1], [c for c in schema if c.ragged])
    return next((found[0] for found in (*kinds, schema) if found), None)


def spans(shard: Shard, column: Column, one_span: bool = False) -> list[tuple[int, int, int, int]]:
    """Give blocks, samples, values and lead of the spans of a shard; none of the vectors has more than one (7.3)."""
    where = shard.place.get(column.id)
    if shard.samples == 0:
        return []
    if where is None or isinstance(where, int):
        return [(0, shard.samples, 0, 0)]
    blocks = in_file(where[0], column).blocks
    values = sum(block.values for block in blocks) // (1 if column.ragged else column.width)
    if values >= 2**18 and not one_span:
        raise ValueError("more than one span is not written here")
    return [(len(blocks), shard.samples, values, 0)]


def counts(shard: Shard, column: Column) -> tuple[int, int, int, int]:
    """Give values, stored bytes, missing and NaN of a column in a shard (8.3)."""
    where = shard.place.get(column.id)
    rows = shard.rows(column)
    missing = sum(s is None for s in rows)
    nan = sum(column.is_nan(v) for s in rows for v in s or [])
    if where is None:
        return 0, 0, missing, nan
    values = sum(len(s or []) for s in rows) if column.ragged else len(rows) * column.width
    if isinstance(where, int):
        return values, 0, missing, nan
    part = in_file(where[0], column)
    first = where[1]
    stored = sum(
        len(b.stored)
        for b, row in zip(part.blocks, part.first_rows(), strict=True)
        if first <= row < first + shard.samples
    )
    return values, stored, missing, nan


def page_content(page: Page, schema: Sequence[Column]) -> bytes:
    """Write the content of a page (8.3)."""
    files = page_files(page)
    names = sorted({item.data for file in files for item in file.objects if not item.embedded})
    per_file = [[names.index(item.data) for item in file.objects if not item.embedded] for file in files]
    runs = [run for shard in page.shards for run in shard.ids]
    m: dict[int, Any] = {
        1: len(files),
        2: b"".join(file.file_id for file in files),
        3: b"".join(digest(file.data) for file in files),
        4: u64s([file.index_checksum for file in files]),
        5: packed([len(file.data) for file in files]),
        6: packed([file.tail_offset for file in files]),
        7: packed([file.index_offset for file in files]),
        10: len(page.shards),
        11: packed([shard.samples for shard in page.shards]),
        12: packed([len(shard.ids) for shard in page.shards]),
        13: packed([first for first, _ in runs]),
        14: packed([count for _, count in runs]),
        20: b"".join(map(digest, names)),
        21: packed([len(name) for name in names]),
        22: packed([len(which) for which in per_file]),
        23: packed([i for which in per_file for i in which]),
        30: {c.id: _placement(page, c, files) for c in schema if page.placed is None or c.id in page.placed},
    }
    return edited(page.edits, "page_content", metadata(replaced(m, page.keys)))


def replaced(m: Keys, keys: Keys) -> Keys:
    """Replace keys of a map; None takes one away."""
    return {key: value for key, value in (m | keys).items() if value is not None}


def page_files(page: Page) -> list[Written]:
    """List the files of a page in the order in which shards name them."""
    found: list[Written] = []
    for shard in page.shards:
        for where in shard.place.values():
            if not isinstance(where, int) and all(where[0] is not file for file in found):
                found.append(where[0])
    return found


def _placement(page: Page, column: Column, files: list[Written]) -> dict[int, Any]:
    where, row, constants = [], [], b""
    for shard in page.shards:
        place = shard.place.get(column.id)
        if place is None:
            where.append(0)
            row.append(0)
        elif isinstance(place, int):
            where.append(1)
            row.append(0)
            constants += place.to_bytes(8, "little")[: {1: 1, 2: 2, 3: 4, 9: 2, 11: 4}.get(column.dtype, 8)]
        else:
            where.append(2 + next(i for i, file in enumerate(files) if file is place[0]))
            row.append(place[1])
    found = [counts(shard, column) for shard in page.shards]
    m: dict[int, Any] = {
        1: packed(where),
        2: packed(row),
        3: packed([x[0] for x in found]),
        4: packed([x[1] for x in found]),
    }
    if column.ranges:
        m[5] = ranges(column, [shard.rows(column) for shard in page.shards])
    if column.optional:
        m[6] = packed([x[2] for x in found])
    if column.dtype in (9, 10, 11, 12):
        m[7] = packed([x[3] for x in found])
    return replaced(m | ({8: constants} if constants else {}), page.placement_keys.get(column.id, {}))


def plan_content(page: Page, column: Column) -> bytes:
    """Write the content of a plan (8.4)."""
    per_shard = [spans(shard, column, page.one_span) for shard in page.shards]
    flat = [span for found in per_shard for span in found]
    m: dict[int, Any] = {1: column.id, 2: packed([len(found) for found in per_shard])}
    m |= {3 + i: packed([span[i] for span in flat]) for i in range(4)}
    return edited(page.edits, "plan_content", metadata(replaced(m, page.plan_keys)))


def deletions_content(page: Page, column: Column) -> bytes:
    """Write the content of deletions (8.5); every shard has one span or none."""
    runs = [page.deleted.get(s, []) for s in range(len(page.shards))]
    values, left_samples, left_values = [], [], []
    for shard, mine in zip(page.shards, runs, strict=True):
        gone = {row for first, count in mine for row in range(first, first + count)}
        lengths = [len(sample or []) for sample in shard.rows(column)]
        values.append(sum(lengths[row] for row in gone))
        if shard.samples:
            left_samples.append(shard.samples - len(gone))
            left_values.append(sum(lengths) - values[-1])
    flat = [run for mine in runs for run in mine]
    m: dict[int, Any] = {
        1: packed([len(mine) for mine in runs]),
        2: packed([first for first, _ in flat]),
        3: packed([count for _, count in flat]),
        4: packed(values),
        5: packed(left_samples),
        6: packed(left_values),
    }
    return edited(page.edits, "deletions_content", metadata(replaced(m, page.deletion_keys)))


def write_version(version: Version, files: Files) -> None:
    """Write a version and everything that it names into a folder of files."""
    column = primary(version.schema)
    records, inline = b"", b""
    totals = [0, 0, 0]
    for page in version.pages:
        record, ride = _page(page, version, column, files, totals)
        records += record
        inline += ride
    data_files = {file.name: file.data for page in version.pages for file in page_files(page)}
    objects = {
        item.data for page in version.pages for file in page_files(page) for item in file.objects if not item.embedded
    }
    objects |= {item.data for _, item in version.attachments}
    files |= data_files
    files |= {object_name(data): data for data in objects}
    body: dict[int, Any] = {
        1: STORE_ID,
        2: version.number,
        4: bytes([version.number]) * 16,
        5: TIME + version.number,
        6: [c.record() for c in version.schema],
        7: version.next_sample_id,
        8: max([-1, *(c.id for c in version.schema)]) + 1,
        9: [*totals, sum(map(len, data_files.values())), sum(map(len, objects))],
        10: records,
        11: {c.id: column_totals(version, c) for c in version.schema},
        16: [version.verb, version.added],
    }
    if version.number > 1:
        body[3] = version.number - 1
    if version.attachments:
        body[12] = {
            i: [name, digest(item.data), len(item.data), len(item.content)]
            for i, (name, item) in enumerate(version.attachments)
        }
    raw = edited(version.edits, "body", metadata(replaced(body, version.more)))
    out = b"TOKSROOT" + u16(version.major) + u16(version.minor) + b"".join(map(u32, version.features))
    out = edited(version.edits, "root", out + u32(len(raw)) + u32(len(inline)) + raw + inline)
    files[root_name(version.number)] = edited(version.edits, "root+", out + u64(checksum(out)))


def object_name(data: bytes) -> str:
    """Give the path of an object."""
    name = digest(data).hex()
    return f"objects/{name[:2]}/{name}"


def root_name(number: int) -> str:
    """Give the path of a root."""
    return f"manifests/{number:020d}.tsm"


def _page(page: Page, version: Version, column: Column | None, files: Files, totals: list[int]) -> tuple[bytes, bytes]:
    """Write a page with its plan and deletions; give its record and the bytes that ride along."""
    if column is None:
        raise ValueError("a version with pages needs a column")
    raw = wrap(b"TOKSPAGE", page_content(page, [*version.schema, *page.dropped]), page.zstd, page.edits, "page")
    plan = wrap(b"TOKSPLAN", plan_content(page, column), page.zstd, page.edits, "plan")
    gone = (
        wrap(b"TOKSDELS", deletions_content(page, column), page.zstd, page.edits, "deletions") if page.deleted else None
    )
    if not page.inline:
        files[f"pages/{digest(raw).hex()}"] = raw
        files[f"plans/{digest(plan).hex()}"] = plan
    if gone is not None:
        files[f"deletions/{digest(gone).hex()}"] = gone
    samples = sum(shard.samples for shard in page.shards)
    deleted = sum(count for runs in page.deleted.values() for _, count in runs)
    values = sum(counts(shard, column)[0] for shard in page.shards)
    lost = 0
    for s, runs in page.deleted.items():
        rows = page.shards[s].rows(column)
        lost += sum(len(rows[row] or []) for first, count in runs for row in range(first, first + count))
    totals[0] += samples - deleted
    totals[1] += len(page.shards)
    totals[2] += values - lost
    runs_ = [run for shard in page.shards for run in shard.ids]
    ids = (min(first for first, _ in runs_), max(first + count - 1 for first, count in runs_)) if runs_ else (0, 0)
    flags = (3 if page.inline else 0) | (4 if gone is not None else 0)
    record = digest(raw) + digest(plan) + (digest(gone) if gone is not None else bytes(32))
    record += u32(len(raw)) + u32(len(plan)) + u32(len(gone or b"")) + u32(flags)
    record += u64s([samples, deleted, values, *ids])
    record += u32(len(page.shards)) + u32(sum(len(spans(shard, column, page.one_span)) for shard in page.shards))
    return edited(page.edits, "record", record), raw + plan if page.inline else b""


def column_totals(version: Version, column: Column) -> dict[int, Any]:
    """Write the totals of a column (8.1, key 11)."""
    shards = [shard for page in version.pages for shard in page.shards]
    found = [counts(shard, column) for shard in shards]
    m: dict[int, Any] = {key: sum(x[i] for x in found) for key, i in ((1, 0), (2, 1), (4, 2), (5, 3))}
    if column.ranges:
        m[3] = ranges(column, [[sample for shard in shards for sample in shard.rows(column)]])
    return m


def write_store(versions: Sequence[Version], *, latest: int | None = None, more: Files | None = None) -> Files:
    """Write a store folder: the files by their path.

    Args:
        versions: Its versions, oldest first.
        latest: What the hint says; the newest version if not given, no hint for 0.
        more: Further files, or other bytes for some that are written.
    """
    files: Files = {"tokstore.json": json_file({"format": "tokstore", "store": STORE_ID.hex(), "version": "1.0"})}
    for version in versions:
        write_version(version, files)
    hint = versions[-1].number if latest is None else latest
    if hint:
        files["latest"] = json_file({"version": hint})
    return dict(sorted((files | (more or {})).items()))
