"""Rows of columns that are read past what is corrupt: a value that cannot be read is as a missing one.

For readers that go on whatever becomes of some values, and whose columns are not needed to tell where others belong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tokstore.block import ColumnRows
from tokstore.column_types import Vector
from tokstore.deliver import result_dtype
from tokstore.errors import CorruptError, MissingFileError
from tokstore.losses import Lost, LostBlock
from tokstore.reading import is_pruned, read_rows
from tokstore.schema import Column
from tokstore.touched import block_edges
from tokstore.version import ShardRows, Version

__all__ = ["read_lossy_rows"]

Bools = NDArray[np.bool_]


def read_lossy_rows(
    version: Version, column: Column, groups: Sequence[ShardRows]
) -> tuple[ColumnRows, list[LostBlock]]:
    """Read the rows of one column; rows that cannot be read are not valid, and empty where rows have lengths.

    Args:
        version: Where they are.
        column: The column.
        groups: Ascending rows, shard by shard.

    Returns:
        The rows, and what could not be read. Where the whole of a file cannot, that is its block 0.

    Raises:
        MissingFileError: The whole version was removed.
    """
    found: list[ColumnRows] = []
    blocks: list[LostBlock] = []
    for group in groups:
        # Alone: the rows of the result are counted from its first one.
        alone = replace(group, at=np.arange(len(group.rows)))
        try:
            if isinstance(column.type, Vector):
                found += _vectors(version, column, alone, blocks)
                continue
            lost = Lost()
            rows = read_rows(version, [column], [alone], lost=lost)[column.name]
            mask = lost.mask(len(rows.values))
            blocks += lost.blocks
            found.append(rows if mask is None else _without(rows, _rows_with(rows, mask)))
        except (CorruptError, MissingFileError) as error:
            if is_pruned(version, error):
                raise
            found.append(_nothing(column, len(alone.rows)))
            blocks.append(_block(column, 0, error))
    return _joined(column, found), blocks


def _vectors(version: Version, column: Column, group: ShardRows, blocks: list[LostBlock]) -> list[ColumnRows]:
    """Read vectors of one shard, block by block where some cannot be read."""
    try:
        return [read_rows(version, [column], [group])[column.name]]
    except CorruptError:
        edges = np.unique([0, *block_edges(version, column, [group]), len(group.rows)]).tolist()
    found = []
    for a, b in pairwise(edges):
        part = replace(group, rows=group.rows[a:b], at=np.arange(b - a))
        try:
            found.append(read_rows(version, [column], [part])[column.name])
        except CorruptError as error:
            found.append(_nothing(column, b - a))
            blocks.append(_block(column, _block_at(version, column, part), error))
    return found


def _block_at(version: Version, column: Column, group: ShardRows) -> int:
    """Return the block that has the first row of a group."""
    place = version.place_of(group.page, group.shard, column)
    if place.file is None:
        return 0
    table = place.file.table(column.column_id, column.type)
    return int(np.searchsorted(table.first_row, group.rows[0] + place.first_row, side="right")) - 1


def _block(column: Column, number: int, error: CorruptError | MissingFileError) -> LostBlock:
    """Return what is told of an error."""
    return LostBlock(error.path or "", column.name, number, f"{error.message} ({error.rule})")


def _rows_with(rows: ColumnRows, mask: Bools) -> Bools:
    """Return which rows have a value that is lost."""
    if rows.lengths is None:
        return np.asarray(mask.reshape(-1, rows.width).any(axis=1), bool)
    ends = np.cumsum(rows.lengths)
    before = np.append(0, np.cumsum(mask))
    return np.asarray(before[ends] > before[ends - rows.lengths])


def _without(rows: ColumnRows, lost: Bools) -> ColumnRows:
    """Return rows of which some are missing."""
    valid = ~lost if rows.valid is None else rows.valid & ~lost
    if rows.lengths is None:
        rows.values.reshape(-1, rows.width)[lost] = 0
        return ColumnRows(rows.values, None, valid, rows.width)
    lengths = np.where(lost, 0, rows.lengths)
    return ColumnRows(rows.values[np.repeat(~lost, rows.lengths)], lengths, valid, rows.width)


def _nothing(column: Column, count: int) -> ColumnRows:
    """Return so many rows that are missing."""
    kind, dtype, valid = column.type, result_dtype(column), np.zeros(count, bool)
    if kind.ragged:
        return ColumnRows(np.zeros(0, dtype), np.zeros(count, np.int64), valid)
    return ColumnRows(np.zeros(count * kind.width, dtype), None, valid, kind.width)


def _joined(column: Column, parts: list[ColumnRows]) -> ColumnRows:
    """Return rows one after another."""
    if not parts:
        return _nothing(column, 0)
    values = np.concatenate([one.values for one in parts])
    lengths = [one.lengths for one in parts if one.lengths is not None]
    width = parts[0].width
    counts = [len(one.values) // one.width if one.lengths is None else len(one.lengths) for one in parts]
    valid = None
    if any(one.valid is not None for one in parts):
        valid = np.concatenate(
            [np.ones(n, bool) if one.valid is None else one.valid for one, n in zip(parts, counts, strict=True)]
        )
    return ColumnRows(values, np.concatenate(lengths) if lengths else None, valid, width)
