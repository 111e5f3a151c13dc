"""Chats to token ids and a mask of what the assistant says, through a tokenizer's own chat template.

The template is run by `transformers`, which marks what stands between ``{% generation %}`` and ``{% endgeneration %}``.
A template that marks nothing would train on nothing, and is an error.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

import tokstore as ts
from tokstore.errors import UnsupportedError

from .tokenize import FileTokenizer

__all__ = ["ChatTokenizer", "load_chat_tokenizer"]


class ChatTokenizer(FileTokenizer):
    """A tokenizer with a chat template.

    Args:
        folder: What `transformers` saved: ``tokenizer.json``, ``tokenizer_config.json`` and the template.
        eos: As of `FileTokenizer`.
        bos: As of `FileTokenizer`.

    Raises:
        UnsupportedError: `transformers` is not installed.
        ValueError: The folder is no tokenizer, or it has no chat template.
    """

    def __init__(self, folder: str, *, eos: str | None = "auto", bos: str | None = "auto") -> None:
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise UnsupportedError("chat templates need transformers", hint="pip install 'tokstore[chat]'") from error
        path = os.path.join(folder, "tokenizer.json")
        if not os.path.isfile(path):
            raise ValueError(f"{folder}: a tokenizer for chats is a folder with tokenizer.json and its chat template")
        with open(path, "rb") as file:
            data = file.read()
        super().__init__(data, name=os.path.basename(os.path.abspath(folder)), eos=eos, bos=bos)
        try:
            self._chat: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ValueError(f"{folder}: transformers cannot load it: {error}") from error
        if not self._chat.chat_template:
            raise ValueError(f"{folder}: the tokenizer has no chat template")
        if "generation" not in str(self._chat.chat_template):
            raise ValueError(
                f"{folder}: the chat template marks nothing as the assistant's; it needs "
                "{% generation %} and {% endgeneration %} around it"
            )

    def encode_chats(self, chats: list[Any]) -> tuple[ts.Ragged, ts.Ragged, dict[int, str]]:
        """Return ids and masks, one row per chat, and what is wrong with chats that cannot be taken."""
        ids: list[list[int]] = []
        masks: list[list[int]] = []
        wrong: dict[int, str] = {}
        for row, chat in enumerate(chats):
            try:
                found, mask = self._encode(json.loads(chat) if isinstance(chat, str) else chat)
                if not any(mask):
                    raise ValueError("the chat template marks nothing of it as the assistant's")
            except Exception as error:  # noqa: BLE001 - templates raise whatever they like
                wrong[row] = f"the chat cannot be taken: {error}"
                found, mask = [], []
            ids.append(found)
            masks.append(mask)
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        flat = np.fromiter((one for row in ids for one in row), np.int64, int(lengths.sum()))
        bits = np.fromiter((one for row in masks for one in row), bool, int(lengths.sum()))
        return ts.Ragged(flat, lengths), ts.Ragged(bits, lengths), wrong

    def _encode(self, chat: Any) -> tuple[list[int], list[int]]:
        """Return the ids and the mask of one chat."""
        if not isinstance(chat, list) or not chat:
            raise ValueError("it is no list of messages")
        made: Any = self._chat.apply_chat_template(
            chat, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, add_generation_prompt=False
        )
        return list(made["input_ids"]), list(made["assistant_masks"])


def load_chat_tokenizer(
    folder: str | os.PathLike[str] | None, *, eos: str | None = "auto", bos: str | None = "auto"
) -> ChatTokenizer:
    """Load a tokenizer with its chat template; see `ChatTokenizer`.

    Raises:
        ValueError: None was named.
    """
    if folder is None:
        raise ValueError("messages go through a chat template: name the folder of the tokenizer that has it")
    return ChatTokenizer(os.fspath(folder), eos=eos, bos=bos)
