"""The entropy coder: rANS over many lanes side by side, so that one numpy call advances all of them (codecs.md 5.2).

A block is L lanes, each a run of symbols with a 32-bit state of its own; all lanes share the words of the block. Lanes
are aligned at their ends. At every step each lane decodes one symbol, then the lanes whose state fell below 2^16 take
the next words in the order of the lanes. A step costs some fifteen numpy calls whatever the width, hence whatever can
be decoded jointly should be: `decode_lanes` takes many blocks, each with its own words, and treats them as one row of
lanes. `encode_lanes` runs the same steps backwards.

The last `tail` symbols of the lanes need no words: the encoder starts with state 0 and codes them into the bare state,
as many as fit into 32 bits in every lane, before it adds the lower bound. So little is lost at the ends of lanes, and
a decoder that ends in states of 0 with no word left has read what was written.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.rans_tables import FrequencyTables
from tokstore.errors import CorruptError

__all__ = ["Choice", "LaneShape", "LaneTables", "decode_lanes", "encode_lanes", "most_lane_bytes"]

_RULE = "codecs.md 5.2"
_LOWER = 1 << 16
_TAIL = struct.Struct("<H")
_MOST_STEPS = (1 << 16) - 1
Symbols = NDArray[np.uint16]
Indexes = NDArray[np.int64]


class LaneShape(NamedTuple):
    """How the symbols of a block lie in lanes: all lanes have `length` symbols but the last one, which has `last`.

    Example:
        >>> LaneShape.of(1000, 300)
        LaneShape(lanes=4, length=300, last=100)
    """

    lanes: int
    length: int
    last: int

    @classmethod
    def of(cls, symbols: int, length: int) -> LaneShape:
        """Cut a number of symbols (1 or more) into lanes of `length` (1 or more); the last one has what is left."""
        lanes = -(-symbols // length)
        return cls(lanes, min(length, symbols), symbols - (lanes - 1) * length)

    @property
    def symbols(self) -> int:
        """How many symbols the block has."""
        return (self.lanes - 1) * self.length + self.last


class Choice(Protocol):
    """Which table codes which symbol."""

    history: int
    """How many symbols before the present one `tables` looks at, at most."""

    def tables(self, left: int, rows: Symbols) -> Indexes:
        """Return the numbers of the tables for the next symbol of every lane.

        Args:
            left: Symbols that are left in the lanes, this one included. Lanes are aligned at their ends, so this is
                the same for all of them.
            rows: ``[history, lanes]``: the symbols before, the latest last. Before the first symbol of a lane stands
                the number of symbols of the tables, which is no symbol.

        Returns:
            ``[lanes]``; the caller does not change it.
        """


class LaneTables:
    """Give every lane one table for all of its symbols.

    Args:
        numbers: ``[lanes]``, over the lanes of all blocks in order.
    """

    history = 0

    def __init__(self, numbers: NDArray[np.integer]) -> None:
        self.numbers: Indexes = numbers.astype(np.int64)

    def tables(self, left: int, rows: Symbols) -> Indexes:
        """Return the numbers; see `Choice`."""
        return self.numbers


def most_lane_bytes(shape: LaneShape) -> tuple[int, int]:
    """Return the smallest and the largest number of bytes that lanes of a shape can take."""
    least = _TAIL.size + 4 * shape.lanes
    return least, least + 2 * shape.symbols


class _Row:
    """The lanes of several blocks side by side, aligned at their ends."""

    def __init__(self, shapes: Sequence[LaneShape]) -> None:
        self.shapes = shapes
        self.steps = max(shape.length for shape in shapes)
        if self.steps > _MOST_STEPS:
            raise ValueError(f"a lane has {self.steps} symbols, more than {_MOST_STEPS}")
        self.edges = np.cumsum([0] + [shape.lanes for shape in shapes])
        self.lengths = np.repeat([shape.length for shape in shapes], np.diff(self.edges))
        self.lengths[self.edges[1:] - 1] = [shape.last for shape in shapes]

    @property
    def lanes(self) -> int:
        """Lanes of all blocks."""
        return int(self.edges[-1])

    def of_block(self, block: int) -> slice:
        """Return the lanes of one block."""
        return slice(int(self.edges[block]), int(self.edges[block + 1]))


class _Bases:
    """Where the tables of every lane begin in the two look-ups, step by step."""

    def __init__(self, tables: FrequencyTables, choice: Choice | None, lanes: int) -> None:
        self._tables, self._choice = tables, choice
        self._slots, self._entries = np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)
        self.history = choice.history if choice else 0
        self.is_fixed = choice is None or isinstance(choice, LaneTables)
        self.is_one = choice is None
        if isinstance(choice, LaneTables):
            self._find(choice.numbers)

    def _find(self, numbers: Indexes) -> None:
        """Turn numbers of tables into places."""
        np.left_shift(numbers, self._tables.log, out=self._slots)
        np.multiply(numbers, self._tables.symbols, out=self._entries)

    def at(self, left: int, rows: Symbols) -> tuple[Indexes, Indexes]:
        """Return the places for one step; see `Choice.tables`."""
        if self._choice is not None and not self.is_fixed:
            self._find(self._choice.tables(left, rows))
        return self._slots, self._entries


def decode_lanes(
    tables: FrequencyTables, blocks: Sequence[tuple[bytes | memoryview, LaneShape]], choice: Choice | None = None
) -> list[Symbols]:
    """Decode the lanes of blocks, jointly (codecs.md 5.2).

    Args:
        tables: The tables of all blocks.
        blocks: Bytes and shape of each, one block or more.
        choice: Which table codes what; by default table 0 codes everything.

    Returns:
        ``[length, lanes]`` of every block: row i holds symbol i of each lane. Symbols of a shorter last lane end in
        the last row; what stands above them means nothing. All are views of one array.

    Raises:
        CorruptError: The bytes of a block are none that `encode_lanes` makes.
    """
    row = _Row([shape for _, shape in blocks])
    words, ends, states, tails = _parse(blocks)
    at = ends[:-1].copy()
    bases = _Bases(tables, choice, row.lanes)
    history, steps = bases.history, row.steps
    symbols = np.empty((history + steps, row.lanes), np.uint16)
    symbols[:history] = tables.symbols
    tail = np.repeat(tails, np.diff(row.edges))
    if ((row.lengths > tail) & (states < _LOWER)).any():
        raise CorruptError(f"a lane has a state below {_LOWER}", rule=_RULE)
    # At these steps, counted in symbols that are left, lanes begin or go over into their tail.
    events = set(row.lengths.tolist()) | set(tails.tolist())
    slots, entries = tables.slots, tables.entries
    x = np.zeros(row.lanes, np.uint32)
    reads = np.zeros(row.lanes, bool)
    all_read = False
    slot, part, entry = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    place, low = np.empty(row.lanes, np.int64), np.zeros(row.lanes, bool)
    ramp = np.arange(row.lanes)
    # An array without dimensions is an operand at half the cost of a number, and a step is mostly such costs.
    mask, log, half, low_half, lower = _constants((1 << tables.log) - 1, tables.log, 16, 0xFFFF, _LOWER)
    for step in range(steps):
        left = steps - step
        if left in events:
            _turn(x, reads, left, row.lengths, tail)
            begins = row.lengths == left
            x[begins] = states[begins]
            if history and step:
                symbols[step : step + history, begins] = tables.symbols
            all_read = bool(reads.all())
        found = symbols[history + step]
        slot_base, entry_base = bases.at(left, symbols[step : step + history])
        np.bitwise_and(x, mask, slot)
        np.copyto(place, slot)
        if not bases.is_one:
            place += slot_base
        slots.take(place, None, found, "clip")
        np.copyto(place, found)
        if not bases.is_one:
            place += entry_base
        entries.take(place, None, entry, "clip")
        x >>= log
        np.right_shift(entry, half, part)
        x *= part
        entry &= low_half
        x += slot
        x -= entry
        np.less(x, lower, low)
        if not all_read:
            low &= reads
        lanes = low.nonzero()[0]
        if lanes.size:
            taken = x.take(lanes)
            taken <<= half
            taken |= _next_words(words, at, lanes, row.edges, ramp)
            x[lanes] = taken
    _turn(x, reads, 0, row.lengths, tail)
    if x.any() or (at != ends[1:]).any():
        raise CorruptError("the lanes of a block do not end where its words do", rule=_RULE)
    shapes = enumerate(row.shapes)
    return [symbols[history + steps - shape.length :, row.of_block(block)] for block, shape in shapes]


def _parse(
    blocks: Sequence[tuple[bytes | memoryview, LaneShape]],
) -> tuple[Symbols, Indexes, NDArray[np.uint32], Indexes]:
    """Return all words, where those of each block end, the states of all lanes, and the tail of each block."""
    words, states, tails = [], [], []
    for data, shape in blocks:
        least, most = most_lane_bytes(shape)
        if not least <= len(data) <= most or len(data) & 1:
            raise CorruptError(f"lanes have {len(data)} bytes, not {least} to {most}", rule=_RULE)
        tails.append(_TAIL.unpack_from(data)[0])
        if tails[-1] > shape.length:
            raise CorruptError(f"a tail of {tails[-1]} symbols in lanes of {shape.length}", rule=_RULE)
        states.append(np.frombuffer(data, "<u4", shape.lanes, _TAIL.size))
        words.append(np.frombuffer(data, "<u2", offset=least))
    ends = np.cumsum([0] + [len(one) for one in words])
    words.append(np.zeros(1, "<u2"))  # so that there is something to take, where nothing may be taken
    return (
        np.concatenate(words).astype(np.uint16, copy=False),
        ends,
        np.concatenate(states).astype(np.uint32, copy=False),
        np.array(tails, np.int64),
    )


def _turn(x: NDArray[np.uint32], reads: NDArray[np.bool_], left: int, lengths: Indexes, tail: Indexes) -> None:
    """Take the lower bound out of the states of lanes whose tail begins, and say which lanes read words from now on."""
    x[(tail == left) & (lengths > left)] -= np.uint32(_LOWER)
    np.copyto(reads, (lengths >= left) & (tail < left))


def _next_words(
    words: Symbols, at: Indexes, lanes: Indexes, edges: Indexes, ramp: Indexes
) -> NDArray[np.unsignedinteger[Any]]:
    """Take one word for each of some lanes, given in ascending order, from the words of its block.

    Words that a block does not have come from another one, or are the last one again; at the end `at` tells.
    """
    count = lanes.size
    if at.size == 1:
        start = int(at[0])
        at += count
        taken = words[start : start + count]
        return taken if taken.size == count else words.take(ramp[:count] + start, mode="clip")
    first = lanes.searchsorted(edges)
    counts = first[1:] - first[:-1]
    places = (at - first[:-1]).repeat(counts)
    places += ramp[:count]
    at += counts
    return words.take(places, mode="clip")


def _constants(*numbers: int) -> list[NDArray[np.uint32]]:
    """Return numbers as arrays without dimensions."""
    return [np.array(number, np.uint32) for number in numbers]


def encode_lanes(
    tables: FrequencyTables, blocks: Sequence[tuple[Symbols, LaneShape]], choice: Choice | None = None
) -> list[bytes | None]:
    """Encode blocks jointly, into what `decode_lanes` reads.

    Args:
        tables: The tables of all blocks.
        blocks: ``[length, lanes]`` of symbols, laid out as `decode_lanes` returns them, and the shape of each.
        choice: As in `decode_lanes`.

    Returns:
        The bytes of every block; ``None`` for one with a symbol that its table cannot code.
    """
    row = _Row([shape for _, shape in blocks])
    bases = _Bases(tables, choice, row.lanes)
    history, steps = bases.history, row.steps
    symbols = np.full((history + steps, row.lanes), tables.symbols, np.uint16)
    for block, (given, shape) in enumerate(blocks):
        symbols[history + steps - shape.length :, row.of_block(block)] = given
        symbols[: history + steps - shape.last, row.of_block(block).stop - 1] = tables.symbols
    words, emits = np.empty((steps, row.lanes), np.uint16), np.empty((steps, row.lanes), bool)
    state = _EncoderState(tables.log, row)
    place = np.empty(row.lanes, np.int64)
    entry = np.empty(row.lanes, np.uint32)
    for step in range(steps - 1, -1, -1):
        _, entry_base = bases.at(steps - step, symbols[step : step + history])
        np.copyto(place, symbols[history + step])
        place += entry_base
        tables.entries.take(place, out=entry, mode="clip")
        state.push(entry, steps - step, words[step], emits[step])
    return state.finish(words, emits)


class _EncoderState:
    """The states of all lanes while an encoder goes backwards."""

    def __init__(self, log: int, row: _Row) -> None:
        self._log, self._row = log, row
        self._x = np.zeros(row.lanes, np.uint32)
        self._final = np.zeros(row.lanes, np.uint32)
        self._refused = np.zeros(row.lanes, bool)
        self._lengths = set(row.lengths.tolist())
        self._in_tail = np.ones(len(row.shapes), bool)
        self.tails = np.array([shape.length for shape in row.shapes])
        self._frequency, self._part = np.empty_like(self._x), np.empty_like(self._x)
        self._whole, self._top, self._half, self._low_half = _constants(1 << log, 32 - log, 16, 0xFFFF)
        self._quotient = np.empty(row.lanes, np.float64)

    def push(self, entry: NDArray[np.uint32], left: int, word: Symbols, emits: NDArray[np.bool_]) -> None:
        """Code one symbol of every lane, from its item of `FrequencyTables.entries`, which is overwritten."""
        x, frequency, part = self._x, self._frequency, self._part
        np.right_shift(entry, self._half, frequency)
        entry &= self._low_half
        if not frequency.all():
            self._refused |= (frequency == 0) & (self._row.lengths >= left)
            np.maximum(frequency, 1, out=frequency)
        if self._in_tail.any():
            self._end_tails(entry, left)
        # x >= frequency << (32 - log), without the overflow
        np.right_shift(x, self._top, part)
        np.greater_equal(part, frequency, emits)
        np.copyto(word, x, casting="unsafe")
        np.multiply(emits, self._half, part)
        x >>= part
        # Doubles divide these integers exactly, and several times as fast.
        np.divide(x, frequency, self._quotient)
        np.copyto(part, self._quotient, casting="unsafe")
        np.subtract(self._whole, frequency, frequency)
        part *= frequency
        x += part
        x += entry
        if left in self._lengths:
            ends = self._row.lengths == left
            self._final[ends] = x[ends]

    def _end_tails(self, cumulative: NDArray[np.uint32], left: int) -> None:
        """Add the lower bound in the blocks where another symbol would not fit into the bare states."""
        x, frequency = self._x.astype(np.float64), self._frequency
        after = np.floor(x / frequency) * ((1 << self._log) - frequency.astype(np.float64)) + x + cumulative
        after[self._row.lengths < left] = 0
        most = np.maximum.reduceat(after, self._row.edges[:-1])
        for block in np.flatnonzero(self._in_tail & (most >= (1 << 32) - _LOWER)):
            self._in_tail[block] = False
            self.tails[block] = min(left - 1, int(self.tails[block]))
            self._x[self._row.of_block(int(block))] += np.uint32(_LOWER)

    def finish(self, words: Symbols, emits: NDArray[np.bool_]) -> list[bytes | None]:
        """Put the bytes of every block together."""
        row = self._row
        made: list[bytes | None] = []
        for block, shape in enumerate(row.shapes):
            lanes = row.of_block(block)
            if self._refused[lanes].any():
                made.append(None)
                continue
            mine = slice(row.steps - shape.length, row.steps)
            emits[: row.steps - shape.last, lanes.stop - 1] = False
            coded = words[mine, lanes][emits[mine, lanes]]
            states = self._final[lanes].astype("<u4").tobytes()
            made.append(_TAIL.pack(int(self.tails[block])) + states + coded.astype("<u2").tobytes())
        return made
