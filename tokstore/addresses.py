"""Where a store lies -> the storage that reads and writes there: a local path, or a URL of an object store."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokstore.storage import Storage

__all__ = ["CACHE_BYTES", "Address", "is_url", "local_or_url", "split_file", "storage_at"]

CACHE_BYTES = 10 << 30
"""What a cache may take unless it is told."""
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

Address = str | os.PathLike[str]


def is_url(address: Address) -> bool:
    """Tell whether an address is a URL.

    Example:
        >>> is_url("s3://bucket/corpus"), is_url("/data/corpus"), is_url("C://data")
        (True, False, False)
    """
    return isinstance(address, str) and _URL.match(address) is not None


def local_or_url(address: Address) -> str:
    """Return an address as an absolute path, or as the URL that it is."""
    return str(address).rstrip("/") if is_url(address) else os.path.abspath(os.fspath(address))


def split_file(address: str) -> tuple[str, str]:
    """Return the folder and the name of a single file."""
    return tuple(address.rsplit("/", 1)) if is_url(address) else os.path.split(address)  # type: ignore[return-value]


def storage_at(
    address: str,
    storage_options: Mapping[str, Any] | None = None,
    cache: str | os.PathLike[str] | None = None,
    cache_limit: int | None = None,
) -> Storage:
    """Return the storage of a folder.

    Args:
        address: From `local_or_url`.
        storage_options: Configuration of an object store.
        cache: A local folder that keeps ranges which were fetched.
        cache_limit: Bytes that the cache may take; 10 GiB by default.

    Raises:
        ValueError: Options that belong to an object store, and a local path.
    """
    # Imported here, so that the command line can ask what is a URL without numpy, and open a folder without the cloud.
    from tokstore.storage import LocalStorage

    if not is_url(address):
        if storage_options or cache is not None or cache_limit is not None:
            raise ValueError(
                "storage_options=, cache= and cache_limit= belong to a store at a URL, not to a local folder"
            )
        return LocalStorage(address)
    if address.startswith("file://"):
        raise ValueError(f"{address!r}: give a local folder by its path, without file://")
    from tokstore.object_storage import ObjectStorage

    storage = ObjectStorage(address, storage_options)
    if cache is None:
        if cache_limit is not None:
            raise ValueError("cache_limit= needs cache=, a local folder")
        return storage
    from tokstore.range_cache import CachedStorage

    return CachedStorage(storage, cache, CACHE_BYTES if cache_limit is None else cache_limit)
