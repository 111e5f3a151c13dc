"""LitData: a folder with ``index.json`` and chunks of items. Read only.

A chunk is u32 items n, u32 offsets[n + 1] and the items: u32 sizes of all leaves, then the leaves. Which leaves there
are and how each is written stands once in the index. Chunks of token streams (`TokensLoader`) have items without sizes.
Leaves that only a program can read back (pickles) are not carried; whole chunks may be compressed with zstd.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

import tokstore as ts
from tokstore.errors import CorruptError, MissingFileError, TruncatedError, UnsupportedError

from .arrow_types import pick_tokens
from .contract import Batch, Export, Ids, ReadOptions

__all__ = ["LITDATA", "LitData"]

_TORCH = {
    0: "float32", 1: "float32", 2: "float64", 3: "float64", 8: "float16", 9: "float16", 11: "uint8", 12: "int8",
    13: "int16", 14: "int16", 15: "int32", 16: "int32", 17: "int64", 18: "int64", 19: "bool", 20: "uint16",
}  # fmt: skip
_NUMPY = dict(
    enumerate(
        ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64")
    )
) | {13: "bool"}
_BYTES = ("bytes", "jpeg", "pil", "file", "tiff", "video", "audio", "pdf")


class _Chunks:
    """A folder of chunks."""

    def __init__(self, folder: str, options: ReadOptions) -> None:
        self._folder, self._options = folder, options
        index = _read_index(folder)
        self._chunks, config = index["chunks"], index["config"]
        if config.get("encryption"):
            raise UnsupportedError("encrypted chunks are not read", path=folder)
        self._compression = str(config.get("compression") or "")
        if self._compression and str(config.get("compression_level")) in ("batch", "sample"):
            raise UnsupportedError(
                "chunks that are compressed in frames are not read",
                path=folder,
                hint="write them with compression_level='chunk', or without compression",
            )
        self._formats: list[str] = list(config["data_format"])
        self._is_flat = config.get("item_loader") == "TokensLoader"
        self._names = _leaf_names(config.get("data_spec"), len(self._formats), self._is_flat)
        self.lost: list[str] = []
        self.columns = self._types()
        self.rows: int | None = sum(int(one["chunk_size"]) for one in self._chunks)
        self.total_bytes: int | None = sum(int(one["chunk_bytes"]) for one in self._chunks)
        for one in self._chunks:
            path = os.path.join(folder, one["filename"])
            if not os.path.isfile(path):
                raise MissingFileError("the index names the chunk, and it is not there", path=path)

    def _types(self) -> dict[str, Any]:
        """Decide what the columns are, by the formats of leaves and the first item."""
        known = self._options.types
        found: dict[str, Any] = {}
        first = next(self._items(self._chunks[0]), None)
        for i, (name, form) in enumerate(zip(self._names, self._formats, strict=True)):
            if not self._options.wants(name):
                self.lost.append(f"leaf {name!r}: not asked for")
                continue
            kind = known.get(name) or _type_of(form, None if first is None else first[i])
            if kind is None:
                self.lost.append(f"leaf {name!r}: format {form!r} has no column type")
            else:
                found[name] = kind
        lists = [n for n, k in found.items() if isinstance(k, ts.Array) and k.shape == (None,) and k.dtype.kind in "iu"]
        has_ids = any(isinstance(kind, ts.Tokens) for kind in found.values())
        tokens = None if has_ids else pick_tokens([name for name in lists if name not in known])
        if tokens is not None:
            found[tokens] = Ids()
        if not found:
            raise ValueError(f"{self._folder}: no leaf can be carried: {'; '.join(self.lost)}")
        return found

    def _load(self, chunk: dict[str, Any]) -> tuple[bytes, NDArray[np.int64]]:
        """Return the bytes of a chunk and where its items lie."""
        path = os.path.join(self._folder, chunk["filename"])
        with open(path, "rb") as file:
            data = file.read()
        if self._compression:
            if self._compression != "zstd":
                raise UnsupportedError(f"chunks compressed with {self._compression} are not read", path=path)
            try:
                data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
            except zstandard.ZstdError as error:
                raise CorruptError(f"the zstd data of the chunk is damaged: {error}", path=path) from error
        count = int.from_bytes(data[:4], "little")
        if len(data) < 8 + 4 * count:
            raise TruncatedError("the chunk is shorter than its offsets", path=path)
        ends = np.frombuffer(data, "<u4", count + 1, 4).astype(np.int64)
        if int(ends[0]) < 8 + 4 * count or (np.diff(ends) < 0).any() or int(ends[-1]) > len(data):
            raise TruncatedError("item offsets do not ascend inside the chunk", path=path)
        if not self._is_flat and count != int(chunk["chunk_size"]):
            raise CorruptError(f"the chunk says {count} items, and the index {chunk['chunk_size']}", path=path)
        return data, ends

    def _items(self, chunk: dict[str, Any]) -> Iterator[list[bytes]]:
        """Yield the leaves of each item of a chunk."""
        data, ends = self._load(chunk)
        view, count = memoryview(data), len(self._formats)
        for a, b in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
            if self._is_flat:
                yield [bytes(view[a:b])]
                continue
            sizes = struct.unpack_from(f"<{count}I", data, a)
            at, leaves = a + 4 * count, []
            for size in sizes:
                leaves.append(bytes(view[at : at + size]))
                at += size
            if at != b:
                path = os.path.join(self._folder, chunk["filename"])
                raise CorruptError("the sizes of an item do not add up to its bytes", path=path, offset=a)
            yield leaves

    def batches(self) -> Iterator[Batch]:
        """Yield all rows, a chunk at a time."""
        for chunk in self._chunks:
            path = os.path.join(self._folder, chunk["filename"])
            items = list(self._items(chunk))
            for at in range(0, len(items), 8192):
                rows = items[at : at + 8192]
                batch = Batch(path, at, len(rows), {})
                for i, (name, form) in enumerate(zip(self._names, self._formats, strict=True)):
                    if name in self.columns:
                        try:
                            batch.columns[name] = _column([row[i] for row in rows], form, self.columns[name])
                        except (ValueError, KeyError, struct.error) as error:
                            raise CorruptError(f"leaf {name!r} cannot be read: {error}", path=path) from error
                yield batch
            self._options.bytes_read[0] += int(chunk["chunk_bytes"])


def _read_index(folder: str) -> Any:
    """Return the index of a folder."""
    path = os.path.join(folder, "index.json")
    if not os.path.isfile(path):
        raise MissingFileError("there are chunks and no index.json: writing them was never finished", path=folder)
    try:
        with open(path, "rb") as file:
            index = json.load(file)
        if not index["chunks"] or not index["config"]["data_format"]:
            raise ValueError("it names no chunk, or no leaf")
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"the index is damaged: {error}", path=path) from error
    return index


def _leaf_names(spec: Any, count: int, is_flat: bool) -> list[str]:
    """Return names for leaves: the keys of a dict where an item is one, else ``leaf_0`` and so on."""
    if is_flat or count == 1:
        default = ["tokens"]
    else:
        default = [f"leaf_{i}" for i in range(count)]
    try:
        node = json.loads(spec)[1]
        if node["type"] != "builtins.dict" or any(one["type"] is not None for one in node["children_spec"]):
            return default
        names = [str(one) for one in json.loads(node["context"])]
    except (TypeError, ValueError, KeyError, IndexError):
        return default
    return names if len(names) == count else default


def _type_of(form: str, first: bytes | None) -> Any:
    """Return the column type of a leaf, or ``None``."""
    name, _, code = form.partition(":")
    if name in ("no_header_tensor", "no_header_numpy"):
        dtype = (_TORCH if name.endswith("tensor") else _NUMPY).get(int(code))
        return None if dtype is None else _array((None,), dtype)
    if name in ("tensor", "numpy") and first:
        dtype, shape, _ = _header(name, first)
        return _array((None, *shape[1:]), dtype) if dtype is not None and shape and 0 not in shape[1:] else None
    if name in ("str", "string", "text", "json"):
        return ts.Text(optional=True)
    if name in ("int", "integer"):
        return ts.Label(optional=True)
    if name in ("bool", "boolean"):
        return ts.Label(2, optional=True)
    if name == "float":
        return ts.Score("float64", optional=True)
    return ts.Bytes(optional=True) if name in _BYTES else None


def _array(shape: tuple[int | None, ...], dtype: str) -> Any:
    """Return the type of arrays; of booleans, the one of masks."""
    if dtype == "bool" and shape == (None,):
        return ts.Mask(None, optional=True)
    return ts.Array(dtype, shape, optional=True)


def _header(name: str, data: bytes) -> tuple[str | None, tuple[int, ...], int]:
    """Return dtype, shape and length of the header of an array that says them."""
    order = ">" if name == "tensor" else "<"
    code, rank = struct.unpack_from(order + "II", data)
    if rank > 4 or len(data) < 8 + 4 * rank:
        raise ValueError("the header of an array is damaged")
    shape = struct.unpack_from(f"{order}{rank}I", data, 8)
    return (_TORCH if name == "tensor" else _NUMPY).get(code), shape, 8 + 4 * rank


def _column(cells: list[bytes], form: str, kind: Any) -> Any:
    """Return the values of a leaf of many items."""
    name, _, code = form.partition(":")
    if name in ("no_header_tensor", "no_header_numpy"):
        dtype = np.dtype((_TORCH if name.endswith("tensor") else _NUMPY)[int(code)])
        lengths = np.fromiter(map(len, cells), np.int64, len(cells))
        if (lengths % dtype.itemsize).any():
            raise ValueError(f"an item is no whole number of {dtype.name}")
        return ts.Ragged(np.frombuffer(b"".join(cells), dtype), lengths // dtype.itemsize)
    if name in ("tensor", "numpy"):
        arrays = []
        for cell in cells:
            found, shape, at = _header(name, cell)
            if found is None:
                raise ValueError("an array has another dtype than the first")
            arrays.append(np.frombuffer(cell, found, -1, at).reshape(shape))
        if isinstance(kind, Ids) or kind.ragged:
            return ts.Ragged(np.concatenate(arrays), [len(one) for one in arrays])
        return np.stack(arrays)
    if name in ("str", "string", "text", "json"):
        return [cell.decode() for cell in cells]
    if name in ("int", "integer", "float"):
        return np.frombuffer(b"".join(cells), "<f8" if name == "float" else "<i8")
    if name in ("bool", "boolean"):
        return np.frombuffer(b"".join(cells), np.uint8)
    return cells


class LitData:
    """Folders of LitData's chunks."""

    name = "litdata"
    endings: tuple[str, ...] = ()
    writes = False
    options: tuple[str, ...] = ()
    survives = "tokens, arrays, texts, numbers, bytes; not pickles"

    def sniff(self, path: str) -> bool:
        """Tell whether a path is a folder of chunks, finished or not."""
        if not os.path.isdir(path):
            return False
        if any(name.startswith("chunk-") and name.endswith(".bin") for name in os.listdir(path)):
            return True
        try:
            with open(os.path.join(path, "index.json"), "rb") as file:
                head = file.read(4096)
        except OSError:
            return False
        return b'"chunks"' in head and b'"chunk_bytes"' in head

    def open(self, path: str, options: ReadOptions) -> _Chunks:
        """Open a folder."""
        return _Chunks(path, options)

    def write(self, path: str, export: Export) -> None:
        """Refuse: this format is read only."""
        raise ValueError("format 'litdata' can only be read")


LITDATA = LitData()
