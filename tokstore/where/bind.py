"""Nodes as they were written -> nodes that know their columns, with every type checked before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tokstore.errors import ColumnError, suggest
from tokstore.schema import Schema
from tokstore.where.fields import FLOAT, INTEGER, TEXT, Field, field_of, length_of, presence_of
from tokstore.where.lexer import pointed
from tokstore.where.nodes import (
    And,
    Comparison,
    Constant,
    IsMissing,
    Length,
    Literal,
    Membership,
    Name,
    Node,
    Not,
    Operand,
    Or,
    Pair,
    Tested,
    Written,
)
from tokstore.where.parse import parse_operand
from tokstore.where.predicates import FLIPPED, OPERATORS, ClassTest, TextTest, ValueTest, number_set, number_test

__all__ = ["bind", "bind_field"]


def bind_field(schema: Schema, name: str) -> Field:
    """Return the field that a name, ``sample_id`` or ``length(column)`` stands for.

    Raises:
        ColumnError: No such column.
        TypeError: Its type cannot be compared.
    """
    if not isinstance(name, str):
        raise TypeError(f"a column name is a string, not {type(name).__name__}")
    operand = parse_operand(name) if "(" in name else Name(name, -1)
    if isinstance(operand, Length):
        return length_of(schema, operand.name)
    return field_of(schema, name)


def bind(node: Written, schema: Schema, text: str | None = None) -> Node:
    """Look up the columns of a condition, and check that everything can be compared.

    Args:
        node: The condition.
        schema: The columns there are.
        text: Its text, for errors that show the place.

    Raises:
        ColumnError: No such column.
        TypeError: Values of different kinds, or of a kind that cannot be compared.
        ValueError: A name of a class that a label does not have.
    """
    return _Binder(schema, text).node(node)


class _Binder:
    """Bind one condition."""

    def __init__(self, schema: Schema, text: str | None) -> None:
        self._schema, self._text = schema, text

    def _where(self, at: int) -> str:
        return "" if self._text is None or at < 0 else f" {pointed(self._text, at)}"

    def _found(self, find: Callable[[Schema, str], Field], name: str, at: int) -> Field:
        """Look up a field; errors say where in the condition."""
        try:
            return find(self._schema, name)
        except ColumnError as error:
            raise ColumnError(f"{error.message}{self._where(at)}", hint=error.hint) from None
        except TypeError as error:
            raise TypeError(f"{error}{self._where(at)}") from None

    def _field(self, operand: Name | Length) -> Field:
        find = length_of if isinstance(operand, Length) else field_of
        return self._found(find, operand.name, operand.at)

    def node(self, node: Written) -> Node:
        """Bind a node and all below it."""
        if isinstance(node, Comparison):
            return self._comparison(node)
        if isinstance(node, Membership):
            return self._membership(node)
        if isinstance(node, IsMissing) and isinstance(node.field, (Name, Length)):
            return IsMissing(self._found(presence_of, node.field.name, node.field.at))
        if isinstance(node, Not):
            return Not(self.node(node.item))
        if isinstance(node, (And, Or)):
            items = tuple(self.node(item) for item in node.items)
            # What costs least to look at comes first; the others then look at fewer samples.
            return type(node)(tuple(sorted(items, key=cost)))
        return node

    def _comparison(self, node: Comparison) -> Node:
        left, op, right, at = node.left, node.op, node.right, node.at
        if isinstance(left, Literal) and isinstance(right, Literal):
            if isinstance(left.value, str) != isinstance(right.value, str):
                raise TypeError(f"a text cannot be compared with a number{self._where(at)}")
            return Constant(bool(OPERATORS[op](left.value, right.value)))
        if isinstance(left, Literal):
            left, op, right = right, FLIPPED[op], left
        field = self._field(_not_literal(left))
        if isinstance(right, Literal):
            return self._test(field, op, [right], at)
        other = self._field(right)
        if not field.is_number or not other.is_number:
            raise TypeError(f"{field.name} and {other.name} are compared as numbers, and one is text{self._where(at)}")
        return Pair(field, op, other)

    def _membership(self, node: Membership) -> Node:
        if isinstance(node.operand, Literal):
            raise TypeError(f"a column stands before 'in'{self._where(node.operand.at)}")
        return self._test(self._field(node.operand), "in", list(node.values), node.at)

    def _test(self, field: Field, op: str, values: list[Literal], at: int) -> Node:
        """Return the test of a field against one value, or ``in`` several."""
        names = field.class_names
        texts = [isinstance(one.value, str) for one in values]
        if field.is_text or (names is not None and any(texts)):
            wrong = next((one for one, is_text in zip(values, texts, strict=True) if not is_text), None)
            if wrong is not None:
                raise TypeError(f"{field.name} is text and compared with a number{self._where(max(wrong.at, at))}")
            plain = [str(one.value) for one in values]
            if names is not None:
                return Tested(field, self._classes(field, names, op, plain, at))
            return Tested(field, TextTest("==" if op == "in" else op, tuple(sorted({one.encode() for one in plain}))))
        numbers: list[float] = []
        for one in values:
            if isinstance(one.value, str):
                hint = "; its classes have no names" if field.kind == INTEGER else ""
                raise TypeError(f"{field.name} is a number and compared with text{hint}{self._where(max(one.at, at))}")
            if isinstance(one.value, bool) and (field.kind != INTEGER or names is not None):
                raise TypeError(f"{field.name} is compared with {one.value!r}{self._where(max(one.at, at))}")
            numbers.append(one.value if isinstance(one.value, float) else int(one.value))
        dtype = _dtype(field)
        found = number_set(dtype, numbers) if op == "in" else number_test(dtype, op, numbers[0])
        if isinstance(found, bool):  # the same for all samples that are there
            never = Tested(field, ValueTest("==", ()))
            return Not(never) if found else never
        return Tested(field, found)

    def _classes(self, field: Field, names: tuple[str, ...], op: str, plain: list[str], at: int) -> ClassTest:
        """Return the test of a label by names of its classes."""
        if op in ("in", "==", "!="):
            unknown = next((one for one in plain if one not in names), None)
            if unknown is not None:
                raise ValueError(
                    f"no class of {field.name} is named {unknown!r}{self._where(at)}\n{suggest(unknown, names)}"
                )
        compare: Callable[[str], Any] = (
            (lambda name: name in plain) if op == "in" else (lambda name: OPERATORS[op](name, plain[0]))
        )
        return ClassTest(tuple(i for i, name in enumerate(names) if compare(name)), len(names))


def _not_literal(operand: Operand) -> Name | Length:
    """Return an operand that is known to be no literal."""
    if isinstance(operand, Literal):
        raise TypeError("a literal")
    return operand


def _dtype(field: Field) -> np.dtype[Any]:
    """Return the dtype in which the values of a field are compared."""
    if field.column is not None and field.kind in (FLOAT, INTEGER):
        return field.column.type.dtype
    return np.dtype(np.int64)


def cost(node: Node) -> int:
    """Return how much it costs to decide a node: 0 nothing is decoded, 1 numbers are, 2 texts are."""
    if isinstance(node, Tested):
        return 2 if node.field.kind == TEXT else int(node.field.reads_blocks)
    if isinstance(node, Pair):
        return int(node.left.reads_blocks or node.right.reads_blocks)
    if isinstance(node, Not):
        return cost(node.item)
    if isinstance(node, (And, Or)):
        return max(map(cost, node.items))
    return 0
