"""How a store comes into being: a folder or a single file, all at once or not at all (format.md 9)."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from tokstore.errors import ExistsError, MissingFileError
from tokstore.growth import NewShards, append_shards
from tokstore.manifest import STORE_FILE, commit, find_newest, identity_json, listed_versions, read_identity
from tokstore.objects import ATTACHMENT, StoredObject, encode_object, object_path
from tokstore.root import Root, empty_root
from tokstore.schema import Schema
from tokstore.storage import LocalStorage, Storage
from tokstore.version import Version
from tokstore.writing import SingleFile, Writer

__all__ = ["create_file", "create_folder", "create_remote", "encode_attachments"]

_OWN_NAMES = frozenset({"data", "objects", "pages", "plans", "manifests", "parts", STORE_FILE, "latest"})
Options = dict[str, Any]


def encode_attachments(given: Mapping[str, str | os.PathLike[str] | bytes] | None) -> dict[str, StoredObject]:
    """Read attachments, given by path or as bytes, and encode them as objects."""
    encoded = {}
    for name, one in (given or {}).items():
        if isinstance(one, bytes):
            content = one
        else:
            with open(one, "rb") as file:
                content = file.read()
        encoded[name] = encode_object(ATTACHMENT, content)
    return encoded


def create_file(
    target: str, schema: Schema, attachments: dict[str, StoredObject], metadata: str | None, options: Options
) -> Writer:
    """Return the writer of a new single file."""
    folder, name = os.path.split(target)

    def exists() -> ExistsError:
        return ExistsError("the file is there already", path=target, hint="choose another name, or remove it")

    if os.path.lexists(target):
        raise exists()
    if not os.path.isdir(folder):
        raise MissingFileError("the folder for the file is not there", path=folder, hint="make it first")
    single = SingleFile(name, attachments, metadata, exists)
    return Writer(LocalStorage(folder), schema, lambda new: None, single=single, **options)


def create_folder(
    target: str, schema: Schema, attachments: dict[str, StoredObject], metadata: str | None, options: Options
) -> Writer:
    """Return the writer of a new store in a folder that is free or holds only what an interrupted `create` left."""
    if os.path.isdir(target):
        if any(name.endswith(".tsm") for name in _listed(os.path.join(target, "manifests"))):
            raise ExistsError("there is a store already", path=target, hint='open it, or pass exist="append"')
        foreign = set(_listed(target)) - _OWN_NAMES
        if foreign:
            raise ExistsError(
                f"the folder is not empty: it holds {min(foreign)!r}", path=target, hint="choose another folder"
            )
    elif os.path.lexists(target):
        raise ExistsError("there is a file of that name", path=target, hint="choose another name")
    made = not os.path.isdir(target)
    finish = _Creation(LocalStorage(target), schema, attachments, metadata)
    return Writer(finish.storage, schema, finish, abandon=partial(_remove_empty, target, made), **options)


def create_remote(
    storage: Storage,
    schema: Schema,
    attachments: dict[str, StoredObject],
    metadata: str | None,
    options: Options,
) -> Writer:
    """Return the writer of a new store in an object store, under a prefix that is free."""
    url = storage.describe()
    names = set(storage.list(""))
    if listed_versions(storage):
        raise ExistsError("there is a store already", path=url, hint='open it, or pass exist="append"')
    if names - _OWN_NAMES:
        raise ExistsError(
            f"the prefix is not empty: it holds {min(names - _OWN_NAMES)!r}", path=url, hint="choose another prefix"
        )
    storage.check_conditional_put()
    return Writer(storage, schema, _Creation(storage, schema, attachments, metadata), **options)


def _listed(folder: str) -> list[str]:
    """Return the names in a folder that may not be there, without temporary files."""
    if not os.path.isdir(folder):
        return []
    return [name for name in os.listdir(folder) if not (name.startswith(".") and name.endswith(".tmp"))]


def _remove_empty(target: str, made: bool) -> None:
    """Remove the empty folders that an abandoned `create` has left, unless there is a store now."""
    if _listed(os.path.join(target, "manifests")):
        return
    for folder, folders, files in os.walk(target, topdown=False):
        left = [name for name in folders if os.path.isdir(os.path.join(folder, name))]
        if not left and not files and (folder != target or made):
            os.rmdir(folder)


class _Creation:
    """The first commit of a new store, and later ones of the same writer.

    Args:
        storage: The folder.
        schema: The columns.
        attachments: Objects that travel with the store, by name.
        metadata: The user's metadata as JSON.
    """

    def __init__(
        self, storage: Storage, schema: Schema, attachments: dict[str, StoredObject], metadata: str | None
    ) -> None:
        self.storage, self._schema = storage, schema
        self._attachments, self._metadata = attachments, metadata
        self._root: Root | None = None

    def __call__(self, new: NewShards) -> None:
        """Commit new shards."""
        if self._root is not None:
            self._root = commit(self.storage, self._append(new), self._root)
            return
        # Whoever writes the identity first decides it; whoever commits version 1 has created the store.
        self.storage.put_if_absent(STORE_FILE, identity_json(secrets.token_bytes(16)))
        (data,) = self.storage.read_ranges([(STORE_FILE, 0, None)])
        store_id = read_identity(data if data is not None else b"", self.storage.describe(STORE_FILE))
        for one in self._attachments.values():
            self.storage.put(object_path(one.digest), one.data)
        names = {name: (one.digest, len(one.data), one.content_bytes) for name, one in self._attachments.items()}
        nbytes = sum({one.digest: len(one.data) for one in self._attachments.values()}.values())
        start = empty_root(store_id, self._schema, names, self._metadata, nbytes)

        def change(newest: Root | None) -> Root:
            if newest is not None:
                raise ExistsError("another writer has created the store meanwhile", path=self.storage.describe())
            return replace(append_shards(start, new, _read_nothing), verb="create")

        self._root = commit(self.storage, change, find_newest(self.storage)[1])

    def _append(self, new: NewShards) -> Callable[[Root | None], Root]:
        def change(newest: Root | None) -> Root:
            if newest is None:
                raise MissingFileError("the store is gone", path=self.storage.describe())
            return append_shards(newest, new, Version(self.storage, newest).part_of_record)

        return change


def _read_nothing(record: Any, name: str) -> bytes:
    """Stand for reading a page of a store that has none."""
    raise MissingFileError(f"a new store has no {name}")
