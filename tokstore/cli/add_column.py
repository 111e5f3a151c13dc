"""``tokstore add-column``: values from a file become a column."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from tokstore.cli.output import json_option, print_json
from tokstore.cli.progress import progress_bars
from tokstore.cli.store_path import STORE

if TYPE_CHECKING:
    from tokstore.column_types import ColumnType

__all__ = ["add_column"]

LEVELS = ("plain", "fast", "default", "small")
_AT_ONCE = 8192
Row = tuple[int | None, Any]
"""Sample id, if the file has them, and value."""


@click.command("add-column", short_help="Add a column from a file.")
@click.argument("store", type=STORE)
@click.argument("name")
@click.argument("source", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--type",
    "kind",
    metavar="TYPE",
    help="score, score:float16, label, label:10, category, text, vector:384 or tokens:50257.",
)
@click.option("--field", help="The field of a JSON line, or column of a CSV file; NAME by default.")
@click.option("--id-field", help="The field with the sample ids that the values belong to.")
@click.option("--fill", is_flag=True, help="Fill the column if it is there; needs --id-field.")
@click.option("--required", is_flag=True, help="Samples that are appended later have to have it too.")
@click.option("--level", type=click.Choice(LEVELS), help="How hard to compress; by default as the primary column.")
@json_option
def add_column(
    store: str,
    name: str,
    source: str,
    kind: str | None,
    field: str | None,
    id_field: str | None,
    fill: bool,
    required: bool,
    level: str | None,
    as_json: bool,
) -> None:
    """Add to STORE the column NAME with the values in SOURCE, one per sample in order. No shard is rewritten.

    SOURCE is an array in a .npy file, a .jsonl file with one object per line, or a .csv file with a line of names. Of a
    .npy file, numbers with a fraction are a score and integers are labels unless --type says otherwise; with two
    dimensions they are vectors, or arrays of integers.

    \b
    Examples:
      tokstore add-column corpus quality scores.npy
      tokstore add-column corpus embedding vectors.npy
      tokstore add-column corpus language langs.jsonl --type category --field lang
      tokstore add-column corpus cluster clusters.csv --type label --id-field sample_id
    """
    is_array = source.endswith(".npy")
    if not source.endswith((".npy", ".jsonl", ".ndjson", ".csv")):
        raise click.UsageError("SOURCE ends in .npy, .jsonl or .csv.")
    if is_array and (field is not None or id_field is not None):
        raise click.UsageError("--field and --id-field are for .jsonl and .csv files.")
    if not is_array and kind is None:
        raise click.UsageError("--type is needed for .jsonl and .csv files.")
    if fill and id_field is None:
        raise click.UsageError("--fill needs --id-field.")
    from tokstore.describe_text import count_text
    from tokstore.opening import open_store

    opened = open_store(store)
    values: Any
    ids: list[int] | None = None
    if is_array:
        import numpy as np

        values = np.load(source, mmap_mode="r", allow_pickle=False)
        made = _type_of_array(values) if kind is None else _type(kind)
    else:
        made = _type(kind or "")
        read = _csv_rows if source.endswith(".csv") else _json_rows
        rows = read(source, field or name, id_field, _reader(kind or ""))
        if id_field is None:
            values = _batches(value for _, value in rows)
        else:
            ids, values = [], []
            for one, value in rows:
                ids.append(one or 0)
                values.append(value)
    with progress_bars() as progress:
        opened.add_column(
            name,
            values,
            made,
            ids=ids,
            optional=not required,
            exist="fill" if fill else "error",
            level=level,
            progress=progress,
        )
    missing = opened.describe()["columns"][opened.schema.names.index(name)]["missing"] if as_json else None
    if as_json:
        print_json({"path": store, "version": opened.version, "column": name, "missing": missing})
        return
    click.echo(f"{store}: version {opened.version}: column {name} ({made!r}) of {count_text(len(opened))} samples")


def _type(text: str) -> ColumnType:
    """Return the column type that is written as a word, with a number or dtype behind a colon."""
    from tokstore.column_types import Category, Label, Score, Text, Tokens, Vector

    word, _, rest = text.partition(":")
    makers: dict[str, Callable[[], ColumnType]] = {
        "score": lambda: Score(rest or "float32"),
        "label": lambda: Label(int(rest) if rest else None),
        "category": Category,
        "text": Text,
        "vector": lambda: Vector(int(rest)),
        "tokens": lambda: Tokens(int(rest)),
    }
    try:
        return makers[word]()
    except (KeyError, ValueError, TypeError) as error:
        raise click.UsageError(f"{text!r} is no type such as score, score:float16, label:10 or text.") from error


def _type_of_array(values: Any) -> ColumnType:
    """Return the column type that keeps an array as it is."""
    from tokstore.column_types import Array, Label, Score, Vector

    if values.ndim == 2 and values.dtype.name in ("float16", "float32"):
        return Vector(values.shape[1], values.dtype.name)
    if values.ndim > 1 and values.dtype.kind in "iu":
        return Array(values.dtype.name, values.shape[1:])
    if values.dtype.kind == "f" and values.dtype.itemsize <= 8:
        return Score(values.dtype.name)
    if values.dtype.kind in "iu":
        return Label()
    raise ValueError(f"an array of {values.dtype} needs --type")


def _reader(kind: str) -> Callable[[str], Any]:
    """Return what makes a value of a word in a CSV file; nothing between two commas is a missing value."""
    word = kind.partition(":")[0]
    if word == "text":
        return str
    if word == "category":
        return lambda text: text or None
    if word == "vector":
        return lambda text: [float(one) for one in text.split()] if text else None
    if word == "tokens":
        return lambda text: [int(one) for one in text.split()] if text else None
    read: Callable[[str], Any] = int if word == "label" else float
    return lambda text: read(text) if text else None


def _batches(values: Iterator[Any]) -> Iterator[list[Any]]:
    """Yield values in lists."""
    while batch := list(islice(values, _AT_ONCE)):
        yield batch


def _json_rows(path: str, field: str, id_field: str | None, read: Callable[[str], Any]) -> Iterator[Row]:
    """Yield ids and values of JSON lines."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
                yield (None if id_field is None else int(found[id_field])), found[field]
            except (ValueError, KeyError, TypeError) as error:
                raise _wrong(path, number, field, id_field) from error


def _csv_rows(path: str, field: str, id_field: str | None, read: Callable[[str], Any]) -> Iterator[Row]:
    """Yield ids and values of a CSV file."""
    with open(path, encoding="utf-8", newline="") as file:
        lines = csv.DictReader(file)
        for found in lines:
            try:
                yield (None if id_field is None else int(found[id_field])), read(found[field])
            except (ValueError, KeyError, TypeError) as error:
                raise _wrong(path, lines.line_num, field, id_field) from error


def _wrong(path: str, line: int, field: str, id_field: str | None) -> ValueError:
    """Return what is wrong with a line."""
    fields = repr(field) if id_field is None else f"{field!r} and {id_field!r}"
    return ValueError(f"{path}:{line}: {fields} cannot be read from this line")
