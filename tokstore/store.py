"""`create`, `open`, `writer` and `Store`: a view of a whole version that can also write (format.md 3, 9)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tokstore.codecs.ranked import RankTable
from tokstore.creation import create_file, create_folder, encode_attachments, encode_user_metadata
from tokstore.describe import describe_version, version_html, version_text
from tokstore.errors import ConflictError, MissingFileError, NotAStoreError, UnsupportedError, VersionError, suggest
from tokstore.growth import NewShards, append_shards, join_new
from tokstore.manifest import STORE_FILE, Root, commit, find_newest, read_root
from tokstore.objects import ATTACHMENT, RANK_TABLE, StoredObject, decode_object, object_path
from tokstore.parts import committed_nonces, decode_part, part_path, stage, staged_parts
from tokstore.schema import Column, Schema, Tokens
from tokstore.single import open_file
from tokstore.storage import LocalStorage, Storage
from tokstore.tokenizer import TextDecoder
from tokstore.version import Version
from tokstore.view import View
from tokstore.writer import Progress, Writer

__all__ = ["Store", "VersionInfo", "create", "open_store", "part_writer"]

Path = str | os.PathLike[str]


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


def create(
    path: Path,
    schema: Schema,
    *,
    level: str = "default",
    exist: str = "error",
    attachments: Mapping[str, Path | bytes] | None = None,
    metadata: Mapping[str, Any] | None = None,
    shard_tokens: int = 1 << 27,
    threads: int | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Writer:
    """Create a store and return its writer. Nothing is visible before the ``with`` block ends or `Writer.commit` is called.

    Args:
        path: A folder, or a file that ends in ``.tok`` for a store in a single file.
        schema: Its columns.
        level: ``"plain"`` (for simple readers), ``"fast"``, ``"default"`` or ``"small"``: see spec/codecs.md 2.3.
        exist: ``"error"`` refuses a target that is there; ``"append"`` adds to a store with the same columns.
        attachments: Files that travel with the store, by name: a path, or the bytes. ``tokenizer.json`` makes `Store.text` work.
        metadata: Anything that JSON can hold, at most 16 KiB.
        shard_tokens: Tokens of one shard, held in memory while writing: 256 MB at 2 bytes each by default.
        threads: Threads that encode; the number of processors by default.
        progress: Called with a `Progress` while shards are written.

    Raises:
        ExistsError: The target is there.
        ConflictError: With ``exist="append"``: the store has other columns.
        ValueError, TypeError: An argument is wrong.

    Example:
        >>> import tokstore as ts, tempfile
        >>> path = tempfile.mkdtemp() + "/s"
        >>> with ts.create(path, ts.Schema(tokens=ts.Tokens(256))) as w:
        ...     w.extend(tokens=[[1, 2, 3], [4]])
        >>> len(ts.open(path))
        2
    """
    if not isinstance(schema, Schema):
        raise TypeError(f"schema is a tokstore.Schema, not {type(schema).__name__}")
    if exist not in ("error", "append"):
        raise ValueError(f'exist is "error" or "append", not {exist!r}')
    options: dict[str, Any] = {
        "level": level,
        "shard_tokens": shard_tokens,
        "threads": threads,
        "progress": progress,
    }
    target = os.path.abspath(os.fspath(path))
    if exist == "append" and os.path.exists(os.path.join(target, STORE_FILE)):
        store = open_store(target)
        if [(c.name, c.type) for c in store.schema.columns] != [(c.name, c.type) for c in schema.columns]:
            raise ConflictError(
                "the store has other columns than those to append", path=target, hint=f"it has {store.schema}"
            )
        return store.writer(**options)
    objects, text = encode_attachments(attachments), encode_user_metadata(metadata)
    make = create_file if target.endswith(".tok") else create_folder
    return make(target, schema.with_level(level), objects, text, options)


def open_store(path: Path, version: int | str | None = None) -> Store:
    """Open a store for reading and appending. Reads a few kilobytes, whatever its size.

    Args:
        path: A folder that holds a store, or a single ``.tok`` file (read-only).
        version: A number or a tag; the newest by default. A store opened at a version is read-only.

    Raises:
        NotAStoreError: There is no store.
        VersionError: No such version or tag.
        CorruptError: Its newest root is damaged; an older one is never taken instead.
        UnsupportedError: A newer format.

    Example:
        >>> store = ts.open("corpus")  # doctest: +SKIP
        >>> store[17]["tokens"]  # doctest: +SKIP
    """
    target = os.path.abspath(os.fspath(path))
    if os.path.isfile(target):
        if version not in (None, 1):
            raise VersionError("a single file has one version, 1", path=target)
        folder, name = os.path.split(target)
        storage = LocalStorage(folder)
        root, _ = open_file(storage, name)
        return Store(storage, root, pinned=True, file_name=name)
    if not os.path.isdir(target):
        raise NotAStoreError("there is no such file or folder", path=target)
    storage = LocalStorage(target)
    newest = _newest(storage)
    if version is None:
        return Store(storage, newest)
    number = newest.tags.get(version) if isinstance(version, str) else int(version)
    if number is None:
        raise VersionError(f"no tag {version!r}", path=target, hint=suggest(str(version), newest.tags))
    return Store(storage, newest if number == newest.version else read_root(storage, number), pinned=True)


def _newest(storage: Storage) -> Root:
    """Return the newest root of a store that has one."""
    root = find_newest(storage)[1]
    if root is None:
        raise NotAStoreError(
            "the store has no committed version", path=storage.describe(), rule="format.md 3", hint="create it again"
        )
    return root


def part_writer(path: Path, part: str, **options: Any) -> Writer:
    """Return a writer that stages its samples as one part, for a later ``store.commit(parts=...)`` of many parts as one version.

    A thousand jobs write a thousand parts side by side; none of them touches the manifest.

    Args:
        path: The folder of a store that exists.
        part: Name of the part: letters, digits, ``.``, ``_`` and ``-``. Parts become shards in the order of their names.
        **options: As of `Store.writer`.

    Raises:
        ExistsError: A part of that name is staged already.
    """
    return open_store(path).writer(part=part, **options)


class Attachments(Mapping[str, bytes]):
    """Files that travel with a store, by name; read when they are asked for."""

    def __init__(self, version: Version, file_name: str | None) -> None:
        self._version, self._file_name = version, file_name

    def __getitem__(self, name: str) -> bytes:
        known = self._version.root.attachments
        if name not in known:
            raise KeyError(f"no attachment {name!r}; {suggest(name, known)}")
        wanted, nbytes, _ = known[name]
        storage = self._version.storage
        if self._file_name is not None:
            _, file = open_file(storage, self._file_name)
            one = next(one for one in file.objects if one.digest == wanted)
            if one.offset is not None:
                return decode_object(file.embedded(one), wanted, ATTACHMENT)
        (data,) = storage.read_ranges([(object_path(wanted), 0, nbytes)])
        return decode_object(data if data is not None else b"", wanted, ATTACHMENT)

    def __iter__(self) -> Iterator[str]:
        return iter(self._version.root.attachments)

    def __len__(self) -> int:
        return len(self._version.root.attachments)

    def __repr__(self) -> str:
        return f"Attachments({', '.join(self)})"


class Store(View):
    """All samples of one version of a store, and everything that changes it. Get one from `open`.

    A store opened without a version follows its own commits; `refresh` takes in those of others. One opened at a version, or from a
    single file, is read-only.
    """

    def __init__(self, storage: LocalStorage, root: Root, *, pinned: bool = False, file_name: str | None = None) -> None:
        super().__init__(Version(storage, root, file_name))
        self._pinned, self._file_name = pinned, file_name
        self._text_decoder: TextDecoder | None = None

    # What it is -----------------------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """Where the store is."""
        return self._version.storage.describe(self._file_name or "")

    @property
    def storage(self) -> Storage:
        """Where its bytes are; it counts round trips and bytes."""
        return self._version.storage

    @property
    def version(self) -> int:
        """Number of the version."""
        return self._version.root.version

    @property
    def metadata(self) -> dict[str, Any]:
        """What was given as ``metadata`` when the store was made."""
        text = self._version.root.metadata
        return {} if text is None else dict(json.loads(text))

    @property
    def attachments(self) -> Attachments:
        """Files that travel with the store: a mapping from name to bytes."""
        return Attachments(self._version, self._file_name)

    def stored_bytes(self, column: str | None = None) -> int:
        """Return how many bytes the version, or one column of it, takes at rest.

        Args:
            column: With a name: blocks, tables, lengths and presence (both copies), and objects of that column; all files are opened
                for that. Without: data files, objects, and the manifest of this version.
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
            return str(value[0])
        if self._text_decoder is None:
            self._text_decoder = TextDecoder.of_store(self.attachments, self.metadata, self.path)
        return self._text_decoder.decode(value[0])

    def show(self, position: int, *, width: int = 100, lines: int = 12) -> None:
        """Print one sample for people: its columns, and the beginning of its tokens as text where a tokenizer is attached.

        Args:
            position: Its position.
            width: Characters in a line.
            lines: Lines of text at most.
        """
        sample = self[position]
        print(f"sample {position} of {len(self)} · id {sample['sample_id']}")
        for name in self.schema.names:
            value = sample[name]
            if isinstance(self.schema[name], Tokens) and value is not None:
                shown = ", ".join(str(one) for one in value[:12].tolist())
                print(f"  {name}: {len(value)} tokens [{shown}{', …' if len(value) > 12 else ''}]")
            else:
                print(f"  {name}: {value if value is not None else '(missing)'}")
        try:
            text = self.text(position)
        except (MissingFileError, UnsupportedError, LookupError) as error:
            print(f"  (no text: {error})")
            return
        cut = [line[i : i + width] for line in text.splitlines() for i in range(0, max(len(line), 1), width)]
        print("\n".join(["", *cut[:lines], *(["…"] if len(cut) > lines else [])]))

    def versions(self) -> list[VersionInfo]:
        """Return the versions that are there, newest first."""
        if self._file_name is not None:
            roots = [self._version.root]
        else:
            listed = [name for name in self.storage.list("manifests") if name.endswith(".tsm")]
            roots = [read_root(self.storage, int(name[:-4])) for name in reversed(listed)]
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
            self._follow(_newest(self.storage))
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
            current=self._current_table,
        )

    def _current_table(self, column: Column) -> tuple[RankTable, StoredObject] | None:
        """Return the rank table of a column that new shards may share."""
        named = self._version.root.current_objects.get(column.column_id)
        if named is None or not isinstance(column.type, Tokens):
            return None
        (data,) = self.storage.read_ranges([(object_path(named[0]), 0, None)])
        raw = bytes(data) if data is not None else b""
        content = decode_object(raw, named[0], RANK_TABLE)
        return RankTable.decode(content, column.type.vocab_size), StoredObject(raw, named[0], RANK_TABLE, len(content))

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
        names = staged_parts(self.storage) if parts == "all" else sorted(parts)
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
