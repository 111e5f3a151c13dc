"""What a shuffled epoch costs in an object store: every byte once, few requests, and fetching that runs ahead."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokstore as ts
from object_server import ObjectServer
from tokstore.merging import merged
from tokstore.storage import LocalStorage, Range
from tokstore.stream import batches

torch = pytest.importorskip("torch")
pytest.importorskip("obstore")

URL = "s3://bucket/corpus"
SCHEMA = ts.Schema(t=ts.Tokens(5000))
STREAM: dict[str, Any] = {"seq_len": 512, "packing": "concat", "batch_size": 4, "lanes": 4, "emit": ("input_ids",)}
BUFFER = 1 << 19
TOTAL = 700_000


def samples(total: int, mean: int) -> ts.Ragged:
    """Return samples of uneven lengths, whose ids compress a little."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 2 * mean, 2 * total // mean)
    lengths = lengths[np.cumsum(lengths) <= total]
    return ts.Ragged((rng.zipf(1.2, int(lengths.sum())) % 5000).astype(np.uint16), lengths)


def write(path: str, total: int, mean: int, **options: Any) -> None:
    """Write a store of several shards that is shuffled by windows, not as a pool."""
    with ts.create(path, SCHEMA, level="plain", shard_tokens=200_000, **options) as writer:
        writer.extend(t=samples(total, mean))


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectServer]:
    """A server with one store."""
    made = ObjectServer()
    try:
        write(URL, TOTAL, 150, storage_options=made.options)
        yield made
    finally:
        made.close()


def ranges_of(server: ObjectServer) -> list[tuple[str, int, int]]:
    """Return file, begin and end of what was asked for."""
    found = []
    for method, key, asked in server.requests:
        if method == "GET" and key in server.objects:
            first, _, last = (asked or "bytes=0-").removeprefix("bytes=").partition("-")
            found.append((key, int(first), int(last) + 1 if last else len(server.objects[key])))
    return found


def test_a_shuffled_epoch_fetches_every_byte_about_once(server: ObjectServer, tmp_path: Path) -> None:
    """Not more than 1.05 times the store and 30 requests a megabyte, and what it hands out is what a folder gives."""
    write(str(tmp_path / "s"), TOTAL, 150)
    local = ts.StreamingDataset(ts.open(tmp_path / "s"), buffer=BUFFER, **STREAM)
    wanted = torch.cat([batch["input_ids"] for batch in local])
    server.requests.clear()
    store = ts.open(URL, storage_options=server.options)
    data = ts.StreamingDataset(store, buffer=BUFFER, **STREAM)
    plan = data.plan()
    assert (plan["shuffle"], plan["windows"] >= 8) == ("windows", True)
    assert torch.equal(torch.cat([batch["input_ids"] for batch in data]), wanted)
    size = sum(len(one) for key, one in server.objects.items() if "manifests" not in key)
    asked = ranges_of(server)
    fetched = sum(end - begin for _, begin, end in asked)
    assert size > 800_000
    assert 0.95 * size < fetched <= 1.05 * size
    assert len(asked) <= 40 + 30 * size / 1e6
    assert store.storage.bytes_read == fetched


def test_fetching_runs_ahead_of_who_reads(server: ObjectServer) -> None:
    """Many requests are under way together, and more come in while nobody reads."""
    store = ts.open(URL, storage_options=server.options)
    data = ts.StreamingDataset(store, buffer=BUFFER, **STREAM)
    store.lengths()
    server.requests.clear()
    server.latency, server.most_at_once = 0.01, 0
    try:
        stream = iter(data)
        next(stream)
        until = time.monotonic() + 5
        while len(server.requests) < 18 and time.monotonic() < until:
            time.sleep(0.01)
        assert len(server.requests) >= 18
        assert server.most_at_once >= 8
    finally:
        server.latency = 0.0
        stream.close()


@pytest.mark.parametrize(
    ("mean", "options", "most"),
    [
        (150, {}, 1.0),
        (150, {"labels": "next", "emit": ("input_ids", "labels")}, 1.0),
        (150, {"packing": "whole", "overlong": "truncate"}, 1.0),
        (150, {"packing": None, "seq_len": None}, 1.0),
        (150, {"shuffle": False, "lanes": None}, 1.0),
        (40_000, {}, 1.0),
        (2000, {"threads": 1}, 1.0),
    ],
)
def test_no_block_is_fetched_twice(
    mean: int, options: dict[str, Any], most: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for the first batch and its windows, nor where spans share one, nor for the end of a lane."""
    write(str(tmp_path / "s"), TOTAL, mean)
    asked: list[Range] = []
    read = LocalStorage.read_ranges

    def read_ranges(self: LocalStorage, ranges: Any, **more: Any) -> Any:
        asked.extend(one for one in ranges if one[0].endswith(".tok"))
        return read(self, ranges, **more)

    monkeypatch.setattr(LocalStorage, "read_ranges", read_ranges)
    # Less is held of what is near, so that windows are let go of, and one thread cannot decode a block twice at once.
    monkeypatch.setattr(batches, "_SLAB_VALUES", 1 << 16)
    monkeypatch.setattr(LocalStorage, "is_far", "threads" not in options)
    for number, _ in enumerate(ts.StreamingDataset(ts.open(tmp_path / "s"), buffer=BUFFER, **STREAM | options)):
        if not number and "threads" in options:
            asked.clear()  # what is near is read for the first batch alone, and again with its windows
    counts = Counter(asked)
    total = sum(nbytes * times for (*_, nbytes), times in counts.items() if nbytes)
    assert total <= most * sum(nbytes for *_, nbytes in counts if nbytes)


def test_ranks_share_what_an_epoch_fetches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank reads its own lanes and of others the blocks that its rows end in, not their first windows."""
    write(str(tmp_path / "s"), TOTAL, 500)
    monkeypatch.setattr(LocalStorage, "is_far", True)
    options = STREAM | {"batch_size": None, "global_batch_size": 8, "buffer": BUFFER}

    def read(**rank: int) -> tuple[list[Any], int]:
        store = ts.open(tmp_path / "s")
        store.lengths()
        before = store.storage.bytes_read
        return [
            b["input_ids"] for b in ts.StreamingDataset(store, **options, **rank)
        ], store.storage.bytes_read - before

    alone, nbytes = read()
    ranks = [read(rank=rank, world_size=2) for rank in range(2)]
    for number, batch in enumerate(alone):
        for rank, (found, _) in enumerate(ranks):
            assert torch.equal(found[number], batch[rank::2])
    assert sum(one for _, one in ranks) <= 1.35 * nbytes


PLACES = st.tuples(st.sampled_from("ab"), st.integers(0, 1 << 20), st.none() | st.integers(0, 1 << 15))


@given(st.lists(PLACES, max_size=60))
def test_requests_cover_what_is_wanted(ranges: list[Range]) -> None:
    """Every range is in one request, of its file; gaps are a small share unless there are very many requests."""
    groups = merged(ranges)
    assert sorted(one for group in groups for one in group) == list(range(len(ranges)))
    wanted = gaps = small = 0
    for group in groups:
        assert len({ranges[one][0] for one in group}) == 1
        if len(group) == 1:
            wanted += ranges[group[0]][2] or 0
            continue
        end = ranges[group[0]][1]
        for one in group:
            _, start, length = ranges[one]
            assert length is not None
            gap = start - end
            small += 1024 * (0 < gap <= 1024)
            gaps += gap if gap > 1024 else 0
            assert gap <= 32 << 10
            wanted += length
            end = max(end, start + length)
        assert end - ranges[group[0]][1] <= 4 << 20
    if len(groups) > 32:
        return
    apart = sum(len(group) for group in groups)
    assert gaps <= wanted // 128 or apart > 32


def test_gaps_are_weighed_against_requests() -> None:
    """A gap is fetched along where it is a small share of the trip, or where there are very many requests."""
    block = 10_000
    assert merged([("f", 0, block), ("f", 12_000, block)]) == [[0], [1]]
    assert merged([("f", 0, block), ("f", 11_000, block)]) == [[0, 1]]
    assert merged([("f", 0, 20 * block), ("f", 202_000, 20 * block)]) == [[0, 1]]
    block = 1000
    apart: list[Range] = [("f", at * 5 * block, block) for at in range(32)]
    assert len(merged(apart)) == 32
    assert len(merged([*apart, *(("g", at * 5 * block, block) for at in range(100))])) <= 32
    assert len(merged([("f", at * 100_000, block) for at in range(100)])) == 100
    assert [len(one) for one in merged([("f", at << 20, 1 << 20) for at in range(10)])] == [4, 4, 2]
