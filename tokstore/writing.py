"""`Writer`: samples in, shards out, one commit that makes them visible.

Samples wait in memory until a shard is full, then its blocks are encoded on threads while the file is written.
Nothing that a writer makes is visible before `commit`; an exception, Ctrl-C or a full disk removes what it wrote.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from tokstore._version import __version__
from tokstore.block import ColumnRows
from tokstore.buffers import ColumnBuffer
from tokstore.codecs.ranking import LEVELS
from tokstore.column_types import Tokens
from tokstore.encoders import Encoders, LoadObject
from tokstore.errors import ColumnError, TokstoreError, suggest
from tokstore.format import MAX_SHARD_SAMPLES
from tokstore.growth import NewShards
from tokstore.intake import check_masks, missing_rows, take_in
from tokstore.objects import StoredObject, object_path
from tokstore.pages import Page
from tokstore.plan import Plan
from tokstore.rounded import Rounded
from tokstore.schema import Column, Schema
from tokstore.shard import file_path
from tokstore.shard_writer import FileFacts, write_data_file
from tokstore.storage import NewFile, Storage

__all__ = ["SHARD_BYTES", "Progress", "Writer"]

_SHARD_TOKENS = 1 << 27
SHARD_BYTES = 1 << 28
_APPENDED_AT_ONCE = 1024
_HELD_OBJECT_BYTES = 64 << 20


@dataclass(frozen=True)
class Progress:
    """How far a long job is.

    Attributes:
        done: Units done.
        total: Units in all, or ``None`` where that is not known.
        unit: What is counted, such as ``"tokens"``.
        what: What is being done, such as ``"write"``.
    """

    done: int
    total: int | None
    unit: str
    what: str


class Writer:
    """Write samples. Get one from `tokstore.create`, `tokstore.writer` or `Store.writer`, and use it in a ``with``
    block.

    Leaving the block commits; leaving it by an exception leaves nothing.

    Args:
        storage: Where the store is.
        schema: Its columns.
        finish: Called at `commit` with the new shards; makes them visible.
        level: ``"plain"``, ``"fast"``, ``"default"`` or ``"small"``.
        shard_tokens: Tokens of one shard; as many are held in memory, at 2 bytes each up to 65,536 ids, else 4. A
            longer sample is a shard by itself.
        threads: Threads that encode blocks; the number of processors by default.
        progress: Called now and then with a `Progress` of tokens written.
        single: For a single file: its name and what it carries beside the columns.
        current: Returns the object of a column that shards may share.
        abandon: Called after `abort`.
    """

    def __init__(
        self,
        storage: Storage,
        schema: Schema,
        finish: Callable[[NewShards], None],
        *,
        level: str = "default",
        shard_tokens: int = _SHARD_TOKENS,
        threads: int | None = None,
        progress: Callable[[Progress], None] | None = None,
        single: SingleFile | None = None,
        current: LoadObject | None = None,
        abandon: Callable[[], None] | None = None,
        rounded: dict[int, Rounded] | None = None,
    ) -> None:
        if level not in LEVELS:
            raise ValueError(f"level is one of {', '.join(LEVELS)}, not {level!r}")
        if shard_tokens < 1:
            raise ValueError(f"shard_tokens is 1 or more, not {shard_tokens}")
        self._storage, self._schema, self._finish = storage, schema, finish
        self._shard_tokens, self._progress = shard_tokens, progress
        self._single, self._abandon = single, abandon
        self._held: NewFile | None = None
        if threads is not None and threads < 1:
            raise ValueError(f"threads is 1 or more, not {threads}")
        self._threads = threads or os.cpu_count() or 1
        self._pool: ThreadPoolExecutor | None = None
        self._buffers: dict[int, ColumnBuffer] = {}
        self._buffered = 0
        self._appended: list[dict[str, Any]] = []
        self._facts: list[FileFacts] = []
        self._encoders = Encoders(level, current, rounded)
        self._tokens_written = 0
        self._state = "open"

    # What users call ------------------------------------------------------------------------------------------

    def append(self, **sample: Any) -> None:
        """Write one sample: one value per column, ``None`` or nothing for an optional one that is missing.

        Raises:
            ColumnError: An unknown column, or one that is needed.
            TypeError, ValueError: A value that the column does not take. It is raised here or, since samples are
                checked many at a time, by a later call, which says how long ago it was appended. That sample is left
                out, all others are kept.
        """
        self._check_open()
        self._check_names(sample)
        self._appended.append({name: _kept_item(value) for name, value in sample.items()})
        if len(self._appended) >= _APPENDED_AT_ONCE:
            self._take_appended()

    def extend(self, columns: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Write many samples: one `Ragged`, array or list per column, all of the same number of samples.

        Args:
            columns: Batch by column name; ``"sample_id"`` is left out, so that batches of `View.scan` can be given.
            **named: The same as keywords.

        Raises:
            ColumnError: An unknown column, or one that is needed.
            TypeError, ValueError: Values that a column does not take, or columns of different length. Nothing of the
                batch is written then.
        """
        self._check_open()
        given = {name: batch for name, batch in (columns or {}).items() if name != "sample_id"} | named
        self._check_names(given)
        self._take_appended()
        rows = {name: take_in(self._schema.column(name), batch) for name, batch in given.items()}
        counts = {name: one.rows for name, one in rows.items()}
        if not counts:
            raise ValueError("no column is given, so that the number of samples is not known")
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name}: {count}" for name, count in counts.items())
            raise ValueError(f"columns have different numbers of samples: {listed}")
        count = next(iter(counts.values()))
        check_masks(self._schema, {self._schema.column(name).column_id: one for name, one in rows.items()})
        self._add(
            {c.column_id: rows[c.name] if c.name in rows else missing_rows(c, count) for c in self._schema.columns},
            count,
        )

    def commit(self) -> None:
        """Make everything written so far visible as one version, and go on with an empty writer."""
        self._check_open()
        self._take_appended()
        self._write_shard()
        if self._single is not None:
            if not self._facts:
                self._write_shard(empty=True)
            if self._held is not None and not self._held.commit_if_absent():
                raise self._single.exists()
            self._held = None
            return
        self._put_objects()
        page = Page.of_files(self._facts, self._schema, 0)
        plan = Plan.of_files(self._facts, self._schema.primary.column_id)
        brought, current = self._encoders.brought, self._encoders.current()
        # From here on a root may name the files: only a refusal says for sure that none does, so that abort may
        # remove them.
        facts, self._facts = self._facts, []
        try:
            self._finish(NewShards(page, plan, self._schema, brought, current))
        except TokstoreError:
            self._facts = facts
            raise
        self._encoders.brought = {}

    def abort(self) -> None:
        """Leave nothing of what was not committed."""
        if self._state == "open":
            self._state = "aborted"
            self._close_pool()
            if self._held is not None:
                self._held.abort()
            for one in self._facts if self._single is None else ():
                self._storage.delete(file_path(one.file_id))
            self._facts, self._buffers, self._appended = [], {}, []
            if self._abandon is not None:
                self._abandon()

    def close(self) -> None:
        """Commit and close."""
        if self._state == "open":
            self.commit()
            self._state = "closed"
            self._close_pool()

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abort()
            return
        try:
            self.close()
        except BaseException:
            self.abort()
            raise

    def __repr__(self) -> str:
        held = self._buffered + len(self._appended)
        return f"<Writer {self._state}: {self._tokens_written} tokens, {len(self._facts)} shards, {held} samples wait>"

    def extend_rows(self, rows: dict[int, ColumnRows], count: int) -> None:
        """Write rows of all columns as they are, by column id: they were checked when they were first written."""
        self._check_open()
        self._add(rows, count)

    def end_shard(self) -> None:
        """Let the next sample begin another shard."""
        self._write_shard()

    # From samples to shards -----------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._state != "open":
            raise ValueError(f"the writer is {self._state}")

    def _check_names(self, given: Mapping[str, Any]) -> None:
        """Refuse unknown columns, and batches without a column that is needed."""
        for name in given:
            self._schema.column(name)
        lacking = [c.name for c in self._schema.columns if c.name not in given and not c.type.optional]
        if lacking:
            raise ColumnError(f"column {lacking[0]!r} is needed", hint=suggest(lacking[0], given))

    def _take_appended(self) -> None:
        """Check the samples that came one by one, and put them into the buffers."""
        if not self._appended:
            return
        samples, self._appended = self._appended, []
        try:
            rows = self._take_samples(samples)
        except (TypeError, ValueError):
            self._take_one_by_one(samples)
            return
        self._add(rows, len(samples))

    def _take_samples(self, samples: list[dict[str, Any]]) -> dict[int, ColumnRows]:
        """Check samples that came one by one."""
        rows = {c.column_id: take_in(c, [one.get(c.name) for one in samples]) for c in self._schema.columns}
        check_masks(self._schema, rows)
        return rows

    def _take_one_by_one(self, samples: list[dict[str, Any]]) -> None:
        """Find the sample that is wrong and leave it out; those before it are taken, those after it wait again."""
        for number, sample in enumerate(samples):
            try:
                rows = self._take_samples([sample])
            except (TypeError, ValueError) as error:
                self._appended = samples[number + 1 :] + self._appended
                back = len(self._appended)
                where = "the last appended sample" if not back else f"the sample appended {back} before the last"
                raise type(error)(f"{where}: {error}") from error
            self._add(rows, 1)

    def _add(self, rows: dict[int, ColumnRows], count: int) -> None:
        """Put rows of all columns into the buffers, and write shards as they fill up."""
        primary = rows[self._schema.primary.column_id]
        tokens = isinstance(self._schema.primary.type, Tokens)
        ends = np.cumsum(primary.lengths) if tokens and primary.lengths is not None else None
        at = 0
        while at < count:
            room = min(count - at, MAX_SHARD_SAMPLES - self._buffered)
            if ends is not None:
                before = int(ends[at - 1]) if at else 0
                free = self._shard_tokens - self._buffer(self._schema.primary).values
                fits = int(np.searchsorted(ends, before + free, side="right")) - at
                # A sample that does not fit waits for the next shard; one that never fits is a shard by itself.
                room = min(room, max(fits, 0 if self._buffered else 1))
            if room > 0:
                for column in self._schema.columns:
                    self._buffer(column).add(rows[column.column_id], at, at + room)
                self._buffered += room
                at += room
            if at < count or self._is_full():
                self._write_shard()

    def _buffer(self, column: Column) -> ColumnBuffer:
        found = self._buffers.get(column.column_id)
        if found is None:
            tokens = column.column_id == self._schema.primary.column_id and isinstance(column.type, Tokens)
            found = ColumnBuffer(column, self._shard_tokens) if tokens else ColumnBuffer(column)
            self._buffers[column.column_id] = found
        return found

    def _is_full(self) -> bool:
        """Tell whether the buffers hold a shard."""
        primary = self._schema.primary
        if isinstance(primary.type, Tokens) and self._buffer(primary).values >= self._shard_tokens:
            return True
        return (
            self._buffered >= MAX_SHARD_SAMPLES
            or sum(one.nbytes for one in self._buffers.values() if one.column != primary) >= SHARD_BYTES
        )

    def _write_shard(self, empty: bool = False) -> None:
        """Write the buffers as one shard."""
        if not self._buffered and not empty:
            return
        if self._single is not None and self._facts:
            raise ValueError(
                "the samples do not fit into one file; raise shard_tokens, or write to a folder instead of a .tok file"
            )
        pool = self._threads_of_own()
        columns = [self._encoders.prepare(column, self._buffer(column).rows(), pool) for column in self._schema.columns]
        file_id = secrets.token_bytes(16)
        single = self._single
        sink = self._storage.sink(file_path(file_id) if single is None else single.name)
        try:
            facts = write_data_file(
                sink,
                file_id,
                columns,
                self._schema.primary.column_id,
                pool,
                embed=single is not None,
                attachments=None if single is None else single.attachments,
                metadata=None if single is None else single.metadata,
                writer=f"tokstore {__version__}",
                progress=self._report,
            )
            if single is None:
                sink.commit()
            else:
                self._held = sink  # its name comes with the commit
        finally:
            if sink is not self._held:
                sink.abort()
        self._facts.append(facts)
        self._buffers, self._buffered = {}, 0
        if single is None and sum(len(one.data) for one in self._encoders.waiting.values()) > _HELD_OBJECT_BYTES:
            self._put_objects()

    def _put_objects(self) -> None:
        """Write the objects that files of this writer name."""
        for one in self._encoders.waiting.values():
            self._storage.put(object_path(one.digest), one.data)
        self._encoders.waiting = {}

    def _threads_of_own(self) -> ThreadPoolExecutor:
        """Return the threads that encode."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="tokstore-write")
        return self._pool

    def _report(self, values: int) -> None:
        """Pass on progress."""
        self._tokens_written += values
        if self._progress is not None:
            self._progress(Progress(self._tokens_written, None, "tokens", "write"))

    def _close_pool(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _kept_item(value: Any) -> Any:
    """Return what one sample has in a column, independent of an array or list that the caller goes on using."""
    if isinstance(value, list):
        return list(value)
    return np.array(value) if hasattr(value, "__array__") else value


@dataclass(frozen=True)
class SingleFile:
    """What a single file carries beside its columns, and how it is named."""

    name: str
    attachments: dict[str, StoredObject]
    metadata: str | None
    exists: Callable[[], Exception]
