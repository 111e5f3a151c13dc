"""Which encoder each column of a shard gets, and the objects that the shards of one writer share (codecs.md 2.3, 8)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.block import ColumnRows, block_values, cut_ragged
from tokstore.codecs.bits import BitEncoder
from tokstore.codecs.categories import decode_categories, encode_categories
from tokstore.codecs.contract import EachEncoder, EncodedBlock
from tokstore.codecs.dictionaries import choose_dictionary
from tokstore.codecs.numbers import NumberEncoder, in_steps
from tokstore.codecs.ranked import RankTable
from tokstore.codecs.ranking import LEVELS, Level, choose_encoder
from tokstore.codecs.text import TextEncoder
from tokstore.column_types import BIT, Bytes, Category, Score, Text, Tokens, Vector
from tokstore.column_writer import NewColumn
from tokstore.frames import Dictionary, compress
from tokstore.objects import CATEGORIES, DICTIONARY, RANK_TABLE, StoredObject, encode_object
from tokstore.schema import Column

__all__ = ["Encoders", "LoadObject"]

LoadObject = Callable[[Column], tuple[bytes, StoredObject] | None]
"""Returns the object of a column that new shards may share: its content, and how it is stored."""

_QUICK_LEVEL, _QUICK_RATIO = 9, 0.94
_NUMBER_LEVELS = {"plain": 3, "fast": 3, "default": 6, "small": 19}


@dataclass(frozen=True)
class _Held:
    """An object that shards may share, and what was made of its content."""

    stored: StoredObject
    made: Any


class Encoders:
    """Choose encoders shard by shard.

    Args:
        level: Of columns that have none in the schema.
        load: Returns what the store has already.

    Attributes:
        waiting: Objects that have to be in the store before a root names their files, by digest.
        brought: Objects that came with the shards since the last commit, by digest, with their bytes.
    """

    def __init__(self, level: str, load: LoadObject | None) -> None:
        self._level, self._load = level, load
        self._held: dict[int, _Held | None] = {}
        self.waiting: dict[bytes, StoredObject] = {}
        self.brought: dict[bytes, int] = {}

    def current(self) -> dict[int, tuple[bytes, int]]:
        """Return the objects that later shards may share: digest and stored bytes by column id."""
        held = {one: held.stored for one, held in self._held.items() if held is not None}
        return {one: (stored.digest, len(stored.data)) for one, stored in held.items()}

    def categories(self, column: Column) -> list[str]:
        """Return the categories that the store has of a column."""
        held = self._shared(column, decode_categories)
        return [] if held is None else list(held.made)

    def prepare(
        self, column: Column, rows: ColumnRows, categories: Sequence[str], pool: ThreadPoolExecutor
    ) -> NewColumn:
        """Choose the encoder of one column of a shard.

        Args:
            column: The column.
            rows: All its rows in the shard.
            categories: The list that the numbers of a column of categories stand for.
            pool: Threads for what can be done beside the blocks.
        """
        kind, name = column.type, column.level or self._level
        level, numbers = LEVELS[name], _NUMBER_LEVELS[name]
        if isinstance(kind, Tokens):
            return self._tokens(column, kind, rows, level, pool)
        if isinstance(kind, (Text, Bytes)):
            return self._strings(column, rows, level, pool)
        if isinstance(kind, Category):
            return self._categories(column, rows, categories, numbers)
        if isinstance(kind, Vector):
            return NewColumn(column, rows, _GroupEncoder(kind, numbers, rows.values))
        if kind.dtype_number == BIT:
            return NewColumn(column, rows, BitEncoder(numbers))
        step = None
        if isinstance(kind, Score) and kind.max_error is not None:
            values, step = in_steps(rows.values, kind.max_error)
            rows = replace(rows, values=values)
        encoder = NumberEncoder(kind.dtype, numbers, width=kind.width, step=step)
        return NewColumn(column, rows, encoder.narrow(rows.values))

    def _shared(self, column: Column, decode: Callable[[bytes], Any]) -> _Held | None:
        """Return what the writer or the store has of a column."""
        if column.column_id not in self._held:
            found = None if self._load is None else self._load(column)
            self._held[column.column_id] = None if found is None else _Held(found[1], decode(found[0]))
        return self._held[column.column_id]

    def _bring(self, column: Column, made: Any, encoded: Future[StoredObject]) -> Callable[[], StoredObject]:
        """Return what hands out a new object once it is compressed, and lets later shards share it."""

        def needed() -> StoredObject:
            stored = encoded.result()
            self._held[column.column_id] = _Held(stored, made)
            if stored.digest not in self.waiting:
                self.waiting[stored.digest] = stored
                self.brought[stored.digest] = len(stored.data)
            return stored

        return needed

    def _tokens(
        self, column: Column, kind: Tokens, rows: ColumnRows, level: Level, pool: ThreadPoolExecutor
    ) -> NewColumn:
        """Choose rank table and dictionary of a shard of tokens."""
        lengths = rows.lengths if rows.lengths is not None else np.ones(len(rows.values), np.int64)
        bounds = cut_ragged(lengths, block_values(kind))
        held = self._shared(column, lambda content: RankTable.decode(content, kind.vocab_size))
        shared = None if held is None else held.made
        encoder = choose_encoder(rows.values, kind.vocab_size, level, shared, _estimated_bytes, pool)
        table = encoder.table
        if table is None:
            return NewColumn(column, rows, encoder, bounds=bounds)
        if held is not None and table is shared:
            return NewColumn(column, rows, encoder, lambda: held.stored, bounds)
        made = pool.submit(encode_object, RANK_TABLE, table.encode())
        return NewColumn(column, rows, encoder, self._bring(column, table, made), bounds)

    def _strings(self, column: Column, rows: ColumnRows, level: Level, pool: ThreadPoolExecutor) -> NewColumn:
        """Choose the dictionary of a shard of text."""
        if not level.dictionary_bytes:
            return NewColumn(column, rows, TextEncoder(level.zstd))
        held = self._shared(column, Dictionary)
        shared = None if held is None else held.made
        chosen = choose_dictionary(rows.values, level.zstd, shared)
        if chosen is None:
            return NewColumn(column, rows, TextEncoder(level.zstd))
        encoder = TextEncoder(level.zstd, chosen)
        if held is not None and chosen is shared:
            return NewColumn(column, rows, encoder, lambda: held.stored)
        made = pool.submit(encode_object, DICTIONARY, chosen.content)
        return NewColumn(column, rows, encoder, self._bring(column, chosen, made))

    def _categories(self, column: Column, rows: ColumnRows, categories: Sequence[str], zstd_level: int) -> NewColumn:
        """Give a shard of categories its list, which is that of the shard before it if nothing is new."""
        encoder = NumberEncoder(column.type.dtype, zstd_level).narrow(rows.values)
        held, names = self._shared(column, decode_categories), list(categories)
        if held is not None and held.made == names:
            return NewColumn(column, rows, encoder, lambda: held.stored)
        made: Future[StoredObject] = Future()
        made.set_result(encode_object(CATEGORIES, encode_categories(names)))
        return NewColumn(column, rows, encoder, self._bring(column, names, made))


class _GroupEncoder(EachEncoder):
    """Encode vectors as they are, each group of dimensions by itself."""

    codec = 2

    def __init__(self, kind: Vector, zstd_level: int, values: NDArray[Any]) -> None:
        self._dim, self._groups = kind.dim, []
        sample = values[: 4 * block_values(kind)].reshape(-1, kind.dim)
        begin = 0
        for end in kind.ends:
            encoder = NumberEncoder(kind.dtype, zstd_level, width=end - begin)
            self._groups.append((slice(begin, end), encoder.narrow(_flat(sample[:, begin:end]))))
            begin = end

    def encode_run(self, parts: Sequence[NDArray[Any]]) -> list[EncodedBlock]:
        """Encode parts of whole vectors: a block for each of them and each group."""
        return [
            encoder.encode(_flat(part.reshape(-1, self._dim)[:, group]))
            for part in parts
            for group, encoder in self._groups
        ]


def _flat(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the values of some dimensions, row after row."""
    return np.ascontiguousarray(rows).reshape(-1)


def _estimated_bytes(table: RankTable) -> int:
    """Estimate what a table takes at rest: compressed at a quick level, less what the slow one saves on such bytes.

    The slow compression of the table that is chosen runs beside that of the blocks. Measured over two corpora and two
    vocabularies, level 9 takes 1.04 to 1.07 times the bytes of level 19, in a tenth of its time.
    """
    return int(_QUICK_RATIO * len(compress(table.encode(), _QUICK_LEVEL)))
