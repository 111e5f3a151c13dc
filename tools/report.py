"""What conversions say that they did."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ExportReport", "PackReport", "TokenizerNeededError"]


class TokenizerNeededError(ValueError):
    """A source holds texts, and neither a tokenizer was named nor bytes were asked for."""

    is_usage = True

    def __init__(self) -> None:
        super().__init__("The source holds texts: give one of --tokenizer FILE and --bytes.")


@dataclass(frozen=True)
class PackReport:
    """What a call of `pack` did.

    Attributes:
        path: The store.
        version: The version that was committed, or None for a part, which is not visible before `commit`.
        part: The part that was staged, or None.
        samples: Samples written by this call.
        tokens: Ids written by this call.
        text_bytes: Bytes of their text as UTF-8, where they were tokenized.
        source_bytes: Bytes of the source files as they were read from disk.
        skipped: Files of folders that are no UTF-8 text.
        format: The format of the source.
        columns: The columns that were written.
        vocabulary: Where the size of the vocabulary comes from.
        lost: One line for everything that could not be carried.
        bad_rows: Rows that were left out because they could not be taken.
        first_bad: What was wrong with the first of them.
        verified: Whether the samples were read back and compared.
    """

    path: str
    version: int | None = field(repr=True)
    part: str | None = field(repr=False)
    samples: int
    tokens: int
    text_bytes: int = field(default=0, repr=False)
    source_bytes: int = field(default=0, repr=False)
    skipped: tuple[str, ...] = field(default=(), repr=False)
    format: str = field(default="text", repr=False)
    columns: tuple[str, ...] = field(default=(), repr=False)
    vocabulary: str = field(default="", repr=False)
    lost: tuple[str, ...] = field(default=(), repr=False)
    bad_rows: int = field(default=0, repr=False)
    first_bad: str | None = field(default=None, repr=False)
    verified: bool = field(default=False, repr=False)


@dataclass(frozen=True)
class ExportReport:
    """What a call of `export` did.

    Attributes:
        path: What was written.
        format: In which format.
        samples: Samples in it.
        stored_bytes: Bytes of all its files.
        columns: The columns in it.
        lost: One line for everything that could not be carried.
        verified: Whether it was read back and compared.
    """

    path: str
    format: str
    samples: int
    stored_bytes: int
    columns: tuple[str, ...] = field(default=(), repr=False)
    lost: tuple[str, ...] = field(default=(), repr=False)
    verified: bool = field(default=False, repr=False)
