"""One page of a version: its shards, checked against their data files (format.md 8.2 to 8.5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import ranges
from .columnfile import ColumnFile, Stored, range_of, samples
from .datafile import DataFile
from .failure import ReadError, Within, require
from .manifest import (
    Deletions,
    Page,
    PageRecord,
    Placement,
    Plan,
    Root,
    parse_deletions,
    parse_page,
    parse_plan,
    unwrap,
)
from .parameters import CATEGORY
from .schema import FLOATS, WIDTH, Column, number_of, primary
from .spans import spans_of
from .values import check_constant

if TYPE_CHECKING:
    from .contents import Contents
    from .store import Folder

RULE = "format.md 8.3"


@dataclass
class ColumnTotals:
    """What the shards of a page add up to in one column (root key 11)."""

    values: int = 0
    stored_bytes: int = 0
    missing: int = 0
    nan: int = 0
    samples: list[list[int]] = field(default_factory=list)


@dataclass
class PageRead:
    """A page after all its shards were read."""

    record: PageRecord
    page: Page
    totals: dict[int, ColumnTotals]
    deleted_values: int


def read_page(store: Folder, record: PageRecord, root: Root, found: Contents) -> PageRead:
    """Read the shards of a page and add their samples to the contents."""
    page = parse_page(
        _part(store, "pages", record.page, b"TOKSPAGE", record.page_digest, record.page_bytes), record.shards
    )
    plan = parse_plan(
        _part(store, "plans", record.plan, b"TOKSPLAN", record.plan_digest, record.plan_bytes),
        record.shards,
        record.spans,
    )
    deletions = None
    if record.flags & 4:
        raw = _part(store, "deletions", None, b"TOKSDELS", record.deletion_digest, record.deletion_bytes)
        deletions = parse_deletions(raw, page.samples, record.spans)
    _check_record(record, page, deletions, root)
    totals, deleted_values = read_shards(store, root.columns, page, plan, deletions, found)
    first = primary(root.columns)
    if first is not None:
        unit = first.width if first.is_known and not first.is_ragged else 1  # values are rows here (7.3)
        require(
            totals[first.id].values == record.values * unit,
            "the page record has another number of values",
            "format.md 8.2",
        )
    return PageRead(record, page, totals, deleted_values)


def read_shards(
    store: Folder, columns: list[Column], page: Page, plan: Plan, deletions: Deletions | None, found: Contents
) -> tuple[dict[int, ColumnTotals], int]:
    """Read the shards of a page and add their samples to the contents.

    Returns:
        What every column adds up to, and the deleted values of the primary one.
    """
    files = [
        store.data_file(page.file_ids[i], columns, page.digests[i], page.file_bytes[i])
        for i in range(len(page.file_ids))
    ]
    for i, file in enumerate(files):
        _check_file(page, i, file)
    totals: dict[int, ColumnTotals] = {}
    shards: dict[int, list[list[list[int] | None] | None]] = {}
    for column in columns:
        totals[column.id] = ColumnTotals()
        shards[column.id] = _column(store, column, page, files, totals[column.id], found)
    first = primary(columns)
    deleted_values = 0
    if first is not None:
        require(plan.primary == first.id, f"the plan is for column {plan.primary}", "format.md 8.4")
        deleted_values = _check_plan(first, page, files, plan, deletions, shards[first.id], found)
    for s in range(len(page.samples)):
        gone = deletions.deleted[s] if deletions else set()
        kept = [row for row in range(page.samples[s]) if row not in gone]
        found.sample_ids += [page.ids[s][row] for row in kept]
        for column in columns:
            part = shards[column.id][s]
            if part is not None:
                found.rows[column.name] += [part[row] for row in kept]
    return totals, deleted_values


def _part(store: Folder, folder: str, inline: bytes | None, magic: bytes, digest: bytes, stored_bytes: int) -> bytes:
    """Read a page, plan or deletions, inline or from a file of its own."""
    name = f"{folder}/{digest.hex()}"
    data = store.load(name, "format.md 8.2") if inline is None else inline
    with Within(name):
        return unwrap(data, magic, digest, stored_bytes)


def _check_record(record: PageRecord, page: Page, deletions: Deletions | None, root: Root) -> None:
    """Check the numbers of a page record that the page and the deletions decide."""
    rule = "format.md 8.2"
    ids = [number for shard in page.ids for number in shard]
    require(sum(page.samples) == record.samples, "the page record has another number of samples", rule)
    low, high = (min(ids), max(ids)) if ids else (0, 0)
    require(
        (record.first_sample_id, record.last_sample_id) == (low, high), "the page record has other sample ids", rule
    )
    require(high < root.body[7] or not ids, "a sample id is not below next_sample_id", "format.md 7.2")
    gone = sum(len(shard) for shard in deletions.deleted) if deletions else 0
    require(gone == record.deleted, "the page record has another number of deleted samples", rule)


def _check_file(page: Page, i: int, file: DataFile) -> None:
    """Check what a page says about a data file."""
    footer = file.footer
    if footer.index_checksum != page.index_checksums[i]:
        raise ReadError("checksum", "the page has another index checksum", RULE)
    said = (page.tail_offsets[i], page.index_offsets[i])
    require((footer.tail_offset, footer.index_offset) == said, "page and footer differ", RULE)
    named = {entry.digest for entry in file.index.objects if not entry.is_embedded}
    require(named == page.objects_of_file[i], f"page and index of {file.file_id.hex()} name other objects", RULE)
    for entry in file.index.objects:
        require(
            entry.is_embedded or page.objects[entry.digest] == entry.stored_bytes,
            "an object has another size in the page",
            RULE,
        )


def _column(
    store: Folder, column: Column, page: Page, files: list[DataFile], totals: ColumnTotals, found: Contents
) -> list[list[list[int] | None] | None]:
    """Read one column of every shard; a shard that cannot be read is None."""
    place = page.placements.get(column.id)
    n = len(page.samples)
    if place is None:
        require(column.optional, f"column {column.name} is absent and not optional", RULE)
        totals.missing += sum(page.samples)
        return [[None] * size for size in page.samples]
    if column.is_known:
        require(
            (place.missing is not None) == column.optional, f"missing counts of {column.name} are there or not", RULE
        )
        require(
            (place.nan is not None) == (column.dtype in FLOATS), f"NaN counts of {column.name} are there or not", RULE
        )
    known = ranges.exactly(place.ranges, n, column) if place.ranges is not None and column.is_known else None
    shards: list[list[list[int] | None] | None] = []
    constants = place.constants
    for s in range(n):
        part: list[list[int] | None] | None
        if place.where[s] >= 2:
            file = files[place.where[s] - 2]
            require(column.id in file.columns, f"a file does not have column {column.name}", RULE)
            part = _from_file(file.columns[column.id], place, s, page.samples[s], found)
            store.take_rows(column.id, file.file_id, place.row[s], page.samples[s])
        elif place.where[s] == 1:
            is_plain = column.is_known and not column.shape and column.type != CATEGORY
            require(is_plain, f"column {column.name} cannot be constant", RULE)
            width = WIDTH[column.dtype]
            require(len(constants) >= width, "a constant is not there", RULE)
            part = [[int.from_bytes(constants[:width], "little")] for _ in range(page.samples[s])]
            constants = constants[width:]
            check_constant(column, part[0] or [] if part else [])
        else:
            require(column.optional or not page.samples[s], f"column {column.name} is absent and not optional", RULE)
            part = [None] * page.samples[s]
        require(
            place.where[s] >= 2 or (place.row[s], place.stored_bytes[s]) == (0, 0),
            "a shard without a file has a place in one",
            RULE,
        )
        shards.append(part)
        totals.values += place.values[s]
        totals.stored_bytes += place.stored_bytes[s]
        totals.missing += place.missing[s] if place.missing else 0
        totals.nan += place.nan[s] if place.nan else 0
        if part is not None and column.is_known:
            _check_shard(column, place, s, part, known, totals)
    require(not constants, "bytes follow the constants", RULE)
    return shards


def _from_file(part: ColumnFile, place: Placement, s: int, size: int, found: Contents) -> list[list[int] | None] | None:
    """Take the rows of a shard out of a data file."""
    first = place.row[s]
    require(first + size <= part.entry.rows, f"a shard ends outside its file in column {part.column.name}", RULE)
    if part.refused is not None:
        found.refused[part.column.name] = part.refused
        return None
    stored = sum(b.stored_bytes for b in part.blocks if first <= b.first_row < first + size)
    require(stored == place.stored_bytes[s], f"the page has another number of stored bytes of {part.column.name}", RULE)
    return samples(part)[first : first + size]


def _check_shard(
    column: Column,
    place: Placement,
    s: int,
    part: list[list[int] | None],
    known: list[ranges.Range] | None,
    totals: ColumnTotals,
) -> None:
    """Compare the counts and the range of a shard with its values."""
    present = [sample for sample in part if sample is not None]
    values = [value for sample in present for value in sample]
    if column.is_ragged or place.where[s] == 0:
        require(place.values[s] == len(values), f"the page has another number of values of {column.name}", RULE)
    else:
        require(
            place.values[s] == len(part) * column.width, f"the page has another number of values of {column.name}", RULE
        )
    if place.missing is not None:
        require(
            place.missing[s] == len(part) - len(present), f"the page has other missing counts of {column.name}", RULE
        )
    if place.nan is not None:
        numbers = [value for sample in present if not isinstance(sample, Stored) for value in sample]
        nan = sum(number_of(value, column.dtype) != number_of(value, column.dtype) for value in numbers)
        require(place.nan[s] == nan, f"the page has other NaN counts of {column.name}", RULE)
    if known is not None:
        ranges.check(known[s], range_of(column, present, values), f"shard {s} of {column.name}")
    totals.samples += present


def _check_plan(
    first: Column,
    page: Page,
    files: list[DataFile],
    plan: Plan,
    deletions: Deletions | None,
    shards: list[list[list[int] | None] | None],
    found: Contents,
) -> int:
    """Compare the plan with the blocks, and what deletions leave; return the deleted values."""
    at = deleted_values = 0
    place = page.placements.get(first.id)
    for s, n in enumerate(plan.spans):
        said = list(zip(plan.blocks, plan.samples, plan.values, plan.lead, strict=True))[at : at + n]
        if place is None or place.where[s] < 2:
            expected = [(0, page.samples[s], 0, 0)] if page.samples[s] else []
        else:
            part = files[place.where[s] - 2].columns[first.id]
            is_whole = (place.row[s], page.samples[s]) == (0, part.entry.rows)
            require(is_whole, f"shard {s} has some rows of the file of its primary column", RULE)
            expected = spans_of(part)
        require(said == expected, f"the plan of shard {s} differs from its blocks", "format.md 8.4")
        found.spans.append(said)
        part_of = shards[s]
        if deletions is not None and part_of is not None:
            deleted_values += _check_left(first, deletions, s, at, said, part_of)
        at += n
    return deleted_values


def _check_left(
    first: Column,
    deletions: Deletions,
    s: int,
    at: int,
    spans: list[tuple[int, int, int, int]],
    part: list[list[int] | None],
) -> int:
    """Check what deletions leave of every span of a shard; return the deleted values of the shard."""
    rule = "format.md 8.5"
    lengths = [len(sample or []) if first.is_ragged else 1 for sample in part]
    gone = deletions.deleted[s]
    total = sum(lengths[row] for row in gone)
    require(deletions.values[s] == total, "deletions count other values", rule)
    row = value = 0
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    for i, (_, begins, values, _) in enumerate(spans):
        lost = sum(max(0, min(starts[r] + lengths[r], value + values) - max(starts[r], value)) for r in gone)
        left = sum(1 for r in range(row, row + begins) if r not in gone)
        require(deletions.samples_left[at + i] == left, "deletions leave other samples in a span", rule)
        require(deletions.values_left[at + i] == values - lost, "deletions leave other values in a span", rule)
        row += begins
        value += values
    return total
