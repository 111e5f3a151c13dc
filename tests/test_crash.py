"""A writer that dies at any moment loses no committed version and shows no uncommitted one (format.md 9).

Processes are really killed, at random moments; a full disk, a limit on file sizes and Ctrl-C are made to happen at
every single operation of a commit.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import pytest

import tokstore as ts
from files import data_files
from tokstore import storage as storage_module
from tokstore.parts import staged_parts
from tokstore.storage import LocalStorage

SCHEMA = ts.Schema(t=ts.Tokens(1 << 20))
BATCH = 3
KILLS = 200

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")


def spawn(work: Callable[[int], None]) -> tuple[int, int]:
    """Run work in a forked child that is given the writing end of a pipe; return its id and the reading end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        status = 1
        try:
            work(writer)
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    return child, reader


def kill_at_random(child: int, reader: int, moment: float) -> list[int]:
    """Kill a child some time after it has begun, and return the numbers that it has reported."""
    head = os.read(reader, 8)
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raw = head
    while part := os.read(reader, 1 << 16):
        raw += part
    os.close(reader)
    return [int.from_bytes(raw[i : i + 8], "little") for i in range(8, len(raw) - 7, 8)]


def report(writer: int, number: int) -> None:
    """Tell the parent a number; 8 bytes are written to a pipe at once or not at all."""
    os.write(writer, number.to_bytes(8, "little"))


def test_killed_writers_lose_nothing_and_show_nothing(tmp_path: Path) -> None:
    """200 writers killed at random moments: each commit is there whole or not at all, every reported one is there."""
    path = tmp_path / "s"
    with ts.create(path, SCHEMA, level="plain"):
        pass
    rng = random.Random(5)
    begun = time.monotonic()
    with ts.open(path).writer(shard_tokens=1, threads=1) as w:
        w.extend(t=[[5]] * BATCH)
    typical = time.monotonic() - begun
    expected = [5]  # the number of every batch that is committed, in order
    versions = 2

    for kill in range(KILLS):

        def work(writer: int, first: int = kill * 1000) -> None:
            report(writer, 0)
            for number in range(first, first + 1000):
                with ts.open(path).writer(shard_tokens=1, threads=1) as w:
                    w.extend(t=[[number]] * BATCH)
                report(writer, number)

        told = kill_at_random(*spawn(work), rng.uniform(0, min(3 * typical, 0.05)))
        store = ts.open(path)
        assert len(store) >= BATCH * len(expected), "a committed version was lost"
        found = [row[0] for row in store.take(range(BATCH * len(expected), len(store)))["t"].to_list()]
        new = found[::BATCH]
        assert found == [number for number in new for _ in range(BATCH)], "a commit is there in part"
        assert new[: len(told)] == told, "a reported commit is not there"
        assert len(new) - len(told) <= 1, "more is there than was written"
        assert store.version == versions + len(new)
        expected, versions = expected + new, store.version
    assert ts.open(path)["t"].values.tolist() == [number for number in expected for _ in range(BATCH)]
    assert len(expected) > 1
    assert ts.verify(path).problems == []
    with ts.open(path).writer() as w:
        w.append(t=[7])
    assert ts.open(path)[-1]["t"].tolist() == [7]


def test_killed_creators_leave_a_store_or_none(tmp_path: Path) -> None:
    """What a killed `create` leaves is a whole store or none, and `create` works again in the same folder."""
    rng = random.Random(6)
    begun = time.monotonic()
    with ts.create(tmp_path / "timed", SCHEMA, shard_tokens=1, attachments={"a": b"x"}, threads=1) as w:
        w.extend(t=[[1], [2], [3]])
    typical = time.monotonic() - begun
    for kill in range(40):
        path = tmp_path / f"{kill}"

        def work(writer: int, path: Path = path) -> None:
            report(writer, 0)
            with ts.create(path, SCHEMA, shard_tokens=1, attachments={"a": b"x"}, threads=1) as w:
                w.extend(t=[[1], [2], [3]])
            report(writer, 1)
            time.sleep(60)

        told = kill_at_random(*spawn(work), rng.uniform(0, min(2 * typical, 0.05)))
        try:
            store = ts.open(path)
        except ts.NotAStoreError:
            assert told == []
            with ts.create(path, SCHEMA) as w:
                w.extend(t=[[1], [2], [3]])
            store = ts.open(path)
        else:
            assert store.attachments["a"] == b"x"
        assert store["t"].to_list() == [[1], [2], [3]]
        assert ts.verify(path).problems == []


def test_killed_stagers_and_committers_of_parts(tmp_path: Path) -> None:
    """Parts are staged and committed by processes that die: each is in the store once, or waits, or never was."""
    path = tmp_path / "s"
    with ts.create(path, SCHEMA, level="plain"):
        pass
    rng = random.Random(7)
    reported: list[int] = []
    for kill in range(40):

        def work(writer: int, first: int = kill * 1000) -> None:
            report(writer, 0)
            for number in range(first, first + 1000):
                with ts.writer(path, part=f"{number:06}", threads=1) as w:
                    w.extend(t=[[number]] * BATCH)
                report(writer, number)
                if number % 2:
                    ts.open(path).commit()

        reported += kill_at_random(*spawn(work), rng.uniform(0, 0.03))
    ts.open(path).commit()
    found = [row[0] for row in ts.open(path)["t"].to_list()]
    assert found == [number for number in found[::BATCH] for _ in range(BATCH)]
    assert len(set(found)) * BATCH == len(found), "a part was taken in twice"
    assert set(reported) <= set(found), "a staged part was lost"
    assert staged_parts(LocalStorage(path)) == []
    assert ts.verify(path).problems == []


class Faults:
    """Make the n-th operation that changes the disk fail, before or after it was done."""

    def __init__(self, fatal: int, error: BaseException, *, after: bool) -> None:
        self.fatal, self.error, self.after, self.count, self.broken = fatal, error, after, 0, False

    def wrap(self, real: Callable[..., object]) -> Callable[..., object]:
        """Return an operation that fails when its turn has come."""

        def operation(*arguments: object, **named: object) -> object:
            self.count += 1
            if self.count == self.fatal and not self.after:
                raise self.error
            result = real(*arguments, **named)
            if self.count == self.fatal:
                raise self.error
            return result

        return operation


@contextmanager
def faults(fatal: int, error: BaseException, *, after: bool) -> Iterator[Faults]:
    """Count all operations that change the disk, and let one fail."""
    found = Faults(fatal, error, after=after)
    with ExitStack() as patches:
        write = _method(found.wrap(storage_module.FileSink.write))
        patches.enter_context(mock.patch.object(storage_module.FileSink, "write", write))
        # Nothing is really synced: no power is cut here, and disks are slow.
        for name, real in (("fsync", lambda handle: None), ("link", os.link), ("replace", os.replace)):
            patches.enter_context(mock.patch.object(os, name, found.wrap(real)))
        yield found


def _method(function: Callable[..., object]) -> Callable[..., object]:
    """Return a function that Python takes for a method."""
    return lambda self, data: function(self, data)


ERRORS: dict[str, Callable[[], BaseException]] = {
    "full disk": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "Ctrl-C": KeyboardInterrupt,
}


@pytest.mark.parametrize(("error", "after"), [("full disk", False), ("Ctrl-C", True)])
@pytest.mark.parametrize("what", ["append", "create", "part", "file"])
def test_failure_at_every_operation(
    what: str, error: str, after: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever operation fails: the old version or the whole new one, no half file, and the next attempt works."""
    rows = [[1], [2]]
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    outcomes: Counter[tuple[bool, bool]] = Counter()
    for fatal in range(1, 200):
        path = tmp_path / f"{fatal}" / ("x.tok" if what == "file" else "s")
        path.parent.mkdir()
        if what in ("append", "part"):
            with ts.create(path, SCHEMA) as w:
                w.append(t=[9])
        before = len(data_files(path))

        def attempt(path: Path = path) -> None:
            options = {"shard_tokens": 2 if what == "file" else 1, "threads": 1}
            if what in ("create", "file"):
                writer = ts.create(path, SCHEMA, attachments={"a": b"x"}, **options)
            elif what == "append":
                writer = ts.open(path).writer(**options)
            else:
                writer = ts.writer(path, part="a", **options)
            with writer as w:
                w.extend(t=rows)

        failed = False
        with faults(fatal, ERRORS[error](), after=after) as found:
            try:
                attempt()
            except (OSError, KeyboardInterrupt):
                failed = True
        if found.count < fatal:
            break
        assert not list(path.parent.rglob("*.tmp")), f"a half file is left after operation {fatal}"
        is_there = _is_there(what, path)
        outcomes[failed, is_there] += 1
        if not failed:
            assert is_there, f"operation {fatal}: no error, and nothing was written"
        if not is_there:
            _check_untouched(what, path)
            attempt()
        _check_there(what, path, rows)
        assert len(data_files(path)) >= before
    else:
        pytest.fail("the operations never end")
    assert outcomes[True, False]
    if error == "full disk":
        # Only where the name is in place and cannot be made durable: a failure that is told would be tried again.
        assert outcomes[True, True] <= 1
    assert fatal > 4


def _is_there(what: str, path: Path) -> bool:
    """Tell whether the new samples are visible (or staged)."""
    if what == "part":
        return bool(staged_parts(LocalStorage(path)))
    if what in ("create", "file"):
        try:
            return len(ts.open(path)) == 2
        except ts.NotAStoreError:
            return False
    return len(ts.open(path)) == 3


def _check_untouched(what: str, path: Path) -> None:
    """Check that nothing visible has changed."""
    if what in ("append", "part"):
        assert ts.open(path)["t"].to_list() == [[9]]
        assert ts.verify(path).problems == []


def _check_there(what: str, path: Path, rows: list[list[int]]) -> None:
    """Check that all new samples are there, once."""
    if what == "part":
        ts.open(path).commit()
    old = [[9]] if what in ("append", "part") else []
    assert ts.open(path)["t"].to_list() == old + rows
    assert ts.verify(path).problems == []


@pytest.mark.parametrize("name", ["s", "x.tok", "old"])
def test_limit_on_file_sizes(name: str, tmp_path: Path) -> None:
    """A real limit of the operating system in the middle of a file: an OSError, no version, no half file."""
    old = tmp_path / "old"
    with ts.create(old, SCHEMA) as w:
        w.append(t=[1])

    def work(writer: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        rng = random.Random(0)
        rows = [[rng.randrange(1 << 20) for _ in range(200)] for _ in range(200)]
        try:
            with ts.create(tmp_path / name, SCHEMA, exist="append" if name == "old" else "error") as w:
                w.extend(t=rows)
        except OSError as error:
            report(writer, error.errno or 0)

    child, reader = spawn(work)
    assert os.waitpid(child, 0)[1] == 0
    assert int.from_bytes(os.read(reader, 8), "little") == errno.EFBIG
    os.close(reader)
    assert not list(tmp_path.rglob("*.tmp"))
    assert ts.open(old)["t"].to_list() == [[1]]
    if name != "old":
        assert not (tmp_path / name).exists()
    assert len(data_files(old)) == 1


def test_what_a_dead_writer_left_disturbs_nobody(tmp_path: Path) -> None:
    """Temporary files, whole data files that no version names, and a dead creator's identity."""
    path = tmp_path / "s"
    with ts.create(path, SCHEMA) as w:
        w.append(t=[1])
    for folder in ("", "manifests", "data/00", "objects/00", "pages", "parts"):
        (path / folder).mkdir(parents=True, exist_ok=True)
        (path / folder / ".0123456789abcdef.tmp").write_bytes(b"half")
    (path / "data/00" / ("00" * 16 + ".tok")).write_bytes(b"whole, perhaps")
    (path / "pages" / ("00" * 32)).write_bytes(b"x")
    with ts.open(path).writer() as w:
        w.append(t=[2])
    store = ts.open(path)
    assert store["t"].to_list() == [[1], [2]]
    assert store.commit() == 2
    assert ts.verify(path).problems == []
