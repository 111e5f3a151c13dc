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
from tokstore.column_types import COLUMN_TYPES
from tokstore.schema import Schema

VOCABULARIES = (1, 2, 3, 256, 65_536, 65_537, 128_256, (1 << 31) + 1, 1 << 32)
ENDS = st.sampled_from([[5], [2, 5]])
ARRAYS = ("bool", "int8", "uint16", "int64", "uint64", "float16", "float32", "bfloat16")
NAMES = ("tokens", "quality", "label", "url", "_x", "A9")
Sample = dict[str, Any]


def small_blocks(monkeypatch: pytest.MonkeyPatch, target: int = 8) -> None:
    """Make blocks so small that short samples are cut and a few samples need many blocks.

    Targets are advice for writers (format.md 4.3), so that readers have to take them as they come.
    """
    for kind in COLUMN_TYPES.values():
        monkeypatch.setattr(kind, "block_target", target)
    monkeypatch.setattr(ts.Vector, "block_rows", 3)
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
    plain = st.one_of(token_types(), scores, label_types(), st.builds(ts.Text, optional=st.booleans()))
    shapes = st.sampled_from([(), (3,), (2, 2), (None,), (None, 2)])
    more = st.one_of(
        st.builds(ts.Codes, st.sampled_from([2, 5, 300, 65_536]), shapes.filter(bool), optional=st.booleans()),
        st.builds(
            lambda d, g, o: ts.Vector(d, groups=[*g, d], optional=o),
            st.just(5),
            st.sampled_from([[], [2]]),
            st.booleans(),
        ),
        st.builds(ts.Label, st.sampled_from([None, 3]), shape=shapes.filter(bool), optional=st.booleans()),
        st.builds(ts.Array, st.sampled_from(ARRAYS), shapes, optional=st.booleans()),
        st.builds(ts.Mask, st.none(), optional=st.booleans()),
        st.builds(ts.Category, optional=st.booleans()),
        st.builds(ts.Bytes, optional=st.booleans()),
    )
    return st.one_of(plain, more)


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


def numbers_of(kind: Any) -> st.SearchStrategy[Any]:
    """One number of an array."""
    if isinstance(kind, ts.Codes):
        return st.integers(0, kind.size - 1)
    if isinstance(kind, ts.Label):
        return labels(kind)
    if kind.dtype_number == 13:
        return st.booleans()
    if kind.dtype_number == 10:
        return st.sampled_from([0.0, -0.0, 1.5, -3.0, math.nan, math.inf])
    if kind.dtype.kind == "f":
        return st.floats(width=8 * kind.dtype.itemsize)
    info = np.iinfo(kind.dtype)
    return st.integers(int(info.min), int(info.max))


@st.composite
def arrays_of(draw: st.DrawFn, kind: Any) -> Any:
    """One sample of a shape, as nested lists."""
    shape = [draw(st.integers(0, 7)) if one is None else one for one in kind.shape]
    number = numbers_of(kind)

    def nested(dims: list[int]) -> Any:
        return draw(number) if not dims else [nested(dims[1:]) for _ in range(dims[0])]

    return nested(shape)


def values(kind: Any) -> st.SearchStrategy[Any]:
    """A value of a column, ``None`` where it may be missing."""
    texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
    if isinstance(kind, (ts.Category, ts.Bytes)):
        found = st.sampled_from(["", "web", "böök"]) if isinstance(kind, ts.Category) else st.binary(max_size=20)
        return st.one_of(st.none(), found) if kind.optional else found
    if isinstance(kind, (ts.Codes, ts.Vector, ts.Array, ts.Mask)) or (kind.shape != () and isinstance(kind, ts.Label)):
        made = arrays_of(kind)
        return st.one_of(st.none(), made) if kind.optional else made
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
        if isinstance(kind, (ts.Codes, ts.Vector, ts.Array, ts.Mask)) or (kind.shape and isinstance(kind, ts.Label)):
            typed = np.dtype(np.float32) if kind.dtype_number == 10 else kind.dtype
            inner = tuple(one or 0 for one in kind.shape) if not kind.ragged else (-1, *kind.shape[1:])
            batch[name] = [None if one is None else np.array(one, typed).reshape(inner) for one in column]
            if form % 2 and not kind.ragged and rows and not any(one is None for one in column):
                batch[name] = np.stack(batch[name])
        elif form == 0 or isinstance(kind, (ts.Text, ts.Bytes, ts.Category)):
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
        value = value.tolist()
    if isinstance(value, list):
        return [plain(one) for one in value]
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
        kind = schema[name]
        if sample[name] is not None or isinstance(kind, (ts.Text, ts.Bytes, ts.Category)):
            continue
        if kind.ragged:
            made[name] = []
        elif kind.has_nan or kind.shape:
            made[name] = np.full(kind.shape, math.nan if kind.has_nan else None).tolist()
    return made
