"""Plan spans, units and pieces (order.md 4), compared with the slow reference."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test_loader_fake import FakeSource, reference
from tokstore.order import (
    Cut,
    cut_at,
    inner_cuts,
    pieces,
    span_target,
    stored_cuts,
    thin_cuts,
    units_between,
)
from tokstore.stream.plan import make_plan

lengths = st.lists(
    st.one_of(st.integers(0, 40), st.integers(0, 40_000), st.integers(0, 700_000)), min_size=1, max_size=40
)


def as_places(source: Any, first: Any, rest: Any) -> list[tuple[int, int]]:
    """Turn cuts into the pairs (sample, values before) of the reference."""
    return [
        (int(f), 0) if r == 0 else (int(f) - 1, int(source._lengths[int(f) - 1] - r))
        for f, r in zip(first, rest, strict=True)
    ]


@given(lengths)
def test_stored_spans_become_cuts(given_lengths: list[int]) -> None:
    """The cuts are those of the page, and the offset of each is the sum of what lies before it."""
    source = FakeSource([*given_lengths, 1])
    table = source.spans()
    cuts = stored_cuts(table.samples, table.values, table.lead)
    places = as_places(source, cuts.first, cuts.rest)
    view = reference.View(source._lengths.tolist(), source.table)
    assert places == reference.stored_places(view)
    assert cuts.offset.tolist() == [reference.size(view.units((0, 0), place)) for place in places]


@settings(max_examples=60)
@given(lengths, st.integers(1, 9))
def test_plan_spans_are_those_of_the_page(given_lengths: list[int], lanes: int) -> None:
    """Splitting and joining give the cuts of the page, with lengths read for oversized spans only."""
    source = FakeSource([*given_lengths, 1])
    plan = make_plan(source, seq_len=8, shuffle=True, seed=0, lanes=lanes, buffer=1, bos=None, eos=None)
    view = reference.View(source._lengths.tolist(), source.table)
    expected = reference.plan(view, reference.target(source.token_count, lanes))
    assert as_places(source, plan.cuts.first, plan.cuts.rest) == expected


@given(lengths, st.integers(0, 30), st.integers(1, 9))
def test_pieces_are_those_of_the_page(given_lengths: list[int], skip: int, blocks: int) -> None:
    """Pieces begin where the page says, cover all units, and no unit below the limit is cut."""
    units = [(i, min(skip, n), n) for i, n in enumerate(given_lengths)]
    values = np.array([end - first for _, first, end in units], np.int64)
    unit, offset = pieces(values, blocks << 14)
    assert list(zip(unit.tolist(), offset.tolist(), strict=True)) == reference.pieces(units, blocks << 14)
    assert not np.any(offset[values[unit] <= 2 * blocks << 14])


@settings(max_examples=60)
@given(lengths, st.data())
def test_units_between_any_two_cuts(given_lengths: list[int], data: st.DataObject) -> None:
    """Between any two places, units and effective values are those of the page, and cuts inside lead back to them."""
    source = FakeSource([*given_lengths, 1])
    view = reference.View(source._lengths.tolist(), source.table, True, True)
    full = [(s, 0) for s in range(len(source) + 1)]
    inside = [(s, int(n) // 2) for s, n in enumerate(source._lengths) if n > 1]
    places = sorted(data.draw(st.lists(st.sampled_from(full + inside), min_size=2, max_size=2)))
    start, stop = (
        Cut(s + (k > 0), int(source._lengths[s] - k) if k else 0, reference.size(view.units((0, 0), (s, k))))
        for s, k in places
    )
    units = units_between(start, stop, source.lengths(start.first, stop.first))
    expected = view.units(*places) if places[0] != places[1] else []
    if places[0] == places[1]:
        assert int(units.values.sum()) == 0
        return
    assert units.values.tolist() == [end - first for _, first, end in expected]
    segments = [view.segment(unit) for unit in expected]
    assert units.effective(True, True).tolist() == [end - first for _, first, end in segments]
    every = np.arange(len(units.values) + 1)
    cuts = inner_cuts(start, stop, units, every, np.zeros_like(every))
    assert cut_at(cuts, 0) == start
    assert cut_at(cuts, -1) == stop
    effective = cuts.effective(True, True)
    assert np.diff(effective).tolist() == units.effective(True, True).tolist()


def test_a_sample_is_cut_only_where_it_fills_a_span() -> None:
    """A sample of 250,000 values at the end of a stored span stays whole; one of a million is cut into parts."""
    for long, parts in ((250_000, 1), (1_000_000, 4)):
        source = FakeSource([*[1000] * 250, long, *[1000] * 250])
        table = source.spans()
        assert np.count_nonzero(table.lead) >= 1
        cuts = stored_cuts(table.samples, table.values, table.lead)
        assert np.count_nonzero(cuts.rest) == parts - 1


def test_span_targets() -> None:
    """Targets stay between a block and 2**18, and grow only where there would be more than 2**20 spans."""
    for total in (0, 1, 10**6, 50 * 10**6, 10**9, 2**38, 2**38 + 1, 10**13):
        for lanes in (1, 12, 768):
            target = span_target(total, lanes)
            assert target == reference.target(total, lanes)
            assert target >= 2**14
            assert total <= target * 2**20


def test_small_spans_are_joined() -> None:
    """A view of which little is left has few plan spans, none of which begins in the cell of another."""
    n = 1000
    cuts = stored_cuts(np.full(n, 3), np.full(n, 1000), np.zeros(n, np.int64))
    thin = thin_cuts(cuts, 1 << 14)
    assert len(thin) == 62
    assert np.all(np.diff(thin.offset[:-1] // (1 << 14)) > 0)
    assert (thin.first[-1], thin.offset[-1]) == (3 * n, 1000 * n)


@pytest.mark.parametrize("table", [([1], [5], [1]), ([1, 0], [5, 5], [0, 4]), ([1, 1], [5, 5], [0, 6])])
def test_contradictions_in_the_table(table: tuple[list[int], ...]) -> None:
    """A lead that cannot be is refused."""
    with pytest.raises(ValueError, match=r"contradicts itself.*order.md 4.1"):
        stored_cuts(*(np.array(column, np.int64) for column in table))


def test_table_that_does_not_fit_the_view() -> None:
    """A source whose spans hold other counts than it says is refused."""
    source = FakeSource([5, 6])
    wrong = SimpleNamespace(samples=np.array([3]), values=np.array([11]), lead=np.array([0]))
    setattr(source, "spans", lambda: wrong)  # noqa: B010 - mypy knows methods only
    with pytest.raises(ValueError, match=r"has 3 samples and 11 values, the view 2 and 11"):
        make_plan(source, seq_len=8, shuffle=True, seed=0, lanes=None, buffer=1, bos=None, eos=None)
