"""The entropy coder: tables sum to what they should, lanes come back alone and jointly, damage is found (codecs.md 5.1,
5.2)."""

from __future__ import annotations

import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from contracts import allocates_at_most, check_reader
from tokstore.codecs.rans import Choice, LaneShape, LaneTables, decode_lanes, encode_lanes, most_lane_bytes
from tokstore.codecs.rans_tables import FrequencyTables, quantise
from tokstore.errors import CorruptError

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "spec" / "readers" / "python"))

from tokread.codes import decode_lanes as read_lanes

Symbols = NDArray[np.uint16]


class AfterPrevious:
    """Take the table that has the number of the symbol two before; the last table where there is none."""

    history = 2

    def __init__(self, tables: int, symbols: int) -> None:
        self._by_symbol = np.append(np.arange(symbols) % tables, tables - 1)

    def tables(self, left: int, rows: Symbols) -> NDArray[np.int64]:
        """Return the tables; see `Choice`."""
        found: NDArray[np.int64] = self._by_symbol.take(rows[0])
        return found


def random_tables(seed: int, count: int, symbols: int, log: int, skew: float = 1.0) -> FrequencyTables:
    """Make tables in which every symbol occurs, more or less evenly."""
    weights = np.random.default_rng(seed).gamma(1 / skew, size=(count, symbols)) * 1000
    return FrequencyTables(quantise(weights.astype(np.int64) + 1, log), log)


def random_block(seed: int, shape: LaneShape, symbols: int) -> tuple[Symbols, LaneShape]:
    """Make the symbols of a block, small ones more often than large ones."""
    drawn = np.random.default_rng(seed).random((shape.length, shape.lanes)) ** 3 * symbols
    return drawn.astype(np.uint16), shape


def lanes_of(symbols: Symbols, shape: LaneShape) -> list[list[int]]:
    """Return the symbols of every lane."""
    lanes = symbols.T.tolist()
    return [*lanes[:-1], lanes[-1][shape.length - shape.last :]]


def slow_encode(tables: list[list[int]], log: int, lanes: list[list[int]], tail: int) -> bytes:
    """Encode lanes as codecs.md 5.2 says, with a given tail, one symbol at a time; lane i has table i."""
    states, words = [0] * len(lanes), []
    steps = len(lanes[0])
    for left in range(1, steps + 1):
        for lane in reversed(range(len(lanes))):
            if left > len(lanes[lane]):
                continue
            x, table = states[lane], tables[lane]
            symbol = lanes[lane][-left]
            if left == tail + 1:
                x += 1 << 16
            if left > tail and x >= table[symbol] << 32 - log:
                words.append(x & 0xFFFF)
                x >>= 16
            states[lane] = (x // table[symbol] << log) + sum(table[:symbol]) + x % table[symbol]
    return struct.pack(f"<H{len(states)}I{len(words)}H", tail, *states, *reversed(words))


@given(st.integers(8, 15), st.integers(0, 10_000), st.integers(1, 250), st.sampled_from([1, 30, 10**6]), st.booleans())
def test_frequencies_sum_to_the_whole(log: int, seed: int, symbols: int, largest: int, is_rounded: bool) -> None:
    """Each row sums to 2^log; what was counted gets 1 or more, what was not gets 0; levels hold for all but one."""
    rng = np.random.default_rng(seed)
    counts = (rng.random((3, symbols)) ** 8 * largest).astype(np.int64)
    levels = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]) if is_rounded else None
    found = quantise(counts, log, levels).astype(np.int64)
    assert found.sum(axis=1).tolist() == [1 << log] * 3
    empty = counts.sum(axis=1) == 0
    assert ((found > 0) == (counts > 0))[~empty].all()
    assert found[empty, 1:].sum() == 0
    if levels is not None:
        assert (~np.isin(found, [0, *levels])).sum(axis=1).max() <= 1
    tables = FrequencyTables(found, log)
    assert tables.frequencies.tolist() == found.tolist()
    for row, slots in zip(found, tables.slots.reshape(3, -1), strict=True):
        assert np.bincount(slots, minlength=symbols).tolist() == row.tolist()
        assert (np.diff(slots.astype(int)) >= 0).all()


def test_frequencies_are_near_the_shares() -> None:
    """Rounding costs less than a thousandth of a bit per symbol where every share is large."""
    counts = np.array([[1000, 2000, 3000, 5000, 700]])
    found = quantise(counts, 12)[0] / 4096
    shares = counts[0] / counts.sum()
    assert 0 <= float((shares * np.log2(shares / found)).sum()) < 1e-3


@pytest.mark.parametrize(("row", "log"), [([255], 8), ([257], 8), ([256, 0, 1], 8), ([0, 0], 8), ([300, -44], 8)])
def test_wrong_sums_are_refused(row: list[int], log: int) -> None:
    """A table that does not sum to 2^log, in the second row too."""
    with pytest.raises(CorruptError, match=r"codecs\.md 5\.1"):
        FrequencyTables(np.array([row]), log)
    good = [1 << log] + [0] * (len(row) - 1)
    with pytest.raises(CorruptError, match=r"codecs\.md 5\.1"):
        FrequencyTables(np.array([good, row]), log)


@given(st.integers(1, 5000), st.integers(1, 300))
def test_lanes_hold_all_symbols(symbols: int, length: int) -> None:
    """No lane is empty, none longer than wanted, and together they have every symbol."""
    shape = LaneShape.of(symbols, length)
    assert shape.symbols == symbols
    assert 1 <= shape.last <= shape.length <= length
    assert (shape.lanes - 1) * length < symbols


@given(st.data())
def test_blocks_come_back_alone_and_jointly(data: st.DataObject) -> None:
    """Whatever the shapes, logs, tables and ways to choose them: bytes and symbols are the same jointly, one by one,
    and for the readable reader."""
    log, seed = data.draw(st.integers(8, 15)), data.draw(st.integers(0, 10_000))
    symbols = data.draw(st.sampled_from([1, 2, 3, 17, 200]))
    tables = random_tables(seed, data.draw(st.integers(1, 4)), symbols, log, data.draw(st.sampled_from([1.0, 20.0])))
    shapes = [
        LaneShape.of(data.draw(st.integers(1, 400)), data.draw(st.sampled_from([1, 5, 37, 100])))
        for _ in range(data.draw(st.integers(1, 4)))
    ]
    blocks = [random_block(seed + i, shape, symbols) for i, shape in enumerate(shapes)]
    numbers = [np.arange(shape.lanes) % tables.count for shape in shapes]
    kind = data.draw(st.sampled_from(["one", "lane", "context"]))
    context: Choice | None = AfterPrevious(tables.count, symbols) if kind == "context" else None
    joint: Choice | None = LaneTables(np.concatenate(numbers)) if kind == "lane" else context
    coded = encode_lanes(tables, blocks, joint)
    found = decode_lanes(tables, [(one or b"", shape) for one, shape in zip(coded, shapes, strict=True)], joint)
    frequencies: list[list[int]] = tables.frequencies.tolist()
    for (given_, shape), one, back, table in zip(blocks, coded, found, numbers, strict=True):
        assert one is not None
        assert lanes_of(back, shape) == lanes_of(given_, shape)
        single: Choice | None = LaneTables(table) if kind == "lane" else context
        assert encode_lanes(tables, [(given_, shape)], single) == [one]
        assert lanes_of(decode_lanes(tables, [(memoryview(one), shape)], single)[0], shape) == lanes_of(back, shape)
        low, high = most_lane_bytes(shape)
        assert low <= len(one) <= high

        def choose(lane: int, before: list[int], table: Any = table) -> list[int]:
            if kind == "context":
                return frequencies[before[-2] % tables.count if len(before) > 1 else -1]
            return frequencies[table[lane] if kind == "lane" else 0]

        lengths = [len(lane) for lane in lanes_of(given_, shape)]
        assert read_lanes(one, lengths, log, choose) == lanes_of(given_, shape)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(8, 15), st.integers(0, 3))
def test_any_tail_is_read(seed: int, log: int, tail: int) -> None:
    """A tail of 0 or of fewer symbols than would fit, as another writer may choose; the encoder's own equals the slow
    encoder's with the same tail."""
    tables, shape = random_tables(seed, 3, 9, log), LaneShape(3, 60, 1 + seed % 60)
    symbols, _ = random_block(seed, shape, 9)
    lanes, choice = lanes_of(symbols, shape), LaneTables(np.arange(3))
    tail = min(tail, 30 // log)
    coded = slow_encode(tables.frequencies.tolist(), log, lanes, tail)
    assert lanes_of(decode_lanes(tables, [(coded, shape)], choice)[0], shape) == lanes
    own = encode_lanes(tables, [(symbols, shape)], choice)[0]
    assert own is not None
    assert own == slow_encode(tables.frequencies.tolist(), log, lanes, struct.unpack_from("<H", own)[0])
    assert len(own) <= len(coded)


def test_what_cannot_be_coded_is_told() -> None:
    """A symbol of frequency 0 spoils its own block only, and only where it is."""
    tables = FrequencyTables(np.array([[200, 56, 0]]), 8)
    shape = LaneShape(2, 5, 3)
    good = np.array([[0, 2], [1, 2], [0, 1], [0, 0], [1, 0]], np.uint16)
    bad = good.copy()
    bad[3, 0] = 2
    coded = encode_lanes(tables, [(good, shape), (bad, shape), (good, shape)])
    assert coded[1] is None
    assert coded[0] is not None
    assert coded[0] == coded[2]


@pytest.mark.parametrize("seed", range(3))
def test_lanes_lose_little(seed: int) -> None:
    """Lanes take 24 bits above the code length of their symbols, at most, of which 8 are of the word size."""
    tables, shape = random_tables(seed, 1, 40, 12), LaneShape(256, 300, 300)
    shares = tables.frequencies[0] / 4096
    symbols = np.random.default_rng(seed).choice(40, size=(300, 256), p=shares).astype(np.uint16)
    coded = encode_lanes(tables, [(symbols, shape)])[0]
    assert coded is not None
    least = -np.log2(shares)[symbols].sum()
    assert least <= 8 * len(coded) < least + 24 * 256


def damaged_block(seed: int) -> tuple[FrequencyTables, LaneShape, bytes]:
    """Make a small block with words and a short last lane."""
    tables, shape = random_tables(seed, 1, 30, 10), LaneShape(4, 12, 7)
    coded = encode_lanes(tables, [random_block(seed, shape, 30)])[0]
    assert coded is not None
    return tables, shape, coded


@pytest.mark.hostile
def test_all_damage_is_found() -> None:
    """Every truncation and every flipped bit of a block breaks a rule: the last states tell."""
    tables, shape, coded = damaged_block(1)

    def read(data: bytes) -> list[list[int]]:
        return lanes_of(decode_lanes(tables, [(data, shape)])[0], shape)

    def read_slowly(data: bytes) -> list[list[int]]:
        return read_lanes(data, [12, 12, 12, 7], 10, lambda _lane, _before: tables.frequencies[0].tolist())

    check_reader(read, coded, is_checked=False, allowed=1 << 20)
    assert read(coded) == read_slowly(coded)
    assert len(coded) > 2 + 4 * 4 + 6


@pytest.mark.hostile
@given(st.integers(0, 20), st.binary(max_size=120))
def test_any_bytes(seed: int, data: bytes) -> None:
    """Bytes that nobody encoded are refused, or other symbols; a tail beyond the lanes is always refused."""
    tables, shape, _ = damaged_block(seed)
    with pytest.raises(CorruptError, match=r"codecs\.md 5\.2"):
        decode_lanes(tables, [(b"\xff\xff" + data, shape)])
    with suppress(CorruptError):
        decode_lanes(tables, [(data, shape)])


@pytest.mark.parametrize(
    "change", ["tail beyond", "state below", "word too few", "word too many", "odd", "state ends high"]
)
def test_rules_of_lanes(change: str) -> None:
    """One block past each rule."""
    tables, shape, coded = damaged_block(2)
    states = 2
    bad = {
        "tail beyond": struct.pack("<H", 13) + coded[2:],
        "state below": coded[:states] + struct.pack("<I", 65_535) + coded[states + 4 :],
        "word too few": coded[:-2],
        "word too many": coded + b"\0\0",
        "odd": coded + b"\0",
        "state ends high": coded[:states] + struct.pack("<I", 1 << 31) + coded[states + 4 :],
    }[change]
    with allocates_at_most(1 << 20), pytest.raises(CorruptError, match=r"codecs\.md 5\.2"):
        decode_lanes(tables, [(bad, shape)])
    with pytest.raises(CorruptError, match=r"codecs\.md 5\.2"):
        decode_lanes(tables, [(coded, shape), (bad, shape)])
