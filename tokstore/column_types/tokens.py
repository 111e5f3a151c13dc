"""`Tokens`: runs of token ids (registry.md 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from tokstore.column_types.contract import DTYPES, ColumnType, Shape, call_text, is_integer, needed, no_more

__all__ = ["Tokens"]

_MAX_VOCAB = 1 << 32


@dataclass(frozen=True)
class Tokens(ColumnType):
    """Token ids: every sample is a run of integers from 0 to ``vocab_size - 1``, of any length.

    Args:
        vocab_size: Number of ids, up to 2**32. Up to 65,536 an id takes at most 2 bytes anywhere.
        bos_id: The id that begins a document, for loaders that insert it. Nothing is inserted on disk.
        eos_id: The id that ends a document, likewise.
        pad_id: The id that loaders fill up rows with.
        optional: Samples may come without it.

    Raises:
        ValueError: A number is outside its range.

    Example:
        >>> Tokens(50_257, eos_id=50_256)
        Tokens(50257, eos_id=50256)
    """

    number: ClassVar[int] = 1
    codecs: ClassVar[tuple[int, ...]] = (1,)
    block_target: ClassVar[int] = 32_768
    vocab_size: int
    bos_id: int | None = field(default=None, kw_only=True)
    eos_id: int | None = field(default=None, kw_only=True)
    pad_id: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not is_integer(self.vocab_size) or not 1 <= self.vocab_size <= _MAX_VOCAB:
            raise ValueError(f"vocab_size is an integer from 1 to 2**32, not {self.vocab_size!r}")
        for name in ("bos_id", "eos_id", "pad_id"):
            value = getattr(self, name)
            if value is not None and (not is_integer(value) or not 0 <= value < self.vocab_size):
                raise ValueError(f"{name} is an id below vocab_size {self.vocab_size}, not {value!r}")

    @property
    def shape(self) -> Shape:
        return (None,)

    @property
    def dtype(self) -> np.dtype[Any]:
        return DTYPES[2] if self.vocab_size <= 1 << 16 else DTYPES[3]

    def parameters(self) -> dict[int, object]:
        given = {1: self.vocab_size, 2: self.bos_id, 3: self.eos_id, 4: self.pad_id}
        return {key: int(value) for key, value in given.items() if value is not None}

    @classmethod
    def from_parameters(cls, parameters: Mapping[int, Any], optional: bool) -> Tokens:
        no_more(parameters, (1, 2, 3, 4))
        get = parameters.get
        return cls(needed(parameters, 1), bos_id=get(2), eos_id=get(3), pad_id=get(4), optional=optional)

    def __repr__(self) -> str:
        special = {"bos_id": self.bos_id, "eos_id": self.eos_id, "pad_id": self.pad_id}
        return call_text("Tokens", str(self.vocab_size), special | {"optional": self.optional or None})
