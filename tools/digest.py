"""What a conversion must not change: counts and a digest per column, the same whatever batches the rows come in.

Values are taken in the dtype in which a store hands them out. Columns that a store keeps with a declared error, or in
fewer bits than they come in (bfloat16, soft labels), are counted and not digested.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

import tokstore as ts
from tokstore.errors import TokstoreError

__all__ = ["Digests", "is_exact"]


def is_exact(kind: Any) -> bool:
    """Tell whether values of a column type come back bit for bit from whatever was given.

    Example:
        >>> is_exact(ts.Score()), is_exact(ts.Score(max_error=0.1))
        (True, False)
    """
    if isinstance(kind, ts.SoftLabel) or (isinstance(kind, ts.Score) and kind.max_error is not None):
        return False
    if isinstance(kind, ts.Vector) and (kind.method or kind.dtype_name == "bfloat16"):
        return False
    return not (isinstance(kind, ts.Array) and kind.dtype_number == 10)


class Digests:
    """Digests of columns that grow row by row.

    Args:
        kinds: The column types by name.
        as_stored: The values come from a store, where nothing more is rounded, so that all columns are digested.
    """

    def __init__(self, kinds: dict[str, Any], *, as_stored: bool = False) -> None:
        self._all = dict(kinds)
        self._kinds = {name: kind for name, kind in kinds.items() if as_stored or is_exact(kind)}
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self.rows = 0
        self.values = dict.fromkeys(self._all, 0)
        self._states = {name: tuple(xxhash.xxh3_128() for _ in range(3)) for name in self._kinds}

    def update(self, rows: int, columns: dict[str, Any], missing: dict[str, Any]) -> None:
        """Add rows; a column that is not given is missing in all of them."""
        self.rows += rows
        for name in self.values:
            given = columns.get(name)
            if isinstance(given, ts.Ragged):
                self.values[name] += len(given.values)
            if name in self._kinds:
                self._add(name, given, missing.get(name), rows)

    def _add(self, name: str, given: Any, missing: Any, rows: int) -> None:
        """Add rows of one column."""
        kind, (values, lengths, presence) = self._kinds[name], self._states[name]
        gone = np.ones(rows, bool) if given is None else np.zeros(rows, bool)
        if missing is not None:
            gone |= missing
        if isinstance(given, list):
            gone |= np.fromiter((one is None for one in given), bool, rows)
            coded = [b"" if one is None else one if isinstance(one, bytes) else one.encode() for one in given]
            values.update(b"".join(coded))
            lengths.update(np.fromiter(map(len, coded), np.int64, rows).data)
        elif isinstance(given, ts.Ragged):
            flat = given.values
            if gone.any() and given.lengths[gone].any():
                flat = given[np.flatnonzero(~gone)].values
            values.update(_plain(flat, kind))
            lengths.update(np.where(gone, 0, given.lengths).data)
        elif isinstance(given, ts.SoftLabels):
            gone |= np.isnan(given.probs).all(axis=1)
            parts: list[Any] = [given.probs] if given.ids is None else [given.ids, given.probs]
            table = np.concatenate([np.ascontiguousarray(one[~gone]).view(np.uint8) for one in parts], axis=1)
            values.update(np.ascontiguousarray(table).data)
        elif given is not None:
            if isinstance(given, np.ma.MaskedArray):
                mask = np.ma.getmaskarray(given)
                gone |= mask.reshape(rows, -1).any(axis=1) if mask.size else gone
                given = given.filled(0)
            array = np.asarray(given)
            if kind.optional and kind.has_nan and array.dtype.kind == "f" and not kind.shape:
                gone = gone | np.isnan(array)  # a store tells NaN from missing, batches of it do not
            if gone.any():
                array = array[~gone]
            values.update(_plain(array, kind))
        presence.update(np.ascontiguousarray(gone).data)

    def compare(self, other: Digests, place: str) -> None:
        """Check that other digests are the same.

        Raises:
            TokstoreError: They differ; the message names the first column that does.
        """
        if self.rows != other.rows:
            raise TokstoreError(f"{other.rows} samples were written of {self.rows}", path=place)
        for name, count in self.values.items():
            if other.values[name] != count:
                raise TokstoreError(f"column {name!r}: {other.values[name]} values of {count} came back", path=place)
        for name, states in self._states.items():
            if [one.digest() for one in states] != [one.digest() for one in other._states[name]]:
                raise TokstoreError(f"column {name!r} reads back with other values than were read", path=place)

    def compare_written(self, before: Digests, place: str, keeps_rows: bool) -> None:
        """Check what was read back from a target, as far as it keeps it.

        Args:
            before: The digests of what was written.
            place: The target.
            keeps_rows: Whether it tells where samples end.

        Raises:
            TokstoreError: They differ.
        """
        if keeps_rows and self.rows != before.rows:
            raise TokstoreError(f"{self.rows} samples of {before.rows} came back", path=place)
        for name, states in self._states.items():
            count = 3 if keeps_rows else 1
            if [one.digest() for one in states[:count]] != [one.digest() for one in before._states[name][:count]]:
                raise TokstoreError(f"column {name!r} reads back with other values than were written", path=place)


def _plain(values: NDArray[Any], kind: Any) -> Any:
    """Return the bytes of numbers in one dtype, whatever they came in."""
    if isinstance(kind, ts.Tokens):
        dtype: Any = np.int32 if kind.vocab_size <= 1 << 31 else np.int64
    elif isinstance(kind, ts.Codes):
        dtype = np.int32
    elif isinstance(kind, ts.Label):
        dtype = np.int64
    elif isinstance(kind, ts.Vector) or (isinstance(kind, ts.Array) and kind.dtype_number == 10):
        dtype = np.float32
    else:
        dtype = kind.dtype
    return np.ascontiguousarray(values, dtype).reshape(-1).view(np.uint8).data
