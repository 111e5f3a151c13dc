"""Stores in the object servers that others wrote: what `test_object_storage` checks with our own, as far as they go."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from tokstore.object_storage import ObjectStorage

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

SCHEMA = ts.Schema(t=ts.Tokens(60_000), q=ts.Score(optional=True))
RNG = np.random.default_rng(0)
SAMPLES = [RNG.integers(0, 60_000, n) for n in (3, 0, 400, 17, 2000, 5)]


def write(path: Any, **options: Any) -> None:
    """Write six samples."""
    with ts.create(path, SCHEMA, **options) as writer:
        writer.extend(t=SAMPLES, q=np.arange(6) / 8)


def change(store: ts.Store) -> None:
    """Use every verb that writes."""
    with store.writer() as writer:
        writer.extend(t=[[1, 2], [3]], q=[0.5, None])
    store.add_column("n", np.arange(8), ts.Label())
    store.delete([1, 4])
    store.where("n >= 3").save("some")
    store.tag("before")
    store.compact()
    store.rename_column("n", "number")
    store.prune(dry_run=False)


def test_everything_works_as_in_a_folder(place: Any, tmp_path: Path) -> None:
    """Create, append and every other verb leave the values that they leave in a folder; all bytes verify."""
    write(tmp_path / "s")
    write(place.url, storage_options=place.options)
    local = ts.open(tmp_path / "s")
    change(local)
    change(ts.open(place.url, storage_options=place.options))
    remote = ts.open(place.url, storage_options=place.options)
    assert len(remote) == len(local) == 6
    assert remote["t"] == local["t"]
    assert np.array_equal(remote["q"], local["q"], equal_nan=True)
    assert remote["number"].tolist() == local["number"].tolist() == [0, 2, 3, 5, 6, 7]
    assert [one.version for one in remote.versions()] == [one.version for one in local.versions()]
    assert remote.load("some")["number"].tolist() == [3, 5, 6, 7]
    assert ts.open(place.url, "before", storage_options=place.options).version == local.tags()["before"]
    assert ts.verify(place.url, storage_options=place.options).ok
    cold = ts.open(place.url, storage_options=place.options)
    assert cold[3]["t"].tolist() == local[3]["t"].tolist()
    assert cold.storage.trips <= 4


def test_two_writers_all_land(place: Any) -> None:
    """Two threads with stores of their own, five appends each: conditional puts tell them apart."""
    write(place.url, storage_options=place.options)

    def append(_: int) -> None:
        store = ts.open(place.url, storage_options=place.options)
        for _ in range(5):
            with store.writer() as writer:
                writer.append(t=[1], q=1)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(append, range(2)))
    store = ts.open(place.url, storage_options=place.options)
    assert (len(store), store.version) == (16, 11)


APPEND = """
import json, sys
import tokstore as ts
url, options = json.loads(sys.argv[1])
with ts.open(url, storage_options=options).writer() as writer:
    writer.append(t=[2], q=2)
    print("ready", flush=True)
    sys.stdin.readline()
"""


def test_writers_in_processes(place: Any) -> None:
    """Three processes that commit at the same moment all land."""
    write(place.url, storage_options=place.options)
    command = [sys.executable, "-c", APPEND, json.dumps([place.url, place.options])]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0, 0, 0]
    store = ts.open(place.url, storage_options=place.options)
    assert (len(store), store.version) == (9, 4)


def test_a_name_is_written_once(place: Any) -> None:
    """`put_if_absent` decides a race: one of eight threads wins, and its bytes stay; the probe leaves nothing."""
    storage = ObjectStorage(place.url, place.options)
    storage.check_conditional_put()
    assert storage.list("") == []
    barrier = threading.Barrier(8)

    def put(i: int) -> bool:
        barrier.wait()
        return storage.put_if_absent("name", str(i).encode())

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(put, range(8)))
    assert sum(won) == 1
    assert storage.read_ranges([("name", 0, None)]) == [str(won.index(True)).encode()]
    assert storage.put_if_absent("name", b"again") is False


def test_ranges(place: Any) -> None:
    """Ranges side by side are one request, others each one; what is missing or too short is the error of a folder."""
    storage = ObjectStorage(place.url, place.options)
    blob = RNG.bytes(1 << 20)
    storage.put("data/x.tok", blob)
    before = storage.requests
    places = [(0, 10), (700_000, 50), (1000, 20), (200_000, 5), (len(blob) - 3, 3)]
    found = storage.read_ranges([("data/x.tok", offset, n) for offset, n in places])
    assert [bytes(one or b"") for one in found] == [blob[offset : offset + n] for offset, n in places]
    assert storage.requests - before == 4
    assert storage.read_ranges([("data/x.tok", len(blob) - 4, None)]) == [blob[-4:]]
    assert storage.read_ranges([("data/y.tok", 0, 4), ("data/x.tok", 2, 0)], missing_ok=True) == [None, b""]
    assert storage.file_bytes("data/x.tok") == len(blob)
    with pytest.raises(ts.MissingFileError, match=r"data/y\.tok"):
        storage.read_ranges([("data/y.tok", 0, 4)])
    for offset, nbytes in ((len(blob) - 6, 10), (len(blob), 1), (len(blob) + 99, 1)):
        with pytest.raises(ts.TruncatedError, match="ends before"):
            storage.read_ranges([("data/x.tok", offset, nbytes)])
    storage.delete("data/x.tok")
    storage.delete("data/x.tok")
    assert storage.list("data") == []


def test_large_objects_and_long_lists(place: Any) -> None:
    """A shard that is uploaded in parts, and more names in a folder than one answer lists."""
    many = RNG.integers(0, 60_000, (4, 2_000_000), np.int32)
    with ts.create(place.url, SCHEMA, level="plain", storage_options=place.options) as writer:
        writer.extend(t=list(many), q=[0, 1, 2, 3])
    store = ts.open(place.url, storage_options=place.options)
    assert store.stored_bytes("t") > 12 << 20
    assert np.array_equal(store[2]["t"], many[2])
    assert (
        store.take([3], ["t"], start=1_500_000, stop=1_500_007)["t"].values.tolist() == many[3, 1_500_000:][:7].tolist()
    )
    storage = ObjectStorage(place.url, place.options)
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda i: storage.put(f"many/{i:04d}", b""), range(1050)))
    assert storage.list("many") == [f"{i:04d}" for i in range(1050)]


def test_copies(place: Any, tmp_path: Path) -> None:
    """A store comes out of the server as a folder, with its values and ids; a cache serves the second reader."""
    write(place.url, storage_options=place.options)
    store = ts.open(place.url, storage_options=place.options, cache=tmp_path / "c")
    ts.copy(store, tmp_path / "local")
    local = ts.open(tmp_path / "local")
    assert local["t"] == store["t"]
    assert np.array_equal(local["q"], np.arange(6) / 8)
    assert ts.verify(tmp_path / "local").ok
    again = ts.open(place.url, storage_options=place.options, cache=tmp_path / "c")
    assert again["t"] == local["t"]
    with pytest.raises(ValueError, match="a local folder"):
        ts.copy(store, f"{place.url}-copy")


def test_what_is_there_is_not_overwritten(place: Any) -> None:
    """A second `create` is refused, and `exist="append"` appends."""
    write(place.url, storage_options=place.options)
    with pytest.raises(ts.ExistsError, match="a store already"):
        write(place.url, storage_options=place.options)
    write(place.url, storage_options=place.options, exist="append")
    assert len(ts.open(place.url, storage_options=place.options)) == 12
