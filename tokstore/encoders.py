"""Which encoder each column of a shard gets, and the objects that the shards of one writer share (codecs.md 2.3)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tokstore.block import ColumnRows, block_values, cut_ragged
from tokstore.codecs.bits import BitEncoder
from tokstore.codecs.categories import MAX_CATEGORIES, decode_categories, encode_categories
from tokstore.codecs.codes import CodeEncoder
from tokstore.codecs.dictionaries import choose_dictionary
from tokstore.codecs.numbers import NumberEncoder, in_steps
from tokstore.codecs.ranked import RankTable
from tokstore.codecs.ranking import LEVELS, Level, choose_encoder
from tokstore.codecs.text import TextEncoder
from tokstore.codecs.vector_model import VectorModel
from tokstore.column_types import BFLOAT16, BIT, EXACT, PCA, Bytes, Category, Codes, Score, Text, Tokens, Vector
from tokstore.column_writer import NewColumn, digest_values
from tokstore.frames import Dictionary, compress
from tokstore.objects import CATEGORIES, CODE_MODEL, DICTIONARY, RANK_TABLE, VECTOR_MODEL, StoredObject, encode_object
from tokstore.rounded import Rounded, twice_rounded
from tokstore.schema import Column
from tokstore.vector_encoding import (
    ExactEncoder,
    ModelEncoder,
    choose_model,
    keep_transform,
    keeps_budget,
    quality_record,
)

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
        rounded: What rounded the vectors of the next shard before, by column id; whoever gave it may change it.

    Attributes:
        waiting: Objects that have to be in the store before a root names their files, by digest.
        brought: Objects that came with the shards since the last commit, by digest, with their bytes.
    """

    def __init__(self, level: str, load: LoadObject | None, rounded: dict[int, Rounded] | None = None) -> None:
        self._level, self._load, self._rounded = level, load, {} if rounded is None else rounded
        self._held: dict[int, _Held | None] = {}
        self.waiting: dict[bytes, StoredObject] = {}
        self.brought: dict[bytes, int] = {}

    def current(self) -> dict[int, tuple[bytes, int]]:
        """Return the objects that later shards may share: digest and stored bytes by column id."""
        held = {one: held.stored for one, held in self._held.items() if held is not None}
        return {one: (stored.digest, len(stored.data)) for one, stored in held.items()}

    def prepare(self, column: Column, rows: ColumnRows, pool: ThreadPoolExecutor) -> NewColumn:
        """Choose the encoder of one column of a shard.

        Args:
            column: The column.
            rows: All its rows in the shard.
            pool: Threads for what can be done beside the blocks.
        """
        kind, name = column.type, column.level or self._level
        level, numbers = LEVELS[name], _NUMBER_LEVELS[name]
        if isinstance(kind, Tokens):
            return self._tokens(column, kind, rows, level, pool)
        if isinstance(kind, (Text, Bytes)):
            return self._strings(column, rows, level, pool)
        if isinstance(kind, Category):
            return self._categories(column, rows, numbers)
        if isinstance(kind, Codes) and name != "plain":
            return self._codes(column, kind, rows, name, pool)
        if isinstance(kind, Vector):
            return self._vectors(column, kind, rows, name, pool)
        if kind.dtype_number == BIT:
            return NewColumn(column, rows, BitEncoder(numbers))
        step = None
        if isinstance(kind, Score) and kind.max_error is not None:
            values, step = in_steps(rows.values, kind.max_error)
            rows = replace(rows, values=values)
        encoder = NumberEncoder(kind.dtype, numbers, width=kind.width, step=step, whole=kind.dtype_number != BFLOAT16)
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
        digest = pool.submit(digest_values, rows)  # beside counting, which takes one thread
        encoder = choose_encoder(rows.values, kind.vocab_size, level, shared, _estimated_bytes, pool)
        table = encoder.table
        if table is None:
            return NewColumn(column, rows, encoder, bounds=bounds, digest=digest)
        if held is not None and table is shared:
            return NewColumn(column, rows, encoder, lambda: held.stored, bounds, digest=digest)
        made = pool.submit(encode_object, RANK_TABLE, table.encode())
        return NewColumn(column, rows, encoder, self._bring(column, table, made), bounds, digest=digest)

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

    def _codes(self, column: Column, kind: Codes, rows: ColumnRows, level: str, pool: ThreadPoolExecutor) -> NewColumn:
        """Fit the model of a shard of codes; at the levels that care for bytes with contexts."""
        frames = None if kind.ragged else kind.width // kind.frame
        encoder = CodeEncoder.for_values(rows.values, kind.size, kind.frame, frames, level != "fast")
        if encoder.model is None:
            return NewColumn(column, rows, encoder)
        made = pool.submit(encode_object, CODE_MODEL, encoder.model.encode())
        return NewColumn(column, rows, encoder, self._bring(column, encoder.model, made))

    def _vectors(
        self, column: Column, kind: Vector, rows: ColumnRows, level: str, pool: ThreadPoolExecutor
    ) -> NewColumn:
        """Choose the model of a shard of vectors."""
        if kind.method == EXACT:
            return NewColumn(column, rows, ExactEncoder(kind, _NUMBER_LEVELS[level], rows.values))
        entropy = kind.method == PCA and level not in ("plain", "fast")
        before = self._rounded.get(column.column_id)
        if before is not None:
            return self._rounded_again(column, kind, rows, level, before, pool)
        held = self._shared(column, lambda content: VectorModel.decode(content, kind.dim, kind.ends))
        shared = None if held is None else held.made
        model = choose_model(kind, rows, shared, entropy)
        encoder = ModelEncoder(model, entropy, LEVELS[level].zstd)
        if held is not None and model is shared:
            stored = held.stored
            needed: Callable[[], StoredObject] = lambda: stored  # noqa: E731
        else:
            needed = self._bring(column, model, pool.submit(encode_object, VECTOR_MODEL, model.encode()))
        quality = quality_record(kind, rows, model)
        return NewColumn(column, rows, encoder, needed, canonical=encoder.stored, quality=quality)

    def _rounded_again(
        self, column: Column, kind: Vector, rows: ColumnRows, level: str, before: Rounded, pool: ThreadPoolExecutor
    ) -> NewColumn:
        """Encode vectors of which some were rounded once as the integers that these are."""
        entropy = kind.method == PCA and level not in ("plain", "fast")
        model = keep_transform(kind, rows, before.model, entropy)
        quality = before.quality(kind, rows, model)
        if before.fresh is not None and not keeps_budget(kind, rows, model, entropy):
            # A budget promises bytes and no error, and new vectors do not fit into it.
            model = choose_model(kind, rows, None, entropy)
            quality = twice_rounded(quality, quality_record(kind, rows, model))

        def held() -> StoredObject:
            self.waiting.setdefault(before.stored.digest, before.stored)
            return before.stored

        needed = held
        if model is not before.model:
            needed = self._bring(column, model, pool.submit(encode_object, VECTOR_MODEL, model.encode()))
        encoder = ModelEncoder(model, entropy, LEVELS[level].zstd)
        return NewColumn(column, rows, encoder, needed, canonical=encoder.stored, quality=quality)

    def _categories(self, column: Column, rows: ColumnRows, zstd_level: int) -> NewColumn:
        """Give a shard of categories their numbers, and its list, which is that of the store where nothing is new."""
        held = self._shared(column, decode_categories)
        names: list[str] = [] if held is None else list(held.made)
        known = {name: number for number, name in enumerate(names)}
        there = rows.values if rows.valid is None else rows.values[rows.valid]
        new = [name for name in dict.fromkeys(there.tolist()) if name not in known]
        if len(names) + len(new) > MAX_CATEGORIES:
            raise ValueError(
                f"column {column.name!r} would have more than {MAX_CATEGORIES} categories; use a Text column for them"
            )
        if not names and not new:
            new = [""]  # the number of a missing row has to stand for something
        known.update({name: len(names) + i for i, name in enumerate(new)})
        names += new
        values = np.zeros(rows.rows, column.type.dtype)
        numbers = np.fromiter((known[name] for name in there.tolist()), column.type.dtype, len(there))
        values[slice(None) if rows.valid is None else rows.valid] = numbers
        rows = replace(rows, values=values)
        encoder = NumberEncoder(column.type.dtype, zstd_level).narrow(values)
        if held is not None and not new:
            return NewColumn(column, rows, encoder, lambda: held.stored)
        made: Future[StoredObject] = Future()
        made.set_result(encode_object(CATEGORIES, encode_categories(names)))
        return NewColumn(column, rows, encoder, self._bring(column, names, made))


def _estimated_bytes(table: RankTable) -> int:
    """Estimate what a table takes at rest: compressed at a quick level, less what the slow one saves on such bytes.

    The slow compression of the table that is chosen runs beside that of the blocks. Measured over two corpora and two
    vocabularies, level 9 takes 1.04 to 1.07 times the bytes of level 19, in a tenth of its time.
    """
    return int(_QUICK_RATIO * len(compress(table.encode(), _QUICK_LEVEL)))
