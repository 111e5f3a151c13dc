"""Where a store is, and the root of the version that was asked for (format.md 3).

This is all that has to be known of a store before anything is read of it: `opening` makes a `Store` of it, and the
command line shows what a store holds without what reads and writes samples.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from tokstore.addresses import Address, is_url, local_or_url, split_file, storage_at
from tokstore.errors import NotAStoreError, VersionError, suggest
from tokstore.manifest import newest_root, read_version
from tokstore.root import Root
from tokstore.storage import Storage

__all__ = ["Located", "locate"]


class Located(NamedTuple):
    """A version that was found.

    Attributes:
        storage: Where its bytes are.
        root: Its root.
        is_pinned: It was asked for by number, by tag or as a file, and is never followed by a newer one.
        file_name: For a single data file: its name in the storage.
    """

    storage: Storage
    root: Root
    is_pinned: bool
    file_name: str | None


def locate(
    path: Address,
    version: int | str | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    cache: Address | None = None,
    cache_limit: int | None = None,
) -> Located:
    """Find a version of a store; the arguments and errors are those of `tokstore.open`."""
    target, remote = local_or_url(path), is_url(path)
    if target.endswith(".tok") if remote else os.path.isfile(target):
        if version not in (None, 1):
            raise VersionError("a single file has one version, 1", path=target)
        from tokstore.single import open_file  # which makes a manifest of it, with all that takes

        folder, name = split_file(target)
        storage = storage_at(folder, storage_options, cache, cache_limit)
        root, _ = open_file(storage, name)
        return Located(storage, root, True, name)
    if not remote and not os.path.isdir(target):
        raise NotAStoreError("there is no such file or folder", path=target)
    storage = storage_at(target, storage_options, cache, cache_limit)
    if version is None:
        return Located(storage, newest_root(storage), False, None)
    if isinstance(version, str):
        tags = newest_root(storage).tags
        if version not in tags:
            raise VersionError(f"no tag {version!r}", path=target, hint=suggest(version, tags))
        version = tags[version]
    # A version that is asked for by number does not depend on newer roots, which may be damaged.
    return Located(storage, read_version(storage, operator.index(version)), True, None)
