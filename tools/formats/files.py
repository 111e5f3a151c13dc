"""Files of a path: one file, or those of a folder with an ending; their first bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from tokstore.errors import TokstoreError

__all__ = ["files_with", "first_bytes", "first_that_opens", "only_ending"]


def first_bytes(path: str, count: int) -> bytes:
    """Return the first bytes of a file; none of a folder or of what is not there."""
    try:
        with open(path, "rb") as file:
            return file.read(count)
    except OSError:
        return b""


def first_that_opens(paths: Sequence[str], job: Callable[[str], object]) -> str:
    """Return the first file that a job opens.

    Raises:
        ValueError, TokstoreError: The error of the first one, where none opens.
    """
    first = None
    for path in paths:
        try:
            job(path)
        except (ValueError, TokstoreError) as error:
            first = first or error
        else:
            return path
    raise first or ValueError("there is no file")


def files_with(path: str, endings: Sequence[str]) -> list[str]:
    """Return a file itself, or the files below a folder that have one of some endings, sorted by path.

    Hidden files and folders, and those that begin with an underscore, are passed over: other tools keep notes there.

    Raises:
        ValueError: A folder has none.
    """
    if os.path.isfile(path):
        return [path]
    found = []
    for place, folders, names in os.walk(path):
        folders[:] = [name for name in folders if name[0] not in "._"]
        found += [os.path.join(place, name) for name in names if name[0] not in "._" and name.endswith(tuple(endings))]
    if not found:
        raise ValueError(f"{path}: there is no file that ends in {' or '.join(endings)}")
    return sorted(found)


def only_ending(path: str, endings: Sequence[str]) -> bool:
    """Tell whether a folder has files of some endings, and nothing else but notes of tools."""
    if not os.path.isdir(path):
        return False
    names = [name for _, _, names in os.walk(path) for name in names if name[0] not in "._"]
    return (
        bool(names)
        and all(name.endswith((*endings, ".md", ".json")) for name in names)
        and any(name.endswith(tuple(endings)) for name in names)
    )
