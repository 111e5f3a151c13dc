"""Bad stores: contents of pages, plans and deletions that no other module breaks (format.md 6.2, 7.3, 8.3 to 8.5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .arrays import array, category, category_list
from .bad_files import set_at
from .bad_stores import damaged, folder, simple, void
from .columns import Block, Column, float_bits, label, score, text, tokens
from .datafile_writer import Stored
from .good_stores import file_of, shard, small
from .primitives import digest, flip, packed, u16, u64
from .store_writer import Keys, Page, Shard, Version, object_name
from .vector import Vector, bad
from .zframe import frame, long_repeat


def vectors() -> Iterator[Vector]:
    """Make the vectors of this module."""
    yield from _wrapping()
    yield from _keys()
    yield from _files()
    yield from _placements()
    yield from _shared_files()
    yield from _plans()
    yield from _deletions()


def _wrapping() -> Iterator[Vector]:
    """Break the frame around pages, plans and deletions."""
    deleted = void(deleted={0: [(0, 1)]})
    deleted.pages[0].edits["deletions"] = set_at(8, u16(2))
    yield bad("deletions_major", "unsupported", "12.1", "major version 2", folder(deleted))
    for name in ("plan", "deletions"):
        for part, comment, change in (
            ("magic", "the magic of a page", set_at(0, b"TOKSPAGE")),
            ("encoding", "encoding 2", set_at(12, b"\2")),
            ("reserved", "a reserved byte is set", set_at(14, b"\1")),
            ("content_bytes", "another content_bytes", set_at(16, u64(1))),
        ):
            version = void(deleted={0: [(0, 1)]})
            version.pages[0].edits[name] = change
            rule = "2.1" if part == "reserved" else "8.3"
            yield bad(f"{name}_{part}", "corrupt", rule, comment, folder(version))
    version = void()
    version.pages[0].edits["plan"] = set_at(8, u16(2))
    yield bad("plan_major", "unsupported", "12.1", "major version 2", folder(version))
    version = void(zstd=True)
    version.pages[0].edits["page"] = lambda d: d + b"\0"
    yield bad("page_frame", "corrupt", "2.5", "a byte after the frame of a page", folder(version))
    version = void(zstd=True)
    version.pages[0].edits["page="] = lambda d: frame(b"\x80")
    yield bad("page_frame_size", "corrupt", "2.5", "a frame of other content_bytes", folder(version))
    outside = void(inline=False)
    yield bad("plan_cut", "truncated", "2.7", "a plan is one byte short", damaged("plans/", lambda d: d[:-1], outside))
    yield bad("page_long", "corrupt", "8.3", "a byte after a page", damaged("pages/", lambda d: d + b"\0", outside))
    gone = void(deleted={0: [(0, 1)]})
    yield bad(
        "deletions_cut",
        "truncated",
        "2.7",
        "deletions are one byte short",
        damaged("deletions/", lambda d: d[:-1], gone),
    )
    version = void(inline=False)
    version.pages[0].edits["page"] = lambda d: d[:23]
    yield bad("page_header", "corrupt", "8.3", "a page of 23 bytes", folder(version))


def _keys() -> Iterator[Vector]:
    def page(name: str, comment: str, keys: Keys, rule: str = "8.3", version: Version | None = None) -> Vector:
        version = version or simple()
        version.pages[0].keys = keys
        return bad(f"page_{name}", "corrupt", rule, comment, folder(version))

    yield page("unknown_key", "an unknown key below 128", {127: 0}, "2.4")
    yield page("missing_key", "no digests of files", {3: None}, "2.4")
    yield page("kind", "the number of shards is a string", {10: "1"}, "2.4")
    yield page("files_many", "two files and the ids of one", {1: 2})
    yield page("file_ids", "15 bytes of a file id", {2: bytes(15)})
    yield page("file_digests", "31 bytes of a digest", {3: bytes(31)})
    yield page("index_checksums", "nine bytes of index checksums", {4: bytes(9)})
    yield page("shards", "two shards, and its record says one", {10: 2})
    yield page("samples_trailing", "a byte after the samples", {11: packed([2]) + b"\0"}, "2.3")
    yield page("samples_limit", "2^24 + 1 samples in a shard", {11: packed([2**24 + 1])}, "11")
    yield page("runs_huge", "2^40 id runs in ten bytes", {12: packed([2**40]), 13: packed([0]), 14: packed([0])})
    yield page("runs_none", "a shard with samples and no ids", {12: packed([0]), 13: b"", 14: b""})
    yield page("run_empty", "a run of no ids", {12: packed([2]), 13: packed([0, 7]), 14: packed([2, 0])})
    yield page("objects_cut", "31 bytes of the digest of an object", {20: bytes(31)})
    yield page("objects_past", "a file names an object that is not listed", {22: packed([1]), 23: packed([0])})
    item = Stored(3, b"abc", embedded=False).data
    named: Keys = {20: digest(item), 21: packed([len(item)]), 22: packed([1]), 23: packed([0])}
    files = _with_keys(simple(), named) | {object_name(item): item}
    yield bad("page_object_other", "corrupt", "8.3", "a page names an object that the file does not", files)
    yield page("placements_kind", "the placements are an array", {30: []}, "2.4")


def _with_keys(version: Version, keys: Keys) -> dict[str, bytes]:
    version.pages[0].keys = keys
    return folder(version)


def _files() -> Iterator[Vector]:
    from_file = simple()
    version = void()
    version.pages[0].shards[0] = Shard(0, [], {})
    version.pages[0].keys = {12: packed([1]), 13: packed([0]), 14: packed([1])}
    yield bad("page_empty_shard_ids", "corrupt", "8.3", "ids of a shard without samples", folder(version))
    path = next(iter(path for path in folder(from_file) if path.startswith("data/")))
    files = folder(from_file)
    yield bad(
        "shard_flipped", "checksum", "4.5", "a bit of a block in a store flipped", files | {path: flip(files[path], 64)}
    )
    yield bad("shard_empty_file", "truncated", "2.7", "a data file without bytes", files | {path: b""})


QUALITY = score(1, "quality", [0.5, None], optional=True, ranges=True)


def _placements() -> Iterator[Vector]:
    def placed(name: str, comment: str, column: Column, keys: Keys, rule: str = "8.3", place: Any = None) -> Vector:
        base = small(1, [[1, 2], [3]])
        where = (file_of(50, [column]), 0) if place is None else place
        part = Shard(2, [(0, 2)], {0: (base, 0), column.id: where})
        version = Version(1, [*base.columns, column], [Page([part], placement_keys={column.id: keys})], 2)
        return bad(f"placement_{name}", "corrupt", rule, comment, folder(version))

    for name, comment, keys, rule in (
        ("unknown_key", "an unknown key below 128", {9: b""}, "2.4"),
        ("missing_key", "no stored bytes", {4: None}, "2.4"),
        ("kind", "places that are an integer", {1: 2}, "2.4"),
        ("no_missing", "no missing counts of an optional column", {6: None}, "8.3"),
        ("no_nan", "no NaN counts of floats", {7: None}, "8.3"),
        ("file_past", "a file that the page does not list", {1: packed([4])}, "8.3"),
        ("values", "another number of values", {3: packed([3])}, "8.3"),
        ("stored", "another number of stored bytes", {4: packed([9])}, "8.3"),
        ("missing", "another number of missing samples", {6: packed([0])}, "8.3"),
        ("nan", "a NaN that is not there", {7: packed([1])}, "8.3"),
        ("range", "another range", {5: b"\1" + bytes([0, 0, 128, 63]) * 2}, "8.3"),
        ("range_cut", "a range that is a byte short", {5: bytes(8)}, "4.5"),
        ("row", "a shard that begins behind the last row", {2: packed([2**40])}, "8.3"),
        ("constants", "constants where no shard is constant", {8: bytes(4)}, "8.3"),
    ):
        yield placed(name, comment, QUALITY, dict(keys), rule)
    plain = label(1, "kind", [1, 2], 5)
    yield placed("missing_more", "missing counts of a column that is not optional", plain, {6: packed([0])})
    yield placed("nan_more", "NaN counts of integers", plain, {7: packed([0])})
    half = float_bits(0.5, 11)
    constant = score(1, "quality", [0.5, 0.5])
    yield placed("constant_row", "a constant at row 1", constant, {2: packed([1])}, place=half)
    yield placed("constant_bytes", "a constant with stored bytes", constant, {4: packed([8])}, place=half)
    yield placed(
        "constant_two", "two constants for one shard", constant, {8: half.to_bytes(4, "little") * 2}, place=half
    )
    yield placed("constant_none", "no constant", constant, {8: None}, place=half)
    yield placed("constant_values", "a constant of one value for two samples", constant, {3: packed([1])}, place=half)
    yield placed("constant_past", "label 5 of 5 classes", label(1, "kind", [1, 2], 5), {8: b"\5"}, "registry.md 1", 1)
    nan = float_bits(float("nan"), 11)
    yield placed("constant_nan", "NaN in a score that is not optional", constant, {}, "registry.md 1", nan)
    shaped = array(1, "pair", [[1, 1], [1, 1]], [2], 1)
    yield placed("constant_shape", "a constant of a type with a shape", shaped, {3: packed([4])}, place=1)
    base, listed = small(1, [[1, 2], [3]]), category(1, "source", [0, 0], ["a"])
    file = file_of(51, [listed], [category_list(["a"])])
    part = Shard(2, [(0, 2)], {0: (base, 0), 1: (file, 0)})
    constant_list: Keys = {1: packed([1]), 4: packed([0]), 8: bytes(2)}
    version = Version(1, [*base.columns, listed], [Page([part], placement_keys={1: constant_list})], 2)
    yield bad("placement_constant_category", "corrupt", "8.3", "a constant of a Category", folder(version))
    worded = text(1, "body", ["a", "b"])
    yield placed("constant_text", "a constant of a Text", worded, {1: packed([1]), 4: packed([0]), 8: b"a"})
    gone = score(1, "quality", [None, None], optional=True)
    absent: Keys = {1: packed([0]), 3: packed([0]), 4: packed([0])}
    for name, key, comment in (
        ("row", 2, "an absent column has a row"),
        ("stored", 4, "an absent column has stored bytes"),
        ("values", 3, "an absent column has values"),
    ):
        yield placed(f"absent_{name}", comment, gone, absent | {key: packed([1])})
    yield placed("absent_missing", "an absent column misses one of two samples", gone, absent | {6: packed([1])})


def _shared_files() -> Iterator[Vector]:
    """Break what holds where one file serves several shards."""
    bases = [small(20, [[1], [2, 2]]), small(21, [[3], [4, 4]])]
    quality = score(1, "quality", [0.5, 0.25, 1.0, 2.0])
    file = file_of(52, [quality])

    def store(rows: tuple[int, int], keys: Keys | None = None, apart: bool = False) -> dict[str, bytes]:
        shards = [shard(base, 2 * i) for i, base in enumerate(bases)]
        for part, row in zip(shards, rows, strict=True):
            part.place[1] = (file, row)
        pages = [Page([part]) for part in shards] if apart else [Page(shards, placement_keys={1: keys or {}})]
        return folder(Version(1, [*bases[0].columns, quality], pages, 4))

    rule = "8.3"
    yield bad("rows_shared", "corrupt", rule, "two shards are the same rows of a file", store((0, 0)))
    yield bad("rows_overlap", "corrupt", rule, "two shards share a row of a file", store((0, 1)))
    yield bad("rows_overlap_down", "corrupt", rule, "two shards share a row, the later one begins first", store((2, 1)))
    yield bad(
        "rows_shared_pages",
        "corrupt",
        rule,
        "shards of two pages are the same rows of a file",
        store((0, 0), None, True),
    )
    stored = len(quality.blocks[0].stored)
    moved: Keys = {4: packed([0, stored])}
    comment = "the bytes of a block of two shards count where it ends"
    yield bad("block_of_two_shards", "corrupt", rule, comment, store((0, 2), moved))
    split: Keys = {4: packed([stored // 2, stored // 2])}
    yield bad(
        "block_of_two_halves",
        "corrupt",
        rule,
        "the bytes of a block of two shards count by halves",
        store((0, 2), split),
    )
    yield bad("primary_of_two_shards", "corrupt", rule, "two shards have the primary column in one file", _primary())
    one = _primary_part()
    yield bad("primary_of_a_part", "corrupt", rule, "a shard has some rows of the file of its primary column", one)


def _primary() -> dict[str, bytes]:
    """Write two shards of one file of tokens, each with the block that begins in it."""
    two = tokens(0, "tokens", 100, [[1], [2, 2], [3], [4]], cuts=[3, 2])
    file = file_of(53, [two])
    shards = [Shard(2, [(0, 2)], {0: (file, 0)}), Shard(2, [(2, 2)], {0: (file, 2)})]
    page = Page(shards)
    page.plan_keys = {3: packed([1, 1]), 4: packed([2, 2]), 5: packed([3, 2]), 6: packed([0, 0])}
    return folder(Version(1, [two], [page], 4))


def _primary_part() -> dict[str, bytes]:
    """Write a shard of the first two rows of a file of four."""
    two = tokens(0, "tokens", 100, [[1], [2, 2], [3], [4]], cuts=[3, 2])
    file = file_of(53, [two])
    page = Page([Shard(2, [(0, 2)], {0: (file, 0)})])
    page.plan_keys = {3: packed([1]), 4: packed([2]), 5: packed([3]), 6: packed([0])}
    return folder(Version(1, [two], [page], 4))


def _plans() -> Iterator[Vector]:
    def plan(name: str, comment: str, keys: Keys, rule: str = "8.4", version: Version | None = None) -> Vector:
        version = version or simple()
        version.pages[0].plan_keys = keys
        return bad(f"plan_{name}", "corrupt", rule, comment, folder(version))

    yield plan("unknown_key", "an unknown key below 128", {127: 0}, "2.4")
    yield plan("missing_key", "no leads", {6: None}, "2.4")
    yield plan("kind", "a primary column by name", {1: "tokens"}, "2.4")
    yield plan("short", "no samples of the only span", {4: b""}, "2.3")
    yield plan("negative", "a span of -1 values", {5: packed([-1])}, "2.3")
    yield plan("spans_many", "two spans, and its record says one", {2: packed([2])})
    yield plan("spans_limit", "2^22 + 1 spans", {2: packed([2**22 + 1])}, "11")
    yield plan("void", "a shard without blocks has a block", {3: packed([1])}, version=void())
    split = simple()
    two = tokens(0, "tokens", 100, [[1, 2], [3]], cuts=[2, 1])
    split.pages[0].shards = [shard(file_of(54, [two]), 0)]
    keys: Keys = {2: packed([2]), 3: packed([1, 1]), 4: packed([1, 1]), 5: packed([2, 1]), 6: packed([0, 0])}
    split.pages[0].edits["record"] = set_at(156, b"\2")
    yield plan("split", "a span ends before it has 2^18 values", keys, "7.3", split)
    marked = score(0, "quality", [1.0, 2.0], primary=True)
    ids = tokens(1, "tokens", 100, [[1], [2, 3]])
    part = shard(file_of(55, [marked]), 0)
    part.place[1] = (file_of(56, [ids]), 0)
    version = Version(1, [marked, ids], [Page([part])], 2)
    beside: Keys = {1: 1, 5: packed([3])}
    yield plan(
        "of_tokens", "a plan for tokens beside a column that is marked as the primary one", beside, "6.2", version
    )
    yield bad("plan_joined", "corrupt", "7.3", "one span of 2^18 and three values in two blocks", _joined())


def _joined() -> dict[str, bytes]:
    """Write a shard whose second block has to begin a span, and a plan of one span."""
    n = 2**18
    long = tokens(0, "tokens", 10, [[0], [0]])
    long.samples = [[0] * n, [0] * 3]
    long.blocks = [Block(n, 16, long_repeat(0, 2 * n)), Block(3, 0, bytes(6))]
    file = file_of(57, [long])
    version = Version(1, [long], [Page([shard(file, 0)], one_span=True)], 2)
    return folder(version)


def _deletions() -> Iterator[Vector]:
    def gone(name: str, comment: str, keys: Keys, rule: str = "8.5") -> Vector:
        version = simple(deleted={0: [(0, 1)]}, deletion_keys=keys)
        return bad(f"deletions_{name}", "corrupt", rule, comment, folder(version))

    yield gone("unknown_key", "an unknown key below 128", {127: 0}, "2.4")
    yield gone("missing_key", "no values of the spans", {6: None}, "2.4")
    yield gone("kind", "runs that are an integer", {1: 1}, "2.4")
    yield gone("run_empty", "a run of no samples", {3: packed([0])})
    yield gone("runs_huge", "2^40 runs in ten bytes", {1: packed([2**40])})
    yield gone("runs_short", "the first of one run of two", {1: packed([2])}, "2.3")
    yield gone("overlap", "two runs share a sample", {1: packed([2]), 2: packed([0, 0]), 3: packed([1, 2])})
    yield gone("spans", "samples left of two spans, and there is one", {5: packed([1, 0])}, "2.3")
    flag = void()
    record = digest(b"")
    flag.pages[0].edits["record"] = lambda d: d[:64] + record + d[96:108] + b"\7" + d[109:]
    yield bad("deletions_nowhere", "missing", "8.2", "a flag of deletions that are nowhere", folder(flag))
