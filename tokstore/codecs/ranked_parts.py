"""Parts of blocks of token ids: a block is decompressed whole, but ids are looked up for what is wanted alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.contract import ZSTD, ZSTD_DICTIONARY, Run
from tokstore.codecs.ranked import RANK_U16, TokenDecoder
from tokstore.frames import decompress_together

__all__ = ["TokenParts"]

_U16 = np.dtype("<u2")


class TokenParts:
    """Decode a part of each of some blocks; a `BlockDecoder` whose arrays take the parts.

    Args:
        decoder: Decodes the blocks.
        places: Of every block that it will be given, how many values it has, and the first one that is wanted.

    Example:
        >>> from tokstore.codecs.ranked import RankTable, TokenEncoder
        >>> encoder = TokenEncoder(10, RankTable(np.array([7, 1, 4])), leb128=False, zstd_level=3)
        >>> block, ids = encoder.encode(np.array([7, 4] * 99 + [1, 1])), np.zeros(3, np.uint16)
        >>> parts = TokenParts(TokenDecoder(10, encoder.table), [(200, 196)])
        >>> parts.decode_run([(memoryview(block.data), block.form, ids)])
        >>> ids.tolist()
        [7, 4, 1]
    """

    def __init__(self, decoder: TokenDecoder, places: Sequence[tuple[int, int]]) -> None:
        self._decoder, self._places = decoder, places

    def decode(self, data: memoryview, form: int, out: NDArray[Any]) -> None:
        """Decode a part of the only block."""
        self._decode_one(data, form, out, *self._places[0])

    def decode_run(self, blocks: Sequence[Run]) -> None:
        """Decode a part of each block: decompressed by one call, as `TokenDecoder.decode_run` says why."""
        found = self._decompressed(blocks)
        for number, ((data, form, out), (count, start)) in enumerate(zip(blocks, self._places, strict=True)):
            if found is None or not self._looked_up(found[number], start, out):
                self._decode_one(data, form, out, count, start)

    def _decompressed(self, blocks: Sequence[Run]) -> Sequence[Any] | None:
        """Return the ranks of all blocks, if those are all that is in them."""
        form, dictionary = blocks[0][1], self._decoder.dictionary
        if any(other != form for _, other, _ in blocks) or not all(count for count, _ in self._places):
            return None
        if form == RANK_U16 | ZSTD << 4:
            dictionary = None
        elif form != RANK_U16 | ZSTD_DICTIONARY << 4 or dictionary is None:
            return None
        return decompress_together(
            [data for data, _, _ in blocks], [2 * count for count, _ in self._places], dictionary
        )

    def _looked_up(self, coded: Any, start: int, out: NDArray[Any]) -> bool:
        """Look up the ids of some ranks of a block; tell whether all have one."""
        table = self._decoder.short_table(out.dtype)
        ranks = np.frombuffer(coded, _U16, out.size, 2 * start)
        if table is None or (out.size and int(np.maximum.reduce(ranks)) >= self._decoder.entries):
            return False
        table.take(ranks, out=out, mode="wrap")
        return True

    def _decode_one(self, data: memoryview, form: int, out: NDArray[Any], count: int, start: int) -> None:
        """Decode a block whole. Where its codes differ in length, all before a value tell where it stands."""
        whole = np.empty(count, out.dtype)
        self._decoder.decode(data, form, whole)
        out[:] = whole[start : start + out.size]
