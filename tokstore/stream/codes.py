"""A store without tokens as a source of rows of codes: each sample is one row of as many values (order.md 4.1)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.column_types import Codes, Tokens
from tokstore.format import SPAN_VALUES
from tokstore.losses import TokensLost
from tokstore.stream.source import Extent, SpanTable

__all__ = ["CodeRows", "codes_column"]

I64 = NDArray[np.int64]


def codes_column(schema: Mapping[str, Any]) -> str | None:
    """Return the column whose codes make rows: the first of fixed shape, where there are no tokens; None for none.

    Example:
        >>> from tokstore.schema import Schema
        >>> codes_column(Schema(label=Codes(9, ()), image=Codes(391, (16, 16)))), codes_column(Schema(t=Tokens(9)))
        ('image', None)
    """
    if any(isinstance(kind, Tokens) for kind in schema.values()):
        return None
    return next((n for n, kind in schema.items() if isinstance(kind, Codes) and kind.shape and not kind.ragged), None)


class _Spans:
    """Spans of samples that all have as many values."""

    def __init__(self, samples: int, width: int) -> None:
        # A span begins with the first sample at or past every multiple.
        edges = -(-np.arange(0, samples * width + 1, SPAN_VALUES) // width)
        first = np.unique(np.append(edges[edges < samples], 0)) if samples else np.zeros(0, np.int64)
        self.samples: I64 = np.diff(first, append=samples)
        self.values: I64 = self.samples * width
        self.lead: I64 = np.zeros_like(first)


class CodeRows:
    """A view as a stream sees it whose rows are codes.

    Args:
        view: A store or view.
        name: Its column of codes, of fixed shape.
    """

    def __init__(self, view: Any, name: str) -> None:
        self.view, self.token_column = copy.copy(view), name
        self.codes: Codes = view.schema[name]
        self.width: int = self.codes.width

    def __len__(self) -> int:
        return len(self.view)

    @property
    def can_fork(self) -> bool:
        """Whether a forked process can go on reading."""
        return bool(self.view.can_fork)

    @property
    def is_far(self) -> bool:
        """Whether stored bytes are fetched ahead of decoding."""
        return bool(self.view.is_far)

    @property
    def token_count(self) -> int:
        """Codes of all samples."""
        return len(self) * self.width

    @property
    def schema(self) -> Mapping[str, Any]:
        """Column types by name."""
        schema: Mapping[str, Any] = self.view.schema
        return schema

    @property
    def is_weighted(self) -> bool:
        """Whether samples have weights."""
        return bool(self.view.is_weighted)

    def fixed_weights(self, first: int, stop: int) -> NDArray[np.uint32]:
        """Return the weights of the samples from `first` to `stop`, in steps of 2**-16."""
        found: NDArray[np.uint32] = self.view.fixed_weights(first, stop)
        return found

    @property
    def fingerprint(self) -> str:
        """Store, version, view and column."""
        return f"{self.view.fingerprint}/{self.token_column}"

    def spans(self) -> SpanTable:
        """Return spans of about 2**18 codes."""
        return _Spans(len(self), self.width)

    def lengths(self, first: int, stop: int) -> I64:
        """Return the codes of the samples from `first` to `stop`."""
        return np.full(max(0, stop - first), self.width)

    def take(self, positions: I64, columns: Sequence[str]) -> Mapping[str, Any]:
        """Return columns of samples at positions, and their ``"sample_id"``."""
        found: Mapping[str, Any] = self.view.take(positions, columns)
        return found

    def take_lossy(self, positions: I64, columns: Sequence[str], lost: TokensLost) -> Mapping[str, Any]:
        """Return columns of samples, what cannot be read as missing."""
        found: Mapping[str, Any] = self.view.take_lossy(positions, columns, lost)
        return found

    def read_aligned(self, positions: I64, name: str, start: int, stop: int, *, lost: TokensLost | None = None) -> Any:
        """Refuse: no column has a value for every code."""
        raise TypeError("rows of codes have no columns with a value for every code")

    def read_range(
        self,
        first: int,
        stop: int,
        *,
        skip: int = 0,
        limit: int | None = None,
        out: NDArray[Any] | None = None,
        lost: TokensLost | None = None,
        stored: Mapping[Any, Any] | None = None,
    ) -> NDArray[Any]:
        """Return the codes of whole consecutive samples."""
        if skip or limit not in (None, (stop - first) * self.width):
            raise ValueError("rows of codes are whole samples")
        return self.read_samples(np.arange(first, stop), lost=lost, stored=stored)

    def read_samples(
        self,
        positions: I64,
        *,
        out: NDArray[Any] | None = None,
        pool: Executor | None = None,
        lost: TokensLost | None = None,
        stored: Mapping[Any, Any] | None = None,
    ) -> NDArray[Any]:
        """Return the codes of samples at ascending positions, one after another."""
        found: NDArray[Any] = self.view.read_samples(
            positions, column=self.token_column, pool=pool, lost=lost, stored=stored
        )
        return found

    def fetch(self, wanted: Sequence[Extent]) -> Mapping[Any, Any]:
        """Fetch the stored bytes of whole samples in one trip."""
        whole = [(np.arange(*places) if isinstance(places, tuple) else places, 0, None) for places, *_ in wanted]
        found: Mapping[Any, Any] = self.view.fetch(whole, column=self.token_column)
        return found
