"""``tokstore plan``: an epoch before it runs, the samples of a step, the state before one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from test_cli import assert_one_line
from test_cli_upkeep import facts, run

OPTIONS = ("--seq-len", 32, "--packing", "fit", "--global-batch-size", 8)


@pytest.fixture
def corpus(tmp_path: Path) -> ts.Store:
    """A store of bytes with a score, and a saved view of half of it."""
    schema = ts.Schema(tokens=ts.Tokens(257, eos_id=256), n=ts.Score())
    texts = [bytes(range(97, 97 + i % 26)) + b" of %d" % i for i in range(400)]
    with ts.create(tmp_path / "corpus", schema, metadata={"tokenizer": "bytes"}) as writer:
        writer.extend(tokens=[list(text) for text in texts], n=np.arange(400.0))
    store = ts.open(tmp_path / "corpus")
    store.where("n < 200").save("half")
    return store


def test_an_epoch(tmp_path: Path, corpus: ts.Store) -> None:
    """The facts are those of the Python call; options lead to the same stream; people get a table."""
    data = ts.StreamingDataset(corpus, seq_len=32, packing="fit", global_batch_size=8, seed=5, buffer=4 << 10)
    found = facts("plan", "corpus", *OPTIONS, "--seed", 5, "--buffer", "4KiB", cwd=tmp_path)
    assert found == {"path": "corpus", "version": 1} | data.plan()
    for view, options in (
        (corpus.load("half"), ("--view", "half")),
        (corpus.load("half").where("n >= 7"), ("--view", "half", "--where", "n >= 7")),
    ):
        one = ts.StreamingDataset(
            view, seq_len=32, global_batch_size=12, rank=0, world_size=6, packing=None, eos_id=None, bos_id=3,
            overlong="drop",
        )  # fmt: skip
        more = ("--world-size", 6, "--packing", "none", "--eos-id", "none", "--bos-id", 3, "--overlong", "drop")
        given = facts(
            "plan", "corpus", *options, "--seq-len", 32, "--global-batch-size", 12, *more, "--workers", 2, cwd=tmp_path
        )
        assert given == {"path": "corpus", "version": 1} | one.plan(workers=2)
    done = run("plan", "corpus", *OPTIONS, "--buffer", "1K", "--examine", 8, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    text = " ".join(done.stdout.decode().split())
    for words in ("corpus: version 1: 400 samples,", "rows of 32,", "batches of 8 an epoch", "windows of about",
                  "in groups of 512 rows", "decoded 1 time an epoch", "8 of "):  # fmt: skip
        assert words in text, (words, text)


def test_the_samples_of_a_step(tmp_path: Path, corpus: ts.Store) -> None:
    """Rows with their ranks, and pieces with their ranges and texts: what the batches of all ranks hold."""
    words = ("plan", "corpus", *OPTIONS, "--world-size", 2, "--epochs", "none", "--step", 70)
    found = facts(*words, "--texts", cwd=tmp_path)
    streams = [
        ts.StreamingDataset(
            corpus, seq_len=32, packing="fit", global_batch_size=8, epochs=None, rank=rank, world_size=2
        )
        for rank in (0, 1)
    ]
    for one in streams:
        one.load_state_dict(one.state_at(batches=70))
    batches = [next(iter(one)) for one in streams]
    rows: Any = found["rows"]
    assert found["first_row"] == 560
    assert [row["row"] for row in rows] == list(range(560, 568))
    assert {row["epoch"] for row in rows} == {560 // streams[0].rows_per_epoch}
    for row in rows:
        ids = batches[row["rank"]]["input_ids"][row["place"]].tolist()
        assert row["row"] == batches[row["rank"]].rows[row["place"]]
        for piece in row["pieces"]:
            part = ids[piece["offset"] : piece["offset"] + piece["length"]]
            text = piece["text"].encode()
            assert text == bytes(one for one in part if one < 256)
            stored = corpus[piece["position"]]
            assert text == bytes(stored["tokens"][piece["start"] : piece["stop"]].tolist())
            assert stored["sample_id"] == piece["sample_id"]
    done = run(*words, "--texts", cwd=tmp_path)
    lines = done.stdout.decode().splitlines()
    assert "step 70: 8 rows from row 560 on" in lines[0]
    assert lines[1].split()[:5] == ["row", "epoch", "rank", "place", "position"]
    assert sum(len(row["pieces"]) for row in rows) == len(lines) - 2
    assert "text" not in run(*words, cwd=tmp_path).stdout.decode()


def test_skipping_steps(tmp_path: Path, corpus: ts.Store) -> None:
    """The state before a step, as JSON, leads over the steps before it."""
    done = run("plan", "corpus", *OPTIONS, "--state-at", 21, cwd=tmp_path)
    state = json.loads(done.stdout)
    data = ts.StreamingDataset(corpus, seq_len=32, packing="fit", global_batch_size=8)
    assert state == data.state_at(batches=21)
    expected = [batch["input_ids"].tolist() for batch in data]
    again = ts.StreamingDataset(corpus, seq_len=32, packing="fit", global_batch_size=8)
    again.load_state_dict(state)
    assert [batch["input_ids"].tolist() for batch in again] == expected[21:]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--step", 3), 2, b"A step is a global batch: give --batch-size or --global-batch-size."),
        (("--batch-size", 2, "--step", -1), 2, b"Batches are counted from 0."),
        (("--batch-size", 2, "--step", 1, "--state-at", 1), 2, b"Give one of --step and --state-at."),
        (("--batch-size", 2, "--texts"), 2, b"--texts shows the texts of a --step."),
        (("--buffer", "7 miles"), 2, b"'7 miles' is no number of bytes such as 67108864, 64MiB or 2G"),
        (("--eos-id", "last"), 2, b"'last' is neither an id nor none"),
        (("--epochs", 0), 2, b"'0' is neither a number of epochs nor none"),
        (("--packing", "best"), 2, b"'best' is not one of"),
    ],
)
def test_wrong_use(tmp_path: Path, corpus: ts.Store, words: tuple[Any, ...], code: int, message: bytes) -> None:
    """Options that make no sense end with 2 and say why."""
    done = run("plan", "corpus", "--seq-len", 32, *words, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--seq-len", 1), "seq_len is an integer from 2"),
        (("--seq-len", 32, "--global-batch-size", 9, "--world-size", 2), "2 ranks cannot share global_batch_size=9"),
        (("--seq-len", 32, "--view", "none"), "no view 'none' is saved"),
        (("--seq-len", 32, "--where", "m > 3"), "m"),
        (("--seq-len", 32, "--where", "n > 1000"), "no tokens: there is nothing to stream"),
        (("--packing", "fit"), "packing='fit' needs seq_len"),
    ],
)
def test_what_cannot_be_planned(tmp_path: Path, corpus: ts.Store, words: tuple[Any, ...], message: str) -> None:
    """What the stream refuses is one line on standard error and exit code 1."""
    assert_one_line(run("plan", "corpus", *words, cwd=tmp_path), 1, message)


def test_warnings_are_lines(tmp_path: Path, corpus: ts.Store) -> None:
    """What a stream warns of is told on standard error, and the facts stay on standard output."""
    done = run(
        "plan", "corpus", "--seq-len", 16, "--packing", "whole", "--buffer", 1, "--batch-size", 1, "--world-size", 16,
        "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0
    assert json.loads(done.stdout)["decodes"] == 4
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 2
    assert "are longer than seq_len=16 and are truncated" in lines[0]
    assert lines[1].startswith("warning: 16 ranks read 12 lanes")
