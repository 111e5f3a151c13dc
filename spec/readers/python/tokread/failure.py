"""The one exception of this reader (format.md 2.7)."""

from __future__ import annotations

KINDS = ("truncated", "checksum", "corrupt", "unsupported", "missing")


class ReadError(Exception):
    """Say which rule of the specification some bytes break.

    Args:
        kind: One of `KINDS`.
        what: What is wrong.
        rule: Page and section, such as ``"format.md 4.2"``.
        path: The file; filled in by the code that opened it.
        offset: Bytes from the start of the file, where known.
    """

    def __init__(self, kind: str, what: str, rule: str, path: str | None = None, offset: int | None = None) -> None:
        super().__init__(what)
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of error; there are {', '.join(KINDS)}")
        self.kind, self.what, self.rule, self.path, self.offset = kind, what, rule, path, offset

    def __str__(self) -> str:
        place = f"{self.path}: " if self.path else ""
        at = f" at byte {self.offset}" if self.offset is not None else ""
        return f"{place}{self.kind}: {self.what}{at} ({self.rule})"


def corrupt(what: str, rule: str, offset: int | None = None) -> ReadError:
    """Build the most frequent error."""
    return ReadError("corrupt", what, rule, offset=offset)


def require(true: bool, what: str, rule: str, offset: int | None = None) -> None:
    """Raise `corrupt` unless something holds."""
    if not true:
        raise corrupt(what, rule, offset)


class Within:
    """Give errors inside a `with` block the name of the file that they are about, unless they have one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, ReadError) and error.path is None:
            error.path = self.name
