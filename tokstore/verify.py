"""Check every byte of a store against the spec, and say what is wrong where (format.md, all of it).

Reading checks what it needs; this checks everything: digests of whole files, padding, the second copies, values
digests, counts. It never repairs and goes on after a finding, so that one run tells the whole damage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.block import BlockTable, first_rows, pack_bits, spans_of
from tokstore.column_types import Text, Tokens, UnknownType
from tokstore.errors import ChecksumError, CorruptError, TokstoreError
from tokstore.format import FLAG_OPTIONAL, FOOTER_BYTES, HEADER_BYTES, Footer
from tokstore.objects import decode_object, object_path
from tokstore.opening import open_store
from tokstore.pages import Page
from tokstore.parts import decode_part, part_path, staged_parts
from tokstore.placement import FIRST_FILE
from tokstore.reading import result_dtype
from tokstore.schema import Column
from tokstore.shard import DataFile
from tokstore.store import Store
from tokstore.writer import Progress

__all__ = ["Report", "verify"]

_PIECE = 16 << 20


@dataclass
class Report:
    """What `verify` found.

    Attributes:
        path: The store.
        version: The version that was checked.
        files: Data files checked.
        objects: Objects checked.
        nbytes: Bytes read.
        values: Values decoded and compared with their digests.
        problems: What is wrong, one error each; empty for a sound store.
        unchecked: What could not be checked, such as columns of types from a newer version.
    """

    path: str
    version: int
    files: int = 0
    objects: int = 0
    nbytes: int = 0
    values: int = 0
    problems: list[TokstoreError] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        problems = [{"kind": type(one).__name__, "message": str(one)} for one in self.problems]
        return self.__dict__ | {"ok": self.ok, "problems": problems}

    def __repr__(self) -> str:
        found = "sound" if self.ok else f"{len(self.problems)} problems, first: {self.problems[0]}"
        return f"<Report {self.path} version {self.version}: {self.files} files, {self.nbytes} bytes, {found}>"


def verify(
    path: Any, version: int | str | None = None, *, progress: Callable[[Progress], None] | None = None
) -> Report:
    """Check every byte of one version of a store, and the parts that are staged.

    Args:
        path: A folder or a single ``.tok`` file.
        version: A number or a tag; the newest by default.
        progress: Called with a `Progress` of bytes read.

    Returns:
        A `Report`; damage is in its `problems`, it is not raised. Only a store that cannot be opened raises.

    Example:
        >>> ts.verify("corpus").ok  # doctest: +SKIP
        True
    """
    store = open_store(path, version)
    report = Report(store.path, store.version)
    checker = _Checker(store, report, progress)
    for number in range(len(store._version.root.pages)):
        checker.guard(checker.page, number)
    checker.attachments()
    if store._file_name is None:
        checker.parts()
    return report


class _Checker:
    """Walk through a store and collect findings."""

    def __init__(self, store: Store, report: Report, progress: Callable[[Progress], None] | None) -> None:
        self.store, self.version, self.report, self.progress = store, store._version, report, progress
        self.columns = {column.column_id: column for column in store.schema.columns}
        self.seen: set[bytes] = set()

    def guard(self, check: Callable[..., None], *arguments: Any) -> None:
        """Run a check and note what it finds."""
        try:
            check(*arguments)
        except TokstoreError as error:
            self.report.problems.append(error)

    def page(self, number: int) -> None:
        """Check one page: its files, objects, plan and deletions."""
        version = self.version
        (page,) = version.pages([number])
        (plan,) = version.plans([number])
        version.deletions(number)
        for object_number, name in enumerate(page.objects):
            self.guard(self.object, name, int(page.object_bytes[object_number]))
        for file in range(len(page.file_ids)):
            self.guard(self.file, page, file)
        if int(plan.shard_spans.sum()) != int(version.root.pages["spans"][number]):
            raise CorruptError("a plan has other spans than its page record", rule="format.md 8.2")
        edges = np.concatenate([[0], np.cumsum(plan.shard_spans)])
        for shard in range(page.shards):
            self.guard(self.spans, number, page, plan, shard, slice(int(edges[shard]), int(edges[shard + 1])))

    def spans(self, number: int, page: Page, plan: Any, shard: int, part: slice) -> None:
        """Check that the plan has the spans that the blocks of a shard define."""
        primary = self.store.schema.primary
        if isinstance(primary.type, UnknownType):
            return
        place = self.version.place_of(number, shard, primary)
        if place.file is None:
            return
        table = place.file.table(primary.column_id, primary.type)
        starts = place.file.rows(primary.column_id).starts
        rows = int(page.samples[shard])
        if place.file.rows_count != rows:
            return
        expected = spans_of(table.value_starts.tolist(), None if starts is None else np.diff(starts), rows)
        for name in ("blocks", "samples", "values", "lead"):
            if not np.array_equal(getattr(expected, name), getattr(plan.spans, name)[part]):
                raise CorruptError(
                    f"the plan disagrees with the blocks on the {name} of spans", path=place.file.place.path,
                    rule="format.md 7.3",
                )  # fmt: skip

    def object(self, name: bytes, nbytes: int) -> None:
        """Check one object in the store."""
        path = object_path(name)
        (data,) = self.store.storage.read_ranges([(path, 0, None)])
        raw = data if data is not None else memoryview(b"")
        self._read(len(raw))
        self.report.objects += 1
        try:
            if len(raw) != nbytes:
                raise CorruptError(f"an object of {len(raw)} bytes should have {nbytes}", rule="format.md 8.3")
            decode_object(raw, name, int.from_bytes(raw[4:6], "little"))
        except TokstoreError as error:
            raise _at(error, path) from error

    def attachments(self) -> None:
        """Check all attachments."""
        for name, (wanted, nbytes, _) in self.version.root.attachments.items():
            if self.store._file_name is None:
                self.guard(self.object, wanted, nbytes)
            else:
                self.guard(self.store.attachments.__getitem__, name)  # type: ignore[arg-type]

    def parts(self) -> None:
        """Check staged parts."""
        for name in staged_parts(self.store.storage):
            path = part_path(name)
            (data,) = self.store.storage.read_ranges([(path, 0, None)])
            self.guard(decode_part, data if data is not None else b"", path)  # type: ignore[arg-type]

    def _read(self, nbytes: int) -> None:
        """Count bytes and report progress."""
        self.report.nbytes += nbytes
        if self.progress is not None:
            total = self.version.root.totals.data_bytes + self.version.root.totals.object_bytes
            self.progress(Progress(self.report.nbytes, max(total, self.report.nbytes), "bytes", "verify"))

    def file(self, page: Page, number: int) -> None:
        """Check one data file."""
        version = self.version
        place = version.place(page, number)
        if place.file_id in self.seen:
            return
        self.seen.add(place.file_id)
        self.report.files += 1
        storage = self.store.storage
        found = storage.file_bytes(place.path)
        if found != place.file_bytes:
            raise CorruptError(
                f"a file of {found} bytes should have {place.file_bytes}", path=place.path, rule="format.md 8.3"
            )
        file = version.file_by_number(page, number)
        try:
            (foot,) = storage.read_ranges([(place.path, found - FOOTER_BYTES, FOOTER_BYTES)])
            footer = Footer.decode(foot if foot is not None else b"", found)
            if (footer.tail_offset, footer.index_offset, footer.index_checksum) != (
                place.tail_offset,
                place.index_offset,
                place.index_checksum,
            ):
                raise CorruptError("the footer names another index than the page", rule="format.md 4.11")
            self._whole(file, page.file_digests[number])
            self._copy(file, footer)
            self._no_holes(file, footer)
        except TokstoreError as error:
            self.report.problems.append(_at(error, place.path))
        for one in file.objects:
            if one.offset is not None:
                self.guard(decode_object, file.embedded(one), one.digest, one.kind)  # type: ignore[arg-type]
        for entry in file.entries:
            column = self.columns.get(int(entry["column_id"]))
            if column is None:
                continue
            if isinstance(column.type, UnknownType):
                self.report.unchecked.append(f"column {column.name!r} of {place.path}: unknown type")
                continue
            self.guard(self.column, file, column, entry)

    def _whole(self, file: DataFile, expected: bytes) -> None:
        """Check the digest of a whole file."""
        if expected == bytes(32):
            return  # opened alone: no parent holds a digest
        made = hashlib.blake2b(digest_size=32)
        for at in range(0, file.place.file_bytes, _PIECE):
            nbytes = min(_PIECE, file.place.file_bytes - at)
            (data,) = self.store.storage.read_ranges([(file.place.path, at, nbytes)])
            made.update(data if data is not None else b"")
            self._read(nbytes)
        if made.digest() != expected:
            raise ChecksumError("the file has another digest than its page says", rule="format.md 8.3")

    def _copy(self, file: DataFile, footer: Footer) -> None:
        """Check that the second copy of tables, rows sections and index equals the first."""
        path, embedded = file.place.path, sum(one.stored_bytes for one in file.objects if one.offset is not None)
        start, end = footer.tail_offset + embedded, footer.index_offset + footer.index_bytes
        if end - start != footer.tail_offset - footer.copy_offset:
            raise CorruptError("the copy has another length than the original", rule="format.md 4.10")
        first, second = self.store.storage.read_ranges(
            [(path, footer.copy_offset, end - start), (path, start, end - start)]
        )
        if first != second:
            raise CorruptError("the copy differs from the original", offset=footer.copy_offset, rule="format.md 4.10")

    def _no_holes(self, file: DataFile, footer: Footer) -> None:
        """Check that blocks fill the file from header to copy, apart from zero padding."""
        parts: list[tuple[int, int]] = []
        aligned: dict[int, int] = {}
        for entry in file.entries:
            column = self.columns.get(int(entry["column_id"]))
            if column is None or isinstance(column.type, UnknownType):
                return  # its blocks cannot be told from padding
            table = file.table(column.column_id, column.type)
            parts += zip(table.offsets.tolist(), table.stored_bytes.tolist(), strict=True)
            plain = not isinstance(column.type, Text)
            for offset, form in zip(table.offsets.tolist(), table.forms.tolist(), strict=True):
                aligned[offset] = 64 if plain and not form >> 4 else 8
        at = HEADER_BYTES
        for offset, nbytes in sorted(parts):
            if offset < at:
                raise CorruptError("blocks overlap", offset=offset, rule="format.md 11")
            if offset != at + -at % aligned[offset]:
                raise CorruptError(
                    "a block does not begin at the next aligned offset", offset=offset, rule="format.md 4.3"
                )
            self._zero(file, at, offset)
            at = offset + nbytes
        if at != footer.copy_offset:
            raise CorruptError("bytes before the copy belong to nothing", offset=at, rule="format.md 4.1")

    def _zero(self, file: DataFile, start: int, stop: int) -> None:
        """Check padding."""
        if stop > start:
            (data,) = self.store.storage.read_ranges([(file.place.path, start, stop - start)])
            if data is not None and any(data):
                raise CorruptError("padding before a block is not zero", offset=start, rule="format.md 4.3")

    def column(self, file: DataFile, column: Column, entry: Any) -> None:
        """Decode all blocks of a column, and check digest, counts and ranges."""
        kind, column_id, path = column.type, column.column_id, file.place.path
        table, rows = file.table(column_id, kind), file.rows(column_id)
        decoder = self.version.decoder(file, column)
        made = hashlib.blake2b(digest_size=32)
        missing = np.zeros(len(table.values), np.int64)
        for block in range(len(table.values)):
            place = (path, int(table.offsets[block]), int(table.stored_bytes[block]))
            (data,) = self.store.storage.read_ranges([place])
            values = np.empty(int(table.values[block]), result_dtype(column))
            file.decode_block(column_id, table, decoder, block, data if data is not None else memoryview(b""), values)
            made.update(values.astype(kind.dtype).tobytes())
            self.report.values += len(values)
            self._block_facts(file, column, table, rows, block, values)
        bounds = table.value_starts.tolist()
        lengths = None if rows.starts is None else np.diff(rows.starts)
        if not np.array_equal(first_rows(bounds, lengths), table.first_row):
            raise CorruptError(
                f"column {column.name!r}: first rows of blocks are wrong", path=path, rule="format.md 4.5"
            )
        if lengths is not None:
            made.update(lengths.astype("<u8").tobytes())
        if int(entry["flags"]) & FLAG_OPTIONAL and rows.valid is not None:
            made.update(pack_bits(rows.valid))
            missing = _missing_per_block(rows, table)
            if table.missing is not None and not np.array_equal(missing, table.missing):
                raise CorruptError(f"column {column.name!r}: missing counts are wrong", path=path, rule="format.md 4.5")
        if made.digest() != entry["values_digest"].tobytes():
            raise ChecksumError(f"column {column.name!r}: the values digest differs", path=path, rule="format.md 10")
        if isinstance(kind, Text) and lengths is not None:
            self._utf8(file, column)

    def _utf8(self, file: DataFile, column: Column) -> None:
        """Check that every text is UTF-8, by reading the shards of the file as users do."""
        for number in range(len(self.version.root.pages)):
            (page,) = self.version.pages([number])
            placement = page.columns.get(column.column_id)
            if placement is None or file.place.file_id not in page.file_ids:
                continue
            mine = FIRST_FILE + page.file_ids.index(file.place.file_id)
            starts = self.version.page_starts[number] + self.version.shard_starts(number)
            for shard in np.flatnonzero(placement.where == mine).tolist():
                for a in range(int(starts[shard]), int(starts[shard + 1]), 4096):
                    self.store.take(slice(a, min(a + 4096, int(starts[shard + 1]))), [column.name])

    def _block_facts(
        self, file: DataFile, column: Column, table: BlockTable, rows: Any, block: int, values: NDArray[Any]
    ) -> None:
        """Check NaN count and range of one block."""
        path, at = file.place.path, int(table.offsets[block])
        if table.nans is not None and int(np.count_nonzero(np.isnan(values))) != int(table.nans[block]):
            raise CorruptError(
                f"column {column.name!r}: a NaN count is wrong", path=path, offset=at, rule="format.md 4.5"
            )
        if table.ranges is None or isinstance(column.type, (Text, Tokens)):
            return
        start = int(table.value_starts[block])
        here = values if rows.valid is None else values[rows.valid[start : start + len(values)]]
        here = here[~np.isnan(here)] if here.dtype.kind == "f" else here
        present, low, high = (one[block] for one in table.ranges)
        if bool(present) != bool(here.size) or (here.size and (here.min() != low or here.max() != high)):
            raise CorruptError(f"column {column.name!r}: a range is wrong", path=path, offset=at, rule="format.md 4.5")


def _missing_per_block(rows: Any, table: BlockTable) -> NDArray[np.int64]:
    """Return how many missing rows begin in each block (format.md 4.5)."""
    blocks = len(table.values)
    if not blocks:
        return np.zeros(0, np.int64)
    gone = np.flatnonzero(~rows.valid)
    begin = gone if rows.starts is None else rows.starts[:-1][gone]
    at = np.searchsorted(table.value_starts[1:], begin, side="right")
    return np.bincount(np.minimum(at, blocks - 1), minlength=blocks).astype(np.int64)


def _at(error: TokstoreError, path: str) -> TokstoreError:
    """Add the path to an error that has none."""
    if error.path is not None:
        return error
    return type(error)(error.message, path=path, offset=error.offset, rule=error.rule, hint=error.hint)
