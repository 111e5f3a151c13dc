"""The process of one peer: it reads requests as lines of JSON and answers each by one line.

python -m benchmarks.side_by_side.worker PEER WORK_FOLDER PEER_FOLDER CAP

Whatever the peer's packages print goes to standard error, so that nothing comes between the answers.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any


def main() -> None:
    """Serve until the other side closes."""
    name, work_folder, peer_folder, cap = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    warnings.simplefilter("ignore")

    def answer(found: dict[str, Any]) -> None:
        answers.write(json.dumps(found) + "\n")

    from benchmarks.side_by_side.peers import ALL, make_peer
    from benchmarks.side_by_side.records import JOBS
    from benchmarks.side_by_side.workloads import load_work

    entry = next(one for one in ALL if one.name == name)
    missing = []
    versions = {}
    for package in ("torch", "numpy", *entry.packages):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    if missing:
        answer({"missing": missing})
        return
    import torch

    from benchmarks.side_by_side.measures import Bench, memory_mb

    torch.set_num_threads(1)
    base = memory_mb()
    from benchmarks.side_by_side.peers.contract import Cannot

    try:
        bench = Bench(make_peer(entry, load_work(work_folder), Path(peer_folder)), float(cap), base)
    except Cannot as why:
        answer({"refused": str(why)})
        return
    except Exception as error:  # noqa: BLE001 - whatever a package raises is its answer
        answer({"failed": f"{type(error).__name__}: {error}"[:500]})
        return
    answer({"ready": True, "versions": versions, "notes": dict(bench.peer.notes)})
    for line in sys.stdin:
        request = json.loads(line)
        job = request.pop("job")
        if job not in JOBS:
            answer({"failed": f"there is no job {job!r}"})
            continue
        try:
            answer(getattr(bench, job)())
        except Cannot as why:
            answer({"cannot": dict.fromkeys(JOBS[job], str(why))})
        except Exception as error:  # noqa: BLE001 - whatever a package raises is its answer
            traceback.print_exc()
            answer({"failed": f"{type(error).__name__}: {error}"[:500]})
    answers.flush()
    bench.end()
    # Threads of packages may never end by themselves.
    os._exit(0)


if __name__ == "__main__":
    main()
