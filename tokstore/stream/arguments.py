"""Checks of the arguments of a stream: what is wrong is said where it was given."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np

__all__ = ["emitted", "integer", "one_of", "special"]


def integer(name: str, value: object, least: int, most: int) -> int:
    """Return an integer argument, or refuse it."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} is an integer, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} is an integer from {least} to {most}, not {value}")
    return int(value)


def one_of(name: str, value: object, known: tuple[object, ...]) -> None:
    """Refuse a choice that does not exist."""
    if value not in known:
        raise ValueError(f"{name} is one of {', '.join(map(repr, known))}, not {value!r}")


def emitted(
    emit: Sequence[str], labels: str | None, keys: Sequence[str], columns: Sequence[str], *, what: str = "emit"
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names that a batch has, and those of them that are columns, or refuse unknown ones."""
    for name in emit:
        if name not in keys and name not in columns:
            close = get_close_matches(name, [*keys, *columns], 1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            among = f"none of {', '.join(keys)}, nor a column" if keys else "no column"
            raise ValueError(f"{what} has {name!r}, which is {among}: {', '.join(columns)}{meant}")
    chosen = tuple(name for name in dict.fromkeys(emit) if name != "labels" or labels is not None)
    if not chosen:
        raise ValueError("emit names nothing that a batch could have")
    return chosen, tuple(name for name in chosen if name not in keys)


def special(name: str, given: object, stored: int | None, vocab_size: int) -> int | None:
    """Return the id to insert: the one that was given, or the one of the column."""
    value = stored if given == "schema" else given
    return None if value is None else integer(name, value, 0, vocab_size - 1)
