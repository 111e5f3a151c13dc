"""How samples are compared by signatures: what a signature is, which are alike, and what a result depends on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.arrays import least_estimate
from tokstore.dedup.digests import row_digests
from tokstore.dedup.held import Held
from tokstore.dedup.minhash import MinHash
from tokstore.dedup.mixing import Hashes
from tokstore.dedup.pair_rows import confirmed, identical, true_similarity
from tokstore.dedup.sample_rows import SampleRows
from tokstore.dedup.search import Score, estimated
from tokstore.dedup.text_grams import GramsOf

__all__ = ["ALGORITHM", "Method"]

ALGORITHM = 1
"""Changes when signatures of the same samples do: kept ones of another number are not used."""


@dataclass(frozen=True)
class Method:
    """How samples are compared.

    Attributes:
        name: ``"exact"`` or ``"near"``.
        hashing: Of near duplicates.
        threshold: Of near duplicates: the similarity from which on samples are duplicates.
        confirm: Of near duplicates: compare the n-grams themselves.
        grams: Of near duplicates: what the n-grams are of.
    """

    name: str
    hashing: MinHash = field(default_factory=MinHash)
    threshold: float = 0.8
    confirm: bool = False
    grams: GramsOf = field(default_factory=GramsOf)

    @property
    def is_exact(self) -> bool:
        """Whether duplicates are equal in every value."""
        return self.name == "exact"

    @property
    def bands(self) -> int:
        """Keys of a sample."""
        return 1 if self.is_exact else self.hashing.bands

    @property
    def floor(self) -> float:
        """The least similarity of duplicates, estimated or true."""
        if self.confirm:
            return self.threshold
        return least_estimate(self.threshold, self.hashing.bins, confirm=False)

    def signatures(self, values: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[Any]:
        """Return the signatures of rows."""
        if self.is_exact:
            return row_digests(values, lengths)
        if values.dtype.kind not in "iub":
            raise TypeError(f"near duplicates are looked for in integers, not in {values.dtype}")
        return self.hashing.signatures(*self.grams.of(values, lengths))

    def keys(self, signatures: NDArray[Any]) -> Hashes:
        """Return the keys of signatures, ``[bands, rows]``."""
        return signatures[:, 0][None].copy() if self.is_exact else self.hashing.band_keys(signatures)

    def score(self, rows: SampleRows, held: Held) -> Score:
        """Return what tells how similar pairs are."""
        if self.is_exact:
            return identical(rows.read, rows.lengths)
        least = least_estimate(self.threshold, self.hashing.bins, self.confirm)
        score = estimated(held, self.hashing.similarity, least)
        if not self.confirm:
            return score
        return confirmed(self.grams.reading(rows.read), rows.lengths, score, self.hashing.ngram, self.threshold)

    def true_score(self, rows: SampleRows) -> Score:
        """Return what tells how similar pairs of near duplicates truly are."""
        return true_similarity(self.grams.reading(rows.read), rows.lengths, self.hashing.ngram, self.threshold)

    @property
    def signature_plan(self) -> dict[str, Any]:
        """What signatures depend on."""
        more = {} if self.is_exact else self.hashing.parameters | self.grams.plan
        return {"method": self.name, "algorithm": ALGORITHM} | more

    @property
    def plan(self) -> dict[str, Any]:
        """What the result depends on, beside the samples."""
        more = {} if self.is_exact else {"threshold": self.threshold, "confirm": self.confirm}
        return self.signature_plan | more
