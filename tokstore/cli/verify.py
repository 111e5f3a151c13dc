"""``tokstore verify``: is every byte what was written?"""

from __future__ import annotations

import click

from tokstore.cli.output import json_option, print_json
from tokstore.cli.progress import progress_bars
from tokstore.cli.store_path import STORE

__all__ = ["verify"]


@click.command(short_help="Check every byte.")
@click.argument("store", type=STORE)
@click.option("--version", "number", type=int, help="An older version than the newest.")
@json_option
@click.pass_context
def verify(context: click.Context, store: str, number: int | None, as_json: bool) -> None:
    """Read all of STORE, check it against the format, and list what is wrong.

    Ends with 0 if nothing is, and with 1 if anything is. Nothing is ever repaired.

    \b
    Examples:
      tokstore verify corpus
      tokstore verify corpus --version 1 --json
    """
    from tokstore.describe_text import bytes_text, count_text
    from tokstore.verify_store import verify as check

    with progress_bars() as progress:
        report = check(store, number, progress=progress)
    if as_json:
        print_json(report.as_dict())
    else:
        for problem in report.problems:
            click.echo(f"{type(problem).__name__}: {problem}")
        for line in report.unchecked:
            click.echo(f"not checked: {line}")
        seen = f"{report.files} files, {bytes_text(report.nbytes)}, {count_text(report.values)} values"
        found = "sound" if report.ok else f"{len(report.problems)} problems"
        click.echo(f"{store}: version {report.version}: {found} ({seen})")
    if not report.ok:
        context.exit(1)
