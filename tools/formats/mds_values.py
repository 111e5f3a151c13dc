"""Values of MDS encodings <-> values of columns.

==============================================  =======================================================
``ndarray:<dtype>``                             ``Array(dtype, (None,))``; token ids by name
``ndarray:<dtype>:<shape>``                     ``Array(dtype, shape)``, ``Vector`` of float32
``float16 float32 float64``, ``str_float``      ``Score``
``int``, ``int8`` … ``uint32``, ``str_int``     ``Label()``; ``uint64`` is ``Array("uint64")``
``str``, ``json``                               ``Text()``
``bytes``, ``jpeg``, ``png``                    ``Bytes()``
``pkl``, ``pil``, ``str_decimal``, ``ndarray``  not carried: nothing that is stored is run
==============================================  =======================================================
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import tokstore as ts

from .contract import Ids

__all__ = ["encode_column", "encoding_of", "read_column", "type_of_encoding"]

_INTS = {"int", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"}
_FLOATS = {"float16", "float32", "float64"}
_ARRAYS = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", *_FLOATS}


def type_of_encoding(code: str) -> Any:
    """Return the column type of an encoding, or ``None``.

    Example:
        >>> type_of_encoding("ndarray:uint16"), type_of_encoding("float64"), type_of_encoding("pkl")
        (Array('uint16', (None,), optional=True), Score('float64', optional=True), None)
    """
    name, _, rest = code.partition(":")
    if name in _FLOATS or name == "str_float":
        return ts.Score(name if name in _FLOATS else "float64", optional=True)
    if name in _INTS or name == "str_int":
        return ts.Label(optional=True)
    if name == "uint64":
        return ts.Array("uint64", (), optional=True)
    if name in ("str", "json"):
        return ts.Text(optional=True)
    if name in ("bytes", "jpeg", "png"):
        return ts.Bytes(optional=True)
    if name != "ndarray":
        return None
    dtype, _, shape = rest.partition(":")
    if dtype not in _ARRAYS:
        return None
    if not shape:
        return ts.Array(dtype, (None,), optional=True)
    dims = tuple(map(int, shape.split(",")))
    if dtype == "float32" and len(dims) == 1:
        return ts.Vector(dims[0], optional=True)
    return ts.Array(dtype, dims, optional=True)


def encoding_of(kind: Any, dtype: str | None) -> str | None:
    """Return the encoding of a column type, or ``None``.

    Args:
        kind: The type.
        dtype: The dtype of token ids; the smallest that holds the vocabulary by default.
    """
    if isinstance(kind, ts.Tokens):
        size = kind.vocab_size
        usual = "uint16" if size <= 1 << 16 else "uint32" if size <= 1 << 32 else "int64"
        made = np.dtype(dtype or usual)
        if made.name not in _ARRAYS or made.kind not in "iu" or size - 1 > np.iinfo(made).max:
            raise ValueError(f"ids of a vocabulary of {size} do not fit {made.name}")
        return f"ndarray:{made.name}"
    if isinstance(kind, (ts.Text, ts.Category)):
        return "str"
    if isinstance(kind, ts.Bytes):
        return "bytes"
    if isinstance(kind, ts.Score):
        return str(kind.dtype_name)
    if isinstance(kind, ts.Label) and not kind.shape:
        return "int64"
    if isinstance(kind, ts.SoftLabel):
        return None
    if isinstance(kind, ts.Array) and not kind.shape:
        return "uint64" if kind.dtype == np.uint64 else None
    item = _item_dtype(kind)
    if item is None or (kind.ragged and len(kind.shape) > 1):
        return None
    return f"ndarray:{item}" + ("" if kind.ragged else ":" + ",".join(map(str, kind.shape)))


def _item_dtype(kind: Any) -> str | None:
    """Return the dtype in which the values of an array type are written."""
    if isinstance(kind, ts.Codes):
        return "uint16"
    if isinstance(kind, ts.Label):
        return "int64"
    if isinstance(kind, ts.Mask):
        return "uint8"
    if isinstance(kind, ts.Vector) or (isinstance(kind, ts.Array) and kind.dtype_number == 10):
        return "float32"
    if isinstance(kind, ts.Array):
        return "uint8" if kind.dtype == bool else kind.dtype.name
    return None


def _cells(data: bytes, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[memoryview]:
    """Return the bytes of each cell."""
    view = memoryview(data)
    return [view[a:b] for a, b in zip(starts.tolist(), (starts + lengths).tolist(), strict=True)]


def read_column(
    data: bytes, starts: NDArray[np.int64], lengths: NDArray[np.int64], code: str, kind: Any
) -> tuple[Any, NDArray[np.bool_] | None]:
    """Return the values of a column of samples, and which of them are missing."""
    name, _, rest = code.partition(":")
    cells = _cells(data, starts, lengths)
    if name in ("str", "json"):
        return [bytes(one).decode() for one in cells], None
    if name in ("bytes", "jpeg", "png"):
        return [bytes(one) for one in cells], None
    if name == "str_int":
        return np.array([int(bytes(one)) for one in cells], np.int64), None
    if name == "str_float":
        return np.array([float(bytes(one)) for one in cells], np.float64), None
    if name != "ndarray":
        dtype = np.dtype("int64" if name == "int" else name).newbyteorder("<")
        return np.frombuffer(b"".join(cells), dtype), None
    item, _, shape = rest.partition(":")
    dtype = np.dtype(item).newbyteorder("<")
    if shape:
        values = np.frombuffer(b"".join(cells), dtype).reshape(len(cells), *map(int, shape.split(",")))
        if isinstance(kind, Ids) or kind.ragged:
            return ts.Ragged(values.reshape(-1), np.full(len(cells), values[0].size if len(cells) else 0)), None
        return _typed(values, kind), None
    return ts.Ragged(*_ragged(data, starts, lengths, dtype, kind)), None


def _ragged(
    data: bytes, starts: NDArray[np.int64], lengths: NDArray[np.int64], dtype: np.dtype[Any], kind: Any
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the values of arrays that say their shape themselves, and their lengths."""
    raw = np.frombuffer(data, np.uint8)
    first = raw[starts]
    if (first >> 2 != 1).any():
        raise ValueError(f"row {int((first >> 2 != 1).argmax())} is no array of one dimension")
    head = 1 + (1 << (first & 3).astype(np.int64))
    if (head > lengths).any() or ((lengths - head) % dtype.itemsize).any():
        raise ValueError(f"an array is no whole number of {dtype.name}")
    values = np.frombuffer(b"".join(_cells(data, starts + head, lengths - head)), dtype)
    counts = (lengths - head) // dtype.itemsize
    for width in range(4):
        rows = np.flatnonzero((first & 3) == width)
        size = 1 << width
        said = raw[starts[rows][:, None] + 1 + np.arange(size)].copy().view(f"<u{size}").reshape(-1)
        if not np.array_equal(said.astype(np.int64), counts[rows]):
            raise ValueError("an array says another length than it has")
    return _typed(values, kind), counts


def _typed(values: NDArray[Any], kind: Any) -> NDArray[Any]:
    """Return booleans where a column has them; MDS keeps them as bytes."""
    is_bool = isinstance(kind, ts.Mask) or (isinstance(kind, ts.Array) and kind.dtype == bool)
    return values.astype(bool) if is_bool else values


def encode_column(values: Any, code: str) -> list[bytes]:
    """Return the cells of a column."""
    name, _, rest = code.partition(":")
    if name in ("str", "bytes"):
        return [one if isinstance(one, bytes) else one.encode() for one in values]
    dtype = np.dtype(rest.partition(":")[0] if rest else name).newbyteorder("<")
    if isinstance(values, ts.Ragged):
        raw, size = memoryview(values.values.astype(dtype, copy=False).tobytes()), dtype.itemsize
        ends = (values.offsets * size).tolist()
        heads = [_shape_head(count) for count in values.lengths.tolist()]
        return [head + raw[a:b] for head, a, b in zip(heads, ends, ends[1:], strict=False)]
    array = np.ascontiguousarray(np.ma.getdata(values)).astype(dtype, copy=False)
    raw, size = memoryview(array.tobytes()), array[0].nbytes if len(array) else 0
    return [bytes(raw[i * size : (i + 1) * size]) for i in range(len(array))]


def _shape_head(count: int) -> bytes:
    """Return what stands before the values of an array of one dimension."""
    width = next(w for w in range(4) if count < 1 << (8 << w))
    return bytes([1 << 2 | width]) + count.to_bytes(1 << width, "little")
