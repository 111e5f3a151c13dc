"""Parquet, and Arrow IPC: files (Feather too) and streams. Both ways; pyarrow does the reading and writing.

A row is a sample and a column a column; `arrow_types` says what becomes of each type. Files are read a few megabytes at
a time. Ours carry the exact column types in their schema metadata.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from tokstore.errors import CorruptError

from .arrow_types import arrow_schema, column_types, need_pyarrow
from .arrow_values import batch_of, record_batch
from .contract import Batch, Export, ReadOptions
from .files import files_with, first_bytes, first_that_opens, only_ending

__all__ = ["ARROW", "PARQUET", "ArrowFile", "Parquet", "sliced"]

_BATCH_BYTES = 8 << 20
_BATCH_ROWS = 65_536
_SURVIVES = "all columns, and their exact types through a note in the schema metadata; not the sample ids"


def sliced(table: Any) -> Iterator[Any]:
    """Yield a record batch or table in slices of a few megabytes."""
    rows = table.num_rows
    step = rows_at_once(rows, table.nbytes)
    for at in range(0, rows, step):
        yield table.slice(at, step)


def rows_at_once(rows: int, size: int) -> int:
    """Return how many rows of some that take `size` bytes are a few megabytes."""
    return max(1, min(_BATCH_ROWS, rows * _BATCH_BYTES // max(size, 1)))


class _Tables(ABC):
    """Files that are read as Arrow tables, all of one schema."""

    def __init__(self, files: list[str], options: ReadOptions) -> None:
        self._files, self._options = files, options
        self.total_bytes: int | None = sum(os.path.getsize(one) for one in files)
        self.rows: int | None = None
        first = first_that_opens(files, self._schema) if options.problems.skips else files[0]
        try:
            found, self.lost = column_types(self._schema(first), options.types)
        except ValueError as error:
            raise ValueError(f"{first}: {error}") from error
        self.columns = {name: kind for name, kind in found.items() if options.wants(name)}
        self.lost += [f"column {name!r}: not asked for" for name in found if name not in self.columns]
        if not self.columns:
            raise ValueError(f"{files[0]}: no column can be carried: {'; '.join(self.lost) or 'there is none'}")

    @abstractmethod
    def _schema(self, path: str) -> Any:
        """Return the Arrow schema of a file."""

    @abstractmethod
    def _tables(self, path: str) -> Iterator[Any]:
        """Yield the record batches of a file."""

    def batches(self) -> Iterator[Batch]:
        """Yield all rows."""
        pa = need_pyarrow()
        for path in self._files:
            size, row = os.path.getsize(path), 0
            try:
                names = self._schema(path).names
                lacking = [name for name in self.columns if name not in names]
                if lacking:
                    self._options.problems.bad(path, None, f"the file has no column {lacking[0]!r}, as others have")
                    continue
                for table in self._tables(path):
                    yield batch_of(table, self.columns, path, row, self._options.problems)
                    row += table.num_rows
            except CorruptError as error:
                self._options.problems.bad_file(error)
            except (pa.ArrowInvalid, pa.ArrowException, OSError) as error:
                self._options.problems.bad(path, None, f"the file is damaged or cut short, behind row {row}: {error}")
            self._options.bytes_read[0] += size


class _ParquetFiles(_Tables):
    """Parquet files, read by row group."""

    def _schema(self, path: str) -> Any:
        pa = need_pyarrow()
        import pyarrow.parquet as pq

        try:
            return pq.read_schema(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise CorruptError(f"this is no whole Parquet file: {error}", path=path) from error

    def _tables(self, path: str) -> Iterator[Any]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            facts = file.metadata
            size = sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
            step = rows_at_once(facts.num_rows, size)
            yield from file.iter_batches(batch_size=step, columns=list(self.columns))


class Parquet:
    """Parquet files and folders of them."""

    splits = True
    name = "parquet"
    endings = (".parquet",)
    writes = True
    options: tuple[str, ...] = ()
    survives = _SURVIVES

    def sniff(self, path: str) -> bool:
        """Tell whether a path is Parquet."""
        return first_bytes(path, 4) == b"PAR1" or only_ending(path, self.endings)

    def open(self, path: str, options: ReadOptions) -> _ParquetFiles:
        """Open a file or folder."""
        need_pyarrow()
        return _ParquetFiles(files_with(path, self.endings), options)

    def write(self, path: str, export: Export) -> None:
        """Write one file."""
        need_pyarrow()
        import pyarrow.parquet as pq

        schema = arrow_schema(export)
        kinds = {name: export.schema[name] for name in schema.names}
        with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
            for batch in export.batches():
                writer.write_batch(record_batch(batch, schema, kinds))


class _IpcFiles(_Tables):
    """Arrow IPC files and streams, mapped into memory."""

    def _open(self, path: str) -> tuple[Any, Any]:
        pa = need_pyarrow()
        mapped = pa.memory_map(path, "r")
        try:
            if first_bytes(path, 6) == b"ARROW1":
                return mapped, pa.ipc.open_file(mapped)
            return mapped, pa.ipc.open_stream(mapped)
        except (pa.ArrowInvalid, OSError) as error:
            mapped.close()
            raise CorruptError(f"this is no whole Arrow file: {error}", path=path) from error

    def _schema(self, path: str) -> Any:
        mapped, reader = self._open(path)
        found = reader.schema
        mapped.close()
        return found

    def _tables(self, path: str) -> Iterator[Any]:
        mapped, reader = self._open(path)
        is_file = hasattr(reader, "num_record_batches")
        found = (reader.get_batch(i) for i in range(reader.num_record_batches)) if is_file else iter(reader)
        try:
            for batch in found:
                yield from sliced(batch)
        finally:
            mapped.close()


class ArrowFile:
    """Arrow IPC files, Feather among them, and streams."""

    splits = True
    name = "arrow"
    endings = (".arrow", ".feather", ".arrows", ".ipc")
    writes = True
    options: tuple[str, ...] = ()
    survives = _SURVIVES

    def sniff(self, path: str) -> bool:
        """Tell whether a path is Arrow IPC."""
        head = first_bytes(path, 6)
        if os.path.isfile(path):
            return head == b"ARROW1" or (head[:4] == b"\xff\xff\xff\xff" and path.endswith(self.endings))
        saved = ("dataset_info.json", "dataset_dict.json")  # of `datasets`, which has a format of its own
        return only_ending(path, self.endings) and not any(os.path.exists(os.path.join(path, one)) for one in saved)

    def open(self, path: str, options: ReadOptions) -> _IpcFiles:
        """Open a file or folder."""
        need_pyarrow()
        return _IpcFiles(files_with(path, self.endings), options)

    def write(self, path: str, export: Export) -> None:
        """Write one file that readers can map."""
        pa = need_pyarrow()
        schema = arrow_schema(export)
        kinds = {name: export.schema[name] for name in schema.names}
        options = pa.ipc.IpcWriteOptions(unify_dictionaries=True)
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, schema, options=options) as writer:
            for batch in export.batches():
                writer.write_batch(record_batch(batch, schema, kinds))


PARQUET, ARROW = Parquet(), ArrowFile()
