"""What a reader finds at a path."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .schema import Column
from .spans import Span

if TYPE_CHECKING:
    from .parts import Part
    from .views import View


@dataclass
class Contents:
    """Everything that a reader finds at a path.

    `rows` holds the values of every sample: a list of unsigned integers or bit patterns, or None where it is missing.
    Columns in `refused` have no values, and the reason stands there.
    """

    columns: list[Column]
    sample_ids: list[int] = field(default_factory=list)
    rows: dict[str, list[list[int] | None]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    attachments: dict[str, bytes] = field(default_factory=dict)
    metadata: str | None = None
    spans: list[list[Span]] = field(default_factory=list)
    store_id: bytes | None = None
    version: int | None = None
    tags: dict[str, int] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
