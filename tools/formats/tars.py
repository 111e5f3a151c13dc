"""Members of tars, and ``.npy`` in memory: plain ones in a few operations each, everything else through the libraries.

A member that is a regular file with a header of POSIX.1-1988 is read right here, as are arrays of ordinary numbers;
where a tar is compressed, or a header is of another kind (long names, sparse files), `tarfile` reads on from there, and
`numpy` reads every other ``.npy``.
"""

from __future__ import annotations

import io
import os
import re
import tarfile
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["TarOut", "read_members", "read_npy", "write_npy"]

_BLOCK = 512
_NPY_MAGIC = b"\x93NUMPY\x01\x00"
_NPY_HEAD = re.compile(
    rb"\{'descr': '([<>|][biuf][0-9]+)', 'fortran_order': False, 'shape': \(((?:[0-9]+, ?)*[0-9]*)\), \} *\n\Z"
)
_OCTAL = re.compile(rb" *([0-7]{1,11})[ \0]")
_TIMES = re.compile(rb"(?:[0-9]+ (?:mtime|atime|ctime)=[0-9.]+\n)+\Z")


def read_members(path: str) -> Iterator[tuple[str, bytes]]:
    """Yield the names and bytes of the regular files in a tar, compressed or not.

    Raises:
        tarfile.TarError, EOFError, OSError, zlib.error: It is damaged or cut short.
    """
    with open(path, "rb") as file:
        at, end = 0, os.fstat(file.fileno()).st_size
        while (found := _plain_header(file.read(_BLOCK))) is not None:
            kind, name, size = found
            if size > end - at - _BLOCK:
                raise tarfile.ReadError("unexpected end of data")
            data = file.read(size + -size % _BLOCK)
            if kind == b"x" and _TIMES.match(data[:size]) is None:
                break  # it says more of the next member than its times
            at += _BLOCK + len(data)
            if kind in (b"0", b"\0"):
                yield name, data[:size]
        file.seek(at)
        with tarfile.open(fileobj=file, mode="r|*") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                stream = tar.extractfile(member)
                data = b"" if stream is None else stream.read()
                if len(data) != member.size:
                    raise tarfile.ReadError("unexpected end of data")
                yield member.name, data


def _plain_header(block: bytes) -> tuple[bytes, str, int] | None:
    """Return type, name and bytes of a member by its header; ``None`` for `tarfile` to look at."""
    kind = block[156:157]
    if len(block) != _BLOCK or kind not in (b"0", b"\0", b"5", b"x") or not block[0]:
        return None
    size, stored = _OCTAL.match(block[124:136]), _OCTAL.match(block[148:156])
    if size is None or stored is None or not _is_sum(block, int(stored[1], 8)):
        return None
    name, prefix = block[:100].partition(b"\0")[0], block[345:500].partition(b"\0")[0]
    if (prefix and block[257:263] != b"ustar\0") or (name.endswith(b"/") and kind != b"5"):
        return None
    try:
        text = name.decode("utf-8")
        return kind, (f"{prefix.decode('utf-8')}/{text}" if prefix else text), int(size[1], 8)
    except UnicodeDecodeError:
        return None


def _is_sum(block: bytes, stored: int) -> bool:
    """Check the sum of the bytes of a header, in which its own eight count as spaces.

    Adler-32 has that sum in its lower half, modulo 65521, and takes no Python for each byte.
    """
    own = zlib.adler32(block[148:156])
    return ((zlib.adler32(block) & 0xFFFF) - (own & 0xFFFF) + 8 * 32 - stored) % 65521 == 0


class TarOut:
    """Write a tar (POSIX.1-1988), member by member; all belong to nobody, and have no time."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "wb")  # noqa: SIM115 - closed by `close`

    def add(self, name: str, data: bytes) -> None:
        """Write a member.

        Raises:
            ValueError: Its name has more than 100 bytes, or it is of 8 GiB or more.
        """
        coded = name.encode()
        if len(coded) > 100 or len(data) >= 8 << 30:
            raise ValueError(f"a tar holds no member of this name or size: {name[:40]!r}…, {len(data)} bytes")
        head = coded.ljust(100, b"\0") + b"0000644\x000000000\x000000000\x00%011o\x0000000000000\x00" % len(data)
        rest = b" 0".ljust(101, b"\0") + b"ustar\x0000"
        block = (head + b" " * 7 + rest).ljust(_BLOCK, b"\0")
        block = block[:148] + b"%06o\0 " % ((zlib.adler32(block) & 0xFFFF) - 1) + block[156:]
        self._file.write(block)
        self._file.write(data)
        self._file.write(bytes(-len(data) % _BLOCK))

    def close(self) -> None:
        """Write the end: zeros up to a whole record of 20 blocks."""
        at = self._file.tell() + 2 * _BLOCK
        self._file.write(bytes(2 * _BLOCK + -at % (20 * _BLOCK)))
        self._file.close()


@lru_cache(4096)
def _npy_head(head: bytes) -> tuple[np.dtype[Any], tuple[int, ...], int] | None:
    """Return dtype, shape and count of the values of an array of ordinary numbers by its header."""
    found = _NPY_HEAD.match(head)
    if found is None:
        return None
    shape = tuple(int(one) for one in found[2].replace(b" ", b"").split(b",") if one)
    count = 1
    for one in shape:
        count *= one
    try:
        return np.dtype(found[1].decode()), shape, count
    except TypeError:
        return None


def read_npy(data: bytes) -> NDArray[Any]:
    """Return the array in the bytes of a ``.npy`` file; it may not be writable.

    Raises:
        ValueError, EOFError, OSError: It is damaged, cut short, or would have to be run.
    """
    end = 10 + int.from_bytes(data[8:10], "little")
    facts = _npy_head(data[10:end]) if data.startswith(_NPY_MAGIC) and len(data) >= end else None
    if facts is None or len(data) != end + facts[2] * facts[0].itemsize:
        found: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
        return found
    return np.frombuffer(data, facts[0], facts[2], end).reshape(facts[1])


@lru_cache(4096)
def _npy_start(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return what stands before the values of an array in a ``.npy`` file."""
    out = io.BytesIO()
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue()


def write_npy(array: NDArray[Any]) -> bytes:
    """Return a contiguous array of numbers as the bytes of a ``.npy`` file.

    Example:
        >>> read_npy(write_npy(np.arange(3, dtype=np.uint16)))
        array([0, 1, 2], dtype=uint16)
    """
    return _npy_start(array.dtype, array.shape) + array.tobytes()
