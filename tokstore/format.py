"""Magic numbers, limits, and the fixed structures of the format <-> bytes (format.md 4, 5, 8, 11).

Pure functions of bytes. Structures that come in arrays (column entries, object entries, page records) are numpy
record types, so that a directory of any length is parsed by one call.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore import frames
from tokstore.errors import ChecksumError, CorruptError, TruncatedError, UnsupportedError
from tokstore.wire import checksum, digest, unpack

__all__ = [
    "COLUMN_ENTRY",
    "FOOTER_BYTES",
    "HEADER_BYTES",
    "OBJECT_ENTRY",
    "PAGE_RECORD",
    "Features",
    "Footer",
    "Header",
    "IndexHeader",
    "check_feature_bits",
    "check_stored",
    "check_whole",
    "records_from",
    "unwrap",
    "verify_checksum",
    "wrap",
]

VERSION = (1, 0)
VERSION_TEXT = "1.0"
DATA_MAGIC, TAIL_MAGIC, ROOT_MAGIC = b"TOKSDATA", b"TOKSTAIL", b"TOKSROOT"
PAGE_MAGIC, PLAN_MAGIC, DELETIONS_MAGIC, PART_MAGIC = b"TOKSPAGE", b"TOKSPLAN", b"TOKSDELS", b"TOKSPART"
VIEW_MAGIC = b"TOKSVIEW"
OBJECT_MAGIC = b"TOKO"
HEADER_BYTES = FOOTER_BYTES = 64

# Limits of format.md 11; a reader checks them before it allocates.
MAX_BLOCK_VALUES = MAX_RUN_VALUES = 1 << 20
MAX_BLOCK_BYTES = 16 << 20
MAX_DICTIONARY_BYTES = 8 << 20
MAX_RANKS = 1 << 20
MAX_INDEX_BYTES = 64 << 20
MAX_SECTION_BYTES = 256 << 20
MAX_OBJECT_BYTES = 1 << 30
MAX_SHARD_SAMPLES = 1 << 24
MAX_BLOCKS = 1 << 24
MAX_COLUMNS = 65_535
MAX_PAGE_SHARDS = 1024
MAX_PAGE_SPANS = 1 << 22
MAX_PAGE_BYTES = 512 << 10
MAX_ROOT_BYTES = 65_536
MAX_METADATA_BYTES = 16 << 10
MAX_METADATA_DEPTH = 64
MAX_JSON_FILE_BYTES = 65_536
MAX_PART_BYTES = 64 << 20
MAX_VIEW_BYTES = 1 << 30
MAX_SAMPLE_ID = 1 << 53
SPAN_VALUES = 1 << 18

FLAG_RAGGED, FLAG_OPTIONAL, FLAG_OBJECT, FLAG_RANGES, FLAG_TABLE_ZSTD, FLAG_ROWS_ZSTD, FLAG_GROUPS = (
    1 << i for i in range(7)
)
EMBEDDED = 1
PAGE_INLINE, PLAN_INLINE, HAS_DELETIONS = 1, 2, 4
NO_DIGEST = bytes(32)

COLUMN_ENTRY = np.dtype(
    [
        ("column_id", "<u4"),
        ("type", "<u2"),
        ("codec", "<u2"),
        ("flags", "<u4"),
        ("features", "<u4", 3),
        ("rows", "<u8"),
        ("values", "<u8"),
        ("blocks", "<u4"),
        ("object", "<u4"),
        ("table_offset", "<u8"),
        ("table_bytes", "<u8"),
        ("table_content_bytes", "<u8"),
        ("table_checksum", "<u8"),
        ("rows_offset", "<u8"),
        ("rows_bytes", "<u8"),
        ("rows_content_bytes", "<u8"),
        ("rows_checksum", "<u8"),
        ("stored_bytes", "<u8"),
        ("values_digest", "V32"),
        ("dtype", "u1"),
        ("reserved", "V7"),
    ]
)
"""Column entry of an index (format.md 4.7)."""

OBJECT_ENTRY = np.dtype(
    [
        ("digest", "V32"),
        ("offset", "<u8"),
        ("stored_bytes", "<u8"),
        ("content_bytes", "<u8"),
        ("kind", "<u2"),
        ("flags", "<u2"),
        ("reserved", "V4"),
    ]
)
"""Object entry of an index (format.md 4.8)."""

PAGE_RECORD = np.dtype(
    [
        ("page_digest", "V32"),
        ("plan_digest", "V32"),
        ("deletion_digest", "V32"),
        ("page_bytes", "<u4"),
        ("plan_bytes", "<u4"),
        ("deletion_bytes", "<u4"),
        ("flags", "<u4"),
        ("samples", "<u8"),
        ("deleted", "<u8"),
        ("values", "<u8"),
        ("first_sample_id", "<u8"),
        ("last_sample_id", "<u8"),
        ("shards", "<u4"),
        ("spans", "<u4"),
    ]
)
"""Page record of a root (format.md 8.2)."""

_HEADER = struct.Struct("<8sHH3I16s16sQ")
_FOOTER = struct.Struct("<QQQQQQ8sQ")
_INDEX = struct.Struct("<QIII12s")
_WRAP = struct.Struct("<8sHHB3sQ")


def verify_checksum(data: bytes | memoryview, expected: int, seed: int, what: str, offset: int | None = None) -> None:
    """Raise `ChecksumError` if `data` has another checksum than `expected`."""
    found = checksum(data, seed)
    if found != expected:
        raise ChecksumError(
            f"{what} checksum differs: expected 0x{expected:016x}, found 0x{found:016x}",
            offset=offset,
            rule="format.md 2.2",
        )


def check_whole(data: bytes | memoryview, nbytes: int, what: str, rule: str) -> None:
    """Raise `TruncatedError` if a file is shorter than it has to be (format.md 2.7)."""
    if len(data) < nbytes:
        raise TruncatedError(f"{what} of {len(data)} bytes should have {nbytes}", rule=rule)


def check_stored(data: bytes | memoryview, nbytes: int, expected: bytes, what: str, rule: str) -> None:
    """Check bytes that a parent names by length and digest: too short, too long, or others (format.md 2.7)."""
    check_whole(data, nbytes, what, rule)
    if len(data) > nbytes:
        raise CorruptError(f"{what} of {len(data)} bytes should have {nbytes}", rule=rule)
    if digest(data) != expected:
        raise ChecksumError(f"{what} has another digest than its parent says", rule=rule)


def _check_own_checksum(data: bytes | memoryview, what: str, offset: int) -> None:
    """Verify bytes that end in their own checksum."""
    (expected,) = struct.unpack_from("<Q", data, len(data) - 8)
    verify_checksum(data[: len(data) - 8], expected, 0, what, offset)


@dataclass(frozen=True)
class Features:
    """Feature masks of a file, a version or a column (format.md 12.2). This version knows no bit."""

    ignorable: int = 0
    read_only: int = 0
    required: int = 0

    def check_read(self, what: str) -> None:
        """Refuse what must be understood and is not."""
        check_feature_bits(self.required, what)

    def check_write(self, what: str) -> None:
        """Refuse to write beside features that this version does not know."""
        self.check_read(what)
        if self.read_only:
            raise UnsupportedError(
                f"{what} has features 0x{self.read_only:x} that this version can read but not write",
                rule="format.md 12.2",
                hint="use a newer tokstore",
            )


def check_feature_bits(required: int, what: str) -> None:
    """Raise `UnsupportedError` if a required feature is set."""
    if required:
        raise UnsupportedError(
            f"{what} requires features 0x{required:x} that this version does not know",
            rule="format.md 12.2",
            hint="use a newer tokstore",
        )


def check_version(major: int, minor: int, what: str) -> None:
    """Refuse a greater major version; a greater minor one is fine (format.md 12.1)."""
    if major != VERSION[0]:
        raise UnsupportedError(
            f"{what} is of format {major}.{minor}; this version reads {VERSION[0]}.x",
            rule="format.md 12.1",
            hint="use a newer tokstore",
        )


@dataclass(frozen=True)
class Header:
    """First 64 bytes of a data file (format.md 4.2)."""

    file_id: bytes
    features: Features = field(default_factory=Features)

    def encode(self) -> bytes:
        """Return the 64 bytes."""
        f = self.features
        body = _HEADER.pack(DATA_MAGIC, *VERSION, f.ignorable, f.read_only, f.required, self.file_id, bytes(16), 0)[:-8]
        return body + struct.pack("<Q", checksum(body))

    @classmethod
    def decode(cls, data: bytes | memoryview) -> Header:
        """Parse and check the header; unknown required features are refused."""
        if bytes(data[:8]) != DATA_MAGIC[: len(data)]:
            raise CorruptError("this is no tokstore data file: the magic differs", offset=0, rule="format.md 4.2")
        check_whole(data, HEADER_BYTES, "a data file", "format.md 4.2")
        _check_own_checksum(data[:HEADER_BYTES], "header", 0)
        _, major, minor, ignorable, read_only, required, file_id, reserved, _ = _HEADER.unpack_from(data)
        check_version(major, minor, "the file")
        if any(reserved):
            raise CorruptError("reserved bytes of the header are not zero", offset=40, rule="format.md 4.2")
        features = Features(ignorable, read_only, required)
        features.check_read("the file")
        return cls(file_id, features)


@dataclass(frozen=True)
class Footer:
    """Last 64 bytes of a data file (format.md 4.11)."""

    copy_offset: int
    tail_offset: int
    index_offset: int
    index_bytes: int
    index_checksum: int
    file_bytes: int

    def encode(self) -> bytes:
        """Return the 64 bytes."""
        body = _FOOTER.pack(
            self.copy_offset,
            self.tail_offset,
            self.index_offset,
            self.index_bytes,
            self.index_checksum,
            self.file_bytes,
            TAIL_MAGIC,
            0,
        )[:-8]
        return body + struct.pack("<Q", checksum(body))

    @classmethod
    def decode(cls, data: bytes | memoryview, file_bytes: int) -> Footer:
        """Parse and check the footer of a file of `file_bytes` bytes."""
        at = file_bytes - FOOTER_BYTES
        check_whole(data, FOOTER_BYTES, "a data file", "format.md 4.11")
        *numbers, magic, _ = _FOOTER.unpack_from(data)
        if magic != TAIL_MAGIC:
            raise TruncatedError("the file does not end in a footer: it is cut short", offset=at, rule="format.md 4.11")
        _check_own_checksum(data[:FOOTER_BYTES], "footer", at)
        footer = cls(*numbers)
        if footer.file_bytes != file_bytes:
            raise CorruptError(
                f"the file has {file_bytes} bytes, its footer says {footer.file_bytes}",
                offset=at,
                rule="format.md 4.11",
            )
        ordered = (HEADER_BYTES, footer.copy_offset, footer.tail_offset, footer.index_offset, at)
        if list(ordered) != sorted(ordered) or footer.index_offset + footer.index_bytes != at:
            raise CorruptError("parts named by the footer are out of order", offset=at, rule="format.md 4.11")
        if footer.index_bytes > MAX_INDEX_BYTES:
            raise CorruptError(f"an index of {footer.index_bytes} bytes", offset=at, rule="format.md 11")
        return footer


@dataclass(frozen=True)
class IndexHeader:
    """First 32 bytes of an index (format.md 4.6)."""

    rows: int
    columns: int
    objects: int
    metadata_bytes: int

    BYTES = _INDEX.size

    def encode(self) -> bytes:
        """Return the 32 bytes."""
        return _INDEX.pack(self.rows, self.columns, self.objects, self.metadata_bytes, bytes(12))

    @classmethod
    def decode(cls, data: bytes | memoryview) -> IndexHeader:
        """Parse it and check that the index has exactly the bytes it says."""
        rows, columns, objects, metadata_bytes, reserved = unpack(_INDEX, data)
        if any(reserved):
            raise CorruptError("reserved bytes of the index are not zero", rule="format.md 4.6")
        if rows > MAX_SHARD_SAMPLES or not 1 <= columns <= MAX_COLUMNS or objects > MAX_COLUMNS:
            raise CorruptError(f"{rows} rows, {columns} columns, {objects} objects in one file", rule="format.md 11")
        expected = _INDEX.size + columns * COLUMN_ENTRY.itemsize + objects * OBJECT_ENTRY.itemsize + metadata_bytes
        if len(data) != expected:
            raise CorruptError(f"the index has {len(data)} bytes, its parts take {expected}", rule="format.md 4.6")
        return cls(rows, columns, objects, metadata_bytes)


def records_from(data: bytes | memoryview, kind: np.dtype[Any], count: int, offset: int = 0) -> NDArray[Any]:
    """View `count` fixed records as a numpy array, and check that reserved bytes are zero."""
    found = np.frombuffer(data, kind, count, offset) if count else np.zeros(0, kind)
    if "reserved" in (kind.names or ()) and any(found["reserved"].tobytes()):
        raise CorruptError("reserved bytes of a directory entry are not zero", rule="format.md 4.7")
    return found


def wrap(magic: bytes, content: bytes, level: int = 9) -> bytes:
    """Wrap a page, plan, deletion, part or view, compressed where that is smaller (format.md 8.3)."""
    packed = frames.compress(content, level)
    zstd = len(packed) < len(content)
    return _WRAP.pack(magic, *VERSION, int(zstd), bytes(3), len(content)) + (packed if zstd else content)


def unwrap(magic: bytes, data: bytes | memoryview, most: int = MAX_PART_BYTES) -> bytes:
    """Return what `wrap` was given, checked; `most` bytes of it."""
    found, major, minor, encoding, reserved, content_bytes = unpack(_WRAP, data)
    if found != magic:
        raise CorruptError(f"magic is {bytes(found)!r}, not {magic!r}", offset=0, rule="format.md 8.3")
    check_version(major, minor, "this part of a manifest")
    if encoding > 1 or any(reserved) or content_bytes > most:
        raise CorruptError(f"encoding {encoding}, {content_bytes} bytes of content", offset=12, rule="format.md 8.3")
    body = memoryview(data)[_WRAP.size :]
    if encoding:
        return frames.decompress(body, least=content_bytes, most=content_bytes)
    if len(body) != content_bytes:
        raise CorruptError(f"{len(body)} bytes of content, not {content_bytes}", offset=24, rule="format.md 8.3")
    return bytes(body)
