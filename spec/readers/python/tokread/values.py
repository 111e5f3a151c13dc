"""What values of a type may be (registry.md 1)."""

from __future__ import annotations

from .failure import corrupt, require
from .parameters import BIT, CATEGORY, CODES, LABEL, SCORE, SOFT_LABEL, TEXT, TOKENS, U8
from .schema import Column, number_of

RULE = "registry.md 1"


def check_values(column: Column, values: list[int], categories: int) -> None:
    """Check the values of a block.

    Args:
        column: Their column.
        values: The values.
        categories: How many categories the list of the file has.
    """
    if column.type == TOKENS:
        _below(values, column.parameters[1], "id", "vocab_size", "codecs.md 2")
    if column.type == CODES:
        _below(values, column.parameters[1], "code", "size", RULE)
    if column.type == LABEL and 2 in column.parameters:
        _below(values, column.parameters[2], "label", "classes", RULE)
    if column.type == CATEGORY:
        _below(values, categories, "category", "the length of the list", "codecs.md 3.3")


def check_constant(column: Column, value: list[int]) -> None:
    """Check the value of a constant shard (format.md 8.3); one without samples has none."""
    check_values(column, value, 0)
    if column.dtype == BIT:
        _below(value, 2, "bit", "two", RULE)
    if column.type == SCORE and not column.optional:
        is_nan = any(number_of(one, column.dtype) != number_of(one, column.dtype) for one in value)
        require(not is_nan, f"column {column.name} is not optional and has NaN", RULE)


def _below(values: list[int], end: int, what: str, limit: str, rule: str) -> None:
    for value in values:
        require(value < end, f"{what} {value} is not below {limit} {end}", rule)


def check_sample(column: Column, sample: list[int]) -> None:
    """Check one sample that is not missing."""
    if column.type == TEXT:
        try:
            bytes(sample).decode("utf-8")
        except UnicodeDecodeError:
            raise corrupt("a sample of text is not UTF-8", "codecs.md 4") from None
    if column.type == SOFT_LABEL:
        top = column.parameters.get(2, 0)
        classes, probabilities = sample[:top], sample[top:]
        _below(classes, column.parameters[1], "class", "classes", RULE)
        require(len(set(classes)) == top, "a class is there twice in one soft label", RULE)
        most = 2**8 if column.parameters[3] == U8 else 2**16
        _below(probabilities, most, "probability", "the end of its dtype", RULE)
