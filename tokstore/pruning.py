"""What no kept version names, and how it is removed: roots first, then what they alone named (format.md 9.2).

A root that goes leaves an empty file for a while: a writer that began before would else take its number for a free one.
A process that dies in between leaves files that nobody names, which the next run finds. Files of a writer that is still
at work are in no version either, so that such files go only when they are old.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tokstore.errors import TokstoreError
from tokstore.manifest import LATEST_FILE, listed_versions, newest_root, read_root, root_path, write_json
from tokstore.objects import object_path
from tokstore.parts import decode_part, part_path, staged_parts
from tokstore.root import Root
from tokstore.shard import file_path
from tokstore.storage import Entry, Storage
from tokstore.version import Version

__all__ = ["Pruned", "plan_pruning", "remove"]

_TEMPORARY = re.compile(r"\.[0-9a-f]{16}\.tmp\Z")
_OWN = {
    "manifests": re.compile(r"[0-9]{20}\.tsm\Z"),
    "pages": re.compile(r"[0-9a-f]{64}\Z"),
    "plans": re.compile(r"[0-9a-f]{64}\Z"),
    "deletions": re.compile(r"[0-9a-f]{64}\Z"),
    "columns": re.compile(r"[0-9]{10}\Z"),
}
_OWN_BELOW = {"data": re.compile(r"[0-9a-f]{32}\.tok\Z"), "objects": re.compile(r"[0-9a-f]{64}\Z")}
_ROOT_SECONDS = 86_400.0
_NOTHING = re.compile(r"\b\B")


@dataclass
class Pruned:
    """What `Store.prune` removed, or would remove.

    Attributes:
        versions: Numbers of the versions, ascending.
        files: Number of files, roots included.
        nbytes: Their bytes.
        orphans: How many of the files no version named at all: what dead writers left.
        kept: Numbers of the versions that stay.
        dry_run: Nothing was removed.
    """

    versions: list[int] = field(default_factory=list)
    files: int = 0
    nbytes: int = 0
    orphans: int = 0
    kept: list[int] = field(default_factory=list)
    dry_run: bool = True
    _roots: list[str] = field(default_factory=list)
    _others: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def __repr__(self) -> str:
        verb = "would remove" if self.dry_run else "removed"
        some = f"{len(self.versions)} version{'' if len(self.versions) == 1 else 's'}"
        orphans = f", {self.orphans:,} of them left by dead writers" if self.orphans else ""
        return f"<Pruned: {verb} {some}, {self.files:,} files of {self.nbytes:,} bytes{orphans}; keeps {self.kept}>"


def plan_pruning(storage: Storage, *, keep: int, older_than: float | None, grace: float) -> Pruned:
    """Find out what can go.

    Args:
        storage: The store.
        keep: The newest versions that stay, 1 or more.
        older_than: Versions that were committed in the last so many seconds stay too.
        grace: Seconds for which files that no version names stay.
    """
    now = time.time()
    roots = {number: read_root(storage, number) for number in listed_versions(storage)}
    kept, named = _kept(storage, roots, keep, None if older_than is None else now - older_than)
    seen: dict[bytes, frozenset[str]] = {}
    for number in kept:
        named |= _named(Version(storage, roots[number]), seen)
    # A writer that began before its object was replaced may still commit shards that name it.
    numbers = sorted(roots)
    for number, successor in pairwise(numbers):
        if roots[successor].created_ms / 1000 > now - grace:
            named |= {object_path(name) for name, _ in roots[number].current_objects.values()}
    made = Pruned(versions=sorted(set(roots) - kept), kept=sorted(kept))
    gone: set[str] = set()
    for number in made.versions:
        try:
            gone |= _named(Version(storage, roots[number]), seen)
        except TokstoreError:
            continue  # half of it went in an earlier run; what is left of it is found by its age
    sizes = {f"manifests/{entry.name}": entry.nbytes for entry in storage.entries("manifests")}
    made._roots = [root_path(number) for number in made.versions]
    made.nbytes = sum(sizes.get(path, 0) for path in made._roots)
    for path, entry in _own_files(storage):
        if path.endswith(".tsm"):  # only what stands for a root that went, and for long
            patience = max(grace, _ROOT_SECONDS)
            if entry.nbytes or path >= root_path(numbers[-1]):
                continue
        else:
            patience = grace
        if path in named or (path not in gone and entry.modified > now - patience):
            continue
        made.orphans += path not in gone and not path.endswith(".tsm")
        made._others.append(path)
        made.nbytes += entry.nbytes
    made.files = len(made._roots) + len(made._others)
    return made


def remove(storage: Storage, plan: Pruned) -> None:
    """Remove what was found: the roots, and when they are gone for good what they named."""
    if plan._roots or plan._others:
        storage.replace(LATEST_FILE, write_json({"version": plan.kept[-1]}))  # a hint may be late, and never early
    for path in plan._roots:
        storage.replace(path, b"")
    # What was committed meanwhile may have written a part anew that was about to go.
    newest = newest_root(storage)
    named = _named(Version(storage, newest), {}) if newest.version != plan.kept[-1] else set()
    for path in plan._others:
        if path not in named:
            storage.delete(path)
    plan.dry_run = False


def _kept(storage: Storage, roots: dict[int, Root], keep: int, since: float | None) -> tuple[set[int], set[str]]:
    """Return the versions that stay, and the files that staged parts name."""
    numbers = sorted(roots)
    kept = set(numbers[-keep:]) | (set(roots[numbers[-1]].tags.values()) & set(numbers))
    if since is not None:
        kept |= {number for number in numbers if roots[number].created_ms / 1000 > since}
    named: set[str] = set()
    for name in staged_parts(storage):
        (data,) = storage.read_ranges([(part_path(name), 0, None)])
        part = decode_part(data if data is not None else b"", part_path(name))
        # Whether a part is in a version already is seen in the roots since it was begun (format.md 8.6).
        kept |= {number for number in numbers if number > part.base_version}
        page = part.shards.page
        named |= {file_path(one) for one in page.file_ids} | {object_path(one) for one in page.objects}
    return kept, named


def _named(version: Version, seen: dict[bytes, frozenset[str]]) -> set[str]:
    """Return the paths of all files that a version names; `seen` has those of pages, by digest."""
    root, named = version.root, set[str]()
    for number, record in enumerate(root.pages):
        for name in ("page", "plan", "deletion"):
            one = record[f"{name}_digest"].tobytes()
            if any(one) and one not in root.inline:
                named.add(f"{name}s/{one.hex()}")
        page_name = record["page_digest"].tobytes()
        if page_name not in seen:
            (page,) = version.pages([number])
            files = [file_path(one) for one in page.file_ids] + [object_path(one) for one in page.objects]
            seen[page_name] = frozenset(files)
        named |= seen[page_name]
    named |= {object_path(one) for one, *_ in root.attachments.values()}
    return named | {object_path(one) for one, _ in root.current_objects.values()}


def _own_files(storage: Storage) -> Iterator[tuple[str, Entry]]:
    """Yield all files whose names the format gives, apart from parts and the JSON files; and temporary files."""
    for folder in ("", "parts"):
        yield from _matching(storage, folder, _NOTHING)
    for view in storage.entries("views"):
        if view.is_folder:
            yield from _matching(storage, f"views/{view.name}", _NOTHING)
    for folder, pattern in _OWN.items():
        yield from _matching(storage, folder, pattern)
    for folder, pattern in _OWN_BELOW.items():
        for below in storage.entries(folder):
            if below.is_folder and re.fullmatch(r"[0-9a-f]{2}", below.name):
                for path, entry in _matching(storage, f"{folder}/{below.name}", pattern):
                    if entry.name.startswith((below.name, ".")):
                        yield path, entry


def _matching(storage: Storage, folder: str, pattern: re.Pattern[str]) -> Iterator[tuple[str, Entry]]:
    """Yield the files of a folder with a name of a form, and temporary ones."""
    for entry in storage.entries(folder):
        if not entry.is_folder and (pattern.match(entry.name) or _TEMPORARY.match(entry.name)):
            yield (f"{folder}/{entry.name}" if folder else entry.name), entry
