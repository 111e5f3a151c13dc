"""`Store`: a view of a whole version that can also write (format.md 9)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

from tokstore.column_changes import schema_with, with_optional
from tokstore.column_edits import ColumnEdits
from tokstore.column_parts import ColumnWriter, PartRows, column_of
from tokstore.column_types import ColumnType, Tokens
from tokstore.describe import describe_version
from tokstore.describe_text import version_html, version_text
from tokstore.editing import counted
from tokstore.errors import (
    ColumnError,
    ConflictError,
    MissingFileError,
    UnsupportedError,
)
from tokstore.growth import NewShards, Part, append_shards, join_new
from tokstore.manifest import listed_versions, read_root
from tokstore.parts import committed_nonces, decode_part, part_path, stage, staged_parts
from tokstore.root import Root
from tokstore.schema import Column
from tokstore.shard import file_path
from tokstore.storage import Storage
from tokstore.tokenizer import TextDecoder
from tokstore.upkeep import Upkeep
from tokstore.version import Version
from tokstore.writing import Progress, Writer

__all__ = ["Store", "VersionInfo"]


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


class Store(ColumnEdits, Upkeep):
    """All samples of one version of a store, and everything that changes it. Get one from `open`.

    A store opened without a version follows its own commits; `refresh` takes in those of others. One opened at a
    version, or from a single file, is read-only.
    """

    def __init__(self, storage: Storage, root: Root, *, pinned: bool = False, file_name: str | None = None) -> None:
        super().__init__(storage, root, pinned=pinned, file_name=file_name)
        self._text_decoder: TextDecoder | None = None

    # What it is -----------------------------------------------------------------------------------------------

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
        self._take_newest()
        return self

    @overload
    def writer(
        self,
        *,
        part: str | None = None,
        level: str | None = None,
        shard_tokens: int = 1 << 27,
        threads: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Writer: ...
    @overload
    def writer(
        self,
        *,
        part: str,
        column: str,
        type: ColumnType,
        optional: bool = True,
        level: str | None = None,
        threads: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> ColumnWriter: ...
    def writer(
        self,
        *,
        part: str | None = None,
        column: str | None = None,
        type: ColumnType | None = None,
        optional: bool = True,
        level: str | None = None,
        shard_tokens: int = 1 << 27,
        threads: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Writer | ColumnWriter:
        """Return a writer that appends. Several processes may append at once; each lands as a version of its own.

        Args:
            part: Stage what is written under this name instead, see `commit`.
            column: Write values of this one column for samples that are there, as a part. The column is added by
                `commit`, or filled if it is there by then.
            type: The type of that column.
            optional: Samples may come without it.
            level: Another level than that of the store, for what is written.
            shard_tokens: Tokens of one shard, held in memory while writing.
            threads: Threads that encode; the number of processors by default.
            progress: Called with a `Progress` while shards are written.

        Raises:
            UnsupportedError: The store is read-only.
            ExistsError: A part of that name is staged already.

        Example:
            >>> with store.writer(column="quality", type=ts.Score(), part="00017") as w:  # doctest: +SKIP
            ...     w.extend(ids, values)
        """
        self._check_writable()
        root = self._version.root
        if column is not None or type is not None:
            if column is None or type is None or part is None:
                raise TypeError("values of one column need column=, type= and part=")
            made = replace(self._new_column(column, type, optional, level), column_id=0)
            self._check_same_type(column, made.type)
            finish = stage(self.storage, part, self.version, made)
            return ColumnWriter(self.storage, made, root.next_sample_id, finish, threads=threads, progress=progress)
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

    def _append(self, new: NewShards) -> None:
        """Commit new shards after those of the newest version."""
        if new.page.shards:
            self._change(lambda newest, version: append_shards(newest, new, version.part_of_record))

    def commit(
        self,
        parts: str | Sequence[str] = "all",
        *,
        threads: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> int:
        """Take staged parts into one new version: new samples in the order of the names, or one column.

        Args:
            parts: ``"all"``, or the names of some.
            threads: Threads that encode a column.
            progress: Called with a `Progress` while a column is written.

        Returns:
            The number of the version.

        Raises:
            MissingFileError: A named part is not staged.
            ConflictError: Parts were written for other columns, or some for samples and some for a column, or two have
                values of one sample.
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
        column = column_of(taken)
        self.refresh()
        if column is not None:
            self._take_column(column, taken, threads, progress)
            paths += [file_path(one) for part in taken for one in part.shards.page.file_ids]
        else:
            self._change(lambda root, version: self._take_samples(root, version, taken))
        for path in paths:
            self.storage.delete(path)
        return self.version

    def _check_same_type(self, name: str, kind: ColumnType) -> None:
        """Refuse parts of the primary column, and of one that is there and has another type."""
        known = self.schema.get(name)
        if self.schema.primary.name == name:
            raise ValueError(f"column {name!r} is the primary one, which cannot be filled (format.md 6.2)")
        if known is not None and with_optional(known, True) != with_optional(kind, True):
            raise ConflictError(f"column {name!r} is there, and it is {known!r}", path=self.path, rule="format.md 8.6")

    def _take_samples(self, root: Root, version: Version, parts: Sequence[Part]) -> Root | None:
        """Return the draft of the version with the samples of parts that no version has taken in."""
        inside = committed_nonces(self.storage, root, parts)
        left = [one for one in parts if one.nonce not in inside]
        if not left:
            return None
        draft = append_shards(root, join_new([one.shards for one in left]), version.part_of_record)
        return replace(draft, part_nonces=b"".join(one.nonce for one in left))

    def _take_column(
        self,
        column: Column,
        parts: Sequence[Part],
        threads: int | None,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        """Add or fill a column from the parts that no version has taken in."""
        inside = committed_nonces(self.storage, self._version.root, parts)
        left = [one for one in parts if one.nonce not in inside]
        if not left:
            return
        nonces = b"".join(one.nonce for one in left)

        def sign(root: Root, draft: Root) -> Root | None:
            if committed_nonces(self.storage, root, left) & {one.nonce for one in left}:
                raise ConflictError("another process commits the same parts", rule="format.md 8.6")
            return replace(draft, part_nonces=nonces)

        self._check_same_type(column.name, column.type)
        known = next((one for one in self.schema.columns if one.name == column.name), None)
        source = PartRows(self.storage, left, known or column, self._version)
        if known is not None:
            self._fill(known, source, counted(progress, source.samples, f"fill {column.name}"), threads, sign)
        else:
            schema_with(self.schema, replace(column, column_id=self._version.root.next_column_id))
            self._add(column, source, counted(progress, len(self), f"add {column.name}"), threads, sign)
