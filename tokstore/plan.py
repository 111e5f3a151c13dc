"""Spans of the shards of one page <-> bytes (format.md 8.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tokstore.block import Spans
from tokstore.errors import CorruptError
from tokstore.format import MAX_PAGE_SPANS, PLAN_MAGIC, unwrap, wrap
from tokstore.packed import Ints, encode_packed
from tokstore.placement import packed_field
from tokstore.wire import decode_metadata, encode_metadata, fields

if TYPE_CHECKING:
    from tokstore.shard_writer import FileFacts

__all__ = ["Plan"]

_PLAN_KINDS = {1: int} | dict.fromkeys(range(2, 7), bytes)
_EMPTY: Ints = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Plan:
    """The spans of the shards of one page (format.md 8.4)."""

    primary_id: int
    shard_spans: Ints
    spans: Spans

    @classmethod
    def of_files(cls, facts: Sequence[FileFacts], primary_id: int) -> Plan:
        """Make the plan of new shards."""
        each = [one.spans or Spans(_EMPTY, _EMPTY, _EMPTY, _EMPTY) for one in facts]
        return cls(primary_id, np.array([len(one.blocks) for one in each], np.int64), _join_spans(each))

    def join(self, other: Plan) -> Plan:
        """Return the plan of the shards of both."""
        if self.primary_id != other.primary_id:
            raise CorruptError("plans of two pages have different primary columns", rule="format.md 8.4")
        spans = _join_spans([self.spans, other.spans])
        return Plan(self.primary_id, np.concatenate([self.shard_spans, other.shard_spans]), spans)

    def slice(self, start: int, stop: int) -> Plan:
        """Return the plan of some of the shards."""
        edges = np.concatenate([[0], np.cumsum(self.shard_spans)])
        part = slice(int(edges[start]), int(edges[stop]))
        s = self.spans
        spans = Spans(s.blocks[part], s.samples[part], s.values[part], s.lead[part])
        return Plan(self.primary_id, self.shard_spans[start:stop], spans)

    def samples_per_span(self) -> list[Ints]:
        """Return the samples that begin in each span, shard by shard."""
        return np.split(self.spans.samples, np.cumsum(self.shard_spans)[:-1])

    def encode(self) -> bytes:
        """Return the wrapped bytes."""
        s = self.spans
        content: dict[int, object] = {
            1: self.primary_id,
            2: encode_packed(self.shard_spans),
            3: encode_packed(s.blocks),
            4: encode_packed(s.samples),
            5: encode_packed(s.values),
            6: encode_packed(s.lead),
        }
        return wrap(PLAN_MAGIC, encode_metadata(content))

    @classmethod
    def decode(cls, data: bytes | memoryview, shards: int) -> Plan:
        """Parse and check the plan of a page of `shards` shards."""
        raw = fields(decode_metadata(unwrap(PLAN_MAGIC, data)), _PLAN_KINDS, (), "a plan", "format.md 8.4")
        shard_spans = packed_field(raw, 2, shards, high=MAX_PAGE_SPANS)
        total = int(shard_spans.sum())
        if total > MAX_PAGE_SPANS:
            raise CorruptError(f"a plan of {total} spans", rule="format.md 11")
        blocks, samples, values, lead = (packed_field(raw, key, total) for key in (3, 4, 5, 6))
        spans = Spans(blocks, samples, values, lead)
        return cls(raw[1], shard_spans, spans)


def _join_spans(each: Sequence[Spans]) -> Spans:
    """Return all spans one after another."""

    def all_of(name: str) -> Ints:
        return np.concatenate([_EMPTY, *(getattr(one, name) for one in each)])

    return Spans(all_of("blocks"), all_of("samples"), all_of("values"), all_of("lead"))
