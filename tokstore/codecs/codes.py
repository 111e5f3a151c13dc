"""The codec of codes: an entropy coder behind a model of the shard, or plain values where they are smaller
(codecs.md 5.5).

Symbols of codes look random to zstd; what there is to save lies in how often each comes and in what stands beside it,
so blocks are coded by rANS. Values of a block are cut into lanes, and the lanes of many blocks are coded side by side:
the numpy calls of a run of blocks are those of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tokstore import frames
from tokstore.codecs.code_model import CodeModel
from tokstore.codecs.contract import (
    PLAIN,
    ZSTD,
    EachEncoder,
    EncodedBlock,
    pack,
    split_form,
    unpack_coded,
)
from tokstore.codecs.rans import decode_lanes, encode_lanes
from tokstore.errors import CorruptError

__all__ = ["CodeDecoder", "CodeEncoder"]

VALUES, LANES, BITS = range(3)
_FORMS: Final = frozenset({VALUES, LANES, BITS})
_PACKINGS: Final = frozenset({PLAIN, ZSTD})
_RULE, _LANE_RULE = "codecs.md 5.5", "codecs.md 5.4"
_TOGETHER = 1 << 21  # values that are coded side by side, at most
_ZSTD_LEVEL, _QUICK_LEVEL = 3, 9
_LEAST_FOR_MODEL, _TRIAL = 1 << 10, 1 << 18


def _bits(size: int) -> int:
    """Return the bits of a value in form 2."""
    return (size - 1).bit_length()


def _dtype(size: int) -> np.dtype[Any]:
    """Return the dtype of a value in form 0."""
    return np.dtype("u1" if size <= 1 << 8 else "<u2")


def _groups(counts: Iterable[int]) -> Iterable[slice]:
    """Cut a run of blocks into groups that are coded side by side."""
    start = end = total = 0
    for end, count in enumerate(counts, start=1):
        if total and total + count > _TOGETHER:
            yield slice(start, end - 1)
            start, total = end - 1, 0
        total += count
    if end > start:
        yield slice(start, end)


class CodeEncoder(EachEncoder):
    """Encode blocks of codes; the smallest of the value forms wins. Thread-safe.

    Args:
        model: Fitted to the values of the shard; ``None`` to store values alone.
        size: Codes are below it; needed only without a model.
        zstd_level: 1 to 22, for plain values.
    """

    codec = 4
    run = 16

    def __init__(self, model: CodeModel | None, size: int | None = None, zstd_level: int = _ZSTD_LEVEL) -> None:
        if model is None and size is None:
            raise ValueError("a CodeEncoder without a model needs size=")
        self.model = model
        self._size = model.size if model is not None else int(size or 0)
        self._level = zstd_level

    @classmethod
    def for_values(
        cls, values: NDArray[Any], size: int, width: int, rows: int | None, contexts: bool = True
    ) -> CodeEncoder:
        """Return an encoder for the values of a shard, with a model where that saves bytes; see `CodeModel.fit`."""
        plain = cls(None, size)
        if len(values) < _LEAST_FOR_MODEL:
            return plain
        model = CodeModel.fit(values, size, width, rows, contexts)
        fitted = cls(model)
        trial = values[: max(min(len(values), _TRIAL) // width, 1) * width]
        saved = len(plain.encode(trial).data) - len(fitted.encode(trial).data)
        stored = len(frames.compress(model.encode(), _QUICK_LEVEL))
        return fitted if saved * len(values) > stored * len(trial) else plain

    def encode(self, values: NDArray[Any]) -> EncodedBlock:
        """Encode one block, 1 value or more. Only a whole number of frames is coded by the model."""
        return self.encode_run([values])[0]

    def encode_run(self, blocks: Sequence[NDArray[Any]]) -> list[EncodedBlock]:
        """Encode blocks jointly, each into what `encode` makes of it."""
        made: list[EncodedBlock] = []
        for group in _groups([block.size for block in blocks]):
            lanes = self._encode_lanes(blocks[group])
            for values, coded in zip(blocks[group], lanes, strict=True):
                plain = self._encode_plain(values)
                made.append(plain if coded is None or len(coded) >= len(plain.data) else EncodedBlock(coded, LANES))
        return made

    def _encode_plain(self, values: NDArray[Any]) -> EncodedBlock:
        """Encode values one by one: as bytes through zstd, or in as many bits as they need."""
        dtype = _dtype(self._size)
        plain = pack(values.astype(dtype, copy=False).tobytes(), VALUES, self._level, None)
        bits = _bits(self._size)
        if bits == 8 * dtype.itemsize or len(plain.data) <= -(-bits * values.size // 8):
            return plain
        each = np.unpackbits(values.astype("<u2").view(np.uint8).reshape(-1, 2), axis=1, bitorder="little")
        return EncodedBlock(np.packbits(each[:, :bits], bitorder="little").tobytes(), BITS)

    def _encode_lanes(self, blocks: Sequence[NDArray[Any]]) -> list[bytes | None]:
        """Encode blocks by the model; ``None`` for one with a value that has no code where it stands."""
        made: list[bytes | None] = [None] * len(blocks)
        model = self.model
        if model is None:
            return made
        ranks = [model.ranks.take(values, mode="clip") for values in blocks]
        codable = [one for one, given in enumerate(ranks) if int(given.min()) >= 0 and given.size % model.width == 0]
        if codable:
            given = [(_to_lanes(ranks[one], model), model.shape(ranks[one].size)) for one in codable]
            for number, coded in zip(codable, encode_lanes(model.tables, given, model.choice), strict=True):
                made[number] = coded
        return made


def _to_lanes(ranks: NDArray[np.int32], model: CodeModel) -> NDArray[np.uint16]:
    """Lay out the symbols of a block as the entropy coder takes them."""
    shape = model.shape(ranks.size)
    symbols = ranks.astype(np.uint16)
    if model.low_bits:
        symbols = np.empty((ranks.size, 2), np.uint16)
        np.right_shift(ranks, model.low_bits, out=symbols[:, 0], casting="unsafe")
        np.bitwise_and(ranks, (1 << model.low_bits) - 1, out=symbols[:, 1], casting="unsafe")
        symbols = symbols.reshape(-1)
    laid = np.zeros((shape.length, shape.lanes), np.uint16)
    whole = shape.lanes - (shape.last < shape.length)
    laid[:, :whole] = symbols[: whole * shape.length].reshape(whole, shape.length).T
    laid[shape.length - shape.last :, -1] = symbols[symbols.size - shape.last :]
    return laid


class CodeDecoder:
    """Decode blocks of codes. Thread-safe.

    Args:
        size: Codes are below it.
        width: The last dimension of the shape of a sample where that is fixed, else 1.
        model: The column's object, if it has one.
    """

    def __init__(self, size: int, width: int, model: CodeModel | None) -> None:
        self._size, self._width, self._model = size, width, model
        self._ids = None if model is None else model.ids.astype(np.int32)
        self._in_order = self._ids is not None and bool((self._ids == np.arange(self._ids.size)).all())

    def decode(self, data: memoryview, form: int, out: NDArray[Any]) -> None:
        """Decode one block into `out` (int32); see `BlockDecoder`."""
        self.decode_run([(data, form, out)])

    def decode_run(self, blocks: Sequence[tuple[memoryview, int, NDArray[Any]]]) -> None:
        """Decode blocks jointly: bytes, form and `out` of each.

        Raises:
            CorruptError: One of the blocks breaks the spec. To know which, decode them one by one.
        """
        coded: list[tuple[memoryview, NDArray[Any]]] = []
        for data, form, out in blocks:
            value_form, packing = split_form(form, _FORMS, _PACKINGS)
            if out.size % self._width:
                raise CorruptError(f"a block of {out.size} codes, {self._width} to a frame", rule="codecs.md 5")
            if packing != PLAIN and value_form != VALUES:
                raise CorruptError(
                    f"a block has form 0x{form:02x}, which its codec does not define", rule="codecs.md 1"
                )
            if value_form == LANES:
                coded.append((data, out))
            elif value_form == VALUES:
                self._decode_values(data, packing, out)
            else:
                self._decode_bits(data, out)
        for group in _groups([out.size for _, out in coded]):
            self._decode_lanes(coded[group])

    def _decode_values(self, data: memoryview, packing: int, out: NDArray[Any]) -> None:
        """Decode value form 0."""
        dtype = _dtype(self._size)
        exact = out.size * dtype.itemsize
        out[:] = np.frombuffer(unpack_coded(data, packing, exact, exact), dtype)
        self._check(out)

    def _decode_bits(self, data: memoryview, out: NDArray[Any]) -> None:
        """Decode value form 2."""
        bits = _bits(self._size)
        exact = -(-bits * out.size // 8)
        each = np.unpackbits(np.frombuffer(unpack_coded(data, PLAIN, exact, exact), np.uint8), bitorder="little")
        if each[bits * out.size :].any():
            raise CorruptError("bits past the last code are set", rule=_RULE)
        wide = np.zeros((out.size, 16), np.uint8)
        wide[:, :bits] = each[: bits * out.size].reshape(-1, bits)
        out[:] = np.packbits(wide.reshape(-1), bitorder="little").view("<u2")
        self._check(out)

    def _decode_lanes(self, blocks: Sequence[tuple[memoryview, NDArray[Any]]]) -> None:
        """Decode value form 1, blocks side by side."""
        model = self._model
        if model is None or self._ids is None:
            raise CorruptError("a block needs a code model, but its column has none", rule=_RULE)
        for _, out in blocks:
            if out.size % model.width:
                raise CorruptError(f"a block of {out.size} codes is no whole number of frames", rule=_LANE_RULE)
        shapes = [model.shape(out.size) for _, out in blocks]
        given = [(data, shape) for (data, _), shape in zip(blocks, shapes, strict=True)]
        for laid, shape, (_, out) in zip(decode_lanes(model.tables, given, model.choice), shapes, blocks, strict=True):
            each = model.symbols_per_code
            whole = shape.lanes - (shape.last < shape.length)
            edge = whole * shape.length // each
            self._to_codes(laid[:, :whole], out[:edge].reshape(whole, shape.length // each))
            if whole < shape.lanes:
                self._to_codes(laid[shape.length - shape.last :, whole:], out[edge:].reshape(1, shape.last // each))

    def _to_codes(self, laid: NDArray[np.uint16], out: NDArray[Any]) -> None:
        """Turn the symbols of lanes ``[symbols, lanes]`` into codes ``[lanes, codes]``."""
        model, ids = self._model, self._ids
        if model is None or ids is None:
            return
        ranks: NDArray[Any] = laid
        if model.low_bits:
            ranks = laid[::2].astype(np.int32) << model.low_bits | laid[1::2]
            if ranks.size and int(ranks.max()) >= ids.size:
                raise CorruptError(f"a rank lies outside the model of {ids.size} codes", rule=_LANE_RULE)
        if self._in_order:
            out[:] = ranks.T
        else:
            ids.take(ranks.T, out=out, mode="clip")

    def _check(self, codes: NDArray[Any]) -> None:
        """Refuse codes outside the alphabet."""
        if codes.size and int(codes.max()) >= self._size:
            raise CorruptError(f"a code is not below {self._size}", rule=_RULE)
