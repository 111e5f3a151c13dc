"""The narrow msgpack of this format (format.md 2.4).

Only 20 of msgpack's forms may occur; everything else is rejected, and so is any longer spelling of the same value.
"""

from __future__ import annotations

import struct
from typing import Any

from .failure import require

RULE = "format.md 2.4"
DEEPEST = 4


def parse(data: bytes) -> Any:
    """Read one metadata value that fills its bytes."""
    value, end = _value(data, 0, 0)
    require(end == len(data), "bytes follow the metadata value", RULE)
    return value


def _take(data: bytes, at: int, n: int) -> tuple[bytes, int]:
    require(at + n <= len(data), "metadata ends inside a value", RULE)
    return data[at : at + n], at + n


def _number(data: bytes, at: int, width: int, least: int) -> tuple[int, int]:
    """Read a big-endian unsigned integer that would not fit the next shorter form."""
    raw, at = _take(data, at, width)
    value = int.from_bytes(raw, "big")
    require(value >= least, f"{value} is not in its shortest form", RULE)
    return value, at


def _value(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    head, at = _take(data, at, 1)
    tag = head[0]
    if tag <= 0x7F:
        return tag, at
    if tag <= 0x8F:
        return _map(data, at, tag & 15, depth)
    if tag <= 0x9F:
        return _array(data, at, tag & 15, depth)
    if tag <= 0xBF:
        return _string(data, at, tag & 31)
    if tag in (0xC2, 0xC3):
        return tag == 0xC3, at
    if tag in (0xC4, 0xC5, 0xC6):
        n, at = _number(data, at, 1 << (tag - 0xC4), (0, 2**8, 2**16)[tag - 0xC4])
        return _take(data, at, n)
    if tag == 0xCB:
        raw, at = _take(data, at, 8)
        return struct.unpack(">d", raw)[0], at
    if 0xCC <= tag <= 0xCF:
        return _number(data, at, 1 << (tag - 0xCC), (2**7, 2**8, 2**16, 2**32)[tag - 0xCC])
    if 0xD0 <= tag <= 0xD3:
        width = 1 << (tag - 0xD0)
        raw, at = _take(data, at, width)
        number = int.from_bytes(raw, "big", signed=True)
        require(
            number < (-(2**5), -(2**7), -(2**15), -(2**31))[tag - 0xD0], f"{number} is not in its shortest form", RULE
        )
        return number, at
    if tag in (0xD9, 0xDA, 0xDB):
        n, at = _number(data, at, 1 << (tag - 0xD9), (2**5, 2**8, 2**16)[tag - 0xD9])
        return _string(data, at, n)
    if tag in (0xDC, 0xDD):
        n, at = _number(data, at, 2 << (tag - 0xDC), (2**4, 2**16)[tag - 0xDC])
        return _array(data, at, n, depth)
    if tag in (0xDE, 0xDF):
        n, at = _number(data, at, 2 << (tag - 0xDE), (2**4, 2**16)[tag - 0xDE])
        return _map(data, at, n, depth)
    require(tag >= 0xE0, f"msgpack type {tag:#04x} is not allowed", RULE)
    return tag - 256, at


def _string(data: bytes, at: int, n: int) -> tuple[str, int]:
    raw, at = _take(data, at, n)
    try:
        return raw.decode("utf-8"), at
    except UnicodeDecodeError:
        require(False, "a string is not UTF-8", RULE)
        raise


def _array(data: bytes, at: int, n: int, depth: int) -> tuple[list[Any], int]:
    require(depth <= DEEPEST, f"an array lies more than {DEEPEST} deep", RULE)
    require(n <= len(data) - at, "an array is longer than its bytes", RULE)
    items: list[Any] = []
    for _ in range(n):
        item, at = _value(data, at, depth + 1)
        items.append(item)
    return items, at


def _map(data: bytes, at: int, n: int, depth: int) -> tuple[dict[int, Any], int]:
    require(depth <= DEEPEST, f"a map lies more than {DEEPEST} deep", RULE)
    result: dict[int, Any] = {}
    last = -1
    for _ in range(n):
        key, at = _value(data, at, depth + 1)
        require(type(key) is int, "a key is no integer", RULE)
        require(key > last, f"key {key} does not come after key {last}", RULE)
        last = key
        result[key], at = _value(data, at, depth + 1)
    return result, at


def fields(value: Any, known: dict[int, type], optional: tuple[int, ...], what: str, rule: str) -> dict[int, Any]:
    """Check the keys of a map with named keys, and the type of what they hold.

    Args:
        value: What should be such a map.
        known: The type of every known key.
        optional: The known keys that may be left out.
        what: The name of the structure, for messages.
        rule: Where it is defined.

    Returns:
        The map without the keys that are ignored.
    """
    require(type(value) is dict, f"{what} is no map", rule)
    for key, item in value.items():
        if key in known:
            require(type(item) is known[key], f"{what}: key {key} is no {known[key].__name__}", rule)
            require(known[key] is not int or item >= 0, f"{what}: key {key} is negative", rule)
        else:
            require(key >= 128, f"{what}: unknown key {key}", RULE)
    for key in known:
        require(key in value or key in optional, f"{what}: key {key} is not there", rule)
    return {key: item for key, item in value.items() if key in known}
