"""Token files of datatrove: ``x.ds`` of raw ids, ``x.ds.index`` of u64 document ends. Read only.

``x.ds.metadata`` says how many bytes an id has; without it the index tells, because its last end is the number of ids.
``x.ds.loss`` has a byte for every id that says whether it counts in the loss, and becomes the column ``loss_mask``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tokstore as ts
from tokstore.errors import CorruptError, MissingFileError, TruncatedError

from .contract import Batch, Export, Ids, ReadOptions
from .files import files_with, only_ending

__all__ = ["DATATROVE", "Datatrove"]

_AT_ONCE = 1 << 20
_TOKENS, _MASK = "tokens", "loss_mask"


class _TokenFiles:
    """Files of ids with their indexes."""

    def __init__(self, files: list[str], options: ReadOptions) -> None:
        self._files, self._options = files, options
        kind = next((one for one in options.types.values() if isinstance(one, ts.Tokens)), None)
        self.columns: dict[str, Any] = {_TOKENS: kind or Ids()}
        self.lost: list[str] = []
        if all(os.path.isfile(one + ".loss") for one in files):
            if options.wants(_MASK):
                self.columns[_MASK] = ts.Mask(_TOKENS)
        elif any(os.path.isfile(one + ".loss") for one in files):
            self.lost.append("loss masks: not all files have one")
        if any(os.path.isfile(one + ".metadata") for one in files):
            self.lost.append("the name of the tokenizer")
        self._opened = [self._open(one) for one in files]
        self.rows: int | None = sum(len(ends) for _, ends in self._opened)
        self.total_bytes: int | None = sum(os.path.getsize(one) for one in files)

    def _open(self, path: str) -> tuple[np.dtype[Any], NDArray[np.int64]]:
        """Check a file against its index, and return the dtype of ids and where documents end."""
        if not os.path.isfile(path + ".index"):
            raise MissingFileError("the index of the file is not there", path=path + ".index")
        ends = np.fromfile(path + ".index", "<u8").astype(np.int64)
        if os.path.getsize(path + ".index") % 8 or (len(ends) and (int(ends[0]) < 0 or (np.diff(ends) < 0).any())):
            raise CorruptError("document ends do not ascend", path=path + ".index")
        size, total = os.path.getsize(path), int(ends[-1]) if len(ends) else 0
        width = _width(path + ".metadata") or (size // total if total else 2)
        if width not in (2, 4) or size != total * width:
            raise TruncatedError(f"the index speaks of {total} ids, and the file has {size} bytes", path=path)
        if _MASK in self.columns and os.path.getsize(path + ".loss") != total:
            raise TruncatedError(f"the loss mask has no byte for each of {total} ids", path=path + ".loss")
        return np.dtype(f"<u{width}"), ends

    def batches(self) -> Iterator[Batch]:
        """Yield all documents."""
        for path, (dtype, ends) in zip(self._files, self._opened, strict=True):
            total = int(ends[-1]) if len(ends) else 0
            ids = np.memmap(path, dtype, "r") if total else np.zeros(0, dtype)
            loss = np.memmap(path + ".loss", np.uint8, "r") if _MASK in self.columns and total else ids
            offsets = np.concatenate([np.zeros(1, np.int64), ends])
            at = 0
            while at < len(ends):
                stop = int(np.searchsorted(offsets, offsets[at] + _AT_ONCE, side="right")) - 1
                stop = min(max(stop, at + 1), at + 65_536, len(ends))
                lengths, part = np.diff(offsets[at : stop + 1]), slice(int(offsets[at]), int(offsets[stop]))
                columns = {_TOKENS: ts.Ragged(np.array(ids[part]), lengths)}
                if _MASK in self.columns:
                    columns[_MASK] = ts.Ragged(np.array(loss[part]) != 0, lengths)
                yield Batch(path, at, stop - at, columns)
                self._options.bytes_read[0] += columns[_TOKENS].values.nbytes
                at = stop


def _width(path: str) -> int | None:
    """Return how many bytes an id has by the notes beside a file: its first line ends in ``|2`` or ``|4``."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = re.search(r"\|(\d+)\s*$", file.readline())
    except OSError:
        return None
    return int(found[1]) if found else None


class Datatrove:
    """Files of datatrove's document tokenizer."""

    name = "datatrove"
    endings = (".ds",)
    writes = False
    options: tuple[str, ...] = ()
    survives = "token ids, where documents end, the loss mask"

    def sniff(self, path: str) -> bool:
        """Tell whether a path is such a file, or a folder of them."""
        if os.path.isfile(path):
            return path.endswith(self.endings)
        return only_ending(path, (".ds", ".ds.index", ".ds.metadata", ".ds.loss"))

    def open(self, path: str, options: ReadOptions) -> _TokenFiles:
        """Open a file or folder."""
        return _TokenFiles(files_with(path, self.endings), options)

    def write(self, path: str, export: Export) -> None:
        """Refuse: this format is read only."""
        raise ValueError("format 'datatrove' can only be read")


DATATROVE = Datatrove()
