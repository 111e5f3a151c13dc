"""Read one data file: header, footer, index, tables, rows sections, blocks (format.md 4).

A `DataFile` knows no storage. It says which ranges it wants and takes their bytes, so that whoever reads many files
can fetch all of them in one round trip. Sections are parsed when first asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokstore import frames
from tokstore.block import BlockTable, check_entry, check_layout
from tokstore.column_types import ColumnType, UnknownType
from tokstore.errors import ChecksumError, CorruptError, TokstoreError
from tokstore.format import (
    COLUMN_ENTRY,
    EMBEDDED,
    FLAG_OBJECT,
    FLAG_OPTIONAL,
    FLAG_RAGGED,
    FLAG_ROWS_ZSTD,
    FLAG_TABLE_ZSTD,
    FOOTER_BYTES,
    HEADER_BYTES,
    MAX_BLOCKS,
    MAX_METADATA_BYTES,
    MAX_OBJECT_BYTES,
    MAX_SECTION_BYTES,
    OBJECT_ENTRY,
    Footer,
    Header,
    IndexHeader,
    records_from,
    verify_checksum,
)
from tokstore.packed import PackedReader
from tokstore.places import FilePlace, ObjectRef, Rows, file_path
from tokstore.ranges import unpack_bits
from tokstore.schema import Schema
from tokstore.wire import (
    INDEX_PLACE,
    ROWS_BLOCK,
    SEED_MASK,
    TABLE_BLOCK,
    checksum,
    decode_metadata,
    fields,
    place_seed,
)

if TYPE_CHECKING:
    from tokstore.codecs.contract import BlockDecoder

__all__ = ["DataFile", "FilePlace", "ObjectRef", "Rows", "file_path"]

_METADATA_KINDS = {1: list, 2: str, 3: dict, 4: str, 5: dict, 6: dict}
_QUALITY_KINDS = {1: float, 2: float, 3: float, 4: int}
_KNOWN_FLAGS = (1 << 7) - 1


class DataFile:
    """An open data file.

    Args:
        place: Where it is.
        header: Its first 64 bytes.
        tail: Bytes from `place.tail_offset` to the footer.

    Raises:
        CorruptError: Header or index break the spec, or are not those that the parent named.
        UnsupportedError: A newer format or an unknown required feature.
    """

    def __init__(self, place: FilePlace, header: bytes | memoryview, tail: memoryview) -> None:
        self.place = place
        self._tail = tail
        self._tables: dict[int, BlockTable] = {}
        self._rows: dict[int, Rows] = {}
        self._laid_out: set[int] = set()
        self._readable: set[int] = set()
        try:
            self.header = Header.decode(header)
            if self.header.file_id != place.file_id:
                raise CorruptError("the file id is not the one that its page names", offset=24, rule="format.md 4.2")
            self._parse_index()
        except TokstoreError as error:
            raise self._at(error) from error

    @classmethod
    def ranges(cls, place: FilePlace) -> list[tuple[str, int, int]]:
        """Return the two ranges that opening a file takes: its header and its tail."""
        end = place.file_bytes - FOOTER_BYTES
        return [(place.path, 0, HEADER_BYTES), (place.path, place.tail_offset, end - place.tail_offset)]

    @classmethod
    def place_alone(
        cls, path: str, file_bytes: int, header: bytes | memoryview, footer: bytes | memoryview
    ) -> FilePlace:
        """Return the place of a file that is opened without a page."""
        try:
            file_id = Header.decode(header).file_id
            foot = Footer.decode(footer, file_bytes)
        except TokstoreError as error:
            raise type(error)(
                error.message, path=path, offset=error.offset, rule=error.rule, hint=error.hint
            ) from error
        return FilePlace(path, file_id, file_bytes, foot.tail_offset, foot.index_offset, foot.index_checksum)

    def _at(self, error: TokstoreError) -> TokstoreError:
        """Add the path to an error that has none."""
        if error.path is not None:
            return error
        return type(error)(error.message, path=self.place.path, offset=error.offset, rule=error.rule, hint=error.hint)

    def _parse_index(self) -> None:
        place = self.place
        start = place.index_offset - place.tail_offset
        index = self._tail[start:]
        seed = place_seed(place.file_id, *INDEX_PLACE)
        verify_checksum(index, place.index_checksum, seed, "index", place.index_offset)
        head = IndexHeader.decode(index)
        self.rows_count = head.rows
        self.entries = records_from(index, COLUMN_ENTRY, head.columns, IndexHeader.BYTES)
        at = IndexHeader.BYTES + head.columns * COLUMN_ENTRY.itemsize
        raw_objects = records_from(index, OBJECT_ENTRY, head.objects, at)
        at += head.objects * OBJECT_ENTRY.itemsize
        self.metadata = fields(
            decode_metadata(index[at:]), _METADATA_KINDS, (3, 4, 5, 6), "metadata of the file", "format.md 4.9"
        )
        ids = self.entries["column_id"].astype(np.int64)
        if (np.diff(ids) <= 0).any() or (ids == 2**32 - 1).any():
            raise CorruptError("column ids of the index are not ascending", rule="format.md 4.6")
        self._numbers = {int(one): i for i, one in enumerate(ids)}
        self.objects = [self._object(one) for one in raw_objects]
        self._check_entries(head.rows)
        self._check_metadata()
        self._check_parts()
        # What the parsed sections will take: nine numbers per block, a number per ragged row, a byte per optional one.
        flags = self.entries["flags"]
        row_bytes = 8 * int(((flags & FLAG_RAGGED) != 0).sum()) + int(((flags & FLAG_OPTIONAL) != 0).sum())
        self.nbytes = len(self._tail) + 72 * int(self.entries["blocks"].sum()) + row_bytes * head.rows

    def _check_entries(self, rows: int) -> None:
        """Check what column entries say of themselves (format.md 4.7)."""
        e, flags = self.entries, self.entries["flags"]
        if (e["rows"] != rows).any() or (flags > _KNOWN_FLAGS).any() or (e["blocks"] > MAX_BLOCKS).any():
            raise CorruptError("a column entry has other rows, reserved flags or too many blocks", rule="format.md 4.7")
        # Blocks lie in the file and do not overlap; of a column of an unknown type no more can be said of them.
        if (e["stored_bytes"] > self.place.file_bytes).any() or (e["values"] >= 1 << 63).any():
            raise CorruptError(
                "a column entry has more values or stored bytes than a file can hold", rule="format.md 4.7"
            )
        named = e["object"].astype(np.int64)
        if (named >= np.where(flags & FLAG_OBJECT, len(self.objects), 1)).any():
            raise CorruptError("a column entry has an object that it cannot have", rule="format.md 4.7")
        without = e[(flags & (FLAG_RAGGED | FLAG_OPTIONAL)) == 0]
        if (
            any(without[f"rows_{name}"].any() for name in ("offset", "bytes", "content_bytes", "checksum"))
            or (without["flags"] & FLAG_ROWS_ZSTD).any()
        ):
            raise CorruptError("a column that needs none has a rows section", rule="format.md 4.7")

    def _check_metadata(self) -> None:
        """Check attachments, levels and user metadata (format.md 4.9)."""
        for number, name in self.metadata.get(3, {}).items():
            if type(name) is not str or number >= len(self.objects) or self.objects[number].offset is None:
                raise CorruptError("an attachment has no name or no embedded object", rule="format.md 4.9")
        if any(type(level) is not str for level in self.metadata.get(5, {}).values()):
            raise CorruptError("the level of a column is no string", rule="format.md 4.9")
        self.qualities = {
            one: fields(measured, _QUALITY_KINDS, (3,), "what was measured of a column", "format.md 4.9")
            for one, measured in self.metadata.get(6, {}).items()
        }
        if len(self.metadata.get(4, "").encode()) > MAX_METADATA_BYTES:
            raise CorruptError("the metadata is too long", rule="format.md 11")

    def _object(self, raw: Any) -> ObjectRef:
        flags, stored, content = int(raw["flags"]), int(raw["stored_bytes"]), int(raw["content_bytes"])
        if flags > EMBEDDED or content > MAX_OBJECT_BYTES or stored > MAX_OBJECT_BYTES + 1024:
            raise CorruptError("an object entry has reserved flags or is too large", rule="format.md 4.8")
        offset = int(raw["offset"])
        if not flags and offset:
            raise CorruptError("an object that is not embedded has an offset", rule="format.md 4.8")
        return ObjectRef(raw["digest"].tobytes(), int(raw["kind"]), stored, content, offset if flags else None)

    def _check_parts(self) -> None:
        """Check that objects, then tables, then rows sections fill the tail without holes or overlaps."""
        e = self.entries
        with_rows = e[(e["flags"] & (FLAG_RAGGED | FLAG_OPTIONAL)) != 0]
        at = self.place.tail_offset
        for parts in (
            [(one.offset, one.stored_bytes) for one in self.objects if one.offset is not None],
            list(zip(e["table_offset"].tolist(), e["table_bytes"].tolist(), strict=True)),
            list(zip(with_rows["rows_offset"].tolist(), with_rows["rows_bytes"].tolist(), strict=True)),
        ):
            for offset, nbytes in sorted(parts):
                if offset != at:
                    raise CorruptError("parts of the tail overlap or leave a hole", offset=offset, rule="format.md 4.1")
                at += nbytes
        if at != self.place.index_offset:
            raise CorruptError("parts of the tail do not end where the index begins", offset=at, rule="format.md 4.1")
        content = [int(e[key].max()) for key in ("table_content_bytes", "rows_content_bytes") if len(e)]
        if any(nbytes > MAX_SECTION_BYTES for nbytes in content):
            raise CorruptError("a table or rows section is too large", rule="format.md 11")

    @property
    def schema(self) -> Schema:
        """The schema that the file itself carries: one record for each column entry."""
        found = Schema.from_records(self.metadata[1])
        types = [c.type.type_number if isinstance(c.type, UnknownType) else c.type.number for c in found.columns]
        if [c.column_id for c in found.columns] != list(self._numbers) or types != self.entries["type"].tolist():
            raise CorruptError("column records and entries differ", path=self.place.path, rule="format.md 4.9")
        return found

    def has(self, column_id: int) -> bool:
        """Tell whether the file holds a column."""
        return column_id in self._numbers

    def entry(self, column_id: int) -> Any:
        """Return the column entry (`COLUMN_ENTRY`)."""
        number = self._numbers.get(column_id)
        if number is None:
            raise CorruptError(
                f"the file does not hold column {column_id}, though it should",
                path=self.place.path,
                rule="format.md 8.3",
            )
        return self.entries[number]

    def object_of(self, column_id: int) -> ObjectRef | None:
        """Return the object that the codec of a column needs."""
        entry = self.entry(column_id)
        if not int(entry["flags"]) & FLAG_OBJECT:
            return None
        return self.objects[int(entry["object"])]

    def embedded(self, one: ObjectRef) -> memoryview:
        """Return the bytes of an embedded object."""
        start = (one.offset or 0) - self.place.tail_offset
        return self._tail[start : start + one.stored_bytes]

    def _section(self, entry: Any, name: str, block: int, zstd: int) -> bytes | memoryview:
        """Return a verified, decompressed section of a column."""
        offset, nbytes = int(entry[f"{name}_offset"]), int(entry[f"{name}_bytes"])
        content_bytes = int(entry[f"{name}_content_bytes"])
        start = offset - self.place.tail_offset
        data = self._tail[start : start + nbytes]
        seed = place_seed(self.place.file_id, int(entry["column_id"]), block)
        what = "table" if name == "table" else "rows section"
        verify_checksum(data, int(entry[f"{name}_checksum"]), seed, what, offset)
        if int(entry["flags"]) & zstd:
            return frames.decompress(data, least=content_bytes, most=content_bytes)
        if nbytes != content_bytes:
            raise CorruptError(f"a {what} of {nbytes} bytes should have {content_bytes}", offset=offset)
        return data

    def table(self, column_id: int, kind: ColumnType) -> BlockTable:
        """Return the table of a column, parsed once."""
        found = self._tables.get(column_id)
        if found is None:
            entry = self.check_layout(column_id, kind)
            try:
                found = BlockTable.decode(self._section(entry, "table", TABLE_BLOCK, FLAG_TABLE_ZSTD), entry, kind)
                ends = found.offsets + found.stored_bytes
                if len(ends) and (
                    int(found.offsets[0]) < HEADER_BYTES
                    or (found.offsets[1:] < ends[:-1]).any()
                    or int(ends[-1]) > self.place.tail_offset
                ):
                    raise CorruptError("blocks overlap or lie outside the file", rule="format.md 11")
            except TokstoreError as error:
                raise self._at(error) from error
            self._tables[column_id] = found
        return found

    def rows(self, column_id: int) -> Rows:
        """Return lengths and presence of a column, parsed once."""
        found = self._rows.get(column_id)
        if found is None:
            try:
                found = self._parse_rows(self.entry(column_id))
            except TokstoreError as error:
                raise self._at(error) from error
            self._rows[column_id] = found
        return found

    def _parse_rows(self, entry: Any) -> Rows:
        flags, rows = int(entry["flags"]), int(entry["rows"])
        if not flags & (FLAG_RAGGED | FLAG_OPTIONAL):
            return Rows(None, None)
        reader = PackedReader(self._section(entry, "rows", ROWS_BLOCK, FLAG_ROWS_ZSTD), "rows section", "format.md 4.4")
        starts = valid = None
        if flags & FLAG_RAGGED:
            lengths = reader.packed(rows, "lengths", 0, int(entry["values"]))
            starts = np.zeros(rows + 1, np.int64)
            np.cumsum(lengths, out=starts[1:])
            if int(starts[-1]) != int(entry["values"]):
                raise CorruptError(
                    f"lengths add up to {int(starts[-1])}, the column has {int(entry['values'])} values",
                    offset=int(entry["rows_offset"]),
                    rule="format.md 4.4",
                )
        if flags & FLAG_OPTIONAL:
            valid = unpack_bits(np.frombuffer(reader.raw((rows + 7) // 8, "validity"), np.uint8), rows)
            if starts is not None and (np.diff(starts) > 0)[~valid].any():
                raise CorruptError("a missing row has values", offset=int(entry["rows_offset"]), rule="format.md 4.4")
        reader.end()
        return Rows(starts, valid)

    def check_layout(self, column_id: int, kind: ColumnType) -> Any:
        """Return the entry of a column, or refuse a column whose table and rows section cannot be read."""
        entry = self.entry(column_id)
        if column_id not in self._laid_out:
            try:
                check_layout(kind, entry)
            except TokstoreError as error:
                raise self._at(error) from error
            self._laid_out.add(column_id)
        return entry

    def check_column(self, column_id: int, kind: ColumnType) -> None:
        """Refuse a column whose type, codec or features this version cannot read."""
        if column_id not in self._readable:
            try:
                check_entry(kind, self.entry(column_id))
            except TokstoreError as error:
                raise self._at(error) from error
            self._readable.add(column_id)

    def decode_blocks(
        self,
        column_id: int,
        table: BlockTable,
        decoder: BlockDecoder,
        blocks: Sequence[tuple[int, memoryview, NDArray[Any]]],
        alone: Sequence[BlockDecoder] | None = None,
    ) -> None:
        """Verify blocks of one column and decode them.

        Args:
            column_id: The column.
            table: Its table.
            decoder: Its decoder.
            blocks: Number, stored bytes, and where the values go, of each.
            alone: A decoder for each block alone, where that is another one than for all of them: it finds the block
                that is damaged.
        """
        at = 0
        first_seed, checksums, forms = place_seed(self.place.file_id, column_id, 0), table.checksums, table.forms
        try:
            for number, data, _ in blocks:
                seed = (first_seed + number) & SEED_MASK
                if checksum(data, seed) != checksums[number]:
                    at = number
                    verify_checksum(data, int(checksums[number]), seed, f"block {number}")
            run = [(data, int(forms[number]), out) for number, data, out in blocks]
            try:
                decoder.decode_run(run)
            except TokstoreError:
                for (number, _, _), one, by in zip(blocks, run, alone or [decoder] * len(run), strict=True):
                    at = number
                    by.decode(*one)
                raise
        except TokstoreError as error:
            raise type(error)(
                f"column {column_id}, {error.message}" if isinstance(error, ChecksumError) else error.message,
                path=self.place.path,
                offset=int(table.offsets[at]),
                rule=error.rule,
                hint=error.hint,
            ) from error
