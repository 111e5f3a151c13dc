"""Packing of items into rows (order.md 6.4 and 6.5), compared with the slow reference."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from test_loader_fake import reference
from tokstore.order.packing import fit_rows, group_rows, group_values, pack_rows, split_long, whole_rows


@st.composite
def items(draw: st.DrawFn, rows_of_longest: int = 1) -> tuple[list[int], int]:
    """Lengths of items and the capacity of a row: even ones, short ones, full rows, and mixtures near the borders."""
    capacity = draw(st.one_of(st.integers(1, 40), st.integers(2, 300)))
    longest = rows_of_longest * capacity
    near = [st.integers(max(1, c - 2), min(longest, c + 2)) for c in (capacity // 8, capacity // 4, capacity // 2)]
    lengths = st.one_of(
        st.lists(st.integers(1, longest), max_size=40),
        st.lists(st.one_of(*near, st.integers(1, max(1, capacity // 8))), max_size=80),
        st.lists(st.integers(max(1, longest - 2), longest), max_size=12),
        st.lists(st.integers(capacity // 2 + 1, capacity), max_size=20),
        st.lists(st.integers(1, max(1, capacity // 8)), max_size=60),
        st.builds(lambda length, count: [length] * count, st.integers(1, longest), st.integers(0, 60)),
        st.builds(lambda count: [1] * count, st.integers(0, 200)),
    )
    return draw(lengths), capacity


def array(lengths: list[int]) -> Any:
    """Turn a list into what the package takes."""
    return np.array(lengths, np.int64)


def laid(lengths: list[int], gap: int = 0) -> list[tuple[int, int]]:
    """Return where items lie that stand one after the other, with a gap between them."""
    ends = [sum(lengths[: i + 1]) + i * gap for i in range(len(lengths))]
    return [(end - length, end) for length, end in zip(lengths, ends, strict=True)]


@settings(max_examples=300)
@given(items(), st.integers(-2, 20))
@example(([], 5), 0)
@example(([3, 5, 2, 5, 1], 8), 0)
@example(([2] * 9 + [1], 17), -1)
def test_rows_of_items_are_those_of_the_page(given_items: tuple[list[int], int], spare: int) -> None:
    """Every item goes to the row of the page, or is left over; what is left over fits nowhere."""
    lengths, capacity = given_items
    rows = max(0, -(-sum(lengths) // capacity) + spare)
    got = pack_rows(array(lengths), capacity, rows)
    assert [None if row < 0 else row for row in got.tolist()] == reference.packed(lengths, capacity, rows)
    used = np.bincount(got[got >= 0], array(lengths)[got >= 0], rows)
    assert (used <= capacity).all()
    assert all(length + used.min(initial=capacity) > capacity for length in array(lengths)[got < 0].tolist())


@settings(max_examples=300)
@given(items(rows_of_longest=3), st.integers(0, 4), st.integers(0, 3))
@example(([], 5), 0, 0)
@example(([3, 5, 2, 5, 1], 8), 0, 0)
@example(([6, 7] + [8] * 8, 10), 0, 0)
def test_fit_is_that_of_the_page(given_items: tuple[list[int], int], spare: int, gap: int) -> None:
    """The parts of every row are those of the page, in the order of the line: every value once, and no row too long."""
    lengths, capacity = given_items
    rows = -(-sum(lengths) // capacity) + spare
    places = laid(lengths, gap)
    got = fit_rows(array([start for start, _ in places]), array(lengths), capacity, rows)
    parts: list[list[tuple[int, int]]] = [[] for _ in range(rows)]
    for row, start, length, item in zip(*(column.tolist() for column in got), strict=True):
        parts[row].append((start, start + length))
        assert places[item][0] <= start < start + length <= places[item][1]
    assert parts == reference.fit_parts(places, capacity, rows)
    assert list(zip(got.row.tolist(), got.start.tolist(), strict=True)) == sorted(
        (row, start) for row, mine in enumerate(parts) for start, _ in mine
    )
    assert all(sum(stop - start for start, stop in mine) <= capacity for mine in parts)
    values = sorted(value for mine in parts for part in mine for value in range(*part))
    assert values == [value for place in places for value in range(*place)]


@settings(max_examples=60)
@given(items(rows_of_longest=2), st.integers(0, 3), st.randoms(use_true_random=False))
@example(([3, 5, 2], 8), 3, Random(0))
def test_rows_take_the_places_that_they_are_given(given_items: tuple[list[int], int], spare: int, random: Any) -> None:
    """Packing into rows with places is packing and bringing the rows there, also where one has had no value."""
    lengths, capacity = given_items
    rows = -(-sum(lengths) // capacity) + spare
    places = array(random.sample(range(rows), rows))
    starts = array([start for start, _ in laid(lengths)])
    plain = fit_rows(starts, array(lengths), capacity, rows)
    got = fit_rows(starts, array(lengths), capacity, rows, places)
    moved = sorted(zip(places[plain.row].tolist(), *(column.tolist() for column in plain[1:]), strict=True))
    assert list(zip(*(column.tolist() for column in got), strict=True)) == moved


@pytest.mark.parametrize("capacity", [32_767, 32_768, 40_000])
def test_long_rows(capacity: int) -> None:
    """Rows near the length from which numbers of 16 bits do not hold their gaps are packed as the page says."""
    rng = np.random.default_rng(capacity)
    lengths = [*rng.integers(1, capacity + 1, 20).tolist(), *rng.integers(1, capacity // 8, 150).tolist(), capacity]
    rows = -(-sum(lengths) // capacity)
    got = pack_rows(array(lengths), capacity, rows)
    assert [None if row < 0 else row for row in got.tolist()] == reference.packed(lengths, capacity, rows)


@settings(max_examples=300)
@given(items())
@example(([], 5))
@example(([5] * 7, 5))
def test_whole_rows_are_those_of_the_page(given_items: tuple[list[int], int]) -> None:
    """Every item is in one row, in that of the page, and no row is too long or empty."""
    lengths, capacity = given_items
    got = whole_rows(array(lengths), capacity)
    expected = reference.whole_rows(lengths, capacity)
    found: list[list[int]] = [[] for _ in expected]
    for item, row in enumerate(got.tolist()):
        found[row].append(item)
    assert found == expected
    assert all(0 < sum(lengths[item] for item in mine) <= capacity for mine in found)


@given(items(), st.randoms(use_true_random=False))
def test_number_of_whole_rows_follows_from_the_lengths(given_items: tuple[list[int], int], random: Any) -> None:
    """The order of the items moves them, and changes neither the number of rows nor how full they are."""
    lengths, capacity = given_items
    other = random.sample(lengths, len(lengths))
    fill = [np.bincount(whole_rows(array(some), capacity), some).tolist() if some else [] for some in (lengths, other)]
    assert fill[0] == fill[1]


@given(items(rows_of_longest=5), st.integers(0, 3))
def test_long_items_are_split_as_the_page_says(given_items: tuple[list[int], int], gap: int) -> None:
    """Full rows, and one part with the rest if there is any."""
    lengths, capacity = given_items
    places = laid(lengths, gap)
    starts, sizes, which = split_long(array([start for start, _ in places]), array(lengths), capacity)
    assert all(places[item][0] <= start < places[item][1] for item, start in zip(which, starts, strict=True))
    expected = reference.long_parts(places, capacity)
    assert list(zip(starts.tolist(), (starts + sizes).tolist(), strict=True)) == expected


@given(st.integers(2, 1 << 30), st.integers(1 << 16, 1 << 22))
@example(1 << 12, 1 << 16)
@example((1 << 12) + 1, 1 << 16)
def test_groups_are_those_of_the_page(seq_len: int, window: int) -> None:
    """Rows and values of a group, for any row and any window."""
    rows = group_rows(seq_len, window)
    assert rows == reference.group_rows(seq_len, window)
    assert group_values(rows, seq_len) == reference.group_values(rows, seq_len)


@pytest.mark.parametrize("seed", range(4))
def test_fit_cuts_few_items(seed: int) -> None:
    """At most 1 % of the items shorter than a row are cut, for a full group of 512 rows of 2,048."""
    rows, capacity = 512, 2048
    values = group_values(rows, capacity)
    lengths = np.random.default_rng(seed).lognormal(np.log(120), 1.0, 20_000).clip(4, 2048).astype(np.int64)
    ends = np.cumsum(lengths)
    lengths = lengths[: int(np.searchsorted(ends, values)) + 1]
    ends = np.minimum(ends[: len(lengths)], values)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])
    parts = fit_rows(starts, ends - starts, capacity, rows)
    assert int(parts.length.sum()) == values
    pieces = np.bincount(np.searchsorted(starts, parts.start, side="right") - 1, minlength=len(starts))
    short = lengths < capacity
    cut = (pieces > 1) & short
    cut[-1] = short[-1]  # by the end of the group
    assert cut.sum() <= 0.01 * short.sum(), f"{cut.sum()} of {short.sum()}"


@st.composite
def views(draw: st.DrawFn) -> Any:
    """Views for the reference: several spans, windows and groups."""
    lengths = st.one_of(st.integers(0, 30), st.integers(0, 9_000), st.integers(0, 90_000))
    given_lengths = draw(st.lists(lengths, min_size=1, max_size=30))
    bos, eos = draw(st.booleans()), draw(st.booleans())
    return reference.View(given_lengths, reference.stored(given_lengths), bos, eos)


def options(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what an epoch depends on besides the view."""
    return {
        "seed": draw(st.integers(0, 2**64 - 1)),
        "shuffle": draw(st.booleans()),
        "lanes": draw(st.integers(1, 5)),
        "buffer": draw(st.sampled_from([1, 1 << 26])),
    }


@settings(max_examples=60)
@given(views(), st.integers(600, 20_000), st.data())
def test_reference_of_fit_loses_nothing(view: Any, seq_len: int, data: st.DataObject) -> None:
    """The reference has every value once, in as many rows every epoch, and without shuffling the same ones."""
    given_options = data.draw(st.composite(options)())
    epochs = [reference.epoch_rows(view, seq_len, epoch=e, packing="fit", **given_options) for e in (0, 3)]
    assert len(epochs[0]) == len(epochs[1])
    assert given_options["shuffle"] or epochs[0] == epochs[1]
    for rows in epochs:
        assert all(0 <= reference.size(row) <= seq_len for row in rows)
        seen = sorted(segment for row in rows for segment in row)
        at = dict.fromkeys(range(len(view.lengths)), 0)
        for sample, first, last in seen:
            assert at[sample] == first < last
            at[sample] = last
        assert list(at.values()) == [view.effective(sample) for sample in at]


@settings(max_examples=60)
@given(views(), st.integers(600, 20_000), st.sampled_from(["drop", "truncate", "split"]), st.data())
def test_reference_of_whole_cuts_nothing(view: Any, seq_len: int, overlong: str, data: st.DataObject) -> None:
    """The reference has every sample once and whole, but for those that are too long, in as many rows every epoch."""
    packing = "single" if overlong == "split" else data.draw(st.sampled_from(["whole", "single"]))
    given_options = data.draw(st.composite(options)()) | {"packing": packing, "overlong": overlong}
    epochs = [reference.epoch_rows(view, seq_len, epoch=e, **given_options) for e in (0, 3)]
    assert len(epochs[0]) == len(epochs[1])
    expected = []
    for sample in range(len(view.lengths)):
        n = view.effective(sample)
        if overlong == "split":
            expected += [(sample, a, min(a + seq_len, n)) for a in range(0, n, seq_len)]
        elif n and (n <= seq_len or overlong == "truncate"):
            expected.append((sample, 0, min(n, seq_len)))
    for rows in epochs:
        assert all(0 < reference.size(row) <= seq_len for row in rows)
        assert packing == "whole" or all(len(row) == 1 for row in rows)
        assert sorted(segment for row in rows for segment in row) == expected


@pytest.mark.parametrize("packing", ["whole", "single"])
def test_reference_refuses_what_is_too_long(packing: str) -> None:
    """A sample longer than a row is refused unless the user says what to do, and `split` is for `single` alone."""
    view = reference.View([3, 9], reference.stored([3, 9]))
    given_options = {"epoch": 0, "seed": 0, "shuffle": True, "lanes": 2, "buffer": 1, "packing": packing}
    with pytest.raises(ValueError, match="sample 1 has 9 values"):
        reference.epoch_rows(view, 8, **given_options)
    if packing == "whole":
        with pytest.raises(ValueError, match="sample 1 has 9 values"):
            reference.epoch_rows(view, 8, overlong="split", **given_options)


@given(st.integers(0, 40), st.integers(1, 4), st.integers(1, 4))
def test_ranks_share_every_batch(total: int, ranks: int, each: int) -> None:
    """All ranks together have every row once, in the global batch that one rank alone would have it in."""
    batch = ranks * each
    alone = reference.rank_batches(total, batch, 1, 0)
    shares = [reference.rank_batches(total, batch, ranks, rank) for rank in range(ranks)]
    for number, rows in enumerate(alone):
        assert [shares[i % ranks][number][i // ranks] for i in range(batch)] == rows
    flat = [row for rows in alone for row in rows]
    assert flat == [*range(total), *[None] * (-total % batch)]
    made = [reference.worker_batches(len(alone), 3, worker) for worker in range(3)]
    assert sorted(number for numbers in made for number in numbers) == list(range(len(alone)))
