"""Which rank table and dictionary a shard of tokens gets (codecs.md 2.3): candidates are tried on a sample of its
blocks.

The choice is by bytes, everything counted: an own table or dictionary costs its object, the store's current one costs
nothing more. A shard takes an own one only if that saves more than 2 % of the shard, since every resident dictionary
costs a reader cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.ranked import RankTable, TokenEncoder, rank_by_octave
from tokstore.format import MAX_RANKS

__all__ = ["LEVELS", "Level", "choose_encoder"]

_SMALLEST_TABLED = 65_536
_SAMPLE_BLOCKS = 16
_MUST_SAVE = 0.02
_STRETCH_BYTES = 8192
_DENSE_VOCAB = 1 << 24
Ids = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Level:
    """What a writer does at one level (codecs.md 2.3)."""

    ranked: bool
    leb128: bool
    zstd: int
    dictionary_bytes: tuple[int, ...]


LEVELS: dict[str, Level] = {
    "plain": Level(ranked=False, leb128=False, zstd=3, dictionary_bytes=()),
    "fast": Level(ranked=True, leb128=False, zstd=3, dictionary_bytes=()),
    "default": Level(ranked=True, leb128=False, zstd=12, dictionary_bytes=(1 << 20,)),
    "small": Level(ranked=True, leb128=True, zstd=19, dictionary_bytes=(1 << 20, 4 << 20)),
}


def choose_encoder(
    values: Ids,
    bounds: Sequence[int],
    vocab_size: int,
    level: Level,
    current: RankTable | None,
    object_bytes: Callable[[RankTable], int],
) -> TokenEncoder:
    """Choose how the tokens of one shard are encoded.

    Args:
        values: All ids of the shard.
        bounds: Block boundaries in `values`, first 0, last ``len(values)``.
        vocab_size: Ids are below it.
        level: What the writer is asked for.
        current: The store's current table, if there is one.
        object_bytes: How many bytes a table takes at rest.

    Returns:
        An encoder; its `table` is `current`, a new one, or ``None``.
    """

    def encoder(table: RankTable | None) -> TokenEncoder:
        return TokenEncoder(vocab_size, table, leb128=level.leb128 and table is not None, zstd_level=level.zstd)

    plain = encoder(None)
    if not level.ranked or not len(values):
        return plain
    sample = _sample(values, bounds)
    scale = len(values) / sum(len(block) for block in sample)

    def cost(candidate: TokenEncoder) -> float:
        return scale * sum(len(candidate.encode(block).data) for block in sample)

    shared = encoder(current) if current is not None else None
    if len(values) < _SMALLEST_TABLED:
        return shared if shared is not None and cost(shared) < cost(plain) else plain
    own = encoder(RankTable(_rank(values, vocab_size)))
    candidates = [own, plain]
    if level.dictionary_bytes:
        total = 2 * len(values) if not level.leb128 else scale * sum(len(own.code(block)[0]) for block in sample)
        # A dictionary above an eighth of the shard only moves bytes from the blocks into the object.
        sizes = sorted({min(size, int(total) // 8) for size in level.dictionary_bytes})
        candidates += [encoder(_with_dictionary(own, values, size)) for size in sizes if size >= _STRETCH_BYTES]
    costs = [cost(one) + (object_bytes(one.table) if one.table else 0) for one in candidates]
    best = int(np.argmin(costs))
    if shared is not None and cost(shared) <= costs[best] / (1 - _MUST_SAVE):
        return shared
    return candidates[best]


def _sample(values: Ids, bounds: Sequence[int]) -> list[Ids]:
    """Return evenly spaced blocks of the shard."""
    blocks = len(bounds) - 1
    # From the middle of equal parts: the ends of a shard are where the stretches of a dictionary begin and end.
    count = min(blocks, _SAMPLE_BLOCKS)
    chosen = [(2 * i + 1) * blocks // (2 * count) for i in range(count)]
    return [values[bounds[b] : bounds[b + 1]] for b in chosen]


def _rank(values: Ids, vocab_size: int) -> NDArray[np.int64]:
    """Return the ids of a shard in the order of their ranks, the rarest left out beyond the limit."""
    if vocab_size <= _DENSE_VOCAB:
        all_counts = np.zeros(vocab_size, np.int64)
        step = 1 << 18  # bincount makes an int64 copy of what it is given: one that stays in the cache
        for start in range(0, len(values), step):
            found = np.bincount(values[start : start + step])
            all_counts[: len(found)] += found
        ids = np.flatnonzero(all_counts)
        counts = all_counts[ids]
    else:
        unique, counts = np.unique(values, return_counts=True)
        ids = unique.astype(np.int64)
    return rank_by_octave(counts, ids)[:MAX_RANKS]


def _with_dictionary(own: TokenEncoder, values: Ids, nbytes: int) -> RankTable:
    """Return the table with a dictionary of evenly spaced stretches of the coded bytes."""
    stretches = nbytes // _STRETCH_BYTES
    length = _STRETCH_BYTES  # in values; each has at least one byte, and what is too long is cut
    starts = np.linspace(0, max(0, len(values) - length), stretches).astype(np.int64).tolist()
    # Even cuts, so that u16 ranks in the dictionary stay aligned to those of the blocks.
    content = b"".join(own.code(values[start : start + length])[0][:_STRETCH_BYTES] for start in starts)
    if own.table is None:
        raise ValueError("a dictionary belongs to a rank table (codecs.md 2.3)")
    if content[:4] == bytes.fromhex("37a430ec"):
        content = content[2:]
    return RankTable(own.table.ids, content)
