"""The tools: every form of source gives the same texts, damage is an error with a place, tokenizers lose nothing."""

from __future__ import annotations

import gzip
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

import tokstore as ts
from tokstore.errors import TokstoreError, UnsupportedError
from tokstore_tools.demo import run, sparkline
from tokstore_tools.demo_corpus import find_corpus
from tokstore_tools.jsonl import ReadCounts, read_texts
from tokstore_tools.pack import pack
from tokstore_tools.sources import find_files, read_chunks
from tokstore_tools.tokenize import ByteTokenizer, load_tokenizer

TEXTS = ["plain", "", "two\nlines\r\n", "é ü 中 \U0001f600", "tab\tand \x00 zero"]


def lines(texts: list[str], **more: object) -> bytes:
    """Write texts as JSON lines."""
    return b"".join(json.dumps({"text": text, **more}).encode() + b"\n" for text in texts)


def texts_of(*sources: Path | str, text: str = "text", include: tuple[str, ...] = ()) -> list[str]:
    """Read all texts of sources."""
    files = find_files(list(sources), include=include)
    return [sample for batch in read_texts(files, text=text, counts=ReadCounts()) for sample in batch]


def zstd_frames(data: bytes, cut: int) -> bytes:
    """Compress data as two frames, one of them without its size."""
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(data[:cut]) + stream.flush() + zstandard.ZstdCompressor().compress(data[cut:])


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson.gz", "a.json.zst", "a.jsonl.zst", "misnamed.jsonl.gz"])
def test_lines_in_every_compression(tmp_path: Path, name: str) -> None:
    """Plain, gzip and zstd files give the same texts, also in several members, and whatever the ending says."""
    data = lines(TEXTS, other=[1, {"x": None}])
    if name.endswith(".gz") and not name.startswith("misnamed"):
        stored = gzip.compress(data[:20]) + gzip.compress(data[20:]) + bytes(512)
    elif name.endswith((".zst", ".gz")):
        stored = zstd_frames(data, 33)
    else:
        stored = data
    (tmp_path / name).write_bytes(stored)
    assert texts_of(tmp_path / name) == TEXTS


def test_lines_across_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that straddle reads, empty lines, a byte-order mark and a last line without its end are all read right."""
    monkeypatch.setattr("tokstore_tools.sources.CHUNK_BYTES", 7)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + lines(TEXTS[:2]) + b"\n  \r\n" + lines(TEXTS[2:]).rstrip())
    assert texts_of(path) == TEXTS


@given(st.lists(st.text(max_size=40), max_size=20), st.booleans(), st.integers(1, 50))
def test_any_text_comes_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], escape: bool, cut: int
) -> None:
    """Any text survives JSON lines, escaped or not, and compression cut anywhere."""
    data = b"".join(json.dumps({"text": text}, ensure_ascii=escape).encode() + b"\n" for text in texts)
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    path.write_bytes(zstd_frames(data, cut))
    assert texts_of(path) == texts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"text": "a"}\n{"text": \n', r":2: the line is not JSON"),
        (b'{"text": "a"}\n\n["text"]\n', r":3: the line holds a JSON list, not an object"),
        (b'{"body": "a", "url": "b"}\n', r":1: there is no field 'text'; there are: body, url"),
        (b'{"text": 3}\n', r":1: field 'text' holds no string, but int"),
        (b'{"text": null}\n', r":1: field 'text' holds no string, but NoneType"),
        (b'{"text": "\xff"}\n', r":1: the line is not UTF-8"),
        (b'{"text": "\\ud800"}\n', r":1: field 'text' has half of a surrogate pair"),
        (b'{"text": ' + b"[" * 100_000 + b"\n", r":1: the JSON is nested too deeply|:1: the line is not JSON"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    """A bad line is an error that says the file, the line and what is wrong with it."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        texts_of(path)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_cut_or_damaged_compression(tmp_path: Path, kind: str) -> None:
    """Compressed data that ends early or is damaged is an error, never a shorter corpus."""
    data = lines([str(i) * 50 for i in range(2000)])
    good = gzip.compress(data) if kind == "gzip" else zstandard.ZstdCompressor(write_checksum=True).compress(data)
    path = tmp_path / "a.jsonl"
    for length in (5, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:length])
        with pytest.raises(ValueError, match=f"{kind} data ends early"):
            texts_of(path)
    damaged = bytearray(good)
    damaged[-3] ^= 0x40
    path.write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match=f"a.jsonl: the {kind} data is damaged"):
        texts_of(path)


def test_folder_is_sorted_and_filtered(tmp_path: Path) -> None:
    """A folder gives one sample per file in sorted order, without hidden files, and with patterns only what matches."""
    for name in ("b/2.py", "b/1.py", "a.md", ".hidden", ".git/x.py", "z.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(lines(["from lines"]) if name == "z.jsonl" else name.encode())
    assert texts_of(tmp_path) == ["a.md", "from lines", "b/1.py", "b/2.py"]
    assert texts_of(tmp_path, include=("*.py",)) == ["b/1.py", "b/2.py"]
    assert texts_of(tmp_path / "a.md", tmp_path, include=("*.py",)) == ["a.md", "b/1.py", "b/2.py"]
    with pytest.raises(ValueError, match=r"has no files that match \*\.rs"):
        texts_of(tmp_path, include=("*.rs",))


def test_files_that_are_no_text(tmp_path: Path) -> None:
    """In a folder, a file that is no text is counted and passed over; named, it is an error."""
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.bin").write_bytes(b"\xff\xfe")
    (tmp_path / "c.npy").write_bytes(b"abc\0def")
    counts = ReadCounts()
    assert [list(batch) for batch in read_texts(find_files([tmp_path]), counts=counts)] == [["text"]]
    assert [Path(path).name for path in counts.skipped] == ["b.bin", "c.npy"]
    assert (counts.samples, counts.text_bytes, counts.bytes_read[0]) == (1, 4, 13)
    with pytest.raises(ValueError, match=r"b\.bin: the file is no UTF-8 text"):
        texts_of(tmp_path / "b.bin")


def test_missing_sources(tmp_path: Path) -> None:
    """A source that is not there, or none at all, is an error before anything is written."""
    with pytest.raises(FileNotFoundError):
        pack([tmp_path / "none.jsonl"], tmp_path / "store")
    with pytest.raises(ValueError, match="no source is given"):
        pack([], tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """``-`` reads JSON lines, compressed or not."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(lines(TEXTS)))))
    assert texts_of("-") == TEXTS


def test_batches_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts come in lists that are bounded by number and by characters, and none is lost."""
    monkeypatch.setattr("tokstore_tools.jsonl.BATCH_TEXTS", 3)
    monkeypatch.setattr("tokstore_tools.jsonl.BATCH_CHARACTERS", 10)
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(["a"] * 7 + ["b" * 25] * 2))
    sizes = [len(batch) for batch in read_texts(find_files([path]), counts=ReadCounts())]
    assert sizes == [3, 3, 2, 1]


def test_bytes_tokenizer_is_utf8() -> None:
    """Bytes in, the same bytes out, and 256 ends a document without being stored."""
    ids = ByteTokenizer().encode(TEXTS)
    assert [bytes(row.tolist()).decode() for row in ids] == TEXTS
    assert ByteTokenizer().tokens == ts.Tokens(257, eos_id=256)


def test_tokenizer_file_keeps_everything(tokenizer_file: Path, tmp_path: Path) -> None:
    """Truncation, padding and special ids of the file do not touch the ids; a compressed file is the same tokenizer."""
    from tokenizers import Tokenizer

    backend = Tokenizer.from_file(str(tokenizer_file))
    backend.no_truncation()
    backend.no_padding()
    texts = [text * 10 for text in TEXTS]
    expected = [encoding.ids for encoding in backend.encode_batch(texts, add_special_tokens=False)]
    packed = tmp_path / "t.json.zst"
    packed.write_bytes(zstandard.ZstdCompressor().compress(tokenizer_file.read_bytes()))
    for path in (tokenizer_file, packed):
        chosen = load_tokenizer(path)
        assert chosen.encode(texts).to_list() == expected
        assert chosen.file_bytes == tokenizer_file.read_bytes()
        assert chosen.tokens == ts.Tokens(backend.get_vocab_size(), eos_id=0, pad_id=1)


def test_tokenizer_options(tokenizer_file: Path, tmp_path: Path) -> None:
    """The end of a document can be named or left out; a token that is not there, or a wrong file, is an error."""
    assert load_tokenizer(tokenizer_file, eos="<pad>").tokens.eos_id == 1
    assert load_tokenizer(tokenizer_file, eos=None).tokens.eos_id is None
    with pytest.raises(ValueError, match="no token '<none>'"):
        load_tokenizer(tokenizer_file, eos="<none>")
    wrong = tmp_path / "wrong.json"
    for content, message in ((b"{}", "no tokenizers file"), (b"\x1f\x8b\x00", "compressed data is damaged")):
        wrong.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_tokenizer(wrong)


def test_missing_library_is_named(tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `tokenizers`, the error says what to install."""
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'tokstore\[tokenize\]'"):
        load_tokenizer(tokenizer_file)


def test_pack_with_a_tokenizer(tokenizer_file: Path, tmp_path: Path) -> None:
    """Texts that were packed come back as text, the tokenizer travels along, and progress ends at the last byte."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(TEXTS))
    seen: list[ts.Progress] = []
    report = pack(path, tmp_path / "store", tokenizer=tokenizer_file, progress=seen.append)
    store = ts.open(tmp_path / "store")
    assert [store.text(i) for i in range(len(store))] == TEXTS
    assert store.attachments["tokenizer.json"] == tokenizer_file.read_bytes()
    assert (report.samples, report.version, report.part) == (len(TEXTS), store.version, None)
    assert report.tokens == store.token_count
    assert report.text_bytes == sum(len(text.encode()) for text in TEXTS)
    assert (seen[-1].done, seen[-1].total, seen[-1].unit) == (path.stat().st_size, path.stat().st_size, "bytes")


def test_pack_bytes(tmp_path: Path) -> None:
    """Without a tokenizer, ids are bytes, and text comes back as well."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines(TEXTS))
    pack([path], tmp_path / "store", level="fast")
    store = ts.open(tmp_path / "store")
    assert [store.text(i) for i in range(len(store))] == TEXTS
    assert store[3]["tokens"].tolist() == list(TEXTS[3].encode())


def test_pack_appends_only_when_asked(tokenizer_file: Path, tmp_path: Path) -> None:
    """An existing store is an error unless appending is asked for, and never takes the ids of another tokenizer."""
    path = tmp_path / "a.txt"
    path.write_text("hello")
    pack(path, tmp_path / "store")
    with pytest.raises(TokstoreError, match="is there already"):
        pack(path, tmp_path / "store")
    assert pack(path, tmp_path / "store", exist="append").version == 2
    with pytest.raises(TokstoreError, match="packed with another tokenizer"):
        pack(path, tmp_path / "store", exist="append", tokenizer=tokenizer_file)
    assert len(ts.open(tmp_path / "store")) == 2


def test_pack_follows_the_store(tmp_path: Path) -> None:
    """Appending keeps the store's level and fills its own token column, beside optional columns."""
    path = tmp_path / "a.txt"
    path.write_text("hello " * 1000)
    schema = ts.Schema(ids=ts.Tokens(257, eos_id=256), score=ts.Score(optional=True))
    ts.create(tmp_path / "store", schema, level="small", metadata={"tokenizer": "bytes"}).close()
    pack(path, tmp_path / "store", exist="append")
    store = ts.open(tmp_path / "store")
    assert store.text(0) == "hello " * 1000
    assert {column["level"] for column in store.describe()["columns"]} == {"small"}
    other = tmp_path / "other"
    ts.create(other, ts.Schema(ids=ts.Tokens(256)), metadata={"tokenizer": "bytes"}).close()
    with pytest.raises(TokstoreError, match="other special ids"):
        pack(path, other, exist="append")


def test_pack_keeps_out_of_foreign_folders(tmp_path: Path) -> None:
    """A folder that holds something else is not taken for a store; an empty one is filled."""
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TokstoreError, match="it holds 'a.txt'"):
        pack(tmp_path / "a.txt", tmp_path)
    assert pack(tmp_path / "a.txt", tmp_path / "empty").version == 1


def test_pack_parts_make_one_version(tmp_path: Path) -> None:
    """Parts are invisible until they are committed, and then come in the order of their names."""
    for name in ("00002", "00001"):
        (tmp_path / name).write_text(name)
        report = pack(tmp_path / name, tmp_path / "store", part=name)
        assert (report.part, report.version) == (name, None)
    store = ts.open(tmp_path / "store")
    assert len(store) == 0
    store.commit(parts="all")
    again = ts.open(tmp_path / "store")
    assert [again.text(i) for i in range(len(again))] == ["00001", "00002"]


def test_pack_of_nothing_leaves_nothing(tmp_path: Path) -> None:
    """A source without text, and one that is bad at its very end, leave no store behind."""
    (tmp_path / "empty.jsonl").write_bytes(b"\n\n")
    (tmp_path / "bad.jsonl").write_bytes(lines(["a"] * 100) + b"{")
    for name, message in (("empty.jsonl", "there is no text in it"), ("bad.jsonl", ":101: the line is not JSON")):
        with pytest.raises(ValueError, match=message):
            pack(tmp_path / name, tmp_path / "store")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.jsonl", "empty.jsonl"]


def test_demo_corpus_is_python(tmp_path: Path) -> None:
    """The demo takes Python files that are text, passes over tests, and stops at its cap."""
    (tmp_path / "test").mkdir()
    for name, data in (
        ("a.py", b"x" * 10),
        ("b.py", b"\xff"),
        ("c.txt", b"no"),
        ("d.py", b"y" * 5),
        ("test/e.py", b""),
    ):
        (tmp_path / name).write_bytes(data)
    assert find_corpus(str(tmp_path)).texts == ("x" * 10, "y" * 5)
    assert find_corpus(str(tmp_path), cap_bytes=10).texts == ("x" * 10,)
    with pytest.raises(ValueError, match="no Python sources"):
        find_corpus(str(tmp_path / "none"))


def test_demo_leads_from_text_to_training(tmp_path: Path) -> None:
    """The demo packs sources, measures what they take, trains from the store, and leaves it where it was told to."""
    console = Console(file=io.StringIO(), width=120)
    facts = run(out=str(tmp_path / "demo"), seconds=0, folder=str(Path(json.__file__).parent), console=console)
    store = ts.open(facts["store"])
    assert (facts["samples"], facts["tokens"]) == (len(store), store.token_count)
    assert facts["bytes"]["ids_u16"] == 2 * facts["tokens"]
    assert facts["bytes"]["store"] == sum(p.stat().st_size for p in Path(facts["store"]).rglob("*") if p.is_file())
    assert facts["training"]["steps"] == 1
    assert 4 < facts["training"]["first_loss"] < 10
    assert 0 <= facts["training"]["waiting_share"] <= 1
    shown = console.file.getvalue()
    assert "tokens/s" in shown
    assert f"cat {facts['store']} 17" in shown
    assert 0 < facts["bytes"]["store_small"] <= facts["bytes"]["store"]
    with pytest.raises(TokstoreError, match="already"):
        run(out=str(tmp_path / "demo"), seconds=0)


def test_sparkline() -> None:
    """Falling numbers fall, equal ones are drawn, and the line is never wider than asked."""
    assert sparkline((3.0, 2.0, 1.0, 0.0), 2) == "█▁"
    assert sparkline((1.0, 1.0), 8) == "▁▁"
    assert sparkline((), 8) == ""
    assert len(sparkline(tuple(np.linspace(9, 5, 1000)), 60)) == 60


def test_chunks_of_an_empty_file(tmp_path: Path) -> None:
    """An empty file is an empty stream, and as a text file an empty sample."""
    (tmp_path / "a.txt").write_bytes(b"")
    assert list(read_chunks(find_files([tmp_path / "a.txt"])[0])) == []
    assert texts_of(tmp_path / "a.txt") == [""]
