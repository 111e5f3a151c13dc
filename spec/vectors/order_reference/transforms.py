"""Section 7.9: the random numbers that a transform gets."""

from __future__ import annotations

from spec.vectors.order_reference.line import M64, key

MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)


def philox(key_words: tuple[int, int], counter: int) -> list[int]:
    """Philox4x64-10: the four words of one block."""
    x = [counter >> 64 * i & M64 for i in range(4)]
    k = list(key_words)
    for _ in range(10):
        a, b = MULTIPLIERS[0] * x[0], MULTIPLIERS[1] * x[2]
        x = [b >> 64 ^ x[1] ^ k[0], b & M64, a >> 64 ^ x[3] ^ k[1], a & M64]
        k = [(word + step) & M64 for word, step in zip(k, STEPS, strict=True)]
    return x


def transform_words(seed: int, row: int, blocks: int) -> list[int]:
    """The first words of 64 bits for the batch whose first row is this one."""
    words = key(seed, 7, 0, window=row), 0
    return [word for counter in range(1, blocks + 1) for word in philox(words, counter)]
