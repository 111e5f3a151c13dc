"""`Lost`: what a reader that goes on past corrupt blocks has not got.

Only values are ever lost. How many values samples have, and which blocks hold them, stands elsewhere in a file, and a
reader that cannot get that raises, because it could not tell where the other values belong.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokstore.block import ColumnRows
from tokstore.deliver import reorder
from tokstore.errors import TokstoreError
from tokstore.packed import Ints
from tokstore.ragged import ragged_index

__all__ = ["Lost", "LostBlock", "TokensLost"]


class LostBlock(NamedTuple):
    """A block that could not be read: its file, its column, its number there, and why."""

    path: str
    column: str
    block: int
    reason: str


class Lost:
    """Blocks that one call of a reader could not read, and which values of its result are missing for it.

    Threads may add to it at once.
    """

    def __init__(self) -> None:
        self.blocks: list[LostBlock] = []
        self._runs: list[tuple[Ints, Ints]] = []

    def add(self, path: str, column: str, block: int, error: TokstoreError, starts: Ints, lengths: Ints) -> None:
        """Note a block, and the runs of values of the result that it should have given."""
        self._runs.append((starts, lengths))
        self.blocks.append(LostBlock(path, column, block, f"{error.message} ({error.rule})"))

    def mask(self, size: int) -> NDArray[np.bool_] | None:
        """Return which values of the result are missing; None if all are there.

        Args:
            size: Values of the result.

        Example:
            >>> lost = Lost()
            >>> lost.mask(5)
            >>> error = TokstoreError("no", rule="1")
            >>> lost.add("a.tok", "tokens", 0, error, np.array([1, 4]), np.array([2, 1]))
            >>> lost.mask(5).tolist()
            [False, True, True, False, True]
        """
        if not self._runs:
            return None
        found = np.zeros(size, bool)
        for starts, lengths in self._runs:
            found[ragged_index(starts, lengths)] = True
        return found


class TokensLost:
    """What of the values of one call of a view is lost, in the order in which the view gives them."""

    def __init__(self) -> None:
        self.blocks: list[LostBlock] = []
        self._parts: list[NDArray[np.bool_] | int] = []

    def add(self, lost: Lost, rows: ColumnRows, order: Ints | None) -> None:
        """Note what is lost of the next values.

        Args:
            lost: What reading them has found.
            rows: The rows that were read.
            order: The order in which the view has the rows, if that is another one.
        """
        mask = lost.mask(len(rows.values))
        self.blocks += lost.blocks
        if mask is not None and order is not None:
            mask = reorder(ColumnRows(mask, rows.lengths, None, rows.width), order).values
        if mask is None and order is not None and rows.lengths is not None:
            self._parts.append(int(rows.lengths[order].sum()))
        else:
            self._parts.append(len(rows.values) if mask is None else mask)

    @property
    def mask(self) -> NDArray[np.bool_] | None:
        """Which of all values are lost; None for none."""
        if not self.blocks:
            return None
        return np.concatenate([np.zeros(one, bool) if isinstance(one, int) else one for one in self._parts])
