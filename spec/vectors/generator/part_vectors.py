"""Staged parts: of new samples and of a column, and what a reader has to refuse in them (format.md 8.6)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .bad_files import Change
from .columns import Block, Column, Table, float_bits, score, tokens
from .datafile_writer import Stored
from .expected import of_part, of_store
from .good_stores import file_of, first_and_second, shard
from .primitives import Edits, checksum, digest, edited, flip, metadata, put, u16, u64
from .store_writer import (
    Files,
    Page,
    Version,
    column_totals,
    object_name,
    page_content,
    page_files,
    plan_content,
    primary,
    wrap,
    write_store,
)
from .vector import Vector, bad, good

PATH = "parts/00001.tsp"


@dataclass
class Part:
    """A staged part: the one page of `version`, begun when the version before that was the newest.

    `column` is the one that it is for, in a part of a column; `more` replaces keys, and None takes one away.
    """

    version: Version
    column: Column | None = None
    objects: list[bytes] = field(default_factory=list)
    more: dict[int, Any] = field(default_factory=dict)
    zstd: bool = False
    edits: Edits = field(default_factory=dict)

    def encode(self) -> bytes:
        """Write its file."""
        (page,), column = self.version.pages, primary(self.version.schema)
        if column is None:
            raise ValueError("a part needs a column")
        content: dict[int, Any] = {
            1: bytes(range(0x40, 0x50)),
            2: self.version.number - 1,
            3: wrap(b"TOKSPAGE", page_content(page, self.version.schema)),
            4: wrap(b"TOKSPLAN", plan_content(page, column)),
            5: {c.id: _totals(self.version, c) for c in self.version.schema},
            6: [c.record() for c in self.version.schema],
            7: b"".join(digest(data) for data in self.objects),
        }
        content |= {8: self.column.record()} if self.column is not None else {}
        content = {key: value for key, value in (content | self.more).items() if value is not None}
        raw = wrap(b"TOKSPART", metadata(content), self.zstd, self.edits, "part")
        return edited(self.edits, "part+", raw + u64(checksum(raw)))

    def files(self) -> Files:
        """Give its file, and those that it names."""
        data = {file.name: file.data for file in page_files(self.version.pages[0])}
        return data | {object_name(one): one for one in self.objects} | {PATH: self.encode()}


def _totals(version: Version, column: Column) -> dict[int, Any]:
    """Give the totals of a column, which have no ranges here."""
    return {key: value for key, value in column_totals(version, column).items() if key != 3}


def of_samples() -> Part:
    """Make a part of three samples in two shards, for the store of `first_and_second`."""
    a = file_of(40, [tokens(0, "tokens", 100, [[8, 9], []])])
    b = file_of(41, [tokens(0, "tokens", 100, [[7]])])
    return Part(Version(3, list(a.columns), [Page([shard(a, 0), shard(b, 2)])], 3))


def of_column(ids: list[tuple[int, int]] | None = None, wait: Column | None = None) -> Part:
    """Make a part with scores of samples 3, 0 and 1, in a file of its own."""
    column = wait or score(0, "quality", [0.25, 0.5, None], optional=True, ranges=True)
    file = file_of(42, [column])
    version = Version(3, [column], [Page([shard(file, ids or [(3, 1), (0, 2)])])], 5)
    return Part(version, score(0, "quality", [], optional=True, ranges=True))


def folder(part: Part) -> Files:
    """Write a store of two versions in which a part waits."""
    return write_store(first_and_second(), more=part.files())


def good_vectors() -> Iterator[Vector]:
    """Make the good vectors."""

    def of(name: str, comment: str, part: Part) -> Vector:
        parts = {"00001": of_part(part.version, part.column)}
        json = of_store(first_and_second()[1]) | {"parts": parts}
        return good(f"part_{name}", "8.6", comment, folder(part), json)

    yield of("samples", "a part of three samples in two shards", of_samples())
    brought = of_samples()
    table = Table([9, 3, 5])
    item = Stored(2, table.content(), embedded=False)
    file = file_of(43, [tokens(0, "tokens", 100, [[9, 3], [5, 50]], 2, 16, table)], [item])
    brought.version.schema, brought.version.pages = list(file.columns), [Page([shard(file, 0)])]
    brought.objects, brought.zstd, brought.more = [item.data], True, {128: "ignored"}
    yield of("object", "a part as zstd that came with an object", brought)
    yield of("column", "scores of three samples that the store has, one of them missing", of_column())
    yield of("vectors", "vectors that the commit will round wait as they were given", _vectors())


def _vectors() -> Part:
    """Make a part of exact vectors for a column of codec `vectors`."""
    rows = [[float_bits(x, 11) for x in row] for row in ([0.5, -1.0], [2.0, 0.0])]
    raw = b"".join(value.to_bytes(4, "little") for row in rows for value in row)
    more: dict[str, Any] = {"shape": [2], "ends": [2]}
    exact = Column(
        0, "place", 3, {1: 11, 2: 2, 3: [2], 4: 0}, 2, 11, False, True, list(rows), [Block(4, 0, raw)], **more
    )
    part = of_column([(1, 2)], exact)
    part.column = Column(
        0, "place", 3, {1: 11, 2: 2, 3: [2], 4: 2, 5: 0.125, 7: False}, 5, 11, False, True, [], [], **more
    )
    return part


def bad_vectors() -> Iterator[Vector]:
    """Make the bad vectors."""

    def of(name: str, kind: str, rule: str, comment: str, part: Part) -> Vector:
        return bad(f"part_{name}", kind, rule, comment, folder(part))

    def edit(name: str, kind: str, rule: str, comment: str, where: str, change: Change) -> Vector:
        part = of_samples()
        part.edits[where] = change
        return of(name, kind, rule, comment, part)

    def key(name: str, comment: str, part: Part | None = None, rule: str = "8.6", **more: Any) -> Vector:
        part = part or of_samples()
        part.more |= {int(key[1:]): value for key, value in more.items()}
        return of(name, "corrupt", rule, comment, part)

    yield edit("magic", "corrupt", "8.6", "the magic of a page", "part", lambda d: put(d, 0, b"TOKSPAGE"))
    yield edit("cut", "truncated", "2.7", "the part ends in its header", "part+", lambda d: d[:20])
    yield edit("checksum", "checksum", "8.6", "a bit of the checksum flipped", "part+", lambda d: flip(d, -1))
    yield edit("major", "unsupported", "12.1", "major version 2", "part", lambda d: put(d, 8, u16(2)))
    yield edit("encoding", "corrupt", "8.3", "encoding 2", "part", lambda d: put(d, 12, b"\2"))
    yield edit("reserved", "corrupt", "8.3", "a reserved byte is not zero", "part", lambda d: put(d, 13, b"\1"))
    yield key("unknown_key", "an unknown key below 128", rule="2.4", k9=0)
    yield key("missing_key", "no nonce", rule="2.4", k1=None)
    yield key("nonce", "a nonce of 15 bytes", k1=bytes(15))
    yield key("begun", "begun in version 0", k2=0)
    yield key("page", "the page is no page", k3=wrap(b"TOKSPLAN", b"\x80"))
    yield key("plan", "the plan counts another sample", k4=_other_plan())
    yield key("totals", "the totals count another value", k5={0: {1: 4, 2: 6, 4: 0, 5: 0}})
    yield key("totals_column", "totals of a column that the schema does not have", k5={1: {1: 3, 2: 6, 4: 0, 5: 0}})
    ranged = of_column()
    totals = column_totals(ranged.version, ranged.version.schema[0])
    yield key("totals_ranges", "totals with ranges", ranged, rule="2.4", k5={0: totals})
    yield key("object_cut", "half the digest of an object", k7=bytes(16))
    yield key("object_unknown", "an object that the page does not name", k7=bytes(32))
    shifted = of_samples()
    shifted.version.pages[0].shards[1].ids = [(3, 1)]
    yield of("ids", "corrupt", "8.6", "the sample ids of new samples leave one out", shifted)
    gone = {path: data for path, data in folder(of_samples()).items() if "f028" not in path}
    yield bad("part_missing_shard", "missing", "8.3", "a data file of a part is not there", gone)
    yield of("column_twice", "corrupt", "8.6", "two values of sample 1", of_column([(1, 1), (0, 2)]))
    two = of_column()
    file = file_of(44, [two.version.schema[0], score(1, "more", [1.0, 1.0, 1.0])])
    two.version.schema, two.version.pages = list(file.columns), [Page([shard(file, [(0, 3)])])]
    yield of("column_two", "corrupt", "8.6", "a part of a column with two columns", two)
    moved = score(1, "quality", [0.25, 0.5, None], optional=True)
    yield of("column_id", "corrupt", "8.6", "the column that holds the values has id 1", of_column(None, moved))
    named = of_column()
    named.column = score(1, "quality", [], optional=True)
    yield of("column_record_id", "corrupt", "8.6", "the column that the part is for has id 1", named)
    other = of_column()
    other.column = score(0, "quality", [], 12, optional=True)
    yield of("column_type", "corrupt", "8.6", "float32 for a column of float64", other)
    surely = of_column()
    surely.column = score(0, "quality", [])
    yield of("column_optional", "corrupt", "8.6", "optional values for a column that is not", surely)
    yield key("column_kind", "key 8 is no map", of_column(), rule="2.4", k8=[1])
    yield key(
        "column_key", "key 8 has an unknown key", of_column(), rule="2.4", k8=named.column.record() | {1: 0, 9: 0}
    )


def _other_plan() -> bytes:
    part = of_samples()
    page = part.version.pages[0]
    page.shards[1].samples = 1
    content = plan_content(page, part.version.schema[0])
    at = content.index(b"\x04\xc4") + 3  # key 4: samples that begin in each span
    return wrap(b"TOKSPLAN", put(content, at + 2, bytes([content[at + 2] + 1])))
