"""zstd frames written by hand (format.md 2.5, RFC 8878), so that the vectors depend on no version of a compressor.

Three kinds of block are enough: raw, one repeated byte, and literals followed by a single match. The match can reach
back into a dictionary, and its three codes are sent in RLE mode, so that no entropy table is needed.
"""

from __future__ import annotations

MAGIC = bytes.fromhex("28b52ffd")
LITERAL_BASES = [*range(16), 16, 18, 20, 22, 24, 28, 32, 40, 48, *(2**n for n in range(6, 17))]
LITERAL_BITS = [0] * 16 + [1, 1, 1, 1, 2, 2, 3, 3, 4, *range(6, 17)]
MATCH_BASES = [
    *range(3, 35), 35, 37, 39, 41, 43, 47, 51, 59, 67, 83, 99, 131, 259, 515, 1027, 2051, 4099, 8195, 16387,
    32771, 65539,
]  # fmt: skip
MATCH_BITS = [0] * 32 + [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, *range(7, 17)]


def header(size: int, descriptor: int = 0, extra: bytes = b"") -> bytes:
    """Write a frame header of a single segment; `descriptor` adds bits, `extra` a dictionary id."""
    if size < 256:
        return MAGIC + bytes([0x20 | descriptor]) + extra + bytes([size])
    if size < 65536 + 256:
        return MAGIC + bytes([0x60 | descriptor]) + extra + (size - 256).to_bytes(2, "little")
    return MAGIC + bytes([0xA0 | descriptor]) + extra + size.to_bytes(4, "little")


def _block(kind: int, size: int, body: bytes, last: bool) -> bytes:
    return (size << 3 | kind << 1 | last).to_bytes(3, "little") + body


def raw(data: bytes, last: bool = True) -> bytes:
    """Write a block of bytes as they are."""
    return _block(0, len(data), data, last)


def repeated(byte: int, times: int, last: bool = True) -> bytes:
    """Write a block of one byte many times."""
    return _block(1, times, bytes([byte]), last)


def match(literals: bytes, offset: int, length: int, last: bool = True) -> bytes:
    """Write a block of literals and then `length` bytes from `offset` bytes back."""
    size = len(literals)
    if size < 32:
        head = bytes([size << 3])
    elif size < 4096:
        head = (size << 4 | 1 << 2).to_bytes(2, "little")
    else:
        head = (size << 4 | 3 << 2).to_bytes(3, "little")
    ll = max(i for i, base in enumerate(LITERAL_BASES) if base <= size)
    ml = max(i for i, base in enumerate(MATCH_BASES) if base <= length)
    of = (offset + 3).bit_length() - 1
    bits, n = 1, 0
    for value, width in (
        (offset + 3 - (1 << of), of),
        (length - MATCH_BASES[ml], MATCH_BITS[ml]),
        (size - LITERAL_BASES[ll], LITERAL_BITS[ll]),
    ):
        bits = bits << width | value
        n += width
    body = head + literals + bytes([1, 0b01010100, ll, of, ml]) + bits.to_bytes(n // 8 + 1, "little")
    return _block(2, len(body), body, last)


def frame(data: bytes) -> bytes:
    """Compress bytes into one frame: repeated bytes and periods are found, anything else is stored."""
    if len(data) > 2 and len(set(data)) == 1:
        return long_repeat(data[0], len(data))
    for start in range(4):
        for period in range(1, min(64, len(data) - start - 8)):
            if data[start + period :] == data[start:-period] and len(data) < 2**17:
                return header(len(data)) + match(data[: start + period], period, len(data) - start - period)
    return header(len(data)) + stored(data)


def stored(data: bytes) -> bytes:
    """Write raw blocks up to the end of a frame."""
    blocks = [data[at : at + 2**16] for at in range(0, len(data), 2**16)] or [b""]
    return b"".join(raw(x, i == len(blocks) - 1) for i, x in enumerate(blocks))


def long_repeat(byte: int, size: int, start: bytes = b"") -> bytes:
    """Write a frame of a few bytes and then one byte many times, in as many blocks as it takes."""
    blocks = [raw(start, False)] if start else []
    full, rest = divmod(size, 2**17)
    sizes = [2**17] * full + ([rest] if rest else [])
    blocks += [repeated(byte, n, i == len(sizes) - 1) for i, n in enumerate(sizes)]
    return header(size + len(start)) + b"".join(blocks)


def from_dictionary(data: bytes, dictionary: bytes) -> bytes:
    """Compress bytes that begin with the first bytes of the dictionary: one match that reaches its first byte."""
    length = next(
        (i for i, (a, b) in enumerate(zip(data, dictionary, strict=False)) if a != b), min(len(data), len(dictionary))
    )
    if length < 3:
        raise ValueError("the bytes do not begin like the dictionary")
    rest = data[length:]
    first = match(b"", len(dictionary), length, not rest)
    return header(len(data)) + first + (raw(rest) if rest else b"")
