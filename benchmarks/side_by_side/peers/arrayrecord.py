"""ArrayRecord: one record per group, which its data source asks for, zstd; the source
reads with the options for random access by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from array_record.python import array_record_data_source, array_record_module
from numpy.typing import NDArray
from torch.utils.data import Dataset

from benchmarks.side_by_side.peers.contract import BATCH, Cannot, MapPeer, collate, to_tensor


class Records(Dataset[Any]):
    """Records by position, as tensors."""

    def __init__(self, path: str, dtype: Any) -> None:
        self._source = array_record_data_source.ArrayRecordDataSource(path)
        self._dtype = dtype

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> torch.Tensor:
        return to_tensor(np.frombuffer(self._source[index], self._dtype))

    def __getitems__(self, indices: list[int]) -> list[torch.Tensor]:
        return [to_tensor(np.frombuffer(one, self._dtype)) for one in self._source.__getitems__(indices)]


class Here(MapPeer):
    """One file."""

    # Its thread pool does not come along when a process that has read something forks.
    context = "spawn"

    @property
    def _path(self) -> str:
        return str(self.folder / "samples.array_record")

    def write(self) -> None:
        """Write every sample as a record."""
        out = array_record_module.ArrayRecordWriter(self._path, self.option)
        for sample in self.work.samples():
            out.write(sample.tobytes())
        out.close()

    def dataset(self) -> Dataset[Any]:
        """Open the data source."""
        return Records(self._path, self.work.values.dtype)

    def ordered(self) -> Iterable[Any]:
        """Return records with the reader's own read-ahead."""
        return self._in_order()

    def _in_order(self) -> Iterator[Any]:
        reader = array_record_module.ArrayRecordReader(self._path)
        dtype, join = self.work.values.dtype, collate(self.work.shape is not None) or torch.stack
        rows = max((1 << 20) // int(self.work.lengths.mean()) // BATCH, 1) * BATCH
        for first in range(0, len(self.work.lengths), rows):
            records = reader.read(first, min(first + rows, len(self.work.lengths)))
            tensors = [to_tensor(np.frombuffer(one, dtype)) for one in records]
            for start in range(0, len(tensors), BATCH):
                yield join(tensors[start : start + BATCH])
        reader.close()

    def take(self, indices: NDArray[np.int64]) -> Sequence[Any]:
        """Return many records by one call."""
        dtype = self.work.values.dtype
        found = self.opened._source.__getitems__(indices.tolist())
        return [np.frombuffer(one, dtype).astype(np.int64 if dtype.kind == "u" else dtype) for one in found]

    def resume(self, batches: int) -> Any:
        """Nothing of its own."""
        raise Cannot("the file has no order of its own; its loader for JAX resumes by an index")
