"""Stores without tokens: every row is a sample of codes, beside the other columns of it."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import test_loader_topology as topologies
import tokstore as ts
from test_loader_fake import reference
from tokstore.errors import ColumnError
from tokstore.stream.codes import CodeRows
from tokstore.view_spans import ordered_spans

COUNT = 700


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ts.Store:
    """Grids of 4 x 6 codes whose first two tell the sample."""
    path = str(tmp_path_factory.mktemp("codes") / "store")
    schema = ts.Schema(
        label=ts.Label(10), image=ts.Codes(391, (4, 6)), soft=ts.Array("float16", (3,)), url=ts.Text(),
        boxes=ts.Array("int16", (None, 4)), score=ts.Score(optional=True),
    )  # fmt: skip
    images = np.random.default_rng(0).integers(0, 391, (COUNT, 4, 6))
    images[:, 0, 0], images[:, 0, 1] = np.arange(COUNT) % 391, np.arange(COUNT) // 391
    with ts.create(path, schema, level="fast") as writer:
        writer.extend(
            label=np.arange(COUNT) % 10, image=images, soft=np.arange(3 * COUNT).reshape(COUNT, 3) / 4096,
            url=[f"u{i}" for i in range(COUNT)], boxes=[[[i, i, i, i]] * (i % 3) for i in range(COUNT)],
            score=[None if i % 5 == 0 else i / 1024 for i in range(COUNT)],
        )  # fmt: skip
    return ts.open(path)


def positions(batch: Any) -> list[int]:
    """Return which samples a batch has, by their codes."""
    return [int(one) for one in (batch["image"][:, 0, 0] + 391 * batch["image"][:, 0, 1])]


@pytest.mark.parametrize("buffer", [1, 64 << 20])
def test_rows_of_codes(store: ts.Store, buffer: int) -> None:
    """Each sample once an epoch, in the order of the page, with all columns that stack."""
    data = ts.StreamingDataset(store, batch_size=16, buffer=buffer, lanes=3, epochs=2, seed=5)
    view = reference.View([24] * COUNT, reference.stored([24] * COUNT), False, False)
    expected = [
        row[0][0]
        for epoch in (0, 1)
        for row in reference.epoch_rows(
            view, 24, seed=5, epoch=epoch, packing="single", overlong="split", shuffle=True, lanes=3, buffer=buffer
        )
    ]
    seen: list[int] = []
    for batch in data:
        assert list(batch) == ["image", "label", "soft", "url", "score"]
        assert batch["image"].dtype == torch.int64
        assert batch["image"].shape == (16, 4, 6)
        rows = positions(batch)[: len(batch.rows)]
        seen += rows
        want = store.take(rows)
        count = len(rows)
        assert np.array_equal(batch["image"][:count].numpy(), want["image"])
        assert np.array_equal(batch["label"][:count].numpy(), want["label"])
        assert np.array_equal(batch["soft"][:count].numpy(), want["soft"])
        assert np.array_equal(batch["score"][:count].numpy(), want["score"], equal_nan=True)
        assert batch["url"][:count] == want["url"]
    assert seen == expected
    assert len(seen) == 2 * COUNT


def test_ranks_workers_and_resuming(store: ts.Store) -> None:
    """The same global batches for ranks and workers, and from a state; views, single rows, fill."""
    options: dict[str, Any] = {
        "source": store, "packing": None, "seq_len": None, "emit": ("image", "label", "valid", "sample_ids"),
    }  # fmt: skip
    expected = list(topologies.stream(**options))
    for ranks, workers in ((2, 0), (3, 2)):
        topologies.check(topologies.one_pass(ranks, workers, **options), expected)
        state = topologies.stream(**options).state_at(batches=7)
        topologies.check(topologies.one_pass(ranks, workers, state=state, **options), expected[7:])
    assert not expected[-1]["valid"].all()
    assert (expected[-1]["sample_ids"][~expected[-1]["valid"]] == -1).all()
    view = store.where("label == 3").sort("sample_id", descending=True)
    rows = list(ts.StreamingDataset(view, shuffle=False, emit=("image", "sample_ids")))
    assert [int(row["sample_ids"]) for row in rows] == sorted(range(3, COUNT, 10), reverse=True)
    assert rows[0]["image"].shape == (4, 6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = list(topologies.stream(**options).loader(num_workers=1, multiprocessing_context="fork"))
    assert torch.equal(loaded[3]["image"], expected[3]["image"])
    data = topologies.stream(**options)
    assert data.samples_at(batches=2)["sample_id"].tolist() == expected[2]["sample_ids"].tolist()


@pytest.mark.parametrize("width", [1, 7, 24, 1024, 262_144, 100_000])
def test_spans(store: ts.Store, width: int) -> None:
    """Spans of samples that all have as many codes are those of samples in an order of their own."""
    for samples in (0, 1, 2, 3, 256, 257, 5000):
        rows = CodeRows(store, "image")
        rows.width = width
        spans: Any = type(rows.spans())(samples, width)
        wanted = ordered_spans(np.full(samples, width))
        for name in ("samples", "values", "lead"):
            assert np.array_equal(getattr(spans, name), getattr(wanted, name)), (samples, name)


def test_refused(store: ts.Store, tmp_path: Path) -> None:
    """Options for tokens, names of tokens, and stores that have neither tokens nor codes of one shape."""
    for options in ({"seq_len": 24}, {"loss_mask": "boxes"}, {"bos_id": 3}, {"aligned": ("boxes",)}):
        with pytest.raises(ValueError, match="is for tokens, and this source has none: .* 'image'"):
            ts.StreamingDataset(store, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="none of sample_ids, valid, nor a column: label, image"):
        ts.StreamingDataset(store, emit=("input_ids",))
    with ts.create(str(tmp_path / "s"), ts.Schema(audio=ts.Codes(1024, (None, 8)))) as writer:
        writer.append(audio=np.zeros((3, 8), int))
    with pytest.raises(ColumnError, match="no token column"):
        ts.StreamingDataset(ts.open(str(tmp_path / "s")))
    with pytest.raises(ColumnError, match="source 'images' has no token column, and a mixture is of rows of tokens"):
        ts.Mixture({"images": store})


@pytest.mark.filterwarnings("ignore:.*on_corrupt:RuntimeWarning")
def test_lost_codes(store: ts.Store, tmp_path: Path) -> None:
    """Rows that lack codes are not valid, and all others are as they were."""
    shutil.copytree(store.path, tmp_path / "s")
    (file,) = (tmp_path / "s").glob("data/*/*.tok")
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 4
    file.write_bytes(data)
    options: dict[str, Any] = {"batch_size": 50, "emit": ("image", "valid", "sample_ids")}
    hurt = ts.StreamingDataset(ts.open(str(tmp_path / "s")), on_corrupt="skip", **options)
    gone = 0
    for batch, want in zip(hurt, ts.StreamingDataset(store, **options), strict=True):
        valid = batch["valid"]
        assert torch.equal(batch["image"][valid], want["image"][valid])
        assert not batch["image"][~valid].any()
        assert torch.equal(batch["sample_ids"], want["sample_ids"])
        gone += int((~valid).sum())
    assert gone
    assert hurt.progress()["lost_tokens"] == gone * 24
