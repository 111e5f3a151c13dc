"""Rows of vectors: only the groups of dimensions that are wanted are fetched and decoded (format.md 4.3, codecs.md 6).

Every group of a shard is a piece of its own, so that they are read like columns of fixed shape; what they hold is put
together, and turned back where a model turned it, when all blocks are decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.block import ColumnRows
from tokstore.column_types import Vector
from tokstore.decoders import VectorBlocks
from tokstore.packed import Ints
from tokstore.pieces import Piece, row_intervals
from tokstore.schema import Column
from tokstore.version import ShardRows, Version

__all__ = ["VectorReading"]


class VectorReading:
    """The rows of one column of vectors that are wanted.

    Args:
        version: Where they are.
        column: The column.
        groups: Ascending rows, shard by shard.
        dims: Only so many of the first dimensions; ``None`` for all.

    Attributes:
        pieces: What has to be decoded before `finish`.
    """

    def __init__(self, version: Version, column: Column, groups: Sequence[ShardRows], dims: int | None) -> None:
        kind = column.type
        if not isinstance(kind, Vector):
            raise TypeError(f"column {column.name!r} has no vectors")
        if dims is not None and not 1 <= dims <= kind.dim:
            raise ValueError(f"dims is 1 to {kind.dim} for column {column.name!r}, not {dims}")
        self.column, self._kind, self._dims = column, kind, dims
        self.pieces: list[Piece] = []
        self._parts: list[tuple[slice, VectorBlocks, list[NDArray[Any]]]] = []
        self._rows = sum(len(group.rows) for group in groups)
        self._valid = np.ones(self._rows, bool)
        self._is_whole = True
        at = 0
        for group in groups:
            _, _, valid, file, _ = row_intervals(version, column, group, 0, None)
            part = slice(at, at + len(group.rows))
            at = part.stop
            if valid is not None:
                self._valid[part] = valid
            if file is None:
                self._is_whole = False
                continue
            rows = group.rows + version.place_of(group.page, group.shard, column).first_row
            blocks = version.decoder(file, column)
            if not isinstance(blocks, VectorBlocks):
                raise TypeError(f"column {column.name!r} has no decoder of vectors")
            table, targets = file.table(column.column_id, kind), []
            edges = np.append(table.first_row[:: len(kind.ends)], file.rows_count)
            begin = 0
            for number, end in enumerate(kind.ends):
                if dims is not None and begin >= dims:
                    break
                width, begin = end - begin, end
                target = np.zeros(len(rows) * width, blocks.stored_dtype)
                out: Ints = np.arange(len(rows)) * width
                v0, v1 = rows * width, (rows + 1) * width
                decoder = blocks.of_group(number)
                joint, groups_of = (blocks if blocks.is_joint else None), len(kind.ends)
                self.pieces.append(
                    Piece(
                        file, column, table, decoder, v0, v1, out, target, edges * width, number, groups_of, joint, 64
                    )
                )
                targets.append(target.reshape(-1, width))
            self._parts.append((part, blocks, targets))

    def finish(self) -> ColumnRows:
        """Return the rows, once all pieces are decoded; those that are missing hold zeros."""
        kind = self._kind
        width = kind.dim if self._dims is None else self._dims
        values = np.zeros((self._rows, width), kind.dtype)
        for part, blocks, targets in self._parts:
            found = targets[0] if len(targets) == 1 else np.concatenate(targets, axis=1)
            values[part] = blocks.restore(found[:, :width])
        values[~self._valid] = 0
        valid = self._valid if kind.optional or not self._is_whole else None
        return ColumnRows(values.reshape(-1), None, valid, width)
