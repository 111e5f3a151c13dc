"""A folder or a single file, opened and read whole (format.md 3, 7, 8)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .columnfile import samples
from .contents import Contents
from .conventions import check_digest
from .datafile import DataFile, read_data_file
from .failure import ReadError, Within, require
from .jsonfile import parse as parse_json
from .manifest import missing_file, parse_root
from .objects import ATTACHMENT, parse_object
from .pages import read_page
from .parts import Part, read_part
from .schema import Column, primary
from .spans import spans_of
from .totals import check_totals
from .views import View, parse_view

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""The names of parts and views (format.md 3)."""


def open_path(path: str | Path, version: int | None = None) -> Contents:
    """Read a `.tok` file or a store folder.

    Args:
        path: Either of them.
        version: The version of a store; the newest one if not given.

    Raises:
        ReadError: What is there breaks the specification, or this reader is too old for it.
    """
    path = Path(path)
    return Folder(path).read(version) if path.is_dir() else _single(path)


def _single(path: Path) -> Contents:
    """Read a data file that is opened alone (3, 4.9, 7.2)."""
    try:
        file = read_data_file(path.read_bytes())
    except FileNotFoundError:
        raise missing_file(str(path), "format.md 3") from None
    except ReadError as error:
        error.path = error.path or str(path)
        raise
    found = Contents(file.index.columns, list(range(file.index.rows)), metadata=file.index.metadata)
    found.attachments = file.attachments
    for column in file.index.columns:
        part = file.columns[column.id]
        if part.refused is None:
            found.rows[column.name] = samples(part)
        else:
            found.refused[column.name] = part.refused
    first = primary(found.columns)
    if first is not None and file.columns[first.id].refused is None:
        found.spans = [spans_of(file.columns[first.id])]
    return found


class Folder:
    """A folder, with the files that were read and the objects and data files in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[bytes, DataFile] = {}
        self.file_bytes: dict[bytes, int] = {}
        self.file_digests: dict[bytes, bytes] = {}
        self.object_bytes: dict[bytes, int] = {}
        self.rows_taken: dict[tuple[int, bytes], list[tuple[int, int]]] = {}

    def load(self, name: str, rule: str) -> bytes:
        """Read a file of the store."""
        try:
            return (self.folder / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise missing_file(name, rule) from None

    def object(self, digest: bytes) -> bytes:
        """Read the bytes of an object in `objects/` (3)."""
        name = digest.hex()
        data = self.load(f"objects/{name[:2]}/{name}", "format.md 5")
        self.object_bytes[digest] = len(data)
        return data

    def take_rows(self, column_id: int, file_id: bytes, first: int, count: int) -> None:
        """Note that a shard has rows of a column in a file, which no other shard may have (8.3)."""
        runs = self.rows_taken.setdefault((column_id, file_id), [])
        is_free = all(first >= end or first + count <= begin for begin, end in runs)
        require(not count or is_free, f"two shards have the same rows of column {column_id}", "format.md 8.3")
        if count:
            runs.append((first, first + count))

    def read(self, version: int | None) -> Contents:
        """Read one version whole."""
        head = self._head()
        number = self._newest() if version is None else version
        name = f"manifests/{number:020d}.tsm"
        with Within(name):
            data = self.load(name, "format.md 8.1")
            if not data and version is not None and version < self._newest():
                raise ReadError("missing", f"version {version} was removed", "format.md 9.2")
            root = parse_root(data)
            body = root.body
            require(body[2] == number, f"the root says that it is version {body[2]}", "format.md 8.1")
            require(body[1].hex() == head["store"], "the root belongs to another store", "format.md 8.1")
        found = Contents(root.columns, metadata=body.get(13), store_id=body[1], version=number)
        found.rows = {column.name: [] for column in root.columns}
        pages = []
        for record in root.pages:
            with Within(f"pages/{record.page_digest.hex()}"):
                pages.append(read_page(self, record, root, found))
        for column_name in found.refused:
            found.rows.pop(column_name, None)
        with Within(name):
            require(len(set(found.sample_ids)) == len(found.sample_ids), "two samples have one id", "format.md 7.2")
            found.attachments = self._attachments(body)
            found.tags = dict(body.get(14, {}).values())
            check_totals(root, pages, found, sum(self.file_bytes.values()), sum(self.object_bytes.values()))
        found.parts, found.views = self._parts(), self._views(body[1])
        return found

    def data_file(self, file_id: bytes, columns: list[Column], digest: bytes, file_bytes: int) -> DataFile:
        """Read a data file once, and check it against its line in the page (4.2, 8.3)."""
        name = f"data/{file_id.hex()[:2]}/{file_id.hex()}.tok"
        with Within(name):
            if file_id not in self.files:
                data = self.load(name, "format.md 8.3")
                if len(data) < file_bytes:
                    raise ReadError(
                        "truncated", f"the file has {len(data)} bytes, its page says {file_bytes}", "format.md 8.3"
                    )
                require(
                    len(data) == file_bytes,
                    f"the file has {len(data)} bytes, its page says {file_bytes}",
                    "format.md 8.3",
                )
                self.files[file_id] = read_data_file(data, columns, self.object)
                check_digest(data, digest, "data file", "format.md 8.3")
                self.file_bytes[file_id] = len(data)
                self.file_digests[file_id] = digest
            if digest != self.file_digests[file_id]:
                raise ReadError("checksum", "two pages have other digests of the file", "format.md 8.3")
            require(self.files[file_id].file_id == file_id, "the file has another file id", "format.md 4.2", 24)
        return self.files[file_id]

    def _head(self) -> dict[str, Any]:
        """Check `tokstore.json` (3)."""
        rule = "format.md 3"
        with Within("tokstore.json"):
            head = parse_json(self.load("tokstore.json", rule))
            require(head.get("format") == "tokstore", "the folder is no store", rule)
            version, store = head.get("version"), head.get("store")
            require(
                type(version) is str and re.fullmatch(r"[0-9]+\.[0-9]+", version) is not None, "no format version", rule
            )
            if int(str(version).split(".")[0]) > 1:
                raise ReadError("unsupported", f"the store has format {version}", "format.md 12.1")
            require(type(store) is str and re.fullmatch(r"[0-9a-f]{32}", store) is not None, "no store id", rule)
        return head

    def _newest(self) -> int:
        """Find the newest version by listing; the hint must not be above it (3)."""
        try:
            value = parse_json(self.load("latest", "format.md 3")).get("version")
            hint = value if type(value) is int else 0
        except ReadError:
            hint = 0  # a hint only: where it is missing or damaged, the listing alone decides
        names = (self.folder / "manifests").glob("*.tsm")
        numbers = [int(name.stem) for name in names if re.fullmatch(r"[0-9]{20}", name.stem)]
        newest = max([hint, *numbers])
        if newest == 0:
            raise missing_file("manifests/", "format.md 3")
        return newest

    def _parts(self) -> dict[str, Part]:
        """Read the parts that are staged (8.6)."""
        found = {}
        for path in sorted((self.folder / "parts").glob("*.tsp")):
            name = path.name.removesuffix(".tsp")
            if NAME.fullmatch(name):
                with Within(f"parts/{path.name}"):
                    found[name] = read_part(path.read_bytes(), Folder(self.folder))
        return found

    def _views(self, store_id: bytes) -> dict[str, View]:
        """Read the saved views (8.7)."""
        found = {}
        for path in sorted((self.folder / "views").glob("*/view.tsw")):
            name = path.parent.name
            if NAME.fullmatch(name):
                with Within(f"views/{name}/view.tsw"):
                    found[name] = parse_view(path.read_bytes(), store_id)
        return found

    def _attachments(self, body: dict[int, Any]) -> dict[str, bytes]:
        attachments = {}
        for name, digest, stored_bytes, content_bytes in body.get(12, {}).values():
            attachments[name] = parse_object(
                self.object(digest), digest, stored_bytes, content_bytes, ATTACHMENT
            ).content
        return attachments
