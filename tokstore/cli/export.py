"""``tokstore export``: a store, or some of its samples, in another format."""

from __future__ import annotations

from dataclasses import asdict

import click

from tokstore.cli.output import json_option, print_json
from tokstore.cli.pack import print_lines
from tokstore.cli.progress import progress_bars
from tokstore.cli.store_path import STORE

__all__ = ["export"]


@click.command(short_help="Write samples in another format.")
@click.argument("store", type=STORE)
@click.argument("target", type=click.Path())
@click.option("--format", "form", metavar="NAME", help="`tokstore formats` lists them; by default as TARGET ends.")
@click.option("--version", metavar="VERSION", help="A number or a tag; the newest by default.")
@click.option("--view", metavar="NAME", help="The samples of a saved view.")
@click.option("--where", metavar="CONDITION", help="Only samples for which a condition is true.")
@click.option("--columns", metavar="A,B", help="Only these columns.")
@click.option("--dtype", help="The dtype of ids, for formats that leave a choice.")
@click.option("--doc-end", type=int, metavar="ID", help="The id to put behind every sample, in files of only ids.")
@click.option("--shard-rows", type=click.IntRange(1), help="Samples of one file, for formats of many files.")
@click.option("--replace", is_flag=True, help="Take the place of what is there.")
@click.option("--no-verify", is_flag=True, help="Do not read the target back.")
@json_option
def export(
    store: str,
    target: str,
    form: str | None,
    version: str | None,
    view: str | None,
    where: str | None,
    columns: str | None,
    dtype: str | None,
    doc_end: int | None,
    shard_rows: int | None,
    replace: bool,
    no_verify: bool,
    as_json: bool,
) -> None:
    """Write the samples of STORE to TARGET in another format.

    TARGET is written aside, read back and compared, and only then gets its name. What the format cannot hold is listed.

    \b
    Examples:
      tokstore export corpus corpus.parquet
      tokstore export corpus good.jsonl.zst --where "quality >= 0.5" --columns tokens,quality
      tokstore export corpus train.bin --doc-end 50256
      tokstore export corpus mds-folder --format mds --view train
    """
    from tokstore.cli.tool import load_tool
    from tokstore.opening import open_store

    number: int | str | None = int(version) if version is not None and version.isdigit() else version
    opened = open_store(store, number)
    chosen = opened if view is None else opened.load(view)
    if where is not None:
        chosen = chosen.where(where)
    run = load_tool("export")
    with progress_bars() as progress:
        report = run(
            chosen,
            target,
            format=form,
            columns=None if columns is None else columns.split(","),
            dtype=dtype,
            doc_end=doc_end,
            shard_rows=shard_rows,
            exist="replace" if replace else "error",
            verify=not no_verify,
            progress=progress,
        )
    if as_json:
        print_json(asdict(report))
        return
    print_lines(report.lost)
    from tokstore.describe_text import bytes_text, count_text

    checked = ", read back and equal" if report.verified else ""
    size = bytes_text(report.stored_bytes)
    click.echo(f"{report.path}: {report.format}: {count_text(report.samples)} samples, {size}{checked}")
