"""Which decoder reads the blocks of a column (registry.md 2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.bits import BitDecoder
from tokstore.codecs.categories import CategoryDecoder, decode_categories
from tokstore.codecs.code_model import CodeModel
from tokstore.codecs.codes import CodeDecoder
from tokstore.codecs.contract import BlockDecoder, Run
from tokstore.codecs.numbers import NumberDecoder
from tokstore.codecs.ranked import RankTable, TokenDecoder
from tokstore.codecs.text import TextDecoder
from tokstore.codecs.vector_model import VectorModel
from tokstore.codecs.vectors import VectorDecoder
from tokstore.column_types import Category, Codes, ColumnType, Label, SoftLabel, Tokens, Vector
from tokstore.errors import CorruptError
from tokstore.frames import Dictionary
from tokstore.soft_labels import check_soft_labels

__all__ = ["BITS", "CODES", "NUMBERS", "TEXT", "TOKENS", "VECTORS", "VectorBlocks", "decoder_for"]

TOKENS, NUMBERS, TEXT, CODES, VECTORS, BITS = range(1, 7)


class VectorBlocks:
    """The decoders of the dimension groups of vectors.

    Args:
        kind: The type of the column.
        model: What its blocks are coded with; ``None`` for vectors that are kept as they are.

    Attributes:
        stored_dtype: The dtype of what the blocks hold.
        is_joint: Blocks of different groups are decoded faster together.
    """

    def __init__(self, kind: Vector, model: VectorModel | None) -> None:
        self._widths = np.diff((0, *kind.ends)).tolist()
        self._dim, self.is_joint = kind.dim, model is not None
        self.stored_dtype: np.dtype[Any] = kind.dtype if model is None else np.dtype(np.int32)
        self._exact = [NumberDecoder(kind.dtype, width) for width in self._widths]
        self._turned = None if model is None else VectorDecoder(kind.dim, kind.ends, model)

    def decode(self, data: memoryview, form: int, out: NDArray[Any]) -> None:
        """Decode a block of the first group; see `BlockDecoder`."""
        self.of_group(0).decode(data, form, out)

    def decode_run(self, blocks: Sequence[Run]) -> None:
        """Decode blocks of the first group; see `BlockDecoder`."""
        self.of_group(0).decode_run(blocks)

    def of_group(self, number: int) -> BlockDecoder:
        """Return the decoder of one group."""
        return self._exact[number] if self._turned is None else _Turned(self._turned, self._widths, [number])

    def of_groups(self, numbers: Sequence[int]) -> BlockDecoder:
        """Return a decoder for a run of blocks of different groups.

        Args:
            numbers: The group of each of the blocks that it will be given.
        """
        if self._turned is None:
            raise ValueError("vectors that are kept as they are have no model")
        return _Turned(self._turned, self._widths, numbers)

    def restore(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return rows of vectors, or of their first dimensions, from what the blocks hold."""
        if self._turned is None:
            return stored
        whole = stored.shape[1] == self._dim
        return self._turned.reconstruct(stored) if whole else self._turned.prefix(np.ascontiguousarray(stored))


class _Turned:
    """Decode blocks of vectors that a model turned, in the groups that they are known to be of."""

    def __init__(self, decoder: VectorDecoder, widths: Sequence[int], groups: Sequence[int]) -> None:
        self._decoder, self._widths, self._groups = decoder, widths, groups

    def decode(self, data: memoryview, form: int, out: NDArray[Any]) -> None:
        """Decode a block; where there are several groups, `decode_run` has told which one is wrong."""
        self._decoder.decode_run([self._one(data, form, out, self._groups[0])])

    def decode_run(self, blocks: Sequence[Run]) -> None:
        """Decode blocks, each of its own group or all of one."""
        groups = self._groups if len(self._groups) == len(blocks) else [self._groups[0]] * len(blocks)
        self._decoder.decode_run([self._one(*block, group) for block, group in zip(blocks, groups, strict=True)])

    def _one(self, data: memoryview, form: int, out: NDArray[Any], group: int) -> tuple[memoryview, int, int, Any]:
        """Return a block as the decoder of vectors takes it."""
        return data, form, group, out.reshape(-1, self._widths[group])


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
        if codec == NUMBERS:
            return VectorBlocks(kind, None)
        if content is None:
            raise CorruptError("a column of turned vectors has no model", rule="codecs.md 6.2")
        return VectorBlocks(kind, VectorModel.decode(content, kind.dim, kind.ends))
    if isinstance(kind, Codes) and codec == CODES:
        model = None if content is None else CodeModel.decode(content, kind.size, kind.frame)
        return CodeDecoder(kind.size, kind.frame, model)
    if isinstance(kind, SoftLabel):
        return NumberDecoder(kind.dtype, kind.width, check=partial(check_soft_labels, kind))
    limit = kind.classes if isinstance(kind, Label) else kind.size if isinstance(kind, Codes) else None
    return NumberDecoder(kind.dtype, kind.width, limit=limit)
