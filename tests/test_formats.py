"""Foreign formats: what comes in is what goes out, bit for bit; what is damaged is named, and leaves nothing behind."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import tokstore as ts
from tokstore.cli.main import cli
from tokstore.errors import CorruptError, ExistsError, MissingFileError, TokstoreError, TruncatedError, UnsupportedError
from tokstore_tools.formats.contract import ReadOptions
from tokstore_tools.formats.json_ids import IdLines
from tokstore_tools.formats.registry import all_formats, format_named, format_of
from tokstore_tools.formats.seit import decode_codes

N = 60
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(0, 20, N)
VALUES = RNG.integers(0, 70_000, int(LENGTHS.sum()))
SCHEMA = ts.Schema(
    tokens=ts.Tokens(70_000, eos_id=5), quality=ts.Score("float16", optional=True), source=ts.Category(),
    url=ts.Text(optional=True), label=ts.Label(7), mask=ts.Mask("tokens"), vector=ts.Vector(4),
    grid=ts.Codes(300, (4, 4)), audio=ts.Codes(300, (None, 2)), raw=ts.Bytes(), soft=ts.SoftLabel(1000, top=3),
    brain=ts.Array("bfloat16", (3,)), wide=ts.Array("uint64", (), optional=True), flags=ts.Array(bool, (3,)),
    some=ts.Array("int16", (None,), optional=True),
)  # fmt: skip
WRITERS = [
    ("parquet", "x.parquet"), ("arrow", "x.arrow"), ("jsonl", "x.jsonl.zst"), ("mds", "x"), ("megatron", "x.idx"),
    ("webdataset", "x.tar"), ("npy", "x.npy"), ("bin", "x.bin"),
]  # fmt: skip


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> ts.Store:
    """A store with a column of every type, with missing values, NaN and empty rows."""
    path = tmp_path_factory.mktemp("full") / "store"
    rng = np.random.default_rng(1)
    quality = np.ma.MaskedArray(rng.random(N).astype(np.float16), rng.random(N) < 0.2)
    quality[5] = np.nan
    with ts.create(path, SCHEMA) as w:
        w.extend(
            tokens=ts.Ragged(VALUES, LENGTHS), quality=quality, source=[f"s{i % 3}" for i in range(N)],
            url=[None if i % 5 == 0 else "é" * (i % 7) for i in range(N)], label=rng.integers(0, 7, N),
            mask=ts.Ragged(rng.random(len(VALUES)) < 0.5, LENGTHS), vector=rng.random((N, 4), dtype=np.float32),
            grid=rng.integers(0, 300, (N, 4, 4)), audio=[rng.integers(0, 300, (i % 5, 2)) for i in range(N)],
            raw=[bytes([i % 256]) * (i % 4) for i in range(N)],
            soft=(np.array([rng.choice(1000, 3, replace=False) for _ in range(N)]), rng.random((N, 3))),
            brain=rng.random((N, 3)), flags=rng.random((N, 3)) < 0.5,
            wide=np.ma.MaskedArray(rng.integers(0, 2**63, N).astype(np.uint64) * 2, rng.random(N) < 0.2),
            some=[None if i % 3 == 0 else np.arange(i % 4) for i in range(N)],
        )  # fmt: skip
    return ts.open(path)


def same(one: Any, other: Any) -> bool:
    """Compare two delivered columns bit for bit, masks and dtypes included."""
    if isinstance(one, (list, ts.Ragged, ts.SoftLabels)):
        return bool(one == other)
    masks = np.array_equal(np.ma.getmaskarray(one), np.ma.getmaskarray(other))
    data = [np.ma.filled(x, 0) if isinstance(x, np.ma.MaskedArray) else x for x in (one, other)]
    return masks and one.dtype == other.dtype and data[0].tobytes() == data[1].tobytes()


def ids_store(path: Path, rows: list[list[int]], vocab_size: int = 300) -> ts.Store:
    """Make a store of nothing but token ids."""
    with ts.create(path, ts.Schema(tokens=ts.Tokens(vocab_size))) as w:
        w.extend(tokens=ts.Ragged.from_rows(rows, np.int64))
    return ts.open(path)


def left(folder: Path) -> set[str]:
    """Return what lies in a folder."""
    return set(os.listdir(folder))


@pytest.mark.parametrize(("name", "path"), WRITERS[:6])
def test_every_type_comes_back(full: ts.Store, tmp_path: Path, name: str, path: str) -> None:
    """What a format keeps comes back bit for bit, with its presence; what it does not keep has a line."""
    report = full.export(tmp_path / path, format=name)
    assert report.verified
    types = dict(full.schema) if name in ("jsonl", "webdataset") else None
    packed = ts.pack(tmp_path / path, tmp_path / "back", types=types)
    assert (packed.verified, packed.samples, packed.tokens) == (True, N, len(VALUES))
    back = ts.open(tmp_path / "back")
    gone = {
        line.split("'")[1] for line in report.lost if line.startswith("column ") and "is not written down" not in line
    }
    for column in full.schema.names:
        if column in back.schema.names:
            assert same(full[column], back[column]), column
            if name != "mds":
                assert np.array_equal(full.missing(column), back.missing(column)), column
        else:
            assert column in gone
    expected = {"parquet": set(), "arrow": set(), "jsonl": set(), "webdataset": set()}
    if name in expected:
        assert gone == expected[name]
        assert back.schema.names == full.schema.names or name in ("jsonl", "webdataset")
    if name in ("parquet", "arrow"):
        assert back.schema == full.schema
    assert not any(one.startswith(".tokstore-") for one in left(tmp_path))


@pytest.mark.parametrize(("name", "path"), [*WRITERS, ("jsonl", "y.jsonl"), ("parquet", "y.parquet")])
def test_ids_alone_in_every_format(tmp_path: Path, name: str, path: str) -> None:
    """Ids and lengths survive every format; the vocabulary is what was named, or the largest id and one more."""
    rows = [[1, 2, 3], [], [0], [299, 7]]
    store = ids_store(tmp_path / "s", rows)
    options = {"doc_end": 298} if name in ("npy", "bin") else {}
    store.export(tmp_path / path, format=name, **options)
    assert format_of(str(tmp_path / path)).name == name
    report = ts.pack(tmp_path / path, tmp_path / "b", vocab_size=512, **options)
    back = ts.open(tmp_path / "b")
    assert back[back.token_column].to_list() == rows
    if report.vocabulary == "as given":
        assert back.schema[back.token_column].vocab_size == 512
        found = ts.pack(tmp_path / path, tmp_path / "c", **options)
        assert "largest id, 299" in found.vocabulary
        assert ts.open(tmp_path / "c").schema[back.token_column].vocab_size == 300


@settings(max_examples=8)
@given(st.lists(st.lists(st.integers(0, 69_999), max_size=9), min_size=1, max_size=9), st.integers(1, 40))
def test_batches_do_not_matter(tmp_path_factory: pytest.TempPathFactory, rows: list[list[int]], group: int) -> None:
    """Parquet in row groups of any size and with any kind of list gives the same ids."""
    folder = tmp_path_factory.mktemp("any")
    kind = pa.large_list(pa.uint32()) if group % 2 else pa.list_(pa.int64())
    pq.write_table(pa.table({"input_ids": pa.array(rows, kind)}), folder / "x.parquet", row_group_size=group)
    ts.pack(folder / "x.parquet", folder / "s")
    assert ts.open(folder / "s")["input_ids"].to_list() == rows


def test_sliced_and_fixed_lists(tmp_path: Path) -> None:
    """Slices of Arrow arrays, lists of one size, null rows over hidden values, and offsets that do not begin at 0."""
    plain = pa.array([[1, 2], [3], None, [], [4, 5, 6]], pa.list_(pa.int32()))
    mask = pa.array([False, True, False, False, True])
    hidden = pa.ListArray.from_arrays(pa.array([0, 2, 4, 4, 5, 6], pa.int32()), pa.array(range(6)), mask=mask)
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(range(10), pa.float32()), 2)
    kinds = pa.array(["x", "y", None, "x", "x"]).dictionary_encode()
    table = pa.table({"input_ids": [[i] for i in range(5)], "a": plain, "b": hidden, "f": fixed, "k": kinds})
    ts.pack(table.slice(1, 4), tmp_path / "s")
    store = ts.open(tmp_path / "s")
    assert [None if one["a"] is None else one["a"].tolist() for one in store] == [[3], None, [], [4, 5, 6]]
    assert [None if one["b"] is None else one["b"].tolist() for one in store] == [None, [], [4], None]
    assert np.array_equal(store["f"], np.arange(2, 10, dtype=np.float32).reshape(4, 2))
    assert store["k"] == ["y", None, "x", "x"]
    assert isinstance(store.schema["k"], ts.Category)


def test_bad_rows_stop_or_are_skipped(tmp_path: Path) -> None:
    """Null ids and ids beyond the vocabulary name file and row; skipped, they are counted and all others are there."""
    rows = [[i] for i in range(200)]
    rows[70], rows[120], rows[121] = [1, None], [999], None
    pq.write_table(pa.table({"input_ids": pa.array(rows), "n": range(200)}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"x\.parquet: row 70: column 'input_ids' holds null"):
        ts.pack(tmp_path / "x.parquet", tmp_path / "s", vocab_size=500)
    assert left(tmp_path) == {"x.parquet"}
    report = ts.pack(tmp_path / "x.parquet", tmp_path / "s", vocab_size=500, on_error="skip")
    assert (report.bad_rows, report.samples, report.verified) == (3, 197, True)
    assert ts.open(tmp_path / "s")["n"].tolist() == [i for i in range(200) if i not in (70, 120, 121)]
    pq.write_table(pa.table({"input_ids": [[1], [2], [600]]}), tmp_path / "y.parquet")
    with pytest.raises(ValueError, match=r"y\.parquet: row 2: column 'input_ids' has an id outside 0 to 499"):
        ts.pack(tmp_path / "y.parquet", tmp_path / "t", vocab_size=500)
    pq.write_table(pa.table({"input_ids": [[[1]], [[2]]]}), tmp_path / "z.parquet")
    with pytest.raises(ValueError, match="token ids are a flat list of integers"):
        ts.pack(tmp_path / "z.parquet", tmp_path / "t")
    assert left(tmp_path) == {"x.parquet", "y.parquet", "z.parquet", "s"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"input_ids": [1, null]}', "row 3: field 'input_ids' holds null"),
        ('{"input_ids": [1, 2.5]}', "row 3: field 'input_ids' holds something else"),
        ('{"input_ids": [1, true]}', "row 3: field 'input_ids' holds something else"),
        ('{"input_ids": 7}', "row 3: field 'input_ids' holds no list"),
        ('{"input_ids": [99999999999999999999]}', "row 3: field 'input_ids' holds a number beyond int64"),
        ('{"q": 1.0}', "row 3: field 'input_ids' is missing"),
        ('{"input_ids": [1], "q": "x"}', "row 3: field 'q' holds no number"),
        ('{"input_ids": [-1]}', "row 3: column 'input_ids' has an id outside"),
        ("[1]", "row 3: the line holds a list"),
        ('{"input', "row 3: the line is not JSON"),
    ],
)
def test_bad_json_lines(tmp_path: Path, line: str, message: str) -> None:
    """A line that does not fit is named with its number, or skipped."""
    good = '{"input_ids": [1, 2], "q": 0.5}\n'
    (tmp_path / "x.jsonl").write_text(good + "\n" + line + "\n" + good)
    with pytest.raises(ValueError, match=message):
        ts.pack(tmp_path / "x.jsonl", tmp_path / "s", vocab_size=9)
    report = ts.pack(tmp_path / "x.jsonl", tmp_path / "s", vocab_size=9, on_error="skip")
    assert (report.samples, report.bad_rows) == (2, 1)


def cut(path: Path, count: int) -> None:
    """Take bytes from the end of a file."""
    path.write_bytes(path.read_bytes()[:-count])


@pytest.mark.parametrize("name", ["parquet", "arrow", "mds", "webdataset", "jsonl"])
def test_files_that_were_cut(tmp_path: Path, name: str) -> None:
    """A file that was cut short is an error that names it, wherever it was cut, and no store is made."""
    store = ids_store(tmp_path / "s", [[i, 1] for i in range(50)])
    path = tmp_path / dict(WRITERS)[name]
    store.export(path, format=name)
    file = path / "shard.00000.mds" if name == "mds" else path
    whole = file.read_bytes()
    padding = 10_100 if name == "webdataset" else 0  # tars are filled up with zeros
    for count in (1 + padding, 100 + padding, len(whole) // 2):
        file.write_bytes(whole[:-count])
        with pytest.raises((ValueError, TokstoreError), match=file.name.split(".")[0]):
            ts.pack(path, tmp_path / "t", format=name)
        assert left(tmp_path) == {"s", path.name}


def test_a_tar_cut_between_members(tmp_path: Path) -> None:
    """A tar without the blocks at its end is not whole, though every member is."""
    ids_store(tmp_path / "s", [[1], [2], [3]]).export(tmp_path / "x.tar")
    with tarfile.open(tmp_path / "x.tar") as tar:
        ends = [member.offset for member in tar]
    (tmp_path / "x.tar").write_bytes((tmp_path / "x.tar").read_bytes()[: ends[1]])
    with pytest.raises(ValueError, match="no end-of-archive blocks"):
        ts.pack(tmp_path / "x.tar", tmp_path / "t")


def test_half_written_mds(tmp_path: Path) -> None:
    """Shards without an index, an index without its shard, and bytes that are not those of the hash are refused."""
    ids_store(tmp_path / "s", [[i, 1] for i in range(50)]).export(tmp_path / "m", format="mds", shard_rows=20)
    assert left(tmp_path / "m") == {"index.json", *(f"shard.0000{i}.mds" for i in range(3))}
    shard, index = tmp_path / "m" / "shard.00001.mds", tmp_path / "m" / "index.json"
    data, facts = shard.read_bytes(), index.read_bytes()
    shard.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
    with pytest.raises(CorruptError, match=r"shard\.00001\.mds: the xxh64"):
        ts.pack(tmp_path / "m", tmp_path / "t")
    shard.unlink()
    with pytest.raises(MissingFileError, match="it is not there"):
        ts.pack(tmp_path / "m", tmp_path / "t")
    shard.write_bytes(data)
    index.unlink()
    with pytest.raises(MissingFileError, match="never finished"):
        ts.pack(tmp_path / "m", tmp_path / "t")
    index.write_bytes(facts.replace(b"shard.00001", b"../../x"))
    with pytest.raises(CorruptError, match="outside the folder"):
        ts.pack(tmp_path / "m", tmp_path / "t")
    assert left(tmp_path) == {"s", "m"}


def test_megatron_index_that_disagrees(tmp_path: Path) -> None:
    """An index whose lengths, offsets, documents or size do not fit the ids is refused."""
    ids_store(tmp_path / "s", [[1, 2], [3], [], [4, 5, 6]]).export(tmp_path / "x", format="megatron")
    idx, ids = tmp_path / "x.idx", tmp_path / "x.bin"
    good = idx.read_bytes()
    assert ids.stat().st_size == 12
    changes = {34: "offsets do not follow", 34 + 16: "offsets do not follow", 34 + 48 + 8: "document ends", 17: "code"}
    for place, message in changes.items():
        idx.write_bytes(good[:place] + b"\x63" + good[place + 1 :])
        with pytest.raises(CorruptError, match=message):
            ts.pack(idx, tmp_path / "t")
    idx.write_bytes(good[:-8])
    with pytest.raises(TruncatedError, match="counts ask for"):
        ts.pack(idx, tmp_path / "t")
    idx.write_bytes(good)
    ids.write_bytes(ids.read_bytes() + b"xx")
    with pytest.raises(CorruptError, match=r"12 bytes, and x\.bin has 14"):
        ts.pack(tmp_path / "x", tmp_path / "t")
    ids.unlink()
    with pytest.raises(ValueError, match=r"x\.bin: the file is not there"):
        ts.pack(idx, tmp_path / "t")


def test_raw_ids(tmp_path: Path) -> None:
    """Raw ids are cut where documents end, or by length; two dimensions are samples; dtypes are minded."""
    np.array([1, 2, 9, 9, 3, 9, 4], np.uint16).tofile(tmp_path / "a.bin")
    ts.pack(tmp_path / "a.bin", tmp_path / "a", doc_end=9)
    store = ts.open(tmp_path / "a")
    assert store["tokens"].to_list() == [[1, 2], [], [3], [4]]
    assert store.schema["tokens"] == ts.Tokens(10, eos_id=9)
    ts.pack(tmp_path / "a.bin", tmp_path / "b", seq_len=3)
    assert ts.open(tmp_path / "b")["tokens"].to_list() == [[1, 2, 9], [9, 3, 9], [4]]
    ts.pack(tmp_path / "a.bin", tmp_path / "c")
    assert len(ts.open(tmp_path / "c")) == 1
    with pytest.raises(ValueError, match="no whole number of ids of uint32"):
        ts.pack(tmp_path / "a.bin", tmp_path / "d", dtype="uint32")
    np.save(tmp_path / "e.npy", np.arange(6, dtype=np.uint32).reshape(2, 3))
    ts.pack(tmp_path / "e.npy", tmp_path / "e")
    assert ts.open(tmp_path / "e")["tokens"].to_list() == [[0, 1, 2], [3, 4, 5]]
    ts.open(tmp_path / "e").export(tmp_path / "f.npy", dtype="uint32")
    assert np.array_equal(np.load(tmp_path / "f.npy"), np.arange(6).reshape(2, 3))
    with pytest.raises(ValueError, match="id 9 stands inside a sample"):
        ts.open(tmp_path / "b").export(tmp_path / "g.bin", doc_end=9)
    with pytest.raises(ValueError, match="do not fit uint8"):
        ids_store(tmp_path / "h", [[1]], 300).export(tmp_path / "g.bin", dtype="uint8")
    assert "g.bin" not in left(tmp_path)


def test_documents_across_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents that straddle reads come out whole."""
    monkeypatch.setattr("tokstore_tools.formats.arrays._AT_ONCE", 4)
    rows = [[1] * 11, [], [2], [3] * 4, [], [], [5] * 3]
    np.array([x for row in rows for x in (*row, 0)], np.uint16).tofile(tmp_path / "a.bin")
    ts.pack(tmp_path / "a.bin", tmp_path / "a", doc_end=0)
    assert ts.open(tmp_path / "a")["tokens"].to_list() == rows


def test_datatrove_and_seit(tmp_path: Path) -> None:
    """Files of datatrove and SeiT are read as they are described, and refused where their parts disagree."""
    np.array([1, 2, 3, 4], "<u4").tofile(tmp_path / "x.ds")
    np.array([3, 3, 4], "<u8").tofile(tmp_path / "x.ds.index")
    (tmp_path / "x.ds.loss").write_bytes(bytes([1, 0, 1, 1]))
    (tmp_path / "x.ds.metadata").write_text("gpt2|4\n4\n4 T")
    ts.pack(tmp_path / "x.ds", tmp_path / "d")
    store = ts.open(tmp_path / "d")
    assert store["tokens"].to_list() == [[1, 2, 3], [], [4]]
    assert store["loss_mask"].to_list() == [[True, False, True], [], [True]]
    cut(tmp_path / "x.ds", 4)
    with pytest.raises(TruncatedError, match="speaks of 4 ids"):
        ts.pack(tmp_path / "x.ds", tmp_path / "e")
    images = RNG.integers(0, 391, (5, 1024))
    coded = [bytes(b for c in image for b in ([c] if c < 255 else [255, c - 255])) for image in images.tolist()]
    (tmp_path / "val-token.data.bin.gz").write_bytes(gzip.compress(b"".join(coded)))
    out = io.BytesIO()
    np.save(out, np.cumsum([0, *map(len, coded)]))
    (tmp_path / "val-token.index.npy.gz").write_bytes(gzip.compress(out.getvalue()))
    (tmp_path / "val-label.txt").write_text("3\n1\n4\n1\n5\n")
    report = ts.pack(tmp_path / "val-token.data.bin.gz", tmp_path / "seit")
    store = ts.open(tmp_path / "seit")
    assert (report.format, store.schema["codes"]) == ("seit", ts.Codes(391, (32, 32)))
    assert np.array_equal(store["codes"].reshape(5, 1024), images)
    assert store["label"].tolist() == [3, 1, 4, 1, 5]
    (tmp_path / "val-token.data.bin.gz").write_bytes(gzip.compress(b"".join(coded)[:-1]))
    with pytest.raises(TruncatedError, match="ends before the last image"):
        ts.pack(tmp_path / "val-token.data.bin.gz", tmp_path / "f")
    for bad in (bytes([7, 255]), bytes([255, 255, 3])):
        with pytest.raises(CorruptError, match="has no byte of its own behind it"):
            decode_codes(bytes([9]) + bad, np.array([0, 1, len(bad) + 1]), "x")


def test_text_columns_are_tokenized(tmp_path: Path, tokenizer_file: Path) -> None:
    """Text in a table goes through the tokenizer, and the other columns come along; renamed where asked."""
    texts = ["hello", "", "the lazy dog"]
    pq.write_table(pa.table({"text": texts, "my score": [0.5, 1.0, 2.0]}), tmp_path / "x.parquet")
    report = ts.pack(tmp_path / "x.parquet", tmp_path / "s", tokenizer=tokenizer_file, rename={"my score": "score"})
    store = ts.open(tmp_path / "s")
    assert [store.text(i) for i in range(3)] == texts
    assert store["score"].tolist() == [0.5, 1.0, 2.0]
    assert report.text_bytes == sum(map(len, texts))
    ts.pack(tmp_path / "x.parquet", tmp_path / "t")
    again = ts.open(tmp_path / "t")
    assert (again.text(2), again.schema.names) == ("the lazy dog", ("tokens", "my_score"))
    (tmp_path / "x.jsonl").write_text(json.dumps({"text": "hello", "url": "u", "n": 3}))
    assert ts.pack(tmp_path / "x.jsonl", tmp_path / "u").lost == ("fields n, url: not named in columns",)
    ts.pack(tmp_path / "x.jsonl", tmp_path / "v", columns=["text", "url"])
    assert ts.open(tmp_path / "v")["url"] == ["u"]


def test_append_parts_and_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns are appended by the store's types, staged as parts, and a killed call goes on where it was."""
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(3):
        pq.write_table(pa.table({"input_ids": [[i, 1], [i]], "q": [0.5, None]}), folder / f"{i}.parquet")
    ts.pack(folder / "0.parquet", tmp_path / "a")
    assert ts.pack(folder / "1.parquet", tmp_path / "a", exist="append", vocab_size=9).verified
    assert ts.open(tmp_path / "a")["input_ids"].to_list() == [[0, 1], [0], [1, 1], [1]]
    with pytest.raises(ValueError, match="id outside 0 to 1"):
        ts.pack(folder / "2.parquet", tmp_path / "a", exist="append")
    with pytest.raises(ExistsError):
        ts.pack(folder, tmp_path / "a")
    for i in (1, 0):
        ts.pack(folder / f"{i}.parquet", tmp_path / "p", part=str(i), vocab_size=9)
    ts.open(tmp_path / "p").commit()
    assert ts.open(tmp_path / "p")["input_ids"].to_list() == [[0, 1], [0], [1, 1], [1]]

    class Killed(BaseException):
        pass

    def stop(step: ts.Progress) -> None:
        if step.what == "packing" and step.done > 1200:
            raise Killed

    with pytest.raises(Killed):
        ts.pack(folder, tmp_path / "r", resume=True, progress=stop)
    assert len(ts.open(tmp_path / "r")) == 0
    opened: list[str] = []
    wanted = type(format_named("parquet").open(str(folder), ReadOptions()))
    read = wanted._tables
    monkeypatch.setattr(wanted, "_tables", lambda self, path: opened.append(path) or read(self, path))
    report = ts.pack(folder, tmp_path / "r", resume=True)
    assert (report.samples, report.tokens) == (6, 9)
    assert ts.open(tmp_path / "r")["input_ids"].to_list() == [[0, 1], [0], [1, 1], [1], [2, 1], [2]]
    assert 0 < len(opened) < 3
    with pytest.raises(ExistsError):
        ts.pack(folder, tmp_path / "r", resume=True)


def test_export_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error on the way, or a target that reads back otherwise, leaves neither the target nor its neighbour."""
    store = ids_store(tmp_path / "s", [[1], [2]])
    parquet = type(format_named("parquet"))
    write = parquet.write

    def wrong(self: Any, path: str, export: Any) -> None:
        write(self, path, export)
        pq.write_table(pa.table({"tokens": [[1], [3]]}), path)

    monkeypatch.setattr(parquet, "write", wrong)
    with pytest.raises(TokstoreError, match="reads back with other values"):
        store.export(tmp_path / "x.parquet")
    assert left(tmp_path) == {"s"}
    monkeypatch.setattr(parquet, "write", write)
    for name, age in ((".tokstore-0123abcd-x.parquet", 90_000), (".tokstore-0123abce-x.parquet", 0)):
        (tmp_path / name).write_bytes(b"of a call that was killed")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    store.export(tmp_path / "x.parquet")
    assert left(tmp_path) == {"s", "x.parquet", ".tokstore-0123abce-x.parquet"}
    with pytest.raises(ExistsError):
        store.export(tmp_path / "x.parquet")
    store.where("length(tokens) > 5").export(tmp_path / "x.parquet", exist="replace")
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 0
    with pytest.raises(ValueError, match="names no format"):
        store.export(tmp_path / "x.unknown")
    with pytest.raises(ValueError, match="can only be read"):
        store.export(tmp_path / "x", format="litdata")


def test_copy_and_merge(full: ts.Store, tmp_path: Path) -> None:
    """A store is copied byte for byte, several are merged, a view becomes a store; nothing is lost or half there."""
    with pytest.raises(ValueError, match="a copy is a local folder or file, not 's3://bucket/c'"):
        ts.copy(full, "s3://bucket/c")
    report = ts.copy(full, tmp_path / "c")
    assert report.how == "files"
    mine = {p.relative_to(full.path): p.read_bytes() for p in Path(full.path).rglob("*") if p.is_file()}
    assert {p.relative_to(tmp_path / "c"): p.read_bytes() for p in (tmp_path / "c").rglob("*") if p.is_file()} == mine
    good = full.where("label > 2")
    other = ids_store(tmp_path / "o", [[1], [2]], 70_000)
    with pytest.raises(TokstoreError, match="column 'tokens' is"):
        ts.copy([full, other], tmp_path / "m")
    ids_store(tmp_path / "p", [[3]])
    ids_store(tmp_path / "q", [[4]])
    assert ts.copy([tmp_path / "p", tmp_path / "q"], tmp_path / "m").samples == 2
    assert ts.open(tmp_path / "m")["tokens"].to_list() == [[3], [4]]
    ts.copy(good, tmp_path / "g")
    made = ts.open(tmp_path / "g")
    assert all(same(good[name], made[name]) for name in full.schema.names)
    with pytest.raises(ExistsError):
        ts.copy(full, tmp_path / "c")
    assert left(tmp_path) == {"c", "o", "p", "q", "m", "g"}


def test_arrow_stream(full: ts.Store) -> None:
    """pyarrow takes stores and views as they are, batch by batch."""
    table = pa.table(full)
    assert (table.num_rows, table.column_names) == (N, list(full.schema.names))
    assert table["tokens"].to_pylist() == full["tokens"].to_list()
    assert table["url"].to_pylist() == full["url"]
    some = full.where("label > 2").select(["label", "some"])
    assert pa.table(some)["label"].to_pylist() == some["label"].tolist()
    assert pa.table(some)["some"].null_count == int(some.missing("some").sum())


def test_missing_extras_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an extra, the message says which one to install, and formats that need none still work."""
    for name in ("pyarrow", "datasets", "lmdb", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    store = ids_store(tmp_path / "s", [[1]])
    with pytest.raises(UnsupportedError, match=r"tokstore\[arrow\]"):
        store.export(tmp_path / "x.parquet")
    with pytest.raises(UnsupportedError, match=r"tokstore\[arrow\]"):
        store.__arrow_c_stream__()
    with pytest.raises(UnsupportedError, match=r"tokstore\[(hf|arrow)\]"):
        store.to_hf()
    (tmp_path / "l").mkdir()
    (tmp_path / "l" / "data.mdb").write_bytes(b"")
    with pytest.raises(UnsupportedError, match=r"tokstore\[lmdb\]"):
        ts.pack(tmp_path / "l", tmp_path / "t")
    (tmp_path / "c.jsonl").write_text('{"messages": [{"role": "user", "content": "hi"}]}')
    with pytest.raises(UnsupportedError, match=r"tokstore\[chat\]"):
        ts.pack(tmp_path / "c.jsonl", tmp_path / "t", messages="messages", tokenizer=tmp_path)
    for name, path in WRITERS[2:]:
        store.export(tmp_path / f"{name}-{path}", format=name)


def test_formats_are_entry_points() -> None:
    """Every format is found by its name, says what survives, and refuses to write where it only reads."""
    names = {one.name for one in all_formats()}
    assert {name for name, _ in WRITERS} | {"hf", "litdata", "datatrove", "lmdb", "seit", "memory"} <= names
    for one in all_formats():
        assert one.survives
        if not one.writes:
            with pytest.raises(ValueError, match="read"):
                one.write("x", None)


def run_cli(*words: object) -> dict[str, Any]:
    """Run a verb with ``--json`` and return what it says."""
    done = CliRunner().invoke(cli, [str(word) for word in (*words, "--json")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_command_line(tmp_path: Path) -> None:
    """The verbs do what the functions do, and say what was lost."""
    pq.write_table(
        pa.table({"input_ids": [[1], [2, 3]], "q": [0.5, 1.0], "d": [None, {"a": 1}]}), tmp_path / "x.parquet"
    )
    packed = run_cli("pack", tmp_path / "x.parquet", tmp_path / "s", "--rename", "input_ids=tokens")
    assert (packed["samples"], packed["verified"], packed["columns"]) == (2, True, ["tokens", "q"])
    assert packed["lost"][0].startswith("column 'd'")
    exported = run_cli("export", tmp_path / "s", tmp_path / "y.jsonl", "--where", "q > 0.6", "--columns", "tokens")
    assert exported["samples"] == 1
    assert (tmp_path / "y.jsonl").read_text() == '{"tokens":[2,3]}\n'
    assert run_cli("copy", tmp_path / "s", tmp_path / "s", tmp_path / "t")["samples"] == 4
    (tmp_path / "z.jsonl").write_text('{"sample_id": 1, "more": 7}')
    joined = run_cli("join", tmp_path / "s", tmp_path / "z.jsonl", "--key", "sample_id")
    assert (joined["matched"], ts.open(tmp_path / "s")["more"].tolist()) == (1, [None, 7])
    plain = CliRunner().invoke(cli, ["pack", str(tmp_path / "x.parquet"), str(tmp_path / "u")])
    assert "not carried: column 'd'" in plain.output
    assert "vocabulary: the largest id, 3, and one more" in plain.output
    listed = CliRunner().invoke(cli, ["formats"])
    assert all(one.name in listed.output for one in all_formats())


def test_options_that_a_format_does_not_mind(tmp_path: Path) -> None:
    """An option that would change nothing is an error, in both directions."""
    store = ids_store(tmp_path / "s", [[1]])
    for options in ({"doc_end": 5}, {"shard_rows": 5}, {"dtype": "uint8"}):
        with pytest.raises(ValueError, match="'parquet' takes no"):
            store.export(tmp_path / "x.parquet", **options)
    store.export(tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="'parquet' takes no doc_end"):
        ts.pack(tmp_path / "x.parquet", tmp_path / "t", doc_end=5)


LINES = [
    '{"ids": [1, 2,3], "x": "a"}', '{"ids": []}', '{"ids": [0]}', '{"ids": [0, 10, 100]}', '{"ids":[1 ,2]}',
    '{"m": {"ids": [1]}, "ids": [2]}', '{"m": {"ids": [1]}}', '{"ids": [1], "ids": [2]}', '{"ids": [1,2.5]}',
    '{"t": "\\"ids\\":[7]", "ids": [2]}', '{"ids": [-1]}', '{"ids": [9223372036854775808]}', '{"ids": null}',
    '{"ids": [999999999999999999]}', '{"ids": [true]}', '[{"ids": [1]}]', '{"ids" : [5, 6]}', '{"ids": [1e3]}',
    '{"ids": [01]}', '{"ids": [1,,2]}', '{"ids": [1, ]}', '{"ids": [ ,1]}', '{"ids": [1 2]}', '{"ids": [,]}',
    '{"ids": [1', '{"ids": [0, 1]}', '{"ids": [1,  2]}', '{"ids": [1\t,2]}',
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_ids_without_objects(line: str) -> None:
    """The fast way through a line gives what `json` gives, or its error."""
    try:
        expected = json.loads(line)
    except ValueError:
        expected = None
    for lines in ([line], [LINES[1], line], [line, line, LINES[0]]):
        found = IdLines("ids").parse([one.encode() for one in lines])
        row = found.rows[lines.index(line)]
        if found.ids is not None:
            row = {**row, "ids": found.ids[lines.index(line)]}
        if isinstance(row, dict) and isinstance(row.get("ids"), np.ndarray):
            row["ids"] = row["ids"].tolist()
        assert isinstance(row, ValueError) if expected is None else row == expected
        assert expected is None or repr(sorted(row)) == repr(sorted(expected))


def broken_files(folder: Path, ending: str) -> None:
    """Write three files of a format in a folder, and cut the first short."""
    store = ts.open(folder.parent / "s")
    for i in range(3):
        store.export(folder / f"{i}{ending}", doc_end=9 if ending in (".npy", ".bin") else None)
    cut = folder / f"0{ending}".replace(".idx", ".bin")
    data = cut.read_bytes()
    cut.write_bytes(data[: len(data) // 4 | 1])  # an odd number is no whole number of ids


@pytest.mark.parametrize("ending", [".parquet", ".arrow", ".npy", ".bin", ".idx", ".tar", ".jsonl.zst"])
def test_a_bad_file_of_a_folder(tmp_path: Path, ending: str) -> None:
    """One file of several that was cut short is named, and with on_error="skip" left out and counted once."""
    with ts.create(tmp_path / "s", ts.Schema(tokens=ts.Tokens(10))) as writer:
        writer.extend(tokens=ts.Ragged(np.arange(8, dtype=np.int32), [3, 4, 1]))
    folder = tmp_path / "in"
    folder.mkdir()
    broken_files(folder, ending)
    options: dict[str, Any] = {"doc_end": 9} if ending in (".npy", ".bin") else {}
    with pytest.raises((ValueError, TokstoreError), match=r"0\."):
        ts.pack(folder, tmp_path / "t", **options)
    assert not (tmp_path / "t").exists()
    report = ts.pack(folder, tmp_path / "t", on_error="skip", **options)
    assert (report.samples, report.tokens, report.bad_rows) == (6, 16, 1)
    assert "0." in str(report.first_bad)
    for i in (1, 2):
        for one in folder.glob(f"{i}.*"):
            one.unlink()
    with pytest.raises((ValueError, TokstoreError), match=r"0\."):
        ts.pack(folder, tmp_path / "u", on_error="skip", format=report.format, **options)
    assert not (tmp_path / "u").exists()


def test_damage_inside_parquet(tmp_path: Path) -> None:
    """What we write has checksums of pages, so that a byte that flips on the way is no other value."""
    with ts.create(tmp_path / "s", ts.Schema(tokens=ts.Tokens(50_000))) as writer:
        writer.extend(tokens=ts.Ragged(RNG.integers(0, 50_000, 900), [900]))
    ts.open(tmp_path / "s").export(tmp_path / "x.parquet")
    data = bytearray((tmp_path / "x.parquet").read_bytes())
    data[700] ^= 1
    (tmp_path / "x.parquet").write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.parquet: the file is damaged"):
        ts.pack(tmp_path / "x.parquet", tmp_path / "t")
    pq.write_table(pa.table({"input_ids": [[[1]]]}), tmp_path / "y.parquet")
    with pytest.raises(ValueError, match=r"y\.parquet: column 'input_ids' holds .*flat list"):
        ts.pack(tmp_path / "y.parquet", tmp_path / "t")
    assert not (tmp_path / "t").exists()
