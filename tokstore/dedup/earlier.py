"""What an earlier run has left in a store: signatures of samples, and the clusters they were in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.forest import Floats
from tokstore.dedup.sample_rows import SampleRows
from tokstore.duplicates import named_columns, note_of
from tokstore.packed import Ints
from tokstore.store import Store
from tokstore.view import View
from tokstore.where import bind_field

__all__ = ["Earlier"]

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Earlier:
    """An earlier run of the same name.

    Attributes:
        view: The whole version.
        name: Of the run.
        is_kept: Whether its signatures are there and can be used.
        is_same: Whether it had the same parameters and scope too, so that its clusters hold.
        note: What the metadata say of it.
    """

    view: View
    name: str
    is_kept: bool
    is_same: bool
    note: Mapping[str, Any]

    @classmethod
    def of(cls, store: Store, name: str, signatures: Mapping[str, Any], plan: Mapping[str, Any]) -> Earlier:
        """Look for an earlier run.

        Args:
            store: The store.
            name: Of the run.
            signatures: What signatures depend on.
            plan: What the result depends on beside the samples.
        """
        names, schema = named_columns(name), store.schema
        note = {"ngrams": "tokens"} | note_of(store.metadata, name)  # which early notes do not say
        here = note.get("store") == store._version.root.store_id.hex()

        def fits(wanted: Mapping[str, Any]) -> bool:
            return all(key in note and note[key] == value for key, value in wanted.items())

        kept = here and names.signature in schema and fits(signatures)
        needed = {names.of, names.size} | (set() if plan["method"] == "exact" else {names.link, names.similarity})
        # Values that a scope asks for can change, and with them what was compared.
        same = kept and needed <= set(schema) and fits(plan) and plan["where"] is None and not plan["within"]
        return cls(View(store._version), name, kept, same, note)

    def stored(self, rows: SampleRows) -> Bools:
        """Return which rows have a signature."""
        if not self.is_kept:
            return np.zeros(len(rows), bool)
        missing = self.view.missing(named_columns(self.name).signature)
        return ~missing[rows.positions]

    def read(self, rows: SampleRows, some: Ints) -> NDArray[Any]:
        """Return the signatures of rows."""
        name = named_columns(self.name).signature
        found = self.view.take(rows.positions[some], [name])[name]
        return np.asarray(found.filled(0) if isinstance(found, np.ma.MaskedArray) else found)

    def links(self, rows: SampleRows, ids: Ints, fresh: Bools) -> tuple[Ints, Ints, Floats] | None:
        """Return the pairs that join rows as they were joined; ``None`` where that does not hold any more.

        Samples whose first one was deleted meanwhile are joined to the first of them.

        Args:
            rows: The rows.
            ids: Their sample ids.
            fresh: Which of them the run did not have.
        """
        if not self.is_same:
            return None
        names, schema = named_columns(self.name), self.view.schema
        of, none = self.view._read(bind_field(schema, names.of))
        level = np.ones(len(of), np.float32)
        link = of
        if names.link in schema and names.similarity in schema:
            link = self.view._read(bind_field(schema, names.link))[0]
            level = self.view._read(bind_field(schema, names.similarity))[0].astype(np.float32)
        at = rows.positions
        joined = np.flatnonzero(~none[at] & ~fresh)
        link, of, level = link[at][joined], of[at][joined], level[at][joined]
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        found = np.minimum(np.searchsorted(ordered, link), len(ids) - 1)
        there = ordered[found] == link
        target = order[found]
        # Whose link is gone is joined to the first of its cluster that is there.
        _, first, cluster = np.unique(of, return_index=True, return_inverse=True)
        gone = np.flatnonzero(~there)
        target[gone] = joined[first[cluster[gone]]]
        head = np.minimum(np.searchsorted(ordered, of[gone]), len(ids) - 1)
        is_head = ordered[head] == of[gone]
        target[gone[is_head]] = order[head[is_head]]
        apart = target != joined
        return target[apart], joined[apart], level[apart]

    def representatives(self, rows: SampleRows, ids: Ints, fresh: Bools) -> Ints | None:
        """Return the row that every row was found to be similar to, -1 for none; ``None`` where that is not known.

        Args:
            rows: The rows.
            ids: Their sample ids.
            fresh: Which of them the run did not have.
        """
        if not self.is_same or "split" not in self.note:
            return None
        of, none = self.view._read(bind_field(self.view.schema, named_columns(self.name).of))
        order = np.argsort(ids, kind="stable")
        wanted = of[rows.positions]
        found = order[np.minimum(np.searchsorted(ids[order], wanted), len(ids) - 1)]
        known: Ints = np.where((ids[found] == wanted) & ~none[rows.positions] & ~fresh, found, -1)
        return known
