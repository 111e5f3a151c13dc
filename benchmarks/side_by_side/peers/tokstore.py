"""tokstore at its levels for tokens and codes, and with its codecs for vectors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import tokstore as ts
from benchmarks.side_by_side.peers.contract import BATCH, Cannot, Peer
from benchmarks.side_by_side.workloads import Work


class Streamed(Peer):
    """A store with a loader: tokens or codes."""

    whole_first_epoch = True
    notes: Mapping[str, str] = MappingProxyType(
        {
            "workers1_rate": "epochs behind the first, which the worker decodes",
            "workers2_rate": "epochs behind the first, which the workers decode",
        }
    )

    def write(self) -> None:
        """Write all samples by one call."""
        work = self.work
        if work.kind == "tokens":
            with ts.create(self.folder / "store", ts.Schema(tokens=ts.Tokens(work.size)), level=self.option) as writer:
                writer.extend(tokens=ts.Ragged(np.asarray(work.values), work.lengths))
            return
        kind = ts.Codes(work.size, work.shape or ())
        with ts.create(self.folder / "store", ts.Schema(codes=kind), level=self.option) as writer:
            writer.extend(codes=np.asarray(work.values).reshape(-1, *(work.shape or ())))

    def open(self) -> None:
        """Open the store, and its shuffled stream."""
        self._store = ts.open(self.folder / "store")
        self._data = self._stream(True)

    def close(self) -> None:
        """Let go of both."""
        del self._store, self._data

    def _stream(self, shuffle: bool, epochs: int | None = 1) -> ts.StreamingDataset:
        options: dict[str, Any] = {"batch_size": BATCH, "shuffle": shuffle, "epochs": epochs}
        if self.work.kind == "codes":
            options |= {"emit": ("codes",)}
        elif self.work.length is not None:
            options |= {"seq_len": self.work.length, "packing": "concat", "emit": ("input_ids",)}
        else:
            options |= {"flat": True, "emit": ("input_ids", "seq_lengths")}
        return ts.StreamingDataset(self._store, **options)

    def ordered(self) -> Iterable[Any]:
        """Return a stream that does not shuffle."""
        return self._stream(False).loader()

    def shuffled(self, workers: int = 0) -> Iterable[Any]:
        """Return the next epoch of the stream."""
        return self._data.loader(num_workers=workers)

    def with_workers(self, workers: int) -> tuple[Iterable[Any], int]:
        """Return a stream of several epochs: a new worker decodes in its first, as the process itself did."""
        data = self._stream(True, epochs=4)
        return data.loader(num_workers=workers), len(data) // 4

    def get(self, index: int) -> NDArray[Any]:
        """Return one sample."""
        found: NDArray[Any] = self._store[index]["tokens" if self.work.kind == "tokens" else "codes"]
        return found

    def take(self, indices: NDArray[np.int64]) -> Sequence[Any]:
        """Return many samples by one take."""
        name = "tokens" if self.work.kind == "tokens" else "codes"
        found = self._store.take(indices)[name]
        return [found.values] if isinstance(found, ts.Ragged) else [found]

    def resume(self, batches: int) -> Iterable[Any]:
        """Go on by a state: a few integers."""
        self._data.load_state_dict(self._data.state_at(batches=batches))
        return self._data.loader()


class Vectors(Peer):
    """A store of vectors; it has no loader for them without tokens or codes."""

    def __init__(self, work: Work, folder: Path, option: str) -> None:
        super().__init__(work, folder, option)
        self.exact = not option

    def write(self) -> None:
        """Write all vectors by one call."""
        kind: dict[str, Any] = {"codec": self.option} if self.option == "int8" else {}
        if self.option.isdigit():
            kind = {"codec": "pca", "bytes_per_vector": int(self.option)}
        with ts.create(self.folder / "store", ts.Schema(v=ts.Vector(self.work.size, **kind))) as writer:
            writer.extend(v=np.asarray(self.work.values).reshape(-1, self.work.size))

    def open(self) -> None:
        """Open the store."""
        self._store = ts.open(self.folder / "store")

    def close(self) -> None:
        """Let go of it."""
        del self._store

    def ordered(self) -> Iterable[Any]:
        """Return a scan, cut into batches."""
        return self._scan()

    def _scan(self) -> Iterator[torch.Tensor]:
        for found in self._store.scan(["v"], batch_size=BATCH * 256):
            yield from torch.split(torch.from_numpy(np.ascontiguousarray(found["v"])), BATCH)

    def shuffled(self, workers: int = 0) -> Iterable[Any]:
        """It has none."""
        raise Cannot("its loader streams vectors beside tokens or codes only")

    def get(self, index: int) -> NDArray[Any]:
        """Return one vector."""
        found: NDArray[Any] = self._store[index]["v"]
        return found

    def take(self, indices: NDArray[np.int64]) -> Sequence[Any]:
        """Return many vectors by one take."""
        return [np.asarray(self._store.take(indices)["v"])]

    def bytes_per_vector(self) -> float:
        """Return the column's bytes without its rotation and tables."""
        apart = int(self._store.describe()["columns"][0]["object_bytes"])
        return (self._store.stored_bytes("v") - apart) / len(self._store)


def Here(work: Work, folder: Path, option: str) -> Peer:
    """Return the store for the kind of samples."""
    return Vectors(work, folder, option) if work.kind == "vectors" else Streamed(work, folder, option)
