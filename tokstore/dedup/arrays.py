"""Duplicates among rows that are in memory: arrays in, arrays out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tokstore.dedup.digests import row_digests
from tokstore.dedup.forest import Clusters, Forest, clusters_at
from tokstore.dedup.held import Held
from tokstore.dedup.minhash import MinHash
from tokstore.dedup.pair_rows import confirmed, identical, true_similarity
from tokstore.dedup.representatives import confirm_representatives
from tokstore.dedup.search import estimated, search
from tokstore.ragged import Ragged

__all__ = ["exact", "least_estimate", "near"]


def exact(rows: Any) -> Clusters:
    """Find equal rows, by 128-bit digests and then value by value.

    Args:
        rows: A `Ragged`, a 2-d array, or a list of sequences of integers.

    Returns:
        `Clusters`: the representative is the first of equal rows.

    Example:
        >>> exact([[1, 2], [3], [1, 2], [1, 2, 3]]).of.tolist()
        [-1, -1, 0, -1]
    """
    ragged = _ragged(rows)
    held, forest = Held(), Forest(len(ragged))
    digests = row_digests(ragged.values, ragged.lengths)
    held.add("all", digests, digests[:, 0][None])
    search(held, 1, forest, identical(_reader(ragged), ragged.lengths), neighbours=False)
    found = forest.clusters()
    return Clusters(found.of, found.size)


def near(
    rows: Any,
    *,
    threshold: float = 0.8,
    ngram: int = 5,
    bands: int = 14,
    width: int = 8,
    seed: int = 0,
    confirm: bool = False,
) -> Clusters:
    """Find rows whose sets of n-grams are similar, by MinHash signatures.

    Args:
        rows: A `Ragged`, a 2-d array, or a list of sequences of integers.
        threshold: The Jaccard similarity from which on rows are duplicates, above 0 and at most 1.
        ngram, bands, width, seed: As of `MinHash`.
        confirm: Compare the n-grams themselves, of every pair, and of every row with its representative: rows that were
            joined to it through others alone make a cluster of their own. Without it the similarity is an estimate, and
            rows count whose estimate is two standard errors below the threshold or better, so that hardly any true
            duplicate is lost.

    Returns:
        `Clusters`, joined by single linkage.

    Example:
        >>> a = np.arange(300)
        >>> b = a.copy()
        >>> b[150] = 7
        >>> near([a, a[::-1], b]).of.tolist()
        [-1, -1, 0]
    """
    ragged, hashing = _ragged(rows), MinHash(ngram, bands, width, seed)
    held, forest = Held(), Forest(len(ragged))
    signatures = hashing.signatures(ragged.values, ragged.lengths)
    held.add("all", signatures, hashing.band_keys(signatures))
    score = estimated(held, hashing.similarity, least_estimate(threshold, hashing.bins, confirm))
    if confirm:
        score = confirmed(_reader(ragged), ragged.lengths, score, ngram, threshold)
    search(held, bands, forest, score)
    link, level = forest.links()
    if confirm:
        true = true_similarity(_reader(ragged), ragged.lengths, ngram, threshold)
        link, level, _ = confirm_representatives(link, level, true)
    return clusters_at(link, level, -np.inf)


def least_estimate(threshold: float, bins: int, confirm: bool) -> float:
    """Return the estimate from which on a pair is taken: two standard errors below the threshold, or four where the
    true similarity is computed after it."""
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is a similarity above 0 and at most 1, not {threshold}")
    # At a threshold of 1 the error of an estimate is 0, yet equal sets have equal signatures.
    return max(0.0, threshold - (4 if confirm else 2) * math.sqrt(threshold * (1 - threshold) / bins))


def _ragged(rows: Any) -> Ragged:
    """Return rows of integers as one `Ragged`."""
    if isinstance(rows, np.ndarray) and rows.ndim == 2:
        rows = Ragged(rows.reshape(-1), np.full(rows.shape[0], rows.shape[1], np.int64))
    made = rows if isinstance(rows, Ragged) else Ragged.from_rows(rows)
    if made.values.ndim != 1 or (made.values.size and made.values.dtype.kind not in "iub"):
        raise TypeError(f"rows are of integers, not of {made.values.dtype} in {made.values.ndim} dimensions")
    return made


def _reader(ragged: Ragged) -> Any:
    """Return what reads some of the rows."""

    def read(some: Any) -> Any:
        chosen = ragged[some]
        return chosen.values, chosen.lengths

    return read
