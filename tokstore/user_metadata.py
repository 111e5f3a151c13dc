"""The user's metadata <-> the JSON text of a root or a data file (format.md 2.8)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from tokstore.errors import CorruptError
from tokstore.format import MAX_METADATA_BYTES, MAX_METADATA_DEPTH

__all__ = ["decode_user_metadata", "encode_user_metadata"]


def encode_user_metadata(metadata: Mapping[str, Any] | None) -> str | None:
    """Return the user's metadata as JSON within the limits of the format."""
    if metadata is None:
        return None
    text = json.dumps(dict(metadata), sort_keys=True, ensure_ascii=False, allow_nan=False)
    if len(text.encode()) > MAX_METADATA_BYTES:
        raise ValueError(
            f"metadata takes {len(text.encode())} bytes as JSON, at most {MAX_METADATA_BYTES} may (format.md 11)"
        )
    if _is_deep(json.loads(text)):
        raise ValueError(
            f"metadata has more than {MAX_METADATA_DEPTH} dicts and lists inside each other (format.md 11)"
        )
    return text


def decode_user_metadata(text: str, path: str | None = None, rule: str = "format.md 2.8") -> dict[str, Any]:
    """Return what was written.

    Args:
        text: The JSON.
        path: The file that has it, for the error.
        rule: The section that asks for it.

    Raises:
        CorruptError: It is no JSON object, or is too long or too deep.
    """
    if len(text.encode()) > MAX_METADATA_BYTES:
        raise CorruptError(f"the metadata has more than {MAX_METADATA_BYTES} bytes", path=path, rule="format.md 11")
    try:
        found = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"the metadata is no JSON: {error}", path=path, rule=rule) from error
    if not isinstance(found, dict):
        raise CorruptError("the metadata is no JSON object", path=path, rule=rule)
    if _is_deep(found):
        raise CorruptError(
            f"the metadata has more than {MAX_METADATA_DEPTH} objects and arrays inside each other",
            path=path,
            rule="format.md 11",
        )
    return found


def _no_number(name: str) -> NoReturn:
    """Refuse what Python takes for a number and JSON does not."""
    raise ValueError(f"{name} is no JSON")


def _is_deep(value: Any) -> bool:
    """Tell whether more objects and arrays stand inside each other than the format allows."""
    level, depth = [value], 0
    while level:
        level = [one for one in level if isinstance(one, (dict, list))]
        depth += bool(level)
        if depth > MAX_METADATA_DEPTH:
            return True
        level = [item for one in level for item in (one.values() if isinstance(one, dict) else one)]
    return False
