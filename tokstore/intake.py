"""What users pass for a column -> checked arrays of its dtype (`ColumnRows`).

Everything is checked before anything is stored, by a few numpy calls over the whole batch. Messages name the column
and the first row that is wrong; they never show its content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.block import ColumnRows
from tokstore.column_types import (
    Array,
    Bytes,
    Category,
    Codes,
    Label,
    Mask,
    Score,
    SoftLabel,
    Text,
    Tokens,
    Vector,
)
from tokstore.errors import UnsupportedError
from tokstore.intake_arrays import describe_given, is_sequence, split_missing, take_in_array, take_in_soft
from tokstore.ragged import Ragged
from tokstore.schema import Column, Schema

__all__ = ["check_masks", "missing_rows", "take_in"]


def take_in(column: Column, given: Any) -> ColumnRows:
    """Return the rows of one column from what a user gave for a batch of samples.

    Args:
        column: Name and type.
        given: A `Ragged`, an array, or a sequence with one item per sample. ``None`` items and masked items are
            missing.

    Raises:
        TypeError: Values of the wrong kind.
        ValueError: Values outside the range of the type, or missing where that is not allowed.
    """
    kind, name = column.type, column.name
    if isinstance(kind, Tokens):
        return _tokens(kind, name, given)
    if isinstance(kind, (Text, Bytes)):
        return _strings(kind, name, given)
    if isinstance(kind, Category):
        return _categories(kind, name, given)
    if isinstance(kind, SoftLabel):
        return take_in_soft(kind, name, given)
    if isinstance(kind, (Codes, Vector, Mask)) or kind.shape:
        return take_in_array(kind, name, given)
    if isinstance(kind, (Score, Label)):
        return _numbers(kind, name, given)
    if isinstance(kind, Array):
        return take_in_array(kind, name, given)
    raise UnsupportedError(f"column {name!r} has a type that this version cannot write", hint="use a newer tokstore")


def missing_rows(column: Column, rows: int) -> ColumnRows:
    """Return rows that are all missing, for an optional column that was not given."""
    kind = column.type
    lengths = np.zeros(rows, np.int64) if kind.ragged else None
    if isinstance(kind, Category):
        return ColumnRows(np.full(rows, "", object), None, np.zeros(rows, bool))
    values = np.zeros(0 if kind.ragged else rows * kind.width, kind.dtype)
    return ColumnRows(values, lengths, np.zeros(rows, bool), 1 if kind.ragged else kind.width)


def check_masks(schema: Schema, rows: Mapping[int, ColumnRows]) -> None:
    """Refuse masks that are not as long as what they mask.

    Args:
        schema: The columns.
        rows: What was taken in of them, by column id.
    """
    for column in schema.columns:
        if not isinstance(column.type, Mask) or column.type.of is None or column.type.of not in schema:
            continue
        mask, of = rows.get(column.column_id), rows.get(schema.column(column.type.of).column_id)
        if mask is None or of is None or mask.lengths is None or of.lengths is None:
            continue
        wrong = mask.lengths != of.lengths
        if mask.valid is not None:
            wrong &= mask.valid
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"column {column.name!r}: row {row} has {int(mask.lengths[row])} bits for "
                f"{int(of.lengths[row])} values of {column.type.of!r}"
            )


def _tokens(kind: Tokens, name: str, given: Any) -> ColumnRows:
    """Take in token ids."""
    valid: NDArray[np.bool_] | None = None
    if isinstance(given, Ragged):
        values, lengths = given.values, given.lengths
        valid = np.ones(len(lengths), bool) if kind.optional else None
    elif isinstance(given, np.ndarray) and given.ndim == 2:
        values, lengths = given.reshape(-1), np.full(given.shape[0], given.shape[1], np.int64)
        valid = np.ones(len(lengths), bool) if kind.optional else None
    elif is_sequence(given) and not (isinstance(given, np.ndarray) and given.dtype != object):
        items, valid = split_missing(name, kind.optional, given)
        rows = [() if item is None else item for item in items]
        for i, row in enumerate(rows):
            if isinstance(row, (str, bytes)) or not hasattr(row, "__len__"):
                raise TypeError(f"column {name!r}: row {i} is {type(row).__name__}, not a sequence of token ids")
        joined = Ragged.from_rows(rows)
        values, lengths = joined.values, joined.lengths
    else:
        raise TypeError(
            f"column {name!r} takes a Ragged, a 2-d array or a list of id sequences, one per sample, "
            f"not {describe_given(given)}"
        )
    if values.ndim != 1 or (values.size and values.dtype.kind not in "iu"):
        raise TypeError(f"column {name!r}: token ids are integers, not {values.dtype} of {values.ndim} dimensions")
    if values.size:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high >= kind.vocab_size:
            wrong = int(np.argmax((values < 0) | (values >= kind.vocab_size)))
            row = int(np.searchsorted(np.cumsum(lengths), wrong, side="right"))
            raise ValueError(
                f"column {name!r}: row {row} has an id outside 0 to {kind.vocab_size - 1}, the vocabulary of the schema"
            )
    return ColumnRows(values.astype(kind.dtype, copy=False), lengths, valid)


def _strings(kind: Text | Bytes, name: str, given: Any) -> ColumnRows:
    """Take in strings, or bytes."""
    wanted, what = (str, "strings") if isinstance(kind, Text) else (bytes, "bytes")
    if not is_sequence(given):
        raise TypeError(f"column {name!r} takes a list of {what}, one per sample, not {describe_given(given)}")
    items, valid = split_missing(name, kind.optional, given)
    coded = []
    for i, item in enumerate(items):
        if item is not None and not isinstance(item, wanted):
            raise TypeError(f"column {name!r}: row {i} is {type(item).__name__}, not {wanted.__name__}")
        try:
            coded.append(b"" if item is None else item if isinstance(item, bytes) else item.encode())
        except UnicodeEncodeError as error:
            raise ValueError(f"column {name!r}: row {i} has a lone surrogate, which UTF-8 cannot hold") from error
    lengths = np.fromiter((len(one) for one in coded), np.int64, len(coded))
    return ColumnRows(np.frombuffer(b"".join(coded), np.uint8), lengths, valid)


def _categories(kind: Category, name: str, given: Any) -> ColumnRows:
    """Take in strings of which there are few; they become numbers when their shard is written."""
    if not is_sequence(given):
        raise TypeError(f"column {name!r} takes a list of strings, one per sample, not {describe_given(given)}")
    items, valid = split_missing(name, kind.optional, given.tolist() if isinstance(given, np.ndarray) else given)
    for i, item in enumerate(items):
        if item is not None and not isinstance(item, str):
            raise TypeError(f"column {name!r}: row {i} is {type(item).__name__}, not str")
    try:
        "".join(dict.fromkeys(item for item in items if item is not None)).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"column {name!r} has a lone surrogate, which UTF-8 cannot hold") from error
    values = np.empty(len(items), object)
    values[:] = ["" if item is None else item for item in items]
    return ColumnRows(values, None, valid)


def _numbers(kind: Score | Label, name: str, given: Any) -> ColumnRows:
    """Take in one number per sample."""
    if not is_sequence(given):
        raise TypeError(
            f"column {name!r} takes an array or list with one number per sample, not {describe_given(given)}"
        )
    valid: NDArray[np.bool_] | None = None
    if isinstance(given, np.ma.MaskedArray):
        valid = ~np.ma.getmaskarray(given)
        array = np.asarray(given.filled(0))
    elif isinstance(given, np.ndarray) and given.dtype != object:
        array = given
    else:
        items, valid = split_missing(name, kind.optional, given)
        array = np.asarray([0 if item is None else item for item in items])
    if array.ndim != 1:
        raise TypeError(f"column {name!r} has one number per sample, not an array of shape {array.shape}")
    if not kind.optional and valid is not None:
        if not valid.all():
            raise ValueError(f"column {name!r}: row {int(valid.argmin())} is missing, but the column is not optional")
        valid = None
    if kind.optional and valid is None:
        valid = np.ones(len(array), bool)
    values = _scores(kind, name, array) if isinstance(kind, Score) else _labels(kind, name, array)
    if valid is not None and not valid.all():
        values = np.where(valid, values, np.zeros((), values.dtype))
    return ColumnRows(values, None, valid)


def _scores(kind: Score, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Cast numbers to the dtype of a score."""
    if array.dtype.kind not in "fiu" and array.size:
        raise TypeError(f"column {name!r} takes floating-point numbers, not {array.dtype}")
    if not kind.optional and array.dtype.kind == "f" and np.isnan(array).any():
        row = int(np.isnan(array).argmax())
        raise ValueError(f"column {name!r}: row {row} is NaN, which only an optional score may be")
    if kind.max_error is not None and np.isinf(array).any():
        row = int(np.isinf(array).argmax())
        raise ValueError(f"column {name!r}: row {row} is infinite, which a score with max_error= may not be")
    with np.errstate(over="ignore"):
        values = array.astype(kind.dtype, copy=False)
    lost = np.isinf(values) & ~np.isinf(array) if array.dtype.kind == "f" else np.isinf(values)
    if lost.any():
        raise ValueError(f"column {name!r}: row {int(lost.argmax())} is too large for {kind.dtype_name}")
    return values


def _labels(kind: Label, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Cast integers to the dtype of a label."""
    if array.dtype.kind not in "iu" and array.size:
        raise TypeError(f"column {name!r} takes integers, not {array.dtype}")
    low, high = (0, kind.classes - 1) if kind.classes is not None else (-(2**63), 2**63 - 1)
    if array.size and (int(array.min()) < low or int(array.max()) > high):
        row = int(np.argmax((array < low) | (array > high)))
        raise ValueError(f"column {name!r}: row {row} has a label outside {low} to {high}")
    return array.astype(kind.dtype, copy=False)
