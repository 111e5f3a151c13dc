"""What of windows is lost, where a stream goes on past corrupt blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.losses import LostBlock, TokensLost

__all__ = ["Damage", "Report", "told"]

Report = Callable[[LostBlock], None]
"""Is told every block that could not be read, on any thread, and maybe more than once."""


class Damage:
    """Which values of a window are lost. Threads may add to it at once; it takes no lock."""

    __slots__ = ("_known", "_mask", "_parts")

    def __init__(self) -> None:
        self._parts: list[tuple[int, NDArray[np.bool_]]] = []
        self._known = 0
        self._mask: NDArray[np.bool_] | None = None

    def add(self, at: int, mask: NDArray[np.bool_]) -> None:
        """Note what is lost of a stretch of values.

        Args:
            at: Where the stretch begins.
            mask: Which of its values are lost.
        """
        if mask.any():
            self._parts.append((at, mask))

    def mask(self, values: NDArray[Any]) -> NDArray[np.bool_] | None:
        """Return which values are lost; None for none.

        Args:
            values: Those of the window.
        """
        parts = self._parts
        if len(parts) == self._known:
            return self._mask
        mask = np.zeros(len(values), bool)
        known = len(parts)
        for at, part in parts[:known]:
            mask[at : at + len(part)] |= part
        self._mask, self._known = mask, known
        return mask


def told(lost: TokensLost | None, report: Report | None) -> NDArray[np.bool_] | None:
    """Report what a read has lost, and return which of its values that are."""
    if lost is None or report is None:
        return None
    for block in lost.blocks:
        report(block)
    return lost.mask
