"""What a batch of a stream has: names and columns that were asked for, checked against the columns of the source."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from tokstore.column_types import Bytes, Label, Mask, Text
from tokstore.mixture import Mixture
from tokstore.stream.aligned import Aligned, fill_of
from tokstore.stream.arguments import emitted
from tokstore.stream.codes import CodeRows, codes_column
from tokstore.stream.collate import KEYS, Emission
from tokstore.stream.damage import Report
from tokstore.stream.mixing import Joined, MixPlan
from tokstore.stream.plan import Plan
from tokstore.stream.slab import NOTHING

__all__ = ["aligned_reader", "contents_of"]


_DEFAULT_KEYS = ("input_ids", "labels", "position_ids")


def contents_of(
    source: Any,
    emit: Sequence[str] | None,
    aligned: Sequence[str],
    loss_mask: str | None,
    labels: str | None,
    documents: str,
    flat: bool,
    **options: Any,
) -> tuple[Any, Emission]:
    """Return the source as it is streamed, and what a batch has of it.

    Args:
        source, emit, aligned, loss_mask, labels, documents, flat: As of the stream.
        **options: ``packing``, and others that are for tokens alone.
    """
    if isinstance(source, Mixture):
        made: Any = Joined(source.sources)
    elif (codes := codes_column(source.schema)) is not None:
        _refuse_for_codes(codes, flat=flat, aligned=aligned, loss_mask=loss_mask, **options)
        rows = CodeRows(source, codes)
        return rows, _code_emission(rows, emit)
    else:
        # A store follows its own commits; a copy stays at its version, and shares the caches.
        made = copy.copy(source)
    given = _DEFAULT_KEYS if emit is None else emit
    single = options["packing"] is None
    return made, _emission(made, given, aligned, loss_mask, labels, documents, single=single, flat=flat)


def _emission(
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
    missing = _unlearned(source.schema, columns)
    return Emission(keys, labels, documents == "separate", single, flat, columns, fills, loss_mask, missing=missing)


def _unlearned(schema: Mapping[str, Any], columns: Sequence[str]) -> dict[str, int]:
    """Return what columns of labels give where there is none: what losses leave out."""
    return {name: NOTHING for name in columns if isinstance(schema[name], Label)}


def _code_emission(source: CodeRows, emit: Sequence[str] | None) -> Emission:
    """Return what a batch of rows of codes has.

    Args:
        source: Has the columns.
        emit: Their names, ``sample_ids`` and ``valid``; by default the codes and all columns that are not ragged.
    """
    if isinstance(emit, str):
        raise TypeError(f"emit is a sequence of names, such as ({emit!r},)")
    schema, name = source.schema, source.token_column
    if emit is None:
        emit = [name, *(one for one, kind in schema.items() if one != name and not _is_ragged_array(kind))]
    keys, _ = emitted(emit, None, ("sample_ids", "valid"), tuple(schema))
    columns = tuple(one for one in keys if one in schema and one != name)
    shape = tuple(one or 0 for one in source.codes.shape)
    return Emission(keys, None, True, True, False, columns, shaped=(name, shape), missing=_unlearned(schema, columns))


def _refuse_for_codes(column: str, **options: Any) -> None:
    """Refuse options that are about tokens, for a source that has none."""
    for name, value in options.items():
        if value not in (None, False, (), "schema"):
            raise ValueError(
                f"{name}={value!r} is for tokens, and this source has none: its rows are the samples of {column!r}"
            )


def _is_ragged_array(kind: Any) -> bool:
    """Tell whether a column has arrays of different lengths, which do not stack."""
    return bool(kind.ragged) and not isinstance(kind, (Text, Bytes))


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
