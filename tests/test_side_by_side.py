"""The benchmark beside peers: wrong values are found, and what is done again fits into its time."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench_work import ragged_work
from benchmarks.side_by_side.records import JOBS
from benchmarks.side_by_side.runner import planned

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


COSTS = st.dictionaries(
    st.tuples(st.sampled_from(list(JOBS)), st.sampled_from("abc")), st.floats(0.01, 20.0), min_size=1, max_size=12
)


@settings(max_examples=40)
@given(COSTS, st.integers(1, 6), st.floats(0.0, 200.0))
def test_repetitions_fit_into_their_time(costs: dict[tuple[str, str], float], rounds: int, seconds: float) -> None:
    """All that is planned fits, what is left out once stays out, and with time enough all is done."""
    plan = planned(costs, rounds, seconds)
    assert sum(costs[cell] for cells in plan for cell in cells) <= seconds + 1e-6
    assert all(set(later) <= set(earlier) for earlier, later in pairwise(plan))
    assert all(cells for cells in plan)
    done = Counter(cell for cells in planned(costs, rounds, 1e6) for cell in cells)
    for cell in costs:
        often = 1 if cell[0] in ("start", "vectors", "check") else rounds
        often = min(3, often) if cell[0] in ("write", "cold", "workers1", "workers2") else often
        assert done[cell] == often - 1
