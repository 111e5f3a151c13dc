"""Find the format of a path: by name, by ending, or by what it holds (entry points of ``tokstore.formats``)."""

from __future__ import annotations

import os
from functools import cache
from importlib import metadata

from tokstore.errors import UnsupportedError, suggest

from .contract import Format

__all__ = ["GROUP", "all_formats", "format_named", "format_of", "format_to_write"]

GROUP = "tokstore.formats"


@cache
def _entries() -> dict[str, metadata.EntryPoint]:
    """Return what installed packages offer, by name; those of tokstore itself come first."""
    found = sorted(metadata.entry_points(group=GROUP), key=lambda one: not one.value.startswith("tokstore_tools."))
    return {entry.name: entry for entry in found}


@cache
def format_named(name: str) -> Format:
    """Return a format by name.

    Raises:
        UnsupportedError: No installed package offers it.

    Example:
        >>> format_named("npy").endings
        ('.npy',)
    """
    if name not in _entries():
        raise UnsupportedError(f"no format {name!r} is installed", hint=suggest(name, _entries()))
    made: Format = _entries()[name].load()
    return made


def all_formats() -> list[Format]:
    """Return all formats, in the order in which they are asked whether a path is theirs."""
    return [format_named(name) for name in _entries()]


def format_of(path: str | os.PathLike[str]) -> Format | None:
    """Return the format of a path that is there, or ``None`` where no format knows it."""
    text = os.fspath(path)
    return next((one for one in all_formats() if one.sniff(text)), None)


def format_to_write(path: str | os.PathLike[str], name: str | None) -> Format:
    """Return the format to write a path in: the one that is named, or the one of its ending.

    Raises:
        ValueError: The ending says nothing, or the format can only be read.
    """
    text = os.fspath(path)
    writers = [one for one in all_formats() if one.writes]
    if name is None:
        found = [one for one in writers for end in one.endings if text.endswith(end)]
        if not found:
            names = ", ".join(sorted(one.name for one in writers))
            raise ValueError(f"{text}: the ending names no format; name one: {names}")
        return found[0]
    chosen = format_named(name)
    if not chosen.writes:
        raise ValueError(f"format {name!r} can only be read")
    return chosen
