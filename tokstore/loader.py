"""`StreamingDataset`: rows of tokens as PyTorch tensors, in an order that is a pure function of the seed and the epoch.

The order is that of order.md; this module adds what needs torch: tensors, batches, `DataLoader`. Arrays are made
ahead on threads (`tokstore.stream`), and what the consumer's thread does per batch is a few numpy calls over the
whole batch. This first form runs in one process, with rows packed by `concat`.
"""

from __future__ import annotations

import copy
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from torch.utils.data._utils.collate import default_collate_fn_map

from tokstore.order.lanes import MAX_LANES
from tokstore.stream.arguments import KEYS, emitted, integer, one_of, special
from tokstore.stream.batches import BatchIterator, Rows, collate
from tokstore.stream.lines import Pool
from tokstore.stream.plan import Source, make_plan
from tokstore.stream.rows import RowReader
from tokstore.stream.windows import compact_dtype

__all__ = ["Batch", "StreamingDataset"]

_THREADS = 4


class Batch(dict[str, torch.Tensor]):
    """Tensors of one batch by name. Collating it again is refused, because that would add a dimension unseen.

    Args:
        tensors: Each int64 [rows, seq_len].
        rows: The numbers of its rows, counted over all epochs; rows that only fill up the last batch are not in it.

    Example:
        >>> Batch({"input_ids": torch.zeros(2, 3, dtype=torch.int64)}, rows=range(4, 6))
        Batch(input_ids=int64[2, 3], rows=4…5)
    """

    rows: range

    def __init__(self, tensors: Mapping[str, torch.Tensor], rows: range) -> None:
        super().__init__(tensors)
        self.rows = rows

    def __repr__(self) -> str:
        shapes = [f"{name}={str(t.dtype).removeprefix('torch.')}{list(t.shape)}" for name, t in self.items()]
        return f"Batch({', '.join(shapes)}, rows={self.rows.start}…{self.rows.stop - 1})"

    def to(self, *args: Any, **options: Any) -> Batch:
        """Return the batch with every tensor moved or cast as `torch.Tensor.to` does."""
        return Batch({name: tensor.to(*args, **options) for name, tensor in self.items()}, self.rows)


def _refuse(batch: Sequence[Any], *, collate_fn_map: Any = None) -> Any:
    """Refuse to collate batches."""
    raise ValueError(
        f"{len(batch)} batches of StreamingDataset came to a collate function, which would stack them; write "
        "DataLoader(data, batch_size=None) or data.loader(), or make the dataset with batch_size=None"
    )


default_collate_fn_map[Batch] = _refuse


class StreamingDataset(IterableDataset[Any]):
    """Stream a store or view as rows of `seq_len` tokens.

    Samples are laid end to end in shuffled order and cut every `seq_len` tokens (`concat`). Every token comes exactly
    once an epoch. The order depends on the source, `seed`, the epoch, `seq_len`, `shuffle`, `lanes`, `buffer` and the
    inserted ids, and on nothing
    else: not on batch size, threads or what was read before.

    One `iter()` gives `epochs` epochs, and the next one goes on with the epochs after them. An endless stream goes on
    after the last row that was handed out.

    Args:
        source: A store or view.
        seq_len: Tokens per row, at least 2.
        packing: ``"concat"``, the one that there is so far.
        batch_size: Rows per `Batch`. None gives single rows as plain dicts, for ``DataLoader(data, batch_size=8)``.
        shuffle: Shuffle samples, differently in every epoch; else the order of the view.
        seed: From 0 to 2**64 - 1.
        epochs: Epochs per `iter()`; None for no end.
        drop_last: Leave out the last batch of an `iter()` if it is not full. Else it is filled up with padding rows.
        labels: ``"same"``: the label of a place is its own id (Hugging Face models shift inside); ``"next"``: it is
            the id that follows, also across the end of a row; None: no labels. Padding has the label -100.
        documents: ``"separate"``: nothing is learned across the end of a sample, so that label is -100, and position
            ids start again at each sample; ``"joined"``: a row is one run of text.
        bos_id: Id inserted before every sample; ``"schema"`` takes the one of the column, None inserts nothing.
        eos_id: Id inserted after every sample, likewise.
        emit: Which of ``"input_ids"``, ``"labels"``, ``"position_ids"`` a batch has. What is not asked for costs
            nothing.
        lanes: Number of lanes (order.md 5.1), 1 to 65,536; by default from the size of the source. Part of the order.
        buffer: Bytes of decoded tokens held, 2 a token (4 with vocabularies above 65,536); part of the order, because
            a source that fits is shuffled whole and a larger one by windows.
        threads: Decoding threads; by default as many as processors, at most 4.

    Raises:
        ValueError: An argument is outside its range, the view is empty, or several processes would read the same rows.
        TypeError: An argument has the wrong type.

    Example:
        >>> import tempfile, tokstore as ts
        >>> with ts.create(path := tempfile.mkdtemp() + "/corpus", ts.Schema(tokens=ts.Tokens(256, eos_id=0))) as w:
        ...     w.extend(tokens=[[1, 2, 3], [4, 5]])
        >>> data = ts.StreamingDataset(ts.open(path), seq_len=4, batch_size=2, shuffle=False)
        >>> next(iter(data))["input_ids"].tolist()
        [[1, 2, 3, 0], [4, 5, 0, 0]]
    """

    def __init__(
        self,
        source: Source,
        *,
        seq_len: int,
        packing: Literal["concat"] = "concat",
        batch_size: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        epochs: int | None = 1,
        drop_last: bool = False,
        labels: Literal["same", "next"] | None = "same",
        documents: Literal["separate", "joined"] = "separate",
        bos_id: int | Literal["schema"] | None = "schema",
        eos_id: int | Literal["schema"] | None = "schema",
        emit: Sequence[str] = KEYS,
        lanes: int | None = None,
        buffer: int = 64 << 20,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        if not hasattr(source, "read_range"):
            raise TypeError(f"source is a store or view, such as ts.open('corpus'), not {type(source).__name__}")
        one_of("packing", packing, ("concat",))
        one_of("labels", labels, ("same", "next", None))
        one_of("documents", documents, ("separate", "joined"))
        integer("seq_len", seq_len, 2, 1 << 30)
        integer("seed", seed, 0, (1 << 64) - 1)
        integer("buffer", buffer, 1, 1 << 50)
        for name, value, most in (("batch_size", batch_size, 1 << 24), ("epochs", epochs, 1 << 32)):
            if value is not None:
                integer(name, value, 1, most)
        if lanes is not None:
            integer("lanes", lanes, 1, MAX_LANES)
            if not shuffle:
                raise ValueError(
                    "lanes is for shuffled streams; shuffle=False reads the view in one lane (order.md 5.1)"
                )
        if drop_last and batch_size is None:
            raise ValueError("drop_last needs a batch_size; rows alone are never dropped")
        self._emit = emitted(emit, labels)
        self._threads = min(_THREADS, os.cpu_count() or 1) if threads is None else integer("threads", threads, 1, 256)
        _one_process()
        kind = source.schema[source.token_column]
        vocab_size = int(kind.vocab_size)
        bos = special("bos_id", bos_id, kind.bos_id, vocab_size)
        eos = special("eos_id", eos_id, kind.eos_id, vocab_size)
        pads = (kind.pad_id, eos, kind.eos_id, 0)
        self._pad = next(int(pad) for pad in pads if pad is not None)
        self._dtype = compact_dtype(vocab_size)
        # A store follows its own commits; a copy stays at its version, and shares the caches.
        self._source = source = copy.copy(source)
        self._labels, self._separate = labels, documents == "separate"
        self._batch_size, self._epochs, self._drop_last = batch_size, epochs, drop_last
        self._plan = make_plan(
            source, seq_len=seq_len, shuffle=bool(shuffle), seed=seed, lanes=lanes, buffer=buffer, bos=bos, eos=eos
        )
        self._pool: Pool | None = None
        self._next_row = 0
        self._loaded = False
        self._live: weakref.ref[_Stream] | None = None

    @property
    def rows_per_epoch(self) -> int:
        """Rows of an epoch, the same in every epoch."""
        return self._plan.rows

    def __repr__(self) -> str:
        plan = self._plan
        how = ("pool" if plan.pooled else f"windows of {plan.window:,} tokens") if plan.shuffle else "view order"
        return (
            f"StreamingDataset({plan.values:,} tokens in {plan.rows:,} rows of {plan.seq_len:,} an epoch, "
            f"{plan.lanes} lanes, {how}, seed {plan.seed})"
        )

    def __len__(self) -> int:
        if self._epochs is None:
            raise TypeError("a stream with epochs=None has no length")
        return self._batches(self._epochs * self._plan.rows)

    def _batches(self, rows: int) -> int:
        """Return the batches that so many rows make."""
        size = self._batch_size or 1
        return rows // size if self._drop_last else -(-rows // size)

    def __iter__(self) -> Iterator[Any]:
        """Start the next pass. Its iterator has `close()`; its threads also end when it is exhausted or forgotten."""
        _one_process()
        worker = get_worker_info()
        if worker is not None and worker.num_workers > 1:
            raise ValueError(
                f"num_workers={worker.num_workers}: every worker would read the same rows; use num_workers 0 or 1, "
                "decoding has its own threads"
            )
        start, end, batches = self._pass()
        self._loaded = False
        stream = _Stream(self, start, end, batches)
        if end is not None:
            self._next_row = end
        self._live = weakref.ref(stream)
        return stream

    def _pass(self) -> tuple[int, int | None, int | None]:
        """Return first row, last row + 1 and batches of the next pass."""
        start = self._next_row
        if self._epochs is None:
            return start, None, None
        rows = self._epochs * self._plan.rows
        end = (start // rows + 1) * rows
        batches = self._batches(end - start)
        if batches == 0 and start % rows:
            start, end = end, end + rows
            batches = self._batches(rows)
        return start, end, batches

    def _reader(self, threads: Any, *, end: int | None) -> RowReader:
        """Make a reader of rows, and the pool at first use."""
        if self._plan.pooled and self._pool is None:
            self._pool = Pool(self._source, self._plan, self._dtype)
        learn = "labels" in self._emit
        return RowReader(
            self._source,
            self._plan,
            self._pool,
            threads,
            dtype=self._dtype,
            pad=self._pad,
            documents=self._separate and (learn or "position_ids" in self._emit),
            following=learn and self._labels == "next",
            end=end,
        )

    def set_epoch(self, epoch: int) -> None:
        """Let the next `iter()` begin with this epoch, unless a state was loaded for it.

        Needed only where a plain `DataLoader` with a worker is iterated again and again, because its worker begins as
        a copy each time; `loader()` does it by itself.
        """
        integer("epoch", epoch, 0, 1 << 62)
        if not self._loaded:
            self._next_row = epoch * self._plan.rows

    def state_dict(self, batch: Batch) -> dict[str, int | str]:
        """Return the state behind a batch: plain integers and strings.

        Raises:
            TypeError: This is no `Batch`; for single rows use `state_at`.
        """
        if not isinstance(batch, Batch):
            raise TypeError(
                f"state_dict takes a Batch of this stream, not {type(batch).__name__}; or use state_at(rows=)"
            )
        return self.state_at(rows=batch.rows.stop)

    def state_at(self, *, rows: int | None = None, batches: int | None = None) -> dict[str, int | str]:
        """Return the state after so many rows, or after so many batches, counted from the very first.

        Raises:
            ValueError: Not exactly one of the two is given, or it is negative.
        """
        if (rows is None) == (batches is None):
            raise ValueError("give either rows or batches")
        if batches is not None:
            rows = self._rows_after(integer("batches", batches, 0, 1 << 62))
        return self._identity() | {"rows": integer("rows", rows, 0, 1 << 62)}

    def _rows_after(self, batches: int) -> int:
        """Return the rows that so many batches hand out; passes end with a batch of their own."""
        size = self._batch_size or 1
        if self._epochs is None:
            return batches * size
        done, left = divmod(batches, max(1, len(self)))
        rows = self._epochs * self._plan.rows
        return done * rows + min(left * size, rows)

    def _identity(self) -> dict[str, int | str]:
        """Return what the order depends on."""
        return {"source": self._source.fingerprint} | self._plan.identity()

    def load_state_dict(self, state: Mapping[str, int | str]) -> None:
        """Go on behind a state with the next `iter()`.

        Raises:
            ValueError: The state belongs to another order; the message says what differs.
            RuntimeError: An iterator of this stream is still running.
        """
        if self._live is not None and (stream := self._live()) is not None and not stream.closed:
            raise RuntimeError("load_state_dict while an iterator is running: close it, or load before iter()")
        for name, mine in self._identity().items():
            if state.get(name) != mine:
                hint = "; windows follow from buffer and lanes" if name in ("window", "pooled") else ""
                raise ValueError(f"the state has {name} {state.get(name)!r}, this stream {mine!r}: another order{hint}")
        self._next_row = integer("rows of the state", state.get("rows"), 0, 1 << 62)
        self._loaded = True

    def loader(
        self, *, num_workers: int = 0, pin_memory: bool = False, persistent_workers: bool = False
    ) -> DataLoader[Any]:
        """Return a `DataLoader` over this stream that hands its batches out as they are.

        Args:
            num_workers: 0, or 1 for a process of its own.
            pin_memory: Copy batches to pinned memory.
            persistent_workers: Keep the process between passes.

        Raises:
            ValueError: More than one worker.
        """
        integer("num_workers", num_workers, 0, 1)
        return _Loader(
            self, batch_size=None, num_workers=num_workers, pin_memory=pin_memory, persistent_workers=persistent_workers
        )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pool": None, "_live": None}


class _Loader(DataLoader[Any]):
    """A `DataLoader` whose stream goes on from pass to pass although a worker reads a copy of it."""

    def __iter__(self) -> Any:
        iterator = super().__iter__()
        stream = self.dataset
        if self.num_workers and isinstance(stream, StreamingDataset):
            _, end, _ = stream._pass()
            stream._next_row, stream._loaded = stream._next_row if end is None else end, False
        return iterator


class _Stream(Iterator[Any]):
    """One pass over a stream."""

    def __init__(self, data: StreamingDataset, start: int, end: int | None, batches: int | None) -> None:
        self._data, self._end = data, end
        self.closed = False
        self._rows = BatchIterator(
            partial(data._reader, end=end),
            data._plan,
            start=start,
            batches=batches,
            batch_rows=data._batch_size or 1,
            threads=data._threads,
        )

    def __next__(self) -> Any:
        data = self._data
        try:
            rows: Rows = next(self._rows)
        except BaseException:
            self.closed = True
            raise
        arrays = collate(rows, data._emit, data._labels)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        stop = rows.first + rows.stop - rows.start
        if self._end is None:
            data._next_row = stop
        if data._batch_size is None:
            return {name: tensor[0] for name, tensor in tensors.items()}
        return Batch(tensors, range(rows.first, stop if self._end is None else min(stop, self._end)))

    def close(self) -> None:
        """End the pass and its threads."""
        self.closed = True
        self._rows.close()


def _one_process() -> None:
    """Refuse to run as one of several processes, each of which would read all rows."""
    sizes = {"WORLD_SIZE": 1, "RANK": 0}
    for name, single in sizes.items():
        text = os.environ.get(name, str(single))
        if not text.strip().isdigit():
            raise ValueError(f"the environment has {name}={text!r}, which is no number")
        if int(text) > single:
            raise ValueError(
                f"the environment has {name}={text}: every process would read the same rows; run one process"
            )
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1:
        raise ValueError(
            f"torch.distributed has {distributed.get_world_size()} processes, each would read the same rows; run one"
        )
