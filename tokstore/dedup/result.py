"""Clusters of samples -> columns of the store, and the facts of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.column_types import Array, Label, Score
from tokstore.dedup.earlier import Earlier
from tokstore.dedup.forest import Clusters
from tokstore.dedup.held import Held
from tokstore.dedup.sample_rows import SampleRows
from tokstore.dedup.written import Made, write_columns
from tokstore.duplicates import DuplicateColumns, noted
from tokstore.editing import counted
from tokstore.packed import Ints
from tokstore.store import Store
from tokstore.writing import Progress

__all__ = ["Marked", "write_result"]

_ROWS = 1 << 16


@dataclass(frozen=True)
class Marked:
    """What a search has found, as it stands in the metadata of the store.

    Attributes:
        name: Of the search.
        version: The version that has the columns.
        note: Parameters and counts: ``samples`` that were compared, ``read`` of them since they had no signature,
            ``pairs`` that were compared, ``duplicates`` that are no representative, ``clusters`` of two samples or
            more, samples of the ``largest``.
    """

    name: str
    version: int
    note: dict[str, Any]

    @property
    def samples(self) -> int:
        """Samples that were compared."""
        return int(self.note["samples"])

    @property
    def duplicates(self) -> int:
        """Samples that are no representative."""
        return int(self.note["duplicates"])

    @property
    def clusters(self) -> int:
        """Clusters of two samples or more."""
        return int(self.note["clusters"])

    @property
    def largest(self) -> int:
        """Samples of the largest cluster."""
        return int(self.note["largest"])

    def __repr__(self) -> str:
        what = f"{self.duplicates:,} of {self.samples:,} samples are {self.note['method']} duplicates"
        return f"<Marked: {what}, in {self.clusters:,} clusters>"


def write_result(
    store: Store,
    name: str,
    names: DuplicateColumns,
    rows: SampleRows,
    ids: Ints,
    clusters: Clusters,
    note: dict[str, Any],
    held: Held | None,
    fresh: NDArray[np.bool_],
    earlier: Earlier,
    progress: Callable[[Progress], None] | None,
) -> Marked:
    """Write the columns of a search.

    Args:
        store: The store.
        name: Of the search.
        names: Of its columns.
        rows: What was compared.
        ids: Their sample ids.
        clusters: What was found.
        note: The metadata of the search; counts are added.
        held: Signatures to keep as a column; ``None`` for none.
        fresh: Rows whose signatures are not in the column.
        earlier: What an earlier run has left.
        progress: Called with a `Progress`.
    """
    lost = clusters.of >= 0
    counts = {
        "duplicates": int(np.count_nonzero(lost)),
        "clusters": int(np.count_nonzero((clusters.size > 1) & ~lost)),
        "largest": int(clusters.size.max(initial=0)),
    }
    note = note | counts
    at = rows.positions

    def column(values: NDArray[Any], there: NDArray[np.bool_]) -> Any:
        """Return values of rows as values of all samples of the store."""
        data, mask = np.zeros(len(store), values.dtype), np.ones(len(store), bool)
        data[at], mask[at] = values, ~there
        return np.ma.MaskedArray(data, mask)

    made = [
        Made(names.of, Label(), column(ids[clusters.of], lost)),
        Made(names.size, Label(), column(clusters.size, np.ones(len(rows), bool))),
    ]
    dropped = [names.similarity, names.link]
    if clusters.link is not None and clusters.similarity is not None:
        linked, dropped = clusters.link >= 0, []
        made.append(Made(names.similarity, Score(), column(np.nan_to_num(clusters.similarity), linked)))
        made.append(Made(names.link, Label(), column(ids[clusters.link], linked)))
    if held is not None and not earlier.is_kept:
        like = held.signatures(np.zeros(1, np.int64))
        kind = Array(like.dtype.name, like.shape[1:])
        made.append(Made(names.signature, kind, _signatures(held, at, len(store), like)))
    elif held is None:
        dropped.append(names.signature)

    report = counted(progress, len(made) * len(store), "write columns")
    write_columns(store, made, dropped, lambda known: noted(known, name, note), report)
    if held is not None and earlier.is_kept and fresh.any():
        new = np.flatnonzero(fresh)
        for first in range(0, len(new), 16 * _ROWS):
            some = new[first : first + 16 * _ROWS]
            store.fill_column(names.signature, held.signatures(some), ids=ids[some], progress=progress)
    return Marked(name, store.version, note)


def _signatures(held: Held, positions: Ints, count: int, like: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Yield the signatures of all samples of a store, masked where there are none."""
    row = np.full(count, -1, np.int64)
    row[positions] = np.arange(len(positions))
    for first in range(0, count, _ROWS):
        some = row[first : first + _ROWS]
        there = some >= 0
        data = np.zeros((len(some), *like.shape[1:]), like.dtype)
        data[there] = held.signatures(some[there])
        yield np.ma.MaskedArray(data, np.broadcast_to(~there[:, None], data.shape))
