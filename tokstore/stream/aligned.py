"""Columns that have one value for every token, at the places of the tokens (order.md 7.8).

What a slab needs of such a column is read by one call for all its samples, and put into place by one gather. Of a
source that is held whole, the column is held whole too, once more than one slab was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokstore.column_types import Mask, Tokens
from tokstore.losses import TokensLost
from tokstore.ragged import Ragged, ragged_index
from tokstore.stream.damage import Report, told
from tokstore.stream.slab import NOTHING, UNLEARNED, Slab

__all__ = ["Aligned", "Place", "Spread", "fill_of", "spread", "without"]

I64 = NDArray[np.int64]


class AlignedSource(Protocol):
    """What is needed of a source."""

    def __len__(self) -> int:
        """Return the number of samples."""

    @property
    def schema(self) -> Mapping[str, Any]:
        """Column types by name."""

    def read_aligned(
        self, positions: I64, name: str, start: int, stop: int, *, lost: TokensLost | None = None
    ) -> tuple[Ragged, I64]:
        """Return what samples at ascending positions have from `start` to `stop`, and how many tokens each has."""


@dataclass(frozen=True)
class Place:
    """Runs of tokens: sample, tokens of the sample before the run (inserted ids counted), tokens of the run."""

    position: I64
    first: I64
    length: I64


class Aligned:
    """Reads columns that have one value for every token.

    Args:
        sources: The source, or those of a mixture.
        inserted: For each of them whether an id is inserted before its samples, and whether one is after them.
        pooled: For each of them whether it is held whole.
        report: Is told blocks that cannot be read, whose values are as of padding then; without it they are an error.
        locate: Splits a position into the number of the source and the position in it; None for one source.
    """

    def __init__(
        self,
        sources: Sequence[AlignedSource],
        inserted: Sequence[tuple[bool, bool]],
        pooled: Sequence[bool],
        report: Report | None = None,
        locate: Callable[[I64], tuple[I64, I64]] | None = None,
    ) -> None:
        self._sources, self._inserted, self._pooled, self._locate = sources, inserted, pooled, locate
        self._report = report
        self._held: dict[tuple[int, str], tuple[Ragged, I64] | None] = {}

    def read(self, name: str, place: Place, *, fill: Any, learned: bool = False) -> NDArray[Any]:
        """Return the values of runs, one run after another.

        Args:
            name: The column.
            place: The runs.
            fill: What inserted ids have.
            learned: The column says what is learned: booleans come, and an id inserted after a sample has what its
                last token has.

        Raises:
            ValueError: A sample has another number of values than of tokens.
        """
        if self._locate is None:
            return self._read(0, name, place, fill, learned)
        source, own = self._locate(place.position)
        numbers = np.unique(source).tolist()
        if len(numbers) < 2:
            one = Place(own, place.first, place.length)
            return self._read(numbers[0] if numbers else 0, name, one, fill, learned)
        parts, runs = [], []
        for number in numbers:
            at = np.flatnonzero(source == number)
            parts.append(self._read(number, name, Place(own[at], place.first[at], place.length[at]), fill, learned))
            runs.append(at)
        if len({part.shape[1:] for part in parts}) > 1:
            raise ValueError(f"column {name!r} has items of other shapes in other sources")
        order = np.concatenate(runs)
        joined = Ragged(np.concatenate(parts), place.length[order])
        values: NDArray[Any] = joined[np.argsort(order, kind="stable")].values
        return values

    def _got(self, number: int, name: str, position: I64, low: int, high: int) -> tuple[Ragged, I64, int, I64]:
        """Return values of samples, the tokens that each has, the first token with a value, and which are wanted."""
        source, key = self._sources[number], (number, name)
        if self._pooled[number]:
            if key in self._held and self._held[key] is None:
                self._held[key] = self._take(source, np.arange(len(source)), name, 0, 1 << 40)
            held = self._held.setdefault(key, None)
            if held is not None:
                return *held, 0, position
        which, sample = np.unique(position, return_inverse=True)
        return *self._take(source, which, name, low, high), low, sample

    def _take(self, source: AlignedSource, positions: I64, name: str, low: int, high: int) -> tuple[Ragged, I64]:
        """Read part of what samples have, and how many tokens each has; what is lost is as of padding."""
        lost = None if self._report is None else TokensLost()
        got, tokens = source.read_aligned(positions, name, low, high, lost=lost)
        mask = told(lost, self._report)
        if mask is not None:
            got.values[mask.reshape(len(got.values), -1).any(1)] = fill_of(source.schema[name])
        return got, tokens

    def _read(self, number: int, name: str, place: Place, fill: Any, learned: bool) -> NDArray[Any]:
        """Return the values of runs of one source."""
        bos, eos = self._inserted[number]
        total = int(place.length.sum())
        # In stored tokens: where each run begins, before 0 for an id that is inserted there.
        begin = place.first - bos
        end = begin + place.length
        low = max(0, int(begin.min()) - 1) if len(begin) else 0
        got, tokens, low, sample = self._got(number, name, place.position, low, max(low, int(end.max(initial=0))))
        values = got.values != 0 if learned and got.values.dtype != bool else got.values
        before, tokens = got.offsets[:-1][sample] - low, tokens[sample]
        a, b = np.clip(begin, 0, tokens), np.clip(end, 0, tokens)
        stored = int((b - a).sum())
        if stored == total:
            return np.asarray(values[ragged_index(before + a, b - a)])
        out = np.full((total, *values.shape[1:]), fill, values.dtype)
        starts = np.cumsum(place.length) - place.length
        out[ragged_index(starts + (a - begin), b - a)] = values[ragged_index(before + a, b - a)]
        if learned and eos:
            ends = np.flatnonzero((end > tokens) & (begin <= tokens) & (tokens > 0))
            out[starts[ends] + (tokens - begin)[ends]] = values[(before + tokens)[ends] - 1]
        return out


@dataclass
class Spread:
    """Columns of a slab in the layout of its ids, and what is learned.

    Args:
        columns: By name: [rows, seq_len, …], or one row after another.
        fills: What padding has of each.
        learned: Whether each id is learned; None for all.
    """

    columns: dict[str, NDArray[Any]]
    fills: dict[str, Any]
    learned: NDArray[np.bool_] | None


def spread(slab: Slab, aligned: Aligned, columns: Mapping[str, Any], loss_mask: str | None) -> Spread:
    """Read the columns of a slab; labels of `slab` beyond the ends of rows and pieces that are not learned are dropped.

    Args:
        slab: The rows.
        aligned: Reads columns.
        columns: What padding has, by name of the column.
        loss_mask: The column that says what is learned.
    """
    one = slab.segments
    place = Place(one.position, one.first, one.length)
    made = Spread({}, dict(columns), None)
    for name, fill in columns.items():
        made.columns[name] = _laid(slab, aligned.read(name, place, fill=fill), fill)
    if loss_mask is None:
        return made
    cut = np.flatnonzero(one.after != NOTHING)
    row = np.zeros(0, np.int64) if slab.following is None else np.flatnonzero(slab.following != NOTHING)
    runs = [place, Place(one.position[cut], (one.first + one.length)[cut], np.ones(len(cut), np.int64))]
    if slab.follower is not None:
        runs.append(Place(slab.follower[0][row], slab.follower[1][row], np.ones(len(row), np.int64)))
    joined = Place(*(np.concatenate([getattr(run, f) for run in runs]) for f in ("position", "first", "length")))
    learned = aligned.read(loss_mask, joined, fill=False, learned=True)
    at = int(one.length.sum())
    made.learned = _laid(slab, learned[:at], False)
    one.after[cut[~learned[at : at + len(cut)]]] = UNLEARNED
    if slab.following is not None:
        slab.following[row[~learned[at + len(cut) :]]] = NOTHING
    return made


def without(laid: Spread | None, lost: NDArray[np.bool_]) -> Spread:
    """Return columns as padding where ids are lost, and these as not learned."""
    made = Spread({}, {}, None) if laid is None else laid
    for name, column in made.columns.items():
        column[lost] = made.fills[name]
    made.learned = ~lost if made.learned is None else made.learned & ~lost
    return made


def _laid(slab: Slab, flat: NDArray[Any], fill: Any) -> NDArray[Any]:
    """Bring the values of the segments of a slab into the layout of its ids."""
    if slab.ids.ndim == 1:
        return flat
    rows, width = slab.ids.shape
    if len(flat) == rows * width:
        return flat.reshape(rows, width, *flat.shape[1:])
    made = np.full((rows, width, *flat.shape[1:]), fill, flat.dtype)
    made[np.arange(width) < slab.used[:, None]] = flat
    return made


def fill_of(kind: Any) -> Any:
    """Return what padding and inserted ids have of a column: NaN, the padding id of tokens, else 0.

    Example:
        >>> from tokstore.column_types import Array
        >>> fill_of(Mask()), fill_of(Array("float32", (None,))), fill_of(Tokens(9, pad_id=3))
        (False, nan, 3)
    """
    if isinstance(kind, Mask):
        return False
    if isinstance(kind, Tokens):
        return kind.pad_id or 0
    return np.nan if kind.has_nan else 0
