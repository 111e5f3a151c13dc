"""Streams of views with weights: the copies of every sample, rows as the slow reference makes them, what is decoded."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tokstore as ts
from test_loader_fake import FakeSource, reference
from test_order_spec import PAGE, VECTORS, found
from tokstore.loader import StreamingDataset
from tokstore.loader import dataset as module
from tokstore.order import Resampling, draw_offset, joined_spans

ONE = 1 << 16
PACKINGS = ("concat", "fit", "whole", "single")
WEIGHTS = st.lists(
    st.one_of(st.integers(0, 4 * ONE), st.sampled_from([0, 1, ONE, 7 * ONE + 1])), min_size=1, max_size=40
)


def weighted(lengths: Any, weights: Any, **special: Any) -> FakeSource:
    """Return a source with weights in steps of 2**-16."""
    source = FakeSource([int(n) for n in lengths], **special)
    source.weights = np.asarray(weights, np.uint32)
    return source


def stream(source: Any, packing: str = "concat", **options: Any) -> StreamingDataset:
    """Return a stream; ``"single"`` is what the page calls no packing."""
    given_options: dict[str, Any] = {"bos_id": None, "eos_id": None, "threads": 1}
    return StreamingDataset(source, packing=None if packing == "single" else packing, **(given_options | options))


def expected(source: FakeSource, seq_len: int, epoch: int, extra: tuple[Any, Any], /, **options: Any) -> list[Any]:
    """Return the segments of every row by the reference, and its values."""
    bos, eos = extra
    view = reference.View(
        source._lengths.tolist(), source.table, bos is not None, eos is not None, np.asarray(source.weights).tolist()
    )
    options = {"shuffle": True, "lanes": None, "buffer": 64 << 20, "seed": 0} | options
    rows = reference.weighted_rows(view, seq_len, epoch=epoch, **options)
    nothing = np.zeros(0, np.int64)
    return [(row, np.concatenate([nothing, *(source.segment(one, bos, eos) for one in row)])) for row in rows]


def compare(source: FakeSource, seq_len: int, extra: tuple[Any, Any], epochs: Any, **options: Any) -> None:
    """Compare ids, labels, segments and the number of rows with the reference."""
    emit = ("input_ids", "labels", "valid", "attention_mask")
    data = stream(source, seq_len=seq_len, bos_id=extra[0], eos_id=extra[1], emit=emit, batch_size=4, **options)
    for epoch in epochs:
        rows = expected(source, seq_len, epoch, extra, **options)
        assert len(rows) == data.rows_per_epoch
        data.set_epoch(epoch)
        made = [{name: batch[name][i] for name in emit} for batch in data for i in range(4)]
        segments = data.samples_at(rows=epoch * len(rows) + len(rows) // 2)
        told = [(int(p), int(n)) for p, n in zip(segments["position"], segments["length"], strict=True)]
        assert told == [(s, b - a) for s, a, b in rows[len(rows) // 2][0]]
        for (_, ids), row in zip(rows, made, strict=False):
            assert np.array_equal(row["input_ids"].numpy()[: len(ids)], ids)
            assert (row["labels"].numpy()[len(ids) :] == -100).all()
            assert int(row["attention_mask"].sum()) == len(ids)
            assert bool(row["valid"]) == bool(len(ids))


@pytest.mark.parametrize("case", VECTORS["weighted_epochs"], ids=lambda case: case["name"])
def test_vectors_of_epochs(case: dict[str, Any]) -> None:
    """The loader hands out the rows of the vectors, value by value."""
    source = weighted(case["lengths"], case["weights"])
    bos, eos = (49_999 if case["bos"] else None), (49_998 if case["eos"] else None)
    names = ("shuffle", "seed", "lanes", "buffer", "packing", "overlong", "seq_len")
    options = {name: case[name] for name in names if name in case}
    data = stream(source, bos_id=bos, eos_id=eos, emit=("input_ids", "attention_mask"), **options)
    for epoch, rows in case["rows"].items():
        data.set_epoch(int(epoch))
        got = [row["input_ids"].numpy()[: int(row["attention_mask"].sum())] for row in data]
        assert len(got) == len(rows) == data.rows_per_epoch
        for row, segments in zip(got, rows, strict=True):
            ids = [source.segment(tuple(segment), bos, eos) for segment in segments]
            assert np.array_equal(row, np.concatenate([np.zeros(0, np.int64), *ids]))


def test_vectors_of_functions() -> None:
    """Offsets and copies are what the vectors and the page say."""
    for v in VECTORS["offsets"]:
        assert draw_offset(v["seed"], v["epoch"], v["span"], v["source"]) == v["offset"]
    for v in VECTORS["copies"]:
        drawn = Resampling.of(np.array(v["weights"], np.uint32), np.array(v["lengths"]))
        assert drawn.copies(v["offset"]).tolist() == v["copies"]
    assert {sum(v["copies"]) for v in VECTORS["copies"]} > {5}
    lengths, weights, zero, other = found(
        r"five samples of ([\d, and]+) values with the weights ([\d, ]+) come .* With o = 0 they have ([\d, ]+) "
        r"copies, with o = 40000 they have ([\d, ]+)\."
    )
    drawn = Resampling.of(
        np.array([int(x) for x in weights.split(", ")], np.uint32),
        np.array([int(x) for x in re.findall(r"\d", lengths)]),
    )
    for offset, told in ((0, zero), (40_000, other)):
        assert ", ".join(map(str, drawn.copies(offset).tolist())) == told


def test_worked_example() -> None:
    """The rows of section 11.5 are what the loader hands out."""
    part = PAGE.split("### 11.5")[1]
    source = weighted([3, 1, 4, 1, 5], [32768, 65536, 147456, 0, 81920])
    data = stream(source, seq_len=4, lanes=2)
    assert int(found(r"u is (\d+)\. Epoch 0 draws")[0]) == draw_offset(0, 0, 0)
    table = re.findall(r"\| (\d+) \| (\d+) \| ([\d:, -]+) \| ([\d:, -]+) \|", part)
    assert [int(row) for row, *_ in table] == list(range(data.rows_per_epoch))
    for row, line_row, *epochs in table:
        for epoch, values in enumerate(epochs):
            told = data.samples_at(rows=epoch * data.rows_per_epoch + int(row))
            segments = [tuple(int(x) for x in re.split("[:-]", text)) for text in values.split(", ")]
            assert [(s, b - a) for s, a, b in segments] == list(
                zip(told["position"].tolist(), told["length"].tolist(), strict=True)
            )
            assert int(line_row) == reference.line_rows([0, 9, 18], 4)[int(row)]


@settings(max_examples=15)
@given(WEIGHTS, st.data(), st.integers(0, 2**64 - 1))
def test_copies_are_as_expected(weights: list[int], data: Any, seed: int) -> None:
    """Every sample has its expectation rounded up or down, and is within 3 over any 100 epochs."""
    lengths = data.draw(st.lists(st.integers(0, 9), min_size=len(weights), max_size=len(weights)))
    given_weights = np.array(weights, np.uint32)
    drawn = Resampling.of(given_weights, np.array(lengths))
    first = data.draw(st.integers(0, 2**40))
    copies = np.array([drawn.copies(draw_offset(seed, first + e, 3)) for e in range(100)])
    wanted = given_weights / ONE
    assert (np.abs(copies - wanted) < 1).all()
    assert (np.abs(np.cumsum(copies, axis=0) - wanted * np.arange(1, 101)[:, None]) < 2.8).all()
    assert (np.abs(copies.sum(axis=1) - wanted.sum()) < 1).all()
    assert (np.abs(copies @ np.array(lengths) - wanted @ np.array(lengths)) <= max(lengths)).all()


def test_copies_are_exact_in_the_end() -> None:
    """After 2**16 epochs every offset has come once, and every sample exactly as often as its weight says."""
    steps = {(draw_offset(7, epoch + 1, 5) - draw_offset(7, epoch, 5)) % ONE for epoch in (0, 1, 2**40)}
    assert len(steps) == 1
    assert steps.pop() % 2 == 1
    weights = np.array([32_768, 1, 147_456, 0, 65_537], np.uint32)
    drawn = Resampling.of(weights, np.array([3, 1, 4, 1, 5]))
    assert np.array_equal(sum(drawn.copies(offset) for offset in range(ONE)), weights)


def test_spans_are_joined_until_they_are_worth_it() -> None:
    """Joined spans have 128 expected copies or enough values, and only the last can have more than it needs."""
    rng = np.random.default_rng(0)
    steps = rng.integers(0, 50, 400) * ONE
    draws = np.append(0, np.cumsum(steps))
    kept = joined_spans(draws, np.arange(401), 1 << 20)
    sizes = np.diff(draws[kept])
    assert (kept[0], kept[-1]) == (0, 400)
    assert (sizes >= 128 * ONE).all()
    assert (sizes[:-1] < (128 + 50) * ONE).all()
    assert joined_spans(draws, np.arange(401), 1).tolist() == list(range(401))
    assert joined_spans(np.array([0, 5, 9]), np.array([0, 0, 1]), 100).tolist() == [0, 2]


@settings(max_examples=40)
@given(WEIGHTS, st.data(), st.sampled_from(PACKINGS), st.booleans(), st.sampled_from([(None, None), (1, 2), (None, 2)]))
def test_rows_of_pools(weights: list[int], data: Any, packing: str, shuffle: bool, extra: tuple[Any, Any]) -> None:
    """Rows of pools and of views in view order are those of the reference."""
    lengths = data.draw(st.lists(st.integers(0, 12), min_size=len(weights), max_size=len(weights)))
    source = weighted(lengths, weights)
    options: dict[str, Any] = {"packing": packing, "shuffle": shuffle, "seed": data.draw(st.integers(0, 9))}
    if packing in ("whole", "single"):
        options["overlong"] = data.draw(st.sampled_from(["truncate", "drop"] + ["split"] * (packing == "single")))
    if shuffle:
        options["lanes"] = data.draw(st.integers(1, 4))
    view = reference.View(lengths, source.table, extra[0] is not None, extra[1] is not None, weights)
    made = reference.weighted_rows(view, 7, epoch=0, **{"lanes": None, "buffer": 1 << 26} | options)
    if not made:
        with pytest.raises(ValueError, match=r"weights are 0|less than one token|no row|no tokens"):
            stream(source, seq_len=7, bos_id=extra[0], eos_id=extra[1], **options)
        return
    compare(source, 7, extra, (0, 1, 2**40), **options)


LARGE = [37 * (i * i * 31 % 211) for i in range(150)] + [90_000, 5, 300_000, 0]


@settings(max_examples=8)
@given(st.data(), st.sampled_from(PACKINGS), st.integers(0, 2**32 - 1))
def test_rows_of_windows(data: Any, packing: str, seed: int) -> None:
    """Rows of sources that are larger than the buffer are those of the reference."""
    rng = np.random.default_rng(seed)
    heavy = data.draw(st.sampled_from([0.3, 1.0, 2.5]))
    source = weighted(LARGE, rng.lognormal(0, 1, len(LARGE)) * (rng.random(len(LARGE)) < 0.8) * heavy * ONE)
    options: dict[str, Any] = {"packing": packing, "lanes": data.draw(st.integers(1, 4)), "buffer": 1, "seed": seed}
    if packing in ("whole", "single"):
        options["overlong"] = "truncate"
    compare(source, 8_192, (None, 2), (0, 3), **options)


def test_view_order_of_several_spans() -> None:
    """In view order every span is a window by itself, so that the rows do not depend on the buffer."""
    rng = np.random.default_rng(2)
    source = weighted(rng.integers(1, 3000, 520), rng.lognormal(0, 1, 520) * ONE)
    for packing in PACKINGS:
        options = {"overlong": "truncate"} if packing in ("whole", "single") else {}
        compare(source, 8_192, (None, None), (1,), packing=packing, shuffle=False, **options)


def test_copies_count_for_pools() -> None:
    """A view with many copies of few samples is no pool, however few values it has."""
    for weight, is_pool in ((2, True), (100, False)):
        source = weighted([4, 3, 5, 4, 4, 1, 2, 4, 3, 4], [weight * ONE] * 10)
        data = stream(source, seq_len=6, buffer=280, lanes=2)
        assert data._plan.pooled == is_pool
        compare(source, 6, (None, None), (0,), buffer=280, lanes=2)


@pytest.mark.parametrize("documents", ["separate", "joined"])
@pytest.mark.parametrize("buffer", [1, 64 << 20])
def test_labels_of_the_next_value(documents: Any, buffer: int) -> None:
    """With ``labels="next"`` padding is never a label, and a copy that is cut off ends where it is cut."""
    rng = np.random.default_rng(6)
    source = weighted(rng.integers(0, 900, 240), rng.lognormal(0, 1, 240) * ONE)
    emit = ("input_ids", "labels", "attention_mask")
    data = stream(
        source, seq_len=700, lanes=1, labels="next", documents=documents, emit=emit, batch_size=1, buffer=buffer
    )
    view = reference.View(source._lengths.tolist(), source.table, weights=np.asarray(source.weights).tolist())
    paddings = passed = 0
    for epoch in range(3):
        options = reference.Options(epoch, 0, True, 1, buffer, "concat", "error")
        line = reference.weighted_line(view, options).line
        paddings += sum(sample < 0 for sample, _, _ in line)
        for number, batch in enumerate(data):
            inside = reference.cut_line(line, number * 700, (number + 1) * 700)
            real = [segment for segment in inside if segment[0] >= 0]
            passed += any(segment[0] < 0 for segment in inside[:-1])
            after = reference.cut_line(line, (number + 1) * 700, (number + 1) * 700 + 1) or [(-1, 0, 1)]
            labels: list[int] = []
            for segment, (sample, first, _) in zip(real, [*real[1:], *after], strict=True):
                labels += source.segment(segment, None, None).tolist()[1:]
                told = sample >= 0 and (documents == "joined" or first > 0)
                labels.append(int(source.segment((sample, first, first + 1), None, None)[0]) if told else -100)
            assert batch["labels"][0].tolist() == labels + [-100] * (700 - len(labels))
        data.set_epoch(epoch + 1)
    assert paddings
    assert passed or buffer > 1


def test_every_row_is_there_in_every_epoch() -> None:
    """Epochs have as many rows and values as each other; what is padded and cut is counted, and small."""
    rng = np.random.default_rng(5)
    lengths = np.clip(rng.lognormal(4, 0.8, 3_000), 1, 900).astype(int)
    source = weighted(lengths, rng.lognormal(0, 1, 3_000) * 40_000)
    for packing in PACKINGS:
        data = stream(source, packing, seq_len=1024, batch_size=64, buffer=1, lanes=4, emit=("attention_mask",))
        values = []
        for _ in range(2):
            values.append(sum(int(batch["attention_mask"].sum()) for batch in data))
        told = data.progress()
        assert told["rows"] == 2 * data.rows_per_epoch
        assert told["padded"] + told["cut"] > 0
        if packing in ("concat", "fit"):
            assert told["tokens"] == sum(values) + told["padded"]
            assert told["padded"] + told["cut"] < 0.01 * told["tokens"]
        else:
            assert told["padded"] + told["cut"] < 0.01 * told["rows"]
    assert "padded" not in stream(FakeSource([5] * 9), seq_len=8).progress()


def test_view_order_keeps_copies_together() -> None:
    """Without shuffling the copies of a sample come one after another, in view order."""
    source = weighted([2, 3, 1, 4], [2 * ONE, 0, 3 * ONE, ONE])
    data = stream(source, "single", seq_len=None, shuffle=False, emit=("sample_ids",), batch_size=6)
    assert next(iter(data))["sample_ids"].tolist() == [1000, 1000, 1002, 1002, 1002, 1003]


def test_what_is_not_drawn_is_not_read() -> None:
    """Samples of the weight 0, and those that an epoch does not draw, are not decoded; nothing is decoded twice."""
    lengths = [500] * 4000
    weights = np.where(np.arange(4000) < 3000, 0, ONE // 2)
    for buffer in (64 << 20, 1):
        source = weighted(lengths, weights)
        data = stream(source, seq_len=500, batch_size=4, buffer=buffer, lanes=4, emit=("input_ids",))
        list(data)
        assert min(first for first, _ in source.reads) >= 3000
        # The first batch is read apart; a pool has all that may ever be drawn.
        assert source.values_read <= (1000 if buffer > 1 else 500) * 500 + 4 * 4 * 500
    heavy = weighted([500] * 100, [20 * ONE] * 100)
    list(stream(heavy, seq_len=500, batch_size=4, buffer=1, lanes=2, emit=("input_ids",)))
    assert heavy.values_read <= 100 * 500 + 4 * 4 * 500


RANKS, WORKERS, ROWS = (1, 2, 3, 4), (0, 2, 3), 12
RNG = np.random.default_rng(8)
SOURCE = weighted([37 * i % 61 for i in range(407)], RNG.lognormal(0, 1, 407) * ONE, eos_id=2)
SPANS = weighted([401 * i % 2903 for i in range(160)], RNG.lognormal(0, 1, 160) * ONE, eos_id=2)


def batches_of(
    monkeypatch: pytest.MonkeyPatch, ranks: int, workers: int, rows: int, make: Any
) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Return the global batches from a row on, made by so many ranks and workers one after another."""
    parts = []
    for rank in range(ranks):
        turns = []
        for worker in range(max(1, workers)):
            info = None if not workers else SimpleNamespace(num_workers=workers, id=worker)
            monkeypatch.setattr(module, "get_worker_info", lambda info=info: info)
            data = make(rank=rank, world_size=ranks)
            data.load_state_dict(data.state_at(rows=rows))
            turns.append(list(data))
        monkeypatch.undo()
        mine = [batch for group in itertools.zip_longest(*turns) for batch in group if batch is not None]
        parts.append(mine)
    found = []
    for group in zip(*parts, strict=True):
        joined = {name: torch.stack([batch[name] for batch in group], 1).flatten(0, 1).numpy() for name in group[0]}
        found.append(joined)
    return found


@settings(max_examples=12)
@given(st.sampled_from(PACKINGS), st.booleans(), st.sampled_from(RANKS), st.sampled_from(WORKERS), st.integers(0, 40))
def test_topology_and_resume(packing: str, is_pool: bool, ranks: int, workers: int, batch: int) -> None:
    """Any number of ranks and workers makes the same global batches, from any batch on."""
    options: dict[str, Any] = {"overlong": "truncate"} if packing in ("whole", "single") else {}
    source, seq_len = (SOURCE, 64) if is_pool else (SPANS, 2048)
    options |= {} if is_pool else {"buffer": 1, "lanes": 4}

    def make(**topology: Any) -> StreamingDataset:
        emit = ("input_ids", "labels", "valid")
        return stream(
            source, packing, seq_len=seq_len, global_batch_size=ROWS, epochs=2, seed=3, emit=emit, eos_id=2,
            **options, **topology,
        )  # fmt: skip

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("warnings.warn", lambda *args, **more: None)
        one = make(rank=0, world_size=1)
        batch = min(batch, len(one) - 1)
        want = list(one)[batch:]
        got = batches_of(monkeypatch, ranks, workers, batch * ROWS, make)
    assert len(got) == len(want)
    for mine, theirs in zip(got, want, strict=True):
        for name, values in mine.items():
            assert np.array_equal(values, theirs[name].numpy())


def test_mixture_of_weighted_and_plain(tmp_path: Path) -> None:
    """A mixture draws from a view with weights as from any other source, and goes on from its states."""
    schema = ts.Schema(tokens=ts.Tokens(1000), q=ts.Score())
    for name in ("a", "b"):
        with ts.create(tmp_path / name, schema) as writer:
            lengths = [(7 * i) % 40 + 1 for i in range(300)]
            values = np.concatenate([np.full(n, i + 1) for i, n in enumerate(lengths)])
            writer.extend(tokens=ts.Ragged(values, lengths), q=np.linspace(0, 3, 300))
    heavy, plain = ts.open(tmp_path / "a").weigh("q"), ts.open(tmp_path / "b")
    mix = ts.Mixture({"heavy": heavy, "plain": plain}, shares={"heavy": 0.5, "plain": 0.5})
    options: dict[str, Any] = {"packing": "single", "seq_len": 40, "batch_size": 32, "emit": ("input_ids", "source")}
    data = stream(mix, epochs=None, **options)
    alone = stream(heavy, epochs=4, **options)
    draws = [int(heavy.fixed_weights()[i]) / ONE for i in range(300)]
    batches = list(itertools.islice(data, 2 * 4 * alone.rows_per_epoch // 32))
    ids = torch.cat([batch["input_ids"][batch["source"] == 0] for batch in batches]).numpy()
    counts = np.bincount(ids[:, 0], minlength=301)[1:]
    epochs = len(ids) / alone.rows_per_epoch
    assert (np.abs(counts - np.array(draws) * epochs) <= 3.5).all()
    told = data.progress()
    assert {name for name in told if name.startswith("padded")} == {"padded/heavy"}
    state = json.loads(json.dumps(data.state_dict(batches[5])))
    again = stream(mix, epochs=None, **options)
    again.load_state_dict(state)
    assert next(iter(again))["input_ids"].equal(batches[6]["input_ids"])


@pytest.mark.parametrize("packing", PACKINGS)
def test_rows_of_the_second_source(packing: str) -> None:
    """The number of a source in a mixture is part of what it draws and shuffles by."""
    heavy = weighted([(5 * i) % 13 for i in range(40)], [(i * 9001) % 150_000 for i in range(40)])
    mix = ts.Mixture({"plain": FakeSource([7] * 30), "heavy": heavy}, shares={"plain": 0.5, "heavy": 0.5})
    emit = ("input_ids", "attention_mask", "source")
    rows = expected(heavy, 12, 0, (None, None), lanes=1, packing=packing, source=1)
    data = stream(mix, packing, seq_len=12, lanes=1, epochs=None, emit=emit)
    mine = (row for row in data if int(row["source"]) == 1)
    for _, ids in rows:
        row = next(mine)
        assert row["input_ids"].numpy()[: int(row["attention_mask"].sum())].tolist() == ids.tolist()


def test_processes_and_rows_without_samples(tmp_path: Path) -> None:
    """A worker process makes the same batches, also where a whole batch has nothing that was drawn."""
    with ts.create(tmp_path / "s", ts.Schema(tokens=ts.Tokens(99), q=ts.Score())) as writer:
        writer.extend(tokens=[[5, 6, 7], [8, 9]], q=[0.5, 0.25])
    emit = ("input_ids", "labels", "sample_ids", "valid", "q", "cu_seqlens")
    for seq_len in (4, None):
        data = stream(ts.open(tmp_path / "s").weigh("q"), "single", seq_len=seq_len, batch_size=1, epochs=20, emit=emit)
        alone = list(data)
        assert len(alone) == 20
        ids = torch.cat([batch["sample_ids"] for batch in alone]).tolist()
        valid = torch.cat([batch["valid"] for batch in alone]).tolist()
        assert valid == [one >= 0 for one in ids]
        assert 14 <= sum(valid) < 20
        assert all((batch["labels"] == -100).all() for batch, real in zip(alone, valid, strict=True) if not real)
        assert all(bool(torch.isnan(batch["q"]).all()) != real for batch, real in zip(alone, valid, strict=True))
        data.set_epoch(0)
        for one, other in zip(alone, data.loader(num_workers=1), strict=True):
            assert all(one[name].nan_to_num(9).equal(other[name].nan_to_num(9)) for name in emit)


def test_a_state_knows_the_weights(tmp_path: Path) -> None:
    """Other weights are another order: the state says so, by the name of what differs."""
    with ts.create(tmp_path / "s", ts.Schema(tokens=ts.Tokens(99), q=ts.Score())) as writer:
        writer.extend(tokens=[[5, 6, 7]] * 20, q=np.arange(20))
    store = ts.open(tmp_path / "s")
    state = stream(store.weigh("q", mean=1), seq_len=4).state_at(rows=3)
    stream(store.weigh("q", mean=1), seq_len=4).load_state_dict(state)
    for other in (store, store.weigh("q", mean=1.5), store.weigh("q", mean=1).select(["tokens"]).weigh(np.ones(20))):
        with pytest.raises(ValueError, match="the state has source"):
            stream(other, seq_len=4).load_state_dict(state)


def test_nothing_to_draw() -> None:
    """Weights that leave nothing to stream are refused at construction, with the reason."""
    with pytest.raises(ValueError, match="all weights are 0: there is nothing to draw"):
        stream(weighted([3, 4], [0, 0]), seq_len=8)
    with pytest.raises(ValueError, match="add up to less than one token"):
        stream(weighted([3, 4], [9, 9]), seq_len=8)
    with pytest.raises(ValueError, match="add up to no row"):
        stream(weighted([300, 4], [ONE, ONE // 8]), "single", seq_len=8, overlong="drop")
    with pytest.raises(ValueError, match=r"a sample has 9 values.*and a row 8"):
        stream(weighted([9, 4], [1, ONE]), "whole", seq_len=8, overlong="error")
    assert stream(weighted([9, 4], [0, ONE]), "whole", seq_len=8, overlong="error").rows_per_epoch == 1
    mix = ts.Mixture({"a": FakeSource([4] * 4), "b": weighted([4], [0])}, shares={"a": 1, "b": 1})
    with pytest.raises(ValueError, match="source 'b': all weights are 0"):
        stream(mix, seq_len=8, epochs=None)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:This DataLoader will create:UserWarning")
def test_workers_tell_what_they_pad_and_cut() -> None:
    """However many workers make the windows, each counts once, in every pass, with one source or several."""
    rng = np.random.default_rng(8)
    heavy = weighted(rng.integers(1, 200, 6000), rng.integers(0, 2 * ONE, 6000))
    light = weighted([7, 9, 30], [ONE, ONE // 2, ONE // 3])
    ends = {"heavy": 2, "light": 40}
    mix = ts.Mixture({"heavy": heavy, "light": light}, shares={"heavy": 9, "light": 1}, max_epochs=ends)  # type: ignore[dict-item]
    cases: list[tuple[Any, int, dict[str, Any]]] = [
        (heavy, 1, {"buffer": 1, "lanes": 3}),
        (heavy, 2, {"packing": "whole", "overlong": "truncate"}),
        (mix, 1, {}),
    ]
    for source, passes, options in cases:
        found = []
        for number in (0, 1, 2):
            data = stream(source, seq_len=64, batch_size=16, emit=("input_ids",), **options)
            loader: Any = data.loader(num_workers=number, multiprocessing_context="fork" if number else None)
            told = []
            for _ in range(passes):
                assert sum(1 for _ in loader) > 100
                told.append(data.progress())
            assert loader.state_dict() == data.state_at(rows=told[-1]["rows"])
            found.append(told)
        assert found[1:] == found[:-1]
        own = "" if source is heavy else "/light"
        assert found[0][-1][f"padded{own}"] + found[0][-1][f"cut{own}"] > 0
