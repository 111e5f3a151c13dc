"""Plots of a run: what is in them is a pure function of the records, and matplotlib draws that as SVG.

The same records give the same bytes: ids come from a fixed salt, and no file carries a date.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.side_by_side.figures import Figures, is_ours

__all__ = ["Plot", "draw", "frontier", "plots_of"]

Points = list[tuple[float, float]]
_WORKERS = (("shuffled_rate", 0.0), ("workers1_rate", 1.0), ("workers2_rate", 2.0))
_COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#aa3377", "#999999", "#8c564b", "#222222", "#e69f00")
_OURS = "#ee6677"
_MARKS = "osD^vPX"


@dataclass(frozen=True)
class Plot:
    """One plot.

    Attributes:
        name: Of its file, without the ending.
        title: Above it.
        x_label, y_label: At the axes.
        series: Points by peer.
        frontier: Points that no other has both less of x and more of y than; nothing where that makes no sense.
        is_line: Points of a peer are joined.
        is_log_x: The x axis is logarithmic.
        is_log_y: The y axis is.
    """

    name: str
    title: str
    x_label: str
    y_label: str
    series: dict[str, Points]
    frontier: Points = field(default_factory=list)
    is_line: bool = True
    is_log_x: bool = False
    is_log_y: bool = True


def plots_of(figures: Figures) -> list[Plot]:
    """Return the plots that the records have something for, workload by workload.

    Figures that are not positive have no place on a logarithmic axis and are left out.
    """
    found = []
    for workload in figures.workloads():
        unit = next((u for p in figures.peers(workload) if (u := _unit(figures, workload, p))), "values/s")
        found += [_frontier(figures, workload, unit), _workers(figures, workload, unit)]
        found += [_resume(figures, workload), _throttled(figures, workload)]
    return [plot for plot in found if any(len(points) > plot.is_line for points in plot.series.values())]


def frontier(points: Points) -> Points:
    """Return the points to which no other is at most as far right and at least as high, from left to right.

    Example:
        >>> frontier([(8.0, 300.0), (6.0, 100.0), (9.0, 200.0), (6.0, 90.0)])
        [(6.0, 100.0), (8.0, 300.0)]
    """
    found: Points = []
    for x, y in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not found or y > found[-1][1]:
            found.append((x, y))
    return found


def _unit(figures: Figures, workload: str, peer: str) -> str | None:
    one = figures.get(workload, peer, "shuffled_rate")
    return one.unit if one else None


def _frontier(figures: Figures, workload: str, unit: str) -> Plot:
    """Size against speed, or against recall where stored vectors differ from those that were given."""
    series: dict[str, Points] = {}
    measures = "bits_per_token", "shuffled_rate"
    if is_lossy := any(measure == "recall_at_10" for measure, _ in figures.measures(workload)):
        measures = "bytes_per_vector", "recall_at_10"
    size_unit = ""
    for peer in figures.peers(workload):
        size, rate = (figures.get(workload, peer, name) for name in measures)
        if size and rate and min(size.median, rate.median) > 0:
            series[peer] = [(size.median, rate.median)]
            size_unit = size.unit
    best = frontier([point for points in series.values() for point in points])
    name = f"{_slug(workload)}-frontier"
    if is_lossy:
        title = f"{workload}: size against recall"
        return Plot(name, title, size_unit, "recall at 10", series, best, is_line=False, is_log_x=True, is_log_y=False)
    title, label = f"{workload}: size against speed", size_unit or "bits at rest"
    return Plot(name, title, label, f"{unit}, shuffled, later epochs", series, best, is_line=False)


def _workers(figures: Figures, workload: str, unit: str) -> Plot:
    """Rate against the number of workers."""
    series: dict[str, Points] = {}
    for peer in figures.peers(workload):
        found = [(at, figures.get(workload, peer, name)) for name, at in _WORKERS]
        series[peer] = [(at, one.median) for at, one in found if one and one.median > 0]
    title = f"{workload}: workers of a DataLoader"
    return Plot(f"{_slug(workload)}-workers", title, "workers (0: in process)", f"{unit}, shuffled", _kept(series))


def _resume(figures: Figures, workload: str) -> Plot:
    """Time to the next batch against the position that a stream goes on from."""
    series = _positions(figures, workload, "resume_ms")
    title = f"{workload}: going on where a run was stopped"
    return Plot(f"{_slug(workload)}-resume", title, "batches before", "ms to the next batch", series)


def _throttled(figures: Figures, workload: str) -> Plot:
    """Rate against the bandwidth of an object store."""
    series = _positions(figures, workload, "throttled_rate")
    title = f"{workload}: a shuffled first epoch from an object store"
    name = f"{_slug(workload)}-throttled"
    return Plot(name, title, "MB/s of bandwidth", "M tokens/s", series, is_log_x=True)


def _positions(figures: Figures, workload: str, measure: str) -> dict[str, Points]:
    """Return the points of a measure that has positions."""
    series = {
        peer: [(at, one.median) for at, one in figures.points(workload, peer, measure) if one.median > 0]
        for peer in figures.peers(workload)
    }
    return _kept(series)


def _kept(series: dict[str, Points]) -> dict[str, Points]:
    """Leave out peers without points."""
    return {peer: points for peer, points in series.items() if points}


def _slug(name: str) -> str:
    """Return a name as a file may have it."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-") or "workload"


def draw(plot: Plot, folder: Path) -> Path:
    """Draw a plot into ``<folder>/<name>.svg`` and return the path. Needs matplotlib."""
    import matplotlib
    from matplotlib.figure import Figure as Sheet

    matplotlib.rcParams.update({"svg.hashsalt": "tokstore", "svg.fonttype": "none", "font.size": 9})
    sheet = Sheet(figsize=(8.4, 4.8), layout="constrained")
    axes: Any = sheet.add_subplot()
    axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label)
    if plot.is_log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    if plot.is_log_x and all(x > 0 for points in plot.series.values() for x, _ in points):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    places = sorted({x for points in plot.series.values() for x, _ in points})
    if plot.is_line and len(places) <= 6:
        axes.set_xticks(places, [f"{x:,g}" for x in places], minor=False)
        axes.minorticks_off()
    if plot.frontier:
        axes.step(*zip(*plot.frontier, strict=True), where="post", color="#bbbbbb", linestyle="--", label="frontier")
    others = [peer for peer in plot.series if not is_ours(peer)]
    ours = [peer for peer in plot.series if is_ours(peer)]
    for peer, points in plot.series.items():
        mine = is_ours(peer)
        number = (ours if mine else others).index(peer)
        style = {
            "color": _OURS if mine else _COLOURS[number % len(_COLOURS)],
            "marker": _MARKS[(number if mine else number // len(_COLOURS)) % len(_MARKS)],
            "linestyle": ("-" if mine else ":") if plot.is_line else "none",
        }
        axes.plot(*zip(*points, strict=True), label=peer, **style)
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{plot.name}.svg"
    sheet.savefig(path, metadata={"Date": None, "Creator": None})
    return path
