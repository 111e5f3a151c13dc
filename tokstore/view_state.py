"""`ViewState`: which samples a view holds, in which order and with which weights, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore import duplicates
from tokstore.attachments import Attachments
from tokstore.block import ColumnRows
from tokstore.packed import Ints
from tokstore.schema import Schema
from tokstore.selection import Selection
from tokstore.user_metadata import decode_user_metadata
from tokstore.version import Version
from tokstore.view_text import recipe_text, view_html, view_text
from tokstore.view_tokens import TokenReader
from tokstore.view_values import field_texts, field_values
from tokstore.weights import ONE
from tokstore.where import Field, bind_field
from tokstore.wire import checksum

__all__ = ["State", "ViewState", "Weights"]

Bools = NDArray[np.bool_]
Weights = NDArray[np.uint32]
State = tuple[Selection | None, Ints | None, Weights | None]
"""The samples, their positions in view order where that is another one, and their weights."""
_ROWS, _VALUES = 1 << 20, 1 << 24


class ViewState(TokenReader):
    """Samples with an order and weights.

    Args:
        version: Where they are.
        state: Which, in which order, with which weights.
        schema: The columns; ``None`` for all.
        recipe: The verbs that made it.
    """

    _digest: str | None = None

    def __init__(
        self,
        version: Version,
        state: State = (None, None, None),
        schema: Schema | None = None,
        recipe: tuple[str, ...] = (),
    ) -> None:
        chosen, order, self._weights = state
        # All samples in the order of the version are no list of samples at all.
        whole = chosen is not None and len(chosen) == len(version)
        super().__init__(version, None if whole else chosen, order, schema)
        self._recipe = recipe

    @property
    def _state(self) -> State:
        return self._chosen, self._order, self._weights

    def _set(self) -> Selection:
        """Return the positions of the samples, ascending."""
        if self._chosen is not None:
            return self._chosen
        return Selection.from_runs(np.zeros(1, np.int64), np.full(1, len(self)))

    def _kept(self, kept: Selection) -> State:
        """Return what is left if only some positions are kept."""
        order, weights = self._order, self._weights
        chosen = kept if self._chosen is None else self._chosen & kept
        if order is not None or weights is not None:
            inside = chosen.holds(self._at(np.arange(len(self))))
            order = None if order is None else order[inside]
            weights = None if weights is None else weights[inside]
        return chosen, order, weights

    def _picked(self, places: Ints) -> State:
        """Return the samples at distinct places, in the order of the places."""
        return state_of(self._at(places), None if self._weights is None else self._weights[places])

    def _read(self, field: Field) -> tuple[Any, Bools]:
        """Return the number or text that every sample has in a field, and which are missing."""
        read: Any = field_texts if field.is_text else field_values
        found: tuple[Any, Bools] = read(self._version, self._chosen, self._order, field)
        return found

    def _cluster_keys(self, name: str, threshold: float | None) -> Ints:
        """Return for every sample what it has in common with its duplicates; see `View.dedup`."""
        root, names = self._version.root, duplicates.named_columns(name)
        duplicates.check_columns(root.schema, name, self.metadata, root.store_id.hex(), threshold)
        if threshold is None:
            of, stays = self._read(bind_field(root.schema, names.of))
            return np.where(stays, self._sample_ids(), of)
        whole = ViewState(self._version)  # links may go through samples that the view does not have
        link, none = whole._read(bind_field(root.schema, names.link))
        similarity, unknown = whole._read(bind_field(root.schema, names.similarity))
        counts = ~(none | unknown) & (similarity >= np.float32(threshold))
        return duplicates.cluster_keys(whole._sample_ids(), link, counts)[self._at(np.arange(len(self)))]

    def _row_batches(self) -> Iterator[dict[str, ColumnRows]]:
        """Yield rows of all columns; larger batches where samples are scattered, so that fewer blocks come twice."""
        columns = self._columns(None)
        widths = sum(column.type.width for column in columns if not column.type.ragged)
        rows = max(1, min(_ROWS, _VALUES // max(1, widths)))
        most = {} if self._order is None else {"values": _VALUES}
        for a, b in self._batches(columns, 0, len(self), rows, **most):
            yield self._rows(np.arange(a, b), columns, 0, None)[0]

    # What it has beside samples -----------------------------------------------------------------------------------

    @property
    def metadata(self) -> dict[str, Any]:
        """What was given as ``metadata`` when the store was made, and what `tokstore dedup` says of its columns."""
        text = self._version.root.metadata
        return {} if text is None else decode_user_metadata(text, self.path)

    @property
    def attachments(self) -> Attachments:
        """Files that travel with the store: a mapping from name to bytes."""
        return Attachments(self._version, self._version.file_name)

    @property
    def is_weighted(self) -> bool:
        """Whether `weigh` has given the samples weights."""
        return self._weights is not None

    @property
    def weights(self) -> NDArray[np.float64]:
        """Expected copies of every sample in an epoch; 1 without `weigh`. Reading samples pays them no heed."""
        return self._fixed_weights() / ONE

    def fixed_weights(self, first: int = 0, stop: int | None = None) -> Weights:
        """Return weights as they are held: expected copies in steps of 2**-16, uint32.

        Args:
            first: First position.
            stop: End of the positions; ``None`` for the end of the view.
        """
        begin, end, _ = slice(first, stop).indices(len(self))
        if self._weights is None:
            return np.full(max(0, end - begin), ONE, np.uint32)
        return self._weights[begin:end].copy()

    def _fixed_weights(self) -> Weights:
        """Return the weights as integers of 2**-16."""
        return np.full(len(self), ONE, np.uint32) if self._weights is None else self._weights

    @property
    def fingerprint(self) -> str:
        """What the order of samples depends on: store, version, and which samples of it."""
        if self._weights is None:
            return super().fingerprint
        if self._digest is None:  # every state of a stream asks for it
            self._digest = f"w{checksum(self._weights.astype('<u4').tobytes()):016x}"
        return f"{super().fingerprint}/{self._digest}"

    @property
    def recipe(self) -> str:
        """The verbs that made the view, for people."""
        return recipe_text(self._recipe)

    def _facts(self) -> tuple[str, int, int, Schema, tuple[str, ...], list[str]]:
        """Return what a view is shown by."""
        notes = ["in an order of its own"] if self._order is not None else []
        if self._weights is not None:
            notes.append(f"weights of mean {float(self.weights.mean()) if len(self) else 0:.4g}")
        place = f"{self.path}: version {self.version}"
        return place, len(self), len(self._version), self.schema, self._recipe, notes

    def __repr__(self) -> str:
        return view_text(*self._facts())

    def _repr_html_(self) -> str:
        return view_html(*self._facts())


def state_of(positions: Ints, weights: Weights | None) -> State:
    """Return the state of samples at distinct positions of the version, in their order."""
    order = positions if (np.diff(positions) < 0).any() else None
    return Selection.from_positions(positions if order is None else np.sort(positions)), order, weights
