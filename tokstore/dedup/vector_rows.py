"""Vectors of samples -> semantic duplicates, and what a later run needs to look for those of new samples alone.

What is kept of a sample is its group and 64 bits of its vector: a later run reads all vectors once, finds the centroids
as means of the groups, and compares new samples with the members of their groups, while old ones keep their links.
Where vectors were changed meanwhile, all is done anew.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tokstore.dedup.cosine import Best, Known, best_earlier, groups_for
from tokstore.dedup.earlier import Earlier
from tokstore.dedup.held import Held
from tokstore.dedup.mixing import Hashes
from tokstore.dedup.sample_rows import SampleRows
from tokstore.duplicates import named_columns
from tokstore.packed import Ints
from tokstore.where import bind_field

__all__ = ["compare_vectors", "held_groups"]


def compare_vectors(
    rows: SampleRows,
    ids: Ints,
    groups: int | None,
    seed: int,
    apart: Hashes | None,
    earlier: Earlier,
    memory: int,
    folder: Path,
    report: Callable[[int], None],
) -> Best:
    """Return the most similar earlier row of every row.

    Args:
        rows: The samples.
        ids: Their sample ids.
        groups, seed: As of `semantic`.
        apart: One number per row: only rows of equal ones are compared.
        earlier: What an earlier run has left.
        memory: Bytes that vectors take at most; else they lie in the folder.
        folder: Where the run works.
        report: Called with rows that were read, and with rows that were compared.
    """
    dim = rows.column.type.width
    return best_earlier(
        rows.vectors,
        len(rows),
        dim,
        groups=groups,
        seed=seed,
        apart=apart,
        known=_known(rows, ids, groups, earlier),
        folder=folder,
        in_files=4 * dim * len(rows) > memory // 2,
        report=report,
    )


def held_groups(found: Best) -> Held:
    """Return what is kept of every row."""
    held = Held()
    kept = np.stack([found.group.astype(np.uint64), found.digest], axis=1)
    held.add("all", kept, kept[:, 0][None])
    return held


def _known(rows: SampleRows, ids: Ints, groups: int | None, earlier: Earlier) -> Known | None:
    """Return what an earlier run has found; ``None`` where its groups are none for so many samples."""
    had: Any = earlier.note.get("groups")
    wanted = groups_for(len(rows), groups)
    if not earlier.is_same or not isinstance(had, int) or had < 1 or (had != wanted and groups is not None):
        return None
    stored = earlier.stored(rows)
    if wanted > 2 * had or not stored.any():
        return None
    kept = earlier.read(rows, np.flatnonzero(stored))
    group, digest = np.full(len(rows), -1, np.int64), np.zeros(len(rows), np.uint64)
    group[stored], digest[stored] = kept[:, 0].astype(np.int64), kept[:, 1]
    if (kept[:, 0] >= had).any():
        return None
    names, view = named_columns(earlier.name), earlier.view
    link, none = (one[rows.positions] for one in view._read(bind_field(view.schema, names.link)))
    best = view._read(bind_field(view.schema, names.similarity))[0][rows.positions].astype(np.float32)
    order = np.argsort(ids, kind="stable")
    found = order[np.minimum(np.searchsorted(ids[order], link), len(ids) - 1)]
    there = ~none & (ids[found] == link) & (found < np.arange(len(rows)))
    return Known(group, digest, np.where(there, found, -1), best, ~none & ~there, had)
