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
    from benchmarks.side_by_side.runner import Course

    work = ragged_work(tmp_path)
    absent = next(one for one in ALL if one.name == "mds")
    results = Results({}, {}, [], "")
    folder = tmp_path / "peers"
    entries = [Entry("memmap Megatron", "memmap", "megatron"), absent]
    pythons = {"main": sys.executable, "mosaic": sys.executable}
    with open(tmp_path / "log", "w") as log:
        course = Course(work, entries, pythons, folder, results, cap=0.02, log=log, say=lambda text: None)
        course.first(restart=False)
        once = {one.measure: one.runs for one in course.records() if one.peer == "memmap Megatron"}
        course.again(2, 60.0)
    results.records = list(course.records())
    course.clear()
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
        assert {measure for measure, runs in once.items() if runs != 1} == set()
        # Memory, and bytes on local disk, are those of a process that has done nothing else.
        assert {one["measure"] for one in mine if one["runs"] != 2} == {
            "rss_mb", "rss_growth_mb", "bytes_local_while_reading",
        }  # fmt: skip
        assert [one["at"] for one in mine if one["measure"] == "resume_ms"] == [5.0, 25.0, 45.0]
        bits = next(one for one in mine if one["measure"] == "bits_per_token")
        assert (bits["median"], bits["unit"]) == (pytest.approx(16 + 32 * 400 / work.lengths.sum(), 1e-3), "bits/token")
    assert found["checks"][0]["wrong"] == []
    assert not folder.exists()


def test_a_peer_that_hangs_is_ended_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job without an answer costs its own figures; the peer gets another process for the rest."""
    import sys

    from benchmarks.side_by_side import runner
    from benchmarks.side_by_side.peers import Entry
    from benchmarks.side_by_side.process import Process
    from benchmarks.side_by_side.records import Results

    asked = Process.ask
    monkeypatch.setattr(Process, "ask", lambda self, job, most: asked(self, job, 0.0 if job == "get" else most))
    results = Results({}, {}, [], "")
    entries = [Entry("memmap Megatron", "memmap", "megatron")]
    with open(tmp_path / "log", "w") as log:
        course = runner.Course(
            ragged_work(tmp_path), entries, {"main": sys.executable}, tmp_path / "peers", results, cap=0.02, log=log,
            say=lambda text: None,
        )  # fmt: skip
        course.first(restart=False)
    found = {one.measure: one for one in course.records() if one.peer == "memmap Megatron"}
    assert [name for name, one in found.items() if one.median is None] == ["get_rate"]
    assert "no answer within 0 s, so its process was ended" in (found["get_rate"].note or "")
    assert len(results.errors) == 1
