"""The plan of a stream: everything that its order depends on, computed once from counts (order.md 4 to 6).

Making a plan decodes no token. It reads the table of spans, and lengths of samples only where a plan is finer than
stored spans (small stores with a small buffer) or where the source is shuffled whole.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokstore.order import (
    MOST_JOINED,
    ORDER_VERSION,
    Cuts,
    cut_at,
    epoch_rows,
    group_rows,
    group_values,
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
from tokstore.stream.source import Source
from tokstore.stream.weighted import count_drawn_rows, expected_copies, weighted_spans
from tokstore.stream.whole import count_rows

__all__ = ["Plan", "make_plan"]

I64 = NDArray[np.int64]
_POOL_STRETCH = 1 << 21


@dataclass(frozen=True, slots=True)
class Plan:
    """What the order of a stream depends on, apart from the content of the source.

    Args:
        packing: ``"concat"``, ``"fit"``, ``"whole"`` or ``"single"``.
        overlong: What becomes of samples longer than a row, where rows are whole samples.
        cuts: Bounds of the plan spans.
        lanes, window: order.md 5.1 and 5.3.
        seq_len: Values of a row; None for rows that are as long as their sample.
        group_rows, group_values: order.md 6.1; both 1 where the line is counted in rows.
        values: Values of the line, with inserted ids, before `overlong`.
        rows: Rows of an epoch.
        span_rows: Rows of every plan span, or of the whole pool, where the line is counted in rows.
        overlong_samples: Samples longer than a row, where the line is counted in rows.
        source: Number of the source in a mixture.
        span_values: With weights: values of every plan span, or of the whole pool, on the line.
    """

    packing: str
    overlong: str
    cuts: Cuts
    lanes: int
    window: int
    seq_len: int | None
    group_rows: int
    group_values: int
    values: int
    rows: int
    span_rows: I64 | None
    overlong_samples: int
    seed: int
    shuffle: bool
    pooled: bool
    bos: int | None
    eos: int | None
    source: int = 0
    span_values: I64 | None = None

    @property
    def is_weighted(self) -> bool:
        """Whether copies are drawn by weights."""
        return self.span_values is not None

    @property
    def spans(self) -> int:
        """Number of plan spans."""
        return len(self.cuts) - 1

    def identity(self) -> dict[str, int | str]:
        """Return what a state carries, to be compared with the stream that goes on from it."""
        return {
            "order_version": ORDER_VERSION,
            "seed": self.seed,
            "packing": self.packing,
            "overlong": self.overlong,
            "seq_len": self.seq_len or 0,
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

    def line_values(self) -> I64:
        """Return the values that every plan span has on the line."""
        return np.diff(self.effective()) if self.span_values is None else self.span_values


def make_plan(
    source: Source,
    *,
    seq_len: int | None,
    shuffle: bool,
    seed: int,
    lanes: int | None,
    buffer: int,
    bos: int | None,
    eos: int | None,
    packing: str = "concat",
    overlong: str = "split",
    number: int = 0,
    held: tuple[int, bool] | None = None,
) -> Plan:
    """Plan the order of a source.

    Args:
        source: Where counts and lengths are.
        seq_len, shuffle, seed, lanes, buffer, packing, overlong: As of the stream.
        bos, eos: Ids that are inserted.
        number: Number of the source in a mixture; `lanes` are then those of all sources.
        held: Window, and whether the source is a pool, as a state tells them, instead of what `buffer` leads to.

    Raises:
        ValueError: The source has no values, its table of spans contradicts itself, a sample is longer than a row and
            `overlong` is ``"error"``, or weights leave nothing to draw.
    """
    table = source.spans()
    cuts = stored_cuts(table.samples, table.values, table.lead)
    total, samples = int(cuts.offset[-1]), int(cuts.first[-1])
    if samples != len(source) or total != source.token_count:
        raise ValueError(
            f"the table of spans has {samples} samples and {total} values, the view {len(source)} and "
            f"{source.token_count} (order.md 4.1)"
        )
    by_rows = packing in ("whole", "single")
    chosen = (lanes or lane_count(total)) if shuffle else 1
    inserted = (bos is not None) + (eos is not None)
    weighted = source.is_weighted
    whole = by_rows or weighted
    draws = expected_copies(source) if weighted else 0
    pooled = held[1] if held else shuffle and is_pool(total, max(samples, draws), buffer)
    window = held[0] if held else window_values(buffer, chosen)
    if shuffle and not pooled:
        cuts = _refined(source, cuts, span_target(total, chosen), inside=not whole)
    else:
        cuts = cuts.take(cuts.rest == 0) if whole else cuts
        # A pool is decoded in long stretches, which threads do side by side without waiting for each other.
        cuts = thin_cuts(cuts, max(SPAN, min(total // 8, _POOL_STRETCH)) if pooled else SPAN)
    span_values = None
    if weighted:
        cuts, span_values = weighted_spans(source, cuts, inserted, pooled, window if shuffle else MOST_JOINED)
        values = int(span_values.sum())
        if values == 0:
            raise ValueError("the weights add up to less than one token: there is nothing to stream")
    else:
        values = int(cuts.effective(bos is not None, eos is not None)[-1])
    if values == 0:
        raise ValueError("the view has no tokens: there is nothing to stream")
    rows_of, values_of, span_rows, overlong_samples = 1, 1, None, 0
    if by_rows:
        edges = np.array([0, samples]) if pooled else cuts.first
        count = count_drawn_rows if weighted else count_rows
        span_rows, overlong_samples = count(source, edges, packing, overlong, seq_len, inserted)
        rows = int(span_rows.sum())
        if rows == 0:
            raise ValueError(
                "the weights add up to no row: there is nothing to stream"
                if weighted
                else f"every sample is longer than seq_len={seq_len} and dropped: there is nothing to stream"
            )
    elif seq_len is None:
        raise ValueError(f"packing={packing!r} needs a seq_len")
    else:
        rows_of = group_rows(seq_len, window) if packing == "fit" else 1
        values_of = group_values(rows_of, seq_len) if packing == "fit" else seq_len
        rows = epoch_rows(values, values_of, rows_of)
    return Plan(
        packing, overlong, cuts, chosen, window, seq_len, rows_of, values_of, values, rows, span_rows, overlong_samples,
        seed, shuffle,
        pooled, bos, eos, number, span_values,
    )  # fmt: skip


def _refined(source: Source, cuts: Cuts, target: int, *, inside: bool) -> Cuts:
    """Split the spans that are far larger than the target and join those that are smaller (order.md 4.3)."""
    more = []
    for span in oversized(cuts, target).tolist():
        start, stop = cut_at(cuts, span), cut_at(cuts, span + 1)
        units = units_between(start, stop, source.lengths(start.first, stop.first))
        more.append(inner_cuts(start, stop, units, *split_units(units.values, target)))
    cuts = join_cuts(cuts, more) if more else cuts
    return thin_cuts(cuts if inside else cuts.take(cuts.rest == 0), target)
