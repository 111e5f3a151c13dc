"""`Codes`, `Array`, `Mask`: arrays of numbers per sample (registry.md 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tokstore.column_types.contract import (
    BFLOAT16,
    BIT,
    DTYPE_NUMBERS,
    DTYPES,
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

__all__ = ["Array", "Codes", "Mask", "dtype_name"]


@dataclass(frozen=True)
class Codes(ColumnType):
    """Codes of a quantizer: images as grids, audio as frames of several codebooks, or any small alphabet.

    They are stored at what they carry: entropy-coded, given the codes to the left and above where that pays.

    Args:
        size: Number of codes, 2 to 65,536; a code is 0 to ``size - 1``.
        shape: Shape of one sample: ``(32, 32)`` for a grid, ``(None, 8)`` for any number of frames of 8 codebooks,
            ``(None,)`` (default) for a run of codes.
        optional: Samples may come without it.

    Example:
        >>> Codes(391, (16, 16))
        Codes(391, (16, 16))
    """

    number: ClassVar[int] = 2
    codecs: ClassVar[tuple[int, ...]] = (4, 2)
    size: int
    dims: Shape = (None,)

    def __init__(self, size: int, shape: Any = (None,), *, optional: bool = False) -> None:
        if not is_integer(size) or not 2 <= size <= 1 << 16:
            raise ValueError(f"size is an integer from 2 to 65,536, not {size!r}")
        object.__setattr__(self, "size", int(size))
        object.__setattr__(self, "dims", shape_from(shape, "codes"))
        object.__setattr__(self, "optional", optional)

    @property
    def shape(self) -> Shape:
        return self.dims

    @property
    def frame(self) -> int:
        """Codes along the last axis; 1 where that is the ragged one, or there is none."""
        return self.dims[-1] or 1 if self.dims else 1

    @property
    def dtype(self) -> np.dtype[Any]:
        return DTYPES[1] if self.size <= 1 << 8 else DTYPES[2]

    def parameters(self) -> dict[int, object]:
        return {1: self.size, 2: shape_parameter(self.dims)}

    @classmethod
    def from_parameters(cls, parameters: Mapping[int, Any], optional: bool) -> Codes:
        no_more(parameters, (1, 2))
        shape = shape_of_parameter(needed(parameters, 2), "codes")
        return cls(expect(needed(parameters, 1), int), shape, optional=optional)

    def __repr__(self) -> str:
        return call_text("Codes", f"{self.size}, {self.dims}", {"optional": self.optional or None})


@dataclass(frozen=True)
class Array(ColumnType):
    """An array of numbers per sample, kept bit for bit.

    Args:
        dtype: Any numpy integer, float or boolean dtype up to 8 bytes, or ``"bfloat16"``. Booleans take a bit each.
        shape: Shape of one sample; ``None`` in front for samples of different length.
        optional: Samples may come without it.

    Example:
        >>> Array("float16", (None, 80))
        Array('float16', (None, 80))
    """

    number: ClassVar[int] = 11
    codecs: ClassVar[tuple[int, ...]] = (2, 6)
    number_of_dtype: int = 11
    dims: Shape = ()

    def __init__(self, dtype: Any, shape: Any = (), *, optional: bool = False) -> None:
        object.__setattr__(self, "number_of_dtype", _number_of(dtype))
        object.__setattr__(self, "dims", shape_from(shape, "an array"))
        object.__setattr__(self, "optional", optional)

    @property
    def shape(self) -> Shape:
        return self.dims

    @property
    def dtype(self) -> np.dtype[Any]:
        return DTYPES[self.number_of_dtype]

    @property
    def dtype_number(self) -> int:
        return self.number_of_dtype

    @property
    def ranged(self) -> bool:
        return not self.dims and self.number_of_dtype not in (BFLOAT16, BIT)

    def parameters(self) -> dict[int, object]:
        return {1: self.number_of_dtype, 2: shape_parameter(self.dims)}

    @classmethod
    def from_parameters(cls, parameters: Mapping[int, Any], optional: bool) -> Array:
        no_more(parameters, (1, 2))
        number = expect(needed(parameters, 1), int)
        if number not in DTYPES:
            raise ValueError(f"dtype {number} is unknown")
        shape = shape_of_parameter(needed(parameters, 2), "an array")
        return cls(dtype_name(number), shape, optional=optional)

    def __repr__(self) -> str:
        name = dtype_name(self.number_of_dtype)
        return call_text("Array", f"{name!r}, {self.dims}", {"optional": self.optional or None})


@dataclass(frozen=True)
class Mask(ColumnType):
    """One bit for every value of another column, such as which tokens count in the loss.

    Args:
        of: Name of the column, which every sample's mask is as long as; ``None`` for any length.
        optional: Samples may come without it.

    Example:
        >>> Mask(of="tokens")
        Mask('tokens')
    """

    number: ClassVar[int] = 7
    codecs: ClassVar[tuple[int, ...]] = (6,)
    block_target: ClassVar[int] = 131_072
    of: str | None = None

    def __init__(self, of: str | None = "tokens", *, optional: bool = False) -> None:
        if of is not None and not isinstance(of, str):
            raise TypeError(f"of is the name of a column, not {of!r}")
        object.__setattr__(self, "of", of)
        object.__setattr__(self, "optional", optional)

    @property
    def shape(self) -> Shape:
        return (None,)

    @property
    def dtype(self) -> np.dtype[Any]:
        return DTYPES[BIT]

    def parameters(self) -> dict[int, object]:
        return {} if self.of is None else {1: self.of}

    @classmethod
    def from_parameters(cls, parameters: Mapping[int, Any], optional: bool) -> Mask:
        no_more(parameters, (1,))
        return cls(expect(parameters[1], str) if 1 in parameters else None, optional=optional)

    def __repr__(self) -> str:
        return call_text("Mask", repr(self.of), {"optional": self.optional or None})


def dtype_name(number: int) -> str:
    """Return the name of a dtype for people: that of numpy, or ``bfloat16``."""
    return "bfloat16" if number == BFLOAT16 else DTYPES[number].name


def _number_of(dtype: Any) -> int:
    """Return the registry number of a dtype that a user names."""
    if isinstance(dtype, str) and dtype == "bfloat16":
        return BFLOAT16
    found = DTYPE_NUMBERS.get(np.dtype(dtype).newbyteorder("<"))
    if found is None:
        raise ValueError(f"an array is of integers, floats or booleans of at most 8 bytes, not {np.dtype(dtype).name}")
    return found
