"""Scores and subsets by key: every sample gets its own value, whatever the order and whatever is lacking."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tokstore as ts
from tokstore.errors import ColumnError
from tokstore_tools.join import _contains, _Keys, cartography, join, join_dynamics, subset

N = 500
UIDS = [f"{(i * 7919 % N) // 3:016x}{i:016x}" for i in range(N)]


@pytest.fixture
def store(tmp_path: Path) -> ts.Store:
    """A store whose samples have uids, some of which agree in their first half."""
    with ts.create(tmp_path / "s", ts.Schema(tokens=ts.Tokens(9), uid=ts.Text())) as w:
        w.extend(tokens=[[i % 9] for i in range(N)], uid=UIDS)
    return ts.open(tmp_path / "s")


def test_scores_by_key(store: ts.Store, tmp_path: Path) -> None:
    """Rows in another order, for some of the samples and for others that are not there, go where they belong."""
    order = np.random.default_rng(0).permutation(N)[:300]
    uids = [UIDS[i] for i in order] + ["not there"]
    table = {"id": uids, "score": [i / 7 for i in order] + [1.0], "kind": [f"k{i}" for i in order] + ["x"]}
    pq.write_table(pa.table(table), tmp_path / "x.parquet", row_group_size=37)
    report = join(store, tmp_path / "x.parquet", key="uid", source_key="id", rename={"kind": "sort"})
    assert (report.columns, report.matched, report.unknown) == (("score", "sort"), 300, 1)
    inside = set(order.tolist())
    assert store["sort"] == [f"k{i}" if i in inside else None for i in range(N)]
    scores = store["score"]
    assert all(scores[i] == i / 7 if i in inside else np.isnan(scores[i]) for i in range(N))
    with pytest.raises(ColumnError, match="no column 'uid'"):
        join(store, tmp_path / "x.parquet", key="uid")
    pq.write_table(pa.table({"uid": [UIDS[1]] * 2, "s": [1.0, 2.0]}), tmp_path / "y.parquet")
    with pytest.raises(ValueError, match="two rows have the same key"):
        join(store, tmp_path / "y.parquet", key="uid")
    pq.write_table(pa.table({"sample_id": [3, 1], "by_id": [3.0, 1.0]}), tmp_path / "z.parquet")
    assert join(store, tmp_path / "z.parquet", key="sample_id").matched == 2
    assert store["by_id"][[1, 3]].tolist() == [1.0, 3.0]


def test_subset_of_uids(store: ts.Store, tmp_path: Path) -> None:
    """A sorted subset file is the view of exactly its samples; one that is not in order is refused."""
    chosen = sorted(UIDS[i] for i in range(0, N, 3))
    pairs = [(int(one[:16], 16), int(one[16:], 16)) for one in [*chosen, "f" * 32]]
    np.save(tmp_path / "a.npy", np.array(pairs, "u8,u8"))
    assert subset(store, tmp_path / "a.npy")["sample_id"].tolist() == list(range(0, N, 3))
    np.save(tmp_path / "b.npy", np.array(pairs[::-1], "u8,u8"))
    with pytest.raises(ValueError, match="not in ascending order"):
        subset(store, tmp_path / "b.npy")
    np.save(tmp_path / "c.npy", np.arange(4))
    with pytest.raises(ValueError, match="flat array of u8,u8"):
        subset(store, tmp_path / "c.npy")


def test_pairs_are_found() -> None:
    """Pairs are found in a sorted list of which many agree in the first half, and nothing else is."""
    rng = np.random.default_rng(0)
    pairs = sorted({(int(a), int(b)) for a, b in rng.integers(0, 30, (200, 2))})
    high, low = (np.array([one[i] for one in pairs], np.uint64) for i in (0, 1))
    asked = [(a, b) for a in range(32) for b in range(32)]
    first, second = (np.array([one[i] for one in asked], np.uint64) for i in (0, 1))
    assert _contains(high, low, first, second).tolist() == [one in set(pairs) for one in asked]


def test_training_dynamics(store: ts.Store, tmp_path: Path) -> None:
    """Confidence, variability and correctness are those of the logs, by guid."""
    logs = tmp_path / "logs"
    logs.mkdir()
    logits = np.random.default_rng(0).normal(size=(3, 20, 4))
    for epoch in range(3):
        rows = [{"guid": UIDS[i], f"logits_epoch_{epoch}": logits[epoch, i].tolist(), "gold": i % 4} for i in range(20)]
        (logs / f"dynamics_epoch_{epoch}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows[::-1]))
    assert join_dynamics(store, logs, key="uid").matched == 20
    odds = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    gold = odds[:, np.arange(20), np.arange(20) % 4]
    assert np.allclose(store["confidence"][:20], gold.mean(axis=0))
    assert np.allclose(store["variability"][:20], gold.std(axis=0))
    assert store["correctness"][:20].tolist() == (logits.argmax(axis=2) == np.arange(20) % 4).sum(axis=0).tolist()
    assert np.isnan(store["confidence"][20:]).all()
    (logs / "dynamics_epoch_2.jsonl").write_text('{"guid": "x", "gold": 9, "logits_epoch_2": [0, 1]}')
    with pytest.raises(ValueError, match=r"dynamics_epoch_2\.jsonl:1: this is no line"):
        cartography(logs)


def test_digests_that_agree_in_their_first_half(store: ts.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are told apart by both halves of their digests."""

    def few(keys: list[str]) -> np.ndarray:
        return np.array([(int(key[16:], 16) % 3, int(key[16:], 16)) for key in keys], "u8,u8")

    monkeypatch.setattr("tokstore_tools.join._digests", few)
    keys = _Keys(store, "uid")
    assert keys.find(few(UIDS[::-1])).tolist() == list(range(N))[::-1]
    assert keys.find(np.array([(0, N + 1), (2, 3), (9, 9)], "u8,u8")).tolist() == [-1, -1, -1]
