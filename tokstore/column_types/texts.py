"""`Text`, `Bytes`, `Category`: strings of a sample (registry.md 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tokstore.column_types.contract import DTYPES, ColumnType, Shape, call_text

__all__ = ["Bytes", "Category", "Text"]


@dataclass(frozen=True)
class Text(ColumnType):
    """One string per sample, stored as UTF-8.

    Example:
        >>> Text(optional=True)
        Text(optional=True)
    """

    number: ClassVar[int] = 9
    codecs: ClassVar[tuple[int, ...]] = (3,)

    @property
    def shape(self) -> Shape:
        return (None,)

    @property
    def dtype(self) -> np.dtype[Any]:
        return DTYPES[1]

    @property
    def ranged(self) -> bool:
        return True

    def __repr__(self) -> str:
        return call_text("Text", "", {"optional": self.optional or None})


@dataclass(frozen=True)
class Bytes(ColumnType):
    """Any bytes per sample, such as a small file.

    Example:
        >>> Bytes()
        Bytes()
    """

    number: ClassVar[int] = 10
    codecs: ClassVar[tuple[int, ...]] = (3,)

    @property
    def shape(self) -> Shape:
        return (None,)

    @property
    def dtype(self) -> np.dtype[Any]:
        return DTYPES[1]

    def __repr__(self) -> str:
        return call_text("Bytes", "", {"optional": self.optional or None})


@dataclass(frozen=True)
class Category(ColumnType):
    """One of at most 65,536 strings per sample, such as a source or a language: a number beside a list of strings.

    Example:
        >>> Category(optional=True)
        Category(optional=True)
    """

    number: ClassVar[int] = 8
    codecs: ClassVar[tuple[int, ...]] = (2,)

    @property
    def dtype(self) -> np.dtype[Any]:
        return DTYPES[2]

    def __repr__(self) -> str:
        return call_text("Category", "", {"optional": self.optional or None})
