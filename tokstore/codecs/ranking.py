"""Which rank table and dictionary a shard of tokens gets (codecs.md 2.3): candidates are tried on a sample of its
blocks.

The choice is by bytes, everything counted: an own table or dictionary costs its object, the store's current one costs
nothing more. A shard takes an own one only if that saves more than 2 % of the shard, since every resident dictionary
costs a reader cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.ranked import RankTable, TokenEncoder, rank_by_octave
from tokstore.format import MAX_RANKS
from tokstore.frames import TRAINED_MAGIC

__all__ = ["LEVELS", "Level", "choose_encoder"]

_SMALLEST_TABLED = 65_536
_SAMPLES = 16
_SAMPLES_UNAIDED = 4  # a table pays by far or not at all; dictionaries differ by a few per cent
_WINDOW = 32_768
_GOLDEN = 0.6180339887
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
    vocab_size: int,
    level: Level,
    current: RankTable | None,
    object_bytes: Callable[[RankTable], int],
    pool: Executor,
) -> TokenEncoder:
    """Choose how the tokens of one shard are encoded.

    Args:
        values: All ids of the shard.
        vocab_size: Ids are below it.
        level: What the writer is asked for.
        current: The store's current table, if there is one.
        object_bytes: How many bytes a table takes at rest.
        pool: Threads that try the candidates.

    Returns:
        An encoder; its `table` is `current`, a new one, or ``None``.
    """

    def encoder(table: RankTable | None) -> TokenEncoder:
        return TokenEncoder(vocab_size, table, leb128=level.leb128 and table is not None, zstd_level=level.zstd)

    plain = encoder(None)
    count = len(values)
    if not level.ranked or not count:
        return plain
    if count < _SMALLEST_TABLED:
        if current is None:
            return plain
        both = [plain, encoder(current)]
        return both[int(np.argmin(_rates(both, [values], pool)))]
    own = encoder(RankTable(_rank(values, vocab_size)))
    first = values[:_WINDOW]
    coded_bytes = count * len(own.code(first)[0]) / len(first)
    # A dictionary above an eighth of the shard only moves bytes from the blocks into the object.
    stretches = sorted({int(min(size, coded_bytes / 8)) // _STRETCH_BYTES for size in level.dictionary_bytes} - {0})
    made = [_with_dictionary(own, values, number) for number in stretches]
    windows = _windows(values, [(number, covered) for number, (_, covered) in zip(stretches, made, strict=True)])
    candidates = [(own, 0), (plain, 0), *((encoder(table), covered) for table, covered in made)]
    # What lies in the dictionary itself costs next to nothing; the windows lie beside it and stand for all the rest.
    shared = [] if current is None else [encoder(current)]
    rates = _rates([one for one, _ in candidates] + shared, windows, pool)
    costs = [
        (count - covered) * rate + (object_bytes(one.table) if one.table else 0)
        for (one, covered), rate in zip(candidates, rates, strict=False)
    ]
    best = int(np.argmin(costs))
    if shared and count * rates[-1] * (1 - _MUST_SAVE) <= costs[best]:
        return shared[0]
    return candidates[best][0]


def _rates(encoders: Sequence[TokenEncoder], windows: Sequence[Ids], pool: Executor) -> list[float]:
    """Return the encoded bytes per value of each encoder."""
    trials = [(one, window) for one in encoders for window in windows]
    nbytes = np.array(list(pool.map(lambda trial: len(trial[0].encode(trial[1]).data), trials)), np.int64)
    values = sum(len(window) for window in windows)
    return [float(total) / values for total in nbytes.reshape(len(encoders), len(windows)).sum(axis=1)]


def _windows(values: Ids, grids: Sequence[tuple[int, int]]) -> list[Ids]:
    """Return pieces of the shard that lie beside the stretches of all dictionaries.

    They are taken in golden steps, which no regular pattern of the data or of the stretches can follow.

    Args:
        values: All ids of the shard.
        grids: For every dictionary how many stretches it has and how many values they hold, ascending.
    """
    count = len(values)
    parts, held = grids[-1] if grids else (_SAMPLES, 0)
    spacing = count / parts
    width = min(_WINDOW, max(1, int((spacing - held / parts) * 3 / 4)))
    # In the middle of what lies between two stretches of the finest grid.
    offset = (spacing + held / parts - width) / 2
    found: list[Ids] = []
    samples = _SAMPLES if grids else _SAMPLES_UNAIDED
    for step in range(4 * _SAMPLES):
        start = int(int(parts * (step * _GOLDEN % 1)) * spacing + offset)
        if len(found) < samples and not any(_overlaps(start, width, count / n, h / n) for n, h in grids[:-1]):
            found.append(values[start : start + width])
    return found or [values[:width]]


def _overlaps(start: int, width: int, spacing: float, held: float) -> bool:
    """Tell whether a window shares values with a stretch, of which one of `held` values begins every `spacing`."""
    past = start % spacing
    return past < held or past + width > spacing


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


def _with_dictionary(own: TokenEncoder, values: Ids, stretches: int) -> tuple[RankTable, int]:
    """Return the table with a dictionary of evenly spaced stretches, and how many values they hold."""
    if own.table is None:
        raise ValueError("a dictionary belongs to a rank table (codecs.md 2.3)")
    starts = (np.arange(stretches) * len(values) // stretches).tolist()
    parts, covered = [], 0.0
    for start in starts:
        piece = values[start : start + _STRETCH_BYTES]  # each value has at least one byte, and what is too long is cut
        coded = own.code(piece)[0]
        # An even cut, so that u16 ranks in the dictionary stay aligned to those of the blocks.
        parts.append(coded[:_STRETCH_BYTES])
        covered += len(piece) * min(1.0, _STRETCH_BYTES / len(coded))
    content = b"".join(parts)
    return RankTable(own.table.ids, content[2:] if content[:4] == TRAINED_MAGIC else content), int(covered)
