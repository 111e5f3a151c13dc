"""`StreamingDataset` over views: exactly the tokens of the view, each once an epoch."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tokstore as ts

LENGTHS = [5, 0, 70_000, 3, *[731 * i % 4001 for i in range(150)], 600_000, 0, 40_000, 1]
SCHEMA = ts.Schema(tokens=ts.Tokens(60_000, eos_id=7), q=ts.Score(), n=ts.Label())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ts.Store:
    """Return a store of several shards, with samples of every size, some of which are deleted."""
    path = tmp_path_factory.mktemp("loader") / "s"
    rng = np.random.default_rng(0)
    values = rng.integers(8, 60_000, sum(LENGTHS)).astype(np.uint16)
    with ts.create(path, SCHEMA, level="fast", shard_tokens=300_000) as writer:
        writer.extend(
            tokens=ts.Ragged(values, LENGTHS), q=rng.random(len(LENGTHS), np.float32), n=np.arange(len(LENGTHS)) % 5
        )
    made = ts.open(path)
    made.delete([10, 11, 40])
    return made


VIEWS = {
    "some": lambda store: store.where("n != 3"),
    "most": lambda store: store.where("not length(tokens) == 3"),
    "few": lambda store: store.where("n == 1 and length(tokens) < 5000"),
    "sorted": lambda store: store.sort("q", descending=True),
    "sorted, some": lambda store: store.where("n <= 2").sort("length(tokens)"),
    "split": lambda store: store.split({"a": 0.5, "b": 0.5})["a"],
    "columns": lambda store: store.select(["tokens"]),
    "everything": lambda store: store.where("q >= 0"),
}


def rows(source: Any, **options: Any) -> np.ndarray[Any, Any]:
    """Return the ids of one pass."""
    given: dict[str, Any] = {"seq_len": 3000, "batch_size": 4, "emit": ("input_ids",), "eos_id": None}
    data = ts.StreamingDataset(source, **(given | options))
    return torch.cat([batch["input_ids"] for batch in data]).numpy()


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("options", [{}, {"buffer": 1, "lanes": 3}, {"buffer": 1 << 20}, {"shuffle": False}])
def test_every_token_once(store: ts.Store, name: str, options: dict[str, Any]) -> None:
    """Pool, windows and view order hand out the tokens of the view and no others."""
    view = VIEWS[name](store)
    values = view.read_range(0, len(view))
    assert len(values) == view.token_count
    got = rows(view, **options)
    counts = np.bincount(got.ravel(), minlength=60_000)
    counts[7] -= got.size - len(values)
    assert np.array_equal(counts, np.bincount(values, minlength=60_000))
    if options.get("shuffle") is False:
        assert np.array_equal(got.ravel()[: len(values)], values)


@pytest.mark.parametrize("name", VIEWS)
def test_spans_are_counted_right(store: ts.Store, name: str) -> None:
    """Each span has the values of its samples, and none is much larger than one sample makes it."""
    view = VIEWS[name](store)
    spans, lengths = view.spans(), view.lengths()
    for first, samples, values, lead in zip(spans.first, spans.samples, spans.values, spans.lead, strict=True):
        if not lead and name not in ("columns", "everything"):
            part = lengths[first : first + samples]
            assert values == part.sum()
            assert values <= (1 << 19) + part.max()
    assert int(spans.samples.sum()) == len(view)


def test_a_view_of_everything_streams_like_the_store(store: ts.Store) -> None:
    """The order follows from the samples alone, so that a view of all of them has the order of the store."""
    for options in ({}, {"buffer": 1, "lanes": 3}):
        want = rows(store, **options)
        assert np.array_equal(rows(VIEWS["everything"](store), **options), want)
        assert np.array_equal(rows(VIEWS["columns"](store), **options), want)


def test_spans_that_are_whole_need_no_lengths(tmp_path: Path) -> None:
    """Where every sample of a span is taken, its stored counts are used; lengths are read of the others alone."""
    with ts.create(tmp_path / "s", SCHEMA, level="fast") as writer:
        for shard in range(4):
            writer.extend(tokens=[[9] * 50] * 100, q=np.zeros(100), n=np.full(100, shard))
            writer.commit()
    view = pickle.loads(pickle.dumps(ts.open(tmp_path / "s").where("n == 2 or n == 3 and sample_id >= 350")))
    storage: Any = view._version.storage
    opened: set[str] = set()
    plain = storage.read_ranges
    storage.read_ranges = lambda ranges, **more: opened.update(one[0] for one in ranges) or plain(ranges, **more)
    assert view.spans().values.tolist() == [5000, 2500]
    assert len([path for path in opened if path.startswith("data/")]) == 1


@pytest.mark.parametrize("options", [{}, {"buffer": 1, "lanes": 3}, {"shuffle": False}])
@pytest.mark.parametrize("name", ["some", "sorted, some"])
def test_weights_say_how_often_a_sample_comes(store: ts.Store, name: str, options: dict[str, Any]) -> None:
    """Of a view with weights every sample has its copies, rounded up or down, with its own tokens."""
    view = VIEWS[name](store).weigh("q", mean=1.3)
    data = ts.StreamingDataset(view, packing=None, batch_size=8, emit=("input_ids", "sample_ids", "valid"), **options)
    counts = dict.fromkeys(view["sample_id"].tolist(), 0)
    for batch in data:
        for sample, ids, valid in zip(batch["sample_ids"].tolist(), batch["input_ids"], batch["valid"], strict=True):
            assert valid == (sample >= 0)
            if valid:
                counts[sample] += 1
                tokens = store[sample - sum(gone < sample for gone in (10, 11, 40))]["tokens"]
                assert np.array_equal(ids.numpy()[: len(tokens)], tokens)
    short = np.array(list(counts.values())) - view.weights
    assert (short < 1).all()
    assert np.sum(short <= -1) <= data.progress()["cut"]


def test_streams_of_views_pickle_and_resume(store: ts.Store) -> None:
    """A pickled stream of a view gives the same rows, and a state belongs to its view."""
    view = VIEWS["sorted, some"](store)
    data = ts.StreamingDataset(view, seq_len=3000, batch_size=4)
    for one, other in zip(data, pickle.loads(pickle.dumps(data)), strict=True):
        assert one["labels"].equal(other["labels"])
    state = data.state_at(rows=4)
    with pytest.raises(ValueError, match="the state has source"):
        ts.StreamingDataset(VIEWS["some"](store), seq_len=3000, batch_size=4).load_state_dict(state)


def test_nothing_to_stream(store: ts.Store) -> None:
    """A view without tokens says so."""
    for view in (store.where("false"), store.where("length(tokens) == 0")):
        with pytest.raises(ValueError, match="the view has no tokens"):
            ts.StreamingDataset(view, seq_len=64, eos_id=None)
