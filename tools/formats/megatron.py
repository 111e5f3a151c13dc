"""Megatron-LM's indexed datasets: ``x.bin`` with the ids back to back, ``x.idx`` that says where they are. Both ways.

The index is ``MMIDIDX\\0\\0``, u64 version 1, u8 dtype, u64 sequences S, u64 entries of the document index, then i32
lengths, i64 byte offsets and i64 document ends (the first is 0). A document is a sample; of several sequences in one
(sentences), the ids follow each other. Both files are named by either of them, or by what they have in common; a folder
stands for all pairs in it.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tokstore as ts
from tokstore.errors import CorruptError, TruncatedError

from .arrays import ids_dtype, lose_others, token_column
from .contract import Batch, Export, Ids, ReadOptions
from .files import files_with, first_bytes, only_ending

__all__ = ["MEGATRON", "Megatron"]

_MAGIC = b"MMIDIDX\0\0"
_HEAD = struct.Struct("<9sQBQQ")
_DTYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 8: "uint16"}
_CODES = {name: code for code, name in _DTYPES.items()}
_AT_ONCE = 1 << 20


class _Indexed:
    """One pair of files."""

    def __init__(self, stem: str, options: ReadOptions) -> None:
        self._bin, self._idx, self._options = stem + ".bin", stem + ".idx", options
        self.lost: list[str] = []
        kind = next((one for one in options.types.values() if isinstance(one, ts.Tokens)), None)
        self.columns: dict[str, Any] = {"tokens": kind or Ids()}
        self._dtype, lengths, documents = self._index()
        counts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
        self._offsets: NDArray[np.int64] = counts[documents]
        self.rows: int | None = len(documents) - 1
        if self.rows != len(lengths):
            self.lost.append("where the sequences inside a document end")
        self.total_bytes: int | None = os.path.getsize(self._bin)

    def _index(self) -> tuple[np.dtype[Any], NDArray[Any], NDArray[Any]]:
        """Read the index and check it against the ids: their dtype, the lengths, where documents end."""
        size = os.path.getsize(self._idx)
        magic, version, code, sequences, ends = _HEAD.unpack(
            first_bytes(self._idx, _HEAD.size).ljust(_HEAD.size, b"\0")
        )
        if magic != _MAGIC or version != 1:
            raise CorruptError("this is no index of Megatron-LM, version 1", path=self._idx)
        if code not in _DTYPES:
            raise CorruptError(f"ids of dtype code {code} are no integers", path=self._idx)
        need = _HEAD.size + sequences * 12 + ends * 8
        if size not in (need, need + sequences):  # multimodal ones have a byte for each sequence behind
            raise TruncatedError(f"the index has {size} bytes, and its counts ask for {need}", path=self._idx)
        if size != need and sequences:
            self.lost.append("the modes of sequences")
        mapped = np.memmap(self._idx, np.uint8, "r")

        def part(first: int, dtype: str, count: int) -> NDArray[Any]:
            return np.frombuffer(mapped, dtype, count, first)

        lengths = part(_HEAD.size, "<i4", sequences)
        pointers = part(_HEAD.size + 4 * sequences, "<i8", sequences)
        documents = part(_HEAD.size + 12 * sequences, "<i8", ends)
        dtype = np.dtype(_DTYPES[code]).newbyteorder("<")
        if sequences and int(lengths.min()) < 0:
            raise CorruptError("a length is negative", path=self._idx)
        stops = np.cumsum(lengths, dtype=np.int64) * dtype.itemsize
        if not np.array_equal(pointers, stops - lengths.astype(np.int64) * dtype.itemsize):
            raise CorruptError("the offsets do not follow from the lengths", path=self._idx)
        stored, total = os.path.getsize(self._bin), int(stops[-1]) if sequences else 0
        if stored != total:
            raise CorruptError(
                f"the index speaks of {total} bytes, and {os.path.basename(self._bin)} has {stored}", path=self._idx
            )
        if not ends or documents[0] != 0 or documents[-1] != sequences or (np.diff(documents) < 0).any():
            raise CorruptError(f"document ends are no ascending numbers from 0 to {sequences}", path=self._idx)
        return dtype, lengths, documents

    def batches(self) -> Iterator[Batch]:
        """Yield all documents."""
        offsets = self._offsets
        ids = np.memmap(self._bin, self._dtype, "r") if offsets[-1] else np.zeros(0, self._dtype)
        at = 0
        while at < len(offsets) - 1:
            stop = int(np.searchsorted(offsets, offsets[at] + _AT_ONCE, side="right")) - 1
            stop = min(max(stop, at + 1), at + 65_536, len(offsets) - 1)
            values = np.array(ids[offsets[at] : offsets[stop]])
            found = ts.Ragged(values, np.diff(offsets[at : stop + 1]))
            yield Batch(self._bin, at, stop - at, {"tokens": found})
            self._options.bytes_read[0] += values.nbytes
            at = stop


class _Folder:
    """All pairs of a folder, in the order of their names."""

    def __init__(self, stems: list[str], options: ReadOptions) -> None:
        self._options = options
        self._pairs = []
        errors = []
        for stem in stems:
            try:
                self._pairs.append(_pair(stem, options))
            except (ValueError, CorruptError) as error:
                if not options.problems.skips:
                    raise
                errors.append(error)
        if not self._pairs:
            raise errors[0]
        self._errors = errors
        self.columns = self._pairs[0].columns
        self.lost = list(dict.fromkeys(line for one in self._pairs for line in one.lost))
        self.rows: int | None = sum(one.rows or 0 for one in self._pairs)
        self.total_bytes: int | None = sum(one.total_bytes or 0 for one in self._pairs)

    def batches(self) -> Iterator[Batch]:
        """Yield the documents of all pairs."""
        for error in self._errors:
            self._options.problems.bad_file(error)
        for one in self._pairs:
            yield from one.batches()


class Megatron:
    """Pairs of ``.bin`` and ``.idx``, and folders of them."""

    name = "megatron"
    endings = (".idx",)
    writes = True
    options = ("dtype",)
    survives = "token ids and where documents end"

    def sniff(self, path: str) -> bool:
        """Tell whether a path, or what it begins, is a pair of Megatron's files, or a folder of nothing but pairs."""
        if os.path.isdir(path):
            return only_ending(path, (".bin", ".idx")) and any(
                first_bytes(one, 9) == _MAGIC for one in files_with(path, (".bin", ".idx"))
            )
        return first_bytes(_stem(path) + ".idx", 9) == _MAGIC

    def open(self, path: str, options: ReadOptions) -> _Indexed | _Folder:
        """Open a pair, or all pairs of a folder."""
        if os.path.isdir(path):
            return _Folder(list(dict.fromkeys(_stem(one) for one in files_with(path, (".bin", ".idx")))), options)
        return _pair(_stem(path), options)

    def parts(self, path: str) -> list[str]:
        """Return the files that a path stands for."""
        return [_stem(path) + ".bin", _stem(path) + ".idx"]

    def write(self, path: str, export: Export) -> None:
        """Write a pair."""
        name = token_column(export.schema)
        kind = export.schema[name]
        size = kind.vocab_size if isinstance(kind, ts.Tokens) else 1 << 31
        dtype = ids_dtype(kind, export.dtype or ("uint16" if size < 65_500 else None), unsigned=False)
        if dtype.name not in _CODES:
            raise ValueError(f"Megatron-LM has no ids of {dtype.name}; it has {', '.join(_CODES)}")
        lose_others(export, name)
        parts = []
        with open(_stem(path) + ".bin", "wb") as file:
            for batch in export.batches():
                ragged = batch.columns[name]
                file.write(ragged.values.astype(dtype, copy=False).data)
                parts.append(ragged.lengths)
        lengths = np.concatenate([np.zeros(0, np.int64), *parts])
        if lengths.size and int(lengths.max()) > np.iinfo(np.int32).max:
            raise ValueError("Megatron-LM holds no sample of more than 2**31 - 1 ids")
        pointers = (np.cumsum(lengths) - lengths) * dtype.itemsize
        with open(_stem(path) + ".idx", "wb") as file:
            file.write(_HEAD.pack(_MAGIC, 1, _CODES[dtype.name], len(lengths), len(lengths) + 1))
            file.write(lengths.astype("<i4").data)
            file.write(pointers.astype("<i8").data)
            file.write(np.arange(len(lengths) + 1, dtype="<i8").data)


def _pair(stem: str, options: ReadOptions) -> _Indexed:
    """Open a pair."""
    for one in (stem + ".idx", stem + ".bin"):
        if not os.path.isfile(one):
            raise ValueError(f"{one}: the file is not there; an indexed dataset is a .bin and an .idx")
    return _Indexed(stem, options)


def _stem(path: str) -> str:
    """Return a path without the ending of either file."""
    return path[:-4] if path.endswith((".bin", ".idx")) else path


MEGATRON = Megatron()
