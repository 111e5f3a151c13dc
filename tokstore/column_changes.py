"""A root -> the draft of the next one whose columns differ: added, filled, dropped, renamed (format.md 6, 8, 9).

Functions of the newest root, so that a writer who lost a race applies the same function to the winner's root.
Shards are found again by their samples, wherever they lie by now.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tokstore.column_files import Cover
from tokstore.column_types import ColumnType
from tokstore.errors import ConflictError
from tokstore.manifest import newest_root
from tokstore.page_parts import PageParts, PageSum, with_pages
from tokstore.placement import ABSENT
from tokstore.root import Root
from tokstore.schema import Column, Schema
from tokstore.storage import Storage
from tokstore.version import Version

__all__ = [
    "add_to",
    "drop_from",
    "fill_in",
    "release_column_id",
    "rename_in",
    "reserve_column_id",
    "schema_with",
    "with_optional",
]

_MAX_COLUMN_ID = 2**32 - 2
_AGAIN = "open the store again and try once more"


def reserve_column_id(storage: Storage) -> int:
    """Take a column id that nobody else takes, by the exclusive creation of a name (format.md 9.1)."""
    number = newest_root(storage).next_column_id
    while number <= _MAX_COLUMN_ID:
        if not storage.put_if_absent(_reservation(number), b""):
            number += 1
            continue
        # Whoever had it before may have committed it and let go of the name; then a root has it.
        least = newest_root(storage).next_column_id
        if least <= number:
            return number
        release_column_id(storage, number)
        number = least
    raise ConflictError("the store has no column ids left", rule="format.md 6.1")


def release_column_id(storage: Storage, column_id: int) -> None:
    """Give a column id back, or forget that it was reserved once a root has it."""
    storage.delete(_reservation(column_id))


def _reservation(column_id: int) -> str:
    """Return the name that reserves a column id."""
    return f"columns/{column_id:010d}"


def with_optional(kind: ColumnType, optional: bool) -> ColumnType:
    """Return a type of which samples may, or may not, come without a value."""
    made = copy.copy(kind)
    object.__setattr__(made, "optional", optional)
    return made


def schema_with(schema: Schema, column: Column) -> Schema:
    """Return a schema with one column more, which never becomes the primary one (format.md 6.2)."""
    primary = schema.primary
    joined = Schema.from_columns(sorted([*schema.columns, column], key=lambda one: one.column_id))
    if joined.primary.column_id == primary.column_id:
        return joined
    columns = [replace(one, is_primary=one.column_id == primary.column_id) for one in joined.columns]
    return Schema.from_columns(columns)


def add_to(root: Root, column: Column, cover: Cover, version: Version) -> Root:
    """Return the draft of the version that has a new column.

    Args:
        root: The newest root.
        column: The column, with a reserved id.
        cover: Where its values lie.
        version: The version of `root`.

    Raises:
        ConflictError: Meanwhile a column of that name was added, shards that have values were rewritten, or samples
            were appended that a column which is not optional would have to cover.
    """
    if column.name in root.schema:
        raise ConflictError(f"a column {column.name!r} was added meanwhile", rule="format.md 9", hint=_AGAIN)
    schema = schema_with(root.schema, column)
    return with_pages(
        root,
        "add_column",
        _placed(version, column, cover, None),
        schema,
        lambda number: PageSum.of(version.pages([number])[0]),
        next_column_id=max(root.next_column_id, column.column_id + 1),
        current_objects=root.current_objects | cover.current,
    )


def fill_in(
    root: Root, column: Column, cover: Cover, before: Sequence[tuple[bytes, int] | None], version: Version
) -> Root:
    """Return the draft of the version in which a column has other values in some shards.

    Args:
        root: The newest root.
        column: The column as it was when the values were written.
        cover: Where the values lie.
        before: What held each of these shards before (`Page.holder`).
        version: The version of `root`.

    Raises:
        ConflictError: Meanwhile the column, or its values in one of the shards, were changed.
    """
    _unchanged(root, column)
    return with_pages(
        root,
        "fill_column",
        _placed(version, column, cover, before),
        root.schema,
        lambda number: PageSum.of(version.pages([number])[0]),
        current_objects=root.current_objects | cover.current,
    )


def _placed(
    version: Version, column: Column, cover: Cover, before: Sequence[tuple[bytes, int] | None] | None
) -> Iterator[int | PageParts]:
    """Yield the pages of a version with the column where the cover has it; pages that do not change, by number."""
    index = {key: i for i, key in enumerate(cover.keys) if key}
    needed = np.array([bool(key) for key in cover.keys], bool)
    if column.type.optional and before is None:
        needed &= cover.where != ABSENT
    for number in range(len(version.root.pages)):
        (page,) = version.pages([number])
        found = [index.get(key, -1) for key in page.shard_keys()]
        covered = np.array(found, np.int64)
        shards = np.flatnonzero(covered >= 0)
        if before is None and not column.type.optional and ((covered < 0) & (page.samples > 0)).any():
            raise ConflictError(
                f"samples were appended meanwhile, and column {column.name!r} must not be missing",
                rule="format.md 9",
                hint=_AGAIN,
            )
        for shard in shards.tolist() if before is not None else ():
            if page.holder(column.column_id, shard) != before[found[shard]]:  # type: ignore[index]
                raise ConflictError(
                    f"values of column {column.name!r} were filled in meanwhile", rule="format.md 9", hint=_AGAIN
                )
        covered = covered[shards]
        needed[covered] = False
        if not len(shards) or (before is None and column.type.optional and not (cover.where[covered] != ABSENT).any()):
            yield number
            continue
        placed = cover.place(page, column, shards, covered)
        (plan,) = version.plans([number])
        yield PageParts(placed, plan, version.deletions(number))
    if needed.any():
        raise ConflictError(
            f"shards that column {column.name!r} was written for were rewritten meanwhile",
            rule="format.md 9",
            hint=_AGAIN,
        )


def _unchanged(root: Root, column: Column) -> Column:
    """Return a column of the newest root if it is still what it was."""
    found = next((one for one in root.schema.columns if one.column_id == column.column_id), None)
    if found is None:
        raise ConflictError(f"column {column.name!r} was dropped meanwhile", rule="format.md 9")
    if found.name != column.name:
        raise ConflictError(
            f"column {column.name!r} was renamed to {found.name!r} meanwhile", rule="format.md 9", hint=_AGAIN
        )
    return found


def drop_from(root: Root, column: Column) -> Root:
    """Return the draft of the version without a column; its values stay in their files until these are rewritten.

    Raises:
        ConflictError: It was dropped or renamed meanwhile.
        ValueError: It is the primary column or the only one, or another column is about it.
    """
    _unchanged(root, column)
    schema, one = root.schema, column.column_id
    if len(schema) == 1:
        raise ValueError(f"column {column.name!r} is the only one, and a store has at least one (format.md 6.1)")
    if schema.primary.column_id == one:
        raise ValueError(
            f"column {column.name!r} cannot be dropped: it is the primary one, which decides how the store is shuffled "
            "(format.md 6.2)"
        )
    about = next((c.name for c in schema.columns if getattr(c.type, "of", None) == column.name), None)
    if about is not None:
        raise ValueError(f"column {column.name!r} cannot be dropped: column {about!r} is a mask of it")
    return root.next(
        "drop_column",
        schema=Schema.from_columns([c for c in schema.columns if c.column_id != one]),
        columns={key: totals for key, totals in root.columns.items() if key != one},
        current_objects={key: pair for key, pair in root.current_objects.items() if key != one},
    )


def rename_in(root: Root, column: Column, name: str) -> Root:
    """Return the draft of the version in which a column has another name; data files know no names.

    Raises:
        ConflictError: It was dropped or renamed meanwhile, or the name was taken.
    """
    _unchanged(root, column)
    if name in root.schema:
        raise ConflictError(f"a column {name!r} was added meanwhile", rule="format.md 9", hint=_AGAIN)

    def renamed(one: Column) -> Column:
        changes: dict[str, Any] = {"name": name} if one.column_id == column.column_id else {}
        if getattr(one.type, "of", None) == column.name:
            made = copy.copy(one.type)
            object.__setattr__(made, "of", name)
            changes["type"] = made
        return replace(one, **changes)

    return root.next("rename_column", schema=Schema.from_columns([renamed(one) for one in root.schema.columns]))
