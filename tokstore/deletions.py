"""Deleted samples of one page (format.md 8.5): sorted runs per shard, and which rows are left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokstore.errors import CorruptError
from tokstore.format import DELETIONS_MAGIC, MAX_PAGE_SPANS, MAX_SHARD_SAMPLES, unwrap, wrap
from tokstore.packed import Ints, PackedReader, encode_packed
from tokstore.plan import Plan
from tokstore.wire import decode_metadata, encode_metadata, fields

__all__ = ["Deletions", "ShardLoss"]

_KINDS = dict.fromkeys(range(1, 7), bytes)
_RULE = "format.md 8.5"


@dataclass(frozen=True)
class ShardLoss:
    """What is deleted of one shard.

    Attributes:
        is_gone: For every row whether it is deleted, by whatever commit.
        starts: First value of the primary column of every row, with their number at the end.
    """

    is_gone: NDArray[np.bool_]
    starts: Ints


@dataclass(frozen=True)
class Deletions:
    """Deleted samples of a page.

    Attributes:
        edges: For every shard where its runs begin in `first`, with the end of the last.
        first: First deleted row of every run, in its shard.
        samples: Rows of every run.
        deleted: Deleted samples per shard.
        deleted_values: Deleted values of the primary column per shard.
        span_samples: Samples left per span of the page.
        span_values: Values left per span of the page.
    """

    edges: Ints
    first: Ints
    samples: Ints
    deleted: Ints
    deleted_values: Ints
    span_samples: Ints
    span_values: Ints

    @classmethod
    def decode(cls, data: bytes | memoryview, shard_samples: Ints, spans: int) -> Deletions:
        """Parse and check the deletions of a page whose shards have `shard_samples` samples and `spans` spans."""
        raw = fields(decode_metadata(unwrap(DELETIONS_MAGIC, data)), _KINDS, (), "deletions", _RULE)
        shards = len(shard_samples)

        def packed(key: int, count: int, low: int = 0, high: int = 2**63 - 1) -> Ints:
            reader = PackedReader(raw[key], f"key {key}", _RULE)
            values = reader.packed(count, "values", low, high)
            reader.end()
            return values

        runs = packed(1, shards, high=MAX_SHARD_SAMPLES)
        total = int(runs.sum())
        # Runs of a shard begin at different rows: more of them than bytes is a lie, seen before allocating.
        if total > max(shards, len(raw[2])) or spans > MAX_PAGE_SPANS:
            raise CorruptError("deletions count more runs or spans than there are", rule=_RULE)
        first, samples = packed(2, total, high=MAX_SHARD_SAMPLES), packed(3, total, 1, MAX_SHARD_SAMPLES)
        edges = np.concatenate([[0], np.cumsum(runs)])
        shard_of = np.repeat(np.arange(shards), runs)
        ends = first + samples
        touching = (first[1:] <= ends[:-1]) & (shard_of[1:] == shard_of[:-1])
        if touching.any() or (ends > shard_samples[shard_of]).any():
            raise CorruptError("runs of deleted samples touch, descend, or leave their shard", rule=_RULE)
        deleted = np.bincount(shard_of, weights=samples, minlength=shards).astype(np.int64)
        return cls(edges, first, samples, deleted, packed(4, shards), packed(5, spans), packed(6, spans))

    @classmethod
    def none(cls, plan: Plan) -> Deletions:
        """Return what stands for a page of which nothing is deleted."""
        zero, nothing = np.zeros(len(plan.shard_spans), np.int64), np.zeros(0, np.int64)
        edges = np.zeros(len(zero) + 1, np.int64)
        return cls(edges, nothing, nothing, zero, zero, plan.spans.samples, plan.spans.values)

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing is deleted."""
        return not len(self.first)

    def encode(self) -> bytes:
        """Return the wrapped bytes."""
        arrays = (np.diff(self.edges), self.first, self.samples, self.deleted_values, self.span_samples)
        content: dict[int, object] = {i: encode_packed(one) for i, one in enumerate((*arrays, self.span_values), 1)}
        return wrap(DELETIONS_MAGIC, encode_metadata(content))

    def with_losses(self, plan: Plan, losses: Mapping[int, ShardLoss]) -> Deletions:
        """Return deletions in which some shards have lost other rows than before.

        Args:
            plan: The plan of the page.
            losses: What is deleted of these shards, by number; earlier deletions included.
        """
        firsts, counts, runs = [], [], np.diff(self.edges)
        deleted, values = self.deleted.copy(), self.deleted_values.copy()
        span_samples, span_values = self.span_samples.copy(), self.span_values.copy()
        span_edges = np.concatenate([[0], np.cumsum(plan.shard_spans)])
        for shard in range(len(runs)):
            loss = losses.get(shard)
            if loss is None:
                part = slice(int(self.edges[shard]), int(self.edges[shard + 1]))
                firsts.append(self.first[part])
                counts.append(self.samples[part])
                continue
            steps = np.diff(loss.is_gone.astype(np.int8), prepend=0, append=0)
            first = np.flatnonzero(steps == 1)
            firsts.append(first)
            counts.append(np.flatnonzero(steps == -1) - first)
            runs[shard], deleted[shard] = len(first), int(np.count_nonzero(loss.is_gone))
            values[shard] = int(np.diff(loss.starts)[loss.is_gone].sum())
            spans = slice(int(span_edges[shard]), int(span_edges[shard + 1]))
            samples_lost, values_lost = _lost_per_span(plan, spans, loss)
            span_samples[spans] = plan.spans.samples[spans] - samples_lost
            span_values[spans] = plan.spans.values[spans] - values_lost
        edges = np.concatenate([[0], np.cumsum(runs)])
        nothing = np.zeros(0, np.int64)
        first, count = np.concatenate([nothing, *firsts]), np.concatenate([nothing, *counts])
        return Deletions(edges, first, count, deleted, values, span_samples, span_values)

    def join(self, other: Deletions) -> Deletions:
        """Return the deletions of the shards of both."""
        edges = np.concatenate([self.edges, other.edges[1:] + self.edges[-1]])
        names = ("first", "samples", "deleted", "deleted_values", "span_samples", "span_values")
        return Deletions(edges, *(np.concatenate([getattr(self, one), getattr(other, one)]) for one in names))

    def slice(self, start: int, stop: int, plan: Plan) -> Deletions:
        """Return the deletions of some of the shards; `plan` is that of all of them."""
        runs = slice(int(self.edges[start]), int(self.edges[stop]))
        span_edges = np.concatenate([[0], np.cumsum(plan.shard_spans)])
        spans = slice(int(span_edges[start]), int(span_edges[stop]))
        edges = self.edges[start : stop + 1] - self.edges[start]
        shards = self.deleted[start:stop], self.deleted_values[start:stop]
        of_spans = self.span_samples[spans], self.span_values[spans]
        return Deletions(edges, self.first[runs], self.samples[runs], *shards, *of_spans)

    def is_gone(self, shard: int, rows: int) -> NDArray[np.bool_]:
        """Return for every row of a shard of `rows` rows whether it is deleted."""
        part = slice(int(self.edges[shard]), int(self.edges[shard + 1]))
        steps = np.zeros(rows + 1, np.int8)
        steps[self.first[part]] = 1
        steps[self.first[part] + self.samples[part]] = -1  # runs do not touch, so that no row is both
        return np.cumsum(steps[:-1], dtype=np.int8).astype(bool)

    def rows(self, shard: int, kept: Ints) -> Ints:
        """Return the rows of a shard that are its samples number `kept` among those left."""
        part = slice(int(self.edges[shard]), int(self.edges[shard + 1]))
        first, samples = self.first[part], self.samples[part]
        if not len(first):
            return kept
        gone = np.concatenate([[0], np.cumsum(samples)])
        # Run j begins after first[j] - gone[j] samples that are left.
        left: Ints = kept + gone[np.searchsorted(first - gone[:-1], kept, side="right")]
        return left

    def lead_left(self, lead: Ints, span_samples: Ints, shard_spans: Ints, shard_samples: Ints) -> Ints:
        """Return the lead of every span without the values of deleted samples (format.md 8.4).

        Args:
            lead: Lead per span as planned.
            span_samples: Samples that begin in each span, deleted ones included.
            shard_spans: Spans per shard.
            shard_samples: Samples per shard, deleted ones included.
        """
        shard_of = np.repeat(np.arange(len(shard_spans)), shard_spans)
        before = np.cumsum(span_samples) - span_samples
        row = before - (np.cumsum(shard_samples) - shard_samples)[shard_of] - 1
        left = lead.copy()
        for span in np.flatnonzero(lead).tolist():
            part = slice(int(self.edges[shard_of[span]]), int(self.edges[shard_of[span] + 1]))
            run = int(np.searchsorted(self.first[part], row[span], side="right")) - 1
            if run >= 0 and row[span] < self.first[part][run] + self.samples[part][run]:
                left[span] = 0
        return left


def _lost_per_span(plan: Plan, spans: slice, loss: ShardLoss) -> tuple[Ints, Ints]:
    """Return how many samples and values each span of a shard has lost."""
    row_ends = np.concatenate([[0], np.cumsum(plan.spans.samples[spans])])
    samples = np.diff(np.concatenate([[0], np.cumsum(loss.is_gone)])[row_ends])
    # Values before the end of a span that are lost: those of whole rows, and of the row in which the span ends.
    ends = np.concatenate([[0], np.cumsum(plan.spans.values[spans])])
    lengths = np.diff(loss.starts)
    before = np.concatenate([[0], np.cumsum(np.where(loss.is_gone, lengths, 0))])
    row = np.minimum(np.searchsorted(loss.starts, ends, side="right") - 1, len(lengths))
    inside = np.where(np.append(loss.is_gone, False)[row], ends - loss.starts[row], 0)
    return samples, np.diff(before[row] + inside)
