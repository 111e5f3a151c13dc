"""The codecs of faiss as a store of vectors: trained on the vectors, written to a file, read by `reconstruct`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.side_by_side.peers.contract import BATCH, Cannot, Peer
from benchmarks.side_by_side.workloads import Work

_POINTS = 39
"""Training vectors for each centroid of a product quantizer: the fewest that faiss takes without a warning."""
_TRAINING = f"trained on {_POINTS} vectors for each centroid, the fewest that faiss advises; not for Hamming distance"


class Here(Peer):
    """One index without a search structure."""

    exact = False

    def __init__(self, work: Work, folder: Path, option: str) -> None:
        super().__init__(work, folder, option)
        if option.startswith("PQ"):
            self.notes = {"write_rate": _TRAINING}

    def write(self) -> None:
        """Train the codec, encode the vectors, write the index."""
        vectors = np.asarray(self.work.values).reshape(-1, self.work.size)
        index: Any = faiss.index_factory(self.work.size, self.option, faiss.METRIC_INNER_PRODUCT)
        if hasattr(index, "do_polysemous_training"):
            # It takes minutes for any number of vectors, and only gives centroids other numbers, which `reconstruct`
            # does not care for.
            index.do_polysemous_training = False
            index.pq.cp.max_points_per_centroid = _POINTS
        index.train(vectors)
        index.add(vectors)
        faiss.write_index(index, str(self.folder / "vectors.faiss"))

    def open(self) -> None:
        """Read the index."""
        self._index: Any = faiss.read_index(str(self.folder / "vectors.faiss"))
        self._epochs = itertools.count()

    def close(self) -> None:
        """Let go of it."""
        self._index = None

    def _batches(self, order: NDArray[np.int64] | None) -> Iterator[torch.Tensor]:
        count = self._index.ntotal
        for start in range(0, count, BATCH):
            if order is None:
                yield torch.from_numpy(self._index.reconstruct_n(start, min(BATCH, count - start)))
            else:
                yield torch.from_numpy(self._index.reconstruct_batch(order[start : start + BATCH]))

    def ordered(self) -> Iterable[Any]:
        """Return decoded vectors, 8 at a time."""
        return self._batches(None)

    def shuffled(self, workers: int = 0) -> Iterable[Any]:
        """Return decoded vectors by a permutation."""
        if workers:
            raise Cannot("it has no loader")
        return self._batches(np.random.default_rng(next(self._epochs)).permutation(self._index.ntotal))

    def get(self, index: int) -> NDArray[Any]:
        """Return one vector, decoded."""
        found: NDArray[Any] = self._index.reconstruct(index)
        return found

    def take(self, indices: NDArray[np.int64]) -> Sequence[Any]:
        """Return many vectors, decoded."""
        found: NDArray[Any] = self._index.reconstruct_batch(indices)
        return list(found)

    def bytes_per_vector(self) -> float:
        """Return the bytes of a code."""
        return float(self._index.sa_code_size())
