"""`SoftLabels`: distributions over classes as they are handed out, and how rows of numbers stand for them (registry.md
1)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tokstore.column_types import SoftLabel
from tokstore.errors import CorruptError

__all__ = ["SoftLabels", "check_soft_labels", "soft_from_rows", "soft_to_rows"]

_U8_ONE = 255


class SoftLabels:
    """Distributions over classes: the classes of each sample and their probabilities.

    Args:
        ids: int64 ``[samples, k]``; ``None`` where every class has its place.
        probs: float32 ``[samples, k]``; NaN where a sample has none.
        classes: How many classes there are.

    Raises:
        ValueError: The arrays do not fit each other, or a class is outside ``0 ... classes - 1``.

    Example:
        >>> SoftLabels([[2, 0]], [[0.75, 0.125]], 4).dense(rest="uniform")
        array([[0.125 , 0.0625, 0.75  , 0.0625]], dtype=float32)
    """

    __slots__ = ("classes", "ids", "probs")

    def __init__(self, ids: ArrayLike | None, probs: ArrayLike, classes: int) -> None:
        self.probs: NDArray[np.float32] = np.asarray(probs, np.float32)
        self.ids: NDArray[np.int64] | None = None if ids is None else np.asarray(ids, np.int64)
        self.classes = classes
        if self.probs.ndim != 2 or (self.ids is not None and self.ids.shape != self.probs.shape):
            raise ValueError("classes and probabilities are two arrays of one shape [samples, k]")
        if self.ids is None and self.probs.shape[1] != classes:
            raise ValueError(f"without their classes there are {classes} probabilities, not {self.probs.shape[1]}")
        if self.ids is not None and self.ids.size and not 0 <= int(self.ids.min()) <= int(self.ids.max()) < classes:
            raise ValueError(f"a class is outside 0 to {classes - 1}")

    def __len__(self) -> int:
        return len(self.probs)

    def __getitem__(self, key: Any) -> SoftLabels:
        rows = np.arange(len(self))[key].reshape(-1)
        return SoftLabels(None if self.ids is None else self.ids[rows], self.probs[rows], self.classes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SoftLabels):
            return NotImplemented
        mine, its = (self.ids, other.ids)
        same_ids = mine is its is None or (mine is not None and its is not None and np.array_equal(mine, its))
        return same_ids and self.classes == other.classes and np.array_equal(self.probs, other.probs, equal_nan=True)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        kept = "all" if self.ids is None else f"the top {self.probs.shape[1]}"
        return f"SoftLabels({len(self)} samples, {kept} of {self.classes} classes)"

    def dense(self, rest: str = "zero") -> NDArray[np.float32]:
        """Return the probabilities of all classes, float32 ``[samples, classes]``.

        Args:
            rest: What the classes get that were not kept: ``"zero"``, or ``"uniform"`` for equal parts of what the
                kept ones leave of 1.
        """
        if rest not in ("zero", "uniform"):
            raise ValueError(f'rest is "zero" or "uniform", not {rest!r}')
        if self.ids is None:
            return self.probs.copy()
        out = np.zeros((len(self), self.classes), np.float32)
        left = self.classes - self.probs.shape[1]
        if rest == "uniform" and left:
            out += (np.maximum(0, 1 - self.probs.sum(axis=1, keepdims=True)) / left).astype(np.float32)
        np.put_along_axis(out, self.ids, self.probs, axis=1)
        return out


def soft_to_rows(kind: SoftLabel, soft: SoftLabels) -> NDArray[Any]:
    """Return the values at rest, one row per sample."""
    if kind.probability == "uint8":
        probs = np.rint(np.nan_to_num(soft.probs) * _U8_ONE).astype(np.uint8)
    else:
        probs = soft.probs.astype("<f2").view("<u2")
    if kind.top is None or soft.ids is None:
        return probs.astype(kind.dtype, copy=False)
    return np.concatenate([soft.ids.astype(kind.dtype), probs.astype(kind.dtype)], axis=1)


def soft_from_rows(kind: SoftLabel, rows: NDArray[Any]) -> SoftLabels:
    """Return distributions from values at rest, one row per sample."""
    ids = None if kind.top is None else rows[:, : kind.top].astype(np.int64)
    raw = rows if kind.top is None else rows[:, kind.top :]
    if kind.probability == "uint8":
        return SoftLabels(ids, raw.astype(np.float32) / _U8_ONE, kind.classes)
    return SoftLabels(ids, raw.astype("<u2").view("<f2").astype(np.float32), kind.classes)


def check_soft_labels(kind: SoftLabel, values: NDArray[Any]) -> None:
    """Refuse decoded values that are no distributions of a type (registry.md 1)."""
    rows = values.reshape(-1, kind.width)
    ids = rows[:, : kind.top] if kind.top is not None else rows[:, :0]
    probs = rows[:, ids.shape[1] :]
    if ids.size and int(ids.max()) >= kind.classes:
        raise CorruptError(f"a class is not below {kind.classes}", rule="registry.md 1")
    named = np.sort(ids, axis=1)
    # Rows of zeros stand for missing ones, and only those who know which are missing can tell.
    if (named[:, 1:] == named[:, :-1])[rows.any(axis=1)].any():
        raise CorruptError("a row has a class twice", rule="registry.md 1")
    if probs.size and int(probs.max()) >= (1 << 8 if kind.probability == "uint8" else 1 << 16):
        raise CorruptError("a probability does not fit its dtype", rule="registry.md 1")
