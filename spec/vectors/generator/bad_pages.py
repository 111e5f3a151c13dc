"""Bad stores: page records, pages, plans, placements and deletions (format.md 8.2 to 8.5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .bad_files import Change, set_at
from .bad_stores import damaged, folder, simple, void, with_edit
from .columns import Column, float_bits, label, score, tokens
from .datafile_writer import write_file
from .good_stores import file_of, shard, small
from .primitives import digest, flip, metadata, packed, u16, u32, u64
from .store_writer import Files, Page, Shard, Version
from .vector import Vector, bad
from .zframe import long_repeat


def vectors() -> Iterator[Vector]:
    """Make the vectors of this module."""
    yield from _page_records()
    yield from _pages()
    yield from _placements()
    yield from _deletions()


def _page_records() -> Iterator[Vector]:
    def record(name: str, rule: str, comment: str, at: int, new: bytes) -> Vector:
        return bad(f"page_record_{name}", "corrupt", rule, comment, with_edit("record", set_at(at, new), of=void))

    yield record("flags", "8.2", "a reserved flag", 108, u32(3 | 8))
    yield record("samples", "8.2", "another number of samples", 112, u64(3))
    yield record("deleted", "8.2", "a deleted sample without deletions", 120, u64(1))
    yield record("values", "8.2", "another number of values", 128, u64(4))
    yield record("first_id", "8.2", "another lowest id", 136, u64(1))
    yield record("last_id", "8.2", "another highest id", 144, u64(2))
    yield record("shards", "8.3", "another number of shards", 152, u32(2))
    yield record("spans", "8.4", "another number of spans", 156, u32(2))
    yield record("deletion_bytes", "8.2", "bytes of deletions without the flag", 104, u32(1))


def _pages() -> Iterator[Vector]:
    outside = void(inline=False)
    yield bad(
        "page_digest", "checksum", "8.3", "a bit of a page flipped", damaged("pages/", lambda d: flip(d, -1), outside)
    )
    yield bad(
        "plan_digest", "checksum", "8.3", "a bit of a plan flipped", damaged("plans/", lambda d: flip(d, -1), outside)
    )
    yield bad("page_cut", "truncated", "2.7", "a page is one byte short", damaged("pages/", lambda d: d[:-1], outside))
    yield bad(
        "page_inline_digest",
        "checksum",
        "8.3",
        "an inline page is not the one of its record",
        with_edit("record", lambda d: flip(d, 0), of=void),
    )
    yield bad("page_major", "unsupported", "12.1", "major version 2", with_edit("page", set_at(8, u16(2)), of=void))
    yield bad(
        "page_magic",
        "corrupt",
        "8.3",
        "a plan in the place of a page",
        with_edit("page", set_at(0, b"TOKSPLAN"), of=void),
    )
    yield bad("page_encoding", "corrupt", "8.3", "encoding 2", with_edit("page", set_at(12, b"\2"), of=void))
    yield bad(
        "page_reserved", "corrupt", "8.3", "a reserved byte is set", with_edit("page", set_at(15, b"\1"), of=void)
    )
    yield bad(
        "page_content_bytes", "corrupt", "8.3", "another content_bytes", with_edit("page", set_at(16, u64(1)), of=void)
    )
    large = long_repeat(0, 2**26 + 1)
    version = void()
    version.pages[0].edits["plan"] = lambda _: b"TOKSPLAN" + u16(1) + u16(0) + b"\1\0\0\0" + u64(2**26 + 1) + large
    yield bad("limit_manifest_part", "corrupt", "11", "a plan of 2^26 + 1 bytes after decompression", folder(version))
    wide = void(inline=False)
    wide.pages[0].edits["page_content"] = lambda d: b"\xde\0\x12" + d[3:] + metadata(128) + metadata(bytes(2**19))
    yield bad("limit_page", "corrupt", "11", "a page of more than 512 KiB", folder(wide), b"\0")
    column = tokens(0, "tokens", 100, [], optional=True)
    many = Version(1, [column], [Page([Shard(0, [], {}) for _ in range(1025)], placed=set(), zstd=True)], 0)
    yield bad("limit_shards", "corrupt", "11", "1,025 shards in a page", folder(many))
    yield bad(
        "shard_cut",
        "truncated",
        "2.7",
        "a data file is one byte shorter than its page says",
        damaged("data/", lambda d: d[:-1]),
    )
    yield bad(
        "shard_trailing",
        "corrupt",
        "8.3",
        "a data file is one byte longer than its page says",
        damaged("data/", lambda d: d + b"\0"),
    )
    file = small(1, [[1, 2], [3]])
    whole = digest(file.data)
    yield bad(
        "shard_digest",
        "checksum",
        "8.3",
        "another digest of a data file in its page",
        with_edit("page_content", lambda d: d.replace(whole, bytes(32))),
    )
    index = u64(file.index_checksum)
    yield bad(
        "shard_index_checksum",
        "checksum",
        "8.3",
        "another index checksum in the page",
        with_edit("page_content", lambda d: d.replace(index, bytes(8))),
    )
    tail, moved = packed([file.tail_offset]), packed([file.tail_offset + 8])
    yield bad(
        "shard_tail_offset",
        "corrupt",
        "8.3",
        "another tail offset in the page",
        with_edit("page_content", lambda d: d.replace(tail, moved, 1)),
    )
    other = write_file(file.columns, file_id=bytes(range(0xC0, 0xD0)))
    stranger = simple()
    stranger.pages[0].shards[0].place[0] = (_as(other, file.file_id), 0)
    yield bad("shard_file_id", "corrupt", "4.2", "a data file has another file id than its page says", folder(stranger))
    absent = void().schema
    twice = Version(1, absent, [Page([Shard(2, [(0, 2)], {}), Shard(1, [(1, 1)], {})])], 9)
    yield bad("sample_id_twice", "corrupt", "7.2", "two samples have one id", folder(twice))
    runs = Version(1, absent, [Page([Shard(2, [(0, 1)], {})])], 9)
    yield bad("id_runs", "corrupt", "8.3", "the id runs of a shard have too few samples", folder(runs))
    for name, key, values in (("blocks", 3, [2]), ("samples", 4, [1]), ("values", 5, [2]), ("lead", 6, [1])):
        old = bytes([key, 0xC4, 10]) + packed([{3: 1, 4: 2, 5: 3, 6: 0}[key]])
        new = bytes([key, 0xC4, 10]) + packed(values)
        yield bad(
            f"plan_{name}", "corrupt", "8.4", f"a plan counts other {name}", with_edit("plan_content", _swap(old, new))
        )
    yield bad(
        "plan_primary",
        "corrupt",
        "8.4",
        "a plan for another column",
        with_edit("plan_content", _swap(b"\x86\1\0", b"\x86\1\1"), of=void),
    )
    yield bad(
        "plan_trailing",
        "corrupt",
        "2.3",
        "a byte after a packed array in metadata",
        with_edit("plan_content", _swap(b"\6\xc4\x0a" + packed([0]), b"\6\xc4\x0b" + packed([0]) + b"\0"), of=void),
    )


def _swap(old: bytes, new: bytes) -> Change:
    def change(data: bytes) -> bytes:
        if data.count(old) != 1:
            raise ValueError(f"{old.hex()} is there {data.count(old)} times")
        return data.replace(old, new)

    return change


def _as(file: Any, file_id: bytes) -> Any:
    return replace(file, file_id=file_id)


def _placements() -> Iterator[Vector]:
    def store(schema: list[Column], place: dict[int, Any], file: Any) -> Files:
        return folder(Version(1, schema, [Page([Shard(2, [(0, 2)], {0: (file, 0)} | place)])], 2))

    file = small(1, [[1, 2], [3]])
    quality = score(1, "quality", [0.5, 1.0])
    two = [*file.columns, quality]
    yield bad("column_absent", "corrupt", "8.3", "a column that is not optional is absent", store(two, {}, file))
    added = file_of(2, [score(1, "quality", [0.5, 1.0])])
    yield bad(
        "column_not_in_file",
        "corrupt",
        "8.3",
        "the page finds a column in a file that does not have it",
        store(two, {1: (_with(file, quality), 0)}, file),
    )
    far = Shard(2, [(0, 2)], {0: (file, 0), 1: (added, 1)})
    far_schema = [*file.columns, score(1, "quality", [0.5, 1.0, 1.0])]
    yield bad(
        "rows_outside_file",
        "corrupt",
        "8.3",
        "a shard begins too late in its file",
        folder(_far(far_schema, far, added)),
    )
    kinds = [*file.columns, label(1, "quality", [], 3)]
    yield bad(
        "column_type_differs",
        "corrupt",
        "4.7",
        "the schema has a column as a label, its file as a score",
        store(kinds, {1: (_retyped(added, kinds[1]), 0)}, file),
    )
    version = Version(1, two, [Page([Shard(2, [(0, 2)], {0: (file, 0), 1: float_bits(0.5, 11)})])], 2)
    version.pages[0].edits["page_content"] = _shorter
    yield bad("constant_cut", "corrupt", "8.3", "a constant is one byte short", folder(version))


def _shorter(data: bytes) -> bytes:
    whole = b"\x08\xc4\x04" + b"\0\0\0\x3f"
    return _swap(whole, b"\x08\xc4\x03" + b"\0\0\0")(data)


def _with(file: Any, column: Column) -> Any:
    return replace(file, columns=[*file.columns, column])


def _retyped(file: Any, column: Column) -> Any:
    return replace(file, columns=[replace(column, samples=[[0], [0]], blocks=file.columns[0].blocks)])


def _far(schema: list[Column], part: Shard, added: Any) -> Version:
    part.place[1] = (replace(added, columns=[schema[1]]), 1)
    return Version(1, schema, [Page([part])], 2)


def _deletions() -> Iterator[Vector]:
    def gone(
        name: str, rule: str, comment: str, deleted: dict[int, list[tuple[int, int]]], kind: str = "corrupt"
    ) -> Vector:
        file = small(1, [[1, 2], [3], [4, 5, 6], []])
        version = Version(1, list(file.columns), [Page([shard(file, 0)], deleted)], 4, "delete")
        return bad(f"deletions_{name}", kind, rule, comment, folder(version))

    yield gone("touch", "8.5", "two runs touch", {0: [(0, 1), (1, 1)]})
    yield gone("order", "8.5", "runs descend", {0: [(2, 1), (0, 1)]})
    edits = {
        "outside": (_swap(b"\3\xc4\x0a" + packed([1]), b"\3\xc4\x0a" + packed([3])), "a run ends outside its shard"),
        "values": (_swap(b"\4\xc4\x0a" + packed([2]), b"\4\xc4\x0a" + packed([1])), "another number of deleted values"),
        "samples_left": (
            _swap(b"\5\xc4\x0a" + packed([1]), b"\5\xc4\x0a" + packed([2])),
            "another number of samples left",
        ),
        "values_left": (
            _swap(b"\6\xc4\x0a" + packed([1]), b"\6\xc4\x0a" + packed([2])),
            "another number of values left",
        ),
    }
    for name, (change, comment) in edits.items():
        yield bad(
            f"deletions_{name}",
            "corrupt",
            "8.5",
            comment,
            with_edit("deletions_content", change, deleted={0: [(0, 1)]}),
        )
    flipped = damaged("deletions/", lambda d: flip(d, -1), void(deleted={0: [(0, 1)]}))
    yield bad("deletions_digest", "checksum", "8.3", "a bit of deletions flipped", flipped)
