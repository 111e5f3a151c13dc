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

__all__ = ["MAX_LOG", "MIN_LOG", "FrequencyTables", "quantise"]

MIN_LOG, MAX_LOG = 8, 15
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
        count, symbols = frequencies.shape
        if not count or not 1 <= symbols <= 1 << 16:
            raise CorruptError(f"{count} frequency tables of {symbols} symbols", rule=_RULE)
        self.log, self.count, self.symbols = log, count, symbols
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


def quantise(counts: NDArray[np.integer[Any]], log: int) -> NDArray[np.uint32]:
    """Turn counts into frequencies that sum to ``2**log``; what was counted gets 1 or more, what was not gets 0.

    Args:
        counts: ``[tables, symbols]``, each row with at most ``2**log`` symbols that occur. A row without any gives
            all to symbol 0.
        log: 8 to 15.

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
    # The share of a rare symbol is rounded up to 1; a common scale, found by bisection, makes room for that.
    total = count.sum(axis=1)
    low, high = np.zeros(len(count)), whole / total
    for _ in range(24):
        scale = (low + high) / 2
        fits = np.where(occurs, np.maximum(np.rint(count * scale[:, None]), 1), 0).sum(axis=1) <= whole
        low, high = np.where(fits, scale, low), np.where(fits, high, scale)
    found = np.where(occurs, np.maximum(np.rint(count * low[:, None]), 1), 0)
    # What is left over goes where it saves most bits.
    left = (whole - found.sum(axis=1)).astype(np.int64)
    while (rows := np.flatnonzero(left)).size:
        one = found[rows]
        gain = count[rows] * np.log1p(1 / np.maximum(one, 1))
        best = gain.argmax(axis=1)
        # Several at once while many are left, so that a row takes tens of steps at most.
        step = np.maximum(left[rows] // 16, 1)
        found[rows, best] += step
        left[rows] -= step
    return found.astype(np.uint32)
