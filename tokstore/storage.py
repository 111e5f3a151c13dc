"""Where bytes live: a local folder behind the few calls that an object store offers as well.

Paths are relative, with ``/``. Reading is plural: one call fetches any ranges of any files and counts as one round
trip, so that code above is written in trips, and tests can count them. Writing ends in one of three ways: `put`
(content-addressed, may exist), `put_if_absent` (decides a race), `replace` (hints). All of them write a temporary
file, sync it, move it, and sync the folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np

from tokstore.errors import MissingFileError, TruncatedError, UnsupportedError
from tokstore.forking import renew_after_fork
from tokstore.recycling import recycling

__all__ = ["Entry", "FileSink", "LocalStorage", "NewFile", "Range", "Storage", "is_immutable"]

Range = tuple[str, int, int | None]
"""Path, offset, number of bytes; ``None`` bytes means to the end of the file."""

_GAP = 64 << 10
_MERGED = 16 << 20
_OPEN_FILES = 128
_IMMUTABLE = ("data/", "objects/", "pages/", "plans/", "deletions/")


@dataclass(frozen=True)
class Entry:
    """One name in a folder: its bytes, when it was written in seconds since 1970, and whether it is a folder itself."""

    name: str
    nbytes: int
    modified: float
    is_folder: bool


def is_immutable(path: str) -> bool:
    """Tell whether the name of a file says its content, so that the name never means other bytes.

    Roots, parts and hints may be replaced by others.
    """
    return path.endswith(".tok") or path.startswith(_IMMUTABLE)


class NewFile(Protocol):
    """A new file, written front to back."""

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""

    def commit(self) -> None:
        """Give the file its name; it is durable then."""

    def commit_if_absent(self) -> bool:
        """Like `commit`, unless the name is taken: then leave nothing and return ``False``."""

    def abort(self) -> None:
        """Leave nothing behind."""


class Storage(Protocol):
    """What tokstore needs of a place for bytes."""

    @property
    def trips(self) -> int:
        """Reading calls so far."""

    @property
    def bytes_read(self) -> int:
        """Bytes returned so far, and read in between to join near ranges."""

    @property
    def reads_back(self) -> bool:
        """Whether a commit is to be read back, because `put_if_absent` alone is no proof."""

    @property
    def can_list(self) -> bool:
        """Whether names can be listed."""

    @property
    def can_fork(self) -> bool:
        """Whether a forked process can go on reading."""

    @property
    def is_far(self) -> bool:
        """Whether a trip takes so long that blocks are fetched ahead of decoding."""

    def read_ranges(self, ranges: Sequence[Range], *, missing_ok: bool = False) -> list[memoryview | None]:
        """Read many ranges in one round trip; a file that is not there is an error, or ``None`` with `missing_ok`."""

    def file_bytes(self, path: str) -> int:
        """Return the length of a file."""

    def put(self, path: str, data: bytes) -> None:
        """Write a file whose name says its content."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Write a file unless its name is taken; tell whether it was written."""

    def check_conditional_put(self) -> None:
        """Refuse a place where `put_if_absent` would not tell two writers apart, before anything is written."""

    def replace(self, path: str, data: bytes) -> None:
        """Write a file over what may be there."""

    def sink(self, path: str) -> NewFile:
        """Begin a new file, written front to back."""

    def list(self, folder: str) -> list[str]:
        """Return the names in a folder, without temporary files; none if it is not there."""

    def entries(self, folder: str) -> Sequence[Entry]:
        """Return what is in a folder, temporary files too; nothing if it is not there."""

    def delete(self, path: str) -> None:
        """Remove a file if it is there."""

    def describe(self, path: str = "") -> str:
        """Return a path as a person would write it."""


class FileSink:
    """A new local file under a temporary name; `commit` gives it the final one, `abort` leaves nothing."""

    def __init__(self, root: str, path: str) -> None:
        self._final = os.path.join(root, path)
        self._folder = os.path.dirname(self._final)
        make_folders(self._folder)
        self._temporary = os.path.join(self._folder, f".{os.urandom(8).hex()}.tmp")
        self._file: BinaryIO | None = open(self._temporary, "wb")  # noqa: SIM115 - closed by commit and abort

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        if self._file is None:
            raise ValueError("the file is closed")
        self._file.write(data)

    def _sync(self) -> None:
        if self._file is None:
            raise ValueError("the file is closed")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None

    def commit(self) -> None:
        """Sync the file, move it to its final name, sync the folder."""
        self._sync()
        os.replace(self._temporary, self._final)
        sync_folder(self._folder)

    def commit_if_absent(self) -> bool:
        """Like `commit`, unless the name is taken: then leave nothing and return ``False``."""
        self._sync()
        try:
            os.link(self._temporary, self._final)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                raise UnsupportedError(
                    "this file system has no hard links, so that two writers could not be told apart",
                    path=self._final,
                    rule="format.md 9",
                    hint="write to a local disk and copy the store",
                ) from error
            raise
        finally:
            os.unlink(self._temporary)
        sync_folder(self._folder)
        return True

    def abort(self) -> None:
        """Leave nothing behind."""
        file, self._file = self._file, None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._temporary)
        if file is not None:
            with contextlib.suppress(OSError):  # the bytes that a full disk has no room for are not wanted any more
                file.close()


def make_folders(folder: str) -> None:
    """Make a folder and those above it, and make each name durable before something lies in it."""
    missing = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    for one in reversed(missing):
        os.makedirs(one, exist_ok=True)
        sync_folder(os.path.dirname(one))


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class LocalStorage:
    """A folder on a local or mounted file system. Safe for threads and forks; picklable.

    Args:
        root: The folder; it need not exist until something is written.

    Attributes:
        trips: Reading calls so far.
        bytes_read: Bytes returned so far, and read in between to join near ranges.
    """

    reads_back = is_far = False
    can_list = can_fork = True

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.path.abspath(os.fspath(root))
        self._reset()

    def _reset(self) -> None:
        self.trips = 0
        self.bytes_read = 0
        self._handles: OrderedDict[str, int] = OrderedDict()
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make a new lock."""
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.root = state["root"]
        self._reset()

    def __del__(self, _close: Callable[[int], None] = os.close) -> None:
        # At the end of the interpreter module names may be gone; the argument is still there.
        for handle in getattr(self, "_handles", {}).values():
            _close(handle)

    def describe(self, path: str = "") -> str:
        return os.path.join(self.root, path) if path else self.root

    @contextlib.contextmanager
    def _opened(self, path: str) -> Iterator[int]:
        """Lend an open file. It is out of the cache while lent, so that nobody closes it meanwhile."""
        with self._lock:
            handle = self._handles.pop(path, None)
        if handle is None:
            handle = os.open(os.path.join(self.root, path), os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            yield handle
        finally:
            surplus, stays = handle, is_immutable(path)
            with self._lock:
                if stays and path not in self._handles:
                    self._handles[path] = handle
                    surplus = self._handles.popitem(last=False)[1] if len(self._handles) > _OPEN_FILES else -1
            if surplus >= 0:
                os.close(surplus)

    def file_bytes(self, path: str) -> int:
        try:
            return os.stat(os.path.join(self.root, path)).st_size
        except FileNotFoundError as error:
            raise self._missing(path) from error

    def read_ranges(self, ranges: Sequence[Range], *, missing_ok: bool = False) -> list[memoryview | None]:
        results: list[memoryview | None] = [None] * len(ranges)
        order = sorted(range(len(ranges)), key=lambda i: (ranges[i][0], ranges[i][1]))
        total, at = 0, 0
        while at < len(order):
            path = ranges[order[at]][0]
            stop = at
            while stop < len(order) and ranges[order[stop]][0] == path:
                stop += 1
            try:
                with self._opened(path) as handle:
                    total += _read_file(handle, path, ranges, order[at:stop], results)
            except (FileNotFoundError, NotADirectoryError) as error:
                if not missing_ok:
                    raise self._missing(path) from error
            at = stop
        with self._lock:
            self.trips += 1
            self.bytes_read += total
        return results

    def _missing(self, path: str) -> MissingFileError:
        return MissingFileError("the file is not there", path=self.describe(path), rule="format.md 3")

    def put(self, path: str, data: bytes) -> None:
        self.replace(path, data)

    def replace(self, path: str, data: bytes) -> None:
        sink = self.sink(path)
        try:
            sink.write(data)
            sink.commit()
        finally:
            sink.abort()

    def check_conditional_put(self) -> None:
        """Nothing to try: a file system without hard links says so when they are needed."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        sink = self.sink(path)
        try:
            sink.write(data)
            return sink.commit_if_absent()
        finally:
            sink.abort()

    def sink(self, path: str) -> FileSink:
        return FileSink(self.root, path)

    def list(self, folder: str) -> list[str]:
        try:
            names = os.listdir(os.path.join(self.root, folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in names if not (name.startswith(".") and name.endswith(".tmp")))

    def entries(self, folder: str) -> Sequence[Entry]:
        found = []
        try:
            with os.scandir(os.path.join(self.root, folder)) as names:
                for one in names:
                    # Whoever lists may see names that are gone a moment later.
                    with contextlib.suppress(FileNotFoundError):
                        stat = one.stat(follow_symlinks=False)
                        is_folder = one.is_dir(follow_symlinks=False)
                        found.append(Entry(one.name, stat.st_size, stat.st_mtime, is_folder))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(found, key=lambda one: one.name)

    def delete(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.root, path))


def _read_file(
    handle: int, path: str, ranges: Sequence[Range], wanted: Sequence[int], results: list[memoryview | None]
) -> int:
    """Read the wanted ranges of one open file, near ones in one go; return the bytes read."""
    total, at = 0, 0
    while at < len(wanted):
        _, start, length = ranges[wanted[at]]
        if length is None:
            data = _read_exactly(handle, path, start, os.fstat(handle).st_size - start)
            results[wanted[at]] = data
            total += len(data)
            at += 1
            continue
        end, stop = start + length, at + 1
        while stop < len(wanted):
            _, next_start, next_length = ranges[wanted[stop]]
            if next_length is None or next_start > end + _GAP or next_start + next_length - start > _MERGED:
                break
            end = max(end, next_start + next_length)
            stop += 1
        data = _read_exactly(handle, path, start, end - start)
        total += len(data)
        for one in wanted[at:stop]:
            _, offset, nbytes = ranges[one]
            results[one] = data[offset - start : offset - start + (nbytes or 0)]
        at = stop
    return total


def _read_exactly(handle: int, path: str, offset: int, nbytes: int) -> memoryview:
    """Read `nbytes` bytes or raise `TruncatedError`; nothing is allocated beyond what the file has."""
    file_bytes = os.fstat(handle).st_size
    if nbytes < 0 or offset + nbytes > file_bytes:
        raise TruncatedError(
            f"{nbytes} bytes are needed, the file ends at {file_bytes}", path=path, offset=offset, rule="format.md 4.1"
        )
    memory = recycling().empty(nbytes, np.dtype(np.uint8)).data
    done = 0
    while done < nbytes:
        got = os.preadv(handle, [memory[done:]], offset + done)
        if not got:
            raise TruncatedError("the file became shorter while it was read", path=path, offset=offset)
        done += got
    return memory.toreadonly()
