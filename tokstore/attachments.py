"""Files that travel with a store (format.md 5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tokstore.errors import (
    suggest,
)
from tokstore.objects import ATTACHMENT, decode_object, object_path
from tokstore.single import open_file
from tokstore.version import Version

__all__ = ["Attachments"]


class Attachments(Mapping[str, bytes]):
    """Files that travel with a store, by name; read when they are asked for."""

    def __init__(self, version: Version, file_name: str | None) -> None:
        self._version, self._file_name = version, file_name

    def __getitem__(self, name: str) -> bytes:
        known = self._version.root.attachments
        if name not in known:
            raise KeyError(f"no attachment {name!r}; {suggest(name, known)}")
        wanted, nbytes, content_bytes = known[name]
        storage = self._version.storage
        if self._file_name is not None:
            _, file = open_file(storage, self._file_name)
            one = next(one for one in file.objects if one.digest == wanted)
            if one.offset is not None:
                return decode_object(file.embedded(one), wanted, nbytes, ATTACHMENT, content_bytes)
        (data,) = storage.read_ranges([(object_path(wanted), 0, nbytes)])
        return decode_object(data if data is not None else b"", wanted, nbytes, ATTACHMENT, content_bytes)

    def __iter__(self) -> Iterator[str]:
        return iter(self._version.root.attachments)

    def __len__(self) -> int:
        return len(self._version.root.attachments)

    def __repr__(self) -> str:
        return f"Attachments({', '.join(self)})"
