"""What drawings of weighted sources had too much or too little, window by window, for `progress()`.

Workers tell the process that hands out their batches what they have counted. There a window counts once, whoever made
it.
"""

from __future__ import annotations

__all__ = ["Counted", "Tally"]

_EPOCHS = 2
_MOST_KEYS = 1 << 12
"""Windows that are remembered beyond the last epochs: as far apart as workers may be that make the same windows."""
Counted = tuple[int, int, tuple[int, int], int]
"""The arguments of `Tally.count`."""


class Tally:
    """Counts of what was padded and cut in the windows that one process has made.

    Example:
        >>> tally = Tally()
        >>> for surplus in (5, -2, 5):
        ...     tally.count(0, 7, (0, surplus), surplus)
        >>> tally.of(0)
        (2, 5)
    """

    def __init__(self) -> None:
        self._counts: dict[int, tuple[int, int]] = {}
        self._seen: dict[int, dict[int, set[tuple[int, int]]]] = {}
        self._kept: dict[int, int] = {}
        self._news: list[Counted] | None = None

    def count(self, source: int, epoch: int, key: tuple[int, int], surplus: int) -> None:
        """Count a window once, also if it is made again.

        Args:
            source: Number of the source.
            epoch: Its epoch.
            key: The window.
            surplus: Values, or rows, that were drawn beyond what the window has; negative where some lack.
        """
        epochs = self._seen.setdefault(source, {})
        seen = epochs.setdefault(epoch, set())
        if key in seen:
            return
        seen.add(key)
        self._kept[source] = self._kept.get(source, 0) + 1
        while self._kept[source] > _MOST_KEYS and len(epochs) > _EPOCHS:
            self._kept[source] -= len(epochs.pop(next(iter(epochs))))
        if self._news is not None:
            self._news.append((source, epoch, key, surplus))
        padded, cut = self.of(source)
        self._counts[source] = padded + max(0, -surplus), cut + max(0, surplus)

    def news(self) -> list[Counted]:
        """Return what was counted since the last call, for the tally of another process; nothing at the first call."""
        found, self._news = self._news or [], []
        return found

    def of(self, source: int) -> tuple[int, int]:
        """Return what was padded and what was cut of a source so far."""
        return self._counts.get(source, (0, 0))
