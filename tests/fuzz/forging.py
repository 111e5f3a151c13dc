"""Data files of which one part was changed and that are laid out again, with offsets and checksums that fit.

So it is not a checksum that objects, but the layer that reads the part: its limits, its counts, its codec.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from fuzz import mutations
from tokstore import TokstoreError, frames
from tokstore.format import (
    COLUMN_ENTRY,
    FLAG_ROWS_ZSTD,
    FLAG_TABLE_ZSTD,
    FOOTER_BYTES,
    HEADER_BYTES,
    OBJECT_ENTRY,
    OBJECT_MAGIC,
    IndexHeader,
)
from tokstore.objects import decode_object
from tokstore.packed import decode_packed, encode_packed
from tokstore.wire import (
    INDEX_PLACE,
    ROWS_BLOCK,
    TABLE_BLOCK,
    checksum,
    decode_metadata,
    digest,
    encode_metadata,
    place_seed,
    zstd_content_bytes,
)

_ARRAYS = ("offset", "stored_bytes", "values", "first_row", "form")
_OBJECT = struct.Struct("<4sHBBQ")


@dataclass
class _Column:
    """A column: what its table says, and its parts as they are before compression."""

    entry: Any
    arrays: list[list[int]]
    rest: bytes
    rows: bytes | None
    blocks: list[bytes] = field(default_factory=list)


@dataclass
class Sketch:
    """A data file taken apart."""

    header: bytes
    columns: list[_Column]
    object_entries: Any
    objects: list[bytes | None]
    metadata: Any
    index: IndexHeader
    places: list[tuple[str, int]]


@lru_cache(maxsize=512)
def taken_apart(data: bytes) -> Sketch:
    """Take a sound file apart."""
    end = len(data) - FOOTER_BYTES
    _, _, start, nbytes = struct.unpack_from("<4Q", data, end)
    head = IndexHeader.decode(data[start : start + nbytes])
    at = start + IndexHeader.BYTES
    entries = np.frombuffer(data, COLUMN_ENTRY, head.columns, at)
    at += head.columns * COLUMN_ENTRY.itemsize
    object_entries = np.frombuffer(data, OBJECT_ENTRY, head.objects, at)
    at += head.objects * OBJECT_ENTRY.itemsize
    columns = [_column(data, entry) for entry in entries]
    objects = [
        data[int(one["offset"]) :][: int(one["stored_bytes"])] if int(one["flags"]) & 1 else None
        for one in object_entries
    ]
    places: list[tuple[str, int]] = [("header", 0), ("index", 0), ("metadata", 0), ("footer", 0)]
    for c, column in enumerate(columns):
        places += [("entry", c), ("table", c), ("numbers", c)]
        places += [("rows", c)] * (column.rows is not None) + [("block", c)] * bool(column.blocks)
    for i, one in enumerate(objects):
        places += [("object entry", i)] + [("object", i)] * (one is not None)
    return Sketch(data[:HEADER_BYTES], columns, object_entries, objects, decode_metadata(data[at:end]), head, places)


def _column(data: bytes, entry: Any) -> _Column:
    """Take a column apart."""

    def section(name: str, flag: int) -> bytes:
        raw = data[int(entry[f"{name}_offset"]) :][: int(entry[f"{name}_bytes"])]
        size = int(entry[f"{name}_content_bytes"])
        return frames.decompress(raw, least=size, most=size) if int(entry["flags"]) & flag else raw

    table, at, arrays = section("table", FLAG_TABLE_ZSTD), 0, []
    blocks = int(entry["blocks"])
    for _ in _ARRAYS:
        values, used = decode_packed(table[at:], blocks)
        arrays.append(values.tolist())
        at += used
    rows = section("rows", FLAG_ROWS_ZSTD) if int(entry["flags"]) & 3 else None
    made = _Column(entry, arrays, table[at + 8 * blocks :], rows)
    made.blocks = [data[offset : offset + size] for offset, size in zip(arrays[0], arrays[1], strict=True)]
    return made


def forge_file(rng: random.Random, data: bytes) -> bytes:
    """Change a part of a sound data file, or two, and lay the file out again.

    Args:
        rng: Decides what is changed.
        data: The file.

    Returns:
        A file whose checksums and digests are right, and its offsets unless they are what was changed.
    """
    sketch = taken_apart(data)
    kinds = sorted({kind for kind, _ in sketch.places})
    chosen = set()
    for _ in range(rng.choice((1, 1, 1, 2))):
        kind = rng.choice(kinds)
        chosen.add(rng.choice([place for place in sketch.places if place[0] == kind]))
    return Layout(rng, sketch, chosen).build()


class Layout:
    """Lay a file out, changing the chosen places on the way."""

    def __init__(self, rng: random.Random, sketch: Sketch, chosen: set[tuple[str, int]]) -> None:
        self.rng, self.sketch, self.chosen = rng, sketch, chosen
        header = self.strike(("header", 0), sketch.header[:-8])
        self.out = bytearray(header + struct.pack("<Q", checksum(header)))
        self.file_id = bytes(header[24:40]).ljust(16, b"\0")

    def strike(self, place: tuple[str, int], data: bytes) -> bytes:
        """Change bytes if their place was chosen."""
        return mutations.strike(self.rng, data) if place in self.chosen else data

    def build(self) -> bytes:
        """Return the file."""
        order = sorted(
            (offset, c, b) for c, column in enumerate(self.sketch.columns) for b, offset in enumerate(column.arrays[0])
        )
        struck = {
            c: self.rng.randrange(len(self.sketch.columns[c].blocks)) for kind, c in self.chosen if kind == "block"
        }
        places: list[list[tuple[int, bytes]]] = [[(0, b"")] * len(column.blocks) for column in self.sketch.columns]
        for offset, c, b in order:
            align = 64 if offset % 64 == 0 else 8
            self.out += bytes(-len(self.out) % align)
            block = self.sketch.columns[c].blocks[b]
            if struck.get(c) == b:
                block = self.block(block, self.sketch.columns[c].arrays[4][b])
            places[c][b] = (len(self.out), block)
            self.out += block
        tables = [self.table(c, places[c]) for c in range(len(places))]
        rows = [None if one.rows is None else self.strike(("rows", c), one.rows) for c, one in self.columns()]
        return self.tail(tables, rows)

    def columns(self) -> list[tuple[int, _Column]]:
        """Number the columns."""
        return list(enumerate(self.sketch.columns))

    def block(self, data: bytes, form: int) -> bytes:
        """Change a block: what is in it, if it is compressed without a dictionary, or its bytes."""
        if form >> 4 == 1 and self.rng.random() < 0.7:
            try:
                size = zstd_content_bytes(data)
                content = frames.decompress(data, least=size, most=size)
            except TokstoreError:
                return mutations.strike(self.rng, data)
            return frames.compress(mutations.strike(self.rng, content), 1)
        return mutations.strike(self.rng, data)

    def table(self, c: int, places: list[tuple[int, bytes]]) -> bytes:
        """Write the content of a table."""
        column = self.sketch.columns[c]
        arrays = [list(one) for one in column.arrays]
        arrays[0] = [offset for offset, _ in places]
        arrays[1] = [len(block) for _, block in places]
        column_id = int(column.entry["column_id"])
        seeds = [place_seed(self.file_id, column_id, b) for b in range(len(places))]
        sums = [checksum(block, seed) for (_, block), seed in zip(places, seeds, strict=True)]
        if ("numbers", c) in self.chosen:
            which = self.rng.randrange(len(arrays))
            arrays[which] = mutations.integers(self.rng, arrays[which])
        content = b"".join(encode_packed(np.array([x % 2**63 for x in one], np.int64)) for one in arrays)
        return self.strike(("table", c), content + struct.pack(f"<{len(sums)}Q", *sums) + column.rest)

    def objects(self) -> tuple[list[bytes], Any]:
        """Return the embedded objects and the entries of all."""
        entries, found = self.sketch.object_entries.copy(), []
        for i, data in enumerate(self.sketch.objects):
            if data is None:
                continue
            if ("object", i) in self.chosen:
                kind = int(entries[i]["kind"])
                content = mutations.strike(self.rng, _content(data))
                data = _OBJECT.pack(OBJECT_MAGIC, kind, 0, 0, len(content)) + content
                entries[i]["digest"] = np.void(digest(data))
                entries[i]["content_bytes"], entries[i]["stored_bytes"] = len(content), len(data)
            found.append(data)
        return found, entries

    def tail(self, tables: list[bytes], rows: list[bytes | None]) -> bytes:
        """Write everything behind the blocks."""
        objects, object_entries = self.objects()
        entries = np.array([column.entry for column in self.sketch.columns], COLUMN_ENTRY)
        stored: list[tuple[int, str, int, bytes, int]] = []
        for c, content in enumerate(tables):
            stored.append((c, "table", TABLE_BLOCK, content, FLAG_TABLE_ZSTD))
        for c, part in enumerate(rows):
            if part is not None:
                stored.append((c, "rows", ROWS_BLOCK, part, FLAG_ROWS_ZSTD))
        packed = [frames.compress(s[3], 1) if int(entries[s[0]]["flags"]) & s[4] else s[3] for s in stored]
        if ("metadata", 0) in self.chosen:
            meta = mutations.metadata(self.rng, self.sketch.metadata)
        else:
            meta = encode_metadata(self.sketch.metadata)
        index_bytes = IndexHeader.BYTES + entries.nbytes + object_entries.nbytes + len(meta)
        copy_offset = len(self.out)
        tail_offset = copy_offset + sum(map(len, packed)) + index_bytes
        at, places = tail_offset, iter(objects)
        for i, one in enumerate(self.sketch.objects):
            if one is not None:
                object_entries[i]["offset"] = at
                at += len(next(places))
        for (c, name, block, content, _), data in zip(stored, packed, strict=True):
            entry = entries[c : c + 1]
            entry[f"{name}_offset"], entry[f"{name}_bytes"], entry[f"{name}_content_bytes"] = (
                at,
                len(data),
                len(content),
            )
            entry[f"{name}_checksum"] = checksum(data, place_seed(self.file_id, int(entry["column_id"][0]), block))
            at += len(data)
        for c, column in self.columns():
            if column.blocks and ("block", c) in self.chosen:
                entries[c]["stored_bytes"] = sum(self.sizes(tables[c], len(column.blocks)))
        directory = b"".join(self.strike(("entry", c), entries[c].tobytes()) for c in range(len(entries)))
        directory += b"".join(self.strike(("object entry", i), one.tobytes()) for i, one in enumerate(object_entries))
        head = self.sketch.index
        index = IndexHeader(head.rows, head.columns, head.objects, len(meta)).encode()
        index = self.strike(("index", 0), index) + directory + meta
        seed = place_seed(self.file_id, *INDEX_PLACE)
        tail = b"".join(packed) + index
        whole = bytes(self.out) + tail + b"".join(objects) + tail
        foot = struct.pack(
            "<6Q8s", copy_offset, tail_offset, at, len(index), checksum(index, seed), len(whole) + 64, b"TOKSTAIL"
        )
        foot = self.strike(("footer", 0), foot)
        return whole + foot + struct.pack("<Q", checksum(foot))

    def sizes(self, table: bytes, blocks: int) -> list[int]:
        """Return the second array of a table, or nothing where it was destroyed."""
        try:
            _, used = decode_packed(table, blocks)
            values: list[int] = decode_packed(table[used:], blocks)[0].tolist()
        except TokstoreError:
            return []
        return [value % 2**40 for value in values]


def _content(data: bytes) -> bytes:
    """Return the content of a sound object."""
    return decode_object(data, digest(data), len(data))
