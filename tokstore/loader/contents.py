"""What a batch of a stream has: names and columns that were asked for, checked against the columns of the source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokstore.column_types import Mask
from tokstore.stream.aligned import Aligned, fill_of
from tokstore.stream.arguments import emitted
from tokstore.stream.collate import KEYS, Emission
from tokstore.stream.damage import Report
from tokstore.stream.mixing import Joined, MixPlan
from tokstore.stream.plan import Plan

__all__ = ["aligned_reader", "emission"]


def emission(
    source: Any,
    emit: Sequence[str],
    aligned: Sequence[str],
    loss_mask: str | None,
    labels: str | None,
    documents: str,
    *,
    single: bool,
    flat: bool,
) -> Emission:
    """Return what a batch has, or refuse names that nothing is known of.

    Args:
        source: Has the columns.
        emit, aligned, loss_mask, labels, documents, flat: As of the stream.
        single: Rows are single samples.
    """
    tokens = source.token_column
    others = [name for name in source.schema if name != tokens]
    if isinstance(aligned, str):
        raise TypeError(f"aligned is a sequence of names of columns, such as ({aligned!r},)")
    if isinstance(emit, str):
        raise TypeError(f"emit is a sequence of names, such as ({emit!r},)")
    for name in aligned:
        if name in KEYS:
            raise ValueError(f"aligned has {name!r}, which names something else in a batch: rename_column() helps")
        _check_ragged("aligned", name, source.schema, others)
    if loss_mask is not None:
        if not isinstance(loss_mask, str):
            raise TypeError(f"loss_mask is the name of a column, not {loss_mask!r}")
        _check_ragged("loss_mask", loss_mask, source.schema, others)
        kind = source.schema[loss_mask]
        if kind.dtype.kind not in "biu" or kind.width != 1:
            raise ValueError(f"loss_mask={loss_mask!r} is a column of {kind!r}, and neither a Mask nor integers")
    elif "loss_mask" in emit and "loss_mask" in others:
        raise ValueError(
            "emit has 'loss_mask', where labels are learned, and there is a column of that name: loss_mask='loss_mask' "
            "applies it"
        )
    keys, columns = emitted((*emit, *aligned), labels, KEYS, others)
    fills = {
        name: fill_of(source.schema[name])
        for name in columns
        if name in aligned or (isinstance(source.schema[name], Mask) and source.schema[name].of == tokens)
    }
    columns = tuple(name for name in columns if name not in fills)
    return Emission(keys, labels, documents == "separate", single, flat, columns, fills, loss_mask)


def _check_ragged(what: str, name: str, schema: Any, others: Sequence[str]) -> None:
    """Refuse a column that cannot have a value for every token."""
    emitted((name,), None, (), others, what=what)
    if not schema[name].ragged or schema[name].dtype.kind not in "biuf":
        raise ValueError(f"{what} has {name!r}, a column of {schema[name]!r}, which has no value for every token")


def aligned_reader(source: Any, plan: Plan | MixPlan, emission: Emission, report: Report | None) -> Aligned | None:
    """Return what reads columns with a value for every token; None if there are none to read.

    Args:
        source: Where they are.
        plan: Its plan.
        emission: What is wanted.
        report: As of `Aligned`.
    """
    if not emission.aligned and emission.loss_mask is None:
        return None
    if isinstance(source, Joined) and isinstance(plan, MixPlan):
        inserted = [(one.bos is not None, one.eos is not None) for one in plan.plans]
        return Aligned(source.sources, inserted, [one.pooled for one in plan.plans], report, source.locate)
    if isinstance(plan, MixPlan):
        raise TypeError("the plan of a mixture belongs to several sources")
    return Aligned([source], [(plan.bos is not None, plan.eos is not None)], [plan.pooled], report)
