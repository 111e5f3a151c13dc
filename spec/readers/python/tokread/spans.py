"""The spans of a shard, computed from the blocks of its primary column (format.md 7.3)."""

from __future__ import annotations

from .columnfile import ColumnFile

SPAN_VALUES = 2**18
Span = tuple[int, int, int, int]


def spans_of(found: ColumnFile) -> list[Span]:
    """Give blocks, samples that begin, values and lead of every span (8.4) of a file that is one shard."""
    rows = found.entry.rows
    if not found.blocks:
        return [(0, rows, 0, 0)] if rows else []
    runs = found.runs
    unit = 1 if found.column.is_ragged else found.column.width  # "values" of fixed shape are rows
    groups: list[list[int]] = []
    size = SPAN_VALUES
    for b, run in enumerate(runs):
        if size >= SPAN_VALUES:
            groups.append([])
            size = 0
        groups[-1].append(b)
        size += run.values // unit
    begins = found.block_of_row()
    starts = found.starts
    result = []
    first_value = 0
    for group in groups:
        values = sum(runs[b].values // unit for b in group)
        mine = [row for row, b in enumerate(begins) if b is not None and group[0] <= b <= group[-1]]
        lead = min(starts[mine[0]] // unit - first_value, values) if mine else values
        result.append((len(group), len(mine), values, lead))
        first_value += values
    return result
