"""Lanes, lending and the rows of the line (order.md 5 to 7), by brute force."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from test_loader_fake import reference
from tokstore.order import (
    Line,
    deal,
    epoch_rows,
    is_pool,
    lane_count,
    permute,
    split_epochs,
    window_target,
    window_values,
)
from tokstore.order.lanes import Lending, quotas
from tokstore.order.line import even_lane_starts

stretches = st.lists(st.integers(0, 60), min_size=1, max_size=20).filter(any)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30))
def test_lending_by_brute_force(owned: list[int]) -> None:
    """Every owned row is read once, by its owner's turn where there is one, the rest in the order of the page."""
    total, lanes = sum(owned), len(owned)
    lane, number = Lending(np.array(owned)).place(np.arange(total))
    pairs = list(zip(lane.tolist(), number.tolist(), strict=True))
    assert sorted(pairs) == [(a, b) for a, n in enumerate(owned) for b in range(n)]
    spare = [(a, b) for a, n in enumerate(owned) for b in range(-(-max(total - a, 0) // lanes), n)]
    lent = []
    for i, pair in enumerate(pairs):
        turn = (i % lanes, i // lanes)
        if turn[1] < owned[turn[0]]:
            assert pair == turn
        else:
            lent.append((turn, pair))
    assert [pair for _, pair in sorted(lent)] == spare


@given(st.integers(0, 5000), st.integers(1, 800))
def test_quotas_add_up(rows: int, lanes: int) -> None:
    """Turns of all lanes together are the rows, and differ by one at most."""
    counts = quotas(rows, lanes)
    assert int(counts.sum()) == rows
    assert int(counts.max()) - int(counts.min()) <= 1


@given(st.integers(0, 500), st.integers(1, 60), st.integers(0, 2**64 - 1))
def test_dealing(spans: int, lanes: int, key: int) -> None:
    """Permuted span k goes to lane k mod C, in the order of k."""
    permuted = permute(np.arange(spans), spans, key) if spans else np.zeros(0, np.int64)
    dealt, begins = deal(permuted, lanes)
    for lane in range(lanes):
        assert dealt[begins[lane] : begins[lane + 1]].tolist() == permuted[lane::lanes].tolist()
    assert begins[-1] == spans


@given(stretches, st.integers(1, 30), st.sampled_from([1, 1, 2, 8, 64]))
def test_line_rows_are_those_of_the_page(values: list[int], group_values: int, group_rows: int) -> None:
    """Rows of the epoch are all rows of the line, each once, in the order of the page; also for larger groups."""
    starts = np.concatenate([[0], np.cumsum(values)])
    line = Line(starts, group_values, group_rows)
    found = line.line_rows(np.arange(line.rows)).tolist()
    assert sorted(found) == list(range(line.rows))
    assert found == reference.line_rows(starts.tolist(), group_values, group_rows)
    assert int(line.owned.sum()) == line.rows
    assert line.values == starts[-1]


@given(stretches, st.integers(1, 30), st.randoms(use_true_random=False))
def test_rows_do_not_depend_on_the_dealing(values: list[int], group_values: int, random: object) -> None:
    """However the same values are dealt to lanes, an epoch has the same number of rows."""
    rows = Line(np.concatenate([[0], np.cumsum(values)]), group_values).rows
    random.shuffle(values)  # type: ignore[attr-defined]
    assert Line(np.concatenate([[0], np.cumsum(values)]), group_values).rows == rows
    assert rows == epoch_rows(sum(values), group_values) == -(-sum(values) // group_values)


@given(stretches, st.integers(1, 9), st.integers(0, 40), st.integers(1, 40))
def test_any_part_of_the_rows_alone(values: list[int], group_values: int, first: int, count: int) -> None:
    """Rows can be asked in any part and order, with the answer of the whole."""
    line = Line(np.concatenate([[0], np.cumsum(values)]), group_values)
    whole = line.line_rows(np.arange(line.rows))
    part = np.arange(line.rows)[first : first + count][::-1].copy()
    assert line.line_rows(part).tolist() == whole[part].tolist()


@given(st.integers(0, 10**6), st.integers(0, 500), st.integers(1, 97))
def test_epochs_split(start: int, count: int, rows: int) -> None:
    """Rows counted over all epochs fall to the epochs one after another, none twice."""
    parts = split_epochs(start, start + count, rows)
    assert [e * rows + row for e, a, b in parts for row in range(a, b)] == list(range(start, start + count))
    assert all(0 <= a < b <= rows for _, a, b in parts)


def test_lane_counts_and_windows() -> None:
    """Steps of the number of lanes, limits of the window, and where windows should begin."""
    for power in (27, 32, 37):
        for total in (2**power - 1, 2**power):
            assert lane_count(total) == reference.lane_count(total)
    for lanes in (1, 12, 48, 192, 768, 65_536):
        for buffer in (1, 2**20, 2**26, 2**40):
            assert window_values(buffer, lanes) == reference.window_values(buffer, lanes)
    begins = [[window_target(j, lane, 4, 100) for j in range(3)] for lane in range(4)]
    assert begins == [[0, 25, 125], [0, 50, 150], [0, 75, 175], [0, 100, 200]]


def test_pools() -> None:
    """A source is a pool up to its last byte; samples count, so that a billion empty ones are none."""
    assert is_pool(100, 10, 280)
    assert not is_pool(100, 10, 279)
    assert not is_pool(0, 10**9, 2**26)
    assert even_lane_starts(10, 4).tolist() == [0, 2, 5, 7, 10]
