"""The codec of numbers: as they are, as byte planes, as packed integers, or in steps of a declared error (codecs.md 3).

An encoder knows a few forms that suit its dtype. It tries all of them on a block, unless `narrow` has found out on a
part of the shard which one is the smallest.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.contract import (
    PLAIN,
    ZSTD,
    EachEncoder,
    EncodedBlock,
    Run,
    decode_each,
    pack,
    split_form,
    unpack_coded,
)
from tokstore.errors import CorruptError
from tokstore.packed import decode_packed, encode_packed

__all__ = ["NumberDecoder", "NumberEncoder", "in_steps"]

VALUES, PLANES, TURNED, PACKED, STEPS, APART, TURNED_APART = range(7)
_FORMS: Final = frozenset(range(7))
_TURNED: Final = frozenset({TURNED, TURNED_APART})
_PACKINGS: Final = frozenset({PLAIN, ZSTD})
_STEP = struct.Struct("<d")
_PACKED_HEAD = 10
_SURE = 1.99  # steps of twice the error would leave nothing for rounding to the dtype
_MOST_STEPS = 1 << 52
_TRIALS, _TRIAL_VALUES = 4, 16_384


class NumberEncoder(EachEncoder):
    """Encode blocks of numbers; the smallest of the value forms wins. Thread-safe once it is narrowed.

    Args:
        dtype: The dtype of a value.
        zstd_level: How hard to compress.
        width: Values of a row: the numbers of a place in the row stand together where that is smaller.
        step: Floats that are multiples of it, as `in_steps` makes them, are stored as integers; ``None`` for others.
    """

    codec = 2

    def __init__(self, dtype: np.dtype[Any], zstd_level: int, *, width: int = 1, step: float | None = None) -> None:
        self._dtype, self._level, self._width, self._step = dtype, zstd_level, width, step
        forms = [VALUES if dtype.itemsize == 1 else PLANES]
        if dtype.kind == "f" and width == 1:
            forms.append(VALUES)
        if dtype.kind == "f" or dtype.itemsize > 1 < width:
            forms.append(APART)
        if width > 1:
            forms += [TURNED, TURNED_APART] if dtype.itemsize > 1 else [TURNED]
        if dtype.kind in "iu":
            forms.append(PACKED)
        self._forms: tuple[int, ...] = tuple(forms)

    def narrow(self, values: NDArray[Any]) -> NumberEncoder:
        """Keep the form that is smallest on a few pieces of what is to be encoded; return the encoder itself."""
        size = max(self._width, _TRIAL_VALUES // self._width * self._width)
        if len(self._forms) > 1 and len(values) > _TRIALS * size:
            rows = (len(values) - size) // self._width
            starts = [rows * i // (_TRIALS - 1) * self._width for i in range(_TRIALS)]
            pieces = [np.ascontiguousarray(values[a : a + size], self._dtype) for a in starts]
            totals = [sum(len(self._as(form, piece).data) for piece in pieces) for form in self._forms]
            self._forms = (self._forms[int(np.argmin(totals))],)
        return self

    def encode(self, values: NDArray[Any]) -> EncodedBlock:
        """Encode one block, 1 value or more."""
        array = np.ascontiguousarray(values, self._dtype)
        if self._step is not None:
            coded = self._as_steps(array)
            if coded is not None:
                return pack(coded, STEPS, self._level, None)
        made = min((self._as(form, array) for form in self._forms), key=lambda one: len(one.data))
        # What does not shrink stays as it is, so that it can be used where it lies.
        return made if len(made.data) < array.nbytes else EncodedBlock(array.tobytes(), VALUES)

    def _as(self, form: int, array: NDArray[Any]) -> EncodedBlock:
        """Encode a block in one form."""
        if form == VALUES:
            return pack(array.view(np.uint8).data, VALUES, self._level, None)
        if form == PACKED:
            wide = array.view(np.int64) if array.dtype.itemsize == 8 else array.astype(np.int64)
            return pack(encode_packed(wide), PACKED, self._level, None)
        if form in _TURNED:
            array = np.ascontiguousarray(array.reshape(-1, self._width).T).reshape(-1)
        planes = np.ascontiguousarray(array.view(np.uint8).reshape(array.size, -1).T)
        if form not in (APART, TURNED_APART):
            return pack(planes.data, form, self._level, None)
        packed = [pack(plane.data, 0, self._level, None).data for plane in planes]
        head = np.array([len(one) for one in packed], "<u4").tobytes()
        return EncodedBlock(b"".join([head, *packed]), form)

    def _as_steps(self, array: NDArray[Any]) -> bytes | None:
        """Return floats as multiples of the step, or ``None`` where some of them are none."""
        if self._step is None or not np.isfinite(array).all():
            return None
        numbers = _step_numbers(array, self._step)
        if _from_steps(numbers, self._step, self._dtype).tobytes() != array.tobytes():
            return None
        return _STEP.pack(self._step) + encode_packed(numbers)


def in_steps(values: NDArray[Any], max_error: float) -> tuple[NDArray[Any], float]:
    """Round floats to multiples of one step, each by at most `max_error`; those that cannot be stay as they are.

    Returns:
        The values in their own dtype, and the step.
    """
    step = _SURE * max_error
    rounded = _from_steps(_step_numbers(values, step), step, values.dtype)
    with np.errstate(invalid="ignore"):
        near = np.abs(rounded.astype(np.float64) - values.astype(np.float64)) <= max_error
    return np.where(near, rounded, values), step


def _step_numbers(values: NDArray[Any], step: float) -> NDArray[np.int64]:
    """Return the nearest multiples; of values that are too large or not finite, any."""
    with np.errstate(over="ignore", invalid="ignore"):
        numbers = np.rint(values.astype(np.float64) / step)
    return np.where(np.abs(numbers) <= _MOST_STEPS, numbers, 0).astype(np.int64)


def _from_steps(numbers: NDArray[np.int64], step: float, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return multiples of a step in the dtype of a column."""
    with np.errstate(over="ignore"):
        return np.asarray((numbers * step).astype(dtype))


class NumberDecoder:
    """Decode blocks of numbers. Thread-safe.

    Args:
        dtype: The dtype of a value at rest.
        width: Values of a row.
        limit: All values are below it; ``None`` for any number.
        check: Looks at decoded values and raises `CorruptError` where the type does not allow them.
    """

    def __init__(
        self,
        dtype: np.dtype[Any],
        width: int = 1,
        *,
        limit: int | None = None,
        check: Callable[[NDArray[Any]], None] | None = None,
    ) -> None:
        self._dtype, self._width, self._check = dtype, width, check
        # A dtype that holds nothing else needs no look at the values.
        self._limit = None if limit is None or limit == 1 << 8 * dtype.itemsize else limit

    def decode_run(self, blocks: Sequence[Run]) -> None:
        """Decode several blocks; see `BlockDecoder`."""
        decode_each(self, blocks)

    def decode(self, data: memoryview, form: int, out: NDArray[Any]) -> None:
        """Decode one block into `out`, which has the column's dtype or a wider one; see `BlockDecoder`."""
        value_form, packing = split_form(form, _FORMS, _PACKINGS)
        values = self._values(data, value_form, packing, out.size)
        if self._limit is not None and out.size and int(values.max()) >= self._limit:
            raise CorruptError(f"a value is not below {self._limit}", rule="registry.md 1")
        if self._check is not None:
            self._check(values)
        out[:] = values

    def _values(self, data: memoryview, value_form: int, packing: int, count: int) -> NDArray[Any]:
        """Return the values of a block."""
        width = self._dtype.itemsize
        if value_form in (PACKED, STEPS):
            head = _STEP.size if value_form == STEPS else 0
            coded = unpack_coded(data, packing, head + _PACKED_HEAD, head + _PACKED_HEAD + 8 * count)
            return self._packed(memoryview(coded), count) if value_form == PACKED else self._steps(coded, count)
        exact = count * width
        if value_form in (APART, TURNED_APART):
            raw = self._planes_apart(data, packing, count)
        else:
            raw = np.frombuffer(unpack_coded(data, packing, exact, exact), np.uint8)
        if value_form == VALUES:
            return raw.view(self._dtype)
        wide = np.empty((count, width), np.uint8)
        for k, plane in enumerate(raw.reshape(width, count)):  # a transposed copy is five times as slow
            wide[:, k] = plane
        values = wide.reshape(-1).view(self._dtype)
        if value_form not in _TURNED:
            return values
        if count % self._width:
            raise CorruptError("a block ends inside a row", rule="codecs.md 3")
        return values.reshape(self._width, -1).T.reshape(-1)

    def _planes_apart(self, data: memoryview, packing: int, count: int) -> NDArray[np.uint8]:
        """Decode value forms 5 and 6: each plane is a frame of its own, or its bytes."""
        width = self._dtype.itemsize
        head = 4 * width
        coded = memoryview(unpack_coded(data, packing, head + width, head + width * count)) if not packing else None
        if coded is None:
            raise CorruptError("planes that are packed apart are packed once more", rule="codecs.md 3")
        sizes = np.frombuffer(coded, "<u4", width).tolist()
        if any(size > count for size in sizes) or sum(sizes) != len(coded) - head:
            raise CorruptError("planes do not fill their block", rule="codecs.md 3")
        raw, at = np.empty((width, count), np.uint8), head
        for plane, size in zip(raw, sizes, strict=True):
            part = coded[at : at + size]
            plane[:] = np.frombuffer(unpack_coded(part, PLAIN if size == count else ZSTD, count, count), np.uint8)
            at += size
        return raw.reshape(-1)

    def _packed(self, coded: memoryview, count: int) -> NDArray[Any]:
        """Decode value form 3."""
        if self._dtype.kind not in "iu":
            raise CorruptError("packed integers in a column of other values", rule="codecs.md 3")
        values = self._integers(coded, count)
        if self._dtype.itemsize == 8:
            return values.view(self._dtype)
        info = np.iinfo(self._dtype)
        if int(values.min()) < info.min or int(values.max()) > info.max:
            raise CorruptError(f"a packed integer does not fit {self._dtype.name}", rule="codecs.md 3")
        return values.astype(self._dtype)

    def _steps(self, coded: bytes | memoryview, count: int) -> NDArray[Any]:
        """Decode value form 4."""
        if self._dtype.kind != "f":
            raise CorruptError("steps in a column of integers", rule="codecs.md 3")
        (step,) = _STEP.unpack_from(coded)
        if not 0 < step < float("inf"):
            raise CorruptError(f"a step of {step}", rule="codecs.md 3")
        return _from_steps(self._integers(memoryview(coded)[_STEP.size :], count), step, self._dtype)

    @staticmethod
    def _integers(coded: memoryview, count: int) -> NDArray[np.int64]:
        """Return packed integers that fill their bytes."""
        values, used = decode_packed(coded, count)
        if used != len(coded):
            raise CorruptError(f"{len(coded) - used} bytes follow packed integers", rule="codecs.md 3")
        return values
