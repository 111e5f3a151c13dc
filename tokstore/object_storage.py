"""Where bytes live: an object store such as S3, GCS or Azure, or a web server, behind the calls of a local folder.

Near ranges of a file are one request (`tokstore.merging`), and all requests of a trip are under way together. Nothing
is renamed: an object appears whole or not at all, and its name decides a race by a conditional put. Work over the
network is that of obstore, whose own retries cover what passes by itself.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from tokstore.errors import MissingFileError, TokstoreError, TruncatedError, UnsupportedError
from tokstore.forking import renew_after_fork
from tokstore.merging import merged
from tokstore.storage import Entry, Range

__all__ = ["ObjectSink", "ObjectStorage"]

_AT_ONCE = 64
"""Requests of a process that are under way together."""
_IN_MEMORY = 8 << 20
_TRIES = 6
_FIRST_WAIT = 0.05
_CONFLICT, _AZURE_TAKEN = "409 Conflict", "BlobAlreadyExists"
_READ_ONLY: Final = ("http", "https")

Result = TypeVar("Result")
_ABANDONED: list[Any] = []


class _Used:
    """Which process has started the threads of obstore; a fork does not take them along."""

    pid: int | None = None


def _load() -> Any:
    """Import obstore, or say how it is installed."""
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError as error:
        raise UnsupportedError(
            "stores in an object store need the package obstore", hint="pip install 'tokstore[cloud]'"
        ) from error
    return obstore


class ObjectSink:
    """A new object, gathered in a temporary local file; `commit` uploads it, `abort` leaves nothing."""

    def __init__(self, storage: ObjectStorage, path: str) -> None:
        self._storage, self._path = storage, path
        # It has no name of its own on disk, so that a process that is killed leaves nothing either.
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed by abort
        self._closed = False

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""
        if self._closed:
            raise ValueError("the object is closed")
        self._file.write(data)

    def commit(self) -> None:
        """Upload the object whole."""
        self._storage.upload(self._path, self._file)
        self.abort()

    def commit_if_absent(self) -> bool:
        """Like `commit`, unless the name is taken: then leave nothing and return ``False``."""
        self._file.seek(0)
        written = self._storage.put_if_absent(self._path, self._file.read())
        self.abort()
        return written

    def abort(self) -> None:
        """Leave nothing behind."""
        if not self._closed:
            self._closed = True
            self._file.close()


class ObjectStorage:
    """A prefix of a bucket, or a folder of a web server. Safe for threads; picklable; not to be used after a fork.

    Args:
        url: ``s3://``, ``gs://``, ``az://`` and what else obstore knows; ``http://`` and ``https://`` are read-only and
            cannot list.
        options: Configuration by obstore's names, such as ``{"region": "eu-central-1", "endpoint": "…"}``; what is
            missing comes from the environment. ``client_options`` and ``retry_config`` are dicts of their own.

    Attributes:
        trips: Reading calls so far.
        requests: Requests that they were made of.
        bytes_read: Bytes returned so far, and read in between to join near ranges.
        can_list: Whether names can be listed.
        can_fork: Never: a fork does not take the threads of the client along.
        is_far: Always: a trip takes so long that blocks are fetched ahead of decoding.
        reads_back: A commit is read back, because a server may not know conditional puts and say nothing.
    """

    reads_back = True
    can_fork = False
    is_far = True

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self.url, self._options = url.rstrip("/"), dict(options or {})
        self.can_list = not self.url.startswith(tuple(f"{scheme}://" for scheme in _READ_ONLY))
        self._reset()

    def _reset(self) -> None:
        self.trips = self.requests = self.bytes_read = 0
        self._store: Any = None
        self._threads: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        renew_after_fork(self)

    def renew(self) -> None:
        """Make a new lock, and set the client of the parent aside, in a forked child.

        To close its connections here would take them out of the event queue that the parent still waits on.
        """
        self._lock = threading.Lock()
        _ABANDONED.append(self._store)
        self._store = self._threads = None

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "options": self._options, "can_list": self.can_list}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.url, self._options, self.can_list = state["url"], state["options"], state["can_list"]
        self._reset()

    def describe(self, path: str = "") -> str:
        return f"{self.url}/{path}" if path else self.url

    # Requests ---------------------------------------------------------------------------------------------------

    def _connected(self) -> tuple[Any, Any]:
        """Return obstore and the store."""
        if _Used.pid not in (None, os.getpid()):
            raise UnsupportedError(
                "an object store cannot be read in a forked process, whose parent has read one",
                path=self.url,
                hint='start workers with multiprocessing_context="spawn"',
            )
        obstore = _load()
        with self._lock:
            if self._store is None:
                _Used.pid = os.getpid()
                try:
                    self._store = self._connect(obstore)
                except (obstore.exceptions.BaseError, TypeError, ValueError) as error:
                    raise UnsupportedError(
                        f"the address or its options are refused: {_first_line(error)}", path=self.url
                    ) from error
        return obstore, self._store

    def _connect(self, obstore: Any) -> Any:
        options = dict(self._options)
        named = {name: options.pop(name) for name in ("client_options", "retry_config") if name in options}
        if not self.can_list:
            client = {"allow_http": self.url.startswith("http://"), **named.pop("client_options", {})}
            return obstore.store.HTTPStore.from_url(self.url, client_options=client, **named)
        return obstore.store.from_url(self.url, config=options, **named)

    def _ask(self, path: str, call: Callable[[Any, Any], Result]) -> Result:
        """Make one request; what a server answers becomes an error of ours."""
        obstore, store = self._connected()
        with self._lock:
            self.requests += 1
        try:
            return call(obstore, store)
        except obstore.exceptions.NotFoundError as error:
            raise MissingFileError("the object is not there", path=self.describe(path), rule="format.md 3") from error
        except FileNotFoundError as error:
            raise MissingFileError("the object is not there", path=self.describe(path), rule="format.md 3") from error
        except (obstore.exceptions.AlreadyExistsError, obstore.exceptions.PreconditionError) as error:
            # S3 says 409 while others are writing the name, so that nobody has won yet; Azure where it is taken.
            if _CONFLICT in str(error) and _AZURE_TAKEN not in str(error):
                raise OSError(f"{self.describe(path)}: {_CONFLICT}") from error
            raise _TakenError(str(error)) from error
        except obstore.exceptions.BaseError as error:
            raise OSError(f"{self.describe(path)}: {_first_line(error)}") from error

    def _write(self, path: str, call: Callable[[Any, Any], Any]) -> None:
        """Make one writing request, again where the server says that others are writing."""
        if not self.can_list:
            raise UnsupportedError("a store on a web server is read-only", path=self.url)
        for attempt in range(_TRIES):
            try:
                self._ask(path, call)
                return
            except OSError as error:
                if _CONFLICT not in str(error) or attempt == _TRIES - 1:
                    raise
                time.sleep(_FIRST_WAIT * 2**attempt * (1 + secrets.randbelow(1000) / 1000))

    # Reading ----------------------------------------------------------------------------------------------------

    def file_bytes(self, path: str) -> int:
        return int(self._ask(path, lambda obstore, store: obstore.head(store, path))["size"])

    def read_ranges(self, ranges: Sequence[Range], *, missing_ok: bool = False) -> list[memoryview | None]:
        results: list[memoryview | None] = [None] * len(ranges)
        jobs = merged(ranges)
        if len(jobs) < 2:
            counts = [self._fetch(job, ranges, results, missing_ok) for job in jobs]
        else:
            asked = [self._fetchers().submit(self._fetch, job, ranges, results, missing_ok) for job in jobs]
            try:
                counts = [one.result() for one in asked]
            finally:
                for one in asked:  # of a trip that failed
                    one.cancel()
        with self._lock:
            self.trips += 1
            self.bytes_read += sum(counts)
        return results

    def _fetchers(self) -> ThreadPoolExecutor:
        """Return the threads that wait for answers; they end with the storage."""
        with self._lock:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="tokstore-fetch")
            return self._threads

    def _fetch(
        self, wanted: Sequence[int], ranges: Sequence[Range], results: list[memoryview | None], missing_ok: bool
    ) -> int:
        """Fetch near ranges of one file by one request; return its bytes."""
        path, start, length = ranges[wanted[0]]
        end = None if length is None else max(ranges[one][1] + (ranges[one][2] or 0) for one in wanted)
        try:
            if end is None:
                data = self._rest(path, start)
            elif end == start:
                data = memoryview(b"")
            else:
                data = memoryview(
                    self._ask(path, lambda obstore, store: obstore.get_range(store, path, start=start, end=end))
                )
        except MissingFileError:
            if not missing_ok:
                raise
            return 0
        except OSError as error:
            # A server answers ranges behind the end of an object as an error of its own kind.
            if end is not None and start < end and self._is_short(path, end):
                raise self._truncated(path, start, end) from error
            raise
        if end is not None and len(data) != end - start:
            raise self._truncated(path, start, end)
        for one in wanted:
            _, offset, nbytes = ranges[one]
            results[one] = data if nbytes is None else data[offset - start : offset - start + nbytes]
        return len(data)

    def _rest(self, path: str, start: int) -> memoryview:
        """Return an object from an offset to its end."""
        if not start:
            return memoryview(self._ask(path, lambda obstore, store: obstore.get(store, path).bytes()))
        end = self.file_bytes(path)
        if start >= end:
            return memoryview(b"")
        return memoryview(self._ask(path, lambda obstore, store: obstore.get_range(store, path, start=start, end=end)))

    def _is_short(self, path: str, end: int) -> bool:
        """Tell whether an object is there and ends before a place."""
        with contextlib.suppress(OSError, TokstoreError):
            return self.file_bytes(path) < end
        return False

    def _truncated(self, path: str, start: int, end: int) -> TruncatedError:
        return TruncatedError(
            f"{end - start} bytes are needed, the object ends before", path=self.describe(path), offset=start,
            rule="format.md 4.1",
        )  # fmt: skip

    def entries(self, folder: str) -> Sequence[Entry]:
        if not self.can_list:
            raise UnsupportedError(
                "a web server does not list its files", path=self.url, hint="open the store where it can be listed"
            )
        found = self._ask(folder, lambda obstore, store: obstore.list_with_delimiter(store, folder or None))
        names = [
            Entry(one["path"].rsplit("/", 1)[-1], one["size"], one["last_modified"].timestamp(), False)
            for one in found["objects"]
        ]
        names += [Entry(one.rstrip("/").rsplit("/", 1)[-1], 0, 0.0, True) for one in found["common_prefixes"]]
        return sorted(names, key=lambda one: one.name)

    def list(self, folder: str) -> list[str]:
        return [one.name for one in self.entries(folder)]

    # Writing ----------------------------------------------------------------------------------------------------

    def put(self, path: str, data: bytes) -> None:
        self._write(path, lambda obstore, store: obstore.put(store, path, data))

    def replace(self, path: str, data: bytes) -> None:
        self.put(path, data)

    def upload(self, path: str, file: Any) -> None:
        """Write an object from a file, in parts where it is large."""

        def put(obstore: Any, store: Any) -> None:
            file.seek(0)
            obstore.put(store, path, file)

        self._write(path, put)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        try:
            self._write(path, lambda obstore, store: obstore.put(store, path, data, mode="create"))
        except _TakenError:
            return False
        return True

    def sink(self, path: str) -> ObjectSink:
        return ObjectSink(self, path)

    def delete(self, path: str) -> None:
        with contextlib.suppress(MissingFileError):
            self._write(path, lambda obstore, store: obstore.delete(store, path))

    def check_conditional_put(self) -> None:
        """Refuse a server where two writers could not be told apart (format.md 9): try it with an object of its own.

        Raises:
            UnsupportedError: The second of two conditional puts of one name was not refused.
        """
        path = f".probe-{secrets.token_hex(8)}"
        try:
            first, second = self.put_if_absent(path, b"1"), self.put_if_absent(path, b"2")
        finally:
            with contextlib.suppress(OSError, TokstoreError):
                self.delete(path)
        if not first or second:
            raise UnsupportedError(
                "the object store does not refuse to write a name twice, so that two writers could not be told apart",
                path=self.url,
                rule="format.md 9",
                hint="write to a local disk and copy the store, or use a server with If-None-Match",
            )


class _TakenError(Exception):
    """The name of an object is taken."""


def _first_line(error: BaseException) -> str:
    """Return what an error of obstore says, without the debug output below it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
