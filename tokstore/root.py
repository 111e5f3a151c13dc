"""Roots: what one version is <-> bytes (format.md 8.1, 8.2).

A root is small, whatever the store's size: schema, totals, and one record per page.
"""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.column_types import UnknownType
from tokstore.errors import (
    ConflictError,
    CorruptError,
)
from tokstore.format import (
    HAS_DELETIONS,
    MAX_METADATA_BYTES,
    MAX_PAGE_BYTES,
    MAX_PAGE_SHARDS,
    MAX_PAGE_SPANS,
    MAX_ROOT_BYTES,
    MAX_SAMPLE_ID,
    MAX_SHARD_SAMPLES,
    PAGE_INLINE,
    PAGE_RECORD,
    PLAN_INLINE,
    ROOT_MAGIC,
    VERSION,
    Features,
    check_stored,
    check_version,
    check_whole,
    records_from,
    verify_checksum,
)
from tokstore.packed import PackedReader
from tokstore.ranges import decode_ranges, encode_ranges_of
from tokstore.schema import Schema
from tokstore.wire import checksum, decode_metadata, encode_metadata, fields

__all__ = ["ColumnTotals", "Root", "Totals", "empty_root"]

_HEAD = struct.Struct("<8sHH3III")
_KINDS = (
    dict.fromkeys((2, 3, 5, 7, 8), int)
    | dict.fromkeys((1, 4, 10, 17), bytes)
    | dict.fromkeys((6, 9, 16), list)
    | dict.fromkeys((11, 12, 14, 15), dict)
    | {13: str}
)
_OPTIONAL = frozenset({3, 12, 13, 14, 15, 17})
_TOTALS_KINDS = {1: int, 2: int, 3: bytes, 4: int, 5: int}


@dataclass(frozen=True)
class Totals:
    """Sums over all shards of a version (key 9)."""

    samples: int = 0
    shards: int = 0
    values: int = 0
    data_bytes: int = 0
    object_bytes: int = 0

    def with_counts(self, **counts: int) -> Totals:
        """Return totals of which some are other numbers."""
        return replace(self, **counts)


@dataclass(frozen=True)
class ColumnTotals:
    """Sums over all shards for one column (key 11).

    Attributes:
        span: The range of all present values other than NaN; ``None`` if there are none, or if it is not known.
        ranged: Whether it is known.
    """

    values: int = 0
    stored_bytes: int = 0
    span: tuple[Any, Any] | None = None
    missing: int = 0
    nans: int = 0
    ranged: bool = False


@dataclass(frozen=True)
class Root:
    """One version of a store; see format.md 8.1 for every field.

    `inline` has the bytes of pages and plans that ride in the root, by digest; in a draft also those of parts that have
    no file yet.
    """

    store_id: bytes
    version: int
    parent: int | None
    nonce: bytes
    created_ms: int
    schema: Schema
    next_sample_id: int
    next_column_id: int
    totals: Totals
    pages: NDArray[Any]
    columns: dict[int, ColumnTotals]
    attachments: dict[str, tuple[bytes, int, int]] = field(default_factory=dict)
    metadata: str | None = None
    tags: dict[str, int] = field(default_factory=dict)
    current_objects: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    verb: str = "append"
    samples_added: int = 0
    part_nonces: bytes = b""
    inline: dict[bytes, bytes] = field(default_factory=dict)
    features: Features = field(default_factory=Features)

    def next(self, verb: str, **changes: Any) -> Root:
        """Return the draft of the next version, with new nonce and time."""
        fresh: dict[str, Any] = {
            "version": self.version + 1,
            "parent": self.version or None,
            "nonce": os.urandom(16),
            "created_ms": time.time_ns() // 1_000_000,
            "verb": verb,
            "samples_added": 0,
            "part_nonces": b"",
        }
        return replace(self, **(fresh | changes))

    def encode(self) -> tuple[bytes, list[tuple[str, bytes]]]:
        """Return the bytes of the root and the files that must be there before it: parts that do not fit inside.

        Parts ride along from the newest page backwards while the root stays within its limit, since the newest page
        changes with the next append and would only leave a file behind.
        """
        records = self.pages.copy()
        parts = [
            (i, flag, f"{folder}/", records[f"{name}_digest"][i].tobytes(), name)
            for i in range(len(records))
            for flag, folder, name in ((PAGE_INLINE, "pages", "page"), (PLAN_INLINE, "plans", "plan"))
        ]
        records["flags"] &= HAS_DELETIONS
        room = MAX_ROOT_BYTES - len(self._frame(records, b""))
        if room < 0:
            raise ConflictError(
                f"the version has {len(records)} pages and {len(self.schema)} columns, too many for one root",
                rule="format.md 8.1",
                hint="compact the store",
            )
        chosen, files = set(), []
        for number, (i, flag, folder, name, _) in reversed(list(enumerate(parts))):
            data = self.inline.get(name)
            if data is None:
                continue  # it is a file already
            if len(data) <= room:
                room -= len(data)
                records["flags"][i] |= flag
                chosen.add(number)
            else:
                files.append((folder + name.hex(), data))
        for record in records[(records["flags"] & HAS_DELETIONS) != 0]:
            gone = record["deletion_digest"].tobytes()
            if gone in self.inline:
                files.append((f"deletions/{gone.hex()}", self.inline[gone]))
        inline = b"".join(self.inline[parts[number][3]] for number in sorted(chosen))
        return self._frame(records, inline), files

    def _frame(self, records: NDArray[Any], inline: bytes) -> bytes:
        """Return the bytes of the root with given page records and inline parts."""
        kinds = {column.column_id: column.type for column in self.schema.columns}
        columns: dict[int, object] = {}
        for one, t in sorted(self.columns.items()):
            if one not in kinds:
                continue
            made: dict[int, object] = {1: t.values, 2: t.stored_bytes, 4: t.missing, 5: t.nans}
            kind = kinds[one]
            if t.ranged and not isinstance(kind, UnknownType) and kind.ranged:
                made[3] = encode_ranges_of(kind, [t.span])
            columns[one] = made
        t9 = self.totals
        body: dict[int, object] = {
            1: self.store_id,
            2: self.version,
            4: self.nonce,
            5: self.created_ms,
            6: self.schema.records(),
            7: self.next_sample_id,
            8: self.next_column_id,
            9: [t9.samples, t9.shards, t9.values, t9.data_bytes, t9.object_bytes],
            10: records.tobytes(),
            11: columns,
            16: [self.verb, self.samples_added],
        }
        if self.parent is not None:
            body[3] = self.parent
        if self.attachments:
            body[12] = {i: [name, *self.attachments[name]] for i, name in enumerate(sorted(self.attachments))}
        if self.metadata is not None:
            body[13] = self.metadata
        if self.tags:
            body[14] = {i: [name, self.tags[name]] for i, name in enumerate(sorted(self.tags))}
        if self.current_objects:
            body[15] = {one: list(pair) for one, pair in self.current_objects.items()}
        if self.part_nonces:
            body[17] = self.part_nonces
        data = encode_metadata(body)
        f = self.features
        masks = (f.ignorable, f.read_only, f.required)
        framed = _HEAD.pack(ROOT_MAGIC, *VERSION, *masks, len(data), len(inline)) + data + inline
        return framed + struct.pack("<Q", checksum(framed))

    @classmethod
    def decode(cls, data: bytes | memoryview, version: int | None = None) -> Root:
        """Parse and check a root.

        Args:
            data: The whole file.
            version: The number in its name.
        """
        if bytes(data[:8]) != ROOT_MAGIC[: len(data)]:
            raise CorruptError("this is no manifest: the magic differs", offset=0, rule="format.md 8.1")
        if len(data) > MAX_ROOT_BYTES:
            raise CorruptError(f"a root of {len(data)} bytes", rule="format.md 8.1")
        check_whole(data, _HEAD.size + 8, "a root", "format.md 8.1")
        _, major, minor, ignorable, read_only, required, body_bytes, inline_bytes = _HEAD.unpack_from(data)
        end = _HEAD.size + body_bytes + inline_bytes
        check_whole(data, end + 8, "a root", "format.md 8.1")
        (expected,) = struct.unpack_from("<Q", data, len(data) - 8)
        verify_checksum(data[:-8], expected, 0, "root", 0)
        if end + 8 != len(data):
            raise CorruptError(f"a root of {len(data)} bytes should have {end + 8}", rule="format.md 8.1")
        check_version(major, minor, "this version of the store")
        features = Features(ignorable, read_only, required)
        features.check_read("this version of the store")
        raw = decode_metadata(data[_HEAD.size : _HEAD.size + body_bytes])
        body = fields(raw, _KINDS, _OPTIONAL, "a root", "format.md 8.1")
        try:
            root = cls._from_body(body, features)
        except (ValueError, TypeError) as error:
            raise CorruptError(f"a field of the root is wrong: {error}", rule="format.md 8.1") from error
        if version is not None and root.version != version:
            raise CorruptError(f"root {version} says it is version {root.version}", rule="format.md 8.1")
        inline = _split_inline(root.pages, bytes(data[_HEAD.size + body_bytes : end]))
        return replace(root, inline=inline)

    @classmethod
    def _from_body(cls, body: dict[int, Any], features: Features) -> Root:
        schema = Schema.from_records(body[6])
        kinds = {column.column_id: column.type for column in schema.columns}
        if len(body[10]) % PAGE_RECORD.itemsize:
            raise ValueError("page records have a wrong length")
        pages = records_from(body[10], PAGE_RECORD, len(body[10]) // PAGE_RECORD.itemsize)
        _check_records(pages)
        columns = {}
        for one, given in body[11].items():
            t = fields(given, _TOTALS_KINDS, (3,), "the totals of a column", "format.md 8.1")
            kind, span = kinds.get(one), None
            ranged = 3 in t and kind is not None and not isinstance(kind, UnknownType)
            if ranged and kind is not None:
                reader = PackedReader(t[3], "ranges", "format.md 4.5")
                present, low, high = decode_ranges(reader, 1, kind)
                reader.end()
                span = (low.tolist()[0], high.tolist()[0]) if present[0] else None
            columns[one] = ColumnTotals(t[1], t[2], span, t[4], t[5], ranged)
        if len(body.get(13, "").encode()) > MAX_METADATA_BYTES:
            raise ValueError("metadata is too long")
        version, parent = body[2], body.get(3)
        if version < 1 or (parent is None) != (version == 1) or not 1 <= (parent or 1) <= max(1, version - 1):
            raise ValueError(f"version {version} has the parent {parent}")
        if body[7] > MAX_SAMPLE_ID or not max(kinds) < body[8] < 1 << 32:
            raise ValueError("next_sample_id or next_column_id is too large, or given already")
        totals = _items(body[9], *[int] * 5)
        attachments = [_items(one, str, bytes, int, int) for one in _listed(body.get(12, {}))]
        tags = [_items(one, str, int) for one in _listed(body.get(14, {}))]
        if [name for name, _ in tags] != sorted({name for name, _ in tags}):
            raise ValueError("tags do not ascend")
        current = {one: _items(pair, bytes, int) for one, pair in body.get(15, {}).items()}
        verb, added = _items(body[16], str, int)
        if len(body.get(17, b"")) % 16:
            raise ValueError("a part nonce is cut")
        return cls(
            store_id=_exactly(body[1], 16),
            version=version,
            parent=parent,
            nonce=_exactly(body[4], 16),
            created_ms=body[5],
            schema=schema,
            next_sample_id=body[7],
            next_column_id=body[8],
            totals=Totals(*totals),
            pages=pages,
            columns=columns,
            attachments={name: (_exactly(d, 32), n, m) for name, d, n, m in attachments},
            metadata=body.get(13),
            tags=dict(tags),
            current_objects={one: (_exactly(d, 32), n) for one, (d, n) in current.items()},
            verb=verb,
            samples_added=added,
            part_nonces=body.get(17, b""),
            features=features,
        )


def _items(value: object, *kinds: type) -> list[Any]:
    """Return an array with one item of each kind."""
    if type(value) is not list or [type(one) for one in value] != list(kinds):
        raise TypeError(f"an array of {', '.join(kind.__name__ for kind in kinds)} expected")
    if any(kind is int and one < 0 for kind, one in zip(kinds, value, strict=True)):
        raise ValueError("a number is negative")
    return value


def _listed(table: dict[int, Any]) -> list[Any]:
    """Return the values of a map whose keys count from 0."""
    if list(table) != list(range(len(table))):
        raise ValueError("keys of a list do not count from 0")
    return list(table.values())


def _check_records(pages: NDArray[Any]) -> None:
    """Check what page records say of themselves (format.md 8.2)."""
    p, deleting = pages, (pages["flags"] & HAS_DELETIONS) != 0
    if (p["flags"] >= 2 * HAS_DELETIONS).any():
        raise CorruptError("a page record has reserved flags", rule="format.md 8.2")
    shards, samples = p["shards"], p["samples"]
    if (p["page_bytes"] > MAX_PAGE_BYTES).any() or (p["spans"] > MAX_PAGE_SPANS).any():
        raise CorruptError("a page is too large", rule="format.md 11")
    if (shards < 1).any() or (shards > MAX_PAGE_SHARDS).any() or (samples > MAX_PAGE_SHARDS * MAX_SHARD_SAMPLES).any():
        raise CorruptError("a page has no shards, or too many of them or of samples", rule="format.md 11")
    without = p[~deleting]
    if without["deleted"].any() or without["deletion_bytes"].any() or any(without["deletion_digest"].tobytes()):
        raise CorruptError("a page record has half a deletion", rule="format.md 8.2")
    if (p["deleted"] > samples).any() or (p["values"] >= np.uint64(1 << 63)).any():
        raise CorruptError("a page record has more deleted samples than samples, or lies", rule="format.md 8.2")


def _exactly(value: object, nbytes: int) -> bytes:
    """Return bytes of one length."""
    if not isinstance(value, bytes) or len(value) != nbytes:
        raise TypeError(f"{nbytes} bytes expected")
    return value


def _split_inline(pages: NDArray[Any], data: bytes) -> dict[bytes, bytes]:
    """Cut the inline bytes of a root into pages and plans, each checked against its digest."""
    inline, at = {}, 0
    for record in pages:
        for flag, name in ((PAGE_INLINE, "page"), (PLAN_INLINE, "plan")):
            if int(record["flags"]) & flag:
                nbytes = int(record[f"{name}_bytes"])
                part = data[at : at + nbytes]
                expected = record[f"{name}_digest"].tobytes()
                if len(part) < nbytes:
                    raise CorruptError(f"the inline bytes end inside a {name}", rule="format.md 8.1")
                check_stored(part, nbytes, expected, f"an inline {name}", "format.md 8.2")
                inline[expected] = part
                at += len(part)
    if at != len(data):
        raise CorruptError(f"{len(data) - at} inline bytes belong to no page", rule="format.md 8.1")
    return inline


def empty_root(
    store_id: bytes, schema: Schema, attachments: dict[str, tuple[bytes, int, int]], text: str | None, nbytes: int
) -> Root:
    """Return the root of an empty store, numbered 0, from which version 1 is made.

    Args:
        store_id: 16 random bytes.
        schema: Its columns.
        attachments: Digest, stored bytes and content bytes of attachments, by name.
        text: Metadata as JSON.
        nbytes: Bytes of objects at rest.
    """
    return Root(
        store_id=store_id,
        version=0,
        parent=None,
        nonce=os.urandom(16),
        created_ms=time.time_ns() // 1_000_000,
        schema=schema,
        next_sample_id=0,
        next_column_id=max(column.column_id for column in schema.columns) + 1,
        totals=Totals(object_bytes=nbytes),
        pages=np.zeros(0, PAGE_RECORD),
        columns={column.column_id: ColumnTotals() for column in schema.columns},
        attachments=attachments,
        metadata=text,
        verb="create",
    )
