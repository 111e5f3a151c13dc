"""What a stream needs of a store or view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokstore.losses import TokensLost
from tokstore.ragged import Ragged

__all__ = ["Extent", "Source", "SpanTable"]

I64 = NDArray[np.int64]
Extent = tuple[I64 | tuple[int, int], int, int | None]
"""Values that are wanted: samples at ascending positions, 0 and None; or the first of consecutive samples and their
end, and `skip` and `limit` as of `Source.read_range`."""


class SpanTable(Protocol):
    """Counts of all stored spans, in view order; flat int64 arrays of one length."""

    @property
    def samples(self) -> I64:
        """Samples that start in the span."""

    @property
    def values(self) -> I64:
        """Values of the span."""

    @property
    def lead(self) -> I64:
        """Values at its start that belong to a sample that started earlier."""


class Source(Protocol):
    """What a stream needs of a store or view."""

    def __len__(self) -> int:
        """Return the number of samples."""

    @property
    def can_fork(self) -> bool:
        """Whether a forked process can go on reading."""

    @property
    def is_far(self) -> bool:
        """Whether a trip takes so long that stored bytes are fetched ahead of decoding."""

    @property
    def token_count(self) -> int:
        """Values of the token column."""

    @property
    def token_column(self) -> str:
        """Name of the token column."""

    @property
    def schema(self) -> Mapping[str, Any]:
        """Column types by name."""

    @property
    def fingerprint(self) -> str:
        """Store, version and view in a few characters."""

    @property
    def is_weighted(self) -> bool:
        """Whether samples have weights."""

    def fixed_weights(self, first: int, stop: int) -> NDArray[np.uint32]:
        """Return the weights of the samples from `first` to `stop`, uint32, in steps of 2**-16."""

    def spans(self) -> SpanTable:
        """Return the counts of all stored spans."""

    def lengths(self, first: int, stop: int) -> I64:
        """Return the token counts of the samples from `first` to `stop`, int64."""

    def take(self, positions: I64, columns: Sequence[str]) -> Mapping[str, Any]:
        """Return columns of samples at positions, and their ``"sample_id"``."""

    def take_lossy(self, positions: I64, columns: Sequence[str], lost: TokensLost) -> Mapping[str, Any]:
        """Return what `take` returns, what cannot be read as missing, and note it in `lost`."""

    def read_aligned(
        self, positions: I64, name: str, start: int, stop: int, *, lost: TokensLost | None = None
    ) -> tuple[Ragged, I64]:
        """Return what samples at ascending positions have from token `start` to `stop` in a column with one value for
        every token, and how many tokens each has."""

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
        """Return the ids of the samples from `first` to `stop`, without the first `skip`, at most `limit`; in `out`
        where that fits. What cannot be read is an error, or noted in `lost`. `stored` is from `fetch`."""

    def read_samples(
        self,
        positions: I64,
        *,
        out: NDArray[Any] | None = None,
        pool: Executor | None = None,
        lost: TokensLost | None = None,
        stored: Mapping[Any, Any] | None = None,
    ) -> NDArray[Any]:
        """Return the ids of samples at ascending positions, one after another; `out`, `lost` and `stored` as above."""

    def fetch(self, wanted: Sequence[Extent]) -> Mapping[Any, Any]:
        """Fetch the stored bytes of values in one trip, to be decoded later; only asked of a source that is far."""
