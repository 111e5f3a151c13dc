"""What the verbs of a view come down to: which places, in which order, with which weights.

Functions of arrays. `Read` gives the value that every sample of the view has in a field, and which are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore import draws
from tokstore.packed import Ints
from tokstore.schema import Schema
from tokstore.where import Field, Node, bind, bind_field, parse, parse_tuples
from tokstore.where.fields import ID

__all__ = ["Read", "bound", "by_function", "drawn", "numbers", "sorted_places", "split_parts", "top_places"]

Read = Callable[[Field], tuple[Any, NDArray[np.bool_]]]
Lengths = Callable[[], Ints]
Bools = NDArray[np.bool_]
Batch = dict[str, Any]


def bound(condition: object, schema: Schema) -> tuple[Node, str]:
    """Return a condition bound to columns, and its text."""
    if isinstance(condition, str):
        return bind(parse(condition), schema, condition), condition
    if isinstance(condition, (list, tuple)):
        written, text = parse_tuples(condition)
        return bind(written, schema), text
    raise TypeError(f"a condition is text, a list of tuples or a function, not {type(condition).__name__}")


def by_function(decide: Callable[[Batch], Any], batches: Any) -> Ints:
    """Return the places for which a function of batches says yes."""
    parts = [np.zeros(0, bool)]
    for batch in batches:
        found, count = decide(batch), len(batch["sample_id"])
        found = np.asarray(found.filled(False) if isinstance(found, np.ma.MaskedArray) else found)
        if found.dtype != bool or found.shape != (count,):
            raise TypeError(
                f"the function of where() returns one boolean per sample, {count} here, not an array of {found.dtype} "
                f"and shape {found.shape}"
            )
        parts.append(found)
    return np.flatnonzero(np.concatenate(parts))


def number_field(schema: Schema, by: str) -> Field:
    """Return a field of numbers."""
    field = bind_field(schema, by)
    if field.is_text:
        raise TypeError(f"column {by!r} is text, and numbers are needed")
    return field


def numbers(read: Read, schema: Schema, by: str) -> tuple[NDArray[np.float64], Bools]:
    """Return a column as float64, and which samples are missing."""
    values, missing = read(number_field(schema, by))
    return values.astype(np.float64), missing


def sorted_places(read: Read, schema: Schema, by: str, descending: bool) -> Ints:
    """Return all places in the order of a column: then NaN, then missing; equal ones keep their order."""
    field = bind_field(schema, by)
    values, missing = read(field)
    last = missing
    if field.is_text:
        places = np.array(sorted(range(len(values)), key=values.__getitem__, reverse=descending), np.int64)
    else:
        last = missing | np.isnan(values)
        order = np.argsort(values[::-1] if descending else values, kind="stable")
        places = len(values) - 1 - order[::-1] if descending else order
    rest = np.flatnonzero(last)
    return np.concatenate([places[~last[places]], rest[np.argsort(missing[rest], kind="stable")]])


def top_places(
    read: Read, schema: Schema, by: str, lowest: bool, amount: tuple[int | None, int | None], lengths: Lengths
) -> Ints:
    """Return the places of the highest or lowest values; missing and NaN are never taken."""
    values, missing = read(number_field(schema, by))
    usable = ~(missing | np.isnan(values))
    if values.dtype.kind == "u":
        values = values.astype(np.int64)
    keys = values if lowest else -values if values.dtype.kind == "f" else ~values
    return draws.lowest_places(keys, usable, *amount, lengths)


def drawn(
    ids: Ints, seed: int, weights: NDArray[np.float64] | None, amount: tuple[int | None, int | None], lengths: Lengths
) -> Ints:
    """Return the places of a sample without replacement."""
    hashes = draws.sample_hashes(ids, seed, draws.SAMPLE)
    if weights is None:
        return draws.lowest_places(hashes, None, *amount, lengths)
    return draws.lowest_places(draws.exponential_keys(hashes, weights), weights > 0, *amount, lengths)


def split_parts(read: Read, schema: Schema, shares: Mapping[str, float], by: str | None, seed: int) -> list[Ints]:
    """Return the places of every part of a split."""
    bounds = draws.share_bounds(shares)
    hashes = draws.sample_hashes(read(Field(ID))[0], seed, draws.SPLIT)
    if by is not None:
        field = bind_field(schema, by)
        values, missing = read(field)
        groups = draws.text_hashes(values, seed) if field.is_text else draws.value_hashes(values, seed)
        hashes = np.where(missing, hashes, groups)  # what belongs to no group goes its own way
    part = np.searchsorted(bounds, hashes, side="right")
    return [np.flatnonzero(part == number) for number in range(len(shares))]


def named(call: str, **options: object) -> str:
    """Write a verb for people, without the options that were not given.

    Example:
        >>> named("top", column="q", n=3, tokens=None)
        "top(column='q', n=3)"
    """
    return f"{call}({', '.join(f'{key}={value!r}' for key, value in options.items() if value is not None)})"


def name_of(one: object) -> str:
    """Name a function or an array for people."""
    if isinstance(one, (np.ndarray, Sequence)) and not isinstance(one, str):
        return f"{len(one)} values"
    return getattr(one, "__name__", type(one).__name__)
