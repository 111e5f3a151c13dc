"""Packed arrays of integers against a slow, obvious reading of format.md 2.3."""

from __future__ import annotations

import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import allocates_at_most, check_reader
from tokstore.errors import CorruptError
from tokstore.packed import PackedReader, decode_packed, encode_packed

I64 = st.integers(-(2**63), 2**63 - 1)
ARRAYS = st.one_of(
    st.lists(I64, max_size=40),
    st.lists(st.integers(0, 300), max_size=40),
    st.builds(
        lambda a, d, n: [a + d * i for i in range(n)], st.integers(-100, 2**40), st.integers(-9, 9), st.integers(0, 40)
    ),
    st.lists(st.sampled_from([-(2**63), 2**63 - 1, 0, -1, 1]), max_size=10),
)


def slow_decode(data: bytes, count: int) -> list[int]:
    """Decode as the page says, byte by byte."""
    form, width, base = struct.unpack_from("<BBq", data)
    n = count - form
    items = [sum(data[10 + plane * n + i] << (8 * plane) for plane in range(width)) for i in range(n)]
    if form == 0:
        found = [base + item for item in items]
    else:
        found = [base]
        for item in items:
            found.append(found[-1] + ((item >> 1) ^ -(item & 1)))
    return [(one + 2**63) % 2**64 - 2**63 for one in found]


def slow_size(values: list[int]) -> int:
    """Return the size of the smallest packed array of some values."""
    steps = [(b - a + 2**63) % 2**64 - 2**63 for a, b in pairwise(values)]
    deltas = [2 * d if d >= 0 else -2 * d - 1 for d in steps]

    def width(items: list[int]) -> int:
        return (max(items, default=0).bit_length() + 7) // 8

    offsets = [value - min(values) for value in values]
    return 10 + min(width(offsets) * len(offsets), width(deltas) * len(deltas))


@given(ARRAYS)
def test_packed_arrays_round_trip(values: list[int]) -> None:
    """Any i64 comes back, the slow reader agrees, and no other form would be smaller."""
    data = encode_packed(values)
    found, used = decode_packed(data + b"rest", len(values))
    assert found.tolist() == values
    assert used == len(data)
    if values:
        assert slow_decode(data, len(values)) == values
        assert len(data) == slow_size(values)
    else:
        assert data == b""


def test_example_of_the_page() -> None:
    """The two examples in format.md 2.3 are read as it says there, and the shorter one is written."""
    examples = ("00 01 04 00 00 00 00 00 00 00 01 01 03 00", "01 01 05 00 00 00 00 00 00 00 00 04 05")
    for data in map(bytes.fromhex, examples):
        assert decode_packed(data, 4)[0].tolist() == slow_decode(data, 4) == [5, 5, 7, 4]
    assert encode_packed([5, 5, 7, 4]).hex(" ") == examples[1]


@given(st.integers(0, 1), st.integers(0, 8), I64, st.integers(1, 9), st.randoms(use_true_random=False))
def test_any_form_and_width_is_read(form: int, width: int, base: int, count: int, random: object) -> None:
    """A reader takes every form and width, also wasteful ones, modulo 2**64."""
    body = bytes(random.getrandbits(8) for _ in range((count - form) * width))  # type: ignore[attr-defined]
    data = struct.pack("<BBq", form, width, base) + body
    assert decode_packed(data, count)[0].tolist() == slow_decode(data, count)


@pytest.mark.parametrize(("form", "width"), [(2, 0), (255, 1), (0, 9), (1, 255)])
def test_other_forms_are_refused(form: int, width: int) -> None:
    """Another form, or a width above 8."""
    with pytest.raises(CorruptError, match=f"form {form} and width {width} "):
        decode_packed(struct.pack("<BBq", form, width, 0) + bytes(5000), 4)


def test_count_that_lies_is_not_allocated() -> None:
    """A billion values in 12 bytes are refused before memory is taken."""
    with allocates_at_most(1 << 16), pytest.raises(CorruptError, match="1000000010 bytes, 12 are there"):
        decode_packed(struct.pack("<BBqH", 0, 1, 0, 0), 10**9)


@pytest.mark.hostile
@given(ARRAYS.filter(len))
def test_damaged_arrays(values: list[int]) -> None:
    """Damage gives other numbers or a `CorruptError`."""

    def read(data: bytes) -> list[int]:
        reader = PackedReader(data, "section", "format.md 4.4")
        found = reader.packed(len(values), "lengths", -(2**63)).tolist()
        reader.end()
        return list(found)

    check_reader(read, encode_packed(values), is_checked=False, flips=60, allowed=1 << 20)


def test_reader_names_section_field_and_range() -> None:
    """Messages say where and which rule; every byte has to be used."""
    data = encode_packed([3, -1]) + b"xy"
    reader = PackedReader(data, "table", "format.md 4.5")
    with pytest.raises(CorruptError, match=r"^table: values is outside 0 to 9 \(format\.md 4\.5\)$"):
        reader.packed(2, "values", 0, 9)
    reader = PackedReader(data, "table", "format.md 4.5")
    assert reader.packed(2, "values", -1, 9).tolist() == [3, -1]
    with pytest.raises(CorruptError, match=r"^table: 2 bytes too many"):
        reader.end()
    assert bytes(reader.raw(2, "rest")) == b"xy"
    reader.end()
    with pytest.raises(CorruptError, match=r"^table: rest needs 1 bytes"):
        reader.raw(1, "rest")


def test_arrays_of_other_dtypes_are_taken() -> None:
    """Unsigned, narrow and strided arrays give the same bytes as a list."""
    values = np.array([9, 200, 3], np.uint8)
    assert encode_packed(values) == encode_packed([9, 200, 3])
    assert encode_packed(np.array([9, 0, 200, 0, 3], np.int32)[::2]) == encode_packed([9, 200, 3])
