"""One workload with its peers, each in a process of its own, asked in turn, so that whatever the machine does meets
all of them alike.

Every figure is taken once (`Course.first`) before any is taken again (`Course.again`), and how long each took the first
time says which of them can be repeated in the time that is left.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO

from benchmarks.side_by_side.peers import Entry
from benchmarks.side_by_side.process import Failed, JobFailed, Process, Refused
from benchmarks.side_by_side.records import JOBS, MEASURES, WHOLE_FILE, Record, Results, summarize, unit_of
from benchmarks.side_by_side.workloads import Work

__all__ = ["Course", "planned"]

_VECTORS_ONLY = {"bytes_per_vector", "recall_at_10"}
_ONCE = {"start", "vectors", "check"}
_FEW = {"write": 3, "cold": 3, "workers1": 3, "workers2": 3}
"""How often what takes long is done at most; the rest as often as `rounds` says."""
_LONGEST = {"write": 180.0, "check": 90.0}
"""Seconds after which a process that does not answer is ended, where it is not `_PATIENCE`."""
_PATIENCE = 60.0

Cell = tuple[str, str]
"""A job and a peer."""


def planned(costs: Mapping[Cell, float], rounds: int, seconds: float) -> list[list[Cell]]:
    """Return which jobs are done again, repetition by repetition, so that all of it fits into a time.

    A repetition has the cheap ones first where not all of them fit, and a job that was left out once stays out. Within
    a repetition jobs come in the order of `JOBS`, and peers in their own.

    Args:
        costs: Seconds that each job of each peer took.
        rounds: How often every figure is wanted, the first time included.
        seconds: What there is for all repetitions.

    Example:
        >>> planned({("get", "a"): 1.0, ("get", "b"): 9.0, ("take", "a"): 2.0}, 3, 15.0)
        [[('get', 'a'), ('get', 'b'), ('take', 'a')], [('get', 'a'), ('take', 'a')]]
    """
    kept = [cell for cell in costs if cell[0] not in _ONCE]
    order = list(JOBS)
    found = []
    for number in range(1, rounds):
        fitting = []
        for cell in sorted(kept, key=lambda cell: costs[cell]):
            if number < _FEW.get(cell[0], rounds) and costs[cell] <= seconds:
                seconds -= costs[cell]
                fitting.append(cell)
        kept = [cell for cell in kept if cell in fitting]
        if not kept:
            break
        found.append(sorted(kept, key=lambda cell: order.index(cell[0])))
    return found


class Course:
    """One workload with its peers: their processes, what was found, and what it cost.

    Args:
        work: The samples.
        entries: The peers.
        pythons: The interpreter of each environment.
        folder: For what the peers write.
        results: Gets checks, errors and versions as they come.
        cap: Seconds that a rate is taken for at most.
        log: Where what peers print goes, and how long each job took.
        say: Is told what goes on.
    """

    def __init__(
        self,
        work: Work,
        entries: list[Entry],
        pythons: Mapping[str, str],
        folder: Path,
        results: Results,
        *,
        cap: float,
        log: IO[str],
        say: Callable[[str], None],
    ) -> None:
        self.work, self._entries, self._pythons, self._folder = work, entries, pythons, folder
        self._results, self._cap, self._log, self._say = results, cap, log, say
        self._live: dict[str, Process] = {}
        self._lost: dict[str, str] = {}
        self._starting = 0.0
        self._whole_bits: float | None = None
        self._costs: dict[Cell, float] = {}
        self._values: dict[tuple[str, str, float | None], list[float]] = defaultdict(list)
        self._why: dict[tuple[str, str], str] = {}
        self._notes: dict[tuple[str, str], str] = {}

    def first(self, *, restart: bool) -> None:
        """Write the samples, then take every figure once.

        Args:
            restart: Read in other processes than those that wrote: memory is known only so.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self.work.kind != "vectors":
            self._whole_bits = _whole_file_bits(self.work)
        try:
            self._say(f"{self.work.name}: writing")
            self._start()
            self._all("write")
            if restart:
                self._end()
                self._start()
            for job in JOBS:
                if job != "write" and self._has(job):
                    self._say(f"{self.work.name}: {job}")
                    self._all(job)
        finally:
            self._end()

    def again(self, rounds: int, seconds: float) -> None:
        """Take figures again, as many as fit.

        Args:
            rounds: How often each is wanted, the first time included.
            seconds: What it may take.
        """
        begun = time.monotonic()
        costs = {cell: cost for cell, cost in self._costs.items() if cell[1] not in self._lost}
        plan = planned(costs, rounds, seconds - self._starting)
        if not plan:
            return
        try:
            self._start()
            for number, cells in enumerate(plan):
                spent = f"{time.monotonic() - begun:.0f} of {seconds:.0f} s"
                self._say(f"{self.work.name}: repetition {number + 1}, {len(cells)} of {len(costs)} jobs, {spent}")
                for job, name in cells:
                    # What was slower than the first time takes from the rest.
                    if time.monotonic() - begun > seconds:
                        return
                    if name in self._live:
                        self._one(job, name)
        finally:
            self._end()

    def clear(self) -> None:
        """Remove what the peers wrote."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def records(self) -> Iterable[Record]:
        """Yield records of all peers; those of a measure without figures say why."""
        for entry in self._entries:
            for measure in MEASURES:
                if measure in _VECTORS_ONLY and self.work.kind != "vectors":
                    continue
                place = (entry.name, measure)
                unit, note = unit_of(measure, *self.work.counts), self._notes.get(place)
                keys = [key for key in self._values if key[:2] == place]
                for key in keys:
                    found = self._values[key]
                    numbers = summarize(found)
                    yield Record(self.work.name, *place, *numbers, unit, len(found), key[2], note)
                if not keys:
                    why = self._why.get(place) or self._lost.get(entry.name) or "was not measured"
                    yield Record(self.work.name, *place, None, None, None, unit, 0, None, why)
        if self._whole_bits is not None:
            unit, note = unit_of("bits_per_token", *self.work.counts), "one file, read from its beginning: a yardstick"
            numbers = summarize([self._whole_bits])
            yield Record(self.work.name, WHOLE_FILE, "bits_per_token", *numbers, unit, 1, None, note)

    # Processes -----------------------------------------------------------------------------------------------------

    def _has(self, job: str) -> bool:
        """Tell whether a job is one of this workload."""
        if self.work.kind == "vectors":
            return not job.startswith("workers")
        return job != "vectors"

    def _start(self) -> None:
        """Start the processes of all peers that are not lost; importing is not measured, so several begin at once."""
        begun = time.monotonic()
        wanted = [entry for entry in self._entries if entry.name not in self._lost]
        step = os.cpu_count() or 1
        for several in (wanted[i : i + step] for i in range(0, len(wanted), step)):
            for entry in several:
                self._launch(entry)
            for entry in several:
                self._await(entry)
        self._starting = time.monotonic() - begun

    def _launch(self, entry: Entry) -> None:
        """Start the process of a peer."""
        where = self._folder / entry.name.replace(" ", "-")
        where.mkdir(exist_ok=True)
        python = self._pythons[entry.environment]
        self._live[entry.name] = Process(entry, python, self.work, where, self._cap, self._log)

    def _await(self, entry: Entry) -> None:
        """Wait for what was launched."""
        one = self._live[entry.name]
        try:
            one.ready()
        except Refused as why:
            self._lost[entry.name] = str(why)
            self._live.pop(entry.name).end()
            return
        except Failed as why:
            self._lose(entry.name, f"start: {why}")
            return
        self._notes |= {(entry.name, measure): note for measure, note in one.notes.items()}
        self._results.versions |= {k: v for k, v in one.versions.items() if k not in self._results.versions}

    def _end(self) -> None:
        for name in list(self._live):
            self._live.pop(name).end()

    def _lose(self, name: str, why: str) -> None:
        """Give up a peer."""
        self._lost[name] = f"failed: {why}"
        self._fault(name, why)
        if name in self._live:
            self._live.pop(name).end()

    def _fault(self, name: str, why: str) -> None:
        self._results.errors.append(f"{self.work.name}: {name}: {why}")
        self._say(f"  {name}: {why}")

    def _all(self, job: str) -> None:
        """Let all peers do a job, one after another."""
        for name in list(self._live):
            self._one(job, name)

    def _one(self, job: str, name: str) -> None:
        """Let one peer do one job, and keep what it found."""
        if job == "write":
            _empty(self._folder / name.replace(" ", "-"))
        begun = time.monotonic()
        try:
            found = self._live[name].ask(job, _LONGEST.get(job, _PATIENCE))
        except Failed as why:
            self._failed(job, name, why)
            return
        cost = time.monotonic() - begun
        self._log.write(f"{self.work.name} | {name} | {job} | {cost:.2f} s\n")
        self._log.flush()
        if found.get("values"):
            self._costs.setdefault((job, name), cost)
        for measure, value in found.get("values", {}).items():
            for at, one in value.items() if isinstance(value, dict) else [(None, value)]:
                self._values[name, measure, None if at is None else float(at)].append(one)
        self._why |= {(name, measure): why for measure, why in found.get("cannot", {}).items()}
        if "check" in found:
            self._results.checks.append({"workload": self.work.name, "peer": name, **found["check"]})
            for one in found["check"].get("wrong", []):
                self._fault(name, f"WRONG VALUES: {one}")

    def _failed(self, job: str, name: str, why: Failed) -> None:
        """Note a job that failed; a peer whose process is gone gets another, so that its other figures are taken."""
        if job == "write":
            self._lose(name, f"write: {why}")
            return
        self._fault(name, f"{job}: {why}")
        self._why |= {(name, measure): f"failed: {why}" for measure in JOBS[job]}
        self._costs.pop((job, name), None)
        if isinstance(why, JobFailed):
            return
        self._live.pop(name).end()
        entry = next(one for one in self._entries if one.name == name)
        self._launch(entry)
        self._await(entry)


def _whole_file_bits(work: Work) -> float:
    """Return the bits per value of one zstd -3 file of the raw values."""
    import zstandard

    raw = work.values.tobytes()
    return 8 * len(zstandard.ZstdCompressor(level=3).compress(raw)) / len(work.values)


def _empty(folder: Path) -> None:
    """Remove what is in a folder."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
