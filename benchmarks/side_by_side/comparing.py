"""Where tokstore stands: every cell in which a peer is ahead, and the targets that were set, from the records alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.side_by_side.figures import OURS, Figure, Figures, is_ours, measure_of
from benchmarks.side_by_side.records import WHOLE_FILE

__all__ = ["TARGETS", "Loss", "Standing", "Target", "losses", "standings"]

Find = Callable[[Figures], "float | None"]
MEMMAP = "memmap Megatron"


@dataclass(frozen=True)
class Loss:
    """A cell in which a peer is ahead of tokstore.

    Attributes:
        workload, measure, at: Which cell.
        peer: Who is ahead.
        theirs: Its figure.
        reference: What of tokstore it is compared with.
        ours: The figure of that; None where tokstore cannot do it.
        ratio: How often better the peer is, above 1; None where one of the figures is zero, or there is none.
        is_clear: The ranges of both do not meet.
        best: The level of tokstore that is ahead of the peer here after all, if one is.
    """

    workload: str
    measure: str
    at: float | None
    peer: str
    theirs: Figure
    reference: str
    ours: Figure | None
    ratio: float | None
    is_clear: bool
    best: str | None


def losses(figures: Figures) -> tuple[list[Loss], int]:
    """Return the cells in which peers are ahead, the widest first, and how many cells both sides have.

    The reference is the default level. Where a workload has none, as with vectors, it is the best of tokstore's figures
    for that cell. A cell that a peer has and tokstore does not is a loss too.
    """
    found: list[Loss] = []
    compared = 0
    for workload in figures.workloads():
        peers = figures.peers(workload)
        levels = [peer for peer in peers if is_ours(peer)]
        for measure, at in figures.measures(workload):
            more = measure_of(measure).more_is_better
            ours = {level: one for level in levels if (one := figures.get(workload, level, measure, at))}
            reference = OURS if OURS in levels else _best(ours, more)
            mine = None if reference is None else ours.get(reference)
            for peer in peers:
                theirs = figures.get(workload, peer, measure, at)
                if theirs is None or is_ours(peer) or not levels:
                    continue
                if mine is None:
                    found.append(Loss(workload, measure, at, peer, theirs, reference or OURS, None, None, True, None))
                    continue
                compared += 1
                if _is_ahead(theirs, mine, more):
                    best = _best(ours, more)
                    ahead = best if best is not None and _is_ahead(ours[best], theirs, more) else None
                    ratio, clear = _ratio(theirs, mine, more), not theirs.overlaps(mine)
                    found.append(Loss(workload, measure, at, peer, theirs, reference or "", mine, ratio, clear, ahead))
    # What tokstore cannot do comes first; last, what has no ratio because a figure is zero, such as growth of memory.
    return sorted(found, key=lambda one: -(one.ratio or (0.0 if one.ours else float("inf")))), compared


def _is_ahead(one: Figure, other: Figure, more: bool) -> bool:
    """Tell whether a median is better than another."""
    return one.median > other.median if more else one.median < other.median


def _best(figures: dict[str, Figure], more: bool) -> str | None:
    """Return whose figure is best."""
    if not figures:
        return None
    return (max if more else min)(figures, key=lambda name: figures[name].median)


def _ratio(theirs: Figure, mine: Figure, more: bool) -> float | None:
    """Return how often better the first is."""
    above, below = (theirs.median, mine.median) if more else (mine.median, theirs.median)
    return above / below if below > 0 and above > 0 else None


@dataclass(frozen=True)
class Target:
    """A figure that was set before there was any code to reach it.

    Attributes:
        text: What is measured.
        limit: What was set.
        more_is_better: The limit is a least one.
        find: Reads the figure out of the records; None where they do not have it.
    """

    text: str
    limit: float
    more_is_better: bool
    find: Find


@dataclass(frozen=True)
class Standing:
    """A target and the figure of this run."""

    target: Target
    found: float | None

    @property
    def is_met(self) -> bool | None:
        """Whether the target is met; None where the run does not say."""
        if self.found is None:
            return None
        return self.found >= self.target.limit if self.target.more_is_better else self.found <= self.target.limit


def standings(figures: Figures) -> list[Standing]:
    """Return every target with the figure of this run."""
    return [Standing(one, one.find(figures)) for one in TARGETS]


def _value(workload: str, measure: str, peer: str = OURS) -> Find:
    """Return what finds the median of one cell."""

    def find(figures: Figures) -> float | None:
        one = figures.get(workload, peer, measure)
        return None if one is None else one.median

    return find


def _over(above: Find, below: Find) -> Find:
    """Return what finds the quotient of two cells."""

    def find(figures: Figures) -> float | None:
        a, b = above(figures), below(figures)
        return None if a is None or not b else a / b

    return find


def _best_peer(workload: str, measure: str) -> Find:
    """Return what finds the best rate of a peer."""

    def find(figures: Figures) -> float | None:
        others = [one for one in figures.peers(workload) if not is_ours(one)]
        found = [figure.median for one in others if (figure := figures.get(workload, one, measure))]
        return max(found, default=None)

    return find


def _resume_over_first(workload: str) -> Find:
    """Return what finds the slowest resume over the first batch."""

    def find(figures: Figures) -> float | None:
        slowest = max((one.median for _, one in figures.points(workload, OURS, "resume_ms")), default=None)
        first = figures.get(workload, OURS, "first_batch_ms")
        return None if slowest is None or first is None or not first.median else slowest / first.median

    return find


def _of_workload(name: str, memmap_ratio: float, take: float, fast: float) -> list[Target]:
    """Return the targets of one workload of tokens."""
    rate, size = _value(name, "shuffled_rate"), "bits_per_token"
    whole = _value(name, size, WHOLE_FILE)
    found = [
        Target(f"shuffled, over {MEMMAP}", memmap_ratio, True, _over(rate, _value(name, "shuffled_rate", MEMMAP))),
        Target("1 worker over in process", 0.5, True, _over(_value(name, "workers1_rate"), rate)),
    ]
    for measure, text in (("workers1_rate", "1 worker"), ("workers2_rate", "2 workers")):
        best = _best_peer(name, measure)
        found.append(Target(f"{text}, over the best peer", 1.0, True, _over(_value(name, measure), best)))
    found += [
        Target("one take of many, M tokens/s", take, True, _value(name, "take_rate")),
        Target("write at default, M tokens/s", 12.0, True, _value(name, "write_rate")),
        Target("write at fast, M tokens/s", fast, True, _value(name, "write_rate", "tokstore fast")),
        Target("first batch, ms", 10.0, False, _value(name, "first_batch_ms")),
        Target("slowest resume over first batch", 2.0, False, _resume_over_first(name)),
        Target("memory over import torch, MB", 300.0, False, _value(name, "rss_mb")),
    ]
    if name.startswith("chunks"):
        small = _value(name, size, "tokstore small")
        found += [
            Target(f"size at default, over {WHOLE_FILE}", 0.93, False, _over(_value(name, size), whole)),
            Target(f"size at small, over {WHOLE_FILE}", 0.87, False, _over(small, whole)),
        ]
    return [Target(f"{name}: {one.text}", one.limit, one.more_is_better, one.find) for one in found]


def _ragged_above_chunks(figures: Figures) -> float | None:
    """Return the bits that short samples cost beside the same tokens in long ones."""
    ragged, chunks = (_value(f"{kind}-50257", "bits_per_token")(figures) for kind in ("ragged", "chunks"))
    return None if ragged is None or chunks is None else ragged - chunks


TARGETS = [
    *_of_workload("chunks-50257", 1.0, 84.0, 60.0),
    *_of_workload("ragged-50257", 110 / 53, 5.0, 60.0),
    Target("ragged-50257: bits above chunks", 0.2, False, _ragged_above_chunks),
]
"""From the design: ratios within one run where they are ratios; rates of writing and of random reads as they were set,
on a machine with two cores."""
