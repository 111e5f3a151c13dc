"""How much of vectors a model keeps, measured on rows that it was not fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.vector_axes import held_out_rows
from tokstore.codecs.vector_model import RUN_ROWS, VectorModel, encode_integers

__all__ = ["VectorQuality", "measure"]

_BASE_ROWS = 20_000
_NEIGHBOURS = 10
_RUNS = 4
_UNIT = 1e-3
_QUERIES = 100  # at a time
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class VectorQuality:
    """What a lossy codec does to vectors.

    Attributes:
        rms: Root mean square of the error of a number.
        max: Largest error of a number.
        recall10: Share of the ten nearest neighbours in float32 that are also found among the stored vectors, by inner
            product if all vectors have length 1, else by distance; the queries are exact.
        held_out: Rows it was measured on, which are the queries; 0 where there were too few to leave any out.
        bytes_per_vector: Bytes of blocks and tables; the rotation is apart.
    """

    rms: float
    max: float
    recall10: float
    held_out: int
    bytes_per_vector: float


def measure(rows: Rows, model: VectorModel) -> VectorQuality:
    """Measure a model on the rows that its fit to the same rows left out.

    Args:
        rows: float32 [n, dim], those of `VectorModel.fit`.
        model: What came out.
    """
    held = held_out_rows(len(rows))
    others = np.setdiff1d(np.arange(0, len(rows), -(-len(rows) // _BASE_ROWS)), held)
    base = np.asarray(rows[others], np.float32)
    queries = np.asarray(rows[held], np.float32) if len(held) else base
    transform = model.transform
    # In double precision: the squares of float32 may overflow.
    error = transform.reconstruct(transform.quantise(queries)).astype(np.float64) - queries
    stored = transform.reconstruct(transform.quantise(base))
    count = -(-len(rows) // RUN_ROWS)
    chosen = sorted({run * count // min(_RUNS, count) for run in range(min(_RUNS, count))})
    runs = [transform.quantise(np.asarray(rows[at * RUN_ROWS : (at + 1) * RUN_ROWS], np.float32)) for at in chosen]
    made = encode_integers(runs, model.groups, model.tables, 12)
    block_bytes = sum(len(block.data) for run in made for block in run) / sum(len(run) for run in runs)
    return VectorQuality(
        rms=float(np.sqrt(np.mean(error * error))),
        max=float(np.abs(error).max()),
        recall10=_recall(queries, base, stored),
        held_out=len(held),
        bytes_per_vector=block_bytes + model.table_bytes / len(rows),
    )


def _recall(queries: Rows, base: Rows, stored: Rows) -> float:
    """Return the share of true neighbours among those found; equally near ones count as the same."""
    nearest = min(_NEIGHBOURS, len(base))
    half = np.zeros(len(base), np.float32), np.zeros(len(base), np.float32)
    if np.abs(np.linalg.norm(base, axis=1) - 1).max() > _UNIT:
        half = (base * base).sum(axis=1) / 2, (stored * stored).sum(axis=1) / 2
    found = 0
    for start in range(0, len(queries), _QUERIES):
        some = queries[start : start + _QUERIES]
        exact, rough = some @ base.T - half[0], some @ stored.T - half[1]
        worst = np.partition(exact, -nearest, axis=1)[:, -nearest]
        best = np.argpartition(rough, -nearest, axis=1)[:, -nearest:]
        found += int((np.take_along_axis(exact, best, axis=1) >= worst[:, None]).sum())
    return found / (nearest * len(queries))
