"""The command line: one file per verb, thin over the public API.

Verbs import what is heavy when they run, so that ``tokstore --help`` and a mistyped option answer at once.
"""

from __future__ import annotations

from tokstore.cli.main import main

__all__ = ["main"]
