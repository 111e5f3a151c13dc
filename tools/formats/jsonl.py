"""JSON lines, plain or compressed with zstd or gzip, with columns. Both ways.

An object is a sample and a field a column. JSON has no types, so they are inferred from the first lines: whole numbers
are labels, others scores of float64, strings texts, lists of whole numbers arrays of int64 or, under the name of token
ids, token ids. A later line that does not fit is a bad row; `types` says what a column is. Numbers are written so that
they come back bit for bit; bytes as ``{"base64": …}``, NaN and the infinities as the names that Python's `json` gives
them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import zstandard

import tokstore as ts

from ..prefetch import read_ahead
from ..sources import STDIN, SourceFile, find_files, read_chunks
from .arrow_types import pick_tokens
from .contract import TOKEN_NAMES, Batch, Export, Ids, Problems, ReadOptions
from .json_ids import IdLines, ParsedLines, id_lists, parse_all
from .json_values import column_from_objects, json_rows

__all__ = ["JSONL", "Jsonl", "infer_types"]

_LINES, _BYTES, _INFER_BYTES = 4096, 4 << 20, 1 << 20
_MOST_QUICK = 1 << 20
_BOM = b"\xef\xbb\xbf"


class _Lines:
    """Files of JSON lines."""

    def __init__(self, files: list[SourceFile], options: ReadOptions) -> None:
        self._files, self._options = files, options
        self.total_bytes: int | None = sum(one.stored_bytes for one in files)
        self.rows: int | None = None
        self._ids: str | None = None
        first = Problems("skip")
        self._options = ReadOptions(problems=first)
        found, self.lost = infer_types(self._first_rows(), dict(options.types))
        self._options = options
        self.columns = {name: kind for name, kind in found.items() if options.wants(name)}
        self.lost += [f"field {name!r}: not asked for" for name in found if name not in self.columns]
        self._ids = next((name for name, kind in self.columns.items() if isinstance(kind, (Ids, ts.Tokens))), None)
        if not self.columns:
            why = "; ".join(self.lost) or first.first or "there is none"
            raise ValueError(f"{files[0].path}: no field can be carried: {why}")

    def _first_rows(self) -> list[dict[str, Any]]:
        """Return the first objects; of token ids in plain lists, no more than one that stands for all."""
        line = next((line for file in self._files for _, line in _numbered(file, self._options)), b"{}")
        row = parse_all([line]).rows[0]
        name = next((one for one in TOKEN_NAMES if isinstance(row, dict) and isinstance(row.get(one), list)), None)
        parse = parse_all if name is None else IdLines(name).parse
        lines = next((found for _, _, found in self._parsed(parse, _INFER_BYTES)), ParsedLines([], None, False))
        if name is not None and lines.ids is not None:
            sizes = lines.ids.lengths.tolist()
            return [row | {name: [0] if size else []} for row, size in zip(lines.rows, sizes, strict=True)]
        return [
            {key: one.tolist() if isinstance(one, np.ndarray) else one for key, one in row.items()}
            for row in lines.rows
        ]

    def batches(self) -> Iterator[Batch]:
        """Yield all rows."""
        parse = parse_all if self._ids is None else IdLines(self._ids).parse
        yield from (self._batch(*one) for one in self._parsed(parse))

    def _batch(self, path: str, numbers: list[int], lines: ParsedLines) -> Batch:
        """Return lines as a batch."""
        made = Batch(path, numbers[0], len(numbers), {}, numbers=np.array(numbers, np.int64))
        good = np.ones(len(numbers), bool)
        for name, kind in self.columns.items():
            if name == self._ids and lines.ids is not None:
                made.columns[name] = lines.ids
                continue
            cells: list[Any] = [row.get(name) for row in lines.rows]
            plain = [one.tolist() if isinstance(one, np.ndarray) else one for one in cells]
            values, missing, wrong = column_from_objects(plain, kind, may_be_bool=lines.has_bool)
            for place, message in wrong.items():
                self._options.problems.bad(path, numbers[place], f"field {name!r} {message}")
                good[place] = False
            made.columns[name] = values
            if missing.any():
                made.missing[name] = missing
        return made if good.all() else made.keep(good)

    def _parsed(
        self, parse: Callable[[list[bytes]], ParsedLines], most: int = _BYTES
    ) -> Iterator[tuple[str, list[int], ParsedLines]]:
        """Yield files, the numbers of lines from 1, and what those lines hold."""
        for file in self._files:
            some = _some(_numbered(file, self._options), most)
            # A thread that waits for input could not be stopped.
            for numbers, lines in some if file.path == STDIN else read_ahead(some, 1):
                found = parse(lines)
                wrong = [i for i, row in enumerate(found.rows) if type(row) is not dict]
                for i in wrong:
                    row = found.rows[i]
                    is_json = not isinstance(row, Exception)
                    message = f"holds a {type(row).__name__}, no object" if is_json else f"is not JSON ({row})"
                    self._options.problems.bad(file.path, numbers[i], f"the line {message}")
                if wrong:
                    skipped = set(wrong)
                    numbers = [one for i, one in enumerate(numbers) if i not in skipped]
                    found.rows = [one for i, one in enumerate(found.rows) if i not in skipped]
                if numbers:
                    yield file.path, numbers, found


def _some(numbered: Iterator[tuple[int, bytes]], most: int) -> Iterator[tuple[list[int], list[bytes]]]:
    """Yield lines in lists of some megabytes, and their numbers."""
    numbers: list[int] = []
    lines: list[bytes] = []
    size = 0
    for number, line in numbered:
        numbers.append(number)
        lines.append(line)
        size += len(line)
        if len(lines) >= _LINES or size >= most:
            yield numbers, lines
            numbers, lines, size = [], [], 0
    if lines:
        yield numbers, lines


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
        options.problems.bad(file.path, number, str(error).removeprefix(f"{file.path}: "))


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
        if not os.path.exists(path):
            return False
        try:
            files = find_files([path])
        except ValueError:
            return False
        if not all(one.is_lines for one in files):
            return False
        row = next((row for one in files if (row := self._first_row(one)) is not None), None)
        return isinstance(row, dict) and any(isinstance(row.get(name), list) for name in TOKEN_NAMES)

    def _first_row(self, file: SourceFile) -> Any:
        """Return what the first line of a file holds, or ``None`` where it cannot be read."""
        try:
            line = next((line for _, line in islice(_numbered(file, ReadOptions()), 1)), b"")
            return json.loads(line)
        except (ValueError, RecursionError):
            return None

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
    """Write all rows; ids that stand first are not made objects."""
    write = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
    ids, rest = (names[0], names[1:]) if _is_quick(export.schema[names[0]]) else (None, names)
    start = b"{" + write(ids).encode() + b":"
    for batch in export.batches():
        if ids is None or ids in batch.missing:
            file.write("".join(write(row) + "\n" for row in json_rows(batch, names)).encode())
            continue
        lists = id_lists(batch.columns[ids])
        others = [write(row).encode() for row in json_rows(batch, rest)] if rest else [b"{}"] * batch.rows
        file.write(
            b"".join(
                [
                    b"".join((start, one, b"," if len(other) > 2 else b"", other[1:], b"\n"))
                    for one, other in zip(lists, others, strict=True)
                ]
            )
        )


def _is_quick(kind: Any) -> bool:
    """Tell whether `id_lists` takes the ids of a column."""
    return isinstance(kind, ts.Tokens) and kind.vocab_size <= _MOST_QUICK


JSONL = Jsonl()
