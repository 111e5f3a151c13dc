"""Texts of ragged rows -> one 64-bit number per word, so that n-grams of words are n-grams of numbers.

A word is a run of letters and digits, ASCII letters in lower case, whatever stands between: texts that differ in
spaces, punctuation and capitals alone have equal words, and so have equal texts in different tokenizations. From
U+3000 on, where scripts have no spaces, every character is a word. All of it is done on UTF-8 bytes, vectorised over
the rows; bytes that are not UTF-8 count as letters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.digests import row_digests
from tokstore.dedup.mixing import U64, Hashes, constants, mix
from tokstore.packed import Ints
from tokstore.ragged import ragged_index

__all__ = ["word_rows"]

Bools = NDArray[np.bool_]
_BYTES = np.arange(256)
_UPPER = (_BYTES >= 65) & (_BYTES <= 90)
_FOLDED = np.where(_UPPER, _BYTES + 32, _BYTES).astype(np.uint8)
_LETTER = (_BYTES >= 128) | ((_FOLDED >= 97) & (_FOLDED <= 122)) | ((_BYTES >= 48) & (_BYTES <= 57))
_WIDE = 0xE3
"""First byte of characters from U+3000 on."""
_WORD, _LONG = 7, 64
_MASKS = np.array([(1 << 8 * count) - 1 for count in range(9)], U64)


def word_rows(values: NDArray[Any], lengths: Ints) -> tuple[Hashes, Ints]:
    """Return the words of every row.

    Args:
        values: UTF-8 bytes of all rows (uint8), one row after another.
        lengths: Bytes per row.

    Returns:
        One number per word, and the words per row. A row of bytes without any word has one, which is all of it.

    Example:
        >>> text = np.frombuffer(b"It is. it IS", np.uint8)
        >>> hashes, counts = word_rows(text, np.array([6, 6]))
        >>> counts.tolist(), (hashes[:2] == hashes[2:]).all()
        ([2, 2], np.True_)
    """
    edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    begins = np.zeros(len(values) + 1, bool)
    begins[edges] = True
    inside = _LETTER[values]
    first = np.zeros(len(values), bool)
    if len(values) and values.max() >= 0x80:
        _separate(values, begins, inside)
        first = _alone(values, begins, inside)
    first |= begins[:-1]
    first[1:] |= ~inside[:-1]
    first &= inside
    starts = np.flatnonzero(first)
    counts = np.diff(np.searchsorted(starts, edges))
    bare = np.flatnonzero((counts == 0) & (lengths > 0))
    if len(bare):  # all of a row without words is one
        inside[ragged_index(edges[bare], lengths[bare])] = True
        first[edges[bare]] = True
        starts, counts[bare] = np.flatnonzero(first), 1
    last = inside.copy()
    last[:-1] &= first[1:] | ~inside[1:]
    return _hashes(_FOLDED[values], starts, np.flatnonzero(last) + 1 - starts), counts


def _hashes(values: NDArray[np.uint8], starts: Ints, lengths: Ints) -> Hashes:
    """Return a number for every word: its bytes, eight at a time, mixed with its length."""
    padded = np.concatenate([values, np.zeros(8, np.uint8)])
    eights: Hashes = np.ndarray(len(values) + 1, "<u8", padded, 0, (1,))  # the eight bytes from every place on
    factors = constants(0, 2, _WORD)
    made: Hashes = lengths.astype(U64) * factors[0]
    made = mix((made ^ (eights[starts] & _MASKS[np.minimum(lengths, 8)])) * factors[1])
    for step in range(8, _LONG, 8):
        some = np.flatnonzero(lengths > step)
        if not len(some):
            break
        taken = eights[starts[some] + step] & _MASKS[np.minimum(lengths[some] - step, 8)]
        made[some] = mix((made[some] ^ taken) * factors[1])
    long = np.flatnonzero(lengths > _LONG)
    if len(long):
        rest = values[ragged_index(starts[long], lengths[long])]
        made[long] = row_digests(rest, lengths[long])[:, 0]
    return made


def _following(values: NDArray[Any], begins: Bools, at: Ints, step: int) -> Ints:
    """Return the places so many bytes on, of those whose character goes on there."""
    there = at[at + step < len(values)] + step
    goes_on = (values[there] & 0xC0) == 0x80
    for back in range(step):
        goes_on &= ~begins[there - back]
    found: Ints = there[goes_on]
    return found


def _separate(values: NDArray[Any], begins: Bools, inside: Bools) -> None:
    """Take punctuation and spaces beyond ASCII out of words: U+0080 to U+00BF, U+2000 to U+207F, U+3000 to U+303F."""
    two = _following(values, begins, np.flatnonzero(values == 0xC2), 1)
    inside[two], inside[two - 1] = False, False
    for lead, low, high in ((0xE2, 0x80, 0x81), (0xE3, 0x80, 0x80)):
        at = _following(values, begins, np.flatnonzero(values == lead), 1) - 1
        at = at[(values[at + 1] >= low) & (values[at + 1] <= high)]
        at = _following(values, begins, at, 2) - 2
        for step in range(3):
            inside[at + step] = False


def _alone(values: NDArray[Any], begins: Bools, inside: Bools) -> Bools:
    """Return where words begin because a character that is a word by itself begins or has ended there."""
    lead = values >= _WIDE
    first = lead & inside
    at = np.flatnonzero(first)
    if not len(at):
        return first
    wide = first.copy()
    for step in (1, 2, 3):
        at = _following(values, begins, at, 1)
        if step == 3:
            at = at[values[at - 3] >= 0xF0]
        wide[at] = True
    first[1:] |= wide[:-1] & ~wide[1:]
    return first
