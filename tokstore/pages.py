"""Pages and plans: the parts of a manifest that name data files and spans <-> bytes (format.md 8.3, 8.4).

A page is columnar: arrays over its files and over its shards, so that a thousand shards are parsed by a few dozen numpy calls. Pages are
immutable; appending joins an old page with the new shards into a new page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.block import Spans, decode_ranges, encode_ranges
from tokstore.errors import CorruptError
from tokstore.format import (
    MAX_PAGE_SHARDS,
    MAX_SAMPLE_ID,
    MAX_SHARD_SAMPLES,
    PAGE_MAGIC,
    PLAN_MAGIC,
    unwrap,
    wrap,
)
from tokstore.packed import Ints, PackedReader, encode_packed
from tokstore.schema import ColumnType, Schema, Text, UnknownType
from tokstore.shard import FilePlace, file_path
from tokstore.shard_writer import FileFacts
from tokstore.wire import decode_metadata, encode_metadata

__all__ = ["ABSENT", "CONSTANT", "FIRST_FILE", "Page", "Placement", "Plan", "join_ranges"]

ABSENT, CONSTANT, FIRST_FILE = 0, 1, 2
_PAGE_KEYS = frozenset({1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 20, 21, 22, 23, 30})
_PLACEMENT_KEYS = frozenset(range(1, 9))
_PLAN_KEYS = frozenset(range(1, 7))
_EMPTY: Ints = np.zeros(0, np.int64)
_RULE = "format.md 8.3"


@dataclass(frozen=True)
class Placement:
    """Where one column lies, per shard of a page.

    Attributes:
        where: `ABSENT`, `CONSTANT`, or `FIRST_FILE` plus the number of the file.
        first_row: Row of the file at which the shard begins.
        ranges: One range or ``None`` per shard; ``None`` in all where the column has no ranges.
    """

    where: Ints
    first_row: Ints
    values: Ints
    stored_bytes: Ints
    missing: Ints | None = None
    nans: Ints | None = None
    ranges: tuple[tuple[Any, Any] | None, ...] | None = None
    constants: bytes | None = None


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
        objects: dict[bytes, int] = {}
        for one in facts:
            objects.update(one.objects)
        numbers = {digest: i for i, digest in enumerate(objects)}
        columns = {}
        for column in schema.columns:
            held = [one.columns.get(column.column_id) for one in facts]
            if all(one is None for one in held):
                continue
            kind = column.type
            ranges = None if kind.ragged else tuple(None if one is None else one.span for one in held)
            columns[column.column_id] = Placement(
                where=np.array([ABSENT if one is None else FIRST_FILE + i for i, one in enumerate(held)], np.int64),
                first_row=np.zeros(len(facts), np.int64),
                values=_numbers(held, "values"),
                stored_bytes=_numbers(held, "stored_bytes"),
                missing=_numbers(held, "missing") if kind.optional else None,
                nans=_numbers(held, "nans") if kind.dtype.kind == "f" else None,
                ranges=ranges if ranges is not None and any(ranges) else None,
            )
        return cls(
            tuple(one.file_id for one in facts),
            tuple(one.digest for one in facts),
            np.array([one.index_checksum for one in facts], np.uint64),
            *(np.array([getattr(f, name) for f in facts], np.int64) for name in _FILE_FIELDS),
            samples,
            full.astype(np.int64),
            firsts[full],
            samples[full],
            tuple(objects),
            np.array(list(objects.values()), np.int64),
            np.array([len(one.objects) for one in facts], np.int64),
            np.array([numbers[digest] for one in facts for digest, _ in one.objects], np.int64),
            columns,
        )

    def with_ids_from(self, first_sample_id: int) -> Page:
        """Return the page with consecutive sample ids from a given one."""
        full = self.samples > 0
        firsts = first_sample_id + np.cumsum(self.samples) - self.samples
        fields = self.__dict__ | {
            "id_runs": full.astype(np.int64),
            "id_first": firsts[full],
            "id_samples": self.samples[full],
        }
        return Page(**fields)

    def join(self, other: Page, schema: Schema) -> Page:
        """Return one page with the shards of both."""
        files = len(self.file_ids)
        objects = dict(zip(self.objects, self.object_bytes.tolist(), strict=True))
        objects.update(zip(other.objects, other.object_bytes.tolist(), strict=True))
        numbers = {digest: i for i, digest in enumerate(objects)}
        renumbered = np.array([numbers[other.objects[i]] for i in other.file_objects.tolist()], np.int64)
        kinds = {column.column_id: column.type for column in schema.columns}
        columns = {
            one: _join_placements(
                self.columns.get(one), other.columns.get(one), (self.shards, other.shards), files, kinds.get(one)
            )
            for one in sorted(set(self.columns) | set(other.columns))
        }
        return Page(
            self.file_ids + other.file_ids,
            self.file_digests + other.file_digests,
            *(np.concatenate([getattr(self, name), getattr(other, name)]) for name in _JOINED_FIELDS),
            tuple(objects),
            np.array(list(objects.values()), np.int64),
            np.concatenate([self.file_object_counts, other.file_object_counts]),
            np.concatenate([self.file_objects, renumbered]),
            columns,
        )

    def slice(self, start: int, stop: int, schema: Schema) -> Page:
        """Return a page of some of the shards, for pages where every shard has the file of its own number."""
        counts = self.file_object_counts
        edges = np.concatenate([[0], np.cumsum(counts)])
        used = self.file_objects[edges[start] : edges[stop]]
        kept = np.unique(used)
        run_edges = np.concatenate([[0], np.cumsum(self.id_runs)])
        runs = slice(int(run_edges[start]), int(run_edges[stop]))
        part = slice(start, stop)
        columns = {}
        for one, p in self.columns.items():
            columns[one] = Placement(
                np.where(p.where[part] >= FIRST_FILE, p.where[part] - start, p.where[part]),
                p.first_row[part],
                p.values[part],
                p.stored_bytes[part],
                None if p.missing is None else p.missing[part],
                None if p.nans is None else p.nans[part],
                None if p.ranges is None else p.ranges[part],
            )
        return Page(
            self.file_ids[part],
            self.file_digests[part],
            self.index_checksums[part],
            self.file_bytes[part],
            self.tail_offsets[part],
            self.index_offsets[part],
            self.samples[part],
            self.id_runs[part],
            self.id_first[runs],
            self.id_samples[runs],
            tuple(self.objects[i] for i in kept.tolist()),
            self.object_bytes[kept],
            counts[part],
            np.searchsorted(kept, used).astype(np.int64),
            columns,
        )

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
            30: {one: _encode_placement(p, kinds.get(one)) for one, p in self.columns.items()},
        }
        return wrap(PAGE_MAGIC, encode_metadata(content))

    @classmethod
    def decode(cls, data: bytes | memoryview, schema: Schema) -> Page:
        """Parse and check a page."""
        raw = decode_metadata(unwrap(PAGE_MAGIC, data), _PAGE_KEYS)
        if set(raw) != _PAGE_KEYS:
            raise CorruptError(f"a page lacks key {min(_PAGE_KEYS - set(raw))}", rule=_RULE)
        f, n = raw[1], raw[10]
        sized = ((2, 16), (3, 32), (4, 8))
        if not (_is_count(f) and _is_count(n) and all(len(_bytes(raw[key])) == size * f for key, size in sized)):
            raise CorruptError("arrays over the files of a page have wrong lengths", rule=_RULE)
        if n > MAX_PAGE_SHARDS or len(_bytes(raw[20])) % 32:
            raise CorruptError(f"a page of {n} shards", rule="format.md 11")
        m = len(raw[20]) // 32
        file_bytes, tails, indices = (_packed(raw, key, f) for key in (5, 6, 7))
        samples = _packed(raw, 11, n, high=MAX_SHARD_SAMPLES)
        runs = _packed(raw, 12, n, high=MAX_SHARD_SAMPLES)
        total_runs = int(runs.sum())
        first, count = _packed(raw, 13, total_runs, high=MAX_SAMPLE_ID), _packed(raw, 14, total_runs, low=1)
        counts = _packed(raw, 22, f)
        file_objects = _packed(raw, 23, int(counts.sum()), high=max(0, m - 1))
        edges = np.concatenate([[0], np.cumsum(count)])[np.concatenate([[0], np.cumsum(runs)])]
        if (np.diff(edges) != samples).any() or (tails > indices).any() or (indices > file_bytes).any():
            raise CorruptError("id runs or offsets of a page do not fit its shards", rule=_RULE)
        kinds = {column.column_id: column.type for column in schema.columns}
        placements = raw[30]
        if not isinstance(placements, dict):
            raise CorruptError("placements of a page are not a map", rule=_RULE)
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
            _packed(raw, 21, m),
            counts,
            file_objects,
            {one: _decode_placement(p, n, f, kinds.get(one)) for one, p in placements.items()},
        )


_FILE_FIELDS = ("file_bytes", "tail_offset", "index_offset")
_JOINED_FIELDS = (
    "index_checksums",
    "file_bytes",
    "tail_offsets",
    "index_offsets",
    "samples",
    "id_runs",
    "id_first",
    "id_samples",
)


def _numbers(held: Sequence[Any], name: str) -> Ints:
    """Return one field of column facts per shard, zero where the column is absent."""
    return np.array([0 if one is None else getattr(one, name) for one in held], np.int64)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1 << 20


def _bytes(value: object) -> bytes:
    """Return a value that has to be bytes."""
    if not isinstance(value, bytes):
        raise CorruptError("a field of a page is not bytes", rule=_RULE)
    return value


def _packed(raw: dict[int, Any], key: int, count: int, low: int = 0, high: int = 2**63 - 1) -> Ints:
    """Read a packed array that fills its field."""
    reader = PackedReader(_bytes(raw.get(key)), f"key {key}", _RULE)
    values = reader.packed(count, "values", low, high)
    reader.end()
    return values


def _encode_placement(p: Placement, kind: ColumnType | None) -> dict[int, object]:
    """Return the msgpack map of a placement."""
    made: dict[int, object] = {
        1: encode_packed(p.where),
        2: encode_packed(p.first_row),
        3: encode_packed(p.values),
        4: encode_packed(p.stored_bytes),
    }
    if p.ranges is not None and _has_ranges(kind):
        made[5] = encode_ranges(p.ranges, kind.dtype)  # type: ignore[union-attr]
    if p.missing is not None:
        made[6] = encode_packed(p.missing)
    if p.nans is not None:
        made[7] = encode_packed(p.nans)
    if p.constants is not None:
        made[8] = p.constants
    return made


def _has_ranges(kind: ColumnType | None) -> bool:
    """Tell whether ranges of a type are kept here; those of unknown types are dropped, which the format allows."""
    return kind is not None and not isinstance(kind, (UnknownType, Text))


def _decode_placement(raw: Any, n: int, files: int, kind: ColumnType | None) -> Placement:
    """Parse a placement."""
    if not isinstance(raw, dict) or not {1, 2, 3, 4} <= set(raw) or set(raw) - _PLACEMENT_KEYS:
        raise CorruptError("a placement lacks a key, or has an unknown one", rule=_RULE)
    ranges = None
    if 5 in raw and kind is not None and not isinstance(kind, UnknownType):
        reader = PackedReader(_bytes(raw[5]), "ranges", "format.md 4.5")
        present, low, high = decode_ranges(reader, n, kind)
        reader.end()
        bounds = zip(present.tolist(), low.tolist(), high.tolist(), strict=True)
        ranges = tuple((a, b) if here else None for here, a, b in bounds)
    return Placement(
        _packed(raw, 1, n, high=FIRST_FILE + files - 1 if files else CONSTANT),
        _packed(raw, 2, n),
        _packed(raw, 3, n),
        _packed(raw, 4, n),
        _packed(raw, 6, n) if 6 in raw else None,
        _packed(raw, 7, n) if 7 in raw else None,
        ranges,
        _bytes(raw[8]) if 8 in raw else None,
    )


def _join_placements(
    a: Placement | None, b: Placement | None, shards: tuple[int, int], files: int, kind: ColumnType | None
) -> Placement:
    """Join the placements of one column in two pages; `files` are the files of the first."""
    nothing = [np.zeros(n, np.int64) for n in shards]
    left, right = (
        one or Placement(zero, zero, zero, zero) for one, zero in zip((a, b), nothing, strict=True)
    )
    where = np.where(right.where >= FIRST_FILE, right.where + files, right.where)

    def both(name: str) -> Ints | None:
        x, y = getattr(left, name), getattr(right, name)
        if x is None and y is None:
            return None
        return np.concatenate([nothing[0] if x is None else x, nothing[1] if y is None else y])

    ranges = None
    if (left.ranges is not None or right.ranges is not None) and _has_ranges(kind):
        ranges = (left.ranges or (None,) * shards[0]) + (right.ranges or (None,) * shards[1])
    constants = (left.constants or b"") + (right.constants or b"")
    return Placement(
        np.concatenate([left.where, where]),
        *(np.concatenate([getattr(left, k), getattr(right, k)]) for k in ("first_row", "values", "stored_bytes")),
        both("missing"),
        both("nans"),
        ranges,
        constants or None,
    )


def join_ranges(ranges: Sequence[tuple[Any, Any] | None]) -> tuple[Any, Any] | None:
    """Return the range over several groups."""
    known = [one for one in ranges if one is not None]
    return (min(one[0] for one in known), max(one[1] for one in known)) if known else None


@dataclass(frozen=True)
class Plan:
    """The spans of the shards of one page (format.md 8.4)."""

    primary_id: int
    shard_spans: Ints
    spans: Spans

    @classmethod
    def of_files(cls, facts: Sequence[FileFacts], primary_id: int) -> Plan:
        """Make the plan of new shards."""
        each = [one.spans or Spans(_EMPTY, _EMPTY, _EMPTY, _EMPTY) for one in facts]
        return cls(primary_id, np.array([len(one.blocks) for one in each], np.int64), _join_spans(each))

    def join(self, other: Plan) -> Plan:
        """Return the plan of the shards of both."""
        if self.primary_id != other.primary_id:
            raise CorruptError("plans of two pages have different primary columns", rule="format.md 8.4")
        spans = _join_spans([self.spans, other.spans])
        return Plan(self.primary_id, np.concatenate([self.shard_spans, other.shard_spans]), spans)

    def slice(self, start: int, stop: int) -> Plan:
        """Return the plan of some of the shards."""
        edges = np.concatenate([[0], np.cumsum(self.shard_spans)])
        part = slice(int(edges[start]), int(edges[stop]))
        s = self.spans
        spans = Spans(s.blocks[part], s.samples[part], s.values[part], s.lead[part])
        return Plan(self.primary_id, self.shard_spans[start:stop], spans)

    def encode(self) -> bytes:
        """Return the wrapped bytes."""
        s = self.spans
        content: dict[int, object] = {
            1: self.primary_id,
            2: encode_packed(self.shard_spans),
            3: encode_packed(s.blocks),
            4: encode_packed(s.samples),
            5: encode_packed(s.values),
            6: encode_packed(s.lead),
        }
        return wrap(PLAN_MAGIC, encode_metadata(content))

    @classmethod
    def decode(cls, data: bytes | memoryview, shards: int) -> Plan:
        """Parse and check the plan of a page of `shards` shards."""
        raw = decode_metadata(unwrap(PLAN_MAGIC, data), _PLAN_KEYS)
        if set(raw) != _PLAN_KEYS or not isinstance(raw[1], int):
            raise CorruptError("a plan lacks a key", rule="format.md 8.4")
        shard_spans = _packed(raw, 2, shards)
        total = int(shard_spans.sum())
        spans = Spans(*(_packed(raw, key, total) for key in (3, 4, 5, 6)))
        return cls(raw[1], shard_spans, spans)


def _join_spans(each: Sequence[Spans]) -> Spans:
    """Return all spans one after another."""
    names = ("blocks", "samples", "values", "lead")
    return Spans(*(np.concatenate([_EMPTY, *(getattr(one, name) for one in each)]) for name in names))
