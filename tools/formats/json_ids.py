"""Token ids out of a line of JSON without an object for each: the list is cut out, and numpy reads it.

Whatever is not plain, such as nested fields of the same name, fractions or 19 digits, is left to `json`, which gives
the same values or the error.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

__all__ = ["IdLines"]

_LARGEST = 10**18
_PLAIN = b"0123456789,"
_LEADING_ZERO = re.compile(rb",0[0-9]")


class IdLines:
    """Parse lines, of which one field has token ids.

    Args:
        name: The field.

    Example:
        >>> IdLines("ids").parse(b'{"ids": [3, 1], "n": 5}')
        {'ids': array([3, 1]), 'n': 5}
        >>> IdLines("ids").parse(b'{"ids": [3, 1.5]}')
        {'ids': [3, 1.5]}
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._quoted = json.dumps(name, ensure_ascii=False).encode()
        self._opening = re.compile(re.escape(self._quoted) + rb"\s*:\s*\[")

    def parse(self, line: bytes) -> Any:
        """Return what a line holds; ids as an array where the line is plain.

        Raises:
            ValueError, RecursionError: As of `json.loads`.
        """
        found = self._opening.search(line) if line.count(self._quoted) == 1 else None
        if found is None:
            return json.loads(line)
        first, end = found.end(), line.find(b"]", found.end())
        ids = _plain_ids(line[first:end]) if end >= 0 else None
        if ids is None:
            return json.loads(line)
        row = json.loads(line[: first - 1] + b"0" + line[end + 1 :])
        if not isinstance(row, dict) or row.get(self._name) != 0:
            return json.loads(line)  # the field is inside another one
        row[self._name] = ids
        return row


def _plain_ids(text: bytes) -> Any:
    """Return the numbers of a list, or ``None`` where it is not as plain as it should be."""
    if not text:
        return np.zeros(0, np.int64)
    text = text.replace(b", ", b",")
    if text.translate(None, _PLAIN) or text[:1] == b"," or text[-1:] == b"," or b",," in text:
        return None
    if (text[:1] == b"0" and text[1:2] not in b",") or _LEADING_ZERO.search(text):
        return None
    ids = np.fromstring(text, np.int64, sep=",")
    return ids if int(ids.max()) < _LARGEST else None
