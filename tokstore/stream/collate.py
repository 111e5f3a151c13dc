"""Rows of a slab -> the arrays of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.ragged import Ragged
from tokstore.recycling import LEAST_BYTES, recycling
from tokstore.soft_labels import SoftLabels
from tokstore.stream.aligned import Aligned, Spread, spread, without
from tokstore.stream.slab import NOTHING, UNLEARNED, Segments, Slab
from tokstore.stream.windows import counting

__all__ = ["KEYS", "Emission", "Split", "Take", "collate"]

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
        flat: The rows of a batch are laid end to end, without padding.
        columns: Those of the names that are columns.
        aligned: Those of the names that are columns with a value for every token, and what padding has of them.
        loss_mask: The column that says which ids are learned.
        shaped: For rows of codes the name of their column, and the shape of a sample.
        missing: What those of the columns that have no NaN give for a sample without a value, 0 by default.
    """

    keys: tuple[str, ...]
    labels: str | None
    separate: bool
    single: bool
    flat: bool = False
    columns: tuple[str, ...] = ()
    aligned: Mapping[str, Any] = field(default_factory=dict)
    loss_mask: str | None = None
    shaped: tuple[str, tuple[int, ...]] | None = None
    missing: Mapping[str, int] = field(default_factory=dict)

    @property
    def wide_keys(self) -> int:
        """Names, beside the ids, of which a slab has an item for every value."""
        return len((set(self.keys) & _PLACES) - {"input_ids"}) + len(self.aligned)


Take = Callable[[I64, Sequence[str]], Mapping[str, Any]]
"""Returns columns of samples at positions, and their ids."""


class _Batch:
    """What keys are made of, each worked out when it is first needed."""

    def __init__(
        self, slab: Slab, start: int, stop: int, emission: Emission, pad: int, laid: Spread | None, wide: bool = True
    ) -> None:
        self._slab, self._start, self._stop, self._laid = slab, start, stop, laid
        self.emission, self.count = emission, stop - start
        self.used = slab.used[start:stop]
        if not wide:  # nothing that is asked for needs ids
            self.ids = np.zeros((self.count, 1), np.int64)
        elif slab.ids.ndim == 2:
            self.ids = recycling().empty(slab.ids[start:stop].size, _WORDS).reshape(self.count, -1)
            self.ids[:] = slab.ids[start:stop]
        elif emission.flat:
            ends = slab.ends()
            flat = slab.ids[int(ends[start]) : int(ends[stop])]
            self.ids = recycling().empty(flat.size, _WORDS)[None]
            self.ids[0] = flat
        else:
            ends = slab.ends()
            flat = slab.ids[int(ends[start]) : int(ends[stop])]
            self.ids = np.asarray(Ragged(flat.astype(np.int64), self.used).pad(pad))
            if not self.ids.shape[1]:  # nothing but fill
                self.ids = np.full((self.count, 1), pad, np.int64)
        self.width = int(self.ids.shape[1])
        # Flat, a batch is one long row.
        self.values = self.used if not emission.flat else self.used.sum(keepdims=True)
        self.following = None if slab.following is None else slab.following[start:stop]
        self._fresh: NDArray[np.bool_] | None = None
        self._segments: Segments | None = None

    @property
    def segments(self) -> Segments:
        """What the rows of the batch consist of."""
        if self._segments is None:
            start, one = self._start, self._slab.segments
            first, last = np.searchsorted(one.row, (start, self._stop))
            part = slice(int(first), int(last))
            row, offset = one.row[part] - start, one.offset[part]
            if self.emission.flat:
                ends = self._slab.ends()
                row, offset = np.zeros_like(row), offset + (ends[row + start] - ends[start])
            self._segments = Segments(
                row, offset, one.length[part], one.position[part], one.begins[part],
                one.after[part], one.first[part],
            )  # fmt: skip
        return self._segments

    def fresh(self) -> NDArray[np.bool_]:
        """Return where documents begin or go on from another row, [rows, width]."""
        if self._fresh is None:
            made = np.zeros(self.ids.shape, bool)
            if self.emission.separate:
                one = self.segments
                made[one.row[one.begins], one.offset[one.begins]] = True
            made[:, :1] = True
            self._fresh = made
        return self._fresh

    def padding(self) -> NDArray[np.bool_] | None:
        """Return which places are padding, [rows, width], lost ids among them; None for no place."""
        lost = None if self._slab.lost is None else self._part(self._slab.lost, False)
        if int(self.values.min()) == self.width:
            return lost
        short = counting(self.width) >= self.values[:, None]
        return short if lost is None else short | lost

    def _part(self, array: NDArray[Any], fill: Any) -> NDArray[Any]:
        """Return the part of an array in the layout of the ids of the slab, [rows, width, …]."""
        if self._slab.ids.ndim == 2:
            return array[self._start : self._stop]
        ends = self._slab.ends()
        flat = array[int(ends[self._start]) : int(ends[self._stop])]
        if self.emission.flat:
            return flat[None]
        padded = Ragged(flat, self.used).pad(fill)
        return padded if padded.shape[1] else np.full((self.count, 1, *flat.shape[1:]), fill, flat.dtype)

    def aligned(self, name: str) -> NDArray[Any]:
        """Return a column with a value for every token, [rows, width, …]."""
        laid = self._laid
        return np.zeros(0) if laid is None else self._part(laid.columns[name], laid.fills[name])

    def labels(self) -> I64:
        """Return the labels: the ids themselves, or each next one; -100 where nothing is to be learned."""
        ids, separate = self.ids, self.emission.separate
        learned = None if self._laid is None or self._laid.learned is None else self._part(self._laid.learned, False)
        labels = np.empty_like(ids)
        if self.emission.labels == "next":
            labels[:, :-1] = ids[:, 1:]
            labels[:, -1] = NOTHING if self.following is None else self.following
            if separate:
                np.putmask(labels[:, :-1], self.fresh()[:, 1:], NOTHING)
            if learned is not None:
                np.putmask(labels[:, :-1], ~learned[:, 1:], NOTHING)
            short = np.flatnonzero((self.values < self.width) & (self.values > 0))
            labels[short, self.values[short] - 1] = NOTHING if self.following is None else self.following[short]
            one = self.segments
            goes_on = np.flatnonzero(one.after != NOTHING)
            labels[one.row[goes_on], (one.offset + one.length - 1)[goes_on]] = np.where(
                one.after[goes_on] == UNLEARNED, NOTHING, one.after[goes_on]
            )
        else:
            labels[:] = ids
            if learned is not None:
                labels[~learned] = NOTHING
            if separate:
                labels[self.fresh()] = NOTHING
        padding = self.padding()
        if padding is not None:
            labels[padding] = NOTHING
        return labels

    def position_ids(self) -> I64:
        """Return position ids: from 0 at the start of every row and of every document that is told apart."""
        if not self.emission.separate:
            return np.tile(counting(self.width), (len(self.ids), 1))
        begins = np.flatnonzero(self.fresh())
        size = self.ids.size
        places = counting(size) - np.repeat(begins, np.diff(begins, append=size))
        return np.asarray(places.reshape(self.ids.shape))

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
        short = np.flatnonzero((self.values < self.width) & (self.values > 0))
        marks[short, self.values[short]] = True
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
        """Return which rows are no fill, and, of rows of codes, have lost none."""
        lost = self._slab.lost
        if self.emission.shaped is None or lost is None:
            return self.used > 0
        whole: NDArray[np.bool_] = (self.used > 0) & ~lost[self._start : self._stop].any(axis=1)
        return whole

    def source(self) -> I64:
        """Return the number of the source of each row, -1 for fill."""
        source = self._slab.source
        return np.where(self.used > 0, 0, -1) if source is None else source[self._start : self._stop]

    def taken(self, take: Take, columns: Sequence[str]) -> Mapping[str, Any]:
        """Return columns, and ``"sample_id"``, of the samples of the batch: one value per row or per segment."""
        found = {name: self._filled(name, one) for name, one in take(self.segments.position, columns).items()}
        if not self.emission.single or len(self.segments.position) == self.count:
            return found
        return {name: self._spread(name, found[name]) for name in ("sample_id", *columns)}

    def _spread(self, name: str, column: Any) -> Any:
        """Return a column with a value for rows that only fill up the batch, too."""
        there = np.flatnonzero(self.used)
        if isinstance(column, list):
            texts: list[Any] = [None] * self.count
            for row, text in zip(there.tolist(), column, strict=True):
                texts[row] = text
            return texts
        if isinstance(column, Ragged):
            lengths = np.zeros(self.count, np.int64)
            lengths[there] = column.lengths
            return Ragged(column.values, lengths)
        if isinstance(column, SoftLabels):
            probs = np.full((self.count, column.probs.shape[1]), np.nan, np.float32)
            probs[there] = column.probs
            if column.ids is None:
                return SoftLabels(None, probs, column.classes)
            ids = np.zeros(probs.shape, np.int64)
            ids[there] = column.ids
            return SoftLabels(ids, probs, column.classes)
        fill = -1 if name == "sample_id" else np.nan if column.dtype.kind == "f" else self._missing(name)
        made = np.full((self.count, *column.shape[1:]), fill, column.dtype)
        made[there] = column
        return made

    def _missing(self, name: str) -> int:
        """Return what a column without NaN gives where there is no value."""
        return self.emission.missing.get(name, 0)

    def _filled(self, name: str, column: Any) -> Any:
        """Return a column with numbers where values are missing: a tensor has no other way to say so."""
        return column.filled(self._missing(name)) if isinstance(column, np.ma.MaskedArray) else column


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
    "source": _Batch.source,
}
_PLACES = frozenset({"input_ids", "labels", "position_ids", "attention_mask", "document_ids", "loss_mask"})
_PER_ROW = frozenset({"source", "valid"})
KEYS = (*_MADE, "sample_ids")
"""What a batch may have, apart from columns."""


class Split:
    """One array for all batches of a slab.

    Args:
        array: Batch after batch along the first axis.
        edges: Where each batch begins, and the end of the last.
        dtype: What batches get; by default that of the array.
    """

    __slots__ = ("_is_large", "array", "dtype", "edges")

    def __init__(self, array: NDArray[Any], edges: Sequence[int], dtype: np.dtype[Any] | None = None) -> None:
        self.array, self.edges, self.dtype = array, edges, dtype or array.dtype
        self._is_large = array.size * self.dtype.itemsize >= (len(edges) - 1) * LEAST_BYTES

    def batch(self, number: int) -> NDArray[Any]:
        """Return the part of one batch, in memory of its own."""
        part = self.array[self.edges[number] : self.edges[number + 1]]
        if not self._is_large:
            return part.astype(self.dtype)
        own = recycling().empty(part.size, self.dtype).reshape(part.shape)
        own[...] = part
        return own


def collate(
    slab: Slab, batch_rows: int, emission: Emission, pad: int, take: Take, aligned: Aligned | None = None
) -> dict[str, Split | list[Any]]:
    """Return what the batches of a slab have by name: one array for all of them, or one item for each.

    Whatever has the same number of values in every row, or is flat, is worked out for the whole slab at once: a few
    calls of numpy for hundreds of batches.

    Args:
        slab: Rows.
        batch_rows: Rows of a batch.
        emission: What a batch has.
        pad: Padding id.
        take: Reads columns of the source.
        aligned: Reads columns with a value for every token.
    """
    laid = None if aligned is None else spread(slab, aligned, emission.aligned, emission.loss_mask)
    if slab.lost is not None:
        slab.ids[slab.lost] = pad
        laid = without(laid, slab.lost)
    rows = len(slab.used)
    even = slab.ids.ndim == 2 or emission.flat
    wide = bool(_PLACES & set(emission.keys) - {"input_ids"})
    whole = _Batch(slab, 0, rows, emission, pad, laid, wide)
    shaped, shape = emission.shaped or (None, ())
    columns = [name for name in emission.keys if name not in _MADE and name not in emission.aligned]
    taken = whole.taken(take, emission.columns) if set(columns) - {shaped} else {}
    starts = list(range(0, rows + 1, batch_rows))
    flat_edges = slab.ends()[::batch_rows].tolist() if emission.flat else starts
    each: list[_Batch] | None = None
    made: dict[str, Split | list[Any]] = {}
    for name in emission.keys:
        if name == shaped:
            made[name] = Split(slab.ids.reshape(rows, *shape), starts, _WORDS)
        elif name == "input_ids" and even:
            made[name] = Split(slab.ids, flat_edges, _WORDS)
        elif name in _PLACES and even:
            one = _MADE[name](whole)
            made[name] = Split(one[0] if emission.flat else one, flat_edges)
        elif name in _PER_ROW or (name == "seq_lengths" and emission.single):
            made[name] = Split(_MADE[name](whole), starts)
        elif name in emission.aligned and even:
            one = whole.aligned(name)
            made[name] = Split(one[0] if emission.flat else one, flat_edges)
        elif name in _MADE or name in emission.aligned:
            if each is None:
                each = [_Batch(slab, start, start + batch_rows, emission, pad, laid) for start in starts[:-1]]
            made[name] = [_MADE[name](one) if name in _MADE else one.aligned(name) for one in each]
        else:
            made[name] = _split(taken["sample_id" if name == "sample_ids" else name], slab, batch_rows, emission)
    return made


def _split(column: Any, slab: Slab, batch_rows: int, emission: Emission) -> Split | list[Any]:
    """Split a column of all rows, or of all segments, of a slab into batches."""
    edges = np.arange(0, len(slab.used) + 1, batch_rows)
    if not emission.single:
        edges = np.searchsorted(slab.segments.row, edges)
    if isinstance(column, np.ndarray):
        return Split(column, edges.tolist())
    return [column[a:b] for a, b in pairwise(edges.tolist())]
