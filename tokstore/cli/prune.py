"""``tokstore prune``: remove old versions and what only they need."""

from __future__ import annotations

import re

import click

from tokstore.cli.output import json_option, print_json
from tokstore.cli.store_path import STORE

__all__ = ["prune"]

_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)\Z")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def _read_span(context: click.Context, parameter: click.Parameter, given: str | None) -> float | None:
    """Read a length of time."""
    if given is None:
        return None
    found = _SPAN.match(given)
    if found is None:
        raise click.BadParameter(f"{given!r} is no length of time such as 90m, 24h, 30d or 8w")
    return float(found[1]) * _SECONDS[found[2]]


@click.command(short_help="Remove old versions and their bytes.")
@click.argument("store", type=STORE)
@click.option("--keep", type=click.IntRange(min=1), default=1, show_default=True, help="The newest versions that stay.")
@click.option("--older-than", callback=_read_span, metavar="AGE", help="Only versions that are older, such as 30d.")
@click.option(
    "--grace",
    callback=_read_span,
    default="24h",
    show_default=True,
    metavar="AGE",
    help="How old files have to be that no version names: longer than any writer is at work.",
)
@click.option("--yes", is_flag=True, help="Remove them; without it, only say what would go.")
@json_option
def prune(store: str, keep: int, older_than: float | None, grace: float, yes: bool, as_json: bool) -> None:
    """Remove versions of STORE but the newest and those with a tag, and every file that no version needs any more.

    Nothing is removed without --yes. Nothing brings back what was removed.

    \b
    Examples:
      tokstore prune corpus
      tokstore prune corpus --keep 5 --older-than 30d --yes
      tokstore prune corpus --grace 0s --yes
    """
    from tokstore.describe_text import bytes_text, count_text
    from tokstore.opening import open_store

    done = open_store(store).prune(keep=keep, older_than=older_than, grace=grace, dry_run=not yes)
    if as_json:
        print_json({"path": store} | done.as_dict())
        return
    verb = "removed" if yes else "would remove"
    listed = ", ".join(map(str, done.versions)) or "none"
    click.echo(f"{store}: {verb} {count_text(done.files)} files, {bytes_text(done.nbytes)}; versions: {listed}")
    if not yes and done.files:
        click.echo("nothing was removed; --yes removes it")
