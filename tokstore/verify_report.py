"""What `verify` found, and how its parts note it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tokstore.errors import TokstoreError
from tokstore.storage import Storage
from tokstore.writing import Progress

__all__ = ["Findings", "Report", "at_path"]

_PIECE = 16 << 20


@dataclass
class Report:
    """What `verify` found.

    Attributes:
        path: The store.
        version: The version that was checked.
        files: Data files checked.
        objects: Objects checked.
        nbytes: Bytes read.
        values: Values decoded and compared with their digests.
        problems: What is wrong, one error each; empty for a sound store.
        unchecked: What could not be checked, such as columns of types from a newer version.
    """

    path: str
    version: int
    files: int = 0
    objects: int = 0
    nbytes: int = 0
    values: int = 0
    problems: list[TokstoreError] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Tell whether nothing is wrong."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        problems = [{"kind": type(one).__name__, "message": str(one)} for one in self.problems]
        return self.__dict__ | {"ok": self.ok, "problems": problems}

    def __repr__(self) -> str:
        found = "sound" if self.ok else f"{len(self.problems)} problems, first: {self.problems[0]}"
        return f"<Report {self.path} version {self.version}: {self.files} files, {self.nbytes} bytes, {found}>"


class Findings:
    """A report in the making: notes problems instead of stopping at them, and counts what is read.

    Args:
        report: Where it is noted.
        storage: Where bytes are read.
        total_bytes: Bytes that there are to read, for progress.
        progress: Called with a `Progress` of bytes read.
    """

    def __init__(
        self, report: Report, storage: Storage, total_bytes: int, progress: Callable[[Progress], None] | None
    ) -> None:
        self.report, self.storage, self._total, self._progress = report, storage, total_bytes, progress

    def guard(self, check: Callable[..., object], *arguments: Any, path: str | None = None) -> bool:
        """Run a check, note what it finds, and tell whether it found nothing.

        Args:
            check: What to call.
            *arguments: Its arguments.
            path: The file for errors that name none.
        """
        try:
            check(*arguments)
        except TokstoreError as error:
            self.report.problems.append(error if path is None else at_path(error, path))
            return False
        return True

    def read(self, path: str, offset: int = 0, nbytes: int | None = None) -> memoryview:
        """Read a range of a file, to its end by default; it counts."""
        (data,) = self.storage.read_ranges([(path, offset, nbytes)])
        found = data if data is not None else memoryview(b"")
        self.count(len(found))
        return found

    def read_pieces(self, path: str, nbytes: int) -> Any:
        """Yield the first bytes of a file in pieces."""
        for at in range(0, nbytes, _PIECE):
            yield self.read(path, at, min(_PIECE, nbytes - at))

    def count(self, nbytes: int) -> None:
        """Count bytes and report progress."""
        self.report.nbytes += nbytes
        if self._progress is not None:
            self._progress(Progress(self.report.nbytes, max(self._total, self.report.nbytes), "bytes", "verify"))


def at_path(error: TokstoreError, path: str) -> TokstoreError:
    """Add the path to an error that has none."""
    if error.path is not None:
        return error
    return type(error)(error.message, path=path, offset=error.offset, rule=error.rule, hint=error.hint)
