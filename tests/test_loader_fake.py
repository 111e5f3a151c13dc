"""A source in memory for the tests of the loader, and the slow reference that they compare with.

The source offers what a view offers to `StreamingDataset`: lengths, spans as the format makes them, ranges of ids.
What an id is follows from its sample and place, so that every value of a row can be traced. The reference is what
writes the vectors of order.md, and shares no code with the loader.
"""

from __future__ import annotations

import importlib
import sys
import threading
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tokstore.column_types import Tokens
from tokstore.schema import Schema

I64 = NDArray[np.int64]
ROOT = Path(__file__).resolve().parents[1]


def load_reference() -> ModuleType:
    """Load the slow reference, which the program that writes the vectors uses."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))  # last, so that the package is imported from where the suite wants it
    return importlib.import_module("spec.vectors.order_reference")


reference: Any = load_reference()
SMALL = 4096
"""Values of a read that passes a closed gate."""


class FakeSource:
    """Samples of given lengths. Counts what is read, and fails where it is told to."""

    token_column = "tokens"
    weights: NDArray[np.uint32] | None = None
    can_fork = True
    is_far = False

    def __init__(self, lengths: list[int], vocab_size: int = 50_000, **special: Any) -> None:
        self.vocab_size = vocab_size
        self.schema = Schema(tokens=Tokens(vocab_size, **special))
        self._lengths = np.array(lengths, np.int64)
        self._before = np.concatenate([np.zeros(1, np.int64), np.cumsum(self._lengths)])
        self.table = reference.stored(list(lengths))
        self.token_count = int(self._before[-1])
        self.fingerprint = f"fake-{len(lengths)}-{self.token_count}"
        self.reads: list[tuple[int, int]] = []
        self.values_read = 0
        self.fail_after: int | None = None
        self.threads: set[str] = set()
        self.gate: threading.Event | None = None
        self.wide = False
        self.ids: Any = self._ids

    def __len__(self) -> int:
        return len(self._lengths)

    def __copy__(self) -> FakeSource:
        return self  # never changes; a copy would count for itself

    def spans(self) -> SimpleNamespace:
        """Return the table of stored spans."""
        columns = np.array(self.table, np.int64).reshape(-1, 3).T
        return SimpleNamespace(samples=columns[0], values=columns[1], lead=columns[2])

    def lengths(self, first: int, stop: int) -> I64:
        """Return lengths of samples."""
        return self._lengths[first:stop].copy()

    @property
    def is_weighted(self) -> bool:
        """Tell whether samples have weights."""
        return self.weights is not None

    def fixed_weights(self, first: int, stop: int) -> NDArray[np.uint32]:
        """Return weights of samples."""
        assert self.weights is not None
        return self.weights[first:stop].copy()

    def take(self, positions: I64, columns: list[str]) -> dict[str, Any]:
        """Return the sample ids of samples: their positions and a thousand."""
        assert not list(columns)
        return {"sample_id": np.asarray(positions) + 1000}

    def take_lossy(self, positions: I64, columns: list[str], lost: Any) -> dict[str, Any]:
        """Return what `take` returns: nothing of it is ever lost."""
        return self.take(positions, columns)

    def read_samples(
        self, positions: I64, *, out: Any = None, pool: Any = None, lost: Any = None, stored: Any = None
    ) -> NDArray[Any]:
        """Return ids of samples at ascending positions."""
        assert (np.diff(positions) > 0).all()
        breaks = [0, *(np.flatnonzero(np.diff(positions) != 1) + 1).tolist(), len(positions)]
        runs = [(int(positions[a]), int(positions[b - 1]) + 1) for a, b in pairwise(breaks) if a < b]
        found = (map if pool is None else pool.map)(lambda run: self.read_range(*run), runs)
        return np.concatenate([np.zeros(0, np.int32), *found])

    def read_range(
        self,
        first: int,
        stop: int,
        *,
        skip: int = 0,
        limit: int | None = None,
        out: Any = None,
        lost: Any = None,
        stored: Any = None,
    ) -> NDArray[Any]:
        """Return ids of samples."""
        self.threads.add(threading.current_thread().name)
        self.reads.append((first, stop))
        if self.fail_after is not None and len(self.reads) > self.fail_after:
            raise OSError("the disk is gone")
        start, end = int(self._before[first]) + skip, int(self._before[stop])
        end = end if limit is None else min(end, start + limit)
        place = np.arange(start, max(start, end))
        if self.gate is not None and len(place) > SMALL and not self.gate.wait(60):
            raise TimeoutError("a large read was waited for")
        self.values_read += len(place)
        sample = np.searchsorted(self._before, place, side="right") - 1
        values: NDArray[Any] = self.ids(sample, place - self._before[sample])
        return values.astype(np.int64 if self.wide else np.int32)

    def _ids(self, sample: I64 | int, place: I64) -> I64:
        """Return what stands at places of samples."""
        return np.asarray(sample * 7919 + place * 31 + 3) % self.vocab_size

    def segment(self, segment: tuple[int, int, int], bos: int | None, eos: int | None) -> I64:
        """Return the effective values of a segment of the reference."""
        sample, first, last = segment
        length = int(self._lengths[sample])
        shift = int(bos is not None)
        place = np.arange(first - shift, last - shift)
        values: I64 = self.ids(sample, place)
        values[(place < 0)] = 0 if bos is None else bos
        values[(place >= length)] = 0 if eos is None else eos
        return values


@dataclass
class Expected:
    """A row by the reference: its ids, where documents begin and end in it, and its segments."""

    ids: I64
    begins: list[int]
    ends: list[int]
    segments: list[tuple[int, int, int]]


def expected_rows(
    source: FakeSource, seq_len: int, epoch: int, /, *, bos: int | None = None, eos: int | None = None, **options: Any
) -> list[Expected]:
    """Return the rows of an epoch by the reference; where they are packed, every segment is a document."""
    view = reference.View(source._lengths.tolist(), source.table, bos is not None, eos is not None)
    given: dict[str, Any] = {"shuffle": True, "lanes": None, "buffer": 64 << 20, "seed": 0} | options
    concat = given.get("packing", "concat") == "concat"
    alone = {name: value for name, value in given.items() if name not in ("packing", "overlong")}
    line = reference.epoch_line(view, epoch=epoch, **alone).line if concat else []
    begins, ends = {(s, a) for s, a, _ in line}, {(s, b) for s, _, b in line}
    found = []
    for segments in reference.epoch_rows(view, seq_len, epoch=epoch, **given):
        at, row = 0, Expected(np.zeros(0, np.int64), [], [], segments)
        for sample, first, last in segments:
            row.begins += [at] if not concat or (sample, first) in begins else []
            at += last - first
            row.ends += [at - 1] if not concat or (sample, last) in ends else []
        row.ids = np.concatenate([row.ids, *(source.segment(segment, bos, eos) for segment in segments)])
        found.append(row)
    return found


def test_fake_tells_the_truth() -> None:
    """Lengths, ranges and the table of spans of the fake agree with each other."""
    source = FakeSource([5, 700_000, 0, 3])
    assert [(samples, lead) for samples, _, lead in source.table] == [(2, 0), (0, 262_144), (2, 175_712)]
    assert sum(row[1] for row in source.table) == source.token_count == 700_008
    assert np.array_equal(source.read_range(0, 4)[2:9], source.read_range(0, 4, skip=2, limit=7))
    source.fail_after = 0
    with pytest.raises(OSError, match="gone"):
        source.read_range(0, 1)
