"""Duplicates: equal rows, rows with similar sets of n-grams, and vectors that point the same way.

`exact`, `near` and `semantic` look at rows that are in memory, arrays in and arrays out; `mark` looks at the samples of
a store, whatever its size, and keeps what it finds in columns, by which `View.dedup` leaves duplicates out.
"""

from __future__ import annotations

from tokstore.dedup.arrays import exact, near
from tokstore.dedup.cosine import semantic
from tokstore.dedup.forest import Clusters
from tokstore.dedup.marking import mark
from tokstore.dedup.minhash import MinHash
from tokstore.dedup.result import Marked
from tokstore.dedup.span_columns import mark_spans

__all__ = ["Clusters", "Marked", "MinHash", "exact", "mark", "mark_spans", "near", "semantic"]
