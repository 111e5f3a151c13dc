"""What people see of a store: `repr`, HTML, `describe`, `show`, and samples as text."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from files import SAMPLES, SCHEMA, write_samples


def write_text(path: Path, texts: list[str], **options: Any) -> ts.Store:
    """Write texts as bytes."""
    with ts.create(path, ts.Schema(tokens=ts.Tokens(300), url=ts.Text(optional=True)), **options) as writer:
        writer.extend(tokens=[list(text.encode()) for text in texts], url=[f"<{i}>" for i in range(len(texts))])
    return ts.open(path)


def test_repr_is_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Path, totals, and one line per column with type, values, bytes, range and missing."""
    monkeypatch.setenv("COLUMNS", "300")
    store = ts.open(write_samples(tmp_path / "s", SCHEMA, SAMPLES))
    lines = repr(store).splitlines()
    total = store.stored_bytes()
    assert lines[0].startswith(
        f"{tmp_path / 's'}: version 1 · 5 samples · 46 tokens · 1 shard · {total / 1000:.1f} kB · "
    )
    assert lines[0].endswith(f"{8 * total / 46:.2f} bits/token with all columns")
    assert lines[1].split() == [
        *("column", "type", "values", "bytes", "share", "per", "sample", "bits/value", "missing", "range")
    ]
    assert [line.split()[0] for line in lines[2:]] == list(SCHEMA.names)
    assert lines[3].split()[-4:] == ["1", "0", "…", "65504"]
    assert "0 … 2" in lines[4]
    assert all(line == line.rstrip() for line in lines)
    assert "3 shards ·" in repr(ts.open(write_samples(tmp_path / "t", SCHEMA, SAMPLES, shard_tokens=30)))


def test_repr_of_empty_and_strange_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No samples, no tokens, only NaN, infinities: always a table and a JSON."""
    monkeypatch.setenv("COLUMNS", "300")
    schema = ts.Schema(a=ts.Score(optional=True), b=ts.Score("float64"), c=ts.Label(optional=True), d=ts.Text())
    rows = [{"a": float("nan"), "b": float("inf"), "c": None, "d": ""}, {"a": None, "b": -0.0, "c": None, "d": "x"}]
    for i, some in enumerate(([], rows, rows[:1])):
        for name in (f"s{i}", f"x{i}.tok"):
            store = ts.open(write_samples(tmp_path / name, schema, some))
            assert len(repr(store).splitlines()) == 6
            assert json.loads(json.dumps(store.describe(), allow_nan=False))["samples"] == len(some)
            assert "<table>" in store._repr_html_()
            assert f"{len(some)} samples" in repr(store)


def test_html_is_escaped(tmp_path: Path) -> None:
    """Paths and types stand in cells, never as tags."""
    schema = ts.Schema(n=ts.Label(names=["<b>", "&"]))
    found = ts.open(write_samples(tmp_path / "<s>", schema, [{"n": 0}]))._repr_html_()
    assert "&lt;s&gt;" in found
    assert "&lt;b&gt;" in found
    assert "<b>&" not in found
    assert found.count("<tr>") == 2
    assert found.count("<th") == found.count("<td") == 8


def test_describe_adds_up(tmp_path: Path) -> None:
    """Bytes of a version are those on disk; those of columns do not exceed the files; JSON can hold all of it."""
    rng = np.random.default_rng(0)
    rows = [(rng.zipf(1.3, 70_000) % 300).tolist() for _ in range(4)]
    with ts.create(tmp_path / "s", SCHEMA, attachments={"a": b"x" * 1000}, level="default") as writer:
        writer.extend(tokens=rows, label=[0, 1, 2, 0], quality=[0.5] * 4, url=["u"] * 4)
    store = ts.open(tmp_path / "s")
    facts = json.loads(json.dumps(store.describe(), allow_nan=False))
    sizes = {
        kind: sum(p.stat().st_size for p in (tmp_path / "s" / kind).rglob("*") if p.is_file())
        for kind in ("data", "objects", "manifests")
    }
    assert facts["bytes"]["data"] == sizes["data"]
    assert facts["bytes"]["objects"] == sizes["objects"]
    assert facts["bytes"]["manifest"] == sizes["manifests"]
    assert facts["bytes"]["total"] == sum(sizes.values()) == store.stored_bytes()
    assert facts["bits_per_token"] == pytest.approx(8 * facts["bytes"]["total"] / 280_000)
    by_name = {one["name"]: one for one in facts["columns"]}
    assert sum(one["total_bytes"] for one in facts["columns"]) < facts["bytes"]["data"] + facts["bytes"]["objects"]
    assert by_name["tokens"]["object_bytes"] > 0
    assert store.stored_bytes("tokens") == by_name["tokens"]["total_bytes"]
    assert sum(by_name["tokens"]["forms"].values()) == by_name["tokens"]["blocks"] == 8
    assert (by_name["quality"]["min"], by_name["quality"]["max"]) == (0.5, 0.5)
    assert facts["attachments"]["a"]["bytes"] == 1000
    with pytest.raises(ts.ColumnError, match="did you mean 'tokens'"):
        store.stored_bytes("token")


def test_own_commits_and_new_opens_say_the_same(tmp_path: Path) -> None:
    """A store that has followed its own commits describes itself as one that is opened anew."""
    path = write_samples(tmp_path / "s", SCHEMA, SAMPLES)
    store = ts.open(path)
    for _ in range(3):
        with store.writer() as writer:
            writer.append(label=1, tokens=[1, 2])
    assert store.describe() == ts.open(path).describe() == pickle.loads(pickle.dumps(store)).describe()


def test_text_of_bytes(tmp_path: Path) -> None:
    """Ids that are bytes become text where the store says so; ids above 255 are left out; broken UTF-8 is shown."""
    store = write_text(tmp_path / "s", ["hé\n", ""], metadata={"tokenizer": "bytes"})
    assert store.text(0) == "hé\n"
    assert store.text(-1) == ""
    assert store.text(0, "url") == "<0>"
    with ts.open(tmp_path / "s").writer() as writer:
        writer.append(tokens=[104, 299, 105, 0xFF])
    assert ts.open(tmp_path / "s").text(2) == "hi\ufffd"
    with pytest.raises(IndexError):
        store.text(9)


def test_text_of_a_tokenizer(tmp_path: Path, tokenizer_file: Path) -> None:
    """The attached tokenizer decodes, from a folder and from a single file; special tokens are shown."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    text = "the quick brown fox, é 中"
    for name in ("s", "x.tok"):
        with ts.create(
            tmp_path / name, ts.Schema(t=ts.Tokens(300)), attachments={"tokenizer.json": tokenizer_file}
        ) as w:
            w.append(t=[0, *tokenizer.encode(text).ids])
        assert ts.open(tmp_path / name).text(0) == "<|endoftext|>" + text
        assert ts.open(tmp_path / name).attachments["tokenizer.json"] == tokenizer_file.read_bytes()
        assert list(ts.open(tmp_path / name).attachments) == ["tokenizer.json"]
        with pytest.raises(KeyError, match="did you mean 'tokenizer.json'"):
            ts.open(tmp_path / name).attachments["tokenizer.jso"]


def test_text_without_a_tokenizer(tmp_path: Path) -> None:
    """What is missing and what to do is said; a tokenizer that is no tokenizer is one clear error too."""
    store = write_text(tmp_path / "s", ["hi"])
    with pytest.raises(ts.MissingFileError) as caught:
        store.text(0)
    assert str(caught.value) == (
        f"{tmp_path / 's'}: no tokenizer.json is attached, so that ids cannot be shown as text; "
        'pass attachments={"tokenizer.json": …} when the store is made'
    )
    broken = write_text(tmp_path / "b", ["hi"], attachments={"tokenizer.json": b"{}"})
    with pytest.raises(ts.CorruptError, match=r"^tokenizer\.json is no tokenizer: "):
        broken.text(0)


def test_text_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the library the error says how to install it."""
    store = write_text(tmp_path / "s", ["hi"], attachments={"tokenizer.json": b"{}"})
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ts.UnsupportedError, match=r"pip install 'tokstore\[tokenize\]'"):
        store.text(0)


def test_missing_text_and_tokens(tmp_path: Path) -> None:
    """A missing value is no text; it is not shown as one."""
    store = ts.open(write_samples(tmp_path / "s", SCHEMA, SAMPLES, metadata={"tokenizer": "bytes"}))
    assert store.text(2) == ""
    assert store.text(2, "url") == ""


def test_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Columns in a line each, the first ids, then text cut to width and lines."""
    text = "a" * 45 + "\n" + "\n".join("line" for _ in range(20))
    store = write_text(tmp_path / "s", [text, "x"], metadata={"tokenizer": "bytes"})
    store.show(0, width=20, lines=5)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sample 0 of 2 · id 0"
    assert lines[1] == f"  tokens: {len(text)} tokens [{', '.join(['97'] * 12)}, …]"
    assert lines[2] == "  url: <0>"
    assert lines[3:] == ["", "a" * 20, "a" * 20, "a" * 5, "line", "line", "…"]
    store.show(-1)
    assert capsys.readouterr().out.splitlines()[:2] == ["sample -1 of 2 · id 1", "  tokens: 1 tokens [120]"]
    ts.open(write_samples(tmp_path / "t", SCHEMA, SAMPLES)).show(2)
    shown = capsys.readouterr().out
    assert "tokens: (missing)" in shown
    assert "no text: " in shown
    only = ts.open(write_samples(tmp_path / "o", ts.Schema(s=ts.Score()), [{"s": 1.0}]))
    only.show(0)
    assert "s: 1.0" in capsys.readouterr().out


def test_reprs_of_the_others(tmp_path: Path) -> None:
    """Writers and attachments say what they are."""
    with ts.create(tmp_path / "s", SCHEMA, attachments={"b": b"", "a": b""}) as writer:
        writer.append(label=1, tokens=[1])
        assert repr(writer) == "<Writer open: 0 tokens, 0 shards, 1 samples wait>"
    assert repr(writer) == "<Writer closed: 1 tokens, 0 shards, 0 samples wait>"
    assert repr(ts.open(tmp_path / "s").attachments) == "Attachments(a, b)"


def test_describing_needs_no_tokenizers(tmp_path: Path) -> None:
    """`repr` and `describe` work in an interpreter that has imported nothing else."""
    write_text(tmp_path / "s", ["hi"], attachments={"tokenizer.json": b"{}"})
    code = "import sys, tokstore as ts; s = ts.open(sys.argv[1]); repr(s); s.describe(); "
    code += "assert 'tokenizers' not in sys.modules"
    command = [sys.executable, "-c", code, str(tmp_path / "s")]
    environment = os.environ | {"PYTHONPATH": str(Path(ts.__file__).parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
