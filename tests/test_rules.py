"""Every rule of the specification has a bad vector, or a reason why none can break it (spec/vectors/rules.md)."""

from __future__ import annotations

import re
from collections import defaultdict
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

SPEC = Path(__file__).resolve().parents[1] / "spec"
BAD = SPEC / "vectors" / "bad"
PAGES = ("format", "codecs", "registry")
REASONS = ("writer", "gives", "covered", "size", "order")
NO_FILE = {"2", "9.1", "codecs.md 6.1"}
"""Sections with a MUST that no file can break: key words, what writers do beside each other, and the numbers that a
reader gives."""


def sections_of(page: str) -> dict[str, str]:
    """Return the text of every numbered section of a page, as vectors name it."""
    found: dict[str, list[str]] = defaultdict(list)
    section = ""
    for line in (SPEC / f"{page}.md").read_text().split("\n"):
        heading = re.match(r"#+ (\d+(?:\.\d+)?)\.? ", line)
        if heading:
            section = heading[1] if page == "format" else f"{page}.md {heading[1]}"
        elif section:
            found[section].append(line)
    return {one: "\n".join(lines) for one, lines in found.items()}


def sentences_of(text: str) -> list[str]:
    """Cut a section into sentences, lines of tables and of lists."""
    found = []
    for paragraph in re.split(r"\n\s*\n|\n(?=[|-]|\d\. )", text):
        found += re.split(r"(?<=[.;:]) (?=[A-Z*`])", " ".join(paragraph.split()))
    return found


def rules() -> list[tuple[str, str, list[str], str]]:
    """Return section, words, vectors and reason of every line of the table."""
    found = []
    for line in (SPEC / "vectors" / "rules.md").read_text().split("\n"):
        cells = re.split(r"\s*\|\s*", line.strip("| ")) if line.startswith("| ") else []
        cells += [""] * (4 - len(cells))
        if cells[0] and cells[0] != "section":
            found.append((cells[0], cells[1], re.findall(r"`([^`]+)`", cells[2]), cells[3]))
    return found


TEXTS = {one: text for page in PAGES for one, text in sections_of(page).items()}
RULES = rules()
NAMES = {path.stem: path for path in BAD.glob("*.vec")}


def section_of(path: Path) -> str:
    """Return the section that a vector names."""
    header = path.read_bytes().split(b"\n\n", 1)[0].decode()
    return dict(line.split(": ", 1) for line in header.split("\n"))["spec"]


def test_words_of_rules_stand_in_their_sections() -> None:
    """The table quotes the pages."""
    wrong = [(section, words) for section, words, _, _ in RULES if words not in " ".join(TEXTS[section].split())]
    assert not wrong


@pytest.mark.parametrize("section", [one for one, text in TEXTS.items() if "MUST" in text])
def test_every_sentence_with_a_must_is_in_the_table(section: str) -> None:
    """Whoever adds a MUST to a page adds a line, and a vector or a reason."""
    mine = [words for one, words, _, _ in RULES if one == section]
    demands = [one for one in sentences_of(TEXTS[section]) if re.search(r"\bMUST\b", one)]
    assert not [one for one in demands if not any(words in one for words in mine)]


def test_every_rule_has_a_vector_or_a_reason() -> None:
    """The vectors of the table are there; where there are none, it says why."""
    for section, words, vectors, reason in RULES:
        assert bool(vectors) != bool(reason), (section, words)
        assert not reason or re.match(r"\w+", reason)[0] in REASONS, (section, words, reason)  # type: ignore[index]
        for pattern in [*vectors, *re.findall(r"`(\w+)`", reason if reason.startswith(("covered", "size")) else "")]:
            assert any(fnmatchcase(name, pattern) for name in NAMES), (section, words, pattern)
        for pattern in re.findall(r"good/([\w*]+)", reason):
            assert list((SPEC / "vectors" / "good").glob(f"{pattern}.vec")), (section, words, pattern)


def test_every_section_with_a_must_has_a_vector() -> None:
    """A vector names the section, apart from those that no file can break."""
    named = {section_of(path) for path in NAMES.values()}
    assert {one for one, text in TEXTS.items() if "MUST" in text} - named - NO_FILE == set()
    assert not named & NO_FILE


def test_every_vector_breaks_a_rule_of_the_table() -> None:
    """The section in the header of a bad vector is one of the pages, and has a line."""
    lines = {section for section, _, _, _ in RULES}
    assert {name: one for name, path in NAMES.items() if (one := section_of(path)) not in lines} == {}
