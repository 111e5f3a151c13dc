"""Arrays of a column -> what users get: `Ragged`, arrays, masked arrays, lists of strings; one sample as plain values.

Missing is ``None`` in one sample, NaN in floats, and masked elsewhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.bfloat16 import from_bfloat16
from tokstore.block import ColumnRows
from tokstore.column_types import BFLOAT16, Bytes, Category, Codes, Label, SoftLabel, Text, Tokens, Vector
from tokstore.errors import CorruptError
from tokstore.packed import Ints
from tokstore.ragged import Ragged
from tokstore.schema import Column
from tokstore.soft_labels import SoftLabels, soft_from_rows

__all__ = ["deliver_batch", "deliver_sample", "reorder", "result_dtype"]


def result_dtype(column: Column, *, compact: bool = False) -> np.dtype[Any]:
    """Return the dtype that values of a column are decoded to: int32 for tokens and codes, int64 above 2**31 ids,
    strings for categories.

    Args:
        column: Name and type.
        compact: Tokens of at most 2**16 ids become uint16.
    """
    kind = column.type
    if isinstance(kind, Tokens):
        if compact and kind.vocab_size <= 1 << 16:
            return np.dtype(np.uint16)
        return np.dtype(np.int32 if kind.vocab_size <= 1 << 31 else np.int64)
    if isinstance(kind, Codes):
        return np.dtype(np.int32)
    if isinstance(kind, Category):
        return np.dtype(object)
    return kind.dtype


def deliver_batch(column: Column, rows: ColumnRows) -> Any:
    """Return the rows of a column as a batch."""
    kind, valid = column.type, rows.valid
    if isinstance(kind, (Text, Bytes)):
        return _strings(rows, column.name, decode=isinstance(kind, Text))
    if isinstance(kind, Category):
        if valid is not None:
            rows.values[~valid] = None
        return rows.values.tolist()
    values = rows.values
    if kind.dtype_number == BFLOAT16:
        values = from_bfloat16(values)
    elif isinstance(kind, Label):
        values = values.astype(np.int64)
    elif isinstance(kind, Vector):
        values = values.astype(np.float32, copy=False)
    if rows.lengths is not None:
        inner = kind.shape[1:]
        if not inner:
            return Ragged(values, rows.lengths)
        return Ragged(values.reshape(-1, *(one or 1 for one in inner)), rows.lengths // kind.width)
    if isinstance(kind, SoftLabel):
        soft = soft_from_rows(kind, values.reshape(-1, kind.width))
        return soft if valid is None or valid.all() else _without(soft, valid)
    if isinstance(kind, Vector):
        values = values.reshape(-1, rows.width)
    elif kind.shape:
        values = values.reshape(-1, *(one or 1 for one in kind.shape))
    if valid is None:
        return values
    if kind.has_nan:
        values[~valid] = np.nan
        return values
    if not kind.optional and valid.all():
        return values
    mask = np.zeros(values.shape, bool)
    mask[~valid] = True
    return np.ma.MaskedArray(values, mask=mask)


def deliver_sample(column: Column, batch: Any, row: int, valid: NDArray[np.bool_] | None) -> Any:
    """Return one row of a delivered batch as a plain value; ``None`` where it is missing."""
    if valid is not None and not valid[row]:
        return None
    if isinstance(batch, (list, SoftLabels)):
        return batch[row]
    if isinstance(batch, Ragged):
        return batch[row].copy() if len(batch) > 1 else batch[row]
    found = batch[row]
    if not column.type.shape:
        return found.item()
    return np.array(np.ma.getdata(found))


def reorder(rows: ColumnRows, order: Ints) -> ColumnRows:
    """Return rows in another order; a row may come several times."""
    valid = None if rows.valid is None else rows.valid[order]
    if rows.lengths is None:
        if rows.width == 1:
            return ColumnRows(rows.values[order], None, valid)
        return ColumnRows(rows.values.reshape(-1, rows.width)[order].reshape(-1), None, valid, rows.width)
    picked = Ragged(rows.values, rows.lengths)[order]
    return ColumnRows(picked.values, picked.lengths, valid)


def _without(soft: SoftLabels, valid: NDArray[np.bool_]) -> SoftLabels:
    """Return distributions with NaN where a sample has none."""
    soft.probs[~valid] = np.nan
    return soft


def _strings(rows: ColumnRows, name: str, decode: bool) -> list[Any]:
    """Return rows of bytes as strings, or as they are."""
    if rows.lengths is None:
        raise CorruptError(f"column {name!r} has no lengths", rule="format.md 4.4")
    data, ends = rows.values.tobytes(), np.cumsum(rows.lengths).tolist()
    found: list[Any] = [data[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    if decode:
        try:
            found = [one.decode() for one in found]
        except UnicodeDecodeError as error:
            raise CorruptError(f"a text of column {name!r} is not UTF-8", rule="codecs.md 4") from error
    if rows.valid is not None:
        for row in np.flatnonzero(~rows.valid).tolist():
            found[row] = None
    return found
