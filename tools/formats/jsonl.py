"""JSON lines, plain or compressed with zstd or gzip, with columns. Both ways.

An object is a sample and a field a column. JSON has no types, so they are inferred from the first lines: whole numbers
are labels, others scores of float64, strings texts, lists of whole numbers arrays of int64 or, under the name of token
ids, token ids. A later line that does not fit is a bad row; `types` says what a column is. Numbers are written so that
they come back bit for bit; bytes as ``{"base64": …}``, NaN and the infinities as the names that Python's `json` gives
them.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from array import array
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
import zstandard

import tokstore as ts

from ..sources import STDIN, SourceFile, find_files, read_chunks
from .arrow_types import pick_tokens
from .contract import TOKEN_NAMES, Batch, Export, Ids, Objects, Problems, ReadOptions
from .json_ids import IdLines

__all__ = ["JSONL", "Jsonl", "column_from_objects", "infer_types", "is_float_array", "json_rows"]

_LINES, _BYTES, _INFER_BYTES = 4096, 4 << 20, 1 << 20
_BOM = b"\xef\xbb\xbf"
Row = tuple[int, dict[str, Any]]


class _Lines:
    """Files of JSON lines."""

    def __init__(self, files: list[SourceFile], options: ReadOptions) -> None:
        self._files, self._options, self._has_bool = files, options, False
        self.total_bytes: int | None = sum(one.stored_bytes for one in files)
        self.rows: int | None = None
        self._parse: Callable[[bytes], Any] = json.loads
        self._options = ReadOptions(problems=Problems("skip"))
        first = next(self._lines(_INFER_BYTES), (files[0].path, []))[1]
        self._options = options
        found, self.lost = infer_types([row for _, row in first], dict(options.types))
        self.columns = {name: kind for name, kind in found.items() if options.wants(name)}
        self.lost += [f"field {name!r}: not asked for" for name in found if name not in self.columns]
        ids = next((name for name, kind in self.columns.items() if isinstance(kind, (Ids, ts.Tokens))), None)
        self._parse = json.loads if ids is None else IdLines(ids).parse
        if not self.columns:
            raise ValueError(f"{files[0].path}: no field can be carried: {'; '.join(self.lost) or 'there is none'}")

    def batches(self) -> Iterator[Batch]:
        """Yield all rows."""
        for path, rows in self._lines():
            yield self._batch(path, rows)

    def _batch(self, path: str, rows: list[Row]) -> Batch:
        """Return lines as a batch."""
        made = Batch(path, rows[0][0], len(rows), {}, numbers=np.array([number for number, _ in rows], np.int64))
        good = np.ones(len(rows), bool)
        for name, kind in self.columns.items():
            cells: list[Any] = [row.get(name) for _, row in rows]
            if all(isinstance(one, np.ndarray) for one in cells):
                made.columns[name] = ts.Ragged(np.concatenate(cells), [len(one) for one in cells])
                continue
            plain = [one.tolist() if isinstance(one, np.ndarray) else one for one in cells]
            values, missing, wrong = column_from_objects(plain, kind, may_be_bool=self._has_bool)
            for place, message in wrong.items():
                self._options.problems.bad(path, rows[place][0], f"field {name!r} {message}")
                good[place] = False
            made.columns[name] = values
            if missing.any():
                made.missing[name] = missing
        return made if good.all() else made.keep(good)

    def _lines(self, most: int = _BYTES) -> Iterator[tuple[str, list[Row]]]:
        """Yield parsed lines with their numbers, from 1."""
        for file in self._files:
            rows: list[Row] = []
            size, self._has_bool = 0, False
            for number, line in _numbered(file, self._options):
                try:
                    row = self._parse(line)
                except (ValueError, RecursionError) as error:
                    self._options.problems.bad(file.path, number, f"the line is not JSON ({error})")
                    continue
                if not isinstance(row, dict):
                    self._options.problems.bad(file.path, number, f"the line holds a {type(row).__name__}, no object")
                    continue
                rows.append((number, row))
                self._has_bool = self._has_bool or b"true" in line or b"false" in line
                size += len(line)
                if len(rows) >= _LINES or size >= most:
                    yield file.path, rows
                    rows, size, self._has_bool = [], 0, False
            if rows:
                yield file.path, rows


def _numbered(file: SourceFile, options: ReadOptions) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that are not empty, and their numbers."""
    number, rest = 0, b""
    try:
        for chunk in read_chunks(file, on_read=options.bytes_read):
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            for line in lines:
                number += 1
                if line and not line.isspace():
                    yield number, line.removeprefix(_BOM) if number == 1 else line
        if rest and not rest.isspace():
            yield number + 1, rest.removeprefix(_BOM) if not number else rest
    except ValueError as error:  # damaged compression
        options.problems.bad(file.path, number, str(error))


def infer_types(rows: list[dict[str, Any]], wanted: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return column types for the fields of objects, and lines for fields that have none.

    Args:
        rows: Some of the objects.
        wanted: Types that are known, by name.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    found: dict[str, Any] = {}
    lost, lists = [], []
    for name in names:
        values = [row[name] for row in rows if row.get(name) is not None]
        kind = wanted.get(name) or _infer(values, name in TOKEN_NAMES)
        if kind is None:
            lost.append(f"field {name!r}: its values have no column type")
        else:
            found[name] = kind
            if isinstance(kind, ts.Array) and kind.dtype == np.int64 and name not in wanted:
                lists.append(name)
    tokens = None if any(isinstance(kind, ts.Tokens) for kind in found.values()) else pick_tokens(lists)
    if tokens is not None:
        found[tokens] = Ids()
    return {name: found[name] for name in found} | {}, lost


def _infer(values: list[Any], are_ids: bool) -> Any:
    """Return the column type of values of one field: that of the first, and of a fraction if one is among numbers.

    Args:
        values: What the field holds where it is there.
        are_ids: The field has the name of token ids, so that a fraction in it is a mistake.
    """
    if not values:
        return None
    first = values[0]
    if type(first) is bool:
        return ts.Label(2, optional=True)
    if type(first) in (int, float):
        if any(type(one) is float for one in values):
            return ts.Score("float64", optional=True)
        return ts.Label(optional=True) if -(1 << 63) <= first < 1 << 63 else None
    if type(first) is str:
        return ts.Text(optional=True)
    if type(first) is dict:
        return ts.Bytes(optional=True) if set(first) == {"base64"} else None
    if type(first) is not list:
        return None
    lists = [one for one in values if type(one) is list and one]
    if not lists:
        return ts.Array("int64", (None,), optional=True)
    kind = type(lists[0][0])
    if kind is bool:
        return ts.Mask(None, optional=True)
    if kind not in (int, float):
        return None
    has_fraction = not are_ids and any(type(item) is float for one in lists for item in one)
    return ts.Array("float64" if has_fraction else "int64", (None,), optional=True)


def column_from_objects(values: list[Any], kind: Any, *, may_be_bool: bool = True) -> tuple[Any, Any, dict[int, str]]:
    """Return the values of a field as those of a column: values, which are missing, which are wrong and why.

    Args:
        values: What the objects hold; ``None`` where they hold nothing.
        kind: The column type.
        may_be_bool: Lists may hold ``true`` and ``false``, which are no numbers; ``False`` where none is in the text.
    """
    if isinstance(kind, Objects):
        return values, np.zeros(len(values), bool), {}
    missing = np.fromiter((one is None for one in values), bool, len(values))
    wrong: dict[int, str] = {}
    if not kind.optional:
        wrong |= dict.fromkeys(np.flatnonzero(missing).tolist(), "is missing")
    if isinstance(kind, (ts.Text, ts.Category)):
        wrong |= {i: "holds no string" for i, one in enumerate(values) if one is not None and type(one) is not str}
        return [None if i in wrong else one for i, one in enumerate(values)], missing, wrong
    if isinstance(kind, ts.Bytes):
        return _bytes(values, missing, wrong)
    if isinstance(kind, ts.SoftLabel):
        return _soft(values, kind, missing, wrong)
    if isinstance(kind, Ids) or kind.ragged:
        return _lists(values, kind, missing, wrong, may_be_bool)
    if kind.shape:
        return _arrays(values, kind, missing, wrong)
    integers = isinstance(kind, ts.Label) or (
        isinstance(kind, ts.Array) and not is_float_array(kind) and kind.dtype != bool
    )
    allowed = (bool, int) if integers or kind.dtype == bool else (int, float)
    wrong |= {i: "holds no number" for i, one in enumerate(values) if one is not None and type(one) not in allowed}
    integer = kind.dtype if isinstance(kind, ts.Array) and integers else np.int64
    dtype: Any = integer if integers else bool if isinstance(kind, ts.Array) and kind.dtype == bool else np.float64
    try:
        found = np.array([0 if i in wrong or one is None else one for i, one in enumerate(values)], dtype)
    except OverflowError:
        info = np.iinfo(dtype)
        for i, one in enumerate(values):
            if isinstance(one, int) and not info.min <= one <= info.max:
                wrong[i] = f"holds a number beyond {np.dtype(dtype).name}"
        found = np.array([0 if i in wrong or one is None else one for i, one in enumerate(values)], dtype)
    return found, missing, wrong


def is_float_array(kind: Any) -> bool:
    """Tell whether a type is one of arrays of floating-point numbers; bfloat16 has no dtype of its own."""
    return isinstance(kind, ts.Array) and (kind.dtype.kind == "f" or kind.dtype_number == 10)


def _lists(
    values: list[Any], kind: Any, missing: Any, wrong: dict[int, str], may_be_bool: bool
) -> tuple[Any, Any, dict[int, str]]:
    """Return lists of numbers as a `Ragged`."""
    inner = () if isinstance(kind, Ids) else kind.shape[1:]
    is_float = is_float_array(kind)
    dtype: Any = np.float64 if is_float else bool if isinstance(kind, ts.Mask) else np.int64
    if inner:
        rows = []
        for i, one in enumerate(values):
            try:
                row = np.array([] if one is None else one, dtype)
                rows.append(row.reshape(-1, *inner) if row.size else np.zeros((0, *inner), dtype))
            except (ValueError, TypeError, OverflowError):
                wrong[i] = f"holds no lists of shape {kind.shape}"
                rows.append(np.zeros((0, *inner), dtype))
        return ts.Ragged(np.concatenate(rows), [len(row) for row in rows]), missing, wrong
    lists = [one if type(one) is list else [] for one in values]
    wrong |= {i: "holds no list" for i, one in enumerate(values) if one is not None and type(one) is not list}
    try:
        if dtype is bool or may_be_bool:
            raise TypeError("looked at one by one")
        flat = _numbers(lists, is_float)
    except (TypeError, OverflowError):
        allowed: set[type] = {int, float} if is_float else {bool} if dtype is bool else {int}
        for i, one in enumerate(lists):
            message = _wrong_list(one, allowed)
            if message is not None:
                wrong[i], lists[i] = message, []
        flat = np.fromiter(chain.from_iterable(lists), dtype, sum(map(len, lists)))
    return ts.Ragged(flat, np.fromiter(map(len, lists), np.int64, len(lists))), missing, wrong


def _numbers(lists: list[list[Any]], is_float: bool) -> Any:
    """Return numbers of lists as one array, fast; `TypeError` or `OverflowError` where one is none or too large."""
    found = array("d" if is_float else "q")
    for one in lists:
        found.fromlist(one)
    return np.frombuffer(found, np.float64 if is_float else np.int64)


def _wrong_list(items: list[Any], allowed: set[type]) -> str | None:
    """Say what is wrong with a list, if anything is."""
    if not set(map(type, items)) <= allowed:
        is_null = any(item is None for item in items)
        return f"holds {'null' if is_null else 'something else'} where a number is needed"
    if int in allowed and items and not -(1 << 63) <= min(items) <= max(items) < 1 << 63:
        return None if float in allowed else "holds a number beyond int64"
    return None


def _arrays(values: list[Any], kind: Any, missing: Any, wrong: dict[int, str]) -> tuple[Any, Any, dict[int, str]]:
    """Return arrays of one shape."""
    is_float = isinstance(kind, ts.Vector) or (is_float_array(kind))
    dtype: Any = np.float64 if is_float else np.int64
    out = np.zeros((len(values), *kind.shape), dtype)
    for i, one in enumerate(values):
        if one is None:
            continue
        try:
            out[i] = np.array(one, dtype).reshape(kind.shape)
        except (ValueError, TypeError, OverflowError):
            wrong[i] = f"holds no array of shape {kind.shape}"
    return out.astype(bool) if isinstance(kind, ts.Array) and kind.dtype == bool else out, missing, wrong


def _bytes(values: list[Any], missing: Any, wrong: dict[int, str]) -> tuple[Any, Any, dict[int, str]]:
    """Return bytes that were written as base64."""
    found: list[bytes | None] = []
    for i, one in enumerate(values):
        try:
            found.append(None if one is None else base64.b64decode(one["base64"], validate=True))
        except (TypeError, KeyError, ValueError, binascii.Error):
            wrong[i] = 'holds no {"base64": …}'
            found.append(None)
    return found, missing, wrong


def _soft(values: list[Any], kind: Any, missing: Any, wrong: dict[int, str]) -> tuple[Any, Any, dict[int, str]]:
    """Return distributions."""
    width = kind.top or kind.classes
    ids, probs = np.zeros((len(values), width), np.int64), np.zeros((len(values), width), np.float32)
    ids[:] = np.arange(width)
    for i, one in enumerate(values):
        if one is None:
            continue
        try:
            probs[i] = one["probs"]
            if kind.top is not None:
                ids[i] = one["ids"]
        except (TypeError, KeyError, ValueError, OverflowError):
            wrong[i] = f"holds no soft label of {width} probabilities"
    return ts.SoftLabels(None if kind.top is None else ids, probs, kind.classes), missing, wrong


def json_rows(batch: Batch, names: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch as objects that `json` can write; what is missing is left out."""
    lists = [_objects(batch.columns[name], batch.missing.get(name)) for name in names]
    for row in zip(*lists, strict=True):
        yield {name: value for name, value in zip(names, row, strict=True) if value is not None}


def _objects(values: Any, missing: Any) -> list[Any]:
    """Return the values of a column as plain objects."""
    found: list[Any]
    if isinstance(values, ts.SoftLabels):
        ids = [None] * len(values) if values.ids is None else values.ids.tolist()
        found = [
            {"probs": p} if i is None else {"ids": i, "probs": p}
            for i, p in zip(ids, values.probs.tolist(), strict=True)
        ]
    elif isinstance(values, list):
        found = [{"base64": base64.b64encode(v).decode()} if isinstance(v, bytes) else v for v in values]
    elif isinstance(values, ts.Ragged):
        found = values.to_list()
    else:
        found = values.tolist()  # masked ones become None
    if missing is not None:
        found = [None if gone else value for value, gone in zip(found, missing.tolist(), strict=True)]
    return found


class Jsonl:
    """JSON lines with columns."""

    splits = True
    name = "jsonl"
    endings = (".jsonl", ".jsonl.zst", ".jsonl.gz", ".ndjson", ".ndjson.zst", ".ndjson.gz")
    writes = True
    options: tuple[str, ...] = ()
    survives = "all columns by value; types are inferred again, unless they are named; not the sample ids"

    def sniff(self, path: str) -> bool:
        """Tell whether a path is JSON lines with token ids, or a folder of such; texts are for the tokenizer."""
        if os.path.isfile(path):
            return self._has_ids(path)
        if not os.path.isdir(path):
            return False
        try:
            files = find_files([path])
        except ValueError:
            return False
        return all(one.is_lines for one in files) and self._has_ids(files[0].path)

    def _has_ids(self, path: str) -> bool:
        """Tell whether the first line of a file has token ids."""
        file = find_files([path])[0]
        if not file.is_lines:
            return False
        try:
            line = next((line for _, line in islice(_numbered(file, ReadOptions()), 1)), b"")
            row = json.loads(line)
        except (ValueError, RecursionError):
            return False
        return isinstance(row, dict) and any(isinstance(row.get(name), list) for name in TOKEN_NAMES)

    def open(self, path: str, options: ReadOptions) -> _Lines:
        """Open a file or folder."""
        if path == STDIN:
            raise ValueError("standard input can be read once only, and types are inferred first: name a file")
        return _Lines(find_files([path]), options)

    def write(self, path: str, export: Export) -> None:
        """Write one file; compressed where its name says so."""
        names = list(export.schema.names)
        export.lost += [f"column {name!r}: its type {export.schema[name]!r} is not written down" for name in names]
        with open(path, "wb") as raw:
            if ".zst" in os.path.basename(path):
                with zstandard.ZstdCompressor(level=3, write_checksum=True).stream_writer(raw, closefd=False) as file:
                    _write_lines(file, export, names)
            elif ".gz" in os.path.basename(path):
                import gzip

                with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
                    _write_lines(file, export, names)
            else:
                _write_lines(raw, export, names)


def _write_lines(file: Any, export: Export, names: list[str]) -> None:
    """Write all rows."""
    write = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
    for batch in export.batches():
        file.write("".join(write(row) + "\n" for row in json_rows(batch, names)).encode())


JSONL = Jsonl()
