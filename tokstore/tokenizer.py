"""Token ids -> text, with the tokenizer that travels with a store (registry.md 6)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.errors import CorruptError, MissingFileError, UnsupportedError

__all__ = ["TOKENIZER_FILE", "TextDecoder"]

TOKENIZER_FILE = "tokenizer.json"
BYTES = "bytes"


class TextDecoder:
    """Turn token ids into text.

    Args:
        tokenizer: The JSON of a tokenizer of the `tokenizers` library, or ``None`` for ids that are bytes.

    Raises:
        UnsupportedError: The `tokenizers` library is not installed.
    """

    def __init__(self, tokenizer: bytes | None) -> None:
        self._tokenizer: Any = None
        if tokenizer is not None:
            try:
                from tokenizers import Tokenizer
            except ImportError as error:
                raise UnsupportedError(
                    "the tokenizer of the store needs the tokenizers library", hint="pip install 'tokstore[tokenize]'"
                ) from error
            try:
                self._tokenizer = Tokenizer.from_str(tokenizer.decode())
            except Exception as error:  # the library raises no narrower class
                raise CorruptError(f"{TOKENIZER_FILE} is no tokenizer: {error}", rule="registry.md 6") from error

    def decode(self, ids: NDArray[Any]) -> str:
        """Return the text of one sample; special tokens are shown."""
        if self._tokenizer is not None:
            return str(self._tokenizer.decode(ids.tolist(), skip_special_tokens=False))
        return ids[ids < 256].astype(np.uint8).tobytes().decode(errors="replace")

    @classmethod
    def of_store(cls, attachments: Any, metadata: dict[str, Any], where: str) -> TextDecoder:
        """Return the decoder of a store from its attachments and metadata."""
        if TOKENIZER_FILE in attachments:
            return cls(attachments[TOKENIZER_FILE])
        if metadata.get("tokenizer") == BYTES:
            return cls(None)
        raise MissingFileError(
            f"no {TOKENIZER_FILE} is attached, so that ids cannot be shown as text",
            path=where,
            hint='pass attachments={"tokenizer.json": …} when the store is made',
        )
