"""Hugging Face datasets: Arrow files that `save_to_disk` wrote, integers of the narrowest type, as torch tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from benchmarks.side_by_side.peers.columns import COLUMN, sample_table
from benchmarks.side_by_side.peers.contract import Cannot, MapPeer


class Samples(Dataset[Any]):
    """The only column of a formatted dataset."""

    def __init__(self, found: Any) -> None:
        self._found = found

    def __len__(self) -> int:
        return len(self._found)

    def __getitem__(self, index: int) -> torch.Tensor:
        sample: torch.Tensor = self._found[index][COLUMN]
        return sample

    def __getitems__(self, indices: list[int]) -> list[torch.Tensor]:
        return list(self._found[indices][COLUMN])


class Here(MapPeer):
    """A saved dataset."""

    notes: Mapping[str, str] = MappingProxyType({"rss_mb": "pages of the mapped files are counted"})

    def write(self) -> None:
        """Save a dataset over an Arrow table: the quickest of its ways to make one."""
        datasets.disable_progress_bars()
        datasets.Dataset(sample_table(self.work)).save_to_disk(str(self.folder / "saved"))

    def dataset(self) -> Dataset[Any]:
        """Map the files; tensors come as int64 and float32."""
        return Samples(datasets.load_from_disk(str(self.folder / "saved")).with_format("torch"))

    def take(self, indices: NDArray[np.int64]) -> Sequence[Any]:
        """Return many rows by one indexing."""
        return list(self.opened._found[indices][COLUMN])

    def resume(self, batches: int) -> Any:
        """Nothing of its own."""
        raise Cannot("a map-style dataset has no state; the iterable one loses its shuffle buffer")
