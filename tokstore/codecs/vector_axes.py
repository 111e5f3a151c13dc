"""Fit the transform of vectors: principal axes, how finely to store them, scales (codecs.md 6.1).

Rows are read in stretches, so that memory depends on the number of dimensions and not on that of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.vector_transform import MAX_ROTATED_DIM, MOST_BITS, SCALED, STEPPED, TURNED, Transform

__all__ = ["Axes", "fit_scales", "held_out_rows", "plain_axes", "principal_axes", "stretches"]

_ROWS = 4096
_LEAST_BITS = 6
_MOST_NOISE = 0.001  # of the squared error, from axes that are not quite orthogonal
_MOST_LOSS = 0.0025  # of the bits, from axes that are not quite the principal ones
_HELD_OUT: Final = 800
_ONE_IN = 16
_FEWEST = 64
Rows = NDArray[np.float32]


def held_out_rows(rows: int) -> NDArray[np.int64]:
    """Return the rows, evenly spaced, that a fit leaves out for the quality to be measured on; none of fewer than 64.

    Example:
        >>> held_out_rows(64).tolist()
        [8, 24, 40, 56]
    """
    count = min(_HELD_OUT, rows // _ONE_IN) if rows >= _FEWEST else 0
    return (np.arange(count) * 2 + 1) * rows // (2 * max(count, 1))


def stretches(rows: Rows, left_out: NDArray[np.int64]) -> Iterator[NDArray[np.float64]]:
    """Yield rows in float64, a few thousand at a time, without some.

    Raises:
        ValueError: A number is NaN or infinite.
    """
    for start in range(0, len(rows), _ROWS):
        part = np.asarray(rows[start : start + _ROWS], np.float64)
        if not np.isfinite(part).all():
            raise ValueError("vectors hold NaN or infinity, which a lossy codec cannot store")
        inside = left_out[(left_out >= start) & (left_out < start + _ROWS)] - start
        yield np.delete(part, inside, axis=0) if len(inside) else part


@dataclass(frozen=True, eq=False)
class Axes:
    """Directions of a fit, not yet rounded, or the axes that vectors came with.

    Attributes:
        dim: Numbers in a vector.
        mean: float32 [dim], or ``None`` with the own axes.
        spread: float64 [dim]: the variance along every axis.
        vectors: float64 [dim, dim], one axis per column, or ``None`` with the own axes.
    """

    dim: int
    mean: NDArray[np.float32] | None
    spread: NDArray[np.float64]
    vectors: NDArray[np.float64] | None

    def project(self, rows: Rows) -> NDArray[np.float64]:
        """Return coordinates along the unrounded axes."""
        wide = rows.astype(np.float64)
        return wide if self.mean is None or self.vectors is None else (wide - self.mean) @ self.vectors

    def with_step(self, step: float) -> Transform:
        """Return the transform, its axes as fine as a step needs them."""
        if self.mean is None or self.vectors is None:
            return Transform(STEPPED, self.dim, step)
        bits = self._bits(step)
        rounded = np.rint(self.vectors * (1 << bits)).astype(np.int16)
        return Transform(TURNED, self.dim, step, mean=self.mean, rotation=rounded, bits=bits)

    def _bits(self, step: float) -> int:
        """Return how finely axes are stored: the coarsest way that costs next to no bits and no error."""
        noise = step * step / 12
        whole = _information(self.spread / noise) + 0.01 * self.dim
        for bits in range(_LEAST_BITS, MOST_BITS):
            variance = 4.0**-bits / 12
            leak = variance * float(self.spread.sum())
            loss = _information((self.spread + leak) / noise) - _information(self.spread / noise)
            if self.dim * variance <= _MOST_NOISE and loss <= _MOST_LOSS * whole:
                return bits
        return MOST_BITS


def _information(ratios: NDArray[np.float64]) -> float:
    """Return about how many bits coordinates take, from their variances over that of the rounding."""
    return 0.5 * float(np.log2(1 + ratios * ratios / (1 + ratios)).sum())


def plain_axes(rows: Rows) -> Axes:
    """Return the axes that vectors came with."""
    dim = rows.shape[1]
    total, count = np.zeros(dim), 0
    for part in stretches(rows, np.zeros(0, np.int64)):
        total += (part * part).sum(axis=0)
        count += len(part)
    return Axes(dim, None, total / max(count, 1), None)


def principal_axes(rows: Rows, left_out: NDArray[np.int64]) -> Axes:
    """Return mean and principal axes of vectors, by descending variance; the largest number of every axis is positive.

    Args:
        rows: float32 [n, dim].
        left_out: Rows to leave out.
    """
    dim = rows.shape[1]
    if dim > MAX_ROTATED_DIM:
        raise ValueError(f"vectors of {dim} dimensions cannot be rotated, the limit is {MAX_ROTATED_DIM}: rotate=False")
    origin: NDArray[np.float64] | None = None
    total, products, count = np.zeros(dim), np.zeros((dim, dim)), 0
    for part in stretches(rows, left_out):
        if origin is None:
            origin = part.mean(axis=0)
        moved = part - origin
        total += moved.sum(axis=0)
        products += moved.T @ moved
        count += len(part)
    offset = total / max(count, 1)
    covariance = products / max(count, 1) - np.outer(offset, offset)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = values[::-1].clip(min=0), vectors[:, ::-1]
    peaks = vectors[np.abs(vectors).argmax(axis=0), np.arange(dim)]
    mean = ((np.zeros(dim) if origin is None else origin) + offset).astype(np.float32)
    return Axes(dim, mean, values, vectors * np.where(peaks < 0, -1.0, 1.0))


def fit_scales(rows: Rows) -> Transform:
    """Return a transform in which the largest number of every dimension is 127."""
    dim = rows.shape[1]
    most: NDArray[Any] = np.zeros(dim)
    for part in stretches(rows, np.zeros(0, np.int64)):
        np.maximum(most, np.abs(part).max(axis=0, initial=0), out=most)
    scales = np.where(most > 0, np.maximum(most / 127, 2.0**-120), 1.0).astype(np.float32)
    return Transform(SCALED, dim, 1.0, scales=scales)
