"""LEB128 against a slow reference, and the codecs of numbers and text (codecs.md 2.2, 3, 4)."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import allocates_at_most, check_codec, check_reader, decode
from test_codec_tokens import slow_leb128
from tokstore.codecs.contract import EncodedBlock
from tokstore.codecs.leb128 import decode_leb128, encode_leb128
from tokstore.codecs.numbers import NumberDecoder, NumberEncoder, in_steps
from tokstore.codecs.text import TextDecoder, TextEncoder
from tokstore.column_types import BIT, DTYPES
from tokstore.errors import CorruptError
from tokstore.frames import Dictionary, compress
from tokstore.packed import encode_packed

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


@pytest.mark.parametrize("dtype", [one for number, one in DTYPES.items() if number != BIT], ids=str)
@pytest.mark.parametrize("count", [1, 9, 5000])
def test_numbers_keep_every_bit(dtype: np.dtype[Any], count: int) -> None:
    """Every dtype, with payloads of NaN and both zeros."""
    values = np.resize(special_values(dtype), count)
    check_codec(NumberEncoder(dtype, 3), NumberDecoder(dtype), values, dtype)


def test_planes_win_where_they_are_smaller() -> None:
    """Few wide numbers are stored as planes, growing ones as packed steps, noise as it is, on a 64-byte boundary."""
    rng = np.random.default_rng(0)
    few = np.tile(rng.integers(0, 2**63, 40), 500)
    assert check_codec(NumberEncoder(few.dtype, 12), NumberDecoder(few.dtype), few, few.dtype).form & 15 in (1, 3)
    slow = np.arange(20_000, dtype=np.int64) * 3
    block = check_codec(NumberEncoder(slow.dtype, 12), NumberDecoder(slow.dtype), slow, slow.dtype)
    assert block.form == 0x13
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
        (7, bytes(8)),
        (0x20, compress(bytes(8))),
        (0x30, bytes(8)),
        (0x80, bytes(8)),
        (0, bytes(7)),
        (1, bytes(9)),
        (0x10, compress(bytes(1 << 24))),
        (3, encode_packed([1, 2])),
        (4, struct.pack("<d", 0.0) + encode_packed([1, 2])),
        (4, struct.pack("<d", float("inf")) + encode_packed([1, 2])),
        (4, struct.pack("<d", 0.5) + encode_packed([1, 2]) + b"x"),
        (5, struct.pack("<4I", 2, 2, 2, 3) + bytes(9)),
        (5, struct.pack("<4I", 2, 2, 2, 2) + bytes(9)),
        (5, struct.pack("<4I", 2, 2, 2, 1) + bytes(7)),
        (0x15, compress(struct.pack("<4I", 2, 2, 2, 2) + bytes(8))),
    ],
)
def test_hostile_numbers_are_refused(form: int, data: bytes) -> None:
    """Other forms and lengths, in a block of two f32."""
    with allocates_at_most(1 << 20), pytest.raises(CorruptError):
        decode(NumberDecoder(DTYPES[11]), EncodedBlock(data, form), 2, np.float32)


@pytest.mark.parametrize("width", [1, 3, 16])
@pytest.mark.parametrize("number", [1, 2, 4, 7, 9, 11, 12])
@pytest.mark.parametrize("narrowed", [False, True])
def test_rows_of_numbers_keep_every_bit(width: int, number: int, narrowed: bool) -> None:
    """Whatever form an encoder settles on, in rows of any width, for numbers that favour each of them."""
    dtype, rng = DTYPES[number], np.random.default_rng(width)
    near = np.repeat(rng.random(width) * 50, 700).reshape(width, -1).T.reshape(-1)
    for values in (near + rng.random(near.size), np.arange(near.size) % 120, rng.integers(0, 120, near.size)):
        typed = values.astype(dtype)
        encoder = NumberEncoder(dtype, 3, width=width)
        if narrowed:
            encoder.narrow(np.tile(typed, 200))
        check = NumberDecoder(dtype, width)
        block = encoder.encode(typed)
        assert decode(check, block, len(typed), dtype).tobytes() == typed.tobytes()
        (joined,) = encoder.encode_run([typed])
        assert joined == block


def test_turned_planes_win_where_places_differ() -> None:
    """Rows whose places have values of their own are stored place by place."""
    rng = np.random.default_rng(0)
    rows = (rng.random((2000, 8)) + 10.0 ** np.arange(8)).astype(np.float32)
    block = NumberEncoder(rows.dtype, 3, width=8).encode(rows.reshape(-1))
    assert block.form & 15 in (2, 6)
    assert decode(NumberDecoder(rows.dtype, 8), block, rows.size, rows.dtype).tobytes() == rows.tobytes()
    with pytest.raises(CorruptError):
        decode(NumberDecoder(rows.dtype, 7), block, rows.size, rows.dtype)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=50), st.sampled_from([1e-3, 0.25, 7.0, 1e9]))
def test_steps_keep_the_error(given_: list[float], error: float) -> None:
    """Floats in steps are within the error, and come back from their block bit for bit."""
    values = np.array(given_, np.float32)
    rounded, step = in_steps(values, error)
    assert (np.abs(rounded.astype(np.float64) - values) <= error).all()
    block = NumberEncoder(values.dtype, 3, step=step).encode(rounded)
    assert decode(NumberDecoder(values.dtype), block, len(values), np.float32).tobytes() == rounded.tobytes()


def test_steps_are_small_and_leave_alone_what_has_none() -> None:
    """A declared error saves bytes; infinities and NaN stay what they are."""
    values = np.random.default_rng(0).random(5000).astype(np.float32)
    rounded, step = in_steps(values, 0.01)
    block = NumberEncoder(values.dtype, 12, step=step).encode(rounded)
    assert block.form & 15 == 4
    assert len(block.data) < values.nbytes / 4
    strange = np.array([np.nan, np.inf, -np.inf, 3e38, 0.5], np.float32)
    rounded, step = in_steps(strange, 0.01)
    assert rounded[:4].tobytes() == strange[:4].tobytes()
    block = NumberEncoder(strange.dtype, 3, step=step).encode(rounded)
    assert decode(NumberDecoder(strange.dtype), block, 5, np.float32).tobytes() == rounded.tobytes()


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
