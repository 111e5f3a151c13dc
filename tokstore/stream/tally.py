"""What drawings of weighted sources had too much or too little, window by window, for `progress()`."""

from __future__ import annotations

__all__ = ["Tally"]

_EPOCHS = 2


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
        self._seen: dict[tuple[int, int], set[tuple[int, int]]] = {}

    def count(self, source: int, epoch: int, key: tuple[int, int], surplus: int) -> None:
        """Count a window once, also if it is made again.

        Args:
            source: Number of the source.
            epoch: Its epoch.
            key: The window.
            surplus: Values, or rows, that were drawn beyond what the window has; negative where some lack.
        """
        seen = self._seen.setdefault((source, epoch), set())
        if key in seen:
            return
        seen.add(key)
        for old in [(s, e) for s, e in self._seen if s == source and e <= epoch - _EPOCHS]:
            del self._seen[old]
        padded, cut = self.of(source)
        self._counts[source] = padded + max(0, -surplus), cut + max(0, surplus)

    def of(self, source: int) -> tuple[int, int]:
        """Return what was padded and what was cut of a source so far."""
        return self._counts.get(source, (0, 0))
