"""Mark the duplicates of a store in columns: read what has changed, search, write the columns as one version.

The samples are read unit by unit. What was read stays in a folder beside the store until the run has ended, and in a
column if that is asked for: then a later run reads the new samples alone, and joins them to the clusters there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore._version import __version__
from tokstore.column_types import Vector
from tokstore.dedup.cosine import check_semantic
from tokstore.dedup.earlier import Earlier
from tokstore.dedup.forest import Clusters, Forest, clusters_at
from tokstore.dedup.held import Held
from tokstore.dedup.method import Method
from tokstore.dedup.minhash import MinHash
from tokstore.dedup.mixing import Hashes
from tokstore.dedup.representatives import confirm_representatives
from tokstore.dedup.result import Marked, write_result
from tokstore.dedup.sample_rows import SampleRows
from tokstore.dedup.search import MEMORY, search
from tokstore.dedup.signing import sign_all
from tokstore.dedup.text_grams import grams_of
from tokstore.dedup.vector_rows import compare_vectors, held_groups
from tokstore.dedup.workspace import work_folder, workspace
from tokstore.duplicates import METHODS, named_columns, noted
from tokstore.editing import counted
from tokstore.packed import Ints
from tokstore.schema import Column
from tokstore.store import Store
from tokstore.view import View
from tokstore.writing import Progress

__all__ = ["mark"]

Report = Callable[[Progress], None] | None


@dataclass(frozen=True)
class _Found:
    """What a search gives.

    Attributes:
        facts: What the metadata say of it beside its plan.
        held: Its signatures, where it has some.
        fresh: Rows that were read for it.
    """

    clusters: Clusters
    facts: dict[str, Any]
    fresh: NDArray[np.bool_]
    held: Held | None = None


def mark(
    store: Store,
    method: str,
    *,
    name: str | None = None,
    column: str | None = None,
    where: str | None = None,
    within: Sequence[str] = (),
    threshold: float | None = None,
    ngram: int = 5,
    ngrams: str = "tokens",
    bands: int = 14,
    width: int = 8,
    seed: int = 0,
    confirm: bool = False,
    groups: int | None = None,
    keep_signatures: bool = False,
    memory: int = MEMORY,
    folder: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Marked:
    """Find duplicates among the samples of a store and write columns that say so, as one version.

    ``dup_<name>_of`` has the sample id of the representative, the first sample of a cluster, for all its other samples;
    ``dup_<name>_size`` the samples of the cluster, 1 for a sample that is alone. Near duplicates have also
    ``dup_<name>_similarity`` and ``dup_<name>_link``: the earlier sample that it was joined to, and how similar it is;
    semantic ones have the most similar earlier sample there, duplicate or not.
    Columns of the same name that are there are replaced. Where signatures were kept, samples that have one are not read
    again, and if nothing else has changed only pairs with a new sample are looked for.

    Args:
        store: The store.
        method: ``"exact"``: equal in every value. ``"near"``: similar sets of n-grams, by MinHash. ``"semantic"``:
            vectors that point the same way.
        name: The name of the search; that of the method by default.
        column: What is compared; the token column by default, and the only column of vectors for semantic duplicates.
        where: A condition, as of `View.where`: only these samples, all others have no value in the columns.
        within: Columns: only samples that are equal in them can be duplicates of each other.
        threshold: The Jaccard similarity from which on samples are near duplicates, above 0 and at most 1; 0.8 by
            default. For semantic ones the cosine similarity to an earlier sample; 0.9 by default.
        ngram, bands, width, seed: As of `MinHash`.
        ngrams: Of near duplicates: ``"tokens"``, or ``"text"`` for n-grams of words of the text that the tokens stand
            for, which needs the tokenizer of the store, or of a column of texts. Words are runs of letters and digits
            without regard to capitals, and single characters from U+3000 on, so that texts which differ in spaces,
            punctuation or tokenization alone are equal.
        confirm: Compare the n-grams of near duplicates themselves, so that every sample is as similar as the threshold
            to the one that stays for it; see `near`. At a higher threshold, chosen later, clusters are those of links.
        groups: Groups of vectors; see `semantic`.
        keep_signatures: Keep signatures as a column, for later runs: 448 bytes a sample for near duplicates, 16 for
            others. With those of semantic ones, a later run reads all vectors and compares those of new samples alone.
        memory: Bytes that the search takes at most.
        folder: In what folder the run keeps a folder of its own with what it has finished; beside the store by default,
            which an object store has not.
        progress: Called with a `Progress`.

    Returns:
        What was found.

    Raises:
        UnsupportedError: The store is read-only.
        ValueError: An argument is out of range, or no sample is left to compare.
        MissingFileError: ``ngrams="text"``, and no tokenizer is attached.
        ConflictError: Another process does the same, or changed the columns meanwhile.

    Example:
        >>> mark(ts.open("corpus"), "near", keep_signatures=True)  # doctest: +SKIP
        <Marked: 12,345 of 1,000,000 samples are near duplicates, in 7,001 clusters>
    """
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}, not {method!r}")
    for option, given, of in (
        ("threshold", threshold is not None, ("near", "semantic")),
        ("confirm", confirm, ("near",)),
        ("ngrams", ngrams != "tokens", ("near",)),
        ("groups", groups is not None, ("semantic",)),
        ("keep_signatures", keep_signatures, METHODS),
    ):
        if given and method not in of:
            raise ValueError(f"{option} is for {' and '.join(of)} duplicates, not for {method} ones")
    least = threshold if threshold is not None else 0.9 if method == "semantic" else 0.8
    if memory < 1 << 24:
        raise ValueError(f"memory is at least 16 MB, not {memory} bytes")
    store._check_writable()
    compared = _column(store, method, column)
    how = None
    if method == "semantic":
        check_semantic(least, groups)
        plan: dict[str, Any] = {"method": method, "threshold": least, "groups": groups, "seed": seed}
    else:
        how = Method(method, MinHash(ngram, bands, width, seed), least, confirm, grams_of(store, compared, ngrams))
        how.floor  # noqa: B018 - a threshold out of range is refused before anything is read
        plan = how.plan
    chosen = name or method
    names = named_columns(chosen)
    noted(store.metadata, chosen, {})  # a key that is taken is told before anything is read
    view: View = store if where is None else store.where(where)
    rows = SampleRows(view, compared)
    if not len(rows):
        raise ValueError(f"{store.path}: no sample is in scope: column {compared.name!r}, where={where!r}")
    plan |= {"column": compared.name, "where": where, "within": list(within)}
    plan["store"] = store._version.root.store_id.hex()
    ids, apart = rows.sample_ids(), rows.groups(within)
    if how is None:  # links are the same at any threshold, and the note has the number of groups that there were
        lasting = {key: value for key, value in plan.items() if key not in ("threshold", "groups")}
        earlier = Earlier.of(store, chosen, lasting, lasting)
    else:
        earlier = Earlier.of(store, chosen, how.signature_plan | {"column": compared.name}, plan)
    path = work_folder(store, chosen, folder)
    if path is None:
        raise ValueError(f"{store.path}: there is no folder beside an object store; say with folder= where to work")
    # Signatures are kept by what is in them; vectors are compared as they were when the run began.
    begun = plan if how is not None else plan | {"of_version": store.version}
    with workspace(path, begun) as (work, _):
        if how is not None:
            found = _by_signatures(rows, how, ids, apart, earlier, Held(work), memory, progress)
        else:
            found = _by_vectors(rows, plan, ids, apart, earlier, memory, work, progress)
        about = {"of_version": store.version, "tokstore": __version__, "samples": len(rows)}
        note = plan | about | found.facts
        held = found.held if keep_signatures or earlier.is_kept else None
        return write_result(store, chosen, names, rows, ids, found.clusters, note, held, found.fresh, earlier, progress)


def _column(store: Store, method: str, name: str | None) -> Column:
    """Return the column that is compared."""
    schema = store._version.root.schema
    if method != "semantic":
        return schema.column(name or store.token_column)
    vectors = [one.name for one in schema.columns if isinstance(one.type, Vector)]
    if name is None and len(vectors) != 1:
        listed = ", ".join(vectors) or "none"
        raise ValueError(f"{store.path}: say which column of vectors is compared; there are: {listed}")
    found = schema.column(name or vectors[0])
    if not isinstance(found.type, Vector):
        raise TypeError(f"semantic duplicates are of vectors, and column {found.name!r} is {found.type!r}")
    return found


def _by_signatures(
    rows: SampleRows,
    how: Method,
    ids: Ints,
    apart: Hashes | None,
    earlier: Earlier,
    held: Held,
    memory: int,
    progress: Report,
) -> _Found:
    """Find exact or near duplicates."""
    held, fresh = sign_all(rows, how, apart, earlier, held, counted(progress, len(rows), "read samples"))
    forest, known = Forest(len(rows)), earlier.links(rows, ids, fresh)
    if known is not None:
        forest.add(*known)
    pairs = search(
        held,
        how.bands,
        forest,
        how.score(rows, held),
        fresh=None if known is None else fresh,
        neighbours=not how.is_exact,
        memory=memory,
        report=_counted_bands(progress, how.bands),
    )
    link, level = forest.links()
    facts: dict[str, Any] = {"read": int(np.count_nonzero(fresh)), "pairs": pairs}
    if how.confirm:
        stays = earlier.representatives(rows, ids, fresh)
        link, level, facts["split"] = confirm_representatives(link, level, how.true_score(rows), stays)
    clusters = clusters_at(link, level, -np.inf)
    if how.is_exact:
        return _Found(Clusters(clusters.of, clusters.size), facts, fresh, held)
    return _Found(clusters, facts | {"floor": how.floor}, fresh, held)


def _by_vectors(
    rows: SampleRows,
    plan: dict[str, Any],
    ids: Ints,
    apart: Hashes | None,
    earlier: Earlier,
    memory: int,
    folder: Path,
    progress: Report,
) -> _Found:
    """Find semantic duplicates."""
    report = counted(progress, 2 * len(rows), "compare vectors")
    fresh = ~earlier.stored(rows)
    best = compare_vectors(rows, ids, plan["groups"], plan["seed"], apart, earlier, memory, folder, report)
    compared = int(np.count_nonzero(best.compared))
    facts = {"read": len(rows), "compared": compared, "groups": best.groups, "floor": 0.0}
    clusters = clusters_at(best.link, best.similarity, plan["threshold"])
    if best.compared.all():
        fresh = np.ones(len(rows), bool)  # groups are others, and are all written
    return _Found(clusters, facts, fresh, held_groups(best))


def _counted_bands(progress: Report, bands: int) -> Callable[[int], None] | None:
    """Return what counts bands and passes the count on."""
    if progress is None:
        return None
    done = 0

    def report(count: int) -> None:
        nonlocal done
        done += count
        progress(Progress(done, bands, "bands", "compare signatures"))

    return report
