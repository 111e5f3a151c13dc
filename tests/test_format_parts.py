"""What readers of foreign formats do by hand, beside the libraries that do the same slowly."""

from __future__ import annotations

import io
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokstore as ts
from tokstore_tools import pack_columns
from tokstore_tools.formats import json_ids
from tokstore_tools.formats.json_ids import IdLines, id_lists
from tokstore_tools.formats.tars import TarOut, read_members, read_npy, write_npy
from tokstore_tools.kept import Kept
from tokstore_tools.prefetch import map_ahead, read_ahead

MEMBERS = [("a.npy", b"x" * 700), ("ü/b.json", b"{}"), ("empty", b""), ("n" * 99, b"y" * 512), ("c.txt", b"z")]
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def by_tarfile(path: Path) -> list[tuple[str, bytes]]:
    """Return the regular files of a tar as `tarfile` reads them."""
    with tarfile.open(path) as tar:
        return [(one.name, tar.extractfile(one).read()) for one in tar if one.isfile()]  # type: ignore[union-attr]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("extra", ["", "times", "folder", "long", "link"])
def test_members_of_every_kind_of_tar(tmp_path: Path, form: str, mode: Any, extra: str) -> None:
    """Members come as `tarfile` gives them, with what makes it read on in the middle or at the beginning."""
    path = tmp_path / "x.tar"
    with tarfile.open(path, mode, format=FORMATS[form]) as tar:
        for i, (name, data) in enumerate(MEMBERS):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.5 if extra == "times" else 7
            if extra == "long" and i == 2 and form != "ustar":
                info.name = "long/" * 60 + name
            tar.addfile(info, io.BytesIO(data))
            if extra == "folder" and i == 1:
                folder = tarfile.TarInfo("a folder")
                folder.type = tarfile.DIRTYPE
                tar.addfile(folder)
            if extra == "link" and i == 1:
                link = tarfile.TarInfo("link")
                link.type, link.linkname = tarfile.SYMTYPE, "a.npy"
                tar.addfile(link)
    assert list(read_members(str(path))) == by_tarfile(path)


def test_tar_with_damage(tmp_path: Path) -> None:
    """A header whose checksum is wrong, or whose size goes beyond the file, is an error, and nothing is allocated."""
    path = tmp_path / "x.tar"
    out = TarOut(str(path))
    for name, data in MEMBERS:
        out.add(name, data)
    out.close()
    good = path.read_bytes()
    assert len(good) % 10_240 == 0
    assert list(read_members(str(path))) == by_tarfile(path) == MEMBERS
    path.write_bytes(good[:1536] + b"q" + good[1537:])
    with pytest.raises(tarfile.ReadError):
        list(read_members(str(path)))
    huge = bytearray(good)
    huge[124:135] = b"77777777777"
    huge[148:156] = b"%06o\0 " % (sum(huge[:148]) + 256 + sum(huge[156:512]))
    for damaged in (bytes(huge), good[:600]):
        path.write_bytes(damaged)
        with pytest.raises(tarfile.ReadError, match="unexpected end"):
            list(read_members(str(path)))
    out = TarOut(str(tmp_path / "y.tar"))
    with pytest.raises(ValueError, match="no member of this name"):
        out.add("n" * 101, b"")
    out.close()


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">i4", "<i8", "<f2", "<f8", "?", "<c8", "S3", "<M8[s]"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (5,), (2, 3), (0, 4), (1, 2, 3)])
def test_npy_in_memory(dtype: str, shape: tuple[int, ...]) -> None:
    """Arrays come as `numpy.load` gives them, whatever their header; what is cut short is refused."""
    array = np.zeros(shape, dtype)
    if array.dtype.kind in "uif":
        array[...] = np.arange(array.size).reshape(shape)
    out = io.BytesIO()
    np.save(out, array)
    for data in (out.getvalue(), write_npy(array)):
        found = read_npy(data)
        assert (found.dtype, found.shape) == (array.dtype, shape)
        assert np.array_equal(found, array)
        if array.nbytes:
            with pytest.raises((ValueError, EOFError)):
                read_npy(data[:-1])
    out = io.BytesIO()
    np.save(out, np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        read_npy(out.getvalue())


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, 9) | st.integers(0, 99_999), max_size=5), max_size=8), st.booleans())
def test_ids_of_many_lines(rows: list[list[int]], has_spaces: bool) -> None:
    """Lists of ids go out as `json` writes them and come back, however they are spaced and whatever stands between."""
    ids = ts.Ragged.from_rows([np.array(row, np.int64) for row in rows], np.int64)
    lists = id_lists(ids)
    assert lists == [json.dumps(row, separators=(",", ":")).encode() for row in rows]
    separators = None if has_spaces else (",", ":")
    lines = [json.dumps({"a": i // 2, "ids": row}, separators=separators).encode() for i, row in enumerate(rows)]
    found = IdLines("ids").parse(lines)
    assert found.ids is not None
    assert found.ids.to_list() == rows
    assert [row["a"] for row in found.rows] == [i // 2 for i in range(len(rows))]
    found = IdLines("ids").parse([*lines, b'{"a": 9}', b'{"a": true, "ids": [2, 1]}'])
    assert found.ids is None
    assert found.has_bool
    assert [np.array(row["ids"]).tolist() for row in found.rows[:-2]] == rows
    assert found.rows[-2] == {"a": 9}
    assert found.rows[-1]["ids"].tolist() == [2, 1]


def test_ids_across_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists longer than what is read at once keep their numbers and their ends."""
    rows = [list(range(90_000, 90_000 + count)) for count in (1, 100_000, 0, 90_000, 3)]
    lines = [json.dumps({"ids": row}).encode() for row in rows]
    found = IdLines("ids").parse(lines)
    assert found.ids is not None
    assert found.ids.to_list() == rows
    assert id_lists(ts.Ragged([(1 << 20) - 1, 0], [2])) == [b"[1048575,0]"]
    late = IdLines("ids").parse([*lines, b'{"ids": [1,]}'])
    assert isinstance(late.rows[-1], ValueError)
    assert late.rows[1] == {"ids": rows[1]}
    monkeypatch.setattr(json_ids, "_AT_ONCE", 4)
    assert isinstance(IdLines("ids").parse([b'{"ids": [1234,]}']).rows[0], ValueError)
    assert IdLines("ids").parse([b'{"ids": [1234, 5]}']).ids == ts.Ragged([1234, 5], [2])


@settings(max_examples=150)
@given(
    st.text("01239, ", max_size=12) | st.lists(st.integers(0, 10**20), max_size=6).map(lambda one: str(one)[1:-1]),
    st.sampled_from([1, 3, 1 << 18]),
)
def test_ids_are_those_of_json(body: str, most: int) -> None:
    """Whatever stands in a list, its ids are those of `json`, or there is an error where `json` has one."""
    line = f'{{"ids": [{body}]}}'
    try:
        expected = json.loads(line)["ids"]
    except ValueError:
        expected = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_ids, "_AT_ONCE", most)
        found = IdLines("ids").parse([line.encode(), b'{"ids": [4]}'])
    if expected is None:
        assert isinstance(found.rows[0], ValueError)
    else:
        assert (found.rows[0]["ids"] if found.ids is None else found.ids[0].tolist()) == expected


def test_lines_with_and_without_ids(tmp_path: Path) -> None:
    """Lines that lack ids, or have them in another form, stand among plain ones; a bad line is named."""
    lines = ['{"x": 1, "tokens": [1, 2]}', '{"x": 2, "tokens": [3]}', '{"tokens": [ 4 , 5 ], "x": 3}', "[", '{"x": 5}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="row 4: the line is not JSON"):
        ts.pack(tmp_path / "a.jsonl", tmp_path / "s", vocab_size=9)
    report = ts.pack(tmp_path / "a.jsonl", tmp_path / "s", vocab_size=9, on_error="skip")
    store = ts.open(tmp_path / "s")
    assert report.bad_rows == 2
    assert store["tokens"].to_list() == [[1, 2], [3], [4, 5]]
    assert store["x"].tolist() == [1, 2, 3]
    assert list(store.schema.names) == ["x", "tokens"]


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_leaving_what_is_read_ahead(taken: int) -> None:
    """A thread that reads ahead ends when nobody wants more, even where it waits for room."""
    before = threading.active_count()
    drawn: list[int] = []
    ahead = read_ahead(map(drawn.append, range(100)), 2)  # type: ignore[func-returns-value]
    for _ in range(taken):
        next(ahead)
    while taken and len(drawn) < taken + 3:  # two wait in line, and the thread with the next one
        threading.Event().wait(0.001)
    ahead.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert len(drawn) in ((taken + 3, taken + 4) if taken else (0,))


def test_map_ahead() -> None:
    """Results come in order, errors where their item would have been; leaving early ends the threads."""
    started: list[int] = []

    def job(one: int) -> int:
        started.append(one)
        if one == 5:
            raise ValueError("five")
        return one * 2

    found: list[int] = []
    with pytest.raises(ValueError, match="five"):
        found.extend(map_ahead(job, range(100)))
    assert found == [0, 2, 4, 6, 8]
    assert len(started) < 12

    def items() -> Iterator[int]:
        yield from (1, 2)
        raise OSError("the source")

    with pytest.raises(OSError, match="the source"):
        list(map_ahead(job, items()))
    before = threading.active_count()
    early = map_ahead(job, iter(int, 1))
    next(early)
    early.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize("most", [0, 1 << 20])
@pytest.mark.parametrize("more", ["", ', "x": 1'])
def test_a_small_source_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int, more: str) -> None:
    """Ids without a vocabulary are kept from the search for the largest one, unless they are many or not all there is;
    bad rows and bytes are counted once either way."""
    reads: list[int] = []
    read = IdLines.parse

    def parse(self: IdLines, lines: Any) -> Any:
        reads.append(len(lines))
        return read(self, lines)

    monkeypatch.setattr(IdLines, "parse", parse)
    monkeypatch.setattr(Kept.__init__, "__defaults__", (most,))
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f'{{"tokens": [{i}, 3]{more}}}\n' for i in range(20)) + "nothing\n")
    report = ts.pack(path, tmp_path / "s", on_error="skip")
    assert ts.open(tmp_path / "s")["tokens"].to_list() == [[i, 3] for i in range(20)]
    assert (report.samples, report.bad_rows, report.source_bytes) == (20, 1, path.stat().st_size)
    assert "line is not JSON" in str(report.first_bad)
    assert len(reads) == (3 if most and not more else 4)  # each opening looks for the types


@pytest.mark.parametrize("most", [1, 7, 1 << 20])
def test_texts_are_tokenized_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Texts keep their order and the columns beside them, in however many parts they are tokenized."""
    monkeypatch.setattr(pack_columns, "_CHARACTERS", most)
    texts = ["a", "", "a long text", "ü", "", "the end"]
    path = tmp_path / "a.jsonl"
    lines = [json.dumps({"text": one, "n": i}) for i, one in enumerate(texts)]
    path.write_text("\n".join([*lines[:4], '{"n": 9}', *lines[4:]]))
    report = ts.pack(path, tmp_path / "s", columns=["text", "n"], on_error="skip")
    store = ts.open(tmp_path / "s")
    assert [store.text(i) for i in range(len(store))] == texts
    assert store["n"].tolist() == list(range(6))
    assert (report.text_bytes, report.bad_rows) == (len("".join(texts).encode()), 1)
