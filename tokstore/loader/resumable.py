"""Where a stream is, and how it goes on from there: arithmetic on one number of rows (order.md 7.3)."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from tokstore.loader.batch import Batch
from tokstore.loader.mixed import MixOptions, adopted
from tokstore.loader.skipping import Skipped
from tokstore.mixture import Mixture
from tokstore.stream.arguments import integer, one_of
from tokstore.stream.lines import Pool
from tokstore.stream.mixing import Joined, MixPlan, MixReader
from tokstore.stream.plan import Plan
from tokstore.stream.rows import RowReader
from tokstore.stream.tally import Tally

__all__ = ["Resumable"]


class Resumable(IterableDataset[Any]):
    """The part of `StreamingDataset` that knows where it is."""

    _source: Any
    _plan: Plan | MixPlan
    _mix: tuple[Mixture, MixOptions] | None
    _pools: dict[int, Pool]
    _tally: Tally
    _epochs: int | None
    _next_row: int
    _progress: int
    _skip: int
    _loaded: bool
    _live: weakref.ref[Any] | None
    _skipped: Skipped | None

    @property
    def _global_rows(self) -> int:
        """Rows of a global batch."""
        raise NotImplementedError

    def __len__(self) -> int:
        raise NotImplementedError

    def _reader(self, threads: Any) -> RowReader | MixReader:
        """Make a reader of rows."""
        raise NotImplementedError

    def set_epoch(self, epoch: int) -> None:
        """Let the next `iter()` begin with this epoch, unless a state was loaded for it.

        Needed only where a plain `DataLoader` with a worker is iterated again and again, because its worker begins as
        a copy each time; `loader()` does it by itself. A mixture has no epochs: it always goes on.
        """
        integer("epoch", epoch, 0, 1 << 62)
        if not self._loaded and self._mix is None:
            self._next_row = self._progress = epoch * self._plan.rows

    def state_dict(self, batch: Batch | None = None) -> dict[str, int | str]:
        """Return the state behind a batch: plain integers and strings.

        Args:
            batch: The batch after which to go on. Without it the iterator that this process runs answers, in a worker
                of a `DataLoader` too, so that torchdata's `StatefulDataLoader` can ask. From such a state at the end
                of a pass comes an empty pass first.

        Raises:
            TypeError: This is no `Batch`; for single rows use `state_at`.
            RuntimeError: No batch is given, and no iterator runs in this process: batches may wait in a worker.
        """
        if batch is None:
            stream = None if self._live is None else self._live()
            if stream is None:
                raise RuntimeError("state_dict needs the last batch, state_dict(batch): others may wait already")
            where: dict[str, int] = stream.state()
            return self._identity() | where
        if not isinstance(batch, Batch):
            raise TypeError(
                f"state_dict takes a Batch of this stream, not {type(batch).__name__}; or use state_at(rows=)"
            )
        if batch.next_row is None:
            raise ValueError("this batch was made anew and lost its place; ask loader.state_dict(), or use state_at")
        return self.state_at(rows=batch.next_row)

    def state_at(self, *, rows: int | None = None, batches: int | None = None) -> dict[str, int | str]:
        """Return the state after so many rows, or after so many global batches, counted from the very first.

        Raises:
            ValueError: Not exactly one of the two is given, or it is negative.
        """
        return self._identity() | {"rows": self._row_at(rows, batches)}

    def _row_at(self, rows: int | None, batches: int | None) -> int:
        """Return the row that is told by itself or by a number of batches."""
        if (rows is None) == (batches is None):
            raise ValueError("give either rows or batches")
        if batches is not None:
            rows = self._rows_after(integer("batches", batches, 0, 1 << 62))
        return integer("rows", rows, 0, 1 << 62)

    def _rows_after(self, batches: int) -> int:
        """Return the rows that so many batches hand out; passes end with a batch of their own."""
        size = self._global_rows
        if self._epochs is None:
            return batches * size
        done, left = divmod(batches, max(1, len(self)))
        rows = self._epochs * self._plan.rows
        return done * rows + min(left * size, rows)

    def samples_at(self, *, rows: int | None = None, batches: int | None = None) -> dict[str, Any]:
        """Return which samples make one row, or one global batch (all ranks), without decoding anything.

        Args:
            rows: Number of the row, counted over all epochs.
            batches: Number of the global batch, counted from the very first.

        Returns:
            ``"row"``, ``"offset"`` (first place in the row), ``"length"``, ``"position"`` (in the source) and
            ``"sample_id"``: int64, one item per piece of a sample; of a mixture also ``"source"``, its number.
        """
        first = self._row_at(rows, batches)
        stop = first + 1 if batches is None else self._rows_after(batches + 1)
        reader = self._reader(None)
        found = reader.segments(np.arange(first, stop))
        ids = self._source.take(found.position, [])["sample_id"]
        told = {"row": found.row + first, "offset": found.offset, "length": found.length, "position": found.position}
        if isinstance(self._source, Joined):
            told["source"], told["position"] = self._source.locate(found.position)
        return told | {"sample_id": ids}

    def progress(self) -> dict[str, int]:
        """Return how far this process has got, over all epochs and ranks: a flat dict for a log.

        ``"epoch"``, ``"rows"`` and ``"tokens"`` (exact at the ends of epochs, else to within a row) are those before
        the next global batch; batches that a `DataLoader` has prefetched do not count with `loader()`. A mixture has
        ``"epochs/name"``, ``"rows/name"`` and ``"tokens/name"`` for every source besides; its epoch is that of the
        source that has been read whole least often. With ``on_corrupt="skip"`` there are ``"lost_tokens"``, handed out
        by this rank as padding, and ``"lost_blocks"``, both since this process began; a plain `DataLoader` with workers
        counts in them, where they cannot be asked.

        A source with weights has ``"padded"`` and ``"cut"`` besides, in a mixture ``"padded/name"`` and ``"cut/name"``:
        what drawings had too little and too much in the windows that this process itself has made, in tokens, or in
        rows where rows are whole samples.
        """
        lost = {}
        if self._skipped is not None:
            lost = {"lost_tokens": self._skipped.tokens, "lost_blocks": self._skipped.blocks}
        return self._progress_of(self._progress) | lost

    def _progress_of(self, rows: int) -> dict[str, int]:
        """Return how far the stream is before a row."""
        if isinstance(self._plan, MixPlan):
            own = self._plan.progress(rows)
            counts = {kind: [n for key, n in own.items() if key.startswith(kind)] for kind in ("epochs/", "tokens/")}
            told = {"epoch": min(counts["epochs/"]), "rows": rows, "tokens": sum(counts["tokens/"])} | own
            for number, (name, plan) in enumerate(zip(self._plan.names, self._plan.plans, strict=True)):
                if plan.is_weighted:
                    told[f"padded/{name}"], told[f"cut/{name}"] = self._tally.of(number)
            return told
        epoch, row = divmod(rows, self._plan.rows)
        tokens = epoch * self._plan.values + self._plan.values * row // self._plan.rows
        found = {"epoch": epoch, "rows": rows, "tokens": tokens}
        if self._plan.is_weighted:
            found["padded"], found["cut"] = self._tally.of(0)
        return found

    def _identity(self) -> dict[str, int | str]:
        """Return what the order depends on."""
        if isinstance(self._plan, MixPlan):
            return self._plan.identity([source.fingerprint for source in self._source.sources])
        return {"source": self._source.fingerprint} | self._plan.identity()

    def load_state_dict(self, state: Mapping[str, Any], *, accept: Sequence[str] = ()) -> None:
        """Go on behind a state with the next `iter()`.

        A mixture may have other stages from the row of the state on. Shares change without loss or repetition with
        the old ``shares=`` and a new stage, or with new ``shares=`` and ``accept=["stages"]``, which then hold from
        the next multiple of the lanes on. Windows are those of the state, whatever the shares and `buffer` are.

        Args:
            state: What `state_dict` or `state_at` gave, in any process.
            accept: Names of what may differ: the rows that were handed out stay so many, and those that follow are of
                the new order.

        Raises:
            ValueError: The state belongs to another order; the message says what differs.
            RuntimeError: An iterator of this stream is still running.
        """
        if self._live is not None and (stream := self._live()) is not None and not stream.closed:
            raise RuntimeError("load_state_dict while an iterator is running: close it, or load before iter()")
        mine, plan = self._identity(), self._plan
        for name in accept:
            one_of("a name in accept", name, tuple(mine))
        if isinstance(plan, MixPlan) and self._mix is not None:
            found = adopted(plan, *self._mix, state, mine, changed="stages" in accept)
            if found is not None:
                plan = found
                mine = plan.identity([source.fingerprint for source in self._source.sources])
                del mine["stages"]
        for name, value in mine.items():
            if state.get(name) != value and name not in accept:
                hint = "; windows follow from buffer and lanes" if name in ("window", "pooled") else ""
                hint = hint or ("; open that store at that version" if name == "source" else "")
                raise ValueError(
                    f"the state has {name} {state.get(name)!r}, this stream {value!r}: another order{hint}; "
                    f"accept=[{name!r}] goes on anyway"
                )
        if plan is not self._plan:
            self._plan, self._pools = plan, {}
        self._next_row = self._progress = integer("rows of the state", state.get("rows"), 0, 1 << 62)
        self._skip = 0
        if "batches" in state:
            worker = get_worker_info()
            workers = 1 if worker is None else worker.num_workers
            if state.get("workers") != workers:
                raise ValueError(f"the state is of one of {state.get('workers')} workers, and here are {workers}")
            self._skip = integer("batches of the state", state["batches"], 0, 1 << 62)
        self._loaded = True
