"""``tokstore tag``: names for versions."""

from __future__ import annotations

import click

from tokstore.cli.output import json_option, print_json
from tokstore.cli.store_path import STORE

__all__ = ["tag"]


@click.command(short_help="Name a version, or list the names.")
@click.argument("store", type=STORE)
@click.argument("name", required=False)
@click.option("--version", "number", type=int, help="The version to name; the newest by default.")
@click.option("--replace", is_flag=True, help="Take the name from the version that has it.")
@click.option("--remove", is_flag=True, help="Take the name away.")
@json_option
def tag(store: str, name: str | None, number: int | None, replace: bool, remove: bool, as_json: bool) -> None:
    """Give a version of STORE the NAME, which keeps it from `tokstore prune`. Without NAME, list the tags.

    \b
    Examples:
      tokstore tag corpus v1
      tokstore tag corpus best --version 3 --replace
      tokstore tag corpus v1 --remove
      tokstore tag corpus
    """
    if name is None and (number is not None or replace or remove):
        raise click.UsageError("Say which NAME.")
    if remove and (number is not None or replace):
        raise click.UsageError("--remove stands alone.")
    from tokstore.opening import open_store

    opened = open_store(store)
    if name is not None and remove:
        opened.untag(name)
    elif name is not None:
        opened.tag(name, number, exist="replace" if replace else "error")
    if as_json:
        print_json({"path": store, "version": opened.version, "tags": opened.tags()})
        return
    for one, version in sorted(opened.tags().items()):
        click.echo(f"{one}: version {version}")
