"""Ranges of texts: what tables and pages say, and that `where` reads only what they leave open (format.md 4.5)."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tokstore as ts
from tokstore.ranges import range_of_texts
from tokstore.where.predicates import TextTest

OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
TEXTS = st.one_of(
    st.text(max_size=3),
    st.text(alphabet="ab\x00\U0010ffff", min_size=6, max_size=36),
    st.builds(lambda tail: "x" * 31 + tail, st.text(alphabet="aü\U0010ffff", max_size=3)),
)


def spans(texts: list[bytes]) -> tuple[Any, Any]:
    """Return texts as bytes and places."""
    ends = np.cumsum([len(one) for one in texts], dtype=np.int64)
    starts = ends - [len(one) for one in texts]
    return np.frombuffer(b"".join(texts), np.uint8), np.stack([starts, ends], axis=1)


@given(texts=st.lists(TEXTS, min_size=1, max_size=12), value=TEXTS, op=st.sampled_from(sorted(OPERATORS)))
def test_bounds_promise_what_is_so(texts: list[str], value: str, op: str) -> None:
    """A range holds every text, takes at most 32 bytes a side, and never excludes or includes a text wrongly."""
    coded = [one.encode() for one in texts]
    found = range_of_texts(*spans(coded))
    assert found is not None
    low, high = found
    assert low == min(coded)[:32]
    assert max(coded) <= high
    assert len(high) <= 32
    assert len(max(coded)) > 32 or high == max(coded)
    passed = [OPERATORS[op](one, value) for one in texts]
    sides = [np.array([one, None], object)[:1] for one in (low, high)]
    (may,), (sure,) = TextTest(op, (value.encode(),)).bounds(*sides)
    assert may or not any(passed)
    assert all(passed) or not sure


def write(path: Path, shards: list[list[str | None]]) -> ts.Store:
    """Make a store with a shard of texts for each list."""
    schema = ts.Schema(tokens=ts.Tokens(9), url=ts.Text(optional=True))
    for texts in shards:
        writer = ts.open(path).writer() if path.exists() else ts.create(path, schema)
        with writer as w:
            w.extend(tokens=[[1]] * len(texts), url=texts)
    return ts.open(path)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    shards=st.lists(st.lists(st.none() | TEXTS, min_size=1, max_size=8), min_size=1, max_size=3),
    values=st.lists(TEXTS, min_size=1, max_size=3),
    op=st.sampled_from([*sorted(OPERATORS), "in"]),
)
def test_where_is_the_filter(
    shards: list[list[str | None]], values: list[str], op: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`where` finds what comparing every text finds, negated too, whatever the texts and the literal."""
    store = write(tmp_path_factory.mktemp("s") / "s", shards)
    compare = (lambda one: one in values) if op == "in" else (lambda one: OPERATORS[op](one, values[0]))
    texts = [one for shard in shards for one in shard]
    literal = values if op == "in" else values[0]
    found = store.where([("url", op, literal)])["sample_id"].tolist()
    assert found == [i for i, one in enumerate(texts) if one is not None and compare(one)]
    assert ts.verify(store.path).ok


def test_blocks_and_shards_are_skipped(tmp_path: Path) -> None:
    """One url of a sorted column costs one block of it, and one that no shard can have costs none."""
    rng = np.random.default_rng(3)
    urls = [f"https://example.org/{i:09d}/{rng.bytes(40).hex()}" for i in range(30_000)]
    store = write(tmp_path / "s", [urls[:15_000], urls[15_000:]])
    blocks = store.describe()["columns"][1]["block_bytes"]
    store.where(f"url == '{urls[17]}'")  # opens the files

    def read(condition: str) -> tuple[int, int]:
        before = store.storage.bytes_read
        found = len(store.where(condition))
        return found, store.storage.bytes_read - before

    everything = read(f"url != '{urls[20_000]}' and url > 'https://example.org/0000200'")
    assert everything[0] == 9_999
    for condition, count in (
        (f"url == '{urls[20_000]}'", 1),
        (f"url in ('{urls[20_000]}', 'zzz', 'abc')", 1),
        (f"url < '{urls[3]}'", 3),
        (f"url >= '{urls[-3]}'", 3),
    ):
        found, nbytes = read(condition)
        assert found == count
        assert nbytes < blocks / 3, condition
    assert read("url > 'i'") == (0, 0)
    assert read("url >= 'h'") == (30_000, 0)
    assert read("url == 'abc'") == (0, 0)


def page_ranges(store: ts.Store, name: str) -> list[tuple[Any, Any] | None] | None:
    """What the first page, as it is on disk, says of the texts of its shards."""
    opened = ts.open(store.path)
    (page,) = opened._version.pages([0])
    ranges = page.columns[opened.schema.column(name).column_id].ranges
    return None if ranges is None else list(ranges)


def span_of(store: ts.Store, name: str) -> tuple[Any, Any] | None:
    """What the root, as it is on disk, says of the texts of all shards; ``None`` where it says nothing."""
    opened = ts.open(store.path)
    totals = opened._version.root.columns[opened.schema.column(name).column_id]
    return totals.span if totals.ranged else None


def test_an_added_column_skips_shards_too(tmp_path: Path) -> None:
    """Texts that are added or filled have ranges in the page, shard by shard: what they exclude costs not one byte."""
    store = write(tmp_path / "s", [["u"] * 100 for _ in range(4)])
    texts = [f"{shard}/{'x' * 40}{i:03d}" for shard in range(3) for i in range(100)]
    store.add_column("name", texts, ts.Text(), ids=np.arange(300), threads=1)
    ends = [(f"{i}/{'x' * 30}".encode(), f"{i}/{'x' * 29}y".encode()) for i in range(3)]
    assert page_ranges(store, "name") == [*ends, None]
    assert span_of(store, "name") == (ends[0][0], ends[2][1])
    store = ts.open(store.path)
    store.where(f"name == '{texts[150]}'")  # opens the file
    before = store.storage.bytes_read
    for condition in ("name < '0'", "name > '3'", "name in ('00', '1', '2/a')"):
        assert len(store.where(condition)) == 0, condition
    assert len(store.where("name >= '0' and name < '2'")) == 200
    assert store.storage.bytes_read == before
    store.fill_column("name", ["", "ü" * 20], ids=[300, 399], threads=1)
    assert page_ranges(store, "name") == [*ends, (b"", ("ü" * 15).encode() + "ý".encode())]
    assert span_of(store, "name") == (b"", ("ü" * 15).encode() + "ý".encode())
    assert store.where("name == ''")["sample_id"].tolist() == [300]
    assert ts.verify(store.path).problems == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    texts=st.lists(st.none() | TEXTS, min_size=9, max_size=9),
    value=TEXTS,
    op=st.sampled_from(sorted(OPERATORS)),
)
def test_where_on_an_added_column(
    texts: list[str | None], value: str, op: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """`where` finds what comparing every text finds, and what pages and root say is what the texts are."""
    store = write(tmp_path_factory.mktemp("s") / "s", [["u"] * 3] * 3)
    there = [i for i, one in enumerate(texts) if one is not None]
    store.add_column("name", [texts[i] for i in there], ts.Text(), ids=np.array(there, np.int64), threads=1)
    found = store.where([("name", op, value)])["sample_id"].tolist()
    assert found == [i for i in there if OPERATORS[op](texts[i], value)]
    assert ts.verify(store.path).problems == []


def test_empty_texts_without_ranges_leave_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer that keeps no ranges wrote empty texts: what is appended later must not say that there are none."""
    with monkeypatch.context() as patched:
        patched.setattr(ts.Text, "ranged", False)
        store = write(tmp_path / "s", [["", None], [""]])
    assert page_ranges(store, "url") is None
    assert span_of(store, "url") is None
    write(tmp_path / "s", [["b", "c"]])
    assert span_of(store, "url") is None
    assert ts.open(store.path).where("url == ''")["sample_id"].tolist() == [0, 2]
    assert ts.open(store.path).where("url < 'b'")["sample_id"].tolist() == [0, 2]
    assert ts.verify(store.path).problems == []


def test_only_missing_texts_without_ranges_promise_nothing(tmp_path: Path) -> None:
    """Where all texts so far are missing, or were empty with a range, the root goes on to know the range."""
    store = write(tmp_path / "a", [[None, None], ["b"]])
    assert span_of(store, "url") == (b"b", b"b")
    store = write(tmp_path / "b", [["", None], ["b"]])
    assert span_of(store, "url") == (b"", b"b")
    store.delete([0])
    store.compact(min_deleted=0, threads=1)
    assert span_of(store, "url") == (b"b", b"b")
    assert ts.verify(store.path).problems == []
