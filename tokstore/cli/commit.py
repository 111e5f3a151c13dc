"""``tokstore commit``: one version of the parts that jobs have staged."""

from __future__ import annotations

import click

from tokstore.cli.output import json_option, print_json
from tokstore.cli.store_path import STORE

__all__ = ["commit"]


@click.command(short_help="Make one version of staged parts.")
@click.argument("store", type=STORE)
@click.argument("parts", nargs=-1)
@json_option
def commit(store: str, parts: tuple[str, ...], as_json: bool) -> None:
    """Make one version of the PARTS of STORE that were staged, or of all of them.

    \b
    Examples:
      tokstore commit corpus
      tokstore commit corpus 00001 00002
    """
    from tokstore.opening import open_store

    opened = open_store(store)
    before = len(opened)
    version = opened.commit(parts=list(parts) if parts else "all")
    added = len(opened) - before
    facts = {"path": store, "version": version, "samples": len(opened), "samples_added": added}
    if as_json:
        print_json(facts)
        return
    click.echo(f"{store}: version {version}: {len(opened):,} samples, {added:,} of them new")
