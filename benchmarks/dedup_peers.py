"""The peers of `benchmarks.dedup`: MinHash of datatrove and rensa over texts, signatures to clusters."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.corpora import read_texts

__all__ = ["datatrove_clusters", "rensa_clusters", "texts_of"]

Timed = tuple[str, float, NDArray[np.int64] | None]
"""What was done, in how many seconds, and the cluster of every document."""


def texts_of(folder: str | None) -> list[str]:
    """Return the texts that `load_corpora` tokenizes, in the same order."""
    return read_texts(folder)


def datatrove_clusters(texts: list[str], folder: str) -> list[Timed]:
    """Run the three steps of datatrove's MinHash with its default of 5-grams and 14 buckets of 8."""
    from datatrove.data import Document
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupSignature,
    )
    from datatrove.utils.logging import logger

    logger.remove()
    config = MinhashConfig()
    start = time.perf_counter()
    documents = (Document(text=text, id=str(i)) for i, text in enumerate(texts))
    MinhashDedupSignature(f"{folder}/signatures", config=config).run(documents, 0, 1)
    signed = time.perf_counter()
    for rank in range(config.num_buckets):
        step = MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config)
        step.run(None, rank, config.num_buckets)
    step = MinhashDedupCluster(f"{folder}/buckets", f"{folder}/clusters", config=config, save_cluster_id=True)
    step.run(None, 0, 1)
    end = time.perf_counter()
    found = np.arange(len(texts))
    for path in Path(f"{folder}/clusters").rglob("*.clusters"):
        pairs = np.frombuffer(path.read_bytes(), "<u4").reshape(-1, 2).astype(np.int64)
        found[pairs[:, 0]] = pairs[:, 1] + len(texts)
    return [("signatures alone", signed - start, None), ("signatures to clusters", end - start, found)]


def rensa_clusters(texts: list[str], folder: str) -> list[Timed]:
    """Run rensa's signatures and its index with the same 5-grams of words, 14 bands of 8; clusters by union-find."""
    from rensa import RMinHash, RMinHashLSH

    start = time.perf_counter()
    made: list[Any] = []
    for text in texts:
        words = text.split()
        one = RMinHash(num_perm=112, seed=1)
        one.update([" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))])
        made.append(one)
    signed = time.perf_counter()
    index = RMinHashLSH(threshold=0.8, num_perm=112, num_bands=14)
    root = list(range(len(texts)))
    for i, one in enumerate(made):
        for other in index.query(one):
            a, b = _root(root, i), _root(root, other)
            root[max(a, b)] = min(a, b)
        index.insert(i, one)
    found = np.array([_root(root, i) for i in range(len(texts))])
    return [
        ("signatures alone", signed - start, None),
        ("signatures to clusters", time.perf_counter() - start, found),
    ]


def _root(root: list[int], one: int) -> int:
    """Return the first of a cluster."""
    while root[one] != one:
        root[one] = root[root[one]]
        one = root[one]
    return one
