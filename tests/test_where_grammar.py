"""The grammar of conditions: what is refused, with the place in the text, before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

import tokstore as ts
from tokstore.where import bind, parse
from tokstore.where.nodes import And, Constant, Not, Or

SCHEMA = ts.Schema(
    tokens=ts.Tokens(9),
    quality=ts.Score(optional=True),
    label=ts.Label(names=["ham", "spam"]),
    n=ts.Label(4),
    several=ts.Label(4, shape=(2,)),
    source=ts.Category(),
    url=ts.Text(),
    raw=ts.Bytes(),
    vec=ts.Vector(3),
    codes=ts.Codes(4, shape=(2,)),
)

GRAMMAR = {
    "": "the condition is empty at character 1",
    "quality = 0.5": "'=' is no comparison: write '==' at character 9",
    "quality <> 0.5": "'<>' is no comparison: write '!=' at character 9",
    "quality >= 0.5 & n == 1": "write 'and' instead of '&' at character 16",
    "n == 1 AND n == 2": "write 'and' in lower case at character 8",
    "n == 1 n == 2": "'n' does not belong here; conditions are joined by 'and' or 'or' at character 8",
    "n >=": "something is missing at the end: a column, a number or a string at character 5",
    "n >= and": "'and' comes where a column, a number or a string is needed at character 6",
    "(n == 1": "the parenthesis of character 1 is not closed at character 8",
    "n == 1)": "a parenthesis closes that none has opened at character 7",
    "(n == 1) == true": "a condition in parentheses cannot be compared at character 10",
    "n": "a column alone is no condition: compare it with something at character 2",
    "0.5": "a value alone is no condition: compare it with something at character 4",
    "n in 1": "'(' is needed after 'in' at character 6",
    "n in ()": "')' comes where a column, a number or a string is needed at character 7",
    "n in (1 2)": "')' is needed at the end of a list, and ',' between its items at character 9",
    "n in (1, n)": "a list after 'in' holds numbers and strings at character 10",
    "n in [1]": "a list is written in parentheses: in ('a', 'b') at character 6",
    "n not 1": "'in' is needed after 'not' at character 7",
    "n is 1": "'is' and 'is not' are followed by 'missing' at character 6",
    "1 is missing": "only a column can be missing at character 1",
    "url == 'x": "a string does not end at character 8",
    "url == 'a\\q'": "\\q is no escape; a backslash is written \\\\ at character 10",
    "url == '\\ud800'": "there is no such character at character 9",
    "n == 1.2.3": "this is no number at character 6",
    "n == 3x": "this is no number at character 6",
    "n == -url": "a sign stands before a number at character 7",
    "n == 1 ; n": "';' means nothing here at character 8",
    "max(n) == 1": "no function 'max': There are: length at character 1",
    "lenght(tokens) == 1": "no function 'lenght': did you mean 'length'? There are: length at character 1",
    "length(1) == 1": "length() takes the name of a column at character 8",
    "length(tokens == 1": "')' is needed after the column of length() at character 15",
}


@pytest.mark.parametrize("text", GRAMMAR)
def test_wrong_grammar(text: str) -> None:
    """Every mistake has its message, with the character and a mark below the text."""
    with pytest.raises(ValueError) as caught:
        parse(text)
    lines = str(caught.value).splitlines()
    assert lines[0] == GRAMMAR[text] + " of the condition"
    place = int(lines[0].split("at character ")[1].split()[0])
    assert lines[1] == "  " + text
    assert lines[2] == " " * (place + 1) + "^"


COLUMNS = {
    "qualty >= 0.5": (ts.ColumnError, "no column 'qualty' at character 1", "did you mean 'quality'?"),
    "n == 1 and not length(token) > 2": (ts.ColumnError, "no column 'token' at character 16", "did you mean 'tokens'?"),
    "n == True": (ts.ColumnError, "no column 'True' at character 6", "write true"),
    "url == None": (ts.ColumnError, "no column 'None' at character 8", "write: is missing"),
    "nn is missing": (ts.ColumnError, "no column 'nn' at character 1", "There are"),
    "url >= 0.5": (TypeError, "url is text and compared with a number at character 8", ""),
    "0.5 == source": (TypeError, "source is text and compared with a number at character 5", ""),
    "quality == 'x'": (TypeError, "quality is a number and compared with text at character 12", ""),
    "n in (1, 'x')": (TypeError, "n is a number and compared with text; its classes have no names at character 10", ""),
    "url in ('x', 1)": (TypeError, "url is text and compared with a number at character 14", ""),
    "quality == true": (TypeError, "quality is compared with True at character 12", ""),
    "'a' == 1": (TypeError, "a text cannot be compared with a number at character 5", ""),
    "1 in (1, 2)": (TypeError, "a column stands before 'in' at character 1", ""),
    "url == source": (TypeError, "url and source are compared as numbers, and one is text at character 5", ""),
    "tokens == 1": (TypeError, "column 'tokens' cannot be compared: it is a Tokens; length(tokens) can be at", ""),
    "vec > 1": (TypeError, "column 'vec' cannot be compared: it is a Vector at character 1", ""),
    "raw == 'x'": (TypeError, "column 'raw' cannot be compared: it is a Bytes; length(raw) can be at character 1", ""),
    "several == 1": (TypeError, "column 'several' cannot be compared: it is a Label of several values at", ""),
    "length(quality) > 1": (
        TypeError,
        "column 'quality' has no length: it has one value per sample at character 1",
        "",
    ),
    "label == 'spma'": (ValueError, "no class of label is named 'spma' at character 7", "did you mean 'spam'?"),
    "label in ('spam', 'egg')": (ValueError, "no class of label is named 'egg' at character 7", "There are: ham, spam"),
}


@pytest.mark.parametrize("text", COLUMNS)
def test_wrong_columns_and_types(text: str) -> None:
    """Unknown columns and values of the wrong kind are told apart, with the place and what was meant."""
    kind, message, hint = COLUMNS[text]
    with pytest.raises(kind) as caught:
        bind(parse(text), SCHEMA, text)
    assert type(caught.value) is kind
    assert str(caught.value).startswith(message)
    assert "\n  " + text + "\n" in str(caught.value)
    assert hint in str(caught.value)


def test_tuples_that_are_none() -> None:
    """Wrong tuples are told from wrong columns."""
    from tokstore.where import parse_tuples

    for given, kind, message in (
        ([], ValueError, "not empty"),
        ([("n", ">", 1), "n > 1"], TypeError, "conditions are tuples such as"),
        ([("n", ">")], TypeError, "conditions are tuples such as"),
        ([("n", "=>", 1)], ValueError, "no operator '=>' for column 'n'"),
        ([("n", "in", "abc")], TypeError, "takes a list of values, not str"),
        ([("n", "==", None)], TypeError, 'write where("… is missing")'),
        ([("n", "==", b"x")], TypeError, "not bytes"),
        ([[("n", ">", 1)], []], TypeError, "not list"),
    ):
        with pytest.raises(kind) as caught:
            parse_tuples(given)
        assert message in str(caught.value)
    with pytest.raises(ts.ColumnError) as caught:
        bind(parse_tuples([("lenth", ">", 1)])[0], SCHEMA)
    assert "character" not in str(caught.value)


def test_precedence_and_words() -> None:
    """`not` binds before `and` before `or`; words of any place, exponents, signs and trailing commas are read."""
    node = parse("not true and false or true")
    assert node == Or((And((Not(Constant(True)), Constant(False))), Constant(True)))
    assert parse("not (true or false)") == Not(Or((Constant(True), Constant(False))))
    assert parse("missing==-1_000.5e-3 and\tlength>+.5").items[1].left.name == "length"  # type: ignore[union-attr]
    assert parse("x in (1, 'a',)").values[1].value == "a"  # type: ignore[union-attr]
    assert parse(r"x == 'a\'\"\\\n\x41\u00e9\U0001F600'").right.value == "a'\"\\\nAé😀"  # type: ignore[union-attr]


def test_depth_and_length_are_bounded() -> None:
    """Nesting that would exhaust the stack is an error, a chain of a thousand conditions is none."""
    for text in ("(" * 5000 + "true", "not " * 5000 + "true"):
        with pytest.raises(ValueError, match="nested more than 50 deep at character"):
            parse(text)
    assert len(parse(" or ".join(["n == 1"] * 1000)).items) == 1000  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="at character 203 of the condition\n  ….*…\n {3,}\\^") as caught:
        parse(" or ".join(["n == 1"] * 20) + " or n = 1 or " + " or ".join(["n == 1"] * 20))
    lines = str(caught.value).splitlines()
    assert lines[1][len(lines[2]) - 1] == "="


def test_nothing_is_read_before_types_are_checked(tmp_path: Path) -> None:
    """A wrong condition costs no byte."""
    with ts.create(tmp_path / "s", ts.Schema(q=ts.Score())) as writer:
        writer.extend(q=[1.0])
    store = ts.open(tmp_path / "s")
    before = store.storage.bytes_read
    with pytest.raises(TypeError):
        store.where("q > 0 and q == 'x'")
    assert store.storage.bytes_read == before
