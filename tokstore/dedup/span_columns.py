"""Mark spans that were seen before in columns of a store: repeats within it, or what another store has."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tokstore._version import __version__
from tokstore.column_types import Mask, Score, Tokens
from tokstore.dedup.sample_rows import SampleRows
from tokstore.dedup.search import MEMORY
from tokstore.dedup.spans import contained, masks, repeats, shares
from tokstore.dedup.written import Made, write_columns
from tokstore.duplicates import named_columns, noted
from tokstore.editing import counted
from tokstore.store import Store
from tokstore.tokenizer import TOKENIZER_FILE
from tokstore.view import View
from tokstore.writer import Progress

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
    the tokens that do not, as a loss mask. ``store.where("dup_<name>_share == 0")`` has the samples without any.

    Args:
        store: The store.
        against: Look for what these samples have too, of another store, such as a test set; by default for what comes
            earlier in the store itself.
        ngram: Tokens of a span at least; 13 with `against`, else 50.
        name: The name of the search; ``"against"`` or ``"spans"`` by default.
        where: A condition: only these samples of the store.
        memory: Bytes to take at most; the grams of `against` come on top, about 20 bytes each.
        folder: Where a file with a byte for every token lies meanwhile; a temporary one by default.
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
    with tempfile.TemporaryDirectory(dir=folder, prefix="tokstore-spans-") as work:
        if against is None:
            begins = repeats(rows, n, memory, Path(work), counted(progress, len(rows), "read samples"))
        else:
            other = _other_rows(store, column.type, against)
            report = counted(progress, len(rows) + len(other), "read samples")
            begins = contained(rows, other, n, report)
        share = shares(rows, begins, n)
        note = {
            "method": "spans" if against is None else "against",
            "against": None if against is None else f"{against.path} {against.version} {against.recipe}",
            "ngram": n,
            "where": where,
            "store": store._version.root.store_id.hex(),
            "of_version": store.version,
            "tokstore": __version__,
            "samples": len(rows),
            "touched": int(np.count_nonzero(share)),
            "tokens": int(rows.lengths.sum()),
            "tokens_in_spans": int(np.rint((share.astype(np.float64) * rows.lengths).sum())),
        }
        data, mask = np.zeros(len(store), np.float32), np.ones(len(store), bool)
        data[rows.positions], mask[rows.positions] = share, False
        made = [
            Made(names.share, Score(), np.ma.MaskedArray(data, mask)),
            Made(names.mask, Mask(of=column.name), masks(rows, begins, n, len(store))),
        ]
        report = counted(progress, len(made) * len(store), "write columns")
        write_columns(store, made, [], lambda known: noted(known, chosen, note), report)
    return note


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
