"""The values of one block (codecs.md)."""

from __future__ import annotations

from .conventions import u16, u32
from .failure import corrupt, require
from .frame import decompress
from .objects import DICTIONARY, RANK_TABLE, Object, RankTable, parse_rank_table
from .schema import WIDTH

TOKENS, NUMBERS, TEXT = 1, 2, 3
MOST = 16 * 2**20


def packing(form: int) -> int:
    """Give the packing of a form byte and reject its reserved bits (codecs.md 1)."""
    require(form >> 6 == 0, f"form byte {form:#04x} has reserved bits", "codecs.md 1")
    require(form >> 4 != 3, "packing 3 is reserved", "codecs.md 1")
    return form >> 4


def table_of(codec: int, item: Object | None) -> RankTable | None:
    """Read the object of a column as its codec needs it."""
    if item is None:
        return None
    table = parse_rank_table(item)
    require(codec != NUMBERS, "codec numbers has no object", "codecs.md 3")
    wanted = RANK_TABLE if codec == TOKENS else DICTIONARY
    require(item.kind == wanted, f"codec {codec} has an object of kind {item.kind}", "format.md 4.8")
    return table


def decode(codec: int, dtype: int, form: int, n: int, stored: bytes, table: RankTable | None) -> list[int]:
    """Give the n values of a block as unsigned integers or bit patterns.

    Args:
        codec: The codec of the column.
        dtype: The dtype of the column.
        form: The form byte of the block.
        n: How many values the block has.
        stored: The bytes of the block.
        table: What the object of the column holds.
    """
    value_form = form & 15
    low, high = coded_bytes(codec, dtype, value_form, n)
    how = packing(form)
    require(how <= (1 if codec == NUMBERS else 2), f"codec {codec} has no packing {how}", "codecs.md 1")
    if how == 0:
        require(
            low <= len(stored) <= min(high, MOST), f"a block of {n} values has {len(stored)} coded bytes", "codecs.md 1"
        )
        coded = stored
    elif how == 1:
        coded = decompress(stored, low, min(high, MOST))
    else:
        if table is None:
            raise corrupt("a block needs a dictionary and the column has no object", "codecs.md 1")
        coded = decompress(stored, low, min(high, MOST), table.dictionary)
    if codec == TEXT:
        return list(coded)
    if codec == NUMBERS:
        return _numbers(value_form, coded, n, WIDTH[dtype])
    return _tokens(value_form, coded, n, table)


def coded_bytes(codec: int, dtype: int, value_form: int, n: int) -> tuple[int, int]:
    """Give the smallest and the largest number of coded bytes of n values, and reject an unknown value form."""
    sizes: dict[int, tuple[int, int]]
    if codec == TOKENS:
        sizes = {0: (2, 2), 1: (4, 4), 2: (2, 6), 3: (1, 5), 4: (3, 3)}
    elif codec == NUMBERS:
        require(dtype in WIDTH, f"codec numbers does not take dtype {dtype}", "codecs.md 3")
        sizes = {0: (WIDTH[dtype], WIDTH[dtype]), 1: (WIDTH[dtype], WIDTH[dtype])}
    else:
        sizes = {0: (1, 1)}
    require(value_form in sizes, f"codec {codec} has no value form {value_form}", "codecs.md 1")
    return sizes[value_form][0] * n, sizes[value_form][1] * n


def _numbers(value_form: int, coded: bytes, n: int, width: int) -> list[int]:
    """Read bit patterns, value by value or plane by plane (codecs.md 3)."""
    if value_form == 0:
        return [int.from_bytes(coded[i * width : (i + 1) * width], "little") for i in range(n)]
    return [int.from_bytes(coded[i::n], "little") for i in range(n)]


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
    codes = (
        _leb128(coded, n) if value_form == 3 else [int.from_bytes(coded[3 * i : 3 * i + 3], "little") for i in range(n)]
    )
    k = len(table.ids)
    return [table.ids[code] if code < k else code - k for code in codes]


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
    codes = []
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
        codes.append(code)
    require(len(codes) == n, f"a block holds {len(codes)} codes and should hold {n}", rule)
    return codes
