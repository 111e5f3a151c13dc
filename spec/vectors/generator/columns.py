"""Columns as samples, and their blocks (codecs.md, format.md 4.3 to 4.5)."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .primitives import packed, u16, u32
from .zframe import frame, from_dictionary

Sample = list[int] | None
WIDTH = {1: 1, 2: 2, 3: 4, 4: 8, 5: 1, 6: 2, 7: 4, 8: 8, 9: 2, 10: 2, 11: 4, 12: 8, 13: 1}
FLOAT_FORMAT = {9: "<e", 11: "<f", 12: "<d"}
ZSTD, DICTIONARY = 16, 32
RANKS, LEB128, THREE = 2, 3, 4


@dataclass
class Table:
    """A rank table with its dictionary."""

    ids: list[int]
    dictionary: bytes = b""

    def content(self) -> bytes:
        """Give the content of the object (codecs.md 2.1)."""
        return u32(len(self.ids)) + u32(len(self.dictionary)) + packed(self.ids) + self.dictionary


@dataclass
class Block:
    """A block as it is stored."""

    values: int
    form: int
    stored: bytes
    nan: int | None = None


@dataclass
class Column:
    """A column of a data file: what it holds, and how it is written."""

    id: int
    name: str
    type: int
    parameters: dict[int, Any]
    codec: int
    dtype: int
    ragged: bool
    optional: bool
    samples: list[Sample]
    blocks: list[Block]
    object: int | None = None
    ranges: bool = False
    table_zstd: bool = False
    rows_zstd: bool = False
    validity: bool | None = None
    level: str | None = None
    widths: dict[str, tuple[int, int]] = field(default_factory=dict)
    entry: dict[str, int] = field(default_factory=dict)
    shape: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    primary: bool = False

    def record(self) -> dict[int, Any]:
        """Give the column record (6.1)."""
        m: dict[int, Any] = {1: self.id, 2: self.name, 3: self.type, 4: self.parameters, 5: self.optional}
        return m | ({6: self.level} if self.level else {}) | ({7: True} if self.primary else {})

    @property
    def has_validity(self) -> bool:
        """Say whether the file has validity bits."""
        return self.optional if self.validity is None else self.validity

    @property
    def width(self) -> int:
        """Give the values of a row of fixed shape, or of an item of a ragged one."""
        return math.prod(size for size in self.shape if size)

    @property
    def lengths(self) -> list[int]:
        """Give the length of every row."""
        return [len(s or []) if self.ragged else self.width for s in self.samples]

    @property
    def values(self) -> list[int]:
        """Give all values, zero for a missing row of fixed shape."""
        zeros = [] if self.ragged else [0] * self.width
        return [v for s in self.samples for v in (zeros if s is None else s)]

    @property
    def groups(self) -> int:
        """Give the number of groups of dimensions."""
        return len(self.ends) or 1

    @property
    def runs(self) -> list[int]:
        """Give the values of every run of blocks over the same rows; of every block where there is one group."""
        sizes, g = [block.values for block in self.blocks], self.groups
        return [sum(sizes[at : at + g]) for at in range(0, len(sizes), g)]

    def begins(self) -> list[int]:
        """Give the block, or the run of blocks, in which every row begins (4.5)."""
        found, start = [], 0
        ends = [sum(self.runs[: i + 1]) for i in range(len(self.runs))]
        for length in self.lengths:
            found.append(next((b for b, end in enumerate(ends) if start < end), len(ends) - 1))
            start += length
        return found

    def first_rows(self) -> list[int]:
        """Give the row that holds the first value of every block."""
        owners = [row for row, length in enumerate(self.lengths) for _ in range(length)]
        runs = self.runs
        return [owners[sum(runs[:i])] for i in range(len(runs)) for _ in range(self.groups)][: len(self.blocks)]

    def is_nan(self, value: int) -> bool:
        """Say whether a bit pattern is NaN."""
        if self.codec == 5 or self.dtype not in (10, *FLOAT_FORMAT):
            return False
        if self.dtype == 10:
            return value & 0x7FFF > 0x7F80
        number = struct.unpack(FLOAT_FORMAT[self.dtype], value.to_bytes(WIDTH[self.dtype], "little"))[0]
        return bool(number != number)


def cut(values: Sequence[int], cuts: Sequence[int] | None) -> list[list[int]]:
    """Cut values into blocks of the given sizes; one block without sizes, none without values."""
    if not values:
        return []
    result, at = [], 0
    for size in cuts or [len(values)]:
        result.append(list(values[at : at + size]))
        at += size
    if at != len(values):
        raise ValueError("the blocks do not hold all values")
    return result


def leb128(code: int) -> bytes:
    """Write a code in its shortest form."""
    out = bytearray()
    while code >= 128:
        out.append(code & 127 | 128)
        code >>= 7
    return bytes([*out, code])


def token_bytes(values: Sequence[int], form: int, table: Table | None) -> bytes:
    """Give the coded bytes of a block of tokens (codecs.md 2.2)."""
    if form == 0:
        return b"".join(map(u16, values))
    if form == 1:
        return b"".join(map(u32, values))
    ranks = {value: rank for rank, value in enumerate(table.ids if table else [])}
    if form == RANKS:
        escapes = [v for v in values if ranks.get(v, 65535) >= 65535]
        return b"".join(u16(min(ranks.get(v, 65535), 65535)) for v in values) + b"".join(map(u32, escapes))
    codes = [ranks.get(v, v + len(ranks)) for v in values]
    return b"".join(leb128(c) if form == LEB128 else c.to_bytes(3, "little") for c in codes)


def store_bytes(coded: bytes, packing: int, dictionary: bytes = b"") -> bytes:
    """Pack coded bytes."""
    return from_dictionary(coded, dictionary) if packing == DICTIONARY else frame(coded) if packing else coded


def tokens(
    column_id: int,
    name: str,
    vocab_size: int,
    samples: list[Sample],
    form: int = 0,
    packing: int = 0,
    table: Table | None = None,
    cuts: Sequence[int] | None = None,
    parameters: dict[int, Any] | None = None,
    **more: Any,
) -> Column:
    """Make a column of type `Tokens`."""
    values = [v for s in samples for v in s or []]
    dictionary = table.dictionary if table else b""
    blocks = [
        Block(len(part), form | packing, store_bytes(token_bytes(part, form, table), packing, dictionary))
        for part in cut(values, cuts)
    ]
    dtype = 2 if vocab_size <= 65536 else 3
    more = {"optional": False, "object": 0 if table else None} | more
    return Column(
        column_id, name, 1, {1: vocab_size} | (parameters or {}), 1, dtype, True, samples=samples, blocks=blocks, **more
    )


def text(
    column_id: int,
    name: str,
    samples: Sequence[str | bytes | None],
    packing: int = 0,
    dictionary: bytes = b"",
    cuts: Sequence[int] | None = None,
    **more: Any,
) -> Column:
    """Make a column of type `Text`."""
    rows: list[Sample] = [None if s is None else list(s.encode() if isinstance(s, str) else s) for s in samples]
    blocks = [
        Block(len(part), packing, store_bytes(bytes(part), packing, dictionary))
        for part in cut([v for s in rows for v in s or []], cuts)
    ]
    more = {"optional": False, "object": 0 if packing == DICTIONARY else None} | more
    return Column(column_id, name, 9, {}, 3, 1, True, samples=rows, blocks=blocks, **more)


def numbers(
    column_id: int,
    name: str,
    type_: int,
    parameters: dict[int, Any],
    samples: list[int | None],
    form: int = 0,
    packing: int = 0,
    cuts: Sequence[int] | None = None,
    **more: Any,
) -> Column:
    """Make a column of type `Score` or `Label` from bit patterns."""
    width = WIDTH[parameters[1]]
    blocks = []
    for part in cut([s or 0 for s in samples], cuts):
        raw = [v.to_bytes(width, "little") for v in part]
        coded = b"".join(raw) if form == 0 else b"".join(bytes(x[plane] for x in raw) for plane in range(width))
        blocks.append(Block(len(part), form | packing, store_bytes(coded, packing)))
    rows: list[Sample] = [None if s is None else [s] for s in samples]
    more = {"optional": False} | more
    return Column(column_id, name, type_, parameters, 2, parameters[1], False, samples=rows, blocks=blocks, **more)


def float_bits(value: float, dtype: int) -> int:
    """Give the bit pattern of a number."""
    return int.from_bytes(struct.pack(FLOAT_FORMAT[dtype], value), "little")


def score(column_id: int, name: str, values: Sequence[float | int | None], dtype: int = 11, **more: Any) -> Column:
    """Make a column of type `Score`; a float is a number, an int a bit pattern."""
    samples = [float_bits(v, dtype) if isinstance(v, float) else v for v in values]
    return numbers(column_id, name, 4, {1: dtype}, samples, **more)


def label(
    column_id: int,
    name: str,
    values: Sequence[int | None],
    classes: int | None = None,
    names: list[str] | None = None,
    **more: Any,
) -> Column:
    """Make a column of type `Label`."""
    dtype = 8 if classes is None else 1 if classes <= 2**8 else 2 if classes <= 2**16 else 3
    parameters: dict[int, Any] = (
        {1: dtype} | ({2: classes} if classes else {}) | ({3: "".join(f"{name}\n" for name in names)} if names else {})
    )
    return numbers(column_id, name, 5, parameters, [v if v is None else v % 2**64 for v in values], **more)
