"""All vectors, good ones first."""

from __future__ import annotations

from collections.abc import Iterator

from . import (
    bad_codecs,
    bad_contents,
    bad_files,
    bad_metadata,
    bad_page_contents,
    bad_pages,
    bad_parts,
    bad_roots,
    bad_stores,
    bad_types,
    bad_vectors,
    code_vectors,
    good_columns,
    good_stores,
    good_tokens,
    good_types,
    limit_vectors,
    part_vectors,
    view_vectors,
)
from .vector import Vector


def vectors() -> Iterator[Vector]:
    """Make every vector."""
    yield from good_tokens.vectors()
    yield from good_columns.vectors()
    yield from good_types.vectors()
    yield from code_vectors.good_vectors()
    yield from good_stores.vectors()
    yield from part_vectors.good_vectors()
    yield from view_vectors.good_vectors()
    yield from limit_vectors.good_vectors()
    yield from bad_files.vectors()
    yield from bad_contents.vectors()
    yield from bad_types.vectors()
    yield from bad_vectors.vectors()
    yield from code_vectors.bad_vectors()
    yield from bad_metadata.vectors()
    yield from bad_stores.vectors()
    yield from bad_pages.vectors()
    yield from part_vectors.bad_vectors()
    yield from view_vectors.bad_vectors()
    yield from bad_parts.vectors()
    yield from bad_codecs.vectors()
    yield from bad_roots.vectors()
    yield from bad_page_contents.vectors()
    yield from limit_vectors.bad_vectors()
