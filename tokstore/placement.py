"""Where one column of the shards of a page lies <-> bytes (format.md 8.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokstore.block import decode_ranges, encode_ranges
from tokstore.column_types import ColumnType, Text, UnknownType
from tokstore.errors import CorruptError
from tokstore.packed import Ints, PackedReader, encode_packed

__all__ = [
    "ABSENT",
    "CONSTANT",
    "FIRST_FILE",
    "Placement",
    "bytes_field",
    "decode_placement",
    "encode_placement",
    "join_placements",
    "join_ranges",
    "packed_field",
]

ABSENT, CONSTANT, FIRST_FILE = 0, 1, 2
_PLACEMENT_KEYS = frozenset(range(1, 9))
_RULE = "format.md 8.3"


@dataclass(frozen=True)
class Placement:
    """Where one column lies, per shard of a page.

    Attributes:
        where: `ABSENT`, `CONSTANT`, or `FIRST_FILE` plus the number of the file.
        first_row: Row of the file at which the shard begins.
        ranges: One range or ``None`` per shard; ``None`` in all where the column has no ranges.
    """

    where: Ints
    first_row: Ints
    values: Ints
    stored_bytes: Ints
    missing: Ints | None = None
    nans: Ints | None = None
    ranges: tuple[tuple[Any, Any] | None, ...] | None = None
    constants: bytes | None = None


def bytes_field(value: object) -> bytes:
    """Return a value that has to be bytes."""
    if not isinstance(value, bytes):
        raise CorruptError("a field of a page is not bytes", rule=_RULE)
    return value


def packed_field(raw: dict[int, Any], key: int, count: int, low: int = 0, high: int = 2**63 - 1) -> Ints:
    """Read a packed array that fills its field."""
    reader = PackedReader(bytes_field(raw.get(key)), f"key {key}", _RULE)
    values = reader.packed(count, "values", low, high)
    reader.end()
    return values


def encode_placement(p: Placement, kind: ColumnType | None) -> dict[int, object]:
    """Return the msgpack map of a placement."""
    made: dict[int, object] = {
        1: encode_packed(p.where),
        2: encode_packed(p.first_row),
        3: encode_packed(p.values),
        4: encode_packed(p.stored_bytes),
    }
    if p.ranges is not None and _has_ranges(kind):
        made[5] = encode_ranges(p.ranges, kind.dtype)  # type: ignore[union-attr]
    if p.missing is not None:
        made[6] = encode_packed(p.missing)
    if p.nans is not None:
        made[7] = encode_packed(p.nans)
    if p.constants is not None:
        made[8] = p.constants
    return made


def _has_ranges(kind: ColumnType | None) -> bool:
    """Tell whether ranges of a type are kept here; those of unknown types are dropped, which the format allows."""
    return kind is not None and not isinstance(kind, (UnknownType, Text))


def decode_placement(raw: Any, n: int, files: int, kind: ColumnType | None) -> Placement:
    """Parse a placement."""
    if not isinstance(raw, dict) or not {1, 2, 3, 4} <= set(raw) or set(raw) - _PLACEMENT_KEYS:
        raise CorruptError("a placement lacks a key, or has an unknown one", rule=_RULE)
    ranges = None
    if 5 in raw and kind is not None and not isinstance(kind, UnknownType):
        reader = PackedReader(bytes_field(raw[5]), "ranges", "format.md 4.5")
        present, low, high = decode_ranges(reader, n, kind)
        reader.end()
        bounds = zip(present.tolist(), low.tolist(), high.tolist(), strict=True)
        ranges = tuple((a, b) if here else None for here, a, b in bounds)
    return Placement(
        packed_field(raw, 1, n, high=FIRST_FILE + files - 1 if files else CONSTANT),
        packed_field(raw, 2, n),
        packed_field(raw, 3, n),
        packed_field(raw, 4, n),
        packed_field(raw, 6, n) if 6 in raw else None,
        packed_field(raw, 7, n) if 7 in raw else None,
        ranges,
        bytes_field(raw[8]) if 8 in raw else None,
    )


def join_placements(
    a: Placement | None, b: Placement | None, shards: tuple[int, int], files: int, kind: ColumnType | None
) -> Placement:
    """Join the placements of one column in two pages; `files` are the files of the first."""
    nothing = [np.zeros(n, np.int64) for n in shards]
    left, right = (one or Placement(zero, zero, zero, zero) for one, zero in zip((a, b), nothing, strict=True))
    where = np.where(right.where >= FIRST_FILE, right.where + files, right.where)

    def both(name: str) -> Ints | None:
        x, y = getattr(left, name), getattr(right, name)
        if x is None and y is None:
            return None
        return np.concatenate([nothing[0] if x is None else x, nothing[1] if y is None else y])

    ranges = None
    if (left.ranges is not None or right.ranges is not None) and _has_ranges(kind):
        ranges = (left.ranges or (None,) * shards[0]) + (right.ranges or (None,) * shards[1])
    constants = (left.constants or b"") + (right.constants or b"")
    return Placement(
        where=np.concatenate([left.where, where]),
        first_row=np.concatenate([left.first_row, right.first_row]),
        values=np.concatenate([left.values, right.values]),
        stored_bytes=np.concatenate([left.stored_bytes, right.stored_bytes]),
        missing=both("missing"),
        nans=both("nans"),
        ranges=ranges,
        constants=constants or None,
    )


def join_ranges(ranges: Sequence[tuple[Any, Any] | None]) -> tuple[Any, Any] | None:
    """Return the range over several groups."""
    known = [one for one in ranges if one is not None]
    return (min(one[0] for one in known), max(one[1] for one in known)) if known else None
