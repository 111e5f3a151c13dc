"""Files in memory that the package reads as it reads a folder, and everything that a user can read of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tokstore as ts
from tokstore.manifest import newest_root, read_version
from tokstore.parts import decode_part, part_path, staged_parts
from tokstore.single import open_file
from tokstore.storage import Entry, Range
from tokstore.store import Store
from tokstore.verify_report import Findings, Report
from tokstore.verify_store import _Walk

ALONE = "file.tok"
"""The name of a data file that is opened without a store."""

_MOST = 2000


class WrongError(AssertionError):
    """The package gave values that it should not have given."""


class Files:
    """A folder in memory, read only."""

    reads_back, can_list, can_fork, is_far = False, True, True, False

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.trips = self.bytes_read = 0

    def describe(self, path: str = "") -> str:
        """Return the path."""
        return path

    def file_bytes(self, path: str) -> int:
        """Return the length of a file."""
        if path not in self.files:
            raise ts.MissingFileError("the file is not there", path=path, rule="format.md 3")
        return len(self.files[path])

    def read_ranges(self, ranges: Sequence[Range], *, missing_ok: bool = False) -> list[memoryview | None]:
        """Read ranges, as `LocalStorage` does."""
        found: list[memoryview | None] = []
        for path, offset, nbytes in ranges:
            if path not in self.files and missing_ok:
                found.append(None)
                continue
            end = self.file_bytes(path) if nbytes is None else offset + nbytes
            if offset < 0 or not offset <= end <= self.file_bytes(path):
                raise ts.TruncatedError(f"{nbytes} bytes are needed", path=path, offset=offset, rule="format.md 4.1")
            found.append(memoryview(self.files[path])[offset:end])
        return found

    def entries(self, folder: str) -> Sequence[Entry]:
        """List a folder."""
        found: dict[str, Entry] = {}
        for path, data in self.files.items():
            if path.startswith(folder + "/") or not folder:
                name, _, rest = path[len(folder) + 1 if folder else 0 :].partition("/")
                found[name] = Entry(name, 0 if rest else len(data), 0.0, bool(rest))
        return [found[name] for name in sorted(found)]

    def list(self, folder: str) -> list[str]:
        """List the names in a folder."""
        return [one.name for one in self.entries(folder)]


@dataclass
class Found:
    """What was read: values as bytes that can be compared, by what they are of, and what was refused."""

    values: dict[str, bytes] = field(default_factory=dict)
    refused: dict[str, ts.TokstoreError] = field(default_factory=dict)

    def differ(self, good: Found) -> str | None:
        """Name something whose values are not those of a sound store, or ``None``."""
        return next((name for name, value in self.values.items() if good.values.get(name) != value), None)


def open_files(files: Mapping[str, bytes], version: int | None = None) -> Store:
    """Open a store, or a data file alone."""
    storage: Any = Files(files)
    if ALONE in files:
        return Store(storage, open_file(storage, ALONE)[0], pinned=True, file_name=ALONE)
    root = newest_root(storage) if version is None else read_version(storage, version)
    return Store(storage, root, pinned=version is not None)


def read(files: Mapping[str, bytes], version: int | None = None, *, thoroughly: bool = False) -> Found:
    """Read everything that a user can read.

    Args:
        files: The folder.
        version: The version; the newest by default.
        thoroughly: Read every column a second and a third time, by scanning and by parts, and verify the store.

    Raises:
        WrongError: Values of a kind that their type does not have, or others each time.
    """
    found = Found()

    def step(name: str, call: Any, show: Any = repr) -> Any:
        try:
            value = call()
        except ts.TokstoreError as error:
            found.refused[name] = error
            return None
        shown = show(value)
        found.values[name] = shown if isinstance(shown, bytes) else shown.encode()
        return value

    store = step("store", lambda: open_files(files, version), lambda one: repr((len(one), one.schema.records())))
    if store is None:
        return found
    n = len(store)
    chosen: Any = slice(None) if n <= _MOST else np.r_[: _MOST // 2, n - _MOST // 2 : n]
    try:
        together = store.take(chosen, list(store.schema.names))
    except ts.TokstoreError:
        together = {}
    for name in store.schema.names:
        step(f"column {name}", lambda name=name: _column(store, name, chosen, together), bytes)
        if thoroughly and n <= _MOST and f"column {name}" in found.values:
            step(f"again {name}", lambda name=name: _again(store, name, together), bytes)
    step("ids", lambda: together["sample_id"] if together else store.take(chosen, [])["sample_id"], as_bytes)
    step("metadata", lambda: store.metadata)
    step("attachments", lambda: [(name, store.attachments[name]) for name in store.attachments])
    if ALONE not in files:
        for name in step("parts", lambda: staged_parts(store.storage)) or ():
            path = part_path(name)
            step(f"part {name}", lambda path=path: repr(decode_part(files[path], path)))
        for info in step("views", lambda: [one.name for one in store.views()]) or ():
            step(f"view {info}", lambda info=info: _view(store, info))
    if thoroughly:
        report = Report(store.path, store.version)
        step("verified", lambda: _Walk(store, Findings(report, store.storage, 1, None)).run())
        if report.problems:
            found.refused["verified"] = report.problems[0]
    return found


def _view(store: Store, name: str) -> list[Any]:
    """Load a saved view and read what is small of it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        view = store.load(name)
    n = min(len(view), _MOST)
    return [len(view), view.schema.names, view.take(slice(0, n), [])["sample_id"].tolist(), view.weights[:n].tolist()]


def _column(store: Store, name: str, chosen: Any, together: Mapping[str, Any]) -> bytes:
    """Read a column, check that its values can be values of its type, and return them as bytes."""
    values = together[name] if together else store.take(chosen, [name])[name]
    check_values(store.schema[name], values)
    return as_bytes(values)


def _again(store: Store, name: str, together: Mapping[str, Any]) -> bytes:
    """Read a column in other ways, and compare."""
    values = together[name] if together else store.take(slice(None), [name])[name]
    is_turned = isinstance(store.schema[name], ts.Vector)  # the last bit of a product depends on how many there are
    same = _close if is_turned else bytes.__eq__
    if not same(b"".join(flat(batch[name]) for batch in store.scan([name], batch_size=3)), flat(values)):
        raise WrongError(f"column {name}: scanning gives other values than taking")
    for one in range(0, len(store), max(1, len(store) // 5)):
        if not same(flat(store.take([one], [name])[name]), flat(values[one : one + 1])):
            raise WrongError(f"column {name}: sample {one} alone has other values")
    return np.packbits(store.missing(name)).tobytes()


def _close(a: bytes, b: bytes) -> bool:
    """Tell whether two arrays of float32 are the same but for rounding."""
    if len(a) != len(b):
        return False
    one, other = np.frombuffer(a, "<f4"), np.frombuffer(b, "<f4")
    largest = float(np.abs(one[np.isfinite(one)]).max(initial=0.0))
    return bool(np.allclose(one, other, 1e-4, 1e-5 * largest, equal_nan=True))


def _parts(values: Any) -> list[Any]:
    """Return the arrays or lists that values are made of, without where samples end."""
    if isinstance(values, ts.Ragged):
        return [values.values]
    if isinstance(values, ts.SoftLabels):
        return [*([] if values.ids is None else [values.ids]), values.probs]
    return [values]


def flat(values: Any) -> bytes:
    """Return the values of samples in such a way that those of batches can be joined."""
    (first, *_) = parts = _parts(values)
    if isinstance(first, list):
        return "".join(f"{one!r};" for one in first).encode()
    return b"".join(np.ma.getdata(one).tobytes() for one in parts[-1:])


def as_bytes(values: Any) -> bytes:
    """Return values as bytes that can be compared."""
    found = values.lengths.tobytes() if isinstance(values, ts.Ragged) else b""
    for one in _parts(values):
        if isinstance(one, list):
            found += repr(one).encode()
        else:
            found += repr((one.dtype, one.shape)).encode() + np.ma.getdata(one).tobytes()
            found += np.ma.getmaskarray(one).tobytes() if isinstance(one, np.ma.MaskedArray) else b""
    return found


def check_values(kind: Any, values: Any) -> None:
    """Refuse values that a column of a type cannot have.

    Raises:
        WrongError: A value lies outside of what its type allows.
    """
    if isinstance(values, ts.Ragged):
        if int(values.lengths.sum()) != len(values.values) or (values.lengths < 0).any():
            raise WrongError("lengths do not fit the values")
        values = values.values
    limit = getattr(kind, "vocab_size", None) or getattr(kind, "classes", None) or getattr(kind, "size", None)
    if isinstance(kind, (ts.Tokens, ts.Label, ts.Codes)) and limit is not None and len(values):
        plain = values.compressed() if isinstance(values, np.ma.MaskedArray) else values
        if plain.size and (int(plain.min()) < 0 or int(plain.max()) >= limit):
            raise WrongError(f"a value of {kind} is {int(plain.max())}")
    if isinstance(kind, (ts.Text, ts.Category)) and any(x is not None and not isinstance(x, str) for x in values):
        raise WrongError("a text is no string")
