"""Check every byte of a store against the spec, and say what is wrong where (format.md, all of it).

Reading checks what it needs; this checks everything: digests of whole files, padding, the second copies, values
digests, and every number of the manifest that can be computed again. It never repairs and goes on after a finding, so
that one run tells the whole damage.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tokstore.column_writer import ColumnFacts
from tokstore.deletions import Deletions
from tokstore.errors import ChecksumError, CorruptError
from tokstore.manifest import root_path
from tokstore.objects import decode_object, object_path
from tokstore.opening import open_store
from tokstore.packed import Ints
from tokstore.pages import Page
from tokstore.parts import decode_part, part_path, staged_parts
from tokstore.placement import FIRST_FILE
from tokstore.plan import Plan
from tokstore.saved_view import check_owner, decode_saved, saved_names, view_path
from tokstore.schema import Schema
from tokstore.shard import DataFile, FilePlace
from tokstore.store import Store
from tokstore.verify_files import check_columns, check_container, check_length
from tokstore.verify_manifest import (
    RowsOfFiles,
    ShardFacts,
    Sums,
    check_deletions,
    check_page,
    check_plan,
    check_record,
    check_root,
)
from tokstore.verify_report import Findings, Report
from tokstore.writing import Progress

__all__ = ["Report", "verify"]


def verify(
    path: Any,
    version: int | str | None = None,
    *,
    progress: Callable[[Progress], None] | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> Report:
    """Check every byte of one version of a store, the parts that are staged, and the saved views.

    Args:
        path: A folder or a single ``.tok`` file, or the URL of either.
        version: A number or a tag; the newest by default.
        progress: Called with a `Progress` of bytes read.
        storage_options: As of `open`.

    Returns:
        A `Report`; damage is in its `problems`, it is not raised. Only a store that cannot be opened raises.

    Example:
        >>> ts.verify("corpus").ok  # doctest: +SKIP
        True
    """
    store = open_store(path, version, storage_options=storage_options)
    report = Report(store.path, store.version)
    totals = store._version.root.totals
    _Walk(store, Findings(report, store.storage, totals.data_bytes + totals.object_bytes, progress)).run()
    return report


class _Walk:
    """Walk through a store: pages with their files and objects, then what they add up to, then staged parts."""

    def __init__(self, store: Store, findings: Findings) -> None:
        self.store, self.version, self.findings = store, store._version, findings
        self.root = self.version.root
        self.is_alone = store._file_name is not None
        self.seen_files: dict[bytes, tuple[FilePlace, bytes]] = {}
        self.seen_objects: dict[bytes, tuple[int, int]] = {}
        self.sums = Sums()

    def run(self) -> None:
        """Check everything."""
        guard = self.findings.guard
        path = self.store.path if self.is_alone else root_path(self.root.version)
        guard(lambda: self.store.metadata, path=path)
        for number in range(len(self.root.pages)):
            self.sums.is_whole &= guard(self.page, number)
        for name, (wanted, nbytes, _) in self.root.attachments.items():
            is_there = self.is_alone or self.object(wanted, nbytes)
            self.sums.is_whole &= is_there
            if is_there:
                guard(self.store.attachments.__getitem__, name, path=path)
        if self.is_alone:
            return
        if self.sums.is_whole:
            guard(check_root, self.root, self.sums, path)
        for name in staged_parts(self.store.storage):
            guard(self.part, part_path(name))
        for name in saved_names(self.store.storage):
            guard(self.view, view_path(name))

    def page(self, number: int) -> None:
        """Check one page: its files and objects, then its own numbers, its plan and its deletions."""
        version, schema, guard = self.version, self.root.schema, self.findings.guard
        (page,), (plan,) = version.pages([number]), version.plans([number])
        gone = version.deletions(number)
        ranged = frozenset(one for one, t in self.root.columns.items() if t.ranged)
        facts, is_sound = self.shards(page, schema, ranged)
        if self.is_alone:
            return
        record = self.root.pages[number]
        names = {name: f"{name}s/{record[f'{name}_digest'].tobytes().hex()}" for name in ("page", "plan", "deletion")}
        is_sound &= guard(check_record, self.root, number, page, names["page"])
        is_sound &= self.compare(page, plan, gone, schema, facts, names)
        self.sums.is_whole &= is_sound
        self.sums.add(self.root, number, page, gone, facts)

    def compare(
        self,
        page: Page,
        plan: Plan,
        gone: Deletions | None,
        schema: Schema,
        facts: ShardFacts,
        names: Mapping[str, str],
    ) -> bool:
        """Compare page, plan and deletions with the shards; tell whether nothing is wrong."""
        guard = self.findings.guard
        is_sound = guard(check_page, page, schema, facts, names["page"])
        has_plan = guard(check_plan, self.version, schema, page, plan, names["plan"])
        if gone is not None and has_plan:
            is_sound &= guard(check_deletions, self.version, schema, page, plan, gone, names["deletion"])
        return is_sound and has_plan

    def shards(self, page: Page, schema: Schema, ranged: frozenset[int]) -> tuple[ShardFacts, bool]:
        """Check objects and files of a page; return the facts of its shards, and whether nothing is wrong."""
        is_sound = True
        for name, nbytes in zip(page.objects, page.object_bytes.tolist(), strict=True):
            is_sound &= self.object(name, nbytes)
        facts: dict[tuple[int, int], ColumnFacts] = {}
        problems = len(self.findings.report.problems)
        ranged |= {one for one, p in page.columns.items() if p.ranges is not None}
        for number in range(len(page.file_ids)):
            is_sound &= self.findings.guard(self.file, page, number, schema, ranged, facts)
        return facts, is_sound and len(self.findings.report.problems) == problems

    def object(self, name: bytes, nbytes: int) -> bool:
        """Check one object in the store, once; tell whether it is sound."""
        path = object_path(name)

        def check() -> None:
            raw = self.findings.read(path)
            self.findings.report.objects += 1
            content = decode_object(raw, name, nbytes)
            self.seen_objects[name] = int.from_bytes(raw[4:6], "little"), len(content)

        return name in self.seen_objects or self.findings.guard(check, path=path)

    def file(
        self,
        page: Page,
        number: int,
        schema: Schema,
        ranged: frozenset[int],
        facts: dict[tuple[int, int], ColumnFacts],
    ) -> None:
        """Check one data file, and add the facts of the shards that it serves."""
        place = self.version.place(page, number)
        check_length(self.findings, place.path, place.file_bytes)
        file = self.version.file_by_number(page, number)
        # What the store has dropped from its schema is described by the file itself.
        own = file.schema.columns
        columns = {c.column_id: c for c in own} | {c.column_id: c for c in schema.columns if file.has(c.column_id)}
        served = _served(page, number, schema)
        for column_id, shards in served.items():
            file.entry(column_id)
            if any(int(page.columns[column_id].first_row[s] + page.samples[s]) > file.rows_count for s in shards):
                raise CorruptError("a shard ends outside its file", path=place.path, rule="format.md 8.3")
        said = place, page.file_digests[number]
        before = self.seen_files.get(place.file_id, said)
        if before != said:
            is_other = (before[0].index_checksum, before[1]) != (place.index_checksum, said[1])
            kind = ChecksumError if is_other else CorruptError
            raise kind("two pages say other things of a file", path=place.path, rule="format.md 8.3")
        if place.file_id not in self.seen_files:
            self.seen_files[place.file_id] = said
            self.findings.report.files += 1
            check_container(self.findings, file, columns, None if self.is_alone else page.file_digests[number])
            if not self.is_alone:
                self.findings.guard(self.objects_of, page, number, file, path=place.path)
        intervals = {one: _intervals(page, one, shards) for one, shards in served.items()}
        found = check_columns(self.findings, self.version, file, columns, intervals, ranged)
        for one, shards in served.items():
            facts.update({(one, shard): made for shard, made in zip(shards, found.get(one, ()), strict=False)})

    def objects_of(self, page: Page, number: int, file: DataFile) -> None:
        """Check that page and file name the same objects, and that these are as the file says."""
        edges = np.concatenate([[0], np.cumsum(page.file_object_counts)])
        which = page.file_objects[int(edges[number]) : int(edges[number + 1])].tolist()
        in_page = {page.objects[i]: int(page.object_bytes[i]) for i in which}
        apart = [one for one in file.objects if one.offset is None]
        if in_page != {one.digest: one.stored_bytes for one in apart}:
            raise CorruptError("page and index of the file name other objects", rule="format.md 8.3")
        for one in apart:
            # An object that is not sound was noted where it was read.
            if self.seen_objects.get(one.digest, (one.kind, one.content_bytes)) != (one.kind, one.content_bytes):
                raise CorruptError("kind or length of an object differ from its entry", rule="format.md 4.8")

    def view(self, path: str) -> None:
        """Check a saved view."""
        check_owner(decode_saved(self.findings.read(path), path), self.root.store_id, path)

    def part(self, path: str) -> None:
        """Check a staged part, and the shards that it brings."""
        part = decode_part(self.findings.read(path), path)
        new = part.shards
        rows = RowsOfFiles()
        for one in new.page.columns:
            rows.add(one, new.page)
        self.findings.guard(rows.check, path)
        facts, _ = self.shards(new.page, new.schema, frozenset())
        self.compare(new.page, new.plan, None, new.schema, facts, dict.fromkeys(("page", "plan"), path))


def _served(page: Page, number: int, schema: Schema) -> dict[int, list[int]]:
    """Return the shards that a file serves, by column id."""
    return {
        column.column_id: np.flatnonzero(p.where == FIRST_FILE + number).tolist()
        for column in schema.columns
        if (p := page.columns.get(column.column_id)) is not None and (p.where == FIRST_FILE + number).any()
    }


def _intervals(page: Page, column_id: int, shards: list[int]) -> list[tuple[int, int]]:
    """Return first row and number of rows of shards in the file that holds a column of them."""
    first: Ints = page.columns[column_id].first_row
    return [(int(first[shard]), int(page.samples[shard])) for shard in shards]
