"""Texts out of files: one JSON object per line, or one sample per file.

Both yield lists of texts, so that tokenizers and the store work on many samples at a time. Text is checked to be text:
bytes that are not UTF-8 and escapes of half a character are errors with the line they are on, never replaced. Of a
folder, files that are no text are passed over and counted; a file that was named is an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from .sources import SourceFile, read_chunks

__all__ = ["ReadCounts", "read_texts"]

BATCH_CHARACTERS = 1 << 21
BATCH_TEXTS = 4096
_BOM = b"\xef\xbb\xbf"
_SHOWN_KEYS = 8


@dataclass
class ReadCounts:
    """How far reading has come.

    Attributes:
        bytes_read: One number, in a list so that a stream can add to it: bytes read from disk.
        text_bytes: Bytes of the texts as UTF-8.
        samples: Texts read.
        skipped: Files of folders that are no UTF-8 text.
        fields: Names that the objects of JSON lines have.
    """

    bytes_read: list[int] = field(default_factory=lambda: [0])
    text_bytes: int = 0
    samples: int = 0
    skipped: list[str] = field(default_factory=list)
    fields: set[str] = field(default_factory=set)


def read_texts(files: Sequence[SourceFile], *, text: str = "text", counts: ReadCounts) -> Iterator[list[str]]:
    """Yield the texts of files in order, in lists of at most 4,096 texts and about two million characters.

    Args:
        files: What `find_files` gave.
        text: The field of a JSON object that holds the text.
        counts: Is kept up to date while texts are drawn.

    Raises:
        ValueError: A line is no JSON object, has no such field, or holds no text; or a named file is no text.
    """
    batch: list[str] = []
    characters = 0
    for file in files:
        for sample in _lines(file, text, counts) if file.is_lines else _whole(file, counts):
            batch.append(sample)
            characters += len(sample)
            if characters >= BATCH_CHARACTERS or len(batch) >= BATCH_TEXTS:
                yield batch
                batch, characters = [], 0
    if batch:
        yield batch


def _whole(file: SourceFile, counts: ReadCounts) -> Iterator[str]:
    """Yield the text of a file, or nothing if it is none and nobody named it."""
    data = b"".join(read_chunks(file, on_read=counts.bytes_read)).removeprefix(_BOM)
    try:
        if b"\0" in data:
            raise ValueError("it has zero bytes")
        sample = data.decode("utf-8")
    except ValueError as error:
        if file.is_named:
            raise ValueError(
                f"{file.path}: the file is no UTF-8 text ({error}), and there is no reader for it"
            ) from error
        counts.skipped.append(file.path)
        return
    counts.text_bytes += len(data)
    counts.samples += 1
    yield sample


def _lines(file: SourceFile, text: str, counts: ReadCounts) -> Iterator[str]:
    """Yield the texts of a file of JSON lines. Empty lines are passed over."""
    number = 0
    rest = b""
    for chunk in read_chunks(file, on_read=counts.bytes_read):
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        for line in lines:
            number += 1
            if line and not line.isspace():
                yield _sample(line, text, file.path, number, counts)
    if rest and not rest.isspace():
        yield _sample(rest, text, file.path, number + 1, counts)


def _sample(line: bytes, text: str, path: str, number: int, counts: ReadCounts) -> str:
    """Take the text out of one line."""
    if number == 1:
        line = line.removeprefix(_BOM)
    try:
        fields = json.loads(line.decode("utf-8"))
    except ValueError as error:
        reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else f"not JSON ({error})"
        raise ValueError(f"{path}:{number}: the line is {reason}; JSON lines have one object on each line") from error
    except RecursionError as error:
        raise ValueError(f"{path}:{number}: the JSON is nested too deeply") from error
    if not isinstance(fields, dict):
        raise ValueError(f"{path}:{number}: the line holds a JSON {type(fields).__name__}, not an object")
    sample = fields.get(text)
    counts.fields.update(fields)
    if not isinstance(sample, str):
        if text in fields:
            raise ValueError(f"{path}:{number}: field {text!r} holds no string, but {type(sample).__name__}")
        known = sorted(fields)[:_SHOWN_KEYS]
        raise ValueError(f"{path}:{number}: there is no field {text!r}; there are: {', '.join(known) or 'none'}")
    try:
        counts.text_bytes += len(sample) if sample.isascii() else len(sample.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{path}:{number}: field {text!r} has half of a surrogate pair, which is no character"
        ) from error
    counts.samples += 1
    return sample
