"""`Ragged` against lists of lists."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokstore.ragged import Ragged, ragged_index

ROWS = st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=8)


@given(ROWS, st.data())
def test_ragged_behaves_like_lists(rows: list[list[int]], data: st.DataObject) -> None:
    """Length, rows, negative indices, slices with any step, lists, masks, iteration, equality."""
    ragged = Ragged.from_rows(rows)
    assert len(ragged) == len(rows)
    assert ragged.to_list() == rows == [row.tolist() for row in ragged]
    assert ragged.offsets.tolist() == [sum(map(len, rows[:i])) for i in range(len(rows) + 1)]
    part = data.draw(st.slices(len(rows)))
    assert ragged[part].to_list() == rows[part]
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows))), bool)
    assert ragged[mask].to_list() == [row for row, chosen in zip(rows, mask, strict=True) if chosen]
    if rows:
        chosen = data.draw(st.lists(st.integers(-len(rows), len(rows) - 1), max_size=6))
        assert ragged[chosen].to_list() == [rows[i] for i in chosen]
        assert ragged[chosen[0] if chosen else 0].tolist() == rows[chosen[0] if chosen else 0]
    assert ragged == Ragged.from_rows(rows)
    assert ragged != Ragged.from_rows([*rows, [1]])
    assert pickle.loads(pickle.dumps(ragged)) == ragged


@given(ROWS)
def test_pad_fills_up_to_the_longest(rows: list[list[int]]) -> None:
    """Every row stands at the left, the rest is filled."""
    width = max(map(len, rows), default=0)
    assert Ragged.from_rows(rows).pad(-1).tolist() == [row + [-1] * (width - len(row)) for row in rows]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 6)), max_size=8))
def test_ragged_index(parts: list[tuple[int, int]]) -> None:
    """Starts and lengths become all indices in between."""
    starts, lengths = (np.array([part[i] for part in parts], np.int64) for i in range(2))
    assert ragged_index(starts, lengths).tolist() == [a + i for a, n in parts for i in range(n)]


@pytest.mark.parametrize(
    ("values", "lengths", "kind", "text"),
    [
        ([1, 2, 3], [2, 2], ValueError, "lengths add up to 4, but there are 3 values"),
        ([1, 2, 3], [2], ValueError, "lengths add up to 2, but there are 3 values"),
        ([1], [2, -1], ValueError, "length -1 of row 1 is negative"),
        ([1], [1.0], TypeError, "lengths are a flat array of integers, not float64 of shape (1,)"),
        ([1], [[1]], TypeError, "lengths are a flat array of integers, not int64 of shape (1, 1)"),
        (5, [1], TypeError, "values are an array, not one number"),
        ([1], [True], TypeError, "lengths are a flat array of integers, not bool of shape (1,)"),
    ],
)
def test_wrong_parts_are_refused(values: Any, lengths: Any, kind: type[Exception], text: str) -> None:
    """Lengths that do not add up, are negative, or no integers."""
    with pytest.raises(kind) as caught:
        Ragged(values, lengths)
    assert str(caught.value) == text


def test_lengths_that_overflow_do_not_add_up() -> None:
    """A sum that wraps around 2**64 is not taken for the number of values."""
    with pytest.raises(ValueError, match="add up|too large|negative"):
        Ragged([1, 2], np.array([2**62, 2**62, 2**62, 2**62, 2]))
    with pytest.raises(ValueError, match="add up|too large|negative"):
        Ragged([1, 2], np.array([2**64 - 2, 4], np.uint64))


def test_rows_outside_are_refused() -> None:
    """An index error, not a row of something else."""
    ragged = Ragged([1, 2, 3], [1, 2])
    for key in (2, -3, [0, 2], [-3], np.array([5])):
        with pytest.raises(IndexError):
            ragged[key]
    with pytest.raises(IndexError):
        ragged[np.array([True])]


def test_repr_is_short() -> None:
    """Three rows are shown, and the dtype."""
    assert (
        repr(Ragged(np.array([1, 2, 3], np.int32), [1, 0, 1, 1])) == "Ragged(4 rows, 3 values, int32: [1], [], [2], …)"
    )


def test_rows_are_views_and_empty_ones_too() -> None:
    """Writing to a row writes to the values; no rows at all are fine."""
    ragged = Ragged(np.arange(4), [2, 2])
    ragged[1][0] = 9
    assert ragged.values.tolist() == [0, 1, 9, 3]
    empty = Ragged([], [])
    assert empty.to_list() == []
    assert empty[:].pad(0).shape == (0, 0)
    assert Ragged.from_rows([[], []]).lengths.tolist() == [0, 0]
