"""Rows of shards -> arrays: which blocks are needed, one trip for all of them, decoded straight to where they belong.

Runs of rows are decoded block by block into the result. Scattered rows are gathered from each block in turn, so that
memory is the result plus one block, however many rows are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.block import ColumnRows
from tokstore.column_types import Codes, Vector
from tokstore.deliver import reorder, result_dtype
from tokstore.errors import CorruptError, MissingFileError
from tokstore.losses import Lost
from tokstore.packed import Ints
from tokstore.pieces import Piece, row_intervals
from tokstore.ragged import ragged_index
from tokstore.recycling import Given, Recycling
from tokstore.schema import Column
from tokstore.storage import Range
from tokstore.vector_reading import VectorReading
from tokstore.version import ShardRows, Version

__all__ = ["block_edges", "is_pruned", "read_lengths", "read_rows"]

_TRIP_BYTES = 64 << 20
_LONG_RUN = 64  # values: runs as long as that are copied one by one, shorter ones by an index of every value


@dataclass(slots=True)
class _Job:
    """One block that has to be decoded for a piece.

    Attributes:
        block: Its number in the column.
        rows: First row of the piece that it touches, and the end of the rows.
        start, end: Its values in the file.
        out: Where its first value would go in the result if all of it were wanted.
        whole: Whether all of it is wanted, in one run.
    """

    piece: Piece
    block: int
    offset: int
    nbytes: int
    rows: slice
    start: int
    end: int
    out: int
    whole: bool


def read_rows(
    version: Version,
    columns: Sequence[Column],
    groups: Sequence[ShardRows],
    *,
    start: int = 0,
    stop: int | None = None,
    dims: int | None = None,
    pool: Executor | None = None,
    arrays: Recycling | Given | None = None,
    compact: bool = False,
    lost: Lost | None = None,
    order: Ints | None = None,
) -> dict[str, ColumnRows]:
    """Read rows of shards.

    Args:
        version: Where they are.
        columns: What is wanted of them.
        groups: Ascending rows, shard by shard, as `Version.locate` gives them.
        start: First value of every row that is wanted, for ragged columns.
        stop: End of the values of every row that are wanted; ``None`` for all.
        dims: Of vectors, only so many of the first dimensions.
        pool: Threads to decode on; without it the caller's thread decodes.
        arrays: Makes the arrays of ragged columns, for callers that read batch after batch.
        compact: Tokens in the narrowest dtype.
        lost: Blocks that cannot be read are noted here and their values are 0; without it they are an error. Not for
            vectors.
        order: For every row of the result which of the rows of the groups it is; a row may come several times. By
            default they come as they are.
    """
    # Without repeats every value has one place, and is decoded or copied straight to it.
    place = None
    if order is not None and len(order) == sum(len(group.rows) for group in groups):
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
    version.open_files([(group.page, group.shard) for group in groups], columns)
    result: dict[str, ColumnRows] = {}
    jobs, vectors = [], []
    for column in columns:
        if isinstance(column.type, Vector):
            reading = VectorReading(version, column, groups, dims)
            vectors.append(reading)
            pieces = reading.pieces
        else:
            result[column.name], pieces = _plan_column(
                version, column, groups, start, stop, arrays, compact, lost, place
            )
        jobs += [job for piece in pieces for job in _jobs(piece, place is not None)]
    _run(version, jobs, pool, lost)
    done = {reading.column.name: reading.finish() for reading in vectors}
    if order is not None and place is None:
        result = {name: reorder(rows, order) for name, rows in result.items()}
    if order is not None:
        done = {name: reorder(rows, order) for name, rows in done.items()}
    return result | done


def read_lengths(version: Version, column: Column, groups: Sequence[ShardRows]) -> Ints:
    """Return the values per row of a ragged column without decoding any."""
    version.open_files([(group.page, group.shard) for group in groups], [column])
    parts = [row_intervals(version, column, group, 0, None)[:2] for group in groups]
    return np.concatenate([np.zeros(0, np.int64), *(v1 - v0 for v0, v1 in parts)])


def block_edges(version: Version, column: Column, groups: Sequence[ShardRows]) -> Ints:
    """Return where blocks of a column begin, as indices into the rows of the groups: good places to end a batch."""
    parts = [np.zeros(0, np.int64)]
    for group in groups:
        place = version.place_of(group.page, group.shard, column)
        if place.file is not None and len(group.rows):
            table = place.file.table(column.column_id, column.type)
            first = np.searchsorted(group.rows, table.first_row - place.first_row)
            parts.append(first[(first > 0) & (first < len(group.rows))] + int(group.at[0]))
    return np.concatenate(parts)


def _plan_column(
    version: Version,
    column: Column,
    groups: Sequence[ShardRows],
    start: int,
    stop: int | None,
    arrays: Recycling | Given | None,
    compact: bool,
    lost: Lost | None,
    place: Ints | None,
) -> tuple[ColumnRows, list[Piece]]:
    """Make room for the rows of one column and say what has to be decoded into it; `place` says which row of the result
    every row is.
    """
    kind = column.type
    found = [row_intervals(version, column, group, start, stop) for group in groups]
    rows = sum(len(group.rows) for group in groups)
    lengths = None
    if kind.ragged:
        lengths = np.concatenate([np.zeros(0, np.int64), *(v1 - v0 for v0, v1, *_ in found)])
        if place is None:
            outs = np.cumsum(lengths) - lengths
        else:
            ordered = np.empty_like(lengths)
            ordered[place] = lengths
            lengths, outs = ordered, (np.cumsum(ordered) - ordered)[place]
        dtype = result_dtype(column, compact=compact)
        values = (np.empty if arrays is None else arrays.empty)(int(lengths.sum()), dtype)
    else:
        outs = (np.arange(rows) if place is None else place) * kind.width
        values = np.zeros(rows * kind.width, result_dtype(column))
    valid = np.ones(rows, bool) if kind.optional or any(file is None for *_, file, _ in found) else None
    pieces, at = [], 0
    for v0, v1, here, file, constant in found:
        part = slice(at, at + len(v0))
        at += len(v0)
        into = part if place is None else place[part]
        if here is not None and valid is not None:
            valid[into] = here
        if constant is not None:
            values[into] = np.frombuffer(constant, kind.dtype)[0]
        elif file is not None:
            table = file.table(column.column_id, kind)
            try:
                decoder = version.decoder(file, column)
            except (CorruptError, MissingFileError) as error:
                if lost is None or is_pruned(version, error):
                    raise
                # No block of the file can be decoded without its tables.
                values[ragged_index(outs[part], v1 - v0)] = 0
                lost.add(file.place.path, column.name, 0, error, outs[part], v1 - v0)
                continue
            piece = Piece(file, column, table, decoder, v0, v1, outs[part], values, table.value_starts)
            pieces.append(replace(piece, together=64) if isinstance(kind, Codes) else piece)
    return ColumnRows(values, lengths, valid, 1 if lengths is not None else kind.width), pieces


def _jobs(piece: Piece, scattered: bool) -> list[_Job]:
    """Return the blocks of a piece that hold wanted values, with the rows that each one touches; `scattered` where rows
    do not lie in the result as they follow one another in the file.
    """
    starts = piece.starts
    v0, v1 = piece.v0, piece.v1
    if len(v0) and np.array_equal(v0[1:], v1[:-1]):
        # Rows in a row: a few searches over the rows, none for each of them.
        if v0[0] == v1[-1]:
            return []
        first = int(np.searchsorted(starts, v0[0], side="right")) - 1
        blocks = np.arange(first, np.searchsorted(starts, v1[-1], side="left"))
        low = np.searchsorted(v1, starts[blocks], side="right")
        high = np.searchsorted(v0, starts[blocks + 1], side="left")
    else:
        full = np.flatnonzero(v1 > v0)
        if not len(full):
            return []
        v0, v1 = v0[full], v1[full]
        edges = np.zeros(len(starts) + 1, np.int64)
        np.add.at(edges, np.searchsorted(starts, v0, side="right") - 1, 1)
        np.add.at(edges, np.searchsorted(starts, v1, side="left"), -1)
        blocks = np.flatnonzero(np.cumsum(edges))
        low = full[np.searchsorted(v1, starts[blocks], side="right")]
        high = full[np.searchsorted(v0, starts[blocks + 1], side="left") - 1] + 1
    start, end, last_row = starts[blocks], starts[blocks + 1], high - 1
    begin, stop = piece.v0[low], piece.v1[last_row]
    if scattered:
        # All wanted, without gaps: between the first row and the last every one begins where the one before it ends, in
        # the file and in the result.
        gaps = np.zeros(len(piece.v0), np.int64)
        gaps[1:] = (piece.v0[1:] != piece.v1[:-1]) | (np.diff(piece.out - piece.v0) != 0)
        np.cumsum(gaps, out=gaps)
        joined = gaps[last_row] == gaps[low]
    else:
        # The same, where rows lie in the result as in the file: from the first row to the last as many values in both.
        joined = piece.out[last_row] + stop - piece.v0[last_row] - piece.out[low] == stop - begin
    whole = joined & (begin <= start) & (stop >= end)
    numbers = piece.group + blocks * piece.groups
    fields = (numbers, piece.table.offsets[numbers], piece.table.stored_bytes[numbers], low, high, start, end)
    out = piece.out[low] + start - begin
    return [
        _Job(piece, block, offset, nbytes, slice(a, b), s, e, o, w)
        for block, offset, nbytes, a, b, s, e, o, w in zip(
            *(one.tolist() for one in fields), out.tolist(), whole.tolist(), strict=True
        )
    ]


def _run(version: Version, jobs: list[_Job], pool: Executor | None, lost: Lost | None) -> None:
    """Fetch and decode blocks, at most some tens of megabytes of stored bytes in one trip."""
    at = 0
    while at < len(jobs):
        ranges: list[Range] = []
        wanted: list[_Job] = []
        held, stop = 0, at
        while stop < len(jobs) and (held == 0 or held < _TRIP_BYTES):
            job = jobs[stop]
            stop += 1
            # Blocks that are wanted whole are not in the cache: whoever reads in order does not come back.
            kept = None if job.whole else version.blocks.get(_key(job))
            if kept is not None:
                _place(job, kept)
                continue
            ranges.append((job.piece.file.place.path, job.offset, job.nbytes))
            wanted.append(job)
            held += job.nbytes
        at = stop
        if not ranges:
            continue
        read = _fetch(version, ranges, wanted, lost)
        pairs = [(job, data) for job, data in zip(wanted, read, strict=True) if data is not None]
        runs = list(_runs_of(pairs))
        # The results are nothing; going through them raises what a thread has raised.
        list((map if pool is None or len(runs) < 2 else pool.map)(partial(_decode_run, version, lost), runs))


def _fetch(version: Version, ranges: list[Range], wanted: list[_Job], lost: Lost | None) -> Sequence[memoryview | None]:
    """Return the stored bytes of blocks; those that are not there are noted, one by one, if that is wanted."""
    try:
        return version.read(ranges)
    except (CorruptError, MissingFileError) as error:
        if lost is None or is_pruned(version, error):
            raise
    read: list[memoryview | None] = []
    for job, one in zip(wanted, ranges, strict=True):
        try:
            read += version.read([one])
        except (CorruptError, MissingFileError) as error:
            read.append(None)
            _lose(job, error, lost)
    return read


def is_pruned(version: Version, error: Exception) -> bool:
    """Tell whether a file is missing because the whole version is."""
    return isinstance(error, MissingFileError) and version.file_name is None and not version.is_there()


def _lose(job: _Job, error: CorruptError | MissingFileError, lost: Lost) -> None:
    """Note a block that could not be read, and make its values 0."""
    piece, rows = job.piece, job.rows
    a: Ints = np.maximum(piece.v0[rows], job.start)
    count: Ints = np.maximum(np.minimum(piece.v1[rows], job.end) - a, 0)
    starts = piece.out[rows] + (a - piece.v0[rows])
    piece.target[ragged_index(starts, count)] = 0
    lost.add(piece.file.place.path, piece.column.name, job.block, error, starts, count)


def _runs_of(pairs: Sequence[tuple[_Job, memoryview]]) -> Iterator[Sequence[tuple[_Job, memoryview]]]:
    """Cut blocks into runs that are decoded together."""
    at = 0
    while at < len(pairs):
        stop = at + pairs[at][0].piece.together
        yield pairs[at:stop]
        at = stop


def _decode_run(version: Version, lost: Lost | None, pairs: Sequence[tuple[_Job, memoryview]]) -> None:
    """Decode a few blocks: straight into the result where all of a block is wanted in one run, else beside it."""
    for _, group in groupby(pairs, key=lambda pair: _together(pair[0].piece)):
        run = list(group)
        piece = run[0][0].piece
        targets = [
            job.piece.target[job.out : job.out + job.end - job.start]
            if job.whole
            else np.empty(job.end - job.start, job.piece.target.dtype)
            for job, _ in run
        ]
        blocks = [(job.block, data, out) for (job, data), out in zip(run, targets, strict=True)]
        decoder, alone = piece.decoder, None
        if piece.vectors is not None:  # blocks of several groups, each of which has a decoder of its own
            decoder = piece.vectors.of_groups([job.piece.group for job, _ in run])
            alone = [job.piece.decoder for job, _ in run]
        good = [True] * len(run)
        try:
            piece.file.decode_blocks(piece.column.column_id, piece.table, decoder, blocks, alone)
        except CorruptError:
            if lost is None:
                raise
            for number, ((job, _), block) in enumerate(zip(run, blocks, strict=True)):
                try:
                    piece.file.decode_blocks(piece.column.column_id, piece.table, job.piece.decoder, [block])
                except CorruptError as error:
                    good[number] = False
                    _lose(job, error, lost)
        for (job, _), decoded, is_good in zip(run, targets, good, strict=True):
            if is_good and not job.whole:
                version.blocks.put(_key(job), decoded)
                _place(job, decoded)


def _together(piece: Piece) -> tuple[int, int]:
    """Return what pieces have in common whose blocks are decoded in one go: files that share a model are still two."""
    return id(piece.file), id(piece.vectors or piece)


def _key(job: _Job) -> tuple[bytes, int, int]:
    """Return the name of a decoded block in the cache."""
    return job.piece.file.place.file_id, job.piece.column.column_id, job.block


def _place(job: _Job, decoded: NDArray[Any]) -> None:
    """Copy the wanted values of a decoded block into the result."""
    piece = job.piece
    start, rows = job.start, job.rows
    v0, v1 = piece.v0[rows], piece.v1[rows]
    a: Ints = np.maximum(v0, start)
    b: Ints = np.maximum(a, np.minimum(v1, start + len(decoded)))
    out = piece.out[rows] + (a - v0)
    # Rows that lie side by side in the block and in the result are one run.
    count, shift = b - a, out - a
    first = np.flatnonzero(np.concatenate([[True], (a[1:] != b[:-1]) | (shift[1:] != shift[:-1])]))
    count = np.add.reduceat(count, first)
    a, out = a[first], out[first]
    if int(count.sum()) < _LONG_RUN * len(first) and len(first) > 1:
        piece.target[ragged_index(out, count)] = decoded[ragged_index(a - start, count)]
        return
    for at, begin, size in zip(out.tolist(), (a - start).tolist(), count.tolist(), strict=True):
        piece.target[at : at + size] = decoded[begin : begin + size]
