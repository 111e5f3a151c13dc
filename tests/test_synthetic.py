"""A store of 10**5 shards and 10**9 samples, made of pages alone: opening, describing and appending stay small."""

from __future__ import annotations

import secrets
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from tokstore.block import Spans
from tokstore.growth import NewShards, append_shards
from tokstore.manifest import LATEST_FILE, STORE_FILE, identity_json, root_path, write_json
from tokstore.pages import Page
from tokstore.placement import FIRST_FILE, Placement
from tokstore.plan import Plan
from tokstore.root import Root, empty_root

SHARDS, PER_SHARD, TOKENS = 100_000, 10_000, 5_000_000
SCHEMA = ts.Schema(tokens=ts.Tokens(50_257), quality=ts.Score(), label=ts.Label(5, optional=True))
MIB = 1 << 20


def new_shards(count: int, rng: np.random.Generator) -> NewShards:
    """Make the page and plan of shards whose data files are not there."""

    def numbers(low: int, high: int) -> Any:
        return rng.integers(low, high, count)

    files = numbers(5_000_000, 6_000_000)
    where, zero = FIRST_FILE + np.arange(count), np.zeros(count, np.int64)
    samples = np.full(count, PER_SHARD)
    columns = {
        0: Placement(where, zero, np.full(count, TOKENS), numbers(4_000_000, 5_000_000)),
        1: Placement(where, zero, samples, numbers(9_000, 10_000), nans=zero, ranges=((0.0, 1.0),) * count),
        2: Placement(where, zero, samples, numbers(900, 1_000), missing=zero, ranges=((0, 4),) * count),
    }
    raw = rng.bytes(48 * count)
    page = Page(
        tuple(raw[16 * i : 16 * i + 16] for i in range(count)),
        tuple(raw[16 * count + 32 * i : 16 * count + 32 * i + 32] for i in range(count)),
        rng.integers(0, 1 << 63, count).astype(np.uint64),
        files, files - 20_000, files - 1_000,
        samples, np.ones(count, np.int64), np.cumsum(samples) - samples, samples,
        (), zero[:0], zero, zero[:0], columns,
    )  # fmt: skip
    per_shard = 20
    spans = count * per_shard
    samples, values = (np.full(spans, number // per_shard) for number in (PER_SHARD, TOKENS))
    each = Spans(np.full(spans, 16), samples, values, np.zeros(spans, np.int64))
    return NewShards(page, Plan(0, np.full(count, per_shard), each), SCHEMA)


@pytest.fixture(scope="module")
def store() -> Iterator[Path]:
    """The store, built by the function that grows stores: a thousand shards at a time."""
    with TemporaryDirectory() as folder:
        path, rng = Path(folder), np.random.default_rng(0)
        store_id = secrets.token_bytes(16)
        root = empty_root(store_id, SCHEMA, {}, None, 0)
        # Pages in files are left out of the draft, as after a commit.
        for _ in range(0, SHARDS, 1000):
            root = append_shards(root, new_shards(1000, rng), lambda record, name: b"")
            data, files = root.encode()
            for name, content in files:
                (path / name).parent.mkdir(exist_ok=True)
                (path / name).write_bytes(content)
            root = Root.decode(data)
        (path / "manifests").mkdir()
        (path / root_path(root.version)).write_bytes(root.encode()[0])
        (path / STORE_FILE).write_bytes(identity_json(store_id))
        (path / LATEST_FILE).write_bytes(write_json({"version": root.version}))
        yield path


@contextmanager
def traced(nbytes: int) -> Iterator[None]:
    """Fail if more memory is taken."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] <= nbytes
    finally:
        tracemalloc.stop()


def test_opening_reads_the_root_only(store: Path) -> None:
    """A thousand million samples: three small files are read, and 50 MB are far from needed."""
    with traced(50 * MIB):
        opened = ts.open(store)
        assert len(opened) == SHARDS * PER_SHARD
        assert opened.token_count == SHARDS * TOKENS
        assert f"{SHARDS * PER_SHARD:,} samples" in repr(opened)
        assert opened.storage.bytes_read < 70_000
        assert opened.storage.trips <= 2
    assert (store / root_path(opened.version)).stat().st_size <= 65_536


def test_finding_samples_loads_the_pages_they_are_in(store: Path) -> None:
    """Positions all over the store are found by their pages alone, ids too; memory stays small."""
    with traced(50 * MIB):
        opened = ts.open(store)
        positions = np.array([0, 1, 999_999_999 // 2, 999_999_999])
        groups = opened._version.locate(positions)
        assert [one.shard + one.page * 1000 for one in groups] == [0, 49_999, 99_999]
        assert [opened._version.sample_ids(one).tolist() for one in groups] == [[0, 1], [499_999_999], [999_999_999]]
        assert opened.storage.trips <= 4


def test_reading_what_is_not_there_is_one_error(store: Path) -> None:
    """Lengths of a few samples do not ask for memory or files of all the others."""
    opened = ts.open(store)
    with traced(50 * MIB), pytest.raises(ts.MissingFileError):
        opened.lengths(999_999_990, 999_999_999)
    with traced(50 * MIB), pytest.raises(ts.MissingFileError):
        next(opened.scan(["quality"], part=(999_999, 1_000_000)))


def test_planning_reads_plans_only(store: Path) -> None:
    """All two million spans: lists of a few numbers each."""
    opened = ts.open(store)
    with traced(400 * MIB):
        spans = opened.spans()
    assert len(spans.values) == 20 * SHARDS
    assert int(spans.values.sum()) == SHARDS * TOKENS
    assert opened.storage.trips <= 4


def test_a_commit_rewrites_little(store: Path) -> None:
    """Appending one sample writes a data file, one page, one plan and the root: less than 1 MB, and reads as little."""
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    opened = ts.open(store)
    with traced(50 * MIB), opened.writer(threads=1, shard_tokens=1000) as writer:
        writer.append(tokens=[1, 2, 3], quality=0.5)
    written = [path for path in store.rglob("*") if path.is_file() and before.get(path) != path.stat().st_mtime_ns]
    assert sum(path.stat().st_size for path in written) <= 1_000_000
    assert all(path in before for path in store.rglob("*.tsm") if path not in written)
    assert opened.storage.bytes_read <= 1_000_000
    again = ts.open(store)
    assert len(again) == SHARDS * PER_SHARD + 1
    assert again[-1]["tokens"].tolist() == [1, 2, 3]
    assert again[-1]["sample_id"] == SHARDS * PER_SHARD
    kept = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.parent.name in ("pages", "plans")}
    with again.writer(threads=1, shard_tokens=1000) as writer:
        for i in range(3):
            writer.append(tokens=[i], quality=1.0)
            writer.commit()
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "a part that was a file already was written again"
    assert len(list((store / "manifests").iterdir())) == 5
    assert again.version == ts.open(store).version
    assert again.stored_bytes() == ts.open(store).stored_bytes()
