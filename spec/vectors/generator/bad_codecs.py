"""Bad files: rules of codecs and column types that no other module breaks (codecs.md, registry.md 1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .arrays import APART, array, category, category_list, model, plane_bytes, turned_vectors
from .bad_contents import with_block
from .bad_parts import ranked
from .code_vectors import CODE_MODEL, CODES, LANES, MODEL
from .columns import DICTIONARY, LEB128, RANKS, THREE, Block, Column, Table, text
from .datafile_writer import Stored, write_file
from .good_types import EXAMPLE_LANES, EXAMPLE_MODEL, EXAMPLE_ROWS, PCA
from .primitives import packed, put, u16, u32
from .vector import Vector, bad
from .zframe import frame, from_dictionary, raw
from .zframe import header as frame_header

REGISTRY = "registry.md 1"
CODED = b"".join(map(u16, [1, 2, 3, 4, 5]))


def vectors() -> Iterator[Vector]:
    """Make the vectors of this module."""
    yield from _tokens()
    yield from _numbers()
    yield from _texts()
    yield from _code_models()
    yield from _codes()
    yield from _vector_models()
    yield from _vectors()
    yield from _parameters()


def _tokens() -> Iterator[Vector]:
    def table(name: str, rule: str, comment: str, content: bytes) -> Vector:
        return bad(f"rank_table_{name}", "corrupt", rule, comment, write_file([ranked()], [Stored(2, content)]))

    ids = packed([7, 1, 4])
    yield table("header", "codecs.md 2.1", "a rank table of seven bytes", (u32(3) + u32(0))[:7])
    yield table("negative", "codecs.md 2.1", "an id of -1", u32(3) + u32(0) + packed([7, 1, -1]))
    yield table("ids", "codecs.md 2.1", "two of three ids", u32(3) + u32(0) + ids[:-1])
    yield bad(
        "three_bytes_short",
        "corrupt",
        "codecs.md 1",
        "14 coded bytes for five codes of three",
        with_block(bytes(14), THREE, Table([7, 1, 4])),
    )
    yield bad(
        "ranks_odd",
        "corrupt",
        "codecs.md 2.2",
        "three bytes of an escape",
        with_block(b"".join(map(u16, [0, 1, 2, 0, 65535])) + u32(9)[:3], RANKS, Table([7, 1, 4])),
    )
    yield bad(
        "leb128_large",
        "corrupt",
        "codecs.md 2",
        "a code of 2^35 - 1",
        with_block(bytes([0, 1, 2, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F]), LEB128, Table([7, 1, 4])),
    )
    stored = from_dictionary(CODED, CODED)
    yield bad(
        "dictionary_other",
        "corrupt",
        "2.5",
        "a match that begins before the dictionary",
        with_block(stored, DICTIONARY, Table([7, 1, 4], CODED[4:])),
    )
    yield bad(
        "dictionary_size",
        "corrupt",
        "codecs.md 1",
        "a frame with a dictionary that holds one byte too many",
        with_block(frame_header(11) + raw(CODED + b"\0"), DICTIONARY, Table([7, 1, 4], CODED)),
    )


def _numbers() -> Iterator[Vector]:
    def of(name: str, rule: str, comment: str, n: int, stored: bytes, form: int = APART) -> Vector:
        column = array(0, "column", [[0]] * n, [], 2)
        column.blocks = [Block(n, form, stored, 0)]
        return bad(f"number_{name}", "corrupt", rule, comment, write_file([column]))

    long = frame(bytes(41))
    yield of(
        "apart_frame",
        "codecs.md 3.1",
        "a plane of 41 bytes for 40 values",
        40,
        u32(len(long)) + u32(40) + long + bytes(40),
    )
    yield of("apart_header", "codecs.md 1", "seven bytes of lengths", 4, bytes(7))
    good = frame(bytes(40))
    yield of(
        "apart_trailing",
        "2.5",
        "a byte after the frame of a plane",
        40,
        u32(len(good) + 1) + u32(40) + good + bytes(41),
    )
    yield of("packed_long", "codecs.md 1", "a packed array of more bytes than any of two items", 2, bytes(27), 3)
    yield bad(
        "category_missing",
        "corrupt",
        "codecs.md 3.3",
        "a missing row and no category that its zero stands for",
        write_file([category(0, "source", [None], [], optional=True)], [category_list([])]),
    )
    yield bad(
        "category_negative",
        "corrupt",
        "codecs.md 3.3",
        "a category of -1 bytes",
        write_file([category(0, "source", [0], ["a"])], [Stored(6, u32(2) + packed([2, -1]) + b"a")]),
    )
    long_list = b"x" * (2**24 - 14 + 1)
    limit = Stored(6, u32(1) + packed([len(long_list)]) + long_list)
    yield bad(
        "category_limit",
        "corrupt",
        "codecs.md 3.3",
        "a list of 2^24 + 1 bytes",
        write_file([category(0, "source", [0], ["x"])], [limit]),
        b"x",
    )


def _texts() -> Iterator[Vector]:
    column = text(0, "body", ["abcdef"], DICTIONARY, b"abcxyz")
    yield bad(
        "text_object_kind",
        "corrupt",
        "codecs.md 4",
        "a rank table for a text",
        write_file([column], [Stored(2, Table([1], b"abcxyz").content())]),
    )
    trained = bytes.fromhex("37a430ec") + b"abc"
    yield bad(
        "text_trained",
        "corrupt",
        "2.5",
        "a dictionary of text that begins like a trained one",
        _trained(trained),
    )
    none = text(0, "body", ["abc"])
    none.blocks = [Block(3, DICTIONARY, frame(b"abc"))]
    yield bad(
        "text_no_dictionary", "corrupt", "codecs.md 1", "packing 2 of a text without an object", write_file([none])
    )
    bytes_of = array(0, "raw", [[1, 2, 3]], [0], 1, 10, {})
    bytes_of.blocks = [Block(3, 1, b"\1\2\3")]
    yield bad("bytes_form", "corrupt", "codecs.md 1", "value form 1 of Bytes", write_file([bytes_of]))
    bytes_of = array(0, "raw", [[1, 2, 3]], [0], 1, 10, {})
    bytes_of.blocks = [Block(3, 0, b"\1\2\3\4")]
    yield bad("bytes_long", "corrupt", "codecs.md 1", "four coded bytes for three values", write_file([bytes_of]))


def _trained(dictionary: bytes) -> bytes:
    column = text(0, "body", ["abc"])
    column.blocks = [Block(3, DICTIONARY, frame_header(3) + raw(b"abc"))]
    column.object = 0
    return write_file([column], [Stored(3, dictionary)]).data


def _codes_file(model_: bytes, stored: bytes = LANES, form: int = 1) -> bytes:
    options: dict[str, Any] = {"optional": False, "object": 0, "shape": [0, 2]}
    samples: list[list[int] | None] = [CODES[:4], [], CODES[4:]]
    blocks = [Block(len(CODES), form, stored)]
    column = Column(0, "codes", 2, {1: 6, 2: [0, 2]}, 4, 1, True, samples=samples, blocks=blocks, **options)
    return write_file([column], [Stored(CODE_MODEL, model_)]).data


def code_model(
    ids: list[int],
    frequencies: list[list[int]],
    low: list[list[int]] | None = None,
    low_bits: int = 0,
    log: int = 8,
    size: tuple[int, int] = (1, 4),
    features: int = 0,
    classes: tuple[int, int, int] = (0, 0, 0),
    maps: bytes = b"",
    low_table: list[int] | None = None,
) -> bytes:
    """Give the content of a code model (codecs.md 5.3); `maps` are the packed arrays from `column` to `table`."""
    head = bytes([log, low_bits, features, 0]) + u16(size[0]) + u16(size[1]) + u32(len(ids))
    head += b"".join(map(u16, classes)) + u16(len(frequencies)) + u16(len(low or [])) + u16(0)
    tables = packed([f for table in frequencies for f in table])
    lows = packed(low_table or [0] * len(frequencies[0])) if low_bits else b""
    return head + packed(ids) + maps + lows + tables + (packed([f for table in low for f in table]) if low else b"")


def _code_models() -> Iterator[Vector]:
    def of(name: str, comment: str, content: bytes) -> Vector:
        return bad(f"codes_model_{name}", "corrupt", "codecs.md 5.3", comment, _codes_file(content))

    def at(name: str, comment: str, offset: int, new: bytes) -> Vector:
        return of(name, comment, put(MODEL, offset, new))

    yield at("log_large", "tables of log 16", 0, b"\x10")
    yield at("low_bits", "12 low bits", 1, b"\x0c")
    yield at("reserved", "a reserved byte is set", 3, b"\1")
    yield at("reserved_end", "a reserved byte behind the tables is set", 23, b"\1")
    yield at("width", "frames of three values in a column of width 2", 4, u16(3))
    yield at("width_zero", "frames of no value", 4, u16(0))
    yield at("frames_zero", "lanes of no frames", 6, u16(0))
    yield at("frames", "lanes of 4,098 values", 6, u16(2_049))
    yield at("codes_zero", "no codes", 8, u32(0))
    yield at("codes_many", "seven codes of size 6", 8, u32(7))
    yield at("classes", "classes of a feature that is not there", 12, u16(1))
    yield at("classes_none", "a feature without classes", 14, u16(0))
    yield at("tables_zero", "no tables", 18, u16(0))
    yield at("tables_many", "three tables of two contexts", 18, u16(3))
    yield at("low_tables", "a low table without low bits", 20, u16(1))
    yield of("header", "a model of 23 bytes", MODEL[:23])
    plain = [[128, 96, 32]]
    yield of("ids_twice", "a code stands twice", code_model([5, 0, 5], plain))
    yield of("ids_past", "a code of 6 of 6", code_model([5, 0, 6], plain))
    two = [[128, 96, 32], [1, 254, 1]]
    left = (0, 2, 0)
    good = packed([0, 1])
    yield of(
        "left_past",
        "class 2 of two on the left",
        code_model([5, 0, 3], two, features=2, classes=left, maps=packed([0, 1, 2, 0]) + good),
    )
    yield of(
        "table_past",
        "table 2 of two",
        code_model([5, 0, 3], two, features=2, classes=left, maps=packed([0, 1, 1, 0]) + packed([0, 2])),
    )
    yield of(
        "column_past",
        "class 1 of one by column",
        code_model([5, 0, 3], plain, features=1, classes=(1, 0, 0), maps=packed([1]) + packed([0])),
    )
    yield of(
        "up_past",
        "class 1 of one above",
        code_model([5, 0, 3], plain, features=4, classes=(0, 0, 1), maps=packed([0, 0, 1, 0]) + packed([0])),
    )
    low = [[128, 128]]
    yield of(
        "low_table_past",
        "low table 1 of one",
        code_model([5, 0, 3], [[128, 128]], low, 1, low_table=[0, 1]),
    )
    yield of("low_none", "low bits without a low table", code_model([5, 0, 3], [[128, 128]], None, 1))
    yield of(
        "low_many",
        "three low tables for two high symbols",
        code_model([5, 0, 3], [[128, 128]], low * 3, 1),
    )
    yield of("frequency_large", "a frequency of 257 in tables of log 8", code_model([5, 0, 3], [[257, 0, -1]]))
    wide = put(put(MODEL, 12, u16(512) + u16(512)), 2, b"\3")
    yield of("contexts", "2^18 contexts", wide)
    yield bad(
        "codes_model_low_sum",
        "corrupt",
        "codecs.md 5.1",
        "low frequencies that sum to 255",
        _codes_file(code_model([5, 0, 3], [[128, 128]], [[128, 127]], 1)),
    )
    yield bad(
        "codes_model_high",
        "corrupt",
        "codecs.md 5.3",
        "2,049 high symbols",
        _wide_codes(code_model(list(range(2_049)), [[256] + [0] * 2_048])),
    )
    slots = code_model(
        list(range(65)), [[32_768] + [0] * 64] * 129, log=15, features=1, classes=(129, 0, 0), size=(1, 4)
    )
    yield bad(
        "codes_model_slots",
        "corrupt",
        "codecs.md 5.3",
        "129 tables of 2^15 slots",
        _wide_codes(_with_maps(slots, 65, packed([0]) + packed([0] * 129))),
    )


def _with_maps(content: bytes, codes: int, maps: bytes) -> bytes:
    at = 24 + len(packed(list(range(codes))))
    return content[:at] + maps + content[at:]


def _wide_codes(model_: bytes) -> bytes:
    options: dict[str, Any] = {"optional": False, "object": 0, "shape": []}
    blocks = [Block(1, 1, bytes(6))]
    column = Column(0, "codes", 2, {1: 4_096, 2: []}, 4, 2, False, samples=[[0]], blocks=blocks, **options)
    return write_file([column], [Stored(CODE_MODEL, model_)]).data


def _bare(symbols: list[tuple[int, int]], log: int = 8) -> bytes:
    """Encode a lane whose symbols all lie in its tail: pairs of start and frequency (codecs.md 5.2)."""
    x = 0
    for start, frequency in reversed(symbols):
        x = (x // frequency << log) + start + x % frequency
    return u16(len(symbols)) + u32(x)


def _codes() -> Iterator[Vector]:
    def of(name: str, rule: str, comment: str, stored: bytes, form: int = 1) -> Vector:
        return bad(f"codes_{name}", "corrupt", f"codecs.md {rule}", comment, _codes_file(MODEL, stored, form))

    yield of("lanes_cut", "5.2", "one of two states", LANES[:6])
    yield of("lanes_odd", "5.2", "half a word", LANES + b"\0")
    yield of("lanes_long", "5.2", "more words than symbols", LANES + bytes(22))
    yield of("values_short", "1", "nine bytes for ten codes", bytes(CODES[:9]), 0)
    yield of("bits_short", "1", "three bytes for ten codes of three bits", bytes(3), 2)
    yield of("bits_packed", "1", "bits with packing 1", bytes(4), 0x12)
    halves = code_model([5, 0, 3], [[128, 128]], [[128, 128]], 1)
    options: dict[str, Any] = {"optional": False, "object": 0, "shape": []}
    blocks = [Block(1, 1, _bare([(128, 128), (128, 128)]))]
    column = Column(0, "codes", 2, {1: 6, 2: []}, 4, 1, False, samples=[[0]], blocks=blocks, **options)
    yield bad(
        "codes_rank",
        "corrupt",
        "codecs.md 5.4",
        "rank 3 of three codes",
        write_file([column], [Stored(CODE_MODEL, halves)]),
    )
    listed = Column(0, "codes", 2, {1: 6, 2: []}, 4, 1, False, samples=[[0]], blocks=[Block(1, 0, b"\0")], **options)
    yield bad(
        "codes_kind",
        "corrupt",
        "codecs.md 5.3",
        "a list of categories for a model",
        write_file([listed], [category_list(["a"])]),
    )


def _vector_models() -> Iterator[Vector]:
    rule = "codecs.md 6.2"
    column = turned_vectors(0, "vector", [[0] * 129], [129], PCA)
    classes = 129
    tables = bytes([15, 0]) + u16(classes) + packed(list(range(1, classes + 1)))
    tables += packed([0] * classes) + packed([0] * classes) + packed([1] * classes) + packed([2**15] * classes)
    content = model(2, 129, 0.5)[:-4] + tables
    yield bad("tables_slots", "corrupt", rule, "129 classes of 2^15 slots", write_file([column], [Stored(4, content)]))
    wide = turned_vectors(0, "vector", [[0] * 8_193], [8_193], PCA)
    content = model(2, 8_193, 0.5)
    yield bad(
        "model_dim_rotation",
        "corrupt",
        rule,
        "a rotation of 8,193 dimensions",
        write_file([wide], [Stored(4, put(put(content, 0, b"\3"), 1, b"\1"))]),
    )

    def of(name: str, comment: str, content: bytes) -> Vector:
        one = turned_vectors(0, "vector", EXAMPLE_ROWS, [2], PCA)
        return bad(f"model_{name}", "corrupt", rule, comment, write_file([one], [Stored(4, content)]))

    yield of("transform_zero", "transform 0", put(model(2, 2, 0.5), 0, b"\0"))
    yield of("scale_cut", "one of two scales", model(1, 2, 1.0, [0.5])[:20])
    yield of("scale_minus", "a scale below 0", model(1, 2, 1.0, [0.5, -2.0]))
    yield of("step_minus", "a step of -0.5", model(2, 2, -0.5))
    yield of("rotation_width_zero", "a rotation of width 0", put(EXAMPLE_MODEL, 1, b"\0"))
    yield of("frequencies_cut", "tables that end before their frequencies", EXAMPLE_MODEL[:-12])


def _vectors() -> Iterator[Vector]:
    rows = [[1, 0, 2, 3], [-2, 0, 1, 1], [0, 3, 0, 0]]

    def runs(name: str, comment: str, *counts: int) -> Vector:
        column = turned_vectors(0, "vector", rows, [2, 4], PCA)
        column.blocks = [Block(n, 0, b"\1" + bytes(n), 0) for n in counts]
        return bad(
            f"vector_{name}", "corrupt", "codecs.md 6", comment, write_file([column], [Stored(4, model(2, 4, 0.5))])
        )

    yield runs("run_incomplete", "the last run has one block of two", 4, 4, 4)
    yield runs("run_rows", "the blocks of a run hold one row and five", 2, 10)
    yield runs("run_values", "three values of rows of two", 3, 3, 3, 3)

    def lanes(name: str, rule: str, comment: str, stored: bytes) -> Vector:
        column = turned_vectors(0, "vector", EXAMPLE_ROWS, [2], PCA)
        column.blocks = [Block(8, 1, stored, 0)]
        return bad(f"lanes_{name}", "corrupt", rule, comment, write_file([column], [Stored(4, EXAMPLE_MODEL)]))

    coder = "codecs.md 5.2"
    yield lanes("tail", coder, "a tail of five in lanes of four symbols", put(EXAMPLE_LANES, 25, u16(5)))
    yield lanes("state_low", coder, "a first state below 2^16", put(EXAMPLE_LANES, 25, u16(3)))
    yield lanes("state_end", coder, "a lane that does not end in state 0", put(EXAMPLE_LANES, 27, u32(1_217)))
    yield lanes("low_cut", "codecs.md 6.4", "no low bits", EXAMPLE_LANES[:24])
    yield lanes("places_cut", "codecs.md 6.4", "the places of exceptions are cut", u32(2) + packed([1, 5])[:-1])
    yield lanes("states", coder, "no states", EXAMPLE_LANES[:25])
    bare = EXAMPLE_MODEL[:28] + bytes([8, 0]) + u16(0) + packed([0, 0])
    column = turned_vectors(0, "vector", EXAMPLE_ROWS, [2], PCA)
    column.blocks = [Block(8, 1, u32(0) + b"\0", 0)]
    yield bad(
        "lanes_none_left",
        "corrupt",
        "codecs.md 6.4",
        "a byte after a block without lanes",
        write_file([column], [Stored(4, bare)]),
    )
    many = turned_vectors(0, "vector", [[0]] * 65_536, [1], PCA)
    many.blocks = [Block(65_536, 1, u32(0), 0)]
    flat = model(2, 1, 0.5)[:-4] + bytes([8, 0]) + u16(0) + packed([0])
    yield bad("lanes_rows", "corrupt", "codecs.md 6.4", "65,536 rows", write_file([many], [Stored(4, flat)]))
    yield bad(
        "planes_none",
        "corrupt",
        "codecs.md 1",
        "planes of no bytes",
        _planes(b""),
    )
    yield bad(
        "planes_zstd",
        "corrupt",
        "codecs.md 1",
        "a frame of eight bytes for eight integers",
        _planes(frame(plane_bytes(EXAMPLE_ROWS, 1)[:8]), 16),
    )


def _planes(stored: bytes, form: int = 0) -> bytes:
    column = turned_vectors(0, "vector", EXAMPLE_ROWS, [2], PCA)
    column.blocks = [Block(8, form, stored, 0)]
    return write_file([column], [Stored(4, model(2, 2, 0.5))]).data


def _parameters() -> Iterator[Vector]:
    vector: dict[int, Any] = {1: 11, 2: 4, 3: [2, 4], 4: 0}
    wrong: dict[str, tuple[int, str, dict[int, Any]]] = {
        "bos_id": (1, "bos_id is not in the vocabulary", {1: 100, 2: 100}),
        "pad_id": (1, "pad_id is not in the vocabulary", {1: 100, 4: 100}),
        "label_classes_zero": (5, "no classes", {1: 1, 2: 0}),
        "label_classes_limit": (5, "2^32 + 1 classes", {1: 3, 2: 2**32 + 1}),
        "label_names_alone": (5, "names without classes", {1: 8, 3: "a\n"}),
        "label_names_many": (5, "two names for one class", {1: 1, 2: 1, 3: "a\nb\n"}),
        "label_width": (5, "a Label of 2^18 + 1 values", {1: 1, 2: 3, 4: [2**18 + 1]}),
        "soft_classes_limit": (6, "2^32 + 1 classes", {1: 2**32 + 1, 2: 1, 3: 9}),
        "codes_shape_negative": (2, "a negative axis of Codes", {1: 6, 2: [-1]}),
        "codes_width": (2, "Codes of 2^18 + 1 values", {1: 6, 2: [2**18 + 1]}),
        "text_parameter": (9, "a parameter of Text", {1: 3}),
        "vector_dim_zero": (3, "a Vector of no dimensions", vector | {2: 0, 3: [0]}),
        "vector_groups_kind": (3, "the end of a group is a string", vector | {3: ["4"]}),
        "vector_bytes_zero": (3, "bytes_per_vector of 0", vector | {4: 2, 6: 0.0, 7: True}),
        "vector_int8_error": (3, "method 1 with a max_error", vector | {4: 1, 5: 0.5}),
        "vector_rotate_kind": (3, "rotate is an integer", vector | {4: 2, 5: 0.5, 7: 1}),
        "vector_bf16_int8": (3, "a method with losses for bf16", vector | {1: 10, 4: 1}),
        "array_no_shape": (11, "an Array without a shape", {1: 1}),
    }
    for name, (type_, comment, parameters) in wrong.items():
        column = array(0, "column", [], [], 11, type_, parameters)
        yield bad(f"type_{name}", "corrupt", REGISTRY, comment, write_file([column]))
    twice = array(0, "soft", [[3, 3, 1, 1]], [2, 2], 2, 6, {1: 5, 2: 2, 3: 9})
    yield bad("soft_twice", "corrupt", REGISTRY, "a class stands twice in a row", write_file([twice]))
    wide = array(0, "codes", [[300]], [], 2, 2, {1: 300, 2: []})
    yield bad("code_numbers", "corrupt", REGISTRY, "code 300 of size 300 in codec numbers", write_file([wide]))
    huge = array(0, "kind", [[2**31]], [], 3, 5, {1: 3, 2: 2**31})
    yield bad("label_classes_wide", "corrupt", REGISTRY, "label 2^31 of 2^31 classes", write_file([huge]))
