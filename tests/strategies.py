"""Hypothesis strategies: schemas, samples of every kind, and how a store has to give them back.

A sample is a dict of plain Python values. `as_batch` turns samples into one of the forms that `Writer.extend` takes,
and `same_sample` compares what came back with the plain values, bit for bit where bits count.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import tokstore as ts
from tokstore.schema import Schema

VOCABULARIES = (1, 2, 3, 256, 65_536, 65_537, 128_256, (1 << 31) + 1, 1 << 32)
NAMES = ("tokens", "quality", "label", "url", "_x", "A9")
Sample = dict[str, Any]


def small_blocks(monkeypatch: pytest.MonkeyPatch, target: int = 8) -> None:
    """Make blocks so small that short samples are cut and a few samples need many blocks.

    Targets are advice for writers (format.md 4.3), so that readers have to take them as they come.
    """
    for kind in (ts.Tokens, ts.Score, ts.Label, ts.Text):
        monkeypatch.setattr(kind, "block_target", target)
    monkeypatch.setattr("tokstore.block.SPAN_VALUES", 3 * target)
    monkeypatch.setattr("os.fsync", lambda handle: None)  # hundreds of stores a test, and no power is cut


def label_types() -> st.SearchStrategy[ts.Label]:
    """Labels: any integer, few classes, many, named ones."""
    names = st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])), min_size=1, max_size=4)
    return st.one_of(
        st.builds(ts.Label, optional=st.booleans()),
        st.builds(ts.Label, st.sampled_from([1, 2, 256, 257, 65_536, 65_537, 1 << 32]), optional=st.booleans()),
        st.builds(lambda given, optional: ts.Label(names=given, optional=optional), names, st.booleans()),
    )


def token_types() -> st.SearchStrategy[ts.Tokens]:
    """Token columns of every width."""

    def build(vocab_size: int, special: int, optional: bool) -> ts.Tokens:
        return ts.Tokens(vocab_size, eos_id=special % vocab_size if special else None, optional=optional)

    return st.builds(build, st.sampled_from(VOCABULARIES), st.integers(0, 5), st.booleans())


def column_types() -> st.SearchStrategy[Any]:
    """Any column type that can be written."""
    scores = st.builds(ts.Score, st.sampled_from(["float16", "float32", "float64"]), optional=st.booleans())
    return st.one_of(token_types(), scores, label_types(), st.builds(ts.Text, optional=st.booleans()))


def schemas() -> st.SearchStrategy[Schema]:
    """Schemas of 1 to 5 columns."""
    return st.dictionaries(st.sampled_from(NAMES), column_types(), min_size=1, max_size=5).map(Schema)


def lengths() -> st.SearchStrategy[int]:
    """Lengths of samples: empty, short, and longer than a small block."""
    return st.one_of(st.just(0), st.integers(1, 4), st.integers(5, 60))


@st.composite
def token_rows(draw: st.DrawFn, vocab_size: int) -> list[int]:
    """Ids of one sample; the largest ids come often."""
    ids = st.one_of(st.integers(0, vocab_size - 1), st.just(vocab_size - 1), st.integers(0, min(9, vocab_size - 1)))
    count = draw(lengths())
    if count > 8:
        few = draw(st.lists(ids, min_size=1, max_size=8))
        return (few * count)[:count]
    return draw(st.lists(ids, min_size=count, max_size=count))


def scores(kind: ts.Score) -> st.SearchStrategy[float]:
    """Numbers that a score can hold, with both zeros and, where it is allowed, NaN."""
    width = {"float16": 16, "float32": 32, "float64": 64}[kind.dtype.name]
    return st.floats(width=width, allow_nan=kind.optional)  # type: ignore[arg-type]


def labels(kind: ts.Label) -> st.SearchStrategy[int]:
    """Integers that a label can hold; the ends come often."""
    low, high = (0, kind.classes - 1) if kind.classes is not None else (-(2**63), 2**63 - 1)
    return st.one_of(st.integers(low, high), st.sampled_from([low, high]))


def values(kind: Any) -> st.SearchStrategy[Any]:
    """A value of a column, ``None`` where it may be missing."""
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    found: st.SearchStrategy[Any]
    if isinstance(kind, ts.Tokens):
        found = token_rows(kind.vocab_size)
    elif isinstance(kind, ts.Score):
        found = scores(kind)
    elif isinstance(kind, ts.Label):
        found = labels(kind)
    else:
        found = texts
    return st.one_of(st.none(), found) if kind.optional else found


def samples(schema: Schema, max_size: int = 12) -> st.SearchStrategy[list[Sample]]:
    """Samples of a schema."""
    one = st.fixed_dictionaries({name: values(schema[name]) for name in schema.names})
    return st.lists(one, max_size=max_size)


def as_batch(schema: Schema, rows: list[Sample], form: int) -> dict[str, Any]:
    """Turn samples into a batch: lists, or `Ragged` and (masked) arrays where nothing else is missing."""
    batch: dict[str, Any] = {}
    for name in schema.names:
        kind, column = schema[name], [row[name] for row in rows]
        if form == 0 or isinstance(kind, ts.Text):
            batch[name] = column
        elif isinstance(kind, ts.Tokens):
            wide = np.dtype([np.uint32, np.int64, np.uint64, ">u8"][form % 4])
            if any(one is None for one in column) or (wide == np.uint32 and form % 2):
                batch[name] = [None if one is None else np.array(one, wide) for one in column]
            else:
                flat = np.array([id_ for one in column for id_ in one], wide)
                batch[name] = ts.Ragged(flat, [len(one) for one in column])
        else:
            dtype = kind.dtype if isinstance(kind, ts.Score) or form % 2 else np.dtype(np.int64)
            mask = [one is None for one in column]
            array = np.array([0 if one is None else one for one in column], dtype)
            batch[name] = np.ma.MaskedArray(array, mask) if any(mask) else array
    return batch


def plain(value: Any) -> Any:
    """Give a value of a sample as it can be compared: floats by their bits, arrays as lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    return value


def same_sample(schema: Schema, found: Sample, expected: Sample) -> bool:
    """Tell whether a sample that was read has the values that were written."""
    return all(plain(found[name]) == plain(expected[name]) for name in schema.names)


def batch_rows(schema: Schema, batch: dict[str, Any]) -> list[Sample]:
    """Take a delivered batch apart into samples; missing numbers are NaN or masked, missing runs are empty."""
    columns: dict[str, list[Any]] = {}
    for name in schema.names:
        got = batch[name]
        columns[name] = (
            got.to_list() if isinstance(got, ts.Ragged) else list(got) if isinstance(got, list) else got.tolist()
        )
    count = len(batch["sample_id"])
    return [{name: column[i] for name, column in columns.items()} for i in range(count)]


def delivered(schema: Schema, sample: Sample) -> Sample:
    """Give a sample as it stands in a batch, where a missing run of tokens is empty and a missing score is NaN."""
    made = dict(sample)
    for name in schema.names:
        if sample[name] is None and isinstance(schema[name], ts.Tokens):
            made[name] = []
        if sample[name] is None and isinstance(schema[name], ts.Score):
            made[name] = math.nan
    return made
