"""The codecs of bits and of categories (codecs.md 3.3, 7)."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import check_reader, decode
from tokstore.codecs.bits import BitDecoder, BitEncoder
from tokstore.codecs.categories import CategoryDecoder, decode_categories, encode_categories
from tokstore.codecs.contract import EncodedBlock
from tokstore.codecs.numbers import NumberEncoder
from tokstore.errors import CorruptError
from tokstore.packed import encode_packed


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 300)), min_size=1, max_size=12))
def test_bits_round_trip(runs: list[tuple[bool, int]]) -> None:
    """Bits come back, whether they are stored one by one or as runs."""
    values = np.repeat([bit for bit, _ in runs], [count for _, count in runs])
    block = BitEncoder(3).encode(values)
    assert decode(BitDecoder(), block, len(values), np.bool_).tolist() == values.tolist()
    assert BitEncoder(3).encode(np.repeat(values, 2)[::2]) == block


def test_long_runs_are_stored_as_runs() -> None:
    """A mask of two halves takes a few bytes; noise takes a bit each."""
    halves = np.arange(100_000) >= 50_000
    block = BitEncoder(3).encode(halves)
    assert block.form & 15 == 1
    assert len(block.data) < 40
    noise = np.random.default_rng(0).random(8000) < 0.5
    block = BitEncoder(3).encode(noise)
    assert (block.form, len(block.data)) == (0, 1000)


@pytest.mark.parametrize(
    ("form", "data"),
    [
        (0, b"\x00"),
        (0, b"\x00\x10"),
        (0, bytes(3)),
        (2, bytes(2)),
        (0x20, bytes(2)),
        (1, struct.pack("<I", 2) + encode_packed([4, 7])),
        (1, struct.pack("<I", 2) + encode_packed([4, 9])),
        (1, struct.pack("<I", 3) + encode_packed([4, 0, 8])),
        (1, struct.pack("<I", 0) + encode_packed([12])),
        (1, struct.pack("<I", 14) + encode_packed([12] * 14)),
        (1, struct.pack("<I", 1) + encode_packed([12]) + b"x"),
        (1, struct.pack("<I", 2) + encode_packed([-1, 13])),
    ],
)
def test_hostile_bits_are_refused(form: int, data: bytes) -> None:
    """Other lengths, bits past the end, runs that do not fit, in a block of twelve bits."""
    with pytest.raises(CorruptError):
        decode(BitDecoder(), EncodedBlock(data, form), 12, np.bool_)


@pytest.mark.hostile
@given(st.booleans(), st.integers(0, 1000))
def test_damaged_bits(is_noise: bool, seed: int) -> None:
    """Any damage gives bits or a `CorruptError`."""
    values = np.random.default_rng(seed).random(500) < 0.5 if is_noise else np.arange(500) > seed % 500
    block = BitEncoder(3).encode(values)

    def read(data: bytes) -> bytes:
        return decode(BitDecoder(), EncodedBlock(data, block.form), 500, np.bool_).tobytes()

    check_reader(read, block.data, is_checked=False, seed=seed, flips=40, allowed=1 << 20)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), unique=True, max_size=20))
def test_lists_round_trip(names: list[str]) -> None:
    """Any different strings come back in their order."""
    assert decode_categories(encode_categories(names)) == names


@pytest.mark.parametrize(
    "content",
    [
        b"",
        encode_categories(["a", "b"]) + b"x",
        encode_categories(["a", "b"])[:-1],
        encode_categories(["a", "a"]),
        struct.pack("<I", 1) + encode_packed([2]) + b"\xff\xfe",
        struct.pack("<I", 1 << 17) + encode_packed([0] * (1 << 17)),
    ],
)
def test_hostile_lists_are_refused(content: bytes) -> None:
    """Cut, too long, with a name twice, not UTF-8, too many names."""
    with pytest.raises(CorruptError):
        decode_categories(content)


def test_categories_are_strings_or_numbers() -> None:
    """A block decodes to strings where objects are wanted, else to numbers; a number past the list is refused."""
    block = NumberEncoder(np.dtype("<u2"), 3).encode(np.array([2, 0, 1, 2], np.uint16))
    decoder = CategoryDecoder(["x", "", "long"])
    assert decode(decoder, block, 4, object).tolist() == ["long", "x", "", "long"]
    assert decode(decoder, block, 4, np.uint16).tolist() == [2, 0, 1, 2]
    with pytest.raises(CorruptError, match="not below 2"):
        decode(CategoryDecoder(["x", ""]), block, 4, object)
