"""Sample ids -> positions of one version (format.md 7.1, 7.2).

Page records tell which pages may hold an id, so that only those are read; inside a page ids are runs, and a look-up is
one search over them.
"""

from __future__ import annotations

import numpy as np

from tokstore.packed import Ints
from tokstore.version import Version

__all__ = ["positions_of"]


def positions_of(version: Version, ids: Ints) -> Ints:
    """Return the positions of samples by their ids; -1 for an id that no sample has, or a deleted one.

    Args:
        version: Where they are.
        ids: Sample ids (int64), in any order; repeats are allowed.
    """
    order = np.argsort(ids, kind="stable")
    ascending = ids[order]
    records = version.root.pages
    low = np.searchsorted(ascending, records["first_sample_id"].astype(np.int64), side="left")
    high = np.searchsorted(ascending, records["last_sample_id"].astype(np.int64), side="right")
    wanted = np.flatnonzero((high > low) & (records["samples"] > 0)).tolist()
    found = np.full(len(ids), -1, np.int64)
    version.pages(wanted)
    for number in wanted:
        part = slice(int(low[number]), int(high[number]))
        rows = _rows_in_page(version, number, ascending[part])
        here = rows >= 0
        found[np.flatnonzero(here) + part.start] = rows[here] + version.page_starts[number]
    result = np.empty_like(found)
    result[order] = found
    return result


def _rows_in_page(version: Version, number: int, ids: Ints) -> Ints:
    """Return which of the samples left in a page have the ids; -1 for none."""
    (page,) = version.pages([number])
    starts = np.cumsum(page.id_samples) - page.id_samples  # rows of the page at which its runs begin
    by_id = np.argsort(page.id_first)
    first, count, begin = page.id_first[by_id], page.id_samples[by_id], starts[by_id]
    run = np.searchsorted(first, ids, side="right") - 1
    inside = ids - first[run]
    rows = np.where((run >= 0) & (inside < count[run]), begin[run] + inside, -1)
    gone = version.deletions(number)
    if gone is None:
        return rows
    shard_starts = np.cumsum(page.samples) - page.samples
    shard_of = np.repeat(np.arange(page.shards), np.diff(gone.edges))
    gone_first = gone.first + shard_starts[shard_of]
    before = np.concatenate([[0], np.cumsum(gone.samples)])
    at = np.searchsorted(gone_first, rows, side="right") - 1
    is_gone = (at >= 0) & (rows < gone_first[at] + gone.samples[at]) if len(gone_first) else np.zeros(len(rows), bool)
    return np.where((rows < 0) | is_gone, -1, rows - before[at + 1])
