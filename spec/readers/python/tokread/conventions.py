"""Integers, checksums, packed arrays and ranges (format.md 2.1 to 2.3, 4.5)."""

from __future__ import annotations

import hashlib
import struct

import xxhash

from .failure import ReadError, corrupt, require

INDEX_PART = (2**32 - 1, 2**32 - 1)
TABLE_BLOCK = 2**32 - 1
ROWS_BLOCK = 2**32 - 2


def u16(data: bytes, at: int) -> int:
    """Read a u16."""
    return int.from_bytes(data[at : at + 2], "little")


def u32(data: bytes, at: int) -> int:
    """Read a u32."""
    return int.from_bytes(data[at : at + 4], "little")


def u64(data: bytes, at: int) -> int:
    """Read a u64."""
    return int.from_bytes(data[at : at + 8], "little")


def u64s(data: bytes) -> list[int]:
    """Read an array of u64."""
    return list(struct.unpack(f"<{len(data) // 8}Q", data))


def checksum(data: bytes, seed: int = 0) -> int:
    """Compute a checksum (2.2)."""
    return xxhash.xxh64_intdigest(data, seed)


def digest(data: bytes) -> bytes:
    """Compute a digest (2.2)."""
    return hashlib.blake2b(data, digest_size=32).digest()


def seed(nonce: int, column_id: int, block: int) -> int:
    """Compute the seed of a part of a data file (2.2)."""
    return (nonce + column_id * 2**32 + block) % 2**64


def check_sum(data: bytes, seed_: int, stored: int, what: str, rule: str, offset: int | None = None) -> None:
    """Raise a checksum error unless the bytes have the checksum that their parent holds."""
    found = checksum(data, seed_)
    if found != stored:
        raise ReadError(
            "checksum", f"{what} checksum: expected {stored:#018x}, found {found:#018x}", rule, offset=offset
        )


def check_digest(data: bytes, stored: bytes, what: str, rule: str) -> None:
    """Raise a checksum error unless the bytes have the digest that their parent holds."""
    if digest(data) != stored:
        raise ReadError("checksum", f"{what} digest differs from the one of its parent", rule)


def check_zero(data: bytes, what: str, rule: str, offset: int | None = None) -> None:
    """Reject reserved bytes that are not zero (2.1)."""
    require(not any(data), f"reserved bytes of {what} are not zero", rule, offset)


def packed(data: bytes, at: int, n: int, low: int = 0, high: int = 2**63 - 1) -> tuple[list[int], int]:
    """Read a packed array of n integers (2.3).

    Returns:
        The values, and the offset after the array.
    """
    rule = "format.md 2.3"
    if n == 0:
        return [], at
    require(at + 10 <= len(data), "a packed array does not fit", rule)
    form, width = data[at], data[at + 1]
    base = int.from_bytes(data[at + 2 : at + 10], "little", signed=True)
    require(form <= 1, f"a packed array has form {form}", rule)
    require(width <= 8, f"a packed array has width {width}", rule)
    m = n - form
    at += 10
    require(at + m * width <= len(data), "a packed array does not fit", rule)
    items = [0] * m
    for plane in range(width):
        for i in range(m):
            items[i] |= data[at + plane * m + i] << (8 * plane)
    if form == 0:
        values = [_i64(base + item) for item in items]
    else:
        values = [base]
        for item in items:
            values.append(_i64(values[-1] + ((item >> 1) ^ -(item & 1))))
    for value in values:
        require(low <= value <= high, f"a packed value is {value}, allowed are {low} to {high}", rule)
    return values, at + m * width


def packed_exactly(data: bytes, n: int, low: int = 0, high: int = 2**63 - 1) -> list[int]:
    """Read a packed array that fills its bytes."""
    values, end = packed(data, 0, n, low, high)
    require(end == len(data), "bytes follow a packed array", "format.md 2.3")
    return values


def _i64(value: int) -> int:
    value %= 2**64
    return value - 2**64 if value >= 2**63 else value


def bits(data: bytes, n: int, what: str, rule: str) -> list[bool]:
    """Read n bits, lowest first, and reject bits past the last one (4.4)."""
    require(len(data) == (n + 7) // 8, f"{what}: {len(data)} bytes for {n} bits", rule)
    require(n % 8 == 0 or data[-1] >> (n % 8) == 0, f"{what}: a bit past the last one is set", rule)
    return [bool(data[i // 8] >> (i % 8) & 1) for i in range(n)]


def integer_bytes(values: list[int], width: int) -> bytes:
    """Write unsigned integers or bit patterns in little-endian order."""
    return b"".join(value.to_bytes(width, "little") for value in values)


def fail_short(data: bytes, least: int, what: str, rule: str) -> None:
    """Raise a truncated error where bytes end too early."""
    if len(data) < least:
        raise ReadError("truncated", f"{what} has {len(data)} bytes, needs {least}", rule)


def check_version(major: int, rule: str) -> None:
    """Refuse another major version (12.1)."""
    if major > 1:
        raise ReadError("unsupported", f"major version {major} is newer than this reader, which knows 1", rule)
    if major < 1:
        raise corrupt(f"major version {major} does not exist", rule)


def check_required(mask: int, what: str) -> None:
    """Refuse unknown bits of `features_required` (12.2); format 1.0 knows none."""
    if mask:
        raise ReadError(
            "unsupported", f"{what} needs features {mask:#010x} that this reader does not know", "format.md 12.2"
        )
