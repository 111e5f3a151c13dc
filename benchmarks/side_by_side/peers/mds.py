"""MDS by mosaicml-streaming: one array per sample, shards of 64 MB, its own `StreamingDataset` under a `DataLoader`.

Compressed shards have to be inflated on local disk before a sample is read; what is there then counts as local bytes.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from benchmarks.side_by_side.peers.contract import BATCH, Peer, collate, to_tensor
from benchmarks.side_by_side.workloads import Work


def _without_torchvision() -> None:
    """Let `streaming` be imported where torchvision does not fit torch: it wants two names of it, for images alone."""
    try:
        import torchvision.datasets  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        tails = ("", ".datasets", ".transforms", ".transforms.functional")
        found = {f"torchvision{tail}": ModuleType(f"torchvision{tail}") for tail in tails}
        for name, module in found.items():
            module.__spec__ = ModuleSpec(name, None)
        found["torchvision.datasets"].__dict__["VisionDataset"] = type("VisionDataset", (), {})
        found["torchvision.datasets"].__dict__["CIFAR10"] = type("CIFAR10", (), {})
        found["torchvision.transforms.functional"].__dict__["to_tensor"] = None
        sys.modules |= found


_without_torchvision()

from streaming import MDSWriter, StreamingDataset  # noqa: E402

_SHARED = Path("/dev/shm")


def _pass_over_used_names() -> None:
    """Let the package choose names of shared memory that nothing on this machine has.

    It looks for the first free number name by name, and fails where ended processes have left some names of a number
    and not others. It leaves out a number for which a file of a lock is among the temporary files, which are our own.
    """
    for number in {path.name.partition("_")[0] for path in _SHARED.glob("[0-9]*_*")}:
        (Path(tempfile.gettempdir()) / f"{number}_barrier_filelock").touch()


class Samples(StreamingDataset):  # type: ignore[misc, unused-ignore]
    """Samples as tensors, made where the sample is read, as its own text dataset does it."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        # Of a list of positions each comes through this very method.
        return to_tensor(found["sample"]) if isinstance(found, dict) else found


class Here(Peer):
    """A folder of shards."""

    def __init__(self, work: Work, folder: Path, option: str) -> None:
        super().__init__(work, folder, option)
        if option:
            inflated = "the first epoch inflates whole shards beside the compressed ones"
            self.notes = {
                "bytes_local_while_reading": inflated,
                "shuffled_rate": "reads shards that are inflated by then",
            }
        self._opened: dict[bool, Any] = {}

    def write(self) -> None:
        """Write every sample; those of one length have a shape that the index knows."""
        kind = f"ndarray:{self.work.values.dtype.name}"
        if self.work.length is not None:
            kind += f":{self.work.length}"
        with MDSWriter(
            out=str(self.folder / "shards"), columns={"sample": kind}, compression=self.option or None
        ) as out:
            for sample in self.work.samples():
                out.write({"sample": sample})

    def _open(self, shuffle: bool) -> Any:
        """Return the dataset of an order, opened when it is first asked for: both at once share what is local."""
        if shuffle not in self._opened:
            where = str(self.folder / "shards")
            _pass_over_used_names()
            self._opened[shuffle] = Samples(local=where, shuffle=shuffle, batch_size=BATCH, num_canonical_nodes=1)
        return self._opened[shuffle]

    def open(self) -> None:
        """Open the shuffled dataset."""
        self._open(True)

    def close(self) -> None:
        """End its threads and let go of its shared memory."""
        for one in self._opened.values():
            iterator = getattr(one, "_iterator", None)
            if iterator is not None:
                iterator.exit()
            # Its own clean-up waits for the end of the process; what a process that is killed leaves is never removed.
            for path in _SHARED.glob(f"{one._shm_prefix_int:06}_*"):
                path.unlink(missing_ok=True)
        self._opened = {}

    def forget(self) -> bool:
        """Remove inflated shards."""
        if not self.option:
            return False
        for path in (self.folder / "shards").glob("*.mds"):
            path.unlink()
        return True

    def _loader(self, shuffle: bool, workers: int = 0) -> DataLoader[Any]:
        return DataLoader(
            self._open(shuffle),
            batch_size=BATCH,
            num_workers=workers,
            collate_fn=collate(self.work.shape is not None),
        )

    def ordered(self) -> Iterable[Any]:
        """Return samples in order, by a dataset that does not shuffle."""
        return self._loader(False)

    def shuffled(self, workers: int = 0) -> Iterable[Any]:
        """Return an epoch by its default shuffle."""
        return self._loader(True, workers)

    def get(self, index: int) -> NDArray[Any]:
        """Return one sample."""
        found: NDArray[Any] = self._open(True)[index].numpy()
        return found

    def take(self, indices: NDArray[np.int64]) -> Sequence[Any]:
        """Return samples by its own indexing with a list."""
        found: list[torch.Tensor] = self._open(True)[indices.tolist()]
        return found

    def resume(self, batches: int) -> Iterable[Any]:
        """Go on by its state."""
        data = self._open(True)
        data.load_state_dict(data.state_dict(batches * BATCH, from_beginning=True))
        return self._loader(True)
