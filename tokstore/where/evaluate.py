"""A condition -> for every row true, false, or neither where something is missing (three-valued, like SQL)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tokstore.packed import Ints
from tokstore.where.bind import cost
from tokstore.where.fields import CATEGORY, ID, Field
from tokstore.where.nodes import And, Constant, IsMissing, Node, Not, Or, Pair, Tested
from tokstore.where.predicates import OPERATORS, TextTest

__all__ = ["Rows", "Truth", "evaluate"]

Bools = NDArray[np.bool_]


class Rows(Protocol):
    """Rows of one shard."""

    @property
    def count(self) -> int:
        """Number of rows."""

    def present(self, field: Field) -> Bools | None:
        """Return which rows have a field; ``None`` if all have."""

    def numbers(self, field: Field) -> NDArray[Any]:
        """Return the values of a field that holds numbers."""

    def names(self, field: Field) -> Sequence[str]:
        """Return the strings that the numbers of a category stand for."""

    def text(self, field: Field, rows: Ints, most: int) -> tuple[NDArray[np.uint8], Ints]:
        """Return the first bytes of some texts, `most` of each, and how many bytes of each are there."""

    def text_lengths(self, field: Field) -> Ints:
        """Return the bytes of all texts."""

    def pick(self, rows: Ints) -> Rows:
        """Return some of the rows."""


class Truth(NamedTuple):
    """Rows of which a condition is true, and of which it is false; neither where it cannot be told."""

    yes: Bools
    no: Bools


def evaluate(node: Node, rows: Rows) -> Truth:
    """Decide a condition for rows."""
    if isinstance(node, Tested):
        if isinstance(node.test, TextTest):
            test = _test_category if node.field.kind == CATEGORY else _test_text
            return _where_present(test(node.test, node.field, rows), rows.present(node.field))
        return _where_present(node.test.passes(rows.numbers(node.field)), rows.present(node.field))
    if isinstance(node, (And, Or)):
        return _joined(node, rows)
    if isinstance(node, Not):
        yes, no = evaluate(node.item, rows)
        return Truth(no, yes)
    if isinstance(node, IsMissing) and isinstance(node.field, Field):
        here = None if node.field.kind == ID else rows.present(node.field)
        here = np.ones(rows.count, bool) if here is None else here
        return Truth(~here, here)
    if isinstance(node, Pair):
        passed = OPERATORS[node.op](rows.numbers(node.left), rows.numbers(node.right))
        left, right = rows.present(node.left), rows.present(node.right)
        return _where_present(passed, right if left is None else left if right is None else left & right)
    if isinstance(node, Constant):
        yes = np.full(rows.count, node.truth)
        return Truth(yes, ~yes)
    raise TypeError(f"{type(node).__name__} is not bound")


def _where_present(passed: Bools, here: Bools | None) -> Truth:
    """Return the truth of a test that knows nothing of missing rows."""
    return Truth(passed, ~passed) if here is None else Truth(passed & here, ~passed & here)


def _joined(node: And | Or, rows: Rows) -> Truth:
    """Decide items one after another, and texts only where the items before them leave it open."""
    is_and = isinstance(node, And)
    yes, no = evaluate(node.items[0], rows)
    for item in node.items[1:]:
        undecided = ~(no if is_and else yes)
        left = int(np.count_nonzero(undecided))
        if not left:
            break
        if left < rows.count and cost(item) > 1:
            at = np.flatnonzero(undecided)
            part = evaluate(item, rows.pick(at))
            one = Truth(np.zeros(rows.count, bool), np.zeros(rows.count, bool))
            one.yes[at], one.no[at] = part
        else:
            one = evaluate(item, rows)
        yes, no = (yes & one.yes, no | one.no) if is_and else (yes | one.yes, no & one.no)
    return Truth(yes, no)


def _test_category(test: TextTest, field: Field, rows: Rows) -> Bools:
    """Test categories: every string of the list once, and rows by their numbers."""
    passed: Bools = np.append(test.passes_names(rows.names(field)), False)[rows.numbers(field)]
    return passed


def _test_text(test: TextTest, field: Field, rows: Rows) -> Bools:
    """Test texts, of which only those with a fitting length are read if they have to be equal to something."""
    lengths = rows.text_lengths(field)
    wanted = np.ones(len(lengths), bool)
    if test.wants_equal:
        wanted = np.isin(lengths, [len(value) for value in test.values])
    passed = np.full(len(lengths), test.op == "!=")
    at = np.flatnonzero(wanted)
    if len(at):
        read, kept = rows.text(field, at, test.longest)
        passed[at] = test.passes_rows(read, kept, lengths[at])
    return passed
