"""Token arrays to measure with: from a folder of texts and tokenizers, or from the standard library's own sources.

A folder holds ``<name>.jsonl`` (plain, .gz or .zst; field ``text``) and ``bpe-<vocab>.json`` (plain or .zst),
tokenizers of the `tokenizers` library. Without a folder the sources of the Python standard library are the corpus,
and a byte-level BPE is trained on them.
"""

from __future__ import annotations

import gzip
import json
import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

__all__ = ["Corpus", "first_corpus", "load_corpora", "read_texts"]

_VOCAB = 16_384
_MOST_TEXT = 24_000_000


@dataclass(frozen=True)
class Corpus:
    """One corpus in one vocabulary.

    Attributes:
        name: What it is.
        vocab_size: Ids are below it.
        text_bytes: Bytes of the text as UTF-8.
        values: All ids, uint16 or uint32.
        lengths: Ids per document.
    """

    name: str
    vocab_size: int
    text_bytes: int
    values: NDArray[Any]
    lengths: NDArray[np.int64]


def load_corpora(folder: str | None, near: int | None = None) -> list[Corpus]:
    """Load and tokenize every corpus in every vocabulary of a folder, or the standard library's sources.

    Args:
        folder: Of texts and tokenizers.
        near: Of the tokenizers only the one whose name says the nearest number of ids.
    """
    if folder is None:
        texts = list(_standard_library())
        return [_tokenize("stdlib", texts, _train(texts))]
    where = Path(folder)
    tokenizers = sorted(path for path in where.iterdir() if re.fullmatch(r"bpe-\d+\.json(\.zst)?", path.name))
    sources = sorted(path for path in where.iterdir() if re.fullmatch(r"[\w-]+\.jsonl(\.gz|\.zst)?", path.name))
    if not tokenizers or not sources:
        raise SystemExit(f"{folder} needs <name>.jsonl[.zst|.gz] files and bpe-<vocab>.json[.zst] tokenizers")
    if near is not None:
        tokenizers = [min(tokenizers, key=lambda path: abs(int(path.name[4:].partition(".")[0]) - near))]
    from tokenizers import Tokenizer

    found = []
    for source in sources:
        texts = [json.loads(line)["text"] for line in _read(source).splitlines()]
        found += [
            _tokenize(source.name.split(".")[0], texts, Tokenizer.from_str(_read(t).decode())) for t in tokenizers
        ]
    return found


def first_corpus(folder: str | None) -> tuple[list[str], str, Corpus]:
    """Return the texts of the first corpus of `load_corpora`, the JSON of its first tokenizer, and their ids."""
    from tokenizers import Tokenizer

    if folder is None:
        texts = list(_standard_library())
        made = _train(texts)
        return texts, made.to_str(), _tokenize("stdlib", texts, made)
    where = Path(folder)
    tokenizer = _read(min(path for path in where.iterdir() if re.fullmatch(r"bpe-\d+\.json(\.zst)?", path.name)))
    source = min(path for path in where.iterdir() if re.fullmatch(r"[\w-]+\.jsonl(\.gz|\.zst)?", path.name))
    texts = [json.loads(line)["text"] for line in _read(source).splitlines()]
    made = Tokenizer.from_str(tokenizer.decode())
    return texts, made.to_str(), _tokenize(source.name.split(".")[0], texts, made)


def read_texts(folder: str | None) -> list[str]:
    """Return the texts of all corpora of a folder, or of the standard library, in the order of `load_corpora`."""
    if folder is None:
        return list(_standard_library())
    sources = sorted(path for path in Path(folder).iterdir() if re.fullmatch(r"[\w-]+\.jsonl(\.gz|\.zst)?", path.name))
    return [json.loads(line)["text"] for source in sources for line in _read(source).splitlines()]


def _read(path: Path) -> bytes:
    """Read a file, inflated where its name says so."""
    data = path.read_bytes()
    if path.suffix == ".zst":
        with zstandard.ZstdDecompressor().stream_reader(data) as reader:
            return bytes(reader.read())
    return gzip.decompress(data) if path.suffix == ".gz" else data


def _standard_library() -> Iterator[str]:
    """Yield the sources of the standard library in the order of their names, without its tests, up to a bound."""
    root = Path(sysconfig.get_paths()["stdlib"])
    total = 0
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if {"test", "tests", "site-packages", "__pycache__", "idlelib"} & set(parts):
            continue
        text = path.read_bytes().decode(errors="replace")
        total += len(text)
        if total > _MOST_TEXT:
            return
        if text:
            yield text


def _train(texts: list[str]) -> Any:
    """Train a byte-level BPE on every second text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=_VOCAB, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(texts[::2], trainer)
    return made


def _tokenize(name: str, texts: list[str], tokenizer: Any) -> Corpus:
    """Tokenize texts, a few hundred at a time."""
    vocab = tokenizer.get_vocab_size()
    dtype = np.uint16 if vocab <= 1 << 16 else np.uint32
    ids = [
        np.asarray(one.ids, dtype)
        for i in range(0, len(texts), 256)
        for one in tokenizer.encode_batch(texts[i : i + 256])
    ]
    nbytes = sum(len(text.encode()) for text in texts)
    return Corpus(name, vocab, nbytes, np.concatenate(ids), np.array([len(one) for one in ids], np.int64))
