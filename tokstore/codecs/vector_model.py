"""What the blocks of a vector column share: transform, groups of dimensions, tables; fitted for an error or a budget
(codecs.md 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tokstore import frames
from tokstore.codecs.contract import EncodedBlock
from tokstore.codecs.vector_axes import Axes, fit_scales, held_out_rows, plain_axes, principal_axes
from tokstore.codecs.vector_blocks import encode_lanes_of, encode_planes
from tokstore.codecs.vector_tables import SymbolTables, encode_tables, fit_tables
from tokstore.codecs.vector_transform import MAX_DIM, SCALED, STEPPED, Transform
from tokstore.packed import PackedReader

__all__ = ["RUN_ROWS", "VectorModel", "check_groups", "encode_integers", "group_dims"]

RUN_ROWS = 1024
_SAMPLE_VALUES = 1 << 23
_SEARCH_VALUES = 1 << 20
_MEASURED_RUNS = 16
_NEAR = 0.002  # of an octave
_ROUNDS = 6
_CLOSE = 0.995
_OBJECT_HEADER = 16
_LEVEL, _LEVEL_LARGE, _LARGE = 19, 3, 4 << 20
_FEWEST_ROWS = 64  # below, no lane ever saves what its state takes
Rows = NDArray[np.float32]
Stored = NDArray[np.int32]


def check_groups(dim: int, groups: Sequence[int]) -> tuple[int, ...]:
    """Return groups of dimensions, given by their ends, or refuse them."""
    ends = tuple(groups)
    if not 1 <= dim <= MAX_DIM:
        raise ValueError(f"a vector has 1 to {MAX_DIM} dimensions, not {dim}")
    if not ends or ends[-1] != dim or ends[0] < 1 or any(a >= b for a, b in pairwise(ends)):
        raise ValueError(f"groups are ascending ends from 1 on, the last {dim}, not {list(ends)}")
    return ends


def group_dims(groups: tuple[int, ...], group: int) -> tuple[int, int]:
    """Return first and end of the dimensions of a group.

    Example:
        >>> group_dims((32, 64), 1)
        (32, 64)
    """
    return (groups[group - 1] if group else 0), groups[group]


def encode_integers(
    runs: Sequence[Stored], groups: tuple[int, ...], tables: SymbolTables | None, zstd_level: int
) -> list[list[EncodedBlock]]:
    """Encode the integers of runs of vectors, each [rows, dim], as one block per group, in the smaller form."""
    blocks = []
    for integers in runs:
        for group in range(len(groups)):
            first, end = group_dims(groups, group)
            blocks.append((integers[:, first:end], (first, end)))
    coded: list[EncodedBlock | None] = [None] * len(blocks)
    if tables is not None:
        coded = encode_lanes_of(tables, blocks)
    made = []
    for (integers, _), lanes in zip(blocks, coded, strict=True):
        # Beside lanes planes are tried at the fastest level: they win where lanes do not fit, not by a better search.
        planes = encode_planes(integers, zstd_level if lanes is None else 1)
        made.append(planes if lanes is None or len(planes.data) < len(lanes.data) else lanes)
    return [made[at : at + len(groups)] for at in range(0, len(made), len(groups))]


@dataclass(frozen=True, eq=False)
class VectorModel:
    """The object of a vector column: how vectors become integers, and integers become bytes. Immutable, thread-safe.

    Attributes:
        transform: Vectors to integers and back.
        groups: Ascending ends of the groups of dimensions.
        tables: Frequency tables, or ``None`` for planes and zstd alone.
    """

    transform: Transform
    groups: tuple[int, ...]
    tables: SymbolTables | None

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return self.transform.dim

    @property
    def nbytes(self) -> int:
        """Bytes in memory, for caches that are bounded by bytes."""
        return self.transform.nbytes + (self.tables.nbytes if self.tables else 0)

    @cached_property
    def rotation_bytes(self) -> int:
        """Bytes that the rotation adds to the object at rest."""
        return 0 if self.transform.mean is None else _at_rest(self.encode()) - self.table_bytes

    @cached_property
    def table_bytes(self) -> int:
        """Bytes that all but the rotation take at rest."""
        return _at_rest(self.transform.encode(rotation=False) + encode_tables(self.tables))

    def encode(self) -> bytes:
        """Return the content of the object (codecs.md 6.2)."""
        return self.transform.encode() + encode_tables(self.tables)

    @classmethod
    def decode(cls, content: bytes | memoryview, dim: int, groups: Sequence[int]) -> VectorModel:
        """Parse and check the content of the object.

        Args:
            content: All of it.
            dim: Dimensions of the column.
            groups: Ascending ends of its groups of dimensions.

        Raises:
            CorruptError: The content breaks codecs.md 6.2.
        """
        reader = PackedReader(content, "vector model", "codecs.md 6.2")
        transform = Transform.decode(reader, dim)
        tables = SymbolTables.decode(reader, dim)
        reader.end()
        return cls(transform, check_groups(dim, groups), tables)

    def with_tables_for(self, rows: Rows, entropy: bool) -> VectorModel:
        """Return the model with the same transform and tables of other vectors."""
        integers = self.transform.quantise(_some(rows, _sample_rows(rows)))
        return VectorModel._of(self.transform, integers, len(rows), self.groups, entropy)

    def describe(self) -> str:
        """Say in a few words how vectors are stored."""
        if self.transform.number == SCALED:
            return f"int8, {self.dim} scales"
        axes = "own axes" if self.transform.number == STEPPED else f"principal axes of {self.transform.bits} bits"
        tables = f"{len(self.tables.sizes)} tables" if self.tables else "no tables"
        return f"step {self.transform.step:.6g}, {axes}, {tables}"

    @classmethod
    def fit(
        cls,
        rows: Rows,
        method: str,
        *,
        max_error: float | None = None,
        bytes_per_vector: float | None = None,
        rotate: bool = True,
        groups: Sequence[int],
        overhead_bytes: float = 1.0,
        entropy: bool = True,
    ) -> VectorModel:
        """Fit a model to vectors; those of `held_out_rows` do not count, except for the scales of ``int8``.

        Args:
            rows: float32 [n, dim], n from 1 on; an array on disk is read in stretches.
            method: ``"pca"`` or ``"int8"``.
            max_error: Each coordinate is at most this far from the stored one. With ``pca`` either this or
                `bytes_per_vector` is given, with ``int8`` neither.
            bytes_per_vector: Blocks, tables and `overhead_bytes` take at most this on average; the rotation is apart.
            rotate: Turn vectors to their principal axes; otherwise they keep their own, as Matryoshka vectors need it.
            groups: Ascending ends of the groups of dimensions.
            overhead_bytes: What a vector takes in the index of the file.
            entropy: Fit frequency tables; otherwise blocks are planes and zstd.

        Raises:
            ValueError: NaN or infinity, an argument that cannot be, a bound or a budget that cannot be kept.
        """
        if rows.ndim != 2 or not len(rows):
            raise ValueError(f"vectors are fitted to an array [n, dim] with n from 1 on, not {rows.shape}")
        ends = check_groups(rows.shape[1], groups)
        if method == "int8":
            if max_error is not None or bytes_per_vector is not None:
                raise ValueError("int8 takes neither max_error nor bytes_per_vector: use codec='pca' with one of them")
            transform = fit_scales(rows)
            return cls._of(transform, transform.quantise(_some(rows, _sample_rows(rows))), len(rows), ends, entropy)
        if method != "pca":
            raise ValueError(f"a vector codec is 'pca' or 'int8', not {method!r}")
        if (max_error is None) == (bytes_per_vector is None):
            raise ValueError("pca takes either max_error or bytes_per_vector")
        left_out = held_out_rows(len(rows))
        axes = principal_axes(rows, left_out) if rotate else plain_axes(rows)
        sample = np.setdiff1d(np.arange(0, len(rows), -(-len(rows) // _sample_rows(rows))), left_out)
        if max_error is not None:
            if not 2.0**-127 <= max_error <= 2.0**126:
                raise ValueError(f"max_error is a positive number, 2**-127 to 2**126, not {max_error}")
            transform = axes.with_step(2 * max_error)
            return cls._of(transform, transform.quantise(rows[sample]), len(rows), ends, entropy)
        budget = float(bytes_per_vector or 0)
        return _Search(rows, axes, sample, ends, entropy, overhead_bytes).within(budget)

    @classmethod
    def _of(
        cls, transform: Transform, integers: Stored, rows: int, groups: tuple[int, ...], entropy: bool
    ) -> VectorModel:
        """Return a model with tables for integers."""
        return cls(transform, groups, fit_tables(integers, rows) if entropy and rows >= _FEWEST_ROWS else None)


def _at_rest(content: bytes) -> int:
    """Return how many bytes the content of an object takes."""
    level = _LEVEL if len(content) <= _LARGE else _LEVEL_LARGE
    return min(len(content), len(frames.compress(content, level)))


def _sample_rows(rows: Rows) -> int:
    """Return how many rows tables are fitted to, at most."""
    return max(RUN_ROWS, _SAMPLE_VALUES // int(rows.shape[1]))


def _some(rows: Rows, most: int) -> Rows:
    """Return evenly spaced rows."""
    return rows[:: -(-len(rows) // most)]


class _Search:
    """Find the smallest step whose bytes stay within a budget.

    An estimate from the tables of a few thousand rows brackets the step; blocks that are really encoded correct it.
    """

    def __init__(
        self,
        rows: Rows,
        axes: Axes,
        sample: NDArray[np.int64],
        groups: tuple[int, ...],
        entropy: bool,
        overhead_bytes: float,
    ) -> None:
        self._rows, self._axes, self._groups = rows, axes, groups
        self._entropy, self._overhead = entropy, overhead_bytes
        self._sample = np.asarray(rows[sample], np.float32)
        self._near = axes.project(_some(self._sample, max(64, _SEARCH_VALUES // axes.dim)))
        self._largest = max(float(np.abs(self._near).max()), 2.0**-70)

    def within(self, budget: float) -> VectorModel:
        """Return the model of the smallest step that keeps the budget, or refuse."""
        # A little wider than any vector, so that all are zero; and as fine as float32.
        coarsest, finest = min(8 * self._largest, 2.0**127), self._largest * 2.0**-24
        low, high, ratio, fitting = finest, coarsest, 1.0, None
        for _ in range(_ROUNDS):
            model = self._model(self._bisect(budget / ratio, low, high))
            step = model.transform.step
            low, high = max(finest, step / 1.5), min(coarsest, step * 1.5)
            used = self._bytes(model)
            if used <= budget:
                if fitting is None or step < fitting.transform.step:
                    fitting = model
                if used >= _CLOSE * budget or step <= finest:
                    break
            ratio *= used / (budget * (1 + _CLOSE) / 2)
        if fitting is not None:
            return fitting
        least = self._bytes(model := self._model(coarsest))
        if least <= budget:
            return model
        raise ValueError(
            f"vectors of {self._axes.dim} dimensions take {least:.2f} bytes at least, rotation apart, "
            f"which is more than bytes_per_vector={budget:g}: allow {least * 1.02:.2f} or more"
        )

    def _bisect(self, target: float, finest: float, coarsest: float) -> float:
        """Return the smallest step whose estimated bytes are at most `target`, or the coarsest one."""
        low, high = np.log2(finest), np.log2(coarsest)
        if self._estimate(finest) <= target:
            return finest
        while high - low > _NEAR:
            middle = (low + high) / 2
            low, high = (low, middle) if self._estimate(2.0**middle) <= target else (middle, high)
        return float(2.0**high)

    def _estimate(self, step: float) -> float:
        """Return about how many bytes a vector takes with a step."""
        integers = np.clip(np.rint(self._near / step), -(1 << 30), 1 << 30).astype(np.int32)
        return fit_tables(integers, len(self._rows)).bits / 8 + self._overhead

    def _model(self, step: float) -> VectorModel:
        """Return the whole model of a step."""
        transform = self._axes.with_step(step)
        return VectorModel._of(
            transform, transform.quantise(self._sample), len(self._rows), self._groups, self._entropy
        )

    def _bytes(self, model: VectorModel) -> float:
        """Return the bytes of a vector, from blocks of some runs of all rows."""
        count = -(-len(self._rows) // RUN_ROWS)
        chosen = range(count) if count <= _MEASURED_RUNS else np.arange(_MEASURED_RUNS) * count // _MEASURED_RUNS
        runs = [model.transform.quantise(self._rows[run * RUN_ROWS : (run + 1) * RUN_ROWS]) for run in chosen]
        blocks = encode_integers(runs, self._groups, model.tables, 12)
        used = sum(len(block.data) for group in blocks for block in group)
        fixed = (model.table_bytes + _OBJECT_HEADER) / len(self._rows)
        return used / sum(len(run) for run in runs) + fixed + self._overhead
