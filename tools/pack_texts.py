"""Text files to a store: read, tokenize, append.

A stream from end to end: texts come in lists, ids go to the writer as arrays, and only the writer's shard is held in
memory. The tokenizer's file becomes an attachment, so that whoever has the store can turn its ids into text.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tokstore as ts
from tokstore.errors import ExistsError, NotAStoreError, TokstoreError

from .jsonl import ReadCounts, read_texts
from .prefetch import map_ahead, read_ahead
from .report import PackReport
from .sources import STDIN, find_files
from .tokenize import BYTES, Tokenizer, load_tokenizer

__all__ = ["ATTACHMENT", "METADATA_KEY", "TextOptions", "check_same_tokenizer", "existing_store", "pack_texts"]

ATTACHMENT = "tokenizer.json"
METADATA_KEY = "tokenizer"
COLUMN = "tokens"


@dataclass(frozen=True)
class TextOptions:
    """The options of `pack.pack` that concern texts."""

    tokenizer: str | os.PathLike[str] | None
    text: str
    include: Sequence[str]
    level: str | None
    exist: str
    part: str | None
    eos: str | None
    bos: str | None
    rename: dict[str, str]
    on_error: str
    progress: Callable[[ts.Progress], None] | None


def pack_texts(sources: Sequence[Any], store_path: str, options: TextOptions) -> PackReport:
    """Tokenize texts into a store; see `pack.pack`."""
    if options.on_error != "stop":
        raise ValueError("on_error='skip' is for columns: name them (columns=['text']), or pack other formats")
    part = options.part
    files = find_files(sources, include=options.include)
    chosen = load_tokenizer(options.tokenizer, eos=options.eos, bos=options.bos)
    fresh = options.rename.get(COLUMN, COLUMN)
    known = existing_store(store_path)
    if known is not None:
        if options.exist == "error" and part is None:
            raise ExistsError("the store is there already", path=store_path, hint="exist='append' adds to it")
    elif part is not None:
        known = _create_empty(store_path, chosen, options.level, fresh)
    if known is not None:
        check_same_tokenizer(known, chosen, store_path)
    counts = ReadCounts()
    total = sum(file.stored_bytes for file in files) or None
    column = fresh if known is None else known.token_column
    tokens = 0
    made = _create(store_path, chosen, options.level, fresh) if known is None else None
    texts = read_texts(files, text=options.text, counts=counts)
    if all(file.path != STDIN for file in files):  # a thread that waits for input could not be stopped
        texts = read_ahead(texts)
    with made or known.writer(part=part, level=options.level) as writer:  # type: ignore[union-attr]
        for ids in map_ahead(chosen.encode, texts):
            writer.extend({column: ids})
            tokens += len(ids.values)
            if options.progress is not None:
                options.progress(ts.Progress(done=counts.bytes_read[0], total=total, unit="bytes", what="packing"))
        if not counts.samples:
            raise ValueError(f"{', '.join(map(str, sources))}: there is no text in it")
    others = sorted(counts.fields - {options.text})
    return PackReport(
        path=store_path,
        version=None if part is not None else ts.open(store_path).version,
        part=part,
        samples=counts.samples,
        tokens=tokens,
        text_bytes=counts.text_bytes,
        source_bytes=counts.bytes_read[0],
        skipped=tuple(counts.skipped),
        columns=(column,),
        vocabulary=f"the tokenizer {chosen.name}",
        lost=(f"fields {', '.join(others)}: not named in columns",) if others else (),
    )


def existing_store(path: str) -> ts.Store | None:
    """Open the store that is there, or return None where there is nothing."""
    if not os.path.lexists(path):
        return None
    try:
        return ts.open(path)
    except NotAStoreError:
        return None  # an empty folder, or one that `create` refuses with its reasons


def _create_empty(path: str, tokenizer: Tokenizer, level: str | None, column: str) -> ts.Store:
    """Make an empty first version for parts to build on, unless another job of the same kind has just done so."""
    try:
        _create(path, tokenizer, level, column).close()
    except ExistsError:
        return ts.open(path)
    return ts.open(path)


def _create(path: str, tokenizer: Tokenizer, level: str | None, column: str) -> ts.Writer:
    """Make the store."""
    attachments = {} if tokenizer.file_bytes is None else {ATTACHMENT: tokenizer.file_bytes}
    return ts.create(
        path,
        ts.Schema({column: tokenizer.tokens}),
        level=level or "default",
        attachments=attachments,
        metadata={METADATA_KEY: tokenizer.name if tokenizer.file_bytes is None else ATTACHMENT},
    )


def check_same_tokenizer(store: ts.Store, tokenizer: Tokenizer, path: str) -> None:
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
