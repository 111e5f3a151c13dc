"""Arrays of a column -> what users get: `Ragged`, arrays, masked arrays, lists of strings; one sample as plain values.

Missing is ``None`` in one sample, NaN in floats, and masked elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.block import ColumnRows
from tokstore.column_types import Label, Score, Text
from tokstore.errors import CorruptError
from tokstore.packed import Ints
from tokstore.ragged import Ragged
from tokstore.schema import Column

__all__ = ["deliver_batch", "deliver_sample", "reorder"]


def deliver_batch(column: Column, rows: ColumnRows) -> Any:
    """Return the rows of a column as a batch."""
    kind, valid = column.type, rows.valid
    if isinstance(kind, Text):
        return _strings(rows, column.name)
    if rows.lengths is not None:
        return Ragged(rows.values, rows.lengths)
    values = rows.values
    if isinstance(kind, Label):
        values = values.astype(np.int64)
    if valid is None:
        return values
    if isinstance(kind, Score):
        values[~valid] = np.nan
        return values
    return np.ma.MaskedArray(values, mask=~valid) if kind.optional or not valid.all() else values


def deliver_sample(column: Column, batch: Any, row: int, valid: NDArray[np.bool_] | None) -> Any:
    """Return one row of a delivered batch as a plain value; ``None`` where it is missing."""
    if valid is not None and not valid[row]:
        return None
    if isinstance(column.type, Text):
        return batch[row]
    if isinstance(batch, Ragged):
        return batch[row].copy() if len(batch) > 1 else batch[row]
    return batch[row].item()


def reorder(rows: ColumnRows, order: Ints) -> ColumnRows:
    """Return rows in another order; a row may come several times."""
    valid = None if rows.valid is None else rows.valid[order]
    if rows.lengths is None:
        return ColumnRows(rows.values[order], None, valid)
    picked = Ragged(rows.values, rows.lengths)[order]
    return ColumnRows(picked.values, picked.lengths, valid)


def _strings(rows: ColumnRows, name: str) -> list[str | None]:
    """Return rows of UTF-8 as strings."""
    if rows.lengths is None:
        raise CorruptError(f"column {name!r} has no lengths", rule="format.md 4.4")
    data, ends = rows.values.tobytes(), np.cumsum(rows.lengths).tolist()
    try:
        found: list[str | None] = [data[a:b].decode() for a, b in zip([0, *ends], ends, strict=False)]
    except UnicodeDecodeError as error:
        raise CorruptError(f"a text of column {name!r} is not UTF-8", rule="codecs.md 4") from error
    if rows.valid is not None:
        for row in np.flatnonzero(~rows.valid).tolist():
            found[row] = None
    return found
