"""`Editable`: a view of a whole version that follows what is committed, and how a change is committed (format.md 9)."""

from __future__ import annotations

from collections.abc import Callable

from tokstore.column_types import UnknownType
from tokstore.errors import CorruptError, MissingFileError, NotAStoreError, UnsupportedError
from tokstore.manifest import commit, newest_root
from tokstore.objects import StoredObject, decode_object, object_kinds, object_path
from tokstore.root import Root
from tokstore.saved_views import SavedViews
from tokstore.schema import Column
from tokstore.storage import Storage
from tokstore.version import Version
from tokstore.writing import Progress

__all__ = ["Editable", "counted"]


class Editable(SavedViews):
    """All samples of one version of a store, and the newest version to change. `Store` is what users see.

    Args:
        storage: The store.
        root: The root of the version.
        pinned: Never follow what is committed, and refuse to change anything.
        file_name: For a single file: its name in the storage.
    """

    def __init__(self, storage: Storage, root: Root, *, pinned: bool = False, file_name: str | None = None) -> None:
        super().__init__(Version(storage, root, file_name))
        self._pinned, self._file_name = pinned, file_name

    @property
    def storage(self) -> Storage:
        """Where its bytes are; it counts round trips and bytes."""
        return self._version.storage

    def _follow(self, root: Root | None) -> None:
        """Move on to a newer version."""
        if root is not None and root.version != self.version:
            self._version = Version(self._version.storage, root, self._file_name)
            self._spans = None

    def _take_newest(self) -> None:
        """Move on to the newest version."""
        if not self._pinned:
            self._follow(newest_root(self.storage))

    def _check_writable(self) -> None:
        if self._pinned:
            raise UnsupportedError(
                "this store is read-only: it was opened at a version, or is a single file",
                path=self.path,
                hint="open the folder without version= to write",
            )
        self._version.root.features.check_write("the store")

    def _change(self, change: Callable[[Root, Version], Root | None]) -> None:
        """Commit a change and follow it.

        Args:
            change: Makes the draft of the next version from the newest root and its open version; ``None`` means that
                nothing is to be done.
        """

        def draft(newest: Root | None) -> Root | None:
            if newest is None:
                raise NotAStoreError("the store is gone", path=self.path)
            newest.features.check_write("the store")
            own = self._version
            return change(newest, own if newest is own.root else Version(self.storage, newest))

        try:
            made = commit(self.storage, draft, self._version.root)
        except MissingFileError:
            if self._version.is_there():
                raise
            # Pages of a version that was pruned meanwhile are gone, but the change can be made to a newer one.
            made = commit(self.storage, draft, newest_root(self.storage))
        self._follow(made)

    def _current_object(self, column: Column) -> tuple[bytes, StoredObject] | None:
        """Return the object of a column that new shards may share: its content, and how it is stored."""
        named = self._version.root.current_objects.get(column.column_id)
        if named is None or isinstance(column.type, UnknownType):
            return None
        (data,) = self.storage.read_ranges([(object_path(named[0]), 0, None)])
        raw = bytes(data) if data is not None else b""
        content = decode_object(raw, *named)
        number = int.from_bytes(raw[4:6], "little")
        if number not in object_kinds(column.type):
            raise CorruptError(f"the current object of a column is of kind {number}", rule="format.md 8.1")
        return content, StoredObject(raw, named[0], number, len(content))


def counted(progress: Callable[[Progress], None] | None, total: int, what: str) -> Callable[[int], None]:
    """Return what counts samples and passes the count on."""
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(Progress(done, total, "samples", what))

    return report
