"""Small stores and single files for tests, and how to damage them: plainly, or with all checksums made right again."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import tokstore as ts
from tokstore.format import COLUMN_ENTRY, FOOTER_BYTES, HEADER_BYTES, MAX_ROOT_BYTES, IndexHeader
from tokstore.manifest import root_path
from tokstore.root import Root
from tokstore.single import open_file
from tokstore.version import Version
from tokstore.view import View
from tokstore.wire import INDEX_PLACE, ROWS_BLOCK, TABLE_BLOCK, checksum, place_seed

FILE_ID = bytes(range(16))

SCHEMA = ts.Schema(
    tokens=ts.Tokens(300, eos_id=0, optional=True),
    quality=ts.Score("float16", optional=True),
    label=ts.Label(3),
    url=ts.Text(optional=True),
)

SAMPLES: list[dict[str, Any]] = [
    {"tokens": [5, 6, 7, 299], "quality": 0.5, "label": 2, "url": "a"},
    {"tokens": [], "quality": None, "label": 0, "url": ""},
    {"tokens": None, "quality": -0.0, "label": 1, "url": None},
    {"tokens": [8] * 40, "quality": float("nan"), "label": 1, "url": "é 中"},
    {"tokens": [1, 2], "quality": 65504.0, "label": 2, "url": "x" * 30},
]


def write_samples(path: Path, schema: ts.Schema, samples: list[dict[str, Any]], **options: Any) -> Path:
    """Create a store of samples, given as one batch."""
    with ts.create(path, schema, **options) as writer:
        if samples:
            writer.extend({name: [one[name] for one in samples] for name in schema.names})
    return path


def write_file(path: Path, samples: list[dict[str, Any]] | None = None, **options: Any) -> Path:
    """Create a single file with a fixed file id."""
    with mock.patch("tokstore.writing.secrets.token_bytes", lambda n: FILE_ID[:n]):
        return write_samples(path, SCHEMA, SAMPLES if samples is None else samples, **options)


def read_all(path: Path) -> list[str]:
    """Read everything that a user can read of a store, as text that can be compared."""
    store = ts.open(path)
    found = [repr(sample) for sample in store]
    found += [repr(store.schema), repr(dict(store.attachments)), repr(store.metadata)]
    for batch in store.scan():
        found.append(repr({k: v.to_list() if isinstance(v, ts.Ragged) else v for k, v in batch.items()}))
    found.append(repr([store.missing(name).tolist() for name in store.schema.names]))
    return found


def reseal(data: bytes) -> bytes:
    """Make all checksums of a data file right again, as far as its parts can still be found.

    Blocks, tables, rows sections, index, header and footer are sealed; what lies outside the file is left alone.
    """
    raw = bytearray(data)
    end = len(raw) - FOOTER_BYTES
    raw[56:64] = struct.pack("<Q", checksum(bytes(raw[:56])))
    file_id = bytes(raw[24:40])
    _, _, index_offset, index_bytes = struct.unpack_from("<4Q", raw, end)
    if index_offset >= HEADER_BYTES and index_offset + index_bytes <= end and index_bytes >= IndexHeader.BYTES:
        _, columns, _, _ = struct.unpack_from("<QIII", raw, index_offset)
        for number in range(min(columns, (index_bytes - IndexHeader.BYTES) // COLUMN_ENTRY.itemsize)):
            at = index_offset + IndexHeader.BYTES + number * COLUMN_ENTRY.itemsize
            entry = np.frombuffer(bytes(raw[at : at + COLUMN_ENTRY.itemsize]), COLUMN_ENTRY).copy()
            for name, block in (("table", TABLE_BLOCK), ("rows", ROWS_BLOCK)):
                start, nbytes = int(entry[f"{name}_offset"][0]), int(entry[f"{name}_bytes"][0])
                seed = place_seed(file_id, int(entry["column_id"][0]), block)
                if nbytes:
                    entry[f"{name}_checksum"] = checksum(bytes(raw[start : start + nbytes]), seed)
            raw[at : at + COLUMN_ENTRY.itemsize] = entry.tobytes()
        index = bytes(raw[index_offset : index_offset + index_bytes])
        struct.pack_into("<Q", raw, end + 32, checksum(index, place_seed(file_id, *INDEX_PLACE)))
    raw[end + 56 :] = struct.pack("<Q", checksum(bytes(raw[end : end + 56])))
    return bytes(raw)


def crowding_name(plain: Path, room: int = 60) -> str:
    """Return a name of an attachment so long that a root like that of `plain` keeps no more room than asked for.

    `plain` has an empty attachment with an empty name. Pages and plans then have to be files of their own.
    """
    root = Root.decode((plain / root_path(1)).read_bytes())
    used = len(replace(root, inline={}).encode()[0])
    return "n" * (MAX_ROOT_BYTES - used - room)


def data_files(store: Path) -> list[Path]:
    """Return the data files of a store."""
    return sorted(store.glob("data/*/*.tok"))


def tree(folder: Path) -> dict[str, bytes]:
    """Return all files below a folder with their content."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class MemoryStorage:
    """Files in memory, read only, which remembers which bytes were asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.asked = files, set[tuple[str, int]]()
        self.trips = self.bytes_read = 0

    def file_bytes(self, path: str) -> int:
        """Return the length of a file."""
        return len(self.files[path])

    def describe(self, path: str = "") -> str:
        """Return the path."""
        return path

    def read_ranges(self, ranges: Any, *, missing_ok: bool = False) -> list[memoryview | None]:
        """Read ranges, as `LocalStorage` does."""
        found = []
        for path, offset, nbytes in ranges:
            data = self.files[path]
            end = len(data) if nbytes is None else offset + nbytes
            if offset < 0 or end > len(data) or end < offset:
                raise ts.TruncatedError(f"{nbytes} bytes are needed", path=path, offset=offset, rule="format.md 4.1")
            self.asked.update((path, at) for at in range(offset, end))
            found.append(memoryview(data)[offset:end])
        return found


def read_bytes(data: bytes, storage: MemoryStorage | None = None) -> list[str]:
    """Read everything in the bytes of a single file, without a disk."""
    place = storage or MemoryStorage({"x.tok": data})
    root, _ = open_file(place, "x.tok")  # type: ignore[arg-type]
    view = View(Version(place, root, "x.tok"))  # type: ignore[arg-type]
    batch = view.take(slice(None))
    found = [repr(v.to_list() if isinstance(v, ts.Ragged) else v) for v in batch.values()]
    missing = [view.missing(name).tolist() for name in view.schema.names]
    return [*found, repr(view.schema), repr(root.attachments), repr(root.metadata), repr(missing)]
