"""zstd frames in the one form that the format allows (format.md 2.5), one compressor per thread.

A frame always has its content size, never a checksum or dictionary id, and is single-segment, so its window is its
content and a reader needs no other memory than the output. zstd objects are not thread-safe, hence the thread-local
caches; they hold a few compressors and drop the rest, since each one keeps match tables of megabytes.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from typing import Any, cast

import zstandard

from tokstore.errors import CorruptError
from tokstore.forking import renew_after_fork
from tokstore.wire import zstd_content_bytes

__all__ = ["TRAINED_MAGIC", "Dictionary", "compress", "decompress", "decompress_together"]

_KEPT = 8
_WINDOW_LOG_MIN = 10
TRAINED_MAGIC = bytes.fromhex("37a430ec")


class Dictionary:
    """A raw-content dictionary: history that a frame may point into (format.md 2.5).

    Compression tables are made once per level and shared by all threads; the bytes are kept by zstd.
    """

    def __init__(self, content: bytes) -> None:
        if content[:4] == TRAINED_MAGIC:
            raise CorruptError("a raw-content dictionary begins like a trained one", rule="format.md 2.5")
        self.content = content
        self._for_reading = zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        self._for_writing: dict[tuple[int, int | None], zstandard.ZstdCompressionDict] = {}
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make a new lock."""
        self._lock = threading.Lock()

    def for_reading(self) -> zstandard.ZstdCompressionDict:
        """Return the dictionary for decompressors."""
        return self._for_reading

    def for_writing(self, level: int, min_match: int | None = None) -> zstandard.ZstdCompressionDict:
        """Return the dictionary with tables prepared for one level."""
        with self._lock:
            made = self._for_writing.get((level, min_match))
            if made is None:
                made = zstandard.ZstdCompressionDict(self.content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
                prepared_for = _parameters(level, 1 << 16, len(self.content), min_match)
                made.precompute_compress(compression_params=prepared_for)
                self._for_writing[level, min_match] = made
            return made


def _parameters(
    level: int, content_bytes: int, dictionary_bytes: int = 0, min_match: int | None = None
) -> zstandard.ZstdCompressionParameters:
    """Return the zstd parameters of a level.

    Level 12 searches a dictionary of 1 MiB twice as deep as blocks of 64 KiB reward: one step less and half-sized
    tables lose 0.3 % and are half as fast again (measured on blocks of token ranks).
    """
    window = max(_WINDOW_LOG_MIN, (content_bytes + dictionary_bytes - 1).bit_length())
    chosen = zstandard.ZstdCompressionParameters.from_level(
        level, source_size=max(content_bytes, 1), dict_size=dictionary_bytes
    )
    fields = {
        "window_log": max(window, chosen.window_log if dictionary_bytes else 0),
        "chain_log": chosen.chain_log,
        "hash_log": chosen.hash_log,
        "search_log": chosen.search_log,
        "min_match": min_match or chosen.min_match,
        "target_length": chosen.target_length,
        "strategy": chosen.strategy,
    }
    if level == 12 and dictionary_bytes:
        fields.update(search_log=5, chain_log=20, hash_log=20)
    return zstandard.ZstdCompressionParameters(
        write_content_size=True, write_checksum=False, write_dict_id=False, **fields
    )


class _ThreadKept(threading.local):
    """What one thread keeps. The dictionary stays with its object, so that its id() cannot pass to another one."""

    def __init__(self) -> None:
        self.compressors: dict[
            tuple[int, int | None, int, int], tuple[zstandard.ZstdCompressor, Dictionary | None]
        ] = {}
        self.decompressors: dict[int, tuple[zstandard.ZstdDecompressor, Dictionary | None]] = {}


_LOCAL = _ThreadKept()


def compress(
    content: bytes | memoryview, level: int = 3, dictionary: Dictionary | None = None, min_match: int | None = None
) -> bytes:
    """Return `content` as one zstd frame.

    Args:
        content: Any bytes.
        level: zstd level, 1 to 22; 12 has its own parameters (see `_parameters`).
        dictionary: History to point into, or none.
        min_match: Shortest match in bytes, instead of that of the level.
    """
    bits = len(content).bit_length()
    key = (level, min_match, 0 if dictionary is None else id(dictionary), bits)
    kept = _LOCAL.compressors.get(key)
    if kept is None:
        parameters = _parameters(level, 1 << bits, 0 if dictionary is None else len(dictionary.content), min_match)
        prepared = None if dictionary is None else dictionary.for_writing(level, min_match)
        kept = (zstandard.ZstdCompressor(compression_params=parameters, dict_data=prepared), dictionary)
        if len(_LOCAL.compressors) >= _KEPT:
            _LOCAL.compressors.pop(next(iter(_LOCAL.compressors)))
        _LOCAL.compressors[key] = kept
    return kept[0].compress(content)


def decompress(frame: bytes | memoryview, *, least: int, most: int, dictionary: Dictionary | None = None) -> bytes:
    """Return the content of one zstd frame.

    Args:
        frame: Exactly one frame.
        least: Smallest content size that is right, in bytes.
        most: Largest content size that is right, in bytes; nothing is allocated above it.
        dictionary: The history the frame was made with.

    Raises:
        CorruptError: The frame breaks format.md 2.5, or its size is not allowed.
    """
    size = zstd_content_bytes(frame)
    if not least <= size <= most:
        raise CorruptError(f"a zstd frame holds {size} bytes, not {least} to {most}", rule="format.md 2.5")
    decompressor = _decompressor(dictionary)
    try:
        if not size:  # the one-shot call returns before it has looked at the blocks and at what follows them
            return _decompress_nothing(decompressor, frame)
        return decompressor.decompress(frame, read_across_frames=False, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptError("a zstd frame does not decode", rule="format.md 2.5") from error


def decompress_together(
    frames: Sequence[memoryview], sizes: Sequence[int], dictionary: Dictionary | None = None
) -> Sequence[Any] | None:
    """Return the contents of several frames by one call, which lets go of the interpreter once for all of them.

    Args:
        frames: Each exactly one frame.
        sizes: Content size of each, in bytes, above 0.
        dictionary: The history that the frames were made with.

    Returns:
        Buffers; or ``None`` if a frame has another size or does not decode: one by one it is found which, and why.
    """
    for frame, size in zip(frames, sizes, strict=True):
        if zstd_content_bytes(frame) != size or _frame_bytes(frame) != len(frame):
            return None
    wanted = struct.pack(f"<{len(sizes)}Q", *sizes)
    decompressor: Any = _decompressor(dictionary)
    try:
        return cast(
            Sequence[Any], decompressor.multi_decompress_to_buffer(list(frames), decompressed_sizes=wanted, threads=0)
        )
    except zstandard.ZstdError:
        return None


def _frame_bytes(frame: memoryview) -> int:
    """Return where a frame of format.md 2.5 ends, from its headers; more than there is where it is cut."""
    at = 5 + (1, 2, 4, 8)[frame[4] >> 6]
    last = 0
    while not last and at + 3 <= len(frame):
        header = int.from_bytes(frame[at : at + 3], "little")
        last = header & 1
        at += 3 + (1 if header >> 1 & 3 == 1 else header >> 3)  # a block of the second kind repeats one byte
    return at if last else len(frame) + 1


def _decompressor(dictionary: Dictionary | None) -> zstandard.ZstdDecompressor:
    """Return this thread's decompressor for a dictionary."""
    key = 0 if dictionary is None else id(dictionary)
    kept = _LOCAL.decompressors.get(key)
    if kept is None:
        history = None if dictionary is None else dictionary.for_reading()
        # The limit on the window lies far above any content the format allows; the bound that counts is `most`.
        kept = (zstandard.ZstdDecompressor(dict_data=history, max_window_size=1 << 31), dictionary)
        if len(_LOCAL.decompressors) >= _KEPT:
            _LOCAL.decompressors.pop(next(iter(_LOCAL.decompressors)))
        _LOCAL.decompressors[key] = kept
    return kept[0]


def _decompress_nothing(decompressor: zstandard.ZstdDecompressor, frame: bytes | memoryview) -> bytes:
    """Check a frame without content."""
    stream = decompressor.decompressobj()
    if stream.decompress(frame) or not stream.eof or stream.unused_data:
        raise CorruptError("a frame without content does not end where its bytes end", rule="format.md 2.5")
    return b""
