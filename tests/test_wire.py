"""Checksums, seeds, JSON checksums and the narrow msgpack (format.md 2.2, 2.4, 2.6)."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import check_reader
from tokstore.errors import CorruptError
from tokstore.wire import checksum, decode_metadata, digest, encode_metadata, json_checksum, place_seed

SCALARS = st.one_of(
    st.integers(-(2**63), 2**64 - 1),
    st.booleans(),
    st.floats(allow_nan=False),
    st.text(max_size=40),
    st.binary(max_size=300),
)


def nested(depth: int) -> st.SearchStrategy[Any]:
    """Values with containers down to a depth."""
    if depth == 0:
        return SCALARS
    inner = nested(depth - 1)
    keys = st.one_of(st.integers(0, 200), st.integers(0, 2**64 - 1))
    return st.one_of(SCALARS, st.lists(inner, max_size=20), st.dictionaries(keys, inner, max_size=20))


def test_checksum_and_digest_are_the_named_functions() -> None:
    """XXH64 and BLAKE2b-256 of known inputs, the seed taken modulo nothing."""
    assert checksum(b"") == 0xEF46DB3751D8E999
    assert checksum(b"abc") == 0x44BC2CF5AD770999
    assert checksum(memoryview(b"abc"), 2**64 - 1) != checksum(b"abc")
    assert digest(b"abc") == hashlib.blake2b(b"abc", digest_size=32).digest()


def test_place_seed_wraps() -> None:
    """The seed is the sum of nonce, column and block modulo 2**64."""
    assert place_seed(b"\xff" * 8 + bytes(8), 0, 1) == 0
    assert place_seed(b"\1" + bytes(15), 2**32 - 1, 2**32 - 1) == 0
    assert place_seed(b"\1" + bytes(15), 3, 5) == 1 + 3 * 2**32 + 5


def test_json_checksum_ignores_itself_and_order() -> None:
    """Members are taken by key order, `checksum` left out, as decimal numbers and plain strings."""
    text = b"a=1\nb=x\n"
    assert json_checksum({"b": "x", "checksum": "?", "a": 1}) == f"{checksum(text):016x}"


@given(nested(5))
def test_metadata_round_trips(value: Any) -> None:
    """Whatever the narrow form can hold comes back, and encodes to the same bytes again."""
    data = encode_metadata(value)
    assert decode_metadata(data) == value
    assert encode_metadata(decode_metadata(data)) == data


@given(st.dictionaries(st.integers(0, 300), st.integers(0, 2**64 - 1), min_size=2))
def test_metadata_sorts_keys(value: dict[int, int]) -> None:
    """The order in which a dict was filled leaves no trace."""
    turned = dict(reversed(list(value.items())))
    assert encode_metadata(value) == encode_metadata(turned)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x01\x02",
        b"\xd0\x01",
        b"\xcc\x01",
        b"\xcd\x00\x01",
        b"\xd3" + bytes(7) + b"\1",
        b"\xca\x3f\x80\x00\x00",
        b"\xd9\x01a",
        b"\xdc\x00\x01\x01",
        b"\xde\x00\x01\x01\x01",
        b"\x82\x02\x01\x01\x01",
        b"\x82\x01\x01\x01\x02",
        b"\x81\xa1a\x01",
        b"\x81\xc3\x01",
        b"\x81\xff\x01",
        b"\x81\x90\x01",
        b"\xa1\xff",
        b"\x91" * 6 + b"\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\xd4\x05\x00",
        b"\xc7\x00\x05",
        b"\xc0",
        b"\xd6\xff\x00\x00\x00\x01",
        b"\x91\xc0",
    ],
    ids=lambda data: data[:8].hex() or "empty",
)
def test_metadata_refuses_other_forms(data: bytes) -> None:
    """Long forms, float32, nil, extension types, string keys, wrong order, doubles, depth, trailing bytes, lies."""
    with pytest.raises(CorruptError, match=r"\(format\.md 2\.4\)"):
        decode_metadata(data)


def test_metadata_keys_known_and_not() -> None:
    """An unknown key below 128 is refused, one above is dropped, and a map is insisted on."""
    data = encode_metadata({1: 2, 128: 3, 2**64 - 1: 4})
    assert decode_metadata(data, frozenset({1})) == {1: 2}
    with pytest.raises(CorruptError, match="unknown key 1 "):
        decode_metadata(data, frozenset({2}))
    with pytest.raises(CorruptError, match="not a map"):
        decode_metadata(encode_metadata([1]), frozenset({1}))


@pytest.mark.parametrize(
    "value", [{"a": 1}, {-1: 1}, {True: 1}, None, [None], [[[[[[1]]]]]], {1: {1: {1: {1: {1: {}}}}}}]
)
def test_metadata_is_not_written_in_other_forms(value: Any) -> None:
    """A writer cannot make what a reader has to refuse."""
    with pytest.raises((TypeError, ValueError)):
        encode_metadata(value)


@pytest.mark.hostile
@given(st.binary(max_size=60))
def test_metadata_of_any_bytes(data: bytes) -> None:
    """Any bytes are a value whose encoding they are, or a `CorruptError`."""
    try:
        value = decode_metadata(data)
    except CorruptError:
        return
    assert encode_metadata(value) == data


@pytest.mark.hostile
@given(nested(2), st.integers(0, 1000))
def test_metadata_damaged(value: Any, seed: int) -> None:
    """Damage gives another value or a `CorruptError`, and no memory for lengths that lie."""
    check_reader(decode_metadata, encode_metadata(value), is_checked=False, seed=seed, flips=40, allowed=1 << 20)


def test_metadata_floats_keep_their_bits() -> None:
    """Zeros keep their sign, and infinities are floats like others."""
    found = decode_metadata(encode_metadata([-0.0, math.inf, -math.inf]))
    assert math.copysign(1, found[0]) == -1
    assert found[1:] == [math.inf, -math.inf]


def test_msgpack_would_take_what_is_refused() -> None:
    """The library alone accepts long forms, so that the strictness is ours and stays tested."""
    assert msgpack.unpackb(b"\xcc\x01") == 1
    assert msgpack.packb(msgpack.unpackb(b"\xc0")) == b"\xc0"
