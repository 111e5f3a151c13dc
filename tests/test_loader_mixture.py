"""Mixtures: shares as they are given, and streams of several sources (order.md 10)."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import tokstore as ts
from test_loader_fake import FakeSource, expected_rows, reference

A = FakeSource([7 * i % 50 for i in range(60)], eos_id=2)
B = FakeSource([11 * i % 37 for i in range(25)], eos_id=2)
C = FakeSource([5] * 8, eos_id=2)
LARGE = FakeSource([731 * i % 4001 for i in range(200)], eos_id=2)
LONG = FakeSource([70_000, 5, 0, 90_000, *[31 * i % 9_001 for i in range(90)]], eos_id=2)
THREE = {"a": 6, "b": 3, "c": 1}


def three(**options: Any) -> ts.Mixture:
    """Return a mixture of three small sources."""
    return ts.Mixture({"a": A, "b": B, "c": C}, **{"shares": THREE} | options)


def stream(mix: ts.Mixture, **options: Any) -> ts.StreamingDataset:
    """Return a stream of a mixture."""
    return ts.StreamingDataset(mix, **{"seq_len": 16, "batch_size": 4, "epochs": None} | options)


def first(data: ts.StreamingDataset, batches: int) -> list[Any]:
    """Return the next batches."""
    stream = iter(data)
    found = [next(stream) for _ in range(batches)]
    stream.close()  # type: ignore[attr-defined]
    return found


def ids(batches: list[Any]) -> list[list[int]]:
    """Return the ids of all rows."""
    return [row for batch in batches for row in batch["input_ids"].tolist()]


# What a mixture is ------------------------------------------------------------------------------------------------


def test_repr_and_names() -> None:
    """A mixture says what it is of; default shares are those of tokens; nested ones are taken apart."""
    assert repr(three()) == "Mixture(a 60 % of 1,420 tokens, b 30 % of 423 tokens, c 10 % of 40 tokens)".replace(
        "1,420", f"{A.token_count:,}"
    ).replace("423", f"{B.token_count:,}")
    even = ts.Mixture({"x": C, "y": FakeSource([15] * 8)})
    assert [float(share) for share in even.stages[0][1]] == [0.25, 0.75]
    inner = ts.Mixture({"a": A, "b": B}, shares={"a": 1, "b": 3}, stages=[(40, {"a": 0, "b": 1})])
    outer = ts.Mixture({"web": inner, "c": C}, shares={"web": 0.5, "c": 0.5}, stages=[(20, {"web": 1, "c": 3})])
    assert outer.names == ("web/a", "web/b", "c")
    told = [(row, [float(share) for share in shares]) for row, shares in outer.stages]
    assert told == [(0, [0.125, 0.375, 0.5]), (20, [0.0625, 0.1875, 0.75]), (40, [0, 0.25, 0.75])]
    assert "from row 40: web/a 0 %, web/b 25 %, c 75 %" in repr(outer)
    assert len(outer) == 3
    assert ts.Mixture({"a": A, "b": B}).fingerprint == ts.Mixture({"a": A, "b": B}).fingerprint
    assert three().fingerprint != three(shares={"a": 6, "b": 3, "c": 2}).fingerprint


NAN, INF = float("nan"), float("inf")
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"shares": THREE | {"b": -1}}, ValueError, "shares give 'b' -1, which is no number from 0 on"),
    ({"shares": THREE | {"b": NAN}}, ValueError, "shares give 'b' nan, which is no number"),
    ({"shares": THREE | {"b": INF}}, ValueError, "shares give 'b' inf, which is no number"),
    ({"shares": THREE | {"b": "1"}}, ValueError, "shares give 'b' '1', which is no number"),
    ({"shares": THREE | {"b": True}}, ValueError, "shares give 'b' True, which is no number"),
    ({"shares": {"a": 0, "b": 0, "c": 0}}, ValueError, "shares are all 0: nothing would be read"),
    ({"shares": {"a": 1, "b": 1}}, ValueError, "shares lack source 'c'; give it 0"),
    ({"shares": THREE | {"d": 1}}, ValueError, "shares name 'd', which is no source; There are: a, b, c"),
    ({"shares": [1, 2, 3]}, TypeError, "shares are a dict of a number per source"),
    ({"shares": THREE | {"c": 0}}, ValueError, "source 'c' has a share of 0 in every stage: leave it out"),
    ({"shares": THREE | {"c": 1e-7}}, ValueError, r"source 2 has a share of 1.11e-08.*none of 786,432.*2 is 'c'"),
    ({"stages": [(0, THREE)]}, ValueError, "stages ascend from row 1 on, and stage 0 begins at row 0"),
    ({"stages": [(9, THREE), (9, THREE)]}, ValueError, "stages ascend from row 1 on, and stage 1 begins at row 9"),
    ({"stages": [(5, {"a": 1, "b": 1, "c": 2}), (9, THREE)]}, ValueError, "the stage at row 9 begins at row 12"),
    ({"stages": [(5.0, THREE)]}, TypeError, "stage 0 begins at a row, an integer, not at 5.0"),
    ({"stages": [5]}, TypeError, "stage 0 is a pair of a row and shares, not 5"),
    ({"stages": [(9, {"a": 1})]}, ValueError, "the shares of the stage at row 9 lack source 'b'"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD, ids=lambda value: str(value)[:40])
def test_bad_mixtures(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """Each wrong argument is one clear error at construction."""
    with pytest.raises(error, match=message):
        three(**options)


def test_bad_sources() -> None:
    """Sources that do not go together, or are none, are refused by name."""
    with pytest.raises(TypeError, match="at least one store, view or path by name"):
        ts.Mixture({})
    with pytest.raises(TypeError, match="names of sources are texts, not 1"):
        ts.Mixture({1: A})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="source 'x' is a store, a view, a path or a mixture, not int"):
        ts.Mixture({"x": 5})
    with pytest.raises(ValueError, match="source 'y' has a vocabulary of 300 ids and 'x' one of 50,000"):
        ts.Mixture({"x": A, "y": FakeSource([3], vocab_size=300)})
    with pytest.raises(ValueError, match="source 'y' has no tokens: leave it out"):
        ts.Mixture({"x": A, "y": FakeSource([0])}, shares={"x": 1, "y": 1})
    with pytest.raises(ValueError, match="two sources are named 'x/a'"):
        ts.Mixture({"x": ts.Mixture({"a": A}), "x/a": B})
    with pytest.raises(ValueError, match="a mixture has no end: give epochs=None instead of epochs=1"):
        ts.StreamingDataset(three(), seq_len=16)
    with pytest.raises(ValueError, match="source 'b': a sample has 37 values"):
        stream(ts.Mixture({"c": C, "b": B}), packing="whole", seq_len=8, overlong="error")


# Rows ---------------------------------------------------------------------------------------------------------------

PACKINGS: list[dict[str, Any]] = [
    {},
    {"packing": "fit", "seq_len": 64},
    {"packing": "whole", "seq_len": 64, "overlong": "truncate"},
    {"packing": None, "seq_len": 64},
    {"shuffle": False},
    {"lanes": 5, "seed": 9, "bos_id": 4},
]


def check_rows(mix: ts.Mixture, count: int, **options: Any) -> None:
    """Compare the first rows with the reference: its mixture, and the rows of every source."""
    data = stream(mix, batch_size=1, emit=("input_ids", "source"), **options)
    shuffle, seq_len = options.get("shuffle", True), options.get("seq_len", 16)
    lanes = (options.get("lanes") or 12) if shuffle else 1
    stages = [
        reference.stage_of(reference.stage_start(row, lanes), reference.quantise(list(shares), lanes), lanes)
        for row, shares in mix.stages
    ]
    packing = options.get("packing", "concat") or "single"
    epochs: dict[tuple[int, int], Any] = {}

    def row_of(source: int, row: int) -> Any:
        size = data._plan.plans[source].rows  # type: ignore[union-attr]
        key = source, row // size
        if key not in epochs:
            epochs[key] = expected_rows(
                mix.sources[source],
                seq_len,
                key[1],
                bos=options.get("bos_id"),
                eos=2,
                shuffle=shuffle,
                lanes=lanes if shuffle else None,
                seed=options.get("seed", 0),
                buffer=reference.source_buffer(options.get("buffer", 64 << 20), stages, source),
                packing=packing,
                overlong=options.get("overlong", "split"),
                source=source,
            )
            assert len(epochs[key]) == size
        return epochs[key][row % size].ids.tolist()

    for batch, (source, row) in zip(first(data, count), reference.mixture_rows(stages, lanes, count), strict=True):
        want = row_of(source, row)
        assert batch["source"].tolist() == [source]
        assert batch["input_ids"][0].tolist() == want + [2] * (seq_len - len(want))


@pytest.mark.parametrize("options", PACKINGS, ids=str)
def test_rows_are_those_of_the_reference(options: dict[str, Any]) -> None:
    """In every packing, over epochs and stages, value by value."""
    check_rows(three(stages=[(100, {"a": 0, "b": 1, "c": 1}), (170, {"a": 1, "b": 0, "c": 0})]), 260, **options)


@pytest.mark.parametrize("packing", ["concat", "fit", "whole"])
def test_rows_from_windows(packing: str) -> None:
    """The same where sources are too large for the buffer, and one is not."""
    mix = ts.Mixture({"x": LARGE, "y": LONG, "c": C}, shares={"x": 5, "y": 4, "c": 1})
    overlong = {"overlong": "truncate"} if packing == "whole" else {}
    check_rows(mix, 150, buffer=1, seq_len=3000, packing=packing, **overlong)


@pytest.mark.parametrize("packing", ["concat", "fit", "whole", None])
@pytest.mark.parametrize("lanes", [1, 12])
def test_every_source_is_whole_once_an_epoch(packing: Any, lanes: int) -> None:
    """What was read of a source are its first epochs, whole, but for the rows that lanes are apart."""
    data = stream(three(), packing=packing, seq_len=64, lanes=lanes, emit=("input_ids", "source"))
    counts: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(3)]
    for batch in first(data, 400):
        for row, source in zip(batch["input_ids"].tolist(), batch["source"].tolist(), strict=True):
            counts[source][tuple(row)] += 1
    for number, count in enumerate(counts):
        plan, epochs = data._plan.plans[number], Counter[tuple[int, ...]]()  # type: ignore[union-attr]
        reader = data._reader(ThreadPoolExecutor(1))._readers[number]  # type: ignore[union-attr]
        read = sum(count.values())
        slab = reader.slab(np.arange(read + 10 * lanes), np.zeros(0, np.int64))
        epochs.update(tuple(row) for row in slab.ids[: read - 10 * lanes].tolist())
        assert epochs <= count
        epochs.update(tuple(row) for row in slab.ids[read - 10 * lanes :].tolist())
        assert count <= epochs
        assert plan.rows * 2 < read


def test_draws_are_rows_of_epochs() -> None:
    """Up to a row at which all lanes have finished an epoch of a source, each of its samples came equally often."""
    mix = ts.Mixture({"c": C, "d": FakeSource([6] * 24, eos_id=2)}, shares={"c": 1, "d": 1})
    data = stream(mix, packing=None, seq_len=8, batch_size=1, lanes=1, emit=("sample_ids", "source"))
    found: list[list[int]] = [[], []]
    for row in first(data, 600):
        found[int(row["source"])].append(int(row["sample_ids"]))
    for mine, size in zip(found, (8, 24), strict=True):
        for epoch in range(len(mine) // size):
            assert sorted(mine[epoch * size : (epoch + 1) * size]) == list(range(1000, 1000 + size))


def test_shares_of_prefixes() -> None:
    """Any run of rows from the start, and from a stage, is within 4 rows of the shares."""
    mix = three(stages=[(600, {"a": 1, "b": 1, "c": 8})])
    data = stream(mix, batch_size=50, emit=("source",))
    source = torch.cat([batch["source"] for batch in first(data, 24)]).numpy()
    for begin, stop, shares in ((0, 600, (0.6, 0.3, 0.1)), (600, 1200, (0.1, 0.1, 0.8))):
        for number, share in enumerate(shares):
            came = np.cumsum(source[begin:stop] == number)
            assert np.abs(came - share * np.arange(1, stop - begin + 1)).max() <= 4.1


# Processes and states -----------------------------------------------------------------------------------------------

KEYS = ("input_ids", "labels", "position_ids", "source", "sample_ids", "document_ids")
MIXES = {
    "pools": (three, {"seq_len": 16}),
    "windows": (
        lambda: ts.Mixture({"x": LARGE, "y": LONG, "c": C}, shares={"x": 70, "y": 29, "c": 1}),
        {"seq_len": 2000, "buffer": 1, "labels": "next"},
    ),
    "whole": (
        lambda: ts.Mixture({"x": LARGE, "c": C}, stages=[(48, {"x": 1, "c": 1})]),
        {"seq_len": 5000, "buffer": 1, "packing": "whole", "overlong": "drop"},
    ),
    "ragged": (three, {"seq_len": None, "packing": None}),
}


def widths(batch: Any) -> list[int]:
    """Return the values of the rows of a batch."""
    return (batch["document_ids"] >= 0).sum(1).tolist()  # type: ignore[no-any-return]


def rows_by_number(batch: Any) -> dict[int, tuple[Any, ...]]:
    """Return what every row of a batch is, by its number."""
    names = ("input_ids", "labels", "position_ids")
    return {
        number: (*(one[:n] for one in row), source)
        for number, n, source, *row in zip(
            batch.rows, widths(batch), batch["source"].tolist(), *(batch[name].tolist() for name in names), strict=True
        )
    }


@pytest.mark.parametrize("kind", MIXES)
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_same_batches_for_any_ranks_and_resume(kind: str, ranks: int) -> None:
    """Ranks share the global batches of one process, from the start and from any state, and so do workers."""
    make, options = MIXES[kind]
    options = options | {"batch_size": None, "global_batch_size": 6, "emit": KEYS}
    whole: dict[int, tuple[Any, ...]] = {}
    one = stream(make(), **options)
    batches = first(one, 40)
    for batch in batches:
        whole |= rows_by_number(batch)
    assert len(whole) == 240
    for begin in (0, 1, 7, 25):
        state = json.loads(json.dumps(one.state_at(batches=begin)))
        assert one.state_dict(batches[begin - 1]) == state or begin == 0
        found: dict[int, tuple[Any, ...]] = {}
        for rank in range(ranks):
            data = stream(make(), **options, rank=rank, world_size=ranks)
            data.load_state_dict(state)
            for batch in first(data, 8):
                found |= rows_by_number(batch)
        assert found == {number: whole[number] for number in range(begin * 6, begin * 6 + 48)}


@pytest.mark.parametrize("workers", [1, 2])
def test_workers(workers: int) -> None:
    """Worker processes hand out the batches of this process; states of the loader are those behind its batches."""
    # With an end, because a worker that is stopped while it sends may abort, which torch reports as an error.
    mix = ts.Mixture({"x": LARGE, "c": C}, shares={"x": 9, "c": 1}, max_epochs={"x": 1, "c": 9})
    options: dict[str, Any] = {"seq_len": 2000, "buffer": 1, "emit": ("input_ids", "source")}
    want = list(stream(mix, **options))
    loader = stream(mix, **options).loader(num_workers=workers, multiprocessing_context="spawn")
    found, state = [], {}
    for batch in loader:
        found.append(batch)
        if len(found) == 9:
            state = loader.state_dict()
    assert state["rows"] == 36
    assert len(want) == 52
    assert ids(found) == ids(want)
    again = stream(mix, **options)
    again.load_state_dict(state)
    assert ids(first(again, 5)) == ids(want[9:14])


def test_single_rows_and_pickles() -> None:
    """Single rows collate as people type them; a pickled stream goes on alike; `set_epoch` moves nothing."""
    want = ids(first(stream(three()), 5))
    data = stream(three(), batch_size=None)
    data.set_epoch(7)
    got = []
    for batch in DataLoader(data, batch_size=4):
        got += batch["input_ids"].tolist()
        if len(got) == 20:
            break
    assert got == want
    assert ids(first(pickle.loads(pickle.dumps(stream(three()))), 5)) == want
    with pytest.raises(TypeError, match="a mixture has no epoch of its own"):
        _ = data.rows_per_epoch
    assert repr(data) == f"StreamingDataset({three()!r}, rows of 16, concat, 12 lanes, seed 0)"


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 90), st.integers(0, 60), st.integers(1, 5))
def test_other_shares_from_a_row_on(read: int, more: int, size: int) -> None:
    """A state goes on under a later stage that its stream did not have: nothing lost, nothing repeated."""
    old = stream(three(), batch_size=size)
    begin = read * size
    state = old.state_at(rows=begin)
    new = three(stages=[(begin + more, {"a": 1, "b": 5, "c": 0})])
    data = stream(new, batch_size=size)
    data.load_state_dict(state)
    want = ids(first(stream(new, batch_size=size), read + 40))[begin:]
    assert ids(first(data, 40)) == want
    turn = -(-(begin + more) // 12) * 12
    assert ids(first(old, read + 40))[begin:turn] == want[: max(0, turn - begin)]


def test_contradicting_shares() -> None:
    """Shares that contradict what was read are refused with a way out, and `accept` takes it."""
    state = stream(three()).state_at(rows=37)
    other = three(shares={"a": 1, "b": 1, "c": 1})
    with pytest.raises(
        ValueError, match=r"the state has other shares before row 37.*stages=\[\(37, ...\)\], or accept"
    ):
        stream(other).load_state_dict(state)
    data = stream(other)
    data.load_state_dict(state, accept=["stages"])
    same = stream(three(stages=[(37, {"a": 1, "b": 1, "c": 1})]))
    same.load_state_dict(state)
    assert ids(first(data, 30)) == ids(first(same, 30))
    assert data.state_at(rows=90) == same.state_at(rows=90)
    # The state after that tells both stages.
    again = stream(three(stages=[(40, {"a": 1, "b": 1, "c": 1})]))
    again.load_state_dict(data.state_at(rows=90))


def test_windows_of_the_state() -> None:
    """Other shares would lead to other windows; a stream that goes on keeps those of its state."""
    big = FakeSource([9_973] * 600, eos_id=2)
    sources = {"x": big, "y": LARGE}
    options: dict[str, Any] = {"seq_len": 4000, "buffer": 8 << 20, "lanes": 2}
    old = ts.Mixture(sources, shares={"x": 1, "y": 9})
    new = ts.Mixture(sources, shares={"x": 1, "y": 9}, stages=[(16, {"x": 9, "y": 1})])
    state = stream(old, **options).state_at(rows=8)
    assert stream(new, **options).state_at(rows=8)["window/x"] != state["window/x"]
    want = ids(first(stream(old, **options), 4))[8:16]
    data = stream(new, **options)
    data.load_state_dict(state)
    assert ids(first(data, 2)) == want
    assert data.state_at(rows=8)["window/x"] == state["window/x"]


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"stages": "[]"}, r"the state has stages '\[\]', which are none of 3 sources in 12 lanes"),
    ({"stages": "[[0, [1, 2, 3]]]"}, "which are none of 3 sources"),
    ({"stages": None}, "which are none of 3 sources"),
    ({"window/a": 5}, "window/a of the state is an integer from 65536"),
    ({"pooled/b": 2}, "pooled/b of the state is an integer from 0 to 1"),
    ({"source/c": "other"}, "the state has source/c 'other'"),
    ({"seed": 4}, "the state has seed 4, this stream 0"),
    ({"sources": '["a", "b"]'}, "the state has sources"),
    ({"lanes": 24}, "the state has lanes 24, this stream 12"),
    ({"rows": -1}, "rows of the state is an integer from 0"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN, ids=str)
def test_states_from_elsewhere(change: dict[str, Any], message: str) -> None:
    """A state of another mixture says what differs."""
    state = stream(three()).state_at(rows=8)
    data = stream(three())
    with pytest.raises((ValueError, TypeError), match=message):
        data.load_state_dict(state | change)
    with pytest.raises(ValueError, match="the state has"):
        ts.StreamingDataset(A, seq_len=16).load_state_dict(state)


def test_progress_and_samples() -> None:
    """Progress counts rows, tokens and epochs of each source; `samples_at` tells the source of each piece."""
    data = stream(three(), batch_size=12)
    batches = first(data, 50)
    told = data.progress()
    assert told["rows"] == 600 == sum(told[f"rows/{name}"] for name in "abc")
    assert told["rows/a"] == pytest.approx(360, abs=4)
    assert told["tokens"] == sum(told[f"tokens/{name}"] for name in "abc")
    assert told["epoch"] == min(told[f"epochs/{name}"] for name in "abc")
    assert told["epochs/c"] == told["rows/c"] // 3  # 8 samples of 6 values, eos included, in rows of 16
    found = data.samples_at(batches=3)
    where = dict(zip(found["row"].tolist(), found["source"].tolist(), strict=True))
    data = stream(three(), batch_size=12, emit=("input_ids", "source", "sample_ids"))
    batch = first(data, 4)[3]
    assert [where[row] for row in batch.rows] == batch["source"].tolist()
    assert found["sample_id"].tolist() == batch["sample_ids"].tolist() == (found["position"] + 1000).tolist()
    assert ids([batch]) == ids([batches[3]])


def test_a_single_source() -> None:
    """Streams of one source say 0, and -1 for rows that fill up; a mixture of one has the rows of its source."""
    data = ts.StreamingDataset(C, seq_len=16, batch_size=2, emit=("input_ids", "source"))
    assert [batch["source"].tolist() for batch in data] == [[0, 0], [0, -1]]
    alone = ts.StreamingDataset(A, seq_len=16, batch_size=4, epochs=None)
    assert ids(first(alone, 40)) == ids(first(stream(ts.Mixture({"a": A})), 40))


def test_windows_are_decoded_once() -> None:
    """A source with a small share keeps its windows while others take most rows."""
    small, large = FakeSource([9_973] * 60, eos_id=2), FakeSource([9_973] * 600, eos_id=2)
    mix = ts.Mixture({"large": large, "small": small}, shares={"large": 99, "small": 1})
    data = stream(mix, seq_len=4000, buffer=1, lanes=4, batch_size=8)
    assert [plan.pooled for plan in data._plan.plans] == [False, False]  # type: ignore[union-attr]
    first(data, 700)
    told = data.progress()
    assert told["epochs/small"] == 0
    assert small.values_read <= small.token_count
    assert large.values_read <= (told["epochs/large"] + 1) * large.token_count * 1.05


# Stores -------------------------------------------------------------------------------------------------------------


def test_stores_views_and_paths(tmp_path: Path) -> None:
    """Stores, views and paths as sources, with columns of all of them; later commits move nothing."""
    schema = ts.Schema(tokens=ts.Tokens(300, eos_id=0), score=ts.Score(), name=ts.Text())
    for number, name in enumerate(("x", "y", "z")):
        with ts.create(str(tmp_path / name), schema) as writer:
            writer.extend(
                tokens=[[number * 100 + 1 + i % 90] * 5 for i in range(40)],
                score=[number + i / 64 for i in range(40)],
                name=[f"{name}{i}" for i in range(40)],
            )
    store = ts.open(str(tmp_path / "x"))
    view = ts.open(str(tmp_path / "y")).where("score >= 1.25")
    mix = ts.Mixture({"x": store, "y": view, "z": tmp_path / "z"}, shares={"x": 1, "y": 1, "z": 2})
    data = stream(mix, packing=None, seq_len=8, emit=("input_ids", "source", "score", "name", "sample_ids"))
    before = data.state_at(rows=0)
    for batch in first(data, 30):
        for row, source, score, name, sample in zip(
            *(list(batch[key]) for key in ("input_ids", "source", "score", "name", "sample_ids")), strict=True
        ):
            assert row[0] == int(source) * 100 + 1 + int(sample)
            assert float(score) == int(source) + int(sample) / 64
            assert name == f"{'xyz'[int(source)]}{int(sample)}"
    with store.writer() as writer:
        writer.extend(tokens=[[5]], score=[1.0], name=["new"])
    assert stream(mix, packing=None, seq_len=8).state_at(rows=0) == before
    with pytest.raises(ValueError, match="the state has source/x"):
        stream(ts.Mixture({"x": store, "y": view, "z": tmp_path / "z"}, shares={"x": 1, "y": 1, "z": 2}), packing=None,
               seq_len=8).load_state_dict(before)  # fmt: skip
