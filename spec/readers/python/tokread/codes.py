"""Codes: their model, the lanes of an entropy coder, and the values of one block (codecs.md 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .conventions import check_zero, packed, u16, u32
from .failure import corrupt, require
from .frame import decompress

TABLES, LANES, MODEL, CONTEXTS, FORMS = (f"codecs.md 5.{part}" for part in range(1, 6))
COLUMN, LEFT, UP = range(3)
ChooseTable = Callable[[int, list[int]], list[int]]


@dataclass
class CodeModel:
    """The object of a column of codes."""

    log: int
    low_bits: int
    width: int
    frames: int
    ids: list[int]
    classes: list[int]
    maps: dict[int, list[int]] = field(default_factory=dict)
    table: list[int] = field(default_factory=list)
    low_table: list[int] = field(default_factory=list)
    frequencies: list[list[int]] = field(default_factory=list)
    low_frequencies: list[list[int]] = field(default_factory=list)


def parse_model(data: bytes, size: int, width: int) -> CodeModel:
    """Read the content of an object of kind 5 (5.3).

    Args:
        data: The content.
        size: Codes are below it.
        width: The last dimension of the shape of the column if it is fixed, else 1.
    """
    require(len(data) >= 24, "a code model ends in its header", MODEL)
    log, k, features = data[0], data[1], data[2]
    require(8 <= log <= 15, f"frequency tables have log {log}", TABLES)
    require(k <= 11, f"there are {k} low bits", MODEL)
    require(features <= 7, f"features are {features:#04x}", MODEL)
    check_zero(data[3:4] + data[22:24], "a code model", MODEL)
    model = CodeModel(log, k, u16(data, 4), u16(data, 6), [], [u16(data, at) for at in (12, 14, 16)])
    require(model.width in (1, width), f"frames have {model.width} values, the column has {width}", MODEL)
    require(1 <= model.width * model.frames <= 4096, "a lane is empty or too long", MODEL)
    codes, tables, low_tables = u32(data, 8), u16(data, 18), u16(data, 20)
    require(1 <= codes <= size, f"a model of {codes} codes for a column of {size}", MODEL)
    high = ((codes - 1) >> k) + 1
    require(high <= 2048, f"there are {high} high symbols", MODEL)
    contexts = 1
    for feature in (COLUMN, LEFT, UP):
        there = bool(features >> feature & 1)
        require(there == (model.classes[feature] > 0), "a feature and its classes do not agree", MODEL)
        contexts *= model.classes[feature] if there else 1
    require(contexts <= 65536, f"there are {contexts} contexts", MODEL)
    require(1 <= tables <= contexts, f"there are {tables} tables", MODEL)
    require(low_tables <= high and (low_tables > 0) == (k > 0), f"there are {low_tables} low tables", MODEL)
    low = 1 << k if k else 0
    require((tables + low_tables) << log <= 2**22, "the tables have too many slots", MODEL)
    require((tables + low_tables) * max(high, low) <= 2**22, "the tables have too many symbols", MODEL)
    model.ids, at = packed(data, 24, codes, 0, size - 1)
    require(len(set(model.ids)) == codes, "a code has two ranks", MODEL)
    for feature in (COLUMN, LEFT, UP):
        if features >> feature & 1:
            items = model.width if feature == COLUMN else high + 1
            model.maps[feature], at = packed(data, at, items, 0, model.classes[feature] - 1)
    if features:
        model.table, at = packed(data, at, contexts, 0, tables - 1)
    if k:
        model.low_table, at = packed(data, at, high, 0, low_tables - 1)
    model.frequencies, at = _tables(data, at, tables, high, log)
    model.low_frequencies, at = _tables(data, at, low_tables, low, log)
    require(at == len(data), "bytes follow a code model", MODEL)
    return model


def _tables(data: bytes, at: int, count: int, symbols: int, log: int) -> tuple[list[list[int]], int]:
    """Read frequency tables, and give the offset after them (5.1)."""
    every, at = packed(data, at, count * symbols, 0, 2**log)
    tables = [every[i * symbols : (i + 1) * symbols] for i in range(count)]
    for table in tables:
        require(sum(table) == 2**log, f"the frequencies of a table sum to {sum(table)}, not to 2^{log}", TABLES)
    return tables, at


def decode(size: int, width: int, form: int, n: int, stored: bytes, model: CodeModel | None) -> list[int]:
    """Give the n codes of a block (5.5).

    Args:
        size: Codes are below it.
        width: The last dimension of the shape of the column if it is fixed, else 1.
        form: The form byte of the block.
        n: How many values the block has.
        stored: The bytes of the block.
        model: The object of the column.
    """
    require(n % width == 0, f"a block of {n} values in a column of {width}", "codecs.md 5")
    value_form, packing = form & 15, form >> 4
    require(value_form <= 2, f"codec codes has no value form {value_form}", "codecs.md 1")
    require(
        packing <= (1 if value_form == 0 else 0), f"value form {value_form} has no packing {packing}", "codecs.md 1"
    )
    if value_form == 1:
        if model is None:
            raise corrupt("a block has lanes and the column has no object", FORMS)
        return _decode_lanes(model, n, stored)
    if value_form == 0:
        each = 1 if size <= 256 else 2
        coded = decompress(stored, each * n, each * n) if packing else stored
        require(len(coded) == each * n, f"a block of {n} codes has {len(coded)} coded bytes", "codecs.md 1")
        values = [int.from_bytes(coded[each * i : each * i + each], "little") for i in range(n)]
    else:
        bits = (size - 1).bit_length()
        require(
            len(stored) == (bits * n + 7) // 8, f"a block of {n} codes has {len(stored)} coded bytes", "codecs.md 1"
        )
        number = int.from_bytes(stored, "little")
        values = [number >> bits * i & (1 << bits) - 1 for i in range(n)]
        require(number >> bits * n == 0, "a bit past the last code is set", FORMS)
    for value in values:
        require(value < size, f"code {value} is not below {size}", "codecs.md 5")
    return values


def _decode_lanes(model: CodeModel, n: int, data: bytes) -> list[int]:
    """Decode value form 1 (5.4)."""
    require(n % model.width == 0, f"a block of {n} values has no whole number of frames", CONTEXTS)
    most = model.width * model.frames
    lengths = [min(most, n - at) for at in range(0, n, most)]
    parts = 2 if model.low_bits else 1

    def choose(lane: int, before: list[int]) -> list[int]:
        """Give the table of the next symbol of a lane, whose symbols before are given."""
        if len(before) % parts:
            return model.low_frequencies[model.low_table[before[-1]]]
        if not model.maps:
            return model.frequencies[0]
        highs = before[::parts]
        frame, column = divmod(len(highs), model.width)
        outside = len(model.frequencies[0])
        context = 0
        if COLUMN in model.maps:
            context = model.maps[COLUMN][column]
        if LEFT in model.maps:
            neighbour = highs[-1] if column > 0 else outside
            context = context * model.classes[LEFT] + model.maps[LEFT][neighbour]
        if UP in model.maps:
            neighbour = highs[-model.width] if frame > 0 else outside
            context = context * model.classes[UP] + model.maps[UP][neighbour]
        return model.frequencies[model.table[context]]

    values = []
    for symbols in decode_lanes(data, [length * parts for length in lengths], model.log, choose):
        for i in range(0, len(symbols), parts):
            rank = symbols[i]
            if parts == 2:
                rank = rank << model.low_bits | symbols[i + 1]
            require(rank < len(model.ids), f"there is no rank {rank}", CONTEXTS)
            values.append(model.ids[rank])
    return values


def decode_lanes(data: bytes, lengths: list[int], log: int, choose: ChooseTable) -> list[list[int]]:
    """Decode the symbols of lanes (5.2).

    Args:
        data: Tail, states and words.
        lengths: How many symbols each lane has.
        log: Of the tables.
        choose: Gives the frequencies of the next symbol of a lane, whose number and symbols before are given.
    """
    steps = lengths[0]
    begin = 2 + 4 * len(lengths)
    require(begin <= len(data) <= begin + 2 * sum(lengths), f"lanes have {len(data)} bytes", LANES)
    require(len(data) % 2 == 0, "half a word is left over", LANES)
    tail = u16(data, 0)
    require(tail <= steps, f"a tail of {tail} symbols in lanes of {steps}", LANES)
    states = [u32(data, 2 + 4 * lane) for lane in range(len(lengths))]
    for state, length in zip(states, lengths, strict=True):
        require(length <= tail or state >= 2**16, f"a lane has state {state}", LANES)
    symbols: list[list[int]] = [[] for _ in lengths]
    at = begin
    for left in range(steps, 0, -1):
        for lane, length in enumerate(lengths):
            if left == tail and length > tail:
                states[lane] -= 2**16
            if length < left:
                continue
            frequencies = choose(lane, symbols[lane])
            x = states[lane]
            slot = x % 2**log
            symbol = start = 0
            while start + frequencies[symbol] <= slot:
                start += frequencies[symbol]
                symbol += 1
            symbols[lane].append(symbol)
            x = frequencies[symbol] * (x >> log) + slot - start
            if left > tail and x < 2**16:
                require(at + 2 <= len(data), "the words of a block run out", LANES)
                x = x << 16 | u16(data, at)
                at += 2
            states[lane] = x
    require(at == len(data), "words are left over", LANES)
    for state, length in zip(states, lengths, strict=True):
        last = state - 2**16 if tail == 0 and length > tail else state
        require(last == 0, "a lane does not end in state 0", LANES)
    return symbols
