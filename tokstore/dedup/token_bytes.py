"""Token ids -> the bytes of their text, by a table with one entry per id of the attached tokenizer (registry.md 6).

What an id stands for follows from its piece in the vocabulary and from the decoder, as the tokenizers library applies
it: bytes written as letters (byte-level BPE), a mark for the space (SentencePiece), a mark for what goes on
(WordPiece). The table is made once, and texts of any number of rows are then one gather.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.errors import CorruptError, MissingFileError, UnsupportedError
from tokstore.packed import Ints
from tokstore.ragged import ragged_index
from tokstore.tokenizer import BYTES, TOKENIZER_FILE

__all__ = ["TokenBytes"]

_RULE = "registry.md 6"
_MOST_IDS = 1 << 24
_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>\Z")
Piece = Callable[[str], str]


class TokenBytes:
    """The bytes of every token id.

    Args:
        pieces: Bytes by id. Ids that are not there stand for nothing.

    Raises:
        UnsupportedError: Ids of 2**24 and more.

    Example:
        >>> table = TokenBytes({0: b"a", 1: b" bc"})
        >>> values, lengths = table.decode(np.array([1, 0, 7, 1]), np.array([3, 1]))
        >>> values.tobytes(), lengths.tolist()
        (b' bca bc', [4, 3])
    """

    def __init__(self, pieces: Mapping[int, bytes]) -> None:
        size = max(pieces, default=-1) + 1
        if size > _MOST_IDS:
            raise UnsupportedError(f"a table of {size:,} token ids is too large, more than {_MOST_IDS:,}", rule=_RULE)
        self._lengths = np.zeros(size + 1, np.int64)  # the last entry is that of all other ids
        ids = sorted(pieces)
        self._lengths[ids] = [len(pieces[one]) for one in ids]
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._values = np.frombuffer(b"".join(pieces[one] for one in ids), np.uint8)

    @classmethod
    def of_tokenizer(cls, tokenizer: bytes) -> TokenBytes:
        """Return the table of a tokenizer.

        Args:
            tokenizer: The JSON of a tokenizer of the `tokenizers` library, which need not be installed.

        Raises:
            CorruptError: It is none.
            UnsupportedError: It has a decoder that works on more than one piece at a time.
        """
        try:
            given = json.loads(tokenizer)
            vocab = given["model"]["vocab"]
            if isinstance(vocab, list):  # of a unigram model: pieces with their scores
                pieces = {i: str(one[0]) for i, one in enumerate(vocab)}
            else:
                pieces = {int(i): str(piece) for piece, i in vocab.items()}
            pieces |= {int(one["id"]): str(one["content"]) for one in given.get("added_tokens") or []}
            if min(pieces, default=0) < 0:
                raise ValueError("a token id is negative")
            steps, to_bytes = _decoder(given.get("decoder"))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise CorruptError(f"{TOKENIZER_FILE} is no tokenizer: {error!r}", rule=_RULE) from error
        made = {}
        for one, piece in pieces.items():
            for step in steps:
                piece = step(piece)
            made[one] = to_bytes(piece)
        return cls(made)

    @classmethod
    def of_store(cls, attachments: Mapping[str, bytes], metadata: Mapping[str, Any], where: str) -> TokenBytes:
        """Return the table of a store.

        Args:
            attachments: Those of the store.
            metadata: Those of the store.
            where: Its path.

        Raises:
            MissingFileError: No tokenizer is attached.
        """
        if TOKENIZER_FILE in attachments:
            return cls.of_tokenizer(attachments[TOKENIZER_FILE])
        if metadata.get("tokenizer") == BYTES:
            return cls({i: bytes([i]) for i in range(256)})
        raise MissingFileError(
            f'no {TOKENIZER_FILE} is attached, so that ngrams="text" has no text',
            path=where,
            hint='pass attachments={"tokenizer.json": …} when the store is made, or take ngrams="tokens"',
        )

    def decode(self, ids: NDArray[Any], lengths: Ints) -> tuple[NDArray[np.uint8], Ints]:
        """Return the bytes of rows of ids.

        Args:
            ids: Of all rows, one row after another.
            lengths: Ids per row.

        Returns:
            The bytes of all rows, and how many each has.
        """
        found = np.minimum(ids, len(self._lengths) - 1).astype(np.int64)
        counts = self._lengths[found]
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        ends = np.cumsum(lengths)
        return self._values[ragged_index(self._starts[found], counts)], sums[ends] - sums[ends - lengths]


def _decoder(given: Any) -> tuple[list[Piece], Callable[[str], bytes]]:
    """Return the steps that turn a piece of the vocabulary into text, and what turns that into bytes."""
    if given is None:
        return [lambda piece: f" {piece}"], _utf8  # pieces are joined by spaces
    steps: list[Piece] = []
    to_bytes = _utf8
    for one in given["decoders"] if given["type"] == "Sequence" else [given]:
        kind = one["type"]
        if kind == "ByteLevel":
            to_bytes = _of_letters
        elif kind == "ByteFallback":
            to_bytes = _of_hex
        elif kind == "Metaspace":
            steps.append(_replacing(str(one["replacement"]), " "))
        elif kind == "Replace" and isinstance(one["pattern"].get("String"), str):
            steps.append(_replacing(one["pattern"]["String"], str(one["content"])))
        elif kind == "WordPiece":
            steps.append(_continuing(str(one["prefix"])))
        elif kind == "BPEDecoder":
            steps.append(_replacing(str(one["suffix"]), " "))
        elif kind not in ("Fuse", "Strip"):  # these touch the ends of a text alone
            raise UnsupportedError(
                f'{TOKENIZER_FILE} has a decoder {kind!r}, by which an id alone has no text; take ngrams="tokens"',
                rule=_RULE,
            )
    return steps, to_bytes


def _replacing(old: str, new: str) -> Piece:
    """Return what replaces a part of a piece."""
    return lambda piece: piece.replace(old, new)


def _continuing(prefix: str) -> Piece:
    """Return what takes away the prefix of a piece that goes on, and puts a space before any other."""
    return lambda piece: piece[len(prefix) :] if prefix and piece.startswith(prefix) else f" {piece}"


def _utf8(piece: str) -> bytes:
    """Return the bytes of a text."""
    return piece.encode(errors="replace")


def _of_hex(piece: str) -> bytes:
    """Return the bytes of a text, or the one byte that is written as <0x41>."""
    found = _BYTE.match(piece)
    return _utf8(piece) if found is None else bytes([int(found[1], 16)])


def _of_letters(piece: str) -> bytes:
    """Return the bytes that letters stand for; a piece with any other letter is text."""
    try:
        return bytes(_LETTERS[letter] for letter in piece)
    except KeyError:
        return _utf8(piece)


def _letters() -> dict[str, int]:
    """Return the letters of byte-level BPE: bytes that print are their own, all others follow from U+0100 on."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(256 + i): byte for i, byte in enumerate(others)}


_LETTERS = _letters()
