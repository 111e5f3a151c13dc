"""One pass over a stream in one process: slabs -> batches of tensors, each with its place in the row sequence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import get_worker_info

from tokstore.loader.batch import Batch
from tokstore.loader.data_loader import Chunk, as_tensor, first_row
from tokstore.loader.sending import finish_sending
from tokstore.loader.transforms import joined, transformed
from tokstore.order.turns import Turns
from tokstore.stream.batches import BatchIterator, Rows
from tokstore.stream.collate import Split, collate
from tokstore.stream.slab import Slab

__all__ = ["Pass"]


class Pass(Iterator[Any]):
    """One pass over a `StreamingDataset`, or what one worker has of it."""

    def __init__(self, data: Any, turns: Turns, start: int, end: int | None, batches: int | None, done: int) -> None:
        self._data, self._turns, self._first, self._end = data, turns, start, end
        self._done = done
        if get_worker_info() is not None:
            finish_sending()
        self._aligned = data._aligned()
        self._take = data._source.take if data._skipped is None else data._skipped.taking(data._source)
        self._slab: Slab | None = None
        self._parts: dict[str, Split | list[Any]] = {}
        self.closed = False
        self._rows = BatchIterator(
            data._reader,
            data._plan,
            turns,
            start=start,
            end=end,
            batches=batches,
            done=done,
            threads=data._threads,
            keys=data._emit.wide_keys,
        )

    def state(self) -> dict[str, int]:
        """Return where this worker is."""
        return {"rows": self._first, "batches": self._done, "workers": self._turns.workers}

    def __next__(self) -> Any:
        data, turns = self._data, self._turns
        try:
            rows: Rows = next(self._rows)
        except BaseException:
            self.closed = True
            self._parts.clear()
            raise
        if rows.slab is not self._slab:
            self._slab = rows.slab
            self._parts = collate(rows.slab, turns.batch_rows, data._emit, data._pad, self._take, self._aligned)
            self._rows.read_ahead()
        skipped = data._skipped
        if skipped is not None:
            skipped.tokens += rows.slab.count_lost(rows.start, rows.stop)
            skipped.warn(skipped.news())
        number = rows.start // turns.batch_rows
        tensors = {name: as_tensor(one, number) for name, one in self._parts.items()}
        own, after = self._place(rows.batch)
        self._done += 1
        if turns.workers == 1:
            data._progress = after
            if self._end is None:
                data._next_row = after
        return self._handed_out(tensors, own, after, rows.batch)

    def _handed_out(self, tensors: dict[str, Any], rows: range, after: int, number: int) -> Any:
        """Return the batch, or the row, that is handed out."""
        data = self._data
        made: Any = first_row(tensors) if data._batch_size is None else Batch(tensors, rows, after)
        if data._transform is None:
            return made
        return transformed(data._transform, made, rows, after, data._plan.seed, number)

    def _place(self, batch: int) -> tuple[range, int]:
        """Return the rows of a batch of this rank, and the row after the global batch."""
        turns = self._turns
        first = self._first + batch * turns.global_rows
        after = first + turns.global_rows
        if self._end is not None and after > self._end:
            after = self._end
        return range(first + turns.rank, after, turns.ranks), after

    def chunks(self) -> Iterator[Chunk]:
        """Yield all batches of a slab at once."""
        data, turns = self._data, self._turns
        data._tally.news()
        try:
            while True:
                try:
                    slab, numbers = self._rows.next_slab()
                except StopIteration:
                    return
                parts = collate(slab, turns.batch_rows, data._emit, data._pad, self._take, self._aligned)
                self._rows.read_ahead()
                self._done += len(numbers)
                places = [self._place(number) for number in numbers]
                plain, skipped = data._batch_size is None, data._skipped
                # Counted where the batches are handed out.
                lost = None if skipped is None else (slab.count_lost(0, len(slab.used)), skipped.news())
                drawn = data._tally.news()
                if data._transform is None:
                    yield Chunk(parts, places, plain, lost, drawn)
                    continue
                batches = []
                for at, (number, (rows, after)) in enumerate(zip(numbers, places, strict=True)):
                    tensors = {name: as_tensor(one, at) for name, one in parts.items()}
                    batches.append(self._handed_out(tensors, rows, after, number))
                yield Chunk(joined(batches, plain=plain), places, plain, lost, drawn)
        finally:
            self.closed = True

    def close(self) -> None:
        """End the pass and its threads."""
        self.closed = True
        self._rows.close()
