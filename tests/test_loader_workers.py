"""DataLoaders over a stream: passes, states behind prefetched batches, and what is left when they end or are killed."""

from __future__ import annotations

import gc
import itertools
import json
import os
import pickle
import signal
import threading
import time
import warnings
from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

import tokstore as ts
from tokstore.loader import Batch, StreamingDataset, resumable

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*fork.*:DeprecationWarning", "ignore:This DataLoader will create:UserWarning"
)
LENGTHS = [29 * i % 53 for i in range(700)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ts.Store:
    """A small store."""
    path = str(tmp_path_factory.mktemp("workers") / "store")
    values = torch.arange(sum(LENGTHS)).numpy() * 31 % 9973
    with ts.create(path, ts.Schema(tokens=ts.Tokens(10_000, eos_id=9_999)), level="fast") as writer:
        writer.extend(tokens=ts.Ragged(values.astype("int32"), torch.tensor(LENGTHS).numpy()))
    return ts.open(path)


def stream(store: Any, **options: Any) -> StreamingDataset:
    """Return a stream of a few dozen batches an epoch."""
    return StreamingDataset(store, **{"seq_len": 32, "batch_size": 8, "packing": "fit", "seed": 1} | options)


def passes(loader: Any, count: int) -> list[list[list[list[int]]]]:
    """Return the ids of every batch of so many passes."""
    return [[batch["input_ids"].tolist() for batch in loader] for _ in range(count)]


def processes() -> set[int]:
    """Return the children of this process."""
    children = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    return {int(one) for one in children.read_text(encoding="ascii").split()}


def left() -> tuple[list[str], int, list[str]]:
    """Return what may be left behind: shared memory, open files, threads."""
    gc.collect()
    shared = sorted(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else []
    return (
        [name for name in shared if name.startswith("torch_")],
        len(os.listdir("/proc/self/fd")),
        sorted(thread.name for thread in threading.enumerate()),
    )


def until(done: Any, seconds: float = 30) -> bool:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(done())


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts by /proc")


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (1, False), (2, False), (2, True)])
def test_passes(store: ts.Store, workers: int, persistent: bool, drop_last: bool) -> None:
    """Loop after loop over one loader gives epoch after epoch, whatever makes the batches."""
    data = stream(store, drop_last=drop_last)
    expected = passes(data, 3)
    assert expected[0] != expected[1]
    again = stream(store, drop_last=drop_last)
    loader = again.loader(num_workers=workers, persistent_workers=persistent)
    assert len(loader) == len(data) == len(expected[0])
    assert passes(loader, 3) == expected
    assert again.progress() == data.progress()


def test_persistent_workers_follow(store: ts.Store) -> None:
    """Workers that are kept go where a loaded state, `set_epoch` or a loop that was broken off says."""
    data = stream(store)
    expected = passes(stream(store), 6)
    loader: Any = data.loader(num_workers=2, persistent_workers=True)
    assert passes(loader, 1) == expected[:1]
    loader.load_state_dict(data.state_at(batches=5))
    assert passes(loader, 2) == [expected[0][5:], expected[1]]
    data.set_epoch(5)
    assert passes(loader, 1) == expected[5:6]
    data.set_epoch(2)
    assert next(iter(loader))["input_ids"].tolist() == expected[2][0]
    assert passes(loader, 1) == expected[3:4]


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_endless_loops_go_on(store: ts.Store, workers: int, persistent: bool) -> None:
    """Without an end the next loop goes on behind the last batch that was handed out, not behind prefetched ones."""
    expected = [batch["input_ids"].tolist() for batch in itertools.islice(stream(store, epochs=None), 120)]
    loader: Any = stream(store, epochs=None).loader(num_workers=workers, persistent_workers=persistent and workers > 0)
    found: list[Any] = []
    for count in (3, 70, 4):
        part = itertools.islice(loader, count)
        found += [batch["input_ids"].tolist() for batch in part]
        del part
    assert found == expected[:77]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_state_of_a_loader(store: ts.Store, workers: int) -> None:
    """`loader.state_dict()` is the state behind the last batch handed out, from before the first to behind the last."""
    data = stream(store, epochs=2)
    loader: Any = data.loader(num_workers=workers)
    expected = [batch["input_ids"].tolist() for batch in [*stream(store, epochs=2), *stream(store, epochs=2)]]
    assert loader.state_dict() == data.state_at(rows=0)
    number = 0
    for number, batch in enumerate(loader, 1):
        state = json.loads(json.dumps(loader.state_dict()))
        assert state == data.state_at(batches=number) == data.state_dict(batch)
        assert data.progress()["rows"] == batch.next_row
        if number in (1, 4, len(data) - 1):
            again: Any = stream(store, epochs=2).loader(num_workers=2 - workers)
            again.load_state_dict(state)
            assert again.state_dict() == state
            assert [one["input_ids"].tolist() for one in again] == expected[number : len(data)]
            assert again.state_dict() == data.state_at(batches=len(data))
    assert number == len(data)
    assert loader.state_dict()["rows"] == 2 * data.rows_per_epoch


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_state_of_a_loader_of_rows(store: ts.Store, workers: int) -> None:
    """Also where single rows are handed out, which do not know which they are."""
    data = stream(store, batch_size=None, packing=None)
    expected = [row["input_ids"].tolist() for row in stream(store, batch_size=None, packing=None)]
    loader: Any = data.loader(num_workers=workers)
    found = [row["input_ids"].tolist() for row in itertools.islice(loader, 9)]
    assert loader.state_dict() == data.state_at(rows=9)
    again: Any = stream(store, batch_size=None, packing=None).loader(num_workers=workers)
    again.load_state_dict(loader.state_dict())
    assert found + [row["input_ids"].tolist() for row in again] == expected
    assert again.state_dict()["rows"] == len(expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_states_under_a_running_loader(store: ts.Store, workers: int) -> None:
    """A state is not loaded under a loader that is running; once its loop is left, it is."""
    data = stream(store)
    loader: Any = data.loader(num_workers=workers)
    iterator = iter(loader)
    next(iterator)
    with pytest.raises(RuntimeError, match="load_state_dict while an iterator is running"):
        loader.load_state_dict(data.state_at(batches=2))
    if workers:
        with pytest.raises(RuntimeError, match="the batches of this pass come from workers"):
            data.state_dict()
    else:
        assert data.state_dict() == data.state_at(rows=0) | {"batches": 1, "workers": 1}
    iterator.close()
    loader.load_state_dict(data.state_at(batches=2))
    assert next(iter(loader)).rows.start == 16


def test_state_without_an_iterator(store: ts.Store) -> None:
    """Without a batch, a stream that no one iterates in this process has no state to tell."""
    data = stream(store)
    with pytest.raises(RuntimeError, match=r"state_dict needs the last batch"):
        data.state_dict()
    for _ in itertools.islice(DataLoader(data, batch_size=None, num_workers=1), 2):
        with pytest.raises(RuntimeError, match=r"state_dict needs the last batch"):
            data.state_dict()


def test_state_of_a_running_iterator(store: ts.Store) -> None:
    """The iterator's own state, from its first batch to behind its last: from there comes its rest, then the next."""
    data = stream(store)
    expected = passes(stream(store), 2)
    for number in (1, 5, len(data)):
        other = stream(store)
        iterator = iter(other)
        for _ in range(number):
            next(iterator)
        state = json.loads(json.dumps(other.state_dict()))
        for workers in (None, 0, 1, 2):
            again = stream(store)
            again.load_state_dict(state)
            if workers is None:
                assert passes(again, 2) == [expected[0][number:], expected[1]]
            else:
                loader: Any = again.loader(num_workers=workers)
                loader.load_state_dict(state)
                assert loader.state_dict() == data.state_at(batches=number)
                assert passes(loader, 1) == [expected[0][number:] or expected[1]]


def test_a_state_at_the_end_warns_in_its_worker(store: ts.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker of the last batch says that new workers need `set_epoch`; any other state and place is quiet."""
    count = len(stream(store))
    owner = (count - 1) % 3
    for worker in range(3):
        own = len(range(worker, count, 3))
        for done, epochs in ((own, 1), (own - 1, 1), (own, None)):
            data = stream(store, epochs=epochs)
            monkeypatch.setattr(resumable, "get_worker_info", lambda one=worker: SimpleNamespace(num_workers=3, id=one))
            state = data.state_at(rows=0) | {"batches": done, "workers": 3}
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                data.load_state_dict(state)
            expected = ["call set_epoch(1) there"] if (worker, done, epochs) == (owner, own, 1) else []
            assert [part for part in expected if part in str(said[0].message)] == expected
            assert len(said) == len(expected)


def test_another_loader_over_the_parts(store: ts.Store) -> None:
    """Whoever makes a `DataLoader` of the dataset of `loader()` and its options gets batches, not chunks of them."""
    (expected,) = passes(stream(store), 1)
    for workers in (0, 2):
        loader = stream(store).loader(num_workers=workers)
        other = DataLoader(
            loader.dataset, batch_size=loader.batch_size, num_workers=workers, collate_fn=loader.collate_fn
        )
        assert passes(other, 1) == [expected]


def test_plain_data_loaders(store: ts.Store) -> None:
    """`DataLoader(data, batch_size=None)` with workers, and rows in batches of eight, as people type them."""
    expected = passes(stream(store), 1)[0]
    for workers in (0, 2):
        (got,) = passes(DataLoader(stream(store), batch_size=None, num_workers=workers), 1)
        assert got == expected
    rows = stream(store, batch_size=None)
    got = [batch["input_ids"].tolist() for batch in DataLoader(rows, batch_size=8)]
    assert list(itertools.chain(*got)) == list(itertools.chain(*expected))[: rows.rows_per_epoch]
    assert len(DataLoader(stream(store, batch_size=None), batch_size=8)) == len(got)
    shared = DataLoader(stream(store, batch_size=None), batch_size=8, num_workers=2)
    found = [row for batch in shared for row in batch["input_ids"].tolist()]
    assert sorted(found) == sorted(itertools.chain(*got))
    loader = DataLoader(stream(store), batch_size=None, num_workers=2)
    second = []
    for epoch in range(2):
        loader.dataset.set_epoch(epoch)  # type: ignore[attr-defined]
        second.append([batch["input_ids"].tolist() for batch in loader])
    assert second == passes(stream(store), 2)


def test_batches_keep_what_they_are(store: ts.Store) -> None:
    """Batches that came in chunks are `Batch`es with numbers and strings, and each can be written to alone."""
    emit = ("input_ids", "cu_seqlens", "max_seqlen", "valid")
    plain = list(stream(store, emit=emit))
    got = list(stream(store, emit=emit).loader(num_workers=1))
    assert len(got) == len(plain) > 8
    for one, other in zip(got, plain, strict=True):
        assert isinstance(one, Batch)
        assert (one.rows, one.next_row, list(one)) == (other.rows, other.next_row, list(other))
        assert type(one["max_seqlen"]) is int
        assert one["max_seqlen"] == other["max_seqlen"]
        assert all(torch.equal(one[name], other[name]) for name in ("input_ids", "cu_seqlens", "valid"))
        one["input_ids"].fill_(-5)


def test_pickled(store: ts.Store) -> None:
    """A stream that has been used and that goes on from a state pickles with its place."""
    data = stream(store, packing="whole", overlong="truncate")
    list(data)
    data.load_state_dict(data.state_at(batches=7))
    again = pickle.loads(pickle.dumps(data))
    assert passes(again, 2) == passes(data, 2)


@needs_proc
@pytest.mark.parametrize("own", [True, False])
def test_a_killed_worker(store: ts.Store, own: bool) -> None:
    """When a worker is killed the consumer gets an error, and no process, shared memory, file or thread stays."""
    data = stream(store, epochs=None, batch_size=512, seq_len=512)
    for _ in range(2):
        before, others = left(), processes()
        loader: Any = data.loader(num_workers=2) if own else DataLoader(data, batch_size=None, num_workers=2)
        iterator = iter(loader)
        next(iterator)
        workers = processes() - others
        assert len(workers) >= 2
        os.kill(min(workers), signal.SIGKILL)
        with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid.*(killed|exited)"):
            deque(iterator, maxlen=0)  # no variable holds a batch
        del iterator, loader
        assert until(lambda others=others: gc.collect() >= 0 and processes() <= others)
        assert until(lambda before=before: left()[0] == before[0])
    assert until(lambda: left()[1:] == before[1:]), (before, left())


@needs_proc
def test_nothing_is_left_behind(store: ts.Store) -> None:
    """Loaders that end, are broken off or are forgotten leave no shared memory, file, thread or process."""
    data = stream(store)
    others = processes()

    def use() -> None:
        for workers, persistent in ((0, False), (1, False), (2, True)):
            loader = data.loader(num_workers=workers, persistent_workers=persistent)
            passes(loader, 1)
            for _ in loader:
                break
            iterator = iter(loader)
            next(iterator)
            del iterator, loader

    use()
    assert until(lambda: gc.collect() >= 0 and processes() <= others)
    before = left()
    for _ in range(3):
        use()
    assert until(lambda: gc.collect() >= 0 and processes() <= others)
    assert until(lambda: left() == before), (before, left())


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@needs_proc
@pytest.mark.parametrize("buffer", [1, 64 << 20])
@pytest.mark.parametrize("packing", ["concat", "fit", "whole", None])
def test_memory_does_not_grow(store: ts.Store, packing: Any, buffer: int) -> None:
    """Fifty short epochs need no more memory than ten do, held whole and by windows."""
    data = stream(store, packing=packing, buffer=buffer, overlong="truncate" if packing == "whole" else None)
    for _ in range(10):
        for _ in data:
            pass
    before = resident()
    for _ in range(50):
        for _ in data:
            pass
    assert resident() - before < 4 << 20
