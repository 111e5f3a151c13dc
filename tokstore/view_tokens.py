"""`TokenReader`: what a loader asks of a view: token counts, spans, lengths, runs of tokens (order.md 4)."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.column_types import Tokens
from tokstore.deliver import deliver_batch, reorder, result_dtype
from tokstore.errors import ColumnError, CorruptError, MissingFileError, suggest
from tokstore.losses import Lost, TokensLost
from tokstore.lossy_rows import read_lossy_rows
from tokstore.packed import Ints
from tokstore.ragged import Ragged
from tokstore.reading import fetch_blocks, read_lengths, read_rows
from tokstore.recycling import Given, recycling
from tokstore.schema import Column
from tokstore.touched import Touched, touched_blocks
from tokstore.under_way import Stored
from tokstore.version import ShardRows, Version
from tokstore.view_reader import ViewReader
from tokstore.view_spans import ViewSpans, ordered_spans, selected_spans, stored_spans
from tokstore.view_values import missing_rows
from tokstore.wire import checksum

__all__ = ["TokenReader"]

_KNOWN_SAMPLES, _KNOWN_SHARDS = 1 << 20, 64


class TokenReader(ViewReader):
    """A view as a loader sees it."""

    _spans: ViewSpans | None = None
    _known: tuple[Version, Ints] | None = None

    @property
    def token_column(self) -> str:
        """Name of the first token column: the primary one, or one that was added to a store that was made without.

        Raises:
            ColumnError: There is none.
        """
        counted = self._counted
        if not isinstance(counted.type, Tokens):
            raise ColumnError("there is no token column", hint=suggest("tokens", self.schema.names))
        return counted.name

    @property
    def _counted(self) -> Column:
        """The column whose values spans count."""
        primary = self.schema.primary
        if isinstance(primary.type, Tokens):
            return primary
        return next((one for one in self.schema.columns if isinstance(one.type, Tokens)), primary)

    @property
    def token_count(self) -> int:
        """Values of the token column in all samples."""
        name = self.token_column
        if self._chosen is None and self._is_primary(name):
            return self._version.root.totals.values
        return int(self.spans().values.sum())

    def _is_primary(self, name: str) -> bool:
        """Tell whether a column is the one whose spans the version has."""
        return name == self._version.root.schema.primary.name

    @property
    def fingerprint(self) -> str:
        """What the order of samples depends on: store, version, and which samples of it."""
        root = self._version.root
        parts = [root.store_id.hex(), str(root.version)]
        if self._chosen is not None or self._order is not None:
            seed = 0 if self._order is None else checksum(self._order.astype("<i8").tobytes(), 1)
            parts.append(f"{seed if self._chosen is None else self._chosen.digest(seed):016x}")
        if not self._is_primary(self._counted.name):
            parts.append(str(self._counted.column_id))
        return "/".join(parts)

    def lengths(self, first: int = 0, stop: int | None = None, *, column: str | None = None) -> Ints:
        """Return how many values samples have in a ragged column; nothing is decoded.

        Args:
            first: First position.
            stop: End of the positions; ``None`` for the end of the view.
            column: Its name; the token column by default.
        """
        chosen = self.schema.column(column or self.token_column)
        if not chosen.type.ragged:
            raise TypeError(f"column {chosen.name!r} has one value per sample")
        begin, end, _ = slice(first, stop).indices(len(self))
        known = self._known_lengths() if column is None else None
        if known is not None:
            return known[begin : max(begin, end)].copy()
        return self._lengths(chosen, np.arange(begin, end))

    def _known_lengths(self) -> Ints | None:
        """Return the token counts of all samples, kept from the first time, where that costs little."""
        version = self._version
        if len(self) > _KNOWN_SAMPLES or int(version.root.pages["shards"].sum()) > _KNOWN_SHARDS:
            return None
        if self._known is None or self._known[0] is not version:
            found = self._lengths(self.schema.column(self.token_column), np.arange(len(self)))
            self._known = version, found
        return self._known[1]

    def _lengths(self, column: Column, places: Ints) -> Ints:
        """Return how many values samples at ascending places have."""
        groups, order = self._located(places)
        found = read_lengths(self._version, column, groups)
        return found if order is None else found[order]

    def token_blocks(self, first: int = 0, stop: int | None = None) -> Touched:
        """Return how many blocks hold tokens of samples, and what they take; nothing is decoded.

        Args:
            first: First position.
            stop: End of the positions; ``None`` for the end of the view.
        """
        begin, end, _ = slice(first, stop).indices(len(self))
        groups, _ = self._located(np.arange(begin, end))
        return touched_blocks(self._version, self.schema.column(self.token_column), groups)

    def read_range(
        self,
        first: int,
        stop: int,
        *,
        skip: int = 0,
        limit: int | None = None,
        out: NDArray[Any] | None = None,
        lost: TokensLost | None = None,
        stored: Stored | None = None,
    ) -> NDArray[Any]:
        """Return the tokens of consecutive samples as one flat array, on the caller's thread.

        They are uint16 where the vocabulary allows it, else int32, or int64 above 2**31 ids: for readers that hold
        many. The array's memory is used again when the caller lets go of it.

        Args:
            first: First position.
            stop: End of the positions.
            skip: Tokens to leave out at the start.
            limit: Tokens to return at most. Only blocks that hold returned tokens are read.
            out: Where to put them, if it has exactly as much room as there are and the dtype that the result would
                have; else it is not used.
            lost: Told what cannot be read, whose tokens are 0 then; without it that is an error.
            stored: From `fetch`; blocks that are not in it are fetched.
        """
        column = self.schema.column(self.token_column)
        if not skip and limit is None:
            return self._values(column, first, stop, out=out, lost=lost, stored=stored)
        parts = [
            self._values(column, a, b, begin, end, lost=lost, stored=stored)
            for a, b, begin, end in self._runs(column, first, stop, skip, limit)
        ]
        return np.concatenate([np.zeros(0, result_dtype(column, compact=True)), *parts])

    def fetch(
        self, wanted: Sequence[tuple[Ints | tuple[int, int], int, int | None]], *, column: str | None = None
    ) -> Stored:
        """Fetch the stored bytes of tokens in one trip, to be decoded later by `read_samples` and `read_range`.

        Args:
            wanted: Positions as of `read_samples`, or first position and end as of `read_range`, with `skip` and
                `limit`. For positions these are 0 and ``None``.
            column: A column of `Codes` instead of tokens.
        """
        chosen = self.schema.column(column or self.token_column)
        found: list[tuple[Sequence[ShardRows], int, int | None]] = []
        for places, skip, limit in wanted:
            if not isinstance(places, tuple):
                found.append((self._located(places)[0], 0, None))
                continue
            first, stop = places
            runs: list[tuple[int, int, int, int | None]] = [(first, stop, 0, None)]
            if skip or limit is not None:
                runs = self._runs(chosen, first, stop, skip, limit)
            found += [(self._located(np.arange(a, b))[0], begin, end) for a, b, begin, end in runs]
        return fetch_blocks(self._version, chosen, found)

    def _runs(
        self, column: Column, first: int, stop: int, skip: int, limit: int | None
    ) -> list[tuple[int, int, int, int | None]]:
        """Return which samples are read together where a part of consecutive ones is wanted, and what of each.

        Samples that are cut at the start or the end are read alone, the whole ones between them together.
        """
        lengths = self._lengths(column, np.arange(first, stop))
        ends = np.cumsum(lengths)
        starts = ends - lengths
        until = int(ends[-1]) if len(ends) else 0
        until = until if limit is None else min(until, skip + limit)
        used = np.flatnonzero((ends > skip) & (starts < until))
        if not len(used):
            return []
        low, high = int(used[0]), int(used[-1]) + 1
        edges = sorted({low, low + (skip > starts[low]), high - (until < ends[high - 1]), high})
        runs: list[tuple[int, int, int, int | None]] = []
        for a, b in pairwise(edges):
            begin, end = (max(0, skip - int(starts[a])), until - int(starts[a])) if b - a == 1 else (0, None)
            runs.append((first + a, first + b, begin, end))
        return runs

    def read_samples(
        self,
        positions: Ints,
        *,
        column: str | None = None,
        out: NDArray[Any] | None = None,
        pool: Executor | None = None,
        lost: TokensLost | None = None,
        stored: Stored | None = None,
    ) -> NDArray[Any]:
        """Return the tokens of samples at ascending positions as one flat array; the dtypes are those of `read_range`.

        Args:
            positions: int64, ascending, each once.
            column: A column of `Codes` instead of tokens: int32.
            out: As of `read_range`.
            pool: Threads to decode on, for a caller who waits for a few samples: of blocks of which less than half is
                wanted only that is decoded, and it is not kept. By default the caller's thread decodes.
            lost, stored: As of `read_range`.
        """
        chosen = self.schema.column(column or self.token_column)
        groups, order = self._located(positions)
        found = None if lost is None else Lost()
        # Out of order, values would lie in `out` in the wrong order for a moment.
        arrays = recycling() if out is None or order is not None else Given(out)
        rows = read_rows(
            self._version,
            [chosen],
            groups,
            pool=pool,
            compact=True,
            arrays=arrays,
            lost=found,
            # From afar a block that another window wants too is kept, so that it is not fetched again.
            once=pool is not None and not self._version.storage.is_far,
            stored=stored,
        )[chosen.name]
        if lost is not None and found is not None:
            lost.add(found, rows, order)
        return rows.values if order is None else reorder(rows, order).values

    def read_aligned(
        self, positions: Ints, name: str, start: int, stop: int, *, lost: TokensLost | None = None
    ) -> tuple[Ragged, Ints]:
        """Return part of what samples have in a column with one value for every token, and how many tokens each has.

        Args:
            positions: int64, ascending, each once.
            name: The column.
            start: First token of every sample whose value is wanted.
            stop: End of these tokens.
            lost: As of `read_range`.

        Raises:
            ValueError: A sample has another number of values than of tokens.
        """
        column, tokens = self.schema.column(name), self.schema.column(self.token_column)
        groups, order = self._located(positions)
        width = column.type.width
        counts, wanted = (
            read_lengths(self._version, column, groups) // width,
            read_lengths(self._version, tokens, groups),
        )
        if (wrong := counts != wanted).any():
            row = int(wrong.argmax())
            lacks = not counts[row] and missing_rows(self._version, column, groups)[row]
            has = "no value" if lacks else f"{int(counts[row])} values"
            raise ValueError(
                f"column {name!r} has {has} for the {int(wanted[row])} tokens of sample id "
                f"{int(self._ids(groups)[row])}, and one for every token is wanted (order.md 7.8)"
            )
        found = None if lost is None else Lost()
        begin, end = start * width, stop * width
        rows = read_rows(self._version, [column], groups, start=begin, stop=end, lost=found)[name]
        if lost is not None and found is not None:
            lost.add(found, rows, order)
        if order is not None:
            rows, wanted = reorder(rows, order), wanted[order]
        batch: Ragged = deliver_batch(column, rows)
        return batch, wanted

    def take_lossy(self, positions: Ints, columns: Sequence[str], lost: TokensLost) -> dict[str, Any]:
        """Return what `take` returns, and what cannot be read as missing: whole rows of texts and arrays too.

        Args:
            positions: As of `take`.
            columns: Names.
            lost: Told the blocks that cannot be read.
        """
        try:
            return self.take(positions, columns)
        except (CorruptError, MissingFileError):
            groups, order = self._located(self._positions(positions), ascending=False)
        ids, found = self._ids(groups), {}
        for column in self._columns(columns):
            rows, blocks = read_lossy_rows(self._version, column, groups)
            lost.blocks += blocks
            found[column.name] = deliver_batch(column, rows if order is None else reorder(rows, order))
        return found | {"sample_id": ids if order is None else ids[order]}

    def _values(
        self,
        column: Column,
        first: int,
        stop: int,
        begin: int = 0,
        end: int | None = None,
        out: NDArray[Any] | None = None,
        lost: TokensLost | None = None,
        stored: Stored | None = None,
    ) -> NDArray[Any]:
        """Return the values of consecutive samples, or a part of every one."""
        groups, order = self._located(np.arange(first, stop))
        found = None if lost is None else Lost()
        rows = read_rows(
            self._version,
            [column],
            groups,
            start=begin,
            stop=end,
            compact=True,
            arrays=recycling() if out is None or order is not None else Given(out),
            lost=found,
            stored=stored,
        )[column.name]
        if lost is not None and found is not None:
            lost.add(found, rows, order)
        return rows.values if order is None else reorder(rows, order).values

    def spans(self) -> ViewSpans:
        """Return the spans of all samples in order (format.md 7.3).

        Those of a whole version are stored, and no data file is opened. Of some samples, each span has those that begin
        in it with all their values; in an order of its own, or of tokens that were added to a store that was made
        without, a view has spans of about 2**18 values.
        """
        column = self._counted
        is_stored = self._is_primary(column.name)
        if self._chosen is None and self._order is None and is_stored:
            return stored_spans(self._version)
        if self._spans is None:
            has_tokens = isinstance(self._version.root.schema.primary.type, Tokens)
            is_apart = isinstance(column.type, Tokens) and not has_tokens
            if self._order is not None or is_apart:
                self._spans = ordered_spans(self._lengths(column, np.arange(len(self))))
            else:
                lengths = partial(self._lengths, column)
                self._spans = selected_spans(stored_spans(self._version), self._chosen, is_stored, lengths)
        return self._spans

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_spans": None, "_known": None}
