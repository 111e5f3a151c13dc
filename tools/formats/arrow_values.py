"""Values of columns <-> Arrow arrays, by whole buffers: numbers and ids are never touched one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import tokstore as ts

from .arrow_types import need_pyarrow
from .contract import Batch, Ids, Objects, Problems

__all__ = ["batch_of", "record_batch"]

Bools = NDArray[np.bool_]


def record_batch(batch: Batch, schema: Any, kinds: Any) -> Any:
    """Return a `pyarrow.RecordBatch` of the columns that an Arrow schema has.

    Args:
        batch: The rows.
        schema: A `pyarrow.Schema`.
        kinds: Column types by name.
    """
    pa = need_pyarrow()
    arrays = [to_arrow(batch.columns[f.name], f.type, kinds[f.name], batch.missing.get(f.name)) for f in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def to_arrow(values: Any, kind: Any, column: Any, missing: Bools | None) -> Any:
    """Return the values of a column as one Arrow array."""
    pa = need_pyarrow()
    if isinstance(values, list):
        if isinstance(column, ts.Category):
            found = pa.array(values, pa.string())
            return found.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else found.cast(kind)
        return pa.array(values, kind)
    if isinstance(values, ts.SoftLabels):
        none = _bits(missing)
        probs = _fixed(values.probs, kind if values.ids is None else kind.field("probs").type, None)
        if values.ids is None:
            return _fixed(values.probs, kind, missing)
        ids = _fixed(values.ids, kind.field("ids").type, None)
        return pa.StructArray.from_buffers(kind, len(values), [none], children=[ids, probs])
    if isinstance(values, ts.Ragged):
        offsets = pa.py_buffer(values.offsets)
        items = _items(values.values, kind.value_type)
        return pa.LargeListArray.from_buffers(kind, len(values), [_bits(missing), offsets], children=[items])
    return _fixed(values, kind, missing)


def _bits(missing: Bools | None) -> Any:
    """Return the validity bitmap of rows of which some are missing."""
    if missing is None or not missing.any():
        return None
    return need_pyarrow().py_buffer(np.packbits(~missing, bitorder="little"))


def _items(values: Any, kind: Any) -> Any:
    """Return the items of lists as an Arrow array: numbers, or lists of one size."""
    return _fixed(values, kind, None)


def _fixed(values: Any, kind: Any, missing: Bools | None) -> Any:
    """Return an array of numbers of any number of dimensions."""
    pa = need_pyarrow()
    if isinstance(values, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(values)
        lacking: Bools = np.zeros(len(values), bool)
        if values.size:
            lacking = np.asarray(mask.reshape(len(values), -1).any(axis=1))
        missing = lacking if missing is None else missing | lacking
        values = values.filled(0)
    if pa.types.is_fixed_size_list(kind):
        inner = _fixed(values.reshape(-1, *values.shape[2:]), kind.value_type, None)
        made = pa.FixedSizeListArray.from_buffers(kind, len(values), [_bits(missing)], children=[inner])
        return made
    flat = np.ascontiguousarray(values)
    if pa.types.is_boolean(kind):
        data = pa.py_buffer(np.packbits(flat.astype(bool), bitorder="little"))
    else:
        data = pa.py_buffer(flat.astype(kind.to_pandas_dtype(), copy=False))
    return pa.Array.from_buffers(kind, len(flat), [_bits(missing), data])


def batch_of(table: Any, kinds: dict[str, Any], place: str, first_row: int, problems: Problems) -> Batch:
    """Return the rows of a `pyarrow.RecordBatch` or table as a batch.

    Args:
        table: What was read.
        kinds: Column types by name: `contract.Ids` or those of `tokstore`.
        place: The file.
        first_row: Number of the first row in it.
        problems: Where rows with null ids go.
    """
    batch = Batch(place, first_row, table.num_rows, {})
    wrong: dict[str, Bools] = {}
    for name, kind in kinds.items():
        column = _joined(table.column(name))
        missing = _missing(column)
        batch.columns[name], bad = _from_arrow(column, kind, name, missing)
        if missing is not None and not kind.optional:
            bad = missing if bad is None else bad | missing
        elif missing is not None:
            batch.missing[name] = missing
        if bad is not None and bad.any():
            wrong[name] = bad
    for name, bad in wrong.items():
        for row in np.flatnonzero(bad).tolist():
            problems.bad(place, first_row + row, f"column {name!r} holds null where a value is needed")
    if wrong:
        batch = batch.keep(~np.logical_or.reduce(list(wrong.values())))
    return batch


def _joined(column: Any) -> Any:
    """Return a column as one array."""
    pa = need_pyarrow()
    if isinstance(column, pa.ChunkedArray):
        return (
            column.chunk(0)
            if column.num_chunks == 1
            else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
        )
    return column


def _missing(column: Any) -> Bools | None:
    """Return which rows are null, if any are."""
    if not column.null_count:
        return None
    found: Bools = column.is_null().to_numpy(zero_copy_only=False)
    return found


def _from_arrow(column: Any, kind: Any, name: str, missing: Bools | None) -> tuple[Any, Bools | None]:
    """Return the values of an array, and which rows hold nulls inside."""
    pa = need_pyarrow()
    types = pa.types
    if isinstance(kind, (ts.Text, ts.Category, ts.Bytes, Objects)):
        return column.to_pylist(), None
    if isinstance(kind, ts.SoftLabel):
        return _soft(column, kind), None
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if types.is_list(column.type) or types.is_large_list(column.type):
        return _ragged(column, kind)
    values, inner_null = _dense(column)
    bad: Bools | None = None
    if inner_null is not None:
        bad = np.asarray(inner_null.reshape(len(column), -1).any(axis=1))
        if missing is not None:
            bad &= ~missing
    if isinstance(kind, (Ids, ts.Tokens)) or kind.ragged:
        width = values.shape[1] if values.ndim > 1 else 1
        if missing is not None and missing.any():
            lengths = np.where(missing, 0, width).astype(np.int64)
            return ts.Ragged(values[~missing].reshape(-1, *values.shape[2:]), lengths), bad
        return ts.Ragged(values.reshape(-1, *values.shape[2:]), np.full(len(values), width, np.int64)), bad
    return values, bad


def _ragged(column: Any, kind: Any) -> tuple[Any, Bools | None]:
    """Return lists of different length as a `Ragged`."""
    pa = need_pyarrow()
    offsets = column.offsets.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    lengths = np.diff(offsets)
    first, last = (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, 0)
    if column.null_count:
        # Rows that are null may still span values.
        column_missing = column.is_null().to_numpy(zero_copy_only=False)
        hidden = column_missing & (lengths > 0)
        if hidden.any():
            column = pa.concat_arrays([column.take(pa.array(np.arange(len(column))))])
            offsets = column.offsets.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
            lengths = np.where(column_missing, 0, np.diff(offsets))
            first, last = int(offsets[0]), int(offsets[-1])
    items = column.values.slice(first, last - first)
    values, null = _dense(items)
    bad = None
    if null is not None:
        flat = null.reshape(len(items), -1).any(axis=1)
        counts = np.concatenate([[0], np.cumsum(flat)])
        bad = counts[offsets[1:] - first] > counts[offsets[:-1] - first]
    return ts.Ragged(values, lengths), bad


def _dense(column: Any) -> tuple[NDArray[Any], Bools | None]:
    """Return numbers as an array, lists of one size as its further axes, and where nulls are."""
    pa = need_pyarrow()
    if pa.types.is_fixed_size_list(column.type):
        size = column.type.list_size
        # The child of an array that was cut out of another one is still the whole of it.
        inner = column.values.slice(column.offset * size, len(column) * size)
        values, null = _dense(inner)
        shape = (len(column), size, *values.shape[1:])
        return values.reshape(shape), None if null is None else null.reshape(shape)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        raise ValueError("lists inside lists are no column of a store")
    null = column.is_null().to_numpy(zero_copy_only=False) if column.null_count else None
    if null is not None:
        column = column.fill_null(False if pa.types.is_boolean(column.type) else 0)
    return column.to_numpy(zero_copy_only=False), null


def _soft(column: Any, kind: ts.SoftLabel) -> ts.SoftLabels:
    """Return distributions."""
    if kind.top is None:
        return ts.SoftLabels(None, _dense(column)[0], kind.classes)
    ids, _ = _dense(column.field("ids"))
    probs, _ = _dense(column.field("probs"))
    return ts.SoftLabels(ids, probs, kind.classes)
