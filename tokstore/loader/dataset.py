"""`StreamingDataset`: rows of tokens as PyTorch tensors, in an order that is a pure function of the seed and the epoch.

The order is that of order.md; this module adds what needs torch: tensors, batches, processes. Arrays are made ahead
on threads (`tokstore.stream`), and what the consumer's thread does per batch is a few numpy calls over the whole
batch. Ranks and workers take strides of the same global row sequence, so that no process has to know of another.
"""

from __future__ import annotations

import os
import warnings
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast

import numpy as np
from torch.utils.data import DataLoader, get_worker_info

from tokstore.column_types import Tokens
from tokstore.loader.contents import aligned_reader, contents_of
from tokstore.loader.data_loader import make_loader
from tokstore.loader.mixed import MixOptions, check_epochs, mix_pass, mix_reader, plan_mixture
from tokstore.loader.passes import Pass
from tokstore.loader.planned import Planned
from tokstore.loader.ranks import find_ranks, warn_of_sharding
from tokstore.loader.skipping import Skipped
from tokstore.loader.transforms import Transform
from tokstore.mixture import Mixture
from tokstore.order.lanes import MAX_LANES
from tokstore.order.turns import Turns
from tokstore.stream.aligned import Aligned
from tokstore.stream.arguments import integer, one_of, special
from tokstore.stream.codes import CodeRows
from tokstore.stream.damage import Report
from tokstore.stream.lines import Pool
from tokstore.stream.mixing import MixPlan, MixReader
from tokstore.stream.plan import Plan, make_plan
from tokstore.stream.rows import RowReader
from tokstore.stream.source import Source
from tokstore.stream.tally import Tally
from tokstore.stream.windows import compact_dtype

__all__ = ["StreamingDataset"]

_THREADS = 4


class StreamingDataset(Planned):
    """Stream a store or view as rows of tokens, the same global batches for any number of processes.

    Every token comes exactly once an epoch (but for `overlong`). Of a view with weights every sample has as many copies
    as its weight says, rounded up or down; what an epoch draws too little or too much is padded or cut, so that all
    epochs have as many rows (order.md 11).

    The order depends on the source, `seed`, the epoch, `seq_len`, `packing`, `overlong`, `shuffle`, `lanes`, `buffer`
    and the inserted ids, and on nothing else: not on batch size, ranks, workers, threads or what was read before.

    One `iter()` gives `epochs` epochs, and the next one goes on with the epochs after them. An endless stream goes on
    after the last row that was handed out.

    Args:
        source: A store, a view, or a `Mixture`, which needs ``epochs=None`` if it has no end. Where there is no column
            of `Tokens`, each row is a sample of the first column of `Codes` of fixed shape: int64 [rows, *shape] under
            its name.
        seq_len: Tokens per row, at least 2. Without packing it may be None: rows are as long as their sample, and a
            batch as wide as its longest row.
        packing: How samples share rows. ``"concat"``: laid end to end in shuffled order and cut every `seq_len`
            tokens. ``"fit"``: best fit in groups of up to 512 rows, so that hardly a sample is cut that fits a row.
            ``"whole"``: none is cut. None: one sample per row, padded to `seq_len`.
        batch_size: Rows per `Batch` of this rank. None gives single rows as plain dicts, for
            ``DataLoader(data, batch_size=8)``.
        global_batch_size: Instead of `batch_size`: rows of a batch of all ranks together, a multiple of their number.
            States then stay valid when the number of ranks changes.
        shuffle: Shuffle samples, differently in every epoch; else the order of the view.
        seed: From 0 to 2**64 - 1.
        epochs: Epochs per `iter()`; None for no end. A mixture that ends has as many rows as its stop rule says.
        drop_last: Leave out the last batch of an `iter()` if it is not full. Else it is filled up with padding rows,
            so that all ranks have as many batches.
        labels: ``"same"``: the label of a place is its own id (Hugging Face models shift inside); ``"next"``: it is
            the id that follows in the same document, also across the end of a row; None: no labels. Padding has the
            label -100.
        documents: ``"separate"``: nothing is learned across the end of a sample, so that label is -100, and position
            ids start again at each sample; ``"joined"``: a row is one run of text.
        overlong: Samples longer than a row, where rows are whole samples: ``"split"`` into several (without packing
            only; the default there), ``"truncate"``, ``"drop"``, or ``"error"``. ``"whole"`` without it truncates, and
            warns at construction how many it truncates.
        bos_id: Id inserted before every sample; ``"schema"`` takes the one of the column, None inserts nothing.
        eos_id: Id inserted after every sample, likewise.
        loss_mask: A column with a value for every token, such as a `Mask`: a token with 0 is not learned, so that the
            label which is that token is -100 and ``emit="loss_mask"`` has 0 there. An inserted eos is learned if the
            last token of its sample is, an inserted bos never.
        emit: What a batch has, by default ``input_ids labels position_ids``, and of rows of codes every column that
            stacks: ``input_ids labels position_ids attention_mask document_ids loss_mask`` [rows, width];
            ``cu_seqlens``, also as ``cu_seq_lens_q`` and ``cu_seq_lens_k`` (int32, over the flattened batch),
            ``max_seqlen``, also as ``max_length_q`` and ``max_length_k``; ``seq_lengths`` per document;
            ``sample_ids`` and any column, one value per row without packing, else one per piece of a sample;
            ``source`` per row, the number of the source in a mixture; ``valid`` per row. A `Mask` of the tokens comes
            as [rows, width] beside them. What is not asked for costs nothing.
        aligned: Other columns that a batch has, with a value (or array) for every token, such as
            ``Array("float16", (None,))``: they come as [rows, width] too, with NaN, 0, or the padding id of
            `Tokens`, at padding and inserted ids.
        flat: Lay the samples of a batch end to end in tensors of one dimension instead of padding them, for
            ``packing=None`` without `seq_len`; ``seq_lengths`` or ``cu_seqlens`` tell them apart.
        rank, world_size: Data-parallel rank of this process, and how many there are. By default those of
            `process_group`, of `torch.distributed`, or of the environment.
        process_group: Group of `torch.distributed` whose ranks count.
        lanes: Number of lanes (order.md 5.1), 1 to 65,536; by default from the size of the source. Part of the order.
        buffer: Bytes of decoded tokens held, 2 a token (4 with vocabularies above 65,536); part of the order, because
            a source that fits is shuffled whole and a larger one by windows.
        threads: Decoding threads; by default as many as processors, at most 4.
        on_corrupt: What becomes of blocks that cannot be read, because a checksum fails or their file is gone:
            ``"raise"`` an error, or ``"skip"`` them. Tokens are padding with the label -100 then, and rows of codes
            that lack some are not ``valid``; a column with one value per sample has what a missing value has: NaN,
            None (texts, categories), -100 (`Label`), else 0 or an empty array. Everything else stays as and where it
            is, ``progress()`` counts, and there is one warning per file. Where the lengths of samples cannot be read
            either, it is an error always.
        transform: ``transform(batch, rng)``, called in the process that makes the batch with the `Batch` (single rows:
            the dict) and a `numpy.random.Generator` that depends on `seed` and the batch's first row alone (order.md
            7.9): not on workers or where the run was resumed, but on how ranks share rows. It changes the batch in
            place and returns None, or returns another mapping.

    Raises:
        ValueError: An argument is outside its range, the view is empty or has no weight above 0, ranks cannot share
            the global batch, or the environment tells no rank.
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
        source: Source | Mixture,
        *,
        seq_len: int | None = None,
        packing: Literal["concat", "fit", "whole", "default"] | None = "default",
        batch_size: int | None = None,
        global_batch_size: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        epochs: int | None = 1,
        drop_last: bool = False,
        labels: Literal["same", "next"] | None = "same",
        documents: Literal["separate", "joined"] = "separate",
        overlong: Literal["split", "truncate", "drop", "error"] | None = None,
        bos_id: int | Literal["schema"] | None = "schema",
        eos_id: int | Literal["schema"] | None = "schema",
        loss_mask: str | None = None,
        emit: Sequence[str] | None = None,
        aligned: Sequence[str] = (),
        flat: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        process_group: Any = None,
        lanes: int | None = None,
        buffer: int = 64 << 20,
        threads: int | None = None,
        on_corrupt: Literal["raise", "skip"] = "raise",
        transform: Transform | None = None,
    ) -> None:
        super().__init__()
        if not hasattr(source, "read_range") and not isinstance(source, Mixture):
            raise TypeError(f"source is a store or view, such as ts.open('corpus'), not {type(source).__name__}")
        if packing == "default":
            packing = None if seq_len is None else "concat"
        one_of("packing", packing, ("concat", "fit", "whole", None))
        one_of("labels", labels, ("same", "next", None))
        one_of("on_corrupt", on_corrupt, ("raise", "skip"))
        one_of("documents", documents, ("separate", "joined"))
        one_of("overlong", overlong, ("split", "truncate", "drop", "error", None))
        if seq_len is not None:
            integer("seq_len", seq_len, 2, 1 << 30)
        elif packing is not None:
            raise ValueError(f"packing={packing!r} needs seq_len, the tokens of a row")
        integer("seed", seed, 0, (1 << 64) - 1)
        integer("buffer", buffer, 1, 1 << 50)
        sizes = {"batch_size": batch_size, "global_batch_size": global_batch_size}
        for name, value, most in (*((n, v, 1 << 24) for n, v in sizes.items()), ("epochs", epochs, 1 << 32)):
            if value is not None:
                integer(name, value, 1, most)
        if None not in sizes.values():
            raise ValueError("give either batch_size, of this rank, or global_batch_size, of all ranks together")
        if lanes is not None:
            integer("lanes", lanes, 1, MAX_LANES)
            if not shuffle:
                raise ValueError(
                    "lanes is for shuffled streams; shuffle=False reads the view in one lane (order.md 5.1)"
                )
        if drop_last and batch_size is None and global_batch_size is None:
            raise ValueError("drop_last needs a batch_size; rows alone are never dropped")
        if flat and not (packing is None and seq_len is None and (batch_size or global_batch_size)):
            raise ValueError("flat=True is for batches of whole samples: packing=None, without seq_len")
        if packing == "whole" and overlong == "split":
            raise ValueError("packing='whole' cuts no sample: overlong is 'truncate', 'drop' or 'error'")
        if packing in ("concat", "fit") and overlong not in (None, "split"):
            raise ValueError(f"packing={packing!r} splits what is longer than a row; overlong is for 'whole' and None")
        self._source, self._emit = contents_of(
            source, emit, aligned, loss_mask, labels, documents, flat, packing=packing, seq_len=seq_len, bos_id=bos_id,
            eos_id=eos_id,
        )  # fmt: skip
        if isinstance(self._source, CodeRows):
            seq_len = self._source.width
        self._threads = min(_THREADS, os.cpu_count() or 1) if threads is None else integer("threads", threads, 1, 256)
        self._rank, self._ranks = find_ranks(rank, world_size, process_group)
        if global_batch_size is not None:
            if global_batch_size % self._ranks:
                raise ValueError(
                    f"{self._ranks} ranks cannot share global_batch_size={global_batch_size}, which is no multiple"
                )
            batch_size = global_batch_size // self._ranks
        first = source.sources[0] if isinstance(source, Mixture) else self._source
        kind = Tokens(first.codes.size) if isinstance(first, CodeRows) else first.schema[first.token_column]
        vocab_size = int(kind.vocab_size)
        bos = special("bos_id", bos_id, kind.bos_id, vocab_size)
        eos = special("eos_id", eos_id, kind.eos_id, vocab_size)
        pads = (kind.pad_id, eos, kind.eos_id, 0)
        self._pad = next(int(pad) for pad in pads if pad is not None)
        self._dtype = compact_dtype(vocab_size)
        self._batch_size, self._epochs, self._drop_last = batch_size, epochs, drop_last
        self._plan: Plan | MixPlan
        self._mix: tuple[Mixture, MixOptions] | None = None
        how = (packing or "single", overlong or ("truncate" if packing == "whole" else "split"))
        if isinstance(source, Mixture):
            self._mix = source, MixOptions(*how, seq_len, bool(shuffle), seed, lanes, buffer, bos_id, eos_id)
            self._plan = plan_mixture(*self._mix)
            check_epochs(self._plan, epochs)
        else:
            self._plan = make_plan(
                cast(Source, self._source),
                packing=how[0],
                overlong=how[1],
                seq_len=seq_len,
                shuffle=bool(shuffle),
                seed=seed,
                lanes=lanes,
                buffer=buffer,
                bos=bos,
                eos=eos,
            )
        if packing == "whole" and overlong is None and self._plan.overlong_samples:
            warnings.warn(
                f"{self._plan.overlong_samples:,} of {len(self._source):,} samples are longer than seq_len={seq_len} "
                "and are truncated; say so with overlong='truncate', or choose 'drop' or 'error'",
                stacklevel=2,
            )
        if self._ranks > self._plan.lanes and shuffle and not self._plan.pooled:
            warnings.warn(
                f"{self._ranks} ranks read {self._plan.lanes} lanes: every block is decoded "
                f"{self._ranks // np.gcd(self._ranks, self._plan.lanes)} times; lanes={self._ranks} would decode each "
                "once, and is another order",
                stacklevel=2,
            )
        if transform is not None and not callable(transform):
            raise TypeError(f"transform is a function of a batch and a generator, not {transform!r}")
        self._transform = transform
        self._skipped = Skipped() if on_corrupt == "skip" else None
        self._pools: dict[int, Pool] = {}
        self._tally = Tally()
        self._columns: Aligned | None = None
        self._next_row = self._progress = 0
        self._skip = 0
        self._loaded = False
        self._live: weakref.ref[Any] | None = None

    @property
    def rows_per_epoch(self) -> int:
        """Rows of an epoch over all ranks, the same in every epoch; a mixture has none."""
        if self._mix is not None:
            raise TypeError("a mixture has no epoch of its own; progress() tells those of its sources")
        return self._plan.rows

    def __repr__(self) -> str:
        plan = self._plan
        how = ("pool" if plan.pooled else f"windows of {plan.window:,} tokens") if plan.shuffle else "view order"
        row = f" of {plan.seq_len:,}" if plan.seq_len else ""
        ranks = f", rank {self._rank} of {self._ranks}" if self._ranks > 1 else ""
        if self._mix is not None:
            return (
                f"StreamingDataset({self._mix[0]!r}, rows{row}, {plan.packing}, {plan.lanes} lanes, seed "
                f"{plan.seed}{ranks})"
            )
        return (
            f"StreamingDataset({plan.values:,} tokens in {plan.rows:,} rows{row} an epoch, {plan.packing}, "
            f"{plan.lanes} lanes, {how}, seed {plan.seed}{ranks})"
        )

    def __len__(self) -> int:
        if self._pass_rows is None:
            raise TypeError("a stream with epochs=None has no length")
        return self._batches(self._pass_rows)

    @property
    def _global_rows(self) -> int:
        """Rows of a global batch."""
        return (self._batch_size or 1) * self._ranks

    def _batches(self, rows: int) -> int:
        """Return the batches that so many rows make."""
        return rows // self._global_rows if self._drop_last else -(-rows // self._global_rows)

    def __iter__(self) -> Iterator[Any]:
        """Start the next pass. Its iterator has `close()`; its threads also end when it is exhausted or forgotten."""
        warn_of_sharding(self._ranks)
        return self._start(chunk=1)

    def _start(self, chunk: int) -> Pass:
        """Start the next pass of this process, which may be one of several workers."""
        worker = get_worker_info()
        workers, number = (1, 0) if worker is None else (worker.num_workers, worker.id)
        start, end, batches = self._pass()
        turns = Turns(self._batch_size or 1, self._ranks, self._rank, workers, number, chunk)
        stream = Pass(self, turns, start, end, batches, self._skip)
        self._loaded, self._skip = False, 0
        if end is not None:
            self._next_row = end
        self._live = weakref.ref(stream)
        return stream

    def _pass(self) -> tuple[int, int | None, int | None]:
        """Return first row, last row + 1 and batches of the next pass."""
        start = self._next_row
        rows = self._pass_rows
        if rows is None:
            return start, None, None
        if self._mix is not None:
            start, end = mix_pass(start, rows, loaded=self._loaded)
            return start, end, self._batches(end - start)
        end = (start // rows + 1) * rows
        batches = self._batches(end - start)
        if batches == 0 and start % rows:
            start, end = end, end + rows
            batches = self._batches(rows)
        return start, end, batches

    def _settle(self) -> None:
        """Turn batches that a worker's state has made into rows, where other workers go on."""
        if self._skip:
            _, end, _ = self._pass()
            after = self._next_row + self._skip * self._global_rows
            self._next_row = self._progress = after if end is None else min(after, end)
            self._skip = 0

    def _reader(self, threads: Any) -> RowReader | MixReader:
        """Make a reader of rows, and pools at first use."""
        emit, plan, source = self._emit, self._plan, self._source
        following = emit.labels == "next" and bool({"labels", "loss_mask"} & set(emit.keys))
        options: dict[str, Any] = {
            "dtype": self._dtype, "pad": self._pad, "documents": emit.separate, "following": following,
            "report": self._report(),
        }  # fmt: skip
        tally = None if threads is None else self._tally
        if isinstance(plan, MixPlan):
            return mix_reader(plan, source, self._pools, threads, tally=tally, **options)
        if plan.pooled and not self._pools:
            self._pools[0] = Pool(source, plan, self._dtype, self._pad)
        return RowReader(source, plan, self._pools.get(0), threads, tally=tally, **options)

    def _report(self) -> Report | None:
        """Return what is told of blocks that cannot be read, if they are to be skipped."""
        return None if self._skipped is None else self._skipped.add

    def _aligned(self) -> Aligned | None:
        """Return what reads columns with a value for every token, if any are wanted."""
        if self._columns is None:
            self._columns = aligned_reader(self._source, self._plan, self._emit, self._report())
        return self._columns

    def loader(
        self,
        *,
        num_workers: int = 0,
        pin_memory: bool = False,
        persistent_workers: bool = False,
        multiprocessing_context: Any = None,
    ) -> DataLoader[Any]:
        """Return a sized, stateful `DataLoader` over this stream that hands its batches out as they are.

        Its ``state_dict()`` is the state behind the last batch that it handed out, whatever is prefetched.

        Args:
            num_workers: Processes that make batches; 0 or 1 is enough for most, since decoding has its own threads.
            pin_memory: Copy batches to pinned memory.
            persistent_workers: Keep the processes between passes.
            multiprocessing_context: As of `DataLoader`; ``"spawn"`` by default for stores in object stores.
        """
        return make_loader(
            self, integer("num_workers", num_workers, 0, 1 << 10), pin_memory, persistent_workers,
            multiprocessing_context,
        )  # fmt: skip

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_pools": {}, "_columns": None, "_live": None, "_skipped": self._skipped and Skipped()}
