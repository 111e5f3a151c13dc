"""Write the blocks of one column, and make its table, rows section and entry (format.md 4.3 to 4.7)."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokstore import frames
from tokstore.block import BlockTable, ColumnRows, first_rows
from tokstore.codecs.contract import EncodedBlock
from tokstore.column_types import ColumnType, Text, Tokens
from tokstore.format import (
    COLUMN_ENTRY,
    FLAG_GROUPS,
    FLAG_OPTIONAL,
    FLAG_RAGGED,
    FLAG_RANGES,
    FLAG_ROWS_ZSTD,
    FLAG_TABLE_ZSTD,
)
from tokstore.objects import StoredObject
from tokstore.packed import Ints, encode_packed
from tokstore.ranges import encode_ranges_of, find_nans, pack_bits, range_of, range_of_texts
from tokstore.schema import Column
from tokstore.wire import ROWS_BLOCK, TABLE_BLOCK, checksum, place_seed

__all__ = [
    "BlockEncoder",
    "ColumnFacts",
    "HashedSink",
    "NewColumn",
    "Sink",
    "WrittenColumn",
    "digest_values",
    "write_column",
]

_ALIGNMENT = 8
_SECTION_LEVEL = 9
_HANDED_BYTES = 256 << 10
_MOST_AHEAD = 16
_RAW_NUMBERS = frozenset({1, 2})
_DIGESTED = 1 << 18


class Sink(Protocol):
    """Where a data file goes."""

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""


class BlockEncoder(Protocol):
    """Encode blocks of one column. Thread-safe.

    Attributes:
        codec: Number of the codec (registry.md 2).
        run: Parts that `encode_run` should get at once.
    """

    @property
    def codec(self) -> int: ...

    @property
    def run(self) -> int: ...

    def encode_run(self, parts: Sequence[NDArray[Any]]) -> list[EncodedBlock]:
        """Encode parts of the values, each of whole rows: one block for each part and dimension group."""


@dataclass
class NewColumn:
    """One column of a file to be written: what it is, its rows, its encoder, and the object it needs.

    The object is asked for after the blocks are written, so that it can be compressed beside them.

    Attributes:
        bounds: Where parts of the values begin, from 0 to the end; a part is one block, or one of each group.
        canonical: Returns the values that the digest is over, where those given are not the ones stored.
        quality: What was measured of a codec with losses (format.md 4.9).
        digest: The values digest, where it is being made already.
    """

    column: Column
    rows: ColumnRows
    encoder: BlockEncoder
    needs: Callable[[], StoredObject] | None = None
    bounds: list[int] | None = None
    canonical: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    quality: dict[int, object] | None = None
    digest: Future[bytes] | None = None


@dataclass(frozen=True)
class ColumnFacts:
    """What a page and a root say of one column of a file."""

    values: int
    stored_bytes: int
    missing: int
    nans: int
    span: tuple[Any, Any] | None


class HashedSink:
    """A sink that counts and hashes what goes through, on a thread of its own: hashing takes about as long as quick
    compression, and both let go of the interpreter.

    Use it in a ``with`` block. What the thread raises (a full disk) comes out of a later call.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink, self.offset, self._hash = sink, 0, hashlib.blake2b(digest_size=32)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tokstore-hash")
        self._waiting: list[bytes | memoryview] = []
        self._waiting_bytes = 0
        self._ahead: deque[Future[None]] = deque()

    def __enter__(self) -> HashedSink:
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def write(self, data: bytes | memoryview) -> None:
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        self.offset += len(data)
        if self._waiting_bytes >= _HANDED_BYTES:
            self._hand_over()

    def _hand_over(self) -> None:
        """Give what waits to the thread; wait for it where it is far behind, so that memory stays bounded."""
        self._ahead.append(self._thread.submit(self._put, b"".join(self._waiting)))
        self._waiting, self._waiting_bytes = [], 0
        while len(self._ahead) > _MOST_AHEAD:
            self._ahead.popleft().result()

    def _put(self, data: bytes) -> None:
        self._sink.write(data)
        self._hash.update(data)

    def align(self, alignment: int) -> None:
        self.write(bytes(-self.offset % alignment))

    def digest(self) -> bytes:
        """Return the digest of everything written, once it is with the sink."""
        self._hand_over()
        while self._ahead:
            self._ahead.popleft().result()
        return self._hash.digest()


@dataclass
class WrittenColumn:
    """A column that has been written: its entry, sections and facts."""

    entry: Any
    table: bytes
    rows_section: bytes
    facts: ColumnFacts


def write_column(
    out: HashedSink,
    new: NewColumn,
    bounds: list[int],
    file_id: bytes,
    pool: Executor,
    progress: Callable[[int], None] | None,
) -> WrittenColumn:
    """Write the blocks of one column and make its table, rows section and entry."""
    kind, rows, column_id = new.column.type, new.rows, new.column.column_id
    values_digest = new.digest or pool.submit(digest_values, rows, new.canonical)
    offsets, stored, forms, checksums = [], [], [], []
    codec, groups = new.encoder.codec, len(kind.groups)
    for block, encoded in enumerate(_encode_ahead(pool, new.encoder, rows.values, bounds)):
        out.align(encoded.alignment if codec in _RAW_NUMBERS else _ALIGNMENT)
        offsets.append(out.offset)
        stored.append(len(encoded.data))
        forms.append(encoded.form)
        checksums.append(checksum(encoded.data, place_seed(file_id, column_id, block)))
        out.write(encoded.data)
        if progress is not None and isinstance(kind, Tokens):
            progress(bounds[block + 1] - bounds[block])
    starts = first_rows(bounds, rows.lengths, kind.width)
    missing = nans = None
    if kind.optional:
        missing = np.repeat(_count_missing(rows, bounds), groups)
    if kind.has_nan:
        nans = _count_nans(kind, rows, bounds)
    ranges: list[tuple[Any, Any] | None] = []
    if kind.ranged and isinstance(kind, Text):
        ranges = _text_ranges(rows, bounds)
    elif kind.ranged:
        ranges = [_block_range(rows, a, b) for a, b in pairwise(bounds)]
    table = BlockTable.encode(
        np.asarray(offsets, np.int64),
        np.asarray(stored, np.int64),
        _values_of_blocks(kind, bounds),
        np.repeat(starts, groups),
        np.asarray(forms, np.int64),
        checksums,
        missing,
        nans,
        encode_ranges_of(kind, ranges) if kind.ranged else b"",
    )
    entry = np.zeros((), COLUMN_ENTRY)
    flags = FLAG_RAGGED * kind.ragged | FLAG_OPTIONAL * kind.optional | FLAG_RANGES * kind.ranged
    stored_table, table_zstd = _section(table)
    section = _rows_content(rows)
    stored_rows, rows_zstd = _section(section)
    flags |= FLAG_TABLE_ZSTD * table_zstd | FLAG_ROWS_ZSTD * rows_zstd | FLAG_GROUPS * (groups > 1)
    entry["column_id"], entry["type"], entry["codec"], entry["flags"] = column_id, kind.number, codec, flags
    entry["rows"], entry["values"], entry["blocks"] = rows.rows, len(rows.values), len(offsets)
    entry["table_bytes"], entry["table_content_bytes"] = len(stored_table), len(table)
    entry["table_checksum"] = checksum(stored_table, place_seed(file_id, column_id, TABLE_BLOCK))
    if kind.ragged or kind.optional:
        entry["rows_bytes"], entry["rows_content_bytes"] = len(stored_rows), len(section)
        entry["rows_checksum"] = checksum(stored_rows, place_seed(file_id, column_id, ROWS_BLOCK))
    entry["stored_bytes"], entry["dtype"] = sum(stored), kind.dtype_number
    entry["values_digest"] = np.void(values_digest.result())
    known = [r for r in ranges if r is not None]
    span = (min(r[0] for r in known), max(r[1] for r in known)) if known else None
    if isinstance(kind, Text) and not ranges and (rows.valid is None or rows.valid.any()) and rows.rows:
        span = (b"", b"")  # texts that are all empty are in no block
    facts = ColumnFacts(
        values=len(rows.values),
        stored_bytes=sum(stored),
        missing=0 if rows.valid is None else int(np.count_nonzero(~rows.valid)),
        nans=0 if nans is None else int(nans.sum()),
        span=span,
    )
    return WrittenColumn(entry, stored_table, stored_rows, facts)


def _encode_ahead(
    pool: Executor, encoder: BlockEncoder, values: NDArray[Any], bounds: list[int]
) -> Iterator[EncodedBlock]:
    """Encode blocks on threads, a few runs ahead, and yield them in order."""

    def run(first: int) -> list[EncodedBlock]:
        last = min(first + encoder.run, len(bounds) - 1)
        return encoder.encode_run([values[bounds[b] : bounds[b + 1]] for b in range(first, last)])

    ahead: deque[Future[list[EncodedBlock]]] = deque()
    most = 2 * getattr(pool, "_max_workers", 2) + 2
    for first in range(0, len(bounds) - 1, encoder.run):
        ahead.append(pool.submit(run, first))
        if len(ahead) >= most:
            yield from ahead.popleft().result()
    while ahead:
        yield from ahead.popleft().result()


def digest_values(rows: ColumnRows, canonical: Callable[[NDArray[Any]], NDArray[Any]] | None = None) -> bytes:
    """Return the values digest of a column (format.md 10); see `NewColumn` for `canonical`."""
    made = hashlib.blake2b(digest_size=32)
    if canonical is None:
        made.update(np.ascontiguousarray(rows.values).view(np.uint8).data)
    else:
        step = max(rows.width, _DIGESTED // rows.width * rows.width)
        for start in range(0, len(rows.values), step):
            stored = canonical(rows.values[start : start + step])
            made.update(np.ascontiguousarray(stored).view(np.uint8).data)
    if rows.lengths is not None:
        made.update(rows.lengths.astype("<u8").tobytes())
    if rows.valid is not None:
        made.update(pack_bits(rows.valid))
    return made.digest()


def _steps(edges: Sequence[int] | Ints) -> Ints:
    """Return the differences of ascending numbers, along the first axis."""
    array = np.asarray(edges, np.int64)
    return array[1:] - array[:-1]


def _values_of_blocks(kind: ColumnType, bounds: list[int]) -> Ints:
    """Return how many values each block has: those of its part, or of its group in the part."""
    values = _steps(bounds)
    if len(kind.groups) == 1:
        return values
    return ((values // kind.width)[:, None] * _steps((0, *kind.groups))).reshape(-1)


def _count_nans(kind: ColumnType, rows: ColumnRows, bounds: list[int]) -> Ints:
    """Return the NaN values of each block."""
    is_nan = find_nans(kind, rows.values)
    if len(kind.groups) == 1:
        ends = np.concatenate([[0], np.cumsum(is_nan)])
        return _steps(ends[np.asarray(bounds)])
    by_group = np.add.reduceat(is_nan.reshape(-1, kind.width), (0, *kind.groups[:-1]), axis=1, dtype=np.int64)
    ends = np.concatenate([np.zeros((1, len(kind.groups)), np.int64), np.cumsum(by_group, axis=0)])
    return _steps(ends[np.asarray(bounds) // kind.width]).reshape(-1)


def _count_missing(rows: ColumnRows, bounds: list[int]) -> Ints:
    """Return how many missing rows begin in each part."""
    blocks = len(bounds) - 1
    if rows.valid is None or not blocks:
        return np.zeros(blocks, np.int64)
    missing = np.flatnonzero(~rows.valid)
    begin = missing * rows.width if rows.lengths is None else (np.cumsum(rows.lengths) - rows.lengths)[missing]
    at = np.searchsorted(np.asarray(bounds[1:]), begin, side="right")
    return np.bincount(np.minimum(at, blocks - 1), minlength=blocks).astype(np.int64)


def _block_range(rows: ColumnRows, start: int, stop: int) -> tuple[Any, Any] | None:
    """Return the range of the present values of one block of a column with one value per row."""
    values = rows.values[start:stop]
    return range_of(values if rows.valid is None else values[rows.valid[start:stop]])


def _text_ranges(rows: ColumnRows, bounds: list[int]) -> list[tuple[Any, Any] | None]:
    """Return the range of the present texts that begin in each block (format.md 4.5)."""
    lengths = np.zeros(0, np.int64) if rows.lengths is None else rows.lengths
    ends = np.cumsum(lengths)
    texts = np.stack([ends - lengths, ends], axis=1)
    block = np.minimum(np.searchsorted(bounds[1:], texts[:, 0], side="right"), max(len(bounds) - 2, 0))
    if rows.valid is not None:
        texts, block = texts[rows.valid], block[rows.valid]
    cuts = np.searchsorted(block, np.arange(len(bounds)))
    return [range_of_texts(rows.values, texts[a:b]) for a, b in pairwise(cuts.tolist())]


def _rows_content(rows: ColumnRows) -> bytes:
    """Return the rows section before compression (format.md 4.4)."""
    lengths = b"" if rows.lengths is None else encode_packed(rows.lengths)
    return lengths + (b"" if rows.valid is None else pack_bits(rows.valid))


def _section(content: bytes) -> tuple[bytes, bool]:
    """Compress a section where that is smaller."""
    packed = frames.compress(content, _SECTION_LEVEL) if content else content
    return (packed, True) if len(packed) < len(content) else (content, False)
