"""`create`, `open` and `writer`: the ways to a store (format.md 3)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, overload

from tokstore.addresses import is_url, local_or_url, storage_at
from tokstore.column_parts import ColumnWriter
from tokstore.column_types import ColumnType
from tokstore.creation import create_file, create_folder, create_remote, encode_attachments
from tokstore.errors import ConflictError
from tokstore.locating import locate
from tokstore.manifest import listed_versions
from tokstore.schema import Schema
from tokstore.storage import LocalStorage
from tokstore.store import Store
from tokstore.user_metadata import encode_user_metadata
from tokstore.writing import Progress, Writer

__all__ = ["create", "open_store", "part_writer"]

Path = str | os.PathLike[str]


def create(
    path: Path,
    schema: Schema,
    *,
    level: str = "default",
    exist: str = "error",
    attachments: Mapping[str, Path | bytes] | None = None,
    metadata: Mapping[str, Any] | None = None,
    shard_tokens: int = 1 << 27,
    threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Writer:
    """Create a store and return its writer. Nothing is visible before the ``with`` block ends or `Writer.commit` is
    called.

    Args:
        path: A folder, or a file that ends in ``.tok`` for a store in a single file; or a URL such as
            ``s3://bucket/corpus``.
        schema: Its columns.
        level: ``"plain"`` (for simple readers), ``"fast"``, ``"default"`` or ``"small"``: see spec/codecs.md 2.3.
        exist: ``"error"`` refuses a target that is there; ``"append"`` adds to a store with the same columns.
        attachments: Files that travel with the store, by name: a path, or the bytes. ``tokenizer.json`` makes
            `Store.text` work.
        metadata: Anything that JSON can hold, at most 16 KiB.
        shard_tokens: Tokens of one shard, held in memory while writing: 256 MB at 2 bytes each by default.
        threads: Threads that encode; the number of processors by default.
        progress: Called with a `Progress` while shards are written.

    Raises:
        ExistsError: The target is there.
        ConflictError: With ``exist="append"``: the store has other columns.
        ValueError, TypeError: An argument is wrong.

    Example:
        >>> import tokstore as ts, tempfile
        >>> path = tempfile.mkdtemp() + "/s"
        >>> with ts.create(path, ts.Schema(tokens=ts.Tokens(256))) as w:
        ...     w.extend(tokens=[[1, 2, 3], [4]])
        >>> len(ts.open(path))
        2
    """
    if not isinstance(schema, Schema):
        raise TypeError(f"schema is a tokstore.Schema, not {type(schema).__name__}")
    if exist not in ("error", "append"):
        raise ValueError(f'exist is "error" or "append", not {exist!r}')
    options: dict[str, Any] = {
        "level": level,
        "shard_tokens": shard_tokens,
        "threads": threads,
        "progress": progress,
    }
    target = local_or_url(path)
    if target.endswith(".tok") and is_url(target):
        raise ValueError(f"{target!r}: a single file is written locally and copied; give a prefix for a store")
    storage = storage_at(target, storage_options)
    if exist == "append" and listed_versions(storage):
        store = open_store(target, storage_options=storage_options)
        if [(c.name, c.type) for c in store.schema.columns] != [(c.name, c.type) for c in schema.columns]:
            raise ConflictError(
                "the store has other columns than those to append", path=target, hint=f"it has {store.schema}"
            )
        appending: Writer = store.writer(**options)
        return appending
    objects, text = encode_attachments(attachments), encode_user_metadata(metadata)
    if not isinstance(storage, LocalStorage):
        return create_remote(storage, schema.with_level(level), objects, text, options)
    make = create_file if target.endswith(".tok") else create_folder
    return make(target, schema.with_level(level), objects, text, options)


def open_store(
    path: Path,
    version: int | str | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    cache: Path | None = None,
    cache_limit: int | None = None,
) -> Store:
    """Open a store for reading and appending. Reads a few kilobytes, whatever its size.

    Args:
        path: A folder that holds a store, or a single ``.tok`` file (read-only); or a URL of either: ``s3://``,
            ``gs://``, ``az://``, or ``https://`` (read-only), with the extra ``cloud``.
        version: A number or a tag; the newest by default. A store opened at a version is read-only.
        storage_options: Configuration of the object store by the names of obstore, such as ``region`` and
            ``endpoint``; what is missing comes from the environment.
        cache: A local folder that keeps what was fetched, so that later epochs and processes need not fetch it again.
        cache_limit: Bytes that the cache may take; 10 GiB by default. What was used longest ago goes first.

    Raises:
        NotAStoreError: There is no store.
        VersionError: No such version or tag.
        CorruptError: Its newest root is damaged; an older one is never taken instead.
        UnsupportedError: A newer format.

    Example:
        >>> store = ts.open("corpus")  # doctest: +SKIP
        >>> store[17]["tokens"]  # doctest: +SKIP
    """
    found = locate(path, version, storage_options=storage_options, cache=cache, cache_limit=cache_limit)
    return Store(found.storage, found.root, pinned=found.is_pinned, file_name=found.file_name)


@overload
def part_writer(path: Path, part: str, *, column: str, type: ColumnType, **options: Any) -> ColumnWriter: ...
@overload
def part_writer(path: Path, part: str, **options: Any) -> Writer: ...
def part_writer(path: Path, part: str, **options: Any) -> Writer | ColumnWriter:
    """Return a writer that stages its samples as one part, for a later ``store.commit(parts=...)`` of many parts as
    one version.

    A thousand jobs write a thousand parts side by side; none of them touches the manifest.

    Args:
        path: The folder of a store that exists.
        part: Name of the part: letters, digits, ``.``, ``_`` and ``-``. Parts become shards in the order of their
            names.
        **options: As of `Store.writer`; with ``column=`` and ``type=`` the part has values of samples that are there.

    Raises:
        ExistsError: A part of that name is staged already.
    """
    options["part"] = part
    made: Writer | ColumnWriter = open_store(path).writer(**options)
    return made
