"""Columns that say which samples are duplicates of which, and which samples of a view stay (registry.md 6).

``dup_<name>_of`` has the sample id of the first sample of a cluster for all its other samples. With ``dup_<name>_link``
and ``dup_<name>_similarity`` clusters are known at any threshold: a sample belongs with what it is linked to, as long
as the similarity is not below the threshold.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.errors import ColumnError, suggest
from tokstore.packed import Ints
from tokstore.schema import Schema

__all__ = [
    "METHODS",
    "DuplicateColumns",
    "check_columns",
    "cluster_keys",
    "first_places",
    "named_columns",
    "note_of",
    "noted",
]

METHODS = ("exact", "near", "semantic")
Bools = NDArray[np.bool_]
_PARTS = ("of", "size", "similarity", "link", "signature", "share", "mask")
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}\Z")


@dataclass(frozen=True)
class DuplicateColumns:
    """Names of the columns of one search for duplicates.

    Attributes:
        of: Sample id of the representative; missing for a sample that stays.
        size: Samples in the cluster, 1 for a sample without duplicates.
        similarity: Similarity of the pair that joined it to the cluster of `link`.
        link: Sample id of the first sample of the cluster that this one was joined to.
        signature: What later runs take instead of reading the sample again.
        share: Share of the tokens of a sample that lie in spans which came before.
        mask: Which tokens do not.
    """

    of: str
    size: str
    similarity: str
    link: str
    signature: str
    share: str
    mask: str


def named_columns(name: str) -> DuplicateColumns:
    """Return the names of the columns of a search.

    Raises:
        ValueError: The name is no part of a column name.
    """
    if not isinstance(name, str) or not _NAME.match(name):
        raise ValueError(f"a name of duplicates is 1 to 64 letters, digits and '_', not {name!r}")
    return DuplicateColumns(*(f"dup_{name}_{part}" for part in _PARTS))


def command(name: str) -> str:
    """Return the command that makes the columns of a search."""
    if name in METHODS:
        more = " --column EMBEDDING" if name == "semantic" else ""
        return f"tokstore dedup STORE --method {name}{more}"
    return f"tokstore dedup STORE --method near --name {name}"


def note_of(metadata: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what the metadata of a store say of a search; nothing if it is not there."""
    notes = metadata.get("dedup")
    found = notes.get(name) if isinstance(notes, dict) else None
    return found if isinstance(found, dict) else {}


def noted(metadata: Mapping[str, Any], name: str, note: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of a store with what is to be said of a search.

    Raises:
        ValueError: They use the key for something else.
    """
    others = metadata.get("dedup", {})
    if not isinstance(others, dict):
        raise ValueError('the metadata of the store have the key "dedup", where searches for duplicates keep facts')
    return {**metadata, "dedup": others | {name: dict(note)}}


def check_columns(
    schema: Schema, name: str, metadata: Mapping[str, Any], store_id: str, threshold: float | None
) -> None:
    """Refuse a search whose columns are not there, are of another store, or do not know a threshold.

    Args:
        schema: The columns of the store.
        name: Of the search.
        metadata: Of the store.
        store_id: Its id, in hexadecimal.
        threshold: The least similarity of duplicates; ``None`` for that of the search.
    """
    names, note = named_columns(name), note_of(metadata, name)
    if names.of not in schema and names.share in schema:
        raise ColumnError(
            f"no column {names.of!r}: the search was for spans",
            hint=f"where('{names.share} == 0') has the samples without any",
        )
    if names.of not in schema:
        known = [one[4:-3] for one in schema.names if one.startswith("dup_") and one.endswith("_of")]
        hint = f"`{command(name)}` makes it" + (f"; {suggest(name, known)}" if known else "")
        raise ColumnError(f"no column {names.of!r}", hint=hint)
    if note.get("store", store_id) != store_id:
        raise ValueError(
            f"the columns of duplicates {name!r} were made in another store and name its samples; "
            f"`{command(name)}` makes them anew"
        )
    if threshold is None:
        return
    if names.link not in schema or names.similarity not in schema:
        raise ColumnError(
            f"no columns {names.link!r} and {names.similarity!r}, which threshold= needs",
            hint="exact duplicates have no threshold",
        )
    floor = note.get("floor", 0.0)
    if not floor <= threshold <= 1:
        raise ValueError(
            f"threshold is a similarity from {floor:.3g}, below which duplicates {name!r} were not looked for, to 1, "
            f"not {threshold}"
        )


def cluster_keys(ids: Ints, link: Ints, linked: Bools) -> Ints:
    """Return for every sample the id of the sample at which its links end.

    Args:
        ids: Sample ids.
        link: The id that every sample is linked to; a smaller one.
        linked: Which links count.

    Example:
        >>> ids = np.array([0, 1, 2, 3])
        >>> cluster_keys(ids, np.array([0, 0, 1, 0]), np.array([False, True, True, False])).tolist()
        [0, 0, 0, 3]
    """
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    keys = np.where(linked, link, ids)
    while True:
        at = np.minimum(np.searchsorted(ordered, keys), max(len(ids) - 1, 0))
        # A link to a sample that is deleted ends there: those that share it still belong together.
        further = np.where(ordered[at] == keys, keys[order[at]], keys) if len(ids) else keys
        if np.array_equal(further, keys):
            return keys
        keys = further


def first_places(keys: Ints, best: NDArray[np.float64] | None) -> Ints:
    """Return one place of every cluster, ascending.

    Args:
        keys: What samples of one cluster have in common.
        best: The one with the highest of these numbers is taken, and NaN counts as the lowest; the first one of equal
            ones, or of all if there are no numbers.
    """
    if best is None:
        return np.sort(np.unique(keys, return_index=True)[1])
    order = np.lexsort((-best, keys))  # stable: equal ones stay as they come, and NaN comes last
    first = np.ones(len(keys), bool)
    first[1:] = keys[order][1:] != keys[order][:-1]
    return np.sort(order[first])
