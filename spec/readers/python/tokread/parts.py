"""Staged parts: samples or values of a column that wait for a commit (format.md 8.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .contents import Contents
from .failure import require
from .manifest import parse_page, parse_plan, unwrap_bare, unwrap_sealed
from .metadata import fields, parse
from .pages import read_shards
from .parameters import VECTOR
from .schema import Column, parse_schema
from .totals import check_columns

if TYPE_CHECKING:
    from .store import Folder

RULE = "format.md 8.6"
KINDS: dict[int, type] = {1: bytes, 2: int, 3: bytes, 4: bytes, 5: dict, 6: list, 7: bytes, 8: dict}


@dataclass(frozen=True)
class Part:
    """A staged part; `column` is the one that it is for, in a part of a column."""

    nonce: bytes
    begun: int
    contents: Contents
    column: Column | None


def read_part(data: bytes, store: Folder) -> Part:
    """Read a part with its shards, from all bytes of its file and the folder that it lies in."""
    m = fields(parse(unwrap_sealed(data, b"TOKSPART", RULE)), KINDS, (8,), "a part", RULE)
    require(len(m[1]) == 16, "the nonce of a part has 16 bytes", RULE)
    require(m[2] >= 1, "a part was begun in version 0", RULE)
    columns = parse_schema(m[6], "the schema of a part")
    page = parse_page(unwrap_bare(m[3], b"TOKSPAGE"))
    plan = parse_plan(unwrap_bare(m[4], b"TOKSPLAN"), len(page.samples))
    found = Contents(columns, rows={column.name: [] for column in columns})
    totals, _ = read_shards(store, columns, page, plan, None, found)
    for name in found.refused:
        found.rows.pop(name)
    check_columns(columns, m[5], [totals], found, ranged=False)
    require(len(m[7]) % 32 == 0, "the digest of an object of a part is cut", RULE)
    brought = {m[7][at : at + 32] for at in range(0, len(m[7]), 32)}
    require(brought <= set(page.objects), "a part brings an object that its page does not name", RULE)
    column = None
    if 8 in m:
        column = _column(m[8], columns)
        require(len(set(found.sample_ids)) == len(found.sample_ids), "a part has two values of one sample", RULE)
    else:
        require(found.sample_ids == list(range(len(found.sample_ids))), "the ids of a part do not count from 0", RULE)
    return Part(m[1], m[2], found, column)


def _column(record: Any, columns: list[Column]) -> Column:
    """Read the column that a part is for, and compare it with the one that holds its values."""
    (column,) = parse_schema([record], "key 8 of a part")
    require(len(columns) == 1, "a part of a column has other columns", RULE)
    require((column.id, columns[0].id) == (0, 0), "a part of a column gives it an id", RULE)
    held, allowed = columns[0], [column.parameters]
    if column.type == VECTOR:  # values that a commit will round may wait as they were given
        allowed.append({key: column.parameters[key] for key in (1, 2, 3)} | {4: 0})
    require(
        (held.type, held.optional) == (column.type, column.optional) and held.parameters in allowed,
        "a part of a column holds values of another type",
        RULE,
    )
    return column
