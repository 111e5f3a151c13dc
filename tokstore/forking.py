"""Locks and threads after a fork: a child starts with fresh ones.

A fork copies locks as they are, held or not, and none of the threads. `DataLoader` workers are forks on Linux, so
everything that holds a lock or a thread pool registers here and is told to make new ones in the child.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["renew_after_fork"]


class Renewable(Protocol):
    """Something with locks or threads."""

    def renew(self) -> None:
        """Make new locks, and forget threads that this process does not have."""


_ALIVE: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_after_fork(one: Renewable) -> None:
    """Have ``one.renew()`` called in every forked child for as long as `one` lives."""
    _ALIVE.add(one)


def _renew_all() -> None:
    """Renew what was registered before the fork."""
    for one in list(_ALIVE):
        one.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
