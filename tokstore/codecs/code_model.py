"""The object of a `Codes` column: which ranks its codes have, their contexts and frequency tables (codecs.md 5.3).

A model is fitted to one shard. Only codes that occur have a rank; above 2,048 ranks a code is two symbols, the high
bits of its rank and then the low bits.
"""

from __future__ import annotations

import struct
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.code_contexts import COLUMN, FEATURES, CodeChoice, Contexts, ModelParts
from tokstore.codecs.code_fit import fit_parts, frames_per_lane
from tokstore.codecs.rans import LaneShape
from tokstore.codecs.rans_tables import MAX_LOG, MIN_LOG, FrequencyTables
from tokstore.errors import CorruptError
from tokstore.packed import PackedReader, encode_packed
from tokstore.wire import unpack

__all__ = ["CodeModel"]

_RULE = "codecs.md 5.3"
_HEADER = struct.Struct("<BBBBHHIHHHHHH")
_MOST_SYMBOLS = _MOST_LOW = 1 << 11
_MOST_LANE = 1 << 12
_MOST_CONTEXTS = 1 << 16
_MOST_ITEMS = 1 << 22


class CodeModel:
    """How the codes of one shard are coded. Immutable and thread-safe.

    Args:
        size: Codes are below it.
        width: Values in a frame, as contexts see them.
        frames: Frames in a lane.
        parts: All else.

    Example:
        >>> model = CodeModel.fit(np.arange(6000, dtype=np.uint16) % 7, 10, 1, None, contexts=False)
        >>> CodeModel.decode(model.encode(), 10, 1).describe()
        'order 0, 1 table, 7 codes'
    """

    def __init__(self, size: int, width: int, frames: int, parts: ModelParts) -> None:
        self.size, self.width, self.frames = size, width, frames
        self.ids, self.low_bits = parts.ids, parts.low_bits
        self._contexts, self._low_map = parts.contexts, parts.low_map
        high, low = parts.frequencies, parts.low_frequencies
        self._high: tuple[int, int] = (high.shape[0], high.shape[1])
        joined = high
        if low is not None:
            widest = max(high.shape[1], low.shape[1])
            joined = np.concatenate([np.pad(one, ((0, 0), (0, widest - one.shape[1]))) for one in (high, low)])
        self.tables = FrequencyTables(joined, parts.log)
        low_map = None if parts.low_map is None else parts.low_map + len(high)
        is_chosen = bool(parts.contexts.maps) or low_map is not None
        self.choice = (
            CodeChoice(parts.contexts, width, high.shape[1], self.tables.symbols, low_map) if is_chosen else None
        )

    @property
    def nbytes(self) -> int:
        """Bytes that a resident model takes, for caches that are bounded by bytes."""
        maps = sum(one.nbytes for one in self._contexts.maps.values()) + self._contexts.tables.nbytes
        low = 0 if self._low_map is None else self._low_map.nbytes
        return self.tables.nbytes + 2 * (maps + low) + 2 * self.ids.nbytes

    @property
    def symbols_per_code(self) -> int:
        """How many symbols a code is: 1 or 2."""
        return 2 if self.low_bits else 1

    @cached_property
    def ranks(self) -> NDArray[np.int32]:
        """The rank of every code, for an encoder; -1 for a code that has none."""
        made = np.full(self.size, -1, np.int32)
        made[self.ids] = np.arange(len(self.ids), dtype=np.int32)
        return made

    def shape(self, values: int) -> LaneShape:
        """Return how the symbols of a block of some values lie in lanes."""
        each = self.symbols_per_code
        return LaneShape.of(values * each, self.width * self.frames * each)

    def describe(self) -> str:
        """Say in a few words what codes are coded by."""
        features = "×".join(FEATURES[one] for one in sorted(self._contexts.maps))
        tables = f"{self.tables.count} table{'s' * (self.tables.count > 1)}"
        halves = f" in {(len(self.ids) - 1).bit_length() - self.low_bits} + {self.low_bits} bits" * bool(self.low_bits)
        return f"{f'contexts {features}' if features else 'order 0'}, {tables}, {len(self.ids):,} codes{halves}"

    @classmethod
    def fit(cls, values: NDArray[Any], size: int, width: int, rows: int | None, contexts: bool = True) -> CodeModel:
        """Find a model for the values of a shard. It codes any block of them that begins where a sample or, in a ragged
        column, a frame begins.

        Args:
            values: One dimension, u8 or u16, 1 value or more: all values of the shard.
            size: Values are below it.
            width: The last dimension of the shape of a sample where that is fixed, else 1.
            rows: Frames of a sample of fixed shape; ``None`` where samples are ragged.
            contexts: Whether tables may depend on neighbours.
        """
        frame, frames = frames_per_lane(size, width, rows)
        is_aligned = rows is not None and width * rows % (frame * frames) == 0
        parts = fit_parts(values, size, frame, frames, is_aligned=is_aligned, use_contexts=contexts)
        return cls(size, frame, frames, parts)

    def encode(self) -> bytes:
        """Return the content of the object."""
        maps, classes = self._contexts.maps, self._contexts.classes
        tables, symbols = self._high
        frequencies = self.tables.frequencies
        low = frequencies[tables:, : 1 << self.low_bits]
        used = sum(1 << one for one in maps)
        header = _HEADER.pack(
            *(self.tables.log, self.low_bits, used, 0, self.width, self.frames, len(self.ids)),
            *(classes.get(one, 0) for one in range(len(FEATURES))),
            *(tables, len(low), 0),
        )
        arrays: list[NDArray[Any]] = [self.ids, *(maps[one] for one in sorted(maps))]
        if maps:
            arrays.append(self._contexts.tables)
        if self._low_map is not None:
            arrays.append(self._low_map)
        arrays += [frequencies[:tables, :symbols].reshape(-1), low.reshape(-1)]
        return header + b"".join(encode_packed(one) for one in arrays)

    @classmethod
    def decode(cls, content: bytes | memoryview, size: int, width: int) -> CodeModel:
        """Parse and check the content of the object.

        Args:
            content: Its bytes.
            size: Codes are below it.
            width: The last dimension of the shape of a sample where that is fixed, else 1.
        """
        fields = unpack(_HEADER, content)
        log, low_bits, used, reserved, frame, frames, codes, *classes, tables, low_tables, spare = fields
        symbols, lows = (codes - 1 >> low_bits) + 1, 1 << low_bits if low_bits else 0
        features = [one for one in range(len(FEATURES)) if used >> one & 1]
        contexts = 1
        for one in features:
            contexts *= classes[one]
        _require(reserved == spare == 0 and used < 1 << len(FEATURES), "has reserved bits or bytes that are not zero")
        _require(MIN_LOG <= log <= MAX_LOG, f"has log {log}")
        _require(frame in (1, width), f"has frames of {frame} values in a column of {width}")
        _require(1 <= frame * frames <= _MOST_LANE, f"has lanes of {frame * frames} values")
        _require(1 <= codes <= min(size, 1 << 16), f"has {codes} codes")
        _require(symbols <= _MOST_SYMBOLS and lows <= _MOST_LOW, f"has {symbols} symbols and {lows} low ones")
        _require(all(bool(classes[one]) == (one in features) for one in range(len(FEATURES))), "has wrong classes")
        _require(contexts <= _MOST_CONTEXTS, f"has {contexts} contexts")
        _require(1 <= tables <= contexts and low_tables <= symbols, f"has {tables} tables and {low_tables} low ones")
        _require(bool(low_tables) == bool(low_bits), f"has {low_tables} tables for {low_bits} low bits")
        every = tables + low_tables
        _require(every << log <= _MOST_ITEMS and every * max(symbols, lows) <= _MOST_ITEMS, f"has {every} tables")
        reader = PackedReader(memoryview(content)[_HEADER.size :], "code model", _RULE)
        ids = reader.packed(codes, "code", 0, size - 1)
        _require(np.bincount(ids, minlength=size).max() == 1, "has a code twice")
        maps = {
            one: reader.packed(frame if one == COLUMN else symbols + 1, FEATURES[one], 0, classes[one] - 1)
            for one in features
        }
        table_map = np.zeros(1, np.int64)
        if features:
            table_map = reader.packed(contexts, "table", 0, tables - 1)
        low_map = reader.packed(symbols, "low table", 0, low_tables - 1) if low_bits else None
        high = reader.packed(tables * symbols, "frequency", 0, 1 << log).reshape(tables, symbols)
        low = reader.packed(low_tables * lows, "frequency", 0, 1 << log).reshape(low_tables, lows) if low_bits else None
        reader.end()
        found = Contexts(maps, {one: classes[one] for one in features}, table_map)
        return cls(size, frame, frames, ModelParts(ids, low_bits, found, low_map, log, high, low))


def _require(holds: bool | np.bool_, what: str) -> None:
    """Refuse a model that breaks a rule."""
    if not holds:
        raise CorruptError(f"a code model {what}", rule=_RULE)
