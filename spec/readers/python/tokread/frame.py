"""zstd frames with everything around the compressed blocks checked by hand (format.md 2.5)."""

from __future__ import annotations

import zstandard

from .failure import corrupt, require

RULE = "format.md 2.5"
TRAINED = bytes.fromhex("37a430ec")


def header(data: bytes) -> tuple[int, int]:
    """Check the header of a frame.

    Returns:
        The content size, and the offset of the first block.
    """
    require(len(data) >= 6 and data[:4] == bytes.fromhex("28b52ffd"), "no zstd frame", RULE)
    descriptor = data[4]
    require(descriptor & 0b11 == 0, "a zstd frame has a dictionary id", RULE)
    require(descriptor & 0b100 == 0, "a zstd frame has a content checksum", RULE)
    require(descriptor & 0b11000 == 0, "the reserved or the unused bit of a zstd frame is set", RULE)
    require(descriptor & 0b100000 != 0, "a zstd frame is not a single segment", RULE)
    width = 1 << (descriptor >> 6)
    require(len(data) >= 5 + width, "a zstd frame ends in its header", RULE)
    size = int.from_bytes(data[5 : 5 + width], "little")
    return size + 256 if width == 2 else size, 5 + width


def decompress(data: bytes, low: int, high: int, dictionary: bytes | None = None) -> bytes:
    """Read one frame whose content has `low` to `high` bytes."""
    size, at = header(data)
    require(low <= size <= high, f"a zstd frame holds {size} bytes, allowed are {low} to {high}", RULE)
    last = False
    while not last:
        require(at + 3 <= len(data), "a zstd frame ends before its last block", RULE)
        block = int.from_bytes(data[at : at + 3], "little")
        last = bool(block & 1)
        kind = block >> 1 & 3
        require(kind != 3, "a zstd frame has a block of a reserved type", RULE)
        at += 3 + (1 if kind == 1 else block >> 3)
    require(at == len(data), "bytes follow a zstd frame, or some of its own are gone", RULE)
    known = None
    if dictionary is not None:
        require(len(dictionary) > 0, "there is no dictionary", RULE)
        require(not dictionary.startswith(TRAINED), "a raw-content dictionary begins like a trained one", RULE)
        known = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    try:
        content = zstandard.ZstdDecompressor(dict_data=known).decompress(data)
    except zstandard.ZstdError as error:
        raise corrupt(f"a zstd frame cannot be read: {error}", RULE) from None
    require(len(content) == size, "a zstd frame holds another number of bytes than it says", RULE)
    return content


def content(data: bytes, compressed: bool, size: int, what: str) -> bytes:
    """Read bytes that are stored raw or as zstd and have a known size."""
    if compressed:
        return decompress(data, size, size)
    require(len(data) == size, f"{what} has {len(data)} bytes, its parent says {size}", RULE)
    return data
