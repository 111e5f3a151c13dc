"""Staged parts: what many jobs wrote, waiting for one commit (format.md 8.6)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from tokstore.errors import ConflictError, ExistsError, TokstoreError, VersionError
from tokstore.growth import NewShards, Part
from tokstore.manifest import read_root
from tokstore.root import Root
from tokstore.schema import Column
from tokstore.storage import Storage

__all__ = ["committed_nonces", "decode_part", "part_path", "stage", "staged_parts"]

_SUFFIX = ".tsp"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_NONCE_BYTES = 16


def part_path(name: str) -> str:
    """Return where a part is staged, or refuse its name."""
    if not isinstance(name, str) or not _NAME.match(name):
        raise ValueError(f"a part is named by letters, digits, '.', '_' and '-', not {name!r} (format.md 3)")
    return f"parts/{name}{_SUFFIX}"


def staged_parts(storage: Storage) -> list[str]:
    """Return the names of the parts that wait, in order."""
    listed = [name[: -len(_SUFFIX)] for name in storage.list("parts") if name.endswith(_SUFFIX)]
    return sorted(name for name in listed if _NAME.match(name))


def stage(storage: Storage, name: str, base_version: int, column: Column | None = None) -> Callable[[NewShards], None]:
    """Return what stages new shards under a name that is free.

    Args:
        storage: The store.
        name: The name of the part.
        base_version: The newest version.
        column: The column that the part is for, if it is one of a column.

    Raises:
        ExistsError: The name is taken, now or when the shards are staged.
    """
    path = part_path(name)
    taken = ExistsError(
        "a part of that name is staged", path=storage.describe(path), hint="commit it, or choose another"
    )
    if name in staged_parts(storage):
        raise taken

    def finish(new: NewShards) -> None:
        if new.page.shards and not storage.put_if_absent(path, Part.of(new, base_version, column).encode()):
            raise taken

    return finish


def decode_part(data: bytes | memoryview, path: str) -> Part:
    """Parse a part, and name its file if it is damaged."""
    try:
        return Part.decode(data)
    except TokstoreError as error:
        raise type(error)(error.message, path=path, offset=error.offset, rule=error.rule) from error


def committed_nonces(storage: Storage, newest: Root, parts: Sequence[Part]) -> frozenset[bytes]:
    """Return the nonces of all parts that versions since these parts were begun have taken in.

    Raises:
        ConflictError: One of these versions is gone, so that it cannot be told whether a part is in already.
    """
    found: set[bytes] = set()
    for number in range(min(part.base_version for part in parts) + 1, newest.version + 1):
        try:
            root = newest if number == newest.version else read_root(storage, number)
        except VersionError as error:
            raise ConflictError(
                f"version {number} is gone, so that staged parts may be committed already",
                path=storage.describe("parts"),
                rule="format.md 8.6",
                hint="write the parts again",
            ) from error
        raw = root.part_nonces
        found.update(raw[i : i + _NONCE_BYTES] for i in range(0, len(raw), _NONCE_BYTES))
    return frozenset(found)
