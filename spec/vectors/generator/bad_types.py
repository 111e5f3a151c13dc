"""Bad files: parameters of types, runs of blocks, numbers, bits and categories (registry.md 1, codecs.md 3, 7)."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from .arrays import (
    APART,
    PACKED,
    STEPS,
    TURNED,
    array,
    bit_bytes,
    category,
    category_list,
    exact_vectors,
    number_bytes,
)
from .bad_files import set_at
from .columns import DICTIONARY, ZSTD, Block, Column
from .datafile_writer import Stored, write_file
from .primitives import packed, u32
from .vector import Vector, bad

REGISTRY = "registry.md 1"


def vectors() -> Iterator[Vector]:
    """Make the vectors of this module."""
    yield from _parameters()
    yield from _blocks()
    yield from _numbers()
    yield from _values()
    yield from _categories()
    yield from _bits()


def replaced(column: Column, *blocks: Block) -> Column:
    """Give a column other blocks."""
    column.blocks = list(blocks)
    return column


def _parameters() -> Iterator[Vector]:
    vector: dict[int, Any] = {1: 11, 2: 4, 3: [2, 4], 4: 0}
    pca = vector | {4: 2, 5: 0.5, 7: True}
    wrong: dict[str, tuple[int, str, dict[int, Any]]] = {
        "codes_size_one": (2, "Codes of size 1", {1: 1, 2: []}),
        "codes_size": (2, "Codes of size 65,537", {1: 65_537, 2: []}),
        "codes_no_shape": (2, "Codes without a shape", {1: 2}),
        "shape_axes": (11, "a shape of five axes", {1: 1, 2: [1, 1, 1, 1, 1]}),
        "shape_zero": (11, "a ragged axis that is not the first", {1: 1, 2: [2, 0]}),
        "shape_kind": (11, "a string in a shape", {1: 1, 2: ["2"]}),
        "shape_negative": (11, "a negative axis", {1: 1, 2: [-1]}),
        "shape_width": (11, "a width of 2^18 + 1", {1: 1, 2: [2**18 + 1]}),
        "shape_width_ragged": (11, "items of 2^19 values", {1: 1, 2: [0, 2**10, 2**9]}),
        "array_dtype": (11, "dtype 14", {1: 14, 2: []}),
        "array_dtype_zero": (11, "dtype 0", {1: 0, 2: []}),
        "label_shape_empty": (5, "a Label with an empty shape", {1: 1, 2: 3, 4: []}),
        "label_shape_zero": (5, "a Label with a ragged second axis", {1: 1, 2: 3, 4: [1, 0]}),
        "score_max_error_zero": (4, "a max_error of 0", {1: 11, 2: 0.0}),
        "score_max_error_infinite": (4, "an infinite max_error", {1: 11, 2: float("inf")}),
        "score_max_error_kind": (4, "a max_error that is an integer", {1: 11, 2: 1}),
        "soft_classes": (6, "a SoftLabel of one class", {1: 1, 3: 9}),
        "soft_top": (6, "the top 4 of 3 classes", {1: 3, 2: 4, 3: 9}),
        "soft_top_zero": (6, "the top 0 classes", {1: 3, 2: 0, 3: 9}),
        "soft_top_limit": (6, "the top 2^17 + 1 classes", {1: 2**20, 2: 2**17 + 1, 3: 9}),
        "soft_dtype": (6, "probabilities of u16", {1: 3, 3: 2}),
        "soft_width": (6, "all of 2^18 + 1 classes", {1: 2**18 + 1, 3: 9}),
        "mask_kind": (7, "a Mask of column 0, by its number", {1: 0}),
        "category_parameter": (8, "a parameter of Category", {1: 3}),
        "bytes_parameter": (10, "a parameter of Bytes", {1: 3}),
        "vector_dtype": (3, "a Vector of f64", vector | {1: 12}),
        "vector_dim": (3, "a Vector of 65,536 dimensions", vector | {2: 65_536, 3: [65_536]}),
        "vector_groups_none": (3, "a Vector without groups", vector | {3: []}),
        "vector_groups_order": (3, "ends of groups that do not ascend", vector | {3: [2, 2, 4]}),
        "vector_groups_last": (3, "the last group ends before the last dimension", vector | {3: [2, 3]}),
        "vector_groups_many": (3, "257 groups", vector | {2: 257, 3: list(range(1, 258))}),
        "vector_method": (3, "method 3", vector | {4: 3}),
        "vector_method_dtype": (3, "a method with losses for f16", vector | {1: 9, 4: 1}),
        "vector_pca_bounds": (3, "both max_error and bytes_per_vector", pca | {6: 2.0}),
        "vector_pca_unbounded": (3, "neither max_error nor bytes_per_vector", vector | {4: 2, 7: True}),
        "vector_pca_rotate": (3, "method 2 without parameter 7", vector | {4: 2, 5: 0.5}),
        "vector_int8_rotate": (3, "method 1 with parameter 7", vector | {4: 1, 7: True}),
        "vector_exact_error": (3, "method 0 with a max_error", vector | {5: 0.5}),
        "vector_max_error": (3, "a max_error of 0", pca | {5: 0.0}),
    }
    for name, (type_, comment, parameters) in wrong.items():
        column = array(0, "column", [], [], 11, type_, parameters)
        yield bad(f"type_{name}", "corrupt", REGISTRY, comment, write_file([column]))
    column = array(0, "column", [[1]], [], 1)
    for key, value in (
        ("key", {1: 0.5, 4: 1}),
        ("kind", {1: 0.5, 2: 1, 4: 1}),
        ("unknown", {1: 0.5, 2: 1.0, 4: 1, 5: 0}),
    ):
        more = {6: {0: value}}
        yield bad(f"measured_{key}", "corrupt", "4.9", "a wrong measured error", write_file([column], more=more))


def _blocks() -> Iterator[Vector]:
    pair = replaced(array(0, "pair", [[1, 2], [3, 4]], [2], 1), Block(3, 0, b"\1\2\3"), Block(1, 0, b"\4"))
    yield bad("block_inside_row", "corrupt", "4.3", "a block ends inside a row", write_file([pair]))
    pair = replaced(array(0, "pair", [[1, 2, 3, 4]], [0, 2], 1), Block(3, 0, b"\1\2\3"), Block(1, 0, b"\4"))
    yield bad("block_inside_item", "corrupt", "4.3", "a block ends inside an item", write_file([pair]))
    pair = array(0, "pair", [[1, 2, 3], [4]], [0, 2], 1)
    yield bad("row_inside_item", "corrupt", "4.4", "a row ends inside an item", write_file([pair]))

    def runs(rows: int, *values: int) -> Column:
        column = exact_vectors(0, "vector", [[0] * 4] * rows, 11, [2, 4])
        return replaced(column, *(Block(n, 0, bytes(4 * n), 0) for n in values))

    yield bad("run_incomplete", "corrupt", "4.3", "the last run has one block of two", write_file([runs(3, 4, 4, 4)]))
    yield bad("run_rows", "corrupt", "4.3", "the blocks of a run hold one row and three", write_file([runs(2, 2, 6)]))
    yield bad("run_inside_row", "corrupt", "4.3", "the blocks of a run end inside a row", write_file([runs(2, 3, 5)]))
    for name, flags, column in (("clear", 0, runs(1, 2, 2)), ("set", 64, array(0, "one", [[1]], [], 1))):
        file = write_file([column], edits={"entry:0": set_at(8, u32(flags))})
        yield bad(f"groups_flag_{name}", "corrupt", "4.7", "the flag of groups and the type differ", file)
    two = runs(3, 4, 4, 2, 2)
    for name, new in (("first_row", [0, 0, 2, 1]), ("missing", [0, 0, 0, 1])):
        two.optional = name == "missing"
        file = write_file([two], edits={f"{name}:0": lambda _, new=new: packed(new)})  # type: ignore[misc]
        yield bad(f"run_{name}", "corrupt", "4.5", f"blocks of one run with another {name}", file)


def number(name: str, rule: str, comment: str, dtype: int, n: int, form: int, stored: bytes) -> Vector:
    """Make a file with one block of zeros that should have been."""
    column = replaced(array(0, "column", [[0]] * n, [], dtype), Block(n, form, stored, 0))
    return bad(f"number_{name}", "corrupt", rule, comment, write_file([column]))


def _numbers() -> Iterator[Vector]:
    rule = "codecs.md 3"
    for name, dtype, values in (
        ("u8", 1, [0, 256]),
        ("u16", 2, [0, -1]),
        ("u32", 3, [0, 2**32]),
        ("i8", 5, [0, 128]),
        ("i16", 6, [0, -(2**15) - 1]),
        ("i32", 7, [0, 2**31]),
    ):
        yield number(f"packed_{name}", rule, f"{values[1]} for {name}", dtype, 2, PACKED, packed(values))
    yield number("packed_float", rule, "packed integers for f32", 11, 2, PACKED, packed([0, 0]))
    yield number("packed_left", rule, "a byte after the packed array", 1, 2, PACKED, packed([0, 0]) + b"\0")
    steps = {"zero": 0.0, "minus": -1.0, "infinite": float("inf"), "nan": float("nan")}
    for name, step in steps.items():
        stored = struct.pack("<d", step) + packed([0, 0])
        yield number(f"step_{name}", rule, f"a step of {step}", 11, 2, STEPS, stored)
    step_one = struct.pack("<d", 1.0)
    yield number("steps_integer", rule, "steps for u8", 1, 2, STEPS, step_one + packed([0, 0]))
    yield number("steps_bf16", rule, "steps for bf16", 10, 2, STEPS, step_one + packed([0, 0]))
    yield number("steps_left", rule, "a byte after the packed array", 11, 2, STEPS, step_one + packed([0, 0]) + b"\0")
    yield number("steps_short", "codecs.md 1", "17 coded bytes of steps", 11, 2, STEPS, step_one + bytes(9))
    apart = "codecs.md 3.1"
    yield number("apart_more", apart, "planes of eight bytes, and seven are there", 2, 4, APART, u32(4) * 2 + bytes(7))
    yield number("apart_less", apart, "planes of four and three bytes, and eight are there", 2, 4, APART,
                 u32(4) + u32(3) + bytes(8))  # fmt: skip
    yield number("apart_long", apart, "a plane of five bytes for four values", 2, 4, APART, u32(5) + u32(3) + bytes(8))
    yield number("apart_no_frame", "2.5", "a short plane that is no frame", 2, 4, APART, u32(4) + u32(3) + bytes(7))
    raw = number_bytes([0] * 40, 2, APART)
    packed_twice = array(0, "column", [[0]] * 40, [], 2, form=APART, packing=ZSTD)
    yield bad("number_apart_packed", "corrupt", rule, "planes apart packed once more", write_file([packed_twice]))
    yield number("apart_dictionary", "codecs.md 1", "planes apart with a dictionary", 2, 40, APART | DICTIONARY, raw)
    yield number("form", "codecs.md 1", "value form 7", 1, 2, 7, bytes(2))
    yield number("turned_short", "codecs.md 1", "seven bytes for four u16", 2, 4, TURNED, bytes(7))


def _values() -> Iterator[Vector]:
    def values(name: str, comment: str, column: Column) -> Vector:
        return bad(name, "corrupt", REGISTRY, comment, write_file([column]))

    yield values("code", "code 5 of size 5", array(0, "codes", [[0], [5]], [], 1, 2, {1: 5, 2: []}))
    yield values("label_of_shape", "label 3 of 3 classes", array(0, "kinds", [[0, 3]], [2], 1, 5, {1: 1, 2: 3, 4: [2]}))

    def soft(parameters: dict[int, Any], dtype: int, row: Sequence[int]) -> Column:
        return array(0, "soft", [row], [2, 2], dtype, 6, parameters)

    small: dict[int, Any] = {1: 5, 2: 2, 3: 9}
    yield values("soft_class", "class 5 of 5", soft(small, 2, [0, 5, 1, 1]))
    wide: dict[int, Any] = {1: 300, 2: 2, 3: 1}
    yield values("soft_probability_u8", "probability 256 of u8 in u16", soft(wide, 2, [0, 1, 256, 1]))
    wide = {1: 70_000, 2: 2, 3: 9}
    yield values("soft_probability_f16", "probability 2^16 of f16 in u32", soft(wide, 3, [0, 1, 2**16, 1]))


def _categories() -> Iterator[Vector]:
    def listed(name: str, comment: str, *objects: Stored, rule: str = "codecs.md 3.3", value: int = 1) -> Vector:
        column = category(0, "source", [0, value], ["a", "b"], object=0 if objects else None)
        return bad(f"category_{name}", "corrupt", rule, comment, write_file([column], objects))

    good = category_list(["a", "b"])
    yield listed("past", "category 2 of 2", good, value=2)
    yield listed("twice", "a category that is in the list twice", category_list(["a", "b", "a"]))
    yield listed("utf8", "a category that is not UTF-8", category_list([b"a", b"\xff"]))
    yield listed("utf8_split", "a character that is cut in two categories", category_list([b"\xc3", b"\xa4"]))
    yield listed("trailing", "a byte after the last category", Stored(6, good.content + b"\0"))
    yield listed("cut", "the last category is gone", Stored(6, good.content[:-1]))
    yield listed("short", "a list of three bytes", Stored(6, bytes(3)))
    many = u32(65_537) + packed([0] * 65_537)
    yield listed("many", "65,537 categories", Stored(6, many))
    yield listed("none", "no list")
    yield listed("kind", "a dictionary in the place of a list", Stored(3, good.content), rule="4.8")
    attached = array(0, "mask", [[1, 1]], [0], 13, 7, {}, object=0)
    yield bad("object_of_bits", "corrupt", "codecs.md 7", "bits with an object", write_file([attached], [good]))


def _bits() -> Iterator[Vector]:
    def of(name: str, comment: str, form: int, stored: bytes, rule: str = "codecs.md 7") -> Vector:
        column = array(0, "mask", [[0, 1, 1], [0, 0]], [0], 13, 7, {})
        return bad(f"bits_{name}", "corrupt", rule, comment, write_file([replaced(column, Block(5, form, stored, 0))]))

    runs = bit_bytes([0, 1, 1, 0, 0], 1)
    yield of("past", "a bit after the last value", 0, b"\x26")
    yield of("long", "two bytes for five bits", 0, b"\6\0", "codecs.md 1")
    yield of("runs_zero", "no runs", 1, u32(0) + bytes(10))
    yield of("runs_many", "seven runs of five bits", 1, u32(7) + packed([0, 1, 1, 1, 1, 1, 0]))
    yield of("runs_less", "runs of four bits in all", 1, u32(3) + packed([1, 2, 1]))
    yield of("runs_more", "runs of six bits in all", 1, u32(3) + packed([1, 2, 3]))
    yield of("runs_empty", "an empty second run", 1, u32(4) + packed([1, 0, 2, 2]))
    yield of("runs_negative", "a negative run", 1, u32(3) + packed([3, -1, 3]), "2.3")
    yield of("runs_left", "a byte after the runs", 1, runs + b"\0")
    yield of("runs_short", "13 coded bytes of runs", 1, runs[:13], "codecs.md 1")
    yield of("form", "value form 2", 2, b"\6", "codecs.md 1")
    yield of("packing", "packing 2", DICTIONARY, b"\6", "codecs.md 1")
