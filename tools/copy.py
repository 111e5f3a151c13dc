"""Stores and views to a store: what `ts.copy` and ``tokstore copy`` call.

A whole store is copied file by file, byte for byte. Several stores are merged: their samples follow each other in a new
store, encoded anew. A view is written as a store of its own.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import tokstore as ts
from tokstore.errors import ConflictError, ExistsError, TokstoreError

from .digest import Digests
from .export import view_batches
from .pack_columns import writable

__all__ = ["CopyReport", "copy"]

_CHUNK = 1 << 22


@dataclass(frozen=True)
class CopyReport:
    """What a call of `copy` did.

    Attributes:
        path: The store that was made.
        samples: Samples in it.
        stored_bytes: Bytes of all its files.
        how: ``"files"`` where bytes were copied as they are, ``"encoded"`` where samples were encoded anew.
        lost: One line for everything that was not carried.
    """

    path: str
    samples: int
    stored_bytes: int
    how: str
    lost: tuple[str, ...] = field(default=(), repr=False)


def copy(
    source: Any,
    path: str | os.PathLike[str],
    *,
    level: str | None = None,
    progress: Callable[[ts.Progress], None] | None = None,
) -> CopyReport:
    """Copy a store, merge several, or write a view as a store.

    Args:
        source: A store, a view, the path of a store, or several of them. Of several, columns of one name have one type;
            columns that only some have become optional.
        path: A folder that is free, or, for views and merges, a file that ends in ``.tok``.
        level: Encode anew at another level. None: as they are.
        progress: Is called with a `tokstore.Progress`.

    Raises:
        ValueError: The target is a URL, or no source is given.
        ExistsError: The target is there.
        ConflictError: Columns of one name have different types.
        TokstoreError: What was written reads back otherwise.

    Example:
        >>> with ts.create("a", ts.Schema(tokens=ts.Tokens(9))) as w:
        ...     w.extend(tokens=[[1, 2], [3]])
        >>> copy("a", "b").how
        'files'
        >>> copy(["a", "b"], "both").samples
        4
    """
    if "://" in os.fspath(path):
        raise ValueError(f"a copy is a local folder or file, not {os.fspath(path)!r}; upload its files as they are")
    target = os.path.abspath(os.fspath(path))
    if os.path.lexists(target) and not (os.path.isdir(target) and not os.listdir(target)):
        raise ExistsError("the target is there already", path=target)
    many = isinstance(source, (list, tuple))
    views = [ts.open(one) if isinstance(one, (str, os.PathLike)) else one for one in (source if many else [source])]
    if not views:
        raise ValueError("no source is given")
    only = views[0]
    is_folder = isinstance(only, ts.Store) and os.path.isdir(only.path)
    if len(views) == 1 and is_folder and level is None and not target.endswith(".tok"):
        return _copy_files(only, target, progress)
    return _encode(views, target, level, progress)


def _copy_files(store: ts.Store, target: str, progress: Callable[[ts.Progress], None] | None) -> CopyReport:
    """Copy all files of a store aside, compare them, check the store, and give it its name."""
    names = [
        os.path.relpath(os.path.join(place, name), store.path)
        for place, _, found in os.walk(store.path)
        for name in found
    ]
    # Manifests come last and the hint after them: what they name is there by then, whatever others commit meanwhile.
    names.sort(key=lambda name: (name == "latest", name.startswith("manifests"), name))
    total = sum(os.path.getsize(os.path.join(store.path, name)) for name in names)
    aside = os.path.join(os.path.dirname(target), f".tokstore-{secrets.token_hex(4)}-{os.path.basename(target)}")
    done = 0
    try:
        for name in names:
            new = os.path.join(aside, name)
            os.makedirs(os.path.dirname(new), exist_ok=True)
            done += _copy_file(os.path.join(store.path, name), new)
            if progress is not None:
                progress(ts.Progress(done, total, "bytes", "copying"))
        report = ts.verify(aside)
        if not report.ok:
            raise TokstoreError(f"the copy has problems: {report.problems[0]}", path=target)
        made = ts.open(aside)
        if len(made) < len(store):
            raise TokstoreError(f"the copy has {len(made)} samples of {len(store)}", path=target)
        samples = len(made)
        if os.path.isdir(target):
            os.rmdir(target)
        os.rename(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return CopyReport(target, samples, done, "files")


def _copy_file(old: str, new: str) -> int:
    """Copy one file, and compare what the disk has; return its bytes."""
    count = 0
    digest = hashlib.blake2b()
    with open(old, "rb") as source, open(new, "wb") as file:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
            count += len(chunk)
        file.flush()
        os.fsync(file.fileno())
    again = hashlib.blake2b()
    with open(new, "rb") as file:
        while chunk := file.read(_CHUNK):
            again.update(chunk)
    if again.digest() != digest.digest():
        raise TokstoreError("the copy of a file differs from it", path=old)
    return count


def _encode(
    views: Sequence[Any], target: str, level: str | None, progress: Callable[[ts.Progress], None] | None
) -> CopyReport:
    """Write the samples of views into one new store."""
    kinds = _joined(views)
    attachments = dict(views[0].attachments.items())
    lost = ["sample ids: the samples have new ones"]
    for view in views[1:]:
        other = dict(view.attachments.items())
        for name, data in other.items():
            if attachments.setdefault(name, data) != data:
                if name == "tokenizer.json":
                    raise ConflictError("the stores have different tokenizers", path=view.path)
                lost.append(f"attachment {name!r} of {view.path}: another store has one of that name")
    metadata = views[0].metadata or None
    lost += [f"the metadata of {view.path}" for view in views[1:] if view.metadata and view.metadata != metadata]
    lost += [f"weights of the view of {view.path}" for view in views if getattr(view, "is_weighted", False)]
    digests, total = Digests(kinds), sum(map(len, views))
    with ts.create(
        target, ts.Schema(kinds), level=level or "default", attachments=attachments, metadata=metadata
    ) as writer:
        for view in views:
            for batch in view_batches(view):
                writer.extend({n: writable(one, batch.missing.get(n)) for n, one in batch.columns.items()})
                digests.update(batch.rows, batch.columns, batch.missing)
                if progress is not None:
                    progress(ts.Progress(digests.rows, total, "samples", "copying"))
    made, again = ts.open(target), Digests(kinds)
    for batch in view_batches(made):
        again.update(batch.rows, batch.columns, batch.missing)
    digests.compare(again, target)
    return CopyReport(target, len(made), made.stored_bytes(), "encoded", tuple(lost))


def _joined(views: Sequence[Any]) -> dict[str, Any]:
    """Return the columns that stores have together."""
    kinds: dict[str, Any] = {}
    optional: set[str] = set()
    for view in views:
        for name, kind in view.schema.items():
            plain = as_optional(kind)
            if name in kinds and as_optional(kinds[name]) != plain:
                raise ConflictError(f"column {name!r} is {kinds[name]!r} in one store and {kind!r} in another")
            if kind.optional:
                optional.add(name)
            kinds.setdefault(name, kind)
    for name in kinds:
        if any(name not in view.schema for view in views):
            optional.add(name)
    return {name: as_optional(kind) if name in optional else kind for name, kind in kinds.items()}


def as_optional(kind: Any) -> Any:
    """Return a column type whose values may be missing."""
    return type(kind).from_parameters(kind.parameters(), True)
