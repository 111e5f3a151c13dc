"""Several processes and threads at one store: every append lands once, every reader sees whole versions."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts

SCHEMA = ts.Schema(t=ts.Tokens(1000), s=ts.Score(optional=True))
FORK = multiprocessing.get_context("fork")

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")


def write(path: Path, rows: list[list[int]], **options: Any) -> ts.Store:
    """Create a store of some rows."""
    with ts.create(path, SCHEMA, **options) as writer:
        writer.extend(t=rows, s=[float(len(row)) for row in rows])
    return ts.open(path)


def finish(processes: list[BaseProcess]) -> None:
    """Start processes and wait until all have ended well."""
    for one in processes:
        one.start()
    for one in processes:
        one.join(120)
    assert [one.exitcode for one in processes] == [0] * len(processes)


def append_many(path: Path, writer: int, times: int) -> None:
    """Append one sample as often as asked, each with a new store."""
    for i in range(times):
        with ts.open(path).writer(threads=1) as w:
            w.append(t=[writer, i])


def test_four_processes_of_25_appends_each(tmp_path: Path) -> None:
    """Exactly 100 appends and all their samples are there, each writer's in its order, and the ids are consecutive."""
    write(tmp_path / "s", [])
    finish([FORK.Process(target=append_many, args=(tmp_path / "s", writer, 25)) for writer in range(4)])
    store = ts.open(tmp_path / "s")
    assert store.version == 101
    assert [one.verb for one in store.versions()] == ["append"] * 100 + ["create"]
    assert [one.samples for one in store.versions()] == list(range(100, -1, -1))
    found = store["t"].to_list()
    assert sorted(found) == [[writer, i] for writer in range(4) for i in range(25)]
    for writer in range(4):
        assert [i for who, i in found if who == writer] == list(range(25))
    assert store.take(slice(None), [])["sample_id"].tolist() == list(range(100))
    assert store.missing("s").all()
    assert ts.verify(tmp_path / "s").problems == []


def create_one(path: Path, who: int, barrier: Any, results: Any) -> None:
    """Create a store at the same moment as others."""
    barrier.wait()
    try:
        with ts.create(path, SCHEMA, threads=1) as writer:
            writer.append(t=[who])
    except ts.ExistsError:
        results.put((who, "exists"))
    else:
        results.put((who, "created"))


def test_two_creators_race(tmp_path: Path) -> None:
    """One creates the store, the others are told that it is there, and the store is whole; single files likewise."""
    for name in ("a", "b", "x.tok", "y.tok"):
        barrier, results = FORK.Barrier(3), FORK.Queue()
        finish([FORK.Process(target=create_one, args=(tmp_path / name, who, barrier, results)) for who in range(3)])
        told = dict(results.get(timeout=10) for _ in range(3))
        assert sorted(told.values()) == ["created", "exists", "exists"]
        (winner,) = [who for who, what in told.items() if what == "created"]
        assert ts.open(tmp_path / name)["t"].to_list() == [[winner]]
        assert ts.verify(tmp_path / name).problems == []
        assert not list(tmp_path.rglob("*.tmp"))


def test_readers_see_whole_versions_while_others_write(tmp_path: Path) -> None:
    """A reader that opens again and again sees versions that only grow, each with all its samples."""
    write(tmp_path / "s", [[0]])
    process = FORK.Process(target=append_many, args=(tmp_path / "s", 7, 20))
    process.start()
    seen = [1]
    while process.is_alive() or seen[-1] < 21:
        store = ts.open(tmp_path / "s")
        assert store.version >= seen[-1]
        assert len(store["t"]) == store.version
        seen.append(store.version)
        assert len(seen) < 20_000
    process.join(60)
    assert seen[-1] == 21


def test_threads_share_one_store(tmp_path: Path) -> None:
    """Many threads that take, scan and iterate at once read what one thread reads, from caches of any state."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, 1000, n).tolist() for n in rng.integers(0, 3000, 150)]
    store = write(tmp_path / "s", rows, shard_tokens=20_000, level="small")

    def work(seed: int) -> bool:
        mine = np.random.default_rng(seed)
        for _ in range(6):
            chosen = mine.integers(0, 150, 70)
            batch = store.take(chosen)
            if batch["t"].to_list() != [rows[i] for i in chosen] or batch["sample_id"].tolist() != chosen.tolist():
                return False
        whole = [row for batch in store.scan(["t"], batch_size=40) for row in batch["t"].to_list()]
        return whole == rows

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_threads_append_at_once(tmp_path: Path) -> None:
    """Writers of one process are as independent as those of several."""
    write(tmp_path / "s", [])
    threads = [threading.Thread(target=append_many, args=(tmp_path / "s", who, 5)) for who in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert sorted(ts.open(tmp_path / "s")["t"].to_list()) == [[who, i] for who in range(4) for i in range(5)]


def take_and_compare(store: ts.Store, expected: list[list[int]]) -> None:
    """Read in another process, in every way that uses threads, locks and open files."""
    order = list(range(len(expected)))[::-1]
    assert store.take(order)["t"].to_list() == expected[::-1]
    assert store["t"].to_list() == expected
    assert [row for batch in store.scan() for row in batch["t"].to_list()] == expected
    assert store.path.endswith("s")
    assert str(len(expected)) in repr(store)


def test_a_store_goes_to_a_forked_process(tmp_path: Path) -> None:
    """By fork with its threads and files in use."""
    rows = [[i % 1000] * 700 for i in range(200)]
    store = write(tmp_path / "s", rows, shard_tokens=30_000)
    take_and_compare(store, rows)
    finish([FORK.Process(target=take_and_compare, args=(store, rows)) for _ in range(2)])
    take_and_compare(store, rows)


def test_a_store_goes_to_a_new_process(tmp_path: Path) -> None:
    """Pickled, as spawn does it, into an interpreter that shares nothing."""
    store = write(tmp_path / "s", [[i % 1000] * 700 for i in range(200)], shard_tokens=30_000)
    store.take(range(200))
    code = (
        "import pickle, sys\nstore = pickle.load(sys.stdin.buffer)\n"
        "assert store['t'].to_list() == [[i % 1000] * 700 for i in range(200)]\n"
        "with store.writer() as w:\n    w.append(t=[5])\n"
        "assert len(store) == 201 and store[-1]['t'].tolist() == [5]"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(ts.__file__).parents[1])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, input=pickle.dumps(store), cwd=tmp_path, env=environment, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    assert len(store) == 200
    assert len(store.refresh()) == 201


def test_fork_while_threads_read(tmp_path: Path) -> None:
    """Forks at any moment of other threads' reading find no lock that nobody will give back."""
    rows = [[i % 1000] * 300 for i in range(100)]
    store = write(tmp_path / "s", rows, shard_tokens=3000)
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            store.take(np.arange(100))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for one in threads:
        one.start()
    try:
        for _ in range(5):
            finish([FORK.Process(target=take_and_compare, args=(store, rows)) for _ in range(2)])
    finally:
        stop.set()
        for one in threads:
            one.join()


def test_locks_that_are_held_at_a_fork(tmp_path: Path) -> None:
    """A child does not inherit the locks that another thread of its parent holds at that moment."""
    rows = [[i % 1000] * 700 for i in range(200)]
    store = write(tmp_path / "s", rows, shard_tokens=30_000)
    take_and_compare(store, rows)
    version = store._version
    owners = [store, *(one for one in vars(version).values() if hasattr(one, "_lock"))]
    assert store.storage in owners
    assert len(owners) >= 5
    child = FORK.Process(target=take_and_compare, args=(store, rows))
    with ExitStack() as held:
        for one in owners:
            held.enter_context(one._lock)
        child.start()
    child.join(60)
    if child.exitcode is None:
        child.kill()
    assert child.exitcode == 0
    take_and_compare(store, rows)


def test_pickles_are_small_and_keep_what_they_are(tmp_path: Path) -> None:
    """A pickled store has no caches; a pinned one stays pinned, a single file stays one."""
    rows = [list(range(1000))] * 50
    store = write(tmp_path / "s", rows)
    take_and_compare(store, rows)
    raw = pickle.dumps(store)
    assert len(raw) < 10_000
    again = pickle.loads(raw)
    assert again.version == 1
    with again.writer() as writer:
        writer.append(t=[5])
    assert (len(again), len(store)) == (51, 50)
    pinned = pickle.loads(pickle.dumps(ts.open(tmp_path / "s", version=1)))
    with pytest.raises(ts.UnsupportedError, match="read-only"):
        pinned.writer()
    write(tmp_path / "x.tok", rows)
    alone = pickle.loads(pickle.dumps(ts.open(tmp_path / "x.tok")))
    assert alone.path == str(tmp_path / "x.tok")
    assert alone["t"].to_list() == rows


def test_errors_cross_processes() -> None:
    """An error keeps its class, message and place when it is pickled."""
    error = ts.ChecksumError("block differs", path="x.tok", offset=5, rule="format.md 2.2", hint="copy it again")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ts.ChecksumError
    assert str(again) == str(error) == "x.tok: block differs at byte 5 (format.md 2.2); copy it again"
    assert (again.path, again.offset, again.rule, again.hint) == ("x.tok", 5, "format.md 2.2", "copy it again")
    column = pickle.loads(pickle.dumps(ts.ColumnError("no column 'a'")))
    assert isinstance(column, KeyError)
    assert str(column) == "no column 'a'"
