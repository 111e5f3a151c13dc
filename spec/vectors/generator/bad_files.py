"""Bad files: the container, one failure each (format.md 4)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from .columns import Block, Column, label, score, text, tokens
from .datafile_writer import FILE_ID, Written, write_file
from .primitives import checksum, digest, flip, packed, put, u32, u64
from .vector import Vector, bad
from .zframe import long_repeat

Change = Callable[[bytes], bytes]


def simple() -> Column:
    """Make the column that most of these files have: one block of five ids below 100."""
    return tokens(0, "tokens", 100, [[1, 2, 3], [], [4, 5]])


def two_blocks() -> Column:
    """Make a column with two blocks of two ids."""
    return tokens(0, "tokens", 100, [[1, 2], [3, 4]], cuts=[2, 2])


def changed(stage: str, change: Change, *columns: Column, **more: Any) -> Written:
    """Write a file with one change."""
    return write_file(columns or (simple(),), edits={stage: change}, **more)


def set_at(at: int, new: bytes) -> Change:
    """Make a change that replaces bytes."""
    return lambda data: put(data, at, new)


def flip_at(at: int) -> Change:
    """Make a change that flips a bit."""
    return lambda data: flip(data, at)


def instead(new: bytes) -> Change:
    """Make a change that replaces everything."""
    return lambda data: new


def vectors() -> Iterator[Vector]:
    """Make the vectors of this module."""
    yield from _ends()
    yield from _index()
    yield from _entries()
    yield from _tables()
    yield from _rows()
    yield from _places()


def _ends() -> Iterator[Vector]:
    yield bad("header_magic", "corrupt", "4.2", "another magic", changed("header", set_at(0, b"NOTADATA")))
    yield bad("header_checksum", "checksum", "4.2", "a bit of the checksum flipped", changed("header+", flip_at(63)))
    yield bad("header_major", "unsupported", "12.1", "major version 2", changed("none", flip_at(0), major=2))
    yield bad(
        "header_feature",
        "unsupported",
        "12.2",
        "an unknown required feature",
        changed("none", flip_at(0), features=(0, 0, 1)),
    )
    yield bad("header_reserved", "corrupt", "4.2", "a reserved byte is set", changed("header", set_at(55, b"\1")))
    yield bad(
        "footer_magic",
        "truncated",
        "2.7",
        "no magic of a footer, as if the file were cut",
        changed("footer", set_at(48, b"NOTATAIL")),
    )
    yield bad("footer_checksum", "checksum", "4.11", "a bit of the checksum flipped", changed("footer+", flip_at(-1)))
    yield bad(
        "footer_file_bytes",
        "corrupt",
        "4.11",
        "the footer says one byte more",
        changed("footer", lambda d: put(d, 40, u64(int.from_bytes(d[40:48], "little") + 1))),
    )
    yield bad(
        "footer_index_offset",
        "corrupt",
        "4.11",
        "the index would end before the footer",
        changed("footer", lambda d: put(d, 16, u64(int.from_bytes(d[16:24], "little") - 8))),
    )
    whole = write_file([simple()]).data
    for name, size in (
        ("empty", 0),
        ("in_magic", 5),
        ("in_header", 63),
        ("after_header", 64),
        ("in_block", 70),
        ("half", len(whole) // 2),
        ("before_footer", len(whole) - 64),
        ("last_byte", len(whole) - 1),
    ):
        yield bad(f"cut_{name}", "truncated", "2.7", f"{size} of {len(whole)} bytes", whole[:size])
    yield bad(
        "trailing_byte", "truncated", "2.7", "a byte after the footer: the file does not end in one", whole + b"\0"
    )


def _index() -> Iterator[Vector]:
    yield bad("index_checksum", "checksum", "4.11", "a bit of the index flipped", changed("index+", flip_at(0)))
    yield bad("index_reserved", "corrupt", "4.6", "a reserved byte is set", changed("index", set_at(31, b"\1")))
    yield bad(
        "index_too_short",
        "corrupt",
        "4.6",
        "metadata_bytes is one too small",
        changed("index", lambda d: put(d, 16, u32(d[16] - 1))),
    )
    yield bad("no_columns", "corrupt", "4.6", "three rows of no column", write_file([], rows=3))
    yield bad("limit_samples", "corrupt", "11", "2^24 + 1 samples", _samples(2**24 + 1))
    a, b = tokens(0, "a", 10, [[1]]), tokens(1, "b", 10, [[1]])
    yield bad("column_order", "corrupt", "4.6", "column ids descend", write_file([b, a]))
    yield bad(
        "column_twice", "corrupt", "4.6", "two entries have one column id", write_file([a, tokens(0, "b", 10, [[1]])])
    )
    yield bad("record_missing", "corrupt", "4.9", "an entry has no record", write_file([a, b], more={1: [a.record()]}))
    other = a.record() | {3: 9, 4: {}}
    yield bad("record_type", "corrupt", "4.9", "record and entry differ in type", write_file([a], more={1: [other]}))
    yield bad(
        "attachment_number",
        "corrupt",
        "4.9",
        "an attachment names an object that is not there",
        write_file([a], more={3: {0: "x"}}),
    )


def _samples(count: int) -> Written:
    """Write a file of samples without values, whatever their number: their lengths have width 0."""
    made = hashlib.blake2b(digest_size=32)
    for at in range(0, count, 2**16):
        made.update(bytes(8 * min(2**16, count - at)))
    edits = {"lengths:0": instead(packed([0], 0, 0)), "entry:0": set_at(120, made.digest())}
    return write_file([tokens(0, "tokens", 100, [[]])], rows=count, edits=edits)


def _entries() -> Iterator[Vector]:
    def entry(
        name: str, rule: str, comment: str, at: int, new: bytes, *columns: Column, kind: str = "corrupt"
    ) -> Vector:
        return bad(f"entry_{name}", kind, rule, comment, changed("entry:0", set_at(at, new), *columns))

    yield entry("flags", "4.7", "a reserved flag is set", 8, u32(1 | 1 << 6))
    yield entry("reserved", "4.7", "a reserved byte is set", 159, b"\1")
    yield entry("rows", "4.7", "other rows than the index", 24, u64(2))
    yield entry("values", "4.4", "other values than the lengths", 32, u64(6))
    yield entry("dtype", "4.7", "a dtype that is not that of the type", 152, b"\3")
    yield entry("stored_bytes", "4.7", "another sum than that of the blocks", 112, u64(11))
    yield entry("object_without_flag", "4.7", "the number of an object without the flag", 44, u32(1))
    yield entry("object_number", "4.7", "an object beyond the last one", 8, u32(1 | 4))
    yield entry("not_ragged", "4.7", "tokens without the flag ragged", 8, u32(2))
    yield entry("blocks_limit", "11", "2^24 + 1 blocks", 40, u32(2**24 + 1))
    yield entry("table_limit", "11", "a table of 2^28 + 1 bytes", 64, u64(2**28 + 1))
    yield entry("rows_limit", "11", "a rows section of 2^28 + 1 bytes", 96, u64(2**28 + 1))
    yield entry("table_content", "4.7", "a raw table of other content_bytes", 64, u64(60))
    yield entry("values_digest", "10", "another values digest", 120, bytes(32), kind="checksum")
    yield entry(
        "rows_section_unflagged",
        "4.7",
        "a column of one value without validity has a rows section",
        88,
        u64(1),
        score(0, "score", [0.5]),
    )
    column = tokens(0, "tokens", 100, [[1], [2]], validity=True)
    yield bad(
        "entry_optional", "corrupt", "4.7", "validity bits of a column that is not optional", write_file([column])
    )


def _tables() -> Iterator[Vector]:
    def table(
        name: str, rule: str, comment: str, stage: str, change: Change, *columns: Column, kind: str = "corrupt"
    ) -> Vector:
        return bad(name, kind, rule, comment, changed(stage, change, *columns))

    yield table("table_checksum", "4.7", "a bit of the table flipped", "table+:0", flip_at(-1), kind="checksum")
    yield table("table_trailing", "4.5", "a byte after the table", "table:0", lambda d: d + b"\0")
    yield table("table_short", "4.5", "the table ends one byte early", "table:0", lambda d: d[:-1])
    yield table("packed_form", "2.3", "form 2", "values:0", set_at(0, b"\2"))
    yield table("packed_width", "2.3", "width 9", "values:0", instead(b"\0\x09" + u64(5) + bytes(9)))
    yield table(
        "packed_negative",
        "2.3",
        "a negative length, and the sum is right",
        "lengths:0",
        instead(b"\0\1" + b"\xff" * 8 + b"\0\5\3"),
    )
    yield table("packed_short", "2.3", "the lengths end one byte early", "rows:0", lambda d: d[:-1])
    yield table("first_row", "4.5", "a block says that it begins in row 2", "first_row:0", instead(packed([2])))
    yield table("block_values_zero", "4.5", "a block without values", "values:0", instead(packed([0, 4])), two_blocks())
    yield table(
        "block_values_sum", "4.5", "the blocks have one value more than the column", "values:0", instead(packed([6]))
    )
    yield table("form_range", "4.5", "a form byte of 256", "form:0", instead(packed([256])))
    yield table("form_reserved", "codecs.md 1", "a reserved bit of the form byte", "form:0", instead(packed([64])))
    yield table("form_packing", "codecs.md 1", "packing 3", "form:0", instead(packed([48])))
    yield table("form_value", "codecs.md 1", "value form 5 of tokens", "form:0", instead(packed([5])))
    yield table(
        "form_packing_of_codec",
        "codecs.md 3",
        "packing 2 of numbers",
        "form:0",
        instead(packed([32])),
        score(0, "score", [0.5]),
    )
    yield table(
        "form_value_of_codec",
        "codecs.md 4",
        "value form 1 of text",
        "form:0",
        instead(packed([1])),
        text(0, "body", ["a"]),
    )
    some = score(0, "score", [0.5, None, float("nan")], optional=True, ranges=True)
    yield table(
        "missing_count", "4.5", "a block says that two rows are missing", "missing:0", instead(packed([2])), some
    )
    yield table("nan_count", "4.5", "a block says that it has no NaN", "nan:0", instead(packed([0])), some)
    yield table("range_value", "4.5", "a range without the value", "ranges:0", set_at(1, u32(0x3F800000) * 2), some)
    yield table(
        "range_zero",
        "4.5",
        "a minimum of +0.0",
        "ranges:0",
        set_at(1, bytes(4)),
        score(0, "score", [0.0, 1.0], ranges=True),
    )
    yield table("range_absent", "4.5", "bytes of a range without its bit", "ranges:0", set_at(0, b"\0"), some)
    yield table("range_bits", "4.5", "a presence bit past the last block", "ranges:0", set_at(0, b"\3"), some)
    cut_text = text(0, "body", ["c" * 40], ranges=True)  # presence, two packed lengths of 10 bytes, 32 bytes twice
    for name, comment, at, new in (
        ("minimum", "a text minimum above the text", 21, b"d"),
        ("maximum", "a cut text maximum that was not raised", 84, b"c"),
        ("long", "a text minimum of 33 bytes", 3, b"\x21"),
        ("absent", "bytes of a text range without its bit", 0, b"\0"),
    ):
        yield table(f"range_text_{name}", "4.5", comment, "ranges:0", set_at(at, new), cut_text)
    long = tokens(0, "tokens", 10, [[1] * (2**20 + 1)])
    long.blocks = [Block(2**20 + 1, 16, long_repeat(0, 2**21 + 2))]
    long.samples = [[0] * (2**20 + 1)]
    yield bad("limit_block_values", "corrupt", "11", "2^20 + 1 values in a block", write_file([long]))


def _rows() -> Iterator[Vector]:
    yield bad("rows_checksum", "checksum", "4.7", "a bit of the rows section flipped", changed("rows+:0", flip_at(-1)))
    yield bad("rows_trailing", "corrupt", "4.4", "a byte after the lengths", changed("rows:0", lambda d: d + b"\0"))
    yield bad(
        "lengths_sum",
        "corrupt",
        "4.4",
        "the lengths add up to one more",
        changed("lengths:0", instead(packed([3, 0, 3]))),
    )
    column = tokens(0, "tokens", 100, [[1, 2, 3], None, [4, 5]], optional=True)
    yield bad(
        "validity_bits", "corrupt", "4.4", "a bit past the last row", changed("validity:0", set_at(0, b"\x0d"), column)
    )
    yield bad(
        "missing_with_length",
        "corrupt",
        "4.4",
        "a missing row has a length",
        changed("validity:0", set_at(0, b"\x04"), column),
    )
    some = label(0, "kind", [1, 2, 3], 5, optional=True)
    file = write_file(
        [some],
        edits={"validity:0": set_at(0, b"\5"), "missing:0": instead(packed([1])), "entry:0": _digest_of([1, 2, 3], 5)},
    )
    yield bad("missing_with_value", "corrupt", "4.4", "the value of a missing row is not zero", file)


def _digest_of(values: list[int], validity: int) -> Change:
    return set_at(120, digest(bytes(values) + bytes([validity])))


def _places() -> Iterator[Vector]:
    yield bad("block_checksum", "checksum", "4.5", "a bit of a block flipped", changed("block+:0:0", flip_at(0)))
    pair = two_blocks()
    stored = [block.stored for block in pair.blocks]
    swapped = write_file([pair], edits={"block+:0:0": instead(stored[1]), "block+:0:1": instead(stored[0])})
    yield bad("blocks_swapped", "checksum", "2.2", "two blocks of one size changed places", swapped)
    twins = tokens(0, "tokens", 100, [[1, 2], [1, 2]], cuts=[2, 2])
    nonce = int.from_bytes(FILE_ID[:8], "little")
    sums = b"".join(u64(checksum(twins.blocks[0].stored, nonce + b)) for b in (1, 0))
    yield bad(
        "blocks_swapped_sums",
        "checksum",
        "2.2",
        "equal blocks with each other's checksums",
        changed("checksums:0", instead(sums), twins),
    )
    foreign = simple()
    sums = u64(checksum(foreign.blocks[0].stored, nonce ^ 1))
    yield bad(
        "block_of_another_file",
        "checksum",
        "2.2",
        "block and checksum of a file with another id",
        changed("checksums:0", instead(sums), foreign),
    )
    sums = u64(checksum(foreign.blocks[0].stored, nonce + 2**32))
    yield bad(
        "block_of_another_column",
        "checksum",
        "2.2",
        "block and checksum of column 1",
        changed("checksums:0", instead(sums), foreign),
    )
    other = write_file([simple()], file_id=bytes(range(0xB0, 0xC0))).data
    yield bad(
        "parts_of_another_file",
        "checksum",
        "2.2",
        "the header of another file",
        other[:64] + write_file([simple()]).data[64:],
    )
    yield bad(
        "padding",
        "corrupt",
        "4.3",
        "a byte of padding is not zero",
        changed("pad:0:1", set_at(-1, b"\1"), two_blocks()),
    )
    yield bad(
        "alignment", "corrupt", "4.3", "a raw block of tokens at a multiple of 8", changed("pad:0:0", instead(bytes(8)))
    )
    yield bad(
        "alignment_skipped", "corrupt", "4.3", "a block after 64 bytes too many", changed("pad:0:0", instead(bytes(64)))
    )
    yield bad(
        "hole",
        "corrupt",
        "4.1",
        "eight bytes between the last block and the copy",
        changed("blocks", lambda d: d + bytes(8)),
    )
    yield bad(
        "overlapping_blocks",
        "corrupt",
        "11",
        "two blocks in one place",
        changed("offset:0", instead(packed([64, 64])), twins),
    )
    first, second = [block.stored for block in two_blocks().blocks]
    turned = {"block+:0:0": instead(second), "block+:0:1": instead(first), "offset:0": instead(packed([128, 64]))}
    yield bad(
        "blocks_descend",
        "corrupt",
        "4.3",
        "the blocks of a column in another order than their values",
        write_file([two_blocks()], edits=turned),
    )
    yield bad(
        "block_outside",
        "corrupt",
        "11",
        "a block beyond the end of the file",
        changed("offset:0", instead(packed([2**40]))),
    )
    yield bad("block_in_header", "corrupt", "11", "a block in the header", changed("offset:0", instead(packed([0]))))
    yield bad(
        "table_outside",
        "corrupt",
        "11",
        "a table beyond the end of the file",
        changed("entry:0", set_at(48, u64(2**63))),
    )
    yield bad("copy_differs", "corrupt", "4.10", "a bit of the copy flipped", changed("copy", flip_at(0)))
