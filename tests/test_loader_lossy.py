"""`on_corrupt="skip"` and columns with one value per sample: what cannot be read is as missing, nothing moves."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tokstore as ts
from tokstore.errors import CorruptError, MissingFileError

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*on_corrupt:RuntimeWarning", "ignore:.*fork.*:DeprecationWarning",
    "ignore:This DataLoader will create:UserWarning",
)  # fmt: skip
ROWS = 3000
NAMES = ("score", "label", "kind", "text", "vector", "counts", "words", "soft", "late")
FILLS = {"label": -100, "kind": None, "text": None, "counts": 0, "score": np.nan, "vector": np.nan, "late": np.nan}


def columns(rng: np.random.Generator) -> dict[str, Any]:
    """Return values of every kind of column."""
    return {
        "score": rng.random(ROWS),
        "label": rng.integers(0, 1000, ROWS),
        "kind": [f"kind {n}" for n in rng.integers(0, 90, ROWS)],
        "text": ["é" * int(n) + f"{i}" for i, n in enumerate(rng.integers(0, 60, ROWS))],
        "vector": rng.standard_normal((ROWS, 24)).astype(np.float32),
        "counts": rng.integers(1, 9, (ROWS, 4)),
        "words": ts.Ragged(rng.integers(0, 500, 3 * ROWS), np.full(ROWS, 3)),
        "soft": rng.dirichlet(np.ones(5), ROWS),
    }


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two shards with columns beside the tokens, one of them in files of its own."""
    path = tmp_path_factory.mktemp("lossy") / "intact"
    schema = ts.Schema(
        tokens=ts.Tokens(5000), score=ts.Score(), label=ts.Label(1000), kind=ts.Category(), text=ts.Text(),
        vector=ts.Vector(24), counts=ts.Array("int32", (4,)), words=ts.Tokens(500), soft=ts.SoftLabel(5),
    )  # fmt: skip
    rng = np.random.default_rng(4)
    lengths = rng.integers(1, 40, ROWS)
    tokens = ts.Ragged(rng.integers(0, 5000, int(lengths.sum())), lengths)
    with ts.create(str(path), schema, level="plain", shard_tokens=int(lengths.sum()) * 2 // 3) as writer:
        writer.extend(tokens=tokens, **columns(rng))
    ts.open(str(path)).add_column("late", rng.random(ROWS), ts.Score(dtype="float32"))
    return path


def stream(source: Any, **options: Any) -> ts.StreamingDataset:
    """Make a stream of single samples that skips."""
    given: dict[str, Any] = {
        "batch_size": 64, "seq_len": 48, "packing": None, "on_corrupt": "skip",
        "emit": ("input_ids", "sample_ids", *NAMES),
    }  # fmt: skip
    return ts.StreamingDataset(source, **(given | options))


def bad_rows(store: Any, name: str, start: int = 0, stop: int = ROWS) -> set[int]:
    """Return which samples have a value that cannot be read, asked for one run of them, and then for each."""
    try:
        store.take(range(start, stop), [name])
    except (CorruptError, MissingFileError):
        if stop - start == 1:
            return {start}
        middle = (start + stop) // 2
        return bad_rows(store, name, start, middle) | bad_rows(store, name, middle, stop)
    return set()


def compare(batches: Any, whole: Any, bad: dict[str, set[int]]) -> int:
    """Compare batches with those of the intact store but for what is lost; return how many values are."""
    count = 0
    for batch, want in zip(batches, whole, strict=True):
        assert torch.equal(batch["input_ids"], want["input_ids"])
        ids = want["sample_ids"].tolist()
        assert batch["sample_ids"].tolist() == ids
        for name in bad:
            lost = np.isin(ids, list(bad[name]))
            count += int(lost.sum())
            got, wanted = batch[name], want[name]
            if name == "soft":
                assert np.isnan(got.probs[lost]).all()
                assert np.array_equal(got.probs[~lost], wanted.probs[~lost], equal_nan=True)
            elif name == "words":
                assert [one.tolist() for one in got] == [
                    [] if gone else one.tolist() for gone, one in zip(lost, wanted, strict=True)
                ]
            elif isinstance(got, list):
                assert got == [None if gone else one for gone, one in zip(lost, wanted, strict=True)]
            else:
                expected = wanted.numpy().copy()
                expected[lost] = FILLS[name]
                assert np.array_equal(got.numpy(), expected, equal_nan=expected.dtype.kind == "f"), name
    return count


def test_flipped_bits(intact: Path, tmp_path: Path) -> None:
    """Whatever bit is wrong, exactly the samples that cannot be read have what missing ones have."""
    path = tmp_path / "s"
    shutil.copytree(intact, path)
    whole = list(stream(ts.open(str(intact))))
    hurt: set[str] = set()
    for file in sorted(path.glob("data/*/*.tok")):
        good = file.read_bytes()
        for at in np.linspace(1000, len(good) - 2000, 14).astype(int).tolist():
            data = bytearray(good)
            data[at] ^= 16
            file.write_bytes(data)
            store = ts.open(str(path))
            bad = {name: bad_rows(store, name) for name in NAMES}
            if not bad_rows(store, "tokens") and any(bad.values()):
                fresh = stream(ts.open(str(path)))
                assert compare(list(fresh), whole, bad) == sum(map(len, bad.values()))
                assert (fresh.progress()["lost_tokens"], fresh.progress()["lost_blocks"]) == (0, 1)
                with pytest.raises(CorruptError):
                    list(stream(ts.open(str(path)), on_corrupt="raise"))
                hurt |= {name for name in bad if bad[name]}
        file.write_bytes(good)
    assert len(hurt) >= 4
    assert {"text", "vector"} <= hurt


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_is_not_there(intact: Path, tmp_path: Path, workers: int) -> None:
    """All samples of a file of a column that was added later lack it; packed rows and mixtures have it so too."""
    path = tmp_path / "s"
    shutil.copytree(intact, path)
    before = set(path.glob("data/*/*.tok"))
    late = min(before, key=lambda one: one.stat().st_size)
    late.unlink()
    store, whole = ts.open(str(path)), ts.open(str(intact))
    bad = {"late": bad_rows(store, "late")}
    assert len(bad["late"]) > 0
    emit = ("input_ids", "sample_ids", "late", "label")
    for options in ({}, {"packing": "concat"}):
        data = stream(store, emit=emit, **options)
        count = compare(
            list(data.loader(num_workers=workers, multiprocessing_context="fork" if workers else None)),
            list(stream(whole, emit=emit, **options)), bad | {"label": set()},
        )  # fmt: skip
        assert count >= len(bad["late"])
        assert data.progress()["lost_blocks"] >= 1
    mix = ts.Mixture({"a": store, "b": whole}, shares={"a": 1, "b": 1}, max_epochs={"a": 1, "b": 1})
    got = list(stream(mix, emit=(*emit, "source")))
    assert sum(int(torch.isnan(one["late"][one["source"] == 0]).sum()) for one in got) == len(bad["late"])
    assert not any(bool(torch.isnan(one["late"][one["source"] == 1]).any()) for one in got)


def test_missing_labels(tmp_path: Path) -> None:
    """A sample without a label, and a row that fills up a batch, have what a loss leaves out."""
    schema = ts.Schema(tokens=ts.Tokens(9), label=ts.Label(4, optional=True))
    with ts.create(str(tmp_path / "s"), schema) as writer:
        writer.extend(tokens=[[1], [2], [3]], label=[3, None, 0])
    data = ts.StreamingDataset(ts.open(str(tmp_path / "s")), batch_size=4, shuffle=False, emit=("input_ids", "label"))
    (batch,) = data
    assert batch["label"].tolist() == [3, -100, 0, -100]
    assert batch["label"].dtype == torch.int64
