"""What a run leaves behind: one record for each workload, peer and measure, and the file that holds them.

The file is JSON: ``machine``, ``versions``, ``commands``, ``date``, ``workloads`` (how many samples and values each
has), ``records``, ``checks`` (were the values that a peer gave back those it was given?) and ``errors`` (packages that
are not installed, peers that failed). Tables and plots are made from this file alone.
"""

from __future__ import annotations

import json
import shlex
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["JOBS", "MEASURES", "WHOLE_FILE", "Record", "Results", "command_of", "summarize", "unit_of"]

MEASURES = {
    "bits_per_token": "bits/{one}",
    "bytes_local_while_reading": "bytes/{one}",
    "write_rate": "M {many}/s",
    "ordered_rate": "M {many}/s",
    "shuffled_rate_first": "M {many}/s",
    "shuffled_rate": "M {many}/s",
    "workers1_rate": "M {many}/s",
    "workers2_rate": "M {many}/s",
    "get_rate": "M {many}/s",
    "take_rate": "M {many}/s",
    "cold_rate": "M {many}/s",
    "first_batch_ms": "ms",
    "open_ms": "ms",
    "resume_ms": "ms",
    "rss_mb": "MB",
    "rss_growth_mb": "MB",
    "cpu_seconds_per_1e9": "s",
    "bytes_per_vector": "bytes/vector",
    "recall_at_10": "share",
}
"""Every measure and its unit; ``one`` and ``many`` are what the workload counts: tokens, codes, values of vectors."""

JOBS = {
    "write": ("write_rate", "bits_per_token"),
    "start": ("rss_mb", "rss_growth_mb", "bytes_local_while_reading"),
    "first": ("open_ms", "first_batch_ms"),
    "shuffled": ("shuffled_rate_first", "shuffled_rate", "cpu_seconds_per_1e9"),
    "ordered": ("ordered_rate",),
    "get": ("get_rate",),
    "take": ("take_rate",),
    "resume": ("resume_ms",),
    "cold": ("cold_rate",),
    "workers1": ("workers1_rate",),
    "workers2": ("workers2_rate",),
    "vectors": ("recall_at_10", "bytes_per_vector"),
    "check": (),
}
"""What a process may be asked for, in this order, and the measures of each."""

WHOLE_FILE = "zstd -3, whole file"
"""The peer under which a run records the size of one zstd -3 file of the raw ids, which cannot be read at random."""


@dataclass(frozen=True)
class Record:
    """One figure of one peer.

    Attributes:
        workload: Such as ``chunks-50257``.
        peer: Such as ``tokstore default``.
        measure: A key of `MEASURES`.
        median: The median of the runs; None where the peer cannot do it, and then `note` says why.
        low: The least.
        high: The greatest.
        unit: What is counted.
        runs: How often it was measured.
        at: The position for a measure that has one: for ``resume_ms`` the batch that the stream goes on with.
        note: What a reader has to know, such as why there is no figure.
    """

    workload: str
    peer: str
    measure: str
    median: float | None
    low: float | None
    high: float | None
    unit: str
    runs: int
    at: float | None = None
    note: str | None = None


@dataclass
class Results:
    """All that a run found out."""

    machine: dict[str, Any]
    versions: dict[str, str]
    commands: list[str]
    date: str
    workloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def save(self, path: Path) -> None:
        """Write the file, with keys that hold nothing left out of the records."""
        path.parent.mkdir(parents=True, exist_ok=True)
        found = asdict(self)
        for record in found["records"]:
            for key in ("at", "note"):
                if record[key] is None:
                    del record[key]
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


_PATHS = {"--data": "FOLDER", "--temporary": "FOLDER", "--mosaic": "PYTHON", "--out": "FILE", "--results": "FILE"}


def command_of(module: str, arguments: Sequence[str]) -> str:
    """Return a command as others may give it: places of this machine are named by what they are.

    Example:
        >>> command_of("benchmarks.side_by_side", ["--data=/home/me/texts", "--minutes", "9"])
        'python -m benchmarks.side_by_side --data=FOLDER --minutes 9'
    """
    words: list[str] = []
    for word in arguments:
        option, equals, _ = word.partition("=")
        if words and words[-1] in _PATHS:
            words.append(_PATHS[words[-1]])
        else:
            words.append(f"{option}={_PATHS[option]}" if equals and option in _PATHS else shlex.quote(word))
    return " ".join(["python -m", module, *words])


def unit_of(measure: str, one: str, many: str) -> str:
    """Return the unit of a measure in a workload that counts `one`, `many`."""
    return MEASURES[measure].format(one=one, many=many)


def summarize(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the least and the greatest, to four digits."""
    low, high = min(values), max(values)
    return _digits(statistics.median(values)), _digits(low), _digits(high)


def _digits(value: float) -> float:
    """Keep four digits: nothing here is known better."""
    return float(f"{value:.4g}")
