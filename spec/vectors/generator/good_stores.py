"""Good stores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .columns import RANKS, ZSTD, Block, Column, Table, float_bits, label, score, text, tokens
from .datafile_writer import Stored, Written, write_file
from .expected import of_store
from .primitives import flip
from .store_writer import Files, Page, Shard, Version, json_file, write_store
from .vector import Vector, good

TOKENIZER = Stored(1, b'{"model": "none"}', embedded=False)


def shard(file: Written, ids: int | list[tuple[int, int]]) -> Shard:
    """Make a shard of a whole file."""
    runs = ids if isinstance(ids, list) else [(ids, file.rows)] if file.rows else []
    return Shard(file.rows, runs, {column.id: (file, 0) for column in file.columns})


def file_of(number: int, columns: Sequence[Column], objects: Sequence[Stored] = (), **more: Any) -> Written:
    """Write a file with the id of its number."""
    return write_file(columns, objects, file_id=bytes([0xF0, number] * 8), **more)


def small(number: int, samples: list[list[int] | None]) -> Written:
    """Write a file of tokens."""
    return file_of(number, [tokens(0, "tokens", 100, samples)])


def first_and_second() -> list[Version]:
    """Make two versions: a shard, and another one appended."""
    a, b = small(1, [[1, 2, 3], [], [4]]), small(2, [[5], [6, 7]])
    one = Version(1, list(a.columns), [Page([shard(a, 0)])], 3, "create", 3)
    two = Version(2, list(a.columns), [Page([shard(a, 0), shard(b, 3)])], 5, "append", 2)
    return [one, two]


def vectors() -> Iterator[Vector]:
    """Make the vectors of this module."""
    yield from _versions()
    yield from _parts()
    yield from _columns()


def _one(name: str, spec: str, comment: str, version: Version, more: Files | None = None) -> Vector:
    return good(name, spec, comment, write_store([version], more=more), of_store(version))


def _versions() -> Iterator[Vector]:
    schema = [tokens(0, "tokens", 100, []), score(1, "quality", [], optional=True)]
    yield _one("store_empty", "8.1", "a version without pages", Version(1, list(schema), [], 0, "create"))
    both = first_and_second()
    files = write_store(both)
    yield good("store_newest", "3", "two versions, the newest is read", files, of_store(both[1]))
    yield good("store_version_1", "3", "two versions, the older is asked for", files, of_store(both[0]), version=1)
    column = tokens(0, "tokens", 100, [], optional=True)
    both = [Version(i, [column], [Page([Shard(i, [(0, i)], {})])] if i > 1 else [], i) for i in (1, 2)]
    files = write_store(both)
    yield good(
        "store_stale_hint", "3", "the hint is one version behind", write_store(both, latest=1), of_store(both[1])
    )
    yield good("store_no_hint", "3", "there is no hint", write_store(both, latest=0), of_store(both[1]))
    damaged = write_store(both, more={"latest": flip(files["latest"], -4)})
    yield good("store_damaged_hint", "3", "the hint is damaged", damaged, of_store(both[1]))
    wide = json_file(
        {
            "another": "member",
            "format": "tokstore",
            "number": 12,
            "store": bytes(range(0x10, 0x20)).hex(),
            "version": "1.4",
        }
    )
    strangers: Files = {
        "tokstore.json": b"\n \t" + wide.replace(b", ", b" ,\n"),
        "README": b"mine",
        "data/.ab.tmp": b"half",
        "manifests/.x.tmp": b"h",
        "views/mine/view": b"later",
        "parts/of mine.tsp": b"no part: the name has a space",
    }
    yield good(
        "store_strangers",
        "3",
        "files of somebody else, half a write; spaces and unknown members in JSON",
        write_store(both, more=strangers),
        of_store(both[1]),
    )
    last = first_and_second()[1]
    last.more = {
        13: '{"licence": "CC0"}',
        14: {0: ["begin", 1], 1: ["v1", 2]},
        15: {0: [bytes(32), 77]},
        17: bytes(range(32)),
        128: "ignored",
    }
    last.attachments = [("tokenizer.json", TOKENIZER), ("notes.txt", Stored(1, b"a note", embedded=False, zstd=True))]
    last.minor, last.features = 3, (4, 8, 0)
    yield good(
        "store_everything",
        "8.1",
        "every optional key of a root, a greater minor version and mild features",
        write_store([both[0], last]),
        of_store(last, tags={"begin": 1, "v1": 2}),
    )


def _parts() -> Iterator[Vector]:
    files = [small(i, [[i], [i, i]]) for i in range(3)]
    schema = list(files[0].columns)
    pages = [Page([shard(files[0], 0), shard(files[1], 2)], inline=False, zstd=True), Page([shard(files[2], 4)])]
    yield _one("store_pages", "8.3", "a page and plan as zstd files, and an inline one", Version(1, schema, pages, 6))
    nothing = small(5, [])
    page = Page([shard(nothing, 0), shard(files[1], 0), shard(nothing, 2)])
    yield _one(
        "store_empty_shard", "8.3", "shards without samples have no ids and no spans", Version(1, schema, [page], 2)
    )
    void = small(6, [[], [], []])
    yield _one(
        "store_no_values",
        "7.3",
        "a shard of empty samples has one span without blocks",
        Version(1, schema, [Page([shard(void, 0)])], 3),
    )
    page = Page([shard(small(7, [[i] for i in range(6)]), [(10, 2), (3, 1), (70, 3)])])
    yield _one("store_id_runs", "7.2", "a compacted shard keeps its ids as runs", Version(1, schema, [page], 100))
    deleted = Page([shard(small(8, [[i] * i for i in range(8)]), 0), shard(files[2], 8)], {0: [(0, 1), (3, 2), (7, 1)]})
    yield _one(
        "store_deletions",
        "8.5",
        "deleted samples have no position and keep nobody's id",
        Version(1, schema, [deleted], 10, "delete"),
    )
    gone = Page([shard(files[2], 0)], {0: [(0, 2)]})
    yield _one("store_all_deleted", "8.5", "every sample is deleted", Version(1, schema, [gone], 2, "delete"))
    table = Table([9, 3, 5])
    shared = Stored(2, table.content(), embedded=False)
    own = Stored(2, Table([1, 2]).content())
    a = file_of(9, [tokens(0, "tokens", 100, [[9, 3], [5, 50]], RANKS, ZSTD, table)], [shared])
    b = file_of(10, [tokens(0, "tokens", 100, [[3], [9]], RANKS, 0, table)], [shared])
    c = file_of(11, [tokens(0, "tokens", 100, [[1, 2, 2]], RANKS, 0, Table([1, 2]))], [own])
    version = Version(1, list(a.columns), [Page([shard(a, 0), shard(b, 2), shard(c, 4)])], 5)
    yield _one("store_shared_object", "4.8", "two files share an object, a third embeds its own", version)


def _columns() -> Iterator[Vector]:
    base = [small(i, [[i], [i, i]]) for i in (20, 21)]
    quality = score(1, "quality", [0.5, None, 0.25, -1.0], optional=True, ranges=True)
    added = file_of(22, [quality])
    shards = [shard(base[0], 0), shard(base[1], 2)]
    for i, part in enumerate(shards):
        part.place[1] = (added, 2 * i)
    later = shard(small(23, [[1], [2]]), 4)
    constant = shard(small(24, [[3]]), 6)
    constant.place[1] = float_bits(0.75, 11)
    schema = [*base[0].columns, quality, label(5, "kind", [], 3, optional=True, ranges=True)]
    version = Version(1, schema, [Page([*shards, later, constant], placed={0, 1})], 7, "add_column")
    yield _one(
        "store_added_column", "8.3", "one file holds a column of two shards; absent, constant, and in no page", version
    )
    marked = score(0, "quality", [1.0, 2.0], ranges=True, primary=True)
    captions = text(1, "caption", ["a", "bcd"], ranges=True)
    joined = [shard(file_of(29, [marked]), 0)]
    joined[0].place[1] = (file_of(30, [captions]), 0)
    version = Version(1, [marked, captions], [Page(joined)], 2, "add_column")
    yield _one("store_primary", "6.2", "a marked column stays the primary one beside a ragged one", version)
    ids = tokens(1, "tokens", 100, [[1], [2, 3]])
    joined = [shard(file_of(31, [marked]), 0)]
    joined[0].place[1] = (file_of(32, [ids]), 0)
    version = Version(1, [marked, ids], [Page(joined)], 2, "add_column")
    yield _one("store_primary_tokens", "6.2", "a marked column stays the primary one beside tokens", version)
    full = [tokens(0, "tokens", 100, [[1], [2]]), score(1, "old", [1.0, 2.0]), text(2, "body", ["a", "b"], ranges=True)]
    file = file_of(25, full)
    renamed = text(2, "content", [], ranges=True)
    version = Version(1, [full[0], renamed], [Page([shard(file, 0)], dropped=[full[1]])], 2, "drop_column", more={8: 9})
    yield _one(
        "store_dropped_column", "6.1", "a column is gone and another has a new name; the file knows neither", version
    )
    strange = Column(1, "strange", 40, {}, 9, 3, False, False, [[1], [2]], [Block(2, 0, b"whatever")])
    file = file_of(26, [full[0], strange])
    version = Version(1, list(file.columns), [Page([shard(file, 0)])], 2)
    yield good(
        "store_unknown_type",
        "6.1",
        "a column of an unknown type stays listed",
        write_store([version]),
        of_store(version, refused=["strange"]),
    )
    words = text(0, "body", ["b", "a", None, "c" * 40], optional=True, ranges=True)
    version = Version(1, [words], [Page([shard(file_of(27, [words]), 0)])], 4)
    yield _one("store_text", "6.2", "the primary column is text", version)
    scores = score(0, "quality", [1.0, 2.0, 3.0], ranges=True)
    version = Version(1, [scores], [Page([shard(file_of(28, [scores]), 0)])], 3)
    yield _one("store_scores", "7.3", "the primary column has fixed shape: values are rows", version)
