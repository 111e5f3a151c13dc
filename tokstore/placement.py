"""Where one column of the shards of a page lies <-> bytes (format.md 8.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.column_types import BIT, Category, Codes, ColumnType, Label, Score, Text, UnknownType
from tokstore.errors import CorruptError
from tokstore.packed import Ints, PackedReader, encode_packed
from tokstore.ranges import decode_ranges, encode_ranges_of
from tokstore.wire import fields

__all__ = [
    "ABSENT",
    "CONSTANT",
    "FIRST_FILE",
    "Placement",
    "bytes_field",
    "decode_placement",
    "encode_placement",
    "has_nan",
    "join_placements",
    "join_ranges",
    "keeps_ranges",
    "may_have_values",
    "packed_field",
    "renumbered",
]

ABSENT, CONSTANT, FIRST_FILE = 0, 1, 2
_PLACEMENT_KINDS = dict.fromkeys(range(1, 9), bytes)
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

    @classmethod
    def absent(cls, samples: Ints, kind: ColumnType | None) -> Placement:
        """Return the placement of a column that shards of so many samples do not have: every sample is missing."""
        zero = np.zeros(len(samples), np.int64)
        missing = samples if kind is None or kind.optional else None
        return cls(zero, zero, zero, zero, missing, zero if kind is not None and has_nan(kind) else None)

    def take(self, shards: Ints) -> Placement:
        """Return the placement of some of the shards, by number, in any order."""
        constants = None
        if self.constants is not None:
            constant = self.where == CONSTANT
            raw = np.frombuffer(self.constants, np.uint8).reshape(int(np.count_nonzero(constant)), -1)
            chosen = shards[constant[shards]]
            constants = raw[(np.cumsum(constant) - 1)[chosen]].tobytes() or None
        return Placement(
            self.where[shards],
            self.first_row[shards],
            self.values[shards],
            self.stored_bytes[shards],
            None if self.missing is None else self.missing[shards],
            None if self.nans is None else self.nans[shards],
            None if self.ranges is None else tuple(self.ranges[i] for i in shards.tolist()),
            constants,
        )


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
        made[5] = encode_ranges_of(kind, p.ranges)  # type: ignore[arg-type]
    if p.missing is not None:
        made[6] = encode_packed(p.missing)
    if p.nans is not None:
        made[7] = encode_packed(p.nans)
    if p.constants is not None:
        made[8] = p.constants
    return made


def has_nan(kind: ColumnType) -> bool:
    """Tell whether values of a type can be NaN, which is counted then; of unknown types nobody can tell."""
    return not isinstance(kind, UnknownType) and kind.has_nan


def keeps_ranges(kind: ColumnType) -> bool:
    """Tell whether pages get ranges of a column of a type."""
    return not isinstance(kind, UnknownType) and (not kind.ragged or isinstance(kind, Text))


def may_have_values(placement: Placement, kind: ColumnType | None) -> NDArray[np.bool_]:
    """Tell which shards may have a value of a column: an empty text is a value of no bytes."""
    is_ragged = kind is not None and not isinstance(kind, UnknownType) and kind.ragged
    return np.asarray(placement.where != ABSENT if is_ragged else placement.values > 0, bool)


def _has_ranges(kind: ColumnType | None) -> bool:
    """Tell whether ranges of a type are kept here; those of unknown types are dropped, which the format allows."""
    return kind is not None and not isinstance(kind, UnknownType) and kind.ranged


def decode_placement(given: Any, samples: Ints, files: int, kind: ColumnType | None) -> Placement:
    """Parse and check a placement.

    Args:
        given: Its msgpack map.
        samples: Samples per shard of the page.
        files: Files of the page.
        kind: The type of the column; ``None`` for one that the schema does not have any more.
    """
    raw, n = fields(given, _PLACEMENT_KINDS, (5, 6, 7, 8), "a placement", _RULE), len(samples)
    is_known = kind is not None and not isinstance(kind, UnknownType)
    ranges = None
    if 5 in raw and kind is not None and is_known:
        reader = PackedReader(raw[5], "ranges", "format.md 4.5")
        present, low, high = decode_ranges(reader, n, kind)
        reader.end()
        bounds = zip(present.tolist(), low.tolist(), high.tolist(), strict=True)
        ranges = tuple((a, b) if here else None for here, a, b in bounds)
    found = Placement(
        packed_field(raw, 1, n, high=FIRST_FILE + files - 1 if files else CONSTANT),
        packed_field(raw, 2, n),
        packed_field(raw, 3, n),
        packed_field(raw, 4, n),
        packed_field(raw, 6, n) if 6 in raw else None,
        packed_field(raw, 7, n) if 7 in raw else None,
        ranges,
        raw.get(8),
    )
    if kind is not None:
        _check_placement(found, samples, kind, is_known)
    return found


def _check_placement(p: Placement, samples: Ints, kind: ColumnType, is_known: bool) -> None:
    """Check that the fields of a placement fit each other and the type of the column."""
    absent, constant = p.where == ABSENT, p.where == CONSTANT
    homeless = absent | constant
    if (p.first_row[homeless] != 0).any() or (p.stored_bytes[homeless] != 0).any() or (p.values[absent] != 0).any():
        raise CorruptError("a shard without a file has a place, bytes or values in one", rule=_RULE)
    if not kind.optional and (samples[absent] != 0).any():
        raise CorruptError("a column that is not optional is absent", rule=_RULE)
    if (p.missing is not None) != kind.optional or (is_known and (p.nans is not None) != has_nan(kind)):
        raise CorruptError("missing or NaN counts of a column are there, or are not", rule=_RULE)
    if p.missing is not None and (
        (p.missing > samples).any() or (p.missing[absent] != samples[absent]).any() or p.missing[constant].any()
    ):
        raise CorruptError("missing counts of a column do not fit its shards", rule=_RULE)
    if not is_known:
        return
    count = int(np.count_nonzero(constant))
    if (count and (kind.shape or isinstance(kind, Category))) or len(p.constants or b"") != count * kind.dtype.itemsize:
        raise CorruptError("the constants of a column are not one value for each constant shard", rule=_RULE)
    _check_constants(p.constants or b"", kind)
    if not kind.ragged and (p.values != np.where(absent, 0, samples * kind.width)).any():
        raise CorruptError("a column of fixed shape has other values than samples", rule=_RULE)


def _check_constants(constants: bytes, kind: ColumnType) -> None:
    """Check that constants are values of the type of a column (registry.md 1)."""
    most = kind.classes if isinstance(kind, Label) else kind.size if isinstance(kind, Codes) else None
    most = 2 if kind.dtype_number == BIT else most
    values = np.frombuffer(constants, np.uint8 if kind.dtype_number == BIT else kind.dtype)
    if most is not None and len(values) and int(values.max()) >= most:
        raise CorruptError(f"a constant is not below {most}", rule="registry.md 1")
    if isinstance(kind, Score) and not kind.optional and np.isnan(values).any():
        raise CorruptError("a constant of a score that is not optional is NaN", rule="registry.md 1")


def join_placements(
    a: Placement | None, b: Placement | None, shards: tuple[Ints, Ints], numbers: Ints, kind: ColumnType | None
) -> Placement:
    """Join the placements of one column in two pages.

    Args:
        a, b: The placements; ``None`` where a page does not have the column.
        shards: Samples per shard of each page.
        numbers: The number that each file of the second page has in the page of both.
        kind: The type of the column.
    """
    left, right = (one or Placement.absent(samples, kind) for one, samples in zip((a, b), shards, strict=True))
    nothing = [np.zeros(len(samples), np.int64) for samples in shards]
    where = renumbered(right.where, numbers)

    def both(name: str) -> Ints | None:
        x, y = getattr(left, name), getattr(right, name)
        if x is None and y is None:
            return None
        return np.concatenate([nothing[0] if x is None else x, nothing[1] if y is None else y])

    ranges = None
    # No range means no value: a side that has values and does not say their ranges leaves none for the page.
    sides = [
        one.ranges if one.ranges is not None or may_have_values(one, kind).any() else (None,) * len(one.where)
        for one in (left, right)
    ]
    if sides[0] is not None and sides[1] is not None and _has_ranges(kind):
        ranges = sides[0] + sides[1]
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


def renumbered(where: Ints, numbers: Ints) -> Ints:
    """Return where shards lie after their files got other numbers."""
    result, inside = where.copy(), where >= FIRST_FILE
    result[inside] = FIRST_FILE + numbers[where[inside] - FIRST_FILE]
    return result


def join_ranges(ranges: Sequence[tuple[Any, Any] | None]) -> tuple[Any, Any] | None:
    """Return the range over several groups."""
    known = [one for one in ranges if one is not None]
    return (min(one[0] for one in known), max(one[1] for one in known)) if known else None
