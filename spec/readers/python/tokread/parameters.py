"""The parameters of every column type, and what they say about its values (registry.md 1)."""

from __future__ import annotations

import math
from typing import Any

from .failure import require
from .metadata import fields

TOKENS, CODES, VECTOR, SCORE, LABEL, SOFT_LABEL, MASK, CATEGORY, TEXT, BYTES, ARRAY = KNOWN_TYPES = tuple(range(1, 12))
U8, U16, U32, U64, I8, I16, I32, I64, F16, BF16, F32, F64, BIT = range(1, 14)
RULE = "registry.md 1"
Parameters = dict[int, Any]


def check_parameters(type_: int, value: Parameters) -> Parameters:
    """Check the parameters of a type; those of an unknown one are left as they are."""
    check = {
        TOKENS: _tokens,
        CODES: _codes,
        VECTOR: _vector,
        SCORE: _score,
        LABEL: _label,
        SOFT_LABEL: _soft_label,
        MASK: _mask,
        ARRAY: _array,
    }.get(type_)
    if check is not None:
        found = check(value)
    elif type_ in KNOWN_TYPES:
        found = fields(value, {}, (), f"parameters of type {type_}", RULE)
    else:
        return value
    width = width_of(shape_of(type_, found))
    require(width <= 2**18, f"a row or an item of type {type_} has {width} values", RULE)
    return found


def _tokens(value: Parameters) -> Parameters:
    m = fields(value, {1: int, 2: int, 3: int, 4: int}, (2, 3, 4), "parameters of Tokens", RULE)
    require(1 <= m[1] <= 2**32, f"vocab_size is {m[1]}", RULE)
    for key in (2, 3, 4):
        require(m.get(key, 0) < m[1], f"a special id is {m.get(key)}, vocab_size is {m[1]}", RULE)
    return m


def _codes(value: Parameters) -> Parameters:
    m = fields(value, {1: int, 2: list}, (), "parameters of Codes", RULE)
    require(2 <= m[1] <= 65536, f"there are {m[1]} codes", RULE)
    _check_shape(m[2])
    return m


def _vector(value: Parameters) -> Parameters:
    known: dict[int, type] = {1: int, 2: int, 3: list, 4: int, 5: float, 6: float, 7: bool}
    m = fields(value, known, (5, 6, 7), "parameters of Vector", RULE)
    require(m[1] in (F16, BF16, F32), f"a Vector has dtype {m[1]}", RULE)
    require(1 <= m[2] <= 65535, f"a Vector has {m[2]} dimensions", RULE)
    ends = m[3]
    require(1 <= len(ends) <= 256, f"a Vector has {len(ends)} groups of dimensions", RULE)
    start = 0
    for end in ends:
        require(type(end) is int and end > start, "the ends of groups do not ascend", RULE)
        start = end
    require(start == m[2], f"the last group ends at {start} of {m[2]} dimensions", RULE)
    require(m[4] <= 2, f"there is no method {m[4]}", RULE)
    require(m[4] == 0 or m[1] == F32, f"a Vector with losses has dtype {m[1]}", RULE)
    require((7 in m) == (m[4] == 2), "rotate goes with method 2", RULE)
    require((5 in m) + (6 in m) == (m[4] == 2), "method 2 has one of max_error and bytes_per_vector", RULE)
    for key in (5, 6):
        _check_above_zero(m.get(key, 1.0))
    return m


def _score(value: Parameters) -> Parameters:
    m = fields(value, {1: int, 2: float}, (2,), "parameters of Score", RULE)
    require(m[1] in (F16, F32, F64), f"a Score has dtype {m[1]}", RULE)
    _check_above_zero(m.get(2, 1.0))
    return m


def _label(value: Parameters) -> Parameters:
    m = fields(value, {1: int, 2: int, 3: str, 4: list}, (2, 3, 4), "parameters of Label", RULE)
    if 4 in m:
        require(len(m[4]) > 0, "the shape of a Label is empty", RULE)
        _check_shape(m[4])
    if 2 not in m:
        require(m[1] == I64, f"a Label without classes has dtype {m[1]}", RULE)
        require(3 not in m, "a Label has class names but no classes", RULE)
        return m
    require(1 <= m[2] <= 2**32, f"a Label has {m[2]} classes", RULE)
    smallest = U8 if m[2] <= 2**8 else U16 if m[2] <= 2**16 else U32
    require(m[1] == smallest, f"a Label with {m[2]} classes has dtype {m[1]}", RULE)
    if 3 in m:
        require(m[3].count("\n") == m[2], "a Label has not as many names as classes", RULE)
        require(m[3].endswith("\n"), "the last class name does not end in a line feed", RULE)
    return m


def _soft_label(value: Parameters) -> Parameters:
    m = fields(value, {1: int, 2: int, 3: int}, (2,), "parameters of SoftLabel", RULE)
    require(2 <= m[1] <= 2**32, f"a SoftLabel has {m[1]} classes", RULE)
    require(1 <= m.get(2, 1) <= min(m[1], 2**17), f"a SoftLabel keeps {m.get(2)} classes", RULE)
    require(m[3] in (F16, U8), f"a probability has dtype {m[3]}", RULE)
    return m


def _mask(value: Parameters) -> Parameters:
    return fields(value, {1: str}, (1,), "parameters of Mask", RULE)


def _array(value: Parameters) -> Parameters:
    m = fields(value, {1: int, 2: list}, (), "parameters of Array", RULE)
    require(U8 <= m[1] <= BIT, f"an Array has dtype {m[1]}", RULE)
    _check_shape(m[2])
    return m


def _check_above_zero(value: float) -> None:
    require(0 < value < math.inf, f"an error or a size is {value}", RULE)


def _check_shape(value: list[Any]) -> None:
    require(len(value) <= 4, f"a shape has {len(value)} axes", RULE)
    for axis, size in enumerate(value):
        require(type(size) is int and size >= (0 if axis == 0 else 1), f"an axis of a shape is {size}", RULE)


def shape_of(type_: int, m: Parameters) -> list[int]:
    """Give the shape of a known type, with 0 for an axis that is ragged."""
    if type_ in (TOKENS, MASK, TEXT, BYTES):
        return [0]
    if type_ in (CODES, ARRAY):
        return list(m[2])
    if type_ == VECTOR:
        return [m[2]]
    if type_ == LABEL:
        return list(m.get(4, []))
    if type_ == SOFT_LABEL:
        return [2, m[2]] if 2 in m else [m[1]]
    return []


def width_of(shape: list[int]) -> int:
    """Give the values of a row of fixed shape, or of an item of the first axis of a ragged one."""
    return math.prod(size for size in shape if size)


def dtype_of(type_: int, m: Parameters) -> int:
    """Give the dtype of a value of a known type."""
    if type_ == TOKENS:
        return U16 if m[1] <= 65536 else U32
    if type_ == CODES:
        return U8 if m[1] <= 256 else U16
    if type_ == SOFT_LABEL:
        if m[3] == U8 and (2 not in m or m[1] <= 256):
            return U8
        return U16 if 2 not in m or m[1] <= 65536 else U32
    if type_ in (TEXT, BYTES):
        return U8
    return {MASK: BIT, CATEGORY: U16}.get(type_) or int(m[1])
