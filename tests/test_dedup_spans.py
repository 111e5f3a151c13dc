"""Spans that came before, in a store or in another one, against plain search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokstore as ts
from test_cli_upkeep import facts, run
from tokstore.dedup import mark_spans, overlap, spans
from tokstore.dedup.overlap import GramIndex, mask_of_grams
from tokstore.dedup.sample_rows import SampleRows

N = 4


@pytest.fixture(autouse=True)
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for the disk: no power is cut here."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


def write(path: Path, rows: list[Any], **columns: Any) -> ts.Store:
    """Write a store of token rows in two shards; ``None`` is a missing row."""
    with ts.create(path, ts.Schema(id=ts.Label(), tokens=ts.Tokens(50, optional=True))) as writer:
        for part in (slice(0, len(rows) // 2), slice(len(rows) // 2, None)):
            writer.extend(id=np.arange(len(rows))[part], tokens=rows[part])
            writer.commit()
    return ts.open(path)


def grams(row: list[int]) -> list[tuple[int, ...]]:
    """Return the grams of a row by where they begin."""
    return [tuple(row[i : i + N]) for i in range(len(row) - N + 1)]


def covered(row: list[int], seen: list[bool]) -> list[bool]:
    """Return which tokens lie in a gram that was seen."""
    return [any(seen[max(0, i - N + 1) : i + 1]) for i in range(len(row))]


def brute(rows: list[Any], others: list[Any] | None) -> list[Any]:
    """Return for every row which tokens lie in grams that came earlier, or that other rows have."""
    known = {gram for row in others or [] if row for gram in grams(row)}
    made: list[Any] = []
    for row in rows:
        if row is None:
            made.append(None)
            continue
        seen = []
        for gram in grams(row):
            seen.append(gram in known)
            if others is None:
                known.add(gram)
        made.append(covered(row, seen))
    return made


def check(store: ts.Store, name: str, expected: list[Any]) -> None:
    """Compare the columns of a search with what is expected."""
    samples = [store[i] for i in range(len(store))]
    for sample, inside in zip(samples, expected, strict=True):
        if inside is None:
            assert sample[f"dup_{name}_mask"] is None
            assert sample[f"dup_{name}_share"] is None
            continue
        assert sample[f"dup_{name}_mask"].tolist() == [not one for one in inside]
        assert sample[f"dup_{name}_share"] == pytest.approx(sum(inside) / max(1, len(inside)), abs=1e-6)


ROWS: list[Any] = [
    [1, 2, 3, 4, 5, 6, 7],
    [],
    None,
    [9, 2, 3, 4, 5, 9, 1, 2, 3, 4, 8],
    [1, 2, 3],
    [7, 7, 7, 7, 7, 7, 7],
    [4, 5, 6, 7, 30, 31, 32, 33],
    None,
    [1, 2, 3, 4, 5, 6, 7],
]


@pytest.mark.parametrize("memory", [1 << 30, 700])
def test_repeats(memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The share and the mask are those of plain search, in one pass or several, also inside one sample."""
    monkeypatch.setattr("tokstore.dedup.sample_rows._ROWS", 2)
    store = write(tmp_path / "s", ROWS)
    before = store.version
    found = mark_spans(store, ngram=N, memory=memory)
    assert store.version == before + 1
    expected = brute(ROWS, None)
    check(store, "spans", expected)
    assert found["touched"] == sum(any(one) for one in expected if one)
    assert found["tokens_in_spans"] == sum(sum(one) for one in expected if one)
    assert store.metadata["dedup"]["spans"] == found
    assert ts.verify(tmp_path / "s").ok
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_against_another_store(tmp_path: Path) -> None:
    """Training rows that hold a gram of a test set are found, and left out by a condition."""
    store, test = write(tmp_path / "s", ROWS), write(tmp_path / "t", [[0, 2, 3, 4, 5, 0], [30, 31], None, [7] * 4])
    found = mark_spans(store, against=test.where("id != 3"), ngram=N)
    expected = brute(ROWS, [[0, 2, 3, 4, 5, 0], [30, 31]])
    check(store, "against", expected)
    assert found["touched"] == 3
    clean = store.where("dup_against_share == 0")
    assert clean["id"].tolist() == [1, 4, 5, 6]
    with pytest.raises(ts.ColumnError, match=r"the search was for spans; where\('dup_against_share == 0'\)"):
        store.dedup("against")
    again = mark_spans(store, against=test, ngram=N, where="id < 6")
    assert again["touched"] == 3
    assert store.missing("dup_against_share").tolist() == [i in (2, 6, 7, 8) for i in range(9)]


@given(st.lists(st.lists(st.integers(0, 1), max_size=14), max_size=6), st.lists(st.integers(0, 1), max_size=12))
@settings(max_examples=40)
def test_an_index_of_grams(rows: list[list[int]], row: list[int]) -> None:
    """Where grams of the index begin, and what they cover, is as in plain search."""
    patch = pytest.MonkeyPatch()
    patch.setattr(overlap, "_TABLE_BITS", 3)  # so that the table of bits decides little
    index = GramIndex(N)
    for part in (rows[::2], rows[1::2]):
        lengths = np.array([len(one) for one in part], np.int64)
        index.add(np.array([value for one in part for value in one], np.int64), lengths)
    assert len(index) == len({gram for one in rows for gram in grams(one)})
    found = index.found(np.array(row, np.int64), np.array([len(row)]))
    assert mask_of_grams(found, N).tolist() == brute([row], rows)[0]
    assert index.counts(np.array(row, np.int64), np.array([len(row)])).tolist() == [int(found.sum())]
    patch.undo()


def test_hashes_that_collide_mark_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Grams of one hash that differ are no repeat, and in another store every one of them is found, and no other."""
    before = spans.gram_pieces

    def same(*args: Any) -> Any:
        for piece in before(*args):
            piece.hashes[:] = 7
            yield piece

    monkeypatch.setattr(spans, "gram_pieces", same)
    monkeypatch.setattr(overlap, "gram_pieces", same)
    rows = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]
    store = write(tmp_path / "s", rows)
    assert mark_spans(store, ngram=N)["touched"] == 0
    others = [[9, 10, 11, 1], [0, 1, 2, 3, 5], [4, 5, 6, 7, 8], [6, 7, 8, 9, 9], [1, 2, 3, 4, 5, 6, 7, 8]]
    assert mark_spans(store, against=write(tmp_path / "t", others), ngram=N)["touched"] == 2
    check(store, "against", brute(rows, others))


@pytest.mark.parametrize("other", [None, [[0, 2, 3, 4, 5, 0], [7] * 4]])
def test_new_samples_alone(other: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an append the values are those of a run over all; of another store only the new samples are read."""
    store = write(tmp_path / "s", ROWS[:5])
    against = None if other is None else write(tmp_path / "t", other)
    name = "spans" if other is None else "against"
    mark_spans(store, against=against, ngram=N, memory=1 << 30)
    with store.writer() as writer:
        writer.extend(id=np.arange(5, 9), tokens=ROWS[5:])
    seen: list[int] = []
    before = SampleRows.read

    def counting(self: SampleRows, some: Any) -> Any:
        if self._view.path == store.path:
            seen.extend(self.places[some].tolist())
        return before(self, some)

    monkeypatch.setattr(SampleRows, "read", counting)
    found = mark_spans(store, against=against, ngram=N)
    monkeypatch.undo()
    monkeypatch.setattr("os.fsync", lambda handle: None)
    check(store, name, brute(ROWS, other))
    assert (found["read"], found["samples"]) == (3, 7)
    assert store.metadata["dedup"][name] == found
    if other is not None:
        assert sorted(seen) == [5, 6, 8]
    version = store.version
    assert mark_spans(store, against=against, ngram=N)["read"] == 0
    assert store.version == version
    anew = mark_spans(store, against=against, ngram=N, name="anew")
    assert [anew[key] for key in ("touched", "tokens", "tokens_in_spans")] == [
        found[key] for key in ("touched", "tokens", "tokens_in_spans")
    ]
    store.delete(ids=[0])  # what came first is gone: repeats of it are none any more
    rows = [None if i == 0 else row for i, row in enumerate(ROWS)]
    assert mark_spans(store, against=against, ngram=N)["read"] == (6 if other is None else 0)
    check(store, name, brute(rows, other)[1:])
    assert mark_spans(store, against=against, ngram=3)["read"] == 6
    assert ts.verify(tmp_path / "s").ok


@pytest.mark.parametrize("other", [None, [[0, 2, 3, 4, 5, 0], [7] * 4]])
def test_a_run_that_was_stopped_goes_on(other: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was done before an end of any kind is not done again, and the values are the same."""
    monkeypatch.setattr("tokstore.dedup.sample_rows._ROWS", 2)
    store = write(tmp_path / "s", ROWS)
    against = None if other is None else write(tmp_path / "t", other)
    before, read = SampleRows.read, list[int]()

    def failing(self: SampleRows, some: Any) -> Any:
        if len(read) >= stop:
            raise KeyboardInterrupt
        if self._view.path == store.path:
            read.extend(some.tolist())
        return before(self, some)

    monkeypatch.setattr(SampleRows, "read", failing)
    stop = 30 if other is None else 4  # of five ranges of hashes some are done, of four units two
    with pytest.raises(KeyboardInterrupt):
        mark_spans(store, against=against, ngram=N, memory=700)
    first, stop = len(read), 10**9
    work = tmp_path / f"s.dedup-{'spans' if other is None else 'against'}"
    done = int((work / "done").read_text())
    assert done > 0
    read.clear()
    mark_spans(store, against=against, ngram=N, memory=700)
    assert len(read) < (first + 7 if other is None else 7)
    if other is not None:
        assert read == [4, 5, 6]
    check(store, "spans" if other is None else "against", brute(ROWS, other))
    assert not work.exists()


def test_what_is_refused(tmp_path: Path) -> None:
    """Other tokens, grams of no length, and empty scopes are told; both ways on the command line."""
    store = write(tmp_path / "s", ROWS)
    with ts.create(tmp_path / "o", ts.Schema(tokens=ts.Tokens(51))) as writer:
        writer.append(tokens=[1])
    with pytest.raises(ValueError, match="their tokens are not the same; tokenize the texts"):
        mark_spans(store, against=ts.open(tmp_path / "o"))
    with pytest.raises(ValueError, match="ngram is an integer from 2 to 1024, not 1"):
        mark_spans(store, ngram=1)
    with pytest.raises(ValueError, match="no sample is in scope"):
        mark_spans(store, where="id > 99")
    write(tmp_path / "t", [[2, 3, 4, 5], [1]])
    found = facts("dedup", "s", "--against", "t", "--ngram", N, cwd=tmp_path)
    assert (found["method"], found["touched"]) == ("against", 3)
    done = run("dedup", "s", "--method", "spans", "--ngram", N, cwd=tmp_path)
    assert b"samples have spans of 4 tokens that came before" in done.stdout
    assert run("dedup", "s", "--method", "spans", "--against", "t", cwd=tmp_path).returncode == 2
    assert run("dedup", "s", "--method", "spans", "--confirm", cwd=tmp_path).returncode == 2
