"""Good files: every value form and packing of tokens, packed arrays, cut samples, spans."""

from __future__ import annotations

from collections.abc import Iterator

from .columns import DICTIONARY, LEB128, RANKS, THREE, ZSTD, Column, Sample, Table, tokens
from .datafile_writer import Stored, write_file
from .expected import of_file
from .vector import Vector, good

FORMS = {0: "u16", 1: "u32", RANKS: "ranks", LEB128: "leb128", THREE: "three_bytes"}
PACKINGS = {0: "stored", ZSTD: "zstd", DICTIONARY: "dictionary"}
TARGET = 16384


def pieces(n: int, target: int = TARGET) -> list[int]:
    """Cut a long sample as a writer must (format.md 4.3)."""
    found = []
    while n > 2 * target:
        found.append(target)
        n -= target
    return [*found, n]


def one(name: str, spec: str, comment: str, column: Column, objects: list[Stored] | None = None) -> Vector:
    """Make a vector of a file with one column."""
    file = write_file([column], objects or [])
    return good(name, spec, comment, file, of_file(file))


def vectors() -> Iterator[Vector]:
    """Make the vectors of this module."""
    yield from _forms()
    yield from _packed()
    yield from _shapes()


def _forms() -> Iterator[Vector]:
    samples = [[7, 4, 9], [1] * 20, [], [7, 1, 4, 1]]
    for form, form_name in FORMS.items():
        for packing, packing_name in PACKINGS.items():
            vocab = 50_000 if form == 0 else 2**32
            some = samples if form in (0, THREE) else [*samples, [2**32 - 1, 70_000, 65_535, 65_536]]
            ids = [7, 1, 4, 49_999 if form == 0 else 65_535]
            table = Table(ids) if form >= 2 else None
            if packing == DICTIONARY:
                coded = {
                    0: "070004000900",
                    1: "070000000400",
                    RANKS: "00000200ffff",
                    LEB128: "00020d010101",
                    THREE: "0000000200000d",
                }
                table = Table(ids, bytes.fromhex(coded[form]) + b"and more that no block needs")
            objects = [Stored(2, table.content())] if table else []
            column = tokens(0, "tokens", vocab, [list(s) for s in some], form, packing, table)
            comment = f"value form {form}, packing {packing >> 4}"
            yield one(f"tokens_{form_name}_{packing_name}", "codecs.md 2.2", comment, column, objects)
    dictionary = bytes((i * i + 7 * i) % 256 for i in range(400))
    values = [int.from_bytes(dictionary[i : i + 2], "little") for i in range(0, 400, 2)]
    table = Table([0], dictionary)
    column = tokens(0, "tokens", 65_536, [values], 0, DICTIONARY, table)
    yield one(
        "dictionary_first_byte",
        "2.5",
        "one match covers the whole dictionary, its first byte included",
        column,
        [Stored(2, table.content(), zstd=True)],
    )
    table = Table(list(range(299, -1, -1)))
    column = tokens(0, "tokens", 300, [[299, 172, 171, 0], [1, 2, 3]], LEB128, 0, table)
    yield one("rank_table_zstd", "5", "the object is one zstd frame", column, [Stored(2, table.content(), zstd=True)])
    column = tokens(0, "tokens", 65_536, [[65_535, 0]])
    yield one("vocabulary_65536", "registry.md 1", "the largest vocabulary with dtype u16", column)
    column = tokens(0, "tokens", 65_537, [[65_536, 0]], 1)
    yield one("vocabulary_65537", "registry.md 1", "the smallest vocabulary with dtype u32", column)
    table = Table(list(range(100, 100 + 130)))
    column = tokens(0, "tokens", 2**32, [[2**32 - 1, 2**28 - 131, 2**28 - 130, 0, 229, 228]], LEB128, 0, table)
    yield one(
        "leb128_widths",
        "codecs.md 2.2",
        "codes of one to five bytes on both sides of their limits",
        column,
        [Stored(2, table.content())],
    )


def _packed() -> Iterator[Vector]:
    for form, name in ((0, "offsets"), (1, "deltas")):
        columns = []
        for width in range(9):
            rows: list[Sample] = [
                [1] * n for n in ((2, 2, 2) if width == 0 else (5, 7, 4) if width == 1 else (0, 300, 4))
            ]
            column = tokens(width, f"width{width}", 10, rows, packing=ZSTD)
            column.widths = {"lengths": (form, width)}
            columns.append(column)
        file = write_file(columns)
        yield good(f"packed_{name}", "2.3", f"lengths as form {form} with every width", file, of_file(file))
    column = tokens(0, "tokens", 10, [[1], [2], [3]], cuts=[1, 1, 1])
    column.widths = dict.fromkeys(("offset", "stored_bytes", "values", "first_row", "form"), (1, 8))
    yield one("packed_wide_table", "4.5", "every array of the table as deltas of eight bytes", column)


def _shapes() -> Iterator[Vector]:
    yield one(
        "empty_samples",
        "4.4",
        "samples without values at the start, between and at the end",
        tokens(0, "tokens", 10, [[], [], [1, 2], [], [3], [], []], cuts=[2, 1]),
    )
    yield one(
        "only_empty_samples",
        "4.5",
        "rows and no values: no blocks and an empty table",
        tokens(0, "tokens", 10, [[], []]),
    )
    yield one("empty_file", "4.6", "no rows: the rows section is empty", tokens(0, "tokens", 10, []))
    long = [v % 3 + 1 for v in range(40_002)]
    column = tokens(0, "tokens", 10, [[1, 2], long, [4]], packing=ZSTD, cuts=[2, *pieces(len(long)), 1])
    yield one("cut_sample", "4.3", "a sample above twice the target is cut into pieces", column)
    column = tokens(0, "tokens", 10, [[5] * 32_768], packing=ZSTD)
    yield one("longest_uncut_sample", "4.3", "a sample of exactly twice the target is not cut", column)
    column = tokens(0, "tokens", 10, [[3] * 300_000, [1], [2] * 100_000], packing=ZSTD, ranges=True)
    column = tokens(
        0,
        "tokens",
        10,
        [[3] * 300_000, [1], [2] * 100_000, []],
        packing=ZSTD,
        ranges=True,
        cuts=[*pieces(300_000), 1, *pieces(100_000)],
    )
    yield one("spans", "7.3", "two spans; the second begins inside a sample", column)
    column = tokens(0, "tokens", 10, [[1, 2, 3], [4]], cuts=[3, 1], ranges=True)
    column.table_zstd = column.rows_zstd = True
    yield one("compressed_tail", "4.4", "table and rows section as zstd", column)
    column = tokens(0, "tokens", 10, [[1, 2], None, [], None, [3]], optional=True)
    yield one("missing_tokens", "4.4", "a missing sample is not an empty one", column)
    column = tokens(0, "tokens", 10, [None, None], optional=True)
    yield one("all_missing", "4.4", "every sample is missing: no blocks", column)
