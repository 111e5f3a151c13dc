"""``tokstore info``: what a store holds and what it takes."""

from __future__ import annotations

import os
from textwrap import fill
from typing import Any

import click

from tokstore.cli.output import console, json_option, print_json
from tokstore.cli.store_path import STORE

__all__ = ["info"]


@click.command(short_help="Show columns, codecs and bytes.")
@click.argument("store", type=STORE)
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

    opened = open_store(store, version=number)
    facts = opened.describe()
    facts["folder_bytes"] = _folder_bytes(store)
    facts["views"] = [
        {"name": one.name, "samples": one.samples, "version": one.version, "recipe": one.recipe}
        for one in opened.views()
    ]
    if as_json:
        print_json(facts)
        return
    from rich.text import Text

    from tokstore.describe_text import laid_out, version_text

    out = console()
    for line in [
        version_text(store, facts, out.width),
        "",
        *(f"  {line}" for line in laid_out(_coding(facts), out.width - 2)),
        "",
    ]:
        out.print(Text(line), soft_wrap=True)
    out.print(Text(fill(_totals(facts), out.width, subsequent_indent="  "), style="dim"), soft_wrap=True)
    out.print(Text(f"next: tokstore cat {store} 0\n      tokstore verify {store}", style="dim"), soft_wrap=True)


def _folder_bytes(path: str) -> int:
    """Add up the files below a path: all versions, and whatever else is there."""
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(path) for name in names)


def _coding(facts: dict[str, Any]) -> list[dict[str, str]]:
    """Return how the blocks of each column are coded, as rows of a table."""
    from tokstore.describe_text import count_text

    rows = []
    for one in facts["columns"]:
        forms = [f"{count_text(blocks)} × {form}" for form, blocks in sorted((one.get("forms") or {}).items())]
        rows.append({"column": one["name"], "level": one["level"] or "", "blocks": "; ".join(forms)})
    return rows


def _totals(facts: dict[str, Any]) -> str:
    """Say in one line where the bytes are."""
    from tokstore.describe_text import bytes_text

    taken = facts["bytes"]
    parts = [f"{bytes_text(taken[name])} {name}" for name in ("data", "objects", "manifest")]
    return f"{bytes_text(taken['total'])} = {' + '.join(parts)}; the folder holds {bytes_text(facts['folder_bytes'])}"
