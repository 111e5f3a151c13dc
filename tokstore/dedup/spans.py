"""Spans of tokens that were seen before: in the same store (repeats), or in another one (contamination).

A repeat of n tokens is an n-gram that begins at an earlier position too. Hashes of the grams at all positions are
sorted, one range of hashes after another where they do not fit the budget; then the tokens themselves are compared, run
by run, so that no collision marks a repeat. The result is a column with the share of the tokens of each sample that lie
in such spans, and a mask of those that do not, which a loader takes as a loss mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.grams import gram_pieces
from tokstore.dedup.mixing import Hashes
from tokstore.dedup.overlap import GramIndex, mask_of_grams
from tokstore.dedup.sample_rows import SampleRows
from tokstore.dedup.workspace import Done
from tokstore.packed import Ints
from tokstore.ragged import ragged_index

__all__ = ["contained", "masks", "repeats", "repeats_of_new", "shares"]

Bools = NDArray[np.bool_]
_POSITION_BYTES = 64
_SEED, _VALUES = 0, 1 << 21


def repeats(rows: SampleRows, n: int, memory: int, folder: Path, report: Callable[[int], None]) -> Bools:
    """Return for every token of the rows whether a gram begins there that began earlier.

    Args:
        rows: The samples.
        n: Tokens of a gram.
        memory: Bytes to take at most, beside one byte for every token, which is a file.
        folder: Where that file lies, and how many ranges of hashes are done: a run that was stopped goes on there.
        report: Called with rows that were read.
    """
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(rows.lengths)])
    total = int(starts[-1])
    done, file = Done(folder), _begins(folder, total)
    begins: Bools = file[:total]
    passes = max(1, -(-total * _POSITION_BYTES // memory))
    edges = [(i << 64) // passes for i in range(passes + 1)]
    for low, high in list(pairwise(edges))[done.count :]:
        hashes: list[Hashes] = [np.zeros(0, np.uint64)]
        places: list[Ints] = [np.zeros(0, np.int64)]
        for first, stop in rows.units():
            values, lengths = rows.read(np.arange(first, stop))
            for piece in gram_pieces(values, lengths, n, _SEED):
                inside = (piece.hashes >= np.uint64(low)) & (piece.hashes <= np.uint64(high - 1))
                inside[piece.wrong] = False
                at = np.flatnonzero(inside)
                hashes.append(piece.hashes[at])
                places.append(at + int(piece.start + starts[first]))
            report(stop - first)
        first_at, later = _again(np.concatenate(hashes), np.concatenate(places))
        begins[_verified(rows, starts, first_at, later, n)] = True
        file.flush()
        done.advance()
    return begins


def _begins(folder: Path, total: int) -> Any:
    """Open the file with a byte for every token; of a run that was stopped if there is one."""
    path = folder / "begins.npy"
    if Done(folder).count and path.is_file():
        return np.lib.format.open_memmap(path, "r+")
    return np.lib.format.open_memmap(path, "w+", np.bool_, (max(total, 1),))


def repeats_of_new(new: SampleRows, old: SampleRows, n: int, report: Callable[[int], None]) -> Bools:
    """Return for every token of new rows whether a gram begins there that one of old rows has.

    The old rows are read once; grams of the new ones alone are sorted, in memory.

    Args:
        new: The samples that came last.
        old: The samples before them.
        n: Tokens of a gram.
        report: Called with rows that were read.
    """
    index = GramIndex(n)
    for first, stop in new.units():
        index.add(*new.read(np.arange(first, stop)))
    known = np.zeros(int(new.lengths.sum()), bool)
    for first, stop in old.units():
        known[index.matches(*old.read(np.arange(first, stop)))[1]] = True
        report(stop - first)
    begins, start = np.zeros(len(known), bool), 0
    for first, stop in new.units():
        values, lengths = new.read(np.arange(first, stop))
        at, place = index.matches(values, lengths)
        begins[start + at[known[place]]] = True
        start += len(values)
    return begins


def _again(hashes: Hashes, places: Ints) -> tuple[Ints, Ints]:
    """Return the first place of a hash and every later one, ascending by the later one."""
    order = np.argsort(hashes, kind="stable")  # places ascend, and so they do for every hash
    ordered = hashes[order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    run = np.cumsum(fresh) - 1
    first = places[order[np.flatnonzero(fresh)]][run][~fresh]
    later = places[order][~fresh]
    again = np.argsort(later)
    return first[again], later[again]


def _verified(rows: SampleRows, starts: Ints, first: Ints, later: Ints, n: int) -> Ints:
    """Return the later places whose grams are equal to those at the first ones, token by token."""
    if not len(later):
        return later
    # Places that follow each other in both are one run, which is compared as a whole. It stays inside a row, since no
    # gram begins at the last n - 1 places of one.
    row_a, row_b = (np.searchsorted(starts, one, side="right") - 1 for one in (first, later))
    joined = (np.diff(first) == 1) & (np.diff(later) == 1)
    head = np.flatnonzero(np.concatenate([[True], ~joined]))
    counts = np.diff(head, append=len(later))
    good = np.zeros(len(head), bool)
    sizes = np.cumsum(rows.lengths[row_a[head]] + rows.lengths[row_b[head]])
    at = 0
    while at < len(head):
        before = int(sizes[at - 1]) if at else 0
        stop = max(at + 1, int(np.searchsorted(sizes, before + _VALUES, side="right")))
        some = head[at:stop]
        wanted = np.unique(np.concatenate([row_a[some], row_b[some]]))
        values, lengths = rows.read(wanted)
        begin = np.cumsum(lengths) - lengths
        length = counts[at:stop] + n - 1
        sides = [
            values[ragged_index(begin[np.searchsorted(wanted, row[some])] + place[some] - starts[row[some]], length)]
            for row, place in ((row_a, first), (row_b, later))
        ]
        equal = np.ones(len(some), bool)
        equal[np.repeat(np.arange(len(some)), length)[sides[0] != sides[1]]] = False
        good[at:stop] = equal
        at = stop
    kept: Ints = later[np.repeat(good, counts)]
    return kept


def contained(rows: SampleRows, other: SampleRows, n: int, folder: Path, report: Callable[[int], None]) -> Bools:
    """Return for every token of the rows whether a gram begins there that the other rows have.

    Args:
        rows: The samples.
        other: The samples of the other store, whose tokens and grams are held in memory.
        n: Tokens of a gram.
        folder: Where a file with a byte for every token lies, and how many units of rows are done.
        report: Called with rows that were read.
    """
    index = GramIndex(n)
    for first, stop in other.units():
        index.add(*other.read(np.arange(first, stop)))
        report(stop - first)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(rows.lengths)])
    done, file = Done(folder), _begins(folder, int(starts[-1]))
    units = rows.units()
    report(units[done.count - 1][1] if done.count else 0)
    for first, stop in units[done.count :]:
        file[starts[first] : starts[stop]] = index.found(*rows.read(np.arange(first, stop)))
        file.flush()
        done.advance()
        report(stop - first)
    begins: Bools = file[: int(starts[-1])]
    return begins


def shares(rows: SampleRows, begins: Bools, n: int) -> NDArray[np.float32]:
    """Return the share of the tokens of every row that lie in a gram."""
    made = np.zeros(len(rows), np.float32)
    for first, stop, inside in _inside(rows, begins, n):
        lengths = rows.lengths[first:stop]
        sums = np.concatenate([[0], np.cumsum(inside)])
        ends = np.cumsum(lengths)
        made[first:stop] = (sums[ends] - sums[ends - lengths]) / np.maximum(lengths, 1)
    return made


def masks(rows: SampleRows, begins: Bools, n: int, count: int) -> Iterator[list[Any]]:
    """Yield for all samples of a store, in batches, which of their tokens lie in no gram; ``None`` out of scope."""
    at = 0
    for first, stop, inside in _inside(rows, begins, n):
        lengths = rows.lengths[first:stop]
        parts = np.split(~inside, np.cumsum(lengths)[:-1])
        made: list[Any] = []
        for position, part in zip(rows.positions[first:stop].tolist(), parts, strict=True):
            made += [None] * (position - at)
            made.append(part)
            at = position + 1
        yield made
    if at < count:
        yield [None] * (count - at)


def _inside(rows: SampleRows, begins: Bools, n: int) -> Iterator[tuple[int, int, Bools]]:
    """Yield runs of rows, and which of their tokens lie in a gram."""
    ends = np.cumsum(rows.lengths)
    for first, stop in rows.units():
        a, b = int(ends[first] - rows.lengths[first]), int(ends[stop - 1])
        yield first, stop, mask_of_grams(np.asarray(begins[a:b]), n)
