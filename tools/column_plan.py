"""What each column of a foreign source becomes in a store, and how large a vocabulary is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import tokstore as ts
from tokstore.errors import ColumnError, suggest

from .formats.contract import Batch, Ids, Objects, Source

__all__ = ["Plan", "make_plan"]

_TEXT, _TOKENS, _MASK = "text", "tokens", "loss_mask"


@dataclass
class Plan:
    """What becomes of the columns of a source.

    Attributes:
        names: Names in the store by names in the source.
        kinds: Types of the columns in the store by name there.
        text: The column of texts that are tokenized, by its name after `renamed`, or ``None``.
        messages: The same for chats.
        token_column: Where their ids go.
        mask_column: Where the assistant's mask goes.
        vocabulary: Where the size of the vocabulary comes from.
        lost: Lines for what is not carried.
    """

    names: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, Any] = field(default_factory=dict)
    text: str | None = None
    messages: str | None = None
    token_column: str = _TOKENS
    mask_column: str = _MASK
    vocabulary: str = ""
    lost: list[str] = field(default_factory=list)

    def renamed(self, batch: Batch) -> Batch:
        """Return a batch with only the columns that are carried, under their names in the store."""
        columns = {new: batch.columns[old] for old, new in self.names.items() if old in batch.columns}
        missing = {new: batch.missing[old] for old, new in self.names.items() if old in batch.missing}
        return replace(batch, columns=columns, missing=missing)

    def settle_vocabulary(
        self, known: ts.Store | None, given: int | None, tokenizer: Any, largest: Callable[[str], int]
    ) -> None:
        """Put `tokstore.Tokens` in the place of `Ids`.

        Args:
            known: A store that is there already, whose types count.
            given: A size that the user names.
            tokenizer: The one that the ids are of, if there is one.
            largest: Finds the largest id of a column of the source.
        """
        for old, new in self.names.items():
            kind = self.kinds.get(new)
            if isinstance(kind, ts.Tokens):
                self.vocabulary = self.vocabulary or ("the store" if known is not None else "the source, which says it")
            if not isinstance(kind, Ids):
                continue
            if known is not None:
                self.kinds[new] = known.schema[new]
                self.vocabulary = "the store"
            elif given is not None:
                self.kinds[new] = ts.Tokens(given, eos_id=kind.eos_id, optional=kind.optional)
                self.vocabulary = "as given"
            elif tokenizer is not None:
                self.kinds[new] = replace_optional(tokenizer.tokens, kind.optional)
                self.vocabulary = f"the tokenizer {tokenizer.name}"
            elif kind.vocab_size is not None:
                self.kinds[new] = ts.Tokens(kind.vocab_size, eos_id=kind.eos_id, optional=kind.optional)
                self.vocabulary = "the source, which says it"
            else:
                most = max(largest(old), kind.eos_id or 0, 0)
                self.kinds[new] = ts.Tokens(most + 1, eos_id=kind.eos_id, optional=kind.optional)
                self.vocabulary = f"the largest id, {most}, and one more"


def replace_optional(kind: ts.Tokens, optional: bool) -> ts.Tokens:
    """Return a type of tokens that may be missing or not."""
    return ts.Tokens(kind.vocab_size, bos_id=kind.bos_id, eos_id=kind.eos_id, pad_id=kind.pad_id, optional=optional)


def make_plan(
    source: Source,
    known: ts.Store | None,
    rename: Mapping[str, str],
    text: str | None,
    messages: str | None,
    tokenizer: Any,
) -> Plan:
    """Decide what becomes of the columns of a source.

    Args:
        source: The first source; others have the same columns.
        known: A store that samples are added to.
        rename: New names by old ones.
        text: The column that holds text, where it is named.
        messages: The column that holds chats.
        tokenizer: The tokenizer that was named, or ``None``.

    Raises:
        ColumnError: A column that is named is not there.
    """
    found = dict(source.columns)
    for name in (*rename, *(one for one in (text, messages) if one is not None)):
        if name not in found:
            raise ColumnError(f"the source has no column {name!r}", hint=suggest(name, found))
    has_ids = any(isinstance(kind, (Ids, ts.Tokens)) for kind in found.values())
    if text is None and messages is None and not has_ids and isinstance(found.get(_TEXT), (ts.Text, ts.Category)):
        text = _TEXT
    plan = Plan(token_column=_TOKENS if known is None or not _has_tokens(known) else known.token_column)
    taken = {plan.token_column, plan.mask_column} if messages else {plan.token_column} if text else set()
    for old, kind in found.items():
        new = rename.get(old) or _allowed(old, plan, set(plan.names.values()) | taken)
        if new in plan.names.values():
            raise ValueError(f"two columns would be called {new!r}: rename one of them")
        if old == messages:
            plan.messages, plan.names[old] = old, old
            continue
        if old == text:
            plan.text, plan.names[old] = old, old
            continue
        if isinstance(kind, Objects):
            continue
        if isinstance(kind, Ids) and known is not None and new not in known.schema and old not in rename:
            new = plan.token_column
        if known is not None and new not in known.schema:
            plan.lost.append(f"column {old!r}: the store has no such column")
            continue
        plan.names[old] = new
        plan.kinds[new] = kind if known is None or isinstance(kind, Ids) else known.schema[new]
    masks = [name for name, kind in plan.kinds.items() if isinstance(kind, ts.Mask) and kind.of is not None]
    for name in masks:
        of = plan.kinds[name].of
        of = dict(plan.names.items()).get(of, of)
        plan.kinds[name] = ts.Mask(of if of in plan.kinds else None, optional=plan.kinds[name].optional)
    if not plan.kinds and not plan.text and not plan.messages:
        raise ValueError(f"no column of the source can be carried: {'; '.join(plan.lost)}")
    return plan


def _has_tokens(store: ts.Store) -> bool:
    """Tell whether a store has a token column."""
    return any(isinstance(kind, ts.Tokens) for kind in store.schema.values())


def _allowed(name: str, plan: Plan, taken: set[str]) -> str:
    """Return a name that a column may have."""
    made = re.sub(r"[^A-Za-z0-9_]", "_", name)[:128] or "_"
    if made[0].isdigit():
        made = f"_{made}"[:128]
    if made == "sample_id":
        made = "source_sample_id"
    while made in taken:
        made += "_"
    if made != name:
        plan.lost.append(f"name {name!r}: the column is called {made!r}")
    return made
