"""Bad stores: the small files, roots, and files that are not there (format.md 3, 8.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from .bad_files import Change, set_at
from .columns import RANKS, Table, tokens
from .datafile_writer import Stored
from .good_stores import file_of, shard, small
from .primitives import flip, put, u32
from .store_writer import Files, Page, Shard, Version, json_file, object_name, root_name, write_store
from .vector import Vector, bad

ROOT = root_name(1)
STORE = bytes(range(0x10, 0x20)).hex()


def simple(**page: Any) -> Version:
    """Make a version with one shard of two samples."""
    file = small(1, [[1, 2], [3]])
    return Version(1, list(file.columns), [Page([shard(file, 0)], **page)], 2, "create", 2)


def empty() -> Version:
    """Make a version without pages."""
    return Version(1, [tokens(0, "tokens", 100, [])], [], 0, "create")


def void(**page: Any) -> Version:
    """Make a version with one shard of two samples whose only column is absent, so that no data file is needed."""
    column = tokens(0, "tokens", 100, [], optional=True)
    return Version(1, [column], [Page([Shard(2, [(0, 2)], {})], **page)], 2, "create", 2)


def folder(version: Version | None = None, more: Files | None = None, without: str | None = None) -> Files:
    """Write a store of one version without a hint, and take files away whose path begins with `without`."""
    files = write_store([version or simple()], latest=0, more=more)
    return {path: data for path, data in files.items() if without is None or not path.startswith(without)}


def damaged(prefix: str, change: Change, version: Version | None = None) -> Files:
    """Write a store and change the one file whose path begins with `prefix`."""
    files = folder(version)
    (path,) = [path for path in files if path.startswith(prefix)]
    return files | {path: change(files[path])}


def with_edit(where: str, change: Change, **page: Any) -> Files:
    """Write a store with an edit of its page or root."""
    version = page.pop("of", simple)(**page)
    target = version.edits if where in ("body", "root", "root+") else version.pages[0].edits
    target[where] = change
    return folder(version)


def vectors() -> Iterator[Vector]:
    """Make the vectors of this module."""
    yield from _small_files()
    yield from _roots()
    yield from _missing()


def _small_files() -> Iterator[Vector]:
    def head(name: str, kind: str, rule: str, comment: str, data: bytes) -> Vector:
        return bad(f"store_json_{name}", kind, rule, comment, folder(empty(), {"tokstore.json": data}))

    good = json_file({"format": "tokstore", "store": STORE, "version": "1.0"})
    wrong = good.replace(b'"1.0"', b'"1.1"')
    yield head("checksum", "checksum", "2.6", "the checksum is that of other members", wrong)
    yield head("none", "corrupt", "2.6", "no JSON", good[:-3])
    yield head("twice", "corrupt", "2.6", "a member occurs twice", good.replace(b"{", b'{"format": "tokstore", '))
    yield head(
        "no_checksum",
        "checksum",
        "2.6",
        "no checksum",
        b'{"format": "tokstore", "store": "' + STORE.encode() + b'", "version": "1.0"}',
    )
    yield head(
        "format",
        "corrupt",
        "3",
        "the format of something else",
        json_file({"format": "other", "store": STORE, "version": "1.0"}),
    )
    yield head(
        "major",
        "unsupported",
        "12.1",
        "major version 2",
        json_file({"format": "tokstore", "store": STORE, "version": "2.0"}),
    )
    yield head(
        "store",
        "corrupt",
        "8.1",
        "the store id is not that of the root",
        json_file({"format": "tokstore", "store": STORE[::-1], "version": "1.0"}),
    )


def _roots() -> Iterator[Vector]:
    def root(name: str, kind: str, rule: str, comment: str, where: str, change: Change) -> Vector:
        return bad(f"root_{name}", kind, rule, comment, with_edit(where, change, of=empty))

    def body(name: str, rule: str, comment: str, repeat: bytes = b"", **more: Any) -> Vector:
        version = empty()
        version.more = {int(key[1:]): value for key, value in more.items()}
        return bad(f"root_{name}", "corrupt", rule, comment, folder(version), repeat)

    yield root("magic", "corrupt", "8.1", "another magic", "root", set_at(0, b"TOKSBOOT"))
    yield root("checksum", "checksum", "8.1", "a bit of the checksum flipped", "root+", lambda d: flip(d, -1))
    for name, keep in (
        ("empty", lambda n: 0),
        ("in_header", lambda n: 20),
        ("half", lambda n: n // 2),
        ("last_byte", lambda n: n - 1),
    ):
        yield root(f"cut_{name}", "truncated", "2.7", "the root is cut", "root+", _cut(keep))
    torn = write_store([empty(), replace(empty(), number=2)])
    second = root_name(2)
    yield bad(
        "root_torn_newest",
        "truncated",
        "3",
        "the newest root is cut and an older one is whole",
        torn | {second: torn[second][:-9]},
    )
    gone = {path: data for path, data in torn.items() if path != second}
    yield bad("root_hinted_missing", "missing", "3", "the hint names a version above every root", gone)
    yield bad("root_none", "missing", "3", "a store without a root", folder(empty(), without="manifests/"))
    version = empty()
    version.major = 2
    yield bad("root_major", "unsupported", "12.1", "major version 2", folder(version))
    version = empty()
    version.features = (0, 0, 1 << 31)
    yield bad("root_feature", "unsupported", "12.2", "an unknown required feature", folder(version))
    renamed = folder(empty())
    renamed[root_name(5)] = renamed.pop(ROOT)
    yield bad("root_name", "corrupt", "8.1", "the root of version 1 under the name of version 5", renamed)
    yield body("store", "8.1", "another store id", k1=bytes(16))
    yield body("parent", "8.1", "version 1 has a parent", k3=1)
    yield body("limit", "11", "a root of more than 65,536 bytes", b"\0", k128=bytes(65_500))
    yield body("metadata_limit", "11", "metadata of 16,385 bytes", b"x", k13='{"x":"' + "x" * 16_377 + '"}')
    yield body("unknown_key", "2.4", "an unknown key below 128", k127=0)
    yield body("totals_samples", "8.1", "the totals count another sample", k9=[1, 0, 0, 0, 0])
    yield body("column_totals", "8.1", "the totals of a column count another value", k11={0: {1: 1, 2: 0, 4: 0, 5: 0}})
    version = void()
    version.more = {7: 1}
    yield bad("root_next_sample_id", "corrupt", "7.2", "next_sample_id is an id that is given", folder(version))
    yield body("next_column_id", "8.1", "next_column_id is an id that is given", k8=0)
    yield body("no_columns", "6.1", "a schema without columns", k6=[], k11={})
    yield body("tags_order", "8.1", "tags descend", k14={0: ["b", 1], 1: ["a", 1]})
    yield body("page_records", "8.2", "a page record is cut", k10=bytes(159))
    yield root(
        "inline_left",
        "corrupt",
        "8.1",
        "an inline byte that belongs to no page",
        "root",
        lambda d: put(d, 28, u32(int.from_bytes(d[28:32], "little") + 1)) + b"\0",
    )


def _cut(keep: Callable[[int], int]) -> Change:
    return lambda data: data[: keep(len(data))]


def _missing() -> Iterator[Vector]:
    outside = void(inline=False)
    for what in ("pages", "plans"):
        yield bad(
            f"missing_{what[:-1]}",
            "missing",
            "8.2",
            f"a file in {what}/ is not there",
            folder(outside, without=f"{what}/"),
        )
    yield bad(
        "missing_deletions",
        "missing",
        "8.2",
        "a file in deletions/ is not there",
        folder(void(deleted={0: [(0, 1)]}), without="deletions/"),
    )
    yield bad("missing_shard", "missing", "8.3", "a data file is not there", folder(without="data/"))
    yield bad("missing_head", "missing", "3", "tokstore.json is not there", folder(empty(), without="tokstore.json"))
    table = Table([3, 1, 2])
    item = Stored(2, table.content(), embedded=False)
    file = file_of(1, [tokens(0, "tokens", 100, [[1, 2], [3]], RANKS, 0, table)], [item])
    ranked = Version(1, list(file.columns), [Page([shard(file, 0)])], 2)
    yield bad("missing_object", "missing", "4.8", "an object is not there", folder(ranked, without="objects/"))
    path = object_name(item.data)
    yield bad(
        "object_differs",
        "checksum",
        "5",
        "a bit of an object in objects/ flipped",
        folder(ranked, {path: flip(item.data, -1)}),
    )
    yield bad(
        "object_cut",
        "truncated",
        "2.7",
        "an object in objects/ is one byte short",
        folder(ranked, {path: item.data[:-1]}),
    )
    noted = empty()
    noted.attachments = [("notes.txt", Stored(1, b"a note", embedded=False))]
    yield bad("missing_attachment", "missing", "8.1", "an attachment is not there", folder(noted, without="objects/"))
