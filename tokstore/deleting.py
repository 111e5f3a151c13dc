"""Sample ids -> the version without these samples: tombstones beside the pages, nothing else changes (format.md 8.5).

A function of the newest root: positions move when others delete or compact, ids do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tokstore.deletions import Deletions, ShardLoss
from tokstore.format import HAS_DELETIONS, PAGE_RECORD
from tokstore.packed import Ints
from tokstore.page_parts import named_only
from tokstore.root import Root
from tokstore.sample_ids import positions_of
from tokstore.schema import Column
from tokstore.version import ShardRows, Version
from tokstore.wire import digest

__all__ = ["delete_from", "value_starts"]

_SHARDS_AT_ONCE = 64


def delete_from(root: Root, ids: Ints, version: Version) -> tuple[Root | None, int]:
    """Return the draft of the version without some samples, and how many they are; no draft if they are none.

    Args:
        root: The newest root.
        ids: Sample ids; those that no sample has any more are passed over.
        version: The version of `root`.

    Raises:
        ValueError: No sample has ever had one of the ids.
    """
    wrong = (ids < 0) | (ids >= root.next_sample_id)
    if wrong.any():
        raise ValueError(f"no sample has ever had id {int(ids[int(np.argmax(wrong))])}")
    positions = positions_of(version, ids)
    positions = np.sort(positions[positions >= 0])
    positions = positions[np.diff(positions, prepend=-1) > 0]
    if not len(positions):
        return None, 0
    groups = version.locate(positions)
    records, inline, values = root.pages.copy(), dict(root.inline), 0
    for number in sorted({group.page for group in groups}):
        here = [group for group in groups if group.page == number]
        (plan,), before = version.plans([number]), version.deletions(number)
        gone = (before or Deletions.none(plan)).with_losses(plan, _losses_of(version, number, here, before))
        data = gone.encode()
        record = records[number : number + 1]
        record["deletion_digest"], record["deletion_bytes"] = np.void(digest(data)), len(data)
        record["flags"] |= HAS_DELETIONS
        record["deleted"] = int(gone.deleted.sum())
        inline[digest(data)] = data
        values += int(gone.deleted_values.sum()) - (0 if before is None else int(before.deleted_values.sum()))
    totals = root.totals.with_counts(samples=root.totals.samples - len(positions), values=root.totals.values - values)
    pages = np.array(records, PAGE_RECORD)
    return root.next("delete", pages=pages, inline=named_only(inline, list(pages)), totals=totals), len(positions)


def _losses_of(
    version: Version, number: int, groups: Sequence[ShardRows], before: Deletions | None
) -> dict[int, ShardLoss]:
    """Return what shards of a page have lost once some rows are gone too.

    Args:
        version: The version.
        number: The page.
        groups: The rows, shard by shard.
        before: What is deleted already.
    """
    (page,), primary = version.pages([number]), version.root.schema.primary
    losses = {}
    for at in range(0, len(groups), _SHARDS_AT_ONCE):
        some = groups[at : at + _SHARDS_AT_ONCE]
        version.open_files([(number, one.shard) for one in some], [primary])
        for one in some:
            samples = int(page.samples[one.shard])
            is_gone = np.zeros(samples, bool) if before is None else before.is_gone(one.shard, samples)
            is_gone[one.rows] = True
            losses[one.shard] = ShardLoss(is_gone, value_starts(version, primary, number, one.shard, samples))
    return losses


def value_starts(version: Version, primary: Column, number: int, shard: int, samples: int) -> Ints:
    """Return the first value of the primary column of every row of a shard, with their number at the end."""
    place = version.place_of(number, shard, primary)
    if place.file is None:
        return np.arange(samples + 1) if place.constant is not None else np.zeros(samples + 1, np.int64)
    place.file.check_layout(primary.column_id, primary.type)
    starts = place.file.rows(primary.column_id).starts
    if starts is None:
        return np.arange(samples + 1)
    return np.asarray(starts[place.first_row : place.first_row + samples + 1] - starts[place.first_row], np.int64)
