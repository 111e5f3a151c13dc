"""Texts to ids: with a file of the `tokenizers` library, or one id per byte.

Both turn a list of texts into one array of ids and one of lengths, in one call each. A tokenizer file may carry
truncation and padding from the model it was made for; both are switched off, because a store holds what is in the text
and nothing else. Special ids are not inserted: loaders do that (`bos_id` and `eos_id` of the column say which ids they
are).
"""

from __future__ import annotations

import gzip
import os
import zlib
from array import array
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import zstandard

import tokstore as ts
from tokstore.errors import UnsupportedError

__all__ = ["ByteTokenizer", "FileTokenizer", "Tokenizer", "load_tokenizer"]

BYTES = "bytes"
_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]", "<|im_end|>")
_BEGINS = ("<|begin_of_text|>", "<s>", "<bos>", "<|bos|>", "[BOS]")
_PADS = ("<pad>", "<|pad|>", "[PAD]", "<|padding|>", "<|finetune_right_pad_id|>")


class Tokenizer(Protocol):
    """What `pack` needs of a tokenizer."""

    name: str
    tokens: ts.Tokens
    file_bytes: bytes | None

    def encode(self, texts: list[str]) -> ts.Ragged:
        """Return the ids of texts, one row each."""
        ...


class ByteTokenizer:
    """One id per byte of UTF-8, and 256 for the end of a document.

    Example:
        >>> ByteTokenizer().encode(["ab", ""]).to_list()
        [[97, 98], []]
    """

    name = BYTES
    file_bytes: bytes | None = None

    def __init__(self) -> None:
        self.tokens = ts.Tokens(257, eos_id=256)

    def encode(self, texts: list[str]) -> ts.Ragged:
        """Return the bytes of texts, one row each: uint8 values."""
        encoded = [text.encode("utf-8") for text in texts]
        lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
        return ts.Ragged(np.frombuffer(b"".join(encoded), np.uint8), lengths)


class FileTokenizer:
    """A tokenizer of the `tokenizers` library.

    Args:
        file_bytes: The content of a ``tokenizer.json``.
        name: What messages call it.
        eos: The token that ends a document; ``"auto"`` takes the first well-known one that the vocabulary has; None:
            none.
        bos: The same for the token that begins one.

    Raises:
        UnsupportedError: `tokenizers` is not installed.
        ValueError: The file is no tokenizer, or has no such token.
    """

    def __init__(
        self, file_bytes: bytes, *, name: str = "tokenizer", eos: str | None = "auto", bos: str | None = "auto"
    ) -> None:
        self.name = name
        self.file_bytes: bytes | None = file_bytes
        self._tokenizer = _parse(file_bytes, name)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        vocabulary: dict[str, int] = self._tokenizer.get_vocab(with_added_tokens=True)
        if not vocabulary:
            raise ValueError(f"{name}: the tokenizer has an empty vocabulary")
        self.tokens = ts.Tokens(
            max(vocabulary.values()) + 1,
            bos_id=_special(vocabulary, bos, _BEGINS, name),
            eos_id=_special(vocabulary, eos, _ENDS, name),
            pad_id=_special(vocabulary, "auto", _PADS, name),
        )
        fast = getattr(self._tokenizer, "encode_batch_fast", None)
        self._encode_batch = fast if fast is not None else self._tokenizer.encode_batch

    def encode(self, texts: list[str]) -> ts.Ragged:
        """Return the ids of texts, one row each: uint32 values."""
        values, lengths = array("I"), []
        for encoding in self._encode_batch(texts, add_special_tokens=False):
            row = encoding.ids
            values.fromlist(row)
            lengths.append(len(row))
        return ts.Ragged(np.frombuffer(values, np.uint32), lengths)


def _special(vocabulary: dict[str, int], wanted: str | None, known: Iterable[str], name: str) -> int | None:
    """Find the id of a special token."""
    if wanted is None:
        return None
    if wanted == "auto":
        return next((vocabulary[token] for token in known if token in vocabulary), None)
    if wanted not in vocabulary:
        raise ValueError(f"{name}: the vocabulary has no token {wanted!r}")
    return vocabulary[wanted]


def _parse(file_bytes: bytes, name: str) -> Any:
    """Make a tokenizer of the bytes of its file."""
    try:
        from tokenizers import Tokenizer as Backend
    except ImportError as error:
        raise UnsupportedError(
            f"{name} needs the tokenizers library", hint="pip install 'tokstore[tokenize]', or pack bytes"
        ) from error
    try:
        return Backend.from_str(file_bytes.decode("utf-8"))
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(f"{name}: this is no tokenizers file: {error}") from error


def load_tokenizer(
    path: str | os.PathLike[str] | None, *, eos: str | None = "auto", bos: str | None = "auto"
) -> Tokenizer:
    """Load a tokenizer.

    Args:
        path: A ``tokenizer.json`` of the `tokenizers` library, which may be compressed with gzip or zstd; None for
            bytes.
        eos: The token that ends a document: ``"auto"``, a token of the vocabulary, or None. Bytes always end with 256.
        bos: The same for the token that begins one.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no tokenizer, or has no such token.
        UnsupportedError: `tokenizers` is not installed.

    Example:
        >>> load_tokenizer(None).tokens
        Tokens(257, eos_id=256)
    """
    if path is None:
        return ByteTokenizer()
    with open(path, "rb") as file:
        data = file.read()
    return FileTokenizer(_plain(data, os.fspath(path)), name=os.path.basename(os.fspath(path)), eos=eos, bos=bos)


def _plain(data: bytes, path: str) -> bytes:
    """Decompress the bytes of a tokenizer file where they are compressed."""
    try:
        if data.startswith(b"\x1f\x8b"):
            return gzip.decompress(data)
        if data.startswith(b"\x28\xb5\x2f\xfd"):
            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise ValueError(f"{path}: the compressed data is damaged: {error}") from error
    return data
