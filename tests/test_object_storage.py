"""Stores in an object store and on a web server, against a real server on loopback: the same values, few requests, and
nothing lost where answers are late, wrong or missing."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from object_server import ObjectServer
from tokstore.object_storage import ObjectStorage
from tokstore.range_cache import CachedStorage

pytest.importorskip("obstore")

URL = "s3://bucket/corpus"
SCHEMA = ts.Schema(t=ts.Tokens(1000), q=ts.Score(optional=True))
RNG = np.random.default_rng(0)
SAMPLES = [RNG.integers(0, 1000, n) for n in (3, 0, 400, 17, 2000, 5)]


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    """A server of its own for each test."""
    made = ObjectServer()
    try:
        yield made
    finally:
        made.close()


def opened(server: ObjectServer, **options: Any) -> ts.Store:
    """Open the store."""
    return ts.open(URL, storage_options=server.options, **options)


def write(server: ObjectServer, **options: Any) -> ts.Store:
    """Create the store and open it."""
    with ts.create(URL, SCHEMA, storage_options=server.options, **options) as writer:
        writer.extend(t=SAMPLES, q=np.arange(6) / 8)
    return opened(server)


def change(store: ts.Store) -> None:
    """Use every verb that writes."""
    with store.writer() as writer:
        writer.extend(t=[[1, 2], [3]], q=[0.5, None])
    store.add_column("n", np.arange(8), ts.Label())
    store.delete([1, 4])
    store.tag("before")
    store.compact()
    store.rename_column("n", "number")
    store.prune()


def test_everything_works_as_in_a_folder(server: ObjectServer, tmp_path: Path) -> None:
    """All verbs that write leave the values that they leave in a local store, and every byte verifies."""
    with ts.create(tmp_path / "s", SCHEMA) as writer:
        writer.extend(t=SAMPLES, q=np.arange(6) / 8)
    local, remote = ts.open(tmp_path / "s"), write(server)
    for store in (local, remote):
        change(store)
    remote = opened(server)
    assert len(remote) == len(local) == 6
    assert remote["t"] == local["t"]
    assert np.array_equal(remote["q"], local["q"], equal_nan=True)
    assert remote["number"].tolist() == local["number"].tolist() == [0, 2, 3, 5, 6, 7]
    assert [one.version for one in remote.versions()] == [one.version for one in local.versions()]
    assert opened(server, version="before").version == local.tags()["before"] == 4
    assert ts.verify(URL, storage_options=server.options).ok
    names = {key.removeprefix("corpus/").split("/")[0] for key in server.objects}
    assert names <= {"data", "objects", "deletions", "manifests", "latest", "tokstore.json"}


def test_trips_and_requests(server: ObjectServer) -> None:
    """Four trips to a first sample, two for the next ones; near ranges are one request, far files go together."""
    with ts.create(URL, SCHEMA, storage_options=server.options, shard_tokens=300) as writer:
        for _ in range(6):
            writer.extend(t=[[5] * 300], q=[0.5])
    server.requests.clear()
    store = opened(server)
    assert store[0]["t"].tolist() == [5] * 300
    assert store.storage.trips <= 4
    trips = store.storage.trips
    server.latency, server.most_at_once = 0.05, 0
    store.take([1, 2, 3, 4, 5])
    assert store.storage.trips - trips <= 2
    assert server.most_at_once >= 4
    blob = bytes(RNG.integers(0, 256, 1 << 20, np.uint8))
    server.objects["corpus/data/x.tok"] = blob
    before, nbytes = server.count("GET"), store.storage.bytes_read
    places = [(0, 10), (700_000, 50), (1000, 20), (200_000, 5), (100_000, 9)]
    found = store.storage.read_ranges([("data/x.tok", offset, n) for offset, n in places])
    assert [bytes(one or b"") for one in found] == [blob[offset : offset + n] for offset, n in places]
    assert server.count("GET") - before == 4
    assert store.storage.bytes_read - nbytes == 1020 + 9 + 5 + 50


def test_errors_are_those_of_a_folder(server: ObjectServer) -> None:
    """What is not there, too short, or refused is one clear error with the address."""
    storage = ObjectStorage(URL, server.options)
    with pytest.raises(ts.NotAStoreError, match="s3://bucket/corpus"):
        opened(server)
    server.objects["corpus/data/x.tok"] = b"0123456789"
    with pytest.raises(ts.MissingFileError, match="corpus/data/y.tok"):
        storage.read_ranges([("data/y.tok", 0, 4)])
    assert storage.read_ranges([("data/y.tok", 0, 4), ("data/x.tok", 2, 0)], missing_ok=True) == [None, b""]
    for offset, nbytes in ((4, 10), (10, 1), (99, 1)):
        with pytest.raises(ts.TruncatedError, match="ends before"):
            storage.read_ranges([("data/x.tok", offset, nbytes)])
    assert storage.read_ranges([("data/x.tok", 4, None), ("data/x.tok", 10, None)]) == [b"456789", b""]
    server.failing, server.failing_methods = [403] * 9, ("GET",)
    with pytest.raises(OSError, match="s3://bucket/corpus/data/x.tok"):
        storage.read_ranges([("data/x.tok", 0, 1)])


def test_passing_failures_are_not_seen(server: ObjectServer) -> None:
    """A server that is overloaded for a moment, or says that another writer is at work, is asked again."""
    server.failing = [503, 500]
    store = write(server)
    server.failing = [409, 409]
    server.failing_methods = ("PUT",)
    with store.writer() as writer:
        writer.append(t=[1], q=1)
    assert len(opened(server)) == 7


def test_a_lost_answer_commits_once(server: ObjectServer) -> None:
    """The root was written, and its answer lost: the writer finds its own nonce, and the samples are there once."""
    store = write(server)
    writer = store.writer()
    writer.append(t=[7], q=1)
    put = ObjectStorage.put_if_absent

    def losing(self: ObjectStorage, path: str, data: bytes) -> bool:
        server.lost_answers = 1
        return put(self, path, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectStorage, "put_if_absent", losing)
        writer.close()
    store = opened(server)
    assert (len(store), store.version) == (7, 2)


def test_a_root_that_was_overwritten_is_noticed(server: ObjectServer) -> None:
    """A server that forgets about conditions tells two writers that both have won: the one that lost writes again."""
    one, two = write(server), opened(server)
    put = ObjectStorage.put_if_absent
    first: list[bytes] = []

    def overwritten(self: ObjectStorage, path: str, data: bytes) -> bool:
        """Let the other writer come in between, over the root that was just written."""
        written = put(self, path, data)
        if not first:
            first.append(data)
            del server.objects[f"corpus/{path}"]
            with two.writer() as writer:
                writer.append(t=[2], q=2)
        return written

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectStorage, "put_if_absent", overwritten)
        with one.writer() as writer:
            writer.append(t=[1], q=1)
    store = opened(server)
    assert (len(store), store.version) == (8, 3)
    assert store["t"].to_list()[-2:] == [[2], [1]]


def test_create_tries_conditional_puts(server: ObjectServer) -> None:
    """Where a name can be written twice no store is made, and the attempt leaves nothing."""
    server.conditional = False
    with pytest.raises(ts.UnsupportedError, match=r"two writers could not be told apart.*format.md 9"):
        write(server)
    assert server.objects == {}


def test_a_name_that_is_taken_may_be_a_conflict(server: ObjectServer) -> None:
    """Azure answers 409 where S3 answers 412: the name is taken, and asking again would not help."""
    server.taken = (409, "BlobAlreadyExists")
    one = write(server)
    with opened(server).writer() as writer:
        writer.append(t=[2], q=2)
    server.requests.clear()
    with one.writer() as writer:
        writer.append(t=[1], q=1)
    assert (len(opened(server)), opened(server).version) == (8, 3)
    roots = [key for method, key, _ in server.requests if method == "PUT" and "manifests/" in key]
    assert len(roots) <= 2, "a root whose name is taken is not written again"


def test_a_store_of_google(server: ObjectServer) -> None:
    """``gs://`` asks in another header that a name be new: two writers land, and a server without it is refused."""
    url, options = "gs://bucket/corpus", server.google_options
    with ts.create(url, SCHEMA, storage_options=options) as writer:
        writer.extend(t=SAMPLES, q=np.arange(6) / 8)
    one, other = (ts.open(url, storage_options=options) for _ in range(2))
    for store in (one, other):
        with store.writer() as writer:
            writer.append(t=[1], q=1)
    store = ts.open(url, storage_options=options)
    assert (len(store), store.version, store[2]["t"].tolist()) == (8, 3, SAMPLES[2].tolist())
    assert ts.verify(url, storage_options=options).ok
    server.conditional = False
    with pytest.raises(ts.UnsupportedError, match="does not refuse to write a name twice"):
        ts.create("gs://bucket/other", SCHEMA, storage_options=options)


def test_what_is_there_is_not_overwritten(server: ObjectServer) -> None:
    """A store, and a prefix with something else in it, are refused; `exist="append"` appends."""
    store = write(server)
    with pytest.raises(ts.ExistsError, match="a store already"):
        write(server)
    with ts.create(URL, SCHEMA, storage_options=server.options, exist="append") as writer:
        writer.append(t=[1], q=1)
    assert len(store.refresh() or opened(server)) == 7
    server.objects["other/readme"] = b""
    with pytest.raises(ts.ExistsError, match="'readme'"):
        ts.create("s3://bucket/other", SCHEMA, storage_options=server.options)


def test_writers_that_append_at_once_all_land(server: ObjectServer) -> None:
    """Two threads with stores of their own, five appends each."""
    write(server)

    def append() -> None:
        store = opened(server)
        for _ in range(5):
            with store.writer() as writer:
                writer.append(t=[1], q=1)

    threads = [threading.Thread(target=append) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = opened(server)
    assert (len(store), store.version) == (16, 11)


def test_a_web_server_is_read_only(server: ObjectServer) -> None:
    """Over http a store is read by ranges, without listing; nothing is written, and what needs a list says so."""
    write(server)
    url = f"{server.endpoint}/bucket/corpus"
    before = len(server.requests)
    store = ts.open(url)
    assert [one.tolist() for one in store["t"]] == [one.tolist() for one in SAMPLES]
    assert ts.open(url, version=1).version == 1
    assert all(one[0] in ("GET", "HEAD") for one in server.requests[before:])
    for use in (lambda: store.versions(), lambda: store.prune(), lambda: ts.create(f"{url}2", SCHEMA)):
        with pytest.raises(ts.UnsupportedError, match="web server"):
            use()
    with pytest.raises(ts.UnsupportedError, match="read-only"), store.writer() as writer:
        writer.append(t=[1], q=1)


def test_a_single_file(server: ObjectServer, tmp_path: Path) -> None:
    """A .tok file is read at its address."""
    with ts.create(tmp_path / "one.tok", SCHEMA) as writer:
        writer.extend(t=SAMPLES, q=np.arange(6) / 8)
    server.objects["files/one.tok"] = (tmp_path / "one.tok").read_bytes()
    for store in (
        ts.open("s3://bucket/files/one.tok", storage_options=server.options),
        ts.open(f"{server.endpoint}/bucket/files/one.tok"),
    ):
        assert store[4]["t"].tolist() == SAMPLES[4].tolist()
    with pytest.raises(ValueError, match="single file"):
        ts.create("s3://bucket/files/two.tok", SCHEMA, storage_options=server.options)


def test_the_cache_keeps_what_was_fetched(server: ObjectServer, tmp_path: Path) -> None:
    """A second process, as it were, fetches roots alone; a damaged range is fetched again; values never differ."""
    write(server)
    expected = [one.tolist() for one in SAMPLES]
    store = opened(server, cache=tmp_path / "c")
    assert [one.tolist() for one in store["t"]] == expected
    assert isinstance(store.storage, CachedStorage)
    before = len(server.requests)
    again = opened(server, cache=tmp_path / "c")
    assert [one.tolist() for one in again["t"]] == expected
    assert not any(key.endswith(".tok") for _, key, _ in server.requests[before:])
    for path in (tmp_path / "c").rglob("*-*"):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    third = opened(server, cache=tmp_path / "c")
    assert [one.tolist() for one in third["t"]] == expected
    assert any(key.endswith(".tok") for _, key, _ in server.requests[before:])
    assert list((tmp_path / "c").rglob("*.tmp")) == []


def test_the_cache_keeps_its_limit(server: ObjectServer, tmp_path: Path) -> None:
    """What was used longest ago goes first, also under many threads."""
    server.objects["corpus/data/x.tok"] = bytes(100_000)
    storage = CachedStorage(ObjectStorage(URL, server.options), tmp_path, 20_000)

    def read(first: int) -> None:
        for offset in range(first, first + 30):
            assert storage.read_ranges([("data/x.tok", 1000 * offset, 1000)]) == [bytes(1000)]

    threads = [threading.Thread(target=read, args=(20 * i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = [path.stat().st_size for path in tmp_path.rglob("*-*")]
    assert 5_000 < sum(held) <= 20_000 + 3 * 1008
    hits = storage.hits
    read(40)
    read(55)
    assert storage.hits - hits >= 15


def child(server_options: dict[str, Any], results: Any) -> None:
    """Read the store in another process."""
    try:
        results.put(ts.open(URL, storage_options=server_options)[0]["t"].tolist())
    except ts.UnsupportedError as error:
        results.put(str(error))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes(server: ObjectServer, method: str) -> None:
    """A spawned process reads; a forked one, whose client would hang, is told how it is done."""
    write(server)
    context: Any = multiprocessing.get_context(method)
    results = context.Queue()
    process = context.Process(target=child, args=(server.options, results))
    process.start()
    found = results.get(timeout=60)
    process.join(60)
    assert process.exitcode == 0
    assert ("spawn" in found) if method == "fork" else (found == SAMPLES[0].tolist())


def test_streams_with_a_worker(server: ObjectServer) -> None:
    """`loader(num_workers=1)` starts a worker that can read, and its batches are those of the process itself."""
    store = write(server)
    data = ts.StreamingDataset(store, seq_len=64, batch_size=4, seed=1)
    here = [batch["input_ids"].tolist() for batch in data]
    there = ts.StreamingDataset(opened(server), seq_len=64, batch_size=4, seed=1).loader(num_workers=1)
    assert [batch["input_ids"].tolist() for batch in there] == here


def test_arguments_that_do_not_fit(server: ObjectServer, tmp_path: Path) -> None:
    """Options of an object store with a folder, a cache without a place, options that obstore does not know."""
    with ts.create(tmp_path / "s", SCHEMA) as writer:
        writer.append(t=[1], q=1)
    for options in ({"storage_options": {"region": "x"}}, {"cache": tmp_path / "c"}, {"cache_limit": 5}):
        with pytest.raises(ValueError, match="belong to a store at a URL"):
            ts.open(tmp_path / "s", **options)
    with pytest.raises(ValueError, match="needs cache="):
        opened(server, cache_limit=5)
    with pytest.raises(ValueError, match="cache_limit"):
        opened(server, cache=tmp_path / "c", cache_limit=0)
    with pytest.raises(ts.UnsupportedError, match="no_such_option"):
        ts.open(URL, storage_options=server.options | {"no_such_option": "1"})
    with pytest.raises(ts.UnsupportedError, match="refused"):
        ts.open("unknown://bucket/corpus")
    with pytest.raises(ValueError, match="file://"):
        ts.open("file:///corpus")


def test_without_obstore(server: ObjectServer) -> None:
    """The error says what to install."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "obstore", None)
        with pytest.raises(ts.UnsupportedError, match=r"tokstore\[cloud\]"):
            opened(server)


def test_the_command_line_takes_addresses(server: ObjectServer) -> None:
    """`tokstore info` and `cat` with a URL; credentials come from the environment."""
    write(server)
    environment = os.environ | {
        "AWS_ENDPOINT": server.endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    run = [sys.executable, "-c", "import tokstore.cli; tokstore.cli.main()"]
    got = subprocess.run([*run, "cat", URL, "0", "--ids"], env=environment, capture_output=True, text=True, check=False)
    assert got.stdout.split() == [str(one) for one in SAMPLES[0]], got.stderr
