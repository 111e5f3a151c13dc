"""The same global batches for any number of ranks and workers, and from a state of any of them into any other.

Row j of rank r of R ranks is row j R + r of the global batch (order.md 7.4). Expected is what one rank without workers
makes, whose rows are compared with the slow reference elsewhere.
"""

from __future__ import annotations

import functools
import itertools
import json
import warnings
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

import tokstore as ts
from test_loader_fake import FakeSource
from tokstore.loader import Batch, StreamingDataset
from tokstore.loader import dataset as module
from tokstore.order.turns import Turns

RANKS, WORKERS, ROWS = (1, 2, 3, 4, 6, 8), (0, 1, 2, 4), 24
TOPOLOGIES = list(itertools.product(RANKS, WORKERS))
PACKINGS = ("concat", "fit", "whole", None)
EMIT = ("input_ids", "labels", "position_ids", "valid")
SOURCE = FakeSource([37 * i % 61 for i in range(907)], eos_id=2)


def stream(packing: Any, source: Any = SOURCE, **options: Any) -> StreamingDataset:
    """Return a stream of global batches of 24 rows."""
    given_options: dict[str, Any] = {
        "seq_len": 64,
        "packing": packing,
        "global_batch_size": ROWS,
        "seed": 3,
        "epochs": 2,
        "emit": EMIT,
        "threads": 1,
    }
    if packing == "whole":
        given_options["overlong"] = "truncate"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* ranks read ")
        return StreamingDataset(source, **(given_options | options))


def in_turn(parts: list[Iterator[Any]]) -> Iterator[Any]:
    """Yield from workers in turn, as a DataLoader does: one that has ended is left out."""
    while parts:
        left = []
        for part in parts:
            for item in itertools.islice(part, 1):
                yield item
                left.append(part)
        parts = left


def as_worker(data: StreamingDataset, count: int, number: int) -> Iterator[Batch]:
    """Start a stream as one worker of several."""
    told = None if count == 0 else SimpleNamespace(num_workers=count, id=number)
    before = module.get_worker_info
    try:
        setattr(module, "get_worker_info", lambda: told)  # noqa: B010 - mypy knows constants only
        return iter(data)
    finally:
        setattr(module, "get_worker_info", before)  # noqa: B010


def one_pass(
    ranks: int, workers: int, *, state: Any = None, most: int | None = None, packing: Any = "concat", **options: Any
) -> list[list[Batch]]:
    """Return the batches of every rank of a topology, which goes on behind a state."""
    found = []
    for rank in range(ranks):
        parts = []
        for number in range(max(1, workers)):
            data = stream(packing, rank=rank, world_size=ranks, **options)
            if state is not None:
                data.load_state_dict(state)
            parts.append(as_worker(data, workers, number))
        found.append(list(itertools.islice(in_turn(list(parts)), most)))
        for part in parts:
            part.close()  # type: ignore[attr-defined]
    return found


def check(got: list[list[Batch]], expected: list[Batch]) -> None:
    """Compare the batches of all ranks with those of one."""
    ranks = len(got)
    for rank, batches in enumerate(got):
        assert len(batches) == len(expected)
        for batch, whole in zip(batches, expected, strict=True):
            assert batch.rows == whole.rows[rank::ranks]
            assert batch.next_row == whole.next_row
            assert list(batch) == list(whole)
            for name, tensor in batch.items():
                assert torch.equal(tensor, whole[name][rank::ranks]), (name, rank, batch)


@functools.cache
def alone(packing: Any, **options: Any) -> list[Batch]:
    """Return the batches of two passes of a single process."""
    data = stream(packing, **options)
    return [*data, *data]


@pytest.mark.parametrize("chunk", [1, 3])
def test_turns_of_every_topology(chunk: int) -> None:
    """By the arithmetic alone: ranks and workers share rows without gap or overlap, in batches of the right rows."""
    for (ranks, workers), start, end in itertools.product(TOPOLOGIES, (0, 7), (1, 11, 12, 20)):
        size, count = ROWS // ranks, max(1, workers)
        for rank in range(ranks):
            parts = []
            for number in range(count):
                turns = Turns(size, ranks, rank, count, number, chunk)
                mine = turns.batches(0, end, most=end)
                singly = [turns.batches(done, end, 1).tolist() for done in range(len(mine))]
                assert [[batch] for batch in mine.tolist()] == singly
                parts.append(iter([mine[i : i + chunk] for i in range(0, len(mine), chunk)]))
            assert [batch for piece in in_turn(list(parts)) for batch in piece] == list(range(end))
            rows = Turns(size, ranks, rank).rows(start, np.arange(end)).reshape(end, size)
            expected = start + np.arange(end * ROWS).reshape(end, ROWS)[:, rank::ranks]
            assert np.array_equal(rows, expected)


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_topology_into_every_other(packing: Any) -> None:
    """All 24 topologies make the same batches and states, and each goes on from every such state."""
    expected = alone(packing)
    length = len(expected) // 2
    states = [stream(packing).state_at(batches=n) for n in range(len(expected))]
    assert length > 12
    for ranks, workers in TOPOLOGIES:
        got = one_pass(ranks, workers, packing=packing)
        check(got, expected[:length])
        for rank in range(ranks):
            data = stream(packing, rank=rank, world_size=ranks)
            assert len(data) == length
            assert [json.loads(json.dumps(data.state_dict(batch))) for batch in got[rank]] == states[1 : length + 1]
            assert [data.state_at(batches=n) for n in (0, 5, length, length + 2)] == [
                states[n] for n in (0, 5, length, length + 2)
            ]
        for stopped in (1, 6, length - 1, length, length + 3):
            again = one_pass(ranks, workers, packing=packing, state=states[stopped], most=3)
            stop = stopped + 3 if stopped >= length else min(stopped + 3, length)
            check(again, expected[stopped:stop])


@settings(max_examples=40)
@given(
    st.lists(st.one_of(st.integers(0, 30), st.integers(0, 400)), min_size=1, max_size=120).filter(any),
    st.sampled_from(PACKINGS),
    st.sampled_from(TOPOLOGIES),
    st.sampled_from(TOPOLOGIES),
    st.integers(0, 10_000),
    st.sampled_from([1, 64 << 20]),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["same", "next"]),
)
def test_random_sources(
    lengths: list[int],
    packing: Any,
    before: tuple[int, int],
    after: tuple[int, int],
    stopped: int,
    buffer: int,
    epochs: int,
    drop_last: bool,
    shuffle: bool,
    labels: str,
) -> None:
    """Any source, stopped at any batch under one topology and resumed under another, also in the next pass."""
    options: dict[str, Any] = {
        "source": FakeSource(lengths),
        "packing": packing,
        "buffer": buffer,
        "epochs": epochs,
        "drop_last": drop_last,
        "shuffle": shuffle,
        "labels": labels,
        "seq_len": 16,
    }
    data = stream(**options)
    length = len(data)
    expected = [*data, *data]
    assert len(expected) == 2 * length
    first = one_pass(*before, **options)
    check(first, expected[:length])
    stopped %= length + 1
    told = stream(rank=0, world_size=before[0], **options)
    state = told.state_dict(first[0][stopped - 1]) if stopped else told.state_at(rows=0)
    rest = one_pass(*after, state=json.loads(json.dumps(state)), **options)
    check(rest, expected[stopped:length] or expected[length:])


@pytest.mark.parametrize("packing", PACKINGS)
def test_endless(packing: Any) -> None:
    """Without an end, batches go across epochs, the same for ranks and workers, and from a state in the middle."""
    options: dict[str, Any] = {"packing": packing, "epochs": None}
    data = stream(**options)
    count = 2 * data.rows_per_epoch // ROWS + 3
    assert data.rows_per_epoch % ROWS
    expected = list(itertools.islice(data, count))
    assert all(bool(batch["valid"].all()) for batch in expected)
    ids = torch.cat([batch["input_ids"] for batch in expected[: count - 3]])
    finite = torch.cat([batch["input_ids"][batch["valid"]] for batch in stream(packing)])
    assert torch.equal(ids, finite[: len(ids)])
    for ranks, workers in ((3, 0), (4, 2), (1, 4)):
        check(one_pass(ranks, workers, most=count, **options), expected)
        state = stream(**options).state_dict(expected[4])
        check(one_pass(ranks, workers, state=state, most=5, **options), expected[5:10])


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("ranks", [1, 3, 8])
def test_the_tail(packing: Any, ranks: int) -> None:
    """The last batch is filled up so that all ranks have as many; fill teaches nothing and is no row or sample."""
    emit = (*EMIT, "sample_ids", "attention_mask", "document_ids", "loss_mask", "seq_lengths")
    got = one_pass(ranks, 0, packing=packing, emit=emit)
    rows = 2 * stream(packing).rows_per_epoch
    assert rows % ROWS
    assert {len(batches) for batches in got} == {-(-rows // ROWS)}
    numbers: list[int] = []
    for batches in got:
        for batch in batches:
            fill = ~batch["valid"]
            numbers += batch.rows
            assert len(batch["valid"]) == ROWS // ranks == len(batch.rows) + int(fill.sum())
            assert batch["labels"][fill].eq(-100).all()
            assert batch["document_ids"][fill].eq(-1).all()
            assert not batch["attention_mask"][fill].any()
            assert not batch["loss_mask"][fill].any()
            assert batch["attention_mask"][~fill].any(dim=1).all()
            if packing is None:
                assert batch["sample_ids"][fill].eq(-1).all()
                assert batch["sample_ids"][~fill].ge(1000).all()
                assert batch["seq_lengths"][fill].eq(0).all()
            else:
                assert batch["sample_ids"].ge(1000).all()
        assert not any(bool((~batch["valid"]).any()) for batch in batches[:-1])
    assert sorted(numbers) == list(range(rows))
    short = one_pass(ranks, 2, packing=packing, drop_last=True)
    assert {len(batches) for batches in short} == {rows // ROWS}
    assert all(bool(batch["valid"].all()) for batches in short for batch in batches)
    check(short, alone(packing, drop_last=True)[: rows // ROWS])


def test_rows_of_ranks() -> None:
    """Single rows go to ranks in turn, and to workers of a rank in turn; the last turn is filled up."""
    every = [row["input_ids"] for row in stream(None, global_batch_size=None, epochs=1)]
    for ranks, workers in ((3, 0), (4, 2)):
        turns = -(-len(every) // ranks)
        for rank, rows in enumerate(one_pass(ranks, workers, packing=None, global_batch_size=None, epochs=1)):
            assert len(rows) == turns
            for turn, row in enumerate(rows):
                number = turn * ranks + rank
                assert bool(row["valid"]) == (number < len(every))
                if number < len(every):
                    assert torch.equal(row["input_ids"], every[number])


# Real workers ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ts.Store:
    """A real store with the samples of the fake."""
    path = str(tmp_path_factory.mktemp("topology") / "store")
    with ts.create(path, ts.Schema(tokens=SOURCE.schema["tokens"]), level="fast") as writer:
        writer.extend(tokens=ts.Ragged(SOURCE.read_range(0, len(SOURCE)), SOURCE.lengths(0, len(SOURCE))))
    return ts.open(path)


def loaded(data: StreamingDataset, workers: int, context: str, own: bool, most: int | None = None) -> list[Batch]:
    """Return batches by `loader()`, or by a plain DataLoader."""
    made: Any = None
    if own:
        made = data.loader(num_workers=workers, multiprocessing_context=context if workers else None)
    else:
        made = DataLoader(
            data, batch_size=None, num_workers=workers, multiprocessing_context=context if workers else None
        )
    return list(itertools.islice(made, most))


PAIRS = [
    ("fork", (1, 0), (2, 2)),
    ("fork", (2, 2), (3, 1)),
    ("fork", (3, 1), (1, 4)),
    ("fork", (1, 4), (4, 2)),
    ("fork", (4, 1), (6, 0)),
    ("fork", (6, 0), (8, 1)),
    ("fork", (8, 1), (2, 4)),
    ("spawn", (1, 2), (8, 0)),
    ("spawn", (8, 0), (1, 1)),
    ("spawn", (2, 0), (2, 1)),
]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning", "ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize(("context", "before", "after"), PAIRS)
def test_real_workers(store: ts.Store, context: str, before: tuple[int, int], after: tuple[int, int]) -> None:
    """Workers of real DataLoaders under one topology, and resumed under another, on a real store."""
    packing = PACKINGS[(before[0] + after[1]) % 4]
    expected = alone(packing)
    length = len(expected) // 2
    own = after[1] != 2
    first = [
        loaded(stream(packing, store, rank=rank, world_size=before[0]), before[1], context, own, 4)
        for rank in range(before[0])
    ]
    check(first, expected[:4])
    rest = []
    for rank in range(after[0]):
        data = stream(packing, store, rank=rank, world_size=after[0])
        data.load_state_dict(stream(packing, store).state_dict(first[0][-1]))
        rest.append(loaded(data, after[1], context, own))
    check(rest, expected[4:length])
