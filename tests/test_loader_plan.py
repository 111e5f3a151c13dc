"""What `StreamingDataset.plan` tells of an epoch, against the epoch itself: rows, cuts, decodes, order."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from test_loader_fake import FakeSource
from tokstore.loader import StreamingDataset
from tokstore.loader import dataset as module
from tokstore.order.turns import Turns
from tokstore.shard import DataFile
from tokstore.stream.shuffling import measure_order

PACKINGS = ("concat", "fit", "whole", None)


def stream(source: Any, packing: Any, **options: Any) -> StreamingDataset:
    """Return a stream with rows of 256."""
    given: dict[str, Any] = {"seq_len": 256, "packing": packing, "global_batch_size": 24, "emit": ("input_ids",)}
    if packing == "whole":
        given["overlong"] = "truncate"
    return StreamingDataset(source, **(given | options))


@pytest.mark.parametrize("buffer", [1, 64 << 20])
@pytest.mark.parametrize("packing", PACKINGS)
def test_shares_are_those_of_the_epoch(packing: Any, buffer: int) -> None:
    """Rows, batches, fill and cut samples are what a pass over the stream shows, and JSON can hold them."""
    source = FakeSource([(37 * i % 331) + (900 if i % 50 == 0 else 1) for i in range(1500)], eos_id=5)
    data = stream(source, packing, buffer=buffer, emit=("attention_mask",))
    plan = json.loads(json.dumps(data.plan(), allow_nan=False))
    assert plan["rows"] == plan["examined_rows"] == data.rows_per_epoch
    assert plan["batches"] == len(data)
    assert plan["shuffle"] == ("windows" if buffer == 1 else "pool")
    places = sum(int(batch["attention_mask"].sum()) for batch in data)
    assert plan["filled"] == pytest.approx(places / (plan["rows"] * 256))
    rows = data.samples_at(rows=0), *(data.samples_at(batches=n) for n in range(len(data)))
    lengths = source.lengths(0, len(source)) + 1
    held = np.bincount(np.concatenate([one["position"] for one in rows[1:]]), minlength=len(lengths))
    assert plan["cut_samples"] == pytest.approx(np.count_nonzero(held[lengths <= 256] > 1) / (lengths <= 256).sum())
    assert plan["overlong_samples"] == pytest.approx((lengths > 256).mean())
    assert plan["blocks"] is plan["bytes_read"] is None
    part = data.plan(rows=100)
    assert (part["examined_rows"], part["order"]["spread"]) == (100, None)
    assert abs(part["filled"] - plan["filled"]) < 0.1


def test_windows_are_counted() -> None:
    """As many windows as the lines of the first epoch have."""
    source = FakeSource([1000 + i % 77 for i in range(1500)])
    for packing, lanes in (("concat", 12), ("fit", 5), ("whole", 3), (None, 1)):
        data = stream(source, packing, seq_len=2048, buffer=1, lanes=lanes)
        reader: Any = data._reader(None)
        for first in range(0, data.rows_per_epoch, 50):
            reader.segments(np.arange(first, min(first + 50, data.rows_per_epoch)))
        real = {key for (_, key), window in reader._windows.items() if window.stop > window.start}
        assert abs(data.plan()["windows"] - len(real)) <= (0 if packing in ("whole", None) else 4)


def test_lanes_read() -> None:
    """The lanes of a worker are those that its rows lie in, for any ranks, workers, batches and chunks."""
    for lanes, size, ranks, workers, chunk in np.random.default_rng(0).integers(1, 9, (120, 5)).tolist():
        lanes = lanes * 3
        for rank, worker in ((0, 0), (ranks - 1, workers - 1)):
            turns = Turns(size, ranks, rank, workers, worker, chunk)
            rows = turns.rows(0, turns.batches(0, None, most=lanes * chunk))
            assert turns.lanes_read(lanes) == len(np.unique(rows % lanes)), turns


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of a store of about a hundred blocks of tokens."""
    path = str(tmp_path_factory.mktemp("plan") / "store")
    lengths = np.clip(np.random.default_rng(0).lognormal(6, 1, 6000), 4, 20_000).astype(np.int64)
    with ts.create(path, ts.Schema(tokens=ts.Tokens(5000, eos_id=0)), level="plain") as writer:
        writer.extend(tokens=ts.Ragged(np.arange(int(lengths.sum())) % 5000, lengths))
    return path


@pytest.mark.parametrize(
    ("packing", "ranks", "workers", "batch", "law"),
    [
        ("concat", 1, 1, 24, 1),
        ("concat", 6, 1, 24, 1),
        ("concat", 8, 1, 24, 2),
        ("concat", 5, 1, 20, 5),
        ("concat", 1, 2, 24, 2),
        ("concat", 1, 2, 6, 1),
        ("fit", 4, 1, 24, 1),
        ("fit", 2, 2, 24, 2),
        ("whole", 8, 2, 96, 4),
        (None, 3, 1, 24, 1),
    ],
)
def test_the_law_of_decodes(
    store: str, monkeypatch: pytest.MonkeyPatch, packing: Any, ranks: int, workers: int, batch: int, law: int
) -> None:
    """Over all ranks each block is decoded R / gcd(R, C) times, times the workers that read all lanes of a rank."""
    decoded: list[int] = []
    decode = DataFile.decode_blocks

    def counted(self: DataFile, column: int, table: Any, decoder: Any, blocks: Any, alone: Any = None) -> None:
        decoded.extend(number for number, *_ in blocks)
        decode(self, column, table, decoder, blocks, alone)

    monkeypatch.setattr(DataFile, "decode_blocks", counted)
    firsts, per_reader = 0, []
    for rank in range(ranks):
        for number in range(workers):
            data = stream(
                ts.open(store), packing, seq_len=2048, global_batch_size=batch, rank=rank, world_size=ranks, lanes=12,
                buffer=1, threads=1, overlong="truncate" if packing == "whole" else None,
            )  # fmt: skip
            told = SimpleNamespace(num_workers=workers, id=number)
            monkeypatch.setattr(module, "get_worker_info", lambda told=told: told)
            before = len(decoded)
            batches = iter(data)
            next(batches)
            firsts += len(decoded) - before
            for _ in batches:
                pass
            per_reader.append(len(decoded) - before)
    monkeypatch.undo()
    blocks = ts.open(store).token_blocks().blocks
    assert blocks == ts.open(store).spans().blocks.sum() > 100
    assert set(decoded) == set(range(blocks))
    # What the first batch needs is decoded once more, with the rest of its windows. With several ranks, rows at the
    # ends of lanes also reach into the first window, of one or two blocks, of a lane that another rank reads.
    ends = 2 * 12 if ranks > 1 else 0
    assert law * blocks <= len(decoded) <= law * blocks + firsts + ends
    assert max(per_reader) <= 1.6 * min(per_reader) + 12


def test_what_the_plan_says_of_decodes(store: str) -> None:
    """Decodes, bytes and lanes follow the law; a pool is decoded once by every process."""
    taken = ts.open(store).stored_bytes("tokens")
    for ranks, workers, decodes, lanes in ((1, 0, 1, 12), (8, 0, 2, 3), (2, 3, 3, 6), (1, 2, 2, 12)):
        data = stream(ts.open(store), "concat", buffer=1, lanes=12, rank=0, world_size=ranks)
        plan = data.plan(workers=workers, rows=50)
        assert (plan["decodes"], plan["lanes_per_process"], plan["workers"]) == (decodes, lanes, workers)
        assert 0.9 * taken * decodes < plan["bytes_read"] <= taken * decodes
        pool = stream(ts.open(store), "concat", rank=0, world_size=ranks).plan(workers=workers, rows=50)
        assert (pool["shuffle"], pool["decodes"]) == ("pool", ranks * max(1, workers))
    view = ts.open(store).sample(60, seed=0)
    part = stream(view, "concat", buffer=1).plan(rows=5)
    assert len(view) < part["blocks"] * 2 < 236
    assert part["block_bytes"] == view.token_blocks().nbytes


def test_more_ranks_than_lanes(store: str) -> None:
    """The warning of more ranks than lanes tells what the plan counts, and what would be cheaper."""
    with pytest.warns(UserWarning, match="16 ranks read 12 lanes: every block is decoded 4 times; lanes=16 would"):
        data = stream(ts.open(store), "concat", global_batch_size=16, buffer=1, rank=0, world_size=16)
    assert data.plan(rows=10)["decodes"] == 4


def test_mixtures_are_planned_by_source(store: str) -> None:
    """Every source has its facts, and memory is that of all."""
    mix = ts.Mixture({"a": ts.open(store), "b": ts.open(store).sample(600, seed=1)}, shares={"a": 0.9, "b": 0.1})
    plan = stream(mix, "fit", epochs=None, buffer=4 << 20).plan()
    a, b = plan["sources"]["a"], plan["sources"]["b"]
    assert "batches" not in plan
    assert (a["shuffle"], b["shuffle"]) == ("windows", "windows")
    assert a["rows"] > 5 * b["rows"]
    assert plan["memory_bytes"] > a["held_bytes"] + b["held_bytes"] > 1 << 20
    for one in (a, b):
        assert one["examined_rows"] == one["rows"]
        assert one["filled"] > 0.99


def test_order_of_permutations_and_of_views() -> None:
    """A permutation measures as one, view order as the contrary, and windows between them by their share."""
    n = 20_000
    batch = np.arange(n) // 50
    permuted = measure_order(np.random.default_rng(0).permutation(n), batch, n, 100, whole=True)
    assert permuted["same_stretch"] == pytest.approx(permuted["same_stretch_if_permuted"], rel=0.05)
    for name in ("effective_samples", "step", "spread"):
        assert permuted[name] == pytest.approx(1, abs=0.05)  # type: ignore[literal-required]
    assert abs(permuted["rank_correlation"] or 1) < 0.03
    ordered = measure_order(np.arange(n), batch, n, 100, whole=True)
    assert (ordered["same_stretch"], ordered["rank_correlation"]) == (1, pytest.approx(1))
    assert ordered["effective_samples"] == pytest.approx(1 / 50, rel=0.01)
    assert max(ordered["step"] or 1, ordered["spread"] or 1) < 0.001
    repeated = measure_order(np.tile(np.arange(100), 200), batch, 100, 100, whole=True)
    assert repeated["same_stretch"] == 0
    alone = measure_order(np.array([3]), np.array([7]), n, 100, whole=True)
    assert (alone["pieces"], alone["same_stretch"], alone["rank_correlation"]) == (1, None, None)


def test_order_of_streams() -> None:
    """Lanes and windows mix the more the more they hold, and a pool mixes all."""
    source = FakeSource([300] * 12_000)
    found = {
        lanes: stream(source, None, seq_len=None, buffer=1, lanes=lanes).plan()["order"] for lanes in (1, 4, 12, 48)
    }
    spreads = [one["spread"] for one in found.values()]
    assert spreads == sorted(spreads)
    assert spreads[0] < 0.1 < spreads[-1]
    same = [one["same_stretch"] for one in found.values()]
    assert same == sorted(same, reverse=True)
    pool = stream(source, None, seq_len=None).plan()["order"]
    assert pool["spread"] == pytest.approx(1, abs=0.03)
    assert pool["effective_samples"] > 0.97
    view = stream(source, None, seq_len=None, shuffle=False).plan()
    assert (view["order"]["rank_correlation"], view["shuffled_together"]) == (pytest.approx(1), 0)


def test_bad_arguments(store: str) -> None:
    """Workers and rows outside their range are refused."""
    data = stream(ts.open(store), "concat")
    with pytest.raises(ValueError, match="workers is an integer from 0 to 1024, not -1"):
        data.plan(workers=-1)
    with pytest.raises(ValueError, match="rows is an integer from 1 to"):
        data.plan(rows=0)


def test_blocks_of_views(tmp_path: Path) -> None:
    """Blocks are counted where samples of a view lie, over shards, missing tokens and long samples."""
    schema = ts.Schema(tokens=ts.Tokens(300, optional=True), n=ts.Score())
    samples = [[1] * (40_000 if i % 10 == 3 else 100) if i % 7 else None for i in range(40)]
    with ts.create(tmp_path / "s", schema, level="plain", shard_tokens=150_000) as writer:
        writer.extend(tokens=samples, n=np.arange(40.0))
    store = ts.open(tmp_path / "s")
    whole = store.token_blocks()
    assert whole.blocks == store.spans().blocks.sum()
    assert whole.values == store.token_count
    assert whole.nbytes <= store.stored_bytes("tokens")
    assert store.token_blocks(0, 1) == (0, 0, 0)
    one = store.where("n == 13").token_blocks()
    assert (one.blocks, one.values) == (store.token_blocks(13, 14).blocks, 40_000)
    assert 1 <= one.blocks <= 3


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("special", [{}, {"bos_id": 1, "eos_id": None}, {"bos_id": 1, "eos_id": 2}])
def test_samples_at_tells_ranges(packing: Any, special: dict[str, Any]) -> None:
    """The ids of a global batch are those between start and stop of its samples, and inserted ones around them."""
    source = FakeSource([(37 * i % 331) + (700 if i % 40 == 0 else 0) for i in range(900)], eos_id=2)
    mix = ts.Mixture({"a": source, "b": FakeSource([90] * 99, eos_id=2)}, shares={"a": 0.5, "b": 0.5})  # type: ignore[dict-item]
    for given, options in ((source, {"buffer": 1}), (source, {}), (mix, {"epochs": None})):
        data = stream(given, packing, global_batch_size=5, **options, **special)
        batches = list(zip(range(30), data, strict=False))
        for number, batch in batches[:4] + batches[26:]:
            found = data.samples_at(batches=number)
            sources = given.sources if isinstance(given, ts.Mixture) else [given]
            number_of = found.get("source", np.zeros(len(found["row"]), np.int64))
            for row, of, position, offset, length, start, stop in zip(
                found["row"], number_of, *(found[name] for name in ("position", "offset", "length", "start", "stop")),
                strict=True,
            ):  # fmt: skip
                ids = batch["input_ids"][row - found["row"][0], offset : offset + length].tolist()
                stored = sources[of].read_range(position, position + 1)[start:stop].tolist()
                extra = len(ids) - len(stored)
                at = 1 if extra and "bos_id" in special and start == 0 and ids[0] == 1 and ids[1:2] == stored[:1] else 0
                assert ids[at : at + len(stored)] == stored
                assert 0 <= extra <= 2


def drawn(lengths: Any, weights: Any) -> FakeSource:
    """Return a source with weights."""
    source = FakeSource(lengths, eos_id=5)
    source.weights = np.asarray(weights, np.uint32)
    return source


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("packing", PACKINGS)
def test_windows_with_weights_are_counted(packing: Any, shuffle: bool) -> None:
    """As many windows as the lines of the first epoch have, whose lanes follow from weights and not from lengths."""
    rng = np.random.default_rng(3)
    lengths = rng.integers(1, 2000, 2500)
    for weights in (np.full(2500, 1 << 14), np.where(np.arange(2500) < 600, 9 << 16, 0)):
        data = stream(
            drawn(lengths.tolist(), weights), packing, seq_len=2048, buffer=1, shuffle=shuffle,
            lanes=3 if shuffle else None,
        )  # fmt: skip
        reader: Any = data._reader(None)
        reader.segments(np.arange(data.rows_per_epoch))
        real = {key for (_, key), window in reader._windows.items() if window.stop > window.start}
        assert data.plan(rows=1)["windows"] == len(real) > 1


@pytest.mark.parametrize("overlong", ["truncate", "drop"])
@pytest.mark.parametrize("buffer", [1, 64 << 20])
@pytest.mark.parametrize("packing", PACKINGS)
def test_shares_with_weights_are_those_of_copies(packing: Any, buffer: int, overlong: Any) -> None:
    """Each copy that an epoch hands out is counted by itself, as it is found in the rows one piece after another."""
    rule = overlong if packing in ("whole", None) else None
    lengths = np.array([(37 * i % 331) + (900 if i % 50 == 0 else 0) for i in range(700)])
    weights = np.array([(i * 7919 % 5) << 15 for i in range(700)])
    options = {"buffer": buffer, "overlong": rule, "emit": ("attention_mask",), "eos_id": None}
    data = stream(drawn(lengths.tolist(), weights), packing, **options)
    plan = data.plan()
    places = sum(int(batch["attention_mask"].sum()) for batch in data)
    assert plan["filled"] == pytest.approx(places / (plan["rows"] * 256))
    whole = cut = longer = 0
    for number in range(len(data)):
        found = data.samples_at(batches=number)
        begins = found["start"] == 0
        sizes, stops = lengths[found["position"][begins]], found["stop"][begins]
        longer += int((sizes > 256).sum())
        whole += int(((sizes <= 256) & (stops == sizes)).sum())
        cut += int(((sizes <= 256) & (stops < sizes)).sum())
    assert plan["cut_samples"] == pytest.approx(cut / (whole + cut))
    assert cut > 0 or packing != "concat"
    if packing in ("concat", "fit"):
        assert plan["overlong_samples"] == pytest.approx(longer / (whole + cut + longer))
        return
    assert plan["overlong_samples"] == pytest.approx(weights[lengths > 256].sum() / weights[lengths > 0].sum())
    if overlong == "truncate":  # each epoch draws nearly as many
        assert plan["overlong_samples"] == pytest.approx(longer / (whole + longer), abs=0.01)
