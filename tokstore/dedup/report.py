"""What a search for duplicates has found, as one HTML file without outside resources, which also prints well."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.column_types import Tokens
from tokstore.dedup.jaccard import pair_similarity
from tokstore.dedup.kmeans import drawn
from tokstore.dedup.sample_rows import SampleRows
from tokstore.dedup.text_grams import grams_of
from tokstore.duplicates import command, named_columns, note_of
from tokstore.errors import ColumnError, MissingFileError, UnsupportedError
from tokstore.packed import Ints
from tokstore.store import Store
from tokstore.where import bind_field

__all__ = ["report_html"]

_CLUSTERS, _MEMBERS, _SHOWN, _CHECKED = 12, 3, 600, 500
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; background: #fff; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; } h2, h3 { break-after: avoid; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .15rem 1.2rem .15rem 0; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #f4f6f9; border-left: 3px solid #3b6fb6;
  padding: .5rem .8rem; margin: .3rem 0; font-size: 13px; }
pre.copy { border-left-color: #c9d3e0; } .small { color: #5a6675; font-size: 13px; }
.cluster { break-inside: avoid; margin-bottom: 1.2rem; } svg text { font: 12px system-ui, sans-serif; fill: #1c2430; }
@media print { body { margin: 0; max-width: none; font-size: 11pt; } pre { font-size: 9pt; }
  pre { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


def report_html(store: Store, name: str) -> str:
    """Return a report on the columns of a search.

    Args:
        store: The store.
        name: Of the search.

    Raises:
        ColumnError: There is no such search.

    Example:
        >>> Path("report.html").write_text(report_html(ts.open("corpus"), "near"))  # doctest: +SKIP
    """
    names, note = named_columns(name), note_of(store.metadata, name)
    if names.of not in store.schema or not note:
        raise ColumnError(f"no duplicates {name!r}", hint=f"`{command(name)}` finds them")
    of, stays = store._read(bind_field(store.schema, names.of))
    size, apart = store._read(bind_field(store.schema, names.size))
    ids = store._sample_ids()
    heads = np.flatnonzero(stays & ~apart & (size > 1))
    title = f"Duplicates {name!r} in {store.path}"
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>',
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light">',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
        f"<p>{note['duplicates']:,} of {note['samples']:,} samples are duplicates of others, in {note['clusters']:,} "
        f"clusters; {note['samples'] - note['duplicates']:,} stay.</p>",
        "<h2>How it was done</h2>",
        _facts(note),
        *_precision(store, note, of, stays, ids),
        "<h2>Clusters by size</h2>",
        _histogram(size[heads]),
        "<h2>The largest clusters</h2>",
        *_clusters(store, note, names.similarity, heads[np.argsort(-size[heads], kind="stable")], size, of, stays, ids),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _facts(note: dict[str, Any]) -> str:
    """Return parameters and counts as a table."""
    rows = "".join(
        f"<tr><th>{html.escape(key.replace('_', ' '))}</th><td>{html.escape(_text(value))}</td></tr>"
        for key, value in sorted(note.items())
        if value not in (None, [])
    )
    return f"<table>{rows}</table>"


def _text(value: Any) -> str:
    """Write a value for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if value < 1 << 40 else str(value)
    return f"{value:.4g}" if isinstance(value, float) else ", ".join(value) if isinstance(value, list) else str(value)


def _precision(store: Store, note: dict[str, Any], of: Ints, stays: NDArray[np.bool_], ids: Ints) -> Sequence[str]:
    """Return how many of some near duplicates are truly similar to the sample that stays for them."""
    if note["method"] != "near":
        return ()
    rows = SampleRows(store, store.schema.column(note["column"]))
    read = grams_of(store, rows.column, note.get("ngrams", "tokens")).reading(rows.read)
    lost = np.flatnonzero(~stays)
    some = lost[drawn(len(lost), min(len(lost), _CHECKED), note["seed"])]
    order = np.argsort(ids, kind="stable")
    target = order[np.minimum(np.searchsorted(ids[order], of[some]), len(ids) - 1)]
    there = ids[target] == of[some]
    some, target = some[there], target[there]
    if not len(some):
        return ()
    at = np.full(len(store), -1, np.int64)
    at[rows.positions] = np.arange(len(rows))
    similarity = np.zeros(len(some), np.float32)
    for first in range(0, len(some), 16):
        pair = slice(first, first + 16)
        wanted = np.unique(np.concatenate([at[some[pair]], at[target[pair]]]))
        values, lengths = read(wanted)
        a, b = (np.searchsorted(wanted, at[one[pair]]) for one in (some, target))
        similarity[pair] = pair_similarity(values, lengths, a, b, note["ngram"])
    good = float((similarity >= note["threshold"]).mean())
    return (
        "<h2>Precision</h2>",
        f"<p>Of {len(some):,} duplicates drawn at random, {good:.1%} have a true Jaccard similarity of "
        f"{note['threshold']:.3g} or more with the sample that stays for them; the lowest has "
        f"{float(similarity.min()):.3f}, the median {float(np.median(similarity)):.3f}.</p>",
    )


def _histogram(sizes: Ints) -> str:
    """Return how many clusters have 2, 3 to 4, 5 to 8, … samples, as a drawing."""
    if not len(sizes):
        return "<p>There are none.</p>"
    bucket = np.ceil(np.log2(sizes)).astype(int)
    counts = np.bincount(bucket)[1:]
    width, high, gap = 46, 140, 8
    most = int(counts.max())
    bars = []
    for i, count in enumerate(counts.tolist()):
        tall = round(high * count / most, 1) if count else 0
        x, label = i * (width + gap), "2" if i == 0 else f"{2**i + 1}–{2 ** (i + 1)}"
        bars.append(
            f'<rect x="{x}" y="{20 + high - tall}" width="{width}" height="{tall}" fill="#3b6fb6"/>'
            f'<text x="{x + width / 2}" y="{14 + high - tall}" text-anchor="middle">{count:,}</text>'
            f'<text x="{x + width / 2}" y="{high + 38}" text-anchor="middle">{label}</text>'
        )
    across = len(counts) * (width + gap)
    return (
        f'<svg role="img" aria-label="Clusters by number of samples" width="{across}" height="{high + 46}" '
        f'viewBox="0 0 {across} {high + 46}" style="max-width: 100%">{"".join(bars)}</svg>'
        '<p class="small">Clusters, by the samples that each has.</p>'
    )


def _clusters(
    store: Store,
    note: dict[str, Any],
    similarity: str,
    heads: Ints,
    size: Ints,
    of: Ints,
    stays: NDArray[np.bool_],
    ids: Ints,
) -> list[str]:
    """Return the largest clusters: the sample that stays, and a few of the others."""
    parts = []
    known = store._read(bind_field(store.schema, similarity))[0] if similarity in store.schema else None
    for head in heads[:_CLUSTERS].tolist():
        parts.append(f'<div class="cluster"><h3>{int(size[head]):,} samples like sample {int(ids[head])}</h3>')
        parts.append(f"<pre>{html.escape(_beginning(store, note, head))}</pre>")
        members = np.flatnonzero(~stays & (of == ids[head]))
        for one in members[:_MEMBERS].tolist():
            how = "" if known is None else f", similarity {float(known[one]):.3f}"
            parts.append(f'<p class="small">sample {int(ids[one])}{how}</p>')
            parts.append(f'<pre class="copy">{html.escape(_beginning(store, note, one))}</pre>')
        if len(members) > _MEMBERS:
            parts.append(f'<p class="small">and {len(members) - _MEMBERS:,} more</p>')
        parts.append("</div>")
    return parts or ["<p>There are none.</p>"]


def _beginning(store: Store, note: dict[str, Any], position: int) -> str:
    """Return the beginning of a sample: as text where it can be, else its values."""
    name = note["column"]
    try:
        text = store.text(position, name if isinstance(store.schema[name], Tokens) else None)
    except (MissingFileError, UnsupportedError, ColumnError):
        value = store.take([position], [name])[name][0]
        listed = value.reshape(-1)[:60].tolist() if isinstance(value, np.ndarray) else [value]
        text = f"[{', '.join(map(str, listed))}, …]"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
