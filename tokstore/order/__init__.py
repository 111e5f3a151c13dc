"""Which sample comes when: pure functions of integers (order.md). No files, no state, no torch."""

from __future__ import annotations

from tokstore.order.bijection import permute, shuffled
from tokstore.order.keys import ORDER_VERSION, POOL, SPANS, WINDOW, derive_key
from tokstore.order.lanes import deal, is_pool, lane_count, window_target, window_values
from tokstore.order.line import Line, epoch_rows, even_lane_starts, split_epochs
from tokstore.order.spans import Cuts, join_cuts, oversized, pieces, span_target, split_units, stored_cuts, thin_cuts
from tokstore.order.units import Cut, Units, cut_at, inner_cuts, units_between, window_cut

__all__ = [
    "ORDER_VERSION",
    "POOL",
    "SPANS",
    "WINDOW",
    "Cut",
    "Cuts",
    "Line",
    "Units",
    "cut_at",
    "deal",
    "derive_key",
    "epoch_rows",
    "even_lane_starts",
    "inner_cuts",
    "is_pool",
    "join_cuts",
    "lane_count",
    "oversized",
    "permute",
    "pieces",
    "shuffled",
    "span_target",
    "split_epochs",
    "split_units",
    "stored_cuts",
    "thin_cuts",
    "units_between",
    "window_cut",
    "window_target",
    "window_values",
]
