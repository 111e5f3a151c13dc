"""`DataLoader`s over a stream: several batches per crossing of processes, and a state behind the last batch."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from tokstore.loader.batch import Batch
from tokstore.losses import LostBlock
from tokstore.stream.collate import Split

__all__ = ["Chunk", "StreamLoader", "as_tensor", "crossing_batches", "first_row", "make_loader"]

_CROSSING_VALUES = 1 << 21
"""Values that cross between processes in one go: each crossing costs about 600 µs a tensor up to 16 Ki values."""
_MOST_BATCHES = 256


Stream = Any
"""A `StreamingDataset`, whose module imports this one."""


class Chunk:
    """Several batches as one object: a tensor per name, in the narrowest dtype that holds it.

    What crosses between processes is copied into shared memory page by page, which costs more than making it; two
    bytes an id instead of eight make that four times cheaper, and widening them costs the receiver little.

    Args:
        parts: What the batches have by name.
        places: The rows of every batch, and the row after it.
        plain: Batches are single rows, as plain dicts.
        lost: How many of their tokens are lost, and which blocks were lost since the last chunk.
    """

    def __init__(
        self,
        parts: Mapping[str, Split | list[Any]],
        places: list[tuple[range, int]],
        plain: bool,
        lost: tuple[int, list[LostBlock]] | None = None,
    ) -> None:
        self._places, self._plain, self.lost = places, plain, lost
        self._columns: dict[str, _Narrow | list[Any]] = {
            name: _Narrow(one) if isinstance(one, Split) else one for name, one in parts.items()
        }

    def batches(self) -> Iterator[Any]:
        """Yield the batches."""
        columns = {name: one.split() if isinstance(one, _Narrow) else one for name, one in self._columns.items()}
        for number, (rows, next_row) in enumerate(self._places):
            tensors = {name: as_tensor(one, number) for name, one in columns.items()}
            yield first_row(tensors) if self._plain else Batch(tensors, rows, next_row)


class _Narrow:
    """An array as a tensor that crosses between processes."""

    def __init__(self, split: Split) -> None:
        array = split.array
        if array.dtype == np.int64 and array.size:
            least, most = int(array.min()), int(array.max())
            if least >= 0 and most < 1 << 16:
                array = array.astype(np.uint16)
            elif least >= -(1 << 31) and most < 1 << 31:
                array = array.astype(np.int32)
        self._values = torch.from_numpy(np.ascontiguousarray(array))
        self._edges, self._dtype = split.edges, split.dtype

    def split(self) -> Split:
        """Return what it was."""
        return Split(self._values.numpy(), self._edges, self._dtype)


def as_tensor(made: Split | list[Any], number: int) -> Any:
    """Return what one batch has: a tensor where it is an array."""
    one = made.batch(number) if isinstance(made, Split) else made[number]
    return torch.from_numpy(one) if isinstance(one, np.ndarray) else one


def first_row(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the only row of a batch as a plain dict."""
    return {name: one[0] if isinstance(one, (torch.Tensor, list)) else one for name, one in tensors.items()}


class _Chunked(IterableDataset[Any]):
    """A stream whose workers send chunks."""

    def __init__(self, data: Stream, batches: int) -> None:
        self.data, self.batches = data, batches

    def __iter__(self) -> Iterator[Chunk]:
        chunks: Iterator[Chunk] = self.data._start(chunk=self.batches).chunks()
        return chunks


class Running:
    """A pass whose batches come from workers. It has no state of its own, because batches wait in them."""

    closed = False

    def state(self) -> dict[str, int]:
        """Refuse to tell."""
        raise RuntimeError("the batches of this pass come from workers: ask loader.state_dict(), or state_dict(batch)")


class StreamLoader(DataLoader[Any]):
    """A sized `DataLoader` whose state is that behind the last batch that it handed out.

    It shards by itself: launchers that would do so again, such as Accelerate, are told that nothing is left to do. To
    whoever makes another `DataLoader` of its parts, as Accelerate's ``skip_first_batches`` does, its dataset is the
    stream, which gives batches; chunks come from a loader inside.
    """

    stream: Stream
    pinned: bool
    chunks: DataLoader[Any] | None
    _is_accelerate_prepared = True
    _workers_go_on_at: int | None = None

    def __iter__(self) -> Any:
        return self._passing()

    def _passing(self) -> Iterator[Any]:
        stream = self.stream
        if self.chunks is None:
            # What `DataLoader` would do here costs as much as a batch itself.
            for batch in stream._start(chunk=1):
                yield batch.pin_memory() if self.pinned and isinstance(batch, Batch) else batch
            return
        stream._settle()
        start, end, _ = stream._pass()
        if self._workers_go_on_at != stream._next_row:
            # Persistent workers are somewhere else: a state was loaded, or an epoch was set.
            self.chunks._iterator = None
        iterator = iter(self.chunks)
        running = Running()
        stream._live = weakref.ref(running)
        stream._loaded = False
        self._workers_go_on_at = end
        if end is not None:
            stream._next_row = end
        for chunk in iterator:
            if chunk.lost is not None and stream._skipped is not None:
                stream._skipped.tokens += chunk.lost[0]
                for block in chunk.lost[1]:
                    stream._skipped.add(block)
                stream._skipped.warn(stream._skipped.news())
            for batch in chunk.batches():
                start += stream._global_rows
                stream._progress = start if end is None else min(start, end)
                if end is None:
                    stream._next_row = start
                yield batch.pin_memory() if self.pinned and isinstance(batch, Batch) else batch
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


def crossing_batches(data: Stream) -> int:
    """Return how many batches of a stream a worker of `StreamingDataset.loader` sends in one go."""
    plan = data._plan
    values = int((data._batch_size or 1) * (plan.seq_len or max(1, plan.values // plan.rows)))
    return max(1, min(_MOST_BATCHES, _CROSSING_VALUES // values))


def make_loader(data: Any, workers: int, pin_memory: bool, persistent_workers: bool, context: Any) -> StreamLoader:
    """Return the loader of a stream; see `StreamingDataset.loader`."""
    chunk = crossing_batches(data)
    sources = getattr(data._source, "sources", [data._source])
    if workers and context is None and not all(one.can_fork for one in sources):
        context = "spawn"
    options: dict[str, Any] = {
        "batch_size": None,
        "num_workers": workers,
        "persistent_workers": persistent_workers,
        "multiprocessing_context": context,
        "collate_fn": _as_it_is,
    }
    made = StreamLoader(data, **options)
    made.stream, made.pinned = data, pin_memory
    made.chunks = DataLoader(_Chunked(data, chunk), **options) if workers else None
    return made
