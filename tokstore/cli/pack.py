"""``tokstore pack``: text files to a store."""

from __future__ import annotations

from dataclasses import asdict

import click

from tokstore.cli.output import json_option, print_json
from tokstore.cli.progress import progress_bars

__all__ = ["pack"]

LEVELS = ("plain", "fast", "default", "small")


@click.command(short_help="Tokenize text into a store.")
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True))
@click.argument("store", type=click.Path())
@click.option("--tokenizer", type=click.Path(exists=True, dir_okay=False), help="A tokenizer.json of `tokenizers`.")
@click.option("--bytes", "as_bytes", is_flag=True, help="One id per byte, instead of a tokenizer.")
@click.option("--text", "field", default="text", show_default=True, help="The field of a JSON line with the text.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Of folders, only files that match; may be repeated.")
@click.option("--level", type=click.Choice(LEVELS), help="How hard to compress; by default as the store, or `default`.")
@click.option("--append", is_flag=True, help="Add to the store if it is there.")
@click.option("--part", metavar="NAME", help="Stage a part; `tokstore commit` makes one version of all parts.")
@click.option("--eos", metavar="TOKEN", default="auto", help="The token that ends a document; 'none' for none.")
@click.option("--bos", metavar="TOKEN", default="auto", help="The token that begins a document; 'none' for none.")
@json_option
def pack(
    sources: tuple[str, ...],
    store: str,
    tokenizer: str | None,
    as_bytes: bool,
    field: str,
    include: tuple[str, ...],
    level: str | None,
    append: bool,
    part: str | None,
    eos: str,
    bos: str,
    as_json: bool,
) -> None:
    """Tokenize SOURCES into STORE.

    A source is a file, a folder, or - for JSON lines on standard input. Files that end in .jsonl, .ndjson or .json have
    one object per line and one sample in each; any other file is one sample. All may be compressed with gzip or zstd.

    \b
    Examples:
      tokstore pack texts.jsonl.zst corpus --tokenizer tokenizer.json
      tokstore pack ~/src corpus --bytes --include '*.py' --include '*.md'
      zcat dump.gz | tokstore pack - corpus --tokenizer tokenizer.json --text body
      tokstore pack 00017.jsonl corpus --tokenizer tokenizer.json --part 00017
      tokstore commit corpus
    """
    if as_bytes == (tokenizer is not None):
        raise click.UsageError("Give one of --tokenizer FILE and --bytes.")
    if part is not None and append:
        raise click.UsageError("--part adds to the store already; leave out --append.")
    from tokstore.cli.tool import load_tool

    run = load_tool("pack")
    with progress_bars() as progress:
        report = run(
            sources,
            store,
            tokenizer=tokenizer,
            text=field,
            include=include,
            level=level,
            exist="append" if append else "error",
            part=part,
            eos=None if eos == "none" else eos,
            bos=None if bos == "none" else bos,
            progress=progress,
        )
    if report.skipped:
        click.echo(
            f"passed over {len(report.skipped)} files that are no UTF-8 text, such as {report.skipped[0]}", err=True
        )
    if as_json:
        print_json(asdict(report))
        return
    from tokstore.describe_text import bytes_text, count_text

    made = f"version {report.version}" if report.part is None else f"part {report.part}, not yet committed"
    click.echo(
        f"{report.path}: {made}: {count_text(report.samples)} samples, {count_text(report.tokens)} tokens"
        f" from {bytes_text(report.text_bytes)} of text"
    )
