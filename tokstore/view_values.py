"""One value of every sample of a view, for choosing: numbers, lengths, sample ids, texts, presence.

Read in the order of the version, whatever the order of the view, so that every block is decoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.packed import Ints
from tokstore.reading import read_lengths, read_rows
from tokstore.schema import Column
from tokstore.selection import Selection
from tokstore.version import ShardRows, Version
from tokstore.where import Field
from tokstore.where.fields import CATEGORY, ID, LENGTH

__all__ = ["field_texts", "field_values", "missing_rows"]

_ROWS_AT_ONCE, _TEXTS_AT_ONCE = 1 << 20, 1 << 16
Bools = NDArray[np.bool_]


def missing_rows(version: Version, column: Column, groups: Sequence[ShardRows]) -> Bools:
    """Return for rows of shards whether a column is missing; nothing is decoded."""
    version.open_files([(group.page, group.shard) for group in groups], [column])
    parts = [np.zeros(0, bool)]
    for group in groups:
        place = version.place_of(group.page, group.shard, column)
        if place.file is None:
            parts.append(np.full(len(group.rows), place.constant is None))
            continue
        place.file.check_layout(column.column_id, column.type)
        valid = place.file.rows(column.column_id).valid
        rows = group.rows + place.first_row
        parts.append(np.zeros(len(rows), bool) if valid is None else ~valid[rows])
    return np.concatenate(parts)


def field_values(
    version: Version, chosen: Selection | None, order: Ints | None, field: Field
) -> tuple[NDArray[Any], Bools]:
    """Return the number that every sample has in a field, and which are missing.

    Args:
        version: Where the samples are.
        chosen: Which of them; ``None`` for all.
        order: Their positions in view order; ``None`` where that is ascending.
        field: A field of numbers.
    """

    def read(groups: list[ShardRows]) -> tuple[NDArray[Any], Bools]:
        count = sum(len(group.rows) for group in groups)
        column = field.column
        if field.kind == ID or column is None:
            ids = [version.sample_ids(group) for group in groups]
            return np.concatenate([np.zeros(0, np.int64), *ids]), np.zeros(count, bool)
        if field.kind == LENGTH:
            return read_lengths(version, column, groups) // column.type.width, missing_rows(version, column, groups)
        rows = read_rows(version, [column], groups)[column.name]
        return rows.values, np.zeros(count, bool) if rows.valid is None else ~rows.valid

    parts = _read_all(version, chosen, _ROWS_AT_ONCE, read)
    values, missing = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    if order is None:
        return values, missing
    ranks = order if chosen is None else chosen.count_below(order)
    return values[ranks], missing[ranks]


def field_texts(
    version: Version, chosen: Selection | None, order: Ints | None, field: Field
) -> tuple[list[bytes], Bools]:
    """Return the text that every sample has in a field, as UTF-8, and which are missing; see `field_values`."""
    column = field.column
    if not field.is_text or column is None:
        raise TypeError(f"{field.name} is no text")

    def read(groups: list[ShardRows]) -> tuple[list[bytes], Bools]:
        rows = read_rows(version, [column], groups)[column.name]
        missing = np.zeros(rows.rows, bool) if rows.valid is None else ~rows.valid
        if field.kind == CATEGORY:
            return [b"" if one is None else one.encode() for one in rows.values.tolist()], missing
        lengths = np.zeros(0, np.int64) if rows.lengths is None else rows.lengths
        data, ends = rows.values.tobytes(), np.cumsum(lengths).tolist()
        return [data[a:b] for a, b in zip([0, *ends], ends, strict=False)], missing

    parts = _read_all(version, chosen, _TEXTS_AT_ONCE, read)
    texts = [text for part, _ in parts for text in part]
    missing = np.concatenate([part[1] for part in parts])
    if order is None:
        return texts, missing
    ranks = order if chosen is None else chosen.count_below(order)
    return [texts[i] for i in ranks.tolist()], missing[ranks]


def _read_all(
    version: Version, chosen: Selection | None, rows: int, read: Callable[[list[ShardRows]], tuple[Any, Bools]]
) -> list[tuple[Any, Bools]]:
    """Return what reading gives of all samples in the order of the version, some at a time; at least one part."""
    count = len(version) if chosen is None else len(chosen)
    parts = []
    for first in range(0, max(count, 1), rows):
        places = np.arange(first, min(first + rows, count))
        parts.append(read(version.locate(places if chosen is None else chosen.at(places))))
    return parts
