"""The corpus of the demo: real text that every machine with Python has, and a tokenizer trained on it.

The text is the sources of the standard library without its tests and without what was installed beside it, sorted by
path, up to a cap. The tokenizer is a byte-level BPE, trained on evenly spaced files so that it is made in seconds.
"""

from __future__ import annotations

import os
import sysconfig
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

import tokstore as ts
from tokstore.errors import UnsupportedError

__all__ = ["Corpus", "find_corpus", "measure_sizes", "train_tokenizer"]

CAP_BYTES = 15_000_000
VOCAB_SIZE = 8192
TRAINING_BYTES = 4_000_000
END_OF_TEXT = "<|endoftext|>"
_PASSED_OVER = {"__pycache__", "dist-packages", "ensurepip", "idle_test", "site-packages", "test", "tests"}


@dataclass(frozen=True)
class Corpus:
    """Files and their texts, in the same order."""

    paths: tuple[str, ...]
    texts: tuple[str, ...]

    @property
    def text_bytes(self) -> int:
        """Bytes of all texts as UTF-8."""
        return sum(len(text.encode("utf-8")) for text in self.texts)


def find_corpus(folder: str | None = None, *, cap_bytes: int = CAP_BYTES) -> Corpus:
    """Read the Python sources under a folder, by default the standard library.

    Raises:
        ValueError: There are none.
    """
    root = folder if folder is not None else sysconfig.get_path("stdlib")
    paths: list[str] = []
    texts: list[str] = []
    room = cap_bytes
    for place, folders, files in os.walk(root):
        folders[:] = sorted(set(folders) - _PASSED_OVER)
        for path in (Path(place, name) for name in sorted(files) if name.endswith(".py")):
            data = path.read_bytes()
            if b"\0" in data or len(data) > room or not _is_utf8(data):
                continue
            room -= len(data)
            paths.append(str(path))
            texts.append(data.decode("utf-8"))
    if not paths:
        raise ValueError(f"{root}: there are no Python sources in it")
    return Corpus(tuple(paths), tuple(texts))


def _is_utf8(data: bytes) -> bool:
    """Tell whether bytes are UTF-8 text."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def train_tokenizer(texts: Sequence[str], *, vocab_size: int = VOCAB_SIZE, training_bytes: int = TRAINING_BYTES) -> str:
    """Train a byte-level BPE on evenly spaced texts and return its file.

    Args:
        texts: The corpus.
        vocab_size: Ids at most, with ``<|endoftext|>`` as id 0.
        training_bytes: About how many characters to train on.

    Raises:
        UnsupportedError: `tokenizers` is not installed.
    """
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError as error:
        raise UnsupportedError("the demo needs tokenizers", hint="pip install 'tokstore[tokenize]'") from error
    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    every = max(1, sum(map(len, texts)) // training_bytes)
    tokenizer.train_from_iterator(texts[::every], trainer)
    written: str = tokenizer.to_str()
    return written


def measure_sizes(corpus: Corpus, store: ts.Store, store_path: str) -> dict[str, int]:
    """Return the bytes that the same text takes in several forms; of a store, all its files count."""
    text = "".join(corpus.texts).encode("utf-8")
    ids = b"".join(batch["tokens"].values.astype("<u2").tobytes() for batch in store.scan(["tokens"], batch_size=4096))
    with tempfile.TemporaryDirectory(prefix="tokstore-demo-") as folder:
        small_path = os.path.join(folder, "small")
        with ts.create(small_path, store.schema, level="small", attachments=dict(store.attachments)) as writer:
            for batch in store.scan():
                writer.extend(batch)
        small_bytes = _folder_bytes(small_path)
    return {
        "text": len(text),
        "text_zstd_3": len(zstandard.ZstdCompressor(level=3).compress(text)),
        "text_zstd_19": len(zstandard.ZstdCompressor(level=19, threads=2).compress(text)),
        "ids_u16": len(ids),
        "ids_u16_zstd_3": len(zstandard.ZstdCompressor(level=3).compress(ids)),
        "store": _folder_bytes(store_path),
        "store_small": small_bytes,
    }


def _folder_bytes(path: str) -> int:
    """Add up all files below a folder."""
    return sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(path) for name in names)
