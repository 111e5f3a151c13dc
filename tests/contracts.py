"""What every codec and every reader of bytes has to keep, as functions that the tests of each of them call.

`check_codec`: whatever is encoded comes back, from any buffer type, into any place. `check_reader`: damaged bytes give
a `TokstoreError` or the very same result, never another exception, and never more memory than a stated bound.
"""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tokstore.codecs.contract import BlockDecoder, EncodedBlock
from tokstore.errors import TokstoreError


class Encoder(Protocol):
    """An encoder of blocks."""

    def encode(self, values: NDArray[Any]) -> EncodedBlock:
        """Encode one block."""


@contextmanager
def allocates_at_most(nbytes: int) -> Iterator[None]:
    """Fail if the block under it holds more than `nbytes` of new memory at any moment."""
    running = tracemalloc.is_tracing()
    if not running:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        yield
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        if not running:
            tracemalloc.stop()
    assert peak <= nbytes, f"{peak} bytes were allocated, {nbytes} are allowed"


def decode(decoder: BlockDecoder, block: EncodedBlock, count: int, dtype: Any) -> NDArray[Any]:
    """Decode one block into a new array."""
    out = np.full(count, 99, dtype)
    decoder.decode(memoryview(block.data), block.form, out)
    return out


def check_codec(encoder: Encoder, decoder: BlockDecoder, values: NDArray[Any], dtype: Any) -> EncodedBlock:
    """Check that a block comes back bit for bit from every kind of input array, and into the middle of an array.

    Args:
        encoder: Makes the block.
        decoder: Reads it.
        values: 1 value or more, of the dtype at rest.
        dtype: What is decoded to.

    Returns:
        The block.
    """
    block = encoder.encode(values)
    found = decode(decoder, block, len(values), dtype)
    assert found.tobytes() == values.astype(dtype).tobytes()
    strided = np.repeat(values, 2)[::2]
    swapped = values.astype(values.dtype.newbyteorder(">"))
    frozen = values.copy()
    frozen.flags.writeable = False
    for other in (strided, swapped, frozen):
        assert encoder.encode(other).data == block.data
    wide = np.full(len(values) + 2, 7, dtype)
    decoder.decode(memoryview(bytearray(block.data)), block.form, wide[1:-1])
    assert wide[1:-1].tobytes() == found.tobytes()
    assert wide[0] == wide[-1] == 7
    assert encoder.encode(values) == block, "encoding is not deterministic"
    one = encoder.encode(values[:1])
    assert decode(decoder, one, 1, dtype).tobytes() == found[:1].tobytes()
    return block


def damages(whole: bytes, *, seed: int = 0, flips: int | None = None) -> Iterable[tuple[str, bytes]]:
    """Yield every truncation of some bytes, one with a byte too many, and flipped bits: all, or some at random."""
    for length in range(len(whole)):
        yield f"cut to {length}", whole[:length]
    yield "a byte too many", whole + b"\0"
    chosen: Iterable[int] = range(8 * len(whole))
    if flips is not None and flips < 8 * len(whole):
        chosen = random.Random(seed).sample(range(8 * len(whole)), flips)
    for bit in chosen:
        flipped = bytearray(whole)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        yield f"bit {bit & 7} of byte {bit >> 3} flipped", bytes(flipped)


def check_reader(
    read: Callable[[bytes], Any],
    whole: bytes,
    *,
    is_checked: bool,
    seed: int = 0,
    flips: int | None = None,
    allowed: int = 32 << 20,
) -> None:
    """Check that damaged bytes give a `TokstoreError`, or the same result, within bounded memory.

    Args:
        read: Reads the bytes and returns something that can be compared.
        whole: Sound bytes.
        is_checked: Whether a checksum covers them: then damage gives an error or the very same result. Without one
            another result is possible, but no other exception.
        seed: Chooses the flipped bits.
        flips: How many bits to flip; all by default.
        allowed: Bytes that may be allocated.
    """
    expected = read(whole)
    with allocates_at_most(allowed):
        for what, damaged in damages(whole, seed=seed, flips=flips):
            try:
                found = read(damaged)
            except TokstoreError:
                continue
            assert not is_checked or found == expected, f"{what}: other values came back"
