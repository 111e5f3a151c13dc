"""What keeps a store in order: delete, compact, merge, tag, prune (format.md 8.5, 9)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tokstore.deleting import delete_from
from tokstore.editing import Editable
from tokstore.packed import Ints
from tokstore.root import Root
from tokstore.version import Version
from tokstore.view import View

__all__ = ["Upkeep"]


class Upkeep(Editable):
    """A store that can be kept in order. `Store` is what users see."""

    def delete(self, positions: Any = None, *, ids: Any = None, where: Any = None) -> int:
        """Delete samples, as one version. Earlier versions keep them; `compact` and `prune` give their bytes back.

        Args:
            positions: Integers, a slice, booleans for all samples, or a view of this store.
            ids: Sample ids instead. Ids of samples that are deleted already are passed over.
            where: A condition instead, as of `View.where`.

        Returns:
            The number of samples deleted.

        Raises:
            TypeError: Not exactly one of the three is given.
            IndexError: A position is outside the store.
            ValueError: No sample has ever had one of the ids.

        Example:
            >>> store.delete(ids=[17, 4711])  # doctest: +SKIP
            2
        """
        self._check_writable()
        if sum(one is not None for one in (positions, ids, where)) != 1:
            raise TypeError("give one of positions, ids= and where=")
        wanted = self._chosen_ids(positions, ids, where)
        count = 0

        def change(root: Root, version: Version) -> Root | None:
            nonlocal count
            draft, count = delete_from(root, wanted, version)
            return draft

        self._change(change)
        return count

    def _chosen_ids(self, positions: Any, ids: Any, where: Any) -> Ints:
        """Return the sample ids of samples that are given in one of three ways."""
        if ids is not None:
            given = np.asarray(ids)
            if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
                raise TypeError("ids are a flat list of sample ids, which are integers")
            return given.astype(np.int64)
        if where is not None:
            store: Any = self
            positions = store.where(where)
        if isinstance(positions, View):
            own, other = self._version.root.store_id, positions._version.root.store_id
            if own != other:
                raise ValueError("the view is of another store")
            return _ids_of(positions, slice(None))
        return _ids_of(self, positions)


def _ids_of(view: View, positions: Any) -> Ints:
    """Return the sample ids of samples of a view; no column is read."""
    ids: Ints = view.take(positions, [])["sample_id"]
    return ids
