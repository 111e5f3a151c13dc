"""Vortex: a scan in order; rows at random by a scan with sorted indices, over a memory-mapped file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import vortex
from numpy.typing import NDArray
from torch.utils.data import Dataset

from benchmarks.side_by_side.peers.columns import COLUMN, batches_of, rows_of, sample_table
from benchmarks.side_by_side.peers.contract import Cannot, MapPeer, to_tensor


class Rows(Dataset[Any]):
    """Rows by position."""

    def __init__(self, path: str, count: int) -> None:
        self.file = vortex.open(path, memory_map=True)
        self._count = count

    def __len__(self) -> int:
        return self._count

    def rows(self, indices: NDArray[np.int64]) -> list[NDArray[Any]]:
        """Return rows in the order of the indices; the scan takes them sorted and each once."""
        wanted, places = np.unique(indices, return_inverse=True)
        found = self.file.scan([COLUMN], indices=vortex.array(pa.array(wanted.astype(np.uint64)))).read_all()
        rows = rows_of(lists_of(found))
        return [rows[i] for i in places.tolist()]

    def __getitems__(self, indices: list[int]) -> list[torch.Tensor]:
        return [to_tensor(row) for row in self.rows(np.asarray(indices))]

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.__getitems__([index])[0]


def lists_of(array: Any) -> Any:
    """Return the list column of an array of structs."""
    found = array.to_arrow_array()
    chunks = found.chunks if isinstance(found, pa.ChunkedArray) else [found]
    fields = [chunk.field(COLUMN) for chunk in chunks]
    plain = [
        one if pa.types.is_fixed_size_list(one.type) else one.cast(pa.list_(one.type.value_type)) for one in fields
    ]
    return pa.chunked_array(plain)


class Here(MapPeer):
    """One file."""

    def write(self) -> None:
        """Write the samples with the default strategy."""
        table = sample_table(self.work, fixed_lists=True)
        vortex.io.write(table.to_reader(), str(self.folder / "samples.vortex"))

    def dataset(self) -> Dataset[Any]:
        """Open the file."""
        return Rows(str(self.folder / "samples.vortex"), len(self.work.lengths))

    def ordered(self) -> Iterable[Any]:
        """Return a scan by its own batches, cut into ours."""
        return batches_of((lists_of(one) for one in self.opened.file.scan([COLUMN])), self.work.shape is not None)

    def shuffled(self, workers: int = 0) -> Iterable[Any]:
        """Return samples by a permutation, 8 by one scan."""
        if workers:
            raise Cannot("it has no loader, and an open file does not go to other processes")
        return super().shuffled()

    def take(self, indices: NDArray[np.int64]) -> Sequence[Any]:
        """Return many rows by one scan."""
        found: list[NDArray[Any]] = self.opened.rows(indices)
        return found
