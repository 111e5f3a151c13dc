"""Frequency tables of the entropy coder: which share of 2^log every symbol has (codecs.md 5.1).

Frequencies are final: they are stored as they are used, so that no reader ever rounds. `quantise` is the writer's way
to them. A `FrequencyTables` holds the two look-ups of the coder, both flat over all tables: the symbol of every slot,
and frequency with cumulative frequency of every symbol in one u32.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.errors import CorruptError

__all__ = ["MAX_LOG", "MAX_SYMBOLS", "MIN_LOG", "FrequencyTables", "quantise"]

MIN_LOG, MAX_LOG = 8, 15
MAX_SYMBOLS = (1 << 16) - 1
_RULE = "codecs.md 5.1"


class FrequencyTables:
    """Tables of one alphabet and one log, ready to encode and decode with. Immutable and thread-safe.

    Args:
        frequencies: ``[tables, symbols]``; 0 for a symbol that a table cannot code. Every row sums to ``2**log``.
        log: 8 to 15.

    Raises:
        CorruptError: A row does not sum to ``2**log``, or there are more symbols than a u16 can tell apart.

    Example:
        >>> FrequencyTables(np.array([[128, 100, 28]]), 8).slots[127:130].tolist()
        [0, 1, 1]
    """

    def __init__(self, frequencies: NDArray[np.integer[Any]], log: int) -> None:
        if not MIN_LOG <= log <= MAX_LOG:
            raise CorruptError(f"frequency tables have log {log}, not {MIN_LOG} to {MAX_LOG}", rule=_RULE)
        self.log = log
        self.count: int = frequencies.shape[0]
        self.symbols: int = frequencies.shape[1]
        if not self.count or not 1 <= self.symbols <= MAX_SYMBOLS:
            raise CorruptError(f"{self.count} frequency tables of {self.symbols} symbols", rule=_RULE)
        wide = frequencies.astype(np.uint32)
        ends = wide.cumsum(axis=1, dtype=np.int64)
        if int(frequencies.max()) > 1 << log or int(frequencies.min()) < 0 or (ends[:, -1] != 1 << log).any():
            raise CorruptError(f"the frequencies of a table do not sum to 2^{log}", rule=_RULE)
        self.entries: NDArray[np.uint32] = (wide << np.uint32(16) | (ends - wide).astype(np.uint32)).reshape(-1)
        """Item ``table * symbols + symbol`` is ``frequency << 16 | cumulative frequency``."""

    @property
    def frequencies(self) -> NDArray[np.uint32]:
        """``[tables, symbols]``, as they were given."""
        return (self.entries >> np.uint32(16)).reshape(self.count, self.symbols)

    @cached_property
    def slots(self) -> NDArray[np.uint16]:
        """Item ``table << log | slot`` is the symbol; made at the first use, since an encoder needs none."""
        symbols = np.tile(np.arange(self.symbols, dtype=np.uint16), self.count)
        return np.repeat(symbols, self.frequencies.reshape(-1))

    @property
    def nbytes(self) -> int:
        """Bytes that the look-ups take, for caches that are bounded by bytes."""
        return 4 * self.count * self.symbols + 2 * (self.count << self.log)


def quantise(
    counts: NDArray[np.integer[Any]], log: int, levels: NDArray[np.integer[Any]] | None = None
) -> NDArray[np.uint32]:
    """Turn counts into frequencies that sum to ``2**log``; what was counted gets 1 or more, what was not gets 0.

    Args:
        counts: ``[tables, symbols]``, each row with at most ``2**log`` symbols that occur. A row without any gives
            all to symbol 0.
        log: 8 to 15.
        levels: Ascending numbers, from 1, that frequencies are taken from, so that tables compress better; one
            symbol of a table has what is left over. By default any number is taken.

    Returns:
        ``[tables, symbols]``.

    Example:
        >>> quantise(np.array([[1, 1, 0], [1000, 1, 0]]), 8).tolist()
        [[128, 128, 0], [255, 1, 0]]
    """
    whole = 1 << log
    count = np.array(counts, np.float64, ndmin=2)
    count[count.sum(axis=1) == 0, 0] = 1
    occurs = count > 0
    if int(occurs.sum(axis=1).max()) > whole:
        raise ValueError(f"a table of log {log} cannot hold more than {whole} symbols")
    nearest = np.arange(whole + 1) if levels is None else _nearest(levels, whole)

    def rounded(scale: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.where(occurs, np.maximum(nearest[np.rint(count * scale[:, None]).astype(np.int64)], 1), 0)

    # The share of a rare symbol is rounded up to 1; a common scale, found by bisection, makes room for that.
    low, high = np.zeros(len(count)), whole / count.sum(axis=1)
    for _ in range(24):
        scale = (low + high) / 2
        fits = rounded(scale).sum(axis=1) <= whole
        low, high = np.where(fits, scale, low), np.where(fits, high, scale)
    found = rounded(low)
    # What is left over goes where it saves most bits.
    left = whole - found.sum(axis=1)
    while (rows := np.flatnonzero(left)).size:
        gain = count[rows] * np.log1p(1 / np.maximum(found[rows], 1))
        # Several at once while many are left, so that a row takes tens of steps at most.
        step = np.maximum(left[rows] // 16, 1) if levels is None else left[rows]
        found[rows, gain.argmax(axis=1)] += step
        left[rows] -= step
    return found.astype(np.uint32)


def _nearest(levels: NDArray[np.integer[Any]], whole: int) -> NDArray[np.int64]:
    """Return the nearest level, by ratio, of every number up to `whole`."""
    wide = levels.astype(np.float64)
    edges = np.ceil(np.sqrt(wide[1:] * wide[:-1])).astype(np.int64)
    nearest = levels.astype(np.int64)[np.searchsorted(edges, np.arange(whole + 1), side="right")]
    nearest[0] = 0
    return nearest
