"""Which shards are worth rewriting, and which of them together: from pages and deletions alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokstore.column_types import Tokens, UnknownType
from tokstore.errors import UnsupportedError
from tokstore.format import MAX_SHARD_SAMPLES
from tokstore.packed import Ints
from tokstore.pages import Page
from tokstore.placement import FIRST_FILE
from tokstore.version import Version
from tokstore.writing import SHARD_BYTES

__all__ = ["ToRewrite", "groups_to_rewrite"]

_SMALL = 0.5
"""A shard is small if it fills less than this share of a full one: two of them make one that is not small any more."""


@dataclass(frozen=True)
class ToRewrite:
    """Neighbouring shards to be rewritten by one commit.

    Attributes:
        keys: What tells them from others (`Page.shard_keys`).
        samples: Samples that are left in them.
    """

    keys: list[bytes]
    samples: int


@dataclass(frozen=True)
class _Shards:
    """Shards of a page as far as they matter here: what tells each from others, how full a shard it would make, the
    samples left, and whether its deleted samples are worth rewriting it."""

    keys: list[bytes]
    fill: NDArray[np.float64]
    samples: Ints
    is_wanted: NDArray[np.bool_]


def groups_to_rewrite(
    version: Version, *, min_deleted: float, max_shards: int, shard_tokens: int, merge: bool, erase: bool
) -> list[ToRewrite]:
    """Return the groups of shards that are worth rewriting, in order.

    Args:
        version: The version.
        min_deleted: Share of deleted samples from which on a shard is rewritten.
        max_shards: Shards in a group, at most.
        shard_tokens: Tokens of a full shard.
        merge: Rewrite small neighbours without deletions too.
        erase: Rewrite every shard with a deletion, and those that share a file or object with one.
    """
    unknown = next((c.name for c in version.root.schema.columns if isinstance(c.type, UnknownType)), None)
    if unknown is not None:
        raise UnsupportedError(
            f"column {unknown!r} has a type that this version does not know, so that its shards cannot be rewritten",
            rule="format.md 6.1",
            hint="use a newer tokstore",
        )
    groups: list[ToRewrite] = []
    tainted = _tainted(version) if erase else frozenset()
    joined = _joined(
        [_shards_of(version, n, min_deleted, shard_tokens, tainted) for n in range(len(version.root.pages))]
    )
    keys: list[bytes] = []
    samples, end = 0, -1
    for first, stop in _bins(joined, max_shards):
        some = slice(first, stop)
        if not joined.is_wanted[some].any() and not (merge and stop - first > 1):
            continue
        if keys and (first != end or len(keys) + stop - first > max_shards):
            groups.append(ToRewrite(keys, samples))
            keys, samples = [], 0
        keys = keys + joined.keys[some]
        samples, end = samples + int(joined.samples[some].sum()), stop
    return groups + ([ToRewrite(keys, samples)] if keys else [])


def _bins(shards: _Shards, max_shards: int) -> Iterator[tuple[int, int]]:
    """Yield runs of neighbouring shards that fit into one shard together, of those that may be rewritten."""
    candidates = (shards.is_wanted | (shards.fill < _SMALL)).tolist()
    fill, at = shards.fill.tolist(), 0
    while at < len(fill):
        if not candidates[at]:
            at += 1
            continue
        stop, held = at + 1, fill[at]
        while stop < len(fill) and candidates[stop] and held + fill[stop] <= 1 and stop - at < max_shards:
            held += fill[stop]
            stop += 1
        yield at, stop
        at = stop


def _shards_of(
    version: Version, number: int, min_deleted: float, shard_tokens: int, tainted: frozenset[bytes]
) -> _Shards:
    """Return the shards of a page that have samples."""
    (page,), gone = version.pages([number]), version.deletions(number)
    deleted = np.zeros(page.shards, np.int64) if gone is None else gone.deleted
    values_gone = np.zeros(page.shards, np.int64) if gone is None else gone.deleted_values
    left = page.samples - deleted
    share = left / np.maximum(page.samples, 1)
    schema, tokens = version.root.schema, np.zeros(page.shards, np.int64)
    nbytes = np.zeros(page.shards)
    for column in schema.columns:
        p = page.columns.get(column.column_id)
        if p is None:
            continue
        if column.column_id == schema.primary.column_id and isinstance(column.type, Tokens):
            tokens = p.values - values_gone
        else:
            nbytes = nbytes + p.values * column.type.dtype.itemsize * share
    fill = np.maximum(np.maximum(tokens / shard_tokens, nbytes / SHARD_BYTES), left / MAX_SHARD_SAMPLES)
    wanted = (deleted > 0) & (deleted >= min_deleted * page.samples)
    if tainted:
        is_tainted = np.array([bool(tainted & names) for names in _names(page)] or [False], bool)
        for p in page.columns.values():
            inside = p.where >= FIRST_FILE
            wanted[inside] |= is_tainted[p.where[inside] - FIRST_FILE]
    full = page.samples > 0
    keys = [key for key in page.shard_keys() if key]
    return _Shards(keys, fill[full], left[full], wanted[full])


def _joined(each: list[_Shards]) -> _Shards:
    """Return the shards of all pages."""
    return _Shards(
        [key for one in each for key in one.keys],
        np.concatenate([np.zeros(0), *(one.fill for one in each)]),
        np.concatenate([np.zeros(0, np.int64), *(one.samples for one in each)]),
        np.concatenate([np.zeros(0, bool), *(one.is_wanted for one in each)]),
    )


def _tainted(version: Version) -> frozenset[bytes]:
    """Return the files and objects in which something of deleted samples may be."""
    found: set[bytes] = set()
    for number in range(len(version.root.pages)):
        (page,), gone = version.pages([number]), version.deletions(number)
        if gone is None:
            continue
        names = _names(page)
        for p in page.columns.values():
            used = p.where[(gone.deleted > 0) & (p.where >= FIRST_FILE)]
            for file in np.unique(used).tolist():
                found |= names[file - FIRST_FILE]
    return frozenset(found)


def _names(page: Page) -> list[frozenset[bytes]]:
    """Return the id of each file of a page with the digests of its objects."""
    return [frozenset([file_id, *page.objects_of(i)]) for i, file_id in enumerate(page.file_ids)]
