"""One open version: pages, data files and blocks, loaded when first needed and kept within bounds (format.md 8).

This is where round trips are planned. Rows that are wanted, however many shards they lie in, cost one trip for the
tails and objects of files that are not open yet and one for their blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tokstore.cache import Cache
from tokstore.errors import CorruptError, MissingFileError, TokstoreError
from tokstore.format import HAS_DELETIONS, check_stored
from tokstore.manifest import root_path
from tokstore.object_reading import Objects
from tokstore.objects import object_path
from tokstore.packed import Ints
from tokstore.pages import Page
from tokstore.placement import ABSENT, CONSTANT, FIRST_FILE
from tokstore.root import Root
from tokstore.schema import Column
from tokstore.shard import DataFile, FilePlace, ObjectRef
from tokstore.storage import Range, Storage
from tokstore.under_way import UnderWay

if TYPE_CHECKING:
    from tokstore.codecs.contract import BlockDecoder
    from tokstore.deletions import Deletions
    from tokstore.plan import Plan

__all__ = ["ColumnPlace", "ShardRows", "Version"]

_Item = TypeVar("_Item")
_PAGES, _FILES, _FILE_BYTES, _BLOCK_BYTES = 64, 1024, 64 << 20, 16 << 20


@dataclass(frozen=True)
class ShardRows:
    """Rows of one shard that are wanted: page and shard number, rows, and where they go in the result."""

    page: int
    shard: int
    rows: Ints
    at: Ints


@dataclass(frozen=True)
class ColumnPlace:
    """Where one column of one shard lies.

    Attributes:
        file: The open file, or ``None`` where the column is absent or constant.
        first_row: Row of the file at which the shard begins.
        constant: The one value of all rows, as bytes; ``None`` where there is a file or nothing.
    """

    file: DataFile | None
    first_row: int
    constant: bytes | None


class Version:
    """An open version of a store.

    Args:
        storage: Where its bytes are.
        root: Its root.
        file_name: For a single data file opened as a store: its name in the storage.
    """

    def __init__(self, storage: Storage, root: Root, file_name: str | None = None) -> None:
        self.storage, self.root, self.file_name = storage, root, file_name
        records = root.pages
        kept = records["samples"].astype(np.int64) - records["deleted"].astype(np.int64)
        self.page_starts: Ints = np.concatenate([[0], np.cumsum(kept)])
        self._pages: Cache[int, Page] = Cache(_PAGES)
        self._plans: Cache[int, Plan] = Cache(_PAGES)
        self._deletions: Cache[int, Deletions] = Cache(_PAGES)
        self._shard_starts: Cache[int, Ints] = Cache(_PAGES)
        self._files: Cache[bytes, DataFile] = Cache(_FILES, _FILE_BYTES, lambda one: one.nbytes)
        self._objects = Objects(self.read)
        self.under_way = UnderWay()
        self.blocks: Cache[tuple[bytes, int, int], NDArray[Any]] = Cache(4096, _BLOCK_BYTES, lambda one: one.nbytes)

    @property
    def path(self) -> str:
        """Where the store is, as a person would write it."""
        return self.storage.describe(self.file_name or "")

    def place(self, page: Page, number: int) -> FilePlace:
        """Return the place of one file of a page."""
        place = page.place(number)
        return place if self.file_name is None else replace(place, path=self.file_name)

    def read(self, ranges: Sequence[Range]) -> list[memoryview | None]:
        """Read ranges of files that this version names, in one round trip.

        Raises:
            MissingFileError: A file is not there; if that is so because the version was pruned, the error says it.
        """
        try:
            return self.storage.read_ranges(ranges)
        except MissingFileError as error:
            if self.file_name is not None or self.is_there():
                raise
            raise MissingFileError(
                f"{error.message}, since version {self.root.version} was pruned",
                path=error.path,
                rule=error.rule,
                hint="open the store again",
            ) from error

    def is_there(self) -> bool:
        """Tell whether the version is still there, or was pruned."""
        try:
            return self.storage.file_bytes(root_path(self.root.version)) > 0
        except MissingFileError:
            return False

    def __getstate__(self) -> dict[str, Any]:
        # Caches and locks stay behind: another process opens the files it needs by itself.
        return {"storage": self.storage, "root": self.root, "file_name": self.file_name}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["storage"], state["root"], state["file_name"])  # type: ignore[misc]

    # Pages, plans, deletions ------------------------------------------------------------------------------------

    def _parts(self, numbers: Sequence[int], name: str, folder: str) -> dict[int, bytes | memoryview]:
        """Return the bytes of pages, plans or deletions, inline or in one trip, verified."""
        records = self.root.pages
        digests = {i: records[f"{name}_digest"][i].tobytes() for i in numbers}
        found: dict[int, bytes | memoryview] = {
            i: self.root.inline[d] for i, d in digests.items() if d in self.root.inline
        }
        wanted = [i for i in numbers if i not in found]
        if wanted:
            paths = [f"{folder}/{digests[i].hex()}" for i in wanted]
            read = self.read([(path, 0, None) for path in paths])
            for i, path, data in zip(wanted, paths, read, strict=True):
                found[i] = _stored(records[i], name, path, data)
        return found

    def part_of_record(self, record: Any, name: str) -> bytes:
        """Return the bytes of the page or plan of a record, inline or read, verified."""
        expected = record[f"{name}_digest"].tobytes()
        found = self.root.inline.get(expected)
        if found is not None:
            return found
        path = f"{name}s/{expected.hex()}"
        (data,) = self.read([(path, 0, None)])
        return bytes(_stored(record, name, path, data))

    def pages(self, numbers: Sequence[int]) -> list[Page]:
        """Return pages by number, the missing ones loaded in one trip."""
        have = {i: self._pages.get(i) for i in numbers}
        missing = [i for i, page in have.items() if page is None]
        for i, data in self._parts(missing, "page", "pages").items():
            page = self._decoded(partial(Page.decode, data, self.root.schema), "pages", i, "page")
            record = self.root.pages[i]
            if page.shards != int(record["shards"]) or int(page.samples.sum()) != int(record["samples"]):
                raise CorruptError("a page has other shards or samples than its record", rule="format.md 8.2")
            have[i] = page
            self._pages.put(i, page)
        return [page for page in (have[i] for i in numbers) if page is not None]

    def _decoded(self, decode: Callable[[], _Item], folder: str, number: int, name: str) -> _Item:
        """Decode a part of the manifest, and name its file if it is damaged."""
        try:
            return decode()
        except TokstoreError as error:
            path = error.path or f"{folder}/{self.root.pages[f'{name}_digest'][number].tobytes().hex()}"
            raise type(error)(error.message, path=path, offset=error.offset, rule=error.rule) from error

    def plans(self, numbers: Sequence[int]) -> list[Plan]:
        """Return the plans of pages by number, the missing ones loaded in one trip."""
        from tokstore.plan import Plan

        have = {i: self._plans.get(i) for i in numbers}
        missing = [i for i, plan in have.items() if plan is None]
        for i, data in self._parts(missing, "plan", "plans").items():
            shards = int(self.root.pages["shards"][i])
            plan = self._decoded(partial(Plan.decode, data, shards), "plans", i, "plan")
            if plan.primary_id != self.root.schema.primary.column_id:
                raise CorruptError("a plan is for another column than the primary one", rule="format.md 8.4")
            record, spans = self.root.pages[i], plan.spans
            if len(spans.values) != int(record["spans"]) or int(spans.samples.sum()) != int(record["samples"]):
                raise CorruptError("a plan has other spans or samples than its page record", rule="format.md 8.2")
            have[i] = plan
            self._plans.put(i, plan)
        return [plan for plan in (have[i] for i in numbers) if plan is not None]

    def deletions(self, number: int) -> Deletions | None:
        """Return the deletions of a page."""
        record = self.root.pages[number]
        if not int(record["flags"]) & HAS_DELETIONS:
            return None
        found = self._deletions.get(number)
        if found is None:
            from tokstore.deletions import Deletions

            data = self._parts([number], "deletion", "deletions")[number]
            (page,) = self.pages([number])
            spans = int(record["spans"])
            found = self._decoded(lambda: Deletions.decode(data, page.samples, spans), "deletions", number, "deletion")
            if int(found.deleted.sum()) != int(record["deleted"]):
                raise CorruptError("deletions do not add up to their page record", rule="format.md 8.5")
            self._deletions.put(number, found)
        return found

    def shard_starts(self, number: int) -> Ints:
        """Return the position in the page at which each of its shards begins, with the end of the last."""
        found = self._shard_starts.get(number)
        if found is None:
            (page,) = self.pages([number])
            gone = self.deletions(number)
            kept = page.samples if gone is None else page.samples - gone.deleted
            found = np.concatenate([[0], np.cumsum(kept)])
            self._shard_starts.put(number, found)
        return found

    # Positions ------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return int(self.page_starts[-1])

    def locate(self, positions: Ints) -> list[ShardRows]:
        """Return which rows of which shards hold the samples at positions, shard by shard in order.

        Args:
            positions: Ascending positions of the version.
        """
        result: list[ShardRows] = []
        runs = list(_parts(positions, self.page_starts[:-1]))
        self.pages([number for number, _ in runs])
        for number, chosen in runs:
            inside = positions[chosen] - self.page_starts[number]
            starts = self.shard_starts(number)
            gone = self.deletions(number)
            for shard, part in _parts(inside, starts):
                rows = inside[part] - starts[shard]
                at = np.arange(chosen.start + part.start, chosen.start + part.stop)
                result.append(ShardRows(number, shard, rows if gone is None else gone.rows(shard, rows), at))
        return result

    def sample_ids(self, wanted: ShardRows) -> Ints:
        """Return the sample ids of rows of a shard (format.md 7.2)."""
        (page,) = self.pages([wanted.page])
        edges = np.concatenate([[0], np.cumsum(page.id_runs)])
        runs = slice(int(edges[wanted.shard]), int(edges[wanted.shard + 1]))
        first, count = page.id_first[runs], page.id_samples[runs]
        starts = np.concatenate([[0], np.cumsum(count)])
        run = np.searchsorted(starts, wanted.rows, side="right") - 1
        return np.asarray(first[run] + wanted.rows - starts[run], np.int64)

    # Files and objects ----------------------------------------------------------------------------------------

    def open_files(self, wanted: Sequence[tuple[int, int]], columns: Sequence[Column]) -> None:
        """Open the files that hold columns of shards, all in one trip with the objects that they name."""
        places: dict[bytes, FilePlace] = {}
        objects: dict[bytes, int] = {}
        pages = dict(zip([p for p, _ in wanted], self.pages([p for p, _ in wanted]), strict=True))
        for number, shard in wanted:
            page = pages[number]
            for column in columns:
                placement = page.columns.get(column.column_id)
                where = ABSENT if placement is None else int(placement.where[shard])
                if where < FIRST_FILE:
                    continue
                file_id = page.file_ids[where - FIRST_FILE]
                if file_id not in places and self._files.get(file_id) is None:
                    places[file_id] = self.place(page, where - FIRST_FILE)
                    objects.update(self._named_objects(page, where - FIRST_FILE))
        if not places:
            return
        ranges: list[Range] = [one for place in places.values() for one in DataFile.ranges(place)]
        ranges += [(object_path(name), 0, nbytes) for name, nbytes in objects.items()]
        read = self.read(ranges)
        for place, header, tail in zip(places.values(), read[0::2], read[1::2], strict=False):
            if header is not None and tail is not None:
                self._files.put(place.file_id, DataFile(place, header, tail))
        for name, data in zip(objects, read[2 * len(places) :], strict=True):
            if data is not None:
                self._objects.keep(name, bytes(data))

    def _named_objects(self, page: Page, file: int) -> dict[bytes, int]:
        """Return the stored objects that a file names and that are not loaded yet, with their bytes."""
        return {name: nbytes for name, nbytes in page.objects_of(file).items() if name not in self._objects}

    def file_by_number(self, page: Page, number: int) -> DataFile:
        """Return one open file of a page; it is opened again if the cache has dropped it."""
        found = self._files.get(page.file_ids[number])
        if found is None:
            place = self.place(page, number)
            header, tail = self.read(DataFile.ranges(place))
            if header is None or tail is None:
                raise CorruptError("a file vanished while it was read", path=place.path)
            found = DataFile(place, header, tail)
            self._files.put(place.file_id, found)
        return found

    def place_of(self, page_number: int, shard: int, column: Column) -> ColumnPlace:
        """Return where a column of a shard lies."""
        (page,) = self.pages([page_number])
        placement = page.columns.get(column.column_id)
        where = ABSENT if placement is None else int(placement.where[shard])
        if placement is None or where == ABSENT:
            return ColumnPlace(None, 0, None)
        if where == CONSTANT:
            width = column.type.dtype.itemsize
            number = int(np.count_nonzero(placement.where[:shard] == CONSTANT))
            value = (placement.constants or b"")[number * width : (number + 1) * width]
            if len(value) != width:
                raise CorruptError("a page lacks the constant of a shard", rule="format.md 8.3")
            return ColumnPlace(None, 0, value)
        file = self.file_by_number(page, where - FIRST_FILE)
        first_row = int(placement.first_row[shard])
        if first_row + int(page.samples[shard]) > file.rows_count:
            raise CorruptError("a file has fewer rows than its page says", path=file.place.path, rule="format.md 8.3")
        return ColumnPlace(file, first_row, None)

    def object_content(self, file: DataFile, one: ObjectRef) -> bytes:
        """Return the content of an object that a file names."""
        return self._objects.content(file, one)

    def decoder(self, file: DataFile, column: Column) -> BlockDecoder:
        """Return the decoder of a column of a file; files with the same rank table share one."""
        return self._objects.decoder(file, column)


def _parts(ascending: Ints, starts: Ints) -> Iterator[tuple[int, slice]]:
    """Yield which part of ascending positions lies in each piece that has some, given where the pieces start."""
    edges = [*np.searchsorted(ascending, starts).tolist(), len(ascending)]
    for number, (a, b) in enumerate(pairwise(edges)):
        if b > a:
            yield number, slice(a, b)


def _stored(record: Any, name: str, path: str, data: memoryview | None) -> memoryview:
    """Return the bytes of a page, plan or deletions if they are those that the page record names."""
    part = data if data is not None else memoryview(b"")
    try:
        check_stored(
            part, int(record[f"{name}_bytes"]), record[f"{name}_digest"].tobytes(), f"a {name}", "format.md 8.3"
        )
    except TokstoreError as error:
        raise type(error)(error.message, path=path, rule=error.rule) from error
    return part
