"""The exception classes and how a message is built.

Every error that comes from bytes carries where it was found and which rule of the spec it breaks, so that a message
reads ``data/3f/3f…e1.tok: block checksum differs at byte 4096: expected 0x9ae0daaf, found 0x00000000 (format.md 2.2)``.
Bad arguments are plain `ValueError` and `TypeError`. Messages never show the content of samples.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "ChecksumError",
    "ColumnError",
    "ConflictError",
    "CorruptError",
    "ExistsError",
    "MissingFileError",
    "NotAStoreError",
    "TokstoreError",
    "TruncatedError",
    "UnsupportedError",
    "VersionError",
    "suggest",
]


class TokstoreError(Exception):
    """Stand for any failure that tokstore itself reports.

    Args:
        message: What is wrong, without the place.
        path: The file or folder, relative to the store where it is inside one.
        offset: Bytes from the start of the file, where that is known.
        rule: The page and section of the spec that is broken, such as ``"format.md 4.3"``.
        hint: What the reader of the message can do.

    Example:
        >>> print(CorruptError("header magic differs", path="x.tok", offset=0, rule="format.md 4.2"))
        x.tok: header magic differs at byte 0 (format.md 4.2)
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        offset: int | None = None,
        rule: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.message, self.path, self.offset, self.rule, self.hint = message, path, offset, rule, hint
        super().__init__(message)

    def __str__(self) -> str:
        text = self.message
        if self.path is not None:
            text = f"{self.path}: {text}"
        if self.offset is not None:
            text += f" at byte {self.offset}"
        if self.rule is not None:
            text += f" ({self.rule})"
        if self.hint is not None:
            text += f"; {self.hint}"
        return text

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process borders in DataLoader workers; keyword-only arguments need help to be rebuilt.
        return (_rebuild, (type(self), self.message, self.path, self.offset, self.rule, self.hint))


def _rebuild(
    kind: type[TokstoreError], message: str, path: str | None, offset: int | None, rule: str | None, hint: str | None
) -> TokstoreError:
    """Make an error again from what `TokstoreError.__reduce__` gave."""
    return kind(message, path=path, offset=offset, rule=rule, hint=hint)


class CorruptError(TokstoreError):
    """Bytes break the spec."""


class TruncatedError(CorruptError):
    """A file is shorter than it says."""


class ChecksumError(CorruptError):
    """Bytes are not the ones that were written."""


class UnsupportedError(TokstoreError):
    """Bytes are valid, or may be, but need a newer reader, an extra, or a better file system."""


class MissingFileError(TokstoreError):
    """A file that the store names is not there."""


class NotAStoreError(TokstoreError):
    """The path holds no store."""


class ExistsError(TokstoreError):
    """The target is there already."""


class ConflictError(TokstoreError):
    """Another writer committed something that this change cannot be joined with."""


class VersionError(TokstoreError, LookupError):
    """No such version or tag."""


class ColumnError(TokstoreError, KeyError):
    """No such column, or a column that should have been given and was not."""

    __str__ = TokstoreError.__str__


def suggest(name: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant, and list the known ones.

    Example:
        >>> suggest("qualty", ["quality", "tokens"])
        "did you mean 'quality'? There are: quality, tokens"
    """
    import difflib  # for those alone who misspelt something

    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    return (f"did you mean {near[0]!r}? " if near else "") + (f"There are: {listed}" if names else "There are none")
