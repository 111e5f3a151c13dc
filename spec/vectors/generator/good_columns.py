"""Good files: scores, labels, text, ranges, objects, metadata, and what an older reader may meet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .columns import DICTIONARY, ZSTD, Block, Column, label, score, text, tokens
from .datafile_writer import Stored, write_file
from .expected import of_file
from .good_tokens import pieces
from .vector import Vector, good

INFINITY = float("inf")


def vectors() -> Iterator[Vector]:
    """Make the vectors of this module."""
    yield from _numbers()
    yield from _text()
    yield from _files()
    yield from _later()


def one(name: str, spec: str, comment: str, *columns: Column, **more: Any) -> Vector:
    """Make a vector of a file with these columns."""
    file = write_file(columns, **more)
    return good(name, spec, comment, file, of_file(file))


def _numbers() -> Iterator[Vector]:
    for dtype, name in ((9, "f16"), (11, "f32"), (12, "f64")):
        columns = [
            score(
                2 * form + (packing > 0),
                f"form{form}_{'zstd' if packing else 'stored'}",
                [0.5, -2.0, -0.0, 65504.0],
                dtype,
                form=form,
                packing=packing,
                ranges=True,
            )
            for form in (0, 1)
            for packing in (0, ZSTD)
            if dtype == 9 or form == (packing > 0)
        ]
        yield one(f"score_{name}", "codecs.md 3", f"{name} in both value forms, raw and as zstd", *columns)
    for classes, name in ((None, "i64"), (256, "u8"), (65_536, "u16"), (2**32, "u32")):
        values = [0, -1, 2**63 - 1, -(2**63), 77] if classes is None else [0, 1, classes - 1, 77, 200]
        columns = [
            label(form, f"form{form}", values, classes, form=form, packing=ZSTD * form, ranges=True) for form in (0, 1)
        ]
        yield one(f"label_{name}", "registry.md 1", f"labels of dtype {name}", *columns)
    names = ["cat", "dog", "größer"]
    yield one("label_names", "registry.md 1", "class names, one line each", label(0, "kind", [2, 0, 1], 3, names))
    missing = score(0, "quality", [None, 0.25, None, 1.0, None, None, None, None, None], optional=True, ranges=True)
    yield one("optional_score", "4.4", "missing scores at both ends, across a byte of validity", missing)
    column = score(0, "quality", [0.5, 1.5], optional=True, validity=False)
    yield one("optional_all_present", "4.7", "an optional column without validity bits", column)
    nan = 0x7FC00000
    payload = [0x7FC12345, 0xFFC00001, 0x7F800001, nan]
    column = score(
        0,
        "quality",
        [payload[0], 1.0, payload[1], payload[2], -INFINITY, nan, None, nan],
        optional=True,
        ranges=True,
        cuts=[3, 2, 3],
    )
    yield one("nan", "codecs.md 3", "NaN payloads come back bit for bit; the last block has no range", column)
    zeros = score(0, "zeros", [0.0, 0.0], ranges=True)
    minus = score(1, "minus", [-0.0, -0.0], ranges=True)
    both = score(2, "both", [-0.0, 3.0], 9, ranges=True)
    yield one("zero_ranges", "4.5", "zero as a minimum is -0.0, as a maximum +0.0", zeros, minus, both)


def _text() -> Iterator[Vector]:
    samples = ["hello", "", None, "größe 大", "\0\n", "\U0001f600"]
    yield one(
        "text",
        "codecs.md 4",
        "text with missing and empty samples",
        text(0, "body", samples, optional=True, ranges=True),
    )
    yield one("text_zstd", "codecs.md 4", "text as zstd", text(0, "body", ["ab" * 30, "ab"], packing=ZSTD))
    dictionary = b"hello, world; and more"
    yield one(
        "text_dictionary",
        "codecs.md 4",
        "text with a dictionary of its own",
        text(0, "body", ["hello, ", "world"], DICTIONARY, dictionary),
        objects=[Stored(3, dictionary)],
    )
    long = "a" + "é" * 70_000
    column = text(0, "body", ["x", long, "y"], packing=ZSTD, cuts=[1, *pieces(140_001, 65_536), 1])
    yield one("text_cut", "codecs.md 4", "a block ends inside a character", column)
    tops: list[list[str | None]] = [
        ["a" * 32, "b" * 32],
        ["a" * 33, "b" * 33],
        ["", "z"],
        ["ab"],
        [None],
        ["\U0010ffff" * 9],
    ]
    flat = [s for group in tops for s in group]
    blocks = [sum(len((s or "").encode()) for s in group) for group in tops]
    column = text(0, "body", flat, optional=True, ranges=True, cuts=[n for n in blocks if n])
    yield one("text_ranges", "4.5", "minima cut and maxima raised at 32 bytes", column)


def _files() -> Iterator[Vector]:
    columns = [
        tokens(
            0,
            "tokens",
            50_257,
            [[1, 2, 3], [4], []],
            packing=ZSTD,
            parameters={2: 0, 3: 50_256, 4: 50_256},
            level="plain",
            cuts=[3, 1],
        ),
        score(3, "quality", [0.5, None, 1.0], optional=True, cuts=[1, 2]),
        label(70_000, "kind", [0, 1, 1], 2, ["no", "yes"]),
        text(2**32 - 2, "url", ["a", None, ""], optional=True),
    ]
    yield one("four_columns", "4.7", "one column of each type, ids far apart", *columns)
    yield one("interleaved", "4.3", "blocks of different columns by turns", *columns[:2], interleaved=True)
    tokenizer = b'{"version": "1.0"}'
    column = tokens(0, "tokens", 10, [[1]])
    more: dict[int, Any] = {
        3: {0: "tokenizer.json"},
        4: '{"licence": "CC0"}',
        5: {0: "small"},
        128: "ignored",
        70_000: [1.5, {0: b"x"}],
    }
    file = write_file([column], [Stored(1, tokenizer)], more=more)
    expected = of_file(file, attachments={"tokenizer.json": tokenizer}, metadata='{"licence": "CC0"}')
    yield good(
        "attachment",
        "4.9",
        "an embedded attachment, metadata of the store, unknown keys of 128 and above",
        file,
        expected,
    )
    numbers = [0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1, 2**64 - 1]
    numbers += [-1, -32, -33, -128, -129, -32_768, -32_769, -(2**31), -(2**31) - 1, -(2**63)]
    shapes: dict[int, Any] = {
        128: numbers,
        129: ["x" * n for n in (0, 31, 32, 255, 256)],
        130: [bytes(n) for n in (0, 255, 256)],
        131: [0] * 15,
        132: [0] * 16,
        133: dict.fromkeys(range(15), 0),
        134: dict.fromkeys(range(16), 0),
        135: [True, False, -0.0],
        136: [[[[]]]],
    }
    yield one("metadata_shortest", "2.4", "both sides of every limit between msgpack forms", column, more=shapes)


def _later() -> Iterator[Vector]:
    column = tokens(0, "tokens", 10, [[1, 2], [3]])
    yield one("minor_version", "12.1", "a file of format 1.7 that needs nothing new", column, minor=7)
    yield one(
        "ignorable_feature", "12.2", "an unknown feature that a reader may ignore", column, features=(1 << 31, 0, 0)
    )
    yield one("read_only_feature", "12.2", "an unknown feature that binds writers alone", column, features=(0, 1, 0))
    strange = Column(1, "strange", 40, {1: "what", 200: 7}, 9, 3, False, True, [[1], None], [Block(2, 0, b"whatever")])
    file = write_file([column, strange])
    yield good(
        "unknown_type",
        "6.1",
        "a column of an unknown type stays listed and is refused alone",
        file,
        of_file(file, refused=["strange"]),
    )
    codec = score(1, "score", [0.5, 1.0])
    codec.codec = 14
    file = write_file([column, codec])
    yield good(
        "unknown_codec",
        "6.1",
        "a column with an unknown codec stays listed and is refused alone",
        file,
        of_file(file, refused=["score"]),
    )
    needy = score(1, "score", [0.5, 1.0], entry={"required": 2})
    file = write_file([column, needy])
    yield good(
        "column_feature",
        "12.2",
        "a column that needs an unknown feature is refused alone",
        file,
        of_file(file, refused=["score"]),
    )
    codec = tokens(1, "more", 10, [[1, 2], [3]])
    codec.codec = 3
    file = write_file([column, codec])
    yield good(
        "codec_of_another_type",
        "6.1",
        "a known codec that is not one for the type",
        file,
        of_file(file, refused=["more"]),
    )
    ranked = tokens(0, "tokens", 10, [[1, 2], [3]], object=0)
    file = write_file([ranked, score(1, "score", [0.5, 1.0])], [Stored(77, b"from the future")])
    yield good(
        "unknown_object_kind",
        "registry.md 4",
        "a column whose object is of an unknown kind is refused alone",
        file,
        of_file(file, refused=["tokens"]),
    )
    mild = score(1, "score", [0.5, 1.0], entry={"ignorable": 2, "read_only": 4})
    yield one("column_mild_features", "12.2", "a column with features that do not stop a reader", column, mild)
