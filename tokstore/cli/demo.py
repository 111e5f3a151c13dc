"""``tokstore demo``: from text to training in about a minute."""

from __future__ import annotations

import click

from tokstore.cli.output import console, json_option, print_json

__all__ = ["demo"]


@click.command(short_help="From text to training in a minute.")
@click.option("--seconds", type=click.FloatRange(min=0), default=60.0, show_default=True, help="How long to train.")
@click.option("--out", type=click.Path(), help="Leave the store and its tokenizer in this new folder.")
@json_option
def demo(seconds: float, out: str | None, as_json: bool) -> None:
    """Pack Python's own sources, show what they take, and train on them.

    Needs the extras `torch` and `tokenize`. Nothing is downloaded, and without --out nothing is left behind.

    \b
    Examples:
      tokstore demo
      tokstore demo --seconds 20 --out demo
    """
    from tokstore.cli.tool import load_tool

    facts = load_tool("demo")(out=out, seconds=seconds, console=None if as_json else console())
    if as_json:
        print_json(facts)
