"""`Mixture`: several sources and their shares of the rows of a stream.

A mixture is a description: nothing is read but counts of tokens. `StreamingDataset` turns its shares into slots
(order.md 10) once it knows the number of lanes.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from tokstore.column_types import Tokens
from tokstore.errors import ColumnError, suggest
from tokstore.opening import open_store
from tokstore.order import STOPS, lane_count, quantise
from tokstore.wire import checksum

__all__ = ["Mixture"]

_MOST_ROWS, _MOST_EPOCHS = 1 << 62, 1 << 32
Stage = tuple[int, tuple[Fraction, ...]]


class Mixture:
    """Sources by name and their shares of the rows of a stream; immutable.

    Shares are of rows, not of tokens or samples, and are made to add up to 1. Any run of rows from the start of a
    stage is within about 4 rows of them, and a source that has been read whole starts its next epoch. Give a mixture
    without an end to `StreamingDataset` with ``epochs=None``; one that ends is one pass, and has a length.

    Stores, views and paths are taken as they are now: later commits do not change the mixture. A mixture among the
    sources is taken apart: its sources are named ``"outer/inner"`` and have the product of the shares; rows of its
    stages count as rows of the whole.

    Args:
        sources: Stores, views, paths of stores, or mixtures, by name. All have the same vocabulary size.
        shares: Share of every name, at least 0; 0 for sources that only come in later stages. By default in
            proportion to tokens.
        stages: Pairs of a row and shares: from this row of the stream on, of all ranks together, the shares are
            these. The row is rounded up to a multiple of the number of lanes. Each source goes on where it is, so that
            nothing is lost or repeated.
        max_epochs: Epochs that a source gives at most, by name, or one number for all; from then on the others have
            its rows, in proportion to their shares. Each of its rows comes exactly once per epoch. A name of a mixture
            among the sources stands for all sources of it. By default there is no limit.
        stop: When the mixture ends (order.md 10.8). ``"first_exhausted"``: when some source has given all its rows.
            ``"all_exhausted"``: when each has given all rows at least once; the others go on meanwhile.
            ``"all_exhausted_without_replacement"``: when each has given all rows exactly once. With the first and the
            last, a source with `max_epochs` has given all its rows after so many epochs. None: when no source is left
            because all have `max_epochs`, else never.

    Raises:
        ValueError: A share is negative, no number, or too small; all are zero; names are unknown or missing; stages
            do not ascend; vocabularies differ; `max_epochs` is below 1; `stop` is unknown, or that of a mixture among
            the sources.
        TypeError: A source is no store, view, path or mixture, or `max_epochs` no integer.
        ColumnError: A source has no column of `Tokens`: rows of codes are not mixed.

    Example:
        >>> import tempfile, tokstore as ts
        >>> for name in ("web", "code"):
        ...     with ts.create(f"{(folder := tempfile.mkdtemp())}/{name}", ts.Schema(tokens=ts.Tokens(256))) as w:
        ...         w.extend(tokens=[[1, 2, 3]] * 50)
        ...     globals()[name] = ts.open(f"{folder}/{name}")
        >>> mix = ts.Mixture({"web": web, "code": code}, shares={"web": 0.7, "code": 0.3})
        >>> mix
        Mixture(web 70 % of 150 tokens, code 30 % of 150 tokens)
        >>> data = ts.StreamingDataset(mix, seq_len=8, batch_size=10, epochs=None, emit=("input_ids", "source"))
        >>> next(iter(data))["source"].tolist()
        [0, 0, 0, 1, 0, 1, 0, 0, 0, 0]
        >>> rule = "all_exhausted_without_replacement"
        >>> mix = ts.Mixture({"web": web, "code": code}, stop=rule, max_epochs={"code": 2})
        >>> data = ts.StreamingDataset(mix, seq_len=8, batch_size=10)
        >>> len(data), sum(len(batch.rows) for batch in data), data.progress()["epochs/code"]
        (6, 57, 2)
    """

    def __init__(
        self,
        sources: Mapping[str, Any],
        *,
        shares: Mapping[str, float] | None = None,
        stages: Iterable[tuple[int, Mapping[str, float]]] = (),
        max_epochs: int | Mapping[str, int] | None = None,
        stop: str | None = None,
    ) -> None:
        if not isinstance(sources, Mapping) or not sources:
            raise TypeError("sources of a mixture are a dict of at least one store, view or path by name")
        if stop is not None and stop not in STOPS:
            raise ValueError(f"stop is {', '.join(map(repr, STOPS))} or None, not {stop!r}")
        found = {_name(name): _source(name, source) for name, source in sources.items()}
        if shares is None:
            shares = {name: source.token_count for name, source in found.items()}
        own: list[Stage] = [(0, _shares("shares", shares, tuple(found)))]
        for number, stage in enumerate(stages):
            row, of_stage = _pair(number, stage)
            if row <= own[-1][0]:
                raise ValueError(f"stages ascend from row 1 on, and stage {number} begins at row {row}")
            own.append((row, _shares(f"the shares of the stage at row {row}", of_stage, tuple(found))))
        self.names: tuple[str, ...]
        self.sources: tuple[Any, ...]
        self.stages: tuple[Stage, ...]
        self.stop = stop
        self.max_epochs = _limits(found, max_epochs)
        self.names, self.sources, self.stages = _flat(found, own)
        self._check()

    def _check(self) -> None:
        """Refuse sources that do not go together, and shares that are too small for any number of lanes."""
        sizes = {name: _kind(source).vocab_size for name, source in zip(self.names, self.sources, strict=True)}
        first = self.names[0]
        for name, source, shares in zip(
            self.names, self.sources, zip(*(one for _, one in self.stages), strict=True), strict=True
        ):
            if sizes[name] != sizes[first]:
                raise ValueError(
                    f"source {name!r} has a vocabulary of {sizes[name]:,} ids and {first!r} one of {sizes[first]:,}: "
                    "one stream has one vocabulary; pack both with the same tokenizer"
                )
            if not source.token_count:
                raise ValueError(f"source {name!r} has no tokens: leave it out")
            if not any(shares):
                raise ValueError(f"source {name!r} has a share of 0 in every stage: leave it out")
        self.slots(lane_count(self.token_count))

    @property
    def token_count(self) -> int:
        """Tokens of all sources together."""
        return sum(int(source.token_count) for source in self.sources)

    @property
    def fingerprint(self) -> str:
        """Sources and shares in a few characters."""
        told = [
            [name, source.fingerprint, *(str(shares[number]) for _, shares in self.stages)]
            for number, (name, source) in enumerate(zip(self.names, self.sources, strict=True))
        ]
        ends = [[self.max_epochs, self.stop]] if self.stop or any(self.max_epochs) else []
        text = json.dumps([[row for row, _ in self.stages], told, *ends])
        return f"mixture-{checksum(text.encode()):016x}"

    @property
    def numbered(self) -> str:
        """Names of the sources by their numbers, for errors that know numbers only."""
        return ", ".join(f"{number} is {name!r}" for number, name in enumerate(self.names))

    def slots(self, lanes: int) -> list[tuple[int, tuple[int, ...]]]:
        """Return the first row of every stage and the slots of every source in it (order.md 10.1 and 10.4).

        Args:
            lanes: Number of lanes.

        Raises:
            ValueError: A share has no slot, or two stages begin at the same row.
        """
        found = []
        for row, shares in self.stages:
            try:
                counts = quantise(shares, lanes)
            except ValueError as error:
                raise ValueError(f"{error} (sources: {self.numbered})") from None
            found.append((-(-row // lanes) * lanes, tuple(counts)))
        for (one, _), (two, _), (row, _) in zip(found, found[1:], self.stages[1:], strict=False):
            if one == two:
                raise ValueError(
                    f"the stage at row {row} begins at row {two}, a multiple of {lanes} lanes, as the one before it"
                )
        return found

    def __len__(self) -> int:
        return len(self.sources)

    def __repr__(self) -> str:
        texts = []
        for row, shares in self.stages:
            total = sum(shares)
            percent = [f"{name} {float(100 * one / total):.3g} %" for name, one in zip(self.names, shares, strict=True)]
            if not row:
                percent = [
                    f"{one} of {source.token_count:,} tokens" for one, source in zip(percent, self.sources, strict=True)
                ]
            texts.append((f"from row {row:,}: " if row else "") + ", ".join(percent))
        limited = [f"{n:,} epochs of {name}" for name, n in zip(self.names, self.max_epochs, strict=True) if n]
        texts += [f"at most {', '.join(limited)}"] if limited else []
        texts += [f"stop {self.stop}"] if self.stop else []
        return f"Mixture({'; '.join(texts)})"


def _name(name: object) -> str:
    """Return a name of a source, or refuse it."""
    if not isinstance(name, str) or not name:
        raise TypeError(f"names of sources are texts, not {name!r}")
    return name


def _source(name: str, source: Any) -> Any:
    """Return a source as it is now."""
    if isinstance(source, Mixture):
        return source
    if isinstance(source, (str, os.PathLike)):
        source = open_store(os.fspath(source))
    if not hasattr(source, "read_range"):
        raise TypeError(f"source {name!r} is a store, a view, a path or a mixture, not {type(source).__name__}")
    if not any(isinstance(kind, Tokens) for kind in source.schema.values()):
        raise ColumnError(
            f"source {name!r} has no token column, and a mixture is of rows of tokens",
            hint="a store of codes is streamed alone: weigh() its samples, or merge stores into one",
        )
    return copy.copy(source)


def _flat(found: Mapping[str, Any], own: Sequence[Stage]) -> tuple[tuple[str, ...], tuple[Any, ...], tuple[Stage, ...]]:
    """Take mixtures among the sources apart: return names, sources and stages."""
    rows = {row for row, _ in own}
    rows.update(row for one in found.values() if isinstance(one, Mixture) for row, _ in one.stages)
    names: list[str] = []
    leaves: list[Any] = []
    for name, source in found.items():
        nested = isinstance(source, Mixture)
        names += [f"{name}/{inner}" for inner in source.names] if nested else [name]
        leaves += source.sources if nested else [source]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two sources are named {twice!r}: a name with a slash is also that of a nested source")
    stages: list[Stage] = []
    for row in sorted(rows):
        now: list[Fraction] = []
        for source, share in zip(found.values(), _at(own, row), strict=True):
            now += [share * one for one in _at(source.stages, row)] if isinstance(source, Mixture) else [share]
        if not stages or tuple(now) != stages[-1][1]:
            stages.append((row, tuple(now)))
    return tuple(names), tuple(leaves), tuple(stages)


def _limits(found: Mapping[str, Any], max_epochs: Any) -> tuple[int | None, ...]:
    """Return how many epochs each source gives at most, those of mixtures among the sources taken apart."""
    if max_epochs is None or isinstance(max_epochs, Mapping):
        given = dict(max_epochs or {})
    else:
        given = dict.fromkeys(found, max_epochs)
    for name, number in given.items():
        if name not in found:
            raise ValueError(f"max_epochs names {name!r}, which is no source; {suggest(str(name), tuple(found))}")
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)):
            raise TypeError(f"max_epochs of {name!r} is a number of epochs, an integer, not {number!r}")
        if not 1 <= number <= _MOST_EPOCHS:
            raise ValueError(f"max_epochs of {name!r} is from 1 to {_MOST_EPOCHS}, not {number}")
    limits: list[int | None] = []
    for name, source in found.items():
        own = int(given[name]) if name in given else None
        if not isinstance(source, Mixture):
            limits.append(own)
            continue
        if source.stop is not None:
            raise ValueError(
                f"source {name!r} is a mixture with stop={source.stop!r}: only the whole has a stop rule; give it there"
            )
        both = [[one for one in (own, inner) if one is not None] for inner in source.max_epochs]
        limits += [min(some, default=None) for some in both]
    return tuple(limits)


def _kind(source: Any) -> Any:
    """Return the type of the token column of a source."""
    return source.schema[source.token_column]


def _pair(number: int, stage: Any) -> tuple[int, Mapping[str, float]]:
    """Return row and shares of a stage, or refuse it."""
    if not isinstance(stage, (tuple, list)) or len(stage) != 2:
        raise TypeError(f"stage {number} is a pair of a row and shares, not {stage!r}")
    row, shares = stage
    if isinstance(row, bool) or not isinstance(row, int):
        raise TypeError(f"stage {number} begins at a row, an integer, not at {row!r}")
    if row > _MOST_ROWS:
        raise ValueError(f"stage {number} begins at a row up to {_MOST_ROWS}, not at {row}")
    return row, shares


def _shares(what: str, shares: Any, names: Sequence[str]) -> tuple[Fraction, ...]:
    """Return shares that add up to 1, in the order of the names, or refuse them."""
    if not isinstance(shares, Mapping):
        raise TypeError(f"{what} are a dict of a number per source, not {shares!r}")
    for name in shares:
        if name not in names:
            raise ValueError(f"{what} name {name!r}, which is no source; {suggest(str(name), names)}")
    found = []
    for name in names:
        if name not in shares:
            raise ValueError(f"{what} lack source {name!r}; give it 0 to leave it out for now")
        share = shares[name]
        share = share.item() if isinstance(share, np.generic) else share
        try:
            exact = Fraction(share)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{what} give {name!r} {share!r}, which is no number from 0 on") from None
        if isinstance(share, (bool, str)) or exact < 0:
            raise ValueError(f"{what} give {name!r} {share!r}, which is no number from 0 on")
        found.append(exact)
    total = sum(found, Fraction(0))
    if not total:
        raise ValueError(f"{what} are all 0: nothing would be read")
    return tuple(one / total for one in found)


def _at(stages: Sequence[Stage], row: int) -> tuple[Fraction, ...]:
    """Return the shares at a row."""
    return next(shares for start, shares in reversed(stages) if start <= row)
