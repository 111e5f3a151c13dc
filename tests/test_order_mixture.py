"""Mixtures: shares in slots, exact lanes, close prefixes, draws without gap or repeat (order.md 10)."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import accumulate
from math import gcd
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from test_loader_fake import reference
from test_order_spec import FLAT, VECTORS, found
from tokstore.order import mixture as module
from tokstore.order.mixture import Mixing, Slots, coprimes, part_of_buffer, quantise, slot_error, spread

LANES = st.sampled_from((1, 2, 3, 7, 12, 48, 192))
SETS = (
    [1, 1],
    [7, 3],
    [9, 1],
    [99, 1],
    [1, 1, 1],
    [6, 3, 1],
    [5, 3, 0, 1],
    [4, 3, 2, 1],
    [1] * 8,
    [34, 21, 13, 8, 5, 3],
)
SHARES = st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any)


def stages_of(lanes: int, asked: list[tuple[int, list[int]]]) -> list[tuple[int, Slots]]:
    """Return the stages of a mixture."""
    return [(reference.stage_start(row, lanes), spread(tuple(quantise(shares, lanes)), lanes)) for row, shares in asked]


def test_examples() -> None:
    """The numbers of section 10 are what the package computes."""
    text = found(r"shares of 0.7 and 0.3 with C = 12 give M = 3072, m = ([\d, ]+);")[0]
    counts = quantise([0.7, 0.3], 12)
    assert [int(x) for x in text.split(", ")] == counts
    assert quantise([1, 1, 0], 48) == [int(x) for x in found(r"C = 48 give ([\d, ]+)\.")[0].split(", ")]
    assert coprimes(48) == [int(x) for x in found(r"the candidates of 48 are ([\d, ]+)\.")[0].split(", ")]
    step, stride = found(r"with C = 12 give G = (\d+), H = (\d+)\.")
    made = spread(tuple(counts), 12)
    assert (made.step, made.stride) == (int(step), int(stride))
    sources, rows = Mixing([(0, made)]).place(np.arange(16))
    assert sources[:12].tolist() == [int(x) for x in found(r"rows 0 to 11 are ([\d ]+),")[0].split()]
    four = re.search(r"are of the sources ([\d ]+), and are rows ([\d, ]+) of them", FLAT)
    assert four
    assert sources[12:].tolist() == [int(x) for x in four[1].split()]
    assert rows.tolist() == [*range(12), *(int(x) for x in four[2].split(", "))]


@pytest.mark.parametrize("lanes", [12, 48, 192])
def test_lanes_keep_together(lanes: int) -> None:
    """No lane is far ahead of another in any source."""
    for shares in SETS:
        ((_, slots),) = stages_of(lanes, [(0, shares)])
        drawn = [slots.drawn(np.full(lanes, position)) for position in range(0, 1000, 3)]
        assert max(int((one.max(axis=1) - one.min(axis=1)).max()) for one in drawn) <= 10


def test_vectors() -> None:
    """Candidates, slots, constants, parts of the buffer and rows are those of the vectors."""
    for v in VECTORS["near"]:
        assert coprimes(v["n"]) == v["candidates"]
    for v in VECTORS["mixtures"]:
        stages = stages_of(v["lanes"], [(stage["asked"], stage["shares"]) for stage in v["stages"]])
        for (start, slots), stage in zip(stages, v["stages"], strict=True):
            assert (start, list(slots.counts)) == (stage["start"], stage["slots"])
            assert (slots.step, slots.stride) == (stage["g"], stage["h"])
        counts = [slots.counts for _, slots in stages]
        assert [part_of_buffer(1 << 26, counts, source) for source in range(len(counts[0]))] == v["buffers"]
        pairs = zip(*(one.tolist() for one in Mixing(stages).place(np.arange(len(v["rows"])))), strict=True)
        assert [list(pair) for pair in pairs] == v["rows"]


@settings(max_examples=60, deadline=None)
@given(LANES, st.lists(st.floats(0, 1e6), min_size=1, max_size=8))
def test_quantise(lanes: int, shares: list[float]) -> None:
    """Slots are as the reference has them: near the shares, a multiple of the lanes, and none for nothing alone."""
    exact = [Fraction(share) for share in shares]
    if not any(exact):
        return
    if any(share and not n for share, n in zip(exact, reference.quantise(exact, lanes), strict=True)):
        with pytest.raises(ValueError, match="none of"):
            quantise(shares, lanes)
        return
    counts = quantise(shares, lanes)
    assert counts == reference.quantise(exact, lanes)
    slots = sum(counts)
    assert slots % lanes == 0
    assert 3072 <= slots <= 1 << 20
    for n, share in zip(counts, exact, strict=True):
        assert (n == 0) == (share == 0)
        assert abs(n - slots * share / sum(exact)) < 1


@settings(max_examples=40, deadline=None)
@given(LANES, SHARES, st.integers(0, 1 << 40))
def test_lanes_are_exact(lanes: int, shares: list[int], begin: int) -> None:
    """In M positions, wherever they begin, each lane has each source as often as it has slots."""
    ((_, slots),) = stages_of(lanes, [(0, shares)])
    for lane in {0, lanes // 2, lanes - 1}:
        source, _ = slots.place(np.full(slots.slots, lane), begin + np.arange(slots.slots))
        assert np.bincount(source, minlength=len(shares)).tolist() == list(slots.counts)


@pytest.mark.parametrize("lanes", [1, 2, 12, 48, 192])
def test_prefixes(lanes: int) -> None:
    """After any number of rows each source is within 4 rows of its slots."""
    for shares in SETS:
        ((_, slots),) = stages_of(lanes, [(0, shares)])
        rows = max(slots.slots, min(slots.slots * lanes, 1_000_000))
        source, _ = Mixing([(0, slots)]).place(np.arange(rows))
        for number, count in enumerate(slots.counts):
            off = np.cumsum(source == number) - np.arange(1, rows + 1) * (count / slots.slots)
            assert max(off.max(), -off.min()) <= 4


@settings(max_examples=40, deadline=None)
@given(LANES, SHARES)
def test_error_is_the_largest(lanes: int, shares: list[int]) -> None:
    """The deviation is what looking at every row and every source gives."""
    ((_, slots),) = stages_of(lanes, [(0, shares)])
    source, _ = slots.place(np.arange(5000) % lanes, np.arange(5000) // lanes)
    came = np.cumsum(source[:, None] == np.arange(len(shares)), axis=0)
    off = np.abs(came * slots.slots - np.arange(1, 5001)[:, None] * np.array(slots.counts))
    assert slot_error(slots, 5000) >= int(off[:-1].max())
    assert slot_error(slots, 5000) == reference.deviation(
        reference.Stage(0, list(slots.counts), slots.step, slots.stride), lanes, 5000
    )


@st.composite
def mixtures(draw: Any) -> tuple[int, list[tuple[int, list[int]]]]:
    """Draw lanes and stages."""
    lanes, sources = draw(LANES), draw(st.integers(1, 4))
    shares = st.lists(st.integers(0, 9), min_size=sources, max_size=sources).filter(any)
    gaps = draw(st.lists(st.integers(1, 900), max_size=3))
    rows = [0, *accumulate(gap + lanes for gap in gaps)]
    return lanes, [(row, draw(shares)) for row in rows]


@settings(max_examples=60, deadline=None)
@given(mixtures(), st.integers(0, 1 << 30))
def test_draws_have_no_gap(mixture: tuple[int, list[tuple[int, list[int]]]], far: int) -> None:
    """In each lane the draws of each source are 0, 1, 2, …, over all stages, and the counts before a row tell them."""
    lanes, asked = mixture
    stages = stages_of(lanes, asked)
    mixing = Mixing(stages)
    rows = np.arange(4000)
    source, row = mixing.place(rows)
    for lane in range(lanes):
        for number in range(mixing.sources):
            mine = row[(rows % lanes == lane) & (source == number)]
            assert np.array_equal(mine, np.arange(len(mine)) * lanes + lane)
    for at in (0, 1, lanes, 1000, 3999):
        before = [
            [int(((source == s) & (rows % lanes == x))[:at].sum()) for x in range(lanes)] for s in range(mixing.sources)
        ]
        assert mixing.drawn(at).tolist() == before
    shuffled_rows = np.array([3999, 5, 1200, 0])
    assert np.array_equal(mixing.place(shuffled_rows)[1], row[shuffled_rows])
    # Far out, the next rows go on where the counts say.
    drawn = mixing.drawn(far)
    source, row = mixing.place(far + np.arange(lanes))
    lane = (far + np.arange(lanes)) % lanes
    assert np.array_equal(row, drawn[source, lane] * lanes + lane)


@settings(max_examples=30, deadline=None)
@given(mixtures())
def test_reference(mixture: tuple[int, list[tuple[int, list[int]]]]) -> None:
    """The slow reference has the same rows."""
    lanes, asked = mixture
    stages = stages_of(lanes, asked)
    slow = [reference.Stage(start, list(one.counts), one.step, one.stride) for start, one in stages]
    got = Mixing(stages).place(np.arange(3000))
    assert list(zip(*(one.tolist() for one in got), strict=True)) == reference.mixture_rows(slow, lanes, 3000)


MANY = [2, 50, 50, 2, 2, 2, 2, 1, 2, 1, 50, 3, 1, 50, 50, 1, 2, 1, 3, 1]


@pytest.mark.parametrize(("good", "place"), [(2, 2), (4, 2)])
def test_search(monkeypatch: pytest.MonkeyPatch, good: int, place: int) -> None:
    """Pairs that are given up early change nothing: the first good one is found, or else the best of all."""
    monkeypatch.setattr(module, "_GOOD", good)
    counts = tuple(quantise(MANY, 12))
    m, pairs = sum(counts), []
    for stride in coprimes(12):
        for near in coprimes(m // 12):
            k = next(k % 12 for k in range(7, 19) if gcd(near + k % 12 * (m // 12), m) == 1)
            pairs.append((near + k * (m // 12), stride))
    errors = [slot_error(Slots(counts, 12, *pair), 1 << 18) for pair in pairs]
    wanted = next((n for n, error in enumerate(errors) if 2 * error <= 7 * m), errors.index(min(errors)))
    assert wanted == place
    assert (min(errors) * 2 > 7 * m) == (good == 2)
    assert module._constants.__wrapped__(counts, 12) == pairs[wanted]


def test_refused() -> None:
    """Shares without a slot, and stages that no lane can begin, are refused."""
    with pytest.raises(
        ValueError, match=r"source 1 has a share of 1e-09, which is none of 786,432 slots \(order.md 10"
    ):
        quantise([1, 1e-9], 12)
    slots = spread((1536, 1536), 12)
    with pytest.raises(ValueError, match=r"ascending multiples of 12 rows from 0 on, not at \[0, 18\]"):
        Mixing([(0, slots), (18, slots)])
