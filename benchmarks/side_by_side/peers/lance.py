"""Lance: its own iterable dataset in order, `take` for rows at random, workers by spawn, as its documents ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import lance
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from benchmarks.side_by_side.peers.columns import COLUMN, batches_of, rows_of, sample_table
from benchmarks.side_by_side.peers.contract import MapPeer, to_tensor


class Rows(Dataset[Any]):
    """Rows by position, opened in each process, several by one `take`."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._opened: Any = None
        self._count = self._table().count_rows()

    def _table(self) -> Any:
        if self._opened is None:
            self._opened = lance.dataset(self._path)
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}

    def __len__(self) -> int:
        return int(self._count)

    def __getitems__(self, indices: list[int]) -> list[torch.Tensor]:
        return [to_tensor(row) for row in rows_of(self._table().take(indices, columns=[COLUMN])[COLUMN])]

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.__getitems__([index])[0]


class Here(MapPeer):
    """One table."""

    context = "spawn"

    def write(self) -> None:
        """Write the table in the newest stable version of the format; vectors are lists of one length."""
        table = sample_table(self.work, fixed_lists=self.work.kind == "vectors")
        lance.write_dataset(table.to_reader(), str(self.folder / "samples.lance"), data_storage_version="stable")

    def dataset(self) -> Dataset[Any]:
        """Open the newest version."""
        return Rows(str(self.folder / "samples.lance"))

    def ordered(self) -> Iterable[Any]:
        """Return a scan by its own batches, cut into ours."""
        rows = max((1 << 20) // int(self.work.lengths.mean()), 8)
        scan = self.opened._table().to_batches(columns=[COLUMN], batch_size=rows)
        return batches_of((batch.column(0) for batch in scan), self.work.shape is not None)

    def take(self, indices: NDArray[np.int64]) -> Sequence[Any]:
        """Return many rows by one take."""
        return rows_of(self.opened._table().take(indices.tolist(), columns=[COLUMN])[COLUMN])
