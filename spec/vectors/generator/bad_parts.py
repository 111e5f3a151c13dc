"""Bad files: rules of data files that no other module breaks (format.md 2 to 5, 10 to 12)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .arrays import array, bit_bytes, category, category_list, exact_vectors, turned_vectors
from .bad_contents import with_block
from .bad_files import Change, changed, instead, set_at, simple, two_blocks
from .columns import RANKS, ZSTD, Block, Column, Table, label, score, text, tokens
from .datafile_writer import Stored, write_file
from .good_types import EXAMPLE_MODEL, EXAMPLE_ROWS, PCA
from .primitives import Verbatim, packed, put, u32, u64
from .vector import Vector, bad
from .zframe import frame, header, match

TABLE = Table([7, 1, 4])


def vectors() -> Iterator[Vector]:
    """Make the vectors of this module."""
    yield from _conventions()
    yield from _places()
    yield from _entries()
    yield from _tables()
    yield from _metadata()
    yield from _objects()


def ranked() -> Column:
    """Make a column of tokens with the first object of the file as its rank table."""
    return tokens(0, "tokens", 100, [[7, 1], [4]], RANKS, 0, TABLE)


def _conventions() -> Iterator[Vector]:
    yield bad(
        "packed_header",
        "corrupt",
        "2.3",
        "the lengths end inside their first ten bytes",
        changed("rows:0", lambda d: d[:9]),
    )
    yield bad(
        "packed_deltas_form",
        "corrupt",
        "2.3",
        "deltas that lead below zero",
        changed("lengths:0", instead(b"\1\1" + u64(5) + b"\x0b\x0b")),
    )
    spelled = {
        "int8": ("5 as int 8", "d0 05"),
        "int16": ("-128 as int 16", "d1 ff 80"),
        "int32": ("-32,768 as int 32", "d2 ff ff 80 00"),
        "int64_positive": ("5 as int 64", "d3 00 00 00 00 00 00 00 05"),
        "str16": ("a string of one byte as str 16", "da 00 01 61"),
        "str32": ("a string of one byte as str 32", "db 00 00 00 01 61"),
        "bin32": ("one byte as bin 32", "c6 00 00 00 01 61"),
        "array32": ("an array of one item as array 32", "dd 00 00 00 01 00"),
        "map32": ("a map of one key as map 32", "df 00 00 00 01 01 00"),
    }
    for name, (comment, digits) in spelled.items():
        file = write_file([simple()], more={128: Verbatim(bytes.fromhex(digits))})
        yield bad(f"metadata_wide_{name}", "corrupt", "2.4", comment, file)
    for name, comment, digits in (
        ("ext8", "an extension type of ext 8", "c7 01 05 00"),
        ("huge_map", "a map of 2^32 - 1 keys that are not there", "df ff ff ff ff"),
        ("huge_str", "2^32 - 1 characters that are not there", "db ff ff ff ff"),
        ("surrogate", "a surrogate in a string", "a3 ed a0 80"),
    ):
        file = write_file([simple()], more={128: Verbatim(bytes.fromhex(digits))})
        yield bad(f"metadata_{name}", "corrupt", "2.4", comment, file)
    outside = header(10) + match(b"\1\0", 9, 8)
    yield bad("frame_match", "corrupt", "2.5", "a match that begins before the frame", with_block(outside, ZSTD))
    zipped = text(0, "body", ["a" * 40] * 3)
    zipped.rows_zstd = True
    yield bad(
        "frame_of_rows",
        "corrupt",
        "2.5",
        "a byte after the frame of a rows section",
        changed("rows=:0", lambda d: d + b"\0", zipped),
    )


def _places() -> Iterator[Vector]:
    note = Stored(1, b"a note")
    yield bad(
        "hole_objects",
        "corrupt",
        "4.1",
        "bytes where objects begin that belong to none",
        changed("object_entry:0", lambda d: d[:32] + u64(0) + d[40:58] + bytes(2) + d[60:], simple(), objects=[note]),
    )
    for name, at, comment in (
        ("copy_offset", 0, "the copy begins eight bytes later"),
        ("tail_offset", 8, "the tail begins eight bytes later"),
    ):
        yield bad(
            f"footer_{name}",
            "corrupt",
            "4.10" if at == 0 else "4.1",
            comment,
            changed("footer", lambda d, at=at: put(d, at, u64(int.from_bytes(d[at : at + 8], "little") + 8))),  # type: ignore[misc]
        )
    yield bad(
        "footer_order",
        "corrupt",
        "4.11",
        "the copy begins behind the tail",
        changed("footer", lambda d: d[8:16] + d[:8] + d[16:]),
    )
    yield bad(
        "limit_index", "corrupt", "11", "an index of 2^26 + 1 bytes", changed("footer", set_at(24, u64(2**26 + 1)))
    )
    yield bad("limit_columns", "corrupt", "11", "65,536 columns", changed("index", set_at(8, u32(65_536))))
    yield bad("limit_objects", "corrupt", "11", "65,536 objects", changed("index", set_at(12, u32(65_536))))
    yield bad(
        "rows_outside",
        "corrupt",
        "11",
        "a rows section beyond the end of the file",
        changed("entry:0", set_at(80, u64(2**40))),
    )
    yield bad(
        "object_outside",
        "corrupt",
        "11",
        "an object beyond the end of the file",
        changed("object_entry:0", set_at(32, u64(2**40)), ranked(), objects=[Stored(2, TABLE.content())]),
    )


def _entries() -> Iterator[Vector]:
    def entry(name: str, rule: str, comment: str, at: int, new: bytes, *columns: Column) -> Vector:
        return bad(f"entry_{name}", "corrupt", rule, comment, changed("entry:0", set_at(at, new), *columns))

    yield entry("blocks", "4.7", "a block fewer than the table has", 40, u32(1), two_blocks())
    yield entry("rows_content", "4.7", "a raw rows section of other content_bytes", 96, u64(13))
    one = score(0, "score", [0.5])
    for name, at in (("offset", 80), ("content", 96), ("checksum", 104)):
        comment = f"a column without a rows section has its {name}"
        yield entry(f"no_rows_{name}", "4.7", comment, at, u64(1), one)
    yield entry("values_fixed", "4.4", "two values in one row of one value", 32, u64(2), one)
    yield entry("dtype_zero", "4.7", "dtype 0", 152, b"\0", one)
    yield entry("codec_zero", "4.7", "the flag of zstd for a raw table", 8, u32(16), one)
    yield bad(
        "column_id_limit",
        "corrupt",
        "4.7",
        "column id 2^32 - 1",
        write_file([tokens(2**32 - 1, "tokens", 100, [[1]])]),
    )
    yield bad(
        "digest_of_lengths",
        "checksum",
        "10",
        "lengths and values that another digest covers",
        changed("lengths:0", instead(packed([2, 1, 2]))),
    )
    yield bad(
        "digest_of_validity",
        "checksum",
        "10",
        "a row is there that the digest has as missing",
        write_file(
            [tokens(0, "tokens", 100, [[1, 2, 3], None, [4, 5]], optional=True)],
            edits={"validity:0": set_at(0, b"\x07"), "missing:0": instead(packed([0]))},
        ),
    )


def _tables() -> Iterator[Vector]:
    def table(name: str, comment: str, stage: str, change: Change, *columns: Column, rule: str = "4.5") -> Vector:
        return bad(name, "corrupt", rule, comment, changed(stage, change, *columns))

    some = score(0, "score", [0.5, None, float("nan")], optional=True, ranges=True)
    yield table("range_maximum", "a maximum above the values", "ranges:0", set_at(5, u32(0x3F800000)), some)
    yield table("range_nan", "a range of NaN", "ranges:0", set_at(1, u32(0x7FC00000) * 2), some)
    yield table("range_gone", "no range of a block with a value", "ranges:0", instead(bytes(9)), some)
    yield table("range_cut", "the ranges end one byte early", "ranges:0", lambda d: d[:-1], some)
    yield table(
        "range_of_nothing",
        "a range of a block without a present value",
        "ranges:0",
        set_at(0, b"\1"),
        score(0, "score", [None], optional=True, ranges=True),
    )
    yield table(
        "range_text_cut",
        "a text minimum of 31 of 32 bytes",
        "ranges:0",
        instead(b"\1" + packed([31]) + packed([32]) + b"c" * 62 + b"d"),
        text(0, "body", ["c" * 40], ranges=True),
    )
    yield table(
        "range_label_maximum",
        "the maximum of a label is that of another block",
        "ranges:0",
        set_at(-8, u64(7)),
        label(0, "kind", [1, 2], 9, ranges=True),
    )
    listed = category(0, "source", [0, 1], ["a", "b"], ranges=True)
    yield bad(
        "ranges_category",
        "corrupt",
        "4.5",
        "ranges of a Category",
        write_file([listed], [category_list(["a", "b"])]),
    )
    placed = exact_vectors(0, "vector", [[0, 0]], 11, [2], ranges=True)
    yield bad("ranges_vector", "corrupt", "4.5", "ranges of a Vector", write_file([placed]))
    masked = array(0, "mask", [[0, 1]], [0], 13, 7, {})
    yield bad(
        "ranges_bits",
        "corrupt",
        "4.5",
        "ranges of bits",
        changed("entry:0", set_at(8, u32(1 | 8)), masked),
    )
    turned = turned_vectors(0, "vector", EXAMPLE_ROWS, [2], PCA)
    turned.blocks[0].nan = 1
    yield bad(
        "nan_vectors",
        "corrupt",
        "4.5",
        "NaN in stored integers",
        write_file([turned], [Stored(4, EXAMPLE_MODEL)]),
    )
    yield table("stored_bytes", "a block of one byte more", "stored_bytes:0", instead(packed([11])), rule="4.7")
    yield table("checksums_cut", "seven bytes of a checksum", "checksums:0", lambda d: d[:-1])
    wide = array(0, "pair", [[1, 2], None], [2], 1, optional=True)
    yield bad(
        "validity_cut",
        "corrupt",
        "4.4",
        "no validity bits",
        changed("validity:0", instead(b""), wide),
    )
    yield bad(
        "validity_long",
        "corrupt",
        "4.4",
        "a byte after the validity bits",
        changed("validity:0", lambda d: d + b"\0", wide),
    )
    noise = array(0, "pair", [[1, 2], [3, 0]], [2], 1, optional=True)
    edits: dict[str, Change] = {"validity:0": set_at(0, b"\1"), "missing:0": instead(packed([1]))}
    yield bad(
        "missing_with_values",
        "corrupt",
        "4.4",
        "one of two values of a missing row is not zero",
        write_file([noise], edits=edits),
    )
    bits = array(0, "mask", [[0, 1], None], [2], 13, 11, {1: 13, 2: [2]}, optional=True)
    bits.blocks = [Block(4, 0, bit_bytes([0, 1, 0, 1]), 0)]
    yield bad("missing_with_bits", "corrupt", "4.4", "a bit of a missing row is set", write_file([bits]))


def _metadata() -> Iterator[Vector]:
    def keys(
        name: str, comment: str, more: dict[int, Any], objects: Sequence[Stored] = (), rule: str = "4.9"
    ) -> Vector:
        return bad(name, "corrupt", rule, comment, write_file([simple()], objects, more=more))

    note = Stored(1, b"a note")
    yield keys("attachment_name", "the name of an attachment is an integer", {3: {0: 7}}, [note])
    yield keys("attachment_kind", "an attachment that is a dictionary", {3: {0: "x"}}, [Stored(3, b"abc")])
    yield keys("level_kind", "the level of a column is an integer", {5: {0: 3}})
    yield keys("levels_kind", "the levels are an array", {5: ["small"]}, rule="2.4")
    yield keys("records_none", "no column records", {1: []}, rule="6.1")
    yield keys("records_kind", "a column record that is an array", {1: [[0]]}, rule="2.4")
    other = simple().record() | {1: 3}
    yield keys("record_other_id", "record and entry differ in the column id", {1: [other]})
    twice = [simple().record(), simple().record() | {1: 1, 2: "more"}]
    yield keys("record_left", "a record without an entry", {1: twice})
    yield keys("json_none", "metadata that is no JSON", {4: "{licence: CC0}"}, rule="2.8")
    yield keys("json_cut", "metadata that ends early", {4: '{"licence": "CC0"'}, rule="2.8")
    yield keys("json_trailing", "a second value after the object", {4: "{} {}"}, rule="2.8")
    yield keys("json_array", "metadata that is an array", {4: "[1]"}, rule="2.8")
    yield keys("json_nan", "NaN, which is no JSON", {4: '{"loss": NaN}'}, rule="2.8")
    yield keys("json_number", "a number that begins with 0", {4: '{"loss": 012}'}, rule="2.8")
    yield keys("json_control", "a line feed inside a string", {4: '{"a": "x\ny"}'}, rule="2.8")
    yield keys("json_escape", "an escape that JSON does not have", {4: '{"a": "\\x41"}'}, rule="2.8")
    yield keys("json_empty", "no text", {4: ""}, rule="2.8")
    yield keys(
        "json_deep", "65 arrays and objects inside each other", {4: '{"a": ' + "[" * 64 + "]" * 64 + "}"}, rule="2.8"
    )
    yield bad(
        "json_limit",
        "corrupt",
        "11",
        "metadata of 16,385 bytes",
        write_file([simple()], more={4: '{"x":"' + "x" * 16_377 + '"}'}),
    )


def _objects() -> Iterator[Vector]:
    content = TABLE.content()

    def entry(name: str, comment: str, at: int, new: bytes, kind: str = "corrupt", rule: str = "4.8") -> Vector:
        file = changed("object_entry:0", set_at(at, new), ranked(), objects=[Stored(2, content)])
        return bad(f"object_entry_{name}", kind, rule, comment, file)

    yield entry("stored_bytes", "a table begins inside the object", 40, u64(len(content) + 17), rule="4.1")
    loose = Stored(1, b"a note", embedded=False)
    yield bad(
        "object_entry_offset",
        "corrupt",
        "4.8",
        "the offset of an object that is not embedded",
        changed("object_entry:0", set_at(32, u64(64)), simple(), objects=[loose]),
    )

    def item(name: str, comment: str, stored: Stored, rule: str = "5") -> Vector:
        return bad(f"object_{name}", "corrupt", rule, comment, write_file([ranked()], [stored]))

    yield item(
        "kind",
        "another kind in the object than in its entry",
        Stored(2, content, edits={"object": set_at(4, b"\3")}),
        "4.8",
    )
    yield item("header", "an object of 15 bytes", Stored(2, content, edits={"object": lambda d: d[:15]}))
    yield item(
        "content_short", "raw content that is a byte short", Stored(2, content, edits={"object": lambda d: d[:-1]})
    )
    yield item(
        "content_long", "raw content that is a byte too long", Stored(2, content, edits={"object": lambda d: d + b"\0"})
    )
    yield item(
        "frame",
        "a byte after the frame of an object",
        Stored(2, content, zstd=True, edits={"object": lambda d: d + b"\0"}),
        "2.5",
    )
    short = Stored(2, content, zstd=True, edits={"object": lambda d: d[:16] + frame(content[:-1])})
    yield item("frame_size", "a frame of one byte less than content_bytes", short, "2.5")
    yield bad(
        "attachment_cut",
        "corrupt",
        "5",
        "an attachment whose content is a byte short",
        write_file([simple()], [Stored(1, b"a note", edits={"object": lambda d: d[:-1]})], more={3: {0: "note"}}),
    )
    yield bad(
        "object_unused",
        "checksum",
        "4.8",
        "an embedded object that nothing names has another digest",
        changed("object_entry:0", set_at(0, bytes(32)), simple(), objects=[Stored(1, b"a note")]),
    )
