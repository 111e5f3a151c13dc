"""The benchmark beside peers in real processes: peers that fail are told, and every measure has its record.

It stands here because a measure takes as long as the machine lets it, which the tests of `make test` do not.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench_work import ragged_work


def test_every_measure_has_a_record(tmp_path: Path) -> None:
    """Two peers in real processes: one is measured, one's package is not installed, and both are told."""
    import sys

    from benchmarks.side_by_side.peers import ALL, Entry
    from benchmarks.side_by_side.records import MEASURES, Results
    from benchmarks.side_by_side.runner import run_workload

    work = ragged_work(tmp_path)
    absent = next(one for one in ALL if one.name == "mds")
    results = Results({}, {}, [], "")
    folder = tmp_path / "peers"
    folder.mkdir()
    entries = [Entry("memmap Megatron", "memmap", "megatron"), absent]
    with open(tmp_path / "log", "w") as log:
        run_workload(
            work, entries, {"main": sys.executable, "mosaic": sys.executable}, folder, results, rounds=2, runs=1,
            cap=0.02, seconds=60, restart=False, log=log, say=lambda text: None,
        )  # fmt: skip
    results.save(tmp_path / "results.json")
    found = json.loads((tmp_path / "results.json").read_text())
    assert found["errors"] == ["ragged-999: mds: start: not installed: mosaicml-streaming"]
    wanted = set(MEASURES) - {"bytes_per_vector", "recall_at_10"}
    for entry in entries:
        mine = [one for one in found["records"] if one["peer"] == entry.name]
        assert {one["measure"] for one in mine} == wanted
        if entry is absent:
            assert all(one["median"] is None and "mosaicml-streaming" in one["note"] for one in mine)
            continue
        assert all(one["low"] <= one["median"] <= one["high"] for one in mine)
        assert [one["at"] for one in mine if one["measure"] == "resume_ms"] == [5.0, 25.0, 45.0]
        bits = next(one for one in mine if one["measure"] == "bits_per_token")
        assert (bits["median"], bits["unit"]) == (pytest.approx(16 + 32 * 400 / work.lengths.sum(), 1e-3), "bits/token")
    assert found["checks"][0]["wrong"] == []
    assert not list(folder.glob("m*"))
