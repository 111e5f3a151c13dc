"""Which model and encoder a shard of vectors gets (codecs.md 3, 6), and what the model does to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.block import ColumnRows, block_values
from tokstore.codecs.contract import EachEncoder, EncodedBlock
from tokstore.codecs.numbers import NumberEncoder
from tokstore.codecs.vector_model import VectorModel
from tokstore.codecs.vector_quality import measure
from tokstore.codecs.vectors import VectorEncoder
from tokstore.column_types import INT8, Vector

__all__ = [
    "ExactEncoder",
    "ModelEncoder",
    "choose_model",
    "joined_quality",
    "keep_transform",
    "keeps_budget",
    "quality_record",
]

_INDEX_BYTES = 0.5  # of a vector: its share of tables of blocks and of their second copy
_MORE = 1.05  # a shard takes the store's model unless one of its own, its object counted, saves more than this
_SAMPLE_RUNS = 4


class ExactEncoder(EachEncoder):
    """Encode vectors as they are, each group of dimensions by itself.

    Args:
        kind: The type of the column.
        zstd_level: How hard to compress.
        values: All values of the shard.
    """

    codec = 2

    def __init__(self, kind: Vector, zstd_level: int, values: NDArray[Any]) -> None:
        self._dim, self._groups = kind.dim, []
        sample = values[: 4 * block_values(kind)].reshape(-1, kind.dim)
        begin = 0
        for end in kind.ends:
            encoder = NumberEncoder(kind.dtype, zstd_level, width=end - begin, whole=False)
            self._groups.append((slice(begin, end), encoder.narrow(_flat(sample[:, begin:end]))))
            begin = end

    def encode_run(self, parts: Sequence[NDArray[Any]]) -> list[EncodedBlock]:
        """Encode parts of whole vectors: a block for each of them and each group."""
        return [
            encoder.encode(_flat(part.reshape(-1, self._dim)[:, group]))
            for part in parts
            for group, encoder in self._groups
        ]


class ModelEncoder(EachEncoder):
    """Encode vectors as the integers of a model, each group of dimensions by itself.

    Args:
        model: The model.
        entropy: Use its tables.
        zstd_level: How hard to compress where they are not used.
    """

    codec = 5
    run = 16

    def __init__(self, model: VectorModel, entropy: bool, zstd_level: int) -> None:
        self._dim, self._encoder = model.dim, VectorEncoder(model, entropy, zstd_level)

    def stored(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the integers that stand for whole vectors, row after row."""
        return self._encoder.quantise(values.reshape(-1, self._dim)).reshape(-1)

    def encode_run(self, parts: Sequence[NDArray[Any]]) -> list[EncodedBlock]:
        """Encode parts of whole vectors: a block for each of them and each group."""
        runs = [self._encoder.quantise(part.reshape(-1, self._dim)) for part in parts]
        return [block for run in self._encoder.encode_integers(runs) for block in run]


def choose_model(kind: Vector, rows: ColumnRows, held: VectorModel | None, entropy: bool) -> VectorModel:
    """Fit a model to a shard, or take the one that the store has already where a new one would save little.

    Args:
        kind: The type of the column.
        rows: Its rows in the shard.
        held: The store's current model.
        entropy: Its tables will be used.

    Raises:
        ValueError: The budget or the bound of the type cannot be met.
    """
    there = _there(kind, rows)
    if held is not None and len(there) < kind.dim and _is_within(kind, held, there, entropy):
        return held
    fresh = VectorModel.fit(
        there,
        "int8" if kind.method == INT8 else "pca",
        max_error=kind.max_error,
        bytes_per_vector=kind.bytes_per_vector,
        rotate=kind.rotate,
        groups=kind.ends,
        overhead_bytes=_INDEX_BYTES,
        entropy=entropy,
    )
    if held is not None and _is_within(kind, held, there, entropy):
        own = _bytes_per_vector(fresh, there, entropy) + (fresh.rotation_bytes + fresh.table_bytes) / len(there)
        if _bytes_per_vector(held, there, entropy) <= _MORE * own:
            return held
    return fresh


def keep_transform(kind: Vector, rows: ColumnRows, held: VectorModel, entropy: bool) -> VectorModel:
    """Return a model that rounds rows as another one does: that one, or the same with tables that save enough.

    Args:
        kind: The type of the column.
        rows: Its rows in the shard, of which some have been rounded by the model.
        held: The model.
        entropy: Its tables will be used.
    """
    there = _there(kind, rows)
    fresh = held.with_tables_for(there, entropy)
    own = _bytes_per_vector(fresh, there, entropy) + (fresh.rotation_bytes + fresh.table_bytes) / len(there)
    return held if _bytes_per_vector(held, there, entropy) <= _MORE * own else fresh


def keeps_budget(kind: Vector, rows: ColumnRows, model: VectorModel, entropy: bool) -> bool:
    """Tell whether rows stay within the bytes that a type allows, if it says so, with a model of others."""
    return kind.bytes_per_vector is None or _is_within(kind, model, _there(kind, rows), entropy)


def joined_quality(records: Sequence[dict[int, object] | None]) -> dict[int, object] | None:
    """Return what is recorded of rows of several files; ``None`` where it was recorded of none of them."""
    found: list[dict[int, Any]] = [one for one in records if one is not None]
    if not found:
        return None
    weights = [max(1, one[4]) for one in found]
    squares = sum(one[1] ** 2 * weight for one, weight in zip(found, weights, strict=True))
    made: dict[int, object] = {1: float(np.sqrt(squares / sum(weights))), 2: max(one[2] for one in found)}
    if all(3 in one for one in found):
        made[3] = float(sum(one[3] * weight for one, weight in zip(found, weights, strict=True)) / sum(weights))
    return made | {4: sum(one[4] for one in found)}


def quality_record(kind: Vector, rows: ColumnRows, model: VectorModel) -> dict[int, object]:
    """Return what is recorded of the error of a shard (format.md 4.9)."""
    found = measure(_there(kind, rows), model)
    return {1: float(found.rms), 2: float(found.max), 3: float(found.recall10), 4: int(found.held_out)}


def _there(kind: Vector, rows: ColumnRows) -> NDArray[np.float32]:
    """Return the vectors that are not missing; one of zeros where all are."""
    found = rows.values.reshape(-1, kind.dim)
    found = found if rows.valid is None else found[rows.valid]
    return found if len(found) else np.zeros((1, kind.dim), np.float32)


def _is_within(kind: Vector, model: VectorModel, there: NDArray[np.float32], entropy: bool) -> bool:
    """Tell whether a model of other vectors keeps what the type promises for these."""
    try:
        nbytes = _bytes_per_vector(model, there, entropy)
    except ValueError:  # an integer that is too large
        return False
    return kind.bytes_per_vector is None or nbytes + _INDEX_BYTES <= kind.bytes_per_vector


def _bytes_per_vector(model: VectorModel, there: NDArray[np.float32], entropy: bool) -> float:
    """Return what the blocks of some of the vectors take, each."""
    run = 1024
    count = -(-len(there) // run)
    chosen = sorted({at * count // _SAMPLE_RUNS for at in range(_SAMPLE_RUNS)})
    parts = [np.ascontiguousarray(there[at * run : (at + 1) * run]) for at in chosen]
    blocks = ModelEncoder(model, entropy, 3).encode_run([part.reshape(-1) for part in parts])
    return sum(len(block.data) for block in blocks) / sum(len(part) for part in parts)


def _flat(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the values of some dimensions, row after row."""
    return np.ascontiguousarray(rows).reshape(-1)
