"""One column of one data file: table, rows section, blocks, values (format.md 4.3 to 4.5, 10)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from . import codecs, ranges
from .conventions import (
    ROWS_BLOCK,
    TABLE_BLOCK,
    bits,
    check_sum,
    digest,
    integer_bytes,
    packed,
    seed,
    u64s,
)
from .entries import GROUPS, OPTIONAL, RAGGED, RANGES, ROWS_ZSTD, TABLE_ZSTD, Entry
from .failure import ReadError, require
from .frame import content
from .objects import Object, RankTable
from .parameters import BIT, CATEGORY, SCORE, TEXT, TOKENS, VECTOR
from .schema import FLOATS, KNOWN_CODECS, WIDTH, Column, check_dtype, number_of
from .values import RULE, check_sample, check_values
from .vectors import VectorModel


@dataclass(frozen=True)
class Block:
    """One line of the table (4.5)."""

    offset: int
    stored_bytes: int
    values: int
    first_row: int
    form: int
    checksum: int
    missing: int
    nan: int


@dataclass
class ColumnFile:
    """What one data file says about one column."""

    column: Column
    entry: Entry
    refused: str | None
    blocks: list[Block] = field(default_factory=list)
    ranges: list[ranges.Range] | None = None
    lengths: list[int] = field(default_factory=list)
    present: list[bool] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    categories: list[bytes] = field(default_factory=list)
    model: VectorModel | None = None

    @property
    def is_turned(self) -> bool:
        """Say whether the values are stored integers of vectors (codecs.md 6)."""
        return self.entry.codec == codecs.VECTORS

    @property
    def runs(self) -> list[Block]:
        """Give the blocks, with those of all groups over the same rows as one (4.3)."""
        groups = len(self.column.groups) if self.column.is_known else 1
        runs = [self.blocks[at : at + groups] for at in range(0, len(self.blocks), groups)]
        return [replace(run[0], values=sum(block.values for block in run)) for run in runs]

    @property
    def starts(self) -> list[int]:
        """Give the number of the first value of every row, and one more."""
        found = [0]
        for length in self.lengths:
            found.append(found[-1] + length)
        return found

    def block_of_row(self) -> list[int | None]:
        """Give the block, or the run of blocks, in which every row begins (4.5); None where there are none."""
        ends: list[int] = []
        for block in self.runs:
            ends.append(block.values + (ends[-1] if ends else 0))
        found: list[int | None] = []
        b = 0
        for start in self.starts[:-1]:
            while b < len(ends) - 1 and start >= ends[b]:
                b += 1
            found.append(b if ends else None)
        return found


def why_refused(column: Column, entry: Entry) -> str | None:
    """Say why the values of a column cannot be read, if so (6.1, 12.2)."""
    if entry.required:
        return f"column {column.name} needs features {entry.required:#010x}"
    if not column.is_known:
        return f"column {column.name} has type {column.type}"
    if entry.codec not in column.codecs:
        return f"column {column.name} has codec {entry.codec}, which this reader does not know for type {column.type}"
    return None


def open_column(data: bytes, nonce: int, column: Column, entry: Entry) -> ColumnFile:
    """Read table and rows section, which is all but the values."""
    found = ColumnFile(column, entry, why_refused(column, entry))
    if entry.required:
        return found
    if column.is_known:
        check_dtype(column, entry.dtype)
        require(
            bool(entry.flags & RAGGED) == column.is_ragged,
            f"column {column.name} and its type differ in shape",
            "format.md 4.7",
        )
        require(
            bool(entry.flags & GROUPS) == (len(column.groups) > 1),
            f"column {column.name} and its type differ in groups",
            "format.md 4.7",
        )
        require(
            not entry.flags & RANGES or (column.dtype != BIT and column.type not in (CATEGORY, VECTOR)),
            f"column {column.name} has ranges",
            "format.md 4.5",
        )
        require(column.optional or not entry.flags & OPTIONAL, f"column {column.name} is not optional", "format.md 4.7")
    _rows_section(data, nonce, found)
    _table(data, nonce, found)
    _check_counts(found)
    return found


def _part(
    data: bytes, nonce: int, entry: Entry, part: tuple[int, int, int, int], block: int, zstd: bool, what: str
) -> bytes:
    """Read a table or a rows section as its entry describes it."""
    offset, stored_bytes, content_bytes, stored_checksum = part
    raw = data[offset : offset + stored_bytes]
    check_sum(raw, seed(nonce, entry.column_id, block), stored_checksum, what, "format.md 4.7", offset)
    return content(raw, zstd, content_bytes, f"the {what}")


def _rows_section(data: bytes, nonce: int, found: ColumnFile) -> None:
    """Read lengths and presence (4.4)."""
    entry, rule = found.entry, "format.md 4.4"
    found.lengths = [found.column.width if found.column.is_known and not found.column.is_ragged else 1] * entry.rows
    found.present = [True] * entry.rows
    if not entry.flags & (RAGGED | OPTIONAL):
        return
    raw = _part(data, nonce, entry, entry.rows_section, ROWS_BLOCK, bool(entry.flags & ROWS_ZSTD), "rows section")
    at = 0
    if entry.flags & RAGGED:
        found.lengths, at = packed(raw, 0, entry.rows)
    if entry.flags & OPTIONAL:
        found.present = bits(raw[at:], entry.rows, "validity", rule)
        at = len(raw)
    require(at == len(raw), "bytes follow the lengths", rule)
    if entry.flags & RAGGED:
        width = found.column.width if found.column.is_known else 1
        for length, there in zip(found.lengths, found.present, strict=True):
            require(there or length == 0, "a missing row has a length", rule)
            require(length % width == 0, f"a row of {length} values ends inside an item of {width}", rule)


def _table(data: bytes, nonce: int, found: ColumnFile) -> None:
    """Read the table (4.5)."""
    entry, n = found.entry, found.entry.blocks
    raw = _part(data, nonce, entry, entry.table, TABLE_BLOCK, bool(entry.flags & TABLE_ZSTD), "table")
    offsets, at = packed(raw, 0, n)
    stored, at = packed(raw, at, n)
    values, at = packed(raw, at, n, 1, 2**20)
    first_rows, at = packed(raw, at, n)
    forms, at = packed(raw, at, n, 0, 255)
    require(at + 8 * n <= len(raw), "the checksums do not fit in the table", "format.md 4.5")
    sums = u64s(raw[at : at + 8 * n])
    at += 8 * n
    missing = nan = [0] * n
    if entry.flags & OPTIONAL:
        missing, at = packed(raw, at, n)
    if entry.dtype in FLOATS:
        nan, at = packed(raw, at, n)
    if found.column.is_known:
        if entry.flags & RANGES:
            found.ranges, at = ranges.parse(raw, at, n, found.column)
        require(at == len(raw), "bytes follow the table", "format.md 4.5")
    found.blocks = [
        Block(*line) for line in zip(offsets, stored, values, first_rows, forms, sums, missing, nan, strict=True)
    ]


def _check_counts(found: ColumnFile) -> None:
    """Check what can be checked without the values."""
    entry, blocks = found.entry, found.blocks
    require(
        sum(b.stored_bytes for b in blocks) == entry.stored_bytes,
        "stored_bytes of the blocks do not add up",
        "format.md 4.7",
    )
    require(sum(b.values for b in blocks) == entry.values, "the values of the blocks do not add up", "format.md 4.5")
    if found.column.is_known:
        require(sum(found.lengths) == entry.values, "the lengths do not add up to the values", "format.md 4.4")
        _check_runs(found)
    for block in blocks:
        if entry.codec in KNOWN_CODECS:
            codecs.packing(block.form)


def _check_runs(found: ColumnFile) -> None:
    """Check that blocks hold whole rows or items, and what the table says of rows (4.3, 4.5)."""
    blocks, sizes = found.blocks, [end - first for first, end in found.column.groups]
    groups = len(sizes)
    require(len(blocks) % groups == 0, f"{len(blocks)} blocks are no runs of {groups}", "format.md 4.3")
    for number, block in enumerate(blocks):
        size = sizes[number % groups]
        require(block.values % size == 0, f"a block of {block.values} values ends inside {size}", "format.md 4.3")
        first = number - number % groups
        require(
            block.values // size == blocks[first].values // sizes[0],
            "the blocks of a run hold different rows",
            "format.md 4.3",
        )
    for run in found.runs:
        require(run.values <= 2**20, f"the blocks of a run have {run.values} values", "format.md 11")
    starts, row, value = found.starts, 0, 0
    missing = [0] * len(found.runs)
    for b, there in zip(found.block_of_row(), found.present, strict=True):
        if b is not None and not there:
            missing[b] += 1
    for number, run in enumerate(found.runs):
        while starts[row + 1] <= value:
            row += 1
        value += run.values
        for block in blocks[number * groups : (number + 1) * groups]:
            require(
                block.first_row == row, f"a block says its first row is {block.first_row}, it is {row}", "format.md 4.5"
            )
            require(
                block.missing == missing[number],
                "the missing rows of a block are other than its table says",
                "format.md 4.5",
            )


def read_values(data: bytes, nonce: int, found: ColumnFile, item: Object | None) -> None:
    """Decode every block, and check ids, classes, text, counts, ranges and the values digest.

    Args:
        data: The whole file.
        nonce: The number that seeds its checksums.
        found: The column; gets its `values`.
        item: The object of the column, if it has one.
    """
    entry, column = found.entry, found.column
    if found.refused is not None:
        raise ReadError("unsupported", found.refused, "format.md 6.1")
    extra = codecs.extra_of(column, entry.codec, entry.blocks, item)
    if isinstance(extra, RankTable):
        require(
            column.type != TOKENS or all(i < column.parameters[1] for i in extra.ids),
            "a rank table has an id above the vocabulary",
            "codecs.md 2.1",
        )
    if isinstance(extra, list):
        found.categories = extra
    if isinstance(extra, VectorModel):
        found.model = extra
    parts: list[list[int]] = []
    for number, block in enumerate(found.blocks):
        raw = data[block.offset : block.offset + block.stored_bytes]
        check_sum(
            raw,
            seed(nonce, entry.column_id, number),
            block.checksum,
            f"block {number} of {column.name}",
            "format.md 4.5",
            block.offset,
        )
        group = column.groups[number % len(column.groups)]
        values = codecs.decode(column, entry.codec, group, block.form, block.values, raw, extra)
        check_values(column, values, len(found.categories))
        if entry.dtype in FLOATS:
            nans = 0
            if not found.is_turned:
                nans = sum(number_of(value, entry.dtype) != number_of(value, entry.dtype) for value in values)
            require(nans == block.nan, f"a block has {nans} NaN, its table says {block.nan}", "format.md 4.5")
            if column.type == SCORE:
                require(nans == 0 or column.optional, f"column {column.name} is not optional and has NaN", RULE)
        parts.append(values)
        if len(parts) == len(column.groups):
            found.values += _join_groups(column, parts)
            parts = []
    if not column.is_ragged:
        starts = found.starts
        for row, there in enumerate(found.present):
            is_zero = not any(found.values[starts[row] : starts[row + 1]])
            require(there or found.is_turned or is_zero, "the value of a missing row is not zero", "format.md 4.4")
    for sample in samples(found):
        if sample is not None:
            check_sample(column, sample)
    _check_ranges(found)
    if found.is_turned:
        canonical = integer_bytes([value % 2**32 for value in found.values], 4)
    else:
        canonical = integer_bytes(found.values, WIDTH[entry.dtype])
    if entry.flags & RAGGED:
        canonical += integer_bytes(found.lengths, 8)
    if entry.flags & OPTIONAL:
        canonical += bytes(
            sum(there << i for i, there in enumerate(found.present[at : at + 8])) for at in range(0, entry.rows, 8)
        )
    if digest(canonical) != entry.values_digest:
        raise ReadError("checksum", f"the values digest of {column.name} differs", "format.md 10")


def _join_groups(column: Column, parts: list[list[int]]) -> list[int]:
    """Put the values of a run of blocks in the order of rows."""
    sizes = [end - first for first, end in column.groups]
    rows = len(parts[0]) // sizes[0]
    found = []
    for row in range(rows):
        for size, part in zip(sizes, parts, strict=True):
            found += part[row * size : (row + 1) * size]
    return found


class Stored(list[int]):
    """The stored integers of a vector, no bit patterns; `model` says what they stand for."""

    def __init__(self, integers: list[int], model: VectorModel) -> None:
        super().__init__(integers)
        self.model = model


def samples(found: ColumnFile) -> list[list[int] | None]:
    """Cut the values into samples; a missing one is None, that of a category the bytes of its name."""
    if found.column.type == CATEGORY:
        pairs = zip(found.values, found.present, strict=True)
        return [list(found.categories[value]) if there else None for value, there in pairs]
    starts = found.starts
    rows = [found.values[starts[i] : starts[i + 1]] if there else None for i, there in enumerate(found.present)]
    model = found.model
    return rows if model is None else [None if row is None else Stored(row, model) for row in rows]


def _check_ranges(found: ColumnFile) -> None:
    """Compute the range of every block and compare."""
    if found.ranges is None:
        return
    groups: list[list[list[int]]] = [[] for _ in found.runs]
    for sample, b in zip(samples(found), found.block_of_row(), strict=True):
        if b is not None and sample is not None:
            groups[b].append(sample)
    at = 0
    for b, block in enumerate(found.runs):
        expected = range_of(found.column, groups[b], found.values[at : at + block.values])
        ranges.check(found.ranges[b], expected, f"block {b} of {found.column.name}")
        at += block.values


def range_of(column: Column, group: list[list[int]], values: list[int]) -> ranges.Range:
    """Compute the range of a group: of samples for text, of values for ragged numbers, else of present rows."""
    if column.type == TEXT:
        return ranges.of_text([bytes(sample) for sample in group])
    if column.is_ragged:
        return ranges.of_numbers(values, column.dtype)
    return ranges.of_numbers([value for sample in group for value in sample], column.dtype)
