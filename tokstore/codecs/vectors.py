"""The codec of vectors: rows of float32 <-> blocks of integers, one per group of dimensions (codecs.md 6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.contract import EncodedBlock
from tokstore.codecs.vector_blocks import Block, decode_blocks
from tokstore.codecs.vector_model import VectorModel, encode_integers, group_dims

__all__ = ["VectorDecoder", "VectorEncoder"]

Rows = NDArray[np.float32]
Stored = NDArray[np.int32]


class VectorEncoder:
    """Encode runs of vectors. Thread-safe.

    Args:
        model: The object of the column.
        entropy: Use its tables, if it has any; otherwise blocks are planes and zstd.
        zstd_level: 1 to 22, for planes.
    """

    def __init__(self, model: VectorModel, entropy: bool, zstd_level: int) -> None:
        self._model, self._level = model, zstd_level
        self._tables = model.tables if entropy else None

    def quantise(self, rows: Rows) -> Stored:
        """Return the integers that stand for vectors, int32 [n, dim]; they are what is stored.

        Raises:
            ValueError: A number is NaN or infinite, or its integer is no i32.
        """
        return self._model.transform.quantise(rows)

    def encode_integers(self, runs: Sequence[Stored]) -> list[list[EncodedBlock]]:
        """Encode several runs of integers, which is faster than one after the other; see `encode_run`."""
        return encode_integers(runs, self._model.groups, self._tables, self._level)

    def encode_run(self, rows: Rows) -> list[EncodedBlock]:
        """Encode a run of vectors, float32 [n, dim] with n from 1 on, as one block per group.

        Raises:
            ValueError: A number is NaN or infinite, or its integer is no i32.
        """
        return self.encode_integers([self.quantise(rows)])[0]


class VectorDecoder:
    """Decode blocks of vectors. Thread-safe.

    Args:
        dim: Numbers in a vector.
        groups: Ascending ends of the groups of dimensions.
        model: The object of the column.
    """

    def __init__(self, dim: int, groups: Sequence[int], model: VectorModel) -> None:
        if (dim, tuple(groups)) != (model.dim, model.groups):
            raise ValueError(f"a model of {model.dim} dimensions in groups {model.groups} does not fit the column")
        self._model = model

    def decode_run(self, blocks: Sequence[tuple[memoryview, int, int, Stored]]) -> None:
        """Decode blocks of any groups and runs, jointly.

        Args:
            blocks: Bytes, form, number of the group, and where the integers go: int32 [rows, dimensions of the group].

        Raises:
            CorruptError: A block breaks codecs.md 6.3 or 6.4.
        """
        groups, tables = self._model.groups, self._model.tables
        decode_blocks(tables, [Block(data, form, group_dims(groups, group), out) for data, form, group, out in blocks])

    def reconstruct(self, integers: Stored) -> Rows:
        """Return vectors, float32 [n, dim], from all their integers, int32 [n, dim]."""
        return self._model.transform.reconstruct(integers)

    def prefix(self, integers: Stored) -> Rows:
        """Return the first m coordinates, float32 [n, m], from the first integers, int32 [n, m].

        With a rotation they lie along the principal axes, else they are the first numbers of the vectors.
        """
        return self._model.transform.prefix(integers)
