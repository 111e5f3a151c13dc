"""Paths that hold no store, versions and positions that are not there, stores that lack a file or have a torn root."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import tokstore as ts
from files import data_files
from tokstore.manifest import root_path

SCHEMA = ts.Schema(tokens=ts.Tokens(100), quality=ts.Score(), url=ts.Text(optional=True))
GOOD = {"tokens": [[1, 2], [3]], "quality": [0.5, 1.0]}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of two samples, in one version."""
    with ts.create(tmp_path / "s", SCHEMA) as writer:
        writer.extend(GOOD)
    return tmp_path / "s"


def no_store(tmp_path: Path, name: str) -> Path:
    """Make something that is no store."""
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif name == "text.tok":
        path.write_text("no data file, but long enough to hold a header and a footer" * 4)
    elif name == "short.tok":
        path.write_bytes(b"TOKSDATA")
    return path


def test_what_is_no_store(tmp_path: Path) -> None:
    """A path that is not there, an empty folder, some other file."""
    for name, kind, text in (
        ("nothing", ts.NotAStoreError, "there is no such file or folder"),
        ("folder", ts.NotAStoreError, "this is no tokstore store (format.md 3); there is no tokstore.json"),
        ("text.tok", ts.CorruptError, "this is no tokstore data file: the magic differs at byte 0 (format.md 4.2)"),
        ("short.tok", ts.TruncatedError, "a data file of 8 bytes should have 64 (format.md 4.2)"),
    ):
        path = no_store(tmp_path, name)
        with pytest.raises(kind) as caught:
            ts.open(path)
        assert str(caught.value) == f"{path}: {text}"


def test_versions_and_positions_that_are_not_there(store: Path) -> None:
    """Versions, tags, positions, columns, parts of samples."""
    for version in (0, 2, -1, 99):
        with pytest.raises(ts.VersionError, match=f"there is no version {version}; see versions"):
            ts.open(store, version=version)
    with pytest.raises(LookupError, match="no tag 'v1'; There are none"):
        ts.open(store, version="v1")
    opened = ts.open(store)
    for key in (2, -3, [0, 5], np.array([-9])):
        with pytest.raises(IndexError, match="of 2 samples"):
            opened[key]
    for wrong in ([0.5], [[0]], {"a": 1}, "tokns", [True], None):
        with pytest.raises((TypeError, IndexError, KeyError)):
            opened[wrong]
    for call in (
        lambda: opened.take([0], "tokens"),
        lambda: opened.take([0], start=-1),
        lambda: opened.take([0], start=2, stop=1),
        lambda: opened.take([0], ["url"], stop=1),
        lambda: next(opened.scan(batch_size=0)),
        lambda: next(opened.scan(part=(2, 2))),
        lambda: opened.lengths(column="quality"),
        lambda: opened.text(5),
    ):
        with pytest.raises((TypeError, ValueError, IndexError)):
            call()
    with pytest.raises(ts.ColumnError):
        opened.take([0], ["tokns"])


def test_writing_to_what_is_read_only(store: Path, tmp_path: Path) -> None:
    """A store at a version, and a single file."""
    with ts.create(tmp_path / "x.tok", SCHEMA) as writer:
        writer.extend(GOOD)
    for opened in (ts.open(store, version=1), ts.open(tmp_path / "x.tok")):
        with pytest.raises(ts.UnsupportedError, match="this store is read-only"):
            opened.writer()
        with pytest.raises(ts.UnsupportedError, match="this store is read-only"):
            opened.commit()
    with pytest.raises(ts.VersionError, match="a single file has one version, 1"):
        ts.open(tmp_path / "x.tok", version=2)


def test_a_shard_that_is_not_there(store: Path) -> None:
    """The manifest names a file that is gone: one error that names it, when it is needed."""
    (file,) = data_files(store)
    file.unlink()
    opened = ts.open(store)
    assert len(opened) == 2
    with pytest.raises(ts.MissingFileError) as caught:
        opened[0]
    assert str(caught.value) == f"{file}: the file is not there (format.md 3)"


def test_a_torn_newest_root_is_no_older_version(store: Path) -> None:
    """The newest root decides alone: cut, flipped or empty, it is an error and never version 1."""
    with ts.open(store).writer() as writer:
        writer.extend(GOOD)
    newest = store / root_path(2)
    whole = newest.read_bytes()
    for torn, kind in (
        (whole[:-1], ts.TruncatedError),
        (b"", ts.TruncatedError),
        (whole[:50] + b"?" + whole[51:], ts.ChecksumError),
    ):
        newest.write_bytes(torn)
        with pytest.raises(kind) as caught:
            ts.open(store)
        assert str(caught.value).startswith(f"{root_path(2)}: ")
        assert len(ts.open(store, version=1)) == 2
    os.unlink(newest)
    with pytest.raises(ts.MissingFileError, match="the root of version 2 is gone"):
        ts.open(store)
