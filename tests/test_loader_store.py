"""`StreamingDataset` over real stores: the same order as over the fake, and every token of them."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import tokstore as ts
from test_loader_fake import FakeSource

LENGTHS = [5, 0, 70_000, 3, *[731 * i % 4001 for i in range(150)], 600_000, 0, 40_000, 1]


def make(path: Path, lengths: list[int], **options: Any) -> tuple[ts.Store, FakeSource]:
    """Write the samples of a fake source to a store."""
    fake = FakeSource(lengths, eos_id=7)
    with ts.create(str(path), ts.Schema(tokens=fake.schema["tokens"]), level="fast", **options) as writer:
        writer.extend(tokens=ts.Ragged(fake.read_range(0, len(fake)), fake.lengths(0, len(fake))))
    return ts.open(str(path)), fake


def rows(source: Any, **options: Any) -> np.ndarray[Any, Any]:
    """Return the ids of one pass."""
    given: dict[str, Any] = {"seq_len": 3000, "batch_size": 4, "emit": ("input_ids",)}
    data = ts.StreamingDataset(source, **(given | options))
    return torch.cat([batch["input_ids"] for batch in data]).numpy()


def test_a_store_has_the_spans_of_the_page(tmp_path: Path) -> None:
    """What a store says of itself is what the reference expects of the format."""
    store, fake = make(tmp_path / "s", LENGTHS)
    spans, expected = store.spans(), fake.spans()
    for name in ("samples", "values", "lead"):
        assert getattr(spans, name).tolist() == getattr(expected, name).tolist()
    assert store.lengths(0, len(store)).tolist() == LENGTHS
    assert np.array_equal(store.read_range(2, 5, skip=10, limit=70_001), fake.read_range(2, 5, skip=10, limit=70_001))


@pytest.mark.parametrize("options", [{}, {"buffer": 1, "lanes": 3}, {"shuffle": False}, {"eos_id": None, "buffer": 1}])
def test_same_rows_as_from_memory(tmp_path: Path, options: dict[str, Any]) -> None:
    """Pool, windows and view order give the rows that the fake, and so the reference, gives."""
    store, fake = make(tmp_path / "s", LENGTHS)
    for seed in (0, 1):
        assert np.array_equal(rows(store, seed=seed, **options), rows(fake, seed=seed, **options))


@pytest.mark.parametrize("buffer", [1, 64 << 20])
def test_many_shards_and_versions(tmp_path: Path, buffer: int) -> None:
    """Over several shards and appends every token comes once an epoch."""
    store, fake = make(tmp_path / "s", LENGTHS, shard_tokens=100_000)
    with store.writer() as writer:
        writer.extend(tokens=[[9, 9, 9], []])
    store = ts.open(str(tmp_path / "s"))
    got = rows(store, buffer=buffer, eos_id=None, epochs=2)
    values = np.concatenate([fake.read_range(0, len(fake)), [9, 9, 9]])
    n = -(-len(values) // 3000)
    for epoch in (got[:n], got[n : 2 * n]):
        counts = np.bincount(epoch.ravel(), minlength=50_000)
        counts[7] -= epoch.size - len(values)
        assert np.array_equal(counts, np.bincount(values, minlength=50_000))


def test_a_stream_stays_at_its_version(tmp_path: Path) -> None:
    """Appending through the same store object moves the store, not the stream."""
    store, _ = make(tmp_path / "s", LENGTHS)
    data = ts.StreamingDataset(store, seq_len=3000, batch_size=4)
    before = data.state_at(rows=0)
    with store.writer() as writer:
        writer.extend(tokens=[[1] * 50_000] * 9)
    assert sum(1 for _ in data) == len(data)
    assert data.state_at(rows=0) == before
    with pytest.raises(ValueError, match="the state has source"):
        ts.StreamingDataset(store, seq_len=3000, batch_size=4).load_state_dict(before)


@pytest.mark.parametrize("buffer", [1, 64 << 20])
def test_damage_comes_to_the_consumer(tmp_path: Path, buffer: int) -> None:
    """A flipped byte in a block is an error of the stream with the file's name, never a wrong token."""
    make(tmp_path / "s", LENGTHS)
    (path,) = (tmp_path / "s" / "data").rglob("*.tok")
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 3] ^= 1
    path.chmod(0o644)
    path.write_bytes(damaged)
    with pytest.raises(ts.CorruptError, match=path.name):
        rows(ts.open(str(tmp_path / "s")), buffer=buffer)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_a_worker_process(tmp_path: Path, context: str) -> None:
    """A DataLoader worker, forked after use or started anew, gives the rows of this process."""
    store, _ = make(tmp_path / "s", [100] * 300)
    want = rows(store, seq_len=64)
    data = ts.StreamingDataset(store, seq_len=64, batch_size=4, emit=("input_ids",))
    loader = DataLoader(data, batch_size=None, num_workers=1, multiprocessing_context=context)
    assert np.array_equal(torch.cat([batch["input_ids"] for batch in loader]).numpy(), want)


def test_streams_of_stores_pickle(tmp_path: Path) -> None:
    """A pickled stream opens its files again and gives the same rows."""
    store, _ = make(tmp_path / "s", [100] * 300)
    data = ts.StreamingDataset(store, seq_len=64, batch_size=4)
    again = pickle.loads(pickle.dumps(data))
    for one, other in zip(data, again, strict=True):
        assert one["labels"].equal(other["labels"])


@pytest.mark.parametrize("buffer", [1, 64 << 20])
@pytest.mark.parametrize("packing", ["concat", "fit", None])
def test_the_first_batch_touches_no_window(tmp_path: Path, packing: Any, buffer: int, monkeypatch: Any) -> None:
    """The first batch is made of what it consists of alone; the windows are decoded behind it, into their own place."""
    store, fake = make(tmp_path / "s", [731 * i % 4001 for i in range(900)])
    options: dict[str, Any] = {"seq_len": 1000, "packing": packing, "batch_size": 2, "buffer": buffer, "lanes": 2}
    data = ts.StreamingDataset(store, emit=("input_ids",), labels="next", **options)
    asked: list[Any] = []
    iterator = iter(data)
    reader = iterator._rows._reader  # type: ignore[attr-defined]
    request = reader._decoding.request

    def asking(windows: Any) -> None:
        asked.append(windows)
        request(windows)

    monkeypatch.setattr(reader._decoding, "request", asking)
    made = next(iterator._rows)  # type: ignore[attr-defined]
    assert asked == []
    assert not any(stretch.done for window in reader._windows.values() for stretch in window.stretches)
    reader.read_ahead()
    assert len(asked) == 1
    decoded = reader.slab(np.arange(2), np.zeros(0, np.int64))
    assert made.slab.ids.tolist() == decoded.ids.tolist()
    assert all(stretch.done for window in reader._windows.values() for stretch in window.stretches)
    rest = torch.cat([batch["input_ids"] for batch in iterator])
    whole = torch.cat([batch["input_ids"] for batch in ts.StreamingDataset(fake, emit=("input_ids",), **options)])
    assert torch.equal(rest, whole[2:])


def test_what_is_read_once_is_decoded_in_part(tmp_path: Path) -> None:
    """Scattered samples come as by a read of all, rows of one block and of several; for a caller who waits for some on
    threads no block is kept.
    """
    store, fake = make(tmp_path / "s", [*[731 * i % 4001 for i in range(300)], 90_000, 0, 5], shard_tokens=200_000)
    starts = np.cumsum(store.lengths(0, len(store))) - store.lengths(0, len(store))
    values = fake.read_range(0, len(fake))
    for positions in ([0, 7], [3, 150, 151, 299, 302], [300], [2, 4, 6, 300, 301], list(range(303))):
        expected = np.concatenate([values[starts[p] : starts[p] + fake._lengths[p]] for p in positions])
        assert np.array_equal(store.read_samples(np.array(positions)), expected)
    with ThreadPoolExecutor(2) as pool:
        for kept in (None, pool):
            other = ts.open(str(tmp_path / "s"))
            for positions in ([3, 150, 299], [0, 7], [2, 4, 6, 300, 301]):
                expected = np.concatenate([values[starts[p] : starts[p] + fake._lengths[p]] for p in positions])
                assert np.array_equal(other.read_samples(np.array(positions), pool=kept), expected)
            assert (not other._version.blocks._items) == (kept is pool)
