"""Text files to a store: read, tokenize, append; what `ts.pack` and ``tokstore pack`` call.

A stream from end to end: texts come in lists, ids go to the writer as arrays, and only the writer's shard is held in
memory. The tokenizer's file becomes an attachment, so that whoever has the store can turn its ids into text. Nothing is
visible before all sources are read; an error or an interrupt leaves the store as it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tokstore as ts
from tokstore.errors import ExistsError, NotAStoreError, TokstoreError

from .jsonl import ReadCounts, read_texts
from .sources import find_files
from .tokenize import BYTES, Tokenizer, load_tokenizer

__all__ = ["ATTACHMENT", "PackReport", "pack"]

ATTACHMENT = "tokenizer.json"
METADATA_KEY = "tokenizer"
COLUMN = "tokens"

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class PackReport:
    """What a call of `pack` did.

    Attributes:
        path: The store.
        version: The version that was committed, or None for a part, which is not visible before `commit`.
        part: The part that was staged, or None.
        samples: Samples written by this call.
        tokens: Ids written by this call.
        text_bytes: Bytes of their text as UTF-8.
        source_bytes: Bytes of the source files as they were read from disk.
        skipped: Files of folders that are no UTF-8 text.
    """

    path: str
    version: int | None
    part: str | None
    samples: int
    tokens: int
    text_bytes: int
    source_bytes: int
    skipped: tuple[str, ...]


def pack(
    source: PathLike | Sequence[PathLike],
    path: PathLike,
    *,
    tokenizer: PathLike | None = None,
    text: str = "text",
    include: Sequence[str] = (),
    level: str | None = None,
    exist: str = "error",
    part: str | None = None,
    eos: str | None = "auto",
    bos: str | None = "auto",
    progress: Callable[[ts.Progress], None] | None = None,
) -> PackReport:
    """Tokenize texts into a store.

    Args:
        source: Files, folders, or ``-`` for JSON lines on standard input; one or several. ``.jsonl``, ``.ndjson`` and
            ``.json`` files have one object per line and one sample in each; of any other file, the text as a whole is
            one sample. Each may be compressed with gzip or zstd.
        path: The store to make, a folder that is not there yet.
        tokenizer: A ``tokenizer.json`` of the `tokenizers` library. None: one id per byte, and 256 for the end of a
            document.
        text: The field of a JSON object that holds the text.
        include: Patterns such as ``"*.py"`` for the files of folders; empty for all.
        level: How hard to compress: ``"plain"``, ``"fast"``, ``"default"`` or ``"small"``. None: the store's own level,
            and ``"default"`` for a new one.
        exist: ``"error"`` if the store may not be there; ``"append"`` adds to the one that is.
        part: Stage this part of a version for `Store.commit`, for many jobs that make one version. The store is made if
            need be.
        eos: The token that loaders put at the end of a document: ``"auto"`` finds well-known ones; None is none.
        bos: The same for its beginning. Neither is stored with the ids.
        progress: Is called with a `tokstore.Progress` after every batch: bytes of the sources read so far.

    Raises:
        ExistsError: The store is there and `exist` is ``"error"``.
        ValueError: A source is no text, or lacks the field, or the store has another tokenizer.
        FileNotFoundError: A source is not there.

    Example:
        >>> import pathlib
        >>> _ = pathlib.Path("a.jsonl").write_text('{"text": "hello"}')
        >>> pack("a.jsonl", "corpus").tokens
        5
        >>> ts.open("corpus").text(0)
        'hello'
    """
    if exist not in ("error", "append"):
        raise ValueError(f"exist is 'error' or 'append', not {exist!r}")
    sources = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    store_path = os.fspath(path)
    files = find_files(sources, include=include)
    chosen = load_tokenizer(tokenizer, eos=eos, bos=bos)
    known = _existing(store_path)
    if known is not None:
        if exist == "error" and part is None:
            raise ExistsError("the store is there already", path=store_path, hint="exist='append' adds to it")
    elif part is not None:
        known = _create_empty(store_path, chosen, level)
    if known is not None:
        _check_same_tokenizer(known, chosen, store_path)
    counts = ReadCounts()
    total = sum(file.stored_bytes for file in files) or None
    column = COLUMN if known is None else known.token_column
    tokens = 0
    with known.writer(part=part, level=level) if known is not None else _create(store_path, chosen, level) as writer:
        for batch in read_texts(files, text=text, counts=counts):
            ids = chosen.encode(batch)
            writer.extend({column: ids})
            tokens += len(ids.values)
            if progress is not None:
                progress(ts.Progress(done=counts.bytes_read[0], total=total, unit="bytes", what="packing"))
        if not counts.samples:
            raise ValueError(f"{', '.join(map(str, sources))}: there is no text in it")
    return PackReport(
        path=store_path,
        version=None if part is not None else ts.open(store_path).version,
        part=part,
        samples=counts.samples,
        tokens=tokens,
        text_bytes=counts.text_bytes,
        source_bytes=counts.bytes_read[0],
        skipped=tuple(counts.skipped),
    )


def _existing(path: str) -> ts.Store | None:
    """Open the store that is there, or return None where there is nothing."""
    if not os.path.lexists(path):
        return None
    try:
        return ts.open(path)
    except NotAStoreError:
        return None  # an empty folder, or one that `create` refuses with its reasons


def _create_empty(path: str, tokenizer: Tokenizer, level: str | None) -> ts.Store:
    """Make an empty first version for parts to build on, unless another job of the same kind has just done so."""
    try:
        _create(path, tokenizer, level).close()
    except ExistsError:
        return ts.open(path)
    return ts.open(path)


def _create(path: str, tokenizer: Tokenizer, level: str | None) -> ts.Writer:
    """Make the store."""
    attachments = {} if tokenizer.file_bytes is None else {ATTACHMENT: tokenizer.file_bytes}
    return ts.create(
        path,
        ts.Schema({COLUMN: tokenizer.tokens}),
        level=level or "default",
        attachments=attachments,
        metadata={METADATA_KEY: tokenizer.name if tokenizer.file_bytes is None else ATTACHMENT},
    )


def _check_same_tokenizer(store: ts.Store, tokenizer: Tokenizer, path: str) -> None:
    """Refuse to mix the ids of two tokenizers in one store."""
    have = store.attachments.get(ATTACHMENT)
    is_bytes = store.metadata.get(METADATA_KEY) == BYTES
    is_same = have == tokenizer.file_bytes and is_bytes == (tokenizer.file_bytes is None)
    if not is_same or store.schema[store.token_column] != tokenizer.tokens:
        raise TokstoreError(
            f"the store was packed with another tokenizer than {tokenizer.name}, or with other special ids",
            path=path,
            hint="pack into a new store",
        )
