"""Bad stores: small files, roots, page records and versions (format.md 2.6, 3, 8.1, 8.2, 9.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .bad_files import set_at
from .bad_stores import STORE, empty, folder, void, with_edit
from .columns import score, tokens
from .datafile_writer import Stored
from .primitives import checksum, flip, u32, u64
from .store_writer import Keys, Page, Shard, Version, json_file, object_name, root_name, write_store
from .vector import Vector, bad

HEAD: dict[str, Any] = {"format": "tokstore", "store": STORE, "version": "1.0"}


def vectors() -> Iterator[Vector]:
    """Make the vectors of this module."""
    yield from _small_files()
    yield from _versions()
    yield from _bodies()
    yield from _records()


def _small_files() -> Iterator[Vector]:
    def head(name: str, kind: str, rule: str, comment: str, data: bytes, repeat: bytes = b"") -> Vector:
        return bad(f"store_json_{name}", kind, rule, comment, folder(empty(), {"tokstore.json": data}), repeat)

    def with_more(value: str, summed: str) -> bytes:
        """Write a member in JSON as given, with the checksum that its text in the sum would have."""
        members = {key: HEAD[key] for key in sorted(HEAD)}
        lines = "".join(f"{key}={members[key]}\n" for key in members)
        total = f"{checksum((f'a={summed}' + chr(10) + lines).encode()):016x}"
        rest = ", ".join(f'"{key}": "{one}"' for key, one in (members | {"checksum": total}).items())
        return f'{{"a": {value}, {rest}}}\n'.encode()

    good = json_file(HEAD)
    digits = good.split(b'"checksum": "')[1][:16]
    yield head(
        "upper", "checksum", "2.6", "the digits of the checksum are upper-case", good.replace(digits, digits.upper())
    )
    yield head(
        "number_checksum", "checksum", "2.6", "the checksum is a number", good.replace(b'"' + digits + b'"', b"17")
    )
    yield head("array", "corrupt", "2.6", "an array", b"[" + good.strip() + b"]\n")
    yield head(
        "utf8",
        "corrupt",
        "2.6",
        "a string that is not UTF-8",
        with_more('"\\u00ff"', "\xff").replace(b"\\u00ff", b"\xff"),
    )
    yield head("trailing", "corrupt", "2.6", "a second object", good + b"{}")
    yield head("empty", "corrupt", "2.6", "a file without bytes", b"")
    for name, comment, value, summed in (
        ("float", "a number with a fraction", "1.5", "1.5"),
        ("exponent", "an integer with an exponent", "1e3", "1000"),
        ("negative", "an integer below 0", "-1", "-1"),
        ("large", "an integer of 2^63", str(2**63), str(2**63)),
        ("true", "a boolean", "true", "True"),
        ("null", "null", "null", "None"),
        ("nested", "an object inside", "{}", "{}"),
    ):
        yield head(name, "corrupt", "2.6", comment, with_more(value, summed))
    deep = b'{"a": ' + b"[" * 30_000 + b"]" * 30_000 + b"}"
    yield head("deep", "corrupt", "2.6", "30,000 arrays inside each other", deep, b"[")
    half = good.replace(b"{", b'{"a\\ud800": "b", ', 1)
    yield head("surrogate", "corrupt", "2.6", "half of a surrogate pair, which has no UTF-8", half)
    yield head("limit", "corrupt", "11", "a file of 65,537 bytes", good + b" " * (65_537 - len(good)), b" ")
    for name, comment, change in (
        ("no_format", "no format", {"format": None}),
        ("no_store", "no store id", {"store": None}),
        ("no_version", "no version", {"version": None}),
        ("store_id", "a store id of 30 digits", {"store": STORE[:30]}),
        ("store_upper", "a store id in upper-case digits", {"store": "ABCDEF" + STORE[6:]}),
        ("version_text", "a version without a minor number", {"version": "1"}),
        ("version_number", "a version that is a number", {"version": 1}),
    ):
        members = {key: value for key, value in (HEAD | change).items() if value is not None}
        yield head(name, "corrupt", "3", comment, json_file(members))


def _versions() -> Iterator[Vector]:
    both = [empty(), replace(empty(), number=2)]
    files = write_store(both)
    first, second = root_name(1), root_name(2)
    yield Vector(
        "version_removed", "missing", "9.2", "the version asked for was removed", files | {first: b""}, version=1
    )
    yield Vector("version_never", "missing", "3", "the version asked for was never made", files, version=7)
    yield bad("version_newest_empty", "truncated", "9.2", "the newest root is empty", files | {second: b""})
    yield bad(
        "root_newest_damaged",
        "checksum",
        "3",
        "the newest root is damaged and an older one is whole",
        files | {second: flip(files[second], 40)},
    )
    yield bad(
        "root_newest_other",
        "corrupt",
        "3",
        "the newest root is of another file and an older one is whole",
        files | {second: b"TOKSVIEW" + files[second][8:]},
    )


def _bodies() -> Iterator[Vector]:
    def body(name: str, rule: str, comment: str, keys: Keys, version: Version | None = None) -> Vector:
        version = version or empty()
        version.more = version.more | keys
        return bad(f"root_{name}", "corrupt", rule, comment, folder(version))

    note = Stored(1, b"a note", embedded=False)
    for name, rule, comment, keys in (
        ("store_bytes", "8.1", "a store id of 15 bytes", {1: bytes(15)}),
        ("nonce_bytes", "8.1", "a commit nonce of 17 bytes", {4: bytes(17)}),
        ("totals_four", "8.1", "four totals", {9: [0, 0, 0, 0]}),
        ("totals_kind", "8.1", "a total that is a string", {9: ["0", 0, 0, 0, 0]}),
        ("totals_bytes", "8.1", "the totals have bytes of data files and there are none", {9: [0, 0, 0, 1, 0]}),
        ("totals_objects", "8.1", "the totals have bytes of objects and there are none", {9: [0, 0, 0, 0, 1]}),
        ("column_totals_none", "8.1", "no totals of a column", {11: {}}),
        ("column_totals_more", "8.1", "totals of a column that is not in the schema", {11: {0: ZERO, 1: ZERO}}),
        ("column_totals_key", "2.4", "an unknown key below 128 in totals", {11: {0: ZERO | {6: 0}}}),
        ("column_totals_short", "2.4", "totals without key 5", {11: {0: {1: 0, 2: 0, 4: 0}}}),
        ("attachment_keys", "8.1", "attachments that do not count from 0", {12: {1: ["x", bytes(32), 1, 1]}}),
        ("attachment_three", "8.1", "an attachment of three items", {12: {0: ["x", bytes(32), 1]}}),
        ("attachment_digest", "8.1", "a digest of 31 bytes", {12: {0: ["x", bytes(31), 1, 1]}}),
        ("tags_keys", "8.1", "tags that do not count from 0", {14: {1: ["a", 1]}}),
        ("tags_twice", "8.1", "a tag stands twice", {14: {0: ["a", 1], 1: ["a", 1]}}),
        ("tags_kind", "8.1", "a tag of a version by name", {14: {0: ["a", "1"]}}),
        ("current_kind", "8.1", "a current object without its bytes", {15: {0: [bytes(32)]}}),
        ("current_digest", "8.1", "the digest of a current object has 31 bytes", {15: {0: [bytes(31), 1]}}),
        ("verb_kind", "8.1", "what made the version is a string", {16: "create"}),
        ("verb_one", "8.1", "what made the version is a verb alone", {16: ["create"]}),
        ("nonces_cut", "8.1", "the nonce of a part has 15 bytes", {17: bytes(15)}),
        ("version_zero", "8.1", "the root says that it is version 0", {2: 0}),
        ("next_sample_id_limit", "7.2", "next_sample_id is 2^53 + 1", {7: 2**53 + 1}),
        ("next_column_id_limit", "8.1", "next_column_id is 2^32", {8: 2**32}),
        ("negative_time", "2.4", "a time before 1970", {5: -1}),
        ("time_kind", "2.4", "a time that is a float", {5: 1.5}),
        ("no_time", "2.4", "no time", {5: None}),
        ("schema_kind", "2.4", "a schema that is a map", {6: {}}),
        ("metadata_kind", "2.4", "metadata that is bytes", {13: b"{}"}),
        ("metadata_none", "2.8", "metadata that is no JSON", {13: "{licence: CC0}"}),
        ("metadata_array", "2.8", "metadata that is an array", {13: "[1]"}),
        ("metadata_infinite", "2.8", "Infinity, which is no JSON", {13: '{"loss": Infinity}'}),
        ("metadata_trailing", "2.8", "a comma before the end of an object", {13: '{"a": 1,}'}),
    ):
        yield body(name, rule, comment, keys)
    other = replace(empty(), number=2)
    other.more = {3: None}
    yield bad("root_no_parent", "corrupt", "8.1", "version 2 has no parent", write_store([empty(), other]))
    other = replace(empty(), number=2, more={3: 2})
    yield bad("root_own_parent", "corrupt", "8.1", "version 2 was made from version 2", write_store([empty(), other]))
    schema = [tokens(0, "tokens", 100, []), score(1, "quality", [])]
    turned = Version(1, schema, [], 0)
    yield body(
        "schema_order", "6.1", "column ids of the schema descend", {6: [c.record() for c in schema[::-1]]}, turned
    )
    twice = Version(1, [tokens(0, "a", 100, []), score(1, "a", [])], [], 0)
    yield body("schema_names", "6.1", "two columns of the schema have one name", {}, twice)
    record = tokens(0, "tokens", 100, []).record()
    for name, rule, comment, change in (
        ("id_limit", "6.1", "column id 2^32 - 1", {1: 2**32 - 1}),
        ("type_limit", "6.1", "type 65,536", {3: 65_536}),
        ("level_kind", "2.4", "a level that is an integer", {6: 3}),
        ("no_optional", "2.4", "a column without key 5", {5: None}),
        ("parameters_kind", "2.4", "parameters that are an array", {4: []}),
    ):
        altered: Keys = {key: value for key, value in (record | change).items() if value is not None}
        yield body(
            f"record_{name}",
            rule,
            comment,
            {6: [altered], 8: 2**32 - 1} | ({11: {2**32 - 1: ZERO}} if 1 in change else {}),
        )
    noted = empty()
    noted.attachments = [("x", note)]
    for name, kind, comment, data in (
        ("cut", "truncated", "an attachment is one byte short", note.data[:-1]),
        ("flipped", "checksum", "a bit of an attachment flipped", flip(note.data, -1)),
    ):
        files = folder(noted) | {object_name(note.data): data}
        yield bad(f"attachment_object_{name}", kind, "2.7" if name == "cut" else "5", comment, files)
    wrong = empty()
    wrong.attachments = [("x", Stored(3, b"a note", embedded=False))]
    yield bad("root_attachment_kind", "corrupt", "8.1", "an attachment that is a dictionary", folder(wrong))
    lied = empty()
    lied.attachments = [("x", note)]
    item = {0: ["x", object_digest(note), len(note.data), 7]}
    yield body("attachment_content", "8.1", "an attachment of other content bytes", {12: item}, lied)
    ranged = Version(1, [score(0, "quality", [], ranges=True)], [], 0)
    yield body("column_range", "4.5", "the range of a column is a byte short", {11: {0: ZERO | {3: bytes(8)}}}, ranged)
    yield body(
        "column_range_bit", "4.5", "a range of a column without values", {11: {0: ZERO | {3: b"\1" + bytes(8)}}}, ranged
    )


ZERO: Keys = {1: 0, 2: 0, 4: 0, 5: 0}


def object_digest(item: Stored) -> bytes:
    """Give the digest of an object."""
    return bytes.fromhex(object_name(item.data).rsplit("/", 1)[1])


def _records() -> Iterator[Vector]:
    def record(name: str, rule: str, comment: str, at: int, new: bytes, kind: str = "corrupt") -> Vector:
        return bad(f"page_record_{name}", kind, rule, comment, with_edit("record", set_at(at, new), of=void))

    yield record("no_shards", "11", "no shards", 152, u32(0))
    yield record("deletion_digest", "8.2", "a digest of deletions without the flag", 64, b"\1")
    yield record("plan_digest", "8.3", "an inline plan is not the one of its record", 32, bytes(32), "checksum")
    yield record("page_bytes", "8.1", "a page that reaches beyond the inline bytes", 96, u32(2**18))
    yield record("plan_bytes", "8.1", "a plan that reaches beyond the inline bytes", 100, u32(2**31))
    absent = Version(1, void().schema, [Page([Shard(0, [], {})])], 0)
    absent.pages[0].edits["record"] = set_at(144, u64(5))
    yield bad("page_record_no_ids", "corrupt", "8.2", "ids of a page without samples", folder(absent))
    gone = void(deleted={0: [(0, 1)]})
    gone.pages[0].edits["record"] = set_at(120, u64(2))
    yield bad("page_record_gone", "corrupt", "8.2", "another number of deleted samples", folder(gone))
    gone = void(deleted={0: [(0, 1)]})
    gone.pages[0].edits["record"] = set_at(104, u32(17))
    yield bad(
        "page_record_deletion_size", "corrupt", "8.3", "deletions are longer than their record says", folder(gone)
    )
