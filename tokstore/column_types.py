"""Column types: which values a sample may have, and their dtype at rest (registry.md 1 and 3).

A type is a frozen description. It knows nothing of blocks or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tokstore.errors import UnsupportedError

__all__ = ["COLUMN_TYPES", "DTYPES", "ColumnType", "Label", "Score", "Text", "Tokens", "UnknownType", "expect"]

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
    11: np.dtype("<f4"),
    12: np.dtype("<f8"),
}
"""Value dtypes by registry number; 10 (bf16) and 13 (bit) have no numpy dtype and come with the types that use them."""

_DTYPE_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
_MAX_VOCAB = 1 << 32


@dataclass(frozen=True, kw_only=True)
class ColumnType:
    """What all column types share. Use `Tokens`, `Score`, `Label` or `Text`."""

    number: ClassVar[int] = 0
    codec: ClassVar[int] = 0
    ragged: ClassVar[bool] = False
    block_target: ClassVar[int] = 65_536
    optional: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of a value at rest."""
        raise TypeError(f"{type(self).__name__} has no values of its own")

    @property
    def dtype_number(self) -> int:
        """The registry number of `dtype`."""
        return _DTYPE_NUMBERS[self.dtype]

    def parameters(self) -> dict[int, object]:
        """Return the parameters of the column record (registry.md 1)."""
        return {}

    @classmethod
    def from_parameters(cls, parameters: Mapping[int, Any], optional: bool) -> ColumnType:
        """Make the type again from its parameters, or raise `CorruptError`."""
        _no_more(parameters, ())
        return cls(optional=optional)


@dataclass(frozen=True)
class Tokens(ColumnType):
    """Token ids: every sample is a run of integers from 0 to ``vocab_size - 1``, of any length.

    Args:
        vocab_size: Number of ids, up to 2**32. Up to 65,536 an id takes at most 2 bytes anywhere.
        bos_id: The id that begins a document, for loaders that insert it. Nothing is inserted on disk.
        eos_id: The id that ends a document, likewise.
        pad_id: The id that loaders fill up rows with.
        optional: Samples may come without it.

    Raises:
        ValueError: A number is outside its range.

    Example:
        >>> Tokens(50_257, eos_id=50_256)
        Tokens(50257, eos_id=50256)
    """

    number: ClassVar[int] = 1
    codec: ClassVar[int] = 1
    ragged: ClassVar[bool] = True
    block_target: ClassVar[int] = 32_768
    vocab_size: int
    bos_id: int | None = field(default=None, kw_only=True)
    eos_id: int | None = field(default=None, kw_only=True)
    pad_id: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not _is_int(self.vocab_size) or not 1 <= self.vocab_size <= _MAX_VOCAB:
            raise ValueError(f"vocab_size is an integer from 1 to 2**32, not {self.vocab_size!r}")
        for name in ("bos_id", "eos_id", "pad_id"):
            value = getattr(self, name)
            if value is not None and (not _is_int(value) or not 0 <= value < self.vocab_size):
                raise ValueError(f"{name} is an id below vocab_size {self.vocab_size}, not {value!r}")

    @property
    def dtype(self) -> np.dtype[Any]:
        return DTYPES[2] if self.vocab_size <= 1 << 16 else DTYPES[3]

    def parameters(self) -> dict[int, object]:
        given = {1: self.vocab_size, 2: self.bos_id, 3: self.eos_id, 4: self.pad_id}
        return {key: int(value) for key, value in given.items() if value is not None}

    @classmethod
    def from_parameters(cls, parameters: Mapping[int, Any], optional: bool) -> Tokens:
        _no_more(parameters, (1, 2, 3, 4))
        get = parameters.get
        return cls(_needed(parameters, 1), bos_id=get(2), eos_id=get(3), pad_id=get(4), optional=optional)

    def __repr__(self) -> str:
        special = {"bos_id": self.bos_id, "eos_id": self.eos_id, "pad_id": self.pad_id}
        return _call("Tokens", str(self.vocab_size), special | {"optional": self.optional or None})


@dataclass(frozen=True)
class Score(ColumnType):
    """One floating-point number per sample, kept bit for bit.

    Args:
        dtype: ``"float16"``, ``"float32"`` (default) or ``"float64"``.
        optional: Samples may come without it. NaN is allowed only then.

    Example:
        >>> Score("float16", optional=True)
        Score('float16', optional=True)
    """

    number: ClassVar[int] = 4
    codec: ClassVar[int] = 2
    dtype_name: str = "float32"

    def __init__(self, dtype: Any = "float32", *, optional: bool = False) -> None:
        name = np.dtype(dtype).name
        if name not in ("float16", "float32", "float64"):
            raise ValueError(f"a Score is float16, float32 or float64, not {name}")
        object.__setattr__(self, "dtype_name", name)
        object.__setattr__(self, "optional", optional)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.dtype_name).newbyteorder("<")

    def parameters(self) -> dict[int, object]:
        return {1: self.dtype_number}

    @classmethod
    def from_parameters(cls, parameters: Mapping[int, Any], optional: bool) -> Score:
        _no_more(parameters, (1,))
        return cls(_dtype_of(_needed(parameters, 1), "f").name, optional=optional)

    def __repr__(self) -> str:
        return _call("Score", repr(self.dtype_name), {"optional": self.optional or None})


@dataclass(frozen=True)
class Label(ColumnType):
    """One integer per sample.

    Args:
        classes: Labels are 0 to ``classes - 1`` and take as few bytes as that needs; without it they are any int64.
        names: Names of the classes, as many as there are.
        optional: Samples may come without it.

    Example:
        >>> Label(2, names=["ham", "spam"])
        Label(2, names=('ham', 'spam'))
    """

    number: ClassVar[int] = 5
    codec: ClassVar[int] = 2
    classes: int | None = None
    names: tuple[str, ...] | None = None

    def __init__(
        self, classes: int | None = None, names: tuple[str, ...] | list[str] | None = None, *, optional: bool = False
    ) -> None:
        if classes is None and names is not None:
            classes = len(names)
        if classes is not None and (not _is_int(classes) or not 1 <= classes <= 1 << 32):
            raise ValueError(f"classes is an integer from 1 to 2**32, not {classes!r}")
        if names is not None and (len(names) != classes or not all(_is_class_name(name) for name in names)):
            raise ValueError(f"names are {classes} strings without line feeds, one per class")
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "names", None if names is None else tuple(names))
        object.__setattr__(self, "optional", optional)

    @property
    def dtype(self) -> np.dtype[Any]:
        if self.classes is None:
            return DTYPES[8]
        return DTYPES[1] if self.classes <= 1 << 8 else DTYPES[2] if self.classes <= 1 << 16 else DTYPES[3]

    def parameters(self) -> dict[int, object]:
        given = {
            1: self.dtype_number,
            2: None if self.classes is None else int(self.classes),
            3: None if self.names is None else "".join(f"{name}\n" for name in self.names),
        }
        return {key: value for key, value in given.items() if value is not None}

    @classmethod
    def from_parameters(cls, parameters: Mapping[int, Any], optional: bool) -> Label:
        _no_more(parameters, (1, 2, 3))
        joined = parameters.get(3)
        if joined is not None and not expect(joined, str).endswith("\n"):
            raise ValueError("names of classes do not end in a line feed")
        if joined is not None and 2 not in parameters:
            raise ValueError("names of classes stand without their number")
        names = None if joined is None else joined[:-1].split("\n")
        made = cls(parameters.get(2), names, optional=optional)
        if made.dtype != _dtype_of(_needed(parameters, 1), "iu"):
            raise ValueError("dtype and classes of a label do not fit each other")
        return made

    def __repr__(self) -> str:
        names = None if self.names is None else self.names
        first = "" if self.classes is None else str(self.classes)
        return _call("Label", first, {"names": names, "optional": self.optional or None})


@dataclass(frozen=True)
class Text(ColumnType):
    """One string per sample, stored as UTF-8.

    Example:
        >>> Text(optional=True)
        Text(optional=True)
    """

    number: ClassVar[int] = 9
    codec: ClassVar[int] = 3
    ragged: ClassVar[bool] = True

    @property
    def dtype(self) -> np.dtype[Any]:
        return DTYPES[1]

    def __repr__(self) -> str:
        return _call("Text", "", {"optional": self.optional or None})


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


COLUMN_TYPES: dict[int, type[ColumnType]] = {kind.number: kind for kind in (Tokens, Score, Label, Text)}
"""The types that can be read and written, by registry number."""


def expect(value: object, kind: type) -> Any:
    """Return `value` if it is exactly of one type."""
    if type(value) is not kind:
        raise TypeError(f"{kind.__name__} expected, not {type(value).__name__}")
    return value


def _needed(parameters: Mapping[int, Any], key: int) -> Any:
    """Return a parameter that every column of the type has."""
    if key not in parameters:
        raise ValueError(f"parameter {key} is missing")
    return parameters[key]


def _no_more(parameters: Mapping[int, Any], known: tuple[int, ...]) -> None:
    """Refuse parameters that this version does not know and may not ignore."""
    unknown = sorted(key for key in set(parameters) - set(known) if key < 128)
    if unknown:
        raise ValueError(f"parameter {unknown[0]} is unknown")


def _dtype_of(number: object, kinds: str) -> np.dtype[Any]:
    """Return the dtype of a number if it is of one of the kinds."""
    dtype = DTYPES.get(expect(number, int))
    if dtype is None or dtype.kind not in kinds:
        raise ValueError(f"dtype {number} does not fit the type")
    return dtype


def _is_int(value: object) -> bool:
    """Tell whether a value is an integer and no boolean."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _is_class_name(value: object) -> bool:
    """Tell whether a value can name a class."""
    return isinstance(value, str) and "\n" not in value


def _call(name: str, first: str, options: Mapping[str, object]) -> str:
    """Write a constructor call without the defaults."""
    parts = ([first] if first else []) + [f"{key}={value!r}" for key, value in options.items() if value is not None]
    return f"{name}({', '.join(parts)})"
