"""MinHash signatures of ragged rows by one permutation, bands, and the similarity that signatures estimate.

One permutation hashing (Li, Owen, Zhang: One Permutation Hashing, 2012): the hash of a gram names a bin and a value,
and a bin keeps its smallest value, so that a signature costs one pass over the values whatever its width. Bins that
stay empty borrow from a full one by a hash of their own (Shrivastava: Optimal Densification for Fast and Accurate
Minwise Hashing, 2017), which keeps the chance that two bins agree at the Jaccard similarity. A band is a run of bins;
rows that agree in all bins of a band are candidates (Broder 1997; Leskovec et al.: Mining of Massive Datasets, 3.4).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.grams import gram_pieces, short_grams
from tokstore.dedup.mixing import U64, Hashes, constants, mix
from tokstore.packed import Ints

__all__ = ["EMPTY", "MinHash", "Signatures"]

Signatures = NDArray[np.uint32]
EMPTY = np.uint32(0xFFFFFFFF)
_32 = U64(32)
_BAND, _BORROW = 4, 5
_TRIES = 256


@dataclass(frozen=True)
class MinHash:
    """How signatures are made.

    Attributes:
        ngram: Values of a gram.
        bands, width: Bands, and bins of each. With 14 bands of 8, rows of Jaccard similarity 0.7, 0.8 and 0.85 are
            candidates with probability 0.56, 0.92 and 0.99.
        seed: 0 to 2**64 - 1.

    Example:
        >>> hashing = MinHash(ngram=3)
        >>> rows = np.concatenate([np.arange(500), np.arange(5, 505)])
        >>> made = hashing.signatures(rows, np.array([500, 500]))
        >>> made.shape, bool(abs(hashing.similarity(made[:1], made[1:])[0] - 493 / 503) < 0.05)
        ((2, 112), True)
    """

    ngram: int = 5
    bands: int = 14
    width: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (("ngram", 1, 1024), ("bands", 1, 1024), ("width", 1, 256), ("seed", 0, 2**64 - 1)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is an integer from {low} to {high}, not {getattr(self, name)}")

    @property
    def bins(self) -> int:
        """Bins of a signature."""
        return self.bands * self.width

    @property
    def parameters(self) -> dict[str, int]:
        """The attributes, by name."""
        return asdict(self)

    def signatures(self, values: NDArray[Any], lengths: Ints) -> Signatures:
        """Return the signature of every row.

        Args:
            values: Integers of all rows, one row after another.
            lengths: Values per row.

        Returns:
            uint32 ``[rows, bins]``.
        """
        bins = self.bins
        made = np.full(len(lengths) * bins, EMPTY, np.uint32)
        for piece in gram_pieces(values, lengths, self.ngram, self.seed):
            self._put(made, piece.hashes, np.arange(piece.first, piece.first + len(piece.counts)), piece)
        rows, hashes = short_grams(values, lengths, self.ngram, self.seed)
        if len(rows):
            self._put(made, hashes, rows, None)
        signatures: Signatures = made.reshape(len(lengths), bins)
        self._densify(signatures)
        return signatures

    def _put(self, made: Signatures, hashes: Hashes, rows: Ints, piece: Any) -> None:
        """Lower the bins that hashes fall into."""
        bins = U64(self.bins)
        at = hashes >> _32
        at *= bins
        at >>= _32  # the upper half of the hash, scaled to a bin; the lower half is the value
        places = at.view(np.int64)
        low = hashes.astype(np.uint32)
        if piece is None:
            places += rows * self.bins
        else:
            low[piece.wrong] = EMPTY
            places += np.repeat(rows * self.bins, piece.counts)
        np.minimum.at(made, places, low)

    def _densify(self, signatures: Signatures) -> None:
        """Fill empty bins from full ones, in place."""
        bins = self.bins
        row, empty = np.nonzero(signatures == EMPTY)
        if not len(row):
            return
        full = signatures != EMPTY
        some = full.any(axis=1)[row]  # only a hash of 2**32 - 1 in every bin leaves a row without a full one
        row, empty = row[some], empty[some]
        order = self._borrowing()
        left = np.arange(len(row))
        source = np.full(len(row), -1, np.int64)
        for turn in range(_TRIES):
            wanted = order[turn][empty[left]]
            found = full[row[left], wanted]
            source[left[found]] = wanted[found]
            left = left[~found]
            if not len(left):
                break
        for step in range(1, bins):  # rows of one or two grams: go round until a full bin comes
            if not len(left):
                break
            wanted = (empty[left] + step) % bins
            found = full[row[left], wanted]
            source[left[found]] = wanted[found]
            left = left[~found]
        signatures[row, empty] = signatures[row, source]

    def _borrowing(self) -> Ints:
        """Return which bin an empty one asks, turn by turn."""
        start = constants(self.seed, 1, _BORROW)[0]
        table = mix(np.arange(_TRIES * self.bins, dtype=np.uint64) * U64(0x9E3779B97F4A7C15) + start)
        return ((table >> _32) * U64(self.bins) >> _32).astype(np.int64).reshape(_TRIES, self.bins)

    def band_keys(self, signatures: Signatures) -> Hashes:
        """Return a 64-bit key of every band of every row; rows that agree in a band have equal keys.

        Returns:
            uint64 ``[bands, rows]``.
        """
        factors = constants(self.seed, self.width, _BAND)
        keys = np.empty((self.bands, len(signatures)), U64)
        for band in range(self.bands):
            part = signatures[:, band * self.width : (band + 1) * self.width].astype(U64) + U64(1)
            keys[band] = mix((part * factors).sum(axis=1, dtype=U64))
        return keys

    def similarity(self, a: Signatures, b: Signatures) -> NDArray[np.float32]:
        """Return the share of bins in which signatures agree, an estimate of the Jaccard similarity of their grams.

        The standard error is at most ``0.5 / sqrt(bins)``, and 0.04 at a similarity of 0.8 with 112 bins.

        Args:
            a, b: uint32 ``[pairs, bins]``.
        """
        agree: NDArray[np.float32] = np.count_nonzero(a == b, axis=1).astype(np.float32) / np.float32(self.bins)
        return agree
