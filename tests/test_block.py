"""Where blocks and spans end, and the table of a column, against slow readings of format.md 4.3, 4.5 and 7.3."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tokstore as ts
from contracts import allocates_at_most, check_reader
from tokstore import block as block_module
from tokstore.block import BlockTable, cut_fixed, cut_ragged, first_rows, spans_of
from tokstore.errors import CorruptError
from tokstore.format import COLUMN_ENTRY, FLAG_OPTIONAL, FLAG_RAGGED, FLAG_RANGES
from tokstore.packed import PackedReader
from tokstore.ranges import encode_ranges, range_dtype, range_of

LENGTHS = st.lists(st.one_of(st.just(0), st.integers(1, 9), st.integers(1, 60)), max_size=30)


def slow_cut(lengths: list[int], target: int) -> list[int]:
    """Cut sample by sample, as format.md 4.3 says."""
    bounds, begin, at = [0], 0, 0
    for length in lengths:
        if length > 2 * target:
            if at > begin:
                bounds.append(at)
            end = at + length
            while end - at > 2 * target:
                at += target
                bounds.append(at)
            bounds.append(end)
            begin = at = end
            continue
        at += length
        if at - begin >= target:
            bounds.append(at)
            begin = at
    if at > begin:
        bounds.append(at)
    return bounds


def slow_spans(bounds: list[int], lengths: list[int], rows: int, span: int) -> list[tuple[int, int, int, int]]:
    """Walk over blocks and samples one by one, as format.md 7.3 and 8.4 say."""
    counts = [b - a for a, b in pairwise(bounds)]
    if not counts:
        return [(0, rows, 0, 0)] if rows else []
    groups: list[list[int]] = [[]]
    for block in range(len(counts)):
        if sum(counts[one] for one in groups[-1]) >= span:
            groups.append([])
        groups[-1].append(block)
    starts = [sum(lengths[:row]) for row in range(rows)]
    found = []
    for number, group in enumerate(groups):
        first, end = bounds[group[0]], bounds[group[-1] + 1]
        is_last = number == len(groups) - 1
        mine = [row for row in range(rows) if starts[row] >= first and (starts[row] < end or is_last)]
        with_values = [starts[row] for row in mine if starts[row] < end]
        lead = (min(with_values) if with_values else end) - first
        found.append((len(group), len(mine), end - first, lead))
    return found


@example([1, 8, 1], 4)
@example([1, 9, 1], 4)
@given(LENGTHS, st.integers(1, 12))
def test_ragged_blocks_are_cut_as_the_page_says(lengths: list[int], target: int) -> None:
    """Blocks end at sample ends at or past the target; only samples above twice the target are cut."""
    assert cut_ragged(np.array(lengths, np.int64), target) == slow_cut(lengths, target)


@given(st.integers(0, 400), st.integers(1, 20), st.lists(st.integers(1, 60), max_size=12))
def test_fixed_blocks_hold_whole_rows(rows: int, target: int, steps: list[int]) -> None:
    """Blocks cover all rows without gaps, end on span ends where these are near, and none is far above the target."""
    ends = [end for end in np.cumsum(steps).tolist() if end < rows] + [rows] * (rows > 0)
    for span_ends in (ends, []):
        bounds = cut_fixed(rows, target, np.array(span_ends, np.int64))
        assert bounds[0] == 0
        assert bounds[-1] == rows
        sizes = [b - a for a, b in pairwise(bounds)]
        assert all(1 <= size <= 4 * target for size in sizes)
        assert all(size >= target for size in sizes[:-1])
        if span_ends and max(b - a for a, b in pairwise([0, *span_ends])) <= 3 * target:
            assert set(bounds) <= {0, *span_ends}


def test_fixed_blocks_never_pass_the_limit() -> None:
    """A span of ten million rows without values does not make a block of ten million (format.md 11)."""
    bounds = cut_fixed(10_000_000, 65_536, np.array([10_000_000]))
    assert max(b - a for a, b in pairwise(bounds)) <= 1 << 20


@given(LENGTHS, st.integers(1, 12), st.integers(1, 40))
def test_spans_are_what_the_page_says(lengths: list[int], target: int, span: int) -> None:
    """Blocks, samples, values and lead of every span, with cut samples and empty ones at every place."""
    bounds = slow_cut(lengths, target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_module, "SPAN_VALUES", span)
        spans = spans_of(bounds, np.array(lengths, np.int64), len(lengths))
    found = zip(spans.blocks, spans.samples, spans.values, spans.lead, strict=True)
    assert [tuple(map(int, one)) for one in found] == slow_spans(bounds, lengths, len(lengths), span)


@given(st.integers(0, 100), st.integers(1, 12), st.integers(1, 40))
def test_spans_of_fixed_columns_count_rows(rows: int, target: int, span: int) -> None:
    """For a primary column with one value per row, values are rows and nothing leads."""
    bounds = cut_fixed(rows, target, np.zeros(0, np.int64))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(block_module, "SPAN_VALUES", span)
        spans = spans_of(bounds, None, rows)
    assert spans.samples.tolist() == spans.values.tolist()
    assert int(spans.samples.sum()) == rows
    assert not spans.lead.any()


@given(LENGTHS.filter(sum), st.integers(1, 12))
def test_first_rows_hold_the_first_value(lengths: list[int], target: int) -> None:
    """The row that holds the first value of a block, never an empty one before it."""
    bounds = slow_cut(lengths, target)
    owner = [row for row, length in enumerate(lengths) for _ in range(length)]
    assert first_rows(bounds, np.array(lengths, np.int64)).tolist() == [owner[start] for start in bounds[:-1]]


@given(st.lists(st.floats(width=32)))
def test_ranges_of_floats(values: list[float]) -> None:
    """NaN has no part in a range, and zeros are widened: -0.0 as minimum, +0.0 as maximum."""
    found = range_of(np.array(values, np.float32))
    real = [value for value in values if not math.isnan(value)]
    if not real:
        assert found is None
        return
    assert found is not None
    assert (found[0], found[1]) == (min(real), max(real))
    assert found[0] != 0 or math.copysign(1, found[0]) == -1
    assert found[1] != 0 or math.copysign(1, found[1]) == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint64, np.float16, np.float64])
def test_ranges_are_exact(dtype: Any) -> None:
    """Ranges keep integers exact to 64 bits and floats without rounding."""
    info: Any = np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
    values = np.array([info.min, info.max], dtype)
    low, high = range_of(values) or (0, 0)
    kind = ts.Score(dtype) if np.dtype(dtype).kind == "f" else ts.Label()
    raw = encode_ranges([(low, high), None], np.dtype(dtype))
    wide = range_dtype(np.dtype(dtype))
    assert len(raw) == 1 + 4 * wide.itemsize
    assert raw[0] == 1
    assert np.frombuffer(raw, wide, 1, 1)[0] == info.min
    assert np.frombuffer(raw, wide, 1, 1 + 2 * wide.itemsize)[0] == info.max
    if np.dtype(dtype) in (np.dtype(np.int64), np.dtype(np.float16), np.dtype(np.float64)):
        present, lows, highs = block_module.decode_ranges(PackedReader(raw, "ranges", "r"), 2, kind)
        assert present.tolist() == [True, False]
        assert (lows[0], highs[0]) == (info.min, info.max)


def entry(blocks: int, values: int, stored: int, rows: int, flags: int) -> Any:
    """Make the column entry that a table belongs to."""
    made = np.zeros((), COLUMN_ENTRY)
    made["blocks"], made["values"], made["stored_bytes"], made["rows"], made["flags"] = (
        blocks,
        values,
        stored,
        rows,
        flags,
    )
    return made


@given(st.lists(st.integers(1, 50), min_size=1, max_size=9), st.booleans(), st.sampled_from(["tokens", "score"]))
def test_tables_round_trip(sizes: list[int], optional: bool, what: str) -> None:
    """All parts of a table come back, with those that only some columns have."""
    kind: Any = ts.Tokens(9, optional=optional) if what == "tokens" else ts.Score(optional=optional)
    blocks, flags = len(sizes), FLAG_OPTIONAL * optional | (FLAG_RAGGED if what == "tokens" else FLAG_RANGES)
    bounds = [0, *np.cumsum(sizes).tolist()]
    numbers = np.arange(blocks, dtype=np.int64)
    first = np.array(bounds[:-1]) if what == "score" else numbers  # a score of every row: nothing else is let through
    ranges = encode_ranges([(-i, i) if i % 2 else None for i in range(blocks)], kind.dtype) if what == "score" else b""
    raw = BlockTable.encode(
        64 + 100 * numbers, 7 + numbers, np.diff(bounds), first, numbers % 3, list(range(blocks)),
        numbers if optional else None, 0 * numbers if what == "score" else None, ranges,
    )  # fmt: skip
    found = BlockTable.decode(raw, entry(blocks, sum(sizes), 7 * blocks + int(numbers.sum()), 500, flags), kind)
    assert found.value_starts.tolist() == bounds
    assert found.offsets.tolist() == (64 + 100 * numbers).tolist()
    assert found.checksums.tolist() == list(range(blocks))
    assert (found.missing is None) == (not optional)
    if what == "score" and blocks > 1:
        largest = max(i for i in range(blocks) if i % 2)
        assert found.whole_range() == (-largest, largest)


@pytest.mark.hostile
@given(st.integers(1, 5), st.booleans())
def test_damaged_tables(blocks: int, optional: bool) -> None:
    """Damage gives another table or a `CorruptError`, within bounded memory."""
    numbers = np.arange(blocks, dtype=np.int64)
    raw = BlockTable.encode(
        64 + 8 * numbers, 8 + 0 * numbers, 1 + 0 * numbers, numbers, 0 * numbers, [0] * blocks,
        numbers if optional else None, 0 * numbers, encode_ranges([None] * blocks, np.dtype("<f4")),
    )  # fmt: skip
    about = entry(blocks, blocks, 8 * blocks, blocks, FLAG_RANGES | FLAG_OPTIONAL * optional)

    def read(data: bytes) -> list[int]:
        return BlockTable.decode(data, about, ts.Score(optional=optional)).value_starts.tolist()

    check_reader(read, raw, is_checked=False, flips=100, allowed=1 << 20)


def test_count_of_blocks_that_lies_is_not_allocated() -> None:
    """Sixteen million blocks in a table of a hundred bytes cost nothing."""
    with allocates_at_most(1 << 20), pytest.raises(CorruptError, match=r"format\.md 4\.5"):
        BlockTable.decode(bytes(100), entry(1 << 24, 1 << 24, 0, 1, FLAG_RAGGED), ts.Tokens(9))
