"""Bad files: frames, codecs, objects (format.md 2.5, 5, codecs.md)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .bad_files import changed, flip_at, set_at, simple
from .columns import DICTIONARY, LEB128, RANKS, THREE, ZSTD, Block, Column, Table, label, score, text, tokens
from .datafile_writer import Stored, write_file
from .primitives import packed, put, u16, u32, u64
from .vector import Vector, bad
from .zframe import MAGIC, from_dictionary, header, long_repeat, raw

CODED = b"".join(map(u16, [1, 2, 3, 4, 5]))
TABLE = Table([7, 1, 4])


def vectors() -> Iterator[Vector]:
    """Make the vectors of this module."""
    yield from _frames()
    yield from _values()
    yield from _objects()


def with_block(
    stored: bytes, form: int, table: Table | None = None, objects: Sequence[Stored] | None = None, values: int = 5
) -> bytes:
    """Write a file of one block of tokens, stored as given."""
    column = tokens(0, "tokens", 100, [[1] * (values - 2), [], [1, 1]])
    column.samples = [[1, 2, 3][: values - 2], [], [4, 5]]
    column.blocks = [Block(values, form, stored)]
    column.object = 0 if table or objects else None
    return write_file([column], objects or ([Stored(2, table.content())] if table else [])).data


def _frames() -> Iterator[Vector]:
    def frame(name: str, comment: str, stored: bytes) -> Vector:
        return bad(f"frame_{name}", "corrupt", "2.5", comment, with_block(stored, ZSTD))

    good = header(10) + raw(CODED)
    yield frame("too_large", "the frame holds one byte more than the values", header(11) + raw(CODED + b"\0"))
    yield frame("too_small", "the frame holds one byte less than the values", header(9) + raw(CODED[:9]))
    yield frame("size_lies", "the frame holds 9 bytes and says 10", header(10) + raw(CODED[:9]))
    yield frame("size_huge", "the frame says 2^40 bytes", MAGIC + b"\xe0" + u64(2**40) + raw(CODED))
    yield frame("no_size", "no content size", MAGIC + b"\x00\x00" + raw(CODED))
    yield frame(
        "window", "a content size and a window, so not a single segment", MAGIC + b"\x80\x00" + u32(10) + raw(CODED)
    )
    yield frame("dictionary_id", "a dictionary id", header(10, 1, b"\x05") + raw(CODED))
    yield frame("checksum", "a content checksum", header(10, 4) + raw(CODED) + u32(0x3A1F7C61))
    yield frame("reserved_bit", "a reserved bit of the frame header", header(10, 8) + raw(CODED))
    yield frame("unused_bit", "the unused bit of the frame header", header(10, 16) + raw(CODED))
    yield frame("trailing", "a byte after the frame", good + b"\0")
    yield frame("two", "two frames", header(4) + raw(CODED[:4]) + header(6) + raw(CODED[4:]))
    yield frame("skippable", "a skippable frame before it", bytes.fromhex("502a4d18") + u32(1) + b"x" + good)
    yield frame("cut", "the frame ends one byte early", good[:-1])
    yield frame(
        "block_type", "a block of the reserved type", header(10) + (10 << 3 | 3 << 1 | 1).to_bytes(3, "little") + CODED
    )
    yield frame("none", "no frame at all", CODED)
    column = simple()
    column.table_zstd = True
    yield bad(
        "frame_of_table",
        "corrupt",
        "4.7",
        "a table whose frame has another size than its entry says",
        changed("entry:0", lambda d: put(d, 64, u64(int.from_bytes(d[64:72], "little") + 1)), column),
    )


def _values() -> Iterator[Vector]:
    def block(name: str, rule: str, comment: str, stored: bytes, form: int, values: int = 5) -> Vector:
        return bad(
            name, "corrupt", rule, comment, with_block(stored, form, TABLE if form & 15 >= 2 else None, values=values)
        )

    wide = b"".join(map(u32, [1, 2, 3, 4, 100]))
    yield block("id_u16", "codecs.md 2", "id 100 of a vocabulary of 100", put(CODED, 8, u16(100)), 0)
    yield block("id_u32", "codecs.md 2", "id 100 of a vocabulary of 100", wide, 1)
    yield block(
        "id_escaped", "codecs.md 2", "an escaped id of 100", b"".join(map(u16, [0, 1, 2, 0, 65535])) + u32(100), RANKS
    )
    yield block("id_leb128", "codecs.md 2", "the code of id 100", bytes([0, 1, 2, 0, 103]), LEB128)
    yield block("id_three_bytes", "codecs.md 2", "the code of id 100", bytes([0, 0, 0] * 4 + [103, 0, 0]), THREE)
    yield block("rank", "codecs.md 2.2", "rank 3 of a table of 3", b"".join(map(u16, [0, 1, 2, 0, 3])), RANKS)
    yield block(
        "escape_missing",
        "codecs.md 2.2",
        "two escapes and one id",
        b"".join(map(u16, [0, 1, 2, 65535, 65535])) + u32(9),
        RANKS,
    )
    yield block(
        "escape_left",
        "codecs.md 2.2",
        "one escape and two ids",
        b"".join(map(u16, [0, 1, 2, 0, 65535])) + u32(9) * 2,
        RANKS,
    )
    yield block(
        "leb128_longer", "codecs.md 2.2", "a code of two bytes that fits in one", bytes([0, 1, 2, 0, 0x81, 0]), LEB128
    )
    yield block("leb128_six", "codecs.md 2.2", "a code of six bytes", bytes([0, 1, 2, 0, *[0x80] * 5, 1]), LEB128)
    yield block("leb128_few", "codecs.md 2.2", "four codes for five values", bytes([0, 1, 2, 0x80, 1]), LEB128)
    yield block("leb128_many", "codecs.md 2.2", "six codes for five values", bytes([0, 1, 2, 0, 1, 2]), LEB128)
    yield block("leb128_open", "codecs.md 2.2", "the last code does not end", bytes([0, 1, 2, 0, 1, 0x80]), LEB128)
    yield block("coded_short", "codecs.md 1", "nine bytes for five u16", CODED[:9], 0)
    yield block("coded_long", "codecs.md 1", "eleven bytes for five u16", CODED + b"\0", 0)
    yield block("leb128_size", "codecs.md 1", "26 coded bytes for five codes", bytes([0x80] * 26), LEB128)
    yield bad(
        "ranks_without_table",
        "corrupt",
        "codecs.md 2.2",
        "ranks in a column without an object",
        with_block(CODED, RANKS),
    )
    yield bad(
        "no_dictionary",
        "corrupt",
        "codecs.md 1",
        "packing 2 in a column without an object",
        with_block(header(10) + raw(CODED), DICTIONARY),
    )
    yield bad(
        "empty_dictionary",
        "corrupt",
        "codecs.md 1",
        "packing 2 with a dictionary of no bytes",
        with_block(header(10) + raw(CODED), DICTIONARY, TABLE),
    )
    trained = Table([1], bytes.fromhex("37a430ec") + CODED)
    stored = header(10) + raw(CODED)
    yield bad(
        "trained_dictionary",
        "corrupt",
        "2.5",
        "a dictionary that begins like a trained one",
        with_block(stored, DICTIONARY, trained),
    )
    stored = from_dictionary(CODED, CODED + b"xyz")
    yield bad(
        "dictionary_kind",
        "corrupt",
        "codecs.md 2.1",
        "tokens with an object of kind 3",
        with_block(stored, DICTIONARY, objects=[Stored(3, CODED + b"xyz")]),
    )
    yield bad(
        "object_of_numbers",
        "corrupt",
        "codecs.md 3",
        "a score with an object",
        write_file([score(0, "score", [0.5], object=0)], [Stored(3, b"abc")]),
    )
    yield bad(
        "label_classes", "corrupt", "registry.md 1", "label 3 of 3 classes", write_file([label(0, "kind", [0, 3], 3)])
    )
    yield bad(
        "score_nan",
        "corrupt",
        "registry.md 1",
        "NaN in a score that is not optional",
        write_file([score(0, "score", [0.5, float("nan")])]),
    )
    yield bad(
        "text_utf8",
        "corrupt",
        "codecs.md 4",
        "a sample that is not UTF-8",
        write_file([text(0, "body", [b"a\xff", "b"])]),
    )
    yield bad(
        "text_split",
        "corrupt",
        "codecs.md 4",
        "a character over the end of a sample",
        write_file([text(0, "body", [b"a\xc3", b"\xa9"])]),
    )
    yield bad(
        "text_surrogate",
        "corrupt",
        "codecs.md 4",
        "a surrogate in UTF-8",
        write_file([text(0, "body", [b"\xed\xa0\x80"])]),
    )


def _ranked() -> Column:
    return tokens(0, "tokens", 100, [[7, 1], [4]], RANKS, 0, TABLE)


def _objects() -> Iterator[Vector]:
    def item(name: str, comment: str, stored: Stored, rule: str = "5", kind: str = "corrupt") -> Vector:
        return bad(f"object_{name}", kind, rule, comment, write_file([_ranked()], [stored]))

    def table(name: str, comment: str, content: bytes, rule: str = "codecs.md 2.1") -> Vector:
        return bad(f"rank_table_{name}", "corrupt", rule, comment, write_file([_ranked()], [Stored(2, content)]))

    content = TABLE.content()
    yield bad(
        "object_digest",
        "checksum",
        "4.8",
        "another digest in the entry",
        changed("object_entry:0", flip_at(0), _ranked(), objects=[Stored(2, content)]),
    )
    for name, at, new in (
        ("content_bytes", 48, u64(len(content) + 1)),
        ("kind", 56, u16(3)),
        ("flags", 58, u16(3)),
        ("reserved", 63, b"\1"),
    ):
        yield bad(
            f"object_entry_{name}",
            "corrupt",
            "4.8",
            f"another {name} in the entry",
            changed("object_entry:0", set_at(at, new), _ranked(), objects=[Stored(2, content)]),
        )
    yield item(
        "absent",
        "the object is in no place that a file alone has",
        Stored(2, content, embedded=False),
        "4.8",
        "missing",
    )
    yield item("magic", "another magic", Stored(2, content, edits={"object": set_at(0, b"TOKX")}))
    yield item("encoding", "encoding 2", Stored(2, content, edits={"object": set_at(6, b"\2")}))
    yield item("byte", "a reserved byte is set", Stored(2, content, edits={"object": set_at(7, b"\1")}))
    yield item("attachment", "the object of a column is an attachment", Stored(1, content), "4.8")
    yield table("empty", "no entries", u32(0) + u32(0))
    yield table("twice", "an id stands twice, the second time without use", u32(4) + u32(0) + packed([7, 1, 4, 7]))
    yield table("vocabulary", "an id above the vocabulary, without use", u32(4) + u32(0) + packed([7, 1, 4, 100]))
    yield table("id", "an id of 2^32", u32(3) + u32(0) + packed([7, 1, 2**32]))
    yield table("trailing", "a byte after the dictionary", content + b"\0")
    yield table("short", "the dictionary ends one byte early", u32(3) + u32(4) + packed([7, 1, 4]) + b"abc")
    big = 2**20 + 1
    many = _Frame(2, u32(big) + u32(0) + b"\1\1" + u64(0), big - 1, 2)
    yield bad("limit_rank_table", "corrupt", "11", "2^20 + 1 entries", write_file([_ranked()], [many]))
    large = _Frame(2, u32(3) + u32(2**23 + 1) + packed([7, 1, 4]), 2**23 + 1, 0)
    yield bad("limit_dictionary", "corrupt", "11", "a dictionary of 2^23 + 1 bytes", write_file([_ranked()], [large]))
    huge = Stored(2, content, edits={"object": set_at(8, u64(2**30 + 1))})
    yield bad(
        "limit_object",
        "corrupt",
        "11",
        "content of 2^30 + 1 bytes",
        changed("object_entry:0", set_at(48, u64(2**30 + 1)), _ranked(), objects=[huge]),
    )


class _Frame(Stored):
    """An object of a few bytes and then one byte many times, as zstd."""

    def __init__(self, kind: int, start: bytes, times: int, byte: int) -> None:
        super().__init__(kind, start + bytes([byte]) * times, zstd=True)
        self.frame = long_repeat(byte, times, start)

    @property
    def data(self) -> bytes:
        """Give its stored bytes."""
        return b"TOKO" + u16(self.kind) + b"\1\0" + u64(len(self.content)) + self.frame
