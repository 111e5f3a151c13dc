"""Token ids out of lines of JSON without an object for each: the lists are cut out, and numpy reads all their digits.

Whatever is not plain, such as nested fields of the same name, fractions or 19 digits, is left to `json`, which gives
the same values or the error. Lists are joined, so that the work is a few array operations over many bytes, and most of
it is over bytes where they stand: two digits and then four are put together at every place, and only the last places of
numbers are picked. A line whose other fields are those of the line before is not parsed again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tokstore as ts

__all__ = ["IdLines", "ParsedLines", "id_lists", "parse_all"]

_MOST_DIGITS, _MOST_OF_INT32 = 18, 9
_AT_ONCE = 1 << 18  # with all that is made of it, it fits the cache of a processor
_COMMA, _SPACE, _ZERO = 44, 32, 48
_BOOLS = (b"true", b"false")

Row = Any
"""What `json` gives for a line, or the error that it raises."""


class ParsedLines:
    """Some lines.

    Attributes:
        rows: What each line holds, or the error; with 0 in the place of ids where they are in `ids`.
        ids: The ids of all lines, where every line is plain.
        has_bool: ``true`` or ``false`` stands in a line.
    """

    def __init__(self, rows: list[Row], ids: ts.Ragged | None, has_bool: bool) -> None:
        self.rows, self.ids, self.has_bool = rows, ids, has_bool


def parse_all(lines: Sequence[bytes]) -> ParsedLines:
    """Parse lines with `json` alone."""
    return ParsedLines([_parsed(one) for one in lines], None, any(word in one for one in lines for word in _BOOLS))


def _parsed(line: bytes) -> Row:
    """Return what a line holds, or the error."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return error


class IdLines:
    """Parse lines, of which one field has token ids.

    Args:
        name: The field.

    Example:
        >>> found = IdLines("ids").parse([b'{"ids": [3, 1], "n": 5}', b'{"ids": [], "n": 6}'])
        >>> found.rows, found.ids.to_list()
        ([{'ids': 0, 'n': 5}, {'ids': 0, 'n': 6}], [[3, 1], []])
        >>> IdLines("ids").parse([b'{"ids": [3, 1.5]}']).rows
        [{'ids': [3, 1.5]}]
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._quoted = json.dumps(name, ensure_ascii=False).encode()
        self._opening = re.compile(re.escape(self._quoted) + rb"\s*:\s*\[")

    def parse(self, lines: Sequence[bytes]) -> ParsedLines:
        """Return what lines hold."""
        rows: list[Row] = []
        bodies: list[bytes | None] = []
        head = tail = fields = None
        has_bool = False
        for line in lines:
            if head is not None and line.startswith(head):
                end = line.find(b"]", len(head))
                if end >= 0 and line[end:] == tail:  # all but the ids is as in the line before
                    rows.append(fields)
                    bodies.append(line[len(head) : end])
                    continue
            found = self._opening.search(line) if line.count(self._quoted) == 1 else None
            end = -1 if found is None else line.find(b"]", found.end())
            rest = line if found is None or end < 0 else line[: found.end() - 1] + b"0" + line[end + 1 :]
            has_bool = has_bool or any(word in rest for word in _BOOLS)
            row = _parsed(rest)
            if found is None or end < 0:
                rows.append(row)
                bodies.append(None)
            elif not isinstance(row, dict) or row.get(self._name) != 0:
                rows.append(_parsed(line))  # no JSON, or the field is inside another one
                bodies.append(None)
            else:
                rows.append(row)
                bodies.append(line[found.end() : end])
                head, tail, fields = line[: found.end()], line[end:], row
        plain = [one for one in bodies if one is not None]
        ids = _read(plain)
        if ids is None:
            return parse_all(lines)
        if len(plain) == len(lines):
            return ParsedLines(rows, ids, has_bool)
        lists = iter(ids)
        rows = [
            row if body is None else {**row, self._name: next(lists)} for row, body in zip(rows, bodies, strict=True)
        ]
        return ParsedLines(rows, None, has_bool)


def _read(bodies: list[bytes]) -> ts.Ragged | None:
    """Read the numbers of lists; ``None`` where one is not as plain as it should be."""
    text = b",".join([one for one in bodies if one])
    sizes = np.fromiter(map(len, bodies), np.int64, len(bodies))
    stops = np.cumsum(sizes + (sizes > 0)) - 1  # where the commas behind lists stand, or would
    counts = np.zeros(len(bodies) + 1, np.int64)
    parts = [np.zeros(0, np.int32)]
    if text.endswith(b","):
        return None
    for at, piece in _pieces(text):
        found = _numbers(piece)
        if found is None:
            return None
        numbers, ends = found
        parts.append(numbers)
        counts[1:] += np.searchsorted(ends, stops - at, side="right")
    return ts.Ragged(np.concatenate(parts), np.diff(counts))


def _pieces(text: bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield where each piece of a text begins, and the piece, which ends before a comma."""
    view, at = memoryview(text), 0
    while at < len(text):
        end = text.find(b",", min(at + _AT_ONCE, len(text)))
        end = len(text) if end < 0 else end
        yield at, view[at:end]
        at = end + 1


def _numbers(piece: memoryview) -> tuple[NDArray[Any], NDArray[np.int64]] | None:
    """Return the numbers of a list and where each ends, or ``None`` where it holds more than plain numbers."""
    raw = np.frombuffer(piece, np.uint8)
    digits = raw - np.uint8(_ZERO)  # what is no digit becomes 10 or more
    is_digit, is_comma = digits < 10, raw == _COMMA
    spaces = len(raw) - np.count_nonzero(is_digit) - np.count_nonzero(is_comma)
    is_space = raw == _SPACE if spaces else np.zeros(1, bool)
    between = spaces - int(is_space[0])
    # One space may stand behind a comma or at the beginning; two others that are no digits never stand together.
    if (
        (spaces and np.count_nonzero(is_space) != spaces)
        or (between and np.count_nonzero(is_space[1:] & is_comma[:-1]) != between)
        or np.count_nonzero(is_digit[1:] | is_digit[:-1]) != len(raw) - 1 - between
        or is_comma[0]
        or not is_digit[-1]
    ):
        return None
    leading = raw == _ZERO
    leading[1:] &= ~is_digit[:-1]
    if (leading[:-1] & is_digit[1:]).any():
        return None
    commas = np.flatnonzero(is_comma)
    ends, lengths = np.empty(len(commas) + 1, np.int64), np.empty(len(commas) + 1, np.int64)
    ends[:-1], ends[-1] = commas, len(raw)
    lengths[0] = ends[0] - is_space[0]
    np.subtract(ends[1:], commas, out=lengths[1:])
    lengths[1:] -= 1
    if between:
        lengths[1:] -= is_space.take(commas + 1)
    most = int(lengths.max())
    if most > _MOST_DIGITS:
        return None
    digits *= is_digit
    pairs = digits.copy()  # at each place the number of the last two digits that end there
    pairs[1:] += digits[:-1] * np.uint8(10)
    pairs *= is_digit
    fours = pairs.astype(np.uint16)  # and of the last four
    fours[2:] += (pairs[:-2] * is_digit[1:-1]) * np.uint16(100)
    last = ends - 1
    found: NDArray[Any] = fours.take(last).astype(np.int32 if most <= _MOST_OF_INT32 else np.int64)
    for place in range(4, most, 4):
        higher: NDArray[Any] = fours.take(last - place, mode="clip") * (lengths > place)
        found += higher * found.dtype.type(10**place)
    return found, ends


def id_lists(ids: ts.Ragged) -> list[bytes]:
    """Return rows of ids, each below 2**20, as JSON lists without spaces.

    Each id is looked up in a table of eight bytes, its digits and a comma, of which those that are empty are left out.

    Example:
        >>> id_lists(ts.Ragged([12, 7, 0], [2, 0, 1]))
        [b'[12,7]', b'[]', b'[0]']
    """
    if not len(ids.values):
        return [b"[]"] * len(ids)
    table, sizes = _digit_table(int(ids.values.max()).bit_length())
    cells = table.take(ids.values).view(np.uint8)
    text = cells[cells != 0].tobytes()
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes.take(ids.values))])[ids.offsets].tolist()
    return [b"[%b]" % text[a : b - 1] if b > a else b"[]" for a, b in pairwise(ends)]


@lru_cache(1)
def _digit_table(bits: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return eight bytes for each number of so many bits: digits and a comma, behind zeros; and how many they are."""
    known = np.arange(1 << bits)
    table = np.zeros((len(known), 8), np.uint8)
    table[:, 7] = _COMMA
    sizes = np.full(len(known), 2, np.int64)
    table[:, 6] = _ZERO + known % 10
    for place in range(1, 7):
        shown = known >= 10**place
        table[shown, 6 - place] = _ZERO + known[shown] // 10**place % 10
        sizes += shown
    return table.view(np.uint64).reshape(-1), sizes
