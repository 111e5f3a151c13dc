"""Columns of codes: the example of the page, in each value form, and what a reader has to refuse (codecs.md 5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .columns import Block, Column
from .datafile_writer import Stored, write_file
from .good_columns import one
from .vector import Vector, bad

CODE_MODEL = 5
MODEL = bytes.fromhex(
    "08 00 02 00 02 00 04 00 03 00 00 00 00 00 02 00 00 00 02 00 00 00 00 00"
    "01 01 05 00 00 00 00 00 00 00 09 06"
    "01 01 00 00 00 00 00 00 00 00 02 00 01"
    "01 01 00 00 00 00 00 00 00 00 02"
    "00 01 01 00 00 00 00 00 00 00 7F 5F 1F 00 FD 00"
)
LANES = bytes.fromhex("05 00 FF CF FF 0F 00 01 00 00 FF E0")
BITS = bytes.fromhex("DB B6 6E 05")
CODES = [3, 3, 3, 3, 3, 5, 3, 3, 5, 0]


def _column(stored: bytes, form: int, with_model: bool = True) -> Column:
    """Make a column of the codes of the example: samples of 2, 0 and 3 frames of two codes."""
    options: dict[str, Any] = {"optional": False, "object": 0 if with_model else None, "shape": [0, 2]}
    samples: list[list[int] | None] = [CODES[:4], [], CODES[4:]]
    blocks = [Block(len(CODES), form, stored)]
    return Column(0, "codes", 2, {1: 6, 2: [0, 2]}, 4, 1, True, samples=samples, blocks=blocks, **options)


def _file(stored: bytes, form: int, model: bytes | None = MODEL) -> Any:
    """Write a file with one block of codes."""
    column = _column(stored, form, model is not None)
    return write_file([column], [] if model is None else [Stored(CODE_MODEL, model)])


def good_vectors() -> Iterator[Vector]:
    """Make the good vectors."""

    def of(name: str, comment: str, stored: bytes, form: int, with_model: bool = False) -> Vector:
        objects = [Stored(CODE_MODEL, MODEL)] if with_model else []
        return one(f"codes_{name}", "codecs.md 5.5", comment, _column(stored, form, with_model), objects=objects)

    yield of("values", "codes as bytes, without a model", bytes(CODES), 0)
    yield of("bits", "the example in three bits each", BITS, 2)
    yield of("lanes", "the example: two lanes, contexts of the left code", LANES, 1, with_model=True)


def bad_vectors() -> Iterator[Vector]:
    """Make the bad vectors."""

    def of(name: str, rule: str, comment: str, stored: bytes, form: int, model: bytes | None = MODEL) -> Vector:
        return bad(f"codes_{name}", "corrupt", f"codecs.md {rule}", comment, _file(stored, form, model).data)

    yield of("value", "5", "a code of 6 of 6", bytes([6, *CODES[1:]]), 0, None)
    yield of("value_bits", "5", "a code of 7 of 6 in bits", b"\xdf" + BITS[1:], 2, None)
    yield of("bits_end", "5.5", "a bit after the last code", BITS[:3] + b"\x45", 2, None)
    yield of("no_model", "5.5", "lanes without a model", LANES, 1, None)
    yield of("form", "1", "value form 3", LANES, 3)
    yield of("lanes_packed", "1", "lanes with packing 1", LANES, 0x11)
    yield of("words_left", "5.2", "a word too many", LANES + bytes(2), 1)
    yield of("words_out", "5.2", "a word too few", LANES[:-2], 1)
    yield of("state_low", "5.2", "a first state below 2^16", LANES[:4] + bytes(2) + LANES[6:], 1)
    yield of("state_end", "5.2", "a lane that does not end in state 0", LANES[:6] + b"\1" + LANES[7:], 1)
    yield of("tail", "5.2", "a tail longer than a lane", b"\x09" + LANES[1:], 1)
    yield of("model_log", "5.3", "tables of log 7", LANES, 1, b"\7" + MODEL[1:])
    yield of("model_features", "5.3", "a reserved feature", LANES, 1, MODEL[:2] + b"\x0a" + MODEL[3:])
    yield of("model_sum", "5.1", "frequencies that sum to 255", LANES, 1, MODEL[:-6] + b"\x7e" + MODEL[-5:])
    yield of("model_cut", "5.3", "the model is cut", LANES, 1, MODEL[:-1])
    yield of("model_trailing", "5.3", "a byte after the model", LANES, 1, MODEL + b"\0")
