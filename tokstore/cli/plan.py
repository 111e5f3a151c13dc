"""``tokstore plan``: what a training run will read, before it runs, and what one of its steps is made of."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import click

from tokstore.cli.output import console, json_option, print_json
from tokstore.cli.plan_text import plan_table, step_table
from tokstore.cli.store_path import STORE

if TYPE_CHECKING:
    from tokstore.loader import StreamingDataset
    from tokstore.store import Store

__all__ = ["plan"]

_BYTES = re.compile(r"(\d+)\s*(?:([KMGT])i?B?)?\Z", re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def _read_bytes(context: click.Context, parameter: click.Parameter, given: str) -> int:
    """Read a number of bytes, such as 67108864 or 64MiB."""
    found = _BYTES.match(given.strip())
    if found is None:
        raise click.BadParameter(f"{given!r} is no number of bytes such as 67108864, 64MiB or 2G")
    return int(found[1]) << _UNITS[(found[2] or "").upper()]


def _read_id(context: click.Context, parameter: click.Parameter, given: str) -> str | int | None:
    """Read an id that is inserted, or ``none``."""
    if given in ("schema", "none"):
        return "schema" if given == "schema" else None
    if not given.isdecimal():
        raise click.BadParameter(f"{given!r} is neither an id nor none")
    return int(given)


def _read_epochs(context: click.Context, parameter: click.Parameter, given: str) -> int | None:
    """Read a number of epochs, or ``none``."""
    if given == "none":
        return None
    if not given.isdecimal() or int(given) == 0:
        raise click.BadParameter(f"{given!r} is neither a number of epochs nor none")
    return int(given)


@click.command(short_help="Simulate an epoch; show the samples of a step.")
@click.argument("store", type=STORE)
@click.option("--version", "number", type=int, help="An older version than the newest.")
@click.option("--view", metavar="NAME", help="A saved view.")
@click.option("--where", metavar="CONDITION", help="Only the samples for which it is true.")
@click.option("--seq-len", type=int, help="Tokens of a row.")
@click.option(
    "--packing",
    type=click.Choice(["concat", "fit", "whole", "none"]),
    help="How samples share rows. [default: concat with --seq-len]",
)
@click.option(
    "--overlong", type=click.Choice(["split", "truncate", "drop", "error"]), help="Samples longer than a row."
)
@click.option("--batch-size", type=int, help="Rows of a batch of one rank.")
@click.option("--global-batch-size", type=int, help="Rows of a batch of all ranks.")
@click.option("--world-size", type=int, default=1, show_default=True, help="Data-parallel ranks.")
@click.option("--workers", type=int, default=0, show_default=True, help="Workers of loader() on each rank.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--epochs",
    metavar="N|none",
    callback=_read_epochs,
    default="1",
    show_default=True,
    help="Epochs of one pass; none for no end.",
)
@click.option("--drop-last", is_flag=True, help="Passes end with their last full batch.")
@click.option("--no-shuffle", is_flag=True, help="In the order of the view.")
@click.option("--lanes", type=int, help="Number of lanes; by default from the size.")
@click.option(
    "--buffer",
    metavar="BYTES",
    callback=_read_bytes,
    default="64MiB",
    show_default=True,
    help="Bytes of decoded tokens held.",
)
@click.option(
    "--bos-id",
    metavar="ID|none",
    callback=_read_id,
    default="schema",
    show_default=True,
    help="Inserted before samples.",
)
@click.option(
    "--eos-id",
    metavar="ID|none",
    callback=_read_id,
    default="schema",
    show_default=True,
    help="Inserted after samples.",
)
@click.option("--examine", type=int, metavar="ROWS", help="Rows to look at for shares and order. [default: 131072]")
@click.option("--step", type=int, metavar="N", help="Show what global batch N is made of, counted from 0.")
@click.option("--texts", is_flag=True, help="With --step: the text of every piece.")
@click.option("--state-at", type=int, metavar="N", help="Print the state before global batch N, for load_state_dict.")
@json_option
def plan(
    store: str,
    number: int | None,
    view: str | None,
    where: str | None,
    step: int | None,
    texts: bool,
    state_at: int | None,
    examine: int | None,
    workers: int,
    as_json: bool,
    **options: Any,
) -> None:
    """Simulate an epoch of a StreamingDataset over STORE; no token is decoded.

    The options are those of StreamingDataset, with the same defaults. Give the ones of the run: they decide the order.

    \b
    Examples:
      tokstore plan corpus --seq-len 2048 --packing fit --global-batch-size 64
      tokstore plan corpus --seq-len 2048 --batch-size 8 --world-size 16 --buffer 1GiB
      tokstore plan corpus --seq-len 2048 --global-batch-size 64 --step 12345 --texts
      tokstore plan corpus --seq-len 2048 --global-batch-size 64 --state-at 1011 > state.json
    """
    if step is not None and state_at is not None:
        raise click.UsageError("Give one of --step and --state-at.")
    if texts and step is None:
        raise click.UsageError("--texts shows the texts of a --step.")
    if (step or 0) < 0 or (state_at or 0) < 0:
        raise click.UsageError("Batches are counted from 0.")
    if (step is not None or state_at is not None) and not options["batch_size"] and not options["global_batch_size"]:
        raise click.UsageError("A step is a global batch: give --batch-size or --global-batch-size.")
    opened, source = _source(store, number, view, where)
    data = _stream(source, options)
    if state_at is not None:
        print_json(data.state_at(batches=state_at))
        return
    if step is not None:
        facts = {"path": store, "version": opened.version, **_step(data, step, options["world_size"])}
        if texts:
            _add_texts(facts["rows"], opened, source)
        if as_json:
            print_json(facts)
        else:
            step_table(console(), facts)
        return
    found = {"path": store, "version": opened.version}
    found |= data.plan(workers=workers, **({} if examine is None else {"rows": examine}))
    if as_json:
        print_json(found)
    else:
        plan_table(console(), found)


def _source(path: str, number: int | None, view: str | None, where: str | None) -> tuple[Store, Any]:
    """Return a store, and what of it is streamed."""
    from tokstore.opening import open_store

    opened = open_store(path, version=number)
    source: Any = opened if view is None else opened.load(view)
    return opened, source if where is None else source.where(where)


def _stream(source: Any, options: dict[str, Any]) -> StreamingDataset:
    """Return the stream that a run would have; what it warns of is said on standard error."""
    from tokstore.errors import UnsupportedError

    try:
        from tokstore.loader import StreamingDataset
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UnsupportedError("planning a stream needs PyTorch", hint="pip install 'tokstore[torch]'") from error
    given = dict(options)
    packing, shuffle = given.pop("packing"), not given.pop("no_shuffle")
    given["packing"] = "default" if packing is None else None if packing == "none" else packing
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        data = StreamingDataset(source, shuffle=shuffle, rank=0, **given)
    for one in said:
        click.echo(f"warning: {one.message}", err=True)
    return data


def _step(data: StreamingDataset, step: int, ranks: int) -> dict[str, Any]:
    """Return the pieces of a global batch by row, with the rank of every row."""
    found = data.samples_at(batches=step)
    fields = ("row", "offset", "length", "position", "sample_id", "start", "stop")
    pieces = [
        dict(zip(fields, piece, strict=True)) for piece in zip(*(found[one].tolist() for one in fields), strict=True)
    ]
    per_epoch = data.rows_per_epoch
    first = int(data.state_at(batches=step)["rows"])
    rows: dict[int, dict[str, Any]] = {}
    for piece in pieces:
        row = piece.pop("row")
        place = row - first
        if row not in rows:
            rows[row] = {"row": row, "epoch": row // per_epoch, "rank": place % ranks, "place": place // ranks}
            rows[row]["pieces"] = []
        rows[row]["pieces"].append(piece)
    return {"step": step, "first_row": first, "rows": list(rows.values())}


def _add_texts(rows: list[dict[str, Any]], store: Store, source: Any) -> None:
    """Add the text of every piece, by the tokenizer that is attached to the store."""
    from tokstore.tokenizer import TextDecoder

    decoder = TextDecoder.of_store(store.attachments, store.metadata, store.path)
    for row in rows:
        for piece in row["pieces"]:
            place, start, stop = piece["position"], piece["start"], piece["stop"]
            piece["text"] = decoder.decode(source.read_range(place, place + 1, skip=start, limit=stop - start))
