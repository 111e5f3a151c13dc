"""The benchmark beside peers: wrong values are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench_work import ragged_work

torch = pytest.importorskip("torch")


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
