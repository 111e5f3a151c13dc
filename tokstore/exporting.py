"""Ways out of a view: files of other formats, Arrow streams, `datasets`. The conversion tools do the work."""

from __future__ import annotations

import os
from typing import Any

from tokstore.tool import load_tool
from tokstore.view_state import ViewState

__all__ = ["Exporting"]


class Exporting(ViewState):
    """A view that other programs can have."""

    def export(self, path: str | os.PathLike[str], *, format: str | None = None, **options: Any) -> Any:
        """Write the samples in another format, read them back, and compare.

        Args:
            path: The file to make, or the folder for formats of many files.
            format: Its name, as ``tokstore formats`` lists them; by default the one that the ending names.
            **options: ``columns``, ``dtype``, ``doc_end``, ``shard_rows``, ``exist``, ``verify``, ``progress``: see
                ``tokstore_tools.export.export``.

        Returns:
            A report: samples, bytes, and `lost`, one line for everything that the format cannot carry.

        Raises:
            ExistsError: The target is there.
            ValueError: The ending names no format.

        Example:
            >>> store.where("quality >= 0.5").export("good.parquet").lost  # doctest: +SKIP
            ('sample ids: the format numbers its rows itself',)
        """
        return load_tool("export")(self, path, format=format, **options)

    def to_hf(self) -> Any:
        """Return a `datasets.IterableDataset` that reads the store as it is iterated.

        Raises:
            UnsupportedError: `datasets` is not installed.

        Example:
            >>> next(iter(store.to_hf()))["tokens"]  # doctest: +SKIP
        """
        return load_tool("to_hf")(self)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the samples as an Arrow C stream, by which DuckDB, polars, pandas and pyarrow read them in batches.

        Raises:
            UnsupportedError: pyarrow is not installed.
        """
        return load_tool("arrow_stream")(self, requested_schema)
