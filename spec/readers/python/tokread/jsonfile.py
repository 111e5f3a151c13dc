"""`tokstore.json` and `latest` (format.md 2.6)."""

from __future__ import annotations

import json
from typing import Any

from .conventions import checksum
from .failure import ReadError, corrupt, require

RULE = "format.md 2.6"


def parse(data: bytes) -> dict[str, Any]:
    """Read a JSON object of strings and integers that holds its own checksum."""
    require(len(data) <= 65536, f"a JSON file has {len(data)} bytes", "format.md 11")
    try:
        pairs: list[tuple[str, Any]] = json.loads(data.decode("utf-8"), object_pairs_hook=list)
        json.dumps(pairs, ensure_ascii=False).encode()  # half of a surrogate pair has no UTF-8
    except (ValueError, RecursionError):
        raise corrupt("no JSON", RULE) from None
    require(type(pairs) is list and all(type(pair) is tuple for pair in pairs), "no JSON object", RULE)
    members = dict(pairs)
    require(len(members) == len(pairs), "a member occurs twice", RULE)
    for key, value in members.items():
        require(
            type(value) is str or (type(value) is int and 0 <= value < 2**63),
            f"member {key!r} is no string or integer",
            RULE,
        )
    stored = members.pop("checksum", None)
    lines = "".join(f"{key}={members[key]}\n" for key in sorted(members, key=lambda key: key.encode()))
    if f"{checksum(lines.encode()):016x}" != stored:
        raise ReadError("checksum", "the member checksum differs from the other members", RULE)
    return members
