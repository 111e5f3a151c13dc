"""The values of one column of a view, batch by batch or of some samples: what digests and signatures are made of."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.column_types import Category, UnknownType
from tokstore.dedup.mixing import Hashes, mix
from tokstore.deliver import reorder
from tokstore.draws import text_hashes, value_hashes
from tokstore.packed import Ints
from tokstore.reading import read_lengths, read_rows
from tokstore.recycling import recycling
from tokstore.schema import Column
from tokstore.view import View
from tokstore.view_values import missing_rows
from tokstore.where import bind_field

__all__ = ["SampleRows"]

_ROWS, _VALUES = 1 << 15, 1 << 22


class SampleRows:
    """Samples of a view that have a column, as rows of its values.

    Args:
        view: The samples.
        column: The column.

    Raises:
        TypeError: The column has no values that could be compared.
    """

    def __init__(self, view: View, column: Column) -> None:
        if isinstance(column.type, (Category, UnknownType)):
            raise TypeError(
                f"column {column.name!r} is {column.type!r}; duplicates are of tokens, codes, texts or arrays"
            )
        self._view, self.column = view, column
        place = np.arange(len(view))
        missing = self._over(lambda groups: missing_rows(view._version, column, groups), place)
        self.places: Ints = np.flatnonzero(~missing)
        """Places in the view of the samples that have the column."""
        if column.type.ragged:
            self.lengths: Ints = self._over(lambda g: read_lengths(view._version, column, g), place)[self.places]
        else:
            self.lengths = np.full(len(self.places), column.type.width, np.int64)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def positions(self) -> Ints:
        """Positions in the version of all rows."""
        return self._view._at(self.places)

    def part(self, rows: Ints) -> SampleRows:
        """Return some of the rows, in the order that they are given."""
        made = copy.copy(self)
        made.places, made.lengths = self.places[rows], self.lengths[rows]
        return made

    def _over(self, read: Any, places: Ints) -> Any:
        """Return what reading gives for places of the view, in their order."""
        groups, order = self._view._located(places, ascending=False)
        found = read(groups)
        return found if order is None else found[order]

    def units(self) -> list[tuple[int, int]]:
        """Return runs of rows of some megabytes: what is worked on, kept and resumed as a whole."""
        made, at, ends = [], 0, np.cumsum(self.lengths)
        while at < len(self):
            before = int(ends[at - 1]) if at else 0
            stop = int(np.searchsorted(ends, before + _VALUES, side="right"))
            stop = min(max(stop, at + 1), at + _ROWS)
            made.append((at, stop))
            at = stop
        return made

    def read(self, rows: Ints) -> tuple[NDArray[Any], Ints]:
        """Return the flat values and lengths of rows, on the caller's thread."""
        view, column = self._view, self.column
        groups, order = view._located(self.places[rows], ascending=False)
        found = read_rows(view._version, [column], groups, compact=True, arrays=recycling())[column.name]
        if order is not None:
            found = reorder(found, order)
        lengths = self.lengths[rows] if found.lengths is None else found.lengths
        return found.values, lengths

    def vectors(self, rows: Ints) -> NDArray[Any]:
        """Return the vectors of ascending rows, ``[rows, dim]``."""
        name = self.column.name
        return np.asarray(self._view.take(self.places[rows], [name])[name])

    def sample_ids(self) -> Ints:
        """Return the sample ids of all rows."""
        ids: Ints = self._view["sample_id"][self.places]
        return ids

    def groups(self, names: Sequence[str]) -> Hashes | None:
        """Return 64 bits for every row that are equal for rows of equal values in some columns; ``None`` for none.

        Args:
            names: Columns of numbers or texts. Samples without a value are a group of their own.
        """
        if not names:
            return None
        made = np.zeros(len(self), np.uint64)
        for name in names:
            field = bind_field(self._view._version.root.schema, name)
            values, missing = self._view._read(field)
            hashes = text_hashes(values, 0) if field.is_text else value_hashes(values, 0)
            made = mix(made ^ np.where(missing, np.uint64(0), hashes)[self.places])
        return made
