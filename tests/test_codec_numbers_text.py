"""LEB128 against a slow reference, and the codecs of numbers and text (codecs.md 2.2, 3, 4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import allocates_at_most, check_codec, check_reader, decode
from test_codec_tokens import slow_leb128
from tokstore.codecs.contract import EncodedBlock
from tokstore.codecs.leb128 import decode_leb128, encode_leb128
from tokstore.codecs.numbers import NumberDecoder, NumberEncoder
from tokstore.codecs.text import TextDecoder, TextEncoder
from tokstore.column_types import DTYPES
from tokstore.errors import CorruptError
from tokstore.frames import Dictionary, compress

LIMITS = [0, 1] + [(1 << 7 * k) + d for k in range(1, 5) for d in (-1, 0, 1)] + [(1 << 35) - 1]


@given(st.lists(st.one_of(st.sampled_from(LIMITS), st.integers(0, 2**35 - 1)), min_size=1), st.integers(7, 35))
def test_leb128_is_what_the_page_says(codes: list[int], bits: int) -> None:
    """Each of the three ways of encoding gives the bytes of the slow one, and decodes."""
    narrow = [code % (1 << bits) for code in codes]
    for given_ in (codes, narrow, [code % (1 << 14) for code in codes], [code % 128 for code in codes]):
        coded = encode_leb128(np.array(given_, np.int64))
        assert coded == slow_leb128(given_)
        assert decode_leb128(coded, len(given_)).tolist() == given_


@pytest.mark.hostile
@given(st.binary(min_size=1, max_size=30), st.integers(1, 30))
def test_leb128_of_any_bytes(coded: bytes, count: int) -> None:
    """Bytes are exactly the shortest form of what they decode to, or refused."""
    try:
        found = decode_leb128(coded, count).tolist()
    except CorruptError:
        return
    assert slow_leb128(found) == coded
    assert len(found) == count


def special_values(dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Values at the limits of a dtype: both zeros, NaN payloads, infinities, smallest and largest."""
    if dtype.kind == "f":
        bits = np.dtype(f"u{dtype.itemsize}")
        raw = np.array([0, 1, -1, 1 << (8 * dtype.itemsize - 1)]).astype(bits)
        nans = np.array([np.nan], dtype).view(bits) | np.array([1, 5], bits)
        values = np.concatenate([raw, nans, np.array([1.5, np.inf, -np.inf], dtype).view(bits)]).view(dtype)
        return values
    info = np.iinfo(dtype)
    return np.array([info.min, info.max, 0, 1], dtype)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("count", [1, 9, 5000])
def test_numbers_keep_every_bit(dtype: np.dtype[Any], count: int) -> None:
    """Every dtype, with payloads of NaN and both zeros."""
    values = np.resize(special_values(dtype), count)
    check_codec(NumberEncoder(dtype, 3), NumberDecoder(dtype), values, dtype)


def test_planes_win_where_they_are_smaller() -> None:
    """Slowly growing wide numbers are stored as planes, noise as it is, on a 64-byte boundary."""
    slow = np.arange(20_000, dtype=np.int64) * 3
    block = check_codec(NumberEncoder(slow.dtype, 12), NumberDecoder(slow.dtype), slow, slow.dtype)
    assert block.form == 0x11
    assert block.alignment == 8
    noise = np.random.default_rng(0).integers(0, 2**63, 300)
    block = check_codec(NumberEncoder(noise.dtype, 12), NumberDecoder(noise.dtype), noise, noise.dtype)
    assert block.form == 0x00
    assert block.alignment == 64


@given(st.sampled_from(sorted(DTYPES)), st.data())
def test_both_value_forms_are_read(number: int, data: st.DataObject) -> None:
    """Values and planes, stored and as zstd, made here by hand."""
    dtype = DTYPES[number]
    raw = data.draw(st.binary(min_size=dtype.itemsize, max_size=20 * dtype.itemsize))
    raw = raw[: len(raw) // dtype.itemsize * dtype.itemsize]
    count = len(raw) // dtype.itemsize
    planes = b"".join(raw[i :: dtype.itemsize] for i in range(dtype.itemsize))
    for form, coded in ((0, raw), (1, planes)):
        for block in (EncodedBlock(coded, form), EncodedBlock(compress(coded), form | 0x10)):
            assert decode(NumberDecoder(dtype), block, count, dtype).tobytes() == raw


@pytest.mark.parametrize(
    ("form", "data"),
    [
        (2, bytes(8)),
        (0x20, compress(bytes(8))),
        (0x30, bytes(8)),
        (0x80, bytes(8)),
        (0, bytes(7)),
        (1, bytes(9)),
        (0x10, compress(bytes(1 << 24))),
    ],
)
def test_hostile_numbers_are_refused(form: int, data: bytes) -> None:
    """Other forms and lengths, in a block of two f32."""
    with allocates_at_most(1 << 20), pytest.raises(CorruptError):
        decode(NumberDecoder(DTYPES[11]), EncodedBlock(data, form), 2, np.float32)


@given(st.binary(min_size=1, max_size=300))
def test_text_round_trips(data: bytes) -> None:
    """Any bytes come back; with a dictionary too."""
    values = np.frombuffer(data, np.uint8)
    check_codec(TextEncoder(3), TextDecoder(), values, np.uint8)
    history = b"some history that the block points into"
    block = EncodedBlock(compress(data + history, 3, Dictionary(history)), 0x20)
    assert decode(TextDecoder(Dictionary(history)), block, len(data + history), np.uint8).tobytes() == data + history


@pytest.mark.parametrize(
    ("form", "data"), [(1, b"abc"), (0x20, compress(b"abc")), (0, b"ab"), (0, b"abcd"), (0x10, compress(b"ab"))]
)
def test_hostile_text_is_refused(form: int, data: bytes) -> None:
    """Other forms, a dictionary that is not there, other lengths, in a block of three bytes."""
    with pytest.raises(CorruptError):
        decode(TextDecoder(), EncodedBlock(data, form), 3, np.uint8)


@pytest.mark.hostile
@given(st.integers(0, 1), st.integers(0, 1), st.integers(0, 1000))
def test_damaged_numbers(form: int, packing: int, seed: int) -> None:
    """Any damage gives numbers or a `CorruptError`."""
    raw = np.random.default_rng(seed).integers(0, 50, 20).astype("<i4").tobytes()
    data = compress(raw) if packing else raw

    def read(one: bytes) -> bytes:
        return decode(NumberDecoder(DTYPES[7]), EncodedBlock(one, form | packing << 4), 20, np.int32).tobytes()

    check_reader(read, data, is_checked=False, seed=seed, flips=30, allowed=1 << 20)
