"""Check one data file: digest, footer, every byte in its place, the second copy, objects, and every column
(format.md 4)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from tokstore.block import BlockTable
from tokstore.column_types import UnknownType
from tokstore.column_writer import ColumnFacts
from tokstore.errors import ChecksumError, CorruptError, TruncatedError, UnsupportedError
from tokstore.format import FOOTER_BYTES, HEADER_BYTES, Footer
from tokstore.objects import decode_object
from tokstore.schema import Column
from tokstore.shard import DataFile
from tokstore.user_metadata import decode_user_metadata
from tokstore.verify_columns import check_column
from tokstore.verify_report import Findings
from tokstore.version import Version

__all__ = ["check_columns", "check_container", "check_length"]

_RAW_NUMBERS = frozenset({1, 2})
_KNOWN_CODECS = frozenset(range(1, 7))


def check_length(findings: Findings, path: str, nbytes: int) -> None:
    """Check that a data file has the length that its page says."""
    found = findings.storage.file_bytes(path)
    if found != nbytes:
        kind = TruncatedError if found < nbytes else CorruptError
        raise kind(f"a file of {found} bytes should have {nbytes}", path=path, rule="format.md 8.3")


def check_container(findings: Findings, file: DataFile, columns: Mapping[int, Column], expected: bytes | None) -> None:
    """Check all of a file but its values, and note what is wrong.

    Args:
        findings: Where it is noted.
        file: The open file.
        columns: Its columns by id.
        expected: The digest of the whole file in its page; ``None`` for a file that is opened alone.
    """
    path = file.place.path
    findings.guard(_check_digest, findings, file, expected, path=path)
    findings.guard(_check_layout, findings, file, columns, path=path)
    if (text := file.metadata.get(4)) is not None:
        findings.guard(decode_user_metadata, text, path, "format.md 4.9", path=path)
    for one in file.objects:
        if one.offset is not None:
            said = (one.digest, one.stored_bytes, one.kind, one.content_bytes)
            findings.guard(decode_object, file.embedded(one), *said, path=path)


def _check_digest(findings: Findings, file: DataFile, expected: bytes | None) -> None:
    """Check the digest of a whole file."""
    if expected is None:
        findings.count(file.place.file_bytes)
        return
    made = hashlib.blake2b(digest_size=32)
    for piece in findings.read_pieces(file.place.path, file.place.file_bytes):
        made.update(piece)
    if made.digest() != expected:
        raise ChecksumError("the file has another digest than its page says", rule="format.md 8.3")


def _check_layout(findings: Findings, file: DataFile, columns: Mapping[int, Column]) -> None:
    """Check footer, copy, and that blocks fill the file from header to copy apart from zero padding."""
    place = file.place
    (foot,) = findings.storage.read_ranges([(place.path, place.file_bytes - FOOTER_BYTES, FOOTER_BYTES)])
    footer = Footer.decode(foot if foot is not None else b"", place.file_bytes)
    said = (place.tail_offset, place.index_offset, place.index_checksum)
    if (footer.tail_offset, footer.index_offset, footer.index_checksum) != said:
        raise CorruptError("the footer names another index than the page", rule="format.md 4.11")
    _check_copy(findings, file, footer)
    tables = {}
    for one, column in columns.items():
        try:
            tables[one] = file.table(one, column.type)
        except UnsupportedError:
            return  # blocks of a column with unknown features cannot be told from padding
    end = _check_blocks(findings, file, tables)
    if end != footer.copy_offset:
        raise CorruptError("bytes before the copy belong to nothing", offset=end, rule="format.md 4.1")


def _check_copy(findings: Findings, file: DataFile, footer: Footer) -> None:
    """Check that the second copy of tables, rows sections and index equals the first."""
    path, embedded = file.place.path, sum(one.stored_bytes for one in file.objects if one.offset is not None)
    start, end = footer.tail_offset + embedded, footer.index_offset + footer.index_bytes
    if end - start != footer.tail_offset - footer.copy_offset:
        raise CorruptError("the copy has another length than the original", rule="format.md 4.10")
    first, second = findings.storage.read_ranges([(path, footer.copy_offset, end - start), (path, start, end - start)])
    if first != second:
        raise CorruptError("the copy differs from the original", offset=footer.copy_offset, rule="format.md 4.10")


def _check_blocks(findings: Findings, file: DataFile, tables: Mapping[int, BlockTable]) -> int:
    """Check place and padding of all blocks, and return where the last one ends (format.md 4.3)."""
    parts: list[tuple[int, int, int]] = []
    for one, table in tables.items():
        codec = int(file.entry(one)["codec"])
        lines = zip(table.offsets.tolist(), table.stored_bytes.tolist(), table.forms.tolist(), strict=True)
        for offset, nbytes, form in lines:
            multiple = 64 if codec in _RAW_NUMBERS and not form >> 4 else 8
            parts.append((offset, nbytes, multiple if codec in _KNOWN_CODECS else 0))
    at = HEADER_BYTES
    for offset, nbytes, multiple in sorted(parts):
        if offset < at:
            raise CorruptError("blocks overlap", offset=offset, rule="format.md 11")
        places = [at + -at % one for one in ((multiple,) if multiple else (8, 64))]
        if offset not in places:
            raise CorruptError("a block does not begin at the next aligned offset", offset=offset, rule="format.md 4.3")
        if offset > at:
            (padding,) = findings.storage.read_ranges([(file.place.path, at, offset - at)])
            if padding is not None and any(padding):
                raise CorruptError("padding before a block is not zero", offset=at, rule="format.md 4.3")
        at = offset + nbytes
    return at


def check_columns(
    findings: Findings,
    version: Version,
    file: DataFile,
    columns: Mapping[int, Column],
    shards: Mapping[int, Sequence[tuple[int, int]]],
    ranged: frozenset[int],
) -> dict[int, list[ColumnFacts]]:
    """Decode and check columns of a file; return the facts of shards for those in which nothing is wrong.

    Args:
        findings: Where problems, and columns that cannot be read, are noted.
        version: The version that the file is read for.
        file: The open file.
        columns: The columns by id.
        shards: First row and number of rows of the shards, by column id.
        ranged: Columns that have ranges in the manifest.
    """
    facts: dict[int, list[ColumnFacts]] = {}

    def check(column: Column) -> None:
        one = column.column_id
        try:
            decoder = version.decoder(file, column)
        except UnsupportedError as error:
            what = "unknown type" if isinstance(column.type, UnknownType) else error.message
            findings.report.unchecked.append(f"column {column.name!r} of {file.place.path}: {what}")
            return
        found = check_column(version.storage, file, column, decoder, shards.get(one, ()), ranged=one in ranged)
        findings.report.values += int(file.entry(one)["values"])
        facts[one] = found

    for column in columns.values():
        findings.guard(check, column, path=file.place.path)
    return facts
