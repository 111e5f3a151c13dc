"""Find a conversion tool by name: entry points of the group ``tokstore.tools``, looked up when one is called."""

from __future__ import annotations

from typing import Any

from tokstore.errors import UnsupportedError, suggest

__all__ = ["load_tool"]

GROUP = "tokstore.tools"


def load_tool(name: str) -> Any:
    """Return the function that an installed package offers under a name.

    Raises:
        UnsupportedError: No installed package offers it.
    """
    from importlib import metadata  # it reads mail headers, and takes longer to import than most stores to open

    found = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    if name not in found:
        raise UnsupportedError(f"no tool {name!r} is installed", hint=suggest(name, found))
    return found[name].load()
