"""``tokstore compact``: shards without their deleted samples, and small ones as one."""

from __future__ import annotations

import click

from tokstore.cli.output import json_option, print_json
from tokstore.cli.progress import progress_bars
from tokstore.cli.store_path import STORE

__all__ = ["compact"]


@click.command(short_help="Rewrite shards with deleted samples.")
@click.argument("store", type=STORE)
@click.option(
    "--min-deleted",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Share of deleted samples from which on a shard is rewritten.",
)
@click.option("--merge", is_flag=True, help="Only join small neighbouring shards, deletions or not.")
@click.option("--erase", is_flag=True, help="Let nothing of a deleted sample stay in the newest version.")
@click.option("--shard-tokens", type=click.IntRange(min=1), default=1 << 27, show_default=True, help="Of a full shard.")
@json_option
def compact(store: str, min_deleted: float, merge: bool, erase: bool, shard_tokens: int, as_json: bool) -> None:
    """Rewrite the shards of STORE that have many deleted samples. Order and sample ids stay.

    Earlier versions stay too, with all their bytes, until `tokstore prune` removes them.

    \b
    Examples:
      tokstore compact corpus
      tokstore compact corpus --merge
      tokstore compact corpus --erase && tokstore prune corpus --grace 0s --yes
    """
    if merge and erase:
        raise click.UsageError("--merge and --erase do not go together.")
    from dataclasses import asdict

    from tokstore.opening import open_store

    opened = open_store(store)
    with progress_bars() as progress:
        if merge:
            done = opened.merge(shard_tokens=shard_tokens, progress=progress)
        else:
            done = opened.compact(min_deleted=min_deleted, erase=erase, shard_tokens=shard_tokens, progress=progress)
    if as_json:
        print_json({"path": store, "version": opened.version} | asdict(done))
        return
    click.echo(
        f"{store}: version {opened.version}: {done.replaced:,} shards became {done.made:,}, "
        f"{done.left_out:,} deleted samples left out"
    )
    if done.conflicts:
        click.echo(f"{done.conflicts:,} groups of shards were left alone, since others changed them; compact again")
