"""Peers in processes of their own, asked in turn, so that whatever the machine does meets all of them alike.

A process whose turn it is not is stopped by a signal: the threads that some packages leave running cost the others
nothing. Should this process die, the system wakes and ends the stopped ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from benchmarks.side_by_side.peers import Entry
from benchmarks.side_by_side.records import MEASURES, Record, Results, summarize, unit_of
from benchmarks.side_by_side.workloads import Work

__all__ = ["Failed", "Process", "run_workload"]

_ROOT = Path(__file__).resolve().parents[2]
_VECTORS_ONLY = {"bytes_per_vector", "recall_at_10"}


class Failed(Exception):
    """A peer did not answer, or answered that it failed."""


class Refused(Failed):
    """A peer is not made for this workload; that is no error."""


class JobFailed(Failed):
    """A peer said that it failed at one job; it can be asked for others."""


class Process:
    """One peer in its process.

    Args:
        entry: Which peer.
        python: The interpreter whose environment has it.
        work: What it keeps.
        folder: Where it keeps it.
        cap: Seconds that a rate is taken for at most.
        log: Where what it prints goes.
    """

    def __init__(self, entry: Entry, python: str, work: Work, folder: Path, cap: float, log: IO[str]) -> None:
        self.entry = entry
        command = [python, "-m", "benchmarks.side_by_side.worker", entry.name, work.folder, str(folder), str(cap)]
        environment = os.environ | {
            "PYTHONPATH": str(_ROOT), "TMPDIR": str(folder.parent), "HF_HUB_OFFLINE": "1",
            "HF_HOME": str(folder.parent / "hf"),
            "HF_DATASETS_CACHE": str(folder.parent / "hf"), "OMP_NUM_THREADS": "1", "DISABLE_TELEMETRY": "1",
        }  # fmt: skip
        # Same session, a group of its own: the system wakes and ends a stopped group that nobody is left to wake.
        self._process = subprocess.Popen(
            command, cwd=_ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0,
            preexec_fn=os.setpgrp,
        )  # fmt: skip
        self._read = b""
        self.versions: dict[str, str] = {}
        self.notes: dict[str, str] = {}
        self.worker_runs = 0

    def ready(self) -> None:
        """Wait until its packages are imported.

        Raises:
            Refused: The peer is not made for this workload.
            Failed: A package is not installed, or cannot be imported.
        """
        try:
            found = self._answer(90.0)
        except Failed:
            self.end()
            raise
        self.versions, self.notes, self.worker_runs = found["versions"], found["notes"], found["worker_runs"]
        self._signal(signal.SIGSTOP)

    def ask(self, job: str, most: float, **arguments: Any) -> dict[str, Any]:
        """Wake the process, let it do a job, stop it again.

        Raises:
            Failed: It says so, it died, or it took more than `most` seconds; then it is ended.
        """
        self._signal(signal.SIGCONT)
        if self._process.stdin is None:
            raise Failed("its standard input is closed")
        try:
            self._process.stdin.write(json.dumps({"job": job, **arguments}).encode() + b"\n")
        except BrokenPipeError:
            raise Failed("its process died") from None
        try:
            return self._answer(most)
        finally:
            self._signal(signal.SIGSTOP)

    def _answer(self, most: float) -> dict[str, Any]:
        """Read one line."""
        end = time.monotonic() + most
        if self._process.stdout is None:
            raise Failed("its standard output is closed")
        while b"\n" not in self._read:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                self.end()
                raise Failed(f"no answer within {most:.0f} s")
            data = os.read(self._process.stdout.fileno(), 1 << 16)
            if not data:
                raise Failed("its process died")
            self._read += data
        line, _, self._read = self._read.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        if "missing" in found:
            raise Failed(f"not installed: {', '.join(found['missing'])}")
        if "refused" in found:
            raise Refused(found["refused"])
        if "failed" in found:
            raise JobFailed(found["failed"])
        return found

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def end(self) -> None:
        """End the process and what it started: politely, then for good."""
        if self._process.returncode is not None:
            return
        self._signal(signal.SIGCONT)
        if self._process.stdin is not None:
            self._process.stdin.close()
        # It is waited for without being reaped: until then its number, which is the group's too, is nobody else's.
        for _ in range(300):
            if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                break
            time.sleep(0.01)
        self._signal(signal.SIGKILL)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


class _Figures:
    """The figures of one workload, as they come."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str, float | None], list[float]] = defaultdict(list)
        self.cannot: dict[tuple[str, str], str] = {}
        self.notes: dict[tuple[str, str], str] = {}

    def add(self, peer: str, found: dict[str, Any]) -> None:
        """Keep what one job found."""
        for measure, value in found.get("values", {}).items():
            for at, one in value.items() if isinstance(value, dict) else [(None, value)]:
                self.values[peer, measure, None if at is None else float(at)].append(one)
        self.cannot |= {(peer, measure): why for measure, why in found.get("cannot", {}).items()}

    def records(self, work: Work, peers: dict[str, str | None]) -> list[Record]:
        """Return records of all peers; those of a measure without figures say why."""
        made = []
        for peer, failure in peers.items():
            for measure in MEASURES:
                if measure in _VECTORS_ONLY and work.kind != "vectors":
                    continue
                unit, note = unit_of(measure, *work.counts), self.notes.get((peer, measure))
                keys = [key for key in self.values if key[:2] == (peer, measure)]
                for key in keys:
                    found = self.values[key]
                    made.append(Record(work.name, peer, measure, *summarize(found), unit, len(found), key[2], note))
                if not keys:
                    why = self.cannot.get((peer, measure)) or failure or "was not measured"
                    made.append(Record(work.name, peer, measure, None, None, None, unit, 0, None, why))
        return made


def run_workload(
    work: Work,
    entries: list[Entry],
    pythons: dict[str, str],
    folder: Path,
    results: Results,
    *,
    rounds: int,
    runs: int,
    cap: float,
    seconds: float,
    restart: bool,
    log: IO[str],
    say: Callable[[str], None],
) -> None:
    """Measure all peers on one workload and add to the results.

    Args:
        work: The samples.
        entries: The peers.
        pythons: The interpreter of each environment.
        folder: For what the peers write; emptied behind them.
        results: Get records, checks, errors and versions.
        rounds: How often every figure is taken.
        runs: How often what takes long is: writing, cold epochs, rates with workers.
        cap: Seconds that a rate is taken for at most.
        seconds: What it may take: behind the second round no other begins once 0.6 of it have gone, and rates with
            workers are taken once behind 0.8 of it.
        restart: Read in other processes than those that wrote: memory is known only so.
        log: Where what peers print goes.
        say: Is told what goes on.
    """
    begun = time.monotonic()
    figures = _Figures()
    failed: dict[str, str | None] = {entry.name: None for entry in entries}
    live: dict[str, Process] = {}

    def start() -> None:
        # Importing is not measured, so as many begin at once as there are processors.
        wanted = [entry for entry in entries if failed[entry.name] is None]
        step = os.cpu_count() or 1
        for several in (wanted[i : i + step] for i in range(0, len(wanted), step)):
            made = []
            for entry in several:
                where = folder / entry.name.replace(" ", "-")
                where.mkdir(exist_ok=True)
                live[entry.name] = Process(entry, pythons[entry.environment], work, where, cap, log)
                made.append((entry.name, live[entry.name]))
            for name, one in made:
                try:
                    one.ready()
                except Refused as why:
                    failed[name] = str(why)
                    live.pop(name).end()
                except Failed as why:
                    lose(name, f"start: {why}")
                figures.notes |= {(name, measure): note for measure, note in one.notes.items()}
                results.versions |= {key: value for key, value in one.versions.items() if key not in results.versions}

    def lose(name: str, why: str) -> None:
        failed[name] = f"failed: {why}"
        results.errors.append(f"{work.name}: {name}: {why}")
        say(f"  {name}: {why}")
        if name in live:
            live.pop(name).end()

    def ask_all(job: str, most: float, only: Callable[[str], bool] = lambda name: True, **arguments: Any) -> None:
        for name in [name for name in live if only(name)]:
            try:
                found = live[name].ask(job, most, **arguments)
            except JobFailed as why:
                if job in ("write", "start"):
                    lose(name, f"{job}: {why}")
                    continue
                measure = f"workers{arguments['count']}_rate" if job == "workers" else f"{job}_rate"
                found = {"errors": [f"{job}: {why}"], "cannot": {measure: f"failed: {why}"}}
            except Failed as why:
                lose(name, f"{job}: {why}")
                continue
            results.errors += [f"{work.name}: {name}: {one}" for one in found.get("errors", [])]
            figures.add(name, found)
            found_seconds[name] = found.get("seconds", 0.0)
            if "check" in found:
                results.checks.append({"workload": work.name, "peer": name, **found["check"]})
                results.errors += [
                    f"{work.name}: {name}: WRONG VALUES: {one}" for one in found["check"].get("wrong", [])
                ]

    found_seconds: dict[str, float] = {}
    try:
        say(f"{work.name}: writing")
        start()
        for again in range(runs):
            if again:
                for name in live:
                    if found_seconds[name] < 2:
                        _empty(folder / name.replace(" ", "-"))
            ask_all("write", 180.0, lambda name, again=again: not again or found_seconds[name] < 2)  # type: ignore[misc]
        if restart:
            say(f"{work.name}: starting")
            for name in list(live):
                live.pop(name).end()
            start()
        ask_all("start", 60.0)
        for number in range(rounds):
            if number >= 2 and time.monotonic() - begun > 0.6 * seconds:
                break
            say(f"{work.name}: round {number + 1} of {rounds}, {time.monotonic() - begun:.0f} s")
            ask_all("round", 60.0)
            if number < runs:
                ask_all("cold", 60.0)
        if work.kind == "vectors":
            ask_all("vectors", 60.0)
        else:
            say(f"{work.name}: worker processes")
            for number in range(runs):
                if number and time.monotonic() - begun > 0.8 * seconds:
                    break
                for count in (1, 2):
                    ask_all(
                        "workers",
                        60.0,
                        lambda name, number=number: number < live[name].worker_runs,  # type: ignore[misc]
                        count=count,
                    )
        say(f"{work.name}: checking values")
        ask_all("check", 90.0)
    finally:
        for one in live.values():
            one.end()
    results.records += figures.records(work, failed)
    for entry in entries:
        shutil.rmtree(folder / entry.name.replace(" ", "-"), ignore_errors=True)


def _empty(folder: Path) -> None:
    """Remove what is in a folder."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
