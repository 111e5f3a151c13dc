"""Columns with a value for every token: loss masks, and columns in the layout of the ids.

Every id tells its sample and place, so that what a batch should have follows from its ids alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import test_loader_topology as topologies
import tokstore as ts

BOS, EOS, FIRST = 1, 2, 10
LENGTHS = [13 * i % 29 for i in range(120)] + [400, 0, 3]
TOTAL = sum(LENGTHS)
VALUES = np.arange(FIRST, FIRST + TOTAL)
LEARNED = np.random.default_rng(5).random(TOTAL) < 0.6
ENDS = np.cumsum(LENGTHS)
PACKINGS: list[Any] = ["concat", "fit", "whole", None]
LAST_LEARNED = np.array([bool(n) and bool(LEARNED[end - 1]) for n, end in zip(LENGTHS, ENDS, strict=True)])


def make(path: str, lengths: list[int], **tokens: Any) -> ts.Store:
    """Write samples whose ids ascend, with columns that follow from the id."""
    total = sum(lengths)
    schema = ts.Schema(
        tokens=ts.Tokens(FIRST + total, **tokens),
        learn=ts.Mask(of="tokens"),
        half=ts.Array("float32", (None,)),
        pair=ts.Array("int16", (None, 2)),
        other=ts.Tokens(1 << 22, pad_id=7),
        short=ts.Array("int8", (None,)),
    )
    values = np.arange(FIRST, FIRST + total)
    learn = LEARNED if total == TOTAL else values % 3 > 0
    with ts.create(path, schema, level="fast") as writer:
        writer.extend(
            tokens=ts.Ragged(values, lengths),
            learn=ts.Ragged(learn, lengths),
            half=ts.Ragged((values / 2).astype("float32"), lengths),
            pair=ts.Ragged(np.stack([values % 1000, values % 7], 1).astype("int16"), lengths),
            other=ts.Ragged(values * 3, lengths),
            short=[[1]] * len(lengths),
        )
    return ts.open(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ts.Store:
    """A small store."""
    return make(str(tmp_path_factory.mktemp("aligned") / "store"), LENGTHS, eos_id=EOS)


def check_columns(batch: Any) -> None:
    """Compare columns with what the ids say."""
    ids, used = batch["input_ids"].numpy(), batch["attention_mask"].numpy() == 1
    real = used & (ids >= FIRST)
    assert batch["learn"].dtype == torch.bool
    assert np.array_equal(batch["learn"].numpy(), np.where(real, LEARNED[np.maximum(ids, FIRST) - FIRST], False))
    assert np.array_equal(batch["half"].numpy(), np.where(real, ids / 2, np.nan), equal_nan=True)
    pair = np.stack([ids % 1000, ids % 7], -1)
    assert np.array_equal(batch["pair"].numpy(), np.where(real[..., None], pair, 0))
    assert np.array_equal(batch["other"].numpy(), np.where(real, ids * 3, 7))


def masked(batch: Any, plain: Any, labels: str) -> np.ndarray[Any, Any]:
    """Return the labels that a mask leaves, place by place."""
    kept = plain["labels"].numpy().copy()
    ids, documents = batch["input_ids"].numpy(), batch["document_ids"].numpy()
    before = 0
    for row in range(len(kept)):
        for t, label in enumerate(kept[row].tolist()):
            if label >= FIRST:
                learned = bool(LEARNED[label - FIRST])
            elif label == EOS:
                learned = bool(LAST_LEARNED[batch["sample_ids"][before + documents[row][t]]])
            else:
                learned = False
            kept[row][t] = label if learned else -100
        before += int(documents[row].max()) + 1
    assert ids.shape == kept.shape
    return kept


@pytest.mark.parametrize("labels", ["same", "next"])
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("shuffle", [True, False])
def test_against_the_ids(store: ts.Store, packing: Any, labels: Any, shuffle: bool) -> None:
    """Columns and masked labels of every packing, inserted ids included, across the ends of rows and pieces."""
    options: dict[str, Any] = {
        "seq_len": 32, "packing": packing, "batch_size": 7, "labels": labels, "bos_id": BOS, "shuffle": shuffle,
    }  # fmt: skip
    if packing == "whole":
        options["overlong"] = "truncate"
    emit = ("input_ids", "labels", "attention_mask", "document_ids", "loss_mask", "learn", "sample_ids")
    data = ts.StreamingDataset(store, emit=emit, aligned=("half", "pair", "other"), loss_mask="learn", **options)
    plain = ts.StreamingDataset(store, emit=("labels",), **options)
    learned = 0
    for batch, without in zip(data, plain, strict=True):
        check_columns(batch)
        wanted = masked(batch, without, labels)
        assert np.array_equal(batch["labels"].numpy(), wanted)
        assert np.array_equal(batch["loss_mask"].numpy(), wanted != -100)
        learned += int((wanted != -100).sum())
    assert learned > TOTAL // 3


@pytest.mark.parametrize("packing", ["concat", "fit"])
def test_joined_documents(store: ts.Store, packing: Any) -> None:
    """Where documents are not told apart, the label across their border goes by the mask of the next sample."""
    options: dict[str, Any] = {
        "seq_len": 16, "packing": packing, "batch_size": 5, "labels": "next", "documents": "joined", "eos_id": None,
    }  # fmt: skip
    data = ts.StreamingDataset(store, loss_mask="learn", **options)
    crossing = 0
    for batch, plain in zip(data, ts.StreamingDataset(store, **options), strict=True):
        labels = plain["labels"].numpy()
        assert np.array_equal(batch["labels"].numpy(), np.where(LEARNED[labels - FIRST] & (labels > 0), labels, -100))
        crossing += int((labels[:, -1] != plain["input_ids"].numpy()[:, -1] + 1).sum())
    assert crossing


def test_without_a_length(store: ts.Store) -> None:
    """Rows as wide as the longest of a batch, flat batches, and single rows."""
    emit = ("input_ids", "labels", "attention_mask", "learn")
    options: dict[str, Any] = {"emit": emit, "aligned": ("half", "pair", "other"), "loss_mask": "learn", "seed": 4}
    for flat in (False, True):
        for batch in ts.StreamingDataset(store, batch_size=8, flat=flat, **options):
            check_columns(batch)
            labels = batch["labels"].numpy()
            real = labels >= FIRST
            assert LEARNED[labels[real] - FIRST].all()
    rows = list(ts.StreamingDataset(store, **options))
    assert {tuple(row["pair"].shape) for row in rows} == {(len(row["input_ids"]), 2) for row in rows}
    for row in rows:
        check_columns(row)


@settings(max_examples=8)
@given(
    st.sampled_from(PACKINGS),
    st.sampled_from([(2, 0), (1, 2), (3, 2)]),
    st.integers(0, 30),
    st.sampled_from([1, 64 << 20]),
    st.sampled_from(["same", "next"]),
)
def test_ranks_and_resuming(
    store: ts.Store, packing: Any, topology: tuple[int, int], stopped: int, buffer: int, labels: str
) -> None:
    """The same global batches for ranks and workers, and from a state, with pools and with windows."""
    options: dict[str, Any] = {
        "source": store, "buffer": buffer, "labels": labels, "loss_mask": "learn", "aligned": ("half",), "epochs": 1,
        "emit": ("input_ids", "labels", "learn"),
    }  # fmt: skip
    expected = list(topologies.stream(packing, **options))
    for batch in expected:
        batch["half"] = batch["half"].nan_to_num(-1)
    stopped %= len(expected)
    state = topologies.stream(packing, **options).state_at(batches=stopped)
    got = topologies.one_pass(*topology, packing=packing, state=state, **options)
    for batches in got:
        for batch in batches:
            batch["half"] = batch["half"].nan_to_num(-1)
    topologies.check(got, expected[stopped:])


def test_cut_samples(tmp_path: Path) -> None:
    """Samples longer than blocks and windows, whose parts are items of their own: places inside of them are right."""
    store = make(str(tmp_path / "long"), [1000, 300_000, 7, 150_000])
    for options in ({"shuffle": False}, {"lanes": 2}):
        for packing in ("concat", "fit"):
            data = ts.StreamingDataset(
                store, seq_len=4096, packing=packing, batch_size=8, buffer=1, emit=("input_ids", "labels", "learn"),
                aligned=("half",), loss_mask="learn", labels="next", bos_id=BOS, **options,
            )  # fmt: skip
            for batch in data:
                ids, labels = batch["input_ids"].numpy(), batch["labels"].numpy()
                real = ids >= FIRST
                assert np.array_equal(batch["half"].numpy()[real], (ids[real] / 2).astype("float32"))
                assert np.array_equal(batch["learn"].numpy(), real & (ids % 3 > 0))
                assert (labels[labels >= FIRST] % 3 > 0).all()


def test_a_mixture(store: ts.Store, tmp_path: Path) -> None:
    """Sources with other inserted ids, and their columns by name."""
    other = make(str(tmp_path / "other"), LENGTHS)
    mix = ts.Mixture({"a": store, "b": other}, shares={"a": 0.5, "b": 0.5})
    emit = ("input_ids", "labels", "attention_mask", "learn", "source")
    for packing in PACKINGS:
        data = ts.StreamingDataset(
            mix, seq_len=32, packing=packing, overlong="truncate" if packing == "whole" else None, batch_size=16,
            epochs=None, emit=emit, aligned=("half", "pair", "other"), loss_mask="learn", labels="next",
        )  # fmt: skip
        stream = iter(data)
        for _ in range(6):
            batch = next(stream)
            check_columns(batch)
            ids, labels = batch["input_ids"].numpy(), batch["labels"].numpy()
            assert LEARNED[labels[labels >= FIRST] - FIRST].all()
            used = batch["attention_mask"].numpy() == 1
            assert (ids[(batch["source"].numpy() == 1)[:, None] & used] != EOS).all()
            assert set(batch["source"].tolist()) == {0, 1}


def test_refused(store: ts.Store, tmp_path: Path) -> None:
    """Names of columns that have no value for every token, at once; lengths that differ, when they are read."""
    for given_name, words in (
        ({"loss_mask": "lern"}, "loss_mask has 'lern', which is no column: .*did you mean 'learn'"),
        ({"loss_mask": "half"}, "neither a Mask nor integers"),
        ({"aligned": ("tokens",)}, "aligned has 'tokens'"),
        ({"aligned": ("labels",)}, "names something else"),
    ):
        with pytest.raises(ValueError, match=words):
            ts.StreamingDataset(store, seq_len=8, **given_name)
    with pytest.raises(TypeError, match="sequence of names"):
        ts.StreamingDataset(store, seq_len=8, aligned="half")
    data = ts.StreamingDataset(store, seq_len=8, aligned=("short",), shuffle=False)
    with pytest.raises(ValueError, match=r"'short' has 1 values for the 0 tokens of sample id 0, .*order.md 7.8"):
        next(iter(data))
    with ts.create(str(tmp_path / "s"), ts.Schema(tokens=ts.Tokens(9), loss_mask=ts.Mask(optional=True))) as writer:
        writer.append(tokens=[1, 2], loss_mask=[True, False])
        writer.append(tokens=[1, 2])
    few = ts.open(str(tmp_path / "s"))
    with pytest.raises(ValueError, match="loss_mask='loss_mask' applies it"):
        ts.StreamingDataset(few, seq_len=8, emit=("loss_mask",))
    rows = iter(ts.StreamingDataset(few, shuffle=False, loss_mask="loss_mask", emit=("loss_mask",), documents="joined"))
    assert next(rows)["loss_mask"].tolist() == [1, 0]
    with pytest.raises(ValueError, match="has no value for the 2 tokens of sample id 1"):
        next(rows)


def test_views_in_an_order_of_their_own(store: ts.Store) -> None:
    """Positions of a view are not those of the store."""
    view = store.sort("sample_id", descending=True).where("not sample_id in (3, 5)")
    data = ts.StreamingDataset(
        view, seq_len=32, packing="fit", batch_size=4, emit=("input_ids", "attention_mask", "learn"),
        aligned=("half", "pair", "other"), loss_mask="learn", epochs=2,
    )  # fmt: skip
    for batch in data:
        check_columns(batch)
