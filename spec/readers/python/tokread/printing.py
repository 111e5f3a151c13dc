"""What a reader found, as JSON that is equal for equal contents in every language (spec/vectors/README.md)."""

from __future__ import annotations

import json
import struct
from typing import Any

from .columnfile import Stored
from .contents import Contents
from .conventions import digest, integer_bytes
from .parameters import BYTES, CATEGORY, SOFT_LABEL, TEXT, TOKENS
from .parts import Part
from .schema import FLOATS, SIGNED, WIDTH, Column
from .views import View

LONGEST = 64


def as_json(found: Contents) -> str:
    """Write the contents as sorted JSON that ends in a newline."""
    return json.dumps(describe(found), sort_keys=True) + "\n"


def describe(found: Contents) -> dict[str, Any]:
    """Turn the contents into dicts, lists and strings."""
    result: dict[str, Any] = {
        "attachments": {name: _bytes(data) for name, data in found.attachments.items()},
        "columns": [_column(column) for column in found.columns],
        "metadata": found.metadata,
        "refused": sorted(found.refused),
        "samples": [
            {
                "id": str(number),
                **{c.name: _value(c, found.rows[c.name][i]) for c in found.columns if c.name in found.rows},
            }
            for i, number in enumerate(found.sample_ids)
        ],
        "spans": [[[str(x) for x in span] for span in shard] for shard in found.spans],
    }
    if found.version is not None and found.store_id is not None:
        result["store"] = {
            "id": found.store_id.hex(),
            "tags": {k: str(v) for k, v in found.tags.items()},
            "version": str(found.version),
        }
    if found.parts:
        result["parts"] = {name: _part(part) for name, part in found.parts.items()}
    if found.views:
        result["views"] = {name: _view(view, found) for name, view in found.views.items()}
    return result


def _part(part: Part) -> dict[str, Any]:
    """Describe a staged part."""
    whole = describe(part.contents)
    kept = {key: whole[key] for key in ("columns", "refused", "samples", "spans")}
    column = None if part.column is None else _column(part.column)
    return kept | {"begun": str(part.begun), "column": column, "nonce": part.nonce.hex()}


def _view(view: View, found: Contents) -> dict[str, Any]:
    """Describe a saved view as it is in the version that was read."""
    chosen = view.chosen(found.sample_ids)
    names = None if view.columns is None else [column.name for column in found.columns if column.id in view.columns]
    return {
        "columns": names,
        "columns_left_out": str(0 if view.columns is None else len(view.columns) - len(names or [])),
        "created": str(view.created),
        "left_out": str(view.samples - len(chosen)),
        "samples": [str(number) for number, _ in chosen],
        "verbs": view.verbs,
        "version": str(view.version),
        "weights": None if view.weights is None else [str(weight) for _, weight in chosen],
    }


def _column(column: Column) -> dict[str, Any]:
    return {
        "id": str(column.id),
        "name": column.name,
        "optional": column.optional,
        "parameters": {str(key): _plain(value) for key, value in column.parameters.items()},
        "type": str(column.type),
    }


def _plain(value: Any) -> Any:
    """Turn a metadata value into JSON."""
    if isinstance(value, bool):
        return value
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    return value if isinstance(value, str) else str(value)


def _value(column: Column, value: list[int] | None) -> Any:
    if value is None:
        return None
    if column.type in (TEXT, CATEGORY):
        return bytes(value).decode("utf-8") if len(value) <= 4 * LONGEST else _long(value, 1)
    if column.type == BYTES:
        return _bytes(bytes(value))
    if column.type == TOKENS and len(value) > LONGEST:
        return _long(value, WIDTH[column.dtype])
    if isinstance(value, Stored):
        return [str(x) for x in value]
    scalars = [_scalar(column.dtype, x) for x in value]
    if not column.shape:
        return scalars[0]
    return scalars if column.type == SOFT_LABEL else _nested(scalars, column.shape[1:])


def _scalar(dtype: int, value: int) -> str:
    width = WIDTH[dtype]
    if dtype in FLOATS:
        return f"{value:0{2 * width}x}"
    return str(value - (1 << 8 * width) if dtype in SIGNED and value >> (8 * width - 1) else value)


def _nested(values: list[Any], inner: list[int]) -> list[Any]:
    """Put values in lists of the inner axes, the last one first."""
    for size in reversed(inner):
        values = [values[at : at + size] for at in range(0, len(values), size)]
    return values


def _long(value: list[int], width: int) -> dict[str, str]:
    """Stand for many values by their count and the digest of their bytes."""
    return {"blake2b": digest(integer_bytes(value, width)).hex(), "values": str(len(value))}


def _bytes(data: bytes) -> Any:
    return data.hex() if len(data) <= 4 * LONGEST else _long(list(data), 1)
