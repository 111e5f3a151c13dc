"""Blocks -> arrays: which part of a block goes where, and several blocks decoded in one go (format.md 4.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.contract import BlockDecoder
from tokstore.codecs.ranked import TokenDecoder
from tokstore.codecs.ranked_parts import TokenParts
from tokstore.errors import CorruptError, MissingFileError
from tokstore.losses import Lost
from tokstore.packed import Ints
from tokstore.pieces import Piece
from tokstore.ragged import ragged_index
from tokstore.version import Version

__all__ = ["Job", "decode_run", "key_of", "lose", "put_values", "runs_of"]

_FEW = 8
"""Blocks that a thread decodes in one go where few are read in all, so that all threads have some."""
_LONG_RUN = 64  # values: runs as long as that are copied one by one, shorter ones by an index of every value


@dataclass(slots=True)
class Job:
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


def runs_of(pairs: Sequence[tuple[Job, memoryview]], once: bool) -> Iterator[Sequence[tuple[Job, memoryview]]]:
    """Cut blocks into runs that are decoded together; `once` as of `decode_run`."""
    at = 0
    while at < len(pairs):
        together = pairs[at][0].piece.together
        stop = at + (min(_FEW, together) if once else together)
        yield pairs[at:stop]
        at = stop


def decode_run(version: Version, lost: Lost | None, once: bool, pairs: Sequence[tuple[Job, memoryview]]) -> None:
    """Decode a few blocks: straight into the result where all of a block is wanted in one run, else beside it.

    Args:
        version: Keeps blocks that are wanted in part.
        lost: Told blocks that cannot be read; without it they are an error.
        once: As of `read_rows`.
        pairs: Blocks and their stored bytes.
    """
    if once:
        pairs = _decode_parts(lost, pairs)
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
        good = _decode_blocks([job for job, _ in run], blocks, decoder, alone, lost)
        for (job, _), decoded, is_good in zip(run, targets, good, strict=True):
            if is_good and not job.whole:
                version.blocks.put(key_of(job), decoded)
                put_values(job, decoded, job.start)


class _Part(NamedTuple):
    """A block of which values from `low` of the file on are wanted, and the array that takes them."""

    job: Job
    data: memoryview
    decoder: TokenDecoder
    low: int
    found: NDArray[Any]


def _decode_parts(lost: Lost | None, pairs: Sequence[tuple[Job, memoryview]]) -> list[tuple[Job, memoryview]]:
    """Decode what is wanted of blocks of tokens, where that is less than half of them; return the other blocks."""
    others: list[tuple[Job, memoryview]] = []
    parts: list[_Part] = []
    for job, data in pairs:
        piece, first, last = job.piece, job.rows.start, job.rows.stop - 1
        low, high = max(int(piece.v0[first]), job.start), min(int(piece.v1[last]), job.end)
        if 2 * (high - low) >= job.end - job.start or not isinstance(piece.decoder, TokenDecoder):
            others.append((job, data))
            continue
        at = int(piece.out[first]) + low - int(piece.v0[first])
        # A single row lies in the result as it does in the block.
        found = piece.target[at : at + high - low] if first == last else np.empty(high - low, piece.target.dtype)
        parts.append(_Part(job, data, piece.decoder, low, found))
    for _, group in groupby(parts, key=lambda part: _together(part.job.piece)):
        run = list(group)
        places = [(part.job.end - part.job.start, part.low - part.job.start) for part in run]
        alone = [TokenParts(part.decoder, [place]) for part, place in zip(run, places, strict=True)]
        blocks = [(part.job.block, part.data, part.found) for part in run]
        together = TokenParts(run[0].decoder, places)
        good = _decode_blocks([part.job for part in run], blocks, together, alone, lost)
        for part, is_good in zip(run, good, strict=True):
            if is_good and part.job.rows.stop - part.job.rows.start > 1:
                put_values(part.job, part.found, part.low)
    return others


def _decode_blocks(
    jobs: Sequence[Job],
    blocks: Sequence[tuple[int, memoryview, NDArray[Any]]],
    decoder: BlockDecoder,
    alone: Sequence[BlockDecoder] | None,
    lost: Lost | None,
) -> list[bool]:
    """Decode the blocks of jobs of one piece, see `DataFile.decode_blocks`; return which could be read."""
    piece, good = jobs[0].piece, [True] * len(jobs)
    try:
        piece.file.decode_blocks(piece.column.column_id, piece.table, decoder, blocks, alone)
    except CorruptError:
        if lost is None:
            raise
        for number, (job, block) in enumerate(zip(jobs, blocks, strict=True)):
            by = job.piece.decoder if alone is None else alone[number]
            try:
                piece.file.decode_blocks(piece.column.column_id, piece.table, by, [block])
            except CorruptError as error:
                good[number] = False
                lose(job, error, lost)
    return good


def lose(job: Job, error: CorruptError | MissingFileError, lost: Lost) -> None:
    """Note a block that could not be read, and make its values 0."""
    piece, rows = job.piece, job.rows
    a: Ints = np.maximum(piece.v0[rows], job.start)
    count: Ints = np.maximum(np.minimum(piece.v1[rows], job.end) - a, 0)
    starts = piece.out[rows] + (a - piece.v0[rows])
    piece.target[ragged_index(starts, count)] = 0
    lost.add(piece.file.place.path, piece.column.name, job.block, error, starts, count)


def _together(piece: Piece) -> tuple[int, int]:
    """Return what pieces have in common whose blocks are decoded in one go: files that share a model are still two."""
    return id(piece.file), id(piece.vectors or piece)


def key_of(job: Job) -> tuple[bytes, int, int]:
    """Return the name of a decoded block in the cache."""
    return job.piece.file.place.file_id, job.piece.column.column_id, job.block


def put_values(job: Job, decoded: NDArray[Any], start: int) -> None:
    """Copy the wanted values of a decoded block, or of the part of it from value `start` of the file, to the result."""
    piece, rows = job.piece, job.rows
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
