"""Find the contexts that code the values of a shard in the fewest bytes, tables included.

Contexts grow by one feature at a time, and a feature stays if it saves more than its maps and tables cost. For a set of
features, symbols that are followed by similar symbols share a class, and contexts that are followed by similar symbols
share a table: both are k-means on rows of counts, the second with code length as distance. All of it is done on a
bounded sample of lanes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.code_contexts import COLUMN, LEFT, UP, Contexts, neighbours

__all__ = ["find_contexts"]

_SAMPLE = 1 << 20  # values that contexts are chosen by
_COUNTS = 1 << 23  # items of a table of counts, at most
_VALUES_PER_CONTEXT, _MOST_CLASSES, _MOST_CLASSES_ALONE = 50, 160, 512
_MOST_TABLES = 512
_MOST_COLUMNS = 64
_ROUNDS = 4
_BITS_PER_FREQUENCY, _BITS_PER_CONTEXT = 7.0, 4.0
_PRIOR = 2.0  # weight of the whole distribution in that of a context
_NEW_TABLE_BITS = 8.0  # what a context has to save before it gets another table than its neighbours
Counts = NDArray[Any]
Ints = NDArray[np.int64]


def find_contexts(symbols: NDArray[Any], count: int, width: int, frames_per_lane: int) -> Contexts:
    """Choose features, classes and which contexts share a table.

    Args:
        symbols: All values of the shard, as symbols below `count`.
        count: How many different symbols there are.
        width: Values in a frame.
        frames_per_lane: Frames in a lane.
    """
    sample = _Sample(symbols, count, width, frames_per_lane)
    best = Contexts.none()
    cost = sample.cost(best)
    chosen: tuple[int, ...] = ()
    while True:
        tried = []
        for feature in sample.features:
            if feature not in chosen:
                contexts = sample.cluster(tuple(sorted((*chosen, feature))))
                tried.append((sample.cost(contexts), feature, contexts))
        if not tried or min(tried, key=lambda one: one[0])[0] >= cost:
            break
        cost, feature, best = min(tried, key=lambda one: one[0])
        chosen = (*chosen, feature)
    return sample.resize(tuple(sorted(chosen)), best, cost) if chosen else best


class _Sample:
    """Some lanes of a shard, with the features of every value in them."""

    def __init__(self, symbols: NDArray[Any], count: int, width: int, frames_per_lane: int) -> None:
        self._symbols, self._outside, self._total = count, count, len(symbols)
        lane = width * frames_per_lane
        lanes = max(len(symbols) // lane, 1)
        every = max(-(-len(symbols) // _SAMPLE), 1)
        taken = symbols[: lanes * lane].reshape(lanes, -1, width)[::every].astype(np.uint16)
        self._width, self._rows = width, taken.shape[1]
        self._values = taken.reshape(-1)
        self._given = {one: found.reshape(-1) for one, found in neighbours(taken, count).items()}
        self._order0 = (np.bincount(self._values, minlength=count) + 0.5) / (self._values.size + 0.5 * count)
        budget = min(len(symbols) // _VALUES_PER_CONTEXT, _COUNTS // count, 1 << 16)
        self._contexts = max(budget, 16)
        # Measured on shards of 25,000 to 3,000,000 codes of images: 17 to 380 tables were best.
        self._tables = int(np.clip(len(symbols) ** 0.65 / 43, 4, _MOST_TABLES))
        self._clusters: dict[tuple[int, int], Ints] = {}

    @property
    def features(self) -> list[int]:
        """The features that can tell something."""
        has_column = 1 < self._width <= _MOST_COLUMNS
        return [COLUMN] * has_column + [LEFT] * (self._width > 1) + [UP] * (self._rows > 1)

    def cost(self, contexts: Contexts) -> float:
        """Estimate the bits of all values of the shard and of the model."""
        found = contexts.of(self._given)
        tables = int(contexts.tables.max()) + 1
        cells = contexts.tables.take(found) * self._symbols + self._values
        counts = np.bincount(cells.reshape(-1), minlength=tables * self._symbols).reshape(tables, -1)
        used = int(np.count_nonzero(counts))
        # A sample looks better than the whole by about a bit and a half for every frequency it was free to choose.
        bits = (_code_length(counts) + 1.44 * used) * self._total / self._values.size
        return bits + _BITS_PER_FREQUENCY * used + _BITS_PER_CONTEXT * len(contexts.tables) * bool(contexts.maps)

    def resize(self, features: tuple[int, ...], best: Contexts, cost: float) -> Contexts:
        """Return better contexts of the same features, with twice or half as many tables as long as that helps."""
        for factor in (2.0, 0.5):
            tables, found = self._tables, best
            while 2 <= int(tables * factor) <= _MOST_TABLES:
                tables = int(tables * factor)
                tried = self.cluster(features, tables)
                if self.cost(tried) >= cost:
                    break
                found, cost = tried, self.cost(tried)
            if found is not best:
                return found
        return best

    def cluster(self, features: tuple[int, ...], tables: int | None = None) -> Contexts:
        """Find the classes of a set of features, and their tables, of which there are `tables` at most."""
        room = self._contexts
        limit = _MOST_CLASSES_ALONE if len(features) == 1 else _MOST_CLASSES
        maps: dict[int, Ints] = {}
        for done, feature in enumerate(features):
            if feature == COLUMN:
                maps[feature] = np.arange(self._width, dtype=np.int64)
            else:
                most = int(room ** (1 / (len(features) - done)))
                maps[feature] = self._classes(feature, min(max(most, 2), limit))
            room = max(room // (int(maps[feature].max()) + 1), 1)
        classes = {feature: int(found.max()) + 1 for feature, found in maps.items()}
        contexts = Contexts(maps, classes, np.arange(int(np.prod(list(classes.values()))), dtype=np.int64))
        most = tables or self._tables
        shared = self._share_tables(contexts.of(self._given), len(contexts.tables), classes[features[-1]], most)
        return Contexts(maps, classes, shared)

    def _classes(self, feature: int, most: int) -> Ints:
        """Sort the symbols of a neighbour into classes by what they stand beside."""
        if self._symbols + 1 <= most:
            return np.arange(self._symbols + 1, dtype=np.int64)
        key = (feature, most)
        if key not in self._clusters:
            counts = self._count(self._given[feature], self._symbols + 1)
            self._clusters[key] = _k_means(counts + _PRIOR * self._order0, most)
        return self._clusters[key]

    def _count(self, keys: NDArray[Any], many: int) -> Counts:
        """Count the symbols at every key."""
        cells = keys.astype(np.int64) * self._symbols + self._values
        return np.bincount(cells, minlength=many * self._symbols).reshape(many, -1).astype(np.float32)

    def _share_tables(self, found: Ints, contexts: int, run: int, most: int) -> Ints:
        """Give every context one of `most` tables; `run` contexts after one another differ in their last feature."""
        seen = np.flatnonzero(np.bincount(found, minlength=contexts))
        place = np.zeros(contexts, np.int64)
        place[seen] = np.arange(len(seen))
        counts = self._count(place.take(found), len(seen))
        weight = counts.sum(axis=1)
        tables = min(most, len(seen))
        lengths = _lengths(counts[np.argsort(-weight, kind="stable")[:tables]], self._order0)
        for _ in range(_ROUNDS):
            table = (counts @ lengths).argmin(axis=1)
            lengths = _lengths(_sum_groups(counts, table, tables), self._order0)
        bits = counts @ lengths
        table = bits.argmin(axis=1)
        # A context that hardly occurs takes the table that is usual in its run, so that the map compresses.
        runs = -(-contexts // run)
        votes = np.bincount(seen // run * tables + table, weights=weight, minlength=runs * tables)
        usual = votes.reshape(runs, tables).argmax(axis=1)
        each, default = np.arange(len(seen)), usual[seen // run]
        keeps = bits[each, default] - bits[each, table] < _NEW_TABLE_BITS
        everywhere = np.repeat(usual, run)[:contexts]
        everywhere[seen] = np.where(keeps, default, table)
        return np.unique(everywhere, return_inverse=True)[1].astype(np.int64)


def _code_length(counts: Counts) -> float:
    """Return the bits that counted symbols take with tables of exactly their shares."""
    total = counts.sum(axis=1)
    exact = counts[counts > 0].astype(np.float64)
    return float((total[total > 0] * np.log2(total[total > 0])).sum() - (exact * np.log2(exact)).sum())


def _lengths(counts: Counts, order0: NDArray[Any]) -> NDArray[np.float32]:
    """Return the bits of every symbol ``[symbols, tables]``, none of them endless."""
    shares = (counts + _PRIOR * order0) / (counts.sum(axis=1, keepdims=True) + _PRIOR)
    return np.ascontiguousarray(-np.log2(shares).T, np.float32)


def _sum_groups(rows: Counts, group: Ints, groups: int) -> Counts:
    """Add up the rows of every group."""
    order = np.argsort(group, kind="stable")
    filled, starts = np.unique(group[order], return_index=True)
    made = np.zeros((groups, rows.shape[1]), rows.dtype)
    made[filled] = np.add.reduceat(rows[order], starts, axis=0)
    return made


def _k_means(rows: Counts, groups: int) -> Ints:
    """Sort rows of counts into groups by the distance of the square roots of their shares."""
    weight = rows.sum(axis=1)
    points = np.sqrt(rows / weight[:, None]).astype(np.float32)
    # All products at once: a loop of small ones spends its time on starting threads.
    far = 2 - 2 * (points @ points.T)
    chosen = [int(weight.argmax())]
    nearest = far[chosen[0]]
    while len(chosen) < groups:
        chosen.append(int((nearest * weight).argmax()))
        nearest = np.minimum(nearest, far[chosen[-1]])
    middles = points[chosen]
    for _ in range(_ROUNDS):
        # Rows and middles have lengths of at most 1; what differs is their product and the length of the middle.
        group = (points @ middles.T - (middles**2).sum(axis=1) / 2).argmax(axis=1)
        total = np.maximum(np.bincount(group, weights=weight, minlength=groups), 1e-9)
        middles = (_sum_groups(points * weight[:, None], group, groups) / total[:, None]).astype(np.float32)
    return np.unique(group, return_inverse=True)[1].astype(np.int64)
