"""``tokstore dedup``: find duplicates, and keep them as columns."""

from __future__ import annotations

import re

import click

from tokstore.cli.output import json_option, print_json
from tokstore.cli.progress import progress_bars
from tokstore.cli.store_path import STORE

__all__ = ["dedup"]


def _bytes(context: click.Context, parameter: click.Parameter, text: str) -> int:
    """Return a number of bytes such as 2GB or 512MiB."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?", text.strip(), re.IGNORECASE)
    if match is None or (match[3] and not match[2]):
        raise click.BadParameter(f"{text!r} is no number of bytes such as 2GB or 512MiB.")
    power = " KMGT".index(match[2].upper() or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power)


@click.command(short_help="Find duplicates; keep them as columns.")
@click.argument("store", type=STORE)
@click.option(
    "--method",
    type=click.Choice(("exact", "near", "semantic", "spans")),
    help="exact: equal in every token. near: similar sets of n-grams, by MinHash. semantic: close vectors. "
    "spans: runs of tokens that came before.",
)
@click.option(
    "--against", metavar="OTHER", type=STORE, help="Look for spans that another store has, such as a test set."
)
@click.option("--name", help="Name of the columns, dup_NAME_of and so on; the method by default.")
@click.option("--column", help="What is compared; the token column by default, or that of vectors.")
@click.option("--where", metavar="CONDITION", help="Look at the samples for which it is true, and at no others.")
@click.option(
    "--within", metavar="COLUMN", multiple=True, help="Duplicates are equal in this column too; may be repeated."
)
@click.option("--threshold", type=float, help="Least similarity: Jaccard, 0.8 by default, or cosine, 0.9 by default.")
@click.option("--ngram", type=int, help="Tokens of an n-gram, or words: 5 by default, spans: 50, with --against 13.")
@click.option(
    "--ngrams",
    type=click.Choice(("tokens", "text")),
    default="tokens",
    show_default=True,
    help="near: n-grams of tokens, or of the words of the text, by the tokenizer of the store.",
)
@click.option("--bands", type=int, default=14, show_default=True, help="near: bands of a signature.")
@click.option("--width", type=int, default=8, show_default=True, help="near: values of a band.")
@click.option("--seed", type=int, default=0, show_default=True, help="near, semantic: what is random follows from it.")
@click.option("--confirm", is_flag=True, help="near: compare the n-grams themselves; else similarity is estimated.")
@click.option("--groups", type=int, help="semantic: groups of vectors; by default the root of their number.")
@click.option(
    "--keep-signatures", is_flag=True, help="Keep signatures as a column: later runs compare new samples alone."
)
@click.option("--memory", default="2GB", show_default=True, callback=_bytes, help="What the search takes at most.")
@click.option(
    "--temp", type=click.Path(file_okay=False), help="Where to make a folder to work in; by default beside the store."
)
@click.option("--report", type=click.Path(dir_okay=False), help="Write a report on duplicates: one HTML file.")
@json_option
def dedup(
    store: str,
    method: str | None,
    against: str | None,
    name: str | None,
    column: str | None,
    where: str | None,
    within: tuple[str, ...],
    threshold: float | None,
    ngram: int | None,
    ngrams: str,
    bands: int,
    width: int,
    seed: int,
    confirm: bool,
    groups: int | None,
    keep_signatures: bool,
    memory: int,
    temp: str | None,
    report: str | None,
    as_json: bool,
) -> None:
    """Find duplicates among the samples of STORE, and keep them as columns; no sample goes.

    dup_NAME_of has the sample id of the first sample of a cluster for all its other samples, and is missing for those
    that stay; dup_NAME_size has the samples of the cluster. All but exact duplicates have dup_NAME_similarity and
    dup_NAME_link, the earlier sample that they were joined to. view.dedup(NAME) leaves them out. A run that was stopped
    goes on where it was; columns that are there are replaced. After an append only new samples are compared: spans in
    any case, others where signatures were kept.

    \b
    Examples:
      tokstore dedup corpus --method exact
      tokstore dedup corpus --method near --confirm --keep-signatures --report report.html
      tokstore dedup corpus --method near --name by_source --within source
      tokstore dedup corpus --method near --name words --ngrams text
      tokstore dedup corpus --against test --ngram 13
      tokstore dedup corpus --method semantic --column embedding --threshold 0.92
    """
    from pathlib import Path

    from tokstore.dedup import mark
    from tokstore.describe_text import count_text
    from tokstore.opening import open_store

    if (method is None) == (against is None):
        raise click.UsageError("Give one of --method and --against.")
    if report is not None and method not in ("exact", "near", "semantic"):
        raise click.UsageError("--report is for exact, near and semantic duplicates.")
    if method in (None, "spans") and (
        column or within or threshold is not None or confirm or groups or keep_signatures or ngrams != "tokens"
    ):
        raise click.UsageError("Of these options, spans have --ngram, --name, --where, --memory, --temp and --json.")
    opened = open_store(store)
    if method is None or method == "spans":
        from tokstore.dedup import mark_spans

        other = None if against is None else open_store(against)
        work = None if temp is None else Path(temp)
        with progress_bars() as progress:
            note = mark_spans(
                opened,
                against=other,
                ngram=ngram,
                name=name,
                where=where,
                memory=memory,
                folder=work,
                progress=progress,
            )
        if as_json:
            print_json({"path": store, "version": opened.version} | note)
            return
        samples, tokens = count_text(note["samples"]), count_text(note["tokens_in_spans"])
        click.echo(
            f"{store}: version {opened.version}: {count_text(note['touched'])} of {samples} samples have spans of "
            f"{note['ngram']} tokens that came before, {tokens} tokens in all"
        )
        return
    with progress_bars() as progress:
        found = mark(
            opened,
            method,
            name=name,
            column=column,
            where=where,
            within=within,
            threshold=threshold,
            ngram=5 if ngram is None else ngram,
            ngrams=ngrams,
            bands=bands,
            width=width,
            seed=seed,
            confirm=confirm,
            groups=groups,
            keep_signatures=keep_signatures,
            memory=memory,
            folder=None if temp is None else Path(temp),
            progress=progress,
        )
    if report is not None:
        from tokstore.dedup.report import report_html

        part = Path(f"{report}.part")
        part.write_text(report_html(opened, found.name), encoding="utf-8")
        part.replace(report)
    if as_json:
        print_json({"path": store, "version": found.version, "name": found.name} | found.note)
        return
    click.echo(
        f"{store}: version {found.version}: {count_text(found.duplicates)} of {count_text(found.samples)} samples are "
        f"{method} duplicates, in {count_text(found.clusters)} clusters of at most {count_text(found.largest)}"
    )
