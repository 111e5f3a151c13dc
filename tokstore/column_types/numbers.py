"""`Score`, `Label`, `SoftLabel`: numbers that are said of a sample (registry.md 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tokstore.column_types.contract import (
    BFLOAT16,
    BIT,
    DTYPES,
    MAX_ROW_VALUES,
    ColumnType,
    Shape,
    call_text,
    expect,
    is_integer,
    needed,
    no_more,
    shape_from,
    shape_of_parameter,
    shape_parameter,
)

__all__ = ["Label", "Score", "SoftLabel", "dtype_of", "positive"]


@dataclass(frozen=True)
class Score(ColumnType):
    """One floating-point number per sample, kept bit for bit unless an error is allowed.

    Args:
        dtype: ``"float16"``, ``"float32"`` (default) or ``"float64"``.
        max_error: The largest absolute error that a value may have, above 0: values are stored as multiples of twice as
            much. ``None`` for no error at all. Infinite values are refused then.
        optional: Samples may come without it. NaN is allowed only then.

    Example:
        >>> Score("float16", optional=True)
        Score('float16', optional=True)
    """

    number: ClassVar[int] = 4
    codecs: ClassVar[tuple[int, ...]] = (2,)
    dtype_name: str = "float32"
    max_error: float | None = None

    def __init__(self, dtype: Any = "float32", *, max_error: float | None = None, optional: bool = False) -> None:
        name = np.dtype(dtype).name
        if name not in ("float16", "float32", "float64"):
            raise ValueError(f"a Score is float16, float32 or float64, not {name}")
        object.__setattr__(self, "dtype_name", name)
        object.__setattr__(self, "max_error", positive(max_error, "max_error"))
        object.__setattr__(self, "optional", optional)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.dtype_name).newbyteorder("<")

    @property
    def ranged(self) -> bool:
        return True

    def parameters(self) -> dict[int, object]:
        return {1: self.dtype_number} | ({} if self.max_error is None else {2: self.max_error})

    @classmethod
    def from_parameters(cls, parameters: Mapping[int, Any], optional: bool) -> Score:
        no_more(parameters, (1, 2))
        max_error = expect(parameters[2], float) if 2 in parameters else None
        return cls(dtype_of(needed(parameters, 1), "f").name, max_error=max_error, optional=optional)

    def __repr__(self) -> str:
        options = {"max_error": self.max_error, "optional": self.optional or None}
        return call_text("Score", repr(self.dtype_name), options)


@dataclass(frozen=True)
class Label(ColumnType):
    """One integer per sample, or several.

    Args:
        classes: Labels are 0 to ``classes - 1`` and take as few bytes as that needs; without it they are any int64.
        names: Names of the classes, as many as there are.
        shape: Shape of one sample: ``()`` for one label, ``(4,)`` for four, ``(None,)`` for any number.
        optional: Samples may come without it.

    Example:
        >>> Label(2, names=["ham", "spam"])
        Label(2, names=('ham', 'spam'))
    """

    number: ClassVar[int] = 5
    codecs: ClassVar[tuple[int, ...]] = (2,)
    classes: int | None = None
    names: tuple[str, ...] | None = None
    dims: Shape = ()

    def __init__(
        self,
        classes: int | None = None,
        names: tuple[str, ...] | list[str] | None = None,
        *,
        shape: Any = (),
        optional: bool = False,
    ) -> None:
        if classes is None and names is not None:
            classes = len(names)
        if classes is not None and (not is_integer(classes) or not 1 <= classes <= 1 << 32):
            raise ValueError(f"classes is an integer from 1 to 2**32, not {classes!r}")
        if names is not None and (len(names) != classes or not all(_is_class_name(name) for name in names)):
            raise ValueError(f"names are {classes} strings without line feeds, one per class")
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "names", None if names is None else tuple(names))
        object.__setattr__(self, "dims", shape_from(shape, "labels"))
        object.__setattr__(self, "optional", optional)

    @property
    def shape(self) -> Shape:
        return self.dims

    @property
    def ranged(self) -> bool:
        return not self.dims

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
            4: shape_parameter(self.dims) if self.dims else None,
        }
        return {key: value for key, value in given.items() if value is not None}

    @classmethod
    def from_parameters(cls, parameters: Mapping[int, Any], optional: bool) -> Label:
        no_more(parameters, (1, 2, 3, 4))
        joined = parameters.get(3)
        if joined is not None and not expect(joined, str).endswith("\n"):
            raise ValueError("names of classes do not end in a line feed")
        if joined is not None and 2 not in parameters:
            raise ValueError("names of classes stand without their number")
        names = None if joined is None else joined[:-1].split("\n")
        shape = shape_of_parameter(parameters[4], "labels") if 4 in parameters else ()
        if 4 in parameters and not shape:
            raise ValueError("the shape of single labels is written")
        made = cls(parameters.get(2), names, shape=shape, optional=optional)
        if made.dtype != dtype_of(needed(parameters, 1), "iu"):
            raise ValueError("dtype and classes of a label do not fit each other")
        return made

    def __repr__(self) -> str:
        first = "" if self.classes is None else str(self.classes)
        options = {"names": self.names, "shape": self.dims or None, "optional": self.optional or None}
        return call_text("Label", first, options)


@dataclass(frozen=True)
class SoftLabel(ColumnType):
    """A distribution over classes per sample: the most probable classes, or all of them.

    Args:
        classes: Number of classes, 2 to 2**32.
        top: How many classes are kept of each sample, with their probabilities; ``None`` for all of them.
        dtype: ``"float16"`` for probabilities of 11 bits (default), ``"uint8"`` for multiples of 1/255: an error of
            at most 0.002.
        optional: Samples may come without it.

    Example:
        >>> SoftLabel(1000, top=5)
        SoftLabel(1000, top=5)
    """

    number: ClassVar[int] = 6
    codecs: ClassVar[tuple[int, ...]] = (2,)
    classes: int
    top: int | None = None
    probability: str = "float16"

    def __init__(self, classes: int, top: int | None = None, *, dtype: Any = "float16", optional: bool = False) -> None:
        if not is_integer(classes) or not 2 <= classes <= 1 << 32:
            raise ValueError(f"classes is an integer from 2 to 2**32, not {classes!r}")
        most = min(classes, MAX_ROW_VALUES // 2)
        if top is not None and (not is_integer(top) or not 1 <= top <= most):
            raise ValueError(f"top is an integer from 1 to {most}, not {top!r}")
        if top is None and classes > MAX_ROW_VALUES:
            raise ValueError(f"of {classes} classes only some can be kept: give top=")
        name = np.dtype(dtype).name
        if name not in ("float16", "uint8"):
            raise ValueError(f"probabilities are float16 or uint8, not {name}")
        object.__setattr__(self, "classes", int(classes))
        object.__setattr__(self, "top", None if top is None else int(top))
        object.__setattr__(self, "probability", name)
        object.__setattr__(self, "optional", optional)

    @property
    def shape(self) -> Shape:
        return (self.classes,) if self.top is None else (2, self.top)

    @property
    def dtype(self) -> np.dtype[Any]:
        if self.top is None:
            return DTYPES[1] if self.probability == "uint8" else DTYPES[2]
        if self.classes <= 1 << 8 and self.probability == "uint8":
            return DTYPES[1]
        return DTYPES[2] if self.classes <= 1 << 16 else DTYPES[3]

    def parameters(self) -> dict[int, object]:
        made: dict[int, object] = {1: self.classes, 3: 1 if self.probability == "uint8" else 9}
        return made if self.top is None else {1: made[1], 2: self.top, 3: made[3]}

    @classmethod
    def from_parameters(cls, parameters: Mapping[int, Any], optional: bool) -> SoftLabel:
        no_more(parameters, (1, 2, 3))
        number = expect(needed(parameters, 3), int)
        if number not in (1, 9):
            raise ValueError(f"probabilities have dtype {number}")
        top = expect(parameters[2], int) if 2 in parameters else None
        return cls(expect(needed(parameters, 1), int), top, dtype=DTYPES[number], optional=optional)

    def __repr__(self) -> str:
        dtype = None if self.probability == "float16" else self.probability
        options = {"top": self.top, "dtype": dtype, "optional": self.optional or None}
        return call_text("SoftLabel", str(self.classes), options)


def positive(value: object, name: str) -> float | None:
    """Return a positive finite number, or ``None``."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name} is a number, not {value!r}")
    number = float(value)
    if not 0 < number < float("inf"):
        raise ValueError(f"{name} is a finite number above 0, not {value!r}")
    return number


def dtype_of(number: object, kinds: str) -> np.dtype[Any]:
    """Return the dtype of a number if it is of one of the kinds."""
    dtype = DTYPES.get(expect(number, int))
    if dtype is None or dtype.kind not in kinds or number in (BFLOAT16, BIT):
        raise ValueError(f"dtype {number} does not fit the type")
    return dtype


def _is_class_name(value: object) -> bool:
    """Tell whether a value can name a class."""
    return isinstance(value, str) and "\n" not in value
