"""Vectors that were rounded once keep the transform that rounded them when they are written anew (codecs.md 6.1).

The same transform gives back the same integers; another one would round them a second time, to values that may be
further from the vectors that were given than the type promises. Tables may change: they only say how integers are
coded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.block import ColumnRows
from tokstore.codecs.vector_model import VectorModel
from tokstore.column_types import EXACT, Vector
from tokstore.objects import StoredObject, object_path
from tokstore.schema import Column
from tokstore.shard import DataFile, ObjectRef
from tokstore.vector_encoding import joined_quality, quality_record
from tokstore.version import Version

__all__ = ["Rounded", "RoundedBy", "rounded_segments", "twice_rounded"]


@dataclass(frozen=True)
class Rounded:
    """What rounded the vectors of some shards.

    Attributes:
        model: Its model.
        stored: The object.
        transform: The bytes of its transform: where they are equal, vectors are rounded to the same values.
        qualities: What was measured of it, by file (format.md 4.9).
        fresh: Which of the rows that are to be written were never rounded; ``None`` for none of them.
    """

    model: VectorModel
    stored: StoredObject
    transform: bytes
    qualities: dict[bytes, dict[int, object] | None]
    fresh: NDArray[np.bool_] | None = None

    def joined(self, other: Rounded) -> Rounded:
        """Return the same of more shards."""
        return replace(self, qualities=self.qualities | other.qualities)

    def quality(self, kind: Vector, rows: ColumnRows, model: VectorModel) -> dict[int, object] | None:
        """Return what is to be recorded of rows: what was measured when they were rounded, and of the new ones now."""
        found = list(self.qualities.values())
        if self.fresh is not None and self.fresh.any():
            values = rows.values.reshape(-1, kind.dim)[self.fresh].reshape(-1)
            valid = None if rows.valid is None else rows.valid[self.fresh]
            if valid is None or valid.any():
                found.append(quality_record(kind, replace(rows, values=values, valid=valid), model))
        return joined_quality(found)


class RoundedBy:
    """Finds what rounded the vectors of shards, and loads every object once.

    Args:
        version: The version that the shards are read in.
    """

    def __init__(self, version: Version) -> None:
        self._version, self._found = version, dict[bytes, tuple[VectorModel, StoredObject, bytes]]()

    def of(self, page: int, shard: int, column: Column) -> Rounded | None:
        """Return what rounded the vectors of a shard; ``None`` if nothing did."""
        kind = column.type
        if not isinstance(kind, Vector) or kind.method == EXACT:
            return None
        file = self._version.place_of(page, shard, column).file
        named = None if file is None else file.object_of(column.column_id)
        if file is None or named is None:
            return None
        if named.digest not in self._found:
            model = VectorModel.decode(self._version.object_content(file, named), kind.dim, kind.ends)
            stored = StoredObject(self._at_rest(file, named), named.digest, named.kind, named.content_bytes)
            self._found[named.digest] = model, stored, model.transform.encode()
        return Rounded(*self._found[named.digest], {file.place.file_id: file.qualities.get(column.column_id)})

    def _at_rest(self, file: DataFile, named: ObjectRef) -> bytes:
        """Return the bytes of an object whose content was checked."""
        if named.offset is not None:
            return bytes(file.embedded(named))
        (data,) = self._version.read([(object_path(named.digest), 0, named.stored_bytes)])
        return b"" if data is None else bytes(data)


def twice_rounded(first: dict[int, object] | None, second: dict[int, object]) -> dict[int, object]:
    """Return what is recorded of vectors that were rounded two times: errors add up, and recall is not known."""
    if first is None:
        return second
    one: dict[int, Any] = first
    two: dict[int, Any] = second
    return {1: float(np.hypot(one[1], two[1])), 2: one[2] + two[2], 4: two[4]}


def _joined(a: dict[int, Rounded], b: dict[int, Rounded]) -> dict[int, Rounded] | None:
    """Return what rounded the columns of two runs of shards, or ``None`` where one file cannot hold both."""
    both = a.keys() & b.keys()
    if any(a[one].transform != b[one].transform for one in both):
        return None
    return a | b | {one: a[one].joined(b[one]) for one in both}


def rounded_segments(
    version: Version, shards: Sequence[tuple[int, int]], rows: Sequence[int]
) -> list[tuple[int, dict[int, Rounded]]]:
    """Cut shards that are to be written anew where vectors were rounded in another way.

    Args:
        version: The version that is read.
        shards: Numbers of pages, and of shards in them.
        rows: Rows that are left of each.

    Returns:
        Per segment: the rows up to its end, and what rounded it, by column id.
    """
    columns = [c for c in version.root.schema.columns if isinstance(c.type, Vector) and c.type.method != EXACT]
    if columns:
        version.open_files(shards, columns)
    finder, segments, end = RoundedBy(version), list[tuple[int, dict[int, Rounded]]](), 0
    for (page, shard), count in zip(shards, rows, strict=True):
        if not count:
            continue
        found = {c.column_id: one for c in columns if (one := finder.of(page, shard, c)) is not None}
        end += count
        joined = _joined(segments[-1][1], found) if segments else None
        if joined is None:
            segments.append((end, found))
        else:
            segments[-1] = end, joined
    return segments
