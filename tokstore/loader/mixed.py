"""What `StreamingDataset` does for mixtures: plans and readers of all sources, and states with other stages."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tokstore.mixture import Mixture
from tokstore.order import lane_count, part_of_buffer, window_values
from tokstore.stream.arguments import integer, special
from tokstore.stream.damage import Report
from tokstore.stream.lines import Pool
from tokstore.stream.mixing import Ends, Joined, MixPlan, MixReader, Stages, goes_on, mixing_of
from tokstore.stream.plan import make_plan
from tokstore.stream.rows import RowReader
from tokstore.stream.tally import Tally

__all__ = ["MixOptions", "adopted", "check_epochs", "mix_pass", "mix_reader", "plan_mixture"]

_SAME = ("order_version", "packing", "seq_len", "shuffle", "lanes", "sources")


class MixOptions(NamedTuple):
    """What the plan of a mixture depends on besides its sources and shares; as of `StreamingDataset`."""

    packing: str
    overlong: str
    seq_len: int | None
    shuffle: bool
    seed: int
    lanes: int | None
    buffer: int
    bos_id: object
    eos_id: object


def plan_mixture(
    mix: Mixture, options: MixOptions, stages: Stages | None = None, held: list[tuple[int, bool]] | None = None
) -> MixPlan:
    """Plan the order of a mixture.

    Args:
        mix: Sources and shares.
        options: As of the stream.
        stages: Slots, instead of those of the mixture.
        held: Window of every source, and whether it is a pool, as a state tells them.

    Raises:
        ValueError: A source cannot be streamed, shares have no slots, or sources end where others cannot go on.
    """
    lanes = (options.lanes or lane_count(mix.token_count)) if options.shuffle else 1
    slots: Stages = mix.slots(lanes) if stages is None else stages
    plans = []
    for number, (name, source) in enumerate(zip(mix.names, mix.sources, strict=True)):
        kind = source.schema[source.token_column]
        try:
            plan = make_plan(
                source,
                packing=options.packing,
                overlong=options.overlong,
                seq_len=options.seq_len,
                shuffle=options.shuffle,
                seed=options.seed,
                lanes=lanes if options.shuffle else None,
                buffer=part_of_buffer(options.buffer, [counts for _, counts in slots], number),
                bos=special("bos_id", options.bos_id, kind.bos_id, kind.vocab_size),
                eos=special("eos_id", options.eos_id, kind.eos_id, kind.vocab_size),
                number=number,
                held=None if held is None else held[number],
            )
        except ValueError as error:
            raise ValueError(f"source {name!r}: {error}") from None
        plans.append(plan)
    ends = Ends(mix.max_epochs, mix.stop)
    try:
        mixing = mixing_of(slots, lanes, [plan.rows for plan in plans], ends)
    except ValueError as error:
        raise ValueError(f"{error} (sources: {mix.numbered})") from None
    return MixPlan(mix.names, tuple(plans), mixing, window_values(options.buffer, lanes), ends)


def check_epochs(plan: MixPlan, epochs: int | None) -> None:
    """Refuse a number of epochs that a mixture cannot have."""
    if plan.end is None and epochs is not None:
        raise ValueError(
            f"a mixture has no end: give epochs=None instead of epochs={epochs}, and count rows yourself, or give the "
            "mixture stop= or max_epochs= of all sources"
        )
    if epochs not in (None, 1):
        raise ValueError(f"a mixture that ends is one pass, not epochs={epochs}: its sources have max_epochs")


def mix_pass(start: int, rows: int, *, loaded: bool) -> tuple[int, int]:
    """Return first row and last row + 1 of a pass over a mixture that ends; say so if it has ended.

    Args:
        start: Where to go on.
        rows: Rows of the mixture.
        loaded: A state said so.
    """
    if start >= rows and not loaded:
        warnings.warn(
            f"this mixture has ended with its {rows:,} rows, and this pass is empty; "
            "load_state_dict(state_at(rows=0)) begins it again, another seed in another order",
            stacklevel=5,
        )
    return start, max(start, rows)


def mix_reader(
    plan: MixPlan,
    joined: Joined,
    pools: dict[int, Pool],
    threads: Any,
    *,
    dtype: np.dtype[Any],
    pad: int,
    tally: Tally | None,
    report: Report | None = None,
    **wanted: bool,
) -> MixReader:
    """Make a reader of a mixture, and the pools at first use.

    Args:
        plan: The plan of the mixture.
        joined: Its sources.
        pools: Pools by number of their source; those that are not there yet are added.
        threads: Decode.
        dtype: Of ids.
        pad: Padding id.
        tally: Counts what is padded and cut by weights.
        report: As of `RowReader`.
        **wanted: ``documents`` and ``following`` of `RowReader`.
    """
    readers = []
    for number, (one, source) in enumerate(zip(plan.plans, joined.sources, strict=True)):
        if one.pooled and number not in pools:
            pools[number] = Pool(source, one, dtype, pad)
        readers.append(
            RowReader(
                source, one, pools.get(number), threads, dtype=dtype, pad=pad, tally=tally, report=report, **wanted
            )
        )
    return MixReader(plan, readers, joined, dtype, pad)


def adopted(
    plan: MixPlan,
    mix: Mixture,
    options: MixOptions,
    state: Mapping[str, Any],
    mine: Mapping[str, Any],
    *,
    changed: bool,
) -> MixPlan | None:
    """Return the plan with which a stream goes on from a state, or None if the two have other orders anyway.

    Windows and pools are those of the state, whatever the buffer and the shares are now. Stages may differ from the
    row of the state on.

    Args:
        plan: The plan of the stream.
        mix, options: What it was made of.
        state: The state.
        mine: The identity of the stream.
        changed: Stages that contradict those of the state are wanted.

    Raises:
        ValueError: The state is none of a mixture, or its stages contradict those of the stream.
    """
    if any(state.get(name) != mine[name] for name in _SAME):
        return None
    row = integer("rows of the state", state.get("rows"), 0, 1 << 62)
    if "batches" in state:  # of a worker, which may be anywhere behind that row
        row = 1 << 62
    before = _stages(state.get("stages"), len(mix.names), plan.lanes)
    stages = goes_on(before, plan.stages(), row, plan.lanes, changed=changed)
    if stages is None:
        raise ValueError(
            f"the state has other shares before row {row:,}, slots {json.dumps(before)}, and this stream "
            f"{json.dumps(plan.stages())}; to change shares from a row on, keep shares= as they were and add "
            f"stages=[({row}, ...)], or accept=['stages'] takes this stream's shares from row {row:,} on"
        )
    held = [
        (
            integer(f"window/{name} of the state", state.get(f"window/{name}"), 1 << 16, 1 << 22),
            bool(integer(f"pooled/{name} of the state", state.get(f"pooled/{name}"), 0, int(options.shuffle))),
        )
        for name in mix.names
    ]
    if stages == plan.stages() and held == [(one.window, one.pooled) for one in plan.plans]:
        return plan
    return plan_mixture(mix, options, stages, held)


def _stages(text: object, sources: int, lanes: int) -> Stages:
    """Return the stages that a state tells, or refuse them."""
    try:
        found = [(int(start), tuple(map(int, counts))) for start, counts in json.loads(str(text))]
        starts = [start for start, _ in found]
        good = bool(found) and starts[0] == 0 and starts == sorted(set(starts))
        good &= all(start % lanes == 0 for start in starts)
        for _, counts in found:
            total = sum(counts)
            good &= len(counts) == sources and min(counts) >= 0 and 3072 <= total <= 1 << 20 and total % lanes == 0
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(f"the state has stages {text!r}, which are none of {sources} sources in {lanes} lanes")
    return found
