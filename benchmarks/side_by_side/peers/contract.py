"""What a peer has to be able to do, and the plain `DataLoader` that serves most of them."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from benchmarks.side_by_side.workloads import Work

__all__ = ["BATCH", "Cannot", "MapPeer", "Peer", "collate", "to_tensor", "values_of"]

BATCH = 8
"""Samples of a batch."""


class Cannot(Exception):
    """What is asked for is nothing that this peer does; the text says why."""


def to_tensor(sample: NDArray[Any]) -> torch.Tensor:
    """Return a sample as training takes it: ids as int64, vectors as float32, in memory of its own."""
    return torch.from_numpy(sample.astype(np.int64 if sample.dtype.kind in "ui" else np.float32))


def collate(fixed: bool) -> Any:
    """Return what joins samples: `DataLoader`'s own for those of one length, else a list of tensors."""
    return None if fixed else list


def values_of(batch: Any) -> int:
    """Count the values of a batch: a tensor, a list of them, or a dict whose first entry counts."""
    if isinstance(batch, dict):
        batch = next(iter(batch.values()))
    return sum(int(one.numel()) for one in batch) if isinstance(batch, list) else int(batch.numel())


class Peer(ABC):
    """One way to keep samples and to stream them.

    Args:
        work: What is kept.
        folder: Where; nothing else is in it.
        option: The variant, as the list of peers names it.
    """

    exact: bool = True
    """The values that come back are those that were given."""
    whole_samples: bool = True
    """A shuffled epoch has every sample once."""
    whole_first_epoch: bool = False
    """The first epoch fills a cache that later ones use, so it is never broken off."""
    notes: Mapping[str, str] = MappingProxyType({})
    """What a reader of the figures has to know of single measures."""

    def __init__(self, work: Work, folder: Path, option: str) -> None:
        self.work, self.folder, self.option = work, folder, option

    @abstractmethod
    def write(self) -> None:
        """Write all samples into the folder, as one process does it."""

    @abstractmethod
    def open(self) -> None:
        """Open what was written, for streaming and for single samples."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything that is open."""

    def forget(self) -> bool:
        """Remove what reading has left beside the files, such as inflated shards, and say whether it leaves such."""
        return False

    @abstractmethod
    def ordered(self) -> Iterable[Any]:
        """Return batches of all samples in the order in which they were written."""

    @abstractmethod
    def shuffled(self, workers: int = 0) -> Iterable[Any]:
        """Return batches of an epoch of shuffled samples."""

    def with_workers(self, workers: int) -> tuple[Iterable[Any], int]:
        """Return shuffled batches by worker processes, and how many of them come before the rate counts."""
        return self.shuffled(workers), 1

    def get(self, index: int) -> NDArray[Any]:
        """Return one sample."""
        raise Cannot("it is read from its beginning")

    def take(self, indices: NDArray[np.int64]) -> Sequence[Any]:
        """Return many samples by one call, where it has one."""
        return [self.get(index) for index in indices.tolist()]

    def resume(self, batches: int) -> Iterable[Any]:
        """Return the batches of a shuffled epoch behind so many, by the peer's own means."""
        raise Cannot("it has no state to go on from")

    def bytes_per_vector(self) -> float | None:
        """Return stored bytes per vector without tables that are there once; None where the folder says it."""
        return None


class _Order(Sampler[int]):
    """A permutation by a seed, from a position on, as trainers that count consumed samples draw it."""

    def __init__(self, count: int, seed: int | None, start: int = 0) -> None:
        self._count, self._seed, self._start = count, seed, start

    def __len__(self) -> int:
        return self._count - self._start

    def __iter__(self) -> Iterator[int]:
        if self._seed is None:
            return iter(range(self._start, self._count))
        generator = torch.Generator()
        generator.manual_seed(self._seed)
        return iter(torch.randperm(self._count, generator=generator)[self._start :].tolist())


class MapPeer(Peer):
    """A peer whose samples are found by their position: `DataLoader` draws the order."""

    context: str | None = None
    """How workers are started; None for the system's way."""

    def __init__(self, work: Work, folder: Path, option: str) -> None:
        super().__init__(work, folder, option)
        self._epochs = itertools.count()
        self._dataset: Dataset[Any] | None = None

    @abstractmethod
    def dataset(self) -> Dataset[Any]:
        """Open what was written as a dataset of samples by position, each a tensor."""

    def open(self) -> None:
        """Open the dataset."""
        self._dataset = self.dataset()

    def close(self) -> None:
        """Let go of it."""
        self._dataset = None

    @property
    def opened(self) -> Any:
        """The open dataset."""
        if self._dataset is None:
            raise RuntimeError("the peer is not open")
        return self._dataset

    def _loader(self, seed: int | None, start: int = 0, workers: int = 0) -> DataLoader[Any]:
        """Return batches of samples from a position of an order on."""
        return DataLoader(
            self.opened,
            batch_size=BATCH,
            sampler=_Order(len(self.opened), seed, start),
            num_workers=workers,
            collate_fn=collate(self.work.shape is not None),
            multiprocessing_context=self.context if workers else None,
        )

    def ordered(self) -> Iterable[Any]:
        """Return samples by ascending position."""
        return self._loader(None)

    def shuffled(self, workers: int = 0) -> Iterable[Any]:
        """Return samples by a permutation; every call draws another."""
        return self._loader(next(self._epochs), workers=workers)

    def get(self, index: int) -> NDArray[Any]:
        """Return one sample of the dataset."""
        found: NDArray[Any] = self.opened[index].numpy()
        return found

    def take(self, indices: NDArray[np.int64]) -> Sequence[Any]:
        """Return samples by the dataset's own call for many, where it has one."""
        many = getattr(self.opened, "__getitems__", None)
        found: Sequence[Any] = many(indices.tolist()) if many else [self.opened[i] for i in indices.tolist()]
        return found
