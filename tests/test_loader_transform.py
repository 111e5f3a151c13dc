"""`transform=`: what it gets, what becomes of what it gives, and that its random numbers follow from the row alone."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import test_loader_topology as topologies
import tokstore as ts
from test_loader_fake import FakeSource
from tokstore.loader import Batch
from tokstore.order import derive_key

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*fork.*:DeprecationWarning", "ignore:This DataLoader will create:UserWarning"
)


def draw(batch: Any, rng: np.random.Generator) -> None:
    """Add a random number, and change the ids in place."""
    batch["drawn"] = rng.integers(1 << 40, size=len(batch["input_ids"]))
    batch["input_ids"] += 1


def replace(batch: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Return something else: tensors of other kinds, and a list."""
    count = len(batch["input_ids"])
    return {
        "half": torch.from_numpy(rng.random((count, 3))).bfloat16(),
        "sums": batch["input_ids"].sum(1).float(),
        "names": [f"row {row}" for row in range(count)],
        "first": int(batch["input_ids"][0, 0]),
    }


def fail(batch: Any, rng: np.random.Generator) -> None:
    """Fail at the third batch."""
    if batch.rows.start == 48:
        raise KeyError("no such thing")


def test_in_place_and_by_value() -> None:
    """The batch keeps its place, whether it was changed or replaced."""
    plain = list(topologies.stream("concat"))
    for batch, before in zip(topologies.stream("concat", transform=draw), plain, strict=True):
        assert (batch.rows, batch.next_row) == (before.rows, before.next_row)
        assert torch.equal(batch["input_ids"], before["input_ids"] + 1)
        key = derive_key(3, 7, 0, window=batch.rows.start)
        rng = np.random.Generator(np.random.Philox(key=key))
        assert batch["drawn"].tolist() == rng.integers(1 << 40, size=24).tolist()
    for batch, before in zip(topologies.stream("concat", transform=replace), plain, strict=True):
        assert isinstance(batch, Batch)
        assert list(batch) == ["half", "sums", "names", "first"]
        assert batch.next_row == before.next_row
    data = topologies.stream("concat", transform=draw)
    assert data.state_dict(next(iter(data))) == data.state_at(batches=1)


@pytest.mark.parametrize("packing", ["fit", None])
def test_workers_and_resuming(packing: Any) -> None:
    """The same for any number of workers and from any state; on ranks it goes by the first row of each."""
    expected = list(topologies.stream(packing, transform=draw))
    for workers in (1, 2, 4):
        topologies.check(topologies.one_pass(1, workers, packing=packing, transform=draw), expected)
    state = topologies.stream(packing).state_at(batches=5)
    topologies.check(topologies.one_pass(1, 2, packing=packing, transform=draw, state=state), expected[5:])
    for rank, batches in enumerate(topologies.one_pass(3, 0, packing=packing, transform=draw)):
        for number, batch in enumerate(batches):
            rng = np.random.Generator(np.random.Philox(key=derive_key(3, 7, 0, window=number * 24 + rank)))
            assert batch["drawn"].tolist() == rng.integers(1 << 40, size=8).tolist()


def test_real_workers(tmp_path: Path) -> None:
    """The function runs in the worker; what it gives crosses, several batches at once, as it was."""
    source = topologies.SOURCE
    with ts.create(str(tmp_path / "s"), ts.Schema(tokens=source.schema["tokens"]), level="fast") as writer:
        writer.extend(tokens=ts.Ragged(source.read_range(0, len(source)), source.lengths(0, len(source))))
    store = ts.open(str(tmp_path / "s"))
    for transform in (draw, replace):
        expected = list(topologies.stream("concat", store, transform=transform))
        loader = topologies.stream("concat", store, transform=transform).loader(
            num_workers=2, multiprocessing_context="fork"
        )
        got = list(loader)
        assert len(got) == len(expected)
        for batch, want in zip(got, expected, strict=True):
            assert isinstance(batch, Batch)
            assert (batch.rows, batch.next_row, list(batch)) == (want.rows, want.next_row, list(want))
            for name, one in want.items():
                assert torch.equal(batch[name], one) if torch.is_tensor(one) else batch[name] == one
                assert not torch.is_tensor(one) or batch[name].dtype == one.dtype


def rows_of(row: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Return a row with a number, a list and a scalar tensor."""
    return {"ids": row["input_ids"], "drawn": rng.random(), "list": [1, 2], "sum": row["input_ids"].sum()}


def test_single_rows() -> None:
    """Rows alone come as dicts, each with the numbers of its row; through chunks they are the same."""
    options: dict[str, Any] = {"global_batch_size": None, "epochs": 1, "transform": rows_of}
    data = topologies.stream("concat", **options)
    rows = list(itertools.islice(data, 40))
    assert len({row["drawn"] for row in rows}) == 40
    again = topologies.stream("concat", **options)._start(chunk=8).chunks()
    got = [row for chunk in itertools.islice(again, 5) for row in chunk.batches()]
    for row, want in zip(got, rows, strict=True):
        assert type(row) is dict
        assert (row["drawn"], row["list"]) == (want["drawn"], want["list"])
        assert torch.equal(row["ids"], want["ids"])
        assert torch.equal(row["sum"], want["sum"])
    again.close()  # type: ignore[attr-defined]


def test_refused() -> None:
    """Errors tell the batch; what is no mapping, or no function, is refused."""
    with pytest.raises(
        RuntimeError, match=r"batch 2 of this pass, whose first row is 48: KeyError: 'no such thing'"
    ) as told:
        list(topologies.stream("concat", transform=fail))
    assert isinstance(told.value.__cause__, KeyError)
    with pytest.raises(TypeError, match="transform returned int at batch 0"):
        next(iter(topologies.stream("concat", transform=lambda batch, rng: 3)))
    with pytest.raises(TypeError, match="transform is a function"):
        topologies.stream("concat", transform="flip")
    source = FakeSource([100] * 9)
    odd: Any = lambda batch, rng: batch if batch.rows.start else {}  # noqa: E731
    data = ts.StreamingDataset(source, seq_len=10, batch_size=3, transform=odd)
    with pytest.raises(ValueError, match="same names"):
        list(data._start(chunk=4).chunks())
