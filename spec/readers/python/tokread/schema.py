"""Column records, column types and dtypes (format.md 6, registry.md 1 to 3)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .failure import require
from .metadata import fields

TOKENS, SCORE, LABEL, TEXT = 1, 4, 5, 9
KNOWN_TYPES = (TOKENS, SCORE, LABEL, TEXT)
CODEC_OF_TYPE = {TOKENS: 1, SCORE: 2, LABEL: 2, TEXT: 3}
KNOWN_CODECS = (1, 2, 3)
U8, U16, U32, U64, I8, I16, I32, I64, F16, BF16, F32, F64, BIT = range(1, 14)
WIDTH = {U8: 1, U16: 2, U32: 4, U64: 8, I8: 1, I16: 2, I32: 4, I64: 8, F16: 2, BF16: 2, F32: 4, F64: 8}
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

    @property
    def is_known(self) -> bool:
        """Say whether this reader knows the type."""
        return self.type in KNOWN_TYPES

    @property
    def is_ragged(self) -> bool:
        """Say whether samples have a length; only for known types."""
        return self.type in (TOKENS, TEXT)

    @property
    def dtype(self) -> int:
        """Give the dtype of a value; only for known types."""
        if self.type == TOKENS:
            return U16 if self.parameters[1] <= 65536 else U32
        return U8 if self.type == TEXT else int(self.parameters[1])


def parse_schema(records: Any, what: str) -> list[Column]:
    """Read an array of column records in ascending order of their ids."""
    rule = "format.md 6.1"
    require(type(records) is list, f"{what} is no array", rule)
    require(1 <= len(records) <= 65535, f"{what} has {len(records)} columns", "format.md 11")
    columns = [_column(record) for record in records]
    for before, after in pairwise(columns):
        require(before.id < after.id, f"{what}: column ids do not ascend", rule)
    require(len({column.name for column in columns}) == len(columns), f"{what}: two columns have one name", rule)
    return columns


def _column(record: Any) -> Column:
    rule = "format.md 6.1"
    known: dict[int, type] = {1: int, 2: str, 3: int, 4: dict, 5: bool, 6: str}
    m = fields(record, known, (6,), "a column record", rule)
    require(m[1] <= 2**32 - 2, f"column id {m[1]} is too large", rule)
    require(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", m[2]) is not None, f"{m[2]!r} is no name of a column", rule)
    require(m[3] < 2**16, f"column type {m[3]} is too large", rule)
    column = Column(m[1], m[2], m[3], _parameters(m[3], m[4]), m[5], m.get(6))
    return column


def _parameters(type_: int, value: dict[int, Any]) -> dict[int, Any]:
    """Check the parameters of a known type (registry.md 1)."""
    rule = "registry.md 1"
    if type_ == TOKENS:
        m = fields(value, {1: int, 2: int, 3: int, 4: int}, (2, 3, 4), "parameters of Tokens", rule)
        require(1 <= m[1] <= 2**32, f"vocab_size is {m[1]}", rule)
        for key in (2, 3, 4):
            require(m.get(key, 0) < m[1], f"a special id is {m.get(key)}, vocab_size is {m[1]}", rule)
        return m
    if type_ == SCORE:
        m = fields(value, {1: int}, (), "parameters of Score", rule)
        require(m[1] in (F16, F32, F64), f"a Score has dtype {m[1]}", rule)
        return m
    if type_ == LABEL:
        return _label(fields(value, {1: int, 2: int, 3: str}, (2, 3), "parameters of Label", rule))
    if type_ == TEXT:
        return fields(value, {}, (), "parameters of Text", rule)
    return value


def _label(m: dict[int, Any]) -> dict[int, Any]:
    rule = "registry.md 1"
    if 2 not in m:
        require(m[1] == I64, f"a Label without classes has dtype {m[1]}", rule)
        require(3 not in m, "a Label has class names but no classes", rule)
        return m
    require(1 <= m[2] <= 2**32, f"a Label has {m[2]} classes", rule)
    smallest = U8 if m[2] <= 2**8 else U16 if m[2] <= 2**16 else U32
    require(m[1] == smallest, f"a Label with {m[2]} classes has dtype {m[1]}", rule)
    if 3 in m:
        require(m[3].count("\n") == m[2], "a Label has not as many names as classes", rule)
        require(m[3].endswith("\n"), "the last class name does not end in a line feed", rule)
    return m


def primary(columns: list[Column]) -> Column | None:
    """Find the primary column (6.2); a column of an unknown type is ragged for nobody."""
    tokens = [column for column in columns if column.type == TOKENS]
    ragged = [column for column in columns if column.is_known and column.is_ragged]
    return next(iter(tokens or ragged or columns), None)


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
