"""Parquet with zstd by pyarrow: read from its beginning by row groups; single rows by `Dataset.take`.

Row groups hold about 2**20 values, smaller than pyarrow's default, which makes single rows much quicker to reach and
the file hardly larger. A row costs a row group, so no shuffled epoch is read from it: its users shuffle
before they write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from numpy.typing import NDArray

from benchmarks.side_by_side.peers.columns import COLUMN, batches_of, rows_of, sample_table
from benchmarks.side_by_side.peers.contract import Cannot, Peer


class Here(Peer):
    """One file."""

    def write(self) -> None:
        """Write a row group at a time."""
        table = sample_table(self.work)
        with pq.ParquetWriter(self.folder / "samples.parquet", table.schema, compression=self.option) as out:
            for batch in table.to_batches():
                out.write_batch(batch)

    def open(self) -> None:
        """Read the footer."""
        self._file: Any = pq.ParquetFile(self.folder / "samples.parquet")
        self._dataset: Any = pads.dataset(self.folder / "samples.parquet")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._file = self._dataset = None

    def ordered(self) -> Iterable[Any]:
        """Return rows in the order of the file, decoded a few thousand at a time."""
        rows = max(BATCH_VALUES // int(self.work.lengths.mean()), 8)
        return batches_of((batch.column(0) for batch in self._file.iter_batches(rows)), self.work.shape is not None)

    def shuffled(self, workers: int = 0) -> Iterable[Any]:
        """It has none."""
        raise Cannot("rows are reached by row groups: sequential only")

    def get(self, index: int) -> NDArray[Any]:
        """Return one row."""
        found: NDArray[Any] = rows_of(self._dataset.take([index], columns=[COLUMN])[COLUMN])[0]
        return found

    def take(self, indices: NDArray[np.int64]) -> Sequence[Any]:
        """Return many rows."""
        return rows_of(self._dataset.take(indices, columns=[COLUMN])[COLUMN])


BATCH_VALUES = 1 << 20
"""Values that are decoded at a time."""
