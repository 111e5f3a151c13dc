"""Saved views: which samples a user chose, by their ids (format.md 8.7)."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate, pairwise

from .conventions import packed_exactly
from .failure import require
from .manifest import unwrap_sealed
from .metadata import fields, parse

RULE = "format.md 8.7"
KINDS: dict[int, type] = {
    1: bytes, 2: int, 3: int, 4: int, 5: int, 6: bytes, 7: bytes, 8: bytes, 9: bytes, 10: list, 11: list,
}  # fmt: skip


@dataclass(frozen=True)
class View:
    """A saved view. `order` and `weights` count the samples by ascending ids."""

    version: int
    created: int
    samples: int
    runs: list[tuple[int, int]]
    order: list[int] | None
    weights: list[int] | None
    columns: list[int] | None
    verbs: list[str]

    def chosen(self, sample_ids: list[int]) -> list[tuple[int, int | None]]:
        """Give id and weight of the samples of the view that a version has, in the order of the view.

        Args:
            sample_ids: The ids of the samples of the version, by position.
        """
        firsts = [first for first, _ in self.runs]
        starts = [0, *accumulate(count for _, count in self.runs)]
        there: dict[int, int] = {}
        for number in sample_ids:
            run = bisect_right(firsts, number) - 1
            if run >= 0 and number < sum(self.runs[run]):
                there[starts[run] + number - firsts[run]] = number
        places = list(there) if self.order is None else [place for place in self.order if place in there]
        return [(there[place], self.weights[place] if self.weights is not None else None) for place in places]


def parse_view(data: bytes, store_id: bytes) -> View:
    """Read a view from all bytes of its file."""
    m = fields(parse(unwrap_sealed(data, b"TOKSVIEW", RULE, 2**30)), KINDS, (8, 9, 10), "a view", RULE)
    require(m[1] == store_id, "the view is of another store", RULE)
    samples, runs = m[4], m[5]
    # First ids differ, and so do the items of an order: none takes less than a byte, apart from the first.
    require(runs <= max(1, len(m[6])), f"a view says that it has {runs} runs", RULE)
    firsts = packed_exactly(m[6], runs, 0, 2**53 - 1)
    counts = packed_exactly(m[7], runs, 1, 2**53)
    pairs = list(zip(firsts, counts, strict=True))
    require(sum(counts) == samples, "the runs of a view do not add up to its samples", RULE)
    require(all(sum(a) < b[0] for a, b in pairwise(pairs)), "runs of a view touch or do not ascend", RULE)
    require(not pairs or sum(pairs[-1]) <= 2**53, "a sample id of a view is not below 2^53", "format.md 7.2")
    order = None
    if 8 in m:
        require(samples <= max(1, len(m[8])), "the order of a view does not have all samples", RULE)
        order = packed_exactly(m[8], samples, 0, samples - 1)
        require(len(set(order)) == samples, "a sample comes twice in the order of a view", RULE)
    weights = None
    if 9 in m:
        require(len(m[9]) == 4 * samples, f"{len(m[9])} bytes of weights for {samples} samples", RULE)
        weights = [int.from_bytes(m[9][at : at + 4], "little") for at in range(0, 4 * samples, 4)]
    columns = m.get(10)
    if columns is not None:
        require(all(type(one) is int and 0 <= one <= 2**32 - 2 for one in columns), "a column id is none", RULE)
        require(columns == sorted(set(columns)) and columns, "column ids of a view are none or do not ascend", RULE)
    require(all(type(verb) is str for verb in m[11]), "a verb of a view is no string", RULE)
    return View(m[2], m[3], samples, pairs, order, weights, columns, m[11])
