"""Column types <-> Arrow fields, and the note of the exact types that a table of ours carries.

Arrow has no types for categories of a store, codes or soft labels, and no room for a vocabulary: the schema metadata
has them under ``tokstore.schema``, as JSON of the column records of the specification. A table without the note is read
by what its fields are:

========================================  ==========================================================
list of integers, named as token ids      token ids; also the only list of integers that there is
other list of numbers                     ``Array(dtype, (None,))``
list of booleans                          ``Mask(None)``
fixed-size list of float32                ``Vector(n)``
fixed-size list of other numbers          ``Array(dtype, (n,))``
float16, float32, float64                 ``Score(dtype)``
integers up to 64 bits, signed            ``Label()``; unsigned ones of 64 bits ``Array("uint64")``
boolean                                   ``Label(2)``
string, dictionary of strings             ``Text()``, ``Category()``
binary                                    ``Bytes()``
========================================  ==========================================================

Everything but token ids is optional there. Other fields are not carried.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import tokstore as ts
from tokstore.errors import TokstoreError, UnsupportedError

from .contract import TOKEN_NAMES, Export, Ids

__all__ = ["NOTE", "arrow_field_type", "arrow_schema", "column_types", "exact_types", "need_pyarrow", "pick_tokens"]

NOTE = b"tokstore.schema"


def need_pyarrow() -> Any:
    """Return `pyarrow`.

    Raises:
        UnsupportedError: It is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise UnsupportedError("Arrow and Parquet need pyarrow", hint="pip install 'tokstore[arrow]'") from error
    return pyarrow


def note_of(schema: ts.Schema) -> bytes:
    """Write down the types of a schema."""
    records = [{str(key): value for key, value in record.items()} for record in schema.records()]
    for record in records:
        parameters = record["4"]
        record["4"] = {str(key): value for key, value in parameters.items()} if isinstance(parameters, dict) else {}
    return json.dumps(records).encode()


def exact_types(note: bytes | None) -> dict[str, Any]:
    """Return the types that a note names; none where there is no note, or one of a later version.

    Types that allow an error become exact ones: the values were rounded once, and stay as they are.
    """
    if note is None:
        return {}
    try:
        records = [
            {int(key): value for key, value in record.items()}
            | {4: {int(key): value for key, value in record["4"].items()}}
            for record in json.loads(note)
        ]
        schema = ts.Schema.from_records(records)
    except (ValueError, KeyError, TypeError, AttributeError, TokstoreError):
        return {}
    return {name: without_error(schema[name]) for name in schema.names}


def without_error(kind: Any) -> Any:
    """Return a type that keeps values bit for bit."""
    if isinstance(kind, ts.Score) and kind.max_error is not None:
        return ts.Score(kind.dtype_name, optional=kind.optional)
    if isinstance(kind, ts.Vector) and kind.method:
        return ts.Vector(kind.dim, groups=kind.ends, optional=kind.optional)
    return kind


def pick_tokens(lists: Sequence[str]) -> str | None:
    """Choose which column of integer lists has the token ids.

    Example:
        >>> pick_tokens(["labels", "input_ids"]), pick_tokens(["x"]), pick_tokens(["x", "y"])
        ('input_ids', 'x', None)
    """
    return next((name for name in TOKEN_NAMES if name in lists), lists[0] if len(lists) == 1 else None)


def column_types(schema: Any, wanted: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return column types for the fields of an Arrow schema, and lines for those that have none.

    Args:
        schema: A `pyarrow.Schema`.
        wanted: Types that are to be taken instead, by name.
    """
    pa = need_pyarrow()
    noted = exact_types((schema.metadata or {}).get(NOTE)) | dict(wanted)
    lists = [f.name for f in schema if _is_list(pa, f.type) and pa.types.is_integer(_item(pa, f.type))]
    tokens = pick_tokens([name for name in lists if name not in noted])
    if any(isinstance(noted.get(name), ts.Tokens) for name in schema.names):
        tokens = None
    found: dict[str, Any] = {}
    lost = []
    for field in schema:
        kind = Ids() if field.name == tokens else noted.get(field.name)
        if kind is None:
            kind = _type_of(pa, field.type)
        if field.name in TOKEN_NAMES[:2] and tokens is None and kind is None and pa.types.is_nested(field.type):
            raise ValueError(f"column {field.name!r} holds {field.type}; token ids are a flat list of integers")
        if kind is None:
            lost.append(f"column {field.name!r}: a field of Arrow type {field.type} has no column type")
        else:
            found[field.name] = kind
    return found, lost


def _is_list(pa: Any, kind: Any) -> bool:
    """Tell whether a type is a list of any kind."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_text(pa: Any, kind: Any) -> bool:
    """Tell whether a type is one of strings."""
    is_view = getattr(pa.types, "is_string_view", pa.types.is_null)  # new in pyarrow 16
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or is_view(kind))


def _item(pa: Any, kind: Any) -> Any:
    """Return the type of the items of a list."""
    return kind.value_type


def _dtype(pa: Any, kind: Any) -> str | None:
    """Return the numpy dtype of numbers."""
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return str(np.dtype(kind.to_pandas_dtype()))
    return None


def _type_of(pa: Any, kind: Any) -> Any:
    """Return the column type of an Arrow type, or ``None``."""
    types = pa.types
    if types.is_floating(kind):
        return ts.Score(_dtype(pa, kind), optional=True)
    if types.is_uint64(kind):
        return ts.Array("uint64", (), optional=True)
    if types.is_integer(kind):
        return ts.Label(optional=True)
    if types.is_boolean(kind):
        return ts.Label(2, optional=True)
    if _is_text(pa, kind):
        return ts.Text(optional=True)
    if types.is_binary(kind) or types.is_large_binary(kind) or getattr(types, "is_binary_view", types.is_null)(kind):
        return ts.Bytes(optional=True)
    if types.is_dictionary(kind) and _is_text(pa, kind.value_type):
        return ts.Category(optional=True)
    if _is_list(pa, kind):
        return _list_type(pa, kind)
    return None


def _list_type(pa: Any, kind: Any) -> Any:
    """Return the column type of lists of numbers."""
    shape: tuple[int | None, ...] = ()
    while _is_list(pa, kind):
        is_fixed = pa.types.is_fixed_size_list(kind)
        if (shape and not is_fixed) or len(shape) == 4 or (is_fixed and not kind.list_size):
            return None
        shape += (kind.list_size if is_fixed else None,)
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return ts.Mask(None, optional=True) if shape == (None,) else ts.Array(bool, shape, optional=True)
    dtype = _dtype(pa, kind)
    if dtype is None:
        return None
    if dtype == "float32" and len(shape) == 1 and shape[0] is not None:
        return ts.Vector(shape[0], optional=True)
    return ts.Array(dtype, shape, optional=True)


def arrow_field_type(kind: Any) -> Any:
    """Return the Arrow type of a column type; ``None`` for a type of a later version."""
    pa = need_pyarrow()
    if isinstance(kind, ts.Text):
        return pa.large_string()
    if isinstance(kind, ts.Bytes):
        return pa.large_binary()
    if isinstance(kind, ts.Category):
        return pa.dictionary(pa.int32(), pa.string())
    if isinstance(kind, ts.Tokens):
        return pa.large_list(pa.int32() if kind.vocab_size <= 1 << 31 else pa.int64())
    if isinstance(kind, ts.SoftLabel):
        probs = pa.list_(pa.float32(), kind.top or kind.classes)
        return probs if kind.top is None else pa.struct([("ids", pa.list_(pa.int64(), kind.top)), ("probs", probs)])
    item = _item_type(pa, kind)
    if item is None:
        return None
    for size in reversed(kind.shape):
        item = pa.large_list(item) if size is None else pa.list_(item, size)
    return item


def _item_type(pa: Any, kind: Any) -> Any:
    """Return the Arrow type of one value."""
    if isinstance(kind, ts.Codes):
        return pa.int32()
    if isinstance(kind, ts.Label):
        return pa.int64()
    if isinstance(kind, ts.Mask):
        return pa.bool_()
    if isinstance(kind, ts.Vector) or (isinstance(kind, ts.Array) and kind.dtype_number == 10):
        return pa.float32()
    if isinstance(kind, (ts.Score, ts.Array)):
        return pa.from_numpy_dtype(kind.dtype.newbyteorder("="))
    return None


def arrow_schema(export: Export) -> Any:
    """Return the Arrow schema of the columns to write, with the note; columns without an Arrow type are left out."""
    pa = need_pyarrow()
    fields, kept = [], {}
    for name, kind in export.schema.items():
        made = arrow_field_type(kind)
        if made is None:
            export.lose(name, f"{kind!r} has no Arrow type")
        else:
            fields.append(pa.field(name, made, nullable=kind.optional))
            kept[name] = kind
    return pa.schema(fields, metadata={NOTE: note_of(ts.Schema(kept))})
