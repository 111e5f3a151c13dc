"""WebDataset: tars in which the members of a sample follow each other and share a key. Both ways.

The key of ``a/17.input_ids.npy`` is ``a/17``, and what follows is the name of a part. Parts that end in ``npy`` are
arrays, ``json`` objects whose fields are columns, ``txt`` texts, ``cls`` whole numbers, and everything else bytes;
nothing that is stored is run, so pickles are not carried. Keys become a column where they are more than numbers. Ours
have the arrays as ``<column>.npy``, bytes as ``<column>.bin``, and all else in one ``json``.
"""

from __future__ import annotations

import json
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

import tokstore as ts

from .arrow_types import pick_tokens
from .contract import Batch, Export, Ids, Problems, ReadOptions
from .files import files_with, only_ending
from .json_values import column_from_objects, json_rows
from .jsonl import infer_types
from .tars import TarOut, read_members, read_npy, write_npy

__all__ = ["WEBDATASET", "WebDataset"]

_ENDINGS = (".tar", ".tar.gz", ".tgz")
_KEY = "__key__"
_ROWS, _BYTES = 1024, 8 << 20
_TEXT, _UNSAFE = ("txt", "text", "caption", "transcript"), ("pyd", "pickle", "pkl", "pth", "pt", "npz")


class _Tars:
    """Tars, read one after another."""

    def __init__(self, files: list[str], options: ReadOptions) -> None:
        self._files, self._options = files, options
        self.total_bytes: int | None = sum(os.path.getsize(one) for one in files)
        self.rows: int | None = None
        self.lost: list[str] = []
        if options.problems.skips:  # what is wrong is counted when all rows are read
            self._options = replace(options, problems=Problems("skip"))
        first = next((group for path in files for group in self._groups(path)), [])
        if not first:
            raise ValueError(self._options.problems.first or f"{files[0]}: there is no sample in it")
        self._options = options
        self._columns([row for _, row in first])

    def _columns(self, rows: list[dict[str, Any]]) -> None:
        """Decide what the columns are, by the first samples."""
        known = dict(self._options.types)
        parts = dict.fromkeys(name for row in rows for name in row)
        found: dict[str, Any] = {}
        objects: list[dict[str, Any]] = []
        for name in parts:
            values = [row[name] for row in rows if name in row]
            if name == _KEY:
                if name not in known and all(str(one).rpartition("/")[2].isdigit() for one in values):
                    self.lost.append("keys: they are numbers")
                    continue
                found[name] = ts.Text(optional=True)
            elif isinstance(values[0], np.ndarray):
                found[_column(name)] = known.get(_column(name)) or _array_type(values)
            elif isinstance(values[0], dict):
                objects += [one for one in values if isinstance(one, dict)]
            elif values[0] is None:
                self.lost.append(f"part {name!r}: a pickle, or another file that only its own program reads")
            else:
                kinds: dict[type, Any] = {str: ts.Text(optional=True), int: ts.Label(optional=True)}
                found[_column(name)] = known.get(_column(name)) or kinds.get(type(values[0]), ts.Bytes(optional=True))
        fields, lost = infer_types(objects, known)
        self.lost += lost
        found = found | {name: kind for name, kind in fields.items() if name not in found}
        lists = [
            name for name, kind in found.items()
            if name not in known and isinstance(kind, ts.Array) and kind.shape == (None,) and kind.dtype.kind in "iu"
        ]  # fmt: skip
        has_ids = any(isinstance(kind, (Ids, ts.Tokens)) for kind in found.values())
        tokens = None if has_ids else pick_tokens(lists)
        if tokens is not None:
            found[tokens] = Ids()
        self.lost += [f"part or field {name!r}: not asked for" for name in found if not self._options.wants(name)]
        self.columns = {name: kind for name, kind in found.items() if self._options.wants(name)}
        if not self.columns:
            raise ValueError(f"{self._files[0]}: no part can be carried: {'; '.join(self.lost)}")

    def batches(self) -> Iterator[Batch]:
        """Yield all rows."""
        for path in self._files:
            size = os.path.getsize(path)
            for group in self._groups(path):
                yield self._batch(path, group)
            self._options.bytes_read[0] += size

    def _batch(self, path: str, group: list[tuple[int, dict[str, Any]]]) -> Batch:
        """Return samples as a batch."""
        numbers = np.array([number for number, _ in group], np.int64)
        made = Batch(path, int(numbers[0]), len(group), {}, numbers=numbers)
        good = np.ones(len(group), bool)
        rows = [_flat(row) for _, row in group]
        for name, kind in self.columns.items():
            cells = [row.get(name) for row in rows]
            values, missing, wrong = _column_values(cells, kind)
            for place, message in wrong.items():
                self._options.problems.bad(path, int(numbers[place]), f"part {name!r} {message}")
                good[place] = False
            made.columns[name] = values
            if missing.any():
                made.missing[name] = missing
        return made if good.all() else made.keep(good)

    def _groups(self, path: str) -> Iterator[list[tuple[int, dict[str, Any]]]]:
        """Yield samples of a tar with their numbers, some at a time."""
        found: list[tuple[int, dict[str, Any]]] = []
        number, size = -1, 0
        for key, name, data in self._members(path):
            if not found or found[-1][1][_KEY] != key:
                if len(found) >= _ROWS or size >= _BYTES:
                    yield found
                    found, size = [], 0
                number += 1
                found.append((number, {_KEY: key}))
            row = found[-1][1]
            size += len(data)
            try:
                row[name] = _decoded(name, data)
            except ValueError as error:
                self._options.problems.bad(path, number, f"part {name!r} of {key!r} is damaged: {error}")
        if found:
            yield found

    def _members(self, path: str) -> Iterator[tuple[str, str, bytes]]:
        """Yield key, part and bytes of each file in a tar."""
        try:
            _check_end(path)
            for name, data in read_members(path):
                folder, _, base = name.rpartition("/")
                stem, _, part = base.partition(".")
                if part and not base.startswith("."):
                    yield (f"{folder}/{stem}" if folder else stem), part, data
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            self._options.problems.bad(path, None, f"the tar is damaged or cut short: {error}")


def _check_end(path: str) -> None:
    """Refuse a tar without the blocks of zeros at its end; `tarfile` reads one that was cut between members."""
    with open(path, "rb") as file:
        head = file.read(2)
        size = file.seek(0, os.SEEK_END)
        if head == b"\x1f\x8b":
            return
        file.seek(max(0, size - 1024))
        if file.read().strip(b"\0") or size < 1024:
            raise tarfile.ReadError("it has no end-of-archive blocks")


def _column(name: str) -> str:
    """Return the column of a part: without the ending that says how it is written."""
    stem, _, ending = name.rpartition(".")
    return stem if stem and ending in ("npy", "bin") else name


def _decoded(name: str, data: bytes) -> Any:
    """Return the value of a part; ``None`` for what is not carried."""
    ending = name.rpartition(".")[2].lower()
    if ending == "npy":
        try:
            return read_npy(data)
        except (ValueError, EOFError, OSError) as error:
            raise ValueError(f"no whole .npy: {error}") from error
    if ending in ("json", "jsn"):
        try:
            return json.loads(data)
        except RecursionError as error:
            raise ValueError("the JSON is nested too deeply") from error
    if ending in _TEXT:
        return data.decode()
    if ending in ("cls", "cls2", "index", "count", "inx", "id"):
        return int(data)
    return None if ending in _UNSAFE else data


def _array_type(values: list[Any]) -> Any:
    """Return the column type of arrays, by some of them."""
    dtype, shapes = values[0].dtype, {one.shape for one in values}
    if dtype.kind not in "iufb":
        return ts.Bytes(optional=True)
    if values[0].ndim == 1 and dtype.kind == "b":
        return ts.Mask(None, optional=True)
    if values[0].ndim == 1:
        is_vector = len(shapes) == 1 and dtype == np.float32 and values[0].size and len(values) > 1
        return ts.Vector(values[0].size, optional=True) if is_vector else ts.Array(dtype, (None,), optional=True)
    shape = values[0].shape
    inner = {one.shape[1:] for one in values}
    if len(inner) == 1 and 0 not in shape[1:]:
        return ts.Array(dtype, shape if len(shapes) == 1 and shape[0] else (None, *shape[1:]), optional=True)
    return ts.Bytes(optional=True)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a sample with the fields of its objects beside its parts."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict):
            found |= {key: one for key, one in value.items() if key not in found}
        else:
            found[_column(name)] = value
    return found


def _column_values(cells: list[Any], kind: Any) -> tuple[Any, Any, dict[int, str]]:
    """Return the values of a column, which are missing, and which are wrong."""
    if isinstance(kind, ts.Bytes) and not any(isinstance(one, dict) for one in cells):
        missing = np.fromiter((one is None for one in cells), bool, len(cells))
        wrong = {i: "is no file of bytes" for i, one in enumerate(cells) if not isinstance(one, (bytes, type(None)))}
        return [one if isinstance(one, bytes) else None for one in cells], missing, wrong
    if not any(isinstance(one, np.ndarray) for one in cells):
        return column_from_objects(cells, kind)
    missing = np.fromiter((one is None for one in cells), bool, len(cells))
    shape = (None,) if isinstance(kind, Ids) else kind.shape
    inner = tuple(one for one in shape if one is not None)
    wrong = {}
    arrays: list[Any] = []
    wanted = next(one.dtype for one in cells if isinstance(one, np.ndarray))
    for i, one in enumerate(cells):
        empty = np.zeros((0, *inner) if shape[:1] == (None,) else inner, wanted)
        good = isinstance(one, np.ndarray) and one.ndim == empty.ndim and one.shape[-len(inner) or one.ndim :] == inner
        if one is not None and not good:
            wrong[i] = f"is no array of shape {shape}"
        elif one is None and not kind.optional:
            wrong[i] = "is missing"
        arrays.append(one if good else empty)
    if shape[:1] == (None,):
        lengths = np.fromiter(map(len, arrays), np.int64, len(arrays))
        return ts.Ragged(np.concatenate(arrays), lengths), missing, wrong
    return np.stack(arrays), missing, wrong


class WebDataset:
    """Tars of samples."""

    name = "webdataset"
    endings = _ENDINGS
    writes = True
    options = ("dtype", "shard_rows")
    splits = True
    survives = "all columns by value; types are inferred again, unless they are named; not the sample ids"

    def sniff(self, path: str) -> bool:
        """Tell whether a path is a tar, or a folder of tars."""
        if os.path.isfile(path):
            return path.endswith(_ENDINGS) or (path.endswith(".tar") and tarfile.is_tarfile(path))
        return only_ending(path, _ENDINGS)

    def open(self, path: str, options: ReadOptions) -> _Tars:
        """Open a tar or a folder of tars."""
        return _Tars(files_with(path, self.endings), options)

    def write(self, path: str, export: Export) -> None:
        """Write one tar, or a folder of tars of `shard_rows` samples."""
        kinds = dict(export.schema.items())
        arrays = [name for name, kind in kinds.items() if _is_array(kind)]
        blobs = [name for name, kind in kinds.items() if isinstance(kind, ts.Bytes)]
        rest = [name for name in kinds if name not in arrays and name not in blobs]
        export.lost += [f"column {name!r}: its type {kind!r} is not written down" for name, kind in kinds.items()]
        write = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
        with _TarWriter(path, export.shard_rows) as tars:
            for batch in export.batches():
                objects = list(json_rows(batch, rest)) if rest else [{}] * batch.rows
                for row in range(batch.rows):
                    tars.begin()
                    for name in arrays:
                        if not (name in batch.missing and batch.missing[name][row]):
                            tars.add(f"{name}.npy", _npy(batch.columns[name][row], kinds[name], export.dtype))
                    for name in blobs:
                        if batch.columns[name][row] is not None:
                            tars.add(f"{name}.bin", batch.columns[name][row])
                    if rest:
                        tars.add("json", write(objects[row]).encode())


def _is_array(kind: Any) -> bool:
    """Tell whether values of a type are arrays."""
    return bool(kind.shape) and not isinstance(kind, (ts.SoftLabel, ts.Text, ts.Bytes))


def _npy(value: Any, kind: Any, dtype: str | None) -> bytes:
    """Return an array as the bytes of a .npy file."""
    if isinstance(kind, ts.Tokens):
        return write_npy(value.astype(dtype or ("uint16" if kind.vocab_size <= 1 << 16 else value.dtype)))
    array = np.ascontiguousarray(np.ma.getdata(value))
    return write_npy(array.astype(np.uint16) if isinstance(kind, ts.Codes) else array)


class _TarWriter:
    """One tar, or numbered ones in a folder."""

    def __init__(self, path: str, rows: int | None) -> None:
        self._path, self._most, self._row, self._shard = path, rows, -1, 0
        self._tar: TarOut | None = None
        if rows is not None:
            os.mkdir(path)
        else:
            self._tar = TarOut(path)

    def __enter__(self) -> _TarWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tar is not None:
            self._tar.close()

    def begin(self) -> None:
        """Begin the next sample."""
        self._row += 1
        if self._most is not None and self._row % self._most == 0:
            if self._tar is not None:
                self._tar.close()
            name = os.path.join(self._path, f"{self._shard:06d}.tar")
            self._tar = TarOut(name)
            self._shard += 1

    def add(self, name: str, data: bytes) -> None:
        """Add a part of the sample."""
        if self._tar is not None:
            self._tar.add(f"{self._row:09d}.{name}", data)


WEBDATASET = WebDataset()
