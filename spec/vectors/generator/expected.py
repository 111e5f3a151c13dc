"""What a reader must find, as JSON, from what the generator wrote (README.md of this folder)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from .columns import WIDTH, Column, Sample
from .datafile_writer import Written
from .primitives import digest
from .store_writer import STORE_ID, Version, primary, spans

LONGEST = 64


def of_file(
    file: Written,
    *,
    attachments: dict[str, bytes] | None = None,
    metadata: str | None = None,
    refused: Sequence[str] = (),
) -> dict[str, Any]:
    """Describe a data file that is opened alone."""
    kept = [c for c in file.columns if c.name not in refused]
    first = primary(file.columns)
    return {
        "attachments": {name: _bytes(data) for name, data in (attachments or {}).items()},
        "columns": [_column(c) for c in file.columns],
        "metadata": metadata,
        "refused": sorted(refused),
        "samples": [{"id": str(i), **{c.name: _value(c, c.samples[i]) for c in kept}} for i in range(file.rows)],
        "spans": [file_spans(file, first)] if first is not None and first in kept else [],
    }


def file_spans(file: Written, column: Column) -> list[list[str]]:
    """Give the spans of a file that is one shard (7.3)."""
    if not column.blocks:
        return [["0", str(file.rows), "0", "0"]] if file.rows else []
    groups: list[list[int]] = [[]]
    unit = 1 if column.ragged else column.width
    sizes = [values // unit for values in column.runs]
    for b in range(len(sizes)):
        if sum(sizes[i] for i in groups[-1]) >= 2**18:
            groups.append([])
        groups[-1].append(b)
    begins, result, value = column.begins(), [], 0
    starts = [sum(column.lengths[:row]) // unit for row in range(file.rows)] if file.rows < 1000 else []
    for group in groups:
        values = sum(sizes[b] for b in group)
        mine = [row for row, b in enumerate(begins) if b in group]
        lead = min(starts[mine[0]] - value, values) if mine else values
        result.append([str(x) for x in (len(group), len(mine), values, lead)])
        value += values
    return result


def of_store(version: Version, *, refused: Sequence[str] = (), tags: dict[str, int] | None = None) -> dict[str, Any]:
    """Describe a version of a store."""
    kept = [c for c in version.schema if c.name not in refused]
    first = primary(version.schema)
    samples = []
    for page in version.pages:
        for s, shard in enumerate(page.shards):
            gone = {row for a, n in page.deleted.get(s, []) for row in range(a, a + n)}
            ids = [a + i for a, n in shard.ids for i in range(n)]
            rows = {c.name: shard.rows(c) for c in kept}
            for row in range(shard.samples):
                if row not in gone:
                    samples.append({"id": str(ids[row]), **{c.name: _value(c, rows[c.name][row]) for c in kept}})
    shards = [shard for page in version.pages for shard in page.shards]
    return {
        "attachments": {name: _bytes(item.content) for name, item in version.attachments},
        "columns": [_column(c) for c in version.schema],
        "metadata": version.more.get(13),
        "refused": sorted(refused),
        "samples": samples,
        "spans": [[[str(x) for x in span] for span in spans(shard, first)] for shard in shards] if first else [],
        "store": {
            "id": STORE_ID.hex(),
            "tags": {k: str(v) for k, v in (tags or {}).items()},
            "version": str(version.number),
        },
    }


def of_part(version: Version, column: Column | None) -> dict[str, Any]:
    """Describe a staged part (8.6) that holds the page of a version, and the column that it is for."""
    whole = of_store(version)
    kept = {key: whole[key] for key in ("columns", "refused", "samples", "spans")}
    return kept | {
        "begun": str(version.number - 1),
        "column": None if column is None else _column(column),
        "nonce": bytes(range(0x40, 0x50)).hex(),
    }


def _column(column: Column) -> dict[str, Any]:
    parameters = {k: v for k, v in column.parameters.items() if k < 128 or column.type > 11}
    return {
        "id": str(column.id),
        "name": column.name,
        "optional": column.optional,
        "parameters": {str(k): _parameter(v) for k, v in parameters.items()},
        "type": str(column.type),
    }


def _value(column: Column, sample: Sample) -> Any:
    if sample is None:
        return None
    if column.type == 8:
        return column.categories[sample[0]]
    if column.type == 9:
        return bytes(sample).decode() if len(sample) <= 4 * LONGEST else _long(sample, 1)
    if column.type == 10:
        return _bytes(bytes(sample))
    if column.type == 1 and len(sample) > LONGEST:
        return _long(sample, WIDTH[column.dtype])
    found: list[Any] = [str(v) if column.codec == 5 else _scalar(column.dtype, v) for v in sample]
    if not column.ragged and not column.shape:
        return found[0]
    for size in reversed([] if column.type == 6 else column.shape[1:]):
        found = [found[at : at + size] for at in range(0, len(found), size)]
    return found


def _scalar(dtype: int, value: int) -> str:
    width = WIDTH[dtype]
    if dtype in (9, 10, 11, 12):
        return f"{value:0{2 * width}x}"
    return str(int.from_bytes(value.to_bytes(width, "little"), "little", signed=5 <= dtype <= 8))


def _parameter(value: Any) -> Any:
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    if isinstance(value, list):
        return [_parameter(item) for item in value]
    return value if isinstance(value, bool) else str(value)


def _long(values: Sequence[int], width: int) -> dict[str, str]:
    raw = b"".join(v.to_bytes(width, "little") for v in values)
    return {"blake2b": digest(raw).hex(), "values": str(len(values))}


def _bytes(data: bytes) -> Any:
    return data.hex() if len(data) <= 4 * LONGEST else _long(data, 1)
