"""Which decoder reads the blocks of a column (registry.md 2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.bits import BitDecoder
from tokstore.codecs.categories import CategoryDecoder, decode_categories
from tokstore.codecs.contract import BlockDecoder, Run
from tokstore.codecs.numbers import NumberDecoder
from tokstore.codecs.ranked import RankTable, TokenDecoder
from tokstore.codecs.text import TextDecoder
from tokstore.column_types import Category, Codes, ColumnType, Label, SoftLabel, Tokens, Vector
from tokstore.errors import CorruptError
from tokstore.frames import Dictionary
from tokstore.soft_labels import check_soft_labels

__all__ = ["BITS", "CODES", "NUMBERS", "TEXT", "TOKENS", "VECTORS", "VectorBlocks", "decoder_for"]

TOKENS, NUMBERS, TEXT, CODES, VECTORS, BITS = range(1, 7)


class VectorBlocks:
    """The decoders of the dimension groups of vectors that are kept as they are.

    Attributes:
        stored_dtype: The dtype of what the blocks hold.
    """

    def __init__(self, kind: Vector) -> None:
        self.stored_dtype: np.dtype[Any] = kind.dtype
        self._groups = [NumberDecoder(kind.dtype, int(width)) for width in np.diff((0, *kind.ends))]

    def decode(self, data: memoryview, form: int, out: NDArray[Any]) -> None:
        """Decode a block of the first group; see `BlockDecoder`."""
        self._groups[0].decode(data, form, out)

    def decode_run(self, blocks: Sequence[Run]) -> None:
        """Decode blocks of the first group; see `BlockDecoder`."""
        self._groups[0].decode_run(blocks)

    def of_group(self, number: int) -> BlockDecoder:
        """Return the decoder of one group."""
        return self._groups[number]

    def restore(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return rows of vectors, or of their first dimensions, from what the blocks hold."""
        return stored


def decoder_for(kind: ColumnType, codec: int, content: bytes | None) -> BlockDecoder:
    """Return the decoder of a column.

    Args:
        kind: Its type.
        codec: One of the codecs of the type.
        content: The content of its object, or ``None`` where it has none.
    """
    if isinstance(kind, Tokens):
        return TokenDecoder(kind.vocab_size, None if content is None else RankTable.decode(content, kind.vocab_size))
    if codec == TEXT:
        return TextDecoder(None if content is None else Dictionary(content))
    if codec == BITS:
        return BitDecoder()
    if isinstance(kind, Category):
        if content is None:
            raise CorruptError("a column of categories has no list of them", rule="codecs.md 3.3")
        return CategoryDecoder(decode_categories(content))
    if isinstance(kind, Vector):
        return VectorBlocks(kind)
    if isinstance(kind, SoftLabel):
        return NumberDecoder(kind.dtype, kind.width, check=partial(check_soft_labels, kind))
    limit = kind.classes if isinstance(kind, Label) else kind.size if isinstance(kind, Codes) else None
    return NumberDecoder(kind.dtype, kind.width, limit=limit)
