"""torchdata's own scenarios of `StatefulDataLoader` over a stream; `make peers` installs it and runs this."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

import tokstore as ts

pytest.importorskip("torchdata")
pytestmark = pytest.mark.filterwarnings("ignore")
BATCHES = 29


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a small store."""
    path = str(tmp_path_factory.mktemp("torchdata") / "store")
    with ts.create(path, ts.Schema(tokens=ts.Tokens(64, eos_id=0)), level="fast") as writer:
        writer.extend(tokens=[[(i * 7 + t) % 63 + 1 for t in range(5 + i % 20)] for i in range(237)])
    return path


def stream(path: str, **options: Any) -> ts.StreamingDataset:
    """Return a stream of 29 batches an epoch: no multiple of any number of workers here."""
    data = ts.StreamingDataset(ts.open(path), **{"seq_len": 16, "batch_size": 8, "packing": "fit"} | options)
    assert options or len(data) == BATCHES
    return data


def stateful(path: str, workers: int = 0, persistent: bool = False, every: int = 1, **options: Any) -> Any:
    """Return torchdata's loader over a stream."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    return StatefulDataLoader(
        stream(path, **options), batch_size=None, num_workers=workers, persistent_workers=persistent,
        snapshot_every_n_steps=every,
    )  # fmt: skip


def ids(batches: Any) -> list[Any]:
    """Return the ids of batches."""
    return [batch["input_ids"].tolist() for batch in batches]


def carried(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state that was written as JSON and read again."""
    found: dict[str, Any] = json.loads(json.dumps(state))
    return found


def epochs(path: str, count: int) -> list[list[Any]]:
    """Return the ids of so many epochs."""
    data = stream(path)
    return [ids(data) for _ in range(count)]


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize(("steps", "every"), [(0, 1), (1, 1), (7, 1), (7, 3), (28, 1)])
def test_in_an_epoch(path: str, workers: int, steps: int, every: int) -> None:
    """Resumed at zero, after a step, in the middle, before the last; also from snapshots that are taken rarely."""
    (expected,) = epochs(path, 1)
    first = stateful(path, workers, every=every)
    iterator = iter(first)
    assert ids(next(iterator) for _ in range(steps)) == expected[:steps]
    state = carried(first.state_dict())
    assert ids(iterator) == expected[steps:]
    again = stateful(path, workers, every=every)
    again.load_state_dict(state)
    assert ids(again) == expected[steps:]


@pytest.mark.parametrize("workers", [0, 2])
def test_before_the_first_iterator(path: str, workers: int) -> None:
    """A state that is asked for before anything was read leads to the whole epoch, and asking changes nothing."""
    (expected,) = epochs(path, 1)
    first = stateful(path, workers)
    state = carried(first.state_dict())
    assert ids(first) == expected
    again = stateful(path, workers)
    again.load_state_dict(state)
    assert ids(again) == expected


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, True), (3, True)])
def test_over_epochs(path: str, workers: int, persistent: bool) -> None:
    """Epochs follow each other, and a state of the second one leads through its rest into the third."""
    expected = epochs(path, 3)
    loader = stateful(path, workers, persistent)
    assert ids(loader) == expected[0]
    iterator = iter(loader)
    assert ids(next(iterator) for _ in range(4)) == expected[1][:4]
    state = carried(loader.state_dict())
    assert ids(iterator) == expected[1][4:]
    again = stateful(path, workers, persistent)
    again.load_state_dict(state)
    assert ids(again) == expected[1][4:]
    assert ids(again) == expected[2]


def test_over_epochs_with_new_workers(path: str) -> None:
    """Workers that are made anew begin where the stream here is: `set_epoch` says where, before and after a resume."""
    expected = epochs(path, 3)
    loader = stateful(path, 2)
    for epoch in (0, 1):
        loader.dataset.set_epoch(epoch)
        iterator = iter(loader)
        head = ids(next(iterator) for _ in range(5))
        state = carried(loader.state_dict())
        assert head + ids(iterator) == expected[epoch]
    again = stateful(path, 2)
    again.load_state_dict(state)
    for epoch in (1, 2):
        again.dataset.set_epoch(epoch)
        assert ids(again) == expected[epoch][5 if epoch == 1 else 0 :]


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, True), (2, False)])
@pytest.mark.parametrize("finished", [False, True])
def test_at_the_end(path: str, workers: int, persistent: bool, finished: bool) -> None:
    """Behind the last batch: a state from before the loop has noticed begins with an empty pass, then epoch 1 comes.

    New workers know nothing of the pass before, so that they need `set_epoch`.
    """
    expected = epochs(path, 2)
    first = stateful(path, workers, persistent)
    iterator = iter(first)
    assert ids(next(iterator) for _ in range(BATCHES)) == expected[0]
    if finished:
        assert next(iterator, None) is None
    state = carried(first.state_dict())
    again = stateful(path, workers, persistent)
    again.load_state_dict(state)
    if workers and not persistent and finished:
        again.dataset.set_epoch(1)
    if not finished:
        assert ids(again) == []
        if workers and not persistent:
            again.dataset.set_epoch(1)
    assert ids(again) == expected[1]


@pytest.mark.parametrize(("before", "after"), [(2, 3), (2, 0), (0, 2)])
def test_other_numbers_of_workers(path: str, before: int, after: int) -> None:
    """A state of other workers is refused, since its batches would not be theirs; never is a batch lost or repeated."""
    first = stateful(path, before)
    iterator = iter(first)
    next(iterator)
    state = carried(first.state_dict())
    del iterator
    again = stateful(path, after)
    again.load_state_dict(state)
    with pytest.raises((ValueError, AssertionError, RuntimeError)):
        ids(again)


def test_a_state_of_another_stream(path: str) -> None:
    """What differs is named, from inside a worker too."""
    first = stateful(path, 1)
    next(iter(first))
    state = carried(first.state_dict())
    again = stateful(path, 1, seed=4)
    again.load_state_dict(state)
    with pytest.raises(ValueError, match="the state has seed 0, this stream 4: another order"):
        ids(again)


def test_rows_in_batches_of_the_loader(path: str) -> None:
    """Rows that the loader stacks into batches: without workers a state leads to the very next batch."""
    from torchdata.stateful_dataloader import StatefulDataLoader

    def made() -> Any:
        return StatefulDataLoader(stream(path, batch_size=None), batch_size=8)

    expected = ids(made())
    assert len(expected) == BATCHES
    first = made()
    iterator = iter(first)
    assert ids(next(iterator) for _ in range(6)) == expected[:6]
    again = made()
    again.load_state_dict(carried(first.state_dict()))
    assert torch.equal(next(iter(again))["input_ids"], torch.tensor(expected[6]))


def test_endless(path: str) -> None:
    """Without an end, workers go on across epochs from a state in the middle of the second."""
    whole = [*(batch for one in epochs(path, 4) for batch in one)]
    rows = [row for batch in whole for row in batch if any(row)]
    loader = stateful(path, 2, epochs=None)
    iterator = iter(loader)
    got = ids(next(iterator) for _ in range(40))
    assert [row for batch in got for row in batch] == rows[:320]
    again = stateful(path, 2, epochs=None)
    again.load_state_dict(carried(loader.state_dict()))
    other = iter(again)
    assert [row for batch in ids(next(other) for _ in range(9)) for row in batch] == rows[320:392]
    del iterator, other
