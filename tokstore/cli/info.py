"""``tokstore info``: what a store holds and what it takes."""

from __future__ import annotations

import os
from typing import Any

import click

from tokstore.cli.output import console, json_option, print_json

__all__ = ["info"]


@click.command(short_help="Show columns, codecs and bytes.")
@click.argument("store", type=click.Path(exists=True))
@click.option("--version", "number", type=int, help="An older version than the newest.")
@json_option
def info(store: str, number: int | None, as_json: bool) -> None:
    """Show the columns of STORE, their bytes, codecs and blocks, and what the whole takes.

    The bytes of a column are all that belongs to it: blocks, tables, lengths, and its share of the objects.

    \b
    Examples:
      tokstore info corpus
      tokstore info corpus --version 1
      tokstore info corpus --json
    """
    from tokstore.opening import open_store

    facts = open_store(store, version=number).describe()
    facts["folder_bytes"] = _folder_bytes(store)
    if as_json:
        print_json(facts)
        return
    from rich.text import Text

    out = console()
    out.print(Text(f"{store}: {_heading(facts)}", style="bold"))
    out.print(_columns(facts))
    out.print(Text(_totals(facts), style="dim"))
    from tokstore.describe import deleted_text

    if advice := deleted_text(facts):
        out.print(Text(advice, style="yellow"))


def _folder_bytes(path: str) -> int:
    """Add up the files below a path: all versions, and whatever else is there."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(path) for name in names)


def _heading(facts: dict[str, Any]) -> str:
    """Say in one line how much there is."""
    from tokstore.describe import count_text

    parts = [f"version {facts['version']}", f"{count_text(facts['samples'])} samples"]
    if facts["tokens"] is not None:
        parts.append(f"{count_text(facts['tokens'])} tokens")
    if facts["bits_per_token"] is not None:
        parts.append(f"{facts['bits_per_token']:.2f} bits/token")
    return " · ".join([*parts, f"{count_text(facts['shards'])} shard{'' if facts['shards'] == 1 else 's'}"])


def _columns(facts: dict[str, Any]) -> Any:
    """Lay out the columns."""
    from rich.table import Table
    from rich.text import Text

    from tokstore.describe import bytes_text, count_text

    rows = []
    for one in facts["columns"]:
        values, taken = one.get("values", 0), one.get("total_bytes", 0)
        forms = [f"{count_text(blocks)} × {form}" for form, blocks in sorted((one.get("forms") or {}).items())]
        rows.append(
            {
                "column": one["name"],
                "type": one["type"],
                "level": one["level"] or "",
                "values": count_text(values),
                "bytes": bytes_text(taken),
                "bits/value": f"{8 * taken / values:.2f}" if values else "",
                "blocks": "\n".join(forms),
                "error": _error(one.get("quality")),
                "range": "" if one.get("min") is None else f"{_short(one['min'])} … {_short(one['max'])}",
                "missing": count_text(one["missing"]) if one.get("missing") else "",
            }
        )
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    shown = [name for name in rows[0] if name not in ("error", "range", "missing") or any(row[name] for row in rows)]
    for name in shown:
        is_number = name in ("values", "bytes", "bits/value", "missing")
        table.add_column(name, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[name]) for name in shown))
    return table


def _error(quality: dict[str, Any] | None) -> str:
    """Say what a codec with losses did, as it was measured."""
    if quality is None:
        return ""
    found = "" if quality["recall10"] is None else f", recall@10 {quality['recall10']:.3f}"
    return f"rms {quality['rms']:.2g}, max {quality['max']:.2g}{found}"


def _short(value: Any) -> str:
    """Write the end of a range."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _totals(facts: dict[str, Any]) -> str:
    """Say in one line where the bytes are."""
    from tokstore.describe import bytes_text

    taken = facts["bytes"]
    parts = [f"{bytes_text(taken[name])} {name}" for name in ("data", "objects", "manifest")]
    return f"{bytes_text(taken['total'])} = {' + '.join(parts)}; the folder holds {bytes_text(facts['folder_bytes'])}"
