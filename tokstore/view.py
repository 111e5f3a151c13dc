"""`View`: choose samples, by verbs that each give a new view (format.md 7.1).

A view never changes: it is pinned to a version, and every verb works on what the view before it holds. Choosing reads
only the columns that it is by, and copies nothing but positions.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore import choosing, draws, duplicates
from tokstore.exporting import Exporting
from tokstore.materialize import write_store
from tokstore.packed import Ints
from tokstore.sample_ids import positions_of
from tokstore.saving import saved_of, write_saved
from tokstore.schema import Schema
from tokstore.selection import Selection
from tokstore.view_state import State, state_of
from tokstore.weights import as_numbers, filled, fixed_weights
from tokstore.where import search
from tokstore.writing import Progress

__all__ = ["View"]


class View(Exporting):
    """Samples of one version, by position.

    Use ``len(view)``, ``view[17]`` (one sample as a dict), ``view[5:9]`` and ``view[[5, 1, 9]]`` (batches),
    ``view["quality"]`` (a whole column), `take`, `scan`, or iterate; choose with `where`, `select`, `sort`, `sample`,
    `top`, `split`, `weigh` and ``|``, ``&``, ``-`` of views of one version. Safe for threads.

    Example:
        >>> import tempfile, tokstore as ts
        >>> with ts.create(path := tempfile.mkdtemp() + "/s", ts.Schema(tokens=ts.Tokens(9), q=ts.Score())) as w:
        ...     w.extend(tokens=[[1, 2], [3], [4, 5, 6]], q=[0.9, 0.1, 0.7])
        >>> good = ts.open(path).where("q >= 0.5 and length(tokens) > 2")
        >>> good["sample_id"].tolist(), good.token_count
        ([2], 3)
    """

    def _keep(self, kept: Selection, step: str) -> View:
        """Return the view of those samples that have one of some positions."""
        return self._next(self._kept(kept), step)

    def _pick(self, places: Ints, step: str) -> View:
        """Return the view of the samples at distinct places, in the order of the places."""
        return self._next(self._picked(places), step)

    def _next(self, state: State, step: str) -> View:
        """Return the next view of a chain of verbs."""
        return View(self._version, state, self._schema, (*self._recipe, step))

    def where(
        self,
        condition: str | Sequence[Any] | Callable[[dict[str, Any]], Any] | None = None,
        /,
        *,
        ids: Any = None,
        columns: Sequence[str] | None = None,
    ) -> View:
        """Return the samples for which a condition is true.

        A comparison with something missing is neither true nor false, and neither is ``not`` of it: such samples are
        left out. NaN compares as in IEEE 754. A number is compared in the precision of its column.

        Args:
            condition: Text such as ``"quality >= 0.5 and source in ('web', 'books') and length(tokens) > 64"``, with
                ``== != < <= > >=``, ``and or not``, ``in``, ``is missing``, ``length(column)`` and ``sample_id``; names
                of classes compare as strings. Or tuples, which all hold, ``[("quality", ">=", 0.5)]``, or lists of
                tuples, of which one holds. Or a function from a batch to booleans.
            ids: Sample ids: only these. Ids that the view does not have are passed over.
            columns: What a function gets; all by default.

        Raises:
            ValueError: The condition breaks the grammar; the message shows where.
            ColumnError: No such column.
            TypeError: Values of different kinds are compared, or of a kind that cannot be.

        Example:
            >>> store.where("0.2 <= quality < 0.8 and not label in ('spam', 'ham')")  # doctest: +SKIP
        """
        if condition is None and ids is None:
            raise TypeError("where() takes a condition, or ids=")
        view = self
        if ids is not None:
            array = np.asarray(ids)
            if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
                raise TypeError("ids are a flat list of integers")
            positions = np.unique(positions_of(self._version, array.astype(np.int64)))
            view = view._keep(Selection.from_positions(positions[positions >= 0]), f"where(ids=<{array.size} ids>)")
        if condition is None:
            return view
        if callable(condition):
            places = choosing.by_function(condition, view.scan(columns))
            return view._pick(places, f"where({choosing.name_of(condition)})")
        if columns is not None:
            raise TypeError("columns= is what a function gets; a condition names its own")
        node, text = choosing.bound(condition, self.schema)
        return view._keep(search(self._version, node, view._chosen, self._threads()), f"where({text!r})")

    def select(self, columns: Sequence[str]) -> View:
        """Return the view with only some columns; they stay in the order of the store.

        Args:
            columns: Names, one or more.

        Raises:
            ColumnError: No such column.
        """
        ids = {column.column_id for column in self._columns(columns)}
        if not ids:
            raise ValueError("a view has at least one column")
        schema = Schema.from_columns([column for column in self.schema.columns if column.column_id in ids])
        step = f"select({list(schema.names)!r})"
        return View(self._version, self._state, schema, (*self._recipe, step))

    def sort(self, by: str, *, descending: bool = False) -> View:
        """Return the samples in the order of a column; equal ones stay as they are.

        Labels are sorted by number, texts by code points. NaN comes after all numbers and missing last, ascending or
        descending.

        Args:
            by: A column, ``length(column)`` or ``sample_id``.
            descending: From the highest on.
        """
        places = choosing.sorted_places(self._read, self.schema, by, descending)
        return self._pick(places, choosing.named("sort", by=by, descending=descending or None))

    def sample(
        self,
        n: int | None = None,
        *,
        fraction: float | None = None,
        tokens: int | None = None,
        by: str | None = None,
        seed: int = 0,
    ) -> View:
        """Draw samples without replacement, in view order.

        The draw depends on the seed and the sample ids alone, so that after an append only few samples change.

        Args:
            n: How many.
            fraction: Their share, instead.
            tokens: How many tokens at most, instead: samples are drawn until the next one would be too much.
            by: A column with the weights they are drawn by; the weights of `weigh` have no influence.
            seed: From 0 to 2**64 - 1.

        Raises:
            ValueError: There are not as many, or a weight is missing, negative, NaN or infinite.
        """
        amount = draws.amount_of(len(self), n, fraction, tokens)
        weights = None
        if by is not None:
            weights = filled(*choosing.numbers(self._read, self.schema, by), None, f"column {by!r}")
        places = choosing.drawn(self["sample_id"], seed, weights, amount, self.lengths)
        return self._pick(places, choosing.named("sample", n=n, fraction=fraction, tokens=tokens, by=by, seed=seed))

    def top(
        self,
        column: str,
        n: int | None = None,
        *,
        tokens: int | None = None,
        fraction: float | None = None,
        lowest: bool = False,
    ) -> View:
        """Return the samples with the highest values of a column, in view order; of equal ones the first.

        Missing and NaN are never among them.

        Args:
            column: A column of numbers, ``length(column)`` or ``sample_id``.
            n: How many.
            tokens: How many tokens at most, instead: samples are taken until the next one would be too much.
            fraction: Their share of all samples, instead.
            lowest: Those with the lowest values.

        Raises:
            ValueError: There are not as many.
        """
        amount = draws.amount_of(len(self), n, fraction, tokens)
        places = choosing.top_places(self._read, self.schema, column, lowest, amount, self.lengths)
        given = {"n": n, "tokens": tokens, "fraction": fraction, "lowest": lowest or None}
        return self._pick(places, choosing.named("top", column=column, **given))

    def split(self, shares: Mapping[str, float], *, by: str | None = None, seed: int = 0) -> dict[str, View]:
        """Divide the samples into views, of which each sample is in exactly one.

        Where a sample goes depends on the seed and its id alone, so that it stays there when others are appended. Sizes
        follow the shares as chance has it.

        Args:
            shares: Name and share of every part, in an order that matters; they add up to 1.
            by: A column whose equal values stay together; a sample without a value goes its own way.
            seed: From 0 to 2**64 - 1.

        Example:
            >>> train, val = store.split({"train": 0.995, "val": 0.005}).values()  # doctest: +SKIP
        """
        parts = choosing.split_parts(self._read, self.schema, shares, by, seed)
        step = choosing.named("split", shares=dict(shares), by=by, seed=seed)
        return {name: self._pick(part, f"{step}[{name!r}]") for name, part in zip(shares, parts, strict=True)}

    def dedup(self, name: str, keep: str = "first", *, by: str | None = None, threshold: float | None = None) -> View:
        """Return the samples without duplicates: one of every cluster that ``tokstore dedup`` has found, in view order.

        Which clusters there are is in columns of the store; which sample of one stays is decided among those of the
        view, so that a cluster never goes as a whole.

        Args:
            name: The name of the search: ``"exact"``, ``"near"``, ``"semantic"``, or what ``--name`` said.
            keep: ``"first"`` keeps the first sample of a cluster in view order; ``"best"`` the one with the highest
                value of a column.
            by: That column, of numbers; samples without a number come last, and of equal ones the first is kept.
            threshold: Count samples as duplicates from this similarity on; by default that of the search.

        Raises:
            ColumnError: The columns are not there; the message has the command that makes them.
            ValueError: They are of another store, or the threshold is below that of the search.

        Example:
            >>> clean = store.dedup("near", keep="best", by="quality")  # doctest: +SKIP
        """
        if keep not in ("first", "best") or (keep == "best") != (by is not None):
            raise ValueError(f'keep is "first", or "best" with by= and a column, not {keep!r} with by={by!r}')
        keys = self._cluster_keys(name, threshold)
        best = None
        if by is not None:
            values, lacking = choosing.numbers(self._read, self.schema, by)
            best = np.where(lacking, np.nan, values)
        places = duplicates.first_places(keys, best)
        keep_other = keep if by is not None else None
        step = choosing.named("dedup", name=name, keep=keep_other, by=by, threshold=threshold)
        return self._pick(places, f"{step} [{len(self) - len(places):,} dropped]")

    # Sets ---------------------------------------------------------------------------------------------------------

    def _other(self, other: View) -> Selection:
        """Return the samples of another view of the same version."""
        mine, its = self._version.root, other._version.root
        if (mine.store_id, mine.version) != (its.store_id, its.version):
            raise ValueError(
                f"views of different versions cannot be joined: version {mine.version} of {self.path} and version "
                f"{its.version} of {other.path}; save one and load it from the other's store"
            )
        return other._set()

    def _joined(self, state: State, sign: str, other: View) -> View:
        """Return a view with one step that says what was joined."""
        return View(self._version, state, self._schema, (f"({self.recipe} {sign} {other.recipe})",))

    def __and__(self, other: object) -> View:
        """Return the samples that are in both, with order, weights and columns of this view."""
        if not isinstance(other, View):
            return NotImplemented
        return self._joined(self._kept(self._other(other)), "&", other)

    def __sub__(self, other: object) -> View:
        """Return the samples that are not in the other view, with order, weights and columns of this one."""
        if not isinstance(other, View):
            return NotImplemented
        return self._joined(self._kept(self._set() - self._other(other)), "-", other)

    def __or__(self, other: object) -> View:
        """Return the samples of this view and those that only the other has, with the columns of this one.

        In the order of the version if both are; else this view's come first. Samples keep their weights, this view's
        where they are in both, and 1 where their view has none.
        """
        if not isinstance(other, View):
            return NotImplemented
        theirs = View(self._version, other._kept(self._other(other) - self._set()))
        positions = np.concatenate([one._at(np.arange(len(one))) for one in (self, theirs)])
        weights = None
        if self.is_weighted or other.is_weighted:
            weights = np.concatenate([one._fixed_weights() for one in (self, theirs)])
        if self._order is None and other._order is None:
            ascending = np.argsort(positions, kind="stable")
            positions, weights = positions[ascending], None if weights is None else weights[ascending]
        return self._joined(state_of(positions, weights), "|", other)

    # Weights ------------------------------------------------------------------------------------------------------

    def weigh(
        self,
        by: str | NDArray[Any] | Sequence[float] | Callable[[dict[str, Any]], Any],
        *,
        mean: float | None = None,
        missing: float | None = None,
        columns: Sequence[str] | None = None,
    ) -> View:
        """Return the samples with weights: how often each is expected in an epoch, in steps of 2**-16.

        Weights that there were are replaced. Reading pays weights no heed; `StreamingDataset` draws by them.

        Args:
            by: A column of numbers, one number per sample, or a function from a batch to one number per sample.
            mean: Scale all weights so that this is their mean; ``None`` takes them as they are.
            missing: What a sample without a number weighs, before that. NaN of an array or a function
                counts as missing.
            columns: What a function gets; all by default.

        Raises:
            ValueError: Missing weights without ``missing=``, negative, infinite, NaN or too large ones.
        """
        what = f"column {by!r}" if isinstance(by, str) else choosing.name_of(by)
        if isinstance(by, str):
            values, lacking = choosing.numbers(self._read, self.schema, by)
        elif callable(by):
            parts = [(as_numbers(by(b), len(b["sample_id"]), what)) for b in self.scan(columns)]
            values = np.concatenate([np.zeros(0), *(part for part, _ in parts)])
            lacking = np.concatenate([np.zeros(0, bool), *(none for _, none in parts)])
        else:
            values, lacking = as_numbers(by, len(self), what)
        weights = fixed_weights(filled(values, lacking, missing, what), mean, what)
        step = choosing.named("weigh", by=what, mean=mean, missing=missing)
        return self._next((self._chosen, self._order, weights), step)

    # Keeping it ---------------------------------------------------------------------------------------------------

    def save(self, name: str, *, exist: str = "error") -> None:
        """Keep the view in the store, by sample ids, under a name; `Store.load` gives it back in any version.

        Args:
            name: Letters, digits, ``.``, ``_`` and ``-``.
            exist: ``"error"`` refuses a name that is taken; ``"replace"`` puts this view in its place.

        Raises:
            ExistsError: The name is taken.
            UnsupportedError: The store is a single file.
        """
        made = saved_of(self._version, self._state, self["sample_id"], self._schema, self._recipe)
        write_saved(self._version, name, made, exist)

    def materialize(
        self,
        path: str | os.PathLike[str],
        *,
        level: str | None = None,
        attachments: Mapping[str, str | os.PathLike[str] | bytes] | None = None,
        metadata: Mapping[str, Any] | None = None,
        shard_tokens: int = 1 << 27,
        threads: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """Write the samples as a new store, encoded anew, with sample ids of its own; for a view so thin that reading
        it wastes decoding.

        Args:
            path: A folder that is free, or a file that ends in ``.tok``.
            level: As of `create`; by default every column keeps its own.
            attachments: Files that travel with the store; by default those of this one.
            metadata: Anything that JSON can hold; by default that of this store.
            shard_tokens: Tokens of one shard.
            threads: Threads that encode.
            progress: Called with a `Progress` of samples.

        Raises:
            ExistsError: The target is there.
        """
        write_store(
            path,
            self.schema.columns,
            self._row_batches(),
            len(self),
            level=level,
            attachments=self.attachments if attachments is None else attachments,
            metadata=self.metadata if metadata is None else metadata,
            shard_tokens=shard_tokens,
            threads=threads,
            progress=progress,
        )
