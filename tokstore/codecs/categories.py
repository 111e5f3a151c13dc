"""Lists of categories <-> bytes, and blocks of numbers that stand for them (codecs.md 3.3)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.contract import Run, decode_each
from tokstore.codecs.numbers import NumberDecoder
from tokstore.errors import CorruptError
from tokstore.packed import PackedReader, encode_packed
from tokstore.wire import unpack

__all__ = ["MAX_CATEGORIES", "CategoryDecoder", "decode_categories", "encode_categories"]

MAX_CATEGORIES = 1 << 16
MAX_CATEGORY_BYTES = 1 << 24
_COUNT = struct.Struct("<I")
_RULE = "codecs.md 3.3"


def encode_categories(names: Sequence[str]) -> bytes:
    """Return the content of the object of a `Category` column."""
    coded = [name.encode() for name in names]
    lengths = np.array([len(one) for one in coded], np.int64)
    return _COUNT.pack(len(coded)) + encode_packed(lengths) + b"".join(coded)


def decode_categories(content: bytes | memoryview) -> list[str]:
    """Parse and check the content of the object of a `Category` column."""
    (count,) = unpack(_COUNT, content)
    if count > MAX_CATEGORIES or len(content) > MAX_CATEGORY_BYTES:
        raise CorruptError(f"a list of {count} categories in {len(content)} bytes", rule=_RULE)
    reader = PackedReader(memoryview(content)[_COUNT.size :], "categories", _RULE)
    lengths = reader.packed(count, "lengths", 0, MAX_CATEGORY_BYTES).tolist()
    try:
        names = [bytes(reader.raw(length, "names")).decode() for length in lengths]
    except UnicodeDecodeError as error:
        raise CorruptError("the name of a category is not UTF-8", rule=_RULE) from error
    reader.end()
    if len(set(names)) != len(names):
        raise CorruptError("a category is listed twice", rule=_RULE)
    return names


class CategoryDecoder:
    """Decode blocks of categories: to strings where `out` holds objects, else to their numbers. Thread-safe.

    Args:
        names: The list of the file.

    Attributes:
        names: The same.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._names = np.array([*names, None], object)[: len(names)]
        self._numbers = NumberDecoder(np.dtype("<u2"), limit=len(names))

    def decode_run(self, blocks: Sequence[Run]) -> None:
        """Decode several blocks; see `BlockDecoder`."""
        decode_each(self, blocks)

    def decode(self, data: memoryview, form: int, out: NDArray[Any]) -> None:
        """Decode one block; see `BlockDecoder`."""
        if out.dtype != object:
            self._numbers.decode(data, form, out)
            return
        numbers = np.empty(out.size, np.uint16)
        self._numbers.decode(data, form, numbers)
        out[:] = self._names[numbers]
