"""The metadata of a user as JSON text (format.md 2.8)."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from .failure import corrupt, require

RULE = "format.md 2.8"
MOST_BYTES, MOST_DEPTH = 16384, 64


def check(text: str) -> None:
    """Check that a text is one JSON object within the limits."""
    size = len(text.encode())
    require(size <= MOST_BYTES, f"the metadata has {size} bytes", "format.md 11")
    try:
        # The numbers stay text: how large they may be is the matter of whoever uses them.
        value = json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_number)
    except RecursionError:
        raise corrupt(f"the metadata is more than {MOST_DEPTH} objects and arrays deep", "format.md 11") from None
    except ValueError:
        raise corrupt("the metadata is no JSON", RULE) from None
    require(type(value) is dict, "the metadata is no JSON object", RULE)
    depth = _depth(value)
    require(depth <= MOST_DEPTH, f"the metadata is {depth} objects and arrays deep", "format.md 11")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _depth(value: Any) -> int:
    """Count the objects and arrays that stand inside each other."""
    level, depth = [value], 0
    while level := [one for one in level if type(one) in (dict, list)]:
        depth += 1
        level = [item for one in level for item in (one.values() if type(one) is dict else one)]
    return depth
