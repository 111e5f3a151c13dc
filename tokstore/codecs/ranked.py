"""The codec of token ids: rank by frequency, then zstd (codecs.md 2).

Ids become ranks through a `RankTable`, so that frequent tokens have small numbers whose bytes repeat; blocks of ranks
compress against a dictionary of the same ranks, which lets small blocks reach the ratio of a whole file. Decoding is
one zstd call and one table look-up per block.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.contract import (
    PLAIN,
    ZSTD,
    ZSTD_DICTIONARY,
    EachEncoder,
    EncodedBlock,
    Run,
    pack,
    split_form,
    unpack_coded,
)
from tokstore.codecs.leb128 import decode_leb128, encode_leb128
from tokstore.errors import CorruptError
from tokstore.format import MAX_DICTIONARY_BYTES, MAX_RANKS
from tokstore.frames import Dictionary, decompress_together
from tokstore.packed import decode_packed, encode_packed
from tokstore.recycling import recycling
from tokstore.wire import unpack

__all__ = ["RankTable", "TokenDecoder", "TokenEncoder", "rank_by_octave"]

RAW_U16, RAW_U32, RANK_U16, RANK_LEB128, RANK_U24 = range(5)
_FORMS: Final = frozenset(range(5))
_PACKINGS: Final = frozenset({PLAIN, ZSTD, ZSTD_DICTIONARY})
_ESCAPE = 65_535
_ZSTD: Final = frozenset({ZSTD, ZSTD_DICTIONARY})
_WIDEST = 6  # coded bytes of a value: a u16 rank and the id of its escape
_MOST_ESCAPES = 0.005
_MIN_MATCH = 6
_DENSE_IDS = 1 << 24
_HEADER = struct.Struct("<II")
_U16 = np.dtype("<u2")
Ids = NDArray[np.integer[Any]]


def rank_by_octave(counts: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Order ids by the octave of their count, ascending inside an octave (codecs.md 2.1).

    Args:
        counts: How often each id occurs, 1 or more.
        ids: The ids, ascending.
    """
    octave = np.frexp(counts.astype(np.float64))[1]
    return ids[np.argsort(-octave, kind="stable")]


class RankTable:
    """Ids by rank, with the dictionary that was made of these ranks (codecs.md 2.1).

    Args:
        ids: ``ids[r]`` is the id of rank r, all different.
        dictionary: Raw content, or empty for none.
    """

    def __init__(self, ids: NDArray[np.int64], dictionary: bytes = b"") -> None:
        self.ids = ids
        self.dictionary = Dictionary(dictionary) if dictionary else None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes that a resident table takes, for caches that are bounded by bytes."""
        return int(self.ids.nbytes) + (2 * len(self.dictionary.content) if self.dictionary else 0)

    def encode(self) -> bytes:
        """Return the content of the object."""
        history = self.dictionary.content if self.dictionary else b""
        return _HEADER.pack(len(self.ids), len(history)) + encode_packed(self.ids) + history

    @classmethod
    def decode(cls, content: bytes | memoryview, vocab_size: int) -> RankTable:
        """Parse and check the content of the object."""
        entries, dictionary_bytes = unpack(_HEADER, content)
        if not 1 <= entries <= MAX_RANKS or dictionary_bytes > MAX_DICTIONARY_BYTES:
            raise CorruptError(f"a rank table of {entries} ranks, {dictionary_bytes} bytes", rule="codecs.md 2.1")
        ids, used = decode_packed(memoryview(content)[_HEADER.size :], entries)
        if int(ids.min()) < 0 or int(ids.max()) >= vocab_size:
            raise CorruptError(f"a rank table has ids outside 0 to {vocab_size - 1}", rule="codecs.md 2")
        if _has_repeats(ids):
            raise CorruptError("a rank table has an id twice", rule="codecs.md 2.1")
        history = bytes(content[_HEADER.size + used :])
        if len(history) != dictionary_bytes:
            raise CorruptError(f"a dictionary has {len(history)} bytes, not {dictionary_bytes}", rule="codecs.md 2.1")
        return cls(ids, history)


def _has_repeats(ids: NDArray[np.int64]) -> bool:
    """Tell whether an id comes twice; a mark per id is a hundred times as fast as sorting, where ids are small."""
    top = int(ids.max()) + 1
    if top > _DENSE_IDS:
        ordered = np.sort(ids)
        return bool((ordered[1:] == ordered[:-1]).any())
    seen = np.zeros(top, bool)
    seen[ids] = True
    return int(np.count_nonzero(seen)) != len(ids)


class _Ranks:
    """Look up the rank of ids, densely where ids are small enough, else by binary search."""

    def __init__(self, ids: NDArray[np.int64]) -> None:
        self._entries = len(ids)
        top = int(ids.max()) + 1
        self._dense: NDArray[np.uint32] | None = None
        self._short: NDArray[np.uint16] | None = None
        if top <= _DENSE_IDS:
            # An id without a rank gets the code K + id, as forms 3 and 4 have it.
            self._dense = (np.arange(top, dtype=np.int64) + self._entries).astype(np.uint32)
            self._dense[ids] = np.arange(self._entries, dtype=np.uint32)
            # One item more stands for all ids above; with u16 ids there is one for every id, and no bound to check.
            self._short = np.full(max(top + 1, 1 << 16), _ESCAPE, np.uint16)
            self._short[ids[:_ESCAPE]] = np.arange(min(self._entries, _ESCAPE), dtype=np.uint16)
        else:
            self._order = np.argsort(ids, kind="stable")
            self._sorted = ids[self._order]

    def short(self, values: Ids) -> NDArray[np.uint16]:
        """Return ranks as u16, 65,535 for an escape (codecs.md 2.2, form 2)."""
        if self._short is None:
            codes = self.codes(values)
            return np.where(codes < min(self._entries, _ESCAPE), codes, _ESCAPE).astype(np.uint16)
        return self._short.take(values, mode="wrap" if values.dtype == np.uint16 else "clip")

    def codes(self, values: Ids) -> NDArray[np.integer[Any]]:
        """Return rank codes (codecs.md 2.2, forms 3 and 4)."""
        if self._dense is not None:
            if int(values.max()) < len(self._dense):
                return self._dense.take(values)
            inside = values < len(self._dense)
            codes = values.astype(np.int64) + self._entries
            codes[inside] = self._dense.take(values[inside])
            return codes
        at = np.searchsorted(self._sorted, values).clip(max=self._entries - 1)
        known = self._sorted[at] == values
        return np.where(known, self._order[at], values.astype(np.int64) + self._entries)


class TokenEncoder(EachEncoder):
    """Encode blocks of token ids at one level. Thread-safe.

    Args:
        vocab_size: Ids are below it.
        table: Ranks and dictionary, or ``None`` for raw ids.
        leb128: Prefer LEB128 ranks (level ``small``) to u16 ranks.
        zstd_level: 1 to 22.
    """

    codec = 1

    def __init__(self, vocab_size: int, table: RankTable | None, *, leb128: bool, zstd_level: int) -> None:
        self.table = table
        self._raw = (RAW_U16, np.dtype("<u2")) if vocab_size <= 1 << 16 else (RAW_U32, np.dtype("<u4"))
        self._leb128, self._level = leb128, zstd_level
        self._ranks = _Ranks(table.ids) if table else None

    def code(self, values: Ids) -> tuple[bytes, int]:
        """Return coded bytes and value form of one block."""
        if self.table is None or self._ranks is None:
            form, dtype = self._raw
            return values.astype(dtype, copy=False).tobytes(), form
        if self._leb128:
            return encode_leb128(self._ranks.codes(values)), RANK_LEB128
        ranks = self._ranks.short(values)
        if int(ranks.max()) < _ESCAPE:
            return ranks.astype("<u2", copy=False).tobytes(), RANK_U16
        escaped = ranks == _ESCAPE
        if np.count_nonzero(escaped) <= _MOST_ESCAPES * ranks.size:
            return ranks.astype("<u2", copy=False).tobytes() + values[escaped].astype("<u4").tobytes(), RANK_U16
        codes = self._ranks.codes(values)
        if int(codes.max()) < 1 << 24:
            return codes.astype("<u4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes(), RANK_U24
        return encode_leb128(codes), RANK_LEB128

    def encode(self, values: Ids) -> EncodedBlock:
        """Encode one block of ids, 1 or more."""
        coded, form = self.code(values)
        # Ranks are two bytes wide: matches of fewer than three of them cost a reader more time than they save bytes.
        min_match = _MIN_MATCH if form == RANK_U16 else None
        return pack(coded, form, self._level, self.table.dictionary if self.table else None, min_match)


class TokenDecoder:
    """Decode blocks of token ids. Thread-safe.

    Args:
        vocab_size: Ids are below it.
        table: The column's object, if it has one.
    """

    def __init__(self, vocab_size: int, table: RankTable | None) -> None:
        self._vocab_size, self._table = vocab_size, table
        self._short: dict[np.dtype[Any], NDArray[Any]] = {}
        self._wide: NDArray[Any] | None = None
        self._entries = 0
        if table is not None:
            self._wide = table.ids.astype(np.int32 if vocab_size <= 1 << 31 else np.int64)
            self._entries = min(len(table.ids), _ESCAPE)

    def _short_table(self, dtype: np.dtype[Any]) -> NDArray[Any] | None:
        """Return the ids of ranks of 16 bits.

        It has an item for every u16, so that a look-up needs no bounds: what lies beyond the table is refused before
        or replaced.
        """
        found = self._short.get(dtype)
        if found is None and self._table is not None:
            found = np.zeros(1 << 16, dtype)
            found[: self._entries] = self._table.ids[:_ESCAPE]
            self._short[dtype] = found
        return found

    def decode(self, data: memoryview, form: int, out: NDArray[Any]) -> None:
        """Decode one block into `out`, of any integers that hold the ids; see `BlockDecoder`."""
        value_form, packing = split_form(form, _FORMS, _PACKINGS)
        n = out.size
        if value_form in (RAW_U16, RAW_U32):
            dtype = np.dtype("<u2" if value_form == RAW_U16 else "<u4")
            exact = n * dtype.itemsize
            ids = np.frombuffer(unpack_coded(data, packing, exact, exact, self._dictionary), dtype)
            self._check_ids(ids)
            out[:] = ids
            return
        if self._wide is None:
            raise CorruptError("a block holds ranks, but its column has no rank table", rule="codecs.md 2.2")
        if value_form == RANK_U16:
            self._decode_u16(unpack_coded(data, packing, 2 * n, 6 * n, self._dictionary), out)
        elif value_form == RANK_LEB128:
            self._from_codes(decode_leb128(unpack_coded(data, packing, n, 5 * n, self._dictionary), n), out)
        else:
            raw = np.frombuffer(unpack_coded(data, packing, 3 * n, 3 * n, self._dictionary), np.uint8)
            wide = np.zeros((n, 4), np.uint8)
            wide[:, :3] = raw.reshape(n, 3)
            self._from_codes(wide.view("<u4").reshape(n).astype(np.int64), out)

    def decode_run(self, blocks: Sequence[Run]) -> None:
        """Decode several blocks: one after the other, so that ranks are looked up while they lie in the cache; but on a
        thread beside the main one together, because each call that lets go of the interpreter may wait to have it back.
        """
        beside = threading.get_ident() != threading.main_thread().ident
        if beside and len(blocks) > 1 and self._decode_together(blocks):
            return
        entries, largest = self._entries, np.maximum.reduce
        table = self._short_table(blocks[0][2].dtype) if blocks else None
        words = recycling().empty(max(out.size for _, _, out in blocks), np.dtype(np.intp))
        for data, form, out in blocks:
            # What most blocks are: ranks without escapes. All else goes the long way.
            if form & 15 == RANK_U16 and form >> 4 in _ZSTD and table is not None and table.dtype == out.dtype:
                coded = unpack_coded(data, form >> 4, 2 * out.size, _WIDEST * out.size, self._dictionary)
                ranks = np.frombuffer(coded, _U16, out.size)
                # `take` would make an array of machine words of its own, a new one for every block.
                words[: out.size] = ranks
                table.take(words[: out.size], out=out, mode="wrap")
                most = largest(ranks)
                if len(coded) != 2 * out.size or most >= entries:
                    self._put_escapes(coded, ranks, int(most), out)
            else:
                self.decode(data, form, out)

    def _decode_together(self, blocks: Sequence[Run]) -> bool:
        """Decode blocks of ranks without escapes, as most are; tell whether all were. What is wrong with one that was
        not is found one by one.
        """
        form, outs = blocks[0][1], [out for _, _, out in blocks]
        table = self._short_table(outs[0].dtype)
        if form & 15 != RANK_U16 or form >> 4 not in _ZSTD or table is None or table.dtype != outs[0].dtype:
            return False
        if any(other != form or not out.size for _, other, out in blocks):
            return False
        dictionary = self._dictionary if form >> 4 == ZSTD_DICTIONARY else None
        if form >> 4 == ZSTD_DICTIONARY and dictionary is None:
            return False
        found = decompress_together([data for data, _, _ in blocks], [2 * out.size for out in outs], dictionary)
        if found is None:
            return False
        # Few long calls: each one that lets go of the interpreter may have to wait until it has it back.
        ranks = np.frombuffer(b"".join(found), _U16)
        if int(np.maximum.reduce(ranks)) >= self._entries:
            return False
        words = recycling().empty(len(ranks), np.dtype(np.intp))
        words[:] = ranks
        whole = _joined(outs)
        if whole is not None:
            table.take(words, out=whole, mode="wrap")
            return True
        ends = np.cumsum([out.size for out in outs]).tolist()
        for end, out in zip(ends, outs, strict=True):
            table.take(words[end - out.size : end], out=out, mode="wrap")
        return True

    @property
    def _dictionary(self) -> Dictionary | None:
        return self._table.dictionary if self._table else None

    def _decode_u16(self, coded: bytes | memoryview, out: NDArray[Any]) -> None:
        """Decode value form 2."""
        table = self._short_table(out.dtype)
        ranks = np.frombuffer(coded, "<u2", out.size)
        # `wrap` is the fastest mode of `take` that writes in place; with an item for every u16 it never has to wrap.
        if table is not None:
            table.take(ranks, out=out, mode="wrap")
        self._put_escapes(coded, ranks, int(ranks.max()), out)

    def _put_escapes(
        self, coded: bytes | memoryview, ranks: NDArray[np.uint16], largest: int, out: NDArray[Any]
    ) -> None:
        """Put ids without a rank, which stand behind the ranks, where they belong; refuse ranks that are none."""
        n = out.size
        extra = len(coded) - 2 * n
        if extra % 4:
            raise CorruptError(f"{extra} bytes of escapes are no whole number of them", rule="codecs.md 2.2")
        if largest < self._entries and not extra:
            return
        escape = ranks == _ESCAPE
        (escaped,) = escape.nonzero()
        if escaped.size != extra // 4:
            raise CorruptError(f"{escaped.size} escapes, but {extra // 4} ids for them", rule="codecs.md 2.2")
        # A full table has an id for every rank that is no escape.
        if self._entries < _ESCAPE and int(np.where(escape, 0, ranks).max()) >= self._entries:
            raise CorruptError(f"a rank lies outside the table of {self._entries}", rule="codecs.md 2.2")
        ids = np.frombuffer(coded, "<u4", extra // 4, 2 * n)
        self._check_ids(ids)
        out[escaped] = ids

    def _from_codes(self, codes: NDArray[np.int64], out: NDArray[Any]) -> None:
        """Turn rank codes into ids (codecs.md 2.2)."""
        table = self._wide
        if table is None:
            raise CorruptError("a block holds ranks, but its column has no rank table", rule="codecs.md 2.2")
        if int(codes.max()) < len(table) and table.dtype == out.dtype:
            table.take(codes, out=out, mode="wrap")
            return
        ids = np.where(codes < len(table), table.take(codes, mode="clip"), codes - len(table))
        self._check_ids(ids)
        np.copyto(out, ids, casting="unsafe")  # checked above

    def _check_ids(self, ids: Ids) -> None:
        """Refuse ids outside the vocabulary."""
        if ids.size and int(ids.max()) >= self._vocab_size:
            raise CorruptError(f"an id lies outside the vocabulary of {self._vocab_size}", rule="codecs.md 2")


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any] | None:
    """Return flat arrays as one, if they lie one after another in one array."""
    first, base = parts[0], parts[0].base
    at = start = first.ctypes.data
    for part in parts:
        if part.base is not base or part.ctypes.data != at or not part.flags.c_contiguous:
            return None
        at += part.nbytes
    if not isinstance(base, np.ndarray) or base.ndim != 1 or base.dtype != first.dtype or not base.flags.c_contiguous:
        return None
    begin = (start - base.ctypes.data) // first.itemsize
    joined: NDArray[Any] = base[begin : begin + (at - start) // first.itemsize]
    return joined
