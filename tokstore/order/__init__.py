"""Which sample comes when: pure functions of integers (order.md). No files, no state, no torch."""

from __future__ import annotations

from tokstore.order.bijection import permute, shuffled
from tokstore.order.keys import GROUP, ORDER_VERSION, PACKING, POOL, SPANS, TRANSFORM, WINDOW, derive_key
from tokstore.order.lanes import deal, is_pool, lane_count, window_target, window_values
from tokstore.order.line import Line, epoch_rows, even_lane_starts, split_epochs
from tokstore.order.mixture import Mixing, Slots, part_of_buffer, quantise, spread
from tokstore.order.mixture_end import STOPS, EndingMixing
from tokstore.order.packing import fit_rows, group_rows, group_values, whole_rows
from tokstore.order.resampling import MOST_JOINED, Resampling, draw_offset, joined_spans, whole_numbers
from tokstore.order.spans import Cuts, join_cuts, oversized, pieces, span_target, split_units, stored_cuts, thin_cuts
from tokstore.order.units import Cut, Units, cut_at, inner_cuts, units_between, window_cut

__all__ = [
    "GROUP",
    "MOST_JOINED",
    "ORDER_VERSION",
    "PACKING",
    "POOL",
    "SPANS",
    "STOPS",
    "TRANSFORM",
    "WINDOW",
    "Cut",
    "Cuts",
    "EndingMixing",
    "Line",
    "Mixing",
    "Resampling",
    "Slots",
    "Units",
    "cut_at",
    "deal",
    "derive_key",
    "draw_offset",
    "epoch_rows",
    "even_lane_starts",
    "fit_rows",
    "group_rows",
    "group_values",
    "inner_cuts",
    "is_pool",
    "join_cuts",
    "joined_spans",
    "lane_count",
    "oversized",
    "part_of_buffer",
    "permute",
    "pieces",
    "quantise",
    "shuffled",
    "span_target",
    "split_epochs",
    "split_units",
    "spread",
    "stored_cuts",
    "thin_cuts",
    "units_between",
    "whole_numbers",
    "whole_rows",
    "window_cut",
    "window_target",
    "window_values",
]
