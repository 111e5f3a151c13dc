"""Values that `json` gives <-> values of columns; what does not fit is said row by row."""

from __future__ import annotations

import base64
import binascii
from array import array
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

import tokstore as ts

from .contract import Batch, Ids, Objects

__all__ = ["column_from_objects", "is_float_array", "json_rows"]


def column_from_objects(values: list[Any], kind: Any, *, may_be_bool: bool = True) -> tuple[Any, Any, dict[int, str]]:
    """Return the values of a field as those of a column: values, which are missing, which are wrong and why.

    Args:
        values: What the objects hold; ``None`` where they hold nothing.
        kind: The column type.
        may_be_bool: Lists may hold ``true`` and ``false``, which are no numbers; ``False`` where none is in the text.
    """
    if isinstance(kind, Objects):
        return values, np.zeros(len(values), bool), {}
    missing = np.fromiter((one is None for one in values), bool, len(values))
    wrong: dict[int, str] = {}
    if not kind.optional:
        wrong |= dict.fromkeys(np.flatnonzero(missing).tolist(), "is missing")
    if isinstance(kind, (ts.Text, ts.Category)):
        wrong |= {i: "holds no string" for i, one in enumerate(values) if one is not None and type(one) is not str}
        return [None if i in wrong else one for i, one in enumerate(values)], missing, wrong
    if isinstance(kind, ts.Bytes):
        return _bytes(values, missing, wrong)
    if isinstance(kind, ts.SoftLabel):
        return _soft(values, kind, missing, wrong)
    if isinstance(kind, Ids) or kind.ragged:
        return _lists(values, kind, missing, wrong, may_be_bool)
    if kind.shape:
        return _arrays(values, kind, missing, wrong)
    integers = isinstance(kind, ts.Label) or (
        isinstance(kind, ts.Array) and not is_float_array(kind) and kind.dtype != bool
    )
    allowed = (bool, int) if integers or kind.dtype == bool else (int, float)
    wrong |= {i: "holds no number" for i, one in enumerate(values) if one is not None and type(one) not in allowed}
    integer = kind.dtype if isinstance(kind, ts.Array) and integers else np.int64
    dtype: Any = integer if integers else bool if isinstance(kind, ts.Array) and kind.dtype == bool else np.float64
    try:
        found = np.array([0 if i in wrong or one is None else one for i, one in enumerate(values)], dtype)
    except OverflowError:
        info = np.iinfo(dtype)
        for i, one in enumerate(values):
            if isinstance(one, int) and not info.min <= one <= info.max:
                wrong[i] = f"holds a number beyond {np.dtype(dtype).name}"
        found = np.array([0 if i in wrong or one is None else one for i, one in enumerate(values)], dtype)
    return found, missing, wrong


def is_float_array(kind: Any) -> bool:
    """Tell whether a type is one of arrays of floating-point numbers; bfloat16 has no dtype of its own."""
    return isinstance(kind, ts.Array) and (kind.dtype.kind == "f" or kind.dtype_number == 10)


def _lists(
    values: list[Any], kind: Any, missing: Any, wrong: dict[int, str], may_be_bool: bool
) -> tuple[Any, Any, dict[int, str]]:
    """Return lists of numbers as a `Ragged`."""
    inner = () if isinstance(kind, Ids) else kind.shape[1:]
    is_float = is_float_array(kind)
    dtype: Any = np.float64 if is_float else bool if isinstance(kind, ts.Mask) else np.int64
    if inner:
        rows = []
        for i, one in enumerate(values):
            try:
                row = np.array([] if one is None else one, dtype)
                rows.append(row.reshape(-1, *inner) if row.size else np.zeros((0, *inner), dtype))
            except (ValueError, TypeError, OverflowError):
                wrong[i] = f"holds no lists of shape {kind.shape}"
                rows.append(np.zeros((0, *inner), dtype))
        return ts.Ragged(np.concatenate(rows), [len(row) for row in rows]), missing, wrong
    lists = [one if type(one) is list else [] for one in values]
    wrong |= {i: "holds no list" for i, one in enumerate(values) if one is not None and type(one) is not list}
    try:
        if dtype is bool or may_be_bool:
            raise TypeError("looked at one by one")
        flat = _numbers(lists, is_float)
    except (TypeError, OverflowError):
        allowed: set[type] = {int, float} if is_float else {bool} if dtype is bool else {int}
        for i, one in enumerate(lists):
            message = _wrong_list(one, allowed)
            if message is not None:
                wrong[i], lists[i] = message, []
        flat = np.fromiter(chain.from_iterable(lists), dtype, sum(map(len, lists)))
    return ts.Ragged(flat, np.fromiter(map(len, lists), np.int64, len(lists))), missing, wrong


def _numbers(lists: list[list[Any]], is_float: bool) -> Any:
    """Return numbers of lists as one array, fast; `TypeError` or `OverflowError` where one is none or too large."""
    found = array("d" if is_float else "q")
    for one in lists:
        found.fromlist(one)
    return np.frombuffer(found, np.float64 if is_float else np.int64)


def _wrong_list(items: list[Any], allowed: set[type]) -> str | None:
    """Say what is wrong with a list, if anything is."""
    if not set(map(type, items)) <= allowed:
        is_null = any(item is None for item in items)
        return f"holds {'null' if is_null else 'something else'} where a number is needed"
    if int in allowed and items and not -(1 << 63) <= min(items) <= max(items) < 1 << 63:
        return None if float in allowed else "holds a number beyond int64"
    return None


def _arrays(values: list[Any], kind: Any, missing: Any, wrong: dict[int, str]) -> tuple[Any, Any, dict[int, str]]:
    """Return arrays of one shape."""
    is_float = isinstance(kind, ts.Vector) or (is_float_array(kind))
    dtype: Any = np.float64 if is_float else np.int64
    out = np.zeros((len(values), *kind.shape), dtype)
    for i, one in enumerate(values):
        if one is None:
            continue
        try:
            out[i] = np.array(one, dtype).reshape(kind.shape)
        except (ValueError, TypeError, OverflowError):
            wrong[i] = f"holds no array of shape {kind.shape}"
    return out.astype(bool) if isinstance(kind, ts.Array) and kind.dtype == bool else out, missing, wrong


def _bytes(values: list[Any], missing: Any, wrong: dict[int, str]) -> tuple[Any, Any, dict[int, str]]:
    """Return bytes that were written as base64."""
    found: list[bytes | None] = []
    for i, one in enumerate(values):
        try:
            found.append(None if one is None else base64.b64decode(one["base64"], validate=True))
        except (TypeError, KeyError, ValueError, binascii.Error):
            wrong[i] = 'holds no {"base64": …}'
            found.append(None)
    return found, missing, wrong


def _soft(values: list[Any], kind: Any, missing: Any, wrong: dict[int, str]) -> tuple[Any, Any, dict[int, str]]:
    """Return distributions."""
    width = kind.top or kind.classes
    ids, probs = np.zeros((len(values), width), np.int64), np.zeros((len(values), width), np.float32)
    ids[:] = np.arange(width)
    for i, one in enumerate(values):
        if one is None:
            continue
        try:
            probs[i] = one["probs"]
            if kind.top is not None:
                ids[i] = one["ids"]
        except (TypeError, KeyError, ValueError, OverflowError):
            wrong[i] = f"holds no soft label of {width} probabilities"
    return ts.SoftLabels(None if kind.top is None else ids, probs, kind.classes), missing, wrong


def json_rows(batch: Batch, names: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch as objects that `json` can write; what is missing is left out."""
    lists = [_objects(batch.columns[name], batch.missing.get(name)) for name in names]
    for row in zip(*lists, strict=True):
        yield {name: value for name, value in zip(names, row, strict=True) if value is not None}


def _objects(values: Any, missing: Any) -> list[Any]:
    """Return the values of a column as plain objects."""
    found: list[Any]
    if isinstance(values, ts.SoftLabels):
        ids = [None] * len(values) if values.ids is None else values.ids.tolist()
        found = [
            {"probs": p} if i is None else {"ids": i, "probs": p}
            for i, p in zip(ids, values.probs.tolist(), strict=True)
        ]
    elif isinstance(values, list):
        found = [{"base64": base64.b64encode(v).decode()} if isinstance(v, bytes) else v for v in values]
    elif isinstance(values, ts.Ragged):
        found = values.to_list()
    else:
        found = values.tolist()  # masked ones become None
    if missing is not None:
        found = [None if gone else value for value, gone in zip(found, missing.tolist(), strict=True)]
    return found
