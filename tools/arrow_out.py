"""Stores and views as Arrow streams and as `datasets`: what ``__arrow_c_stream__`` and `to_hf` call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tokstore.errors import UnsupportedError

from .export import view_batches
from .formats.arrow_types import arrow_schema, need_pyarrow
from .formats.arrow_values import record_batch
from .formats.contract import Export
from .formats.hf import need_datasets

__all__ = ["arrow_reader", "arrow_stream", "to_hf"]

_SHARD_SAMPLES = 65_536


def arrow_reader(view: Any) -> Any:
    """Return a `pyarrow.RecordBatchReader` of the samples of a view, in batches of about a million values.

    Raises:
        UnsupportedError: pyarrow is not installed, or a column has no Arrow type.
    """
    pa = need_pyarrow()
    made = Export(view.schema, len(view), None)
    schema = arrow_schema(made)
    if made.left_out:
        raise UnsupportedError(made.lost[0], hint="select(columns) without it")
    kinds = dict(view.schema.items())

    def batches() -> Iterator[Any]:
        for batch in view_batches(view):
            yield record_batch(batch, schema, kinds)

    return pa.RecordBatchReader.from_batches(schema, batches())


def arrow_stream(view: Any, requested_schema: object | None = None) -> object:
    """Return the samples of a view as a capsule of the Arrow C stream interface."""
    capsule: object = arrow_reader(view).__arrow_c_stream__(requested_schema)
    return capsule


def to_hf(view: Any) -> Any:
    """Return a `datasets.IterableDataset` of the samples of a view.

    It reads the store as it is iterated, in shards of 65,536 samples that `datasets` deals to nodes and workers.

    Raises:
        UnsupportedError: `datasets` or pyarrow is not installed.
    """
    pa = need_pyarrow()
    datasets = need_datasets()
    made = Export(view.schema, len(view), None)
    schema = arrow_schema(made)
    # `datasets` has no dictionaries but of class labels; texts say the same.
    fields = [pa.field(f.name, pa.string()) if pa.types.is_dictionary(f.type) else f for f in schema]
    plain = pa.schema(fields)
    count = max(1, -(-len(view) // _SHARD_SAMPLES))
    return datasets.IterableDataset.from_generator(
        _examples,
        features=datasets.Features.from_arrow_schema(plain),
        gen_kwargs={"views": [view] * count, "parts": [(i, count) for i in range(count)]},
    )


def _examples(views: list[Any], parts: list[tuple[int, int]]) -> Iterator[dict[str, Any]]:
    """Yield the samples of parts of a view."""
    for view, part in zip(views, parts, strict=True):
        first, stop = len(view) * part[0] // part[1], len(view) * (part[0] + 1) // part[1]
        for at in range(first, stop, 1024):
            yield from view.__getitems__([*range(at, min(at + 1024, stop))])
