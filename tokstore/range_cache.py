"""Ranges of immutable files, kept on a local disk: what was fetched once from far away is not fetched again.

Each range is a file of its own, written under a temporary name and moved, with a checksum at its end. So any number of
processes may share a cache: a file is whole or not there, and one that is damaged is fetched anew. When the cache is
over its limit, the ranges that were used longest ago are removed. It is never the only copy of anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
from collections.abc import Sequence
from typing import Any

from tokstore.forking import renew_after_fork
from tokstore.object_storage import ObjectSink, ObjectStorage
from tokstore.storage import Entry, Range, is_immutable
from tokstore.wire import checksum

__all__ = ["CachedStorage"]

_CHECKSUM_BYTES = 8
_ROOM = 0.9
"""What is left of the limit when something had to be removed."""


class CachedStorage:
    """An object store behind a cache of ranges on a local disk. Safe for threads and processes; picklable.

    Args:
        inner: The object store.
        folder: Where the cache is; made when it is first needed. Several stores may share it.
        limit: Bytes that it may take, about.

    Attributes:
        hits, misses: Ranges that were in the cache, and those that were not.
    """

    def __init__(self, inner: ObjectStorage, folder: str | os.PathLike[str], limit: int) -> None:
        if limit < 1:
            raise ValueError(f"cache_limit is a number of bytes above 0, not {limit}")
        self.inner, self.folder, self.limit = inner, os.path.abspath(os.fspath(folder)), limit
        self._reset()

    def _reset(self) -> None:
        self.hits = self.misses = 0
        self._held: int | None = None
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make a new lock."""
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"inner": self.inner, "folder": self.folder, "limit": self.limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.inner, self.folder, self.limit = state["inner"], state["folder"], state["limit"]
        self._reset()

    # What the object store does ---------------------------------------------------------------------------------

    @property
    def trips(self) -> int:
        """Reading calls that went to the object store."""
        return self.inner.trips

    @property
    def bytes_read(self) -> int:
        """Bytes that came from the object store."""
        return self.inner.bytes_read

    @property
    def reads_back(self) -> bool:
        """A commit is read back."""
        return self.inner.reads_back

    @property
    def can_list(self) -> bool:
        """Whether names can be listed."""
        return self.inner.can_list

    @property
    def can_fork(self) -> bool:
        """Whether a forked process can go on reading."""
        return self.inner.can_fork

    @property
    def is_far(self) -> bool:
        """Blocks are fetched ahead of decoding."""
        return self.inner.is_far

    def describe(self, path: str = "") -> str:
        return self.inner.describe(path)

    def file_bytes(self, path: str) -> int:
        return self.inner.file_bytes(path)

    def put(self, path: str, data: bytes) -> None:
        self.inner.put(path, data)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        return self.inner.put_if_absent(path, data)

    def replace(self, path: str, data: bytes) -> None:
        self.inner.replace(path, data)

    def sink(self, path: str) -> ObjectSink:
        return self.inner.sink(path)

    def entries(self, folder: str) -> Sequence[Entry]:
        return self.inner.entries(folder)

    def delete(self, path: str) -> None:
        self.inner.delete(path)

    def check_conditional_put(self) -> None:
        """Refuse a server where two writers could not be told apart."""
        self.inner.check_conditional_put()

    # Reading ----------------------------------------------------------------------------------------------------

    def read_ranges(self, ranges: Sequence[Range], *, missing_ok: bool = False) -> list[memoryview | None]:
        found: list[memoryview | None] = [None] * len(ranges)
        wanted = []
        for number, one in enumerate(ranges):
            if is_immutable(one[0]) and one[2] is not None:
                found[number] = self._kept(one)
            if found[number] is None:
                wanted.append(number)
        if wanted:
            fetched = self.inner.read_ranges([ranges[number] for number in wanted], missing_ok=missing_ok)
            for number, data in zip(wanted, fetched, strict=True):
                found[number] = data
                if data is not None and is_immutable(ranges[number][0]) and ranges[number][2] is not None:
                    self._keep(ranges[number], data)
        with self._lock:
            self.hits += len(ranges) - len(wanted)
            self.misses += len(wanted)
        return found

    def _name(self, one: Range) -> str:
        """Return where a range is kept: under a digest of its store and file, by place and length."""
        path, offset, nbytes = one
        digest = hashlib.blake2b(f"{self.inner.url}\n{path}".encode(), digest_size=16).hexdigest()
        return os.path.join(self.folder, digest[:2], f"{digest}-{offset}-{nbytes}")

    def _kept(self, one: Range) -> memoryview | None:
        """Return a range from the cache, unless it is not there or damaged."""
        name = self._name(one)
        try:
            with open(name, "rb") as file:
                data = file.read()
        except OSError:
            return None
        content = memoryview(data)[:-_CHECKSUM_BYTES]
        if len(content) != one[2] or checksum(content, 0).to_bytes(_CHECKSUM_BYTES, "little") != data[len(content) :]:
            with contextlib.suppress(OSError):
                os.unlink(name)
            return None
        with contextlib.suppress(OSError):
            os.utime(name)  # used just now
        return content

    def _keep(self, one: Range, data: memoryview) -> None:
        """Put a range into the cache. A disk that is full, or another process that cleans up, changes nothing."""
        if len(data) > self.limit // 4:
            return
        name = self._name(one)
        temporary = f"{name}.{secrets.token_hex(4)}.tmp"
        try:
            os.makedirs(os.path.dirname(name), exist_ok=True)
            with open(temporary, "wb") as file:
                file.write(data)
                file.write(checksum(data, 0).to_bytes(_CHECKSUM_BYTES, "little"))
            os.replace(temporary, name)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            return
        with self._lock:
            self._held = None if self._held is None else self._held + len(data) + _CHECKSUM_BYTES
            over = self._held is None or self._held > self.limit
            if over:
                self._held = self._shrink()

    def _shrink(self) -> int:
        """Remove what was used longest ago, as much as is over the limit; return what is left, in bytes."""
        found = []
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with contextlib.suppress(OSError):
                    stat = os.stat(path := os.path.join(folder, name))
                    found.append((stat.st_mtime_ns, stat.st_size, path))
        held = sum(size for _, size, _ in found)
        if held <= self.limit:
            return held
        for _, size, path in sorted(found):
            if held <= _ROOM * self.limit:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
            held -= size
        return held

    def list(self, folder: str) -> list[str]:
        return self.inner.list(folder)
