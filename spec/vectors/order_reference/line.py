"""Sections 2 to 5 of order.md: keys, permutations, plan spans, lanes and the token line.

A view is told by the lengths of its samples and by its stored spans; a place in it by a pair (sample, values of that
sample before the place).
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import NamedTuple

import xxhash

Place = tuple[int, int]
Unit = tuple[int, int, int]
"""A sample and which of its stored values, from and to."""
Segment = tuple[int, int, int]
"""A sample and which of its effective values, from and to, inserted ids included."""

M64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
BLOCK, SPAN, MAX_SPANS = 1 << 15, 1 << 18, 1 << 20


# 2. Keys
def mix(z: int) -> int:
    """2.1"""
    z ^= z >> 30
    z = z * 0xBF58476D1CE4E5B9 & M64
    z ^= z >> 27
    z = z * 0x94D049BB133111EB & M64
    return z ^ z >> 31


def key(seed: int, purpose: int, epoch: int, lane: int = 0, window: int = 0, source: int = 0) -> int:
    """2.2"""
    return int(xxhash.xxh64_intdigest(struct.pack("<6Q", seed, purpose, source, epoch, lane, window), 0))


# 3. Permutations
def permute(place: int, n: int, k: int) -> int:
    """3.1"""
    if n == 1:
        return 0
    bits = max(2, (n - 1).bit_length())
    high_bits = bits // 2
    low_bits = bits - high_bits
    x = place
    while True:
        high, low = x >> low_bits, x & (1 << low_bits) - 1
        for r in range(6):
            round_key = mix(k + (r + 1) * GOLDEN & M64)
            if r % 2 == 0:
                high ^= mix(low ^ round_key) & (1 << high_bits) - 1
            else:
                low ^= mix(high ^ round_key) & (1 << low_bits) - 1
        x = high << low_bits | low
        if x < n:
            return x


def shuffled(n: int, k: int) -> list[int]:
    """3.2"""
    bits = max(n - 1, 0).bit_length()
    values = [(mix(k + (i + 1) * GOLDEN & M64) >> bits << bits) | i for i in range(n)]
    return [value & (1 << bits) - 1 for value in sorted(values)]


class View(NamedTuple):
    """Lengths of all samples; stored spans as (samples, values, lead); whether ids are inserted; weights, if it has."""

    lengths: list[int]
    spans: list[tuple[int, int, int]]
    bos: bool = False
    eos: bool = False
    weights: list[int] | None = None

    def effective(self, sample: int) -> int:
        """Values of a sample with inserted ids (4.5)."""
        return self.lengths[sample] + self.bos + self.eos

    def units(self, start: Place, stop: Place) -> list[Unit]:
        """Samples and parts of samples between two places (4.4)."""
        last = stop[0] + (stop[1] > 0)
        found = []
        for sample in range(start[0], last):
            first = start[1] if sample == start[0] else 0
            end = stop[1] if sample == stop[0] else self.lengths[sample]
            found.append((sample, first, end))
        return found

    def segment(self, unit: Unit) -> Segment:
        """The effective values of a unit (4.5)."""
        sample, first, end = unit
        whole = end == self.lengths[sample]
        return sample, first + (self.bos and first > 0), end + self.bos + (self.eos and whole)


def size(segments: list[Segment] | list[Unit]) -> int:
    """Values of some segments or units."""
    return sum(end - first for _, first, end in segments)


# 4. Plan spans
def stored_places(view: View) -> list[Place]:
    """4.1"""
    starts = [0]
    for length in view.lengths:
        starts.append(starts[-1] + length)
    places, first, offset = [], 0, 0
    for samples, values, lead in view.spans:
        places.append((first - 1, offset - starts[first - 1]) if lead and not samples else (first, 0))
        first, offset = first + samples, offset + values
    return [*places, (len(view.lengths), 0)]


def target(total: int, lanes: int) -> int:
    """4.2"""
    return max(min(max(total // (16 * lanes), BLOCK), SPAN), -(-total // MAX_SPANS))


def pieces(units: list[Unit], long: int) -> list[tuple[int, int]]:
    """4.4: where pieces begin, as unit and values of the unit before it"""
    found, held = [], 0
    for number, (_, first, end) in enumerate(units):
        length = end - first
        if length > 2 * BLOCK:
            parts = length // long if length > 2 * long else 1
            found += [(number, part * long) for part in range(parts)]
            held = BLOCK
        else:
            if number == 0 or held >= BLOCK:
                found.append((number, 0))
                held = 0
            held += length
    return found


def plan(view: View, wanted: int, *, whole: bool = False, split_long: bool = True) -> list[Place]:
    """4.3; without the cuts inside of samples where rows are made of whole ones, and without step 1 where those are
    not shuffled (6.5)"""
    places = stored_places(view)
    split: list[Place] = []
    for start, stop in pairwise(places):
        split.append(start)
        units = view.units(start, stop)
        values = size(units)
        if values < 2 * wanted or not split_long:
            continue
        count = values // wanted
        begins = [
            (size(units[:n]) + k, units[n][0], units[n][1] + k) for n, k in pieces(units, wanted // BLOCK * BLOCK)
        ]
        for part in range(1, count):
            later = [begin for begin in begins if begin[0] >= part * values // count]
            if later and later[0][1:] != split[-1]:
                split.append(later[0][1:])
    if whole:
        split = [(sample, before) for sample, before in split if not before]
    kept, offset, cell = [split[0]], 0, 0
    for before, place in pairwise(split):
        offset += size(view.units(before, place))
        if offset // wanted != cell:
            kept.append(place)
        cell = offset // wanted
    return [*kept, places[-1]]


# 5. Lanes and windows
def lane_count(total: int) -> int:
    """5.1"""
    return 12 if total < 1 << 27 else 48 if total < 1 << 32 else 192 if total < 1 << 37 else 768


def window_values(buffer: int, lanes: int) -> int:
    """5.3"""
    return min(max(buffer // (2 * lanes), 1 << 16), 1 << 22)


def lane_windows(view: View, spans: list[tuple[Place, Place]], lane: int, lanes: int, window: int) -> list[list[Unit]]:
    """5.4"""
    found: list[list[Unit]] = [[]]
    at = 0
    for start, stop in spans:
        units = view.units(start, stop)
        begins = pieces(units, window // BLOCK * BLOCK)
        fresh = True
        for (first, k), (last, end) in pairwise([*begins, (len(units), 0)]):
            while at >= (lane + 1) * window // lanes + (len(found) - 1) * window:
                found.append([])
                fresh = True
            piece = list(units[first : last + (end > 0)])
            if end:
                piece[-1] = (piece[-1][0], piece[-1][1], units[last][1] + end)
            if k:
                piece[0] = (piece[0][0], units[first][1] + k, piece[0][2])
            at += size([view.segment(unit) for unit in piece])
            if k and not fresh:
                sample, begin, _ = found[-1].pop()
                piece[0] = (sample, begin, piece[0][2])
            found[-1] += piece
            fresh = False
    return found


class Epoch(NamedTuple):
    """The token line of an epoch, and where its lanes begin on it."""

    line: list[Segment]
    lane_starts: list[int]


def is_pool(view: View, buffer: int) -> bool:
    """5.5"""
    return 2 * sum(view.lengths) + 8 * len(view.lengths) <= buffer


def epoch_line(
    view: View, *, seed: int, epoch: int, shuffle: bool, lanes: int | None, buffer: int, source: int = 0
) -> Epoch:
    """5"""
    whole = [view.segment((sample, 0, length)) for sample, length in enumerate(view.lengths)]
    if not shuffle:
        return Epoch(whole, [0, size(whole)])
    total = sum(view.lengths)
    count = lanes or lane_count(total)
    if is_pool(view, buffer):
        items = [segment for segment in whole if segment[1] < segment[2]]
        line = [items[i] for i in shuffled(len(items), key(seed, 3, epoch, source=source))]
        return Epoch(line, [size(line) * lane // count for lane in range(count + 1)])
    places = plan(view, target(total, count))
    n = len(places) - 1
    dealt = [permute(k, n, key(seed, 1, epoch, source=source)) for k in range(n)]
    line, starts = [], [0]
    for lane in range(count):
        spans = [(places[span], places[span + 1]) for span in dealt[lane::count]]
        windows = lane_windows(view, spans, lane, count, window_values(buffer, count))
        for number, units in enumerate(windows):
            items = [segment for unit in units if (segment := view.segment(unit))[1] < segment[2]]
            line += [items[i] for i in shuffled(len(items), key(seed, 2, epoch, lane, number, source))]
        starts.append(size(line))
    return Epoch(line, starts)


def stored(lengths: list[int]) -> list[tuple[int, int, int]]:
    """The stored spans of one shard, as the container format makes them: (samples, values, lead)."""
    blocks: list[list[int]] = []
    starts = values = 0
    for length in lengths:
        starts += 1
        if length > 2 * BLOCK:
            if values:
                blocks.append([starts - 1, values, 0])
                starts, values = 1, 0
            count = length // BLOCK
            blocks.append([starts, BLOCK, 0])
            blocks += [[0, BLOCK, BLOCK] for _ in range(count - 2)]
            blocks.append([0, length - (count - 1) * BLOCK, length - (count - 1) * BLOCK])
            starts = values = 0
            continue
        values += length
        if values >= BLOCK:
            blocks.append([starts, values, 0])
            starts = values = 0
    if values:
        blocks.append([starts, values, 0])
        starts = 0
    spans: list[list[int]] = []
    for block in blocks:
        if not spans or spans[-1][1] >= SPAN:
            spans.append([0, 0, 0])
        if not spans[-1][0]:
            spans[-1][2] += block[2]
        spans[-1][0] += block[0]
        spans[-1][1] += block[1]
    if starts and spans:
        spans[-1][0] += starts
    elif starts:
        spans.append([starts, 0, 0])
    return [(samples, values, lead) for samples, values, lead in spans]
