"""Figures of a run as tables and plots look them up: by workload, peer, measure and position.

Everything here is a pure function of the records (see `records.py`), and takes them as they come: a record that is
not there, or has no median, is a figure that is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["MEASURES", "OURS", "Figure", "Figures", "Measure", "number_text"]

OURS = "tokstore default"
"""What the others are compared with: the level that a store has unless another is asked for."""


@dataclass(frozen=True)
class Measure:
    """What is measured.

    Attributes:
        title: Heads a column.
        more_is_better: Rates and recall; of sizes and times less is.
        about: How it is taken.
        why: What a reader has to know where a peer is ahead in it.
    """

    title: str
    more_is_better: bool = False
    about: str = ""
    why: str = ""


MEASURES = {
    "bits_per_token": Measure(
        "bits at rest",
        about="all files that were written, per token, code or value of a vector",
        why="small bytes are what a store is for: a peer that is ahead is a loss; for vectors see the recall too",
    ),
    "bytes_per_vector": Measure(
        "bytes per vector",
        about="without tables that are there once, such as a rotation or centroids",
        why="to be read together with the recall: fewer bytes at less recall are another trade",
    ),
    "recall_at_10": Measure(
        "recall at 10",
        True,
        "which of the ten nearest by inner product are found when exact queries meet stored vectors",
        "to be read together with the bytes: raw vectors have all of it",
    ),
    "bytes_local_while_reading": Measure(
        "local bytes while reading",
        about="all files on local disk after some epochs, inflated copies included",
        why="as with bits at rest",
    ),
    "write_rate": Measure(
        "write",
        True,
        "all samples, by one process, from memory to closed files",
        "entropy coding costs time once; raw bytes are written as fast as they are copied",
    ),
    "ordered_rate": Measure(
        "in order",
        True,
        "an epoch in the order in which samples were written",
        "readers of columns hand out slices of large decoded batches and do not keep a state for each batch",
    ),
    "shuffled_rate_first": Measure(
        "shuffled, first epoch",
        True,
        "after opening, with files in the page cache and inflated copies on disk",
        "tokstore decodes every block in its first epoch, peers with raw bytes copy",
    ),
    "shuffled_rate": Measure("shuffled, later epochs", True, "the epochs behind the first in the same process"),
    "workers1_rate": Measure("1 worker", True, "shuffled, through one worker process of a `DataLoader`"),
    "workers2_rate": Measure("2 workers", True, "shuffled, through two worker processes"),
    "cold_rate": Measure(
        "cold cache",
        True,
        "a shuffled first epoch behind pages that the system was told to forget, the first batch included",
        "the disk of this machine is quick; see the throttled rates for one that is not",
    ),
    "get_rate": Measure(
        "one get",
        True,
        "one sample at a random position by one call",
        "a block is decoded for one sample of it; raw bytes are only copied",
    ),
    "take_rate": Measure(
        "one take of many",
        True,
        "3,000 samples at random positions by one call, or as many as there are",
        "blocks are decoded for the samples in them; raw bytes are only copied",
    ),
    "throttled_rate": Measure(
        "throttled", True, "a shuffled first epoch from a server on this machine that sends so many MB/s in all"
    ),
    "requests_per_gb": Measure("requests for a GB", about="GET requests of that epoch for 10⁹ bytes fetched"),
    "open_ms": Measure(
        "open",
        about="until the shuffled stream is there, its packages imported",
        why="what opening leaves undone the first batch has to do, so look at both",
    ),
    "first_batch_ms": Measure(
        "first batch",
        about="from there to the first shuffled batch",
        why="a first batch decodes the blocks that its samples lie in; raw bytes are only copied",
    ),
    "resume_ms": Measure(
        "resume",
        about="opened anew, from a state to the next batch, behind so many batches",
        why="as with the first batch; the position is arithmetic and costs nothing",
    ),
    "rss_mb": Measure(
        "memory",
        about="the peak of the process in some epochs, above what `import torch` takes",
        why="tokstore keeps decoded windows to mix samples far apart, at most its `buffer`; peers do not"
        " mix or use the page cache",
    ),
    "rss_growth_mb": Measure("growth in an epoch", about="memory after later epochs, above that after the first"),
    "cpu_seconds_per_1e9": Measure(
        "CPU for 10⁹ values",
        about="processor time of the first shuffled epoch, threads included",
        why="the first epoch decodes; later ones do not",
    ),
}
"""Measures in the order in which tables have them."""


@dataclass(frozen=True)
class Figure:
    """One record that has a median.

    Attributes:
        median, low, high: Over the runs; a range that is not known is the median alone.
        unit: What is counted.
        runs: How many.
        note: What a reader has to know.
    """

    median: float
    low: float
    high: float
    unit: str
    runs: int
    note: str | None = None

    def overlaps(self, other: Figure) -> bool:
        """Tell whether the ranges of two figures meet, so that another run might order them otherwise."""
        return self.low <= other.high and other.low <= self.high


class Figures:
    """The records of a run, to look up.

    Args:
        records: As JSON has them.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]]) -> None:
        self._found: dict[tuple[str, str, str, float | None], Figure] = {}
        self.notes: dict[tuple[str, str, str], str] = {}
        """Notes by workload, peer and measure; those of records without a median say why there is none."""
        self.absent: set[tuple[str, str, str]] = set()
        """Workload, peer and measure of records without a median: the peer cannot do that."""
        for one in records:
            place = (str(one["workload"]), str(one["peer"]), str(one["measure"]))
            note, median = one.get("note"), one.get("median")
            if note:
                self.notes[place] = str(note)
            if median is None:
                self.absent.add(place)
                continue
            low, high = one.get("low"), one.get("high")
            self._found[(*place, one.get("at"))] = Figure(
                median,
                median if low is None else low,
                median if high is None else high,
                str(one.get("unit", "")),
                int(one.get("runs", 1)),
                note,
            )

    def get(self, workload: str, peer: str, measure: str, at: float | None = None) -> Figure | None:
        """Return a figure, or None where there is none."""
        return self._found.get((workload, peer, measure, at))

    def workloads(self) -> list[str]:
        """Return the workloads in the order in which they were recorded."""
        return list(dict.fromkeys([key[0] for key in self._found] + [key[0] for key in sorted(self.absent)]))

    def peers(self, workload: str) -> list[str]:
        """Return the peers of a workload: others first, tokstore at the end."""
        names = dict.fromkeys([k[1] for k in self._found if k[0] == workload])
        names |= dict.fromkeys(k[1] for k in sorted(self.absent) if k[0] == workload)
        return sorted(names, key=is_ours)

    def measures(self, workload: str) -> list[tuple[str, float | None]]:
        """Return the measures of a workload with their positions, in the order of tables; unknown ones come last."""
        order = list(MEASURES)
        found = {(key[2], key[3]) for key in self._found if key[0] == workload}
        found |= {(key[2], None) for key in self.absent if key[0] == workload and key[2] not in {m for m, _ in found}}

        def place(one: tuple[str, float | None]) -> tuple[int, str, float]:
            name, at = one
            return (order.index(name) if name in order else len(order), name, -1.0 if at is None else at)

        return sorted(found, key=place)

    def points(self, workload: str, peer: str, measure: str) -> list[tuple[float, Figure]]:
        """Return the figures of a measure that has positions, by ascending position."""
        found = [(key[3], one) for key, one in self._found.items() if key[:3] == (workload, peer, measure)]
        return sorted(((at, one) for at, one in found if at is not None), key=lambda point: point[0])


def is_ours(peer: str) -> bool:
    """Tell whether a peer is tokstore at one of its levels."""
    return peer.partition(" ")[0] == "tokstore"


def measure_of(name: str) -> Measure:
    """Return what a measure means; of one that is not in the table, more is better where it is a rate."""
    return MEASURES.get(name) or Measure(name.replace("_", " "), "rate" in name)


def number_text(value: float) -> str:
    """Return a figure with three digits, and thousands apart.

    Example:
        >>> [number_text(one) for one in (0.01234, 1.5, 354.9, 1_234_567.0, 0.0)]
        ['0.0123', '1.5', '355', '1,230,000', '0']
    """
    if abs(value) >= 100:
        digits = max(0, len(f"{abs(value):.0f}") - 3)
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"
