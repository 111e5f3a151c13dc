"""The `tokstore` command: its verbs, and how every one of them ends.

Exit codes are a promise (CONTRIBUTING.md): 0 done, 1 failure with one line on standard error, 2 wrong use, 130 after
Ctrl-C, 141 when whoever read the output has gone, 143 after SIGTERM. Interrupts are exceptions here, so that a writer
which is open at that moment takes back what it wrote.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

import click

from tokstore.errors import TokstoreError

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["cli", "main"]

FAILURE, PIPE_CLOSED = 1, 141
_COMPLETE = "_TOKSTORE_COMPLETE"
"""Set by the completion that a shell was given; the name and its values are click's."""
_OBJECTS_BEFORE_COLLECTION = 50_000
"""Imports make many objects that all stay; looking through them every 700 takes a tenth of a short verb's time."""


VERBS = (
    "pack", "commit", "info", "cat", "plan", "verify", "versions", "tag", "add-column", "delete", "dedup", "compact",
    "prune", "export", "copy", "join", "formats", "demo",
)  # fmt: skip
"""Each is a command of its own in the module of that name."""


class _Verbs(click.Group):
    """A group that imports a verb when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        name = cmd_name.replace("-", "_")
        found: click.Command = getattr(import_module(f"tokstore.cli.{name}"), name)
        return found


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tokstore", prog_name="tokstore")
def cli() -> None:
    """Keep tokenized training data small, and stream it to PyTorch.

    \b
    Examples:
      tokstore demo
      tokstore pack texts.jsonl.zst corpus --tokenizer tokenizer.json
      tokstore info corpus

    \b
    Completion of verbs, options and paths, for bash (or zsh, fish):
      eval "$(_TOKSTORE_COMPLETE=bash_source tokstore)"
    """


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Args:
        args: Words after the program's name; None for those of this process.
    """
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTION)
    if args is None and (instruction := os.environ.get(_COMPLETE)):
        from click.shell_completion import shell_complete

        sys.exit(shell_complete(cli, {}, "tokstore", _COMPLETE, instruction))
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
