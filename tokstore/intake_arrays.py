"""What users pass for a column of arrays -> checked flat values of its dtype (`ColumnRows`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.bfloat16 import bfloat16_bits
from tokstore.block import ColumnRows
from tokstore.column_types import BFLOAT16, BIT, EXACT, Array, Codes, ColumnType, Label, SoftLabel, Vector
from tokstore.packed import Ints
from tokstore.ragged import Ragged
from tokstore.soft_labels import SoftLabels, soft_to_rows

__all__ = ["describe_given", "is_sequence", "split_missing", "take_in_array", "take_in_soft"]


def is_sequence(given: Any) -> bool:
    """Tell whether something has items that are samples."""
    return isinstance(given, (Sequence, np.ndarray)) and not isinstance(given, (str, bytes))


def describe_given(given: Any) -> str:
    """Name the type of what was given, with shape and dtype of an array."""
    if isinstance(given, np.ndarray):
        return f"an array of {given.dtype} and shape {given.shape}"
    return type(given).__name__


def split_missing(name: str, optional: bool, given: Sequence[Any]) -> tuple[list[Any], NDArray[np.bool_] | None]:
    """Return the items and which of them are there."""
    items = list(given)
    valid = np.fromiter((item is not None for item in items), bool, len(items))
    if not optional:
        if not valid.all():
            raise ValueError(f"column {name!r}: row {int(valid.argmin())} is missing, but the column is not optional")
        return items, None
    return items, valid


@dataclass
class _Given:
    """An array as it was given: flat values, values per row, which rows are there."""

    values: NDArray[Any]
    lengths: Ints | None
    valid: NDArray[np.bool_] | None


def take_in_array(kind: ColumnType, name: str, given: Any) -> ColumnRows:
    """Take in one array per sample: `Codes`, `Vector`, `Array`, `Mask`, or several labels."""
    found = _ragged(kind, name, given) if kind.ragged else _fixed(kind, name, given)
    values = _cast(kind, name, found)
    if found.valid is not None and found.lengths is None and not found.valid.all():
        values = values.copy()
        values.reshape(-1, kind.width)[~found.valid] = 0
    return ColumnRows(values, found.lengths, found.valid, 1 if kind.ragged else kind.width)


def _as_array(kind: ColumnType, item: Any) -> NDArray[Any]:
    """Return one sample as an array; numpy makes floats of integers that neither int64 nor uint64 holds all."""
    array = np.asarray(item)
    if kind.dtype != np.uint64:
        return array
    if array.dtype.kind == "f" and not isinstance(item, np.ndarray):
        numbers = np.asarray(item, object)
        if all(isinstance(one, (int, np.integer)) and 0 <= one < 1 << 64 for one in numbers.flat):
            return numbers.astype(np.uint64)
    # Nor does it join arrays of the two without floats.
    return array.astype(np.uint64) if array.dtype.kind == "i" and array.size and array.min() >= 0 else array


def _fixed(kind: ColumnType, name: str, given: Any) -> _Given:
    """Return arrays of one shape."""
    shape = tuple(one or 1 for one in kind.shape)
    if not is_sequence(given):
        raise TypeError(f"column {name!r} takes an array of shape {('samples', *shape)}, not {describe_given(given)}")
    valid: NDArray[np.bool_] | None = None
    if isinstance(given, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(given).reshape(len(given), -1)
        if (mask.any(axis=1) != mask.all(axis=1)).any():
            raise ValueError(f"column {name!r}: a sample is missing as a whole or not at all")
        there, array = np.asarray(~mask.any(axis=1), bool), np.asarray(given.filled(0))
        if not kind.optional and not there.all():
            raise ValueError(f"column {name!r}: row {int(there.argmin())} is missing, but the column is not optional")
        valid = there if kind.optional else None
    elif isinstance(given, np.ndarray) and given.dtype != object:
        array = given
    else:
        items, valid = split_missing(name, kind.optional, given)
        arrays = [np.zeros(shape) if item is None else _as_array(kind, item) for item in items]
        wrong = next((i for i, one in enumerate(arrays) if one.shape != shape), None)
        if wrong is not None:
            raise ValueError(f"column {name!r}: row {wrong} has shape {arrays[wrong].shape}, not {shape}")
        dtypes = {one.dtype for one, item in zip(arrays, items, strict=True) if item is not None}
        dtype = np.result_type(*dtypes) if dtypes else kind.dtype
        array = np.stack([one.astype(dtype) for one in arrays]) if arrays else np.zeros((0, *shape), kind.dtype)
    if array.shape[1:] != shape:
        raise ValueError(f"column {name!r} takes samples of shape {shape}, not {array.shape[1:]}")
    if kind.optional and valid is None:
        valid = np.ones(len(array), bool)
    return _Given(array.reshape(-1), None, valid)


def _ragged(kind: ColumnType, name: str, given: Any) -> _Given:
    """Return arrays of different lengths."""
    inner = tuple(one or 1 for one in kind.shape[1:])
    valid: NDArray[np.bool_] | None = None
    if isinstance(given, Ragged):
        values, counts = given.values, given.lengths
    elif isinstance(given, np.ndarray) and given.dtype != object:
        if given.ndim < 2:
            raise TypeError(f"column {name!r} takes one array per sample, not {describe_given(given)}")
        values = given.reshape(-1, *given.shape[2:])
        counts = np.full(given.shape[0], given.shape[1], np.int64)
    elif is_sequence(given):
        items, valid = split_missing(name, kind.optional, given)
        arrays = [np.zeros((0, *inner), kind.dtype) if item is None else _as_array(kind, item) for item in items]
        wrong = next((i for i, one in enumerate(arrays) if one.shape[1:] != inner and one.size), None)
        if wrong is not None or any(one.ndim == 0 for one in arrays):
            raise ValueError(f"column {name!r} takes samples of shape {(None, *inner)}; row {wrong or 0} is none")
        counts = np.fromiter((len(one) for one in arrays), np.int64, len(arrays))
        full = [one for one in arrays if one.size]
        values = np.concatenate(full) if full else np.zeros((0, *inner), kind.dtype)
    else:
        raise TypeError(
            f"column {name!r} takes a Ragged or a list of arrays, one per sample, not {type(given).__name__}"
        )
    if values.shape[1:] != inner:
        raise ValueError(f"column {name!r} takes samples of shape {(None, *inner)}, not {(None, *values.shape[1:])}")
    if kind.optional and valid is None:
        valid = np.ones(len(counts), bool)
    return _Given(values.reshape(-1), counts * kind.width, valid)


def _cast(kind: ColumnType, name: str, given: _Given) -> NDArray[Any]:
    """Check values against their type, and return them in its dtype."""
    values = given.values
    if isinstance(kind, (Codes, Label)):
        most = kind.size if isinstance(kind, Codes) else kind.classes
        low, high = (0, most - 1) if most is not None else (-(2**63), 2**63 - 1)
        return _integers(kind, name, given, low, high)
    number = kind.dtype_number
    if number == BIT:
        if values.dtype.kind in "iu" and values.size and int(values.min()) >= 0 and int(values.max()) <= 1:
            values = values.astype(bool)
        if values.dtype != bool and values.size:
            raise TypeError(f"column {name!r} takes booleans, not {values.dtype}")
        return values.astype(bool, copy=False)
    if kind.dtype.kind in "iu" and number != BFLOAT16:
        info = np.iinfo(kind.dtype)
        return _integers(kind, name, given, int(info.min), int(info.max))
    if values.dtype.kind not in "fiu" and values.size:
        raise TypeError(f"column {name!r} takes floating-point numbers, not {values.dtype}")
    if isinstance(kind, Vector) and kind.method != EXACT and not np.isfinite(values).all():
        row = _row_of(kind, given, int(np.isfinite(values).argmin()))
        raise ValueError(f"column {name!r}: row {row} is not finite, which vectors with a declared error have to be")
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32 if number == BFLOAT16 else kind.dtype, copy=False)
        lost = np.isinf(narrow) & ~np.isinf(values)
    if lost.any():
        raise ValueError(f"column {name!r}: row {_row_of(kind, given, int(lost.argmax()))} is too large for its dtype")
    return bfloat16_bits(narrow) if number == BFLOAT16 else narrow


def _integers(kind: ColumnType, name: str, given: _Given, low: int, high: int) -> NDArray[Any]:
    """Check integers against their limits."""
    values = given.values
    if values.dtype.kind not in "iu" and values.size:
        raise TypeError(f"column {name!r} takes integers, not {values.dtype}")
    if values.size and (int(values.min()) < low or int(values.max()) > high):
        row = _row_of(kind, given, int(np.argmax((values < low) | (values > high))))
        what = {Codes: "a code", Label: "a label", Array: "a number"}.get(type(kind), "a value")
        raise ValueError(f"column {name!r}: row {row} has {what} outside {low} to {high}")
    return values.astype(kind.dtype, copy=False)


def _row_of(kind: ColumnType, given: _Given, value: int) -> int:
    """Return the row in which a flat value lies."""
    if given.lengths is None:
        return value // kind.width
    return int(np.searchsorted(np.cumsum(given.lengths), value, side="right"))


def take_in_soft(kind: SoftLabel, name: str, given: Any) -> ColumnRows:
    """Take in distributions: `SoftLabels`, a pair of classes and probabilities, or the probabilities of all classes."""
    valid: NDArray[np.bool_] | None = None
    if isinstance(given, (SoftLabels, np.ndarray)) or (isinstance(given, tuple) and len(given) == 2):
        soft = _distributions(kind, name, given)
    elif is_sequence(given):
        items, valid = split_missing(name, kind.optional, given)
        width = kind.classes if kind.top is None else kind.top
        nothing = SoftLabels(None if kind.top is None else np.zeros((1, width)), np.zeros((1, width)), kind.classes)
        each = [nothing if item is None else _distributions(kind, name, _as_batch(item)) for item in items]
        probs = np.concatenate([np.zeros((0, width), np.float32), *(one.probs for one in each)])
        ids = None
        if kind.top is not None:
            ids = np.concatenate([np.zeros((0, width), np.int64), *(one.ids for one in each if one.ids is not None)])
        soft = SoftLabels(ids, probs, kind.classes)
    else:
        raise TypeError(f"column {name!r} takes soft labels, not {describe_given(given)}")
    if kind.optional and valid is None:
        valid = np.ones(len(soft), bool)
    rows = soft_to_rows(kind, soft)
    if valid is not None:
        rows[~valid] = 0
    return ColumnRows(rows.reshape(-1), None, valid, kind.width)


def _as_batch(item: Any) -> Any:
    """Return one distribution as a batch of one."""
    if isinstance(item, tuple) and len(item) == 2:
        return np.asarray(item[0])[None], np.asarray(item[1])[None]
    return item if isinstance(item, SoftLabels) else np.asarray(item)[None]


def _distributions(kind: SoftLabel, name: str, given: Any) -> SoftLabels:
    """Check distributions, and keep as many classes of each as the type does."""
    try:
        soft = given if isinstance(given, SoftLabels) else None
        if soft is None and isinstance(given, tuple):
            soft = SoftLabels(given[0], given[1], kind.classes)
        if soft is None:
            soft = SoftLabels(None, given, kind.classes)
    except (ValueError, TypeError) as error:
        raise type(error)(f"column {name!r}: {error}") from error
    if soft.classes != kind.classes:
        raise ValueError(f"column {name!r} has {kind.classes} classes, the soft labels {soft.classes}")
    if soft.probs.size and not ((soft.probs >= 0) & (soft.probs <= 1)).all():
        row = int(((soft.probs >= 0) & (soft.probs <= 1)).all(axis=1).argmin())
        raise ValueError(f"column {name!r}: row {row} has a probability outside 0 to 1")
    if kind.top is None:
        if soft.ids is not None:
            raise ValueError(
                f"column {name!r} keeps all classes: give their probabilities as [samples, {kind.classes}]"
            )
        return soft
    width = soft.probs.shape[1]
    if width < kind.top:
        raise ValueError(f"column {name!r} keeps {kind.top} classes of each sample, not {width}")
    if width > kind.top or soft.ids is None:
        best = np.argsort(-soft.probs, axis=1, kind="stable")[:, : kind.top]
        ids = best if soft.ids is None else np.take_along_axis(soft.ids, best, axis=1)
        soft = SoftLabels(ids, np.take_along_axis(soft.probs, best, axis=1), kind.classes)
    ordered = np.sort(soft.ids, axis=1) if soft.ids is not None else np.zeros((0, 1), np.int64)
    if (ordered[:, 1:] == ordered[:, :-1]).any():
        row = int((ordered[:, 1:] == ordered[:, :-1]).any(axis=1).argmax())
        raise ValueError(f"column {name!r}: row {row} names a class twice")
    return soft
