"""Columns added, filled, dropped and renamed: values in every form, no shard touched, refused input leaves no trace."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from files import data_files, tree

COUNT = 60
SCHEMA = ts.Schema(t=ts.Tokens(300), l=ts.Label(5))


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """No power is cut here."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture
def store(tmp_path: Path) -> ts.Store:
    """A store of many small shards, some samples of which are deleted."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 300, n) for n in rng.integers(0, 40, COUNT + 5)]
    with ts.create(tmp_path / "s", SCHEMA, shard_tokens=150, threads=1) as w:
        w.extend(t=rows, l=np.arange(COUNT + 5) % 5)
    opened = ts.open(tmp_path / "s")
    opened.delete([3, 4, 20, 59, 64])
    return opened


def folder(store: ts.Store) -> Path:
    """Return where a store is."""
    return Path(store.path)


SCORES = np.linspace(-1, 1, COUNT, dtype=np.float32)
FORMS: dict[str, Callable[[ts.Store], dict[str, Any]]] = {
    "array": lambda s: {"values": SCORES},
    "list": lambda s: {"values": SCORES.tolist()},
    "masked": lambda s: {"values": np.ma.MaskedArray(SCORES, np.zeros(COUNT, bool))},
    "big-endian": lambda s: {"values": SCORES.astype(">f4")},
    "iterator": lambda s: {"values": (SCORES[i : i + 7] for i in range(0, COUNT, 7))},
    "list of arrays as batches": lambda s: {"values": iter([SCORES[:0], SCORES[:1], SCORES[1:]])},
    "function": lambda s: {"values": lambda b: SCORES[np.searchsorted(ids_of(s), b["sample_id"])], "inputs": ["l"]},
    "ids": lambda s: {"values": SCORES[::-1], "ids": ids_of(s)[::-1]},
    "not optional": lambda s: {"values": SCORES, "optional": False},
}


def ids_of(store: ts.Store) -> Any:
    """Return the sample ids of all samples."""
    return store.take(slice(None), [])["sample_id"]


@pytest.mark.parametrize("form", FORMS)
def test_values_in_every_form(form: str, store: ts.Store) -> None:
    """However the values are given, they are those of the samples, in one version, in files beside the old ones."""
    before, version = tree(folder(store)), store.version
    options = FORMS[form](store)
    store.add_column("q", options.pop("values"), ts.Score(), **options)
    assert store["q"].tolist() == SCORES.tolist()
    assert store.version == version + 1
    assert store.schema["q"] == ts.Score(optional=options.get("optional", True))
    after = tree(folder(store))
    assert {name: data for name, data in after.items() if name in before and name != "latest"} == {
        name: data for name, data in before.items() if name != "latest"
    }
    (new,) = [name for name in set(after) - set(before) if name.endswith(".tok")]
    assert ts.verify(store.path).problems == []
    assert dict(ts.open(store.path, version=version).schema) == dict(SCHEMA)
    page = store._version.pages([0])[0]
    assert page.shards > 5, "one file is for all shards"
    assert new.endswith(f"{page.file_ids[-1].hex()}.tok")


def test_ragged_and_text(store: ts.Store) -> None:
    """Tokens as a Ragged, from a generator of them; text with missing ones; NaN is a value and missing is not."""
    rows = [[i] * (i % 4) for i in range(COUNT)]
    store.add_column(
        "r", ts.Ragged(np.concatenate([np.array(r, int) for r in rows]), [len(r) for r in rows]), ts.Tokens(99)
    )
    store.add_column("g", (ts.Ragged.from_rows(rows[i : i + 9]) for i in range(0, COUNT, 9)), ts.Tokens(70_000))
    texts = [None if i % 3 else f"é{i}" for i in range(COUNT)]
    store.add_column("x", texts, ts.Text(), level="small")
    store.add_column("n", [None if i % 3 else float("nan") for i in range(COUNT)], ts.Score("float64"))
    assert store["r"].to_list() == store["g"].to_list() == rows
    assert store["x"] == texts
    assert store.missing("n").tolist() == store.missing("x").tolist() == [bool(i % 3) for i in range(COUNT)]
    columns = {one["name"]: one for one in store.describe()["columns"]}
    assert columns["n"]["nan"] == COUNT // 3
    assert columns["x"]["level"] == "small"
    assert columns["r"]["level"] == columns["t"]["level"] == "default"
    assert ts.verify(store.path).problems == []


def test_only_the_inputs_are_read(tmp_path: Path) -> None:
    """A function of a small column costs the bytes of that column and of the manifest, not those of the tokens."""
    rng = np.random.default_rng(0)
    with ts.create(tmp_path / "s", SCHEMA, level="plain", shard_tokens=100_000) as w:
        w.extend(t=[rng.integers(0, 300, 1000) for _ in range(500)], l=np.arange(500) % 5)
    store = ts.open(tmp_path / "s")
    before = store.storage.bytes_read
    store.add_column("twice", lambda b: 2 * b["l"], ts.Label(), inputs=["l"])
    assert store.storage.bytes_read - before < 60_000
    assert sum(path.stat().st_size for path in data_files(tmp_path / "s")) > 500_000
    assert store["twice"].tolist() == (2 * (np.arange(500) % 5)).tolist()
    seen: list[set[str]] = []
    store.add_column("u", lambda b: seen.append(set(b)) or b["l"], ts.Label(), inputs=["l"], batch_size=100)
    assert seen == [{"l", "sample_id"}] * 5


def test_memory_is_that_of_a_file(store: ts.Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Values of many files are written one file after another, whatever their number."""
    with ts.create(tmp_path / "big", ts.Schema(l=ts.Label(2)), threads=1) as w:
        for _ in range(40):
            w.extend(l=np.zeros(10_000, int))
            w.commit()
    monkeypatch.setattr("tokstore.column_files.FILE_BYTES", 80_000)
    monkeypatch.setattr("tokstore.column_values._PIECE_ROWS", 10_000)
    big = ts.open(tmp_path / "big")
    rng = np.random.default_rng(0)
    tracemalloc.start()
    try:
        big.add_column("q", (rng.random(1000) for _ in range(400)), ts.Score("float64"), level="plain", threads=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(data_files(tmp_path / "big")) == 80
    assert peak < 1_600_000, "3.2 MB of values were not held at once"


def test_what_is_appended_later_is_missing_until_filled(store: ts.Store) -> None:
    """Old pipelines go on; what they append has no value until it is filled, by ids or by a function."""
    old = ts.open(store.path).writer()
    store.add_column("q", SCORES, ts.Score())
    store.add_column("x", ["a"] * COUNT, ts.Text())
    with old as w:
        w.extend(t=[[1], [2, 2]], l=[0, 1])
    with store.refresh().writer() as w:
        w.extend(t=[[3] * 3], l=[2], q=[0.25])
    assert store.missing("q").tolist() == [False] * COUNT + [True, True, False]
    files = len(data_files(folder(store)))
    new = ids_of(store)[COUNT:]
    store.fill_column("q", [7.0, 8.0, 9.0], ids=[new[1], new[2], 0])
    assert np.isnan(store["q"][COUNT])
    assert store["q"][COUNT + 1 :].tolist() == [7.0, 8.0]
    assert store["q"][:3].tolist() == [9.0, *SCORES[1:3].tolist()]
    called: list[int] = []
    store.fill_column("x", lambda b: called.append(len(b["sample_id"])) or [str(len(r)) for r in b["t"]], inputs=["t"])
    assert store["x"] == ["a"] * COUNT + ["1", "2", "3"]
    assert sum(called) == 3, "only samples without a value are computed"
    store.add_column("x", ["b"], ts.Text(), ids=new[:1], exist="fill")
    assert store["x"][COUNT:] == ["b", "2", "3"]
    version = store.version
    store.fill_column("x", lambda b: ["never"] * len(b["sample_id"]), inputs=["t"])
    assert store.version == version
    assert len(data_files(folder(store))) - files <= 5, "only shards that get values are written again"
    assert ts.verify(store.path).problems == []


def test_a_column_that_must_not_be_missing(store: ts.Store) -> None:
    """Samples appended later have to have it; a writer that began before it was added is refused and leaves nothing."""
    old = ts.open(store.path).writer()
    store.add_column("q", SCORES, ts.Score(), optional=False)
    before = tree(folder(store))
    with pytest.raises(ts.ConflictError, match="column 'q' was added meanwhile"), old as w:
        w.append(t=[1], l=0)
    with pytest.raises(ts.ColumnError, match="column 'q' is needed"), store.writer() as w:
        w.append(t=[1], l=0)
    # What the lost commit has left is parts of a manifest that nobody names; `prune` removes them.
    assert {name.split("/")[0] for name in set(tree(folder(store))) - set(before)} <= {"deletions"}
    with store.writer() as w:
        w.append(t=[1], l=0, q=0.5)
    assert store["q"].tolist() == [*SCORES.tolist(), 0.5]
    assert ts.verify(store.path).problems == []


def broken(after: int, error: BaseException) -> Iterator[Any]:
    """Give some batches and then fail."""
    yield from (SCORES[i : i + 10] for i in range(0, 10 * after, 10))
    raise error


REFUSED: dict[str, tuple[Callable[[ts.Store], Any], type[BaseException], str]] = {
    "too few": (lambda s: s.add_column("q", SCORES[1:], ts.Score()), ValueError, "59 values for 60 samples"),
    "too many": (lambda s: s.add_column("q", [0.5] * 61, ts.Score()), ValueError, "61 values for 60 samples"),
    "few batches": (lambda s: s.add_column("q", iter([SCORES[:50]]), ts.Score()), ValueError, "50 values for 60"),
    "many batches": (
        lambda s: s.add_column("q", iter([SCORES, SCORES[:1]]), ts.Score()), ValueError, "more than 60 values for 60"
    ),
    "long batch": (lambda s: s.add_column("q", iter([[0.0] * 99]), ts.Score()), ValueError, "99 values or more for 60"),
    "function of other length": (
        lambda s: s.add_column("q", lambda b: [0.0], ts.Score(), inputs=["l"], batch_size=9),
        ValueError, "the function returned 1 values for a batch of 9 samples",
    ),
    "unknown input": (lambda s: s.add_column("q", len, ts.Score(), inputs=["m"]), ts.ColumnError, "no column 'm'"),
    "function without inputs": (lambda s: s.add_column("q", len, ts.Score()), TypeError, "a function takes inputs="),
    "function with ids": (
        lambda s: s.add_column("q", len, ts.Score(), inputs=["l"], ids=[1]), TypeError, "and no ids="
    ),
    "inputs without function": (
        lambda s: s.add_column("q", SCORES, ts.Score(), inputs=["l"]), TypeError, "inputs= are for a function"
    ),
    "unknown id": (lambda s: s.add_column("q", [1.0], ts.Score(), ids=[999]), ValueError, "no sample has id 999"),
    "deleted id": (lambda s: s.add_column("q", [1.0], ts.Score(), ids=[3]), ValueError, "no sample has id 3, or it is"),
    "negative id": (lambda s: s.add_column("q", [1.0], ts.Score(), ids=[-1]), ValueError, "no sample has id -1"),
    "an id twice": (lambda s: s.add_column("q", [1.0] * 3, ts.Score(), ids=[7, 5, 7]), ValueError, "id 7 is given"),
    "ids of other length": (lambda s: s.add_column("q", [1.0], ts.Score(), ids=[1, 2]), ValueError, "1 values for 2"),
    "ids of floats": (lambda s: s.add_column("q", [1.0], ts.Score(), ids=[1.0]), TypeError, "flat list of sample ids"),
    "ids with batches": (lambda s: s.add_column("q", iter([[1.0]]), ts.Score(), ids=[1]), TypeError, "with ids= the"),
    "required for some": (
        lambda s: s.add_column("q", [1.0], ts.Score(), ids=[1], optional=False), ValueError, "1 of 60 samples have"
    ),
    "required and None": (
        lambda s: s.add_column("q", [None] * 60, ts.Score(), optional=False), ValueError, "row 0 is missing"
    ),
    "name is there": (lambda s: s.add_column("l", SCORES, ts.Score()), ts.ExistsError, "there is a column 'l'"),
    "sample_id": (lambda s: s.add_column("sample_id", SCORES, ts.Score()), ValueError, "no column is named"),
    "bad name": (lambda s: s.add_column("a b", SCORES, ts.Score()), ValueError, "column name 'a b' is not"),
    "no type": (lambda s: s.add_column("q", SCORES, ts.Score), TypeError, "column 'q' is a column type such as"),
    "values of another kind": (lambda s: s.add_column("q", ["x"] * 60, ts.Score()), TypeError, "takes floating-point"),
    "text": (lambda s: s.add_column("q", "x" * 60, ts.Text()), TypeError, "not str"),
    "a number": (lambda s: s.add_column("q", 5, ts.Score()), TypeError, "not int"),
    "late row": (
        lambda s: s.add_column("q", iter([[0.0] * 50, [1e300] * 10]), ts.Score()), ValueError, "too large for float32"
    ),
    "level": (lambda s: s.add_column("q", SCORES, ts.Score(), level="best"), ValueError, "level is one of"),
    "exist": (lambda s: s.add_column("q", SCORES, ts.Score(), exist="replace"), ValueError, 'exist is "error" or'),
    "fill of another type": (
        lambda s: s.add_column("l", [0.5], ts.Score(), ids=[1], exist="fill"), ValueError, "column 'l' is Label(5)"
    ),
    "first tokens": (lambda s: s.fill_column("t", [[1]], ids=[1]), ValueError, "column 't' is the primary one"),
    "fill without ids": (lambda s: s.fill_column("l", [1]), TypeError, "fill_column takes values with ids="),
    "fill with None": (lambda s: s.fill_column("l", [None], ids=[1]), ValueError, "row 0 is missing"),
    "an error": (lambda s: s.add_column("q", broken(4, RuntimeError("mine")), ts.Score()), RuntimeError, "mine"),
    "Ctrl-C": (lambda s: s.add_column("q", broken(5, KeyboardInterrupt()), ts.Score()), KeyboardInterrupt, ""),
    "drop unknown": (lambda s: s.drop_column("m"), ts.ColumnError, "no column 'm'"),
    "drop primary": (lambda s: s.drop_column("t"), ValueError, "column 't' cannot be dropped: it is the primary one"),
    "rename unknown": (lambda s: s.rename_column("m", "n"), ts.ColumnError, "no column 'm'"),
    "rename to another": (lambda s: s.rename_column("t", "l"), ts.ExistsError, "there is a column 'l'"),
    "rename to sample_id": (lambda s: s.rename_column("t", "sample_id"), ValueError, "no column is named 'sample_id'"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused_input_leaves_the_store_as_it_was(what: str, store: ts.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wrong call says what is wrong and leaves no file, seen at once or after files were written."""
    monkeypatch.setattr("tokstore.column_files.FILE_BYTES", 40)
    monkeypatch.setattr("tokstore.column_values._PIECE_ROWS", 8)
    before = tree(folder(store))
    call, kind, message = REFUSED[what]
    with pytest.raises(kind) as caught:
        call(store)
    assert message in str(caught.value)
    assert tree(folder(store)) == before
    assert ts.verify(store.path).problems == []


def test_a_pinned_store_is_read_only(store: ts.Store) -> None:
    """What was opened at a version, or is a single file, takes no column."""
    pinned = ts.open(store.path, version=1)
    for call in (lambda: pinned.add_column("q", [], ts.Score()), lambda: pinned.drop_column("l")):
        with pytest.raises(ts.UnsupportedError, match="read-only"):
            call()


def test_the_primary_column_stays(tmp_path: Path) -> None:
    """Neither texts nor tokens that were added beside fixed columns decide spans (format.md 6.2)."""
    with ts.create(tmp_path / "s", ts.Schema(q=ts.Score(), l=ts.Label()), threads=1) as w:
        w.extend(q=SCORES, l=np.arange(COUNT))
    store = ts.open(tmp_path / "s")
    spans = store.spans().samples.tolist()
    store.add_column("t", [[1]] * COUNT, ts.Tokens(5))
    store.drop_column("t")
    assert store.spans().samples.tolist() == spans
    store.add_column("x", ["a" * i for i in range(COUNT)], ts.Text())
    store.add_column("y", ["b" * i for i in range(COUNT)], ts.Text())
    assert ts.open(tmp_path / "s").schema.primary.name == "q"
    with store.writer() as w:
        w.append(q=1.0, l=5, x="long" * 100)
    store.delete([0])
    store.compact(min_deleted=0)
    assert store.schema.primary.name == "q"
    assert store.spans().samples.sum() == spans[0]
    store.drop_column("l")
    with pytest.raises(ValueError, match="primary"):
        store.drop_column("q")
    assert ts.verify(tmp_path / "s").problems == []
    with ts.create(tmp_path / "one", ts.Schema(q=ts.Score())) as w:
        w.append(q=1.0)
    with pytest.raises(ValueError, match="is the only one"):
        ts.open(tmp_path / "one").drop_column("q")


def test_drop_and_rename_write_a_root(store: ts.Store) -> None:
    """Only the manifest changes; ids of columns are never used again; old versions keep the old names."""
    store.add_column("q", SCORES, ts.Score())
    before = tree(folder(store))
    store.rename_column("q", "quality")
    store.drop_column("l")
    after = tree(folder(store))
    assert {name.split("/")[0] for name in set(after) - set(before)} == {"manifests"}
    assert store["quality"].tolist() == SCORES.tolist()
    assert store.schema.names == ("t", "quality")
    assert ts.open(store.path, version=3)["l"].tolist() == ts.open(store.path, version=2)["l"].tolist()
    store.add_column("l", ["text"] * COUNT, ts.Text())
    assert [one.column_id for one in store.schema.columns] == [0, 2, 3]
    assert store["l"] == ["text"] * COUNT
    version = store.version
    store.rename_column("l", "l")
    assert store.version == version
    assert [one.verb for one in store.versions()[:4]] == ["add_column", "drop_column", "rename_column", "add_column"]
    assert ts.verify(store.path).problems == []


def test_no_samples(tmp_path: Path) -> None:
    """A store without samples takes columns too, and samples with them."""
    with ts.create(tmp_path / "s", SCHEMA):
        pass
    store = ts.open(tmp_path / "s")
    store.add_column("q", [], ts.Score())
    store.add_column("r", lambda b: b["l"], ts.Label(), inputs=["l"], optional=False)
    with store.writer() as w:
        w.append(t=[1], l=1, r=5)
    assert store["r"].tolist() == [5]
    assert store.missing("q").tolist() == [True]
    assert ts.verify(tmp_path / "s").problems == []


def test_progress_counts_samples(store: ts.Store) -> None:
    """Progress of adding and filling goes up to the number of samples."""
    seen: list[ts.Progress] = []
    store.add_column("q", SCORES[:10], ts.Score(), ids=ids_of(store)[:10], progress=seen.append)
    assert (seen[-1].done, seen[-1].total, seen[-1].unit, seen[-1].what) == (COUNT, COUNT, "samples", "add q")
    store.fill_column("q", lambda b: b["l"] / 2, inputs=["l"], progress=seen.append)
    assert seen[-1].what == "fill q"
    assert seen[-1].done == COUNT - 10


def test_damage_in_added_columns_is_found(store: ts.Store) -> None:
    """A flipped bit, a cut, a missing or a swapped column file: reading raises and `verify` tells."""
    store.add_column("q", SCORES, ts.Score())
    store.add_column("r", -SCORES, ts.Score())
    first, second = (store._version.pages([0])[0].file_ids[-k].hex() for k in (2, 1))
    path, other = (folder(store) / "data" / one[:2] / f"{one}.tok" for one in (first, second))
    whole = path.read_bytes()
    for at in (70, len(whole) // 2, len(whole) - 80):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert any(first in str(one) for one in ts.verify(store.path).problems), at
    for damaged in (whole[:-100], other.read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(ts.CorruptError):
            ts.open(store.path)["q"]
        assert any(first in str(one) for one in ts.verify(store.path).problems)
    path.unlink()
    with pytest.raises(ts.MissingFileError):
        ts.open(store.path)["q"]
    assert ts.open(store.path)["r"].tolist() == (-SCORES).tolist()
    assert ts.verify(store.path).problems


def test_tokens_for_a_store_without_any(tmp_path: Path) -> None:
    """Tokens that are added later are not the primary column; filters, batches and views take them like any others."""
    rng = np.random.default_rng(5)
    lengths = rng.integers(0, 900, 1000)
    lengths[[0, 7]] = 0, 40_000
    ids = ts.Ragged(rng.integers(8, 300, lengths.sum()), lengths)
    with ts.create(tmp_path / "s", ts.Schema(q=ts.Score()), threads=1) as writer:
        writer.extend(q=np.arange(600.0))
    with ts.open(tmp_path / "s").writer(threads=1) as writer:
        writer.extend(q=np.arange(400.0))
    store = ts.open(tmp_path / "s")
    with pytest.raises(ts.ColumnError, match="no token column"):
        _ = store.token_column
    with pytest.raises(ts.ColumnError, match="no token column"):
        ts.StreamingDataset(store, seq_len=100)
    before = store.fingerprint
    store.add_column("tokens", ids, ts.Tokens(300, eos_id=7), threads=1)
    assert store.schema.primary.name == "q"
    for opened in (store, ts.open(tmp_path / "s"), pickle.loads(pickle.dumps(store)), store.select(["tokens"])):
        assert opened.token_column == "tokens"
        assert opened.token_count == lengths.sum()
        assert opened.spans().values.max() < 2 << 18
        assert opened.read_range(5, 9).tolist() == ids.values[lengths[:5].sum() : lengths[:9].sum()].tolist()
    assert store.fingerprint != before
    assert store.where("length(tokens) > 850")["sample_id"].tolist() == np.flatnonzero(lengths > 850).tolist()
    assert store[3:6]["tokens"].to_list() == [ids[i].tolist() for i in range(3, 6)]
    found = np.concatenate([batch["tokens"].values for batch in store.scan(["tokens"])])
    assert found.tolist() == ids.values.tolist()
    assert store.sample(tokens=5000, seed=1).token_count <= 5000 + 40_000
    assert ts.verify(store.path).problems == []


@pytest.mark.parametrize("packing", ["concat", "fit", "whole", None])
@pytest.mark.parametrize("shuffle", [True, False])
def test_streaming_added_tokens(packing: str | None, shuffle: bool, tmp_path: Path) -> None:
    """A loader gives every token once, of the store and of a view, after deletions, appends and a compact too."""
    rng = np.random.default_rng(5)
    lengths = rng.integers(1, 90, 500)
    ids = ts.Ragged(rng.integers(8, 60_000, lengths.sum()), lengths)
    with ts.create(tmp_path / "s", ts.Schema(q=ts.Score()), threads=1) as writer:
        writer.extend(q=np.arange(500.0))
    store = ts.open(tmp_path / "s")
    store.add_column("tokens", ids, ts.Tokens(60_000), threads=1)
    with store.writer(threads=1) as writer:
        writer.append(q=0.0)
        writer.append(q=1.0, tokens=[8, 9, 10])
    store.delete(np.arange(0, 500, 3))
    for _ in range(2):
        for view in (store, store.where("q < 300"), store.sort("q", descending=True)):
            options: dict[str, Any] = {"seq_len": 90, "packing": packing, "shuffle": shuffle, "batch_size": 4}
            data = ts.StreamingDataset(view, **options, emit=("input_ids", "attention_mask"))
            got = np.concatenate([b["input_ids"].numpy()[b["attention_mask"].numpy() > 0] for b in data])
            values = view.read_range(0, len(view))
            assert len(values) == view.token_count > 5000
            is_cut = packing == "concat"
            assert np.abs(len(got) - len(values)) <= (90 if is_cut else 0)
            assert is_cut or np.array_equal(np.sort(got), np.sort(values))
        store.compact(min_deleted=0, threads=1)
    assert ts.verify(store.path).problems == []


def test_a_mask_of_a_column_that_is_there(store: ts.Store) -> None:
    """A mask alone is added to what it masks, filled and renamed; one of another length is refused, and named."""
    lengths = store["t"].lengths.tolist()
    bits = [[i % 3 > 0] * n for i, n in enumerate(lengths)]
    store.add_column("m", bits, ts.Mask(of="t"))
    assert [row.tolist() for row in store["m"]] == bits
    store.rename_column("m", "loss")
    store.fill_column("loss", [[True] * lengths[7]], ids=[int(store["sample_id"][7])])
    assert store["loss"][7].tolist() == [True] * lengths[7]
    version, files = store.version, tree(folder(store))
    wrong = [*bits[:41], [True] * (lengths[41] + 2), *bits[42:]]
    says = rf"the sample at position 41 has {lengths[41] + 2} bits for {lengths[41]} values of 't'"
    with pytest.raises(ValueError, match=says):
        store.add_column("n", wrong, ts.Mask(of="t"))
    with pytest.raises(ValueError, match=rf"position 41 has 1 bits for {lengths[41]} values of 't'"):
        store.fill_column("loss", [[True]], ids=[int(store["sample_id"][41])])
    for of in ("l", "none", "n"):
        with pytest.raises(ValueError, match=f"column 'n' masks '{of}', which is no column of values"):
            store.add_column("n", bits, ts.Mask(of=of))
    assert (store.version, tree(folder(store))) == (version, files)
    assert ts.verify(folder(store)).ok
