"""What every codec offers, and the form byte they share (codecs.md 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray

from tokstore import frames
from tokstore.errors import CorruptError
from tokstore.format import MAX_BLOCK_BYTES
from tokstore.frames import Dictionary

__all__ = [
    "PLAIN",
    "ZSTD",
    "ZSTD_DICTIONARY",
    "BlockDecoder",
    "EachEncoder",
    "EncodedBlock",
    "Run",
    "decode_each",
    "pack",
    "split_form",
    "unpack_coded",
]

PLAIN, ZSTD, ZSTD_DICTIONARY = 0, 1, 2


@dataclass(frozen=True)
class EncodedBlock:
    """One encoded block: its bytes and its form byte."""

    data: bytes
    form: int

    @property
    def alignment(self) -> int:
        """Where the block may begin (format.md 4.3)."""
        return 8 if self.form >> 4 else 64


class EachEncoder:
    """What encoders share that gain nothing by seeing several blocks at once.

    Attributes:
        codec: Number of the codec (registry.md 2).
        run: Blocks that are given to `encode_run` at once.
    """

    codec: ClassVar[int]
    run: ClassVar[int] = 4

    def encode(self, values: NDArray[Any]) -> EncodedBlock:
        """Encode one block, 1 value or more."""
        raise TypeError(f"{type(self).__name__} encodes nothing")

    def encode_run(self, parts: Sequence[NDArray[Any]]) -> list[EncodedBlock]:
        """Encode several blocks."""
        return [self.encode(part) for part in parts]


Run = tuple[memoryview, int, NDArray[Any]]
"""A block to be decoded among others: its bytes, its form, and where its values go."""


class BlockDecoder(Protocol):
    """Decode the blocks of one column of one file."""

    def decode(self, data: memoryview, form: int, out: NDArray[Any]) -> None:
        """Decode one block into `out`, a contiguous array of exactly as many values as the block has."""

    def decode_run(self, blocks: Sequence[Run]) -> None:
        """Decode several blocks, together where that is faster. An error need not say which block it is about: whoever
        wants to know decodes them one by one.
        """


def decode_each(decoder: BlockDecoder, blocks: Sequence[Run]) -> None:
    """Decode blocks one by one: `BlockDecoder.decode_run` for codecs that gain nothing by more."""
    for data, form, out in blocks:
        decoder.decode(data, form, out)


def split_form(form: int, forms: frozenset[int], packings: frozenset[int]) -> tuple[int, int]:
    """Return value form and packing of a form byte that the codec allows."""
    value_form, packing = form & 15, form >> 4
    if value_form not in forms or packing not in packings:
        raise CorruptError(f"a block has form 0x{form:02x}, which its codec does not define", rule="codecs.md 1")
    return value_form, packing


def pack(
    coded: bytes | memoryview,
    value_form: int,
    level: int,
    dictionary: Dictionary | None,
    min_match: int | None = None,
) -> EncodedBlock:
    """Compress coded bytes where that makes them smaller."""
    packed = frames.compress(coded, level, dictionary, min_match)
    if len(packed) >= len(coded):
        return EncodedBlock(bytes(coded), value_form)
    return EncodedBlock(packed, value_form | (ZSTD_DICTIONARY if dictionary else ZSTD) << 4)


def unpack_coded(
    data: memoryview, packing: int, least: int, most: int, dictionary: Dictionary | None = None
) -> bytes | memoryview:
    """Return the coded bytes of a block; `least` and `most` bound their number."""
    most = min(most, MAX_BLOCK_BYTES)
    if packing == PLAIN:
        if not least <= len(data) <= most:
            raise CorruptError(f"a block has {len(data)} coded bytes, not {least} to {most}", rule="codecs.md 1")
        return data
    if packing == ZSTD_DICTIONARY and dictionary is None:
        raise CorruptError("a block needs a dictionary, but its column has none", rule="codecs.md 1")
    return frames.decompress(
        data, least=least, most=most, dictionary=dictionary if packing == ZSTD_DICTIONARY else None
    )
