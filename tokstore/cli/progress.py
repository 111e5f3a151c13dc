"""Progress bars for long work, on standard error and only where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Step", "progress_bars"]


class Step(Protocol):
    """What a progress callback is given: see `tokstore.Progress`."""

    @property
    def done(self) -> int:
        """How much is done."""
        ...

    @property
    def total(self) -> int | None:
        """How much there is, where that is known."""
        ...

    @property
    def unit(self) -> str:
        """What is counted, such as ``bytes``."""
        ...

    @property
    def what(self) -> str:
        """What is being done, such as ``packing``."""
        ...


@contextmanager
def progress_bars() -> Iterator[Callable[[Step], None] | None]:
    """Give a callback that draws one bar for each kind of work, or None where nobody is looking."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def show(step: Step) -> None:
            if step.what not in tasks:
                tasks[step.what] = bars.add_task(step.what, total=step.total, amount="")
            bars.update(tasks[step.what], completed=step.done, total=step.total, amount=_amount(step))

        yield show


def _amount(step: Step) -> str:
    """Write how far the work is."""
    from tokstore.describe_text import bytes_text, count_text

    write = bytes_text if step.unit == "bytes" else count_text
    of = f" of {write(step.total)}" if step.total is not None else ""
    return f"{write(step.done)}{of}" + ("" if step.unit == "bytes" else f" {step.unit}")
