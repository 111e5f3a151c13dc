"""A store or a view to a foreign format: what `View.export` and ``tokstore export`` call.

The target is written aside, read back, compared by counts and digests, and renamed: it is there whole or not at all.
"""

from __future__ import annotations

import glob
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tokstore as ts
from tokstore.errors import ExistsError

from .digest import Digests
from .formats.contract import Batch, Export, Format, ReadOptions
from .formats.registry import format_to_write
from .report import ExportReport

__all__ = ["export", "view_batches"]

_CUT, _TAKEN_ROWS, _STALE_SECONDS = 1 << 16, 8192, 86_400


def export(
    view: Any,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    columns: Sequence[str] | None = None,
    dtype: str | None = None,
    doc_end: int | None = None,
    shard_rows: int | None = None,
    exist: str = "error",
    verify: bool = True,
    progress: Callable[[ts.Progress], None] | None = None,
) -> ExportReport:
    """Write the samples of a store or view in a foreign format.

    Args:
        view: The store or view.
        path: The file to make, or the folder for formats of many files.
        format: The format; by default the one that the ending of the path names.
        columns: Only these columns, for formats that have columns; all by default.
        dtype: The dtype of ids, for formats that leave a choice.
        doc_end: The id to put behind every sample, for formats of nothing but ids.
        shard_rows: Samples of one file, for formats of many files.
        exist: ``"error"`` if the target may not be there; ``"replace"`` takes its place.
        verify: Read the target back before it gets its name, and compare.
        progress: Is called with a `tokstore.Progress` of samples.

    Returns:
        What was written, and a line for everything that the format could not carry.

    Raises:
        ExistsError: The target is there.
        ValueError: The format is not known, or cannot hold the samples.
        TokstoreError: What was written reads back otherwise. Nothing is left of it.

    Example:
        >>> with ts.create("corpus", ts.Schema(tokens=ts.Tokens(9))) as w:
        ...     w.extend(tokens=[[1, 2], [3]])
        >>> export(ts.open("corpus"), "ids.npy", doc_end=0).samples
        2
    """
    if exist not in ("error", "replace"):
        raise ValueError(f'exist is "error" or "replace", not {exist!r}')
    target = os.path.abspath(os.fspath(path))
    chosen = format_to_write(target, format)
    given = {"dtype": dtype, "doc_end": doc_end, "shard_rows": shard_rows}
    for name, value in given.items():
        if value is not None and name not in chosen.options:
            raise ValueError(
                f"format {chosen.name!r} takes no {name}; it takes {', '.join(chosen.options) or 'nothing'}"
            )
    for one in _files(chosen, target):
        if os.path.lexists(one) and exist == "error":
            raise ExistsError("the target is there already", path=one, hint='exist="replace" takes its place')
    chosen_view = view if columns is None else view.select(columns)
    kinds = dict(chosen_view.schema.items())
    lacking = frozenset(name for name, kind in kinds.items() if kind.optional and chosen_view.missing(name).any())
    made = Export(
        ts.Schema(kinds), len(view), None, dtype=dtype, doc_end=doc_end, shard_rows=shard_rows, lacking=lacking
    )
    digests = Digests(kinds, as_stored=True)
    made.scan = lambda: _counted(chosen_view, digests, progress)
    folder, name = os.path.split(target)
    _sweep(folder, name)
    aside = os.path.join(folder, f".tokstore-{secrets.token_hex(4)}-{name}")
    try:
        chosen.write(aside, made)
        if verify:
            _verify(chosen, aside, made, digests, target)
        _put(chosen, aside, target)
    finally:
        for one in _files(chosen, aside):
            _remove(one)
    parts = _files(chosen, target)
    return ExportReport(
        path=target,
        format=chosen.name,
        samples=len(view),
        stored_bytes=sum(_size(one) for one in parts),
        columns=tuple(kinds),
        lost=(*made.lost, *_store_lines(view)),
        verified=verify,
    )


def view_batches(view: Any, names: Sequence[str] | None = None, first: int = 0) -> Iterator[Batch]:
    """Yield the samples of a view as batches, with what is missing beside them.

    Args:
        view: The view.
        names: Its columns; all by default.
        first: Position of the first sample.
    """
    chosen = list(view.schema.names) if names is None else list(names)
    hidden = [name for name in chosen if view.schema[name].optional and not _shows_missing(view.schema[name])]
    lacking = {name: view.missing(name) for name in hidden}
    at = first
    for found in view.scan(chosen) if not first else _taken(view, chosen, first):
        rows = len(found["sample_id"])
        missing = {name: one[at : at + rows] for name, one in lacking.items() if one[at : at + rows].any()}
        yield Batch(view.path, at, rows, {name: found[name] for name in chosen}, missing)
        at += rows


def _taken(view: Any, names: list[str], first: int) -> Iterator[dict[str, Any]]:
    """Yield the samples of a view from a position on."""
    for at in range(first, len(view), _TAKEN_ROWS):
        yield view.take(range(at, min(at + _TAKEN_ROWS, len(view))), names)


def _shows_missing(kind: Any) -> bool:
    """Tell whether batches themselves show which rows are missing: as ``None``, or masked."""
    return isinstance(kind, (ts.Text, ts.Bytes, ts.Category)) or (isinstance(kind, ts.Label) and not kind.ragged)


def _counted(view: Any, digests: Digests, progress: Callable[[ts.Progress], None] | None) -> Iterator[Batch]:
    """Yield the samples of a view, digested and counted."""
    digests.clear()
    total = len(view)
    for batch in view_batches(view):
        digests.update(batch.rows, batch.columns, batch.missing)
        yield batch
        if progress is not None:
            progress(ts.Progress(digests.rows, total, "samples", "exporting"))


def _verify(chosen: Format, aside: str, made: Export, digests: Digests, target: str) -> None:
    """Read back what was written and compare it with what was read."""
    types = {name: kind for name, kind in made.schema.items() if name not in made.left_out}
    cut = None if made.keeps_rows else _CUT
    options = ReadOptions(types=types, dtype=made.dtype, doc_end=made.doc_end, seq_len=cut)
    source = chosen.open(aside, options)
    names = made.read_back or {name: name for name in types}
    kinds = {name: made.schema[name] for name in names.values()}
    again = Digests(kinds, as_stored=True)
    for batch in source.batches():
        columns = {new: batch.columns[old] for old, new in names.items() if old in batch.columns and new in kinds}
        missing = {new: batch.missing[old] for old, new in names.items() if old in batch.missing and new in kinds}
        again.update(batch.rows, columns, missing)
    again.compare_written(digests, target, made.keeps_rows)


def _files(chosen: Format, path: str) -> list[str]:
    """Return what a format makes of a path: itself, or files beside each other."""
    parts = getattr(chosen, "parts", None)
    return [path] if parts is None else list(parts(path))


def _put(chosen: Format, aside: str, target: str) -> None:
    """Give what was written its name, after it has reached the disk."""
    for old, new in zip(_files(chosen, aside), _files(chosen, target), strict=True):
        for one in _inside(old):
            with open(one, "rb") as file:
                os.fsync(file.fileno())
        if os.path.isdir(new) and not os.path.islink(new):
            shutil.rmtree(new)
        os.replace(old, new)


def _inside(path: str) -> list[str]:
    """Return a file, or all files of a folder."""
    if not os.path.isdir(path):
        return [path]
    return [os.path.join(place, name) for place, _, names in os.walk(path) for name in names]


def _size(path: str) -> int:
    """Return the bytes of a file, or of all files of a folder."""
    return sum(os.path.getsize(one) for one in _inside(path))


def _sweep(folder: str, name: str) -> None:
    """Remove what exports to the same target left behind when they were killed, a day ago or longer."""
    for old in glob.glob(os.path.join(glob.escape(folder), f".tokstore-????????-{glob.escape(name)}*")):
        if os.path.getmtime(old) < time.time() - _STALE_SECONDS:
            _remove(old)


def _remove(path: str) -> None:
    """Leave nothing of what was not finished."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)


def _store_lines(view: Any) -> list[str]:
    """Return lines for what a store has beside its columns."""
    lines = ["sample ids: the format numbers its rows itself"]
    if getattr(view, "is_weighted", False):
        lines.append("weights of the view: every sample is written once")
    if view.attachments:
        lines.append(f"attachments: {', '.join(sorted(view.attachments))}")
    if view.metadata:
        lines.append("the metadata of the store")
    return lines
