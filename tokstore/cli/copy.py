"""``tokstore copy``: a store as it is, several stores as one, a saved view as a store."""

from __future__ import annotations

from dataclasses import asdict

import click

from tokstore.cli.output import json_option, print_json
from tokstore.cli.pack import LEVELS, print_lines
from tokstore.cli.progress import progress_bars
from tokstore.cli.store_path import STORE

__all__ = ["copy"]


@click.command(short_help="Copy or merge stores, or a view of one.")
@click.argument("sources", nargs=-1, required=True, type=STORE)
@click.argument("target", type=click.Path())
@click.option("--view", metavar="NAME", help="The samples of a view that is saved in every source.")
@click.option("--where", metavar="CONDITION", help="Only samples for which a condition is true.")
@click.option("--level", type=click.Choice(LEVELS), help="Encode anew at another level.")
@json_option
def copy(
    sources: tuple[str, ...], target: str, view: str | None, where: str | None, level: str | None, as_json: bool
) -> None:
    """Copy SOURCES to a new store TARGET.

    One store is copied byte for byte, with its sample ids, versions and views. Several are merged in the order given,
    and views are written, as stores of their own: encoded anew, with new sample ids. All is read back and compared.

    \b
    Examples:
      tokstore copy corpus /mnt/backup/corpus
      tokstore copy web books code corpus
      tokstore copy corpus train --view train --level small
    """
    from tokstore.cli.tool import load_tool
    from tokstore.opening import open_store

    chosen: list[object] = list(sources)
    if view is not None or where is not None:
        opened = [open_store(one) for one in sources]
        views = [one if view is None else one.load(view) for one in opened]
        chosen = [one if where is None else one.where(where) for one in views]
    run = load_tool("copy")
    with progress_bars() as progress:
        report = run(chosen, target, level=level, progress=progress)
    if as_json:
        print_json(asdict(report))
        return
    print_lines(report.lost)
    from tokstore.describe_text import bytes_text, count_text

    how = "files as they are" if report.how == "files" else "encoded anew"
    size = bytes_text(report.stored_bytes)
    click.echo(f"{report.path}: {count_text(report.samples)} samples, {size}, {how}, read back and equal")
