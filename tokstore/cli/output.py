"""Where verbs print: facts as JSON or as a table on standard output."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console", "json_option", "print_json", "width"]

_WIDTH = 140
"""Columns of a table that goes into a file or a pipe, where no terminal says how wide it is."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")


def width() -> int:
    """Return the characters of a line of standard output."""
    if not sys.stdout.isatty():
        return _WIDTH
    from shutil import get_terminal_size  # with all its archives

    return get_terminal_size().columns


def console() -> Console:
    """Return the console of standard output: with colours on a terminal, plain elsewhere."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)


def print_json(facts: Any) -> None:
    """Print facts as JSON."""
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False))
