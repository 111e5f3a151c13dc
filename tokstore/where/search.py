"""A condition -> the positions of a version that meet it, reading as little as can be.

Shards are decided by the ranges of their page, stretches of blocks by the ranges of their tables; what is left is read
and decoded, in trips of some megabytes, and only of the columns that the condition names.
"""

from __future__ import annotations

from concurrent.futures import Executor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tokstore.packed import Ints
from tokstore.schema import Column
from tokstore.selection import Selection, runs_of
from tokstore.version import Version
from tokstore.where.bind import cost
from tokstore.where.evaluate import evaluate
from tokstore.where.fields import NUMBERS, TEXT, Field
from tokstore.where.nodes import And, IsMissing, Node, Not, Or, Pair, Tested
from tokstore.where.prune import bounds_of, simplified, stats_of_shards
from tokstore.where.stretch import ShardPlaces, Stretch

__all__ = ["fields_of", "search"]

Bools = NDArray[np.bool_]
_PAGES_AT_ONCE, _SHARDS_AT_ONCE = 32, 256
_STRETCH_ROWS, _TEXT_ROWS = 1 << 19, 1 << 16
_TRIP_BYTES = 16 << 20


def fields_of(node: Node) -> list[Field]:
    """Return the fields that a condition looks at, each once."""
    found: dict[Field, None] = {}
    if isinstance(node, Tested):
        found[node.field] = None
    elif isinstance(node, Pair):
        found |= {node.left: None, node.right: None}
    elif isinstance(node, IsMissing) and isinstance(node.field, Field):
        found[node.field] = None
    elif isinstance(node, Not):
        found |= dict.fromkeys(fields_of(node.item))
    elif isinstance(node, (And, Or)):
        found |= dict.fromkeys(one for item in node.items for one in fields_of(item))
    return list(found)


def search(version: Version, node: Node, within: Selection | None, pool: Executor | None) -> Selection:
    """Return positions of a version: of those in a set, exactly the ones for which a condition is true.

    Args:
        version: Where to look.
        node: The condition, bound to columns of the version.
        within: The positions that matter; of others nothing is promised. ``None`` for all.
        pool: Threads to decode on.
    """
    one = _Search(version, node, within, pool)
    parts: list[Selection] = []
    pages = len(version.root.pages)
    for number in range(pages):
        if number % _PAGES_AT_ONCE == 0:
            version.pages(range(number, min(number + _PAGES_AT_ONCE, pages)))
        parts += one.page(number)
    return Selection.join(parts)


class _Search:
    """One search: what is found of each page."""

    def __init__(self, version: Version, node: Node, within: Selection | None, pool: Executor | None) -> None:
        self._version, self._node, self._within, self._pool = version, node, within, pool
        fields = fields_of(node)
        columns = {field.column.column_id: field.column for field in fields if field.column is not None}
        self._columns = list(columns.values())
        self._numbers = _number_columns(node)
        self._texts = [field.column for field in fields if field.kind == TEXT and field.column is not None]
        self._most_rows = _TEXT_ROWS if cost(node) > 1 else _STRETCH_ROWS

    def page(self, number: int) -> list[Selection]:
        """Return the positions that are found in one page, shard by shard."""
        (page,) = self._version.pages([number])
        starts = self._version.shard_starts(number) + self._version.page_starts[number]
        bounds = bounds_of(self._node, lambda field: stats_of_shards(page, field), page.shards)
        matters = np.diff(starts if self._within is None else self._within.count_below(starts)) > 0
        found: dict[int, Selection] = {}
        for shard in np.flatnonzero(bounds.holds & matters).tolist():
            found[shard] = Selection.from_runs(starts[shard : shard + 1], np.diff(starts[shard : shard + 2]))
        undecided = np.flatnonzero(bounds.may_hold & ~bounds.holds & matters).tolist()
        for at in range(0, len(undecided), _SHARDS_AT_ONCE):
            shards = undecided[at : at + _SHARDS_AT_ONCE]
            self._version.open_files([(number, shard) for shard in shards], self._columns)
            work = [self._split(number, shard) for shard in shards]
            results = iter(self._decide([one for _, stretches in work for one in stretches]))
            for shard, (sure, stretches) in zip(shards, work, strict=True):
                rows = Selection.join([next(results) for _ in stretches])
                found[shard] = self._positions(number, shard, rows | sure if len(sure) else rows)
        return [found[shard] for shard in sorted(found)]

    def _split(self, number: int, shard: int) -> tuple[Selection, list[Stretch]]:
        """Return the rows of a shard that are sure, and stretches of those that have to be decided."""
        at = ShardPlaces.of(self._version, number, shard, self._columns)
        edges = at.edges(self._numbers, self._most_rows, self._texts)
        groups = len(edges) - 1
        stats = partial(at.stats, edges)
        bounds = bounds_of(self._node, stats, groups)
        open_ = bounds.may_hold & ~bounds.holds & self._matters(number, shard, edges)
        node = simplified(self._node, stats, open_)
        numbers = _number_columns(node)
        held = np.flatnonzero(bounds.holds)
        sure = Selection.from_runs(edges[held], np.diff(edges)[held])
        stretches = []
        for first, count in zip(*(part.tolist() for part in runs_of(np.flatnonzero(open_))), strict=True):
            begin, end = first, first + count
            while begin < end:
                stop = begin + 1
                while stop < end and edges[stop + 1] - edges[begin] <= self._most_rows:
                    stop += 1
                stretches.append(Stretch(at, int(edges[begin]), int(edges[stop]), node).plan(numbers))
                begin = stop
        return sure, stretches

    def _matters(self, number: int, shard: int, edges: Ints) -> Bools:
        """Return whether there are wanted, not deleted rows between edges."""
        gone = self._gone(number, shard)
        if gone is None and self._within is None:
            return np.ones(len(edges) - 1, bool)
        places = edges if gone is None else edges - gone.count_below(edges)
        places = places + self._start(number, shard)
        return np.diff(places if self._within is None else self._within.count_below(places)) > 0

    def _decide(self, stretches: list[Stretch]) -> list[Selection]:
        """Return the matching rows of stretches, read some megabytes at a time."""
        found: list[Selection] = []
        at = 0
        while at < len(stretches):
            stop, held = at, 0
            while stop < len(stretches) and (held == 0 or held + stretches[stop].nbytes <= _TRIP_BYTES):
                held += stretches[stop].nbytes
                stop += 1
            trip = stretches[at:stop]
            at = stop
            ranges = [one for stretch in trip for one in stretch.ranges]
            read = [data for data in self._version.read(ranges) if data is not None] if ranges else []
            for stretch in trip:
                stretch.give(read[: len(stretch.ranges)])
                del read[: len(stretch.ranges)]
            found += (map if self._pool is None or len(trip) < 2 else self._pool.map)(_matching, trip)
        return found

    def _positions(self, number: int, shard: int, rows: Selection) -> Selection:
        """Return the positions of rows of a shard, of which deleted ones are dropped."""
        start, gone = self._start(number, shard), self._gone(number, shard)
        if gone is None:
            return rows.shift(start)
        first, count = (rows - gone).runs()
        return Selection.from_runs(first + start - gone.count_below(first), count)

    def _start(self, number: int, shard: int) -> int:
        """Return the position at which a shard begins."""
        return int(self._version.shard_starts(number)[shard] + self._version.page_starts[number])

    def _gone(self, number: int, shard: int) -> Selection | None:
        """Return the deleted rows of a shard; ``None`` where there are none."""
        gone = self._version.deletions(number)
        if gone is None:
            return None
        part = slice(int(gone.edges[shard]), int(gone.edges[shard + 1]))
        return Selection.from_runs(gone.first[part], gone.samples[part]) if part.start < part.stop else None


def _number_columns(node: Node) -> list[Column]:
    """Return the columns with one number per row that a condition looks at."""
    return [field.column for field in fields_of(node) if field.column is not None and field.kind in NUMBERS]


def _matching(stretch: Stretch) -> Selection:
    """Return the rows of a stretch for which its condition is true, as rows of the shard."""
    found = Selection.from_mask(evaluate(stretch.node, stretch).yes).shift(stretch.start)
    stretch.data.clear()
    return found
