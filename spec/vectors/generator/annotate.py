"""Bytes as annotated hex: pieces of a file with what each of them says."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Note = Callable[[bytes], str]
Path = tuple[int, ...]


@dataclass
class Piece:
    """Some bytes and their meaning."""

    data: bytes
    note: str


class Walker:
    """Cut bytes into pieces from front to back."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0
        self.pieces: list[Piece] = []

    def take(self, size: int, note: str | Note) -> bytes:
        """Cut the next piece; a note that is a function gets its bytes."""
        piece = self.data[self.at : self.at + size]
        if len(piece) != size:
            raise ValueError("the bytes are too short")
        self.at += size
        self.pieces.append(Piece(piece, note(piece) if callable(note) else note))
        return piece

    def number(self, size: int, name: str, tail: str = "") -> int:
        """Cut an unsigned integer and say its value."""
        value = int.from_bytes(self.data[self.at : self.at + size], "little")
        self.take(size, f"{name} = {value:,}{tail}")
        return value

    def packed(self, n: int, name: str) -> list[int]:
        """Cut a packed array and say its values."""
        width = self.data[self.at + 1] if n else 0
        form = self.data[self.at] if n else 0
        size = 10 + width * (n - form) if n else 0
        values = unpacked(self.data[self.at : self.at + size], n)
        self.take(size, f"{name}: packed, {', '.join(map(str, values))}")
        return values

    def metadata(self, end: int, names: dict[Path, str]) -> None:
        """Cut a metadata value that ends at `end`; `names` has a name for every path of keys."""
        self._value((), names, "")
        if self.at != end:
            raise ValueError(f"the metadata ends at {self.at}, not {end}")

    def _value(self, path: Path, names: dict[Path, str], before: str) -> None:
        tag = self.data[self.at]
        name = names.get(path, "")
        if 0x80 <= tag <= 0x9F or tag == 0xDE:
            kind = "array" if 0x90 <= tag <= 0x9F else "map"
            n = tag & 15 if tag < 0xA0 else int.from_bytes(self.data[self.at + 1 : self.at + 3], "big")
            self.take(1 if tag < 0xA0 else 3, f"{before}{name + ': ' if name else ''}{kind} of {n}")
            for i in range(n):
                if kind == "map":
                    key = _integer(self.data, self.at)
                    self.take(_size(self.data, self.at), f"{'  ' * (len(path) + 1)}key {key}")
                    self._joined((*path, key), names)
                else:
                    self._value((*path, i), names, "  " * (len(path) + 1))
            return
        size = _size(self.data, self.at)
        self.take(size, f"{before}{name}{_said(self.data[self.at : self.at + size])}")

    def _joined(self, path: Path, names: dict[Path, str]) -> None:
        """Cut a value and put it on one line with its key."""
        key = self.pieces.pop()
        count = len(self.pieces)
        self._value(path, names, "")
        first = self.pieces[count]
        self.pieces[count] = Piece(key.data + first.data, f"{key.note}, {first.note}")

    def split(self, note_has: str, parts: Sequence[tuple[int, str]]) -> None:
        """Cut a piece that was cut already into smaller ones; the first part has the bytes before the value."""
        (i,) = [i for i, piece in enumerate(self.pieces) if note_has in piece.note]
        piece = self.pieces[i]
        inner = Walker(piece.data)
        inner.take(len(piece.data) - sum(size for size, _ in parts), piece.note)
        for size, name in parts:
            if size in (4, 8):
                inner.number(size, f"    {name}")
            else:
                inner.take(size, f"    {name}")
        self.pieces[i : i + 1] = inner.pieces


def unpacked(data: bytes, n: int) -> list[int]:
    """Read a packed array (format.md 2.3)."""
    if not data:
        return []
    form, width, base = data[0], data[1], struct.unpack("<q", data[2:10])[0]
    m = n - form
    items = [sum(data[10 + plane * m + i] << 8 * plane for plane in range(width)) for i in range(m)]
    if form == 0:
        return [base + item for item in items]
    values = [base]
    for item in items:
        values.append(values[-1] + ((item >> 1) ^ -(item & 1)))
    return values


def _integer(data: bytes, at: int) -> int:
    return data[at] if data[at] < 128 else int.from_bytes(data[at + 1 : at + _size(data, at)], "big")


def _size(data: bytes, at: int) -> int:
    """Give the size of a value that is no container."""
    tag = data[at]
    if 0xA0 <= tag <= 0xBF:
        return 1 + (tag & 31)
    if tag in (0xC4, 0xD9):
        return 2 + data[at + 1]
    if 0xCC <= tag <= 0xCF:
        return 1 + (1 << (tag - 0xCC))
    if tag < 0x80 or tag in (0xC2, 0xC3):
        return 1
    raise ValueError(f"the example has no value with tag {tag:#04x}")


def _said(data: bytes) -> str:
    """Say the value of a scalar."""
    tag = data[0]
    if tag < 0x80 or 0xCC <= tag <= 0xCF:
        return f" = {_integer(data, 0):,}"
    if tag in (0xC2, 0xC3):
        return " = true" if tag == 0xC3 else " = false"
    if tag == 0xC4:
        body = data[2:]
        if len(body) in (10, 11) and body[0] <= 1 and len(body) == 10 + body[1] * (1 - body[0]):
            return f": packed, {unpacked(body, 1)[0]}"
        return f": {len(body)} bytes" if body else ": empty"
    return f' = "{data[1 if tag < 0xC0 else 2 :].decode()}"'


def hexdump(pieces: Sequence[Piece]) -> str:
    """Write pieces as lines of offset, up to 16 bytes, and meaning."""
    lines, at = [], 0
    for piece in pieces:
        for i in range(0, len(piece.data), 16):
            part = piece.data[i : i + 16].hex(" ")
            lines.append(f"{at + i:4d}  {part:47s}  {piece.note if i == 0 else ''}".rstrip())
        at += len(piece.data)
    return "\n".join(lines)
