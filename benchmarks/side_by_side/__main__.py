"""Measure tokstore beside its peers and write the records as JSON.

python -m benchmarks.side_by_side                                # the sources of installed Python packages
python -m benchmarks.side_by_side --data FOLDER                  # texts, tokenizers, codes, embeddings
python -m benchmarks.side_by_side --workloads chunks --peers memmap,tokstore

Without --data a tokenizer of up to 128,256 ids is trained on half of the sources, which takes a minute, and tokenizing
them two more. It fits these texts better than a tokenizer of other texts would: with --data, sizes mean more.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import tokstore
from benchmarks.side_by_side.peers import ALL, QUICK
from benchmarks.side_by_side.records import Results, command_of
from benchmarks.side_by_side.runner import Course
from benchmarks.side_by_side.workloads import QUICK_TOKENS, make_workloads

_KINDS = ("chunks", "ragged", "codes", "vectors")
_MOSAIC = "build/bench/mosaic/bin/python"


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the file, and return 1 where `--strict` is given and there were errors."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.side_by_side",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    groups = sorted({entry.group for entry in ALL})
    parser.add_argument(
        "--data", metavar="FOLDER", help="<name>.jsonl[.zst], bpe-<vocab>.json[.zst], image-codes.npy[.zst], …"
    )
    parser.add_argument("--workloads", default=",".join(_KINDS), help="by default all: %(default)s")
    parser.add_argument("--peers", help=f"of {','.join(groups)}; by default all")
    parser.add_argument("--quick", action="store_true", help="a miniature that shows that everything works")
    parser.add_argument("--strict", action="store_true", help="fail where there are errors")
    parser.add_argument("--rounds", type=int, default=5, help="how often every figure is taken at most (%(default)s)")
    parser.add_argument(
        "--minutes", type=float, default=25,
        help="figures are taken again as often as fits (%(default)s); each is taken once, however long that takes",
    )  # fmt: skip
    parser.add_argument(
        "--tokens", type=int, default=20_500_000,
        help="at most so many values of a workload (%(default)s); less takes less time, and figures mean less",
    )  # fmt: skip
    parser.add_argument("--mosaic", metavar="PYTHON", help=f"has mosaicml-streaming; {_MOSAIC} where it is there")
    parser.add_argument("--temporary", metavar="FOLDER", help="where what the peers write goes, about 6 GB")
    parser.add_argument("--out", type=Path, default=Path("build/bench/results.json"), help="%(default)s")
    chosen = parser.parse_args(arguments)
    kinds = _listed(parser, "--workloads", chosen.workloads, list(_KINDS))
    wanted = _listed(parser, "--peers", chosen.peers, groups) if chosen.peers else groups
    peers = [one for one in ALL if one.group in wanted and (one.name in QUICK or not chosen.quick or chosen.peers)]
    given = sys.argv[1:] if arguments is None else arguments

    signal.signal(signal.SIGTERM, _end)
    begun = time.monotonic()
    results = Results(
        machine=_machine(),
        versions={name: importlib.metadata.version(name) for name in ("torch", "numpy", "zstandard")}
        | {"tokstore": tokstore.__version__},
        commands=[command_of("benchmarks.side_by_side", given)],
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    )
    mosaic = chosen.mosaic or (_MOSAIC if os.path.exists(_MOSAIC) else sys.executable)
    pythons = {"main": sys.executable, "mosaic": mosaic}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="tokstore-bench-", dir=chosen.temporary) as name,
        open(chosen.out.with_suffix(".log"), "w", encoding="utf-8") as log,
    ):
        folder = Path(name)
        tokens = QUICK_TOKENS if chosen.quick else chosen.tokens
        works = make_workloads(kinds, chosen.data, folder / "works", tokens, chosen.quick, _say)
        courses: list[Course] = []

        def save() -> None:
            results.records = [record for course in courses for record in course.records()]
            results.seconds = round(time.monotonic() - begun, 1)
            results.save(chosen.out)

        # Every figure once before any is taken again.
        for work in works:
            entries = [one for one in peers if work.kind in one.kinds]
            if not entries:
                continue
            results.workloads[work.name] = {
                "samples": len(work.lengths), "values": int(work.lengths.sum()), "source": work.source,
            }  # fmt: skip
            where, cap = folder / "peers" / work.name, 0.05 if chosen.quick else 0.25
            courses.append(Course(work, entries, pythons, where, results, cap=cap, log=log, say=_say))
            courses[-1].first(restart=not chosen.quick)
            save()
            _say(f"{work.name}: every figure once, {time.monotonic() - begun:.0f} s")
        # What is left is shared out by the size of a workload.
        weights = _weights([course.work.name for course in courses])
        for number, course in enumerate(courses):
            left = 60 * chosen.minutes - (time.monotonic() - begun)
            share = weights[course.work.name] / sum(weights[one.work.name] for one in courses[number:])
            course.again(1 if chosen.quick else chosen.rounds, left * share)
            course.clear()
            save()
    for error in results.errors:
        print(error, file=sys.stderr)
    print(f"{len(results.records)} records in {chosen.out}, {len(results.errors)} errors, {results.seconds:.0f} s")
    return int(bool(results.errors) and chosen.strict)


def _end(number: int, frame: object) -> None:
    """Leave politely: the peers are ended, the temporary folder is removed, and no second signal cuts that off."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _weights(names: list[str]) -> dict[str, float]:
    """Return how much of the time each workload gets, in parts: the first vocabulary the most."""
    seen: set[str] = set()
    found = {}
    for name in names:
        kind = name.partition("-")[0]
        found[name] = 1.0 if kind not in ("chunks", "ragged") else 2.0 if kind in seen else 3.0
        seen.add(kind)
    return found


def _listed(parser: argparse.ArgumentParser, option: str, text: str, known: list[str]) -> list[str]:
    """Return the words of an option that takes several."""
    words = [word for word in text.split(",") if word]
    unknown = sorted(set(words) - set(known))
    if unknown or not words:
        parser.error(
            f"{option} takes of {','.join(known)}, with commas between; unknown: {','.join(unknown) or 'none given'}"
        )
    return words


def _machine() -> dict[str, Any]:
    """Name the machine, and how busy it was before."""
    from benchmarks.measure import machine

    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "name": machine(), "cores": os.cpu_count(), "memory_gb": round(pages / 1e9, 1),
        "python": platform.python_version(), "system": platform.platform(),
        "load_before": round(os.getloadavg()[0], 2),
    }  # fmt: skip


def _say(text: str) -> None:
    """Tell what goes on."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
