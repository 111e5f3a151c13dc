"""Counts and ranges of groups of rows -> whether a condition may hold, surely holds, may fail, surely fails in each.

Ranges are promises about what is absent (format.md 4.5): what they exclude is never read, and neither is what they
decide. Groups are the shards of a page or stretches of blocks; anything unknown counts as possible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokstore.block import BlockTable
from tokstore.packed import Ints
from tokstore.pages import Page
from tokstore.placement import has_nan
from tokstore.where.fields import LENGTH, PRESENCE, TEXT, Field
from tokstore.where.nodes import And, Constant, IsMissing, Node, Not, Or, Pair, Tested
from tokstore.where.predicates import TextTest

__all__ = [
    "Bounds",
    "Stats",
    "bounds_of",
    "simplified",
    "stats_of_blocks",
    "stats_of_ids",
    "stats_of_shards",
    "stats_of_texts",
]

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Stats:
    """What is known of one field in groups of rows.

    Attributes:
        missing: Whether some row may be missing.
        present: Whether some row may be there.
        nan: Whether some value may be NaN.
        number: Whether there may be a value other than NaN.
        low, high: Bounds of these values; ``None`` where they are not known.
        names: For categories: all strings there may be; ``None`` where they are not known.
    """

    missing: Bools
    present: Bools
    nan: Bools
    number: Bools
    low: NDArray[Any] | None = None
    high: NDArray[Any] | None = None
    names: Sequence[str] | None = None

    def take(self, groups: Ints) -> Stats:
        """Return the stats of some groups."""
        low, high = (None if side is None else side[groups] for side in (self.low, self.high))
        known = (self.missing[groups], self.present[groups], self.nan[groups], self.number[groups])
        return Stats(*known, low, high, self.names)


class Bounds(NamedTuple):
    """Per group: whether a condition may be true, and surely is in every row; the same for false."""

    may_hold: Bools
    holds: Bools
    may_fail: Bools
    fails: Bools


def stats_of_shards(page: Page, field: Field) -> Stats:
    """Return what a page says of a field in each of its shards (format.md 8.3)."""
    samples = page.samples
    if field.column is None:
        starts = np.cumsum(page.id_runs) - page.id_runs
        full = np.flatnonzero(samples)
        low, high = np.zeros(page.shards, np.int64), np.zeros(page.shards, np.int64)
        if len(full):
            low[full] = np.minimum.reduceat(page.id_first, starts[full])
            high[full] = np.maximum.reduceat(page.id_first + page.id_samples - 1, starts[full])
        return stats_of_ids(low, high, samples > 0)
    placement = page.columns.get(field.column.column_id)
    nothing = np.zeros(page.shards, bool)
    if placement is None:
        return Stats(samples > 0, nothing, nothing, nothing)
    missing = np.zeros(page.shards, np.int64) if placement.missing is None else placement.missing
    present = samples > missing
    if field.kind == TEXT and placement.ranges is not None:
        low, high = (_bounds_of_texts([one and one[side] for one in placement.ranges]) for side in (0, 1))
        return Stats(missing > 0, present, nothing, present, low, high)
    if field.kind in (LENGTH, PRESENCE) or field.column.type.ragged:
        return Stats(missing > 0, present, nothing, present)
    counted = placement.nans is not None
    nans = np.zeros(page.shards, np.int64) if placement.nans is None else placement.nans
    nan = (nans > 0) if counted or not has_nan(field.column.type) else present
    number = samples > missing + nans
    if placement.ranges is None:
        return Stats(missing > 0, present, nan, number)
    low, high = (
        np.array([0 if one is None else one[side] for one in placement.ranges], _wide(field)) for side in (0, 1)
    )
    return Stats(missing > 0, present, nan, number & [one is not None for one in placement.ranges], low, high)


def stats_of_ids(low: Ints, high: Ints, present: Bools) -> Stats:
    """Return the stats of sample ids, which every sample has."""
    nothing = np.zeros(len(low), bool)
    return Stats(nothing, present, nothing, present, low, high)


def stats_of_blocks(table: BlockTable, rows: Ints, field: Field) -> Stats:
    """Return what a table says of a column in each of its blocks.

    Args:
        table: The table.
        rows: Rows of each block.
        field: The column, which has one number per row.
    """
    missing = np.zeros(len(rows), np.int64) if table.missing is None else table.missing
    nans = np.zeros(len(rows), np.int64) if table.nans is None else table.nans
    made = Stats(missing > 0, rows > missing, nans > 0, rows > missing + nans)
    if table.ranges is None:
        return made
    has, low, high = table.ranges
    low, high = (side.astype(_wide(field)) for side in (low, high))
    return Stats(made.missing, made.present, made.nan, made.number & has, low, high)


def stats_of_texts(page: Stats, table: BlockTable, first: Ints, last: Ints) -> Stats:
    """Return what a table of texts says of runs of rows that begin in its blocks `first` to `last`.

    Args:
        page: What is known of these runs from elsewhere.
        table: The table.
        first, last: Per run.
    """
    if table.ranges is None:
        return page
    has, low, high = (side.tolist() for side in table.ranges)
    found = [
        (None, None) if not all(has[a : b + 1]) else (min(low[a : b + 1]), max(high[a : b + 1]))
        for a, b in zip(first.tolist(), last.tolist(), strict=True)
    ]
    smallest, largest = (_bounds_of_texts([one[side] for one in found]) for side in (0, 1))
    return Stats(page.missing, page.present, page.nan, page.number, smallest, largest)


def _bounds_of_texts(each: Sequence[bytes | None]) -> NDArray[Any]:
    """Return bounds as an array of objects, `None` where a group has none: it may hold anything then."""
    made = np.empty(len(each), object)
    made[:] = each
    return made


def _wide(field: Field) -> type:
    """Return the type in which ranges of numbers are compared."""
    floats = field.column is not None and field.column.type.dtype.kind == "f"
    return np.float64 if floats else np.int64


def bounds_of(node: Node, stats: Callable[[Field], Stats], groups: int) -> Bounds:
    """Return what counts and ranges say of a condition.

    Args:
        node: The condition.
        stats: What is known of a field, per group.
        groups: Number of groups.
    """
    everywhere, nowhere = np.ones(groups, bool), np.zeros(groups, bool)
    if isinstance(node, Constant):
        held, failed = (everywhere, nowhere) if node.truth else (nowhere, everywhere)
        return Bounds(held, held, failed, failed)
    if isinstance(node, Not):
        held_in = bounds_of(node.item, stats, groups)
        return Bounds(held_in.may_fail, held_in.fails, held_in.may_hold, held_in.holds)
    if isinstance(node, (And, Or)):
        found = [bounds_of(item, stats, groups) for item in node.items]
        every, some = (np.logical_and, np.logical_or) if isinstance(node, And) else (np.logical_or, np.logical_and)
        return Bounds(*(rule.reduce([one[i] for one in found]) for i, rule in enumerate((every, every, some, some))))
    if isinstance(node, IsMissing) and isinstance(node.field, Field):
        one = stats(node.field)
        return Bounds(one.missing, ~one.present, one.present, ~one.missing)
    if isinstance(node, Pair):
        left, right = stats(node.left), stats(node.right)
        may = left.present & right.present
        return Bounds(may, nowhere, may, nowhere)
    if isinstance(node, Tested):
        return _bounds_of_test(node, stats(node.field))
    raise TypeError(f"{type(node).__name__} is not bound")


def simplified(node: Node, stats: Callable[[Field], Stats], open_: Bools) -> Node:
    """Return a condition without what counts and ranges decide in all groups that are open."""
    bounds = bounds_of(node, stats, len(open_))
    if bounds.holds[open_].all():
        return Constant(True)
    if bounds.fails[open_].all():
        return Constant(False)
    if isinstance(node, Not):
        return Not(simplified(node.item, stats, open_))
    if isinstance(node, (And, Or)):
        neutral = Constant(isinstance(node, And))
        items = [simplified(item, stats, open_) for item in node.items]
        left = tuple(item for item in items if item != neutral)
        return left[0] if len(left) == 1 else type(node)(left)
    return node


def _bounds_of_test(node: Tested, one: Stats) -> Bounds:
    """Return what is known of one test."""
    test = node.test
    if isinstance(test, TextTest) and one.names is not None:
        passed = test.passes_names(one.names)
        may, sure = (np.full(len(one.number), bool(some)) for some in (passed.any(), passed.all()))
    elif one.low is None or one.high is None:
        may, sure = np.ones(len(one.number), bool), np.zeros(len(one.number), bool)
    else:
        may, sure = test.bounds(one.low, one.high)
    passes_nan = np.full(len(may), test.takes_nan)
    return Bounds(
        one.number & may | one.nan & passes_nan,
        ~one.missing & (~one.number | sure) & (~one.nan | passes_nan),
        one.number & ~sure | one.nan & ~passes_nan,
        ~one.missing & (~one.number | ~may) & (~one.nan | ~passes_nan),
    )
