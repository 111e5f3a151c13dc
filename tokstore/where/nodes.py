"""The nodes of a condition: first as it was written, then bound to columns (three-valued, like SQL).

A comparison with something that is missing is neither true nor false; ``not`` leaves it so, and only what is true is
kept. NaN is there, and compares as IEEE 754 says: only ``!=`` is true.
"""

from __future__ import annotations

from dataclasses import dataclass

from tokstore.where.fields import Field
from tokstore.where.predicates import Predicate

__all__ = [
    "And",
    "Comparison",
    "Condition",
    "Constant",
    "IsMissing",
    "Length",
    "Literal",
    "Membership",
    "Name",
    "Node",
    "Not",
    "Operand",
    "Or",
    "Pair",
    "Tested",
    "Written",
]


# As it was written ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a string, true or false."""

    value: int | float | str | bool
    at: int


@dataclass(frozen=True, slots=True)
class Name:
    """A column, or ``sample_id``."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Length:
    """``length(column)``."""

    name: str
    at: int


Operand = Literal | Name | Length


@dataclass(frozen=True, slots=True)
class Comparison:
    """``left op right``; a chain is an `And` of several."""

    left: Operand
    op: str
    right: Operand
    at: int


@dataclass(frozen=True, slots=True)
class Membership:
    """``operand in (values)``."""

    operand: Operand
    values: tuple[Literal, ...]
    at: int


# As it is evaluated -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Constant:
    """True or false for every sample."""

    truth: bool


@dataclass(frozen=True, slots=True)
class Tested:
    """The value of a field passes a test."""

    field: Field
    test: Predicate


@dataclass(frozen=True, slots=True)
class Pair:
    """A comparison of two fields that hold numbers."""

    left: Field
    op: str
    right: Field


# In both --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class IsMissing:
    """``operand is missing``; true or false, never in between."""

    field: Operand | Field


@dataclass(frozen=True, slots=True)
class Not:
    """``not item``."""

    item: Condition


@dataclass(frozen=True, slots=True)
class And:
    """All items are true."""

    items: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Some item is true."""

    items: tuple[Condition, ...]


Condition = Comparison | Membership | Constant | Tested | Pair | IsMissing | Not | And | Or
Written = Condition
"""A condition whose names are not looked up yet."""
Node = Condition
"""A condition that is bound to columns: without `Comparison` and `Membership`."""
