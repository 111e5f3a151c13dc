"""The folder beside a store where a run keeps what it has finished, so that a run that was stopped goes on.

It holds ``plan.json``, which says what is being done, and the units of signatures. A run that finds a folder of another
plan empties it. Two runs at a time would take each other's files away: the second one is refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokstore.errors import ConflictError
from tokstore.storage import LocalStorage
from tokstore.store import Store

__all__ = ["Done", "work_folder", "workspace"]

_PLAN, _LOCK = "plan.json", "lock"


@contextlib.contextmanager
def workspace(path: Path, plan: dict[str, Any]) -> Iterator[tuple[Path, bool]]:
    """Give a folder for the time of a run. It is removed when the run ends well, and stays when it does not.

    Args:
        path: The folder.
        plan: What is being done, as JSON can hold it: only a run of the same plan goes on with what is there.

    Yields:
        The folder, and whether it holds something of an earlier run.

    Raises:
        ConflictError: Another process works in it.
    """
    made = not path.parent.exists()
    path.mkdir(parents=True, exist_ok=True)
    with open(path / _LOCK, "a+b") as lock:
        _hold(lock, path)
        text = json.dumps(plan, sort_keys=True)
        file = path / _PLAN
        goes_on = file.is_file() and file.read_text(encoding="utf-8", errors="replace") == text
        if not goes_on:
            for one in path.iterdir():
                if one.name != _LOCK:
                    one.unlink()
            part = path / f"{_PLAN}.part"
            part.write_text(text, encoding="utf-8")
            os.replace(part, file)
        yield path, goes_on
        shutil.rmtree(path)
    if made:
        with contextlib.suppress(OSError):  # others work there meanwhile
            path.parent.rmdir()


def work_folder(store: Store, name: str, folder: Path | None) -> Path | None:
    """Return the folder where a run works, which is all its own; ``None`` if there is none beside an object store.

    Args:
        store: The store.
        name: Of the search.
        folder: What it lies in; beside the store by default.
    """
    storage = store._version.storage
    if folder is not None:
        base = os.path.basename(os.path.abspath(storage.root)) if isinstance(storage, LocalStorage) else "store"
        return folder / f"{base}.dedup-{name}"
    if not isinstance(storage, LocalStorage):
        return None
    return Path(f"{os.path.abspath(storage.root)}.dedup-{name}")


class Done:
    """How many steps of a run are done, in a file of its folder.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "done"
        text = self._path.read_text(encoding="utf-8") if self._path.is_file() else "0"
        self.count = int(text) if text.isdecimal() else 0

    def advance(self) -> None:
        """Note that one step more is done; what it made is on disk already."""
        self.count += 1
        part = self._path.with_suffix(".part")
        part.write_text(str(self.count), encoding="utf-8")
        os.replace(part, self._path)


def _hold(lock: Any, path: Path) -> None:
    """Lock a file until it is closed, however the process ends; do nothing where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise ConflictError("another process looks for the same duplicates", path=str(path)) from error
