"""Content-addressed objects: rank tables with dictionaries, attachments (format.md 5).

An object has a header of 16 bytes and is named by the digest of all its bytes, wherever it lies.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tokstore import frames
from tokstore.column_types import Category, ColumnType
from tokstore.errors import CorruptError, UnsupportedError
from tokstore.format import MAX_OBJECT_BYTES, OBJECT_MAGIC, check_stored
from tokstore.wire import digest, unpack

__all__ = [
    "ATTACHMENT",
    "CATEGORIES",
    "CODE_MODEL",
    "DICTIONARY",
    "RANK_TABLE",
    "VECTOR_MODEL",
    "StoredObject",
    "check_object",
    "check_object_kind",
    "decode_object",
    "encode_object",
    "object_kinds",
    "object_path",
]

ATTACHMENT, RANK_TABLE, DICTIONARY, VECTOR_MODEL, CODE_MODEL, CATEGORIES = range(1, 7)
_KNOWN = frozenset(range(1, 7))
_KIND_OF_CODEC = {1: RANK_TABLE, 3: DICTIONARY, 4: CODE_MODEL, 5: VECTOR_MODEL}
_HEADER = struct.Struct("<4sHBBQ")
# Rank tables lie in the middle: level 15 takes a quarter of the time there, and at most 0.3 % more bytes.
_LEVELS = ((32 << 10, 19), (256 << 10, 15), (32 << 20, 19))
_LEVEL_LARGE = 9


@dataclass(frozen=True)
class StoredObject:
    """An encoded object: its bytes as stored, their digest, its kind and the length of its content."""

    data: bytes
    digest: bytes
    kind: int
    content_bytes: int


def object_path(object_digest: bytes) -> str:
    """Return where an object lies in a store."""
    name = object_digest.hex()
    return f"objects/{name[:2]}/{name}"


def encode_object(kind: int, content: bytes) -> StoredObject:
    """Encode an object, compressed where that is smaller: it is written once and read often, so slowly and well."""
    if len(content) > MAX_OBJECT_BYTES:
        raise ValueError(f"an object has at most {MAX_OBJECT_BYTES} bytes, not {len(content)} (format.md 11)")
    level = next((level for most, level in _LEVELS if len(content) <= most), _LEVEL_LARGE)
    packed = frames.compress(content, level)
    zstd = len(packed) < len(content)
    data = _HEADER.pack(OBJECT_MAGIC, kind, int(zstd), 0, len(content)) + (packed if zstd else content)
    return StoredObject(data, digest(data), kind, len(content))


def decode_object(
    data: bytes | memoryview,
    expected: bytes,
    stored_bytes: int,
    kind: int | None = None,
    content_bytes: int | None = None,
) -> bytes:
    """Verify an object against what its parent says, and return its content.

    Args:
        data: The object as stored.
        expected: Its digest.
        stored_bytes: Its length.
        kind: Its kind, or ``None`` where the parent does not say.
        content_bytes: The length of its content, likewise.
    """
    name = check_object(data, expected, stored_bytes)
    magic, found, encoding, reserved, held = unpack(_HEADER, data)
    if magic != OBJECT_MAGIC or encoding > 1 or reserved or held > MAX_OBJECT_BYTES:
        raise CorruptError(f"{name} has a wrong header", offset=0, rule="format.md 5")
    if kind is not None and found != kind:
        raise CorruptError(f"{name} is of kind {found}, not {kind}", rule="registry.md 4")
    if content_bytes is not None and held != content_bytes:
        raise CorruptError(f"{name} holds {held} bytes, not {content_bytes}", offset=8, rule="format.md 4.8")
    body = memoryview(data)[_HEADER.size :]
    if encoding:
        return frames.decompress(body, least=held, most=held)
    if len(body) != held:
        raise CorruptError(f"{name} has {len(body)} bytes of content", rule="format.md 5")
    return bytes(body)


def check_object(data: bytes | memoryview, expected: bytes, stored_bytes: int) -> str:
    """Verify the stored bytes of an object, without decoding them; return its name in errors."""
    name = f"object {expected.hex()[:16]}…"
    check_stored(data, stored_bytes, expected, name, "format.md 5")
    return name


def object_kinds(kind: ColumnType) -> frozenset[int]:
    """Return the kinds of objects that a column of a type may have, by codec."""
    if isinstance(kind, Category):
        return frozenset({CATEGORIES})
    return frozenset(_KIND_OF_CODEC[codec] for codec in kind.codecs if codec in _KIND_OF_CODEC)


def check_object_kind(kind: ColumnType, codec: int, number: int) -> None:
    """Refuse an object that is not of the kind that a column takes (registry.md 4)."""
    if number not in _KNOWN:
        raise UnsupportedError(
            f"the column has an object of kind {number}, which this version does not know",
            rule="registry.md 4",
            hint="use a newer tokstore",
        )
    if number != (CATEGORIES if isinstance(kind, Category) else _KIND_OF_CODEC.get(codec)):
        raise CorruptError(f"a column of codec {codec} has an object of kind {number}", rule="format.md 4.8")
