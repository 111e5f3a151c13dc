"""How figures are taken: medians and best of several runs, peak memory of a process of its own, the machine's name."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["machine", "peak_rss", "rates", "table"]


def rates(job: Callable[[], Any], amount: float, runs: int = 5) -> tuple[float, float]:
    """Return the median and the best rate of a job, in millions of `amount` a second."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return amount / statistics.median(times) / 1e6, amount / min(times) / 1e6


_PRELUDE = """
import json, os, resource, sys
def rss():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
import numpy as np
import tokstore as ts
before = rss()
"""


def peak_rss(code: str, *arguments: str) -> dict[str, Any]:
    """Run code in a new process and return the facts it prints; ``rss() - before`` is MB over ``import tokstore``."""
    done = subprocess.run(
        [sys.executable, "-c", _PRELUDE + code, *arguments], check=True, capture_output=True, text=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def machine() -> str:
    """Name the machine: processor, cores, Python."""
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in [head, *rows]]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join([f"### {title}", "", *lines, ""])
