"""Several columns as one version, with what the store's metadata say of them (format.md 8.3, 9).

Columns of the same names that are there are replaced in the same version, so that no version has a part of a result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tokstore.column_changes import add_to, drop_from, release_column_id, reserve_column_id, with_optional
from tokstore.column_files import ColumnFiles, Cover
from tokstore.column_types import ColumnType
from tokstore.column_values import InOrder, rows_of
from tokstore.column_walk import write_all
from tokstore.errors import TokstoreError
from tokstore.root import Root
from tokstore.schema import Column
from tokstore.store import Store
from tokstore.user_metadata import decode_user_metadata, encode_user_metadata
from tokstore.version import Version

__all__ = ["Made", "write_columns"]


@dataclass(frozen=True)
class Made:
    """A column to write.

    Attributes:
        name: Its name.
        type: Its type.
        values: One item per sample of the store, in order: an array, a masked array, or an iterator of batches.
    """

    name: str
    type: ColumnType
    values: Any


def write_columns(
    store: Store,
    made: Sequence[Made],
    dropped: Sequence[str],
    note: Callable[[dict[str, Any]], Mapping[str, Any]],
    report: Callable[[int], None],
) -> None:
    """Commit columns.

    Args:
        store: The store.
        made: The columns; those that are there are replaced.
        dropped: Columns that go without a new one.
        note: Returns the metadata of the new version from those of the newest.
        report: Called with samples done.

    Raises:
        ConflictError: Others changed one of these columns meanwhile.
    """
    old = [one for one in store.schema.columns if one.name in {*dropped, *(one.name for one in made)}]
    written: list[tuple[Column, ColumnFiles, Cover]] = []
    reserved: list[int] = []
    try:
        for one in made:
            column_id = reserve_column_id(store._version.storage)
            reserved.append(column_id)
            column = Column(column_id, one.name, with_optional(one.type, True), store.schema.primary.level or "default")
            files = ColumnFiles(store._version.storage, column)
            source = InOrder(column, rows_of(column, one.values), len(store))
            cover = store._written(files, partial(write_all, store._version, column, source, files, report))
            written.append((column, files, cover))

        def change(root: Root, version: Version) -> Root:
            draft = root
            for column in old:
                draft = drop_from(draft, column)
            for column, _, cover in written:
                draft = add_to(draft, column, cover, Version(version.storage, draft))
            known = {} if root.metadata is None else decode_user_metadata(root.metadata)
            return replace(
                draft,
                version=root.version + 1,
                parent=root.version or None,
                metadata=encode_user_metadata(note(known)),
            )

        try:
            store._change(change)
        except TokstoreError:
            for _, files, _ in written:
                files.abort()
            raise
    finally:
        for column_id in reserved:
            release_column_id(store._version.storage, column_id)
