"""One vector: a header in text, a blank line, the bytes (README.md of this folder)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .datafile_writer import Written
from .store_writer import Files

LONG_RUN = 1024
KINDS = ("ok", "truncated", "checksum", "corrupt", "unsupported", "missing")


@dataclass
class Vector:
    """A file or a store, and what a reader must make of it.

    `repeat` is a byte of which the content has one long run, which the `.vec` file leaves out.
    """

    name: str
    expect: str
    spec: str
    comment: str
    content: bytes | Files
    json: dict[str, Any] | None = None
    version: int | None = None
    since: str = "0.1"
    repeat: bytes = b""

    def encode(self) -> bytes:
        """Write the bytes of the `.vec` file."""
        lines = [f"expect: {self.expect}", f"spec: {self.spec}", f"since: {self.since}", f"comment: {self.comment}"]
        if self.version is not None:
            lines.append(f"version: {self.version}")
        body = self.content
        if isinstance(body, dict):
            lines += [f"file: {path} {len(data)}" for path, data in body.items()]
            body = b"".join(body.values())
        if self.repeat:
            run = self.repeat * LONG_RUN
            at = body.index(run)
            count = len(body) - at - len(body[at:].lstrip(self.repeat))
            lines.append(f"repeat: {at} {count} {self.repeat.hex()}")
            body = body[:at] + body[at + count :]
        return ("\n".join(lines) + "\n\n").encode() + body

    def encode_json(self) -> bytes:
        """Write the bytes of the `.json` file."""
        return (json.dumps(self.json, sort_keys=True) + "\n").encode()


def good(
    name: str, spec: str, comment: str, content: Written | Files, json: dict[str, Any], version: int | None = None
) -> Vector:
    """Make a vector that a reader must read."""
    return Vector(name, "ok", spec, comment, content.data if isinstance(content, Written) else content, json, version)


def bad(
    name: str, expect: str, spec: str, comment: str, content: Written | Files | bytes, repeat: bytes = b""
) -> Vector:
    """Make a vector that a reader must refuse."""
    data = content.data if isinstance(content, Written) else content
    return Vector(name, expect, spec, comment, data, repeat=repeat)
