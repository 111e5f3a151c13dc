"""Views <-> what is saved of them: ids for positions, and what has become of the samples since (format.md 8.7)."""

from __future__ import annotations

import time
import warnings

import numpy as np

from tokstore.errors import ColumnError, ExistsError, UnsupportedError
from tokstore.packed import Ints
from tokstore.sample_ids import positions_of
from tokstore.saved_view import SavedView, check_owner, view_path
from tokstore.schema import Schema
from tokstore.selection import runs_of
from tokstore.version import Version
from tokstore.view_state import State, state_of

__all__ = ["restored", "saved_of", "write_saved"]

_IDS_AT_ONCE = 1 << 20


def saved_of(version: Version, state: State, ids: Ints, schema: Schema | None, recipe: tuple[str, ...]) -> SavedView:
    """Return what is saved of a view.

    Args:
        version: Its version.
        state: Its samples, order and weights.
        ids: The sample ids in view order.
        schema: Its columns; ``None`` for all.
        recipe: Its verbs.
    """
    _, order, weights = state
    by_id: Ints | None = None
    if (np.diff(ids) < 0).any():
        by_id = np.argsort(ids, kind="stable")
    ascending = ids if by_id is None else ids[by_id]
    ranks = None
    if order is not None:
        ranks = np.arange(len(ids)) if by_id is None else np.empty(len(ids), np.int64)
        if by_id is not None:
            ranks[by_id] = np.arange(len(ids))
    return SavedView(
        version.root.store_id,
        version.root.version,
        time.time_ns() // 1_000_000,
        *runs_of(ascending),
        ranks,
        weights if weights is None or by_id is None else weights[by_id],
        None if schema is None else tuple(sorted(column.column_id for column in schema.columns)),
        recipe,
    )


def write_saved(version: Version, name: str, made: SavedView, exist: str) -> None:
    """Write a saved view under a name.

    Raises:
        ExistsError: The name is taken.
        UnsupportedError: The store is a single file.
    """
    if exist not in ("error", "replace"):
        raise ValueError(f'exist is "error" or "replace", not {exist!r}')
    path, storage = view_path(name), version.storage
    if version.file_name is not None:
        raise UnsupportedError(
            "a view cannot be saved beside a single file", path=version.path, hint="materialize it instead"
        )
    version.root.features.check_write("the store")
    data = made.encode()
    if exist == "replace":
        storage.replace(path, data)
    elif not storage.put_if_absent(path, data):
        raise ExistsError(
            "a view of that name is saved", path=storage.describe(path), hint='choose another, or exist="replace"'
        )


def restored(version: Version, saved: SavedView, name: str) -> tuple[State, Schema | None]:
    """Return the samples of a saved view in a version, and its columns; warn of those that are gone.

    Raises:
        CorruptError: The view is of another store.
        ColumnError: All its columns are gone.
    """
    root = version.root
    check_owner(saved, root.store_id, version.storage.describe(view_path(name)))
    positions = _positions(version, saved)
    there = positions >= 0
    if not there.all() or len(positions) < saved.samples:
        gone = saved.samples - int(np.count_nonzero(there))
        _warn(name, f"{gone} of {saved.samples} samples are not in version {root.version}")
    schema = None
    if saved.columns is not None:
        kept = [column for column in root.schema.columns if column.column_id in set(saved.columns)]
        if not kept:
            raise ColumnError(f"no column of the view {name!r} is in version {root.version}")
        if len(kept) < len(saved.columns):
            _warn(name, f"{len(saved.columns) - len(kept)} of its columns are not in version {root.version}")
        schema = Schema.from_columns(kept)
    places = np.arange(len(positions)) if saved.order is None else saved.order[saved.order < len(positions)]
    places = places[there[places]]
    if saved.order is None:
        places = places[np.argsort(positions[places], kind="stable")]
    found = positions[places]
    weights = None if saved.weights is None else saved.weights[places]
    return state_of(found, weights), schema


def _positions(version: Version, saved: SavedView) -> Ints:
    """Return the positions of samples by ascending ids, -1 for those that are gone; ids that the version has not
    given out yet are left out."""
    known = version.root.next_sample_id
    used = saved.first < known
    first = saved.first[used]
    count = np.minimum(saved.count[used], known - first)
    ends = np.cumsum(count)
    parts = [np.zeros(0, np.int64)]
    total = int(ends[-1]) if len(ends) else 0
    for at in range(0, total, _IDS_AT_ONCE):
        places = np.arange(at, min(at + _IDS_AT_ONCE, total))
        run = np.searchsorted(ends, places, side="right")
        parts.append(positions_of(version, first[run] + places - (ends - count)[run]))
    return np.concatenate(parts)


def _warn(name: str, message: str) -> None:
    """Say what a saved view does not have any more."""
    warnings.warn(f"view {name!r}: {message}, and are left out", UserWarning, stacklevel=4)
