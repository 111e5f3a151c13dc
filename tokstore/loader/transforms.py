"""`transform=`: a function of the user that changes batches, with random numbers that do not depend on who calls it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tokstore.loader.batch import Batch
from tokstore.order import TRANSFORM, derive_key
from tokstore.stream.collate import Split

__all__ = ["Transform", "generator_of", "joined", "transformed"]

Transform = Callable[[Any, np.random.Generator], Any]


def generator_of(seed: int, row: int) -> np.random.Generator:
    """Return the generator of a batch: Philox4x64-10 with a key of order.md 2.2 (order.md 7.9).

    Args:
        seed: As of the stream.
        row: First row of the batch, counted over all epochs.

    Example:
        >>> int(generator_of(0, 16).integers(1000)) == int(generator_of(0, 16).integers(1000))
        True
    """
    return np.random.Generator(np.random.Philox(key=derive_key(seed, TRANSFORM, 0, window=row)))


def transformed(transform: Transform, batch: Any, rows: range, next_row: int, seed: int, number: int) -> Any:
    """Return what becomes of a batch, or of one row as a plain dict.

    Args:
        transform: Changes it in place and returns None, or returns what takes its place.
        batch: The `Batch`, or the row.
        rows: Rows of the batch, counted over all epochs.
        next_row: The row after the global batch.
        seed: As of the stream.
        number: Number of the batch in the pass.

    Raises:
        RuntimeError: The transform raised something, which is its cause.
        TypeError: It returned something else than a mapping or None.
    """
    where = f"batch {number} of this pass, whose first row is {rows.start}"
    try:
        made = transform(batch, generator_of(seed, rows.start))
    except Exception as error:
        raise RuntimeError(f"transform failed at {where}: {type(error).__name__}: {error}") from error
    made = batch if made is None else made
    if not isinstance(made, Mapping):
        raise TypeError(f"transform returned {type(made).__name__} at {where}; it returns a mapping of names, or None")
    tensors = {name: torch.from_numpy(one) if isinstance(one, np.ndarray) else one for name, one in made.items()}
    return Batch(tensors, rows, next_row) if isinstance(batch, Batch) else tensors


def joined(batches: Sequence[Mapping[str, Any]], *, plain: bool) -> dict[str, Split | list[Any]]:
    """Return what batches have by name, tensors of the same kind as one array, which crosses processes faster.

    Args:
        batches: The batches.
        plain: They are single rows, which become batches of one row.

    Raises:
        ValueError: Batches have other names than the first.
    """
    if plain:
        batches = [{name: _as_batch(one) for name, one in row.items()} for row in batches]
    made: dict[str, Split | list[Any]] = {}
    for number, batch in enumerate(batches):
        if list(batch) != list(batches[0]):
            raise ValueError(
                f"transform gave {', '.join(batches[0])} for one batch and {', '.join(batch)} for the {number}th after "
                "it; batches of a loader with workers have the same names"
            )
    for name in batches[0]:
        values = [batch[name] for batch in batches]
        first = values[0]
        alike = all(
            torch.is_tensor(one) and one.ndim and one.dtype == first.dtype and one.shape[1:] == first.shape[1:]
            for one in values
        )
        if not alike or first.dtype == torch.bfloat16 or first.layout != torch.strided or first.device.type != "cpu":
            made[name] = values
            continue
        edges = np.cumsum([0, *(len(one) for one in values)]).tolist()
        made[name] = Split(torch.cat(values).detach().numpy(), edges)
    return made


def _as_batch(value: Any) -> Any:
    """Return what a row has as what a batch of this row has."""
    if torch.is_tensor(value):
        return value[None]
    return [value] if isinstance(value, list) else value
