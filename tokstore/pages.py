"""Pages: the parts of a manifest that name data files <-> bytes (format.md 8.3).

A page is columnar: arrays over its files and over its shards, so that a thousand shards are parsed by a few dozen
numpy calls. Pages are immutable; appending joins an old page with the new shards into a new page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tokstore.errors import CorruptError
from tokstore.format import (
    FOOTER_BYTES,
    HEADER_BYTES,
    MAX_COLUMNS,
    MAX_INDEX_BYTES,
    MAX_PAGE_SHARDS,
    MAX_SAMPLE_ID,
    MAX_SHARD_SAMPLES,
    PAGE_MAGIC,
    unwrap,
    wrap,
)
from tokstore.packed import Ints, encode_packed
from tokstore.placement import (
    ABSENT,
    FIRST_FILE,
    Placement,
    decode_placement,
    encode_placement,
    has_nan,
    join_placements,
    keeps_ranges,
    packed_field,
    renumbered,
)
from tokstore.schema import Schema
from tokstore.shard import FilePlace, file_path
from tokstore.wire import decode_metadata, digest, encode_metadata, fields

if TYPE_CHECKING:
    from tokstore.shard_writer import FileFacts

__all__ = ["Page"]

_PAGE_KINDS = {1: int, 10: int, 30: dict} | dict.fromkeys((2, 3, 4, 5, 6, 7, 11, 12, 13, 14, 20, 21, 22, 23), bytes)
_FILE_NUMBERS = ("index_checksums", "file_bytes", "tail_offsets", "index_offsets", "file_object_counts")
_RULE = "format.md 8.3"


@dataclass(frozen=True)
class Page:
    """The files and shards of one page, see format.md 8.3 for every field."""

    file_ids: tuple[bytes, ...]
    file_digests: tuple[bytes, ...]
    index_checksums: NDArray[np.uint64]
    file_bytes: Ints
    tail_offsets: Ints
    index_offsets: Ints
    samples: Ints
    id_runs: Ints
    id_first: Ints
    id_samples: Ints
    objects: tuple[bytes, ...]
    object_bytes: Ints
    file_object_counts: Ints
    file_objects: Ints
    columns: dict[int, Placement]

    @property
    def shards(self) -> int:
        """Number of shards."""
        return len(self.samples)

    def place(self, number: int) -> FilePlace:
        """Return the place of one of the files."""
        file_id = self.file_ids[number]
        return FilePlace(
            file_path(file_id),
            file_id,
            int(self.file_bytes[number]),
            int(self.tail_offsets[number]),
            int(self.index_offsets[number]),
            int(self.index_checksums[number]),
        )

    @classmethod
    def of_files(cls, facts: Sequence[FileFacts], schema: Schema, first_sample_id: int) -> Page:
        """Make a page of new shards with one file each."""
        samples = np.array([one.rows for one in facts], np.int64)
        firsts = first_sample_id + np.cumsum(samples) - samples
        full = samples > 0
        columns = {}
        for column in schema.columns:
            held = [one.columns.get(column.column_id) for one in facts]
            if all(one is None for one in held):
                continue
            kind = column.type
            columns[column.column_id] = Placement(
                where=np.array([ABSENT if one is None else FIRST_FILE + i for i, one in enumerate(held)], np.int64),
                first_row=np.zeros(len(facts), np.int64),
                values=_numbers(held, "values"),
                stored_bytes=_numbers(held, "stored_bytes"),
                missing=_numbers(held, "missing") if kind.optional else None,
                nans=_numbers(held, "nans") if has_nan(kind) else None,
                ranges=tuple(None if one is None else one.span for one in held) if keeps_ranges(kind) else None,
            )
        return cls(
            **_files_of(facts),
            samples=samples,
            id_runs=full.astype(np.int64),
            id_first=firsts[full],
            id_samples=samples[full],
            columns=columns,
        )

    def with_ids_from(self, first_sample_id: int) -> Page:
        """Return the page with consecutive sample ids from a given one."""
        full = self.samples > 0
        firsts = first_sample_id + np.cumsum(self.samples) - self.samples
        return replace(self, id_runs=full.astype(np.int64), id_first=firsts[full], id_samples=self.samples[full])

    def with_ids(self, first: Ints, count: Ints) -> Page:
        """Return the page with sample ids that are given as runs over all its samples: first id and number."""
        ends, shard_ends = np.cumsum(count), np.cumsum(self.samples)
        edges = np.union1d(ends, shard_ends[self.samples > 0])
        begins = np.concatenate([[0], edges[:-1]]) if len(edges) else edges
        run = np.searchsorted(ends, begins, side="right")
        shard_of = np.searchsorted(shard_ends, begins, side="right")
        return replace(
            self,
            id_runs=np.bincount(shard_of, minlength=self.shards).astype(np.int64),
            id_first=first[run] + begins - (ends - count)[run],
            id_samples=edges - begins,
        )

    def join(self, other: Page, schema: Schema) -> Page:
        """Return one page with the shards of both; a file that both name stands in it once."""
        kinds = {column.column_id: column.type for column in schema.columns}
        files, numbers = self._files_with(other)
        columns = {
            one: join_placements(
                self.columns.get(one), other.columns.get(one), (self.samples, other.samples), numbers, kinds.get(one)
            )
            for one in sorted(set(self.columns) | set(other.columns))
        }
        return Page(
            **files,
            samples=np.concatenate([self.samples, other.samples]),
            id_runs=np.concatenate([self.id_runs, other.id_runs]),
            id_first=np.concatenate([self.id_first, other.id_first]),
            id_samples=np.concatenate([self.id_samples, other.id_samples]),
            columns=columns,
        )

    def with_files(self, facts: Sequence[FileFacts]) -> tuple[Page, Ints]:
        """Return the page with more files, and their numbers in it."""
        empty = np.zeros(0, np.int64)
        other = Page(**_files_of(facts), samples=empty, id_runs=empty, id_first=empty, id_samples=empty, columns={})
        files, numbers = self._files_with(other)
        return replace(self, **files), numbers

    def _files_with(self, other: Page) -> tuple[dict[str, Any], Ints]:
        """Return the files and objects of two pages as fields of one, and the new numbers of those of the second."""
        objects = dict(zip(self.objects, self.object_bytes.tolist(), strict=True))
        objects.update(zip(other.objects, other.object_bytes.tolist(), strict=True))
        object_numbers = {digest: i for i, digest in enumerate(objects)}
        renamed = np.array([object_numbers[other.objects[i]] for i in other.file_objects.tolist()], np.int64)
        known = {file_id: i for i, file_id in enumerate(self.file_ids)}
        fresh = [i for i, file_id in enumerate(other.file_ids) if file_id not in known]
        known.update({other.file_ids[i]: len(self.file_ids) + k for k, i in enumerate(fresh)})
        is_fresh = np.zeros(len(other.file_ids), bool)
        is_fresh[fresh] = True

        def both(name: str) -> Any:
            return np.concatenate([getattr(self, name), getattr(other, name)[is_fresh]])

        return {
            "file_ids": self.file_ids + tuple(other.file_ids[i] for i in fresh),
            "file_digests": self.file_digests + tuple(other.file_digests[i] for i in fresh),
            **{name: both(name) for name in _FILE_NUMBERS},
            "objects": tuple(objects),
            "object_bytes": np.array(list(objects.values()), np.int64),
            "file_objects": np.concatenate([self.file_objects, renamed[np.repeat(is_fresh, other.file_object_counts)]]),
        }, np.array([known[file_id] for file_id in other.file_ids], np.int64)

    def slice(self, start: int, stop: int) -> Page:
        """Return a page of some of the shards, with the files that they need."""
        run_edges = np.concatenate([[0], np.cumsum(self.id_runs)])
        runs, part = slice(int(run_edges[start]), int(run_edges[stop])), slice(start, stop)
        shards = np.arange(start, stop)
        return replace(
            self,
            samples=self.samples[part],
            id_runs=self.id_runs[part],
            id_first=self.id_first[runs],
            id_samples=self.id_samples[runs],
            columns={one: p.take(shards) for one, p in self.columns.items()},
        ).with_needed_files()

    def kept(self, schema: Schema) -> Page:
        """Return the page without columns that the schema does not have any more, and without their files."""
        known = {column.column_id for column in schema.columns}
        if known >= set(self.columns):
            return self.with_needed_files()
        columns = {one: p for one, p in self.columns.items() if one in known}
        return replace(self, columns=columns).with_needed_files()

    def with_needed_files(self) -> Page:
        """Return the page without files that hold no column of a shard, and without their objects."""
        needed = np.zeros(len(self.file_ids), bool)
        for p in self.columns.values():
            needed[p.where[p.where >= FIRST_FILE] - FIRST_FILE] = True
        if needed.all():
            return self
        kept = np.flatnonzero(needed).tolist()
        used = self.file_objects[np.repeat(needed, self.file_object_counts)]
        objects = np.unique(used)
        numbers = np.cumsum(needed) - 1
        return replace(
            self,
            file_ids=tuple(self.file_ids[i] for i in kept),
            file_digests=tuple(self.file_digests[i] for i in kept),
            **{name: getattr(self, name)[needed] for name in _FILE_NUMBERS},
            objects=tuple(self.objects[i] for i in objects.tolist()),
            object_bytes=self.object_bytes[objects],
            file_objects=np.searchsorted(objects, used).astype(np.int64),
            columns={one: replace(p, where=renumbered(p.where, numbers)) for one, p in self.columns.items()},
        )

    def objects_of(self, number: int) -> dict[bytes, int]:
        """Return the objects that a file names, with their bytes at rest."""
        edges = np.concatenate([[0], np.cumsum(self.file_object_counts)])
        which = self.file_objects[int(edges[number]) : int(edges[number + 1])].tolist()
        return {self.objects[i]: int(self.object_bytes[i]) for i in which}

    def holder(self, column_id: int, shard: int) -> tuple[bytes, int] | None:
        """Return what holds a column of a shard: a file and its row there, or the constant; ``None`` if absent."""
        p = self.columns.get(column_id)
        where = ABSENT if p is None else int(p.where[shard])
        if p is None or where == ABSENT:
            return None
        if where < FIRST_FILE:
            return p.take(np.array([shard])).constants or b"", -1
        return self.file_ids[where - FIRST_FILE], int(p.first_row[shard])

    def shard_keys(self) -> list[bytes]:
        """Return for every shard what tells it from any other: the ids of its samples, row by row, as runs."""
        runs = np.stack([self.id_first, self.id_samples], axis=1).astype("<i8").tobytes()
        edges = (16 * np.concatenate([[0], np.cumsum(self.id_runs)])).tolist()
        return [runs[a:b] if b - a <= 32 else digest(runs[a:b]) for a, b in pairwise(edges)]

    def encode(self, schema: Schema) -> bytes:
        """Return the wrapped bytes."""
        kinds = {column.column_id: column.type for column in schema.columns}
        content: dict[int, object] = {
            1: len(self.file_ids),
            2: b"".join(self.file_ids),
            3: b"".join(self.file_digests),
            4: self.index_checksums.astype("<u8").tobytes(),
            5: encode_packed(self.file_bytes),
            6: encode_packed(self.tail_offsets),
            7: encode_packed(self.index_offsets),
            10: self.shards,
            11: encode_packed(self.samples),
            12: encode_packed(self.id_runs),
            13: encode_packed(self.id_first),
            14: encode_packed(self.id_samples),
            20: b"".join(self.objects),
            21: encode_packed(self.object_bytes),
            22: encode_packed(self.file_object_counts),
            23: encode_packed(self.file_objects),
            30: {one: encode_placement(p, kinds.get(one)) for one, p in self.columns.items()},
        }
        return wrap(PAGE_MAGIC, encode_metadata(content))

    @classmethod
    def decode(cls, data: bytes | memoryview, schema: Schema) -> Page:
        """Parse and check a page."""
        raw = fields(decode_metadata(unwrap(PAGE_MAGIC, data)), _PAGE_KINDS, (), "a page", _RULE)
        f, n = raw[1], raw[10]
        if any(len(raw[key]) != size * f for key, size in ((2, 16), (3, 32), (4, 8))):
            raise CorruptError("arrays over the files of a page have wrong lengths", rule=_RULE)
        if not 1 <= n <= MAX_PAGE_SHARDS or len(raw[20]) % 32:
            raise CorruptError(f"a page of {n} shards", rule="format.md 11")
        m = len(raw[20]) // 32
        file_bytes, tails, indices = (packed_field(raw, key, f) for key in (5, 6, 7))
        samples = packed_field(raw, 11, n, high=MAX_SHARD_SAMPLES)
        runs = packed_field(raw, 12, n, high=MAX_SHARD_SAMPLES)
        total_runs = int(runs.sum())
        counts = packed_field(raw, 22, f, high=MAX_COLUMNS)
        total_objects = int(counts.sum())
        # First ids differ, and so do the objects of a file: more of them than bytes is a lie, seen before allocating.
        if total_runs > max(1, len(raw[13])) or total_objects > (max(f, len(raw[23])) if m else 0):
            raise CorruptError("a page counts more id runs or objects than it lists", rule=_RULE)
        first = packed_field(raw, 13, total_runs, high=MAX_SAMPLE_ID)
        count = packed_field(raw, 14, total_runs, low=1, high=MAX_SHARD_SAMPLES)
        file_objects = packed_field(raw, 23, total_objects, high=max(0, m - 1))
        edges = np.concatenate([[0], np.cumsum(count)])[np.concatenate([[0], np.cumsum(runs)])]
        if (np.diff(edges) != samples).any() or (first + count > MAX_SAMPLE_ID).any():
            raise CorruptError("id runs of a page do not fit its shards", rule=_RULE)
        footers = file_bytes - FOOTER_BYTES
        if (tails < HEADER_BYTES).any() or (tails > indices).any() or (indices > footers).any():
            raise CorruptError("offsets of a page do not fit its files", rule=_RULE)
        if (footers - indices > MAX_INDEX_BYTES).any():
            raise CorruptError("an index is too large", rule="format.md 11")
        kinds = {column.column_id: column.type for column in schema.columns}
        placements = raw[30]
        lacking = [c.name for c in schema.columns if not c.type.optional and c.column_id not in placements]
        if lacking and samples.any():
            raise CorruptError(f"column {lacking[0]!r} is absent and not optional", rule=_RULE)
        return cls(
            tuple(raw[2][16 * i : 16 * i + 16] for i in range(f)),
            tuple(raw[3][32 * i : 32 * i + 32] for i in range(f)),
            np.frombuffer(raw[4], "<u8"),
            file_bytes,
            tails,
            indices,
            samples,
            runs,
            first,
            count,
            tuple(raw[20][32 * i : 32 * i + 32] for i in range(m)),
            packed_field(raw, 21, m),
            counts,
            file_objects,
            {one: decode_placement(p, samples, f, kinds.get(one)) for one, p in placements.items()},
        )


def _files_of(facts: Sequence[FileFacts]) -> dict[str, Any]:
    """Return new files and their objects as fields of a page."""
    objects: dict[bytes, int] = {}
    for one in facts:
        objects.update(one.objects)
    numbers = {digest: i for i, digest in enumerate(objects)}
    return {
        "file_ids": tuple(one.file_id for one in facts),
        "file_digests": tuple(one.digest for one in facts),
        "index_checksums": np.array([one.index_checksum for one in facts], np.uint64),
        "file_bytes": np.array([one.file_bytes for one in facts], np.int64),
        "tail_offsets": np.array([one.tail_offset for one in facts], np.int64),
        "index_offsets": np.array([one.index_offset for one in facts], np.int64),
        "objects": tuple(objects),
        "object_bytes": np.array(list(objects.values()), np.int64),
        "file_object_counts": np.array([len(one.objects) for one in facts], np.int64),
        "file_objects": np.array([numbers[digest] for one in facts for digest, _ in one.objects], np.int64),
    }


def _numbers(held: Sequence[Any], name: str) -> Ints:
    """Return one field of column facts per shard, zero where the column is absent."""
    return np.array([0 if one is None else getattr(one, name) for one in held], np.int64)
