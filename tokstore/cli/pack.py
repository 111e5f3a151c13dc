"""``tokstore pack``: texts, ids and columns of any known format to a store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

import click

from tokstore.cli.output import json_option, print_json
from tokstore.cli.progress import progress_bars

__all__ = ["pack", "pairs_of", "print_lines"]

LEVELS = ("plain", "fast", "default", "small")


@click.command(short_help="Bring texts, ids and columns into a store.")
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, allow_dash=True))
@click.argument("store", type=click.Path())
@click.option("--format", "form", metavar="NAME", help="The format of the sources; `tokstore formats` lists them.")
@click.option("--tokenizer", type=click.Path(exists=True), help="A tokenizer.json, or a folder for --messages.")
@click.option("--bytes", "as_bytes", is_flag=True, help="One id per byte of text, instead of a tokenizer.")
@click.option(
    "--text", "field", metavar="COLUMN", help="The column or field with the text; 'text' where there are no ids."
)
@click.option("--messages", metavar="COLUMN", help="The column with chats, for the tokenizer's chat template.")
@click.option("--columns", metavar="A,B", help="Only these columns; of JSON lines with text, these beside the text.")
@click.option("--rename", multiple=True, metavar="OLD=NEW", help="Call a column otherwise; may be repeated.")
@click.option("--vocab-size", type=click.IntRange(1), help="Size of the vocabulary of ids that come as they are.")
@click.option("--dtype", help="The dtype of raw ids in .bin files; uint16 by default.")
@click.option("--doc-end", type=int, metavar="ID", help="The id that ends a document in files of nothing but ids.")
@click.option("--seq-len", type=click.IntRange(1), help="Cut files of nothing but ids into samples of this length.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Of folders of text, only files that match.")
@click.option("--level", type=click.Choice(LEVELS), help="How hard to compress; by default as the store, or `default`.")
@click.option("--append", is_flag=True, help="Add to the store if it is there.")
@click.option("--part", metavar="NAME", help="Stage a part; `tokstore commit` makes one version of all parts.")
@click.option("--resume", is_flag=True, help="Stage each file as a part; the same command goes on after a kill.")
@click.option("--eos", metavar="TOKEN", default="auto", help="The token that ends a document; 'none' for none.")
@click.option("--bos", metavar="TOKEN", default="auto", help="The token that begins a document; 'none' for none.")
@click.option(
    "--on-error", type=click.Choice(("stop", "skip")), default="stop", help="What to do about a bad row or file."
)
@click.option("--no-verify", is_flag=True, help="Do not read the samples back.")
@json_option
def pack(
    sources: tuple[str, ...],
    store: str,
    form: str | None,
    tokenizer: str | None,
    as_bytes: bool,
    field: str | None,
    messages: str | None,
    columns: str | None,
    rename: tuple[str, ...],
    vocab_size: int | None,
    dtype: str | None,
    doc_end: int | None,
    seq_len: int | None,
    include: tuple[str, ...],
    level: str | None,
    append: bool,
    part: str | None,
    resume: bool,
    eos: str,
    bos: str,
    on_error: str,
    no_verify: bool,
    as_json: bool,
) -> None:
    """Bring SOURCES into STORE: texts through a tokenizer, ids and other columns as they are.

    A source is a file, a folder, or - for JSON lines with text on standard input. Formats are recognised by what a
    source holds; see `tokstore formats`. Of a file that is none of them, the text as a whole is one sample; files that
    end in .jsonl, .ndjson or .json have one object per line. Texts may be compressed with gzip or zstd.

    \b
    Examples:
      tokstore pack texts.jsonl.zst corpus --tokenizer tokenizer.json
      tokstore pack ~/src corpus --bytes --include '*.py' --include '*.md'
      tokstore pack ids.parquet corpus --rename input_ids=tokens --vocab-size 50257
      tokstore pack fineweb/ corpus --tokenizer tokenizer.json --columns text,url,score --resume
      tokstore pack chats.jsonl sft --messages messages --tokenizer model-folder
      tokstore pack train.bin corpus --doc-end 50256
      tokstore pack 00017.jsonl corpus --tokenizer tokenizer.json --part 00017
      tokstore commit corpus
    """
    if as_bytes and tokenizer is not None:
        raise click.UsageError("Give one of --tokenizer FILE and --bytes.")
    if part is not None and append:
        raise click.UsageError("--part adds to the store already; leave out --append.")
    from tokstore.cli.tool import load_tool

    run = load_tool("pack")
    try:
        with progress_bars() as progress:
            report = run(
                sources,
                store,
                format=form,
                tokenizer=tokenizer,
                text=field,
                messages=messages,
                columns=None if columns is None else columns.split(","),
                rename=pairs_of(rename, "--rename"),
                vocab_size=vocab_size,
                dtype=dtype,
                doc_end=doc_end,
                seq_len=seq_len,
                include=include,
                level=level,
                exist="append" if append else "error",
                part=part,
                resume=resume,
                eos=None if eos == "none" else eos,
                bos=None if bos == "none" else bos,
                on_error=on_error,
                verify=not no_verify,
                needs_tokenizer=not as_bytes,
                progress=progress,
            )
    except ValueError as error:
        if getattr(error, "is_usage", False):
            raise click.UsageError(str(error)) from error
        raise
    if report.skipped:
        click.echo(
            f"passed over {len(report.skipped)} files that are no UTF-8 text, such as {report.skipped[0]}", err=True
        )
    if report.bad_rows:
        click.echo(f"left out {report.bad_rows} bad rows or files, the first: {report.first_bad}", err=True)
    if as_json:
        print_json(asdict(report))
        return
    print_lines(report.lost)
    from tokstore.describe_text import bytes_text, count_text

    made = f"version {report.version}" if report.part is None else f"part {report.part}, not yet committed"
    of = f" from {bytes_text(report.text_bytes)} of text" if report.text_bytes else f", from {report.format}"
    checked = ", read back and equal" if report.verified else ""
    click.echo(
        f"{report.path}: {made}: {count_text(report.samples)} samples, {count_text(report.tokens)} tokens{of}{checked}"
    )
    if report.format != "text" and report.vocabulary:
        click.echo(f"vocabulary: {report.vocabulary}")


def pairs_of(given: Sequence[str], option: str) -> dict[str, str]:
    """Return ``OLD=NEW`` words as a dict."""
    found = dict(one.partition("=")[::2] for one in given)
    if not all(old and new for old, new in found.items()):
        raise click.UsageError(f"{option} takes OLD=NEW, not {json.dumps(list(given))}.")
    return found


def print_lines(lost: Sequence[str]) -> None:
    """Print what was not carried, a line each."""
    for line in lost:
        click.echo(f"not carried: {line}")
