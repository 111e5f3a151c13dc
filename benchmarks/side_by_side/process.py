"""The process of one peer, seen from outside: asked by lines of JSON, stopped while others have their turn.

A process whose turn it is not is stopped by a signal: the threads that some packages leave running cost the others
nothing. One that does not answer in time is ended with all that it started, by its own number. Should this process
die, the system wakes and ends the stopped ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import IO, Any

from benchmarks.side_by_side.peers import Entry
from benchmarks.side_by_side.workloads import Work

__all__ = ["Failed", "JobFailed", "Process", "Refused"]

_ROOT = Path(__file__).resolve().parents[2]


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
        self.versions, self.notes = found["versions"], found["notes"]
        self._signal(signal.SIGSTOP)

    def ask(self, job: str, most: float) -> dict[str, Any]:
        """Wake the process, let it do a job, stop it again.

        Raises:
            JobFailed: It says so; it can be asked for other jobs.
            Failed: It died, or it took more than `most` seconds; then it is ended.
        """
        self._signal(signal.SIGCONT)
        if self._process.stdin is None:
            raise Failed("its standard input is closed")
        try:
            self._process.stdin.write(json.dumps({"job": job}).encode() + b"\n")
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
                raise Failed(f"no answer within {most:.0f} s, so its process was ended")
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
