"""Rows of whole samples: how many a span has, and which samples and parts they hold (order.md 6.5)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tokstore.order import PACKING, derive_key, shuffled, whole_rows
from tokstore.order.packing import split_long
from tokstore.stream.source import Source

__all__ = ["RowParts", "count_rows", "rows_of_samples", "too_long"]

I64 = NDArray[np.int64]
_SAMPLES_AT_ONCE = 1 << 20


class RowParts(NamedTuple):
    """Parts of samples in rows, ascending by row; int64 arrays of one length.

    Args:
        row: Row of the span.
        sample: Number of the sample in the span.
        offset: Effective values of the sample before the part.
        length: Effective values of the part.
    """

    row: I64
    sample: I64
    offset: I64
    length: I64


def _items(lengths: I64, packing: str, overlong: str, seq_len: int | None) -> tuple[I64, I64, I64]:
    """Return sample, offset and length of every item of a span, in view order."""
    sample = np.flatnonzero(lengths)
    lengths = lengths[sample]
    if seq_len is None or not len(lengths) or int(lengths.max()) <= seq_len:
        return sample, np.zeros(len(sample), np.int64), lengths
    if overlong == "error":
        raise too_long(int(lengths.max()), seq_len)
    if overlong == "drop":
        stays = lengths <= seq_len
        return sample[stays], np.zeros(int(stays.sum()), np.int64), lengths[stays]
    if overlong == "truncate":
        return sample, np.zeros(len(sample), np.int64), np.minimum(lengths, seq_len)
    before = np.cumsum(lengths) - lengths
    starts, parts, which = split_long(before, lengths, seq_len)
    return sample[which], starts - before[which], parts


def too_long(values: int, seq_len: int) -> ValueError:
    """Return the error for a sample that is longer than a row."""
    return ValueError(
        f"a sample has {values} values, inserted ids counted, and a row {seq_len}; overlong= says what to do with such "
        "samples"
    )


def count_rows(
    source: Source, edges: I64, packing: str, overlong: str, seq_len: int | None, inserted: int
) -> tuple[I64, int]:
    """Return the rows of every span, the same in all epochs, and how many samples are longer than a row.

    Args:
        source: Where lengths are.
        edges: Position of the first sample of every span, and the end of the last.
        packing: ``"whole"`` or ``"single"``.
        overlong: What becomes of samples longer than a row.
        seq_len: Values of a row.
        inserted: Ids that are inserted into every sample.
    """
    found = np.zeros(len(edges) - 1, np.int64)
    at = overlong_samples = 0
    while at < len(found):
        stop = max(at + 1, int(np.searchsorted(edges, edges[at] + _SAMPLES_AT_ONCE, side="right")) - 1)
        lengths = source.lengths(int(edges[at]), int(edges[stop])) + inserted
        if seq_len is not None:
            overlong_samples += int(np.count_nonzero(lengths > seq_len))
        for span in range(at, stop):
            one = lengths[int(edges[span] - edges[at]) : int(edges[span + 1] - edges[at])]
            _, _, items = _items(one, packing, overlong, seq_len)
            if packing == "whole" and seq_len is not None:
                items = whole_rows(items, seq_len)
                found[span] = int(items.max()) + 1 if len(items) else 0
            else:
                found[span] = len(items)
        at = stop
    return found, overlong_samples


def rows_of_samples(
    lengths: I64, packing: str, overlong: str, seq_len: int | None, key: tuple[int, int, int, int] | None
) -> RowParts:
    """Return the rows of one span.

    Args:
        lengths: Effective values of its samples.
        packing: ``"whole"`` or ``"single"``.
        overlong: What becomes of samples longer than a row.
        seq_len: Values of a row.
        key: Seed, epoch, numbers of the span and of the source, for the order of its samples; None for view order.
    """
    sample, offset, items = _items(lengths, packing, overlong, seq_len)
    if packing != "whole" or seq_len is None:
        return RowParts(np.arange(len(sample)), sample, offset, items)
    if key is not None:
        seed, epoch, span, number = key
        order = shuffled(len(items), derive_key(seed, PACKING, epoch, window=span, source=number))
        sample, offset, items = sample[order], offset[order], items[order]
    row = whole_rows(items, seq_len)
    by_row = np.argsort(row, kind="stable")
    return RowParts(row[by_row], sample[by_row], offset[by_row], items[by_row])
