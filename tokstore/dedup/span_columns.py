"""Mark spans that were seen before in columns of a store: repeats within it, or what another store has."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore._version import __version__
from tokstore.column_types import Mask, Score, Tokens
from tokstore.dedup.sample_rows import SampleRows
from tokstore.dedup.search import MEMORY
from tokstore.dedup.spans import contained, masks, repeats, repeats_of_new, shares
from tokstore.dedup.workspace import work_folder, workspace
from tokstore.dedup.written import Made, write_columns
from tokstore.duplicates import DuplicateColumns, named_columns, note_of, noted
from tokstore.editing import counted
from tokstore.packed import Ints
from tokstore.root import Root
from tokstore.store import Store
from tokstore.tokenizer import TOKENIZER_FILE
from tokstore.user_metadata import encode_user_metadata
from tokstore.view import View
from tokstore.where import bind_field
from tokstore.wire import checksum
from tokstore.writing import Progress

__all__ = ["mark_spans"]


def mark_spans(
    store: Store,
    *,
    against: View | None = None,
    ngram: int | None = None,
    name: str | None = None,
    where: str | None = None,
    memory: int = MEMORY,
    folder: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Find spans of tokens that came before, and write columns that say so, as one version.

    ``dup_<name>_share`` has the share of the tokens of a sample that lie in such spans; ``dup_<name>_mask`` is true for
    the tokens that do not, as a loss mask. Samples that an earlier run of the same plan has seen keep their values: of
    another store only new samples are read, and in the store itself, where old ones are read once for grams of the new
    ones, nothing else is sorted, compared or written. Where old samples were deleted since, all is done anew. A run
    that was stopped goes on where it was. ``store.where("dup_<name>_share == 0")`` has the samples without any.

    Args:
        store: The store.
        against: Look for what these samples have too, of another store, such as a test set; by default for what comes
            earlier in the store itself.
        ngram: Tokens of a span at least; 13 with `against`, else 50.
        name: The name of the search; ``"against"`` or ``"spans"`` by default.
        where: A condition: only these samples of the store.
        memory: Bytes to take at most; the grams of `against` come on top, about 20 bytes each.
        folder: In what folder the run keeps a folder of its own, with a byte for every token; beside the store by
            default, and a temporary one for an object store.
        progress: Called with a `Progress`.

    Returns:
        The facts that the metadata of the store have of it: parameters, ``samples``, ``touched`` of them and tokens.

    Raises:
        UnsupportedError: The store is read-only.
        ValueError: An argument is out of range, no sample is in scope, or the stores have other tokens.

    Example:
        >>> mark_spans(ts.open("corpus"), against=ts.open("test"))["touched"]  # doctest: +SKIP
        17
    """
    n = ngram if ngram is not None else 50 if against is None else 13
    if not 2 <= n <= 1024:
        raise ValueError(f"ngram is an integer from 2 to 1024, not {n}")
    store._check_writable()
    chosen = name or ("spans" if against is None else "against")
    names = named_columns(chosen)
    noted(store.metadata, chosen, {})  # a key that is taken is told before anything is read
    column = store._version.root.schema.column(store.token_column)
    rows = SampleRows(store if where is None else store.where(where), column)
    if not len(rows):
        raise ValueError(f"{store.path}: no sample is in scope: column {column.name!r}, where={where!r}")
    plan = {
        "method": "spans" if against is None else "against",
        "against": None if against is None else f"{against.path} {against.version} {against.recipe}",
        "against_store": None if against is None else against._version.root.store_id.hex(),
        "ngram": n,
        "where": where,
        "store": store._version.root.store_id.hex(),
    }
    other = None if against is None else _other_rows(store, column.type, against)
    fresh = _fresh(store, chosen, rows, plan, memory)
    new = rows if fresh is None else rows.part(fresh)
    with _work(store, chosen, folder, plan | {"memory": memory, "samples": _content(new)}) as work:
        if other is not None:
            report = counted(progress, len(new) + len(other), "read samples")
            begins = contained(new, other, n, work, report)
        else:
            begins = repeats(new, n, memory, work, counted(progress, len(new), "read samples"))
        if other is None and fresh is not None:
            old = rows.part(np.setdiff1d(np.arange(len(rows)), fresh))
            begins = begins | repeats_of_new(new, old, n, counted(progress, len(old), "read samples"))
        share = shares(new, begins, n)
        data, mask = np.zeros(len(store), np.float32), np.ones(len(store), bool)
        if fresh is not None:
            data, mask = (np.array(one) for one in store._read(bind_field(store.schema, names.share)))
        data[new.positions], mask[new.positions] = share, False
        every = data[rows.positions]
        note = plan | {
            "of_version": store.version,
            "tokstore": __version__,
            "samples": len(rows),
            "read": len(new),
            "touched": int(np.count_nonzero(every)),
            "tokens": int(rows.lengths.sum()),
            "tokens_in_spans": int(np.rint((every.astype(np.float64) * rows.lengths).sum())),
        }
        if fresh is None:
            made = [
                Made(names.share, Score(), np.ma.MaskedArray(data, mask)),
                Made(names.mask, Mask(of=column.name), masks(rows, begins, n, len(store))),
            ]
            report = counted(progress, len(made) * len(store), "write columns")
            write_columns(store, made, [], lambda known: noted(known, chosen, note), report)
        else:
            _fill(store, names, chosen, note, new, share, begins, progress)
    return note


def _fresh(store: Store, name: str, rows: SampleRows, plan: dict[str, Any], memory: int) -> Ints | None:
    """Return the rows that an earlier run of the same plan has not seen; ``None`` where all have to be looked at."""
    names, note = named_columns(name), note_of(store.metadata, name)
    same = all(key in note and note[key] == value for key, value in plan.items()) and plan["where"] is None
    if not same or not {names.share, names.mask} <= set(store.schema):
        return None
    missing = store.missing(names.share)[rows.positions]
    fresh, known = np.flatnonzero(missing), int(np.count_nonzero(~missing))
    if plan["method"] == "against":
        return fresh
    # What came before must be what came before then, and grams of what is new have to fit into memory.
    is_prefix = note["samples"] == known and not missing[:known].any()
    return fresh if is_prefix and int(rows.lengths[fresh].sum()) <= memory // 64 else None


def _fill(
    store: Store,
    names: DuplicateColumns,
    name: str,
    note: dict[str, Any],
    new: SampleRows,
    share: NDArray[np.float32],
    begins: NDArray[np.bool_],
    progress: Callable[[Progress], None] | None,
) -> None:
    """Give new samples their values. The mask comes first: a sample that has a share has both."""
    at, ids = new.positions, new.sample_ids()
    if not len(at):
        return
    rows = [one for batch in masks(new, begins, note["ngram"], len(store)) for one in batch if one is not None]
    store.fill_column(names.mask, rows, ids=ids, progress=progress)

    def sign(root: Root, draft: Root) -> Root:
        known = {} if root.metadata is None else dict(json.loads(root.metadata))
        return replace(draft, metadata=encode_user_metadata(noted(known, name, note)))

    column = store.schema.column(names.share)
    source = store._by_ids(column, share, ids)
    store._fill(column, source, counted(progress, len(ids), "write columns"), None, sign)


@contextlib.contextmanager
def _work(store: Store, name: str, folder: Path | None, plan: dict[str, Any]) -> Iterator[Path]:
    """Give a folder: one in which a run goes on that was stopped, or a temporary one for an object store."""
    path = work_folder(store, name, folder)
    if path is None:
        with tempfile.TemporaryDirectory(prefix="tokstore-spans-") as made:
            yield Path(made)
        return
    with workspace(path, plan) as (work, _):
        yield work


def _content(rows: SampleRows) -> str:
    """Return what tells the samples of a run from others."""
    return f"{len(rows)} {checksum(rows.sample_ids().astype('<i8').tobytes(), 0):016x}"


def _other_rows(store: Store, kind: Any, against: View) -> SampleRows:
    """Return the samples of another store, if its tokens mean the same."""
    column = against._version.root.schema.column(against.token_column)
    if not isinstance(column.type, Tokens) or column.type.vocab_size != kind.vocab_size:
        raise ValueError(
            f"{against.path}: column {column.name!r} is {column.type!r}, and {store.path} has {kind!r}: their tokens "
            "are not the same; tokenize the texts with the tokenizer of the store"
        )
    mine, its = (one._version.root.attachments.get(TOKENIZER_FILE) for one in (store, against))
    if mine is not None and its is not None and mine[0] != its[0]:
        raise ValueError(
            f"{against.path} has another {TOKENIZER_FILE} than {store.path}: their tokens are not the same"
        )
    return SampleRows(against, column)
