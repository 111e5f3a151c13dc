"""Objects in memory that give Arrow data: `datasets` of Hugging Face, tables of pyarrow, polars, pandas, DuckDB."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .arrow import rows_at_once, sliced
from .arrow_types import column_types, need_pyarrow
from .arrow_values import batch_of
from .contract import Batch, Export, ReadOptions

__all__ = ["MEMORY", "Memory", "MemorySource", "dataset_source", "refuse_splits"]

_ROWS = 1000


class MemorySource:
    """An object, read as Arrow tables.

    Args:
        tables: Yields tables or record batches; every call begins anew.
        schema: Their `pyarrow.Schema`.
        rows: How many there are, if that is known.
        place: What messages call it.
        options: As of `Format.open`.
    """

    def __init__(self, tables: Any, schema: Any, rows: int | None, place: str, options: ReadOptions) -> None:
        self._tables, self._place, self._options = tables, place, options
        self.total_bytes: int | None = None
        self.rows = rows
        found, self.lost = column_types(schema, options.types)
        self.columns = {name: kind for name, kind in found.items() if options.wants(name)}
        self.lost += [f"column {name!r}: not asked for" for name in found if name not in self.columns]
        if not self.columns:
            raise ValueError(f"{place}: no column can be carried: {'; '.join(self.lost) or 'there is none'}")

    def batches(self) -> Iterator[Batch]:
        """Yield all rows."""
        row = 0
        for table in self._tables():
            for part in sliced(table):
                yield batch_of(part, self.columns, self._place, row, self._options.problems)
                row += part.num_rows
                self._options.bytes_read[0] += part.nbytes


class Memory:
    """Objects that give Arrow data."""

    name = "memory"
    endings: tuple[str, ...] = ()
    writes = False
    options: tuple[str, ...] = ()
    survives = "as of Arrow"

    def sniff(self, path: str) -> bool:
        """Say no: a path is no object in memory."""
        return False

    def open(self, path: Any, options: ReadOptions) -> MemorySource:
        """Open an object."""
        pa = need_pyarrow()
        place = type(path).__name__
        refuse_splits(path, place)
        if hasattr(path, "with_format") and hasattr(path, "features"):
            return dataset_source(path, place, options)
        if not hasattr(path, "__arrow_c_stream__"):
            raise TypeError(f"a source is a path or an object that gives Arrow data, not {place}")
        is_once = isinstance(path, pa.RecordBatchReader)
        reader = path if is_once else pa.RecordBatchReader.from_stream(path)
        rows = len(path) if hasattr(path, "__len__") else None
        used: list[bool] = []

        def tables() -> Iterator[Any]:
            if is_once and used:
                raise ValueError(
                    f"a {place} can be read once only; give vocab_size, so that ids need not be read twice"
                )
            used.append(True)
            yield from path if is_once else pa.RecordBatchReader.from_stream(path)

        return MemorySource(tables, reader.schema, rows, place, options)

    def write(self, path: str, export: Export) -> None:
        """Refuse: views give Arrow data themselves."""
        raise ValueError("objects in memory are read only; `to_hf` and Arrow streams lead out of a store")


def refuse_splits(found: Any, place: str) -> None:
    """Refuse a dictionary of datasets, which is not one set of samples."""
    if hasattr(found, "keys") and hasattr(found, "with_format"):
        raise ValueError(f"{place}: it has several splits; give one of them: {', '.join(found.keys())}")


def dataset_source(dataset: Any, place: str, options: ReadOptions) -> MemorySource:
    """Open a `datasets.Dataset` or `IterableDataset`."""
    has_length = hasattr(dataset, "__len__")
    rows = len(dataset) if has_length else None
    size = getattr(dataset, "dataset_size", None) or 0
    step = rows_at_once(rows, size) if rows and size else _ROWS
    plain = dataset.with_format("arrow")

    def tables() -> Iterator[Any]:
        yield from plain.iter(batch_size=step)

    if dataset.features is not None:
        schema = dataset.features.arrow_schema
    else:
        first = next(iter(plain.iter(batch_size=1)), None)
        if first is None:
            raise ValueError(f"{place}: there is no sample in it")
        schema = first.schema
    return MemorySource(tables, schema, rows, place, options)


MEMORY = Memory()
