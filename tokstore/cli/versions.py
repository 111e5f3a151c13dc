"""``tokstore versions``: what was committed, and when."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timezone

import click

from tokstore.cli.output import console, json_option, print_json
from tokstore.cli.store_path import STORE

__all__ = ["versions"]


@click.command(short_help="List what was committed.")
@click.argument("store", type=STORE)
@json_option
def versions(store: str, as_json: bool) -> None:
    """List the versions of STORE that are there, newest first.

    \b
    Examples:
      tokstore versions corpus
      tokstore info corpus --version 3
    """
    from rich.table import Table

    from tokstore.describe_text import count_text
    from tokstore.opening import open_store

    listed = open_store(store).versions()
    if as_json:
        print_json({"path": store, "versions": [asdict(one) | {"tags": list(one.tags)} for one in listed]})
        return
    table = Table(box=None, pad_edge=False)
    for name in ("version", "committed (UTC)", "by", "samples", "new", "tags"):
        table.add_column(name, justify="right" if name in ("version", "samples", "new") else "left")
    for one in listed:
        when = datetime.fromtimestamp(one.created_ms / 1000, timezone.utc)
        counts = count_text(one.samples), count_text(one.samples_added)
        table.add_row(str(one.version), f"{when:%Y-%m-%d %H:%M:%S}", one.verb, *counts, ", ".join(one.tags))
    console().print(table)
