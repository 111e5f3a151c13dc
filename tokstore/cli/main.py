"""The `tokstore` command: its verbs, and how every one of them ends.

Exit codes are a promise (CONTRIBUTING.md): 0 done, 1 failure with one line on standard error, 2 wrong use, 130 after
Ctrl-C, 141 when whoever read the output has gone, 143 after SIGTERM. Interrupts are exceptions here, so that a writer
which is open at that moment takes back what it wrote.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

from tokstore.cli.add_column import add_column
from tokstore.cli.cat import cat
from tokstore.cli.commit import commit
from tokstore.cli.compact import compact
from tokstore.cli.copy import copy
from tokstore.cli.dedup import dedup
from tokstore.cli.delete import delete
from tokstore.cli.demo import demo
from tokstore.cli.export import export
from tokstore.cli.formats import formats
from tokstore.cli.info import info
from tokstore.cli.join import join
from tokstore.cli.pack import pack
from tokstore.cli.plan import plan
from tokstore.cli.prune import prune
from tokstore.cli.tag import tag
from tokstore.cli.verify import verify
from tokstore.cli.versions import versions
from tokstore.errors import TokstoreError

__all__ = ["cli", "main"]

FAILURE, PIPE_CLOSED = 1, 141


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tokstore", prog_name="tokstore")
def cli() -> None:
    """Keep tokenized training data small, and stream it to PyTorch.

    \b
    Examples:
      tokstore demo
      tokstore pack texts.jsonl.zst corpus --tokenizer tokenizer.json
      tokstore info corpus
    """


for _verb in (
    pack, commit, info, cat, plan, verify, versions, tag, add_column, delete, dedup, compact, prune, export, copy,
    join, formats, demo,
):  # fmt: skip
    cli.add_command(_verb)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        args: Words after the program's name; None for those of this process.
    """
    watched = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where the shell has it ignored
        watched.append(signal.SIGINT)
    previous = {number: signal.signal(number, _stop) for number in watched}
    try:
        code = _run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes standard output once more when it ends; there is nobody left to read it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = PIPE_CLOSED
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    sys.exit(code)


def _run(args: Sequence[str] | None) -> int:
    """Run a verb and return the exit code."""
    try:
        with cli.make_context("tokstore", list(sys.argv[1:] if args is None else args)) as context:
            cli.invoke(context)
        return 0
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except _Stop as stop:
        _say("interrupted")
        return 128 + stop.number
    except BrokenPipeError:
        raise
    except (TokstoreError, OSError, ValueError, MemoryError) as error:
        _say(_one_line(error))
        return FAILURE


def _one_line(error: BaseException) -> str:
    """Say what went wrong on one line."""
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename else ""
        return f"{place}{error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _say(message: str) -> None:
    """Write one line to standard error."""
    click.secho(f"error: {message}", err=True, fg="red")


class _Stop(BaseException):
    """A signal asks to stop: raised where the work is, so that whatever is open takes its own way out."""

    def __init__(self, number: int) -> None:
        self.number = number


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """Stop the work. A second signal ends the process at once."""
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, signal.SIG_DFL)
    raise _Stop(number)
