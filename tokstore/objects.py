"""Content-addressed objects: rank tables with dictionaries, attachments (format.md 5).

An object has a header of 16 bytes and is named by the digest of all its bytes, wherever it lies.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tokstore import frames
from tokstore.errors import ChecksumError, CorruptError
from tokstore.format import MAX_OBJECT_BYTES, OBJECT_MAGIC
from tokstore.wire import digest, unpack

__all__ = ["ATTACHMENT", "DICTIONARY", "RANK_TABLE", "StoredObject", "decode_object", "encode_object", "object_path"]

ATTACHMENT, RANK_TABLE, DICTIONARY = 1, 2, 3
_HEADER = struct.Struct("<4sHBBQ")
_LEVEL = 19
_LEVEL_LARGE = 9
_LARGE = 32 << 20


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
    packed = frames.compress(content, _LEVEL if len(content) <= _LARGE else _LEVEL_LARGE)
    zstd = len(packed) < len(content)
    data = _HEADER.pack(OBJECT_MAGIC, kind, int(zstd), 0, len(content)) + (packed if zstd else content)
    return StoredObject(data, digest(data), kind, len(content))


def decode_object(data: bytes | memoryview, expected: bytes, kind: int) -> bytes:
    """Verify an object against its digest and kind, and return its content."""
    if digest(data) != expected:
        raise ChecksumError(f"object {expected.hex()[:16]}… has another digest", rule="format.md 5")
    magic, found, encoding, reserved, content_bytes = unpack(_HEADER, data)
    if magic != OBJECT_MAGIC or encoding > 1 or reserved or content_bytes > MAX_OBJECT_BYTES:
        raise CorruptError(f"object {expected.hex()[:16]}… has a wrong header", offset=0, rule="format.md 5")
    if found != kind:
        raise CorruptError(f"object {expected.hex()[:16]}… is of kind {found}, not {kind}", rule="registry.md 4")
    body = memoryview(data)[_HEADER.size :]
    if encoding:
        return frames.decompress(body, least=content_bytes, most=content_bytes)
    if len(body) != content_bytes:
        raise CorruptError(f"object {expected.hex()[:16]}… has {len(body)} bytes of content", rule="format.md 5")
    return bytes(body)
