"""128-bit digests of ragged rows, one vectorised pass over the flat values.

A digest is two polynomials of the mixed values at two odd points modulo 2**64, with the length. Since an odd number has
an inverse, the powers of a whole run of values serve every row in it, wherever it begins: a row's sum is divided by the
power at its start. Equal rows have equal digests; whoever needs the converse compares the rows (`tokstore.dedup` does).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokstore.dedup.mixing import U64, Hashes, constants, mix, stir
from tokstore.packed import Ints

__all__ = ["row_digests"]

_PIECE = 1 << 14
_POINTS, _OFFSET = 3, U64(0x632BE59BD9B4E019)


def row_digests(values: NDArray[Any], lengths: Ints) -> Hashes:
    """Return the digest of every row.

    Args:
        values: Integers, or other numbers whose bits are compared, of all rows, one row after another.
        lengths: Values per row.

    Returns:
        uint64 ``[rows, 2]``.

    Example:
        >>> found = row_digests(np.array([1, 2, 1, 2, 2, 1]), np.array([2, 2, 2]))
        >>> (found[0] == found[1]).all(), (found[0] == found[2]).any()
        (np.True_, np.False_)
    """
    values = _integers(values)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    sums = np.zeros((2, len(lengths)), U64)
    powers, inverse = _powers()
    for a in range(0, len(values), _PIECE):
        b = min(a + _PIECE, len(values))
        first = int(np.searchsorted(ends, a, side="right"))
        last = int(np.searchsorted(starts, b, side="left"))
        rows = np.arange(first, last)
        begins = np.maximum(starts[first:last], a) - a
        full = lengths[first:last] > 0
        rows, begins = rows[full], begins[full]
        if not len(rows):
            continue
        x = values[a:b].astype(U64)
        spare = np.empty_like(x)
        x += _OFFSET  # so that a zero counts
        stir(x, spare)
        np.right_shift(x, U64(29), out=spare)
        np.bitwise_xor(x, spare, out=x)
        # The first row may have begun in an earlier piece: a positive power; all others lie inside: a negative one.
        before = a - int(starts[rows[0]])
        for k in range(2):
            np.multiply(x, powers[k][: b - a], out=spare)
            part = np.add.reduceat(spare, begins)
            factor = inverse[k][begins]
            if before > 0:
                factor[0] = U64(pow(int(powers[k][1]), before, 1 << 64))
            sums[k][rows] += part * factor
    made = np.empty((len(lengths), 2), U64)
    for k in range(2):
        made[:, k] = mix(sums[k] + mix(lengths + k))
    return made


@lru_cache(maxsize=1)
def _powers() -> tuple[list[Hashes], list[Hashes]]:
    """Return the powers of the two points and of their inverses, for one piece."""
    made: tuple[list[Hashes], list[Hashes]] = ([], [])
    for point in constants(0, 2, _POINTS).tolist():
        for held, one in zip(made, (point, pow(point, -1, 1 << 64)), strict=True):
            steps = np.full(_PIECE, one, U64)
            steps[0] = 1
            held.append(np.multiply.accumulate(steps))
    return made


def _integers(values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers as integers: those that are none by their bits."""
    if values.dtype.kind in "iub":
        return values
    return values.view(f"<u{values.dtype.itemsize}")
