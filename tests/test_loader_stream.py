"""`StreamingDataset` as people use it: arguments, lengths, passes, states, DataLoader."""

from __future__ import annotations

import copy
import json
import multiprocessing
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from test_loader_fake import FakeSource
from tokstore.loader import Batch, StreamingDataset
from tokstore.mixture import Mixture

SOURCE = FakeSource([7 * i % 50 for i in range(60)], eos_id=2)


def stream(**options: Any) -> StreamingDataset:
    """Return a stream of a small source."""
    return StreamingDataset(SOURCE, **{"seq_len": 16, "batch_size": 4} | options)


def rows_of(batches: Any) -> list[list[int]]:
    """Return the ids of all rows."""
    return [row for batch in batches for row in batch["input_ids"].tolist()]


ALONE: dict[str, Any] = {"batch_size": None}
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"seq_len": 1}, ValueError, r"seq_len is an integer from 2 to 1073741824, not 1"),
    ({"seq_len": 2.0}, TypeError, r"seq_len is an integer, not 2.0"),
    ({"batch_size": 0}, ValueError, r"batch_size is an integer from 1"),
    ({"batch_size": True}, TypeError, r"batch_size is an integer, not True"),
    ({"seed": -1}, ValueError, r"seed is an integer from 0"),
    ({"epochs": 0}, ValueError, r"epochs is an integer from 1"),
    ({"packing": "best"}, ValueError, r"packing is one of 'concat', 'fit', 'whole', None, not 'best'"),
    ({"packing": "fit", "seq_len": None}, ValueError, r"packing='fit' needs seq_len"),
    ({"packing": "whole", "overlong": "split"}, ValueError, r"packing='whole' cuts no sample: overlong is 'truncate'"),
    ({"packing": "whole", "overlong": "error", "seq_len": 20}, ValueError, r"a sample has 50 values.*and a row 20"),
    ({"packing": "fit", "overlong": "drop"}, ValueError, r"packing='fit' splits what is longer than a row"),
    ({"overlong": "cut"}, ValueError, r"overlong is one of 'split', 'truncate', 'drop', 'error', None, not 'cut'"),
    ({"labels": "shifted"}, ValueError, r"labels is one of 'same', 'next', None, not 'shifted'"),
    ({"documents": "apart"}, ValueError, r"documents is one of 'separate', 'joined'"),
    ({"emit": ("input_ids", "tokens")}, ValueError, r"emit has 'tokens', which is none of input_ids, labels, .*nor a"),
    ({"emit": ("input_idz",)}, ValueError, r"did you mean 'input_ids'\?"),
    ({"emit": "input_ids"}, TypeError, r"emit is a sequence of names"),
    ({"emit": ("labels",), "labels": None}, ValueError, r"emit names nothing"),
    ({"bos_id": 50_000}, ValueError, r"bos_id is an integer from 0 to 49999, not 50000"),
    ({"eos_id": "none"}, TypeError, r"eos_id is an integer, not 'none'"),
    ({"lanes": 0}, ValueError, r"lanes is an integer from 1 to 65536, not 0"),
    ({"lanes": 4, "shuffle": False}, ValueError, r"lanes is for shuffled streams"),
    ({"buffer": 0}, ValueError, r"buffer is an integer from 1"),
    ({"threads": 0}, ValueError, r"threads is an integer from 1 to 256, not 0"),
    ({"drop_last": True, "batch_size": None}, ValueError, r"drop_last needs a batch_size"),
    ({"global_batch_size": 8}, ValueError, r"give either batch_size, of this rank, or global_batch_size"),
    (ALONE | {"global_batch_size": 0}, ValueError, r"global_batch_size is an integer from 1"),
    (ALONE | {"global_batch_size": 8, "rank": 0, "world_size": 3}, ValueError, r"3 ranks cannot share global_batch_s"),
    ({"rank": 0}, ValueError, r"rank and world_size go together"),
    ({"world_size": 1}, ValueError, r"rank and world_size go together"),
    ({"rank": 2, "world_size": 2}, ValueError, r"rank is an integer from 0 to 1, not 2"),
    ({"rank": -1, "world_size": 2}, ValueError, r"rank is an integer from 0 to 1, not -1"),
    ({"rank": 0, "world_size": 0}, ValueError, r"world_size is an integer from 1"),
    ({"rank": 0, "world_size": 1, "process_group": object()}, ValueError, r"give either rank and world_size or proc"),
    ({"process_group": object()}, ValueError, r"process_group is given, but torch.distributed is not initialized"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD, ids=lambda value: str(value)[:40])
def test_bad_arguments(options: dict[str, Any], error: type[Exception], message: str) -> None:
    """Each wrong argument is one clear error at construction."""
    with pytest.raises(error, match=message):
        stream(**options)


def test_bad_sources() -> None:
    """A path, and a view without tokens, are told apart."""
    with pytest.raises(TypeError, match=r"source is a store or view, such as ts.open\('corpus'\), not str"):
        StreamingDataset("corpus", seq_len=8)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the view has no tokens: there is nothing to stream"):
        StreamingDataset(FakeSource([0, 0]), seq_len=8)
    assert StreamingDataset(FakeSource([0, 0]), seq_len=8, eos_id=1).rows_per_epoch == 1


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 without RANK"),
        ({"RANK": "1"}, "RANK=1 without WORLD_SIZE"),
        ({"RANK": "0"}, "RANK=0 without WORLD_SIZE"),
        ({"RANK": "0", "WORLD_SIZE": "many"}, "WORLD_SIZE='many', which is no number"),
        ({"RANK": "", "WORLD_SIZE": "2"}, "RANK='', which is no number"),
        ({"RANK": "-1", "WORLD_SIZE": "1"}, "RANK='-1', which is no number"),
        ({"RANK": "1.0", "WORLD_SIZE": "2"}, "RANK='1.0', which is no number"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK=2 of WORLD_SIZE=2"),
        ({"RANK": "0", "WORLD_SIZE": "0"}, "RANK=0 of WORLD_SIZE=0"),
    ],
)
def test_environments_that_tell_no_rank(
    environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the environment says must be a rank of a number of ranks; never is it silently rank 0."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        stream()
    assert list(next(iter(stream(rank=0, world_size=1))).rows) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("environment", "rows"),
    [
        ({}, range(4)),
        ({"WORLD_SIZE": "1"}, range(4)),
        ({"WORLD_SIZE": "1", "RANK": "0"}, range(4)),
        ({"WORLD_SIZE": "3", "RANK": "1"}, range(1, 12, 3)),
        ({"WORLD_SIZE": "2", "RANK": " 1 ", "LOCAL_RANK": "0"}, range(1, 8, 2)),
    ],
)
def test_ranks_of_the_environment(environment: dict[str, str], rows: range, monkeypatch: pytest.MonkeyPatch) -> None:
    """A launcher's RANK and WORLD_SIZE count at construction, and no longer; arguments win over them."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    data, told = stream(), stream(rank=1, world_size=4)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert next(iter(data)).rows == rows
    assert next(iter(told)).rows == range(1, 16, 4)
    assert ("rank 1 of" in repr(data)) == (rows.step > 1)


def rank_of_a_process(number: int, meeting: str, answers: Any) -> None:
    """As one of three processes of gloo, tell which rows come first: of all ranks, and of the last two as a group."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=number, world_size=3)
    group = dist.new_group([1, 2])
    found: list[Any] = [next(iter(stream())).rows]
    found.append(next(iter(stream(rank=0, world_size=1))).rows)
    try:
        found.append(next(iter(stream(process_group=group))).rows)
    except ValueError as error:
        found.append(str(error))
    answers.put((number, found))
    dist.barrier()
    dist.destroy_process_group()


def test_ranks_of_torch_distributed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks are those of torch.distributed, or of a group of it, and not of the environment then."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    context = multiprocessing.get_context("spawn")
    answers, meeting = context.Queue(), str(tmp_path / "meeting")
    processes = [context.Process(target=rank_of_a_process, args=(number, meeting, answers)) for number in range(3)]
    for process in processes:
        process.start()
    found = dict(answers.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    for number in range(3):
        everyone, alone, group = found[number]
        assert everyone == range(number, 12, 3)
        assert alone == range(4)
        assert group == (range(number - 1, 8, 2) if number else "this process is not in process_group")


def test_more_ranks_than_lanes() -> None:
    """More ranks than lanes decode blocks several times: said with the cost, unless the source is held whole."""
    for ranks, times in ((3, 3), (4, 2), (6, 3)):
        with pytest.warns(UserWarning, match=rf"{ranks} ranks read 2 lanes: .*decoded {times} times; lanes={ranks} "):
            stream(rank=0, world_size=ranks, lanes=2, buffer=1)
    stream(rank=0, world_size=2, lanes=2, buffer=1)
    stream(rank=0, world_size=6, lanes=2)
    stream(rank=0, world_size=6, shuffle=False)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 4, 7, 1000])
def test_length(batch_size: int, epochs: int, drop_last: bool) -> None:
    """`len` is the number of batches, all of one shape; the last is filled up, or left out."""
    data = stream(batch_size=batch_size, epochs=epochs, drop_last=drop_last)
    batches = list(data)
    rows = epochs * data.rows_per_epoch
    assert len(batches) == len(data) == (rows // batch_size if drop_last else -(-rows // batch_size))
    assert {tuple(batch["labels"].shape) for batch in batches} <= {(batch_size, 16)}
    assert [n for batch in batches for n in batch.rows] == list(range(rows))[: len(data) * batch_size]


def test_passes_go_on() -> None:
    """Each `iter()` is the next epochs; endless streams go on behind the last row; `set_epoch` chooses."""
    whole = rows_of(stream(epochs=4, batch_size=1))
    n = len(whole) // 4
    data = stream(batch_size=1)
    assert rows_of(data) + rows_of(data) == whole[: 2 * n]
    data.set_epoch(3)
    assert rows_of(data) == whole[3 * n :]
    two = stream(batch_size=1, epochs=2)
    assert rows_of(two) + rows_of(two) == whole
    endless = stream(batch_size=1, epochs=None)
    with pytest.raises(TypeError, match="epochs=None has no length"):
        len(endless)
    first = [batch for batch, _ in zip(endless, range(n + 5), strict=False)]
    second = [batch for batch, _ in zip(endless, range(5), strict=False)]
    assert second[0].rows.start in (n + 5, n + 6)
    assert rows_of(first)[: n + 5] == whole[: n + 5]
    assert rows_of(second) == whole[second[0].rows.start :][:5]


@settings(max_examples=40)
@given(st.integers(0, 400), st.integers(1, 9), st.integers(1, 3), st.booleans())
def test_resume(batches: int, batch_size: int, epochs: int, drop_last: bool) -> None:
    """From the state after any number of batches, through JSON, exactly the batches come that would have come."""
    options = {"batch_size": batch_size, "epochs": epochs, "drop_last": drop_last}
    data = stream(**options)
    batches %= 2 * len(data) + 1
    every = [batch for _ in range(4) for batch in data]
    state = json.loads(json.dumps(stream(**options).state_at(batches=batches)))
    if batches and not (drop_last and batches % len(data) == 0):
        assert data.state_dict(every[batches - 1]) == state
    again = stream(**options)
    again.load_state_dict(state)
    again.set_epoch(0)
    left = list(again) + list(again)
    expected = every[batches : batches + len(left)]
    assert [batch.rows for batch in left] == [batch.rows for batch in expected]
    assert all(torch.equal(a[k], b[k]) for a, b in zip(left, expected, strict=True) for k in a)


def test_states_of_other_orders() -> None:
    """A state that belongs to another order is refused, with what differs."""
    state = stream().state_at(rows=5)
    assert set(map(type, state.values())) == {int, str}
    for options, name in (({"seed": 1}, "seed"), ({"seq_len": 8}, "seq_len"), ({"lanes": 3}, "lanes")):
        with pytest.raises(ValueError, match=rf"the state has {name} .*another order"):
            stream(**options).load_state_dict(state)
    with pytest.raises(ValueError, match="pooled 1, this stream 0: another order; windows follow from buffer"):
        stream(buffer=1, lanes=12).load_state_dict(state | {"window": 65_536})
    with pytest.raises(ValueError, match="the state has source 'fake-60-1440', this stream 'fake-2-9'"):
        StreamingDataset(FakeSource([4, 5]), seq_len=16, batch_size=4).load_state_dict(state)
    with pytest.raises(TypeError, match="rows of the state is an integer, not '5'"):
        stream().load_state_dict(state | {"rows": "5"})


def test_what_is_no_state() -> None:
    """Whatever comes from elsewhere is refused as what it is, and the stream stays where it was."""
    data = stream()
    state = data.state_at(rows=5)
    mix = StreamingDataset(Mixture({"a": FakeSource([4, 5])}), seq_len=16, batch_size=4, epochs=None)
    bad: list[tuple[Any, Any, type[Exception], str]] = [
        (data, None, TypeError, "a state is a dict that state_dict or state_at gave, not NoneType"),
        (data, [state], TypeError, "not list"),
        (data, {}, ValueError, "this is no state of a stream, which has 'order_version' and 'rows': it has nothing"),
        (data, {"layer.weight": 1}, ValueError, "it has 'layer.weight'"),
        (data, {k: v for k, v in state.items() if k != "rows"}, ValueError, "no state of a stream"),
        (data, mix.state_at(rows=1), ValueError, "the state has sources of a mixture, and this stream has one source"),
        (mix, state, ValueError, "the state has one source, and this stream is of a mixture"),
        (data, state | {"rows": -1}, ValueError, "rows of the state is an integer from 0"),
        (data, state | {"rows": 1 << 70}, ValueError, "rows of the state is an integer from 0"),
        (data, state | {"order_version": 2}, ValueError, "the state has order_version 2, this stream 1"),
    ]
    for one, other, error, message in bad:
        with pytest.raises(error, match=message):
            one.load_state_dict(other)
        with pytest.raises(error, match=message):
            one.loader().load_state_dict(other)
    with pytest.raises(TypeError, match=r"accept is a sequence of names, such as \['source'\]"):
        data.load_state_dict(state, accept="source")
    with pytest.raises(ValueError, match="a name in accept is one of 'source'"):
        data.load_state_dict(state, accept=["tokens"])
    assert data.progress()["rows"] == 0
    assert next(iter(data)).rows.start == 0


def test_states_and_running_iterators() -> None:
    """A state cannot be loaded under a running iterator; after it is closed, at its end or gone, it can."""
    data = stream()
    state = data.state_at(rows=3)
    iterator: Any = iter(data)
    with pytest.raises(RuntimeError, match="load_state_dict while an iterator is running"):
        data.load_state_dict(state)
    iterator.close()
    data.load_state_dict(state)
    list(data)
    data.load_state_dict(state)
    assert next(iter(data)).rows.start == 3
    with pytest.raises(TypeError, match="state_dict takes a Batch of this stream, not dict"):
        data.state_dict({})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="give either rows or batches"):
        data.state_at()


def test_batches_refuse_to_be_collated() -> None:
    """Batches in a DataLoader that would stack them are refused; rows are what it wants."""
    with pytest.raises(ValueError, match=r"2 batches of StreamingDataset came to a collate function.*batch_size=None"):
        next(iter(DataLoader(stream(), batch_size=2)))
    rows = DataLoader(stream(batch_size=None), batch_size=4, drop_last=True)
    whole = rows_of(stream(drop_last=True))
    assert rows_of(rows) == whole
    assert rows_of(DataLoader(stream(drop_last=True), batch_size=None)) == whole


def test_batch_is_a_dict() -> None:
    """A batch is a dict that pickles, copies and moves with its rows."""
    batch: Batch = next(iter(stream(shuffle=False)))
    assert isinstance(batch, dict)
    assert repr(batch) == "Batch(input_ids=int64[4, 16], labels=int64[4, 16], position_ids=int64[4, 16], rows=0…3)"
    others: list[Any] = [pickle.loads(pickle.dumps(batch)), copy.copy(batch), batch.to(torch.int64)]
    for other in others:
        assert isinstance(other, Batch)
        assert other.rows == range(4)
        assert torch.equal(other["labels"], batch["labels"])
    assert batch.to(torch.int32)["labels"].dtype == torch.int32
    anew = type(batch)(dict(batch))
    assert repr(anew).endswith("no rows)")
    with pytest.raises(ValueError, match="this batch was made anew and lost its place"):
        stream(shuffle=False).state_dict(anew)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_one_worker() -> None:
    """One worker gives the same batches; `loader()` goes on to the next epoch although its worker is a copy."""
    want = rows_of(stream(epochs=2, batch_size=5)), rows_of(stream(batch_size=5))
    data = stream(batch_size=5)
    loader = data.loader(num_workers=1)
    first = rows_of(loader)
    assert len(loader) == len(data)
    assert first == want[1]
    second = rows_of(loader)
    n = data.rows_per_epoch
    assert second[:n] == want[0][n : 2 * n]
    for wrong, error in ((-1, ValueError), ("2", TypeError), (1025, ValueError)):
        with pytest.raises(error, match="num_workers is an integer"):
            data.loader(num_workers=wrong)  # type: ignore[arg-type]


def test_workers_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one of three workers of a DataLoader the stream makes every third batch, and all of them make all."""
    every = [batch.rows for batch in stream(batch_size=5)]
    for number in range(3):
        told = SimpleNamespace(num_workers=3, id=number)
        monkeypatch.setattr("tokstore.loader.dataset.get_worker_info", lambda told=told: told)
        assert [batch.rows for batch in stream(batch_size=5)] == every[number::3]


@pytest.mark.parametrize("eos", [None, 1])
def test_next_labels_go_on_across_spans(eos: int | None) -> None:
    """In view order with `fit`, each id has the next one of its sample, also where groups, spans and windows end."""
    lengths = [300_000, 5, 262_144, 270_000, 3]
    source = FakeSource(lengths, vocab_size=1 << 24)
    source.ids = lambda sample, place: np.asarray(2 + sample * 1_000_000 + place)
    data = StreamingDataset(
        source, seq_len=2048, packing="fit", shuffle=False, labels="next", batch_size=64, eos_id=eos,
        emit=("input_ids", "labels", "attention_mask"),
    )  # fmt: skip
    seen = 0
    for batch in data:
        ids, labels = (batch[name][batch["attention_mask"] == 1].numpy() for name in ("input_ids", "labels"))
        sample, place = np.divmod(ids - 2, 1_000_000)
        last = place == np.array(lengths)[np.maximum(sample, 0)] - 1
        want = np.where(last, -100 if eos is None else eos, ids + 1)
        assert np.array_equal(labels, np.where(ids == 1, -100, want))
        seen += len(ids)
    assert seen == sum(lengths) + (0 if eos is None else len(lengths))


def test_pickled_streams() -> None:
    """A stream pickles, with its place, without its threads and decoded tokens."""
    data = stream(batch_size=1)
    rows_of(data)
    assert len(pickle.dumps(data)) < 20_000
    assert rows_of(pickle.loads(pickle.dumps(data))) == rows_of(data)


def test_repr_says_what_an_epoch_is() -> None:
    """The representation tells tokens, rows, lanes and how it is shuffled."""
    assert repr(stream()) == "StreamingDataset(1,500 tokens in 94 rows of 16 an epoch, concat, 12 lanes, pool, seed 0)"
    assert "1 lanes, view order" in repr(stream(shuffle=False))
    assert "windows of 65,536 tokens" in repr(stream(buffer=1))
    assert "rows of 16 an epoch, fit, 12 lanes, pool, seed 0, rank 2 of 3)" in repr(
        stream(packing="fit", rank=2, world_size=3)
    )
    assert " rows an epoch, single, " in repr(stream(seq_len=None))
