"""What a stream will do, told before it runs: `StreamingDataset.plan`."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.loader.data_loader import crossing_batches
from tokstore.loader.resumable import Resumable
from tokstore.order.turns import Turns
from tokstore.stream.arguments import integer
from tokstore.stream.collate import Emission
from tokstore.stream.forecast import SourceForecast, batch_bytes, forecast
from tokstore.stream.mixing import MixPlan
from tokstore.stream.plan import Plan
from tokstore.stream.rows import RowReader
from tokstore.stream.slab import Segments
from tokstore.stream.source import Source

__all__ = ["Planned"]

_EXAMINED = 1 << 17


class Planned(Resumable):
    """The part of `StreamingDataset` that looks ahead."""

    _batch_size: int | None
    _ranks: int
    _dtype: np.dtype[Any]
    _pad: int
    _emit: Emission

    @abstractmethod
    def _batches(self, rows: int) -> int:
        """Return the batches that so many rows make."""

    def plan(self, *, workers: int = 0, rows: int = _EXAMINED) -> dict[str, Any]:
        """Simulate an epoch from lengths alone: what it costs, how its rows are filled, how well it is shuffled.

        Args:
            workers: Workers of ``loader(num_workers=)`` on each rank.
            rows: Rows to look at, from the first of the epoch on. Shares and the order are exact if these are all.

        Returns:
            A dict that JSON can hold. Of the stream: ``"packing"``, ``"seq_len"``, ``"seed"``, ``"lanes"``,
            ``"world_size"``, ``"workers"``, ``"global_batch_size"``, ``"lanes_per_process"``, ``"memory_bytes"``
            (what a process takes over ``import torch``, by estimate) and, but for a mixture, ``"batches"`` an epoch.
            Of its source, or below ``"sources"`` of every source of a mixture:

            - ``"samples"``, ``"tokens"`` (with inserted ids) and ``"rows"`` of an epoch.
            - ``"shuffle"``: ``"pool"`` (whole), ``"windows"`` or ``"none"``; ``"windows"`` of an epoch over all lanes,
              ``"window_tokens"`` of one, and ``"shuffled_together"``, the share of the epoch that is mixed at a time.
            - ``"group_rows"``: rows that ``packing="fit"`` fills together, else 1.
            - ``"blocks"`` that hold tokens and ``"block_bytes"``, the bytes they take; ``"decodes"``: how often each
              is decoded an epoch, by all processes together (some are decoded once more, for a first batch or where
              rows reach from one lane into another); ``"bytes_read"``: the bytes that this reads. A pool is decoded
              in its first epoch alone, once by every process. The bytes are None for sources that have no blocks.
            - ``"held_bytes"``: what of ``"memory_bytes"`` are decoded tokens of the source, with their tables.
            - ``"examined_rows"``, and of those ``"filled"``, the share of their places that hold tokens (None without
              `seq_len`), ``"cut_samples"``, the share of the samples that fit a row and are cut all the same, and
              ``"overlong_samples"``, the share of those that are longer than a row. With weights every copy counts as
              a sample of its own, and one that the drawing cuts off (order.md 11.3) as cut; copies longer than a row,
              where rows are whole samples, are those that weights lead to expect.
            - ``"order"``, against a full permutation of the same samples: ``"same_stretch"``, the share of the pairs of
              samples of a global batch that lie within the same 2**18 tokens or so of the view,
              ``"same_stretch_if_permuted"``, ``"effective_samples"`` (one over the design effect: what a batch is worth
              where all samples of a stretch tell the same), ``"step"`` and ``"spread"`` (mean distance in the view
              of samples that follow each other in time, and the other way round; a permutation has 1), and
              ``"rank_correlation"`` of time and position.

        Raises:
            ValueError: `workers` or `rows` is outside its range.

        Example:
            >>> import tempfile, tokstore as ts
            >>> with ts.create(path := tempfile.mkdtemp() + "/corpus", ts.Schema(tokens=ts.Tokens(256))) as w:
            ...     w.extend(tokens=[[1, 2, 3], [4, 5], [6]])
            >>> plan = ts.StreamingDataset(ts.open(path), seq_len=4, batch_size=1).plan()
            >>> plan["rows"], plan["batches"], plan["filled"], plan["shuffle"], plan["decodes"]
            (2, 2, 0.75, 'pool', 1)
        """
        integer("workers", workers, 0, 1 << 10)
        integer("rows", rows, 1, 1 << 40)
        chunk = crossing_batches(self) if workers > 1 else 1
        turns = Turns(self._batch_size or 1, self._ranks, 0, max(1, workers), 0, chunk)
        plan = self._plan
        self._reader(None)  # makes the pools
        facts: dict[str, Any] = {
            "packing": plan.packing,
            "seq_len": plan.seq_len,
            "seed": plan.seed,
            "lanes": plan.lanes,
            "world_size": self._ranks,
            "workers": workers,
            "global_batch_size": self._global_rows,
            "lanes_per_process": turns.lanes_read(plan.lanes),
        }
        found = {
            name: self._forecast(number, source, one, turns, rows)
            for number, (name, source, one) in enumerate(self._apart())
        }
        held = sum(one["held_bytes"] for one in found.values())
        facts["memory_bytes"] = held + batch_bytes(plan, self._dtype.itemsize, len(self._emit.keys))
        if isinstance(plan, MixPlan):
            return facts | {"sources": {name: dict(one) for name, one in found.items()}}
        return facts | {"batches": self._batches(plan.rows)} | found[""]

    def _forecast(self, number: int, source: Source, plan: Plan, turns: Turns, rows: int) -> SourceForecast:
        """Simulate an epoch of one source."""

        pool = self._pools.get(number)

        def segments(wanted: NDArray[np.int64]) -> Segments:
            # A new reader each time: windows that were planned are let go.
            threads: Any = None  # nothing is decoded
            reader = RowReader(
                source, plan, pool, threads, dtype=self._dtype, pad=self._pad, documents=True,
                following=False,
            )  # fmt: skip
            return reader.segments(wanted)

        held, width = 0 if pool is None else pool.held, self._dtype.itemsize
        return forecast(source, plan, segments, turns, pooled=held, width=width, most=rows)
