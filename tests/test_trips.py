"""How many dependent round trips and bytes reading costs, counted by the storage itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from files import crowding_name

SCHEMA = ts.Schema(t=ts.Tokens(5000), s=ts.Score(), u=ts.Text())


def write(path: Path, shards: int, shard_tokens: int = 70_000, **options: Any) -> Path:
    """Write a store of some shards, with rank tables in objects."""
    rng = np.random.default_rng(0)
    with ts.create(path, SCHEMA, level="fast", shard_tokens=shard_tokens, **options) as writer:
        for _ in range(shards):
            ids = (rng.zipf(1.3, 70_000) % 5000).astype(np.uint16)
            writer.extend(t=ts.Ragged(ids, [7000] * 10), s=np.zeros(10), u=["text"] * 10)
    return path


def crowd(path: Path, shards: int) -> Path:
    """Write the same store with pages and plans in files of their own."""
    name = crowding_name(write(path / "plain", shards, attachments={"": b""}))
    return write(path / "s", shards, attachments={name: b""})


def count(store: ts.Store, read: Callable[[], Any]) -> tuple[int, int]:
    """Return trips and bytes of something that reads."""
    trips, nbytes = store.storage.trips, store.storage.bytes_read
    read()
    return store.storage.trips - trips, store.storage.bytes_read - nbytes


def test_cold_open_to_first_sample_with_pages_inline(tmp_path: Path) -> None:
    """Up to 100 shards: hint · root · tail and object · block, whatever sample is first."""
    path = write(tmp_path / "s", 12)
    assert not (path / "pages").exists()
    for position in (0, 57, -1):
        store = ts.open(path)
        assert store.storage.trips <= 2
        store[position]
        assert store.storage.trips <= 4
    store = ts.open(path)
    next(iter(store.scan(["t"])))
    assert store.storage.trips <= 4


def test_hundred_shards_keep_their_page_inline(tmp_path: Path) -> None:
    """The page and plan of a hundred shards fit into the root."""
    with ts.create(tmp_path / "s", SCHEMA, level="plain", shard_tokens=8) as writer:
        writer.extend(t=[[1] * 8] * 100, s=np.zeros(100), u=["x"] * 100)
    store = ts.open(tmp_path / "s")
    assert store.describe()["shards"] == 100
    store = ts.open(tmp_path / "s")
    store.take(np.arange(100))
    assert store.storage.trips <= 4


def test_cold_open_with_separate_pages(tmp_path: Path) -> None:
    """With pages and plans in files: one more for pages, one more for plans."""
    path = crowd(tmp_path, 3)
    assert list((path / "pages").iterdir())
    assert list((path / "plans").iterdir())
    store = ts.open(path)
    store[25]
    assert store.storage.trips <= 5
    store = ts.open(path)
    store.spans()
    store.read_range(0, 2)
    assert store.storage.trips <= 6


def test_take_on_an_open_store(tmp_path: Path) -> None:
    """However many samples of however many shards: tails and objects, then blocks; nothing when all is cached."""
    store = ts.open(write(tmp_path / "s", 12))
    assert count(store, lambda: store.take(np.arange(0, 120, 7)))[0] <= 2
    assert count(store, lambda: store.take(np.arange(0, 120, 5)))[0] <= 1
    assert count(store, lambda: store.take([3], ["t"], stop=10))[0] <= 1
    trips = [count(store, lambda: store.take([3], ["t"]))[0] for _ in range(2)]
    assert trips[1] == 0
    assert count(store, lambda: store.take([], ["t"]))[0] == 0


def test_lengths_and_presence_decode_nothing(tmp_path: Path) -> None:
    """Lengths and missing come from the tails alone: no trip for blocks."""
    path = write(tmp_path / "s", 3)
    for read in (lambda store: store.lengths(), lambda store: store.missing("s")):
        store = ts.open(path)
        trips, nbytes = count(store, lambda store=store, read=read: read(store))
        assert trips <= 3
        assert nbytes < 60_000


def test_bytes_are_those_that_are_needed(tmp_path: Path) -> None:
    """One column of one sample reads its blocks and the tail, not the file."""
    path = write(tmp_path / "s", 4, shard_tokens=280_000)
    (size,) = [one.stat().st_size for one in path.glob("data/*/*.tok")]
    store = ts.open(path)
    store.lengths()
    trips, nbytes = count(store, lambda: store.take([5], ["t"]))
    assert trips == 1
    assert nbytes < size / 5
    assert count(store, lambda: store.take([5], ["s"]))[1] < 1000
    assert count(ts.open(path), lambda: None) == (0, 0)


def test_scanning_reads_everything_about_once(tmp_path: Path) -> None:
    """Batches that end where blocks end do not read blocks twice, and ask for many blocks in one trip."""
    path = write(tmp_path / "s", 4)
    size = sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
    for batch_size in (7, 65_536):
        store = ts.open(path)
        columns = ["t"] if batch_size == 7 else None
        trips, nbytes = count(store, lambda s=store, c=columns, n=batch_size: list(s.scan(c, batch_size=n)))
        assert nbytes < 1.3 * size
        if batch_size > 1000:
            assert trips <= 6


def test_opening_costs_a_root(tmp_path: Path) -> None:
    """`open` reads three small files, whatever the size of the store."""
    store = ts.open(write(tmp_path / "s", 5))
    assert store.storage.trips == 2
    assert store.storage.bytes_read < 5000
    assert count(store, lambda: (len(store), repr(store), store.token_count, store.schema))[0] == 0
    with pytest.raises(ts.NotAStoreError):
        ts.open(tmp_path)
