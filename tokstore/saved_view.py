"""A saved view <-> bytes: a set of sample ids in runs, with order, weights, columns and recipe (format.md 8.7).

Ids, not positions, so that a view means the same samples in every version. Order and weights count the samples by
ascending ids.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokstore.errors import CorruptError, MissingFileError, TokstoreError, UnsupportedError, suggest
from tokstore.format import (
    MAX_COLUMNS,
    MAX_SAMPLE_ID,
    MAX_VIEW_BYTES,
    VIEW_MAGIC,
    check_whole,
    unwrap,
    verify_checksum,
    wrap,
)
from tokstore.packed import Ints, PackedReader, encode_packed
from tokstore.storage import Storage
from tokstore.wire import checksum, decode_metadata, encode_metadata, fields

__all__ = ["SavedView", "check_owner", "decode_saved", "read_saved", "saved_names", "view_path"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_KINDS = {1: bytes, 2: int, 3: int, 4: int, 5: int, 6: bytes, 7: bytes, 8: bytes, 9: bytes, 10: list, 11: list}
_OPTIONAL = (8, 9, 10)
_RULE = "format.md 8.7"
_QUICK_BYTES = 4 << 20
FOLDER, FILE = "views", "view.tsw"


def view_path(name: str) -> str:
    """Return where a view is saved, or refuse its name."""
    if not is_view_name(name):
        raise ValueError(f"a view is named by letters, digits, '.', '_' and '-', not {name!r} (format.md 3)")
    return f"{FOLDER}/{name}/{FILE}"


def is_view_name(name: object) -> bool:
    """Tell whether a view may have a name."""
    return isinstance(name, str) and _NAME.match(name) is not None


@dataclass(frozen=True, eq=False)
class SavedView:
    """What a saved view holds.

    Attributes:
        store_id: The store it is of.
        version: The version it was made of.
        created_ms: Milliseconds since 1970-01-01 UTC.
        first, count: First sample id and samples of every run; ascending, runs do not touch.
        order: Which sample by ascending ids comes at each place; ``None`` for the order of the version.
        weights: Integers of 2**-16 by ascending ids; ``None`` where all samples weigh the same.
        columns: Ids of the columns, ascending; ``None`` for all.
        recipe: The verbs that made it, for people.
    """

    store_id: bytes
    version: int
    created_ms: int
    first: Ints
    count: Ints
    order: Ints | None
    weights: NDArray[np.uint32] | None
    columns: tuple[int, ...] | None
    recipe: tuple[str, ...]

    @property
    def samples(self) -> int:
        """Number of samples."""
        return int(self.count.sum())

    def encode(self) -> bytes:
        """Return the bytes of the file.

        Raises:
            UnsupportedError: It is larger than the format allows.
        """
        content: dict[int, object] = {
            1: self.store_id,
            2: self.version,
            3: self.created_ms,
            4: self.samples,
            5: len(self.first),
            6: encode_packed(self.first),
            7: encode_packed(self.count),
            11: list(self.recipe),
        }
        if self.order is not None:
            content[8] = encode_packed(self.order)
        if self.weights is not None:
            content[9] = self.weights.astype("<u4").tobytes()
        if self.columns is not None:
            content[10] = list(self.columns)
        raw = encode_metadata(content)
        if len(raw) > MAX_VIEW_BYTES:
            raise UnsupportedError(
                f"the view takes {len(raw)} bytes, at most {MAX_VIEW_BYTES} may",
                rule="format.md 11",
                hint="save it in parts, or materialize it",
            )
        framed = wrap(VIEW_MAGIC, raw, 9 if len(raw) < _QUICK_BYTES else 3)
        return framed + checksum(framed).to_bytes(8, "little")

    @classmethod
    def decode(cls, data: bytes | memoryview) -> SavedView:
        """Parse and check a saved view."""
        check_whole(data, 32, "a saved view", _RULE)
        verify_checksum(data[:-8], int.from_bytes(data[-8:], "little"), 0, "view", 0)
        content = decode_metadata(unwrap(VIEW_MAGIC, data[:-8], MAX_VIEW_BYTES))
        raw = fields(content, _KINDS, _OPTIONAL, "a saved view", _RULE)
        samples, runs = raw[4], raw[5]
        # First ids differ, and so do the items of an order: more of them than bytes is a lie, seen before allocating.
        if len(raw[1]) != 16 or runs > max(1, len(raw[6])) or (8 in raw and samples > max(1, len(raw[8]))):
            raise CorruptError("a saved view counts more runs or samples than it lists", rule=_RULE)
        first = _packed(raw[6], runs, "key 6", 0, MAX_SAMPLE_ID - 1)
        count = _packed(raw[7], runs, "key 7", 1, MAX_SAMPLE_ID)
        ends = first + count
        if (first[1:] <= ends[:-1]).any() or (ends > MAX_SAMPLE_ID).any() or int(count.sum()) != samples:
            raise CorruptError("runs of sample ids touch, descend, or do not add up", rule=_RULE)
        order = weights = None
        if 8 in raw:
            order = _packed(raw[8], samples, "key 8", 0, max(0, samples - 1))
            if samples and int(np.bincount(order, minlength=samples).max()) > 1:
                raise CorruptError("a sample comes twice in the order of a view", rule=_RULE)
        if 9 in raw:
            if len(raw[9]) != 4 * samples:
                raise CorruptError(f"{len(raw[9])} bytes of weights for {samples} samples", rule=_RULE)
            weights = np.frombuffer(raw[9], "<u4").astype(np.uint32)
        columns = raw.get(10)
        if columns is not None and not _are_column_ids(columns):
            raise CorruptError("column ids of a view are none, descend, or are no ids", rule=_RULE)
        if any(type(step) is not str for step in raw[11]):
            raise CorruptError("a step of the recipe of a view is no string", rule=_RULE)
        kept = None if columns is None else tuple(columns)
        return cls(raw[1], raw[2], raw[3], first, count, order, weights, kept, tuple(raw[11]))


def decode_saved(data: bytes | memoryview, path: str) -> SavedView:
    """Parse a saved view, and name its file if it is damaged."""
    try:
        return SavedView.decode(data)
    except TokstoreError as error:
        raise type(error)(error.message, path=path, offset=error.offset, rule=error.rule, hint=error.hint) from error


def check_owner(saved: SavedView, store_id: bytes, path: str) -> None:
    """Refuse a view of another store."""
    if saved.store_id != store_id:
        raise CorruptError(
            f"the view is of the store {saved.store_id.hex()}, not of this one",
            path=path,
            rule=_RULE,
            hint="save it again from a view of this store",
        )


def _packed(data: bytes, count: int, field: str, low: int, high: int) -> Ints:
    """Read a packed array that fills its field."""
    reader = PackedReader(data, "a saved view", _RULE)
    values = reader.packed(count, field, low, high)
    reader.end()
    return values


def _are_column_ids(columns: list[object]) -> bool:
    """Tell whether something lists ids of columns."""
    ids = [one for one in columns if type(one) is int and 0 <= one < 2**32 - 1]
    return 0 < len(ids) == len(columns) <= MAX_COLUMNS and ids == sorted(set(ids))


def saved_names(storage: Storage) -> list[str]:
    """Return the names under which views are saved, in order."""
    names = [name for name in storage.list(FOLDER) if is_view_name(name)]
    return sorted(name for name in names if FILE in storage.list(f"{FOLDER}/{name}"))


def read_saved(storage: Storage, names: Sequence[str]) -> list[SavedView]:
    """Read saved views.

    Raises:
        MissingFileError: One of them is not there.
    """
    paths = [view_path(name) for name in names]
    read = storage.read_ranges([(path, 0, None) for path in paths], missing_ok=True) if paths else []
    for name, data in zip(names, read, strict=True):
        if data is None:
            raise MissingFileError(
                f"no view {name!r} is saved",
                path=storage.describe(FOLDER),
                rule="format.md 3",
                hint=suggest(name, saved_names(storage)),
            )
    return [decode_saved(data if data is not None else b"", path) for data, path in zip(read, paths, strict=True)]
