"""Staged parts: many writers, one version; crashes and repeats in between lose and double nothing (format.md 8.6)."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokstore as ts
from contracts import check_reader
from files import data_files, tree
from tokstore.growth import Part
from tokstore.manifest import root_path
from tokstore.parts import part_path, staged_parts
from tokstore.storage import LocalStorage

SCHEMA = ts.Schema(t=ts.Tokens(100, optional=True), s=ts.Score())


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of one sample."""
    with ts.create(tmp_path / "s", SCHEMA) as writer:
        writer.append(t=[0], s=0.0)
    return tmp_path / "s"


def stage(store: Path, name: str, *values: int) -> None:
    """Stage one sample for each value."""
    with ts.writer(store, part=name) as writer:
        writer.extend(t=[[value] for value in values], s=[float(value) for value in values])


def tokens(store: Path) -> list[int]:
    """Return the one id of every sample."""
    return [row[0] for row in ts.open(store)["t"].to_list()]


def test_parts_become_one_version_in_the_order_of_their_names(store: Path) -> None:
    """Ten parts, staged in another order, are one version; nothing is visible before; ids are consecutive."""
    for name, value in (("b", 2), ("a.2", 12), ("Z", 9), ("a-1", 11), ("00017", 1), ("a", 10)):
        stage(store, name, value, value + 50)
    assert tokens(store) == [0]
    assert staged_parts(LocalStorage(store)) == sorted(["b", "a.2", "Z", "a-1", "00017", "a"])
    opened = ts.open(store)
    assert opened.commit(parts="all") == 2
    assert tokens(store) == [0, 1, 51, 9, 59, 10, 60, 11, 61, 12, 62, 2, 52]
    assert opened["s"].tolist() == [float(one) for one in tokens(store)]
    assert opened.take(slice(None), [])["sample_id"].tolist() == list(range(13))
    assert [(one.samples, one.samples_added) for one in opened.versions()] == [(13, 12), (1, 1)]
    assert staged_parts(LocalStorage(store)) == []
    assert list((store / "parts").iterdir()) == []
    assert ts.verify(store).problems == []
    assert opened.commit() == 2


def test_some_parts_and_the_others_later(store: Path) -> None:
    """Named parts alone, each once even if named twice; the rest stays staged."""
    for i, name in enumerate("abc", 1):
        stage(store, name, i)
    assert ts.open(store).commit(parts=["c", "a", "c"]) == 2
    assert tokens(store) == [0, 1, 3]
    assert staged_parts(LocalStorage(store)) == ["b"]
    with pytest.raises(ts.MissingFileError, match=r"parts/a\.tsp: the file is not there"):
        ts.open(store).commit(parts=["a", "b"])
    assert ts.open(store).commit() == 3
    assert tokens(store) == [0, 1, 3, 2]
    with pytest.raises(TypeError, match=r"parts is \"all\" or a list of names, such as \['b'\]"):
        ts.open(store).commit(parts="b")
    with pytest.raises(ValueError, match="a part is named by letters"):
        ts.open(store).commit(parts=["../s"])


def test_bytes_of_parts_are_counted(store: Path) -> None:
    """Totals after a commit of parts are those of plain appends of the same samples."""
    rows = [[(i * i) % 90 for i in range(40_000)] for _ in range(4)]
    with ts.create(store.parent / "plain", SCHEMA, level="fast") as writer:
        writer.append(t=[0], s=0.0)
    with ts.open(store.parent / "plain").writer(level="fast") as writer:
        writer.extend(t=rows, s=[0.0] * 4)
    with ts.writer(store, part="a", level="fast") as writer:
        writer.extend(t=rows, s=[0.0] * 4)
    ts.open(store).commit()
    one, other = ts.open(store).describe(), ts.open(store.parent / "plain").describe()
    on_disk = sum(path.stat().st_size for path in store.glob("objects/*/*"))
    assert one["bytes"]["objects"] == other["bytes"]["objects"] == on_disk > 0
    for key in ("samples", "shards", "tokens"):
        assert one[key] == other[key]
    assert ts.verify(store).problems == []


@pytest.mark.parametrize("name", ["", ".a", "-a", "a b", "a/b", "../a", "a\n", "é", "a" * 129, "_a"])
def test_names_of_parts(name: str, store: Path) -> None:
    """Names are those of format.md 3; another one is refused before anything is written."""
    before = tree(store)
    with pytest.raises(ValueError, match="a part is named by letters"):
        ts.writer(store, part=name)
    assert tree(store) == before
    assert part_path("a" * 128) == f"parts/{'a' * 128}.tsp"


def test_a_name_that_is_taken(store: Path) -> None:
    """A second part of the same name is refused, at once or when it is staged, and the first one stays."""
    late = ts.writer(store, part="a")
    late.append(t=[7], s=7.0)
    stage(store, "a", 1)
    with pytest.raises(ts.ExistsError) as caught:
        ts.writer(store, part="a")
    assert str(caught.value) == f"{store}/parts/a.tsp: a part of that name is staged; commit it, or choose another"
    with pytest.raises(ts.ExistsError), late:
        pass
    assert len(data_files(store)) == 2
    ts.open(store).commit()
    assert tokens(store) == [0, 1]


def test_a_part_without_samples_is_not_staged(store: Path) -> None:
    """Nothing written, or an exception: nothing staged."""
    with ts.writer(store, part="a"):
        pass
    with pytest.raises(KeyboardInterrupt), ts.writer(store, part="b", shard_tokens=1) as writer:  # noqa: PT012
        writer.append(t=[1], s=1.0)
        raise KeyboardInterrupt
    assert staged_parts(LocalStorage(store)) == []
    assert len(data_files(store)) == 1


def test_crash_between_root_and_removal_of_parts(store: Path) -> None:
    """Parts whose root is in place and whose files were not removed are not taken in again."""
    stage(store, "a", 1)
    stage(store, "b", 2)
    with mock.patch.object(LocalStorage, "delete", side_effect=KeyboardInterrupt), pytest.raises(KeyboardInterrupt):
        ts.open(store).commit()
    assert staged_parts(LocalStorage(store)) == ["a", "b"]
    assert tokens(store) == [0, 1, 2]
    with ts.open(store).writer() as writer:
        writer.append(t=[9], s=9.0)
    stage(store, "c", 3)
    assert ts.open(store).commit() == 4
    assert tokens(store) == [0, 1, 2, 9, 3]
    assert staged_parts(LocalStorage(store)) == []
    assert ts.open(store).commit() == 4


def test_parts_when_a_root_in_between_is_gone(store: Path) -> None:
    """Where it cannot be told whether a part is in already, it is refused and kept."""
    stage(store, "a", 1)
    for value in (2, 3):
        with ts.open(store).writer() as writer:
            writer.append(t=[value], s=0.0)
    (store / root_path(2)).unlink()
    with pytest.raises(ts.ConflictError) as caught:
        ts.open(store).commit()
    assert str(caught.value) == (
        f"{store}/parts: version 2 is gone, so that staged parts may be committed already (format.md 8.6); "
        "write the parts again"
    )
    assert staged_parts(LocalStorage(store)) == ["a"]


def test_part_of_another_store(store: Path, tmp_path: Path) -> None:
    """A part with other columns is refused."""
    with ts.create(tmp_path / "o", ts.Schema(t=ts.Tokens(99, optional=True), s=ts.Score())) as writer:
        writer.append(t=[1], s=1.0)
    stage(tmp_path / "o", "x", 5)
    (store / "parts").mkdir()
    (store / "parts" / "x.tsp").write_bytes((tmp_path / "o" / "parts" / "x.tsp").read_bytes())
    with pytest.raises(ts.ConflictError, match="column 't' changed its type"):
        ts.open(store).commit()
    assert tokens(store) == [0]


@pytest.mark.hostile
def test_damaged_parts(store: Path) -> None:
    """Every truncation and many flipped bits of a part are noticed."""
    stage(store, "a", 1, 2, 3)
    path = store / "parts" / "a.tsp"
    whole = path.read_bytes()
    check_reader(lambda data: repr(Part.decode(data)), whole, is_checked=True, flips=300, allowed=80 << 20)
    path.write_bytes(whole[:-1])
    with pytest.raises(ts.CorruptError) as caught:
        ts.open(store).commit()
    assert str(caught.value).startswith("parts/a.tsp: ")
    assert any("parts/a.tsp" in str(one) for one in ts.verify(store).problems)
    assert tokens(store) == [0]


@settings(max_examples=max(10, settings.default.max_examples // 8))
@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=3), min_size=1, max_size=4), st.booleans())
def test_parts_of_several_shards(values: list[list[int]], racing: bool) -> None:
    """Parts of several shards, committed while another writer appends in between, all land once."""
    with TemporaryDirectory() as folder, mock.patch("os.fsync"):
        store = Path(folder) / "s"
        with ts.create(store, SCHEMA):
            pass
        for i, some in enumerate(values):
            with ts.writer(store, part=f"{i:03}", shard_tokens=2) as writer:
                writer.extend(t=[[value] for value in some], s=[0.0] * len(some))
        opened = ts.open(store)
        first = []
        if racing:
            with ts.open(store).writer() as writer:
                writer.append(t=[50], s=0.0)
            first = [50]
        opened.commit()
        assert tokens(store) == first + [value for some in values for value in some]
        assert ts.verify(store).problems == []
