"""The codec of numbers: little-endian values, or byte planes where they compress better (codecs.md 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.contract import PLAIN, ZSTD, EncodedBlock, Run, decode_each, pack, split_form, unpack_coded
from tokstore.errors import CorruptError

__all__ = ["NumberDecoder", "NumberEncoder"]

VALUES, PLANES = 0, 1
_FORMS: Final = frozenset({VALUES, PLANES})
_PACKINGS: Final = frozenset({PLAIN, ZSTD})


class NumberEncoder:
    """Encode blocks of numbers; the smaller of the two value forms wins. Thread-safe."""

    def __init__(self, dtype: np.dtype[Any], zstd_level: int) -> None:
        self._dtype, self._level = dtype, zstd_level

    def encode(self, values: NDArray[Any]) -> EncodedBlock:
        """Encode one block, 1 value or more."""
        array = np.ascontiguousarray(values, self._dtype)
        plain = pack(array.view(np.uint8).data, VALUES, self._level, None)
        if self._dtype.itemsize == 1:
            return plain
        planes = pack(array.view(np.uint8).reshape(array.size, -1).T.tobytes(), PLANES, self._level, None)
        return planes if len(planes.data) < len(plain.data) else plain


class NumberDecoder:
    """Decode blocks of numbers. Thread-safe.

    Args:
        dtype: The dtype of a value.
        classes: All values of a label are below it; ``None`` for any number.
    """

    def __init__(self, dtype: np.dtype[Any], classes: int | None = None) -> None:
        self._dtype = dtype
        # A dtype that holds nothing else needs no look at the values.
        self._classes = None if classes is None or classes == 1 << 8 * dtype.itemsize else classes

    def decode_run(self, blocks: Sequence[Run]) -> None:
        """Decode several blocks; see `BlockDecoder`."""
        decode_each(self, blocks)

    def decode(self, data: memoryview, form: int, out: NDArray[Any]) -> None:
        """Decode one block into `out`, which has the column's dtype; see `BlockDecoder`."""
        value_form, packing = split_form(form, _FORMS, _PACKINGS)
        width = self._dtype.itemsize
        exact = out.size * width
        coded = np.frombuffer(unpack_coded(data, packing, exact, exact), np.uint8)
        if value_form == PLANES:
            coded = np.ascontiguousarray(coded.reshape(width, out.size).T).reshape(-1)
        out[:] = coded.view(self._dtype)
        if self._classes is not None and out.size and int(out.max()) >= self._classes:
            raise CorruptError(f"a label is not below {self._classes} classes", rule="registry.md 1")
