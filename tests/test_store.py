"""Stores against a plain Python model: arbitrary schemas, samples, appends and versions come back in every way."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tokstore as ts
from strategies import Sample, as_batch, batch_rows, delivered, plain, same_sample, samples, schemas, small_blocks
from tokstore.schema import Schema
from tokstore.tokenizer import BYTES
from tokstore.view_reader import ViewReader

SLOW = settings(
    max_examples=settings.default.max_examples * 2 // 5,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def check_rows(schema: Schema, batch: dict[str, Any], expected: list[Sample], ids: list[int]) -> None:
    """Check a batch against the samples of the model."""
    assert batch["sample_id"].tolist() == ids
    found = batch_rows(schema, batch)
    assert len(found) == len(expected)
    for one, wanted in zip(found, expected, strict=True):
        assert same_sample(schema, one, delivered(schema, wanted))


def check_store(store: ts.Store, model: list[Sample], data: st.DataObject) -> None:
    """Check every way to read a store against the model."""
    schema, count = store.schema, len(model)
    assert len(store) == count
    found = list(store)
    assert [one["sample_id"] for one in found] == list(range(count))
    assert all(same_sample(schema, one, wanted) for one, wanted in zip(found, model, strict=True))
    check_rows(schema, store[:], model, list(range(count)))
    for name in schema.names:
        assert store.missing(name).tolist() == [one[name] is None for one in model]
        whole = batch_rows(Schema({name: schema[name]}), {name: store[name], "sample_id": range(count)})
        assert [plain(one[name]) for one in whole] == [plain(delivered(schema, one)[name]) for one in model]
    part = data.draw(st.slices(count))
    check_rows(schema, store[part], model[part], list(range(count))[part])
    if count:
        positions = data.draw(st.lists(st.integers(-count, count - 1), max_size=2 * count))
        chosen = [position % count for position in positions]
        check_rows(schema, store.take(positions), [model[i] for i in chosen], chosen)
        items = store.__getitems__(positions)
        assert [one["sample_id"] for one in items] == chosen
        assert all(same_sample(schema, one, model[i]) for one, i in zip(items, chosen, strict=True))
        assert same_sample(schema, store[positions[0] if positions else -1], model[chosen[0] if chosen else -1])
    mask = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    kept = [i for i, one in enumerate(mask) if one]
    check_rows(schema, store[np.array(mask, bool)], [model[i] for i in kept], kept)
    size, of = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    rows, ids = [], []
    for i in range(of):
        for batch in store.scan(batch_size=size, part=(i, of)):
            assert 1 <= len(batch["sample_id"]) <= size
            rows += batch_rows(schema, batch)
            ids += batch["sample_id"].tolist()
    assert ids == list(range(count))
    assert all(same_sample(schema, one, delivered(schema, wanted)) for one, wanted in zip(rows, model, strict=True))
    check_tokens(store, model, data)


def check_tokens(store: ts.Store, model: list[Sample], data: st.DataObject) -> None:
    """Check what there is for the token column alone: counts, lengths, parts of samples, ranges of samples, spans."""
    name, count = store.schema.primary.name, len(model)
    if not isinstance(store.schema.primary.type, ts.Tokens):
        with pytest.raises(ts.ColumnError):
            store.token_count  # noqa: B018
        return
    tokens = [one[name] or [] for one in model]
    assert store.token_count == sum(map(len, tokens))
    assert store.lengths().tolist() == list(map(len, tokens))
    first = data.draw(st.integers(0, count))
    stop = data.draw(st.integers(first, count))
    flat = [one for row in tokens[first:stop] for one in row]
    assert store.lengths(first, stop).tolist() == list(map(len, tokens[first:stop]))
    skip = data.draw(st.integers(0, len(flat) + 1))
    limit = data.draw(st.one_of(st.none(), st.integers(0, len(flat) + 1)))
    wanted = flat[skip:] if limit is None else flat[skip : skip + limit]
    assert store.read_range(first, stop, skip=skip, limit=limit).tolist() == wanted
    a = data.draw(st.integers(0, 30))
    b = data.draw(st.one_of(st.none(), st.integers(a, 70)))
    order = data.draw(st.permutations(range(count)))
    assert store.take(order, [name], start=a, stop=b)[name].to_list() == [tokens[i][a:b] for i in order]
    spans = store.spans()
    assert int(spans.samples.sum()) == count
    assert int(spans.values.sum()) == store.token_count
    starts = np.cumsum([0, *map(len, tokens)])
    for start, lead, size in zip(np.cumsum(spans.values) - spans.values, spans.lead, spans.values, strict=True):
        later = [at for at in starts[:-1] if start <= at < start + size]
        owner = [i for i in range(count) if tokens[i] and starts[i] in later]
        assert start + lead == (starts[owner[0]] if owner else start + size)


@SLOW
@given(schemas(), st.data())
def test_any_store_round_trips(schema: Schema, data: st.DataObject) -> None:
    """Any schema, samples in several batches and forms, several shards and versions, small blocks and cut samples."""
    level = data.draw(st.sampled_from(["plain", "fast", "default", "small"]))
    shard_tokens = data.draw(st.sampled_from([1, 7, 50, 1 << 27]))
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        small_blocks(patch)
        versions: list[list[Sample]] = [[]]
        with ts.create(Path(folder) / "s", schema, level=level, shard_tokens=shard_tokens) as writer:
            write_some(writer, schema, versions[0], data)
            if data.draw(st.booleans()):
                writer.commit()
                versions.append(list(versions[0]))
                write_some(writer, schema, versions[1], data)
        for _ in range(data.draw(st.integers(0, 2))):
            store = ts.open(Path(folder) / "s")
            model = list(versions[-1])
            with store.writer(shard_tokens=shard_tokens, level=data.draw(st.sampled_from([None, "plain"]))) as writer:
                write_some(writer, schema, model, data)
            versions += [model] * (store.version - len(versions))
        store = ts.open(Path(folder) / "s")
        versions += [versions[-1]] * (store.version - len(versions))
        assert [one.version for one in store.versions()] == list(range(len(versions), 0, -1))
        check_store(store, versions[-1], data)
        number = data.draw(st.integers(1, len(versions)))
        old = ts.open(Path(folder) / "s", version=number)
        assert old.version == number
        assert len(old) == len(versions[number - 1])
        assert all(same_sample(schema, one, wanted) for one, wanted in zip(old, versions[number - 1], strict=True))
        assert ts.verify(Path(folder) / "s").problems == []


def write_some(writer: ts.Writer, schema: Schema, model: list[Sample], data: st.DataObject) -> None:
    """Write batches of drawn samples in several forms, and one by one, and add them to the model."""
    for form in data.draw(st.lists(st.integers(-1, 7), max_size=2)):
        rows = data.draw(samples(schema, 8))
        if form < 0:
            for row in rows:
                given_ = {name: value for name, value in row.items() if value is not None or form == -1}
                writer.append(**given_)
        else:
            writer.extend(as_batch(schema, rows, form))
        model += rows


@SLOW
@given(schemas(), st.data())
def test_any_single_file_round_trips(schema: Schema, data: st.DataObject) -> None:
    """The same in a single file."""
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        small_blocks(patch)
        model: list[Sample] = []
        with ts.create(Path(folder) / "x.tok", schema, level=data.draw(st.sampled_from(["fast", "small"]))) as writer:
            write_some(writer, schema, model, data)
        check_store(ts.open(Path(folder) / "x.tok"), model, data)
        assert ts.verify(Path(folder) / "x.tok").problems == []


def test_batches_of_scan_can_be_written_again(tmp_path: Path) -> None:
    """What `scan` yields is what `extend` takes, missing values included; floats become NaN where they are missing."""
    schema = ts.Schema(
        t=ts.Tokens(9), s=ts.Score(optional=True), n=ts.Label(4, optional=True), u=ts.Text(optional=True)
    )
    with ts.create(tmp_path / "a", schema) as w:
        w.extend(t=[[1], [2, 3], []], s=[1.0, None, 2.0], n=[3, None, 0], u=["x", None, ""])
    first = ts.open(tmp_path / "a")
    with ts.create(tmp_path / "b", schema) as w:
        for batch in first.scan(batch_size=2):
            w.extend(batch)
    second = ts.open(tmp_path / "b")
    assert second["t"].to_list() == [[1], [2, 3], []]
    assert second.missing("n").tolist() == second.missing("u").tolist() == [False, True, False]


def test_real_blocks_and_tables(tmp_path: Path) -> None:
    """With blocks of real size: long samples, rank tables, dictionaries, shards that share a table."""
    rng = np.random.default_rng(1)
    lengths = [0, 100_000, 3, 40_000, 1, 0, 70_000, 16_384, 32_768, 32_769, 5]
    rows = [(rng.zipf(1.3, n) % 50_000).astype(np.int64) for n in lengths]
    for level in ("fast", "default", "small"):
        path = tmp_path / level
        with ts.create(path, ts.Schema(tokens=ts.Tokens(50_257)), level=level, shard_tokens=150_000) as w:
            w.extend(tokens=rows)
        with ts.open(path).writer(shard_tokens=150_000) as w:
            w.extend(tokens=rows[::-1])
        store = ts.open(path)
        for i, row in enumerate([*rows, *rows[::-1]]):
            assert np.array_equal(store[i]["tokens"], row)
        assert np.array_equal(store["tokens"].values, np.concatenate([*rows, *rows[::-1]]))
        assert np.array_equal(store.take([1, 20], start=39_000, stop=61_000)["tokens"][0], rows[1][39_000:61_000])
        assert store.describe()["shards"] > 4
        assert ts.verify(path).problems == []
        assert ts.open(path).stored_bytes() == store.stored_bytes()


def test_take_in_any_order_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of every length, in blocks that are wanted whole, in parts or in runs which lie elsewhere in the result."""
    small_blocks(monkeypatch, target=96)
    rng = np.random.default_rng(5)
    rows = [rng.integers(0, 1000, n) for n in rng.permutation([0, 1, 5, 40, 63, 64, 65, 96, 130, 300] * 6)]
    codes = rng.integers(0, 50, (60, 8))
    path = tmp_path / "s"
    with ts.create(path, ts.Schema(t=ts.Tokens(1000), c=ts.Codes(50, (8,))), shard_tokens=2000) as w:
        w.extend(t=rows, c=codes)
    store = ts.open(path)
    for size in (1, 2, 3, 7, 20):
        runs = np.array_split(np.arange(60), 60 // size)
        for _ in range(4):
            order = np.concatenate([runs[i] for i in rng.permutation(len(runs))[: len(runs) - rng.integers(3)]])
            batch = store.take(order)
            assert batch["t"].to_list() == [rows[i].tolist() for i in order]
            assert np.array_equal(np.asarray(batch["c"]), codes[order])
            assert batch["sample_id"].tolist() == order.tolist()


def test_scan_ahead_goes_on_in_a_forked_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The threads that decode ahead stay behind when a process forks; what they would have brought is decoded there."""
    path, read, may_go_on = tmp_path / "s", ViewReader._rows, threading.Event()

    def wait(view: ViewReader, places: Any, *rest: Any, **options: Any) -> Any:
        if places[0] and threading.current_thread() is not threading.main_thread():
            may_go_on.wait(60)
        return read(view, places, *rest, **options)

    monkeypatch.setattr(ViewReader, "_rows", wait)
    with ts.create(path, ts.Schema(t=ts.Tokens(1000))) as w:
        w.extend(t=np.arange(400).reshape(100, 4))
    found = iter(ts.open(path).scan(batch_size=10))
    first = next(found)["sample_id"].tolist()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        rest = [one for batch in found for one in batch["sample_id"].tolist()]
        os._exit(0 if first + rest == list(range(100)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    may_go_on.set()
    assert first + [one for batch in found for one in batch["sample_id"].tolist()] == list(range(100))


def test_several_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With few shards per page, pages are split and begun anew, and every sample is found."""
    for module in ("growth", "page_parts", "pages"):
        monkeypatch.setattr(f"tokstore.{module}.MAX_PAGE_SHARDS", 4)
    schema = ts.Schema(t=ts.Tokens(100), s=ts.Score())
    with ts.create(tmp_path / "s", schema, shard_tokens=2) as w:
        w.extend(t=[[i, i] for i in range(11)], s=np.arange(11.0))
    for i in range(11, 24):
        with ts.open(tmp_path / "s").writer(shard_tokens=2) as w:
            w.append(t=[i] * (i % 4), s=float(i))
    store = ts.open(tmp_path / "s")
    assert len(store._version.root.pages) >= 6
    assert store["s"].tolist() == list(map(float, range(24)))
    assert store["t"].to_list() == [[i, i] if i < 11 else [i] * (i % 4) for i in range(24)]
    assert store.take([23, 0, 12, 4], ["s"])["s"].tolist() == [23.0, 0.0, 12.0, 4.0]
    assert store.take(range(24), [])["sample_id"].tolist() == list(range(24))
    assert ts.verify(tmp_path / "s").problems == []


def test_part_of_a_sample_reads_only_its_blocks(tmp_path: Path) -> None:
    """A hundred ids out of a million cost a few blocks, not the sample."""
    with ts.create(tmp_path / "s", ts.Schema(t=ts.Tokens(60_000)), level="plain") as w:
        w.append(t=np.random.default_rng(0).integers(0, 60_000, 1_000_000))
    store = ts.open(tmp_path / "s")
    store.lengths()
    before = store.storage.bytes_read
    assert len(store.take([0], start=500_000, stop=500_100)["t"].values) == 100
    assert store.storage.bytes_read - before < 150_000


def test_types_out(tmp_path: Path) -> None:
    """int32 for tokens, int64 above 2**31 ids and for labels, masked where missing; arrays are owned and writable."""
    schema = ts.Schema(
        t=ts.Tokens(1 << 31),
        b=ts.Tokens((1 << 31) + 1),
        n=ts.Label(2),
        o=ts.Label(optional=True),
        h=ts.Score("float16"),
    )
    with ts.create(tmp_path / "s", schema) as w:
        w.extend(t=[[1, 2], [3]], b=[[1], [2]], n=[0, 1], o=[None, -5], h=[1.5, -0.0])
    store = ts.open(tmp_path / "s")
    batch = store[:]
    assert [str(batch[k].values.dtype) for k in "tb"] == ["int32", "int64"]
    assert str(batch["n"].dtype) == "int64"
    assert batch["o"].mask.tolist() == [True, False]
    assert str(batch["h"].dtype) == "float16"
    for array in (batch["t"].values, batch["n"], batch["h"], store[0]["t"], batch["sample_id"]):
        assert array.base is None or array.base.nbytes == array.nbytes
        assert array.flags.writeable
        assert array.flags.c_contiguous
    batch["t"].values[:] = 9
    store[0]["t"][:] = 9
    assert store[0]["t"].tolist() == [1, 2]
    assert type(store[0]["n"]) is int
    assert type(store[0]["h"]) is float


def test_buffers_may_be_used_again(tmp_path: Path) -> None:
    """An array that the caller fills anew between appends is written as it was at each of them."""
    buffer = np.zeros(3, np.int64)
    listed = [0]
    with ts.create(tmp_path / "s", ts.Schema(t=ts.Tokens(99), u=ts.Tokens(99))) as w:
        for i in range(5):
            buffer[:] = listed[0] = i
            w.append(t=buffer, u=listed)
        ragged = ts.Ragged(buffer, [3])
        w.extend(t=ragged, u=[[7]])
        buffer[:] = 50
    store = ts.open(tmp_path / "s")
    assert store["t"].to_list() == [[i] * 3 for i in (0, 1, 2, 3, 4, 4)]
    assert store["u"].to_list() == [[0], [1], [2], [3], [4], [7]]


def test_stores_follow_their_own_commits_and_others_when_asked(tmp_path: Path) -> None:
    """`refresh` takes in what others did; views and pinned stores stay as they are."""
    with ts.create(tmp_path / "s", ts.Schema(t=ts.Tokens(9)), metadata={"tokenizer": BYTES}) as w:
        w.append(t=[1])
    mine, other, pinned = ts.open(tmp_path / "s"), ts.open(tmp_path / "s"), ts.open(tmp_path / "s", version=1)
    with mine.writer() as w:
        w.append(t=[2])
    assert (len(mine), mine.version, len(other), len(pinned)) == (2, 2, 1, 1)
    assert len(other.refresh()) == 2
    assert other.version == 2
    assert len(pinned.refresh()) == 1
    assert other.metadata == {"tokenizer": "bytes"}
    assert mine.fingerprint == other.fingerprint != pinned.fingerprint


def test_nothing_written_makes_no_version(tmp_path: Path) -> None:
    """A writer without samples creates an empty store, and appends nothing to one that is there."""
    with ts.create(tmp_path / "s", ts.Schema(t=ts.Tokens(9))):
        pass
    store = ts.open(tmp_path / "s")
    assert (len(store), store.version, store.token_count) == (0, 1, 0)
    assert list(store.scan()) == []
    assert store["t"].to_list() == []
    with store.writer():
        pass
    assert store.version == ts.open(tmp_path / "s").version == 1
