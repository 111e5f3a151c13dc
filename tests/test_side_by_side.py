"""The benchmark beside peers: wrong values are found, peers that fail are told, and every measure has its record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _from_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find `benchmarks`, which no wheel carries."""
    monkeypatch.syspath_prepend(str(ROOT))


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


@pytest.mark.parametrize("fault", ["none", "value", "swapped", "repeated", "short"])
def test_wrong_values_are_found(tmp_path: Path, fault: str) -> None:
    """One wrong id, two samples in each other's place, one that comes twice, and an epoch that ends early."""
    from benchmarks.side_by_side.measures import Bench
    from benchmarks.side_by_side.peers.contract import MapPeer, to_tensor

    class Held(torch.utils.data.Dataset):  # type: ignore[misc, name-defined]
        def __init__(self, work: Any) -> None:
            self.rows = [np.array(one) for one in work.samples()]
            if fault == "value":
                self.rows[37][-1] += 1
            elif fault == "swapped":
                self.rows[5], self.rows[6] = self.rows[6], self.rows[5]
            elif fault == "repeated":
                self.rows[9] = self.rows[8]

        def __len__(self) -> int:
            return len(self.rows) - (20 if fault == "short" else 0)

        def __getitem__(self, index: int) -> Any:
            return to_tensor(self.rows[index])

    class Memory(MapPeer):
        def write(self) -> None:
            pass

        def dataset(self) -> Any:
            return Held(self.work)

    found = Bench(Memory(ragged_work(tmp_path), tmp_path, ""), 1.0, (0.0, 0.0)).check()["check"]
    expected = {
        "none": [], "value": ["ordered: sample 37 ", "shuffled: a sample"], "swapped": ["ordered: sample 5 "],
        "repeated": ["ordered: sample 9 ", "shuffled: a sample"],
        "short": ["ordered: 380 ", "shuffled: an epoch has 380 "],
    }[fault]  # fmt: skip
    # `get` looks at 50 of them and may meet the fault or not.
    wrong = [one for one in found["wrong"] if one.startswith(("ordered", "shuffled"))]
    assert len(wrong) == len(expected)
    assert all(a.startswith(b) for a, b in zip(wrong, expected, strict=True))
    if fault == "none":
        assert not found["wrong"]
        assert found["shares"]["ordered"] == found["shares"]["shuffled"] == 1.0


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
