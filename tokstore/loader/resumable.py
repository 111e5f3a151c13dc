"""Where a stream is, and how it goes on from there: arithmetic on one number of rows (order.md 7.3)."""

from __future__ import annotations

import warnings
import weakref
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from tokstore.loader.batch import Batch
from tokstore.loader.mixed import MixOptions, adopted
from tokstore.loader.skipping import Skipped
from tokstore.mixture import Mixture
from tokstore.stream.arguments import integer, one_of
from tokstore.stream.forecast import stored_range
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
    @abstractmethod
    def _global_rows(self) -> int:
        """Rows of a global batch."""

    @property
    def _pass_rows(self) -> int | None:
        """Rows of a pass over all ranks; None for no end. A mixture that ends is one pass."""
        if isinstance(self._plan, MixPlan):
            return self._plan.end
        return None if self._epochs is None else self._epochs * self._plan.rows

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _reader(self, threads: Any) -> RowReader | MixReader:
        """Make a reader of rows."""

    def set_epoch(self, epoch: int) -> None:
        """Let the next `iter()` begin with this epoch, unless a state was loaded for it.

        Needed only where a plain `DataLoader` with workers, or torchdata's `StatefulDataLoader`, is iterated again and
        again, because its workers begin as copies of this stream each time (unless they are persistent), and the
        stream here does not hear of what they do; `loader()` does it by itself. So it is after Accelerate's
        ``skip_first_batches`` of a loader with workers. A mixture has no epochs: it always goes on.
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

    @abstractmethod
    def _pass(self) -> tuple[int, int | None, int | None]:
        """Return first row, last row + 1 and batches of the next pass."""

    def _rows_after(self, batches: int) -> int:
        """Return the rows that so many batches hand out; passes end with a batch of their own."""
        size = self._global_rows
        rows = self._pass_rows
        if rows is None:
            return batches * size
        if self._mix is not None:
            return min(batches * size, rows)
        done, left = divmod(batches, max(1, len(self)))
        return done * rows + min(left * size, rows)

    def samples_at(self, *, rows: int | None = None, batches: int | None = None) -> dict[str, Any]:
        """Return which samples make one row, or one global batch (all ranks), without decoding anything.

        Args:
            rows: Number of the row, counted over all epochs.
            batches: Number of the global batch, counted from the very first.

        Returns:
            ``"row"``, ``"offset"`` (first place in the row), ``"length"`` (places, with inserted ids), ``"position"``
            (in the source), ``"sample_id"``, and ``"start"`` and ``"stop"``, between which the tokens of the sample
            are in the piece: int64, one item per piece of a sample; of a mixture also ``"source"``, its number.
            Rows are counted as everywhere: row r of a global batch is that of rank r mod R.

        Example:
            >>> import tempfile, tokstore as ts
            >>> with ts.create(path := tempfile.mkdtemp() + "/corpus", ts.Schema(tokens=ts.Tokens(256))) as w:
            ...     w.extend(tokens=[[1, 2, 3], [4, 5], [6]])
            >>> data = ts.StreamingDataset(ts.open(path), seq_len=4, batch_size=1, shuffle=False)
            >>> found = data.samples_at(batches=1)
            >>> [found[name].tolist() for name in ("row", "position", "start", "stop")]
            [[1, 1], [1, 2], [1, 0], [2, 1]]
        """
        first = self._row_at(rows, batches)
        stop = first + 1 if batches is None else self._rows_after(batches + 1)
        reader = self._reader(None)
        found = reader.segments(np.arange(first, stop))
        ids = self._source.take(found.position, [])["sample_id"]
        told = {"row": found.row + first, "offset": found.offset, "length": found.length, "position": found.position}
        if isinstance(self._source, Joined):
            told["source"], told["position"] = self._source.locate(found.position)
        source = told.get("source", np.zeros(len(found.row), np.int64))
        told["start"], told["stop"] = np.zeros((2, len(found.row)), np.int64)
        for number, (_, one, plan) in enumerate(self._apart()):
            at = np.flatnonzero(source == number)
            begin, end = stored_range(one, plan, told["position"][at], found.first[at], found.length[at])
            told["start"][at], told["stop"][at] = begin, end
        return told | {"sample_id": ids}

    def _apart(self) -> list[tuple[str, Any, Plan]]:
        """Return name, source and plan of every source; one alone has no name."""
        if isinstance(self._plan, MixPlan):
            return list(zip(self._plan.names, self._source.sources, self._plan.plans, strict=True))
        return [("", self._source, self._plan)]

    def progress(self) -> dict[str, int]:
        """Return how far this process has got, over all epochs and ranks: a flat dict for a log.

        ``"epoch"``, ``"rows"`` and ``"tokens"`` (exact at the ends of epochs, else to within a row) are those before
        the next global batch; batches that a `DataLoader` has prefetched do not count with `loader()`. A mixture has
        ``"epochs/name"``, ``"rows/name"`` and ``"tokens/name"`` for every source besides; its epoch is that of the
        source that has been read whole least often. With ``on_corrupt="skip"`` there are ``"lost_tokens"``, handed out
        by this rank as padding, and ``"lost_blocks"``, both since this process began; a plain `DataLoader` with workers
        counts in them, where they cannot be asked.

        A source with weights has ``"padded"`` and ``"cut"`` besides, in a mixture ``"padded/name"`` and ``"cut/name"``:
        what drawings had too little and too much in the windows that were made for this rank since this process began,
        in tokens, or in rows where rows are whole samples; ``loader(num_workers=)`` counts with any number of workers.
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
            TypeError: This is no dict, or its row is no integer.
            ValueError: The state belongs to another order; the message says what differs. Or it is none of a stream.
            RuntimeError: An iterator of this stream is still running.
        """
        if self._live is not None and (stream := self._live()) is not None and not stream.closed:
            raise RuntimeError("load_state_dict while an iterator is running: close it, or load before iter()")
        _check_kind(state, accept, isinstance(self._plan, MixPlan))
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
            if worker is not None:
                self._warn_at_the_end(worker.num_workers, worker.id)
        self._loaded = True

    def _warn_at_the_end(self, workers: int, number: int) -> None:
        """Warn in a worker when nothing is left of the pass whose state it has, as the next one may be made anew."""
        _, end, batches = self._pass()
        if end is None or not batches or (batches - 1) % workers != number:
            return
        if self._skip >= len(range(number, batches, workers)):
            warnings.warn(
                f"this state is behind the last batch of a pass, so that a pass of no batch comes first; the next one "
                f"is made by new workers, unless they are persistent, and those begin where the stream of the main "
                f"process is: call set_epoch({end // self._plan.rows}) there before it, or use data.loader()",
                stacklevel=3,
            )


def _check_kind(state: Mapping[str, Any], accept: Sequence[str], of_mixture: bool) -> None:
    """Refuse what is no state of a stream of this kind."""
    if isinstance(accept, str):
        raise TypeError(f"accept is a sequence of names, such as [{accept!r}]")
    if not isinstance(state, Mapping):
        raise TypeError(f"a state is a dict that state_dict or state_at gave, not {type(state).__name__}")
    if "order_version" not in state or "rows" not in state:
        names = ", ".join(map(repr, list(state)[:3])) or "nothing"
        raise ValueError(f"this is no state of a stream, which has 'order_version' and 'rows': it has {names}")
    if ("sources" in state) != of_mixture:
        theirs, mine = ("one source", "is of a mixture") if of_mixture else ("sources of a mixture", "has one source")
        raise ValueError(f"the state has {theirs}, and this stream {mine}")
