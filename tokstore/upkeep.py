"""What keeps a store in order: delete, compact, merge, tag, prune (format.md 8.5, 9)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from tokstore.compaction import Group, PageFacts, replace_group, rewrite_group, stays_apart
from tokstore.compaction_groups import groups_to_rewrite
from tokstore.deleting import delete_from
from tokstore.editing import Editable, counted
from tokstore.errors import ConflictError, ExistsError, TokstoreError, VersionError, suggest
from tokstore.growth import NewShards
from tokstore.manifest import newest_root, read_root
from tokstore.objects import VECTOR_MODEL, StoredObject
from tokstore.packed import Ints
from tokstore.pruning import Pruned, plan_pruning, remove
from tokstore.root import Root
from tokstore.rounded import Rounded
from tokstore.schema import Column
from tokstore.version import Version
from tokstore.view import View
from tokstore.writing import Progress, Writer

__all__ = ["Compacted", "Upkeep"]

_TRIES = 3
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


@dataclass
class Compacted:
    """What `Store.compact` or `Store.merge` did.

    Attributes:
        replaced: Shards that were rewritten.
        made: Shards that stand for them now.
        left_out: Deleted samples that are not in these.
        versions: Versions that were committed.
        conflicts: Groups of shards that were left alone, since others changed them meanwhile.
    """

    replaced: int = 0
    made: int = 0
    left_out: int = 0
    versions: int = 0
    conflicts: int = 0

    def add(self, group: Group) -> None:
        """Count a group."""
        self.replaced += len(group.keys)
        self.made += 0 if group.new is None else group.new.page.shards
        self.left_out += sum(int(np.count_nonzero(gone)) for gone in group.is_gone)
        self.versions += 1

    def __repr__(self) -> str:
        alone = f", {self.conflicts} groups left alone since others changed them" if self.conflicts else ""
        made = f"{self.replaced:,} shards became {self.made:,}, {self.left_out:,} deleted samples left out"
        return f"<Compacted: {made}{alone}>"


class Upkeep(Editable):
    """A store that can be kept in order. `Store` is what users see."""

    def delete(self, positions: Any = None, *, ids: Any = None, where: Any = None) -> int:
        """Delete samples, as one version. Earlier versions keep them; `compact` and `prune` give their bytes back.

        Args:
            positions: Integers, a slice, booleans for all samples, or a view of this store.
            ids: Sample ids instead. Ids of samples that are deleted already are passed over.
            where: A condition instead, as of `View.where`.

        Returns:
            The number of samples deleted.

        Raises:
            TypeError: Not exactly one of the three is given.
            IndexError: A position is outside the store.
            ValueError: No sample has ever had one of the ids.

        Example:
            >>> store.delete(ids=[17, 4711])  # doctest: +SKIP
            2
        """
        self._check_writable()
        if sum(one is not None for one in (positions, ids, where)) != 1:
            raise TypeError("give one of positions, ids= and where=")
        wanted = self._chosen_ids(positions, ids, where)
        count = 0

        def change(root: Root, version: Version) -> Root | None:
            nonlocal count
            draft, count = delete_from(root, wanted, version)
            return draft

        self._change(change)
        return count

    def compact(
        self,
        *,
        min_deleted: float = 0.2,
        max_shards: int = 64,
        shard_tokens: int = 1 << 27,
        erase: bool = False,
        threads: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Compacted:
        """Rewrite shards without their deleted samples, one version for each group of neighbours.

        Order and sample ids stay, and so do earlier versions, until `prune` removes them. Small neighbours of shards
        that are rewritten are joined with them.

        Args:
            min_deleted: Share of deleted samples from which on a shard is rewritten.
            max_shards: Shards that one version replaces, at most.
            shard_tokens: Tokens of one shard, held in memory while it is written.
            erase: Let nothing of a deleted sample stay in the newest version: rewrite every shard with a deletion, and
                every one that shares a column file, rank table or dictionary with such a shard.
            threads: Threads that encode; the number of processors by default.
            progress: Called with a `Progress` of samples done.

        Returns:
            What was done. Groups that others changed meanwhile are left alone and counted in `conflicts`.

        Example:
            >>> store.compact()  # doctest: +SKIP
            <Compacted: 12 shards became 3, 4,711 deleted samples left out>
        """
        return self._rewrite("compact", min_deleted, max_shards, shard_tokens, erase, threads, progress)

    def merge(
        self,
        *,
        shard_tokens: int = 1 << 27,
        max_shards: int = 64,
        threads: int | None = None,
        progress: Callable[[Progress], None] | None = None,
    ) -> Compacted:
        """Join small neighbouring shards, as many appends leave them; otherwise as `compact`.

        Args:
            shard_tokens: Tokens of one shard; shards of less than half of it are small.
            max_shards: Shards that one version replaces, at most.
            threads: Threads that encode; the number of processors by default.
            progress: Called with a `Progress` of samples done.
        """
        return self._rewrite("merge", 2.0, max_shards, shard_tokens, False, threads, progress)

    def tag(self, name: str, version: int | None = None, *, exist: str = "error") -> None:
        """Give a version a name, by which it can be opened and which keeps it from `prune`.

        Args:
            name: Letters, digits, ``.``, ``_`` and ``-``.
            version: Its number; that of this store by default.
            exist: ``"replace"`` takes the name from another version.

        Raises:
            ExistsError: Another version has the name.
            VersionError: No such version.

        Example:
            >>> store.tag("v1")  # doctest: +SKIP
            >>> ts.open("corpus", version="v1")  # doctest: +SKIP
        """
        self._check_writable()
        if exist not in ("error", "replace"):
            raise ValueError(f'exist is "error" or "replace", not {exist!r}')
        if not isinstance(name, str) or not _TAG.match(name):
            raise ValueError(f"a tag is made of letters, digits, '.', '_' and '-', not {name!r}")
        number = self.version if version is None else version
        read_root(self.storage, number)

        def change(root: Root, newest: Version) -> Root | None:
            other = root.tags.get(name, number)
            if other != number and exist == "error":
                raise ExistsError(
                    f"version {other} has the tag {name!r}", path=self.path, hint='exist="replace" takes it away'
                )
            return None if root.tags.get(name) == number else root.next("tag", tags=root.tags | {name: number})

        self._change(change)
        read_root(self.storage, number)  # it may have been pruned just before it had a tag

    def untag(self, name: str) -> None:
        """Take a tag away; the version stays, until `prune` removes it.

        Args:
            name: The tag.

        Raises:
            VersionError: No such tag.
        """
        self._check_writable()

        def change(root: Root, newest: Version) -> Root:
            if name not in root.tags:
                raise VersionError(f"no tag {name!r}", path=self.path, hint=suggest(name, root.tags))
            return root.next("untag", tags={one: number for one, number in root.tags.items() if one != name})

        self._change(change)

    def tags(self) -> dict[str, int]:
        """Return the tags: the number of a version for each name."""
        return dict(self._version.root.tags)

    def prune(
        self,
        *,
        keep: int = 1,
        older_than: timedelta | float | None = None,
        dry_run: bool = True,
        grace: timedelta | float = 86_400.0,
    ) -> Pruned:
        """Remove old versions, and all bytes that no version, tag or staged part needs any more.

        Views and streams of a version that is removed stop working. Nothing brings it back.

        Args:
            keep: The newest versions that stay, 1 or more. Versions with a tag stay too, and those that are needed to
                tell whether a staged part is committed already.
            older_than: Only versions that were committed longer ago go; seconds or a `timedelta`.
            dry_run: Only find out what would go. ``False`` removes it.
            grace: How old files that no version names have to be before they go: longer than any writer is at work, so
                that nothing of a living one is taken. Tables that a writer may be sharing stay as long, too.

        Returns:
            What went, or would go.

        Example:
            >>> store.prune()  # doctest: +SKIP
            <Pruned: would remove 3 versions, 17 files of 81,920 bytes; keeps [4]>
        """
        self._check_writable()
        if keep < 1:
            raise ValueError(f"keep is 1 or more, not {keep}: the newest version always stays")
        age, patience = _seconds(older_than, "older_than"), _seconds(grace, "grace")
        while True:
            self._take_newest()
            plan = plan_pruning(self.storage, keep=keep, older_than=age, grace=patience or 0.0)
            # What was committed meanwhile may name what looked free.
            if dry_run or newest_root(self.storage).version == max(plan.kept):
                break
        if not dry_run:
            remove(self.storage, plan)
        return plan

    def _rewrite(
        self,
        verb: str,
        min_deleted: float,
        max_shards: int,
        shard_tokens: int,
        erase: bool,
        threads: int | None,
        progress: Callable[[Progress], None] | None,
    ) -> Compacted:
        """Rewrite groups of shards, each in a version of its own."""
        self._check_writable()
        if not 1 <= max_shards <= 64:
            raise ValueError(f"max_shards is 1 to 64, not {max_shards}")
        if not min_deleted >= 0 or shard_tokens < 1:
            raise ValueError("min_deleted is a share from 0 to 1, and shard_tokens is 1 or more")
        self._take_newest()
        groups = groups_to_rewrite(
            self._version,
            min_deleted=min_deleted,
            max_shards=max_shards,
            shard_tokens=shard_tokens,
            merge=verb == "merge",
            erase=erase,
        )
        facts, fresh, done = PageFacts(), set[bytes](), Compacted()
        report = counted(progress, sum(group.samples for group in groups), verb)

        def shared(column: Column) -> tuple[bytes, StoredObject] | None:
            # A table that was made before may know samples that are deleted now. A model of vectors knows none, and
            # with the same one vectors that were rounded once are not rounded to other values.
            found = self._current_object(column)
            return found if found is not None and (found[1].digest in fresh or found[1].kind == VECTOR_MODEL) else None

        def open_writer(finish: Callable[[NewShards], None], rounded: dict[int, Rounded]) -> Writer:
            return Writer(
                self.storage,
                self.schema,
                finish,
                shard_tokens=shard_tokens,
                threads=threads,
                current=shared,
                rounded=rounded,
            )

        for group in groups:
            for _ in range(_TRIES):
                self._take_newest()
                if verb == "merge" and stays_apart(self._version, group.keys, facts):
                    break
                made = rewrite_group(self._version, group.keys, facts, open_writer, report)
                if made is not None and self._replace(verb, made, facts):
                    done.add(made)
                    fresh |= {pair[0] for pair in ((made.new and made.new.current) or {}).values()}
                    break
            else:
                done.conflicts += 1
        return done

    def _replace(self, verb: str, group: Group, facts: PageFacts) -> bool:
        """Commit new shards for old ones; remove them and return ``False`` where others were faster."""
        try:
            self._change(lambda root, version: replace_group(root, verb, group, version, facts))
        except TokstoreError as error:
            for path in group.paths:
                self.storage.delete(path)
            if isinstance(error, ConflictError):
                return False
            raise
        return True

    def _chosen_ids(self, positions: Any, ids: Any, where: Any) -> Ints:
        """Return the sample ids of samples that are given in one of three ways."""
        if ids is not None:
            given = np.asarray(ids)
            if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
                raise TypeError("ids are a flat list of sample ids, which are integers")
            return given.astype(np.int64)
        if where is not None:
            store: Any = self
            positions = store.where(where)
        if isinstance(positions, View):
            own, other = self._version.root.store_id, positions._version.root.store_id
            if own != other:
                raise ValueError("the view is of another store")
            return _ids_of(positions, slice(None))
        return _ids_of(self, positions)


def _seconds(given: timedelta | float | None, name: str) -> float | None:
    """Return a length of time in seconds."""
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if seconds is not None and not seconds >= 0:
        raise ValueError(f"{name} is a number of seconds from 0 on, or a timedelta, not {given!r}")
    return seconds


def _ids_of(view: View, positions: Any) -> Ints:
    """Return the sample ids of samples of a view; no column is read."""
    ids: Ints = view.take(positions, [])["sample_id"]
    return ids
