"""What a version holds and what it costs, as facts that JSON can hold; `describe_text` lays them out for people."""

from __future__ import annotations

from typing import Any

import numpy as np

from tokstore.column_types import INT8, PCA, ColumnType, Score, SoftLabel, Tokens, UnknownType, Vector
from tokstore.format import FLAG_OBJECT
from tokstore.placement import FIRST_FILE
from tokstore.schema import Column
from tokstore.version import Version

__all__ = ["describe_version"]

_CODEC_NAMES = {1: "tokens", 2: "numbers", 3: "text", 4: "codes", 5: "vectors", 6: "bits"}
_FORM_NAMES = {
    1: {0: "ids u16", 1: "ids u32", 2: "ranks u16", 3: "ranks LEB128", 4: "ranks u24"},
    2: {0: "values", 1: "planes", 2: "turned planes", 3: "packed", 4: "steps", 5: "planes apart", 6: "turned apart"},
    3: {0: "bytes"},
    4: {0: "values", 1: "rANS", 2: "bits"},
    5: {0: "planes", 1: "rANS"},
    6: {0: "bits", 1: "runs"},
}
COMPACT_SHARE = 0.2
"""Share of deleted samples above which a store should be compacted."""
_PACKING_NAMES = {0: "stored", 1: "zstd", 2: "zstd+dictionary"}


def describe_version(version: Version, *, deep: bool) -> dict[str, Any]:
    """Return the facts of a version as a dict that JSON can hold.

    Args:
        version: The open version.
        deep: Open every data file for blocks, forms, tables and objects of each column. Without it only the root is
            used.
    """
    root = version.root
    totals = root.totals
    manifest = len(root.encode()[0]) + sum(
        int(record[f"{name}_bytes"])
        for record in root.pages
        for name in ("page", "plan", "deletion")
        if record[f"{name}_digest"].tobytes() not in root.inline
    )
    total = totals.data_bytes + totals.object_bytes + manifest
    primary = root.schema.primary
    tokens = totals.values if isinstance(primary.type, Tokens) else None
    details = _details(version) if deep else {}
    return {
        "store": root.store_id.hex(),
        "format": "1.0",
        "version": root.version,
        "created_ms": root.created_ms,
        "samples": totals.samples,
        "deleted": _deleted(version),
        "shards": totals.shards,
        "tokens": tokens,
        "bits_per_token": 8 * total / tokens if tokens else None,
        "bytes": {
            "data": totals.data_bytes,
            "objects": totals.object_bytes,
            "manifest": manifest,
            "total": total,
        },
        "columns": [_column(version, column, details.get(column.column_id)) for column in root.schema.columns],
        "attachments": {name: {"stored_bytes": n, "bytes": m} for name, (_, n, m) in root.attachments.items()},
        "tags": dict(root.tags),
    }


def _deleted(version: Version) -> dict[str, Any]:
    """Return how many samples are deleted, and whether rewriting their shards is worth it."""
    pages = version.root.pages
    samples, deleted = int(pages["samples"].sum()), int(pages["deleted"].sum())
    share = deleted / samples if samples else 0.0
    return {"samples": deleted, "share": share, "compact": share > COMPACT_SHARE}


def _column(version: Version, column: Column, detail: dict[str, Any] | None) -> dict[str, Any]:
    """Return the facts of one column."""
    totals = version.root.columns.get(column.column_id)
    kind = column.type
    made: dict[str, Any] = {"id": column.column_id, "name": column.name, "type": repr(kind), "level": column.level}
    made["loss"] = _loss(kind)
    made["codec"] = None if isinstance(kind, UnknownType) else _CODEC_NAMES[kind.codecs[0]]
    if totals is not None:
        low, high = totals.span or (None, None)
        made |= {
            "values": totals.values,
            "block_bytes": totals.stored_bytes,
            "bits_per_value": 8 * totals.stored_bytes / totals.values if totals.values else None,
            "missing": totals.missing,
            "nan": totals.nans,
            "min": _plain(low),
            "max": _plain(high),
        }
    if detail is not None:
        made |= detail
        made["total_bytes"] = detail["section_bytes"] + detail["object_bytes"] + made.get("block_bytes", 0)
    return made


def _loss(kind: ColumnType) -> str | None:
    """Say what a type promises of values that do not come back bit for bit; ``None`` where all of them do."""
    if isinstance(kind, Score) and kind.max_error is not None:
        return f"at most {kind.max_error:g} off"
    if isinstance(kind, SoftLabel):
        kept = "" if kind.top is None else f"{kind.top} of {kind.classes:,} classes, "
        return f"{kept}probabilities as {kind.probability}"
    if isinstance(kind, Vector) and kind.method == INT8:
        return "int8, a byte per dimension"
    if isinstance(kind, Vector) and kind.method == PCA:
        axes = "along each principal axis" if kind.rotate else "per dimension"
        if kind.max_error is not None:
            return f"at most {kind.max_error:g} off {axes}"
        return f"at most {kind.bytes_per_vector:g} bytes per vector, the rotation apart"
    return None


def _plain(value: Any) -> Any:
    """Return a number as JSON has it."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if value is None or isinstance(value, int) or np.isfinite(value) else str(value)


def _details(version: Version) -> dict[int, dict[str, Any]]:
    """Open every file, and sum up what its entries say of each column."""
    columns = {column.column_id: column for column in version.root.schema.columns}
    found: dict[int, dict[str, Any]] = {
        one: {"blocks": 0, "section_bytes": 0, "object_bytes": 0, "forms": {}} for one in columns
    }
    objects: set[tuple[int, bytes]] = set()
    seen: set[bytes] = set()
    for number in range(len(version.root.pages)):
        (page,) = version.pages([number])
        used = {
            int(where) - FIRST_FILE
            for placement in page.columns.values()
            for where in placement.where.tolist()
            if where >= FIRST_FILE
        }
        for file_number in sorted(used):
            if page.file_ids[file_number] in seen:
                continue
            seen.add(page.file_ids[file_number])
            file = version.file_by_number(page, file_number)
            for entry in file.entries:
                one = int(entry["column_id"])
                if one not in columns:
                    continue
                detail = found[one]
                detail["blocks"] += int(entry["blocks"])
                # Tables and rows sections are there twice (format.md 4.10).
                detail["section_bytes"] += 2 * (int(entry["table_bytes"]) + int(entry["rows_bytes"]))
                ref = file.object_of(one) if int(entry["flags"]) & FLAG_OBJECT else None
                if ref is not None and ((one, ref.digest) not in objects or ref.offset is not None):
                    objects.add((one, ref.digest))
                    detail["object_bytes"] += ref.stored_bytes
                if one in file.qualities:
                    detail["quality"] = _joined_quality(detail.get("quality"), file.qualities[one])
                if not isinstance(columns[one].type, UnknownType) and not entry["features"][2]:
                    _count_forms(detail["forms"], int(entry["codec"]), file.table(one, columns[one].type).forms)
    return found


def _joined_quality(before: dict[str, Any] | None, measured: dict[int, Any]) -> dict[str, Any]:
    """Add what was measured of a codec with losses in one more file, weighted by the rows it was measured on."""
    rows = max(1, measured[4])
    if before is None:
        return {"rms": measured[1], "max": measured[2], "recall10": measured.get(3), "rows": rows}
    total = before["rows"] + rows
    recalls = (before["recall10"], measured.get(3))
    return {
        "rms": float(np.sqrt((before["rms"] ** 2 * before["rows"] + measured[1] ** 2 * rows) / total)),
        "max": max(before["max"], measured[2]),
        "recall10": None if None in recalls else (recalls[0] * before["rows"] + recalls[1] * rows) / total,
        "rows": total,
    }


def _count_forms(counts: dict[str, int], codec: int, forms: Any) -> None:
    """Count how blocks are coded, by name."""
    numbers, amounts = np.unique(forms, return_counts=True)
    for form, amount in zip(numbers.tolist(), amounts.tolist(), strict=True):
        value_form = _FORM_NAMES.get(codec, {}).get(form & 15, str(form & 15))
        name = f"{value_form}, {_PACKING_NAMES.get(form >> 4, '?')}"
        counts[name] = counts.get(name, 0) + amount
