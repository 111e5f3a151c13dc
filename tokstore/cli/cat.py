"""``tokstore cat``: samples as text, as ids, or as JSON lines."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from tokstore.cli.store_path import STORE

if TYPE_CHECKING:
    from tokstore.store import Store

__all__ = ["Picks", "cat", "read_picks"]

_PICK = re.compile(r"(-?\d+)?(?:(:)(-?\d+)?)?\Z")
_SAMPLES_AT_ONCE = 256


Picks = list[int | slice]


def read_picks(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> Picks:
    """Read positions and ranges."""
    picks: Picks = []
    for word in given:
        found = _PICK.match(word)
        if found is None or not word:
            raise click.BadParameter(f"{word!r} is neither a position such as 17 nor a range such as 5:9")
        first, colon, stop = found.groups()
        picks.append(int(first) if colon is None else slice(first and int(first), stop and int(stop)))
    return picks


@click.command(short_help="Print samples as text, ids or JSON.", context_settings={"ignore_unknown_options": True})
@click.argument("store", type=STORE)
@click.argument("picks", nargs=-1, callback=read_picks)
@click.option("--ids", is_flag=True, help="Token ids, one sample on a line, even if there is a tokenizer.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per sample, with every column.")
@click.option("--version", "number", type=int, help="An older version than the newest.")
def cat(store: str, picks: Picks, ids: bool, as_json: bool, number: int | None) -> None:
    """Print samples of STORE: all, or those at PICKS, positions such as 17 or -1 and ranges such as 5:9.

    Text is printed where the store knows its tokenizer, and ids elsewhere. Ids are separated by blanks.

    \b
    Examples:
      tokstore cat corpus 17
      tokstore cat corpus 0:100 -5:
      tokstore cat corpus --ids | head
      tokstore cat corpus 5:9 --json
    """
    from tokstore.opening import open_store

    opened = open_store(store, version=number)
    write = _json_line if as_json else _text_line if not ids and _knows_text(opened) else _id_line
    shows_heads = sys.stdout.isatty() and not as_json
    for position, sample in _samples(opened, picks, store):
        if shows_heads:
            tokens = sample[opened.token_column]
            click.secho(f"── {position} · {0 if tokens is None else len(tokens)} tokens", dim=True)
        sys.stdout.write(write(opened, position, sample) + "\n")


def _samples(store: Store, picks: Picks, path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the picked samples with their positions, read many at a time."""
    count = len(store)
    ranges: list[range] = []
    for pick in picks or [slice(None)]:
        if isinstance(pick, slice):
            ranges.append(range(*pick.indices(count)))
        elif -count <= pick < count:
            ranges.append(range(pick % count, pick % count + 1))
        else:
            raise ValueError(f"{path}: there is no sample {pick}; it has {count} samples")
    positions = chain.from_iterable(ranges)
    while chosen := list(islice(positions, _SAMPLES_AT_ONCE)):
        yield from zip(chosen, store.__getitems__(chosen), strict=True)


def _knows_text(store: Store) -> bool:
    """Tell whether the store has what turns its ids into text."""
    return "tokenizer.json" in store.attachments or store.metadata.get("tokenizer") == "bytes"


def _text_line(store: Store, position: int, sample: dict[str, Any]) -> str:
    """Return the text of a sample."""
    return store.text(position)


def _id_line(store: Store, position: int, sample: dict[str, Any]) -> str:
    """Return the ids of a sample."""
    tokens = sample[store.token_column]
    return "" if tokens is None else " ".join(map(str, tokens.tolist()))


def _json_line(store: Store, position: int, sample: dict[str, Any]) -> str:
    """Return a sample as a JSON object: its position, its text where that is known, and its columns."""
    text = {"text": store.text(position)} if _knows_text(store) and "text" not in sample else {}
    values = {name: _plain(value) for name, value in sample.items()}
    return json.dumps({"position": position, **text, **values}, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; NaN, which stands for a missing score, becomes null."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
