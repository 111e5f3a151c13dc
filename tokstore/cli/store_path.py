"""The argument that says which store: a path that is there, or a URL."""

from __future__ import annotations

from typing import Any

import click

from tokstore.addresses import is_url

__all__ = ["STORE"]


class _StorePath(click.Path):
    """A path or a URL; options of an object store come from the environment."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if is_url(value) else super().convert(value, param, ctx)


STORE = _StorePath(exists=True)
