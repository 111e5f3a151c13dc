"""Columns, deletions and compaction by several processes at once, and by processes that die (format.md 9)."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from files import data_files, tree
from test_crash import ERRORS, faults, kill_at_random, report, spawn

FORK = multiprocessing.get_context("fork")
SCHEMA = ts.Schema(t=ts.Tokens(1000), s=ts.Score(optional=True))

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are killed here, and no power is cut."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


def write(path: Path, count: int = 40) -> ts.Store:
    """Create a store of shards of five samples."""
    with ts.create(path, SCHEMA, shard_tokens=20, threads=1, level="plain") as w:
        w.extend(t=[[i] * 4 for i in range(count)], s=np.arange(count) / 2)
    return ts.open(path)


def run_together(path: Path, works: list[Callable[[Path], None]]) -> list[str]:
    """Run work in processes that begin at one moment; return what became of each."""
    barrier, results = FORK.Barrier(len(works)), FORK.Queue()

    def process(number: int, work: Callable[[Path], None]) -> None:
        barrier.wait()
        try:
            work(path)
            results.put((number, "done"))
        except ts.TokstoreError as error:
            results.put((number, type(error).__name__))

    started = [FORK.Process(target=process, args=one) for one in enumerate(works)]
    for one in started:
        one.start()
    told = dict(results.get(timeout=60) for _ in works)
    for one in started:
        one.join(60)
    assert [one.exitcode for one in started] == [0] * len(works)
    return [told[i] for i in range(len(works))]


def appender(who: int, times: int) -> Callable[[Path], None]:
    """Append as often as asked."""

    def work(path: Path) -> None:
        for i in range(times):
            with ts.open(path).writer(threads=1) as w:
                w.append(t=[who, i])

    return work


def adder(name: str, factor: int) -> Callable[[Path], None]:
    """Add a column that says the sample id, times a factor."""

    def work(path: Path) -> None:
        store = ts.open(path)
        store.add_column(name, lambda b: factor * b["sample_id"], ts.Label(), inputs=[], batch_size=7, threads=1)

    return work


def test_two_columns_and_two_appenders(tmp_path: Path) -> None:
    """All land: both columns with ids of their own, all samples, values for those that were there when it began."""
    for turn in range(3):
        path = tmp_path / f"{turn}"
        write(path)
        works = [adder("a", 2), adder("b", 3), appender(7, 6), appender(8, 6)]
        assert run_together(path, works) == ["done"] * 4
        store = ts.open(path)
        assert store.version == 1 + 2 + 12
        assert len(store) == 52
        ids = np.arange(52)
        for name, factor in (("a", 2), ("b", 3)):
            missing = store.missing(name)
            assert not missing[:40].any()
            assert (store[name] == factor * ids)[~missing].all()
        assert len({one.column_id for one in store.schema.columns}) == 4
        assert sorted(store["t"].to_list()[40:]) == [[who, i] for who in (7, 8) for i in range(6)]
        assert ts.verify(path).problems == []
        assert not list((path / "columns").iterdir()), "no id stays reserved"


def test_one_name_for_two_columns(tmp_path: Path) -> None:
    """One wins, the other is refused and leaves no data file; both may take turns with one store each."""
    write(tmp_path / "s")
    files = len(data_files(tmp_path / "s"))
    told = run_together(tmp_path / "s", [adder("a", 2), adder("a", 3), adder("a", 4)])
    assert sorted(set(told)) in (["ConflictError", "done"], ["ConflictError", "ExistsError", "done"])
    (winner,) = [2 + i for i, what in enumerate(told) if what == "done"]
    store = ts.open(tmp_path / "s")
    assert store["a"].tolist() == [winner * i for i in range(40)]
    assert len(data_files(tmp_path / "s")) == files + 1
    assert ts.verify(tmp_path / "s").problems == []


def test_everything_at_once(tmp_path: Path) -> None:
    """Deleters, a compactor, a filler, an adder and an appender: each is done or told no, and nothing is lost."""
    path = tmp_path / "s"
    write(path, 60)

    def deleter(first: int) -> Callable[[Path], None]:
        def work(path: Path) -> None:
            for one in range(first, first + 20, 2):
                ts.open(path).delete(ids=[one])

        return work

    def compactor(path: Path) -> None:
        for _ in range(4):
            ts.open(path).compact(min_deleted=0.0, shard_tokens=40, max_shards=3, threads=1)

    def filler(path: Path) -> None:
        for one in range(41, 60, 2):
            try:
                ts.open(path).fill_column("s", [100.0 + one], ids=[one], threads=1)
            except ts.ConflictError:
                continue

    works = [deleter(0), deleter(20), compactor, filler, adder("a", 2), appender(7, 5)]
    told = run_together(path, works)
    assert set(told[:4]) == {"done"}
    assert told[5] == "done"
    store = ts.open(path)
    ids = store.take(slice(None), [])["sample_id"].tolist()
    assert ids == [i for i in range(65) if i >= 40 or i % 2]
    rows, scores = store["t"].to_list(), store["s"].tolist()
    assert all(rows[k] == [i] * 4 for k, i in enumerate(ids) if i < 60)
    assert all(scores[k] in (i / 2, *([100.0 + i] if i > 40 else [])) for k, i in enumerate(ids) if i < 60)
    if told[4] == "done":
        here = ~store.missing("a")
        assert store["a"][here].tolist() == [2 * i for i, there in zip(ids, here.tolist(), strict=True) if there]
    assert ts.verify(path).problems == []
    store.prune(dry_run=False, grace=0)
    assert ts.verify(path).problems == []


MEANWHILE: dict[str, tuple[Callable[[ts.Store], Any], str | None]] = {
    "append": (lambda s: s.writer(threads=1).__enter__(), None),
    "delete": (lambda s: s.delete([0, 39]), None),
    "another column": (lambda s: s.add_column("other", np.arange(40), ts.Label()), None),
    "the same column": (lambda s: s.add_column("q", np.arange(40), ts.Label()), "a column 'q' was added meanwhile"),
    "rename to it": (lambda s: s.rename_column("s", "q"), "a column 'q' was added meanwhile"),
    "drop": (lambda s: s.drop_column("s"), None),
    "tag": (lambda s: s.tag("v"), None),
    "compact": (lambda s: (s.delete([7]), s.compact(min_deleted=0)), "were rewritten meanwhile"),
    "compact what has no value": (lambda s: (s.delete([38]), s.compact(min_deleted=0.1, shard_tokens=20)), None),
    "merge": (lambda s: s.merge(shard_tokens=1000), "were rewritten meanwhile"),
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_what_others_commit_while_a_column_is_written(what: str, tmp_path: Path) -> None:
    """Between reading and committing: joined where that is right, else refused without a trace."""
    store, twin = write(tmp_path / "s"), ts.open(tmp_path / "s")
    change, refusal = MEANWHILE[what]
    before: list[set[Path]] = []

    def values() -> Any:
        yield np.arange(30) / 4
        if what == "append":
            with twin.writer(threads=1) as w:
                w.append(t=[5])
        else:
            change(twin)
        before.append(set(data_files(tmp_path / "s")))
        yield [None] * 10

    if refusal is None:
        store.add_column("q", values(), ts.Score(), threads=1)
        found = store.take(slice(None), ["q"])
        expected = np.where(found["sample_id"] < 30, found["sample_id"] / 4, np.nan)
        assert np.array_equal(found["q"], expected, equal_nan=True)
        assert len(store) == len(twin)
        assert {one.name for one in store.schema.columns} == {*twin.schema.names, "q"}
    else:
        version = twin.version
        with pytest.raises(ts.ConflictError, match=refusal):
            store.add_column("q", values(), ts.Score(), threads=1)
        assert ts.open(tmp_path / "s").version == twin.version > version
        assert set(data_files(tmp_path / "s")) == before[0]
    assert not list((tmp_path / "s" / "columns").iterdir())
    assert ts.verify(tmp_path / "s").problems == []


def test_columns_that_others_have_changed(tmp_path: Path) -> None:
    """Dropping, renaming or filling what is another column by now is refused; other changes do not matter."""
    write(tmp_path / "s")

    def pair() -> tuple[ts.Store, ts.Store]:
        return ts.open(tmp_path / "s"), ts.open(tmp_path / "s")

    one, other = pair()
    one.add_column("q", np.arange(40), ts.Label())
    with other.writer() as w:
        w.append(t=[1])
    other.rename_column("s", "score")
    one, other = pair()
    other.rename_column("q", "quality")
    for call in (
        lambda: one.drop_column("q"),
        lambda: one.rename_column("q", "x"),
        lambda: one.fill_column("q", [1], ids=[40]),
    ):
        with pytest.raises(ts.ConflictError, match="column 'q' was renamed to 'quality' meanwhile"):
            call()
    one, other = pair()
    other.fill_column("quality", [5], ids=[3])
    with pytest.raises(ts.ConflictError, match="values of column 'quality' were filled in meanwhile"):
        one.fill_column("quality", [6], ids=[4])
    one.fill_column("score", [6.5], ids=[4])
    other.drop_column("quality")
    with pytest.raises(ts.ConflictError, match="column 'quality' was dropped meanwhile"):
        one.rename_column("quality", "x")
    assert ts.open(tmp_path / "s")["score"][4] == 6.5
    assert ts.verify(tmp_path / "s").problems == []


def test_the_other_rows_of_the_table(tmp_path: Path) -> None:
    """What the table of format.md 9 says of appends, names, deletions and tags that others overtook.

    Where its rows are tested; columns are "is applied again" and "MUST be refused":

    - append: here (a free column; one that is not optional), staged samples in `test_parts`; another
      type: `test_parts.test_part_of_another_store`.
    - add a column: `test_what_others_commit_while_a_column_is_written` (samples appended; a name that is taken, shards
      rewritten), `test_a_column_that_must_not_be_missing` (not optional).
    - fill a column: `test_what_others_commit_while_a_column_is_filled`, all of it.
    - drop, rename: `test_names_are_changed_again`; refused: `test_columns_that_others_have_changed`, and here.
    - delete: here; while shards are compacted: `test_everything_at_once`.
    - compact, merge: `test_two_compactions_at_once` (the shards are gone), and
      `test_compact.test_others_change_the_store_meanwhile` (deletions are replayed; values were filled).
    - tag: `test_names_are_changed_again`; refused: here.
    """
    write(tmp_path / "s")

    def pair() -> tuple[ts.Store, ts.Store]:
        return ts.open(tmp_path / "s"), ts.open(tmp_path / "s")

    one, other = pair()
    with one.writer() as w:
        w.append(t=[1])
        other.add_column("free", np.arange(40), ts.Label())
    one, other = pair()
    writer = one.writer()
    writer.append(t=[1])
    other.add_column("sure", np.arange(41), ts.Label(), optional=False)
    with pytest.raises(ts.ConflictError, match="column 'sure' was added meanwhile and must not be missing"):
        writer.close()
    one, other = pair()
    other.drop_column("sure")
    other.rename_column("free", "taken")
    with pytest.raises(ts.ConflictError, match="a column 'taken' was added meanwhile"):
        one.rename_column("s", "taken")
    one, other = pair()
    other.delete(ids=[3, 4])
    one.delete(ids=[4, 5])
    assert len(one) == 38
    one, other = pair()
    other.tag("v1")
    with pytest.raises(ts.TokstoreError, match="v1"):
        one.tag("v1", version=1)
    one, other = pair()
    assert ts.open(tmp_path / "s").take(slice(None), [])["sample_id"].tolist() == [
        i for i in range(41) if i not in (3, 4, 5)
    ]
    assert ts.verify(tmp_path / "s").problems == []


@pytest.mark.parametrize("verb", ["compact", "merge"])
@pytest.mark.parametrize("other_verb", ["compact", "merge"])
def test_two_compactions_at_once(verb: str, other_verb: str, tmp_path: Path) -> None:
    """Whoever comes second with the same shards commits nothing, says so and leaves no file; no sample is doubled."""
    store = write(tmp_path / "s")
    store.delete(ids=[3, 4, 5])
    twin = ts.open(tmp_path / "s")
    options: dict[str, dict[str, Any]] = {"compact": {"min_deleted": 0.0}, "merge": {}}
    after: list[tuple[int, set[Path]]] = []

    def interfere(progress: ts.Progress) -> None:
        if not after:
            done = getattr(twin, other_verb)(threads=1, shard_tokens=1000, **options[other_verb])
            assert done.versions == 1
            after.append((twin.version, set(data_files(tmp_path / "s"))))

    done = getattr(store, verb)(threads=1, shard_tokens=1000, progress=interfere, **options[verb])
    version, files = after[0]
    assert (done.replaced, done.made, done.versions, done.left_out) == (0, 0, 0, 0)
    assert done.conflicts == 1
    assert ts.open(tmp_path / "s").version == store.refresh().version == version
    assert set(data_files(tmp_path / "s")) == files, "what the one that lost has written since is gone"
    assert store.take(slice(None), [])["sample_id"].tolist() == [i for i in range(40) if i not in (3, 4, 5)]
    assert store["t"].to_list() == [[i] * 4 for i in range(40) if i not in (3, 4, 5)]
    assert ts.verify(tmp_path / "s").problems == []


def test_a_column_that_must_not_be_missing(tmp_path: Path) -> None:
    """Samples that were appended meanwhile have no value: refused, and nothing stays; deletions do not matter."""
    store, twin = write(tmp_path / "s"), ts.open(tmp_path / "s")
    before: list[tuple[int, set[Path]]] = []

    def values(change: Callable[[], Any]) -> Any:
        yield np.arange(30)
        change()
        before.append((twin.version, set(data_files(tmp_path / "s"))))
        yield np.arange(len(store) - 30)

    def append() -> None:
        with twin.writer(threads=1) as w:
            w.append(t=[5])

    with pytest.raises(ts.ConflictError, match="appended meanwhile, and column 'q' must not be missing"):
        store.add_column("q", values(append), ts.Label(), optional=False, threads=1)
    assert (ts.open(tmp_path / "s").version, set(data_files(tmp_path / "s"))) == before[0]
    assert not list((tmp_path / "s" / "columns").iterdir())
    store.refresh()
    store.add_column("q", values(lambda: twin.delete(ids=[7, 35])), ts.Label(), optional=False, threads=1)
    assert not store.schema["q"].optional
    ids = store.take(slice(None), [])["sample_id"]
    assert store["q"].tolist() == [i if i < 30 else i - 30 for i in ids.tolist()]
    assert len(store) == 39
    assert ts.verify(tmp_path / "s").problems == []


WHILE_FILLED: dict[str, tuple[Callable[[ts.Store], Any], str | None]] = {
    "append": (lambda s: s.writer(threads=1).__enter__(), None),
    "delete": (lambda s: s.delete(ids=[2, 8]), None),
    "another column": (lambda s: s.fill_column("s", [9.0], ids=[2]), None),
    "the same column elsewhere": (lambda s: s.fill_column("q", [9], ids=[30]), None),
    "compact elsewhere": (lambda s: (s.delete(ids=[36, 37]), s.compact(min_deleted=0.1, shard_tokens=20)), None),
    "the same column": (lambda s: s.fill_column("q", [9], ids=[1]), "values of column 'q' were filled in meanwhile"),
    "drop": (lambda s: s.drop_column("q"), "column 'q' was dropped meanwhile"),
    "rename": (lambda s: s.rename_column("q", "r"), "column 'q' was renamed to 'r' meanwhile"),
    "compact": (lambda s: (s.delete(ids=[1]), s.compact(min_deleted=0)), "were rewritten meanwhile"),
    "merge": (lambda s: s.merge(shard_tokens=1000), "were rewritten meanwhile"),
}


@pytest.mark.parametrize("what", WHILE_FILLED)
def test_what_others_commit_while_a_column_is_filled(what: str, tmp_path: Path) -> None:
    """Between reading and committing: joined where the shards are as they were, else refused without a trace."""
    write(tmp_path / "s").add_column("q", np.arange(30, 40), ts.Label(), ids=np.arange(30, 40), threads=1)
    store, twin = ts.open(tmp_path / "s"), ts.open(tmp_path / "s")
    change, refusal = WHILE_FILLED[what]
    before: list[set[Path]] = []

    def values(batch: dict[str, Any]) -> Any:
        if not before:
            if what == "append":
                with twin.writer(threads=1) as w:
                    w.append(t=[5])
            else:
                change(twin)
            before.append(set(data_files(tmp_path / "s")))
        return batch["sample_id"] + 100

    if refusal is None:
        store.fill_column("q", values, inputs=[], threads=1)
        found = store.refresh().take(slice(None), ["q"])
        ids = found["sample_id"]
        expected = np.where(ids < 30, ids + 100, np.where((ids == 30) & (what == "the same column elsewhere"), 9, ids))
        assert found["q"][ids < 40].tolist() == expected[ids < 40].tolist()
        assert (store.missing("q") == (ids == 40)).all()
        assert len(store) == len(twin.refresh())
        assert what != "another column" or store["s"][2] == 9.0
    else:
        version = twin.version
        with pytest.raises(ts.ConflictError, match=refusal):
            store.fill_column("q", values, inputs=[], threads=1)
        assert ts.open(tmp_path / "s").version == twin.version == version + 1 + (what == "compact")
        assert set(data_files(tmp_path / "s")) == before[0]
    assert ts.verify(tmp_path / "s").problems == []


@pytest.mark.parametrize("what", ["append", "delete", "other name", "drop another", "tag"])
def test_names_are_changed_again(what: str, tmp_path: Path) -> None:
    """Drops, renames and tags that others overtook are done to the newest version, whatever else they changed."""
    for number, change in enumerate(
        (lambda s: s.drop_column("q"), lambda s: s.rename_column("q", "r"), lambda s: s.tag("mine"))
    ):
        path = tmp_path / f"{number}"
        made = write(path)
        made.add_column("q", np.arange(40), ts.Label())
        made.add_column("p", np.arange(40), ts.Label())
        one, other = ts.open(path), ts.open(path)
        if what == "append":
            with other.writer(threads=1) as w:
                w.append(t=[5])
        else:
            {
                "delete": lambda s: s.delete(ids=[3]),
                "other name": lambda s: s.rename_column("p", "z"),
                "drop another": lambda s: s.drop_column("p"),
                "tag": lambda s: s.tag("theirs"),
            }[what](other)
        tagged = one.version
        change(one)
        found = ts.open(path)
        assert found.version == other.version + 1
        assert len(found) == len(other)
        names = set(other.schema.names)
        assert set(found.schema.names) == (names - {"q"} | ({"r"} if number == 1 else set()) if number < 2 else names)
        tags = {"theirs": tagged} if what == "tag" else {}
        assert dict(found._version.root.tags) == tags | ({"mine": tagged} if number == 2 else {})
        assert ts.verify(path).problems == []


def test_killed_while_columns_are_added(tmp_path: Path) -> None:
    """Processes that add columns, delete and compact die at random moments: the last committed version is whole."""
    path = tmp_path / "s"
    write(path)
    rng, outcomes = random.Random(3), Counter[str]()
    for kill in range(25):
        before = [repr(one) for one in ts.open(path)]
        version = ts.open(path).version

        def work(writer: int, kill: int = kill) -> None:
            store = ts.open(path)
            report(writer, 0)
            for i in range(30):
                name = f"c{kill}_{i}"
                store.add_column(name, lambda b: b["sample_id"], ts.Label(), inputs=[], threads=1)
                store.fill_column(name, [-5], ids=[int(store[0]["sample_id"])], threads=1)
                store.delete([len(store) // 2])
                with store.writer(threads=1) as w:
                    w.append(t=[1] * 4)
                store.compact(min_deleted=0, shard_tokens=40, threads=1)
                store.drop_column(name)

        kill_at_random(*spawn(work), rng.uniform(0, 0.08))
        store = ts.open(path)
        outcomes[store.versions()[0].verb] += store.version > version
        assert ts.verify(path).problems == []
        if store.version == version:
            assert [repr(one) for one in store] == before
        for name in store.schema.names[2:]:
            found = store.take(slice(None), [name])
            is_right = (found[name] == found["sample_id"]) | (found[name] == -5)
            assert is_right.all()
            store.drop_column(name)
    assert len(outcomes) > 2
    old = time.time() - 10**6
    for folder, _, names in os.walk(path):
        for name in names:
            os.utime(os.path.join(folder, name), (old, old))
    store.refresh().prune(dry_run=False)
    assert ts.verify(path).problems == []
    page = store._version.pages([0])[0]
    assert len(data_files(path)) == len(page.file_ids)
    assert not list(path.rglob("*.tmp"))


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("what", ["add", "compact"])
def test_failure_at_every_operation(what: str, error: str, tmp_path: Path) -> None:
    """Whichever operation on the disk fails: the old version or the whole new one, and the next attempt works."""
    outcomes: Counter[tuple[bool, bool]] = Counter()
    for fatal in range(1, 80):
        path = tmp_path / f"{fatal}"
        store = write(path, 10)
        store.delete([3])
        before = tree(path)

        def attempt(store: ts.Store = store) -> None:
            if what == "add":
                store.add_column("q", np.arange(9) / 2, ts.Score(), threads=1)
            else:
                store.compact(min_deleted=0, threads=1)

        failed = False
        with faults(fatal, ERRORS[error](), after=error == "Ctrl-C") as found:
            try:
                attempt()
            except (OSError, KeyboardInterrupt):
                failed = True
        if found.count < fatal:
            break
        opened = ts.open(path)
        is_there = opened.version == 3
        outcomes[failed, is_there] += 1
        assert failed or is_there
        assert ts.verify(path).problems == []
        assert not list(path.rglob("*.tmp"))
        if not is_there:
            assert {name: data for name, data in tree(path).items() if name in before} == before
            attempt(opened)
        found_now = ts.open(path)
        assert found_now.take(slice(None), [])["sample_id"].tolist() == [0, 1, 2, 4, 5, 6, 7, 8, 9]
        assert what == "compact" or found_now["q"].tolist() == [i / 2 for i in range(9)]
        assert ts.verify(path).problems == []
    else:
        pytest.fail("the operations never end")
    assert outcomes[True, False] > 3
