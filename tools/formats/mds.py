"""MDS of mosaicml-streaming: a folder with ``index.json`` and shards of samples. Both ways.

A shard is u32 samples n, u32 offsets[n + 1], the column list as JSON, then the samples: u32 sizes of the columns of
variable size, then all columns in the order of their names. It may be compressed as a whole; hashes that the index
names are checked. What an encoding becomes stands in `mds_values`.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xxhash
import zstandard
from numpy.typing import NDArray

import tokstore as ts
from tokstore.errors import CorruptError, MissingFileError, TruncatedError, UnsupportedError

from .arrow_types import exact_types, note_of, pick_tokens
from .contract import Batch, Export, Ids, ReadOptions
from .mds_values import encode_column, encoding_of, read_column, type_of_encoding

__all__ = ["MDS", "Mds"]

_INDEX, _NOTE = "index.json", "tokstore.schema"
_SHARD_BYTES = 1 << 26
_OPENERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
    "gz": gzip.decompress,
    "bz2": bz2.decompress,
}


class _Shards:
    """A folder of shards."""

    def __init__(self, folder: str, options: ReadOptions) -> None:
        self._folder, self._options = folder, options
        index = _read_index(folder)
        self._shards = index["shards"]
        first = self._shards[0]
        self._names, self._encodings = first["column_names"], first["column_encodings"]
        self._sizes = first["column_sizes"]
        self.lost: list[str] = []
        self.columns: dict[str, Any] = {}
        noted = exact_types(index[_NOTE].encode() if isinstance(index.get(_NOTE), str) else None)
        self._choose(noted | dict(options.types))
        self.rows: int | None = sum(int(one["samples"]) for one in self._shards)
        self.total_bytes: int | None = 0
        for number, shard in enumerate(self._shards):
            if [shard[key] for key in ("column_names", "column_encodings")] != [self._names, self._encodings]:
                raise ValueError(f"{folder}: shard {number} has other columns than the first one")
            path, facts = self._path(shard)
            if not os.path.isfile(path):
                raise MissingFileError("the index names the shard, and it is not there", path=path)
            if os.path.getsize(path) != facts["bytes"]:
                raise TruncatedError(
                    f"the shard has {os.path.getsize(path)} bytes, and the index says {facts['bytes']}", path=path
                )
            self.total_bytes += facts["bytes"]

    def _choose(self, known: dict[str, Any]) -> None:
        """Decide what becomes of each column."""
        found = dict(zip(self._names, self._encodings, strict=True))
        lists = [n for n, code in found.items() if n not in known and _is_ids(code)]
        has_tokens = any(isinstance(known.get(name), ts.Tokens) for name in found)
        tokens = None if has_tokens else pick_tokens(lists)
        for name, code in found.items():
            if not self._options.wants(name):
                self.lost.append(f"column {name!r}: not asked for")
                continue
            kind = Ids() if name == tokens else known.get(name) or type_of_encoding(code)
            if kind is None:
                self.lost.append(f"column {name!r}: encoding {code!r} has no column type")
            else:
                self.columns[name] = kind
        if not self.columns:
            raise ValueError(f"{self._folder}: no column can be carried: {'; '.join(self.lost)}")

    def _path(self, shard: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return where a shard is, and what the index says of that file."""
        facts: dict[str, Any] = shard["zip_data"] or shard["raw_data"]
        name = os.path.normpath(str(facts["basename"]))
        if os.path.isabs(name) or name.startswith(".."):
            raise CorruptError(f"a shard lies outside the folder: {name!r}", path=self._folder)
        path = os.path.join(self._folder, name)
        raw = shard["raw_data"]
        if not os.path.isfile(path) and raw and os.path.isfile(os.path.join(self._folder, raw["basename"])):
            return os.path.join(self._folder, raw["basename"]), raw  # a cache keeps them without compression
        return path, facts

    def batches(self) -> Iterator[Batch]:
        """Yield all rows, a shard at a time."""
        for shard in self._shards:
            path, facts = self._path(shard)
            data = self._load(path, facts, shard)
            yield from self._samples(data, path, int(shard["samples"]))
            self._options.bytes_read[0] += facts["bytes"]

    def _load(self, path: str, facts: dict[str, Any], shard: dict[str, Any]) -> bytes:
        """Read a shard, check its hashes, and decompress it."""
        with open(path, "rb") as file:
            data = file.read()
        for name, expected in (facts.get("hashes") or {}).items():
            if _digest(name, data) not in (None, expected):
                raise CorruptError(f"the {name} of the shard is another one than the index says", path=path)
        if facts is shard["zip_data"]:
            how = str(shard["compression"]).split(":")[0]
            if how not in _OPENERS:
                raise UnsupportedError(f"shards compressed with {how} are not read", path=path, hint="use zstd or gz")
            try:
                data = _OPENERS[how](data)
            except (OSError, EOFError, ValueError, zlib.error, zstandard.ZstdError) as error:
                raise CorruptError(f"the {how} data of the shard is damaged: {error}", path=path) from error
        if len(data) != shard["raw_data"]["bytes"]:
            raise TruncatedError(f"{len(data)} bytes, and the index says {shard['raw_data']['bytes']}", path=path)
        return data

    def _samples(self, data: bytes, path: str, samples: int) -> Iterator[Batch]:
        """Yield the samples of a shard."""
        count = int.from_bytes(data[:4], "little")
        if count != samples or len(data) < 8 + 4 * count:
            raise CorruptError(f"the shard says {count} samples, and the index {samples}", path=path)
        ends = np.frombuffer(data, "<u4", count + 1, 4).astype(np.int64)
        if (np.diff(ends) < 0).any() or int(ends[-1]) != len(data) or int(ends[0]) < 8 + 4 * count:
            raise CorruptError("sample offsets do not ascend to the end of the shard", path=path)
        starts, lengths = self._cells(data, ends, path)
        for at in range(0, count, 65_536):
            rows = slice(at, min(at + 65_536, count))
            batch = Batch(path, at, rows.stop - at, {})
            for name, kind in self.columns.items():
                code = self._encodings[self._names.index(name)]
                try:
                    values, missing = read_column(data, starts[name][rows], lengths[name][rows], code, kind)
                except (ValueError, IndexError) as error:
                    raise CorruptError(f"column {name!r}: {error}", path=path) from error
                batch.columns[name] = values
                if missing is not None:
                    batch.missing[name] = missing
            yield batch

    def _cells(self, data: bytes, ends: NDArray[np.int64], path: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return where the value of each column of each sample begins, and its bytes."""
        begins = ends[:-1]
        variable = [name for name, size in zip(self._names, self._sizes, strict=True) if size is None]
        head = 4 * len(variable)
        if (begins + head > ends[1:]).any():
            raise CorruptError("a sample is shorter than its sizes", path=path)
        raw = np.frombuffer(data, np.uint8)
        table = raw[begins[:, None] + np.arange(head)].copy().view("<u4").astype(np.int64).reshape(len(begins), -1)
        starts, lengths, at = {}, {}, begins + head
        for name, size in zip(self._names, self._sizes, strict=True):
            lengths[name] = table[:, variable.index(name)] if size is None else np.full(len(begins), size, np.int64)
            starts[name] = at
            at = at + lengths[name]
        if not np.array_equal(at, ends[1:]):
            raise CorruptError("the sizes of a sample do not add up to its bytes", path=path)
        return starts, lengths


def _read_index(folder: str) -> Any:
    """Return the index of a folder."""
    path = os.path.join(folder, _INDEX)
    if not os.path.isfile(path):
        raise MissingFileError(f"there are shards and no {_INDEX}: writing them was never finished", path=folder)
    try:
        with open(path, "rb") as file:
            index = json.load(file)
        if index["version"] != 2 or not all(one["format"] == "mds" for one in index["shards"]):
            raise UnsupportedError("this is no index of MDS, version 2", path=path)
        if not index["shards"]:
            raise ValueError("it names no shard")
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"the index is damaged: {error}", path=path) from error
    return index


def _digest(name: str, data: bytes) -> str | None:
    """Return a hash by its name in the index; ``None`` for one that is not known here."""
    if name in ("xxh32", "xxh64", "xxh3_64", "xxh128", "xxh3_128"):
        found: str = getattr(xxhash, name)(data).hexdigest()
        return found
    return (
        hashlib.new(name, data).hexdigest() if name in hashlib.algorithms_guaranteed and "shake" not in name else None
    )


def _is_ids(code: str) -> bool:
    """Tell whether an encoding is one of integer arrays of one dimension."""
    kind = type_of_encoding(code)
    return isinstance(kind, ts.Array) and kind.dtype.kind in "iu" and len(kind.shape) == 1


class Mds:
    """Folders of MDS shards."""

    name = "mds"
    endings = (".mds",)
    writes = True
    options = ("dtype", "shard_rows")
    survives = "columns that no sample lacks (a lacking score becomes NaN); exact types by a note in the index"

    def sniff(self, path: str) -> bool:
        """Tell whether a path is a folder of MDS shards, finished or not."""
        if not os.path.isdir(path):
            return False
        if any(name.startswith("shard.") and ".mds" in name for name in os.listdir(path)):
            return True
        try:
            with open(os.path.join(path, _INDEX), "rb") as file:
                return b'"mds"' in file.read(4096)
        except OSError:
            return False

    def open(self, path: str, options: ReadOptions) -> _Shards:
        """Open a folder."""
        return _Shards(path, options)

    def write(self, path: str, export: Export) -> None:
        """Write a folder, the index last."""
        codes = {}
        for name, kind in export.schema.items():
            code = encoding_of(kind, export.dtype)
            if code is None:
                export.lose(name, f"{kind!r} has no encoding")
            elif name in export.lacking and not isinstance(kind, ts.Score):
                export.lose(name, "some samples lack it, and MDS has no missing values")
            else:
                codes[name] = code
                if name in export.lacking:
                    export.lost.append(f"column {name!r}: missing scores are NaN")
        names = sorted(codes)
        sizes = [np.dtype(codes[n]).itemsize if codes[n] in _FIXED else None for n in names]
        os.mkdir(path)
        writer = _ShardWriter(path, names, [codes[n] for n in names], sizes, export.shard_rows)
        for batch in export.batches():
            cells = [encode_column(batch.columns[n], codes[n]) for n in names]
            writer.add([b"".join((_sizes(row, sizes), *row)) for row in zip(*cells, strict=True)])
        writer.finish(note_of(ts.Schema({n: export.schema[n] for n in names})).decode())


_FIXED = {"float16", "float32", "float64", "int64", "uint64", "int"}


def _sizes(row: tuple[bytes, ...], sizes: list[int | None]) -> bytes:
    """Return the sizes of the variable columns of a sample."""
    return np.array([len(cell) for cell, size in zip(row, sizes, strict=True) if size is None], "<u4").tobytes()


class _ShardWriter:
    """Shards of one folder."""

    def __init__(
        self, folder: str, names: list[str], codes: list[str], sizes: list[int | None], rows: int | None
    ) -> None:
        self._folder, self._most_rows = folder, rows
        self._config = {
            "column_encodings": codes, "column_names": names, "column_sizes": sizes, "compression": None,
            "format": "mds", "hashes": ["xxh64"], "size_limit": _SHARD_BYTES,
        }  # fmt: skip
        self._head = json.dumps(self._config, sort_keys=True).encode()
        self._shards: list[dict[str, Any]] = []
        self._samples: list[bytes] = []
        self._bytes = 0

    def add(self, samples: list[bytes]) -> None:
        """Add samples."""
        for one in samples:
            full = self._bytes + len(one) + 4 > _SHARD_BYTES or len(self._samples) == self._most_rows
            if self._samples and full:
                self._flush()
            self._samples.append(one)
            self._bytes += len(one) + 4

    def _flush(self) -> None:
        """Write a shard."""
        first = 8 + 4 * len(self._samples) + len(self._head)
        lengths = np.fromiter(map(len, self._samples), np.int64, len(self._samples))
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]) + first
        if int(ends[-1]) >= 1 << 32:
            raise ValueError("a sample is too large for MDS, whose offsets have 32 bits")
        data = b"".join(
            (len(self._samples).to_bytes(4, "little"), ends.astype("<u4").tobytes(), self._head, *self._samples)
        )
        name = f"shard.{len(self._shards):05d}.mds"
        with open(os.path.join(self._folder, name), "wb") as file:
            file.write(data)
        raw = {"basename": name, "bytes": len(data), "hashes": {"xxh64": xxhash.xxh64(data).hexdigest()}}
        facts = {"raw_data": raw, "samples": len(self._samples), "version": 2, "zip_data": None}
        self._shards.append(self._config | facts)
        self._samples, self._bytes = [], 0

    def finish(self, note: str) -> None:
        """Write the last shard and the index."""
        if self._samples or not self._shards:
            self._flush()
        index = {"shards": self._shards, "version": 2, _NOTE: note}
        with open(os.path.join(self._folder, _INDEX), "w", encoding="utf-8") as file:
            json.dump(index, file, sort_keys=True)


MDS = Mds()
