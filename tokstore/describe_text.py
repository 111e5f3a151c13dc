"""The facts of a version as tables for people: on terminals of any width, and in notebooks."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

__all__ = [
    "bytes_text",
    "count_text",
    "deleted_text",
    "heading_text",
    "laid_out",
    "version_html",
    "version_lines",
    "version_text",
]

_RIGHT = ("values", "bytes", "share", "per sample", "bits/value", "missing")
_LEAST = {"column": 12, "type": 26, "range": 16, "blocks": 24}
"""Cells that wrap, and how narrow they may become."""
_FIRST_TO_GO = ("bits/value", "values", "range")
_LONGEST_TYPE, _MOST_TYPE, _MOST_TEXT, _GAP = 72, 46, 14, 2


def count_text(value: int) -> str:
    """Return a count in groups of three digits.

    Example:
        >>> count_text(8600020)
        '8,600,020'
    """
    return f"{value:,}"


def bytes_text(nbytes: float) -> str:
    """Return a size for people.

    Example:
        >>> bytes_text(9_139_000)
        '9.1 MB'
    """
    size, unit = float(nbytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 999.5 or unit == "PB":
            break
        size /= 1000
    return f"{nbytes} B" if unit == "B" else f"{size:.1f} {unit}"


def deleted_text(facts: dict[str, Any]) -> str:
    """Say what is to be done about deleted samples; nothing where they are few."""
    gone = facts["deleted"]
    if not gone["compact"]:
        return ""
    return (
        f"{count_text(gone['samples'])} samples are deleted, {gone['share']:.0%} of all: "
        "compact and then prune give their bytes back"
    )


def heading_text(facts: dict[str, Any]) -> str:
    """Say in one line how much there is."""
    gone = facts["deleted"]["samples"]
    deleted = f" ({count_text(gone)} deleted)" if gone else ""
    parts = [f"version {facts['version']}", f"{count_text(facts['samples'])} samples{deleted}"]
    if facts["tokens"] is not None:
        parts.append(f"{count_text(facts['tokens'])} tokens")
    parts += [
        f"{count_text(facts['shards'])} shard{'' if facts['shards'] == 1 else 's'}",
        bytes_text(facts["bytes"]["total"]),
    ]
    if facts["bits_per_token"] is not None:
        everything = "" if len(facts["columns"]) == 1 else " with all columns"
        parts.append(f"{facts['bits_per_token']:.2f} bits/token{everything}")
    return " · ".join(parts)


def laid_out(rows: Sequence[dict[str, str]], width: int) -> list[str]:
    """Return a table as lines, the first of which are its heading.

    Columns without any text are left out. Where the rest is too wide, cells wrap between words, and then the columns
    go that are missed least.

    Args:
        rows: Per row: cells by the names of their columns, the same in all.
        width: Characters of a line, at most; a table that cannot be so narrow is wider.

    Example:
        >>> laid_out([{"column": "a", "bytes": "1"}], 80)
        ['column  bytes', 'a           1']
    """
    names = [name for name in rows[0] if name in ("column", "type", "values", "bytes") or any(r[name] for r in rows)]

    def needed(name: str, most: int | None = None) -> int:
        cells = [*(row[name] for row in rows), name]
        widest = max(len(cell) for cell in cells)
        return widest if most is None else min(widest, most)

    gone = [name for name in _FIRST_TO_GO if name in names]
    while True:
        widths = {name: needed(name, _MOST_TYPE if name == "type" else None) for name in names}
        least = {name: needed(name, _LEAST.get(name)) for name in names}
        excess = sum(widths.values()) + _GAP * (len(names) - 1) - width
        for name in ("type", "range", "blocks", "column"):
            if name in names and excess > 0:
                cut = min(excess, widths[name] - least[name])
                widths[name], excess = widths[name] - cut, excess - cut
        if excess <= 0 or not gone:
            break
        names.remove(gone.pop(0))
    lines = []
    for row in ({name: name for name in names}, *rows):
        cells = [_wrapped(row[name], widths[name]) for name in names]
        for at in range(max(map(len, cells))):
            line = [cell[at] if at < len(cell) else "" for cell in cells]
            padded = [
                text.rjust(widths[name]) if name in _RIGHT else text.ljust(widths[name])
                for text, name in zip(line, names, strict=True)
            ]
            lines.append((" " * _GAP).join(padded).rstrip())
    return lines


def _wrapped(text: str, width: int) -> list[str]:
    """Return a cell as lines; one that goes on is indented."""
    if len(text) <= width:
        return [text]
    return textwrap.wrap(text, width, subsequent_indent=" ", break_on_hyphens=False)


def _rows(facts: dict[str, Any]) -> list[dict[str, str]]:
    """Return the rows of the table of columns."""
    total, samples = facts["bytes"]["total"], facts["samples"] + facts["deleted"]["samples"]
    rows = []
    for one in facts["columns"]:
        # Without opening the files only the bytes of blocks are known.
        taken, values = one.get("total_bytes", one.get("block_bytes", 0)), one.get("values", 0)
        low, high = one.get("min"), one.get("max")
        rows.append(
            {
                "column": one["name"],
                "type": _type_text(one["type"]),
                "values": count_text(values),
                "bytes": bytes_text(taken),
                "share": _share_text(taken / total) if total else "",
                "per sample": _each_text(taken / samples) if samples and values else "",
                "bits/value": f"{8 * taken / values:.2f}" if values else "",
                "missing": count_text(one["missing"]) if one.get("missing") else "",
                "range": "" if low is None else f"{_end_text(low)} … {_end_text(high)}",
            }
        )
    return rows


def _type_text(called: str) -> str:
    """Return a type as it is called, without the end of a long list of names."""
    if len(called) <= _LONGEST_TYPE:
        return called
    return called[:_LONGEST_TYPE].rpartition(", ")[0] + ", …)"


def _share_text(share: float) -> str:
    """Return a share of all bytes; one that is not zero never looks like it."""
    return "<0.1%" if 0 < share < 0.001 else f"{share:.1%}"


def _each_text(nbytes: float) -> str:
    """Return bytes of one sample, of which there may be a part."""
    return f"{nbytes:.2f} B" if nbytes < 10 else bytes_text(int(nbytes + 0.5))


def _end_text(value: float | str) -> str:
    """Return an end of a range; infinities and texts come as words, and long texts are cut."""
    if isinstance(value, str):
        shown = value if value.isprintable() else repr(value)[1:-1]
        return shown if len(shown) <= _MOST_TEXT else shown[: _MOST_TEXT - 1] + "…"
    return str(value) if isinstance(value, int) else f"{value + 0.0:.6g}"


def _loss_text(one: dict[str, Any]) -> str:
    """Say what is promised and what was measured of a column that does not come back bit for bit."""
    quality = one.get("quality")
    if quality is None:
        return str(one["loss"])
    found = f"{one['loss']}; measured per dimension: error rms {quality['rms']:.2g}, max {quality['max']:.2g}"
    if quality["recall10"] is not None:
        found += f", recall@10 {quality['recall10']:.3f}"
    return found


def version_lines(facts: dict[str, Any], width: int) -> list[str]:
    """Return the table of columns, and what there is to say below it, in lines of a width."""
    rows = _rows(facts)
    lines = laid_out(rows, width - 2)
    notes = []
    if "range" not in lines[0].split() and any(row["range"] for row in rows):
        notes += ["ranges:", *(f"  {row['column']}: {row['range']}" for row in rows if row["range"])]
    if gone := facts["deleted"]["samples"]:
        notes.append(f"columns count {count_text(gone)} deleted samples too, until they are compacted away")
    lossy = [one for one in facts["columns"] if one["loss"]]
    if lossy:
        others = "" if len(lossy) == len(facts["columns"]) else " (all other columns come back bit for bit)"
        notes += [f"rounded{others}:", *(f"  {one['name']}: {_loss_text(one)}" for one in lossy)]
    if any((one.get("quality") or {}).get("recall10") is not None for one in lossy):
        notes.append("  recall@10 is the share of the ten nearest neighbours of a vector that are still found")
    if facts["attachments"]:
        held = (f"{name} ({bytes_text(one['bytes'])})" for name, one in facts["attachments"].items())
        notes.append(f"attachments: {', '.join(held)}")
    if facts["tags"]:
        notes.append(f"tags: {', '.join(f'{name} (version {n})' for name, n in facts['tags'].items())}")
    if facts.get("views"):
        held = (f"{one['name']} ({count_text(one['samples'])} samples)" for one in facts["views"])
        notes.append(f"saved views: {', '.join(held)}")
    if advice := deleted_text(facts):
        notes.append(advice)
    for note in notes:
        lines += textwrap.wrap(note, max(width - 2, 30), subsequent_indent="    ", break_on_hyphens=False)
    return [f"  {line}" for line in lines]


def version_text(path: str, facts: dict[str, Any], width: int | None = None) -> str:
    """Return a table for terminals; by default as wide as this one."""
    if not width:
        from shutil import get_terminal_size  # with all its archives

        width = get_terminal_size((100, 24)).columns
    heading = textwrap.wrap(
        f"{path}: {heading_text(facts)}", width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join([*heading, *version_lines(facts, width)])


def version_html(path: str, facts: dict[str, Any]) -> str:
    """Return a table for notebooks."""
    import html

    rows = _rows(facts)
    names = [name for name in rows[0] if any(row[name] for row in rows)]
    cells = [_html_row("th", {name: name for name in names}, names), *(_html_row("td", row, names) for row in rows)]
    below = [f"{one['name']} is rounded: {_loss_text(one)}" for one in facts["columns"] if one["loss"]]
    below += [advice] if (advice := deleted_text(facts)) else []
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in below)
    heading = f"<b>{html.escape(path)}</b>: {html.escape(heading_text(facts))}"
    return f"<div>{heading}<table>{''.join(cells)}</table>{notes}</div>"


def _html_row(tag: str, row: dict[str, str], names: Sequence[str]) -> str:
    """Return one row of a table; numbers stand to the right."""
    import html

    sides = {name: ' style="text-align:right"' if name in _RIGHT else "" for name in names}
    return "<tr>" + "".join(f"<{tag}{sides[name]}>{html.escape(row[name])}</{tag}>" for name in names) + "</tr>"
