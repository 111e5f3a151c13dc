"""Stores of which one part of a manifest was changed, and every digest and checksum above it made right again."""

from __future__ import annotations

import json
import random
import struct
from typing import Any

import numpy as np

from fuzz import mutations
from fuzz.forging import forge_file
from fuzz.places import ALONE
from fuzz.seeds import Seed
from tokstore import TokstoreError
from tokstore.format import (
    DELETIONS_MAGIC,
    HAS_DELETIONS,
    PAGE_INLINE,
    PAGE_MAGIC,
    PAGE_RECORD,
    PART_MAGIC,
    PLAN_INLINE,
    PLAN_MAGIC,
    VIEW_MAGIC,
    unwrap,
    wrap,
)
from tokstore.manifest import root_path
from tokstore.packed import decode_packed, encode_packed
from tokstore.wire import checksum, decode_metadata, digest, encode_metadata, json_checksum

_HEAD = 32
_PARTS = (("page", PAGE_MAGIC, PAGE_INLINE), ("plan", PLAN_MAGIC, PLAN_INLINE), ("deletion", DELETIONS_MAGIC, 0))


def forge_store(rng: random.Random, seed: Seed) -> dict[str, bytes]:
    """Change one part of a sound store, or a part of one of its files, and make everything above it fit."""
    files = dict(seed.files)
    if ALONE in files:
        return {ALONE: forge_file(rng, files[ALONE])}
    beside = [path for path in files if path.startswith(("views/", "parts/")) or path in ("tokstore.json", "latest")]
    if beside and rng.random() < 0.25:
        path = rng.choice(sorted(beside))
        files[path] = _forge_beside(rng, path, files[path])
        return files
    path = root_path(seed.version) if seed.version else max(one for one in files if one.startswith("manifests/"))
    if len(files[path]) <= _HEAD + 8:
        files[path] = mutations.strike(rng, files[path])
        return files
    files[path] = Manifest(rng, files, files[path]).build()
    return files


def _forge_beside(rng: random.Random, path: str, data: bytes) -> bytes:
    """Change a saved view, a staged part or one of the JSON files."""
    if path in ("tokstore.json", "latest"):
        try:
            members = json.loads(data)
        except ValueError:
            return mutations.strike(rng, data)
        key = rng.choice(sorted(members))
        members[key] = rng.choice((0, 1, 2**63 - 1, -1, "", "1.0", "2.0", "0" * 32, [], None, 0.5, members[key]))
        if rng.random() < 0.9:
            members["checksum"] = json_checksum(members)
        text = json.dumps(members)
        return mutations.strike(rng, text.encode()) if rng.random() < 0.2 else text.encode()
    magic = VIEW_MAGIC if path.startswith("views/") else PART_MAGIC
    try:
        framed = forge_wrapped(rng, magic, data[:-8])
    except TokstoreError:
        return mutations.strike(rng, data)
    return framed + struct.pack("<Q", checksum(framed))


def forge_wrapped(rng: random.Random, magic: bytes, data: bytes) -> bytes:
    """Change a page, plan, deletions, part or view: its content, or the frame around it."""
    if rng.random() < 0.1:
        return mutations.strike(rng, data)
    content = unwrap(magic, data)
    if rng.random() < 0.1:
        return wrap(magic, mutations.strike(rng, content), 1)
    value = decode_metadata(content)
    if magic == PART_MAGIC and rng.random() < 0.6:
        key, inner = rng.choice(((3, PAGE_MAGIC), (4, PLAN_MAGIC)))
        value[key] = forge_wrapped(rng, inner, value[key])
        return wrap(magic, encode_metadata(value), 1)
    return wrap(magic, mutations.metadata(rng, value), 1)


class Manifest:
    """The newest version of a store, laid out again."""

    def __init__(self, rng: random.Random, files: dict[str, bytes], root: bytes) -> None:
        self.rng, self.files, self.root = rng, files, root
        body_bytes, inline_bytes = struct.unpack_from("<II", root, 24)
        self.body: dict[int, Any] = decode_metadata(root[_HEAD : _HEAD + body_bytes])
        self.records = np.frombuffer(self.body[10], PAGE_RECORD).copy()
        self.inline = root[_HEAD + body_bytes : _HEAD + body_bytes + inline_bytes]

    def build(self) -> bytes:
        """Change something and return the root."""
        parts = self.parts()
        choices = ["body", "head"]
        if parts:
            choices += ["record", *["part"] * 4]
        if any(path.startswith("data/") for path in self.files) and parts:
            choices += ["file"] * 3
        choice = self.rng.choice(choices)
        if choice == "record":
            i = self.rng.randrange(len(self.records))
            raw = mutations.strike(self.rng, self.records[i].tobytes())[: PAGE_RECORD.itemsize]
            self.records[i : i + 1] = np.frombuffer(raw.ljust(PAGE_RECORD.itemsize, b"\0"), PAGE_RECORD)
        elif choice in ("part", "file"):
            pages = [one for one in parts if one[1] == "page"]
            i, name = self.rng.choice(pages if choice == "file" else list(parts))
            magic = next(magic for one, magic, _ in _PARTS if one == name)
            if choice == "file":
                parts[i, name] = self.with_file(parts[i, name])
            else:
                parts[i, name] = forge_wrapped(self.rng, magic, parts[i, name])
            self.name(i, name, parts[i, name])
        inline = self.place(parts)
        self.body[10] = self.records.tobytes()
        body = mutations.metadata(self.rng, self.body) if choice == "body" else encode_metadata(self.body)
        return self.seal(body, inline, is_struck=choice == "head")

    def with_part(self, i: int, name: str, data: bytes) -> bytes:
        """Put in a part of a page, and return the root."""
        parts = self.parts()
        parts[i, name] = data
        self.name(i, name, data)
        inline = self.place(parts)
        self.body[10] = self.records.tobytes()
        return self.seal(encode_metadata(self.body), inline)

    def name(self, i: int, name: str, data: bytes) -> None:
        """Name a part in the record of its page."""
        self.records[i][f"{name}_digest"] = np.void(digest(data))
        self.records[i][f"{name}_bytes"] = len(data)

    def place(self, parts: dict[tuple[int, str], bytes]) -> bytes:
        """Put parts into files, and return those that lie inside the root."""
        inline = b""
        for (i, name), data in parts.items():
            flag = next(flag for one, _, flag in _PARTS if one == name)
            if flag and int(self.records[i]["flags"]) & flag:
                inline += data
            else:
                folder = {"page": "pages", "plan": "plans", "deletion": "deletions"}[name]
                self.files[f"{folder}/{digest(data).hex()}"] = data
        return inline

    def seal(self, body: bytes, inline: bytes, *, is_struck: bool = False) -> bytes:
        """Return the root, with its checksum."""
        framed = self.root[:24] + struct.pack("<II", len(body), len(inline)) + body + inline
        if is_struck:
            framed = mutations.strike(self.rng, framed[:_HEAD]) + framed[_HEAD:]
        return framed + struct.pack("<Q", checksum(framed))

    def parts(self) -> dict[tuple[int, str], bytes]:
        """Return pages, plans and deletions by record and name, in the order in which they lie inside."""
        found, at = {}, 0
        for i, record in enumerate(self.records):
            for name, _, flag in _PARTS:
                if name == "deletion" and not int(record["flags"]) & HAS_DELETIONS:
                    continue
                if flag and int(record["flags"]) & flag:
                    end = at + int(record[f"{name}_bytes"])
                    found[i, name] = self.inline[at:end]
                    at = end
                else:
                    folder = {"page": "pages", "plan": "plans", "deletion": "deletions"}[name]
                    found[i, name] = self.files[f"{folder}/{record[f'{name}_digest'].tobytes().hex()}"]
        return found

    def with_file(self, page: bytes) -> bytes:
        """Change a data file that a page names, and say so in the page."""
        value = decode_metadata(unwrap(PAGE_MAGIC, page))
        f = value[1]
        if not f:
            return forge_wrapped(self.rng, PAGE_MAGIC, page)
        one = self.rng.randrange(f)
        name = value[2][16 * one : 16 * one + 16].hex()
        path = f"data/{name[:2]}/{name}.tok"
        data = self.files[path] = forge_file(self.rng, self.files[path])
        _, tail, index, _, index_checksum = struct.unpack_from("<5Q", data, len(data) - 64)
        value[3] = value[3][: 32 * one] + digest(data) + value[3][32 * one + 32 :]
        value[4] = value[4][: 8 * one] + struct.pack("<Q", index_checksum) + value[4][8 * one + 8 :]
        for key, number in ((5, len(data)), (6, tail), (7, index)):
            numbers, _ = decode_packed(value[key], f)
            numbers[one] = number % 2**63
            value[key] = encode_packed(numbers)
        return wrap(PAGE_MAGIC, encode_metadata(value), 1)
