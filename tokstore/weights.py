"""Weights of samples: expected copies per epoch, as integers of 2**-16 (format.md 8.7)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ONE", "as_numbers", "filled", "fixed_weights"]

ONE = 1 << 16
"""The weight of a sample that comes once an epoch."""
_MOST = (1 << 32) - 1

Bools = NDArray[np.bool_]


def as_numbers(given: Any, count: int, what: str) -> tuple[NDArray[np.float64], Bools]:
    """Return numbers that a user gave, one per sample, and which of them are missing: masked or NaN.

    Raises:
        TypeError, ValueError: They are no numbers, or not as many as samples.
    """
    masked = isinstance(given, np.ma.MaskedArray)
    array = np.asarray(given.filled(0) if masked else given)
    if array.ndim != 1 or array.dtype.kind not in "fiub" or len(array) != count:
        raise ValueError(
            f"{what}: one number per sample is needed, {count} in all, not an array of {array.dtype} and shape "
            f"{array.shape}"
        )
    values = array.astype(np.float64)
    missing: Bools = np.isnan(values)
    if masked:
        missing |= np.ma.getmaskarray(given)
    return values, missing


def _check_weights(values: NDArray[np.float64], what: str) -> None:
    """Refuse negative, infinite and NaN weights."""
    for wrong, name in ((np.isnan(values), "NaN"), (np.isinf(values), "infinite"), (values < 0, "negative")):
        if wrong.any():
            raise ValueError(f"{what}: the weight of sample {int(wrong.argmax())} is {name}")


def filled(values: NDArray[np.float64], missing: Bools, instead: float | None, what: str) -> NDArray[np.float64]:
    """Return weights with something in place of missing ones, and refuse those that are none."""
    if missing.any():
        if instead is None:
            raise ValueError(
                f"{what}: {int(missing.sum())} of {len(values)} weights are missing, the first of sample "
                f"{int(missing.argmax())}; choose samples that have one, or give missing="
            )
        values = np.where(missing, float(instead), values)
    _check_weights(values, what)
    return values


def fixed_weights(values: NDArray[np.float64], mean: float | None, what: str) -> NDArray[np.uint32]:
    """Return weights as integers of 2**-16.

    Args:
        values: One number per sample, checked.
        mean: What their mean shall be; ``None`` takes them as they are.
        what: Where they come from, for messages.

    Raises:
        ValueError: Too large weights, or a mean that cannot be met.
    """
    if mean is not None:
        if isinstance(mean, bool) or not math.isfinite(mean) or mean <= 0:
            raise ValueError(f"mean is a number above 0, not {mean!r}")
        total = float(values.sum())
        if len(values) and not 0 < total < math.inf:
            raise ValueError(f"{what}: the weights add up to {total}, so that no factor gives them the mean {mean}")
        values = values * (mean * len(values) / total) if len(values) else values
    fixed = np.rint(values * ONE)
    if fixed.size and fixed.max() > _MOST:
        raise ValueError(
            f"{what}: the weight of sample {int(fixed.argmax())} is {values[int(fixed.argmax())]:.6g}, "
            f"and less than 65,536 copies per epoch are allowed (format.md 8.7)"
        )
    return fixed.astype(np.uint32)
