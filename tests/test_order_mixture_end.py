"""Mixtures that end: quotas of lanes, slots passed over, rows lent at the end, stop rules (order.md 10.6 to 10.8)."""

from __future__ import annotations

import pickle
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from test_loader_fake import reference
from test_order_mixture import SETS, stages_of
from test_order_spec import VECTORS, found
from tokstore.order.mixture import Mixing, quantise, spread
from tokstore.order.mixture_end import STOPS, EndingMixing

MOST = 1500
Case = tuple[int, list[tuple[int, list[int]]], list[int], list[int | None], str | None]


@st.composite
def endings(draw: Any) -> Case:
    """Draw lanes, stages, rows of an epoch, limits and a stop rule."""
    lanes, sources = draw(st.sampled_from((1, 2, 3, 7, 12))), draw(st.integers(1, 4))
    # Few sets of shares, because each costs a search for its constants.
    few = [one[:sources] for one in ([1, 1, 1, 1], [7, 3, 0, 1], [0, 1, 5, 2])]
    shares = st.sampled_from([one for one in few if any(one)])
    gaps = draw(st.lists(st.integers(1, 70), max_size=2))
    stages = [(row, draw(shares)) for row in [0, *accumulate(gap + lanes for gap in gaps)]]
    rows = draw(st.lists(st.integers(1, 40), min_size=sources, max_size=sources))
    limits = draw(st.lists(st.sampled_from((None, 1, 2, 3)), min_size=sources, max_size=sources))
    if draw(st.booleans()):
        limits = [limit or 1 for limit in limits]
    return lanes, stages, rows, limits, draw(st.sampled_from((None, *STOPS)))


def pairs(mixing: Mixing, rows: int) -> list[tuple[int, int]]:
    """Return source and row of the first rows."""
    return list(zip(*(one.tolist() for one in mixing.place(np.arange(rows))), strict=True))


@settings(max_examples=120, deadline=None)
@given(endings())
@example((12, [(0, [9, 9, 7, 9])], [17, 20, 1, 39], [1, 3, 3, 2], "all_exhausted_without_replacement"))
def test_reference(case: Case) -> None:
    """Rows, their number and what is refused are those of the slow reference; counts before a row are those of rows."""
    lanes, asked, rows, limits, stop = case
    stages = stages_of(lanes, asked)
    slow = [reference.Stage(start, list(one.counts), one.step, one.stride) for start, one in stages]
    want = reference.ending_rows(slow, lanes, rows, limits, stop, MOST)
    if want is None:
        event("refused")
        with pytest.raises(ValueError, match=r"\(order.md 10.[68]\)"):
            EndingMixing(stages, rows, limits, stop)
        return
    mixing = EndingMixing(stages, rows, limits, stop)
    event(f"{stop}, {'with' if want[1] else 'without'} an end")
    assert mixing.end == (len(want[0]) if want[1] else None)
    assert pairs(mixing, len(want[0])) == want[0]
    backwards = np.arange(len(want[0]))[::-1]
    assert pickle.loads(pickle.dumps(mixing)).place(backwards)[1][::-1].tolist() == [row for _, row in want[0]]
    source, row = np.array(want[0]).T
    for at in {0, 1, lanes, len(source) // 2, len(source) - 2, len(source)}:
        if 0 <= at <= len(source):
            before = np.zeros((len(rows), lanes), np.int64)
            np.add.at(before, (source[:at], row[:at] % lanes), 1)
            assert np.array_equal(mixing.drawn(at), before)
    if mixing.end is not None:
        assert np.array_equal(mixing.drawn(mixing.end + 99), mixing.drawn(mixing.end))
        with pytest.raises(
            ValueError, match=f"the mixture ends with row {mixing.end - 1:,}, before row {mixing.end:,}"
        ):
            mixing.place(np.array([0, mixing.end]))


@settings(max_examples=60, deadline=None)
@given(endings())
def test_once_an_epoch(case: Case) -> None:
    """Of each source the rows are the first ones, without gap or repeat, whatever else ends; limits hold."""
    lanes, asked, rows, limits, stop = case
    try:
        mixing = EndingMixing(stages_of(lanes, asked), rows, limits, stop)
    except ValueError:
        return
    if mixing.end is None:
        return
    source, row = mixing.place(np.arange(mixing.end))
    given_rows = [np.sort(row[source == number]) for number in range(len(rows))]
    for mine, limit in zip(given_rows, mixing.limits, strict=True):
        assert len(np.unique(mine)) == len(mine)
        assert limit is None or not len(mine) or mine[-1] < limit
    whole = [len(mine) == limit for mine, limit in zip(given_rows, mixing.limits, strict=True)]
    if stop == "first_exhausted":
        assert whole[source[-1]]
        assert not any(one for number, one in enumerate(whole) if number != source[-1])
    elif stop == "all_exhausted":
        assert all(np.array_equal(mine[:n], np.arange(n)) for mine, n in zip(given_rows, rows, strict=True))
        assert row[-1] < rows[source[-1]]  # with one row less, a source would not be whole
    elif stop is not None:
        assert all(whole)


def test_vectors() -> None:
    """Ends and rows are those of the vectors."""
    assert {v["stop"] for v in VECTORS["ending_mixtures"]} == {None, *STOPS}
    for v in VECTORS["ending_mixtures"]:
        stages = stages_of(v["lanes"], [(stage["asked"], stage["shares"]) for stage in v["stages"]])
        mixing = EndingMixing(stages, v["epoch_rows"], v["max_epochs"], v["stop"])
        assert mixing.end == v["end"]
        assert [list(pair) for pair in pairs(mixing, len(v["rows"]))] == v["rows"]


def test_examples() -> None:
    """The examples of 10.6 and 10.7 are what the package computes."""
    one = spread((1536, 1536), 1)
    endless, ended = found(r"the sources of rows 0 to 5 are ([\d ]+); .*? rows 0 to 4 are of the sources ([\d ]+)\.")
    assert [source for source, _ in pairs(Mixing([(0, one)]), 6)] == [int(x) for x in endless.split()]
    assert [source for source, _ in pairs(EndingMixing([(0, one)], [2, 3], [1, 1], None), 5)] == [
        int(x) for x in ended.split()
    ]
    lent = found(r"The lanes have 5, 3 and 3 positions .* row (\d+), turn 3 of lane 1, is position (\d) of lane 0")
    mixing = EndingMixing(stages_of(3, [(0, [1, 1])]), [4, 7], [1, 1], None)
    assert mixing.end == 11
    assert mixing._stretches[-1].last.tolist() == [5, 3, 3]
    assert mixing.place(np.array([int(lent[0])]))[1] % 3 == 0
    assert [int(one[0]) for one in mixing._lent] == [int(lent[0]), 0, int(lent[1])]


def ideal(shares: NDArray[np.int64], limits: list[int | None], rows: int) -> NDArray[np.float64]:
    """Return how many rows of each source would come before any row if all were dealt out by shares alone."""
    at, came = 0.0, np.zeros(len(shares))
    marks, points = [at], [came.copy()]
    alive = shares > 0
    while at < rows and alive.any():
        rate = np.where(alive, shares, 0) / shares[alive].sum()
        left = [(n - c) / r if n is not None and r else np.inf for n, c, r in zip(limits, came, rate, strict=True)]
        step = min(rows - at, *left)
        at, came = at + step, came + rate * step
        marks, points = [*marks, at], [*points, came.copy()]
        alive &= np.array([n is None or c < n - 1e-6 for n, c in zip(limits, came, strict=True)])
    return np.stack([np.interp(np.arange(rows + 1), marks, one) for one in np.array(points).T], axis=1)


@pytest.mark.parametrize("lanes", [1, 12, 48])
def test_prefixes(lanes: int) -> None:
    """Also where sources end, no source is further from its share than 10.6 says."""
    draws, worst = np.random.default_rng(lanes), 0.0
    for shares in SETS:
        counts = np.array(quantise(shares, lanes))
        rows = [int(n) for n in draws.integers(10 * lanes, 200 * lanes, len(shares))]
        limits: list[int | None] = [1] * len(shares)
        if draws.integers(2):
            limits[int(np.argmax(counts))] = None
        mixing = EndingMixing([(0, spread(tuple(counts.tolist()), lanes))], rows, limits, None)
        total = mixing.end or 2 * sum(rows)
        source, _ = mixing.place(np.arange(total))
        came = np.zeros((total + 1, len(shares)))
        np.cumsum(source[:, None] == np.arange(len(shares)), axis=0, out=came[1:])
        worst = max(worst, float(np.abs(came - ideal(counts, mixing.limits, total)).max()))
    factor, more = found(r"no source was further than ([\d.]+) C \+ (\d) rows")
    assert worst <= float(factor) * lanes + int(more)


def test_large_numbers() -> None:
    """Ends of large sources are arithmetic: nothing is as long as a source."""
    lanes = 768
    stages = stages_of(lanes, [(0, [7, 3]), (10**9, [3, 7])])
    rows = [10**12 + 5, 3 * 10**11]
    mixing = EndingMixing(stages, rows, [3, 4], "all_exhausted_without_replacement")
    assert mixing.end == 3 * rows[0] + 4 * rows[1]
    assert mixing.drawn(mixing.end).sum(axis=1).tolist() == [3 * rows[0], 4 * rows[1]]
    tail = np.arange(mixing.end - 3000, mixing.end)
    source, row = mixing.place(tail)
    assert len({*zip(source.tolist(), row.tolist(), strict=True)}) == 3000
    taken = mixing.drawn(mixing.end) - mixing.drawn(mixing.end - 3000)
    assert np.bincount(source, minlength=2).tolist() == taken.sum(axis=1).tolist()


def test_many_sources() -> None:
    """More sources than a number has bits end one by one as well."""
    rows = [5 + 3 * n for n in range(70)]
    mixing = EndingMixing(stages_of(2, [(0, [1] * 70)]), rows, [2] * 70, None)
    assert mixing.end == 2 * sum(rows)
    want = {(source, row) for source, n in enumerate(rows) for row in range(2 * n)}
    assert set(pairs(mixing, mixing.end)) == want


def test_refused() -> None:
    """What cannot end as it is asked to, or has nothing to give in between, says from which row on."""
    first, second = stages_of(12, [(0, [1, 0]), (480, [0, 1])])
    with pytest.raises(ValueError, match=r"all that max_epochs allows from row 96 on, before the stage at row 480"):
        EndingMixing([first, second], [100, 100], [1, None], None)
    assert EndingMixing([first, second], [100, 100], [1, None], "first_exhausted").end == 100
    for stop in STOPS[1:]:
        with pytest.raises(ValueError, match=r"source 0 has no share in the last stage, from row 480 on, and has not"):
            EndingMixing([first, second], [500, 100], [None, None], stop)
    with pytest.raises(ValueError, match="ends by one of first_exhausted, all_exhausted, all.*, not by 'never'"):
        EndingMixing([first], [5, 5], [1, 1], "never")
