"""Signatures of many rows, in units: held in memory, or in a folder, where a unit that is finished stays.

A unit is a run of rows. Beside the signatures lie the keys of their bands, band by band, so that one band of all rows
is read without touching the rest. A unit in a folder is two files that appear whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.mixing import U64, Hashes
from tokstore.packed import Ints

__all__ = ["Held"]

_GATHERED = 1 << 15
Parts = tuple[NDArray[Any], Hashes]


class Held:
    """Signatures and keys of rows.

    Args:
        folder: Where units are kept; ``None`` for memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._units: list[Parts | str] = []
        self._edges = [0]

    def __len__(self) -> int:
        return self._edges[-1]

    def has(self, name: str) -> bool:
        """Tell whether a unit is there from an earlier run."""
        return self._folder is not None and all(path.exists() for path in self._paths(name))

    def take(self, name: str, rows: int) -> None:
        """Go on with a unit that is there."""
        self._units.append(name)
        self._edges.append(self._edges[-1] + rows)

    def add(self, name: str, signatures: NDArray[Any], keys: Hashes) -> None:
        """Take in the next unit.

        Args:
            name: Of its files.
            signatures: ``[rows, width]``.
            keys: uint64 ``[bands, rows]``.
        """
        if self._folder is None:
            self._units.append((signatures, keys))
        else:
            for path, array in zip(self._paths(name), (signatures, keys), strict=True):
                part = path.with_suffix(".part")
                with open(part, "wb") as file:
                    np.save(file, array, allow_pickle=False)
                os.replace(part, path)
            self._units.append(name)
        self._edges.append(self._edges[-1] + len(signatures))

    def keys(self, band: int) -> Hashes:
        """Return the keys of one band of all rows."""
        made = np.empty(len(self), U64)
        for unit, (a, b) in zip(self._units, self._bounds(), strict=True):
            made[a:b] = self._open(unit)[1][band]
        return made

    def keys_between(self, band: int, low: int, high: int) -> tuple[Hashes, Ints]:
        """Return the keys of one band that lie in a range, and their rows.

        Args:
            band: Its number.
            low: The least key.
            high: The largest.
        """
        keys, rows = [np.zeros(0, U64)], [np.zeros(0, np.int64)]
        for unit, (a, _) in zip(self._units, self._bounds(), strict=True):
            found = self._open(unit)[1][band]
            inside = np.flatnonzero((found >= U64(low)) & (found <= U64(high)))
            keys.append(np.asarray(found[inside]))
            rows.append(inside + a)
        return np.concatenate(keys), np.concatenate(rows)

    def signatures(self, rows: Ints) -> NDArray[Any]:
        """Return the signatures of rows, in any order.

        Pages of files that were read are let go after some thousands of rows, so that they do not add up.
        """
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        made: NDArray[Any] | None = None
        bounds = np.searchsorted(ordered, self._edges)
        for unit, a, b, start in zip(
            self._units, bounds[:-1].tolist(), bounds[1:].tolist(), self._edges[:-1], strict=True
        ):
            for first in range(a, b, _GATHERED):
                stop = min(first + _GATHERED, b)
                part = self._open(unit)[0][ordered[first:stop] - start]
                if made is None:
                    made = np.empty((len(rows), *part.shape[1:]), part.dtype)
                made[order[first:stop]] = part
        if made is None:
            width = self._open(self._units[0])[0].shape[1:] if self._units else (0,)
            made = np.empty((len(rows), *width), np.uint32)
        return made

    def _bounds(self) -> Iterator[tuple[int, int]]:
        """Yield the first row of every unit and the end of its rows."""
        return zip(self._edges[:-1], self._edges[1:], strict=True)

    def _open(self, unit: Parts | str) -> Parts:
        """Return the arrays of a unit."""
        if not isinstance(unit, str):
            return unit
        signatures, keys = (np.load(path, mmap_mode="r", allow_pickle=False) for path in self._paths(unit))
        return signatures, keys

    def _paths(self, name: str) -> tuple[Path, Path]:
        """Return the files of a unit."""
        folder = self._folder or Path()
        return folder / f"{name}.signatures.npy", folder / f"{name}.keys.npy"
