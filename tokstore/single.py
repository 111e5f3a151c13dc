"""A single data file as a store: the root that it would have (format.md 4.9)."""

from __future__ import annotations

import numpy as np

from tokstore.block import part_bounds, spans_of
from tokstore.column_types import UnknownType
from tokstore.column_writer import ColumnFacts
from tokstore.errors import CorruptError, TokstoreError
from tokstore.format import FOOTER_BYTES, HEADER_BYTES, NO_DIGEST
from tokstore.growth import NewShards, append_shards
from tokstore.objects import ATTACHMENT
from tokstore.pages import Page
from tokstore.plan import Plan
from tokstore.root import Root, empty_root
from tokstore.schema import Column
from tokstore.shard import DataFile
from tokstore.shard_writer import FileFacts
from tokstore.storage import Storage

__all__ = ["open_file"]


def open_file(storage: Storage, name: str) -> tuple[Root, DataFile]:
    """Open a data file alone.

    Args:
        storage: The folder that it is in.
        name: Its name.

    Returns:
        The root of a store with this one shard, as version 1, and the open file.
    """
    file_bytes = storage.file_bytes(name)
    foot = max(0, file_bytes - FOOTER_BYTES)
    wanted = [(name, 0, min(HEADER_BYTES, file_bytes)), (name, foot, file_bytes - foot)]
    header, footer = storage.read_ranges(wanted)
    place = DataFile.place_alone(storage.describe(name), file_bytes, header or b"", footer or b"")
    _, tail = storage.read_ranges([(name, 0, 0), (name, place.tail_offset, foot - place.tail_offset)])
    file = DataFile(place, header or b"", tail if tail is not None else memoryview(b""))
    try:
        return _root_of(file), file
    except TokstoreError as error:
        if error.path is not None:
            raise
        raise type(error)(error.message, path=place.path, offset=error.offset, rule=error.rule) from error


def _root_of(file: DataFile) -> Root:
    """Return the root of a store that holds one file."""
    schema = file.schema
    columns = {}
    for column in schema.columns:
        entry = file.entry(column.column_id)
        values, stored = int(entry["values"]), int(entry["stored_bytes"])
        missing = nans = 0
        span = None
        if _is_known(file, column):
            file.check_layout(column.column_id, column.type)
            valid = file.rows(column.column_id).valid
            missing = 0 if valid is None else int(np.count_nonzero(~valid))
            table = file.table(column.column_id, column.type)
            nans = 0 if table.nans is None else int(table.nans.sum())
            span = table.whole_range() if column.type.ranged else None
        columns[column.column_id] = ColumnFacts(values, stored, missing, nans, span)
    primary = schema.primary
    starts = lengths = None
    bounds: list[int] = [0]
    if _is_known(file, primary):
        starts = file.rows(primary.column_id).starts
        lengths = None if starts is None else np.diff(starts)
        bounds = part_bounds(primary.type, file.table(primary.column_id, primary.type), file.rows_count)
    place = file.place
    facts = FileFacts(
        place.file_id,
        NO_DIGEST,
        place.index_checksum,
        place.file_bytes,
        place.tail_offset,
        place.index_offset,
        file.rows_count,
        columns,
        (),
        spans_of(bounds, lengths, file.rows_count),
    )
    names = file.metadata.get(3, {})
    attachments = {}
    for number, name in names.items():
        one = file.objects[number]
        if one.kind != ATTACHMENT:
            raise CorruptError(f"an attachment is an object of kind {one.kind}", rule="format.md 4.9")
        attachments[name] = (one.digest, one.stored_bytes, one.content_bytes)
    start = empty_root(place.file_id, schema, attachments, file.metadata.get(4), 0)
    new = NewShards(Page.of_files([facts], schema, 0), Plan.of_files([facts], primary.column_id), schema)
    return append_shards(start, new, lambda record, part: b"")


def _is_known(file: DataFile, column: Column) -> bool:
    """Tell whether table and rows section of a column can be read."""
    return not isinstance(column.type, UnknownType) and not file.entry(column.column_id)["features"][2]
