"""A small workload for tests of the benchmark beside peers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

# Behind everything else, so that `tokstore` stays the one that is installed.
sys.path.append(str(Path(__file__).resolve().parents[1]))


def ragged_work(folder: Path) -> Any:
    """Return 400 samples of 4 to 60 ids."""
    from benchmarks.side_by_side.workloads import Work

    rng = np.random.default_rng(0)
    lengths = rng.integers(4, 60, 400)
    where = folder / "work"
    where.mkdir()
    np.save(where / "values.npy", rng.integers(0, 999, int(lengths.sum())).astype(np.uint16))
    np.save(where / "lengths.npy", lengths)
    facts = {"name": "ragged-999", "kind": "tokens", "folder": str(where), "size": 999, "shape": None}
    (where / "work.json").write_text(json.dumps(facts))
    return Work(**facts)
