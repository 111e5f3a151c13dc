"""``tokstore formats``: what can be packed and exported."""

from __future__ import annotations

import click

from tokstore.cli.output import console, json_option, print_json

__all__ = ["formats"]


@click.command(short_help="List the formats that can be packed and exported.")
@json_option
def formats(as_json: bool) -> None:
    """List the formats that `pack` reads and `export` writes, with what survives in each.

    Packages can add formats with entry points of the group tokstore.formats.

    \b
    Examples:
      tokstore formats
      tokstore formats --json
    """
    from tokstore.cli.tool import load_tool

    found = sorted(load_tool("formats")(), key=lambda one: one.name)
    if as_json:
        keys = ("name", "endings", "writes", "survives")
        print_json([{key: getattr(one, key) for key in keys} for one in found])
        return
    from rich.table import Table

    table = Table("format", "endings", "direction", "what survives")
    for one in found:
        table.add_row(one.name, " ".join(one.endings), "both ways" if one.writes else "read", one.survives)
    console().print(table)
