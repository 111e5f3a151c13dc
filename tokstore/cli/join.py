"""``tokstore join``: scores and subsets that others published, as columns and views."""

from __future__ import annotations

import os
from dataclasses import asdict

import click

from tokstore.cli.output import json_option, print_json
from tokstore.cli.pack import pairs_of, print_lines
from tokstore.cli.progress import progress_bars
from tokstore.cli.store_path import STORE

__all__ = ["join"]


@click.command(short_help="Add columns of another source by a key.")
@click.argument("store", type=STORE)
@click.argument("source", type=click.Path(exists=True))
@click.option("--key", required=True, metavar="COLUMN", help="The column of STORE with the keys, or sample_id.")
@click.option("--source-key", metavar="COLUMN", help="The column of SOURCE with the keys; of the same name by default.")
@click.option("--columns", metavar="A,B", help="Only these columns.")
@click.option("--rename", multiple=True, metavar="OLD=NEW", help="Call a column otherwise; may be repeated.")
@click.option("--format", "form", metavar="NAME", help="The format of SOURCE, where it cannot be recognised.")
@click.option("--subset", metavar="VIEW", help="SOURCE is a sorted u8,u8 array of uids; save them as this view.")
@click.option("--cartography", is_flag=True, help="SOURCE is a folder with logs of training dynamics.")
@json_option
def join(
    store: str,
    source: str,
    key: str,
    source_key: str | None,
    columns: str | None,
    rename: tuple[str, ...],
    form: str | None,
    subset: str | None,
    cartography: bool,
    as_json: bool,
) -> None:
    """Add the columns of SOURCE to the samples of STORE that have its keys. No shard is rewritten.

    \b
    Examples:
      tokstore join corpus scores.parquet --key id --columns score,int_score
      tokstore join datacomp subset.npy --key uid --subset datacomp1b
      tokstore join snli training_dynamics/ --key guid --cartography
    """
    if subset is not None and cartography:
        raise click.UsageError("Give one of --subset and --cartography.")
    from tokstore.cli.tool import load_tool
    from tokstore.opening import open_store

    opened = open_store(store)
    if subset is not None:
        view = load_tool("subset")(opened, source, key=key)
        view.save(subset)
        if as_json:
            print_json({"view": subset, "samples": len(view)})
        else:
            click.echo(f"{store}: view {subset}: {len(view):,} of {len(opened):,} samples")
        return
    with progress_bars() as progress:
        if cartography:
            report = load_tool("join_dynamics")(opened, source, key=key)
        else:
            report = load_tool("join")(
                opened,
                os.fspath(source),
                key=key,
                source_key=source_key,
                columns=None if columns is None else columns.split(","),
                rename=pairs_of(rename, "--rename"),
                format=form,
                progress=progress,
            )
    if as_json:
        print_json(asdict(report))
        return
    print_lines(report.lost)
    names = ", ".join(report.columns)
    click.echo(
        f"{store}: {names}: {report.matched:,} of {len(opened):,} samples, {report.unknown:,} keys are not theirs"
    )
