"""Batches that are kept from a first reading, so that a small source need not be read again."""

from __future__ import annotations

from .formats.contract import Batch, ReadOptions

__all__ = ["KEPT_BYTES", "Kept"]

KEPT_BYTES = 64 << 20


class Kept:
    """The batches of one column of a source.

    Args:
        read: How they are read: counts of bytes and of bad rows.
        name: The column.
        most: Bytes to keep at most; a source with more is not kept at all.

    Attributes:
        batches: All batches, or none where they are too large.
        is_whole: Whether all are there.
    """

    def __init__(self, read: ReadOptions, name: str, most: int = KEPT_BYTES) -> None:
        self.read, self.name, self._left = read, name, most
        self.batches: list[Batch] = []
        self.is_whole = True

    def add(self, batch: Batch) -> None:
        """Keep a batch, or none any more."""
        self._left -= batch.columns[self.name].values.nbytes
        if self._left < 0:
            self.is_whole = False
            self.batches.clear()
        else:
            self.batches.append(batch)
