"""Good files: every column type that is not of plain scores, labels, tokens and text (registry.md 1)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from .arrays import (
    APART,
    PACKED,
    PLANES,
    STEPS,
    TURNED,
    TURNED_APART,
    array,
    category,
    category_list,
    exact_vectors,
    model,
    turned_vectors,
)
from .columns import ZSTD, Block, Column, float_bits, tokens
from .datafile_writer import Stored
from .good_columns import one
from .primitives import digest, packed
from .vector import Vector

EXAMPLE_MODEL = bytes.fromhex(
    "03010600020000000000000000 00E03F 0000803F00000000664B4C66 08000100 0101010000000000000001"
    "00000100000000000000 0000FFFFFFFFFFFFFFFF 00000200000000000000 0101C000000000000000FF"
)
EXAMPLE_ROWS = [[1, 0], [-2, 0], [0, 3], [-1, 0]]
EXAMPLE_LANES = bytes.fromhex("010000000000050000000000000000000300000000000000 09 0400C0040000")
PCA: dict[int, Any] = {4: 2, 5: 0.25, 7: True}
INT8: dict[int, Any] = {4: 1}


def vectors() -> Iterator[Vector]:
    """Make the vectors of this module."""
    yield from _numbers()
    yield from _shapes()
    yield from _bits()
    yield from _lists()
    yield from _vectors()


def grid() -> list[list[int]]:
    """Make twelve samples of 4 x 4 codes."""
    return [[(7 * i + row) % 300 for i in range(16)] for row in range(12)]


def _numbers() -> Iterator[Vector]:
    forms = {
        "values": 0,
        "planes": PLANES,
        "turned": TURNED,
        "packed": PACKED,
        "planes_apart": APART,
        "turned_apart": TURNED_APART,
    }
    for name, form in forms.items():
        columns = [
            array(i, f"codes_{packing}", grid(), [4, 4], 2, 2, {1: 300, 2: [4, 4]}, form=form, packing=packing)
            for i, packing in enumerate((0,) if form >= APART else (0, ZSTD))
        ]
        wide = [[1000 * i + row for i in range(8)] for row in range(12)]
        columns.append(array(5, "wide", wide, [8], 4, form=form))
        columns.append(array(6, "signed", [[-(2**15) % 2**16], [32767], [0]] * 4, [], 6, form=form))
        yield one(f"numbers_{name}", "codecs.md 3", f"value form {form}", *columns)
    huge = array(0, "huge", [[2**64 - 1], [2**63], [0], [2**63 - 1]], [], 4, form=PACKED)
    yield one("numbers_packed_u64", "codecs.md 3", "u64 values from 2^63 on in packed integers", huge)
    columns = []
    for i, (dtype, step) in enumerate(((9, 0.1), (11, 0.1), (12, 0.001))):
        letter = {9: "e", 11: "f", 12: "d"}[dtype]
        numbers = [struct.unpack("<" + letter, struct.pack("<" + letter, k * step))[0] for k in (0, 3, -7, 1000)]
        values = [[float_bits(x, dtype)] for x in numbers]
        parameters: dict[int, Any] = {1: dtype, 2: step / 2}
        columns.append(array(i, f"step{i}", values, [], dtype, 4, parameters, form=STEPS, step=step, ranges=True))
    yield one("numbers_steps", "codecs.md 3", "scores with a declared error, as multiples of a step", *columns)
    over = array(0, "over", [[0x7C00], [0xFC00], [0x7BFF]], [], 9)
    over.blocks = [Block(3, STEPS, struct.pack("<d", 65504.0) + packed([2, -2, 1]))]
    yield one("numbers_steps_overflow", "codecs.md 3", "multiples of a step above what an f16 holds are infinite", over)


def _shapes() -> Iterator[Vector]:
    labels = array(0, "kinds", [[1, 2], [], None, [0, 0, 2]], [0], 1, 5, {1: 1, 2: 3, 4: [0]}, optional=True)
    yield one("label_ragged", "registry.md 1", "any number of labels per sample", labels)
    pairs = array(0, "pairs", [[1, 2**64 - 2], [3, 4]], [2], 8, 5, {1: 8, 4: [2]})
    yield one("label_pairs", "registry.md 1", "two labels of dtype i64 per sample", pairs)
    frames = [[1, 2, 3, 4, 5, 6], [], [7, 8], None]
    ragged = array(0, "frames", frames, [0, 2], 2, 2, {1: 300, 2: [0, 2]}, form=TURNED, optional=True, cuts=[6, 2])
    yield one("codes_ragged", "4.3", "frames of two codebooks, any number of them", ragged)
    columns: list[Column] = []
    for dtype in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12):
        bits = {1: 8, 5: 8, 2: 16, 6: 16, 9: 16, 10: 16, 3: 32, 7: 32, 11: 32}.get(dtype, 64)
        values = [[0], [1], [2 ** (bits - 2) - 1], [2 ** (bits - 1)]]
        columns.append(array(dtype, f"dtype{dtype}", values, [], dtype, ranges=dtype != 10))
    yield one("array_dtypes", "registry.md 3", "one value of every dtype", *columns)
    inner = [[0x3F80, 0xBF80, 0, 0x8000, 0x7F80, 0x7FC0], [0x3F81] * 2, [], None]
    ragged = array(0, "frames", inner, [0, 2], 10, form=APART, cuts=[6, 2], optional=True)
    yield one("array_bf16", "registry.md 1", "rows of two bf16, any number of them, one of them NaN", ragged)
    deep = array(0, "deep", [list(range(24)), None], [2, 3, 1, 4], 5, optional=True)
    yield one("array_four_axes", "registry.md 1", "four axes, and a missing sample", deep)
    soft = [[5, 0, 0x3800, 0x3400], None, [1, 7, 0x3C00, 0]]
    columns = [
        array(0, "top_f16", soft, [2, 2], 2, 6, {1: 8, 2: 2, 3: 9}, optional=True),
        array(1, "top_u8", [[5, 0, 200, 55], [1, 2, 3, 4], [0, 7, 0, 255]], [2, 2], 1, 6, {1: 8, 2: 2, 3: 1}),
        array(2, "all_f16", [[0x3800, 0x3400, 0x3400]] * 3, [3], 2, 6, {1: 3, 3: 9}, form=TURNED),
        array(3, "all_u8", [[255, 0, 0], [1, 2, 3], [0, 0, 255]], [3], 1, 6, {1: 3, 3: 1}),
        array(4, "many", [[99_999, 0x3C00]] * 3, [2, 1], 3, 6, {1: 100_000, 2: 1, 3: 9}),
        array(5, "many_u8", [[299, 255]] * 3, [2, 1], 2, 6, {1: 300, 2: 1, 3: 1}),
    ]
    yield one("soft_labels", "registry.md 1", "soft labels with all classes and with the top ones", *columns)


def _bits() -> Iterator[Vector]:
    ids = tokens(0, "tokens", 10, [[1] * 9, [], [2] * 11])
    rows = [[0] * 4 + [1] * 5, [], [1] * 11]
    columns = [
        array(form * 2 + (packing > 0) + 1, f"mask{form}_{packing}", rows, [0], 13, 7, {1: "tokens"}, form, packing)
        for form in (0, 1)
        for packing in (0, ZSTD)
    ]
    yield one("mask", "codecs.md 7", "a bit for every token, as bits and as runs", ids, *columns)
    free = array(0, "mask", [[1, 1], None, [0, 1, 0]], [0], 13, 7, {}, 1, optional=True, cuts=[2, 3])
    yield one("mask_free", "registry.md 1", "a mask of no column; an empty first run", free)
    columns = [
        array(0, "one", [[1], None, [0]], [], 13, optional=True),
        array(1, "grid", [[0, 1, 1, 0, 0, 1], [1] * 6, [0] * 6], [3, 2], 13, form=1),
        array(2, "ragged", [[1, 0, 0, 1], [], [1, 1]], [0, 2], 13),
    ]
    yield one("array_bits", "codecs.md 7", "arrays of bits: one, of fixed shape, ragged", *columns)


def _lists() -> Iterator[Vector]:
    names = ["web", "größer", "", "code"]
    column = category(0, "source", [3, 0, None, 1, 2, 0], names, optional=True)
    yield one("category", "codecs.md 3.3", "categories, one of them empty", column, objects=[category_list(names)])
    short = category(0, "source", [1, 1, 0] * 5, names, form=PACKED, object=0)
    more = category(1, "other", [0] * 15, ["only"], form=PLANES, object=1)
    objects = [category_list(names), category_list(["only"])]
    yield one("category_two", "codecs.md 3.3", "two lists in one file", short, more, objects=objects)
    raw = [list(b"\0\xff\xfe"), [], None, list(b"abc" * 100)]
    rows = array(0, "raw", raw, [0], 1, 10, {}, optional=True)
    yield one("bytes", "codecs.md 4", "bytes that are no UTF-8, and more than 256 of them", rows)


def _vectors() -> Iterator[Vector]:
    ids = tokens(0, "tokens", 10, [[1], [2], [3]])
    rows = [[float_bits(row + i / 4, 11) for i in range(6)] for row in range(3)]
    column = exact_vectors(1, "vector", rows, 11, [2, 6], form=TURNED_APART, cuts=[12, 6])
    yield one("vector_groups", "4.3", "two groups of dimensions, two runs of blocks", ids, column)
    nan = 0x7E00
    columns = [
        exact_vectors(1, "f16", [[nan, 0x3C00, 1], None, [0, 0x8000, nan]], 9, [1, 2, 3], optional=True),
        exact_vectors(2, "bf16", [[0x3F80, 0x7F80], [1, 2], [0x7FC0, 0]], 10, [2], form=PLANES),
    ]
    yield one("vector_exact", "registry.md 1", "exact vectors of f16 and bf16, with NaN", ids, *columns)
    rows = [[1, -2, 300], [0, 127, -128], [5, 0, 0]]
    scales = Stored(4, model(1, 3, numbers=[0.5, 0.25, 2.0]))
    column = turned_vectors(1, "vector", rows, [3], INT8, width=2)
    measured: dict[int, Any] = {6: {1: {1: 0.125, 2: 0.5, 3: 0.9, 4: 100}}}
    yield one("vector_scales", "codecs.md 6.1", "transform 1", ids, column, objects=[scales], more=measured)
    step = Stored(4, model(2, 3, 0.125))
    column = turned_vectors(1, "vector", rows, [1, 3], PCA | {7: False}, width=4, packing=ZSTD)
    yield one("vector_step", "codecs.md 6.1", "transform 2, two groups, planes of width 4", ids, column, objects=[step])
    axes = Stored(4, model(3, 3, 0.5, [1.0, 0.0, -1.0], [64, 0, 0, 0, -51, 38, 0, 38, 51], 1, 6))
    column = turned_vectors(1, "vector", rows, [2, 3], PCA, width=2)
    yield one("vector_rotation", "codecs.md 6.1", "transform 3, two groups", ids, column, objects=[axes])
    missing = turned_vectors(0, "vector", [[0, 0, 0], *rows[:2]], [3], PCA, width=2, optional=True)
    missing.samples[0] = None
    yield one("vector_missing", "4.4", "a missing vector", missing, objects=[axes])
    given = [[5, -7, 2], *rows[:2]]
    kept = turned_vectors(0, "vector", given, [3], PCA, width=2, optional=True)
    kept.samples[0] = None
    told = digest(b"".join(q.to_bytes(4, "little", signed=True) for row in given for q in row) + b"\x06")
    yield one("vector_missing_any", "4.4", "a missing vector with integers other than zero", kept, objects=[axes],
              edits={"entry:0": lambda entry: entry[:120] + told + entry[152:]})  # fmt: skip
    example = Stored(4, EXAMPLE_MODEL)
    planes = turned_vectors(0, "vector", EXAMPLE_ROWS, [2], PCA)
    yield one("vector_tables", "codecs.md 6.4", "the example: planes, with tables that are not needed", planes,
              objects=[example])  # fmt: skip
    coded = turned_vectors(0, "vector", EXAMPLE_ROWS, [2], PCA)
    coded.blocks = [Block(8, 1, EXAMPLE_LANES, 0)]
    yield one("vector_lanes", "codecs.md 6.4", "the example: one lane and an exception", coded, objects=[example])
