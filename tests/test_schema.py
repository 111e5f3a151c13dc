"""Column types, schemas, and column records (format.md 6, registry.md 1)."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokstore as ts
from contracts import check_reader
from strategies import column_types, schemas
from tokstore.column_types import COLUMN_TYPES
from tokstore.errors import ColumnError, CorruptError
from tokstore.schema import Column, Schema
from tokstore.wire import decode_metadata, encode_metadata


@given(schemas())
def test_records_round_trip(schema: Schema) -> None:
    """A schema comes back from its records, through the bytes of a manifest too, and pickles."""
    again = Schema.from_records(decode_metadata(encode_metadata(schema.records())))
    assert again == schema
    assert hash(again) == hash(schema)
    assert list(again) == list(schema) == list(schema.names)
    assert pickle.loads(pickle.dumps(schema)) == schema
    levelled = schema.with_level("small")
    assert Schema.from_records(levelled.records()) == levelled != schema


@given(column_types())
def test_repr_makes_the_type_again(kind: Any) -> None:
    """`repr` is the call that makes the type."""
    names = {kind.__name__: kind for kind in COLUMN_TYPES.values()}
    assert eval(repr(kind), names) == kind  # noqa: S307 - text made here


def record(**changes: Any) -> dict[int, Any]:
    """A sound record of a token column, with changes such as k3=9; ``...`` leaves a key out."""
    made: dict[int, Any] = {1: 0, 2: "tokens", 3: 1, 4: {1: 256}, 5: False}
    made.update({int(key[1:]): value for key, value in changes.items()})
    return {key: value for key, value in made.items() if value is not ...}


BAD = {
    "no record": [1],
    "id kind": [record(k1="0")],
    "id bool": [record(k1=True)],
    "id negative": [record(k1=-1)],
    "id reserved": [record(k1=2**32 - 1)],
    "name kind": [record(k2=b"tokens")],
    "name empty": [record(k2="")],
    "name long": [record(k2="a" * 129)],
    "name line feed": [record(k2="a\n")],
    "name digit": [record(k2="1a")],
    "name letters": [record(k2="é")],
    "type kind": [record(k3="1")],
    "parameters kind": [record(k4=[256])],
    "parameters missing": [record(k4={})],
    "parameter unknown": [record(k4={1: 256, 5: 1})],
    "vocabulary 0": [record(k4={1: 0})],
    "vocabulary large": [record(k4={1: 2**32 + 1})],
    "vocabulary bool": [record(k4={1: True})],
    "vocabulary float": [record(k4={1: 256.0})],
    "special id": [record(k4={1: 256, 3: 256})],
    "special kind": [record(k4={1: 256, 3: "1"})],
    "optional kind": [record(k5=0)],
    "level kind": [record(k6=1)],
    "key unknown": [record(k7=1)],
    "score dtype": [record(k3=4, k4={1: 8})],
    "score bf16": [record(k3=4, k4={1: 10})],
    "score nothing": [record(k3=4, k4={})],
    "label float": [record(k3=5, k4={1: 11})],
    "label narrow": [record(k3=5, k4={1: 1})],
    "label wide": [record(k3=5, k4={1: 2, 2: 2})],
    "label names few": [record(k3=5, k4={1: 1, 2: 2, 3: "a\n"})],
    "label names open": [record(k3=5, k4={1: 1, 2: 1, 3: "a"})],
    "label names alone": [record(k3=5, k4={1: 1, 3: "a\n"})],
    "label names kind": [record(k3=5, k4={1: 1, 2: 1, 3: b"a\n"})],
    "label no classes": [record(k3=5, k4={1: 1, 2: 0})],
    "text parameter": [record(k3=9, k4={1: 1})],
    "ids descend": [record(k1=5), record(k1=4, k2="b")],
    "id twice": [record(k1=5), record(k1=5, k2="b")],
    "name twice": [record(k1=5), record(k1=6)],
    **{f"key {key} missing": [record(**{f"k{key}": ...})] for key in range(1, 6)},
}


@pytest.mark.parametrize("records", BAD.values(), ids=BAD)
def test_bad_records_are_refused(records: list[Any]) -> None:
    """Every rule of a column record, broken alone, is a `CorruptError` that names the section."""
    assert Schema.from_records([record()]).names == ("tokens",)
    with pytest.raises(CorruptError, match=r"\(format\.md 6\.1\)$"):
        Schema.from_records(records)


def test_keys_above_127_are_ignored() -> None:
    """Newer writers may add keys from 128 on, to records and to parameters."""
    found = Schema.from_records([record(k128=[1], k4={1: 256, 200: "x"})])
    assert found["tokens"] == ts.Tokens(256)


def test_unknown_types_stay_listed() -> None:
    """A type of a newer version is kept with its parameters, and its record does not change."""
    new = record(k1=7, k2="new", k3=99, k4={1: [1, 2], 9: "x"})
    schema = Schema.from_records([record(), new])
    assert schema.names == ("tokens", "new")
    assert schema.records()[1] == new
    assert repr(schema["new"]) == "UnknownType(99)"


@pytest.mark.hostile
@given(schemas())
def test_damaged_records(schema: Schema) -> None:
    """Damaged records are other records or a `CorruptError`, nothing else."""

    def read(data: bytes) -> list[dict[int, object]]:
        return Schema.from_records(decode_metadata(data)).records()

    check_reader(read, encode_metadata(schema.records()), is_checked=False, flips=60, allowed=4 << 20)


def test_primary_column() -> None:
    """The first tokens, else the first ragged column, else the first."""
    score, text, tokens = ts.Score(), ts.Text(), ts.Tokens(9)
    assert Schema(s=score, t=text, a=tokens, b=tokens).primary.name == "a"
    assert Schema(s=score, t=text).primary.name == "t"
    assert Schema(s=score, u=score).primary.name == "s"


def test_dtypes_at_rest() -> None:
    """Ids take 2 bytes up to 65,536 of them; labels the fewest bytes."""
    assert [ts.Tokens(n).dtype.itemsize for n in (1, 65_536, 65_537, 2**32)] == [2, 2, 4, 4]
    assert [ts.Label(n).dtype.name for n in (1, 256, 257, 65_536, 65_537, 2**32)] == [
        "uint8", "uint8", "uint16", "uint16", "uint32", "uint32",
    ]  # fmt: skip
    assert ts.Label().dtype.name == "int64"
    assert ts.Label(names=["a", "b"]).classes == 2


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (lambda: ts.Tokens(0), ValueError, "vocab_size is an integer from 1 to 2**32, not 0"),
        (lambda: ts.Tokens(2**32 + 1), ValueError, "vocab_size is an integer from 1 to 2**32, not 4294967297"),
        (lambda: ts.Tokens(True), ValueError, "vocab_size is an integer from 1 to 2**32, not True"),
        (lambda: ts.Tokens(9, eos_id=9), ValueError, "eos_id is an id below vocab_size 9, not 9"),
        (lambda: ts.Tokens(9, pad_id=-1), ValueError, "pad_id is an id below vocab_size 9, not -1"),
        (lambda: ts.Score("int32"), ValueError, "a Score is float16, float32 or float64, not int32"),
        (lambda: ts.Label(0), ValueError, "classes is an integer from 1 to 2**32, not 0"),
        (lambda: ts.Label(3, names=["a"]), ValueError, "names are 3 strings without line feeds, one per class"),
        (lambda: ts.Label(names=["a\n"]), ValueError, "names are 1 strings without line feeds, one per class"),
        (lambda: ts.Label(names=[]), ValueError, "classes is an integer from 1 to 2**32, not 0"),
        (lambda: ts.Schema(), ValueError, "a schema has at least one column"),
        (lambda: ts.Schema(a=5), TypeError, "column 'a' is a column type such as Tokens(50_257), not 5"),
        (
            lambda: ts.Schema({"a b": ts.Text()}),
            ValueError,
            "column name 'a b' is not [A-Za-z_][A-Za-z0-9_]* of 1 to 128 characters (format.md 6.1)",
        ),
    ],
)
def test_wrong_types_are_refused(make: Any, kind: type[Exception], text: str) -> None:
    """Bad arguments say what is expected and what was found."""
    with pytest.raises(kind) as caught:
        make()
    assert str(caught.value) == text


def test_names_that_cannot_be_columns() -> None:
    """A name that is no string, and the name of the sample ids, which batches carry beside the columns."""
    with pytest.raises((TypeError, ValueError)):
        ts.Schema({5: ts.Text()})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="sample_id"):
        ts.Schema(sample_id=ts.Label())


def test_numbers_of_numpy_are_taken() -> None:
    """Vocabularies and classes may be numpy integers, and still become plain msgpack."""
    schema = ts.Schema(a=ts.Tokens(np.int64(300), eos_id=np.uint8(3)), b=ts.Label(np.int32(4)))  # type: ignore[arg-type]
    assert Schema.from_records(decode_metadata(encode_metadata(schema.records()))) == schema


def test_unknown_column_says_what_was_meant() -> None:
    """`ColumnError` is a `KeyError` too, with its own message."""
    schema = ts.Schema(tokens=ts.Tokens(9), quality=ts.Score())
    with pytest.raises(KeyError) as caught:
        schema["qualty"]
    assert isinstance(caught.value, ColumnError)
    assert str(caught.value) == "no column 'qualty'; did you mean 'quality'? There are: quality, tokens"
    with pytest.raises(TypeError):
        schema[5]  # type: ignore[index]
    assert "quality" in schema
    assert 5 not in schema


def test_column_ids_are_counted_from_zero_and_kept() -> None:
    """A new schema numbers its columns; one of records keeps their numbers."""
    assert [column.column_id for column in ts.Schema(a=ts.Text(), b=ts.Text()).columns] == [0, 1]
    kept = Schema.from_columns([Column(3, "a", ts.Text()), Column(9, "b", ts.Text())])
    assert [record[1] for record in kept.records()] == [3, 9]


@given(st.text(max_size=4))
def test_names_are_ascii_identifiers(name: str) -> None:
    """Exactly the names of the page are taken."""
    good = name.isascii() and name.isidentifier()
    if good:
        assert ts.Schema({name: ts.Text()}).names == (name,)
    else:
        with pytest.raises(ValueError, match="column name"):
            ts.Schema({name: ts.Text()})
