"""Text of a condition -> words with their places, and errors that point into the text."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["KEYWORDS", "Word", "condition_error", "words"]

KEYWORDS = frozenset({"and", "or", "not", "in", "is", "true", "false"})
_WORD = re.compile(
    r"""(?P<number>(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<string>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>==|!=|<=|>=|<|>|\(|\)|,|-|\+)
      | (?P<space>\s+)""",
    re.VERBOSE,
)
_WRONG = {
    "=": "'=' is no comparison: write '=='",
    "<>": "'<>' is no comparison: write '!='",
    "&": "write 'and' instead of '&'",
    "|": "write 'or' instead of '|'",
    "!": "write 'not' instead of '!'",
    "~": "write 'not' instead of '~'",
    "[": "a list is written in parentheses: in ('a', 'b')",
    "'": "a string does not end",
    '"': "a string does not end",
}
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\", "'": "'", '"': '"'}
_SHOWN = 72


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a condition.

    Attributes:
        kind: ``"number"``, ``"string"``, ``"name"``, ``"keyword"``, ``"sign"`` or ``"end"``.
        text: As it stands there.
        at: Its first character, from 0.
        value: What a number or a string stands for.
    """

    kind: str
    text: str
    at: int
    value: int | float | str | None = None


def condition_error(problem: str, text: str, at: int) -> ValueError:
    """Return an error that shows where in a condition it is, and counts characters from 1.

    Example:
        >>> print(condition_error("no such thing", "q @ 1", 2))
        no such thing at character 3 of the condition
          q @ 1
            ^
    """
    return ValueError(f"{problem} {pointed(text, at)}")


def pointed(text: str, at: int) -> str:
    """Return the place in a condition, with the text and a mark below it."""
    start = max(0, at - _SHOWN // 2) if len(text) > _SHOWN else 0
    end = start + _SHOWN
    line = ("…" if start else "") + re.sub(r"\s", " ", text[start:end]) + ("…" if end < len(text) else "")
    return f"at character {at + 1} of the condition\n  {line}\n  {' ' * (at - start + bool(start))}^"


def words(text: str) -> list[Word]:
    """Split a condition into words; the last one is the end."""
    found, at = [], 0
    while at < len(text):
        match = _WORD.match(text, at)
        if match is None or (match.lastgroup == "sign" and match[0] + text[match.end() : match.end() + 1] == "<>"):
            raise condition_error(_problem(text, at), text, at)
        kind, part = str(match.lastgroup), match[0]
        if kind == "number":
            found.append(Word(kind, part, at, _number(part, text, at)))
        elif kind == "string":
            found.append(Word(kind, part, at, _string(part, text, at)))
        elif kind != "space":
            found.append(Word("keyword" if part in KEYWORDS else kind, part, at))
        at = match.end()
    return [*found, Word("end", "", len(text))]


def _problem(text: str, at: int) -> str:
    """Say what is wrong with a character that begins no word."""
    two, one = text[at : at + 2], text[at]
    if one.isdigit() or one == ".":
        return "this is no number"
    return _WRONG.get(two) or _WRONG.get(one) or f"{one!r} means nothing here"


def _number(part: str, text: str, at: int) -> int | float:
    """Return the value of a number."""
    try:
        return int(part) if re.fullmatch(r"[\d_]+", part) else float(part)
    except ValueError:
        raise condition_error("this is no number", text, at) from None


def _string(part: str, text: str, at: int) -> str:
    """Return the value of a string."""

    def plain(match: re.Match[str]) -> str:
        code = match[1]
        if len(code) > 1:
            number = int(code[1:], 16)
            if number > 0x10FFFF or 0xD800 <= number < 0xE000:
                raise condition_error("there is no such character", text, at + 1 + match.start())
            return chr(number)
        if code not in _SIMPLE:
            raise condition_error(f"\\{code} is no escape; a backslash is written \\\\", text, at + 1 + match.start())
        return _SIMPLE[code]

    return _ESCAPE.sub(plain, part[1:-1])
