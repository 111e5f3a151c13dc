"""The plan of a stream: everything that its order depends on, computed once from counts (order.md 4 to 6).

Making a plan decodes no token. It reads the table of spans, and lengths of samples only where a plan is finer than
stored spans (small stores with a small buffer) or where the source is shuffled whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokstore.errors import UnsupportedError
from tokstore.order import (
    ORDER_VERSION,
    Cuts,
    cut_at,
    epoch_rows,
    inner_cuts,
    is_pool,
    join_cuts,
    lane_count,
    oversized,
    span_target,
    split_units,
    stored_cuts,
    thin_cuts,
    units_between,
    window_values,
)
from tokstore.order.spans import SPAN

__all__ = ["Plan", "Source", "SpanTable", "make_plan"]

I64 = NDArray[np.int64]


class SpanTable(Protocol):
    """Counts of all stored spans, in view order; flat int64 arrays of one length."""

    @property
    def samples(self) -> I64:
        """Samples that start in the span."""

    @property
    def values(self) -> I64:
        """Values of the span."""

    @property
    def lead(self) -> I64:
        """Values at its start that belong to a sample that started earlier."""


class Source(Protocol):
    """What a stream needs of a store or view."""

    def __len__(self) -> int:
        """Return the number of samples."""

    @property
    def token_count(self) -> int:
        """Values of the token column."""

    @property
    def token_column(self) -> str:
        """Name of the token column."""

    @property
    def schema(self) -> Mapping[str, Any]:
        """Column types by name."""

    @property
    def fingerprint(self) -> str:
        """Store, version and view in a few characters."""

    def spans(self) -> SpanTable:
        """Return the counts of all stored spans."""

    def lengths(self, first: int, stop: int) -> I64:
        """Return the token counts of the samples from `first` to `stop`, int64."""

    def read_range(self, first: int, stop: int, *, skip: int = 0, limit: int | None = None) -> NDArray[Any]:
        """Return the ids of the samples from `first` to `stop`, without the first `skip`, at most `limit`."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the order of a stream depends on, apart from the content of the source."""

    cuts: Cuts
    lanes: int
    window: int
    seq_len: int
    values: int
    rows: int
    seed: int
    shuffle: bool
    pooled: bool
    bos: int | None
    eos: int | None

    @property
    def spans(self) -> int:
        """Number of plan spans."""
        return len(self.cuts) - 1

    def identity(self) -> dict[str, int]:
        """Return what a state carries, to be compared with the stream that goes on from it."""
        return {
            "order_version": ORDER_VERSION,
            "seed": self.seed,
            "seq_len": self.seq_len,
            "shuffle": int(self.shuffle),
            "lanes": self.lanes,
            "window": self.window,
            "pooled": int(self.pooled),
            "bos_id": -1 if self.bos is None else self.bos,
            "eos_id": -1 if self.eos is None else self.eos,
        }

    def effective(self) -> I64:
        """Return the values before every cut, with inserted ids."""
        return self.cuts.effective(self.bos is not None, self.eos is not None)


def make_plan(
    source: Source,
    *,
    seq_len: int,
    shuffle: bool,
    seed: int,
    lanes: int | None,
    buffer: int,
    bos: int | None,
    eos: int | None,
) -> Plan:
    """Plan the order of a source with `concat` packing.

    Raises:
        ValueError: The source has no values, or its table of spans contradicts itself.
        UnsupportedError: The source has weights.
    """
    if getattr(source, "is_weighted", False):
        raise UnsupportedError(
            "this version does not stream by weights", hint="stream the view that weigh() was called on"
        )
    table = source.spans()
    cuts = stored_cuts(table.samples, table.values, table.lead)
    total, samples = int(cuts.offset[-1]), int(cuts.first[-1])
    if samples != len(source) or total != source.token_count:
        raise ValueError(
            f"the table of spans has {samples} samples and {total} values, the view {len(source)} and "
            f"{source.token_count} (order.md 4.1)"
        )
    chosen = (lanes or lane_count(total)) if shuffle else 1
    pooled = shuffle and is_pool(total, samples, buffer)
    if shuffle and not pooled:
        cuts = _refined(source, cuts, span_target(total, chosen))
    else:
        cuts = thin_cuts(cuts, SPAN)
    values = int(cuts.effective(bos is not None, eos is not None)[-1])
    if values == 0:
        raise ValueError("the view has no tokens: there is nothing to stream")
    window = window_values(buffer, chosen)
    rows = epoch_rows(values, seq_len)
    return Plan(cuts, chosen, window, seq_len, values, rows, seed, shuffle, pooled, bos, eos)


def _refined(source: Source, cuts: Cuts, target: int) -> Cuts:
    """Split the spans that are far larger than the target and join those that are smaller (order.md 4.3)."""
    more = []
    for span in oversized(cuts, target).tolist():
        start, stop = cut_at(cuts, span), cut_at(cuts, span + 1)
        units = units_between(start, stop, source.lengths(start.first, stop.first))
        more.append(inner_cuts(start, stop, units, *split_units(units.values, target)))
    return thin_cuts(join_cuts(cuts, more) if more else cuts, target)
