"""The own readers of foreign formats, and sources of formats that only their own packages write."""

from __future__ import annotations

import json
import os
import sys
import tarfile
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import numpy as np

import tokstore as ts

__all__ = ["PATHS", "READ_ONLY", "own_reader", "write_source"]

PATHS = {
    "parquet": "x.parquet", "arrow": "x.arrow", "hf": "x.hf", "mds": "mds", "jsonl": "x.jsonl", "webdataset": "x.tar",
    "megatron": "m.idx", "bin": "x.bin", "npy": "x.npy", "litdata": "litdata", "datatrove": "x.ds",
}  # fmt: skip
"""What the source of each format is called."""

READ_ONLY = ("litdata", "datatrove")
_CHUNK_BYTES = 64 << 20


def own_reader(name: str, path: str, dtype: str) -> Callable[[], Any]:
    """Return a function that reads all ids with the format's own package, or with numpy where it is plain numbers.

    Raises:
        ImportError: The package is not there.
    """
    if name == "parquet":
        import pyarrow.parquet as pq

        return lambda: [batch.num_rows for batch in pq.ParquetFile(path).iter_batches(8192)]
    if name == "arrow":
        import pyarrow as pa

        return lambda: [batch["tokens"].values.to_numpy().sum() for batch in _ipc(pa, path)]
    if name == "jsonl":
        return lambda: sum(len(json.loads(line)["tokens"]) for line in open(path, "rb"))
    if name == "hf":
        import datasets

        return lambda: [len(x["tokens"]) for x in datasets.load_from_disk(path).with_format("arrow").iter(1000)]
    if name == "mds":
        _stand_in_for_torchvision()
        from streaming import StreamingDataset

        found = StreamingDataset(local=path, shuffle=False, batch_size=1)
        return lambda: sum(len(found[i]["tokens"]) for i in range(len(found)))
    if name == "litdata":
        import litdata

        return lambda: sum(len(row["tokens"]) for row in litdata.StreamingDataset(path))
    if name == "webdataset":
        return lambda: _tar(path)
    if name == "megatron":
        return lambda: np.fromfile(path[:-4] + ".bin", dtype).sum()
    return lambda: np.load(path).sum() if name == "npy" else np.fromfile(path, dtype).sum()


def write_source(name: str, path: str, ids: ts.Ragged) -> None:
    """Write a source of a format that tokstore only reads: LitData with its package, datatrove's as it is described.

    Raises:
        ImportError: The package is not there.
    """
    if name == "litdata":
        from litdata.streaming.writer import BinaryWriter

        os.mkdir(path)
        out = BinaryWriter(path, chunk_bytes=_CHUNK_BYTES)
        for i, row in enumerate(ids):
            out[i] = {"tokens": row}
        out.done()
        out.merge(1)
        return
    ids.values.astype(f"<u{ids.values.itemsize}").tofile(path)
    np.cumsum(ids.lengths).astype("<u8").tofile(path + ".index")
    with open(path + ".metadata", "w", encoding="utf-8") as file:
        file.write(f"bpe|{ids.values.itemsize}\n{len(ids.values)}\n")


def _ipc(pa: Any, path: str) -> Iterator[Any]:
    """Yield the batches of an Arrow file."""
    reader = pa.ipc.open_file(pa.memory_map(path))
    return (reader.get_batch(i) for i in range(reader.num_record_batches))


def _tar(path: str) -> int:
    """Read a tar with `webdataset`, or with `tarfile` where it is not installed."""
    try:
        import webdataset
    except ImportError:
        with tarfile.open(path, "r|") as tar:
            return sum(len(stream.read()) for one in tar if (stream := tar.extractfile(one)) is not None)
    rows = webdataset.WebDataset(path, shardshuffle=False, empty_check=False).decode()
    return sum(len(row["tokens.npy"]) for row in rows)


def _stand_in_for_torchvision() -> None:
    """Put an empty module in the place of torchvision where it does not load: `streaming` imports names of it for
    datasets of images, and its wheels for a graphics card do not fit a torch without one."""
    try:
        import torchvision.datasets  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("", ".datasets", ".transforms", ".transforms.functional"):
            made = ModuleType(f"torchvision{name}")
            made.__spec__ = ModuleSpec(made.__name__, None)
            made.VisionDataset = made.CIFAR10 = type("VisionDataset", (), {})  # type: ignore[attr-defined]
            made.to_tensor = None  # type: ignore[attr-defined]
            sys.modules[made.__name__] = made
