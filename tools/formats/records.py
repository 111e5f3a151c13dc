"""LMDB: records by key, as bytes. Read only, through `lmdb`; nothing that is stored is run or unpickled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import tokstore as ts
from tokstore.errors import CorruptError, UnsupportedError

from .contract import Batch, Export, ReadOptions

__all__ = ["LMDB", "Lmdb"]

_ROWS, _BYTES = 4096, 16 << 20
_KEY, _VALUE = "key", "value"


class _Records:
    """The main database of an environment, in the order of its keys."""

    def __init__(self, path: str, options: ReadOptions) -> None:
        self._path, self._options = path, options
        self._lmdb = _need_lmdb()
        self.lost: list[str] = []
        kinds: dict[str, Any] = {_KEY: ts.Bytes(), _VALUE: ts.Bytes()}
        environment = self._open()
        with environment, environment.begin() as transaction:
            self.rows: int | None = environment.stat()["entries"]
            first = next(iter(transaction.cursor()), None)
        if first is not None and _is_text(first[0]):
            kinds[_KEY] = ts.Text()
        self.columns: dict[str, Any] = {n: options.types.get(n, k) for n, k in kinds.items() if options.wants(n)}
        file = os.path.join(path, "data.mdb") if os.path.isdir(path) else path
        self.total_bytes: int | None = os.path.getsize(file)

    def _open(self) -> Any:
        """Open the environment without a lock, which would be a file beside it."""
        try:
            return self._lmdb.open(
                self._path, subdir=os.path.isdir(self._path), readonly=True, lock=False, readahead=False, create=False
            )
        except self._lmdb.Error as error:
            raise CorruptError(f"lmdb cannot open it: {error}", path=self._path) from error

    def batches(self) -> Iterator[Batch]:
        """Yield all records."""
        environment = self._open()
        with environment, environment.begin() as transaction:
            found: list[tuple[bytes, bytes]] = []
            row = size = 0
            for key, value in transaction.cursor():
                found.append((key, value))
                size += len(value)
                if len(found) >= _ROWS or size >= _BYTES:
                    yield self._batch(row, found)
                    row, found, size = row + len(found), [], 0
            if found:
                yield self._batch(row, found)

    def _batch(self, row: int, found: list[tuple[bytes, bytes]]) -> Batch:
        """Return records as a batch."""
        columns: dict[str, Any] = {}
        batch = Batch(self._path, row, len(found), columns)
        if _KEY in self.columns:
            keys: list[Any] = [key for key, _ in found]
            if isinstance(self.columns[_KEY], ts.Text):
                wrong = [not _is_text(key) for key in keys]
                for i in [i for i, bad in enumerate(wrong) if bad]:
                    self._options.problems.bad(self._path, row + i, "the key is no text, as others are")
                found = [pair for pair, bad in zip(found, wrong, strict=True) if not bad]
                keys = [key.decode() for key, _ in found]
                batch.rows = len(found)
            columns[_KEY] = keys
        if _VALUE in self.columns:
            columns[_VALUE] = [value for _, value in found]
        self._options.bytes_read[0] += sum(len(key) + len(value) for key, value in found)
        return batch


def _is_text(key: bytes) -> bool:
    """Tell whether a key is text."""
    try:
        return key.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _need_lmdb() -> Any:
    """Return `lmdb`."""
    try:
        import lmdb
    except ImportError as error:
        raise UnsupportedError("LMDB needs the lmdb package", hint="pip install 'tokstore[lmdb]'") from error
    return lmdb


class Lmdb:
    """LMDB environments: folders with ``data.mdb``, or single files."""

    name = "lmdb"
    endings = (".lmdb", ".mdb")
    writes = False
    options: tuple[str, ...] = ()
    survives = "keys and values of the main database, as text and bytes"

    def sniff(self, path: str) -> bool:
        """Tell whether a path is an environment."""
        return os.path.isfile(os.path.join(path, "data.mdb")) or (
            os.path.isfile(path) and path.endswith(self.endings) and not path.endswith("lock.mdb")
        )

    def open(self, path: str, options: ReadOptions) -> _Records:
        """Open an environment."""
        return _Records(path, options)

    def write(self, path: str, export: Export) -> None:
        """Refuse: this format is read only."""
        raise ValueError("format 'lmdb' can only be read")


LMDB = Lmdb()
