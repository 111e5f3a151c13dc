"""Bad files: metadata and column records (format.md 2.4, 6.1, registry.md 1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .bad_files import changed, simple
from .columns import label, numbers, score, tokens
from .datafile_writer import write_file
from .primitives import Verbatim, metadata
from .vector import Vector, bad


def vectors() -> Iterator[Vector]:
    """Make the vectors of this module."""
    yield from _spelling()
    yield from _records()


def _spelling() -> Iterator[Vector]:
    def holds(name: str, comment: str, value: Any) -> Vector:
        return bad(f"metadata_{name}", "corrupt", "2.4", comment, write_file([simple()], more={128: value}))

    def spelled(name: str, comment: str, hexadecimal: str) -> Vector:
        return holds(name, comment, Verbatim(bytes.fromhex(hexadecimal)))

    yield spelled("key_order", "keys descend", "82 02 00 01 00")
    yield spelled("key_twice", "a key stands twice", "82 01 00 01 00")
    yield spelled("key_negative", "a negative key", "81 ff 00")
    yield spelled("key_string", "a string as a key", "81 a1 61 00")
    yield spelled("long_uint8", "5 as uint 8", "cc 05")
    yield spelled("long_uint16", "255 as uint 16", "cd 00 ff")
    yield spelled("long_uint32", "65,535 as uint 32", "ce 00 00 ff ff")
    yield spelled("long_uint64", "2^32 - 1 as uint 64", "cf 00 00 00 00 ff ff ff ff")
    yield spelled("long_int8", "-32 as int 8", "d0 e0")
    yield spelled("long_int64", "-1 as int 64", "d3 ff ff ff ff ff ff ff ff")
    yield spelled("signed", "200 as int 16", "d1 00 c8")
    yield spelled("long_str8", "a string of one byte as str 8", "d9 01 61")
    yield spelled("long_bin16", "one byte as bin 16", "c5 00 01 61")
    yield spelled("long_array16", "an array of one item as array 16", "dc 00 01 00")
    yield spelled("long_map16", "a map of one key as map 16", "de 00 01 01 00")
    yield spelled("float32", "a float 32", "ca 3f 80 00 00")
    yield spelled("nil", "nil", "c0")
    yield spelled("unused", "the tag that msgpack never uses", "c1")
    yield spelled("ext", "an extension type", "d4 05 00")
    yield spelled("timestamp", "a timestamp", "d6 ff 00 00 00 00")
    yield spelled("utf8", "a string that is not UTF-8", "a1 ff")
    yield spelled("huge_array", "an array of 2^32 - 1 items that are not there", "dd ff ff ff ff")
    yield spelled("huge_bin", "2^32 - 1 bytes that are not there", "c6 ff ff ff ff")
    yield holds("depth", "an array at depth 5", [[[[[]]]]])
    yield bad("metadata_trailing", "corrupt", "2.4", "a byte after the value", changed("metadata", lambda d: d + b"\0"))
    yield bad("metadata_cut", "corrupt", "2.4", "the value ends one byte early", changed("metadata", lambda d: d[:-1]))
    yield bad(
        "metadata_unknown_key", "corrupt", "2.4", "an unknown key below 128", write_file([simple()], more={127: 0})
    )
    yield bad(
        "metadata_kind", "corrupt", "2.4", "the name of the writer is an integer", write_file([simple()], more={2: 7})
    )
    missing: dict[int, Any] = {1: [simple().record()]}
    yield bad(
        "metadata_missing_key", "corrupt", "2.4", "key 2 is not there", changed("metadata", lambda d: metadata(missing))
    )


def _records() -> Iterator[Vector]:
    def record(name: str, rule: str, comment: str, change: dict[int, Any]) -> Vector:
        column = simple()
        return bad(
            f"record_{name}", "corrupt", rule, comment, write_file([column], more={1: [column.record() | change]})
        )

    yield record("name", "6.1", "a name that begins with a digit", {2: "1st"})
    yield record("name_empty", "6.1", "an empty name", {2: ""})
    yield record("name_long", "6.1", "a name of 129 characters", {2: "x" * 129})
    yield record("name_newline", "6.1", "a name that ends in a newline", {2: "tokens\n"})
    yield record("unknown_key", "2.4", "an unknown key below 128", {9: 0})
    yield record("primary_false", "6.1", "key 7 is there and not true", {7: False})
    yield record("primary_kind", "2.4", "key 7 is an integer", {7: 1})
    yield record("optional_kind", "2.4", "optional is an integer", {5: 1})
    yield record("vocabulary_0", "registry.md 1", "a vocabulary of 0", {4: {1: 0}})
    yield record("vocabulary_limit", "registry.md 1", "a vocabulary of 2^32 + 1", {4: {1: 2**32 + 1}})
    yield record("special_id", "registry.md 1", "eos_id is not in the vocabulary", {4: {1: 100, 3: 100}})
    yield record("parameter", "2.4", "an unknown parameter below 128", {4: {1: 100, 5: 0}})
    yield record("parameter_missing", "registry.md 1", "no vocab_size", {4: {}})
    twins = [tokens(0, "tokens", 10, [[1]]), tokens(1, "tokens", 10, [[1]])]
    yield bad("record_name_twice", "corrupt", "6.1", "two columns have one name", write_file(twins))
    both = [tokens(0, "a", 10, [[1]], primary=True), tokens(1, "b", 10, [[1]], primary=True)]
    yield bad("record_primary_twice", "corrupt", "6.1", "two columns are the primary one", write_file(both))
    yield bad(
        "score_dtype", "corrupt", "registry.md 1", "a score of i64", write_file([numbers(0, "score", 4, {1: 8}, [1])])
    )
    yield bad(
        "label_dtype",
        "corrupt",
        "registry.md 1",
        "three classes in u16",
        write_file([numbers(0, "kind", 5, {1: 2, 2: 3}, [1])]),
    )
    yield bad(
        "label_no_classes",
        "corrupt",
        "registry.md 1",
        "no classes and u8",
        write_file([numbers(0, "kind", 5, {1: 1}, [1])]),
    )
    yield bad(
        "label_names_few",
        "corrupt",
        "registry.md 1",
        "two names for three classes",
        write_file([label(0, "kind", [1], 3, ["a", "b"])]),
    )
    open_names = numbers(0, "kind", 5, {1: 1, 2: 1, 3: "no\nyes"}, [0])
    yield bad(
        "label_names_open", "corrupt", "registry.md 1", "the last name has no line feed", write_file([open_names])
    )
    yield bad("score_parameter", "corrupt", "registry.md 1", "a score of bf16", write_file([_bf16()]))


def _bf16() -> Any:
    column = score(0, "score", [1.0], 9)
    column.parameters, column.dtype = {1: 10}, 10
    return column
