"""Which files a source names, how their bytes are opened, and how far reading has come.

A source is a file, a folder or ``-`` for standard input. Whether bytes are compressed is told by their first four, not
by the name; whether a file holds one sample per line or is one sample, by its name. Nothing here looks into the
content.
"""

from __future__ import annotations

import fnmatch
import os
import select
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

__all__ = ["STDIN", "SourceFile", "find_files", "read_chunks"]

STDIN = "-"
CHUNK_BYTES = 1 << 20
_NAP_SECONDS = 0.2
_LINE_ENDINGS = (".jsonl", ".ndjson", ".json")
_COMPRESSED = (".gz", ".zst", ".zstd")
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes:
        path: Where it is, or ``-``.
        stored_bytes: Its bytes on disk, 0 for standard input.
        is_lines: It holds one JSON object per line; otherwise the file as a whole is one sample.
        is_named: The caller named this very file, so that skipping it would be wrong.
    """

    path: str
    stored_bytes: int
    is_lines: bool
    is_named: bool


def find_files(sources: Sequence[str | os.PathLike[str]], *, include: Sequence[str] = ()) -> list[SourceFile]:
    """List the files of sources in the order given, those of a folder sorted by path.

    Args:
        sources: Files, folders or ``-``. In a folder, hidden files and folders and links to folders are passed over.
        include: Patterns such as ``"*.py"``; of a folder, only files whose name matches one are taken.

    Raises:
        FileNotFoundError: A source is not there.
        ValueError: A source holds no file, or there is no source.

    Example:
        >>> import pathlib
        >>> _ = pathlib.Path("a.txt").write_text("hello")
        >>> find_files(["a.txt"])
        [SourceFile(path='a.txt', stored_bytes=5, is_lines=False, is_named=True)]
    """
    if not sources:
        raise ValueError("no source is given: name files, folders, or - for JSON lines on standard input")
    found: list[SourceFile] = []
    for source in [os.fspath(one) for one in sources]:
        if source == STDIN:
            found.append(SourceFile(STDIN, 0, True, True))
        elif os.path.isdir(source):
            inside = list(_walk(Path(source), include))
            if not inside:
                wanted = f" that match {', '.join(include)}" if include else ""
                raise ValueError(f"{source}: the folder has no files{wanted}")
            found += inside
        else:
            found.append(_file(source, is_named=True))
    return found


def _walk(folder: Path, include: Sequence[str]) -> Iterator[SourceFile]:
    """Yield the files of a folder and the folders in it, sorted."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(place, name)
            wanted = not include or any(fnmatch.fnmatch(name, pattern) for pattern in include)
            if wanted and not name.startswith(".") and os.path.isfile(path):
                yield _file(path, is_named=False)


def _file(path: str, is_named: bool) -> SourceFile:
    """Describe one file."""
    stem, ending = os.path.splitext(path.lower())
    inner = os.path.splitext(stem)[1] if ending in _COMPRESSED else ending
    return SourceFile(path, os.stat(path).st_size, inner in _LINE_ENDINGS, is_named)


def read_chunks(file: SourceFile, *, on_read: list[int] | None = None) -> Iterator[bytes]:
    """Yield the decompressed bytes of a file, about a megabyte at a time.

    Args:
        file: What `find_files` gave.
        on_read: A one-element list; bytes read from disk are added to its element.

    Raises:
        ValueError: Compressed bytes are damaged or end early.
    """
    if file.path == STDIN:
        yield from _inflate(_read_stdin, file, on_read)
        return
    with open(file.path, "rb") as stream:
        yield from _inflate(stream.read, file, on_read)


def _read_stdin(count: int) -> bytes:
    """Read what standard input has.

    A signal that comes just before the system call would be noticed only after the next bytes, which may never come; so
    the wait for them is cut into short ones.
    """
    try:
        number = sys.stdin.fileno()
    except OSError:  # standard input was replaced inside the process
        return sys.stdin.buffer.read(count)
    while os.name == "posix" and not select.select([number], [], [], _NAP_SECONDS)[0]:
        continue
    return os.read(number, count)


def _raw(read: Callable[[int], bytes], on_read: list[int] | None) -> Iterator[bytes]:
    """Yield bytes as they are, and count them."""
    while chunk := read(CHUNK_BYTES):
        if on_read is not None:
            on_read[0] += len(chunk)
        yield chunk


def _inflate(read: Callable[[int], bytes], file: SourceFile, on_read: list[int] | None) -> Iterator[bytes]:
    """Yield a stream's bytes, decompressed where they begin like gzip or zstd, one member or frame after another."""
    chunks = _raw(read, on_read)
    first = next(chunks, b"")
    if first.startswith(_ZSTD_MAGIC):
        kind = "zstd"
    elif first.startswith(_GZIP_MAGIC):
        kind = "gzip"
    else:
        if first:
            yield first
        yield from chunks
        return
    try:
        yield from _members(kind, first, chunks, file.path)
    except (zlib.error, zstandard.ZstdError) as error:
        raise ValueError(f"{file.path}: the {kind} data is damaged: {error}") from error


def _members(kind: str, first: bytes, chunks: Iterator[bytes], path: str) -> Iterator[bytes]:
    """Decompress one member or frame after another."""
    state = _decompressor(kind)
    pending: bytes | None = first
    is_inside = False
    while pending is not None:
        while pending:
            is_inside = True
            data = state.decompress(pending)
            if data:
                yield data
            pending = b""
            if state.eof:
                pending, state, is_inside = state.unused_data, _decompressor(kind), False
                if kind == "gzip":  # gzip files may be padded with zeros
                    pending = pending.lstrip(b"\x00")
        pending = next(chunks, None)
    if is_inside:
        raise ValueError(f"{path}: the {kind} data ends early; the file was cut off")


def _decompressor(kind: str) -> zlib._Decompress | zstandard.ZstdDecompressionObj:
    """Start a new member or frame. The window limit is the one of ``zstd --long=31``."""
    if kind == "gzip":
        return zlib.decompressobj(wbits=31)
    return zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
