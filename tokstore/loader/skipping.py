"""What `on_corrupt="skip"` has skipped, in one process: counted for `progress()`, and warned of once per file."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.losses import LostBlock, TokensLost
from tokstore.stream.collate import Take
from tokstore.stream.source import Source

__all__ = ["Skipped"]


class Skipped:
    """Blocks that could not be read, and how many tokens were handed out as padding for it."""

    def __init__(self) -> None:
        self.tokens = 0
        self._blocks: dict[tuple[str, str, int], LostBlock] = {}
        self._warned: set[str] = set()
        self._told = 0

    @property
    def blocks(self) -> int:
        """Number of different blocks."""
        return len(self._blocks)

    def add(self, block: LostBlock) -> None:
        """Note a block; on any thread, and maybe again."""
        self._blocks.setdefault((block.path, block.column, block.block), block)

    def news(self) -> list[LostBlock]:
        """Return the blocks that were noted since the last call."""
        if self._told == len(self._blocks):
            return []
        found = list(self._blocks.values())[self._told :]
        self._told += len(found)
        return found

    def taking(self, source: Source) -> Take:
        """Return what reads columns of samples past what cannot be read, and notes that."""

        def take(positions: NDArray[np.int64], columns: Sequence[str]) -> Mapping[str, Any]:
            lost = TokensLost()
            found = source.take_lossy(positions, columns, lost)
            for block in lost.blocks:
                self.add(block)
            return found

        return take

    def warn(self, blocks: Sequence[LostBlock]) -> None:
        """Warn of files that were not warned of before."""
        for block in blocks:
            if block.path not in self._warned:
                self._warned.add(block.path)
                warnings.warn(
                    f"{block.path}: block {block.block} of {block.column!r}: {block.reason}; what cannot be read "
                    "of this file is padding, or missing where it is no token (on_corrupt='skip')",
                    RuntimeWarning,
                    stacklevel=2,
                )
