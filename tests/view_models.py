"""Stores for tests of views, conditions on them with what plain Python makes of them, and views as lists of samples."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import tokstore as ts
from strategies import Sample

SCHEMA = ts.Schema(
    tokens=ts.Tokens(9, optional=True),
    q=ts.Score(optional=True),
    h=ts.Score("float16"),
    d=ts.Score("float64", max_error=0.05, optional=True),
    label=ts.Label(names=["ham", "spam", "é"], optional=True),
    n=ts.Label(optional=True),
    c=ts.Category(optional=True),
    url=ts.Text(optional=True),
)
OPERATORS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
TEXTS = ["", "a", "ab", "b", "a\0", "é", "\U00010437", "\uff5e", 'it\'s \\ "so"\n']
NUMBERS = [-1.5, -0.0, 0.0, 0.1, 0.5, 0.7, 1.0, 3.0, 1e-8]
INTEGERS = [-(2**63), -3, 0, 1, 2, 3, 2**53 + 1, 2**63 - 1]


def rows() -> st.SearchStrategy[list[Sample]]:
    """Samples whose values meet each other often."""
    floats = st.sampled_from([*NUMBERS, float("inf"), float("-inf"), float("nan")])
    one = st.fixed_dictionaries(
        {
            "tokens": st.one_of(st.none(), st.lists(st.integers(0, 8), max_size=20)),
            "q": st.one_of(st.none(), floats),
            "h": st.sampled_from([*NUMBERS, float("inf"), 65504.0]),
            "d": st.one_of(st.none(), st.sampled_from(NUMBERS)),
            "label": st.one_of(st.none(), st.integers(0, 2)),
            "n": st.one_of(st.none(), st.sampled_from(INTEGERS)),
            "c": st.one_of(st.none(), st.sampled_from(TEXTS)),
            "url": st.one_of(st.none(), st.sampled_from(TEXTS)),
        }
    )
    return st.lists(one, max_size=40)


def write(path: Path, samples: list[Sample], commits: int = 2, schema: ts.Schema = SCHEMA) -> ts.Store:
    """Write samples as several shards."""
    with ts.create(path, schema, level="fast") as writer:
        for i in range(commits):
            part = samples[len(samples) * i // commits : len(samples) * (i + 1) // commits]
            if part:
                writer.extend({name: [one[name] for one in part] for name in schema.names})
                writer.commit()
    return ts.open(path)


def ids(view: ts.View) -> list[int]:
    """Return the sample ids of a view."""
    found: list[int] = view["sample_id"].tolist()
    return found


@dataclass(frozen=True)
class Condition:
    """A condition as text, and what it is for a sample: true, false or ``None``; `level` 0 is or, 1 and, 2 the rest."""

    text: str
    level: int
    truth: Callable[[Sample], bool | None]

    def inside(self, level: int) -> str:
        """Return the text with parentheses where it binds less than its surroundings."""
        return self.text if self.level >= level else f"({self.text})"


def quoted(text: str, quote: str) -> str:
    """Write a string of a condition."""
    plain = text.replace("\\", "\\\\").replace("\n", "\\n").replace(quote, f"\\{quote}")
    return f"{quote}{plain}{quote}"


def value_of(name: str, sample: Sample) -> Any:
    """Return what a condition sees of a sample as a plain value."""
    if name.startswith("length("):
        value = sample[name[7:-1]]
        return None if value is None else len(value.encode() if isinstance(value, str) else value)
    value = sample[name]
    return ["ham", "spam", "é"][value] if name == "label" and value is not None else value


def literal(name: str, value: Any) -> Any:
    """Return a number as it is compared with a column: in the precision of that column, if it has one."""
    kind = SCHEMA.get(name) if name in SCHEMA.names else None
    if not isinstance(kind, ts.Score):
        return value
    with np.errstate(over="ignore"):
        near = float(kind.dtype.type(value))
    return value if np.isinf(near) else near


def comparison(name: str, op: str, value: Any, shown: str) -> Condition:
    """Compare a field with a value."""
    other = literal(name, value)

    def truth(sample: Sample) -> bool | None:
        own = value_of(name, sample)
        return None if own is None else bool(OPERATORS[op](own, other))

    return Condition(f"{name} {op} {shown}", 2, truth)


def among(name: str, values: list[Any], shown: list[str], negated: bool) -> Condition:
    """Look a field up in a list."""
    others = [literal(name, value) for value in values]

    def truth(sample: Sample) -> bool | None:
        own = value_of(name, sample)
        return None if own is None else any(own == other for other in others) != negated

    return Condition(f"{name} {'not ' * negated}in ({', '.join(shown)})", 2, truth)


@st.composite
def atoms(draw: st.DrawFn) -> Condition:
    """One comparison, list or question for what is missing."""
    name = draw(st.sampled_from([*SCHEMA.names[1:], "length(tokens)", "length(url)", "sample_id"]))
    if draw(st.integers(0, 6)) == 0:
        column, negated = draw(st.sampled_from(SCHEMA.names)), draw(st.booleans())
        return Condition(
            f"{column} is {'not ' * negated}missing", 2, lambda sample: (sample[column] is None) != negated
        )
    pool: list[Any] = [*NUMBERS, 2, 0, 1]
    if name in ("n", "length(tokens)", "length(url)", "sample_id"):
        pool = [*INTEGERS, 2**64, 1.5, -0.5, 2.0, 9007199254740993.0, 1e300]
    if name in ("q", "h", "d"):
        pool += [1e6, 1e300, -1e300, 10**400]
    texts = {"label": ["ham", "spam", "é"], "c": TEXTS, "url": TEXTS}.get(name)
    values = draw(st.lists(st.sampled_from(texts or pool), min_size=1, max_size=6))
    if name in ("q", "h", "d"):
        values = [float("inf") if one == 10**400 else one for one in values]
    shown = [
        quoted(one, draw(st.sampled_from("'\"")))
        if isinstance(one, str)
        else "1e999"
        if one == float("inf")
        else repr(one)
        for one in values
    ]
    if draw(st.booleans()):
        return among(name, values, shown, draw(st.booleans()))
    return comparison(name, draw(st.sampled_from(list(OPERATORS))), values[0], shown[0])


def _joined(items: list[Condition], word: str) -> Condition:
    """Join conditions by and, or by or."""
    decides = word == "or"

    def truth(sample: Sample) -> bool | None:
        found = [item.truth(sample) for item in items]
        return decides if decides in found else None if None in found else not decides

    level = 0 if decides else 1
    return Condition(f" {word} ".join(item.inside(level + 1) for item in items), level, truth)


def _negated(item: Condition) -> Condition:
    """Negate a condition."""

    def truth(sample: Sample) -> bool | None:
        found = item.truth(sample)
        return None if found is None else not found

    return Condition(f"not {item.inside(2)}", 2, truth)


def conditions() -> st.SearchStrategy[Condition]:
    """Conditions of any shape."""

    def larger(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
        several = st.lists(inner, min_size=2, max_size=3)
        return st.one_of(
            several.map(lambda items: _joined(items, "and")),
            several.map(lambda items: _joined(items, "or")),
            inner.map(_negated),
        )

    return st.recursive(atoms(), larger, max_leaves=6)


def scattered(count: int) -> list[Sample]:
    """Return samples of many kinds without chance."""
    return [
        {
            "tokens": None if i % 11 == 5 else [i % 9] * (i * 7 % 23),
            "q": None if i % 7 == 3 else float("nan") if i % 13 == 4 else float(np.float32(i * 37 % 101 / 100)),
            "h": (i % 17) / 16,
            "d": None if i % 5 == 1 else i / 10,
            "label": None if i % 9 == 2 else i % 3,
            "n": i % 4,
            "c": None if i % 8 == 6 else f"c{i % 5}",
            "url": None if i % 6 == 4 else f"u{i % 10}",
        }
        for i in range(count)
    ]
