"""`Store`: a view of a whole version that can also write (format.md 9)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tokstore.column_types import Tokens, UnknownType
from tokstore.describe import describe_version, version_html, version_text
from tokstore.errors import (
    ColumnError,
    MissingFileError,
    NotAStoreError,
    UnsupportedError,
)
from tokstore.growth import NewShards, append_shards, join_new
from tokstore.manifest import commit, find_newest, listed_versions, read_root
from tokstore.objects import StoredObject, check_object_kind, decode_object, object_path
from tokstore.parts import committed_nonces, decode_part, part_path, stage, staged_parts
from tokstore.root import Root
from tokstore.saved_views import SavedViews
from tokstore.schema import Column
from tokstore.storage import LocalStorage, Storage
from tokstore.tokenizer import TextDecoder
from tokstore.version import Version
from tokstore.writer import Progress, Writer

__all__ = ["Store", "VersionInfo", "newest_root"]


@dataclass(frozen=True)
class VersionInfo:
    """One line of `Store.versions`.

    Attributes:
        version: Its number.
        created_ms: Milliseconds since 1970-01-01 UTC.
        verb: What made it, such as ``"append"``.
        samples: Samples in it.
        samples_added: Samples that it added.
        tags: Its tags.
    """

    version: int
    created_ms: int
    verb: str
    samples: int
    samples_added: int
    tags: tuple[str, ...]


def newest_root(storage: Storage) -> Root:
    """Return the newest root of a store that has one."""
    root = find_newest(storage)[1]
    if root is None:
        raise NotAStoreError(
            "the store has no committed version", path=storage.describe(), rule="format.md 3", hint="create it again"
        )
    return root


class Store(SavedViews):
    """All samples of one version of a store, and everything that changes it. Get one from `open`.

    A store opened without a version follows its own commits; `refresh` takes in those of others. One opened at a
    version, or from a single file, is read-only.
    """

    def __init__(
        self, storage: LocalStorage, root: Root, *, pinned: bool = False, file_name: str | None = None
    ) -> None:
        super().__init__(Version(storage, root, file_name))
        self._pinned, self._file_name = pinned, file_name
        self._text_decoder: TextDecoder | None = None

    # What it is -----------------------------------------------------------------------------------------------

    @property
    def storage(self) -> Storage:
        """Where its bytes are; it counts round trips and bytes."""
        return self._version.storage

    def stored_bytes(self, column: str | None = None) -> int:
        """Return how many bytes the version, or one column of it, takes at rest.

        Args:
            column: With a name: blocks, tables, lengths and presence (both copies), and objects of that column; all
                files are opened for that. Without: data files, objects, and the manifest of this version.
        """
        facts = describe_version(self._version, deep=column is not None)
        if column is None:
            return int(facts["bytes"]["total"])
        name = self.schema.column(column).name
        return next(int(one["total_bytes"]) for one in facts["columns"] if one["name"] == name)

    def describe(self) -> dict[str, Any]:
        """Return what `repr` and ``tokstore info`` show, as a dict that JSON can hold. Opens every data file."""
        return {"path": self.path} | describe_version(self._version, deep=True)

    def __repr__(self) -> str:
        return version_text(self.path, describe_version(self._version, deep=False))

    def _repr_html_(self) -> str:
        return version_html(self.path, describe_version(self._version, deep=False))

    def text(self, position: int, column: str | None = None) -> str:
        """Return one sample as text, by the tokenizer that is attached.

        Args:
            position: Its position.
            column: A token or text column; the token column by default.
        """
        name = column or self.token_column
        value = self.take([position], [name])[name]
        if not isinstance(self.schema[name], Tokens):
            return "" if value[0] is None else str(value[0])
        if self._text_decoder is None:
            self._text_decoder = TextDecoder.of_store(self.attachments, self.metadata, self.path)
        return self._text_decoder.decode(value[0])

    def show(self, position: int, *, width: int = 100, lines: int = 12) -> None:
        """Print one sample for people: its columns, and the beginning of its tokens as text where a tokenizer is
        attached.

        Args:
            position: Its position.
            width: Characters in a line.
            lines: Lines of text at most.
        """
        sample = self[position]
        found = [f"sample {position} of {len(self)} · id {sample['sample_id']}"]
        for name in self.schema.names:
            value = sample[name]
            if isinstance(self.schema[name], Tokens) and value is not None:
                shown = ", ".join(str(one) for one in value[:12].tolist())
                found.append(f"  {name}: {len(value)} tokens [{shown}{', …' if len(value) > 12 else ''}]")
            else:
                found.append(f"  {name}: {value if value is not None else '(missing)'}")
        try:
            text = self.text(position)
        except (MissingFileError, UnsupportedError, ColumnError) as error:
            found.append(f"  (no text: {error})")
        else:
            cut = [line[i : i + width] for line in text.splitlines() for i in range(0, max(len(line), 1), width)]
            found += ["", *cut[:lines], *(["…"] if len(cut) > lines else [])]
        sys.stdout.write("\n".join(found) + "\n")

    def versions(self) -> list[VersionInfo]:
        """Return the versions that are there, newest first."""
        if self._file_name is not None:
            roots = [self._version.root]
        else:
            roots = [read_root(self.storage, number) for number in reversed(listed_versions(self.storage))]
        tags = roots[0].tags if roots else {}
        return [
            VersionInfo(
                root.version,
                root.created_ms,
                root.verb,
                root.totals.samples,
                root.samples_added,
                tuple(sorted(name for name, number in tags.items() if number == root.version)),
            )
            for root in roots
        ]

    # What changes it ------------------------------------------------------------------------------------------

    def refresh(self) -> Store:
        """Take in what others have committed; return the store itself."""
        if not self._pinned:
            self._follow(newest_root(self.storage))
        return self

    def _follow(self, root: Root | None) -> None:
        """Move on to a newer version."""
        if root is not None and root.version != self.version:
            self._version = Version(self._version.storage, root, self._file_name)

    def _check_writable(self) -> None:
        if self._pinned:
            raise UnsupportedError(
                "this store is read-only: it was opened at a version, or is a single file",
                path=self.path,
                hint="open the folder without version= to write",
            )
        self._version.root.features.check_write("the store")

    def writer(
        self,
        *,
        part: str | None = None,
        level: str | None = None,
        shard_tokens: int = 1 << 27,
        threads: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Writer:
        """Return a writer that appends. Several processes may append at once; each lands as a version of its own.

        Args:
            part: Stage the samples under this name instead, see `commit`.
            level: Another level than that of the store, for the new shards.
            shard_tokens: Tokens of one shard, held in memory while writing.
            threads: Threads that encode; the number of processors by default.
            progress: Called with a `Progress` while shards are written.

        Raises:
            UnsupportedError: The store is read-only.
            ExistsError: A part of that name is staged already.
        """
        self._check_writable()
        root = self._version.root
        schema = root.schema if level is None else root.schema.with_level(level)
        finish = self._append if part is None else stage(self.storage, part, self.version)
        return Writer(
            self.storage,
            schema,
            finish,
            level=level or "default",
            shard_tokens=shard_tokens,
            threads=threads,
            progress=progress,
            current=self._current_object,
        )

    def _current_object(self, column: Column) -> tuple[bytes, StoredObject] | None:
        """Return the object of a column that new shards may share: its content, and how it is stored."""
        named = self._version.root.current_objects.get(column.column_id)
        if named is None or isinstance(column.type, UnknownType):
            return None
        (data,) = self.storage.read_ranges([(object_path(named[0]), 0, None)])
        raw = bytes(data) if data is not None else b""
        content = decode_object(raw, *named)
        number = int.from_bytes(raw[4:6], "little")
        check_object_kind(column.type, column.type.codecs[0], number)
        return content, StoredObject(raw, named[0], number, len(content))

    def _append(self, new: NewShards) -> None:
        """Commit new shards after those of the newest version."""
        if not new.page.shards:
            return

        def change(newest: Root | None) -> Root:
            if newest is None:
                raise NotAStoreError("the store is gone", path=self.path)
            newest.features.check_write("the store")
            return append_shards(newest, new, Version(self.storage, newest).part_of_record)

        self._follow(commit(self.storage, change, self._version.root))

    def commit(self, parts: str | Sequence[str] = "all") -> int:
        """Take staged parts into one new version, in the order of their names.

        Args:
            parts: ``"all"``, or the names of some.

        Returns:
            The number of the version.

        Raises:
            MissingFileError: A named part is not staged.
            ConflictError: Parts were written for other columns, or one is in a version already.
        """
        self._check_writable()
        if isinstance(parts, str) and parts != "all":
            raise TypeError(f'parts is "all" or a list of names, such as [{parts!r}]')
        names = staged_parts(self.storage) if parts == "all" else sorted(set(parts))
        paths = [part_path(name) for name in names]
        read = self.storage.read_ranges([(path, 0, None) for path in paths]) if paths else []
        taken = [decode_part(data if data is not None else b"", path) for data, path in zip(read, paths, strict=True)]
        if not taken:
            return self.version

        def change(newest: Root | None) -> Root | None:
            if newest is None:
                raise NotAStoreError("the store is gone", path=self.path)
            inside = committed_nonces(self.storage, newest, taken)
            left = [one for one in taken if one.nonce not in inside]
            if not left:
                return None
            new = join_new([one.shards for one in left])
            read_part = Version(self.storage, newest).part_of_record
            draft = append_shards(newest, new, read_part)
            return replace(draft, part_nonces=b"".join(one.nonce for one in left))

        self._follow(commit(self.storage, change, self.refresh()._version.root))
        for path in paths:
            self.storage.delete(path)
        return self.version
