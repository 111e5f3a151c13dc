"""How many blocks of a column hold values of some samples, and what they take: the cost of reading, from tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tokstore.packed import Ints
from tokstore.pieces import row_intervals
from tokstore.schema import Column
from tokstore.version import ShardRows, Version

__all__ = ["Touched", "block_edges", "touched_blocks"]


class Touched(NamedTuple):
    """Blocks that hold values of samples.

    Attributes:
        blocks: How many.
        nbytes: Bytes that they take in their files.
        values: Values of the samples.
    """

    blocks: int
    nbytes: int
    values: int


def touched_blocks(version: Version, column: Column, groups: Sequence[ShardRows]) -> Touched:
    """Count the blocks of a ragged column that hold values of rows; nothing is decoded.

    Args:
        version: Where they are.
        column: Which column.
        groups: Ascending rows, shard by shard, as `Version.locate` gives them.
    """
    version.open_files([(group.page, group.shard) for group in groups], [column])
    blocks = nbytes = values = 0
    for group in groups:
        first, end, _, file, _ = row_intervals(version, column, group, 0, None)
        full = np.flatnonzero(end > first)
        if file is None or not len(full):
            continue
        table = file.table(column.column_id, column.type)
        edges = np.zeros(len(table.value_starts) + 1, np.int64)
        np.add.at(edges, np.searchsorted(table.value_starts, first[full], side="right") - 1, 1)
        np.add.at(edges, np.searchsorted(table.value_starts, end[full], side="left"), -1)
        held = np.flatnonzero(np.cumsum(edges))
        blocks += len(held)
        nbytes += int(table.stored_bytes[held].sum())
        values += int((end - first).sum())
    return Touched(blocks, nbytes, values)


def block_edges(version: Version, column: Column, groups: Sequence[ShardRows]) -> Ints:
    """Return where blocks of a column begin, as indices into the rows of the groups: good places to end a batch."""
    parts = [np.zeros(0, np.int64)]
    for group in groups:
        place = version.place_of(group.page, group.shard, column)
        if place.file is not None and len(group.rows):
            table = place.file.table(column.column_id, column.type)
            first = np.searchsorted(group.rows, table.first_row - place.first_row)
            parts.append(first[(first > 0) & (first < len(group.rows))] + int(group.at[0]))
    return np.concatenate(parts)
