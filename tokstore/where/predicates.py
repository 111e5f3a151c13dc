"""What a value is tested for: over arrays of values, and over ranges that say only what may be there.

A number is compared in the precision of its column, as numpy does: ``quality >= 0.7`` holds for the float32 that 0.7
was stored as. Integers compare exactly with any number, strings code point by code point.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokstore.packed import Ints

__all__ = ["FLIPPED", "OPERATORS", "ClassTest", "Predicate", "TextTest", "ValueTest", "number_set", "number_test"]

Bools = NDArray[np.bool_]
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""What an operator becomes when its sides change places."""


class Predicate(Protocol):
    """A test of values."""

    @property
    def takes_nan(self) -> bool:
        """Whether NaN passes."""

    def passes(self, values: NDArray[Any]) -> Bools:
        """Return which values pass."""

    def bounds(self, low: NDArray[Any], high: NDArray[Any]) -> tuple[Bools, Bools]:
        """Return, for groups of values from `low` to `high`, whether some may pass, and whether all do."""


def _range_test(op: str, low: Any, high: Any, value: Any) -> tuple[Any, Any]:
    """Return whether values from `low` to `high` may pass, and whether they all do."""
    equal = (low == value) & (high == value)
    apart = (low > value) | (high < value)
    if op in ("==", "!="):
        return (~apart, equal) if op == "==" else (~equal, apart)
    compare = OPERATORS[op]
    some, all_ = (low, high) if op in ("<", "<=") else (high, low)
    return compare(some, value), compare(all_, value)


@dataclass(frozen=True)
class ValueTest:
    """A number compared with one value, or looked up among several (``==`` with any of them).

    Attributes:
        op: The operator.
        values: What is compared with, in a type that numpy compares as it should.
    """

    op: str
    values: tuple[Any, ...]

    @property
    def takes_nan(self) -> bool:
        return self.op == "!="

    def passes(self, values: NDArray[Any]) -> Bools:
        found: Bools = np.zeros(len(values), bool)
        if self.op == "==" and len(self.values) > 4:
            return np.asarray(np.isin(values, np.array(self.values, np.result_type(values, *self.values))), bool)
        for value in self.values:
            found |= OPERATORS[self.op](values, value)
        return found

    def bounds(self, low: NDArray[Any], high: NDArray[Any]) -> tuple[Bools, Bools]:
        may, sure = np.zeros(len(low), bool), np.zeros(len(low), bool)
        for value in self.values:
            some, all_ = _range_test(self.op, low, high, value)
            may |= some
            sure |= all_
        return may, sure


def number_test(dtype: np.dtype[Any], op: str, value: float) -> ValueTest | bool:
    """Return the test of numbers of a dtype against one number; the answer itself where it is the same for all."""
    if dtype.kind == "f":
        return ValueTest(op, (_near(dtype, value),))
    if isinstance(value, float):
        if math.isnan(value):
            return op == "!="
        if math.isinf(value) or (op in ("==", "!=") and not value.is_integer()):
            return op == "!=" or (op[0] == "<" and value > 0) or (op[0] == ">" and value < 0)
        value = math.ceil(value) if op in ("<", ">=") else math.floor(value)
    low, high = (int(bound) for bound in (np.iinfo(dtype).min, np.iinfo(dtype).max))
    if not low <= value <= high:
        return bool(OPERATORS[op](low, value))
    return ValueTest(op, (value,))


def number_set(dtype: np.dtype[Any], values: list[float]) -> ValueTest | bool:
    """Return the test whether numbers of a dtype are among some."""
    tests = [number_test(dtype, "==", value) for value in values]
    kept = {one.values[0] for one in tests if isinstance(one, ValueTest)}
    return ValueTest("==", tuple(sorted(kept))) if kept else False


def _near(dtype: np.dtype[Any], value: float) -> Any:
    """Return a number in the precision of a float dtype, or in float64 where it is too large for it."""
    try:
        exact = float(value)
    except OverflowError:
        exact = math.inf if value > 0 else -math.inf
    with np.errstate(over="ignore"):
        near = dtype.type(exact)
    return near if np.isfinite(near) or not math.isfinite(exact) else np.float64(exact)


@dataclass(frozen=True)
class ClassTest:
    """A label whose class is one of some: how names of classes are compared.

    Attributes:
        classes: The numbers of the classes that pass, ascending.
        count: Number of classes.
    """

    classes: tuple[int, ...]
    count: int
    takes_nan: bool = field(default=False, init=False)

    def _table(self) -> Bools:
        table = np.zeros(self.count, bool)
        table[np.array(self.classes, np.int64)] = True
        return table

    def passes(self, values: NDArray[Any]) -> Bools:
        passed: Bools = self._table()[values]
        return passed

    def bounds(self, low: NDArray[Any], high: NDArray[Any]) -> tuple[Bools, Bools]:
        before = np.concatenate([[0], np.cumsum(self._table())])
        # Ranges come from files: what lies outside the classes is an error that reading the values will find.
        a, b = (np.clip(side.astype(np.int64), 0, self.count - 1) for side in (low, high))
        held = before[b + 1] - before[a]
        return held > 0, held == b + 1 - a


@dataclass(frozen=True)
class TextTest:
    """A text compared with one string, or looked up among several; all as UTF-8.

    Attributes:
        op: The operator.
        values: What is compared with.
    """

    op: str
    values: tuple[bytes, ...]
    takes_nan: bool = field(default=False, init=False)

    @property
    def wants_equal(self) -> bool:
        """Whether only texts as long as one of the values matter."""
        return self.op in ("==", "!=")

    @property
    def longest(self) -> int:
        """Bytes of a text that have to be known."""
        return max((len(value) for value in self.values), default=0)

    def passes_rows(self, read: NDArray[np.uint8], kept: Ints, lengths: Ints) -> Bools:
        """Return which texts pass.

        Args:
            read: The first bytes of every text, one text after another.
            kept: How many bytes of each are there: `longest`, or all of a shorter one.
            lengths: Bytes of every whole text.
        """
        found = np.zeros(len(lengths), bool)
        starts = np.cumsum(kept) - kept
        for value in self.values:
            if self.wants_equal:
                found |= _equal(read, starts, lengths, value)
            else:
                found |= OPERATORS[self.op](_sign(read, starts, kept, lengths, value), 0)
        return ~found if self.op == "!=" else found

    def passes_names(self, names: Sequence[str]) -> Bools:
        """Return which strings pass."""
        compare, values = OPERATORS[self.op], self.values
        found = (any(compare(name.encode(), value) for value in values) for name in names)
        return np.fromiter(found, bool, len(names))

    def passes(self, values: NDArray[Any]) -> Bools:
        raise TypeError("texts are tested as bytes")

    def bounds(self, low: NDArray[Any], high: NDArray[Any]) -> tuple[Bools, Bools]:
        found = [(True, False) if a is None else self._bounds(a, b) for a, b in zip(low, high, strict=True)]
        may, sure = np.array(found, bool).reshape(-1, 2).T
        return may, sure

    def _bounds(self, low: bytes, high: bytes) -> tuple[bool, bool]:
        """Return whether texts between two bounds, which may themselves be none of them, may and surely do pass."""
        within = any(low <= value <= high for value in self.values)
        alone = low == high and low in self.values
        if self.op in ("==", "!="):
            return (within, alone) if self.op == "==" else (not alone, not within)
        compare, some = OPERATORS[self.op], low if self.op in ("<", "<=") else high
        last = high if self.op in ("<", "<=") else low
        passed = [(bool(compare(some, value)), bool(compare(last, value))) for value in self.values]
        return any(may for may, _ in passed), any(sure for _, sure in passed)


def _equal(read: NDArray[np.uint8], starts: Ints, lengths: Ints, value: bytes) -> Bools:
    """Return which texts are one string."""
    rows = np.flatnonzero(lengths == len(value))
    wanted = np.frombuffer(value, np.uint8)
    for at in range(len(value)):  # byte by byte, and few texts are left after some
        if not len(rows):
            break
        rows = rows[read[starts[rows] + at] == wanted[at]]
    passed = np.zeros(len(lengths), bool)
    passed[rows] = True
    return passed


def _sign(read: NDArray[np.uint8], starts: Ints, kept: Ints, lengths: Ints, value: bytes) -> Ints:
    """Return -1, 0 or 1 for texts below, equal to or above a string; UTF-8 sorts as code points do."""
    sign = np.sign(lengths - len(value))
    rows = np.arange(len(lengths))
    for at, wanted in enumerate(value):
        rows = rows[kept[rows] > at]
        if not len(rows):
            break
        steps = np.sign(read[starts[rows] + at].astype(np.int64) - wanted)
        apart = steps != 0
        sign[rows[apart]] = steps[apart]
        rows = rows[~apart]
    return sign
