"""Conditions on columns: text or tuples -> which positions of a version meet them.

In order: `lexer` and `parse` make nodes of a condition, `bind` finds the columns and checks types before anything is
read, `prune` says from counts and ranges which shards and blocks may hold matches, `evaluate` decides about rows, and
`search` reads what is left to decide.
"""

from __future__ import annotations

from tokstore.where.bind import bind, bind_field
from tokstore.where.fields import Field
from tokstore.where.nodes import Node
from tokstore.where.parse import parse, parse_tuples
from tokstore.where.search import search

__all__ = ["Field", "Node", "bind", "bind_field", "parse", "parse_tuples", "search"]
