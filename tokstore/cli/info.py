"""``tokstore info``: what a store holds and what it takes."""

from __future__ import annotations

import os
from textwrap import fill
from typing import TYPE_CHECKING, Any

import click

from tokstore.cli.output import json_option, print_json, width
from tokstore.cli.store_path import STORE

if TYPE_CHECKING:
    from tokstore.version import Version

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
    # Only what finds and describes a version: what reads and writes samples takes longer to import than this to run.
    from tokstore.describe import describe_version
    from tokstore.describe_text import laid_out, version_text
    from tokstore.locating import locate
    from tokstore.version import Version

    found = locate(store, number)
    version = Version(found.storage, found.root, found.file_name)
    facts = {"path": version.path} | describe_version(version, deep=True)
    facts["folder_bytes"] = _folder_bytes(store)
    facts["views"] = _views(version)
    if as_json:
        print_json(facts)
        return
    wide = width()
    click.echo(version_text(store, facts, wide))
    lines = laid_out(_coding(facts), wide - 2)
    click.echo("\n".join(["", *(f"  {line}" for line in lines), ""]))
    click.secho(fill(_totals(facts), wide, subsequent_indent="  "), dim=True)
    click.secho(f"next: tokstore cat {store} 0\n      tokstore verify {store}", dim=True)


def _views(version: Version) -> list[dict[str, Any]]:
    """Return the views that are saved beside a version."""
    if version.file_name is not None or not version.storage.list("views"):
        return []
    from tokstore.saved_view import read_saved, saved_names
    from tokstore.view_text import recipe_text

    names = saved_names(version.storage)
    return [
        {"name": name, "samples": one.samples, "version": one.version, "recipe": recipe_text(one.recipe)}
        for name, one in zip(names, read_saved(version.storage, names), strict=True)
    ]


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
