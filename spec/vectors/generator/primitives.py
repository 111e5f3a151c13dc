"""Integers, checksums, packed arrays and metadata as bytes (format.md 2.1 to 2.4)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import xxhash

Edits = dict[str, Callable[[bytes], bytes]]


def edited(edits: Edits | None, stage: str, data: bytes) -> bytes:
    """Apply the edit of a stage, if there is one."""
    return edits[stage](data) if edits and stage in edits else data


def put(data: bytes, at: int, new: bytes) -> bytes:
    """Replace bytes; a negative place counts from the end."""
    at %= len(data) or 1
    if at + len(new) > len(data):
        raise ValueError("the new bytes do not fit")
    return data[:at] + new + data[at + len(new) :]


def flip(data: bytes, at: int) -> bytes:
    """Flip the lowest bit of a byte."""
    at %= len(data)
    return put(data, at, bytes([data[at] ^ 1]))


def u16(value: int) -> bytes:
    """Write a u16."""
    return struct.pack("<H", value)


def u32(value: int) -> bytes:
    """Write a u32."""
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    """Write a u64."""
    return struct.pack("<Q", value)


def u64s(values: Sequence[int]) -> bytes:
    """Write an array of u64."""
    return b"".join(map(u64, values))


def checksum(data: bytes, seed: int = 0) -> int:
    """Compute a checksum (2.2)."""
    return xxhash.xxh64_intdigest(data, seed)


def digest(data: bytes) -> bytes:
    """Compute a digest (2.2)."""
    return hashlib.blake2b(data, digest_size=32).digest()


def packed(values: Sequence[int], form: int | None = None, width: int | None = None) -> bytes:
    """Write a packed array (2.3), the smallest one unless form or width are given."""
    if not values:
        return b""
    forms = (0, 1) if form is None else (form,)
    if form is None and max(values) - min(values) >= 2**63:
        forms = (0,)  # the deltas would have to wrap around
    choices = [_packed(values, f, width) for f in forms]
    return min(choices, key=len)


def _packed(values: Sequence[int], form: int, width: int | None) -> bytes:
    if form == 0:
        base = min(values)
        items = [value - base for value in values]
    else:
        base = values[0]
        steps = [after - before for before, after in pairwise(values)]
        items = [2 * step if step >= 0 else -2 * step - 1 for step in steps]
    least = (max([0, *items]).bit_length() + 7) // 8
    width = least if width is None else width
    if width < least:
        raise ValueError(f"the items need {least} bytes")
    raw = [item.to_bytes(8, "little") for item in items]
    planes = b"".join(bytes(item[plane] for item in raw) for plane in range(width))
    return bytes([form, width]) + struct.pack("<q", base) + planes


def metadata(value: Any) -> bytes:
    """Write a metadata value in its shortest form (2.4)."""
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return b"\xcb" + struct.pack(">d", value)
    if isinstance(value, str):
        raw = value.encode()
        head = bytes([0xA0 | len(raw)]) if len(raw) < 32 else _length(len(raw), b"\xd9\xda\xdb")
        return head + raw
    if isinstance(value, bytes):
        return _length(len(value), b"\xc4\xc5\xc6") + value
    if isinstance(value, list):
        head = bytes([0x90 | len(value)]) if len(value) < 16 else _length(len(value), b"\0\xdc\xdd")
        return head + b"".join(map(metadata, value))
    if isinstance(value, dict):
        head = bytes([0x80 | len(value)]) if len(value) < 16 else _length(len(value), b"\0\xde\xdf")
        return head + b"".join(metadata(key) + metadata(value[key]) for key in sorted(value))
    if isinstance(value, Verbatim):
        return value.data
    raise TypeError(f"{type(value).__name__} has no place in metadata")


class Verbatim:
    """Bytes that stand in metadata as they are; for vectors that break the rules."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def _integer(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack("b", value) if value < 0 else bytes([value])
    if value >= 0:
        width = 1 if value < 2**8 else 2 if value < 2**16 else 4 if value < 2**32 else 8
        return bytes([{1: 0xCC, 2: 0xCD, 4: 0xCE, 8: 0xCF}[width]]) + value.to_bytes(width, "big")
    width = 1 if value >= -(2**7) else 2 if value >= -(2**15) else 4 if value >= -(2**31) else 8
    return bytes([{1: 0xD0, 2: 0xD1, 4: 0xD2, 8: 0xD3}[width]]) + value.to_bytes(width, "big", signed=True)


def _length(n: int, tags: bytes) -> bytes:
    width = 1 if n < 2**8 and tags[0] else 2 if n < 2**16 else 4
    return bytes([tags[width // 2]]) + n.to_bytes(width, "big")
