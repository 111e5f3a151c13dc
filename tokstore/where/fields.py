"""What a condition can look at: columns of one comparable value, lengths, sample ids, presence.

A new column type that can be compared is one line in `_KINDS`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokstore.column_types import Category, ColumnType, Label, Score, Text
from tokstore.errors import ColumnError, suggest
from tokstore.schema import Column, Schema

__all__ = [
    "CATEGORY",
    "FLOAT",
    "ID",
    "INTEGER",
    "LENGTH",
    "NUMBERS",
    "PRESENCE",
    "TEXT",
    "Field",
    "field_of",
    "length_of",
    "presence_of",
]

FLOAT, INTEGER, CATEGORY, TEXT = "float", "integer", "category", "text"
LENGTH, ID, PRESENCE = "length", "id", "presence"
NUMBERS = (FLOAT, INTEGER, CATEGORY)
"""Kinds of columns with one number per row in their blocks."""

_KINDS: dict[type[ColumnType], str] = {Score: FLOAT, Label: INTEGER, Category: CATEGORY, Text: TEXT}


@dataclass(frozen=True, slots=True)
class Field:
    """One thing of every sample that a condition looks at.

    Attributes:
        kind: `FLOAT`, `INTEGER`, `CATEGORY`, `TEXT`, `LENGTH`, `ID` or `PRESENCE`.
        column: The column; ``None`` for sample ids.
    """

    kind: str
    column: Column | None = None

    @property
    def name(self) -> str:
        """The field as it is written in a condition."""
        if self.column is None:
            return "sample_id"
        return f"length({self.column.name})" if self.kind == LENGTH else self.column.name

    @property
    def is_number(self) -> bool:
        """Whether its values are numbers."""
        return self.kind in (FLOAT, INTEGER, LENGTH, ID)

    @property
    def is_text(self) -> bool:
        """Whether its values are strings."""
        return self.kind in (CATEGORY, TEXT)

    @property
    def reads_blocks(self) -> bool:
        """Whether blocks have to be decoded for its values."""
        return self.kind in (*NUMBERS, TEXT)

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes of a label that has some."""
        kind = None if self.column is None else self.column.type
        return kind.names if self.kind == INTEGER and isinstance(kind, Label) else None


def column_named(schema: Schema, name: str) -> Column:
    """Return a column, or say what was probably meant; ``sample_id`` and keywords of other languages are known."""
    found = next((column for column in schema.columns if column.name == name), None)
    if found is not None:
        return found
    known = {"True": "write true", "False": "write false"}
    known |= dict.fromkeys(("None", "null", "NULL"), "write: is missing")
    raise ColumnError(f"no column {name!r}", hint=known.get(name) or suggest(name, (*schema.names, "sample_id")))


def field_of(schema: Schema, name: str) -> Field:
    """Return the field that holds the values of a column.

    Raises:
        ColumnError: No such column.
        TypeError: Its type cannot be compared.
    """
    if name == "sample_id":
        return Field(ID)
    column = column_named(schema, name)
    kind = _KINDS.get(type(column.type))
    if kind is None or (kind != TEXT and column.type.shape):
        what = type(column.type).__name__ if kind is None else f"{type(column.type).__name__} of several values"
        article = "an" if what[0] in "AEIOU" else "a"
        hint = f"; length({name}) can be" if column.type.ragged else ""
        raise TypeError(f"column {name!r} cannot be compared: it is {article} {what}{hint}")
    return Field(kind, column)


def length_of(schema: Schema, name: str) -> Field:
    """Return the field that holds the lengths of a ragged column."""
    column = column_named(schema, name)
    if not column.type.ragged:
        raise TypeError(f"column {name!r} has no length: it has one value per sample")
    return Field(LENGTH, column)


def presence_of(schema: Schema, name: str) -> Field:
    """Return the field that says whether a column is missing."""
    return Field(ID) if name == "sample_id" else Field(PRESENCE, column_named(schema, name))
