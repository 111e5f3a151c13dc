"""The user's metadata as JSON: what is written can be read everywhere, what is no JSON is refused (format.md 2.8)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokstore as ts
from tokstore.user_metadata import decode_user_metadata, encode_user_metadata

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def nested(depth: int) -> dict[str, Any]:
    """Return a dict of so many dicts and lists inside each other."""
    value: Any = []
    for _ in range(depth - 2):
        value = [value]
    return {"a": value}


@settings(max_examples=25)
@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=3))
def test_metadata_come_back(metadata: dict[str, Any]) -> None:
    """Whatever Python holds of JSON comes back."""
    text = encode_user_metadata(metadata)
    assert text is not None
    assert decode_user_metadata(text) == json.loads(json.dumps(metadata))


def test_metadata_of_the_greatest_depth() -> None:
    """64 dicts and lists inside each other are written and read, 65 are not."""
    text = encode_user_metadata(nested(64))
    assert text is not None
    assert decode_user_metadata(text) == nested(64)
    with pytest.raises(ValueError, match="more than 64"):
        encode_user_metadata(nested(65))
    with pytest.raises(ts.CorruptError, match="more than 64"):
        decode_user_metadata(json.dumps(nested(65)))


def test_metadata_that_are_too_long() -> None:
    """16 KiB are written and read, a byte more is not."""
    longest = {"x": "y" * (16_384 - 9)}
    text = encode_user_metadata(longest)
    assert text is not None
    assert (len(text), decode_user_metadata(text)) == (16_384, longest)
    with pytest.raises(ValueError, match="at most 16384"):
        encode_user_metadata({"x": "y" * (16_384 - 8)})
    with pytest.raises(ts.CorruptError, match="more than 16384 bytes"):
        decode_user_metadata(text + " ")


@pytest.mark.parametrize(
    "text", ["", "[]", "null", '{"a": NaN}', '{"a": -Infinity}', "{}{}", '{"a": 1,}', "[" * 16_000]
)
def test_metadata_that_are_no_json_object(text: str) -> None:
    """What is no JSON object raises `CorruptError` with the rule and the file."""
    with pytest.raises(ts.CorruptError, match=r"root\.tsm: .*format\.md 2\.8"):
        decode_user_metadata(text, "root.tsm")


def test_metadata_that_cannot_be_written_leave_no_store(tmp_path: Path) -> None:
    """`create` refuses metadata before there is a folder."""
    for metadata, what in (({"a": float("nan")}, "JSON"), (nested(65), "more than 64")):
        with pytest.raises(ValueError, match=what):
            ts.create(tmp_path / "s", ts.Schema(tokens=ts.Tokens(10)), metadata=metadata)
        assert not (tmp_path / "s").exists()
