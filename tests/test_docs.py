"""The pages of `spec/`: worked examples are true, JSON parses, key words are in capitals, references lead somewhere."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tokstore as ts

ROOT = Path(__file__).resolve().parents[1]
SPEC = ROOT / "spec"
sys.path.insert(0, str(SPEC / "readers" / "python"))

from tokread.codecs import decode  # noqa: E402  (the reader is no installed package)
from tokread.conventions import packed_exactly  # noqa: E402
from tokread.objects import RankTable  # noqa: E402
from tokread.schema import Column  # noqa: E402
from tokread.store import open_path  # noqa: E402

PAGES = sorted(page for page in SPEC.rglob("*.md") if "node_modules" not in page.parts)
NORMATIVE = ("format", "codecs", "registry", "order")


def text_of(page: str) -> str:
    """Return a page of the specification."""
    return (SPEC / f"{page}.md").read_text(encoding="utf-8")


def sections(page: str) -> set[str]:
    """Return the numbers of the sections of a page, and of the parts of its numbered sections."""
    return set(re.findall(r"^#{2,4} ([0-9]+(?:\.[0-9]+)*)\.? ", text_of(page), re.MULTILINE))


def dumped(block: str) -> bytes:
    """Return the bytes of a block of annotated hex, whose lines begin with the offset of their first byte."""
    out = b""
    for line in block.splitlines():
        match = re.match(r" *([0-9]+)  ((?:[0-9a-f]{2} ?)+?)(?:  |$)", line)
        assert match is not None, line
        assert int(match[1]) == len(out), line
        out += bytes.fromhex(match[2])
    return out


def test_example_is_written_by_its_script() -> None:
    """`make_example.py` would write the very same page."""
    script = SPEC / "vectors" / "make_example.py"
    done = subprocess.run([sys.executable, str(script), "--verify"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_example_is_a_store(tmp_path: Path) -> None:
    """The bytes on the page, put in a folder, are read by both readers, and the data file is below 1 KB."""
    page = text_of("example")
    paths = re.findall(r"^## `((?:data|manifests)/[^`]+)`$", page, re.MULTILINE)
    blocks = re.findall(r"^```text\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL)
    jsons = re.findall(r"^```json\n(.*?)\n```$", page, re.MULTILINE | re.DOTALL)
    files = dict(zip(paths, map(dumped, blocks), strict=True))
    files |= {name: text.encode() for name, text in zip(("tokstore.json", "latest"), jsons, strict=True)}
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    assert len(files[paths[0]]) < 1024
    assert open_path(tmp_path).rows == {"tokens": [[72, 105], [], [33, 33, 33]]}
    assert ts.verify(tmp_path).problems == []
    assert ts.open(tmp_path).take([0, 1, 2])["tokens"].to_list() == [[72, 105], [], [33, 33, 33]]
    assert open_path(tmp_path / paths[0]).rows == {"tokens": [[72, 105], [], [33, 33, 33]]}


def test_packed_array_example() -> None:
    """Both forms of the example of format.md 2.3 have the values that stand before them."""
    match = re.search(
        r"^Example: ([0-9, ]+) is `([0-9A-F ]+)` in form 0 and `([0-9A-F ]+)` in form 1\.$", text_of("format"), re.M
    )
    assert match is not None
    values = [int(x) for x in match[1].split(", ")]
    for form, coded in enumerate(map(bytes.fromhex, match.groups()[1:])):
        assert coded[0] == form
        assert packed_exactly(coded, len(values)) == values == [5, 5, 7, 4]


def test_token_example() -> None:
    """The three forms of the example of codecs.md 2.2 give the ids that stand before them."""
    pattern = (
        r"^Example: with K = (\d+) and `ids` = ([\d, ]+), the ids ([\d, ]+) are "
        r"`([0-9A-F ]+)` in form 2, `([0-9A-F ]+)` in form 3 and `([0-9A-F ]+)` in form 4\.$"
    )
    match = re.search(pattern, text_of("codecs"), re.MULTILINE)
    assert match is not None
    table = RankTable([int(x) for x in match[2].split(", ")], b"")
    ids = [int(x) for x in match[3].split(", ")]
    assert len(table.ids) == int(match[1])
    assert len(ids) == 3
    column = Column(0, "tokens", 1, {1: 100}, False, None)
    for form, coded in enumerate(match.groups()[3:], start=2):
        assert decode(column, 1, (0, 1), form, len(ids), bytes.fromhex(coded), table) == ids, form


def test_json_blocks_parse() -> None:
    """Every block of JSON on every page is JSON."""
    found = 0
    for page in PAGES:
        for block in re.findall(r"^```json\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            json.loads(block)
            found += 1
    assert found >= 2


@pytest.mark.parametrize("page", NORMATIVE)
def test_key_words_are_in_capitals(page: str) -> None:
    """Normative pages never say "must" or "shall" in lower case, since only capitals bind."""
    for number, line in enumerate(text_of(page).splitlines(), start=1):
        assert not re.search(r"\b(must|shall)\b", line), f"{page}.md line {number}: {line}"


def test_links_lead_somewhere() -> None:
    """Every relative link on every page of the specification names a file that is there."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_sections_in_the_text_exist() -> None:
    """A section in parentheses, such as (4.5), or after a page's name, such as registry.md, 3, exists."""
    for page in ("format", "codecs"):
        text = text_of(page)
        for name, number in re.findall(r"(format|codecs|registry)\.md[,)]? \(?([0-9]+(?:\.[0-9]+)?)", text):
            assert number in sections(name), f"{page}.md: {name}.md {number}"
    for number in re.findall(r"\(([0-9]+\.[0-9]+)\)", text_of("format")):
        assert number in sections("format"), f"format.md: {number}"


def test_rules_that_are_cited_exist() -> None:
    """Every rule that a reader, the package or a vector cites is a section of its page."""
    sources = [*(SPEC / "readers").rglob("*.py"), *(SPEC / "readers").rglob("*.c"), *(ROOT / "tokstore").rglob("*.py")]
    cited = {
        (name, number, source.name)
        for source in sources
        for name, number in re.findall(
            r'"(format|codecs|registry)\.md ([0-9]+(?:\.[0-9]+)?)"', source.read_text("utf-8")
        )
    }
    for vector in (SPEC / "vectors").glob("*/*.vec"):
        line = vector.read_bytes().split(b"\n", 2)[1].decode().removeprefix("spec: ")
        name, _, number = line.rpartition(".md ")
        cited.add((name or "format", number, vector.name))
    assert len(cited) > 400
    for name, number, where in sorted(cited):
        assert number in sections(name), f"{where} cites {name}.md {number}"
