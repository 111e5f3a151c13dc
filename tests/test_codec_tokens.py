"""The codec of token ids: every value form with every packing, rank tables, levels (codecs.md 1 and 2)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from contracts import allocates_at_most, check_codec, check_reader, decode
from tokstore.codecs.contract import EncodedBlock
from tokstore.codecs.ranked import RankTable, TokenDecoder, TokenEncoder, rank_by_octave
from tokstore.codecs.ranked_parts import TokenParts
from tokstore.codecs.ranking import LEVELS, choose_encoder
from tokstore.errors import CorruptError
from tokstore.format import MAX_RANKS
from tokstore.frames import Dictionary, compress
from tokstore.packed import encode_packed

VOCABULARIES = (2, 256, 65_536, 65_537, 128_256, 1 << 32)


def choose(
    values: NDArray[Any], vocab_size: int, level: str, current: RankTable | None, cost: Callable[[RankTable], int]
) -> TokenEncoder:
    """Choose the encoder of a shard, on two threads."""
    with ThreadPoolExecutor(2) as pool:
        return choose_encoder(values, vocab_size, LEVELS[level], current, cost, pool)


def ids_of(vocab_size: int, count: int, seed: int = 0) -> NDArray[Any]:
    """Draw ids like those of text: few are frequent, the largest id is there."""
    rng = np.random.default_rng(seed)
    ids = np.minimum((vocab_size ** rng.random(count)).astype(np.int64), vocab_size) - 1
    ids[rng.integers(count)] = vocab_size - 1
    return ids.astype(np.uint16 if vocab_size <= 65_536 else np.uint32)


def result_dtype(vocab_size: int) -> type:
    """What ids are decoded to."""
    return np.int32 if vocab_size <= 1 << 31 else np.int64


def packings(coded: bytes, form: int, history: bytes) -> list[EncodedBlock]:
    """Return coded bytes stored, as zstd, and as zstd with a dictionary."""
    return [
        EncodedBlock(coded, form),
        EncodedBlock(compress(coded, 3), form | 0x10),
        EncodedBlock(compress(coded, 12, Dictionary(history)), form | 0x20),
    ]


def slow_leb128(codes: list[int]) -> bytes:
    """Encode as the page says, byte by byte."""
    out = bytearray()
    for code in codes:
        while code >= 128:
            out.append(code & 127 | 128)
            code >>= 7
        out.append(code)
    return bytes(out)


def coded_forms(ids: list[int], table: list[int], vocab_size: int) -> dict[int, bytes]:
    """Return the coded bytes of ids in every value form that can hold them, as the page says."""
    ranks = {one: rank for rank, one in enumerate(table)}
    codes = [ranks.get(one, len(table) + one) for one in ids]
    forms = {1: np.array(ids, "<u4").tobytes(), 3: slow_leb128(codes)}
    if vocab_size <= 65_536:
        forms[0] = np.array(ids, "<u2").tobytes()
    if max(codes) < 1 << 24:
        forms[4] = b"".join(code.to_bytes(3, "little") for code in codes)
    short = [ranks[one] if ranks.get(one, 65_535) < 65_535 else 65_535 for one in ids]
    escaped = [one for one, rank in zip(ids, short, strict=True) if rank == 65_535]
    forms[2] = np.array(short, "<u2").tobytes() + np.array(escaped, "<u4").tobytes()
    return forms


@given(st.sampled_from(VOCABULARIES), st.data())
def test_every_form_and_packing_is_read(vocab_size: int, data: st.DataObject) -> None:
    """What the page defines is decoded, made here byte by byte: ids in the table or not, escapes, all packings."""
    ids = st.one_of(st.integers(0, vocab_size - 1), st.integers(0, min(20, vocab_size - 1)), st.just(vocab_size - 1))
    values = data.draw(st.lists(ids, min_size=1, max_size=40))
    table = data.draw(st.lists(ids, min_size=1, max_size=20, unique=True))
    history = data.draw(st.binary(min_size=8, max_size=60).filter(lambda one: one[:4] != bytes.fromhex("37a430ec")))
    decoder = TokenDecoder(vocab_size, RankTable(np.array(table, np.int64), history))
    for form, coded in coded_forms(values, table, vocab_size).items():
        for block in packings(coded, form, history):
            assert decode(decoder, block, len(values), result_dtype(vocab_size)).tolist() == values


def test_example_of_the_page() -> None:
    """K = 3 and ids = 7, 1, 4: the ids 7, 4, 9 in forms 2, 3 and 4 (codecs.md 2.2)."""
    decoder = TokenDecoder(10, RankTable(np.array([7, 1, 4])))
    for form, text in ((2, "00 00 02 00 FF FF 09 00 00 00"), (3, "00 02 0C"), (4, "00 00 00 02 00 00 0C 00 00")):
        assert bytes.fromhex(text) == coded_forms([7, 4, 9], [7, 1, 4], 10)[form]
        assert decode(decoder, EncodedBlock(bytes.fromhex(text), form), 3, np.int32).tolist() == [7, 4, 9]


@pytest.mark.parametrize("vocab_size", VOCABULARIES)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("table", ["none", "whole", "half", "one"])
def test_codec_contract(vocab_size: int, level: str, table: str) -> None:
    """At every level, with a table of all ids, of half of them (many escapes), of one, and without one."""
    values = ids_of(vocab_size, 700)
    unique = np.unique(values).astype(np.int64)
    chosen = {"none": None, "whole": unique, "half": unique[::2], "one": unique[:1]}[table]
    history = values.tobytes()[:4000]
    ranks = None if chosen is None else RankTable(chosen, history if LEVELS[level].dictionary_bytes else b"")
    encoder = TokenEncoder(
        vocab_size, ranks, leb128=LEVELS[level].leb128 and ranks is not None, zstd_level=LEVELS[level].zstd
    )
    block = check_codec(encoder, TokenDecoder(vocab_size, ranks), values, result_dtype(vocab_size))
    wanted = {0, 1} if ranks is None else {3} if LEVELS[level].leb128 else {2, 3, 4}
    assert block.form & 15 in wanted


@pytest.mark.parametrize(("escapes", "forms"), [(0, {2}), (5, {2}), (6, {4, 3}), (1000, {4, 3})])
def test_many_escapes_take_another_form(escapes: int, forms: set[int]) -> None:
    """Up to 0.5 % of ids outside the table are escapes; more are not (codecs.md 2.3)."""
    values = np.arange(1000, dtype=np.uint32) % 50
    values[:escapes] = 100_000 + np.arange(escapes)
    table = RankTable(np.arange(50))
    coded, form = TokenEncoder(1 << 20, table, leb128=False, zstd_level=3).code(values)
    assert form in forms
    found = decode(TokenDecoder(1 << 20, table), EncodedBlock(coded, form), 1000, np.int32)
    assert found.tolist() == values.tolist()


@pytest.mark.parametrize("entries", [65_534, 65_535, 65_536, 70_000])
def test_rank_65535_is_the_escape(entries: int) -> None:
    """Around the escape value no rank is mistaken for it, whatever the length of the table."""
    table = RankTable(np.arange(entries)[::-1].copy())
    values = np.tile(np.arange(max(0, entries - 65_540), max(0, entries - 65_540) + 3, dtype=np.uint32), 2)
    values = np.concatenate([values, np.full(2000, entries - 1, np.uint32)])
    encoder = TokenEncoder(100_000, table, leb128=False, zstd_level=3)
    coded, form = encoder.code(values)
    assert form == 2
    found = decode(TokenDecoder(100_000, table), EncodedBlock(coded, form), len(values), np.int32)
    assert found.tolist() == values.tolist()


@given(st.lists(st.integers(0, 60), min_size=1), st.sampled_from([False, True]))
def test_sparse_and_dense_look_up_agree(ids: list[int], leb128: bool) -> None:
    """Tables whose ids are too large for a dense look-up give the codes that the page asks for."""
    big = 1 << 31
    table = sorted(set(ids))[::2]
    values = np.array([one + big for one in ids], np.uint32)
    ranks = RankTable(np.array([one + big for one in table], np.int64)[::-1].copy())
    encoder = TokenEncoder(1 << 32, ranks, leb128=leb128, zstd_level=3)
    coded, form = encoder.code(values)
    assert coded == coded_forms(values.tolist(), ranks.ids.tolist(), 1 << 32)[form]


def test_largest_codes_fit_into_five_bytes() -> None:
    """The largest id beside the largest table still has a code of five bytes (codecs.md 2.2)."""
    table = RankTable(np.arange(MAX_RANKS))
    values = np.array([2**32 - 1, 0, MAX_RANKS - 1, MAX_RANKS], np.uint32)
    coded, form = TokenEncoder(1 << 32, table, leb128=True, zstd_level=3).code(values)
    assert (form, len(coded)) == (3, 5 + 1 + 3 + 4)
    assert decode(TokenDecoder(1 << 32, table), EncodedBlock(coded, 3), 4, np.int64).tolist() == values.tolist()


def rank_object(ids: bytes, entries: int, history: bytes = b"", said: int | None = None) -> bytes:
    """Make the content of a rank table object by hand."""
    length = len(history) if said is None else said
    return entries.to_bytes(4, "little") + length.to_bytes(4, "little") + ids + history


def test_rank_tables_round_trip() -> None:
    """Ids and dictionary come back; a table without a dictionary has none."""
    for history in (b"", b"history" * 9):
        content = RankTable(np.array([7, 0, 65_536]), history).encode()
        assert content == rank_object(encode_packed([7, 0, 65_536]), 3, history)
        found = RankTable.decode(content, 65_537)
        assert found.ids.tolist() == [7, 0, 65_536]
        assert (found.dictionary.content if found.dictionary else b"") == history


@pytest.mark.parametrize(
    "content",
    [
        b"",
        rank_object(b"", 0),
        rank_object(encode_packed([0]), MAX_RANKS + 1),
        rank_object(encode_packed([100]), 1),
        rank_object(encode_packed([-1]), 1),
        rank_object(encode_packed([5, 6, 5]), 3),
        rank_object(encode_packed([5]), 1, b"x", 2),
        rank_object(encode_packed([5]), 1, b"xy", 1),
        rank_object(encode_packed([5]), 1, b"", (8 << 20) + 1),
        rank_object(encode_packed([5]), 1, bytes.fromhex("37a430ec") + bytes(20)),
        rank_object(encode_packed([5, 9])[:-1], 2),
    ],
    ids=["nothing", "no ids", "many", "id", "negative", "twice", "short", "long", "dictionary", "trained", "cut"],
)
def test_bad_rank_tables_are_refused(content: bytes) -> None:
    """Every rule of codecs.md 2.1, broken alone."""
    with allocates_at_most(32 << 20), pytest.raises(CorruptError):
        RankTable.decode(content, 100)


def test_ranks_by_octave() -> None:
    """Counts of one octave stand together, larger first, ids ascending inside (codecs.md 2.1)."""
    counts = np.array([1, 8, 2, 3, 15, 7, 1 << 40])
    assert rank_by_octave(counts, np.arange(7) * 10).tolist() == [60, 10, 40, 50, 20, 30, 0]


HOSTILE = {
    "form 5": (5, bytes(8)),
    "form 15": (15, bytes(8)),
    "packing 3": (0x30, bytes(8)),
    "reserved bits": (0x40, bytes(8)),
    "u16 short": (0, bytes(7)),
    "u16 long": (0, bytes(9)),
    "u16 id": (0, b"\x64\0" * 4),
    "u32 id": (1, b"\0\0\0\1" * 4),
    "rank outside": (2, b"\3\0" * 4),
    "escape missing": (2, b"\xff\xff" * 4 + bytes(12)),
    "escape left": (2, bytes(8) + bytes(4)),
    "escape odd": (2, b"\xff\xff" * 4 + bytes(15)),
    "escaped id": (2, b"\xff\xff" + bytes(6) + b"\x64\0\0\0"),
    "leb few": (3, bytes(3)),
    "leb many": (3, bytes(5)),
    "leb open": (3, bytes(3) + b"\x80"),
    "leb longer": (3, b"\x80\0" + bytes(3)),
    "leb six": (3, b"\x80\x80\x80\x80\x80\1" + bytes(3)),
    "leb id": (3, b"\x7f" * 4),
    "leb largest": (3, b"\xff\xff\xff\xff\x7f" * 4),
    "u24 short": (4, bytes(11)),
    "u24 id": (4, b"\x67\0\0" * 4),
    "no frame": (0x10, bytes(8)),
    "other content": (0x10, compress(bytes(9))),
    "huge content": (0x10, compress(bytes(1 << 24))),
}


@pytest.mark.parametrize(("form", "data"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_blocks_are_refused(form: int, data: bytes) -> None:
    """Every rule of codecs.md 1 and 2, broken alone, in a block of 4 ids below 100."""
    decoder = TokenDecoder(100, RankTable(np.array([7, 1, 4]), b"dictionary"))
    with allocates_at_most(1 << 20), pytest.raises(CorruptError):
        decode(decoder, EncodedBlock(data, form), 4, np.int32)


@pytest.mark.parametrize("form", [2, 3, 4, 0x20, 0x21])
def test_forms_that_need_an_object(form: int) -> None:
    """Ranks and dictionaries are refused where the column has no object, or one without a dictionary."""
    decoders = [TokenDecoder(100, None)] + [TokenDecoder(100, RankTable(np.array([1])))] * (form >= 0x20)
    for decoder in decoders:
        with pytest.raises(CorruptError, match=r"codecs\.md"):
            decode(decoder, EncodedBlock(compress(bytes(16)), form), 4, np.int32)


@pytest.mark.hostile
@given(st.sampled_from(VOCABULARIES), st.integers(0, 3), st.integers(0, 2), st.integers(0, 1000))
def test_damaged_blocks(vocab_size: int, which: int, packing: int, seed: int) -> None:
    """Any damage gives ids of the vocabulary or a `CorruptError`."""
    values = ids_of(vocab_size, 30, seed).tolist()
    table = sorted(set(values))[::2]
    forms = sorted(coded_forms(values, table, vocab_size).items())
    form, coded = forms[which % len(forms)]
    history = bytes(range(100))
    block = packings(coded, form, history)[packing]
    decoder = TokenDecoder(vocab_size, RankTable(np.array(table, np.int64), history))

    def read(data: bytes) -> list[int]:
        found = decode(decoder, EncodedBlock(data, block.form), 30, result_dtype(vocab_size)).tolist()
        assert min(found) >= 0
        assert max(found) < vocab_size
        return list(found)

    check_reader(read, block.data, is_checked=False, seed=seed, flips=20, allowed=2 << 20)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("count", [0, 1, 20_000, 70_000])
def test_choice_of_a_shard(level: str, count: int) -> None:
    """Whatever is chosen decodes; small shards and `plain` make no table; an equally good current one is shared."""
    values = ids_of(5000, count, 3) if count else np.zeros(0, np.uint16)
    bounds = [*range(0, count, 16_384), count] if count else [0]

    def cost(table: RankTable) -> int:
        return len(table.encode())

    encoder = choose(values, 5000, level, None, cost)
    if level == "plain" or count < 65_536:
        assert encoder.table is None
    for a, b in pairwise(bounds):
        found = decode(TokenDecoder(5000, encoder.table), encoder.encode(values[a:b]), b - a, np.int32)
        assert found.tolist() == values[a:b].tolist()
    if encoder.table is not None:
        again = choose(values, 5000, level, encoder.table, cost)
        assert again.table is encoder.table


def test_table_keeps_the_most_frequent_ids() -> None:
    """Of more ids than a table may have the rare ones are left out, and still decode."""
    values = np.concatenate([np.arange(MAX_RANKS + 5000, dtype=np.uint32), np.full(10, 2**32 - 1, np.uint32)])
    encoder = choose(values, 1 << 32, "fast", None, lambda table: 0)
    if encoder.table is not None:
        assert len(encoder.table) == MAX_RANKS
        assert 2**32 - 1 in encoder.table.ids[:2]
    found = decode(TokenDecoder(1 << 32, encoder.table), encoder.encode(values), len(values), np.int64)
    assert np.array_equal(found, values)


@pytest.mark.parametrize("apart", [False, True])
def test_runs_beside_other_threads(apart: bool) -> None:
    """Blocks that are decoded together are what each is alone, wherever they go, also with escapes and other forms
    between them; and one that is wrong is the error that it is alone."""
    table = RankTable(np.arange(300, 0, -1))
    rng = np.random.default_rng(0)
    parts = [rng.integers(1, 4, n).astype(np.uint16) for n in (500, 90, 70, 3000)]
    encoder = TokenEncoder(400, table, leb128=False, zstd_level=3)
    plain = [encoder.encode(part) for part in parts]
    assert {block.form for block in plain} == {0x12}
    escaped = encoder.encode(np.full(900, 350, np.uint16))
    decoder = TokenDecoder(400, table)

    def run(blocks: list[EncodedBlock], sizes: list[int]) -> list[list[int]]:
        """Decode blocks in one run."""
        ends = np.cumsum([0, *sizes]).tolist()
        whole = np.zeros(ends[-1], np.uint16)
        outs = [
            np.zeros(n, np.uint16) if apart else whole[a:b] for n, (a, b) in zip(sizes, pairwise(ends), strict=True)
        ]
        decoder.decode_run([(memoryview(one.data), one.form, out) for one, out in zip(blocks, outs, strict=True)])
        return [out.tolist() for out in outs]

    sizes = [len(part) for part in parts]
    wanted = [part.tolist() for part in parts]
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        assert run(plain, sizes) == wanted
        assert run([*plain, escaped], [*sizes, 900]) == [*wanted, [350] * 900]
        beyond = EncodedBlock(compress(np.full(90, 300, "<u2").tobytes(), 3), 0x12)
        for wrong, size in ((beyond, 90), (EncodedBlock(plain[1].data + b"\0", 0x12), 90), (plain[1], 91)):
            with pytest.raises(CorruptError):
                run([plain[0], wrong, plain[2]], [500, size, 70])
    finally:
        over.set()
        other.join()
    assert run(plain, sizes) == wanted


def blocks_of_all_forms() -> tuple[RankTable, list[tuple[EncodedBlock, NDArray[Any]]]]:
    """Return blocks of ids below 65,536 in every value form and packing, with escapes and without, and their ids."""
    rng = np.random.default_rng(3)
    table = RankTable(rng.permutation(60_000)[:50_000].astype(np.int64), rng.bytes(3000))
    known, found = table.ids, []
    for escapes in (0, 1):
        ids = known[rng.integers(0, 500, 700)]
        ids[rng.integers(0, 700, 2 * escapes)] = 65_000
        for leb128 in (False, True):
            coded, form = TokenEncoder(65_536, table, leb128=leb128, zstd_level=3).code(ids)
            found += [(one, ids) for one in packings(coded, form, table.dictionary.content)]  # type: ignore[union-attr]
        coded, form = TokenEncoder(65_536, None, leb128=False, zstd_level=3).code(ids.astype(np.uint16))
        found += [(one, ids) for one in packings(coded, form, table.dictionary.content)[:2]]  # type: ignore[union-attr]
    return table, found


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_parts_of_blocks_are_parts_of_what_they_hold(dtype: Any) -> None:
    """A part, empty ones and the whole included, alone or among blocks of the same form or others, is a slice."""
    rng = np.random.default_rng(4)
    table, blocks = blocks_of_all_forms()
    decoder = TokenDecoder(65_536, table)
    same = [one for one in blocks if one[0].form == 0x22]
    assert len(same) == 2
    for run in [[one] for one in blocks] + [blocks, same, same[:1] * 3]:
        bounds = [sorted(rng.integers(0, 701, 2).tolist()) for _ in run]
        bounds[0] = [0, 700]
        outs = [np.zeros(stop - start, dtype) for start, stop in bounds]
        parts = TokenParts(decoder, [(700, start) for start, _ in bounds])
        parts.decode_run([(memoryview(b.data), b.form, out) for (b, _), out in zip(run, outs, strict=True)])
        for (_, ids), (start, stop), out in zip(run, bounds, outs, strict=True):
            assert out.tolist() == ids[start:stop].tolist()


def test_a_part_with_a_rank_outside_the_table_is_refused() -> None:
    """What is looked up is checked, with one block and with several; the table is longer than its ranks inside."""
    ranks = np.array([0, 1, 2, 3, 1, 1] * 9, "<u2")
    block = EncodedBlock(compress(ranks.tobytes(), 3), 0x12)
    for count in (1, 3):
        parts = TokenParts(TokenDecoder(10, RankTable(np.array([7, 1, 4]))), [(54, 3)] * count)
        with pytest.raises(CorruptError, match="outside the table"):
            parts.decode_run([(memoryview(block.data), block.form, np.zeros(2, np.uint16)) for _ in range(count)])
