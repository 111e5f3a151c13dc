"""Duplicates: equal rows, and rows with similar sets of n-grams; arrays in, arrays out, and columns of a store.

`exact` and `near` look at rows that are in memory; `mark` looks at the samples of a store, whatever its size, and keeps
what it finds in columns, by which `View.dedup` leaves duplicates out.
"""

from __future__ import annotations

from tokstore.dedup.arrays import exact, near
from tokstore.dedup.forest import Clusters
from tokstore.dedup.marking import mark
from tokstore.dedup.minhash import MinHash
from tokstore.dedup.result import Marked

__all__ = ["Clusters", "Marked", "MinHash", "exact", "mark", "near"]
