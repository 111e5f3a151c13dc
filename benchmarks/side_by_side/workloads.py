"""The workloads: samples as flat values with lengths, made once and read by every peer from the same files.

- ``chunks-<vocab>``: documents shuffled with seed 0, joined and cut at 2,048 tokens.
- ``ragged-<vocab>``: the same tokens cut by lengths of lognormal(ln 120, 1.0), 4 to 2,048.
- ``codes``: images as codes, one sample each.
- ``vectors``: embeddings, one sample each.

Texts and tokenizers come from a folder (see `benchmarks.corpora`), else texts are the sources of the standard library
and of installed packages, and one byte-level BPE is trained on half of them: its first merges are the smaller one.
The sources of an environment that has the peers make 128,256 ids; from fewer sources come fewer, and the workload is
named by what there is.
"""

from __future__ import annotations

import importlib.metadata
import json
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["QUICK_TOKENS", "SEQ_LEN", "Work", "load_work", "make_workloads"]

SEQ_LEN = 2048
_VOCABS = (50_257, 128_256)
_MOST_TEXT = 64_000_000
_TRAINED_ON = 32_000_000
QUICK_TOKENS = 200_000
"""Values of a workload in a miniature."""
_SKIPPED = {"test", "tests", "__pycache__", "idlelib"}


@dataclass(frozen=True)
class Work:
    """One workload, in files.

    Attributes:
        name: Such as ``chunks-50257``.
        kind: "tokens", "codes" or "vectors".
        folder: Has ``values.npy`` and ``lengths.npy``.
        size: The vocabulary or codebook; the dimension of vectors.
        shape: The shape of a sample; None where samples differ in length.
        source: Where the values come from, in words.
    """

    name: str
    kind: str
    folder: str
    size: int
    shape: tuple[int, ...] | None
    source: str = ""

    @cached_property
    def values(self) -> NDArray[Any]:
        """All values end to end, memory-mapped: uint16, uint32 or float32, the narrowest that holds them."""
        found: NDArray[Any] = np.load(Path(self.folder) / "values.npy", mmap_mode="r")
        return found

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Values per sample."""
        found: NDArray[np.int64] = np.load(Path(self.folder) / "lengths.npy")
        return found

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each sample begins, and one more entry for the end."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def length(self) -> int | None:
        """Values of a sample where all have as many."""
        return None if self.shape is None else int(np.prod(self.shape))

    @property
    def counts(self) -> tuple[str, str]:
        """What is counted: one of it, and many."""
        return {"tokens": ("token", "tokens"), "codes": ("code", "codes"), "vectors": ("value", "values")}[self.kind]

    def sample(self, index: int) -> NDArray[Any]:
        """Return the values of one sample."""
        return self.values[self.starts[index] : self.starts[index + 1]]

    def samples(self) -> Iterator[NDArray[Any]]:
        """Yield the values of every sample from memory."""
        values = np.asarray(self.values)
        ends = self.starts.tolist()
        for start, end in pairwise(ends):
            yield values[start:end]


def load_work(folder: str) -> Work:
    """Load a workload that `make_workloads` wrote."""
    facts = json.loads((Path(folder) / "work.json").read_text())
    return Work(**facts | {"shape": facts["shape"] and tuple(facts["shape"])})


def make_workloads(
    kinds: list[str], data: str | None, folder: Path, tokens: int, quick: bool, say: Callable[[str], None]
) -> list[Work]:
    """Write the workloads that are asked for and return them.

    Args:
        kinds: Of "chunks", "ragged", "codes" and "vectors".
        data: A folder of texts and tokenizers, or None.
        folder: Where the files go.
        tokens: At most so many values of each.
        quick: Ids by Zipf's law in one vocabulary instead of texts.
        say: Is told what goes on.
    """
    made = []
    if {"chunks", "ragged"} & set(kinds):
        for vocab, values, source in _tokens(data, tokens, quick, say):
            dtype = np.uint16 if vocab <= 1 << 16 else np.uint32
            values = values[:tokens].astype(dtype)
            count = len(values) // SEQ_LEN
            if "chunks" in kinds:
                lengths = np.full(count, SEQ_LEN, np.int64)
                made.append(_write(folder, f"chunks-{vocab}", "tokens", values, lengths, vocab, (SEQ_LEN,), source))
            if "ragged" in kinds:
                lengths = _ragged(len(values))
                made.append(_write(folder, f"ragged-{vocab}", "tokens", values, lengths, vocab, None, source))
    if {"codes", "vectors"} & set(kinds):
        from benchmarks.columns import load

        for kind, name in (("codes", "image-codes"), ("vectors", "embeddings")):
            if kind not in kinds:
                continue
            where = _folder_with(data, name)
            array = load(where, name)
            array = array[: max(1, tokens // int(np.prod(array.shape[1:])))]
            lengths = np.full(len(array), int(np.prod(array.shape[1:])), np.int64)
            size = int(array.max()) + 1 if kind == "codes" else array.shape[1]
            flat = array.reshape(-1).astype(np.uint16 if kind == "codes" else np.float32)
            source = f"{name} of the folder that was given" if where else f"{name} drawn at random: none were given"
            made.append(_write(folder, kind, kind, flat, lengths, size, array.shape[1:], source))
    return made


def _folder_with(data: str | None, name: str) -> str | None:
    """Return the folder if it has an array of that name; others are made."""
    return data if data is not None and list(Path(data).glob(f"{name}.npy*")) else None


def _write(
    folder: Path,
    name: str,
    kind: str,
    values: NDArray[Any],
    lengths: NDArray[np.int64],
    size: int,
    shape: tuple[int, ...] | None,
    source: str,
) -> Work:
    """Write one workload."""
    where = folder / name
    where.mkdir(parents=True)
    np.save(where / "values.npy", values[: int(lengths.sum())])
    np.save(where / "lengths.npy", lengths)
    work = Work(name, kind, str(where), size, shape, source)
    (where / "work.json").write_text(json.dumps(asdict(work)))
    return work


def _ragged(total: int) -> NDArray[np.int64]:
    """Return lengths of samples as fine-tuning has them, that take up at most `total` values."""
    drawn = np.random.default_rng(0).lognormal(np.log(120), 1.0, total // 50 + 10)
    lengths = np.clip(drawn, 4, SEQ_LEN).astype(np.int64)
    return lengths[: int(np.searchsorted(np.cumsum(lengths), total, "right"))]


def _tokens(
    data: str | None, tokens: int, quick: bool, say: Callable[[str], None]
) -> Iterator[tuple[int, NDArray[Any], str]]:
    """Yield each vocabulary with the ids of all documents, shuffled and joined, and where they come from."""
    if quick:
        # A miniature shows that everything works, and no figure of it is quoted.
        drawn = np.random.default_rng(0).zipf(1.2, tokens)
        yield _VOCABS[0], np.minimum(drawn, _VOCABS[0]) - 1, "ids drawn by Zipf's law"
        return
    from benchmarks.corpora import load_corpora

    if data is not None:
        say("tokenizing")
        found = load_corpora(data)
        for vocab in sorted({one.vocab_size for one in found}):
            same = [one for one in found if one.vocab_size == vocab]
            source = f"{' and '.join(one.name for one in same)} of the folder that was given, by its tokenizer"
            yield vocab, _joined([d for one in same for d in np.split(one.values, np.cumsum(one.lengths)[:-1])]), source
        return
    texts = list(_sources())
    most = sum(map(len, texts)) / 1e6
    say(f"training a tokenizer on half of {most:.0f} MB of sources")
    merges = _train(texts)
    made: set[int] = set()
    for vocab in _VOCABS:
        tokenizer = _smaller(merges, vocab)
        size = tokenizer.get_vocab_size()
        if size in made:
            say(f"no {vocab:,} ids: the sources of this machine make {size:,}; --data brings others")
            continue
        made.add(size)
        say(f"tokenizing with {size:,} ids")
        source = (
            f"Python sources of this machine, {most:.0f} MB at most, by a tokenizer that was trained on half of them "
            "and so fits them better than one of other texts"
        )
        yield size, _joined(_encoded(tokenizer, texts, tokens)), source


def _encoded(tokenizer: Any, texts: list[str], tokens: int) -> list[NDArray[Any]]:
    """Return the ids of texts, until there are as many as are asked for."""
    found: list[NDArray[Any]] = []
    for i in range(0, len(texts), 256):
        found += [np.asarray(one.ids, np.uint32) for one in tokenizer.encode_batch(texts[i : i + 256])]
        tokens -= sum(map(len, found[i:]))
        if tokens <= 0:
            break
    return found


def _joined(documents: list[NDArray[Any]]) -> NDArray[Any]:
    """Return documents end to end, in an order drawn with seed 0."""
    order = np.random.default_rng(0).permutation(len(documents)).tolist()
    return np.concatenate([documents[i] for i in order])


def _sources() -> Iterator[str]:
    """Yield Python files of the standard library, then of installed packages in the order of their names."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = [path for path in sorted(root.rglob("*.py")) if "site-packages" not in path.parts]
    for package in sorted(importlib.metadata.distributions(), key=lambda one: one.metadata["Name"].lower()):
        paths += [Path(str(one.locate())) for one in sorted(package.files or []) if str(one).endswith(".py")]
    total, seen = 0, set()
    for path in paths:
        if _SKIPPED & set(path.parts) or not path.is_file():
            continue
        text = path.read_bytes().decode(errors="replace")
        if not text or text in seen:
            continue
        seen.add(text)
        total += len(text)
        if total > _MOST_TEXT:
            return
        yield text


def _train(texts: list[str]) -> dict[str, Any]:
    """Train the greater byte-level BPE on some of the texts, and return it as its file says it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=_VOCABS[-1], initial_alphabet=alphabet, show_progress=False)
    step = -(-sum(map(len, texts)) // _TRAINED_ON)
    made.train_from_iterator(texts[::step], trainer)
    return dict(json.loads(made.to_str()))


def _smaller(tokenizer: dict[str, Any], vocab: int) -> Any:
    """Return the tokenizer with its first merges alone: what training would have made of fewer ids."""
    from tokenizers import Tokenizer

    model = tokenizer["model"]
    ids = {token: number for token, number in model["vocab"].items() if number < vocab}
    merges = [pair for pair in model["merges"] if "".join(pair) in ids]
    return Tokenizer.from_str(json.dumps(tokenizer | {"model": model | {"vocab": ids, "merges": merges}}))
