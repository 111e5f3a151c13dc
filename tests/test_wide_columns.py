"""Columns of every type in a store: what comes back, in which form, and how little is read for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts

RNG = np.random.default_rng(0)
COUNT = 3000


def batch() -> dict[str, Any]:
    """Make samples of many types."""
    lengths = RNG.integers(0, 20, COUNT)
    ids = RNG.integers(0, 5000, lengths.sum())
    return {
        "tokens": ts.Ragged(ids, lengths),
        "mask": ts.Ragged(ids % 3 == 0, lengths),
        "codes": RNG.integers(0, 300, (COUNT, 4, 8)).cumsum(axis=2) % 300,
        "audio": [None if i % 3 == 0 else RNG.integers(0, 1024, (i % 5, 8)) for i in range(COUNT)],
        "vector": RNG.standard_normal((COUNT, 100)).astype(np.float32),
        "half": [None if i % 2 else np.full(20, i % 64 / 4, np.float32) for i in range(COUNT)],
        "quality": RNG.random(COUNT),
        "labels": ts.Ragged(ids % 5, lengths),
        "source": [None if i % 5 == 0 else f"c{i % 11}" for i in range(COUNT)],
        "raw": [bytes([i % 256]) * (i % 4) for i in range(COUNT)],
        "bits": RNG.random((COUNT, 9)) < 0.3,
        "features": ts.Ragged(RNG.random((lengths.sum(), 4)).astype(np.float16), lengths),
    }


SCHEMA = ts.Schema(
    tokens=ts.Tokens(5000),
    mask=ts.Mask(),
    codes=ts.Codes(300, (4, 8)),
    audio=ts.Codes(1024, (None, 8), optional=True),
    vector=ts.Vector(100),
    half=ts.Vector(20, "bfloat16", optional=True),
    quality=ts.Score(max_error=0.01),
    labels=ts.Label(5, shape=(None,)),
    source=ts.Category(optional=True),
    raw=ts.Bytes(),
    bits=ts.Array(bool, (9,)),
    features=ts.Array("float16", (None, 4)),
)


@pytest.mark.parametrize("level", ["plain", "fast", "default"])
def test_all_types_come_back(tmp_path: Path, level: str) -> None:
    """Whole, by position, and one by one, over several shards; and all of it is sound."""
    given = batch()
    with ts.create(tmp_path / "s", SCHEMA, level=level, shard_tokens=10_000) as writer:
        writer.extend(given)
    store = ts.open(tmp_path / "s")
    assert store.describe()["shards"] > 1
    for chosen in (np.arange(COUNT), RNG.permutation(COUNT)[:200]):
        found = store.take(chosen)
        for name in ("tokens", "mask", "labels", "features"):
            assert found[name] == given[name][chosen]
        for name in ("codes", "vector", "bits"):
            assert np.array_equal(found[name], given[name][chosen])
        assert found["codes"].dtype == np.int32
        assert np.abs(found["quality"] - given["quality"][chosen]).max() <= 0.01
        for name in ("source", "raw"):
            assert found[name] == [given[name][i] for i in chosen.tolist()]
        for row, i in enumerate(chosen.tolist()):
            expected = np.zeros((0, 8)) if given["audio"][i] is None else given["audio"][i]
            assert np.array_equal(found["audio"][row], expected)
            assert np.isnan(found["half"][row]).all() if i % 2 else (found["half"][row] == np.float32(i % 64 / 4)).all()
    sample = store[7]
    assert sample["source"] == "c7"
    assert sample["half"] is None
    assert sample["codes"].shape == (4, 8)
    assert ts.verify(tmp_path / "s").problems == []


@pytest.mark.parametrize("options", [{}, {"codec": "pca", "max_error": 0.05}, {"codec": "int8"}], ids=str)
def test_first_dimensions_read_their_bytes_alone(tmp_path: Path, options: dict[str, Any]) -> None:
    """`dims=` reads bytes in proportion, and gives what all dimensions begin with."""
    vectors = (RNG.standard_normal((4000, 128)) * 0.9 ** np.arange(128)).astype(np.float32)
    kind = ts.Vector(128, groups=[16, 32, 64, 128], **options)
    with ts.create(tmp_path / "s", ts.Schema(v=kind)) as writer:
        writer.extend(v=vectors)
    read = {}
    for dims in (16, 32, 128):
        store = ts.open(tmp_path / "s")
        store.take([0], ["v"], dims=1)  # the tail is there now, and one block
        before = store.storage.bytes_read
        found = store.take(np.arange(1024, 4000), ["v"], dims=dims)["v"]
        read[dims] = store.storage.bytes_read - before
        assert found.shape == (2976, dims)
        if not options:
            assert np.array_equal(found, vectors[1024:, :dims])
    if not options:
        assert read[16] < 0.16 * read[128]
        assert read[32] < 0.32 * read[128]
    assert read[16] < read[32] < read[128]
    with pytest.raises(ValueError, match="dims is 1 to 128"):
        store.take([0], ["v"], dims=129)
    assert ts.verify(tmp_path / "s").problems == []


def test_turned_vectors_keep_their_bound(tmp_path: Path) -> None:
    """The error of every coordinate is what was promised, what was measured is shown, and appends share the model."""
    vectors = RNG.standard_normal((3000, 24)).astype(np.float32)
    schema = ts.Schema(v=ts.Vector(24, codec="pca", max_error=0.02))
    with ts.create(tmp_path / "s", schema) as writer:
        writer.extend(v=vectors)
    for _ in range(3):
        with ts.open(tmp_path / "s").writer() as writer:
            writer.extend(v=vectors[:10])
    store = ts.open(tmp_path / "s")
    found = store["v"]
    assert np.linalg.norm(found[:3000] - vectors, axis=1).max() <= 0.02 * np.sqrt(24) * 1.05
    assert np.allclose(found[3000:3010], found[:10], atol=1e-5)
    (facts,) = store.describe()["columns"]
    assert 0 < facts["quality"]["rms"] <= facts["quality"]["max"] < 0.1
    assert facts["quality"]["recall10"] > 0.9
    assert len(list((tmp_path / "s" / "objects").rglob("*/*"))) == 1
    with pytest.raises(ValueError, match="finite"):
        ts.create(tmp_path / "t", schema).extend(v=np.full((1, 24), np.inf))


def test_soft_labels_come_back(tmp_path: Path) -> None:
    """The top classes of each sample, all of them in bytes, and those that are missing."""
    dense = RNG.dirichlet(np.ones(6), 50).astype(np.float32)
    top = np.argsort(-dense, axis=1)[:, :2]
    schema = ts.Schema(top=ts.SoftLabel(6, top=2), every=ts.SoftLabel(6, dtype="uint8", optional=True))
    with ts.create(tmp_path / "s", schema) as writer:
        writer.extend(top=dense, every=[None if i % 2 else dense[i] for i in range(50)])
        writer.append(top=(top[0], dense[0][top[0]]), every=None)
    store = ts.open(tmp_path / "s")
    found = store["top"]
    assert np.array_equal(found.ids[:50], top)
    assert np.allclose(found.probs[:50], np.take_along_axis(dense, top, axis=1), atol=5e-4)
    assert found[50] == found[0]
    assert np.allclose(found.dense(rest="uniform").sum(axis=1), 1, atol=2e-3)
    every = store["every"]
    assert np.abs(every.probs[0:50:2] - dense[::2]).max() <= 0.5 / 255 + 1e-6
    assert np.isnan(every.probs[1]).all()
    assert store[1]["every"] is None


BAD: list[tuple[Any, Any, str]] = [
    (ts.Codes(4, (2,)), [[0, 4]], "row 0 has a code outside 0 to 3"),
    (ts.Codes(4, (2,)), [[0, 1, 2]], "shape"),
    (ts.Codes(4, (None, 2)), [[[0, 1, 2]]], "shape"),
    (ts.Vector(3), np.zeros((2, 4), np.float32), "shape"),
    (ts.Vector(3, codec="int8"), [[0, 0, np.nan]], "not finite"),
    (ts.Score(max_error=0.1), [np.inf], "infinite"),
    (ts.Array("int8"), [200], "outside -128 to 127"),
    (ts.Array("bool", (2,)), [[0, 2]], "booleans"),
    (ts.Mask(None), [[0.5]], "booleans"),
    (ts.Category(), [None], "missing"),
    (ts.Category(), [7], "not str"),
    (ts.Bytes(), ["text"], "not bytes"),
    (ts.SoftLabel(4, top=2), [[0.5, 0.5, 0.5]], "4 probabilities"),
    (ts.SoftLabel(4, top=1), [([4], [0.5])], "class is outside"),
    (ts.SoftLabel(4, top=2), [([1, 1], [0.5, 0.5])], "names a class twice"),
    (ts.SoftLabel(4), [[0.5, 0.5, 0.5, 1.5]], "outside 0 to 1"),
    (ts.Label(3, shape=(2,)), [[0, 3]], "row 0 has a label outside 0 to 2"),
]


@pytest.mark.parametrize(("kind", "given", "message"), BAD, ids=[f"{one[0]!r}-{one[2]}" for one in BAD])
def test_wrong_values_are_refused(tmp_path: Path, kind: Any, given: Any, message: str) -> None:
    """Each wrong value is one clear error that names the column, and nothing is written."""
    writer = ts.create(tmp_path / "s", ts.Schema(c=kind))
    with pytest.raises((ValueError, TypeError), match=message):
        writer.extend(c=given)
    writer.abort()
    assert not (tmp_path / "s").exists()


def test_masks_are_as_long_as_what_they_mask(tmp_path: Path) -> None:
    """A mask of another length is refused, and so is one of a column that is not there."""
    with ts.create(tmp_path / "s", ts.Schema(tokens=ts.Tokens(9), mask=ts.Mask())) as writer:
        with pytest.raises(ValueError, match="row 1 has 1 bits for 2 values of 'tokens'"):
            writer.extend(tokens=[[1], [2, 3]], mask=[[True], [False]])
        writer.extend(tokens=[[1], [2, 3]], mask=[[True], [False, True]])
    assert ts.open(tmp_path / "s")["mask"].to_list() == [[True], [False, True]]
    with pytest.raises(ValueError, match="masks 'tokens'"):
        ts.Schema(mask=ts.Mask(of="tokens"))


def test_a_budget_that_cannot_be_met_is_an_error(tmp_path: Path) -> None:
    """The store is not made, and the message says what can be reached."""
    schema = ts.Schema(v=ts.Vector(64, codec="pca", bytes_per_vector=0.2))
    with pytest.raises(ValueError, match="bytes"), ts.create(tmp_path / "s", schema) as writer:
        writer.extend(v=RNG.standard_normal((300, 64)))
    assert not (tmp_path / "s").exists()


def test_too_many_categories_are_an_error(tmp_path: Path) -> None:
    """65,536 different strings fit, one more does not."""
    with ts.create(tmp_path / "s", ts.Schema(c=ts.Category())) as writer:
        writer.extend(c=[str(i) for i in range(65_536)])
    assert ts.open(tmp_path / "s").take([65_535])["c"] == ["65535"]
    with pytest.raises(ValueError, match="more than 65536 categories"), ts.open(tmp_path / "s").writer() as writer:
        writer.extend(c=["one more"])
    assert len(ts.open(tmp_path / "s")) == 65_536


@pytest.mark.parametrize("shape", [(None,), (2,)])
def test_unsigned_numbers_of_64_bits_in_lists(tmp_path: Path, shape: tuple[int | None, ...]) -> None:
    """Lists with numbers below and above 2**63 are integers, one sample alone and several together."""
    samples = [[1, 2**64 - 1], [3, 4], [2**63, 2**63 + 1]]
    with ts.create(tmp_path / "s", ts.Schema(a=ts.Array("uint64", shape))) as writer:
        writer.extend(a=samples)
        writer.append(a=samples[0])
        with pytest.raises((TypeError, ValueError), match="column 'a'"):
            writer.extend(a=[[-1, 2**64 - 1]])
        with pytest.raises(TypeError, match="takes integers"):
            writer.extend(a=[[0.5, 2.0]])
    store = ts.open(tmp_path / "s")
    assert [store[i]["a"].tolist() for i in range(4)] == [*samples, samples[0]]
