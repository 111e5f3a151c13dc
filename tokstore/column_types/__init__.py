"""Column types: which values a sample may have, and their dtype at rest (registry.md 1 and 3)."""

from __future__ import annotations

from tokstore.column_types.arrays import Array, Codes, Mask
from tokstore.column_types.contract import (
    BFLOAT16,
    BIT,
    DTYPES,
    MAX_ROW_VALUES,
    ColumnType,
    Shape,
    UnknownType,
    expect,
    is_integer,
)
from tokstore.column_types.numbers import Label, Score, SoftLabel
from tokstore.column_types.texts import Bytes, Category, Text
from tokstore.column_types.tokens import Tokens
from tokstore.column_types.vectors import EXACT, INT8, PCA, Vector, exact_type

__all__ = [
    "BFLOAT16",
    "BIT",
    "COLUMN_TYPES",
    "DTYPES",
    "EXACT",
    "INT8",
    "MAX_ROW_VALUES",
    "PCA",
    "Array",
    "Bytes",
    "Category",
    "Codes",
    "ColumnType",
    "Label",
    "Mask",
    "Score",
    "Shape",
    "SoftLabel",
    "Text",
    "Tokens",
    "UnknownType",
    "Vector",
    "exact_type",
    "expect",
    "is_integer",
]

COLUMN_TYPES: dict[int, type[ColumnType]] = {
    kind.number: kind for kind in (Tokens, Codes, Vector, Score, Label, SoftLabel, Mask, Category, Text, Bytes, Array)
}
"""The types that can be read and written, by registry number."""
