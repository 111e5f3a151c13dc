"""Which samples are drawn: by keyed hashes of their ids, so that a sample keeps its luck when others are appended.

A hash depends on the seed, the purpose and the sample id alone. Sampling takes the samples with the lowest hashes,
splitting cuts the range of hashes in proportion to the shares.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.order.keys import GOLDEN, derive_key, mix
from tokstore.packed import Ints
from tokstore.wire import checksum

__all__ = [
    "amount_of",
    "exponential_keys",
    "lowest_places",
    "sample_hashes",
    "share_bounds",
    "text_hashes",
    "value_hashes",
]

SAMPLE, SPLIT = 32, 33
"""Purposes of keys (order.md 2.2)."""

Hashes = NDArray[np.uint64]
Bools = NDArray[np.bool_]


def _hashes(numbers: Hashes, seed: int, purpose: int) -> Hashes:
    """Return keyed hashes of 64-bit numbers."""
    hashes = numbers + np.uint64(1)
    hashes *= np.uint64(GOLDEN)
    hashes += np.uint64(derive_key(seed, purpose, 0))
    return mix(hashes)


def sample_hashes(ids: Ints, seed: int, purpose: int) -> Hashes:
    """Return the hash of every sample from its id."""
    return _hashes(ids.astype(np.uint64), seed, purpose)


def value_hashes(values: NDArray[Any], seed: int) -> Hashes:
    """Return hashes of numbers for splitting; equal numbers have equal ones, and so have all NaN."""
    if values.dtype.kind == "f":
        wide = values.astype(np.float64) + 0.0  # -0.0 becomes 0.0
        wide[np.isnan(wide)] = np.nan
        return _hashes(wide.view(np.uint64), seed, SPLIT)
    return _hashes(values.astype(np.int64).view(np.uint64), seed, SPLIT)


def text_hashes(texts: list[bytes], seed: int) -> Hashes:
    """Return hashes of texts for splitting."""
    key = derive_key(seed, SPLIT, 0)
    return np.fromiter((checksum(one, key) for one in texts), np.uint64, len(texts))


def exponential_keys(hashes: Hashes, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return keys whose lowest n are a sample without replacement by weights; infinite for the weight 0.

    An exponential variable of rate w is the smallest of several with a probability in proportion to w (Efraimidis and
    Spirakis, 2006).
    """
    uniform = ((hashes >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    keys = np.full(len(weights), np.inf)
    np.divide(-np.log(uniform), weights, out=keys, where=weights > 0)
    return keys


def amount_of(total: int, n: int | None, fraction: float | None, tokens: int | None) -> tuple[int | None, int | None]:
    """Return how many samples, or how many tokens at most, from the three ways to say it.

    Raises:
        TypeError: Not exactly one of them is given.
        ValueError: One is outside its range.
    """
    given = [name for name, one in (("n", n), ("fraction", fraction), ("tokens", tokens)) if one is not None]
    if len(given) != 1:
        raise TypeError(f"give exactly one of n, fraction and tokens, not {' and '.join(given) or 'none'}")
    if fraction is not None:
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction is from 0 to 1, not {fraction!r}")
        return round(fraction * total), None
    count = operator.index(n if n is not None else tokens)  # type: ignore[arg-type]
    if count < 0:
        raise ValueError(f"{given[0]} is 0 or more, not {count}")
    return (count, None) if n is not None else (None, count)


def lowest_places(keys: NDArray[Any], usable: Bools | None, n: int | None, tokens: int | None, lengths: Any) -> Ints:
    """Return the places of the lowest keys, ascending; of equal keys the first come first.

    Args:
        keys: One per sample.
        usable: Which samples may be taken; ``None`` for all.
        n: How many samples.
        tokens: How many tokens at most, instead: samples are taken until the next one would be too much.
        lengths: Returns the tokens of all samples.

    Raises:
        ValueError: There are fewer samples or tokens.
    """
    places = np.arange(len(keys)) if usable is None else np.flatnonzero(usable)
    keys = keys[places]
    if n is not None:
        if n > len(places):
            raise ValueError(f"{n} samples are asked for, and there are {len(places)} to take")
        if n in (0, len(places)):
            return places[:n]
        bound = np.partition(keys, n - 1)[n - 1]
        taken = keys < bound
        equal = np.flatnonzero(keys == bound)[: n - int(np.count_nonzero(taken))]
        taken[equal] = True
        lowest: Ints = places[taken]
        return lowest
    sizes = np.asarray(lengths(), np.int64)[places]
    wanted = int(tokens or 0)
    if wanted > int(sizes.sum()):
        raise ValueError(f"{wanted} tokens are asked for, and there are {int(sizes.sum())} to take")
    order = np.argsort(keys, kind="stable")
    fits = int(np.searchsorted(np.cumsum(sizes[order]), wanted, side="right"))
    return np.sort(places[order[:fits]])


def share_bounds(shares: Mapping[str, float]) -> Hashes:
    """Return the hashes at which one part ends and the next begins.

    Raises:
        TypeError, ValueError: They are no shares that add up to 1.
    """
    if not isinstance(shares, Mapping) or not shares or not all(isinstance(name, str) for name in shares):
        raise TypeError("shares are a dict of names and numbers, such as {'train': 0.99, 'val': 0.01}")
    for name, share in shares.items():
        if isinstance(share, bool) or not math.isfinite(share) or share <= 0:
            raise ValueError(f"the share of {name!r} is a number above 0, not {share!r}")
    total = math.fsum(shares.values())
    if abs(total - 1) > 1e-9:
        raise ValueError(f"shares add up to 1, not {total:.6g}")
    exact = [Fraction(share) for share in shares.values()]
    ends = [sum(exact[: i + 1]) / sum(exact) for i in range(len(exact) - 1)]
    return np.array([min(int(end * 2**64), 2**64 - 1) for end in ends], np.uint64)
