"""WebDataset: a tar per 64 MB, one `.npy` for each sample, batched in the pipeline and shuffled by its buffer."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable
from typing import Any

import torch
import webdataset
from torch.utils.data import DataLoader

from benchmarks.side_by_side.peers.contract import BATCH, Cannot, Peer, to_tensor

_BUFFER = 1000


class Here(Peer):
    """A folder of tars."""

    def write(self) -> None:
        """Write every sample as a file of an archive."""
        pattern = str(self.folder / "samples-%06d.tar")
        with webdataset.ShardWriter(pattern, maxsize=64_000_000, maxcount=10_000_000, verbose=0) as out:
            for index, sample in enumerate(self.work.samples()):
                out.write({"__key__": f"{index:09d}", "npy": sample})

    def open(self) -> None:
        """Find the archives."""
        self._urls = [str(path) for path in sorted(self.folder.glob("*.tar"))]
        self._epochs = itertools.count()

    def close(self) -> None:
        """Nothing stays open."""

    def _loader(self, shuffle: bool, workers: int = 0) -> DataLoader[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = webdataset.WebDataset(
                self._urls, shardshuffle=len(self._urls) if shuffle else False, empty_check=False,
                seed=next(self._epochs), nodesplitter=webdataset.split_by_node,
            )  # fmt: skip
        if shuffle:
            found = found.shuffle(_BUFFER)
        join = torch.stack if self.work.shape is not None else list
        found = found.decode().to_tuple("npy").map(_first).batched(BATCH, collation_fn=join)
        return webdataset.WebLoader(found, batch_size=None, num_workers=workers)  # type: ignore[no-any-return]

    def ordered(self) -> Iterable[Any]:
        """Return samples as the archives have them."""
        return self._loader(False)

    def shuffled(self, workers: int = 0) -> Iterable[Any]:
        """Return samples through a buffer of 1,000, archives in random order."""
        return self._loader(True, workers)

    def resume(self, batches: int) -> Iterable[Any]:
        """Nothing of its own."""
        raise Cannot("it has no state; its documents advise resampled archives instead")


def _first(sample: Any) -> torch.Tensor:
    """Return the only array of a sample."""
    return to_tensor(sample[0])
