"""`verify` finds and names every kind of damage, goes on after it, and finds nothing in sound stores."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import tokstore as ts
from files import SAMPLES, SCHEMA, data_files, reseal, tree, write_file, write_samples
from tokstore.format import FOOTER_BYTES, Footer
from tokstore.wire import checksum, place_seed
from tokstore.writing import Progress


def rich_store(folder: Path) -> Path:
    """Write a store with several shards and versions, rank tables, an attachment and a staged part."""
    path = write_samples(folder / "s", SCHEMA, SAMPLES, attachments={"a": b"abc" * 50}, shard_tokens=5)
    rng = np.random.default_rng(0)
    rows = [(rng.zipf(1.4, 40_000) % 300).tolist() for _ in range(4)]
    with ts.open(path).writer(level="fast") as writer:
        writer.extend(tokens=rows, label=[0] * 4, quality=[None] * 4)
    with ts.writer(path, part="later") as writer:
        writer.append(label=1, tokens=[1])
    return path


def test_sound_stores_are_sound(tmp_path: Path) -> None:
    """Every version of a rich store, with counts of what was checked, and progress that adds up."""
    path = rich_store(tmp_path)
    before = tree(path)
    seen: list[Progress] = []
    report = ts.verify(path, progress=seen.append)
    assert report.ok
    assert report.problems == report.unchecked == []
    assert (report.version, report.path) == (2, str(path))
    assert report.files == len(data_files(path))
    assert report.objects == len(list(path.glob("objects/*/*")))
    assert report.values > 160_000
    assert report.nbytes >= sum(one.stat().st_size for one in data_files(path))
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    assert seen[-1].done == report.nbytes
    assert ts.verify(path, version=1).ok
    assert repr(report) == f"<Report {path} version 2: {report.files} files, {report.nbytes} bytes, sound>"
    assert report.as_dict()["ok"] is True
    assert tree(path) == before


def flip(path: Path, at: int) -> None:
    """Flip a bit of a file."""
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def big_file(path: Path) -> Path:
    """Return the largest data file."""
    return max(data_files(path), key=lambda one: one.stat().st_size)


DAMAGE: dict[str, tuple[Callable[[Path], Path], str]] = {}


def damage(text: str) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    """Register a kind of damage: it returns the damaged file, which the finding has to name, and a part of its text."""

    def register(function: Callable[[Path], Path]) -> Callable[[Path], Path]:
        DAMAGE[function.__name__] = function, text
        return function

    return register


@damage("checksum differs")
def block(path: Path) -> Path:
    """A bit of a block."""
    flip(big_file(path), 200)
    return big_file(path)


@damage("")
def copy(path: Path) -> Path:
    """A bit of the second copy."""
    file = big_file(path)
    footer = Footer.decode(file.read_bytes()[-FOOTER_BYTES:], file.stat().st_size)
    flip(file, footer.copy_offset + 5)
    return file


@damage("header checksum differs")
def header(path: Path) -> Path:
    """A bit of the header."""
    flip(big_file(path), 30)
    return big_file(path)


@damage("index checksum differs")
def index(path: Path) -> Path:
    """A bit of the index."""
    file = big_file(path)
    flip(file, file.stat().st_size - FOOTER_BYTES - 5)
    return file


@damage("")
def footer(path: Path) -> Path:
    """A bit of the footer, which a reader that comes through a page does not need."""
    file = big_file(path)
    flip(file, file.stat().st_size - 40)
    return file


@damage("")
def cut(path: Path) -> Path:
    """The last byte is gone."""
    file = big_file(path)
    file.write_bytes(file.read_bytes()[:-1])
    return file


@damage("")
def longer(path: Path) -> Path:
    """A byte too many."""
    file = big_file(path)
    file.write_bytes(file.read_bytes() + b"\0")
    return file


@damage("the file is not there")
def gone(path: Path) -> Path:
    """A data file that is not there."""
    file = big_file(path)
    file.unlink()
    return file


@damage("")
def rank_table(path: Path) -> Path:
    """A bit of an object."""
    file = max(path.glob("objects/*/*"), key=lambda one: one.stat().st_size)
    flip(file, 100)
    return file


@damage("the file is not there")
def attachment(path: Path) -> Path:
    """An attachment that is not there."""
    file = min(path.glob("objects/*/*"), key=lambda one: one.stat().st_size)
    file.unlink()
    return file


@damage("part checksum differs")
def part(path: Path) -> Path:
    """A bit of a staged part."""
    flip(path / "parts" / "later.tsp", 40)
    return path / "parts" / "later.tsp"


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_and_named(name: str, tmp_path: Path) -> None:
    """One damaged file: it is named, nothing else is reported, and nothing is raised or repaired."""
    path = rich_store(tmp_path)
    make, text = DAMAGE[name]
    file = make(path)
    before = tree(path)
    report = ts.verify(path)
    assert not report.ok
    assert all(file.name in str(one) or file.name[:16] in str(one) for one in report.problems), report.problems
    assert any(text in str(one) for one in report.problems)
    assert "(format.md" in str(report.problems[0]) or "(codecs.md" in str(report.problems[0])
    found = report.as_dict()["problems"]
    assert found[0] == {"kind": type(report.problems[0]).__name__, "message": str(report.problems[0])}
    assert "problems, first: " in repr(report)
    assert tree(path) == before


def test_all_damage_is_told_in_one_run(tmp_path: Path) -> None:
    """Several files are damaged: each is in the report."""
    path = write_samples(tmp_path / "s", SCHEMA, SAMPLES * 4, shard_tokens=5)
    files = data_files(path)
    assert len(files) > 5
    for file in files[:5]:
        flip(file, file.stat().st_size // 2)
    problems = " ".join(str(one) for one in ts.verify(path).problems)
    assert all(file.name in problems for file in files[:5])
    assert not any(file.name in problems for file in files[5:])


def change_entry(path: Path, column: int, offset: int, value: bytes) -> None:
    """Change a field of a column entry in a single file, and seal it again."""
    raw = bytearray(path.read_bytes())
    footer = Footer.decode(raw[-FOOTER_BYTES:], len(raw))
    at = footer.index_offset + 32 + 160 * column + offset
    raw[at : at + len(value)] = value
    path.write_bytes(reseal(bytes(raw)))


def test_values_digest_is_compared(tmp_path: Path) -> None:
    """A file whose values are not those of its digest, under right checksums."""
    path = write_file(tmp_path / "x.tok", level="plain")
    change_entry(path, 0, 120, bytes(32))
    report = ts.verify(path)
    assert any("the values digest differs (format.md 10)" in str(one) for one in report.problems)
    assert len(ts.open(path)) == len(SAMPLES)


def test_text_that_is_no_utf8(tmp_path: Path) -> None:
    """Bytes of a text that are no UTF-8, under right checksums, are found and not delivered."""
    schema = ts.Schema(u=ts.Text())
    path = write_samples(tmp_path / "x.tok", schema, [{"u": "abcd"}, {"u": "e"}], level="plain")
    raw = path.read_bytes()
    at = raw.index(b"abcde")
    block_sum = struct.pack("<Q", checksum(b"abcde", place_seed(raw[24:40], 0, 0)))
    wrong = struct.pack("<Q", checksum(b"ab\xffde", place_seed(raw[24:40], 0, 0)))
    if block_sum not in raw:
        pytest.fail("the table was compressed; choose other texts")
    path.write_bytes(reseal(raw[:at] + b"ab\xffde" + raw[at + 5 :].replace(block_sum, wrong)))
    with pytest.raises(ts.CorruptError, match="a text of column 'u' is not UTF-8"):
        ts.open(path)[0]
    assert ts.open(path)[1]["u"] == "e"
    assert any("UTF-8" in str(one) for one in ts.verify(path).problems)


def test_stores_that_do_not_open_raise(tmp_path: Path) -> None:
    """What is no store, or a torn newest root, cannot be verified."""
    with pytest.raises(ts.NotAStoreError):
        ts.verify(tmp_path)
    path = rich_store(tmp_path)
    root = max((path / "manifests").iterdir())
    root.write_bytes(root.read_bytes()[:-1])
    with pytest.raises(ts.TruncatedError):
        ts.verify(path)
    assert ts.verify(path, version=1).ok
