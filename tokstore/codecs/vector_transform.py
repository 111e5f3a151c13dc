"""Vectors <-> the integers that are stored for them: scales, or a step along principal axes (codecs.md 6.1 and 6.2).

The integers are normative; what they stand for is one product and one sum in float32. A stored rotation is rounded so
coarsely that it takes about a byte per entry. It is then no exact rotation, which costs nothing: coordinates are those
of *its* axes, found with its inverse, so that the one error left is the rounding to whole steps.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tokstore.errors import CorruptError
from tokstore.packed import PackedReader

__all__ = [
    "MAX_DIM",
    "MAX_ROTATED_DIM",
    "SCALED",
    "STEPPED",
    "TURNED",
    "Transform",
    "planes_of",
    "values_of_planes",
    "width_of",
]

SCALED, STEPPED, TURNED = 1, 2, 3
MAX_DIM: Final = 65_535
MAX_ROTATED_DIM: Final = 8_192
MOST_BITS: Final = 14
_LEAST_STEP, _MOST_STEP = 2.0**-126, 2.0**127
_HEADER = struct.Struct("<BBBBId")
_ROWS = 4096  # of float64 that an encoder holds at a time
Floats = NDArray[np.float32]
Stored = NDArray[np.int32]


def planes_of(values: NDArray[np.int32], width: int) -> bytes:
    """Lay out zigzag integers plane by plane, the lowest byte of all first (codecs.md 6.3).

    Example:
        >>> planes_of(np.array([0, -1, 300], np.int32), 2).hex(" ")
        '00 01 58 00 00 02'
    """
    zigzag = ((values << 1) ^ (values >> 31)).astype("<i4", copy=False)
    return np.ascontiguousarray(zigzag.reshape(-1)).view(np.uint8).reshape(-1, 4)[:, :width].T.tobytes()


def values_of_planes(planes: bytes | memoryview, width: int) -> NDArray[np.int32]:
    """Return the integers of planes, whose number is the length of `planes` over `width`."""
    raw = np.frombuffer(planes, np.uint8).reshape(width, -1)
    if width == 1:
        zigzag = raw[0].astype(np.uint32)
    else:
        wide = np.zeros((raw.shape[1], 4), np.uint8)
        wide[:, :width] = raw.T
        zigzag = wide.view("<u4").reshape(-1).astype(np.uint32, copy=False)
    signs: Stored = -(zigzag & np.uint32(1)).view(np.int32)
    values: Stored = signs ^ (zigzag >> np.uint32(1)).view(np.int32)
    return values


def width_of(values: NDArray[np.int32], widths: tuple[int, ...]) -> int:
    """Return the smallest of some widths in bytes that holds the zigzag form of all values."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    return next(width for width in widths if -(1 << (8 * width - 1)) <= low and high < 1 << (8 * width - 1))


@dataclass(frozen=True, eq=False)
class Transform:
    """Where the stored integers of a vector stand (codecs.md 6.1).

    Attributes:
        number: `SCALED`, `STEPPED` or `TURNED`.
        dim: Numbers in a vector.
        step: The step of all coordinates; 1.0 with scales.
        scales: float32 [dim] with `SCALED`, else ``None``.
        mean: float32 [dim] with `TURNED`, else ``None``.
        rotation: int16 [dim, dim] with `TURNED`, one axis per column, in units of 2 ** -`bits`; else ``None``.
        bits: 0 to 14.
    """

    number: int
    dim: int
    step: float
    scales: Floats | None = None
    mean: Floats | None = None
    rotation: NDArray[np.int16] | None = None
    bits: int = 0

    @cached_property
    def axes(self) -> Floats:
        """The axes as rows, float32 [dim, dim]: what a reader multiplies with."""
        if self.rotation is None:
            raise ValueError("vectors of this transform have the axes they came with")
        return np.ascontiguousarray(self.rotation.T) * np.float32(2.0**-self.bits)

    @cached_property
    def inverse(self) -> NDArray[np.float64]:
        """What turns a vector less the mean into coordinates, float64 [dim, dim]."""
        try:
            return np.linalg.inv(self.axes.astype(np.float64))
        except np.linalg.LinAlgError as error:
            raise CorruptError("the axes of a vector model do not span its space", rule="codecs.md 6.2") from error

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return 4 * self.dim * 2 + (0 if self.rotation is None else 14 * self.dim * self.dim)

    def coordinates(self, rows: Floats) -> NDArray[np.float64]:
        """Return coordinates in units of the step, float64 [n, dim], before they are rounded."""
        wide = rows.astype(np.float64)
        if self.scales is not None:
            return wide / self.scales.astype(np.float64)
        if self.mean is not None:
            wide = (wide - self.mean) @ self.inverse
        return wide / self.step

    def quantise(self, rows: Floats) -> Stored:
        """Return the stored integers of vectors, int32 [n, dim].

        Raises:
            ValueError: A number is NaN or infinite, or so far out that its integer is no i32.
        """
        out = np.empty(rows.shape, np.int32)
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            if not np.isfinite(part).all():
                raise ValueError("vectors hold NaN or infinity, which a lossy codec cannot store")
            found = np.rint(self.coordinates(part))
            if found.size and max(-float(found.min()), float(found.max())) >= 1 << 31:
                raise ValueError(
                    "a vector lies 2**31 steps or more from the origin of its codec: allow a larger error, or fit anew"
                )
            out[start : start + _ROWS] = found
        return out

    def prefix(self, integers: Stored) -> Floats:
        """Return the first coordinates of vectors, float32, from their first integers, int32 [n, m]."""
        by = np.float32(self.step) if self.scales is None else self.scales[: integers.shape[1]]
        with np.errstate(over="ignore"):
            return np.multiply(integers, by, dtype=np.float32, casting="unsafe")

    def reconstruct(self, integers: Stored) -> Floats:
        """Return vectors, float32 [n, dim], from their integers, int32 [n, dim]."""
        found = self.prefix(integers)
        if self.mean is None:
            return found
        with np.errstate(over="ignore", invalid="ignore"):
            turned: Floats = found @ self.axes
            turned += self.mean
        return turned

    def encode(self, *, rotation: bool = True) -> bytes:
        """Return the first part of the content of the object (codecs.md 6.2), or that without the rotation."""
        entries = np.zeros(0, np.int32) if self.rotation is None else self.rotation.astype(np.int32)
        width = 0 if self.rotation is None else width_of(entries, (1, 2))
        parts = [_HEADER.pack(self.number, width, self.bits, 0, self.dim, self.step)]
        if self.scales is not None:
            parts.append(self.scales.astype("<f4").tobytes())
        if self.mean is not None:
            parts.append(self.mean.astype("<f4").tobytes())
            if rotation:
                parts.append(planes_of(entries, width))
        return b"".join(parts)

    @classmethod
    def decode(cls, reader: PackedReader, dim: int) -> Transform:
        """Parse and check the first part of the content of the object.

        Args:
            reader: At the start of the content.
            dim: What the column says.
        """
        rule = "codecs.md 6.2"
        fields: tuple[Any, ...] = _HEADER.unpack(reader.raw(_HEADER.size, "the header"))
        number, width, bits, reserved, has, step = fields
        if number not in (SCALED, STEPPED, TURNED) or reserved:
            raise CorruptError(f"a vector model has transform {number} and reserved byte {reserved}", rule=rule)
        if has != dim:
            raise CorruptError(f"a vector model is for {has} dimensions, its column has {dim}", rule=rule)
        turned = number == TURNED
        if width not in ((1, 2) if turned else (0,)) or bits > (MOST_BITS if turned else 0):
            raise CorruptError(f"a vector model has a rotation of {width} bytes and {bits} bits", rule=rule)
        if not _LEAST_STEP <= step <= _MOST_STEP or (number == SCALED and step != 1.0):
            raise CorruptError("a vector model has a step that is not allowed", rule=rule)
        if number == STEPPED:
            return cls(number, dim, step)
        floats = np.frombuffer(reader.raw(4 * dim, "scales or mean"), "<f4").astype(np.float32)
        if not np.isfinite(floats).all() or (not turned and not (floats > 0).all()):
            raise CorruptError("scales or mean of a vector model are not allowed", rule=rule)
        if not turned:
            return cls(number, dim, step, scales=floats)
        if dim > MAX_ROTATED_DIM:
            raise CorruptError(f"a vector model rotates {dim} dimensions", rule=rule)
        entries = values_of_planes(reader.raw(width * dim * dim, "rotation"), width)
        return cls(number, dim, step, mean=floats, rotation=entries.astype(np.int16).reshape(dim, dim), bits=bits)
