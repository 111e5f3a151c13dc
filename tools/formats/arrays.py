"""Raw token ids: ``.npy`` files, and ``.bin`` files of nothing but ids (nanoGPT, OLMo). Both ways.

A two-dimensional ``.npy`` has a sample in each row. Anything flat is cut where a document ends (`doc_end`, an id that
is taken out and put back on export), or into samples of `seq_len`, or each file is one sample. A ``.bin`` does not say
its dtype: uint16 unless it is named. OLMo calls its raw files ``.npy`` too; they have no header and are read like
``.bin``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tokstore as ts

from .contract import Batch, Export, Ids, ReadOptions
from .files import files_with, first_bytes, first_that_opens, only_ending

__all__ = ["BIN", "NPY", "Bin", "Npy", "ids_dtype", "token_column"]

_AT_ONCE, _MOST_IN_ONE = 1 << 20, 1 << 26
_MAGIC = b"\x93NUMPY"


class _Flat:
    """Files of ids."""

    def __init__(self, files: list[str], options: ReadOptions) -> None:
        self._files, self._options = files, options
        self.total_bytes: int | None = sum(os.path.getsize(one) for one in files)
        self.rows: int | None = None
        self.lost: list[str] = []
        kind = next((one for one in options.types.values() if isinstance(one, ts.Tokens)), None)
        self.columns: dict[str, Any] = {"tokens": kind or Ids(eos_id=options.doc_end)}
        if options.problems.skips:
            first_that_opens(files, self._map)
            return
        for path in files:
            self._map(path)

    def _map(self, path: str) -> NDArray[Any]:
        """Map a file into memory."""
        found: NDArray[Any]
        if first_bytes(path, 6) == _MAGIC:
            try:
                found = np.load(path, mmap_mode="r", allow_pickle=False)
            except (ValueError, EOFError, OSError) as error:
                raise ValueError(f"{path}: this is no whole .npy file: {error}") from error
            if found.ndim not in (1, 2) or found.dtype.kind not in "iu":
                raise ValueError(
                    f"{path}: token ids are integers of one or two dimensions, not {found.dtype} of shape {found.shape}"
                )
            return found
        dtype = np.dtype(self._options.dtype or "uint16").newbyteorder("<")
        size = os.path.getsize(path)
        if dtype.kind not in "iu" or size % dtype.itemsize:
            raise ValueError(
                f"{path}: {size} bytes are no whole number of ids of {dtype.name}; say which dtype the ids have"
            )
        return np.memmap(path, dtype, "r") if size else np.zeros(0, dtype)

    def batches(self) -> Iterator[Batch]:
        """Yield the samples of all files."""
        for path in self._files:
            row, done = 0, 0
            try:
                array = self._map(path)
            except ValueError as error:
                self._options.problems.bad_file(error)
                continue
            for found in self._samples(array):
                yield Batch(path, row, len(found), {"tokens": found})
                row += len(found)
                self._options.bytes_read[0] += found.values.nbytes
                done += found.values.nbytes
            self._options.bytes_read[0] += os.path.getsize(path) - done

    def _samples(self, array: NDArray[Any]) -> Iterator[ts.Ragged]:
        """Cut the ids of a file into samples."""
        end, length = self._options.doc_end, self._options.seq_len
        if array.ndim == 2 or length is not None:
            width = array.shape[1] if array.ndim == 2 else int(length or 1)
            flat, step = array.reshape(-1), max(1, _AT_ONCE // max(width, 1)) * width
            for at in range(0, len(flat), max(step, 1)):
                ids = np.array(flat[at : at + step])
                whole, rest = divmod(len(ids), max(width, 1))
                yield ts.Ragged(ids, [width] * whole + ([rest] if rest else []))
            if array.ndim == 2 and not width:
                yield ts.Ragged(array.reshape(-1), np.zeros(len(array), np.int64))
        elif end is not None:
            yield from _cut(array, end)
        elif len(array) > _MOST_IN_ONE:
            raise ValueError(
                f"{len(array)} ids would be one sample: say which id ends a document (doc_end), or a length (seq_len)"
            )
        else:
            yield ts.Ragged(np.array(array), [len(array)])


def _cut(array: NDArray[Any], end: int) -> Iterator[ts.Ragged]:
    """Yield the documents of a flat array, without the id that ends each."""
    rest = [array[:0]]
    for at in range(0, len(array), _AT_ONCE):
        ids = np.array(array[at : at + _AT_ONCE])
        ends = np.flatnonzero(ids == end)
        if not len(ends):
            rest.append(ids)
            continue
        values = np.concatenate([*rest, ids[: ends[-1]]])
        before = sum(map(len, rest))
        stops = ends + before
        lengths = np.diff(stops, prepend=-1) - 1
        rest = [ids[ends[-1] + 1 :]]
        inside = np.ones(len(values), bool)
        inside[stops[:-1]] = False
        yield ts.Ragged(values[inside], lengths)
    left = np.concatenate(rest)
    if len(left):  # a last document that was not ended
        yield ts.Ragged(left, [len(left)])


def token_column(schema: ts.Schema) -> str:
    """Return the first token column.

    Raises:
        ValueError: There is none.
    """
    found = next((name for name in schema.names if isinstance(schema[name], ts.Tokens)), None)
    if found is None:
        raise ValueError(f"the format holds token ids, and there is no column of them; there are: {schema.names}")
    return found


def ids_dtype(kind: Any, wanted: str | None, unsigned: bool = True) -> np.dtype[Any]:
    """Return the dtype to write ids with: uint16 up to 65,536 of them, else uint32 or int32.

    Raises:
        ValueError: The dtype that is wanted cannot hold the vocabulary.
    """
    size = kind.vocab_size
    usual = "uint16" if size <= 1 << 16 else ("uint32" if unsigned else "int32") if size <= 1 << 31 else "int64"
    dtype = np.dtype(wanted or usual).newbyteorder("<")
    if dtype.kind not in "iu" or size - 1 > np.iinfo(dtype).max:
        raise ValueError(f"ids of a vocabulary of {size} do not fit {dtype.name}")
    return dtype


def lose_others(export: Export, kept: str) -> None:
    """Add a line for every column but one."""
    for name in export.schema.names:
        if name != kept:
            export.lose(name, "the format holds ids alone")
    export.read_back = {"tokens": kept}
    kind = export.schema[kept]
    if isinstance(kind, ts.Tokens):
        export.lost.append(f"vocabulary size {kind.vocab_size} and special ids: the format has no place for them")


def _lose_ends(export: Export, name: str) -> None:
    """Say that nothing tells where samples end."""
    export.keeps_rows = False
    export.lost.append(f"column {name!r}: where samples end, since no id that ends them was named")


def _flat_ids(export: Export, name: str, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Yield the ids of all samples, with the ends of documents between them."""
    end = export.doc_end
    for batch in export.batches():
        ragged = batch.columns[name]
        if end is None:
            yield ragged.values.astype(dtype, copy=False)
            continue
        if (ragged.values == end).any():
            raise ValueError(f"id {end} stands inside a sample of column {name!r}, so that it cannot end one")
        ends = np.cumsum(ragged.lengths + 1) - 1
        out = np.full(len(ragged.values) + len(ragged), end, dtype)
        inside = np.ones(len(out), bool)
        inside[ends] = False
        out[inside] = ragged.values
        yield out


class _Files:
    """What both formats have in common."""

    splits = True
    writes = True
    options = ("dtype", "doc_end", "seq_len")
    endings: tuple[str, ...]

    def open(self, path: str, options: ReadOptions) -> _Flat:
        """Open a file or folder."""
        return _Flat(files_with(path, self.endings), options)

    def _begin(self, export: Export) -> tuple[str, np.dtype[Any]]:
        """Choose the column to write and its dtype, and say what is lost of all others."""
        name = token_column(export.schema)
        dtype = ids_dtype(export.schema[name], export.dtype)
        export.dtype = dtype.name
        lose_others(export, name)
        return name, dtype


class Bin(_Files):
    """Raw ids without a header."""

    name = "bin"
    endings = (".bin",)
    survives = "token ids; lengths where an id ends each document"

    def sniff(self, path: str) -> bool:
        """Tell whether a path holds raw ids: by its ending, and because nothing else that is called .bin lies there."""
        if os.path.isfile(path):
            return path.endswith(self.endings) and not os.path.exists(path[: -len(".bin")] + ".idx")
        if not only_ending(path, self.endings):
            return False
        return not any(name == "index.json" or name.startswith("chunk-") for name in os.listdir(path))

    def write(self, path: str, export: Export) -> None:
        """Write one file."""
        name, dtype = self._begin(export)
        if export.doc_end is None:
            _lose_ends(export, name)
        with open(path, "wb") as file:
            for ids in _flat_ids(export, name, dtype):
                file.write(ids.data)


class Npy(_Files):
    """NumPy arrays of ids."""

    name = "npy"
    endings = (".npy",)
    survives = "token ids; lengths where all are equal, or where an id ends each document"

    def sniff(self, path: str) -> bool:
        """Tell whether a path is an array of integers, or a folder of such."""
        if not os.path.isfile(path):
            return only_ending(path, self.endings)
        if first_bytes(path, 6) != _MAGIC:
            return path.endswith(self.endings)
        try:
            return bool(np.load(path, mmap_mode="r", allow_pickle=False).dtype.kind in "iu")
        except (ValueError, EOFError, OSError):
            return True

    def write(self, path: str, export: Export) -> None:
        """Write one array: of two dimensions where all samples are of one length, else flat."""
        name, dtype = self._begin(export)
        widths: set[int] = set()
        count = 0
        for batch in export.batches():
            lengths = batch.columns[name].lengths
            widths |= set(np.unique(lengths).tolist()) if len(widths) < 2 else set()
            count += int(lengths.sum())
        square = len(widths) == 1 and export.doc_end is None
        if export.doc_end is not None:
            count += export.rows
        elif not square:
            _lose_ends(export, name)
        shape = (export.rows, widths.pop()) if square else (count,)
        with open(path, "wb") as file:
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for ids in _flat_ids(export, name, dtype):
                file.write(ids.data)


BIN, NPY = Bin(), Npy()
