"""A view -> a new store with its samples, encoded anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tokstore.block import ColumnRows
from tokstore.creation import create_file, create_folder, encode_attachments
from tokstore.deliver import deliver_batch
from tokstore.schema import Column, Schema
from tokstore.user_metadata import encode_user_metadata
from tokstore.writing import Progress

__all__ = ["write_store"]


def write_store(
    path: str | os.PathLike[str],
    columns: Sequence[Column],
    batches: Iterable[dict[str, ColumnRows]],
    samples: int,
    *,
    level: str | None,
    attachments: Mapping[str, str | os.PathLike[str] | bytes],
    metadata: Mapping[str, Any] | None,
    shard_tokens: int,
    threads: int | None,
    progress: Callable[[Progress], None] | None,
) -> None:
    """Create a store and write batches of rows to it.

    Args:
        path: A folder, or a file that ends in ``.tok``.
        columns: What the batches have.
        batches: Rows by column name.
        samples: How many there are in all, for progress.
        level: Level of all columns; ``None`` keeps that of each.
        attachments: Files that travel with the store.
        metadata: Anything that JSON can hold.
        shard_tokens: Tokens of one shard.
        threads: Threads that encode.
        progress: Called with a `Progress` of samples.
    """
    target = os.path.abspath(os.fspath(path))
    schema = Schema.from_columns([replace(c, column_id=i, level=level or c.level) for i, c in enumerate(columns)])
    options = {"level": level or "default", "shard_tokens": shard_tokens, "threads": threads}
    make = create_file if target.endswith(".tok") else create_folder
    done = 0
    with make(target, schema, encode_attachments(attachments), encode_user_metadata(metadata), options) as writer:
        for batch in batches:
            writer.extend({column.name: _written(column, batch[column.name]) for column in columns})
            done += batch[columns[0].name].rows
            if progress is not None:
                progress(Progress(done, samples, "samples", "materialize"))


def _written(column: Column, rows: ColumnRows) -> Any:
    """Return rows in a form that writers take, with missing ones told apart from NaN and from empty ones."""
    batch = deliver_batch(column, rows)
    if rows.valid is None or rows.valid.all() or isinstance(batch, np.ma.MaskedArray):
        return batch
    if isinstance(batch, np.ndarray) and batch.ndim == 1:
        return np.ma.MaskedArray(batch, ~rows.valid)
    return [row if is_there else None for row, is_there in zip(batch, rows.valid.tolist(), strict=True)]
