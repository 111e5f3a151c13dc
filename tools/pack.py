"""Anything to a store: what `ts.pack` and ``tokstore pack`` call.

A source of a foreign format goes in column by column (`pack_columns`); texts are tokenized on the way (`pack_texts`).
Nothing is visible before all sources are read; an error or an interrupt leaves the store as it was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tokstore as ts

from .formats.contract import Format
from .formats.registry import format_named, format_of
from .pack_columns import ColumnOptions, pack_columns
from .pack_texts import TextOptions, pack_texts
from .report import PackReport, TokenizerNeededError
from .sources import STDIN

__all__ = ["PackReport", "pack"]

PathLike = str | os.PathLike[str]
TEXT = "text"


def pack(
    source: Any,
    path: PathLike,
    *,
    format: str | None = None,
    tokenizer: PathLike | None = None,
    text: str | None = None,
    messages: str | None = None,
    columns: Sequence[str] | None = None,
    types: Mapping[str, Any] | None = None,
    rename: Mapping[str, str] | None = None,
    vocab_size: int | None = None,
    dtype: str | None = None,
    doc_end: int | None = None,
    seq_len: int | None = None,
    include: Sequence[str] = (),
    level: str | None = None,
    exist: str = "error",
    part: str | None = None,
    resume: bool = False,
    eos: str | None = "auto",
    bos: str | None = "auto",
    on_error: str = "stop",
    verify: bool = True,
    needs_tokenizer: bool = False,
    progress: Callable[[ts.Progress], None] | None = None,
) -> PackReport:
    """Bring texts, ids and columns of any known format into a store.

    Args:
        source: Files, folders, ``-`` for JSON lines on standard input, or an object in memory that gives Arrow data
            (a `datasets.Dataset`, a pyarrow, polars or pandas table); one or several. Formats are recognised by what
            the files hold: see ``tokstore formats``. Of a file that is none of them, the text as a whole is one sample;
            ``.jsonl``, ``.ndjson`` and ``.json`` files have one object per line. Texts may be compressed with gzip or
            zstd.
        path: The store to make, a folder that is not there yet.
        format: The format, where it cannot be recognised.
        tokenizer: A ``tokenizer.json`` of the `tokenizers` library, or for `messages` a folder with it and its chat
            template. None: ids as they are where the source has some, else one id per byte, and 256 for the end of a
            document.
        text: The column that holds the text; ``"text"`` where the source has no ids.
        messages: The column that holds chats: lists of objects with ``role`` and ``content``. They go through the
            tokenizer's chat template; what it marks as the assistant's becomes the column ``loss_mask``.
        columns: Only these columns. Of JSON lines with texts, none but the text is taken unless it is named here.
        types: Types of columns, by name, where the source cannot tell them or others are wanted.
        rename: New names of columns, by old name.
        vocab_size: Size of the vocabulary of ids. None: that of the tokenizer, else what the source says, else the
            largest id of the source and one more, for which it is read twice.
        dtype: The dtype of raw ids whose files do not say it; uint16 by default.
        doc_end: The id that ends a document in files of nothing but ids; it is not stored with the samples.
        seq_len: Cut files of nothing but ids into samples of this length.
        include: Patterns such as ``"*.py"`` for the files of folders of texts; empty for all.
        level: How hard to compress: ``"plain"``, ``"fast"``, ``"default"`` or ``"small"``. None: the store's own level,
            and ``"default"`` for a new one.
        exist: ``"error"`` if the store may not be there; ``"append"`` adds to the one that is.
        part: Stage this part of a version for `Store.commit`, for many jobs that make one version. The store is made if
            need be.
        resume: Stage each source as a part and commit them all at the end, so that after a kill the same call goes on
            with the sources that are left.
        eos: The token that loaders put at the end of a document: ``"auto"`` finds well-known ones; None is none.
        bos: The same for its beginning. Neither is stored with the ids.
        on_error: ``"stop"`` at a row, or a file of several, that cannot be taken, or ``"skip"`` and count it.
        verify: Read the new samples back and compare counts and digests with what was read.
        needs_tokenizer: Refuse to take texts as bytes.
        progress: Is called with a `tokstore.Progress` after every batch: bytes of the sources read so far.

    Raises:
        ExistsError: The store is there and `exist` is ``"error"``.
        ValueError: A source holds what no store can, or lacks a column; the message names file and row.
        UnsupportedError: A package is needed that is not installed; the message says which extra has it.
        FileNotFoundError: A source is not there.

    Example:
        >>> import pathlib
        >>> _ = pathlib.Path("a.jsonl").write_text('{"text": "hello"}')
        >>> pack("a.jsonl", "corpus").tokens
        5
        >>> ts.open("corpus").text(0)
        'hello'
        >>> _ = pathlib.Path("b.jsonl").write_text('{"input_ids": [3, 1, 2], "quality": 0.5}')
        >>> pack("b.jsonl", "ids")
        PackReport(path='ids', version=1, samples=1, tokens=3)
    """
    if exist not in ("error", "append"):
        raise ValueError(f"exist is 'error' or 'append', not {exist!r}")
    many = isinstance(source, Sequence) and not isinstance(source, (str, bytes))
    sources = list(source) if many else [source]
    sources = [os.fspath(one) if isinstance(one, os.PathLike) else one for one in sources]
    found = [_format(one, format) for one in sources]
    needs_columns = messages is not None or columns is not None or types is not None
    if needs_columns and all(one is None for one in found) and sources:
        found = [format_named("jsonl")] * len(sources)
    if any(found):
        if not all(found):
            raise ValueError(f"{sources[found.index(None)]}: this is text, and other sources are not; pack them apart")
        options = ColumnOptions(
            tokenizer=tokenizer,
            text=text,
            messages=messages,
            columns=columns,
            types=dict(types or {}),
            rename=dict(rename or {}),
            vocab_size=vocab_size,
            dtype=dtype,
            doc_end=doc_end,
            seq_len=seq_len,
            level=level,
            exist=exist,
            part=part,
            resume=resume,
            eos=eos,
            bos=bos,
            on_error=on_error,
            verify=verify,
            needs_tokenizer=needs_tokenizer,
            progress=progress,
        )
        for name, value in {"dtype": dtype, "doc_end": doc_end, "seq_len": seq_len}.items():
            other = next((one for one in found if one is not None and name not in one.options), None)
            if value is not None and other is not None:
                raise ValueError(f"format {other.name!r} takes no {name}: its files say it themselves")
        pairs = [(one, chosen) for one, chosen in zip(sources, found, strict=True) if chosen is not None]
        return pack_columns(pairs, os.fspath(path), options)
    if needs_tokenizer and tokenizer is None and sources:
        raise TokenizerNeededError
    return pack_texts(
        sources,
        os.fspath(path),
        TextOptions(
            tokenizer=tokenizer,
            text=text or TEXT,
            include=include,
            level=level,
            exist=exist,
            part=part,
            eos=eos,
            bos=bos,
            rename=dict(rename or {}),
            on_error=on_error,
            progress=progress,
        ),
    )


def _format(source: Any, name: str | None) -> Format | None:
    """Return the format of a source, or ``None`` for texts."""
    if name is not None:
        return format_named(name)
    if not isinstance(source, (str, os.PathLike)):
        return format_named("memory")
    text = os.fspath(source)
    return None if text == STDIN else format_of(text)
