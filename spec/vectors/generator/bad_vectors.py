"""Bad files: models of vectors, and the blocks that they decode (codecs.md 6)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .arrays import category_list, model, plane_bytes, turned_vectors
from .bad_files import Change, set_at
from .columns import DICTIONARY, Block
from .datafile_writer import Stored, write_file
from .good_types import EXAMPLE_LANES, EXAMPLE_MODEL, EXAMPLE_ROWS, PCA
from .primitives import packed, put, u16, u32
from .vector import Vector, bad

MODEL, LANES = "codecs.md 6.2", "codecs.md 6.4"
ROTATION = model(3, 2, 0.5, [1.0, 0.0], [51, -38, 38, 51], 1, 6)
SCALES = model(1, 2, 1.0, [0.5, 2.0])


def vectors() -> Iterator[Vector]:
    """Make the vectors of this module."""
    yield from _models()
    yield from _tables()
    yield from _planes()
    yield from _lanes()


def _file(content: bytes, stored: bytes | None = None, form: int = 0) -> bytes:
    """Write a file of the rows of the example with a model, and other bytes of its block."""
    column = turned_vectors(0, "vector", EXAMPLE_ROWS, [2], PCA)
    if stored is not None:
        column.blocks = [Block(8, form, stored, 0)]
    return write_file([column], [Stored(4, content)]).data


def _models() -> Iterator[Vector]:
    def of(name: str, comment: str, content: bytes, change: Change) -> Vector:
        return bad(f"model_{name}", "corrupt", MODEL, comment, _file(change(content)))

    infinite = struct.pack("<f", float("inf"))
    yield of("transform", "transform 4", model(2, 2, 0.5), set_at(0, b"\4"))
    yield of("width", "a rotation of width 3", ROTATION, set_at(1, b"\3"))
    yield of("width_unused", "a width without a rotation", model(2, 2, 0.5), set_at(1, b"\1"))
    yield of("bits", "15 bits", ROTATION, set_at(2, b"\x0f"))
    yield of("bits_unused", "bits without a rotation", model(2, 2, 0.5), set_at(2, b"\1"))
    yield of("reserved", "a reserved byte is set", model(2, 2, 0.5), set_at(3, b"\1"))
    yield of("dim", "three dimensions in a column of two", model(2, 2, 0.5), set_at(4, u32(3)))
    for name, step in (("zero", 0.0), ("small", 2.0**-127), ("large", 2.0**128), ("nan", float("nan"))):
        yield of(f"step_{name}", f"a step of {step}", model(2, 2, 0.5), set_at(8, struct.pack("<d", step)))
    yield of("scales_step", "scales and a step of 0.5", SCALES, set_at(8, struct.pack("<d", 0.5)))
    yield of("scale_zero", "a scale of 0", SCALES, set_at(16, bytes(4)))
    yield of("scale_infinite", "an infinite scale", SCALES, set_at(16, infinite))
    yield of("mean_infinite", "an infinite mean", ROTATION, set_at(16, infinite))
    yield of("cut_header", "a model of 15 bytes", model(2, 2, 0.5), lambda d: d[:15])
    yield of("cut_rotation", "the rotation is cut", ROTATION, lambda d: d[:26])
    yield of("cut_tables", "the model ends before its tables", ROTATION, lambda d: d[:-1])
    yield of("trailing", "a byte after the model", ROTATION, lambda d: d + b"\0")
    yield of("log", "tables of log 7", EXAMPLE_MODEL, set_at(28, b"\7"))
    yield of("log_large", "tables of log 16", EXAMPLE_MODEL, set_at(28, b"\x10"))
    yield of("tables_reserved", "a reserved byte of the tables is set", ROTATION, set_at(29, b"\1"))
    yield of("classes", "a class without tables", ROTATION, set_at(30, u16(1)))
    column = turned_vectors(0, "vector", EXAMPLE_ROWS, [2], PCA, object=None)
    yield bad("model_none", "corrupt", MODEL, "no model", write_file([column]))
    column = turned_vectors(0, "vector", EXAMPLE_ROWS, [2], PCA)
    other = category_list(["a"])
    yield bad("model_kind", "corrupt", "4.8", "a list of categories for a model", write_file([column], [other]))


def _tables() -> Iterator[Vector]:
    def of(
        name: str,
        comment: str,
        class_of: tuple[int, int] = (1, 0),
        shift: int = 1,
        first: int = -1,
        frequencies: tuple[int, ...] = (192, 64),
        classes: int = 1,
    ) -> Vector:
        tables = bytes([8, 0]) + u16(classes) + packed(class_of)
        tables += packed([shift] * classes) + packed([first] * classes) + packed([len(frequencies)] * classes)
        tables += packed(list(frequencies) * classes)
        return bad(f"tables_{name}", "corrupt", MODEL, comment, _file(EXAMPLE_MODEL[:28] + tables))

    yield of("class_of", "class 2 of 1", class_of=(2, 0))
    yield of("shift", "a shift of 25", shift=25)
    yield of("first", "a class that begins below -2^31", first=-(2**30) - 1)
    yield of("last", "a class that ends above 2^31", first=2**30 - 1)
    yield of("sum", "frequencies that sum to 255", frequencies=(192, 63))
    yield of("zero", "a frequency of 0", frequencies=(192, 64, 0))
    yield of("symbols", "257 symbols", frequencies=(1,) * 257)
    yield of("classes_many", "three classes of two dimensions", classes=3)


def _planes() -> Iterator[Vector]:
    good = plane_bytes(EXAMPLE_ROWS, 1)

    def of(name: str, rule: str, comment: str, stored: bytes, form: int = 0) -> Vector:
        return bad(f"planes_{name}", "corrupt", rule, comment, _file(ROTATION, stored, form))

    rule = "codecs.md 6.3"
    yield of("width", rule, "planes of width 3", b"\3" + bytes(24))
    yield of("width_zero", rule, "planes of width 0", put(good, 0, b"\0"))
    yield of("long", rule, "a byte after the planes", good + b"\0")
    yield of("short", "codecs.md 1", "seven planes of eight bytes", good[:-1])
    yield of("form", "codecs.md 1", "value form 2", good, 2)
    yield of("packing", "codecs.md 1", "packing 2", good, DICTIONARY)
    yield of("lanes", LANES, "lanes, and the model has no tables", EXAMPLE_LANES, 1)
    yield of("lanes_packing", "codecs.md 1", "lanes as zstd", EXAMPLE_LANES, 0x11)


def _lanes() -> Iterator[Vector]:
    def of(name: str, comment: str, stored: bytes) -> Vector:
        return bad(f"lanes_{name}", "corrupt", LANES, comment, _file(EXAMPLE_MODEL, stored, 1))

    rest = EXAMPLE_LANES[24:]
    for name, places in (("twice", [5, 5]), ("descend", [5, 3]), ("past", [5, 8])):
        yield of(
            name, f"exceptions at {places[0]} and {places[1]} of 8", u32(2) + packed(places) + packed([3, 3]) + rest
        )
    yield of("many", "nine exceptions in eight integers", u32(9) + packed([*range(9)]) + packed([3] * 9) + rest)
    yield of("value", "an exception of 2^31", u32(1) + packed([5]) + packed([2**31]) + rest)
    yield of("low", "a low bit past the last row", put(EXAMPLE_LANES, 24, b"\x19"))
    yield of("left", "two bytes after the words", EXAMPLE_LANES + b"\0\0")
    yield of("cut", "the state is cut", EXAMPLE_LANES[:-2])
    yield of("short", "three bytes", EXAMPLE_LANES[:3])
