"""The codec of codes: values come back from every form, models find what helps and refuse damage (codecs.md 5.3 to
5.5)."""

from __future__ import annotations

import struct
import sys
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contracts import allocates_at_most, check_codec, check_reader, decode
from tokstore.codecs.code_contexts import LEFT, Contexts, ModelParts
from tokstore.codecs.code_fit import frames_per_lane
from tokstore.codecs.code_model import CodeModel
from tokstore.codecs.codes import CodeDecoder, CodeEncoder
from tokstore.codecs.contract import EncodedBlock
from tokstore.errors import CorruptError
from tokstore.frames import compress

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "spec" / "readers" / "python"))

from tokread import codes as reader
from tokread.failure import ReadError

EXAMPLE_MODEL = """
08 00 02 00 02 00 04 00 03 00 00 00 00 00 02 00 00 00 02 00 00 00 00 00
01 01 05 00 00 00 00 00 00 00 09 06
01 01 00 00 00 00 00 00 00 00 02 00 01
01 01 00 00 00 00 00 00 00 00 02
00 01 01 00 00 00 00 00 00 00 7F 5F 1F 00 FD 00
"""
EXAMPLE_CODES = [3, 3, 3, 3, 3, 5, 3, 3, 5, 0]
EXAMPLE_BLOCKS = {0: "03 03 03 03 03 05 03 03 05 00", 1: "05 00 FF CF FF 0F 00 01 00 00 FF E0", 2: "DB B6 6E 05"}
Codes = NDArray[Any]


def dtype_of(size: int) -> type[np.unsignedinteger[Any]]:
    """Return the dtype of a column of codes."""
    return np.uint8 if size <= 256 else np.uint16


def grids(samples: int, side: int, size: int, seed: int = 0) -> Codes:
    """Make pictures whose neighbours are alike: sums of steps down and to the right, their codes shuffled."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-1, 2, (2, samples, side, side)).cumsum(axis=2)
    smooth = (steps[0] + steps[1].transpose(0, 2, 1) + rng.integers(0, size, (samples, 1, 1))) % size
    shuffled: Codes = rng.permutation(size).astype(dtype_of(size))
    made: Codes = shuffled.take(smooth.reshape(-1))
    return made


def bits_per_code(values: Codes, size: int, width: int, rows: int | None, contexts: bool) -> float:
    """Return what values take in blocks of 65,536, with the model as it is stored."""
    model = CodeModel.fit(values, size, width, rows, contexts)
    blocks = CodeEncoder(model).encode_run([values[i : i + 65_536] for i in range(0, len(values), 65_536)])
    stored = sum(len(block.data) for block in blocks) + len(compress(model.encode(), 19))
    return 8 * stored / len(values)


def drawn_values(data: st.DataObject, size: int, count: int) -> Codes:
    """Draw values: even, skewed, in runs, or in columns."""
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    even: Codes = rng.integers(0, size, count)
    kinds = {
        "even": even,
        "skewed": rng.random(count) ** 6 * size,
        "runs": np.repeat(even, 7)[:count],
        "columns": (np.arange(count) % 8 * 31 + even % 2) % size,
    }
    values: Codes = kinds[data.draw(st.sampled_from(sorted(kinds)))].astype(dtype_of(size))
    return values


@settings(max_examples=30)
@given(st.data())
def test_blocks_come_back(data: st.DataObject) -> None:
    """Any size, width and length: jointly, one by one, with the model as it is read back, and by the readable
    reader."""
    size = data.draw(st.sampled_from([2, 3, 16, 255, 256, 257, 1000, 2049, 4096, 65_535, 65_536]))
    width, rows = data.draw(st.sampled_from([(1, None), (1, 5), (2, None), (8, None), (8, 3), (16, 16), (1500, 1)]))
    unit = width * (rows or 1)
    units = data.draw(st.integers(1, max(6000 // unit, 1)))
    values = drawn_values(data, size, units * unit)
    fitted = CodeModel.fit(values, size, width, rows, data.draw(st.booleans()))
    content = fitted.encode()
    model = CodeModel.decode(content, size, width)
    assert model.encode() == content
    assert model.describe() == fitted.describe()
    edges = sorted({0, len(values)} | {unit * data.draw(st.integers(0, units)) for _ in range(3)})
    blocks = [values[a:b] for a, b in pairwise(edges)]
    encoder, decoder = CodeEncoder(fitted), CodeDecoder(size, width, model)
    coded = encoder.encode_run(blocks)
    assert coded == [encoder.encode(block) for block in blocks]
    lanes = encoder._encode_lanes(blocks)
    assert None not in lanes
    coded += [EncodedBlock(one, 1) for one in lanes if one is not None]
    blocks += blocks
    outs = [np.full(len(block), 99, np.int32) for block in blocks]
    decoder.decode_run([(memoryview(one.data), one.form, out) for one, out in zip(coded, outs, strict=True)])
    assert [out.tolist() for out in outs] == [block.tolist() for block in blocks]
    one, block = min(zip(coded[len(coded) // 2 :], blocks, strict=False), key=lambda pair: len(pair[1]))
    assert decode(decoder, one, len(block), np.int32).tolist() == block.tolist()
    if len(block) <= 600:
        parsed = reader.parse_model(content, size, width)
        assert reader.decode(size, width, one.form, len(block), one.data, parsed) == block.tolist()


@pytest.mark.parametrize("size", [2, 256, 391, 5000])
@pytest.mark.parametrize("count", [1, 600, 20_000])
def test_every_buffer_is_taken(size: int, count: int) -> None:
    """With a model and without, from strided, swapped and frozen arrays into the middle of others."""
    values = (np.random.default_rng(1).random(count) ** 3 * size).astype(dtype_of(size))
    for model in (None, CodeModel.fit(values, size, 1, None)):
        check_codec(CodeEncoder(model, size), CodeDecoder(size, 1, model), values, np.int32)


def test_both_neighbours_are_found() -> None:
    """Pictures take contexts from the left and from above, and a good deal less than without."""
    values = grids(400, 16, 40)
    model = CodeModel.fit(values, 40, 16, 16)
    assert "contexts left×up" in model.describe()
    assert (model.width, model.frames) == (16, 16)
    assert bits_per_code(values, 40, 16, 16, True) < 0.75 * bits_per_code(values, 40, 16, 16, False)


def test_columns_are_found() -> None:
    """Codebooks side by side, each with its own distribution, take the column for context."""
    rng = np.random.default_rng(0)
    values = ((rng.random((8000, 8)) ** 4 * 200 + np.arange(8) * 100) % 1024).astype(np.uint16).reshape(-1)
    assert "contexts column," in CodeModel.fit(values, 1024, 8, None).describe()
    assert bits_per_code(values, 1024, 8, None, True) < bits_per_code(values, 1024, 8, None, False) - 2


def test_sequences_look_back() -> None:
    """Ragged codes of one value per item have the value before as the one above."""
    rng = np.random.default_rng(0)
    values = (np.cumsum(rng.integers(-1, 2, 40_000)) % 50).astype(np.uint8)
    assert CodeModel.fit(values, 50, 1, None).describe().startswith("contexts up,")
    assert bits_per_code(values, 50, 1, None, True) < 1.75


@pytest.mark.parametrize("size", [64, 4096])
def test_noise_gets_no_contexts(size: int) -> None:
    """Where neighbours tell nothing, tables for them are not paid for."""
    values = (np.random.default_rng(2).random(65_536) ** 2 * size).astype(dtype_of(size))
    model = CodeModel.fit(values, size, 16, 16)
    assert model.describe().startswith("order 0")
    shares = np.bincount(values) / len(values)
    entropy = -(shares[shares > 0] * np.log2(shares[shares > 0])).sum()
    bits = bits_per_code(values, size, 16, 16, False)
    assert entropy < bits < entropy + (0.15 if size == 64 else 0.6)


def test_the_smallest_form_wins() -> None:
    """Constant blocks go to zstd, even ones into bits, and an encoder for a shard has a model only where it pays."""
    rng = np.random.default_rng(3)
    even = rng.integers(0, 1000, 65_536).astype(np.uint16)
    skewed = (rng.random(65_536) ** 3 * 1000).astype(np.uint16)
    assert CodeEncoder.for_values(even, 1000, 1, None).encode(even).form == 2
    assert CodeEncoder.for_values(even, 1000, 1, None).model is None
    assert CodeEncoder.for_values(skewed[:100], 1000, 1, None).model is None
    encoder = CodeEncoder.for_values(skewed, 1000, 1, None)
    assert encoder.encode(skewed).form == 1
    assert encoder.encode(np.full(65_536, skewed[0])).form == 0x10
    with pytest.raises(ValueError, match="size"):
        CodeEncoder(None)


def test_what_was_not_fitted_is_stored_plainly() -> None:
    """Codes and neighbours that the fitted values do not have, and half frames, take another form and come back."""
    fitted = np.tile(np.array([1, 2, 3, 4], np.uint16), 3000)
    model = CodeModel.fit(fitted, 300, 4, None)
    encoder, decoder = CodeEncoder(model), CodeDecoder(300, 1, CodeModel.decode(model.encode(), 300, 4))
    for values in ([7] * 8, [4, 1, 2, 2] * 2, [1, 2, 3]):
        block = encoder.encode(np.array(values, np.uint16))
        assert block.form != 1
        assert decode(decoder, block, len(values), np.int32).tolist() == values


@pytest.mark.parametrize("size", [3, 391, 5000])
def test_fitting_is_deterministic(size: int) -> None:
    """The same values give the same model, whatever array they are in; tables sum to 2^log."""
    values = grids(60, 8, size)
    content = CodeModel.fit(values, size, 8, 8).encode()
    assert CodeModel.fit(np.repeat(values, 2)[::2], size, 8, 8).encode() == content
    assert CodeModel.fit(values.astype(values.dtype.newbyteorder(">")), size, 8, 8).encode() == content
    tables = CodeModel.decode(content, size, 8).tables
    assert tables.frequencies.sum(axis=1).tolist() == [1 << tables.log] * tables.count


@given(st.integers(2, 65_536), st.integers(1, 5000), st.one_of(st.none(), st.integers(1, 300)))
def test_lanes_are_of_a_good_length(size: int, width: int, rows: int | None) -> None:
    """Lanes have 128 to 1,024 values, or one frame; lanes of a fixed grid end where its samples do, where they can."""
    frame, frames = frames_per_lane(size, width, rows)
    assert frame in (1, width)
    assert 128 <= frame * frames <= 1024
    if rows is not None and frame == width and 256 <= width * rows <= 512:
        assert frames == rows


def example_model() -> CodeModel:
    """Return the model of the worked example."""
    contexts = Contexts({LEFT: np.array([0, 1, 1, 0])}, {LEFT: 2}, np.array([0, 1]))
    frequencies = np.array([[128, 96, 32], [1, 254, 1]])
    return CodeModel(6, 2, 4, ModelParts(np.array([5, 0, 3]), 0, contexts, None, 8, frequencies, None))


def test_worked_example() -> None:
    """The bytes of the example of codecs.md 5.5 are what is written, and what both readers read."""
    model, content = example_model(), bytes.fromhex(EXAMPLE_MODEL)
    assert model.encode() == content
    values = np.array(EXAMPLE_CODES, np.uint8)
    encoder = CodeEncoder(model)
    assert encoder._encode_lanes([values]) == [bytes.fromhex(EXAMPLE_BLOCKS[1])]
    assert encoder.encode(values) == EncodedBlock(bytes.fromhex(EXAMPLE_BLOCKS[2]), 2)
    decoder, parsed = CodeDecoder(6, 2, CodeModel.decode(content, 6, 2)), reader.parse_model(content, 6, 2)
    for form, block in EXAMPLE_BLOCKS.items():
        data = bytes.fromhex(block)
        assert decode(decoder, EncodedBlock(data, form), 10, np.int32).tolist() == EXAMPLE_CODES
        assert reader.decode(6, 2, form, 10, data, parsed) == EXAMPLE_CODES


HEADER_FIELDS = {
    "log": (0, "<B"),
    "low_bits": (1, "<B"),
    "features": (2, "<B"),
    "reserved": (3, "<B"),
    "width": (4, "<H"),
    "frames": (6, "<H"),
    "codes": (8, "<I"),
    "column": (12, "<H"),
    "left": (14, "<H"),
    "up": (16, "<H"),
    "tables": (18, "<H"),
    "low_tables": (20, "<H"),
    "spare": (22, "<H"),
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("log", 7), ("log", 16), ("log", 255), ("low_bits", 12), ("low_bits", 1), ("low_bits", 255)),
        *(("features", 8), ("features", 0), ("features", 3), ("reserved", 1), ("spare", 1), ("width", 3), ("width", 0)),
        *(("frames", 0), ("frames", 2049), ("codes", 0), ("codes", 7), ("codes", 2**32 - 1), ("column", 1)),
        *(("left", 0), ("left", 1), ("left", 65_535), ("up", 1), ("tables", 0), ("tables", 1), ("tables", 3)),
        *(("tables", 65_535), ("low_tables", 1)),
    ],
)
def test_headers_of_models(field: str, value: int) -> None:
    """A header one past each limit is refused by both readers, before anything large is made."""
    content = bytearray.fromhex(EXAMPLE_MODEL)
    at, kind = HEADER_FIELDS[field]
    struct.pack_into(kind, content, at, value)
    with allocates_at_most(1 << 20), pytest.raises(CorruptError, match=r"codecs\.md 5\.|format\.md 2\.3"):
        CodeModel.decode(bytes(content), 6, 2)
    with pytest.raises(ReadError):
        reader.parse_model(bytes(content), 6, 2)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("01 01 05 00 00 00 00 00 00 00 09 06", "01 01 05 00 00 00 00 00 00 00 09 09"),  # a code twice: 5, 0, 5 … -5
        ("01 01 05 00 00 00 00 00 00 00 09 06", "01 01 06 00 00 00 00 00 00 00 0B 06"),  # 6 is no code
        ("00 02 00 01\n", "00 02 00 03\n"),  # a class of -1
        ("7F 5F 1F 00 FD 00", "7F 5F 1E 00 FD 00"),  # 255 of 256
        ("7F 5F 1F 00 FD 00", "7F 5F 1F 00 FE 00"),  # 257 of 256, in the second table
        ("7F 5F 1F 00 FD 00", "7F 5F 1F 00 FD 00 00"),  # a byte too many
    ],
)
def test_contents_of_models(old: str, new: str) -> None:
    """Items one past each limit are refused by both readers."""
    assert old in EXAMPLE_MODEL
    content = bytes.fromhex(EXAMPLE_MODEL.replace(old, new))
    with pytest.raises(CorruptError, match=r"codecs\.md 5\.|format\.md 2\.3"):
        CodeModel.decode(content, 6, 2)
    with pytest.raises(ReadError):
        reader.parse_model(content, 6, 2)


def test_hostile_models_stay_small() -> None:
    """Constant arrays of a model take ten bytes whatever their length: what they become is bounded."""

    def constant(value: int) -> bytes:
        return struct.pack("<BBq", 0, 0, value)

    def model(log: int, features: int, classes: int, tables: int) -> bytes:
        header = struct.pack("<BBBBHHIHHHHHH", log, 0, features, 0, 1, 4096, 1, 0, 0, classes, tables, 0, 0)
        return header + constant(0) * (3 if features else 1) + constant(1 << log)

    with allocates_at_most(1 << 20), pytest.raises(CorruptError, match=r"codecs\.md 5\.3"):
        CodeModel.decode(model(15, 4, 65_535, 129), 2, 1)
    with allocates_at_most(1 << 20):
        found = CodeModel.decode(model(8, 0, 0, 1), 2, 1)
    with allocates_at_most(40 << 20):
        many = CodeModel.decode(model(15, 4, 65_535, 128), 2, 1)
        CodeDecoder(2, 1, many).decode(memoryview(struct.pack("<HI", 1, 0)), 1, np.zeros(1, np.int32))
    assert found.nbytes < many.nbytes < 16 << 20


@pytest.mark.hostile
def test_damaged_models() -> None:
    """Any damage of a model gives a `CorruptError`, or other values, with contexts and with two symbols per code."""
    values = grids(20, 4, 12)
    split = np.arange(2200, dtype=np.uint16)
    for given_, size, width, flips in ((values, 12, 4, 600), (split, 3000, 1, 150)):
        fitted = CodeModel.fit(given_, size, width, None)
        block = CodeEncoder(fitted)._encode_lanes([given_])[0]
        assert block is not None

        encoded, count = EncodedBlock(block, 1), len(given_)

        def read(
            content: bytes, size: int = size, width: int = width, encoded: EncodedBlock = encoded, count: int = count
        ) -> list[int]:
            decoder = CodeDecoder(size, width, CodeModel.decode(content, size, width))
            found: list[int] = decode(decoder, encoded, count, np.int32).tolist()
            return found

        content = fitted.encode()
        if len(content) < 3000:
            check_reader(read, content, is_checked=False, flips=flips, allowed=64 << 20)
        for bit in np.random.default_rng(0).integers(0, 8 * len(content), 100):
            damaged = bytearray(content)
            damaged[bit >> 3] ^= 1 << (bit & 7)
            with suppress(CorruptError):
                assert max(read(bytes(damaged))) < size


@pytest.mark.hostile
@pytest.mark.parametrize("form", [0, 0x10, 1, 2])
def test_damaged_blocks(form: int) -> None:
    """Any damage of a block gives codes below the size, or a `CorruptError`; without zstd both readers agree."""
    model = example_model()
    data = bytes.fromhex(EXAMPLE_BLOCKS[form & 15])
    data = compress(data) if form >> 4 else data
    decoder, parsed = CodeDecoder(6, 2, model), reader.parse_model(bytes.fromhex(EXAMPLE_MODEL), 6, 2)

    def read(damaged: bytes) -> list[int]:
        try:
            expected = reader.decode(6, 2, form, 10, damaged, parsed)
        except ReadError:
            expected = []
        try:
            found: list[int] = decode(decoder, EncodedBlock(damaged, form), 10, np.int32).tolist()
        except CorruptError:
            assert expected == []
            raise
        assert found == expected or form == 0x10
        assert max(found) < 6
        return found

    check_reader(read, data, is_checked=False, allowed=1 << 20)


@pytest.mark.parametrize(
    ("form", "data", "count"),
    [
        (3, bytes(10), 10),
        (0x11, compress(bytes.fromhex(EXAMPLE_BLOCKS[1])), 10),
        (0x12, compress(bytes.fromhex(EXAMPLE_BLOCKS[2])), 10),
        (0x20, compress(bytes(10)), 10),
        (0x40, bytes(10), 10),
        (0x10, compress(bytes(1 << 24)), 10),
        (0, bytes([6] * 10), 10),
        (0, bytes(9), 10),
        (0, bytes(9), 9),
        (2, bytes(3), 10),
        (2, bytes.fromhex("DB B6 6E 45"), 10),
        (2, bytes.fromhex("FF B6 6E 05"), 10),
        (1, bytes.fromhex(EXAMPLE_BLOCKS[1]), 8),
    ],
)
def test_hostile_blocks_are_refused(form: int, data: bytes, count: int) -> None:
    """Forms and packings that are not there, wrong lengths, codes that are none, bits past the end, half frames."""
    parsed = reader.parse_model(bytes.fromhex(EXAMPLE_MODEL), 6, 2)
    with allocates_at_most(1 << 20), pytest.raises(CorruptError):
        decode(CodeDecoder(6, 2, example_model()), EncodedBlock(data, form), count, np.int32)
    with pytest.raises(ReadError):
        reader.decode(6, 2, form, count, data, parsed)
