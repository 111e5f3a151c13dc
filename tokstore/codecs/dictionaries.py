"""Which dictionary a shard of text gets (codecs.md 4): evenly spaced stretches of its bytes, if that pays.

As for tokens, everything counts: an own dictionary costs its object, the store's current one costs nothing more, and
an own one has to save more than 2 % of the shard.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tokstore.frames import TRAINED_MAGIC, Dictionary, compress

__all__ = ["choose_dictionary"]

_SMALLEST = 1 << 18
_STRETCH = 1 << 12
_MOST = 1 << 17
_WINDOW = 1 << 16
_WINDOWS = 8
_MUST_SAVE = 0.02


def choose_dictionary(values: NDArray[Any], zstd_level: int, current: Dictionary | None) -> Dictionary | None:
    """Choose the dictionary of the text of one shard.

    Args:
        values: All its bytes.
        zstd_level: The level of its blocks.
        current: The store's current dictionary, if there is one.

    Returns:
        `current`, a new one, or ``None``.
    """
    count = len(values)
    if count < _SMALLEST and current is None:
        return None
    stretches = min(_MOST, count // 16) // _STRETCH
    spacing = count / max(stretches, 1)
    # Windows lie between two stretches each, so that none is measured against itself.
    width = max(1, min(_WINDOW, int(spacing) - _STRETCH))
    steps = max(stretches, _WINDOWS)
    starts = [int((steps * k // _WINDOWS) * (count / steps)) + _STRETCH for k in range(_WINDOWS)]
    windows = [values[a : a + width].tobytes() for a in starts if a + width <= count] or [values[:width].tobytes()]
    measured = sum(len(window) for window in windows)

    def cost(dictionary: Dictionary | None) -> float:
        return count * sum(len(compress(one, zstd_level, dictionary)) for one in windows) / measured

    without = cost(None)
    own, own_cost = None, without
    if count >= _SMALLEST and stretches:
        content = b"".join(values[int(k * spacing) : int(k * spacing) + _STRETCH].tobytes() for k in range(stretches))
        if content[:4] != TRAINED_MAGIC:
            made = Dictionary(content)
            made_cost = cost(made) + len(compress(content, zstd_level))
            if made_cost < without * (1 - _MUST_SAVE):
                own, own_cost = made, made_cost
    if current is not None and cost(current) * (1 - _MUST_SAVE) <= own_cost:
        return current if cost(current) < without else None
    return own
