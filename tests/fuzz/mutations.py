"""How bytes, numbers and metadata are changed. A generator decides everything, so that a case can be made again."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from tokstore import TokstoreError
from tokstore.packed import decode_packed, encode_packed
from tokstore.wire import encode_metadata

_EDGES = sorted(
    {0, 3, 9, 1023, 2**32 - 2, 2**64 - 1}
    | {2**power + more for power in (0, 3, 4, 6, 7, 8, 16, 20, 24, 28, 31, 32, 53, 62, 63) for more in (-1, 0, 1)}
)


def number(rng: random.Random, value: int, bits: int = 64) -> int:
    """Return another number: one near by, one at an edge, or any."""
    kind = rng.randrange(6)
    if kind < 2:
        changed = value + rng.choice((-2, -1, 1, 2))
    elif kind == 2:
        changed = rng.choice(_EDGES)
    elif kind == 3:
        changed = value ^ 1 << rng.randrange(bits)
    elif kind == 4:
        changed = rng.choice((value * 2, value // 2, rng.randrange(300)))
    else:
        changed = rng.getrandbits(bits)
    return changed % (1 << bits)


def strike(rng: random.Random, data: bytes) -> bytes:
    """Change some bytes: bits, bytes, integers, runs that move, go or come."""
    raw = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        size = len(raw)
        if not size:
            return rng.randbytes(rng.randrange(1, 9))
        at, kind = rng.randrange(size), rng.randrange(10)
        if kind < 3:
            raw[at] ^= 1 << rng.randrange(8)
        elif kind == 3:
            raw[at] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
        elif kind == 4:
            raw[at] = (raw[at] + rng.choice((-1, 1))) % 256
        elif kind < 7:
            wide = rng.choice((1, 2, 4, 8))
            value = int.from_bytes(raw[at : at + wide], "little")
            raw[at : at + wide] = number(rng, value, 8 * wide).to_bytes(wide, "little")[: max(1, size - at)]
        elif kind == 7:
            length = rng.randrange(1, 65)
            other = rng.randrange(size)
            raw[at : at + length] = raw[other : other + length]
        elif kind == 8:
            del raw[at : at + rng.randrange(1, 17)]
        else:
            raw[at:at] = rng.randbytes(rng.randrange(1, 17))
    return bytes(raw)


def integers(rng: random.Random, values: list[int]) -> list[int]:
    """Change one of some numbers from 0 on, or how many they are."""
    changed = list(values)
    if not changed or rng.random() < 0.1:
        return [*changed, rng.choice((0, 1, 5))] if rng.random() < 0.5 else changed[:-1]
    at = rng.randrange(len(changed))
    kind = rng.randrange(4)
    if kind == 0 and len(changed) > 1:
        other = rng.randrange(len(changed))
        changed[at], changed[other] = changed[other], changed[at]
    else:
        changed[at] = number(rng, changed[at], 63)
    return changed


def packed(rng: random.Random, data: bytes) -> bytes:
    """Change a packed array (format.md 2.3), if that is what the bytes are."""
    if len(data) < 10 or data[0] > 1 or data[1] > 8 or (not data[1] and len(data) > 10):
        return strike(rng, data)
    if not data[1]:  # any number of equal values
        base = int.from_bytes(data[2:10], "little")
        return data[:2] + number(rng, base).to_bytes(8, "little")
    count = (len(data) - 10) // data[1] + data[0]
    try:
        values, _ = decode_packed(data, count)
    except TokstoreError:
        return strike(rng, data)
    return encode_packed(np.array([value % 2**63 for value in integers(rng, values.tolist())], np.int64))


def metadata(rng: random.Random, value: Any) -> bytes:
    """Change one node of metadata (format.md 2.4), and write it as a writer would."""
    holder = [_copy(value)]
    nodes: list[tuple[Any, Any]] = []
    _collect(holder, nodes)
    at, key = rng.choice(nodes)
    at[key] = _node(rng, at[key])
    if isinstance(at, dict) and rng.random() < 0.1:
        if rng.random() < 0.5:
            del at[key]
        else:
            at[rng.choice((0, 1, 2, 9, 31, 127, 128, 129, 200))] = at[key]
    try:
        return encode_metadata(holder[0])
    except (TypeError, ValueError, OverflowError):
        return strike(rng, encode_metadata(value))


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


def _collect(value: Any, nodes: list[tuple[Any, Any]]) -> None:
    """Gather every place in a value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(pairs):
        nodes.append((value, key))
        if isinstance(item, (dict, list)):
            _collect(item, nodes)


def _node(rng: random.Random, value: Any) -> Any:
    """Change one value: mostly to one of its kind."""
    if rng.random() < 0.08:
        return rng.choice((0, 1, -1, 2**63, "", "x", b"", b"\0", 0.5, True, [], {}, [[]], {0: 0}, 2**64 - 1))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return number(rng, value)
    if isinstance(value, float):
        return rng.choice((0.0, -value, float("nan"), float("inf"), 1e-300, 1e300))
    if isinstance(value, str):
        return rng.choice((value[:-1], value + "x", "", value * 200, "\0", "é" + value))
    if isinstance(value, bytes):
        return rng.choice((packed, packed, strike))(rng, value)
    if isinstance(value, list):
        return rng.choice((value[:-1], value * 2, value[::-1], [*value, 0]))
    return dict(list(value.items())[:-1])
