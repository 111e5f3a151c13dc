"""Mark the duplicates of a store in columns: read what has changed, search, write the columns as one version.

The samples are read unit by unit. What was read stays in a folder beside the store until the run has ended, and in a
column if that is asked for: then a later run reads the new samples alone, and joins them to the clusters there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore._version import __version__
from tokstore.dedup.arrays import least_estimate
from tokstore.dedup.digests import row_digests
from tokstore.dedup.earlier import Earlier
from tokstore.dedup.forest import Clusters, Forest
from tokstore.dedup.held import Held
from tokstore.dedup.minhash import MinHash
from tokstore.dedup.mixing import Hashes
from tokstore.dedup.pair_rows import confirmed, identical
from tokstore.dedup.result import Marked, write_result
from tokstore.dedup.sample_rows import SampleRows
from tokstore.dedup.search import MEMORY, Score, estimated, search
from tokstore.dedup.workspace import workspace
from tokstore.duplicates import named_columns
from tokstore.editing import counted
from tokstore.store import Store
from tokstore.view import View
from tokstore.wire import checksum
from tokstore.writer import Progress

__all__ = ["ALGORITHM", "mark"]

ALGORITHM = 1
"""Changes when signatures of the same samples do: kept ones of another number are not used."""


@dataclass(frozen=True)
class Method:
    """How samples are compared.

    Attributes:
        name: ``"exact"`` or ``"near"``.
        hashing: Of near duplicates.
        threshold: Of near duplicates: the similarity from which on samples are duplicates.
        confirm: Of near duplicates: compare the n-grams themselves.
    """

    name: str
    hashing: MinHash = field(default_factory=MinHash)
    threshold: float = 0.8
    confirm: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether duplicates are equal in every value."""
        return self.name == "exact"

    @property
    def bands(self) -> int:
        """Keys of a sample."""
        return 1 if self.is_exact else self.hashing.bands

    @property
    def floor(self) -> float:
        """The least similarity of duplicates, estimated or true."""
        if self.confirm:
            return self.threshold
        return least_estimate(self.threshold, self.hashing.bins, confirm=False)

    def signatures(self, values: NDArray[Any], lengths: NDArray[np.int64]) -> NDArray[Any]:
        """Return the signatures of rows."""
        if self.is_exact:
            return row_digests(values, lengths)
        if values.dtype.kind not in "iub":
            raise TypeError(f"near duplicates are looked for in integers, not in {values.dtype}")
        return self.hashing.signatures(values, lengths)

    def keys(self, signatures: NDArray[Any]) -> Hashes:
        """Return the keys of signatures, ``[bands, rows]``."""
        return signatures[:, 0][None].copy() if self.is_exact else self.hashing.band_keys(signatures)

    def score(self, rows: SampleRows, held: Held) -> Score:
        """Return what tells how similar pairs are."""
        if self.is_exact:
            return identical(rows.read, rows.lengths)
        least = least_estimate(self.threshold, self.hashing.bins, self.confirm)
        score = estimated(held, self.hashing.similarity, least)
        return confirmed(rows.read, rows.lengths, score, self.hashing.ngram, self.threshold) if self.confirm else score

    @property
    def signature_plan(self) -> dict[str, Any]:
        """What signatures depend on."""
        return {"method": self.name, "algorithm": ALGORITHM} | ({} if self.is_exact else self.hashing.parameters)

    @property
    def plan(self) -> dict[str, Any]:
        """What the result depends on, beside the samples."""
        more = {} if self.is_exact else {"threshold": self.threshold, "confirm": self.confirm}
        return self.signature_plan | more


def mark(
    store: Store,
    method: str,
    *,
    name: str | None = None,
    column: str | None = None,
    where: str | None = None,
    within: Sequence[str] = (),
    threshold: float = 0.8,
    ngram: int = 5,
    bands: int = 14,
    width: int = 8,
    seed: int = 0,
    confirm: bool = False,
    keep_signatures: bool = False,
    memory: int = MEMORY,
    folder: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Marked:
    """Find duplicates among the samples of a store and write columns that say so, as one version.

    ``dup_<name>_of`` has the sample id of the representative, the first sample of a cluster, for all its other samples;
    ``dup_<name>_size`` the samples of the cluster, 1 for a sample that is alone. Near duplicates have also
    ``dup_<name>_similarity`` and ``dup_<name>_link``: the earlier sample that it was joined to, and how similar it is.
    Columns of the same name that are there are replaced. Where signatures were kept, samples that have one are not read
    again, and if nothing else has changed only pairs with a new sample are looked for.

    Args:
        store: The store.
        method: ``"exact"``: equal in every value. ``"near"``: similar sets of n-grams, by MinHash.
        name: The name of the search; that of the method by default.
        column: What is compared; the token column by default.
        where: A condition, as of `View.where`: only these samples, all others have no value in the columns.
        within: Columns: only samples that are equal in them can be duplicates of each other.
        threshold: The Jaccard similarity from which on samples are near duplicates, above 0 and at most 1.
        ngram, bands, width, seed: As of `MinHash`.
        confirm: Compare the n-grams of near duplicates themselves; see `near`.
        keep_signatures: Keep signatures as a column, for later runs: 448 bytes a sample for near duplicates, 16 for
            exact ones.
        memory: Bytes that the search takes at most.
        folder: Where the run keeps what it has finished; beside the store by default.
        progress: Called with a `Progress`.

    Returns:
        What was found.

    Raises:
        UnsupportedError: The store is read-only.
        ValueError: An argument is out of range, or no sample is left to compare.
        ConflictError: Another process does the same, or changed the columns meanwhile.

    Example:
        >>> mark(ts.open("corpus"), "near", keep_signatures=True)  # doctest: +SKIP
        <Marked: 12,345 of 1,000,000 samples are near duplicates, in 7,001 clusters>
    """
    if method not in ("exact", "near"):
        raise ValueError(f'method is "exact" or "near", not {method!r}')
    how = Method(method, MinHash(ngram, bands, width, seed), threshold, confirm)
    how.floor  # noqa: B018 - a threshold out of range is refused before anything is read
    if memory < 1 << 24:
        raise ValueError(f"memory is at least 16 MB, not {memory} bytes")
    store._check_writable()
    chosen = name or method
    names = named_columns(chosen)
    compared = store._version.root.schema.column(column or store.token_column)
    view: View = store if where is None else store.where(where)
    rows = SampleRows(view, compared)
    if not len(rows):
        raise ValueError(f"{store.path}: no sample is in scope: column {compared.name!r}, where={where!r}")
    scope = {"column": compared.name, "where": where, "within": list(within)}
    earlier = Earlier.of(store, chosen, how.signature_plan | {"column": compared.name}, how.plan | scope)
    groups = rows.groups(within)
    with ExitStack() as stack:
        plan = how.plan | scope | {"store": store._version.root.store_id.hex()}
        path = folder or Path(f"{store.path.rstrip('/')}.dedup-{chosen}")
        work, _ = stack.enter_context(workspace(path, plan))
        held, fresh = _read_all(rows, how, groups, earlier, Held(work), counted(progress, len(rows), "read samples"))
        forest, ids = Forest(len(rows)), rows.sample_ids()
        known = earlier.links(rows, ids, fresh)
        if known is not None:
            forest.add(*known)
        steps = _banded(progress, how.bands)
        pairs = search(
            held,
            how.bands,
            forest,
            how.score(rows, held),
            fresh=None if known is None else fresh,
            neighbours=not how.is_exact,
            memory=memory,
            report=steps,
        )
        clusters = forest.clusters()
        if how.is_exact:
            clusters = Clusters(clusters.of, clusters.size)
        note = (
            how.plan
            | scope
            | {
                "store": store._version.root.store_id.hex(),
                "of_version": store.version,
                "tokstore": __version__,
                "samples": len(rows),
                "read": int(np.count_nonzero(fresh)),
                "pairs": pairs,
            }
        )
        if not how.is_exact:
            note["floor"] = how.floor
        signature = held if keep_signatures or earlier.is_kept else None
        return write_result(store, chosen, names, rows, ids, clusters, note, signature, fresh, earlier, progress)


def _read_all(
    rows: SampleRows,
    how: Method,
    groups: Hashes | None,
    earlier: Earlier,
    held: Held,
    report: Callable[[int], None],
) -> tuple[Held, NDArray[np.bool_]]:
    """Return the signatures of all rows, and which of them have none that was kept."""
    stored, ids = earlier.stored(rows), rows.sample_ids()
    for number, (a, b) in enumerate(rows.units()):
        # A unit is named by what is in it: where samples came or went, units are made anew.
        content = checksum(ids[a:b].astype("<i8").tobytes(), 0)
        if groups is not None:
            content = checksum(groups[a:b].astype("<u8").tobytes(), content)
        name = f"{number:07d}-{content:016x}"
        if held.has(name):
            held.take(name, b - a)
            report(b - a)
            continue
        parts: list[NDArray[Any]] = []
        known = np.flatnonzero(stored[a:b]) + a
        new = np.flatnonzero(~stored[a:b]) + a
        at = 0
        ends = np.cumsum(rows.lengths[new])
        while at < len(new):
            before = int(ends[at - 1]) if at else 0
            stop = max(at + 1, int(np.searchsorted(ends, before + (1 << 20), side="right")))
            values, lengths = rows.read(new[at:stop])
            parts.append(how.signatures(values, lengths))
            report(stop - at)
            at = stop
        made = np.concatenate(parts) if parts else None
        if len(known):
            kept = earlier.read(rows, known)
            whole = np.empty((b - a, kept.shape[1]), kept.dtype)
            whole[known - a] = kept
            if made is not None:
                whole[new - a] = made
            made = whole
            report(len(known))
        if made is not None:
            keys = how.keys(made)
            if groups is not None:
                keys ^= groups[a:b]
            held.add(name, made, keys)
    return held, ~stored


def _banded(progress: Callable[[Progress], None] | None, bands: int) -> Callable[[int], None] | None:
    """Return what counts bands and passes the count on."""
    if progress is None:
        return None
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        progress(Progress(done, bands, "bands", "compare signatures"))

    return report
