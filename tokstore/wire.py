"""Integers, checksums, digests, narrow msgpack: bytes only, no files, no numpy (format.md 2).

Everything that reads works on a `memoryview` or `bytes` whose length was checked before, and raises `CorruptError`
without a
path: the caller, who knows the file, adds it.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Collection, Mapping
from typing import Any

import msgpack
import xxhash
import zstandard

from tokstore.errors import CorruptError

__all__ = [
    "INDEX_PLACE",
    "ROWS_BLOCK",
    "SEED_MASK",
    "TABLE_BLOCK",
    "checksum",
    "decode_metadata",
    "digest",
    "encode_metadata",
    "fields",
    "json_checksum",
    "place_seed",
    "unpack",
    "zstd_content_bytes",
]

SEED_MASK = (1 << 64) - 1
ROWS_BLOCK = (1 << 32) - 2
TABLE_BLOCK = (1 << 32) - 1
INDEX_PLACE = ((1 << 32) - 1, (1 << 32) - 1)
_DEPTH = 5  # the outermost container is at depth 0, the deepest at 4
_KNOWN_KEYS_END = 128


def checksum(data: bytes | memoryview, seed: int = 0) -> int:
    """Return XXH64 of `data` with a 64-bit seed (format.md 2.2)."""
    return xxhash.xxh64_intdigest(data, seed)


def digest(data: bytes | memoryview) -> bytes:
    """Return the BLAKE2b-256 digest of `data`, 32 bytes (format.md 2.2)."""
    return hashlib.blake2b(data, digest_size=32).digest()


def place_seed(file_id: bytes, column_id: int, block: int) -> int:
    """Return the checksum seed of one part of a data file (format.md 2.2).

    Example:
        >>> place_seed(bytes(16), 1, 2)
        4294967298
    """
    return (int.from_bytes(file_id[:8], "little") + (column_id << 32) + block) & SEED_MASK


def json_checksum(members: dict[str, object]) -> str:
    """Return the `checksum` member of a JSON file from its other members (format.md 2.6)."""
    text = "".join(f"{key}={members[key]}\n" for key in sorted(members) if key != "checksum")
    return f"{checksum(text.encode()):016x}"


def encode_metadata(value: object) -> bytes:
    """Encode metadata in the narrow msgpack form (format.md 2.4): sorted integer keys, shortest forms."""
    return bytes(msgpack.packb(_ordered(value, 1), use_bin_type=True, use_single_float=False))


def _ordered(value: object, depth: int) -> object:
    """Sort the keys of every map and refuse what the narrow form does not have."""
    if isinstance(value, dict):
        _check_depth(depth)
        for key in value:
            if not isinstance(key, int) or isinstance(key, bool) or key < 0:
                raise TypeError(f"metadata keys are non-negative integers, not {key!r} (format.md 2.4)")
        return {key: _ordered(value[key], depth + 1) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        _check_depth(depth)
        return [_ordered(item, depth + 1) for item in value]
    if not isinstance(value, (int, float, str, bytes)):
        raise TypeError(f"metadata holds no {type(value).__name__} (format.md 2.4)")
    return value


def _check_depth(depth: int) -> None:
    """Refuse a nesting deeper than the spec allows."""
    if depth > _DEPTH:
        raise ValueError("metadata is nested deeper than 4 (format.md 2.4)")


def decode_metadata(data: bytes | memoryview, known: frozenset[int] | None = None) -> Any:
    """Decode narrow msgpack and refuse every other form (format.md 2.4).

    The strictness is one comparison: what was decoded must encode to the same bytes again. That rejects unsorted and
        double
    keys, long forms, extension types and trailing bytes alike.

    Args:
        data: The bytes, all of them one value.
        known: For a map: the keys that are known. Another key below 128 is refused, one above is dropped.
    """
    raw = bytes(data)
    try:
        value = msgpack.unpackb(raw, raw=False, strict_map_key=False, object_pairs_hook=_pairs)
        again = encode_metadata(value)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError) as error:
        raise CorruptError(f"metadata is no narrow msgpack: {_first_line(error)}", rule="format.md 2.4") from error
    if again != raw:
        raise CorruptError("metadata is not in its shortest, sorted form", rule="format.md 2.4")
    if known is not None:
        if not isinstance(value, dict):
            raise CorruptError("metadata is not a map", rule="format.md 2.4")
        for key in sorted(set(value) - known):
            if key < _KNOWN_KEYS_END:
                raise CorruptError(f"metadata has the unknown key {key}", rule="format.md 2.4")
            del value[key]
    return value


def fields(value: object, kinds: Mapping[int, type], optional: Collection[int], what: str, rule: str) -> dict[int, Any]:
    """Check a map with named keys: which are there, and the kind of what they hold (format.md 2.4).

    Args:
        value: What should be such a map.
        kinds: The type of every known key; integers are from 0 on.
        optional: Known keys that may be left out.
        what: Its name for messages.
        rule: The section that lists its keys.

    Returns:
        The map without the keys that are ignored.
    """
    if not isinstance(value, dict):
        raise CorruptError(f"{what} is no map", rule=rule)
    given: dict[int, Any] = value
    for key, item in given.items():
        kind = kinds.get(key)
        if kind is None:
            if key < _KNOWN_KEYS_END:
                raise CorruptError(f"{what} has the unknown key {key}", rule="format.md 2.4")
        elif type(item) is not kind or (type(item) is int and item < 0):
            raise CorruptError(f"{what} has a value of another kind in key {key}", rule=rule)
    lacking = [key for key in kinds if key not in given and key not in optional]
    if lacking:
        raise CorruptError(f"{what} lacks key {lacking[0]}", rule=rule)
    return {key: item for key, item in given.items() if key in kinds}


def _pairs(pairs: list[tuple[object, object]]) -> dict[object, object]:
    """Build a map and refuse a key that comes twice or in the wrong order."""
    result = dict(pairs)
    if len(result) != len(pairs) or list(result) != sorted(result, key=_int_key):
        raise ValueError("keys are not ascending")
    return result


def _int_key(key: object) -> int:
    """Return an integer key, or refuse another one."""
    if not isinstance(key, int) or isinstance(key, bool):
        raise ValueError("a key is not an integer")
    return key


def _first_line(error: BaseException) -> str:
    """Return the type and first line of an error, never longer than a line."""
    return f"{type(error).__name__} {str(error)[:80]}".strip()


def zstd_content_bytes(frame: bytes | memoryview) -> int:
    """Return the content size of a zstd frame in the form of format.md 2.5, or refuse the frame."""
    try:
        parameters = zstandard.get_frame_parameters(frame)
    except zstandard.ZstdError as error:
        raise CorruptError("a zstd frame header does not parse", rule="format.md 2.5") from error
    # The two low bits say how many bytes a dictionary id takes, which may itself be zero.
    if frame[4] & 3 or parameters.has_checksum or parameters.content_size in _NO_SIZE:
        raise CorruptError("a zstd frame has a dictionary id, a checksum, or no content size", rule="format.md 2.5")
    if frame[4] & 0x38 != 0x20:
        what = "is not single-segment" if not frame[4] & 0x20 else "has its unused or reserved bit set"
        raise CorruptError(f"a zstd frame {what}", rule="format.md 2.5")
    return int(parameters.content_size)


_NO_SIZE = (zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR)


def unpack(form: struct.Struct, data: bytes | memoryview, offset: int = 0) -> tuple[Any, ...]:
    """Unpack a fixed structure, with `CorruptError` where bytes are missing. (A file that is too short is truncated,
    but its caller knows that it is a file.)"""
    if offset < 0 or offset + form.size > len(data):
        raise CorruptError(
            f"{form.size} bytes are needed, {max(0, len(data) - offset)} are there", rule="format.md 4.1"
        )
    return form.unpack_from(data, offset)
