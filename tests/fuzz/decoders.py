"""Every decoder on its own: parts of manifests, objects, blocks of every codec, and what they are built of.

The input of each is bytes alone, so that the random mutator and atheris can use the same functions. Where a decoder
needs something beside its bytes (a schema, a count, a form) the first bytes of the input choose it.
"""

from __future__ import annotations

import contextlib
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tokstore as ts
from fuzz import mutations
from fuzz.places import open_files
from fuzz.seeds import Seed
from fuzz.whole import OTHER, REFUSED, check_limit
from tokstore import frames
from tokstore.codecs.categories import decode_categories
from tokstore.codecs.code_model import CodeModel
from tokstore.codecs.ranked import RankTable
from tokstore.codecs.vector_model import VectorModel
from tokstore.column_types import UnknownType
from tokstore.decoders import VectorBlocks
from tokstore.deletions import Deletions
from tokstore.format import PAGE_MAGIC, PLAN_MAGIC, Footer, Header, unwrap
from tokstore.manifest import read_identity
from tokstore.objects import CATEGORIES, CODE_MODEL, RANK_TABLE, VECTOR_MODEL, decode_object
from tokstore.packed import PackedReader
from tokstore.pages import Page
from tokstore.parts import decode_part
from tokstore.plan import Plan
from tokstore.ranges import decode_ranges
from tokstore.reading import result_dtype
from tokstore.root import Root
from tokstore.saved_view import SavedView
from tokstore.schema import Schema
from tokstore.wire import checksum, decode_metadata, digest

_CONTEXT = 5
"""Bytes before a block: which decoder (2), form (1), values more or less than it had (2)."""


@dataclass(frozen=True)
class Bytes:
    """One input of a decoder."""

    what: str
    data: bytes


class Decoder:
    """A decoder as a target.

    Args:
        name: Its name.
        seeds: Sound inputs.
        decode: Decodes an input; a `TokstoreError` is right for any.
        shape: Changes an input in a way of its own, beside striking its bytes.
    """

    size = None

    def __init__(
        self,
        name: str,
        seeds: Sequence[bytes],
        decode: Callable[[bytes], object],
        shape: Callable[[random.Random, bytes], bytes] | None = None,
    ) -> None:
        self.name, self.seeds, self.decode, self._shape = name, sorted(set(seeds)), decode, shape

    def make(self, number: int, rng: random.Random) -> Bytes:
        """Make a case."""
        data = rng.choice(self.seeds)
        if self._shape is not None and rng.random() < 0.5:
            return Bytes("shaped", self._shape(rng, data))
        return Bytes("struck", mutations.strike(rng, data))

    def check(self, case: Bytes) -> str:
        """Decode a case."""
        try:
            self.decode(case.data)
        except ts.TokstoreError:
            return REFUSED
        return OTHER

    def save(self, case: Bytes) -> dict[str, bytes]:
        """Return the input of a case."""
        return {"input": case.data}


@dataclass(frozen=True)
class _Block:
    """What decodes a block."""

    decoder: Any
    dtype: Any
    values: int
    width: int
    limit: int | None


def _reseal(data: bytes) -> bytes:
    """Make the checksum at the end of some bytes right."""
    return data[:-8] + checksum(data[:-8]).to_bytes(8, "little")


def _shape_metadata(rng: random.Random, data: bytes) -> bytes:
    """Change a node of metadata."""
    return mutations.metadata(rng, decode_metadata(data))


class _Collected:
    """Sound inputs of every decoder, from sound stores."""

    def __init__(self, seeds: Sequence[Seed]) -> None:
        self.contents: dict[str, list[bytes]] = defaultdict(list)
        self.metadata: list[bytes] = []
        self.objects: list[bytes] = []
        self.models: dict[int, list[tuple[Any, bytes]]] = {}
        self.blocks: list[_Block] = []
        self.block_data: list[bytes] = []
        self.schemas: list[Schema] = []
        for seed in seeds:
            with contextlib.suppress(ts.TokstoreError):
                self._store(seed)

    def _store(self, seed: Seed) -> None:
        """Collect from one store."""
        store = open_files(seed.files, seed.version)
        root, version = store._version.root, store._version
        self.schemas.append(store.schema)
        for path, data in seed.files.items():
            for folder in ("views", "parts"):
                if path.startswith(folder):
                    self.contents[folder].append(data)
            if path.startswith("manifests/") and data:
                self.contents["roots"].append(data)
            if path == "tokstore.json":
                self.contents["json"].append(data)
            if path.endswith(".tok"):
                self.contents["headers"].append(data[:64])
                self.contents["footers"].append(data[-64:])
        data, _ = root.encode()
        self.contents["roots"].append(data)
        prefix = (len(self.schemas) - 1).to_bytes(2, "little")
        for record in root.pages:
            for name, magic, key in (("page", PAGE_MAGIC, "pages"), ("plan", PLAN_MAGIC, "plans")):
                part = root.inline.get(record[f"{name}_digest"].tobytes())
                if part is not None:
                    content = unwrap(magic, part)
                    self.metadata.append(content)
                    first = prefix if name == "page" else int(record["shards"]).to_bytes(2, "little")
                    self.contents[key].append(first + part)
        for path, data in seed.files.items():
            if path.startswith("deletions/"):
                self.contents["deletions"].append(data)
        if not len(store):
            return
        located = version.locate(np.arange(len(store)))
        for column in store.schema.columns:
            with contextlib.suppress(ts.TokstoreError):
                self._column(store, version, column, located)

    def _column(self, store: Any, version: Any, column: Any, located: Any) -> None:
        """Collect the blocks and the object of one column."""
        if isinstance(column.type, UnknownType):
            return
        version.open_files([(group.page, group.shard) for group in located], [column])
        place = version.place_of(located[0].page, located[0].shard, column)
        file, kind = place.file, column.type
        if file is None:
            return
        decoder, table = version.decoder(file, column), file.table(column.column_id, kind)
        ref = file.object_of(column.column_id)
        if ref is not None and ref.offset is not None:
            data = bytes(file.embedded(ref))
            self.objects.append(data)
            content = decode_object(data, digest(data), len(data))
            self.models.setdefault(ref.kind, []).append((kind, content))
        groups = len(kind.groups)
        limit = getattr(kind, "vocab_size", None) or getattr(kind, "size", None) or getattr(kind, "classes", None)
        if not isinstance(kind, (ts.Tokens, ts.Codes, ts.Label)):
            limit = None
        for b in range(min(4, len(table.offsets))):
            chosen = decoder.of_group(b % groups) if isinstance(decoder, VectorBlocks) else decoder
            dtype = decoder.stored_dtype if isinstance(decoder, VectorBlocks) else result_dtype(column)
            (data,) = store.storage.read_ranges([(file.place.path, int(table.offsets[b]), int(table.stored_bytes[b]))])
            number = len(self.blocks)
            width = kind.width
            if groups > 1 or isinstance(kind, ts.Vector):
                width = int(np.diff((0, *kind.groups))[b % groups])
            self.blocks.append(_Block(chosen, dtype, int(table.values[b]), width, limit))
            form = int(table.forms[b])
            self.block_data.append(number.to_bytes(2, "little") + bytes([form, 0, 128]) + bytes(data or b""))


def decoders(seeds: Sequence[Seed]) -> list[Decoder]:
    """Return a target for every decoder, with inputs from sound stores."""
    found = _Collected(seeds)
    held = found.contents

    def schema(data: bytes) -> Schema:
        return found.schemas[int.from_bytes(data[:2], "little") % len(found.schemas)]

    def block(data: bytes) -> None:
        one = found.blocks[int.from_bytes(data[:2].ljust(2, b"\0"), "little") % len(found.blocks)]
        more = int.from_bytes(data[3:5].ljust(2, b"\0"), "little") - 32_768
        rows = min(max(1, one.values // one.width + more), (1 << 17) // one.width)  # a table lets whole rows through
        out = np.zeros(rows * one.width, one.dtype)
        form = data[2] if len(data) > 2 else 0
        one.decoder.decode(memoryview(data[_CONTEXT:]), form, out)
        if one.limit is not None:
            check_limit(out, one.limit)

    def model(kind: int, decode: Callable[[Any, bytes], object]) -> tuple[list[bytes], Callable[[bytes], object]]:
        held = found.models.get(kind, [])
        inputs = [bytes([i % 256]) + content for i, (_, content) in enumerate(held)]
        return inputs, lambda data: decode(held[data[0] % len(held) if data else 0][0], data[1:])

    def numbers(data: bytes) -> None:
        reader = PackedReader(memoryview(data[1:]), "a test", "format.md 2.3")
        count = data[0] if data else 0
        reader.packed(count, "numbers", 0, 1000)
        decode_ranges(reader, count % 9, ts.Text(optional=True) if count % 2 else ts.Score())
        reader.end()

    def frame(data: bytes) -> None:
        frames.decompress(data, least=0, most=1 << 16)

    def framed(magic: bytes, data: bytes) -> None:
        decode_metadata(unwrap(magic, data))

    targets = [
        Decoder("root", held["roots"], lambda data: Root.decode(_reseal(data))),
        Decoder("page", held["pages"], lambda data: Page.decode(data[2:], schema(data))),
        Decoder(
            "plan", held["plans"], lambda data: Plan.decode(data[2:], min(int.from_bytes(data[:2], "little"), 1024))
        ),
        Decoder("deletions", held["deletions"], lambda data: Deletions.decode(data, np.array([8, 3]), 2)),
        Decoder("view", held["views"], lambda data: SavedView.decode(_reseal(data))),
        Decoder("part", held["parts"], lambda data: decode_part(_reseal(data), "x.tsp")),
        Decoder("metadata", found.metadata, decode_metadata, _shape_metadata),
        Decoder("schema", [_records(one) for one in found.schemas], _schema_of, _shape_metadata),
        Decoder("json", held["json"], lambda data: read_identity(data, "tokstore.json")),
        Decoder("header", held["headers"], lambda data: Header.decode(_reseal(data))),
        Decoder(
            "footer", held["footers"], lambda data: Footer.decode(_reseal(data), int.from_bytes(data[40:48], "little"))
        ),
        Decoder("object", found.objects, lambda data: decode_object(data, digest(data), len(data))),
        Decoder("rank table", *model(RANK_TABLE, lambda kind, data: RankTable.decode(data, kind.vocab_size))),
        Decoder("code model", *model(CODE_MODEL, lambda kind, data: CodeModel.decode(data, kind.size, kind.frame))),
        Decoder("vector model", *model(VECTOR_MODEL, lambda kind, data: VectorModel.decode(data, kind.dim, kind.ends))),
        Decoder("categories", *model(CATEGORIES, lambda kind, data: decode_categories(data))),
        Decoder("block", found.block_data, block),
        Decoder("packed", [b"\x05" + bytes(12), b"\x04\1\2" + bytes(30)], numbers, mutations.packed),
        Decoder("frame", [frames.compress(bytes(range(99)) * n, 3) for n in (1, 9)], frame),
        Decoder("wrapped", [one[2:] for one in held["pages"]], lambda data: framed(PAGE_MAGIC, data)),
    ]
    lacking = [one.name for one in targets if not one.seeds]
    if lacking:
        raise ValueError(f"no sound input for {', '.join(lacking)}")
    return targets


def _records(schema: Schema) -> bytes:
    """Encode the records of a schema."""
    return mutations.encode_metadata(schema.records())


def _schema_of(data: bytes) -> Schema:
    """Decode the records of a schema."""
    return Schema.from_records(decode_metadata(data))
