"""Which frequency table codes which dimension of a vector, and how integers become its symbols (codecs.md 6.2, 6.4).

Dimensions whose integers spread alike share a table, so that tables cost a few hundred bytes and not a few thousand. A
dimension that is nearly always zero has none: what is not zero in it stands in the list of exceptions, and a constant
one costs nothing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.rans_tables import MAX_LOG, MIN_LOG, FrequencyTables, quantise
from tokstore.errors import CorruptError
from tokstore.packed import Ints, PackedReader, encode_packed

__all__ = ["MAX_SHIFT", "MAX_SYMBOLS", "SymbolTables", "encode_tables", "fit_tables"]

MAX_SYMBOLS: Final = 256
MAX_SHIFT: Final = 24
MAX_CLASSES: Final = 1024
MAX_SLOTS: Final = 1 << 22
_LOG = 12
_SPREAD = 16  # the standard deviation of symbols, at least, where low bits are taken off
_EXCEPTION_BITS = 26.0
_LANE_BITS = 20.0  # what a lane costs beside its symbols
_TABLE_BITS, _SYMBOL_BITS = 40.0, 10.0
_ROWS = 1024.0
_SOME_ROWS = 1024
_HEADER = struct.Struct("<BBH")
_NO_TABLES = _HEADER.pack(0, 0, 0)


@dataclass(frozen=True, eq=False)
class SymbolTables:
    """The classes of dimensions and their tables (codecs.md 6.2). Immutable and thread-safe.

    Attributes:
        class_of: int64 [dim]: the class of every dimension from 1, 0 for one without a lane.
        shifts: int64 [K]: low bits that are stored apart.
        firsts: int64 [K]: what symbol 0 stands for, after the shift.
        sizes: int64 [K]: symbols of the class.
        frequencies: One array per class, of its size.
        log: Frequencies of a class sum to ``2**log``.
        bits: What the integers took by estimate where the tables were fitted, a vector; 0.0 in stored tables.
    """

    class_of: Ints
    shifts: Ints
    firsts: Ints
    sizes: Ints
    frequencies: list[Ints]
    log: int
    bits: float = 0.0

    @cached_property
    def coder(self) -> FrequencyTables:
        """The look-ups of the entropy coder, one table per class."""
        wide = np.zeros((len(self.sizes), int(self.sizes.max())), np.int64)
        for row, one in zip(wide, self.frequencies, strict=True):
            row[: len(one)] = one
        return FrequencyTables(wide, self.log)

    @cached_property
    def modes(self) -> Ints:
        """The cheapest symbol of every class, which stands in the lane where an exception does."""
        return np.array([int(one.argmax()) for one in self.frequencies], np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        symbols = int(self.sizes.max()) if len(self.sizes) else 0
        return 8 * len(self.class_of) + len(self.sizes) * (12 * symbols + (2 << self.log))

    def encode(self) -> bytes:
        """Return the last part of the content of the object."""
        parts = [self.class_of, self.shifts, self.firsts, self.sizes]
        if self.frequencies:
            parts.append(np.concatenate(self.frequencies))
        return _HEADER.pack(self.log, 0, len(self.sizes)) + b"".join(encode_packed(part) for part in parts)

    @classmethod
    def decode(cls, reader: PackedReader, dim: int) -> SymbolTables | None:
        """Parse and check the last part of the content of the object; ``None`` where it has no tables.

        Args:
            reader: Where the part begins.
            dim: Dimensions of the column.
        """
        rule = "codecs.md 6.2"
        log, reserved, classes = _HEADER.unpack(reader.raw(_HEADER.size, "the header of tables"))
        if log == 0 and not reserved and not classes:
            return None
        if not MIN_LOG <= log <= MAX_LOG or reserved or classes > min(MAX_CLASSES, dim):
            raise CorruptError(f"a vector model has {classes} classes of log {log}", rule=rule)
        if classes << log > MAX_SLOTS:
            raise CorruptError(f"the tables of a vector model have {classes << log} slots", rule="format.md 11")
        class_of = reader.packed(dim, "class_of", 0, classes)
        shifts = reader.packed(classes, "shift", 0, MAX_SHIFT)
        firsts = reader.packed(classes, "first", -(1 << 31), (1 << 31) - 1)
        sizes = reader.packed(classes, "symbols", 1, MAX_SYMBOLS)
        if ((firsts << shifts) < -(1 << 31)).any() or ((firsts + sizes) << shifts > 1 << 31).any():
            raise CorruptError("a class of a vector model has symbols for what is no i32", rule=rule)
        flat = reader.packed(int(sizes.sum()), "frequency", 1, 1 << log)
        ends = np.cumsum(sizes)
        frequencies = np.split(flat, ends[:-1]) if classes else []
        if classes and (np.add.reduceat(flat, ends - sizes) != 1 << log).any():
            raise CorruptError(f"the frequencies of a class do not sum to 2^{log}", rule=rule)
        return cls(class_of, shifts, firsts, sizes, frequencies, log)


def encode_tables(tables: SymbolTables | None) -> bytes:
    """Return the last part of the content of the object, also of a model without tables."""
    return _NO_TABLES if tables is None else tables.encode()


@dataclass
class _Open:
    """A class while dimensions join it: how often each symbol occurs, and what symbol 0 stands for."""

    shift: int
    first: int
    counts: NDArray[np.float64]
    members: list[int]
    cost: float


def _information(counts: NDArray[np.float64]) -> float:
    """Return the bits that symbols of these counts take with a table of their own."""
    some = counts[counts > 0]
    return float(some.sum() * np.log2(some.sum()) - (some * np.log2(some)).sum())


def _cost(counts: NDArray[np.float64], scale: float) -> float:
    """Return the bits of symbols, `scale` times as many as counted, and of their table."""
    return scale * _information(counts) + _TABLE_BITS + _SYMBOL_BITS * counts.size


def _joined(one: _Open, first: int, counts: NDArray[np.float64]) -> tuple[int, NDArray[np.float64]] | None:
    """Return first and counts of a class with one more dimension in it, or ``None`` where it gets too wide."""
    low = min(one.first, first)
    high = max(one.first + one.counts.size, first + counts.size)
    if high - low > MAX_SYMBOLS:
        return None
    both = np.zeros(high - low)
    both[one.first - low : one.first - low + one.counts.size] = one.counts
    both[first - low : first - low + counts.size] += counts
    return low, both


def fit_tables(integers: NDArray[np.int32], rows: int) -> SymbolTables:
    """Fit classes and tables to vectors.

    Args:
        integers: int32 [n, dim], n from 1 on: some of the vectors.
        rows: How many vectors the tables will code.
    """
    n, dim = integers.shape
    shifts, firsts = _windows(integers)
    counts, outside = _count(integers, shifts, firsts)
    zeros = (integers == 0).sum(axis=0)
    is_bare = _EXCEPTION_BITS * (1 - zeros / n) <= _lane_bits(counts / n)
    spread = integers.std(axis=0, dtype=np.float64)
    weight = 1.0
    while True:
        classes = _classes(counts, firsts, shifts, np.argsort(-spread, kind="stable"), is_bare, weight * rows / n)
        if len(classes) <= MAX_CLASSES:
            break
        weight /= 2
    class_of = np.zeros(dim, np.int64)
    for number, one in enumerate(classes, 1):
        class_of[one.members] = number
    frequencies = [_frequencies(one.counts) for one in classes]
    bits = (float(outside.sum()) + float((n - zeros)[is_bare].sum())) * _EXCEPTION_BITS
    for one, frequency in zip(classes, frequencies, strict=True):
        bits += float((one.counts * (_LOG - np.log2(frequency))).sum())
        bits += len(one.members) * n * (_LANE_BITS / _ROWS + one.shift)
    return SymbolTables(
        class_of,
        np.array([one.shift for one in classes], np.int64),
        np.array([one.first for one in classes], np.int64),
        np.array([one.counts.size for one in classes], np.int64),
        frequencies,
        _LOG,
        bits / n,
    )


def _windows(integers: NDArray[np.int32]) -> tuple[Ints, Ints]:
    """Return for every dimension how many low bits to take off, and what the first of 256 symbols stands for then.

    Quantiles of some rows decide, so that a few values far out do not.
    """
    some = integers[:: max(1, len(integers) // _SOME_ROWS)]
    low, middle, high = np.quantile(some, (0.02, 0.5, 0.98), axis=0)
    spread = np.maximum((high - low) / 4, 1.0)
    shifts = np.clip(np.floor(np.log2(spread / _SPREAD)), 0, MAX_SHIFT).astype(np.int64)
    firsts = (np.rint(middle).astype(np.int64) >> shifts) - MAX_SYMBOLS // 2
    return shifts, np.clip(firsts, -(1 << 31) >> shifts, ((1 << 31) >> shifts) - MAX_SYMBOLS)


def _count(integers: NDArray[np.int32], shifts: Ints, firsts: Ints) -> tuple[NDArray[np.int64], Ints]:
    """Return how often each of the 256 symbols of every dimension occurs, and how many values lie outside."""
    dim = len(firsts)
    counts = np.zeros((dim, MAX_SYMBOLS), np.int64)
    outside = np.zeros(dim, np.int64)
    step = max(1, (1 << 20) // dim)
    for start in range(0, len(integers), step):
        symbols = (integers[start : start + step] >> shifts.astype(np.int32)) - firsts
        inside = (symbols >= 0) & (symbols < MAX_SYMBOLS)
        outside += (~inside).sum(axis=0)
        places = (symbols + MAX_SYMBOLS * np.arange(dim))[inside]
        counts += np.bincount(places, minlength=dim * MAX_SYMBOLS).reshape(dim, MAX_SYMBOLS)
    return counts, outside


def _lane_bits(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what a value takes in a lane of its dimension, from the shares of its symbols."""
    symbols: NDArray[np.float64] = -(share * np.log2(np.maximum(share, 1e-12))).sum(axis=1)
    return symbols + _LANE_BITS / _ROWS


def _classes(
    counts: NDArray[np.int64],
    firsts: Ints,
    shifts: Ints,
    order: NDArray[np.int64],
    is_bare: NDArray[np.bool_],
    scale: float,
) -> list[_Open]:
    """Join dimensions into classes, the widest spread first, wherever a common table costs less than two."""
    done: list[_Open] = []
    current: _Open | None = None
    for dimension in order[~is_bare[order]].tolist():
        used = np.flatnonzero(counts[dimension])
        shift, first = int(shifts[dimension]), int(firsts[dimension]) + int(used[0])
        mine = counts[dimension, used[0] : used[-1] + 1].astype(np.float64)
        alone = _cost(mine, scale)
        both = _joined(current, first, mine) if current is not None and current.shift == shift else None
        if current is not None and both is not None and (cost := _cost(both[1], scale)) <= current.cost + alone:
            current.first, current.counts, current.cost = both[0], both[1], cost
            current.members.append(dimension)
            continue
        current = _Open(shift, first, mine, [dimension], alone)
        done.append(current)
    return done


def _frequencies(counts: NDArray[np.float64]) -> Ints:
    """Return frequencies in which no symbol between the first and the last is impossible."""
    smoothed = np.rint(np.maximum(counts * 1024, 1)).astype(np.int64)
    found: Ints = quantise(smoothed[None, :], _LOG)[0].astype(np.int64)
    return found
