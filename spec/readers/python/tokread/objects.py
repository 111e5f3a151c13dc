"""Objects, and the rank tables and dictionaries in them (format.md 5, codecs.md 2.1, 4)."""

from __future__ import annotations

from dataclasses import dataclass

from .conventions import check_digest, check_zero, fail_short, packed, u16, u32, u64
from .failure import corrupt, require
from .frame import TRAINED, content

ATTACHMENT, RANK_TABLE, DICTIONARY, VECTOR_MODEL, CODE_MODEL, CATEGORIES = KNOWN_KINDS = tuple(range(1, 7))


@dataclass(frozen=True)
class Object:
    """An object with its content, after decompression."""

    kind: int
    content: bytes


@dataclass(frozen=True)
class RankTable:
    """Ids by rank, and the dictionary that goes with them; no ids where the object is a dictionary alone."""

    ids: list[int]
    dictionary: bytes


def parse_object(data: bytes, digest: bytes, stored_bytes: int, content_bytes: int, kind: int | None) -> Object:
    """Read a whole object and check it against the entry that names it."""
    rule = "format.md 5"
    fail_short(data, stored_bytes, "an object", rule)
    require(len(data) == stored_bytes, f"an object has {len(data)} bytes, its entry says {stored_bytes}", rule)
    check_digest(data, digest, "object", rule)
    require(len(data) >= 16 and data[:4] == b"TOKO", "no object", rule)
    require(data[6] <= 1, f"an object has encoding {data[6]}", rule)
    check_zero(data[7:8], "an object", rule)
    require(u64(data, 8) <= 2**30, "the content of an object is larger than 2^30 bytes", "format.md 11")
    require(u64(data, 8) == content_bytes, "an object and its entry differ in content_bytes", rule)
    require(kind is None or u16(data, 4) == kind, "an object and its entry differ in kind", rule)
    return Object(u16(data, 4), content(data[16:], data[6] == 1, content_bytes, "the content of an object"))


def parse_dictionary(item: Object) -> RankTable:
    """Read the content of an object of kind 2 (codecs.md 2.1) or 3 (codecs.md 4)."""
    table = RankTable([], item.content) if item.kind == DICTIONARY else _rank_table(item.content)
    require(len(table.dictionary) <= 8 * 2**20, "a dictionary is larger than 8 MiB", "format.md 11")
    require(
        not table.dictionary.startswith(TRAINED), "a raw-content dictionary begins like a trained one", "format.md 2.5"
    )
    return table


def parse_categories(data: bytes) -> list[bytes]:
    """Read the content of an object of kind 6 (codecs.md 3.3)."""
    rule = "codecs.md 3.3"
    require(4 <= len(data) <= 2**24, f"a list of categories has {len(data)} bytes", rule)
    c = u32(data, 0)
    require(c <= 65536, f"there are {c} categories", rule)
    lengths, at = packed(data, 4, c, 0, 2**24)
    names = []
    for length in lengths:
        require(at + length <= len(data), "a category does not fit", rule)
        names.append(data[at : at + length])
        at += length
        try:
            names[-1].decode("utf-8")
        except UnicodeDecodeError:
            raise corrupt("a category is not UTF-8", rule) from None
    require(at == len(data), "bytes follow a list of categories", rule)
    require(len(set(names)) == c, "a category is in the list twice", rule)
    return names


def _rank_table(data: bytes) -> RankTable:
    rule = "codecs.md 2.1"
    require(len(data) >= 8, "a rank table is too short", rule)
    entries, dictionary_bytes = u32(data, 0), u32(data, 4)
    require(1 <= entries <= 2**20, f"a rank table has {entries} entries", rule)
    require(dictionary_bytes <= 8 * 2**20, "a dictionary is larger than 8 MiB", "format.md 11")
    ids, end = packed(data, 8, entries, 0, 2**32 - 1)
    require(len(set(ids)) == entries, "an id stands twice in a rank table", rule)
    require(end + dictionary_bytes == len(data), "the dictionary does not fill the rest of the rank table", rule)
    return RankTable(ids, data[end:])
