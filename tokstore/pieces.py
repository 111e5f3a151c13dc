"""What has to be decoded of a column: where wanted rows lie in their file, and where values go (format.md 8.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.block import BlockTable
from tokstore.codecs.contract import BlockDecoder
from tokstore.decoders import VectorBlocks
from tokstore.errors import CorruptError
from tokstore.packed import Ints
from tokstore.schema import Column
from tokstore.shard import DataFile
from tokstore.version import ShardRows, Version

__all__ = ["Piece", "row_intervals"]


@dataclass(frozen=True)
class Piece:
    """The rows of one shard that are wanted of one column, or of one group of its dimensions.

    Attributes:
        v0, v1: First value of every row among those of the blocks, and the end of its last one.
        out: Where the first value of every row goes.
        starts: First value of every block, with the end of the last.
        group, groups: Which of the dimension groups it is, and how many there are: block i is block
            ``group + i * groups`` of the column.
        vectors: Decodes blocks of different groups together, where that is faster.
        together: Blocks that one thread decodes in one go: half a million tokens.
    """

    file: DataFile
    column: Column
    table: BlockTable
    decoder: BlockDecoder
    v0: Ints
    v1: Ints
    out: Ints
    target: NDArray[Any]
    starts: Ints
    group: int = 0
    groups: int = 1
    vectors: VectorBlocks | None = None
    together: int = 16


def row_intervals(
    version: Version, column: Column, group: ShardRows, start: int, stop: int | None
) -> tuple[Ints, Ints, NDArray[np.bool_] | None, DataFile | None, bytes | None]:
    """Return where the values of rows lie in their file, and which rows are there."""
    place = version.place_of(group.page, group.shard, column)
    count = len(group.rows)
    if place.file is None:
        present = place.constant is not None
        v0 = np.zeros(count, np.int64)
        return v0, v0, np.full(count, present), None, place.constant
    place.file.check_column(column.column_id, column.type)
    section = place.file.rows(column.column_id)
    rows = group.rows + place.first_row
    width = column.type.width
    if section.starts is None:
        valid = None if section.valid is None else section.valid[rows]
        return rows * width, (rows + 1) * width, valid, place.file, None
    v0, v1, valid = _bounds(section.starts, section.valid, rows)
    if width > 1 and ((v1 - v0) % width).any():
        raise CorruptError("a row ends inside an item", path=place.file.place.path, rule="format.md 4.4")
    if start or stop is not None:
        end = v1 if stop is None else np.minimum(v0 + stop, v1)
        v0 = np.minimum(v0 + start, v1)
        v1 = np.maximum(v0, end)
    return v0, v1, valid, place.file, None


def _bounds(starts: Ints, valid: NDArray[np.bool_] | None, rows: Ints) -> tuple[Ints, Ints, NDArray[np.bool_] | None]:
    """Return where ascending rows begin and end, and which are there; of rows in a row without a copy."""
    first, count = int(rows[0]) if len(rows) else 0, len(rows)
    if count and int(rows[-1]) - first == count - 1:
        stop = first + count
        return starts[first:stop], starts[first + 1 : stop + 1], None if valid is None else valid[first:stop]
    return starts[rows], starts[rows + 1], None if valid is None else valid[rows]
