"""Deleted samples of one page (format.md 8.5): sorted runs per shard, and which rows are left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tokstore.errors import CorruptError
from tokstore.format import DELETIONS_MAGIC, MAX_PAGE_SPANS, MAX_SHARD_SAMPLES, unwrap
from tokstore.packed import Ints, PackedReader
from tokstore.wire import decode_metadata, fields

__all__ = ["Deletions"]

_KINDS = dict.fromkeys(range(1, 7), bytes)
_RULE = "format.md 8.5"


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
