"""Where a data file lies, what it names, and what a rows section says (format.md 3, 4.4, 4.8, 8.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokstore.packed import Ints

__all__ = ["FilePlace", "ObjectRef", "Rows", "file_path"]


@dataclass(frozen=True)
class FilePlace:
    """Where a data file is and what its parent says of it."""

    path: str
    file_id: bytes
    file_bytes: int
    tail_offset: int
    index_offset: int
    index_checksum: int


@dataclass(frozen=True)
class ObjectRef:
    """An object that a file names: embedded at `offset`, or in the store's objects where that is ``None``."""

    digest: bytes
    kind: int
    stored_bytes: int
    content_bytes: int
    offset: int | None


@dataclass(frozen=True)
class Rows:
    """The rows section of a column (format.md 4.4).

    Attributes:
        starts: First value of every row, with the number of values at the end; ``None`` where every row has one value.
        valid: Presence per row; ``None`` where nothing may be missing.
    """

    starts: Ints | None
    valid: NDArray[np.bool_] | None


def file_path(file_id: bytes) -> str:
    """Return where a data file lies in a store (format.md 3)."""
    name = file_id.hex()
    return f"data/{name[:2]}/{name}.tok"
