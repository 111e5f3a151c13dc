"""Column records, column types and dtypes (format.md 6, registry.md 1 to 3)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .failure import require
from .metadata import fields
from .parameters import (
    ARRAY,
    BF16,
    BIT,
    BYTES,
    CATEGORY,
    CODES,
    F16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    KNOWN_TYPES,
    LABEL,
    MASK,
    SCORE,
    SOFT_LABEL,
    TEXT,
    TOKENS,
    U8,
    U16,
    U32,
    U64,
    VECTOR,
    check_parameters,
    dtype_of,
    shape_of,
    width_of,
)

CODECS = {
    TOKENS: (1,),
    CODES: (4, 2),
    VECTOR: (2, 5),
    SCORE: (2,),
    LABEL: (2,),
    SOFT_LABEL: (2,),
    MASK: (6,),
    CATEGORY: (2,),
    TEXT: (3,),
    BYTES: (3,),
    ARRAY: (2,),
}
"""The codecs of every type that this reader knows; an array of bits has codec 6 alone."""
KNOWN_CODECS = (1, 2, 3, 4, 5, 6)
WIDTH = {U8: 1, U16: 2, U32: 4, U64: 8, I8: 1, I16: 2, I32: 4, I64: 8, F16: 2, BF16: 2, F32: 4, F64: 8, BIT: 1}
"""Bytes of a value, as they are digested (format.md 10)."""
FLOATS = (F16, BF16, F32, F64)
SIGNED = (I8, I16, I32, I64)


@dataclass(frozen=True)
class Column:
    """One column as the schema describes it."""

    id: int
    name: str
    type: int
    parameters: dict[int, Any]
    optional: bool
    level: str | None
    is_primary: bool = False

    @property
    def is_known(self) -> bool:
        """Say whether this reader knows the type."""
        return self.type in KNOWN_TYPES

    @property
    def shape(self) -> list[int]:
        """Give the shape of a sample, with 0 for a ragged axis; only for known types."""
        return shape_of(self.type, self.parameters)

    @property
    def is_ragged(self) -> bool:
        """Say whether samples have a length; only for known types."""
        return self.shape[:1] == [0]

    @property
    def width(self) -> int:
        """Give the values of a row of fixed shape or of an item of a ragged one; only for known types."""
        return width_of(self.shape)

    @property
    def groups(self) -> list[tuple[int, int]]:
        """Give the first value of each group of a row, and the one after its last; only for known types."""
        ends = self.parameters[3] if self.type == VECTOR else [self.width]
        return list(pairwise([0, *ends]))

    @property
    def dtype(self) -> int:
        """Give the dtype of a value; only for known types."""
        return dtype_of(self.type, self.parameters)

    @property
    def codecs(self) -> tuple[int, ...]:
        """Give the codecs that its values may have; only for known types."""
        return (6,) if self.dtype == BIT else CODECS[self.type]


def parse_schema(records: Any, what: str) -> list[Column]:
    """Read an array of column records in ascending order of their ids."""
    rule = "format.md 6.1"
    require(type(records) is list, f"{what} is no array", rule)
    require(1 <= len(records) <= 65535, f"{what} has {len(records)} columns", "format.md 11")
    columns = [_column(record) for record in records]
    for before, after in pairwise(columns):
        require(before.id < after.id, f"{what}: column ids do not ascend", rule)
    require(len({column.name for column in columns}) == len(columns), f"{what}: two columns have one name", rule)
    require(sum(column.is_primary for column in columns) <= 1, f"{what}: two columns are the primary one", rule)
    return columns


def _column(record: Any) -> Column:
    rule = "format.md 6.1"
    known: dict[int, type] = {1: int, 2: str, 3: int, 4: dict, 5: bool, 6: str, 7: bool}
    m = fields(record, known, (6, 7), "a column record", rule)
    require(m[1] <= 2**32 - 2, f"column id {m[1]} is too large", rule)
    require(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", m[2]) is not None, f"{m[2]!r} is no name of a column", rule)
    require(m[3] < 2**16, f"column type {m[3]} is too large", rule)
    require(m.get(7, True), "key 7 of a column record is there and not true", rule)
    return Column(m[1], m[2], m[3], check_parameters(m[3], m[4]), m[5], m.get(6), 7 in m)


def primary(columns: list[Column]) -> Column | None:
    """Find the primary column (6.2); a column of an unknown type is ragged for nobody."""
    marked = [column for column in columns if column.is_primary]
    tokens = [column for column in columns if column.type == TOKENS]
    ragged = [column for column in columns if column.is_known and column.is_ragged]
    return next(iter(marked or tokens or ragged or columns), None)


def number_of(bits: int, dtype: int) -> int | float:
    """Turn the bit pattern of a value into the number it stands for; NaN stays NaN."""
    width = WIDTH[dtype]
    raw = bits.to_bytes(width, "little")
    if dtype in SIGNED:
        return int.from_bytes(raw, "little", signed=True)
    if dtype == BF16:
        return float(struct.unpack("<f", b"\0\0" + raw)[0])
    if dtype in FLOATS:
        return float(struct.unpack({F16: "<e", F32: "<f", F64: "<d"}[dtype], raw)[0])
    return bits


def check_dtype(column: Column, dtype: int) -> None:
    """Check what a column entry says against the schema."""
    if column.is_known:
        require(
            dtype == column.dtype,
            f"column {column.name} has dtype {dtype}, its type says {column.dtype}",
            "format.md 4.7",
        )
