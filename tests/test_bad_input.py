"""Every kind of bad input of a user: one clear error with this very text, nothing written, nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tokstore as ts
from files import tree

SCHEMA = ts.Schema(
    tokens=ts.Tokens(100), quality=ts.Score(), label=ts.Label(3, optional=True), url=ts.Text(optional=True)
)
GOOD: dict[str, Any] = {"tokens": [[1, 2], [3]], "quality": [0.5, 1.0]}
TOKENS_KINDS = "a Ragged, a 2-d array or a list of id sequences, one per sample"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of two samples, in one version."""
    with ts.create(tmp_path / "s", SCHEMA) as writer:
        writer.extend(GOOD)
    return tmp_path / "s"


BAD_BATCHES: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    (
        "id too large",
        {"tokens": [[1], [5, 100]]},
        ValueError,
        "column 'tokens': row 1 has an id outside 0 to 99, the vocabulary of the schema",
    ),
    (
        "id negative",
        {"tokens": [[-1], [5]]},
        ValueError,
        "column 'tokens': row 0 has an id outside 0 to 99, the vocabulary of the schema",
    ),
    (
        "id after empty rows",
        {"tokens": ts.Ragged([1, 100], [1, 0, 1])[[0, 2]]},
        ValueError,
        "column 'tokens': row 1 has an id outside 0 to 99, the vocabulary of the schema",
    ),
    (
        "ids floats",
        {"tokens": [[1.0], [2]]},
        TypeError,
        "column 'tokens': token ids are integers, not float64 of 1 dimensions",
    ),
    (
        "ids bool",
        {"tokens": [[True], [False]]},
        TypeError,
        "column 'tokens': token ids are integers, not bool of 1 dimensions",
    ),
    (
        "ids huge",
        {"tokens": [[2**70], [1]]},
        TypeError,
        "column 'tokens': token ids are integers, not object of 1 dimensions",
    ),
    ("ids strings", {"tokens": ["ab", "c"]}, TypeError, "column 'tokens': row 0 is str, not a sequence of token ids"),
    ("ids flat", {"tokens": [1, 2]}, TypeError, "column 'tokens': row 0 is int, not a sequence of token ids"),
    (
        "ids flat array",
        {"tokens": np.array([1, 2])},
        TypeError,
        f"column 'tokens' takes {TOKENS_KINDS}, not an array of int64 and shape (2,)",
    ),
    ("ids a string", {"tokens": "ab"}, TypeError, f"column 'tokens' takes {TOKENS_KINDS}, not str"),
    (
        "ids a generator",
        {"tokens": iter([[1], [2]])},
        TypeError,
        f"column 'tokens' takes {TOKENS_KINDS}, not list_iterator",
    ),
    (
        "ids deep",
        {"tokens": ts.Ragged(np.zeros((2, 3), int), [1, 1])},
        TypeError,
        "column 'tokens': token ids are integers, not int64 of 2 dimensions",
    ),
    (
        "tokens missing",
        {"tokens": [[1], None]},
        ValueError,
        "column 'tokens': row 1 is missing, but the column is not optional",
    ),
    (
        "score NaN",
        {"quality": [1.0, float("nan")]},
        ValueError,
        "column 'quality': row 1 is NaN, which only an optional score may be",
    ),
    (
        "score None",
        {"quality": [None, 1.0]},
        ValueError,
        "column 'quality': row 0 is missing, but the column is not optional",
    ),
    (
        "score masked",
        {"quality": np.ma.MaskedArray([1.0, 2.0], [False, True])},
        ValueError,
        "column 'quality': row 1 is missing, but the column is not optional",
    ),
    ("score text", {"quality": ["a", "b"]}, TypeError, "column 'quality' takes floating-point numbers, not <U1"),
    (
        "score complex",
        {"quality": np.array([1j, 2])},
        TypeError,
        "column 'quality' takes floating-point numbers, not complex128",
    ),
    ("score too large", {"quality": [1.0, 1e300]}, ValueError, "column 'quality': row 1 is too large for float32"),
    (
        "score one number",
        {"quality": 0.5},
        TypeError,
        "column 'quality' takes an array or list with one number per sample, not float",
    ),
    (
        "score 2-d",
        {"quality": np.zeros((2, 1))},
        TypeError,
        "column 'quality' has one number per sample, not an array of shape (2, 1)",
    ),
    ("label too large", {"label": [2, 3]}, ValueError, "column 'label': row 1 has a label outside 0 to 2"),
    ("label negative", {"label": [-1, 0]}, ValueError, "column 'label': row 0 has a label outside 0 to 2"),
    ("label float", {"label": [0.0, 1.0]}, TypeError, "column 'label' takes integers, not float64"),
    ("text bytes", {"url": ["a", b"b"]}, TypeError, "column 'url': row 1 is bytes, not str"),
    (
        "text surrogate",
        {"url": ["a", "\ud800"]},
        ValueError,
        "column 'url': row 1 has a lone surrogate, which UTF-8 cannot hold",
    ),
    ("text a string", {"url": "ab"}, TypeError, "column 'url' takes a list of strings, one per sample, not str"),
    (
        "lengths differ",
        {"quality": [1.0]},
        ValueError,
        "columns have different numbers of samples: tokens: 2, quality: 1",
    ),
    (
        "unknown column",
        {"qualty": [1.0, 2.0]},
        ts.ColumnError,
        "no column 'qualty'; did you mean 'quality'? There are: label, quality, tokens, url",
    ),
]


@pytest.mark.parametrize("wrong", BAD_BATCHES, ids=[one[0] for one in BAD_BATCHES])
def test_bad_batches(wrong: Any, store: Path) -> None:
    """The text names column, row and rule; nothing of the batch is written, and the writer goes on."""
    _, changes, kind, text = wrong
    before = tree(store)
    with pytest.raises(kind) as caught, ts.open(store).writer() as writer:
        writer.extend(GOOD | changes)
    assert str(caught.value) == text
    assert tree(store) == before
    with ts.open(store).writer() as writer:
        with pytest.raises(kind):
            writer.extend(GOOD | changes)
        writer.extend(GOOD)
    assert ts.open(store)["tokens"].to_list() == [[1, 2], [3]] * 2
    assert "100" not in text.replace("1000", "") or "shape" in text, "no content of samples in messages"


def test_needed_columns(store: Path) -> None:
    """A column that is needed and not given, in a batch and in one sample, and no column at all."""
    before = tree(store)
    with ts.open(store).writer() as writer:
        with pytest.raises(ts.ColumnError) as caught:
            writer.extend(tokens=[[1]])
        assert str(caught.value) == "column 'quality' is needed; There are: tokens"
        with pytest.raises(KeyError):
            writer.append(quality=1.0)
        with pytest.raises(TypeError):
            writer.append([1, 2])  # type: ignore[call-arg]
    assert tree(store) == before
    with ts.create(store.parent / "o", ts.Schema(a=ts.Text(optional=True))) as writer:
        with pytest.raises(ValueError, match="no column is given, so that the number of samples is not known"):
            writer.extend()
        writer.append()
        writer.extend(a=[None, "x"])
    assert ts.open(store.parent / "o")["a"] == [None, None, "x"]


def test_bad_samples_one_by_one(store: Path) -> None:
    """A bad sample given to `append` is reported at the latest when the block ends, and nothing becomes visible."""
    before = tree(store)
    text = "column 'tokens': row 0 has an id outside 0 to 99, the vocabulary of the schema"
    told = f"^the last appended sample: {text}$"
    with pytest.raises(ValueError, match=told), ts.open(store).writer() as w:  # noqa: PT012 - leaving the block fails
        w.append(tokens=[1], quality=1.0)
        w.append(tokens=[100], quality=1.0)
    assert tree(store) == before


def test_a_bad_sample_takes_no_other_with_it(store: Path) -> None:
    """A caller who catches the error and goes on has lost that one sample only."""
    with ts.open(store).writer() as w:
        w.append(tokens=[1], quality=1.0)
        w.append(tokens=[100], quality=2.0)
        w.append(tokens=[3], quality=3.0)
        with pytest.raises(ValueError, match="^the sample appended 1 before the last: column 'tokens'"):
            w.extend(GOOD)
        w.append(tokens=[4], quality=4.0)
    assert ts.open(store)["quality"].tolist()[2:] == [1.0, 3.0, 4.0]


def test_ragged_lengths_that_do_not_add_up() -> None:
    """`Ragged` itself refuses them."""
    with pytest.raises(ValueError, match="lengths add up to 4, but there are 3 values"):
        ts.Ragged([1, 2, 3], [2, 2])


BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"level": "best"}, ValueError, "level is one of plain, fast, default, small, not 'best'"),
    ({"exist": "replace"}, ValueError, 'exist is "error" or "append", not \'replace\''),
    ({"shard_tokens": 0}, ValueError, "shard_tokens is 1 or more, not 0"),
    ({"metadata": {"a": float("nan")}}, ValueError, "Out of range float values are not JSON compliant"),
    (
        {"metadata": {"a": "x" * 20_000}},
        ValueError,
        "metadata takes 20009 bytes as JSON, at most 16384 may (format.md 11)",
    ),
    ({"attachments": {"a": "/no/such/file"}}, FileNotFoundError, ""),
    ({"threads": 0}, ValueError, "threads is 1 or more, not 0"),
]


@pytest.mark.parametrize(("options", "kind", "text"), BAD_OPTIONS, ids=[next(iter(one[0])) for one in BAD_OPTIONS])
@pytest.mark.parametrize("name", ["s", "x.tok"])
def test_bad_options_of_create(
    options: dict[str, Any], kind: type[Exception], text: str, name: str, tmp_path: Path
) -> None:
    """Wrong options are refused before anything is made."""
    with pytest.raises(kind) as caught, ts.create(tmp_path / name, SCHEMA, **options):
        pass
    assert str(caught.value).startswith(text)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TypeError, match=r"schema is a tokstore\.Schema, not dict"):
        ts.create(tmp_path / name, {"a": 1})  # type: ignore[arg-type]


def test_existing_targets(store: Path, tmp_path: Path) -> None:
    """A store, a file, a folder with something in it: none is touched."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "x.tok").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("x")
    (tmp_path / "free").mkdir()
    before = tree(tmp_path)
    for name, text in (
        ("s", 'there is a store already; open it, or pass exist="append"'),
        ("file", "there is a file of that name; choose another name"),
        ("x.tok", "the file is there already; choose another name, or remove it"),
        ("full", "the folder is not empty: it holds 'notes.txt'; choose another folder"),
    ):
        with pytest.raises(ts.ExistsError) as caught:
            ts.create(tmp_path / name, SCHEMA)
        assert str(caught.value) == f"{tmp_path / name}: {text}"
    assert tree(tmp_path) == before
    with ts.create(tmp_path / "free", SCHEMA) as writer:
        writer.extend(GOOD)
    assert len(ts.open(tmp_path / "free")) == 2
    with pytest.raises(ts.MissingFileError, match="the folder for the file is not there"):
        ts.create(tmp_path / "no" / "x.tok", SCHEMA)


def test_appending_other_columns(store: Path) -> None:
    """`exist="append"` takes the same columns only."""
    before = tree(store)
    other = ts.Schema(tokens=ts.Tokens(101))
    with pytest.raises(ts.ConflictError) as caught:
        ts.create(store, other, exist="append")
    assert str(caught.value) == f"{store}: the store has other columns than those to append; it has {SCHEMA}"
    assert tree(store) == before
    with ts.create(store, SCHEMA, exist="append") as writer:
        writer.extend(GOOD)
    assert len(ts.open(store)) == 4


def test_appending_to_what_an_interrupted_create_left(tmp_path: Path, store: Path) -> None:
    """`exist="append"` creates the store where only its identity was written before."""
    (tmp_path / "left").mkdir()
    (tmp_path / "left" / "tokstore.json").write_bytes((store / "tokstore.json").read_bytes())
    with pytest.raises(ts.NotAStoreError, match="the store has no committed version"):
        ts.open(tmp_path / "left")
    with ts.create(tmp_path / "left", SCHEMA, exist="append") as writer:
        writer.extend(GOOD)
    assert len(ts.open(tmp_path / "left")) == 2


@pytest.mark.parametrize("name", ["s", "x.tok"])
def test_an_exception_in_the_block_leaves_nothing(name: str, tmp_path: Path) -> None:
    """Whatever happens between, no store and no file is left, even if shards were written."""
    with pytest.raises(KeyboardInterrupt), ts.create(tmp_path / name, SCHEMA, shard_tokens=3) as writer:  # noqa: PT012
        writer.extend(tokens=[[1, 2, 3]], quality=[0.0])
        raise KeyboardInterrupt
    assert tree(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="the writer is aborted"):
        writer.extend(GOOD)


def test_samples_that_do_not_fit_into_one_file(tmp_path: Path) -> None:
    """A single file is all there or not there at all."""
    told = "the samples do not fit into one file"
    with pytest.raises(ValueError, match=told), ts.create(tmp_path / "x.tok", SCHEMA, shard_tokens=3) as writer:
        writer.extend(tokens=[[1, 2, 3], [4, 5, 6]], quality=[0.0, 1.0])
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_came_meanwhile_stays(tmp_path: Path) -> None:
    """Somebody else's file of the same name wins, and nothing of ours is left."""
    with pytest.raises(ts.ExistsError), ts.create(tmp_path / "x.tok", SCHEMA) as writer:  # noqa: PT012
        writer.extend(GOOD)
        (tmp_path / "x.tok").write_text("theirs")
    assert tree(tmp_path) == {"x.tok": b"theirs"}
