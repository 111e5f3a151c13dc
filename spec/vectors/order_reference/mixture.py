"""Section 10 of order.md: the source of every row of a mixture, and which of its rows it is. One row at a time."""

from __future__ import annotations

from fractions import Fraction
from math import gcd
from typing import NamedTuple


# 10.1
def quantise(shares: list[Fraction], lanes: int) -> list[int]:
    """The slots of every source."""
    total = sum(shares, Fraction(0))
    m = lanes * -(-3072 // lanes)
    while True:
        exact = [share / total * m for share in shares]
        slots = [int(one) for one in exact]
        for number in sorted(range(len(shares)), key=lambda n: slots[n] - exact[n])[: m - sum(slots)]:
            slots[number] += 1
        if all(abs(n - one) <= one / 1000 for n, one in zip(slots, exact, strict=True)) or 2 * m > 1 << 20:
            return slots
        m *= 2


# 10.2
def near(n: int) -> list[int]:
    """The candidates of n."""
    found = []
    for h in range(1, n + 1):
        if gcd(h, n) == 1 and 618 * n // 1000 - 32 <= h <= -(-618 * n // 1000) + 32:
            quotients = continued_fraction(n, h)
            found.append((max(quotients), sum(quotients), abs(1000 * h - 618 * n), h))
    return [one[-1] for one in sorted(found)[:4]]


def continued_fraction(n: int, h: int) -> list[int]:
    """The partial quotients of n / h."""
    return [n // h, *continued_fraction(h, n % h)] if h else []


class Stage(NamedTuple):
    """Where a stage begins, the slots of every source, and its constants."""

    start: int
    slots: list[int]
    g: int
    h: int


def source_at(stage: Stage, lanes: int, lane: int, step: int) -> int:
    """The source of a lane, so many steps after the beginning of the stage."""
    m = sum(stage.slots)
    slot = (step * stage.g + lane * stage.h % lanes * (m // lanes)) % m
    source = 0
    while slot >= stage.slots[source]:
        slot -= stage.slots[source]
        source += 1
    return source


def deviation(stage: Stage, lanes: int, rows: int) -> int:
    """How many M-ths of a row a source is off after any of the first rows, at most."""
    m, came, worst = sum(stage.slots), [0] * len(stage.slots), 0
    for i in range(rows):
        source = source_at(stage, lanes, i % lanes, i // lanes)
        worst = max(worst, i * stage.slots[source] - came[source] * m)
        came[source] += 1
        worst = max(worst, came[source] * m - (i + 1) * stage.slots[source])
    return worst


def stage_of(start: int, slots: list[int], lanes: int) -> Stage:
    """A stage with the constants that the page chooses."""
    m = sum(slots)
    width = m // lanes
    found: list[tuple[int, int, Stage]] = []
    for h in near(lanes):
        for low in near(width):
            k = 618 * lanes // 1000
            while gcd(low + k * width, m) > 1:
                k = (k + 1) % lanes
            g = low + k * width
            stage = Stage(start, slots, g, h)
            off = deviation(stage, lanes, max(m, min(m * lanes, 1 << 18)))
            if 2 * off <= 7 * m:
                return stage
            found.append((off, len(found), stage))
    return min(found)[2]


# 10.3 and 10.4
def mixture_rows(stages: list[Stage], lanes: int, rows: int) -> list[tuple[int, int]]:
    """The source of each of the first rows, and which of its rows it is, counted over all its epochs."""
    draws = [[0] * lanes for _ in stages[0].slots]
    found = []
    for i in range(rows):
        stage = [one for one in stages if one.start <= i][-1]
        lane = i % lanes
        source = source_at(stage, lanes, lane, (i - stage.start) // lanes)
        found.append((source, draws[source][lane] * lanes + lane))
        draws[source][lane] += 1
    return found


def stage_start(row: int, lanes: int) -> int:
    """10.4: where a stage that is asked for at a row begins"""
    return -(-row // lanes) * lanes


def source_buffer(buffer: int, stages: list[Stage], source: int) -> int:
    """10.5"""
    return max(1 << 16, *(buffer * stage.slots[source] // sum(stage.slots) for stage in stages))


# 10.6 and 10.7
def lane_rows(
    stages: list[Stage], lanes: int, lane: int, limits: list[int | None], most: int
) -> tuple[list[tuple[int, int]], bool]:
    """The first rows of a lane, at most `most`, and whether these are all; each is (source, row of the source)."""
    draws, begun, step = [0] * len(limits), -1, 0
    found: list[tuple[int, int]] = []
    while len(found) < most:
        number = max(n for n, stage in enumerate(stages) if stage.start <= len(found) * lanes)
        if number != begun:
            begun, step = number, 0
        stage = stages[number]
        left = [n for n, limit in enumerate(limits) if limit is None or draws[n] * lanes + lane < limit]
        if not any(stage.slots[n] for n in left):
            return found, True
        source = source_at(stage, lanes, lane, step)
        step += 1
        if source in left:
            found.append((source, draws[source] * lanes + lane))
            draws[source] += 1
    return found, False


def joined(own: list[list[tuple[int, int]]]) -> list[tuple[int, int]]:
    """The rows of lanes that have ended, one from each lane in turn; lanes that have more lend to the others."""
    lanes, rows = len(own), sum(map(len, own))
    turns = [len(range(lane, rows, lanes)) for lane in range(lanes)]
    over = [row for one, n in zip(own, turns, strict=True) for row in one[n:]]
    for one, n in zip(own, turns, strict=True):
        while len(one) < n:
            one.append(over.pop(0))
    return [own[i % lanes][i // lanes] for i in range(rows)]


# 10.8
def ending_rows(
    stages: list[Stage], lanes: int, epoch: list[int], caps: list[int | None], stop: str | None, most: int
) -> tuple[list[tuple[int, int]], bool] | None:
    """The first rows of a mixture, and whether these are all; None for one that a loader refuses.

    `most` is how many are worked out, and more than any stage begins at.
    """
    once = None if stop in (None, "all_exhausted") else 1
    caps = [once if cap is None else cap for cap in caps]
    limits = [None if cap is None else cap * n for cap, n in zip(caps, epoch, strict=True)]
    told = [lane_rows(stages, lanes, lane, limits, -(-most // lanes)) for lane in range(lanes)]
    own = [rows for rows, _ in told]
    short = [stage.start for stage in stages if any(len(rows) * lanes < stage.start for rows in own)]
    if short:  # Only a mixture that has ended before that stage is good, and then the stage has no part in it.
        kept = [stage for stage in stages if stage.start < short[0]]
        if stop is None:
            return None
        found = ending_rows(kept, lanes, epoch, caps, stop, most)
        return found if found and found[1] and len(found[0]) <= short[0] else None
    all_ended = all(ended for _, ended in told)
    rows = joined(own) if all_ended else [own[i % lanes][i // lanes] for i in range(min(map(len, own)) * lanes)]
    if stop is None:
        return rows, all_ended
    asked = asked_of(epoch, limits, stop)
    left = list(asked)
    for number, (source, row) in enumerate(rows):
        left[source] -= row < asked[source]
        if (0 in left) if stop == "first_exhausted" else not any(left):
            return rows[: number + 1], True
    return None


def asked_of(epoch: list[int], limits: list[int | None], stop: str) -> list[int]:
    """How many rows of each source a rule asks for."""
    return [n if stop == "all_exhausted" or limit is None else limit for n, limit in zip(epoch, limits, strict=True)]
