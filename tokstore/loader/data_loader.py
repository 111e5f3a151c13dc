"""`DataLoader`s over a stream: several batches per crossing of processes, and a state behind the last batch."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from tokstore.loader.batch import Batch

__all__ = ["StreamLoader", "make_loader"]

_CROSSING_VALUES = 1 << 18
"""Values that cross between processes in one go: each crossing costs about 600 µs a tensor up to 16 Ki values."""
_MOST_BATCHES = 64

Stream = Any
"""A `StreamingDataset`, whose module imports this one."""


class Chunk:
    """Several batches as one object; tensors of one shape are one tensor."""

    def __init__(self, batches: list[Any]) -> None:
        self._plain = not isinstance(batches[0], Batch)
        self._rows = [] if self._plain else [(batch.rows, batch.next_row) for batch in batches]
        self._count = len(batches)
        self._columns: dict[str, Any] = {}
        for name in batches[0]:
            items = [batch[name] for batch in batches]
            stacked = torch.is_tensor(items[0]) and len({one.shape for one in items}) == 1
            self._columns[name] = torch.stack(items) if stacked else items

    def batches(self) -> list[Any]:
        """Return the batches."""
        columns = {name: list(one) for name, one in self._columns.items()}
        found = [{name: one[i] for name, one in columns.items()} for i in range(self._count)]
        return found if self._plain else [Batch(one, *rows) for one, rows in zip(found, self._rows, strict=True)]

    def pin_memory(self) -> Chunk:
        """Pin every tensor: what `DataLoader` calls."""

        def pinned(one: Any) -> Any:
            return one.pin_memory() if torch.is_tensor(one) else one

        self._columns = {
            name: [pinned(item) for item in one] if isinstance(one, list) else pinned(one)
            for name, one in self._columns.items()
        }
        return self


class _Chunked(IterableDataset[Any]):
    """A stream whose workers send chunks."""

    def __init__(self, data: Stream, batches: int) -> None:
        self.data, self.batches = data, batches

    def __iter__(self) -> Iterator[Chunk]:
        waiting: list[Any] = []
        stream = self.data._start(chunk=self.batches)
        for batch in stream:
            waiting.append(batch)
            if len(waiting) == self.batches:
                yield Chunk(waiting)
                waiting = []
        if waiting:
            yield Chunk(waiting)


class Running:
    """A pass whose batches come from workers. It has no state of its own, because batches wait in them."""

    closed = False

    def state(self) -> dict[str, int]:
        """Refuse to tell."""
        raise RuntimeError("the batches of this pass come from workers: ask loader.state_dict(), or state_dict(batch)")


class StreamLoader(DataLoader[Any]):
    """A sized `DataLoader` whose state is that behind the last batch that it handed out.

    It shards by itself: launchers that would do so again, such as Accelerate, are told that nothing is left to do.
    """

    stream: Stream
    _is_accelerate_prepared = True
    _workers_go_on_at: int | None = None

    def __iter__(self) -> Any:
        return self._passing()

    def _passing(self) -> Iterator[Any]:
        stream = self.stream
        if not self.num_workers:
            # What `DataLoader` would do here costs as much as a batch itself.
            for batch in stream._start(chunk=1):
                yield batch.pin_memory() if self.pin_memory and isinstance(batch, Batch) else batch
            return
        stream._settle()
        start, end, _ = stream._pass()
        if self._workers_go_on_at != stream._next_row:
            self._iterator = None  # persistent workers are somewhere else: a state was loaded, or an epoch was set
        iterator = super().__iter__()
        running = Running()
        stream._live = weakref.ref(running)
        stream._loaded = False
        self._workers_go_on_at = end
        if end is not None:
            stream._next_row = end
        for chunk in iterator:
            for batch in chunk.batches():
                start += stream._global_rows
                stream._progress = start if end is None else min(start, end)
                if end is None:
                    stream._next_row = start
                yield batch
        running.closed = True

    def __len__(self) -> int:
        return len(self.stream)

    def state_dict(self) -> dict[str, int | str]:
        """Return the state behind the last batch that was handed out."""
        state: dict[str, int | str] = self.stream.state_at(rows=self.stream._progress)
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on behind a state with the next pass; see `StreamingDataset.load_state_dict`."""
        self.stream.load_state_dict(state)
        self.stream._settle()


def _as_it_is(batch: Any) -> Any:
    """Return a batch; the default would copy its dict."""
    return batch


def make_loader(data: Stream, workers: int, pin_memory: bool, persistent_workers: bool, context: Any) -> StreamLoader:
    """Return the loader of a stream; see `StreamingDataset.loader`."""
    plan = data._plan
    values = (data._batch_size or 1) * (plan.seq_len or max(1, plan.values // plan.rows))
    chunk = max(1, min(_MOST_BATCHES, _CROSSING_VALUES // values))
    made = StreamLoader(
        _Chunked(data, chunk) if workers else data,
        batch_size=None,
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=persistent_workers,
        multiprocessing_context=context,
        collate_fn=_as_it_is,
    )
    made.stream = data
    return made
