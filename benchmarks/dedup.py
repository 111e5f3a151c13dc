"""Duplicates measured: planted truth, speed beside datatrove and rensa, vectors beside brute force, memory.

python -m benchmarks.dedup                  # the sources of the standard library
python -m benchmarks.dedup --data FOLDER    # <name>.jsonl[.zst] with bpe-<vocab>.json[.zst], embeddings.npy[.zst]

`pip install -r benchmarks/dedup-peers.txt` brings the peers; without them their rows are left out, and a line says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

import tokstore as ts
from benchmarks.columns import load
from benchmarks.corpora import Corpus, load_corpora
from benchmarks.dedup_peers import datatrove_clusters, rensa_clusters, texts_of
from benchmarks.measure import machine, peak_rss, table
from tokstore.dedup import MinHash, mark, semantic
from tokstore.dedup.jaccard import pair_similarity
from tokstore.ragged import Ragged

_EDITS = (0.01, 0.05, 0.1, 0.2)
_STEPS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.01)
_MOST = 3000
Docs = list[NDArray[Any]]


def planted(corpus: Corpus, seed: int = 0) -> tuple[Docs, list[tuple[str, int]]]:
    """Return documents with copies of them behind, and what each copy is: how it was made, and of what document."""
    rng = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(corpus.lengths)])
    found = [corpus.values[offsets[i] : offsets[i + 1]] for i in rng.permutation(len(corpus.lengths)).tolist()]
    docs: Docs = list({one.tobytes(): one for one in found if 50 <= len(one) < 50_000}.values())[:_MOST]
    made, copies = list(docs), list[tuple[str, int]]()
    header, footer = rng.integers(0, corpus.vocab_size, (2, 40)).astype(corpus.values.dtype)
    ways: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {"exact": lambda one: one.copy()}
    for share in _EDITS:
        ways[f"{share:.0%} edited"] = lambda one, s=share: _edited(rng, one, s, corpus.vocab_size)  # type: ignore[misc]
    ways["few edits"] = lambda one: _edited(rng, one, float(rng.uniform(0.002, 0.03)), corpus.vocab_size)
    ways["paragraphs shuffled"] = lambda one: _shuffled(rng, one)
    ways["header and footer"] = lambda one: np.concatenate([header, one, footer])
    for way, make in ways.items():
        for original in rng.choice(len(docs), len(docs) // 4, replace=False).tolist():
            made.append(make(docs[original]))
            copies.append((way, original))
    return made, copies


def _edited(rng: np.random.Generator, one: NDArray[Any], share: float, vocab: int) -> NDArray[Any]:
    """Return a copy in which a share of the tokens are others."""
    made = one.copy()
    at = rng.choice(len(one), max(1, round(share * len(one))), replace=False)
    made[at] = rng.integers(0, vocab, len(at))
    return made


def _shuffled(rng: np.random.Generator, one: NDArray[Any]) -> NDArray[Any]:
    """Return a copy with its eighths in another order."""
    parts = np.array_split(one, 8)
    return np.concatenate([parts[i] for i in rng.permutation(8).tolist()])


def write(path: str, docs: Docs, vocab: int) -> ts.Store:
    """Write documents as a store."""
    with ts.create(path, ts.Schema(tokens=ts.Tokens(vocab))) as writer:
        writer.extend(tokens=Ragged.from_rows(docs))
    return ts.open(path)


def representatives(store: ts.Store, name: str) -> NDArray[np.int64]:
    """Return the representative of every sample."""
    of = store[f"dup_{name}_of"]
    return np.where(store.missing(f"dup_{name}_of"), store["sample_id"], np.asarray(of))


def pair_rows(
    reps: dict[str, NDArray[np.int64]], true: NDArray[Any], a: NDArray[Any], b: NDArray[Any]
) -> list[list[str]]:
    """Return the recall of every method by true similarity of the planted pairs."""
    rows = []
    for low, high in pairwise(_STEPS):
        inside = (true >= low) & (true < high)
        shares = [f"{(r[a] == r[b])[inside].mean():.3f}" if inside.any() else "" for r in reps.values()]
        rows.append([f"{low:.2f} to {min(high, 1):.2f}", f"{int(inside.sum()):,}", *shares])
    inside = true >= 0.8
    rows.append(
        ["0.80 and more", f"{int(inside.sum()):,}", *(f"{(r[a] == r[b])[inside].mean():.4f}" for r in reps.values())]
    )
    return rows


def precision(store: ts.Store, name: str, ragged: Ragged) -> str:
    """Return the share of duplicates whose true similarity to the sample that stays for them is 0.8 or more.

    That is what a view without duplicates loses: a pair that was joined through others alone counts as wrong, though
    every pair on the way may be right.
    """
    lost = np.flatnonzero(~store.missing(f"dup_{name}_of"))
    stays = np.asarray(store[f"dup_{name}_of"])[lost]
    similar = pair_similarity(ragged.values, ragged.lengths, stays, lost, 5) >= 0.8
    return f"{similar.mean():.4f}" if len(lost) else "none found"


def measure_truth(corpus: Corpus, folder: str) -> str:
    """Return tables of what is found of planted copies."""
    docs, copies = planted(corpus)
    ragged, first = Ragged.from_rows(docs), len(docs) - len(copies)
    store = write(os.path.join(folder, "truth"), docs, corpus.vocab_size)
    mark(store, "exact")
    mark(store, "near")
    mark(store, "near", name="confirmed", confirm=True)
    reps = {name: representatives(store, name) for name in ("near", "confirmed", "exact")}
    original, copy = np.array([one for _, one in copies]), np.arange(first, len(docs))
    equal = np.array([np.array_equal(docs[a], docs[b]) for a, b in zip(original, copy, strict=True)])
    hit = reps["exact"][original] == reps["exact"][copy]
    true = pair_similarity(ragged.values, ragged.lengths, original, copy, 5)
    lines = [table(f"Planted copies, {corpus.name}: recall by true Jaccard similarity", ["pairs", "planted",
             "near", "near --confirm", "exact"], pair_rows(reps, true, original, copy))]  # fmt: skip
    rows = []
    for way in dict.fromkeys(way for way, _ in copies):
        some = np.array([one == way for one, _ in copies])
        shares = [f"{(reps[n][original] == reps[n][copy])[some].mean():.3f}" for n in reps]
        rows.append([way, f"{true[some].mean():.3f}", *shares])
    lines.append(table("The same by how they were made", ["copies", "Jaccard, mean", *reps], rows))
    rows = [["exact", f"{hit[equal].mean():.4f}", f"{equal[hit].mean():.4f}"]]
    found = true >= 0.8
    for name in ("near", "confirmed"):
        share = (reps[name][original] == reps[name][copy])[found].mean()
        rows.append([name, f"{share:.4f}", precision(store, name, ragged)])
    lines.append(table("Recall and precision", ["method", "recall", "precision"], rows))
    return "\n".join(lines)


def measure_speed(corpus: Corpus, texts: list[str], folder: str) -> list[list[str]]:
    """Return the speed of every method on the same documents, one thread."""
    size = sum(len(one.encode()) for one in texts) / 1e6
    offsets = np.concatenate([[0], np.cumsum(corpus.lengths)])
    docs = [corpus.values[offsets[i] : offsets[i + 1]] for i in range(len(corpus.lengths))]
    rng = np.random.default_rng(1)
    some = rng.choice(len(docs), len(docs) // 10, replace=False).tolist()
    docs += [_edited(rng, docs[i], 0.01, corpus.vocab_size) for i in some]
    texts = texts + [_edited_text(rng, texts[i]) for i in some]
    size *= sum(map(len, texts)) / sum(map(len, texts[: len(texts) - len(some)]))
    store, ragged = write(os.path.join(folder, "speed"), docs, corpus.vocab_size), Ragged.from_rows(docs)
    tokens, count = len(ragged.values), len(docs) - len(some)
    rows: list[list[str]] = []

    def add(what: str, seconds: float, found: Any, of_tokens: bool) -> None:
        share = "" if found is None else f"{np.mean([found[i] == found[count + k] for k, i in enumerate(some)]):.3f}"
        rate = f"{tokens / seconds / 1e6:.1f}" if of_tokens else ""
        rows.append([what, f"{seconds:.2f} s", f"{size / seconds:.1f}", rate, share])

    def best(job: Callable[[], Any]) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            job()
            times.append(time.perf_counter() - start)
        return min(times)

    add("tokstore exact, store to columns", best(lambda: mark(store, "exact")), None, True)
    add(
        "tokstore near, signatures alone", best(lambda: MinHash().signatures(ragged.values, ragged.lengths)), None, True
    )
    add("tokstore near, store to columns", best(lambda: mark(store, "near")), representatives(store, "near"), True)
    seconds = best(lambda: mark(store, "near", confirm=True))
    add("tokstore near --confirm, store to columns", seconds, representatives(store, "near"), True)
    for name, module, run in (("datatrove", "datatrove", datatrove_clusters), ("rensa", "rensa", rensa_clusters)):
        if importlib.util.find_spec(module) is None:
            print(f"{name} is not installed: pip install -r benchmarks/dedup-peers.txt, and its rows come too\n")
            continue
        for what, seconds, found in run(texts, os.path.join(folder, name)):
            add(f"{name}, {what}", seconds, found, False)
    return rows


def _edited_text(rng: np.random.Generator, text: str) -> str:
    """Return a text with one word in a hundred replaced."""
    words = text.split(" ")
    for at in rng.choice(len(words), max(1, len(words) // 100), replace=False).tolist():
        words[at] = f"x{rng.integers(0, 10**6)}"
    return " ".join(words)


def measure_vectors(vectors: NDArray[np.float32]) -> list[list[str]]:
    """Return how far semantic duplicates agree with brute force, by threshold."""
    start = time.perf_counter()
    found = semantic(vectors)
    seconds = time.perf_counter() - start
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    best = np.full(len(unit), -2, np.float32)
    for first in range(0, len(unit), 1000):
        similarity = unit[first : first + 1000] @ unit.T
        rows = np.arange(first, min(first + 1000, len(unit)))
        similarity[np.arange(len(unit))[None, :] >= rows[:, None]] = -2
        best[rows] = similarity.max(axis=1)
    got = np.nan_to_num(found.similarity if found.similarity is not None else best, nan=-2)
    made = []
    for threshold in (0.6, 0.7, 0.8, 0.85, 0.9, 0.95):
        lost = best >= threshold
        agree = float(((got >= threshold) == lost).mean())
        recall = float((got >= threshold)[lost].mean()) if lost.any() else 1.0
        made.append([f"{threshold:.2f}", f"{int(lost.sum()):,}", f"{agree:.4f}", f"{recall:.4f}", f"{seconds:.2f} s"])
    return made


_MEMORY = """
from pathlib import Path
from tokstore.dedup.forest import Forest
from tokstore.dedup.held import Held
from tokstore.dedup.minhash import MinHash
from tokstore.dedup.search import estimated, search
import time
rows, folder = int(sys.argv[1]), Path(sys.argv[2])
hashing, held, rng = MinHash(), Held(folder), np.random.default_rng(0)
start, at, step = time.perf_counter(), 0, 1 << 15
while at < rows:
    count = min(step, rows - at)
    made = rng.integers(0, 2**32, (count, 112), dtype=np.uint32)
    if at:  # a tenth are copies of earlier ones, a few bins of which differ
        copies = np.arange(0, count, 10)
        made[copies] = held.signatures(rng.integers(0, at, len(copies)))
        made[copies, rng.integers(0, 112, len(copies))] = 1
    held.add(f"{at:012d}", made, hashing.band_keys(made))
    at += count
made_in = time.perf_counter() - start
start, forest = time.perf_counter(), Forest(rows)
search(held, 14, forest, estimated(held, hashing.similarity, 0.72), memory=1 << 30)
lost = int((forest.clusters().of >= 0).sum())
print(json.dumps({"made": made_in, "seconds": time.perf_counter() - start, "peak": rss(), "lost": lost}))
"""


def measure_memory(rows: int, folder: str) -> list[list[str]]:
    """Return time and peak memory of a search over synthetic signatures on disk."""
    where = os.path.join(folder, "held")
    os.makedirs(where)
    facts = peak_rss(_MEMORY, str(rows), where)
    found = f"{facts['lost']:,} of about {rows // 10:,} planted"
    return [[f"{rows:,}", f"{facts['seconds']:.0f} s", f"{facts['peak']:.0f} MB, all of the process", found]]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print everything as Markdown tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dedup", description=__doc__.splitlines()[0])
    parser.add_argument("--data", metavar="FOLDER", help="texts and tokenizers, embeddings.npy[.zst]")
    parser.add_argument("--only", choices=("truth", "speed", "vectors", "memory"), help="one of the tables")
    parser.add_argument("--rows", type=int, default=10_000_000, help="signatures of the memory table")
    chosen = parser.parse_args(arguments)
    print(f"{machine()}; tokstore {ts.__version__}, numpy {np.__version__}; one thread\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="tokstore-bench-") as folder:
        if chosen.only in (None, "truth", "speed"):
            smallest = joined(load_corpora(chosen.data))
            if chosen.only != "speed":
                print(measure_truth(smallest, folder), flush=True)
            if chosen.only != "truth":
                head = ["method", "time", "MB of text/s", "M tokens/s", "1 % edits found"]
                print(table("Speed", head, measure_speed(smallest, texts_of(chosen.data), folder)), flush=True)
        if chosen.only in (None, "vectors"):
            head = ["threshold", "duplicates", "agreement with brute force", "recall", "time"]
            print(table("Semantic", head, measure_vectors(load(chosen.data, "embeddings"))), flush=True)
        if chosen.only in (None, "memory"):
            head = ["signatures", "bands to clusters", "peak memory", "duplicates"]
            print(table("Memory", head, measure_memory(chosen.rows, folder)))


def joined(corpora: list[Corpus]) -> Corpus:
    """Return all corpora in the smallest vocabulary as one."""
    vocab = min(one.vocab_size for one in corpora)
    some = [one for one in corpora if one.vocab_size == vocab]
    values, lengths = np.concatenate([one.values for one in some]), np.concatenate([one.lengths for one in some])
    name = " and ".join(one.name.split()[0] for one in some)
    return Corpus(f"{name} {vocab:,}", vocab, sum(one.text_bytes for one in some), values, lengths)


if __name__ == "__main__":
    if "OPENBLAS_NUM_THREADS" not in os.environ:  # one core for all: before numpy is loaded
        os.environ |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.dedup", *sys.argv[1:]])
    main()
