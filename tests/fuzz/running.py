"""Cases run in processes of their own, each with an alarm and bounded memory; what goes wrong is kept to be run again.

A case is made from the name of its target, the seed of the run and its number alone, so that these three make it again.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import resource
import signal
import sys
import time
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

PACKAGE = "tokstore"
_TRACED = 97
_AT_ONCE = 50
_ENDING = (signal.SIGINT, signal.SIGTERM)


class Target(Protocol):
    """Something that reads bytes."""

    name: str
    size: int | None

    def make(self, number: int, rng: random.Random) -> Any:
        """Make a case."""

    def check(self, case: Any) -> str:
        """Run a case, and say how it ended; anything but a `TokstoreError` that comes out is a finding."""

    def save(self, case: Any) -> dict[str, bytes]:
        """Return the files of a case."""


class HangError(BaseException):
    """A case took too long. It is no `Exception`, so that nothing catches it on the way."""


class MemoryUseError(AssertionError):
    """A case held more memory than it may."""


@dataclass
class Limits:
    """What a case may take.

    Attributes:
        seconds: Time.
        memory: Bytes of new memory, beside those of the files: what the format's own limits allow a reader to hold.
    """

    seconds: float = 10.0
    memory: int = 512 << 20


@dataclass
class Tally:
    """What became of the cases of one target."""

    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    slowest: float = 0.0
    peak: int = 0

    def add(self, other: Tally) -> None:
        """Take in the cases of another process."""
        self.cases += other.cases
        self.outcomes.update(other.outcomes)
        self.seconds += other.seconds
        self.slowest = max(self.slowest, other.slowest)
        self.peak = max(self.peak, other.peak)


@dataclass(frozen=True)
class Finding:
    """A case that ended as none may.

    Attributes:
        target, seed, number: What makes it again.
        where: The kind of the error and the line that raised it: equal for cases that are likely one bug.
        text: The traceback.
    """

    target: str
    seed: int
    number: int
    where: str
    text: str


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise `HangError` in the block under it when it takes longer."""

    def ring(number: int, frame: Any) -> None:
        raise HangError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def case_of(target: Target, seed: int, number: int) -> Any:
    """Make a case."""
    return target.make(number, random.Random(f"{target.name}/{seed}/{number}"))


def run_case(target: Target, seed: int, number: int, limits: Limits, tally: Tally) -> Finding | None:
    """Run one case and count it."""
    made, files = None, 0
    start = time.perf_counter()
    traced = number % _TRACED == 0
    try:
        made = case_of(target, seed, number)
        files = sum(map(len, target.save(made).values()))
        if traced:
            tracemalloc.start()
        with alarm(limits.seconds):
            outcome = target.check(made)
        if traced:
            peak = tracemalloc.get_traced_memory()[1]
            tally.peak = max(tally.peak, peak)
            if peak > limits.memory + files:
                raise MemoryUseError(f"{peak} bytes for {files} bytes of files")
    except (Exception, HangError) as error:  # noqa: BLE001 - whatever comes out is what is looked for
        tally.outcomes["finding"] += 1
        return Finding(target.name, seed, number, _where(error), _text(made, error))
    finally:
        tracemalloc.stop()
        took = time.perf_counter() - start
        tally.cases, tally.seconds = tally.cases + 1, tally.seconds + took
        tally.slowest = max(tally.slowest, took)
    tally.outcomes[outcome] += 1
    return None


def _where(error: BaseException) -> str:
    """Name the innermost line of the package, or of the harness, that raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [one for one in frames if f"/{PACKAGE}/" in one.filename] or frames
    return f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}"


def _text(made: Any, error: BaseException) -> str:
    """Describe a finding."""
    what = getattr(made, "what", "while the case was made")
    return f"{what}\n\n" + "".join(traceback.format_exception(error))


def bound_memory(extra: int) -> None:
    """Let this process hold so many bytes of address space more than it does now."""
    with Path("/proc/self/statm").open() as status:
        held = int(status.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + extra, resource.RLIM_INFINITY))


@dataclass
class Plan:
    """What a run does.

    Attributes:
        seed: Chooses the cases.
        first: Number of the first case of every target.
        cases: Cases per target; no bound by default.
        seconds: Time for all; no bound by default.
        processes: How many.
    """

    seed: int = 0
    first: int = 0
    cases: int | None = None
    seconds: float | None = None
    processes: int = 1


@dataclass
class _Shared:
    """What a process and the main one share: where it is (target, number), what comes next, and whether to stop."""

    mine: int
    now: Any
    starts: Any
    stop: Any
    out: Any


def _work(targets: Sequence[Target], plan: Plan, limits: Limits, shared: _Shared) -> None:
    """Run the cases of one process: a few of each target in turn."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)  # the main process says when to stop
    bound_memory(2 * limits.memory)
    now, starts, out = shared.now, shared.starts, shared.out
    end = None if plan.seconds is None else time.monotonic() + plan.seconds
    last = [_last(one, plan) for one in targets]
    tallies = [Tally() for _ in targets]
    is_open = True
    while is_open and not shared.stop.value and (end is None or time.monotonic() < end):
        is_open = False
        for t, target in enumerate(targets):
            for _ in range(_AT_ONCE):
                number = starts[t]
                if last[t] is not None and number >= last[t]:
                    break
                is_open = True
                now[0], now[1] = t, number
                starts[t] += plan.processes
                finding = run_case(target, plan.seed, number, limits, tallies[t])
                if finding is not None:
                    out.put(finding)
            out.put((shared.mine, t, tallies[t]))  # what a process that dies has not reported is not counted
            tallies[t] = Tally()
    out.put((shared.mine, None, None))


def _last(target: Target, plan: Plan) -> int | None:
    """Return the number behind the last case of a target."""
    ends = [end for end in (target.size, None if plan.cases is None else plan.first + plan.cases) if end is not None]
    return min(ends) if ends else None


class Run:
    """All processes of a run.

    Args:
        targets: What is run.
        plan: How much of it.
        limits: What a case may take.
        findings: The folder that takes findings.
    """

    def __init__(self, targets: Sequence[Target], plan: Plan, limits: Limits, findings: Path) -> None:
        self.targets, self.plan, self.limits, self.folder = list(targets), plan, limits, findings
        self.tallies = {one.name: Tally() for one in targets}
        self.found: dict[tuple[str, str], list[Finding]] = {}
        self.seconds = 0.0

    def go(self) -> None:
        """Run everything; a process that dies is a finding, and another one goes on behind it.

        SIGINT and SIGTERM end the run early, with what it has done so far.
        """
        context = multiprocessing.get_context("fork")
        out, stop = context.SimpleQueue(), context.Value("b", 0, lock=False)
        before = [(one, signal.signal(one, lambda *_: setattr(stop, "value", 1))) for one in _ENDING]
        begin = time.monotonic()
        shared = []
        for mine in range(self.plan.processes):
            starts = context.Array("q", [self.plan.first + mine] * len(self.targets), lock=False)
            shared.append(_Shared(mine, context.Array("q", 2, lock=False), starts, stop, out))
        processes = [self._start(context, one, begin) for one in shared]
        working = set(range(self.plan.processes))
        while working:
            if out._reader.poll(0.2):  # type: ignore[attr-defined]
                self._hear(out.get(), working)
                continue
            for mine in sorted(working):
                if not processes[mine].is_alive() and not out._reader.poll(0):  # type: ignore[attr-defined]
                    self._died(processes[mine], shared[mine].now)
                    processes[mine] = self._start(context, shared[mine], begin)
        for process in processes:
            process.join()
        for one, handler in before:
            signal.signal(one, handler)
        self.seconds = time.monotonic() - begin

    def _hear(self, message: Any, working: set[int]) -> None:
        """Take what a process says: a finding, cases of a target, or that it has done its work."""
        if isinstance(message, Finding):
            self._take(message)
        elif message[1] is None:
            working.discard(message[0])
        else:
            self.tallies[self.targets[message[1]].name].add(message[2])

    def _start(self, context: Any, shared: _Shared, begin: float) -> Any:
        """Start a process with what is left of the time."""
        plan = Plan(**vars(self.plan))
        if plan.seconds is not None:
            plan.seconds = max(0.0, plan.seconds - (time.monotonic() - begin))
        process = context.Process(target=_work, args=(self.targets, plan, self.limits, shared))
        process.start()
        return process

    def _died(self, process: Any, now: Any) -> None:
        """Take a process that ended without a word as a finding."""
        target, number = self.targets[now[0]], int(now[1])
        text = f"the process ended with exit code {process.exitcode}\n"
        self._take(Finding(target.name, self.plan.seed, number, f"exit code {process.exitcode}", text))
        self.tallies[target.name].add(Tally(1, Counter(finding=1)))

    def _take(self, finding: Finding) -> None:
        """Keep a finding; of those that are likely the same, the files of the first."""
        known = self.found.setdefault((finding.target, finding.where), [])
        known.append(finding)
        if len(known) > 1:
            return
        target = next(one for one in self.targets if one.name == finding.target)
        folder = self.folder / f"{finding.target.replace(' ', '-')}-{finding.seed}-{finding.number}"
        again = f"python -m fuzz --seed {finding.seed} --again '{finding.target}:{finding.number}'\n\n"
        _write(folder / "report.txt", (again + finding.text).encode())
        with contextlib.suppress(Exception):
            for name, data in target.save(case_of(target, finding.seed, finding.number)).items():
                _write(folder / "files" / name, data)
        print(f"FINDING {finding.target}:{finding.number} {finding.where}, kept in {folder}", file=sys.stderr)

    def report(self) -> str:
        """Return a table of all targets."""
        names = ("cases", "refused", "partly", "same", "other", "findings", "µs/case", "slowest s", "peak MB")
        lines = [f"{'target':14s} " + " ".join(f"{one:>9s}" for one in names)]
        for name, one in self.tallies.items():
            counts = [one.outcomes[key] for key in ("refused", "partly", "same", "other", "finding")]
            rate = 1e6 * one.seconds / max(1, one.cases)
            cells = [f"{name:14s} {one.cases:>9,d}", *(f"{count:>9,d}" for count in counts)]
            lines.append(" ".join(cells) + f" {rate:>9,.0f} {one.slowest:>9.2f} {one.peak / 1e6:>9.1f}")
        total = sum(one.cases for one in self.tallies.values())
        largest = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        lines.append(
            f"{total:,d} cases in {self.seconds:,.0f} s, {total / max(self.seconds, 1e-9):,.0f} a second, seed "
            f"{self.plan.seed}, numbers from {self.plan.first}, {self.plan.processes} processes; at most "
            f"{largest / 1024:,.0f} MB held; {len(self.found)} kinds of findings"
        )
        return "\n".join(lines)


def _write(path: Path, data: bytes) -> None:
    """Write a file and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
