"""Raw integers in one file, memory-mapped: in Megatron-LM's manner and in nanoGPT's.

Megatron-LM keeps uint16 below 65,500 ids, else int32, finds samples by an index of lengths and offsets, and resumes by
the number of consumed samples: the permutation of the epoch is drawn again, and what was consumed is left out.
nanoGPT has no samples: each batch is 8 slices at random positions of a file that is mapped anew for every batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from benchmarks.side_by_side.peers.contract import BATCH, Cannot, MapPeer, Peer, to_tensor
from benchmarks.side_by_side.workloads import Work


def stored_dtype(work: Work) -> Any:
    """Return the dtype of the file."""
    if work.kind == "vectors":
        return np.float32
    return np.uint16 if work.size < 65_500 else np.int32


class Indexed(Dataset[Any]):
    """Samples of a mapped file by an index of their ends."""

    def __init__(self, folder: Path, dtype: Any) -> None:
        self._values = np.memmap(folder / "samples.bin", dtype, "r")
        lengths = np.memmap(folder / "samples.idx", np.int32, "r")
        self._ends = np.cumsum(lengths, dtype=np.int64)
        self._lengths = lengths

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> torch.Tensor:
        end = self._ends[index]
        return to_tensor(self._values[end - self._lengths[index] : end])


class Megatron(MapPeer):
    """A file of integers and one of lengths."""

    notes: Mapping[str, str] = MappingProxyType({"rss_mb": "pages of the mapped file are counted"})

    def write(self) -> None:
        """Write every sample behind the one before it."""
        dtype = stored_dtype(self.work)
        with open(self.folder / "samples.bin", "wb") as file:
            for sample in self.work.samples():
                file.write(sample.astype(dtype, copy=False).tobytes())
        self.work.lengths.astype(np.int32).tofile(self.folder / "samples.idx")

    def dataset(self) -> Dataset[Any]:
        """Map both files."""
        return Indexed(self.folder, stored_dtype(self.work))

    def resume(self, batches: int) -> Iterable[Any]:
        """Draw the epoch's permutation again and leave out the consumed samples."""
        return self._loader(0, start=batches * BATCH)


class NanoGPT(Peer):
    """A file of integers; batches are slices of it at random."""

    whole_samples = False

    def __init__(self, work: Work, folder: Path, option: str) -> None:
        super().__init__(work, folder, option)
        if work.length is None:
            raise Cannot("it has no samples, only windows of one length")
        self._length = work.length

    def write(self) -> None:
        """Write the file at one go, as its preparation scripts fill a mapped array."""
        np.asarray(self.work.values).tofile(self.folder / "train.bin")

    def open(self) -> None:
        """Count the values."""
        self._count = os.path.getsize(self.folder / "train.bin") // self.work.values.dtype.itemsize
        self._generator = torch.Generator()
        self._generator.manual_seed(0)

    def close(self) -> None:
        """Nothing stays open."""

    def ordered(self) -> Iterable[Any]:
        """It reads in no order."""
        raise Cannot("it draws positions at random, with replacement")

    def shuffled(self, workers: int = 0) -> Iterable[Any]:
        """Return as many batches of random slices as an epoch has."""
        if workers:
            raise Cannot("its loop uses no worker processes")
        return self._slices()

    def _slices(self) -> Iterator[torch.Tensor]:
        for _ in range(self._count // (BATCH * self._length)):
            values = np.memmap(self.folder / "train.bin", self.work.values.dtype, "r")
            starts = torch.randint(self._count - self._length + 1, (BATCH,), generator=self._generator)
            yield torch.stack([to_tensor(values[i : i + self._length]) for i in starts.tolist()])

    def get(self, index: int) -> NDArray[Any]:
        """Return the window at a multiple of its length."""
        values = np.memmap(self.folder / "train.bin", self.work.values.dtype, "r")
        found: NDArray[Any] = to_tensor(values[index * self._length : (index + 1) * self._length]).numpy()
        return found

    def resume(self, batches: int) -> Iterable[Any]:
        """Nothing to go on with."""
        raise Cannot("positions are drawn anew; nothing says which were seen")


def Here(work: Work, folder: Path, option: str) -> Peer:
    """Return the variant."""
    return cast(Peer, (Megatron if option == "megatron" else NanoGPT)(work, folder, option))
