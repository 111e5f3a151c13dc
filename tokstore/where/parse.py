"""Words of a condition, or tuples as Parquet readers take them -> nodes, by recursive descent.

condition  = and ("or" and)*
and        = not ("and" not)*
not        = "not" not | test
test       = "(" condition ")" | operand [ (op operand)+ | ["not"] "in" "(" literals ")" | "is" ["not"] "missing" ]
operand    = number | string | "true" | "false" | name | "length" "(" name ")"
op         = "==" | "!=" | "<" | "<=" | ">" | ">="
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from tokstore.errors import suggest
from tokstore.where.lexer import KEYWORDS, Word, condition_error, words
from tokstore.where.nodes import (
    And,
    Comparison,
    Constant,
    IsMissing,
    Length,
    Literal,
    Membership,
    Name,
    Not,
    Operand,
    Or,
    Written,
)
from tokstore.where.predicates import OPERATORS

__all__ = ["parse", "parse_operand", "parse_tuples"]

_MOST_DEEP = 50


class _Parser:
    """One condition, read from left to right."""

    def __init__(self, text: str) -> None:
        self._text, self._words, self._next, self._depth = text, words(text), 0, 0

    def _word(self) -> Word:
        return self._words[self._next]

    def _is(self, *texts: str) -> bool:
        """Tell whether the next word is a keyword or sign."""
        word = self._word()
        return word.kind in ("keyword", "sign") and word.text in texts

    def _take(self, *texts: str) -> Word | None:
        """Take the next word if it is a keyword or sign that may come here."""
        if not self._is(*texts):
            return None
        self._next += 1
        return self._words[self._next - 1]

    def _fail(self, problem: str, at: int | None = None) -> NoReturn:
        raise condition_error(problem, self._text, self._word().at if at is None else at)

    def _need(self, text: str, why: str) -> None:
        if self._take(text) is None:
            self._fail(f"{text!r} is needed {why}")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _MOST_DEEP:
            self._fail(f"the condition is nested more than {_MOST_DEEP} deep")

    def whole(self) -> Written:
        """Read all of the text as a condition."""
        if self._word().kind == "end":
            self._fail("the condition is empty")
        found = self._either()
        self._end("and")
        return found

    def field(self) -> Operand:
        """Read all of the text as an operand."""
        found = self._operand()
        self._end("nothing more")
        return found

    def _end(self, expected: str) -> None:
        word = self._word()
        if word.kind == "end":
            return
        if word.text == ")":
            self._fail("a parenthesis closes that none has opened")
        lower = word.text.lower()
        if word.kind == "name" and lower in KEYWORDS:
            self._fail(f"write {lower!r} in lower case")
        hint = "" if expected != "and" else "; conditions are joined by 'and' or 'or'"
        self._fail(f"{word.text!r} does not belong here{hint}")

    def _either(self) -> Written:
        items = [self._all()]
        while self._take("or"):
            items.append(self._all())
        return items[0] if len(items) == 1 else Or(tuple(items))

    def _all(self) -> Written:
        items = [self._negated()]
        while self._take("and"):
            items.append(self._negated())
        return items[0] if len(items) == 1 else And(tuple(items))

    def _negated(self) -> Written:
        if not self._take("not"):
            return self._test()
        self._deeper()
        found = Not(self._negated())
        self._depth -= 1
        return found

    def _test(self) -> Written:
        if opened := self._take("("):
            self._deeper()
            found = self._either()
            self._depth -= 1
            if self._take(")") is None:
                self._fail(f"the parenthesis of character {opened.at + 1} is not closed")
            if self._is(*OPERATORS, "in", "is"):
                self._fail("a condition in parentheses cannot be compared")
            return found
        operand = self._operand()
        if self._is(*OPERATORS):
            return self._chain(operand)
        if self._is("not", "in"):
            is_not = self._take("not") is not None
            at = self._word().at
            self._need("in", "after 'not'")
            found = Membership(operand, self._literals(), at)
            return Not(found) if is_not else found
        if self._take("is"):
            is_not = self._take("not") is not None
            if self._word().text != "missing":
                self._fail("'is' and 'is not' are followed by 'missing'")
            if isinstance(operand, Literal):
                self._fail("only a column can be missing", operand.at)
            self._next += 1
            return Not(IsMissing(operand)) if is_not else IsMissing(operand)
        if isinstance(operand, Literal) and isinstance(operand.value, bool):
            return Constant(operand.value)
        what = "a value" if isinstance(operand, Literal) else "a column"
        known = self._word()
        if known.kind == "name" and known.text.lower() in KEYWORDS:
            self._fail(f"write {known.text.lower()!r} in lower case")
        self._fail(f"{what} alone is no condition: compare it with something")

    def _chain(self, left: Operand) -> Written:
        """Read comparisons that share their operands, such as ``0.2 <= q < 0.8``."""
        items: list[Written] = []
        while sign := self._take(*OPERATORS):
            right = self._operand()
            items.append(Comparison(left, sign.text, right, sign.at))
            left = right
        return items[0] if len(items) == 1 else And(tuple(items))

    def _literals(self) -> tuple[Literal, ...]:
        self._need("(", "after 'in'")
        found: list[Literal] = []
        while not found or self._take(","):
            if found and self._is(")"):
                break
            one = self._operand()
            if not isinstance(one, Literal):
                self._fail("a list after 'in' holds numbers and strings", one.at)
            found.append(one)
        self._need(")", "at the end of a list, and ',' between its items")
        return tuple(found)

    def _operand(self) -> Operand:
        sign = self._take("-", "+")
        word = self._word()
        if sign is not None and word.kind != "number":
            self._fail("a sign stands before a number")
        if word.kind in ("number", "string") and word.value is not None:
            self._next += 1
            value = word.value
            return Literal(-value if sign and sign.text == "-" and not isinstance(value, str) else value, word.at)
        if truth := self._take("true", "false"):
            return Literal(truth.text == "true", word.at)
        if word.kind == "name":
            self._next += 1
            if word.text == "length" and self._take("("):
                return self._length(word)
            if self._is("("):
                self._fail(f"no function {word.text!r}: {suggest(word.text, ['length'])}", word.at)
            return Name(word.text, word.at)
        if word.kind == "end":
            self._fail("something is missing at the end: a column, a number or a string")
        self._fail(f"{word.text!r} comes where a column, a number or a string is needed")

    def _length(self, word: Word) -> Length:
        inner = self._word()
        if inner.kind != "name":
            self._fail("length() takes the name of a column")
        self._next += 1
        self._need(")", "after the column of length()")
        return Length(inner.text, word.at)


def parse(text: str) -> Written:
    """Return the nodes of a condition.

    Raises:
        ValueError: It breaks the grammar; the message shows where.
    """
    return _Parser(text).whole()


def parse_operand(text: str) -> Operand:
    """Return the operand that a text is."""
    return _Parser(text).field()


def parse_tuples(given: Sequence[Any]) -> tuple[Written, str]:
    """Return the nodes of tuples (all of them hold) or lists of tuples (one of the lists holds), and their text.

    Raises:
        TypeError, ValueError: They are no such tuples.
    """
    if not given:
        raise ValueError("a list of conditions is not empty")
    if _is_tuple(given):
        return _tuple(*given)
    if all(_is_tuple(one) for one in given):
        return _conjunction(given)
    groups = []
    for one in given:
        if not isinstance(one, (list, tuple)) or not one or not all(map(_is_tuple, one)):
            raise TypeError(
                "conditions are tuples such as ('quality', '>=', 0.5), which all hold, or lists of them, of which one "
                f"holds; not {type(one).__name__}"
            )
        groups.append(_conjunction(one))
    if len(groups) == 1:
        return groups[0]
    return Or(tuple(node for node, _ in groups)), " or ".join(f"({text})" for _, text in groups)


def _is_tuple(one: object) -> bool:
    """Tell whether something is one condition, and no list of them."""
    return isinstance(one, tuple) and len(one) == 3 and isinstance(one[0], str)


def _conjunction(given: Sequence[Any]) -> tuple[Written, str]:
    """Return the nodes of tuples that all hold, and their text."""
    made = [_tuple(*one) for one in given]
    nodes = tuple(node for node, _ in made)
    return (nodes[0] if len(nodes) == 1 else And(nodes)), " and ".join(text for _, text in made)


def _tuple(name: str, op: object, value: Any) -> tuple[Written, str]:
    """Return the node of one tuple and its text; no place is known, so that errors name the column alone."""
    operand = parse_operand(name) if "(" in name else Name(name, -1)
    if op in ("in", "not in"):
        if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
            raise TypeError(f"({name!r}, {op!r}, …) takes a list of values, not {type(value).__name__}")
        values = tuple(Literal(_plain(name, one), -1) for one in value)
        member = Membership(operand, values, -1)
        text = f"{name} {op} ({', '.join(repr(one.value) for one in values)})"
        return (Not(member), text) if op == "not in" else (member, text)
    sign = "==" if op == "=" else op
    if sign not in OPERATORS or not isinstance(sign, str):
        known = (*OPERATORS, "in", "not in")
        raise ValueError(f"no operator {op!r} for column {name!r}: {suggest(str(op), known)}")
    plain = _plain(name, value)
    return Comparison(operand, sign, Literal(plain, -1), -1), f"{name} {sign} {plain!r}"


def _plain(name: str, value: Any) -> int | float | str | bool:
    """Return a value of a tuple as a plain number, string or boolean."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (int, float, str, bool)):
        hint = '; write where("… is missing")' if value is None else ""
        raise TypeError(f"column {name!r} is compared with a number or a string, not {type(value).__name__}{hint}")
    return value
