"""The verbs that keep a store in order: tag, add-column, delete, compact, prune.

They run in this process, since starting one takes longer than what it does; `test_cli` runs real ones.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import subprocess
from pathlib import Path

import numpy as np
import pytest

import tokstore as ts
from test_cli import PROGRAM, assert_one_line, files
from tokstore.cli import main

COUNT = 30


def run(*args: object, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run the command line in a folder."""
    out, err = io.StringIO(), io.StringIO()
    here = os.getcwd()
    os.chdir(cwd)
    try:
        with pytest.raises(SystemExit) as end, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(list(map(str, args)))
    finally:
        os.chdir(here)
    code = end.value.code if isinstance(end.value.code, int) else 0
    return subprocess.CompletedProcess(list(map(str, args)), code, out.getvalue().encode(), err.getvalue().encode())


def facts(*args: object, cwd: Path) -> dict[str, object]:
    """Run a verb with ``--json`` and return what it says."""
    done = run(*args, "--json", cwd=cwd)
    assert (done.returncode, done.stderr) == (0, b"")
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A store of several shards."""
    with ts.create(tmp_path / "corpus", ts.Schema(tokens=ts.Tokens(300)), shard_tokens=50, threads=1) as w:
        w.extend(tokens=[[i] * 5 for i in range(COUNT)])
    return tmp_path / "corpus"


def test_from_scores_to_a_smaller_store(tmp_path: Path, corpus: Path) -> None:
    """Tag, add a column, delete, see the advice, compact, prune: each says what it did."""
    np.save(tmp_path / "scores.npy", np.arange(COUNT) / 8)
    assert run("tag", "corpus", "raw", cwd=tmp_path).stdout == b"raw: version 1\n"
    done = run("add-column", "corpus", "quality", "scores.npy", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"corpus: version 3: column quality (Score('float64')) of 30 samples\n"
    assert ts.open(corpus)["quality"].tolist() == (np.arange(COUNT) / 8).tolist()
    done = run("delete", "corpus", "0:5", "7", "-1", "-3:-1", cwd=tmp_path)
    assert done.stdout == b"corpus: version 4: 21 samples, 9 deleted\n"
    assert ts.open(corpus).take(slice(None), [])["sample_id"].tolist() == [5, 6, *range(8, 27)]
    text = run("info", "corpus", cwd=tmp_path).stdout.decode()
    assert "9 samples are deleted, 30% of all: compact and then prune give their bytes back" in text
    assert facts("info", "corpus", cwd=tmp_path)["deleted"] == {"samples": 9, "share": 0.3, "compact": True}
    done = run("compact", "corpus", cwd=tmp_path)
    assert done.stdout == b"corpus: version 5: 3 shards became 1, 9 deleted samples left out\n"
    assert "deleted" not in run("info", "corpus", cwd=tmp_path).stdout.decode()
    before = files(corpus)
    done = run("prune", "corpus", cwd=tmp_path)
    assert b"would remove" in done.stdout
    assert b"versions: 2, 3, 4\nnothing was removed; --yes removes it\n" in done.stdout
    assert files(corpus) == before
    done = run("prune", "corpus", "--yes", "--grace", "0s", cwd=tmp_path)
    assert b"removed" in done.stdout
    assert facts("tag", "corpus", "raw", "--remove", cwd=tmp_path)["tags"] == {}
    found = facts("prune", "corpus", "--yes", "--older-than", "1w", cwd=tmp_path)
    assert (found["versions"], found["kept"], found["dry_run"]) == ([], [1, 5, 6], False)
    assert run("versions", "corpus", cwd=tmp_path).returncode == 0
    assert run("verify", "corpus", cwd=tmp_path).returncode == 0
    assert facts("compact", "corpus", "--merge", cwd=tmp_path)["replaced"] == 0
    assert len(ts.open(corpus)) == 21


def test_columns_from_lines(tmp_path: Path, corpus: Path) -> None:
    """JSON lines and CSV, by position and by id, with missing values, and filled later."""
    lines = [json.dumps({"id": i, "lang": None if i % 3 else f"l{i}", "more": [1]}) for i in range(COUNT)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n\n")
    found = facts("add-column", "corpus", "lang", "a.jsonl", "--type", "text", "--level", "plain", cwd=tmp_path)
    assert found == {"path": "corpus", "version": 2, "column": "lang", "missing": 20}
    assert ts.open(corpus)["lang"] == [None if i % 3 else f"l{i}" for i in range(COUNT)]
    (tmp_path / "b.csv").write_text("who,n,ids\n3,7,1 2\n1,,\n29,9,3\n")
    common = ("--id-field", "who")
    run("add-column", "corpus", "n", "b.csv", "--type", "label:10", *common, cwd=tmp_path)
    run("add-column", "corpus", "ids", "b.csv", "--type", "tokens:9", *common, cwd=tmp_path)
    run("add-column", "corpus", "score", "b.csv", "--type", "score:float16", "--field", "n", *common, cwd=tmp_path)
    (tmp_path / "c.csv").write_text("who,n\n1,5\n")
    assert (
        run("add-column", "corpus", "n", "c.csv", "--type", "label:10", *common, "--fill", cwd=tmp_path).returncode == 0
    )
    store = ts.open(corpus)
    assert {i: v for i, v in enumerate(store["n"].tolist()) if v is not None} == {1: 5, 3: 7, 29: 9}
    assert store.schema["score"] == ts.Score("float16", optional=True)
    assert [store[i]["ids"] is None for i in (0, 1, 3)] == [True, True, False]
    assert store[3]["ids"].tolist() == [1, 2]
    np.save(tmp_path / "n.npy", np.arange(COUNT, dtype=np.int16))
    run("add-column", "corpus", "must", "n.npy", "--required", cwd=tmp_path)
    assert ts.open(corpus).schema["must"] == ts.Label()
    np.save(tmp_path / "v.npy", np.arange(2 * COUNT, dtype=np.float16).reshape(COUNT, 2))
    np.save(tmp_path / "a.npy", np.arange(4 * COUNT, dtype=np.uint8).reshape(COUNT, 2, 2))
    run("add-column", "corpus", "v", "v.npy", cwd=tmp_path)
    run("add-column", "corpus", "a", "a.npy", cwd=tmp_path)
    run("add-column", "corpus", "kind", "a.jsonl", "--type", "category", "--field", "lang", cwd=tmp_path)
    store = ts.open(corpus)
    assert store.schema["v"] == ts.Vector(2, "float16", optional=True)
    assert store.schema["a"] == ts.Array("uint8", (2, 2), optional=True)
    assert store[3]["a"].tolist() == [[12, 13], [14, 15]]
    assert store["kind"] == store["lang"]
    done = run("delete", "corpus", "--where", "must >= 5 and kind != 'l9'", cwd=tmp_path)
    assert b"deleted" in done.stdout
    kept = [i for i in range(COUNT) if i < 5 or i % 3 or i == 9]
    assert ts.open(corpus)["must"].tolist() == kept
    assert ts.verify(corpus).problems == []


@pytest.mark.parametrize(
    "args",
    [
        ("tag", "corpus", "--replace"),
        ("tag", "corpus", "v", "--remove", "--replace"),
        ("add-column", "corpus", "q", "a.txt"),
        ("add-column", "corpus", "q", "none.npy"),
        ("add-column", "corpus", "q", "a.csv"),
        ("add-column", "corpus", "q", "a.csv", "--type", "vector"),
        ("add-column", "corpus", "q", "a.csv", "--type", "no-such-type"),
        ("add-column", "corpus", "q", "a.csv", "--type", "label:x"),
        ("add-column", "corpus", "q", "a.csv", "--type", "score:int8"),
        ("add-column", "corpus", "q", "a.csv", "--type", "tokens"),
        ("add-column", "corpus", "q", "a.npy", "--field", "q"),
        ("add-column", "corpus", "q", "a.csv", "--type", "score", "--fill"),
        ("delete", "corpus"),
        ("delete", "corpus", "1", "--id", "2"),
        ("delete", "corpus", "x"),
        ("compact", "corpus", "--merge", "--erase"),
        ("compact", "corpus", "--min-deleted", "2"),
        ("prune", "corpus", "--keep", "0"),
        ("prune", "corpus", "--older-than", "soon"),
    ],
)
def test_wrong_use_is_2(args: tuple[str, ...], tmp_path: Path, corpus: Path) -> None:
    """Wrong use ends with 2, says how it is meant, and writes nothing."""
    for name in ("a.csv", "a.txt", "a.npy"):
        (tmp_path / name).write_text("q\n1\n")
    before = files(tmp_path)
    done = run(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert b"Usage: tokstore" in done.stderr
    assert b"Traceback" not in done.stderr
    assert files(tmp_path) == before


def test_failures_are_1_with_one_line(tmp_path: Path, corpus: Path) -> None:
    """Values that do not fit, fields that are not there, samples and tags that are not: one line, and no change."""
    (tmp_path / "a.csv").write_text("q\n1\nx\n")
    (tmp_path / "b.jsonl").write_text('{"q": 1}\n{"r": 1}\n')
    np.save(tmp_path / "short.npy", np.zeros(3))
    np.save(tmp_path / "words.npy", np.array(["a"] * COUNT))
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    before = files(tmp_path)
    for args, *words in (
        (("add-column", "corpus", "q", "a.csv", "--type", "score"), "a.csv:3", "'q' cannot be read"),
        (("add-column", "corpus", "q", "b.jsonl", "--type", "score"), "b.jsonl:2", "'q' cannot be read"),
        (
            ("add-column", "corpus", "q", "b.jsonl", "--type", "score", "--id-field", "id"),
            "'q' and 'id' cannot be read",
        ),
        (("add-column", "corpus", "q", "short.npy"), "3 values for 30 samples"),
        (("add-column", "corpus", "q", "words.npy"), "an array of <U1 needs --type"),
        (("add-column", "corpus", "q", "objects.npy"), "Python objects"),
        (("add-column", "corpus", "tokens", "short.npy"), "there is a column 'tokens'"),
        (("delete", "corpus", "30"), "there is no sample 30; it has 30 samples"),
        (("delete", "corpus", "--id", "30"), "no sample has ever had id 30"),
        (("tag", "corpus", "v", "--version", "9"), "there is no version 9"),
        (("tag", "corpus", "v", "--remove"), "no tag 'v'"),
        (("tag", "corpus", "a/b"), "a tag is made of"),
    ):
        assert_one_line(run(*args, cwd=tmp_path), 1, *words)
    assert files(tmp_path) == before


def test_progress_only_on_a_terminal(tmp_path: Path, corpus: Path) -> None:
    """Long work draws a bar on a terminal."""
    np.save(tmp_path / "scores.npy", np.arange(COUNT) / 8)
    main_end, other_end = pty.openpty()
    try:
        words = [PROGRAM, "add-column", "corpus", "quality", "scores.npy"]
        env = os.environ | {"TERM": "xterm"}
        done = subprocess.run(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=other_end, timeout=120, env=env)
        assert done.returncode == 0
        assert b"add quality" in os.read(main_end, 65_536)
    finally:
        os.close(main_end)
        os.close(other_end)


def test_cat_of_tokens_that_are_missing(tmp_path: Path) -> None:
    """A sample that has no tokens is an empty line."""
    with ts.create(tmp_path / "corpus", ts.Schema(q=ts.Score())) as w:
        w.extend(q=[0.0, 1.0])
    ts.open(tmp_path / "corpus").add_column("tokens", [[1, 2]], ts.Tokens(9), ids=[1])
    done = run("cat", "corpus", cwd=tmp_path)
    assert (done.stdout, done.stderr) == (b"\n1 2\n", b"")
