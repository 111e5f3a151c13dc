"""Plots of the benchmarks page, drawn by matplotlib."""

from __future__ import annotations

import sys
from pathlib import Path

# Behind everything else, so that `tokstore` stays the one that is installed.
sys.path.append(str(Path(__file__).parents[3]))

from benchmarks.side_by_side.figures import OURS, Figures
from benchmarks.side_by_side.plots import draw, plots_of

MEASURED = {"bits_per_token": (16.0, 6.0), "shuffled_rate": (400.0, 360.0), "workers2_rate": (40.0, 90.0)}
RECORDS = [
    {
        "workload": "chunks-50257",
        "peer": peer,
        "measure": name,
        "median": one,
        "low": one,
        "high": one,
        "unit": "",
        "runs": 5,
    }
    for name, both in MEASURED.items()
    for peer, one in zip(("memmap Megatron", OURS), both, strict=True)
]


def test_the_same_records_draw_the_same_bytes(tmp_path: Path) -> None:
    """SVG files carry neither a date nor a random id."""
    plots = plots_of(Figures(RECORDS))
    assert len(plots) == 2
    for plot in plots:
        first, again = (draw(plot, tmp_path / name).read_bytes() for name in ("a", "b"))
        assert first == again
        assert first.startswith(b"<?xml")
        assert OURS.encode() in first
