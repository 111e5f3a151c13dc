"""Rows of a slab -> the arrays of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.ragged import Ragged
from tokstore.recycling import recycling
from tokstore.stream.batches import Rows
from tokstore.stream.rows import NOTHING, Segments
from tokstore.stream.windows import counting

__all__ = ["KEYS", "Emission", "collate"]

I64 = NDArray[np.int64]
_WORDS = np.dtype(np.int64)


@dataclass(frozen=True)
class Emission:
    """What a batch consists of.

    Args:
        keys: Its names.
        labels: ``"same"``, ``"next"`` or None.
        separate: Documents are told apart.
        single: Rows are single samples, so that columns have one value per row.
        columns: Those of the names that are columns.
    """

    keys: tuple[str, ...]
    labels: str | None
    separate: bool
    single: bool
    columns: tuple[str, ...] = ()


Take = Callable[[I64, Sequence[str]], Mapping[str, Any]]
"""Returns columns of samples at positions, and their ids."""


class _Batch:
    """What keys are made of, each worked out when it is first needed."""

    def __init__(self, rows: Rows, emission: Emission, pad: int) -> None:
        slab, start, stop = rows.slab, rows.start, rows.stop
        self._rows, self.emission, self.count = rows, emission, stop - start
        self.used = slab.used[start:stop]
        if slab.ids.ndim == 2:
            self.ids = recycling().empty(slab.ids[start:stop].size, _WORDS).reshape(self.count, -1)
            self.ids[:] = slab.ids[start:stop]
        else:
            before = int(slab.used[:start].sum())
            flat = slab.ids[before : before + int(self.used.sum())]
            self.ids = np.asarray(Ragged(flat.astype(np.int64), self.used).pad(pad))
            if not self.ids.shape[1]:  # nothing but fill
                self.ids = np.full((self.count, 1), pad, np.int64)
        self.width = int(self.ids.shape[1])
        self.following = None if slab.following is None else slab.following[start:stop]
        self._fresh: NDArray[np.bool_] | None = None
        self._segments: Segments | None = None

    @property
    def segments(self) -> Segments:
        """What the rows of the batch consist of."""
        if self._segments is None:
            start, one = self._rows.start, self._rows.slab.segments
            first, last = np.searchsorted(one.row, (start, self._rows.stop))
            part = slice(int(first), int(last))
            self._segments = Segments(
                one.row[part] - start, one.offset[part], one.length[part], one.position[part], one.begins[part],
                one.after[part],
            )  # fmt: skip
        return self._segments

    def fresh(self) -> NDArray[np.bool_]:
        """Return where documents begin or go on from another row, [rows, width]."""
        if self._fresh is None:
            made = np.zeros((self.count, self.width), bool)
            if self.emission.separate:
                one = self.segments
                made[one.row[one.begins], one.offset[one.begins]] = True
            made[:, :1] = True
            self._fresh = made
        return self._fresh

    def padding(self) -> NDArray[np.bool_] | None:
        """Return which places are padding, [rows, width]; None for no place."""
        if int(self.used.min()) == self.width:
            return None
        return counting(self.width) >= self.used[:, None]

    def labels(self) -> I64:
        """Return the labels: the ids themselves, or each next one; -100 where nothing is to be learned."""
        ids, separate = self.ids, self.emission.separate
        labels = np.empty_like(ids)
        if self.emission.labels == "next":
            labels[:, :-1] = ids[:, 1:]
            labels[:, -1] = NOTHING if self.following is None else self.following
            if separate:
                np.putmask(labels[:, :-1], self.fresh()[:, 1:], NOTHING)
            short = np.flatnonzero((self.used < self.width) & (self.used > 0))
            labels[short, self.used[short] - 1] = NOTHING if self.following is None else self.following[short]
            one = self.segments
            goes_on = np.flatnonzero(one.after != NOTHING)
            labels[one.row[goes_on], (one.offset + one.length - 1)[goes_on]] = one.after[goes_on]
        else:
            labels[:] = ids
            if separate:
                labels[self.fresh()] = NOTHING
        padding = self.padding()
        if padding is not None:
            labels[padding] = NOTHING
        return labels

    def position_ids(self) -> I64:
        """Return position ids: from 0 at the start of every row and of every document that is told apart."""
        if not self.emission.separate:
            return np.tile(counting(self.width), (self.count, 1))
        begins = np.flatnonzero(self.fresh())
        size = self.count * self.width
        places = counting(size) - np.repeat(begins, np.diff(begins, append=size))
        return np.asarray(places.reshape(self.count, self.width))

    def attention_mask(self) -> I64:
        """Return 1 for values and 0 for padding."""
        padding = self.padding()
        return np.ones(self.ids.shape, np.int64) if padding is None else (~padding).astype(np.int64)

    def document_ids(self) -> I64:
        """Return the number of the document in its row, -1 for padding."""
        found = np.cumsum(self.fresh(), axis=1, dtype=np.int64) - 1
        padding = self.padding()
        if padding is not None:
            found[padding] = -1
        return found

    def cu_seqlens(self) -> NDArray[np.int32]:
        """Return where documents begin in the flattened batch, padding being one of its own, and its end."""
        marks = self.fresh().copy()
        short = np.flatnonzero((self.used < self.width) & (self.used > 0))
        marks[short, self.used[short]] = True
        return np.append(np.flatnonzero(marks), marks.size).astype(np.int32)

    def max_seqlen(self) -> int:
        """Return the most values of a document of the batch."""
        return int(np.diff(self.cu_seqlens()).max())

    def seq_lengths(self) -> I64:
        """Return the values of every document, row by row; of single samples one number per row."""
        if self.emission.single:
            return self.used.copy()
        if not self.emission.separate:
            return self.used[self.used > 0]
        marks = self.fresh() & (counting(self.width) < self.used[:, None])
        begins = np.flatnonzero(marks)
        row = begins // self.width
        stops = np.append(begins[1:], 0)
        ends = row * self.width + self.used[row]
        last = np.append(row[1:] != row[:-1], True) if len(row) else np.zeros(0, bool)
        return np.asarray(np.where(last, ends, stops) - begins, np.int64)

    def loss_mask(self) -> I64:
        """Return 1 where something is to be learned."""
        return np.asarray(self.labels() != NOTHING, np.int64)

    def valid(self) -> NDArray[np.bool_]:
        """Return which rows are no fill."""
        return self.used > 0

    def taken(self, take: Take, columns: Sequence[str]) -> Mapping[str, Any]:
        """Return columns, and ``"sample_id"``, of the samples of the batch: one value per row or per segment."""
        found = take(self.segments.position, columns)
        if not self.emission.single or len(self.segments.row) == self.count:
            return found
        spread: dict[str, Any] = {}
        for name in ("sample_id", *columns):
            if isinstance(found[name], list):
                texts: list[Any] = [None] * self.count
                for row, text in zip(self.segments.row.tolist(), found[name], strict=True):
                    texts[row] = text
                spread[name] = texts
                continue
            column = np.asarray(found[name])
            fill = -1 if name == "sample_id" else np.nan if column.dtype.kind == "f" else 0
            made = np.full((self.count, *column.shape[1:]), fill, column.dtype)
            made[self.segments.row] = column
            spread[name] = made
        return spread


_MADE: dict[str, Callable[[_Batch], Any]] = {
    "input_ids": lambda one: one.ids,
    "labels": _Batch.labels,
    "position_ids": _Batch.position_ids,
    "attention_mask": _Batch.attention_mask,
    "document_ids": _Batch.document_ids,
    "cu_seqlens": _Batch.cu_seqlens,
    "cu_seq_lens_q": _Batch.cu_seqlens,
    "cu_seq_lens_k": _Batch.cu_seqlens,
    "max_seqlen": _Batch.max_seqlen,
    "max_length_q": _Batch.max_seqlen,
    "max_length_k": _Batch.max_seqlen,
    "seq_lengths": _Batch.seq_lengths,
    "loss_mask": _Batch.loss_mask,
    "valid": _Batch.valid,
}
KEYS = (*_MADE, "sample_ids")
"""What a batch may have, apart from columns."""


def collate(rows: Rows, emission: Emission, pad: int, take: Take) -> dict[str, Any]:
    """Return the arrays of a batch by name; each has its own memory.

    Args:
        rows: Which rows.
        emission: What the batch has.
        pad: Padding id.
        take: Reads columns of the source.
    """
    batch = _Batch(rows, emission, pad)
    made: dict[str, Any] = {}
    wanted = [name for name in emission.keys if name not in _MADE]
    taken = batch.taken(take, emission.columns) if wanted else {}
    for name in emission.keys:
        if name in _MADE:
            made[name] = _MADE[name](batch)
        else:
            made[name] = taken["sample_id" if name == "sample_ids" else name]
    return made
