"""What a root says in numbers, compared with what was read (format.md 8.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import ranges
from .columnfile import range_of
from .failure import require
from .manifest import Root
from .metadata import fields
from .pages import ColumnTotals, PageRead
from .schema import Column

if TYPE_CHECKING:
    from .contents import Contents

RULE = "format.md 8.1"


def check_totals(root: Root, pages: list[PageRead], found: Contents, file_bytes: int, object_bytes: int) -> None:
    """Check keys 9 and 11 of the body."""
    samples = sum(page.record.samples - page.record.deleted for page in pages)
    values = sum(page.record.values - page.deleted_values for page in pages)
    expected = [samples, sum(page.record.shards for page in pages), values, file_bytes, object_bytes]
    said = root.body[9]
    if not found.refused:
        require(said == expected, f"the totals are {said}, the parts add up to {expected}", RULE)
    check_columns(root.columns, root.body[11], [page.totals for page in pages], found, ranged=True)


def check_columns(
    columns: list[Column],
    table: dict[int, Any],
    pages: list[dict[int, ColumnTotals]],
    found: Contents,
    *,
    ranged: bool,
) -> None:
    """Check totals per column; only those of a root may have ranges (8.6)."""
    require(sorted(table) == [column.id for column in columns], "totals per column and schema differ", RULE)
    for column in columns:
        mine = [totals[column.id] for totals in pages]
        _check_column(column, table[column.id], mine, column.name in found.refused, ranged)


def _check_column(column: Column, value: Any, mine: list[ColumnTotals], refused: bool, ranged: bool) -> None:
    known: dict[int, type] = {1: int, 2: int, 4: int, 5: int} | ({3: bytes} if ranged else {})
    m = fields(value, known, (3,), f"the totals of {column.name}", RULE)
    said = (m[1], m[2], m[4], m[5])
    expected = tuple(sum(getattr(t, name) for t in mine) for name in ("values", "stored_bytes", "missing", "nan"))
    require(said == expected, f"the totals of {column.name} are {said}, the pages add up to {expected}", RULE)
    if not column.is_known:
        return
    if 3 in m and not refused:
        group = [sample for t in mine for sample in t.samples]
        expected_range = range_of(column, group, [x for sample in group for x in sample])
        ranges.check(ranges.exactly(m[3], 1, column)[0], expected_range, column.name)
