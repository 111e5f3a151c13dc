"""``tokstore delete``: a version without some samples."""

from __future__ import annotations

import click

from tokstore.cli.cat import Picks, read_picks
from tokstore.cli.output import json_option, print_json
from tokstore.cli.store_path import STORE

__all__ = ["delete"]


@click.command(short_help="Delete samples.", context_settings={"ignore_unknown_options": True})
@click.argument("store", type=STORE)
@click.argument("picks", nargs=-1, callback=read_picks)
@click.option("--id", "ids", type=int, multiple=True, help="A sample id; may be repeated.")
@click.option("--where", metavar="CONDITION", help="Delete all samples for which it is true.")
@json_option
def delete(store: str, picks: Picks, ids: tuple[int, ...], where: str | None, as_json: bool) -> None:
    """Delete the samples of STORE at PICKS, positions such as 17 or -1 and ranges such as 5:9.

    Earlier versions keep them. `tokstore compact` and `tokstore prune` give their bytes back.

    \b
    Examples:
      tokstore delete corpus 17 100:200
      tokstore delete corpus --id 4711 --id 4712
      tokstore delete corpus --where "quality < 0.2"
    """
    if sum([bool(picks), bool(ids), where is not None]) != 1:
        raise click.UsageError("Give one of PICKS, --id and --where.")
    import numpy as np

    from tokstore.describe_text import count_text
    from tokstore.opening import open_store

    opened = open_store(store)
    count = len(opened)
    if picks:
        chosen = [np.arange(count)[one if isinstance(one, slice) else slice(*_one(one, count, store))] for one in picks]
        deleted = opened.delete(np.concatenate(chosen))
    else:
        deleted = opened.delete(ids=list(ids)) if ids else opened.delete(where=where)
    if as_json:
        print_json({"path": store, "version": opened.version, "samples": len(opened), "samples_deleted": deleted})
        return
    click.echo(f"{store}: version {opened.version}: {count_text(len(opened))} samples, {count_text(deleted)} deleted")


def _one(position: int, count: int, path: str) -> tuple[int, int]:
    """Return the range of one position."""
    if not -count <= position < count:
        raise ValueError(f"{path}: there is no sample {position}; it has {count} samples")
    return position % count, position % count + 1
