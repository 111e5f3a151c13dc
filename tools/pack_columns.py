"""Sources of foreign formats to a store, column by column.

First a plan: what each column of the source becomes, and how large the vocabulary of ids is. Then batches go from a
reader, on a thread of its own, through the tokenizer if there is text, into the writer. At the end what was written is
read back, and counts and digests are compared with those of what was read.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

import tokstore as ts
from tokstore.errors import ExistsError

from .column_plan import Plan, make_plan
from .digest import Digests
from .export import view_batches
from .formats.contract import Batch, Format, Objects, Problems, ReadOptions
from .formats.files import files_with
from .kept import Kept
from .messages import ChatTokenizer, load_chat_tokenizer
from .pack_texts import ATTACHMENT, METADATA_KEY, check_same_tokenizer, existing_store
from .prefetch import map_ahead, read_ahead
from .report import PackReport, TokenizerNeededError
from .tokenize import Tokenizer, load_tokenizer

__all__ = ["ColumnOptions", "pack_columns", "writable"]


@dataclass(frozen=True)
class ColumnOptions:
    """The options of `pack.pack` that concern columns."""

    tokenizer: Any
    text: str | None
    messages: str | None
    columns: Sequence[str] | None
    types: dict[str, Any]
    rename: dict[str, str]
    vocab_size: int | None
    dtype: str | None
    doc_end: int | None
    seq_len: int | None
    level: str | None
    exist: str
    part: str | None
    resume: bool
    eos: str | None
    bos: str | None
    on_error: str
    verify: bool
    needs_tokenizer: bool
    progress: Callable[[ts.Progress], None] | None


_CHARACTERS = 1 << 20
Pairs = Sequence[tuple[Any, Format]]


class _Packing:
    """One call of `pack_columns`."""

    def __init__(self, pairs: Pairs, path: str, options: ColumnOptions) -> None:
        self.pairs, self.path, self.options = pairs, path, options
        self.problems = Problems(options.on_error)
        self.known = existing_store(path)
        self._check_target()
        self.tokenizer: Tokenizer | ChatTokenizer | None = None
        if options.messages is not None:
            self.tokenizer = load_chat_tokenizer(options.tokenizer, eos=options.eos, bos=options.bos)
        elif options.tokenizer is not None:
            self.tokenizer = load_tokenizer(options.tokenizer, eos=options.eos, bos=options.bos)
        self.read = self._read_options()
        self.sources = [chosen.open(source, self.read) for source, chosen in pairs]
        totals = [one.total_bytes for one in self.sources]
        self.total = None if None in totals else sum(one or 0 for one in totals)
        self.kept: Kept | None = None
        self.plan = self._plan()
        if len(self.plan.names) > 1:
            self.kept = None  # there are other columns to read
        if self.known is not None and self.tokenizer is not None and (self.plan.text or self.plan.messages):
            check_same_tokenizer(self.known, self.tokenizer, path)
        self.text_bytes = 0
        self.digests = Digests(self.plan.kinds)

    def _check_target(self) -> None:
        """Refuse a store that is there, unless samples are to be added to it."""
        options = self.options
        if options.resume and (options.part is not None or options.exist == "append"):
            raise ValueError("resume makes a new store of parts; leave out part and exist='append'")
        if self.known is None or options.exist == "append" or options.part is not None:
            return
        if not options.resume or len(self.known):
            raise ExistsError("the store is there already", path=self.path, hint="exist='append' adds to it")

    def _read_options(self) -> ReadOptions:
        """Return what readers are told."""
        options = self.options
        types: dict[str, Any] = {}
        if self.known is not None:
            back = {new: old for old, new in options.rename.items()}
            types = {back.get(name, name): self.known.schema[name] for name in self.known.schema.names}
        types |= options.types
        columns = options.columns
        for name in (options.text, options.messages):
            if name is not None and columns is not None:
                columns = [*columns, name]
        if options.messages is not None:
            types[options.messages] = Objects()
        elif options.text is not None:
            types[options.text] = ts.Text(optional=True)
        return ReadOptions(columns, types, self.problems, options.dtype, options.doc_end, options.seq_len)

    def _plan(self) -> Plan:
        """Decide what becomes of each column; make a tokenizer of bytes where there is text and none was named."""
        options = self.options
        plan = make_plan(self.sources[0], self.known, options.rename, options.text, options.messages, self.tokenizer)
        if plan.text is not None and self.tokenizer is None:
            if options.needs_tokenizer:
                raise TokenizerNeededError
            self.tokenizer = load_tokenizer(None)
        if (plan.text or plan.messages) and self.tokenizer is not None:
            plan.kinds = {plan.token_column: self.tokenizer.tokens} | plan.kinds
            if plan.messages:
                plan.kinds[plan.mask_column] = ts.Mask(plan.token_column)
            plan.vocabulary = f"the tokenizer {self.tokenizer.name}"
        plan.settle_vocabulary(self.known, options.vocab_size, self.tokenizer, self._largest_id)
        return plan

    def _largest_id(self, name: str) -> int:
        """Read the ids of all sources and return the largest."""
        found = -1
        read = ReadOptions(
            [name],
            self.read.types,
            Problems(self.options.on_error),
            self.read.dtype,
            self.read.doc_end,
            self.read.seq_len,
        )
        kept = Kept(read, name)
        for source, chosen in self.pairs:
            opened = chosen.open(source, read)
            for batch in read_ahead(opened.batches()):
                values = batch.columns[name].values
                if values.size:
                    found = max(found, int(values.max()))
                kept.add(batch)
                self._report(read.bytes_read[0], "looking for the largest id")
        self.kept = kept if kept.is_whole and len(self.pairs) == 1 else None
        return found

    def _report(self, done: int, what: str = "packing") -> None:
        """Pass on progress."""
        if self.options.progress is not None:
            self.options.progress(ts.Progress(done=done, total=self.total, unit="bytes", what=what))

    # Writing ------------------------------------------------------------------------------------------------------

    def create(self) -> ts.Writer:
        """Make the store."""
        attachments = {}
        metadata = {}
        if self.tokenizer is not None:
            if self.tokenizer.file_bytes is not None:
                attachments[ATTACHMENT] = self.tokenizer.file_bytes
                metadata[METADATA_KEY] = ATTACHMENT
            elif self.plan.text:
                metadata[METADATA_KEY] = self.tokenizer.name
        schema = ts.Schema(self.plan.kinds)
        level = self.options.level or "default"
        return ts.create(self.path, schema, level=level, attachments=attachments, metadata=metadata or None)

    def create_empty(self) -> ts.Store:
        """Make an empty first version for parts, unless another job of the same kind has just done so."""
        try:
            self.create().close()
        except ExistsError:
            return ts.open(self.path)
        return ts.open(self.path)

    def write(self, writer: ts.Writer, sources: Sequence[Any]) -> None:
        """Write all rows of sources."""
        if self.kept is not None:
            self._add_kept(writer, self.kept)
            return
        for source in sources:
            batches: Iterator[Batch] = read_ahead(self._renamed(source))
            if self.plan.text is not None:
                batches = map_ahead(self._tokenized, batches)
            for batch in batches:
                self._add(writer, batch)
                self._report(self.read.bytes_read[0])

    def _add_kept(self, writer: ts.Writer, kept: Kept) -> None:
        """Write the rows of a source that was read already."""
        self.problems.count, self.problems.first = kept.read.problems.count, kept.read.problems.first
        self.read.bytes_read[0] += kept.read.bytes_read[0]
        for batch in kept.batches:
            self._add(writer, self.plan.renamed(batch))
            self._report(self.read.bytes_read[0])

    def _renamed(self, source: Any) -> Iterator[Batch]:
        """Yield the batches of a source with the columns of the store, and with texts that are all there."""
        plan = self.plan
        for found in source.batches():
            batch = plan.renamed(found)
            if plan.text is not None:
                texts = batch.columns[plan.text]
                lacking = np.fromiter((one is None for one in texts), bool, batch.rows)
                if lacking.any():
                    batch = self.problems.bad_rows(batch, lacking, f"column {plan.text!r} holds no text")
                    texts = batch.columns[plan.text]
                self.text_bytes += sum(len(one) if one.isascii() else len(one.encode()) for one in texts)
                yield from _tokenized_at_once(batch, texts)
                continue
            yield batch if plan.messages is None else self._chats_tokenized(batch)

    def _tokenized(self, batch: Batch) -> Batch:
        """Turn the text of a batch into token ids."""
        plan = self.plan
        if plan.text is not None and self.tokenizer is not None:
            texts = batch.columns.pop(plan.text)
            batch.missing.pop(plan.text, None)
            batch.columns[plan.token_column] = self.tokenizer.encode(texts)
        return batch

    def _chats_tokenized(self, batch: Batch) -> Batch:
        """Turn the chats of a batch into token ids and masks."""
        plan = self.plan
        if plan.messages is not None and isinstance(self.tokenizer, ChatTokenizer):
            chats = batch.columns.pop(plan.messages)
            ids, mask, wrong = self.tokenizer.encode_chats(chats)
            batch.columns |= {plan.token_column: ids, plan.mask_column: mask}
            for row, message in wrong.items():
                self.problems.bad(batch.place, batch.number(row), message)
            if wrong:
                kept = np.ones(batch.rows, bool)
                kept[list(wrong)] = False
                batch = batch.keep(kept)
        return batch

    def _add(self, writer: ts.Writer, batch: Batch) -> None:
        """Write a batch; where it is refused, find the rows that are to blame."""
        if not batch.rows:
            return
        given = {name: writable(values, batch.missing.get(name)) for name, values in batch.columns.items()}
        try:
            writer.extend(given)
        except (ValueError, TypeError) as error:
            if batch.rows == 1:
                self.problems.bad(
                    batch.place, batch.number(0), str(error).replace(": row 0 ", " ").replace("row 0 ", "")
                )
                return
            half = batch.rows // 2
            self._add(writer, batch.take(np.arange(half)))
            self._add(writer, batch.take(np.arange(half, batch.rows)))
            return
        self.digests.update(batch.rows, batch.columns, batch.missing)

    def verify(self, store: ts.Store, before: int) -> bool:
        """Read back what was written and compare; return whether that was possible."""
        if not self.options.verify or len(store) != before + self.digests.rows:
            return False  # others have appended meanwhile, so that it is not known which samples are ours
        again = Digests(self.plan.kinds)
        for batch in view_batches(store, list(self.plan.kinds), before):
            again.update(batch.rows, batch.columns, batch.missing)
        self.digests.compare(again, self.path)
        return True


def _tokenized_at_once(batch: Batch, texts: list[str]) -> Iterator[Batch]:
    """Yield a batch in parts of about a million characters: what tokenizers make takes a hundred bytes for each id."""
    groups = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts))) // _CHARACTERS
    edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(texts)]
    for first, last in pairwise(edges):
        yield batch if last - first == len(texts) else batch.take(np.arange(first, last))


def _without_row(error: Exception) -> str:
    """Return a message about the only row of a batch without its number, which is not the one in the file."""
    return str(error).replace(": row 0 ", " ")


def writable(values: Any, missing: Any) -> Any:
    """Return values of a batch in a form that a writer takes, with missing ones told apart from empty ones."""
    if missing is None or not missing.any() or isinstance(values, list):
        return values
    if isinstance(values, np.ndarray):
        mask = np.zeros(values.shape, bool)
        mask[missing] = True
        return np.ma.MaskedArray(np.ma.getdata(values), mask)
    if isinstance(values, ts.SoftLabels):
        ids: Any = values.probs if values.ids is None else values.ids
        rows = list(values.probs) if values.ids is None else list(zip(ids, values.probs, strict=True))
        return [None if gone else row for row, gone in zip(rows, missing.tolist(), strict=True)]
    return [None if gone else row for row, gone in zip(values, missing.tolist(), strict=True)]


def pack_columns(pairs: Pairs, path: str, options: ColumnOptions) -> PackReport:
    """Write sources of foreign formats into a store; see `pack.pack`."""
    if options.resume:
        pairs = _single_files(pairs)
    job = _Packing(pairs, path, options)
    before = len(job.known) if job.known is not None else 0
    if options.resume:
        known = job.known or job.create_empty()
        names = [_part_name(i, source) for i, (source, _) in enumerate(pairs)]
        is_whole = True
        for name, source in zip(names, job.sources, strict=True):
            try:
                writer = known.writer(part=name, level=options.level)
            except ExistsError:
                is_whole = False  # staged by a call before
                continue
            with writer:
                job.write(writer, [source])
        known.commit(parts=names)
        return _report(job, ts.open(path), is_whole and job.verify(ts.open(path), 0), whole_store=True)
    if job.known is None and options.part is not None:
        job.known = job.create_empty()
    opened: AbstractContextManager[ts.Writer]
    opened = job.create() if job.known is None else job.known.writer(part=options.part, level=options.level)
    with opened as writer:
        job.write(writer, job.sources)
        if not job.digests.rows:
            bad = f"; what was left out is {job.problems.first}" if job.problems.first else ""
            raise ValueError(f"{', '.join(str(source) for source, _ in pairs)}: there is no sample in it{bad}")
    store = ts.open(path)
    if options.part is not None:
        return _report(job, store, False)
    return _report(job, store, job.verify(store, before))


def _report(job: _Packing, store: ts.Store, verified: bool, whole_store: bool = False) -> PackReport:
    """Say what was done."""
    plan, options = job.plan, job.options
    counted = next((name for name, kind in plan.kinds.items() if isinstance(kind, ts.Tokens)), None)
    samples = len(store) if whole_store else job.digests.rows
    tokens = job.digests.values[counted] if counted is not None else 0
    if whole_store and counted is not None:
        tokens = store.token_count
    return PackReport(
        path=job.path,
        version=None if options.part is not None else store.version,
        part=options.part,
        samples=samples,
        tokens=tokens,
        text_bytes=job.text_bytes,
        source_bytes=job.read.bytes_read[0],
        format=job.pairs[0][1].name,
        columns=tuple(plan.kinds),
        vocabulary=plan.vocabulary,
        lost=tuple(dict.fromkeys([*plan.lost, *(line for one in job.sources for line in one.lost)])),
        bad_rows=job.problems.count,
        first_bad=job.problems.first,
        verified=verified,
    )


def _single_files(pairs: Pairs) -> Pairs:
    """Return the files of folders one by one, for formats of which each file stands for itself."""
    found: list[tuple[Any, Format]] = []
    for source, chosen in pairs:
        is_folder = isinstance(source, (str, os.PathLike)) and os.path.isdir(source)
        if is_folder and getattr(chosen, "splits", False):
            found += [(path, chosen) for path in files_with(os.fspath(source), chosen.endings)]
        else:
            found.append((source, chosen))
    return found


def _part_name(number: int, source: Any) -> str:
    """Return the name of the part of a source: another one if the file has changed."""
    if not isinstance(source, (str, os.PathLike)):
        raise ValueError("resume is for files: an object in memory is not there after a kill")
    facts = os.stat(source)
    text = f"{os.path.abspath(source)}\n{facts.st_size}\n{facts.st_mtime_ns}"
    return f"resume-{number:06d}-{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"
