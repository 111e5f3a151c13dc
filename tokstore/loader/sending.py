"""The end of a worker that is stopped while it sends.

`multiprocessing` sends on a daemon thread, and a `DataLoader` that is left early tells its workers not to wait for it.
A spawned worker then finalizes its interpreter while that thread may be inside PyTorch, copying a tensor to shared
memory. CPython ends a daemon thread that comes back after that by unwinding its stack, which C++ does not allow there:
"terminate called without an active exception". (A forked worker ends without finalizing.) Threads of the loader itself
are no daemons, and end before.
"""

from __future__ import annotations

import atexit
import threading

__all__ = ["finish_sending"]

_FEEDER = "QueueFeederThread"
_SECONDS = 2.0
"""A thread that waits for a reader who is gone is in no C++, and may be left; `DataLoader` itself waits for 5 s."""
_registered = False


def _wait() -> None:
    """Wait until nothing is being sent, but not for a reader."""
    for thread in threading.enumerate():
        if thread.name == _FEEDER:
            thread.join(_SECONDS)


def finish_sending() -> None:
    """Let this worker process end only when what it has begun to send is sent."""
    global _registered
    if not _registered:
        _registered = True
        atexit.register(_wait)
