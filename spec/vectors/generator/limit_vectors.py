"""Vectors on both sides of limits: runs of groups, JSON, files of several shards (format.md 2.8, 4.3, 8.3, 11)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .arrays import array, category, category_list, exact_vectors, model, turned_vectors
from .bad_files import instead, set_at
from .bad_stores import STORE, empty, folder
from .columns import Block, score, text, tokens
from .datafile_writer import Stored, write_file
from .expected import of_file, of_store
from .good_stores import file_of, shard, small
from .good_types import PCA
from .primitives import digest, packed, put, u64
from .store_writer import Page, Shard, Version, json_file, write_store
from .vector import Vector, bad, good
from .zframe import long_repeat

DEEP = '{"a": ' + "[" * 63 + "]" * 63 + "}"
JSON_TEXT = (
    ' {"": {}, "b" : [1, -0, 2.5e-3, 1E+2, true, false, null, '
    '"\\u00e4\\ud83d\\ude00 \\" \\\\ \\/ \\b\\f\\n\\r\\t \\udc00 é"],'
    "\r\n"
    '\t"b2": [], "deep": [[[]]]}\n'
)


def good_vectors() -> Iterator[Vector]:
    """Make the good vectors."""
    for name, comment, value in (
        ("every_kind", "every kind of JSON value, escape and white space", JSON_TEXT),
        ("deep", "64 objects and arrays inside each other", DEEP),
        ("longest", "metadata of 16,384 bytes", '{"x":"' + "x" * 16_376 + '"}'),
    ):
        file = write_file([tokens(0, "tokens", 100, [[1]])], more={4: value})
        yield good(f"json_{name}", "2.8", comment, file, of_file(file, metadata=value))
    version = empty()
    version.more = {13: JSON_TEXT}
    yield good("store_json_text", "2.8", "metadata of a root", folder(version), of_store(version))
    head = json_file({"format": "tokstore", "store": STORE, "version": "1.0"})
    longest = head + b" " * (65_536 - len(head))
    files = folder(empty(), {"tokstore.json": longest})
    found = Vector("store_json_longest", "ok", "11", "a tokstore.json of 65,536 bytes", files, of_store(empty()))
    found.repeat = b" "
    yield found
    version = empty()
    version.more = {8: 2**32 - 1}
    yield good("store_last_column_id", "8.1", "next_column_id is 2^32 - 1", folder(version), of_store(version))
    listed = category(0, "source", [None, None], ["a"], optional=True)
    file = write_file([listed], [category_list(["a"])])
    yield good("category_all_missing", "codecs.md 3.3", "every row is missing", file, of_file(file))
    classes = 128
    tables = bytes([15, 0, classes, 0]) + packed(list(range(1, classes + 1)))
    tables += packed([0] * classes) + packed([0] * classes) + packed([1] * classes) + packed([2**15] * classes)
    column = turned_vectors(0, "vector", [[1] * classes], [classes], PCA)
    file = write_file([column], [Stored(4, model(2, classes, 0.5)[:-4] + tables)])
    yield good("vector_slots", "11", "tables of 2^22 slots", file, of_file(file))
    soft = array(0, "soft", [[0, 1, 0, 0], None], [2, 2], 2, 6, {1: 5, 2: 2, 3: 9}, optional=True)
    file = write_file([soft])
    yield good("soft_zero", "registry.md 1", "probabilities of zero, and a missing row", file, of_file(file))
    yield _shared()


def _shared() -> Vector:
    """Make a store in which one file serves shards of two pages, out of order, and its blocks lie across them."""
    bases = [small(20, [[1], [2, 2]]), small(21, [[3], [4, 4]]), small(22, [[5]])]
    words = text(1, "body", ["abc", "", "de", "f", "ghij"], cuts=[5, 5], ranges=True)
    numbers = array(2, "pair", [[i, i] for i in range(5)], [2], 1, cuts=[6, 4])
    files = {1: file_of(60, [words]), 2: file_of(61, [numbers])}
    shards = [shard(base, 2 * i) for i, base in enumerate(bases)]
    for part, row in zip(shards, (3, 0, 2), strict=True):
        part.place |= {one: (file, row) for one, file in files.items()}
    version = Version(1, [*bases[0].columns, words, numbers], [Page(shards[:1]), Page(shards[1:])], 5, "add_column")
    comment = "rows of a file serve shards of two pages in another order, and blocks lie across them"
    return good("store_shared_blocks", "8.3", comment, write_store([version]), of_store(version))


def _other_line(old: bytes, new: bytes) -> dict[str, bytes]:
    """Write a store in which two pages name one file, and the second page says something else of it."""
    bases = [small(20, [[1], [2, 2]]), small(21, [[3], [4, 4]])]
    quality = score(1, "quality", [0.5, 0.25, 1.0, 2.0])
    file = file_of(52, [quality])
    known = {b"digest": digest(file.data), b"index": u64(file.index_checksum)}
    shards = [shard(base, 2 * i) for i, base in enumerate(bases)]
    for i, part in enumerate(shards):
        part.place[1] = (file, 2 * i)
    pages = [Page([part]) for part in shards]
    if old == b"6":
        pages[1].keys = {6: packed([bases[1].tail_offset, file.tail_offset + 8])}
    elif old == b"7":
        pages[1].keys = {7: packed([bases[1].index_offset, file.index_offset + 8])}
    else:
        pages[1].edits["page_content"] = lambda d: d.replace(known[old], new)
    return folder(Version(1, [*bases[0].columns, quality], pages, 4))


def bad_vectors() -> Iterator[Vector]:
    """Make the bad vectors."""
    for name, key in (("tail", b"6"), ("index", b"7")):
        comment = f"another {name} offset in the second page that names a file"
        yield bad(f"shard_second_{name}_offset", "corrupt", "8.3", comment, _other_line(key, b""))
    for name, comment, old, new in (
        ("digest", "another digest of a data file in the second page that names it", b"digest", bytes(32)),
        ("index_checksum", "another index checksum in the second page that names a file", b"index", bytes(8)),
    ):
        yield bad(f"shard_second_{name}", "checksum", "8.3", comment, _other_line(old, new))
    rows = 2**19 + 1
    column = exact_vectors(0, "vector", [[0, 0]], 11, [1, 2])
    column.blocks = [Block(rows, 16, long_repeat(0, 4 * rows), 0) for _ in range(2)]
    counts = u64(rows) + u64(2 * rows)

    def entry(data: bytes) -> bytes:
        return put(put(data, 24, counts), 120, digest(bytes(8 * rows)))

    edits: dict[str, Any] = {"entry:0": entry, "first_row:0": instead(packed([0, 0]))}
    file = write_file([column], rows=rows, edits=edits)
    yield bad("limit_run", "corrupt", "11", "2^20 + 2 values in the two blocks of a run", file)
    zero = array(0, "soft", [[0, 0, 0, 0]], [2, 2], 2, 6, {1: 5, 2: 2, 3: 9})
    yield bad("soft_twice_zero", "corrupt", "registry.md 1", "class 0 twice, without probabilities", write_file([zero]))
    base = small(1, [[1, 2], [3]])
    flag = array(1, "flag", [[1], [1]], [], 13)
    part = Shard(2, [(0, 2)], {0: (base, 0), 1: 1})
    page = Page([part], placement_keys={1: {8: b"\2"}})
    version = Version(1, [*base.columns, flag], [page], 2)
    yield bad("placement_constant_bit", "corrupt", "registry.md 1", "a constant of 2 for a bit", folder(version))
    coded = array(1, "code", [[1], [1]], [], 1, 2, {1: 5, 2: []})
    part = Shard(2, [(0, 2)], {0: (base, 0), 1: 1})
    version = Version(1, [*base.columns, coded], [Page([part], placement_keys={1: {8: b"\5"}})], 2)
    yield bad("placement_constant_code", "corrupt", "registry.md 1", "a constant of code 5 of 5", folder(version))
    absent = Version(1, [*base.columns, score(1, "quality", [0.5, 0.5])], [Page([shard(base, 0)], placed={0})], 2)
    yield bad("column_in_no_page", "corrupt", "8.3", "a column that is not optional is in no page", folder(absent))
    lost = [tokens(0, "tokens", 100, [[1, 2], [3]])]
    whole = file_of(62, lost)
    page = Page([shard(whole, 0)], edits={"record": set_at(128, u64(2))})
    version = Version(1, lost, [page], 2)
    yield bad("page_record_of_values", "corrupt", "8.2", "a page record counts one value less", folder(version))
