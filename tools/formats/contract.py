"""What a foreign format is: recognise a path, read batches of columns with declared types, write batches.

A module of a format has one object that follows `Format`, and names it as an entry point of the group
``tokstore.formats``; packages of others add theirs in the same way. Values cross in the form that `tokstore` itself
takes and gives: `tokstore.Ragged` for rows of different length, numpy arrays, lists of strings, bytes or ``None``,
`tokstore.SoftLabels`. Which rows lack a value stands beside them, because an empty row is not a missing one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import tokstore as ts
from tokstore.errors import TokstoreError

__all__ = [
    "TOKEN_NAMES",
    "Batch",
    "Export",
    "Format",
    "Ids",
    "Objects",
    "Problems",
    "ReadOptions",
    "Source",
    "take_rows",
]

TOKEN_NAMES = ("input_ids", "tokens", "token_ids", "ids")
"""Names under which lists of integers are taken for token ids, the most telling first."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Ids:
    """Token ids whose vocabulary the source does not tell.

    Attributes:
        optional: Samples may come without them.
        vocab_size: The size of the vocabulary where the source does tell it, without the special ids of
            `tokstore.Tokens`.
        eos_id: The id that ends a document, where the source tells it.
    """

    optional: bool = False
    vocab_size: int | None = None
    eos_id: int | None = None


@dataclass(frozen=True)
class Objects:
    """Python objects, such as chats, which go through a tokenizer and into no column."""

    optional: bool = False


@dataclass
class Batch:
    """Rows of some columns.

    Attributes:
        place: What a message names: the file.
        first_row: Number of the first row in that file, from 0.
        rows: How many rows there are.
        columns: Values by name.
        missing: Of columns in which some rows lack a value: which.
        numbers: Numbers of the rows in the file, where they do not follow each other.
    """

    place: str
    first_row: int
    rows: int
    columns: dict[str, Any]
    missing: dict[str, Bools] = field(default_factory=dict)
    numbers: NDArray[np.int64] | None = None

    def number(self, row: int) -> int:
        """Return the number in the file of a row of the batch."""
        return self.first_row + row if self.numbers is None else int(self.numbers[row])

    def keep(self, kept: Bools) -> Batch:
        """Return only some rows."""
        return self.take(np.flatnonzero(kept))

    def take(self, rows: NDArray[np.int64]) -> Batch:
        """Return rows by their place in the batch."""
        return replace(
            self,
            rows=len(rows),
            numbers=self.first_row + rows if self.numbers is None else self.numbers[rows],
            columns={name: take_rows(values, rows) for name, values in self.columns.items()},
            missing={name: gone[rows] for name, gone in self.missing.items()},
        )


def take_rows(values: Any, rows: NDArray[np.int64]) -> Any:
    """Return rows of values in any of the forms of a batch.

    Example:
        >>> take_rows(["a", "b", "c"], np.array([2, 0]))
        ['c', 'a']
    """
    if isinstance(values, list):
        return [values[row] for row in rows.tolist()]
    return values[rows]


class Problems:
    """What to do about a bad row: stop with an error that names it, or leave it out and count it.

    Args:
        on_error: ``"stop"`` or ``"skip"``.

    Example:
        >>> problems = Problems("skip")
        >>> problems.bad("a.parquet", 17, "an id is null")
        >>> problems.count, problems.first
        (1, 'a.parquet: row 17: an id is null')
    """

    def __init__(self, on_error: str = "stop") -> None:
        if on_error not in ("stop", "skip"):
            raise ValueError(f'on_error is "stop" or "skip", not {on_error!r}')
        self.skips = on_error == "skip"
        self.count = 0
        self.first: str | None = None

    def bad(self, place: str, row: int | None, message: str) -> None:
        """Report a row, or with ``None`` a whole file, that cannot be taken.

        Raises:
            ValueError: Unless bad rows are skipped.
        """
        text = f"{place}: {message}" if row is None else f"{place}: row {row}: {message}"
        if not self.skips:
            raise ValueError(text)
        self.count += 1
        self.first = self.first or text

    def bad_file(self, error: ValueError | TokstoreError) -> None:
        """Report a file of several that cannot be opened.

        Raises:
            ValueError, TokstoreError: The error, unless bad files are skipped as bad rows are.
        """
        if not self.skips:
            raise error
        self.count += 1
        self.first = self.first or str(error)

    def bad_rows(self, batch: Batch, wrong: Bools, message: str) -> Batch:
        """Report rows of a batch, and return the batch without them."""
        for row in np.flatnonzero(wrong).tolist():
            self.bad(batch.place, batch.number(row), message)
        return batch.keep(~wrong) if wrong.any() else batch


@dataclass
class ReadOptions:
    """What a reader is told.

    Attributes:
        columns: Only these; ``None`` for all.
        types: Types of columns that the format cannot tell, or that are to be others, by name.
        problems: Where bad rows go.
        dtype: The dtype of raw ids in files that do not say it.
        doc_end: The id that ends a document in a file of nothing but ids; ``None`` where each file is one sample.
        seq_len: Cut a file of nothing but ids into samples of this length.
        bytes_read: One number, in a list so that readers can add to it.
    """

    columns: Sequence[str] | None = None
    types: Mapping[str, ts.Tokens | Any] = field(default_factory=dict)
    problems: Problems = field(default_factory=Problems)
    dtype: str | None = None
    doc_end: int | None = None
    seq_len: int | None = None
    bytes_read: list[int] = field(default_factory=lambda: [0])

    def wants(self, name: str) -> bool:
        """Tell whether a column is asked for."""
        return self.columns is None or name in self.columns


class Source(Protocol):
    """One opened path."""

    columns: Mapping[str, Any]
    """Column types by name, in order; `Ids` for token ids of an unknown vocabulary."""
    rows: int | None
    """How many samples there are, where that is known without reading them."""
    total_bytes: int | None
    """What `ReadOptions.bytes_read` will have grown by at the end."""
    lost: Sequence[str]
    """One line for everything that is there and cannot be carried."""

    def batches(self) -> Iterator[Batch]:
        """Yield all rows, bounded in memory; every call begins anew."""
        ...


@dataclass
class Export:
    """What a writer is given.

    Attributes:
        schema: The columns.
        rows: How many samples there are.
        scan: Yields all of them; every call begins anew.
        lost: Writers add one line for everything that they cannot carry.
        dtype: The dtype of ids, where the format leaves a choice.
        doc_end: An id to put behind every sample, in files of nothing but ids.
        shard_rows: Rows of one file, for formats of many files; ``None`` for the format's own choice.
        lacking: Columns that some samples lack.
        left_out: Columns that a writer does not write.
        read_back: Names in the store by the names under which a reader of the format gives them back, where they are
            others.
        keeps_rows: Whether the format tells where samples end.
    """

    schema: ts.Schema
    rows: int
    scan: Any
    lost: list[str] = field(default_factory=list)
    dtype: str | None = None
    doc_end: int | None = None
    shard_rows: int | None = None
    lacking: frozenset[str] = frozenset()
    left_out: set[str] = field(default_factory=set)
    read_back: dict[str, str] = field(default_factory=dict)
    keeps_rows: bool = True

    def lose(self, name: str, why: str) -> None:
        """Leave a column out, and say why."""
        self.left_out.add(name)
        self.lost.append(f"column {name!r}: {why}")

    def batches(self) -> Iterator[Batch]:
        """Yield all samples."""
        yield from self.scan()


class Format(Protocol):
    """A foreign format.

    Attributes:
        name: What ``--format`` calls it.
        endings: Endings of its files, such as ``(".parquet",)``; the first is what a writer makes.
        writes: Whether `write` works.
        options: Those of ``dtype``, ``doc_end``, ``seq_len`` and ``shard_rows`` that reading or writing minds.
        survives: Which columns and metadata come through, in one line.
    """

    name: str
    endings: tuple[str, ...]
    writes: bool
    options: tuple[str, ...]
    survives: str

    def sniff(self, path: str) -> bool:
        """Tell whether a path holds this format, by looking at a few bytes or names."""
        ...

    def open(self, path: str, options: ReadOptions) -> Source:
        """Open a path."""
        ...

    def write(self, path: str, export: Export) -> None:
        """Write a path that is not there yet: a file, or a folder for formats of many files.

        What it is called at last is not the business of a writer: the path is a neighbour that is renamed when all of
        it is there and was read back.
        """
        ...
