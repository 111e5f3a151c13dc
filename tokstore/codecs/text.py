"""The codec of text: UTF-8 bytes and zstd (codecs.md 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.contract import (
    PLAIN,
    ZSTD,
    ZSTD_DICTIONARY,
    EachEncoder,
    EncodedBlock,
    Run,
    decode_each,
    pack,
    split_form,
    unpack_coded,
)
from tokstore.frames import Dictionary

__all__ = ["TextDecoder", "TextEncoder"]

_FORMS: Final = frozenset({0})
_PACKINGS: Final = frozenset({PLAIN, ZSTD, ZSTD_DICTIONARY})


class TextEncoder(EachEncoder):
    """Encode blocks of bytes. Thread-safe."""

    codec = 3

    def __init__(self, zstd_level: int, dictionary: Dictionary | None = None) -> None:
        self._level, self._dictionary = zstd_level, dictionary

    def encode(self, values: NDArray[Any]) -> EncodedBlock:
        """Encode one block of bytes, 1 or more."""
        return pack(np.ascontiguousarray(values, np.uint8).data, 0, self._level, self._dictionary)


class TextDecoder:
    """Decode blocks of bytes. Thread-safe."""

    def __init__(self, dictionary: Dictionary | None = None) -> None:
        self._dictionary = dictionary

    def decode_run(self, blocks: Sequence[Run]) -> None:
        """Decode several blocks; see `BlockDecoder`."""
        decode_each(self, blocks)

    def decode(self, data: memoryview, form: int, out: NDArray[Any]) -> None:
        """Decode one block into `out` (uint8); see `BlockDecoder`."""
        _, packing = split_form(form, _FORMS, _PACKINGS)
        out[:] = np.frombuffer(unpack_coded(data, packing, out.size, out.size, self._dictionary), np.uint8)
