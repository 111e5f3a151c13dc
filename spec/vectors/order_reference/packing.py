"""What 6.4 and 6.5 of order.md do with lengths: which parts share a row. Step by step, one part at a time."""

from __future__ import annotations

Part = tuple[int, int]
"""A first place and the place after the last, on whatever the parts were told in."""


def group_rows(seq_len: int, window: int) -> int:
    """6.4: g"""
    fitting = [g for g in (8, 16, 32, 64, 128, 256, 512) if g * seq_len <= window]
    return max(fitting, default=8)


def group_values(g: int, seq_len: int) -> int:
    """6.4: Q"""
    return g * seq_len - -(-g * seq_len // 256)


def long_parts(items: list[Part], seq_len: int) -> list[Part]:
    """6.4: parts of L values and one with the rest, in place of what is longer than L"""
    found = []
    for start, stop in items:
        while stop - start > seq_len:
            found.append((start, start + seq_len))
            start += seq_len
        found.append((start, stop))
    return found


def packed(lengths: list[int], seq_len: int, r: int) -> list[int | None]:
    """6.4 steps 1 and 2: the row of every part, or None for one that is left over"""
    row_of: list[int | None] = [None] * len(lengths)
    longest_first = sorted(range(len(lengths)), key=lambda part: -lengths[part])
    gap = [seq_len] * r

    had_since: list[int] = []  # of each row begun: the number of the part that made its gap what it is
    long = [part for part in longest_first if lengths[part] > seq_len // 8]
    for number, part in enumerate(long):
        n = lengths[part]
        candidates = [(gap[row], since, row) for row, since in enumerate(had_since) if gap[row] >= n]
        if candidates:
            _, _, row = min(candidates)
            had_since[row] = number
        elif len(had_since) < r:
            row = len(had_since)
            had_since.append(number)
        else:
            continue
        row_of[part] = row
        gap[row] -= n

    left = [part for part in longest_first if lengths[part] <= seq_len // 8]
    while left:
        rows = [row for row in range(r) if gap[row] >= lengths[left[-1]]]
        if not rows:
            break
        before = -1
        taken = []
        for row in sorted(rows, key=lambda row: -gap[row]):
            first_that_fits = [lengths[part] <= gap[row] for part in left].index(True)
            before = max(first_that_fits, before + 1)
            if before >= len(left):
                break
            taken.append((row, left[before]))
        for row, part in taken:
            row_of[part] = row
            gap[row] -= lengths[part]
            left.remove(part)
    return row_of


def fit_parts(items: list[Part], seq_len: int, r: int) -> list[list[Part]]:
    """6.4: the parts of each packed row, in the order of the line"""
    parts = long_parts(items, seq_len)
    row_of = packed([stop - start for start, stop in parts], seq_len, r)
    rows: list[list[Part]] = [[] for _ in range(r)]
    left = []
    for part, row in zip(parts, row_of, strict=True):
        if row is None:
            left.append(part)
        else:
            rows[row].append(part)
    gap = [seq_len - sum(stop - start for start, stop in row) for row in rows]
    gaps = sorted(range(r), key=lambda row: -gap[row])
    for start, stop in sorted(left, key=lambda part: part[0] - part[1]):
        at = start
        while at < stop:
            row = gaps[0]
            n = min(gap[row], stop - at)
            rows[row].append((at, at + n))
            at += n
            gap[row] -= n
            if not gap[row]:
                gaps.pop(0)
    rows = [sorted(row) for row in rows]
    while any(not row for row in rows) and any(sum(stop - start for start, stop in row) > 1 for row in rows):
        lowest = next(number for number, row in enumerate(rows) if not row)
        values = [sum(stop - start for start, stop in row) for row in rows]
        fullest = max(range(r), key=lambda number: (values[number], -number))
        stays, kept, moved = values[fullest] - values[fullest] // 2, [], []
        for start, stop in rows[fullest]:
            middle = min(stop, start + stays)
            stays -= middle - start
            kept += [(start, middle)] if middle > start else []
            moved += [(middle, stop)] if stop > middle else []
        rows[fullest], rows[lowest] = kept, moved
    return rows


def whole_rows(lengths: list[int], seq_len: int) -> list[list[int]]:
    """6.5: the items of each row of a plan span, for items in the order in which the page puts them before"""
    left = list(range(len(lengths)))
    rows: list[list[int]] = []
    while left:
        further = -(-sum(lengths[item] for item in left) // seq_len)
        row_of = packed([lengths[item] for item in left], seq_len, further)
        rows += [[item for item, row in zip(left, row_of, strict=True) if row == number] for number in range(further)]
        left = [item for item, row in zip(left, row_of, strict=True) if row is None]
    return rows
