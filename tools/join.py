"""Scores and subsets that others published for samples of a store: as columns and views, matched by a key.

Scores come in any format that `pack` reads (FineWeb's and DataComp's Parquet), subsets as the sorted ``u8,u8`` arrays
of DataComp, and training dynamics as the logs of dataset-cartography. A key is a text column of the store, or the
sample id. Keys are held as 128-bit digests: 24 bytes a sample, whatever they look like.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

import tokstore as ts
from tokstore.errors import ColumnError, suggest

from .formats.contract import Ids, ReadOptions
from .formats.registry import format_named, format_of

__all__ = ["JoinReport", "cartography", "join", "join_dynamics", "subset"]

Ints = NDArray[np.int64]
_PAIR = np.dtype([("f0", "<u8"), ("f1", "<u8")])
_LOG = re.compile(r"(?:dynamics_epoch_|epoch_?)(\d+)\.jsonl$")


@dataclass(frozen=True)
class JoinReport:
    """What was joined to a store.

    Attributes:
        columns: Columns that were added.
        matched: Samples that got a value.
        unknown: Rows of the source whose key no sample has.
        lost: One line for everything that was not carried.
    """

    columns: tuple[str, ...]
    matched: int
    unknown: int
    lost: tuple[str, ...] = field(default=(), repr=False)


class _Keys:
    """The keys of all samples, for looking up positions."""

    def __init__(self, view: Any, key: str) -> None:
        if key != "sample_id" and not isinstance(view.schema[key], (ts.Text, ts.Category, ts.Bytes)):
            raise ValueError(f"column {key!r} is {view.schema[key]!r}; a key is text, bytes, or 'sample_id'")
        parts = [np.zeros(0, _PAIR)]
        for batch in view.scan([] if key == "sample_id" else [key]):
            parts.append(_digests(batch[key]))
        digests = np.concatenate(parts)
        self._order = np.lexsort((digests["f1"], digests["f0"]))
        self._sorted = digests[self._order]
        same = (self._sorted[1:] == self._sorted[:-1]).any() if len(digests) > 1 else False
        if same:
            raise ValueError(f"two samples have the same {key!r}, so that it says of no sample which it is")

    def find(self, digests: NDArray[Any]) -> Ints:
        """Return positions of keys, and -1 for keys that no sample has."""
        first = np.searchsorted(self._sorted["f0"], digests["f0"])
        found = np.full(len(digests), -1, np.int64)
        # Digests that agree in their first half follow each other; hardly ever is there more than one.
        active = np.flatnonzero(first < len(self._sorted))
        while active.size:
            rows = self._sorted[first[active]]
            hit = (rows["f0"] == digests["f0"][active]) & (rows["f1"] == digests["f1"][active])
            found[active[hit]] = self._order[first[active[hit]]]
            first[active] += 1
            active = active[~hit & (rows["f0"] == digests["f0"][active])]
            active = active[first[active] < len(self._sorted)]
        return found


def _digests(keys: Any) -> NDArray[Any]:
    """Return 128-bit digests of keys; whole numbers and their decimal text are the same key."""
    if isinstance(keys, np.ndarray):
        keys = np.ma.getdata(keys).tolist()
    data = b"".join(xxhash.xxh3_128_digest(one if isinstance(one, bytes) else str(one).encode()) for one in keys)
    return np.frombuffer(data, _PAIR)


def join(
    store: ts.Store,
    source: Any,
    *,
    key: str,
    source_key: str | None = None,
    columns: Sequence[str] | None = None,
    rename: dict[str, str] | None = None,
    format: str | None = None,
    progress: Callable[[ts.Progress], None] | None = None,
) -> JoinReport:
    """Add columns of another source to the samples that have its keys.

    Args:
        store: The store.
        source: Anything that `pack` reads, with a key in every row.
        key: The column of the store that has the keys, or ``"sample_id"``.
        source_key: The column of the source that has them; of the same name by default.
        columns: The columns to add; all by default.
        rename: New names of columns.
        format: The format, where it cannot be recognised.
        progress: Is called with a `tokstore.Progress` of samples.

    Raises:
        ColumnError: No such column.
        ValueError: Keys are not unique, or no row has the key of a sample.

    Example:
        >>> import pathlib
        >>> with ts.create("corpus", ts.Schema(tokens=ts.Tokens(9), id=ts.Text())) as w:
        ...     w.extend(tokens=[[1], [2]], id=["a", "b"])
        >>> _ = pathlib.Path("scores.jsonl").write_text('{"id": "b", "score": 0.5}')
        >>> join(ts.open("corpus"), "scores.jsonl", key="id", format="jsonl").matched
        1
        >>> ts.open("corpus")["score"]
        array([nan, 0.5])
    """
    theirs = source_key or key
    path = os.fspath(source) if isinstance(source, os.PathLike) else source
    if format is not None:
        chosen = format_named(format)
    else:
        known = format_of(path) if isinstance(path, str) else format_named("memory")
        is_lines = isinstance(path, str) and ".jsonl" in os.path.basename(path)
        if known is None and not is_lines:
            raise ValueError(f"{source}: this is no known format; see `tokstore formats`")
        chosen = known or format_named("jsonl")
    wanted = None if columns is None else [theirs, *columns]
    opened = chosen.open(path, ReadOptions(columns=wanted))
    if theirs not in opened.columns:
        raise ColumnError(f"the source has no column {theirs!r}", hint=suggest(theirs, opened.columns))
    added = {n: k for n, k in opened.columns.items() if n != theirs and not isinstance(k, (Ids, ts.Tokens))}
    others = [name for name in opened.columns if name != theirs and name not in added]
    lost = [*opened.lost, *(f"column {name!r}: token ids are packed, not joined" for name in others)]
    if not added:
        raise ValueError(f"{source}: there is no column beside the key")
    keys = _Keys(store, key)
    places: list[Ints] = []
    values: dict[str, list[Any]] = {name: [] for name in added}
    unknown = 0
    for batch in opened.batches():
        found = keys.find(_digests(batch.columns[theirs]))
        unknown += int((found < 0).sum())
        kept = batch.keep(found >= 0)
        places.append(found[found >= 0])
        for name in added:
            values[name].append((kept.columns[name], kept.missing.get(name)))
        if progress is not None:
            progress(ts.Progress(sum(map(len, places)), len(store), "samples", "joining"))
    at = np.concatenate([np.zeros(0, np.int64), *places])
    if not at.size:
        raise ValueError(f"{source}: no row has the key of a sample")
    if len(np.unique(at)) != len(at):
        raise ValueError(f"{source}: two rows have the same key")
    names = rename or {}
    for name, kind in added.items():
        column = _placed(values[name], at, len(store))
        store.add_column(names.get(name, name), column, kind)
    return JoinReport(tuple(names.get(name, name) for name in added), len(at), unknown, tuple(lost))


def _placed(parts: list[Any], at: Ints, rows: int) -> list[Any]:
    """Return the values of a column for all samples, ``None`` where there is none."""
    found: list[Any] = [None] * rows
    row = 0
    for values, missing in parts:
        gone = np.zeros(len(values), bool) if missing is None else missing
        items = values.tolist() if isinstance(values, np.ndarray) and values.ndim == 1 else values
        for item, is_gone in zip(items, gone.tolist(), strict=True):
            found[int(at[row])] = None if is_gone else item
            row += 1
    return found


def subset(view: Any, path: str | os.PathLike[str], *, key: str = "uid") -> Any:
    """Return the view of the samples whose uid a subset file names.

    Args:
        view: A store or view.
        path: A ``.npy`` of dtype ``u8,u8``: 128-bit uids as two halves, the higher first, in ascending order.
        key: The column that has the uids as 32 hexadecimal digits.

    Raises:
        ValueError: The file is no such array, is not in order, or a key is no uid.

    Example:
        >>> with ts.create("uids", ts.Schema(tokens=ts.Tokens(9), uid=ts.Text())) as w:
        ...     w.extend(tokens=[[1], [2]], uid=[f"{7:032x}", f"{8:032x}"])
        >>> np.save("some.npy", np.array([(0, 8)], "u8,u8"))
        >>> len(subset(ts.open("uids"), "some.npy"))
        1
    """
    name = os.fspath(path)
    try:
        wanted = np.load(name, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{name}: this is no whole .npy file: {error}") from error
    if wanted.dtype != _PAIR or wanted.ndim != 1:
        raise ValueError(f"{name}: a subset is a flat array of u8,u8, not {wanted.dtype} of shape {wanted.shape}")
    high, low = np.array(wanted["f0"]), np.array(wanted["f1"])
    if not ((high[:-1] < high[1:]) | ((high[:-1] == high[1:]) & (low[:-1] < low[1:]))).all():
        raise ValueError(f"{name}: the uids are not in ascending order, or one comes twice")

    def is_wanted(batch: dict[str, Any]) -> NDArray[np.bool_]:
        try:
            data = bytes.fromhex("".join(batch[key]))
        except (ValueError, TypeError) as error:
            raise ValueError(f"column {key!r} holds a key that is no uid of 32 hexadecimal digits") from error
        if len(data) != 16 * len(batch[key]):
            raise ValueError(f"column {key!r} holds a key that is no uid of 32 hexadecimal digits")
        mine = np.frombuffer(data, ">u8").reshape(-1, 2).astype(np.uint64)
        return _contains(high, low, mine[:, 0], mine[:, 1])

    return view.where(is_wanted, columns=[key])


def _contains(high: Any, low: Any, first: Any, second: Any) -> NDArray[np.bool_]:
    """Tell which pairs stand in a sorted list of pairs."""
    at = np.searchsorted(high, first)
    found = np.zeros(len(first), bool)
    active = np.flatnonzero(at < len(high))
    while active.size:
        same = high[at[active]] == first[active]
        found[active] |= same & (low[at[active]] == second[active])
        at[active] += 1
        active = active[same & ~found[active]]
        active = active[at[active] < len(high)]
    return found


def cartography(folder: str | os.PathLike[str]) -> tuple[list[str], dict[str, NDArray[np.float64]]]:
    """Read logs of training dynamics, a ``dynamics_epoch_<n>.jsonl`` per epoch with ``guid``, ``logits_epoch_<n>``,
    ``gold``, and return guids and the scores of dataset-cartography (Swayamdipta et al., 2020).

    Args:
        folder: Where the logs are.

    Returns:
        The guids, and float64 arrays ``confidence`` (mean probability of the gold class over epochs), ``variability``
        (its standard deviation), ``correctness`` (epochs in which it was the most probable).

    Raises:
        ValueError: There is no log, a line is none of a log, or epochs have different samples.
    """
    found = sorted((int(match[1]), name) for name in os.listdir(folder) if (match := _LOG.search(name)))
    if not found:
        raise ValueError(f"{os.fspath(folder)}: there is no dynamics_epoch_0.jsonl")
    guids: list[str] = []
    probabilities, correct = [], []
    for number, name in found:
        rows = dict(_dynamics(os.path.join(folder, name), number))
        guids = guids or list(rows)
        if set(rows) != set(guids):
            raise ValueError(f"{name}: the epoch has other samples than the first one")
        probabilities.append([rows[one][0] for one in guids])
        correct.append([rows[one][1] for one in guids])
    table = np.array(probabilities, np.float64)
    scores = {
        "confidence": table.mean(axis=0),
        "variability": table.std(axis=0),
        "correctness": np.array(correct, np.float64).sum(axis=0),
    }
    return guids, scores


def _dynamics(path: str, epoch: int) -> Iterator[tuple[str, tuple[float, bool]]]:
    """Yield guid, probability of the gold class, and whether it was the most probable."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                logits = np.array(row.get(f"logits_epoch_{epoch}", row.get("logits")), np.float64)
                gold = int(row["gold"])
                odds = np.exp(logits - logits.max())
                yield str(row["guid"]), (float(odds[gold] / odds.sum()), int(logits.argmax()) == gold)
            except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
                raise ValueError(f"{path}:{number}: this is no line of a log: {error}") from error


def join_dynamics(store: ts.Store, folder: str | os.PathLike[str], *, key: str) -> JoinReport:
    """Add the scores of `cartography` as columns.

    Args:
        store: The store.
        folder: The logs.
        key: The column that has the guids, or ``"sample_id"``.

    Raises:
        ValueError: As of `cartography`, or no guid is a key of a sample.
    """
    guids, scores = cartography(folder)
    found = _Keys(store, key).find(_digests(guids))
    at = found[found >= 0]
    if not at.size:
        raise ValueError(f"{os.fspath(folder)}: no guid is the key of a sample")
    for name, values in scores.items():
        column = np.full(len(store), np.nan)
        column[at] = values[found >= 0]
        lacking = np.ones(len(store), bool)
        lacking[at] = False
        store.add_column(name, np.ma.MaskedArray(column, lacking), ts.Score("float64", optional=True))
    return JoinReport(tuple(scores), len(at), int((found < 0).sum()))
