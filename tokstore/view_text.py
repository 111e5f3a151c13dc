"""What people see of a view: how many samples of which version, and the verbs that made it."""

from __future__ import annotations

from collections.abc import Sequence

from tokstore.describe_text import count_text
from tokstore.schema import Schema

__all__ = ["recipe_text", "view_html", "view_text"]

_STEP = 100


def recipe_text(recipe: Sequence[str]) -> str:
    """Return the verbs of a view as a line, ``all`` where there are none."""
    return ".".join(recipe) or "all"


def view_text(place: str, samples: int, of: int, schema: Schema, recipe: Sequence[str], notes: Sequence[str]) -> str:
    """Return a view for terminals.

    Args:
        place: Path and version.
        samples: Samples of the view.
        of: Samples of the version.
        schema: Columns of the view.
        recipe: Its verbs.
        notes: What else there is to say, such as ``"ordered"``.
    """
    return "\n  ".join(_lines(place, samples, of, schema, recipe, notes))


def view_html(place: str, samples: int, of: int, schema: Schema, recipe: Sequence[str], notes: Sequence[str]) -> str:
    """Return a view for notebooks; see `view_text`."""
    import html

    heading, *lines = map(html.escape, _lines(place, samples, of, schema, recipe, notes))
    return f"<div><b>{heading}</b><ul>{''.join(f'<li>{line}</li>' for line in lines)}</ul></div>"


def _lines(place: str, samples: int, of: int, schema: Schema, recipe: Sequence[str], notes: Sequence[str]) -> list[str]:
    """Return the heading and the lines below it."""
    share = f" ({100 * samples / of:.3g} %)" if of and samples != of else ""
    heading = " · ".join([f"{place}", f"{count_text(samples)} of {count_text(of)} samples{share}", *notes])
    steps = [step if len(step) <= _STEP else step[: _STEP - 1] + "…" for step in recipe]
    return [
        heading,
        *(step if step.startswith("(") else f".{step}" for step in steps),
        f"columns {', '.join(schema.names)}",
    ]
