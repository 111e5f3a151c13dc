"""LitData: tokens of one length by its `TokensLoader`, others as tensors; chunks of 64 MB; its own loader.

Chunks are written by the writer that `litdata.optimize` runs in each of its workers, without the start of workers.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import litdata
import numpy as np
import torch
from litdata.streaming.item_loader import TokensLoader
from litdata.streaming.writer import BinaryWriter
from numpy.typing import NDArray

from benchmarks.side_by_side.peers.contract import BATCH, Peer, collate
from benchmarks.side_by_side.workloads import Work

_CHUNK_BYTES = 64_000_000


class Here(Peer):
    """A folder of chunks."""

    def __init__(self, work: Work, folder: Path, option: str) -> None:
        super().__init__(work, folder, option)
        if option:
            inflated = "the first epoch inflates whole chunks beside the compressed ones, and removes those"
            self.notes = {
                "bytes_local_while_reading": inflated,
                "shuffled_rate": "reads chunks that are inflated by then",
            }
        self._opened: dict[bool, Any] = {}
        self._as_tokens = work.length is not None and work.kind != "vectors"

    def write(self) -> None:
        """Write every sample as a tensor."""
        (self.folder / "chunks").mkdir()
        options: dict[str, Any] = {"chunk_bytes": _CHUNK_BYTES}
        if self._as_tokens:
            length = self.work.length or 1
            size = _CHUNK_BYTES // self.work.values.dtype.itemsize // length * length
            options = {"chunk_size": size, "item_loader": TokensLoader(block_size=length)}
        if self.option:
            options |= {"compression": self.option, "compression_level": "chunk"}
        out = BinaryWriter(str(self.folder / "chunks"), **options)
        for index, sample in enumerate(self.work.samples()):
            # LitData has no number for uint32; ids below 2**31 are the same bytes as int32.
            out[index] = torch.from_numpy(sample.view(np.int32) if sample.dtype == np.uint32 else sample)
        out.done()
        out.merge(1)

    def _open(self, shuffle: bool) -> Any:
        if shuffle not in self._opened:
            self._opened[shuffle] = litdata.StreamingDataset(
                str(self.folder / "chunks"),
                cache_dir=str(self.folder / "cache"),
                item_loader=TokensLoader(block_size=self.work.length) if self._as_tokens else None,
                shuffle=shuffle,
                transform=_widen,
            )
        return self._opened[shuffle]

    def open(self) -> None:
        """Open the shuffled dataset."""
        self._open(True)

    def close(self) -> None:
        """Let go of the datasets."""
        self._opened = {}

    def forget(self) -> bool:
        """Remove the cache: copies of chunks, or what was inflated of them."""
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        return bool(self.option)

    def _loader(self, shuffle: bool, workers: int = 0) -> Any:
        return litdata.StreamingDataLoader(
            self._open(shuffle),
            batch_size=BATCH,
            num_workers=workers,
            collate_fn=collate(self.work.shape is not None),
        )

    def ordered(self) -> Iterable[Any]:
        """Return samples in order, by a dataset that does not shuffle."""
        return self._loader(False)  # type: ignore[no-any-return]

    def shuffled(self, workers: int = 0) -> Iterable[Any]:
        """Return an epoch by its own shuffle."""
        return self._loader(True, workers)  # type: ignore[no-any-return]

    def get(self, index: int) -> NDArray[Any]:
        """Return one sample."""
        return np.asarray(self._open(False)[index])

    def resume(self, batches: int) -> Iterable[Any]:
        """Go on by its state."""
        data = self._open(True)
        state = data.state_dict(batches * BATCH, 0, BATCH)
        self._opened.pop(True)
        self._open(True).load_state_dict(state)
        return self._loader(True)  # type: ignore[no-any-return]


def _widen(sample: torch.Tensor) -> torch.Tensor:
    """Return ids as int64."""
    return sample if sample.dtype == torch.float32 else sample.to(torch.int64)
