"""What every column type says of itself: shape, dtype at rest, parameters (registry.md 1 and 3, format.md 6.1).

A type is a frozen description. It knows nothing of blocks or files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tokstore.errors import UnsupportedError

__all__ = [
    "BFLOAT16",
    "BIT",
    "DTYPES",
    "DTYPE_NUMBERS",
    "MAX_ROW_VALUES",
    "ColumnType",
    "Shape",
    "UnknownType",
    "call_text",
    "expect",
    "is_integer",
    "needed",
    "no_more",
    "shape_from",
    "shape_of_parameter",
    "shape_parameter",
]

Shape = tuple[int | None, ...]
BFLOAT16, BIT = 10, 13
MAX_ROW_VALUES = 1 << 18
_MOST_DIMS = 4

DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype("<u1"),
    2: np.dtype("<u2"),
    3: np.dtype("<u4"),
    4: np.dtype("<u8"),
    5: np.dtype("<i1"),
    6: np.dtype("<i2"),
    7: np.dtype("<i4"),
    8: np.dtype("<i8"),
    9: np.dtype("<f2"),
    BFLOAT16: np.dtype("<u2"),
    11: np.dtype("<f4"),
    12: np.dtype("<f8"),
    BIT: np.dtype(bool),
}
"""Dtypes of values in memory by registry number: bf16 as its bits, since numpy has none; a bit as a byte."""

DTYPE_NUMBERS = {dtype: number for number, dtype in DTYPES.items() if number != BFLOAT16}
"""Registry numbers by dtype; bf16 shares its dtype with u16 and is told by its type."""


@dataclass(frozen=True, kw_only=True)
class ColumnType:
    """What all column types share. Use `Tokens`, `Codes`, `Vector`, `Score`, `Label`, `SoftLabel`, `Mask`, `Category`,
    `Text`, `Bytes` or `Array`.

    Attributes:
        number: Number of the type (registry.md 1).
        codecs: Codecs that its values may have (registry.md 2); the first is the usual one.
        block_target: Values that a block should have (registry.md 5).
        block_rows: Rows that it should have instead, where they are not very long.
        optional: Samples may come without it.
    """

    number: ClassVar[int] = 0
    codecs: ClassVar[tuple[int, ...]] = ()
    block_target: ClassVar[int] = 65_536
    block_rows: ClassVar[int | None] = None
    optional: bool = False

    @property
    def shape(self) -> Shape:
        """Shape of one sample; a first item of ``None`` means that its length differs from sample to sample."""
        return ()

    @property
    def ragged(self) -> bool:
        """Whether samples have different lengths."""
        return bool(self.shape) and self.shape[0] is None

    @property
    def width(self) -> int:
        """Values of one sample, of ragged types those of one item of the first axis."""
        return math.prod(one for one in self.shape if one is not None)

    @property
    def groups(self) -> tuple[int, ...]:
        """Ends of the dimension groups that are stored apart; one group for almost all types (format.md 4.3)."""
        return (self.width,)

    @property
    def ranged(self) -> bool:
        """Whether tables and pages have ranges."""
        return False

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of a value at rest, as it is held in memory."""
        raise TypeError(f"{type(self).__name__} has no values of its own")

    @property
    def dtype_number(self) -> int:
        """The registry number of the dtype at rest."""
        return DTYPE_NUMBERS[self.dtype]

    @property
    def has_nan(self) -> bool:
        """Whether values can be NaN, which is counted then."""
        return self.dtype_number in (9, BFLOAT16, 11, 12)

    def parameters(self) -> dict[int, object]:
        """Return the parameters of the column record (registry.md 1)."""
        return {}

    @classmethod
    def from_parameters(cls, parameters: Mapping[int, Any], optional: bool) -> ColumnType:
        """Make the type again from its parameters, or raise `ValueError` or `TypeError`."""
        no_more(parameters, ())
        return cls(optional=optional)


@dataclass(frozen=True)
class UnknownType(ColumnType):
    """A column of a type that this version does not know: listed, and refused when it is read (format.md 6.1)."""

    type_number: int = 0
    raw_parameters: tuple[tuple[int, Any], ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        raise UnsupportedError(
            f"a column has type {self.type_number}, which this version does not know",
            rule="registry.md 1",
            hint="use a newer tokstore",
        )

    def parameters(self) -> dict[int, object]:
        return dict(self.raw_parameters)

    def __repr__(self) -> str:
        return f"UnknownType({self.type_number})"


def expect(value: object, kind: type) -> Any:
    """Return `value` if it is exactly of one type."""
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} expected, not {type(value).__name__}")
    return value


def needed(parameters: Mapping[int, Any], key: int) -> Any:
    """Return a parameter that every column of the type has."""
    if key not in parameters:
        raise ValueError(f"parameter {key} is missing")
    return parameters[key]


def no_more(parameters: Mapping[int, Any], known: tuple[int, ...]) -> None:
    """Refuse parameters that this version does not know and may not ignore."""
    unknown = sorted(key for key in set(parameters) - set(known) if key < 128)
    if unknown:
        raise ValueError(f"parameter {unknown[0]} is unknown")


def is_integer(value: object) -> bool:
    """Tell whether a value is an integer and no boolean."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def shape_from(given: object, what: str) -> Shape:
    """Check a shape: up to four positive integers, the first of which may be ``None``."""
    dims = (given,) if given is None or is_integer(given) else given
    if not isinstance(dims, Sequence) or isinstance(dims, (str, bytes)) or len(dims) > _MOST_DIMS:
        raise TypeError(f"the shape of {what} is a tuple of at most {_MOST_DIMS} integers, not {given!r}")
    for place, one in enumerate(dims):
        if (one is None and place) or (one is not None and (not is_integer(one) or one < 1)):
            raise ValueError(f"a shape holds positive integers, and None only in front, not {given!r}")
    shape = tuple(None if one is None else int(one) for one in dims)
    if math.prod(one for one in shape if one is not None) > MAX_ROW_VALUES:
        raise ValueError(f"a sample of {what} has at most {MAX_ROW_VALUES} values of fixed shape (registry.md 1)")
    return shape


def shape_parameter(shape: Shape) -> list[int]:
    """Return a shape as a parameter: 0 stands for ``None``."""
    return [one or 0 for one in shape]


def shape_of_parameter(given: object, what: str) -> Shape:
    """Return a shape from its parameter."""
    dims = [expect(one, int) for one in expect(given, list)]
    if any(one == 0 for one in dims[1:]):
        raise ValueError("only the first axis may be ragged")
    return shape_from(tuple(one or None for one in dims), what)


def call_text(name: str, first: str, options: Mapping[str, object]) -> str:
    """Write a constructor call without the defaults."""
    parts = ([first] if first else []) + [f"{key}={value!r}" for key, value in options.items() if value is not None]
    return f"{name}({', '.join(parts)})"
