"""The values of one block (codecs.md)."""

from __future__ import annotations

from . import codes
from .conventions import bits, packed_exactly, u16, u32
from .failure import corrupt, require
from .frame import decompress
from .numbers import APART, NUMBER_FORMS, decode_numbers
from .objects import (
    CATEGORIES,
    CODE_MODEL,
    DICTIONARY,
    RANK_TABLE,
    VECTOR_MODEL,
    Object,
    RankTable,
    parse_categories,
    parse_dictionary,
)
from .parameters import CATEGORY
from .schema import Column
from .vectors import VectorModel, decode_vectors, parse_model

TOKENS, NUMBERS, TEXT, CODES, VECTORS, BITS = range(1, 7)
OBJECT_KINDS = {TOKENS: RANK_TABLE, TEXT: DICTIONARY, CODES: CODE_MODEL, VECTORS: VECTOR_MODEL}
MOST = 16 * 2**20
Extra = RankTable | VectorModel | codes.CodeModel | list[bytes] | None
"""What the object of a column holds."""


def packing(form: int) -> int:
    """Give the packing of a form byte and reject its reserved bits (codecs.md 1)."""
    require(form >> 6 == 0, f"form byte {form:#04x} has reserved bits", "codecs.md 1")
    require(form >> 4 != 3, "packing 3 is reserved", "codecs.md 1")
    return form >> 4


def extra_of(column: Column, codec: int, blocks: int, item: Object | None) -> Extra:
    """Read the object of a column as its codec needs it."""
    is_category = column.type == CATEGORY
    if item is None:
        require(not (is_category and blocks), "a column of categories has no list of them", "codecs.md 3.3")
        require(not (codec == VECTORS and blocks), "a column of vectors has no model", "codecs.md 6.2")
        return None
    wanted = CATEGORIES if is_category else OBJECT_KINDS.get(codec)
    require(wanted is not None, f"codec {codec} has no object", "codecs.md 3")
    require(item.kind == wanted, f"codec {codec} has an object of kind {item.kind}", "format.md 4.8")
    if is_category:
        return parse_categories(item.content)
    if codec == CODES:
        return codes.parse_model(item.content, column.parameters[1], frame_of(column))
    return parse_model(item.content, column.width) if codec == VECTORS else parse_dictionary(item)


def frame_of(column: Column) -> int:
    """Give the last dimension of a shape if it is fixed, else 1 (codecs.md 5)."""
    return (column.shape[-1] or 1) if column.shape else 1


def decode(
    column: Column, codec: int, group: tuple[int, int], form: int, n: int, stored: bytes, extra: Extra
) -> list[int]:
    """Give the n values of a block as unsigned integers or bit patterns, those of vectors as signed integers.

    Args:
        column: The column.
        codec: Its codec.
        group: The first value of a row that is in the block, and the one after the last.
        form: The form byte of the block.
        n: How many values the block has.
        stored: The bytes of the block.
        extra: What the object of the column holds.
    """
    how = packing(form)
    if codec == VECTORS:
        if not isinstance(extra, VectorModel):
            raise corrupt("a column of vectors has no model", "codecs.md 6.2")
        return [x for row in decode_vectors(extra, *group, form, n, stored) for x in row]
    if codec == CODES:
        model = extra if isinstance(extra, codes.CodeModel) else None
        return codes.decode(column.parameters[1], frame_of(column), form, n, stored, model)
    value_form = form & 15
    low, high = coded_bytes(codec, column.dtype, value_form, n)
    most = 2 if codec in (TOKENS, TEXT) else 0 if codec == NUMBERS and value_form in APART else 1
    require(how <= most, f"value form {value_form} of codec {codec} has no packing {how}", "codecs.md 1")
    if how == 0:
        require(
            low <= len(stored) <= min(high, MOST), f"a block of {n} values has {len(stored)} coded bytes", "codecs.md 1"
        )
        coded = stored
    elif how == 1:
        coded = decompress(stored, low, min(high, MOST))
    else:
        if not isinstance(extra, RankTable):
            raise corrupt("a block needs a dictionary and the column has no object", "codecs.md 1")
        coded = decompress(stored, low, min(high, MOST), extra.dictionary)
    if codec == TEXT:
        return list(coded)
    if codec == NUMBERS:
        return decode_numbers(value_form, coded, n, column.dtype, group[1] - group[0])
    if codec == BITS:
        return _bits(value_form, coded, n)
    return _tokens(value_form, coded, n, extra if isinstance(extra, RankTable) else None)


def coded_bytes(codec: int, dtype: int, value_form: int, n: int) -> tuple[int, int]:
    """Give the smallest and the largest number of coded bytes of n values, and reject an unknown value form."""
    sizes: dict[int, tuple[int, int]]
    if codec == TOKENS:
        sizes = {0: (2 * n, 2 * n), 1: (4 * n, 4 * n), 2: (2 * n, 6 * n), 3: (n, 5 * n), 4: (3 * n, 3 * n)}
    elif codec == NUMBERS:
        sizes = {form: size(dtype, n) for form, size in NUMBER_FORMS.items()}
    elif codec == BITS:
        sizes = {0: ((n + 7) // 8, (n + 7) // 8), 1: (14, 14 + 8 * (n + 1))}
    else:
        sizes = {0: (n, n)}
    require(value_form in sizes, f"codec {codec} has no value form {value_form}", "codecs.md 1")
    return sizes[value_form]


def _bits(value_form: int, coded: bytes, n: int) -> list[int]:
    """Read bits, eight to a byte or as runs (codecs.md 7)."""
    rule = "codecs.md 7"
    if value_form == 0:
        return [int(bit) for bit in bits(coded, n, "bits", rule)]
    r = u32(coded, 0)
    require(1 <= r <= n + 1, f"there are {r} runs of {n} bits", rule)
    lengths = packed_exactly(coded[4:], r)
    require(all(lengths[1:]), "a run after the first is empty", rule)
    require(sum(lengths) == n, f"runs of {sum(lengths)} bits in a block of {n}", rule)
    return [i % 2 for i, length in enumerate(lengths) for _ in range(length)]


def _tokens(value_form: int, coded: bytes, n: int, table: RankTable | None) -> list[int]:
    """Read ids in one of five value forms (codecs.md 2.2)."""
    if value_form == 0:
        return [u16(coded, 2 * i) for i in range(n)]
    if value_form == 1:
        return [u32(coded, 4 * i) for i in range(n)]
    if table is None:
        raise corrupt("a block holds ranks and the column has no object", "codecs.md 2.2")
    if value_form == 2:
        return _ranks(coded, n, table.ids)
    numbers = (
        _leb128(coded, n) if value_form == 3 else [int.from_bytes(coded[3 * i : 3 * i + 3], "little") for i in range(n)]
    )
    k = len(table.ids)
    return [table.ids[code] if code < k else code - k for code in numbers]


def _ranks(coded: bytes, n: int, ids: list[int]) -> list[int]:
    """Read ranks as u16, with escapes behind them."""
    rule = "codecs.md 2.2"
    values = []
    at = 2 * n
    for i in range(n):
        rank = u16(coded, 2 * i)
        if rank == 65535:
            require(at + 4 <= len(coded), "there are fewer escaped ids than escapes", rule)
            values.append(u32(coded, at))
            at += 4
        else:
            require(rank < len(ids), f"rank {rank} is not in the table of {len(ids)}", rule)
            values.append(ids[rank])
    require(at == len(coded), "there are more escaped ids than escapes", rule)
    return values


def _leb128(coded: bytes, n: int) -> list[int]:
    """Read n codes that fill their bytes, each in its shortest form."""
    rule = "codecs.md 2.2"
    found: list[int] = []
    at = 0
    while at < len(coded):
        code = shift = 0
        while True:
            require(at < len(coded), "the last LEB128 code does not end", rule)
            require(shift < 35, "a LEB128 code has more than five bytes", rule)
            byte = coded[at]
            at += 1
            code |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        require(shift == 7 or byte > 0, "a LEB128 code is not in its shortest form", rule)
        found.append(code)
    require(len(found) == n, f"a block holds {len(found)} codes and should hold {n}", rule)
    return found
