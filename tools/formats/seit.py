"""Image tokens as SeiT publishes them: one stream of bytes, offsets, labels. Read only.

``x-token.data.bin.gz`` is all images one after another: an id below 255 is a byte, and 255 says that 255 is to be added
to the byte behind it. ``x-token.index.npy.gz`` has the offsets of the images in the stream, one more than there are
images; ``x-label.txt`` a whole number per line. Images become ``codes``, square where their number of codes is.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tokstore as ts
from tokstore.errors import CorruptError, MissingFileError, TruncatedError

from ..prefetch import read_ahead
from .contract import Batch, Export, ReadOptions

__all__ = ["SEIT", "Seit", "decode_codes"]

_DATA, _INDEX, _LABELS = "-token.data.bin.gz", "-token.index.npy.gz", "-label.txt"
_CODES, _ESCAPE, _ROWS = 391, 255, 2048


class _Images:
    """One split."""

    def __init__(self, stem: str, options: ReadOptions) -> None:
        self._stem, self._options = stem, options
        self.lost: list[str] = []
        for ending in (_DATA, _INDEX):
            if not os.path.isfile(stem + ending):
                raise MissingFileError("the file is not there", path=stem + ending)
        self._offsets = self._read_index()
        self.rows: int | None = len(self._offsets) - 1
        self.total_bytes: int | None = os.path.getsize(stem + _DATA)
        self._labels = self._read_labels()
        first = decode_codes(
            next(self._streams(1))[0], np.array([0, self._offsets[1] - self._offsets[0]]), stem + _DATA
        )
        count = int(first.lengths[0])
        side = math.isqrt(count)
        shape = (side, side) if side * side == count else (count,)
        self._count = count
        kinds: dict[str, Any] = {"codes": options.types.get("codes", ts.Codes(_CODES, shape))}
        if self._labels is not None:
            kinds["label"] = options.types.get("label", ts.Label())
        else:
            self.lost.append("labels: there is no file of them")
        self.columns = {name: kind for name, kind in kinds.items() if options.wants(name)}

    def _read_index(self) -> NDArray[np.int64]:
        """Return the offsets of the images."""
        path = self._stem + _INDEX
        try:
            with gzip.open(path, "rb") as file:
                found = np.load(io.BytesIO(file.read()), allow_pickle=False)
        except (ValueError, EOFError, OSError, zlib.error) as error:
            raise CorruptError(f"this is no whole compressed .npy: {error}", path=path) from error
        if (
            found.ndim != 1
            or found.dtype.kind not in "iu"
            or len(found) < 2
            or found[0] != 0
            or (np.diff(found) < 1).any()
        ):
            raise CorruptError("offsets are ascending whole numbers from 0 on", path=path)
        return np.asarray(found, np.int64)

    def _read_labels(self) -> NDArray[np.int64] | None:
        """Return the labels, if there are any."""
        path = self._stem + _LABELS
        if not os.path.isfile(path):
            return None
        try:
            with open(path, encoding="ascii") as file:
                labels = np.array([int(line) for line in file if line.strip()], np.int64)
        except ValueError as error:
            raise CorruptError(f"a line is no whole number: {error}", path=path) from error
        if len(labels) != self.rows:
            raise TruncatedError(f"there are {len(labels)} labels for {self.rows} images", path=path)
        return labels

    def _streams(self, rows: int) -> Iterator[tuple[bytes, int, int]]:
        """Yield the bytes of some images at a time, and which they are."""
        path, offsets = self._stem + _DATA, self._offsets
        try:
            with gzip.open(path, "rb") as file:
                for at in range(0, len(offsets) - 1, rows):
                    stop = min(at + rows, len(offsets) - 1)
                    need = int(offsets[stop] - offsets[at])
                    data = file.read(need)
                    if len(data) != need:
                        raise TruncatedError("the stream ends before the last image", path=path)
                    yield data, at, stop
                if file.read(1):
                    raise CorruptError("the stream goes on behind the last image", path=path)
        except (EOFError, OSError, zlib.error) as error:
            raise CorruptError(f"the gzip data is damaged: {error}", path=path) from error

    def batches(self) -> Iterator[Batch]:
        """Yield all images."""
        path, total = self._stem + _DATA, int(self._offsets[-1])
        for data, at, stop in read_ahead(self._streams(_ROWS)):
            codes = decode_codes(data, self._offsets[at : stop + 1] - self._offsets[at], path)
            batch = Batch(path, at, stop - at, {})
            wrong = codes.lengths != self._count
            kept = np.flatnonzero(~wrong)
            batch = self._options.problems.bad_rows(
                batch, wrong, f"the image has not {self._count} codes, as others have"
            )
            if "codes" in self.columns:
                shape = self.columns["codes"].shape
                batch.columns["codes"] = codes[kept].values.reshape(len(kept), *shape)
            if "label" in self.columns and self._labels is not None:
                batch.columns["label"] = self._labels[at:stop][kept]
            yield batch
            self._options.bytes_read[0] += (self.total_bytes or 0) * len(data) // total


def decode_codes(data: bytes, offsets: NDArray[np.int64], path: str) -> ts.Ragged:
    """Decode the byte code of some images.

    Args:
        data: Their bytes.
        offsets: Where each begins, and the end of the last.
        path: What a message names.

    Raises:
        CorruptError: An escape stands at the end of an image, or behind another.

    Example:
        >>> decode_codes(bytes([7, 255, 3]), np.array([0, 1, 3]), "x").to_list()
        [[7], [258]]
    """
    raw = np.frombuffer(data, np.uint8)
    escapes = raw == _ESCAPE
    if escapes[offsets[1:] - 1].any() or (escapes[1:] & escapes[:-1]).any():
        raise CorruptError("an escape byte has no byte of its own behind it", path=path)
    values = raw.astype(np.uint16)
    values[1:] += escapes[:-1] * np.uint16(_ESCAPE)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(escapes)])
    lengths = np.diff(offsets) - np.diff(before[offsets])
    return ts.Ragged(values[~escapes], lengths)


class Seit:
    """Splits of SeiT's image tokens."""

    name = "seit"
    endings = (_DATA,)
    writes = False
    options: tuple[str, ...] = ()
    survives = "codes and labels; not the codebook and the synonyms"

    def sniff(self, path: str) -> bool:
        """Tell whether a path is the stream of a split, or a folder with one."""
        return _stem(path) is not None

    def open(self, path: str, options: ReadOptions) -> _Images:
        """Open a split."""
        stem = _stem(path)
        if stem is None:
            raise ValueError(f"{path}: there is no file that ends in {_DATA}, or there are several; name one")
        return _Images(stem, options)

    def write(self, path: str, export: Export) -> None:
        """Refuse: this format is read only."""
        raise ValueError("format 'seit' can only be read")


def _stem(path: str) -> str | None:
    """Return what the names of the files of a split have in common."""
    if os.path.isfile(path):
        return path[: -len(_DATA)] if path.endswith(_DATA) else None
    if not os.path.isdir(path):
        return None
    found = [name for name in os.listdir(path) if name.endswith(_DATA)]
    return os.path.join(path, found[0][: -len(_DATA)]) if len(found) == 1 else None


SEIT = Seit()
