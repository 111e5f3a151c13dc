"""Roots: what one version is <-> bytes (format.md 8.1, 8.2).

A root is small, whatever the store's size: schema, totals, and one record per page.
"""

from __future__ import annotations

import secrets
import struct
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.block import decode_ranges, encode_ranges
from tokstore.column_types import Text, UnknownType
from tokstore.errors import (
    ChecksumError,
    ConflictError,
    CorruptError,
    TruncatedError,
)
from tokstore.format import (
    HAS_DELETIONS,
    MAX_METADATA_BYTES,
    MAX_ROOT_BYTES,
    PAGE_INLINE,
    PAGE_RECORD,
    PLAN_INLINE,
    ROOT_MAGIC,
    VERSION,
    Features,
    check_version,
    records_from,
    verify_checksum,
)
from tokstore.packed import PackedReader
from tokstore.schema import Schema
from tokstore.wire import checksum, decode_metadata, digest, encode_metadata, unpack

__all__ = ["ColumnTotals", "Root", "Totals", "empty_root"]

_HEAD = struct.Struct("<8sHH3III")
_KEYS = frozenset(range(1, 18))
_NEEDED = frozenset({1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 16})


@dataclass(frozen=True)
class Totals:
    """Sums over all shards of a version (key 9)."""

    samples: int = 0
    shards: int = 0
    values: int = 0
    data_bytes: int = 0
    object_bytes: int = 0


@dataclass(frozen=True)
class ColumnTotals:
    """Sums over all shards for one column (key 11)."""

    values: int = 0
    stored_bytes: int = 0
    span: tuple[Any, Any] | None = None
    missing: int = 0
    nans: int = 0


@dataclass(frozen=True)
class Root:
    """One version of a store; see format.md 8.1 for every field.

    `inline` has the bytes of pages and plans that ride in the root, by digest.
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
            "nonce": secrets.token_bytes(16),
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
            if t.span is not None and not isinstance(kind, (UnknownType, Text)):
                made[3] = encode_ranges([t.span], kind.dtype)
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
        magic, major, minor, ignorable, read_only, required, body_bytes, inline_bytes = unpack(_HEAD, data)
        if magic != ROOT_MAGIC:
            raise CorruptError("this is no manifest: the magic differs", offset=0, rule="format.md 8.1")
        check_version(major, minor, "this version of the store")
        if len(data) > MAX_ROOT_BYTES:
            raise CorruptError(f"a root of {len(data)} bytes", rule="format.md 8.1")
        end = _HEAD.size + body_bytes + inline_bytes
        if end + 8 != len(data):
            kind = TruncatedError if end + 8 > len(data) else CorruptError
            raise kind(f"a root of {len(data)} bytes should have {end + 8}", rule="format.md 8.1")
        (expected,) = struct.unpack_from("<Q", data, end)
        verify_checksum(data[:end], expected, 0, "root", 0)
        features = Features(ignorable, read_only, required)
        features.check_read("this version of the store")
        body = decode_metadata(data[_HEAD.size : _HEAD.size + body_bytes], _KEYS)
        if not set(body) >= _NEEDED:
            raise CorruptError(f"a root lacks key {min(_NEEDED - set(body))}", rule="format.md 8.1")
        try:
            root = cls._from_body(body, features)
        except (ValueError, TypeError, IndexError, AttributeError) as error:
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
        columns = {}
        for one, t in body[11].items():
            kind, span = kinds.get(one), None
            if 3 in t and kind is not None and not isinstance(kind, UnknownType):
                present, low, high = decode_ranges(PackedReader(t[3], "ranges", "format.md 4.5"), 1, kind)
                span = (low.tolist()[0], high.tolist()[0]) if present[0] else None
            columns[one] = ColumnTotals(t[1], t[2], span, t[4], t[5])
        if body.get(13) is not None and len(body[13]) > MAX_METADATA_BYTES:
            raise ValueError("metadata is too long")
        return cls(
            store_id=_exactly(body[1], 16),
            version=int(body[2]),
            parent=body.get(3),
            nonce=_exactly(body[4], 16),
            created_ms=int(body[5]),
            schema=schema,
            next_sample_id=int(body[7]),
            next_column_id=int(body[8]),
            totals=Totals(*body[9]),
            pages=records_from(body[10], PAGE_RECORD, len(body[10]) // PAGE_RECORD.itemsize),
            columns=columns,
            attachments={name: (_exactly(d, 32), n, m) for name, d, n, m in body.get(12, {}).values()},
            metadata=body.get(13),
            tags={name: int(number) for name, number in body.get(14, {}).values()},
            current_objects={one: (_exactly(d, 32), int(n)) for one, (d, n) in body.get(15, {}).items()},
            verb=str(body[16][0]),
            samples_added=int(body[16][1]),
            part_nonces=bytes(body.get(17, b"")),
            features=features,
        )


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
                part = data[at : at + int(record[f"{name}_bytes"])]
                expected = record[f"{name}_digest"].tobytes()
                if digest(part) != expected:
                    raise ChecksumError(f"an inline {name} has another digest", rule="format.md 8.2")
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
        nonce=secrets.token_bytes(16),
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
