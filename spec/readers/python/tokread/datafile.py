"""A whole data file: its parts in place, and every column of every row (format.md 4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .columnfile import ColumnFile, open_column, read_values
from .conventions import u64
from .entries import Footer, Index, ObjectEntry, parse_footer, parse_header, parse_index
from .failure import ReadError, require
from .objects import ATTACHMENT, KNOWN_KINDS, Object, parse_object
from .schema import KNOWN_CODECS, Column

Fetch = Callable[[bytes], bytes]


@dataclass
class DataFile:
    """A data file with all columns that this reader knows."""

    file_id: bytes
    footer: Footer
    index: Index
    columns: dict[int, ColumnFile]
    attachments: dict[str, bytes]


def read_data_file(data: bytes, schema: list[Column] | None = None, fetch: Fetch | None = None) -> DataFile:
    """Read and check a whole data file.

    Args:
        data: All its bytes.
        schema: The schema of the store; without one, the records in the file serve.
        fetch: Gives the bytes of an object in `objects/` by its digest; without it only embedded objects are found.
    """
    file_id = parse_header(data)
    nonce = u64(file_id, 0)
    footer = parse_footer(data)
    index = parse_index(data, footer, nonce)
    by_id = {column.id: column for column in (index.columns if schema is None else schema)}
    _check_bounds(index, footer)
    columns: dict[int, ColumnFile] = {}
    for entry, record in zip(index.entries, index.columns, strict=True):
        column = by_id.get(entry.column_id, record)
        require(column.type == entry.type, f"column {column.name} has another type in the schema", "format.md 4.7")
        columns[entry.column_id] = open_column(data, nonce, column, entry)
    _check_layout(data, footer, index, columns)
    objects: dict[int, Object] = {}
    for found in columns.values():
        if found.refused is None:
            item = None
            if found.entry.flags & 4:
                number = found.entry.object
                if number not in objects:
                    objects[number] = _object(data, index.objects[number], fetch)
                item = objects[number]
                if item.kind not in KNOWN_KINDS:
                    found.refused = f"column {found.column.name} has an object of kind {item.kind}"
            if found.refused is None:
                read_values(data, nonce, found, item)
    attachments = {}
    for number, entry_ in enumerate(index.objects):
        if number not in objects and entry_.is_embedded:
            objects[number] = _object(data, entry_, fetch)
    for number, name in index.attachments.items():
        require(objects[number].kind == ATTACHMENT, f"object {number} is no attachment", "format.md 4.9")
        attachments[name] = objects[number].content
    return DataFile(file_id, footer, index, columns, attachments)


def _object(data: bytes, entry: ObjectEntry, fetch: Fetch | None) -> Object:
    """Find an object in the file or in the store (4.8)."""
    if entry.is_embedded:
        raw = data[entry.offset : entry.offset + entry.stored_bytes]
    elif fetch is not None:
        raw = fetch(entry.digest)
    else:
        raise ReadError("missing", f"object {entry.digest.hex()} is not in this file", "format.md 4.8")
    return parse_object(raw, entry.digest, entry.stored_bytes, entry.content_bytes, entry.kind)


def _check_bounds(index: Index, footer: Footer) -> None:
    """Check that every part that the index names lies between header and footer (11)."""
    for entry in index.entries:
        for offset, stored_bytes, _, _ in (entry.table, entry.rows_section):
            require(
                offset + stored_bytes <= footer.footer_offset, "a part lies outside the file", "format.md 11", offset
            )
    for item in index.objects:
        require(
            item.offset + item.stored_bytes <= footer.footer_offset or not item.is_embedded,
            "an object lies outside the file",
            "format.md 11",
        )


def _check_layout(data: bytes, footer: Footer, index: Index, columns: dict[int, ColumnFile]) -> None:
    """Check that every byte of the file belongs to one part, and that the copy is one (4.1, 4.3, 4.10)."""
    rule = "format.md 4.1"
    at = _check_blocks(data, columns)
    if at is not None:
        require(footer.copy_offset == at, "the copy does not begin where the last block ends", rule, footer.copy_offset)
    at = footer.tail_offset
    at = _follow(at, [(x.offset, x.stored_bytes) for x in index.objects if x.is_embedded], "an object")
    first_table = at
    at = _follow(at, [x.table[:2] for x in index.entries], "a table")
    at = _follow(at, [x.rows_section[:2] for x in index.entries if x.flags & 3], "a rows section")
    require(at == footer.index_offset, "the index does not begin where the last rows section ends", rule, at)
    original = data[first_table : footer.footer_offset]
    copy = data[footer.copy_offset : footer.tail_offset]
    require(
        len(copy) == len(original),
        "the copy has another length than the original",
        "format.md 4.10",
        footer.copy_offset,
    )
    require(copy == original, "the copy differs from the original", "format.md 4.10", footer.copy_offset)


def _follow(at: int, parts: list[tuple[int, int]], what: str) -> int:
    """Check that parts lie one behind the other and return where the last one ends."""
    for offset, stored_bytes in sorted(parts):
        require(offset == at, f"{what} begins at {offset}, the part before it ends at {at}", "format.md 4.1", offset)
        at += stored_bytes
    return at


def _check_blocks(data: bytes, columns: dict[int, ColumnFile]) -> int | None:
    """Check place, alignment and padding of all blocks and return where the last one ends; None if some are unknown."""
    rule = "format.md 4.3"
    end = len(data) - 64
    blocks = [(block, found.entry.codec) for found in columns.values() for block in found.blocks]
    for found in columns.values():
        for before, after in zip(found.blocks, found.blocks[1:], strict=False):
            require(
                before.offset < after.offset,
                "the blocks of a column are not in the order of their values",
                rule,
                after.offset,
            )
    for block, _ in blocks:
        require(
            block.offset >= 64 and block.offset + block.stored_bytes <= end,
            "a block lies outside the file",
            "format.md 11",
            block.offset,
        )
    if any(found.entry.required for found in columns.values()):
        return None
    at = 64
    for block, codec in sorted(blocks, key=lambda pair: pair[0].offset):
        require(
            block.offset >= at,
            f"a block begins at {block.offset}, the part before it ends at {at}",
            "format.md 11",
            block.offset,
        )
        raw_numbers = codec in (1, 2) and block.form >> 4 == 0
        if codec in KNOWN_CODECS:
            multiple = 64 if raw_numbers else 8
            require(
                block.offset == -(-at // multiple) * multiple, f"a block begins at {block.offset}", rule, block.offset
            )
        else:
            require(
                block.offset % 8 == 0 and block.offset - at < 64,
                f"a block begins at {block.offset}",
                rule,
                block.offset,
            )
        require(not any(data[at : block.offset]), "padding is not zero", rule, at)
        at = block.offset + block.stored_bytes
    return at
