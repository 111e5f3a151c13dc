"""What n-grams are of: the values of a column, or the words of its text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.column_types import Text, Tokens
from tokstore.dedup.pair_rows import ReadRows
from tokstore.dedup.token_bytes import TokenBytes
from tokstore.dedup.words import word_rows
from tokstore.packed import Ints
from tokstore.schema import Column
from tokstore.store import Store
from tokstore.tokenizer import TOKENIZER_FILE

__all__ = ["NGRAMS", "GramsOf", "grams_of"]

NGRAMS = ("tokens", "text")
Rows = tuple[NDArray[Any], Ints]


@dataclass(frozen=True)
class GramsOf:
    """What n-grams are of.

    Attributes:
        kind: ``"tokens"``: the values of the column. ``"text"``: the words of its text.
        tokenizer: What identifies the tokenizer that the words depend on; ``None`` for none.
        convert: Returns the words of rows; ``None`` where values stay as they are.
    """

    kind: str = "tokens"
    tokenizer: str | None = None
    convert: Callable[[NDArray[Any], Ints], Rows] | None = None

    @property
    def plan(self) -> dict[str, Any]:
        """What signatures depend on."""
        return {"ngrams": self.kind} | ({} if self.tokenizer is None else {"tokenizer": self.tokenizer})

    def of(self, values: NDArray[Any], lengths: Ints) -> Rows:
        """Return what the n-grams of rows are of, and how many each row has."""
        return (values, lengths) if self.convert is None else self.convert(values, lengths)

    def reading(self, read: ReadRows) -> ReadRows:
        """Return what reads rows and gives that."""
        if self.convert is None:
            return read
        return lambda rows: self.of(*read(rows))


def grams_of(store: Store, column: Column, kind: str) -> GramsOf:
    """Return what the n-grams of a column are of.

    Args:
        store: The store, with its tokenizer.
        column: The column.
        kind: ``"tokens"`` or ``"text"``.

    Raises:
        ValueError: Another kind.
        TypeError: The column has no text.
        MissingFileError: The store has no tokenizer.
    """
    if kind not in NGRAMS:
        raise ValueError(f'ngrams is "tokens" or "text", not {kind!r}')
    if kind == "tokens":
        return GramsOf()
    if isinstance(column.type, Text):
        return GramsOf(kind, None, word_rows)
    if not isinstance(column.type, Tokens):
        raise TypeError(f'ngrams="text" is for tokens and texts, and column {column.name!r} is {column.type!r}')
    table = TokenBytes.of_store(store.attachments, store.metadata, store.path)
    attached = store._version.root.attachments.get(TOKENIZER_FILE)
    name = "bytes" if attached is None else attached[0].hex()

    def convert(values: NDArray[Any], lengths: Ints) -> Rows:
        return word_rows(*table.decode(np.asarray(values), lengths))

    return GramsOf(kind, name, convert)
