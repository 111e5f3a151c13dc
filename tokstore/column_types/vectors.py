"""`Vector`: an embedding per sample (registry.md 1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tokstore.column_types.contract import (
    BFLOAT16,
    DTYPES,
    ColumnType,
    Shape,
    call_text,
    expect,
    is_integer,
    needed,
    no_more,
)
from tokstore.column_types.numbers import positive

__all__ = ["EXACT", "INT8", "PCA", "Vector", "exact_type"]

EXACT, INT8, PCA = 0, 1, 2
_METHODS = {None: EXACT, "int8": INT8, "pca": PCA}
_DTYPES = {"float16": 9, "bfloat16": BFLOAT16, "float32": 11}
_ENDS = (32, 64, 128, 256, 512, 1024, 2048, 4096)
_MOST_DIM = 65_535


@dataclass(frozen=True)
class Vector(ColumnType):
    """One vector of a fixed number of dimensions per sample.

    Args:
        dim: Dimensions, 1 to 65,535.
        dtype: ``"float32"`` (default), ``"float16"`` or ``"bfloat16"``: what is kept bit for bit.
        codec: ``None`` keeps the vectors as they are. ``"int8"`` keeps a byte per dimension. ``"pca"`` turns them to
            their principal axes, rounds to multiples of one step and codes what is left at its entropy. The error is
            measured when they are written, and `Store.describe` shows it.
        max_error: With ``"pca"``: the largest error of a coordinate along a principal axis.
        bytes_per_vector: With ``"pca"``: the step is the smallest with which a vector takes at most so many bytes,
            tables counted, the rotation not.
        rotate: With ``"pca"``: ``False`` keeps the axes, for vectors whose first dimensions matter most (Matryoshka).
        groups: Where the dimensions are cut into groups that can be read alone: ascending ends, the last is `dim`. By
            default the powers of two from 32 on.
        optional: Samples may come without it.

    Example:
        >>> Vector(384, codec="pca", bytes_per_vector=150)
        Vector(384, codec='pca', bytes_per_vector=150.0)
    """

    number: ClassVar[int] = 3
    codecs: ClassVar[tuple[int, ...]] = (2, 5)
    block_rows: ClassVar[int | None] = 1024
    dim: int
    dtype_name: str = "float32"
    method: int = EXACT
    max_error: float | None = None
    bytes_per_vector: float | None = None
    rotate: bool = True
    ends: tuple[int, ...] = ()

    def __init__(
        self,
        dim: int,
        dtype: Any = "float32",
        *,
        codec: str | None = None,
        max_error: float | None = None,
        bytes_per_vector: float | None = None,
        rotate: bool = True,
        groups: Sequence[int] | None = None,
        optional: bool = False,
    ) -> None:
        if not is_integer(dim) or not 1 <= dim <= _MOST_DIM:
            raise ValueError(f"dim is an integer from 1 to {_MOST_DIM}, not {dim!r}")
        name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
        if name not in _DTYPES:
            raise ValueError(f"vectors are float32, float16 or bfloat16, not {name}")
        if codec not in _METHODS:
            raise ValueError(f'codec is None, "int8" or "pca", not {codec!r}')
        if codec is not None and name != "float32":
            raise ValueError("vectors that are stored with an error come as float32")
        bounds = (max_error, bytes_per_vector)
        if codec == "pca" and sum(one is not None for one in bounds) != 1:
            raise ValueError('codec="pca" takes one of max_error= and bytes_per_vector=')
        if codec != "pca" and (any(one is not None for one in bounds) or not rotate):
            raise ValueError('max_error=, bytes_per_vector= and rotate= belong to codec="pca"')
        ends = tuple(_ENDS) if groups is None else tuple(groups)
        if groups is None:
            ends = (*(end for end in ends if end < dim), int(dim))
        if not ends or ends[-1] != dim or list(ends) != sorted(set(ends)) or not all(is_integer(e) for e in ends):
            raise ValueError(f"groups are ascending ends of which the last is {dim}, not {groups!r}")
        if ends[0] < 1 or len(ends) > 256:
            raise ValueError("a vector has 1 to 256 groups of dimensions")
        object.__setattr__(self, "dim", int(dim))
        object.__setattr__(self, "dtype_name", name)
        object.__setattr__(self, "method", _METHODS[codec])
        object.__setattr__(self, "max_error", positive(max_error, "max_error"))
        object.__setattr__(self, "bytes_per_vector", positive(bytes_per_vector, "bytes_per_vector"))
        object.__setattr__(self, "rotate", bool(rotate))
        object.__setattr__(self, "ends", tuple(int(end) for end in ends))
        object.__setattr__(self, "optional", optional)

    @property
    def shape(self) -> Shape:
        return (self.dim,)

    @property
    def groups(self) -> tuple[int, ...]:
        return self.ends

    @property
    def dtype(self) -> np.dtype[Any]:
        return DTYPES[self.dtype_number]

    @property
    def dtype_number(self) -> int:
        return _DTYPES[self.dtype_name]

    def parameters(self) -> dict[int, object]:
        made: dict[int, object] = {1: self.dtype_number, 2: self.dim, 3: list(self.ends), 4: self.method}
        if self.max_error is not None:
            made[5] = self.max_error
        if self.bytes_per_vector is not None:
            made[6] = self.bytes_per_vector
        if self.method == PCA:
            made[7] = self.rotate
        return made

    @classmethod
    def from_parameters(cls, parameters: Mapping[int, Any], optional: bool) -> Vector:
        no_more(parameters, (1, 2, 3, 4, 5, 6, 7))
        number, method = expect(needed(parameters, 1), int), expect(needed(parameters, 4), int)
        names = {one: name for name, one in _DTYPES.items()}
        methods = {one: name for name, one in _METHODS.items()}
        if number not in names or method not in methods or (7 in parameters) != (method == PCA):
            raise ValueError(f"a vector of dtype {number} and method {method}")
        return cls(
            expect(needed(parameters, 2), int),
            names[number],
            codec=methods[method],
            max_error=expect(parameters[5], float) if 5 in parameters else None,
            bytes_per_vector=expect(parameters[6], float) if 6 in parameters else None,
            rotate=expect(parameters[7], bool) if 7 in parameters else True,
            groups=[expect(end, int) for end in expect(needed(parameters, 3), list)],
            optional=optional,
        )

    def __repr__(self) -> str:
        usual = (*(end for end in _ENDS if end < self.dim), self.dim)
        options = {
            "dtype": None if self.dtype_name == "float32" else self.dtype_name,
            "codec": {EXACT: None, INT8: "int8", PCA: "pca"}[self.method],
            "max_error": self.max_error,
            "bytes_per_vector": self.bytes_per_vector,
            "rotate": None if self.rotate else False,
            "groups": None if self.ends == usual else self.ends,
            "optional": self.optional or None,
        }
        return call_text("Vector", str(self.dim), options)


def exact_type(kind: ColumnType) -> ColumnType:
    """Return the type in which values wait for a commit: it is there that they are rounded, once and for all
    (format.md 8.6)."""
    if isinstance(kind, Vector) and kind.method != EXACT:
        return Vector(kind.dim, groups=kind.ends, optional=kind.optional)
    return kind
