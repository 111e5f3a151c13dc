"""Objects that data files name, and the decoders made of them: read when first needed, kept within bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tokstore.cache import Cache
from tokstore.column_types import ColumnType
from tokstore.errors import TokstoreError
from tokstore.objects import check_object, check_object_kind, decode_object, object_path
from tokstore.schema import Column
from tokstore.shard import DataFile, ObjectRef
from tokstore.storage import Range

if TYPE_CHECKING:
    from tokstore.codecs.contract import BlockDecoder

__all__ = ["Objects"]

_COUNT, _BYTES = 1024, 64 << 20

# Rank tables with their dictionaries, codebooks, rotations: the versions of a store share them, and so do stores.
_DECODERS: Cache[tuple[bytes, int, int, int, ColumnType, int], tuple[BlockDecoder, int]] = Cache(
    _COUNT, _BYTES, lambda one: one[1]
)


class Objects:
    """The objects of one version.

    Args:
        read: Reads ranges of files in one round trip.
    """

    def __init__(self, read: Callable[[Sequence[Range]], list[memoryview | None]]) -> None:
        self._read = read
        self._stored: Cache[bytes, bytes] = Cache(_COUNT, _BYTES, len)
        self._decoders: Cache[tuple[bytes, ColumnType, int], tuple[BlockDecoder, int]] = Cache(
            _COUNT, _BYTES, lambda one: one[1]
        )

    def __contains__(self, name: bytes) -> bool:
        """Tell whether the stored bytes of an object are held."""
        return self._stored.get(name) is not None

    def keep(self, name: bytes, data: bytes) -> None:
        """Hold the stored bytes of an object, as they were read."""
        self._stored.put(name, data)

    def content(self, file: DataFile, one: ObjectRef) -> bytes:
        """Return the content of an object that a file names."""
        with _naming(one):
            return decode_object(self._data(file, one), one.digest, one.stored_bytes, one.kind, one.content_bytes)

    def decoder(self, file: DataFile, column: Column) -> BlockDecoder:
        """Return the decoder of a column of a file; files with the same object share one."""
        file.check_column(column.column_id, column.type)
        one = file.object_of(column.column_id)
        codec = int(file.entry(column.column_id)["codec"])
        key = (b"" if one is None else one.digest, column.type, codec)
        found = self._decoders.get(key)
        if found is None:
            try:
                if one is not None:
                    check_object_kind(column.type, codec, one.kind)
                found = self._new_decoder(file, column.type, codec, one)
            except TokstoreError as error:
                path = error.path or (object_path(key[0]) if one and one.offset is None else file.place.path)
                raise type(error)(
                    error.message, path=path, offset=error.offset, rule=error.rule, hint=error.hint
                ) from error
            self._decoders.put(key, found)
        return found[0]

    def _new_decoder(
        self, file: DataFile, kind: ColumnType, codec: int, one: ObjectRef | None
    ) -> tuple[BlockDecoder, int]:
        """Return a decoder and the bytes that it takes.

        It is made once in a process, since what an object decodes to depends on its bytes alone; those of this file
        are verified in any case.
        """
        from tokstore.decoders import decoder_for  # all codecs, which who reads no values does not need

        if one is None:
            return decoder_for(kind, codec, None), 0
        key = (one.digest, one.stored_bytes, one.kind, one.content_bytes, kind, codec)
        found = _DECODERS.get(key)
        if found is None:
            content = self.content(file, one)
            found = (decoder_for(kind, codec, content), 3 * len(content))
            _DECODERS.put(key, found)
            return found
        with _naming(one):
            check_object(self._data(file, one), one.digest, one.stored_bytes)
        return found

    def _data(self, file: DataFile, one: ObjectRef) -> bytes | memoryview:
        """Return the stored bytes of an object that a file names, as they are."""
        if one.offset is not None:
            return file.embedded(one)
        data: bytes | memoryview | None = self._stored.get(one.digest)
        if data is None:
            (data,) = self._read([(object_path(one.digest), 0, one.stored_bytes)])
        return data if data is not None else b""


@contextmanager
def _naming(one: ObjectRef) -> Iterator[None]:
    """Name the file of an object in errors about it; the caller knows which file an embedded one lies in."""
    try:
        yield
    except TokstoreError as error:
        if one.offset is not None or error.path:
            raise
        path = object_path(one.digest)
        raise type(error)(error.message, path=path, offset=error.offset, rule=error.rule) from error
