"""Conversion tools as verbs call them."""

from __future__ import annotations

from tokstore.tool import load_tool

__all__ = ["load_tool"]
