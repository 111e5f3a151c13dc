"""Saved views of a store: load them, list them, drop them (format.md 8.7)."""

from __future__ import annotations

from dataclasses import dataclass

from tokstore.saved_view import read_saved, saved_names, view_path
from tokstore.saving import restored
from tokstore.view import View
from tokstore.view_text import recipe_text

__all__ = ["SavedViews", "ViewInfo"]


@dataclass(frozen=True)
class ViewInfo:
    """One line of `Store.views`.

    Attributes:
        name: Its name.
        samples: Samples in it when it was saved.
        version: The version it was made of.
        created_ms: Milliseconds since 1970-01-01 UTC.
        is_ordered: Whether it has an order of its own.
        is_weighted: Whether its samples have weights.
        recipe: The verbs that made it.
    """

    name: str
    samples: int
    version: int
    created_ms: int
    is_ordered: bool
    is_weighted: bool
    recipe: str


class SavedViews(View):
    """A view of a whole version, with the views that are saved beside it."""

    def views(self) -> list[ViewInfo]:
        """Return the saved views, by name."""
        if self._version.file_name is not None:
            return []
        names = saved_names(self._version.storage)
        return [
            ViewInfo(
                name,
                one.samples,
                one.version,
                one.created_ms,
                one.order is not None,
                one.weights is not None,
                recipe_text(one.recipe),
            )
            for name, one in zip(names, read_saved(self._version.storage, names), strict=True)
        ]

    def load(self, name: str) -> View:
        """Return a saved view, in the version that is open.

        Samples that this version does not have are left out, with a warning that says how many.

        Raises:
            MissingFileError: No view of that name is saved.
        """
        (saved,) = read_saved(self._version.storage, [name])
        state, schema = restored(self._version, saved, name)
        return View(self._version, state, schema, saved.recipe)

    def drop_view(self, name: str) -> None:
        """Remove a saved view; its samples stay.

        Raises:
            MissingFileError: No view of that name is saved.
        """
        read_saved(self._version.storage, [name])
        self._version.storage.delete(view_path(name))
