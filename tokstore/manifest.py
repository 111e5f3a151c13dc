"""Which version is the newest, and how the next one is committed (format.md 3, 9).

A root is small, whatever the store's size: schema, totals, and one record per page. Committing is one exclusive
creation of a name; who loses the race applies its change to what the winner made and tries again.
"""

from __future__ import annotations

import contextlib
import json
import operator
import re
from collections.abc import Callable
from typing import Any

from tokstore.errors import (
    ChecksumError,
    ConflictError,
    CorruptError,
    MissingFileError,
    NotAStoreError,
    TokstoreError,
    VersionError,
)
from tokstore.format import (
    MAX_JSON_FILE_BYTES,
    VERSION_TEXT,
    check_version,
)
from tokstore.root import Root
from tokstore.storage import Storage
from tokstore.wire import json_checksum

__all__ = [
    "LATEST_FILE",
    "STORE_FILE",
    "commit",
    "find_newest",
    "identity_json",
    "listed_versions",
    "newest_root",
    "read_identity",
    "read_root",
    "read_version",
    "root_path",
]

_ROOT_NAME = re.compile(r"([0-9]{20})\.tsm\Z")
_MOST_TRIES = 1000
STORE_FILE, LATEST_FILE = "tokstore.json", "latest"


def root_path(version: int) -> str:
    """Return where the root of a version lies."""
    return f"manifests/{version:020d}.tsm"


def read_json(data: memoryview | bytes, path: str) -> dict[str, Any]:
    """Parse one of the JSON files and verify its checksum (format.md 2.6)."""
    if len(data) > MAX_JSON_FILE_BYTES:
        raise CorruptError(
            f"a file of {len(data)} bytes, at most {MAX_JSON_FILE_BYTES}", path=path, rule="format.md 11"
        )
    try:
        pairs = json.loads(bytes(data).decode(), object_pairs_hook=_Members)
    except (ValueError, RecursionError) as error:
        raise CorruptError("this is no JSON", path=path, rule="format.md 2.6") from error
    members = dict(pairs) if isinstance(pairs, _Members) else {}
    if not isinstance(pairs, _Members) or len(members) != len(pairs):
        raise CorruptError("this is no JSON object, or a member occurs twice", path=path, rule="format.md 2.6")
    if not all(_is_member(key, value) for key, value in pairs):
        raise CorruptError("a member is no string and no integer from 0 on", path=path, rule="format.md 2.6")
    if members.get("checksum") != json_checksum(members):
        raise ChecksumError("the checksum of the JSON members differs", path=path, rule="format.md 2.6")
    return members


class _Members(list[tuple[str, Any]]):
    """The members of a JSON object as they stand there."""


def _is_member(key: str, value: object) -> bool:
    """Tell whether a member of a JSON file may be there; half of a surrogate pair has no UTF-8."""
    text = key + value if isinstance(value, str) else key
    is_kept = isinstance(value, str) or (type(value) is int and 0 <= value < 1 << 63)
    return is_kept and not any("\ud800" <= one <= "\udfff" for one in text)


def write_json(members: dict[str, object]) -> bytes:
    """Return the bytes of one of the JSON files."""
    return (json.dumps(members | {"checksum": json_checksum(members)}, sort_keys=True) + "\n").encode()


def identity_json(store_id: bytes) -> bytes:
    """Return the bytes of `tokstore.json`."""
    return write_json({"format": "tokstore", "version": VERSION_TEXT, "store": store_id.hex()})


def read_identity(data: memoryview | bytes, path: str) -> bytes:
    """Return the store id from `tokstore.json`."""
    members = read_json(data, path)
    if members.get("format") != "tokstore":
        raise NotAStoreError("this tokstore.json is of something else", path=path, rule="format.md 3")
    version = re.fullmatch(r"([0-9]{1,5})\.([0-9]{1,5})", str(members.get("version")))
    store = members.get("store")
    if version is None or not isinstance(store, str) or not re.fullmatch(r"[0-9a-f]{32}", store):
        raise CorruptError("store id or version do not parse", path=path, rule="format.md 3")
    check_version(int(version[1]), int(version[2]), "the store")
    return bytes.fromhex(store)


def listed_versions(storage: Storage) -> list[int]:
    """Return the numbers of the roots that are there, ascending; an empty file stands for one that was removed."""
    names = [_ROOT_NAME.match(entry.name) for entry in storage.entries("manifests") if entry.nbytes]
    return sorted(int(found[1]) for found in names if found)


def read_root(storage: Storage, version: int) -> Root:
    """Read the root of one version."""
    (data,) = storage.read_ranges([(root_path(version), 0, None)], missing_ok=True)
    if not data:
        was = storage.can_list and any(0 < version < one for one in listed_versions(storage))
        if data is None or was:
            raise VersionError(
                f"there is no version {version}{' any more: it was pruned' if was else ''}",
                path=storage.describe(),
                hint="see versions()",
            )
    return _decode_at(data, version)


def read_version(storage: Storage, version: int) -> Root:
    """Read the root of one version of a store that was not looked at before."""
    (identity,) = storage.read_ranges([(STORE_FILE, 0, None)], missing_ok=True)
    store_id = _identity_of(storage, identity)
    return _of_store(read_root(storage, version), store_id)


def _decode_at(data: memoryview, version: int) -> Root:
    """Decode a root and say which file it was if it is damaged."""
    try:
        return Root.decode(data, version)
    except TokstoreError as error:
        if error.path is not None:
            raise
        raise type(error)(
            error.message, path=root_path(version), offset=error.offset, rule=error.rule, hint=error.hint
        ) from error


def find_newest(storage: Storage) -> tuple[bytes, Root | None]:
    """Return the store id and the newest root, in two round trips if `latest` is right (format.md 3).

    Raises:
        NotAStoreError: There is no `tokstore.json`.
    """
    identity, hint = storage.read_ranges([(STORE_FILE, 0, None), (LATEST_FILE, 0, None)], missing_ok=True)
    store_id = _identity_of(storage, identity)
    number = _version_in(hint)  # it is a hint only; the roots themselves decide
    hinted, number = number is not None, max(1, number or 1)
    if number == 1 and storage.can_list:
        # Without a hint the numbers may begin anywhere: older versions can have been pruned.
        number = max([number, *listed_versions(storage)])
    found: memoryview | None = None
    ahead = 2
    while True:
        roots = storage.read_ranges([(root_path(number + i), 0, None) for i in range(ahead)], missing_ok=True)
        present = [one for one in roots if one is not None]
        if roots[0] is None:
            break
        count = next((i for i, one in enumerate(roots) if one is None), len(roots))
        found, number = present[count - 1], number + count
        if count < ahead:
            break
        ahead *= 2
    if found is None:
        if hinted:
            raise MissingFileError(f"the root of version {number} is gone", path=root_path(number), rule="format.md 3")
        return store_id, None
    return store_id, _of_store(_decode_at(found, number - 1), store_id)


def newest_root(storage: Storage) -> Root:
    """Return the newest root of a store that has one."""
    root = find_newest(storage)[1]
    if root is None:
        raise NotAStoreError(
            "the store has no committed version", path=storage.describe(), rule="format.md 3", hint="create it again"
        )
    return root


def _identity_of(storage: Storage, identity: memoryview | None) -> bytes:
    """Return the store id from what was read of `tokstore.json`."""
    if identity is None:
        raise NotAStoreError(
            "this is no tokstore store", path=storage.describe(), rule="format.md 3", hint="there is no tokstore.json"
        )
    return read_identity(identity, storage.describe(STORE_FILE))


def _of_store(root: Root, store_id: bytes) -> Root:
    """Return a root if it belongs to the store."""
    if root.store_id != store_id:
        raise CorruptError("the root belongs to another store", path=root_path(root.version), rule="format.md 8.1")
    return root


def commit(storage: Storage, change: Callable[[Root | None], Root | None], newest: Root | None) -> Root | None:
    """Commit a version (format.md 9): apply a change to the newest root until it is the next one.

    Args:
        storage: The store.
        change: Makes the draft of the next version from the newest one; ``None`` means nothing is to be done.
        newest: What the caller believes is the newest version, or ``None`` before the first.

    Raises:
        ConflictError: Others were faster a thousand times.
    """
    (hint,) = storage.read_ranges([(LATEST_FILE, 0, None)], missing_ok=True)
    if newest is not None and (_version_in(hint) or 0) > newest.version:
        newest = find_newest(storage)[1]  # its number may be free again, where newer versions were removed
    for _ in range(_MOST_TRIES):
        draft = change(newest)
        if draft is None:
            return newest
        data, files = draft.encode()
        for path, content in files:
            storage.put(path, content)
        path = root_path(draft.version)
        written = storage.put_if_absent(path, data)
        if (written and not storage.reads_back) or _is_own(storage, path, draft.nonce):
            # The version exists now. `latest` is a hint, and a disk that is too full for it changes nothing.
            with contextlib.suppress(OSError):
                storage.replace(LATEST_FILE, write_json({"version": draft.version}))
            return Root.decode(data, draft.version)
        # Files of the lost draft stay: the winner may have moved the same page out of its root. `prune` removes
        # orphans.
        newest = find_newest(storage)[1]
    raise ConflictError("other writers were always faster", path=storage.describe(), rule="format.md 9")


def _version_in(hint: memoryview | None) -> int | None:
    """Return the number in `latest`, or ``None`` where there is none that can be read."""
    try:
        return None if hint is None else operator.index(read_json(hint, LATEST_FILE)["version"])
    except (CorruptError, KeyError, TypeError):
        return None


def _is_own(storage: Storage, path: str, nonce: bytes) -> bool:
    """Tell whether the root at a path is the one that was just written (an answer can be lost on its way)."""
    # An empty one is of a version that was pruned (format.md 9.2).
    (data,) = storage.read_ranges([(path, 0, None)], missing_ok=True)
    return bool(data) and data is not None and Root.decode(data).nonce == nonce
