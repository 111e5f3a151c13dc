"""What a newcomer sees of a store with every type of column: `repr`, HTML and ``tokstore info``, at every width."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import tokstore as ts
from tokstore.cli.main import cli
from tokstore.describe_text import laid_out, version_text

COUNT = 400
MEASURED = ("small", "near", "tiny")
ROUNDED = (*MEASURED, "loss", "topics")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ts.Store:
    """A store with every type of column, one that was added for some samples, deletions, a tag, a view, a file."""
    path, rng = tmp_path_factory.mktemp("d") / "s", np.random.default_rng(0)
    schema = ts.Schema(
        tokens=ts.Tokens(50_257, eos_id=50_256),
        learn=ts.Mask(),
        image=ts.Codes(391, (4, 4)),
        exact=ts.Vector(16),
        small=ts.Vector(16, codec="int8"),
        near=ts.Vector(16, codec="pca", max_error=0.01),
        tiny=ts.Vector(16, codec="pca", bytes_per_vector=24),
        quality=ts.Score(),
        loss=ts.Score(max_error=0.001, optional=True),
        language=ts.Label(names=["english", "german", "french", "spanish", "portuguese", "chinese", "japanese"]),
        topics=ts.SoftLabel(1000, top=2),
        source=ts.Category(),
        url=ts.Text(optional=True),
        raw=ts.Bytes(),
        features=ts.Array("float16", (None, 4)),
        day=ts.Array("int32"),
    )
    vectors = rng.standard_normal((COUNT, 16)).astype(np.float32)
    lengths = rng.integers(1, 9, COUNT)
    with ts.create(path, schema, attachments={"tokenizer.json": b"{}" * 750}) as w:
        w.extend(
            tokens=ts.Ragged(rng.integers(0, 50_257, lengths.sum()), lengths),
            learn=ts.Ragged(rng.random(lengths.sum()) < 0.5, lengths),
            image=rng.integers(0, 391, (COUNT, 4, 4)),
            **dict.fromkeys(("exact", "small", "near", "tiny"), vectors),
            quality=np.linspace(-0.0, 0.75, COUNT),
            loss=[None] * 10 + [2.5] * (COUNT - 10),
            language=np.arange(COUNT) % 7,
            topics=ts.SoftLabels(np.tile([3, 5], (COUNT, 1)), np.tile([0.5, 0.25], (COUNT, 1)), 1000),
            source=["web", "books"] * (COUNT // 2),
            url=[None, *(f"https://example.org/page/{i:05d}" for i in range(COUNT - 1))],
            raw=[b"\x00"] * COUNT,
            features=[np.zeros((i % 3, 4), np.float16) for i in range(COUNT)],
            day=np.arange(COUNT) + 18_000,
        )
    made = ts.open(path)
    made.add_column("added", np.arange(100) / 4, ts.Score(), ids=np.arange(100))
    made.tag("clean")
    made.delete(np.arange(COUNT - 100, COUNT))
    made.where("language == 1").save("german")
    return made


def info(store: ts.Store, width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what ``tokstore info`` prints."""
    monkeypatch.setattr("tokstore.cli.output._WIDTH", width)
    done = CliRunner().invoke(cli, ["info", store.path], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def one_line(text: str) -> str:
    """Undo wrapping."""
    return " ".join(text.split())


@pytest.mark.parametrize("width", [80, 100, 140])
def test_all_is_said_at_every_width(store: ts.Store, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is wider than the terminal unless a path is, and nothing that matters depends on the width."""
    monkeypatch.setenv("COLUMNS", str(width))
    shown = info(store, width, monkeypatch)
    for text in (repr(store), shown):
        lines = text.splitlines()
        assert all(len(line) <= width for line in lines if store.path not in line)
        assert all(line == line.rstrip() for line in lines)
        table = lines[: next(i for i, line in enumerate(lines) if "deleted samples" in line)]
        assert [sum(line.split()[:1] == [name] for line in table) for name in store.schema.names] == [1] * 17
        said = one_line(text)
        assert "300 samples (100 deleted)" in said
        assert "bits/token with all columns" in said
        assert "columns count 100 deleted samples too" in said
        assert "100 samples are deleted, 25% of all: compact and then prune" in said
        for found in ("0 … 0.75", "18000 … 18399", "0 … 24.75", "https://examp… … https://examp…", "0 … 6"):
            assert found in said, found
        assert "-0" not in said
        assert "at most 0.01 off along each principal axis" in said
        assert "at most 24 bytes per vector, the rotation apart" in said
        assert "2 of 1,000 classes, probabilities as float16" in said
        assert "loss: at most 0.001 off" in said
        assert "rounded (all other columns come back bit for bit): small:" in said
        assert "exact:" not in said
        assert "attachments: tokenizer.json (1.5 kB)" in said
        assert "tags: clean (version 2)" in said
        assert "portuguese" in said
        assert "japanese" not in said, "long lists are cut"
        added = next(line for line in table if line.split()[:1] == ["added"])
        assert " 300" in added
    assert "saved views: german (43 samples)" in one_line(shown)
    assert f"tokstore cat {store.path} 0" in shown
    assert one_line(shown).count("measured per dimension: error rms") == len(MEASURED)
    assert one_line(shown).count(", recall@10 0.") + one_line(shown).count(", recall@10 1.") == len(MEASURED)
    assert "measured" not in repr(store), "files are not opened for that"


def test_numbers_of_a_column(store: ts.Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes, share of the store, bytes per sample and bits per value are those of the facts."""
    facts = store.describe()
    one = next(column for column in facts["columns"] if column["name"] == "exact")
    (line,) = (row for row in info(store, 200, monkeypatch).splitlines() if row.split()[:2] == ["exact", "Vector(16)"])
    nbytes = one["total_bytes"]
    assert line.split() == [
        "exact",
        "Vector(16)",
        f"{COUNT * 16:,}",
        f"{nbytes / 1000:.1f}",
        "kB",
        f"{nbytes / facts['bytes']['total']:.1%}",
        f"{nbytes / COUNT:.0f}",
        "B",
        f"{8 * nbytes / (COUNT * 16):.2f}",
    ]


def test_json_has_the_same(store: ts.Store) -> None:
    """Which columns are rounded, what was measured of them, and the saved views are facts too."""
    done = CliRunner().invoke(cli, ["info", store.path, "--json"], catch_exceptions=False)
    facts: dict[str, Any] = json.loads(done.stdout)
    assert [one["name"] for one in facts["columns"] if one["loss"] is not None] == sorted(
        ROUNDED, key=store.schema.names.index
    )
    measured = {one["name"]: one["quality"] for one in facts["columns"] if "quality" in one}
    assert set(measured) == set(MEASURED)
    assert all(0 < one["rms"] <= one["max"] and 0 < one["recall10"] <= 1 for one in measured.values())
    assert facts["views"] == [{"name": "german", "samples": 43, "version": 4, "recipe": "where('language == 1')"}]
    assert facts["tags"] == {"clean": 2}


def test_html_says_it_too(store: ts.Store) -> None:
    """A row per column, numbers to the right, and what is rounded below."""
    found = store._repr_html_()
    assert found.count("<tr>") == 18
    assert "<td>0 … 24.75</td>" in found
    assert '<td style="text-align:right">300</td>' in found
    assert "<p>near is rounded: at most 0.01 off along each principal axis</p>" in found
    assert "25% of all" in found


def test_a_store_of_tokens_is_short(tmp_path: Path) -> None:
    """With nothing to say there are no notes and no empty columns; bits per token are those of the one column."""
    with ts.create(tmp_path / "s", ts.Schema(tokens=ts.Tokens(300))) as w:
        w.append(tokens=[1, 2, 3])
    text = version_text("s", ts.open(tmp_path / "s").describe(), 100)
    assert "with all columns" not in text
    assert len(text.splitlines()) == 3
    assert text.splitlines()[1].split() == ["column", "type", "values", "bytes", "share", "per", "sample", "bits/value"]


def test_a_table_wraps_before_it_loses_columns() -> None:
    """Types wrap between words, then bits per value go, then values; names and bytes stay at any width."""
    row = {"column": "n" * 9, "type": "Type(aaaaaaaaaa, bbbbbbbbbb, c)", "values": "12", "bytes": "1 kB"}
    row |= {"bits/value": "3.00", "range": "0 … 1"}
    assert laid_out([row], 80)[1] == "nnnnnnnnn  Type(aaaaaaaaaa, bbbbbbbbbb, c)      12   1 kB        3.00  0 … 1"
    narrow = laid_out([row], 72)
    assert narrow[1].split() == ["nnnnnnnnn", "Type(aaaaaaaaaa,", "12", "1", "kB", "3.00", "0", "…", "1"]
    assert narrow[2].split() == ["bbbbbbbbbb,", "c)"]
    assert laid_out([row], 60)[0].split() == ["column", "type", "values", "bytes", "range"]
    assert laid_out([row], 50)[0].split() == ["column", "type", "bytes"]
    assert laid_out([row], 10)[0].split() == ["column", "type", "bytes"]
