"""Which frequency table codes a code: by its neighbours in the lane (codecs.md 5.4).

Three features of a value can matter: its column, the value to the left of it, the value one frame up. Each is mapped
to a class; the classes of all features that are used, in mixed radix, are the number of a context; and a map has the
table of every context. Two maps instead of one keep both small: 128 classes of the left and 128 of the upper
neighbour are 16,384 contexts, which share a few hundred tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLUMN", "FEATURES", "LEFT", "UP", "CodeChoice", "Contexts", "ModelParts", "cut", "neighbours"]

COLUMN, LEFT, UP = range(3)
FEATURES = ("column", "left", "up")
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Contexts:
    """From features to tables.

    Attributes:
        maps: By feature, the class of every column or symbol; of symbols, the last item is for a neighbour outside of
            the lane or frame. Features that are not used are not there.
        classes: How many classes each used feature has.
        tables: By context, the number of the table.
    """

    maps: dict[int, Ints]
    classes: dict[int, int]
    tables: Ints

    @classmethod
    def none(cls) -> Contexts:
        """Return the contexts of a model with one table."""
        return cls({}, {}, np.zeros(1, np.int64))

    def scaled(self) -> dict[int, Ints]:
        """Return the maps, each multiplied so that the sum over the features is the context."""
        made, radix = {}, 1
        for feature in sorted(self.maps, reverse=True):
            made[feature] = self.maps[feature] * radix
            radix *= self.classes[feature]
        return made

    def of(self, features: dict[int, NDArray[Any]]) -> Ints:
        """Return the contexts of values whose features are given, of any shape."""
        scaled = self.scaled()
        parts = [scaled[one].take(features[one]) for one in sorted(scaled)]
        return sum(parts[1:], parts[0]) if parts else np.zeros((), np.int64)


@dataclass(frozen=True)
class ModelParts:
    """What a model is made of.

    Attributes:
        ids: The code of every rank.
        low_bits: Of a rank that is coded in two parts; 0 if it is one symbol.
        contexts: Of ranks, or of their high parts.
        low_map: The low table of every high part; ``None`` if a rank is one symbol.
        log: Of all tables.
        frequencies: ``[tables, symbols]``.
        low_frequencies: ``[low tables, 2**low_bits]``, or ``None``.
    """

    ids: Ints
    low_bits: int
    contexts: Contexts
    low_map: Ints | None
    log: int
    frequencies: NDArray[Any]
    low_frequencies: NDArray[Any] | None


class CodeChoice:
    """The tables of the symbols of codes in lanes (a `Choice` of the entropy coder).

    Args:
        contexts: Of whole codes, or of high parts.
        width: Values in a frame.
        symbols: Different values that the features can have, without the one for outside.
        padded: Symbols of all tables, which the coder gives for outside.
        low: Where codes have two parts: the table of the low part by the high part.
    """

    def __init__(self, contexts: Contexts, width: int, symbols: int, padded: int, low: Ints | None) -> None:
        self._width, self._parts, self._low = width, 1 if low is None else 2, low
        scaled = contexts.scaled()
        self._column = scaled.get(COLUMN)
        self._left, self._up = (
            None if one is None else np.append(one[:symbols], np.repeat(one[symbols:], padded - symbols + 1))
            for one in (scaled.get(LEFT), scaled.get(UP))
        )
        self._tables = contexts.tables
        frames_back = width if self._up is not None else 1 if self._left is not None else 0
        self.history = self._parts * frames_back or self._parts - 1

    def tables(self, left: int, rows: NDArray[np.uint16]) -> Ints:
        """Return the tables of the next symbols; see `Choice`."""
        if self._low is not None and left & 1:
            low: Ints = self._low.take(rows[-1], mode="clip")
            return low
        column = -(left // self._parts) % self._width
        lanes = rows.shape[1]
        constant = 0 if self._column is None else int(self._column[column])
        context: Ints | None = None
        if self._left is not None:
            if column:
                context = self._left.take(rows[-self._parts], mode="clip")
            else:
                constant += int(self._left[-1])
        if self._up is not None:
            above = self._up.take(rows[-self._parts * self._width], mode="clip")
            context = above if context is None else np.add(context, above, out=context)
        if context is None:
            return np.full(lanes, self._tables[constant])
        if constant:
            context += constant
        found: Ints = self._tables.take(context, mode="clip")
        return found


def cut(values: NDArray[Any], width: int, frames: int, most: int) -> Iterable[NDArray[Any]]:
    """Yield the lanes of many values as arrays ``[lanes, frames, width]`` of at most `most` values, or one lane.

    Only the last array has one lane that may be shorter.
    """
    lane = width * frames
    whole = len(values) // lane * lane
    step = max(most // lane, 1) * lane
    for start in range(0, whole, step):
        yield values[start : min(start + step, whole)].reshape(-1, frames, width)
    if whole < len(values):
        yield values[whole:].reshape(1, -1, width)


def neighbours(symbols: NDArray[Any], outside: int) -> dict[int, NDArray[Any]]:
    """Return the features of the values of lanes ``[lanes, frames, width]``, in arrays of that shape.

    Args:
        symbols: Whole codes, or high parts.
        outside: What stands for a neighbour outside.
    """
    left, up = np.full_like(symbols, outside), np.full_like(symbols, outside)
    left[:, :, 1:] = symbols[:, :, :-1]
    up[:, 1:] = symbols[:, :-1]
    column = np.broadcast_to(np.arange(symbols.shape[2], dtype=np.int32), symbols.shape)
    return {COLUMN: column, LEFT: left, UP: up}
