"""The codec of bits: eight to a byte, or the lengths of runs (codecs.md 7)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.contract import (
    PLAIN,
    ZSTD,
    EachEncoder,
    EncodedBlock,
    Run,
    decode_each,
    pack,
    split_form,
    unpack_coded,
)
from tokstore.errors import CorruptError
from tokstore.packed import decode_packed, encode_packed

__all__ = ["BitDecoder", "BitEncoder"]

EIGHT, RUNS = 0, 1
_FORMS: Final = frozenset({EIGHT, RUNS})
_PACKINGS: Final = frozenset({PLAIN, ZSTD})
_COUNT = struct.Struct("<I")
_PACKED_HEAD = 10
_FEW_RUNS = 16  # with fewer values to a run than this, runs never win


class BitEncoder(EachEncoder):
    """Encode blocks of booleans. Thread-safe."""

    codec = 6

    def __init__(self, zstd_level: int) -> None:
        self._level = zstd_level

    def encode(self, values: NDArray[Any]) -> EncodedBlock:
        """Encode one block, 1 value or more."""
        bits = np.ascontiguousarray(values, bool)
        made = pack(np.packbits(bits, bitorder="little").tobytes(), EIGHT, self._level, None)
        edges = np.flatnonzero(bits[1:] != bits[:-1]) + 1
        if len(edges) * _FEW_RUNS > len(bits):
            return made
        ends = np.concatenate([np.zeros(int(bits[0]), np.int64), edges, [len(bits)]])
        lengths = np.diff(ends, prepend=0)
        runs = pack(_COUNT.pack(len(lengths)) + encode_packed(lengths), RUNS, self._level, None)
        return runs if len(runs.data) < len(made.data) else made


class BitDecoder:
    """Decode blocks of booleans. Thread-safe."""

    def decode_run(self, blocks: Sequence[Run]) -> None:
        """Decode several blocks; see `BlockDecoder`."""
        decode_each(self, blocks)

    def decode(self, data: memoryview, form: int, out: NDArray[Any]) -> None:
        """Decode one block into `out` (bool); see `BlockDecoder`."""
        value_form, packing = split_form(form, _FORMS, _PACKINGS)
        n = out.size
        if value_form == EIGHT:
            exact = (n + 7) // 8
            raw = np.frombuffer(unpack_coded(data, packing, exact, exact), np.uint8)
            bits = np.unpackbits(raw, bitorder="little")
            if bits[n:].any():
                raise CorruptError("bits past the last value are set", rule="codecs.md 7")
            out[:] = bits[:n]
            return
        most = _COUNT.size + _PACKED_HEAD + 8 * (n + 1)
        coded = memoryview(unpack_coded(data, packing, _COUNT.size + _PACKED_HEAD, most))
        (count,) = _COUNT.unpack_from(coded)
        if not 1 <= count <= n + 1:
            raise CorruptError(f"{count} runs for {n} bits", rule="codecs.md 7")
        lengths, used = decode_packed(coded[_COUNT.size :], count)
        if used != len(coded) - _COUNT.size or int(lengths.min()) < 0 or int(lengths.max()) > n or lengths.sum() != n:
            raise CorruptError(f"runs do not add up to {n} bits", rule="codecs.md 7")
        if not lengths[1:].all():
            raise CorruptError("a run after the first is empty", rule="codecs.md 7")
        out[:] = np.repeat((np.arange(count) & 1).astype(bool), lengths)
