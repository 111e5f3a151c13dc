"""The own readers of foreign formats, and sources of formats that only their own packages write."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import tarfile
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tokstore as ts

__all__ = ["PATHS", "READ_ONLY", "columns_of", "own_reader", "write_source"]

PATHS = {
    "parquet": "x.parquet", "arrow": "x.arrow", "hf": "x.hf", "mds": "mds", "jsonl": "x.jsonl", "webdataset": "x.tar",
    "megatron": "m.idx", "bin": "x.bin", "npy": "x.npy", "litdata": "litdata", "datatrove": "x.ds", "lmdb": "x.lmdb",
    "seit": "seit",
}  # fmt: skip
"""What the source of each format is called."""

READ_ONLY = ("litdata", "datatrove", "lmdb", "seit")
_CHUNK_BYTES = 64 << 20
_CODES, _ESCAPE, _CLASSES, _SPREAD = 391, 255, 1000, 7  # of SeiT
Columns = dict[str, Any]


def columns_of(name: str, ids: ts.Ragged, kind: ts.Tokens, codes: NDArray[np.uint16]) -> tuple[Columns, Columns]:
    """Return the types and values of the columns that a format carries.

    SeiT's are images of codes with labels, LMDB's a record for each sample, its ids as bytes; others' ids as tokens.
    """
    if name == "lmdb":
        values = [row.astype(f"<u{ids.values.itemsize}").tobytes() for row in ids]
        keys = [f"{i:010d}" for i in range(len(values))]
        return {"key": ts.Text(), "value": ts.Bytes()}, {"key": keys, "value": values}
    if name == "seit":
        labels = np.arange(len(codes)) * _SPREAD % _CLASSES
        return {"codes": ts.Codes(_CODES, codes.shape[1:]), "label": ts.Label()}, {"codes": codes, "label": labels}
    return {"tokens": kind}, {"tokens": ids}


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
    if name == "lmdb":
        import lmdb

        return lambda: _records(lmdb, path)
    if name == "seit":
        return lambda: _images(path)
    if name == "megatron":
        return lambda: np.fromfile(path[:-4] + ".bin", dtype).sum()
    return lambda: np.load(path).sum() if name == "npy" else np.fromfile(path, dtype).sum()


def write_source(name: str, path: str, columns: Columns) -> None:
    """Write a source of a format that tokstore only reads: LitData and LMDB with their packages, datatrove's and SeiT's
    as they are described.

    Raises:
        ImportError: The package is not there.
    """
    if name == "litdata":
        from litdata.streaming.writer import BinaryWriter

        os.mkdir(path)
        out = BinaryWriter(path, chunk_bytes=_CHUNK_BYTES)
        for i, row in enumerate(columns["tokens"]):
            out[i] = {"tokens": row}
        out.done()
        out.merge(1)
        return
    if name == "lmdb":
        import lmdb

        with lmdb.open(path, map_size=1 << 34) as environment, environment.begin(write=True) as transaction:
            for key, value in zip(columns["key"], columns["value"], strict=True):
                transaction.put(key.encode(), value, append=True)
        return
    if name == "seit":
        _write_images(path, columns)
        return
    ids = columns["tokens"]
    ids.values.astype(f"<u{ids.values.itemsize}").tofile(path)
    np.cumsum(ids.lengths).astype("<u8").tofile(path + ".index")
    with open(path + ".metadata", "w", encoding="utf-8") as file:
        file.write(f"bpe|{ids.values.itemsize}\n{len(ids.values)}\n")


def _ipc(pa: Any, path: str) -> Iterator[Any]:
    """Yield the batches of an Arrow file."""
    reader = pa.ipc.open_file(pa.memory_map(path))
    return (reader.get_batch(i) for i in range(reader.num_record_batches))


def _write_images(path: str, columns: Columns) -> None:
    """Write a split of SeiT's: an id below 255 is a byte, another one 255 and the rest."""
    codes = columns["codes"].reshape(len(columns["codes"]), -1)
    is_long = codes >= _ESCAPE
    stream = np.insert(codes - _ESCAPE * is_long, np.flatnonzero(is_long), _ESCAPE).astype(np.uint8)
    offsets = io.BytesIO()
    np.save(offsets, np.append(0, np.cumsum(codes.shape[1] + is_long.sum(axis=1))))
    os.mkdir(path)
    for ending, data in (("token.data.bin.gz", stream.tobytes()), ("token.index.npy.gz", offsets.getvalue())):
        with open(os.path.join(path, f"train-{ending}"), "wb") as file:
            file.write(gzip.compress(data))
    with open(os.path.join(path, "train-label.txt"), "w", encoding="ascii") as text:
        text.writelines(f"{one}\n" for one in columns["label"].tolist())


def _images(path: str) -> int:
    """Read a split as SeiT's loader does: the whole stream is inflated, and each image is gone through byte by byte."""
    with gzip.open(os.path.join(path, "train-token.data.bin.gz")) as file:
        data = file.read()
    with gzip.open(os.path.join(path, "train-token.index.npy.gz")) as file:
        offsets = np.load(io.BytesIO(file.read())).tolist()
    total = 0
    for start, stop in pairwise(offsets):
        codes, above = [], 0
        for byte in data[start:stop]:
            if byte == _ESCAPE:
                above = _ESCAPE
            else:
                codes.append(above + byte)
                above = 0
        total += len(np.array(codes, np.int64))
    return total


def _records(lmdb: Any, path: str) -> int:
    """Read all records of an LMDB."""
    with lmdb.open(path, readonly=True, lock=False) as environment, environment.begin() as transaction:
        return sum(len(value) for _, value in transaction.cursor())


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
